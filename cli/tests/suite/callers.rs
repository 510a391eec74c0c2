//! Signed calls: what a server believes, and what it refuses; and the receipts that callers keep.

use crate::clients::validate_receipt;
use crate::raw::{Socket, logged};
use crate::support::{Place, Server, glassbox, run, stderr, stdout};
use crate::verify::{path, verify};
use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};
use expect_test::expect_file;
use ledger::{CallerKey, TxId};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

const SCRIPT: &str = "let total = 0
exports.add = n => total += n
exports.who = () => System.caller.id
exports.fail = why => { throw new RangeError(why) }
exports.nothing = () => {}
exports.total = () => total
exports.total.readonly = true";

fn place() -> Place {
    Place::new("sums.js", SCRIPT)
}

/// A connection whose calls are signed: what a client has to know and to do, and no more.
pub struct Caller {
    pub socket: Socket,
    key: CallerKey,
    session: String,
    counter: u64,
    /// The backend's id.
    pub backend: String,
    /// The newest head that was heard.
    pub head: (TxId, String),
}

/// Different for each connection of this process.
fn session() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{:016x}", NEXT.fetch_add(1, Relaxed))
}

impl Caller {
    /// Connects with the key of this seed.
    pub fn connect(url: &str, seed: u8) -> Caller {
        Caller::try_connect(url, seed).expect("the server shakes hands")
    }

    /// The same with a server that may be gone.
    pub fn try_connect(url: &str, seed: u8) -> Result<Caller, String> {
        let mut socket = Socket::try_connect(url, "/")?;
        let id = socket.begin("handshake", "[]");
        let (replied, reply) = socket.end()?;
        assert_eq!(replied, id);
        let info: Value = serde_json::from_str(&reply.expect("a handshake").expect("an object")).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        Ok(Caller {
            socket,
            key: CallerKey::from_seed([seed; 32]),
            session: session(),
            counter: 0,
            backend: text(&info["id"]),
            head: head_of(&info["head"]),
        })
    }

    pub fn public(&self) -> String {
        ledger::hex::encode(&self.key.public())
    }

    /// The `auth` member of the next call.
    pub fn auth(&mut self, method: &str, args: &str) -> Value {
        self.counter += 1;
        let (head, root) = &self.head;
        let mut auth = json!({
            "backend": self.backend, "key": self.public(), "nonce": format!("{}.{}", self.session, self.counter),
            "head": head.to_string(), "root": root,
        });
        self.sign(&mut auth, method, args);
        auth
    }

    /// Signs what stands in `auth`.
    fn sign(&self, auth: &mut Value, method: &str, args: &str) {
        let text = |name: &str| auth[name].as_str().expect("text");
        let head = text("head").parse().expect("a transaction");
        let root = ledger::hex::decode(text("root")).expect("a root");
        let method = serde_json::to_string(method).expect("text");
        let message = ledger::caller::message(text("backend"), text("nonce"), head, &root, &method, args);
        auth["signature"] = BASE64.encode(self.key.sign(&message)).into();
    }

    /// The frame of the next call.
    pub fn frame(&mut self, method: &str, args: &str) -> String {
        let auth = self.auth(method, args);
        frame(method, args, &auth)
    }

    /// Sends a frame, and reads its reply.
    pub fn ask(&mut self, frame: &str) -> Value {
        reply(&self.socket.ask(frame))
    }

    /// A call, and its whole reply. The head that came with it is taken.
    pub fn call(&mut self, method: &str, args: &str, receipt: bool) -> Value {
        let mut frame = self.frame(method, args);
        if receipt {
            frame.insert_str(1, "\"receipt\":true,");
        }
        let reply = self.ask(&frame);
        self.see(&reply);
        reply
    }

    /// Takes the head of a reply.
    pub fn see(&mut self, reply: &Value) {
        if reply["head"].is_object() {
            let head = head_of(&reply["head"]);
            assert!(head.0.seqno >= self.head.0.seqno, "heads only grow");
            self.head = head;
        }
    }
}

