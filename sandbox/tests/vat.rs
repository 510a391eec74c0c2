//! Vats: the same deliveries give the same heap, a saved vat goes on where it was, and a thousand of them share a base.

use sandbox::{
    Answer, Consult, Failure, Fault, Host, Level, Limits, OracleAnswer, Outcome, PAGE_BYTES, Realm, Sandbox, THREAD_STACK_BYTES,
};
use std::sync::OnceLock;

/// The kernel, as far as a vat sees it.
#[derive(Default)]
struct Kernel {
    modules: Vec<(&'static str, String)>,
    questions: Vec<(u32, String)>,
    lines: Vec<String>,
}

impl Host for Kernel {
    fn console(&mut self, level: Level, line: &str) {
        self.lines.push(format!("{level:?} {line}"));
    }
    fn seed(&mut self) -> Result<u64, Fault> {
        Ok(0)
    }
    fn consult(&mut self) -> Result<Consult, Fault> {
        Err(Fault("vats have no oracles".into()))
    }
    fn consulted(&mut self, _: &OracleAnswer) {}
    fn ask(&mut self, op: u32, text: &str, data: &[u8], _: &mut u64) -> Result<Answer, Fault> {
        const MODULE: u32 = 31;
        const COMMAND: u32 = 20;
        if op == MODULE {
            let found = self.modules.iter().find(|(path, _)| *path == text);
            let missing = || Answer::Refused { name: "Error".into(), message: format!("there is no {text}") };
            return Ok(found.map_or_else(missing, |(_, source)| Answer::Text(source.clone())));
        }
        self.questions.push((op, text.into()));
        Ok(if op == COMMAND { Answer::Text(format!("[\"{text}\",{}]", String::from_utf8_lossy(data))) } else { Answer::Nothing })
    }
}

/// A vat that speaks to the kernel without liveslots: what is tested is not the prelude.
const SETUP: &str = r#"
    let held = [], list = [];
    export default function setup(syscall, state, helpers) {
        const say = (text) => syscall.send('o-1', 'say', { body: JSON.stringify([String(text)]), slots: [] });
        const methods = {
            say,
            push(n) { for (let i = 0; i < n; i++) list.push({ i, text: 'entry ' + i }); say(list.length); },
            cut(n) { list = list.slice(n); say(list.length); },
            grow(n) { held.push(new Uint8Array(n * 1024).fill(n)); say(held.length); },
            sum() { let sum = 0; for (const bytes of held) for (let i = 0; i < bytes.length; i += 4096) sum += bytes[i]; say(sum); },
            cycle(n) { for (let i = 0; i < n; i++) { const a = {}; a.a = { a }; } },
            churn(n) { for (let i = 0; i < n; i++) { const a = { bytes: new Uint8Array(10_000) }; a.a = a; } },
            global(value) { const before = globalThis.mark; globalThis.mark = value; say(before); },
            later(n) { Promise.resolve(n).then((n) => say(n + 1)).then(() => say('later')); },
            reject() { Promise.reject(new TypeError('nobody')); Promise.reject(1).catch(() => {}); },
            spin() { for (;;); },
            hog() { const all = []; for (;;) all.push(new Uint8Array(1 << 20)); },
            quiet() { try { methods.hog(); } catch { say('caught'); } },
            async import(name) { try { await import(name); say('imported'); } catch (error) { say(error); } },
            surrogate() { say('a\ud800b\u{1f600}'); },
        };
        return {
            deliver(target, method, args) { methods[method](...JSON.parse(args.body)); },
            notifyFulfillToData() {}, notifyFulfillToPresence() {}, notifyReject() {},
        };
    }
"#;

const LIMITS: Limits = Limits { heap_bytes: 16 << 20, stack_bytes: 256 << 10, instructions: 500_000_000 };
const OPTIONS: &str = r#"{"name":"v","vatID":"v1","module":"/vat.js","upgrade":false}"#;

/// A realm needs more stack than a test's thread has.
fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(THREAD_STACK_BYTES);
        thread.spawn_scoped(scope, work).expect("a thread").join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn sandbox() -> &'static Sandbox {
    static VATS: OnceLock<Sandbox> = OnceLock::new();
    VATS.get_or_init(|| Sandbox::new().and_then(|sandbox| sandbox.vats()).expect("the sandbox starts"))
}

fn kernel() -> Kernel {
    let other = "export const other = 1; import './nowhere.js';".to_owned();
    Kernel { modules: vec![("/vat.js", SETUP.into()), ("/sub/other.js", other)], ..Kernel::default() }
}

fn vat() -> Realm<Kernel> {
    let mut realm = Realm::vat(sandbox(), LIMITS, kernel()).expect("a vat");
    let started = realm.deliver("startVat", &[OPTIONS, "[]", ""]).expect("no fault");
    assert!(matches!(started, Outcome::Value(_)), "{started:?}");
    realm
}

