//! The state: named maps of bytes to bytes, ordered by key, each value with the seqno of the transaction that wrote it.
//!
//! The state is a function of the ledger and nothing else. It says which transaction it has [`State::applied`]; what
//! comes after is in the ledger and is applied again. That is why it may lose its newest writes in a crash, needs no
//! log of its own, and may be deleted at any time: an empty state and the ledger give the same state back.
//!
//! ```text
//!                 writer                                        readers
//!   apply ──▶ ┌─────────────┐   snapshot    ┌──────────────────────────────────────────────┐
//!             │ active      │ ─────────────▶│ frozen layers, newest last, each sorted,     │──┐
//!             │ (BTreeMap)  │   freezes it  │ each more than twice as long as the next     │  │ get, range, keys
//!             └─────────────┘               └──────────────────────────────────────────────┘  │ ask the newest
//!                    └───────── the overlay ───────────┘                                      ├▶ first: active,
//!                                  │ flush: one sorted run, written once, atomic              │ layers, store
//!                                  ▼                                                          │
//!             ┌─────────────────────────────────────────────┐                                 │
//!             │ store (fjall: a log-structured merge tree)  │─────────────────────────────────┘
//!             └─────────────────────────────────────────────┘
//! ```
//!
//! New writes stay in memory, in the **overlay**, and go to the store as one sorted run of at most
//! [`FLUSH_OVERLAY_BYTES`] or [`FLUSH_TRANSACTIONS`] transactions. A key that is overwritten 10,000 times in between
//! costs the disk one write.
//!
//! A **snapshot** freezes the active part of the overlay into a sorted layer and shares it. Layers are merged as they
//! come, so that there are never more than log₂ of the overlay's entries; a live snapshot keeps its own.
//!
//! Keys and values on disk. Integers are big-endian, so that the order of bytes is the order of keys. The first byte
//! keeps each map's keys together and apart from the store's own record:
//!
//! ```text
//!   key     ┌─────┬───────────┬───────┐      value  ┌───────────┬─────────┐
//!           │ len │ map name  │  key  │             │ seqno u64 │  value  │
//!           └─────┴───────────┴───────┘             └───────────┴─────────┘
//!            1 byte, 1..=255   0..=MAX_KEY_BYTES      8 bytes     0..=MAX_VALUE_BYTES
//!
//!   key     ┌─────┐                          value  ┌────────────┬─────────────┐
//!           │ 0   │                                 │ FORMAT u8  │ applied u64 │
//!           └─────┘                                 └────────────┴─────────────┘
//! ```
//!
//! Invariants:
//! - The store holds the state after exactly the transactions up to its own `applied`: each run carries the record
//!   above and becomes visible, in memory and on disk, as a whole or not at all.
//! - Seqnos of applied transactions increase strictly; gaps are allowed.
//! - A refused transaction changes nothing.
//! - A snapshot never changes, whatever the writer does: apply, flush or wipe.
//! - The result of a read depends on the applied transactions, never on when something was flushed, frozen or merged.
//! - One writer: every change goes through `&mut State`. Threads belong to the store alone, which merges its runs.

mod overlay;
mod range;
mod store;
#[cfg(test)]
mod tests;

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fjall::Slice;

use overlay::{Layer, Overlay};
pub use range::{Key, Keys, Range};
use range::{Reader, bounds_in_map, composite_key};
use store::{Store, View};

/// The longest map name, in bytes of UTF-8. Its length is one byte on disk.
pub const MAX_MAP_NAME_BYTES: usize = 255;

/// The longest key. The store takes 65,535 bytes, of which one byte and the map name are ours.
pub const MAX_KEY_BYTES: usize = 65_535 - 1 - MAX_MAP_NAME_BYTES;

/// The longest value: 64 MiB.
pub const MAX_VALUE_BYTES: usize = 64 << 20;

/// An overlay of more bytes than this (8 MiB, with an estimate of the memory around each entry) goes to the store.
pub const FLUSH_OVERLAY_BYTES: usize = 8 << 20;

/// The overlay also goes to the store after this many transactions, so that a crash never costs more replay than
/// that, however few keys they touched. Applying that many small transactions again takes a fraction of a second.
pub const FLUSH_TRANSACTIONS: u64 = 65_536;

/// Bytes of the seqno in front of each stored value.
const SEQNO_BYTES: usize = 8;

