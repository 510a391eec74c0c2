//! The keys that tokens are checked with, as everybody may see them.

use super::names::{CA_BUNDLES, JWT_ISSUERS, JWT_KEYS};
use crate::Fault;
use crate::bundle::store::Rows;
use serde_json::{Map, Value, json};

/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

fn read_table(rows: &dyn Rows, map: &str, show: impl Fn(Value) -> Value) -> Result<Value, Fault> {
    let read = |(key, row): (Vec<u8>, Vec<u8>)| {
        let value = serde_json::from_slice(&row).unwrap_or_default();
        (String::from_utf8_lossy(&key).into_owned(), show(value))
    };
    Ok(Value::Object(rows.rows(map)?.into_iter().map(read).collect()))
}

/// Copies members that are there under other names.
fn renamed(from: &Value, names: &[(&str, &str)]) -> Map<String, Value> {
    names.iter().filter_map(|(before, after)| Some(((*after).to_owned(), from.get(*before)?.clone()))).collect()
}

fn pem(base64: &str) -> String {
    let lines: Vec<String> = base64.as_bytes().chunks(PEM_LINE).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.join("\n"))
}

/// `GET /gov/service/jwk`
pub(super) fn all(rows: &dyn Rows) -> Result<Value, Fault> {
    let issuer = |metadata: Value| {
        let mut shown = renamed(&metadata, &[("ca_cert_bundle_name", "caCertBundleName")]);
        let refresh = metadata.get("auto_refresh").and_then(Value::as_bool).unwrap_or(false);
        shown.insert("autoRefresh".into(), refresh.into());
        Value::Object(shown)
    };
    let key = |entry: &Value| {
        let mut shown = renamed(entry, &[("issuer", "issuer")]);
        if let Some(key) = entry.get("public_key").and_then(Value::as_str) {
            shown.insert("publicKey".into(), pem(key).into());
        }
        shown.insert("constraint".into(), entry.get("constraint").cloned().unwrap_or_default());
        Value::Object(shown)
    };
    let keys = |entries: Value| Value::Array(entries.as_array().into_iter().flatten().map(key).collect());
    Ok(json!({
        "issuers": read_table(rows, JWT_ISSUERS, issuer)?,
        "keys": read_table(rows, JWT_KEYS, keys)?,
        "caCertBundles": read_table(rows, CA_BUNDLES, |bundle| bundle)?,
    }))
}

/// `GET /gov/jwt_keys/all`, as it was before there were versions.
pub(super) fn classic(rows: &dyn Rows) -> Result<Value, Fault> {
    read_table(rows, JWT_KEYS, |entries| entries)
}
