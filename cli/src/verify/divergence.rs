//! Where a replay differs from the ledger, and what may be the cause.
//!
//! The stretch is executed once more up to the transaction before; the call is traced there, twice, and then replayed.
//!
//! | likely cause | what speaks for it |
//! |---|---|
//! | nondeterminism | two runs of the same call differ from each other |
//! | argument changed | the caller's signature, or the claims digest, does not fit the call |
//! | call moved | the caller signed the call, but for another place in the ledger |
//! | state edited | the result is the same, but a file or a page is another; or a write that nothing explains |
//! | code changed | later calls of the same method differ as well |
//! | record edited | the transaction says what no node would have written |
//! | result or argument changed | none of these |

use super::receipts::call_of;
use super::report::Explanation;
use super::stretch::{Folder, Kit, Problem, Start, machine_at};
use super::subject::Subject;
use ledger::{Dir, Transaction};
use machine::bundle::Request;
use machine::past::Transactions;
use machine::script::archive;
use machine::trace::{Position, What};
use machine::{AuthError, Call, Difference, Divergence, Entry, Input, Machine, ReplayError, Trace, maps};
use std::fmt::Display;

/// Later calls of the same method that are looked at.
const LATER_CALLS: u64 = 20;

/// Transactions among which they are looked for.
const LATER_TRANSACTIONS: usize = 2_000;

/// Characters that are shown on either side of a difference.
const AROUND_CHARS: usize = 24;

/// Finds out more about a problem; `None` if there is nothing to find out.
pub fn explain(subject: &Subject, problem: &Problem) -> Option<Explanation> {
    let divergence = problem.divergence.as_deref()?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
        // What cannot be explained is still a mismatch.
        thread.spawn_scoped(scope, || examine(subject, problem, divergence)).ok()?.join().ok()?
    })
}

/// The lines for a terminal.
pub fn lines(explanation: &Explanation) -> Vec<String> {
    let Explanation { operation, expected, got, source, cause, evidence, .. } = explanation;
    let mut lines = vec![format!("What differs: {operation}: expected {expected}, got {got}")];
    lines.extend(source.as_ref().map(|source| format!("Source: {source}")));
    lines.push(format!("Likely cause: {cause} ({evidence})."));
    lines
}

fn examine(subject: &Subject, problem: &Problem, divergence: &Divergence) -> Option<Explanation> {
    let storage = Dir::open(&subject.ledger).ok()?;
    let kit = Kit::new(subject).ok()?;
    let folder = Folder::new().ok()?;
    let from = match &problem.stretch.start {
        Start::Beginning => 1,
        Start::Checkpoint { txid, .. } => txid.seqno + 1,
    };
    let mut machine = machine_at(&kit, &problem.stretch.start, folder.path()).ok()?;
    let mut reader = Transactions::from(&storage, from);
    let transaction = loop {
        let transaction = reader.next()?.ok()?.transaction;
        if transaction.txid() == divergence.txid {
            break transaction;
        }
        machine.replay(&transaction).ok()?;
    };

    let number = machine.entries();
    if machine.as_bundle().is_some() || machine.as_vats().is_some() {
        return Some(of_a_bundle(&machine, &transaction, &divergence.difference, number));
    }
    let entry = Entry::read(transaction.public()).ok().flatten();
    let traces = [trace(&mut machine, &transaction), trace(&mut machine, &transaction)];
    let source = machine.script().code().map(|code| code.source.clone()).unwrap_or_default();
    let _ = machine.replay(&transaction);
    let [traced, again] = &traces;
    let (operation, expected, got) = difference_of(&divergence.difference, &transaction, &machine, traced.as_ref());
    let position = traced.as_ref().and_then(|trace| position_of(&divergence.difference, trace));

    let (cause, evidence) = match (&divergence.difference, traced, again) {
        (_, Some(one), Some(two)) if !is_same(one, two) => ("nondeterminism", "two runs of the same call differ".to_owned()),
        (Difference::Claims, ..) => ("argument changed", "the transaction claims another call than it holds".into()),
        (Difference::Caller { error: AuthError::Altered }, ..) => {
            ("argument changed", "the caller's signature is not one over this call".into())
        }
        (Difference::Caller { error }, ..) => ("call moved", error.to_string()),
        (Difference::Page { .. }, ..) => ("state edited", "the calls before leave another heap".into()),
        (Difference::Unexplained { .. }, ..) => ("state edited", "no call stands beside this write".into()),
        (Difference::Write { .. }, ..) if entry.is_none() => {
            ("state edited", "what the ledger says here is not what the calls before come to".into())
        }
        (Difference::Write { .. }, ..) => ("state edited", "the call comes to the same result, and writes something else".into()),
        (Difference::Result { .. }, ..) => later_calls(&mut machine, reader, entry.as_ref()),
        (Difference::Failed { .. }, ..) => ("result or argument changed", "the call fails when it runs again".into()),
        (difference, ..) => ("record edited", difference.to_string()),
    };

    let call = entry.as_ref().and_then(|entry| match &entry.input {
        Input::Call(call) => Some(call),
        _ => None,
    });
    Some(Explanation {
        transaction: divergence.txid.to_string(),
        entry: entry.as_ref().map(|_| number),
        method: entry.as_ref().map(|entry| match &entry.input {
            Input::Call(Call { method, .. }) => method.clone(),
            Input::Init { .. } => "init".into(),
            Input::Vats { work, .. } => work.name().into(),
            Input::Deploy { .. } => "deploy".into(),
        }),
        args: call.map(|call| call.args.clone()),
        caller: call.and_then(|call| call.caller.id()),
        operation,
        expected,
        got,
        source: position.map(|position| with_line(&position, &source)),
        cause,
        evidence,
    })
}

