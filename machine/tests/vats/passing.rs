//! What passes between vats, what does not, and in which words it is refused.

use super::stage::{Stage, install, old, printed, today, with_stack};

/// Sends each expression to a vat that returns it; what comes back, or the error.
fn echoed(dialect: fn(&str) -> String, other: fn(&str) -> String, values: &[&str]) -> Vec<String> {
    let bob = other("{ echo(x) { return x; }, kind(x) { return typeof x; } }");
    let sends: String = values.iter().map(|value| format!("await show(() => {value});\n")).collect();
    let bootstrap = dialect(&format!(
        "{{ async bootstrap(a, b) {{
           const {{ bob }} = Array.isArray(a) ? b : a;
           const show = async (make) => {{
             try {{
               const value = await E(bob).echo(make());
               console.log(Object.is(value, -0) ? '-0' : typeof value === 'bigint' ? `${{value}}n` : value instanceof Error ? `${{value}}` : value);
             }} catch (error) {{ console.log(`${{error}}`); }}
           }};
           {sends}
         }} }}"
    ));
    printed(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)])
}

const PLAIN: [(&str, &str); 17] = [
    ("1", "1"),
    ("undefined", "undefined"),
    ("null", "null"),
    ("true", "true"),
    ("'text'", "text"),
    ("'#text'", "#text"),
    ("'$0'", "$0"),
    ("'!'", "!"),
    ("''", ""),
    ("NaN", "NaN"),
    ("-Infinity", "-Infinity"),
    ("12345678901234567890n", "12345678901234567890n"),
    ("-5n", "-5n"),
    ("harden({ '!': [1, '+5'], '#a': 1, $b: '&0' })", "{ '!': [ 1, '+5' ], '#a': 1, '$b': '&0' }"),
    ("harden([[], [1, [2]], { a: undefined }])", "[ [], [ 1, [ 2 ] ], { a: undefined } ]"),
    ("harden(TypeError('a\\nb\"c'))", "TypeError: a\nb\"c"),
    ("Symbol.for('x')", "Symbol(x)"),
];

#[test]
fn data_arrives_as_it_was() {
    let values: Vec<&str> = PLAIN.iter().map(|(value, _)| *value).collect();
    for dialect in [old as fn(&str) -> String, today] {
        for other in [old as fn(&str) -> String, today] {
            let lines = echoed(dialect, other, &values);
            let expected: Vec<&str> = PLAIN.iter().map(|(_, line)| *line).collect();
            assert_eq!(lines, expected);
        }
    }
    assert_eq!(echoed(old, old, &["-0", "harden([-0])[0]"]), ["-0", "-0"]);
    assert_eq!(echoed(today, today, &["-0"]), ["0"]);
}

#[test]
fn what_cannot_pass_in_2019() {
    let cases = [
        ("Symbol('x')", "TypeError: Cannot pass unregistered symbols"),
        ("() => 1", "Error: bare functions like () => 1 are disabled for now"),
        ("harden({ a: 1, f() {} })", "Error: cannot serialize objects with non-methods like the .a in [object Object]"),
        ("harden({ then() {} })", "Error: Cannot pass non-promise thenables"),
        ("harden({ '@qclass': 1 })", "Error: property \"@qclass\" reserved"),
        ("harden([1, , 2])", "TypeError: arrays must not contain holes"),
        ("new Date(0)", "1970-01-01T00:00:00.000Z"),
    ];
    let values: Vec<&str> = cases.iter().map(|(value, _)| *value).collect();
    let expected: Vec<&str> = cases.iter().map(|(_, line)| *line).collect();
    assert_eq!(echoed(old, old, &values), expected);
    let lines = echoed(old, old, &["harden(new Map())", "harden((() => { const a = []; a.push(a); return a; })())"]);
    assert!(lines[0].starts_with("TypeError"), "{lines:?}");
    assert_eq!(lines[1], "TypeError: Ibid cycle at 1", "the first is the array of arguments");
}

