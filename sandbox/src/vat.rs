//! Vats: many small realms that live on.
//!
//! ```text
//! base image, shared by all vats of the process, never written     | this vat's own
//! | pages of the runtime after boot, and room for a small vat      | what it has grown by |
//!   └ a page that the vat writes becomes its own
//! ```
//!
//! A vat is never rolled back. A delivery that fails ends it: the caller drops the realm, and makes another of what it has saved.
//! So a delivery copies nothing and asks the kernel of the machine for nothing; which pages are the vat's own is looked up only
//! when it is to be saved.
//!
//! # Invariants
//!
//! - A vat is what its base and [`Realm::saved_pages`] say: made of them again, it goes on in the same way.
//! - No page of one vat is ever seen by another: the image is mapped private by each of them.

use crate::heap::{Heap, PAGE_BYTES};
use crate::host::{Fault, Host};
use crate::realm::{Exports, Limits, Outcome, Realm, Sandbox, Slot};
use std::borrow::Borrow;
use wasmtime::Store;

impl<H: Host> Realm<H> {
    /// A vat that has just booted. `sandbox` is one of [`Sandbox::vats`].
    pub fn vat(sandbox: &Sandbox, limits: Limits, host: H) -> Result<Realm<H>, Fault> {
        let mut realm = Realm::mapped(sandbox, limits, host, 0)?;
        let Realm { store, exports, .. } = &mut realm;
        let limited = exports.limit.call(&mut *store, (limits.heap_bytes, limits.stack_bytes));
        limited.map_err(|e| Fault(format!("a vat does not start: {e:#}")))?;
        Ok(realm)
    }

    /// A vat as it was saved: `len` bytes of heap, of which the pages that differ from [`Sandbox::base_page`], in order.
    pub fn vat_from<P: Borrow<[u8; PAGE_BYTES]>>(
        sandbox: &Sandbox,
        limits: Limits,
        host: H,
        len: usize,
        pages: impl IntoIterator<Item = (u32, P)>,
    ) -> Result<Realm<H>, Fault> {
        if !sandbox.can_hold(limits, len) {
            return Err(Fault(format!("a saved vat of {len} bytes")));
        }
        let mut realm = Realm::mapped(sandbox, limits, host, len)?;
        let memory = realm.exports.memory.data_mut(&mut realm.store);
        for (index, page) in pages {
            let place = memory.get_mut(index as usize * PAGE_BYTES..).and_then(<[u8]>::first_chunk_mut);
            let place: &mut [u8; PAGE_BYTES] =
                place.ok_or_else(|| Fault(format!("a saved vat of {len} bytes has no page {index}")))?;
            place.copy_from_slice(page.borrow());
        }
        Ok(realm)
    }

    /// The base image, mapped, in a memory of at least `len` bytes.
    fn mapped(sandbox: &Sandbox, limits: Limits, host: H, len: usize) -> Result<Realm<H>, Fault> {
        let image = sandbox.image.clone().ok_or_else(|| Fault("not a sandbox of vats".into()))?;
        Realm::with(sandbox.clone(), limits, host, len.max(image.len_bytes()), |memory, store| {
            // SAFETY: the memory of this store, which the realm owns and drops after the heap; it is a `Reservation`, never
            // moves, and only the realm's work touches it, through `&mut self`. It is at least as long as the image.
            unsafe { Heap::begin_with(memory.data_ptr(&*store), memory.data_size(&*store), &image) }
        })
    }

    /// Makes a delivery of this kind to a vat. Its time is always 0.
    ///
    /// A failure ends the vat: what it has done by then is in its heap, and the realm is to be dropped.
    pub fn deliver(&mut self, kind: &str, fields: &[&str]) -> Result<Outcome, Fault> {
        let fields: Vec<&[u8]> = std::iter::once(kind).chain(fields.iter().copied()).map(str::as_bytes).collect();
        self.run_kept(&fields, 0, |exports, store| exports.deliver.call(store, ()))
    }

    /// A piece of work that is not undone, even if it fails.
    pub(crate) fn run_kept(
        &mut self,
        fields: &[&[u8]],
        now_ms: u64,
        run: impl FnOnce(&Exports, &mut Store<Slot<H>>) -> wasmtime::Result<u64>,
    ) -> Result<Outcome, Fault> {
        if !self.heap.keeps() {
            return Err(Fault("a delivery to a realm that is no vat".into()));
        }
        if self.trapped {
            return Err(Fault("a vat that has ended".into()));
        }
        let outcome = self.run(fields, now_ms, run)?;
        self.heap.keep(self.exports.memory.data_size(&self.store));
        Ok(outcome)
    }

    /// The pages of a vat that differ from [`Sandbox::base_page`], in order: what has to be saved of it, with
    /// [`Realm::heap_bytes`].
    pub fn saved_pages(&self) -> Result<impl Iterator<Item = (u32, &[u8; PAGE_BYTES])>, Fault> {
        let written = self.heap.written()?;
        Ok(written
            .into_iter()
            .map(|index| (index, self.page(index)))
            .filter(|(index, page)| *page != self.sandbox.base_page(*index)))
    }

    /// Gives pages back that a vat has written and that are as in the base again. Returns how many.
    pub fn trim(&mut self) -> Result<usize, Fault> {
        let mut pages = self.heap.written()?;
        pages.retain(|&index| self.page(index) == self.sandbox.base_page(index));
        self.heap.give_back(&pages)?;
        Ok(pages.len())
    }
}
