//! Saved receipts: what they show, and what is noticed when somebody changes one.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

mod support;

use aws_lc_rs::digest::{SHA256, digest};
use ledger::receipt::saved::SAVED_RECEIPT_MAX_BYTES;
use ledger::{Keys, Reader, Receipt, ReceiptError, SavedReceipt, TxId};
use serde_json::Value;
use support::{Disk, Service, call, keys};

const RECORD: &str = "{\"call\":\"increment\",\"args\":[1],\"time\":1}\n{\"result\":\"é\"}";

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap()
}

fn saved() -> (Service<Disk>, Receipt, String) {
    let mut service = Service::create(Disk::default()).unwrap();
    service.put(&support::genesis_writes()).unwrap();
    for n in 0..5 {
        service.put(&call(n)).unwrap();
    }
    service.claim(&call(5), sha256(RECORD.as_bytes())).unwrap();
    let leaf = service.sealed.last().unwrap().leaf;
    service.put(&call(6)).unwrap();
    service.sign(false).unwrap();
    service.commit().unwrap();
    let receipt = service.sealer.receipt(&leaf).unwrap();
    let text = receipt.to_saved(RECORD, None, keys().service_certificate()).unwrap();
    (service, receipt, text)
}

fn check(text: &str) -> Result<TxId, ReceiptError> {
    SavedReceipt::from_json(text)?.verify(Some(keys().service_certificate()))
}

