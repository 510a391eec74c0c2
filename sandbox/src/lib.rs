//! JavaScript behind a wall.
//!
//! QuickJS, compiled to WebAssembly with a small guest of ours (`guest/`), runs on memory that this crate manages page by
//! page. That makes a realm a value: it can be rolled back after a failed call, saved, restored and hashed.
//!
//! # Invariants
//!
//! - Nothing ambient reaches the guest: no clock, no randomness, no address, no libm of the host. Time and the random
//!   seed come with each piece of work; everything else goes through one [`Host`].
//! - The same work on the same realm gives the same outcome and the same heap, byte for byte, in every process.
//! - A piece of work that fails leaves no trace in the heap.
//! - Limits are counted in instructions and bytes, never in time.
//! - This crate knows no ledger, no network, no file.

mod bundle;
mod heap;
mod host;
mod oracle;
mod realm;
mod share;
mod vat;

pub use bundle::{Exchange, Reply};
pub use heap::{Image, PAGE_BYTES};
pub use host::{Answer, Consult, Fault, Host, Level, OracleAnswer, World};
pub use oracle::{MAX_ORACLE_BYTES, encode as encode_oracle_answer};
pub use realm::{Failure, Limits, Outcome, Realm, Replica, Sandbox};
pub use share::{Attachment, SharedHeap};

/// The stack that a thread needs to run a realm.
pub const THREAD_STACK_BYTES: usize = realm::WASM_STACK_BYTES + (8 << 20);

/// SHA-256 (hex) of the WebAssembly module: the engine, the guest and its prelude. Two machines with the same digest
/// give the same outcome for everything, limits included.
pub const ENGINE: &str = env!("GLASSBOX_ENGINE");
