//! Honest histories, made at random: whatever happens to a backend that cheats nobody, its audit passes, its callers'
//! receipts hold, and nothing that was acknowledged is lost.
//!
//! `GLASSBOX_HISTORIES=100` for more of them than the default, `GLASSBOX_SEED=…` for those that begin with this number. The
//! moments of kills depend on the machine; everything else on the number alone.

use crate::callers::Caller;
use crate::raw::{Socket, logged};
use crate::support::{Place, Server, run, stderr, stdout};
use crate::verify::{path, verify};
use ledger::TxId;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

/// Everything that a call can do. `VERSION` changes with each upgrade.
const SCRIPT: &str = "const version = VERSION
let state = { count: 0, callers: {}, lucky: [], told: [], big: [], log: '' }
exports.migrate = previous => { state = previous.state; state.log += version }
exports.init = () => System.files.mkdir('/at')
const note = async id => {
  state.count++
  const who = System.caller.id || 'nobody'
  state.callers[who] = (state.callers[who] || 0) + 1
  await System.files.writeFile('/at/' + id % 7, `${id} ${who} ${Date.now()} ${version}`)
}
exports.add = async id => { await note(id); return state.count }
exports.remove = async id => { await note(id); await System.files.unlink('/at/' + id % 7) }
exports.fail = async id => { await note(id); throw new RangeError('call ' + id) }
exports.luck = async id => { await note(id); state.lucky[id % 20] = Math.random(); return [Math.random(), Math.random()] }
exports.ask = async id => {
  await note(id)
  state.told[id % 20] = await System.oracle(() => Math.random())
  await System.oracle(() => { throw new TypeError('nobody knows') }).catch(error => { state.told[0] = error.name })
  return state.told[id % 20]
}
exports.wait = async id => { await note(id); await new Promise(done => setTimeout(done, 1000)); return new Date() }
exports.grow = async id => { await note(id); state.big[id % 5] = String(id).repeat(3000); return state.big.length }
exports.spin = async id => { await note(id); for (;;) state.count++ }
exports.deep = async id => { await note(id); const f = n => 1 + f(n + 1); return f(0) }
exports.get = () => [version, state.count, Math.random()]
exports.get.readonly = true
exports.dump = async () => {
  const files = {}
  for (const name of await System.files.readdir('/at')) files[name] = await System.files.readFile('/at/' + name, 'utf8')
  return [version, state, files]
}
exports.dump.readonly = true";

/// A method, and how often it is called.
const METHODS: [(&str, u64); 11] = [
    ("add", 30),
    ("remove", 3),
    ("fail", 6),
    ("luck", 12),
    ("ask", 5),
    ("wait", 5),
    ("grow", 6),
    ("spin", 1),
    ("deep", 1),
    ("get", 8),
    ("dump", 2),
];

const LIMITS: [&str; 4] = ["--instructions", "40000000", "--heap-mib", "32"];

/// Calls that a client has under way at once.
const WINDOW: usize = 5;

/// xorshift64*
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    fn method(&mut self) -> &'static str {
        let mut at = self.below(METHODS.iter().map(|(_, weight)| weight).sum());
        for (method, weight) in METHODS {
            if at < weight {
                return method;
            }
            at -= weight;
        }
        unreachable!("the weights add up")
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect(variable))
}

/// One backend, from its making to its last audit.
struct History {
    place: Place,
    receipts: PathBuf,
    checkpoint_every: String,
    version: u32,
    next_call: AtomicU64,
    /// Calls that were answered: their transaction, if the reply named it, and whether they succeeded.
    acknowledged: Mutex<BTreeMap<u64, (Option<TxId>, bool)>>,
    /// What happened, for who has to find out what went wrong.
    story: String,
}

/// Prints what a server has written to stderr, if the test fails meanwhile.
struct LogOfFailure<'a>(&'a Server);

impl Drop for LogOfFailure<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}", self.0.log());
        }
    }
}

fn source(version: u32) -> String {
    SCRIPT.replace("VERSION", &version.to_string())
}

impl History {
    fn serve(&mut self) -> Server {
        let args = [&["--upgrade", "--checkpoint-every", &self.checkpoint_every], &LIMITS[..]].concat();
        self.place.serve(&args)
    }

    fn upgrade(&mut self) -> String {
        self.version += 1;
        source(self.version)
    }

