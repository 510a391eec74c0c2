//! What a stranger can send: each gets an error reply, or its connection is closed, and nobody else notices.

use crate::raw::{PATIENCE, Socket, tcp};
use crate::support::{Place, Server};
use expect_test::expect_file;
use std::fmt::Write as _;
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use tungstenite::{Bytes, Message};

const SCRIPT: &str = "let n = 0
exports.ping = () => ++n
exports.echo = (...args) => args
exports.slow = () => { let x = 0; for (let i = 0; i < 4e6; i++) x += i; return 'slow' }
exports.big = () => 'x'.repeat(4 << 20)
exports.who = () => System.caller.id
exports.seen = () => n";

fn serve(place: &Place) -> Server {
    place.serve(&[])
}

fn place() -> Place {
    Place::new("wire.js", SCRIPT)
}

/// A new client's call works, and the old one's too.
fn unharmed(server: &Server) {
    let mut socket = Socket::connect(&server.url);
    assert_eq!(socket.result("echo", "[1,\"~\"]"), "[1,\"~\"]");
}

/// A metric's value.
fn metric(server: &Server, name: &str) -> u64 {
    let mut stream = tcp(&server.url);
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("a page");
    let line = page.lines().find_map(|line| line.strip_prefix(&format!("glassbox_{name} ")));
    line.unwrap_or_else(|| panic!("{name}: {page}")).parse().expect("a number")
}

/// Waits for something that the server does on its own, without a reply.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < limit, "{what}");
        std::thread::yield_now();
    }
}

/// Frames with their replies, side by side in `wire/frames.txt`. After each, the same connection still works.
/// A handshake says what is another in each run: the backend's id, its head, its certificate.
fn masked(reply: String) -> String {
    let Ok(mut value) = serde_json::from_str::<serde_json::Value>(&reply) else { return reply };
    let Some(info) = value.get_mut("result").filter(|result| result.get("serviceCert").is_some()) else { return reply };
    for (field, word) in [("id", "ID"), ("head", "HEAD"), ("serviceCert", "PEM")] {
        info[field] = word.into();
    }
    let id = value["id"].clone();
    format!("{{\"jsonrpc\":\"2.0\",\"result\":{},\"id\":{id}}}", value["result"])
}

