//! Work beside the ledger: a call that is traced in a fork, a line that is evaluated for who looks at a past state. No
//! transaction comes of either.

use super::files::{Draw, Files, op};
use super::{Exports, INIT, Life, MIGRATE, Script, failure, not_vats, result_of};
use crate::Fault;
use crate::difference::{Difference, shown};
use crate::input::{Call, Input};
use crate::outcome;
use crate::outside::Source;
use crate::trace::{Clock, Operation, Position, What};
use sandbox::{Answer, Consult, Fault as HostFault, Host, Level, OracleAnswer, Outcome, Realm};
use std::collections::BTreeMap;

/// What the fork did, and what it came to.
pub(crate) struct Traced {
    pub operations: Vec<Operation>,
    pub result: outcome::Result,
    pub problem: Option<Difference>,
    pub instructions: u64,
    pub us: u64,
}

/// The files, with somebody beside them who writes down what is asked.
struct Tracer {
    files: Files,
    clock: Clock,
    /// When the work began, and what it has taken without the making of the fork.
    started_us: u64,
    taken_us: u64,
    operations: Vec<Operation>,
    /// Where the question that comes now is asked.
    place: Option<Position>,
    instructions: u64,
    /// What was used before the present piece of work.
    before: u64,
}

impl Tracer {
    fn new(files: Files, clock: Clock) -> Tracer {
        Tracer { files, clock, started_us: 0, taken_us: 0, operations: Vec::new(), place: None, instructions: 0, before: 0 }
    }

    /// The work begins.
    fn start(&mut self) {
        self.started_us = (self.clock)().saturating_sub(self.taken_us);
    }

    /// It has ended.
    fn stop(&mut self) {
        self.taken_us = self.elapsed_us();
    }

    fn elapsed_us(&mut self) -> u64 {
        (self.clock)().saturating_sub(self.started_us)
    }

    fn note(&mut self, at_us: u64, what: What) {
        let number = self.operations.len() + 1;
        let instructions = self.before + self.instructions;
        self.operations.push(Operation { number, position: self.place.take(), what, instructions, at_us });
    }
}

impl Host for Tracer {
    fn console(&mut self, level: Level, line: &str) {
        let at_us = self.elapsed_us();
        self.note(at_us, What::Console { level, line: line.to_owned() });
    }

    fn seed(&mut self) -> Result<u64, HostFault> {
        let at_us = self.elapsed_us();
        let seed = self.files.seed()?;
        self.note(at_us, What::Chance { seed });
        Ok(seed)
    }

    fn consult(&mut self) -> Result<Consult, HostFault> {
        self.files.consult()
    }

    fn consulted(&mut self, answer: &OracleAnswer) {
        let at_us = self.elapsed_us();
        self.note(at_us, What::Oracle { answer: answer.clone() });
    }

    fn wait(&mut self, ms: f64) {
        let at_us = self.elapsed_us();
        self.note(at_us, What::Wait { ms: ms as u64 });
    }

    fn place(&mut self, stack: &str, instructions: u64) {
        self.place = Position::of_stack(stack);
        self.instructions = instructions;
    }

    fn ask(&mut self, op: u32, text: &str, data: &[u8], work: &mut u64) -> Result<Answer, HostFault> {
        let at_us = self.elapsed_us();
        let answer = self.files.ask(op, text, data, work)?;
        let what = describe(op, text, data, &answer);
        self.note(at_us, what);
        Ok(answer)
    }
}

/// The names of a folder's rows.
fn names(rows: &str) -> String {
    let rows: Vec<(String, String, u64, u64, u64)> = serde_json::from_str(rows).unwrap_or_default();
    let names: Vec<&str> = rows.iter().map(|(name, ..)| name.as_str()).collect();
    shown(serde_json::json!(names).to_string().as_bytes())
}

/// What kind of entry it is, and how large.
fn size(row: &str) -> String {
    let (kind, bytes, ..): (String, u64, u64, u64) = serde_json::from_str(row).unwrap_or_default();
    if kind == "file" { format!("a file of {bytes} bytes") } else { "a folder".to_owned() }
}

fn describe(op: u32, text: &str, data: &[u8], answer: &Answer) -> What {
    let behind_option = || text.split_once('\n').map_or(text, |(_, path)| path);
    let is_read = op == op::READ;
    let answer = match answer {
        Answer::Text(text) if op == op::READDIR => Ok(names(text)),
        Answer::Text(text) if op == op::STAT => Ok(size(text)),
        Answer::Text(text) => Ok(shown(text.as_bytes())),
        Answer::Bytes(bytes) => Ok(format!("{} bytes", bytes.len())),
        Answer::Nothing if is_read => Ok("null".to_owned()),
        Answer::Nothing => Ok(String::new()),
        Answer::Refused { name, message } => Err((name.to_string(), message.clone())),
    };
    if op == op::PREVIOUS {
        let answer = answer.map(|value| if value.is_empty() { "undefined".to_owned() } else { value });
        return What::Previous { name: text.to_owned(), answer };
    }
    let (method, path) = match op {
        op::READ => ("readFile", behind_option()),
        op::WRITE => ("writeFile", behind_option()),
        op::MKDIR => ("mkdir", text),
        op::UNLINK => ("unlink", text),
        op::RMDIR => ("rmdir", behind_option()),
        op::READDIR => ("readdir", behind_option()),
        op::STAT => ("stat", text),
        op::HISTORY => ("history", ""),
        op::INFO => ("getInfo", ""),
        _ => ("question", text),
    };
    let written = (op == op::WRITE).then(|| {
        let value = match std::str::from_utf8(data) {
            Ok(text) => shown(text.as_bytes()),
            Err(_) => format!("{} bytes", data.len()),
        };
        (value, data.len())
    });
    What::File { method, path: path.to_owned(), written, answer }
}

