//! The keys that sign tokens: rows of the state, and the JSON Web Key Sets that governance makes them of.
//!
//! A row is a JSON array, because two issuers may use one `kid`; an issuer has one entry in it:
//!
//! ```text
//! kid ──▶ [{"constraint"?, "issuer", "public_key"}, …]      public_key: base64 of a DER SubjectPublicKeyInfo
//! ```
//!
//! `cert`, a DER certificate in base64, is read in place of `public_key`; it is not written.

use super::{Cache, JWT_KEYS, cert, issuer, jwt::BASE64URL, key::Algorithm};
use crate::{Fault, bundle::store::RowsMut};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// How one issuer has a key. The members are in the order in which they are written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cert: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) constraint: Option<String>,
    pub(super) issuer: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public_key: Option<String>,
}

impl Entry {
    /// Reads a row.
    pub(super) fn list(row: &[u8]) -> Option<Vec<Entry>> {
        serde_json::from_slice(row).ok()
    }

    /// Whether this key has signed `message` with that algorithm.
    pub(super) fn verifies(&self, claimed: Algorithm, message: &[u8], signature: &[u8], parsed: &mut Cache) -> bool {
        let (text, is_key) = match (&self.public_key, &self.cert) {
            (Some(key), _) => (key, true),
            (None, Some(cert)) => (cert, false),
            (None, None) => return false,
        };
        let Ok(der) = STANDARD.decode(text) else { return false };
        let key = if is_key { parsed.key(&der) } else { parsed.key_of(&der) };
        key.is_some_and(|key| key.verifies(claimed, message, signature))
    }
}

/// The entries that `jwks`, a key set of `issuer`, makes: `(kid, entry)` for each key, of keys with one `kid` the first.
///
/// A key's own `issuer` becomes the constraint. `metadata` is the issuer's row; nothing in it changes the keys.
pub fn jwt_keys_of(issuer: &str, metadata: &Value, jwks: &Value) -> Result<Vec<(String, Value)>, String> {
    let to_json = |entry| serde_json::to_value(entry).expect("an entry is JSON");
    Ok(entries_of(issuer, metadata, jwks)?.into_iter().map(|(kid, entry)| (kid, to_json(entry))).collect())
}

/// Makes the keys of `jwks` the keys of `issuer`: others that it has are removed, other issuers' stay as they are.
///
/// The inner error is what is wrong with `jwks`; then nothing is written.
pub fn set_jwt_keys(rows: &mut impl RowsMut, issuer: &str, metadata: &Value, jwks: &Value) -> Result<Result<(), String>, Fault> {
    let mut new = match entries_of(issuer, metadata, jwks) {
        Ok(new) => new,
        Err(why) => return Ok(Err(why)),
    };
    let mut writes = Vec::new();
    for (kid, row) in rows.rows(JWT_KEYS)? {
        let Some(before) = Entry::list(&row) else { return Ok(Err(unreadable(&kid))) };
        let added = std::str::from_utf8(&kid).ok().and_then(|kid| new.remove(kid));
        let mut after = before.clone();
        match (added, after.iter().position(|entry| entry.issuer == issuer)) {
            (Some(entry), Some(at)) => after[at] = entry,
            (Some(entry), None) => after.push(entry),
            (None, _) => after.retain(|entry| entry.issuer != issuer),
        }
        // What is there already is not written again.
        if after != before {
            writes.push((kid, after));
        }
    }
    writes.extend(new.into_iter().map(|(kid, entry)| (kid.into_bytes(), vec![entry])));
    write(rows, writes);
    Ok(Ok(()))
}

/// Removes all keys of `issuer`. The inner error is a row that is none; then nothing is written.
pub fn remove_jwt_keys(rows: &mut impl RowsMut, issuer: &str) -> Result<Result<(), String>, Fault> {
    let mut writes = Vec::new();
    for (kid, row) in rows.rows(JWT_KEYS)? {
        let Some(mut entries) = Entry::list(&row) else { return Ok(Err(unreadable(&kid))) };
        let before = entries.len();
        entries.retain(|entry| entry.issuer != issuer);
        if entries.len() != before {
            writes.push((kid, entries));
        }
    }
    write(rows, writes);
    Ok(Ok(()))
}

fn write(rows: &mut impl RowsMut, writes: Vec<(Vec<u8>, Vec<Entry>)>) {
    for (kid, entries) in writes {
        if entries.is_empty() {
            rows.remove(JWT_KEYS, &kid);
        } else {
            rows.put(JWT_KEYS, &kid, &serde_json::to_vec(&entries).expect("entries are JSON"));
        }
    }
}

fn unreadable(kid: &[u8]) -> String {
    format!("The row of JWT signing key {} cannot be read", String::from_utf8_lossy(kid))
}

