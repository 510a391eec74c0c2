//! The kernel: who holds what, who decides what, and what is to be delivered next. It knows no JavaScript: what goes to a vat is a
//! [`Delivery`], what comes from it are the functions of [`syscalls`].
//!
//! ```text
//!          take_next()                   the vat runs, [`syscalls`]              keep() / abandon()
//! run queue ─────────▶ Delivery ──────────────────────────────────────▶ crank ───────────────────▶ run queue
//! ```
//!
//! # Invariants
//!
//! - No vat reaches what its c-list does not name.
//! - No promise is resolved by a vat that does not decide it, none twice.
//! - No trace in the tables of a crank that was abandoned.
//! - No message to a promise overtakes another one to the same promise, wherever both go.
//! - No work in proportion to how much waits: queues are maps by number, taken at the front.

mod audit;
mod capdata;
mod clist;
mod gc;
mod promises;
mod refs;
mod routing;
mod rows;
mod syscalls;
mod tables;
#[cfg(test)]
mod tests;

pub use capdata::{CapData, Dialect, Message, VALUES, is_digestible};
pub use refs::{KRef, Kind, Party, VRef};
pub use rows::{LOG, ROWS, STORE};
pub use syscalls::{GcCall, Illegal, Resolution};
pub use tables::{Counters, Entry, GcKind, Item, Member, Meter, Object, Promise, PromiseState, Tables, Upgrade, Watch};

use std::collections::BTreeSet;

/// Deliveries and imports after which a vat has to say what it does not need any more, unless that takes it long.
pub const REAP_INTERVAL: u64 = 1_000;

/// What that may add to each of them, in instructions: a tenth of what a small delivery takes. It looks at the whole heap, so a vat
/// that holds much is asked less often.
const REAP_SHARE: u64 = 20_000;

/// What a vat has said of its garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaped {
    /// All, in so many instructions.
    All(u64),
    /// There is more.
    Some,
}

/// See the [module](self).
#[derive(Default)]
pub struct Kernel {
    tables: Tables,
    /// Counts of these went down during this crank.
    maybe_free: BTreeSet<KRef>,
    /// What the kernel waited for and has come to be, in this crank.
    settled: Vec<Settled>,
    /// The promises of the last notification.
    told: Vec<u64>,
    /// Promises that a vat has resolved in this crank, to something elsewhere.
    redirected: Vec<u64>,
}

/// A promise that the kernel waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Why.
    pub watch: Watch,
    /// Rejected.
    pub rejected: bool,
    /// With what.
    pub data: CapData,
}

/// A body and what the vat calls its slots.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VatData {
    /// As in [`CapData`].
    pub body: String,
    /// The vat's names.
    pub slots: Vec<String>,
}

/// What a vat is given, in its own names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delivery {
    /// A message.
    Message {
        /// Its export, or a promise that it decides.
        target: String,
        /// See [`Message::method`].
        method: Option<String>,
        /// Arguments.
        args: VatData,
        /// The promise that it is to decide from now on.
        result: Option<String>,
    },
    /// Promises that were resolved: name, whether rejected, with what.
    Notify(Vec<(String, bool, VatData)>),
    /// What became garbage.
    Gc(GcKind, Vec<String>),
    /// It has to say what it does not need any more.
    BringOutYourDead,
    /// It begins.
    Start(VatData),
    /// It is to be upgraded: this is what others hear of what it had to decide.
    Stop(VatData),
}

impl Delivery {
    /// Whether it is of garbage alone: no vat pays for that, as no two of the same story have the same garbage.
    pub fn is_of_garbage(&self) -> bool {
        matches!(self, Delivery::Gc(..) | Delivery::BringOutYourDead)
    }
}

/// What is next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing waits.
    Idle,
    /// It was done without a vat: a message now waits for a promise, was rejected, or nobody wants to hear it.
    Done,
    /// A vat runs.
    Deliver(u64, Delivery),
    /// A vat is made anew.
    Upgrade(u64, Upgrade),
}

impl Kernel {
    /// The tables.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// The tables, for who counts, logs and meters.
    pub fn tables_mut(&mut self) -> &mut Tables {
        &mut self.tables
    }

    /// Begins a crank: what was before can be undone no more.
    pub fn begin(&mut self) {
        self.tables.keep();
    }

    /// A vat or device is known from now on.
    pub fn add_member(&mut self, party: Party, name: &str, module: &str) {
        let device = matches!(party, Party::Device(_));
        let member = Member {
            name: name.to_owned(),
            module: module.to_owned(),
            dialect: Dialect::Today,
            raw: device,
            next: if device { [10, 20, 30] } else { [50, 60, 70] },
            deliveries: 0,
            reap_in: REAP_INTERVAL,
            reap_every: REAP_INTERVAL,
            dynamic: false,
            incarnation: 0,
            critical: false,
            meter: None,
            heap_bytes: 0,
        };
        self.tables.put_member(party, member);
    }

