//! Machines as of a transaction, traces, rehearsals.

#![allow(clippy::unwrap_used)]

mod book;

use book::{Book, sandbox, with_stack};
use ledger::{Transaction, WriteSet};
use machine::past::{self, PastError, Point};
use machine::rehearsal::{Rehearsal, RehearsalError};
use machine::state::State;
use machine::{Machine, Trace, TraceError, maps};
use sandbox::Outcome;

const SCRIPT: &str = "
let count = 0
exports.increment = async function (by) {
  console.log('by', by)
  if (by === 0) throw new RangeError('nothing to add')
  count += by
  await System.files.writeFile('/count.json', count)
  return count
}
exports.roll = function () { return Math.random() }
exports.ask = async function () { return (await System.oracle(() => 42)) + count }
exports.look = async function () {
  await new Promise(resolve => setTimeout(resolve, 250))
  try { await System.files.readFile('/nowhere') } catch (error) { return error.name }
}
";

/// Transactions: 1 the service, 2 the deployment, 3 +1, 4 signature, 5 a roll, 6 a failure, 7 checkpoint, 8 +5, 9 oracle,
/// 10 signature, 11 a look.
fn book() -> Book {
    let mut book = Book::new(SCRIPT);
    book.call("increment", "[1]").unwrap();
    book.sign();
    book.call("roll", "[]").unwrap();
    book.call("increment", "[0]").unwrap_err();
    book.checkpoint();
    book.call("increment", "[5]").unwrap();
    book.call("ask", "[]").unwrap();
    book.sign();
    book.call("look", "[]").unwrap();
    book
}

#[test]
fn every_transaction_can_be_gone_back_to() {
    with_stack(|| {
        let mut book = Book::new(SCRIPT);
        let mut digests = vec![None, None];
        for step in 0..8u32 {
            digests.push(book.machine.script().heap_digest());
            match step {
                3 => book.checkpoint(),
                5 => book.sign(),
                6 => drop(book.deploy("exports.other = () => 1")),
                step => drop(book.call("increment", &format!("[{step}]"))),
            }
        }
        digests.push(book.machine.script().heap_digest());
        for (seqno, digest) in digests.into_iter().enumerate() {
            let past = book.as_of(seqno as u64);
            assert_eq!(past.script().heap_digest(), digest, "transaction {seqno}");
            assert_eq!(past.records().state().applied(), seqno as u64);
        }
    });
}

#[test]
fn what_names_no_transaction_is_said() {
    with_stack(|| {
        let book = book();
        let locate = |text: &str| {
            text.parse::<Point>().and_then(|point| past::locate(&book.storage(), point)).map(|located| located.transaction.txid())
        };
        let found = |text: &str| locate(text).unwrap().to_string();
        assert_eq!([found("3"), found("2.3"), found("#0"), found("#3"), found("11")], ["2.3", "2.3", "2.2", "2.6", "2.11"]);
        for text in ["", "x", "-1", "+1", "2.", ".3", "2.3.4", "#", "#-1", "0.3", "2.03", "99999999999999999999"] {
            assert!(matches!(locate(text), Err(PastError::Malformed(_))), "{text}");
        }
        for text in ["0", "12", "2.12", "#7", "18446744073709551615"] {
            let error = locate(text).unwrap_err().to_string();
            assert!(error.ends_with("the last one is 2.11"), "{text}: {error}");
        }
        assert_eq!(locate("3.3").unwrap_err().to_string(), "there is no transaction 3.3; number 3 is 2.3");
        let beyond = past::open(sandbox(), &book.storage(), State::in_memory(), 12, Box::new(|_, _, _| {}));
        assert!(matches!(beyond, Err(PastError::NoTransaction { .. })));
    });
}

#[test]
fn lines_are_evaluated_inside_the_script() {
    with_stack(|| {
        let book = book();
        let mut past = book.as_of(6);
        let mut eval = |source: &str| match past.eval(source).unwrap().unwrap() {
            Outcome::Value(text) => text,
            Outcome::Nothing | Outcome::Reply(_) | Outcome::Invalid(_) => "undefined".into(),
            Outcome::Failure(failure) | Outcome::Refused(failure) => format!("{}: {}", failure.name, failure.message),
        };
        assert_eq!(eval("count"), "1");
        assert_eq!(eval("await exports.increment(41)"), "42");
        assert_eq!(eval("count"), "42");
        assert_eq!(eval("await System.files.readFile('/count.json')"), "'42'");
        assert_eq!(eval("count = 7; await System.files.writeFile('/count.json', 'x'); throw new Error('no')"), "Error: no");
        assert_eq!(eval("[count, await System.files.readFile('/count.json')]"), "[ 42, '42' ]");
        assert_eq!(eval("(await System.files.history()).length"), "3");
        assert_eq!(eval("await System.oracle(() => 1)"), "OracleError: Nobody answers oracles here");
        assert_eq!(eval("System.caller.id"), "null");
        assert_eq!(eval("Math.random() === Math.random()"), "false");
        let now = format!("{}", book::NOW_MS);
        assert_eq!(eval("Date.now()"), now);
        assert!(book.as_of(1).eval("1").unwrap().is_none(), "nothing is deployed");
    });
}

