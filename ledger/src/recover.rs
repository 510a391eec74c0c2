//! Recovery: what the operator does with a folder before writing to it again, after a crash or not.
//!
//! 1. Read, and check what is read: files, transactions, Merkle roots, signatures, and, with the ledger secret, the tag
//!    and the commit evidence of every transaction, so that also the tail that nobody signed yet is what was written.
//! 2. If the last transaction is cut, make sure that a crash did it: a torn write authenticates at no length, while a
//!    transaction whose length was changed still authenticates at its real one.
//! 3. Only then change the folder: cut the torn transaction off, or complete a chunk that has ended.
//!
//! [`recover`] reads everything. [`find`] reads only the end, when the ledger has *checkpoints*, which are transactions
//! with a [`Frontier`]: it looks for the last one, from the last chunk backwards, and [`Found::recover`] reads on from
//! there, or from an earlier one, so that everything it hands out is hashed into the tree that the signatures are over.
//!
//! ```text
//! ledger_1-9.committed │ … │ ledger_400-499.committed │ ledger_500-599.committed │ ledger_600
//! │                            │                        │   ╷checkpoint             │        ╷torn
//! transaction 1: names us     a transaction, if the    tags │ tags, tree, roots; the last 16 signatures
//!                             frontier needs it
//! ```
//!
//! What a bounded recovery does and does not see:
//!
//! - In a chunk that it reads, it checks every byte: framing and table, and the tag of every transaction; from the
//!   frontier on also seqnos, views, the tree, and root, node, time and links of every signature transaction. Of the
//!   ECDSA signatures it verifies the last [`VERIFIED_SIGNATURES`] only, which bounds the time: who has the ledger secret
//!   has the keys, so the tag says the same.
//! - Of older chunks it sees that their files are there, by names without gap or overlap, and not empty; and it reads at
//!   most two transactions in them: the first of the ledger, which must name the service of the keys, and the signature
//!   transaction that the frontier names. Other changes in them are for [`recover`] and for auditors to find.
//!
//! Invariants: when recovery returns an error, nothing was changed. Every transaction that a commit reported
//! durable is there, or there is an error. What recovery cannot see is that whole transactions are missing at the
//! very end; whoever needs to know remembers the last transaction elsewhere.

use std::collections::VecDeque;
use std::sync::Arc;

use memchr::memmem;

use crate::audit::{Audit, AuditError, AuditErrorKind};
use crate::cert::Certificate;
use crate::chunk::{CHUNK_HEADER_BYTES, Chunk, ChunkError, ChunkName};
use crate::frontier::{FRONTIER_MAP, Frontier};
use crate::keys::Keys;
use crate::log::{Log, LogError, OpenChunk, complete};
use crate::reader::{Located, ReadError, Reader, Torn, list_chunks, load_chunk, read_one};
use crate::signature::SignatureInfo;
use crate::storage::Storage;
use crate::transaction::{CodecError, sealed_len};
use crate::txid::{FIRST_VIEW, TxId};

/// How many signatures a bounded recovery verifies, the last ones.
pub const VERIFIED_SIGNATURES: usize = 16;

/// A ledger that can be written again.
#[derive(Debug)]
pub struct Recovery<S> {
    /// Writes behind the last transaction.
    pub log: Log<S>,
    /// Has seen every transaction, or those from a frontier on; a [`crate::Sealer`] resumes from it.
    pub audit: Audit,
    /// The transaction that was cut off, because only its beginning was there.
    pub torn: Option<Torn>,
}

/// A folder that is not what its owner wrote. It was not changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The files or a transaction cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A transaction was changed, or the keys are others.
    #[error("{file}, offset {offset}, transaction {txid}: {source}")]
    Seal {
        /// Where.
        file: Arc<str>,
        /// Where in the file.
        offset: u64,
        /// Which.
        txid: TxId,
        /// Why.
        source: CodecError,
    },
    /// A transaction does not belong where it stands, or a signature is wrong.
    #[error("{file}, offset {offset}, {source}")]
    Audit {
        /// Where.
        file: Arc<str>,
        /// Where in the file.
        offset: u64,
        /// Why.
        source: AuditError,
    },
    /// The last transaction looks torn, but is complete: its length was changed.
    #[error("{file}, offset {offset}: the length of the last transaction was changed")]
    Length {
        /// Where.
        file: Arc<str>,
        /// Where in the file.
        offset: u64,
    },
    /// The folder could not be repaired.
    #[error(transparent)]
    Repair(#[from] LogError),
}

