//! Proposals: making one, taking it back, looking at it.

use super::info::{self, Info, State};
use super::names::{COSE_HISTORY, PROPOSALS, RECENT_PROPOSALS};
use super::resolve::{self, Motion};
use super::route::{Call, Look, hex_id};
use super::{Answer, Governing, Stop, described, hex, replay};
use crate::bundle::auth::SignedRequest;
use crate::bundle::request::Response;
use aws_lc_rs::digest;
use serde_json::{Value, json};

/// Takes a proposal. It may be decided at once.
pub(super) fn create(mut call: Call) -> Answer {
    let signed = call.signed("proposal", true)?;
    let governing = call.governing;
    let id = id_of(&governing.root(), &signed.digest);
    let text = String::from_utf8_lossy(&signed.payload).into_owned();
    let constitution = info::constitution(info::as_rows(governing))?
        .ok_or_else(|| Stop::internal("No constitution is set - proposals cannot be evaluated"))?;
    validate(governing, &constitution, &text)?;
    try_out_apps(governing, &text)?;
    // Not by the digest of the signature as it came: anybody can make another that verifies.
    replay::remember(governing, RECENT_PROPOSALS, signed.created_at_s, &signed.replay_digest, &id)?.map_err(replayed)?;
    if governing.get(PROPOSALS, id.as_bytes())?.is_some() {
        return Err(Stop::internal("Proposal ID collision."));
    }
    governing.put(PROPOSALS, id.as_bytes(), &signed.payload);
    let mut info = Info::new(&signed.member);
    info.save(governing, &id);
    record(governing, &signed);
    resolve::resolve(governing, &Motion { id: &id, text: &text, constitution: &constitution }, &mut info)?;
    Ok(Response::json(200, &if call.classic { info.summed_up(&id) } else { info.shown(&id) }))
}

fn replayed(why: replay::Refused) -> Stop {
    match why {
        replay::Refused::Unwritable => Stop::new(400, "InvalidCreatedAt", "Header parameter created_at value is too large"),
        replay::Refused::Again(id) => {
            Stop::new(400, "ProposalReplay", format!("Proposal submission replay, already exists as proposal {id}"))
        }
        replay::Refused::TooOld(oldest) => {
            let message = format!("Proposal created too long ago, created_at must be greater than {oldest}");
            Stop::new(400, "ProposalCreatedTooLongAgo", message)
        }
    }
}

/// Keeps a request that has counted.
pub(super) fn record(governing: &mut dyn Governing, signed: &SignedRequest) {
    governing.put(COSE_HISTORY, signed.member.as_bytes(), &signed.raw);
}

/// A proposal belongs to a state and to a signature: hex of SHA-256(root ‖ SHA-256(signature)).
fn id_of(root: &[u8; 32], signature: &[u8; 32]) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(root);
    context.update(signature);
    hex(context.finish().as_ref())
}

/// Has the constitution look at a proposal.
fn validate(governing: &mut dyn Governing, constitution: &str, text: &str) -> Answer<()> {
    let verdict = resolve::call(governing, "gov", constitution, "validate", json!([text]))?;
    let verdict = verdict.map_err(|failure| {
        let message = format!("Failed to execute validation: {} {}", described(&failure), failure.stack);
        Stop::internal(message.trim_end())
    })?;
    if !verdict.is_object() && !verdict.is_array() {
        return Err(Stop::internal("Validation failed to return an object"));
    }
    if verdict.get("valid") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let description = verdict.get("description").and_then(Value::as_str).unwrap_or_default();
    Err(invalid(description))
}

fn invalid(why: &str) -> Stop {
    Stop::new(400, "ProposalFailedToValidate", format!("Proposal failed to validate: {why}"))
}

