//! The files that are served, against those that the ledger leads to.

use super::report::{Mismatch, Stopped};
use crate::Failed;
use ledger::TxId;
use machine::maps;
use machine::script::archive::Entry;
use machine::state::Snapshot;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Differences that are printed.
const MAX_SHOWN: usize = 20;

/// Characters of a file that are printed.
const MAX_SHOWN_CHARS: usize = 120;

/// Compares what is served with the state at one transaction.
pub fn compare(served: &BTreeMap<String, Vec<u8>>, snapshot: &Snapshot, txid: TxId) -> Result<(), Stopped> {
    let unable = |error: &dyn std::fmt::Display| Stopped::Unable(Failed::unable(error));
    let mut replayed = BTreeMap::new();
    for row in snapshot.range(maps::FILES, Bound::Unbounded, Bound::Unbounded).map_err(|error| unable(&error))? {
        let (key, entry) = row.map_err(|error| unable(&error))?;
        replayed.insert(String::from_utf8_lossy(&key).into_owned(), entry.value().to_vec());
    }
    let describe = |value: Option<&Vec<u8>>| match value {
        None => "nothing".to_owned(),
        Some(value) => Entry::decode(value).map_or("no entry of an archive".into(), |entry| entry.describe(MAX_SHOWN_CHARS)),
    };
    let mut paths: Vec<&String> =
        served.keys().chain(replayed.keys()).filter(|path| served.get(*path) != replayed.get(*path)).collect();
    paths.sort_unstable();
    paths.dedup();
    if paths.is_empty() {
        return Ok(());
    }
    let mut details: Vec<String> = paths
        .iter()
        .take(MAX_SHOWN)
        .map(|path| {
            format!(
                "{path} at {txid}: served {}, the replay gives {}",
                describe(served.get(*path)),
                describe(replayed.get(*path))
            )
        })
        .collect();
    if paths.len() > MAX_SHOWN {
        details.push(format!("and {} more", paths.len() - MAX_SHOWN));
    }
    Err(Stopped::Mismatch(Mismatch { what: "files", transaction: Some(txid.to_string()), details }))
}