fn message(realm: &mut Realm<Kernel>, method: &str, args: &str) -> Outcome {
    realm.deliver("message", &["o+0", "1", method, args, "", ""]).expect("no fault")
}

fn done(realm: &mut Realm<Kernel>, method: &str, args: &str) {
    assert_eq!(message(realm, method, args), Outcome::Nothing, "{method}");
}

/// What the vat has said since this was asked last.
fn said(realm: &mut Realm<Kernel>) -> Vec<String> {
    let last_line = |text: String| text.lines().last().unwrap_or_default().to_owned();
    realm.host_mut().questions.drain(..).filter(|(op, _)| *op == 70).map(|(_, text)| last_line(text)).collect()
}

fn failure(outcome: Outcome) -> Failure {
    match outcome {
        Outcome::Failure(failure) => failure,
        other => panic!("{other:?} is no failure"),
    }
}

fn save(realm: &Realm<Kernel>) -> Vec<(u32, [u8; PAGE_BYTES])> {
    realm.saved_pages().expect("pages").map(|(index, page)| (index, *page)).collect()
}

fn again(realm: &Realm<Kernel>) -> Realm<Kernel> {
    Realm::vat_from(sandbox(), LIMITS, kernel(), realm.heap_bytes(), save(realm)).expect("a vat")
}

/// Deliveries that change the heap in different ways; with the last of them it is longer than the base.
const STEPS: [(&str, &str); 9] = [
    ("push", "[100]"),
    ("later", "[1]"),
    ("cycle", "[500]"),
    ("push", "[3000]"),
    ("cut", "[50]"),
    ("global", "[5]"),
    ("surrogate", "[]"),
    ("grow", "[300]"),
    ("grow", "[4000]"),
];

#[test]
fn the_same_deliveries_give_the_same_heap() {
    with_stack(|| {
        let (mut one, mut two) = (vat(), vat());
        for (method, args) in STEPS {
            done(&mut one, method, args);
            done(&mut two, method, args);
            assert_eq!(one.heap_digest(), two.heap_digest(), "after {method}");
            assert_eq!(one.instructions(), two.instructions(), "{method}");
            assert_eq!(said(&mut one), said(&mut two), "{method}");
        }
    });
}

#[test]
fn a_saved_vat_goes_on_where_it_was() {
    with_stack(|| {
        let mut original = vat();
        let mut others = Vec::new();
        for (method, args) in STEPS {
            others.push(again(&original));
            done(&mut original, method, args);
            for other in &mut others {
                done(other, method, args);
                assert_eq!(other.instructions(), original.instructions(), "{method}");
                assert_eq!(other.heap_digest(), original.heap_digest(), "after {method}");
            }
            assert_eq!(said(&mut original), said(others.last_mut().expect("one")));
        }
        let digest = original.heap_digest();
        assert_eq!(again(&original).heap_digest(), digest);
        original.trim().expect("trimmed");
        assert_eq!(original.heap_digest(), digest, "trimming changes nothing");
    });
}

#[test]
fn a_vat_grows_beyond_the_base() {
    with_stack(|| {
        let mut realm = vat();
        let base = realm.heap_bytes();
        done(&mut realm, "grow", "[200]");
        assert_eq!(realm.heap_bytes(), base, "there is room in the base");
        done(&mut realm, "grow", "[4000]");
        assert!(realm.heap_bytes() > base);
        let beyond = save(&realm).iter().filter(|(index, _)| *index as usize * PAGE_BYTES >= base).count();
        assert!(beyond >= 500, "{beyond} pages");
        let changed = realm.changed_pages();
        assert!(realm.saved_pages().expect("pages").all(|(index, _)| changed.contains(&index)));
        done(&mut realm, "sum", "[]");
        let expected = vec![format!("[\"{}\"]", 200 / 4 * 200 + 4000 / 4 * (4000 % 256))];
        assert_eq!(said(&mut realm).split_off(2), expected);
        let mut copy = again(&realm);
        done(&mut copy, "sum", "[]");
        assert_eq!(said(&mut copy), expected);
    });
}

#[test]
fn cycles_of_a_vat_are_collected() {
    with_stack(|| {
        let mut realm = vat();
        for _ in 0..3 {
            done(&mut realm, "churn", "[3000]");
            assert!(realm.heap_bytes() < LIMITS.heap_bytes as usize, "{} bytes", realm.heap_bytes());
        }
        let mut copy = again(&realm);
        done(&mut realm, "churn", "[3000]");
        done(&mut copy, "churn", "[3000]");
        assert_eq!(copy.heap_digest(), realm.heap_digest());
    });
}

