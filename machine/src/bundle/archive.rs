//! The ledger as an archive: transactions of the past with their receipts, for `ccf.historical` and for `/receipt`.
//!
//! ```text
//! past(n) ──▶ remembered? ──▶ wait until n is on disk ──▶ index ──▶ decrypted, with the receipt by the first signature after n
//! ```
//!
//! Invariants: an answer follows from the ledger alone, so an audit gets the same one. Nothing is said of what is not on disk.
//! What is remembered is bounded in bytes.

use super::history::{Archive, Past};
use crate::Fault;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use ledger::receipt::Subject;
use ledger::{Dir, Index, LedgerSecret, Receipt, ReceiptError, Transaction, hex};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

/// Bytes of transactions that are remembered.
const REMEMBERED_BYTES: usize = 32 << 20;

/// What a remembered transaction costs beside its writes: the receipt above all.
const PAST_BYTES: usize = 4 << 10;

/// How often it is looked again for what must be there: a chunk file that gets another name may be overlooked.
const LOOKS: u32 = 5;

/// Waits until a transaction is on disk, or will not be.
type Wait = Box<dyn Fn(u64) + Send + Sync>;

/// A folder with a ledger, in which transactions and receipts are looked up. See the [module](self).
pub struct Ledger {
    index: Mutex<Index<Dir>>,
    recent: Mutex<Recent>,
    secret: Arc<LedgerSecret>,
    wait_until_durable: Wait,
}

impl Ledger {
    /// A ledger that is being written. `wait_until_durable` returns when a transaction is on disk, or when the node has ended;
    /// it is called on the thread that asks.
    pub fn live(
        folder: &Path,
        secret: Arc<LedgerSecret>,
        wait_until_durable: impl Fn(u64) + Send + Sync + 'static,
    ) -> io::Result<Ledger> {
        Ok(Ledger {
            index: Mutex::new(Index::new(Dir::open(folder)?, secret.clone())),
            recent: Mutex::default(),
            secret,
            wait_until_durable: Box::new(wait_until_durable),
        })
    }

    /// A ledger of which all that is asked for is on disk.
    pub fn at_rest(folder: &Path, secret: Arc<LedgerSecret>) -> io::Result<Ledger> {
        Ledger::live(folder, secret, |_| {})
    }

    /// The receipt of a transaction as HTTP has it. `None` if it is not there, or no signature on disk covers it yet.
    pub fn http_receipt(&self, seqno: u64) -> Result<Option<Value>, Fault> {
        let Some(transaction) = self.index().transaction(seqno).map_err(broken)? else { return Ok(None) };
        let receipt = self.index().receipt(&transaction);
        match receipt {
            Ok((receipt, by)) => {
                (self.wait_until_durable)(by);
                let receipt = serde_json::from_str(&receipt.to_json());
                Ok(Some(receipt.map_err(|error| Fault::Checkpoint(error.to_string()))?))
            }
            Err(ReceiptError::NotSigned) => Ok(None),
            Err(error) => Err(broken(error)),
        }
    }

