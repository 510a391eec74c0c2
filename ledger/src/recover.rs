//! Recovery: what the operator does with a folder before writing to it again, after a crash or not.
//!
//! 1. Read everything, and check everything: files, transactions, Merkle roots, signatures, and, with the ledger
//!    secret, the tag and the commit evidence of every transaction, so that also the tail that nobody signed yet is
//!    what was written.
//! 2. If the last transaction is cut, make sure that a crash did it: a torn write authenticates at no length, while a
//!    transaction whose length was changed still authenticates at its real one.
//! 3. Only then change the folder: cut the torn transaction off, or complete a chunk that has ended.
//!
//! Invariants: when recovery returns an error, nothing was changed. Every transaction that a commit reported
//! durable is there, or there is an error. What recovery cannot see is that whole transactions are missing at the
//! very end; whoever needs to know remembers the last transaction elsewhere.

use std::sync::Arc;

use crate::audit::{Audit, AuditError};
use crate::chunk::{CHUNK_HEADER_BYTES, Chunk};
use crate::keys::Keys;
use crate::log::{Log, LogError, OpenChunk, complete};
use crate::reader::{Located, ReadError, Reader, Torn};
use crate::storage::Storage;
use crate::transaction::{CodecError, sealed_len};
use crate::txid::{FIRST_VIEW, TxId};

/// A ledger that can be written again.
#[derive(Debug)]
pub struct Recovery<S> {
    /// Writes behind the last transaction.
    pub log: Log<S>,
    /// Has seen every transaction; a [`crate::Sealer`] resumes from it.
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

/// Reads and checks a ledger, and repairs what a crash left.
pub fn recover<S: Storage>(storage: S, keys: &Keys) -> Result<Recovery<S>, RecoverError> {
    recover_with(storage, keys, |_| {})
}

/// The same, and shows every transaction on the way, after it was checked.
pub fn recover_with<S: Storage>(
    mut storage: S,
    keys: &Keys,
    mut visit: impl FnMut(&Located),
) -> Result<Recovery<S>, RecoverError> {
    let mut audit = Audit::pinned(keys.service_certificate().clone());
    let mut reader = Reader::open(&storage)?;
    for located in &mut reader {
        let located = located?;
        let transaction = &located.transaction;
        let (file, offset, txid) = (&located.file, located.offset, transaction.txid());
        let seal = |source| RecoverError::Seal { file: Arc::clone(file), offset, txid, source };
        transaction.decrypt(keys.secret()).map_err(seal)?;
        let wrong = |source| RecoverError::Audit { file: Arc::clone(file), offset, source };
        audit.push(transaction).map_err(wrong)?;
        visit(&located);
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
