//! Receipts: a transaction, the path from its leaf to a root, and the root's signature. A receipt is checked without
//! the ledger, by anyone who knows the service's certificate.
//!
//! ```text
//! write set digest ┐
//! commit evidence  ├─▶ leaf ──path──▶ root ◀──signature── node certificate ◀──signature── service certificate
//! claims digest    ┘
//! ```
//!
//! Two forms are written: the JSON of CCF's HTTP interface, with the node's signature, and a COSE message with the
//! service's own. The receipt of a signature transaction holds the root itself in place of the left side. [`saved`] is
//! both forms in one file, together with what the transaction says.
//!
//! Invariant: [`Receipt::verify`] believes nothing in the receipt that it has not derived from the service's
//! certificate.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::audit::AuditError;
use crate::cert::{Certificate, CertificateError};
use crate::cose;
use crate::hex;
use crate::keys::Keys;
use crate::merkle::{Hash, PATH_MAX_STEPS, Step, Tree, fold};
use crate::reader::ReadError;
use crate::recover::{RecoverError, audit_at};
use crate::secret::{LedgerSecret, sha256};
use crate::signature::SignatureInfo;
use crate::storage::Storage;
use crate::transaction::{Leaf, leaf_digest};
use crate::txid::TxId;

pub mod saved;

pub use saved::SavedReceipt;

/// Longest receipt in JSON.
pub const RECEIPT_MAX_BYTES: usize = 64 * 1024;

/// Shows that a transaction is in the ledger of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// What it shows.
    pub subject: Subject,
    /// The node that signed.
    pub node_id: String,
    /// Its certificate.
    pub node_certificate: Certificate,
    /// Its signature over the root, ECDSA in DER.
    pub node_signature: Vec<u8>,
    /// The service's signature over the root; JSON does not carry it.
    pub service_signature: Option<cose::Signature>,
}

/// What a receipt shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A transaction.
    Transaction {
        /// SHA-256 of all its bytes.
        write_set_digest: Hash,
        /// Text that holds its name, and that only the service could make.
        commit_evidence: String,
        /// What the application claims, zeros when it claims nothing.
        claims_digest: Hash,
        /// From its leaf to the root.
        path: Vec<Step>,
    },
    /// A signature transaction: the root that it signs.
    Signature {
        /// The root.
        root: Hash,
    },
}

