//! Recovery from a checkpoint: it finds what the full recovery finds, reads little, and notices every change in what it
//! reads.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

mod support;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::io;

use ledger::audit::AuditErrorKind;
use ledger::{Audit, Frontier, Keys, Located, ReadError, Reader, Receipt, RecoverError, Recovery, SealError, Sealer};
use ledger::{Storage, Transaction, WriteSet};
use support::{Disk, Service, call, keys, scenario, scenario_with_checkpoints};

fn written() -> Disk {
    let mut service = Service::create(Disk::default()).unwrap();
    scenario_with_checkpoints(&mut service).unwrap();
    service.log.storage().after_keeping()
}

/// What is shown after `from`, and what comes out.
fn bounded<S: Storage>(storage: S, from: u64) -> Result<(Vec<Located>, Recovery<S>), RecoverError> {
    let mut shown = Vec::new();
    let recovery = ledger::find(storage, keys())?.recover(from, |located| shown.push(located.clone()))?;
    Ok((shown, recovery))
}

fn names(disk: &Disk) -> Vec<&str> {
    disk.files.keys().map(String::as_str).collect()
}

#[test]
fn the_last_checkpoint_is_found_first() {
    let disk = written();
    assert_eq!(names(&disk), ["ledger_1-4.committed", "ledger_14-17.committed", "ledger_18", "ledger_5-13.committed"]);
    let found = ledger::find(disk, keys()).unwrap();
    let checkpoint = found.checkpoint().unwrap();
    assert_eq!((checkpoint.txid().seqno, checkpoint.frontier.size), (20, 20));
    assert_eq!(checkpoint.frontier.signature.unwrap().seqno, 19);
    assert!(checkpoint.located.transaction.public().get("public:glassbox", b"checkpoint").is_some());
    assert_eq!(&*checkpoint.located.file, "ledger_18");
}

#[test]
fn it_comes_to_the_same_from_everywhere() {
    let disk = written();
    let mut all = Vec::new();
    let whole = ledger::recover_with(disk.clone(), keys(), |located| all.push(located.clone())).unwrap();
    assert_eq!(all.len(), 23);
    for from in 0..=30 {
        let (shown, recovery) = bounded(disk.clone(), from).unwrap();
        assert_eq!(shown, all[(from as usize).min(all.len())..], "{from}");
        same(&recovery, &whole, &format!("from {from}"));
    }
}

/// Two recoveries that go on in the same way.
fn same(one: &Recovery<Disk>, other: &Recovery<Disk>, case: &str) {
    assert_eq!(one.audit.last(), other.audit.last(), "{case}");
    assert_eq!(one.audit.last_signature(), other.audit.last_signature(), "{case}");
    assert_eq!(one.audit.frontier(), other.audit.frontier(), "{case}");
    assert_eq!(one.audit.unsigned(), other.audit.unsigned(), "{case}");
    assert_eq!(one.audit.service_certificate(), other.audit.service_certificate(), "{case}");
    assert_eq!((&one.torn, one.next_view()), (&other.torn, other.next_view()), "{case}");
    assert_eq!(one.log.storage().files, other.log.storage().files, "{case}");
    assert_eq!((one.log.next_seqno(), one.log.open_chunk()), (other.log.next_seqno(), other.log.open_chunk()), "{case}");
}

#[test]
fn a_sealer_goes_on_and_has_receipts_after_the_frontier() {
    let disk = written();
    let all: Vec<_> = Reader::open(&disk).unwrap().map(|l| l.unwrap().transaction).collect();
    let (_, recovery) = bounded(disk, 20).unwrap();
    let mut sealer = Sealer::resume(keys(), recovery.next_view(), recovery.audit).unwrap();
    let mut log = recovery.log;
    let new = sealer.seal(&call(9), None).unwrap();
    let signature = sealer.sign(0, true).unwrap();
    for sealed in [&new, &signature] {
        log.append(&sealed.raw).unwrap();
    }
    log.commit().unwrap();
    let certificate = keys().service_certificate();
    for transaction in &all {
        let leaf = transaction.leaf();
        match sealer.receipt(&leaf) {
            Ok(receipt) => {
                assert_eq!(receipt.verify(certificate).unwrap(), Some(leaf.txid));
                assert!(leaf.txid.seqno >= 20);
            }
            Err(e) => assert!(leaf.txid.seqno < 20 && matches!(e, ledger::ReceiptError::NotInWindow), "{}: {e}", leaf.txid),
        }
    }
    // The ledger as a whole is what anybody else expects of it.
    assert_eq!(ledger::recover(log.storage().after_losing(), keys()).unwrap().audit.unsigned(), 0);
}

