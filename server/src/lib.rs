//! The server: everything that touches the outside.
//!
//! ```text
//! socket ──▶ rpc (protocol, no I/O) ──▶ admit (clock, seed, caller) ──▶ queue ──▶ executor thread ──▶ committer thread
//!   ▲                                                                   execute, seal, sign      append, fsync │
//!   └───────────────────────────────────────── reply ──────────────────────────────────────────────────────────┘
//! readers                    calls that only read, on copies of the realm, on threads of their own
//! http    status page, /ledger, /archive, /files, /metrics, /healthz
//! node    a directory: create, lock, recover, replay
//! ```
//!
//! # Invariants
//!
//! - A reply leaves only after its transaction is on disk: the committer alone sends replies.
//! - One thread executes, in the order of admission. No other thread touches the machine; readers have copies.
//! - Every queue is bounded and says so when it is full.
//! - The clock is read in `admit` alone, and in `oracle`, whose answers are recorded.

pub mod admit;
pub mod bundle;
pub mod commit;
pub mod http;
pub mod https;
pub mod limits;
pub mod listen;
pub mod mail;
pub mod metrics;
pub mod node;
pub mod oracle;
pub mod outside;
pub mod readers;
pub mod rpc;
mod socket;
pub mod vats;

pub use commit::Backend;
pub use node::{Options, StartError};

/// Allows as many open files as the system lets this process have.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Without it the server works, with fewer connections.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}
