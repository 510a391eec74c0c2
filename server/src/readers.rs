//! Calls that only read: threads of their own, each with a copy of the realm, at the last state that is durable.
//!
//! ```text
//! socket ──▶ queue (bounded) ──▶ reader: follow the executor's realm, run, put back ──▶ wait until that state is durable ──▶ reply
//! ```
//!
//! # Invariants
//!
//! - A read never waits for a call to end: while one runs, the state before it can be copied.
//! - What a read has seen is on disk before anybody hears of it.
//! - Nothing of a read is kept, in the ledger or in a realm.

use crate::commit::Backend;
use crate::limits;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use machine::{Call, Fault, Reader, Reading};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often a read is tried, when the code is replaced meanwhile, and how long it waits in between.
const ATTEMPTS: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(1);

/// Told what a read came to. Called on the reader's thread: it must not wait.
pub type Tell = Box<dyn FnOnce(machine::Result) + Send>;

/// A read that wants to be run.
pub struct Job {
    /// The call; its time is set when it runs.
    pub call: Call,
    /// Told the result.
    pub tell: Tell,
}

/// The threads that read. They are started with the first read.
#[derive(Default)]
pub(crate) struct Readers {
    queue: Mutex<Option<SyncSender<Job>>>,
}

/// Why a read is not run.
pub enum Refused {
    /// Too many are waiting.
    Busy,
    /// The system gives no threads.
    Threads,
}

impl Readers {
    pub fn submit(&self, backend: &Backend, job: Job) -> Result<(), Refused> {
        let mut queue = self.queue.lock().expect("nobody panics with it");
        if queue.is_none() {
            let (sender, jobs) = sync_channel(limits::MAX_WAITING_CALLS);
            let jobs = Arc::new(Mutex::new(jobs));
            let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get()).clamp(2, limits::MAX_READERS);
            for number in 0..threads {
                let thread = std::thread::Builder::new().name(format!("reader {number}")).stack_size(sandbox::THREAD_STACK_BYTES);
                let (backend, jobs) = (backend.clone(), jobs.clone());
                thread.spawn(move || run(&backend, &jobs)).map_err(|_| Refused::Threads)?;
            }
            *queue = Some(sender);
        }
        let Some(sender) = queue.as_ref() else { return Err(Refused::Threads) };
        sender.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Refused::Busy,
            TrySendError::Disconnected(_) => Refused::Threads,
        })
    }

    /// Ends the threads when they have done what waits.
    pub fn stop(&self) {
        self.queue.lock().expect("nobody panics with it").take();
    }
}

fn run(backend: &Backend, jobs: &Mutex<Receiver<Job>>) {
    let random = SystemRandom::new();
    let mut present: Option<(Reading, Reader)> = None;
    loop {
        let next = jobs.lock().expect("nobody panics with it").recv();
        let Ok(Job { call, tell }) = next else { return };
        // The code may be replaced while this waits for it: then its successor is read.
        let done = (0..ATTEMPTS).find_map(|_| match read(backend, &random, &mut present, &call) {
            Ok(result) => Some(result),
            Err(fault) => {
                tracing::debug!("a read begins again: {fault}");
                present = None;
                std::thread::sleep(PAUSE);
                None
            }
        });
        backend.metrics().reads.fetch_add(1, Relaxed);
        tell(done.unwrap_or_else(|| Err(failure("Error", "The state cannot be read now"))));
    }
}

fn failure(name: &str, message: &str) -> sandbox::Failure {
    sandbox::Failure { name: name.into(), message: message.into(), stack: String::new() }
}

fn read(
    backend: &Backend,
    random: &SystemRandom,
    present: &mut Option<(Reading, Reader)>,
    call: &Call,
) -> Result<machine::Result, Fault> {
    let gone = || Fault::Checkpoint("the code that runs now has nothing to read".into());
    let reading = backend.reading().ok_or_else(gone)?;
    if !reading.exports.readonly.contains(&call.method) {
        // Other code is being taken: what it exports is known before it can be read.
        if backend.exports().readonly.contains(&call.method) {
            return Err(gone());
        }
        return Ok(Err(failure("TypeError", &format!("{} is no method of this script", call.method))));
    }
    let reader = match present {
        Some((of, reader)) if Arc::ptr_eq(&of.exports, &reading.exports) => reader,
        _ => {
            let console: machine::Console = Box::new(|_, _, _| {});
            &mut present.insert((reading.clone(), reading.reader(console)?)).1
        }
    };
    let mut seed = [0; 8];
    random.fill(&mut seed).expect("the system has randomness");
    let call = Call { time_ms: crate::admit::now_ms(), ..call.clone() };
    let read = reader.read(&call, u64::from_le_bytes(seed), || backend.ask_to_publish())?;
    backend.wait_until_durable(read.seqno);
    Ok(read.result)
}
