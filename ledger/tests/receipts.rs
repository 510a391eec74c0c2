//! Receipts over the life of a ledger: which are in memory, which are found in the files, and which do not exist yet.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

mod support;

use ledger::sealer::WINDOW_MAX_LEAVES;
use ledger::{Audit, Leaf, Reader, ReceiptError, Sealer, WriteSet};
use support::{Disk, Service, call, keys};

#[test]
fn a_receipt_is_there_once_a_signature_covers_it() {
    let mut service = Service::create(Disk::default()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    assert!(matches!(service.sealer.signature_receipt(), Err(ReceiptError::NotSigned)));
    let mut leaves: Vec<Leaf> = Vec::new();
    for n in 0..40 {
        service.claim(&call(n), [n as u8; 32]).unwrap();
        leaves.push(service.sealed.last().unwrap().leaf);
        let in_memory = |leaf: &Leaf, service: &Service<Disk>| match service.sealer.receipt(leaf) {
            Ok(receipt) => {
                assert_eq!(receipt.verify(keys().service_certificate()).unwrap(), Some(leaf.txid));
                "there"
            }
            Err(ReceiptError::NotSigned) => "not yet",
            Err(e) => panic!("{e}"),
        };
        assert_eq!(in_memory(&leaves[n as usize], &service), "not yet");
        if n % 10 == 9 {
            service.sign(n == 19).unwrap();
            service.commit().unwrap();
            // A sealer that resumes has the same receipts as the one that went on.
            let other = Service::recover(service.log.storage().after_losing()).unwrap();
            for service in [&service, &other] {
                for (i, leaf) in leaves.iter().enumerate() {
                    assert_eq!(in_memory(leaf, service), "there", "{i} after {n}");
                }
                let receipt = service.sealer.signature_receipt().unwrap();
                assert_eq!(receipt.verify(keys().service_certificate()).unwrap(), None);
            }
        }
    }
    for leaf in &leaves {
        let receipt = ledger::receipt::from_ledger(service.log.storage(), keys(), leaf.txid.seqno);
        assert_eq!(receipt.unwrap().verify(keys().service_certificate()).unwrap(), Some(leaf.txid));
    }
}

#[test]
fn memory_is_bounded_when_nobody_signs() {
    let mut sealer = Sealer::new(keys(), 2).unwrap();
    let mut audit = Audit::new();
    let first = sealer.seal(&support::genesis_writes(), None).unwrap();
    audit.push(&ledger::Transaction::parse(&first.raw).unwrap()).unwrap();
    for _ in 0..WINDOW_MAX_LEAVES + 10 {
        let sealed = sealer.seal(&WriteSet::new(), None).unwrap();
        audit.push(&ledger::Transaction::from_raw(sealed.raw).unwrap()).unwrap();
    }
    let last = sealer.seal(&call(1), None).unwrap();
    audit.push(&ledger::Transaction::parse(&last.raw).unwrap()).unwrap();
    let signature = sealer.sign(support::NOT_BEFORE_S, false).unwrap();
    audit.push(&ledger::Transaction::parse(&signature.raw).unwrap()).unwrap();
    assert!(matches!(sealer.receipt(&first.leaf), Err(ReceiptError::NotInWindow)));
    assert_eq!(sealer.receipt(&last.leaf).unwrap().verify(keys().service_certificate()).unwrap(), Some(last.txid));
    assert_eq!(audit.unsigned(), 0);
}

#[test]
fn the_receipt_of_a_stranger_is_not_believed() {
    let mut service = Service::create(Disk::default()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    service.sign(false).unwrap();
    service.commit().unwrap();
    let other = ledger::Keys::generate("Test Service", "node0", 0, 1 << 32).unwrap();
    let receipt = service.sealer.receipt(&service.sealed[0].leaf).unwrap();
    assert!(matches!(receipt.verify(other.service_certificate()), Err(ReceiptError::NotEndorsed)));
    assert_eq!(Reader::open(service.log.storage()).unwrap().count(), 2);
}
