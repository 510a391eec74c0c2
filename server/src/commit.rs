//! The commit loop: one thread executes, another makes durable and answers.
//!
//! ```text
//! submit ──▶ queue (bounded) ──▶ executor: execute, seal, now and then sign ──▶ committer: append…, fsync, reply…
//! ```
//!
//! While the committer waits for the disk, the executor goes on; what it has finished by then goes to disk together. If
//! many calls wait, the committer waits a moment for them. A signature follows the first unsigned transaction after
//! [`limits::SIGN_AFTER`] or [`limits::MAX_UNSIGNED`] transactions; when somebody waits for a receipt, after
//! [`limits::RECEIPT_AFTER`]. A checkpoint follows when the machine wants one, and at the end.
//!
//! # Invariants
//!
//! - A reply, and anything else that shows the state, leaves the committer alone, after the fsync.
//! - If the disk or the sandbox fails, nothing is answered any more and the process is told to end.

use crate::limits;
use crate::metrics::Metrics;
use crate::node::{self, Node, Options, Script, StartError};
use crate::readers::{self, Readers};
use ledger::receipt::Receipt;
use ledger::{Certificate, Dir, Hash, Leaf, Log, TxId};
use machine::script::Exports;
use machine::state::Snapshot;
use machine::{AuthError, Caller, Console, Head, Input, Reading, Service, maps};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;
use tokio::sync::{Notify, oneshot};

/// What became of a call.
pub struct Done {
    /// Its transaction.
    pub txid: TxId,
    /// Its result.
    pub result: machine::Result,
    /// The last signature transaction.
    pub head: Option<Head>,
    /// The saved receipt, JSON, if it was asked for.
    pub receipt: Option<String>,
}

/// Told when a call is durable, or why it was not run. Called on the committer's thread: it must not wait.
pub type Reply = Box<dyn FnOnce(Result<Done, AuthError>) + Send>;

/// A call that wants to be run.
pub struct Job {
    /// The method.
    pub method: String,
    /// A JSON array.
    pub args: String,
    /// Who calls. A signature has been checked against `root`.
    pub caller: Caller,
    /// The root that a signed call says its head signs.
    pub root: Option<Hash>,
    /// The reply waits for a receipt.
    pub receipt: bool,
    /// Told when it is durable.
    pub reply: Reply,
}

/// Why a call was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Too many are waiting.
    Busy,
    /// The node is stopping, or has failed.
    Stopping,
}

enum Work {
    Call(Box<Job>),
    Deploy(Box<Script>, oneshot::Sender<Result<Deployed, String>>),
    Look(oneshot::Sender<View>),
    Publish,
    Stop,
}

/// The state as of a durable transaction.
pub struct View {
    /// The files and everything else.
    pub snapshot: Snapshot,
    /// The last transaction that it holds.
    pub txid: TxId,
}

/// A deployment that came up.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// Its transaction.
    pub txid: TxId,
    /// What the new code exports.
    pub exports: Arc<Exports>,
}

/// What is on disk.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    /// The last transaction.
    pub last: Option<TxId>,
    /// The last signature.
    pub signed: Option<Head>,
    /// The open chunk: its file and how much of it is durable.
    pub open: Option<(String, u64)>,
}

/// An app that is being served. Clones share it.
#[derive(Clone)]
pub struct Backend(Arc<Shared>);

struct Shared {
    queue: SyncSender<Work>,
    metrics: Metrics,
    service: Service,
    certificate: Certificate,
    exports: Mutex<Arc<Exports>>,
    /// What readers follow, if the code has something to read.
    reading: Mutex<Option<Reading>>,
    readers: Readers,
    /// The executor was asked to publish, and has not yet.
    asked: AtomicBool,
    callers: Callers,
    ledger_dir: std::path::PathBuf,
    durable: Mutex<Durable>,
    /// Told with each group, when somebody waits for it.
    more_durable: Condvar,
    waiting_for_durable: AtomicU64,
    ended: Notify,
    stopping: AtomicBool,
    failed: AtomicBool,
}

/// Whom the backend lets call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Callers {
    /// They may name themselves.
    pub debug: bool,
    /// They must sign.
    pub require_auth: bool,
}

/// What a start came to, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The directory is new.
    pub fresh: bool,
    /// Entries of the call log.
    pub entries: u64,
    /// Those that were executed again, after the last checkpoint.
    pub replayed: u64,
    /// Bytes of an unfinished transaction that were cut off.
    pub torn_bytes: Option<u64>,
}