impl<S> Recovery<S> {
    /// The view that a sealer should take now: above every view in the ledger, and above that of the torn transaction,
    /// whose nonce was used although the transaction is gone.
    pub fn next_view(&self) -> u64 {
        let torn = self.torn.as_ref().and_then(|torn| torn.txid);
        let last = self.audit.last().into_iter().chain(torn).map(|txid| txid.view).max();
        last.map_or(FIRST_VIEW, |last| last + 1)
    }
}

/// A transaction with a frontier: recovery can begin here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The transaction. The owner of the ledger secret sealed it.
    pub located: Located,
    /// What it says of the transactions before it.
    pub frontier: Frontier,
}

impl Checkpoint {
    /// Its name.
    pub fn txid(&self) -> TxId {
        self.located.transaction.txid()
    }
}

/// A ledger of which only the end was looked at: whoever recovers it now knows where that can begin.
#[derive(Debug)]
pub struct Found<'a, S> {
    storage: S,
    keys: &'a Keys,
    chunks: Vec<ChunkName>,
    checkpoint: Option<Checkpoint>,
}

/// Reads and checks a ledger, and repairs what a crash left.
pub fn recover<S: Storage>(storage: S, keys: &Keys) -> Result<Recovery<S>, RecoverError> {
    recover_with(storage, keys, |_| {})
}

/// The same, and shows every transaction on the way, after it was checked.
pub fn recover_with<S: Storage>(storage: S, keys: &Keys, visit: impl FnMut(&Located)) -> Result<Recovery<S>, RecoverError> {
    run(storage, keys, None, 0, visit)
}

/// Looks for the last checkpoint of a ledger, and changes nothing. Of the chunks before it only the names and lengths are
/// looked at; a ledger without checkpoints is searched to its beginning.
pub fn find<S: Storage>(storage: S, keys: &Keys) -> Result<Found<'_, S>, RecoverError> {
    let chunks = list_chunks(&storage)?;
    for name in chunks.iter().filter(|name| name.last.is_some()) {
        let file = name.to_string();
        let len = storage.len(&file).map_err(|source| ReadError::Io { file: file.clone(), source })?;
        if len <= CHUNK_HEADER_BYTES as u64 {
            return Err(ReadError::Chunk { file: file.into(), offset: 0, source: ChunkError::Header }.into());
        }
    }
    let found = last_checkpoint(&storage, &chunks, u64::MAX)?.map(|(_, checkpoint)| checkpoint);
    if let Some(checkpoint) = &found {
        authenticate(&checkpoint.located, keys)?;
    }
    Ok(Found { storage, keys, chunks, checkpoint: found })
}

impl<S: Storage> Found<'_, S> {
    /// The last checkpoint. What it means is for the application to say: whether it can go on from here, and whether it
    /// has, or still has to collect, the state that belongs to it.
    pub fn checkpoint(&self) -> Option<&Checkpoint> {
        self.checkpoint.as_ref()
    }

    /// Recovers, and shows every transaction after `from`, in order; when this fails later, some were shown already.
    ///
    /// It begins at the last checkpoint that is not after transaction `from + 1`, so that everything that is shown is
    /// part of the audit; when there is none, at the first transaction, and then it checks all that [`recover_with`] does.
    /// `from` is the last transaction that the caller knows: 0 for none. When the ledger ends before it, nothing is shown.
    pub fn recover(self, from: u64, visit: impl FnMut(&Located)) -> Result<Recovery<S>, RecoverError> {
        let latest = from.saturating_add(1);
        let start = match &self.checkpoint {
            // The last one will do; it was found and authenticated already.
            Some(last) if last.frontier.size <= latest => {
                let holds = |name: &&ChunkName| name.first <= last.frontier.size;
                self.chunks.iter().rev().find(holds).map(|chunk| (chunk.first, last.clone()))
            }
            Some(_) => last_checkpoint(&self.storage, &self.chunks, latest)?,
            None => None,
        };
        let start = start.map(|(chunk_first, checkpoint)| Start { chunk_first, checkpoint, chunks: self.chunks });
        run(self.storage, self.keys, start, from, visit)
    }
}

