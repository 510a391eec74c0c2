//! The sealer: gives transactions their names, encodes, encrypts and hashes them, and signs.
//!
//! It works in memory and does no I/O: what [`Sealer::seal`] returns is not part of the ledger until the log has made
//! it durable, and the caller must not let anybody see it before that. After a failure to do so the sealer is ahead of
//! the ledger; drop it, recover, and resume with a higher view.
//!
//! Invariants:
//!
//! - Transactions come out in order, without gaps, and every one is a leaf of the tree before the next comes out.
//! - A signature covers everything before it; the writes of a signature transaction cannot come from outside.
//! - One (view, seqno) is sealed once, because it is also the nonce; [`Sealer::resume`] takes only a view that the
//!   ledger has not seen.
//! - A frontier that it seals is its own, and a signature is not older than the one before.
//! - Receipts can be made for at least the last [`WINDOW_MIN_LEAVES`] transactions, but for none before the frontier at
//!   which a bounded recovery began; for older ones see [`crate::receipt::from_ledger`].

use std::sync::Arc;

use crate::audit::Audit;
use crate::cose;
use crate::frontier::{FRONTIER_MAP, Frontier};
use crate::keys::Keys;
use crate::merkle::{Hash, Tree};
use crate::receipt::{Receipt, ReceiptError};
use crate::signature::{COSE_SIGNATURES_MAP, SIGNATURES_MAP, SignatureInfo, TREE_MAP};
use crate::transaction::{self, CodecError, FLAG_END_OF_CHUNK, Leaf};
use crate::txid::{FIRST_VIEW, SEQNO_MAX, TxId, VIEW_MAX};
use crate::write_set::WriteSet;

/// Most leaves for which paths are kept: 64 bytes each, 4 MiB in all.
pub const WINDOW_MAX_LEAVES: u64 = 1 << 16;
/// Fewest leaves for which paths are kept, when there are as many.
pub const WINDOW_MIN_LEAVES: u64 = WINDOW_MAX_LEAVES / 2;

/// Turns write sets into transactions.
#[derive(Debug)]
pub struct Sealer {
    keys: Arc<Keys>,
    view: u64,
    tree: Tree,
    last_signature: Option<SignatureInfo>,
}

/// A transaction that came out of a sealer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its name.
    pub txid: TxId,
    /// Its bytes, for the log.
    pub raw: Vec<u8>,
    /// What of it a receipt needs.
    pub leaf: Leaf,
}

/// A write set that was not sealed. The sealer is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// The write set has no encoding.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The write set touches a map of signature transactions.
    #[error("only signature transactions write {0}")]
    ReservedMap(&'static str),
    /// The frontier in the write set is that of another transaction.
    #[error("the frontier is not that of the tree")]
    Frontier,
    /// The view is too low, too high, or was used before.
    #[error("the view must be new: above {above} and at most {VIEW_MAX}")]
    View {
        /// The last view of the ledger.
        above: u64,
    },
    /// The ledger belongs to another service, or does not trust this node.
    #[error("the ledger is not one of these keys")]
    Keys,
    /// No sequence number is left.
    #[error("the ledger is full")]
    Full,
    /// The library did not sign.
    #[error("the signature could not be made")]
    Signature,
}

impl Sealer {
    /// For an empty ledger. The first view is 2.
    pub fn new(keys: &Arc<Keys>, view: u64) -> Result<Sealer, SealError> {
        Sealer::start(keys, view, FIRST_VIEW - 1, Tree::new(), None)
    }

    /// For a ledger that was read to its end. The view must be higher than the last one in it.
    pub fn resume(keys: &Arc<Keys>, view: u64, audit: Audit) -> Result<Sealer, SealError> {
        let Some(last) = audit.last() else {
            return Sealer::new(keys, view);
        };
        let service_matches = audit.service_certificate() == Some(keys.service_certificate());
        if !service_matches || audit.trusted_node(keys.node_certificate().id()) != Some(keys.node_certificate()) {
            return Err(SealError::Keys);
        }
        let (tree, last_signature) = audit.into_parts();
        Sealer::start(keys, view, last.view, tree, last_signature)
    }

    fn start(
        keys: &Arc<Keys>,
        view: u64,
        above: u64,
        tree: Tree,
        last_signature: Option<SignatureInfo>,
    ) -> Result<Sealer, SealError> {
        if view <= above || view > VIEW_MAX {
            return Err(SealError::View { above });
        }
        Ok(Sealer { keys: Arc::clone(keys), view, tree, last_signature })
    }

