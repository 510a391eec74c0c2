//! A saved receipt: everything that is needed to show, years later and without the ledger, what a call did.
//!
//! ```text
//! {"cert":…,"leaf_components":…,"node_id":…,"proof":…,"signature":…,     CCF's receipt, as it is
//!  "transaction_id":"2.18",
//!  "service_cert":"PEM",                                                 may be left out
//!  "record":"the input, a line feed, the result",                        SHA-256 of it is the claims digest
//!  "cose":"base64 of the COSE receipt",
//!  "call":"the input of a call of vats"}                                 the record says what has come of it
//!
//! record ──sha256──▶ claims digest ─┐
//! transaction_id ══ commit evidence ├─▶ leaf ──path──▶ root ◀── the node's signature (JSON), the service's (COSE)
//!               write set digest ───┘                            both lead to the service's certificate
//! ```
//!
//! Tools that know CCF's receipts read the object as it is. Members that are not named here are ignored, because others
//! may keep their own notes in the file; they prove nothing.
//!
//! Invariant: [`SavedReceipt::verify`] succeeds only when all of the above holds, but what is said of `call`: whether the record
//! speaks of it is for who knows records to say. Who does not know the service's
//! certificate from elsewhere learns only that the file is consistent with itself.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use super::{Json, JsonLeaf, JsonStep, Receipt, ReceiptError, Subject};
use crate::cert::Certificate;
use crate::cose;
use crate::merkle::Hash;
use crate::secret::sha256;
use crate::txid::TxId;

/// Longest saved receipt; nearly all of it may be the record.
pub const SAVED_RECEIPT_MAX_BYTES: usize = 16 * 1024 * 1024;

/// A receipt in both forms, with the record of the call that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedReceipt {
    /// The receipt, with the service's signature.
    pub receipt: Receipt,
    /// The transaction that it says it is of.
    pub transaction_id: TxId,
    /// The service that it says it is of.
    pub service_certificate: Option<Certificate>,
    /// What the transaction claims: the input of the call, a line feed, and its result.
    pub record: String,
    /// The same receipt, as COSE.
    pub cose: cose::Receipt,
    /// The input of the call that it is about, if that was made in an earlier transaction, or settled among others.
    pub call: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SavedJson {
    cert: String,
    leaf_components: JsonLeaf,
    node_id: String,
    proof: Vec<JsonStep>,
    signature: String,
    transaction_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service_cert: Option<String>,
    record: String,
    cose: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<String>,
}

impl Receipt {
    /// The receipt with the record that it claims, as JSON for a file. Only the receipt of a transaction can be saved, and
    /// only when it did not come from JSON. `call` is the input of a call that the record speaks of.
    pub fn to_saved(&self, record: &str, call: Option<&str>, service: &Certificate) -> Result<String, ReceiptError> {
        let cose = self.to_cose().ok_or(ReceiptError::Incomplete)?;
        let Json { cert, leaf_components, node_id, proof, signature, leaf: _ } = self.json();
        let (Some(leaf_components), Subject::Transaction { commit_evidence, .. }) = (leaf_components, &self.subject) else {
            return Err(ReceiptError::Incomplete);
        };
        let saved = SavedJson {
            cert,
            leaf_components,
            node_id,
            proof,
            signature,
            transaction_id: super::txid_of(commit_evidence)?.to_string(),
            service_cert: Some(service.pem().to_owned()),
            record: record.to_owned(),
            cose: BASE64.encode(cose),
            call: call.map(str::to_owned),
        };
        Ok(serde_json::to_string(&saved).expect("strings and lists have a JSON"))
    }
}

impl SavedReceipt {
    /// Reads the JSON. This does not check the receipt.
    pub fn from_json(text: &str) -> Result<SavedReceipt, ReceiptError> {
        let malformed = ReceiptError::Malformed;
        if text.len() > SAVED_RECEIPT_MAX_BYTES {
            return Err(malformed("too long"));
        }
        let saved: SavedJson = serde_json::from_str(text).map_err(|_| malformed("not the JSON of a saved receipt"))?;
        let SavedJson { cert, leaf_components, node_id, proof, signature, .. } = saved;
        let json = Json { cert, leaf: None, leaf_components: Some(leaf_components), node_id, proof, signature };
        let cose = BASE64.decode(&saved.cose).map_err(|_| malformed("the COSE receipt is not base64"))?;
        let cose = cose::Receipt::parse(&cose).map_err(|_| malformed("not a COSE receipt"))?;
        Ok(SavedReceipt {
            receipt: Receipt { service_signature: Some(cose.signature.clone()), ..Receipt::read(json)? },
            transaction_id: saved.transaction_id.parse().map_err(|_| malformed("not a transaction id"))?,
            service_certificate: saved.service_cert.as_deref().map(Certificate::from_pem).transpose()?,
            record: saved.record,
            cose,
            call: saved.call,
        })
    }

    /// Checks everything that can be checked without the ledger, and returns the name of the transaction.
    ///
    /// With a pinned certificate the receipt must be of that service; without one, of the service that it names itself,
    /// which says no more than that the service exists.
    pub fn verify(&self, pinned: Option<&Certificate>) -> Result<TxId, ReceiptError> {
        let service = match (pinned, &self.service_certificate) {
            (Some(pinned), Some(named)) if pinned != named => return Err(ReceiptError::OtherService),
            (Some(service), _) | (None, Some(service)) => service,
            (None, None) => return Err(ReceiptError::NoService),
        };
        let found = self.receipt.verify(service)?.ok_or(ReceiptError::Incomplete)?;
        if found != self.transaction_id {
            return Err(ReceiptError::TransactionId { named: self.transaction_id, found });
        }
        if self.receipt.to_cose() != Some(self.cose.encode()) || !self.cose.verifies(service) {
            return Err(ReceiptError::Cose);
        }
        if sha256(self.record.as_bytes()) != self.cose.claims_digest {
            return Err(ReceiptError::Record);
        }
        Ok(found)
    }

    /// The leaf of the transaction, for finding it in a ledger: see [`Receipt::leaf`].
    pub fn leaf(&self) -> Hash {
        self.cose.leaf()
    }
}