/// At every operation of the storage, and in the middle of every write.
#[test]
fn after_every_crash_it_is_the_same_as_the_full_recovery() {
    let crashed = |disk: Disk| {
        let mut service = Service::create(disk).unwrap();
        let done = scenario_with_checkpoints(&mut service).is_ok();
        (service.log.storage().clone(), service.durable, done)
    };
    let (whole, ..) = crashed(Disk::default());
    for at in 0..=whole.operations {
        for torn_bytes in [0, 1, 7, 8, 40, 60, 130, 400, 900, 1500, 2500, usize::MAX] {
            let (disk, durable, done) = crashed(Disk { crash_at: Some(at), torn_bytes, ..Disk::default() });
            assert_eq!(done, at == whole.operations);
            for disk in [disk.after_losing(), disk.after_keeping()] {
                let case = format!("operation {at}, {torn_bytes} bytes");
                let full = ledger::recover(disk.clone(), keys()).unwrap();
                let end = full.audit.last().map_or(0, |txid| txid.seqno);
                for from in [1, 9, end] {
                    let (shown, recovery) = bounded(disk.clone(), from).unwrap_or_else(|e| panic!("{case}: {e}"));
                    same(&recovery, &full, &case);
                    assert!(recovery.audit.last() >= durable, "{case}");
                    assert_eq!(shown.len() as u64, end.saturating_sub(from), "{case}, from {from}");
                }
                // It goes on, also when it crashes again on the way.
                for again in 0..if torn_bytes == 40 { 6 } else { 0 } {
                    let disk = RefCell::new(Disk { crash_at: Some(again), torn_bytes: 3, ..disk.clone() });
                    let _ = bounded(&Shared::of(&disk), end);
                    let (_, recovery) = bounded(disk.borrow().after_keeping(), end).unwrap();
                    assert_eq!(recovery.audit.last(), full.audit.last(), "{case}, again {again}");
                }
            }
        }
    }
}

#[test]
fn each_flipped_byte_of_what_is_read_is_a_named_error() {
    let disk = written();
    // Where each transaction stands.
    let places: Vec<(String, u64, u64)> = Reader::open(&disk)
        .unwrap()
        .map(|l| l.unwrap())
        .map(|l| (l.file.to_string(), l.offset, l.offset + l.transaction.raw().len() as u64))
        .collect();
    // 13: the checkpoint 5, 10 or 11 in the middle of the ledger; 4: the one right behind a chunk; 20: the last.
    for (from, whole_files) in [
        (20, vec!["ledger_18"]),
        (13, vec!["ledger_14-17.committed", "ledger_18", "ledger_5-13.committed"]),
        (4, vec!["ledger_14-17.committed", "ledger_18", "ledger_5-13.committed"]),
    ] {
        let cell = RefCell::new(disk.clone());
        let shared = Shared::of(&cell);
        bounded(&shared, from).unwrap();
        let read = shared.read.borrow().clone();
        assert_eq!(read.iter().map(String::as_str).collect::<Vec<_>>(), whole_files, "from {from}");
        let single: Vec<u64> = if from == 4 { vec![1, 4] } else { vec![1] };
        let mut bit = 0;
        for (file, bytes) in &disk.files {
            // All bytes of the last chunk; of the others, which take longer, one in seven.
            for at in (0..bytes.len()).step_by(if from == 20 { 1 } else { 7 }) {
                bit = (bit + 3) % 8;
                let in_single = single.iter().any(|seqno| {
                    let (name, begin, end) = &places[*seqno as usize - 1];
                    name == file && (*begin..*end).contains(&(at as u64))
                });
                if !read.contains(file) && !in_single {
                    continue;
                }
                let changed = RefCell::new(disk.clone());
                changed.borrow_mut().files.get_mut(file).unwrap()[at] ^= 1 << bit;
                let before = changed.borrow().files.clone();
                let shared = Shared::of(&changed);
                let result = bounded(&shared, from).map(|_| ());
                let error = result.err().unwrap_or_else(|| panic!("from {from}: {file}, offset {at}, bit {bit}"));
                assert!(error.to_string().contains("ledger_"), "{error}");
                assert!(!shared.touched.get() && changed.borrow().files == before, "{file}, offset {at}: changed");
            }
        }
    }
}

