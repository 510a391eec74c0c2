//! Methods that only read: beside the calls, at the last state that is durable, and without a trace.

use crate::raw::{Socket, logged};
use crate::support::{Place, Server, run, stderr, stdout};
use crate::verify::{path, verify};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

const SCRIPT: &str = "let value = 0
let scribbles = 0
exports.set = async n => { value = n; await System.files.writeFile('/value', String(n), 'utf8'); return n }
exports.fail = async n => { value = n; await System.files.writeFile('/value', String(n), 'utf8'); throw new RangeError('no') }
exports.spin = () => { for (;;) {} }
exports.scribbles = () => scribbles
function reads (methods) {
  for (const [name, method] of Object.entries(methods)) { exports[name] = method; exports[name].readonly = true }
}
reads({
  get: () => value,
  both: async () => [value, await System.files.readFile('/value', 'utf8').catch(() => null)],
  list: () => System.files.readdir('/'),
  write: () => System.files.writeFile('/value', 'written'),
  writeAndCatch: () => System.files.writeFile('/value', 'written').then(() => 'done', error => error.name),
  unlink: () => System.files.unlink('/value'),
  mkdir: () => System.files.mkdir('/folder'),
  ask: () => System.oracle(() => 1),
  scribble: () => { value = 'scribbled'; scribbles++; globalThis.left = 1; return [value, scribbles, typeof left] },
  later: async () => { await new Promise(done => setTimeout(done, 5)); return value },
  throws: why => { throw new TypeError(why) },
  echo: (...args) => args,
  nothing: () => {},
  who: () => System.caller.id,
  random: () => Math.random(),
  now: () => Date.now(),
  endless: () => { for (;;) {} },
  deep: () => { const f = () => 1 + f(); return f() },
  hog: () => { const all = []; for (;;) all.push('x'.repeat(1 << 20) + all.length) }
})";

fn place() -> Place {
    Place::new("board.js", SCRIPT)
}

fn stop(server: Server) {
    assert_eq!(server.stop(), Some(0));
}

fn ran(place: &Place) -> Vec<String> {
    logged(&place.dir()).into_iter().map(|(method, ..)| method).collect()
}

fn name(reply: crate::raw::Reply) -> String {
    reply.expect_err("it throws").0
}