/// Room in the channels: more than can ever wait.
const CHANNEL: usize = limits::MAX_WAITING_CALLS + 256;

impl Backend {
    /// Opens the directory and starts both threads. Blocks until the ledger is replayed.
    pub fn start(options: Options, callers: Callers, console: Console) -> Result<(Backend, Started), StartError> {
        crate::admit::warm_up();
        let (queue, work) = sync_channel(CHANNEL);
        let (tell, told) = sync_channel(1);
        let thread = std::thread::Builder::new().name("executor".into()).stack_size(sandbox::THREAD_STACK_BYTES);
        let spawned = thread.spawn(move || {
            let mut node = match Node::start(&options, console) {
                Ok(node) => node,
                Err(error) => {
                    let _ = tell.send(Err(error));
                    return;
                }
            };
            let started = Started {
                fresh: node.fresh,
                entries: node.entries,
                replayed: node.replayed,
                torn_bytes: node.torn.as_ref().map(|torn| torn.len_bytes),
            };
            let last = node.last;
            // Before anybody can read.
            let reading = match node.machine.share() {
                Ok(reading) => reading,
                Err(fault) => {
                    let _ = tell.send(Err(fault.into()));
                    return;
                }
            };
            let shared = Arc::new(Shared {
                queue,
                metrics: Metrics::default(),
                service: node.machine.service().expect("an open node has one").clone(),
                certificate: node.keys.service_certificate().clone(),
                exports: Mutex::new(Arc::new(node.machine.script().exports().clone())),
                reading: Mutex::new(reading),
                readers: Readers::default(),
                asked: AtomicBool::new(false),
                callers,
                ledger_dir: node.log.storage().path().to_owned(),
                durable: Mutex::new(Durable {
                    last: Some(last),
                    signed: node.sealer.last_signature().map(Head::from),
                    open: node.log.open_chunk(),
                }),
                more_durable: Condvar::new(),
                waiting_for_durable: AtomicU64::new(0),
                ended: Notify::new(),
                stopping: AtomicBool::new(false),
                failed: AtomicBool::new(false),
            });
            shared.metrics.last_seqno.store(last.seqno, Relaxed);
            shared.metrics.heap_bytes.store(node.machine.script().heap_bytes() as u64, Relaxed);
            let _ = tell.send(Ok((Backend(shared.clone()), started)));
            run(&mut node, &work, &shared);
        });
        spawned.map_err(|source| StartError::Io { what: "starting a thread".into(), source })?;
        told.recv().unwrap_or_else(|_| Err(StartError::Write("the executor ended before it began".into())))
    }

    /// Queues a call.
    pub fn submit(&self, job: Job) -> Result<(), Refused> {
        let shared = &*self.0;
        if shared.stopping.load(Relaxed) {
            return Err(Refused::Stopping);
        }
        // One runs, the others wait.
        if shared.metrics.waiting.fetch_add(1, Relaxed) > limits::MAX_WAITING_CALLS as u64 {
            shared.metrics.waiting.fetch_sub(1, Relaxed);
            shared.metrics.calls_refused.fetch_add(1, Relaxed);
            return Err(Refused::Busy);
        }
        shared.queue.try_send(Work::Call(Box::new(job))).map_err(|error| {
            shared.metrics.waiting.fetch_sub(1, Relaxed);
            match error {
                TrySendError::Full(_) => Refused::Busy,
                TrySendError::Disconnected(_) => Refused::Stopping,
            }
        })
    }

    /// The state, between two calls, once it is durable.
    pub async fn look(&self) -> Option<View> {
        let (tell, told) = oneshot::channel();
        self.0.queue.try_send(Work::Look(tell)).ok()?;
        told.await.ok()
    }

    /// Ends the node: what is queued is run, the tail is signed. [`Backend::ended`] tells when it is done.
    pub fn stop(&self) {
        if !self.0.stopping.swap(true, Relaxed) {
            let shared = self.0.clone();
            std::thread::spawn(move || {
                let _ = shared.queue.send(Work::Stop);
            });
        }
    }

    /// Waits for the end; `false` if the node failed.
    pub async fn ended(&self) -> bool {
        self.0.ended.notified().await;
        !self.0.failed.load(Relaxed)
    }

    /// Queues a call that only reads.
    pub fn read(&self, job: readers::Job) -> Result<(), Refused> {
        if self.0.stopping.load(Relaxed) {
            return Err(Refused::Stopping);
        }
        self.0.readers.submit(self, job).map_err(|_| Refused::Busy)
    }

