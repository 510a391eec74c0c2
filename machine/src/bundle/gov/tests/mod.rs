//! Governance without JavaScript: the constitution's answers are given by the test.

mod books;
mod shortcut;

use super::Governing;
use crate::Fault;
use crate::bundle::auth::Cache;
use crate::bundle::request::{Request, Response};
use crate::bundle::store::{Row, Rows, RowsMut};
use crate::bundle::tables::*;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use coset::cbor::value::Value as Cbor;
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};
use sandbox::Failure;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Who signs.
pub struct Person {
    pub cert: &'static str,
    key: &'static str,
}

macro_rules! person {
    ($name:literal) => {
        Person {
            cert: include_str!(concat!("../../../../tests/bundle_gov/data/", $name, "_cert.pem")),
            key: include_str!(concat!("../../../../tests/bundle_gov/data/", $name, "_privk.pem")),
        }
    };
}

pub const MEMBERS: [Person; 3] = [person!("member0"), person!("member1"), person!("member2")];
pub const USER: Person = person!("user0");

impl Person {
    pub fn id(&self) -> String {
        let der = pem::parse(self.cert).unwrap();
        super::hex(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der.contents()).as_ref())
    }

    pub fn sign(&self, headers: &[(&str, Cbor)], payload: &[u8]) -> Vec<u8> {
        let key = pem::parse(self.key).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, key.contents()).unwrap();
        let mut header = HeaderBuilder::new().algorithm(iana::Algorithm::ES384).key_id(self.id().into_bytes());
        for (name, value) in headers {
            header = header.text_value((*name).into(), value.clone());
        }
        let sign = |bytes: &[u8]| key.sign(&SystemRandom::new(), bytes).unwrap().as_ref().to_vec();
        let message = CoseSign1Builder::new().protected(header.build()).payload(payload.to_vec());
        message.create_signature(&[], sign).build().to_tagged_vec().unwrap()
    }
}

/// Tables in memory, and a constitution whose answers are set.
pub struct Fake {
    pub tables: BTreeMap<String, BTreeMap<Vec<u8>, Vec<u8>>>,
    /// What `resolve` says to so many votes for and against.
    pub resolve: fn(usize, usize) -> &'static str,
    pub apply_throws: bool,
    /// What the constitution writes when it applies.
    pub applies: Option<(&'static str, &'static str, &'static str)>,
    pub app_fails: Option<&'static str>,
    pub applied: Vec<String>,
}

fn thrown(message: &str) -> Failure {
    Failure { name: "Error".into(), message: message.into(), stack: "    at apply".into() }
}

impl Rows for Fake {
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(self.tables.get(map).and_then(|rows| rows.get(key).cloned()))
    }

    fn rows(&self, map: &str) -> Result<Vec<Row>, Fault> {
        Ok(self.tables.get(map).into_iter().flatten().map(|(key, value)| (key.clone(), value.clone())).collect())
    }
}

impl RowsMut for Fake {
    fn put(&mut self, map: &str, key: &[u8], value: &[u8]) {
        self.tables.entry(map.into()).or_default().insert(key.to_vec(), value.to_vec());
    }

    fn remove(&mut self, map: &str, key: &[u8]) {
        self.tables.entry(map.into()).or_default().remove(key);
    }
}

impl Governing for Fake {
    fn clear(&mut self, map: &str) -> Result<(), Fault> {
        self.tables.remove(map);
        Ok(())
    }

