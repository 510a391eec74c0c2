//! Liveslots against golden transcripts: deliveries and syscalls, on the engine that runs in the sandbox.
//!
//! `tests/vats/liveslots.js` plays the kernel; `tests/vats/liveslots.golden` is what it prints. `data.js` does the same with a
//! store. `UPDATE_GOLDEN=1` writes them anew.

mod harness;

use std::path::Path;

fn compare(name: &str) {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = harness::run(&home.join("prelude/vats"), &home.join(format!("tests/vats/{name}.js")))
        .unwrap_or_else(|error| panic!("{error}"));
    let golden = home.join(format!("tests/vats/{name}.golden"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).expect("write");
    }
    let expected = std::fs::read_to_string(&golden).expect("a golden transcript");
    for (number, (is, should)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should, "{name}: line {}", number + 1);
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

#[test]
fn liveslots() {
    compare("liveslots");
}

#[test]
fn data() {
    compare("data");
}

/// The realms here are those of the sandbox.
#[test]
fn prelude() {
    let vat = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vat.rs")).expect("vat.rs");
    let list = vat.split_once("prelude![").expect("its prelude").1.split_once(']').expect("its end").0;
    let names: Vec<&str> = list.split(',').map(|name| name.trim().trim_matches('"')).collect();
    assert_eq!(names, harness::PRELUDE);
}
