//! Realms: rollback leaves no trace, the same work gives the same heap, limits are named.

use proptest::prelude::*;
use sandbox::{Answer, Consult, Failure, Fault, Host, Level, Limits, OracleAnswer, Outcome, Realm, Replica, Sandbox, World};
use std::collections::VecDeque;
use std::sync::OnceLock;

struct Recorder {
    lines: Vec<String>,
    questions: Vec<(u32, String)>,
    seed: u64,
    /// What oracles say; from the world when there is nothing left.
    recorded: VecDeque<OracleAnswer>,
    said: Vec<OracleAnswer>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder { lines: Vec::new(), questions: Vec::new(), seed: 7, recorded: VecDeque::new(), said: Vec::new() }
    }
}

impl Host for Recorder {
    fn console(&mut self, level: Level, line: &str) {
        self.lines.push(format!("{level:?} {line}"));
    }

    fn seed(&mut self) -> Result<u64, Fault> {
        Ok(self.seed)
    }

    fn consult(&mut self) -> Result<Consult, Fault> {
        Ok(self.recorded.pop_front().map_or_else(|| Consult::Run(Box::new(Elsewhere { ticks: 0 })), Consult::Recorded))
    }

    fn consulted(&mut self, answer: &OracleAnswer) {
        self.said.push(answer.clone());
    }

    fn ask(&mut self, op: u32, text: &str, _: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        self.questions.push((op, text.into()));
        if text.contains("broken") { Err(Fault("the disk".into())) } else { Ok(Answer::Nothing) }
    }
}

/// A world in which time goes by and one host answers.
struct Elsewhere {
    ticks: u64,
}

impl World for Elsewhere {
    fn now_us(&mut self) -> f64 {
        self.ticks += 1;
        1.8e15 + self.ticks as f64 * 1000.0
    }
    fn seed(&mut self) -> u64 {
        99
    }
    fn wait(&mut self, ms: f64) {
        self.ticks += ms as u64;
    }
    fn over(&mut self) -> Option<(String, String)> {
        (self.ticks > 5000).then(|| ("OracleTimeoutError".into(), "too long".into()))
    }
    fn console(&mut self, _: Level, _: &str) {}
    fn fetch(&mut self, request: &str, body: &[u8]) -> Answer {
        if !request.contains("http://known/") {
            return Answer::Refused { name: "HostNotAllowedError".into(), message: request.into() };
        }
        let head = r#"{"status":200,"statusText":"OK","url":"http://known/","headers":[["content-type","text/x"]]}"#;
        Answer::Bytes([head.as_bytes(), b"\n", body, b"!"].concat())
    }
}

const LIMITS: Limits = Limits { heap_bytes: 64 << 20, stack_bytes: 256 << 10, instructions: 2_000_000_000 };
const NOW_MS: u64 = 1_700_000_000_000;

/// A realm needs more stack than a test's thread has.
fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
        thread.spawn_scoped(scope, work).expect("a thread").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn realm(source: &str) -> Realm<Recorder> {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    let sandbox = SANDBOX.get_or_init(|| Sandbox::new().expect("the sandbox starts"));
    let mut realm = Realm::new(sandbox, LIMITS, Recorder::default()).expect("a realm");
    let loaded = realm.load("test.js", source, NOW_MS).expect("no fault");
    assert!(matches!(loaded, Outcome::Value(_)), "{loaded:?}");
    realm
}

fn call(realm: &mut Realm<Recorder>, method: &str, args: &str) -> Outcome {
    realm.call(method, args, "null", NOW_MS).expect("no fault")
}

fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failure(failure) => failure,
        other => panic!("{other:?} is no failure"),
    }
}

/// What a random program is made of: each step changes the heap in another way.
const PROGRAM: &str = r#"
    let store = new Map(), list = [], text = '', big = [];
    exports.put = (k, n) => { store.set(k, { n, pad: 'x'.repeat(n % 997) }); return store.size };
    exports.drop = (k) => store.delete(k);
    exports.push = (n) => { for (let i = 0; i < n % 400; i++) list.push({ i, s: '' + i * n }); return list.length };
    exports.cut = (n) => { list = list.slice(n % 50); return list.length };
    exports.join = (n) => { text = (text + n).slice(-5000); return text.length };
    exports.grow = (n) => { big.push(new Uint8Array(50_000 + n % 100_000).fill(n)); if (big.length > 20) big = []; return big.length };
    exports.later = async (n) => { await null; await new Promise((r) => setTimeout(r, n % 1000)); list.push(n); return Date.now() };
    exports.chance = () => Math.random();
    const all = ['put', 'drop', 'push', 'cut', 'join', 'grow', 'later'];
    for (const name of all) {
      const work = exports[name];
      exports[name + 'ThenThrow'] = async (...args) => { await work(...args); throw new Error(name) };
    }
    exports.spin = () => { for (;;) list.push(1, 2, 3), list.length > 3000 && (list = []) };
    exports.deep = function deep() { store.set('deep', {}); return deep() + 1 };