fn head_of(head: &Value) -> (TxId, String) {
    let text = |name: &str| head[name].as_str().unwrap_or_else(|| panic!("{head}"));
    (text("transaction").parse().expect("a transaction"), text("root").to_owned())
}

pub fn frame(method: &str, args: &str, auth: &Value) -> String {
    let method = serde_json::to_string(method).expect("text");
    format!("{{\"jsonrpc\":\"2.0\",\"method\":{method},\"params\":{args},\"id\":1,\"auth\":{auth}}}")
}

fn reply(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// What came of a call: its result, or code, name and text of the refusal.
fn outcome(reply: &Value) -> String {
    match &reply["error"] {
        Value::Null => format!("→ {}", reply["result"]),
        error => {
            format!("{} {}: {}", error["code"], error["message"].as_str().expect("text"), error["data"].as_str().expect("text"))
        }
    }
}

/// The calls of a ledger that ran, without what only reads.
fn ran(place: &Place) -> Vec<String> {
    logged(&place.dir()).into_iter().map(|(method, args, _)| format!("{method}{args}")).collect()
}

fn stop(server: Server) {
    assert_eq!(server.stop(), Some(0));
}

/// `verify` passes, and says who has called.
fn verified(place: &Place, callers: Value) {
    let output = verify(&[path(&place.dir()), "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!(report["callers"], callers);
}

#[test]
fn each_altered_field_is_refused() {
    let place = place();
    let server = place.serve(&[]);
    let mut caller = Caller::connect(&server.url, 1);
    let own = caller.public();
    let other = Caller::connect(&server.url, 2).public();
    let mut text = String::new();
    let mut add = |caller: &mut Caller, what: &str, frame: &str| {
        let backend = caller.backend.clone();
        let shown = outcome(&caller.ask(frame)).replace(&backend, "<id>");
        writeln!(text, "{what:<44} {shown}").expect("written");
    };

    let good = caller.frame("add", "[1]");
    add(&mut caller, "a good call", &good);
    add(&mut caller, "the same frame again", &good);
    let who = caller.frame("who", "[]");
    add(&mut caller, "who calls", &who.clone());
    let auth = caller.auth("add", "[1]");
    add(&mut caller, "another method", &frame("who", "[1]", &auth));
    let auth = caller.auth("add", "[1]");
    add(&mut caller, "other arguments", &frame("add", "[2]", &auth));
    let auth = caller.auth("add", "[1]");
    add(&mut caller, "the same arguments with white space", &frame("add", "[ 1]", &auth));
    let auth = caller.auth("add", "[ 1 ]");
    add(&mut caller, "white space that was signed", &frame("add", "[ 1 ]", &auth));

    // One field each, the signature as it was.
    let session = caller.session.clone();
    let head = caller.head.0;
    let changes: [(&str, &str, String); 8] = [
        ("another counter", "nonce", format!("{session}.999")),
        ("another session", "nonce", format!("{:016x}.1", u64::MAX)),
        ("a head that is no signature", "head", format!("{}.1", head.view)),
        ("another root", "root", "0".repeat(64)),
        ("a signature of zeros", "signature", BASE64.encode([0; 64])),
        ("another key", "key", other),
        // The identity: with R = the identity and S = 0 it signs everything for who does not refuse it.
        ("a key of small order", "key", format!("01{}", "00".repeat(31))),
        ("another backend", "backend", "5f".repeat(32)),
    ];
    for (what, field, value) in changes {
        let mut auth = caller.auth("add", "[1]");
        auth[field] = value.into();
        if what == "a key of small order" {
            let mut signature = [0; 64];
            signature[0] = 1;
            auth["signature"] = BASE64.encode(signature).into();
        }
        add(&mut caller, what, &frame("add", "[1]", &auth));
    }
    for bit in [0, 255, 256, 511] {
        let mut auth = caller.auth("add", "[1]");
        let mut signature = BASE64.decode(auth["signature"].as_str().expect("text")).expect("base64");
        signature[bit / 8] ^= 1 << (bit % 8);
        auth["signature"] = BASE64.encode(signature).into();
        add(&mut caller, &format!("a signature with bit {bit} flipped"), &frame("add", "[1]", &auth));
    }

    // The same, signed again: now it is true that the caller says it.
    let changes: [(&str, &str, String); 10] = [
        ("signed: another backend", "backend", "5f".repeat(32)),
        ("signed: a counter that was used", "nonce", format!("{session}.1")),
        ("signed: the last counter again", "nonce", format!("{session}.2")),
        ("signed: counter zero", "nonce", format!("{session}.0")),
        ("signed: the same counter, another session", "nonce", format!("{}.1", self::session())),
        ("signed: a head with another root", "root", "ab".repeat(32)),
        ("signed: a head that does not exist", "head", format!("{}.99999", head.view)),
        ("signed: a head that is no signature", "head", format!("{}.1", head.view)),
        ("signed: a head of another view", "head", format!("{}.{}", head.view + 1, head.seqno)),
        ("signed: a counter far ahead", "nonce", format!("{session}.18446744073709551615")),
    ];
    for (what, field, value) in changes {
        let mut auth = caller.auth("add", "[1]");
        auth[field] = value.into();
        caller.sign(&mut auth, "add", "[1]");
        add(&mut caller, what, &frame("add", "[1]", &auth));
    }
    let next = caller.frame("add", "[1]");
    add(&mut caller, "nothing comes after the last counter", &next);

    // What is no `auth` at all.
    let mut caller = Caller::connect(&server.url, 1);
    for value in [json!(true), json!("text"), json!([]), json!({}), json!(1)] {
        add(&mut caller, &format!("auth: {value}"), &frame("add", "[1]", &value));
    }
    let nonce = |counter: &str| format!("{session}.{counter}");
    let shapes: [(&str, Value); 21] = [
        ("backend", json!(null)),
        ("backend", json!("")),
        ("key", json!(own.to_uppercase())),
        ("key", json!(&own[1..])),
        ("key", json!([1, 2])),
        ("nonce", json!(session)),
        ("nonce", json!(nonce(""))),
        ("nonce", json!(nonce("01"))),
        ("nonce", json!(nonce("+1"))),
        ("nonce", json!(nonce("-1"))),
        ("nonce", json!(nonce("18446744073709551616"))),
        ("nonce", json!(format!("{}.1", "AB".repeat(8)))),
        ("nonce", json!("ab.1")),
        ("head", json!("2")),
        ("head", json!("2.03")),
        ("head", json!("0.0")),
        ("head", json!(17)),
        ("root", json!("ab")),
        ("root", json!("AB".repeat(32))),
        ("signature", json!(BASE64.encode([0; 63]))),
        ("signature", json!(BASE64.encode([0; 64]).trim_end_matches('='))),
    ];
    for (field, value) in shapes {
        let mut auth = caller.auth("add", "[1]");
        let shown =
            value.to_string().replace(&own, "KEY").replace(&own.to_uppercase(), "KEY IN CAPITALS").replace(&session, "SESSION");
        let shown: String = shown.replace(&own[1..], "KEY WITHOUT ITS FIRST DIGIT").chars().take(34).collect();
        auth[field] = value;
        add(&mut caller, &format!("{field}: {shown}"), &frame("add", "[1]", &auth));
    }
    for field in ["backend", "key", "nonce", "head", "root", "signature"] {
        let mut auth = caller.auth("add", "[1]");
        auth.as_object_mut().expect("an object").remove(field);
        add(&mut caller, &format!("no {field}"), &frame("add", "[1]", &auth));
    }
    let mut auth = caller.auth("add", "[1]");
    auth["more"] = json!(1);
    add(&mut caller, "a field too many", &frame("add", "[1]", &auth));
    let twice = caller.frame("add", "[1]");
    add(&mut caller, "auth twice", &format!("{},\"auth\":{{}}}}", &twice[..twice.len() - 1]));
    let unknown = caller.frame("no such method", "[]");
    add(&mut caller, "an unknown method", &unknown);
    let read = caller.frame("total", "[]");
    add(&mut caller, "what only reads", &read);
    let mut auth = caller.auth("total", "[]");
    auth["backend"] = "5f".repeat(32).into();
    add(&mut caller, "what only reads, for another backend", &frame("total", "[]", &auth));
    let good = caller.frame("add", "[1]");
    add(&mut caller, "a good call in the end", &good);

    let shown = text.replace(&own, "<key>");
    expect_file!["callers/refusals.txt"].assert_eq(&shown);
    stop(server);
    // Refused calls have left nothing: the ledger has what got a result.
    let results = shown.lines().filter(|line| line.contains(" → ") && !line.starts_with("what only reads")).count();
    assert_eq!(ran(&place).len(), results);
    verified(&place, json!({"signed": results, "keys": 1, "anonymous": 0, "named": 0}));
}

/// Who signs, and who does not.
#[test]
fn anonymous_callers_and_names() {
    let place = place();
    let server = place.serve(&["--require-auth"]);
    let mut nobody = Socket::connect_as(&server.url, "/?user=bob");
    let mut signed = Caller::connect(&server.url, 3);
    let required = |what| Err(("AuthRequiredError".to_owned(), what));
    let text = "This backend takes signed calls only".to_owned();
    for method in ["add", "total"] {
        assert_eq!(nobody.call(method, "[1]"), required(text.clone()), "{method}");
    }
    let info: Value = serde_json::from_str(&nobody.result("handshake", "[]")).expect("JSON");
    assert_eq!((&info["requireAuth"], &info["readonly"]), (&json!(true), &json!(["total"])));
    assert_eq!(signed.call("who", "[]", false)["result"], json!(signed.public()));
    let frame = signed.frame("total", "[]");
    assert_eq!(signed.ask(&frame)["result"], json!(0));
    // A batch: each for itself.
    let signed_call = signed.frame("add", "[1]");
    let other = signed_call.replace("\"params\":[1]", "\"params\":[2]");
    let plain = r#"{"jsonrpc":"2.0","method":"add","params":[1],"id":1}"#;
    let next = signed.frame("add", "[1]");
    let replies = signed.socket.ask(&format!("[{signed_call},{signed_call},{other},{plain},{next}]"));
    let replies: Vec<Value> = serde_json::from_str(&replies).expect("JSON");
    let outcomes: Vec<String> = replies.iter().map(outcome).collect();
    let starts = ["→ 1", "-32001 ReplayedCallError: ", "-32001 AlteredCallError: ", "-32001 AuthRequiredError: ", "→ 2"];
    for (outcome, start) in outcomes.iter().zip(starts) {
        assert!(outcome.starts_with(start), "{outcomes:?}");
    }
    assert_eq!(outcomes.len(), starts.len());
    for reply in [&replies[0], &replies[4]] {
        assert!(reply["transaction"].is_string() && reply["head"]["root"].is_string(), "{reply}");
    }
    stop(server);
    assert_eq!(ran(&place), ["who[]", "add[1]", "add[1]"]);

    // Names are believed under --debug, but not next to a signature, and none that looks like a key.
    let server = place.serve(&["--debug"]);
    let mut bob = Socket::connect_as(&server.url, "/?user=bob");
    assert_eq!(bob.result("who", "[]"), "\"bob\"");
    let frame = signed_for(&server, "who", "[]");
    assert_eq!(
        outcome(&reply(&bob.ask(&frame))),
        "-32001 MalformedAuthError: A connection with a name of its own choice cannot sign"
    );
    for name in [signed.public(), signed.public().to_uppercase(), "0".repeat(64)] {
        let refused = Socket::try_connect(&server.url, &format!("/?user={name}")).err().expect("refused");
        assert!(refused.contains("400"), "{refused}");
        let output = server.call(&["who", "--user", &name]);
        assert_eq!(output.status.code(), Some(2), "{}", stdout(&output));
    }
    // One digit less is a name as any other.
    let almost = &signed.public()[1..];
    assert_eq!(Socket::connect_as(&server.url, &format!("/?user={almost}")).result("who", "[]"), format!("\"{almost}\""));
    stop(server);
    verified(&place, json!({"signed": 3, "keys": 1, "anonymous": 0, "named": 2}));
}

fn signed_for(server: &Server, method: &str, args: &str) -> String {
    Caller::connect(&server.url, 9).frame(method, args)
}

/// Two clients with one key, each with a session of its own; and two connections that send the very same frames.
#[test]
fn one_key_on_several_connections() {
    const CALLS: usize = 100;
    let place = place();
    let server = place.serve(&[]);
    let url = &server.url;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(move || {
                let mut caller = Caller::connect(url, 4);
                for _ in 0..CALLS {
                    let frame = caller.frame("add", "[1]");
                    caller.socket.send(&frame);
                }
                for _ in 0..CALLS {
                    let reply = reply(&caller.socket.receive());
                    assert!(reply["result"].is_number(), "{reply}");
                }
            });
        }
    });
    let mut caller = Caller::connect(url, 4);
    let frames: Vec<String> = (0..CALLS).map(|_| caller.frame("add", "[1]")).collect();
    let accepted: usize = std::thread::scope(|scope| {
        let thieves = [(), ()].map(|()| {
            let frames = &frames;
            scope.spawn(move || {
                let mut socket = Socket::connect(url);
                frames.iter().for_each(|frame| socket.send(frame));
                let outcomes = frames.iter().map(|_| outcome(&reply(&socket.receive())));
                outcomes.filter(|outcome| outcome.starts_with('→') || !outcome.contains(" ReplayedCallError: ")).count()
            })
        });
        thieves.into_iter().map(|thief| thief.join().expect("no panic")).sum()
    });
    assert!((1..=CALLS).contains(&accepted), "{accepted}");
    assert_eq!(Socket::connect(url).result("total", "[]"), (2 * CALLS + accepted).to_string());
    stop(server);
    assert_eq!(ran(&place).len(), 2 * CALLS + accepted);
    verified(&place, json!({"signed": 2 * CALLS + accepted, "keys": 1, "anonymous": 0, "named": 0}));
}

