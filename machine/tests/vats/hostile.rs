//! Vats that do what they should not. They suffer, the others go on.

use super::stage::{Stage, install, old, today, with_stack};
use machine::vats::{Install, Work};

/// Two vats that answer each other, one that is as bad as its source, and a bootstrap that asks all of them.
fn beside(bad: &str, instructions: u64) -> Install {
    let good = old("{ ping(n) { return n + 1; } }");
    let bootstrap = old("{ async bootstrap(argv, { bad, good }) {
          const show = (what) => (p) => p.then((v) => console.log(what, v), (e) => console.log(what, `${e}`));
          const first = show('bad')(E(bad).go(bad, good));
          await show('good')(E(good).ping(1));
          await first;
          await show('again')(E(bad).go(bad, good));
          await show('good')(E(good).ping(2));
        } }");
    let mut install = install(&[("vat-bad.js", bad), ("vat-good.js", &good), ("bootstrap.js", &bootstrap)], &[]);
    install.settings.instructions = instructions;
    install.settings.heap_bytes = 16 << 20;
    install
}

/// The bad vat ends for that reason; nobody else is hurt.
fn ends(bad: &str, reason: &str) {
    ends_within(bad, reason, 16 << 20);
}

fn ends_within(bad: &str, reason: &str, heap_bytes: u32) {
    let lines = ends_somehow(bad, heap_bytes);
    let last = lines.iter().find(|line| line.starts_with("vat bad (v1) terminated")).unwrap_or_else(|| panic!("{lines:#?}"));
    assert!(last.contains(reason), "{last}");
}

/// The bad vat ends, and nobody else is hurt. What was printed.
fn ends_somehow(bad: &str, heap_bytes: u32) -> Vec<String> {
    let mut printed = Vec::new();
    with_stack(|| {
        let mut install = beside(bad, 2_000_000_000);
        install.settings.heap_bytes = heap_bytes;
        let mut stage = Stage::of(install);
        let lines = stage.output();
        let expected = ["good 2", "bad Error: vat terminated", "again Error: vat terminated", "good 3"];
        let mut said: Vec<&String> =
            lines.iter().filter(|line| ["good", "bad ", "agai"].iter().any(|word| line.starts_with(word))).collect();
        said.sort();
        let mut wanted = expected;
        wanted.sort_unstable();
        assert_eq!(said, wanted, "{lines:#?}");
        assert_eq!(stage.dump().vat_tables.len(), 2);
        assert!(stage.dump().promises.is_empty());
        stage.replayed();
        printed = lines;
    });
    printed
}

#[test]
fn an_endless_loop() {
    ends(&old("{ go() { for (;;); } }"), "InstructionLimit");
    ends(&today("{ async go() { await null; for (;;); } }"), "");
    ends(&old("{ go() { const again = () => Promise.resolve().then(again); again(); } }"), "");
    ends(&old("{ go() { try { for (;;); } finally { for (;;); } } }"), "");
}

#[test]
fn a_heap_hog() {
    ends(&old("{ go() { const all = []; for (;;) all.push('x'.repeat(100000) + all.length); } }"), "");
    ends(&old("{ go() { const all = []; try { for (;;) all.push(new Uint8Array(1 << 20)); } catch (e) {} return 1; } }"), "");
    ends(&today("{ go() { let s = 'x'.repeat(1 << 20); const all = []; for (;;) all.push(s += s.length); } }"), "");
}

#[test]
fn a_deep_recursion_is_an_error_of_its_own() {
    with_stack(|| {
        let mut stage = Stage::of(beside(&old("{ go() { const f = () => f() + 1; return f(); } }"), 200_000_000));
        let lines = stage.output();
        assert!(lines.contains(&"bad RangeError: Maximum call stack size exceeded".to_owned()), "{lines:?}");
        assert_eq!(lines.len(), 4);
    });
}

