//! The interface before there were versions: the same books in other words. Scripts that were written for it still run.

use super::ballots;
use super::info::{Info, State};
use super::names::ENCRYPTION_KEYS;
use super::route::{Look, hex_id};
use super::{Answer, Stop, jwk};
use crate::bundle::request::Response;
use crate::bundle::tables::{MEMBER_CERTS, MEMBER_INFO};
use serde_json::{Map, Value, json};

/// `GET /gov/proposals`: the open ones, by id.
pub(super) fn proposals(look: Look) -> Answer {
    let all = Info::all(look.rows)?;
    let open = all.into_iter().filter(|(_, info)| info.state == State::Open);
    let shown: Map<String, Value> = open.map(|(id, info)| (id, json!(info))).collect();
    Ok(Response::json(200, &Value::Object(shown)))
}

/// `GET /gov/proposals/{proposal_id}`
pub(super) fn proposal(look: Look) -> Answer {
    let id = hex_id(&look.params[0], "proposal")?;
    let info = Info::load(look.rows, &id)?;
    let info = info.ok_or_else(|| Stop::new(404, "ProposalNotFound", format!("Proposal {id} does not exist.")))?;
    Ok(Response::json(200, &json!(info)))
}

/// `GET /gov/proposals/{proposal_id}/ballots/{member_id}`
pub(super) fn ballot(look: Look) -> Answer {
    Ok(Response::json(200, &json!({ "ballot": ballots::find(&look)? })))
}

/// `GET /gov/members`: by id.
pub(super) fn members(look: Look) -> Answer {
    let mut shown = Map::new();
    for (id, row) in look.rows.rows(MEMBER_INFO)? {
        let details: Value = serde_json::from_slice(&row).unwrap_or_default();
        let text = |map| -> Answer<Value> {
            Ok(look.rows.get(map, &id)?.map(|row| String::from_utf8_lossy(&row).into_owned().into()).unwrap_or_default())
        };
        let member = json!({
            "status": details.get("status"),
            "member_data": details.get("member_data"),
            "cert": text(MEMBER_CERTS)?,
            "public_encryption_key": text(ENCRYPTION_KEYS)?,
        });
        shown.insert(String::from_utf8_lossy(&id).into_owned(), member);
    }
    Ok(Response::json(200, &Value::Object(shown)))
}

/// `GET /gov/jwt_keys/all`
pub(super) fn jwt_keys(look: Look) -> Answer {
    Ok(Response::json(200, &jwk::classic(look.rows)?))
}
