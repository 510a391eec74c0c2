//! Terminal sessions, compared as text. `UPDATE_EXPECT=1` writes them anew.
//!
//! A transcript is what a terminal shows: `$ command`, then its output, its errors, and `[exit N]` if that is not 0. Lines
//! that begin with `# ` are remarks. Commands run in a shell, in a folder with the repository's `examples`; three things
//! are special:
//!
//! - `glassbox exec … &` serves in the background on a free port, which reads as 5555 everywhere;
//! - `kill %1` and `kill -9 %1` end that server;
//! - what follows `> ` and `... ` is typed into `glassbox repl`.
//!
//! Keys, times, transaction ids and the folder are replaced by placeholders.

use crate::support;
use expect_test::expect_file;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

macro_rules! transcripts {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let name = stringify!($name).replace('_', "-");
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/transcripts").join(name + ".txt");
            let transcript = std::fs::read_to_string(&path).expect("there is a transcript");
            expect_file![path].assert_eq(&Terminal::new().replay(&transcript));
        }
    )*};
}

transcripts! {
    counter
    persistent_counter
    secure_counter
    photo_album
    dice
    failing_call
    log
    edited_script
    es_module
    guest_list
}

/// The port that transcripts show.
const PORT: &str = "5555";

/// The folder that transcripts show.
const FOLDER: &str = "/home/bob";

struct Terminal {
    folder: TempDir,
    server: Option<(Child, String)>,
}

impl Terminal {
    fn new() -> Terminal {
        let folder = tempfile::tempdir().expect("a folder");
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
        for entry in std::fs::read_dir(examples).expect("there are examples") {
            let entry = entry.expect("readable");
            // Bundles are folders.
            if entry.path().is_dir() {
                continue;
            }
            std::fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("copied");
        }
        Terminal { folder, server: None }
    }

    /// Runs the commands of a transcript, and gives what it should have said.
    fn replay(&mut self, transcript: &str) -> String {
        let mut shown = String::new();
        let mut lines = transcript.lines().peekable();
        let mut output_follows = false;
        while let Some(line) = lines.next() {
            if let Some(command) = line.strip_prefix("$ ") {
                let typed: String =
                    std::iter::from_fn(|| lines.next_if(|line| !line.starts_with("$ ") && !line.starts_with("# ")))
                        .filter_map(|line| line.strip_prefix("> ").or(line.strip_prefix("... ")))
                        .flat_map(|line| [line, "\n"])
                        .collect();
                // Else a transcript that lost what is typed would go on passing.
                let interactive = command.contains("glassbox repl") && !command.contains(" -e ");
                assert!(!interactive || !typed.is_empty(), "nothing is typed into: {command}");
                shown += &format!("{line}\n{}", self.run(command, &typed));
                output_follows = true;
            } else {
                assert!(line.starts_with("# ") || !output_follows, "output without a command: {line}");
                shown += &format!("{line}\n");
            }
        }
        shown
    }

    fn run(&mut self, command: &str, typed: &str) -> String {
        let output = if let Some(exec) = command.strip_suffix(" &") {
            self.serve(exec)
        } else if let Some(signal) = command.strip_prefix("kill ").and_then(|rest| rest.strip_suffix("%1")) {
            self.end(signal.trim())
        } else {
            let port = self.server.as_ref().map_or(PORT, |(_, port)| port);
            let mut child = self.shell(&command.replace(PORT, port), Stdio::piped());
            child.stdin.take().expect("piped").write_all(typed.as_bytes()).expect("it reads what is typed");
            all(&child.wait_with_output().expect("it ends"))
        };
        self.placeholders(&output)
    }

    fn shell(&self, command: &str, stdin: Stdio) -> Child {
        let binary = support::glassbox().get_program().to_owned();
        let mut path = Path::new(&binary).parent().expect("it is in a folder").as_os_str().to_owned();
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).current_dir(self.folder.path()).env("PATH", path).env("HOME", self.folder.path());
        shell.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a shell starts")
    }

    /// Starts the server, and gives what it prints until it serves, or all if it does not.
    fn serve(&mut self, exec: &str) -> String {
        assert!(self.server.is_none(), "one server at a time");
        let mut child = self.shell(&format!("exec {exec} -p 0"), Stdio::null());
        let mut stderr = child.stderr.take().expect("piped");
        let errors = std::thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            text
        });
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut banner = String::new();
        while !banner.contains("Call log: ") {
            if stdout.read_line(&mut banner).expect("readable") == 0 {
                let code = child.wait().expect("it ends").code();
                return format!("{banner}{}[exit {}]\n", errors.join().expect("read"), code.unwrap_or(-1));
            }
        }
        let served = banner.lines().find_map(|line| line.strip_prefix("Serving at localhost:")).expect("a port");
        let port: String = served.chars().take_while(char::is_ascii_digit).collect();
        self.server = Some((child, port));
        banner
    }

    fn end(&mut self, signal: &str) -> String {
        let (mut child, port) = self.server.take().expect("a server runs");
        let signal = if signal.is_empty() { "-15" } else { signal };
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill runs");
        assert!(sent.success());
        let code = child.wait().expect("it ends").code();
        drop(port);
        if code.unwrap_or(0) == 0 { String::new() } else { format!("[exit {}]\n", code.unwrap_or(0)) }
    }

    fn placeholders(&self, output: &str) -> String {
        let folder = self.folder.path().to_string_lossy().into_owned();
        let mut text = output.replace(&folder, FOLDER);
        if let Some((_, port)) = &self.server {
            text = text.replace(&format!("localhost:{port}"), &format!("localhost:{PORT}"));
        }
        let text = replace_runs(&text, "hyper://", |c| c.is_ascii_hexdigit(), "<64 hex>");
        let text = replace_runs(&text, "\"time\":", |c| c.is_ascii_digit(), "<ms>");
        let text = replace_runs(&text, "\"transaction\":\"", |c| c.is_ascii_digit() || c == '.', "<id>");
        text.lines().map(|line| hide_id(line) + "\n").collect()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if let Some((child, _)) = &mut self.server {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn all(output: &Output) -> String {
    let mut text = support::stdout(output);
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text += &support::stderr(output);
    match output.status.code() {
        Some(0) => text,
        code => format!("{text}[exit {}]\n", code.unwrap_or(-1)),
    }
}

/// Replaces what follows each `mark`, as long as it is such characters.
fn replace_runs(text: &str, mark: &str, is_part: impl Fn(char) -> bool, placeholder: &str) -> String {
    let mut pieces = text.split(mark);
    let mut replaced = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let rest = piece.trim_start_matches(&is_part);
        replaced += mark;
        replaced += if rest.len() < piece.len() { placeholder } else { "" };
        replaced += rest;
    }
    replaced
}

/// A row of the call log: its transaction id depends on when signatures were made.
fn hide_id(line: &str) -> String {
    let number = line.trim_start();
    let digits = number.chars().take_while(char::is_ascii_digit).count();
    let Some(rest) = number[digits..].strip_prefix("  ").filter(|_| digits > 0) else { return line.to_owned() };
    let id = rest.split(' ').next().unwrap_or_default();
    match id.split_once('.') {
        Some((view, seqno)) if view.parse::<u64>().is_ok() && seqno.parse::<u64>().is_ok() => {
            let indent = &line[..line.len() - number.len()];
            format!("{indent}{}  <id>  {}", &number[..digits], rest[id.len()..].trim_start())
        }
        _ => line.to_owned(),
    }
}
