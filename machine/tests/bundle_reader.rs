//! Readers: what they have of the outside is theirs after every request, however that has ended.

#![allow(clippy::unwrap_used)]

use ledger::{Keys, LedgerSecret, Sealer, TxId, WriteSet};
use machine::bundle::history::{Archive, Past};
use machine::bundle::reader::{Read, Reader, Reading, TXID_HEADER};
use machine::bundle::{Request, tables};
use machine::state::State;
use machine::{Fault, Machine, Nobody, Service, outside::Outside};
use std::sync::{Arc, Mutex};

mod book;

use book::with_stack;

const APP: &str = r#"
export function key() {
  console.log('a key');
  return { body: new Uint8Array(ccf.crypto.generateAesKey(256)) };
}
export function past() { return {}; }
export function endless() { for (;;); }
"#;

/// An outside whose seeds are known here, and are not what is there when there is none.
struct Seeds(u8);

impl Outside for Seeds {
    fn chance(&mut self, _: Option<&machine::Head>) -> [u8; ledger::chance::CHANCE_BYTES] {
        unreachable!("bundles have seeds")
    }

    fn entropy(&mut self) -> [u8; 32] {
        self.0 += 1;
        [self.0; 32]
    }

    fn world(&mut self, _: u64) -> Box<dyn sandbox::World> {
        unreachable!("bundles have no oracles")
    }
}

/// An archive that cannot be read.
struct Broken;

impl Archive for Broken {
    fn past(&self, _: u64) -> Result<Option<Past>, Fault> {
        Err(Fault::Checkpoint("the ledger cannot be read".into()))
    }
}

/// The app, with its first transaction signed, and an archive that cannot be read.
fn reading() -> Reading {
    let keys = Arc::new(Keys::generate("service", "node", 0, 1 << 32).unwrap());
    let mut sealer = Sealer::new(&keys, 2).unwrap();
    let sandbox = sandbox::Sandbox::new().unwrap();
    let secret = Some(Arc::new(LedgerSecret::new([7; 32])));
    let mut machine = Machine::bundle(&sandbox, State::in_memory(), secret, Box::new(Nobody)).unwrap();
    let mut rows = WriteSet::new();
    rows.put(tables::MODULES, "/app.js", APP);
    for (name, mode) in [("key", "readonly"), ("past", "historical"), ("endless", "readonly")] {
        let endpoint = format!(
            r#"{{"js_module":"app.js","js_function":"{name}","forwarding_required":"never","authn_policies":["no_auth"],"mode":"{mode}"}}"#
        );
        rows.put(tables::ENDPOINTS, format!("GET /{name}"), endpoint);
    }
    rows.put(tables::SERVICE_INFO, tables::SINGLETON, r#"{"cert":"","status":"Open"}"#);
    let service = Service::nameless(machine::service::BUNDLE);
    let writes = machine.begin_with(TxId { view: 2, seqno: 1 }, service, rows).unwrap();
    sealer.seal(&writes, None).unwrap();
    sealer.sign(1, false).unwrap();
    machine.signed(sealer.last_signature().unwrap()).unwrap();
    let bundle = machine.as_bundle_mut().unwrap();
    bundle.set_archive(Arc::new(Broken));
    bundle.publish()
}

fn ask(reader: &mut Reader, reading: &Reading, name: &str, txid: &str) -> Result<Option<Read>, Fault> {
    let request = Request {
        method: "GET".into(),
        target: format!("/app/{name}"),
        headers: vec![(TXID_HEADER.into(), txid.into())],
        ..Request::default()
    };
    reader.read(reading, &request, Some(10_000_000))
}

#[test]
fn what_a_reader_has_survives_every_kind_of_end() {
    with_stack(|| {
        let reading = reading();
        let lines = Arc::new(Mutex::new(0));
        let reader = |seed: u8| {
            let lines = lines.clone();
            Reader::new(Box::new(Seeds(seed)), Box::new(move |_, _| *lines.lock().unwrap() += 1))
        };
        let key = |reader: &mut Reader| {
            let read = ask(reader, &reading, "key", "").unwrap().unwrap();
            assert_eq!((read.response.status, read.response.body.len()), (200, 32));
            read.response.body
        };
        // What each seed makes, in a reader that has done nothing before.
        let keys: Vec<_> = (0..5).map(|seed| key(&mut reader(seed))).collect();
        let mut reader = reader(0);
        assert_eq!(key(&mut reader), keys[0]);
        for (txid, next) in [("", 1), ("2.9", 2)] {
            assert_eq!(ask(&mut reader, &reading, "past", txid).unwrap().unwrap().response.status, 404, "{txid}");
            assert_eq!(key(&mut reader), keys[next], "after a transaction that is not there: {txid}");
        }
        assert!(ask(&mut reader, &reading, "endless", "").unwrap().is_none());
        assert_eq!(key(&mut reader), keys[3], "after a budget");
        assert!(ask(&mut reader, &reading, "past", "2.1").is_err(), "the archive is broken");
        assert_eq!(key(&mut reader), keys[4], "after a fault");
        assert_eq!(*lines.lock().unwrap(), 10, "the console hears every key");
    });
}
