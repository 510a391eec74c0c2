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

use crate::chunk::{CHUNK_HEADER_BYTES, CHUNK_MAX_BYTES, Chunk, ChunkError, ChunkName};
use crate::storage::Storage;
use crate::transaction::{CodecError, TRANSACTION_MAX_BYTES, Transaction, peek_txid};
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
        let chunks = list_chunks(storage)?;
        let end = chunks.last().map_or(1, |name| name.last.map_or(name.first, |last| last + 1));
        let keep = |name: &ChunkName| name.last.is_none_or(|last| last >= seqno);
        let chunks: Vec<ChunkName> = chunks.into_iter().filter(keep).collect();
        let first = chunks.first().map_or(end, |name| name.first);
        let mut reader =
            Reader { storage, chunks: chunks.into_iter(), current: None, last_chunk: None, next_seqno: first, failed: false };
        if seqno > first {
            reader.skip_to(seqno)?;
        }
        Ok(reader)
    }

    /// The number of the transaction that comes next.
    pub(crate) fn next_seqno(&self) -> u64 {
        self.next_seqno
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
        Ok(Some((load_chunk(self.storage, name)?, 0)))
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
            let located = Located::parse(&chunk.file, offset, self.next_seqno, raw.to_vec())?;
            *index += 1;
            self.next_seqno += 1;
            return Ok(Some(located));
        }
    }
}

impl Located {
    /// Reads the transaction that should stand at a place.
    pub(crate) fn parse(file: &Arc<str>, offset: u64, expected: u64, raw: Vec<u8>) -> Result<Located, ReadError> {
        let file = Arc::clone(file);
        let codec = |source| ReadError::Codec { file: Arc::clone(&file), offset, seqno: expected, source };
        let transaction = Transaction::from_raw(raw).map_err(codec)?;
        let found = transaction.txid().seqno;
        if found != expected {
            return Err(ReadError::Seqno { file, offset, expected, found });
        }
        Ok(Located { file, offset, transaction })
    }
}

/// The chunks of a folder, in order, without gap or overlap. No file is opened.
pub(crate) fn list_chunks<S: Storage>(storage: &S) -> Result<Vec<ChunkName>, ReadError> {
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
    Ok(chunks)
}

/// Reads a chunk and cuts it.
pub(crate) fn load_chunk<S: Storage>(storage: &S, name: ChunkName) -> Result<Chunk, ReadError> {
    let file = name.to_string();
    let bytes = storage.read(&file).map_err(|source| ReadError::Io { file: file.clone(), source })?;
    Chunk::new(name, bytes).map_err(|(offset, source)| ReadError::Chunk { file: file.into(), offset, source })
}

/// Reads one transaction. Of a complete chunk it reads nothing else but the header and a line of the table, and does not
/// check the rest. `None` when there is no such transaction.
pub(crate) fn read_one<S: Storage>(storage: &S, chunks: &[ChunkName], seqno: u64) -> Result<Option<Located>, ReadError> {
    let holds = |name: &&ChunkName| name.first <= seqno && name.last.is_none_or(|last| seqno <= last);
    let Some(name) = chunks.iter().find(holds) else {
        return Ok(None);
    };
    let index = seqno - name.first;
    let file: Arc<str> = name.to_string().into();
    let Some(last) = name.last else {
        let chunk = load_chunk(storage, *name)?;
        let raw = chunk.transaction(index as usize);
        return raw.map(|(offset, raw)| Located::parse(&file, offset, seqno, raw.to_vec())).transpose();
    };
    let read = |offset: u64, len: usize| {
        let bytes = storage.read_at(&file, offset, len).map_err(|source| ReadError::Io { file: file.to_string(), source })?;
        let cut = || ReadError::Chunk { file: Arc::clone(&file), offset, source: ChunkError::Cut };
        if bytes.len() == len { Ok(bytes) } else { Err(cut()) }
    };
    let chunk_error = |offset, source| ReadError::Chunk { file: Arc::clone(&file), offset, source };
    let header = read(0, CHUNK_HEADER_BYTES)?;
    let table = header.first_chunk().map_or(0, |header| u64::from_le_bytes(*header));
    if !(CHUNK_HEADER_BYTES as u64..=CHUNK_MAX_BYTES).contains(&table) {
        return Err(chunk_error(0, ChunkError::Header));
    }
    let line = |index: u64| {
        let bytes = read(table + 4 * index, 4)?;
        Ok(u64::from(bytes.first_chunk().map_or(0, |position| u32::from_le_bytes(*position))))
    };
    let start = line(index)?;
    let end = if seqno == last { table } else { line(index + 1)? };
    let room = CHUNK_HEADER_BYTES as u64 <= start && start < end && end <= table;
    if !room || end - start > TRANSACTION_MAX_BYTES as u64 {
        return Err(chunk_error(table + 4 * index, ChunkError::Table));
    }
    Located::parse(&file, start, seqno, read(start, (end - start) as usize)?).map(Some)
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
