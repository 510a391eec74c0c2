//! Why a request is not let in, and what it is answered with.

use crate::bundle::request::Response;
use serde_json::{Value, json};

/// The code of every failed authentication.
const INVALID: &str = "InvalidAuthenticationInfo";

/// One policy's reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// The policy that was tried.
    pub auth_policy: String,
    /// Always `InvalidAuthenticationInfo`.
    pub code: &'static str,
    /// What it has found wanting.
    pub message: String,
}

/// Not let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denied {
    /// 401: no policy was satisfied.
    Unauthorised {
        /// One for each policy that was tried.
        details: Vec<Detail>,
        /// The header of that name, from the policy that was tried last.
        www_authenticate: Option<String>,
    },
    /// It could not be decided.
    Broken {
        /// The HTTP status.
        status: u16,
        /// The error's code.
        code: &'static str,
        /// The error's text.
        message: String,
    },
}

impl Detail {
    pub(super) fn new(auth_policy: impl Into<String>, message: impl Into<String>) -> Detail {
        Detail { auth_policy: auth_policy.into(), code: INVALID, message: message.into() }
    }

    fn json(&self) -> Value {
        json!({ "auth_policy": self.auth_policy, "code": self.code, "message": self.message })
    }
}

impl Denied {
    pub(super) fn internal(message: impl Into<String>) -> Denied {
        Denied::Broken { status: 500, code: "InternalError", message: message.into() }
    }

    /// What the client gets.
    pub fn response(&self) -> Response {
        match self {
            Denied::Broken { status, code, message } => Response::error(*status, code, message.as_str()),
            Denied::Unauthorised { details, www_authenticate } => {
                let details = details.iter().map(Detail::json).collect();
                let mut response = Response::error_with(401, INVALID, "Invalid authentication credentials.", details);
                if let Some(challenge) = www_authenticate {
                    response.headers.push(("www-authenticate".into(), challenge.clone()));
                }
                response
            }
        }
    }
}
