//! The graph for Graphviz: a cluster for each vat, a node for each crank; messages are drawn through, notifications dashed.

use super::graph::{Crank, Graph};
use super::{Names, name_of};
use machine::vats::Event;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// All of it. Cranks that nothing has to do with are left out.
pub fn graph(graph: &Graph<'_>, names: &Names) -> String {
    let mut vats: BTreeMap<(usize, &str), Vec<usize>> = BTreeMap::new();
    for (at, crank) in graph.cranks.iter().enumerate() {
        if crank.is_caused || !crank.effects.is_empty() || matches!(crank.given, Some(Event::Deliver { .. })) {
            // v9 before v10.
            vats.entry((crank.vat.len(), crank.vat)).or_default().push(at);
        }
    }
    let mut out = String::from("digraph vats {\n  rankdir=LR;\n  node [shape=box];\n");
    let mut line = |text: String| {
        out.push_str(&text);
        out.push('\n');
    };
    for ((_, vat), cranks) in vats {
        line(format!("  subgraph cluster_{vat} {{\n    label={};", quoted(&name_of(vat, names))));
        for at in cranks {
            let crank = &graph.cranks[at];
            let ends = crank.effects.iter().any(|effect| matches!(effect.event, Event::Terminated { .. }));
            let color = if ends { ", color=red" } else { "" };
            line(format!("    c{at} [label={}{color}];", quoted(&label(crank))));
        }
        line("  }".into());
    }
    for (at, crank) in graph.cranks.iter().enumerate() {
        for effect in &crank.effects {
            if let (Some(delivered), Event::Send { result, .. }) = (effect.delivered, effect.event) {
                let label = result.as_deref().map(|result| format!(" [label={}]", quoted(result))).unwrap_or_default();
                line(format!("  c{at} -> c{delivered}{label};"));
            }
        }
    }
    for (from, to, promise) in &graph.told {
        line(format!("  c{from} -> c{to} [style=dashed, label={}];", quoted(promise)));
    }
    writeln!(out, "}}").expect("a string takes everything");
    out
}

fn label(crank: &Crank<'_>) -> String {
    let what = match crank.given {
        Some(Event::Deliver { method, .. }) => method,
        Some(Event::Notify { .. }) => "notify",
        Some(Event::Other { what, .. }) => what,
        _ => "kernel",
    };
    format!("{} {what}", crank.number)
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
