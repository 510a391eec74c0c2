//! What comes in: everything that the outside decides about one transaction, frozen.
//!
//! In the ledger an input is JSON with its fields in a fixed order and no white space but that of the arguments, which
//! stand as they were received:
//!
//! ```text
//! {"call":"increment","args":[1],"caller":"bob","time":1763828000123,"seed":"00c0ffee00c0ffee"}
//! {"init":true,"time":…,"seed":"…"}
//! {"deploy":{"name":"counter.js","source":"…","heap_bytes":…,"stack_bytes":…,"instructions":…},"time":…,"seed":"…"}
//! ```
//!
//! Without `caller` the call is anonymous. `time` is in milliseconds since 1970: `Date` during the call. `seed` feeds `Math.random`.
//!
//! Invariant: one input has one encoding. What would not be written again as the same bytes is refused.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// What one transaction runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// New code: a fresh realm takes it, the files stay.
    Deploy {
        /// The script and its limits.
        code: Code,
        /// Milliseconds since 1970.
        time_ms: u64,
        /// For `Math.random`.
        seed: u64,
    },
    /// The script's `init`, once, before the first call.
    Init {
        /// Milliseconds since 1970.
        time_ms: u64,
        /// For `Math.random`.
        seed: u64,
    },
    /// A caller's call.
    Call(Call),
}

/// A call of an exported method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub method: String,
    /// A JSON array, as it was received.
    pub args: String,
    /// Who calls.
    pub caller: Caller,
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// For `Math.random`.
    pub seed: u64,
}

/// `System.caller.id`: `None` for an anonymous caller.
pub type Caller = Option<String>;

/// A script and the limits that it runs under.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// File name, as stack traces show it.
    pub name: String,
    /// The source.
    pub source: String,
    /// Limits.
    #[serde(flatten)]
    pub settings: Settings,
}

/// Limits of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Bytes that the script may allocate.
    pub heap_bytes: u32,
    /// Bytes of stack for nested calls.
    pub stack_bytes: u32,
    /// WebAssembly instructions of one call.
    pub instructions: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings::from(sandbox::Limits::DEFAULT)
    }
}

impl From<sandbox::Limits> for Settings {
    fn from(limits: sandbox::Limits) -> Settings {
        let sandbox::Limits { heap_bytes, stack_bytes, instructions } = limits;
        Settings { heap_bytes, stack_bytes, instructions }
    }
}

impl From<Settings> for sandbox::Limits {
    fn from(settings: Settings) -> sandbox::Limits {
        let Settings { heap_bytes, stack_bytes, instructions } = settings;
        sandbox::Limits { heap_bytes, stack_bytes, instructions }
    }
}

/// A record in the ledger that is not what this version writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed {what}: {why}")]
pub struct MalformedRecord {
    /// Which record.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// Reads a JSON record strictly: it must be what `write` makes of the value that was read.
pub(crate) fn strict<'a, T: Deserialize<'a>, U>(
    what: &'static str,
    bytes: &'a [u8],
    read: impl FnOnce(T) -> std::result::Result<U, String>,
    write: impl FnOnce(&U) -> Vec<u8>,
) -> std::result::Result<U, MalformedRecord> {
    let malformed = |why: String| MalformedRecord { what, why };
    let record: T = serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
    let value = read(record).map_err(malformed)?;
    if write(&value) != bytes {
        return Err(malformed("it is not in the one form that is allowed".into()));
    }
    Ok(value)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CallRecord<'a> {
    call: String,
    #[serde(borrow)]
    args: &'a RawValue,
    #[serde(default)]
    caller: Caller,
    time: u64,
    seed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InitRecord {
    init: bool,
    time: u64,
    seed: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployRecord {
    deploy: Code,
    time: u64,
    seed: String,
}

fn seed_text(seed: u64) -> String {
    format!("{seed:016x}")
}

fn seed_of(text: &str) -> std::result::Result<u64, String> {
    u64::from_str_radix(text, 16).map_err(|_| "the seed is no hexadecimal number".into())
}

impl Input {
    /// The bytes for the ledger.
    pub fn encode(&self) -> Vec<u8> {
        let json = match self {
            Input::Call(call) => {
                let mut out = Vec::with_capacity(96 + call.method.len() + call.args.len());
                let text = |out: &mut Vec<u8>, text: &str| serde_json::to_writer(out, text);
                out.extend_from_slice(b"{\"call\":");
                text(&mut out, &call.method).expect("a vector takes everything");
                out.extend_from_slice(b",\"args\":");
                out.extend_from_slice(call.args.as_bytes());
                if let Some(caller) = &call.caller {
                    out.extend_from_slice(b",\"caller\":");
                    text(&mut out, caller).expect("a vector takes everything");
                }
                out.extend_from_slice(format!(",\"time\":{},\"seed\":\"{:016x}\"}}", call.time_ms, call.seed).as_bytes());
                return out;
            }
            Input::Init { time_ms, seed } => {
                serde_json::to_vec(&InitRecord { init: true, time: *time_ms, seed: seed_text(*seed) })
            }
            Input::Deploy { code, time_ms, seed } => {
                serde_json::to_vec(&DeployRecord { deploy: code.clone(), time: *time_ms, seed: seed_text(*seed) })
            }
        };
        json.expect("strings and numbers can be written")
    }

    /// Reads what `encode` wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Input, MalformedRecord> {
        const WHAT: &str = "input";
        if bytes.starts_with(b"{\"call\":") {
            let read = |record: CallRecord| {
                if !record.args.get().starts_with('[') {
                    return Err("the arguments are no array".to_owned());
                }
                Ok(Input::Call(Call {
                    method: record.call,
                    args: record.args.get().to_owned(),
                    caller: record.caller,
                    time_ms: record.time,
                    seed: seed_of(&record.seed)?,
                }))
            };
            strict(WHAT, bytes, read, Input::encode)
        } else if bytes.starts_with(b"{\"init\":") {
            let read = |record: InitRecord| Ok(Input::Init { time_ms: record.time, seed: seed_of(&record.seed)? });
            strict(WHAT, bytes, read, Input::encode)
        } else {
            let read = |record: DeployRecord| {
                Ok(Input::Deploy { code: record.deploy, time_ms: record.time, seed: seed_of(&record.seed)? })
            };
            strict(WHAT, bytes, read, Input::encode)
        }
    }

    /// When it was admitted, in milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        match self {
            Input::Deploy { time_ms, .. } | Input::Init { time_ms, .. } => *time_ms,
            Input::Call(call) => call.time_ms,
        }
    }
}