    /// The name of the next transaction.
    pub fn next(&self) -> TxId {
        TxId { view: self.view, seqno: self.tree.size() }
    }

    /// The number of transactions after the last signature.
    pub fn unsigned(&self) -> u64 {
        self.tree.size() - 1 - self.last_signature.as_ref().map_or(0, |signature| signature.txid.seqno)
    }

    /// The last signature.
    pub fn last_signature(&self) -> Option<&SignatureInfo> {
        self.last_signature.as_ref()
    }

    /// What one needs to go on from the next transaction. That one may carry it, see [`Frontier::write`].
    pub fn frontier(&self) -> Frontier {
        self.tree.frontier(self.last_signature.as_ref().map(|signature| signature.txid))
    }

    /// Seals a write set. The claims digest is for the application: a receipt proves it.
    pub fn seal(&mut self, writes: &WriteSet, claims: Option<Hash>) -> Result<Sealed, SealError> {
        for reserved in [SIGNATURES_MAP, COSE_SIGNATURES_MAP, TREE_MAP] {
            if writes.maps.contains_key(reserved) {
                return Err(SealError::ReservedMap(reserved));
            }
        }
        if writes.maps.contains_key(FRONTIER_MAP) && Frontier::read(writes) != Ok(Some(self.frontier())) {
            return Err(SealError::Frontier);
        }
        self.encode(0, writes, claims.unwrap_or_default())
    }

    /// Seals a signature over everything so far. With `ends_chunk` the log begins a new file after it. When the clock went
    /// back, the time of the signature before is taken again.
    pub fn sign(&mut self, now_s: u64, ends_chunk: bool) -> Result<Sealed, SealError> {
        let txid = self.next();
        let root = self.tree.root();
        let now_s = self.last_signature.as_ref().map_or(now_s, |last| now_s.max(last.signed_at_s()));
        let (service, node) = (self.keys.service_certificate(), self.keys.node_certificate());
        let sign = |message: &[u8]| self.keys.service_sign(message);
        let service_signature = cose::Signature::create(txid, now_s, service.name(), service, &root, sign);
        let info = SignatureInfo {
            txid,
            previous: self.last_signature.as_ref().map(|signature| signature.txid),
            root,
            node_id: node.id().to_owned(),
            node_signature: self.keys.node_sign(&root).map_err(|_| SealError::Signature)?,
            service_signature: service_signature.map_err(|_| SealError::Signature)?,
            ends_chunk,
        };
        let flags = if ends_chunk { FLAG_END_OF_CHUNK } else { 0 };
        let sealed = self.encode(flags, &info.write_set(), [0; 32])?;
        self.last_signature = Some(info);
        Ok(sealed)
    }

    /// The receipt of a transaction that the last signature covers.
    pub fn receipt(&self, leaf: &Leaf) -> Result<Receipt, ReceiptError> {
        let signature = self.last_signature.as_ref().ok_or(ReceiptError::NotSigned)?;
        let path = |leaf| self.tree.path(leaf, signature.txid.seqno);
        Receipt::for_leaf(leaf, signature, self.keys.node_certificate(), self.keys.secret(), path)
    }

    /// The receipt of the last signature transaction itself.
    pub fn signature_receipt(&self) -> Result<Receipt, ReceiptError> {
        let signature = self.last_signature.as_ref().ok_or(ReceiptError::NotSigned)?;
        Ok(Receipt::for_signature(signature, self.keys.node_certificate()))
    }

    fn encode(&mut self, flags: u8, writes: &WriteSet, claims: Hash) -> Result<Sealed, SealError> {
        let txid = self.next();
        if txid.seqno > SEQNO_MAX {
            return Err(SealError::Full);
        }
        let (raw, leaf) = transaction::encode(txid, flags, writes, claims, self.keys.secret())?;
        self.tree.push(leaf.digest());
        bound_window(&mut self.tree);
        Ok(Sealed { txid, raw, leaf })
    }
}

/// Keeps the window of a tree between its two bounds.
pub(crate) fn bound_window(tree: &mut Tree) {
    if tree.size() - tree.window() > WINDOW_MAX_LEAVES {
        tree.forget_before(tree.size() - WINDOW_MIN_LEAVES);
    }
}
