//! Bearer tokens: a JSON Web Token in the `authorization` header, signed with a key that the state has.
//!
//! `RS256` and `ES256` are known. The key decides which of them verifies, and the token's `alg` must agree: a token cannot
//! choose `none`, nor have an RSA key taken for a shared secret.

use super::{Cache, JWT_KEYS, Refusal, Verdict, caller::Identity, issuer, jwks::Entry, key::Algorithm};
use crate::bundle::{request::Request, store::Rows};
use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

/// Base64url, with or without padding.
pub(super) const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A token whose signature is still to be checked.
struct Token<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    header: Map<String, Value>,
    payload: Map<String, Value>,
    algorithm: Algorithm,
    kid: String,
    iss: String,
    tid: Option<String>,
    exp_s: u64,
    nbf_s: Option<u64>,
}

/// `jwt`.
pub(super) fn bearer(request: &Request, rows: &impl Rows, parsed: &mut Cache) -> Verdict<Identity> {
    let token = match extract(request) {
        Ok(token) => token,
        Err(reason) => return Refusal::reason(reason),
    };
    let kid = &token.kid;
    let entries = match rows.get(JWT_KEYS, kid.as_bytes())? {
        None => Vec::new(),
        Some(row) => match Entry::list(&row) {
            Some(entries) => entries,
            None => return Refusal::broken(format!("The row of JWT signing key {kid} cannot be read")),
        },
    };
    let now_s = request.time_ms / 1_000;
    // Two issuers may use one kid: the first entry that lets the token pass decides, else the last one's reason stands.
    let mut reason = format!("JWT signing key not found for kid {kid}");
    for entry in entries {
        if !entry.verifies(token.algorithm, token.signed.as_bytes(), &token.signature, parsed) {
            reason = "Signature verification failed".into();
            continue;
        }
        match token.check(now_s, &entry) {
            Err(why) => reason = why,
            Ok(()) => {
                let (header, payload) = (Value::Object(token.header), Value::Object(token.payload));
                return Ok(Ok(Identity::Token { issuer: entry.issuer, header, payload }));
            }
        }
    }
    Refusal::reason(reason)
}

impl Token<'_> {
    fn check(&self, now_s: u64, entry: &Entry) -> Result<(), String> {
        if let Some(nbf_s) = self.nbf_s.filter(|nbf_s| now_s < *nbf_s) {
            return Err(format!("Current time {now_s} is before token's Not Before (nbf) claim {nbf_s}"));
        }
        if now_s > self.exp_s {
            return Err(format!("Current time {now_s} is after token's Expiration Time (exp) claim {}", self.exp_s));
        }
        match &entry.constraint {
            Some(constraint) if !issuer::satisfies(constraint, &self.iss, self.tid.as_deref()) => {
                Err(format!("Kid {} failed issuer constraint validation {constraint}", self.kid))
            }
            _ => Ok(()),
        }
    }
}

fn extract(request: &Request) -> Result<Token<'_>, String> {
    let header = request.header("authorization").ok_or("Missing authorization header")?;
    let (scheme, token) = header.split_once(' ').ok_or("Authorization header only contains one field")?;
    if scheme != "Bearer" {
        return Err("Authorization header does not have Bearer scheme".into());
    }
    let parts: Vec<&str> = token.splitn(4, '.').collect();
    let &[header, payload, signature] = parts.as_slice() else {
        return Err("Malformed JWT: must contain exactly 3 parts".into());
    };
    let signed = &token[..header.len() + 1 + payload.len()];
    let decode =
        |part: &str, name: &str| BASE64URL.decode(part).map_err(|_| format!("Malformed JWT: the {name} is not base64url"));
    let (header, payload) = (decode(header, "header")?, decode(payload, "payload")?);
    let signature = decode(signature, "signature")?;
    let (header, payload) = (object(&header)?, object(&payload)?);

    let (algorithm, kid) = typed_header(&header).map_err(|why| format!("JWT header does not follow schema: {why}"))?;
    let claims = Claims { members: &payload };
    let missing = |why: String| format!("JWT payload is missing required field: {why}");
    let exp_s = claims.seconds("exp").map_err(missing)?.ok_or_else(|| missing("exp".into()))?;
    let iss = claims.text("iss").map_err(missing)?.ok_or_else(|| missing("iss".into()))?;
    let (nbf_s, tid) = (claims.seconds("nbf").map_err(missing)?, claims.text("tid").map_err(missing)?);
    Ok(Token { signed, signature, header, payload, algorithm, kid, iss, tid, exp_s, nbf_s })
}

/// Of a name that stands twice the last one counts, for the checks and for the app.
fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(members)) => Ok(members),
        Ok(_) => Err("JWT header or payload is not an object".into()),
        Err(error) => Err(format!("JWT header or payload is not valid JSON: {error}")),
    }
}

fn typed_header(header: &Map<String, Value>) -> Result<(Algorithm, String), String> {
    let algorithm = match header.get("alg") {
        None => return Err("Missing required field 'alg'".into()),
        Some(Value::String(name)) if name == "RS256" => Algorithm::Rs256,
        Some(Value::String(name)) if name == "ES256" => Algorithm::Es256,
        Some(other) => return Err(format!("alg {other} is not one of RS256, ES256")),
    };
    // What a token without it is signed with cannot be known.
    match header.get("kid") {
        None => Err("Missing required field 'kid'".into()),
        Some(Value::String(kid)) => Ok((algorithm, kid.clone())),
        Some(_) => Err("kid is not a string".into()),
    }
}

struct Claims<'a> {
    members: &'a Map<String, Value>,
}

impl Claims<'_> {
    fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("{name} is not a string")),
        }
    }

    /// A NumericDate. Fractions are cut off; what is before 1970 counts as 1970.
    fn seconds(&self, name: &str) -> Result<Option<u64>, String> {
        match self.members.get(name) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                let whole = number.as_u64().or_else(|| number.as_i64().map(|_| 0));
                // `as` goes to the nearest that there is.
                Ok(Some(whole.unwrap_or_else(|| number.as_f64().unwrap_or(0.0) as u64)))
            }
            Some(_) => Err(format!("{name} is not a number")),
        }
    }
}