fn clock() -> machine::trace::Clock {
    let mut us = 0;
    Box::new(move || {
        us += 10;
        us
    })
}

fn trace(machine: &mut Machine, transaction: &Transaction) -> Trace {
    machine.trace(transaction, clock()).unwrap()
}

fn told(trace: &Trace) -> Vec<String> {
    let position = |position: &Option<machine::trace::Position>| position.as_ref().map_or("-".into(), ToString::to_string);
    trace.operations.iter().map(|operation| format!("{} {}", position(&operation.position), operation.what)).collect()
}

#[test]
fn a_trace_lists_what_a_call_does_and_leaves_nothing() {
    with_stack(|| {
        let book = book();
        let mut shown = Vec::new();
        for seqno in [3, 5, 6, 8, 9, 11] {
            let mut machine = book.as_of(seqno - 1);
            let before = machine.script().heap_digest();
            let first = trace(&mut machine, book.transaction(seqno));
            let second = trace(&mut machine, book.transaction(seqno));
            assert_eq!(first, second, "the same again");
            assert!(first.is_as_recorded(), "{seqno}: {first:?}");
            assert!(first.operations.is_sorted_by_key(|operation| operation.instructions));
            assert!(first.operations.last().unwrap().instructions < first.instructions);
            assert_eq!(machine.script().heap_digest(), before);
            machine.replay(book.transaction(seqno)).unwrap();
            shown.push(told(&first));
        }
        let seed = shown[1].pop().unwrap();
        assert!(seed.starts_with("test.js:10:42 chance → seed "), "{seed}");
        let expected = [
            vec!["test.js:4:21 by 1", "test.js:7:47 writeFile /count.json ← 1"],
            vec![],
            vec!["test.js:4:21 by 0"],
            vec!["test.js:4:21 by 5", "test.js:7:47 writeFile /count.json ← 6"],
            vec!["test.js:11:56 oracle (trusted) → 42"],
            vec![
                "- the clock jumps by 250 ms, to the next timer",
                "test.js:14:28 readFile /nowhere ✖ NotFoundError: File not found",
            ],
        ];
        assert_eq!(shown, expected);
    });
}

#[test]
fn a_trace_costs_a_call_nothing() {
    with_stack(|| {
        let mut book = Book::new("exports.spend = function (n) { for (let i = 0; i < n; i++) console.log(i); while (true); }");
        let failure = book.call("spend", "[2000]").unwrap_err();
        assert_eq!(failure.name, "InstructionLimitError");
        let trace = trace(&mut book.as_of(2), book.transaction(3));
        assert!(trace.is_as_recorded());
        assert_eq!(trace.operations.len(), 2000);
        assert_eq!(trace.instructions, book::INSTRUCTIONS);
    });
}

#[test]
fn what_runs_nothing_has_no_trace() {
    with_stack(|| {
        let book = book();
        for seqno in [1, 4, 7] {
            let traced = book.as_of(seqno - 1).trace(book.transaction(seqno), clock());
            assert!(matches!(traced, Err(TraceError::Nothing(_))), "{seqno}");
        }
    });
}

#[test]
fn a_transaction_that_does_not_replay_is_traced_as_it_replays() {
    with_stack(|| {
        let book = book();
        let original = book.transaction(8);
        let mut forged = WriteSet::new();
        let record = String::from_utf8(original.public().get(maps::GLASSBOX, maps::CALL_KEY).unwrap().to_vec()).unwrap();
        forged.put(maps::GLASSBOX, maps::CALL_KEY, record.replace("\"result\":6", "\"result\":7"));
        forged.put(maps::FILES, "/count.json", "forged");
        let keys = std::sync::Arc::new(ledger::Keys::generate("s", "n", 0, 4_000_000_000).unwrap());
        let mut sealer = ledger::Sealer::new(&keys, 2).unwrap();
        let forged = Transaction::from_raw(sealer.seal(&forged, None).unwrap().raw).unwrap();
        let mut machine = book.as_of(7);
        let trace = trace(&mut machine, &forged);
        assert!(!trace.is_as_recorded());
        assert_eq!((trace.recorded.clone(), trace.result.clone()), (book::json("7"), book::json("6")));
        let position = |path: &str| trace.position_of_write(path).map(ToString::to_string);
        assert_eq!(position("/count.json").as_deref(), Some("test.js:7:47"));
        assert_eq!(position("/other"), None);
        machine.replay(original).unwrap();
    });
}