#[test]
fn what_a_read_can_do() {
    let place = place();
    let server = place.serve(&["--debug", "--instructions", "200000000", "--heap-mib", "16"]);
    let mut socket = Socket::connect_as(&server.url, "/?user=bob");
    assert_eq!(socket.result("both", "[]"), "[0,null]");
    assert_eq!(socket.result("set", "[7]"), "7");
    for (method, args, expected) in [
        ("get", "[]", "7"),
        ("both", "[]", "[7,\"7\"]"),
        ("echo", "[1,\"~ü\",null]", "[1,\"~ü\",null]"),
        ("nothing", "[]", ""),
        ("later", "[]", "7"),
        ("who", "[]", "\"bob\""),
        ("writeAndCatch", "[]", "\"ReadOnlyError\""),
        // What it does to variables ends with it.
        ("scribble", "[]", "[\"scribbled\",1,\"number\"]"),
        ("scribble", "[]", "[\"scribbled\",1,\"number\"]"),
        ("get", "[]", "7"),
    ] {
        assert_eq!(socket.result(method, args), expected, "{method}");
    }
    for method in ["write", "unlink", "mkdir", "ask"] {
        assert_eq!(name(socket.call(method, "[]")), "ReadOnlyError", "{method}");
        assert_eq!(socket.result("both", "[]"), "[7,\"7\"]", "{method}");
    }
    assert_eq!(socket.call("throws", "[\"größe\"]"), Err(("TypeError".into(), "größe".into())));
    // Limits hold for reads as for calls, and the next read does not feel them.
    for method in ["endless", "deep", "hog"] {
        let reply = socket.call(method, "[]");
        assert!(reply.is_err(), "{method}: {reply:?}");
        assert_eq!(socket.result("both", "[]"), "[7,\"7\"]", "{method}");
    }
    let random = [(); 3].map(|()| socket.result("random", "[]"));
    assert!(random[0] != random[1] && random[1] != random[2], "{random:?}");
    let before: u64 = socket.result("now", "[]").parse().expect("a number");
    let after: u64 = socket.result("now", "[]").parse().expect("a number");
    assert!(before <= after && before > 1_700_000_000_000, "{before} {after}");
    // In a batch, between calls: at the state of their turn or later.
    let call = |method: &str, id: u32| format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":[8],\"id\":{id}}}");
    let batch = socket.ask(&format!("[{},{},{}]", call("get", 1), call("set", 2), call("nothing", 3)));
    assert!(batch.ends_with(",{\"jsonrpc\":\"2.0\",\"result\":8,\"id\":2},{\"jsonrpc\":\"2.0\",\"id\":3}]"), "{batch}");
    assert_eq!(socket.result("scribbles", "[]"), "0");
    let text = socket.ask(r#"{"jsonrpc":"2.0","method":"get","id":1,"receipt":true}"#);
    assert!(text.contains("\"result\":8,") && text.contains("\"transaction\":\"") && text.contains("\"receipt\":{"), "{text}");
    // With a transaction it may write no more than before.
    for (method, part) in [("scribble", "\"result\":[\"scribbled\",1,\"number\"]"), ("write", "\"message\":\"ReadOnlyError\"")] {
        let text = socket.ask(&format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"id\":1,\"receipt\":true}}"));
        assert!(text.contains(part) && text.contains("\"receipt\":{"), "{text}");
        assert_eq!(socket.result("both", "[]"), "[8,\"8\"]", "{method}");
        assert_eq!(socket.result("scribbles", "[]"), "0");
    }
    stop(server);
    assert_eq!(
        ran(&place),
        ["set", "set", "scribbles", "get", "scribble", "scribbles", "write", "scribbles"],
        "reads are no transactions"
    );
    let output = verify(&[path(&place.dir())]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

/// What was acknowledged is seen by the next read, on this connection and on others.
#[test]
fn reads_see_the_newest_acknowledged_write() {
    let place = place();
    let server = place.serve(&[]);
    let mut writer = Socket::connect(&server.url);
    let mut other = Socket::connect(&server.url);
    for n in 1..=200 {
        assert_eq!(writer.result("set", &format!("[{n}]")), n.to_string());
        let expected = format!("[{n},\"{n}\"]");
        assert_eq!(writer.result("both", "[]"), expected);
        assert_eq!(other.result("both", "[]"), expected);
        if n % 10 == 0 {
            assert_eq!(name(writer.call("fail", "[-1]")), "RangeError");
            assert_eq!(other.result("both", "[]"), expected);
        }
    }
    stop(server);
    assert_eq!(ran(&place).len(), 220);
}

/// While calls come and fail, no read sees half of one, one that failed, or an older state than was acknowledged before.
#[test]
fn reads_under_load() {
    const WRITES: u64 = 2_000;
    let place = place();
    let server = place.serve(&["--checkpoint-every", "50"]);
    let url = &server.url;
    let (acknowledged, over, reads) = (AtomicU64::new(0), AtomicBool::new(false), AtomicU64::new(0));
    Socket::connect(url).result("set", "[0]");
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut socket = Socket::connect(url);
                let mut last = 0;
                while !over.load(SeqCst) {
                    let at_least = acknowledged.load(SeqCst);
                    let text = socket.result("both", "[]");
                    let (value, file): (u64, String) =
                        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                    assert_eq!(value.to_string(), file, "half of a call");
                    assert!(value % 3 != 2, "{value}: of a call that failed");
                    assert!(value >= at_least && value >= last, "{value} after {at_least} and {last}");
                    last = value;
                    reads.fetch_add(1, SeqCst);
                }
            });
        }
        scope.spawn(|| {
            let mut socket = Socket::connect(url);
            let mut next = 1;
            for n in 1..=WRITES {
                while next <= WRITES && next < n + 8 {
                    socket.begin(if next % 3 == 2 { "fail" } else { "set" }, &format!("[{next}]"));
                    next += 1;
                }
                let (_, reply) = socket.end().expect("a reply");
                if reply.is_ok() {
                    acknowledged.store(n, SeqCst);
                }
            }
            over.store(true, SeqCst);
        });
    });
    println!("{} reads beside {WRITES} writes", reads.load(SeqCst));
    assert!(reads.load(SeqCst) > 10);
    assert!(!server.log().contains("begins again"), "{}", server.log());
    stop(server);
    assert_eq!(ran(&place).len() as u64, 1 + WRITES);
}

