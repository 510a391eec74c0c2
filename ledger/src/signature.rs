//! Signature transactions: the transactions that carry a root of the tree and its two signatures.
//!
//! ```text
//! public:ccf.internal.signatures        {"commit_seqno":15,"commit_view":2,"node":"…","root":"…",
//!                                        "seqno":17,"sig":"…","view":2}
//! public:ccf.internal.cose_signatures   "…"                         a JSON string: base64 of the COSE message
//! public:ccf.internal.tree              nothing
//! ```
//!
//! Each map has one key, 8 zero bytes. `root` is over the transactions 0 to seqno − 1, `sig` is base64 of an ECDSA
//! signature in DER by the node's key, where the root stands in for the hash of a message; `commit_…` names the
//! signature transaction before this one, or 0. The node's certificate is in
//! `public:ccf.gov.nodes.endorsed_certificates` and is not repeated.
//!
//! Invariants: a signature transaction touches these three maps and nothing else, claims nothing, and its JSON is in
//! the one spelling above.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::cose;
use crate::hex;
use crate::merkle::Hash;
use crate::transaction::Transaction;
use crate::txid::TxId;
use crate::write_set::WriteSet;

/// Node signatures over the root.
pub const SIGNATURES_MAP: &str = "public:ccf.internal.signatures";
/// Service signatures over the root.
pub const COSE_SIGNATURES_MAP: &str = "public:ccf.internal.cose_signatures";
/// Where CCF keeps its serialised tree; empty here, because the tree follows from the transactions.
pub const TREE_MAP: &str = "public:ccf.internal.tree";
/// The key of maps that hold one value.
pub const SINGLETON_KEY: [u8; 8] = [0; 8];

/// A signed root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignatureInfo {
    /// The signature transaction. The root covers all transactions before it.
    pub txid: TxId,
    /// The signature transaction before, when there was one.
    pub previous: Option<TxId>,
    /// The signed root.
    pub root: Hash,
    /// The node that signed, see [`crate::Certificate::id`].
    pub node_id: String,
    /// The node's signature, ECDSA in DER.
    pub node_signature: Vec<u8>,
    /// The service's signature.
    pub service_signature: cose::Signature,
    /// A new chunk begins after it.
    pub ends_chunk: bool,
}

/// A signature transaction that breaks the rules of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Other maps, other keys, private writes or claims.
    #[error("a signature transaction holds something else than signatures")]
    Maps,
    /// The node's part.
    #[error("the node's signature is not in its one encoding")]
    Node,
    /// The service's part.
    #[error("the service's signature is not in its one encoding")]
    Service,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct NodeSignature<'a> {
    commit_seqno: u64,
    commit_view: u64,
    node: &'a str,
    root: &'a str,
    seqno: u64,
    sig: &'a str,
    view: u64,
}

impl SignatureInfo {
    /// When it was signed, in seconds since 1970, as the service says. Within a ledger it never goes back.
    pub fn signed_at_s(&self) -> u64 {
        self.service_signature.signed_at_s
    }

    /// The write set of the signature transaction.
    pub(crate) fn write_set(&self) -> WriteSet {
        let node = NodeSignature {
            commit_seqno: self.previous.map_or(0, |txid| txid.seqno),
            commit_view: self.previous.map_or(0, |txid| txid.view),
            node: &self.node_id,
            root: &hex::encode(&self.root),
            seqno: self.txid.seqno,
            sig: &BASE64.encode(&self.node_signature),
            view: self.txid.view,
        };
        let node = serde_json::to_vec(&node).expect("numbers and strings have a JSON");
        let service = format!("\"{}\"", BASE64.encode(self.service_signature.encode()));
        let mut writes = WriteSet::new();
        writes.put(SIGNATURES_MAP, SINGLETON_KEY, node);
        writes.put(COSE_SIGNATURES_MAP, SINGLETON_KEY, service);
        writes.put(TREE_MAP, SINGLETON_KEY, []);
        writes
    }

    /// Reads a signature transaction. `None` for any other transaction. Whether the signatures are good is for
    /// [`crate::Audit`] to say.
    pub fn read(transaction: &Transaction) -> Result<Option<SignatureInfo>, SignatureError> {
        let maps = &transaction.public().maps;
        if ![SIGNATURES_MAP, COSE_SIGNATURES_MAP, TREE_MAP].iter().any(|name| maps.contains_key(*name)) {
            return Ok(None);
        }
        let single = |name| transaction.public().get(name, &SINGLETON_KEY).ok_or(SignatureError::Maps);
        let (node, service) = (single(SIGNATURES_MAP)?, single(COSE_SIGNATURES_MAP)?);
        let service = service.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\""));
        let service = BASE64.decode(service.ok_or(SignatureError::Service)?).map_err(|_| SignatureError::Service)?;
        let info = SignatureInfo {
            service_signature: cose::Signature::parse(&service).map_err(|_| SignatureError::Service)?,
            ..SignatureInfo::read_node(node, transaction.ends_chunk()).ok_or(SignatureError::Node)?
        };
        if info.txid != transaction.txid() {
            return Err(SignatureError::Node);
        }
        if info.service_signature.txid != info.txid {
            return Err(SignatureError::Service);
        }
        let alone = transaction.private().is_empty() && transaction.claims_digest() == [0; 32];
        if !alone || info.write_set() != *transaction.public() {
            return Err(SignatureError::Maps);
        }
        Ok(Some(info))
    }

    /// The node's part; the service's is left blank.
    fn read_node(json: &[u8], ends_chunk: bool) -> Option<SignatureInfo> {
        let node: NodeSignature<'_> = serde_json::from_slice(json).ok()?;
        if serde_json::to_vec(&node).ok()? != json {
            return None;
        }
        let previous = match (node.commit_view, node.commit_seqno) {
            (0, 0) => None,
            (view, seqno) => Some(TxId::new(view, seqno).ok()?),
        };
        let txid = TxId::new(node.view, node.seqno).ok()?;
        let blank = (String::new(), Vec::new());
        let service_signature =
            cose::Signature { txid, signed_at_s: 0, issuer: blank.0.clone(), key_id: blank.0, signature: blank.1 };
        Some(SignatureInfo {
            txid,
            previous,
            root: hex::decode(node.root)?,
            node_id: node.node.to_owned(),
            node_signature: BASE64.decode(node.sig).ok()?,
            service_signature,
            ends_chunk,
        })
    }
}
