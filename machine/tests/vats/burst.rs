//! What a message costs when many wait.
#![allow(clippy::disallowed_methods, reason = "a measurement needs a clock")]

use super::stage::{Stage, install, old, today, with_stack};
use std::time::Instant;

fn figures(name: &str, make: impl Fn(u64) -> (String, String) + Sync, sizes: &[u64]) {
    for &n in sizes {
        with_stack(|| {
            let (sink, source) = make(n);
            let mut install = install(&[("vat-sink.js", &sink), ("bootstrap.js", &source)], &[]);
            // 100,000 messages take longer than a crank may.
            install.settings.instructions = 500_000_000_000;
            let mut stage = Stage::of(install);
            let began = Instant::now();
            stage.cranks(1);
            let sent = began.elapsed();
            let began = Instant::now();
            let cranks = stage.run();
            let took = began.elapsed();
            let each = took.as_secs_f64() * 1e6 / cranks.max(1) as f64;
            println!(
                "{name}: {n} messages sent in {:.1} µs each; {cranks} cranks, {each:.1} µs each",
                sent.as_secs_f64() * 1e6 / n as f64
            );
            let lines = stage.console();
            assert_eq!(lines, [format!("done {n}")]);
            let dump = stage.dump();
            assert!(dump.promises.is_empty() && dump.run_queue.is_empty());
            stage.audit();
        });
    }
}

const SIZES: [u64; 3] = [1_000, 10_000, 100_000];

#[test]
fn a_burst_of_sends_without_results() {
    figures(
        "send only",
        |n| {
            let sink = today(&format!("{{ take(i) {{ if (i === {n}) console.log('done', i); }} }}"));
            let source =
                today(&format!("{{ bootstrap({{ sink }}) {{ for (let i = 1; i <= {n}; i++) E.sendOnly(sink).take(i); }} }}"));
            (sink, source)
        },
        &SIZES,
    );
}

#[test]
fn a_burst_of_sends() {
    for (name, dialect) in [("2019", old as fn(&str) -> String), ("today", today)] {
        figures(
            name,
            |n| {
                let sink = dialect("{ take(i) { return i; } }");
                let source = dialect(&format!(
                    "{{ bootstrap(a, b) {{
                       const {{ sink }} = Array.isArray(a) ? b : a;
                       let left = {n};
                       for (let i = 0; i < {n}; i++) E(sink).take(i).then(() => {{ if (--left === 0) console.log('done', {n}); }});
                     }} }}"
                ));
                (sink, source)
            },
            &SIZES,
        );
    }
}

#[test]
fn a_burst_to_a_promise_that_is_resolved_late() {
    figures(
        "pipelined",
        |n| {
            let sink = today("{ open() { return Far('o', { take(i) { return i; } }); } }");
            let source = today(&format!(
                "{{ bootstrap({{ sink }}) {{
                   let left = {n};
                   const p = E(sink).open();
                   for (let i = 0; i < {n}; i++) E(p).take(i).then(() => {{ if (--left === 0) console.log('done', {n}); }});
                 }} }}"
            ));
            (sink, source)
        },
        &SIZES[..2],
    );
}

#[test]
fn a_burst_with_objects() {
    figures(
        "objects",
        |n| {
            let sink = today("{ take(o) { return o; } }");
            let source = today(&format!(
                "{{ bootstrap({{ sink }}) {{
                   let left = {n};
                   for (let i = 0; i < {n}; i++) E(sink).take(Far('x', {{}})).then(() => {{ if (--left === 0) console.log('done', {n}); }});
                 }} }}"
            ));
            (sink, source)
        },
        &SIZES[..2],
    );
}

/// Which is nobody else's affair: nothing of it comes to the kernel.
#[test]
fn a_vat_that_sends_to_itself() {
    figures(
        "storm",
        |n| {
            let sink = old("{ take(i) { return i; } }");
            let source = old(&format!(
                "{{ bootstrap(argv, {{ _bootstrap }}) {{ for (let i = 1; i <= {n}; i++) E(_bootstrap).take(i); }},
                   take(i) {{ if (i === {n}) console.log('done', i); }} }}"
            ));
            (sink, source)
        },
        &SIZES,
    );
}
