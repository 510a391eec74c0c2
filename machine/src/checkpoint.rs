//! Checkpoints: now and then a transaction writes the pages of the heap that have changed since the last one. Whoever has
//! folded the ledger up to there has the whole machine, and needs to execute nothing that came before.
//!
//! ```text
//! public:glassbox        checkpoint   {"entries":n,"version":n,"time":ms,"heap":bytes,"signature":"2.17","root":"hex"}
//! public:glassbox.heap   page u32 BE  LZ4 block of the 4,096 bytes
//! ```
//!
//! A page is written when it is another than at the last checkpoint, and removed when it is again what a realm begins with
//! (behind its end: zeros). So the map holds, at each checkpoint, exactly the pages that differ from a fresh realm's.
//!
//! The record says what the heap does not: how many entries and file versions there are, the last time, the last signature.
//! A replay makes the same checkpoint and compares.

use crate::auth::Head;
use crate::input::{MalformedRecord, strict};
use crate::state::State;
use crate::{Fault, maps};
use ledger::{TxId, WriteSet};
use sandbox::{Host, Limits, PAGE_BYTES, Realm, Sandbox};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Bound;

/// A checkpoint follows this many transactions after the last one at the latest: a restart never replays more.
pub const CHECKPOINT_TRANSACTIONS: u64 = 10_000;

/// A checkpoint follows when so many bytes of heap may have changed.
pub const CHECKPOINT_HEAP_BYTES: usize = 16 << 20;

/// The most entries or changes that a checkpoint can count: nobody's sum of it and what follows overflows.
const COUNT_MAX: u64 = 1 << 53;

/// The record of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Entries of the call log.
    pub entries: u64,
    /// Changes of the files archive.
    pub version: u64,
    /// The time of the last entry, in milliseconds since 1970.
    pub time_ms: u64,
    /// Bytes of linear memory; 0 before anything is deployed.
    pub heap_bytes: usize,
    /// The last signature transaction and the root that it signs.
    pub signature: Option<(TxId, ledger::Hash, u64)>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    entries: u64,
    version: u64,
    time: u64,
    heap: usize,
    signature: String,
    root: String,
    signed: u64,
}

impl Checkpoint {
    /// The bytes for the ledger.
    pub fn encode(&self) -> Vec<u8> {
        let (txid, root, signed) = self
            .signature
            .map_or_else(|| ("0.0".to_owned(), [0; 32], 0), |(txid, root, time_s)| (txid.to_string(), root, time_s));
        let record = Record {
            entries: self.entries,
            version: self.version,
            time: self.time_ms,
            heap: self.heap_bytes,
            signature: txid,
            root: ledger::hex::encode(&root),
            signed,
        };
        serde_json::to_vec(&record).expect("strings and numbers can be written")
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Checkpoint, MalformedRecord> {
        let read = |record: Record| {
            if record.entries.max(record.version) > COUNT_MAX {
                return Err("it counts more than there can be".to_owned());
            }
            let root = ledger::hex::decode(&record.root).ok_or("the root is no digest")?;
            let signature = match record.signature.as_str() {
                "0.0" => None,
                text => Some((text.parse().map_err(|_| "the signature is no transaction")?, root, record.signed)),
            };
            Ok(Checkpoint {
                entries: record.entries,
                version: record.version,
                time_ms: record.time,
                heap_bytes: record.heap,
                signature,
            })
        };
        strict("checkpoint", bytes, read, Checkpoint::encode)
    }

    /// The last signature transaction.
    pub fn head(&self) -> Option<Head> {
        self.signature.map(|(txid, root, time_s)| Head { txid, root, time_s })
    }
}

/// Adds the pages of a heap that differ from those that `state` holds. `all`: the realm is another than at the last
/// checkpoint, so every page counts.
pub(crate) fn write_pages<H: Host>(
    sandbox: &Sandbox,
    realm: &Realm<H>,
    all: bool,
    state: &State,
    writes: &mut WriteSet,
) -> Result<(), Fault> {
    let pages = (realm.heap_bytes() / PAGE_BYTES) as u32;
    let mut candidates: BTreeSet<u32> = if all { (0..pages).collect() } else { realm.changed_pages().into_iter().collect() };
    if all {
        for key in state.keys(maps::HEAP, Bound::Unbounded, Bound::Unbounded)? {
            candidates.insert(page_of(&key?).ok_or_else(|| malformed("a key"))?);
        }
    }
    let mut block = vec![0; lz4_flex::block::get_maximum_output_size(PAGE_BYTES)];
    for index in candidates {
        let key = index.to_be_bytes();
        let before = state.get(maps::HEAP, &key)?;
        let page = (index < pages).then(|| realm.page(index)).filter(|page| *page != sandbox.base_page(index));
        match page {
            None if before.is_some() => writes.remove(maps::HEAP, key),
            None => {}
            Some(page) => {
                let len = lz4_flex::block::compress_into(page, &mut block).expect("there is room for the worst case");
                if before.is_none_or(|before| before.value() != &block[..len]) {
                    writes.put(maps::HEAP, key, &block[..len]);
                }
            }
        }
    }
    Ok(())
}

/// The realm that a state holds the pages of.
pub(crate) fn read_realm<H: Host>(
    sandbox: &Sandbox,
    limits: Limits,
    host: H,
    heap_bytes: usize,
    rows: impl FnOnce(&H) -> Result<Vec<(u32, Vec<u8>)>, Fault>,
) -> Result<Realm<H>, Fault> {
    if !sandbox.can_hold(limits, heap_bytes) {
        return Err(malformed("the size"));
    }
    let mut wrong = false;
    let pages: Vec<(u32, [u8; PAGE_BYTES])> = rows(&host)?
        .into_iter()
        .map(|(index, block)| {
            let mut page = [0; PAGE_BYTES];
            wrong |= lz4_flex::block::decompress_into(&block, &mut page).ok() != Some(PAGE_BYTES);
            (index, page)
        })
        .collect();
    if wrong {
        return Err(malformed("a page"));
    }
    Ok(Realm::restore(sandbox, limits, host, heap_bytes, pages)?)
}

/// The rows of [`maps::HEAP`], none of which may be behind the end of the heap.
pub(crate) fn rows(state: &State, heap_bytes: usize) -> Result<Vec<(u32, Vec<u8>)>, Fault> {
    let mut rows = Vec::new();
    for row in state.range(maps::HEAP, Bound::Unbounded, Bound::Unbounded)? {
        let (key, entry) = row?;
        let index = page_of(&key).filter(|&index| (index as usize) < heap_bytes / PAGE_BYTES);
        rows.push((index.ok_or_else(|| malformed("a key"))?, entry.value().to_vec()));
    }
    Ok(rows)
}

fn page_of(key: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(key.try_into().ok()?))
}

fn malformed(what: &str) -> Fault {
    Fault::Checkpoint(format!("{what} of the saved heap is malformed"))
}
