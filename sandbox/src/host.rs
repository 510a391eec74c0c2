//! What the guest may ask of the outside: one trait.

use std::borrow::Cow;

/// How loud a console line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// `console.debug`
    Debug,
    /// `console.log`, `console.info`
    Info,
    /// `console.warn`
    Warn,
    /// `console.error`
    Error,
}

/// What the guest gets for its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A string.
    Text(String),
    /// A `Uint8Array`.
    Bytes(Vec<u8>),
    /// `undefined`.
    Nothing,
    /// An error: its name and message. The same question at the same state is refused again, in every replay.
    Refused {
        /// `error.name`
        name: Cow<'static, str>,
        /// `error.message`
        message: String,
    },
}

/// The host itself failed (disk, memory): no outcome follows from this, the node has to stop.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// What an oracle said: the JSON of its value, `None` for `undefined`, or its error's name and message.
pub type OracleAnswer = Result<Option<String>, (String, String)>;

/// How the host answers a question to an oracle.
pub enum Consult {
    /// With what the ledger says was answered.
    Recorded(OracleAnswer),
    /// By running the function, in a fork of the realm, in this world.
    Run(Box<dyn World>),
}

/// The real world, as the function of an oracle sees it. Nothing of it is deterministic.
pub trait World: Send {
    /// Microseconds since 1970.
    fn now_us(&mut self) -> f64;

    /// What `Math.random` starts from.
    fn seed(&mut self) -> u64;

    /// A timer of so many milliseconds. Waits for it, but not longer than the oracle may take.
    fn wait(&mut self, ms: f64);

    /// Why the oracle must end now, if it must.
    fn over(&mut self) -> Option<(String, String)>;

    /// A line of the console.
    fn console(&mut self, level: Level, line: &str);

    /// Fetches: `request` is JSON, `{"url":…,"method":…,"headers":[[name, value],…]}`. The answer is bytes: a line of JSON,
    /// `{"status":…,"statusText":…,"url":…,"headers":[[name, value],…]}`, then the body; or a refusal.
    fn fetch(&mut self, request: &str, body: &[u8]) -> Answer;
}

/// The outside of a realm.
pub trait Host: 'static {
    /// A line of the console.
    fn console(&mut self, level: Level, line: &str);

    /// Chance is needed for the first time in this piece of work.
    fn seed(&mut self) -> Result<u64, Fault>;

    /// The script asks an oracle.
    fn consult(&mut self) -> Result<Consult, Fault>;

    /// What the oracle has said, to be recorded.
    fn consulted(&mut self, answer: &OracleAnswer);

    /// Microseconds since 1970, if they are not those of the Input: in the fork of an oracle.
    fn now_us(&mut self) -> Option<f64> {
        None
    }

    /// The work has to end, which the look at the clock tells it.
    fn is_over(&mut self) -> bool {
        false
    }

    /// The clock has jumped to the next timer.
    fn wait(&mut self, _ms: f64) {}

    /// In a realm that is traced: the stack at which the next question is asked, and the instructions that this piece of
    /// work has used so far. To find the stack is not among them.
    fn place(&mut self, _stack: &str, _instructions: u64) {}

    /// A question: its number, a text and bytes, whose meaning the prelude and the host share. What answering takes beyond
    /// the bytes that go in and out is added to `work`, in instructions: the call pays for it.
    fn ask(&mut self, op: u32, text: &str, data: &[u8], work: &mut u64) -> Result<Answer, Fault>;
}
