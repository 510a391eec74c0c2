//! Requests that only read: in realms of their own, beside the machine, at the state that it has published last.
//!
//! A read is no transaction: nothing of it is kept.

use super::access::Context;
use super::deployed::Deployed;
use super::history::Archive;
use super::host::{Kv, Lent};
use super::modules::Sources;
use super::request::{Request, Response};
use super::routes::Mode;
use super::store::Store;
use super::turn::{Chance, Turn};
use super::{Line, auth, consensus, gov, is_governance, run};
use crate::Fault;
use crate::outside::{Nobody, Outside};
use crate::records::{Records, View};
use ledger::TxId;
use sandbox::{Level, Realm, Sandbox};
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
    parsed: Option<auth::Cache>,
    outside: Option<Box<dyn Outside>>,
    console: Option<Box<dyn FnMut(Level, &str) + Send>>,
}

/// What a read came to.
pub struct Read {
    /// What the client hears.
    pub response: Response,
    /// For the log.
    pub line: Option<Line>,
    /// It went well enough to say which transaction it has seen.
    pub names_transaction: bool,
}

impl Reader {
    /// A reader with this outside and this console.
    pub fn new(outside: Box<dyn Outside>, console: Box<dyn FnMut(Level, &str) + Send>) -> Reader {
        Reader { outside: Some(outside), console: Some(console), ..Reader::default() }
    }

    /// Answers a request that only reads.
    pub fn read(&mut self, reading: &Reading, request: &Request) -> Result<Read, Fault> {
        let store = reading.store();
        let said = |response: Response| Read { names_transaction: response.is_success(), response, line: None };
        if is_governance(request.path()) {
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
                Ok(state) => Some(state),
                Err(response) => return Ok(said(response)),
            },
            _ => None,
        };
        let head = run::head(request, endpoint, &parameters, &grant, state.as_ref());
        let exchange = sandbox::Exchange {
            module: &endpoint.module,
            function: &endpoint.function,
            request: &head,
            body: &request.body,
            content: grant.content.as_deref(),
        };
        let outcome = match self.realm(reading)? {
            None => super::not_loaded(&exchange),
            Some(realm) => {
                let mut back = None;
                let outcome = run::lend(realm, Some(lent), &mut back, Context::AppReadOnly, |realm| {
                    realm.respond_once(&exchange, request.time_ms)
                });
                if let Some(back) = back {
                    let Lent { outside, console, .. } = *back;
                    (self.outside, self.console) = (Some(outside), Some(console));
                }
                outcome?
            }
        };
        let answered = run::answered(outcome, endpoint, &deployed.options)?;
        Ok(Read { names_transaction: answered.apply, response: answered.response, line: Some(answered.line) })
    }

    fn realm(&mut self, reading: &Reading) -> Result<Option<&mut Realm<Kv>>, Fault> {
        let deployed = &reading.deployed;
        if !self.of.as_ref().is_some_and(|of| Arc::ptr_eq(of, deployed)) {
            self.realm = None;
            if let Some(image) = &deployed.image {
                let mut host = Kv::new(Context::AppReadOnly, Sources::Tables);
                host.shows_time_at_first = deployed.shows_time;
                self.realm = Some(Realm::of_image(&reading.sandbox, deployed.options.limits(), host, image)?);
            }
            self.of = Some(deployed.clone());
        }
        Ok(self.realm.as_mut())
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
