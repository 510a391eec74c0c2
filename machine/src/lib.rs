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
//! app that it runs in, with its files archive), [`outcome`] (what it came to), [`maps`] (where both stand in the ledger),
//! [`state`] (what the writes add up to).
//!
//! # Invariants
//!
//! - There is one [`Machine::execute`]. The live node, a restart and an audit call it; no second implementation exists.
//! - This crate knows no clock, no randomness, no thread and no socket: all of that is frozen in the [`Input`].
//! - A failure of the script is a value in the [`Outcome`]; a failure of the host is a [`Fault`] and ends the machine.
//! - The state holds nothing that the ledger does not say.

pub mod input;
pub mod machine;
pub mod maps;
pub mod outcome;
pub mod script;
pub mod service;
pub mod state;

pub use input::{Call, Caller, Code, Input, MalformedRecord, Settings};
pub use machine::{Console, Difference, Divergence, Entry, Machine, ReplayError};
pub use outcome::{Outcome, Result};
pub use service::Service;

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
}
