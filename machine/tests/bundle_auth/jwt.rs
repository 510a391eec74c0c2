//! Bearer tokens and the keys that sign them.

use super::{NOW_S, Tables, ask, broken, caller, data, reasons, refused, request};
use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use machine::bundle::{
    auth::{jwt_keys_of, remove_jwt_keys, set_jwt_keys},
    request::Request,
    store::{Rows, RowsMut},
};
use serde_json::{Value, json};

pub(super) const TABLE: &str = "public:ccf.gov.jwt.public_signing_keys_metadata_v2";
const ISSUER: &str = "https://issuer.example/";

pub(super) fn bearer(token: &str) -> Request {
    authorization(&format!("Bearer {token}"))
}

fn authorization(value: &str) -> Request {
    Request { headers: vec![("authorization".into(), value.into())], ..request() }
}

pub(super) fn publish(rows: &mut Tables, kid: &str, spki: &[u8], issuer: &str, constraint: Option<&str>) {
    let mut entry = json!({"public_key": STANDARD.encode(spki), "issuer": issuer});
    if let Some(constraint) = constraint {
        entry["constraint"] = constraint.into();
    }
    rows.put(TABLE, kid.as_bytes(), json!([entry]).to_string().as_bytes());
}

fn known() -> Tables {
    let mut rows = Tables::default();
    publish(&mut rows, "kid-rsa", data!("rsa.spki.der"), ISSUER, None);
    publish(&mut rows, "kid-ec", data!("ec.spki.der"), ISSUER, None);
    rows
}

fn unsigned(header: &str, payload: &str) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

fn join(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// A token signed with the RSA key, whatever its header says.
fn rsa(header: &str, payload: &str) -> String {
    let key = RsaKeyPair::from_pkcs8(pem::parse(data!("rsa.key.pem")).unwrap().contents()).unwrap();
    let (signed, mut signature) = (unsigned(header, payload), vec![0; key.public_modulus_len()]);
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    join(&signed, &signature)
}

fn ec(header: &str, payload: &str) -> String {
    let key = pem::parse(data!("ec.key.pem")).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, key.contents()).unwrap();
    let signed = unsigned(header, payload);
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    join(&signed, signature.as_ref())
}

const RSA: &str = r#"{"alg":"RS256","kid":"kid-rsa"}"#;
const EC: &str = r#"{"alg":"ES256","kid":"kid-ec"}"#;

fn claims(extra: Value) -> String {
    let mut claims = json!({"iss": ISSUER, "exp": NOW_S + 60});
    for (name, value) in extra.as_object().unwrap() {
        claims[name] = value.clone();
    }
    claims.to_string()
}

fn why(token: &str, rows: &Tables) -> String {
    let reasons = refused(json!(["jwt"]), &bearer(token), rows);
    reasons[0].strip_prefix("jwt ").unwrap().to_owned()
}

#[test]
fn tokens_signed_by_openssl() {
    for (token, alg) in [(data!("rsa.jwt"), "RS256"), (data!("ec.jwt"), "ES256")] {
        let kid = if alg == "RS256" { "kid-rsa" } else { "kid-ec" };
        let expected = json!({"policy": "jwt", "jwt": {
            "keyIssuer": ISSUER,
            "header": {"alg": alg, "typ": "JWT", "kid": kid},
            "payload": {"iss": ISSUER, "exp": 4_102_444_800u64, "sub": "zoë", "roles": ["b", "a"], "n": 1.5},
        }});
        assert_eq!(caller(json!(["jwt"]), &bearer(std::str::from_utf8(token).unwrap()), &known()), expected);
    }
    // The members of header and payload come in the order of their names.
    let text = ask(json!(["jwt"]), &bearer(std::str::from_utf8(data!("ec.jwt")).unwrap()), &known()).unwrap().caller;
    let header =
        r#"{"policy":"jwt","jwt":{"keyIssuer":"https://issuer.example/","header":{"alg":"ES256","kid":"kid-ec","typ":"JWT"}"#;
    assert!(text.starts_with(header), "{text}");
}

