//! Tables: what handles do, who may do what, and what a request sees of others.

use super::place::{App, Place};
use super::session::play;
use crate::support::stderr;
use crate::verify::{path, verify};
use expect_test::expect_file;
use serde_json::json;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

fn eval() -> App {
    App::new(include_str!("apps/eval.js")).write("POST /run", "run").read("POST /look", "run")
}

#[test]
fn handles() {
    let place = Place::new(&eval());
    let sandbox = place.serve(&[]);
    play(&mut sandbox.client(), include_str!("sessions/handles.txt"), expect_file!["sessions/handles.txt"]);
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn who_may_do_what() {
    let place = Place::new(&eval());
    let sandbox = place.serve(&[]);
    play(&mut sandbox.client(), include_str!("sessions/permissions.txt"), expect_file!["sessions/permissions.txt"]);
    sandbox.stop();
}

/// The seqno of the last write of a key, whoever wrote; what the present request writes does not count.
#[test]
fn versions() {
    let place = Place::new(&eval());
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    let mut run = |expression: &str| {
        let answer = client.post("/app/run", expression).ok();
        (answer.text(), answer.txid().expect("a transaction").seqno.to_string())
    };
    let version = "ccf.kv['v'].getVersionOfPreviousWrite(bytes('k'))";
    assert_eq!(run(version).0, "undefined");
    let (_, first) = run("ccf.kv['v'].set(bytes('k'), bytes('1'))");
    assert_eq!(run(version).0, first);
    run("ccf.kv['v'].set(bytes('other'), bytes('1'))");
    assert_eq!(run(version).0, first, "another key's writes do not count");
    assert_eq!(run(&format!("(ccf.kv['v'].set(bytes('k'), bytes('2')), {version})")).0, first, "nor does the present write");
    let (_, third) = run("ccf.kv['v'].set(bytes('k'), bytes('2'))");
    assert_eq!(run(version).0, third, "an equal value is a write");
    let (_, gone) = run("ccf.kv['v'].delete(bytes('k'))");
    assert!(["undefined", gone.as_str()].contains(&run(version).0.as_str()), "a key that is gone");
    assert_eq!(run("ccf.kv['v'].has(bytes('k'))").0, "false");
    let (_, again) = run("ccf.kv['v'].set(bytes('k'), bytes('3'))");
    sandbox.stop();
    let sandbox = place.serve_again(&[]);
    assert_eq!(sandbox.client().post("/app/look", version).ok().text(), again, "after a restart");
    sandbox.stop();
}

/// Clients that count at the same time: no number twice, none left out, and what a reader has seen does not go back.
#[test]
fn one_after_the_other() {
    let place = Place::new(&eval());
    let sandbox = place.serve(&[]);
    const READ: &str = "(ccf.kv['n'].has(bytes('n')) ? ccf.bufToJsonCompatible(ccf.kv['n'].get(bytes('n'))) : 0)";
    let count =
        format!("(() => {{ const n = {READ} + 1; ccf.kv['n'].set(bytes('n'), ccf.jsonCompatibleToBuf(n)); return n }})()");
    let seen = std::sync::Mutex::new(Vec::new());
    let acknowledged = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = sandbox.client();
                for _ in 0..50 {
                    let n: u64 = client.post("/app/run", &count).ok().text().parse().expect("a number");
                    acknowledged.fetch_max(n, SeqCst);
                    seen.lock().expect("not poisoned").push(n);
                }
            });
        }
        scope.spawn(|| {
            let mut client = sandbox.client();
            let mut last = 0;
            while last < 200 {
                let least = acknowledged.load(SeqCst);
                let now: u64 = client.post("/app/look", READ).ok().text().parse().expect("a number");
                assert!(now >= last && now >= least, "{now} after {last}, of {least}");
                last = now;
            }
        });
    });
    let mut seen = seen.into_inner().expect("not poisoned");
    seen.sort_unstable();
    assert_eq!(seen, (1..=200).collect::<Vec<_>>());
    sandbox.stop();
}

/// Tables that are used while modules are evaluated would be written by nobody's request.
#[test]
fn no_tables_at_module_top_level() {
    let place = Place::new(&eval());
    let sandbox = place.serve(&[]);
    let what = "public:t. This table is inaccessible in current module evaluation execution context.";
    for (statement, method) in [
        ("ccf.kv['public:t'].set(ccf.strToBuf('k'), ccf.strToBuf('v'))", "set"),
        ("ccf.kv['public:t'].get(ccf.strToBuf('k'))", "get"),
        ("ccf.kv['public:t'].forEach(() => {})", "forEach"),
        ("ccf.kv['public:t'].size", "size"),
        ("await null; ccf.kv['public:t'].clear()", "clear"),
    ] {
        let app = App::new(&format!("{statement};\nexport function f() {{ return {{}} }}")).read("GET /f", "f");
        let why = sandbox.invalid(&app.proposal());
        assert!(why.contains("/app.js") && why.contains(&format!("Cannot call {method} on table named {what}")), "{why}");
        // A start says the same.
        if method == "set" {
            let other = Place::new(&app);
            let text = other.refused(&[]);
            assert!(text.contains(&format!("Cannot call {method} on table named {what}")), "{text}");
        }
    }
    // The app before is still there, and nothing of the others is in the tables.
    assert_eq!(sandbox.client().post("/app/run", "ccf.kv['public:t'].size").ok().text(), "0");
    sandbox.stop();
}