/// The files of older chunks must be there, one behind the other, and hold something.
#[test]
fn older_chunks_are_listed() {
    let disk = written();
    let error = |change: &dyn Fn(&mut Disk)| {
        let mut disk = disk.clone();
        change(&mut disk);
        bounded(disk, 20).map(|_| ()).unwrap_err()
    };
    let read = |e: RecoverError| match e {
        RecoverError::Read(e) => e,
        e => panic!("{e}"),
    };
    let missing = read(error(&|disk| drop(disk.files.remove("ledger_5-13.committed"))));
    assert!(matches!(missing, ReadError::Missing { expected: 5, .. }), "{missing}");
    let empty = read(error(&|disk| disk.files.get_mut("ledger_5-13.committed").unwrap().clear()));
    assert!(matches!(empty, ReadError::Chunk { .. }), "{empty}");
    let overlap = read(error(&|disk| drop(disk.files.insert("ledger_3-6.committed".to_owned(), vec![1; 100]))));
    assert!(matches!(overlap, ReadError::Overlap { .. } | ReadError::Missing { .. }), "{overlap}");
    // The first transaction is read, and it is the service's.
    let first = error(&|disk| disk.files.get_mut("ledger_1-4.committed").unwrap()[40] ^= 1);
    assert!(matches!(first, RecoverError::Read(ReadError::Seqno { .. }) | RecoverError::Seal { .. }), "{first}");
}

#[test]
fn the_keys_of_somebody_else() {
    let other = Keys::generate("Test Service", "node0", 0, 1 << 32).unwrap();
    let error = ledger::find(written(), &other).map(|_| ()).unwrap_err();
    assert!(matches!(error, RecoverError::Seal { .. }), "{error}");
    // The same ledger secret and other certificates: the first transaction tells.
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (folder.path().join("ours"), folder.path().join("theirs"));
    keys().save(&ours).unwrap();
    other.save(&theirs).unwrap();
    std::fs::copy(ours.join("ledger_secret"), theirs.join("ledger_secret")).unwrap();
    let mixed = Keys::load(&theirs).unwrap();
    let error = ledger::find(written(), &mixed).unwrap().recover(20, |_| {}).map(|_| ()).unwrap_err();
    assert!(matches!(&error, RecoverError::Audit { source, .. } if source.kind == AuditErrorKind::OtherService), "{error}");
}

#[test]
fn receipts_from_the_ledger_are_read_from_the_checkpoint_before() {
    let cell = RefCell::new(written());
    let all: Vec<_> = Reader::open(&*cell.borrow()).unwrap().map(|l| l.unwrap().transaction).collect();
    for transaction in &all {
        let (txid, shared) = (transaction.txid(), Shared::of(&cell));
        let receipt = ledger::receipt::from_ledger(&&shared, keys(), txid.seqno);
        if txid.seqno > 22 {
            assert!(matches!(receipt, Err(ledger::ReceiptError::NotSigned)));
            continue;
        }
        let receipt = receipt.unwrap();
        let named = receipt.verify(keys().service_certificate()).unwrap();
        if let Some(leaf) = receipt.leaf() {
            assert_eq!((leaf, named), (transaction.leaf().digest(), Some(txid)));
        }
        let first_is_read = shared.read.borrow().contains("ledger_1-4.committed");
        assert_eq!(first_is_read, txid.seqno < 5, "{txid}");
    }
}

#[test]
fn a_ledger_without_checkpoints_is_recovered_whole() {
    let mut service = Service::create(Disk::default()).unwrap();
    scenario(&mut service).unwrap();
    let disk = service.log.storage().after_keeping();
    let whole = ledger::recover(disk.clone(), keys()).unwrap();
    for from in [0, 7, 13, 14] {
        let found = ledger::find(disk.clone(), keys()).unwrap();
        assert_eq!(found.checkpoint(), None);
        let mut shown = 0;
        let recovery = found.recover(from, |_| shown += 1).unwrap();
        assert_eq!(shown, 13u64.saturating_sub(from));
        same(&recovery, &whole, "without checkpoints");
    }
    let empty = ledger::find(Disk::default(), keys()).unwrap().recover(0, |_| {}).unwrap();
    assert_eq!((empty.audit.last(), empty.log.next_seqno()), (None, 1));
}

