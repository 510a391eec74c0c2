//! The log: puts transactions into chunk files, durably.
//!
//! [`Log::append`] takes transactions, [`Log::commit`] makes all of them durable with one write and one sync. A
//! transaction that is flagged as the end of its chunk makes the commit complete the chunk, see [`crate::chunk`].
//!
//! Invariants:
//!
//! - What a commit reported durable is never written again.
//! - After an error of the storage the log is of no use: nobody knows what is on disk. Drop it and recover.
//! - Positions are kept for the open chunk only, 4 bytes per transaction.

use std::io;

use crate::chunk::{CHUNK_HEADER_BYTES, CHUNK_MAX_BYTES, ChunkName, encode_table};
use crate::reader::{ReadError, Reader};
use crate::storage::Storage;
use crate::transaction::{CodecError, FLAG_END_OF_CHUNK, frame, peek_txid};

/// Writes chunk files.
#[derive(Debug)]
pub struct Log<S> {
    storage: S,
    open: Option<OpenChunk>,
    pending: Vec<Pending>,
    next_seqno: u64,
    failed: bool,
}

/// The chunk that is being written.
#[derive(Debug)]
pub(crate) struct OpenChunk {
    pub(crate) first: u64,
    pub(crate) positions: Vec<u32>,
    pub(crate) len: u64,
}

/// Transactions that wait for the commit, all for one chunk.
#[derive(Debug, Default)]
struct Pending {
    bytes: Vec<u8>,
    starts: Vec<u64>,
    ends_chunk: bool,
}

/// A transaction that was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The storage failed. The log is of no use any more.
    #[error("{file}: {source}")]
    Io {
        /// Where.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// The storage failed earlier.
    #[error("the log failed before and must be recovered")]
    Failed,
    /// Not a transaction.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// Not the next transaction.
    #[error("transaction number {expected} was expected, not {found}")]
    Seqno {
        /// The one that was expected.
        expected: u64,
        /// The one that was given.
        found: u64,
    },
    /// The chunk would become too large: sign, and end it.
    #[error("the chunk is full, it must end with a signature first")]
    ChunkFull,
    /// There is a ledger already.
    #[error("the folder holds a ledger already")]
    NotEmpty,
    /// The folder cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

impl<S: Storage> Log<S> {
    /// A new ledger, in a folder that holds none.
    pub fn create(storage: S) -> Result<Log<S>, LogError> {
        if !Reader::open(&storage)?.is_empty() {
            return Err(LogError::NotEmpty);
        }
        Ok(Log::resume(storage, None, 1))
    }

    /// Goes on where recovery found the end.
    pub(crate) fn resume(storage: S, open: Option<OpenChunk>, next_seqno: u64) -> Log<S> {
        Log { storage, open, pending: Vec::new(), next_seqno, failed: false }
    }

    /// The number of the next transaction.
    pub fn next_seqno(&self) -> u64 {
        self.next_seqno
    }

    /// Bytes of the open chunk, with those that wait for the commit. Who ends chunks at a size asks here.
    pub fn chunk_bytes(&self) -> u64 {
        let pending = self.pending.last();
        let written = match (&self.open, pending) {
            _ if pending.is_some_and(|pending| pending.ends_chunk) => {
                return CHUNK_HEADER_BYTES as u64;
            }
            (Some(open), _) if self.pending.len() <= 1 => open.len,
            _ => CHUNK_HEADER_BYTES as u64,
        };
        written + pending.map_or(0, |pending| pending.bytes.len() as u64)
    }

    /// The file of the open chunk and its length, as of the last commit.
    pub fn open_chunk(&self) -> Option<(String, u64)> {
        let open = self.open.as_ref()?;
        Some((crate::chunk::ChunkName { first: open.first, last: None }.to_string(), open.len))
    }

    /// The storage, for a [`Reader`].
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// Takes the next transaction. It is not in the ledger before [`Log::commit`].
    pub fn append(&mut self, raw: &[u8]) -> Result<(), LogError> {
        if self.failed {
            return Err(LogError::Failed);
        }
        let (len, flags) = frame(raw)?.ok_or(CodecError::Truncated)?;
        let txid = peek_txid(raw).ok_or(CodecError::Truncated)??;
        if len != raw.len() {
            return Err(CodecError::Size.into());
        }
        if txid.seqno != self.next_seqno {
            return Err(LogError::Seqno { expected: self.next_seqno, found: txid.seqno });
        }
        if self.chunk_bytes() + len as u64 > CHUNK_MAX_BYTES {
            return Err(LogError::ChunkFull);
        }
        if self.pending.last().is_none_or(|pending| pending.ends_chunk) {
            self.pending.push(Pending::default());
        }
        let pending = self.pending.last_mut().expect("pushed above when there was none");
        pending.starts.push(pending.bytes.len() as u64);
        pending.bytes.extend_from_slice(raw);
        pending.ends_chunk = flags & FLAG_END_OF_CHUNK != 0;
        self.next_seqno += 1;
        Ok(())
    }

    /// Makes durable what was appended.
    pub fn commit(&mut self) -> Result<(), LogError> {
        if self.failed {
            return Err(LogError::Failed);
        }
        self.failed = true; // Until everything went well.
        let pending = std::mem::take(&mut self.pending);
        let waiting: u64 = pending.iter().map(|pending| pending.starts.len() as u64).sum();
        let mut first = self.next_seqno - waiting;
        for pending in pending {
            let count = pending.starts.len() as u64;
            self.write(first, pending)?;
            first += count;
        }
        self.failed = false;
        Ok(())
    }

    fn write(&mut self, first: u64, pending: Pending) -> Result<(), LogError> {
        let created = self.open.is_none();
        let mut open = self.open.take().unwrap_or(OpenChunk { first, positions: Vec::new(), len: 0 });
        let name = ChunkName { first: open.first, last: None }.to_string();
        let io = |source| LogError::Io { file: name.clone(), source };
        let (offset, bytes) = if open.len == 0 {
            open.len = CHUNK_HEADER_BYTES as u64;
            (0, [&[0; CHUNK_HEADER_BYTES], pending.bytes.as_slice()].concat())
        } else {
            (open.len, pending.bytes)
        };
        open.positions.extend(pending.starts.iter().map(|start| (open.len + start) as u32));
        self.storage.write_at(&name, offset, &bytes).map_err(io)?;
        self.storage.sync(&name).map_err(io)?;
        if created {
            self.storage.sync_dir().map_err(io)?;
        }
        open.len = offset + bytes.len() as u64;
        if pending.ends_chunk {
            complete(&mut self.storage, &open)?;
        } else {
            self.open = Some(open);
        }
        Ok(())
    }
}

/// Completes a chunk whose transactions are durable: table, header, name.
pub(crate) fn complete<S: Storage>(storage: &mut S, open: &OpenChunk) -> Result<(), LogError> {
    let name = ChunkName { first: open.first, last: None }.to_string();
    let last = open.first + open.positions.len() as u64 - 1;
    let committed = ChunkName { first: open.first, last: Some(last) }.to_string();
    let io = |source| LogError::Io { file: name.clone(), source };
    storage.write_at(&name, open.len, &encode_table(&open.positions)).map_err(io)?;
    storage.sync(&name).map_err(io)?;
    storage.write_at(&name, 0, &open.len.to_le_bytes()).map_err(io)?;
    storage.sync(&name).map_err(io)?;
    storage.rename(&name, &committed).map_err(io)?;
    storage.sync_dir().map_err(io)
}
