//! Receipts of calls of vats: of those that settle at once, and of those that settle in a later transaction.

use super::Folder;
use super::serve::{Served, again, serve};
use crate::callers::{Home, edit};
use crate::clients::validate_receipt;
use crate::raw::tcp;
use crate::support::{Place, Server, stderr, stdout};
use crate::verify::{copy_dir, forge, path, replace, verify};
use ledger::TxId;
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use tungstenite::Message;

const BANK: &str = "import { E, Far } from '@endo/far';
export const buildRootObject = () => {
  let total = 0;
  let timer;
  const waiting = [];
  return Far('root', {
    use: service => { timer = service; },
    add: n => (total += n),
    nothing() {},
    nil: () => null,
    text: () => 'größe\\n',
    fail() { throw new RangeError('too much'); },
    promise: () => new Promise((resolve, reject) => waiting.push({ resolve, reject })),
    waiting: () => waiting.length,
    release(value) { for (const { resolve } of waiting.splice(0)) resolve(value); },
    refuse() { for (const { reject } of waiting.splice(0)) reject(new RangeError('in the end')); },
    later: () => E(timer).delay(50n).then(() => 'late'),
  });
};
";

fn bank() -> Folder {
    Folder::new(&[
        (
            "bootstrap.js",
            "import { E, Far } from '@endo/far';
export const buildRootObject = () => Far('root', {
  bootstrap: async (vats, devices) => {
    await E(vats.bank).use(E(vats.timer).createTimerService(devices.timer));
    await E(vats.http).register(vats.bank);
  },
});
",
        ),
        ("vat-bank.js", BANK),
    ])
}

/// Once `bootstrap` has registered it.
fn ready(folder: &Folder) -> Served {
    let served = serve(folder.path(), &[]);
    while !served.server.call(&["waiting"]).status.success() {
        std::thread::yield_now();
    }
    served
}

fn dir(place: &Place) -> PathBuf {
    place.root().join("kernel")
}

fn cert(place: &Place) -> PathBuf {
    dir(place).join("keys/service_cert.pem")
}

fn read(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).expect("a receipt")).expect("JSON")
}

fn record(receipt: &Value) -> &str {
    receipt["record"].as_str().expect("text")
}

fn txid(receipt: &Value) -> TxId {
    receipt["transaction_id"].as_str().expect("text").parse().expect("a transaction")
}

/// What `receipt verify` says of a good one, from its call on.
fn shown(home: &Home, file: &str, place: &Place) -> String {
    let text = home.ask(&["receipt", "verify", file, "--service-cert", path(&cert(place))]);
    let (_, said) = text.split_once("\nCall:        ").unwrap_or_else(|| panic!("{text}"));
    said.split_once("\nService:").expect("a service").0.to_owned()
}

/// Why `receipt verify` does not believe it.
fn refused(home: &Home, file: &Path, place: &Place) -> String {
    let output = home.run(&["receipt", "verify", path(file), "--service-cert", path(&cert(place))]);
    assert_eq!(output.status.code(), Some(1), "{}{}", stdout(&output), stderr(&output));
    stderr(&output)
}

/// A call that will wait, once it does.
fn begin(home: &Home, server: &Server, args: &[&str], waiting: u32) -> Child {
    let mut command = home.command(&[&["call", &server.url], args].concat());
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    while server.ask(&["waiting"]) != waiting.to_string() {
        std::thread::yield_now();
    }
    child
}

fn end(child: Child) -> String {
    let output = child.wait_with_output().expect("it ends");
    (stdout(&output) + &stderr(&output)).trim_end().to_owned()
}