    /// What readers follow now.
    pub(crate) fn reading(&self) -> Option<Reading> {
        self.0.reading.lock().expect("nobody panics with it").clone()
    }

    /// Has the executor publish its state, as soon as it is between two calls.
    pub(crate) fn ask_to_publish(&self) {
        if !self.0.asked.swap(true, SeqCst) {
            // If the queue is full, the next call publishes.
            let _ = self.0.queue.try_send(Work::Publish);
        }
    }

    /// Waits until this transaction is on disk, or the node has ended.
    pub(crate) fn wait_until_durable(&self, seqno: u64) {
        let shared = &*self.0;
        let is = |durable: &Durable| durable.last.is_some_and(|last| last.seqno >= seqno) || shared.failed.load(Relaxed);
        let durable = shared.durable.lock().expect("nobody panics with it");
        if is(&durable) {
            return;
        }
        shared.waiting_for_durable.fetch_add(1, SeqCst);
        drop(shared.more_durable.wait_while(durable, |durable| !is(durable)));
        shared.waiting_for_durable.fetch_sub(1, SeqCst);
    }

    /// Deploys other code, as a transaction between two calls.
    pub async fn deploy(&self, script: Script) -> Result<Deployed, String> {
        let (tell, told) = oneshot::channel();
        let queued = self.0.queue.try_send(Work::Deploy(Box::new(script), tell));
        queued.map_err(|_| "the backend is busy or stopping".to_owned())?;
        told.await.unwrap_or_else(|_| Err("the backend has stopped".into()))
    }

    /// What the code exports that runs now.
    pub fn exports(&self) -> Arc<Exports> {
        self.0.exports.lock().expect("nobody panics with it").clone()
    }

    /// The service's certificate.
    pub fn certificate(&self) -> &Certificate {
        &self.0.certificate
    }

    /// The public key (hex) of who may upgrade the app.
    pub fn operator(&self) -> &str {
        &self.0.service.operator
    }

    /// What the ledger is a ledger of.
    pub fn service(&self) -> &Service {
        &self.0.service
    }

    /// Who may call.
    pub fn callers(&self) -> Callers {
        self.0.callers
    }

    /// Counters.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// What is on disk now.
    pub fn durable(&self) -> Durable {
        self.0.durable.lock().expect("nobody panics with it").clone()
    }

    /// Where the chunk files are.
    pub fn ledger_dir(&self) -> &std::path::Path {
        &self.0.ledger_dir
    }
}

/// What goes from the executor to the committer, in order.
enum Finished {
    Call { raw: Vec<u8>, txid: TxId, reply: Option<(Reply, machine::Result)> },
    Signature { raw: Vec<u8>, head: Head, receipts: Vec<Receipted> },
    Deployment { raw: Vec<u8>, txid: TxId, tell: oneshot::Sender<Result<Deployed, String>>, told: Result<Deployed, String> },
    Checkpoint { raw: Vec<u8>, txid: TxId, durable: SyncSender<()> },
    Refused(Reply, AuthError),
    Look(oneshot::Sender<View>, Box<View>),
}

impl Finished {
    /// What goes to disk.
    fn transaction(&self) -> Option<(TxId, &[u8])> {
        match self {
            Finished::Call { raw, txid, .. }
            | Finished::Deployment { raw, txid, .. }
            | Finished::Checkpoint { raw, txid, .. } => Some((*txid, raw)),
            Finished::Signature { raw, head, .. } => Some((head.txid, raw)),
            Finished::Refused(..) | Finished::Look(..) => None,
        }
    }
}

/// A call whose reply waits for the signature.
struct Awaiting {
    leaf: Leaf,
    record: String,
    reply: Reply,
    result: machine::Result,
}

/// The same with its receipt.
struct Receipted {
    receipt: Receipt,
    call: Awaiting,
}

/// Tells the end of the executor, however it comes: a node whose executor is gone must not go on refusing calls.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Relaxed);
        }
        self.0.stopping.store(true, Relaxed);
        self.0.readers.stop();
        self.0.more_durable.notify_all();
        self.0.ended.notify_one();
    }
}