/// Where a bounded recovery begins.
struct Start {
    /// The first transaction of the checkpoint's chunk.
    chunk_first: u64,
    checkpoint: Checkpoint,
    /// All chunks of the ledger.
    chunks: Vec<ChunkName>,
}

/// A signature that is verified at the end, if it is one of the last.
struct Unverified {
    file: Arc<str>,
    offset: u64,
    signature: SignatureInfo,
    node: Certificate,
}

/// The one recovery there is: from the first transaction, or from a checkpoint.
fn run<S: Storage>(
    mut storage: S,
    keys: &Keys,
    start: Option<Start>,
    from: u64,
    mut visit: impl FnMut(&Located),
) -> Result<Recovery<S>, RecoverError> {
    let bounded = start.is_some();
    let mut reader = Reader::open_at(&storage, start.as_ref().map_or(1, |start| start.chunk_first))?;
    let mut audit = match start {
        None => Audit::pinned(keys.service_certificate().clone()),
        Some(start) => approach(&storage, keys, &mut reader, &start)?,
    };
    let mut unverified: VecDeque<Unverified> = VecDeque::new();
    for located in &mut reader {
        let located = located?;
        authenticate(&located, keys)?;
        let transaction = &located.transaction;
        let leaf = transaction.leaf();
        if !bounded {
            audit.push_leaf(transaction, &leaf).map_err(wrong(&located))?;
        } else if let Some(signature) = audit.push_unverified(transaction, &leaf).map_err(wrong(&located))?
            && let Some(node) = audit.trusted_node(&signature.node_id)
        {
            if unverified.len() == VERIFIED_SIGNATURES {
                unverified.pop_front();
            }
            let (file, offset, node) = (Arc::clone(&located.file), located.offset, node.clone());
            unverified.push_back(Unverified { file, offset, signature, node });
        }
        if transaction.txid().seqno > from {
            visit(&located);
        }
    }
    for Unverified { file, offset, signature, node } in unverified {
        let failed = |kind| RecoverError::Audit { file, offset, source: AuditError { txid: signature.txid, kind } };
        audit.verify(&signature, &node).map_err(failed)?;
    }
    let torn = reader.torn();
    let last_chunk = reader.into_last_chunk();
    if let (Some(torn), Some(chunk)) = (&torn, &last_chunk)
        && sealed_len(chunk.rest(), keys.secret()).is_some()
    {
        return Err(RecoverError::Length { file: Arc::clone(&torn.file), offset: torn.offset });
    }
    let open = match last_chunk {
        Some(chunk) if chunk.name.last.is_none() => repair(&mut storage, &chunk)?,
        _ => None,
    };
    let next_seqno = audit.last().map_or(1, |last| last.seqno + 1);
    Ok(Recovery { log: Log::resume(storage, open, next_seqno), audit, torn })
}

/// An audit that is about to take the last checkpoint that is not after transaction `latest`, or the first transaction
/// when there is none, and the reader that brings it.
pub(crate) fn audit_at<'a, S: Storage>(storage: &'a S, keys: &Keys, latest: u64) -> Result<(Reader<'a, S>, Audit), RecoverError> {
    let chunks = list_chunks(storage)?;
    let Some((chunk_first, checkpoint)) = last_checkpoint(storage, &chunks, latest)? else {
        return Ok((Reader::open(storage)?, Audit::pinned(keys.service_certificate().clone())));
    };
    let mut reader = Reader::open_at(storage, chunk_first)?;
    let audit = approach(storage, keys, &mut reader, &Start { chunk_first, checkpoint, chunks })?;
    Ok((reader, audit))
}

