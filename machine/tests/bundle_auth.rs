//! Who calls: policies, certificates, tokens and signed requests, with keys and messages that others' tools have made
//! (`bundle_auth/data/make.py`).

#![allow(clippy::unwrap_used)]

use base64::{Engine, engine::general_purpose::STANDARD};
use machine::{
    Fault,
    bundle::{
        auth::{Cache, Denied, Grant, Policy, authenticate},
        request::Request,
        store::{Rows, RowsMut},
    },
};
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[path = "bundle_auth/cose.rs"]
mod cose;
#[path = "bundle_auth/garbage.rs"]
mod garbage;
#[path = "bundle_auth/jwt.rs"]
mod jwt;

macro_rules! data {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/bundle_auth/data/", $name)).as_slice()
    };
}
pub(crate) use data;

/// 2027-01-15 08:00:00.
const NOW_S: u64 = 1_800_000_000;

/// Rows in memory.
#[derive(Default, Clone)]
struct Tables(BTreeMap<(String, Vec<u8>), Vec<u8>>);

impl Rows for Tables {
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.0.get(&(map.to_owned(), key.to_vec())).cloned())
    }
    fn rows(&self, map: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Fault> {
        Ok(self.0.iter().filter(|((name, _), _)| name == map).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }
}

impl RowsMut for Tables {
    fn put(&mut self, map: &str, key: &[u8], value: &[u8]) {
        self.0.insert((map.to_owned(), key.to_vec()), value.to_vec());
    }
    fn remove(&mut self, map: &str, key: &[u8]) {
        self.0.remove(&(map.to_owned(), key.to_vec()));
    }
}

impl Tables {
    fn user(&mut self, cert: &[u8], info: Option<Value>) -> String {
        self.person("public:ccf.gov.users", cert, info)
    }

    fn member(&mut self, cert: &[u8], info: Option<Value>) -> String {
        self.person("public:ccf.gov.members", cert, info)
    }

    fn person(&mut self, table: &str, cert: &[u8], info: Option<Value>) -> String {
        let id = id_of(cert);
        self.put(&format!("{table}.certs"), id.as_bytes(), cert);
        if let Some(info) = info {
            self.put(&format!("{table}.info"), id.as_bytes(), info.to_string().as_bytes());
        }
        id
    }
}

fn der(pem: &[u8]) -> Vec<u8> {
    pem::parse(pem).unwrap().into_contents()
}

fn id_of(cert: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der(cert));
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn request() -> Request {
    Request { method: "GET".into(), target: "/app/x".into(), time_ms: NOW_S * 1_000 + 999, ..Request::default() }
}

fn with_cert(pem: &[u8]) -> Request {
    Request { certificate: Some(der(pem)), ..request() }
}

fn policies(value: Value) -> Vec<Policy> {
    serde_json::from_value(value).unwrap()
}

/// Asks twice with one cache and once with none: it must change nothing.
fn ask(names: Value, request: &Request, rows: &Tables) -> Result<Grant, Denied> {
    let (policies, mut cache) = (policies(names), Cache::new());
    let first = authenticate(&policies, request, rows, &mut cache).unwrap();
    assert_eq!(authenticate(&policies, request, rows, &mut cache).unwrap(), first);
    assert_eq!(authenticate(&policies, request, rows, &mut Cache::new()).unwrap(), first);
    first
}

fn caller(names: Value, request: &Request, rows: &Tables) -> Value {
    serde_json::from_str(&ask(names, request, rows).unwrap().caller).unwrap()
}

/// The reasons of a 401, as the client gets them.
fn reasons(denied: &Denied) -> Vec<String> {
    let response = denied.response();
    assert_eq!(response.status, 401);
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["error"]["code"], "InvalidAuthenticationInfo");
    assert_eq!(body["error"]["message"], "Invalid authentication credentials.");
    let details = body["error"]["details"].as_array().unwrap();
    details
        .iter()
        .map(|detail| {
            assert_eq!(detail["code"], "InvalidAuthenticationInfo");
            format!("{} {}", detail["auth_policy"].as_str().unwrap(), detail["message"].as_str().unwrap())
        })
        .collect()
}