/// An app that does not come up is refused before anybody votes on it.
fn try_out_apps(governing: &mut dyn Governing, text: &str) -> Answer<()> {
    let proposal: Value = serde_json::from_str(text).unwrap_or_default();
    for action in proposal.get("actions").and_then(Value::as_array).into_iter().flatten() {
        let bundle = action.get("args").and_then(|args| args.get("bundle"));
        if action.get("name").and_then(Value::as_str) == Some("set_js_app")
            && let Some(bundle) = bundle
        {
            try_out(governing, bundle)?.map_err(|why| invalid(&why))?;
        }
    }
    Ok(())
}

/// Whether an app comes up: its modules have proper paths and can be evaluated. The inner error says why not.
pub(super) fn try_out(governing: &mut dyn Governing, bundle: &Value) -> Answer<Result<(), String>> {
    for module in bundle.get("modules").and_then(Value::as_array).into_iter().flatten() {
        let name = module.get("name").and_then(Value::as_str).unwrap_or_default();
        if let Err(why) = proper_path(name) {
            return Ok(Err(why));
        }
    }
    Ok(governing.try_out(bundle)?)
}

/// A module's name is a path from the root of the bundle, with or without a slash in front.
pub(super) fn proper_path(name: &str) -> Result<(), String> {
    let path = name.strip_prefix('/').unwrap_or(name);
    match path.split('/').find(|part| matches!(*part, "" | "." | "..")) {
        Some(part) => Err(format!("module name '{name}' is no path within the bundle: it has a part '{part}'")),
        None => Ok(()),
    }
}

/// Takes a proposal back.
pub(super) fn withdraw(mut call: Call) -> Answer {
    let signed = call.signed("withdrawal", true)?;
    let id = call.signed_proposal(&signed)?;
    let classic = call.classic;
    let governing = call.governing;
    let Some(mut info) = Info::load(info::as_rows(governing), &id)? else {
        if classic {
            return Err(Stop::new(400, "ProposalNotFound", format!("Proposal {id} does not exist.")));
        }
        // It may have been there once: withdrawing twice is no error.
        return Ok(Response::empty(204));
    };
    if info.proposer_id != signed.member {
        let (proposer, member) = (&info.proposer_id, &signed.member);
        let message = format!("Proposal {id} can only be withdrawn by proposer {proposer}, not caller {member}.");
        return Err(Stop::new(403, "AuthorizationFailed", message));
    }
    match info.state {
        State::Open => {
            info.state = State::Withdrawn;
            info.save(governing, &id);
            Info::purge_others(governing, &id)?;
            record(governing, &signed);
        }
        State::Withdrawn if !classic => {}
        state if classic => {
            let message = format!("Proposal {id} is currently in state {state} - only Open proposals can be withdrawn.");
            return Err(Stop::new(400, "ProposalNotOpen", message));
        }
        state => {
            let message = format!("Proposal {id} is currently in state {state} and cannot be withdrawn.");
            return Err(Stop::new(400, "ProposalNotOpen", message));
        }
    }
    Ok(Response::json(200, &if classic { json!(info) } else { info.shown(&id) }))
}

/// `GET …/proposals`
pub(super) fn list(look: Look) -> Answer {
    let all = Info::all(look.rows)?;
    let value: Vec<Value> = all.iter().map(|(id, info)| info.shown(id)).collect();
    Ok(Response::json(200, &json!({ "value": value })))
}

fn not_found(id: &str) -> Stop {
    Stop::new(404, "ProposalNotFound", format!("Could not find proposal {id}."))
}

/// `GET …/proposals/{id}`
pub(super) fn one(look: Look) -> Answer {
    let id = hex_id(&look.params[0], "proposal")?;
    let info = Info::load(look.rows, &id)?.ok_or_else(|| not_found(&id))?;
    Ok(Response::json(200, &info.shown(&id)))
}

/// `GET …/proposals/{id}/actions`: the text that was signed.
pub(super) fn actions(look: Look) -> Answer {
    let id = hex_id(&look.params[0], "proposal")?;
    let text = look.rows.get(PROPOSALS, id.as_bytes())?.ok_or_else(|| not_found(&id))?;
    Ok(Response::typed(200, "application/json", text))
}