#[test]
fn a_limit_ends_a_vat() {
    with_stack(|| {
        let mut realm = vat();
        let failed = failure(message(&mut realm, "spin", "[]"));
        assert_eq!(failed.name, "InstructionLimitError");
        assert!(realm.deliver("message", &["o+0", "1", "say", "[1]", "", ""]).is_err(), "it has ended");
        for method in ["hog", "quiet"] {
            let failed = failure(message(&mut vat(), method, "[]"));
            assert_eq!(
                (failed.name.as_str(), failed.message.as_str()),
                ("HeapLimitError", "The call needed more than 16777216 bytes of heap")
            );
        }
    });
}

#[test]
fn a_thousand_vats_live_at_once_and_see_nothing_of_each_other() {
    with_stack(|| {
        let mut realms: Vec<_> = (0..1000).map(|_| vat()).collect();
        for round in 0..2 {
            for (i, realm) in realms.iter_mut().enumerate() {
                done(realm, "global", &format!("[\"{i}:{round}\"]"));
                let before = if round == 0 { "undefined".to_owned() } else { format!("{i}:0") };
                assert_eq!(said(realm), [format!("[\"{before}\"]")]);
            }
        }
        let mut fresh = vat();
        done(&mut fresh, "global", "[0]");
        assert_eq!(said(&mut fresh), ["[\"undefined\"]"], "the base is as ever");
        let digest = vat().heap_digest();
        drop(realms);
        assert_eq!(vat().heap_digest(), digest);
    });
}

#[test]
fn a_vat_moves_to_another_thread() {
    let mut realm = with_stack(vat);
    let mut other = with_stack(vat);
    with_stack(|| STEPS.iter().for_each(|(method, args)| done(&mut other, method, args)));
    for (method, args) in STEPS {
        realm = with_stack(move || {
            done(&mut realm, method, args);
            realm
        });
    }
    assert_eq!(realm.heap_digest(), other.heap_digest());
}

#[test]
fn a_module_imports_relative_files_and_packages_only() {
    with_stack(|| {
        let mut realm = vat();
        let mut import = |name: &str| {
            done(&mut realm, "import", &format!("[\"{name}\"]"));
            said(&mut realm).pop().expect("an answer")
        };
        assert_eq!(
            import("fs"),
            r#"["ReferenceError: Cannot import 'fs' from /vat.js: only relative files and packages of the runtime can be imported"]"#
        );
        assert_eq!(
            import("/sub/other.js"),
            r#"["ReferenceError: Cannot import '/sub/other.js' from /vat.js: only relative files and packages of the runtime can be imported"]"#
        );
        assert_eq!(
            import("../x.js"),
            r#"["ReferenceError: Cannot import '../x.js' from /vat.js: it is outside of the vat's directory"]"#
        );
        assert_eq!(import("./sub/other.js"), r#"["Error: there is no /sub/nowhere.js"]"#);
        assert_eq!(import("./vat.js"), r#"["imported"]"#);
    });
}

#[test]
fn what_nobody_handles_is_told_once() {
    with_stack(|| {
        let mut realm = vat();
        done(&mut realm, "reject", "[]");
        done(&mut realm, "say", "[1]");
        let lines = &realm.host_mut().lines;
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(
            lines[0].starts_with("Error Unhandled rejection in vat v (v1): TypeError: nobody\n    at reject (/vat.js:"),
            "{lines:?}"
        );
        assert!(!lines[0].contains("glassbox:"), "{lines:?}");
    });
}

#[test]
fn a_shell_evaluates_lines_in_a_realm_of_the_same_base() {
    with_stack(|| {
        let mut shell = Realm::new(sandbox(), LIMITS, kernel()).expect("a realm");
        assert_eq!(shell.connect("[]").expect("no fault"), Outcome::Nothing);
        let mut line = |source: &str| shell.eval(source, 0).expect("no fault");
        assert_eq!(line("1 + 1"), Outcome::Value("2".into()));
        assert_eq!(line("let x = 20"), Outcome::Nothing);
        assert_eq!(line("await run(x)"), Outcome::Value("[ 'run', [ 20 ] ]".into()));
        assert_eq!(line("step()"), Outcome::Value("[ 'step', [] ]".into()));
        assert_eq!(line("dump({ a: 1 })"), Outcome::Value("[ 'dump', [ { a: 1 } ] ]".into()));
        assert_eq!(failure(line("x = 1; throw new RangeError('no')")).name, "RangeError");
        assert_eq!(line("x"), Outcome::Value("20".into()), "what failed left no trace");
        assert_eq!(line("typeof harden + typeof E + typeof HandledPromise"), Outcome::Value("'functionfunctionfunction'".into()));
    });
}
