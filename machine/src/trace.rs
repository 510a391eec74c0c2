//! Traces: what one call does, step by step, and where in the script.
//!
//! The call of a transaction runs again in a fork of the realm in which every question to the host says first where it is asked.
//! It gets the answers that the ledger has. Nothing of it stays: the machine can replay the same transaction afterwards, and a
//! transaction that does not replay can be traced too, which shows what the replay does in its place.
//!
//! Invariants: the operations, their positions and their instructions are a function of the ledger. Only the microseconds are
//! not, and they are the caller's: this crate has no clock.

use crate::difference::{Difference, shown};
use crate::input::{Input, MalformedRecord};
use crate::machine::Entry;
use crate::outcome;
use crate::script::archive::path_of;
use crate::{Fault, Machine};
use ledger::{Transaction, TxId};
use sandbox::{Failure, Level, OracleAnswer};
use std::fmt;

/// Microseconds since any moment.
pub type Clock = Box<dyn FnMut() -> u64 + Send>;

/// What a call did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// The transaction.
    pub txid: TxId,
    /// What came in.
    pub input: Input,
    /// What the ledger says it came to.
    pub recorded: outcome::Result,
    /// What it asked of the host, in order.
    pub operations: Vec<Operation>,
    /// What it came to now.
    pub result: outcome::Result,
    /// What the ledger lacks for this call, or has wrong.
    pub problem: Option<Difference>,
    /// WebAssembly instructions from beginning to end.
    pub instructions: u64,
    /// Microseconds from beginning to end.
    pub us: u64,
}

/// A step of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// From 1.
    pub number: usize,
    /// Where in the script. `None` between the jobs of a call, where no script runs.
    pub position: Option<Position>,
    /// What.
    pub what: What,
    /// WebAssembly instructions since the call began.
    pub instructions: u64,
    /// Microseconds since the call began.
    pub at_us: u64,
}

/// A place in a script.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The script's file name.
    pub file: String,
    /// From 1.
    pub line: u32,
    /// From 1.
    pub column: u32,
}

/// What a step is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A line of the console.
    Console {
        /// How loud.
        level: Level,
        /// The line.
        line: String,
    },
    /// A question to the files archive.
    File {
        /// The method of `System.files`.
        method: &'static str,
        /// The path as the script gave it; empty where there is none.
        path: String,
        /// What was written, shortened, and its size in bytes.
        written: Option<(String, usize)>,
        /// What was answered, shortened; or the name and message of the refusal.
        answer: Result<String, (String, String)>,
    },
    /// `Math.random` for the first time.
    Chance {
        /// What it starts from.
        seed: u64,
    },
    /// `System.oracle`.
    Oracle {
        /// What the ledger says it answered.
        answer: OracleAnswer,
    },
    /// Nothing was left to do but to wait for a timer: the clock jumped.
    Wait {
        /// How far.
        ms: u64,
    },
    /// `migrate` asked for a variable of the code before.
    Previous {
        /// Its name.
        name: String,
        /// Its value, shortened.
        answer: Result<String, (String, String)>,
    },
}

/// Why a transaction cannot be traced.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// It runs nothing.
    #[error("transaction {0} runs nothing: it is no deployment, no init and no call")]
    Nothing(TxId),
    /// Its record cannot be read.
    #[error("transaction {txid}: {error}")]
    Malformed {
        /// Which.
        txid: TxId,
        /// Why.
        error: MalformedRecord,
    },
    /// What it says came from outside cannot be read.
    #[error("transaction {txid}: {difference}")]
    Outside {
        /// Which.
        txid: TxId,
        /// Why.
        difference: Box<Difference>,
    },
    /// The host failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Machine {
    /// Runs what a transaction ran, again and in a fork; this is the machine as it was before that transaction. `clock` is asked
    /// at every step.
    pub fn trace(&mut self, transaction: &Transaction, clock: Clock) -> Result<Trace, TraceError> {
        let txid = transaction.txid();
        let recorded = transaction.public();
        let entry = Entry::read(recorded).map_err(|error| TraceError::Malformed { txid, error })?;
        let Entry { input, result, .. } = entry.ok_or(TraceError::Nothing(txid))?;
        let source =
            self.recorded(recorded).map_err(|difference| TraceError::Outside { txid, difference: Box::new(difference) })?;
        let traced = self.script_mut().trace(txid.seqno, &input, source, clock)?;
        Ok(Trace {
            txid,
            input,
            recorded: result,
            operations: traced.operations,
            result: traced.result,
            problem: traced.problem,
            instructions: traced.instructions,
            us: traced.us,
        })
    }
}