fn trace(machine: &mut Machine, transaction: &Transaction) -> Option<Trace> {
    machine.trace(transaction, Box::new(|| 0)).ok()
}

fn is_same(one: &Trace, two: &Trace) -> bool {
    one.result == two.result && one.operations == two.operations && one.instructions == two.instructions
}

/// The place in the script that wrote what differs, or that came last.
fn position_of(difference: &Difference, trace: &Trace) -> Option<Position> {
    match difference {
        Difference::Write { map, key, .. } if map == maps::FILES => trace.position_of_write(key).cloned(),
        Difference::Oracle | Difference::Chance(_) => {
            let asks = |what: &What| matches!(what, What::Oracle { .. } | What::Chance { .. });
            trace.operations.iter().rfind(|operation| asks(&operation.what))?.position.clone()
        }
        Difference::Result { .. } | Difference::Failed { .. } => {
            trace.position_of_failure().or_else(|| trace.operations.iter().rev().find_map(|operation| operation.position.clone()))
        }
        _ => None,
    }
}

fn with_line(position: &Position, source: &str) -> String {
    let line = (position.line as usize).checked_sub(1).and_then(|index| source.lines().nth(index));
    match line {
        Some(line) => format!("{position}: {}", line.trim()),
        None => position.to_string(),
    }
}

/// What differs, what the replay gives, what the ledger has. The machine has replayed the transaction.
fn difference_of(
    difference: &Difference,
    transaction: &Transaction,
    machine: &Machine,
    traced: Option<&Trace>,
) -> (String, String, String) {
    match difference {
        Difference::Result { recorded, replayed, .. } => {
            let (ours, theirs) = match traced {
                Some(trace) => (machine::outcome::encode(&trace.result), machine::outcome::encode(&trace.recorded)),
                None => (replayed.clone().into_bytes(), recorded.clone().into_bytes()),
            };
            let (at, ours, theirs) = first_difference(&ours, &theirs);
            (format!("the result, at byte {at}"), ours, theirs)
        }
        Difference::Write { map, key, recorded, replayed, .. } => {
            let theirs = transaction.public().get(map, key.as_bytes()).map(<[u8]>::to_vec);
            let ours = machine.records().state().get(map, key.as_bytes()).ok().flatten();
            let ours = ours.filter(|row| row.seqno() == transaction.txid().seqno).map(|row| row.value().to_vec());
            let (Some(ours), Some(theirs)) = (&ours, &theirs) else {
                return (format!("{key} in {map}"), replayed.clone(), recorded.clone());
            };
            if map == maps::FILES
                && let (Some(our_entry), Some(their_entry)) = (archive::Entry::decode(ours), archive::Entry::decode(theirs))
            {
                let content = |entry: &archive::Entry| entry.content.as_deref().unwrap_or_default().to_vec();
                let (our_content, their_content) = (content(&our_entry), content(&their_entry));
                if our_content == their_content {
                    let times = |entry: &archive::Entry| format!("made {}, written {}", entry.created_ms, entry.modified_ms);
                    return (format!("the times of file {key}"), times(&our_entry), times(&their_entry));
                }
                let (at, ours, theirs) = first_difference(&our_content, &their_content);
                return (format!("file {key}, at byte {at}"), ours, theirs);
            }
            let (at, ours, theirs) = first_difference(ours, theirs);
            (format!("{key} in {map}, at byte {at}"), ours, theirs)
        }
        Difference::Page { page } => {
            (format!("page {page} of the heap"), "what the calls before leave".into(), "another page".into())
        }
        Difference::Unexplained { map, key } => (format!("{key} in {map}"), "nothing".into(), "a write".into()),
        Difference::Failed { .. } => {
            let failure = traced.and_then(|trace| trace.result.as_ref().err());
            let ours = failure.map_or("a failure".into(), |failure| format!("{}: {}", failure.name, failure.message));
            ("the outcome".into(), ours, "a success".into())
        }
        Difference::Time { time_ms, before_ms } => ("the time".into(), format!("{before_ms} or later"), time_ms.to_string()),
        Difference::Caller { error } => ("the caller's signature".into(), "one that admits this call".into(), error.to_string()),
        other => ("the record".into(), "one that a node writes".into(), other.to_string()),
    }
}

