//! Translation between the kernel's names and a vat's, and who is counted for it.

use super::capdata::{SLOTS, is_digestible, is_too_long};
use super::refs::{KRef, Kind, Party, VRef};
use super::syscalls::Illegal;
use super::tables::{Entry, Object, Promise};
use super::{CapData, Kernel, VatData};

/// Whether a name is of something that its party has exported itself.
pub(super) fn is_own(vref: &str) -> bool {
    vref.as_bytes().get(1) == Some(&b'+')
}

impl Kernel {
    pub(super) fn new_promise(&mut self, decider: Option<u64>) -> u64 {
        let counters = self.tables.counters_mut();
        let id = counters.promise;
        counters.promise += 1;
        self.tables.put_promise(id, Promise::new(decider));
        id
    }

    /// One more refers to it, and can reach it.
    pub fn refer(&mut self, kref: KRef) {
        match kref {
            KRef::Object(id) => {
                if let Some(object) = self.tables.object_mut(id) {
                    object.reachable += 1;
                    object.recognizable += 1;
                }
            }
            KRef::Promise(id) => {
                if let Some(promise) = self.tables.promise_mut(id) {
                    promise.refs += 1;
                }
            }
            KRef::Device(_) => {}
        }
    }

    /// The opposite.
    pub(super) fn release(&mut self, kref: KRef) {
        match kref {
            KRef::Object(id) => {
                if let Some(object) = self.tables.object_mut(id) {
                    object.reachable = object.reachable.saturating_sub(1);
                    object.recognizable = object.recognizable.saturating_sub(1);
                }
            }
            KRef::Promise(id) => {
                if let Some(promise) = self.tables.promise_mut(id) {
                    promise.refs = promise.refs.saturating_sub(1);
                }
            }
            KRef::Device(_) => return,
        }
        self.maybe_free.insert(kref);
    }

    /// What a party calls something; it is given a name if it has none, and can reach it from now on.
    pub(super) fn export(&mut self, party: Party, kref: KRef) -> String {
        let known =
            self.tables.clist(party).and_then(|clist| clist.entry(kref)).map(|entry| (entry.vref.clone(), entry.reachable));
        if let Some((vref, reachable)) = known {
            if !reachable {
                self.tables.entry_mut(party, kref).expect("just seen").reachable = true;
                let owned = is_own(&vref);
                if let (KRef::Object(id), false) = (kref, owned)
                    && let Some(object) = self.tables.object_mut(id)
                {
                    object.reachable += 1;
                }
            }
            return vref;
        }
        let (letter, which) = match kref {
            KRef::Object(_) => ('o', 0),
            KRef::Promise(_) => ('p', 1),
            KRef::Device(_) => ('d', 2),
        };
        let Some(member) = self.tables.member_mut(party) else { return String::new() };
        let n = member.next[which];
        member.next[which] += 1;
        if letter == 'o' && member.is_reaped_as_usual() {
            member.reap_in = member.reap_in.saturating_sub(1);
        }
        let vref = format!("{letter}-{n}");
        self.tables.put_entry(party, kref, Entry { vref: vref.clone(), reachable: true });
        self.refer(kref);
        vref
    }

    /// What a party is given, in its own names.
    pub fn export_data(&mut self, party: Party, data: &CapData) -> VatData {
        let slots = data.slots.iter().map(|&slot| self.export(party, slot)).collect();
        VatData { body: data.body.clone(), slots }
    }

    /// What the kernel calls what a vat speaks of. What it has not spoken of before is its own, and new.
    pub(super) fn import(&mut self, party: Party, vref: &str) -> Result<KRef, Illegal> {
        let known = self.tables.clist(party).and_then(|clist| clist.kref(vref));
        if let Some(kref) = known {
            let reachable = self.tables.clist(party).and_then(|clist| clist.entry(kref)).is_some_and(|entry| entry.reachable);
            if !reachable {
                if !is_own(vref) {
                    return Err(Illegal(format!("{vref} was dropped")));
                }
                self.tables.entry_mut(party, kref).expect("just seen").reachable = true;
            }
            return Ok(kref);
        }
        let name = VRef::parse(vref).ok_or_else(|| Illegal(format!("not a reference: {vref:?}")))?;
        if !name.own {
            return Err(Illegal(format!("{vref} is not in the c-list of {party}")));
        }
        let kref = match (name.kind, party) {
            (Kind::Object, _) => {
                let counters = self.tables.counters_mut();
                let id = counters.object;
                counters.object += 1;
                self.tables.put_object(id, Object { owner: Some(party), reachable: 0, recognizable: 0 });
                // Until somebody refers to it.
                self.maybe_free.insert(KRef::Object(id));
                KRef::Object(id)
            }
            (Kind::Promise, Party::Vat(vat)) => KRef::Promise(self.new_promise(Some(vat))),
            (Kind::Device, Party::Device(_)) => {
                let counters = self.tables.counters_mut();
                counters.device_node += 1;
                KRef::Device(counters.device_node - 1)
            }
            _ => return Err(Illegal(format!("{vref} is nothing that {party} can make"))),
        };
        self.tables.put_entry(party, kref, Entry { vref: vref.to_owned(), reachable: true });
        if let KRef::Promise(_) = kref {
            self.refer(kref);
        }
        Ok(kref)
    }

    /// What a party says, in the kernel's names.
    pub fn import_data(&mut self, party: Party, body: &str, slots: &[&str]) -> Result<CapData, Illegal> {
        if is_too_long(body) || slots.len() > SLOTS || !is_digestible(body) {
            return Err(Illegal("syscall capdata too large".into()));
        }
        let slots = slots.iter().map(|vref| self.import(party, vref)).collect::<Result<_, _>>()?;
        Ok(CapData { body: body.to_owned(), slots })
    }

    /// The kernel's name for what a party exports under this name, as if it had just spoken of it.
    pub fn exported(&mut self, party: Party, vref: &str) -> KRef {
        self.import(party, vref).expect("a party may export")
    }

    /// A line of a c-list goes, and what it counted for.
    pub(super) fn forget(&mut self, party: Party, kref: KRef) {
        let Some(entry) = self.tables.remove_entry(party, kref) else { return };
        match kref {
            KRef::Promise(_) => self.release(kref),
            KRef::Object(id) if !is_own(&entry.vref) => {
                if let Some(object) = self.tables.object_mut(id) {
                    object.recognizable = object.recognizable.saturating_sub(1);
                    if entry.reachable {
                        object.reachable = object.reachable.saturating_sub(1);
                    }
                }
                self.maybe_free.insert(kref);
            }
            _ => {}
        }
    }

    /// What something in the kernel referred to it refers to no more.
    pub fn let_go(&mut self, data: &CapData) {
        for &slot in &data.slots {
            self.release(slot);
        }
    }
}
