//! What a transaction does to the state: for each map, the keys that it writes and the keys that it removes.
//!
//! ```text
//! u64 length, name
//! i64 read version = 0
//! u64 number of reads = 0
//! u64 number of writes,   then for each:  u64 length, key, u64 length, value
//! u64 number of removes,  then for each:  u64 length, key
//! ```
//!
//! So stands each map in the bytes of a transaction. All integers are little-endian. A map whose name begins with
//! `public:` is readable in the ledger by everyone, every other map is encrypted.
//!
//! Invariants of the encoding: maps, writes and removes are in strictly ascending byte order; no key is both written
//! and removed; a map that neither writes nor removes is left out. The decoder refuses anything else.

use std::collections::{BTreeMap, BTreeSet};

use crate::transaction::CodecError;

/// Names of maps that everybody may read in the ledger begin so.
pub const PUBLIC_PREFIX: &str = "public:";
/// Longest name of a map.
pub const MAP_NAME_MAX_BYTES: usize = 1024;
/// The bytes that a map costs beside its name, keys and values: five numbers.
const MAP_OVERHEAD_BYTES: usize = 5 * 8;

/// What a transaction does to one map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MapWrites {
    /// Keys with their new values.
    pub writes: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Keys that are gone.
    pub removes: BTreeSet<Vec<u8>>,
}

/// What a transaction does to the state, by the name of the map.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteSet {
    /// The maps that the transaction touches.
    pub maps: BTreeMap<String, MapWrites>,
}

/// Which of the two domains of a transaction a map belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Domain {
    Public,
    Private,
}

impl Domain {
    fn holds(self, name: &str) -> bool {
        name.starts_with(PUBLIC_PREFIX) == (self == Domain::Public)
    }
}

impl MapWrites {
    /// True when the map is left as it was.
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.removes.is_empty()
    }
}

impl WriteSet {
    /// A write set that does nothing.
    pub fn new() -> WriteSet {
        WriteSet::default()
    }

    /// Writes a key. An earlier removal of the key in this write set is forgotten.
    pub fn put(&mut self, map: &str, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) {
        let key = key.into();
        let map = self.map_mut(map);
        map.removes.remove(&key);
        map.writes.insert(key, value.into());
    }

    /// Removes a key. An earlier write of the key in this write set is forgotten.
    pub fn remove(&mut self, map: &str, key: impl Into<Vec<u8>>) {
        let key = key.into();
        let map = self.map_mut(map);
        map.writes.remove(&key);
        map.removes.insert(key);
    }

    /// The value that this write set gives a key.
    pub fn get(&self, map: &str, key: &[u8]) -> Option<&[u8]> {
        Some(self.maps.get(map)?.writes.get(key)?.as_slice())
    }

    /// True when the state is left as it was.
    pub fn is_empty(&self) -> bool {
        self.maps.values().all(MapWrites::is_empty)
    }

    fn map_mut(&mut self, map: &str) -> &mut MapWrites {
        if !self.maps.contains_key(map) {
            self.maps.insert(map.to_owned(), MapWrites::default());
        }
        self.maps.get_mut(map).expect("inserted above when it was missing")
    }

    /// Bytes that [`WriteSet::encode`] appends for a domain.
    pub(crate) fn encoded_len(&self, domain: Domain) -> usize {
        let mut len = 0;
        for (name, map) in self.maps.iter().filter(|(name, map)| domain.holds(name) && !map.is_empty()) {
            len += MAP_OVERHEAD_BYTES + name.len();
            len += map.writes.iter().map(|(key, value)| 16 + key.len() + value.len()).sum::<usize>();
            len += map.removes.iter().map(|key| 8 + key.len()).sum::<usize>();
        }
        len
    }

    /// Appends the maps of one domain.
    pub(crate) fn encode(&self, domain: Domain, out: &mut Vec<u8>) -> Result<(), CodecError> {
        for (name, map) in self.maps.iter().filter(|(name, map)| domain.holds(name) && !map.is_empty()) {
            if name.is_empty() || name.len() > MAP_NAME_MAX_BYTES {
                return Err(CodecError::MapName);
            }
            if map.removes.iter().any(|key| map.writes.contains_key(key)) {
                return Err(CodecError::WrittenAndRemoved);
            }
            put_bytes(out, name.as_bytes());
            out.extend_from_slice(&[0; 16]); // read version, number of reads
            put_u64(out, map.writes.len() as u64);
            for (key, value) in &map.writes {
                put_bytes(out, key);
                put_bytes(out, value);
            }
            put_u64(out, map.removes.len() as u64);
            for key in &map.removes {
                put_bytes(out, key);
            }
        }
        Ok(())
    }

    /// Reads the maps of one domain, to the end of `input`.
    pub(crate) fn decode(domain: Domain, mut input: Input<'_>) -> Result<WriteSet, CodecError> {
        let mut maps: BTreeMap<String, MapWrites> = BTreeMap::new();
        while !input.0.is_empty() {
            let name = std::str::from_utf8(input.bytes()?).map_err(|_| CodecError::MapName)?;
            if name.is_empty() || name.len() > MAP_NAME_MAX_BYTES || !domain.holds(name) {
                return Err(CodecError::MapName);
            }
            if maps.last_key_value().is_some_and(|(last, _)| last.as_str() >= name) {
                return Err(CodecError::Order("maps"));
            }
            let mut map = MapWrites::default();
            if input.u64()? != 0 || input.u64()? != 0 {
                return Err(CodecError::Reserved("read version or reads of a map"));
            }
            for _ in 0..input.u64()? {
                let key = input.bytes()?;
                if map.writes.last_key_value().is_some_and(|(last, _)| last.as_slice() >= key) {
                    return Err(CodecError::Order("writes"));
                }
                let value = input.bytes()?;
                map.writes.insert(key.to_vec(), value.to_vec());
            }
            for _ in 0..input.u64()? {
                let key = input.bytes()?;
                if map.removes.last().is_some_and(|last| last.as_slice() >= key) {
                    return Err(CodecError::Order("removes"));
                }
                if map.writes.contains_key(key) {
                    return Err(CodecError::WrittenAndRemoved);
                }
                map.removes.insert(key.to_vec());
            }
            if map.is_empty() {
                return Err(CodecError::EmptyMap);
            }
            maps.insert(name.to_owned(), map);
        }
        Ok(WriteSet { maps })
    }
}

fn put_u64(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_u64(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// The bytes that are still to be read.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a>(pub(crate) &'a [u8]);

impl<'a> Input<'a> {
    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], CodecError> {
        let (head, tail) = self.0.split_at_checked(len).ok_or(CodecError::Truncated)?;
        self.0 = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], CodecError> {
        Ok(self.take(N)?.try_into().expect("take returned N bytes"))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, CodecError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A length and as many bytes.
    fn bytes(&mut self) -> Result<&'a [u8], CodecError> {
        let len = usize::try_from(self.u64()?).map_err(|_| CodecError::Truncated)?;
        self.take(len)
    }
}
