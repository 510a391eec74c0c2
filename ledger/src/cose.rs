//! The service's signature over a root: a COSE_Sign1 message (RFC 9052) with detached payload.
//!
//! ```text
//! 18([ protected, unprotected, nil, signature r ‖ s ])
//!
//! protected    {1: -35 (ES384), 4: key id, 15: {1: service name, 2: "ledger.signature", 6: signed at, unix s},
//!               395: 2 (CCF ledger), "ccf.v1": {"txid": "2.17"}}
//! payload      the root, 32 bytes, not part of the message
//! unprotected  {} in a signature transaction; in a receipt
//!              {396: {-1: [ << {1: [write set digest, commit evidence, claims digest],
//!                               2: [[is left, hash], …]} >> ]}}
//! ```
//!
//! Invariant: [`Signature::parse`] and [`Receipt::parse`] accept only the bytes that [`Signature::encode`] and
//! [`Receipt::encode`] write.

use coset::cbor::Value;
use coset::{CborSerializable, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, Label, TaggedCborSerializable, iana};

use crate::cert::Certificate;
use crate::hex;
use crate::merkle::{Hash, PATH_MAX_STEPS, Step, fold};
use crate::secret::sha256;
use crate::transaction::leaf_digest;
use crate::txid::TxId;

/// What a signature of a ledger is about, in the words of RFC 8392.
const SUBJECT: &str = "ledger.signature";
/// Longest message with a signature.
pub const COSE_MAX_BYTES: usize = 4096;
/// Longest receipt: a signature, a leaf, and [`PATH_MAX_STEPS`] steps of 37 bytes.
pub const COSE_RECEIPT_MAX_BYTES: usize = COSE_MAX_BYTES + 512 + PATH_MAX_STEPS * 37;

const CWT_CLAIMS: i64 = 15;
const CWT_ISSUER: i64 = 1;
const CWT_SUBJECT: i64 = 2;
const CWT_ISSUED_AT: i64 = 6;
const VERIFIABLE_DATA_STRUCTURE: i64 = 395;
const CCF_LEDGER: i64 = 2;
const VERIFIABLE_DATA_PROOFS: i64 = 396;
const INCLUSION_PROOFS: i64 = -1;
const PROOF_LEAF: i64 = 1;
const PROOF_PATH: i64 = 2;
const CCF_CLAIMS: &str = "ccf.v1";

/// Not a service's signature of a ledger in its one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the COSE signature of a ledger")]
pub struct CoseError;

/// The service's signature over a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The signature transaction that carries it.
    pub txid: TxId,
    /// When, in seconds since 1970.
    pub signed_at_s: u64,
    /// The name of the service.
    pub issuer: String,
    /// Which key, see [`Certificate::id`].
    pub key_id: String,
    /// r ‖ s.
    pub signature: Vec<u8>,
}

/// A receipt as a COSE message: the service's signature over a root, and the path from a leaf to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The signature.
    pub signature: Signature,
    /// SHA-256 of all bytes of the transaction.
    pub write_set_digest: Hash,
    /// Text that holds its name, and that only the service could make.
    pub commit_evidence: String,
    /// What the application claims, zeros when it claims nothing.
    pub claims_digest: Hash,
    /// From the leaf to the root.
    pub path: Vec<Step>,
}

impl Signature {
    /// Signs a root. `sign` makes an ES384 signature, r ‖ s.
    pub(crate) fn create<E>(
        txid: TxId,
        signed_at_s: u64,
        issuer: &str,
        service: &Certificate,
        root: &Hash,
        sign: impl FnOnce(&[u8]) -> Result<Vec<u8>, E>,
    ) -> Result<Signature, E> {
        let mut made =
            Signature { txid, signed_at_s, issuer: issuer.to_owned(), key_id: service.id().to_owned(), signature: Vec::new() };
        made.signature = sign(&made.message().tbs_detached_data(root, b""))?;
        Ok(made)
    }

    /// True when the service signed this root.
    pub fn verifies(&self, root: &Hash, service: &Certificate) -> bool {
        let signed = self.message().tbs_detached_data(root, b"");
        self.key_id == service.id() && service.verifies_es384(&signed, &self.signature)
    }

    /// The message, as it stands in a signature transaction.
    pub fn encode(&self) -> Vec<u8> {
        self.message().to_tagged_vec().expect("a message of our own making has an encoding")
    }

    /// Reads the message of a signature transaction.
    pub fn parse(bytes: &[u8]) -> Result<Signature, CoseError> {
        if bytes.len() > COSE_MAX_BYTES {
            return Err(CoseError);
        }
        let message = CoseSign1::from_tagged_slice(bytes).map_err(|_| CoseError)?;
        let signature = Signature::read(&message)?;
        if signature.encode() != bytes {
            return Err(CoseError);
        }
        Ok(signature)
    }

    /// What the message says, whatever its encoding.
    fn read(message: &CoseSign1) -> Result<Signature, CoseError> {
        let header = &message.protected.header;
        let claims = map(find(header, &Label::Int(CWT_CLAIMS))?)?;
        let ccf = map(find(header, &Label::Text(CCF_CLAIMS.to_owned()))?)?;
        let signature = Signature {
            txid: text(entry(ccf, &Value::from("txid"))?)?.parse().map_err(|_| CoseError)?,
            signed_at_s: number(entry(claims, &Value::from(CWT_ISSUED_AT))?)?,
            issuer: text(entry(claims, &Value::from(CWT_ISSUER))?)?.to_owned(),
            key_id: String::from_utf8(header.key_id.clone()).map_err(|_| CoseError)?,
            signature: message.signature.clone(),
        };
        if hex::decode::<32>(&signature.key_id).is_none() {
            return Err(CoseError);
        }
        Ok(signature)
    }

