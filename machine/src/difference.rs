//! How a transaction can differ from its replay.

use crate::auth::AuthError;
use crate::input::MalformedRecord;
use crate::{Fault, maps};
use ledger::{MapWrites, TxId, WriteSet, genesis};

/// A transaction that does not come out again as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transaction {txid}: {difference}")]
pub struct Divergence {
    /// Which.
    pub txid: TxId,
    /// What differs.
    pub difference: Difference,
}

/// What differs between a transaction and its replay. Values are shown as text, shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A record cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedRecord),
    /// Something is written that no input explains.
    #[error("nothing explains its write of {key} in {map}")]
    Unexplained {
        /// The map.
        map: String,
        /// The key.
        key: String,
    },
    /// The result or the error is another.
    #[error("{what}: the ledger says {recorded}, the replay gives {replayed}")]
    Result {
        /// The method.
        what: String,
        /// In the ledger.
        recorded: String,
        /// Again.
        replayed: String,
    },
    /// A write is another.
    #[error("{what} of {key} in {map}: the ledger says {recorded}, the replay gives {replayed}")]
    Write {
        /// The method.
        what: String,
        /// The map.
        map: String,
        /// The key.
        key: String,
        /// In the ledger.
        recorded: String,
        /// Again.
        replayed: String,
    },
    /// The heap of a checkpoint is another.
    #[error("page {page} of the heap is not what the calls before leave there")]
    Page {
        /// Which page.
        page: u32,
    },
    /// The claims digest is not that of the call.
    #[error("its claims digest is not the digest of its call")]
    Claims,
    /// The private part is used, which no app of this kind does.
    #[error("it has {0}, which this kind of app never writes")]
    Foreign(&'static str),
    /// It stands before the first transaction, or the first stands twice.
    #[error("{0}")]
    Order(&'static str),
    /// Time runs backwards.
    #[error("its time, {time_ms}, is before {before_ms}, that of an earlier one")]
    Time {
        /// Its time.
        time_ms: u64,
        /// The latest time before.
        before_ms: u64,
    },
    /// The caller has not signed this call, here and now.
    #[error("{}: {error}", .error.name())]
    Caller {
        /// What is wrong.
        error: AuthError,
    },
    /// The source of its chance is not the key's.
    #[error("the source of its chance {0}")]
    Chance(&'static str),
    /// An oracle is asked whose answer is not there.
    #[error("it asks an oracle of which the ledger has no answer")]
    Oracle,
    /// It failed, where the ledger says that it succeeded.
    #[error("{what}: the ledger says that it succeeded, the replay fails")]
    Failed {
        /// The method.
        what: String,
    },
}

/// A replay that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The ledger says something else than the replay.
    #[error(transparent)]
    Divergence(#[from] Box<Divergence>),
    /// The host failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The longest value that a difference shows, in characters.
const SHOWN_CHARS: usize = 200;

/// What the ledger adds to a script's transactions; the audit of the ledger checks it. A bundle's governance is executed, and has
/// nothing but the frontier beside that.
const LEDGERS: [&str; 4] =
    [ledger::FRONTIER_MAP, genesis::SERVICE_INFO_MAP, genesis::NODES_INFO_MAP, genesis::NODE_CERTIFICATES_MAP];

/// Compares what a transaction writes with what its replay does.
pub(crate) fn compare(what: &str, recorded: &WriteSet, replayed: &WriteSet, is_bundle: bool) -> Result<(), Difference> {
    let added = if is_bundle { &LEDGERS[..1] } else { &LEDGERS[..] };
    let none = MapWrites::default();
    let names = recorded.maps.keys().chain(replayed.maps.keys()).filter(|map| !added.contains(&map.as_str()));
    for map in names {
        let (theirs, ours) = (recorded.maps.get(map).unwrap_or(&none), replayed.maps.get(map).unwrap_or(&none));
        if theirs == ours {
            continue;
        }
        let keys = [&theirs.writes, &ours.writes].into_iter().flat_map(|writes| writes.keys());
        for key in keys.chain(&theirs.removes).chain(&ours.removes) {
            let value = |writes: &MapWrites| match writes.writes.get(key) {
                Some(value) => shown_entry(map, value),
                None if writes.removes.contains(key) => "removed".into(),
                None => "nothing".to_owned(),
            };
            let same =
                theirs.writes.get(key) == ours.writes.get(key) && theirs.removes.contains(key) == ours.removes.contains(key);
            if !same {
                if let (maps::HEAP, Ok(page)) = (map.as_str(), key.as_slice().try_into()) {
                    return Err(Difference::Page { page: u32::from_be_bytes(page) });
                }
                let key = String::from_utf8_lossy(key).into_owned();
                if replayed.maps.is_empty() {
                    return Err(Difference::Unexplained { map: map.clone(), key });
                }
                let (recorded, replayed) = (value(theirs), value(ours));
                return Err(Difference::Write { what: what.into(), map: map.clone(), key, recorded, replayed });
            }
        }
    }
    Ok(())
}

fn shown_entry(map: &str, value: &[u8]) -> String {
    match crate::script::archive::Entry::decode(value) {
        Some(entry) if map == maps::FILES => entry.describe(SHOWN_CHARS),
        _ => shown(value),
    }
}

/// Bytes as a person can read them, shortened.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], bytes.len()),
        None => text.into_owned(),
    }
}