/// What went wrong, sorted by what the caller does next.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The caller broke a rule or a limit. Nothing has changed.
    #[error("state refused a transaction or a read: {0}")]
    Refused(#[from] Refusal),
    /// Another process, or a snapshot that is still alive in this one, has the directory open.
    #[error("the state directory is in use")]
    InUse,
    /// The stored state cannot be used: damaged, or of another format. [`State::delete`] it and rebuild.
    #[error("the stored state is unusable, delete and rebuild it: {0}")]
    Unusable(String),
    /// The disk or the system failed. The node stops; what was applied is in the ledger.
    #[error("the state store failed: {0}")]
    Host(#[source] std::io::Error),
}

/// A rule or limit that a caller broke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Transactions are applied in order, once.
    #[error("transaction {seqno} comes after {applied}, which is applied already")]
    Order {
        /// The refused transaction.
        seqno: u64,
        /// The last applied transaction.
        applied: u64,
    },
    /// A map name is empty or longer than [`MAX_MAP_NAME_BYTES`].
    #[error("a map name of {bytes} bytes, not 1 to {MAX_MAP_NAME_BYTES}")]
    MapName {
        /// Length of the name.
        bytes: usize,
    },
    /// A key is longer than [`MAX_KEY_BYTES`].
    #[error("a key of {bytes} bytes, more than {MAX_KEY_BYTES}")]
    Key {
        /// Length of the key.
        bytes: usize,
    },
    /// A value is longer than [`MAX_VALUE_BYTES`].
    #[error("a value of {bytes} bytes, more than {MAX_VALUE_BYTES}")]
    Value {
        /// Length of the value.
        bytes: usize,
    },
}

/// A value and the transaction that wrote it. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// As on disk: seqno, then value.
    stored: Slice,
}

impl Entry {
    fn encode(seqno: u64, value: &[u8]) -> Slice {
        let mut stored = Vec::with_capacity(SEQNO_BYTES + value.len());
        stored.extend_from_slice(&seqno.to_be_bytes());
        stored.extend_from_slice(value);
        Slice::from(stored)
    }

    /// Checks what came from the disk.
    fn from_stored(stored: Slice) -> Result<Self, StateError> {
        if stored.len() < SEQNO_BYTES {
            return Err(StateError::Unusable("a value without its seqno".to_owned()));
        }
        Ok(Self { stored })
    }

    /// The transaction that wrote the value.
    #[must_use]
    pub fn seqno(&self) -> u64 {
        let (seqno, _) = self.stored.split_first_chunk().expect("an entry starts with its seqno");
        u64::from_be_bytes(*seqno)
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.stored[SEQNO_BYTES..]
    }
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry").field("seqno", &self.seqno()).field("value", &self.value().escape_ascii().to_string()).finish()
    }
}

/// The state, for its one writer. See the [module](self).
pub struct State {
    overlay: Overlay,
    /// None: in memory, as yet or for ever.
    store: Option<Store>,
    /// Where the first flush makes the store.
    place: Option<PathBuf>,
    applied: u64,
    /// Transactions in the overlay.
    unflushed: u64,
    by_hand: bool,
    /// What a fork began with, if that was in a store.
    base: Option<Arc<View>>,
}

impl State {
    /// An empty state that never touches a disk.
    #[must_use]
    pub fn in_memory() -> Self {
        Self { overlay: Overlay::default(), store: None, place: None, applied: 0, unflushed: 0, by_hand: false, base: None }
    }

    /// A state that begins as a snapshot and goes its own way, in memory. What it writes nobody else sees.
    #[must_use]
    pub fn fork(snapshot: &Snapshot) -> Self {
        let overlay = Overlay::over(snapshot.layers.clone());
        let Snapshot { applied, view, .. } = snapshot;
        Self { overlay, applied: *applied, base: view.clone(), by_hand: true, ..Self::in_memory() }
    }

    /// The state kept in `dir`: everything up to the last flush. If there is no `dir`, the first flush makes it: a small
    /// state never costs the two dozen fsyncs of a new store.
    pub fn open(dir: &Path) -> Result<Self, StateError> {
        if !dir.exists() {
            return Ok(Self { place: Some(dir.to_owned()), ..Self::in_memory() });
        }
        let (store, applied) = Store::open(dir)?;
        Ok(Self {
            overlay: Overlay::default(),
            store: Some(store),
            place: None,
            applied,
            unflushed: 0,
            by_hand: false,
            base: None,
        })
    }

    /// Deletes the state kept in `dir`, also one that cannot be opened. Nobody may have it open.
    pub fn delete(dir: &Path) -> Result<(), StateError> {
        match std::fs::remove_dir_all(dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(StateError::Host(error)),
            _ => Ok(()),
        }
    }

    /// Forgets everything: a rebuild starts. Snapshots keep what they saw.
    pub fn wipe(&mut self) -> Result<(), StateError> {
        if let Some(store) = &mut self.store {
            store.wipe()?;
        }
        self.overlay.clear();
        self.applied = 0;
        self.unflushed = 0;
        Ok(())
    }

    /// The last applied transaction, 0 before the first.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The last transaction that a crash would not take away: [`State::applied`] at the last flush.
    #[must_use]
    pub fn flushed(&self) -> u64 {
        self.store.as_ref().map_or(0, Store::applied)
    }

