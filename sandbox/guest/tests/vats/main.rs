//! Liveslots and a vat's world, on the engine that runs in the sandbox: against golden transcripts, and against Node with Endo's
//! packages and Agoric's liveslots.
//!
//! `tests/vats/liveslots.js` plays the kernel; `tests/vats/liveslots.golden` is what it prints. `data.js` does the same with a
//! store. `UPDATE_GOLDEN=1` writes them anew. The packages are those of `endo/package.json`; `scripts/test-deps.sh` brings them
//! to a folder whose name is in GLASSBOX_TEST_DEPS.

mod harness;

use std::path::{Path, PathBuf};
use std::process::Command;

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vats").join(name)
}

fn same(name: &str, is: &[&str], should: &[&str]) {
    for (number, (is, should)) in is.iter().zip(should).enumerate() {
        assert_eq!(is, should, "{name}: line {}", number + 1);
    }
    assert_eq!(is.len(), should.len(), "{name}: lines");
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn compare(name: &str) {
    let text = harness::run(&file(&format!("{name}.js"))).unwrap_or_else(|error| panic!("{error}"));
    let golden = file(&format!("{name}.golden"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).expect("write");
    }
    same(name, &lines(&text), &lines(&std::fs::read_to_string(&golden).expect("a golden transcript")));
}

#[test]
fn liveslots() {
    compare("liveslots");
}

#[test]
fn data() {
    compare("data");
}

/// What a script prints under Node 20 with the packages, if the environment names their folder.
fn node(script: &str) -> Option<String> {
    let Some(folder) = std::env::var_os("GLASSBOX_TEST_DEPS") else {
        eprintln!("no GLASSBOX_TEST_DEPS: {script} is not run");
        return None;
    };
    let version = Command::new("node").arg("--version").output().ok();
    if !version.is_some_and(|version| version.stdout.starts_with(b"v20.")) {
        eprintln!("no Node 20 here: {script} is not run");
        return None;
    }
    let folder = Path::new(&folder).join("endo");
    assert!(folder.join("done.json").exists(), "{}: bring it with scripts/test-deps.sh", folder.display());
    let flags = ["--expose-gc", "--single-threaded"];
    let output = Command::new("node").args(flags).arg(file(script)).arg(&folder).output().expect("node starts");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

#[test]
fn a_vats_world_is_that_of_endo() {
    let Some(theirs) = node("oracle.mjs") else { return };
    let ours = harness::evaluate(&file("ours.mjs")).unwrap_or_else(|error| panic!("{error}"));
    same("ours.mjs", &lines(&ours), &lines(&theirs));
}

/// A scenario, a line of it, and what Agoric's liveslots prints there.
const NOT_AS_LIVESLOTS: &[(&str, &str, &str)] = &[
    // Theirs have the tag on the classes, not on what these make.
    (
        "== WeakMap and WeakSet",
        r#"    log("[object WeakMap]" "[object WeakSet]")"#,
        r#"    log("[object Object]" "[object Object]")"#,
    ),
    // Theirs fails as well, but not on purpose: it looks for the field in a shape that is not there.
    (
        "== shape changes: { n: M.number() } to undefined",
        r#"  = Error: durable Kind stateShape mismatch (body "n")"#,
        "  = TypeError: Cannot convert undefined or null to object",
    ),
];

/// The golden transcript but for the lines with `>`, which they do not print.
#[test]
fn virtual_data_is_that_of_liveslots() {
    let Some(theirs) = node("data-oracle.mjs") else { return };
    let golden = std::fs::read_to_string(file("data.golden")).expect("a golden transcript");
    let (mut scenario, mut differ) = ("", 0);
    let mut expected = Vec::new();
    for line in golden.lines().filter(|line| !line.starts_with("  > ")) {
        if line.starts_with("== ") {
            scenario = line;
        }
        let other = NOT_AS_LIVESLOTS.iter().find(|&&(name, ours, _)| (name, ours) == (scenario, line));
        differ += usize::from(other.is_some());
        expected.push(other.map_or(line, |&(_, _, theirs)| theirs));
    }
    assert_eq!(differ, NOT_AS_LIVESLOTS.len(), "one line for each that is listed");
    same("data-oracle.mjs", &lines(&theirs), &expected);
}
