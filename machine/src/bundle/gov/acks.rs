//! Members come in: who was accepted signs the state that they have seen, and is active from then on.
//!
//! ```text
//! member ──▶ {"cose_sign1_req"?: base64 of the signed request,"state_digest": hex of a signed root}
//! ```
//!
//! There are no recovery shares: the service's secret is kept by its operator, so there is nothing to hand out.

use super::info::as_rows;
use super::lens::Lens;
use super::names::ACKS;
use super::route::{Call, Look, hex_id};
use super::{Answer, Governing, Stop, hex};
use crate::bundle::auth::{self, Policy, SignedRequest};
use crate::bundle::request::Response;
use crate::bundle::tables::MEMBER_INFO;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The row of a member. The fields stand in the order in which they are written.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Ack {
    #[serde(skip_serializing_if = "Option::is_none")]
    cose_sign1_req: Option<String>,
    state_digest: String,
}

impl Ack {
    fn load(governing: &dyn Governing, member: &str) -> Answer<Option<Ack>> {
        let row = governing.get(ACKS, member.as_bytes())?;
        Ok(row.map(|row| serde_json::from_slice(&row).unwrap_or_default()))
    }

    fn save(&self, governing: &mut dyn Governing, member: &str) {
        governing.put(ACKS, member.as_bytes(), &serde_json::to_vec(self).expect("strings can be written"));
    }
}

/// Who the path is about must have signed.
fn own(call: &Call, signed: &SignedRequest) -> Answer<()> {
    match call.params.first() {
        Some(member) if *member != signed.member => {
            let message = format!(
                "Member ID from path parameter ({member}) does not match member ID from body signature ({}).",
                signed.member
            );
            Err(Stop::new(400, "InvalidAuthenticationInfo", message))
        }
        _ => Ok(()),
    }
}

/// `GET …/state-digests/{memberId}`
pub(super) fn one(look: Look) -> Answer {
    let member = &look.params[0];
    let Some(row) = look.rows.get(ACKS, member.as_bytes())? else {
        return Err(Stop::new(404, "ResourceNotFound", format!("No ACK record exists for member {member}.")));
    };
    let ack: Ack = serde_json::from_slice(&row).unwrap_or_default();
    Ok(Response::json(200, &json!({ "memberId": member, "stateDigest": ack.state_digest })))
}

/// Names the state that is to be acknowledged. The classic interface takes a member's TLS certificate, too.
pub(super) fn update(mut call: Call) -> Answer {
    let by_certificate = call.classic && call.request.header("content-type") != Some("application/cose");
    let member = if by_certificate {
        let policies = [Policy::Named("member_cert".into())];
        let lens = Lens(as_rows(call.governing));
        let grant = auth::authenticate(&policies, call.request, &lens, call.cache)??;
        grant.id.ok_or_else(|| Stop::internal("A member has no id."))?
    } else {
        let signed = call.signed("state_digest", false)?;
        own(&call, &signed)?;
        signed.member
    };
    let mut ack = Ack::load(call.governing, &member)?.unwrap_or_default();
    ack.state_digest = hex(&call.governing.root());
    ack.save(call.governing, &member);
    let body = if call.classic {
        json!({ "state_digest": ack.state_digest })
    } else {
        json!({ "memberId": member, "stateDigest": ack.state_digest })
    };
    Ok(Response::json(200, &body))
}

/// Acknowledges it, and makes the member active.
pub(super) fn ack(mut call: Call) -> Answer {
    let signed = call.signed("ack", false)?;
    own(&call, &signed)?;
    let member = &signed.member;
    let Some(mut ack) = Ack::load(call.governing, member)? else {
        return Err(Stop::new(403, "AuthorizationFailed", format!("No ACK record exists for member {member}.")));
    };
    let field = if call.classic { "state_digest" } else { "stateDigest" };
    let body: Value = serde_json::from_slice(&signed.payload).unwrap_or_default();
    let Some(digest) = body.get(field).and_then(Value::as_str) else {
        let message = format!("Signed request body is not a JSON object containing required string field \"{field}\"");
        return Err(Stop::new(400, "InvalidInput", message));
    };
    if digest != ack.state_digest {
        let expected = &ack.state_digest;
        let message = format!("Submitted state digest is not valid.\nExpected\n {expected}\nReceived\n {digest}");
        return Err(Stop::new(400, "StateDigestMismatch", message));
    }
    ack.cose_sign1_req = Some(STANDARD.encode(&signed.raw));
    ack.save(call.governing, member);
    activate(call.governing, member)?;
    Ok(Response::empty(204))
}

fn activate(governing: &mut dyn Governing, member: &str) -> Answer<()> {
    let row = governing.get(MEMBER_INFO, member.as_bytes())?;
    let info = row.and_then(|row| serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&row).ok());
    let mut info = info.ok_or_else(|| Stop::internal(format!("Error activating member: {member} has no readable row")))?;
    let active = RawValue::from_string("\"Active\"".into()).expect("it is JSON");
    info.insert("status".into(), active);
    governing.put(MEMBER_INFO, member.as_bytes(), &serde_json::to_vec(&info).expect("it was read from JSON"));
    Ok(())
}

/// Shares of the service's secret.
pub(super) fn no_share(look: Look) -> Answer {
    let whose = match look.params.first() {
        Some(member) => format!("Recovery share not found for member {}.", hex_id(member, "member")?),
        None => "Recovery share not found: this service has no recovery shares.".into(),
    };
    Err(Stop::new(404, "ResourceNotFound", whose))
}

/// A service that restarts has its secret.
pub(super) fn no_recovery(mut call: Call) -> Answer {
    call.signed("recovery_share", true)?;
    Err(Stop::new(403, "ServiceNotWaitingForRecoveryShares", "Service is not waiting for recovery shares."))
}
