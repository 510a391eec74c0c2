//! Chunk files: a stretch of the ledger in one file.
//!
//! ```text
//! ledger_1-17.committed     complete: ends with a signature transaction that is flagged as the end of its chunk
//!   0    u64  offset of the position table
//!   8    …    transactions 1 to 17, back to back
//!   …    u32  offset of each transaction
//!
//! ledger_18                 open: the last chunk, still being written
//!   0    u64  0
//!   8    …    transactions from 18
//! ```
//!
//! Completing a chunk takes four steps, each durable before the next: transactions, table, header, name. A crash
//! between them leaves an open chunk that has *ended*: its last transaction is flagged, and what follows, and the
//! header, is blank or already right, byte by byte. Recovery takes the steps that are missing.
//!
//! Invariants: chunks follow each other without gap or overlap, only the last is open; numbers in names have no leading
//! zeros; the flagged transaction is the last of its chunk.

use std::fmt;
use std::sync::Arc;

use crate::transaction::{CodecError, FLAG_END_OF_CHUNK, frame};
use crate::txid::decimal;

/// Length of the header.
pub const CHUNK_HEADER_BYTES: usize = 8;
/// Largest chunk, without its table: positions are 32-bit.
pub const CHUNK_MAX_BYTES: u64 = u32::MAX as u64;

const PREFIX: &str = "ledger_";
const COMMITTED: &str = ".committed";

/// The name of a chunk file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChunkName {
    /// The first transaction.
    pub first: u64,
    /// The last one, when the chunk is complete.
    pub last: Option<u64>,
}

/// A file that is named like a chunk, but not in the one spelling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadName;

impl ChunkName {
    /// Reads the name of a file. `None` for files that are something else.
    pub(crate) fn parse(name: &str) -> Option<Result<ChunkName, BadName>> {
        let rest = name.strip_prefix(PREFIX)?;
        let number = |text| decimal(text).filter(|seqno| *seqno > 0);
        let parsed = match rest.strip_suffix(COMMITTED) {
            None => number(rest).map(|first| ChunkName { first, last: None }),
            Some(range) => range.split_once('-').and_then(|(first, last)| {
                let (first, last) = (number(first)?, number(last)?);
                (first <= last).then_some(ChunkName { first, last: Some(last) })
            }),
        };
        Some(parsed.ok_or(BadName))
    }
}

impl fmt::Display for ChunkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.last {
            Some(last) => write!(f, "{PREFIX}{}-{last}{COMMITTED}", self.first),
            None => write!(f, "{PREFIX}{}", self.first),
        }
    }
}

/// A chunk in memory, cut into transactions.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) name: ChunkName,
    pub(crate) file: Arc<str>,
    pub(crate) bytes: Vec<u8>,
    /// Where each transaction begins.
    pub(crate) positions: Vec<u32>,
    /// Where the last complete transaction ends.
    pub(crate) end: usize,
    /// The last transaction is flagged.
    pub(crate) ended: bool,
}

