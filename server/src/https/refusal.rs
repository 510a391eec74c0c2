//! Why a request is not passed on, and what the client is told.

use super::Reply;

/// A request that is not passed on. The connection ends after the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No HTTP, or HTTP that others could read differently.
    Malformed(&'static str),
    /// One header or the head is too large.
    HeaderTooLarge(usize),
    /// Too many headers.
    TooManyHeaders(usize),
    /// The body is too large.
    BodyTooLarge(usize),
    /// `Expect` with something else than `100-continue`.
    Expectation,
    /// The handler gave no reply, or there was no room for the body.
    Unanswered,
}

impl Refusal {
    /// What the client is told.
    pub(super) fn reply(&self) -> Reply {
        match self {
            Refusal::Malformed(reason) => Reply {
                status: 400,
                headers: vec![("content-type".into(), "text/plain".into())],
                body: format!("Unable to parse data as a HTTP request. Error message is: {reason}").into_bytes(),
            },
            Refusal::HeaderTooLarge(limit) => {
                error(431, "RequestHeaderTooLarge", &format!("HTTP header size is too large (max size allowed: {limit})."))
            }
            Refusal::TooManyHeaders(limit) => {
                error(431, "RequestHeaderTooLarge", &format!("Too many HTTP headers (max number allowed: {limit})."))
            }
            Refusal::BodyTooLarge(limit) => {
                error(413, "RequestBodyTooLarge", &format!("HTTP request body is too large (max size allowed: {limit})."))
            }
            Refusal::Expectation => error(417, "ExpectationFailed", "The only supported expectation is 100-continue."),
            Refusal::Unanswered => error(503, "ServiceUnavailable", "The service cannot answer now."),
        }
    }
}

/// An error in the usual envelope. `message` needs no escapes.
pub(super) fn error(status: u16, code: &str, message: &str) -> Reply {
    Reply {
        status,
        headers: vec![("content-type".into(), "application/json".into())],
        body: format!(r#"{{"error":{{"code":"{code}","message":"{message}"}}}}"#).into_bytes(),
    }
}