/// What was used once is used for ever: after a clean end, after `kill -9`, from the store and without it.
#[test]
fn nonces_survive() {
    let place = place();
    let args = ["--checkpoint-every", "5"];
    let mut server = place.serve(&args);
    let mut used: Vec<String> = Vec::new();
    let mut total = 0;
    for round in 0..4 {
        let mut caller = Caller::connect(&server.url, 5);
        for frame in &used {
            let refused = outcome(&caller.ask(frame));
            assert!(refused.starts_with("-32001 ReplayedCallError: the nonce "), "{round}: {refused}");
        }
        for _ in 0..7 {
            let frame = caller.frame("add", "[1]");
            total += 1;
            let reply = caller.ask(&frame);
            assert_eq!(reply["result"], json!(total), "{reply}");
            caller.see(&reply);
            used.push(frame);
        }
        match round % 2 {
            0 => stop(server),
            _ => server.kill(),
        }
        if round == 2 {
            fs::remove_dir_all(place.dir().join("state")).expect("there is a store");
        }
        server = place.serve(&args);
    }
    stop(server);
    assert_eq!(ran(&place).len(), total);
    verified(&place, json!({"signed": total, "keys": 1, "anonymous": 0, "named": 0}));
}

/// What the ledger says of a signed call, and what the caller hears of it.
#[test]
fn a_signed_call_in_the_log() {
    let place = place();
    let server = place.serve(&[]);
    let mut caller = Caller::connect(&server.url, 6);
    let auth = caller.auth("add", "[41]");
    let reply = caller.ask(&frame("add", "[41]", &auth));
    assert_eq!(reply["result"], json!(41));
    assert_eq!(reply["receipt"], Value::Null);
    stop(server);
    let log = run(&["log", path(&place.dir()), "--json"]);
    let line: Value = serde_json::from_str(stdout(&log).lines().last().expect("a line")).expect("JSON");
    assert_eq!(line["transaction"], reply["transaction"]);
    for (name, expected) in [("nonce", "nonce"), ("head", "head"), ("signature", "signature"), ("caller", "key")] {
        assert_eq!(line[name], auth[expected], "{name}: {line}");
    }
    let table = stdout(&run(&["log", path(&place.dir())]));
    let row = table.lines().last().expect("a row").split_whitespace().collect::<Vec<_>>().join(" ");
    let transaction = reply["transaction"].as_str().expect("text");
    assert_eq!(row, format!("1 {transaction} {}… add(41) → 41 files 1", &caller.public()[..16]));
}

