//! Cycles of garbage across vats: objects that only each other hold, each through a vat that cannot see beyond itself.
//!
//! Which of a vat's imports hang on which of its exports, the vat's heap says: in a copy of its realm the exports are dropped and its
//! garbage is collected; what it then still imports, it holds for itself. So:
//!
//! 1. The suspects: objects that nothing but vats' c-lists refers to. None is known to be alive.
//! 2. In a copy of each vat that exports or imports some, every export that is a suspect and not known to be alive is dropped. What
//!    the copy still imports is alive; whoever exports that is asked again, without dropping it.
//! 3. When nobody finds more, the suspects that are left are garbage. Their vats drop them, this time for good, and the rest follows
//!    by counting.
//!
//! If that takes too long, everything counts as alive. Copies are thrown away, and what they say to the kernel is undone. When this happens depends on the tables alone: when there are
//! twice as many objects as were left the last time.

use super::Vats;
use super::kernel::{Delivery, GcKind, KRef, Party};
use crate::Fault;
use std::collections::{BTreeMap, BTreeSet};

/// What one search may take. A chain that goes to and fro between vats has them asked for each link.
const SEARCH_INSTRUCTIONS: u64 = 5_000_000_000;

impl Vats {
    /// Finds cycles of garbage and has their vats drop them. Counts as a crank.
    pub(super) fn collect_cycles(&mut self) -> Result<(), Fault> {
        let suspects = self.core().kernel.suspects();
        let mut asked: BTreeSet<u64> = BTreeSet::new();
        for suspect in suspects.values() {
            asked.insert(suspect.owner);
            asked.extend(&suspect.importers);
        }
        let members = asked.clone();
        let mut alive: BTreeSet<u64> = BTreeSet::new();
        let began = self.core().spent;
        while let Some(vat) = asked.pop_first() {
            if self.core().spent - began > SEARCH_INSTRUCTIONS {
                // It is not known: nothing is.
                alive.extend(suspects.keys());
                break;
            }
            let dropped: Vec<String> = suspects
                .iter()
                .filter(|(id, suspect)| suspect.owner == vat && !alive.contains(id))
                .map(|(_, suspect)| suspect.vref.clone())
                .collect();
            let still = self.still_held(vat, dropped)?;
            for (id, suspect) in &suspects {
                if suspect.importers.contains(&vat) && still.as_ref().is_none_or(|still| still.contains(id)) && alive.insert(*id)
                {
                    asked.insert(suspect.owner);
                }
            }
        }
        let mut garbage: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        for (id, suspect) in &suspects {
            if !alive.contains(id) {
                garbage.entry(suspect.owner).or_default().push(suspect.vref.clone());
            }
        }
        let core = self.core_mut();
        core.begin_crank();
        for (vat, vrefs) in &garbage {
            core.kernel.drop_exports(*vat, vrefs);
        }
        core.kernel.searched(garbage.values().map(Vec::len).sum());
        core.end_crank();
        for (vat, vrefs) in garbage {
            self.core_mut().begin_crank();
            self.work(vat, &Delivery::Gc(GcKind::DropExport, vrefs))?;
        }
        for vat in members {
            if self.core().kernel.tables().member(Party::Vat(vat)).is_some() {
                self.core_mut().begin_crank();
                self.work(vat, &Delivery::BringOutYourDead)?;
            }
        }
        Ok(())
    }

    /// The objects that a vat still imports when these of its exports are dropped. `None`: it does not say.
    fn still_held(&mut self, vat: u64, dropped: Vec<String>) -> Result<Option<BTreeSet<u64>>, Fault> {
        let core = self.core.as_ref().expect("not lent");
        let Some(realm) = self.realms.take(vat, core)? else { return Ok(None) };
        let mut copy = self.realms.copy(vat, &realm)?;
        self.realms.put(vat, realm)?;
        let core = self.core_mut();
        core.begin_crank();
        core.kernel.drop_exports(vat, &dropped);
        let mut ends = self.deliver(vat, &mut copy, &Delivery::Gc(GcKind::DropExport, dropped))?.is_some();
        while !ends {
            ends = self.deliver(vat, &mut copy, &Delivery::BringOutYourDead)?.is_some();
            if !self.core().more {
                break;
            }
        }
        let core = self.core_mut();
        let clist = core.kernel.tables().clist(Party::Vat(vat));
        let imports = clist.into_iter().flat_map(|clist| clist.iter()).filter_map(|(kref, entry)| match kref {
            KRef::Object(id) if entry.reachable && entry.vref.starts_with("o-") => Some(id),
            _ => None,
        });
        let imports: BTreeSet<u64> = imports.collect();
        core.abandon_crank();
        Ok((!ends).then_some(imports))
    }
}
