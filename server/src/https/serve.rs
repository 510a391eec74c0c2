//! The listener: accepts connections, gives each a task, and stops without cutting off a reply.

use super::sessions::Sessions;
use super::wire::Wire;
use super::{Handler, Limits, connection};
use rustls::{ServerConfig, ServerConnection};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Poll, Waker};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long to wait when the system has no descriptor or no memory left for one more connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What the connections of a listener have in common.
pub(super) struct Shared {
    pub(super) handler: Arc<dyn Handler>,
    pub(super) limits: Limits,
    pub(super) stop: Arc<Stop>,
    pub(super) sessions: Arc<Sessions>,
    /// Bytes that large bodies may still take.
    pub(super) room: Semaphore,
}

/// Serves until `stop` is ready. Then no connection is accepted any more, idle ones end, and the future is ready when the
/// requests that have begun are answered; each of them ends its connection.
pub async fn serve(
    listener: TcpListener,
    tls: Option<Arc<ServerConfig>>,
    handler: Arc<dyn Handler>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let all = u32::try_from(limits.connections).unwrap_or(u32::MAX).min(Semaphore::MAX_PERMITS as u32);
    let places = Arc::new(Semaphore::new(all as usize));
    let room = Semaphore::new(limits.bodies_bytes.max(limits.body_bytes).min(Semaphore::MAX_PERMITS));
    let sessions = handler.sessions();
    sessions.most.store(all.into(), Relaxed);
    let shared = Arc::new(Shared { handler, limits, stop: Arc::default(), sessions, room });
    let mut stop = pin!(stop);
    for number in 0.. {
        let (stream, place) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accept(&listener, &places) => accepted,
        };
        let tls = match tls.clone().map(ServerConnection::new) {
            None => None,
            Some(Ok(tls)) => Some(Box::new(tls)),
            // Something in the configuration; other connections will not fare better, but the server is no worse for it.
            Some(Err(_)) => continue,
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let _place = place;
            let _open = shared.sessions.open();
            let _woken = Woken::register(shared.stop.clone(), number).await;
            let wire = Wire::new(stream, tls, shared.stop.clone(), shared.limits.head_timeout);
            connection::run(wire, &shared).await;
        });
    }
    drop(listener);
    shared.stop.set();
    let _ = places.acquire_many(all).await;
}

/// The next connection, when there is a place for it.
async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let place = places.clone().acquire_owned().await.expect("never closed");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Replies are written in one piece; to hold back the next one would only delay it.
                let _ = stream.set_nodelay(true);
                return (stream, place);
            }
            Err(_) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
        }
    }
}

/// Tells the connections that the server stops. Looking costs one load; each task is woken through the waker that it left.
#[derive(Default)]
pub(super) struct Stop {
    stopping: AtomicBool,
    tasks: Mutex<BTreeMap<u64, Waker>>,
}

impl Stop {
    /// Does the server stop?
    pub(super) fn is_set(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    fn set(&self) {
        self.stopping.store(true, Relaxed);
        // Who registers after this lock was held sees the flag.
        self.tasks().values().for_each(Waker::wake_by_ref);
    }

    fn tasks(&self) -> MutexGuard<'_, BTreeMap<u64, Waker>> {
        self.tasks.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

/// A task that is woken when the server stops.
struct Woken {
    stop: Arc<Stop>,
    number: u64,
}

impl Woken {
    /// Leaves the waker of the task that runs this: it stays the same for the whole life of a task.
    async fn register(stop: Arc<Stop>, number: u64) -> Woken {
        std::future::poll_fn(|cx| {
            stop.tasks().insert(number, cx.waker().clone());
            Poll::Ready(())
        })
        .await;
        Woken { stop, number }
    }
}

impl Drop for Woken {
    fn drop(&mut self) {
        self.stop.tasks().remove(&self.number);
    }
}
