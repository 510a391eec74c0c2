//! Restarts: how long they take, and what they believe.
//!
//! `GLASSBOX_RESTART_CALLS=1000000` for more calls than the default; the times are printed.

use crate::raw::{Socket, tcp};
use crate::support::{Place, Server, stderr};
use crate::verify::{copy_dir, path, verify};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

const SCRIPT: &str = "let total = 0
const names = []
exports.add = async n => {
  total += n
  if (total % 100 == 0) { names[total / 100 % 50] = 'at ' + total; await System.files.writeFile('/at/' + total % 5000, 'x' + total).catch(() => {}) }
  return total
}
exports.init = () => System.files.mkdir('/at')
exports.state = () => [total, names.length, names]";

/// Replies that a client waits for at once.
const WINDOW: u64 = 200;
const CLIENTS: u64 = 4;

/// Most calls that a restart may run again.
const REPLAYED_MAX: u64 = 10_000;

fn place() -> Place {
    Place::new("sums.js", SCRIPT)
}

/// So many calls, several clients at once, many calls under way.
fn load(server: &Server, calls: u64) {
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let own = calls / CLIENTS + u64::from(client < calls % CLIENTS);
                let mut socket = Socket::connect(&server.url);
                let mut sent = 0;
                for received in 0..own {
                    while sent < own && sent < received + WINDOW {
                        socket.begin("add", "[1]");
                        sent += 1;
                    }
                    let (_, reply) = socket.end().expect("a reply");
                    assert!(reply.is_ok(), "{reply:?}");
                }
            });
        }
    });
}

/// Starts, and says how long it took, how many entries there are, and how many were replayed.
fn start(place: &Place) -> (Server, Duration, u64, u64) {
    let began = Instant::now();
    let server = place.serve(&[]);
    let took = began.elapsed();
    let (entries, replayed) = recovered(&server);
    (server, took, entries, replayed)
}

/// `Recovered N entries of the call log; M of them replayed.` It may be read a moment after the banner.
pub fn recovered(server: &Server) -> (u64, u64) {
    let until = Instant::now() + crate::raw::PATIENCE;
    loop {
        let log = server.log();
        if let Some(line) = log.lines().find(|line| line.starts_with("Recovered ") && line.ends_with("replayed.")) {
            let numbers: Vec<u64> = line.split_whitespace().filter_map(|word| word.parse().ok()).collect();
            let [entries, replayed] = numbers[..] else { panic!("{line}") };
            return (entries, replayed);
        }
        assert!(Instant::now() < until, "{log}");
        std::thread::yield_now();
    }
}

