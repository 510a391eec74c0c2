//! Calls that only read: on copies of the realm, beside the machine, at the state that it has published last.
//!
//! ```text
//! executor   publish ── call ── publish ── call ──────── publish …
//!               ╲ heap, records                 ╲
//! reader         follow ── read ── read          follow ── read …
//! ```
//!
//! A read is no transaction: nothing of it is kept, and a write of a file fails it. What it does to variables ends with it.

use crate::auth::Caller;
use crate::input::Call;
use crate::outcome;
use crate::records::{Records, View};
use crate::script::{Exports, Readers};
use crate::{Fault, machine::Console};
use sandbox::{Limits, Replica, Sandbox, SharedHeap};
use std::sync::Arc;

/// What readers need to follow a machine. Clones follow the same.
#[derive(Clone)]
pub struct Reading {
    pub(crate) sandbox: Sandbox,
    pub(crate) limits: Limits,
    pub(crate) heap: SharedHeap,
    /// What the code exports that is read.
    pub exports: Arc<Exports>,
}

/// A copy of the realm that follows it.
pub struct Reader {
    replica: Replica<Readers>,
}

/// What a read came to.
pub struct Read {
    /// What the caller hears.
    pub result: outcome::Result,
    /// The last transaction that it has seen.
    pub seqno: u64,
}

impl Reading {
    /// A reader, for one thread, which needs [`sandbox::THREAD_STACK_BYTES`] of stack.
    pub fn reader(&self, console: Console) -> Result<Reader, Fault> {
        let host = Readers::reading(console);
        Ok(Reader { replica: Replica::new(&self.sandbox, self.limits, self.heap.clone(), host)? })
    }
}

impl Reader {
    /// Runs a call that only reads, at the last state. `ask` is called when the machine has to be asked to publish; `seed` feeds
    /// `Math.random`: nothing of this is ever replayed.
    pub fn read(&mut self, call: &Call, seed: u64, ask: impl FnMut()) -> Result<Read, Fault> {
        let attachment = self.replica.follow(ask)?;
        let view: &View = attachment.downcast_ref().ok_or_else(|| Fault::Checkpoint("a heap without its records".into()))?;
        let seqno = view.seqno();
        self.replica.host_mut().look(Records::of(view), call.time_ms, seed);
        let caller = serde_json::to_string(&Caller::id(&call.caller)).expect("a string can be written");
        let outcome = self.replica.call(&call.method, &call.args, &caller, call.time_ms)?;
        Ok(Read { result: crate::script::result_of(outcome), seqno })
    }
}
