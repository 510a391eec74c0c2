//! Liveslots against its golden transcript: deliveries and syscalls, on the engine that runs in the sandbox.
//!
//! `tests/vats/liveslots.js` plays the kernel; `tests/vats/liveslots.golden` is what it prints. `UPDATE_GOLDEN=1` writes it anew.

mod harness;

use std::path::Path;

#[test]
fn liveslots() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text =
        harness::run(&home.join("prelude/vats"), &home.join("tests/vats/liveslots.js")).unwrap_or_else(|error| panic!("{error}"));
    let golden = home.join("tests/vats/liveslots.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&golden, &text).expect("write");
    }
    let expected = std::fs::read_to_string(&golden).expect("liveslots.golden");
    for (number, (is, should)) in text.lines().zip(expected.lines()).enumerate() {
        assert_eq!(is, should, "line {}", number + 1);
    }
    assert_eq!(text.lines().count(), expected.lines().count());
}

/// The realms here are those of the sandbox.
#[test]
fn prelude() {
    let vat = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/vat.rs")).expect("vat.rs");
    let list = vat.split_once("prelude![").expect("its prelude").1.split_once(']').expect("its end").0;
    let names: Vec<&str> = list.split(',').map(|name| name.trim().trim_matches('"')).collect();
    assert_eq!(names, harness::PRELUDE);
}