/// `Date` stands still until an app asks for it, as it is in a request or for all of them.
#[test]
fn time() {
    let source = include_str!("apps/eval.js");
    let place = Place::new(&eval());
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    for at in ["/app/run", "/app/look"] {
        let mut run = |expression: &str| client.post(at, expression).ok().text();
        assert_eq!(run("[Date.now(), +new Date(), new Date().toISOString()]"), "[0, 0, \"1970-01-01T00:00:00.000Z\"]");
        assert_eq!(
            run("[ccf.enableUntrustedDateTime(true), ccf.enableUntrustedDateTime(true), Date.now() > 1.7e12]"),
            "[false, true, true]"
        );
        assert_eq!(
            run("(ccf.enableUntrustedDateTime(true), [Date.now() === Date.now(), Date.now() === +new Date()])"),
            "[true, true]"
        );
        assert_eq!(run("(ccf.enableUntrustedDateTime(true), ccf.enableUntrustedDateTime(false), Date.now())"), "0");
        assert_eq!(run("Date.now()"), "0", "not for the next request");
    }
    for (call, said) in [
        ("enableUntrustedDateTime(1)", "First argument must be a boolean"),
        ("enableUntrustedDateTime()", "Passed 0 arguments, but expected 1"),
    ] {
        let answer = client.post("/app/run", &format!("ccf.{call}"));
        assert_eq!(answer.json()["error"]["details"][0]["message"], format!("TypeError: {said}"));
    }
    // At module top level it is for all requests.
    let always =
        App::new(&format!("ccf.enableUntrustedDateTime(true);\n{source}")).write("POST /run", "run").read("POST /look", "run");
    sandbox.accept(&always.proposal());
    for at in ["/app/run", "/app/look"] {
        assert_eq!(client.post(at, "Date.now() > 1.7e12").ok().text(), "true");
        assert_eq!(client.post(at, "(ccf.enableUntrustedDateTime(false), Date.now())").ok().text(), "0");
        assert_eq!(client.post(at, "Date.now() > 1.7e12").ok().text(), "true");
    }
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// What is drawn differs from request to request, and an audit that has the ledger secret draws the same.
#[test]
fn chance() {
    let place = Place::new(&eval());
    let sandbox = place.serve(&["--public-requests"]);
    let mut client = sandbox.client();
    let mut run = |expression: &str| {
        let answer = client.post("/app/run", expression).ok();
        (answer.text(), answer.txid().expect("a transaction").seqno)
    };
    let (sum, plain) = run("1 + 1");
    assert_eq!(sum, "2");
    let mut drawn = Vec::new();
    for expression in [
        "[Math.random(), Math.random()]",
        "ccf.crypto.generateAesKey(256)",
        "ccf.crypto.generateEcdsaKeyPair('secp256r1').privateKey",
        "ccf.crypto.generateEddsaKeyPair('curve25519').privateKey",
        "ccf.crypto.wrapKey(bytes('key'), ccf.strToBuf(ccf.crypto.generateRsaKeyPair(2048).publicKey), { name: 'RSA-OAEP' })",
    ] {
        let ((one, at), (two, then)) = (run(expression), run(expression));
        assert_ne!(one, two, "{expression}");
        drawn.extend([at, then]);
    }
    sandbox.stop();
    let dir = place.dir();
    let ledger = dir.join("ledger");
    for args in [&[path(&dir)][..], &[path(&ledger), "--ledger-secret", path(&dir.join("keys/ledger_secret"))]] {
        let output = verify(&[args, &["--json"]].concat());
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!((&report["verified"], &report["callers"]["sealed"]), (&json!(true), &json!(null)), "{report}");
    }
    // Without the secret: everything that draws nothing.
    let output = verify(&[path(&ledger), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let sealed: Vec<(u64, u64)> = serde_json::from_value(report["callers"]["sealed"].clone()).expect("ranges");
    let is_sealed = |seqno: u64| sealed.iter().any(|(from, to)| (*from..=*to).contains(&seqno));
    assert!(drawn.iter().all(|seqno| is_sealed(*seqno)), "{drawn:?} in {sealed:?}");
    assert!(!is_sealed(plain), "{plain} in {sealed:?}");
    let sealed: u64 = sealed.iter().map(|(from, to)| to - from + 1).sum();
    assert_eq!(sealed, drawn.len() as u64);
}