/// Reads the chunk of a checkpoint up to the checkpoint, and makes the audit that goes on there.
fn approach<S: Storage>(storage: &S, keys: &Keys, reader: &mut Reader<'_, S>, start: &Start) -> Result<Audit, RecoverError> {
    let Start { checkpoint: Checkpoint { located: checkpoint, frontier }, chunks, .. } = start;
    let read = |seqno| {
        let located = read_one(storage, chunks, seqno)?;
        let missing = || ReadError::Missing { file: checkpoint.file.to_string(), expected: seqno };
        let located = located.ok_or_else(missing)?;
        authenticate(&located, keys)?;
        Ok::<Located, RecoverError>(located)
    };
    let first = read(1)?;
    Audit::pinned(keys.service_certificate().clone()).push(&first.transaction).map_err(wrong(&first))?;

    let mut last: Option<TxId> = None;
    let mut signature = None;
    while reader.next_seqno() < frontier.size {
        let Some(located) = reader.next() else { break };
        let located = located?;
        authenticate(&located, keys)?;
        let txid = located.transaction.txid();
        if last.is_some_and(|last| txid.view < last.view) {
            return Err(wrong(&located)(AuditError { txid, kind: AuditErrorKind::View }));
        }
        last = Some(txid);
        if frontier.signature == Some(txid) {
            signature = Some(located);
        }
    }
    let signature = match (signature, frontier.signature) {
        (None, Some(txid)) => Some(read(txid.seqno)?),
        (signature, _) => signature,
    };
    let at = signature.as_ref().unwrap_or(checkpoint);
    let failed = |kind| wrong(at)(AuditError { txid: at.transaction.txid(), kind });
    let signature = signature.as_ref().map(|located| SignatureInfo::read(&located.transaction));
    let signature = signature.transpose().map_err(|e| failed(e.into()))?.flatten();
    Audit::resume(keys, frontier, last, signature).map_err(failed)
}

/// The last checkpoint that is not after a transaction, and the first transaction of its chunk. It is read, not checked.
pub(crate) fn last_checkpoint<S: Storage>(
    storage: &S,
    chunks: &[ChunkName],
    latest: u64,
) -> Result<Option<(u64, Checkpoint)>, ReadError> {
    for name in chunks.iter().rev().filter(|name| name.first <= latest) {
        let chunk = load_chunk(storage, *name)?;
        let behind = chunk.positions.get((latest - name.first).saturating_add(1).min(u32::MAX.into()) as usize);
        let mut end = behind.map_or(chunk.end, |position| *position as usize).min(chunk.bytes.len());
        // Most transactions need not be read for this: look for the name of the map, and then whether it is one.
        while let Some(at) = memmem::rfind(&chunk.bytes[..end], FRONTIER_MAP.as_bytes()) {
            let Some(index) = chunk.positions.partition_point(|position| *position as usize <= at).checked_sub(1) else {
                break;
            };
            let Some((offset, raw)) = chunk.transaction(index) else { break };
            // What cannot be read is an error when recovery comes to it: it begins before.
            if let Ok(located) = Located::parse(&chunk.file, offset, name.first + index as u64, raw.to_vec())
                && let Ok(Some(frontier)) = Frontier::read(located.transaction.public())
                && frontier.size == located.transaction.txid().seqno
            {
                return Ok(Some((name.first, Checkpoint { located, frontier })));
            }
            end = offset as usize;
        }
    }
    Ok(None)
}

/// Checks that the owner of the ledger secret sealed a transaction.
fn authenticate(located: &Located, keys: &Keys) -> Result<(), RecoverError> {
    let Located { file, offset, transaction } = located;
    let seal = |source| RecoverError::Seal { file: Arc::clone(file), offset: *offset, txid: transaction.txid(), source };
    transaction.decrypt(keys.secret()).map(|_| ()).map_err(seal)
}

/// Says where a transaction stands that does not belong there.
fn wrong(located: &Located) -> impl FnOnce(AuditError) -> RecoverError {
    let (file, offset) = (Arc::clone(&located.file), located.offset);
    move |source| RecoverError::Audit { file, offset, source }
}

