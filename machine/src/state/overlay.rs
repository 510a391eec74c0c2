//! The overlay: the writes that the store does not have yet.
//!
//! One mutable part, `active`, and frozen layers that snapshots share. `freeze` turns the active part into a layer and
//! merges layers until each is more than twice as long as the next newer one, so that an entry is moved at most
//! log₂(entries) times and a read looks into at most that many layers.

use std::collections::BTreeMap;
use std::sync::Arc;

use fjall::Slice;

/// What is known of a key: its stored value (seqno and value), or that it was removed.
pub(super) type Slot = Option<Slice>;

/// The mutable part, by composite key.
pub(super) type Active = BTreeMap<Slice, Slot>;

/// Estimated memory around one entry: two handles of 24 bytes, two heap blocks with their counts, the tree's slack.
const ENTRY_OVERHEAD_BYTES: usize = 96;

fn slot_bytes(key: &[u8], slot: &Slot) -> usize {
    ENTRY_OVERHEAD_BYTES + key.len() + slot.as_ref().map_or(0, |stored| stored.len())
}

/// A frozen, sorted part of the overlay.
#[derive(Clone, Default)]
pub(super) struct Layer {
    slots: Vec<(Slice, Slot)>,
    bytes: usize,
}

impl Layer {
    fn new(slots: Vec<(Slice, Slot)>) -> Self {
        let bytes = slots.iter().map(|(key, slot)| slot_bytes(key, slot)).sum();
        Self { slots, bytes }
    }

    pub(super) fn slots(&self) -> &[(Slice, Slot)] {
        &self.slots
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Slot> {
        let at = self.slots.binary_search_by(|(other, _)| (**other).cmp(key)).ok()?;
        Some(&self.slots[at].1)
    }

    /// `self` with everything in `newer` on top.
    fn merge(self, newer: Self) -> Self {
        let mut merged = Vec::with_capacity(self.slots.len() + newer.slots.len());
        let mut old = self.slots.into_iter().peekable();
        for (key, slot) in newer.slots {
            while let Some(entry) = old.next_if(|(other, _)| **other < *key) {
                merged.push(entry);
            }
            old.next_if(|(other, _)| **other == *key);
            merged.push((key, slot));
        }
        merged.extend(old);
        Self::new(merged)
    }
}

#[derive(Default)]
pub(super) struct Overlay {
    active: Active,
    active_bytes: usize,
    /// Oldest, and longest, first.
    layers: Vec<Arc<Layer>>,
}

impl Overlay {
    /// An overlay that begins with frozen layers, oldest first.
    pub(super) fn over(layers: Vec<Arc<Layer>>) -> Self {
        Self { layers, ..Self::default() }
    }

    pub(super) fn active(&self) -> &Active {
        &self.active
    }

    pub(super) fn layers(&self) -> &[Arc<Layer>] {
        &self.layers
    }

    pub(super) fn has_layers(&self) -> bool {
        !self.layers.is_empty()
    }

    /// Estimated memory.
    pub(super) fn bytes(&self) -> usize {
        self.active_bytes + self.layers.iter().map(|layer| layer.bytes).sum::<usize>()
    }

    pub(super) fn put(&mut self, key: &[u8], slot: Slot) {
        let new_bytes = slot_bytes(key, &slot);
        match self.active.get_mut(key) {
            Some(old) => {
                self.active_bytes -= slot_bytes(key, old);
                *old = slot;
            }
            None => {
                self.active.insert(Slice::from(key), slot);
            }
        }
        self.active_bytes += new_bytes;
    }

    /// Removes a key of the active part without a mark.
    pub(super) fn forget(&mut self, key: &[u8]) {
        if let Some(old) = self.active.remove(key) {
            self.active_bytes -= slot_bytes(key, &old);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn take_active(&mut self) -> Layer {
        self.active_bytes = 0;
        Layer::new(std::mem::take(&mut self.active).into_iter().collect())
    }

    /// Freezes the active part and gives all layers. `bottom`: there is no store below, so that the oldest layer needs
    /// no marks of removal.
    pub(super) fn freeze(&mut self, bottom: bool) -> Vec<Arc<Layer>> {
        if !self.active.is_empty() {
            let mut newest = self.take_active();
            while let Some(older) = self.layers.pop_if(|older| older.slots.len() <= 2 * newest.slots.len()) {
                newest = Arc::unwrap_or_clone(older).merge(newest);
            }
            if bottom && self.layers.is_empty() && newest.slots.iter().any(|(_, slot)| slot.is_none()) {
                newest.slots.retain(|(_, slot)| slot.is_some());
                newest = Layer::new(newest.slots);
            }
            if !newest.slots.is_empty() {
                self.layers.push(Arc::new(newest));
            }
        }
        self.layers.clone()
    }

    /// Makes one layer of everything, for the store.
    pub(super) fn merge_all(&mut self) -> Arc<Layer> {
        let mut newest = self.take_active();
        while let Some(older) = self.layers.pop() {
            newest = Arc::unwrap_or_clone(older).merge(newest);
        }
        let whole = Arc::new(newest);
        self.layers.push(Arc::clone(&whole));
        whole
    }
}
