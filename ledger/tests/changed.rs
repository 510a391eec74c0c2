//! Whoever changes the ledger, or the keys, is caught; and nothing is repaired that a crash did not break.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

mod support;

use std::collections::BTreeSet;
use std::path::Path;

use ledger::audit::AuditErrorKind;
use ledger::{Audit, Keys, ReadError, Reader, Receipt, RecoverError, Sealer};
use support::{Disk, Service, call, scenario};

fn written() -> Disk {
    let mut service = Service::create(Disk::default()).unwrap();
    scenario(&mut service).unwrap();
    service.log.storage().after_keeping()
}

/// The kind of an error, and whether its text names a file.
fn name(error: &RecoverError) -> String {
    let text = error.to_string();
    assert!(text.contains("ledger_"), "{text}");
    format!("{error:?}").split([' ', '(', '{']).next().unwrap().to_owned()
}

/// One flipped bit anywhere in two complete chunks and an open one with an unsigned tail.
#[test]
fn each_flipped_byte_is_a_named_error() {
    let disk = written();
    let mut names = BTreeSet::new();
    let mut bit = 0;
    for (file, bytes) in &disk.files {
        for at in 0..bytes.len() {
            // All bits of what the transaction's own tag does not cover, one bit in turn of everything else.
            bit = (bit + 3) % 8;
            let mut changed = disk.clone();
            changed.files.get_mut(file).unwrap()[at] ^= 1 << bit;
            let before = changed.files.clone();
            let mut storage = Watched { disk: changed, touched: false };
            match ledger::recover(&mut storage, support::keys()) {
                Ok(_) => panic!("{file}, offset {at}, bit {bit}: not noticed"),
                Err(error) => names.insert(name(&error)),
            };
            assert!(!storage.touched && storage.disk.files == before, "{file}, offset {at}: something was changed");
        }
    }
    println!("{names:?}");
}

/// Every bit of the headers of the transactions in the open chunk, where no signature and no table helps.
#[test]
fn each_flipped_bit_of_a_header_in_the_tail() {
    let disk = written();
    let located: Vec<_> = Reader::open(&disk).unwrap().map(Result::unwrap).collect();
    for l in located.iter().filter(|l| !l.file.contains("committed")) {
        for bit in 0..64 {
            let mut changed = disk.clone();
            changed.files.get_mut(&*l.file).unwrap()[l.offset as usize + bit / 8] ^= 1 << (bit % 8);
            let error = ledger::recover(changed, support::keys()).map(|_| ()).unwrap_err();
            println!("{} bit {bit}: {error}", l.transaction.txid());
        }
    }
}

#[test]
fn an_auditor_without_keys_sees_every_change_that_is_signed() {
    let disk = written();
    let audit = |disk: &Disk| -> Result<u64, Box<dyn std::error::Error>> {
        let mut audit = Audit::pinned(support::keys().service_certificate().clone());
        for located in Reader::open(disk)? {
            audit.push(&located?.transaction)?;
        }
        Ok(audit.unsigned())
    };
    assert_eq!(audit(&disk).unwrap(), 2);
    for (file, bytes) in disk.files.iter().filter(|(file, _)| file.contains("committed")) {
        for at in (0..bytes.len()).step_by(7) {
            let mut changed = disk.clone();
            changed.files.get_mut(file).unwrap()[at] ^= 0x10;
            assert!(audit(&changed).is_err(), "{file}, offset {at}");
        }
    }
}

