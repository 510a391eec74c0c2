//! Programs that others wrote.

use crate::clients::deps;
use serde_json::Value;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Runs a program with something to read; it must succeed. What it prints.
pub fn output(mut command: Command, input: &[u8]) -> Vec<u8> {
    let output = attempt(&mut command, input);
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{said}{complained}", output.status);
    output.stdout
}

/// The same, however it ends.
pub fn attempt(command: &mut Command, input: &[u8]) -> Output {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().expect("piped");
    std::thread::scope(|scope| {
        // Who does not read to the end closes the pipe; that is no failure of ours.
        scope.spawn(move || stdin.write_all(input));
        child.wait_with_output().expect("it ends")
    })
}

/// The folder of what was brought from npm: `node_modules`.
fn node() -> PathBuf {
    deps().join("node")
}

/// A program of the Python environment.
pub fn python(program: &str) -> Command {
    Command::new(deps().join("venv/bin").join(program))
}

/// A script of `clients/`.
pub fn script(name: &str) -> Command {
    let mut command = python("python");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/clients").join(name));
    command
}

/// `openssl`, with a command line.
pub fn openssl(line: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args(line.split_whitespace());
    command
}

/// The app in TypeScript, built: `app.json`, `src/` and `bundle.json`. Once, by npm's own scripts.
pub fn built() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/foreign/app");
        let folder = fresh(Path::new(env!("CARGO_TARGET_TMPDIR")));
        copy(&source, &folder);
        std::os::unix::fs::symlink(node().join("node_modules"), folder.join("node_modules")).expect("a link");
        for task in ["build", "bundle"] {
            let mut npm = Command::new("npm");
            npm.args(["run", "--silent", task]).current_dir(&folder);
            output(npm, b"");
        }
        folder.join("dist")
    })
}

/// A folder of this process; those of processes that have ended are deleted.
fn fresh(within: &Path) -> PathBuf {
    const PREFIX: &str = "foreign-app-";
    for entry in std::fs::read_dir(within).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if let Some(process) = name.strip_prefix(PREFIX)
            && !Path::new("/proc").join(process).exists()
        {
            let _ = std::fs::remove_dir_all(&path);
        }
    }
    within.join(format!("{PREFIX}{}", std::process::id()))
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &name);
        } else {
            std::fs::copy(&path, &name).expect("copied");
        }
    }
}

/// What the app's handlers answer in Node: see `app/oracle.mjs`.
pub fn oracle(requests: &Value) -> Vec<Value> {
    let mut command = Command::new("node");
    command.arg(built().parent().expect("it is in a folder").join("oracle.mjs"));
    let bodies = output(command, requests.to_string().as_bytes());
    serde_json::from_slice(&bodies).expect("JSON")
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex digits")).collect()
}