fn run(node: &mut Node, work: &Receiver<Work>, shared: &Arc<Shared>) {
    let _ending = Ending(shared);
    let (finished, to_commit) = sync_channel::<Finished>(CHANNEL);
    std::thread::scope(|scope| {
        // The log moves to the committer; the executor has the rest.
        let Node { machine, sealer, log, admission, last, .. } = node;
        let chunk_bytes = log.chunk_bytes();
        let committer = std::thread::Builder::new().name("committer".into()).spawn_scoped(scope, {
            let shared = shared.clone();
            move || commit(log, &to_commit, &shared)
        });
        if let Err(error) = committer {
            tracing::error!("the committer does not start: {error}");
            shared.failed.store(true, Relaxed);
            return;
        }
        let awaiting = Vec::new();
        let shares = shared.reading.lock().expect("nobody panics with it").is_some();
        let mut executor = Executor { machine, sealer, admission, last, finished, shared, chunk_bytes, awaiting, shares };
        if let Err(error) = executor.run(work) {
            tracing::error!("the node stops: {error}");
            shared.failed.store(true, Relaxed);
        }
    });
}

struct Executor<'a> {
    machine: &'a mut machine::Machine,
    sealer: &'a mut ledger::Sealer,
    admission: &'a mut crate::admit::Admission,
    last: &'a mut TxId,
    finished: SyncSender<Finished>,
    shared: &'a Arc<Shared>,
    chunk_bytes: u64,
    /// Calls whose replies wait for the next signature.
    awaiting: Vec<Awaiting>,
    /// Readers follow the realm.
    shares: bool,
}

impl Executor<'_> {
    fn run(&mut self, work: &Receiver<Work>) -> Result<(), StartError> {
        self.publish();
        // When the signature over what is unsigned is due.
        let mut due: Option<Instant> = (self.sealer.unsigned() > 0).then(Instant::now);
        loop {
            let next = match due {
                None => work.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(due) => work.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match next {
                Ok(Work::Call(job)) => {
                    let began = Instant::now();
                    self.call(*job)?;
                    let ended = Instant::now();
                    self.shared.metrics.execute_us.fetch_add((ended - began).as_micros() as u64, Relaxed);
                    self.after(&mut due, ended)?;
                }
                Ok(Work::Deploy(script, tell)) => {
                    self.deploy(&script, tell)?;
                    self.after(&mut due, Instant::now())?;
                }
                Ok(Work::Publish) => self.publish(),
                Ok(Work::Look(tell)) => {
                    let view = View { snapshot: self.machine.snapshot(), txid: *self.last };
                    self.send(Finished::Look(tell, Box::new(view)))?;
                }
                Err(RecvTimeoutError::Timeout) => {
                    self.sign()?;
                    due = None;
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
        if self.shares {
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
            let record = String::from_utf8_lossy(record).into_owned();
            self.awaiting.push(Awaiting { leaf: sealed.leaf, record, reply, result: outcome.result });
            None
        } else {
            Some((reply, outcome.result))
        };
        self.send(Finished::Call { raw: sealed.raw, txid: sealed.txid, reply })
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
        let mut writes = self.machine.checkpoint(self.sealer.next().seqno)?;
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
        *self.last = sealed.txid;
        self.chunk_bytes = if ends_chunk { 0 } else { self.chunk_bytes + sealed.raw.len() as u64 };
        let mut receipts = Vec::with_capacity(self.awaiting.len());
        for call in self.awaiting.drain(..) {
            let receipt = self.sealer.receipt(&call.leaf).map_err(|error| StartError::Write(error.to_string()))?;
            receipts.push(Receipted { receipt, call });
        }
        self.send(Finished::Signature { raw: sealed.raw, head, receipts })
    }

    fn send(&self, finished: Finished) -> Result<(), StartError> {
        self.finished.send(finished).map_err(|_| StartError::Write("the committer has ended".into()))
    }
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

fn commit(log: &mut Log<Dir>, finished: &Receiver<Finished>, shared: &Shared) {
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
                    metrics.last_seqno.store(txid.seqno, Relaxed);
                }
                if let Finished::Signature { head, .. } = finished {
                    durable.signed = Some(*head);
                    metrics.signed_seqno.store(head.txid.seqno, Relaxed);
                }
            }
            durable.open = log.open_chunk();
            drop(durable);
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
                Finished::Signature { receipts, .. } => {
                    for Receipted { receipt, call } in receipts {
                        let Awaiting { leaf, record, reply, result } = call;
                        let receipt = receipt.to_saved(&record, &shared.certificate).ok();
                        reply(Ok(Done { txid: leaf.txid, result, head: signed, receipt }));
                    }
                }
                Finished::Deployment { tell, told, .. } => {
                    let _ = tell.send(told);
                }
                Finished::Checkpoint { durable, .. } => {
                    let _ = durable.send(());
                }
                Finished::Refused(reply, error) => reply(Err(error)),
                Finished::Look(tell, view) => {
                    let _ = tell.send(*view);
                }
            }
        }
    }
}
