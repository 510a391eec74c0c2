//! The kernel's tables, in memory: objects, promises, c-lists, queues. They change through the functions here alone, which keep
//! two notes of each change: what was there before, so that a crank can be undone, and that it changed, so that the transaction can
//! write it.
//!
//! Rows and their keys are in [`super::rows`].

use super::capdata::{CapData, Dialect, Message};
use super::refs::{KRef, Party};
use ledger::Hash;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// An object that a vat has exported.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Object {
    /// Whose it is; `None` if that vat is gone.
    pub owner: Option<Party>,
    /// How many hold it and can send to it: c-lists that import it, messages, promises' data, pins.
    pub reachable: u32,
    /// How many know it, if only as the key of a weak map.
    pub recognizable: u32,
}

/// Who in the kernel wants to know what becomes of a promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watch {
    /// The call that starts it all.
    Bootstrap,
    /// A call from outside.
    Call {
        /// Its number in the log of calls.
        number: u64,
        /// SHA-256 of its input, as the log has it.
        input: Hash,
    },
}

/// A promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// C-list entries, messages and data that speak of it, and the kernel's own interest.
    pub refs: u32,
    /// Whether the kernel itself waits for it.
    pub watch: Option<Watch>,
    /// What has become of it.
    pub state: PromiseState,
}

/// What has become of a promise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromiseState {
    /// Nothing yet.
    Unresolved {
        /// The vat that may resolve it. `None`: a message in a queue will carry that right to whoever gets it.
        decider: Option<u64>,
        /// Vats that want to know.
        subscribers: BTreeSet<u64>,
        /// Messages that wait for it: the first one's number and the next one's.
        queue: (u64, u64),
    },
    /// Fulfilled or rejected.
    Resolved {
        /// Rejected.
        rejected: bool,
        /// With what.
        data: CapData,
        /// Vats that have not been told yet.
        untold: BTreeSet<u64>,
        /// The vat that has resolved it, until everybody was told.
        resolver: Option<u64>,
    },
}

impl Promise {
    /// An unresolved one without any references.
    pub fn new(decider: Option<u64>) -> Promise {
        Promise { refs: 0, watch: None, state: PromiseState::Unresolved { decider, subscribers: BTreeSet::new(), queue: (0, 0) } }
    }
}

/// A line of a c-list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The vat's name for it.
    pub vref: String,
    /// Whether the vat can send to it, or (its own) whether others can.
    pub reachable: bool,
}

/// What one party calls what.
#[derive(Debug, Default)]
pub struct CList {
    by_kref: BTreeMap<KRef, Entry>,
    by_vref: BTreeMap<String, KRef>,
}

impl CList {
    /// What the party calls it.
    pub fn entry(&self, kref: KRef) -> Option<&Entry> {
        self.by_kref.get(&kref)
    }

    /// What the kernel calls it.
    pub fn kref(&self, vref: &str) -> Option<KRef> {
        self.by_vref.get(vref).copied()
    }

    /// All of it.
    pub fn iter(&self) -> impl Iterator<Item = (KRef, &Entry)> {
        self.by_kref.iter().map(|(kref, entry)| (*kref, entry))
    }
}

/// A vat or a device, as the kernel knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// `bot`
    pub name: String,
    /// The module that it is made of; a device has none.
    pub module: String,
    /// How its bodies are written.
    pub dialect: Dialect,
    /// It has a dispatch of its own: it is told of no retirement, and nothing of its c-list is retired but by itself.
    pub raw: bool,
    /// The next names that the kernel gives: objects, promises, device nodes.
    pub next: [u64; 3],
    /// Deliveries so far.
    pub deliveries: u64,
    /// Deliveries and imports that are left before it has to say what it does not need any more.
    pub reap_in: u64,
    /// How many there are each time, deliveries alone if somebody has said how many; 0 for never.
    pub reap_every: u64,
    /// It was made while others ran, by `vatAdmin`, which hears of its end.
    pub dynamic: bool,
    /// How often it was upgraded.
    pub incarnation: u64,
    /// Without it the kernel cannot go on.
    pub critical: bool,
    /// The meter that pays for its deliveries.
    pub meter: Option<u64>,
    /// Bytes of its heap; 0 before it was saved, and for devices.
    pub heap_bytes: u64,
}

impl Member {
    /// Nobody has said how often.
    pub(super) fn is_reaped_as_usual(&self) -> bool {
        self.reap_every == super::REAP_INTERVAL
    }
}

