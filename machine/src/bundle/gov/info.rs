//! What is kept about a proposal, and how it is shown.
//!
//! ```text
//! id ──▶ {"ballots":{member:source},"failure"?,"final_votes"?:{member:bool},"proposer_id","state","vote_failures"?:{member:{reason,trace}}}
//! ```

use super::names::{PROPOSALS, PROPOSALS_INFO};
use super::{Answer, Governing, Stop, described};
use crate::Fault;
use crate::bundle::store::Rows;
use sandbox::Failure;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where a proposal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum State {
    Open,
    Accepted,
    Rejected,
    Withdrawn,
    Failed,
    Dropped,
}

impl std::fmt::Display for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(self, f)
    }
}

/// What a ballot or a constitution has thrown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Thrown {
    pub reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
}

impl From<Failure> for Thrown {
    fn from(failure: Failure) -> Thrown {
        let reason = described(&failure);
        Thrown { reason, trace: Some(failure.stack).filter(|stack| !stack.is_empty()) }
    }
}

/// The row of a proposal. The members stand in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Info {
    #[serde(default)]
    pub ballots: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Thrown>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_votes: Option<BTreeMap<String, bool>>,
    pub proposer_id: String,
    pub state: State,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vote_failures: Option<BTreeMap<String, Thrown>>,
}

fn unreadable(id: &str) -> Stop {
    Stop::internal(format!("The row of proposal {id} cannot be read."))
}

impl Info {
    /// A proposal that nobody has voted on.
    pub fn new(proposer_id: &str) -> Info {
        Info {
            ballots: BTreeMap::new(),
            failure: None,
            final_votes: None,
            proposer_id: proposer_id.to_owned(),
            state: State::Open,
            vote_failures: None,
        }
    }

    pub fn load(rows: &dyn Rows, id: &str) -> Answer<Option<Info>> {
        let row = rows.get(PROPOSALS_INFO, id.as_bytes())?;
        row.map(|row| serde_json::from_slice(&row).map_err(|_| unreadable(id))).transpose()
    }

    /// All of them, in the order of their ids.
    pub fn all(rows: &dyn Rows) -> Answer<Vec<(String, Info)>> {
        let read = |(key, row): (Vec<u8>, Vec<u8>)| {
            let id = String::from_utf8_lossy(&key).into_owned();
            let info = serde_json::from_slice(&row).map_err(|_| unreadable(&id))?;
            Ok((id, info))
        };
        rows.rows(PROPOSALS_INFO)?.into_iter().map(read).collect()
    }

    pub fn save(&self, governing: &mut dyn Governing, id: &str) {
        let row = serde_json::to_vec(self).expect("strings and maps of strings can be written");
        governing.put(PROPOSALS_INFO, id.as_bytes(), &row);
    }

    /// As the versioned interface shows it.
    pub fn shown(&self, id: &str) -> Value {
        let mut shown = Map::new();
        shown.insert("proposalId".into(), id.into());
        shown.insert("proposerId".into(), self.proposer_id.as_str().into());
        shown.insert("proposalState".into(), json!(self.state));
        shown.insert("ballotCount".into(), self.ballots.len().into());
        let outcome = [
            ("finalVotes", self.final_votes.as_ref().map(|votes| json!(votes))),
            ("voteFailures", self.vote_failures.as_ref().map(|failures| json!(failures))),
            ("failure", self.failure.as_ref().map(|failure| json!(failure))),
        ];
        shown.extend(outcome.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        Value::Object(shown)
    }

    /// As the classic interface sums it up.
    pub fn summed_up(&self, id: &str) -> Value {
        let mut shown = json!({
            "proposal_id": id, "proposer_id": self.proposer_id, "state": self.state, "ballot_count": self.ballots.len(),
        });
        let outcome = [
            ("votes", self.final_votes.as_ref().map(|votes| json!(votes))),
            ("vote_failures", self.vote_failures.as_ref().map(|failures| json!(failures))),
            ("failure", self.failure.as_ref().map(|failure| json!(failure))),
        ];
        for (name, value) in outcome {
            if let Some(value) = value {
                shown[name] = value;
            }
        }
        shown
    }

    /// Removes what has been decided, but for `kept`. The ledger still has it.
    pub fn purge_others(governing: &mut dyn Governing, kept: &str) -> Answer<()> {
        let resolved = Info::all(as_rows(governing))?;
        for (id, _) in resolved.iter().filter(|(id, info)| id != kept && info.state != State::Open) {
            governing.remove(PROPOSALS, id.as_bytes());
            governing.remove(PROPOSALS_INFO, id.as_bytes());
        }
        Ok(())
    }
}

/// The tables, to read.
pub(super) fn as_rows(governing: &dyn Governing) -> &dyn Rows {
    governing
}

/// The constitution's text.
pub(super) fn constitution(rows: &dyn Rows) -> Result<Option<String>, Fault> {
    use crate::bundle::tables::{CONSTITUTION, SINGLETON};
    Ok(rows.get(CONSTITUTION, SINGLETON)?.and_then(|row| serde_json::from_slice(&row).ok()))
}