fn refused(names: Value, request: &Request, rows: &Tables) -> Vec<String> {
    reasons(&ask(names, request, rows).unwrap_err())
}

/// The text of a 500.
fn broken(names: Value, request: &Request, rows: &Tables) -> String {
    let response = ask(names, request, rows).unwrap_err().response();
    assert_eq!(response.status, 500);
    let body: Value = serde_json::from_slice(&response.body).unwrap();
    assert_eq!(body["error"]["code"], "InternalError");
    body["error"]["message"].as_str().unwrap().to_owned()
}

fn challenge(denied: &Denied) -> Option<String> {
    denied.response().headers.into_iter().find(|(name, _)| name == "www-authenticate").map(|(_, value)| value)
}

#[test]
fn no_policies_and_no_auth() {
    let rows = Tables::default();
    assert_eq!(ask(json!([]), &request(), &rows).unwrap(), Grant { caller: "null".into(), content: None, id: None });
    assert_eq!(caller(json!(["no_auth"]), &request(), &rows), json!({"policy": "no_auth"}));
    assert_eq!(caller(json!(["user_cert", "no_auth"]), &request(), &rows), json!({"policy": "no_auth"}));
}

#[test]
fn policies_that_are_none() {
    let rows = Tables::default();
    for names in [json!(["no_auth", "member_cose_sign1"]), json!([{"all_of": ["no_auth", "member_cose_sign1"]}])] {
        assert_eq!(broken(names, &request(), &rows), "Unknown auth policy: member_cose_sign1");
    }
    assert!(broken(json!([{"all_of": ["jwt", "jwt"]}]), &request(), &rows).contains("more than once"));
    for value in [json!(1), json!({"all_of": []}), json!({"all_of": ["jwt", 1]}), json!({"any_of": ["jwt"]}), json!(null)] {
        let error = serde_json::from_value::<Policy>(value.clone()).unwrap_err().to_string();
        assert!(error.starts_with("Unsupported auth policy. Policies must be either a string, or an object"), "{error}");
        assert!(error.ends_with(&format!("Unsupported value: {value}")), "{error}");
    }
    let read = policies(json!(["jwt", {"all_of": ["user_cert", "jwt"]}]));
    assert_eq!(read, [Policy::Named("jwt".into()), Policy::AllOf(vec!["user_cert".into(), "jwt".into()])]);
    assert_eq!(serde_json::to_value(&read).unwrap(), json!(["jwt", {"all_of": ["user_cert", "jwt"]}]));
}

#[test]
fn user_certificates() {
    let mut rows = Tables::default();
    let cert = data!("user.cert.pem");
    let known = with_cert(cert);
    assert_eq!(refused(json!(["user_cert"]), &request(), &rows), ["user_cert No caller user certificate"]);
    assert_eq!(refused(json!(["user_cert"]), &known, &rows), ["user_cert Could not find matching user certificate"]);

    let id = rows.user(cert, Some(json!({"user_data": {"b": 1, "a": [true, null]}})));
    let grant = ask(json!(["user_cert"]), &known, &rows).unwrap();
    let pem = serde_json::to_string(std::str::from_utf8(cert).unwrap()).unwrap();
    let text = format!("{{\"policy\":\"user_cert\",\"id\":\"{id}\",\"data\":{{\"a\":[true,null],\"b\":1}},\"cert\":{pem}}}");
    assert_eq!(grant, Grant { caller: text, content: None, id: Some(id.clone()) });

    for info in [None, Some(json!({})), Some(json!({"user_data": null}))] {
        let mut rows = Tables::default();
        rows.user(cert, info);
        assert_eq!(caller(json!(["user_cert"]), &known, &rows)["data"], Value::Null);
    }
    rows.put("public:ccf.gov.users.info", id.as_bytes(), b"{");
    assert_eq!(broken(json!(["user_cert"]), &known, &rows), format!("Failed to get data for caller {id}"));
}

