//! `request.caller`: who was found, in the shapes that apps know.

use super::{Grant, MEMBERS_CERTS, MEMBERS_INFO, Refusal, USERS_CERTS, USERS_INFO, json, policy::Scheme};
use crate::{Fault, bundle::store::Rows};
use serde_json::Value;

/// What a scheme has found out.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Identity {
    /// Nothing was asked.
    Nobody,
    /// A row of the users' table.
    User { id: String },
    /// A row of the members' table.
    Member { id: String },
    /// Any certificate, as PEM.
    Certificate { pem: String },
    /// The bearer of a token.
    Token { issuer: String, header: Value, payload: Value },
    /// A user who has signed the body.
    Signer { id: String, payload: Vec<u8> },
}

/// The grant for what the schemes of one policy have found; `all`: under `all_of`, each under its name.
pub(super) fn grant(
    identities: Vec<(Scheme, Identity)>,
    all: bool,
    rows: &impl Rows,
) -> Result<Result<Grant, (Scheme, Refusal)>, Fault> {
    let mut grant = Grant { caller: String::new(), content: None, id: None };
    let mut parts = Vec::with_capacity(identities.len() + 1);
    let names: Vec<String> = identities.iter().map(|(scheme, _)| json::string(scheme.name())).collect();
    for ((scheme, identity), name) in identities.into_iter().zip(&names) {
        let text = match object(scheme, &identity, rows)? {
            Ok(text) => text,
            Err(refusal) => return Ok(Err((scheme, refusal))),
        };
        match identity {
            Identity::User { id } | Identity::Member { id } => grant.id = grant.id.or(Some(id)),
            Identity::Signer { id, payload } => {
                grant.id = grant.id.or(Some(id));
                grant.content = Some(payload);
            }
            Identity::Nobody | Identity::Certificate { .. } | Identity::Token { .. } => {}
        }
        parts.push(if all { format!("{name}:{text}") } else { text });
    }
    grant.caller = if all {
        parts.push(format!("\"policy\":[{}]", names.join(",")));
        format!("{{{}}}", parts.join(","))
    } else {
        parts.concat()
    };
    Ok(Ok(grant))
}

/// One identity as JSON. The members stand in the order in which CCF sets them.
fn object(scheme: Scheme, identity: &Identity, rows: &impl Rows) -> super::Verdict<String> {
    let policy = json::string(scheme.name());
    Ok(Ok(match identity {
        Identity::Nobody => format!("{{\"policy\":{policy}}}"),
        Identity::Certificate { pem } => format!("{{\"policy\":{policy},\"cert\":{}}}", json::string(pem)),
        Identity::Token { issuer, header, payload } => format!(
            "{{\"policy\":{policy},\"jwt\":{{\"keyIssuer\":{},\"header\":{},\"payload\":{}}}}}",
            json::string(issuer),
            json::text(header),
            json::text(payload)
        ),
        Identity::User { id } => return person("", &policy, id, (USERS_CERTS, USERS_INFO, "user_data"), rows),
        Identity::Member { id } => return person("", &policy, id, (MEMBERS_CERTS, MEMBERS_INFO, "member_data"), rows),
        Identity::Signer { id, .. } => {
            return person("\"cose\":{},", &policy, id, (USERS_CERTS, USERS_INFO, "user_data"), rows);
        }
    }))
}

/// Somebody who is in the state: `{policy, id, data, cert}`.
fn person(
    first: &str,
    policy: &str,
    id: &str,
    (certs, info, field): (&str, &str, &str),
    rows: &impl Rows,
) -> super::Verdict<String> {
    let data = match rows.get(info, id.as_bytes())? {
        None => Value::Null,
        // Governance writes the table, and a constitution may write anything into it.
        Some(bytes) => match serde_json::from_slice::<Value>(&bytes) {
            Ok(mut info) => info.get_mut(field).map(Value::take).unwrap_or_default(),
            Err(_) => return Refusal::broken(format!("Failed to get data for caller {id}")),
        },
    };
    let Some(Ok(cert)) = rows.get(certs, id.as_bytes())?.map(String::from_utf8) else {
        return Refusal::broken(format!("Failed to get certificate for caller {id}"));
    };
    let (id, data, cert) = (json::string(id), json::text(&data), json::string(&cert));
    Ok(Ok(format!("{{{first}\"policy\":{policy},\"id\":{id},\"data\":{data},\"cert\":{cert}}}")))
}