/// The first byte that differs, and a few characters around it on both sides.
fn first_difference(ours: &[u8], theirs: &[u8]) -> (usize, String, String) {
    let at = ours.iter().zip(theirs).take_while(|(a, b)| a == b).count();
    (at, around(ours, at), around(theirs, at))
}

fn around(bytes: &[u8], at: usize) -> String {
    let (from, to) = (at.saturating_sub(AROUND_CHARS), (at + AROUND_CHARS).min(bytes.len()));
    let text = String::from_utf8_lossy(&bytes[from.min(to)..to]).into_owned();
    let mark = |is_cut: bool| if is_cut { "…" } else { "" };
    format!("{}{text}{}", mark(from > 0), mark(to < bytes.len()))
}

/// The same for a bundle's request.
fn of_a_bundle(machine: &Machine, transaction: &Transaction, difference: &Difference, number: u64) -> Explanation {
    let writes = machine.records().writes(transaction).unwrap_or_else(|_| transaction.public().clone());
    let maps = [maps::GLASSBOX, maps::OWN];
    let request = maps.iter().find_map(|map| Request::decode(writes.get(map, maps::REQUEST_KEY)?).ok());
    let (operation, expected, got) = match difference {
        Difference::Result { recorded, replayed, .. } => ("the response".to_owned(), replayed.clone(), recorded.clone()),
        other => ("the transaction".to_owned(), "what its request comes to".to_owned(), other.to_string()),
    };
    let (cause, evidence) = match difference {
        Difference::Result { .. } => {
            ("request, response or state edited", "the request is answered otherwise when it runs again")
        }
        Difference::Claims => ("claims edited", "the handler claims something else"),
        _ => ("state edited", "the request comes to other writes when it runs again"),
    };
    Explanation {
        transaction: transaction.txid().to_string(),
        entry: Some(number),
        method: request.as_ref().map(|request| format!("{} {}", request.method, request.path())),
        operation,
        expected,
        got,
        cause,
        evidence: evidence.to_owned(),
        ..Explanation::default()
    }
}

/// Whether calls behind it differ too.
fn later_calls(
    machine: &mut Machine,
    reader: impl Iterator<Item = Result<ledger::Located, ledger::ReadError>>,
    entry: Option<&Entry>,
) -> (&'static str, String) {
    let unknown = |evidence: &dyn Display| ("result or argument changed", evidence.to_string());
    let Some(Entry { input: Input::Call(Call { method, .. }), .. }) = entry else {
        return unknown(&"it comes to something else when it runs again");
    };
    let (mut same, mut other) = (0_u64, 0_u64);
    for located in reader.take(LATER_TRANSACTIONS) {
        let Ok(located) = located else { break };
        let transaction = located.transaction;
        let record = transaction.public().get(maps::GLASSBOX, maps::CALL_KEY).map(String::from_utf8_lossy);
        let is_same_method = record.is_some_and(|record| call_of(&record).split('(').next() == Some(method));
        match machine.replay(&transaction) {
            Ok(_) if is_same_method => same += 1,
            Err(ReplayError::Divergence(divergence)) => {
                other += u64::from(is_same_method);
                if matches!(divergence.difference, Difference::Failed { .. }) {
                    break;
                }
            }
            Ok(_) => {}
            Err(ReplayError::Fault(_)) => break,
        }
        if same + other == LATER_CALLS {
            break;
        }
    }
    let calls = same + other;
    match (same, other) {
        (0, 0) => unknown(&format!("no later call of {method}() shows more")),
        (_, 0) => unknown(&format!("the next {calls} calls of {method}() come out as they are recorded")),
        (0, _) => (
            "code changed",
            format!("the next {calls} calls of {method}() differ as well: other code ran, or a call was left out"),
        ),
        _ => unknown(&format!("of the next {calls} calls of {method}(), {other} differ as well")),
    }
}