#[test]
fn validity_of_certificates() {
    let mut rows = Tables::default();
    for cert in [data!("past.cert.pem"), data!("future.cert.pem"), data!("long.cert.pem")] {
        rows.user(cert, None);
        rows.member(cert, None);
    }
    for policy in ["user_cert", "any_cert"] {
        let reason = format!("{policy} Current time 1800000000 is after certificate's Not After validity period 1009843200");
        assert_eq!(refused(json!([policy]), &with_cert(data!("past.cert.pem")), &rows), [reason]);
        let reason = format!("{policy} Current time 1800000000 is before certificate's Not Before validity period 9223372800");
        assert_eq!(refused(json!([policy]), &with_cert(data!("future.cert.pem")), &rows), [reason]);
        caller(json!([policy]), &with_cert(data!("long.cert.pem")), &rows);
    }
    // Both ends are inside.
    for (time_s, inside) in [(978_307_199, false), (978_307_200, true), (1_009_843_200, true), (1_009_843_201, false)] {
        let request = Request { time_ms: time_s * 1_000, ..with_cert(data!("past.cert.pem")) };
        assert_eq!(ask(json!(["any_cert"]), &request, &rows).is_ok(), inside, "{time_s}");
    }
    caller(json!(["member_cert"]), &with_cert(data!("past.cert.pem")), &rows);
    caller(json!(["any_cert"]), &Request { time_ms: 0, ..with_cert(data!("long.cert.pem")) }, &rows);
    ask(json!(["any_cert"]), &Request { time_ms: u64::MAX, ..with_cert(data!("long.cert.pem")) }, &rows).unwrap_err();
}

#[test]
fn member_certificates() {
    let mut rows = Tables::default();
    let cert = data!("member.cert.pem");
    assert_eq!(refused(json!(["member_cert"]), &request(), &rows), ["member_cert No caller member certificate"]);
    let known = with_cert(cert);
    assert_eq!(refused(json!(["member_cert"]), &known, &rows), ["member_cert Could not find matching member certificate"]);
    let id = rows.member(cert, Some(json!({"status": "Accepted", "member_data": "d"})));
    let expected = json!({"policy": "member_cert", "id": id, "data": "d", "cert": std::str::from_utf8(cert).unwrap()});
    assert_eq!(caller(json!(["member_cert"]), &known, &rows), expected);
    // A member is no user.
    assert_eq!(refused(json!(["user_cert"]), &known, &rows), ["user_cert Could not find matching user certificate"]);
}

#[test]
fn any_certificate() {
    let rows = Tables::default();
    let cert = data!("other.cert.pem");
    assert_eq!(refused(json!(["any_cert"]), &request(), &rows), ["any_cert No caller certificate"]);
    // The same bytes as openssl's.
    let expected = json!({"policy": "any_cert", "cert": std::str::from_utf8(cert).unwrap()});
    assert_eq!(caller(json!(["any_cert"]), &with_cert(cert), &rows), expected);
    assert_eq!(ask(json!(["any_cert"]), &with_cert(cert), &rows).unwrap().id, None);
    let longer = Request { certificate: Some([der(cert), vec![0]].concat()), ..request() };
    assert_eq!(broken(json!(["any_cert"]), &longer, &rows), "Failed to parse the caller's certificate");
    // A certificate's PEM in the table is not a certificate in DER, also when the cache has seen it.
    let mut rows = Tables::default();
    rows.user(data!("user.cert.pem"), None);
    let mut cache = Cache::new();
    let signed = cose::signed(data!("user.cose"));
    authenticate(&policies(json!(["user_cose_sign1"])), &signed, &rows, &mut cache).unwrap().unwrap();
    let text = Request { certificate: Some(data!("user.cert.pem").to_vec()), ..request() };
    authenticate(&policies(json!(["any_cert"])), &text, &rows, &mut cache).unwrap().unwrap_err();
}