    fn run(&mut self, kind: &str, _: &str, source: &str, export: &str, args: &str) -> Result<Result<String, Failure>, Fault> {
        let args: Value = serde_json::from_str(args).unwrap();
        assert_eq!(kind, if export == "apply" { "apply" } else { "gov" });
        Ok(match export {
            "vote" if source.contains("throw") => Err(thrown("no vote")),
            "vote" => Ok(source.contains("yes").to_string()),
            "validate" => match serde_json::from_str::<Value>(args[0].as_str().unwrap()) {
                Err(_) => Err(Failure { name: "SyntaxError".into(), message: "unexpected".into(), stack: "    at parse".into() }),
                Ok(text) if text["actions"].is_array() => Ok(json!({ "valid": true, "description": "" }).to_string()),
                Ok(_) => Ok(json!({ "valid": false, "description": "no actions" }).to_string()),
            },
            "resolve" => {
                let votes = args[2].as_array().unwrap();
                let for_it = votes.iter().filter(|vote| vote["vote"] == true).count();
                match (self.resolve)(for_it, votes.len() - for_it) {
                    "throw" => Err(thrown("no way")),
                    state => Ok(json!(state).to_string()),
                }
            }
            "apply" if self.apply_throws => Err(thrown("cannot")),
            "apply" => {
                self.applied.push(args[1].as_str().unwrap().into());
                if let Some((map, key, value)) = self.applies {
                    self.put(map, key.as_bytes(), value.as_bytes());
                }
                Ok("null".into())
            }
            other => panic!("{other} was called"),
        })
    }

    fn shape(&mut self, _: &str, source: &str, names: &[&str]) -> Result<Result<Value, Failure>, Fault> {
        if source.contains("broken") {
            return Ok(Err(thrown("unexpected token")));
        }
        // `validate/1 resolve/4 apply/2`
        let count = |name: &&str| {
            let count =
                source.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('/')?.parse::<u64>().ok());
            ((*name).to_owned(), json!(count))
        };
        Ok(Ok(Value::Object(names.iter().map(count).collect())))
    }

    fn try_out(&mut self, _: &Value) -> Result<Result<(), String>, Fault> {
        Ok(self.app_fails.map_or(Ok(()), |why| Err(why.into())))
    }

    fn root(&self) -> [u8; 32] {
        [7; 32]
    }

    fn view_seqno(&self) -> (u64, u64) {
        (2, 9)
    }
}

impl Fake {
    /// Three active members; proposals stay open.
    pub fn new() -> Fake {
        let mut fake = Fake {
            tables: BTreeMap::new(),
            resolve: |_, _| "Open",
            apply_throws: false,
            applies: None,
            app_fails: None,
            applied: Vec::new(),
        };
        fake.put(CONSTITUTION, SINGLETON, b"\"text\"");
        for member in &MEMBERS {
            fake.put(MEMBER_CERTS, member.id().as_bytes(), member.cert.as_bytes());
            fake.put(MEMBER_INFO, member.id().as_bytes(), br#"{"status":"Active","member_data":{"n":1}}"#);
        }
        fake.put(SERVICE_INFO, SINGLETON, json!({ "cert": USER.cert, "status": "Opening" }).to_string().as_bytes());
        fake
    }

    /// A request that writes; what is refused leaves nothing.
    pub fn send(&mut self, method: &str, target: &str, content_type: &str, body: Vec<u8>) -> Response {
        let request = Request {
            method: method.into(),
            target: target.into(),
            headers: vec![("content-type".into(), content_type.into())],
            body,
            ..Request::default()
        };
        let before = self.tables.clone();
        let response = super::handle(self, &request, &mut Cache::new()).unwrap();
        if !response.is_success() {
            self.tables = before;
        }
        response
    }

    /// A member's signed request.
    pub fn signed(&mut self, target: &str, who: usize, kind: &str, at: i64, proposal: Option<&str>, payload: &str) -> Response {
        let mut headers = vec![("ccf.gov.msg.type", Cbor::from(kind)), ("ccf.gov.msg.created_at", Cbor::from(at))];
        headers.extend(proposal.map(|id| ("ccf.gov.msg.proposal_id", Cbor::from(id))));
        let body = MEMBERS[who].sign(&headers, payload.as_bytes());
        self.send("POST", target, "application/cose", body)
    }

    pub fn look(&self, target: &str) -> Response {
        let request = Request { method: "GET".into(), target: target.into(), ..Request::default() };
        super::view(self, &request).unwrap()
    }
}

pub fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.body).unwrap_or_default()
}

/// Status and code of an error, or status and nothing.
pub fn code(response: &Response) -> (u16, String) {
    (response.status, body(response)["error"]["code"].as_str().unwrap_or_default().to_owned())
}

pub fn message(response: &Response) -> String {
    body(response)["error"]["message"].as_str().unwrap_or_default().to_owned()
}
