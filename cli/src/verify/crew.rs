//! Who executes stretches: this thread alone, or a few threads with a queue in front.
//!
//! ```text
//! the pass ── begin, take, take, … ──▶ │ stretch 1: batches │──▶ worker
//!            waits when too much is     │ stretch 2: batches │──▶ worker
//!            queued                     │ stretch 3: …       │
//! ```
//!
//! Invariants: what is queued is bounded in bytes. Workers take stretches in their order, so the oldest that is queued always
//! has a worker, and the pass never waits for nothing. Of all problems the one in the first stretch that has one is reported:
//! a problem ends the execution of later stretches only, so what is reported does not depend on the number of workers.

use super::report::{Callers, Stopped};
use super::stretch::{Execution, Kit, Problem, Stretch};
use ledger::Transaction;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, Scope, ScopedJoinHandle};

/// Bytes of transactions that may be queued, for each worker: a few stretches of small calls.
const QUEUE_BYTES_PER_JOB: usize = 16 << 20;

/// Transactions go to the workers in batches of about so many bytes.
const BATCH_BYTES: usize = 128 << 10;

/// What a queued stretch takes: a snapshot.
const STRETCH_BYTES: usize = 64 << 10;

/// How far the execution is.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of transactions that are done with.
    pub bytes: AtomicU64,
    /// Entries of the call log, once all are read.
    pub calls: AtomicU64,
    /// Everything is read.
    pub is_read: std::sync::atomic::AtomicBool,
}

/// What came of it all.
pub struct Executed {
    /// The first problem.
    pub problem: Option<Box<Problem>>,
    /// Who called, in the stretches that were executed.
    pub callers: Callers,
}

/// Whoever executes.
pub enum Crew<'scope> {
    /// This thread.
    Alone(Box<Alone<'scope>>),
    /// Others.
    Threads(Threads<'scope>),
}

impl<'scope> Crew<'scope> {
    /// `jobs` workers; one works on the thread of the pass, which must have the stack for it.
    pub fn new<'env>(
        scope: &'scope Scope<'scope, 'env>,
        jobs: usize,
        kit: Kit,
        folder: &'scope Path,
        progress: &'scope Progress,
    ) -> Result<Crew<'scope>, Stopped> {
        if jobs < 2 {
            let findings = Findings::default();
            return Ok(Crew::Alone(Box::new(Alone { kit, folder, progress, execution: None, findings })));
        }
        let shared = Arc::new(Shared::new(jobs * QUEUE_BYTES_PER_JOB));
        let mut threads = Threads { shared, workers: Vec::new(), open: None };
        for _ in 0..jobs {
            let (shared, kit) = (threads.shared.clone(), kit.clone());
            let worker = Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
            let spawned = worker.spawn_scoped(scope, move || shared.work(&kit, folder, progress));
            threads.workers.push(spawned.map_err(Stopped::unable)?);
        }
        Ok(Crew::Threads(threads))
    }

    /// A stretch begins, and is to be executed.
    pub fn begin(&mut self, stretch: Stretch) {
        match self {
            Crew::Alone(alone) => alone.begin(stretch),
            Crew::Threads(threads) => threads.begin(stretch),
        }
    }

    /// Its next transaction.
    pub fn take(&mut self, transaction: &Transaction) {
        match self {
            Crew::Alone(alone) => alone.take(transaction),
            Crew::Threads(threads) => threads.take(transaction),
        }
    }

    /// The stretch is over.
    pub fn end(&mut self) {
        if let Crew::Threads(threads) = self {
            threads.end();
        }
    }

    /// The pass itself has found a problem with a call.
    pub fn report(&mut self, problem: Box<Problem>) {
        match self {
            Crew::Alone(alone) => alone.findings.report(problem),
            Crew::Threads(threads) => threads.shared.report(problem),
        }
    }

    /// Waits for everything that was begun.
    pub fn finish(self) -> Executed {
        let findings = match self {
            Crew::Alone(mut alone) => {
                alone.leave();
                std::mem::take(&mut alone.findings)
            }
            Crew::Threads(threads) => threads.finish(),
        };
        Executed { problem: findings.problem, callers: findings.callers }
    }
}