#[test]
fn several_policies() {
    let mut rows = Tables::default();
    let both = ask(json!(["user_cert", "jwt"]), &request(), &rows).unwrap_err();
    assert_eq!(reasons(&both), ["user_cert No caller user certificate", "jwt Missing authorization header"]);
    let bearer = "Bearer realm=\"JWT bearer token access\", error=\"invalid_token\"";
    assert_eq!(challenge(&both).as_deref(), Some(bearer));
    assert_eq!(challenge(&ask(json!(["jwt", "user_cert"]), &request(), &rows).unwrap_err()), None);
    let signed = ask(json!(["jwt", "user_cose_sign1"]), &request(), &rows).unwrap_err();
    assert_eq!(challenge(&signed).as_deref(), Some("COSE-SIGN1 realm=\"Signed request access\""));

    let all = json!([{"all_of": ["user_cose_sign1", "user_cert", "jwt"]}]);
    let name = "jwt+user_cert+user_cose_sign1";
    let denied = ask(all.clone(), &request(), &rows).unwrap_err();
    assert_eq!(reasons(&denied), [format!("{name} jwt:Missing authorization header")]);
    assert_eq!(challenge(&denied).as_deref(), Some(bearer));

    jwt::publish(&mut rows, "kid-rsa", data!("rsa.spki.der"), "https://issuer.example/", None);
    let id = rows.user(data!("user.cert.pem"), None);
    let mut request = jwt::bearer(std::str::from_utf8(data!("rsa.jwt")).unwrap());
    assert_eq!(refused(all.clone(), &request, &rows), [format!("{name} user_cert:No caller user certificate")]);
    request.certificate = Some(der(data!("user.cert.pem")));
    assert_eq!(refused(all.clone(), &request, &rows), [format!("{name} user_cose_sign1:Missing content-type header")]);
    request.headers.push(("content-type".into(), "application/cose".into()));
    request.body = data!("user.cose").to_vec();
    let grant = ask(all, &request, &rows).unwrap();
    assert_eq!(grant.content.as_deref(), Some(b"\x00\xffbody".as_slice()));
    assert_eq!(grant.id.as_ref(), Some(&id));
    let caller: Value = serde_json::from_str(&grant.caller).unwrap();
    assert_eq!(caller["policy"], json!(["jwt", "user_cert", "user_cose_sign1"]));
    assert_eq!(caller["jwt"]["policy"], "jwt");
    assert_eq!(caller["jwt"]["jwt"]["keyIssuer"], "https://issuer.example/");
    assert_eq!(caller["user_cert"]["id"], id.as_str());
    assert_eq!(caller["user_cose_sign1"]["cose"], json!({}));
    assert_eq!(caller.as_object().unwrap().len(), 4);
}

#[test]
fn a_cache_that_is_full_forgets_and_answers_the_same() {
    let mut rows = Tables::default();
    let (mut cache, policies) = (Cache::new(), policies(json!(["jwt"])));
    let token = jwt::bearer(std::str::from_utf8(data!("ec.jwt")).unwrap());
    // Each another key: a modulus need not be one for a key to be parsed.
    let entries: Vec<Value> = (0..1_500u32)
        .map(|n| {
            let mut key = data!("rsa.spki.der").to_vec();
            key[100..104].copy_from_slice(&n.to_be_bytes());
            json!({"issuer": n.to_string(), "public_key": STANDARD.encode(key)})
        })
        .chain([json!({"issuer": "right", "public_key": STANDARD.encode(data!("ec.spki.der"))})])
        .collect();
    rows.put(jwt::TABLE, b"kid-ec", json!(entries).to_string().as_bytes());
    for _ in 0..2 {
        let grant = authenticate(&policies, &token, &rows, &mut cache).unwrap().unwrap();
        assert!(grant.caller.contains("\"keyIssuer\":\"right\""));
    }
}
