//! Audits of ledgers with checkpoints: stretch by stretch, in part, with what is known from earlier, and against receipts.

use crate::support::{Place, Server, example, run, stderr, stdout};
use crate::verify::{copy_dir, forge, path, replace, verify};
use ledger::{Dir, Reader, TxId, WriteSet};
use machine::{Checkpoint, maps};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Transactions between two checkpoints. Much smaller, and an audit would not begin anew at each.
const EVERY: &str = "40";

/// A stopped counter with several checkpoints, and a copy of it for forgers.
struct Counted {
    place: Place,
    honest: PathBuf,
}

impl Counted {
    fn new(script: &str, calls: usize) -> Counted {
        let place = Place::new(script, &example(script));
        let server = place.serve(&["--checkpoint-every", EVERY]);
        count(&server, calls);
        assert_eq!(server.stop(), Some(0));
        let honest = place.root().join("honest");
        copy_dir(&place.dir(), &honest);
        Counted { place, honest }
    }

    fn dir(&self) -> PathBuf {
        self.place.dir()
    }

    /// The honest ledger, changed and signed again.
    fn forge(&self, change: impl FnMut(TxId, &mut WriteSet) -> bool) {
        copy_dir(&self.honest, &self.dir());
        forge(&self.dir(), change);
    }

    fn checkpoints(&self) -> Vec<TxId> {
        checkpoints(&self.dir())
    }
}

fn count(server: &Server, calls: usize) {
    let source = format!("for (let n = 0; n < {calls}; n++) await client.increment()");
    let output = run(&["repl", &server.url, "-e", &source]);
    assert!(output.status.success(), "{}", stderr(&output));
}

fn checkpoints(dir: &Path) -> Vec<TxId> {
    let storage = Dir::open(&dir.join("ledger")).expect("a ledger");
    let transactions = Reader::open(&storage).expect("readable").map(|located| located.expect("readable").transaction);
    transactions
        .filter(|transaction| transaction.public().get(maps::GLASSBOX, maps::CHECKPOINT_KEY).is_some())
        .map(|transaction| transaction.txid())
        .collect()
}

fn last(dir: &Path) -> TxId {
    let storage = Dir::open(&dir.join("ledger")).expect("a ledger");
    Reader::open(&storage).expect("readable").last().expect("a transaction").expect("readable").transaction.txid()
}

fn report(output: &Output) -> Value {
    serde_json::from_str(&stdout(output)).unwrap_or_else(|error| panic!("{error}: {}{}", stdout(output), stderr(output)))
}

/// The same text with any number of workers.
fn refused(dir: &Path) -> String {
    let texts = ["1", "2", "3"].map(|jobs| {
        let output = verify(&[path(dir), "--jobs", jobs]);
        assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
        stderr(&output)
    });
    assert_eq!((&texts[0], &texts[0]), (&texts[1], &texts[2]));
    let [text, ..] = texts;
    text
}

