//! `GET /gov/kv/members/info` and the like: tables of governance as they are, for scripts of the classic interface.

use super::route::Look;
use super::{Answer, Stop};
use crate::bundle::request::Response;
use crate::bundle::tables::SINGLETON;
use serde_json::{Map, Value};

/// How the values of a table are shown.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// One row of JSON: its value.
    One,
    /// Rows of JSON.
    Json,
    /// Rows of text.
    Text,
}

use Kind::{Json, One, Text};

/// The tables, without `public:ccf.gov.` and with slashes for dots.
const TABLES: [(&str, Kind); 20] = [
    ("constitution", One),
    ("endpoints", Json),
    ("js_runtime_options", One),
    ("jwt/issuers", Json),
    ("jwt/public_signing_keys_metadata_v2", Json),
    ("members/acks", Json),
    ("members/certs", Text),
    ("members/encryption_public_keys", Text),
    ("members/info", Json),
    ("modules", Text),
    ("nodes/code_ids", Json),
    ("nodes/endorsed_certificates", Text),
    ("nodes/info", Json),
    ("proposals", Json),
    ("proposals_info", Json),
    ("service/config", One),
    ("service/info", One),
    ("tls/ca_cert_bundles", Json),
    ("users/certs", Text),
    ("users/info", Json),
];

/// `GET /gov/kv/…`
pub(super) fn table(look: Look) -> Answer {
    let path = look.params.join("/");
    let Some((_, kind)) = TABLES.iter().find(|(name, _)| *name == path) else {
        return Err(Stop::new(404, "ResourceNotFound", format!("Unknown path: /kv/{path}.")));
    };
    let map = format!("public:ccf.gov.{}", path.replace('/', "."));
    let read = |row: &[u8]| match kind {
        Text => String::from_utf8_lossy(row).into_owned().into(),
        One | Json => serde_json::from_slice::<Value>(row).unwrap_or_default(),
    };
    if *kind == One {
        let row = look.rows.get(&map, SINGLETON)?;
        let row = row.ok_or_else(|| Stop::new(404, "KeyNotFound", format!("Table {map} is empty.")))?;
        return Ok(Response::json(200, &read(&row)));
    }
    let rows = look.rows.rows(&map)?;
    let shown: Map<String, Value> =
        rows.iter().map(|(key, row)| (String::from_utf8_lossy(key).into_owned(), read(row))).collect();
    Ok(Response::json(200, &Value::Object(shown)))
}
