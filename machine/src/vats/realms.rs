//! The vats' realms: those that were at work lately are in memory, the others are pages: compressed, or in the state since the last
//! checkpoint.

use super::host::VatHost;
use super::kernel::{Party, Tables};
use super::{Core, HEAPS, VatRealm};
use crate::Fault;
use crate::state::State;
use ledger::WriteSet;
use sandbox::{Limits, PAGE_BYTES, Realm, Sandbox};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Vats in memory at once.
const ONLINE: usize = 64;

/// A vat that is not in memory and has changed since the last checkpoint.
struct Parked {
    len: usize,
    pages: Vec<(u32, Vec<u8>)>,
}

pub(super) struct Realms {
    sandbox: Sandbox,
    pub limits: Limits,
    online: BTreeMap<u64, (u64, VatRealm)>,
    parked: BTreeMap<u64, Parked>,
    /// Vats that have run since the last checkpoint.
    changed: BTreeSet<u64>,
    /// Vats that are no more, and may have pages in the state.
    gone: BTreeSet<u64>,
    clock: u64,
}

impl Realms {
    pub fn new(sandbox: Sandbox) -> Realms {
        Realms {
            sandbox,
            limits: Limits::DEFAULT,
            online: BTreeMap::new(),
            parked: BTreeMap::new(),
            changed: BTreeSet::new(),
            gone: BTreeSet::new(),
            clock: 0,
        }
    }

    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// A vat that has not begun.
    pub fn fresh(&self, vat: u64) -> Result<VatRealm, Fault> {
        Ok(Realm::vat(&self.sandbox, self.limits, VatHost::new(vat))?)
    }

    /// Takes a vat's realm to work with. It has to be put back.
    pub fn take(&mut self, vat: u64, core: &Core) -> Result<Option<VatRealm>, Fault> {
        if let Some((_, realm)) = self.online.remove(&vat) {
            return Ok(Some(realm));
        }
        let (len, blocks) = match self.parked.remove(&vat) {
            Some(parked) => (parked.len, parked.pages),
            None => {
                let len = core.kernel.tables().member(Party::Vat(vat)).map_or(0, |member| member.heap_bytes as usize);
                if len == 0 {
                    return Ok(None);
                }
                (len, saved(core.records.state(), vat)?)
            }
        };
        if !self.sandbox.can_hold(self.limits, len) {
            return Err(malformed("the size", vat));
        }
        let mut pages = Vec::with_capacity(blocks.len());
        for (index, block) in blocks {
            let mut page = [0; PAGE_BYTES];
            let whole = lz4_flex::block::decompress_into(&block, &mut page).ok() == Some(PAGE_BYTES);
            if !whole || index as usize >= len / PAGE_BYTES {
                return Err(malformed("a page", vat));
            }
            pages.push((index, page));
        }
        Ok(Some(Realm::vat_from(&self.sandbox, self.limits, VatHost::new(vat), len, pages)?))
    }

    /// Another realm that is as this one is now.
    pub fn copy(&self, vat: u64, realm: &VatRealm) -> Result<VatRealm, Fault> {
        let pages: Vec<(u32, [u8; PAGE_BYTES])> = realm.saved_pages()?.map(|(index, page)| (index, *page)).collect();
        Ok(Realm::vat_from(&self.sandbox, self.limits, VatHost::new(vat), realm.heap_bytes(), pages)?)
    }

    /// Puts back a realm that has not changed, or adds one.
    pub fn put(&mut self, vat: u64, realm: VatRealm) -> Result<(), Fault> {
        self.clock += 1;
        if self.online.len() >= ONLINE {
            self.park()?;
        }
        self.online.insert(vat, (self.clock, realm));
        Ok(())
    }

    /// Puts back a realm that has run.
    pub fn keep(&mut self, vat: u64, realm: VatRealm) -> Result<(), Fault> {
        self.changed.insert(vat);
        self.put(vat, realm)
    }

    /// The vat is no more.
    pub fn drop_vat(&mut self, vat: u64) {
        self.online.remove(&vat);
        self.parked.remove(&vat);
        self.changed.remove(&vat);
        self.gone.insert(vat);
    }

    /// All of it is no more.
    pub fn clear(&mut self) {
        *self = Realms { limits: self.limits, ..Realms::new(self.sandbox.clone()) };
    }

    /// The one that has rested longest leaves the memory.
    fn park(&mut self) -> Result<(), Fault> {
        let Some((&vat, _)) = self.online.iter().min_by_key(|(_, (used, _))| *used) else { return Ok(()) };
        let Some((_, realm)) = self.online.remove(&vat) else { return Ok(()) };
        // What the state has need not be kept twice.
        if self.changed.contains(&vat) {
            let pages = compressed(&realm)?;
            self.parked.insert(vat, Parked { len: realm.heap_bytes(), pages });
        }
        Ok(())
    }

    /// Writes the pages that are others than at the last checkpoint.
    pub fn save(&mut self, core: &mut Core, writes: &mut WriteSet) -> Result<(), Fault> {
        for vat in std::mem::take(&mut self.changed) {
            let (len, pages) = match (self.online.get(&vat), self.parked.remove(&vat)) {
                (Some((_, realm)), _) => (realm.heap_bytes(), compressed(realm)?),
                (None, Some(parked)) => (parked.len, parked.pages),
                (None, None) => continue,
            };
            let mut before: BTreeMap<u32, Vec<u8>> = saved(core.records.state(), vat)?.into_iter().collect();
            for (index, page) in pages {
                if before.remove(&index).is_none_or(|before| before != page) {
                    writes.put(HEAPS, key(vat, index), page);
                }
            }
            for index in before.into_keys() {
                writes.remove(HEAPS, key(vat, index));
            }
            set_heap_bytes(core.kernel.tables_mut(), vat, len);
        }
        for vat in std::mem::take(&mut self.gone) {
            for (index, _) in saved(core.records.state(), vat)? {
                writes.remove(HEAPS, key(vat, index));
            }
        }
        Ok(())
    }
}

fn set_heap_bytes(tables: &mut Tables, vat: u64, len: usize) {
    let party = Party::Vat(vat);
    if tables.member(party).is_some_and(|member| member.heap_bytes != len as u64)
        && let Some(member) = tables.member_mut(party)
    {
        member.heap_bytes = len as u64;
    }
}

fn compressed(realm: &VatRealm) -> Result<Vec<(u32, Vec<u8>)>, Fault> {
    Ok(realm.saved_pages()?.map(|(index, page)| (index, lz4_flex::block::compress(page))).collect())
}

fn key(vat: u64, page: u32) -> [u8; 8] {
    let mut key = [0; 8];
    key[..4].copy_from_slice(&(vat as u32).to_be_bytes());
    key[4..].copy_from_slice(&page.to_be_bytes());
    key
}

/// The pages that the state has of a vat.
fn saved(state: &State, vat: u64) -> Result<Vec<(u32, Vec<u8>)>, Fault> {
    let (from, to) = (key(vat, 0), key(vat, u32::MAX));
    let mut pages = Vec::new();
    for row in state.range(HEAPS, Bound::Included(from.as_slice()), Bound::Included(to.as_slice()))? {
        let (key, entry) = row?;
        let key: &[u8; 8] = key.as_ref().try_into().map_err(|_| malformed("a key", vat))?;
        let index = u32::from_be_bytes([key[4], key[5], key[6], key[7]]);
        pages.push((index, entry.value().to_vec()));
    }
    Ok(pages)
}

fn malformed(what: &str, vat: u64) -> Fault {
    Fault::Checkpoint(format!("{what} of the saved heap of v{vat} is malformed"))
}