#[derive(Default)]
struct Findings {
    problem: Option<Box<Problem>>,
    callers: Callers,
}

impl Findings {
    fn report(&mut self, problem: Box<Problem>) {
        if self.problem.as_ref().is_none_or(|known| problem.stretch.index < known.stretch.index) {
            self.problem = Some(problem);
        }
    }
}

/// Executes as it comes.
pub struct Alone<'scope> {
    kit: Kit,
    folder: &'scope Path,
    progress: &'scope Progress,
    execution: Option<Execution>,
    findings: Findings,
}

impl Alone<'_> {
    /// The machine that has come to the end of the stretch before need not be made again from the checkpoint.
    fn begin(&mut self, stretch: Stretch) {
        if self.findings.problem.is_some() {
            return;
        }
        match &mut self.execution {
            Some(execution) if execution.next() == stretch.from => execution.go_on(stretch),
            _ => {
                self.leave();
                match Execution::begin(&self.kit, stretch, self.folder) {
                    Ok(execution) => self.execution = Some(execution),
                    Err(problem) => self.findings.report(problem),
                }
            }
        }
    }

    fn take(&mut self, transaction: &Transaction) {
        if let Some(execution) = &mut self.execution
            && let Err(problem) = execution.take(transaction)
        {
            self.findings.report(problem);
            self.leave();
        }
        self.progress.bytes.fetch_add(transaction.raw().len() as u64, Ordering::Relaxed);
    }

    fn leave(&mut self) {
        if let Some(execution) = self.execution.take() {
            self.findings.callers.add(&execution.callers);
        }
    }
}

/// A few transactions of a stretch: their bytes, one after the other, and where each ends. To parse them again costs less than
/// to hand over the many small pieces of memory that a parsed transaction is. They count as queued as long as they live.
struct Batch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    shared: Arc<Shared>,
}

impl Batch {
    fn transactions(&self) -> impl Iterator<Item = Transaction> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let parsed = |(begin, &end)| Transaction::parse(&self.bytes[begin..end]).expect("these bytes were parsed before");
        begins.zip(&self.ends).map(parsed)
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.shared.release(self.bytes.len());
    }
}

/// A stretch that waits for a worker, and where its transactions come from.
struct Queued {
    stretch: Stretch,
    transactions: Receiver<Batch>,
}

#[derive(Default)]
struct Queue {
    stretches: VecDeque<Queued>,
    bytes: usize,
    closed: bool,
    findings: Findings,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something was queued, or taken.
    changed: Condvar,
    max_bytes: usize,
    /// The index of the first stretch with a problem.
    broken: AtomicUsize,
}

impl Shared {
    fn new(max_bytes: usize) -> Shared {
        Shared { queue: Mutex::default(), changed: Condvar::new(), max_bytes, broken: AtomicUsize::new(usize::MAX) }
    }