    fn message(&self) -> CoseSign1 {
        let claims = vec![
            (Value::from(CWT_ISSUER), Value::from(self.issuer.as_str())),
            (Value::from(CWT_SUBJECT), Value::from(SUBJECT)),
            (Value::from(CWT_ISSUED_AT), Value::from(self.signed_at_s)),
        ];
        let txid = vec![(Value::from("txid"), Value::from(self.txid.to_string()))];
        let protected = HeaderBuilder::new()
            .algorithm(iana::Algorithm::ES384)
            .key_id(self.key_id.clone().into_bytes())
            .value(CWT_CLAIMS, Value::Map(claims))
            .value(VERIFIABLE_DATA_STRUCTURE, Value::from(CCF_LEDGER))
            .text_value(CCF_CLAIMS.to_owned(), Value::Map(txid))
            .build();
        CoseSign1Builder::new().protected(protected).signature(self.signature.clone()).build()
    }
}

impl Receipt {
    /// The leaf of the transaction.
    pub fn leaf(&self) -> Hash {
        leaf_digest(&self.write_set_digest, &sha256(self.commit_evidence.as_bytes()), &self.claims_digest)
    }

    /// The root that the receipt leads to.
    pub fn root(&self) -> Hash {
        fold(self.leaf(), &self.path)
    }

    /// True when the service signed the root that the receipt leads to.
    pub fn verifies(&self, service: &Certificate) -> bool {
        self.signature.verifies(&self.root(), service)
    }

    /// The message.
    pub fn encode(&self) -> Vec<u8> {
        let mut message = self.signature.message();
        message.unprotected.rest.push((Label::Int(VERIFIABLE_DATA_PROOFS), self.proofs()));
        message.to_tagged_vec().expect("a message of our own making has an encoding")
    }

    /// Reads a message, which must be in its one encoding. This does not check the receipt.
    pub fn parse(bytes: &[u8]) -> Result<Receipt, CoseError> {
        if bytes.len() > COSE_RECEIPT_MAX_BYTES {
            return Err(CoseError);
        }
        let message = CoseSign1::from_tagged_slice(bytes).map_err(|_| CoseError)?;
        let proofs = map(find(&message.unprotected, &Label::Int(VERIFIABLE_DATA_PROOFS))?)?;
        let [Value::Bytes(proof)] = list(entry(proofs, &Value::from(INCLUSION_PROOFS))?)? else {
            return Err(CoseError);
        };
        let proof = Value::from_slice(proof).map_err(|_| CoseError)?;
        let proof = map(&proof)?;
        let [write_set_digest, commit_evidence, claims_digest] = list(entry(proof, &Value::from(PROOF_LEAF))?)? else {
            return Err(CoseError);
        };
        let path = list(entry(proof, &Value::from(PROOF_PATH))?)?;
        if path.len() > PATH_MAX_STEPS {
            return Err(CoseError);
        }
        let step = |step: &Value| match list(step)? {
            [Value::Bool(left), sibling] => Ok(Step { left: *left, hash: hash(sibling)? }),
            _ => Err(CoseError),
        };
        let receipt = Receipt {
            signature: Signature::read(&message)?,
            write_set_digest: hash(write_set_digest)?,
            commit_evidence: text(commit_evidence)?.to_owned(),
            claims_digest: hash(claims_digest)?,
            path: path.iter().map(step).collect::<Result<_, _>>()?,
        };
        if receipt.encode() != bytes {
            return Err(CoseError);
        }
        Ok(receipt)
    }

    fn proofs(&self) -> Value {
        let leaf = vec![
            Value::Bytes(self.write_set_digest.to_vec()),
            Value::from(self.commit_evidence.as_str()),
            Value::Bytes(self.claims_digest.to_vec()),
        ];
        let step = |step: &Step| Value::Array(vec![Value::Bool(step.left), Value::Bytes(step.hash.to_vec())]);
        let proof = Value::Map(vec![
            (Value::from(PROOF_LEAF), Value::Array(leaf)),
            (Value::from(PROOF_PATH), Value::Array(self.path.iter().map(step).collect())),
        ]);
        let proof = Value::Bytes(proof.to_vec().expect("a value of our own making has an encoding"));
        Value::Map(vec![(Value::from(INCLUSION_PROOFS), Value::Array(vec![proof]))])
    }
}

fn find<'a>(header: &'a Header, label: &Label) -> Result<&'a Value, CoseError> {
    header.rest.iter().find(|(found, _)| found == label).map(|(_, value)| value).ok_or(CoseError)
}

fn entry<'a>(map: &'a [(Value, Value)], key: &Value) -> Result<&'a Value, CoseError> {
    map.iter().find(|(found, _)| found == key).map(|(_, value)| value).ok_or(CoseError)
}

fn map(value: &Value) -> Result<&[(Value, Value)], CoseError> {
    value.as_map().map(Vec::as_slice).ok_or(CoseError)
}

fn list(value: &Value) -> Result<&[Value], CoseError> {
    value.as_array().map(Vec::as_slice).ok_or(CoseError)
}

fn hash(value: &Value) -> Result<Hash, CoseError> {
    value.as_bytes().and_then(|bytes| bytes.as_slice().try_into().ok()).ok_or(CoseError)
}

fn text(value: &Value) -> Result<&str, CoseError> {
    value.as_text().ok_or(CoseError)
}

fn number(value: &Value) -> Result<u64, CoseError> {
    value.as_integer().and_then(|n| n.try_into().ok()).ok_or(CoseError)
}