#[test]
fn stretch_by_stretch() {
    let counted = Counted::new("counter.js", 150);
    assert!(counted.checkpoints().len() >= 3, "{:?}", counted.checkpoints());
    let end = last(&counted.dir()).seqno;
    for jobs in ["1", "2", "5"] {
        let output = verify(&[path(&counted.dir()), "--jobs", jobs, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
        let report = report(&output);
        assert_eq!(report["executed"], json!([[1, end]]));
        assert_eq!((&report["notExecuted"], &report["trusted"], &report["calls"]), (&json!([]), &json!([]), &json!(151)));
        assert_eq!(report["callers"], json!({"signed": 0, "keys": 0, "anonymous": 150, "named": 0}));
    }
}

#[test]
fn an_edited_call_in_the_middle() {
    let counted = Counted::new("persistent-counter.js", 150);
    let checkpoints = counted.checkpoints();
    let at = checkpoints[0].seqno + 10..checkpoints[1].seqno;
    let mut edited = None;
    counted.forge(|txid, writes| {
        if at.contains(&txid.seqno) && edited.is_none() && writes.get(maps::GLASSBOX, maps::CALL_KEY).is_some() {
            replace(writes, "{\"result\":", "{\"result\":9");
            edited = Some(txid);
        }
        true
    });
    let text = refused(&counted.dir());
    let edited = edited.expect("a call");
    assert!(text.starts_with("✖Call log mismatch.\n   Mismatch on entry "), "{text}");
    assert!(text.contains(&format!("transaction {edited}: increment(): the ledger says {{\"result\":9")), "{text}");
    assert!(text.contains("   What differs: the result, at byte 10: expected "), "{text}");
    assert!(text.contains("   Likely cause: result or argument changed (the next 20 calls of increment() come out"), "{text}");
    let report = report(&verify(&[path(&counted.dir()), "--json"]));
    assert_eq!(report["divergence"]["transaction"], json!(edited.to_string()));
    assert_eq!((&report["divergence"]["method"], &report["divergence"]["args"]), (&json!("increment"), &json!("[]")));

    // An audit from behind it cannot see it, and says so.
    let from = checkpoints[1].seqno + 1;
    let output = verify(&[path(&counted.dir()), "--from", &from.to_string()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stdout(&output).ends_with(&format!(
            "✔Call log verified in part.\nNot executed: transactions 1 to {}; they are only hashed, and the checkpoint at {} was \
             taken on trust.\n",
            checkpoints[1].seqno, checkpoints[1]
        )),
        "{}",
        stdout(&output)
    );
}

#[test]
fn other_causes() {
    let counted = Counted::new("persistent-counter.js", 100);
    let at = counted.checkpoints()[0].seqno + 10;
    let is_it = |txid: TxId, writes: &WriteSet| txid.seqno >= at && writes.get(maps::FILES, b"/counter").is_some();
    let mut done = false;
    counted.forge(|txid, writes| {
        if !done && is_it(txid, writes) {
            let mut value = writes.get(maps::FILES, b"/counter").expect("a write").to_vec();
            *value.last_mut().expect("a digit") = b'x';
            writes.put(maps::FILES, *b"/counter", value);
            done = true;
        }
        true
    });
    let text = refused(&counted.dir());
    assert!(text.contains("What differs: file /counter, at byte 1: expected "), "{text}");
    assert!(text.contains("   Source: persistent-counter.js:6:"), "{text}");
    assert!(text.contains("Likely cause: state edited (the call comes to the same result"), "{text}");

    counted.forge(|_, writes| {
        replace(writes, "i++", "i+=2");
        true
    });
    let text = refused(&counted.dir());
    assert!(text.contains("Likely cause: code changed (the next 20 calls of increment() differ as well"), "{text}");
}

#[test]
fn a_checkpoint_that_lies() {
    let counted = Counted::new("counter.js", 150);
    let second = counted.checkpoints()[1];
    let record = |writes: &mut WriteSet, change: &dyn Fn(&mut Checkpoint)| {
        let row = writes.get(maps::GLASSBOX, maps::CHECKPOINT_KEY).expect("a checkpoint");
        let mut record = Checkpoint::decode(row).expect("readable");
        change(&mut record);
        writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, record.encode());
    };
    let page = |writes: &WriteSet| {
        let rows = &writes.maps[maps::HEAP].writes;
        rows.iter().next().map(|(key, value)| (key.clone(), value.clone())).expect("a page")
    };
    type Change<'a> = &'a dyn Fn(&mut WriteSet);
    let cases: [(&str, Change, &str); 10] = [
        (
            "another page",
            &|writes| {
                let rows: Vec<_> = writes.maps[maps::HEAP].writes.clone().into_iter().collect();
                let other = rows.last().expect("a page").1.clone();
                let mut key = rows[0].0.clone();
                if rows.len() == 1 {
                    key = 7_u32.to_be_bytes().to_vec();
                }
                writes.put(maps::HEAP, key, other);
            },
            "of the heap is not what the calls before leave there",
        ),
        (
            "a page that is none",
            &|writes| writes.put(maps::HEAP, page(writes).0, *b"\xff\xff\xff"),
            "of the heap is not what the calls before leave there",
        ),
        (
            "a page more",
            &|writes| writes.put(maps::HEAP, u32::MAX.to_be_bytes(), page(writes).1),
            "page 4294967295 of the heap is not what the calls before leave there",
        ),
        (
            "a page less",
            &|writes| {
                let key = page(writes).0;
                writes.maps.get_mut(maps::HEAP).expect("pages").writes.remove(&key);
                if writes.maps[maps::HEAP].writes.is_empty() {
                    writes.maps.remove(maps::HEAP);
                }
            },
            "of the heap is not what the calls before leave there",
        ),
        ("a key that is none", &|writes| writes.put(maps::HEAP, *b"x", page(writes).1), "of x in public:glassbox.heap"),
        (
            "entries",
            &|writes| record(writes, &|record| record.entries += 1),
            "of checkpoint in public:glassbox: the ledger says ",
        ),
        ("the version", &|writes| record(writes, &|record| record.version += 1), "of checkpoint in public:glassbox"),
        ("a heap of 4 GiB", &|writes| record(writes, &|record| record.heap_bytes = 4 << 30), "of checkpoint in public:glassbox"),
        (
            "the root",
            &|writes| {
                record(writes, &|record| record.signature = record.signature.map(|(txid, _, time_s)| (txid, [7; 32], time_s)));
            },
            "of checkpoint in public:glassbox",
        ),
        ("no record", &|writes| writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, *b"{}"), "malformed checkpoint: "),
    ];
    for (what, change, said) in cases {
        counted.forge(|txid, writes| {
            if txid == second {
                change(writes);
            }
            true
        });
        let text = refused(&counted.dir());
        assert!(text.contains(&format!("transaction {second}: ")) && text.contains(said), "{what}: {text}");
        // Taken on trust, it is still no checkpoint, or leads nowhere.
        let from = (second.seqno + 1).to_string();
        let output = verify(&[path(&counted.dir()), "--from", &from]);
        let text = stderr(&output);
        match what {
            "a page that is none" | "a page more" | "a key that is none" => {
                assert_eq!(output.status.code(), Some(1), "{what}: {text}");
                assert!(text.contains(&format!("Mismatch on the checkpoint {second}: ")), "{what}: {text}");
            }
            _ => {}
        }
    }
}

/// Checkpoints where no node writes them.
#[test]
fn checkpoints_everywhere() {
    let counted = Counted::new("counter.js", 10);
    let mut checkpoint = None;
    counted.forge(|txid, writes| {
        if txid.seqno == 2 {
            let record = Checkpoint { entries: 0, version: 1, time_ms: 0, heap_bytes: 0, signature: None };
            let mut early = WriteSet::new();
            early.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, record.encode());
            checkpoint = Some(txid);
            *writes = early;
        }
        true
    });
    assert!(checkpoint.is_some());
    // The deployment is gone.
    let text = refused(&counted.dir());
    assert!(text.contains("increment(): the ledger says {\"result\":1}"), "{text}");
    counted.forge(|txid, writes| {
        if txid.seqno > 3 {
            let record = Checkpoint { entries: 1, version: 1, time_ms: 0, heap_bytes: usize::MAX, signature: None };
            *writes = WriteSet::new();
            writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, record.encode());
        }
        true
    });
    let text = refused(&counted.dir());
    assert!(text.contains("of checkpoint in public:glassbox"), "{text}");
}

