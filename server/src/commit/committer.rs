//! The committer: makes durable what is finished, and answers.

use super::{Answered, Deployed, Done, Reply, Shared, Tell, View, Worked};
use crate::limits;
use crate::mail::{Outbox, Outgoing};
use crate::metrics::Metrics;
use ledger::receipt::Receipt;
use ledger::receipt::saved::SAVED_RECEIPT_MAX_BYTES;
use ledger::{Dir, Leaf, Log, TxId};
use machine::{AuthError, Head};
use std::sync::Arc;
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;
use tokio::sync::oneshot;

/// What goes from the executor to the committer, in order.
pub(super) enum Finished {
    Call {
        raw: Vec<u8>,
        txid: TxId,
        reply: Option<(Reply, machine::Result)>,
    },
    Signature {
        raw: Vec<u8>,
        head: Head,
        receipts: Vec<Receipted>,
    },
    Deployment {
        raw: Vec<u8>,
        txid: TxId,
        tell: oneshot::Sender<Result<Deployed, String>>,
        told: Result<Deployed, String>,
    },
    Checkpoint {
        raw: Vec<u8>,
        txid: TxId,
        durable: SyncSender<()>,
    },
    Request {
        raw: Vec<u8>,
        txid: TxId,
        tell: Tell,
        answered: Answered,
    },
    /// What vats have done, and the calls that have settled by it.
    Vats {
        raw: Vec<u8>,
        txid: TxId,
        replies: Vec<(Reply, machine::Result)>,
        mail: Option<(Outbox, Outgoing)>,
        worked: Option<(Worked, Result<(), String>)>,
    },
    /// Who sends mail to other kernels begins to listen.
    Post(Outbox, Outgoing),
    /// A request that leaves no transaction: it waits for what it has seen.
    Seen(Tell, Answered),
    Refused(Reply, AuthError),
    Look(oneshot::Sender<View>, Box<View>),
}

impl Finished {
    /// What goes to disk.
    fn transaction(&self) -> Option<(TxId, &[u8])> {
        match self {
            Finished::Call { raw, txid, .. }
            | Finished::Deployment { raw, txid, .. }
            | Finished::Request { raw, txid, .. }
            | Finished::Vats { raw, txid, .. }
            | Finished::Checkpoint { raw, txid, .. } => Some((*txid, raw)),
            Finished::Signature { raw, head, .. } => Some((head.txid, raw)),
            Finished::Post(..) | Finished::Seen(..) | Finished::Refused(..) | Finished::Look(..) => None,
        }
    }
}

/// A call whose reply waits for the signature.
pub(super) struct Awaiting {
    pub leaf: Leaf,
    /// Shared, since many calls of vats may settle in one transaction.
    pub record: Arc<str>,
    /// The input of a call of vats that the record speaks of.
    pub call: Option<String>,
    pub reply: Reply,
    pub result: machine::Result,
}

/// The same with its receipt.
pub(super) struct Receipted {
    pub receipt: Receipt,
    pub call: Awaiting,
}

/// Takes what is finished. As long as more calls wait than the group has, and not longer than [`limits::MAX_GATHER`], it
/// waits for them too: they will share the fsync, and the disk is asked less often. A client alone never waits here.
fn gather(group: &mut Vec<Finished>, finished: &Receiver<Finished>, metrics: &Metrics) {
    let until = Instant::now() + limits::MAX_GATHER;
    loop {
        let room = limits::MAX_GROUP - group.len();
        group.extend(finished.try_iter().take(room));
        let more = metrics.waiting.load(Relaxed) > group.len() as u64;
        if !more || group.len() == limits::MAX_GROUP || Instant::now() >= until {
            return;
        }
        // Not `recv_timeout`: the executor would have to wake this thread for each of them.
        std::thread::sleep(limits::GATHER_STEP);
    }
}

