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

mod committer;
mod executor;
mod vats;

use crate::limits;
use crate::mail::Outbox;
use crate::metrics::Metrics;
use crate::node::{Node, Options, Script, StartError};
use crate::readers::{self, Readers};
use committer::{Finished, commit};
use executor::Executor;
use ledger::{Certificate, Hash, Keys, TxId};
use machine::bundle;
use machine::bundle::history::Archive;
use machine::script::Exports;
use machine::state::Snapshot;
use machine::{AuthError, Caller, Console, Head, Reading, Service};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Condvar, Mutex};
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

/// Told when work for vats is durable, or why it came to nothing.
pub type Worked = oneshot::Sender<Result<(), String>>;

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
    Vats(machine::vats::Work, Worked),
    Post,
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
    /// Who sends mail to other kernels.
    outbox: Mutex<Option<Outbox>>,
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
            let is_script = node.machine.as_bundle().is_none() && node.machine.as_vats().is_none();
            let reading = if is_script { node.machine.share() } else { Ok(None) };
            let reading = match reading {
                Ok(reading) => reading,
                Err(fault) => {
                    let _ = tell.send(Err(fault.into()));
                    return;
                }
            };
            let exports = match node.machine.as_vats() {
                Some(vats) => vats::exports(vats),
                None if is_script => node.machine.script().exports().clone(),
                None => Exports::default(),
            };
            let heap_bytes = if is_script { node.machine.script().heap_bytes() } else { 0 };
            let shared = Arc::new(Shared {
                queue,
                metrics: Metrics::default(),
                service: node.machine.service().expect("an open node has one").clone(),
                certificate: node.keys.service_certificate().clone(),
                exports: Mutex::new(Arc::new(exports)),
                reading: Mutex::new(reading),
                readers: Readers::default(),
                published: Mutex::new(node.machine.as_bundle_mut().map(bundle::Bundle::publish)),
                public_requests: AtomicBool::new(false),
                outbox: Mutex::default(),
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
        let is =
            |durable: &Durable| durable.signed.is_some_and(|signed| signed.txid.seqno >= seqno) || shared.failed.load(Relaxed);
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

    /// Queues work for vats: mail. If it is not taken, it comes back.
    pub fn vats(&self, work: machine::vats::Work, worked: Worked) -> Result<(), (Refused, machine::vats::Work)> {
        let (refused, work) = match self.0.queue.try_send(Work::Vats(work, worked)) {
            Ok(()) => return Ok(()),
            Err(TrySendError::Full(work)) => (Refused::Busy, work),
            Err(TrySendError::Disconnected(work)) => (Refused::Stopping, work),
        };
        match work {
            Work::Vats(work, _) => Err((refused, work)),
            _ => unreachable!("it comes back as it went"),
        }
    }

    /// From now on `outbox` is told what there is with other kernels, once it is durable: what is there now, and each change. Called
    /// on the committer's thread: it must not wait.
    pub fn mail(&self, outbox: Outbox) {
        *self.0.outbox.lock().expect("nobody panics with it") = Some(outbox);
        let _ = self.0.queue.send(Work::Post);
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
        let pending = Default::default();
        let mut executor =
            Executor { machine, sealer, admission, last, finished, shared, chunk_bytes, awaiting, shares, pending };
        if let Err(error) = executor.run(work) {
            tracing::error!("the node stops: {error}");
            shared.failed.store(true, Relaxed);
        }
    });
}