#[test]
fn what_cannot_pass_today() {
    let cases = [
        ("Symbol('x')", "Error: Only registered symbols or well-known symbols are passable: \"[Symbol(x)]\""),
        ("harden({ f() {} })", "Error: Remotables must be explicitly declared: {\"f\":\"[Function f]\"}"),
        ("harden((() => { const a = []; a.push(a); return a; })())", "Error: Pass-by-copy data cannot be cyclic"),
        ("'\\ud800'", "Error: "),
    ];
    let values: Vec<&str> = cases.iter().map(|(value, _)| *value).collect();
    let lines = echoed(today, today, &values);
    for (line, (value, expected)) in lines.iter().zip(cases) {
        let same = if expected == "Error: " { line.contains("rror: ") } else { line.contains(&expected[7..]) };
        assert!(same, "{value}: {line}");
    }
    assert_eq!(lines.len(), cases.len());
}

/// Texts that are hard on whatever joins, splits and quotes.
const NAMES: [&str; 9] = ["a\\nb", "a\\tb", "\"q\"", "back\\\\slash", "\\u{1F600}é", "#hash", "$0", "!x", "\\u0000"];

#[test]
fn method_names_are_any_text() {
    for (dialect, other) in [(old as fn(&str) -> String, old as fn(&str) -> String), (old, today), (today, old), (today, today)] {
        let methods: String = NAMES.iter().map(|name| format!("['{name}'](x) {{ return x + 1; }},")).collect();
        let calls: String = NAMES.iter().map(|name| format!("log(await E(bob)['{name}'](1));")).collect();
        let bob = other(&format!("{{ {methods} }}"));
        let calls = format!(
            "{calls} await E(bob)['no\\n\\u{{1F600}}']().catch((e) => log(e.message.split(',')[0], e instanceof TypeError));
             await E(E(bob)['#hash'](1))['m\\n\"'](1).catch((e) => log(e.message, e.name));"
        );
        let bootstrap =
            dialect(&format!("{{ async bootstrap(a, b) {{ const {{ bob }} = Array.isArray(a) ? b : a; {calls} }} }}"));
        let lines = printed(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)]);
        assert_eq!(lines[..NAMES.len()], vec!["2"; NAMES.len()], "{lines:?}");
        assert!(lines[NAMES.len()].ends_with("true"), "{lines:?}");
        assert!(lines[NAMES.len() + 1].contains("m\n\""), "{lines:?}");
    }
}

/// A lone surrogate is no text that a ledger can hold: it is refused, or comes through; nobody dies of it.
#[test]
fn lone_surrogates_hurt_nobody() {
    for (dialect, other) in [(old as fn(&str) -> String, old as fn(&str) -> String), (old, today), (today, old), (today, today)] {
        with_stack(|| {
            let bob = other("{ echo(x) { return x; } }");
            let bootstrap = dialect(
                "{ async bootstrap(a, b) {
                  const { bob } = Array.isArray(a) ? b : a;
                  const tries = [
                    () => E(bob).echo('a\\ud800b'), () => E(bob).echo(harden({ ['\\udfff']: 1 })), () => E(bob)['m\\ud800'](),
                    () => E(bob).echo(harden(Error('\\ud800'))), () => E(bob).echo(Symbol.for('\\udc00')),
                  ];
                  for (const attempt of tries) { try { await attempt(); } catch (error) {} }
                  log('x\\ud800y');
                  log('alive');
                } }",
            );
            let mut stage = Stage::new(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)], &[]);
            let lines = stage.output();
            assert_eq!(lines.last().map(String::as_str), Some("alive"), "{lines:?}");
            assert_eq!(stage.dump().vat_tables.len(), 2);
        });
    }
}

