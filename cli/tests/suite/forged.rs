//! An operator with all keys who forges what came from outside: callers, oracles, chance.

use crate::support::{Place, stderr, stdout};
use crate::verify::{copy_dir, forge, path, replace, verify};
use ledger::WriteSet;
use machine::maps;
use std::fs;

const SCRIPT: &str = "
let sum = 0;
exports.add = (n) => { sum += n; return sum };
exports.who = () => System.caller.id;
exports.ask = async () => await System.oracle(() => 6);
exports.roll = () => Math.random();
";

fn refused(place: &Place, what: &str, said: &str) {
    let output = verify(&[path(&place.dir())]);
    assert_eq!(output.status.code(), Some(1), "{what}: {}", stdout(&output));
    assert!(stderr(&output).contains(said), "{what}: {}", stderr(&output));
}

fn record(writes: &WriteSet) -> String {
    String::from_utf8_lossy(writes.get(maps::GLASSBOX, maps::CALL_KEY).unwrap_or_default()).into_owned()
}

fn is_checkpoint(writes: &WriteSet) -> bool {
    writes.get(maps::GLASSBOX, maps::CHECKPOINT_KEY).is_some()
}

#[test]
fn callers() {
    let place = Place::new("sums.js", SCRIPT);
    let config = place.root().join("config");
    let key = crate::support::glassbox().args(["key", "new"]).env("GLASSBOX_CONFIG", &config).output().expect("a key");
    assert!(key.status.success(), "{}", stderr(&key));
    let server = place.serve(&[]);
    let pem = config.join("keys").join("default.pem");
    let signed = |args: &[&str]| server.ask(&[args, &["--key", path(&pem)]].concat());
    server.ask(&["add", "1"]);
    assert_eq!(signed(&["add", "2"]), "3");
    assert_eq!(signed(&["add", "3"]), "6");
    let caller = signed(&["who"]);
    assert_eq!(server.stop(), Some(0));
    let honest = place.root().join("honest");
    copy_dir(&place.dir(), &honest);
    assert!(verify(&[path(&place.dir())]).status.success());

    // Nothing is changed but the signatures of the ledger: the callers have seen other ones.
    forge(&place.dir(), |_, _| true);
    refused(&place, "signed again", "ForkedHeadError");

    // A call by a key that has never made it: the operator has no better than some other signature.
    copy_dir(&honest, &place.dir());
    forge(&place.dir(), |_, writes| {
        let old = record(writes);
        if old.contains("\"signature\"") {
            return false;
        }
        if old.starts_with("{\"call\":\"add\",\"args\":[1]") {
            let signature = format!("{}==", "A".repeat(86));
            let fields = format!(
                "\"args\":[1],\"caller\":{caller},\"nonce\":\"00000000000000ff.1\",\"head\":\"2.3\",\"signature\":\"{signature}\""
            );
            writes.put(
                maps::GLASSBOX,
                maps::CALL_KEY,
                old.replace("\"args\":[1]", &fields).replace("\"head\":\"2.3\"", "\"head\":\"3.3\""),
            );
        }
        !is_checkpoint(writes)
    });
    let output = verify(&[path(&place.dir())]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let text = stderr(&output);
    assert!(text.contains("AlteredCallError") || text.contains("ForkedHeadError"), "{text}");

    // A key without a signature is no caller at all.
    copy_dir(&honest, &place.dir());
    forge(&place.dir(), |_, writes| {
        let old = record(writes);
        if old.starts_with("{\"call\":\"add\",\"args\":[1]") {
            writes.put(maps::GLASSBOX, maps::CALL_KEY, old.replace("\"args\":[1]", &format!("\"args\":[1],\"caller\":{caller}")));
        }
        true
    });
    refused(&place, "no signature", "a key without a signature");
}

#[test]
fn oracles() {
    let place = Place::new("sums.js", SCRIPT);
    let kept = place.root().join("receipts");
    let server = place.serve(&[]);
    assert_eq!(server.ask(&["ask", "--receipts", path(&kept)]), "6");
    assert_eq!(server.stop(), Some(0));
    let honest = place.root().join("honest");
    copy_dir(&place.dir(), &honest);

    // The value alone: the result gives it away.
    let lie = |writes: &mut WriteSet, result: bool| {
        if writes.get(maps::GLASSBOX, maps::ORACLES_KEY).is_some() {
            writes.put(maps::GLASSBOX, maps::ORACLES_KEY, b"[{\"value\":7}]".as_slice());
            if result {
                replace(writes, "{\"result\":6}", "{\"result\":7}");
            }
        }
        !is_checkpoint(writes)
    };
    forge(&place.dir(), |_, writes| lie(writes, false));
    refused(&place, "the value alone", "the replay gives {\"result\":7}");

    // With its result: what an oracle says has to be trusted, but a caller who has a receipt knows better.
    copy_dir(&honest, &place.dir());
    forge(&place.dir(), |_, writes| lie(writes, true));
    assert!(verify(&[path(&place.dir())]).status.success());
    let output = verify(&[path(&place.dir()), "--receipts", path(&kept)]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).starts_with("✖Receipts mismatch.\n"), "{}", stderr(&output));
    assert_eq!(fs::read_dir(&kept).expect("a folder").count(), 1);
}

#[test]
fn chance() {
    let place = Place::new("sums.js", SCRIPT);
    let server = place.serve(&[]);
    let rolled = server.ask(&["roll"]);
    assert_eq!(server.stop(), Some(0));
    let honest = place.root().join("honest");
    copy_dir(&place.dir(), &honest);

    // Another result for the same chance; another source of chance; the same source for another state.
    forge(&place.dir(), |_, writes| {
        if record(writes).starts_with("{\"call\":\"roll\"") {
            replace(writes, &rolled, "0.5");
        }
        true
    });
    refused(&place, "the result, and the state before", "the source of its chance is not the chance key's signature");
    copy_dir(&honest, &place.dir());
    forge(&place.dir(), |_, writes| {
        if writes.get(maps::GLASSBOX, maps::CHANCE_KEY).is_some() {
            writes.put(maps::GLASSBOX, maps::CHANCE_KEY, [7; 48]);
        }
        true
    });
    refused(&place, "the source", "the source of its chance is not the chance key's signature");
}
