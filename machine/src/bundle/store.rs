//! What a request sees of the state: committed rows under its own writes.

use crate::Fault;
use crate::records::Records;
use crate::state::{MAX_KEY_BYTES, MAX_MAP_NAME_BYTES, MAX_VALUE_BYTES};
use ledger::WriteSet;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What one request may write, keys and values.
pub const MAX_WRITES_BYTES: usize = 64 << 20;

/// What one look at a table may bring, keys and values: more than any realm has room for. Tests would need that much memory.
const MAX_ROWS_BYTES: usize = if cfg!(test) { 1 << 20 } else { 1 << 30 };

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
        let mut rows = BTreeMap::new();
        let mut bytes = 0;
        // Of either kind the first rows are enough: whatever the other has, no row behind them is among the first of both.
        let mut committed = begun(self.records.state().range(map, from, to)?, span.reverse);
        while rows.len() < span.limit
            && let Some(row) = committed.next()
        {
            let (key, entry) = row?;
            if own.is_some_and(|own| own.writes.contains_key(key.as_ref()) || own.removes.contains(key.as_ref())) {
                continue;
            }
            bytes += key.len() + entry.value().len();
            if bytes > MAX_ROWS_BYTES {
                return Ok(None);
            }
            rows.insert(key.to_vec(), entry.value().to_vec());
        }
        if let Some(own) = own {
            let written = begun(own.writes.range::<[u8], _>((from, to)), span.reverse).take(span.limit);
            rows.extend(written.map(|(key, value)| (key.clone(), value.clone())));
        }
        Ok(Some(begun(rows.into_iter(), span.reverse).take(span.limit).collect()))
    }
}

/// Rows from the end at which a span begins.
fn begun<'a, T>(rows: impl DoubleEndedIterator<Item = T> + 'a, reverse: bool) -> Box<dyn Iterator<Item = T> + 'a> {
    if reverse { Box::new(rows.rev()) } else { Box::new(rows) }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::State;

    const MAP: &str = "map";

    fn key(n: u8) -> Vec<u8> {
        vec![b'k', n]
    }

    /// A store with the even keys below 40, of which the request has removed some, and written others between them.
    fn store() -> Store {
        let mut state = State::in_memory();
        let rows: Vec<_> = (0..40).step_by(2).map(key).collect();
        state.apply(1, rows.iter().map(|key| (MAP, key.as_slice(), Some(&b"old"[..])))).unwrap();
        let mut store = Store::new(Records::new(state));
        for n in [0, 2, 18, 20, 36, 38] {
            store.remove(MAP, &key(n));
        }
        for n in [3, 4, 19, 33, 34, 39] {
            store.put(MAP, &key(n), b"new");
        }
        store
    }

    #[test]
    fn a_span_is_a_part_of_all_rows() {
        let store = store();
        let all = store.rows(MAP).unwrap();
        assert_eq!(all.len(), 14 + 4);
        for (from, to) in
            [(None, None), (Some(3), Some(36)), (Some(18), None), (None, Some(4)), (Some(20), Some(21)), (Some(9), Some(9))]
        {
            for (limit, reverse) in [0, 1, 2, 5, 100, usize::MAX].into_iter().flat_map(|limit| [(limit, false), (limit, true)]) {
                let span = Span { from: from.map(key), to: to.map(key), limit, reverse };
                let within = |row: &&Row| from.is_none_or(|from| row.0 >= key(from)) && to.is_none_or(|to| row.0 < key(to));
                let mut expected: Vec<Row> = all.iter().filter(within).cloned().collect();
                if reverse {
                    expected.reverse();
                }
                expected.truncate(limit);
                assert_eq!(store.span(MAP, &span).unwrap(), Some(expected), "{span:?}");
            }
        }
    }

    /// Of a table that is too large to be read at once, the last row can be had, and the first that is not removed.
    #[test]
    fn no_more_is_read_than_is_asked_for() {
        let mut state = State::in_memory();
        let value = vec![0; MAX_ROWS_BYTES / 16];
        let rows: Vec<_> = (0..17).map(key).collect();
        state.apply(1, rows.iter().map(|key| (MAP, key.as_slice(), Some(value.as_slice())))).unwrap();
        let mut store = Store::new(Records::new(state));
        assert_eq!(store.span(MAP, &Span::ALL).unwrap(), None);
        store.remove(MAP, &key(0));
        store.put(MAP, &key(3), b"new");
        for (reverse, first) in [(false, 1), (true, 16)] {
            let found = store.span(MAP, &Span { limit: 1, reverse, ..Span::ALL }).unwrap().unwrap();
            assert_eq!(found.iter().map(|row| row.0.clone()).collect::<Vec<_>>(), [key(first)]);
        }
    }
}