/// What waits to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// A message to an object or a promise.
    Send(KRef, Message),
    /// A promise has been resolved.
    Notify(u64, u64),
    /// The vat is to begin.
    Start(u64, CapData),
    /// It is to begin again, with another module.
    Upgrade(u64, Upgrade),
}

/// What an upgrade is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// What vatAdmin knows it by.
    pub id: u64,
    /// The new module.
    pub module: String,
    /// Its parameters.
    pub parameters: CapData,
    /// What others hear of promises that the vat had to decide.
    pub message: String,
}

/// Garbage that a vat has to hear of. In the order in which they are said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GcKind {
    /// Nobody can reach it any more.
    DropExport,
    /// Nobody knows it any more.
    RetireExport,
    /// It exists no more.
    RetireImport,
}

/// A vat has to hear of it: vat, what, object.
pub type GcAction = (u64, GcKind, u64);

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Counters {
    /// The next object's number.
    pub object: u64,
    /// The next promise's.
    pub promise: u64,
    /// The next device node's.
    #[serde(rename = "node")]
    pub device_node: u64,
    /// The next vat's.
    pub vat: u64,
    /// The next device's.
    pub device: u64,
    /// The next meter's.
    pub meter: u64,
    /// The next upgrade's.
    pub upgrade: u64,
    /// With so many objects it is time to look for cycles of garbage.
    pub cycle_threshold: u64,
    /// A vat has ended without which the kernel cannot go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panic: Option<u64>,
    /// The number of the first in the run queue, and of the next one that comes.
    pub run: (u64, u64),
    /// Cranks so far.
    pub cranks: u64,
    /// Lines of the log so far.
    pub log: u64,
}

/// The least objects at which cycles of garbage are looked for.
pub(super) const CYCLE_THRESHOLD: u64 = 2_000;

impl Default for Counters {
    fn default() -> Counters {
        Counters {
            object: 20,
            promise: 40,
            device_node: 30,
            vat: 1,
            device: 7,
            meter: 1,
            upgrade: 1,
            cycle_threshold: CYCLE_THRESHOLD,
            panic: None,
            run: (0, 0),
            cranks: 0,
            log: 0,
        }
    }
}

/// A row that may have changed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    Counters,
    Member(Party),
    Object(u64),
    Promise(u64),
    Queued(u64, u64),
    Run(u64),
    Entry(Party, KRef),
    Gc(GcAction),
    Reap(u64),
    Meter(u64),
    Log(u64),
    Store(u64, String),
}

/// What was there before.
enum Undo {
    Counters(Counters),
    Member(Party, Option<Box<Member>>),
    Object(u64, Option<Object>),
    Promise(u64, Option<Promise>),
    Queued(u64, u64, Option<Message>),
    Run(u64, Option<Item>),
    Entry(Party, KRef, Option<Entry>),
    Gc(GcAction, bool),
    Reap(u64, bool),
    Meter(u64, Option<Meter>),
    Log(u64),
    Store(u64, String, Option<Option<String>>),
}

impl Undo {
    fn was_there(&self) -> bool {
        match self {
            Undo::Counters(_) => true,
            Undo::Member(_, before) => before.is_some(),
            Undo::Object(_, before) => before.is_some(),
            Undo::Promise(_, before) => before.is_some(),
            Undo::Queued(_, _, before) => before.is_some(),
            Undo::Run(_, before) => before.is_some(),
            Undo::Entry(_, _, before) => before.is_some(),
            Undo::Gc(_, before) | Undo::Reap(_, before) => *before,
            Undo::Meter(_, before) => before.is_some(),
            Undo::Log(_) => false,
            // What is in the state is not known here.
            Undo::Store(..) => true,
        }
    }
}

/// What pays for deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Meter {
    /// What is left.
    pub remaining: u64,
    /// Below this, vatAdmin hears of it, once.
    pub threshold: u64,
    /// Nothing is ever taken from it.
    pub unlimited: bool,
    /// It has not heard yet.
    pub armed: bool,
}

/// See the [module](self).
#[derive(Default)]
pub struct Tables {
    counters: Counters,
    members: BTreeMap<Party, Member>,
    objects: BTreeMap<u64, Object>,
    promises: BTreeMap<u64, Promise>,
    queued: BTreeMap<(u64, u64), Message>,
    run: BTreeMap<u64, Item>,
    /// Of the run queue: what is for a promise, by its numbers there.
    bound: BTreeMap<u64, BTreeSet<u64>>,
    clists: BTreeMap<Party, CList>,
    gc: BTreeSet<GcAction>,
    reap: BTreeSet<u64>,
    meters: BTreeMap<u64, Meter>,
    log: BTreeMap<u64, String>,
    /// What vats have put into their stores since the last transaction.
    store: BTreeMap<(u64, String), Option<String>>,
    undo: Vec<Undo>,
    /// What may have changed since the last transaction, and whether it was there before.
    dirty: BTreeMap<Row, bool>,
}

