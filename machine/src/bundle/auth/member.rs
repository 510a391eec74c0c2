//! Members' signed requests: what governance acts on.
//!
//! The protected header says what a request is for, so that one cannot be passed off as another:
//!
//! | parameter | value |
//! |---|---|
//! | `ccf.gov.msg.type` | `proposal`, `ballot`, `withdrawal`, `ack`, … |
//! | `ccf.gov.msg.created_at` | seconds since 1970, required |
//! | `ccf.gov.msg.proposal_id` | of a ballot or a withdrawal |

use super::{
    Cache, Denied, Detail, MEMBERS_CERTS, MEMBERS_INFO, Refusal, Verdict,
    cose::{self, Sign1},
    policy::COSE_CHALLENGE,
    sha256,
};
use crate::{
    Fault,
    bundle::{request::Request, store::Rows},
};
use coset::cbor::value::Value as Cbor;

const TYPE: &str = "ccf.gov.msg.type";
const CREATED_AT: &str = "ccf.gov.msg.created_at";
const PROPOSAL_ID: &str = "ccf.gov.msg.proposal_id";

/// A governance request, signed by a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedRequest {
    /// The member's id.
    pub member: String,
    /// What it is for.
    pub kind: String,
    /// When the member says to have made it, in seconds since 1970.
    pub created_at_s: i64,
    /// The proposal that it is about.
    pub proposal: Option<String>,
    /// What is signed: for a proposal its JSON.
    pub payload: Vec<u8>,
    /// SHA-256 of the signature.
    pub digest: [u8; 32],
    /// What a replay is known by: SHA-256 of the signature in the form in which there is one of it. Of an ECDSA signature
    /// anybody can make another that verifies; `digest` differs between the two, this does not.
    pub replay_digest: [u8; 32],
    /// The whole message, as received.
    pub raw: Vec<u8>,
}

/// The member's request that is the body of `request`, of type `expected_kind`.
///
/// A 401 names the policy `active_member_cose_sign1` where the member must be active, else `member_cose_sign1`.
pub fn signed_by_member(
    request: &Request,
    expected_kind: &str,
    must_be_active: bool,
    rows: &impl Rows,
    parsed: &mut Cache,
) -> Result<Result<SignedRequest, Denied>, Fault> {
    let policy = if must_be_active { "active_member_cose_sign1" } else { "member_cose_sign1" };
    Ok(read(request, expected_kind, must_be_active, rows, parsed)?.map_err(|refusal| match refusal {
        Refusal::Broken(message) => Denied::internal(message),
        Refusal::Reason(reason) => {
            Denied::Unauthorised { details: vec![Detail::new(policy, reason)], www_authenticate: Some(COSE_CHALLENGE.into()) }
        }
    }))
}

fn read(
    request: &Request,
    expected_kind: &str,
    must_be_active: bool,
    rows: &impl Rows,
    parsed: &mut Cache,
) -> Verdict<SignedRequest> {
    let message = match Sign1::of(request) {
        Ok(message) => message,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let (created_at_s, kind, proposal) = match headers(&message) {
        Ok(headers) => headers,
        Err(message) => return Refusal::broken(message),
    };
    let verified = match cose::verify(message, MEMBERS_CERTS, "Signer is not a known member", rows, parsed)? {
        Ok(verified) => verified,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let expected = format!("expected {TYPE} to be {expected_kind}");
    let kind = match kind {
        None => return Refusal::reason(format!("Missing {TYPE}, {expected}")),
        Some(kind) if kind != expected_kind => return Refusal::reason(format!("Found {TYPE} set to {kind}, {expected}")),
        Some(kind) => kind,
    };
    if must_be_active && !is_active(&verified.id, rows)? {
        return Refusal::reason("Signer is not an ACTIVE member");
    }
    Ok(Ok(SignedRequest {
        member: verified.id,
        kind,
        created_at_s,
        proposal,
        payload: verified.payload,
        digest: sha256(verified.message.signature()),
        replay_digest: sha256(&verified.message.canonical_signature()),
        raw: request.body.clone(),
    }))
}

fn headers(message: &Sign1) -> Result<(i64, Option<String>, Option<String>), String> {
    let created_at_s = message.integer(&Cbor::from(CREATED_AT), CREATED_AT)?;
    if created_at_s < 0 {
        return Err(format!("{CREATED_AT} in protected header is negative"));
    }
    Ok((created_at_s, message.text(TYPE)?, message.text(PROPOSAL_ID)?))
}

fn is_active(member: &str, rows: &impl Rows) -> Result<bool, Fault> {
    let Some(info) = rows.get(MEMBERS_INFO, member.as_bytes())? else { return Ok(false) };
    let info: serde_json::Value = serde_json::from_slice(&info).unwrap_or_default();
    Ok(info.get("status").and_then(serde_json::Value::as_str) == Some("Active"))
}