impl Script {
    /// Runs an input in a fork in which every question says where it is asked. Nothing of it stays.
    pub(crate) fn trace(&mut self, seqno: u64, input: &Input, source: Source, clock: Clock) -> Result<Traced, Fault> {
        let draw = Draw { record: input.encode(), seqno };
        let mut files = std::mem::replace(self.files_mut(), Files::none());
        files.begin(input.time_ms(), draw, source);
        files.readonly = matches!(input, Input::Call(call) if self.exports.readonly.contains(&call.method));
        let (tracer, result, instructions) = self.run_aside(input, Tracer::new(files, clock))?;
        let Tracer { mut files, operations, taken_us: us, .. } = tracer;
        let problem = files.problem.take();
        files.previous = None;
        *self.files_mut() = files;
        Ok(Traced { operations, result, problem, instructions, us })
    }

    fn run_aside(&self, input: &Input, tracer: Tracer) -> Result<(Tracer, outcome::Result, u64), Fault> {
        let (method, args, caller, time_ms) = match input {
            Input::Deploy { code, time_ms } => {
                if !sandbox::Limits::from(code.settings).are_allowed() {
                    return Ok((tracer, Err(failure("RangeError", "The limits are beyond what can be set".into())), 0));
                }
                let mut realm = Realm::new(&self.sandbox, code.settings.into(), tracer)?;
                realm.trace()?;
                realm.host_mut().start();
                let mut result = result_of(realm.load(&code.name, &code.source, *time_ms)?);
                realm.host_mut().stop();
                let mut instructions = realm.instructions();
                let exports = result.as_ref().ok().map(|json| Exports::read(json.as_deref().unwrap_or("[]")));
                if let Life::Realm(old) = self.life()
                    && exports.is_some_and(|exports| exports.migrate)
                {
                    realm.host_mut().files.previous = Some(Box::new(old.fork(Files::none())?));
                    realm.host_mut().before = instructions;
                    realm.host_mut().start();
                    if let Err(failure) = result_of(realm.call(MIGRATE, "[]", "null", *time_ms)?) {
                        result = Err(failure);
                    }
                    realm.host_mut().stop();
                    instructions += realm.instructions();
                }
                return Ok((realm.into_host(), result, instructions));
            }
            Input::Vats { .. } => return Ok((tracer, Err(not_vats()), 0)),
            Input::Init { time_ms } => (INIT, "[]", "null".to_owned(), *time_ms),
            Input::Call(Call { method, .. }) if !self.exports.methods.contains(method) => {
                return Ok((tracer, Err(failure("TypeError", format!("{method} is no method of this script"))), 0));
            }
            Input::Call(Call { method, args, caller, time_ms }) => {
                (&**method, &**args, serde_json::to_string(&caller.id()).expect("a string can be written"), *time_ms)
            }
        };
        let Life::Realm(realm) = self.life() else {
            return Ok((tracer, Err(failure("Error", "No script is deployed".into())), 0));
        };
        let mut fork = realm.fork(tracer)?;
        fork.trace()?;
        fork.host_mut().start();
        let result = result_of(fork.call(method, args, &caller, time_ms)?);
        fork.host_mut().stop();
        let instructions = fork.instructions();
        Ok((fork.into_host(), result, instructions))
    }

    /// Evaluates a line in the realm, with its outcome and what it wrote. `None`: nothing is deployed.
    pub(crate) fn eval(&mut self, seqno: u64, source: &str) -> Result<Option<(Outcome, Writes)>, Fault> {
        let time_ms = self.records().time_ms();
        let Some(Life::Realm(realm)) = &mut self.life else { return Ok(None) };
        realm.host_mut().begin(time_ms, Draw { record: source.as_bytes().to_vec(), seqno }, Source::Live);
        realm.sure(false);
        let outcome = realm.eval(source, time_ms)?;
        let files = realm.host_mut();
        let _ = files.take_answers();
        let writes = files.take_writes();
        let kept = matches!(outcome, Outcome::Value(_) | Outcome::Nothing);
        Ok(Some((outcome, if kept { writes } else { Writes::new() })))
    }
}

/// Rows of the archive by their paths; `None` removes one.
pub(crate) type Writes = BTreeMap<String, Option<Vec<u8>>>;