    /// One client's calls, until it has made them all or the server is gone.
    fn client(&self, url: &str, seed: u64, calls: u64, over: &AtomicBool) {
        let mut dice = Dice::new(seed);
        let signs = !dice.one_in(3);
        let Ok(mut caller) = Caller::try_connect(url, 1 + dice.below(3) as u8) else { return };
        let mut under_way = BTreeMap::new();
        let mut left = calls;
        while left > 0 || !under_way.is_empty() {
            while left > 0 && under_way.len() < WINDOW && !over.load(SeqCst) {
                left -= 1;
                let id = self.next_call.fetch_add(1, SeqCst);
                let (method, args) = (dice.method(), format!("[{id}]"));
                let mut members = String::new();
                if signs {
                    members = format!(",\"auth\":{}", caller.auth(method, &args));
                }
                if dice.one_in(5) {
                    members += ",\"receipt\":true";
                }
                let frame = format!("{{\"jsonrpc\":\"2.0\",\"method\":\"{method}\",\"params\":{args},\"id\":{id}{members}}}");
                under_way.insert(id, method);
                if caller.socket.try_send(tungstenite::Message::text(frame)).is_err() {
                    return;
                }
            }
            if over.load(SeqCst) && under_way.is_empty() {
                return;
            }
            let Ok(text) = caller.socket.try_receive() else { return };
            let reply: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            let id = reply["id"].as_u64().unwrap_or_else(|| panic!("{reply}"));
            let method = under_way.remove(&id).unwrap_or_else(|| panic!("a reply to what was not asked: {reply}"));
            let ok = reply["error"].is_null();
            assert_eq!(ok, !matches!(method, "fail" | "spin" | "deep"), "{method}: {reply}");
            if matches!(method, "get" | "dump") && reply["transaction"].is_null() {
                continue;
            }
            let txid = reply["transaction"].as_str().map(|text| text.parse::<TxId>().expect("a transaction"));
            if let Value::Object(_) = &reply["receipt"] {
                let txid = txid.expect("a receipt is of a transaction");
                fs::write(self.receipts.join(format!("{txid}.json")), reply["receipt"].to_string()).expect("written");
            }
            if signs {
                caller.see(&reply);
            }
            let again = self.acknowledged.lock().expect("not poisoned").insert(id, (txid, ok));
            assert!(again.is_none(), "{id} is answered twice");
        }
    }

