//! What a transaction came to: a result or an error, and writes.
//!
//! In the ledger the result stands beside the input, the writes are those of the transaction:
//!
//! ```text
//! {"result":<JSON>}      {}      {"error":{"name":"Error","message":"…","stack":"…"}}      {"vats":{"cranks":5,…}}
//! ```
//!
//! Without `result` the method returned `undefined`, a function or a symbol. `vats` is the summary of what vats did, see
//! [`crate::vats`]. No script can return what stands there so: else the record of its call could pass for one of theirs.

use crate::input::{MalformedRecord, strict};
use sandbox::Failure;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The result of a piece of work: JSON text, or nothing; or why it failed.
pub type Result = std::result::Result<Option<String>, Failure>;

/// What came of an input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What the caller hears.
    pub result: Result,
    /// What it changed in the files archive: `None` removes an entry. Empty if it failed.
    pub writes: BTreeMap<String, Option<Vec<u8>>>,
    /// The chance key's signature, if this was the first to draw from it. Also if it failed.
    pub chance: Option<[u8; ledger::chance::CHANCE_BYTES]>,
    /// What oracles have said. Also if it failed.
    pub oracles: Vec<sandbox::OracleAnswer>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<FailureRecord>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FailureRecord {
    name: String,
    message: String,
    stack: String,
}

/// The bytes of a result for the ledger.
pub fn encode(result: &Result) -> Vec<u8> {
    match result {
        Ok(None) => b"{}".to_vec(),
        Ok(Some(json)) => [b"{\"result\":", json.as_bytes(), b"}"].concat(),
        Err(Failure { name, message, stack }) => {
            let error = FailureRecord { name: name.clone(), message: message.clone(), stack: stack.clone() };
            serde_json::to_vec(&Record { result: None, error: Some(error) }).expect("strings can be written")
        }
    }
}

/// The bytes of what vats came to, for the ledger.
pub fn encode_summary(result: &Result) -> Vec<u8> {
    match result {
        Ok(Some(json)) => [SUMMARY, json.as_bytes(), b"}"].concat(),
        other => encode(other),
    }
}

const SUMMARY: &[u8] = b"{\"vats\":";

/// The JSON of a summary, if that is what these bytes are.
pub(crate) fn summary(bytes: &[u8]) -> Option<&str> {
    let json = bytes.strip_prefix(SUMMARY)?.strip_suffix(b"}")?;
    std::str::from_utf8(json).ok().filter(|json| crate::vats::is_summary(json))
}

/// Tells `null` from nothing, which serde does not.
pub(crate) fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(field: D) -> std::result::Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(field).map(Some)
}

/// Reads what [`encode`] wrote, and nothing else.
pub fn decode(bytes: &[u8]) -> std::result::Result<Result, MalformedRecord> {
    // serde takes `null` for an absent result; as raw JSON it is one.
    if bytes == b"{\"result\":null}" {
        return Ok(Ok(Some("null".into())));
    }
    let read = |record: Record| match (record.result, record.error) {
        (Some(_), Some(_)) => Err("both a result and an error".to_owned()),
        (result, None) => Ok(Ok(result.map(|json| json.get().to_owned()))),
        (None, Some(FailureRecord { name, message, stack })) => Ok(Err(Failure { name, message, stack })),
    };
    strict("outcome", bytes, read, encode)
}
