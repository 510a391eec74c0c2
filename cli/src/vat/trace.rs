//! `glassbox vat trace`: who has sent what because of what.
//!
//! ```text
//! crank 5 ──sends──▶ message ──is delivered──▶ crank 6 ──resolves──▶ promise ──is told──▶ crank 8 …
//! ```
//!
//! The vats run in memory; or, with `--dir`, the ledger that is kept there is replayed in memory, and compared with what it says.
//!
//! # Invariants
//!
//! - Everything is linear in the number of events: no recursion, no search, no indentation without a bound.
//! - Each crank is shown once: below what it was caused by.

mod dot;
mod graph;
mod text;
mod value;

use super::run::{Interrupt, console, to_the_end};
use super::{Vats, is_kept};
use crate::address::Place;
use crate::past::Ledger;
use crate::{Failed, with_stack};
use graph::Graph;
use machine::past::Transactions;
use machine::state::State;
use machine::vats::Event;
use machine::{Console, Machine};
use sandbox::{Level, Sandbox};
use server::vats::Said;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Show who has sent what because of what.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) vats: Vats,
    /// Print a graph for Graphviz: glassbox vat trace --dot | dot -Tsvg
    #[arg(long, conflicts_with = "json")]
    dot: bool,
    /// Print the events, one JSON object a line.
    #[arg(long)]
    json: bool,
}

/// What the vats are called: `v1` is `bot`.
type Names = BTreeMap<String, String>;

pub fn run(args: Args) -> Result<(), Failed> {
    let interrupt = Interrupt::listen()?;
    with_stack(move || {
        let (events, names, done) = match args.vats.dir.as_deref() {
            Some(dir) => replayed(&args.vats, dir)?,
            None => ran(&args.vats, &interrupt)?,
        };
        let shown = if args.json {
            lines(&events)
        } else if args.dot {
            dot::graph(&Graph::of(&events), &names)
        } else {
            text::graph(&Graph::of(&events), &names)
        };
        // That nobody reads on is no failure.
        let _ = std::io::stdout().write_all(shown.as_bytes());
        done
    })?
}

/// All that happened, and whether it went well.
type Traced = (Vec<Event>, Names, Result<(), Failed>);

/// In memory, to the end.
fn ran(vats: &Vats, interrupt: &Interrupt) -> Result<Traced, Failed> {
    let mut session = vats.session(aside(vats.verbose))?;
    if let Some(vats) = session.machine().as_vats_mut() {
        vats.watch();
    }
    let ended = to_the_end(&mut session, interrupt)?;
    Ok((events(session.machine()), names(session.machine()), ended.into_result()))
}

/// Replayed from what is kept.
fn replayed(vats: &Vats, dir: &Path) -> Result<Traced, Failed> {
    if vats.basedir.is_some() || vats.config.is_some() {
        return Err(Failed::unable("the ledger of --dir has its vats; no others can be named with it"));
    }
    if vats.said()? != Said::default() {
        return Err(Failed::unable("the ledger of --dir has its installation already; only how it is shown can be said"));
    }
    if !is_kept(dir) {
        return Err(Failed::unable(format!("{} holds no vats", dir.display())));
    }
    let ledger = Ledger::open(&Place::Dir(dir.to_owned()))?;
    let sandbox = Sandbox::new().map_err(Failed::unable)?;
    let mut machine = Machine::vats(&sandbox, State::in_memory(), aside(vats.verbose)).map_err(Failed::unable)?;
    if let Some(vats) = machine.as_vats_mut() {
        vats.watch();
    }
    let mut done = Ok(());
    for located in Transactions::from(&ledger.storage()?, 1) {
        let transaction = located.map_err(Failed::new)?.transaction;
        if let Err(error) = machine.replay(&transaction) {
            done = Err(Failed::new(format!("the ledger does not replay: {error}")));
            break;
        }
        if machine.service().is_some_and(|service| service.kind != machine::service::VATS) {
            return Err(Failed::unable(format!("{} holds no vats", dir.display())));
        }
    }
    Ok((events(&mut machine), names(&machine), done))
}

fn events(machine: &mut Machine) -> Vec<Event> {
    machine.as_vats_mut().map(|vats| vats.take_events()).unwrap_or_default()
}

fn names(machine: &Machine) -> Names {
    let tables = machine.as_vats().map(|vats| vats.dump().vat_tables).unwrap_or_default();
    tables.into_iter().map(|vat| (vat.vat_id, vat.name)).collect()
}

/// The vats' own lines stand beside the trace, not in it.
fn aside(debug: bool) -> Console {
    let mut console = console(debug);
    Box::new(move |number, level, line| match level {
        Level::Debug | Level::Info if !debug => {}
        Level::Debug | Level::Info => console(number, Level::Warn, line),
        Level::Warn | Level::Error => console(number, level, line),
    })
}

fn lines(events: &[Event]) -> String {
    let mut lines = String::new();
    for event in events {
        lines += &serde_json::to_string(event).expect("strings and numbers can be written");
        lines.push('\n');
    }
    lines
}

/// `bot (v1)`
fn name_of(vat: &str, names: &Names) -> String {
    names.get(vat).map_or_else(|| vat.to_owned(), |name| format!("{name} ({vat})"))
}

#[cfg(test)]
mod tests;
