//! Promises: who decides them, who hears of them.

use super::refs::{KRef, Party};
use super::tables::{Item, PromiseState};
use super::{CapData, Delivery, Dialect, Kernel, Next, Settled};
use std::collections::BTreeSet;

/// One delivery tells of a promise, and of others with it that come to no more than so many bytes.
const TOLD_BYTES: usize = 16_000_000;

impl Kernel {
    /// Whether a vat decides a promise.
    pub(super) fn decides(&self, vat: u64, id: u64) -> bool {
        self.tables.promise(id).is_some_and(
            |promise| matches!(promise.state, PromiseState::Unresolved { decider: Some(decider), .. } if decider == vat),
        )
    }

    /// Whether a vat has to be told of a promise that is resolved.
    pub(super) fn waits_for(&self, vat: u64, id: u64) -> bool {
        self.tables
            .promise(id)
            .is_some_and(|promise| matches!(&promise.state, PromiseState::Resolved { untold, .. } if untold.contains(&vat)))
    }

    pub(super) fn set_decider(&mut self, id: u64, vat: Option<u64>) {
        if let Some(promise) = self.tables.promise_mut(id)
            && let PromiseState::Unresolved { decider, .. } = &mut promise.state
        {
            *decider = vat;
        }
    }

    /// A vat wants to know what becomes of a promise.
    pub(super) fn subscribe_to(&mut self, vat: u64, id: u64) {
        let Some(promise) = self.tables.promise_mut(id) else { return };
        match &mut promise.state {
            PromiseState::Unresolved { subscribers, .. } => {
                subscribers.insert(vat);
            }
            PromiseState::Resolved { untold, .. } => {
                if untold.insert(vat) {
                    promise.refs += 1;
                    self.tables.push(Item::Notify(vat, id));
                }
            }
        }
    }

    /// A promise is resolved: everybody hears of it, and messages that waited go on. `resolver`: the vat that has said so.
    pub(super) fn settle(&mut self, id: u64, rejected: bool, data: CapData, resolver: Option<u64>) {
        let Some(PromiseState::Unresolved { subscribers, queue, .. }) = self.tables.promise(id).map(|promise| &promise.state)
        else {
            return;
        };
        let (mut subscribers, queue) = (subscribers.clone(), *queue);
        // Who resolves it knows; but a dispatch of 2019 hears of its own promises, too.
        if let Some(vat) = resolver
            && self.tables.member(Party::Vat(vat)).is_some_and(|member| !member.raw)
        {
            subscribers.remove(&vat);
        }
        let Some(promise) = self.tables.promise_mut(id) else { return };
        let resolver = resolver.filter(|_| !subscribers.is_empty());
        promise.state = PromiseState::Resolved { rejected, data: data.clone(), untold: subscribers.clone(), resolver };
        promise.refs += subscribers.len() as u32;
        let watch = promise.watch.take();
        for &slot in &data.slots {
            self.refer(slot);
        }
        for vat in subscribers {
            self.tables.push(Item::Notify(vat, id));
        }
        for n in queue.0..queue.1 {
            // What it is counted for goes with it.
            if let Some(message) = self.tables.take_queued(id, n) {
                self.tables.push(Item::Send(KRef::Promise(id), message));
            }
        }
        if let Some(watch) = watch {
            self.settled.push(Settled { watch, rejected, data });
            self.release(KRef::Promise(id));
        }
        self.maybe_free.insert(KRef::Promise(id));
    }

    /// Rejects a promise with an error of the kernel's.
    pub(super) fn reject(&mut self, id: u64, dialect: Dialect, name: &str, message: &str) {
        self.settle(id, true, CapData::error(dialect, name, message), None);
    }

    /// A vat that keeps no promises which are resolved forgets one.
    pub(super) fn retire_promise(&mut self, vat: u64, id: u64) {
        let keeps = self.tables.member(Party::Vat(vat)).is_none_or(|member| member.raw);
        if !keeps {
            self.forget(Party::Vat(vat), KRef::Promise(id));
        }
    }

    /// A vat is told of a promise; with it of every promise that its data speaks of and that is resolved, too.
    pub(super) fn notify(&mut self, vat: u64, id: u64) -> Next {
        let waits = self.waits_for(vat, id);
        let knows = self.tables.clist(Party::Vat(vat)).is_some_and(|clist| clist.entry(KRef::Promise(id)).is_some());
        self.release(KRef::Promise(id));
        if !waits || !knows {
            self.tell(vat, id);
            return Next::Done;
        }
        // Not before all have their names here: who is told may be who has resolved it.
        let mut told: Vec<u64> = vec![id];
        let mut seen = BTreeSet::from([id]);
        let (mut at, mut bytes) = (0, 0);
        while let Some(&id) = told.get(at) {
            at += 1;
            let Some(PromiseState::Resolved { data, .. }) = self.tables.promise(id).map(|promise| &promise.state) else {
                continue;
            };
            for slot in &data.slots {
                let &KRef::Promise(other) = slot else { continue };
                let Some(PromiseState::Resolved { data, .. }) = self.tables.promise(other).map(|promise| &promise.state) else {
                    continue;
                };
                // Of what is left out the vat hears by itself.
                if !seen.contains(&other) && bytes + data.body.len() <= TOLD_BYTES {
                    bytes += data.body.len();
                    seen.insert(other);
                    told.push(other);
                }
            }
        }
        let mut resolutions = Vec::with_capacity(told.len());
        for &id in &told {
            let Some(PromiseState::Resolved { rejected, data, .. }) =
                self.tables.promise(id).map(|promise| promise.state.clone())
            else {
                continue;
            };
            let vpid = self.export(Party::Vat(vat), KRef::Promise(id));
            let data = self.export_data(Party::Vat(vat), &data);
            resolutions.push((vpid, rejected, data));
        }
        for &id in &told {
            self.tell(vat, id);
            self.retire_promise(vat, id);
        }
        self.told = told;
        Next::Deliver(vat, Delivery::Notify(resolutions))
    }

    /// The vat knows now, or never will. When it was the last, the promise leaves the list of who has resolved it, too.
    fn tell(&mut self, vat: u64, id: u64) {
        let Some(PromiseState::Resolved { untold, .. }) = self.tables.promise(id).map(|promise| &promise.state) else { return };
        if !untold.contains(&vat) {
            return;
        }
        let promise = self.tables.promise_mut(id).expect("just seen");
        let PromiseState::Resolved { untold, resolver, .. } = &mut promise.state else { return };
        untold.remove(&vat);
        if untold.is_empty()
            && let Some(resolver) = resolver.take()
        {
            self.retire_promise(resolver, id);
        }
    }
}