"#;

#[derive(Debug, Clone)]
struct Step {
    method: &'static str,
    fails: bool,
    args: String,
}

fn step() -> impl Strategy<Value = Step> {
    let methods = prop::sample::select(vec!["put", "drop", "push", "cut", "join", "grow", "later"]);
    (methods, any::<u16>(), 0..20u8, 0..100u8).prop_map(|(method, n, key, dice)| match dice {
        0 => Step { method: "spin", fails: true, args: "[]".into() },
        1..5 => Step { method: "deep", fails: true, args: "[]".into() },
        _ => {
            let fails = dice < 40;
            let method = match (method, fails) {
                (method, false) => method,
                ("put", true) => "putThenThrow",
                ("drop", true) => "dropThenThrow",
                ("push", true) => "pushThenThrow",
                ("cut", true) => "cutThenThrow",
                ("join", true) => "joinThenThrow",
                ("grow", true) => "growThenThrow",
                (_, true) => "laterThenThrow",
            };
            let keyed = method.starts_with("put") || method.starts_with("drop");
            let args = if keyed { format!("[\"k{key}\",{n}]") } else { format!("[{n}]") };
            Step { method, fails, args }
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn failed_calls_leave_no_trace(steps in prop::collection::vec(step(), 1..60)) {
        let [all, again, only_good] = with_stack(|| {
            let run = |wanted: &dyn Fn(&Step) -> bool| {
                let mut realm = realm(PROGRAM);
                for step in steps.iter().filter(|step| wanted(step)) {
                    let before = step.fails.then(|| realm.heap_digest());
                    let outcome = call(&mut realm, step.method, &step.args);
                    assert_eq!(matches!(outcome, Outcome::Failure(_)), step.fails, "{step:?}: {outcome:?}");
                    if let Some(before) = before {
                        assert_eq!(realm.heap_digest(), before, "{step:?} left a trace");
                    }
                }
                realm.heap_digest()
            };
            [run(&|_| true), run(&|_| true), run(&|step| !step.fails)]
        });
        prop_assert_eq!(all, again, "two runs of the same calls");
        prop_assert_eq!(all, only_good, "a run without the failed calls");
    }
}

#[test]
fn a_failed_call_that_grew_the_memory_leaves_no_trace() {
    with_stack(|| {
        let mut realm = realm(
            "let n = 0; exports.hog = () => { let a = []; for (;;) a.push(new Uint8Array(1 << 20)) }; exports.inc = () => ++n;",
        );
        assert_eq!(call(&mut realm, "inc", "[]"), Outcome::Value("1".into()));
        let (before, bytes) = (realm.heap_digest(), realm.heap_bytes());
        let failed = failure(call(&mut realm, "hog", "[]"));
        assert_eq!(
            (failed.name.as_str(), failed.message.as_str()),
            ("HeapLimitError", "The call needed more than 67108864 bytes of heap")
        );
        assert_eq!((realm.heap_digest(), realm.heap_bytes()), (before, bytes));
        assert_eq!(call(&mut realm, "inc", "[]"), Outcome::Value("2".into()));
    });
}

#[test]
fn limits_have_names() {
    with_stack(|| {
        let mut realm = realm(
            "exports.loop = () => { for (;;); };
             exports.native = () => { const a = []; a.length = 4294967295; return a.indexOf(1) };
             exports.bigint = () => { let n = 3n; for (;;) n = n * n };
             exports.search = () => ('a'.repeat(1e6)).indexOf('a'.repeat(5e5) + 'b');
             exports.fill = () => { const a = new Uint8Array(1 << 22); for (;;) a.fill(1) };
             exports.never = () => new Promise(() => {});
             exports.jobs = () => { const f = () => Promise.resolve().then(f); return f() };
             exports.deep = function deep() { return deep() + 1 };
             exports.caught = () => { try { for (;;); } catch { return 'caught' } };
             exports.big = () => 'x'.repeat(9e6);
             exports.full = () => { const a = []; for (let i = 0; i < 80; i++) a.push(new Uint8Array(1 << 20)); return a.length };
             exports.half = () => { const a = []; for (let i = 0; i < 8; i++) a.push(new Uint8Array(1 << 20)); return a.length };
             exports.garbage = () => { for (let i = 0; i < 200; i++) { const a = { b: new Uint8Array(1 << 20) }; a.a = a } return 1 };
             exports.nothing = () => { throw null };
             exports.ask = async () => { const big = new Uint8Array(4 << 20); for (;;) await System.files.writeFile('/big', big) };
             exports.fine = () => 'fine';",
        );
        for (method, name) in [
            ("loop", "InstructionLimitError"),
            ("native", "InstructionLimitError"),
            ("bigint", "RangeError"),
            ("search", "InstructionLimitError"),
            ("fill", "InstructionLimitError"),
            ("never", "NeverSettlesError"),
            ("jobs", "InstructionLimitError"),
            ("deep", "RangeError"),
            ("caught", "InstructionLimitError"),
            ("big", "ResultTooLargeError"),
            ("ask", "InstructionLimitError"),
            ("full", "HeapLimitError"),
            ("nothing", "ThrownValue"),
        ] {
            let failed = failure(call(&mut realm, method, "[]"));
            // BigInts and promises grow until a limit is reached; which one depends on the heap.
            let growing = matches!(method, "bigint" | "jobs");
            let limits = ["InstructionLimitError", "HeapLimitError", "RangeError"];
            let named = failed.name == name || (growing && limits.contains(&failed.name.as_str()));
            assert!(named, "{method}: {failed:?}");
            assert_eq!(call(&mut realm, "fine", "[]"), Outcome::Value("\"fine\"".into()), "after {method}");
        }
        assert_eq!(call(&mut realm, "half", "[]"), Outcome::Value("8".into()));
        assert_eq!(
            call(&mut realm, "garbage", "[]"),
            Outcome::Value("1".into()),
            "cycles with large blocks are collected in time"
        );
    });
}

#[test]
fn a_fault_of_the_host_is_no_outcome() {
    with_stack(|| {
        let mut realm = realm("exports.read = (path) => System.files.readFile(path)");
        assert_eq!(call(&mut realm, "read", "[\"/fine\"]"), Outcome::Nothing);
        let fault = realm.call("read", "[\"/broken\"]", "null", NOW_MS).expect_err("a fault");
        assert_eq!(fault.to_string(), "the disk");
    });
}

#[test]
fn nothing_ambient() {
    with_stack(|| {
        let mut realm = realm("exports.run = (source) => (0, eval)(source)");
        for name in [
            "WeakRef",
            "FinalizationRegistry",
            "Intl",
            "WebAssembly",
            "Atomics",
            "SharedArrayBuffer",
            "performance",
            "navigator",
            "process",
            "require",
            "fetch",
            "global",
            "Buffer",
            "gc",
            "print",
            "std",
            "os",
            "scriptArgs",
            "native",
            "runtime",
        ] {
            let outcome = call(&mut realm, "run", &format!("[\"typeof {name}\"]"));
            assert_eq!(outcome, Outcome::Value("\"undefined\"".into()), "{name}");
        }
        for (source, result) in [
            ("Date.now()", "1700000000000"),
            ("new Date(2024, 0, 1).getTimezoneOffset()", "0"),
            ("new Date(0).toString()", "\"Thu Jan 01 1970 00:00:00 GMT+0000\""),
            ("typeof System.files.readFile", "\"function\""),
            ("Object.isFrozen(System) && Object.isFrozen(System.files)", "true"),
        ] {
            let outcome = call(&mut realm, "run", &format!("[{source:?}]"));
            assert_eq!(outcome, Outcome::Value(result.into()), "{source}");
        }
    });
}

#[test]
fn chance_and_time_come_with_the_call() {
    with_stack(|| {
        let source = "exports.see = async () => { const t = Date.now(); await new Promise(r => setTimeout(r, 3600e3)); return [Math.random(), t, Date.now()] }";
        let see = |time_ms, seed| {
            let mut realm = realm(source);
            realm.host_mut().seed = seed;
            realm.call("see", "[]", "null", time_ms).expect("no fault")
        };
        assert_eq!(see(5, 1), see(5, 1));
        assert_ne!(see(5, 1), see(5, 2));
        assert_ne!(see(5, 1), see(6, 1));
        let at_load = |seed| {
            let mut realm = realm("1");
            realm.host_mut().seed = seed;
            realm.load("again.js", "const first = Math.random(); exports.first = () => first", NOW_MS).expect("no fault");
            call(&mut realm, "first", "[]")
        };
        assert_eq!(at_load(1), at_load(1));
        assert_ne!(at_load(1), at_load(2));
    });
}

#[test]
fn a_module_is_told_from_a_script() {
    with_stack(|| {
        let mut realm =
            realm("export const b = () => 1; export async function a() { return await 2 } export default { c() { return 3 } }");
        assert_eq!(realm.load("m.js", "1", NOW_MS).expect("no fault"), Outcome::Value("[]".into()));
        let refused = |realm: &mut Realm<Recorder>, source| match realm.load("m.js", source, NOW_MS).expect("no fault") {
            Outcome::Refused(failure) => {
                format!("{}: {} {}", failure.name, failure.message, failure.stack.lines().next().unwrap_or("").trim())
            }
            other => panic!("{other:?}"),
        };
        let text = refused(&mut realm, "exports.a = () => {\n  let x = ;\n}");
        assert!(text.starts_with("SyntaxError: ") && text.ends_with("m.js:2:11"), "{text}");
        let text = refused(&mut realm, "export const a = ;");
        assert!(text.starts_with("SyntaxError: ") && text.contains("m.js:1:"), "{text}");
    });
}

#[test]
fn an_oracle_runs_in_a_fork_and_leaves_no_trace() {
    with_stack(|| {
        let source = r#"
            let count = 1;
            exports.ask = async (what) => {
              const here = 'closure';
              const fns = {
                sum: () => { count += 100; return count },
                real: () => [Date.now() > 1.7e12, Math.random(), here],
                slow: async () => { await new Promise(r => setTimeout(r, 100)); return 'waited' },
                never: () => new Promise(() => {}),
                spin: () => { for (;;) Date.now() },
                loop: () => { for (;;); },
                fail: () => { throw new RangeError('no') },
                big: () => 'x'.repeat(1 << 21),
                nothing: () => {},
                nested: () => System.oracle(() => 1),
                files: () => System.files.readFile('/x'),
                fetch: async () => { const r = await fetch('http://known/', { method: 'POST', body: 'hi' }); return [r.status, r.ok, r.headers.get('Content-Type'), await r.text()] },
                stranger: () => fetch('http://stranger/'),
              };
              try { return [await System.oracle(fns[what]), count] } catch (error) { return [error.name, error instanceof RangeError, count] }
            };
            exports.count = () => count;
        "#;
        for (what, expected) in [
            ("sum", "[101,1]"),
            ("real", "[[true,"),
            ("slow", "[\"waited\",1]"),
            ("never", "[\"NeverSettlesError\",false,1]"),
            ("spin", "[\"OracleTimeoutError\",false,1]"),
            ("loop", "[\"InstructionLimitError\",false,1]"),
            ("fail", "[\"RangeError\",true,1]"),
            ("big", "[\"OracleResultTooLargeError\",false,1]"),
            ("nothing", "[null,1]"),
            ("nested", "[\"NestedOracleError\",false,1]"),
            ("files", "[\"OracleError\",false,1]"),
            ("fetch", "[[200,true,\"text/x\",\"hi!\"],1]"),
            ("stranger", "[\"HostNotAllowedError\",false,1]"),
        ] {
            let mut live = realm(source);
            let outcome = call(&mut live, "ask", &format!("[\"{what}\"]"));
            let Outcome::Value(json) = &outcome else { panic!("{what}: {outcome:?}") };
            assert!(json.starts_with(expected), "{what}: {json}");
            // A replay gets the answer and never runs the function: the same bytes.
            let mut replayed = realm(source);
            replayed.host_mut().recorded = live.host().said.clone().into();
            assert_eq!(call(&mut replayed, "ask", &format!("[\"{what}\"]")), outcome, "{what}");
            assert_eq!(replayed.heap_digest(), live.heap_digest(), "{what}");
            assert_eq!(call(&mut live, "count", "[]"), Outcome::Value("1".into()));
        }
        assert_eq!(failure(call(&mut realm("exports.f = () => System.oracle(1)"), "f", "[]")).name, "TypeError");
    });
}

#[test]
fn a_realm_that_was_saved_goes_on_with_the_same_bytes() {
    with_stack(|| {
        let sandbox = Sandbox::new().expect("the sandbox starts");
        let mut realm = realm(PROGRAM);
        for round in 0..30u32 {
            for (method, n) in
                [("put", 31), ("push", 399), ("join", 7), ("grow", 77_000), ("growThenThrow", 90_000), ("drop", 31)]
            {
                let args = if method == "put" { format!("[{round},{n}]") } else { format!("[{}]", n + round) };
                call(&mut realm, method, &args);
            }
            let pages = (0..(realm.heap_bytes() / sandbox::PAGE_BYTES) as u32)
                .filter(|index| realm.page(*index) != sandbox.base_page(*index))
                .map(|index| (index, *realm.page(index)));
            let mut copy =
                Realm::restore(&sandbox, LIMITS, Recorder::default(), realm.heap_bytes(), pages).expect("what was saved");
            assert_eq!(copy.heap_digest(), realm.heap_digest());
            for realm in [&mut copy, &mut realm] {
                call(realm, "later", "[500]");
                call(realm, "pushThenThrow", "[300]");
            }
            assert_eq!(copy.heap_digest(), realm.heap_digest());
        }
    });
}

#[test]
fn what_has_changed_is_known() {
    with_stack(|| {
        let mut realm = realm(PROGRAM);
        let pages = |realm: &Realm<Recorder>| -> Vec<[u8; sandbox::PAGE_BYTES]> {
            (0..(realm.heap_bytes() / sandbox::PAGE_BYTES) as u32).map(|index| *realm.page(index)).collect()
        };
        for round in 0..40u32 {
            realm.mark();
            let before = pages(&realm);
            for n in 0..(round * 7 % 90) {
                for method in ["push", "cut", "join", "grow", "cutThenThrow", "growThenThrow"] {
                    call(&mut realm, method, &format!("[{}]", n * 1000 + round));
                }
            }
            let changed = realm.changed_pages();
            for (index, page) in pages(&realm).iter().enumerate() {
                let was = before.get(index).copied().unwrap_or([0; sandbox::PAGE_BYTES]);
                assert!(*page == was || changed.contains(&(index as u32)), "page {index} in round {round}");
            }
        }
    });
}

#[test]
fn readers_follow_while_the_owner_goes_on() {
    with_stack(|| {
        let sandbox = Sandbox::new().expect("the sandbox starts");
        // The same counter in two places, and junk that moves the heap: a torn copy would not pass.
        let source = r#"
            let a = 0, b = [0], junk = [], big = [];
            exports.step = (n) => { a++; junk.push('x'.repeat(n % 5000)); if (junk.length > 50) junk = junk.slice(25);
              if (n % 40 === 0) big.push(new Uint8Array(100_000).fill(n)); if (big.length > 30) big = []; b[0]++; return a };
            exports.fail = (n) => { a++; big.push(new Uint8Array(300_000)); throw new Error('no') };
            exports.read = () => { const seen = [a, b[0]]; a += 1000; b[0] += 7; junk = []; return seen };
        "#;
        let mut owner = realm(source);
        let shared = owner.share().expect("it can be shared");
        owner.publish(std::sync::Arc::new(0u64));
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            let reader = |_| {
                let (sandbox, shared, done) = (&sandbox, shared.clone(), &done);
                let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
                let reading = thread.spawn_scoped(scope, move || {
                    let mut replica = Replica::new(sandbox, LIMITS, shared, Recorder::default()).expect("a replica");
                    let mut last = 0;
                    let mut reads = 0;
                    while !done.load(std::sync::atomic::Ordering::Relaxed) {
                        let tag = *replica.follow(|| {}).expect("followed").downcast_ref::<u64>().expect("a number");
                        let outcome = replica.call("read", "[]", "null", NOW_MS).expect("no fault");
                        assert_eq!(outcome, Outcome::Value(format!("[{tag},{tag}]")));
                        assert!(tag >= last, "{tag} after {last}");
                        last = tag;
                        reads += 1;
                    }
                    reads
                });
                reading.expect("a thread")
            };
            let readers = [reader(0), reader(1)];
            for n in 1..=3000u64 {
                call(&mut owner, "step", &format!("[{}]", n * 37));
                owner.publish(std::sync::Arc::new(n));
                if n % 50 == 0 {
                    failure(call(&mut owner, "fail", "[1]"));
                    owner.publish(std::sync::Arc::new(n));
                }
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            for reader in readers {
                assert!(reader.join().expect("no panic") > 10);
            }
        });
        let mut alone = realm(source);
        for n in 1..=3000u64 {
            call(&mut alone, "step", &format!("[{}]", n * 37));
        }
        assert_eq!(owner.heap_digest(), alone.heap_digest(), "readers leave no trace");
    });
}
