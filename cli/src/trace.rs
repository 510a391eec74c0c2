//! `glassbox trace`: what one call did, step by step.

use crate::address::Place;
use crate::past::{Ledger, point};
use crate::{Failed, with_stack};
use machine::past::Point;
use machine::trace::{Clock, Operation, Position, What};
use machine::{Input, Trace, TraceError, outcome};
use sandbox::{Failure, Level};
use serde::Serialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;
use std::time::Instant;

/// Show what one call did: its console, files, chance and oracles, with their places in the script.
#[derive(clap::Args)]
pub struct Args {
    /// The transaction: its number, its name (2.17), or #N for entry N of the call log.
    #[arg(value_name = "TX")]
    transaction: String,
    /// The backend (HOST:PORT[/MOUNT], ws://… or http://…), its directory, or one with a downloaded ledger.
    #[arg(value_name = "URL|DIR")]
    place: String,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Result<(), Failed> {
    // Both orders are understood.
    let (wanted, place) = match (args.transaction.parse::<Point>(), args.place.parse::<Point>()) {
        (Err(_), Ok(point)) => (point, &args.transaction),
        _ => (point(&args.transaction)?, &args.place),
    };
    let ledger = Ledger::open(&Place::parse(place)?)?;
    let located = ledger.locate(wanted)?;
    let traced = with_stack(move || {
        let mut past = ledger.as_of(located.transaction.txid().seqno - 1, Box::new(|_, _, _| {}))?;
        past.machine.trace(&located.transaction, clock()).map_err(|error| match error {
            TraceError::Nothing(_) | TraceError::Fault(_) => Failed::unable(error),
            TraceError::Malformed { .. } | TraceError::Outside { .. } => Failed::new(error),
        })
    })??;
    if args.json {
        println!("{}", serde_json::to_string(&Json::from(&traced)).expect("plain data"));
    } else {
        print!("{}", text(&traced));
    }
    if traced.is_as_recorded() { Ok(()) } else { Err(Failed::new(difference(&traced))) }
}

/// Microseconds since now.
fn clock() -> Clock {
    let began = Instant::now();
    Box::new(move || began.elapsed().as_micros() as u64)
}

fn difference(traced: &Trace) -> String {
    let problem = traced.problem.as_ref().map(|problem| format!("; {problem}")).unwrap_or_default();
    format!("The call comes to something else than the ledger says, which is: {}{problem}", result(&traced.recorded))
}

/// What the input was, without anything that a terminal would obey.
fn call(input: &Input) -> String {
    match input {
        Input::Deploy { code, .. } => format!("deploy {}", code.name),
        Input::Init { .. } => "init()".into(),
        Input::Vats { work, .. } => work.name().into(),
        Input::Call(call) => {
            let inner = call.args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).unwrap_or(&call.args);
            let caller = call.caller.id().map(|id| format!("  by {id}")).unwrap_or_default();
            format!("{}({inner}){caller}", call.method)
        }
    }
}

/// A value or an error, on one line.
pub fn result(result: &outcome::Result) -> String {
    match result {
        Ok(Some(json)) => format!("→ {json}"),
        Ok(None) => "→ undefined".into(),
        Err(Failure { name, message, .. }) if message.is_empty() => format!("✖ {name}"),
        Err(Failure { name, message, .. }) => format!("✖ {name}: {message}"),
    }
}

/// The same text, with everything escaped that a terminal would obey.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => plain.push_str("\\n"),
            c if c.is_control() => plain.extend(c.escape_default()),
            c => plain.push(c),
        }
    }
    plain
}

/// The date and time of a moment, in UTC.
pub fn utc(ms: u64) -> String {
    // Days to a date: Howard Hinnant's `civil_from_days`, from 1970 on.
    let (days, rest) = (ms / 86_400_000, ms % 86_400_000);
    let z = days + 719_468;
    let (era, day_of_era) = (z / 146_097, z % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second, ms) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1_000 % 60, rest % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

fn text(traced: &Trace) -> String {
    let mut out = String::new();
    let mut line = |text: String| writeln!(out, "{text}").expect("a string takes everything");
    line(format!("{}  {}  {}", traced.txid, plain(&call(&traced.input)), utc(traced.input.time_ms())));
    let place = |operation: &Operation| operation.position.as_ref().map_or("-".to_owned(), |at| plain(&at.to_string()));
    let width = traced.operations.iter().map(|operation| place(operation).chars().count()).max().unwrap_or(0);
    for operation in &traced.operations {
        let head = format!("{:>8} µs  {:<width$}", operation.at_us, place(operation));
        match &operation.what {
            What::Console { level: at, line: said } => {
                let mark = if *at == Level::Info { String::new() } else { format!("{}: ", level(*at)) };
                let mut head = head;
                for said in said.split('\n') {
                    line(format!("{head}    {mark}{}", plain(said)));
                    head = " ".repeat(8 + 3 + 2 + width);
                }
            }
            what => line(format!("{head}  {}", plain(&what.to_string()))),
        }
    }
    let at = traced.position_of_failure().map(|at| format!("  at {}", plain(&at.to_string()))).unwrap_or_default();
    line(format!("{:>8} µs  {}{at}", traced.us, plain(&result(&traced.result))));
    line(format!("{:>11}  {} instructions", "", traced.instructions));
    out
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Json<'a> {
    transaction: String,
    time: u64,
    #[serde(rename = "type")]
    kind: &'static str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    args: Option<&'a RawValue>,
    caller: Option<String>,
    operations: Vec<Step<'a>>,
    #[serde(flatten)]
    result: Came<'a>,
    instructions: u64,
    us: u64,
    as_recorded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    recorded: Option<Came<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// What a call came to: `result`, `error`, or neither if it was `undefined`.
#[derive(Serialize, Default)]
pub struct Came<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Thrown<'a>>,
}

#[derive(Serialize)]
struct Thrown<'a> {
    name: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<Spot>,
}

