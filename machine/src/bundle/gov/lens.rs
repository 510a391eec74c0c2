//! Governance through the eyes of others: functions that want tables of a known type.

use super::Governing;
use crate::Fault;
use crate::bundle::store::{Row, Rows, RowsMut};

/// Tables to read.
pub(super) struct Lens<'a>(pub &'a dyn Rows);

impl Rows for Lens<'_> {
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.0.get(map, key)
    }

    fn rows(&self, map: &str) -> Result<Vec<Row>, Fault> {
        self.0.rows(map)
    }
}

/// Tables to write.
pub(super) struct Hand<'a>(pub &'a mut dyn Governing);

impl Rows for Hand<'_> {
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.0.get(map, key)
    }

    fn rows(&self, map: &str) -> Result<Vec<Row>, Fault> {
        self.0.rows(map)
    }
}

impl RowsMut for Hand<'_> {
    fn put(&mut self, map: &str, key: &[u8], value: &[u8]) {
        self.0.put(map, key, value);
    }

    fn remove(&mut self, map: &str, key: &[u8]) {
        self.0.remove(map, key);
    }
}