    /// A new vat's number.
    pub fn new_vat(&mut self) -> u64 {
        let counters = self.tables.counters_mut();
        counters.vat += 1;
        counters.vat - 1
    }

    /// A new device's number.
    pub fn new_device(&mut self) -> u64 {
        let counters = self.tables.counters_mut();
        counters.device += 1;
        counters.device - 1
    }

    /// What has come of the promises that the kernel waits for, since this was asked last.
    pub fn take_settled(&mut self) -> Vec<Settled> {
        std::mem::take(&mut self.settled)
    }

    /// The promises that the last notification was of.
    pub fn told(&self) -> &[u64] {
        &self.told
    }

    /// Whether nothing waits.
    pub fn is_idle(&self) -> bool {
        self.tables.counters().panic.is_some()
            || self.tables.gc_actions().is_empty()
                && self.tables.reap_queue().is_empty()
                && self.tables.run_queue().next().is_none()
    }

    /// Takes what is next. The crank that it begins ends with [`Kernel::finish`], or with [`Kernel::abandon`] and what follows from it.
    pub fn take_next(&mut self) -> Next {
        if self.tables.counters().panic.is_some() {
            return Next::Idle;
        }
        if let Some(delivery) = self.next_garbage() {
            return delivery;
        }
        if let Some(&vat) = self.tables.reap_queue().first() {
            self.tables.set_reap(vat, false);
            return match self.tables.member(Party::Vat(vat)) {
                Some(_) => Next::Deliver(vat, Delivery::BringOutYourDead),
                None => Next::Done,
            };
        }
        match self.tables.pop() {
            None => Next::Idle,
            Some(Item::Send(target, message)) => self.route(target, message),
            Some(Item::Notify(vat, promise)) => self.notify(vat, promise),
            Some(Item::Start(vat, parameters)) => {
                for &slot in &parameters.slots {
                    self.release(slot);
                }
                if self.tables.member(Party::Vat(vat)).is_none() {
                    return Next::Done;
                }
                let parameters = self.export_data(Party::Vat(vat), &parameters);
                Next::Deliver(vat, Delivery::Start(parameters))
            }
            Some(Item::Upgrade(vat, upgrade)) => {
                for &slot in &upgrade.parameters.slots {
                    self.release(slot);
                }
                Next::Upgrade(vat, upgrade)
            }
        }
    }

    /// A delivery has succeeded: the vat may have to say soon what it does not need any more, or just has.
    pub fn delivered(&mut self, vat: u64, reaped: Option<Reaped>) {
        let Some(member) = self.tables.member_mut(Party::Vat(vat)) else { return };
        member.deliveries += 1;
        member.reap_in = match reaped {
            None => member.reap_in.saturating_sub(1),
            Some(Reaped::Some) => 0,
            Some(Reaped::All(took)) if member.is_reaped_as_usual() => REAP_INTERVAL.max(took / REAP_SHARE),
            Some(Reaped::All(_)) => member.reap_every,
        };
        if member.reap_in == 0 && member.reap_every > 0 && !member.raw {
            self.tables.set_reap(vat, true);
        }
    }

    /// Ends a crank: what nobody refers to any more goes.
    pub fn finish(&mut self) {
        self.keep_order();
        self.collect();
        self.tables.counters_mut().cranks += 1;
    }

    /// Undoes what a crank has done, taking the next included.
    pub fn abandon(&mut self) {
        self.tables.undo();
        self.settled.clear();
        self.maybe_free.clear();
        self.redirected.clear();
    }

    /// Undoes a transaction that has come no further than what an input does itself: nothing is to be written.
    pub fn undo_transaction(&mut self) {
        self.abandon();
        self.tables.forget_changes();
    }

    /// Queues a message as the kernel's own, or a device's. What it speaks of gets another reference.
    pub fn send(&mut self, target: KRef, message: Message) {
        self.refer(target);
        for &slot in &message.args.slots {
            self.refer(slot);
        }
        if let Some(result) = message.result {
            self.refer(KRef::Promise(result));
        }
        self.tables.push(Item::Send(target, message));
    }

    /// A promise that the kernel itself wants to hear of, for the result of a message.
    pub fn watch(&mut self, watch: Watch) -> u64 {
        let id = self.new_promise(None);
        let promise = self.tables.promise_mut(id).expect("just made");
        promise.watch = Some(watch);
        promise.refs = 1;
        id
    }
}