/// Reads while other calls use all that a call may.
#[test]
fn reads_do_not_wait_for_long_calls() {
    const CALLS: usize = 4;
    let place = place();
    let server = place.serve(&["--instructions", "2000000000"]);
    let mut writer = Socket::connect(&server.url);
    let mut reader = Socket::connect(&server.url);
    writer.result("set", "[5]");
    assert_eq!(reader.result("get", "[]"), "5");
    let (over, mut times) = (AtomicBool::new(false), Vec::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..CALLS {
                writer.begin("spin", "[]");
            }
            for _ in 0..CALLS {
                assert!(writer.end().expect("a reply").1.is_err());
            }
            over.store(true, SeqCst);
        });
        while !over.load(SeqCst) {
            let began = Instant::now();
            assert_eq!(reader.result("both", "[]"), "[5,\"5\"]");
            times.push(began.elapsed());
        }
    });
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    println!("{} reads: p50 {:?}, p99 {:?}, max {:?}", times.len(), at(0.5), at(0.99), at(1.0));
    assert!(times.len() > 20 && at(0.99) < Duration::from_millis(250), "{} reads, p99 {:?}", times.len(), at(0.99));
    stop(server);
    assert_eq!(ran(&place).len(), 1 + CALLS);
}

/// New code while reads go on: each read is of the old code or of the new one, and the old one does not come back.
#[test]
fn upgrades_while_readers_read() {
    let place = place();
    let server = place.serve(&[]);
    Socket::connect(&server.url).result("set", "[3]");
    let migrate = "\nexports.migrate = previous => { value = previous.value }\n";
    let version = |n: u32| format!("{SCRIPT}\nreads({{ version: () => [{n}, value] }}){migrate}");
    let new = place.root().join("new.js");
    let upgrade = |source: &str| {
        std::fs::write(&new, source).expect("written");
        let output = run(&["upgrade", path(&place.dir()), path(&new)]);
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    };
    upgrade(&version(0));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let readers = [(), ()].map(|()| {
            scope.spawn(|| {
                let mut socket = Socket::connect(&server.url);
                let (mut last, mut reads) = (0, 0);
                while !over.load(SeqCst) {
                    let text = socket.result("version", "[]");
                    let (version, value): (u32, u32) =
                        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
                    assert_eq!(value, 3, "migrated, or not yet replaced");
                    assert!(version >= last, "{version} after {last}");
                    last = version;
                    reads += 1;
                }
                (last, reads)
            })
        });
        for n in 1..=5 {
            upgrade(&version(n));
        }
        over.store(true, SeqCst);
        for reader in readers {
            let (last, reads) = reader.join().expect("no panic");
            println!("{reads} reads, the last of version {last}");
        }
    });
    let mut socket = Socket::connect(&server.url);
    assert_eq!(socket.result("version", "[]"), "[5,3]");

    // What only read is gone, or is a method as any other; what was one only reads now.
    upgrade("let n = 0\nexports.version = () => ++n\nexports.set = () => n\nexports.set.readonly = true");
    assert_eq!(socket.call("get", "[]"), Err(("Method not found".into(), "get".into())));
    assert_eq!((socket.result("version", "[]"), socket.result("version", "[]")), ("1".into(), "2".into()));
    assert_eq!(socket.result("set", "[]"), "2");
    // Nothing to read any more.
    upgrade("let n = 0\nexports.version = () => ++n");
    assert_eq!(socket.call("set", "[]"), Err(("Method not found".into(), "set".into())));
    assert_eq!(socket.result("version", "[]"), "1");
    upgrade(&version(7).replace(migrate, ""));
    assert_eq!(socket.result("version", "[]"), "[7,0]");
    assert_eq!(socket.result("both", "[]"), "[0,\"3\"]", "the files have stayed");
    stop(server);
    assert_eq!(ran(&place), ["set", "version", "version", "version"]);
    let output = verify(&[path(&place.dir())]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn reads_after_a_restart() {
    let place = place();
    let mut server = place.serve(&[]);
    for n in 1..=6 {
        let mut socket = Socket::connect(&server.url);
        socket.result("set", &format!("[{n}]"));
        assert_eq!(socket.result("both", "[]"), format!("[{n},\"{n}\"]"));
        // Reads that are under way when it ends harm nothing.
        for _ in 0..20 {
            socket.begin("both", "[]");
        }
        match n % 2 {
            0 => stop(server),
            _ => server.kill(),
        }
        if n == 4 {
            std::fs::remove_dir_all(place.dir().join("state")).expect("there is a store");
        }
        server = place.serve(&[]);
        assert_eq!(Socket::connect(&server.url).result("both", "[]"), format!("[{n},\"{n}\"]"), "before any call");
    }
    stop(server);
    assert_eq!(ran(&place).len(), 6);
}
