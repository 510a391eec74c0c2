//! Audits: honest histories pass, every kind of dishonesty is named.

use crate::support::{Place, Server, example, glassbox, run, stderr, stdout};
use ledger::{Dir, Keys, Log, Reader, Sealer, SignatureInfo, TxId, WriteSet};
use machine::{Checkpoint, maps};
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::Arc;

pub fn verify(args: &[&str]) -> Output {
    run(&[&["verify"], args].concat())
}

pub fn path(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

pub fn copy_dir(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to);
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn counter() -> Place {
    Place::new("counter.js", &example("persistent-counter.js"))
}

fn key(server: &Server, line: &str) -> String {
    let url = server.banner.lines().find_map(|text| text.strip_prefix(line)).expect("a banner");
    url.trim().strip_prefix("hyper://").expect("an address").to_owned()
}

#[test]
fn an_honest_server() {
    let place = counter();
    let server = place.serve(&[]);
    for n in 1..=3 {
        assert_eq!(server.ask(&["increment"]), n.to_string());
    }
    let (files, log) = (key(&server, "Files:"), key(&server, "Call log:"));
    let expected = format!(
        "›Connecting to ws://{}/...\n›Connected.\n›Downloading call log...\n›Downloading files archive...\n\
         ›Replaying 4 calls...\n›Comparing outputs...\n✔Call log verified.\n✔Output files verified.\n",
        server.url
    );
    let (as_hyper, as_dat) = (format!("hyper://{files}"), format!("dat://{log}/"));
    for args in [&[][..], &["--jobs", "1"], &["--jobs", "2"], &["--files", &as_hyper, "--log", &as_dat], &["--files", &files]] {
        let output = verify(&[&[server.url.as_str()], args].concat());
        assert_eq!((stdout(&output), output.status.code()), (expected.clone(), Some(0)), "{args:?} {}", stderr(&output));
    }
    let output = verify(&[&server.url, "--log", &as_hyper]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains(&format!("✖Identity mismatch.\n   the call log is hyper://{log}, not hyper://{files}")),
        "{}",
        stderr(&output)
    );
    let output = verify(&[&server.url, "--log", "hyper://12"]);
    assert_eq!(output.status.code(), Some(2));

    let output = verify(&[&server.url, "--json"]);
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((&report["verified"], &report["calls"], &report["unsigned"]), (&true.into(), &4.into(), &0.into()));

    assert_eq!(server.stop(), Some(0));
    let output = verify(&[path(&place.dir())]);
    assert!(stdout(&output).ends_with("✔Call log verified.\n"), "{}", stderr(&output));
    assert_eq!((stderr(&output).as_str(), output.status.code()), ("", Some(0)), "a stopped server has signed everything");
}

#[test]
fn under_load_and_after_a_kill() {
    let place = counter();
    let server = place.serve(&[]);
    let mut load = glassbox()
        .args(["repl", &server.url, "-e", "for (;;) await client.increment()"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("a client");
    for _ in 0..3 {
        let output = verify(&[&server.url]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    server.kill();
    let _ = load.wait();
    let output = verify(&[path(&place.dir())]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn nobody_there() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    assert_eq!(verify(&[&free.to_string()]).status.code(), Some(2));
    assert_eq!(verify(&["/nonexistent/place"]).status.code(), Some(2));
    let empty = tempfile::tempdir().expect("a folder");
    assert_eq!(verify(&[path(empty.path())]).status.code(), Some(2));
    // A web server that is no backend.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi");
        }
    });
    let output = verify(&[&at]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
}

/// The ledger of a node, written again with its own keys: what an operator can do who has them. The change sees every
/// transaction but signatures, and says whether it stays.
pub fn forge(dir: &Path, mut change: impl FnMut(TxId, &mut WriteSet) -> bool) {
    let keys = Arc::new(Keys::load(&dir.join("keys")).expect("keys"));
    let storage = Dir::open(&dir.join("ledger")).expect("a ledger");
    let last = Reader::open(&storage).expect("readable").last().expect("a transaction").expect("readable");
    let mut sealer = Sealer::new(&keys, last.transaction.txid().view).expect("a sealer");
    let forged = dir.join("forged");
    let mut log = Log::create(Dir::create(&forged).expect("a folder")).expect("a log");
    for located in Reader::open(&storage).expect("readable") {
        let transaction = located.expect("readable").transaction;
        if let Some(signature) = SignatureInfo::read(&transaction).expect("readable") {
            log.append(&sealer.sign(signature.signed_at_s(), false).expect("signed").raw).expect("appended");
            continue;
        }
        let mut writes = transaction.public().clone();
        // What follows from the transactions before is made to fit, before the change.
        let record = writes.get(maps::GLASSBOX, maps::CHECKPOINT_KEY).and_then(|row| Checkpoint::decode(row).ok());
        if let Some(mut record) = record {
            record.signature = sealer.last_signature().map(|last| (last.txid, last.root, last.signed_at_s()));
            writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, record.encode());
        }
        if writes.maps.contains_key(ledger::FRONTIER_MAP) {
            sealer.frontier().write(&mut writes);
        }
        if change(transaction.txid(), &mut writes) {
            let claims = machine::claims(&writes);
            log.append(&sealer.seal(&writes, claims).expect("sealed").raw).expect("appended");
        }
    }
    let now_s = sealer.last_signature().map_or(0, SignatureInfo::signed_at_s);
    log.append(&sealer.sign(now_s, false).expect("signed").raw).expect("appended");
    log.commit().expect("written");
    drop(storage);
    fs::remove_dir_all(dir.join("ledger")).expect("removed");
    fs::rename(forged, dir.join("ledger")).expect("renamed");
}

pub fn replace(writes: &mut WriteSet, from: &str, to: &str) {
    let record = writes.get(maps::GLASSBOX, maps::CALL_KEY).map(|record| String::from_utf8_lossy(record).into_owned());
    if let Some(record) = record {
        writes.put(maps::GLASSBOX, maps::CALL_KEY, record.replace(from, to));
    }
}

#[test]
fn an_operator_with_all_keys_who_rewrites_history() {
    let place = counter();
    let server = place.serve(&[]);
    for _ in 0..5 {
        server.ask(&["increment"]);
    }
    server.stop();
    let honest = place.root().join("honest");
    copy_dir(&place.dir(), &honest);
    type Change<'a> = &'a dyn Fn(TxId, &mut WriteSet) -> bool;
    let cases: [(&str, Change, &str); 8] = [
        ("nothing", &|_, _| true, ""),
        (
            "a result",
            &|_, writes| {
                replace(writes, "{\"result\":3}", "{\"result\":4}");
                true
            },
            "increment(): the ledger says {\"result\":4}, the replay gives {\"result\":3}",
        ),
        (
            "an error instead of a result",
            &|_, writes| {
                replace(writes, "{\"result\":3}", "{\"error\":{\"name\":\"Error\",\"message\":\"no\",\"stack\":\"\"}}");
                true
            },
            "the replay gives {\"result\":3}",
        ),
        (
            "the code",
            &|_, writes| {
                replace(writes, "i++", "i+=2");
                true
            },
            "increment(): the ledger says {\"result\":1}, the replay gives {\"result\":2}",
        ),
        (
            "a file",
            &|txid, writes| {
                if txid.seqno == 6 {
                    let mut value = writes.get(maps::FILES, b"/counter").expect("a write").to_vec();
                    *value.last_mut().expect("a digit") = b'9';
                    writes.put(maps::FILES, *b"/counter", value);
                }
                true
            },
            "of /counter in public:files: the ledger says \"9\"",
        ),
        (
            "a file beside the call's",
            &|txid, writes| {
                if txid.seqno == 6 {
                    writes.put(maps::FILES, *b"/gift", *b"\x01\0\0\0\0\0\0\0\0\0\0\0\0money");
                }
                true
            },
            "of /gift in public:files: the ledger says \"money\" (5 bytes, of 0), the replay gives nothing",
        ),
        ("a call left out", &|txid, _| txid.seqno != 6, "the ledger says {\"result\":4}, the replay gives {\"result\":3}"),
        (
            "a write without a call",
            &|txid, writes| {
                if txid.seqno == 6 {
                    writes.maps.remove(maps::GLASSBOX);
                }
                true
            },
            "nothing explains its write of /counter in public:files",
        ),
    ];
    for (what, change, said) in cases {
        copy_dir(&honest, &place.dir());
        forge(&place.dir(), change);
        for jobs in ["1", "2"] {
            let output = verify(&[path(&place.dir()), "--jobs", jobs]);
            if said.is_empty() {
                assert_eq!(output.status.code(), Some(0), "{what}: {}", stderr(&output));
            } else {
                assert_eq!(output.status.code(), Some(1), "{what}: {}", stdout(&output));
                let text = stderr(&output);
                assert!(text.starts_with("✖Call log mismatch.\n   Mismatch on entry ") && text.contains(said), "{what}: {text}");
            }
        }
    }
}

/// Another build of the sandbox may count instructions otherwise: what differs then is no proof of dishonesty.
#[test]
fn a_ledger_of_another_engine() {
    let place = counter();
    let server = place.serve(&[]);
    for _ in 0..3 {
        server.ask(&["increment"]);
    }
    server.stop();
    let other = "0".repeat(64);
    let of_another = |writes: &mut WriteSet| {
        if let Some(record) = writes.get(maps::GLASSBOX, maps::SERVICE_KEY) {
            let record = String::from_utf8_lossy(record).replace(sandbox::ENGINE, &other);
            writes.put(maps::GLASSBOX, maps::SERVICE_KEY, record);
        }
    };
    forge(&place.dir(), |_, writes| {
        of_another(writes);
        true
    });
    let output = verify(&[path(&place.dir())]);
    assert_eq!(output.status.code(), Some(0), "what comes out equal is verified: {}", stderr(&output));
    forge(&place.dir(), |_, writes| {
        replace(writes, "{\"result\":2}", "{\"result\":7}");
        true
    });
    let output = verify(&[path(&place.dir())]);
    assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    assert!(stderr(&output).contains("another version of the sandbox"), "{}", stderr(&output));
}

#[test]
fn a_server_that_forgets_or_rewrites_what_it_served() {
    let place = counter();
    let kept = place.root().join("kept");
    let backup = place.root().join("backup");
    let ask = |server: &Server| verify(&[&server.url, "--dir", path(&kept)]);

    let server = place.serve(&[]);
    server.ask(&["increment"]);
    assert_eq!(ask(&server).status.code(), Some(0));
    server.stop();
    copy_dir(&place.dir(), &backup);
    let server = place.serve(&[]);
    server.ask(&["increment"]);
    server.ask(&["increment"]);
    let output = ask(&server);
    assert_eq!(output.status.code(), Some(0), "a longer ledger continues the kept one: {}", stderr(&output));
    server.stop();

    // Back to the backup: what was served since is forgotten.
    copy_dir(&backup, &place.dir());
    let server = place.serve(&[]);
    let output = ask(&server);
    assert_eq!(output.status.code(), Some(1), "truncated: {}", stdout(&output));
    // And on from there: another history under the same keys.
    for _ in 0..6 {
        server.ask(&["increment"]);
    }
    let output = ask(&server);
    assert_eq!(output.status.code(), Some(1), "forked: {}", stdout(&output));
    assert!(stderr(&output).starts_with("✖Ledger mismatch.\n"), "{}", stderr(&output));
    // Who kept nothing cannot know.
    assert_eq!(verify(&[&server.url]).status.code(), Some(0));
}

/// Passes everything on but `/archive`, which it answers itself.
fn proxy(upstream: String, archive: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let (upstream, archive) = (upstream.clone(), archive.clone());
            std::thread::spawn(move || forward(client, &upstream, &archive));
        }
    });
    at
}

