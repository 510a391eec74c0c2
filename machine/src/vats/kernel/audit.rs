//! Whether the tables agree with each other: counts against what they count, queues against who waits. For tests; nothing else
//! ever asks.

use super::clist::is_own;
use super::refs::{KRef, Party};
use super::tables::{GcKind, Item, PromiseState};
use super::{CapData, Kernel, Message};
use std::collections::{BTreeMap, BTreeSet};

/// What refers to each thing, counted anew: with the power to send to it, and knowing it.
#[derive(Default)]
struct Counts {
    objects: BTreeMap<u64, (u32, u32)>,
    promises: BTreeMap<u64, u32>,
}

impl Counts {
    fn kref(&mut self, kref: KRef) {
        match kref {
            KRef::Object(id) => {
                let (reachable, recognizable) = self.objects.entry(id).or_default();
                *reachable += 1;
                *recognizable += 1;
            }
            KRef::Promise(id) => *self.promises.entry(id).or_default() += 1,
            KRef::Device(_) => {}
        }
    }

    fn data(&mut self, data: &CapData) {
        data.slots.iter().for_each(|&slot| self.kref(slot));
    }

    fn message(&mut self, target: KRef, message: &Message) {
        self.kref(target);
        self.data(&message.args);
        if let Some(result) = message.result {
            self.kref(KRef::Promise(result));
        }
    }
}

fn must(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

impl Kernel {
    /// Has every vat say next what it does not need any more.
    #[doc(hidden)]
    pub fn reap_all(&mut self) {
        let vats: Vec<u64> = self
            .tables
            .members()
            .filter_map(|(party, member)| match party {
                Party::Vat(vat) if !member.raw => Some(vat),
                _ => None,
            })
            .collect();
        for vat in vats {
            self.tables.set_reap(vat, true);
        }
    }

    /// Recounts everything, between two cranks, and says what does not agree.
    #[doc(hidden)]
    pub fn audit(&self) -> Result<(), String> {
        let tables = &self.tables;
        let mut counts = Counts::default();
        let mut notifies: BTreeSet<(u64, u64)> = BTreeSet::new();
        for (n, item) in tables.run_queue() {
            must((tables.counters().run.0..tables.counters().run.1).contains(&n), || {
                format!("run.{n} is out of the queue's range")
            })?;
            match item {
                Item::Send(target, message) => counts.message(*target, message),
                Item::Notify(vat, id) => {
                    notifies.insert((*vat, *id));
                    counts.kref(KRef::Promise(*id));
                }
                Item::Start(_, data) => counts.data(data),
                Item::Upgrade(_, upgrade) => counts.data(&upgrade.parameters),
            }
        }
        for (party, _) in tables.members() {
            self.audit_clist(party, &mut counts)?;
        }
        for (id, promise) in tables.promises() {
            if promise.watch.is_some() {
                counts.kref(KRef::Promise(id));
            }
            match &promise.state {
                PromiseState::Unresolved { decider, subscribers: _, queue } => {
                    if let Some(vat) = decider {
                        let entry = tables.clist(Party::Vat(*vat)).and_then(|clist| clist.entry(KRef::Promise(id)));
                        must(entry.is_some(), || format!("kp{id} is decided by v{vat}, which does not know it"))?;
                    }
                    must(decider.is_none() || queue.0 == queue.1, || format!("messages wait for kp{id}, which has a decider"))?;
                    for n in queue.0..queue.1 {
                        let message = tables.queued(id, n).ok_or_else(|| format!("kp{id}.queue.{n} is missing"))?;
                        counts.message(KRef::Promise(id), message);
                    }
                }
                PromiseState::Resolved { data, untold, .. } => {
                    must(tables.queued(id, 0).is_none(), || format!("messages wait for kp{id}, which is resolved"))?;
                    counts.data(data);
                    for vat in untold {
                        must(notifies.contains(&(*vat, id)), || format!("v{vat} will never be told of kp{id}"))?;
                    }
                }
            }
        }
        self.audit_counts(&counts)
    }

    fn audit_clist(&self, party: Party, counts: &mut Counts) -> Result<(), String> {
        let tables = &self.tables;
        for (kref, entry) in tables.clist(party).into_iter().flat_map(|clist| clist.iter()) {
            let name = || format!("{party} {kref} {}", entry.vref);
            must(tables.clist(party).and_then(|clist| clist.kref(&entry.vref)) == Some(kref), || format!("{}: one-way", name()))?;
            match kref {
                KRef::Object(id) => {
                    let object = tables.object(id).ok_or_else(|| format!("{}: no such object", name()))?;
                    must(is_own(&entry.vref) == (object.owner == Some(party)), || {
                        format!("{}: owned by {:?}", name(), object.owner)
                    })?;
                    if !is_own(&entry.vref) {
                        let (reachable, recognizable) = counts.objects.entry(id).or_default();
                        *recognizable += 1;
                        *reachable += u32::from(entry.reachable);
                    }
                }
                KRef::Promise(id) => {
                    must(tables.promise(id).is_some(), || format!("{}: no such promise", name()))?;
                    must(matches!(party, Party::Vat(_)), || format!("{}: a device has no promises", name()))?;
                    counts.kref(kref);
                }
                KRef::Device(_) => {}
            }
        }
        Ok(())
    }

    fn audit_counts(&self, counts: &Counts) -> Result<(), String> {
        let tables = &self.tables;
        for (id, object) in tables.objects() {
            let (reachable, recognizable) = counts.objects.get(&id).copied().unwrap_or_default();
            let (more, known) = (object.reachable.wrapping_sub(reachable), object.recognizable.wrapping_sub(recognizable));
            let entry = object.owner.and_then(|owner| tables.clist(owner)).and_then(|clist| clist.entry(KRef::Object(id)));
            let can_be_pinned = object.owner.is_none() || entry.is_some_and(|entry| entry.vref == "o+0");
            let most = u32::from(can_be_pinned);
            must(more <= most && known == more, || {
                format!(
                    "ko{id} counts {}, {}, of which there are {reachable}, {recognizable}",
                    object.reachable, object.recognizable
                )
            })?;
            if let Some(Party::Vat(vat)) = object.owner {
                let entry = entry.ok_or_else(|| format!("ko{id} is not in the c-list of v{vat}, which owns it"))?;
                let pending = |kind| tables.gc_actions().contains(&(vat, kind, id));
                let dropped = object.reachable > 0 || !entry.reachable || pending(GcKind::DropExport);
                must(dropped, || format!("ko{id} is reachable by nobody, and v{vat} will not hear of it"))?;
                let retired = object.recognizable > 0 || pending(GcKind::RetireExport);
                must(retired, || format!("ko{id} is known to nobody, and v{vat} will not hear of it"))?;
                must(entry.reachable || object.reachable == 0, || format!("ko{id} is reachable, and v{vat} was told otherwise"))?;
            }
            must(object.owner.is_some() || object.recognizable > 0, || format!("ko{id} is nobody's, known to nobody"))?;
        }
        for (id, promise) in tables.promises() {
            let refs = counts.promises.get(&id).copied().unwrap_or_default();
            must(promise.refs == refs && refs > 0, || format!("kp{id} counts {}, of which there are {refs}", promise.refs))?;
        }
        for id in counts.promises.keys() {
            must(tables.promise(*id).is_some(), || format!("kp{id} is spoken of, and is not there"))?;
        }
        for id in counts.objects.keys() {
            must(tables.object(*id).is_some(), || format!("ko{id} is spoken of, and is not there"))?;
        }
        Ok(())
    }
}