/// A vat with a dispatch of its own, whose `deliver` does this.
fn raw(deliver: &str) -> String {
    format!(
        "export default function setup(syscall, state, helpers) {{
           return {{
             deliver(target, method, args, result) {{ {deliver} }},
             notifyFulfillToData(id, data) {{ console.log('data', id, data.body, data.slots.join()); }},
             notifyFulfillToPresence(id, slot) {{ console.log('presence', id, slot); }},
             notifyReject(id, data) {{ console.log('reject', id, data.body); }},
           }};
         }}"
    )
}

const NONE: &str = "{ body: '[]', slots: [] }";

#[test]
fn forged_references() {
    let calls = [
        (format!("syscall.send('o-99', 'm', {NONE}, null)"), "o-99 is not in the c-list of v1"),
        ("syscall.send(args.slots[1], 'm', { body: '[{\"@qclass\":\"slot\",\"index\":0}]', slots: ['o-98'] }, null)".into(), "o-98 is not in"),
        (format!("syscall.send(args.slots[1], 'm', {NONE}, 'p-99')"), "p-99 is not in"),
        (format!("syscall.send(args.slots[1], 'm', {NONE}, 'o+5')"), "o+5 is no promise"),
        ("syscall.subscribe('p-99')".into(), "p-99 is not in"),
        ("syscall.forgetPromises(['p-99'])".into(), "p-99 is no promise in"),
        ("syscall.forgetPromises([args.slots[0]])".into(), "is no promise in"),
        ("syscall.forgetPromises([result])".into(), "is still to be decided by"),
        ("syscall.subscribe('o+1')".into(), "o+1 is no promise"),
        (format!("syscall.fulfillToData('p-99', {NONE})"), "p-99 is not in"),
        (format!("syscall.send(args.slots[1], 'm', {NONE}, 'p+7'); syscall.fulfillToData('p+7', {NONE})"), "is decided by nobody yet"),
        (format!("syscall.fulfillToData(result, {NONE}); syscall.fulfillToData(result, {NONE})"), "was already resolved"),
        ("syscall.fulfillToPresence(result, result)".into(), "cannot be fulfilled with a promise"),
        ("syscall.fulfillToPresence('p+7', 'p+8')".into(), "cannot be fulfilled with a promise"),
        (format!("syscall.callNow('d-70', 'm', {NONE})"), "d-70 is no device"),
        (format!("syscall.callNow('d+0', 'm', {NONE})"), "d+0 is no device"),
        (format!("syscall.send('d+0', 'm', {NONE}, null)"), "d+0 is nothing that v1 can make"),
        (format!("syscall.send('', 'm', {NONE}, null)"), "not a reference"),
        (format!("syscall.send('o+1\\n2', 'm', {NONE}, null)"), ""),
        ("syscall.send('o+1', 'm', { body: '[]', slots: ['o+2,o+3'] }, null); syscall.subscribe('p-5')".into(), ""),
        (format!("syscall.send('o+0001', 'm', {NONE}, null)"), "not a reference"),
        ("try { syscall.subscribe('p-99') } catch (e) { console.log(e.message) } syscall.fulfillToData(result, { body: '1', slots: [] })".into(), "p-99"),
    ];
    for (call, reason) in calls {
        ends(&raw(&call), reason);
    }
}

#[test]
fn more_than_a_syscall_can_say() {
    let call = "syscall.reject(result, { body: 'x'.repeat(10000001), slots: [] })";
    ends_within(&raw(call), "syscall capdata too large", 256 << 20);
    let call = "syscall.reject(result, { body: '1', slots: Array(10001).fill('o+1') })";
    ends_within(&raw(call), "syscall capdata too large", 256 << 20);
}

#[test]
fn a_raw_vat_that_behaves() {
    with_stack(|| {
        let deliver = "console.log(target, method, args.body, args.slots.join(), result);
             if (result !== 'p-60') { syscall.fulfillToData(result, { body: '2', slots: [] }); return; }
             syscall.send(args.slots[1], 'ping', { body: '[5]', slots: [] }, 'p+5'); syscall.subscribe('p+5');
             syscall.send('p+5', 'nope', { body: '[]', slots: [] }, 'p+6'); syscall.subscribe('p+6');
             syscall.fulfillToPresence(result, 'o+3');";
        let mut stage = Stage::of(beside(&raw(deliver), 200_000_000));
        let lines = stage.output();
        assert_eq!(lines[0], r#"o+0 go [{"@qclass":"slot","index":0},{"@qclass":"slot","index":1}] o+0,o-50 p-60"#);
        assert!(lines.contains(&"data p+5 6 ".to_owned()), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("reject p+6 ") && line.contains("TypeError")), "{lines:#?}");
        assert!(lines.iter().any(|line| line.starts_with("bad ") && line.contains("toString")), "{lines:#?}");
    });
}