#[test]
fn missing_and_overlapping_chunks() {
    let disk = written();
    let recover = |disk: Disk| ledger::recover(disk, support::keys()).map(|_| ()).unwrap_err();
    let names: Vec<String> = disk.files.keys().cloned().collect();
    assert_eq!(names, ["ledger_1-2.committed", "ledger_10", "ledger_3-9.committed"]);

    let mut missing = disk.clone();
    missing.files.remove("ledger_1-2.committed");
    assert!(matches!(recover(missing), RecoverError::Read(ReadError::Missing { expected: 1, .. })));
    let mut missing = disk.clone();
    missing.files.remove("ledger_3-9.committed");
    assert!(matches!(recover(missing), RecoverError::Read(ReadError::Missing { expected: 3, .. })));
    let mut overlap = disk.clone();
    overlap.files.insert("ledger_3".to_owned(), Vec::new());
    assert!(matches!(recover(overlap), RecoverError::Read(ReadError::Overlap { expected: 10, .. })));
    let mut inside = disk.clone();
    let open = inside.files.remove("ledger_3-9.committed").unwrap();
    inside.files.insert("ledger_3".to_owned(), open);
    assert!(matches!(recover(inside), RecoverError::Read(ReadError::OpenInside { .. })));
    let mut renamed = disk.clone();
    let chunk = renamed.files.remove("ledger_3-9.committed").unwrap();
    renamed.files.insert("ledger_3-8.committed".to_owned(), chunk.clone());
    assert!(matches!(recover(renamed), RecoverError::Read(ReadError::Missing { .. })));
    let mut renamed = disk.clone();
    renamed.files.remove("ledger_10");
    renamed.files.remove("ledger_3-9.committed");
    renamed.files.insert("ledger_3-10.committed".to_owned(), chunk);
    assert!(matches!(recover(renamed), RecoverError::Read(ReadError::Chunk { .. })));
    let mut odd = disk.clone();
    odd.files.insert("ledger_010".to_owned(), Vec::new());
    assert!(matches!(recover(odd), RecoverError::Read(ReadError::Name { .. })));
    let mut other = disk.clone();
    other.files.insert("notes.txt".to_owned(), Vec::new());
    assert!(ledger::recover(other, support::keys()).is_ok());
}

#[test]
fn a_signature_that_was_made_by_somebody_else() {
    let other = Keys::generate("Test Service", "node0", 0, 1 << 32).unwrap();
    let error = ledger::recover(written(), &other).map(|_| ()).unwrap_err();
    assert!(matches!(error, RecoverError::Seal { .. }), "{error}");
    let audit = |certificate: &ledger::Certificate| {
        let mut audit = Audit::pinned(certificate.clone());
        let mut pushed =
            Reader::open(&written()).unwrap().map(Result::unwrap).map(|l| audit.push(&l.transaction)).collect::<Vec<_>>();
        pushed.swap_remove(0).map(|_| ())
    };
    assert_eq!(audit(other.service_certificate()).unwrap_err().kind, AuditErrorKind::OtherService);
    let mut audit = Audit::new();
    for located in Reader::open(&written()).unwrap() {
        audit.push(&located.unwrap().transaction).unwrap();
    }
    assert!(Sealer::resume(&std::sync::Arc::new(other), 3, audit).is_err());
}

#[test]
fn an_audit_that_failed_stays_failed() {
    let disk = written();
    let mut audit = Audit::new();
    let transactions: Vec<_> = Reader::open(&disk).unwrap().map(|l| l.unwrap().transaction).collect();
    audit.push(&transactions[0]).unwrap();
    assert_eq!(audit.push(&transactions[2]).unwrap_err().kind, AuditErrorKind::Seqno { expected: 2 });
    assert_eq!(audit.push(&transactions[1]).unwrap_err().kind, AuditErrorKind::AlreadyFailed);
}

#[test]
fn a_ledger_can_be_read_from_any_transaction() {
    let disk = written();
    let all: Vec<_> = Reader::open(&disk).unwrap().map(Result::unwrap).collect();
    assert_eq!(all.len(), 13);
    for from in 1..=15 {
        let some: Vec<_> = Reader::open_at(&disk, from).unwrap().map(Result::unwrap).collect();
        assert_eq!(some, all[(from as usize - 1).min(all.len())..], "{from}");
    }
}

#[test]
fn receipts_of_all_transactions_and_none_for_the_tail() {
    let disk = written();
    let certificate = support::keys().service_certificate();
    for located in Reader::open(&disk).unwrap() {
        let txid = located.unwrap().transaction.txid();
        let receipt = ledger::receipt::from_ledger(&disk, support::keys(), txid.seqno);
        match txid.seqno {
            12.. => assert!(matches!(receipt, Err(ledger::ReceiptError::NotSigned))),
            seqno => {
                let signature = [2, 7, 9, 11].contains(&seqno);
                let receipt = receipt.unwrap();
                assert_eq!(receipt.verify(certificate).unwrap(), (!signature).then_some(txid));
                assert_eq!(receipt.to_cose().is_some(), !signature);
                let again = Receipt::from_json(&receipt.to_json()).unwrap();
                assert_eq!(again.to_json(), receipt.to_json());
            }
        }
    }
}

