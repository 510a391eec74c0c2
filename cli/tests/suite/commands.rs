//! Bad input: a clear error on stderr, the exit code, nothing written. And the spellings of an address.

use crate::support::{Place, Server, example, glassbox, run, stderr, stdout};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn counter() -> Place {
    Place::new("counter.js", &example("counter.js"))
}

/// It says so, and exits so.
fn check(output: &Output, code: i32, says: &str) {
    let error = stderr(output);
    assert_eq!(output.status.code(), Some(code), "{error}{}", stdout(output));
    assert!(error.contains(says), "{says:?} is expected in:\n{error}");
    assert!(!error.contains("panicked"), "{error}");
}

/// `exec` refuses with exit code 1, and leaves the folder as it was.
fn check_refused(place: &Place, args: &[&str], says: &str) {
    let before = tree(place.root());
    let output = place.exec(args).stdin(Stdio::null()).output().expect("the command starts");
    check(&output, 1, says);
    assert_eq!(tree(place.root()), before);
    assert_eq!(stdout(&output), "");
}

/// Everything below a folder, with its content.
fn tree(root: &Path) -> Vec<(std::path::PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("readable") {
            let path = entry.expect("readable").path();
            found.push((path.clone(), std::fs::read(&path).ok()));
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}

#[test]
fn exec_without_a_script() {
    let place = counter();
    std::fs::remove_file(place.script()).expect("removed");
    check_refused(&place, &[], "Failed to load");
    check_refused(&place, &[], "No such file");
}

#[test]
fn exec_of_what_cannot_be_read() {
    let place = counter();
    std::fs::remove_file(place.script()).expect("removed");
    std::fs::create_dir(place.script()).expect("made");
    check_refused(&place, &[], "Failed to load");
    std::fs::remove_dir(place.script()).expect("removed");
    std::fs::write(place.script(), b"exports.x = '\xff'").expect("written");
    check_refused(&place, &[], "UTF-8");
}

#[test]
fn exec_of_a_syntax_error() {
    let place = Place::new("broken.js", "var i = 0\nexports.increment = function () {\n  i +* 1\n}\n");
    check_refused(&place, &[], "broken.js:3:6");
    check_refused(&place, &[], "SyntaxError");
}

#[test]
fn exec_of_a_script_that_throws() {
    let place = Place::new("thrower.js", "exports.x = () => 1\nnull.y\n");
    check_refused(&place, &[], "TypeError");
}

#[test]
fn exec_without_exports() {
    for source in ["", "var i = 0", "exports.x = 1", "export const x = 1", "exports.init = () => 1"] {
        check_refused(&Place::new("none.js", source), &[], "export");
    }
}

#[test]
fn exec_in_a_directory_of_something_else() {
    let place = counter();
    std::fs::create_dir(place.dir()).expect("made");
    std::fs::write(place.dir().join("thesis.txt"), "years of work").expect("written");
    check_refused(&place, &[], "counter");
    let file = place.root().join("file");
    std::fs::write(&file, "not a directory").expect("written");
    check_refused(&place, &["--dir", &file.to_string_lossy()], "file");
}

#[test]
fn exec_in_an_empty_directory() {
    let place = counter();
    std::fs::create_dir(place.dir()).expect("made");
    assert_eq!(place.serve(&[]).ask(&["increment"]), "1");
}

#[test]
fn exec_on_a_port_that_is_taken() {
    let place = counter();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("bound").port().to_string();
    let before = tree(place.root());
    let output =
        glassbox().arg("exec").arg(place.script()).args(["-p", &port]).current_dir(place.root()).output().expect("it starts");
    check(&output, 1, &port);
    assert_eq!(tree(place.root()), before);
}

#[test]
fn exec_twice_on_a_directory() {
    let place = counter();
    let server = place.serve(&[]);
    let second = place.exec(&[]).output().expect("it starts");
    check(&second, 1, "counter");
    assert_eq!(server.ask(&["increment"]), "1");
    server.kill();
    assert_eq!(place.serve(&[]).ask(&["increment"]), "2");
}

#[test]
fn usage() {
    for args in [&["bogus"][..], &["exec"], &["call"], &["repl"], &["files"], &["log", "localhost:1", "x"]] {
        check(&run(args), 2, "Usage");
    }
    check(&run(&["exec", "x.js", "-p", "65536"]), 2, "65536");
    check(&run(&["files", "localhost:1", "cat"]), 2, "which file");
    check(&run(&["files", "localhost:1", "rm", "/x"]), 2, "expected ls, cat or get");
    check(&run(&["files", "localhost:1", "/x", "--force"]), 2, "--force");
    let version = run(&["--version"]);
    assert!(version.status.success() && stdout(&version).starts_with("glassbox "));
    for command in ["exec", "repl", "call", "log", "files", "verify"] {
        assert!(run(&[command, "--help"]).status.success());
    }
}

#[test]
fn calls_that_fail() {
    let place = Place::new("calls.js", "exports.echo = (...args) => args\nexports.fail = () => { throw new RangeError('no') }\n");
    let server = place.serve(&[]);
    check(&server.call(&["echo", "text"]), 2, "no JSON");
    check(&server.call(&["echo", "{\"a\":"]), 2, "no JSON");
    check(&server.call(&["nope"]), 1, "Method not found");
    check(&server.call(&["toString"]), 1, "Method not found");
    check(&server.call(&["fail"]), 1, "RangeError: no");
    assert_eq!(server.ask(&["echo", "-1", "\"text\"", "[1, {}]", "-2.5e3"]), "[-1,\"text\",[1,{}],-2500]");
    check(&server.call(&["echo", "1", "-u", "bob"]), 0, "anonymous");
}

#[test]
fn nobody_is_there() {
    let url = {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").port();
        format!("127.0.0.1:{port}")
    };
    check(&run(&["call", &url, "x"]), 2, "Failed to connect");
    check(&run(&["repl", &url]), 2, "Failed to connect");
    check(&run(&["repl", &url, "-e", "1"]), 2, "Failed to connect");
    check(&run(&["log", &url]), 2, &url);
    check(&run(&["files", &url]), 2, &url);
}

/// A server that speaks something else is refused, by every command, and none waits for ever.
#[test]
fn somebody_else_is_there() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = listener.local_addr().expect("bound").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut head = [0; 1024];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello");
        }
    });
    for args in [&["call", &url, "x"][..], &["repl", &url], &["log", &url], &["files", &url, "ls"]] {
        check(&run(args), 2, &url);
    }
}

