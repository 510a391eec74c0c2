//! `ccf.consensus`: what is committed. In a ledger that is what a signature covers, so that it follows from what stands before
//! a request, in every replay too.

use super::host::Lent;
use super::store::Store;
use crate::Fault;
use crate::maps;
use ledger::TxId;
use sandbox::Answer;
use serde::Deserialize;
use serde_json::json;
use std::ops::Bound;

/// What a transaction id is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It may come to be.
    Unknown,
    /// It is there, and no signature covers it yet.
    Pending,
    /// A signature covers it.
    Committed,
    /// It is not, and never will be.
    Invalid,
}

impl Status {
    /// As CCF says it.
    pub fn name(self) -> &'static str {
        match self {
            Status::Unknown => "Unknown",
            Status::Pending => "Pending",
            Status::Committed => "Committed",
            Status::Invalid => "Invalid",
        }
    }
}

/// The last committed transaction.
pub fn committed(store: &Store) -> Option<TxId> {
    store.records.head().map(|head| head.txid)
}

/// When views began: view and first seqno, in order.
pub fn views(store: &Store) -> Result<Vec<(u64, u64)>, Fault> {
    let number = |bytes: &[u8]| bytes.try_into().map(u64::from_be_bytes).unwrap_or_default();
    let rows = store.records.state().range(maps::VIEWS, Bound::Unbounded, Bound::Unbounded)?;
    rows.map(|row| row.map(|(view, first)| (number(&view), number(first.value()))).map_err(Fault::from)).collect()
}

/// The view in which a transaction was written, if it is there.
pub fn view_of(store: &Store, seqno: u64) -> Result<Option<u64>, Fault> {
    if seqno == 0 || seqno > store.records.state().applied() {
        return Ok(None);
    }
    Ok(views(store)?.into_iter().rev().find(|(_, first)| *first <= seqno).map(|(view, _)| view))
}

/// What a transaction id is.
pub fn status(store: &Store, view: u64, seqno: u64) -> Result<Status, Fault> {
    let views = views(store)?;
    let Some(&(last_view, _)) = views.last() else { return Ok(Status::Unknown) };
    Ok(match view_of(store, seqno)? {
        Some(of) if of == view && committed(store).is_some_and(|last| seqno <= last.seqno) => Status::Committed,
        Some(of) if of == view => Status::Pending,
        Some(of) if view > of && view > last_view => Status::Unknown,
        Some(_) => Status::Invalid,
        None if view >= last_view => Status::Unknown,
        None => Status::Invalid,
    })
}

impl super::gov::Ledger for Store {
    fn committed(&self) -> (u64, u64) {
        committed(self).map_or((0, 0), |txid| (txid.view, txid.seqno))
    }

    fn status(&self, view: u64, seqno: u64) -> &'static str {
        status(self, view, seqno).unwrap_or(Status::Unknown).name()
    }
}

#[derive(Deserialize)]
struct Question {
    #[serde(default)]
    last: bool,
    view: Option<f64>,
    seqno: Option<f64>,
}

pub(crate) fn answer(lent: &mut Lent, text: &str) -> Result<Answer, sandbox::Fault> {
    let broken = |error: Fault| sandbox::Fault(error.to_string());
    let asked: Question = serde_json::from_str(text).map_err(|error| sandbox::Fault(error.to_string()))?;
    let store = &lent.store;
    let answer = match asked {
        Question { last: true, .. } => {
            let TxId { view, seqno } = committed(store).unwrap_or(TxId { view: 0, seqno: 0 });
            json!({ "view": view, "seqno": seqno })
        }
        Question { view: Some(view), seqno: Some(seqno), .. } => {
            json!(status(store, view as u64, seqno as u64).map_err(broken)?.name())
        }
        Question { seqno, .. } => json!(view_of(store, seqno.unwrap_or_default() as u64).map_err(broken)?),
    };
    Ok(Answer::Text(answer.to_string()))
}
