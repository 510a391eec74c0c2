//! Hostile and odd scripts. Each folder entry `scripts/NAME.js` is called method by method; `scripts/NAME.txt` says what came
//! back (`UPDATE_EXPECT=1` writes it anew). Around every call it is checked that
//!
//! - another client's call works, and a failed call left nothing behind;
//! - the ledger has the call as it was received, with its result or its error;
//! - the ledger replays to the same, in other environments too, and the state is what it was.

use crate::raw::{Reply, Socket, logged, shown};
use crate::support::Place;
use expect_test::{ExpectFile, expect_file};
use std::fmt::Write;

/// The environments in which a ledger must replay: variables, working directory.
type Environment = (&'static [(&'static str, &'static str)], &'static str);

const ENVIRONMENTS: [Environment; 2] = [
    (
        &[
            ("TZ", "Asia/Kathmandu"),
            ("LANG", "de_DE.UTF-8"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("HOME", "/nonexistent"),
            ("NODE_ENV", "test"),
        ],
        "/",
    ),
    (
        &[("TZ", "America/St_Johns"), ("LC_ALL", "C"), ("RUST_BACKTRACE", "full"), ("RUST_LOG", "trace"), ("TMPDIR", "/tmp")],
        "/tmp",
    ),
];

/// Makes the calls one after the other, and writes down what they come to.
fn session(name: &str, source: &str, flags: &[&str], calls: &[(String, String)], expected: ExpectFile) {
    let place = Place::new(name, source);
    let server = place.serve(flags);
    let mut client = Socket::connect(&server.url);
    let mut other = Socket::connect(&server.url);
    let mut transcript = String::new();
    let mut replies: Vec<(String, String, Reply)> = Vec::new();
    let mut pings = 0;
    for (method, args) in calls {
        let before = client.result("dump", "[]");
        replies.push(("dump".into(), "[]".into(), Ok(Some(before.clone()))));
        let reply = client.call(method, args);
        writeln!(transcript, "{method} {args}\n  {}", shown(&reply)).expect("a string takes everything");
        let failed = reply.is_err();
        replies.push((method.clone(), args.clone(), reply));
        if failed {
            let after = client.result("dump", "[]");
            assert_eq!(after, before, "{method} {args} failed and left a trace");
            replies.push(("dump".into(), "[]".into(), Ok(Some(after))));
        }
        pings += 1;
        assert_eq!(other.result("ping", "[]"), pings.to_string(), "after {method} {args}");
        replies.push(("ping".into(), "[]".into(), Ok(Some(pings.to_string()))));
    }
    let state = client.result("dump", "[]");
    replies.push(("dump".into(), "[]".into(), Ok(Some(state.clone()))));
    assert_eq!(server.stop(), Some(0), "it stops as if nothing had been");
    let log = logged(&place.dir());
    for (logged, replied) in log.iter().zip(&replies) {
        assert_eq!(logged, replied);
    }
    assert_eq!(log.len(), replies.len());

    // A restart runs the whole ledger again and refuses any difference.
    for (number, (variables, folder)) in ENVIRONMENTS.iter().enumerate() {
        let mut command = place.exec(flags);
        command.env_clear().envs(variables.iter().copied()).current_dir(folder).arg("--dir").arg(place.dir());
        let server = place.serve_as(command);
        let mut client = Socket::connect(&server.url);
        assert_eq!(client.result("dump", "[]"), state, "replay {number}");
        server.kill();
    }
    expected.assert_eq(&transcript);
}

/// Calls every method of the script once, without arguments.
fn all_methods(source: &str) -> Vec<(String, String)> {
    let place = Place::new("methods.js", source);
    let server = place.serve(&[]);
    let methods = Socket::connect(&server.url).methods();
    methods.into_iter().filter(|name| name != "ping" && name != "dump").map(|name| (name, "[]".into())).collect()
}

/// Limits that are reached soon.
const TIGHT: [&str; 4] = ["--instructions", "2000000000", "--heap-mib", "12"];

#[test]
fn hogs() {
    let source = include_str!("scripts/hogs.js");
    session("hogs.js", source, &TIGHT, &all_methods(source), expect_file!["scripts/hogs.txt"]);
}

/// The limits that a server has if nothing is said.
#[test]
fn hogs_with_the_default_limits() {
    let source = include_str!("scripts/hogs.js");
    let calls = ["loop", "hogArrays", "recursion", "hogBuffer"].map(|name| (name.to_owned(), "[]".to_owned()));
    session("hogs.js", source, &[], &calls, expect_file!["scripts/hogs-default.txt"]);
}

#[test]
fn throws() {
    let source = include_str!("scripts/throws.js");
    session("throws.js", source, &TIGHT, &all_methods(source), expect_file!["scripts/throws.txt"]);
}

#[test]
fn escapes() {
    let source = include_str!("scripts/escapes.js");
    session("escapes.js", source, &TIGHT, &all_methods(source), expect_file!["scripts/escapes.txt"]);
}

#[test]
fn timers() {
    let source = include_str!("scripts/timers.js");
    session("timers.js", source, &TIGHT, &all_methods(source), expect_file!["scripts/timers.txt"]);
}

#[test]
fn files() {
    let calls: Vec<(String, String)> = include_str!("scripts/files.calls")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| match line.split_once(' ') {
            Some((method @ ("several" | "unawaited" | "mutates"), args)) => (method.to_owned(), args.to_owned()),
            Some((method, args)) => {
                // Arguments stand side by side, as on a command line.
                let values: Vec<serde_json::Value> = serde_json::Deserializer::from_str(&args.replace("\\ud800", "\u{e000}"))
                    .into_iter()
                    .map(|value| value.expect(line))
                    .collect();
                let values: Vec<String> = values.iter().map(ToString::to_string).collect();
                ("op".to_owned(), format!("[\"{method}\",{}]", values.join(",")).replace('\u{e000}', "\\ud800"))
            }
            None => ("op".to_owned(), format!("[\"{line}\"]")),
        })
        .collect();
    session("files.js", include_str!("scripts/files.js"), &TIGHT, &calls, expect_file!["scripts/files.txt"]);
}

