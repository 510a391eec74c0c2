//! Votes are counted by running them: the ballots, then `resolve`, then, if it is accepted, `apply`.

use super::info::{Info, State, Thrown};
use super::names::PROPOSALS_INFO;
use super::{Answer, Governing, Stop, described};
use crate::Fault;
use crate::bundle::tables::CONSTITUTION;
use sandbox::Failure;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What a constitution's functions are called with.
pub(super) struct Motion<'a> {
    pub id: &'a str,
    /// The proposal's JSON text.
    pub text: &'a str,
    pub constitution: &'a str,
}

/// How the constitution is called in stack traces.
pub(super) fn file() -> String {
    format!("{CONSTITUTION}[0]")
}

/// What a function of the constitution returns: JSON, null for `undefined`.
pub(super) fn call(
    governing: &mut dyn Governing,
    kind: &str,
    constitution: &str,
    export: &str,
    args: Value,
) -> Result<Result<Value, Failure>, Fault> {
    let result = governing.run(kind, &file(), constitution, export, &args.to_string())?;
    Ok(result.map(|json| serde_json::from_str(&json).unwrap_or_default()))
}

/// Sees what the votes come to, does what was accepted, and writes it down.
///
/// What throws ends the request: what `apply` had written until then must not be kept.
pub(super) fn resolve(governing: &mut dyn Governing, motion: &Motion, info: &mut Info) -> Answer<()> {
    let (votes, failures) = count(governing, motion, info)?;
    let votes_json: Vec<Value> = votes.iter().map(|(member, vote)| json!({ "member_id": member, "vote": vote })).collect();
    let args = json!([motion.text, info.proposer_id, votes_json, motion.id]);
    let verdict = call(governing, "gov", motion.constitution, "resolve", args)?;
    let verdict = verdict.map_err(|failure| failed("Failed to resolve()", failure))?;
    info.state = match verdict.as_str() {
        Some("Open") => State::Open,
        Some("Accepted") => State::Accepted,
        Some("Rejected") => State::Rejected,
        _ => {
            let status = verdict.as_str().map_or_else(|| verdict.to_string(), str::to_owned);
            return Err(Stop::internal(format!("resolve() returned invalid status value: \"{status}\"")));
        }
    };
    if info.state != State::Open {
        Info::purge_others(governing, motion.id)?;
        info.final_votes = Some(votes);
        info.vote_failures = Some(failures);
    }
    // `apply` sees what was decided.
    info.save(governing, motion.id);
    if info.state == State::Accepted {
        let applied = call(governing, "apply", motion.constitution, "apply", json!([motion.text, motion.id]))?;
        applied.map_err(|failure| failed("Failed to apply()", failure))?;
    }
    Ok(())
}

type Votes = BTreeMap<String, bool>;
type Failures = BTreeMap<String, Thrown>;

/// Runs the ballots. One that throws does not count.
fn count(governing: &mut dyn Governing, motion: &Motion, info: &Info) -> Answer<(Votes, Failures)> {
    let (mut votes, mut failures) = (Votes::new(), Failures::new());
    let args = json!([motion.text, info.proposer_id]).to_string();
    for (member, ballot) in &info.ballots {
        let file = format!("{PROPOSALS_INFO}[{}].ballots[{member}]", motion.id);
        match governing.run("gov", &file, ballot, "vote", &args)? {
            Ok(vote) => drop(votes.insert(member.clone(), vote == "true")),
            Err(failure) => drop(failures.insert(member.clone(), failure.into())),
        }
    }
    Ok((votes, failures))
}

fn failed(what: &str, failure: Failure) -> Stop {
    let mut message = format!("{what}: {}", described(&failure));
    if !failure.stack.is_empty() {
        message.push('\n');
        message.push_str(failure.stack.trim_end());
    }
    Stop::internal(message)
}
