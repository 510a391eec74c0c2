//! The reader: all transactions of a folder, in order, one chunk in memory at a time.
//!
//! Every transaction and every error comes with the file and the offset at which it stands. The reader checks what the
//! files say about each other and about themselves (names, headers, tables, order); what the transactions say is for
//! [`crate::Audit`].
//!
//! Invariants: the reader changes nothing. A transaction that is cut at the end of the open chunk is no error, since
//! the ledger may be in use: it is reported by [`Reader::torn`].

use std::io;
use std::sync::Arc;

use crate::chunk::{CHUNK_HEADER_BYTES, Chunk, ChunkError, ChunkName};
use crate::storage::Storage;
use crate::transaction::{CodecError, Transaction, peek_txid};
use crate::txid::TxId;

/// Iterates over the transactions of a ledger.
#[derive(Debug)]
pub struct Reader<'a, S> {
    storage: &'a S,
    chunks: std::vec::IntoIter<ChunkName>,
    current: Option<(Chunk, usize)>,
    last_chunk: Option<Chunk>,
    next_seqno: u64,
    failed: bool,
}

/// A transaction and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The chunk file.
    pub file: Arc<str>,
    /// Where in the file it begins.
    pub offset: u64,
    /// The transaction.
    pub transaction: Transaction,
}

/// A transaction of which only the beginning is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Torn {
    /// The chunk file, which is the open one.
    pub file: Arc<str>,
    /// Where in the file it begins.
    pub offset: u64,
    /// How many bytes of it are there.
    pub len_bytes: u64,
    /// Its name, when that much of it is there.
    pub txid: Option<TxId>,
}

/// A folder that does not hold a readable ledger.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The storage failed.
    #[error("{file}: {source}")]
    Io {
        /// Where.
        file: String,
        /// Why.
        source: io::Error,
    },
    /// A file is named like a chunk, but not quite.
    #[error("{file}: not the name of a chunk")]
    Name {
        /// Which.
        file: String,
    },
    /// Transactions are missing.
    #[error("{file}: it should begin with transaction {expected}: a chunk before it is missing")]
    Missing {
        /// The chunk behind the gap.
        file: String,
        /// Where the gap begins.
        expected: u64,
    },
    /// Two chunks hold the same transactions.
    #[error("{file}: it should begin with transaction {expected}: it overlaps the chunk before it")]
    Overlap {
        /// The later chunk.
        file: String,
        /// Where it should begin.
        expected: u64,
    },
    /// An open chunk is not the last one.
    #[error("{file}: an open chunk must be the last one")]
    OpenInside {
        /// Which.
        file: String,
    },
    /// The framing of a chunk is broken.
    #[error("{file}, offset {offset}: {source}")]
    Chunk {
        /// Where.
        file: Arc<str>,
        /// Where in the file.
        offset: u64,
        /// Why.
        source: ChunkError,
    },
    /// A transaction cannot be read.
    #[error("{file}, offset {offset}, transaction number {seqno}: {source}")]
    Codec {
        /// Where.
        file: Arc<str>,
        /// Where in the file.
        offset: u64,
        /// The one that should stand there.
        seqno: u64,
        /// Why.
        source: CodecError,
    },
    /// Another transaction than the next.
    #[error("{file}, offset {offset}: transaction number {expected} was expected, not {found}")]
    Seqno {
        /// Where.
        file: Arc<str>,
        /// Where in the file.
        offset: u64,
        /// The one that should stand there.
        expected: u64,
        /// The one that does.
        found: u64,
    },
}

