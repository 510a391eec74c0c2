//! The index finds every transaction and every receipt, the same ones as a reading of the whole ledger, also while it grows.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

mod support;

use ledger::index::STRETCH;
use ledger::{Dir, Index, Reader, ReceiptError, Storage};
use std::path::Path;
use support::{Disk, Service, call, keys};

/// Every transaction and every receipt, in some order; some receipts of a long ledger are compared with what a reading says.
fn compare<S: Storage>(storage: &S, index: &mut Index<S>, step: u64) {
    let all: Vec<_> = Reader::open(storage).unwrap().map(|located| located.unwrap().transaction).collect();
    let len = all.len() as u64;
    for n in 0..len {
        let seqno = (n * step) % len + 1;
        let expected = &all[seqno as usize - 1];
        let found = index.transaction(seqno).unwrap().unwrap();
        assert_eq!(found, *expected);
        let receipt = index.receipt(&found);
        if n > 40 && n % 67 != 0 && receipt.is_ok() {
            continue;
        }
        let slow = ledger::receipt::from_ledger(storage, keys(), seqno);
        match (receipt, slow) {
            (Ok((receipt, by)), Ok(slow)) => {
                assert_eq!(receipt, slow, "{seqno}");
                assert!(by >= seqno);
                assert!(receipt.verify(keys().service_certificate()).is_ok());
            }
            (Err(ReceiptError::NotSigned), Err(ReceiptError::NotSigned)) => {}
            (fast, slow) => panic!("{seqno}: {fast:?}, {slow:?}"),
        }
    }
    assert!(index.transaction(len + 1).unwrap().is_none());
}

#[test]
fn the_same_as_by_reading_everything() {
    let mut service = Service::create(Disk::default()).unwrap();
    support::scenario_with_checkpoints(&mut service).unwrap();
    for step in [1, 3, 7] {
        compare(service.log.storage(), &mut Index::new(service.log.storage().clone(), keys().secret().clone()), step);
    }
}

fn long(service: &mut Service<Dir>, transactions: u64) {
    for n in 0..transactions {
        service.put(&call(n)).unwrap();
        if n % 91 == 90 {
            service.sign(n % 182 == 181).unwrap();
        }
        if n == 700 {
            service.checkpoint().unwrap();
        }
    }
    service.commit().unwrap();
}

fn open(folder: &Path) -> Index<Dir> {
    Index::new(Dir::open(folder).unwrap(), keys().secret().clone())
}

#[test]
fn over_stretches_and_chunks_and_while_it_grows() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::create(Dir::create(folder.path()).unwrap()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    service.commit().unwrap();
    let mut before = open(folder.path());
    assert_eq!(before.transaction(1).unwrap().unwrap().txid().seqno, 1);
    assert!(before.transaction(2).unwrap().is_none());
    let first = before.transaction(1).unwrap().unwrap();
    assert!(matches!(before.receipt(&first), Err(ReceiptError::NotSigned)));
    long(&mut service, 4 * STRETCH);
    let before_more = before.receipt(&first).unwrap();
    for step in [1, 509] {
        compare(service.log.storage(), &mut before, step);
        compare(service.log.storage(), &mut open(folder.path()), step);
    }
    long(&mut service, 200);
    compare(service.log.storage(), &mut before, 211);
    assert_eq!(before.receipt(&first).unwrap(), before_more);
}

#[test]
fn what_was_changed_is_not_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::create(Dir::create(folder.path()).unwrap()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    service.put(&call(1)).unwrap();
    service.put(&call(2)).unwrap();
    service.sign(true).unwrap();
    service.commit().unwrap();
    let file = folder.path().join("ledger_1-4.committed");
    let good = std::fs::read(&file).unwrap();
    let at = ledger_position(&good, 2) + 200;
    let mut changed = good.clone();
    changed[at] ^= 1;
    std::fs::write(&file, changed).unwrap();
    let mut index = open(folder.path());
    assert!(index.transaction(2).is_err());
    // Its leaf is another one: no receipt leads over it.
    let third = index.transaction(3).unwrap().unwrap();
    assert!(index.receipt(&third).is_err());
    std::fs::write(&file, good).unwrap();
    assert!(open(folder.path()).receipt(&third).is_ok());
}

fn ledger_position(bytes: &[u8], seqno: usize) -> usize {
    let table = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let line = table + 4 * (seqno - 1);
    u32::from_le_bytes(bytes[line..line + 4].try_into().unwrap()) as usize
}

/// Prints what looking things up costs. `cargo test --release -p ledger --test index -- --ignored --nocapture`
#[test]
#[ignore = "a measurement"]
#[allow(clippy::disallowed_methods)] // the clock decides nothing
fn cost() {
    const ALL: u64 = 200_000;
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::create(Dir::create(folder.path()).unwrap()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    for n in 2..=ALL {
        match n {
            n if n % 100 == 0 => service.sign(n % 5000 == 0).unwrap(),
            n if n % 10_000 == 17 => service.checkpoint().unwrap(),
            _ => {
                let mut writes = call(n);
                writes.put("public:log", b"message".as_slice(), vec![7; 1000]);
                service.put(&writes).unwrap();
            }
        }
        service.sealed.clear();
    }
    service.commit().unwrap();
    let mut index = open(folder.path());
    let mut time = |what: &str, count: u64, run: &mut dyn FnMut(&mut Index<Dir>, u64)| {
        let began = std::time::Instant::now();
        (0..count).for_each(|n| run(&mut index, n));
        println!("{what}: {:.1} µs", began.elapsed().as_secs_f64() * 1e6 / count as f64);
    };
    let receipt = |index: &mut Index<Dir>, seqno: u64| {
        let transaction = index.transaction(seqno).unwrap().unwrap();
        index.receipt(&transaction).unwrap();
    };
    time("the first receipt, 7,777 after a checkpoint", 1, &mut |index, _| receipt(index, 177_794));
    time("receipts near it", 100, &mut |index, n| receipt(index, 177_700 + n));
    time("at the end", 1, &mut |index, _| receipt(index, ALL - 1));
    time("a range of 10,000, each", 10_000, &mut |index, n| receipt(index, 40_000 + n));
    time("again, each", 10_000, &mut |index, n| receipt(index, 40_000 + n));
    time("transactions alone, each", 10_000, &mut |index, n| drop(index.transaction(40_000 + n).unwrap().unwrap()));
    time("receipts everywhere, each", 2_000, &mut |index, n| receipt(index, n * 7919 % (ALL - 100) + 1));
    time("once more, each", 2_000, &mut |index, n| receipt(index, n * 7919 % (ALL - 100) + 1));
    let began = std::time::Instant::now();
    ledger::receipt::from_ledger(service.log.storage(), keys(), 177_794).unwrap();
    println!("by reading from the checkpoint: {:.0} µs", began.elapsed().as_secs_f64() * 1e6);
}