/// Cuts what is torn, completes what has ended. Returns the chunk that stays open.
fn repair<S: Storage>(storage: &mut S, chunk: &Chunk) -> Result<Option<OpenChunk>, LogError> {
    let io = |source| LogError::Io { file: chunk.file.to_string(), source };
    let mut open = OpenChunk { first: chunk.name.first, positions: chunk.positions.clone(), len: chunk.end as u64 };
    if chunk.positions.is_empty() {
        // Nothing but a header, or not even that: the next write begins the file anew.
        open.len = 0;
        storage.truncate(&chunk.file, 0).map_err(io)?;
    } else if chunk.bytes.len() > chunk.end && !chunk.ended {
        storage.truncate(&chunk.file, open.len).map_err(io)?;
    }
    debug_assert!(open.len == 0 || open.len > CHUNK_HEADER_BYTES as u64);
    // A transaction that was read here may be seen by others from now on, so it has to be durable.
    storage.sync(&chunk.file).map_err(io)?;
    storage.sync_dir().map_err(io)?;
    if chunk.ended {
        complete(storage, &open)?;
        return Ok(None);
    }
    Ok(Some(open))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sealer::Sealer;
    use crate::storage::Dir;
    use crate::transaction::{self, Transaction};
    use crate::write_set::WriteSet;

    /// A ledger with a checkpoint and 20 signatures after it, of which one is not by the node, but has the right tag: who
    /// has the ledger secret alone can write it.
    fn forged(keys: &Arc<Keys>, folder: &std::path::Path, number: u64) -> Dir {
        let mut log = Log::create(Dir::create(folder).unwrap()).unwrap();
        let mut sealer = Sealer::new(keys, FIRST_VIEW).unwrap();
        let mut writes = WriteSet::new();
        crate::genesis::genesis(&mut writes, keys);
        log.append(&sealer.seal(&writes, None).unwrap().raw).unwrap();
        let mut writes = WriteSet::new();
        sealer.frontier().write(&mut writes);
        log.append(&sealer.seal(&writes, None).unwrap().raw).unwrap();
        for n in 0..20 {
            let mut audit = Audit::pinned(keys.service_certificate().clone());
            if n == number {
                log.commit().unwrap();
                for located in Reader::open(log.storage()).unwrap() {
                    audit.push(&located.unwrap().transaction).unwrap();
                }
                let good = sealer.sign(1000, false).unwrap();
                let mut info = sealer.last_signature().unwrap().clone();
                info.node_signature = keys.node_sign(&[0xff; 32]).unwrap();
                let (raw, leaf) = transaction::encode(good.txid, 0, &info.write_set(), [0; 32], keys.secret()).unwrap();
                log.append(&raw).unwrap();
                audit.push_unverified(&Transaction::parse(&raw).unwrap(), &leaf).unwrap();
                sealer = Sealer::resume(keys, good.txid.view + 1, audit).unwrap();
            } else {
                log.append(&sealer.sign(1000, false).unwrap().raw).unwrap();
            }
        }
        log.commit().unwrap();
        Dir::open(folder).unwrap()
    }

    #[test]
    fn the_last_signatures_are_verified() {
        let keys = Arc::new(Keys::generate("Service", "node0", 0, 1 << 32).unwrap());
        for number in [0, 3, 4, 12, 19] {
            let folder = tempfile::tempdir().unwrap();
            let full = recover(forged(&keys, &folder.path().join("ledger"), number), &keys).map(|_| ()).unwrap_err();
            let bounded = find(Dir::open(&folder.path().join("ledger")).unwrap(), &keys).unwrap().recover(2, |_| {});
            if number < 20 - VERIFIED_SIGNATURES as u64 {
                bounded.unwrap();
            } else {
                assert_eq!(bounded.map(|_| ()).unwrap_err().to_string(), full.to_string(), "signature {number}");
            }
            let RecoverError::Audit { source, .. } = full else { panic!("{full}") };
            assert_eq!((source.txid.seqno, source.kind), (3 + number, AuditErrorKind::NodeSignature));
        }
    }
}
