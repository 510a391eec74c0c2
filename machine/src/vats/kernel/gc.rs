//! What nobody refers to any more. Counts that went down during a crank are looked at when it ends; who has to hear of it is told
//! before anything else happens.

use super::clist::is_own;
use super::refs::{KRef, Party};
use super::tables::{CList, CYCLE_THRESHOLD, GcAction, GcKind, PromiseState};
use super::{Delivery, Kernel, Next};
use std::collections::{BTreeMap, BTreeSet};

impl Kernel {
    /// Looks at what may be garbage now.
    pub(super) fn collect(&mut self) {
        while let Some(kref) = self.maybe_free.pop_first() {
            match kref {
                KRef::Promise(id) => self.collect_promise(id),
                KRef::Object(id) => self.collect_object(id),
                KRef::Device(_) => {}
            }
        }
    }

    fn collect_promise(&mut self, id: u64) {
        if self.tables.promise(id).is_none_or(|promise| promise.refs > 0) {
            return;
        }
        let Some(promise) = self.tables.remove_promise(id) else { return };
        match promise.state {
            PromiseState::Resolved { data, .. } => {
                for slot in data.slots {
                    self.release(slot);
                }
            }
            PromiseState::Unresolved { queue, .. } => {
                for n in queue.0..queue.1 {
                    if let Some(message) = self.tables.take_queued(id, n) {
                        self.drop_message(KRef::Promise(id), &message);
                    }
                }
            }
        }
    }

    fn collect_object(&mut self, id: u64) {
        let kref = KRef::Object(id);
        let Some(object) = self.tables.object(id).cloned() else { return };
        if object.reachable > 0 {
            return;
        }
        match object.owner {
            Some(Party::Vat(vat)) => {
                let entry = self.tables.clist(Party::Vat(vat)).and_then(|clist| clist.entry(kref));
                if entry.is_some_and(|entry| entry.reachable) {
                    self.tables.set_gc((vat, GcKind::DropExport, id), true);
                }
                if object.recognizable == 0 {
                    self.tables.set_gc((vat, GcKind::RetireExport, id), true);
                }
            }
            Some(Party::Device(_)) => {}
            // Those who still know it have to forget it.
            None if object.recognizable == 0 => self.tables.remove_object(id),
            None => {
                let knows = |party: &Party| self.tables.clist(*party).is_some_and(|clist| clist.entry(kref).is_some());
                let members: Vec<Party> = self.tables.members().map(|(party, _)| party).filter(knows).collect();
                for party in members {
                    if let Party::Vat(vat) = party {
                        self.tables.set_gc((vat, GcKind::RetireImport, id), true);
                    }
                }
            }
        }
    }

    /// Whether it is still so.
    fn holds(&self, (vat, kind, id): GcAction) -> bool {
        let entry = self.tables.clist(Party::Vat(vat)).and_then(|clist| clist.entry(KRef::Object(id)));
        let (Some(object), Some(entry)) = (self.tables.object(id), entry) else { return false };
        match kind {
            GcKind::DropExport => object.reachable == 0 && entry.reachable,
            GcKind::RetireExport => object.reachable == 0 && object.recognizable == 0,
            GcKind::RetireImport => object.owner.is_none(),
        }
    }

    /// All of one kind that one vat has to hear of, if anybody has to hear of anything.
    pub(super) fn next_garbage(&mut self) -> Option<Next> {
        while let Some(&(vat, kind, _)) = self.tables.gc_actions().first() {
            let group: Vec<GcAction> = self.tables.gc_actions().range((vat, kind, 0)..=(vat, kind, u64::MAX)).copied().collect();
            let mut vrefs = Vec::with_capacity(group.len());
            let party = Party::Vat(vat);
            for action in group {
                let holds = self.holds(action);
                self.tables.set_gc(action, false);
                if !holds {
                    continue;
                }
                let kref = KRef::Object(action.2);
                let vref = self.tables.clist(party).and_then(|clist| clist.entry(kref)).expect("it holds").vref.clone();
                match kind {
                    GcKind::DropExport => self.tables.entry_mut(party, kref).expect("it holds").reachable = false,
                    GcKind::RetireExport => {
                        self.tables.remove_entry(party, kref);
                        self.tables.remove_object(action.2);
                    }
                    GcKind::RetireImport => self.forget(party, kref),
                }
                vrefs.push(vref);
            }
            let raw = self.tables.member(party).is_none_or(|member| member.raw);
            if !vrefs.is_empty() && !raw {
                return Some(Next::Deliver(vat, Delivery::Gc(kind, vrefs)));
            }
        }
        None
    }
}

/// An object that nothing but vats' c-lists refers to.
pub struct Suspect {
    /// Whose it is.
    pub owner: u64,
    /// What that vat calls it.
    pub vref: String,
    /// Vats that import it.
    pub importers: BTreeSet<u64>,
}

impl Kernel {
    /// Whether it is time to look for cycles of garbage.
    pub fn is_cycle_search_due(&self) -> bool {
        self.tables.object_count() >= self.tables.counters().cycle_threshold
    }

    /// They were looked for, and these are garbage: the next time is when there are twice as many objects as will be left.
    pub fn searched(&mut self, garbage: usize) {
        let left = self.tables.object_count().saturating_sub(garbage as u64);
        let cycle_threshold = (left * 2).max(CYCLE_THRESHOLD);
        self.tables.counters_mut().cycle_threshold = cycle_threshold;
    }

    /// Objects that may be part of a cycle of garbage. Vats with a dispatch of their own say nothing of what they hold: what they
    /// import is no suspect, and neither is what they export.
    pub fn suspects(&self) -> BTreeMap<u64, Suspect> {
        let mut suspects = BTreeMap::new();
        for (party, member) in self.tables.members() {
            let Party::Vat(vat) = party else { continue };
            if member.raw {
                continue;
            }
            for (kref, entry) in self.tables.clist(party).into_iter().flat_map(CList::iter) {
                if let KRef::Object(id) = kref
                    && entry.reachable
                    && is_own(&entry.vref)
                    && entry.vref != "o+0"
                {
                    suspects.insert(id, Suspect { owner: vat, vref: entry.vref.clone(), importers: BTreeSet::new() });
                }
            }
        }
        for (party, member) in self.tables.members() {
            let Party::Vat(vat) = party else { continue };
            for (kref, entry) in self.tables.clist(party).into_iter().flat_map(CList::iter) {
                if let KRef::Object(id) = kref
                    && entry.reachable
                    && !member.raw
                    && !is_own(&entry.vref)
                    && let Some(suspect) = suspects.get_mut(&id)
                {
                    suspect.importers.insert(vat);
                }
            }
        }
        // What anything else refers to is alive.
        suspects.retain(|id, suspect| {
            let reachable = self.tables.object(*id).map_or(0, |object| object.reachable);
            reachable > 0 && reachable as usize == suspect.importers.len()
        });
        suspects
    }

    /// A vat's exports that only garbage can reach.
    pub fn drop_exports(&mut self, vat: u64, vrefs: &[String]) {
        let party = Party::Vat(vat);
        for vref in vrefs {
            if let Some(kref) = self.tables.clist(party).and_then(|clist| clist.kref(vref))
                && let Some(entry) = self.tables.entry_mut(party, kref)
            {
                entry.reachable = false;
            }
        }
    }
}
