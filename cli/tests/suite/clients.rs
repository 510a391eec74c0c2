//! Clients and auditors that are not ours: nodevms-client from npm, ccf from PyPI. `scripts/test-deps.sh` brings them.

use crate::raw::Socket;
use crate::support::{Place, run, stderr, stdout};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder with `node/` and `venv/`; brought once, if it is not there yet.
pub fn deps() -> &'static Path {
    static DEPS: OnceLock<PathBuf> = OnceLock::new();
    DEPS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("below target").join("test-deps");
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/test-deps.sh");
        let output = Command::new(&script).arg(&folder).output().expect("the script starts");
        assert!(output.status.success(), "{}: {}", script.display(), stderr(&output));
        folder
    })
}

const BACKEND: &str = r#"
exports.echo = x => x
exports.nothing = () => {}
exports.func = () => () => 1
exports.symbol = () => Symbol('s')
exports.throwError = why => { throw Object.assign(new Error(why), { extra: 1 }) }
exports.throwType = async () => { throw new TypeError('größe') }
exports.throwString = () => { throw 'a string' }
const counts = {}
exports.count = name => counts[name] = (counts[name] || 0) + 1
exports.slow = () => { let x = 0; for (let i = 0; i < 4e6; i++) x += i; return x }
exports.who = () => System.caller.id
exports.dates = () => ({ nan: NaN, date: new Date(0), map: new Map([[1, 2]]), set: new Set([1]), bytes: new Uint8Array([1, 2]), no: undefined })
exports.init = () => {}
"#;

fn drive(flags: &[&str], mode: &str) {
    let place = Place::new("backend.js", BACKEND);
    let server = place.serve(flags);
    let script = deps().join("node/nodevms.js");
    let run = |script: &Path| {
        let url = format!("ws://{}", server.url);
        Command::new("node").arg(script).arg(url).arg(mode).output().expect("node starts")
    };
    let output = run(&script);
    assert!(output.status.success(), "{}{}\n{}", stdout(&output), stderr(&output), server.log());
    // What it did replays.
    assert_eq!(server.stop(), Some(0));
    place.serve(flags);
}

#[test]
fn nodevms_client_works_unmodified() {
    drive(&[], "plain");
}

#[test]
fn nodevms_client_names_its_user_under_debug() {
    drive(&["--debug"], "debug");
}

fn validate(args: &[&std::ffi::OsStr]) -> std::process::Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/clients/validate.py");
    Command::new(deps().join("venv/bin/python")).arg(program).args(args).output().expect("python starts")
}

/// Checks a saved receipt with the public tools.
pub fn validate_receipt(file: &Path, service_cert: &Path) -> std::process::Output {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/clients/receipt.py");
    Command::new(deps().join("venv/bin/python")).arg(program).arg(file).arg(service_cert).output().expect("python starts")
}

/// The JavaScript client of this repository has its own tests; here they meet the command that was just built.
#[test]
fn the_client_for_javascript() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("../clients/js");
    let mut node = Command::new("node");
    // What runs Node's tests in a process of their own would not be seen otherwise.
    node.args(["--test", "test/"]).current_dir(tests).env("GLASSBOX", env!("CARGO_BIN_EXE_glassbox")).env_remove("NODE_OPTIONS");
    let output = match node.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return eprintln!("skipped: there is no Node"),
        output => output.expect("node starts"),
    };
    let report = stdout(&output);
    assert!(output.status.success(), "{report}{}", stderr(&output));
    assert!(report.contains("skipped 0"), "{report}");
}

/// Several clients at once make a ledger of several chunks; ccf accepts it, and refuses it after a change of one byte.
#[test]
fn ccf_validates_what_the_server_wrote() {
    let place = Place::new(
        "notes.js",
        "exports.note = async (n, text) => { await System.files.writeFile('/note', text); if (n % 7 == 0) throw new Error(n) }",
    );
    let server = place.serve(&[]);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let url = &server.url;
            scope.spawn(move || {
                let mut socket = Socket::connect(url);
                let text = "x".repeat(24 << 10);
                for n in 0..200 {
                    socket.begin("note", &format!("[{n},\"{client} {text}\"]"));
                }
                for _ in 0..200 {
                    let (_, _reply) = socket.end().expect("a reply");
                }
            });
        }
    });
    assert_eq!(server.stop(), Some(0));
    let ledger = place.dir().join("ledger");
    let output = validate(&[ledger.as_os_str()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let counts: Vec<u64> = stdout(&output).split_whitespace().map(|number| number.parse().expect("a number")).collect();
    let [transactions, signatures, chunks] = counts[..] else { panic!("{counts:?}") };
    assert!(transactions >= 800 + signatures && signatures > 2 && chunks >= 2, "{counts:?}");

    // One byte, in each chunk: inside of a value, in a transaction's digest, in a signature.
    let mut files: Vec<_> = std::fs::read_dir(&ledger).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    let first_seqno = |file: &std::path::PathBuf| {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        name.trim_start_matches("ledger_").split(['-', '.']).next().and_then(|n| n.parse::<u64>().ok()).expect("a number")
    };
    files.sort_by_key(first_seqno);
    let last = &files[files.len() - 1].clone();
    for file in files {
        let bytes = std::fs::read(&file).expect("a chunk");
        for (part, of) in [(1, 10), (1, 2), (9, 10)] {
            let mut changed = bytes.clone();
            let at = bytes.len() * part / of;
            changed[at] ^= 1;
            std::fs::write(&file, &changed).expect("it is written");
            let output = validate(&[ledger.as_os_str(), "refused".as_ref()]);
            assert!(output.status.success(), "{}, offset {at}: {}", file.display(), stderr(&output));
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            let audited = run(&["verify", &place.dir().to_string_lossy()]);
            assert_eq!(audited.status.code(), Some(1), "{name}, offset {at}: {}", stderr(&audited));
            assert!(stderr(&audited).contains(&name), "{}", stderr(&audited));
            // A start reads from the last checkpoint on, which is in the last chunk.
            if &file == last {
                let mut server = place.exec(&[]);
                let refused = server.output().expect("it starts");
                assert_eq!(refused.status.code(), Some(1), "{name}, offset {at}: {}", stderr(&refused));
                assert!(stderr(&refused).contains(&name), "{}", stderr(&refused));
            }
        }
        std::fs::write(&file, &bytes).expect("it is written");
    }
    place.serve(&[]);
}
