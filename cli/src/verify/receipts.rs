//! Saved receipts: what callers hold against the ledger.
//!
//! A receipt proves, without the ledger, that the service has signed a call and its result at a place. So a ledger of the same
//! service that has something else at that place, or ends before it, is not the one that was signed: the operator has dropped
//! or rewritten a call, however well the rest fits together.

use super::report::{Mismatch, Stopped};
use crate::Failed;
use crate::receipt::proven;
use ledger::receipt::saved::SAVED_RECEIPT_MAX_BYTES;
use ledger::{Certificate, SavedReceipt, Transaction, TxId};
use machine::{Checkpoint, Entry, Input, maps};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

/// Receipts of one folder: they are held in memory.
const MAX_BYTES: u64 = 1 << 30;

/// Mismatches that are printed.
const MAX_SHOWN: usize = 20;

/// Characters of arguments that are printed.
const MAX_SHOWN_CHARS: usize = 60;

/// The receipts of a folder.
#[derive(Default)]
pub struct Receipts {
    saved: Vec<Saved>,
    by_seqno: BTreeMap<u64, Vec<usize>>,
    /// What is wrong with files that hold none, by name.
    malformed: Vec<(String, String)>,
}

struct Saved {
    file: String,
    receipt: SavedReceipt,
}

/// What the ledger says to a receipt, which has the number `index`.
pub struct Verdict {
    index: usize,
    /// The ledger's name of the transaction, if it is not the receipt's, or if it is another one.
    wrong: Option<String>,
}

impl Receipts {
    /// Reads every `*.json` in a folder.
    pub fn load(dir: &Path) -> Result<Receipts, Failed> {
        let unable = |error: std::io::Error| Failed::unable(format!("{}: {error}", dir.display()));
        let mut names = Vec::new();
        for entry in fs::read_dir(dir).map_err(unable)? {
            let entry = entry.map_err(unable)?;
            if entry.path().extension().is_some_and(|extension| extension == "json") && entry.path().is_file() {
                names.push(entry.file_name());
            }
        }
        names.sort_unstable();
        let mut receipts = Receipts::default();
        let mut left_bytes = MAX_BYTES;
        for name in names {
            let file = name.to_string_lossy().into_owned();
            let mut text = String::new();
            let limit = SAVED_RECEIPT_MAX_BYTES as u64 + 1;
            let read = File::open(dir.join(&name)).and_then(|file| file.take(limit).read_to_string(&mut text));
            left_bytes = left_bytes
                .checked_sub(text.len() as u64)
                .ok_or_else(|| Failed::unable(format!("{}: more than a GiB of receipts", dir.display())))?;
            match read.map_err(|error| error.to_string()).and_then(|_| parse(&text)) {
                Ok(receipt) => {
                    let index = receipts.saved.len();
                    receipts.by_seqno.entry(receipt.transaction_id.seqno).or_default().push(index);
                    receipts.saved.push(Saved { file, receipt });
                }
                Err(why) => receipts.malformed.push((file, why)),
            }
        }
        if receipts.saved.is_empty() && receipts.malformed.is_empty() {
            return Err(Failed::unable(format!("{}: there is no receipt", dir.display())));
        }
        Ok(receipts)
    }

    /// Compares those that are of a transaction with what the ledger has there.
    pub fn compare(&self, transaction: &Transaction) -> Vec<Verdict> {
        let Some(indices) = self.by_seqno.get(&transaction.txid().seqno) else { return Vec::new() };
        let leaf = transaction.leaf().digest();
        let record = transaction.public().get(maps::GLASSBOX, maps::CALL_KEY);
        indices
            .iter()
            .map(|&index| {
                let receipt = &self.saved[index].receipt;
                let same = receipt.transaction_id == transaction.txid()
                    && receipt.leaf() == leaf
                    && record == Some(receipt.record.as_bytes());
                Verdict { index, wrong: (!same).then(|| has_instead(receipt, transaction)) }
            })
            .collect()
    }

