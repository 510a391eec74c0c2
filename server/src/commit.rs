//! The commit loop: one thread executes, another makes durable and answers.
//!
//! ```text
//! submit ──▶ queue (bounded) ──▶ executor: execute, seal, now and then sign ──▶ committer: append…, fsync, reply…
//! ```
//!
//! While the committer waits for the disk, the executor goes on; what it has finished by then goes to disk together. If
//! many calls wait, the committer waits a moment for them. A signature follows the first unsigned transaction after
//! [`limits::SIGN_AFTER`] or [`limits::MAX_UNSIGNED`] transactions.
//!
//! # Invariants
//!
//! - A reply, and anything else that shows the state, leaves the committer alone, after the fsync.
//! - If the disk or the sandbox fails, nothing is answered any more and the process is told to end.

use crate::limits;
use crate::metrics::Metrics;
use crate::node::{self, Node, Options, StartError};
use ledger::{Dir, Log, TxId};
use machine::state::Snapshot;
use machine::{Caller, Console, Input, Service};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::sync::{Notify, oneshot};

/// What became of a call.
pub struct Done {
    /// Its transaction.
    pub txid: TxId,
    /// Its result.
    pub result: machine::Result,
}

/// Told when a call is durable. Called on the committer's thread: it must not wait.
pub type Reply = Box<dyn FnOnce(Done) + Send>;

/// A call that wants to be run.
pub struct Job {
    /// The method.
    pub method: String,
    /// A JSON array.
    pub args: String,
    /// Who calls.
    pub caller: Caller,
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
    Look(oneshot::Sender<View>),
    Stop,
}

/// The state as of a durable transaction.
pub struct View {
    /// The files and everything else.
    pub snapshot: Snapshot,
    /// The last transaction that it holds.
    pub txid: TxId,
}

/// What is on disk.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    /// The last transaction.
    pub last: Option<TxId>,
    /// The last signature.
    pub signed: Option<TxId>,
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
    methods: Vec<String>,
    debug: bool,
    ledger_dir: std::path::PathBuf,
    durable: Mutex<Durable>,
    ended: Notify,
    stopping: AtomicBool,
    failed: AtomicBool,
}

/// What a start came to, for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Started {
    /// The directory is new.
    pub fresh: bool,
    /// Entries of the call log that were replayed.
    pub replayed: u64,
    /// Bytes of an unfinished transaction that were cut off.
    pub torn_bytes: Option<u64>,
}

/// Room in the channels: more than can ever wait.
const CHANNEL: usize = limits::MAX_WAITING_CALLS + 256;

impl Backend {
    /// Opens the directory and starts both threads. Blocks until the ledger is replayed.
    pub fn start(options: Options, debug: bool, console: Console) -> Result<(Backend, Started), StartError> {
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
            let started =
                Started { fresh: node.fresh, replayed: node.replayed, torn_bytes: node.torn.as_ref().map(|torn| torn.len_bytes) };
            let last = node.last;
            let shared = Arc::new(Shared {
                queue,
                metrics: Metrics::default(),
                service: node.machine.service().expect("an open node has one").clone(),
                methods: node.machine.script().methods().to_vec(),
                debug,
                ledger_dir: node.log.storage().path().to_owned(),
                durable: Mutex::new(Durable {
                    last: Some(last),
                    signed: node.sealer.last_signature().map(|signature| signature.txid),
                    open: node.log.open_chunk(),
                }),
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

    /// The exported methods.
    pub fn methods(&self) -> &[String] {
        &self.0.methods
    }

    /// What the ledger is a ledger of.
    pub fn service(&self) -> &Service {
        &self.0.service
    }

    /// Callers may name themselves.
    pub fn debug(&self) -> bool {
        self.0.debug
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
    Transaction { raw: Vec<u8>, txid: TxId, signature: bool, reply: Option<(Reply, machine::Result)> },
    Look(oneshot::Sender<View>, Box<View>),
}

/// Tells the end of the executor, however it comes: a node whose executor is gone must not go on refusing calls.
struct Ending<'a>(&'a Shared);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.failed.store(true, Relaxed);
        }
        self.0.stopping.store(true, Relaxed);
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
        let mut executor = Executor { machine, sealer, admission, last, finished, shared, chunk_bytes };
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
}

impl Executor<'_> {
    fn run(&mut self, work: &Receiver<Work>) -> Result<(), StartError> {
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
                    let due_at = *due.get_or_insert(ended + limits::SIGN_AFTER);
                    if self.sealer.unsigned() >= limits::MAX_UNSIGNED || ended >= due_at {
                        self.sign()?;
                        due = None;
                    }
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
                    if self.sealer.unsigned() > 0 {
                        self.sign()?;
                    }
                    return Ok(());
                }
            }
        }
    }

    fn call(&mut self, job: Job) -> Result<(), StartError> {
        let Job { method, args, caller, reply } = job;
        let input = Input::Call(self.admission.call(method, args, caller));
        let (outcome, writes) = self.machine.execute(self.sealer.next().seqno, &input)?;
        let sealed = node::seal(self.sealer, &writes)?;
        *self.last = sealed.txid;
        let metrics = &self.shared.metrics;
        metrics.waiting.fetch_sub(1, Relaxed);
        let counter = if outcome.result.is_ok() { &metrics.calls_ok } else { &metrics.calls_failed };
        counter.fetch_add(1, Relaxed);
        metrics.heap_bytes.store(self.machine.script().heap_bytes() as u64, Relaxed);
        self.chunk_bytes += sealed.raw.len() as u64;
        self.send(Finished::Transaction {
            raw: sealed.raw,
            txid: sealed.txid,
            signature: false,
            reply: Some((reply, outcome.result)),
        })
    }

    fn sign(&mut self) -> Result<(), StartError> {
        let ends_chunk = self.chunk_bytes > limits::CHUNK_BYTES;
        let now_s = node::now_s(self.admission);
        let sealed = self.sealer.sign(now_s, ends_chunk).map_err(|error| StartError::Write(error.to_string()))?;
        *self.last = sealed.txid;
        self.chunk_bytes = if ends_chunk { 0 } else { self.chunk_bytes + sealed.raw.len() as u64 };
        self.send(Finished::Transaction { raw: sealed.raw, txid: sealed.txid, signature: true, reply: None })
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
        let written = group.iter().try_for_each(|finished| match finished {
            Finished::Transaction { raw, .. } => {
                bytes += raw.len() as u64;
                log.append(raw)
            }
            Finished::Look(..) => Ok(()),
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
                if let Finished::Transaction { txid, signature, .. } = finished {
                    durable.last = Some(*txid);
                    if *signature {
                        durable.signed = Some(*txid);
                        metrics.signed_seqno.store(txid.seqno, Relaxed);
                    }
                    metrics.last_seqno.store(txid.seqno, Relaxed);
                }
            }
            durable.open = log.open_chunk();
        }
        for finished in group.drain(..) {
            match finished {
                Finished::Transaction { txid, reply: Some((reply, result)), .. } => reply(Done { txid, result }),
                Finished::Transaction { .. } => {}
                Finished::Look(tell, view) => {
                    let _ = tell.send(*view);
                }
            }
        }
    }
}