/// One changed character of a receipt: it cannot be read any more, is not believed, or says the same.
#[test]
fn each_changed_character_of_a_receipt() {
    let mut service = Service::create(Disk::default()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    service.put(&call(1)).unwrap();
    service.sign(false).unwrap();
    let certificate = support::keys().service_certificate();
    let receipt = service.sealer.receipt(&service.sealed[1].leaf).unwrap();
    let json = receipt.to_json();
    for at in 0..json.len() {
        let mut changed = json.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else {
            continue;
        };
        let believed = Receipt::from_json(&changed).is_ok_and(|receipt| receipt.verify(certificate).is_ok());
        assert!(!believed, "character {at}");
    }
}

/// One flipped bit in any file of the keys.
#[test]
fn each_flipped_byte_of_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    support::keys().save(&keys).unwrap();
    assert!(support::keys().save(&keys).is_err(), "keys are never overwritten");
    let disk = written();
    assert!(ledger::recover(disk.clone(), &Keys::load(&keys).unwrap()).is_ok());
    for entry in std::fs::read_dir(&keys).unwrap() {
        let path = entry.unwrap().path();
        let good = std::fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            std::fs::write(&path, &bad).unwrap();
            let noticed = match Keys::load(&keys) {
                Err(_) => true,
                // Another key for chance is as good; the application knows which one it is.
                Ok(keys) if path.ends_with("chance") => {
                    keys.chance().public_key_hex() != support::keys().chance().public_key_hex()
                }
                Ok(keys) => ledger::recover(disk.clone(), &keys).is_err(),
            };
            assert!(noticed, "{}, offset {at}", path.display());
        }
        std::fs::write(&path, &good).unwrap();
    }
}

#[test]
fn a_missing_file_of_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    support::keys().save(&keys).unwrap();
    for entry in std::fs::read_dir(&keys).unwrap() {
        let path = entry.unwrap().path();
        let moved = folder.path().join("moved");
        std::fs::rename(&path, &moved).unwrap();
        assert!(matches!(Keys::load(&keys), Err(ledger::KeyError::Io { .. })), "{}", path.display());
        std::fs::rename(&moved, &path).unwrap();
    }
    let loaded = Keys::load(&keys).unwrap();
    assert_eq!(loaded.chance().sign(None, &[0; 32]), support::keys().chance().sign(None, &[0; 32]));
}

#[cfg(unix)]
#[test]
fn keys_are_private_files() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let keys = folder.path().join("keys");
    support::keys().save(&keys).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&keys), 0o700);
    for entry in std::fs::read_dir(&keys).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
}

/// A disk that notices when somebody writes.
struct Watched {
    disk: Disk,
    touched: bool,
}

impl ledger::Storage for &mut Watched {
    fn list(&self) -> std::io::Result<BTreeSet<String>> {
        self.disk.list()
    }
    fn read(&self, name: &str) -> std::io::Result<Vec<u8>> {
        self.disk.read(name)
    }
    fn read_at(&self, name: &str, offset: u64, len: usize) -> std::io::Result<Vec<u8>> {
        self.disk.read_at(name, offset, len)
    }
    fn len(&self, name: &str) -> std::io::Result<u64> {
        self.disk.len(name)
    }
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        self.touched = true;
        self.disk.write_at(name, offset, bytes)
    }
    fn truncate(&mut self, name: &str, len: u64) -> std::io::Result<()> {
        self.touched = true;
        self.disk.truncate(name, len)
    }
    fn sync(&mut self, name: &str) -> std::io::Result<()> {
        self.touched = true;
        self.disk.sync(name)
    }
    fn rename(&mut self, from: &str, to: &str) -> std::io::Result<()> {
        self.touched = true;
        self.disk.rename(from, to)
    }
    fn sync_dir(&mut self) -> std::io::Result<()> {
        self.touched = true;
        self.disk.sync_dir()
    }
}