#[test]
fn what_settles_at_once() {
    let folder = bank();
    let Served { place, server } = ready(&folder);
    let home = Home::new();
    let call = |args: &[&str]| {
        let output = home.run(&[&["call", &server.url], args, &["--receipt", "receipt.json"]].concat());
        let said = (stdout(&output) + &stderr(&output)).trim_end().to_owned();
        (said, shown(&home, "receipt.json", &place))
    };
    let anonymous = |call: &str, result: &str| format!("{call}\nCaller:      anonymous\nResult:      {result}");
    assert_eq!(call(&["add", "5"]), ("5".into(), anonymous("add(5)", "5")));
    let receipt = read(&home.file("receipt.json"));
    assert!(
        receipt["call"].as_str().is_some_and(|call| call.starts_with("{\"call\":\"add\",\"args\":[5],\"time\":")),
        "{receipt}"
    );
    assert!(validate_receipt(&home.file("receipt.json"), &cert(&place)).status.success(), "CCF's tool takes it as it is");
    assert_eq!(call(&["nothing"]), (String::new(), anonymous("nothing()", "undefined")));
    assert_eq!(call(&["nil"]), ("null".into(), anonymous("nil()", "null")));
    assert_eq!(call(&["text"]), ("\"größe\\n\"".into(), anonymous("text()", "\"größe\\n\"")));
    assert_eq!(call(&["fail"]), ("ERROR: RangeError: too much".into(), anonymous("fail()", "RangeError: too much")));
    let json: Value = serde_json::from_str(&home.ask(&["receipt", "verify", "receipt.json", "--json"])).expect("JSON");
    assert_eq!((&json["input"]["call"], &json["result"]["error"]["name"]), (&json!("fail"), &json!("RangeError")));

    home.ask(&["key", "new"]);
    let key: Value = serde_json::from_str(&home.ask(&["key", "show", "--json"])).expect("JSON");
    let (said, shown) = call(&["add", "2"]);
    assert_eq!(said, "7");
    assert_eq!(shown, format!("add(2)\nCaller:      {}\nResult:      7", key["public"].as_str().expect("text")));
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn what_settles_later() {
    let folder = bank();
    let Served { place, server } = ready(&folder);
    let home = Home::new();
    // By another call, two at once: one transaction, a receipt for each, and one that wants none.
    let kept = ["--receipts", "kept"];
    let first = begin(&home, &server, &[&["promise", "1"], &kept[..]].concat(), 1);
    let second = begin(&home, &server, &[&["promise", "2"], &kept[..]].concat(), 2);
    let third = begin(&home, &server, &["promise", "3"], 3);
    assert_eq!(server.ask(&["release", "[7]"]), "");
    assert_eq!([end(first), end(second), end(third)], ["[7]", "[7]", "[7]"]);
    let mut files: Vec<_> = fs::read_dir(home.file("kept")).expect("a folder").map(|file| file.expect("a file").path()).collect();
    files.sort();
    let [one, other] = &files[..] else { panic!("{files:?}") };
    let receipts = [read(one), read(other)];
    assert_eq!(record(&receipts[0]), record(&receipts[1]));
    assert!(record(&receipts[0]).starts_with("{\"call\":\"release\","), "{}", receipts[0]);
    assert_ne!(receipts[0]["call"], receipts[1]["call"]);
    let mut calls = files.iter().map(|file| shown(&home, path(file), &place)).collect::<Vec<_>>();
    calls.sort();
    let expected = |n| format!("promise({n})\nCaller:      anonymous\nResult:      [7]");
    assert_eq!(calls, [expected(1), expected(2)]);

    // By an error, signed.
    home.ask(&["key", "new"]);
    let call = begin(&home, &server, &[&["promise"], &kept[..]].concat(), 1);
    server.ask(&["refuse"]);
    assert_eq!(end(call), "ERROR: RangeError: in the end");
    // By the timer, when nothing else comes.
    let result = home.ask(&["call", &server.url, "later", "--receipt", "kept/later.json"]);
    assert_eq!(result, "\"late\"");
    let receipt = read(&home.file("kept/later.json"));
    assert!(record(&receipt).starts_with("{\"vats\":\"tick\","), "{receipt}");
    assert!(shown(&home, "kept/later.json", &place).starts_with("later()\nCaller:      "));
    let checked = verify(&[&server.url, "--receipts", path(&home.file("kept"))]);
    assert!(stdout(&checked).contains("✔4 receipts verified.\n"), "{}{}", stdout(&checked), stderr(&checked));

    // A call whose caller has gone with the server: it settles all the same, and its digest with it.
    let call = begin(&home, &server, &["promise", "\"kept\""], 1);
    assert_eq!(server.stop(), Some(0));
    assert!(end(call).starts_with("ERROR: "));
    let server = again(&place, folder.path(), &[]);
    home.ask(&["call", &server.url, "release", "1", "--receipt", "release.json"]);
    let receipt = read(&home.file("release.json"));
    assert_eq!(record(&receipt).matches("\"input\":\"").count(), 2, "{receipt}");
    assert_eq!(server.stop(), Some(0));
    let checked = verify(&[path(&dir(&place)), "--receipts", path(&home.file("kept"))]);
    assert_eq!(checked.status.code(), Some(0), "{}{}", stdout(&checked), stderr(&checked));
}

const RAW: &str = "RAW";

/// What becomes of a reply.
type Lie = Box<dyn Fn(&mut Value) + Send>;

/// Between client and server: passes on one connection's frames, replies changed.
fn liar(server: &Server, lie: impl Fn(Value) -> Value + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("an address").to_string();
    let url = server.url.clone();
    std::thread::spawn(move || {
        let Ok((stream, _)) = listener.accept() else { return };
        let mut client = tungstenite::accept(stream).expect("it shakes hands");
        let (mut server, _) = tungstenite::client(format!("ws://{url}/"), tcp(&url)).expect("it shakes hands");
        while let Ok(message) = client.read() {
            if message.is_text() {
                server.send(message).expect("sent");
                let reply = server.read().expect("a reply").into_text().expect("text");
                let reply = lie(serde_json::from_str(&reply).expect("JSON"));
                // As it stood, not as it is read: in RAW.
                let raw = reply["result"].as_str().and_then(|text| text.strip_prefix(RAW)).unwrap_or_default().to_owned();
                let text = reply.to_string().replace(&json!(format!("{RAW}{raw}")).to_string(), &raw);
                client.send(Message::text(text)).expect("sent");
            }
        }
    });
    at
}

#[test]
fn a_backend_that_lies_to_its_caller() {
    let folder = bank();
    let Served { server, .. } = ready(&folder);
    let home = Home::new();
    home.ask(&["call", &server.url, "add", "1", "--anonymous", "--receipt", "old.json"]);
    let old = read(&home.file("old.json"));
    let told = |args: &[&str], lie: Lie| {
        let url = liar(&server, move |mut reply| {
            if reply["receipt"].is_object() {
                lie(&mut reply);
            }
            reply
        });
        let output = home.run(&[&["call", &url], args, &["--anonymous", "--receipt", "new.json"]].concat());
        stdout(&output) + &stderr(&output)
    };
    const OTHER: &str = "does not hold: it is of another call, or of another result";
    const SILENT: &str = "does not hold: its record says nothing of its call";
    assert_eq!(told(&["add", "1"], Box::new(|_| ())), "2\n");
    let cases: Vec<(&str, &[&str], Lie, &str)> = vec![
        ("another result", &["add", "1"], Box::new(|reply| reply["result"] = json!(1)), OTHER),
        ("none", &["add", "1"], Box::new(|reply| reply["receipt"] = Value::Null), "the backend gave no receipt"),
        ("undefined", &["nil"], Box::new(|reply| drop(reply.as_object_mut().expect("an object").remove("result"))), OTHER),
        ("null", &["nothing"], Box::new(|reply| reply["result"] = Value::Null), OTHER),
        (
            "another error",
            &["fail"],
            Box::new(|reply| reply["error"] = json!({"code": -32000, "message": "RangeError", "data": ""})),
            OTHER,
        ),
        (
            "the receipt of the same call, from earlier",
            &["add", "1"],
            Box::new({
                let old = old.clone();
                move |reply| (reply["receipt"], reply["result"]) = (old.clone(), json!(1))
            }),
            "it is of an earlier call",
        ),
        (
            "an earlier receipt",
            &["add", "2"],
            Box::new({
                let old = old.clone();
                move |reply| (reply["receipt"], reply["result"]) = (old.clone(), json!(1))
            }),
            OTHER,
        ),
        (
            "the call of an earlier receipt",
            &["add", "2"],
            Box::new(move |reply| reply["receipt"]["call"] = old["call"].clone()),
            SILENT,
        ),
        (
            "the summary for the result",
            &["add", "2"],
            Box::new(|reply| {
                let receipt = reply["receipt"].as_object_mut().expect("a receipt");
                receipt.remove("call");
                let line = record(&reply["receipt"]).rsplit('\n').next().expect("a line");
                let summary = line.strip_prefix("{\"vats\":").and_then(|rest| rest.strip_suffix('}')).expect("a summary");
                reply["result"] = format!("{RAW}{summary}").into();
            }),
            OTHER,
        ),
        (
            "undefined for the result",
            &["add", "2"],
            Box::new(|reply| {
                reply["receipt"].as_object_mut().expect("a receipt").remove("call");
                reply.as_object_mut().expect("an object").remove("result");
            }),
            OTHER,
        ),
    ];
    for (what, args, lie, expected) in cases {
        let said = told(args, lie);
        assert!(said.contains(expected), "{what}: {said}");
        let _ = fs::remove_file(home.file("new.json"));
    }
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn changed_receipts_and_ledgers() {
    let folder = bank();
    let Served { place, server } = ready(&folder);
    let home = Home::new();
    home.ask(&["call", &server.url, "add", "5", "--receipt", "add.json"]);
    let call = begin(&home, &server, &["promise", "--receipts", "kept"], 1);
    server.ask(&["release", "[41]"]);
    assert_eq!(end(call), "[41]");
    server.ask(&["add", "1"]);
    assert_eq!(server.stop(), Some(0));
    let file = fs::read_dir(home.file("kept")).expect("a folder").next().expect("a file").expect("a file").path();
    let (add, receipt) = (read(&home.file("add.json")), read(&file));
    let (text, settled) = (receipt["call"].as_str().expect("text").to_owned(), txid(&receipt));

    let changed = home.file("changed.json");
    let change = |what: &dyn Fn(&mut Value)| {
        fs::write(&changed, edit(&file, what)).expect("written");
        refused(&home, &changed, &place)
    };
    const SILENT: &str = "its record says nothing of its call";
    let said = change(&|receipt| receipt["call"] = text.replace("promise", "premise").into());
    assert!(said.contains(SILENT), "{said}");
    let said = change(&|receipt| receipt["call"] = add["call"].clone());
    assert!(said.contains(SILENT), "{said}");
    let said = change(&|receipt| receipt["call"] = json!("{}"));
    assert!(said.contains("malformed input"), "{said}");
    let said = change(&|receipt| receipt["record"] = record(receipt).replace("[41]", "[42]").into());
    assert!(said.contains("record"), "{said}");
    // Without its call it is the receipt of what the vats did, and of no answer.
    fs::write(&changed, edit(&file, |receipt| drop(receipt.as_object_mut().expect("an object").remove("call"))))
        .expect("written");
    let said = shown(&home, path(&changed), &place);
    assert!(said.starts_with("release([41])") && said.contains("\nVats did:    {\"cranks\":"), "{said}");

    let check = || verify(&[path(&dir(&place)), "--receipts", path(&home.file("kept"))]);
    let output = check();
    assert!(stdout(&output).contains("✔1 receipt verified.\n"), "{}{}", stdout(&output), stderr(&output));
    let expect = |what: &str, said: &str| {
        let output = check();
        assert_eq!(output.status.code(), Some(1), "{what}: {}", stdout(&output));
        let text = stderr(&output);
        assert!(text.starts_with("✖Receipts mismatch.\n") && text.contains(said), "{what}: {text}");
    };
    let honest = place.root().join("honest");
    copy_dir(&dir(&place), &honest);
    // Cut off, and signed again.
    forge(&dir(&place), |at, _| at.seqno < settled.seqno);
    expect("truncated", &format!("the service has signed that promise() has settled in transaction {settled}, the ledger "));
    // Another result, which an audit without receipts finds, too.
    copy_dir(&honest, &dir(&place));
    forge(&dir(&place), |at, writes| {
        if at == settled {
            replace(writes, "\"result\":[41]", "\"result\":[42]");
        }
        true
    });
    assert_eq!(verify(&[path(&dir(&place))]).status.code(), Some(1));
    // A digest that is not the call's: what settles is part of what is replayed.
    copy_dir(&honest, &dir(&place));
    let digest = ledger::hex::encode(&ledger::sha256(text.as_bytes()));
    forge(&dir(&place), |at, writes| {
        if at == settled {
            replace(writes, &digest, &"0".repeat(64));
        }
        true
    });
    let output = verify(&[path(&dir(&place))]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    assert!(stderr(&output).contains("Call log mismatch"), "{}", stderr(&output));
    // A receipt whose call its record does not speak of.
    copy_dir(&honest, &dir(&place));
    fs::write(&file, edit(&file, |receipt| receipt["call"] = add["call"].clone())).expect("written");
    expect("another call", SILENT);
}

/// What a script returns cannot pass for what vats say.
#[test]
fn a_script_speaks_of_no_call() {
    let place = Place::new("echo.js", "exports.echo = x => x");
    let server = place.serve(&[]);
    let home = Home::new();
    let call = "{\"call\":\"balance\",\"args\":[],\"time\":1}";
    let digest = ledger::hex::encode(&ledger::sha256(call.as_bytes()));
    let summary = format!(
        "{{\"cranks\":1,\"idle\":true,\"activity\":\"{}\",\"settled\":[{{\"call\":1,\"input\":\"{digest}\",\"result\":999}}]}}",
        "0".repeat(64)
    );
    let file = home.file("echo.json");
    for args in [summary.clone(), format!("{{\"vats\":{summary}}}")] {
        home.ask(&["call", &server.url, "echo", &args, "--anonymous", "--receipt", "echo.json"]);
        assert!(record(&read(&file)).contains(&summary));
        let forged = edit(&file, |receipt| receipt["call"] = call.into());
        fs::write(&file, forged).expect("written");
        let output = home.run(&["receipt", "verify", path(&file)]);
        assert!(stderr(&output).contains("its record says nothing of its call"), "{}{}", stdout(&output), stderr(&output));
    }
    assert_eq!(server.stop(), Some(0));
}