/// Whatever a script does to the builtins, the realm's own machinery goes on.
#[test]
fn mutants() {
    let source = include_str!("scripts/mutants.js");
    let mut transcript = String::new();
    for (breaking, _) in all_methods(source) {
        if !breaking.starts_with("break_") && breaking != "deleteGlobals" {
            continue;
        }
        let place = Place::new("mutants.js", source);
        let server = place.serve(&[]);
        let mut client = Socket::connect(&server.url);
        let mut other = Socket::connect(&server.url);
        for (method, args) in
            [("work", "[1]"), (&breaking, "[]"), ("work", "[2]"), ("fail", "[]"), ("files", "[]"), ("work", "[3]")]
        {
            let reply = client.call(method, args);
            writeln!(transcript, "{method} {args}\n  {}", shown(&reply)).expect("a string takes everything");
        }
        assert_eq!(other.result("ping", "[]"), "1", "{breaking}");
        let dump = client.call("dump", "[]");
        server.kill();
        let server = place.serve(&[]);
        assert_eq!(Socket::connect(&server.url).call("dump", "[]"), dump, "{breaking}");
    }
    expect_file!["scripts/mutants.txt"].assert_eq(&transcript);
}

/// `Date` and `Math.random` are of the call: frozen, recorded, and other ones in the next call.
#[test]
fn time_and_chance_are_recorded() {
    let source = "const seen = []
        exports.look = async () => {
          const at = [Date.now(), Math.random(), Math.random(), new Date().toISOString(), new Date(2026, 5, 1).getTime(), String(new Date())]
          await new Promise(done => setTimeout(done, 5))
          at.push(Date.now() - at[0])
          seen.push(at)
          return at
        }
        exports.ping = () => 0
        exports.dump = () => seen";
    let place = Place::new("chance.js", source);
    let server = place.serve(&[]);
    let mut socket = Socket::connect(&server.url);
    let looks: Vec<String> = (0..20).map(|_| socket.result("look", "[]")).collect();
    for pair in looks.windows(2) {
        let [a, b] = pair else { unreachable!() };
        let read = |text: &str| serde_json::from_str::<Vec<serde_json::Value>>(text).expect("an array");
        let (a, b) = (read(a), read(b));
        assert!(a[0].as_u64() <= b[0].as_u64(), "time runs forward");
        assert!(a[1] != b[1] && a[1] != a[2], "{a:?} {b:?}");
        assert_eq!(a[6], 5);
    }
    server.kill();
    for (variables, folder) in ENVIRONMENTS {
        let mut command = place.exec(&[]);
        command.env_clear().envs(variables.iter().copied()).current_dir(folder).arg("--dir").arg(place.dir());
        let server = place.serve_as(command);
        assert_eq!(Socket::connect(&server.url).result("dump", "[]"), format!("[{}]", looks.join(",")));
    }
}