    /// Reads a transaction and finds its receipt, which must come.
    fn find(&self, seqno: u64) -> Result<Option<Past>, Fault> {
        let (mut looks, mut wanted) = (LOOKS, seqno);
        let mut found: Option<Transaction> = None;
        while looks > 0 {
            (self.wait_until_durable)(wanted);
            looks -= 1;
            let mut index = self.index();
            if found.is_none() {
                found = index.transaction(seqno).map_err(broken)?;
            }
            let Some(transaction) = &found else { continue };
            match index.receipt(transaction) {
                Ok((receipt, by)) => {
                    drop(index);
                    (self.wait_until_durable)(by);
                    return self.past_of(transaction, &receipt).map(Some);
                }
                // The signature is on its way: it is one of the next transactions.
                Err(ReceiptError::NotSigned) if index.lacked() > wanted => (looks, wanted) = (LOOKS, index.lacked()),
                Err(ReceiptError::NotSigned) => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(None)
    }

    fn past_of(&self, transaction: &Transaction, receipt: &Receipt) -> Result<Past, Fault> {
        let mut writes = transaction.public().clone();
        if !transaction.private().is_empty() {
            let private = transaction.decrypt(&self.secret).map_err(|error| Fault::Checkpoint(error.to_string()))?;
            writes.maps.extend(private.maps);
        }
        Ok(Past { txid: transaction.txid(), writes, receipt: for_apps(receipt) })
    }

    fn index(&self) -> MutexGuard<'_, Index<Dir>> {
        // What a panic has left is caches, each whole or absent.
        self.index.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Archive for Ledger {
    fn past(&self, seqno: u64) -> Result<Option<Past>, Fault> {
        if let Some(past) = self.recent().get(seqno) {
            return Ok(Some(past));
        }
        let past = self.find(seqno)?;
        if let Some(past) = &past {
            self.recent().put(seqno, past);
        }
        Ok(past)
    }
}

fn broken(error: ReceiptError) -> Fault {
    Fault::Checkpoint(format!("the ledger cannot be read: {error}"))
}

/// A receipt as `ccf.historical` has it: other names than over HTTP, and no digest of claims that are none.
fn for_apps(receipt: &Receipt) -> Value {
    let mut value = json!({
        "signature": BASE64.encode(&receipt.node_signature),
        "cert": receipt.node_certificate.pem(),
        "node_id": receipt.node_id,
        "is_signature_transaction": receipt.leaf().is_none(),
    });
    match &receipt.subject {
        Subject::Signature { root } => value["root_hex"] = hex::encode(root).into(),
        Subject::Transaction { write_set_digest, commit_evidence, claims_digest, path } => {
            let mut parts = json!({
                "write_set_digest": hex::encode(write_set_digest),
                "commit_evidence": commit_evidence,
            });
            if *claims_digest != [0; 32] {
                parts["claims_digest"] = hex::encode(claims_digest).into();
            }
            value["leaf_components"] = parts;
            let step = |left: bool, hash: &[u8]| json!({ (if left { "left" } else { "right" }): hex::encode(hash) });
            value["proof"] = path.iter().map(|one| step(one.left, &one.hash)).collect();
        }
    }
    value
}

/// The transactions that were asked for last.
#[derive(Default)]
struct Recent {
    by_seqno: BTreeMap<u64, (u64, usize, Past)>,
    /// When each was asked for.
    by_turn: BTreeMap<u64, u64>,
    turn: u64,
    bytes: usize,
}

impl Recent {
    fn get(&mut self, seqno: u64) -> Option<Past> {
        let (turn, _, past) = self.by_seqno.get_mut(&seqno)?;
        self.by_turn.remove(turn);
        self.turn += 1;
        *turn = self.turn;
        self.by_turn.insert(self.turn, seqno);
        Some(past.clone())
    }

    fn put(&mut self, seqno: u64, past: &Past) {
        let maps = past.writes.maps.iter().map(|(name, map)| {
            let rows = map.writes.iter().map(|(key, value)| key.len() + value.len() + 64);
            name.len() + 64 + rows.sum::<usize>() + map.removes.iter().map(|key| key.len() + 32).sum::<usize>()
        });
        let bytes = PAST_BYTES + maps.sum::<usize>();
        if bytes > REMEMBERED_BYTES || self.by_seqno.contains_key(&seqno) {
            return;
        }
        self.turn += 1;
        self.by_seqno.insert(seqno, (self.turn, bytes, past.clone()));
        self.by_turn.insert(self.turn, seqno);
        self.bytes += bytes;
        while self.bytes > REMEMBERED_BYTES {
            let Some((_, oldest)) = self.by_turn.pop_first() else { break };
            if let Some((_, bytes, _)) = self.by_seqno.remove(&oldest) {
                self.bytes -= bytes;
            }
        }
    }
}