/// Everything that the archive says, and the memory.
fn archive(url: &str) -> (Vec<u8>, String) {
    let mut stream = tcp(url);
    write!(stream, "GET /archive HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut page = Vec::new();
    stream.read_to_end(&mut page).expect("a page");
    let head = page.windows(4).position(|four| four == b"\r\n\r\n").expect("a head");
    (page.split_off(head), Socket::connect(url).result("state", "[]"))
}

fn stop(server: Server) {
    assert_eq!(server.stop(), Some(0));
}

fn state(place: &Place) -> PathBuf {
    place.dir().join("state")
}

#[test]
fn after_many_calls() {
    let calls: u64 = std::env::var("GLASSBOX_RESTART_CALLS").map_or(30_000, |text| text.parse().expect("a number"));
    let place = place();
    let server = place.serve(&[]);
    let began = Instant::now();
    load(&server, calls);
    println!("{calls} calls in {:?}", began.elapsed());
    let before = archive(&server.url);
    assert!(before.1.starts_with(&format!("[{calls},")), "{}", before.1);
    stop(server);

    let (server, took, entries, replayed) = start(&place);
    println!("after a clean end: {took:?}, {replayed} of {entries} entries replayed");
    // The deployment, init, and the look at the state.
    assert_eq!((entries, replayed), (calls + 3, 0), "a clean end leaves nothing to replay");
    assert_eq!(archive(&server.url), before);

    load(&server, 12_000);
    let before = archive(&server.url);
    server.kill();
    let (server, took, entries, replayed) = start(&place);
    println!("after kill -9: {took:?}, {replayed} of {entries} entries replayed");
    assert!(replayed <= REPLAYED_MAX && entries == calls + 12_000 + 5, "{replayed} of {entries}");
    assert_eq!(archive(&server.url), before);
    server.kill();

    fs::remove_dir_all(state(&place)).expect("there is a store");
    let (server, took, entries, replayed) = start(&place);
    println!("without state/: {took:?}, {replayed} of {entries} entries replayed");
    assert!(replayed <= REPLAYED_MAX + 1, "{replayed}");
    assert_eq!(archive(&server.url), before);
    stop(server);
}

/// Starts; if it serves, it serves the right thing.
fn right_or_refused(place: &Place, before: &(Vec<u8>, String), what: &str) -> bool {
    let mut child =
        place.exec(&["--checkpoint-every", "20"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut banner = String::new();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
    while stdout.read_line(&mut banner).expect("readable") > 0 && !banner.contains("Call log: ") {}
    let Some(port) = banner.lines().find_map(|line| line.strip_prefix("Serving at localhost:")) else {
        let output = child.wait_with_output().expect("it ends");
        println!("{what}: refused: {}", stderr(&output).trim_end());
        assert!(what.starts_with("another") || stderr(&output).contains("delete and rebuild it"), "{what}: {}", stderr(&output));
        assert_eq!(output.status.code(), Some(1), "{what}: {}", stderr(&output));
        return false;
    };
    let now = archive(&format!("localhost:{port}"));
    let _ = child.kill();
    let _ = child.wait();
    println!("{what}: it came up");
    assert_eq!(now.1, before.1, "{what}: the memory");
    assert!(now.0 == before.0, "{what}: the archive");
    true
}

/// A store of another backend, of a later time, or of another history of the same backend is not believed.
#[test]
fn a_store_that_belongs_elsewhere() {
    let (ours, other) = (place(), place());
    let run = |place: &Place, amount: &str, calls: u64| {
        let server = place.serve(&["--checkpoint-every", "20"]);
        let mut socket = Socket::connect(&server.url);
        for _ in 0..calls {
            socket.result("add", &format!("[{amount}]"));
        }
        let archive = archive(&server.url);
        stop(server);
        archive
    };
    run(&ours, "100", 50);
    run(&other, "300", 50);
    let common = ours.root().join("common");
    copy_dir(&ours.dir(), &common);
    let before = run(&ours, "100", 50);
    let honest = ours.root().join("honest");
    copy_dir(&ours.dir(), &honest);
    // The same backend from the copy: other calls, as many.
    let fork = |calls: u64| {
        copy_dir(&common, &ours.dir());
        run(&ours, "300", calls);
        let store = ours.root().join(format!("store-{calls}"));
        copy_dir(&state(&ours), &store);
        copy_dir(&honest, &ours.dir());
        store
    };
    for (what, store) in [
        ("another backend's store", state(&other)),
        ("an older store", common.join("state")),
        ("a later store of another history", fork(90)),
        ("an earlier store of another history", fork(20)),
        ("a store of another history, of the same length", fork(50)),
    ] {
        copy_dir(&honest, &ours.dir());
        copy_dir(&store, &state(&ours));
        let served = right_or_refused(&ours, &before, what);
        assert!(served || what.starts_with("another"), "{what}: it must come up");
    }
}

/// Files of a store that are cut, emptied, overwritten or gone.
#[test]
fn a_store_that_is_half_written() {
    let place = place();
    let server = place.serve(&["--checkpoint-every", "20"]);
    let mut socket = Socket::connect(&server.url);
    for _ in 0..200 {
        socket.result("add", "[100]");
    }
    let before = archive(&server.url);
    stop(server);
    let honest = place.root().join("honest");
    copy_dir(&place.dir(), &honest);
    let mut files = Vec::new();
    list(&honest.join("state"), &mut files);
    files.sort();
    let (mut came_up, mut refused) = (0, 0);
    for (number, file) in files.iter().enumerate() {
        let name = file.strip_prefix(&honest).expect("below").to_owned();
        let bytes = fs::read(file).expect("readable");
        let mut flipped = bytes.clone();
        if let Some(byte) = flipped.get_mut(bytes.len() / 2) {
            *byte ^= 1;
        }
        let damages: [(&str, Option<&[u8]>); 4] = [
            ("gone", None),
            ("empty", Some(&[])),
            ("half", Some(&bytes[..bytes.len() / 2])),
            ("with one bit flipped", Some(&flipped)),
        ];
        // Two kinds for each: all of them take half a minute.
        for (what, content) in [damages[number % 4], damages[(number + 2) % 4]] {
            if content.is_some_and(|content| content == bytes) {
                continue;
            }
            copy_dir(&honest, &place.dir());
            match content {
                None => fs::remove_file(place.dir().join(&name)).expect("there"),
                Some(content) => fs::write(place.dir().join(&name), content).expect("written"),
            }
            // As a crash leaves it that comes while the store is made: nobody has to do anything about that.
            let is_unfinished = name.ends_with("version") || name.ends_with("current");
            match right_or_refused(&place, &before, &format!("{} {what}", name.display())) {
                true => came_up += 1,
                false => {
                    assert!(!is_unfinished, "{} {what}", name.display());
                    refused += 1;
                }
            }
        }
    }
    println!("{came_up} came up, {refused} were refused");
    // What was refused is served again without the store, as the page of the command says.
    copy_dir(&honest, &place.dir());
    fs::remove_dir_all(state(&place)).expect("there");
    assert!(right_or_refused(&place, &before, "no store at all"));
    let output = verify(&[path(&place.dir())]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() { list(&path, files) } else { files.push(path) }
    }
}
