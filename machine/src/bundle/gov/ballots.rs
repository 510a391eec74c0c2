//! Ballots: small modules that export `vote(proposal, proposerId)`.

use super::info::{self, Info, State};
use super::names::PROPOSALS_INFO;
use super::resolve::{self, Motion};
use super::route::{Call, Look, hex_id};
use super::{Answer, Stop, described, proposals};
use crate::bundle::request::Response;
use serde_json::Value;

/// Takes a ballot, and sees what the votes come to.
pub(super) fn submit(mut call: Call) -> Answer {
    let signed = call.signed("ballot", true)?;
    let id = call.signed_proposal(&signed)?;
    let member = match call.params.get(1) {
        None => signed.member.clone(),
        Some(member) if hex_id(member, "member")? == signed.member => signed.member.clone(),
        Some(_) => return Err(Stop::new(400, "InvalidResourceName", "Authenticated member id does not match URL")),
    };
    let classic = call.classic;
    let Some(mut info) = Info::load(info::as_rows(call.governing), &id)? else {
        return Err(Stop::new(404, "ProposalNotFound", format!("Could not find proposal {id}.")));
    };
    if info.state != State::Open {
        let dot = if classic { "." } else { "" };
        let message = format!("Proposal {id} is currently in state {} - only Open proposals can receive votes{dot}", info.state);
        return Err(Stop::new(400, "ProposalNotOpen", message));
    }
    let text = call.proposal_text(&id)?;
    let ballot = ballot_of(&signed.payload)?;
    let constitution = info::constitution(info::as_rows(call.governing))?
        .ok_or_else(|| Stop::internal("No constitution is set - ballots cannot be evaluated"))?;
    let shown = |info: &Info| Response::json(200, &if classic { info.summed_up(&id) } else { info.shown(&id) });
    match info.ballots.get(&member) {
        // Sent twice, counted once.
        Some(before) if *before == ballot && !classic => return Ok(shown(&info)),
        Some(_) if classic => return Err(Stop::new(400, "VoteAlreadyExists", "Vote already submitted.")),
        Some(_) => {
            let message = format!("Different ballot already submitted by {member} for {id}.");
            return Err(Stop::new(400, "VoteAlreadyExists", message));
        }
        None => {}
    }
    // A ballot that can never be counted is worth an answer now.
    let file = format!("{PROPOSALS_INFO}[{id}].ballots[{member}]");
    let shape = call.governing.shape(&file, &ballot, &["vote"])?;
    let shape = shape
        .map_err(|failure| Stop::new(400, "InvalidInput", format!("The ballot does not come up: {}", described(&failure))))?;
    if !shape.get("vote").is_some_and(Value::is_number) {
        return Err(Stop::new(400, "InvalidInput", "The ballot does not export a function vote"));
    }
    info.ballots.insert(member, ballot);
    info.save(call.governing, &id);
    proposals::record(call.governing, &signed);
    resolve::resolve(call.governing, &Motion { id: &id, text: &text, constitution: &constitution }, &mut info)?;
    Ok(shown(&info))
}

fn ballot_of(payload: &[u8]) -> Answer<String> {
    let body: Value = serde_json::from_slice(payload).unwrap_or_default();
    let ballot = body.get("ballot").and_then(Value::as_str).map(str::to_owned);
    ballot.ok_or_else(|| {
        let message = "Signed request body is not a JSON object containing required string field \"ballot\"";
        Stop::new(400, "InvalidInput", message)
    })
}

/// One member's ballot: its source.
pub(super) fn find(look: &Look) -> Answer<String> {
    let (id, member) = (hex_id(&look.params[0], "proposal")?, hex_id(&look.params[1], "member")?);
    let Some(mut info) = Info::load(look.rows, &id)? else {
        return Err(Stop::new(404, "ProposalNotFound", format!("Proposal {id} does not exist.")));
    };
    info.ballots
        .remove(&member)
        .ok_or_else(|| Stop::new(404, "VoteNotFound", format!("Member {member} has not voted for proposal {id}.")))
}

/// `GET …/ballots/{memberId}`
pub(super) fn one(look: Look) -> Answer {
    Ok(Response::typed(200, "text/javascript", find(&look)?.into_bytes()))
}
