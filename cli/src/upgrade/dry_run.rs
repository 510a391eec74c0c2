//! What an upgrade would change: the recorded calls run with the new code, and the upgrade tried on a copy of the present.

use super::New;
use crate::Failed;
use crate::past::{Ledger, folder};
use crate::trace::{plain, result};
use indicatif::{ProgressBar, ProgressStyle};
use machine::past::Transactions;
use machine::rehearsal::{Changed, Rehearsal, RehearsalError, Rehearsed};
use machine::script::archive;
use machine::state::State;
use machine::{Code, Input, Settings, maps, outcome};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::io::IsTerminal;

/// Differences that are shown.
const MAX_SHOWN: usize = 20;

/// Characters of a file's content, of arguments or of a result.
const SHOWN_CHARS: usize = 60;

/// What the upgrade itself comes to, now.
struct Tried {
    failure: Option<sandbox::Failure>,
    migrates: bool,
    /// The paths that it writes, and what is there then; `None`: removed.
    files: Vec<(String, Option<String>)>,
    appear: Vec<String>,
    disappear: Vec<String>,
}

pub fn run(ledger: &Ledger, new: New, json: bool) -> Result<(), Failed> {
    let storage = ledger.storage()?;
    let (mut last, mut calls) = (0, 0);
    for located in Transactions::from(&storage, 1) {
        let transaction = located.map_err(Failed::new)?.transaction;
        last = transaction.txid().seqno;
        calls += u64::from(transaction.public().get(maps::GLASSBOX, maps::CALL_KEY).is_some());
    }
    if !json {
        println!("Running {} with {}...", count(calls.saturating_sub(1), "recorded call"), new.name);
    }
    let bar = bar(json, calls.saturating_sub(1));
    let name = new.name.clone();
    let (found, tried) = std::thread::scope(|scope| {
        let work = || {
            let found = rehearse(&storage, &new, last, &bar)?;
            Ok((found, attempt(ledger, &new, last)?))
        };
        let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
        let running = thread.spawn_scoped(scope, work).map_err(Failed::unable)?;
        running.join().unwrap_or_else(|_| Err(Failed::unable("an internal error; the lines above say where")))
    })?;
    bar.finish_and_clear();
    if json {
        println!("{}", serde_json::to_string(&Json::new(&found, &tried)).expect("plain data"));
    } else {
        print!("{}", text(&name, &found, &tried));
    }
    let same = found.differing == 0 && tried.failure.is_none() && tried.disappear.is_empty();
    if same { Ok(()) } else { Err(Failed::new("")) }
}

fn bar(quiet: bool, len: u64) -> ProgressBar {
    if quiet || !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} calls  {eta}");
    ProgressBar::new(len).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn rehearse(storage: &ledger::Dir, new: &New, last: u64, bar: &ProgressBar) -> Result<Rehearsed, Failed> {
    let sandbox = sandbox::Sandbox::new().map_err(Failed::unable)?;
    let folder = folder()?;
    let state = State::open(&folder.path().join("state")).map_err(Failed::unable)?;
    let mut rehearsal = Rehearsal::new(sandbox, state, &new.name, &new.source, MAX_SHOWN);
    for located in Transactions::from(storage, 1) {
        let transaction = located.map_err(Failed::unable)?.transaction;
        if transaction.txid().seqno > last {
            break;
        }
        rehearsal.take(&transaction).map_err(|error| match error {
            RehearsalError::Code { name, failure } => Failed::unable(describe(&name, &failure)),
            error => Failed::unable(error),
        })?;
        if rehearsal.calls().is_multiple_of(64) {
            bar.set_position(rehearsal.calls());
        }
    }
    Ok(rehearsal.finish())
}

/// `new.js:3:14: RangeError: …`, as compilers have it.
fn describe(name: &str, failure: &sandbox::Failure) -> String {
    let at = machine::trace::thrown_at(failure).map_or_else(|| name.to_owned(), |at| at.to_string());
    format!("{at}: {}: {}", failure.name, failure.message)
}

/// Deploys the new code on a copy of what is there now.
fn attempt(ledger: &Ledger, new: &New, last: u64) -> Result<Tried, Failed> {
    let mut past = ledger.as_of(last, Box::new(|_, _, _| {})).map_err(|failed| Failed::unable(failed.message))?;
    let script = past.machine.script();
    let before = script.exports().methods.clone();
    let settings = script.code().map_or_else(Settings::default, |code| code.settings);
    let code = Code { name: new.name.clone(), source: new.source.clone(), settings };
    let time_ms = past.machine.records().time_ms();
    let (outcome, _) = past.machine.execute(last + 1, &Input::Deploy { code, time_ms }).map_err(Failed::unable)?;
    let exports = past.machine.script().exports();
    let without = |these: &[String], those: &[String]| these.iter().filter(|name| !those.contains(name)).cloned().collect();
    let shown = |row: Option<Vec<u8>>| {
        row.map(|row| archive::Entry::decode(&row).map_or_else(String::new, |entry| entry.describe(SHOWN_CHARS)))
    };
    Ok(Tried {
        migrates: exports.migrate && outcome.result.is_ok(),
        appear: without(&exports.methods, &before),
        disappear: without(&before, &exports.methods),
        failure: outcome.result.err(),
        files: outcome.writes.into_iter().map(|(path, row)| (path, shown(row))).collect(),
    })
}

fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Shortened, and without anything that a terminal would obey.
fn short(text: &str) -> String {
    let text = plain(text);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn text(name: &str, found: &Rehearsed, tried: &Tried) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut line = |text: String| lines.push(text);
    let width = found.methods.keys().map(|method| method.chars().count()).max().unwrap_or(0).min(SHOWN_CHARS);
    for (method, tally) in &found.methods {
        let verdict = match tally.differing {
            0 => "the same".to_owned(),
            differing => format!("{differing} different"),
        };
        let gone = if tally.gone { ", the method is gone" } else { "" };
        line(format!("  {:<width$}  {}: {verdict}{gone}", short(method), count(tally.calls, "call")));
    }
    for Changed { txid, number, method, args, caller, recorded, rehearsed, files } in &found.differences {
        let inner = args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).unwrap_or(args);
        let caller = caller.as_ref().map(|caller| format!("  by {}", short(caller))).unwrap_or_default();
        line(format!("✖ #{number}  {txid}  {}({}){caller}", short(method), short(inner)));
        if recorded != rehearsed {
            line(format!("    recorded  {}", short(&result(recorded))));
            line(format!("    now       {}", short(&result(rehearsed))));
        }
        for (path, recorded, rehearsed) in files {
            line(format!("    {}", plain(path)));
            line(format!("      recorded  {}", plain(recorded)));
            line(format!("      now       {}", plain(rehearsed)));
        }
    }
    let more = found.differing - found.differences.len() as u64;
    if more > 0 {
        line(format!("  and {more} more"));
    }
    line(match found.differing {
        0 => format!("✔ {name} gives the same results and files for {}.", count(found.calls, "call")),
        differing => format!("✖ {name} differs in {differing} of {}.", count(found.calls, "call")),
    });
    for (number, what) in [
        (found.without_chance, "drew chance where the ledger has none; it got the seed 0"),
        (found.without_oracle, "asked an oracle of which the ledger has no answer; it got an OracleError"),
    ] {
        if number > 0 {
            line(format!("  {} {what}.", count(number, "call")));
        }
    }
    if found.left_out > 0 {
        line(format!("  {} left out: the new code stood there from the beginning.", count(found.left_out, "later deployment")));
    }
    if found.init_without_record {
        line("  init() was not run: the ledger has no call of it.".into());
    }
    match &tried.failure {
        Some(failure) => line(format!("✖ The upgrade fails, the old code stays: {}", plain(&describe(name, failure)))),
        None => line("✔ The upgrade comes up.".into()),
    }
    if tried.migrates && tried.files.is_empty() {
        line("  migrate() writes no file.".into());
    }
    for (path, row) in &tried.files {
        match row {
            Some(row) => line(format!("  writes {}: {}", plain(path), plain(row))),
            None => line(format!("  removes {}", plain(path))),
        }
    }
    for (what, methods) in [("New methods", &tried.appear), ("Methods that are gone", &tried.disappear)] {
        if !methods.is_empty() && tried.failure.is_none() {
            line(format!("  {what}: {}", methods.iter().map(|method| plain(method)).collect::<Vec<_>>().join(", ")));
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    same: bool,
    calls: u64,
    differing: u64,
    differences: Vec<Row<'a>>,
    methods: BTreeMap<&'a str, Method>,
    without_chance: u64,
    without_oracle: u64,
    deployments_left_out: u64,
    init_without_record: bool,
    upgrade: Upgrade<'a>,
}

#[derive(Serialize)]
struct Method {
    calls: u64,
    differing: u64,
    gone: bool,
}

#[derive(Serialize)]
struct Row<'a> {
    number: u64,
    transaction: String,
    method: &'a str,
    args: Option<&'a RawValue>,
    caller: Option<&'a str>,
    recorded: Came<'a>,
    now: Came<'a>,
    files: Vec<File<'a>>,
}

/// `result`, `error`, or neither for `undefined`.
#[derive(Serialize)]
struct Came<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Thrown<'a>>,
}

#[derive(Serialize)]
struct Thrown<'a> {
    name: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct File<'a> {
    path: &'a str,
    recorded: &'a str,
    now: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Upgrade<'a> {
    comes_up: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Thrown<'a>>,
    migrates: bool,
    writes: BTreeMap<&'a str, Option<&'a str>>,
    appear: &'a [String],
    disappear: &'a [String],
}

fn came(result: &outcome::Result) -> Came<'_> {
    match result {
        Ok(json) => Came { result: json.as_deref().and_then(|json| serde_json::from_str(json).ok()), error: None },
        Err(failure) => Came { result: None, error: Some(thrown(failure)) },
    }
}

fn thrown(failure: &sandbox::Failure) -> Thrown<'_> {
    Thrown { name: &failure.name, message: &failure.message }
}

impl<'a> Json<'a> {
    fn new(found: &'a Rehearsed, tried: &'a Tried) -> Json<'a> {
        let row = |changed: &'a Changed| Row {
            number: changed.number,
            transaction: changed.txid.to_string(),
            method: &changed.method,
            args: serde_json::from_str(&changed.args).ok(),
            caller: changed.caller.as_deref(),
            recorded: came(&changed.recorded),
            now: came(&changed.rehearsed),
            files: changed.files.iter().map(|(path, recorded, now)| File { path, recorded, now }).collect(),
        };
        let methods = found
            .methods
            .iter()
            .map(|(name, tally)| (name.as_str(), Method { calls: tally.calls, differing: tally.differing, gone: tally.gone }));
        Json {
            same: found.differing == 0,
            calls: found.calls,
            differing: found.differing,
            differences: found.differences.iter().map(row).collect(),
            methods: methods.collect(),
            without_chance: found.without_chance,
            without_oracle: found.without_oracle,
            deployments_left_out: found.left_out,
            init_without_record: found.init_without_record,
            upgrade: Upgrade {
                comes_up: tried.failure.is_none(),
                error: tried.failure.as_ref().map(thrown),
                migrates: tried.migrates,
                writes: tried.files.iter().map(|(path, row)| (path.as_str(), row.as_deref())).collect(),
                appear: &tried.appear,
                disappear: &tried.disappear,
            },
        }
    }
}
