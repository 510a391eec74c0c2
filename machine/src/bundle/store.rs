//! What a request sees of the state: committed rows under its own writes.

use crate::Fault;
use crate::records::Records;
use ledger::WriteSet;
use std::collections::BTreeMap;
use std::ops::Bound;

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
        Ok(self.records.state().get(map, key)?.map(|row| row.seqno()))
    }

    /// Removes all rows.
    pub fn clear(&mut self, map: &str) -> Result<(), Fault> {
        for (key, _) in self.rows(map)? {
            self.writes.remove(map, key);
        }
        Ok(())
    }

    /// Rows, own writes among them.
    pub fn span(&self, map: &str, span: &Span) -> Result<Vec<Row>, Fault> {
        let from = span.from.as_deref().map_or(Bound::Unbounded, Bound::Included);
        let to = span.to.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        if let (Some(from), Some(to)) = (&span.from, &span.to)
            && from >= to
        {
            return Ok(Vec::new());
        }
        let own = self.writes.maps.get(map);
        // Without own writes and forwards, no more is read than is asked for.
        let enough = if own.is_none() && !span.reverse { span.limit } else { usize::MAX };
        let mut rows = BTreeMap::new();
        for row in self.records.state().range(map, from, to)?.take(enough) {
            let (key, entry) = row?;
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
        Ok(if span.reverse { rows.rev().take(span.limit).collect() } else { rows.take(span.limit).collect() })
    }
}

impl Rows for Store {
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
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
        self.span(map, &Span::ALL)
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