/// What a raw vat calls a body is text: whoever reads it has to cope.
#[test]
fn bodies_that_are_none() {
    let bodies = [
        "''",
        "'x'",
        "'#'",
        "'[['",
        "'{}'",
        "'[{\"@qclass\":\"slot\",\"index\":7}]'",
        "'[{\"@qclass\":\"slot\",\"index\":-1}]'",
        "'#[\"$5\"]'",
        "'#[\"&x\"]'",
        "'[{\"@qclass\":5}]'",
        "'[{\"@qclass\":\"ibid\",\"index\":0}]'",
        "'#{\"#tag\":1}'",
        "'[' + '['.repeat(40000)",
        "'['.repeat(40000) + ']'.repeat(40000)",
        "'#' + '['.repeat(40000) + ']'.repeat(40000)",
        "'[' + '{\"a\":'.repeat(40000) + '1' + '}'.repeat(40000) + ']'",
        "'[\"\\\\ud800\"]'",
        "'[1e999]'",
        "'[\"a\\nb\"]'",
        "'[\\u0000]'",
        "'{\"@qclass\":\"slot\"' + ',\"index\":['.repeat(20000)",
        "'#\"$0' + '.'.repeat(100000) + '\"'",
        "' [1]'",
        "'[{\"__proto__\":{\"x\":1}}]'",
    ];
    for body in bodies {
        for kind in ["send", "fulfill", "reject"] {
            with_stack(|| {
                let call = match kind {
                    "send" => format!(
                        "if (result !== 'p-60') {{ syscall.fulfillToData(result, {{ body: '2', slots: [] }}); return; }} syscall.send(args.slots[1], 'ping', {{ body: {body}, slots: [] }}, 'p+5'); syscall.subscribe('p+5'); syscall.fulfillToData(result, {{ body: '1', slots: [] }});"
                    ),
                    "fulfill" => format!(
                        "if (result !== 'p-60') {{ syscall.fulfillToData(result, {{ body: '2', slots: [] }}); return; }} syscall.fulfillToData(result, {{ body: {body}, slots: ['o+4'] }});"
                    ),
                    _ => format!(
                        "if (result !== 'p-60') {{ syscall.fulfillToData(result, {{ body: '2', slots: [] }}); return; }} syscall.reject(result, {{ body: {body}, slots: ['o+4'] }});"
                    ),
                };
                let mut stage = Stage::of(beside(&raw(&call), 2_000_000_000));
                let lines = stage.output();
                assert!(lines.contains(&"good 3".to_owned()), "{kind} {body}: {lines:#?}");
                assert!(!lines.iter().any(|line| line.contains("terminated")), "{kind} {body}: {lines:#?}");
            });
        }
    }
}

/// A message whose body is deep is refused by data in words that name its method.
#[test]
fn the_method_of_a_deep_message() {
    with_stack(|| {
        let deep = today(
            "{ async go(bad, good) { let x = 1; for (let i = 0; i < 150; i++) x = [x]; return E(E(good).ping(1)).deep(harden(x)); } }",
        );
        let mut stage = Stage::of(beside(&deep, 2_000_000_000));
        let lines = stage.output();
        assert!(lines.iter().any(|line| line.starts_with("bad TypeError: ") && line.contains("deep")), "{lines:#?}");
    });
}

