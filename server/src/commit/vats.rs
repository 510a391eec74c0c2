//! What the executor does for vats: calls that settle later, cranks while nothing else is to do, the timer, and mail.

use super::committer::{Awaiting, Finished};
use super::executor::Executor;
use super::{Reply, Shared, Worked};
use crate::admit;
use crate::mail::{Outbox, Outgoing};
use crate::node::{self, StartError};
use machine::script::Exports;
use machine::vats::kernel::Watch;
use machine::vats::{CRANKS_PER_INPUT, STOPPED, Vats, Work};
use machine::{Input, maps};
use sandbox::Failure;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

/// A call that has not settled.
pub(super) struct Pending {
    reply: Reply,
    /// Its input, if its caller wants a receipt.
    receipt: Option<String>,
}

impl Pending {
    /// It is answered, and no transaction says so.
    fn without_receipt(self) -> Pending {
        Pending { receipt: None, ..self }
    }
}

/// What can be called from outside.
pub(super) fn exports(vats: &Vats) -> Exports {
    Exports { methods: vats.devices().methods(), ..Exports::default() }
}

/// What there is with other kernels, if that has changed. As long as nobody sends it, it stays new.
fn take_mail(vats: &mut Vats, shared: &Shared) -> Option<(Outbox, Outgoing)> {
    let outbox = shared.outbox.lock().expect("nobody panics with it").clone()?;
    Some((outbox, Arc::new(vats.take_mail()?)))
}

/// So many calls may have no result yet.
const MAX_PENDING: usize = 100_000;

fn failure(message: &str) -> Failure {
    Failure { name: "Error".into(), message: message.into(), stack: String::new() }
}

impl Executor<'_> {
    /// When there is something to do though nothing comes: cranks wait, or the timer is due.
    pub(super) fn wakes(&self) -> Option<Instant> {
        let vats = self.machine.as_vats()?;
        if !vats.is_idle() {
            return Some(Instant::now());
        }
        let due_ms = vats.devices().next_wakeup()?;
        Some(Instant::now() + Duration::from_millis(due_ms.saturating_sub(admit::now_ms())))
    }

    /// Nothing has come.
    pub(super) fn wake(&mut self) -> Result<(), StartError> {
        let Some(vats) = self.machine.as_vats() else { return Ok(()) };
        if !vats.is_idle() {
            return self.vats(Work::Run(CRANKS_PER_INPUT), None);
        }
        if vats.devices().next_wakeup().is_some_and(|due_ms| due_ms <= admit::now_ms()) {
            return self.vats(Work::Tick, None);
        }
        Ok(())
    }

    /// Runs work of vats.
    pub(super) fn vats(&mut self, work: Work, worked: Option<Worked>) -> Result<(), StartError> {
        let time_ms = self.admission.time_ms();
        let began = Instant::now();
        self.run_vats(&Input::Vats { work, time_ms }, None, worked)?;
        self.shared.metrics.execute_us.fetch_add(began.elapsed().as_micros() as u64, Relaxed);
        Ok(())
    }

    /// A call. What comes of it may be known in a later transaction only.
    pub(super) fn vat_call(&mut self, input: &Input, reply: Reply, receipt: bool) -> Result<(), StartError> {
        let receipt = receipt.then(|| String::from_utf8_lossy(&input.encode()).into_owned());
        self.run_vats(input, Some(Pending { reply, receipt }), None)
    }

    /// Somebody wants to send what there is for other kernels.
    pub(super) fn post(&mut self) -> Result<(), StartError> {
        let Some(vats) = self.machine.as_vats_mut() else { return Ok(()) };
        if !vats.devices().has_mailbox() {
            tracing::warn!("these vats have no device 'mailbox': no mail comes in or goes out");
        }
        match take_mail(vats, self.shared) {
            Some((outbox, outgoing)) => self.send(Finished::Post(outbox, outgoing)),
            None => Ok(()),
        }
    }

    fn run_vats(&mut self, input: &Input, pending: Option<Pending>, worked: Option<Worked>) -> Result<(), StartError> {
        let number = self.machine.entries();
        let (outcome, writes) = self.machine.execute(self.sealer.next().seqno, input)?;
        let sealed = node::seal(self.sealer, &writes)?;
        *self.last = sealed.txid;
        self.chunk_bytes += sealed.raw.len() as u64;
        // What was refused is the whole record; of other calls the record of the transaction in which they settle speaks.
        let refused = outcome.result.is_err();
        let mut settled = Vec::new();
        if let Some(pending) = pending {
            // It is in no queue any more. What it comes to may take for ever, and keeps nobody else from calling.
            self.shared.metrics.waiting.fetch_sub(1, Relaxed);
            match &outcome.result {
                Err(failure) => settled.push((pending, Err(failure.clone()))),
                Ok(_) => {
                    self.pending.insert(number, pending);
                }
            }
        }
        let vats = self.machine.as_vats_mut().expect("these are vats");
        for reply in vats.take_replies() {
            match reply.watch {
                Watch::Call { number, .. } => settled.extend(self.pending.remove(&number).map(|pending| (pending, reply.result))),
                Watch::Bootstrap => {
                    if let Err(failure) = reply.result {
                        tracing::error!("bootstrap failed: {}: {} (-v shows where it was thrown)", failure.name, failure.message);
                    }
                }
            }
        }
        if vats.panicked().is_some() {
            let all = std::mem::take(&mut self.pending).into_values();
            settled.extend(all.map(|pending| (pending.without_receipt(), Err(failure(STOPPED)))));
        }
        while self.pending.len() > MAX_PENDING
            && let Some((_, oldest)) = self.pending.pop_first()
        {
            settled
                .push((oldest.without_receipt(), Err(failure("Too many calls have no result yet: nobody waits for this one's"))));
        }
        let mail = take_mail(vats, self.shared);
        let methods = exports(vats);
        let mut shown = self.shared.exports.lock().expect("nobody panics with it");
        if **shown != methods {
            *shown = Arc::new(methods);
        }
        drop(shown);
        let metrics = &self.shared.metrics;
        let mut replies = Vec::new();
        let record = writes.get(maps::GLASSBOX, maps::CALL_KEY).unwrap_or_default();
        let wanted = settled.iter().any(|(pending, _)| pending.receipt.is_some());
        let record: Arc<str> = if wanted { String::from_utf8_lossy(record).into() } else { "".into() };
        for (Pending { reply, receipt }, result) in settled {
            let counter = if result.is_ok() { &metrics.calls_ok } else { &metrics.calls_failed };
            counter.fetch_add(1, Relaxed);
            match receipt {
                Some(input) => {
                    let call = Some(input).filter(|_| !refused);
                    self.awaiting.push(Awaiting { leaf: sealed.leaf, record: record.clone(), call, reply, result });
                }
                None => replies.push((reply, result)),
            }
        }
        let worked = worked.map(|tell| (tell, outcome.result.map(|_| ()).map_err(|failure| failure.message)));
        self.send(Finished::Vats { raw: sealed.raw, txid: sealed.txid, replies, mail, worked })
    }
}
