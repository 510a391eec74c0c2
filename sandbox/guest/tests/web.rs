//! The web globals against their golden texts, and the golden texts against Node.
//!
//! `tests/web/NAME.js` holds cases, `tests/web/NAME.golden` what they print. `UPDATE_GOLDEN=1` writes the golden
//! files anew. Where Node 20 is on the PATH it runs the same cases, and must print the same, but for those that
//! are marked as differing, with the reason.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use rquickjs::context::EvalOptions;
use rquickjs::prelude::Func;
use rquickjs::{CatchResultExt, Context, Ctx, Function, Object, Runtime};

#[path = "../src/web.rs"]
mod web;

const PRELUDES: [(&str, &str); 5] = [
    ("encoding", include_str!("../prelude/encoding.js")),
    ("clone", include_str!("../prelude/clone.js")),
    ("url", include_str!("../prelude/url.js")),
    ("inspect", include_str!("../prelude/inspect.js")),
    ("format", include_str!("../prelude/format.js")),
];

#[test]
fn encoding() {
    check_cases("encoding", true);
}

#[test]
fn clone() {
    check_cases("clone", true);
}

#[test]
fn url() {
    check_cases("url", true);
}

#[test]
fn inspect() {
    check_cases("inspect", true);
}

/// Everything a script can overwrite is overwritten: the preludes do as before.
#[test]
fn hostile() {
    check_cases("hostile", false);
}

/// The preludes are in the image of every realm: what they take there is bounded.
#[test]
fn heap() {
    const MAX_HEAP_BYTES: i64 = 512 * 1024;
    let runtime = runtime();
    let context = Context::full(&runtime).expect("context");
    let before = runtime.memory_usage().malloc_size;
    context.with(|ctx| {
        boot(&ctx);
    });
    let taken = runtime.memory_usage().malloc_size - before;
    assert!(taken < MAX_HEAP_BYTES, "the web preludes take {taken} bytes");
}

fn runtime() -> Runtime {
    let runtime = Runtime::new().expect("runtime");
    runtime.set_max_stack_size(512 * 1024);
    runtime
}

/// Runs the preludes and returns their `native`.
fn boot<'js>(ctx: &Ctx<'js>) -> Object<'js> {
    let native = Object::new(ctx.clone()).expect("object");
    web::register(ctx, &native).expect("register");
    for (name, source) in PRELUDES {
        let () = eval(ctx, &format!("glassbox:{name}"), source)
            .call((native.clone(),))
            .catch(ctx)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    native
}

fn eval<'js>(ctx: &Ctx<'js>, name: &str, source: &str) -> Function<'js> {
    let mut options = EvalOptions::default();
    options.filename = Some(name.to_owned());
    ctx.eval_with_options(source, options).catch(ctx).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the cases of a file print in the sandbox.
fn run(name: &str, with_harness: bool) -> String {
    let runtime = runtime();
    let context = Context::full(&runtime).expect("context");
    let output = Rc::new(RefCell::new(String::new()));
    context.with(|ctx| {
        let native = boot(&ctx);
        let inspect: Function = native.get("inspect").expect("inspect");
        let format: Function = native.get("format").expect("format");
        let sink = output.clone();
        let print = Func::from(move |text: String| sink.borrow_mut().push_str(&text));
        let file = format!("{name}.js");
        let cases = eval(&ctx, &file, &read(&file));
        let result: rquickjs::Result<()> = if with_harness {
            let harness: Object = eval(&ctx, "harness.js", &read("harness.js"))
                .call((print, inspect, format))
                .catch(&ctx)
                .unwrap_or_else(|error| panic!("{error}"));
            cases.call((harness,))
        } else {
            cases.call((print, inspect, format))
        };
        result.catch(&ctx).unwrap_or_else(|error| panic!("{file}: {error}"));
    });
    output.take()
}

fn check_cases(name: &str, with_node: bool) {
    let ours = run(name, with_node);
    let golden = format!("{name}.golden");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(folder().join(&golden), &ours).expect("write the golden file");
    }
    let expected = read(&golden);
    let mut failures = compare(&expected, &ours, "golden", "sandbox");
    if with_node {
        match node(name) {
            Some(node) => failures += &compare(&expected, &node, "golden", "Node"),
            None => eprintln!("no Node 20 here: {name} is compared with its golden file only"),
        }
    }
    assert!(failures.is_empty(), "{name}\n{failures}");
}

/// What the cases of a file print under Node 20, if it is there.
fn node(name: &str) -> Option<String> {
    let version = Command::new("node").arg("--version").output().ok()?;
    if !version.stdout.starts_with(b"v20.") {
        return None;
    }
    let output = Command::new("node").arg(folder().join("under-node.js")).arg(format!("{name}.js")).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The cases in which two outputs differ. `theirs` of Node need not have those that are marked.
fn compare(expected: &str, theirs: &str, expected_name: &str, their_name: &str) -> String {
    let expected = cases(expected);
    let theirs = cases(theirs);
    let mut report = String::new();
    if expected.len() != theirs.len() {
        report += &format!("{} cases in {expected_name}, {} in {their_name}\n", expected.len(), theirs.len());
    }
    for ((name, text), (their_case, their_text)) in expected.iter().zip(&theirs) {
        let marked = their_name == "Node" && text.starts_with(MARK);
        if name != their_case || (text != their_text && !marked) {
            report += &format!("## {name}\n{expected_name}: {text}{their_name} ({their_case}): {their_text}\n");
        }
    }
    report
}

const MARK: &str = "## not as Node: ";

/// The names and texts of the cases of an output.
fn cases(output: &str) -> Vec<(&str, String)> {
    let mut cases: Vec<(&str, String)> = Vec::new();
    for line in output.split_inclusive('\n') {
        match (line.strip_prefix("## "), cases.last_mut()) {
            (Some(name), _) if !line.starts_with(MARK) => cases.push((name.trim_end(), String::new())),
            (_, Some(case)) => case.1 += line,
            (_, None) => panic!("the output begins with {line}"),
        }
    }
    cases
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/web")
}