/// The object with one member changed.
fn with(text: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> String {
    let mut value: Value = serde_json::from_str(text).unwrap();
    change(value.as_object_mut().unwrap());
    value.to_string()
}

#[test]
fn it_shows_what_the_call_did() {
    let (service, receipt, text) = saved();
    let saved = SavedReceipt::from_json(&text).unwrap();
    assert_eq!(saved.record, RECORD);
    assert_eq!(saved.receipt, receipt);
    assert_eq!(saved.verify(None).unwrap(), TxId { view: 2, seqno: 7 });
    assert_eq!(saved.verify(Some(keys().service_certificate())).unwrap(), saved.transaction_id);
    // Its leaf is found in the ledger.
    let mut leaves = Reader::open(service.log.storage()).unwrap().map(|l| l.unwrap().transaction.leaf().digest());
    assert_eq!(leaves.position(|leaf| leaf == saved.leaf()), Some(6));
    assert_eq!(receipt.leaf(), Some(saved.leaf()));
    // The members of CCF's receipt are those of its JSON.
    let ccf: Value = serde_json::from_str(&receipt.to_json()).unwrap();
    let object: Value = serde_json::from_str(&text).unwrap();
    for (name, member) in ccf.as_object().unwrap() {
        assert_eq!(&object[name], member, "{name}");
    }
    assert_eq!(saved.receipt.to_saved(&saved.record, None, keys().service_certificate()).unwrap(), text);
}

#[test]
fn what_cannot_be_saved() {
    let (service, receipt, _) = saved();
    let certificate = keys().service_certificate();
    let signature = service.sealer.signature_receipt().unwrap();
    assert!(matches!(signature.to_saved("", None, certificate), Err(ReceiptError::Incomplete)));
    let half = Receipt::from_json(&receipt.to_json()).unwrap();
    assert!(matches!(half.to_saved("", None, certificate), Err(ReceiptError::Incomplete)));
}

#[test]
fn each_lie_has_a_name() {
    let (_, receipt, text) = saved();
    let other = Keys::generate("Test Service", "node0", 0, 1 << 32).unwrap();
    let put = |name: &str, value: &str| with(&text, |object| drop(object.insert(name.to_owned(), value.into())));
    let lie = |text: &str| check(text).unwrap_err();

    assert!(matches!(lie(&put("record", "{\"result\":2}")), ReceiptError::Record));
    assert!(matches!(lie(&put("transaction_id", "2.8")), ReceiptError::TransactionId { .. }));
    assert!(matches!(lie(&put("service_cert", other.service_certificate().pem())), ReceiptError::OtherService));
    let pinned = SavedReceipt::from_json(&text).unwrap().verify(Some(other.service_certificate()));
    assert!(matches!(pinned, Err(ReceiptError::OtherService)));
    let theirs = SavedReceipt::from_json(&put("service_cert", other.service_certificate().pem())).unwrap();
    assert!(matches!(theirs.verify(None), Err(ReceiptError::NotEndorsed)));

    let bare = with(&text, |object| drop(object.remove("service_cert")));
    assert!(check(&bare).is_ok());
    assert!(matches!(SavedReceipt::from_json(&bare).unwrap().verify(None), Err(ReceiptError::NoService)));

    // The COSE receipt of another transaction of the same ledger, and another signature.
    let mut service = saved().0;
    let leaf = service.sealed[2].leaf;
    service.sealer.sign(0, false).unwrap();
    let cose = |receipt: &Receipt| {
        let text = receipt.to_saved("", None, keys().service_certificate()).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["cose"].as_str().unwrap().to_owned()
    };
    let transplanted = lie(&put("cose", &cose(&service.sealer.receipt(&leaf).unwrap())));
    assert!(matches!(transplanted, ReceiptError::Signature | ReceiptError::Cose), "{transplanted}");
    let neighbour = Receipt { subject: receipt.subject.clone(), ..service.sealer.receipt(&leaf).unwrap() };
    assert!(check(&put("cose", &cose(&neighbour))).is_err());
}

/// Within what one signature covers, JSON and COSE may each be good, and still be of two transactions.
#[test]
fn two_halves_of_different_receipts() {
    let (service, _, text) = saved();
    let leaf = service.sealed[2].leaf;
    let other = service.sealer.receipt(&leaf).unwrap().to_saved("", None, keys().service_certificate()).unwrap();
    let other: Value = serde_json::from_str(&other).unwrap();
    let mixed = with(&text, |object| drop(object.insert("cose".to_owned(), other["cose"].clone())));
    assert!(matches!(check(&mixed), Err(ReceiptError::Cose)));
}

#[test]
fn strict_about_what_it_knows() {
    let (_, _, text) = saved();
    for name in ["cert", "leaf_components", "node_id", "proof", "signature", "transaction_id", "record", "cose"] {
        assert!(check(&with(&text, |object| drop(object.remove(name)))).is_err(), "without {name}");
        assert!(check(&with(&text, |object| drop(object.insert(name.to_owned(), Value::Null)))).is_err(), "null {name}");
        let twice = text.replacen('{', &format!("{{\"{name}\":\"\","), 1);
        assert!(check(&twice).is_err(), "{name} twice");
    }
    let note = with(&text, |object| drop(object.insert("note".to_owned(), "bought on Monday".into())));
    assert!(check(&note).is_ok(), "others may keep their notes");
    let components = text.replacen("\"claims_digest\"", "\"more\":1,\"claims_digest\"", 1);
    assert!(check(&components).is_err(), "but not inside");
    assert!(check(&text.replacen("\"transaction_id\":\"2.7\"", "\"transaction_id\":\"2.07\"", 1)).is_err());
    let long = with(&text, |object| drop(object.insert("record".to_owned(), "x".repeat(SAVED_RECEIPT_MAX_BYTES).into())));
    assert!(matches!(check(&long), Err(ReceiptError::Malformed("too long"))));
}

#[test]
fn each_changed_character() {
    let (_, _, text) = saved();
    for at in 0..text.len() {
        let mut changed = text.clone().into_bytes();
        changed[at] ^= 1;
        let Ok(changed) = String::from_utf8(changed) else {
            continue;
        };
        // The one member that may be missing is still noticed when it is there; its name may be changed to no harm.
        if check(&changed).is_ok() {
            let object: Value = serde_json::from_str(&changed).unwrap();
            assert!(object.get("service_cert").is_none(), "character {at}");
        }
    }
}

#[test]
fn each_flipped_bit_of_the_cose_receipt() {
    let (_, receipt, _) = saved();
    let cose = receipt.to_cose().unwrap();
    let good = ledger::cose::Receipt::parse(&cose).unwrap();
    assert_eq!((good.encode(), good.root()), (cose.clone(), receipt.root()));
    let service = keys().service_certificate();
    assert!(good.verifies(service));
    for bit in 0..cose.len() * 8 {
        let mut changed = cose.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let believed = ledger::cose::Receipt::parse(&changed).is_ok_and(|receipt| receipt.verifies(service));
        assert!(!believed, "bit {bit}");
    }
    for len in 0..cose.len() {
        assert!(ledger::cose::Receipt::parse(&cose[..len]).is_err());
    }
}
