//! Crash after each operation of the storage, and in the middle of each write: every transaction that a commit reported
//! durable is there afterwards, and the ledger goes on.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

mod support;

use ledger::{Reader, Storage, TxId};
use support::{Disk, Service, call, scenario};

/// Recovers, checks that everything durable is there, writes on, and recovers again.
fn goes_on(disk: Disk, durable: Option<TxId>, case: &str) {
    let mut service = Service::recover(disk).unwrap_or_else(|e| panic!("{case}: {e}"));
    assert!(service.durable >= durable, "{case}: {durable:?} was durable, {:?} is there", service.durable);
    let before = service.durable;
    if before.is_none() {
        service.put(&support::genesis_writes()).unwrap();
    }
    service.put(&call(100)).unwrap();
    service.sign(true).unwrap();
    service.put(&call(101)).unwrap();
    service.commit().unwrap();
    let (last, disk) = (service.durable, service.log.storage().after_losing());
    let again = Service::recover(disk).unwrap_or_else(|e| panic!("{case}, again: {e}"));
    assert_eq!(again.durable, last, "{case}");
    assert_eq!(again.sealer.unsigned(), 1, "{case}");
    let expected = before.map_or(1, |txid| txid.seqno + 1) + if before.is_none() { 3 } else { 2 };
    assert_eq!(last.unwrap().seqno, expected, "{case}");
}

/// Runs the scenario on a disk that crashes. Returns the disk and what was durable.
fn crashed(disk: Disk) -> (Disk, Option<TxId>, bool) {
    let mut service = Service::create(disk).unwrap();
    let done = scenario(&mut service).is_ok();
    (service.log.storage().clone(), service.durable, done)
}

#[test]
fn after_each_operation() {
    let (whole, ..) = crashed(Disk::default());
    assert!(whole.operations > 20);
    for at in 0..=whole.operations {
        let (disk, durable, done) = crashed(Disk { crash_at: Some(at), ..Disk::default() });
        assert_eq!(done, at == whole.operations);
        goes_on(disk.after_losing(), durable, &format!("operation {at}, lost"));
        goes_on(disk.after_keeping(), durable, &format!("operation {at}, kept"));
    }
}

#[test]
fn in_the_middle_of_each_write() {
    let (whole, ..) = crashed(Disk::default());
    for at in 0..whole.operations {
        // Every length at first, where the headers are, then larger steps.
        for torn_bytes in (0..150).chain((150..).step_by(61)) {
            let (disk, durable, _) = crashed(Disk { crash_at: Some(at), torn_bytes, ..Disk::default() });
            let whole_write = disk.crashed_bytes.is_none_or(|len| torn_bytes >= len);
            goes_on(disk.after_keeping(), durable, &format!("operation {at}, {torn_bytes} bytes"));
            if whole_write {
                break;
            }
        }
    }
}

/// The last file, cut at every length: what is left of the last transaction goes, everything before stays.
#[test]
fn the_open_chunk_cut_at_every_length() {
    let (whole, ..) = crashed(Disk::default());
    let name = whole.files.keys().find(|name| !name.contains("committed")).unwrap().clone();
    let bytes = whole.files[&name].clone();
    let ends: Vec<u64> = {
        let located = Reader::open(&whole).unwrap().map(Result::unwrap);
        located.filter(|l| *l.file == *name).map(|l| l.offset + l.transaction.raw().len() as u64).collect()
    };
    assert!(ends.len() >= 3);
    for len in 0..bytes.len() {
        let mut disk = whole.after_keeping();
        disk.files.get_mut(&name).unwrap().truncate(len);
        let recovery = ledger::recover(disk, support::keys()).unwrap_or_else(|e| panic!("{len}: {e}"));
        let whole_here = ends.iter().filter(|end| **end <= len as u64).count();
        let end = ends.iter().rev().find(|end| **end <= len as u64).copied().unwrap_or(8);
        assert_eq!(recovery.log.next_seqno(), 10 + whole_here as u64, "{len}");
        assert_eq!(recovery.torn.map_or(0, |torn| torn.len_bytes), (len as u64).saturating_sub(end), "{len}");
        let left = if whole_here == 0 { 0 } else { end };
        assert_eq!(recovery.log.storage().files[&name].len() as u64, left, "{len}");
    }
}

