//! `kill -9` at random moments under load, again and again, and then the accounts: every acknowledged write is there, once, in the
//! order in which each client sent it, and every audit passes.
//!
//! `GLASSBOX_KILLS=500` for more kills than the default, `GLASSBOX_SEED=…` for the same moments again.

use super::client::Client;
use super::place::{App, Place, Sandbox};
use crate::support::{stderr, stdout};
use crate::verify::{copy_dir, path, verify};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const CLIENTS: u64 = 6;

fn app() -> App {
    App::new(include_str!("apps/ledger.js"))
        .write("POST /add", "add")
        .endpoint("POST /reused", "add", json!({ "interpreter_reuse": { "key": "add" } }))
        .read("GET /all", "all")
}

/// xorshift64*: the moments of the kills.
struct Moments(u64);

impl Moments {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// What a client was told: the total, and the transaction. By client and number of the request.
type Acknowledged = Mutex<BTreeMap<(u64, u64), (u64, String)>>;

/// One client's requests until the sandbox is gone. `next` is the number of its next one.
fn load(sandbox: &Sandbox, client: u64, next: &mut u64, acknowledged: &Acknowledged, count: &AtomicU64, over: &AtomicBool) {
    let Some(mut connection) = sandbox.try_client() else { return };
    let target = if client.is_multiple_of(2) { "/app/add" } else { "/app/reused" };
    while !over.load(SeqCst) {
        let n = *next;
        *next += 1;
        let body = format!("{{\"client\":{client},\"n\":{n}}}");
        let Ok(answer) = connection.try_send("POST", target, &[], body.as_bytes()) else { return };
        assert_eq!(answer.status, if n % 10 == 9 { 500 } else { 200 }, "{n}: {}", answer.text());
        if answer.status == 200 {
            let total = answer.json()["total"].as_u64().expect("a number");
            let txid = answer.header("x-ms-ccf-transaction-id").expect("a transaction").to_owned();
            let before = acknowledged.lock().expect("not poisoned").insert((client, n), (total, txid));
            assert_eq!(before, None);
            count.fetch_add(1, SeqCst);
        }
    }
}

/// What the tables say: client and number, in order.
fn entries(client: &mut Client) -> Vec<(u64, u64)> {
    let all = client.get("/app/all").ok().json();
    let entries: Vec<(u64, u64)> = serde_json::from_value(all["entries"].clone()).expect("pairs");
    assert_eq!(all["total"], entries.len());
    entries
}

#[test]
fn nothing_acknowledged_is_lost_by_kills_under_load() {
    let kills = number("GLASSBOX_KILLS").unwrap_or(15);
    let seed = number("GLASSBOX_SEED").unwrap_or_else(|| std::process::id().into());
    println!("GLASSBOX_KILLS={kills} GLASSBOX_SEED={seed}");
    let mut moments = Moments(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let place = Place::new(&app());
    let acknowledged = Acknowledged::default();
    let mut next = [0; CLIENTS as usize];
    for _ in 0..kills {
        let sandbox = place.serve(&["--checkpoint-every", "100"]);
        // After so many answers, and a moment more: not only right behind an answer.
        let (answers, spins) = (moments.below(60), moments.below(3_000));
        let (count, over) = (AtomicU64::new(0), AtomicBool::new(false));
        std::thread::scope(|scope| {
            for (client, next) in next.iter_mut().enumerate() {
                let (sandbox, acknowledged, count, over) = (&sandbox, &acknowledged, &count, &over);
                scope.spawn(move || load(sandbox, client as u64, next, acknowledged, count, over));
            }
            let until = Instant::now() + Duration::from_secs(30);
            while count.load(SeqCst) < answers && Instant::now() < until {
                std::thread::yield_now();
            }
            let until = Instant::now() + Duration::from_micros(spins);
            while Instant::now() < until {
                std::hint::spin_loop();
            }
            sandbox.signal("-KILL");
            over.store(true, SeqCst);
        });
    }

    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    let entries = entries(&mut client);
    let acknowledged = acknowledged.into_inner().expect("not poisoned");
    // Each total was given to one request only, and stands for that one.
    for ((who, n), (total, txid)) in &acknowledged {
        assert_eq!(entries[*total as usize - 1], (*who, *n), "total {total}");
        let status = client.get(&format!("/app/tx?transaction_id={txid}")).ok().json();
        assert_eq!(status["status"], "Committed", "{txid}");
    }
    let mut last: BTreeMap<u64, u64> = BTreeMap::new();
    for (who, n) in &entries {
        assert!(n % 10 != 9, "{who}: {n} has thrown");
        let before = last.insert(*who, *n);
        assert!(before.is_none_or(|before| before < *n), "client {who}: {n} is there twice, or after {before:?}");
    }
    assert!(acknowledged.len() as u64 > kills, "there was load: {}", acknowledged.len());
    sandbox.stop();
    println!("{kills} kills, {} requests acknowledged, {} in the tables", acknowledged.len(), entries.len());

    let dir = place.dir();
    for args in [&["--jobs", "1"][..], &["--jobs", "2"]] {
        let output = verify(&[&[path(&dir)], args].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

/// Who has what can check what: all of it with the keys or the ledger secret, and without them what is public.
#[test]
fn audits_with_and_without_the_secret() {
    for public in [false, true] {
        let place = Place::new(&app());
        let args: &[&str] =
            if public { &["--public-requests", "--checkpoint-every", "15"] } else { &["--checkpoint-every", "15"] };
        let mut seqnos = Vec::new();
        for _ in 0..2 {
            let sandbox = place.serve(args);
            let mut client = sandbox.client();
            for n in 0..20 {
                let answer = client.post("/app/add", &format!("{{\"client\":1,\"n\":{n}}}"));
                assert_eq!(answer.status == 500, n % 10 == 9);
                seqnos.extend(answer.txid().map(|txid| txid.seqno));
            }
            sandbox.stop();
        }
        // After a clean stop everything is there at once.
        let sandbox = place.serve(args);
        assert_eq!(entries(&mut sandbox.client()).len(), 36);
        sandbox.stop();

        let dir = place.dir();
        let alone = place.root().join("alone");
        copy_dir(&dir.join("ledger"), &alone);
        let secret = dir.join("keys/ledger_secret");
        for jobs in ["1", "2"] {
            for args in [&[path(&dir)][..], &[path(&alone), "--ledger-secret", path(&secret)]] {
                let output = verify(&[args, &["--jobs", jobs]].concat());
                assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
                assert!(stdout(&output).contains("✔Call log verified.\n"), "{}", stdout(&output));
            }
            let output = verify(&[path(&alone), "--jobs", jobs, "--json"]);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
            let sealed: Vec<(u64, u64)> = serde_json::from_value(report["callers"]["sealed"].clone()).expect("ranges");
            let is_sealed = |seqno: &u64| sealed.iter().any(|(from, to)| (*from..=*to).contains(seqno));
            // The app looks at private tables in each request.
            assert!(seqnos.iter().all(is_sealed), "{seqnos:?} in {sealed:?}");
            assert_eq!(sealed.iter().map(|(from, to)| to - from + 1).sum::<u64>(), 40, "{report}");
        }
        // A wrong secret opens nothing.
        let other = place.root().join("other");
        std::fs::write(&other, "ab".repeat(32)).expect("written");
        let output = verify(&[path(&alone), "--ledger-secret", path(&other)]);
        assert_ne!(output.status.code(), Some(0), "{}", stdout(&output));
        std::fs::write(&other, "no digits").expect("written");
        let output = verify(&[path(&alone), "--ledger-secret", path(&other)]);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
        assert!(stderr(&output).contains("holds no ledger secret: 64 hexadecimal digits"), "{}", stderr(&output));
    }
}

/// What an audit without the ledger secret remembers is not enough for one with it.
#[test]
fn what_was_not_opened_is_not_verified() {
    let public = include_str!("apps/ledger.js").replace("ccf.kv['", "ccf.kv['public:").replace("public:public:", "public:");
    // Looks at nothing, so it can be executed without the secret; but what it writes is encrypted.
    let writes = "export function add(request) { ccf.kv['mine'].set(ccf.strToBuf('k'), request.body.arrayBuffer()); return {}; }\n\
                  export function all() { return {}; }";
    let private = include_str!("apps/ledger.js");
    for (source, is_sealed) in [(private, true), (public.as_str(), false), (writes, false)] {
        let place = Place::new(&app().module("app.js", source));
        let sandbox = place.serve(&["--public-requests", "--checkpoint-every", "15"]);
        let mut client = sandbox.client();
        for n in 0..40 {
            client.post("/app/add", &format!("{{\"client\":1,\"n\":{n}}}"));
        }
        sandbox.stop();
        let alone = place.root().join("alone");
        copy_dir(&place.dir().join("ledger"), &alone);
        let (kept, secret) = (place.root().join("kept"), place.dir().join("keys/ledger_secret"));
        let audit = |args: &[&str]| -> Value {
            let output = verify(&[&[path(&alone), "--dir", path(&kept), "--json"], args].concat());
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            serde_json::from_slice(&output.stdout).expect("JSON")
        };
        let is_in = |report: &Value, list: &str, seqno: u64| {
            let report = if list == "sealed" { &report["callers"] } else { report };
            let ranges: Vec<(u64, u64)> = serde_json::from_value(report[list].clone()).unwrap_or_default();
            ranges.iter().any(|(from, to)| (*from..=*to).contains(&seqno))
        };
        let first = audit(&[]);
        let last: u64 = first["last"].as_str().and_then(|last| last.rsplit_once('.')?.1.parse().ok()).expect("a transaction");
        let some = |report: &Value, list: &str| (1..=last).any(|seqno| is_in(report, list, seqno));
        assert_eq!(some(&first, "sealed"), is_sealed, "{first}");
        // Again with as little: what could be executed need not be; what could not is told of again.
        let second = audit(&[]);
        assert_eq!(second["callers"]["sealed"], first["callers"]["sealed"]);
        assert!(is_sealed || some(&second, "verifiedEarlier"), "{second}");
        let with_secret = audit(&["--ledger-secret", path(&secret)]);
        assert!((1..=last).all(|seqno| is_in(&with_secret, "executed", seqno)), "{with_secret}");
        assert!(!some(&with_secret, "sealed"), "{with_secret}");
        // That is enough for everybody.
        for args in [&["--ledger-secret", path(&secret)][..], &[]] {
            let report = audit(args);
            assert!(some(&report, "verifiedEarlier"), "{report}");
            // But for what stands behind the last checkpoint, which no audit remembers.
            assert!(!(1..=last).any(|seqno| is_in(&report, "sealed", seqno) && is_in(&report, "verifiedEarlier", seqno)));
        }
    }
}

/// A handler that looks only at public tables can be executed by everybody, if requests are public.
#[test]
fn public_apps_in_public() {
    let source = include_str!("apps/ledger.js").replace("ccf.kv['", "ccf.kv['public:").replace("public:public:", "public:");
    let place = Place::new(&app().module("app.js", &source));
    let sandbox = place.serve(&["--public-requests", "--checkpoint-every", "15"]);
    let mut client = sandbox.client();
    for n in 0..40 {
        let target = if n % 2 == 0 { "/app/add" } else { "/app/reused" };
        client.post(target, &format!("{{\"client\":1,\"n\":{n}}}"));
    }
    sandbox.stop();
    for jobs in ["1", "2"] {
        let output = verify(&[path(&place.dir().join("ledger")), "--jobs", jobs]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stdout(&output).contains("✔Call log verified.\n"), "{}", stdout(&output));
    }
    // And everything is readable there.
    let bytes: Vec<u8> = std::fs::read_dir(place.dir().join("ledger"))
        .expect("a folder")
        .flat_map(|entry| std::fs::read(entry.expect("an entry").path()).expect("a chunk"))
        .collect();
    assert!(bytes.windows(18).any(|window| window == b"{\"client\":1,\"n\":7}"));
}

/// What is private stands nowhere in the clear: not in the ledger, and not in its index.
#[test]
fn private_requests_are_private() {
    const SECRET: &str = "a-needle-that-nobody-should-find";
    let app = App::new("export function keep(request) { ccf.kv['mine'].set(ccf.strToBuf('k'), request.body.arrayBuffer()); return { body: request.body.text() } }")
        .write("POST /keep", "keep");
    let place = Place::new(&app);
    let sandbox = place.serve(&["--checkpoint-every", "5"]);
    let mut client = sandbox.client();
    for _ in 0..12 {
        client.send("POST", &format!("/app/keep?{SECRET}"), &[("x-needle", SECRET)], SECRET.as_bytes()).ok();
    }
    sandbox.stop();
    for entry in std::fs::read_dir(place.dir().join("ledger")).expect("a folder") {
        let file = entry.expect("an entry").path();
        let bytes = std::fs::read(&file).expect("a file");
        assert!(!bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes()), "{}", file.display());
    }
}
