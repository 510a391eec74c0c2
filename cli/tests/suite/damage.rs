//! Damage to the directory of a server that has stopped, or was killed: what a crash leaves is repaired and said; everything
//! else is named, refused, and left as it is.

use crate::raw::{Socket, logged};
use crate::support::{Place, stderr, stdout};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const SCRIPT: &str = "let n = 0
exports.add = async text => { await System.files.writeFile('/last', text); return ++n }
exports.state = async () => [n, await System.files.readFile('/last')]";

/// A directory with a few calls; killed, so that its last transactions are not signed, or stopped.
fn place(calls: usize, killed: bool) -> Place {
    let place = Place::new("app.js", SCRIPT);
    let server = place.serve(&[]);
    let mut socket = Socket::connect(&server.url);
    for n in 0..calls {
        socket.result("add", &format!("[\"text {n}\"]"));
    }
    if killed {
        server.kill()
    } else {
        assert_eq!(server.stop(), Some(0))
    }
    place
}

/// Every file below a folder but those of the state, which is no truth.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                if path != dir.join("state") {
                    folders.push(path);
                }
            } else {
                found.insert(path.clone(), std::fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

/// The server must not start, must say `words`, and must not touch anything.
fn refused(place: &Place, what: &str, words: &[&str]) {
    let before = contents(&place.dir());
    let output = place.exec(&[]).output().expect("it starts");
    let message = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{what}: {message}");
    assert_eq!(stdout(&output), "", "{what}");
    for word in words {
        assert!(message.contains(word), "{what}: `{word}` is missing: {message}");
    }
    assert!(!message.contains("panicked"), "{what}: {message}");
    assert!(contents(&place.dir()) == before, "{what}: the directory was changed");
}

/// The server must start, with this state.
fn serves(place: &Place, state: &str) -> String {
    let server = place.serve(&[]);
    assert_eq!(Socket::connect(&server.url).result("state", "[]"), state);
    server.kill_and_log()
}

fn chunk(place: &Place) -> PathBuf {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(place.dir().join("ledger")).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    files.pop().expect("a chunk")
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

/// The offsets at which the transactions of a chunk begin.
fn offsets(place: &Place) -> Vec<usize> {
    let storage = ledger::Dir::open(&place.dir().join("ledger")).expect("a ledger");
    ledger::reader::Reader::open(&storage)
        .expect("chunks")
        .map(|located| located.expect("a transaction").offset as usize)
        .collect()
}

#[test]
fn a_torn_tail_is_cut_off_and_said() {
    let place = place(6, true);
    let (file, offsets) = (chunk(&place), offsets(&place));
    let whole = std::fs::read(&file).expect("a chunk");
    let last = *offsets.last().expect("a transaction");
    let calls = logged(&place.dir()).len();
    let is_call = |at: usize| whole[at..].windows(6).any(|bytes| bytes == b"{\"call");
    // Inside of the last transaction: after its first byte, in its header, in its middle, before its last byte.
    for cut in [last + 1, last + 4, last + 8, last + 9, (last + whole.len()) / 2, whole.len() - 1] {
        std::fs::write(&file, &whole[..cut]).expect("it is written");
        let left = if is_call(last) { calls - 1 } else { calls };
        let log = serves(&place, &format!("[{left},\"text {}\"]", left - 1));
        let bytes = cut - last;
        assert!(log.contains(&format!("Recovered: an unfinished transaction of {bytes} bytes")), "cut at {cut}: {log}");
        // The state that was asked for is a call too; the next round starts from the same bytes.
        for path in std::fs::read_dir(place.dir().join("ledger")).expect("a folder") {
            std::fs::remove_file(path.expect("an entry").path()).expect("it can go");
        }
    }
}

#[test]
fn a_flipped_bit_is_found_wherever_it_is() {
    for killed in [false, true] {
        let place = place(4, killed);
        let (file, offsets) = (chunk(&place), offsets(&place));
        let whole = std::fs::read(&file).expect("a chunk");
        let last = *offsets.last().expect("a transaction");
        // Each part of the first, the second and the last transaction, and places all over the file.
        let mut places: Vec<usize> = (0..24).map(|part| whole.len() * part / 24).collect();
        places.extend([0, 7, whole.len() - 1, whole.len() - 9]);
        places.extend(
            [offsets[0], offsets[1], last].iter().flat_map(|at| [at + 1, at + 7, at + 8, at + 12, at + 20, at + 40, at + 70]),
        );
        for (number, at) in places.into_iter().enumerate() {
            let mut changed = whole.clone();
            changed[at] ^= 1 << (number % 8);
            std::fs::write(&file, &changed).expect("it is written");
            refused(&place, &format!("bit {} of byte {at}", number % 8), &["ERROR:", &name(&file), "offset"]);
        }
        std::fs::write(&file, &whole).expect("it is written");
        serves(&place, "[4,\"text 3\"]");
    }
}

#[test]
fn missing_and_foreign_files_in_the_ledger() {
    let place = Place::new("app.js", SCRIPT);
    let server = place.serve(&[]);
    let mut socket = Socket::connect(&server.url);
    let text = "x".repeat(1 << 20);
    let chunks = || std::fs::read_dir(place.dir().join("ledger")).expect("a folder").count();
    // A chunk ends at a signature, and that has its own time.
    let mut calls = 0;
    while chunks() < 3 {
        calls += 1;
        assert_eq!(socket.result("add", &format!("[\"{text}\"]")), calls.to_string());
        assert!(calls < 500, "a chunk ends");
    }
    drop(socket);
    assert_eq!(server.stop(), Some(0));
    let mut files: Vec<String> = std::fs::read_dir(place.dir().join("ledger"))
        .expect("a folder")
        .map(|entry| name(&entry.expect("an entry").path()))
        .collect();
    files.sort_by_key(|name| name["ledger_".len()..].split(['-', '.']).next().and_then(|first| first.parse::<u64>().ok()));
    assert!(files.len() >= 3, "{files:?}");
    let path = |name: &str| place.dir().join("ledger").join(name);

    for missing in [0, files.len() - 2] {
        let aside = place.root().join("aside");
        std::fs::rename(path(&files[missing]), &aside).expect("it moves");
        refused(&place, &format!("{} is missing", files[missing]), &["missing", &files[missing + 1]]);
        std::fs::rename(&aside, path(&files[missing])).expect("it moves");
    }
    // A name that could be a chunk's is refused; anything else is nobody's business.
    for odd in ["ledger_x", "ledger_1-2.committed", "ledger_3.committed.ignored"] {
        std::fs::write(path(odd), "").expect("it is written");
        refused(&place, odd, &["ledger_"]);
        std::fs::remove_file(path(odd)).expect("it can go");
    }
    std::fs::write(path("notes.txt"), "mine").expect("it is written");
    let state = format!("[{calls},\"{text}\"]");
    serves(&place, &state);
    assert_eq!(std::fs::read(path("notes.txt")).expect("it is there"), b"mine");
}

#[test]
fn keys_that_are_others() {
    let mine = place(2, false);
    let other = place(2, false);
    let keys = |place: &Place| place.dir().join("keys");
    for entry in std::fs::read_dir(keys(&mine)).expect("a folder") {
        let file = entry.expect("an entry").file_name();
        let path = keys(&mine).join(&file);
        let whole = std::fs::read(&path).expect("a key");
        let what = file.to_string_lossy().into_owned();
        std::fs::copy(keys(&other).join(&file), &path).expect("it is copied");
        refused(&mine, &format!("{what} of another"), &["ERROR:"]);
        std::fs::write(&path, &whole[..whole.len() / 2]).expect("it is written");
        refused(&mine, &format!("half of {what}"), &["ERROR:"]);
        std::fs::write(&path, "").expect("it is written");
        refused(&mine, &format!("{what}, empty"), &["ERROR:"]);
        std::fs::remove_file(&path).expect("it can go");
        refused(&mine, &format!("{what} is missing"), &["ERROR:", &what]);
        std::fs::write(&path, &whole).expect("it is written");
    }
    std::fs::rename(keys(&mine), mine.root().join("aside")).expect("it moves");
    refused(&mine, "no keys", &["ERROR:", "keys"]);
    std::fs::rename(mine.root().join("aside"), keys(&mine)).expect("it moves");
    // With its own keys it serves.
    serves(&mine, "[2,\"text 1\"]");
}

#[test]
fn the_state_follows_from_the_ledger() {
    let place = place(3, false);
    let state = place.dir().join("state");
    let expected = "[3,\"text 2\"]";
    let _ = std::fs::remove_dir_all(&state);
    serves(&place, expected);
    // Every file of it is garbage.
    let mut folders = vec![state.clone()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { std::fs::write(&path, "garbage").expect("it is written") }
        }
    }
    serves(&place, expected);
}

#[test]
fn what_marks_the_directory() {
    let place = place(2, false);
    let marker = place.dir().join("glassbox.json");
    let text = std::fs::read_to_string(&marker).expect("a marker");
    for (what, changed) in [("another format", text.replace('2', "3")), ("empty", String::new()), ("garbage", "\u{0}".into())] {
        std::fs::write(&marker, changed).expect("it is written");
        refused(&place, what, &["glassbox.json"]);
    }
    std::fs::remove_file(&marker).expect("it can go");
    refused(&place, "no marker", &["not a Glassbox directory"]);
    std::fs::write(&marker, text).expect("it is written");
    serves(&place, "[2,\"text 1\"]");
}

/// The disk takes no more (here: no longer files), in the middle of the work. The server ends, and says so; what it had
/// acknowledged is there when there is room again.
#[test]
fn a_disk_that_is_full() {
    let place = place(1, false);
    let server = place.serve_as(with_small_files(&place, LESS_THAN_A_CHUNK));
    let mut socket = Socket::connect(&server.url);
    let text = "x".repeat(60_000);
    let mut acknowledged = 1;
    let ended = loop {
        socket.begin("add", &format!("[\"{text}\"]"));
        match socket.end() {
            Ok((_, reply)) => {
                acknowledged += 1;
                assert_eq!(reply, Ok(Some(acknowledged.to_string())));
            }
            Err(ended) => break ended,
        }
    };
    let (code, log) = server.wait();
    assert_eq!(code, Some(1), "{ended}: {log}");
    assert!(log.contains("the ledger cannot be written"), "{log}");
    assert!(acknowledged > 10, "{acknowledged}");
    let server = place.serve(&[]);
    let state = Socket::connect(&server.url).result("state", "[]");
    let n: u64 = state[1..].split(',').next().and_then(|n| n.parse().ok()).expect("a number");
    // The call that was under way may be there or not.
    assert!(n == acknowledged || n == acknowledged + 1, "{n} calls, {acknowledged} acknowledged");
}

/// The same before there is anything: nothing is left behind.
#[test]
fn no_room_for_a_new_directory() {
    // In the ledger each of these characters takes six bytes.
    let place = Place::new("app.js", &format!("{SCRIPT}\n//{}", "\u{1}".repeat(1_000_000)));
    let output = with_small_files(&place, 11_264).output().expect("it starts");
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    assert!(stderr(&output).contains("ERROR: the ledger cannot be written"), "{}", stderr(&output));
    let left: Vec<String> =
        std::fs::read_dir(place.root()).expect("a folder").map(|entry| name(&entry.expect("an entry").path())).collect();
    assert_eq!(left, ["app.js"], "{}", stderr(&output));
}

/// Of 512 bytes: 4.5 MiB, which is less than a chunk, and more than anything else that a small script's server writes.
const LESS_THAN_A_CHUNK: u32 = 9_216;

/// A server that can make no file longer than so many blocks. A heap counts as a file.
fn with_small_files(place: &Place, blocks: u32) -> std::process::Command {
    let plain = place.exec(&[]);
    let mut limited = std::process::Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    limited.args(["-c", &script]).arg(plain.get_program()).args(plain.get_args());
    limited.current_dir(place.root());
    limited
}