fn forward(mut client: TcpStream, upstream: &str, archive: &[u8]) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let text = String::from_utf8(head).ok()?;
    if text.starts_with("GET /archive ") {
        return client.write_all(archive).ok();
    }
    let mut server = TcpStream::connect(upstream.replace("localhost", "127.0.0.1")).ok()?;
    let upgrade = text.to_ascii_lowercase().contains("upgrade: websocket");
    let text = if upgrade { text } else { text.replacen("\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1) };
    server.write_all(text.as_bytes()).ok()?;
    let (mut from_client, mut to_server) = (client.try_clone().ok()?, server.try_clone().ok()?);
    std::thread::spawn(move || std::io::copy(&mut from_client, &mut to_server));
    std::io::copy(&mut server, &mut client).ok()?;
    client.shutdown(std::net::Shutdown::Both).ok()
}

#[test]
fn a_server_that_serves_other_files() {
    let place = counter();
    let server = place.serve(&[]);
    server.ask(&["increment"]);
    // The real answer, changed in one digit; then a file less; then cut.
    let mut real = Vec::new();
    let mut stream = TcpStream::connect(server.url.replace("localhost", "127.0.0.1")).expect("connected");
    stream.write_all(b"GET /archive HTTP/1.0\r\n\r\n").expect("sent");
    stream.read_to_end(&mut real).expect("an answer");
    let honest = proxy(server.url.clone(), real.clone());
    let output = verify(&[&honest]);
    assert_eq!(output.status.code(), Some(0), "the proxy itself changes nothing: {}", stderr(&output));

    let end = real.len() - 8;
    let mut changed = real.clone();
    let at = changed.windows(8).position(|window| window == b"/counter").expect("the row") + 8 + 8 + 13;
    changed[at] = b'7';
    let output = verify(&[&proxy(server.url.clone(), changed)]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let text = stderr(&output);
    assert!(
        text.starts_with("✖Output files mismatch.\n   /counter at ")
            && text.contains("served \"7\"")
            && text.contains("the replay gives \"1\""),
        "{text}"
    );

    let output = verify(&[&proxy(server.url.clone(), real[..end].to_vec())]);
    assert_eq!(output.status.code(), Some(2), "a cut answer cannot be checked: {}", stderr(&output));
}
