//! Who calls: what an endpoint's `authn_policies` ask of a request, decided from the request and the state alone.
//!
//! ```text
//! authn_policies ──▶ Policy ──┐
//! Request ────────────────────┼─▶ authenticate ──▶ Grant   `request.caller`, as JSON
//! Rows: users, members, keys ─┘                └─▶ Denied  a 401 with a reason for each policy, or a 500
//! ```
//!
//! | policy | what proves it | file |
//! |---|---|---|
//! | `no_auth` | nothing | here |
//! | `user_cert`, `member_cert`, `any_cert` | the TLS client certificate | `cert.rs` |
//! | `jwt` | a token signed with a key in the state | `jwt.rs`; its keys: `jwks.rs`, `issuer.rs` |
//! | `user_cose_sign1` | the body is signed with a user's key | `cose.rs` |
//! | `{"all_of": […]}` | all of several | here |
//! | a member's signature on a governance request | the body is signed with a member's key | `member.rs` |
//!
//! The policies of an endpoint are tried in order; the first that passes decides.
//!
//! Invariants:
//! - An answer follows from request and state: time is the request's, a [`Cache`] changes no answer, nothing is drawn.
//! - What a client sends ends as [`Grant`] or [`Denied`], never as a panic or a [`Fault`]: a fault is the state's.
//! - A signature is checked with the algorithm that the key is for; what the message says of it must agree.
//! - JSON that an app gets is the value that was checked, written again, not the text it was read from.

mod cache;
mod caller;
mod cert;
mod cose;
mod denied;
mod issuer;
mod json;
mod jwks;
mod jwt;
mod key;
mod member;
mod policy;

pub use cache::Cache;
pub use denied::{Denied, Detail};
pub use jwks::{jwt_keys_of, remove_jwt_keys, set_jwt_keys};
pub use member::{SignedRequest, signed_by_member};
pub use policy::Policy;

use self::{caller::Identity, policy::Scheme};
use super::{request::Request, store::Rows};
use crate::Fault;

/// Certificates of users, PEM by id.
const USERS_CERTS: &str = "public:ccf.gov.users.certs";
/// What governance keeps about users, JSON by id.
const USERS_INFO: &str = "public:ccf.gov.users.info";
/// Certificates of members, PEM by id.
const MEMBERS_CERTS: &str = "public:ccf.gov.members.certs";
/// Status and data of members, JSON by id.
const MEMBERS_INFO: &str = "public:ccf.gov.members.info";
/// Keys that sign tokens, JSON arrays by `kid`.
const JWT_KEYS: &str = "public:ccf.gov.jwt.public_signing_keys_metadata_v2";

/// Who calls, as the app sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The JSON text of `request.caller`; `null` where an endpoint has no policies.
    pub caller: String,
    /// The signed payload, which JSON cannot hold. It belongs into the object that the JSON has as `"cose":{}`, as `content`:
    /// `caller.cose.content`, under `all_of` `caller.user_cose_sign1.cose.content`.
    pub content: Option<Vec<u8>>,
    /// The user's or member's id.
    pub id: Option<String>,
}

/// What one policy says of a request: who it is, or the reason of a refusal.
type Verdict<T> = Result<Result<T, Refusal>, Fault>;

/// Why one policy does not let a request pass.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Refusal {
    /// The next policy may be tried. The text goes into the details of the 401.
    Reason(String),
    /// The request ends here, as an internal error with this text.
    Broken(String),
}

impl Refusal {
    fn reason<T>(text: impl Into<String>) -> Verdict<T> {
        Ok(Err(Refusal::Reason(text.into())))
    }

    fn broken<T>(text: impl Into<String>) -> Verdict<T> {
        Ok(Err(Refusal::Broken(text.into())))
    }
}

/// Who makes `request`, by the first of `policies` that it satisfies.
///
/// `parsed` saves work and changes no answer.
pub fn authenticate(
    policies: &[Policy],
    request: &Request,
    rows: &impl Rows,
    parsed: &mut Cache,
) -> Result<Result<Grant, Denied>, Fault> {
    if policies.is_empty() {
        return Ok(Ok(Grant { caller: "null".into(), content: None, id: None }));
    }
    // All names are looked at before any policy is tried: an endpoint that names an unknown one answers nobody.
    let mut schemes = Vec::with_capacity(policies.len());
    for policy in policies {
        match policy.schemes() {
            Ok(found) => schemes.push(found),
            Err(message) => return Ok(Err(Denied::internal(message))),
        }
    }
    let mut details = Vec::new();
    let mut www_authenticate = None;
    for (policy, schemes) in policies.iter().zip(&schemes) {
        let (refused, reason) = match try_policy(policy, schemes, request, rows, parsed)? {
            Ok(grant) => return Ok(Ok(grant)),
            Err((_, Refusal::Broken(message))) => return Ok(Err(Denied::internal(message))),
            Err((scheme, Refusal::Reason(reason))) => (scheme, reason),
        };
        // Of several, the last one's header stands.
        www_authenticate = refused.challenge().map(str::to_owned);
        let message = match policy {
            Policy::Named(_) => reason,
            Policy::AllOf(_) => format!("{}:{reason}", refused.name()),
        };
        details.push(Detail::new(policy.name(), message));
    }
    Ok(Err(Denied::Unauthorised { details, www_authenticate }))
}

/// Tries one policy of an endpoint; a refusal comes with the scheme that refuses.
fn try_policy(
    policy: &Policy,
    schemes: &[Scheme],
    request: &Request,
    rows: &impl Rows,
    parsed: &mut Cache,
) -> Result<Result<Grant, (Scheme, Refusal)>, Fault> {
    let mut identities = Vec::with_capacity(schemes.len());
    for &scheme in schemes {
        match try_scheme(scheme, request, rows, parsed)? {
            Ok(identity) => identities.push((scheme, identity)),
            Err(refusal) => return Ok(Err((scheme, refusal))),
        }
    }
    let all = matches!(policy, Policy::AllOf(_));
    caller::grant(identities, all, rows)
}

fn try_scheme(scheme: Scheme, request: &Request, rows: &impl Rows, parsed: &mut Cache) -> Verdict<Identity> {
    match scheme {
        Scheme::NoAuth => Ok(Ok(Identity::Nobody)),
        Scheme::UserCert => cert::user(request, rows, parsed),
        Scheme::MemberCert => cert::member(request, rows),
        Scheme::AnyCert => cert::any(request, parsed),
        Scheme::Jwt => jwt::bearer(request, rows, parsed),
        Scheme::UserCose => cose::user(request, rows, parsed),
    }
}

/// Lower-case hex.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble)]);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// SHA-256.
fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
}
