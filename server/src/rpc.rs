//! JSON-RPC 2.0 as NodeVMS speaks it: frames in, replies out, no I/O.
//!
//! | what comes | reply |
//! |---|---|
//! | not JSON | -32700 `Parse error` |
//! | `[]`, a wrong version, a method that is no string, params that are text or a number | -32600 `Invalid Request`, the reason in `data` |
//! | no method; params by name | -32602 `Invalid params` |
//! | an unknown method | -32601 `Method not found` |
//! | a method that throws | -32000, the error's name in `message`, its message in `data` |
//!
//! A request without `id` is a notification: it runs, and is not answered.
//!
//! Two members are ours, and no other server minds them. `auth` signs a call:
//!
//! ```text
//! {"backend":"64 hex","key":"64 hex","nonce":"16 hex.7","head":"2.17","root":"64 hex","signature":"base64"}
//! ```
//!
//! `"receipt":true` has the reply wait for a signature and bring the call's receipt. The reply to either has the members
//! `transaction`, `head` and, when it was asked for, `receipt`. A signed call is refused with -32001, the name of what is wrong
//! in `message`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use ledger::Hash;
use machine::{Head, Signed};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A request, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The id as JSON; `None` for a notification.
    pub id: Option<String>,
    /// The method.
    pub method: String,
    /// A JSON array as it was received; `null` and nothing are `[]`.
    pub args: String,
    /// The params were `null`.
    pub null_params: bool,
    /// The call is signed, or claims to be.
    pub auth: Option<Result<Box<Auth>, &'static str>>,
    /// The reply shall bring a receipt.
    pub receipt: bool,
}

/// What a caller has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Auth {
    /// The backend that the call is for.
    pub backend: String,
    /// The root that the head signs.
    pub root: Hash,
    /// Key, nonce, head and signature.
    pub signed: Signed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAuth {
    backend: String,
    key: String,
    nonce: String,
    head: String,
    root: String,
    signature: String,
}

fn auth(raw: &RawValue) -> Result<Box<Auth>, &'static str> {
    let raw: RawAuth = serde_json::from_str(raw.get())
        .map_err(|_| "auth has the fields backend, key, nonce, head, root and signature, all of them text")?;
    let signature = BASE64.decode(&raw.signature).ok().and_then(|bytes| bytes.try_into().ok());
    let (session, counter) = Signed::parse_nonce(&raw.nonce).ok_or("the nonce is not 16 hex digits, a dot and a number")?;
    let signed = Signed {
        key: ledger::hex::decode(&raw.key).ok_or("the key has not 64 hex digits")?,
        session,
        counter,
        head: raw.head.parse().map_err(|_| "the head is no transaction")?,
        signature: signature.ok_or("the signature has not 64 bytes of base64")?,
    };
    Ok(Box::new(Auth {
        backend: raw.backend,
        root: ledger::hex::decode(&raw.root).ok_or("the root has not 64 hex digits")?,
        signed,
    }))
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// For whom, as JSON.
    pub id: Option<String>,
    /// JSON-RPC's code.
    pub code: i32,
    /// JSON-RPC's message.
    pub message: &'static str,
    /// The reason.
    pub data: String,
}

/// A frame, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One request.
    One(Result<Request, Problem>),
    /// Several, answered together.
    Batch(Vec<Result<Request, Problem>>),
}

/// The method by which the operator deploys other code, on a connection to the RPC.
pub const UPGRADE: &str = "glassbox.upgrade";

/// JSON-RPC's codes.
pub mod code {
    /// No JSON.
    pub const PARSE_ERROR: i32 = -32700;
    /// No request.
    pub const INVALID_REQUEST: i32 = -32600;
    /// No such method.
    pub const METHOD_NOT_FOUND: i32 = -32601;
    /// Params of another shape.
    pub const INVALID_PARAMS: i32 = -32602;
    /// What the app throws.
    pub const APP: i32 = -32000;
    /// A call whose caller is not believed.
    pub const CALLER: i32 = -32001;
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow, default)]
    jsonrpc: Option<&'a RawValue>,
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    auth: Option<&'a RawValue>,
    #[serde(borrow, default)]
    receipt: Option<&'a RawValue>,
}

/// Tells `null` from nothing, which serde does not.
fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(field: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&'a RawValue>::deserialize(field).map(Some)
}

fn invalid(id: Option<String>, data: &str) -> Problem {
    Problem { id, code: code::INVALID_REQUEST, message: "Invalid Request", data: data.into() }
}

