//! Interpreters that live on from request to request, and audits of what they remember.

use super::client::Client;
use super::place::{App, Place};
use crate::support::stderr;
use crate::verify::{path, verify};
use serde_json::{Value, json};

fn app() -> App {
    let keyed = |app: App, path: &str, function: &str, key: &str| {
        let write = json!({ "interpreter_reuse": { "key": key } });
        let read = json!({ "interpreter_reuse": { "key": key }, "mode": "readonly" });
        app.endpoint(&format!("POST {path}"), function, write).endpoint(&format!("GET {path}"), function, read)
    };
    let app = App::new(include_str!("apps/reuse.js")).write("POST /fresh", "touch").write("POST /fresh/clock", "clock");
    [
        ("/one", "touch", "one"),
        ("/one/again", "touch", "one"),
        ("/one/fail", "fail", "one"),
        ("/one/seen", "touched", "one"),
        ("/one/park", "park", "one"),
        ("/one/unpark", "unpark", "one"),
        ("/one/clock", "clock", "one"),
        ("/one/set", "set", "one"),
        ("/one/roll", "roll", "one"),
        ("/two", "touch", "two"),
        ("/three", "touch", "three"),
    ]
    .into_iter()
    .fold(app, |app, (path, function, key)| keyed(app, path, function, key))
}

fn post(client: &mut Client, target: &str) -> String {
    client.post(&format!("/app{target}"), "").ok().text()
}

fn verified(place: &Place) {
    for jobs in ["1", "2"] {
        let output = verify(&[path(&place.dir()), "--jobs", jobs]);
        assert_eq!(output.status.code(), Some(0), "{jobs}: {}", stderr(&output));
    }
}

#[test]
fn a_realm_lives_on_under_its_key() {
    let place = Place::new(&app());
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    assert_eq!([post(&mut client, "/fresh"), post(&mut client, "/fresh")], ["1", "1"], "a fresh one knows nothing");
    assert_eq!([post(&mut client, "/one"), post(&mut client, "/one/again"), post(&mut client, "/one")], ["1", "2", "3"]);
    assert_eq!(post(&mut client, "/two"), "1", "another key is another one");
    // What only reads has one of its own, with the tables as they are now.
    let seen: Value = client.get("/app/one/seen").ok().json();
    assert_eq!((&seen["calls"], &seen["table"]), (&json!(1), &json!("1")));
    post(&mut client, "/one");
    assert_eq!(client.get("/app/one/seen").ok().json()["table"], "4");

    // A failure leaves no trace.
    assert_eq!(client.post("/app/one/fail", "").status, 500);
    assert_eq!(post(&mut client, "/one"), "5");
    assert_eq!(client.get("/app/one").status, 500, "it writes");

    // A promise of one request may be settled by another one.
    assert_eq!(post(&mut client, "/one/park"), "parked");
    assert_eq!([post(&mut client, "/one/unpark"), post(&mut client, "/one")], ["5", "16"]);

    // The clock stays as it was set; what concerns one request's transaction does not.
    for (body, said) in [("", "stands"), ("on", "goes"), ("", "goes"), ("off", "stands"), ("", "stands")] {
        assert_eq!(client.post("/app/one/clock", body).ok().text(), said, "{body}");
    }
    assert_eq!([post(&mut client, "/one/set"), post(&mut client, "/one/set")], ["1", "2"]);
    assert!(client.post("/app/one", "").ok().txid().is_some());

    // A deployment flushes, of the same app as well.
    sandbox.accept(&app().proposal());
    assert_eq!([post(&mut client, "/one"), post(&mut client, "/two"), post(&mut client, "/one")], ["1", "1", "2"]);
    sandbox.stop();
    verified(&place);
}

/// The clock of modules, and of a realm that lives on.
#[test]
fn a_clock_that_goes_from_the_beginning() {
    let source = format!("ccf.enableUntrustedDateTime(true);\n{}", include_str!("apps/reuse.js"));
    let place = Place::new(&app().module("app.js", &source));
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    for (body, said) in [("", "goes"), ("off", "stands"), ("", "stands"), ("on", "goes"), ("", "goes")] {
        assert_eq!(client.post("/app/one/clock", body).ok().text(), said, "{body}");
    }
    for (body, said) in [("", "goes"), ("off", "stands"), ("", "goes")] {
        assert_eq!(client.post("/app/fresh/clock", body).ok().text(), said, "{body}");
    }
    sandbox.stop();
    verified(&place);
}

#[test]
fn the_least_recently_used_goes() {
    let place = Place::new(&app());
    let sandbox = place.serve(&[]);
    let limits = json!({
        "max_heap_bytes": 100 << 20, "max_stack_bytes": 1 << 20, "max_execution_time_ms": 1000, "max_cached_interpreters": 2,
    });
    sandbox.act("set_js_runtime_options", limits);
    let mut client = sandbox.client();
    let mut touch = |key: &str| post(&mut client, &format!("/{key}"));
    assert_eq!(["one", "two", "one", "three", "one", "two", "three"].map(&mut touch), ["1", "1", "2", "1", "3", "1", "1"]);
    sandbox.stop();
    verified(&place);
}

/// What interpreters hold follows from the ledger: through kills, restarts and checkpoints an audit has the same.
#[test]
fn what_is_remembered_can_be_audited() {
    let place = Place::new(&app());
    let mut last = 0;
    for round in 0..4 {
        let sandbox = place.serve(&["--checkpoint-every", "20"]);
        let mut client = sandbox.client();
        for n in 0..13 + round {
            let now: u64 = post(&mut client, "/one").parse().expect("a number");
            assert!(now == last + 1 || now == 1, "{now} after {last}");
            last = now;
            if n % 5 == 4 {
                post(&mut client, "/one/roll");
                client.post("/app/one/fail", "");
                post(&mut client, "/two");
            }
        }
        if round % 2 == 0 { sandbox.kill() } else { sandbox.stop() }
    }
    verified(&place);
    // Who cannot see one request does not know what the interpreter holds after it, and says so.
    let output = verify(&[path(&place.dir().join("ledger"))]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = crate::support::stdout(&output);
    assert!(
        text.contains("✔Call log verified in part.\n") && text.contains("Not executed without the ledger secret: "),
        "{text}"
    );
}

/// The same where requests are public: only those that draw, and what comes behind them until the next checkpoint, are left out.
#[test]
fn what_is_remembered_in_public() {
    let place = Place::new(&app());
    let sandbox = place.serve(&["--public-requests"]);
    let mut client = sandbox.client();
    let mut seqno = |target: &str| client.post(&format!("/app{target}"), "").ok().txid().expect("a transaction").seqno;
    // The tables are private, so that these look at nothing: a handler that writes needs no secret.
    let (before, fresh) = (seqno("/one"), seqno("/fresh"));
    let roll = seqno("/one/roll");
    let (after, other) = (seqno("/one"), seqno("/fresh"));
    sandbox.stop();
    verified(&place);
    let output = verify(&[path(&place.dir().join("ledger")), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let sealed: Vec<(u64, u64)> = serde_json::from_value(report["callers"]["sealed"].clone()).expect("ranges");
    let is_sealed = |seqno: u64| sealed.iter().any(|(from, to)| (*from..=*to).contains(&seqno));
    assert_eq!([before, fresh, roll, after, other].map(is_sealed), [false, false, true, true, false], "{report}");
}