/// The name of the map in the data of an application is no checkpoint.
#[test]
fn the_name_of_the_map_alone() {
    let mut service = Service::create(Disk::default()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    service.checkpoint().unwrap();
    let mut writes = WriteSet::new();
    writes.put("public:text", *b"k", ledger::FRONTIER_MAP);
    writes.put("public:glassbox.tree.not", ledger::FRONTIER_MAP, *b"v");
    service.put(&writes).unwrap();
    service.commit().unwrap();
    let found = ledger::find(service.log.storage().after_losing(), keys()).unwrap();
    assert_eq!(found.checkpoint().unwrap().txid().seqno, 2);
}

#[test]
fn a_frontier_that_is_another_ones() {
    let mut service = Service::create(Disk::default()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    let early = service.sealer.frontier();
    service.sign(false).unwrap();
    let mut writes = WriteSet::new();
    early.write(&mut writes);
    assert_eq!(service.sealer.seal(&writes, None), Err(SealError::Frontier));
    let mut bad = WriteSet::new();
    bad.remove(ledger::FRONTIER_MAP, *b"k");
    assert_eq!(service.sealer.seal(&bad, None), Err(SealError::Frontier));
    let good = service.sealer.frontier();
    assert_eq!(good.size, 3);
    for (forged, kind) in [
        (Frontier { signature: None, ..good.clone() }, AuditErrorKind::OtherFrontier),
        (Frontier { peaks: vec![[7; 32]; 2], ..good.clone() }, AuditErrorKind::OtherFrontier),
        (early, AuditErrorKind::OtherFrontier),
    ] {
        // Seal something of the same length, and put the forged frontier in.
        let mut audit = Audit::new();
        for sealed in &service.sealed {
            audit.push(&Transaction::parse(&sealed.raw).unwrap()).unwrap();
        }
        assert_eq!(audit.frontier(), good);
        let mut writes = WriteSet::new();
        forged.write(&mut writes);
        let value = writes.get(ledger::FRONTIER_MAP, &[0; 8]).unwrap().to_vec();
        let mut stand_in = WriteSet::new();
        stand_in.put("public:glassbox.xxxx", [0; 8], value);
        let mut sealer = Sealer::resume(keys(), 3, audit.clone()).unwrap();
        let mut raw = sealer.seal(&stand_in, None).unwrap().raw;
        let at = raw.windows(20).position(|window| window == b"public:glassbox.xxxx").unwrap();
        raw[at + 16..at + 20].copy_from_slice(b"tree");
        assert_eq!(audit.push(&Transaction::parse(&raw).unwrap()).unwrap_err().kind, kind);
    }
}

/// The clock of the machine goes back, the time in the signatures does not.
#[test]
fn the_time_of_signatures_never_goes_back() {
    let mut sealer = Sealer::new(keys(), 2).unwrap();
    let genesis = sealer.seal(&support::genesis_writes(), None).unwrap();
    let first = sealer.sign(2_000_000_000, false).unwrap();
    let mut audit = Audit::new();
    for sealed in [&genesis, &first] {
        audit.push(&Transaction::parse(&sealed.raw).unwrap()).unwrap();
    }
    let second = sealer.sign(1_999_999_999, false).unwrap();
    let info = audit.push(&Transaction::parse(&second.raw).unwrap()).unwrap().unwrap();
    assert_eq!(info.signed_at_s(), 2_000_000_000);
    assert_eq!(Receipt::from_json(&sealer.signature_receipt().unwrap().to_json()).unwrap().leaf(), None);
}

/// A disk that many can look at, and that remembers what was read and whether something was written.
struct Shared<'a> {
    disk: &'a RefCell<Disk>,
    read: RefCell<BTreeSet<String>>,
    touched: std::cell::Cell<bool>,
}

impl<'a> Shared<'a> {
    fn of(disk: &'a RefCell<Disk>) -> Shared<'a> {
        Shared { disk, read: RefCell::default(), touched: std::cell::Cell::new(false) }
    }

    fn write(&self) -> std::cell::RefMut<'a, Disk> {
        self.touched.set(true);
        self.disk.borrow_mut()
    }
}

impl Storage for &Shared<'_> {
    fn list(&self) -> io::Result<BTreeSet<String>> {
        self.disk.borrow().list()
    }
    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.read.borrow_mut().insert(name.to_owned());
        self.disk.borrow().read(name)
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        self.disk.borrow().read_at(name, offset, len)
    }
    fn len(&self, name: &str) -> io::Result<u64> {
        self.disk.borrow().len(name)
    }
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write().write_at(name, offset, bytes)
    }
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.write().truncate(name, len)
    }
    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.write().sync(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.write().rename(from, to)
    }
    fn sync_dir(&mut self) -> io::Result<()> {
        self.write().sync_dir()
    }
}
