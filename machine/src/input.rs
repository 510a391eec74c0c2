//! What comes in: everything that the outside decides about one transaction, frozen.
//!
//! In the ledger an input is JSON with its fields in a fixed order and no white space but that of the arguments, which
//! stand as they were received:
//!
//! ```text
//! {"call":"increment","args":[1],"caller":"bob","time":1763828000123}
//! {"call":"increment","args":[1],"caller":"64 hex","nonce":"16 hex.7","head":"2.17","signature":"base64","time":…}
//! {"init":true,"time":…}
//! {"deploy":{"name":"counter.js","source":"…","heap_bytes":…,"stack_bytes":…,"instructions":…},"time":…}
//! {"vats":…,"time":…}                                              as [`crate::vats::work`] has it
//! ```
//!
//! Without `caller` the call is anonymous; with `signature` it is a key's. `time` is in milliseconds since 1970: `Date` during
//! the call.
//!
//! Invariant: one input has one encoding. What would not be written again as the same bytes is refused.

use crate::auth::{Caller, Signed, looks_like_a_key};
use crate::vats::Work;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
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
    },
    /// The script's `init`, once, before the first call.
    Init {
        /// Milliseconds since 1970.
        time_ms: u64,
    },
    /// A caller's call.
    Call(Call),
    /// Work for the kernel of vats.
    Vats {
        /// What.
        work: Work,
        /// Milliseconds since 1970.
        time_ms: u64,
    },
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
}

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
    caller: Option<String>,
    #[serde(default)]
    nonce: Option<String>,
    #[serde(default)]
    head: Option<String>,
    #[serde(default)]
    signature: Option<String>,
    time: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InitRecord {
    init: bool,
    time: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeployRecord {
    deploy: Code,
    time: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct VatsRecord {
    vats: Work,
    time: u64,
}

/// The caller of a record. Whether the signature is good is for [`crate::auth`] to say.
fn caller_of(record: &CallRecord) -> std::result::Result<Caller, String> {
    let caller = match (&record.caller, &record.nonce, &record.head, &record.signature) {
        (None, None, None, None) => Caller::Anonymous,
        (Some(name), None, None, None) if looks_like_a_key(name) => return Err("a key without a signature".into()),
        (Some(name), None, None, None) => Caller::Named(name.clone()),
        (Some(key), Some(nonce), Some(head), Some(signature)) => {
            let (session, counter) = Signed::parse_nonce(nonce).ok_or("the nonce is malformed")?;
            Caller::Signed(Box::new(Signed {
                key: ledger::hex::decode(key).ok_or("the caller is no key")?,
                session,
                counter,
                head: head.parse().map_err(|_| "the head is no transaction")?,
                signature: BASE64
                    .decode(signature)
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .ok_or("the signature has no 64 bytes of base64")?,
            }))
        }
        _ => return Err("a signed call has caller, nonce, head and signature".into()),
    };
    Ok(caller)
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
                match &call.caller {
                    Caller::Anonymous => {}
                    Caller::Named(name) => {
                        out.extend_from_slice(b",\"caller\":");
                        text(&mut out, name).expect("a vector takes everything");
                    }
                    Caller::Signed(signed) => {
                        let (key, signature) = (ledger::hex::encode(&signed.key), BASE64.encode(signed.signature));
                        let (nonce, head) = (signed.nonce(), signed.head);
                        let fields = format!(
                            ",\"caller\":\"{key}\",\"nonce\":\"{nonce}\",\"head\":\"{head}\",\"signature\":\"{signature}\""
                        );
                        out.extend_from_slice(fields.as_bytes());
                    }
                }
                out.extend_from_slice(format!(",\"time\":{}}}", call.time_ms).as_bytes());
                return out;
            }
            Input::Init { time_ms } => serde_json::to_vec(&InitRecord { init: true, time: *time_ms }),
            Input::Deploy { code, time_ms } => serde_json::to_vec(&DeployRecord { deploy: code.clone(), time: *time_ms }),
            Input::Vats { work, time_ms } => serde_json::to_vec(&VatsRecord { vats: work.clone(), time: *time_ms }),
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
                let caller = caller_of(&record)?;
                Ok(Input::Call(Call { method: record.call, args: record.args.get().to_owned(), caller, time_ms: record.time }))
            };
            strict(WHAT, bytes, read, Input::encode)
        } else if bytes.starts_with(b"{\"init\":") {
            let read = |record: InitRecord| Ok(Input::Init { time_ms: record.time });
            strict(WHAT, bytes, read, Input::encode)
        } else if bytes.starts_with(b"{\"vats\":") {
            let read = |record: VatsRecord| Ok(Input::Vats { work: record.vats, time_ms: record.time });
            strict(WHAT, bytes, read, Input::encode)
        } else {
            let read = |record: DeployRecord| Ok(Input::Deploy { code: record.deploy, time_ms: record.time });
            strict(WHAT, bytes, read, Input::encode)
        }
    }

    /// When it was admitted, in milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        match self {
            Input::Deploy { time_ms, .. } | Input::Init { time_ms } | Input::Vats { time_ms, .. } => *time_ms,
            Input::Call(call) => call.time_ms,
        }
    }
}