#[test]
fn a_call_without_its_answers_says_so() {
    with_stack(|| {
        let book = book();
        let mut bare = WriteSet::new();
        let record = book.transaction(9).public().get(maps::GLASSBOX, maps::CALL_KEY).unwrap();
        bare.put(maps::GLASSBOX, maps::CALL_KEY, record);
        let keys = std::sync::Arc::new(ledger::Keys::generate("s", "n", 0, 4_000_000_000).unwrap());
        let mut sealer = ledger::Sealer::new(&keys, 2).unwrap();
        let bare = Transaction::from_raw(sealer.seal(&bare, None).unwrap().raw).unwrap();
        let trace = trace(&mut book.as_of(8), &bare);
        assert_eq!(trace.problem, Some(machine::Difference::Oracle));
        assert_eq!(told(&trace), ["test.js:11:56 oracle (trusted) ✖ OracleError: The ledger has no answer"]);
    });
}

#[test]
fn a_deployment_is_traced_with_its_migration() {
    with_stack(|| {
        let mut book = book();
        let new = "console.log('loading')\nexports.migrate = async function (previous) {\n  await System.files.writeFile('/m', previous.count)\n}\nexports.x = () => 1";
        book.deploy(new).unwrap();
        let mut machine = book.as_of(book.last() - 1);
        let trace = trace(&mut machine, book.transaction(book.last()));
        assert!(trace.is_as_recorded());
        assert!(trace.operations.is_sorted_by_key(|operation| operation.instructions));
        assert_eq!(told(&trace), ["test.js:1:8 loading", "test.js:3:38 previous.count → 6", "test.js:3:38 writeFile /m ← 6"]);
        machine.replay(book.transaction(book.last())).unwrap();
    });
}

fn rehearse(book: &Book, source: &str) -> Result<machine::rehearsal::Rehearsed, RehearsalError> {
    let mut rehearsal = Rehearsal::new(sandbox(), State::in_memory(), "new.js", source, 20);
    for transaction in &book.transactions {
        rehearsal.take(transaction)?;
    }
    Ok(rehearsal.finish())
}

#[test]
fn a_rehearsal_of_the_same_code_finds_nothing() {
    with_stack(|| {
        let found = rehearse(&book(), &format!("// moved by a line\n{SCRIPT}")).unwrap();
        assert_eq!((found.calls, found.differing, found.without_chance, found.without_oracle), (6, 0, 0, 0), "{found:?}");
    });
}

#[test]
fn a_rehearsal_goes_on_after_a_difference() {
    with_stack(|| {
        let source = SCRIPT.replace("count += by", "count += by * 2").replace("exports.look", "exports.see");
        let found = rehearse(&book(), &source).unwrap();
        let names: Vec<(u64, &str)> = found.differences.iter().map(|found| (found.txid.seqno, &*found.method)).collect();
        assert_eq!(names, [(3, "increment"), (8, "increment"), (9, "ask"), (11, "look")]);
        assert_eq!(found.differences[0].rehearsed, book::json("2"));
        assert_eq!(found.differences[0].number, 1);
        assert_eq!(found.differences[0].files.len(), 1);
        assert_eq!(found.differences[1].rehearsed, book::json("12"));
        assert!(found.methods["look"].gone && !found.methods["increment"].gone);
        assert_eq!((found.calls, found.differing), (6, 4));
    });
}

#[test]
fn a_rehearsal_says_what_the_ledger_has_no_answer_for() {
    with_stack(|| {
        let source = "exports.increment = async () => [Math.random(), await System.oracle(() => 1)]; exports.init = () => {}";
        let found = rehearse(&book(), source).unwrap();
        assert!(found.init_without_record);
        assert_eq!(found.without_oracle, 3, "{found:?}");
        let error = rehearse(&book(), "throw new Error('no')").unwrap_err();
        assert_eq!(error.to_string(), "new.js does not come up: Error: no");
    });
}