/// Reads a frame.
pub fn parse(frame: &str, max_batch: usize) -> Frame {
    let raw: &RawValue = match serde_json::from_str(frame) {
        Ok(raw) => raw,
        Err(error) => {
            return Frame::One(Err(Problem {
                id: None,
                code: code::PARSE_ERROR,
                message: "Parse error",
                data: error.to_string(),
            }));
        }
    };
    if !raw.get().starts_with('[') {
        return Frame::One(request(raw));
    }
    match serde_json::from_str::<Vec<&RawValue>>(raw.get()) {
        Ok(requests) if requests.is_empty() => Frame::One(Err(invalid(None, "Invalid array"))),
        Ok(requests) if requests.len() > max_batch => {
            Frame::One(Err(invalid(None, &format!("A batch may have {max_batch} requests"))))
        }
        Ok(requests) => Frame::Batch(requests.into_iter().map(request).collect()),
        Err(_) => Frame::One(Err(invalid(None, "Invalid array"))),
    }
}

fn request(raw: &RawValue) -> Result<Request, Problem> {
    let text = raw.get();
    if !text.starts_with('{') {
        return Err(invalid(None, "The request is no object"));
    }
    let Ok(Raw { jsonrpc, id, method, params, auth: signed, receipt }) = serde_json::from_str(text) else {
        return Err(invalid(None, "A field stands twice"));
    };
    let id = match id.map(RawValue::get) {
        None => None,
        Some(id) if id.starts_with(['{', '[', 't', 'f']) => return Err(invalid(None, "Invalid id")),
        Some(id) => Some(id.to_owned()),
    };
    let refuse = |data| Err(invalid(Some(id.clone().unwrap_or("null".into())), data));
    if jsonrpc.map(RawValue::get) != Some("\"2.0\"") {
        return refuse("Invalid JSON RPC version");
    }
    let Some(method) = method.filter(|method| method.get() != "null") else {
        return Err(Problem {
            id: Some(id.unwrap_or("null".into())),
            code: code::INVALID_PARAMS,
            message: "Invalid params",
            data: "Method not specified".into(),
        });
    };
    let Ok(method) = serde_json::from_str::<String>(method.get()) else {
        return refuse("Invalid method name");
    };
    let (args, null_params) = match params.map(RawValue::get) {
        None => ("[]".to_owned(), false),
        Some("null") => ("[]".to_owned(), true),
        Some(array) if array.starts_with('[') => (array.to_owned(), false),
        Some(object) if object.starts_with('{') => {
            return Err(Problem {
                id: Some(id.unwrap_or("null".into())),
                code: code::INVALID_PARAMS,
                message: "Invalid params",
                data: "Params must be an array".into(),
            });
        }
        Some(_) => return refuse("Invalid params"),
    };
    let receipt = receipt.map(RawValue::get) == Some("true");
    Ok(Request { id, method, args, null_params, auth: signed.map(auth), receipt })
}

/// The reply to a call.
pub fn result_reply(id: &str, result: &machine::Result) -> String {
    match result {
        Ok(Some(json)) => format!("{{\"jsonrpc\":\"2.0\",\"result\":{json},\"id\":{id}}}"),
        Ok(None) => format!("{{\"jsonrpc\":\"2.0\",\"id\":{id}}}"),
        Err(failure) => error_reply(Some(id), code::APP, &failure.name, &failure.message),
    }
}

/// What a reply says beside the result: `,"transaction":…,"head":…,"receipt":…`.
pub fn extras(transaction: &str, head: Option<&Head>, receipt: Option<&str>) -> String {
    let mut extras = format!(",\"transaction\":\"{transaction}\"");
    if let Some(head) = head {
        extras += &format!(",\"head\":{}", head_json(head));
    }
    if let Some(receipt) = receipt {
        extras += &format!(",\"receipt\":{receipt}");
    }
    extras
}

/// A head as clients see it.
pub fn head_json(head: &Head) -> String {
    format!("{{\"transaction\":\"{}\",\"root\":\"{}\"}}", head.txid, ledger::hex::encode(&head.root))
}

/// A reply with members added.
pub fn with(mut reply: String, extras: &str) -> String {
    reply.pop();
    reply + extras + "}"
}

/// The reply to what was refused.
pub fn problem_reply(problem: &Problem) -> String {
    error_reply(problem.id.as_deref(), problem.code, problem.message, &problem.data)
}