/// Somebody with keys.
/// A folder with keys of its own, in which commands run.
pub struct Home(pub tempfile::TempDir);

impl Home {
    pub fn new() -> Home {
        Home(tempfile::tempdir().expect("a folder"))
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = glassbox();
        command.args(args).env("GLASSBOX_CONFIG", self.0.path()).env_remove("GLASSBOX_PASSPHRASE").current_dir(self.0.path());
        command
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("the command starts")
    }

    pub fn ask(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stdout(&output).trim_end().to_owned()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }
}

#[test]
fn the_command_signs_with_a_key() {
    let place = place();
    let server = place.serve(&[]);
    let home = Home::new();
    let who = |args: &[&str]| home.ask(&[&["call", &server.url, "who"], args].concat());
    assert_eq!(who(&[]), "null", "there is no key");
    let public = |name: &str| {
        let key: Value = serde_json::from_str(&home.ask(&["key", "show", name, "--json"])).expect("JSON");
        key["public"].as_str().expect("text").to_owned()
    };
    home.ask(&["key", "new", "ann"]);
    assert_eq!(who(&[]), "null", "ann is no default");
    assert_eq!(who(&["--key", "ann"]), format!("\"{}\"", public("ann")));
    home.ask(&["key", "new"]);
    assert_eq!(who(&[]), format!("\"{}\"", public("default")));
    assert_eq!(who(&["--anonymous"]), "null");
    assert_eq!(who(&["--key", "keys/ann.pem"]), format!("\"{}\"", public("ann")));
    let missing = home.run(&["call", &server.url, "who", "--key", "bob"]);
    assert_eq!((missing.status.code(), stdout(&missing).as_str()), (Some(2), ""), "{}", stderr(&missing));

    let secret =
        |args: &[&str], passphrase: &str| home.command(args).env("GLASSBOX_PASSPHRASE", passphrase).output().expect("it starts");
    assert!(secret(&["key", "new", "carl", "--passphrase"], "open sesame").status.success());
    let call = ["call", &server.url, "who", "--key", "carl"];
    let output = secret(&call, "open sesame");
    assert_eq!(stdout(&output).trim_end(), format!("\"{}\"", public("carl")), "{}", stderr(&output));
    let wrong = secret(&call, "open barley");
    assert_eq!(wrong.status.code(), Some(2));
    assert!(stderr(&wrong).contains("wrong passphrase"), "{}", stderr(&wrong));

    let repl = home.ask(&["repl", &server.url, "--key", "ann", "-e", "await client.who()"]);
    assert_eq!(repl.trim_matches(['\'', '"']), public("ann"));
    stop(server);
    verified(&place, json!({"signed": 5, "keys": 3, "anonymous": 3, "named": 0}));
}

