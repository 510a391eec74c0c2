//! The graph as lines: each crank's number, and below it, indented, what came of it.

use super::graph::{Crank, Effect, Graph};
use super::{Names, name_of, value};
use crate::trace::plain;
use machine::vats::Event;
use std::fmt::Write as _;

/// Levels that are indented; those below say how deep they are.
const MAX_INDENT: usize = 30;

/// Characters of a value.
const VALUE_CHARS: usize = 60;

enum Next {
    Crank(usize),
    Effect(usize, usize),
}

/// All of it.
pub fn graph(graph: &Graph<'_>, names: &Names) -> String {
    let width = graph.cranks.last().map_or(1, |crank| crank.number.to_string().len());
    let mut out = String::new();
    let mut line = |number: u64, depth: usize, text: &str| {
        let deep = if depth > MAX_INDENT { format!("({depth}) ") } else { String::new() };
        let indent = 2 * depth.min(MAX_INDENT);
        writeln!(out, "{number:>width$}  {:indent$}{deep}{text}", "").expect("a string takes everything");
    };
    let roots = graph.cranks.iter().enumerate().filter(|(_, crank)| !crank.is_caused && is_shown(crank));
    let mut waiting: Vec<(Next, usize)> = roots.map(|(at, _)| (Next::Crank(at), 0)).collect();
    waiting.reverse();
    while let Some((next, depth)) = waiting.pop() {
        match next {
            Next::Crank(at) => {
                let crank = &graph.cranks[at];
                line(crank.number, depth, &given(crank, names));
                waiting.extend((0..crank.effects.len()).rev().map(|place| (Next::Effect(at, place), depth + 1)));
            }
            Next::Effect(at, place) => {
                let effect = &graph.cranks[at].effects[place];
                let below = match effect.delivered {
                    // The delivery says it all.
                    Some(_) => depth,
                    None => {
                        line(graph.cranks[at].number, depth, &done(effect, names));
                        depth + 1
                    }
                };
                waiting.extend(effect.told.iter().rev().map(|&told| (Next::Crank(told), below)));
                waiting.extend(effect.delivered.map(|delivered| (Next::Crank(delivered), depth)));
            }
        }
    }
    out
}

/// That a vat begins, or is asked for its garbage, is shown only if something comes of it.
fn is_shown(crank: &Crank<'_>) -> bool {
    !matches!(crank.given, Some(Event::Other { .. })) || !crank.effects.is_empty()
}

fn given(crank: &Crank<'_>, names: &Names) -> String {
    let vat = name_of(crank.vat, names);
    match crank.given {
        Some(Event::Deliver { target, method, args, in_body, result, .. }) => {
            let result = result.as_deref().map(|result| format!(" → {result}")).unwrap_or_default();
            plain(&format!("{vat}: {target}.{method}({}){result}", arguments(args, *in_body)))
        }
        Some(Event::Notify { promises, .. }) => format!("{vat} hears {}", promises.join(", ")),
        Some(Event::Other { what, .. }) => plain(&format!("{vat}: {what}")),
        _ => format!("{vat}, by the kernel"),
    }
}

fn done(effect: &Effect<'_>, names: &Names) -> String {
    let text = match effect.event {
        Event::Send { target, method, result: Some(result), .. } => format!("sends {target}.{method} → {result}: not delivered"),
        Event::Send { target, method, .. } => format!("sends {target}.{method}: not delivered"),
        Event::Resolve { promise, rejected: true, body, .. } => format!("{promise} ✖ {}", resolution(body)),
        Event::Resolve { promise, body, .. } => format!("{promise} = {}", resolution(body)),
        Event::Terminated { vat, why, .. } => format!("{} is terminated: {why}", name_of(vat, names)),
        Event::Deliver { .. } | Event::Notify { .. } | Event::Other { .. } => String::new(),
    };
    plain(&text)
}

/// The arguments of a message, shortened.
fn arguments(body: &str, in_body: bool) -> String {
    value::arguments(body, in_body).map_or_else(|| cut(body), |shown| cut(&shown))
}

fn resolution(body: &str) -> String {
    value::of(body).map_or_else(|| cut(body), |shown| cut(&shown))
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