    /// Sums up: the number of good receipts, or everything that is wrong. `certificate` is the service's that the ledger names,
    /// `last` the last transaction that was read; if that is not the ledger's last, what comes behind it is not known.
    pub fn judge(
        &self,
        verdicts: &[Verdict],
        certificate: Option<&Certificate>,
        last: Option<TxId>,
        is_whole: bool,
    ) -> Result<u64, Mismatch> {
        let mut wrong: BTreeMap<&str, (Option<TxId>, String)> =
            self.malformed.iter().map(|(file, why)| (file.as_str(), (None, why.clone()))).collect();
        let compared: BTreeMap<usize, &Verdict> = verdicts.iter().map(|verdict| (verdict.index, verdict)).collect();
        for (index, Saved { file, receipt }) in self.saved.iter().enumerate() {
            let txid = receipt.transaction_id;
            let why = match (receipt.verify(certificate), compared.get(&index)) {
                // What it says of itself is false: then it says nothing about the ledger.
                (Err(error), _) => Some(error.to_string()),
                (Ok(_), _) if receipt.call.is_some() && proven(receipt).is_err() => proven(receipt).err(),
                (Ok(_), Some(verdict)) => verdict.wrong.clone(),
                (Ok(_), None) if is_whole => {
                    let end = last.map_or("is empty".into(), |last| format!("ends with transaction {last}"));
                    Some(format!("the service has signed {}, the ledger {end}", what_of(receipt)))
                }
                (Ok(_), None) => None,
            };
            if let Some(why) = why {
                wrong.insert(file, (Some(txid), why));
            }
        }
        if wrong.is_empty() {
            return Ok(self.saved.len() as u64);
        }
        let transaction = wrong.values().find_map(|(txid, _)| *txid).map(|txid| txid.to_string());
        let mut details: Vec<String> = wrong.iter().take(MAX_SHOWN).map(|(file, (_, why))| format!("{file}: {why}")).collect();
        if wrong.len() > MAX_SHOWN {
            details.push(format!("and {} more", wrong.len() - MAX_SHOWN));
        }
        Err(Mismatch { what: "receipts", transaction, details })
    }
}

impl From<Mismatch> for Stopped {
    fn from(mismatch: Mismatch) -> Stopped {
        Stopped::Mismatch(mismatch)
    }
}

fn parse(text: &str) -> Result<SavedReceipt, String> {
    if text.len() > SAVED_RECEIPT_MAX_BYTES {
        return Err("too long for a receipt".into());
    }
    SavedReceipt::from_json(text).map_err(|error| error.to_string())
}

/// What is wrong, for a person.
fn has_instead(receipt: &SavedReceipt, transaction: &Transaction) -> String {
    let (txid, found) = (receipt.transaction_id, transaction.txid());
    let signed = format!("the service has signed {}", what_of(receipt));
    let writes = transaction.public();
    let record = writes.get(maps::GLASSBOX, maps::CALL_KEY).map(String::from_utf8_lossy);
    let place = if txid == found { "there".to_owned() } else { format!("as {found}") };
    match record {
        Some(record) if record == receipt.record => {
            format!("{signed}, the ledger has the same call in another transaction, {place}")
        }
        Some(record) if call_of(&record) == call_of(&receipt.record) => {
            format!("{signed}, the ledger has another record of it {place}: {}", differing(&receipt.record, &record))
        }
        Some(record) => format!("{signed}, the ledger has {} {place}", call_of(&record)),
        None if writes.maps.contains_key(ledger::signature::SIGNATURES_MAP) => {
            format!("{signed}, the ledger has a signature {place}")
        }
        None if writes.get(maps::GLASSBOX, maps::CHECKPOINT_KEY).is_some_and(|row| Checkpoint::decode(row).is_ok()) => {
            format!("{signed}, the ledger has a checkpoint {place}")
        }
        None => format!("{signed}, the ledger has no call {place}"),
    }
}

/// `increment(1) as transaction 2.18`
fn what_of(receipt: &SavedReceipt) -> String {
    let txid = receipt.transaction_id;
    match receipt.call.as_ref().map(|call| Input::decode(call.as_bytes())) {
        Some(call) => format!("that {} has settled in transaction {txid}", name_of(call.ok())),
        None => format!("{} as transaction {txid}", call_of(&receipt.record)),
    }
}

/// `increment(1)`
pub fn call_of(record: &str) -> String {
    name_of(Entry::decode(record.as_bytes()).ok().map(|entry| entry.input))
}

fn name_of(input: Option<Input>) -> String {
    match input {
        Some(Input::Call(call)) => {
            let args = call.args.strip_prefix('[').and_then(|args| args.strip_suffix(']')).unwrap_or(&call.args);
            format!("{}({})", call.method, short(args))
        }
        Some(Input::Init { .. }) => "init()".into(),
        Some(Input::Vats { work, .. }) => work.name().into(),
        Some(Input::Deploy { code, .. }) => format!("the deployment of {}", code.name),
        None => "a record that is no call".into(),
    }
}

fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The first place at which two records differ.
fn differing(signed: &str, found: &str) -> String {
    let at = signed.bytes().zip(found.bytes()).take_while(|(a, b)| a == b).count();
    let from =
        (0..=at.saturating_sub(20)).rev().find(|&at| signed.is_char_boundary(at) && found.is_char_boundary(at)).unwrap_or(0);
    let shown = |text: &str| short(text.get(from..).unwrap_or_default());
    format!("signed …{}, in the ledger …{}", shown(signed), shown(found))
}