/// A place with a server, and the file of a receipt of it.
fn with_receipt(home: &Home) -> (Place, PathBuf) {
    let place = place();
    let server = place.serve(&[]);
    home.ask(&["key", "new"]);
    let file = home.file("receipt.json");
    assert_eq!(home.ask(&["call", &server.url, "add", "41", "--receipt", "receipt.json"]), "41");
    stop(server);
    (place, file)
}

fn cert(place: &Place) -> PathBuf {
    place.dir().join("keys").join("service_cert.pem")
}

/// A receipt with something changed.
pub fn edit(file: &Path, change: impl FnOnce(&mut Value)) -> String {
    let mut receipt: Value = serde_json::from_str(&fs::read_to_string(file).expect("readable")).expect("JSON");
    change(&mut receipt);
    receipt.to_string()
}

#[test]
fn receipts_are_checked_without_the_backend() {
    let home = Home::new();
    let (place, file) = with_receipt(&home);
    let (other_home, cert) = (Home::new(), cert(&place));
    let (other, _) = with_receipt(&other_home);
    let other_cert = self::cert(&other);
    let saved: Value = serde_json::from_str(&fs::read_to_string(&file).expect("readable")).expect("JSON");
    let key: String = home.ask(&["key", "show"]).split_whitespace().find(|word| word.len() == 64).expect("a key").to_owned();

    let mut text = String::new();
    let mut show = |what: &str, file: &Path, args: &[&str]| {
        let output = home.run(&[&["receipt", "verify", path(file)], args].concat());
        let shown = (stdout(&output) + &stderr(&output)).replace(&key, "KEY").replace(path(home.0.path()), "HOME");
        let shown = shown.lines().map(|line| match line.strip_prefix("Service:     ") {
            Some(service) => format!("Service:     <64 hex>{}\n", &service[64..]),
            None => format!("{line}\n"),
        });
        write!(text, "# {what}\n{}[exit {}]\n", shown.collect::<String>(), output.status.code().expect("not killed"))
            .expect("written");
    };
    show("as it is", &file, &[]);
    show("with the service's certificate", &file, &["--service-cert", path(&cert)]);
    show("with another service's certificate", &file, &["--service-cert", path(&other_cert)]);
    show("with what is no certificate", &file, &["--service-cert", path(&file)]);
    show("no such file", &home.file("nothing.json"), &[]);
    let changed = home.file("changed.json");
    let replace = |field: &str, from: &str, to: &str| {
        edit(&file, |receipt| {
            let value = receipt[field].as_str().expect("text").to_owned();
            assert!(value.contains(from), "{field}: {value}");
            receipt[field] = value.replacen(from, to, 1).into();
        })
    };
    let flip = |field: &str| {
        edit(&file, |receipt| {
            let mut bytes = BASE64.decode(receipt[field].as_str().expect("text")).expect("base64");
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            receipt[field] = BASE64.encode(bytes).into();
        })
    };
    let changes: Vec<(&str, String)> = vec![
        ("another result", replace("record", "{\"result\":41}", "{\"result\":42}")),
        ("other arguments", replace("record", "[41]", "[42]")),
        ("another transaction", edit(&file, |receipt| receipt["transaction_id"] = json!("2.4711"))),
        ("the node's signature", flip("signature")),
        ("the COSE receipt", flip("cose")),
        ("a shorter proof", edit(&file, |receipt| drop(receipt["proof"].as_array_mut().expect("a list").pop()))),
        (
            "the write set's digest",
            edit(&file, |receipt| receipt["leaf_components"]["write_set_digest"] = json!("00".repeat(32))),
        ),
        ("the claims digest", edit(&file, |receipt| receipt["leaf_components"]["claims_digest"] = json!("00".repeat(32)))),
        ("another node", edit(&file, |receipt| receipt["node_id"] = json!("00".repeat(32)))),
        (
            "another service's certificate in it",
            edit(&file, |receipt| receipt["service_cert"] = fs::read_to_string(&other_cert).expect("readable").into()),
        ),
        ("no record", edit(&file, |receipt| drop(receipt.as_object_mut().expect("an object").remove("record")))),
        ("no JSON", "{".into()),
    ];
    for (what, json) in &changes {
        fs::write(&changed, json).expect("written");
        show(&format!("changed: {what}"), &changed, &["--service-cert", path(&cert)]);
    }
    // Somebody's note proves nothing and harms nothing.
    fs::write(&changed, edit(&file, |receipt| receipt["note"] = json!("keep"))).expect("written");
    show("changed: a note", &changed, &["--service-cert", path(&cert)]);
    let time =
        saved["record"].as_str().expect("text").split("\"time\":").nth(1).expect("a time").split('}').next().expect("a number");
    expect_file!["callers/receipts.txt"].assert_eq(&text.replace(time, "TIME"));

    let output = home.run(&["receipt", "verify", path(&file), "--service-cert", path(&cert), "--json"]);
    let found: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((&found["verified"], &found["pinned"], &found["result"]), (&json!(true), &json!(true), &json!({"result": 41})));
    assert_eq!((&found["transaction"], &found["input"]["caller"]), (&saved["transaction_id"], &json!(key)));
    fs::write(&changed, &changes[0].1).expect("written");
    let output = home.run(&["receipt", "verify", path(&changed), "--json"]);
    let found: Value = serde_json::from_str(&stdout(&output)).expect("JSON");
    assert_eq!((output.status.code(), &found["verified"]), (Some(1), &json!(false)), "{found}");

    let cose = home.file("receipt.cose");
    home.ask(&["receipt", "cose", path(&file), path(&cose)]);
    assert_eq!(BASE64.encode(fs::read(&cose).expect("written")), saved["cose"].as_str().expect("text"));
    let report = verify(&[path(&place.dir()), "--receipts", path(home.0.path())]);
    assert_eq!(report.status.code(), Some(1), "changed.json is there too: {}", stdout(&report));
    fs::remove_file(&changed).expect("there");
    let report = verify(&[path(&place.dir()), "--receipts", path(home.0.path())]);
    assert_eq!(report.status.code(), Some(0), "{}{}", stdout(&report), stderr(&report));
}

