//! Requests that only read: in realms of their own, beside the machine, at the state that it has published last.
//!
//! A read is no transaction: nothing of it is kept.

use super::access::Context;
use super::deployed::Deployed;
use super::history::Archive;
use super::host::{Kv, Lent};
use super::request::{Request, Response};
use super::reuse::Interpreters;
use super::routes::Mode;
use super::store::Store;
use super::turn::{Chance, Turn};
use super::{Line, Print, auth, consensus, gov, is_governance, run};
use crate::Fault;
use crate::outside::{Nobody, Outside};
use crate::records::{Records, View};
use ledger::TxId;
use sandbox::{Realm, Sandbox};
use std::sync::Arc;

/// The header that names a transaction of the past.
pub const TXID_HEADER: &str = "x-ms-ccf-transaction-id";

/// What a reader needs: the app and the state, as of one transaction. Clones are of the same.
#[derive(Clone)]
pub struct Reading {
    pub(crate) sandbox: Sandbox,
    /// The app.
    pub deployed: Arc<Deployed>,
    pub(crate) view: Arc<View>,
    pub(crate) archive: Option<Arc<dyn Archive>>,
}

impl Reading {
    /// The last transaction that it has seen.
    pub fn seqno(&self) -> u64 {
        self.view.seqno()
    }

    /// The same, with its view.
    pub fn txid(&self) -> TxId {
        TxId { view: self.view.last_view(), seqno: self.seqno() }
    }

    /// The tables.
    pub fn store(&self) -> Store {
        Store::new(Records::of(&self.view))
    }
}

/// Realms for reading, of one thread, which needs [`sandbox::THREAD_STACK_BYTES`] of stack.
#[derive(Default)]
pub struct Reader {
    of: Option<Arc<Deployed>>,
    realm: Option<Realm<Kv>>,
    interpreters: Interpreters,
    parsed: Option<auth::Cache>,
    outside: Option<Box<dyn Outside>>,
    console: Option<Print>,
}

/// What a read came to.
pub struct Read {
    /// What the client hears.
    pub response: Response,
    /// For the log.
    pub line: Option<Line>,
    /// It went well enough to say which transaction it has seen.
    pub names_transaction: bool,
    /// The handler ran into its budget.
    over: bool,
}

impl Read {
    /// What is answered when nothing could be run.
    pub fn failed(response: Response) -> Read {
        Read { response, line: None, names_transaction: false, over: false }
    }
}

impl Reader {
    /// A reader with this outside and this console.
    pub fn new(outside: Box<dyn Outside>, console: Print) -> Reader {
        Reader { outside: Some(outside), console: Some(console), ..Reader::default() }
    }

    /// Answers a request that only reads. With a budget of instructions: `None` if the handler needs more.
    pub fn read(&mut self, reading: &Reading, request: &Request, budget: Option<u64>) -> Result<Option<Read>, Fault> {
        let limit = reading.deployed.options.limits().instructions;
        let budget = budget.filter(|budget| *budget < limit);
        let read = self.answer(reading, request, budget.unwrap_or(limit))?;
        Ok(Some(read).filter(|read| !(read.over && budget.is_some())))
    }

