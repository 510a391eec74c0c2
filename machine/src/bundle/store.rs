//! What a request sees of the state: committed rows under its own writes.

use crate::Fault;
use crate::records::Records;
use crate::state::{MAX_KEY_BYTES, MAX_MAP_NAME_BYTES, MAX_VALUE_BYTES};
use ledger::WriteSet;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What one request may write, keys and values.
pub const MAX_WRITES_BYTES: usize = 64 << 20;

/// What one look at a table may bring, keys and values: more than any realm has room for.
const MAX_ROWS_BYTES: usize = 1 << 30;

/// A row: key and value.
pub type Row = (Vec<u8>, Vec<u8>);

/// Tables that can be read.
pub trait Rows {
    /// The value of a key.
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault>;
    /// All rows in the order of their keys.
    fn rows(&self, map: &str) -> Result<Vec<Row>, Fault>;
}

/// Tables that can be written.
pub trait RowsMut: Rows {
    /// Writes a row.
    fn put(&mut self, map: &str, key: &[u8], value: &[u8]);
    /// Removes a row.
    fn remove(&mut self, map: &str, key: &[u8]);
}

/// The state, and what the present request writes.
pub struct Store {
    pub(crate) records: Records,
    pub(crate) writes: WriteSet,
}

/// Which rows, in which order.
#[derive(Debug, Clone, Default)]
pub struct Span {
    /// The first key.
    pub from: Option<Vec<u8>>,
    /// The key before which it ends.
    pub to: Option<Vec<u8>>,
    /// The most rows.
    pub limit: usize,
    /// From the last to the first.
    pub reverse: bool,
}

impl Span {
    /// All rows.
    pub const ALL: Span = Span { from: None, to: None, limit: usize::MAX, reverse: false };
}

impl Store {
    /// A store over these records.
    pub fn new(records: Records) -> Store {
        Store { records, writes: WriteSet::new() }
    }

    /// The seqno of the last committed write of a key that is there.
    pub fn version(&self, map: &str, key: &[u8]) -> Result<Option<u64>, Fault> {
        if key.len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        Ok(self.records.state().get(map, key)?.map(|row| row.seqno()))
    }

    /// Removes all rows.
    pub fn clear(&mut self, map: &str) -> Result<(), Fault> {
        for key in self.records.state().keys(map, Bound::Unbounded, Bound::Unbounded)? {
            self.writes.remove(map, key?.as_ref());
        }
        // What is only written here was never there.
        if let Some(own) = self.writes.maps.get_mut(map) {
            own.writes.clear();
        }
        Ok(())
    }

    /// How many rows there are.
    pub fn count(&self, map: &str) -> Result<u64, Fault> {
        let own = self.writes.maps.get(map);
        let mut count = own.map_or(0, |own| own.writes.len() as u64);
        for key in self.records.state().keys(map, Bound::Unbounded, Bound::Unbounded)? {
            let key = key?;
            let is_own = own.is_some_and(|own| own.writes.contains_key(key.as_ref()) || own.removes.contains(key.as_ref()));
            count += u64::from(!is_own);
        }
        Ok(count)
    }

    /// Why what is written here cannot be a transaction, if it cannot.
    pub fn refuses(&self) -> Option<String> {
        let mut bytes = 0;
        for (name, map) in &self.writes.maps {
            if name.is_empty() || name.len() > MAX_MAP_NAME_BYTES {
                return Some(format!("a table's name has 1 to {MAX_MAP_NAME_BYTES} bytes, not {}", name.len()));
            }
            for (key, value) in &map.writes {
                if key.len() > MAX_KEY_BYTES || value.len() > MAX_VALUE_BYTES {
                    return Some(format!("a key of {} bytes with a value of {} bytes is too large", key.len(), value.len()));
                }
                bytes += key.len() + value.len();
            }
            bytes += map.removes.iter().map(Vec::len).sum::<usize>();
        }
        (bytes > MAX_WRITES_BYTES).then(|| format!("a request writes at most {MAX_WRITES_BYTES} bytes, not {bytes}"))
    }

    /// Rows, own writes among them. `None`: they are too many to be had at once.
    pub fn span(&self, map: &str, span: &Span) -> Result<Option<Vec<Row>>, Fault> {
        let from = span.from.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let to = span.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if let (Some(from), Some(to)) = (&span.from, &span.to)
            && from >= to
        {
            return Ok(Some(Vec::new()));
        }
        let own = self.writes.maps.get(map);
        // Without own writes and forwards, no more is read than is asked for.
        let enough = if own.is_none() && !span.reverse { span.limit } else { usize::MAX };
        let mut rows = BTreeMap::new();
        let mut bytes = 0;
        for row in self.records.state().range(map, from, to)?.take(enough) {
            let (key, entry) = row?;
            bytes += key.len() + entry.value().len();
            if bytes > MAX_ROWS_BYTES {
                return Ok(None);
            }
            rows.insert(key.to_vec(), entry.value().to_vec());
        }
        if let Some(own) = own {
            for key in &own.removes {
                rows.remove(key);
            }
            for (key, value) in own.writes.range::<[u8], _>((from, to)) {
                rows.insert(key.clone(), value.clone());
            }
        }
        let rows = rows.into_iter();
        Ok(Some(if span.reverse { rows.rev().take(span.limit).collect() } else { rows.take(span.limit).collect() }))
    }
}

impl Rows for Store {
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        // Strangers choose keys: what cannot be there is not.
        if key.len() > MAX_KEY_BYTES {
            return Ok(None);
        }
        if let Some(own) = self.writes.maps.get(map) {
            if let Some(value) = own.writes.get(key) {
                return Ok(Some(value.clone()));
            }
            if own.removes.contains(key) {
                return Ok(None);
            }
        }
        Ok(self.records.state().get(map, key)?.map(|row| row.value().to_vec()))
    }

    fn rows(&self, map: &str) -> Result<Vec<Row>, Fault> {
        let rows = self.span(map, &Span::ALL)?;
        rows.ok_or_else(|| Fault::Checkpoint(format!("the table {map} is too large to be read at once")))
    }
}

impl RowsMut for Store {
    fn put(&mut self, map: &str, key: &[u8], value: &[u8]) {
        self.writes.put(map, key, value);
    }

    fn remove(&mut self, map: &str, key: &[u8]) {
        self.writes.remove(map, key);
    }
}
