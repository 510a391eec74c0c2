//! What the tests share: a disk that can crash, and a small service that writes a ledger.
#![allow(dead_code, clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, OnceLock};

use ledger::{Keys, Log, Sealed, Sealer, ServiceStatus, Storage, TxId, WriteSet, genesis, service_info};

/// When the test services were made, and until when their certificates are valid.
pub const NOT_BEFORE_S: u64 = 1_700_000_000;
pub const NOT_AFTER_S: u64 = 4_000_000_000;

/// One service for all tests of a binary.
pub fn keys() -> &'static Arc<Keys> {
    static KEYS: OnceLock<Arc<Keys>> = OnceLock::new();
    KEYS.get_or_init(|| Arc::new(Keys::generate("Test Service", "node0", NOT_BEFORE_S, NOT_AFTER_S).unwrap()))
}

/// A disk in memory. It knows what would survive a crash, and crashes at a given operation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// As the running system sees it.
    pub files: BTreeMap<String, Vec<u8>>,
    /// What a crash leaves for certain.
    pub durable: BTreeMap<String, Vec<u8>>,
    /// Operations so far that change something.
    pub operations: u64,
    /// The operation that fails, together with all after it.
    pub crash_at: Option<u64>,
    /// How many bytes of the write that crashes still reach the disk.
    pub torn_bytes: usize,
    /// How long the write was that crashed.
    pub crashed_bytes: Option<usize>,
}

impl Disk {
    fn operation(&mut self) -> io::Result<()> {
        self.operations += 1;
        if self.crash_at.is_some_and(|at| self.operations > at) {
            return Err(io::Error::other("the machine crashed"));
        }
        Ok(())
    }

    fn file(&mut self, name: &str) -> io::Result<&mut Vec<u8>> {
        self.files.get_mut(name).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// The disk after a crash that lost everything that was not synced.
    pub fn after_losing(&self) -> Disk {
        Disk { files: self.durable.clone(), durable: self.durable.clone(), ..Disk::default() }
    }

    /// The disk after a crash that lost nothing that was written.
    pub fn after_keeping(&self) -> Disk {
        Disk { files: self.files.clone(), durable: self.files.clone(), ..Disk::default() }
    }
}

impl Storage for Disk {
    fn list(&self) -> io::Result<BTreeSet<String>> {
        Ok(self.files.keys().cloned().collect())
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.files.get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let bytes = self.files.get(name).ok_or(io::ErrorKind::NotFound)?;
        let begin = (offset as usize).min(bytes.len());
        Ok(bytes[begin..(begin + len).min(bytes.len())].to_vec())
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(self.files.get(name).ok_or(io::ErrorKind::NotFound)?.len() as u64)
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let done = self.operation();
        let keep = match (&done, self.crash_at) {
            (Err(_), Some(at)) if self.operations == at + 1 => {
                self.crashed_bytes = Some(bytes.len());
                self.torn_bytes.min(bytes.len())
            }
            (Err(_), _) => return done,
            _ => bytes.len(),
        };
        if !self.files.contains_key(name) {
            if offset != 0 {
                return Err(io::ErrorKind::NotFound.into());
            }
            self.files.insert(name.to_owned(), Vec::new());
        }
        let file = self.file(name)?;
        let (offset, end) = (offset as usize, offset as usize + keep);
        file.resize(file.len().max(end), 0);
        file[offset..end].copy_from_slice(&bytes[..keep]);
        done
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.operation()?;
        self.file(name)?.truncate(len as usize);
        Ok(())
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.operation()?;
        let bytes = self.file(name)?.clone();
        // The bytes are durable; the name, when it is new, only after sync_dir.
        if let Some(file) = self.durable.get_mut(name) {
            *file = bytes;
        }
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.operation()?;
        let bytes = self.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        self.operation()?;
        // Every write of a ledger is synced before the folder is, so names and bytes become durable together.
        self.durable = self.files.clone();
        Ok(())
    }
}

/// A small service: a sealer and a log, driven by hand.
pub struct Service<S> {
    pub sealer: Sealer,
    pub log: Log<S>,
    pub sealed: Vec<Sealed>,
    pub durable: Option<TxId>,
}

pub type Failure = Box<dyn std::error::Error>;

impl<S: Storage> Service<S> {
    pub fn create(storage: S) -> Result<Service<S>, Failure> {
        let sealer = Sealer::new(keys(), 2)?;
        Ok(Service { sealer, log: Log::create(storage)?, sealed: Vec::new(), durable: None })
    }