/// An error reply.
pub fn error_reply(id: Option<&str>, code: i32, message: &str, data: &str) -> String {
    let id = id.unwrap_or("null");
    let text = |text: &str| serde_json::to_string(text).expect("a string can be written");
    format!(
        "{{\"jsonrpc\":\"2.0\",\"error\":{{\"code\":{code},\"message\":{},\"data\":{}}},\"id\":{id}}}",
        text(message),
        text(data)
    )
}

/// The same reply for a reader of CircularJSON. There a string value that begins with `~` is a reference, so such a `~` is
/// written as `\x7e`, and the first `\x7e` of any string as `\\x7e`: the reader turns one of each back. Keys are as they are.
/// `json` must have no white space between a key and its colon.
pub fn circular(json: String) -> String {
    const TILDE: &str = r"\\x7e";
    const LITERAL: &str = r"\\\\x7e";
    if !json.contains("\"~") && !json.contains(TILDE) {
        return json;
    }
    let mut out = String::with_capacity(json.len() + 64);
    let mut rest = json.as_str();
    while let Some(quote) = rest.find('"') {
        let (before, string) = rest.split_at(quote + 1);
        out.push_str(before);
        let mut escaped = false;
        let end = string.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let (string, after) = string.split_at(end.unwrap_or(string.len()));
        if after.starts_with("\":") {
            out.push_str(string);
        } else {
            let string = string.replacen(TILDE, LITERAL, 1);
            match string.strip_prefix('~') {
                Some(string) => {
                    out.push_str(TILDE);
                    out.push_str(string);
                }
                None => out.push_str(&string),
            }
        }
        let quote = after.len().min(1);
        out.push_str(&after[..quote]);
        rest = &after[quote..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(frame: &str) -> String {
        match parse(frame, 3) {
            Frame::One(Ok(Request { id, method, args, null_params, .. })) => {
                format!("{method} {args} {id:?}{}", if null_params { " null" } else { "" })
            }
            Frame::One(Err(problem)) => problem_reply(&problem),
            Frame::Batch(requests) => format!("batch of {}", requests.len()),
        }
    }

    #[test]
    fn circular_json() {
        for (plain, circular) in [
            (r#"{"a":"x"}"#, r#"{"a":"x"}"#),
            (r#"{"~a":"~b~c","d":["~","e~","~\"~"]}"#, r#"{"~a":"\\x7eb~c","d":["\\x7e","e~","\\x7e\"~"]}"#),
            (r#"["\\x7e \\x7e","\\\"~","\\"]"#, r#"["\\\\x7e \\x7e","\\\"~","\\"]"#),
            ("\"~\"", r#""\\x7e""#),
        ] {
            assert_eq!(super::circular(plain.into()), circular);
        }
    }

    #[test]
    fn frames() {
        for (frame, expected) in [
            (r#"{"jsonrpc":"2.0","method":"m","params":[ 1, "x"],"id":7}"#, r#"m [ 1, "x"] Some("7")"#),
            (r#"{"jsonrpc":"2.0","method":"m","id":"a"}"#, r#"m [] Some("\"a\"")"#),
            (r#"{"jsonrpc":"2.0","method":"m","params":null}"#, "m [] None null"),
            (r#"{"jsonrpc":"2.0","method":"m","id":null}"#, "m [] None"),
            (r#"{"jsonrpc":"2.0","method":"m","id":0}"#, r#"m [] Some("0")"#),
            (
                "null",
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":"The request is no object"},"id":null}"#,
            ),
            ("[]", r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":"Invalid array"},"id":null}"#),
            ("[1,2,3]", "batch of 3"),
            (
                "[1,2,3,4]",
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":"A batch may have 3 requests"},"id":null}"#,
            ),
            (
                r#"{"jsonrpc":"1.0","method":"m","id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":"Invalid JSON RPC version"},"id":1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":"Method not specified"},"id":1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":5,"id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":"Invalid method name"},"id":1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m","params":"x","id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"Invalid Request","data":"Invalid params"},"id":1}"#,
            ),
            (
                r#"{"jsonrpc":"2.0","method":"m","params":{"a":1},"id":1}"#,
                r#"{"jsonrpc":"2.0","error":{"code":-32602,"message":"Invalid params","data":"Params must be an array"},"id":1}"#,
            ),
        ] {
            assert_eq!(reply(frame), expected, "{frame}");
        }
        assert!(reply("{").contains("-32700"));
    }
}
