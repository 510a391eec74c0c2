//! Bundles over HTTP: what answers a request, and on which thread.
//!
//! ```text
//!            ┌─ may write: app readwrite, POST /gov ─▶ queue ─▶ executor ─▶ committer ─▶ reply
//! Incoming ──┼─ reads: app readonly, GET /gov ──▶ here, at once; a handler that takes long ─▶ readers ─▶ reply
//!            └─ built in: /commit, /tx, /receipt, /api, /node/…  ─▶ readers ─▶ reply
//! ```
//!
//! A read runs on the network's thread, with a small budget of instructions. If that is not enough, it begins again on a thread
//! of its own: handlers that loop delay nobody. What a read has seen is on disk before it is answered.

pub mod builtin;
pub mod journal;
pub mod openapi;
mod readers;

use crate::commit::{Answered, Backend, Refused, Tell};
use crate::https::{Handler, Incoming, Reply, ReplyTo, Sessions};
use crate::outside::{Live, Oracles};
use journal::Journal;
use ledger::TxId;
use machine::bundle::archive::Ledger;
use machine::bundle::reader::{Read, Reader, Reading, TXID_HEADER};
use machine::bundle::routes::{Found, Mode};
use machine::bundle::{Request, Response, app_path, is_governance};
use readers::Readers;
use sandbox::Level;
use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a read may use on the network's thread, in instructions: about a millisecond.
const BUDGET: u64 = 10_000_000;

/// How long a receipt is waited for.
const SIGNED_WITHIN: Duration = Duration::from_secs(1);

/// What answers a bundle's requests. Clones are of the same.
#[derive(Clone)]
pub struct Front(Arc<Shared>);

struct Shared {
    backend: Backend,
    ledger: Arc<Ledger>,
    journal: Journal,
    readers: Readers,
    address: String,
    sessions: Arc<Sessions>,
    began: Instant,
}

thread_local! {
    /// The realms for reading of this thread, of one front.
    static READER: RefCell<Option<(usize, Reader, Lines)>> = const { RefCell::new(None) };
}

/// Console lines of a read that may have to begin again.
type Lines = Arc<Mutex<Vec<(Level, String)>>>;

/// What is done with a request.
enum Way {
    Write,
    Read,
    BuiltIn,
}

impl Front {
    /// The front of a backend. `address`: where it listens, for what the node says of itself.
    pub fn new(backend: Backend, ledger: Arc<Ledger>, journal: Journal, address: String) -> Front {
        let readers = Readers::start();
        Front(Arc::new(Shared { backend, ledger, journal, readers, address, sessions: Arc::default(), began: Instant::now() }))
    }

    fn way(&self, request: &Request, reading: &Reading) -> Way {
        let path = request.path();
        if is_governance(path) {
            let reads = matches!(request.method.as_str(), "GET" | "HEAD" | "OPTIONS");
            return if builtin::is_governance(path) {
                Way::BuiltIn
            } else if reads {
                Way::Read
            } else {
                Way::Write
            };
        }
        let Some(rest) = app_path(path) else { return Way::BuiltIn };
        match reading.deployed.routes.find(&request.method, rest) {
            Found::Endpoint(endpoint, _) if endpoint.mode == Mode::ReadWrite => Way::Write,
            Found::Endpoint(..) => Way::Read,
            Found::Nothing if builtin::is_app(rest) => Way::BuiltIn,
            // Says what is wrong with it.
            _ => Way::Read,
        }
    }

    /// Answers, at once or later.
    pub fn answer(&self, mut request: Request, tell: Tell) {
        let shared = &self.0;
        let nothing = |response| Answered { response, txid: None, line: None, took: Duration::ZERO };
        let Some(reading) = shared.backend.published() else {
            return tell(nothing(Response::error(503, "InternalError", "The service is starting.")));
        };
        match self.way(&request, &reading) {
            Way::Write => {
                let (front, method, path) = (self.clone(), request.method.clone(), request.path().to_owned());
                let tell: Tell = Box::new(move |answered| {
                    front.note(&method, &path, &answered);
                    tell(answered);
                });
                if let Err((refused, tell)) = shared.backend.request(request, tell) {
                    tell(nothing(busy(refused)));
                }
            }
            Way::Read => {
                request.time_ms = crate::admit::now_ms();
                match self.read(&reading, &request, Some(BUDGET)) {
                    Some((read, took)) => self.told(&request, &reading, read, took, tell),
                    None => self.later(move |front| {
                        if let Some((read, took)) = front.read(&reading, &request, None) {
                            front.told(&request, &reading, read, took, tell);
                        }
                    }),
                }
            }
            Way::BuiltIn => {
                request.time_ms = crate::admit::now_ms();
                self.later(move |front| {
                    let (response, seen) = front.built_in(&request, reading);
                    front.0.backend.when_durable(seen, Box::new(move || tell(nothing(response))));
                });
            }
        }
    }

