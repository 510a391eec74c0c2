//! Mail between two kernels: real servers, real TCP, kills in between; and strangers at the port.
//!
//! `GLASSBOX_MAIL_KILLS=100` for more kills than the default.

use crate::raw::{PATIENCE, Socket, tcp};
use crate::support::{Place, Server, glassbox, run, stderr};
use ledger::{Dir, Reader};
use machine::vats::Work;
use machine::{Entry, Input};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// A kernel's directory, and how it is served.
struct Kernel {
    place: Place,
    example: PathBuf,
    name: &'static str,
    /// What is said on each start.
    args: Vec<String>,
}

impl Kernel {
    fn new(example: &str, name: &'static str, args: &[&str]) -> Kernel {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/vats").join(example);
        // Only for its folder.
        let place = Place::new("none.js", "");
        Kernel { place, example, name, args: args.iter().map(|&arg| arg.to_owned()).collect() }
    }

    fn dir(&self) -> PathBuf {
        self.place.root().join("kernel")
    }

    /// Starts it, or starts it again.
    fn serve(&self, peer: &str) -> Server {
        let mut command = glassbox();
        command.args(["vat", "serve"]).arg(&self.example).args(["-p", "0", "--dir"]).arg(self.dir());
        command.args(["--name", self.name, "--listen-mail", "127.0.0.1:0", "--peer", peer]).args(&self.args);
        self.place.serve_as(command)
    }

    /// Ends it in good order, and audits its ledger.
    fn end(&self, server: Server) {
        assert_eq!(server.stop(), Some(0));
        let output = run(&["verify", self.dir().to_str().expect("a plain path")]);
        assert_eq!(output.status.code(), Some(0), "{}: {}", self.name, stderr(&output));
    }
}

/// Where it takes mail.
fn mail_at(server: &Server) -> String {
    server.banner.lines().find_map(|line| line.strip_prefix("Mail at ")).expect("a port for mail").to_owned()
}

/// Waits for it on the console.
fn says(server: &Server, line: &str) {
    let until = Instant::now() + PATIENCE;
    while !server.log().contains(line) {
        assert!(Instant::now() < until, "it does not say {line:?}: {}", server.log());
        std::thread::yield_now();
    }
}

/// A new kernel serves before `bootstrap` has registered what can be called.
fn ask(server: &Server, method: &str) -> Vec<String> {
    let mut socket = Socket::connect(&server.url);
    let until = Instant::now() + PATIENCE;
    while !socket.methods().iter().any(|known| known == method) {
        assert!(Instant::now() < until, "nobody registers {method}: {}", server.log());
        std::thread::yield_now();
    }
    serde_json::from_str(&socket.result(method, "[]")).expect("an array of strings")
}

/// Each message of one kernel to the other one arrives once and in order, and so does each answer, whoever is killed when.
#[test]
fn everything_arrives_once_whoever_is_killed() {
    let kills: u64 = std::env::var("GLASSBOX_MAIL_KILLS").map_or(6, |text| text.parse().expect("a number"));
    let (one, other) = (Kernel::new("mail-a", "a", &[]), Kernel::new("mail-b", "b", &[]));
    let mut a = one.serve("b");
    let mut b = other.serve(&format!("a={}", mail_at(&a)));
    let mut journal = vec!["greeting = hello".to_owned()];
    let mut answers = vec!["greeting: undefined -> hello".to_owned()];
    assert_eq!(ask(&b, "settled"), answers);
    let mut last = 0;
    let mut modify = |b: &Server, calls: u64| {
        let mut socket = Socket::connect(&b.url);
        for _ in 0..calls {
            let before = if last == 0 { "undefined".into() } else { last.to_string() };
            last += 1;
            answers.push(format!("x: {before} -> {last}"));
            journal.push(format!("x = {last}"));
            // From here on the call is on disk, and what it has sent will arrive.
            socket.result("modify", &format!("[\"x\",{last}]"));
        }
    };
    for kill in 0..kills {
        // Sometimes right after the first message, sometimes when most answers are back.
        modify(&b, 1 + kill * 7 % 20);
        if kill % 2 == 0 {
            a.kill();
            modify(&b, 5);
            // On another port: only the one that has begun anew knows where the other one is.
            a = one.serve(&format!("b={}", mail_at(&b)));
        } else {
            b.kill();
            b = other.serve(&format!("a={}", mail_at(&a)));
        }
        modify(&b, 3);
    }
    // Both at once, with messages under way.
    modify(&b, 10);
    a.kill();
    b.kill();
    let a = one.serve("b");
    let b = other.serve(&format!("a={}", mail_at(&a)));
    modify(&b, 1);
    assert_eq!(ask(&b, "settled"), answers);
    assert_eq!(ask(&a, "journal"), journal);
    one.end(a);
    other.end(b);
}

