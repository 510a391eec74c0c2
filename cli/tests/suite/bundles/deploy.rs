//! Deployments: the usual one, bad ones, and those of a developer who saves a file.

use super::place::{App, Place, Sandbox, eventually};
use crate::support::{glassbox, run, stderr, stdout};
use crate::verify::{path, verify};
use serde_json::{Value, json};

/// The proposal of the documentation that every user of CCF has read.
const SEED: &str = include_str!("apps/seed.json");

fn proposed(sandbox: &Sandbox, place: &Place, args: &[&str]) -> std::process::Output {
    let (url, common) = (sandbox.url(), place.common());
    run(&[&["propose"], args, &["--url", &url, "--workspace", path(&common)]].concat())
}

fn hello(text: &str) -> App {
    App::new(&format!("export function hello() {{ return {{ body: '{text}' }} }}")).read("GET /hello", "hello")
}

/// `compute` and `compute2`, deployed by their own proposal.
#[test]
fn the_documented_app() {
    let place = Place::new(&hello("unused"));
    let sandbox = place.serve_again(&[]);
    let file = place.root().join("proposal.json");
    std::fs::write(&file, SEED).expect("written");
    let output = proposed(&sandbox, &place, &[path(&file)]);
    assert!(output.status.success() && stdout(&output).contains("Accepted"), "{}{}", stdout(&output), stderr(&output));

    let mut client = sandbox.client_of("user0");
    let json = [("content-type", "application/json")];
    for (body, status, said) in [
        (r#"{"op":"add","left":82,"right":31}"#, 200, json!({ "result": 113 })),
        (r#"{"op":"sub","left":82,"right":31}"#, 200, json!({ "result": 51 })),
        (r#"{"op":"mul","left":0.5,"right":31}"#, 200, json!({ "result": 15.5 })),
        (r#"{"op":"div","left":82,"right":31}"#, 400, json!({ "error": "unknown op" })),
        (r#"{"op":"add","left":"82","right":31}"#, 400, json!({ "error": "invalid operand type" })),
    ] {
        let answer = client.send("POST", "/app/compute", &json, body.as_bytes());
        assert_eq!((answer.status, answer.json()), (status, said), "{body}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
    let broken = client.send("POST", "/app/compute", &json, b"{");
    assert_eq!(broken.error(), (500, "InternalError".into(), "Exception thrown while executing.".into()));
    for (target, status, said) in [
        ("/app/compute2/add/82/31", 200, json!({ "result": 113 })),
        ("/compute2/mul/-2/1e3", 200, json!({ "result": -2000 })),
        ("/app/compute2/pow/82/31", 400, json!({ "error": "unknown op" })),
        ("/app/compute2/add/x/31", 400, json!({ "error": "left operand is not a parseable number" })),
        ("/app/compute2/add/82/y", 400, json!({ "error": "right operand is not a parseable number" })),
    ] {
        let answer = client.get(target);
        assert_eq!((answer.status, answer.json()), (status, said), "{target}");
    }
    assert_eq!(sandbox.client().get("/app/compute2/add/1/2").status, 401);

    // Its descriptions are in the document of the service, as they were written.
    let api = client.get("/app/api").ok().json();
    let seed: Value = serde_json::from_str(SEED).expect("JSON");
    let written = &seed["actions"][0]["args"]["bundle"]["metadata"]["endpoints"]["/compute"]["post"]["openapi"];
    let paths = api["paths"].as_object().expect("paths");
    let compute = paths.get("/compute").or(paths.get("/app/compute")).expect("the path");
    assert_eq!(
        (&compute["post"]["requestBody"], &compute["post"]["responses"]["400"]),
        (&written["requestBody"], &written["responses"]["400"])
    );
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// What does not come up is refused with its reason, and the app before is served as if nothing had been.
#[test]
fn what_does_not_come_up() {
    let place = Place::new(&hello("still here"));
    let sandbox = place.serve(&[]);
    let limits = json!({ "max_heap_bytes": 30 << 20, "max_stack_bytes": 1 << 20, "max_execution_time_ms": 100 });
    sandbox.act("set_js_runtime_options", limits);
    let mut client = sandbox.client();
    let proposals = |client: &mut super::client::Client| {
        let list = client.get("/gov/members/proposals?api-version=2024-07-01").ok().json();
        list["value"].as_array().expect("a list").len()
    };
    let before = proposals(&mut client);
    let one = |source: &str| App::new(source).read("GET /hello", "hello");
    let fine = "export const hello = () => ({})";
    let cases: Vec<(&str, App, &[&str])> = vec![
        (
            "no such module",
            App::new(fine).endpoint("GET /hello", "hello", json!({ "js_module": "other.js" })),
            &["module 'other.js' not found in bundle"],
        ),
        ("an import of nothing", one("import './lib/none.js';"), &["/app.js", "Module '/lib/none.js' could not be loaded"]),
        ("an import further down", one("import './a.js'").module("a.js", "import '../b.js'"), &["/app.js", "b.js"]),
        (
            "an import from outside",
            one("import '../../etc/passwd.js'; export const hello = 1"),
            &["'../../etc/passwd.js' is outside of the bundle, imported by '/app.js'"],
        ),
        ("a package by its name", one("import 'lodash'; export const hello = 1"), &["lodash"]),
        ("a path with ..", one(fine).module("../x.js", ""), &["module name '../x.js' is no path within the bundle"]),
        ("a path with .", one(fine).module("a/./x.js", ""), &["module name 'a/./x.js' is no path within the bundle"]),
        ("no path", one(fine).module("", ""), &["bundle.modules[1].name must be a string that is not empty"]),
        (
            "a syntax error",
            one("export function hello() {\n  return {;\n}"),
            &["Failed to compile module '/app.js': SyntaxError: "],
        ),
        (
            "one further down",
            one("import './lib/a.js'").module("lib/a.js", "\n\nlet let = 1"),
            &["Failed to compile module '/lib/a.js': SyntaxError: "],
        ),
        (
            "an import of what is not there",
            one("import { nothing } from './a.js'").module("a.js", "export const a = 1"),
            &["nothing", "a.js"],
        ),
        ("a throw", one("throw new RangeError('at once')"), &["Failed to execute /app.js: RangeError: at once"]),
        ("a throw after a while", one("await null; throw 'later'"), &["Failed to execute /app.js", "later"]),
        (
            "a name that nobody knows",
            one("const x = window"),
            &["Failed to execute /app.js: ReferenceError: window is not defined"],
        ),
        ("no end", one("for (;;);"), &["InternalError: interrupted"]),
        ("no end of waiting", one("await new Promise(() => {}); export const hello = 1"), &["never settle"]),
        (
            "no end of memory",
            one("const all = []; for (;;) all.push(new Uint8Array(1 << 20))"),
            &["InternalError: out of memory"],
        ),
        ("no end of depth", one("const f = () => f() + 1; f()"), &["InternalError: stack overflow"]),
        (
            "a key for everybody",
            one("export const key = ccf.crypto.generateAesKey(128)"),
            &["/app.js", "would be the same in every request, and known"],
        ),
        (
            "no mode",
            App::new(fine).endpoint("GET /hello", "hello", json!({ "mode": null })),
            &["mode must be one of readwrite, readonly, historical"],
        ),
        (
            "a wrong mode",
            App::new(fine).endpoint("GET /hello", "hello", json!({ "mode": "rw" })),
            &["mode must be one of readwrite, readonly, historical"],
        ),
        (
            "no forwarding",
            App::new(fine).endpoint("GET /hello", "hello", json!({ "forwarding_required": "maybe" })),
            &["forwarding_required must be one of sometimes, always, never"],
        ),
        (
            "no policies",
            App::new(fine).endpoint("GET /hello", "hello", json!({ "authn_policies": "no_auth" })),
            &["authn_policies must be an array"],
        ),
        (
            "no function",
            App::new(fine).endpoint("GET /hello", "hello", json!({ "js_function": 1 })),
            &["js_function must be a string"],
        ),
        ("no slash", App::new(fine).read("GET hello", "hello"), &["must begin with a slash"]),
    ];
    for (what, app, said) in cases {
        let why = sandbox.invalid(&app.proposal());
        for said in said {
            assert!(why.contains(said), "{what}: {why}");
        }
        assert_eq!(client.get("/app/hello").ok().text(), "still here", "{what}");
    }
    for (what, proposal) in [
        ("no bundle", json!({ "actions": [{ "name": "set_js_app", "args": {} }] })),
        (
            "modules that are none",
            json!({ "actions": [{ "name": "set_js_app", "args": { "bundle": { "metadata": { "endpoints": {} }, "modules": [7] } } }] }),
        ),
        ("no args", json!({ "actions": [{ "name": "set_js_app" }] })),
        ("no actions", json!({ "actions": [] })),
        ("an unknown action", json!({ "actions": [{ "name": "set_js_apps", "args": {} }] })),
        (
            "options that are none",
            json!({ "actions": [{ "name": "set_js_runtime_options", "args": { "max_heap_bytes": "1" } }] }),
        ),
    ] {
        let why = sandbox.invalid(&proposal);
        assert!(why.starts_with("Proposal failed to validate: "), "{what}: {why}");
    }
    // The second action cannot be: the first one is not done either.
    let mut both = hello("new").proposal();
    both["actions"]
        .as_array_mut()
        .expect("actions")
        .push(json!({ "name": "set_member_data", "args": { "member_id": "0".repeat(64), "member_data": {} } }));
    let answer = sandbox.propose(&both);
    assert_eq!((answer.status, &answer.json()["error"]["code"]), (500, &json!("InternalError")), "{}", answer.text());
    assert_eq!(client.get("/app/hello").ok().text(), "still here");
    assert_eq!(proposals(&mut client), before, "nothing is left of them");
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// The file and the line that an error is in.
#[test]
fn where_an_error_is() {
    let place = Place::new(
        &hello("x")
            .module("lib/bad.js", "// One.\nexport const a = 1;\nexport const b = = 2;\n")
            .module("app.js", "import './lib/bad.js';"),
    );
    let text = place.refused(&[]);
    assert!(text.contains("/lib/bad.js") && text.contains(":3"), "{text}");
    hello("x").module("lib/bad.js", "").module("app.js", "\n\nnull.x;").save(&place.folder());
    let text = place.refused(&["--fresh"]);
    assert!(text.contains("/app.js") && text.contains(":3"), "{text}");
}

#[test]
fn what_does_come_up() {
    let place = Place::new(&hello("first"));
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    // Modules that import each other.
    let cycle = App::new("import { even } from './lib/even.js'; export const hello = () => ({ body: `${even(10)} ${even(7)}` })")
        .module("lib/even.js", "import { odd } from './odd.js'; export const even = (n) => n === 0 || odd(n - 1)")
        .module("lib/odd.js", "import { even } from './even.js'; export const odd = (n) => n !== 0 && even(n - 1)")
        .read("GET /hello", "hello");
    sandbox.accept(&cycle.proposal());
    assert_eq!(client.get("/app/hello").ok().text(), "true false");
    // Every way to name a module, and to export a handler.
    let named = App::new("import { a } from './lib/a.js'; import b from '/lib/b.js'; import * as c from './lib/../lib/c.js'; export const hello = () => ({ body: a + b + c.c })")
        .module("lib/a.js", "export const a = 'a'")
        .module("lib/b.js", "export default 'b'")
        .module("lib/c.js", "export * from './a.js'; export const c = 'c'")
        .module("other.mjs", "export * from './app.js'; export { hello as again } from './app.js'; export default async () => ({ body: 'default' })")
        .read("GET /hello", "hello")
        .endpoint("GET /star", "hello", json!({ "js_module": "other.mjs" }))
        .endpoint("GET /again", "again", json!({ "js_module": "/other.mjs" }))
        .endpoint("GET /default", "default", json!({ "js_module": "other.mjs" }));
    sandbox.accept(&named.proposal());
    for (target, said) in [("hello", "abc"), ("star", "abc"), ("again", "abc"), ("default", "default")] {
        assert_eq!(client.get(&format!("/app/{target}")).ok().text(), said);
    }
    // A module may wait for others, and for promises.
    let waits = App::new("import { text } from './lib/text.js'; export async function hello() { return { body: await text } }")
        .module("lib/text.js", "const slowly = async () => 'in the end'; export const text = await slowly()")
        .read("GET /hello", "hello");
    sandbox.accept(&waits.proposal());
    assert_eq!(client.get("/app/hello").ok().text(), "in the end");
    // An app replaces all of the one before.
    sandbox.accept(&hello("last").proposal());
    assert_eq!((client.get("/app/hello").ok().text(), client.get("/app/star").status), ("last".into(), 404));
    // Without modules there is nothing but what is built in.
    sandbox.act("remove_js_app", Value::Null);
    assert_eq!(client.get("/app/hello").error(), (404, "ResourceNotFound".into(), "Unknown path: /hello.".into()));
    assert_eq!(client.get("/app/commit").status, 200);
    sandbox.accept(&json!({ "actions": [{ "name": "remove_js_app" }] }));
    sandbox.accept(&hello("back").proposal());
    assert_eq!(client.get("/app/hello").ok().text(), "back");
    sandbox.accept(&json!({ "actions": [{ "name": "refresh_js_app_bytecode_cache" }] }));
    assert_eq!(client.get("/app/hello").ok().text(), "back");
    sandbox.stop();

    // A restart serves what the ledger says; with a folder, what is in it.
    let sandbox = place.serve_again(&[]);
    assert_eq!(sandbox.client().get("/app/hello").ok().text(), "back");
    sandbox.stop();
    let sandbox = place.serve(&[]);
    assert_eq!(sandbox.client().get("/app/hello").ok().text(), "first");
    let last = |sandbox: &Sandbox| sandbox.client().get("/app/hello").ok().txid().expect("a transaction");
    let deployed = last(&sandbox);
    sandbox.stop();
    let sandbox = place.serve(&[]);
    // Besides signatures there is nothing new.
    assert!(last(&sandbox).seqno <= deployed.seqno + 4, "{} after {deployed}", last(&sandbox));
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn limits_that_governance_sets() {
    let source = "
        export const deep = () => { const f = (n) => n === 0 ? 0 : 1 + f(n - 1); return { body: String(f(500)) } };
        export const wide = () => ({ body: String(new Uint8Array(40 << 20).length) });
        export const long = () => { let n = 0; for (let i = 0; i < 3e7; i++) n += i; return { body: String(n) } };";
    let app = ["deep", "wide", "long"].iter().fold(App::new(source), |app, name| app.read(&format!("GET /{name}"), name));
    let place = Place::new(&app);
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    let metrics = client.get("/node/js_metrics").ok().json();
    assert_eq!(
        (&metrics["max_heap_size"], &metrics["max_stack_size"], &metrics["max_execution_time"]),
        (&json!(100 << 20), &json!(1 << 20), &json!(5000))
    );
    let (heap, stack, ms) = (100 << 20, 1 << 20, 5000);
    for (heap, stack, ms, statuses) in [
        (heap, stack, ms, [200, 200, 200]),
        (heap, 32 << 10, ms, [500, 200, 200]),
        (20 << 20, stack, ms, [200, 500, 200]),
        (heap, stack, 10, [200, 200, 500]),
        (heap, stack, ms, [200, 200, 200]),
    ] {
        sandbox.act(
            "set_js_runtime_options",
            json!({ "max_heap_bytes": heap, "max_stack_bytes": stack, "max_execution_time_ms": ms }),
        );
        let found = ["deep", "wide", "long"].map(|name| client.get(&format!("/app/{name}")).status);
        assert_eq!(found, statuses, "{heap} {stack} {ms}");
        let metrics = client.get("/node/js_metrics").ok().json();
        assert_eq!(
            (&metrics["max_heap_size"], &metrics["max_stack_size"], &metrics["max_execution_time"]),
            (&json!(heap), &json!(stack), &json!(ms))
        );
    }
    // Limits under which the app would not come up.
    let why = sandbox.invalid(&json!({ "actions": [{ "name": "set_js_runtime_options", "args": { "max_heap_bytes": 0, "max_stack_bytes": 1, "max_execution_time_ms": 1 } }] }));
    assert!(why.contains("max_heap_bytes must be an integer from 1"), "{why}");
    sandbox.act("set_js_runtime_options", json!({ "max_heap_bytes": 1, "max_stack_bytes": 1, "max_execution_time_ms": 1 }));
    sandbox
        .act("set_js_runtime_options", json!({ "max_heap_bytes": heap, "max_stack_bytes": stack, "max_execution_time_ms": ms }));
    assert_eq!(client.get("/app/deep").status, 200);
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Saving is deploying; what does not come up is said, and changes nothing.
#[test]
fn watch() {
    let place = Place::new(&hello("first"));
    let sandbox = place.serve(&["--watch"]);
    let mut client = sandbox.client();
    assert_eq!(client.get("/app/hello").ok().text(), "first");
    let mut says = |target: &str, said: &str| {
        eventually(&format!("{target} says {said}"), || (client.get(target).text() == said).then_some(()));
    };
    hello("second").save(&place.folder());
    says("/app/hello", "second");
    hello("second").module("app.js", "export function hello( {").save(&place.folder());
    eventually("a complaint", || sandbox.errors().contains("Failed to compile module '/app.js'").then_some(()));
    says("/app/hello", "second");
    std::fs::write(place.folder().join("app.json"), "{").expect("written");
    eventually("a complaint", || sandbox.errors().contains("app.json: it is no JSON").then_some(()));
    says("/app/hello", "second");
    hello("third").read("GET /more", "hello").save(&place.folder());
    says("/app/more", "third");
    std::fs::write(place.folder().join("src/more.js"), "export const text = 'fourth'").expect("written");
    hello("x")
        .module("app.js", "import { text } from './more.js'; export const hello = () => ({ body: text })")
        .save(&place.folder());
    says("/app/hello", "fourth");
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// What the command line is told when there is nothing to deploy.
#[test]
fn folders_that_are_no_bundles() {
    let place = Place::new(&hello("first"));
    let begin = |folder: &std::path::Path| {
        let output = glassbox()
            .args(["sandbox", "--node", "127.0.0.1:0", "--workspace"])
            .arg(place.root().join("other"))
            .arg("--js-app-bundle")
            .arg(folder)
            .output()
            .expect("it starts");
        assert_ne!(output.status.code(), Some(0));
        stderr(&output)
    };
    assert!(begin(place.root()).contains("there is no app.json in it"));
    std::fs::write(place.folder().join("app.json"), "[]").expect("written");
    assert!(begin(&place.folder()).contains("it has no endpoints"));
    assert!(!place.root().join("other").exists(), "nothing was begun");
}
