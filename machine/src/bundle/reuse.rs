//! Interpreters that handlers reuse: realms whose heaps live on from request to request of the same key.
//!
//! Which there are follows from the ledger: one comes with the first request of its key, the least recently used goes when there
//! are too many, and all go with a deployment and with a checkpoint. So a replay has the same.

use super::host::Kv;
use sandbox::Realm;

/// See the module.
#[derive(Default)]
pub(crate) struct Interpreters {
    /// The least recently used first.
    kept: Vec<(String, Realm<Kv>)>,
    /// A request was not executed here: what the interpreters would hold is not known until the next flush.
    pub lost: bool,
}

impl Interpreters {
    pub fn take(&mut self, key: &str) -> Option<Realm<Kv>> {
        let at = self.kept.iter().position(|(known, _)| known == key)?;
        Some(self.kept.remove(at).1)
    }

    pub fn put(&mut self, key: &str, realm: Realm<Kv>, most: usize) {
        self.kept.push((key.to_owned(), realm));
        while self.kept.len() > most {
            self.kept.remove(0);
        }
    }

    pub fn flush(&mut self) {
        self.kept.clear();
    }
}