/// What is wrong with the framing of a chunk.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChunkError {
    /// The header of an open chunk is not blank.
    #[error("the header of an open chunk is not zero")]
    OpenHeader,
    /// The header of a complete chunk does not point to its table.
    #[error("the header does not point to the position table")]
    Header,
    /// The table is not that of the transactions.
    #[error("the position table is not that of the transactions")]
    Table,
    /// The name promises other transactions.
    #[error("the chunk holds {found} transactions, its name promises {expected}")]
    Count {
        /// What the file holds.
        found: u64,
        /// What its name says.
        expected: u64,
    },
    /// A transaction is cut in a chunk that is complete.
    #[error("the last transaction of a complete chunk is cut")]
    Cut,
    /// A complete chunk must end with a flagged transaction.
    #[error("the last transaction of a complete chunk is not flagged as its end")]
    NotEnded,
    /// Something follows the flagged transaction.
    #[error("bytes follow the end of the chunk")]
    Trailing,
    /// Larger than [`CHUNK_MAX_BYTES`].
    #[error("the chunk is larger than {CHUNK_MAX_BYTES} bytes")]
    TooLarge,
    /// A transaction has no frame.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl Chunk {
    /// Cuts a file. An error comes with its offset.
    pub(crate) fn new(name: ChunkName, bytes: Vec<u8>) -> Result<Chunk, (u64, ChunkError)> {
        let file = name.to_string().into();
        let mut chunk = Chunk { name, file, bytes, positions: Vec::new(), end: 0, ended: false };
        match name.last {
            Some(last) => chunk.cut_committed(last)?,
            None => chunk.cut_open()?,
        }
        Ok(chunk)
    }

    /// The bytes of a transaction, by its place in the chunk.
    pub(crate) fn transaction(&self, index: usize) -> Option<(u64, &[u8])> {
        let start = *self.positions.get(index)? as usize;
        let end = self.positions.get(index + 1).map_or(self.end, |next| *next as usize);
        Some((start as u64, &self.bytes[start..end]))
    }

    /// What stands behind the last complete transaction of an open chunk that has not ended: the beginning of a
    /// transaction, or the beginning of the file's own header.
    pub(crate) fn rest(&self) -> &[u8] {
        if self.name.last.is_some() || self.ended { &[] } else { &self.bytes[self.end..] }
    }

    fn cut_committed(&mut self, last: u64) -> Result<(), (u64, ChunkError)> {
        let header = self.bytes.first_chunk::<CHUNK_HEADER_BYTES>().ok_or((0, ChunkError::Header))?;
        let table = u64::from_le_bytes(*header);
        let in_file = (CHUNK_HEADER_BYTES as u64..=self.bytes.len() as u64).contains(&table);
        if !in_file || table > CHUNK_MAX_BYTES {
            return Err((0, ChunkError::Header));
        }
        self.cut(table as usize)?;
        let end = self.end as u64;
        if end < table {
            return Err((end, if self.ended { ChunkError::Trailing } else { ChunkError::Cut }));
        }
        let (found, expected) = (self.positions.len() as u64, last - self.name.first + 1);
        if found != expected {
            return Err((0, ChunkError::Count { found, expected }));
        }
        if !self.ended {
            return Err((end, ChunkError::NotEnded));
        }
        if self.bytes[self.end..] != self.table() {
            return Err((end, ChunkError::Table));
        }
        Ok(())
    }

    fn cut_open(&mut self) -> Result<(), (u64, ChunkError)> {
        let Some(header) = self.bytes.first_chunk::<CHUNK_HEADER_BYTES>().copied() else {
            let blank = self.bytes.iter().all(|byte| *byte == 0);
            return if blank { Ok(()) } else { Err((0, ChunkError::OpenHeader)) };
        };
        self.cut(self.bytes.len())?;
        let end = self.end as u64;
        if !self.ended {
            return if header == [0; 8] { Ok(()) } else { Err((0, ChunkError::OpenHeader)) };
        }
        // Ended, but not complete: header and table are blank or right, byte by byte.
        let begun = |found: &[u8], right: &[u8]| found.iter().zip(right).all(|(f, r)| f == r || *f == 0);
        let table = self.table();
        if !begun(&header, &end.to_le_bytes()) {
            return Err((0, ChunkError::OpenHeader));
        }
        let rest = &self.bytes[self.end..];
        if rest.len() > table.len() || !begun(rest, &table) {
            return Err((end, ChunkError::Trailing));
        }
        Ok(())
    }

    /// Walks over transactions until `limit`, until one is cut, or until one is flagged.
    fn cut(&mut self, limit: usize) -> Result<(), (u64, ChunkError)> {
        self.end = CHUNK_HEADER_BYTES;
        while !self.ended {
            let rest = &self.bytes[self.end..limit];
            // A file that grew, but whose last blocks were never written.
            if rest.iter().all(|byte| *byte == 0) {
                break;
            }
            let at = |error: CodecError| (self.end as u64, error.into());
            let Some((len, flags)) = frame(rest).map_err(at)? else {
                break;
            };
            if len > rest.len() {
                break;
            }
            let position = u32::try_from(self.end).map_err(|_| (self.end as u64, ChunkError::TooLarge))?;
            self.positions.push(position);
            self.end += len;
            self.ended = flags & FLAG_END_OF_CHUNK != 0;
        }
        Ok(())
    }

    /// The position table that belongs to the transactions.
    pub(crate) fn table(&self) -> Vec<u8> {
        encode_table(&self.positions)
    }
}

/// The position table.
pub(crate) fn encode_table(positions: &[u32]) -> Vec<u8> {
    positions.iter().flat_map(|position| position.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["ledger_1", "ledger_18", "ledger_1-17.committed", "ledger_3-3.committed"] {
            assert_eq!(ChunkName::parse(good).unwrap().unwrap().to_string(), good);
        }
        for bad in [
            "ledger_",
            "ledger_0",
            "ledger_01",
            "ledger_1-2",
            "ledger_1.committed",
            "ledger_2-1.committed",
            "ledger_1-2.committed.recovery",
            "ledger_+1",
            "ledger_1-02.committed",
            "ledger_18446744073709551616",
        ] {
            assert_eq!(ChunkName::parse(bad), Some(Err(BadName)), "{bad}");
        }
        assert_eq!(ChunkName::parse("snapshot_1_2.committed"), None);
    }
}
