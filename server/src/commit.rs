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
use ledger::{Certificate, Dir, Hash, Keys, Leaf, Log, TxId};
use machine::bundle::history::Archive;
use machine::bundle::{self, Chance};
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

/// What became of a bundle's request.
pub struct Answered {
    /// What the client hears.
    pub response: bundle::Response,
    /// The transaction that it became or has seen, if the client is to know.
    pub txid: Option<TxId>,
    /// For the log.
    pub line: Option<bundle::Line>,
    /// How long it ran.
    pub took: std::time::Duration,
}

/// What waits for a transaction to be durable.
pub type Then = Box<dyn FnOnce() + Send>;

/// Told when a request is answered, once what it has seen is durable. Called on other threads: it must not wait.
pub type Tell = Box<dyn FnOnce(Answered) + Send>;

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
    Request(Box<bundle::Request>, Tell),
    Deploy(Box<Script>, oneshot::Sender<Result<Deployed, String>>),
    Look(oneshot::Sender<View>),
    Archive(Arc<dyn Archive>),
    Publish,
    Sign,
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
    /// What a bundle's readers read.
    published: Mutex<Option<bundle::reader::Reading>>,
    /// Requests are readable in the ledger.
    public_requests: AtomicBool,
    /// Answers that wait until a transaction is durable.
    held: Mutex<Vec<(u64, Then)>>,
    /// How many they are.
    holds: AtomicU64,
    keys: Arc<Keys>,
    /// The executor was asked to publish, and has not yet.
    asked: AtomicBool,
    /// It was asked to sign, and has not heard of it yet.
    asked_to_sign: AtomicBool,
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
            let reading = match node.machine.as_bundle() {
                Some(_) => Ok(None),
                None => node.machine.share(),
            };
            let reading = match reading {
                Ok(reading) => reading,
                Err(fault) => {
                    let _ = tell.send(Err(fault.into()));
                    return;
                }
            };
            let exports = node.machine.as_bundle().is_none().then(|| node.machine.script().exports().clone());
            let heap_bytes = if exports.is_some() { node.machine.script().heap_bytes() } else { 0 };
            let shared = Arc::new(Shared {
                queue,
                metrics: Metrics::default(),
                service: node.machine.service().expect("an open node has one").clone(),
                certificate: node.keys.service_certificate().clone(),
                exports: Mutex::new(Arc::new(exports.unwrap_or_default())),
                reading: Mutex::new(reading),
                readers: Readers::default(),
                published: Mutex::new(node.machine.as_bundle_mut().map(bundle::Bundle::publish)),
                public_requests: AtomicBool::new(false),
                held: Mutex::default(),
                holds: AtomicU64::new(0),
                keys: node.keys.clone(),
                asked: AtomicBool::new(false),
                asked_to_sign: AtomicBool::new(false),
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
            shared.metrics.heap_bytes.store(heap_bytes as u64, Relaxed);
            let _ = tell.send(Ok((Backend(shared.clone()), started)));
            run(&mut node, &work, &shared);
        });
        spawned.map_err(|source| StartError::Io { what: "starting a thread".into(), source })?;
        told.recv().unwrap_or_else(|_| Err(StartError::Write("the executor ended before it began".into())))
    }

    /// Queues a call.
    pub fn submit(&self, job: Job) -> Result<(), Refused> {
        self.queue(Work::Call(Box::new(job))).map_err(|(refused, _)| refused)
    }

    /// Queues a request to a bundle that may write. If it is refused, who would be told comes back.
    pub fn request(&self, request: bundle::Request, tell: Tell) -> Result<(), (Refused, Tell)> {
        self.queue(Work::Request(Box::new(request), tell)).map_err(|(refused, work)| match work {
            Work::Request(_, tell) => (refused, tell),
            _ => unreachable!("it comes back as it went"),
        })
    }

    fn queue(&self, work: Work) -> Result<(), (Refused, Work)> {
        let shared = &*self.0;
        if shared.stopping.load(Relaxed) {
            return Err((Refused::Stopping, work));
        }
        // One runs, the others wait.
        if shared.metrics.waiting.fetch_add(1, Relaxed) > limits::MAX_WAITING_CALLS as u64 {
            shared.metrics.waiting.fetch_sub(1, Relaxed);
            shared.metrics.calls_refused.fetch_add(1, Relaxed);
            return Err((Refused::Busy, work));
        }
        shared.queue.try_send(work).map_err(|error| {
            shared.metrics.waiting.fetch_sub(1, Relaxed);
            match error {
                TrySendError::Full(work) => (Refused::Busy, work),
                TrySendError::Disconnected(work) => (Refused::Stopping, work),
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

    /// What a bundle's readers read now: no older than what was durable when this was called.
    pub fn published(&self) -> Option<bundle::reader::Reading> {
        self.0.published.lock().expect("nobody panics with it").clone()
    }

    /// Waits until a signature covers this transaction, which comes sooner when somebody waits for it; but not longer than so.
    pub fn wait_until_signed(&self, seqno: u64, most: std::time::Duration) {
        let shared = &*self.0;
        let is = |durable: &Durable| durable.signed.is_some_and(|signed| signed.txid.seqno >= seqno) || shared.failed.load(Relaxed);
        if is(&shared.durable.lock().expect("nobody panics with it")) {
            return;
        }
        if !shared.asked_to_sign.swap(true, SeqCst) && shared.queue.try_send(Work::Sign).is_err() {
            shared.asked_to_sign.store(false, SeqCst);
        }
        shared.waiting_for_durable.fetch_add(1, SeqCst);
        let durable = shared.durable.lock().expect("nobody panics with it");
        drop(shared.more_durable.wait_timeout_while(durable, most, |durable| !is(durable)));
        shared.waiting_for_durable.fetch_sub(1, SeqCst);
    }

    /// Where a bundle's requests find the past, from now on.
    pub fn archive(&self, archive: Arc<dyn Archive>) {
        let _ = self.0.queue.send(Work::Archive(archive));
    }

    /// From now on requests are readable in the ledger.
    pub fn publish_requests(&self) {
        self.0.public_requests.store(true, Relaxed);
    }

    /// The keys of the service and its node.
    pub fn keys(&self) -> &Arc<Keys> {
        &self.0.keys
    }

    /// Calls `then` when this transaction is on disk: now, or on another thread. Never, if the node fails before.
    pub fn when_durable(&self, seqno: u64, then: Then) {
        let shared = &*self.0;
        let is = || shared.metrics.last_seqno.load(SeqCst) >= seqno;
        if is() {
            return then();
        }
        let mut held = shared.held.lock().expect("nobody panics with it");
        shared.holds.fetch_add(1, SeqCst);
        // What became durable in between has not seen this one.
        if is() {
            shared.holds.fetch_sub(1, SeqCst);
            drop(held);
            return then();
        }
        held.push((seqno, then));
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
    pub fn wait_until_durable(&self, seqno: u64) {
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
            | Finished::Checkpoint { raw, txid, .. } => Some((*txid, raw)),
            Finished::Signature { raw, head, .. } => Some((head.txid, raw)),
            Finished::Seen(..) | Finished::Refused(..) | Finished::Look(..) => None,
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
                Finished::Request { tell, answered, .. } | Finished::Seen(tell, answered) => tell(answered),
                Finished::Refused(reply, error) => reply(Err(error)),
                Finished::Look(tell, view) => {
                    let _ = tell.send(*view);
                }
            }
        }
    }
}
