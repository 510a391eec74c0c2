//! Governance: what members decide, and what everybody may read of it.
//!
//! ```text
//! POST /gov/members/proposals:create ──▶ proposals ──┐
//! POST …/ballots/{memberId}:submit   ──▶ ballots ────┼─▶ resolve ──▶ the constitution: validate, resolve, apply
//! POST /gov/proposals, …             ──▶ classic ────┘                  └─▶ effect: what only the host can do
//! POST …/state-digests/{memberId}:…  ──▶ acks
//! GET  /gov/…                        ──▶ proposals, ballots, acks, service, tables as JSON (kv)
//! PUT  /app/custom_endpoints         ──▶ custom: a developer's short cut
//! ```
//!
//! A proposal is a JSON text of actions. The constitution, a JavaScript module in the state, says whether it makes sense, whether
//! the votes suffice, and does what it says. Rust keeps the books: who proposed what, which ballots were cast, what came of it.
//!
//! | state | means |
//! |---|---|
//! | `Open` | ballots are taken |
//! | `Accepted` | it was applied |
//! | `Rejected`, `Withdrawn` | it was not |
//! | `Dropped` | the constitution changed while it was open |
//!
//! A proposal whose `resolve` or `apply` throws is an error of the request that led to it, and leaves nothing in the state.
//!
//! Invariants:
//! - A request that is not answered with 2xx has written nothing that is kept; the caller drops its writes.
//! - Every vote that counts stands, signed, in `public:ccf.gov.cose_history`.
//! - A signed request counts once: proposals are remembered, ballots and withdrawals name their proposal.
//! - What is in the tables came from members; what cannot be read of it is an error of the request, not of the machine.

mod acks;
mod ballots;
mod classic;
pub mod constitution;
pub mod custom;
mod effects;
mod info;
mod jwk;
mod kv;
mod lens;
mod names;
mod proposals;
mod replay;
mod resolve;
mod route;
mod service;

#[cfg(test)]
mod tests;

pub use effects::effect;
pub use route::{handle, routes, view};
pub use service::{Ledger, is_about_transactions, transactions};

use super::auth::Denied;
use super::request::Response;
use super::store::RowsMut;
use crate::Fault;
use sandbox::Failure;
use serde_json::Value;

/// What governance needs of the transaction that it runs in.
pub trait Governing: RowsMut {
    /// Removes all rows of a table.
    fn clear(&mut self, map: &str) -> Result<(), Fault>;

    /// Calls an export of a module in a fresh realm. `kind`: `gov` reads the tables of governance, `apply` writes them. `file`
    /// names the module in stack traces. Arguments are a JSON array, the result is JSON. The inner error is what was thrown.
    fn run(&mut self, kind: &str, file: &str, source: &str, export: &str, args: &str) -> Result<Result<String, Failure>, Fault>;

    /// For each of these exports the number of its parameters, null if it is no function: a JSON object. The inner error: the
    /// module does not come up.
    fn shape(&mut self, file: &str, source: &str, names: &[&str]) -> Result<Result<Value, Failure>, Fault>;

    /// Whether the modules of this bundle, `{"metadata":…,"modules":[…]}`, can be evaluated. The inner error says why not.
    fn try_out(&mut self, bundle: &Value) -> Result<Result<(), String>, Fault>;

    /// The last signed root before this transaction.
    fn root(&self) -> [u8; 32];

    /// View and seqno of the last transaction before this one.
    fn view_seqno(&self) -> (u64, u64);
}

/// An error as one line.
fn described(failure: &Failure) -> String {
    match (failure.name.as_str(), failure.message.as_str()) {
        ("", message) => message.to_owned(),
        (name, "") => name.to_owned(),
        (name, message) => format!("{name}: {message}"),
    }
}

/// Why a request is not done.
#[derive(Debug)]
enum Stop {
    /// It is answered so.
    Refused(Response),
    /// The machine cannot go on.
    Fault(Fault),
}

/// What a handler comes to.
type Answer<T = Response> = Result<T, Stop>;

impl Stop {
    fn new(status: u16, code: &str, message: impl Into<String>) -> Stop {
        Stop::Refused(Response::error(status, code, message))
    }

    fn internal(message: impl Into<String>) -> Stop {
        Stop::new(500, "InternalError", message)
    }
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Stop {
        Stop::Fault(fault)
    }
}

impl From<Denied> for Stop {
    fn from(denied: Denied) -> Stop {
        Stop::Refused(denied.response())
    }
}

/// Puts the two kinds of ends back into a result.
fn finish(answer: Answer) -> Result<Response, Fault> {
    match answer {
        Ok(response) | Err(Stop::Refused(response)) => Ok(response),
        Err(Stop::Fault(fault)) => Err(fault),
    }
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