#[test]
fn what_is_thrown_and_what_cannot_be_returned() {
    let bob = "{
        text() { throw 'just a string'; }, number() { throw 5; }, nothing() { throw undefined; }, nul() { throw null; },
        record() { throw harden({ code: 1 }); }, error() { throw new RangeError('msg'); }, rejected() { return Promise.reject('later'); },
        unpassable() { return harden({ a: 1, f() {} }); }, bare() { return () => 1; }, thenable() { return { then(r) { r(7); } }; },
        thrown() { throw harden({ a: 1, f() {} }); }, proxy() { return new Proxy({}, { get() { throw Error('trap'); } }); },
        circular() { const e = Error('self'); e.cause = e; throw e; },
      }";
    let calls = [
        "text",
        "number",
        "nothing",
        "nul",
        "record",
        "error",
        "rejected",
        "unpassable",
        "bare",
        "thenable",
        "thrown",
        "proxy",
        "circular",
    ];
    for (dialect, other) in [(old as fn(&str) -> String, old as fn(&str) -> String), (old, today), (today, old), (today, today)] {
        let sends: String = calls
            .iter()
            .map(|name| {
                format!("await E(bob).{name}().then((v) => console.log('{name} came', v), (e) => console.log('{name}', e instanceof Error ? `${{e}}` : e));")
            })
            .collect();
        let bootstrap = dialect(&format!(
            "{{ async bootstrap(a, b) {{ const {{ bob }} = Array.isArray(a) ? b : a; {sends} console.log('end'); }} }}"
        ));
        let lines = printed(&[("vat-bob.js", &other(bob)), ("bootstrap.js", &bootstrap)]);
        let lines: Vec<&String> = lines.iter().filter(|line| !line.starts_with("Unhandled")).collect();
        let expected = [
            "text just a string",
            "number 5",
            "nothing undefined",
            "nul null",
            "record { code: 1 }",
            "error RangeError: msg",
            "rejected later",
        ];
        assert_eq!(lines[..expected.len()], expected, "{lines:#?}");
        assert_eq!(lines.len(), calls.len() + 1, "{lines:#?}");
        for (line, name) in lines.iter().zip(calls).skip(expected.len()) {
            let refused = line.starts_with(&format!("{name} ")) && line.contains("rror: ");
            assert!(refused || *line == "thenable came 7", "{name}: {line}");
        }
    }
}

#[test]
fn what_is_asked_of_data_and_of_nothing() {
    for dialect in [old as fn(&str) -> String, today] {
        let body = "{ async bootstrap() {
            const show = (p) => p.then((v) => console.log('came', v), (e) => console.log(`${e}`));
            await show(E(5).toFixed(1)); await show(E('abc').nope()); await show(E(null).bar()); await show(E(undefined).bar());
            await show(E(harden({ x: 1 })).x()); await show(E(() => 5)()); await show(E(harden({}))());
          } }";
        let lines = printed(&[("bootstrap.js", &dialect(body))]);
        assert_eq!(lines[0], "came 5.0");
        assert!(lines[1].starts_with("TypeError: target has no method \"nope\", has ["), "{lines:?}");
        assert_eq!(lines[2], "TypeError: Cannot deliver \"bar\" to target; typeof target is \"null\"");
        assert_eq!(lines[3], "TypeError: Cannot deliver \"bar\" to target; typeof target is \"undefined\"");
        assert_eq!(lines[4], "Error: invoked method \"x\" is not a function; it is a \"number\"");
        assert_eq!(lines[5], "came 5");
        assert_eq!(lines[6], "TypeError: Cannot invoke target as a function; typeof target is \"object\"");
    }
}

