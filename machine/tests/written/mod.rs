//! A service's ledger in a folder, without a machine.

#![allow(dead_code, clippy::unwrap_used)]

use ledger::{Dir, Keys, Log, Sealed, Sealer, WriteSet, genesis};
use machine::bundle::archive::Ledger;
use std::path::Path;
use std::sync::Arc;

/// A service that writes a ledger.
pub struct Service {
    pub keys: Arc<Keys>,
    pub sealer: Sealer,
    log: Log<Dir>,
}

impl Service {
    pub fn new(folder: &Path) -> Service {
        let keys = Arc::new(Keys::generate("Service", "node0", 0, 1 << 32).unwrap());
        let sealer = Sealer::new(&keys, 2).unwrap();
        let log = Log::create(Dir::create(folder).unwrap()).unwrap();
        let mut service = Service { keys, sealer, log };
        let mut writes = WriteSet::new();
        genesis(&mut writes, &service.keys);
        service.put(&writes, None);
        service
    }

    fn take(&mut self, sealed: Sealed) -> u64 {
        self.log.append(&sealed.raw).unwrap();
        self.log.commit().unwrap();
        sealed.txid.seqno
    }

    pub fn put(&mut self, writes: &WriteSet, claims: Option<[u8; 32]>) -> u64 {
        let sealed = self.sealer.seal(writes, claims).unwrap();
        self.take(sealed)
    }

    pub fn call(&mut self, n: u64) -> u64 {
        let mut writes = WriteSet::new();
        writes.put("public:log", n.to_le_bytes(), "public");
        writes.put("log", n.to_le_bytes(), "private");
        self.put(&writes, (n % 2 == 1).then_some([7; 32]))
    }

    pub fn sign(&mut self) -> u64 {
        self.sign_off(false)
    }

    pub fn sign_off(&mut self, ends_chunk: bool) -> u64 {
        let sealed = self.sealer.sign(1_700_000_000, ends_chunk).unwrap();
        self.take(sealed)
    }

    pub fn at_rest(&self) -> Ledger {
        Ledger::at_rest(self.log.storage().path(), self.keys.secret().clone()).unwrap()
    }
}
