//! What a bundle's request costs: CPU time per request of a handler that counts in a table and of one that reads.
//!
//!   cargo run --release -p machine --example bundle_cost [REQUESTS]

use ledger::{LedgerSecret, TxId, WriteSet};
use machine::bundle::reader::Reader;
use machine::bundle::{Chance, Request, tables};
use machine::{Machine, Nobody, Service, state::State};
use std::sync::Arc;

const APP: &str = r#"
const counter = ccf.kv['counter'];
const key = ccf.strToBuf('n');
export function count(request) {
  const before = counter.get(key);
  const n = before === undefined ? 1 : ccf.bufToJsonCompatible(before) + 1;
  counter.set(key, ccf.jsonCompatibleToBuf(n));
  return { body: { n } };
}
export function nothing() { return {}; }
export function body() { return { body: { n: 1 } }; }
export function get() { counter.get(key); return {}; }
export function read(request) {
  return { body: { n: ccf.bufToJsonCompatible(counter.get(key)) } };
}
"#;

#[allow(clippy::disallowed_methods, reason = "a realm needs a thread with more stack")]
fn main() {
    let requests: u64 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(20_000);
    let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
    thread.spawn(move || run(requests)).expect("a thread").join().expect("it ends");
}

/// Microseconds that this thread has computed.
fn cpu() -> f64 {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").expect("this is Linux");
    let ns: f64 = stat.split(' ').next().and_then(|field| field.parse().ok()).expect("a number");
    ns / 1e3
}

fn run(requests: u64) {
    let sandbox = sandbox::Sandbox::new().expect("a sandbox");
    let secret = Arc::new(LedgerSecret::new([7; 32]));
    let mut machine = Machine::bundle(&sandbox, State::in_memory(), Some(secret), Box::new(Nobody)).expect("a machine");
    let mut rows = WriteSet::new();
    let endpoint = |function: &str, mode: &str| {
        format!(
            r#"{{"js_module":"app.js","js_function":"{function}","forwarding_required":"sometimes","authn_policies":["no_auth"],"mode":"{mode}"}}"#
        )
    };
    rows.put(tables::MODULES, "/app.js", APP);
    rows.put(tables::ENDPOINTS, "POST /count", endpoint("count", "readwrite"));
    for name in ["read", "nothing", "body", "get"] {
        rows.put(tables::ENDPOINTS, format!("GET /{name}"), endpoint(name, "readonly"));
    }
    rows.put(tables::SERVICE_INFO, tables::SINGLETON, r#"{"cert":"","status":"Open"}"#);
    machine.begin_with(TxId { view: 2, seqno: 1 }, Service::nameless(machine::service::BUNDLE), rows).expect("it begins");
    let request = |method: &str, target: &str, time_ms| Request {
        method: method.into(),
        target: target.into(),
        headers: vec![("host".into(), "127.0.0.1".into())],
        time_ms,
        ..Request::default()
    };
    let mut began = 0.0;
    for number in 0..requests + 1_000 {
        if number == 1_000 {
            began = cpu();
        }
        let txid = TxId { view: 2, seqno: 2 + number };
        let exchange = machine.respond(txid, &request("POST", "/app/count", number), Chance::Fresh, false).expect("it runs");
        if number == 0 || exchange.response.status != 200 {
            println!("{} {}", exchange.response.status, String::from_utf8_lossy(&exchange.response.body));
        }
    }
    println!("write  {:.1} µs", (cpu() - began) / requests as f64);
    began = cpu();
    let first = 2 + requests + 1_000;
    for number in first..first + requests {
        let _reading = machine.as_bundle_mut().expect("a bundle").publish();
        let txid = TxId { view: 2, seqno: number };
        machine.respond(txid, &request("POST", "/app/count", number), Chance::Fresh, false).expect("it runs");
    }
    println!("write, published {:.1} µs", (cpu() - began) / requests as f64);
    for (what, target) in [("nothing", "/app/nothing"), ("a body", "/app/body"), ("a get", "/app/get")] {
        let reading = machine.as_bundle_mut().expect("a bundle").publish();
        let mut reader = Reader::new(Box::new(Nobody), Box::new(|_, _| {}));
        for number in 0..requests + 1_000 {
            if number == 1_000 {
                began = cpu();
            }
            reader.read(&reading, &request("GET", target, number), None).expect("it runs").expect("no budget");
        }
        println!("read that does {what}  {:.1} µs", (cpu() - began) / requests as f64);
    }
    let reading = machine.as_bundle_mut().expect("a bundle").publish();
    let mut reader = Reader::new(Box::new(Nobody), Box::new(|_, _| {}));
    for number in 0..requests + 1_000 {
        if number == 1_000 {
            began = cpu();
        }
        let read = reader.read(&reading, &request("GET", "/app/read", number), None).expect("it runs").expect("no budget");
        if number == 0 || read.response.status != 200 {
            println!("{} {}", read.response.status, String::from_utf8_lossy(&read.response.body));
        }
    }
    println!("read   {:.1} µs", (cpu() - began) / requests as f64);
}