#[test]
fn a_repl_expression_that_fails() {
    let place = counter();
    let server = place.serve(&[]);
    let eval = |source: &str| run(&["repl", &server.url, "-e", source]);
    check(&eval("client.increment("), 1, "SyntaxError");
    check(&eval("client.nope()"), 1, "TypeError");
    check(&eval("throw new Error('x')"), 1, "Error: x");
    check(&eval("new Promise(() => {})"), 1, "NeverSettlesError");
    check(&eval("for (;;);"), 1, "InstructionLimitError");
    assert_eq!(stdout(&eval("await client.increment() + 1")), "2\n");
    assert_eq!(stdout(&eval("undefined")), "");
}

#[test]
fn every_spelling_of_an_address() {
    let place = counter();
    let server = place.serve(&["--mount", "/vm/one"]);
    let port: String = server.url.chars().filter(char::is_ascii_digit).collect();
    for host in ["localhost", "127.0.0.1", "ws://localhost", "http://127.0.0.1"] {
        for mount in ["/vm/one", "/vm/one/"] {
            let url = format!("{host}:{port}{mount}");
            let called = run(&["call", &url, "increment"]);
            assert!(called.status.success(), "{url}: {}", stderr(&called));
            let evaluated = run(&["repl", &url, "-e", "client"]);
            assert_eq!(stdout(&evaluated), "{ increment: [Function: increment] }\n", "{url}");
            assert!(run(&["log", &url]).status.success(), "{url}");
            assert!(stdout(&run(&["files", &url])).contains("dat.json"), "{url}");
        }
    }
    check(&run(&["call", &format!("localhost:{port}/other"), "increment"]), 2, "Failed to connect");
    check(&run(&["call", &format!("wss://localhost:{port}"), "increment"]), 2, "TLS");
    check(&run(&["call", "ftp://localhost", "increment"]), 2, "ftp");
    check(&run(&["call", "localhost:0", "increment"]), 2, "HOST:PORT");
}

/// Follows the log of a place while calls are made; all of them come, each once.
fn check_follow(server: &Server, place: &str) {
    let mut follower = glassbox().args(["log", place, "--follow", "--json"]).stdout(Stdio::piped()).spawn().expect("it starts");
    let lines = BufReader::new(follower.stdout.take().expect("piped")).lines();
    let mut numbers = lines.map(|line| {
        let line: serde_json::Value = serde_json::from_str(&line.expect("text")).expect("JSON");
        line["number"].as_u64().expect("a number")
    });
    let count = stdout(&run(&["log", place])).lines().count() as u64;
    for number in 0..count {
        assert_eq!(numbers.next(), Some(number));
    }
    for number in count..count + 3 {
        server.ask(&["increment"]);
        assert_eq!(numbers.next(), Some(number));
    }
    // Not SIGINT: who runs the tests in the background may have it ignored, and children inherit that.
    let ended = Command::new("kill").args(["-TERM", &follower.id().to_string()]).status().expect("kill runs");
    assert!(ended.success());
    assert_eq!(numbers.next(), None);
    follower.wait().expect("it ends");
}

#[test]
fn a_log_can_be_followed() {
    let place = counter();
    let server = place.serve(&[]);
    check_follow(&server, &server.url);
    check_follow(&server, &place.dir().to_string_lossy());
}

/// A backend that was started again in the meantime is found again; one that is gone ends the session.
#[test]
fn a_repl_session_connects_again() {
    let place = counter();
    let server = place.serve(&[]);
    let port = server.url.split_once(':').expect("a port").1.to_owned();
    let mut repl = glassbox()
        .args(["repl", &server.url])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut typed = repl.stdin.take().expect("piped");
    let mut lines = BufReader::new(repl.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let mut until = |wanted: &str| assert!(lines.any(|line| line == wanted), "{wanted}");
    writeln!(typed, "client.increment()").expect("it reads");
    until("1");
    server.kill();
    let mut again = glassbox()
        .arg("exec")
        .arg(place.script())
        .args(["-p", &port])
        .current_dir(place.root())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    let banner = BufReader::new(again.stdout.take().expect("piped")).lines();
    assert!(banner.map(|line| line.expect("text")).any(|line| line.starts_with("Call log: ")));
    writeln!(typed, "client.increment()").expect("it reads");
    until("2");
    again.kill().expect("it runs");
    again.wait().expect("it ends");
    writeln!(typed, "client.increment()").expect("it reads");
    let output = repl.wait_with_output().expect("it ends");
    check(&output, 1, "connected again");
    check(&output, 1, "is lost");
}
