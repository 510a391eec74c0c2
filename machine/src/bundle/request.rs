//! What comes in over HTTP and what goes out, and how both stand in the ledger.
//!
//! ```text
//! request    {"method":"POST","target":"/app/log?x=1","headers":[["host","…"],…],"certificate":"base64","time":ms} LF body
//! response   {"status":200,"headers":[["content-type","text/plain"]]} LF body
//! ```
//!
//! The heads are JSON in one form only; the bodies are bytes.

use crate::input::{MalformedRecord, strict};
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// A request, frozen: what answers it depends on this and the state alone.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Request {
    /// As sent: `GET`.
    pub method: String,
    /// Path and query as sent; begins with `/`.
    pub target: String,
    /// Names in lower case, in order of arrival; equal names are joined.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The client's TLS certificate, DER. All that is known is that it has the key.
    pub certificate: Option<Vec<u8>>,
    /// When it was admitted, in milliseconds since 1970.
    pub time_ms: u64,
}

impl Request {
    /// The target up to the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The query, as sent, without `?`; empty if there is none.
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// A header by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The value of a parameter of the query, percent-decoded.
    pub fn parameter(&self, name: &str) -> Option<String> {
        self.query().split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decode(value))
        })
    }

    /// The bytes for the ledger.
    pub fn encode(&self) -> Vec<u8> {
        let head = RequestHead {
            method: self.method.clone(),
            target: self.target.clone(),
            headers: self.headers.clone(),
            certificate: self.certificate.as_ref().map(|der| BASE64.encode(der)),
            time: self.time_ms,
        };
        framed(serde_json::to_vec(&head).expect("strings and numbers can be written"), &self.body)
    }

    /// Reads what [`Request::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Request, MalformedRecord> {
        const WHAT: &str = "request";
        let (head, body) = parts(WHAT, bytes)?;
        let read = |head: RequestHead| {
            let certificate = head.certificate.map(|text| BASE64.decode(text)).transpose();
            Ok(Request {
                method: head.method,
                target: head.target,
                headers: head.headers,
                body: body.to_vec(),
                certificate: certificate.map_err(|_| "the certificate is no base64")?,
                time_ms: head.time,
            })
        };
        strict_head(WHAT, head, read, Request::encode)
    }
}

/// Decodes `%41` and `+`; what is no escape stays as it is.
pub fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|&byte| char::from(byte).to_digit(16));
        match (byte == b'%').then(|| Some((digit(0)? << 4 | digit(1)?) as u8)).flatten() {
            Some(byte) => {
                out.push(byte);
                rest = &after[2..];
            }
            None => {
                out.push(if byte == b'+' { b' ' } else { byte });
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// `{"error":{"code":…,"message":…}}`
    pub fn error(status: u16, code: &str, message: impl Into<String>) -> Response {
        Response::json(status, &json!({ "error": { "code": code, "message": message.into() } }))
    }

    /// The same with details.
    pub fn error_with(status: u16, code: &str, message: impl Into<String>, details: Value) -> Response {
        Response::json(status, &json!({ "error": { "code": code, "message": message.into(), "details": details } }))
    }

    /// A JSON body.
    pub fn json(status: u16, body: &Value) -> Response {
        Response::typed(status, "application/json", body.to_string().into_bytes())
    }

    /// A text body.
    pub fn text(status: u16, body: &str) -> Response {
        Response::typed(status, "text/plain", body.as_bytes().to_vec())
    }

    /// A body of some type.
    pub fn typed(status: u16, content_type: &str, body: Vec<u8>) -> Response {
        Response { status, headers: vec![("content-type".into(), content_type.into())], body }
    }

    /// No body.
    pub fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// The same with a header more.
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Response {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Whether the status says that it went well.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The bytes for the ledger.
    pub fn encode(&self) -> Vec<u8> {
        let head = ResponseHead { status: self.status, headers: self.headers.clone() };
        framed(serde_json::to_vec(&head).expect("strings and numbers can be written"), &self.body)
    }

    /// Reads what [`Response::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Response, MalformedRecord> {
        const WHAT: &str = "response";
        let (head, body) = parts(WHAT, bytes)?;
        let read = |head: ResponseHead| Ok(Response { status: head.status, headers: head.headers, body: body.to_vec() });
        strict_head(WHAT, head, read, Response::encode)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestHead {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    time: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponseHead {
    status: u16,
    headers: Vec<(String, String)>,
}

fn framed(mut head: Vec<u8>, body: &[u8]) -> Vec<u8> {
    head.reserve(1 + body.len());
    head.push(b'\n');
    head.extend_from_slice(body);
    head
}

fn parts<'a>(what: &'static str, bytes: &'a [u8]) -> Result<(&'a [u8], &'a [u8]), MalformedRecord> {
    let at = bytes.iter().position(|&byte| byte == b'\n');
    let at = at.ok_or_else(|| MalformedRecord { what, why: "it has no end of its head".into() })?;
    Ok((&bytes[..at], &bytes[at + 1..]))
}

fn strict_head<'a, T: Deserialize<'a>, U>(
    what: &'static str,
    head: &'a [u8],
    read: impl FnOnce(T) -> Result<U, String>,
    encode: impl FnOnce(&U) -> Vec<u8>,
) -> Result<U, MalformedRecord> {
    strict(what, head, read, |value| {
        let mut bytes = encode(value);
        bytes.truncate(head.len());
        bytes
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_hexadecimal_digits_are_an_escape() {
        let cases =
            [("%41%7a%7A", "Azz"), ("a+b", "a b"), ("%+1", "% 1"), ("%-1", "%-1"), ("%4", "%4"), ("%", "%"), ("%%41", "%A")];
        for (text, decoded) in cases {
            assert_eq!(percent_decode(text), decoded, "{text}");
        }
        assert_eq!(percent_decode("%é1"), "%é1");
    }
}
