//! What a vat asks of the kernel, in its own names.

use super::clist::is_own;
use super::refs::{KRef, Party};
use super::tables::{Item, PromiseState};
use super::{CapData, Kernel, Message};

/// What no vat may ask. It is the vat's end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Illegal(pub String);

/// What becomes of a promise: its name, whether it is rejected, body, slots.
pub type Resolution<'a> = (&'a str, bool, &'a str, Vec<&'a str>);

/// What a vat says of what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcCall {
    /// It cannot send to these any more.
    DropImports,
    /// It knows these no more.
    RetireImports,
    /// Its own, which nobody can reach, exist no more.
    RetireExports,
    /// Its own, whoever can reach them, exist no more.
    AbandonExports,
}

impl Kernel {
    /// Sends a message. `method`: see [`Message::method`].
    pub fn syscall_send(
        &mut self,
        vat: u64,
        target: &str,
        method: Option<String>,
        body: &str,
        slots: &[&str],
        result: Option<&str>,
    ) -> Result<(), Illegal> {
        let party = Party::Vat(vat);
        let to = self.import(party, target)?;
        if let KRef::Device(_) = to {
            return Err(Illegal(format!("{target} is a device: it takes no messages")));
        }
        let args = self.import_data(party, body, slots)?;
        let result = result.map(|vpid| self.own_promise(vat, vpid)).transpose()?;
        if let Some(id) = result {
            self.set_decider(id, None);
        }
        self.send(to, Message { method, args, result });
        Ok(())
    }

    /// A promise that this vat decides, by its name.
    fn own_promise(&mut self, vat: u64, vpid: &str) -> Result<u64, Illegal> {
        let KRef::Promise(id) = self.import(Party::Vat(vat), vpid)? else {
            return Err(Illegal(format!("{vpid} is no promise")));
        };
        if self.decides(vat, id) {
            return Ok(id);
        }
        Err(Illegal(match self.tables.promise(id).map(|promise| &promise.state) {
            Some(PromiseState::Unresolved { decider: Some(other), .. }) => format!("kp{id} is decided by v{other}, not v{vat}"),
            Some(PromiseState::Unresolved { decider: None, .. }) => format!("kp{id} is decided by nobody yet, not v{vat}"),
            _ => format!("kp{id} was already resolved"),
        }))
    }

    /// Wants to hear what becomes of a promise.
    pub fn syscall_subscribe(&mut self, vat: u64, vpid: &str) -> Result<(), Illegal> {
        match self.import(Party::Vat(vat), vpid)? {
            KRef::Promise(id) => self.subscribe_to(vat, id),
            _ => return Err(Illegal(format!("{vpid} is no promise"))),
        }
        Ok(())
    }

    /// Resolves promises, all at once: their data may speak of each other.
    pub fn syscall_resolve(&mut self, vat: u64, resolutions: &[Resolution]) -> Result<(), Illegal> {
        let mut all: Vec<(u64, bool, CapData)> = Vec::with_capacity(resolutions.len());
        for (vpid, rejected, body, slots) in resolutions {
            let id = self.own_promise(vat, vpid)?;
            if all.iter().any(|(other, ..)| *other == id) {
                return Err(Illegal(format!("kp{id} was already resolved")));
            }
            let data = self.import_data(Party::Vat(vat), body, slots)?;
            if !rejected && data.sole_slot().is_some_and(|slot| matches!(slot, KRef::Promise(_))) {
                return Err(Illegal(format!("kp{id} cannot be fulfilled with a promise")));
            }
            all.push((id, *rejected, data));
        }
        for (id, rejected, data) in all {
            if let (false, Some(KRef::Object(object))) = (rejected, data.sole_slot())
                && self.tables.object(object).is_some_and(|object| object.owner != Some(Party::Vat(vat)))
            {
                self.redirected.push(id);
            }
            self.settle(id, rejected, data, Some(vat));
            // Who hears of it may still be told in the names of before; without anybody it is over here, too.
            let told = self
                .tables
                .promise(id)
                .is_none_or(|promise| matches!(&promise.state, PromiseState::Resolved { untold, .. } if untold.is_empty()));
            if told {
                self.retire_promise(vat, id);
            }
        }
        Ok(())
    }

    /// Speaks of these promises no more. For vats that keep what is resolved until they say so.
    pub fn syscall_forget(&mut self, vat: u64, vpids: &[&str]) -> Result<(), Illegal> {
        let party = Party::Vat(vat);
        for &vpid in vpids {
            let Some(KRef::Promise(id)) = self.tables.clist(party).and_then(|clist| clist.kref(vpid)) else {
                return Err(Illegal(format!("{vpid} is no promise in the c-list of v{vat}")));
            };
            if self.decides(vat, id) {
                return Err(Illegal(format!("kp{id} is still to be decided by v{vat}")));
            }
            self.forget(party, KRef::Promise(id));
        }
        Ok(())
    }