    fn answer(&mut self, reading: &Reading, request: &Request, instructions: u64) -> Result<Read, Fault> {
        let store = reading.store();
        let said = |response: Response| Read { names_transaction: response.is_success(), response, line: None, over: false };
        if is_governance(request.path()) {
            if gov::is_about_transactions(request.path()) {
                return Ok(said(gov::transactions(request, &store)));
            }
            let parsed = self.parsed.get_or_insert_with(auth::Cache::new);
            return Ok(said(gov::view(&store, request, parsed)?));
        }
        let deployed = &reading.deployed;
        let (endpoint, parameters) = match run::find(deployed, request) {
            Ok(found) => found,
            Err(response) => return Ok(Read { names_transaction: false, ..said(response) }),
        };
        let parsed = self.parsed.get_or_insert_with(auth::Cache::new);
        let grant = match auth::authenticate(&endpoint.policies, request, &store, parsed)? {
            Ok(grant) => grant,
            Err(denied) => return Ok(Read { names_transaction: false, ..said(denied.response()) }),
        };
        let mut lent = Box::new(Lent {
            store,
            sandbox: reading.sandbox.clone(),
            outside: self.outside.take().unwrap_or_else(|| Box::new(Nobody)),
            archive: reading.archive.clone(),
            console: self.console.take().unwrap_or_else(|| Box::new(|_, _| {})),
            blind: false,
            turn: Turn { time_ms: request.time_ms, chance: Chance::Fresh, ..Turn::default() },
        });
        let state = match endpoint.mode {
            Mode::Historical => match past(&mut lent, request)? {
                Ok(state) => Some(state.to_string()),
                Err(response) => return Ok(said(response)),
            },
            _ => None,
        };
        let head = run::head(request, endpoint, &parameters, &grant);
        let exchange = sandbox::Exchange {
            module: &endpoint.module,
            function: &endpoint.function,
            request: &head,
            body: &request.body,
            state: state.as_deref(),
            content: grant.content.as_deref(),
        };
        let key = endpoint.reuse.as_ref().map(|key| format!("{key} (ro)"));
        let mut seen = None;
        let outcome = match self.realm(reading, key.as_deref())? {
            None => super::not_loaded(&exchange),
            Some(mut realm) => {
                let mut back = None;
                realm.allow(instructions);
                let outcome = run::lend(&mut realm, Some(lent), &mut back, Context::AppReadOnly, |realm| match key {
                    Some(_) => realm.respond(&exchange, request.time_ms),
                    None => realm.respond_once(&exchange, request.time_ms),
                });
                if let (Some(_), Ok(outcome)) = (&key, &outcome) {
                    run::keep_clock(&mut realm, outcome);
                }
                match key {
                    _ if outcome.is_err() => {}
                    Some(key) => self.interpreters.put(&key, realm, deployed.options.interpreters()),
                    None => self.realm = Some(realm),
                }
                if let Some(back) = back {
                    let Lent { outside, console, store, .. } = *back;
                    (self.outside, self.console) = (Some(outside), Some(console));
                    seen = Some(store);
                }
                outcome?
            }
        };
        let over = matches!(&outcome, sandbox::Outcome::Failure(failure) if failure.name == "InstructionLimitError");
        let answered = run::answered(outcome, endpoint, &deployed.options, &seen.unwrap_or_else(|| reading.store()))?;
        Ok(Read { over, names_transaction: answered.apply, response: answered.response, line: Some(answered.line) })
    }

    /// The realm for a request, taken out: a fresh one, or the interpreter of that key.
    fn realm(&mut self, reading: &Reading, key: Option<&str>) -> Result<Option<Realm<Kv>>, Fault> {
        let deployed = &reading.deployed;
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, deployed)) {
            self.realm = None;
            self.interpreters.flush();
            self.of = Some(deployed.clone());
        }
        let Some(image) = &deployed.image else { return Ok(None) };
        let known = match key {
            Some(key) => self.interpreters.take(key),
            None => self.realm.take(),
        };
        if known.is_some() {
            return Ok(known);
        }
        let host = Kv::of(deployed, Context::AppReadOnly);
        let (sandbox, limits) = (&reading.sandbox, deployed.options.limits());
        Ok(Some(match key {
            Some(_) => Realm::from_image(sandbox, limits, host, image)?,
            None => Realm::of_image(sandbox, limits, host, image)?,
        }))
    }
}

/// The transaction that a historical request is about, or what is answered in its place.
fn past(lent: &mut Lent, request: &Request) -> Result<Result<serde_json::Value, Response>, Fault> {
    let named = request.header(TXID_HEADER).and_then(|text| text.parse::<TxId>().ok());
    let Some(txid) = named.filter(|txid| txid.view > 0 && txid.seqno > 0) else {
        return Ok(Err(Response::error(404, "TransactionInvalid", "Could not extract Transaction Id")));
    };
    let status = consensus::status(&lent.store, txid.view, txid.seqno)?;
    let sorry = format!("Only committed transactions can be queried. Transaction {txid} is {}", status.name());
    match status {
        consensus::Status::Committed => {}
        consensus::Status::Invalid => return Ok(Err(Response::error(404, "TransactionInvalid", sorry))),
        _ => {
            let response = Response::error(404, "TransactionPendingOrUnknown", sorry);
            return Ok(Err(response.with("cache-control", "no-cache")));
        }
    }
    Ok(lent.remember(txid.seqno)?.ok_or_else(|| {
        Response::text(202, &format!("Historical transaction {txid} is not currently available.")).with("retry-after", "3")
    }))
}
