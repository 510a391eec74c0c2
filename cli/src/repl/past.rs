//! `glassbox repl --at`: lines that are evaluated inside the script, as it was right after a transaction.
//!
//! What a line changes, the lines after it see. Nothing of it is kept: the machine and its files are the session's own.

use super::{Answered, Talk, converse, once};
use crate::address::Place;
use crate::past::{Ledger, Past, point};
use crate::{Failed, with_stack};
use machine::Console;
use sandbox::{Level, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const HELP: &str = "\
exports.METHOD(…)  calls a method of the script; its variables are there too
System.files       the files as they were; what you write stays until the session ends
System.caller.id   null
System.oracle      nobody answers
Date, Math.random  the time of the last call; the same numbers for the same lines
.help              this text
.exit, Ctrl-D      ends the session
Ctrl-C             clears the line

This is a copy of the past: nothing that you do is kept. A line that fails changes nothing.";

pub fn run(at: String, place: String, exec: Option<String>) -> Result<(), Failed> {
    let point = point(&at)?;
    let ledger = Ledger::open(&Place::parse(&place)?)?;
    let txid = ledger.locate(point)?.transaction.txid();
    with_stack(move || {
        let replayed = Arc::new(AtomicBool::new(false));
        let past = ledger.as_of(txid.seqno, console(replayed.clone()))?;
        replayed.store(true, Ordering::Relaxed);
        let Some(code) = past.machine.script().code() else {
            return Err(Failed::unable(format!("nothing is deployed yet at transaction {txid}")));
        };
        let (name, methods) = (code.name.clone(), past.machine.script().exports().methods.clone());
        let mut past = Inside(past);
        match exec {
            Some(source) => once(&mut past, &source),
            None => {
                println!("{name} as it was right after transaction {txid}. Nothing that you do is kept.");
                converse(&mut past, &Talk { prompt: format!("{txid}> "), help: HELP, object: "exports", methods })
            }
        }
    })?
}

struct Inside(Past);

impl Answered for Inside {
    fn eval(&mut self, source: &str) -> Result<Outcome, Failed> {
        let outcome = self.0.machine.eval(source).map_err(Failed::new)?;
        outcome.ok_or_else(|| Failed::unable("nothing is deployed"))
    }
}

/// Lines of the console are shown for what is typed, not for what is replayed.
fn console(replayed: Arc<AtomicBool>) -> Console {
    Box::new(move |_, level, line| {
        if !replayed.load(Ordering::Relaxed) {
            return;
        }
        match level {
            Level::Debug | Level::Info => println!("{line}"),
            Level::Warn | Level::Error => eprintln!("{line}"),
        }
    })
}
