//! Who calls: a key that has signed the call, a name under `--debug`, or nobody in particular.
//!
//! A signature covers the backend's id, a nonce, the last signature transaction that the caller has seen with its Merkle root,
//! the method and the arguments ([`ledger::caller::message`]). In the ledger the root is left out: it stands in the transaction
//! that `head` names, so a caller's signature also says in which history it was given.
//!
//! | the call is refused as | when |
//! |---|---|
//! | `AlteredCallError` | the signature is not one of this key over this call |
//! | `ForkedHeadError` | the head is no signature transaction of this ledger, or has another root |
//! | `StaleCallError` | the head was superseded more than ten minutes before the call, in ledger time |
//! | `ReplayedCallError` | the session's counter does not go up |
//!
//! A refused call is not executed and leaves no transaction; an audit finds each of these in a ledger that has one.

use ledger::{Hash, TxId};
use std::fmt;

/// How long after a newer signature a head may still be used, in seconds.
pub const STALE_AFTER_S: u64 = 600;

/// `System.caller.id`, and why it is believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// `null`.
    Anonymous,
    /// A name that the caller gave himself, under `--debug`.
    Named(String),
    /// A key.
    Signed(Box<Signed>),
}

/// What a caller has signed a call with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// The ed25519 public key.
    pub key: [u8; 32],
    /// Chosen by the client for each connection.
    pub session: [u8; 8],
    /// Goes up with each call of a session.
    pub counter: u64,
    /// The last signature transaction that the caller has seen.
    pub head: TxId,
    /// The signature.
    pub signature: [u8; 64],
}

/// Why a signed call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// The signature is wrong.
    #[error("the signature is not the caller's over this call")]
    Altered,
    /// The head is not in this ledger.
    #[error("the caller has seen a transaction {0} that is not in this ledger")]
    Forked(TxId),
    /// The head is too old.
    #[error("the caller's view of the ledger, {0}, is more than ten minutes old")]
    Stale(TxId),
    /// The nonce was used.
    #[error("the nonce {0} is not above the last one of its session")]
    Replayed(u64),
}

impl AuthError {
    /// The error's name on the wire.
    pub fn name(&self) -> &'static str {
        match self {
            AuthError::Altered => "AlteredCallError",
            AuthError::Forked(_) => "ForkedHeadError",
            AuthError::Stale(_) => "StaleCallError",
            AuthError::Replayed(_) => "ReplayedCallError",
        }
    }
}

impl Caller {
    /// `System.caller.id`.
    pub fn id(&self) -> Option<String> {
        match self {
            Caller::Anonymous => None,
            Caller::Named(name) => Some(name.clone()),
            Caller::Signed(signed) => Some(ledger::hex::encode(&signed.key)),
        }
    }
}

/// Whether a text could be taken for a key: no caller may name himself so.
pub fn looks_like_a_key(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

impl Signed {
    /// The nonce as it stands on the wire and in the ledger.
    pub fn nonce(&self) -> String {
        format!("{}.{}", ledger::hex::encode(&self.session), self.counter)
    }

    /// Reads a nonce in its one form.
    pub fn parse_nonce(text: &str) -> Option<([u8; 8], u64)> {
        let (session, counter) = text.split_once('.')?;
        let nonce = (ledger::hex::decode(session)?, counter.parse().ok()?);
        (format!("{}.{}", session, nonce.1) == text).then_some(nonce)
    }

    /// Whether this is the key's signature over the call. `backend` is the call log's key, `root` the one that `head` signs.
    pub fn covers(&self, backend: &str, root: &Hash, method: &str, args: &str) -> bool {
        let method = serde_json::to_string(method).expect("a string can be written");
        let message = ledger::caller::message(backend, &self.nonce(), self.head, root, &method, args);
        ledger::caller::verify(&self.key, &message, &self.signature)
    }
}

/// A signature transaction, as far as callers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub txid: TxId,
    /// The root that it signs.
    pub root: Hash,
    /// When, in seconds since 1970.
    pub time_s: u64,
}

impl Head {
    const BYTES: usize = 8 + 32 + 8;

    pub(crate) fn encode(&self) -> [u8; Head::BYTES] {
        let mut row = [0; Head::BYTES];
        row[..8].copy_from_slice(&self.txid.view.to_be_bytes());
        row[8..40].copy_from_slice(&self.root);
        row[40..].copy_from_slice(&self.time_s.to_be_bytes());
        row
    }

    pub(crate) fn decode(seqno: u64, row: &[u8]) -> Option<Head> {
        let row: &[u8; Head::BYTES] = row.try_into().ok()?;
        let (view, rest) = row.split_first_chunk()?;
        let (root, time_s) = rest.split_first_chunk()?;
        Some(Head {
            txid: TxId { view: u64::from_be_bytes(*view), seqno },
            root: *root,
            time_s: u64::from_be_bytes(time_s.try_into().ok()?),
        })
    }
}

impl From<&ledger::SignatureInfo> for Head {
    fn from(signature: &ledger::SignatureInfo) -> Head {
        Head { txid: signature.txid, root: signature.root, time_s: signature.signed_at_s() }
    }
}

impl fmt::Display for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.txid, ledger::hex::encode(&self.root))
    }
}