/// Answers what has waited for what is durable now.
fn release(shared: &Shared) {
    let durable = shared.metrics.last_seqno.load(SeqCst);
    let mut held = shared.held.lock().expect("nobody panics with it");
    let (ready, waiting): (Vec<_>, Vec<_>) = held.drain(..).partition(|(seqno, _)| *seqno <= durable);
    *held = waiting;
    shared.holds.store(held.len() as u64, SeqCst);
    drop(held);
    for (_, then) in ready {
        then();
    }
}

pub(super) fn commit(log: &mut Log<Dir>, finished: &Receiver<Finished>, shared: &Shared) {
    let mut group = Vec::new();
    while let Ok(first) = finished.recv() {
        group.push(first);
        gather(&mut group, finished, &shared.metrics);
        let began = Instant::now();
        let mut bytes = 0;
        let written = group.iter().filter_map(Finished::transaction).try_for_each(|(_, raw)| {
            bytes += raw.len() as u64;
            log.append(raw)
        });
        if let Err(error) = written.and_then(|()| if bytes > 0 { log.commit() } else { Ok(()) }) {
            // Nobody may learn of what is not on disk: the replies are dropped with the group.
            tracing::error!("the node stops, the ledger cannot be written: {error}");
            shared.failed.store(true, Relaxed);
            shared.stopping.store(true, Relaxed);
            shared.ended.notify_one();
            return;
        }
        let metrics = &shared.metrics;
        if bytes > 0 {
            metrics.commits.fetch_add(1, Relaxed);
            metrics.commit_us.fetch_add(began.elapsed().as_micros() as u64, Relaxed);
            metrics.ledger_bytes.fetch_add(bytes, Relaxed);
            let mut durable = shared.durable.lock().expect("nobody panics with it");
            for finished in &group {
                if let Some((txid, _)) = finished.transaction() {
                    durable.last = Some(txid);
                    metrics.last_seqno.store(txid.seqno, SeqCst);
                }
                if let Finished::Signature { head, .. } = finished {
                    durable.signed = Some(*head);
                    metrics.signed_seqno.store(head.txid.seqno, Relaxed);
                }
            }
            durable.open = log.open_chunk();
            drop(durable);
            if shared.holds.load(SeqCst) > 0 {
                release(shared);
            }
            if shared.waiting_for_durable.load(SeqCst) > 0 {
                shared.more_durable.notify_all();
            }
        }
        let signed = shared.durable.lock().expect("nobody panics with it").signed;
        for finished in group.drain(..) {
            match finished {
                Finished::Call { txid, reply: Some((reply, result)), .. } => {
                    reply(Ok(Done { txid, result, head: signed, receipt: None }));
                }
                Finished::Call { reply: None, .. } => {}
                Finished::Vats { txid, replies, mail, worked, .. } => {
                    for (reply, result) in replies {
                        reply(Ok(Done { txid, result, head: signed, receipt: None }));
                    }
                    if let Some((outbox, outgoing)) = mail {
                        outbox(outgoing);
                    }
                    // After what it has changed.
                    if let Some((tell, result)) = worked {
                        let _ = tell.send(result);
                    }
                }
                Finished::Post(outbox, outgoing) => outbox(outgoing),
                Finished::Signature { receipts, .. } => {
                    for Receipted { receipt, call } in receipts {
                        let Awaiting { leaf, record, call, reply, result } = call;
                        let receipt = receipt.to_saved(&record, call.as_deref(), &shared.certificate).ok();
                        // One that nobody could read is none.
                        let receipt = receipt.filter(|saved| saved.len() <= SAVED_RECEIPT_MAX_BYTES);
                        reply(Ok(Done { txid: leaf.txid, result, head: signed, receipt }));
                    }
                }
                Finished::Deployment { tell, told, .. } => {
                    let _ = tell.send(told);
                }
                Finished::Checkpoint { durable, .. } => {
                    let _ = durable.send(());
                }
                Finished::Request { tell, answered, .. } | Finished::Seen(tell, answered) => tell(answered),
                Finished::Refused(reply, error) => reply(Err(error)),
                Finished::Look(tell, view) => {
                    let _ = tell.send(*view);
                }
            }
        }
    }
}