    /// Applies one transaction: `(map, key, value)`, `None` removes the key. Of two writes to one key the later wins.
    ///
    /// The writes are walked twice: first all are checked, so that a refused transaction changes nothing.
    pub fn apply<'w, W>(&mut self, seqno: u64, writes: W) -> Result<(), StateError>
    where
        W: IntoIterator<Item = (&'w str, &'w [u8], Option<&'w [u8]>)>,
        W::IntoIter: Clone,
    {
        if seqno <= self.applied {
            return Err(Refusal::Order { seqno, applied: self.applied }.into());
        }
        let writes = writes.into_iter();
        for (map, key, value) in writes.clone() {
            check(map, key.len(), value.map_or(0, <[u8]>::len))?;
        }

        let mut composite = Vec::new();
        for (map, key, value) in writes {
            composite_key(&mut composite, map, key);
            match value {
                Some(value) => self.overlay.put(&composite, Some(Entry::encode(seqno, value))),
                // What is nowhere below needs no mark that it is gone.
                None if self.view().is_none() && !self.overlay.has_layers() => self.overlay.forget(&composite),
                None => self.overlay.put(&composite, None),
            }
        }
        self.applied = seqno;
        self.unflushed += 1;
        if self.is_full() && !self.by_hand {
            self.flush()?;
        }
        Ok(())
    }

    /// The overlay has grown so large that it should go to the store.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.overlay.bytes() > FLUSH_OVERLAY_BYTES || self.unflushed >= FLUSH_TRANSACTIONS
    }

    /// From now on nothing goes to the store but by [`State::flush`], so that what it holds is the state after a
    /// transaction of the caller's choice. He has to ask [`State::is_full`].
    pub fn flush_by_hand(&mut self) {
        self.by_hand = true;
    }

    /// Moves the overlay into the store. It costs a few fsyncs: for a shutdown or a checkpoint, not for each group of
    /// transactions. In memory there is nothing to do.
    pub fn flush(&mut self) -> Result<(), StateError> {
        if self.store.is_none()
            && self.applied > 0
            && let Some(dir) = &self.place
        {
            self.store = Some(Store::open(dir)?.0);
        }
        let Some(store) = &mut self.store else {
            return Ok(());
        };
        if self.applied == store.applied() {
            return Ok(());
        }
        let run = self.overlay.merge_all();
        store.write(run.slots(), self.applied)?;
        self.overlay.clear();
        self.unflushed = 0;
        Ok(())
    }

    /// A view of the state as it is now, for other threads.
    ///
    /// The cost is that of the writes since the last snapshot, times the logarithm of the overlay, amortised.
    pub fn snapshot(&mut self) -> Snapshot {
        let view = self.view().cloned();
        Snapshot { applied: self.applied, layers: self.overlay.freeze(view.is_none()), view }
    }

    fn view(&self) -> Option<&Arc<View>> {
        self.store.as_ref().map(Store::view).or(self.base.as_ref())
    }

    /// The value of a key.
    pub fn get(&self, map: &str, key: &[u8]) -> Result<Option<Entry>, StateError> {
        check(map, key.len(), 0)?;
        self.reader().get(map, key)
    }

    /// The entries of a map between two keys, in order, from either end. Read as they are asked for.
    pub fn range(&self, map: &str, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Range<'_>, StateError> {
        check(map, 0, 0)?;
        Ok(self.reader().range(bounds_in_map(map, from, to)))
    }

    /// Like [`State::range`], but only the keys: large values are not read.
    pub fn keys(&self, map: &str, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Keys<'_>, StateError> {
        check(map, 0, 0)?;
        Ok(self.reader().keys(bounds_in_map(map, from, to)))
    }

    fn reader(&self) -> Reader<'_> {
        Reader { active: Some(self.overlay.active()), layers: self.overlay.layers(), view: self.view().map(|view| &**view) }
    }
}

/// The state at one transaction, unmoved by the writer. Cloning shares everything.
///
/// A snapshot keeps the store open: drop all of them before opening the same directory again.
#[derive(Clone)]
pub struct Snapshot {
    applied: u64,
    layers: Vec<Arc<Layer>>,
    view: Option<Arc<View>>,
}

impl Snapshot {
    /// The last transaction that the snapshot saw.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// See [`State::get`].
    pub fn get(&self, map: &str, key: &[u8]) -> Result<Option<Entry>, StateError> {
        check(map, key.len(), 0)?;
        self.reader().get(map, key)
    }

    /// See [`State::range`].
    pub fn range(&self, map: &str, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Range<'_>, StateError> {
        check(map, 0, 0)?;
        Ok(self.reader().range(bounds_in_map(map, from, to)))
    }

    /// See [`State::keys`].
    pub fn keys(&self, map: &str, from: Bound<&[u8]>, to: Bound<&[u8]>) -> Result<Keys<'_>, StateError> {
        check(map, 0, 0)?;
        Ok(self.reader().keys(bounds_in_map(map, from, to)))
    }

    fn reader(&self) -> Reader<'_> {
        Reader { active: None, layers: &self.layers, view: self.view.as_deref() }
    }
}

/// The limits of a read or a write.
fn check(map: &str, key_bytes: usize, value_bytes: usize) -> Result<(), Refusal> {
    if map.is_empty() || map.len() > MAX_MAP_NAME_BYTES {
        return Err(Refusal::MapName { bytes: map.len() });
    }
    if key_bytes > MAX_KEY_BYTES {
        return Err(Refusal::Key { bytes: key_bytes });
    }
    if value_bytes > MAX_VALUE_BYTES {
        return Err(Refusal::Value { bytes: value_bytes });
    }
    Ok(())
}