#[test]
fn frames_and_their_replies() {
    let place = place();
    let server = serve(&place);
    let mut socket = Socket::connect(&server.url);
    let batch_of = |count: usize| format!("[{}]", vec![r#"{"jsonrpc":"2.0","method":"echo","id":1}"#; count].join(","));
    let nested =
        format!(r#"{{"jsonrpc":"2.0","method":"echo","params":[{}{}],"id":1}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let mut frames: Vec<String> =
        include_str!("wire/frames").lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    frames.extend([batch_of(101), nested, "[".repeat(1_000_000), String::new(), " \n".into(), "\u{feff}{}".into()]);
    let address = |line: usize| server.banner.lines().nth(line).and_then(|line| line.rsplit(' ').next()).expect("an address");
    let mut transcript = String::new();
    for (number, frame) in frames.iter().enumerate() {
        let (frame, silent) = frame.strip_prefix("- ").map_or((frame.as_str(), false), |frame| (frame, true));
        let start: String = frame.chars().take(60).collect();
        let shown = if frame.len() > 300 {
            format!("{start}… ({} bytes)", frame.len())
        } else {
            frame.escape_debug().to_string().replace("\\\"", "\"")
        };
        writeln!(transcript, "{shown}").expect("written");
        socket.send(frame);
        if !silent {
            let reply = masked(socket.receive());
            let start: String = reply.chars().take(300).collect();
            let reply = if reply.len() > 600 { format!("{start}… ({} bytes)", reply.len()) } else { reply };
            writeln!(transcript, "  {}", reply.replace(address(3), "FILES").replace(address(4), "LOG")).expect("written");
        }
        // There was no other reply, and the connection goes on.
        assert_eq!(
            socket.ask(&format!("{{\"jsonrpc\":\"2.0\",\"method\":\"echo\",\"params\":[{number}],\"id\":\"mark\"}}")),
            format!("{{\"jsonrpc\":\"2.0\",\"result\":[{number}],\"id\":\"mark\"}}")
        );
    }
    expect_file!["wire/frames.txt"].assert_eq(&transcript);
    unharmed(&server);
    assert_eq!(server.stop(), Some(0));
    serve(&place);
}

#[test]
fn frames_that_are_too_large() {
    let place = place();
    let server = serve(&place);
    let mut socket = Socket::connect(&server.url);
    let frame = |bytes: usize| format!(r#"{{"jsonrpc":"2.0","method":"echo","params":["{}"],"id":1}}"#, "x".repeat(bytes));
    // What is allowed.
    assert!(socket.ask(&frame(3 << 20)).len() > 3 << 20);
    // Ten megabytes: an error, and the connection goes on.
    assert_eq!(
        socket.ask(&frame(10_000_000)),
        r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":"A frame may have 4194304 bytes"},"id":null}"#
    );
    assert_eq!(socket.result("echo", "[2]"), "[2]");
    // Twenty: closed.
    let _ = socket.try_send(Message::text(frame(20_000_000)));
    let ended = socket.try_receive().expect_err("it is closed");
    assert!(ended.contains("1009") || ended.contains("reset") || ended.contains("Broken pipe"), "{ended}");
    unharmed(&server);
}

#[test]
fn binary_frames() {
    let place = place();
    let server = serve(&place);
    let mut socket = Socket::connect(&server.url);
    let mut ask = |bytes: &'static [u8]| {
        socket.try_send(Message::Binary(Bytes::from_static(bytes))).expect("sent");
        socket.receive()
    };
    assert_eq!(ask(br#"{"jsonrpc":"2.0","method":"echo","params":["b"],"id":1}"#), r#"{"jsonrpc":"2.0","result":["b"],"id":1}"#);
    assert_eq!(
        ask(b"\xff\xfe{}"),
        r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error","data":"The frame is no UTF-8"},"id":null}"#
    );
    assert!(ask(b"").contains("-32700"));
    assert!(ask(b"\0\0\0").contains("-32700"));
    unharmed(&server);
}

/// Bytes that are no WebSocket, or stop in the middle of one.
#[test]
fn garbage() {
    let place = place();
    let server = serve(&place);
    let upgrade = "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut open = Vec::new();
    let with = |bytes: &[u8]| [upgrade.as_bytes(), bytes].concat();
    let cases: [(&str, Vec<u8>); 12] = [
        ("no HTTP", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03garbage\r\n\r\n".to_vec()),
        ("half a request", b"GET / HTTP/1.1\r\nHost: ".to_vec()),
        ("half an upgrade", upgrade.as_bytes()[..60].to_vec()),
        ("an upgrade without a key", upgrade.replace("Sec-WebSocket-Key", "X").into_bytes()),
        ("an upgrade of another version", upgrade.replace("13", "12").into_bytes()),
        ("a frame without a mask", with(b"\x81\x02hi")),
        ("a reserved opcode", with(b"\x83\x80\0\0\0\0")),
        ("invalid UTF-8 in a text frame", with(b"\x81\x82\0\0\0\0\xff\xfe")),
        ("half a frame", with(b"\x81\xff\0\0\0\0\0\x10\0\0\0\0\0\0abc")),
        ("a frame of 2^63 bytes", with(b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0")),
        ("a fragmented control frame", with(b"\x09\x80\0\0\0\0")),
        ("a long head", [b"GET / HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; 1 << 20]].concat()),
    ];
    for (what, bytes) in cases {
        let mut stream = tcp(&server.url);
        let _ = stream.write_all(&bytes);
        unharmed(&server);
        // Some wait for more: they stay open beside the others.
        open.push((what, stream));
    }
    unharmed(&server);
    drop(open);
    until("the connections are gone", || metric(&server, "connections") == 0);
    assert_eq!(server.stop(), Some(0));
    serve(&place);
}

#[test]
fn a_client_that_has_gone() {
    let place = place();
    let server = serve(&place);
    for round in 0..20 {
        let mut socket = Socket::connect(&server.url);
        if round % 4 == 0 {
            socket.begin("slow", "[]");
        }
        for _ in 0..10 {
            socket.begin("ping", "[]");
        }
        if round % 2 == 0 {
            let _ = socket.stream().shutdown(std::net::Shutdown::Both);
        }
    }
    unharmed(&server);
    until("the connections are gone", || metric(&server, "connections") == 0);
    // What was taken was run, all of it, once; what had not arrived was not.
    let seen: u64 = Socket::connect(&server.url).result("seen", "[]").parse().expect("a number");
    let logged_pings = {
        assert_eq!(server.stop(), Some(0));
        crate::raw::logged(&place.dir()).iter().filter(|(method, ..)| method == "ping").count()
    };
    assert_eq!(seen, logged_pings as u64);
    serve(&place);
}

/// Exactly 1,000 wait while one runs.
#[test]
fn calls_beyond_the_queue_are_refused() {
    let place = place();
    let server = serve(&place);
    let mut slow = Socket::connect(&server.url);
    let mut flood = Socket::connect(&server.url);
    slow.begin("slow", "[]");
    until("the slow call runs", || metric(&server, "calls_waiting") == 1);
    for _ in 0..1_500 {
        flood.begin("ping", "[]");
    }
    let (mut ran, mut refused) = (0, 0);
    for _ in 0..1_500 {
        match flood.end().expect("a reply") {
            (_, Ok(result)) => {
                ran += 1;
                assert_eq!(result, Some(ran.to_string()), "in their order");
            }
            (_, Err(error)) => {
                refused += 1;
                assert_eq!(error, ("Error".into(), "Too many active requests. Try again in a few minutes.".into()));
                assert_eq!(ran, 0, "refusals do not wait");
            }
        }
    }
    assert_eq!((ran, refused), (1_000, 500));
    assert_eq!(slow.end().expect("a reply").1, Ok(Some("\"slow\"".into())));
    // Room again; what was refused is in no ledger.
    assert_eq!(flood.result("ping", "[]"), "1001");
    assert_eq!(metric(&server, "calls_waiting"), 0);
    assert_eq!(server.stop(), Some(0));
    assert_eq!(crate::raw::logged(&place.dir()).len(), 1 + 1_001);
}

/// A client that asks for much and reads nothing keeps nobody waiting, and does not fill the memory.
#[test]
fn a_client_that_never_reads() {
    let place = place();
    let server = serve(&place);
    let mut lazy = Socket::connect(&server.url);
    for _ in 0..100 {
        lazy.begin("big", "[]");
    }
    let began = Instant::now();
    let mut other = Socket::connect(&server.url);
    for n in 1..=20 {
        assert_eq!(other.result("ping", "[]"), n.to_string());
    }
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("it runs");
    let peak_kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .expect("a peak")
        .trim()
        .parse()
        .expect("a number");
    println!("peak {} MiB", peak_kib >> 10);
    assert!(peak_kib < 300 << 10, "{peak_kib} KiB");
    drop(lazy);
    unharmed(&server);
}

/// As many connections as this process may have files.
#[test]
fn thousands_of_connections() {
    let place = place();
    let server = serve(&place);
    server::raise_file_limit();
    let limits = std::fs::read_to_string("/proc/self/limits").expect("limits");
    let files: usize = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))
        .and_then(|line| line.split_whitespace().nth(3))
        .and_then(|word| word.parse().ok())
        .expect("a limit");
    // The other tests of this process need files too.
    let count = (files / 2).min(10_000);
    let mut sockets: Vec<Socket> = (0..count).map(|_| Socket::connect(&server.url)).collect();
    assert_eq!(metric(&server, "connections"), count as u64);
    for (n, socket) in sockets.iter_mut().step_by(97).enumerate() {
        assert_eq!(socket.result("ping", "[]"), (n + 1).to_string());
    }
    unharmed(&server);
    drop(sockets);
    until("the connections are gone", || metric(&server, "connections") == 0);
    unharmed(&server);
}

/// Who one is, without `--debug` and with it.
#[test]
fn callers() {
    let place = place();
    let server = serve(&place);
    assert_eq!(Socket::connect_as(&server.url, "/?user=bob").result("who", "[]"), "null");
    drop(server);
    let server = place.serve(&["--debug"]);
    for (path, who) in [
        ("/", "null"),
        ("/?user=", "null"),
        ("/?user=bob", "\"bob\""),
        ("/?user=gr%C3%B6%C3%9Fe%20%22", "\"größe \\\"\""),
        ("/?other=1&user=b+c", "\"b c\""),
    ] {
        assert_eq!(Socket::connect_as(&server.url, path).result("who", "[]"), who, "{path}");
    }
    assert!(Socket::try_connect(&server.url, &format!("/?user={}", "x".repeat(257))).is_err());
    assert!(Socket::try_connect(&server.url, "/elsewhere").is_err());
    assert_eq!(server.stop(), Some(0));
    place.serve(&[]);
}
