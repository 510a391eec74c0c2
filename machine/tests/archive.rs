//! The ledger as an archive: while it is written, and at rest.

#![allow(clippy::unwrap_used)]

mod written;

use ledger::Receipt;
use machine::bundle::archive::Ledger;
use machine::bundle::history::Archive;
use serde_json::Value;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use written::Service;

#[test]
fn transactions_come_with_private_tables_and_receipts() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::new(&folder.path().join("ledger"));
    let (even, odd) = (service.call(0), service.call(1));
    let ledger = service.at_rest();
    assert!(ledger.past(even).unwrap().is_none(), "no signature covers it yet");
    assert!(ledger.http_receipt(even).unwrap().is_none());
    let signature = service.sign();
    let late = service.call(2);
    let past = ledger.past(even).unwrap().unwrap();
    assert_eq!(past.txid.seqno, even);
    assert_eq!(past.writes.get("log", &0u64.to_le_bytes()), Some(&b"private"[..]));
    assert_eq!(past.writes.get("public:log", &0u64.to_le_bytes()), Some(&b"public"[..]));
    let parts = &past.receipt["leaf_components"];
    assert!(parts.get("claims_digest").is_none() && past.receipt["is_signature_transaction"] == false);
    assert!(past.receipt["proof"].as_array().is_some_and(|steps| !steps.is_empty()));
    let claims = "07".repeat(32);
    assert_eq!(ledger.past(odd).unwrap().unwrap().receipt["leaf_components"]["claims_digest"], claims);
    let receipt = ledger.past(signature).unwrap().unwrap().receipt;
    assert!(receipt["is_signature_transaction"] == true && receipt["root_hex"].is_string() && receipt.get("proof").is_none());
    // The next signature changes nothing.
    let before = ledger.http_receipt(odd).unwrap().unwrap();
    service.sign();
    assert_eq!(service.at_rest().http_receipt(odd).unwrap().unwrap(), before);
    assert_eq!(before["leaf_components"]["claims_digest"], claims);
    for seqno in [1, even, odd, signature, late] {
        let receipt = ledger.http_receipt(seqno).unwrap().unwrap().to_string();
        Receipt::from_json(&receipt).unwrap().verify(service.keys.service_certificate()).unwrap();
    }
    assert!(ledger.http_receipt(100).unwrap().is_none());
    let receipts: Vec<Value> = [1, odd, signature, late].map(|seqno| ledger.http_receipt(seqno).unwrap().unwrap()).into();
    check_with_ccf(&receipts, service.keys.service_certificate().pem());
}

/// The public package believes receipts, too. `GLASSBOX_PYTHON` names an interpreter with `ccf==6.0.28` and `cbor2<6`; without it
/// this is skipped.
fn check_with_ccf(receipts: &[Value], service: &str) {
    const SCRIPT: &str = r#"
import hashlib, json, sys
import ccf.receipt
from cryptography.x509 import load_pem_x509_certificate as load
sha256 = lambda data: hashlib.sha256(data)
for receipt in json.loads(sys.argv[1]):
    node = load(receipt["cert"].encode())
    parts = receipt.get("leaf_components")
    leaf = receipt["leaf"] if parts is None else sha256(
        bytes.fromhex(parts["write_set_digest"])
        + sha256(parts["commit_evidence"].encode()).digest()
        + bytes.fromhex(parts["claims_digest"])
    ).hexdigest()
    ccf.receipt.verify(ccf.receipt.root(leaf, receipt["proof"]), receipt["signature"], node)
    ccf.receipt.check_endorsements(node, load(sys.argv[2].encode()), [])
"#;
    let Some(python) = std::env::var_os("GLASSBOX_PYTHON") else {
        eprintln!("skipped: GLASSBOX_PYTHON does not name a Python with the package ccf");
        return;
    };
    let receipts = Value::from(receipts.to_vec()).to_string();
    let output = std::process::Command::new(python).args(["-c", SCRIPT, &receipts, service]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_on_its_way_is_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut service = Service::new(&path);
    let secret = service.keys.secret().clone();
    let waited = Arc::new(AtomicU64::new(0));
    let service = Arc::new(Mutex::new({
        service.call(0);
        service
    }));
    let ledger = Ledger::live(&path, secret, {
        let (service, waited) = (service.clone(), waited.clone());
        move |seqno| {
            waited.fetch_max(seqno, SeqCst);
            let mut service = service.lock().unwrap();
            while service.sealer.next().seqno <= seqno {
                match seqno {
                    5.. => service.sign(),
                    _ => service.call(seqno),
                };
            }
        }
    })
    .unwrap();
    assert_eq!(ledger.past(3).unwrap().unwrap().txid.seqno, 3);
    assert_eq!(waited.load(SeqCst), 5, "the signature");
}

#[test]
fn it_is_read_while_chunks_come_and_go() {
    const ALL: u64 = 1_500;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ledger");
    let mut service = Service::new(&path);
    let certificate = service.keys.service_certificate().clone();
    let durable = Arc::new(AtomicU64::new(1));
    let wait = {
        let durable = durable.clone();
        move |seqno| {
            while durable.load(SeqCst) < seqno {
                std::thread::yield_now();
            }
        }
    };
    let ledger = Ledger::live(&path, service.keys.secret().clone(), wait).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 2..=ALL + 100 {
                let last = if n % 7 == 0 { service.sign_off(n % 3 == 0) } else { service.call(n) };
                durable.store(last, SeqCst);
            }
        });
        for step in [1, 7, 13] {
            let (ledger, durable, certificate) = (&ledger, &durable, &certificate);
            scope.spawn(move || {
                let mut seqno = 1;
                while seqno < ALL {
                    assert_eq!(ledger.past(seqno).unwrap().unwrap().txid.seqno, seqno);
                    let old = seqno * 31 % durable.load(SeqCst) + 1;
                    if let Some(receipt) = ledger.http_receipt(old).unwrap() {
                        Receipt::from_json(&receipt.to_string()).unwrap().verify(certificate).unwrap();
                    }
                    seqno += step;
                }
            });
        }
    });
}