#[test]
fn a_sample() {
    let counted = Counted::new("counter.js", 200);
    let end = last(&counted.dir()).seqno;
    let output = verify(&[path(&counted.dir()), "--sample", "1", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let one = report(&output);
    let executed = one["executed"].as_array().expect("ranges");
    assert_eq!((executed.len(), &one["verified"]), (1, &json!(true)));
    let mut seqnos: Vec<u64> = Vec::new();
    for ranges in ["executed", "notExecuted"] {
        for range in one[ranges].as_array().expect("ranges") {
            seqnos.extend(range[0].as_u64().expect("a number")..=range[1].as_u64().expect("a number"));
        }
    }
    seqnos.sort_unstable();
    assert_eq!(seqnos, (1..=end).collect::<Vec<_>>(), "every transaction is in one of them");
    assert_eq!(one["callers"]["anonymous"], json!(200), "calls that are not executed are counted too");
    let output = verify(&[path(&counted.dir()), "--sample", "99"]);
    assert!(stdout(&output).ends_with("✔Call log verified.\n"), "{}", stdout(&output));

    let output = verify(&[path(&counted.dir()), "--from", &(end + 1).to_string()]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    let output = verify(&[path(&counted.dir()), "--from", "7.20"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("transaction 7.20 is not in it: it has 3.20 there"), "{}", stderr(&output));
}

#[test]
fn what_was_verified_earlier() {
    let counted = Counted::new("counter.js", 100);
    let kept = counted.place.root().join("kept");
    let again = |args: &[&str]| verify(&[&[path(&counted.dir()), "--dir", path(&kept)], args].concat());
    let output = again(&[]);
    assert!(stdout(&output).ends_with("✔Call log verified.\n"), "{}{}", stdout(&output), stderr(&output));
    let last_checkpoint = *counted.checkpoints().last().expect("a checkpoint");
    let skipped = format!("✔Call log verified.\nVerified earlier: {} transactions.\n", last_checkpoint.seqno);
    let output = again(&[]);
    assert!(stdout(&output).ends_with(&skipped), "{}", stdout(&output));

    // A longer ledger goes on.
    let server = counted.place.serve(&["--checkpoint-every", EVERY]);
    count(&server, 60);
    server.stop();
    let output = again(&[]);
    assert!(stdout(&output).ends_with(&skipped), "{}{}", stdout(&output), stderr(&output));
    let report = report(&again(&["--json"]));
    let proven = counted.checkpoints().last().expect("a checkpoint").seqno;
    assert!(proven > last_checkpoint.seqno);
    assert_eq!((&report["verifiedEarlier"], &report["trusted"]), (&json!([[1, proven]]), &json!([])));

    // A damaged note counts for nothing.
    let note = kept.join("verified.json");
    let text = fs::read_to_string(&note).expect("a note");
    fs::write(&note, text.replace("\"from\":1,", "\"from\": 1,")).expect("written");
    let output = again(&[]);
    assert!(stderr(&output).contains("verified.json is not used: it is damaged"), "{}", stderr(&output));
    assert!(stdout(&output).ends_with("✔Call log verified.\n"), "{}", stdout(&output));
    assert_eq!(fs::read_to_string(&note).expect("a note"), text);

    // A changed byte in what is skipped is found by its hash, and the replay says what it was.
    let longer = counted.place.root().join("longer");
    copy_dir(&counted.dir(), &longer);
    let chunk = fs::read_dir(counted.dir().join("ledger")).expect("a folder").next().expect("a chunk").expect("a chunk").path();
    let mut bytes = fs::read(&chunk).expect("a chunk");
    let at = bytes.windows(13).position(|window| window == b"{\"result\":12}").expect("a result") + 11;
    bytes[at] = b'7';
    fs::write(&chunk, bytes).expect("written");
    let output = again(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let text = stderr(&output);
    assert!(text.contains("✖Ledger mismatch.\n") && text.contains("the tag does not match"), "{text}");
    assert!(text.contains("its claims digest is not the digest of its call"), "{text}");

    // An operator who signs everything again is found by the root.
    copy_dir(&longer, &counted.dir());
    forge(&counted.dir(), |_, writes| {
        replace(writes, "{\"result\":12}", "{\"result\":17}");
        true
    });
    let output = again(&[]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(
        stderr(&output).contains("Note: from transaction 1 on the ledger is not as it was verified earlier"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("the ledger says {\"result\":17}, the replay gives {\"result\":12}"), "{}", stderr(&output));
}

#[test]
fn receipts() {
    let place = Place::new("persistent-counter.js", &example("persistent-counter.js"));
    let kept = place.root().join("receipts");
    let server = place.serve(&[]);
    server.ask(&["increment"]);
    for n in 2..=3 {
        assert_eq!(server.ask(&["increment", "--receipts", path(&kept)]), n.to_string());
    }
    server.ask(&["increment"]);
    server.stop();
    let honest = place.root().join("honest");
    copy_dir(&place.dir(), &honest);
    let check = || verify(&[path(&place.dir()), "--receipts", path(&kept)]);
    let output = check();
    assert!(stdout(&output).ends_with("✔Call log verified.\n✔2 receipts verified.\n"), "{}{}", stdout(&output), stderr(&output));

    let files = || {
        let mut files: Vec<PathBuf> = fs::read_dir(&kept).expect("receipts").map(|entry| entry.expect("a file").path()).collect();
        files.sort();
        files
    };
    let receipt: Value = serde_json::from_str(&fs::read_to_string(&files()[0]).expect("a receipt")).expect("JSON");
    let txid: TxId = receipt["transaction_id"].as_str().expect("a transaction").parse().expect("a transaction");
    let expect = |what: &str, said: &str| {
        let output = check();
        assert_eq!(output.status.code(), Some(1), "{what}: {}", stdout(&output));
        let text = stderr(&output);
        assert!(text.starts_with("✖Receipts mismatch.\n"), "{what}: {text}");
        assert!(text.contains(said), "{what}: {text}");
    };

    // Cut off, and signed again: what is left replays, only the receipt tells.
    forge(&place.dir(), |at, _| at.seqno < txid.seqno);
    expect("truncated", &format!("the service has signed increment() as transaction {txid}, the ledger "));

    // Rewritten so that it replays, with an argument that changes nothing; the checkpoint, whose heap has seen it, is left out.
    copy_dir(&honest, &place.dir());
    forge(&place.dir(), |at, writes| {
        if at == txid {
            let record = String::from_utf8_lossy(writes.get(maps::GLASSBOX, maps::CALL_KEY).expect("a call")).into_owned();
            writes.put(
                maps::GLASSBOX,
                maps::CALL_KEY,
                record.replace("{\"call\":\"increment\",\"args\":[]", "{\"call\":\"increment\",\"args\":[1]"),
            );
        }
        writes.get(maps::GLASSBOX, maps::CHECKPOINT_KEY).is_none()
    });
    expect("rewritten", &format!("the service has signed increment() as transaction {txid}, the ledger has increment(1) there"));

    // Of another service, and no receipt at all.
    copy_dir(&honest, &place.dir());
    let other = Place::new("counter.js", &example("counter.js"));
    let server = other.serve(&[]);
    let foreign = kept.join("foreign.json");
    server.ask(&["increment", "--receipt", path(&foreign)]);
    server.stop();
    expect("foreign", "foreign.json: the receipt is of another service");
    fs::write(&foreign, "{}").expect("written");
    expect("malformed", "foreign.json: not a receipt: ");
    fs::remove_file(&foreign).expect("removed");
    let report = report(&verify(&[path(&place.dir()), "--receipts", path(&kept), "--json"]));
    assert_eq!((&report["receipts"], &report["verified"]), (&json!(2), &json!(true)));
}
