//! The ledger secret: 32 bytes that encrypt the private maps, authenticate every transaction, also those that no
//! signature covers yet, and make commit evidence unguessable.
//!
//! ```text
//! nonce     12 bytes   seqno u64 ┃ view u32, top bit clear
//! AES-256-GCM          key: the secret itself · additional data: the public domain · text: the private domain
//! evidence             "ce:{view}.{seqno}:{64 hex}"   hex of HMAC-SHA256(K, "{view}.{seqno}" ‖ flags byte)
//!                      K = HKDF-SHA256(secret, no salt, "glassbox commit evidence")
//! ```
//!
//! The digest of the evidence stands in the transaction, the evidence itself only in receipts: who has it can show that
//! the service gave out a receipt. Because it binds the flags, the only bits of a transaction that the tag does not
//! cover are checked as well.
//!
//! Invariant: one (view, seqno) is sealed once. A writer that may have written something that it no longer remembers
//! takes a higher view.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{digest, hkdf, hmac};

use crate::hex;
use crate::merkle::Hash;
use crate::txid::TxId;

/// Length of the secret.
pub const SECRET_BYTES: usize = 32;
/// Length of the tag.
pub const TAG_BYTES: usize = 16;
/// Length of the nonce.
pub const NONCE_BYTES: usize = 12;
/// Length of the text of commit evidence at most: "ce:", a transaction id, ":", a digest in hex.
const EVIDENCE_MAX_BYTES: usize = 3 + 10 + 1 + 19 + 1 + 64;

/// Encrypts, authenticates, and makes commit evidence.
pub struct LedgerSecret {
    raw: [u8; SECRET_BYTES],
    gcm: LessSafeKey,
    evidence: hmac::Key,
}

/// The tag does not fit the transaction: it was changed, or the secret is not the one that sealed it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the tag does not match: the transaction was changed, or the ledger secret is another one")]
pub struct TagError;

impl LedgerSecret {
    /// A secret of the given bytes.
    pub fn new(raw: [u8; SECRET_BYTES]) -> LedgerSecret {
        let gcm = UnboundKey::new(&AES_256_GCM, &raw).expect("a key of 32 bytes fits AES-256");
        let prk = hkdf::Salt::new(hkdf::HKDF_SHA256, &[]).extract(&raw);
        let evidence = prk.expand(&[b"glassbox commit evidence"], hmac::HMAC_SHA256);
        let evidence = evidence.expect("HKDF gives out a key of one hash length").into();
        LedgerSecret { raw, gcm: LessSafeKey::new(gcm), evidence }
    }

    pub(crate) fn raw(&self) -> &[u8; SECRET_BYTES] {
        &self.raw
    }

    /// Encrypts `private` where it stands and returns the tag.
    pub(crate) fn seal(&self, txid: TxId, public: &[u8], private: &mut [u8]) -> [u8; TAG_BYTES] {
        let tag = self.gcm.seal_in_place_separate_tag(nonce(txid), Aad::from(public), private);
        let tag = tag.expect("AES-GCM seals any text shorter than 64 GiB");
        tag.as_ref().try_into().expect("the tag of AES-GCM has 16 bytes")
    }

    /// Checks the tag and decrypts.
    pub(crate) fn open(&self, txid: TxId, public: &[u8], cipher: &[u8], tag: &[u8; TAG_BYTES]) -> Result<Vec<u8>, TagError> {
        let mut text = vec![0; cipher.len()];
        let opened = self.gcm.open_separate_gather(nonce(txid), Aad::from(public), cipher, tag, &mut text);
        opened.map(|()| text).map_err(|_| TagError)
    }

    /// The commit evidence of a transaction.
    pub fn commit_evidence(&self, txid: TxId, flags: u8) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(EVIDENCE_MAX_BYTES);
        text.push_str("ce:");
        write!(text, "{txid}").expect("a string takes any text");
        let mut mac = hmac::Context::with_key(&self.evidence);
        mac.update(&text.as_bytes()[3..]);
        mac.update(&[flags]);
        text.push(':');
        hex::push(&mut text, mac.sign().as_ref());
        text
    }

    /// SHA-256 of the commit evidence, as it stands in the transaction.
    pub(crate) fn commit_evidence_digest(&self, txid: TxId, flags: u8) -> Hash {
        sha256(self.commit_evidence(txid, flags).as_bytes())
    }
}

impl std::fmt::Debug for LedgerSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LedgerSecret")
    }
}

/// SHA-256.
pub fn sha256(bytes: &[u8]) -> Hash {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// The nonce of a transaction, as it stands in its header.
pub(crate) fn nonce_bytes(txid: TxId) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[..8].copy_from_slice(&txid.seqno.to_le_bytes());
    nonce[8..].copy_from_slice(&(txid.view as u32).to_le_bytes());
    nonce
}

fn nonce(txid: TxId) -> Nonce {
    Nonce::assume_unique_for_key(nonce_bytes(txid))
}
