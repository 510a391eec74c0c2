//! What everybody may know of the service.

use super::names::{ENCRYPTION_KEYS, SERVICE_CONFIG};
use super::route::{Look, check, hex_id};
use super::{Answer, Stop, info as proposal_info, jwk as keys, replay};
use crate::bundle::request::{Request, Response, percent_decode};
use crate::bundle::store::Rows;
use crate::bundle::tables::{ENDPOINTS, MEMBER_CERTS, MEMBER_INFO, MODULES, SERVICE_INFO, SINGLETON, USER_CERTS, USER_INFO};
use ledger_names::{NODE_CERTIFICATES_MAP, NODES_INFO_MAP};
use serde_json::{Map, Value, json};

/// The tables that the first transaction writes.
mod ledger_names {
    pub const NODES_INFO_MAP: &str = "public:ccf.gov.nodes.info";
    pub const NODE_CERTIFICATES_MAP: &str = "public:ccf.gov.nodes.endorsed_certificates";
}

/// Days that certificates may be valid, unless the settings say otherwise.
const CERTIFICATE_DAYS: u64 = 365;

const JAVASCRIPT: &str = "text/javascript";

fn missing(message: impl Into<String>) -> Stop {
    Stop::new(404, "ResourceNotFound", message)
}

fn json_row(rows: &dyn Rows, map: &str, key: &[u8]) -> Answer<Option<Value>> {
    Ok(rows.get(map, key)?.map(|row| serde_json::from_slice(&row).unwrap_or_default()))
}

