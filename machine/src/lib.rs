//! The machine: what a ledger means.
//!
//! ```text
//! live    Input ──▶ execute ──▶ Outcome ──▶ seal ──▶ write set ──▶ ledger
//!                      ▲                                │
//!                   state, realm ◀────── apply ─────────┘
//! replay  Transaction ──▶ Input ──▶ execute ──▶ Outcome ──▶ seal ──▶ write set'    must equal the transaction's
//! ```
//!
//! The way of a call, file by file: [`input`] (what comes in, frozen), [`machine`] (execute, apply, replay), [`script`] (the
//! app that it runs in, with its files archive), [`outside`] (what it may ask there), [`outcome`] (what it came to), [`maps`]
//! (where all of it stands in the ledger), [`records`] and [`state`] (what the writes add up to), [`checkpoint`] (where one
//! can go on without what came before), [`difference`] (how a replay can fail). Beside it: [`past`] (a machine
//! as of a transaction), [`trace`] (what a call does, step by step), [`rehearsal`] (the same calls with other code).
//!
//! # Invariants
//!
//! - There is one [`Machine::execute`]. The live node, a restart and an audit call it; no second implementation exists.
//! - This crate knows no clock, no randomness, no thread and no socket: all of that is frozen in the [`Input`].
//! - A failure of the script is a value in the [`Outcome`]; a failure of the host is a [`Fault`] and ends the machine.
//! - The state holds nothing that the ledger does not say.

pub mod auth;
pub mod bundle;
pub mod checkpoint;
pub mod difference;
pub mod input;
pub mod machine;
pub mod maps;
pub mod outcome;
pub mod outside;
pub mod past;
pub mod reading;
pub mod records;
pub mod rehearsal;
pub mod script;
pub mod service;
pub mod state;
pub mod trace;
pub mod vats;

pub use auth::{AuthError, Caller, Head, Signed};
pub use checkpoint::Checkpoint;
pub use difference::{Difference, Divergence, ReplayError};
pub use input::{Call, Code, Input, MalformedRecord, Settings};
pub use machine::{Console, Entry, Machine, Ran, claims};
pub use outcome::{Outcome, Result};
pub use outside::{Nobody, Outside};
pub use reading::{Read, Reader, Reading};
pub use records::Records;
pub use service::Service;
pub use trace::{Trace, TraceError};

use sandbox::Fault as SandboxFault;

/// The host failed: no outcome follows from this, the machine is of no further use.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The sandbox could not go on.
    #[error("the sandbox failed: {0}")]
    Sandbox(#[from] SandboxFault),
    /// The state could not be read or written.
    #[error(transparent)]
    State(#[from] state::StateError),
    /// A checkpoint holds something that no machine has written.
    #[error("{0}")]
    Checkpoint(String),
}
