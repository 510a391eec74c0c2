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

/// The outside of a realm.
pub trait Host: 'static {
    /// A line of the console.
    fn console(&mut self, level: Level, line: &str);

    /// A question: its number, a text and bytes, whose meaning the prelude and the host share. What answering takes beyond
    /// the bytes that go in and out is added to `work`, in instructions: the call pays for it.
    fn ask(&mut self, op: u32, text: &str, data: &[u8], work: &mut u64) -> Result<Answer, Fault>;
}
