//! The constitutions that come with Glassbox, in Node: what they refuse, and what they write.

use std::process::Command;

#[test]
fn constitutions() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundle_gov/constitution.mjs");
    let output = Command::new("node").args(["--test", script]).output().expect("node starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}