fn entries_of(issuer: &str, metadata: &Value, jwks: &Value) -> Result<BTreeMap<String, Entry>, String> {
    if !metadata.is_object() {
        return Err("JWT issuer metadata is not an object".into());
    }
    let keys = jwks.get("keys").and_then(Value::as_array).ok_or("JWKS has no array of keys")?;
    if keys.is_empty() {
        return Err("JWKS has no keys".into());
    }
    let mut entries = BTreeMap::new();
    for jwk in keys {
        let kid = text(jwk, "kid")?.ok_or("Missing kid for JWT signing key")?;
        let constraint = text(jwk, "issuer")?;
        if let Some(constraint) = constraint.filter(|constraint| !issuer::may_constrain(issuer, constraint)) {
            return Err(format!("JWKS kid {kid} with issuer constraint {constraint} fails validation against issuer {issuer}"));
        }
        let entry = Entry {
            cert: None,
            constraint: constraint.map(str::to_owned),
            issuer: issuer.to_owned(),
            public_key: Some(STANDARD.encode(spki_of(kid, jwk)?)),
        };
        entries.entry(kid.to_owned()).or_insert(entry);
    }
    Ok(entries)
}

/// The `SubjectPublicKeyInfo` of a JWK: of `n` and `e`, else of `x` and `y`, else of the first certificate in `x5c`.
fn spki_of(kid: &str, jwk: &Value) -> Result<Vec<u8>, String> {
    if let (Some(n), Some(e)) = (number(kid, jwk, "n")?, number(kid, jwk, "e")?) {
        return rsa_spki(&n, &e).ok_or_else(|| format!("JWKS kid {kid} has an invalid RSA public key"));
    }
    if let (Some(crv), Some(x), Some(y)) = (text(jwk, "crv")?, number(kid, jwk, "x")?, number(kid, jwk, "y")?) {
        return ec_spki(crv, &x, &y).ok_or_else(|| format!("JWKS kid {kid} has an invalid EC public key"));
    }
    let Some(chain) = jwk.get("x5c") else {
        return Err(format!("JWKS kid {kid} has neither RSA/EC public key or x5c"));
    };
    let first = chain.get(0).and_then(Value::as_str).ok_or_else(|| format!("JWKS kid {kid} has no certificate in x5c"))?;
    let der = STANDARD.decode(first).map_err(|error| format!("Could not parse x5c of key id {kid}: {error}"))?;
    cert::spki_of(&der).ok_or_else(|| format!("JWKS kid {kid} has an invalid X.509 certificate"))
}

fn text<'a>(jwk: &'a Value, name: &str) -> Result<Option<&'a str>, String> {
    match jwk.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(format!("{name} of a JWK is not a string")),
    }
}

fn number(kid: &str, jwk: &Value, name: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(text) = text(jwk, name)?.filter(|text| !text.is_empty()) else { return Ok(None) };
    BASE64URL.decode(text).map(Some).map_err(|_| format!("JWKS kid {kid}: {name} is not base64url"))
}

/// `rsaEncryption` with its parameters, NULL.
const RSA_ALGORITHM: &[u8] = &[0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
/// `id-ecPublicKey`.
const EC_OID: &[u8] = &[0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
const P256_OID: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384_OID: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
const P521_OID: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23];

/// How long a modulus may be, in bytes: what `RS256` verifies with.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 2_048 / 8..=8_192 / 8;

fn rsa_spki(n: &[u8], e: &[u8]) -> Option<Vec<u8>> {
    let n = &n[n.iter().position(|byte| *byte != 0)?..];
    if !MODULUS_BYTES.contains(&n.len()) {
        return None;
    }
    let key = der(0x30, &[&unsigned(n)?, &unsigned(e)?]);
    let spki = der(0x30, &[RSA_ALGORITHM, &der(0x03, &[&[0], &key])]);
    // A key that nothing verifies with is refused here, by those who vote, and not at the first token.
    super::key::PublicKey::from_spki(&spki).map(|_| spki)
}

fn ec_spki(crv: &str, x: &[u8], y: &[u8]) -> Option<Vec<u8>> {
    let (curve, size) = match crv {
        "P-256" => (P256_OID, 32),
        "P-384" => (P384_OID, 48),
        "P-521" => (P521_OID, 66),
        _ => return None,
    };
    if x.len() != size || y.len() != size {
        return None;
    }
    let spki = der(0x30, &[&der(0x30, &[EC_OID, curve]), &der(0x03, &[&[0, 4], x, y])]);
    super::key::PublicKey::from_spki(&spki).map(|_| spki)
}

/// A DER INTEGER of big-endian bytes.
fn unsigned(bytes: &[u8]) -> Option<Vec<u8>> {
    let first = bytes.iter().position(|byte| *byte != 0)?;
    let sign: &[u8] = if bytes[first] >= 0x80 { &[0] } else { &[] };
    Some(der(0x02, &[sign, &bytes[first..]]))
}

/// A DER element with the parts as its content.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut out = vec![tag];
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let length = long.to_be_bytes();
            let length = &length[length.iter().position(|byte| *byte != 0).unwrap_or(0)..];
            out.push(0x80 | length.len() as u8);
            out.extend_from_slice(length);
        }
    }
    out.extend_from_slice(&content);
    out
}
