//! The executor: takes work in order, executes, seals, and now and then signs.

use super::committer::{Awaiting, Finished, Receipted};
use super::vats::Pending;
use super::{Answered, Deployed, Job, Shared, Tell, View, Work};
use crate::limits;
use crate::node::{self, Script, StartError};
use ledger::{Hash, TxId};
use machine::bundle::{self, Chance};
use machine::{AuthError, Caller, Head, Input, maps};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Instant;
use tokio::sync::oneshot;

pub(super) struct Executor<'a> {
    pub machine: &'a mut machine::Machine,
    pub sealer: &'a mut ledger::Sealer,
    pub admission: &'a mut crate::admit::Admission,
    pub last: &'a mut TxId,
    pub finished: SyncSender<Finished>,
    pub shared: &'a Arc<Shared>,
    pub chunk_bytes: u64,
    /// Calls whose replies wait for the next signature.
    pub awaiting: Vec<Awaiting>,
    /// Readers follow the realm.
    pub shares: bool,
    /// Calls of vats that have not settled, by their numbers in the log.
    pub pending: BTreeMap<u64, Pending>,
}

impl Executor<'_> {
    pub(super) fn run(&mut self, work: &Receiver<Work>) -> Result<(), StartError> {
        self.publish();
        // When the signature over what is unsigned is due.
        let mut due: Option<Instant> = (self.sealer.unsigned() > 0).then(Instant::now);
        loop {
            // Vats that have something left to do do it as long as nothing else comes.
            let until = [due, self.wakes()].into_iter().flatten().min();
            let next = match until {
                None => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(until) => work.recv_timeout(until.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(Work::Call(job)) => {
                    let began = Instant::now();
                    self.call(*job)?;
                    let ended = Instant::now();
                    self.shared.metrics.execute_us.fetch_add((ended - began).as_micros() as u64, Relaxed);
                    self.after(&mut due, ended)?;
                }
                Ok(Work::Request(request, tell)) => {
                    let began = Instant::now();
                    self.request(*request, tell)?;
                    let ended = Instant::now();
                    self.shared.metrics.execute_us.fetch_add((ended - began).as_micros() as u64, Relaxed);
                    self.after(&mut due, ended)?;
                }
                Ok(Work::Deploy(script, tell)) => {
                    self.deploy(&script, tell)?;
                    self.after(&mut due, Instant::now())?;
                }
                Ok(Work::Publish) => self.publish(),
                Ok(Work::Sign) => {
                    self.shared.asked_to_sign.store(false, SeqCst);
                    if self.sealer.unsigned() > 0 {
                        let soon = Instant::now() + limits::RECEIPT_AFTER;
                        due = Some(due.map_or(soon, |due| due.min(soon)));
                    }
                }
                Ok(Work::Archive(archive)) => {
                    if let Some(bundle) = self.machine.as_bundle_mut() {
                        bundle.set_archive(archive);
                    }
                    self.publish();
                }
                Ok(Work::Look(tell)) => {
                    let view = View { snapshot: self.machine.snapshot(), txid: *self.last };
                    self.send(Finished::Look(tell, Box::new(view)))?;
                }
                Ok(Work::Vats(work, worked)) => {
                    self.vats(work, Some(worked))?;
                    self.after(&mut due, Instant::now())?;
                }
                Ok(Work::Post) => self.post()?,
                Err(RecvTimeoutError::Timeout) if due.is_some_and(|due| due <= Instant::now()) => {
                    self.sign()?;
                    due = None;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.wake()?;
                    self.after(&mut due, Instant::now())?;
                }
                Ok(Work::Stop) | Err(RecvTimeoutError::Disconnected) => {
                    if self.machine.records().entries_since_checkpoint() > 0 {
                        self.checkpoint()?;
                    }
                    if self.sealer.unsigned() > 0 {
                        self.sign()?;
                    }
                    return Ok(());
                }
            }
        }
    }

    /// Lets readers follow the realm, if the code has something to read.
    fn share(&mut self) -> Result<(), StartError> {
        let reading = self.machine.share()?;
        self.shares = reading.is_some();
        *self.shared.reading.lock().expect("nobody panics with it") = reading;
        self.publish();
        Ok(())
    }

    fn publish(&mut self) {
        if let Some(bundle) = self.machine.as_bundle_mut() {
            let reading = bundle.publish();
            // The old one is dropped after the lock.
            let _old = self.shared.published.lock().expect("nobody panics with it").replace(reading);
        } else if self.shares {
            self.shared.asked.store(false, SeqCst);
            self.machine.publish();
        }
    }

    /// After a transaction: a checkpoint or a signature, if one is due.
    fn after(&mut self, due: &mut Option<Instant>, now: Instant) -> Result<(), StartError> {
        if self.machine.wants_checkpoint(self.sealer.next().seqno) {
            self.checkpoint()?;
        }
        if self.sealer.unsigned() == 0 {
            return Ok(());
        }
        let within = if self.awaiting.is_empty() { limits::SIGN_AFTER } else { limits::RECEIPT_AFTER };
        let due_at = due.map_or(now + within, |due| due.min(now + within));
        *due = Some(due_at);
        if self.sealer.unsigned() >= limits::MAX_UNSIGNED || now >= due_at {
            self.sign()?;
            *due = None;
        }
        Ok(())
    }

    fn call(&mut self, job: Job) -> Result<(), StartError> {
        let Job { method, args, caller, root, receipt, reply } = job;
        let call = self.admission.call(method, args, caller);
        let metrics = &self.shared.metrics;
        if let Caller::Signed(signed) = &call.caller {
            let admitted = self.machine.records().admits(signed, call.time_ms)?;
            let same = |ours: Hash| if Some(ours) == root { Ok(()) } else { Err(AuthError::Forked(signed.head)) };
            if let Err(error) = admitted.and_then(same) {
                metrics.waiting.fetch_sub(1, Relaxed);
                metrics.calls_unauthorised.fetch_add(1, Relaxed);
                return self.send(Finished::Refused(reply, error));
            }
        }
        let input = Input::Call(call);
        if self.machine.as_vats().is_some() {
            return self.vat_call(&input, reply, receipt);
        }
        self.publish();
        let (outcome, writes) = self.machine.execute(self.sealer.next().seqno, &input)?;
        let sealed = node::seal(self.sealer, &writes)?;
        *self.last = sealed.txid;
        let metrics = &self.shared.metrics;
        metrics.waiting.fetch_sub(1, Relaxed);
        let counter = if outcome.result.is_ok() { &metrics.calls_ok } else { &metrics.calls_failed };
        counter.fetch_add(1, Relaxed);
        metrics.heap_bytes.store(self.machine.script().heap_bytes() as u64, Relaxed);
        self.chunk_bytes += sealed.raw.len() as u64;
        let reply = if receipt {
            let record = writes.get(maps::GLASSBOX, maps::CALL_KEY).unwrap_or_default();
            let record = String::from_utf8_lossy(record).into();
            self.awaiting.push(Awaiting { leaf: sealed.leaf, record, call: None, reply, result: outcome.result });
            None
        } else {
            Some((reply, outcome.result))
        };
        self.send(Finished::Call { raw: sealed.raw, txid: sealed.txid, reply })
    }

    /// Before a request, the state is published that it finds, and after it the one that it leaves: readers wait for neither.
    fn request(&mut self, mut request: bundle::Request, tell: Tell) -> Result<(), StartError> {
        request.time_ms = self.admission.time_ms();
        let next = self.sealer.next();
        let public = self.shared.public_requests.load(Relaxed);
        let began = Instant::now();
        let bundle::Exchange { response, sealed, line } = self.machine.respond(next, &request, Chance::Fresh, public)?;
        let took = began.elapsed();
        self.publish();
        let metrics = &self.shared.metrics;
        metrics.waiting.fetch_sub(1, Relaxed);
        let counter = if response.is_success() { &metrics.calls_ok } else { &metrics.calls_failed };
        counter.fetch_add(1, Relaxed);
        let Some(bundle::Sealing { writes, claims, applied }) = sealed else {
            return self.send(Finished::Seen(tell, Answered { response, txid: None, line, took }));
        };
        let sealed = self.sealer.seal(&writes, claims).map_err(|error| StartError::Write(error.to_string()))?;
        *self.last = sealed.txid;
        self.chunk_bytes += sealed.raw.len() as u64;
        let answered = Answered { response, txid: applied.then_some(sealed.txid), line, took };
        self.send(Finished::Request { raw: sealed.raw, txid: sealed.txid, tell, answered })
    }

    /// What does not come up even in a realm of its own leaves no transaction.
    fn deploy(&mut self, script: &Script, tell: oneshot::Sender<Result<Deployed, String>>) -> Result<(), StartError> {
        let present = self.machine.script().code().map(|code| code.settings).unwrap_or_default();
        let code = script.code(present);
        let name = code.name.clone();
        let time_ms = self.admission.time_ms();
        if let Err(error) = node::try_out(self.machine.sandbox(), &code, time_ms) {
            let _ = tell.send(Err(error.to_string()));
            return Ok(());
        }
        let input = Input::Deploy { code, time_ms };
        self.publish();
        let (outcome, writes) = self.machine.execute(self.sealer.next().seqno, &input)?;
        let sealed = node::seal(self.sealer, &writes)?;
        *self.last = sealed.txid;
        self.chunk_bytes += sealed.raw.len() as u64;
        let told = match &outcome.result {
            Err(failure) => Err(node::describe(&name, failure)),
            Ok(_) => {
                let exports = Arc::new(self.machine.script().exports().clone());
                *self.shared.exports.lock().expect("nobody panics with it") = exports.clone();
                self.share()?;
                Ok(Deployed { txid: sealed.txid, exports })
            }
        };
        self.send(Finished::Deployment { raw: sealed.raw, txid: sealed.txid, tell, told })
    }

    /// Writes a checkpoint, and brings the store to it once it is durable: the store is never ahead of the ledger.
    fn checkpoint(&mut self) -> Result<(), StartError> {
        let began = Instant::now();
        let mut writes = self.machine.checkpoint(self.sealer.next())?;
        self.sealer.frontier().write(&mut writes);
        let sealed = node::seal(self.sealer, &writes)?;
        *self.last = sealed.txid;
        self.chunk_bytes += sealed.raw.len() as u64;
        let metrics = &self.shared.metrics;
        metrics.checkpoints.fetch_add(1, Relaxed);
        metrics.checkpoint_bytes.fetch_add(sealed.raw.len() as u64, Relaxed);
        let (durable, told) = sync_channel(1);
        self.send(Finished::Checkpoint { raw: sealed.raw, txid: sealed.txid, durable })?;
        told.recv().map_err(|_| StartError::Write("the committer has ended".into()))?;
        self.machine.state_mut().flush().map_err(machine::Fault::from)?;
        self.shared.metrics.checkpoint_us.fetch_add(began.elapsed().as_micros() as u64, Relaxed);
        Ok(())
    }

    fn sign(&mut self) -> Result<(), StartError> {
        let ends_chunk = self.chunk_bytes > limits::CHUNK_BYTES;
        let now_s = node::now_s(self.admission);
        let sealed = self.sealer.sign(now_s, ends_chunk).map_err(|error| StartError::Write(error.to_string()))?;
        let signature = self.sealer.last_signature().expect("just made");
        self.machine.signed(signature)?;
        let head = Head::from(signature);
        // What is committed is something to read, too.
        if self.machine.as_bundle().is_some() {
            self.publish();
        }
        *self.last = sealed.txid;
        self.chunk_bytes = if ends_chunk { 0 } else { self.chunk_bytes + sealed.raw.len() as u64 };
        let mut receipts = Vec::with_capacity(self.awaiting.len());
        for call in self.awaiting.drain(..) {
            let receipt = self.sealer.receipt(&call.leaf).map_err(|error| StartError::Write(error.to_string()))?;
            receipts.push(Receipted { receipt, call });
        }
        self.send(Finished::Signature { raw: sealed.raw, head, receipts })
    }

    pub(super) fn send(&self, finished: Finished) -> Result<(), StartError> {
        self.finished.send(finished).map_err(|_| StartError::Write("the committer has ended".into()))
    }
}