#[test]
fn what_d_refuses() {
    let bootstrap = old(
        "{ async bootstrap(argv, vats, devices) {
          const refused = (what) => { try { what(); console.log('came'); } catch (error) { console.log(`${error}`); } };
          refused(() => D(5)); refused(() => D(harden({ m() {} }))); refused(() => D(vats.bob)); refused(() => D(D(devices.loopbox)));
          refused(() => D(devices.loopbox).nope());
          refused(() => D(devices.loopbox).makeSender(Promise.resolve(1)));
          refused(() => D(devices.loopbox).makeSender({ then() {} }));
          await E(devices.loopbox).makeSender('x').then(() => console.log('came'), (e) => console.log(`${e}`));
          await E(vats.bob).echo(devices.loopbox).then((d) => console.log(d === devices.loopbox));
          await E(E(vats.bob).echo(devices.loopbox)).m().then(() => console.log('came'), (e) => console.log(`${e}`));
          console.log(`${devices.loopbox}`, `${vats.bob}`);
        } }",
    );
    let lines = printed(&[("vat-bob.js", &old("{ echo(x) { return x; } }")), ("bootstrap.js", &bootstrap)]);
    assert_eq!(lines.len(), 11, "{lines:#?}");
    assert_eq!(lines[..3], vec!["Error: D() must be given a device node"; 3], "{lines:#?}");
    assert_eq!(lines[3], "Error: D(D(x)) is invalid");
    for line in &lines[4..8] {
        assert!(line.contains("rror: "), "{lines:#?}");
    }
    assert!(lines[5].contains("D() arguments cannot include a Promise"), "{lines:#?}");
    assert_eq!(lines[8], "true");
    assert_eq!(lines[10], "[Device d-70] [Presence o-50]");
}

/// Names of vats and keys of parameters may look like something else in a body.
#[test]
fn parameters_and_names_are_any_text() {
    with_stack(|| {
        let bootstrap = today("{ bootstrap(vats) { console.log(Object.keys(vats).join(), vatParameters); } }");
        let mut install = install(
            &[("vat-#a.js", &today("{ m() {} }")), ("vat-$0.js", &today("{ m() {} }")), ("bootstrap.js", &bootstrap)],
            &[],
        );
        install.source.vats[2].parameters = Some(serde_json::json!({ "argv": 1, "#b": { "$c": "!d", "+": ["-1"] } }));
        let lines = Stage::of(install).output();
        assert_eq!(lines, ["#a,$0,bootstrap { '#b': { '$c': '!d', '+': [ '-1' ] }, argv: 1 }"]);
    });
}

#[test]
fn records_without_a_prototype_in_2019() {
    let cases = [
        ("harden({ __proto__: null, a: 1, b: [2] })", "{ a: 1, b: [ 2 ] }"),
        ("({ __proto__: null, a: 1 })", "{ a: 1 }"),
        (
            "harden({ __proto__: null, a: 1, m() {} })",
            "Error: cannot serialize objects with non-methods like the .a in [object Object]",
        ),
    ];
    let values: Vec<&str> = cases.iter().map(|(value, _)| *value).collect();
    let expected: Vec<&str> = cases.iter().map(|(_, line)| *line).collect();
    assert_eq!(echoed(old, old, &values), expected);
    assert_eq!(echoed(old, today, &values), expected);
}

#[test]
fn wavy_dots_in_functions_made_of_text() {
    let bob = old("{ add(a, b) { return a + b; }, n: () => 3 }");
    let bootstrap = old(r#"{ async bootstrap(argv, { bob }) {
          const show = async make => console.log(await Promise.resolve().then(make).catch(e => e.name));
          await show(() => new Function('x', 'return x~.add(1, 2)')(bob));
          await show(() => Function('x', 'y = x~.n()', 'return y // ~.')(bob));
          await show(() => new (new Compartment().globalThis.Function)('x', 'const text = "~."; return x~.add(text, 4)')(bob));
          await show(() => new Compartment().evaluate("new Function('x', 'return x~.add(2, 3)')")(bob));
          await show(() => new Function('})~.m(function () {'));
          await show(() => new Function('x', 'return x~.('));
        } }"#);
    let expected = ["3", "3", "~.4", "5", "SyntaxError", "SyntaxError"];
    assert_eq!(printed(&[("vat-bob.js", &bob), ("bootstrap.js", &bootstrap)]), expected);
}
