#![allow(clippy::unwrap_used)]

use super::*;
use ledger::{Keys, Log, Sealed, Sealer, WriteSet, genesis};
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// A service that writes a ledger.
pub(crate) struct Service {
    pub(crate) keys: Arc<Keys>,
    sealer: Sealer,
    log: Log<Dir>,
}

impl Service {
    pub(crate) fn new(folder: &Path) -> Service {
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

    pub(crate) fn put(&mut self, writes: &WriteSet, claims: Option<[u8; 32]>) -> u64 {
        let sealed = self.sealer.seal(writes, claims).unwrap();
        self.take(sealed)
    }

    pub(crate) fn call(&mut self, n: u64) -> u64 {
        let mut writes = WriteSet::new();
        writes.put("public:log", n.to_le_bytes(), "public");
        writes.put("log", n.to_le_bytes(), "private");
        self.put(&writes, (n % 2 == 1).then_some([7; 32]))
    }

    pub(crate) fn sign(&mut self) -> u64 {
        let sealed = self.sealer.sign(1_700_000_000, false).unwrap();
        self.take(sealed)
    }

    pub(crate) fn at_rest(&self) -> Ledger {
        Ledger::at_rest(self.log.storage().path(), self.keys.secret().clone()).unwrap()
    }
}

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
                if seqno >= 5 { service.sign() } else { service.call(seqno) };
            }
        }
    })
    .unwrap();
    assert_eq!(ledger.past(3).unwrap().unwrap().txid.seqno, 3);
    assert_eq!(waited.load(SeqCst), 5, "the signature");
}

/// Prints what a receipt and a transaction cost. `cargo test --release -p server -- --ignored --nocapture cost_of_the_past`
#[test]
#[ignore = "a measurement"]
fn cost_of_the_past() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Service::new(&folder.path().join("ledger"));
    let mut writes = WriteSet::new();
    writes.put("public:log", *b"key", vec![7; 1000]);
    const ALL: u64 = 100_000;
    while service.sealer.next().seqno < ALL {
        let sealed = match service.sealer.next().seqno % 100 {
            0 => service.sealer.sign(1_700_000_000, service.sealer.next().seqno % 5000 == 0).unwrap(),
            _ => {
                let mut writes = writes.clone();
                if service.sealer.next().seqno % 10_000 == 17 {
                    service.sealer.frontier().write(&mut writes);
                }
                service.sealer.seal(&writes, None).unwrap()
            }
        };
        service.log.append(&sealed.raw).unwrap();
    }
    service.sign();
    let time = |what: &str, count: u64, run: &mut dyn FnMut(u64)| {
        let began = std::time::Instant::now();
        (0..count).for_each(run);
        println!("{what}: {:.1} µs", began.elapsed().as_secs_f64() * 1e6 / count as f64);
    };
    let ledger = service.at_rest();
    time("first receipt", 1, &mut |_| drop(ledger.http_receipt(77_777).unwrap().unwrap()));
    time("a receipt nearby", 100, &mut |n| drop(ledger.http_receipt(77_700 + n).unwrap().unwrap()));
    time("one at the end", 1, &mut |_| drop(ledger.http_receipt(ALL).unwrap().unwrap()));
    time("a range of 10,000, each", 10_000, &mut |n| drop(ledger.past(40_000 + n).unwrap().unwrap()));
    time("remembered, each", 1_000, &mut |n| drop(ledger.past(49_000 + n).unwrap().unwrap()));
    time("receipts everywhere, each", 1_000, &mut |n| drop(ledger.http_receipt(n * 7919 % ALL + 1).unwrap().unwrap()));
    time("once more, each", 1_000, &mut |n| drop(ledger.http_receipt(n * 7919 % ALL + 1).unwrap().unwrap()));
}