impl Trace {
    /// Whether it came to what the ledger says.
    pub fn is_as_recorded(&self) -> bool {
        self.result == self.recorded && self.problem.is_none()
    }

    /// Where a path of the files archive was last written or removed.
    pub fn position_of_write(&self, path: &str) -> Option<&Position> {
        let path = path_of(path)?;
        let writes = |operation: &&Operation| match &operation.what {
            What::File { method, path: at, answer: Ok(_), .. } => {
                let Some(at) = path_of(at) else { return false };
                match *method {
                    "writeFile" | "mkdir" | "unlink" => at == path,
                    "rmdir" => path.strip_prefix(&at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
                    _ => false,
                }
            }
            _ => false,
        };
        self.operations.iter().rfind(writes)?.position.as_ref()
    }

    /// Where an error was thrown that ended the call.
    pub fn position_of_failure(&self) -> Option<Position> {
        self.result.as_ref().err().and_then(thrown_at)
    }
}

/// Where an error was thrown, as its stack has it.
pub fn thrown_at(failure: &Failure) -> Option<Position> {
    Position::of_stack(&failure.stack)
}

impl Position {
    /// The first place of a stack that is in a script, not in the prelude or the engine.
    pub fn of_stack(stack: &str) -> Option<Position> {
        stack.lines().find_map(|line| {
            let line = line.trim().strip_prefix("at ")?;
            // `name (file:line:column)`, or the place alone.
            let place = match line.rfind(" (") {
                Some(at) => line[at + 2..].strip_suffix(')')?,
                None => line,
            };
            let mut fields = place.rsplitn(3, ':');
            let (column, line, file) = (fields.next()?, fields.next()?, fields.next()?);
            let position = Position { file: file.to_owned(), line: line.parse().ok()?, column: column.parse().ok()? };
            (!file.starts_with("glassbox:")).then_some(position)
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.file, self.line, self.column)
    }
}

fn told(answer: &Result<String, (String, String)>) -> String {
    match answer {
        Ok(value) => format!("→ {value}"),
        Err((name, message)) => format!("✖ {name}: {message}"),
    }
}

/// For a person, on one line but for the console's own.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Console { line, .. } => write!(f, "{line}"),
            What::File { method, path, written, answer } => {
                write!(f, "{method}")?;
                if !path.is_empty() {
                    write!(f, " {path}")?;
                }
                if let Some((value, _)) = written {
                    write!(f, " ← {value}")?;
                }
                match answer {
                    Ok(value) if value.is_empty() => Ok(()),
                    answer => write!(f, " {}", told(answer)),
                }
            }
            What::Chance { seed } => write!(f, "chance → seed {seed:016x}"),
            What::Oracle { answer: Ok(Some(json)) } => write!(f, "oracle (trusted) → {}", shown(json.as_bytes())),
            What::Oracle { answer: Ok(None) } => write!(f, "oracle (trusted) → undefined"),
            What::Oracle { answer: Err((name, message)) } => write!(f, "oracle (trusted) ✖ {name}: {message}"),
            What::Wait { ms } => write!(f, "the clock jumps by {ms} ms, to the next timer"),
            What::Previous { name, answer } => write!(f, "previous.{name} {}", told(answer)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_position_is_the_scripts() {
        let check = |stack: &str, expected: Option<&str>| {
            assert_eq!(Position::of_stack(stack).map(|position| position.to_string()).as_deref(), expected, "{stack}");
        };
        let stack = "    at host (native)\n    at ask (glassbox:files:48:20)\n    at increment (counter.js:3:14)\n    at apply (native)\n";
        check(stack, Some("counter.js:3:14"));
        check("    at counter.js:1:2\n", Some("counter.js:1:2"));
        check("    at f (x) (a b.js:7:1)\n", Some("a b.js:7:1"));
        check("    at tick (glassbox:realm:99:5)\n", None);
        check("", None);
    }
}