fn text_row(rows: &dyn Rows, map: &str, key: &[u8]) -> Answer<Option<Value>> {
    Ok(rows.get(map, key)?.map(|row| String::from_utf8_lossy(&row).into_owned().into()))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `GET /gov/service/constitution`
pub(super) fn constitution(look: Look) -> Answer {
    let constitution = proposal_info::constitution(look.rows)?.ok_or_else(|| missing("Constitution not found"))?;
    Ok(Response::typed(200, JAVASCRIPT, constitution.into_bytes()))
}

/// `GET /gov/service/info`
pub(super) fn info(look: Look) -> Answer {
    let service = json_row(look.rows, SERVICE_INFO, SINGLETON)?.ok_or_else(|| missing("Service info not yet available"))?;
    let field = |name: &str| service.get(name).cloned().unwrap_or_default();
    let mut shown = json!({
        "status": field("status"),
        "certificate": field("cert"),
        "recoveryCount": service.get("recovery_count").and_then(Value::as_u64).unwrap_or(0),
        "serviceData": field("service_data"),
    });
    if let Some(txid) = service.get("current_service_create_txid") {
        shown["creationTransactionId"] = txid.clone();
    }
    let config = json_row(look.rows, SERVICE_CONFIG, SINGLETON)?.unwrap_or_default();
    let number = |name: &str, usual: u64| config.get(name).and_then(Value::as_u64).unwrap_or(usual);
    shown["configuration"] = json!({
        "recoveryThreshold": number("recovery_threshold", 0),
        "maximumNodeCertificateValidityDays": number("maximum_node_certificate_validity_days", CERTIFICATE_DAYS),
        "maximumServiceCertificateValidityDays": number("maximum_service_certificate_validity_days", CERTIFICATE_DAYS),
        "recentCoseProposalsWindowSize": replay::window(look.rows)?,
    });
    Ok(Response::json(200, &shown))
}

/// `GET /gov/service/javascript-app[?case=original]`
pub(super) fn app(look: Look) -> Answer {
    let original = match look.request.parameter("case").as_deref() {
        None => false,
        Some("original") => true,
        Some(_) => {
            let message = "Accepted values for the 'case' query parameter are: original";
            return Err(Stop::new(400, "InvalidQueryParameterValue", message));
        }
    };
    let endpoints = endpoints(look.rows, original)?;
    Ok(Response::json(200, &json!({ "endpoints": endpoints })))
}

/// The endpoints as in `app.json`: by path, then by verb.
pub(super) fn endpoints(rows: &dyn Rows, original: bool) -> Answer<Value> {
    let mut endpoints = Map::new();
    for (key, row) in rows.rows(ENDPOINTS)? {
        let key = text(&key);
        let Some((verb, path)) = key.split_once(' ') else { continue };
        let endpoint: Value = serde_json::from_slice(&row).unwrap_or_default();
        let endpoint = if original { endpoint } else { camel(&endpoint) };
        endpoints.entry(path).or_insert_with(|| json!({}))[verb] = endpoint;
    }
    Ok(Value::Object(endpoints))
}

/// An endpoint with what it has by default.
fn camel(endpoint: &Value) -> Value {
    let field = |name: &str, usual: Value| endpoint.get(name).cloned().unwrap_or(usual);
    json!({
        "jsModule": field("js_module", Value::Null),
        "jsFunction": field("js_function", Value::Null),
        "forwardingRequired": field("forwarding_required", "sometimes".into()),
        "redirectionStrategy": field("redirection_strategy", "none".into()),
        "authnPolicies": field("authn_policies", json!([])),
        "mode": field("mode", "readwrite".into()),
        "openApi": field("openapi", Value::Null),
    })
}

/// `GET /gov/service/javascript-modules`
pub(super) fn modules(look: Look) -> Answer {
    let rows = look.rows.rows(MODULES)?;
    let value: Vec<Value> = rows.iter().map(|(name, _)| json!({ "moduleName": text(name) })).collect();
    Ok(Response::json(200, &json!({ "value": value })))
}

/// `GET /gov/service/javascript-modules/{moduleName}`, the name percent-encoded.
pub(super) fn module(look: Look) -> Answer {
    let name = percent_decode(&look.params[0]);
    let source = look.rows.get(MODULES, name.as_bytes())?;
    let source = source.ok_or_else(|| missing(format!("Module {name} does not exist.")))?;
    Ok(Response::typed(200, JAVASCRIPT, source))
}

/// `GET /gov/service/join-policy`: nobody joins a service of one node.
pub(super) fn join_policy(_: Look) -> Answer {
    Ok(Response::json(
        200,
        &json!({
            "sgx": { "measurements": [] },
            "snp": { "measurements": [], "hostData": {}, "uvmEndorsements": {}, "tcbVersions": {} },
            "virtual": { "measurements": [], "hostData": [] },
        }),
    ))
}

/// `GET /gov/service/jwk`
pub(super) fn jwk(look: Look) -> Answer {
    Ok(Response::json(200, &keys::all(look.rows)?))
}

fn member_of(rows: &dyn Rows, id: &str, details: &Value) -> Answer<Value> {
    let mut shown = json!({
        "memberId": id,
        "status": details.get("status").cloned().unwrap_or_default(),
        "memberData": details.get("member_data").cloned().unwrap_or_default(),
    });
    let key = text_row(rows, ENCRYPTION_KEYS, id.as_bytes())?;
    let role = if key.is_some() { "Participant" } else { "NonParticipant" };
    shown["recoveryRole"] = details.get("recovery_role").filter(|role| role.is_string()).cloned().unwrap_or(role.into());
    for (name, value) in [("certificate", text_row(rows, MEMBER_CERTS, id.as_bytes())?), ("publicEncryptionKey", key)] {
        if let Some(value) = value {
            shown[name] = value;
        }
    }
    Ok(shown)
}

/// `GET /gov/service/members`
pub(super) fn members(look: Look) -> Answer {
    let mut value = Vec::new();
    for (id, row) in look.rows.rows(MEMBER_INFO)? {
        value.push(member_of(look.rows, &text(&id), &serde_json::from_slice(&row).unwrap_or_default())?);
    }
    Ok(Response::json(200, &json!({ "value": value })))
}

/// `GET /gov/service/members/{memberId}`
pub(super) fn member(look: Look) -> Answer {
    let id = hex_id(&look.params[0], "member")?;
    let details = json_row(look.rows, MEMBER_INFO, id.as_bytes())?;
    let details = details.ok_or_else(|| missing(format!("Member {id} does not exist.")))?;
    Ok(Response::json(200, &member_of(look.rows, &id, &details)?))
}

fn user_of(rows: &dyn Rows, id: &str, certificate: &[u8]) -> Answer<Value> {
    let data = json_row(rows, USER_INFO, id.as_bytes())?.unwrap_or_default();
    Ok(json!({ "userId": id, "certificate": text(certificate), "userData": data.get("user_data") }))
}

/// `GET /gov/service/users`
pub(super) fn users(look: Look) -> Answer {
    let mut value = Vec::new();
    for (id, certificate) in look.rows.rows(USER_CERTS)? {
        value.push(user_of(look.rows, &text(&id), &certificate)?);
    }
    Ok(Response::json(200, &json!({ "value": value })))
}

/// `GET /gov/service/users/{userId}`
pub(super) fn user(look: Look) -> Answer {
    let id = hex_id(&look.params[0], "user")?;
    let certificate = look.rows.get(USER_CERTS, id.as_bytes())?;
    let certificate = certificate.ok_or_else(|| missing(format!("User {id} does not exist.")))?;
    Ok(Response::json(200, &user_of(look.rows, &id, &certificate)?))
}

fn node_of(rows: &dyn Rows, id: &str, details: &Value) -> Answer<Value> {
    let mut shown = json!({
        "nodeId": id,
        "status": details.get("status").cloned().unwrap_or_default(),
        "nodeData": details.get("node_data").cloned().unwrap_or_default(),
        "retiredCommitted": false,
        "quoteInfo": { "format": "Insecure_Virtual" },
        "rpcInterfaces": details.get("rpc_interfaces").cloned().unwrap_or_else(|| json!({})),
    });
    if let Some(certificate) = text_row(rows, NODE_CERTIFICATES_MAP, id.as_bytes())? {
        shown["certificate"] = certificate;
    }
    Ok(shown)
}

/// `GET /gov/service/nodes`
pub(super) fn nodes(look: Look) -> Answer {
    let mut value = Vec::new();
    for (id, row) in look.rows.rows(NODES_INFO_MAP)? {
        value.push(node_of(look.rows, &text(&id), &serde_json::from_slice(&row).unwrap_or_default())?);
    }
    Ok(Response::json(200, &json!({ "value": value })))
}

/// `GET /gov/service/nodes/{nodeId}`
pub(super) fn node(look: Look) -> Answer {
    let id = hex_id(&look.params[0], "node")?;
    let details = json_row(look.rows, NODES_INFO_MAP, id.as_bytes())?;
    let details = details.ok_or_else(|| missing(format!("Node {id} does not exist.")))?;
    Ok(Response::json(200, &node_of(look.rows, &id, &details)?))
}

/// What is known of transactions.
pub trait Ledger {
    /// View and seqno of the last transaction that is committed.
    fn committed(&self) -> (u64, u64);
    /// `Committed`, `Pending`, `Invalid` or `Unknown`.
    fn status(&self, view: u64, seqno: u64) -> &'static str;
}

/// Under it stand transactions.
const TRANSACTIONS: &str = "/gov/service/transactions/";

/// Whether a request asks for a transaction: not the tables say that, but the ledger, by [`transactions`].
pub fn is_about_transactions(path: &str) -> bool {
    path.strip_prefix(TRANSACTIONS).is_some_and(|txid| !txid.is_empty() && !txid.contains('/'))
}

/// `GET /gov/service/transactions/commit` and `/gov/service/transactions/{transactionId}`; other requests as [`super::view`].
pub fn transactions(request: &Request, ledger: &dyn Ledger) -> Response {
    let named = match check(request) {
        Ok(()) => match request.path().strip_prefix(TRANSACTIONS).unwrap_or_default() {
            "commit" => Ok(ledger.committed()),
            txid => read_txid(txid),
        },
        Err(stop) => Err(stop),
    };
    match named {
        Ok((view, seqno)) => {
            let status = ledger.status(view, seqno);
            Response::json(200, &json!({ "status": status, "transactionId": format!("{view}.{seqno}") }))
        }
        Err(Stop::Refused(response)) => response,
        Err(Stop::Fault(fault)) => Response::error(500, "InternalError", fault.to_string()),
    }
}

fn read_txid(txid: &str) -> Answer<(u64, u64)> {
    // Both begin with 1.
    let number = |part: &str| part.parse::<u64>().ok().filter(|number| *number > 0 && number.to_string() == part);
    let parts = txid.split_once('.').and_then(|(view, seqno)| Some((number(view)?, number(seqno)?)));
    parts.ok_or_else(|| {
        let message =
            format!("The value '{txid}' passed as parameter 'transactionId' could not be converted to a valid Transaction ID.");
        Stop::new(400, "InvalidQueryParameterValue", message)
    })
}

/// Where a reader without the ledger comes to.
pub(super) fn elsewhere(_: Look) -> Answer {
    Err(Stop::internal("Transactions are not known here."))
}