    fn later(&self, work: impl FnOnce(&Front) + Send + 'static) {
        let front = self.clone();
        // When the queue is full, the work is dropped with its reply, and the client hears 503.
        let _ = self.0.readers.submit(Box::new(move || work(&front)));
    }

    /// A read on this thread. `None`: it needs more than its budget.
    fn read(&self, reading: &Reading, request: &Request, budget: Option<u64>) -> Option<(Read, Duration)> {
        let id = Arc::as_ptr(&self.0) as usize;
        READER.with_borrow_mut(|reader| {
            if reader.as_ref().is_none_or(|(of, ..)| *of != id) {
                let lines = Lines::default();
                let console = lines.clone();
                let outside = Live {
                    keys: self.0.backend.keys().clone(),
                    oracles: Oracles::default(),
                    console: Arc::new(Mutex::new(Box::new(|_, _, _| {}))),
                };
                let print = move |level: Level, line: &str| {
                    if let Ok(mut lines) = console.lock() {
                        lines.push((level, line.to_owned()));
                    }
                };
                *reader = Some((id, Reader::new(Box::new(outside), Box::new(print)), lines));
            }
            let (_, reader, lines) = reader.as_mut().expect("made above");
            let began = Instant::now();
            let read = match reader.read(reading, request, budget) {
                Ok(read) => read,
                Err(fault) => {
                    tracing::error!("a request could not be answered: {fault}");
                    let response = Response::error(500, "InternalError", "The request could not be answered.");
                    Some(Read::failed(response))
                }
            };
            let lines = lines.lock().map(|mut lines| std::mem::take(&mut *lines)).unwrap_or_default();
            let read = read?;
            for (level, line) in lines {
                self.0.journal.console(level, &line);
            }
            Some((read, began.elapsed()))
        })
    }

    /// Answers a read, once what it has seen is on disk.
    fn told(&self, request: &Request, reading: &Reading, read: Read, took: Duration, tell: Tell) {
        let txid = reading.txid();
        let Read { response, line, names_transaction, .. } = read;
        let answered = Answered { response, txid: names_transaction.then_some(txid), line, took };
        self.note(&request.method, request.path(), &answered);
        self.0.backend.metrics().reads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.0.backend.when_durable(txid.seqno, Box::new(move || tell(answered)));
    }

    fn note(&self, method: &str, path: &str, answered: &Answered) {
        let Some(line) = &answered.line else { return };
        let journal = &self.0.journal;
        if let Some(thrown) = &line.thrown {
            journal.line("fail", &format!("{method} {path}: {thrown}"));
        }
        if line.wanted {
            let (status, ms) = (answered.response.status, answered.took.as_millis());
            journal.executed(method, &line.route, status, ms);
        }
    }

    /// What the service answers itself, and the last transaction that the answer has seen.
    fn built_in(&self, request: &Request, reading: Reading) -> (Response, u64) {
        let shared = &self.0;
        // Who asks for a receipt, or whether a transaction is committed, has it signed.
        if request.path().ends_with("/receipt") || request.path().ends_with("/tx") {
            let asked = request.parameter("transaction_id").and_then(|text| text.parse::<TxId>().ok());
            let last = shared.backend.durable().last;
            if let (Some(asked), Some(last)) = (asked, last)
                && asked.seqno <= last.seqno
            {
                shared.backend.wait_until_signed(asked.seqno, SIGNED_WITHIN);
            }
        }
        // What was waited for stands in what is published by now.
        let reading = &shared.backend.published().unwrap_or(reading);
        let durable = shared.backend.durable();
        let context = builtin::Context {
            reading,
            ledger: &shared.ledger,
            keys: shared.backend.keys(),
            address: &shared.address,
            committed: durable.signed.map(|head| head.txid),
            last: durable.last,
            sessions: &shared.sessions,
            uptime: shared.began.elapsed(),
        };
        let response = builtin::answer(&context, request).unwrap_or_else(|| {
            let path = request.path();
            Response::error(404, "ResourceNotFound", format!("Unknown path: {path}."))
        });
        (response, reading.seqno())
    }
}

fn busy(refused: Refused) -> Response {
    match refused {
        Refused::Busy => {
            Response::error(503, "TooManyPendingTransactions", "Too many transactions are pending.").with("retry-after", "1")
        }
        Refused::Stopping => Response::error(503, "PrimaryNotFound", "The service is stopping."),
    }
}

impl Handler for Front {
    fn sessions(&self) -> Arc<Sessions> {
        self.0.sessions.clone()
    }

    fn handle(&self, incoming: Incoming, reply: ReplyTo) {
        let Incoming { method, target, headers, body, certificate } = incoming;
        let certificate = certificate.map(|der| der.to_vec());
        let request = Request { method, target, headers, body, certificate, time_ms: 0 };
        self.answer(
            request,
            Box::new(move |answered| {
                let Answered { response: Response { status, mut headers, body }, txid, .. } = answered;
                if let Some(txid) = txid {
                    headers.push((TXID_HEADER.to_owned(), txid.to_string()));
                }
                reply.send(Reply { status, headers, body });
            }),
        );
    }
}
