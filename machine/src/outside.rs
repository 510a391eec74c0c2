//! What a call may ask of the outside, beside what its Input has frozen: one trait. The live node answers, and the answers are
//! recorded in the call's transaction; a replay gets them from there and asks nobody.

use crate::auth::Head;
use ledger::chance::CHANCE_BYTES;
use sandbox::{OracleAnswer, World};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::VecDeque;

/// The live outside.
pub trait Outside: Send {
    /// The chance key's signature over the last signed root: what the seeds of the calls after it come from.
    fn chance(&mut self, head: Option<&Head>) -> [u8; CHANCE_BYTES];

    /// 32 bytes that nobody can know: the seed of a bundle's request.
    fn entropy(&mut self) -> [u8; 32];

    /// The world for the function of an oracle, which entry `number` of the call log asks.
    fn world(&mut self, number: u64) -> Box<dyn World>;
}

/// For machines that only replay: there is nobody to ask.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl Outside for Nobody {
    fn chance(&mut self, _: Option<&Head>) -> [u8; CHANCE_BYTES] {
        [0; CHANCE_BYTES]
    }

    fn entropy(&mut self) -> [u8; 32] {
        [0; 32]
    }

    fn world(&mut self, _: u64) -> Box<dyn World> {
        Box::new(Void)
    }
}

/// The world of a machine that only replays.
struct Void;

impl World for Void {
    fn now_us(&mut self) -> f64 {
        0.0
    }
    fn seed(&mut self) -> u64 {
        0
    }
    fn wait(&mut self, _: f64) {}
    fn over(&mut self) -> Option<(String, String)> {
        Some(("OracleError".into(), "Nobody answers oracles here".into()))
    }
    fn console(&mut self, _: sandbox::Level, _: &str) {}
    fn fetch(&mut self, _: &str, _: &[u8]) -> sandbox::Answer {
        sandbox::Answer::Nothing
    }
}

/// Where the answers of the present call come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Source {
    /// From the outside.
    #[default]
    Live,
    /// From the ledger.
    Recorded(Recorded),
}

/// What the ledger says that the outside has answered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Recorded {
    /// The chance key's signature, if this call is the first to draw after a signature or a checkpoint.
    pub chance: Option<[u8; CHANCE_BYTES]>,
    /// What oracles have said, in order.
    pub oracles: VecDeque<OracleAnswer>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Said<'a> {
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    value: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<SaidError>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SaidError {
    name: String,
    message: String,
}

/// The bytes of oracles' answers for the ledger: a JSON array of `{"value":…}`, `{}` or `{"error":{"name":…,"message":…}}`.
pub fn encode_oracles(answers: &[OracleAnswer]) -> Vec<u8> {
    let texts: Vec<String> = answers.iter().map(sandbox::encode_oracle_answer).collect();
    format!("[{}]", texts.join(",")).into_bytes()
}

/// Reads what [`encode_oracles`] wrote, and nothing else.
pub fn decode_oracles(bytes: &[u8]) -> Option<Vec<OracleAnswer>> {
    let rows: Vec<&RawValue> = serde_json::from_slice(bytes).ok()?;
    let answers: Vec<OracleAnswer> = rows
        .iter()
        .map(|row| {
            // serde takes `null` for an absent value; as raw JSON it is one.
            if row.get() == "{\"value\":null}" {
                return Some(Ok(Some("null".to_owned())));
            }
            let said: Said = serde_json::from_str(row.get()).ok()?;
            match (said.value, said.error) {
                (value, None) => Some(Ok(value.map(|json| json.get().to_owned()))),
                (None, Some(SaidError { name, message })) => Some(Err((name, message))),
                _ => None,
            }
        })
        .collect::<Option<_>>()?;
    (encode_oracles(&answers) == bytes).then_some(answers)
}