    /// Clients call, and `meanwhile` something happens after so many replies.
    fn load(&self, server: &Server, dice: &mut Dice, meanwhile: impl FnOnce(&AtomicBool)) {
        let _log = LogOfFailure(server);
        let over = AtomicBool::new(false);
        let before = self.acknowledged.lock().expect("not poisoned").len() as u64;
        let calls = 10 + dice.below(25);
        let after = before + dice.below(2 * calls);
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..3)
                .map(|_| {
                    let (seed, over) = (dice.below(u64::MAX >> 16), &over);
                    scope.spawn(move || self.client(&server.url, seed, calls, over))
                })
                .collect();
            while (self.acknowledged.lock().expect("not poisoned").len() as u64) < after
                && !clients.iter().all(std::thread::ScopedJoinHandle::is_finished)
            {
                std::thread::yield_now();
            }
            meanwhile(&over);
        });
    }

    /// What happens between two starts.
    fn episode(&mut self, dice: &mut Dice) {
        let server = self.serve();
        let what = dice.below(6);
        writeln!(self.story, "episode {what}, version {}", self.version).expect("written");
        match what {
            0 | 1 => {
                self.load(&server, dice, |_| {});
                assert_eq!(server.stop(), Some(0));
            }
            2 | 3 => {
                let spins = dice.below(3_000_000);
                self.load(&server, dice, |over| {
                    for _ in 0..spins {
                        std::hint::spin_loop();
                    }
                    let killed = Command::new("kill").args(["-9", &server.pid().to_string()]).status();
                    assert!(killed.is_ok_and(|status| status.success()));
                    over.store(true, SeqCst);
                });
                server.kill();
            }
            // New code, while it is served.
            4 | 5 => {
                let new = self.upgrade();
                self.place.edit(&new);
                let (dir, script) = (self.place.dir(), self.place.script());
                self.load(&server, dice, |_| {
                    let output = run(&["upgrade", path(&dir), path(&script)]);
                    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
                });
                let version: Vec<Value> = serde_json::from_str(&Socket::connect(&server.url).result("get", "[]")).expect("JSON");
                assert_eq!(version[0], Value::from(self.version));
                if dice.one_in(2) {
                    assert_eq!(server.stop(), Some(0));
                } else {
                    server.kill();
                }
            }
            _ => unreachable!("below 6"),
        }
        if dice.one_in(4) {
            writeln!(self.story, "the store is deleted").expect("written");
            self.delete_store();
        }
        // New code, taken by the next start or by the command.
        if dice.one_in(3) {
            let new = self.upgrade();
            self.place.edit(&new);
            if dice.one_in(2) {
                writeln!(self.story, "upgraded while nobody serves").expect("written");
                let output = run(&["upgrade", path(&self.place.dir()), path(&self.place.script())]);
                assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
            }
        }
    }

    /// Before the first checkpoint there is none.
    fn delete_store(&self) {
        let deleted = fs::remove_dir_all(self.place.dir().join("state"));
        assert!(deleted.as_ref().err().is_none_or(|error| error.kind() == std::io::ErrorKind::NotFound), "{deleted:?}");
    }

    fn passes(&self, place: &str, args: &[&str]) -> String {
        let output = verify(&[&[place], args].concat());
        assert_eq!(output.status.code(), Some(0), "verify {place} {args:?}\n{}{}", stdout(&output), stderr(&output));
        stdout(&output)
    }

    /// The accounts.
    fn close(&mut self) {
        let server = self.serve();
        let log = LogOfFailure(&server);
        let dump = Socket::connect(&server.url).result("dump", "[]");
        let state: Value = serde_json::from_str(&dump).expect("JSON");
        self.passes(&server.url, &[]);
        drop(log);
        assert_eq!(server.stop(), Some(0));
        let dir = self.place.dir();
        self.passes(path(&dir), &["--jobs", "2"]);
        if fs::read_dir(&self.receipts).expect("a folder").next().is_some() {
            self.passes(path(&dir), &["--receipts", path(&self.receipts)]);
        }
        self.nothing_is_lost(&dir, &state[1]);
        self.delete_store();
        let server = self.serve();
        assert_eq!(Socket::connect(&server.url).result("dump", "[]"), dump, "without a store");
        self.passes(&server.url, &["--json"]);
        assert_eq!(server.stop(), Some(0));
    }

    fn nothing_is_lost(&self, dir: &Path, state: &Value) {
        let mut acknowledged = self.acknowledged.lock().expect("not poisoned").clone();
        let mut once = BTreeMap::new();
        let mut succeeded = 0;
        for (method, args, reply) in logged(dir) {
            let [id]: [u64; 1] = serde_json::from_str(&args).expect("a number");
            assert!(once.insert(id, ()).is_none(), "{id} is there twice");
            if let Some((_, ok)) = acknowledged.remove(&id) {
                assert_eq!(ok, reply.is_ok(), "{method}{args}");
            }
            succeeded += u64::from(reply.is_ok() && !matches!(method.as_str(), "get" | "dump"));
        }
        assert!(acknowledged.is_empty(), "acknowledged, and not in the ledger: {acknowledged:?}");
        assert_eq!(state["count"], Value::from(succeeded));
        let callers: u64 = state["callers"].as_object().expect("an object").values().filter_map(Value::as_u64).sum();
        assert_eq!(callers, succeeded);
    }
}

fn history(seed: u64) {
    let mut dice = Dice::new(seed);
    let place = Place::new("all.js", &source(0));
    let receipts = place.root().join("receipts");
    fs::create_dir(&receipts).expect("made");
    let mut history = History {
        receipts,
        place,
        checkpoint_every: (2 + dice.below(39)).to_string(),
        version: 0,
        next_call: AtomicU64::new(1),
        acknowledged: Mutex::default(),
        story: String::new(),
    };
    writeln!(history.story, "history {seed}, a checkpoint every {}", history.checkpoint_every).expect("written");
    let told = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        for _ in 0..2 + dice.below(3) {
            history.episode(&mut dice);
        }
        history.close();
    }));
    let acknowledged = history.acknowledged.lock().map_or(0, |all| all.len());
    if let Err(panic) = told {
        println!("{}{acknowledged} calls", history.story);
        // What is left of it, to look at.
        let kept = std::env::temp_dir().join(format!("glassbox-history-{seed}"));
        crate::verify::copy_dir(history.place.root(), &kept);
        println!("GLASSBOX_SEED={seed} GLASSBOX_HISTORIES=1; kept in {}", kept.display());
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn honest_histories_pass() {
    let seed = number("GLASSBOX_SEED").unwrap_or_else(|| u64::from(std::process::id()) * 1_000);
    let histories = number("GLASSBOX_HISTORIES").unwrap_or(12);
    println!("GLASSBOX_HISTORIES={histories} GLASSBOX_SEED={seed}");
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, SeqCst);
                    if n >= histories {
                        return;
                    }
                    history(seed + n);
                }
            });
        }
    });
}