    pub fn recover(storage: S) -> Result<Service<S>, Failure> {
        let recovery = ledger::recover(storage, keys())?;
        let (view, durable) = (recovery.next_view(), recovery.audit.last());
        let sealer = Sealer::resume(keys(), view, recovery.audit)?;
        Ok(Service { sealer, log: recovery.log, sealed: Vec::new(), durable })
    }

    /// A transaction that carries the frontier, so that a recovery can begin there.
    pub fn checkpoint(&mut self) -> Result<(), Failure> {
        let mut writes = WriteSet::new();
        writes.put("public:glassbox", b"checkpoint".as_slice(), b"{}".as_slice());
        self.sealer.frontier().write(&mut writes);
        self.put(&writes)
    }

    pub fn put(&mut self, writes: &WriteSet) -> Result<(), Failure> {
        let sealed = self.sealer.seal(writes, None)?;
        self.take(sealed)
    }

    pub fn claim(&mut self, writes: &WriteSet, claims: [u8; 32]) -> Result<(), Failure> {
        let sealed = self.sealer.seal(writes, Some(claims))?;
        self.take(sealed)
    }

    pub fn sign(&mut self, ends_chunk: bool) -> Result<(), Failure> {
        let sealed = self.sealer.sign(NOT_BEFORE_S + 60, ends_chunk)?;
        self.take(sealed)
    }

    pub fn commit(&mut self) -> Result<(), Failure> {
        self.log.commit()?;
        self.durable = self.sealed.last().map(|sealed| sealed.txid).or(self.durable);
        Ok(())
    }

    fn take(&mut self, sealed: Sealed) -> Result<(), Failure> {
        self.log.append(&sealed.raw)?;
        self.sealed.push(sealed);
        Ok(())
    }
}

pub fn genesis_writes() -> WriteSet {
    let mut writes = WriteSet::new();
    genesis(&mut writes, keys());
    writes
}

pub fn open_writes() -> WriteSet {
    let mut writes = WriteSet::new();
    service_info(&mut writes, keys(), ServiceStatus::Open);
    writes
}

pub fn call(n: u64) -> WriteSet {
    let mut writes = WriteSet::new();
    writes.put("public:counter", b"value".as_slice(), n.to_string());
    if n.is_multiple_of(3) {
        writes.put("secrets", b"pin".as_slice(), format!("{n:04}"));
        writes.remove("public:counter", b"old".as_slice());
    }
    writes
}

/// The same with checkpoints: before the first signature; right behind a chunk, whose signature it names; in the middle
/// of a chunk, several times; and before the tail.
pub fn scenario_with_checkpoints<S: Storage>(service: &mut Service<S>) -> Result<(), Failure> {
    service.put(&genesis_writes())?;
    service.checkpoint()?; // 2
    service.put(&open_writes())?;
    service.sign(true)?;
    service.commit()?;
    service.checkpoint()?; // 5
    service.put(&call(1))?;
    service.put(&call(2))?;
    service.commit()?;
    service.sign(false)?;
    service.put(&call(3))?;
    service.checkpoint()?; // 10
    service.checkpoint()?; // 11
    service.put(&call(4))?;
    service.sign(true)?;
    service.commit()?;
    service.put(&call(5))?;
    service.sign(false)?; // 15
    service.put(&call(6))?;
    service.sign(true)?;
    service.commit()?;
    service.put(&call(6))?; // 18, in a chunk of its own
    service.sign(false)?;
    service.checkpoint()?; // 20
    service.put(&call(7))?;
    service.commit()?;
    service.sign(false)?;
    service.put(&call(8))?;
    service.commit()
}

/// Two complete chunks, and an open one with a tail that nobody signed. `durable` in the service says how far each
/// commit came, also when the disk crashed on the way.
pub fn scenario<S: Storage>(service: &mut Service<S>) -> Result<(), Failure> {
    service.put(&genesis_writes())?;
    service.commit()?;
    service.sign(true)?;
    service.commit()?;
    service.put(&open_writes())?;
    for n in 0..3 {
        service.put(&call(n))?;
    }
    service.commit()?;
    service.sign(false)?;
    service.put(&call(3))?;
    service.sign(true)?;
    service.put(&call(4))?; // in the same commit, but in the next chunk
    service.commit()?;
    service.sign(false)?;
    service.commit()?;
    service.put(&call(5))?;
    service.put(&call(6))?;
    service.commit()
}