    /// Says what it holds no more.
    pub fn syscall_gc(&mut self, vat: u64, call: GcCall, vrefs: &[&str]) -> Result<(), Illegal> {
        let party = Party::Vat(vat);
        for &vref in vrefs {
            let own = is_own(vref);
            let imports = matches!(call, GcCall::DropImports | GcCall::RetireImports);
            let clist = self.tables.clist(party);
            let Some(kref @ KRef::Object(id)) = clist.and_then(|clist| clist.kref(vref)) else {
                return Err(Illegal(format!("{vref} is not in the c-list of v{vat}")));
            };
            if own == imports {
                return Err(Illegal(format!("{vref} is not one of its {}", if imports { "imports" } else { "exports" })));
            }
            let reachable = clist.and_then(|clist| clist.entry(kref)).is_some_and(|entry| entry.reachable);
            match call {
                GcCall::DropImports => {
                    if !reachable {
                        return Err(Illegal(format!("{vref} was dropped before")));
                    }
                    self.tables.entry_mut(party, kref).expect("just seen").reachable = false;
                    if let Some(object) = self.tables.object_mut(id) {
                        object.reachable = object.reachable.saturating_sub(1);
                    }
                    self.maybe_free.insert(kref);
                }
                GcCall::RetireImports => {
                    if reachable {
                        return Err(Illegal(format!("{vref} is still reachable")));
                    }
                    self.forget(party, kref);
                    self.tables.set_gc((vat, super::GcKind::RetireImport, id), false);
                }
                GcCall::RetireExports if reachable => return Err(Illegal(format!("{vref} is still reachable"))),
                GcCall::RetireExports | GcCall::AbandonExports => self.orphan(party, kref),
            }
        }
        Ok(())
    }

    /// An export exists no more.
    pub(super) fn orphan(&mut self, party: Party, kref: KRef) {
        self.tables.remove_entry(party, kref);
        if let (KRef::Object(id), Party::Vat(vat)) = (kref, party) {
            if let Some(object) = self.tables.object_mut(id) {
                object.owner = None;
            }
            self.tables.set_gc((vat, super::GcKind::DropExport, id), false);
            self.tables.set_gc((vat, super::GcKind::RetireExport, id), false);
        }
        self.maybe_free.insert(kref);
    }

    /// A vat is no more: what it had to decide is rejected, what it has exported is nobody's, what it held it holds no more.
    pub fn terminate(&mut self, vat: u64, rejection: &CapData) {
        let party = Party::Vat(vat);
        if self.tables.member(party).is_none() {
            return;
        }
        let entries: Vec<(KRef, String)> = self
            .tables
            .clist(party)
            .map(|clist| clist.iter().map(|(kref, entry)| (kref, entry.vref.clone())).collect())
            .unwrap_or_default();
        for (kref, _) in &entries {
            if let KRef::Promise(id) = *kref
                && self.decides(vat, id)
            {
                self.settle(id, true, rejection.clone(), None);
            }
        }
        for (kref, vref) in entries {
            if let (KRef::Object(_), true) = (kref, is_own(&vref)) {
                self.orphan(party, kref);
            } else {
                self.forget(party, kref);
            }
        }
        let actions: Vec<_> = self.tables.gc_actions().iter().filter(|action| action.0 == vat).copied().collect();
        for action in actions {
            self.tables.set_gc(action, false);
        }
        self.tables.set_reap(vat, false);
        self.tables.remove_member(party);
    }

    /// A vat begins anew: what it had to decide is rejected, and what it has exported and does not outlive that is nobody's.
    pub fn disconnect(&mut self, vat: u64, rejection: &CapData) {
        let party = Party::Vat(vat);
        let entries: Vec<(KRef, String)> = self
            .tables
            .clist(party)
            .map(|clist| clist.iter().map(|(kref, entry)| (kref, entry.vref.clone())).collect())
            .unwrap_or_default();
        for (kref, vref) in entries {
            match kref {
                KRef::Promise(id) if self.decides(vat, id) => {
                    self.settle(id, true, rejection.clone(), None);
                    // A vat that waits for its own promise hears of it anew.
                    if !self.waits_for(vat, id) {
                        self.forget(party, kref);
                    }
                }
                // The root is the new root, and durable objects are what they were.
                KRef::Object(_) if is_own(&vref) && vref != "o+0" && !vref.starts_with("o+d") => self.orphan(party, kref),
                _ => {}
            }
        }
    }

    /// A vat is to begin, with these parameters.
    pub fn start(&mut self, vat: u64, parameters: CapData) {
        for &slot in &parameters.slots {
            self.refer(slot);
        }
        self.tables.push(Item::Start(vat, parameters));
    }
}
