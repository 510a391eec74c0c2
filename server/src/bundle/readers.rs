//! Threads for reads that take long, and for what is read from the ledger's files.

use crate::limits;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex};

/// A piece of work.
pub(super) type Work = Box<dyn FnOnce() + Send>;

/// The threads end when this is dropped.
pub(super) struct Readers {
    queue: SyncSender<Work>,
}

impl Readers {
    /// Starts the threads. If the system gives none, nothing is ever done.
    pub fn start() -> Readers {
        let (queue, work) = sync_channel(limits::MAX_WAITING_CALLS);
        let work = Arc::new(Mutex::new(work));
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get() + 2).clamp(4, limits::MAX_READERS);
        for number in 0..threads {
            let thread = std::thread::Builder::new().name(format!("reader {number}")).stack_size(sandbox::THREAD_STACK_BYTES);
            let work = work.clone();
            if let Err(error) = thread.spawn(move || run(&work)) {
                tracing::error!("a reader does not start: {error}");
            }
        }
        Readers { queue }
    }

    /// Queues work, unless too much waits.
    pub fn submit(&self, work: Work) -> Result<(), Work> {
        self.queue.try_send(work).map_err(|error| match error {
            TrySendError::Full(work) | TrySendError::Disconnected(work) => work,
        })
    }
}

fn run(work: &Mutex<Receiver<Work>>) {
    loop {
        let next = work.lock().expect("nobody panics with it").recv();
        let Ok(work) = next else { return };
        work();
    }
}