#[test]
fn headers_that_hold_no_token() {
    let rows = known();
    let why = |value: &str| refused(json!(["jwt"]), &authorization(value), &rows);
    assert_eq!(refused(json!(["jwt"]), &request(), &rows), ["jwt Missing authorization header"]);
    for value in ["", "Bearer", "abc"] {
        assert_eq!(why(value), ["jwt Authorization header only contains one field"]);
    }
    for value in ["Basic abc", "bearer a.b.c", " Bearer a.b.c"] {
        assert_eq!(why(value), ["jwt Authorization header does not have Bearer scheme"]);
    }
    for value in ["Bearer ", "Bearer a.b", "Bearer a.b.c.d", "Bearer a.b.c.d.e"] {
        assert_eq!(why(value), ["jwt Malformed JWT: must contain exactly 3 parts"]);
    }
    assert_eq!(why("Bearer !.e30.e30"), ["jwt Malformed JWT: the header is not base64url"]);
    assert_eq!(why("Bearer e30.+.e30"), ["jwt Malformed JWT: the payload is not base64url"]);
    assert_eq!(why("Bearer e30.e30.="), ["jwt Malformed JWT: the signature is not base64url"]);
    assert_eq!(why("Bearer W10.e30."), ["jwt JWT header or payload is not an object"]);
    assert!(why("Bearer e30.e2.")[0].starts_with("jwt Malformed JWT: the payload is not base64url"));
    assert!(why("Bearer e30.ew.")[0].starts_with("jwt JWT header or payload is not valid JSON: "));
    // Deeper than any parser should go.
    let deep = unsigned(RSA, &"[".repeat(100_000));
    assert!(why(&format!("Bearer {deep}."))[0].starts_with("jwt JWT header or payload is not valid JSON: "));
}

