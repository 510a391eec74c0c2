//! The public tools of CCF read what is written here. They are Python: `GLASSBOX_PYTHON` names an interpreter with the
//! packages `ccf==6.0.28` and `cbor2<6`; without it their part of the test is skipped.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

mod support;

use std::path::Path;
use std::process::Command;

use ledger::{Dir, Receipt};
use support::{NOT_BEFORE_S, Service};

fn validate(folder: &Path) -> bool {
    let Some(python) = std::env::var_os("GLASSBOX_PYTHON") else {
        eprintln!("skipped: GLASSBOX_PYTHON does not name a Python with the package ccf");
        return false;
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/validate.py");
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    println!("{out}");
    true
}

#[test]
fn ccf_validates_ledger_and_receipts() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = folder.path().join("ledger");
    let mut service = Service::create(Dir::create(&ledger).unwrap()).unwrap();
    support::scenario(&mut service).unwrap();
    service.checkpoint().unwrap();
    let record = "{\"call\":\"increment\",\"args\":[1],\"time\":1}\n{\"result\":\"é\"}";
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, record.as_bytes());
    service.claim(&support::call(7), digest.as_ref().try_into().unwrap()).unwrap();
    let leaf = service.sealed.last().unwrap().leaf;
    service.sign(true).unwrap();
    service.commit().unwrap();

    let certificate = support::keys().service_certificate();
    let receipt = service.sealer.receipt(&leaf).unwrap();
    assert_eq!(receipt.verify(certificate).unwrap(), Some(leaf.txid));
    assert_eq!(Receipt::from_json(&receipt.to_json()).unwrap().verify(certificate).unwrap(), Some(leaf.txid));
    let file = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    file("receipt.json", receipt.to_json().as_bytes());
    file("saved.json", receipt.to_saved(record, None, certificate).unwrap().as_bytes());
    file("receipt.cose", &receipt.to_cose().unwrap());
    file("signature_receipt.json", service.sealer.signature_receipt().unwrap().to_json().as_bytes());
    file("service_cert.pem", certificate.pem().as_bytes());
    file("now", (NOT_BEFORE_S + 60).to_string().as_bytes());
    validate(folder.path());
}