/// A crash may leave a file longer than what was written of it, with zeros at the end.
#[test]
fn zeros_behind_the_last_transaction() {
    let (whole, ..) = crashed(Disk::default());
    let name = whole.files.keys().find(|name| !name.contains("committed")).unwrap().clone();
    for zeros in [1, 7, 8, 9, 4096] {
        let mut disk = whole.after_keeping();
        let file = disk.files.get_mut(&name).unwrap();
        file.resize(file.len() + zeros, 0);
        let recovery = ledger::recover(disk, support::keys()).unwrap();
        assert_eq!(recovery.torn.unwrap().len_bytes, zeros as u64);
        assert_eq!(recovery.log.storage().files, whole.files);
    }
}

/// Crash again and again during recovery: it can always be done once more.
#[test]
fn during_recovery() {
    let (whole, ..) = crashed(Disk::default());
    for at in 0..whole.operations {
        let (disk, durable, _) = crashed(Disk { crash_at: Some(at), torn_bytes: 40, ..Disk::default() });
        for again in 0..8 {
            let mut disk = disk.after_keeping();
            disk.crash_at = Some(again);
            disk.torn_bytes = 3;
            let mut disk = CrashDuringRecovery(disk);
            let _ = ledger::recover(&mut disk, support::keys());
            goes_on(disk.0.after_keeping(), durable, &format!("operation {at}, recovery {again}, kept"));
        }
    }
}

/// Recovery takes its storage by value; this one can be looked at afterwards.
struct CrashDuringRecovery(Disk);

impl Storage for &mut CrashDuringRecovery {
    fn list(&self) -> std::io::Result<std::collections::BTreeSet<String>> {
        self.0.list()
    }
    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        self.0.read(name)
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        self.0.read_at(name, offset, len)
    }
    fn len(&self, name: &str) -> std::io::Result<u64> {
        self.0.len(name)
    }
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.0.write_at(name, offset, bytes)
    }
    fn truncate(&mut self, name: &str, len: u64) -> std::io::Result<()> {
        self.0.truncate(name, len)
    }
    fn sync(&mut self, name: &str) -> std::io::Result<()> {
        self.0.sync(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> std::io::Result<()> {
        self.0.rename(from, to)
    }
    fn sync_dir(&mut self) -> std::io::Result<()> {
        self.0.sync_dir()
    }
}

/// After an error the log refuses everything.
#[test]
fn a_log_that_failed_stays_failed() {
    let mut service = Service::create(Disk { crash_at: Some(1), ..Disk::default() }).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    assert!(matches!(service.log.commit(), Err(ledger::LogError::Io { .. })));
    assert!(matches!(service.log.commit(), Err(ledger::LogError::Failed)));
    let next = service.sealer.seal(&call(1), None).unwrap();
    assert!(matches!(service.log.append(&next.raw), Err(ledger::LogError::Failed)));
}

/// The same on the file system.
#[test]
fn on_the_file_system() {
    let folder = tempfile::tempdir().unwrap();
    let open = || ledger::Dir::create(&folder.path().join("ledger")).unwrap();
    let mut service = Service::create(open()).unwrap();
    scenario(&mut service).unwrap();
    let last = service.durable;
    drop(service);
    assert!(matches!(ledger::Log::create(open()), Err(ledger::LogError::NotEmpty)));
    let mut service = Service::recover(open()).unwrap();
    assert_eq!((service.durable, service.sealer.unsigned()), (last, 2));
    service.put(&call(9)).unwrap();
    let leaf = service.sealed[0].leaf;
    assert_eq!(leaf.txid.view, 3);
    service.sign(true).unwrap();
    service.commit().unwrap();
    let names: Vec<String> = open().list().unwrap().into_iter().collect();
    assert_eq!(names, ["ledger_1-2.committed", "ledger_10-15.committed", "ledger_3-9.committed"]);
    let certificate = support::keys().service_certificate();
    let receipt = service.sealer.receipt(&leaf).unwrap();
    assert_eq!(receipt.verify(certificate).unwrap(), Some(leaf.txid));
    assert_eq!(ledger::receipt::from_ledger(service.log.storage(), support::keys(), leaf.txid.seqno).unwrap(), receipt);
}