#[test]
fn required_fields() {
    let rows = known();
    let schema = |header: &str| why(&rsa(header, &claims(json!({}))), &rows);
    let prefix = "JWT header does not follow schema: ";
    assert_eq!(schema("{}"), format!("{prefix}Missing required field 'alg'"));
    assert_eq!(schema(r#"{"alg":"RS256"}"#), format!("{prefix}Missing required field 'kid'"));
    assert_eq!(schema(r#"{"alg":"RS256","kid":1}"#), format!("{prefix}kid is not a string"));
    for alg in ["none", "None", "HS256", "PS256", "ES384", "rs256", ""] {
        let header = format!(r#"{{"alg":"{alg}","kid":"kid-rsa"}}"#);
        assert_eq!(schema(&header), format!("{prefix}alg \"{alg}\" is not one of RS256, ES256"));
    }
    let missing = |payload: &str| why(&rsa(RSA, payload), &rows);
    let prefix = "JWT payload is missing required field: ";
    assert_eq!(missing(r#"{"iss":"a"}"#), format!("{prefix}exp"));
    assert_eq!(missing(r#"{"exp":1}"#), format!("{prefix}iss"));
    assert_eq!(missing(r#"{"exp":"1","iss":"a"}"#), format!("{prefix}exp is not a number"));
    assert_eq!(missing(r#"{"exp":1,"iss":2}"#), format!("{prefix}iss is not a string"));
    assert_eq!(missing(r#"{"exp":1,"iss":"a","nbf":null}"#), format!("{prefix}nbf is not a number"));
}

#[test]
fn time() {
    let rows = known();
    let now = NOW_S;
    for (claim, ok) in [
        (json!({"exp": now}), true),
        (json!({"exp": now - 1}), false),
        (json!({"exp": now as f64 - 0.5}), false),
        (json!({"exp": 1e300}), true),
        (json!({"exp": -5}), false),
        (json!({"exp": -5.5}), false),
        (json!({"nbf": now}), true),
        (json!({"nbf": now + 1}), false),
        (json!({"nbf": now as f64 + 0.5}), true),
        (json!({"nbf": u64::MAX}), false),
        (json!({"nbf": -1}), true),
    ] {
        let token = ec(EC, &claims(claim.clone()));
        assert_eq!(ask(json!(["jwt"]), &bearer(&token), &rows).is_ok(), ok, "{claim}");
    }
    let expired = why(&rsa(RSA, &claims(json!({"exp": now - 60}))), &rows);
    assert_eq!(expired, format!("Current time {now} is after token's Expiration Time (exp) claim {}", now - 60));
    let early = why(&rsa(RSA, &claims(json!({"nbf": now + 60, "exp": 1}))), &rows);
    assert_eq!(early, format!("Current time {now} is before token's Not Before (nbf) claim {}", now + 60));
}

#[test]
fn forged_tokens() {
    let rows = known();
    let payload = claims(json!({}));
    assert_eq!(why(&rsa(r#"{"alg":"RS256","kid":"nobody's"}"#, &payload), &rows), "JWT signing key not found for kid nobody's");
    let failed = "Signature verification failed";
    let good = rsa(RSA, &payload);
    ask(json!(["jwt"]), &bearer(&good), &rows).unwrap();
    // Another payload, no signature, another key's signature.
    let (signed, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(why(&format!("{}.{signature}", unsigned(RSA, &claims(json!({"sub": "root"})))), &rows), failed);
    assert_eq!(why(&format!("{signed}."), &rows), failed);
    assert_eq!(why(&rsa(r#"{"alg":"RS256","kid":"kid-ec"}"#, &payload), &rows), failed);
    assert_eq!(why(&ec(r#"{"alg":"ES256","kid":"kid-rsa"}"#, &payload), &rows), failed);
    // Right key and signature, but the header names the other algorithm.
    assert_eq!(why(&rsa(r#"{"alg":"ES256","kid":"kid-rsa"}"#, &payload), &rows), failed);
    assert_eq!(why(&ec(r#"{"alg":"RS256","kid":"kid-ec"}"#, &payload), &rows), failed);
    // The public key as a shared secret, in the two forms in which it is lying about.
    let pem = pem::encode(&pem::Pem::new("PUBLIC KEY", data!("rsa.spki.der")));
    for secret in [data!("rsa.spki.der"), pem.as_bytes()] {
        for alg in ["HS256", "RS256"] {
            let signed = unsigned(&format!(r#"{{"alg":"{alg}","kid":"kid-rsa"}}"#), &payload);
            let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
            let reason = why(&join(&signed, tag.as_ref()), &rows);
            assert!(reason == failed || reason.ends_with("alg \"HS256\" is not one of RS256, ES256"), "{reason}");
        }
    }
    // An ECDSA signature of zeros, and one in DER.
    let signed = unsigned(EC, &payload);
    assert_eq!(why(&join(&signed, &[0; 64]), &rows), failed);
    assert_eq!(why(&join(&signed, &[0x30, 6, 2, 1, 1, 2, 1, 1]), &rows), failed);
}

#[test]
fn names_that_stand_twice() {
    let rows = known();
    // The last one counts, for the check and for the app alike.
    let payload = format!(r#"{{"iss":"{ISSUER}","exp":1,"sub":"a","exp":{},"sub":"b"}}"#, NOW_S + 9);
    let caller = caller(json!(["jwt"]), &bearer(&ec(EC, &payload)), &rows);
    assert_eq!(caller["jwt"]["payload"], json!({"iss": ISSUER, "exp": NOW_S + 9, "sub": "b"}));
    let payload = format!(r#"{{"iss":"{ISSUER}","exp":{},"exp":1}}"#, NOW_S + 9);
    assert!(why(&ec(EC, &payload), &rows).contains("(exp) claim 1"));
    assert!(why(&ec(r#"{"alg":"ES256","kid":"kid-ec","alg":"none"}"#, &claims(json!({}))), &rows).contains("\"none\""));
}

#[test]
fn constraints() {
    let mut rows = Tables::default();
    let entra = "https://login.microsoftonline.com/{tenantid}/v2.0";
    publish(&mut rows, "kid-ec", data!("ec.spki.der"), "https://login.microsoftonline.com/common", Some(entra));
    let iss = "https://login.microsoftonline.com/t1/v2.0";
    let token = ec(EC, &claims(json!({"iss": iss, "tid": "t1"})));
    let key_issuer = &caller(json!(["jwt"]), &bearer(&token), &rows)["jwt"]["keyIssuer"];
    assert_eq!(key_issuer, "https://login.microsoftonline.com/common");
    for extra in [json!({"iss": iss, "tid": "t2"}), json!({"iss": iss}), json!({})] {
        let reason = why(&ec(EC, &claims(extra)), &rows);
        assert_eq!(reason, format!("Kid kid-ec failed issuer constraint validation {entra}"));
    }
    assert!(why(&ec(EC, &claims(json!({"iss": iss, "tid": 1}))), &rows).ends_with("tid is not a string"));
    publish(&mut rows, "kid-ec", data!("ec.spki.der"), ISSUER, Some(ISSUER));
    ask(json!(["jwt"]), &bearer(&ec(EC, &claims(json!({})))), &rows).unwrap();
    why(&ec(EC, &claims(json!({"iss": "https://elsewhere.example/"}))), &rows);
}

#[test]
fn several_keys_of_one_kid() {
    let mut rows = Tables::default();
    let b64 = |bytes: &[u8]| STANDARD.encode(bytes);
    let cert = b64(pem::parse(data!("rsa.cert.pem")).unwrap().contents());
    let list = json!([
        {"issuer": "https://a.example", "public_key": b64(data!("rsa2.spki.der"))},
        {"issuer": "https://b.example", "public_key": "!"},
        {"issuer": "https://c.example"},
        {"issuer": "https://d.example", "public_key": b64(data!("rsa.spki.der")), "constraint": "https://d.example"},
        {"issuer": "https://e.example", "cert": cert},
    ]);
    rows.put(TABLE, b"kid-rsa", list.to_string().as_bytes());
    let token = rsa(RSA, &claims(json!({})));
    assert_eq!(caller(json!(["jwt"]), &bearer(&token), &rows)["jwt"]["keyIssuer"], "https://e.example");
    rows.put(TABLE, b"kid-rsa", json!(list.as_array().unwrap()[..4]).to_string().as_bytes());
    assert_eq!(why(&token, &rows), "Kid kid-rsa failed issuer constraint validation https://d.example");
    rows.put(TABLE, b"kid-rsa", b"[]");
    assert_eq!(why(&token, &rows), "JWT signing key not found for kid kid-rsa");
    rows.put(TABLE, b"kid-rsa", b"{");
    assert!(broken(json!(["jwt"]), &bearer(&token), &rows).contains("cannot be read"));
}

/// The JWK of a fixture's key, from its SubjectPublicKeyInfo: the last bytes of it are the numbers.
fn jwk(kid: &str, spki: &[u8]) -> Value {
    let url = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    if spki.len() == 91 {
        json!({"kid": kid, "kty": "EC", "crv": "P-256", "x": url(&spki[27..59]), "y": url(&spki[59..])})
    } else {
        assert_eq!((spki.len(), &spki[289..]), (294, [2, 3, 1, 0, 1].as_slice()));
        json!({"kid": kid, "kty": "RSA", "n": url(&spki[33..289]), "e": "AQAB"})
    }
}

#[test]
fn key_sets() {
    let x5c = STANDARD.encode(pem::parse(data!("rsa2.cert.pem")).unwrap().contents());
    // Of two keys with one kid the first counts.
    let keys = json!({"keys": [
        jwk("r", data!("rsa.spki.der")),
        jwk("e", data!("ec.spki.der")),
        {"kid": "x", "kty": "RSA", "x5c": [x5c], "issuer": "https://issuer.example/v2"},
        {"kid": "r", "x5c": [x5c]},
    ]});
    let made = jwt_keys_of(ISSUER, &json!({}), &keys).unwrap();
    let entry = |spki: &[u8]| json!({"issuer": ISSUER, "public_key": STANDARD.encode(spki)});
    let mut constrained = entry(data!("rsa2.spki.der"));
    constrained["constraint"] = "https://issuer.example/v2".into();
    let expected =
        [("e".into(), entry(data!("ec.spki.der"))), ("r".into(), entry(data!("rsa.spki.der"))), ("x".into(), constrained)];
    assert_eq!(made, expected);

    let refused = |keys: Value| jwt_keys_of(ISSUER, &json!({}), &keys).unwrap_err();
    assert_eq!(refused(json!({})), "JWKS has no array of keys");
    assert_eq!(refused(json!({"keys": []})), "JWKS has no keys");
    assert_eq!(refused(json!({"keys": [{}]})), "Missing kid for JWT signing key");
    assert_eq!(refused(json!({"keys": [{"kid": "k"}]})), "JWKS kid k has neither RSA/EC public key or x5c");
    assert_eq!(refused(json!({"keys": [{"kid": "k", "x5c": ["AAAA"]}]})), "JWKS kid k has an invalid X.509 certificate");
    assert!(refused(json!({"keys": [{"kid": "k", "x5c": ["!"]}]})).starts_with("Could not parse x5c of key id k: "));
    assert_eq!(refused(json!({"keys": [{"kid": "k", "n": "AQAB", "e": "AQAB"}]})), "JWKS kid k has an invalid RSA public key");
    let point = json!({"kid": "k", "crv": "P-256", "x": "AQAB", "y": "AQAB"});
    assert_eq!(refused(json!({"keys": [point]})), "JWKS kid k has an invalid EC public key");
    let mut elsewhere = jwk("k", data!("ec.spki.der"));
    elsewhere["issuer"] = "https://elsewhere.example".into();
    let text = "JWKS kid k with issuer constraint https://elsewhere.example fails validation against issuer";
    assert_eq!(refused(json!({"keys": [elsewhere]})), format!("{text} {ISSUER}"));
    assert!(jwt_keys_of(ISSUER, &json!(1), &keys).is_err());
}

#[test]
fn keys_are_set_and_removed() {
    let mut rows = Tables::default();
    let set = |rows: &mut Tables, issuer: &str, keys: Vec<Value>| {
        set_jwt_keys(rows, issuer, &json!({}), &json!({"keys": keys})).unwrap().unwrap();
    };
    let row = |rows: &Tables, kid: &str| rows.get(TABLE, kid.as_bytes()).unwrap().map(|row| String::from_utf8(row).unwrap());
    let text = |issuer: &str, spki: &[u8]| format!(r#"{{"issuer":"{issuer}","public_key":"{}"}}"#, STANDARD.encode(spki));
    let (r, r2, e) = (data!("rsa.spki.der"), data!("rsa2.spki.der"), data!("ec.spki.der"));
    let (a, b) = ("https://a.example", "https://b.example");

    set(&mut rows, a, vec![jwk("kid-rsa", r), jwk("kid-ec", e)]);
    assert_eq!(row(&rows, "kid-rsa").unwrap(), format!("[{}]", text(a, r)));
    set(&mut rows, b, vec![jwk("kid-rsa", r2)]);
    assert_eq!(row(&rows, "kid-rsa").unwrap(), format!("[{},{}]", text(a, r), text(b, r2)));
    assert_eq!(caller(json!(["jwt"]), &bearer(&rsa(RSA, &claims(json!({})))), &rows)["jwt"]["keyIssuer"], a);
    assert_eq!(caller(json!(["jwt"]), &bearer(&ec(EC, &claims(json!({})))), &rows)["jwt"]["keyIssuer"], a);
    // A key goes, another comes in place; the other issuer's stays.
    set(&mut rows, a, vec![jwk("kid-rsa", e)]);
    assert_eq!(row(&rows, "kid-rsa").unwrap(), format!("[{},{}]", text(a, e), text(b, r2)));
    assert_eq!(row(&rows, "kid-ec"), None);
    // What is wrong writes nothing.
    let before = rows.clone().0;
    assert!(set_jwt_keys(&mut rows, a, &json!({}), &json!({"keys": [jwk("n", r), {"kid": "k"}]})).unwrap().is_err());
    assert_eq!(rows.0, before);
    remove_jwt_keys(&mut rows, a).unwrap().unwrap();
    assert_eq!(row(&rows, "kid-rsa").unwrap(), format!("[{}]", text(b, r2)));
    remove_jwt_keys(&mut rows, b).unwrap().unwrap();
    assert!(rows.rows(TABLE).unwrap().is_empty());
    let denied = ask(json!(["jwt"]), &bearer(&rsa(RSA, &claims(json!({})))), &rows).unwrap_err();
    assert_eq!(reasons(&denied), ["jwt JWT signing key not found for kid kid-rsa"]);
}