impl Tables {
    // What is there.

    pub(crate) fn counters(&self) -> &Counters {
        &self.counters
    }

    pub(crate) fn member(&self, party: Party) -> Option<&Member> {
        self.members.get(&party)
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (Party, &Member)> {
        self.members.iter().map(|(party, member)| (*party, member))
    }

    pub(crate) fn object(&self, id: u64) -> Option<&Object> {
        self.objects.get(&id)
    }

    pub(crate) fn objects(&self) -> impl Iterator<Item = (u64, &Object)> {
        self.objects.iter().map(|(id, object)| (*id, object))
    }

    pub(crate) fn object_count(&self) -> u64 {
        self.objects.len() as u64
    }

    pub(crate) fn promise(&self, id: u64) -> Option<&Promise> {
        self.promises.get(&id)
    }

    pub(crate) fn promises(&self) -> impl Iterator<Item = (u64, &Promise)> {
        self.promises.iter().map(|(id, promise)| (*id, promise))
    }

    pub(crate) fn queued(&self, promise: u64, n: u64) -> Option<&Message> {
        self.queued.get(&(promise, n))
    }

    pub(crate) fn run_queue(&self) -> impl Iterator<Item = (u64, &Item)> {
        self.run.iter().map(|(n, item)| (*n, item))
    }

    pub(crate) fn clist(&self, party: Party) -> Option<&CList> {
        self.clists.get(&party)
    }

    pub(crate) fn gc_actions(&self) -> &BTreeSet<GcAction> {
        &self.gc
    }

    pub(crate) fn reap_queue(&self) -> &BTreeSet<u64> {
        &self.reap
    }

    pub(crate) fn meter(&self, id: u64) -> Option<&Meter> {
        self.meters.get(&id)
    }

    pub(crate) fn log(&self) -> impl Iterator<Item = &str> {
        self.log.values().map(String::as_str)
    }

    /// What was put into the run queue last.
    pub(crate) fn last_in_queue(&self) -> Option<&Item> {
        self.run.last_key_value().map(|(_, item)| item)
    }

    pub(super) fn log_line(&self, n: u64) -> Option<&str> {
        self.log.get(&n).map(String::as_str)
    }

    pub(super) fn run_item(&self, n: u64) -> Option<&Item> {
        self.run.get(&n)
    }

    /// What was put into a vat's store since the last transaction: `Some(None)` if it was removed.
    pub(crate) fn stored(&self, vat: u64, key: &str) -> Option<&Option<String>> {
        // A tuple cannot be looked up by parts without a copy of the key; stores are not on the way of every message.
        self.store.get(&(vat, key.to_owned()))
    }

    /// The same from a key on.
    pub(crate) fn stored_after(&self, vat: u64, key: &str) -> impl Iterator<Item = (&str, &Option<String>)> {
        use std::ops::Bound::{Excluded, Unbounded};
        let from = (vat, key.to_owned());
        let rows = self.store.range((Excluded(from), Unbounded));
        rows.take_while(move |((owner, _), _)| *owner == vat).map(|((_, key), value)| (key.as_str(), value))
    }

    // What changes.

    fn note(&mut self, row: Row, undo: Undo) {
        self.dirty.entry(row).or_insert_with(|| undo.was_there());
        self.undo.push(undo);
    }

    pub(crate) fn counters_mut(&mut self) -> &mut Counters {
        self.note(Row::Counters, Undo::Counters(self.counters));
        &mut self.counters
    }

    pub(crate) fn put_member(&mut self, party: Party, member: Member) {
        let before = self.members.insert(party, member);
        self.clists.entry(party).or_default();
        self.note(Row::Member(party), Undo::Member(party, before.map(Box::new)));
    }

    pub(crate) fn member_mut(&mut self, party: Party) -> Option<&mut Member> {
        let before = self.members.get(&party)?.clone();
        self.note(Row::Member(party), Undo::Member(party, Some(Box::new(before))));
        self.members.get_mut(&party)
    }

    pub(crate) fn remove_member(&mut self, party: Party) {
        if let Some(before) = self.members.remove(&party) {
            self.note(Row::Member(party), Undo::Member(party, Some(Box::new(before))));
        }
    }

    pub(crate) fn put_object(&mut self, id: u64, object: Object) {
        let before = self.objects.insert(id, object);
        self.note(Row::Object(id), Undo::Object(id, before));
    }

    pub(crate) fn object_mut(&mut self, id: u64) -> Option<&mut Object> {
        let before = self.objects.get(&id)?.clone();
        self.note(Row::Object(id), Undo::Object(id, Some(before)));
        self.objects.get_mut(&id)
    }

    pub(crate) fn remove_object(&mut self, id: u64) {
        if let Some(before) = self.objects.remove(&id) {
            self.note(Row::Object(id), Undo::Object(id, Some(before)));
        }
    }

    pub(crate) fn put_promise(&mut self, id: u64, promise: Promise) {
        let before = self.promises.insert(id, promise);
        self.note(Row::Promise(id), Undo::Promise(id, before));
    }

    pub(crate) fn promise_mut(&mut self, id: u64) -> Option<&mut Promise> {
        let before = self.promises.get(&id)?.clone();
        self.note(Row::Promise(id), Undo::Promise(id, Some(before)));
        self.promises.get_mut(&id)
    }

    pub(crate) fn remove_promise(&mut self, id: u64) -> Option<Promise> {
        let before = self.promises.remove(&id)?;
        self.note(Row::Promise(id), Undo::Promise(id, Some(before.clone())));
        Some(before)
    }

    pub(crate) fn put_queued(&mut self, promise: u64, n: u64, message: Message) {
        self.queued.insert((promise, n), message);
        self.note(Row::Queued(promise, n), Undo::Queued(promise, n, None));
    }

    pub(crate) fn take_queued(&mut self, promise: u64, n: u64) -> Option<Message> {
        let before = self.queued.remove(&(promise, n))?;
        self.note(Row::Queued(promise, n), Undo::Queued(promise, n, Some(before.clone())));
        Some(before)
    }

    /// What stands at a number of the run queue from now on.
    fn set_run(&mut self, n: u64, item: Option<Item>) -> Option<Item> {
        let before = self.run.remove(&n);
        if let Some(Item::Send(KRef::Promise(id), _)) = &before
            && let Some(numbers) = self.bound.get_mut(id)
        {
            numbers.remove(&n);
            if numbers.is_empty() {
                self.bound.remove(id);
            }
        }
        if let Some(item) = item {
            if let Item::Send(KRef::Promise(id), _) = &item {
                self.bound.entry(*id).or_default().insert(n);
            }
            self.run.insert(n, item);
        }
        before
    }

    /// Puts something behind all that waits.
    pub(crate) fn push(&mut self, item: Item) {
        let n = self.counters.run.1;
        self.counters_mut().run.1 += 1;
        self.set_run(n, Some(item));
        self.note(Row::Run(n), Undo::Run(n, None));
    }

    /// The numbers of what waits in the run queue for a promise.
    pub(super) fn bound_for(&self, promise: u64) -> Vec<u64> {
        self.bound.get(&promise).map(|numbers| numbers.iter().copied().collect()).unwrap_or_default()
    }

    /// Puts these behind all that waits, in their order.
    pub(super) fn put_back(&mut self, numbers: &[u64]) {
        for &n in numbers {
            if let Some(item) = self.set_run(n, None) {
                self.note(Row::Run(n), Undo::Run(n, Some(item.clone())));
                self.push(item);
            }
        }
    }

    /// Takes what waits longest.
    pub(crate) fn pop(&mut self) -> Option<Item> {
        let (&n, _) = self.run.first_key_value()?;
        let item = self.set_run(n, None)?;
        self.counters_mut().run.0 = n + 1;
        self.note(Row::Run(n), Undo::Run(n, Some(item.clone())));
        Some(item)
    }

    pub(crate) fn put_entry(&mut self, party: Party, kref: KRef, entry: Entry) {
        let clist = self.clists.entry(party).or_default();
        clist.by_vref.insert(entry.vref.clone(), kref);
        let before = clist.by_kref.insert(kref, entry);
        self.note(Row::Entry(party, kref), Undo::Entry(party, kref, before));
    }

    pub(crate) fn entry_mut(&mut self, party: Party, kref: KRef) -> Option<&mut Entry> {
        let before = self.clists.get(&party)?.by_kref.get(&kref)?.clone();
        self.note(Row::Entry(party, kref), Undo::Entry(party, kref, Some(before)));
        self.clists.get_mut(&party)?.by_kref.get_mut(&kref)
    }

    pub(crate) fn remove_entry(&mut self, party: Party, kref: KRef) -> Option<Entry> {
        let clist = self.clists.get_mut(&party)?;
        let before = clist.by_kref.remove(&kref)?;
        clist.by_vref.remove(&before.vref);
        self.note(Row::Entry(party, kref), Undo::Entry(party, kref, Some(before.clone())));
        Some(before)
    }

    pub(crate) fn set_gc(&mut self, action: GcAction, on: bool) {
        let before = if on { !self.gc.insert(action) } else { self.gc.remove(&action) };
        if before != on {
            self.note(Row::Gc(action), Undo::Gc(action, before));
        }
    }

    pub(crate) fn set_reap(&mut self, vat: u64, on: bool) {
        let before = if on { !self.reap.insert(vat) } else { self.reap.remove(&vat) };
        if before != on {
            self.note(Row::Reap(vat), Undo::Reap(vat, before));
        }
    }

    pub(crate) fn put_meter(&mut self, id: u64, meter: Meter) {
        let before = self.meters.insert(id, meter);
        self.note(Row::Meter(id), Undo::Meter(id, before));
    }

    pub(crate) fn append_log(&mut self, line: &str) {
        let n = self.counters.log;
        self.counters_mut().log += 1;
        self.log.insert(n, line.to_owned());
        self.note(Row::Log(n), Undo::Log(n));
    }

    pub(crate) fn store(&mut self, vat: u64, key: &str, value: Option<&str>) {
        let before = self.store.insert((vat, key.to_owned()), value.map(str::to_owned));
        self.note(Row::Store(vat, key.to_owned()), Undo::Store(vat, key.to_owned(), before));
    }

    // Cranks and transactions.

    /// Puts everything back to how it was when the crank began.
    pub(crate) fn undo(&mut self) {
        fn put<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, value: Option<V>) {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        fn flip<K: Ord>(set: &mut BTreeSet<K>, key: K, on: bool) {
            if on {
                set.insert(key);
            } else {
                set.remove(&key);
            }
        }
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Counters(before) => self.counters = before,
                Undo::Member(party, before) => put(&mut self.members, party, before.map(|member| *member)),
                Undo::Object(id, before) => put(&mut self.objects, id, before),
                Undo::Promise(id, before) => put(&mut self.promises, id, before),
                Undo::Queued(promise, n, before) => put(&mut self.queued, (promise, n), before),
                Undo::Run(n, before) => drop(self.set_run(n, before)),
                Undo::Entry(party, kref, before) => {
                    let clist = self.clists.entry(party).or_default();
                    if let Some(entry) = clist.by_kref.remove(&kref) {
                        clist.by_vref.remove(&entry.vref);
                    }
                    if let Some(entry) = before {
                        clist.by_vref.insert(entry.vref.clone(), kref);
                        clist.by_kref.insert(kref, entry);
                    }
                }
                Undo::Gc(action, before) => flip(&mut self.gc, action, before),
                Undo::Reap(vat, before) => flip(&mut self.reap, vat, before),
                Undo::Meter(id, before) => put(&mut self.meters, id, before),
                Undo::Log(n) => put(&mut self.log, n, None),
                Undo::Store(vat, key, before) => put(&mut self.store, (vat, key), before),
            }
        }
    }

    /// What was changed can be undone no more.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Takes the rows that may have changed since the last time.
    pub(super) fn take_dirty(&mut self) -> BTreeMap<Row, bool> {
        self.undo.clear();
        std::mem::take(&mut self.dirty)
    }

    /// Everything is as the state has it.
    pub(super) fn forget_changes(&mut self) {
        self.dirty.clear();
        self.undo.clear();
    }

    /// The stores are in the state now.
    pub(super) fn forget_stores(&mut self) {
        self.store.clear();
    }

    /// Puts what was read from the state, which is no change.
    pub(super) fn restore(&mut self, put: impl FnOnce(&mut Tables)) {
        put(self);
        self.forget_changes();
    }

    /// Whether no promise says that more waits for it than there is.
    pub(super) fn queues_are_whole(&self) -> bool {
        let most = self.queued.len() as u64;
        self.promises.values().all(|promise| match &promise.state {
            PromiseState::Unresolved { queue, .. } => queue.1 - queue.0 <= most,
            PromiseState::Resolved { .. } => true,
        })
    }

    pub(super) fn set_counters(&mut self, counters: Counters) {
        self.counters = counters;
    }

    pub(super) fn put_run(&mut self, n: u64, item: Item) {
        self.set_run(n, Some(item));
    }

    pub(super) fn put_log(&mut self, n: u64, line: String) {
        self.log.insert(n, line);
    }
}