/// The public tool of CCF takes the file as it is.
#[test]
fn ccf_accepts_a_receipt() {
    let home = Home::new();
    let (place, file) = with_receipt(&home);
    let output = validate_receipt(&file, &cert(&place));
    assert!(output.status.success(), "{}", stderr(&output));
    fs::write(&file, edit(&file, |receipt| receipt["leaf_components"]["write_set_digest"] = json!("00".repeat(32))))
        .expect("written");
    assert!(!validate_receipt(&file, &cert(&place)).status.success());
}

/// What fails has a receipt too; what is refused has none, and no file.
#[test]
fn receipts_of_failures() {
    let place = place();
    let server = place.serve(&[]);
    let home = Home::new();
    home.ask(&["key", "new"]);
    let output = home.run(&["call", &server.url, "fail", "\"größe\"", "--receipt", "failed.json"]);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(1), "ERROR: RangeError: größe\n"));
    let shown = home.ask(&["receipt", "verify", "failed.json"]);
    assert!(shown.contains("\nResult:      RangeError: größe\n"), "{shown}");
    assert_eq!(home.ask(&["call", &server.url, "nothing", "--receipt", "nothing.json"]), "");
    assert!(home.ask(&["receipt", "verify", "nothing.json"]).contains("\nResult:      undefined\n"));
    // A method that only reads is recorded for a receipt.
    assert_eq!(home.ask(&["call", &server.url, "total", "--anonymous", "--receipt", "total.json"]), "0");
    let shown = home.ask(&["receipt", "verify", "total.json"]);
    assert!(shown.contains("\nCall:        total()\nCaller:      anonymous\nResult:      0\n"), "{shown}");
    let output = home.run(&["call", &server.url, "missing", "--receipt", "missing.json"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(!home.file("missing.json").exists());
    // A folder of receipts, one for each call, from the first to the last.
    for n in 1..=3 {
        home.ask(&["call", &server.url, "add", &n.to_string(), "--receipts", "kept"]);
    }
    assert_eq!(fs::read_dir(home.file("kept")).expect("a folder").count(), 3);
    let checked = verify(&[&server.url, "--receipts", path(&home.file("kept"))]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", stdout(&checked), stderr(&checked));
    stop(server);
}