    /// Nothing panics while it holds the lock, and what it guards is whole at any time.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'q>(&self, queue: MutexGuard<'q, Queue>) -> MutexGuard<'q, Queue> {
        self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner)
    }

    fn release(&self, bytes: usize) {
        self.lock().bytes -= bytes;
        self.changed.notify_all();
    }

    fn report(&self, problem: Box<Problem>) {
        self.broken.fetch_min(problem.stretch.index, Ordering::Relaxed);
        self.lock().findings.report(problem);
    }

    /// Whether a stretch need not be executed any more.
    fn is_idle(&self, index: usize) -> bool {
        self.broken.load(Ordering::Relaxed) < index
    }

    fn next(&self) -> Option<Queued> {
        let mut queue = self.lock();
        loop {
            if let Some(queued) = queue.stretches.pop_front() {
                queue.bytes -= STRETCH_BYTES;
                self.changed.notify_all();
                return Some(queued);
            }
            if queue.closed {
                return None;
            }
            queue = self.wait(queue);
        }
    }

    fn work(&self, kit: &Kit, folder: &Path, progress: &Progress) {
        while let Some(Queued { stretch, transactions }) = self.next() {
            let (index, kept) = (stretch.index, stretch.clone());
            let executed = catch_unwind(AssertUnwindSafe(|| self.execute(kit, stretch, &transactions, folder, progress)));
            let problem = match executed {
                Ok(problem) => problem,
                Err(_) => {
                    let stopped = Stopped::unable("an internal error; the lines above say where");
                    Some(Box::new(Problem { stopped, stretch: kept, divergence: None }))
                }
            };
            if let Some(problem) = problem {
                debug_assert_eq!(problem.stretch.index, index);
                self.report(problem);
            }
        }
    }

    fn execute(
        &self,
        kit: &Kit,
        stretch: Stretch,
        batches: &Receiver<Batch>,
        folder: &Path,
        progress: &Progress,
    ) -> Option<Box<Problem>> {
        let index = stretch.index;
        if self.is_idle(index) {
            return None;
        }
        let mut execution = match Execution::begin(kit, stretch, folder) {
            Ok(execution) => execution,
            Err(problem) => return Some(problem),
        };
        let mut problem = None;
        'all: for batch in batches {
            if self.is_idle(index) {
                break;
            }
            for transaction in batch.transactions() {
                if let Err(found) = execution.take(&transaction) {
                    problem = Some(found);
                    break 'all;
                }
                progress.bytes.fetch_add(transaction.raw().len() as u64, Ordering::Relaxed);
            }
        }
        self.lock().findings.callers.add(&execution.callers);
        problem
    }
}

/// The queue's other end.
pub struct Threads<'scope> {
    shared: Arc<Shared>,
    workers: Vec<ScopedJoinHandle<'scope, ()>>,
    open: Option<Open>,
}

/// The stretch that the pass is in.
struct Open {
    sender: Sender<Batch>,
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Threads<'_> {
    fn begin(&mut self, stretch: Stretch) {
        if self.shared.is_idle(stretch.index) {
            return;
        }
        let (sender, transactions) = channel();
        self.open = Some(Open { sender, bytes: Vec::new(), ends: Vec::new() });
        let mut queue = self.room();
        queue.bytes += STRETCH_BYTES;
        queue.stretches.push_back(Queued { stretch, transactions });
        self.shared.changed.notify_all();
    }

    fn take(&mut self, transaction: &Transaction) {
        let Some(open) = &mut self.open else { return };
        open.bytes.extend_from_slice(transaction.raw());
        open.ends.push(open.bytes.len());
        if open.bytes.len() >= BATCH_BYTES {
            self.send();
        }
    }

    fn send(&mut self) {
        let Some(open) = &mut self.open else { return };
        let (bytes, ends) = (std::mem::take(&mut open.bytes), std::mem::take(&mut open.ends));
        self.room().bytes += bytes.len();
        let batch = Batch { bytes, ends, shared: self.shared.clone() };
        // Nobody listens any more if the stretch is not executed to its end.
        if let Some(open) = &self.open {
            let _ = open.sender.send(batch);
        }
    }

    /// Waits until there is room in the queue.
    fn room(&self) -> MutexGuard<'_, Queue> {
        let mut queue = self.shared.lock();
        while queue.bytes > self.shared.max_bytes {
            queue = self.shared.wait(queue);
        }
        queue
    }

    fn end(&mut self) {
        self.send();
        self.open = None;
    }

    fn finish(mut self) -> Findings {
        self.end();
        self.close();
        for worker in std::mem::take(&mut self.workers) {
            // A worker catches what panics in it.
            let _ = worker.join();
        }
        std::mem::take(&mut self.shared.lock().findings)
    }

    fn close(&self) {
        self.shared.lock().closed = true;
        self.shared.changed.notify_all();
    }
}

/// A pass that ends early lets the workers go.
impl Drop for Threads<'_> {
    fn drop(&mut self) {
        self.open = None;
        self.close();
    }
}