/// A place in a script.
#[derive(Serialize)]
struct Spot {
    file: String,
    line: u32,
    column: u32,
}

impl From<&Position> for Spot {
    fn from(position: &Position) -> Spot {
        Spot { file: position.file.clone(), line: position.line, column: position.column }
    }
}

#[derive(Serialize)]
struct Step<'a> {
    number: usize,
    us: u64,
    instructions: u64,
    position: Option<Spot>,
    #[serde(flatten)]
    what: Asked<'a>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Asked<'a> {
    Console {
        level: &'static str,
        line: &'a str,
    },
    File {
        method: &'a str,
        path: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        written: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bytes: Option<usize>,
        #[serde(flatten)]
        answer: Answer<'a>,
    },
    Chance {
        seed: String,
    },
    Oracle {
        #[serde(flatten)]
        answer: Came<'a>,
    },
    Wait {
        ms: u64,
    },
    Previous {
        name: &'a str,
        #[serde(flatten)]
        answer: Answer<'a>,
    },
}

/// A value, shortened, or a refusal.
#[derive(Serialize)]
struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    shown: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<Thrown<'a>>,
}

impl<'a> From<&'a Result<String, (String, String)>> for Answer<'a> {
    fn from(answer: &'a Result<String, (String, String)>) -> Answer<'a> {
        match answer {
            Ok(shown) => Answer { shown: Some(shown).filter(|shown| !shown.is_empty()).map(String::as_str), error: None },
            Err((name, message)) => Answer { shown: None, error: Some(Thrown { name, message, position: None }) },
        }
    }
}

fn raw(json: &str) -> Option<&RawValue> {
    serde_json::from_str(json).ok()
}

impl<'a> From<&'a outcome::Result> for Came<'a> {
    fn from(result: &'a outcome::Result) -> Came<'a> {
        match result {
            Ok(json) => Came { result: json.as_deref().and_then(raw), error: None },
            Err(failure) => {
                let position = machine::trace::thrown_at(failure).as_ref().map(Spot::from);
                Came { result: None, error: Some(Thrown { name: &failure.name, message: &failure.message, position }) }
            }
        }
    }
}

impl<'a> From<&'a Trace> for Json<'a> {
    fn from(traced: &'a Trace) -> Json<'a> {
        let (kind, name, args, caller) = match &traced.input {
            Input::Deploy { code, .. } => ("deploy", code.name.as_str(), None, None),
            Input::Init { .. } => ("init", "init", raw("[]"), None),
            Input::Vats { work, .. } => ("vats", work.name(), None, None),
            Input::Call(call) => ("call", call.method.as_str(), raw(&call.args), call.caller.id()),
        };
        Json {
            transaction: traced.txid.to_string(),
            time: traced.input.time_ms(),
            kind,
            name,
            args,
            caller,
            operations: traced.operations.iter().map(step).collect(),
            result: Came::from(&traced.result),
            instructions: traced.instructions,
            us: traced.us,
            as_recorded: traced.is_as_recorded(),
            recorded: (traced.result != traced.recorded).then(|| Came::from(&traced.recorded)),
            problem: traced.problem.as_ref().map(ToString::to_string),
        }
    }
}

fn step(operation: &Operation) -> Step<'_> {
    let what = match &operation.what {
        What::Console { level: at, line } => Asked::Console { level: level(*at), line },
        What::File { method, path, written, answer } => Asked::File {
            method,
            path,
            written: written.as_ref().map(|(shown, _)| shown.as_str()),
            bytes: written.as_ref().map(|(_, bytes)| *bytes),
            answer: answer.into(),
        },
        What::Chance { seed } => Asked::Chance { seed: format!("{seed:016x}") },
        What::Oracle { answer: Ok(json) } => {
            Asked::Oracle { answer: Came { result: json.as_deref().and_then(raw), error: None } }
        }
        What::Oracle { answer: Err((name, message)) } => {
            Asked::Oracle { answer: Came { result: None, error: Some(Thrown { name, message, position: None }) } }
        }
        What::Wait { ms } => Asked::Wait { ms: *ms },
        What::Previous { name, answer } => Asked::Previous { name, answer: answer.into() },
    };
    let Operation { number, position, instructions, at_us, .. } = operation;
    Step { number: *number, us: *at_us, instructions: *instructions, position: position.as_ref().map(Spot::from), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(utc(ms), expected);
        }
    }
}
