//! `ccf.historical`: transactions of the past with their receipts.
//!
//! What can be seen is what the last signature before the request covers. So the answer follows from the ledger up to the
//! request, live and replayed; who executes needs the ledger at hand for it, as an [`Archive`].

use super::consensus;
use super::host::{Lent, refused};
use crate::Fault;
use ledger::{TxId, WriteSet};
use sandbox::Answer;
use serde::Deserialize;
use serde_json::{Value, json};

/// A transaction of the past.
#[derive(Debug, Clone)]
pub struct Past {
    /// Its name.
    pub txid: TxId,
    /// What it wrote, private tables too.
    pub writes: WriteSet,
    /// Its receipt, as `ccf.historical` has it.
    pub receipt: Value,
}

/// The ledger, to look things up in it.
pub trait Archive: Send + Sync {
    /// A transaction that a signature covers. `None` if it cannot be had.
    fn past(&self, seqno: u64) -> Result<Option<Past>, Fault>;
}

/// The most transactions of one range.
pub const MAX_RANGE: u64 = 10_000;

/// The most bytes of all ranges that one request asks for.
const MAX_RANGE_BYTES: usize = 64 << 20;

/// What a transaction of the past costs, in instructions: it is read, hashed and perhaps decrypted.
const PAST_INSTRUCTIONS: u64 = 200_000;

#[derive(Deserialize)]
struct Question {
    from: f64,
    to: f64,
}

impl Lent {
    /// Takes a transaction of the past for this request, and says how the realm gets it.
    pub fn remember(&mut self, seqno: u64) -> Result<Option<Value>, Fault> {
        let Some(archive) = self.archive.clone() else { return Ok(None) };
        if consensus::committed(&self.store).is_none_or(|last| seqno > last.seqno) {
            return Ok(None);
        }
        let Some(mut past) = archive.past(seqno)? else { return Ok(None) };
        let bytes = |map: &ledger::MapWrites| map.writes.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        self.turn.remembered += past.writes.maps.values().map(bytes).sum::<usize>();
        // What a table of the service's own holds is no app's.
        past.writes.maps.retain(|name, _| super::is_for_apps(name));
        let state =
            json!({ "transactionId": past.txid.to_string(), "receipt": past.receipt, "index": self.turn.pasts.len() + 1 });
        self.turn.pasts.push(past);
        Ok(Some(state))
    }
}

pub(crate) fn answer(lent: &mut Lent, text: &str, work: &mut u64) -> Result<Answer, sandbox::Fault> {
    let Question { from, to } = serde_json::from_str(text).map_err(|error| sandbox::Fault(error.to_string()))?;
    let (from, to) = (from as u64, to as u64);
    let failed = |why: String| Ok(refused("InternalError", format!("Failed to get state range: {why}")));
    if from == 0 || from > to {
        return failed(format!("Invalid range {from} to {to}"));
    }
    if to - from >= MAX_RANGE {
        return failed(format!("the range has more than {MAX_RANGE} transactions"));
    }
    if lent.blind {
        lent.turn.blinded = true;
        return Err(sandbox::Fault("the past is not readable without the ledger secret".into()));
    }
    *work = work.saturating_add((to - from + 1) * PAST_INSTRUCTIONS);
    let mut states = Vec::new();
    for seqno in from..=to {
        if lent.turn.remembered > MAX_RANGE_BYTES {
            return failed(format!("the range has more than {MAX_RANGE_BYTES} bytes"));
        }
        match lent.remember(seqno) {
            Ok(Some(state)) => states.push(state),
            // Not committed yet: to be asked again.
            Ok(None) => return Ok(Answer::Text("null".into())),
            Err(error) => return Err(sandbox::Fault(error.to_string())),
        }
    }
    Ok(Answer::Text(Value::Array(states).to_string()))
}