/// A receipt that cannot be made, read or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReceiptError {
    /// No signature covers the transaction yet.
    #[error("no signature covers the transaction yet")]
    NotSigned,
    /// The path is not in memory any more; [`from_ledger`] finds it.
    #[error("the transaction is too old to have its path in memory")]
    NotInWindow,
    /// There is nothing to save: no transaction, or no signature of the service.
    #[error("only the receipt of a transaction, with the service's signature, can be saved")]
    Incomplete,
    /// Neither the receipt nor the caller names a service.
    #[error("the receipt does not hold the certificate of its service, and no other was given")]
    NoService,
    /// The service is another one.
    #[error("the receipt is of another service")]
    OtherService,
    /// The name beside the receipt is not the one in it.
    #[error("the receipt is of transaction {found}, not of {named}")]
    TransactionId {
        /// What stands beside it.
        named: TxId,
        /// What it shows.
        found: TxId,
    },
    /// The record is not what the transaction claims.
    #[error("the record is not the one that the transaction claims")]
    Record,
    /// The two forms of the receipt differ.
    #[error("the COSE receipt is not of the same transaction, path and root")]
    Cose,
    /// Not a receipt.
    #[error("not a receipt: {0}")]
    Malformed(&'static str),
    /// The node's certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The node is not the service's.
    #[error("the certificate of the node is not signed by the service")]
    NotEndorsed,
    /// The signature is not over the root that the receipt leads to.
    #[error("the signature is not one over the root that the receipt leads to")]
    Signature,
    /// The ledger could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The ledger is broken.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The ledger is broken, or not one of these keys.
    #[error(transparent)]
    Ledger(Box<RecoverError>),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Json {
    cert: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leaf_components: Option<JsonLeaf>,
    node_id: String,
    proof: Vec<JsonStep>,
    signature: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonLeaf {
    claims_digest: String,
    commit_evidence: String,
    write_set_digest: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
enum JsonStep {
    Left(String),
    Right(String),
}

impl Receipt {
    pub(crate) fn for_leaf(
        leaf: &Leaf,
        signature: &SignatureInfo,
        node: &Certificate,
        secret: &LedgerSecret,
        path: impl FnOnce(u64) -> Option<Vec<Step>>,
    ) -> Result<Receipt, ReceiptError> {
        if leaf.txid.seqno >= signature.txid.seqno {
            return Err(ReceiptError::NotSigned);
        }
        let path = path(leaf.txid.seqno).ok_or(ReceiptError::NotInWindow)?;
        let subject = Subject::Transaction {
            write_set_digest: leaf.write_set_digest,
            commit_evidence: secret.commit_evidence(leaf.txid, leaf.flags),
            claims_digest: leaf.claims_digest,
            path,
        };
        Ok(Receipt { subject, ..Receipt::for_signature(signature, node) })
    }

    pub(crate) fn for_signature(signature: &SignatureInfo, node: &Certificate) -> Receipt {
        Receipt {
            subject: Subject::Signature { root: signature.root },
            node_id: signature.node_id.clone(),
            node_certificate: node.clone(),
            node_signature: signature.node_signature.clone(),
            service_signature: Some(signature.service_signature.clone()),
        }
    }

    /// The leaf of the transaction, as it stands in the tree of an auditor: [`Leaf::digest`]. `None` for the receipt of a
    /// signature transaction.
    pub fn leaf(&self) -> Option<Hash> {
        match &self.subject {
            Subject::Transaction { write_set_digest, commit_evidence, claims_digest, .. } => {
                Some(leaf_digest(write_set_digest, &sha256(commit_evidence.as_bytes()), claims_digest))
            }
            Subject::Signature { .. } => None,
        }
    }

    /// The root that the receipt leads to.
    pub fn root(&self) -> Hash {
        match &self.subject {
            Subject::Transaction { path, .. } => fold(self.leaf().expect("a transaction has a leaf"), path),
            Subject::Signature { root } => *root,
        }
    }

    /// Checks the receipt. `Some` name when it is the receipt of a transaction, `None` for a signature transaction,
    /// whose receipt does not hold its name.
    pub fn verify(&self, service: &Certificate) -> Result<Option<TxId>, ReceiptError> {
        if self.node_id != self.node_certificate.id() || !self.node_certificate.is_endorsed_by(service) {
            return Err(ReceiptError::NotEndorsed);
        }
        let root = self.root();
        if !self.node_certificate.verifies_root(&root, &self.node_signature) {
            return Err(ReceiptError::Signature);
        }
        if self.service_signature.as_ref().is_some_and(|signature| !signature.verifies(&root, service)) {
            return Err(ReceiptError::Signature);
        }
        match &self.subject {
            Subject::Transaction { commit_evidence, .. } => Ok(Some(txid_of(commit_evidence)?)),
            Subject::Signature { .. } => Ok(None),
        }
    }

    /// The receipt as CCF's HTTP interface gives it.
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.json()).expect("strings and lists have a JSON")
    }

    fn json(&self) -> Json {
        let step = |step: &Step| {
            let hash = hex::encode(&step.hash);
            if step.left { JsonStep::Left(hash) } else { JsonStep::Right(hash) }
        };
        let (leaf, leaf_components, proof) = match &self.subject {
            Subject::Transaction { write_set_digest, commit_evidence, claims_digest, path } => {
                let leaf = JsonLeaf {
                    claims_digest: hex::encode(claims_digest),
                    commit_evidence: commit_evidence.clone(),
                    write_set_digest: hex::encode(write_set_digest),
                };
                (None, Some(leaf), path.iter().map(step).collect())
            }
            Subject::Signature { root } => (Some(hex::encode(root)), None, Vec::new()),
        };
        Json {
            cert: self.node_certificate.pem().to_owned(),
            leaf,
            leaf_components,
            node_id: self.node_id.clone(),
            proof,
            signature: BASE64.encode(&self.node_signature),
        }
    }

    /// Reads the JSON form. This does not check the receipt.
    pub fn from_json(text: &str) -> Result<Receipt, ReceiptError> {
        let malformed = ReceiptError::Malformed;
        if text.len() > RECEIPT_MAX_BYTES {
            return Err(malformed("too long"));
        }
        let json: Json = serde_json::from_str(text).map_err(|_| malformed("not the JSON of a receipt"))?;
        Receipt::read(json)
    }

    fn read(json: Json) -> Result<Receipt, ReceiptError> {
        let malformed = ReceiptError::Malformed;
        let hash = |text: &str| hex::decode(text).ok_or(malformed("a digest is not 64 hex digits"));
        let step = |step: &JsonStep| {
            let (left, text) = match step {
                JsonStep::Left(text) => (true, text),
                JsonStep::Right(text) => (false, text),
            };
            Ok::<Step, ReceiptError>(Step { left, hash: hash(text)? })
        };
        if json.proof.len() > PATH_MAX_STEPS {
            return Err(malformed("the path is too long"));
        }
        let subject = match (&json.leaf, &json.leaf_components) {
            (None, Some(leaf)) => Subject::Transaction {
                write_set_digest: hash(&leaf.write_set_digest)?,
                commit_evidence: leaf.commit_evidence.clone(),
                claims_digest: hash(&leaf.claims_digest)?,
                path: json.proof.iter().map(step).collect::<Result<_, _>>()?,
            },
            (Some(root), None) if json.proof.is_empty() => Subject::Signature { root: hash(root)? },
            _ => return Err(malformed("it must have either a leaf or its components")),
        };
        Ok(Receipt {
            subject,
            node_id: json.node_id,
            node_certificate: Certificate::from_pem(&json.cert)?,
            node_signature: BASE64.decode(&json.signature).map_err(|_| malformed("the signature is not base64"))?,
            service_signature: None,
        })
    }

    /// The receipt as a COSE message with the service's signature. `None` for a signature transaction, and when the
    /// receipt came from JSON.
    pub fn to_cose(&self) -> Option<Vec<u8>> {
        let signature = self.service_signature.as_ref()?;
        let Subject::Transaction { write_set_digest, commit_evidence, claims_digest, path } = &self.subject else {
            return None;
        };
        let receipt = cose::Receipt {
            signature: signature.clone(),
            write_set_digest: *write_set_digest,
            commit_evidence: commit_evidence.clone(),
            claims_digest: *claims_digest,
            path: path.clone(),
        };
        Some(receipt.encode())
    }
}

/// The name in commit evidence.
fn txid_of(evidence: &str) -> Result<TxId, ReceiptError> {
    let malformed = ReceiptError::Malformed("the commit evidence does not name a transaction");
    let parts = evidence.strip_prefix("ce:").and_then(|rest| rest.split_once(':'));
    match parts {
        Some((txid, mac)) if hex::decode::<32>(mac).is_some() => txid.parse().map_err(|_| malformed),
        _ => Err(malformed),
    }
}

/// The receipt of any transaction that a signature covers, by reading the ledger from the last checkpoint before it (from
/// the beginning, if there is none) up to the first signature after it. [`crate::Sealer::receipt`] is for the recent ones.
pub fn from_ledger<S: Storage>(storage: &S, keys: &Keys, seqno: u64) -> Result<Receipt, ReceiptError> {
    let (reader, mut audit) = audit_at(storage, keys, seqno).map_err(|error| match error {
        RecoverError::Read(error) => ReceiptError::Read(error),
        RecoverError::Audit { source, .. } => ReceiptError::Audit(source),
        other => ReceiptError::Ledger(Box::new(other)),
    })?;
    let mut tree = Tree::from_frontier(&audit.frontier()).expect("a tree has the peaks of its size");
    let mut found: Option<Leaf> = None;
    for located in reader {
        let transaction = located?.transaction;
        let leaf = transaction.leaf();
        let signature = audit.push_leaf(&transaction, &leaf)?;
        match (&found, signature) {
            (Some(found), Some(signature)) => {
                let node = audit.trusted_node(&signature.node_id).ok_or(ReceiptError::NotEndorsed)?;
                let path = |leaf| tree.path(leaf, signature.txid.seqno);
                return Receipt::for_leaf(found, &signature, node, keys.secret(), path);
            }
            (None, Some(signature)) if leaf.txid.seqno == seqno => {
                let node = audit.trusted_node(&signature.node_id).ok_or(ReceiptError::NotEndorsed)?;
                return Ok(Receipt::for_signature(&signature, node));
            }
            _ => {}
        }
        if leaf.txid.seqno == seqno {
            found = Some(leaf);
        }
        tree.push(leaf.digest());
        if found.is_none() {
            tree.forget_before(tree.size());
        }
    }
    Err(ReceiptError::NotSigned)
}