impl<'a, S: Storage> Reader<'a, S> {
    /// From the first transaction.
    pub fn open(storage: &'a S) -> Result<Reader<'a, S>, ReadError> {
        Reader::open_at(storage, 1)
    }

    /// From a transaction. The chunks before its own are not read.
    pub fn open_at(storage: &'a S, seqno: u64) -> Result<Reader<'a, S>, ReadError> {
        let io = |source| ReadError::Io { file: String::new(), source };
        let mut chunks = Vec::new();
        for file in storage.list().map_err(io)? {
            match ChunkName::parse(&file) {
                None => {}
                Some(Ok(name)) => chunks.push(name),
                Some(Err(_)) => return Err(ReadError::Name { file }),
            }
        }
        chunks.sort_unstable_by_key(|name| (name.first, name.last.is_none(), name.last));
        let mut expected = 1;
        for (index, name) in chunks.iter().enumerate() {
            let file = || name.to_string();
            if name.first > expected {
                return Err(ReadError::Missing { file: file(), expected });
            }
            if name.first < expected {
                return Err(ReadError::Overlap { file: file(), expected });
            }
            match name.last {
                Some(last) => expected = last + 1,
                None if index + 1 < chunks.len() => {
                    return Err(ReadError::OpenInside { file: file() });
                }
                None => {}
            }
        }
        let keep = |name: &ChunkName| name.last.is_none_or(|last| last >= seqno);
        let chunks: Vec<ChunkName> = chunks.into_iter().filter(keep).collect();
        let first = chunks.first().map_or(expected, |name| name.first);
        let mut reader =
            Reader { storage, chunks: chunks.into_iter(), current: None, last_chunk: None, next_seqno: first, failed: false };
        if seqno > first {
            reader.skip_to(seqno)?;
        }
        Ok(reader)
    }

    /// True when nothing is left to read, not even an open chunk without transactions.
    pub fn is_empty(&self) -> bool {
        self.current.is_none() && self.chunks.len() == 0
    }

    /// The transaction that is cut at the end of the ledger. Known when the iteration is over.
    pub fn torn(&self) -> Option<Torn> {
        let chunk = self.last_chunk.as_ref()?;
        let rest = chunk.rest();
        let headless = chunk.bytes.len() < CHUNK_HEADER_BYTES;
        if rest.is_empty() || headless {
            return None;
        }
        Some(Torn {
            file: Arc::clone(&chunk.file),
            offset: chunk.end as u64,
            len_bytes: rest.len() as u64,
            txid: peek_txid(rest).and_then(Result::ok),
        })
    }

    /// The last chunk. Known when the iteration is over.
    pub(crate) fn into_last_chunk(self) -> Option<Chunk> {
        self.last_chunk
    }

    fn skip_to(&mut self, seqno: u64) -> Result<(), ReadError> {
        if let Some((chunk, _)) = self.load()? {
            let skip = (seqno - self.next_seqno).min(chunk.positions.len() as u64);
            self.current = Some((chunk, skip as usize));
            self.next_seqno += skip;
        }
        Ok(())
    }

    fn load(&mut self) -> Result<Option<(Chunk, usize)>, ReadError> {
        let Some(name) = self.chunks.next() else {
            return Ok(None);
        };
        let file = name.to_string();
        let bytes = self.storage.read(&file).map_err(|source| ReadError::Io { file: file.clone(), source })?;
        let chunk = Chunk::new(name, bytes);
        let chunk = chunk.map_err(|(offset, source)| ReadError::Chunk { file: file.into(), offset, source })?;
        Ok(Some((chunk, 0)))
    }

    fn read(&mut self) -> Result<Option<Located>, ReadError> {
        loop {
            if self.current.is_none() {
                self.current = self.load()?;
            }
            let Some((chunk, index)) = &mut self.current else {
                return Ok(None);
            };
            let Some((offset, raw)) = chunk.transaction(*index) else {
                self.last_chunk = self.current.take().map(|(chunk, _)| chunk);
                continue;
            };
            let file = Arc::clone(&chunk.file);
            let expected = self.next_seqno;
            let parsed = Transaction::parse(raw);
            let transaction =
                parsed.map_err(|source| ReadError::Codec { file: file.clone(), offset, seqno: expected, source })?;
            let found = transaction.txid().seqno;
            if found != expected {
                return Err(ReadError::Seqno { file, offset, expected, found });
            }
            *index += 1;
            self.next_seqno += 1;
            return Ok(Some(Located { file, offset, transaction }));
        }
    }
}

impl<S: Storage> Iterator for Reader<'_, S> {
    type Item = Result<Located, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.failed {
            return None;
        }
        let next = self.read().transpose();
        self.failed = matches!(next, Some(Err(_)));
        next
    }
}