#[test]
fn what_is_no_vat() {
    let cases = [
        ("export default function setup() {}", "vat setup() failed to return a 'dispatch' with .deliver: undefined"),
        (
            "export default function setup() { return {}; }",
            "vat setup() failed to return a 'dispatch' with .deliver: [object Object]",
        ),
        ("export default function setup() { throw Error('no'); }", "no"),
        ("export default function setup() { throw 'no'; }", "no"),
        ("export default 5;", "setup is not an in-realm function"),
        ("export const x = 1;", "neither"),
        ("export const buildRootObject = () => ({});", "Cannot pass non-frozen objects like {}. Use harden()"),
        ("export const buildRootObject = () => harden({});", "which is not Far"),
        ("export const buildRootObject = () => undefined;", "which is not Far"),
        ("export const buildRootObject = () => new Promise(() => {});", "buildRootObject unresolved"),
        ("export const buildRootObject = async () => { throw Error('later'); };", "later"),
        ("import { x } from './nowhere.js'; export const buildRootObject = () => x;", "nowhere"),
        ("import fs from 'fs'; export const buildRootObject = () => fs;", "fs"),
        ("export const buildRootObject = (;", ""),
        ("for (;;); export const buildRootObject = 1;", ""),
        (&old("5"), "cannot serialize non-objects like 5"),
        (&old("() => 1"), "cannot serialize"),
        (&old("{ a: 1 }"), "non-methods like the .a"),
        (&old("[1]"), "Arrays cannot be pass-by-presence"),
    ];
    with_stack(|| {
        let mut stage = Stage::empty();
        for (source, reason) in cases {
            let mut bad =
                install(&[("vat-bad.js", source), ("bootstrap.js", &old("{ bootstrap() { console.log('began'); } }"))], &[]);
            bad.settings.instructions = 200_000_000;
            let failure = stage.work(Work::Install(Box::new(bad))).unwrap_err();
            assert!(failure.message.contains(reason), "{source}: {failure:?}");
            assert!(failure.message.starts_with("vat bad: ") || reason.is_empty(), "{source}: {failure:?}");
            assert_eq!(stage.dump(), Stage::empty().dump());
        }
        stage.console();
        // What failed has left nothing: the next one is as if it were the first.
        let good = install(&[("bootstrap.js", &old("{ bootstrap() { console.log('began'); } }"))], &[]);
        stage.work(Work::Install(Box::new(good))).unwrap();
        assert_eq!(stage.output(), ["began"]);
        assert_eq!(stage.dump().vat_tables[0].vat_id, "v1");
        stage.replayed();
    });
}

#[test]
fn a_vat_that_leaves() {
    let leaves = |call: &str| today(&format!("{{ go() {{ vatPowers.{call}; return new Promise(() => {{}}); }} }}"));
    for (call, reason) in [("exitVatWithFailure(Error('bad'))", "bad"), ("exitVatWithFailure('x')", "x")] {
        ends(&leaves(call), reason);
    }
    // Who leaves in peace is no news.
    let lines = ends_somehow(&leaves("exitVat('bye')"), 16 << 20);
    assert!(!lines.iter().any(|line| line.contains("terminated: ")), "{lines:#?}");
    // What it did before counts if it left in peace, and only then.
    for (call, heard) in [("exitVat(1)", true), ("exitVatWithFailure(Error('x'))", false)] {
        with_stack(|| {
            let bad = today(&format!("{{ go(bad, good) {{ E(good).ping('from the dead '); vatPowers.{call}; return 5; }} }}"));
            let mut stage = Stage::of(beside(&bad, 200_000_000));
            let lines = stage.output();
            assert_eq!(lines.contains(&"bad 5".to_owned()), heard, "{lines:#?}");
        });
    }
}

#[test]
fn huge_bodies() {
    with_stack(|| {
        let bad = today(
            "{ async go(bad, good) {
              const text = 'x'.repeat(1 << 20);
              let n = 0;
              for (const times of [1, 9, 10]) await E(good).ping(text.repeat(times)).then((r) => { n += r.length; }, (e) => console.log(`at ${times}: ${e.message}`));
              return n;
            } }",
        );
        let mut install = beside(&bad, 20_000_000_000);
        install.settings.heap_bytes = 256 << 20;
        let mut stage = Stage::of(install);
        let lines = stage.output();
        println!("{lines:#?}");
        assert!(lines.contains(&"good 3".to_owned()), "{lines:#?}");
    });
}