/// A kernel that is none: lines over TCP.
struct Raw {
    stream: TcpStream,
    lines: BufReader<TcpStream>,
}

impl Raw {
    fn connect(place: &str) -> Raw {
        let stream = tcp(place);
        let lines = BufReader::new(stream.try_clone().expect("one more handle"));
        Raw { stream, lines }
    }

    /// As the peer `b` of `a`, with the first frame.
    fn peer(place: &str) -> Raw {
        let mut raw = Raw::connect(place);
        raw.say(&hello("b", "a").to_string());
        let answer = raw.hear().expect("a hello");
        let id = answer["id"].as_str().expect("an id");
        assert_eq!(answer, hello_of("a", "b", id));
        raw.frame(&[], 0);
        assert_eq!(raw.hear(), Some(json!({"messages": [], "ack": 0})));
        raw
    }

    /// The other side may have hung up already.
    fn say(&mut self, line: &str) {
        let _ = self.stream.write_all(format!("{line}\n").as_bytes());
    }

    fn frame(&mut self, messages: &[(u64, &str)], ack: u64) {
        self.say(&json!({"messages": messages, "ack": ack}).to_string());
    }

    /// The next line; none when the connection has ended.
    fn hear(&mut self) -> Option<Value> {
        let mut line = String::new();
        match self.lines.read_line(&mut line) {
            Ok(1..) => Some(serde_json::from_str(&line).expect("JSON")),
            Ok(0) => None,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// What comes until `ack` is acknowledged and message `last` is there, without frames that say nothing.
    fn until(&mut self, ack: u64, last: u64) -> Vec<(u64, String)> {
        let mut messages: Vec<(u64, String)> = Vec::new();
        let mut acked = 0;
        while acked < ack || messages.last().map_or(0, |(number, _)| *number) < last {
            let frame = self.hear().expect("a frame");
            acked = frame["ack"].as_u64().expect("a number");
            messages.extend(serde_json::from_value::<Vec<(u64, String)>>(frame["messages"].clone()).expect("messages"));
        }
        assert_eq!(acked, ack);
        messages
    }
}

fn hello(from: &str, to: &str) -> Value {
    hello_of(from, to, &"0b".repeat(32))
}

fn hello_of(from: &str, to: &str, id: &str) -> Value {
    json!({"glassbox-mail": 1, "from": from, "to": to, "id": id})
}

fn refused(why: &str) -> Option<Value> {
    Some(json!({ "refused": why }))
}

#[test]
fn strangers_garbage_and_repetitions() {
    let kernel = Kernel::new("mail-a", "a", &[]);
    let a = kernel.serve("b");
    let at = mail_at(&a);
    let answer = |line: &str| {
        let mut raw = Raw::connect(&at);
        raw.say(line);
        let answer = raw.hear();
        assert!(answer.is_none() || raw.hear().is_none(), "{line}: the connection goes on");
        answer
    };
    assert_eq!(answer(&hello("mallory", "a").to_string()), refused("'mallory' is not known here"));
    assert_eq!(answer(&hello("b", "c").to_string()), refused("this is 'a', not 'c'"));
    let mut other = hello("b", "a");
    other["glassbox-mail"] = json!(9);
    assert_eq!(answer(&other.to_string()), refused("version 9 of the protocol"));
    let mut with_nonce = hello("b", "a");
    with_nonce["nonce"] = json!("00".repeat(32));
    assert_eq!(answer(&with_nonce.to_string()), refused("'b' wants a secret, which is not set here"));
    assert!(answer("GET / HTTP/1.1").is_some_and(|answer| answer["refused"].is_string()));
    assert_eq!(answer(&"x".repeat(5_000)), None);
    // Behind the hello.
    for line in
        ["nonsense", r#"{"messages":[[2,""],[1,""]],"ack":0}"#, r#"{"messages":[],"ack":0,"more":0}"#, &"x".repeat(7 << 20)]
    {
        let mut raw = Raw::peer(&at);
        raw.say(line);
        assert_eq!(raw.hear(), None, "{}", &line[..line.len().min(40)]);
    }

    // Each message is dealt with once, however often it comes.
    let mut raw = Raw::peer(&at);
    let (open, open_again) = ("deliver:ro+0:open:rp-40;#[]", "deliver:ro+0:open:rp-42;#[]");
    let select = "deliver:rp-40:select:rp-41;#[\"x\"]";
    raw.frame(&[(1, open)], 0);
    let first = raw.until(1, 1);
    assert_eq!(first, [(1, "resolve:object:rp+40:ro-20;".to_owned())]);
    raw.frame(&[(1, open)], 0);
    raw.frame(&[(1, open), (2, select)], 0);
    assert_eq!(raw.until(2, 2), [(2, "resolve:object:rp+41:ro-21;".to_owned())]);
    drop(raw);

    // What was not acknowledged comes again, on the next connection; what was, does not.
    let mut raw = Raw::peer(&at);
    let second = (2, "resolve:object:rp+41:ro-21;".to_owned());
    assert_eq!(raw.until(2, 2), [first[0].clone(), second.clone()]);
    raw.frame(&[(1, open), (3, open_again)], 1);
    let third = (3, "resolve:object:rp+42:ro-20;".to_owned());
    assert_eq!(raw.until(3, 3), std::slice::from_ref(&third));
    drop(raw);
    let mut raw = Raw::peer(&at);
    assert_eq!(raw.until(3, 3), [second, third]);
    // Another kernel of that name, whose numbers begin anew, is refused, and the one that was heard is not.
    let other = refused(
        "'b' is not the kernel that 'a' has talked to: that was 0b0b0b0b…, this is 0c0c0c0c…; made anew, it needs another name",
    );
    assert_eq!(answer(&hello_of("b", "a", &"0c".repeat(32)).to_string()), other);
    drop(raw);
    drop(Raw::peer(&at));
    kernel.end(a);
    // What had come before has cost no transaction.
    let mail = |number, text: &str, ack| (vec![(number, text.to_owned())], ack);
    let expected = [mail(1, open, 0), mail(2, select, 0), mail(3, open_again, 1)];
    assert_eq!(mails(&kernel.dir()), expected);
}

/// A kernel that was made anew under its old name begins with message 1 again: none of it is taken for what was dealt with already.
#[test]
fn a_kernel_that_was_made_anew() {
    let one = Kernel::new("mail-a", "a", &[]);
    let other = Kernel::new("mail-b", "b", &[]);
    let a = one.serve("b");
    let b = other.serve(&format!("a={}", mail_at(&a)));
    let answers = ["greeting: undefined -> hello"];
    assert_eq!(ask(&b, "settled"), answers);
    other.end(b);
    let anew = Kernel::new("mail-b", "b", &[]);
    let other_kernel = "'b' is not the kernel that 'a' has talked to";
    let b = anew.serve(&format!("a={}", mail_at(&a)));
    says(&a, other_kernel);
    says(&b, other_kernel);
    // Also after a restart, and when it is the one that was heard who connects.
    a.kill();
    let a = one.serve(&format!("b={}", mail_at(&b)));
    says(&a, other_kernel);
    assert_eq!(ask(&b, "answers"), [""; 0]);
    assert_eq!(ask(&a, "journal"), ["greeting = hello"]);
    anew.end(b);
    // The old one is welcome.
    a.kill();
    let a = one.serve("b");
    let b = other.serve(&format!("a={}", mail_at(&a)));
    let mut socket = Socket::connect(&b.url);
    socket.result("modify", "[\"x\",1]");
    assert_eq!(ask(&b, "settled"), [answers[0], "x: undefined -> 1"]);
    one.end(a);
    other.end(b);
}

/// Mail that the kernel refuses is not acknowledged, the connection ends, and the console says why.
#[test]
fn mail_that_is_refused() {
    let place = Place::new("none.js", "");
    let vats = place.root().join("vats");
    std::fs::create_dir(&vats).expect("a new folder");
    let bootstrap = "
        import { Far } from '@endo/far';
        export const buildRootObject = ({ D }) => Far('root', {
          bootstrap(vats, { mailbox }) {
            for (let n = 0; n < 10000; n += 1) D(mailbox).ackInbound(`peer ${n}`, 1);
            D(mailbox).registerInboundHandler(vats.vattp);
          },
        });";
    std::fs::write(vats.join("bootstrap.js"), bootstrap).expect("written");
    let kernel = Kernel { example: vats, place, name: "a", args: Vec::new() };
    let a = kernel.serve("b");
    let until = Instant::now() + PATIENCE;
    let why = "there are 10000 peers already";
    loop {
        let mut raw = Raw::connect(&mail_at(&a));
        raw.say(&hello("b", "a").to_string());
        let answer = raw.hear().expect("a hello");
        if let Some(refused) = answer["refused"].as_str() {
            assert_eq!(refused, format!("'a' does not take mail from 'b' now: {why}"));
            break;
        }
        assert!(Instant::now() < until, "it is not refused: {}", a.log());
        raw.frame(&[], 0);
        raw.frame(&[(1, "deliver:ro+0:open:rp-40;#[]")], 0);
        while let Some(frame) = raw.hear() {
            assert_eq!(frame, json!({"messages": [], "ack": 0}));
        }
    }
    says(&a, &format!("mail from 'b' is not taken: {why}"));
    kernel.end(a);
}

/// The mail in a ledger.
fn mails(dir: &Path) -> Vec<(Vec<(u64, String)>, u64)> {
    let storage = Dir::open(&dir.join("ledger")).expect("a ledger");
    let mut mails = Vec::new();
    for located in Reader::open(&storage).expect("chunks") {
        let entry = Entry::read(located.expect("a transaction").transaction.public()).expect("an entry");
        if let Some(Input::Vats { work: Work::Mail { messages, ack, .. }, .. }) = entry.map(|entry| entry.input) {
            mails.push((messages, ack));
        }
    }
    mails
}

#[test]
fn a_secret_that_one_side_does_not_know() {
    let place = Place::new("none.js", "");
    let file = |name: &str, text: &str| {
        let path = place.root().join(name);
        std::fs::write(&path, text).expect("written");
        path.to_str().expect("a plain path").to_owned()
    };
    let (right, wrong) = (file("right", "a secret of both of them\n"), file("wrong", "a secret of somebody else\n"));
    let one = Kernel::new("mail-a", "a", &["--mail-secret", &right]);
    let a = one.serve("b");
    let peer = format!("a={}", mail_at(&a));
    let mut raw = Raw::connect(&mail_at(&a));
    raw.say(&hello("b", "a").to_string());
    assert_eq!(raw.hear(), refused("'b' does not know the secret"));
    let other = Kernel::new("mail-b", "b", &["--mail-secret", &wrong]);
    let b = other.serve(&peer);
    says(&a, "does not know the secret");
    says(&b, "mail with 'a'");
    assert_eq!(ask(&b, "answers"), [""; 0]);
    b.kill();
    let other = Kernel { args: vec!["--mail-secret".into(), right], ..other };
    let b = other.serve(&peer);
    assert_eq!(ask(&b, "settled"), ["greeting: undefined -> hello"]);
    one.end(a);
    other.end(b);
}
