//! Requests that only read: in realms of their own, beside the machine, at the state that it has published last.
//!
//! A read is no transaction: nothing of it is kept.

use super::access::Context;
use super::auth::Grant;
use super::deployed::Deployed;
use super::history::Archive;
use super::host::{Kv, Lent};
use super::request::{Request, Response};
use super::reuse::Interpreters;
use super::routes::{Endpoint, Mode};
use super::store::Store;
use super::turn::{Chance, Turn};
use super::{Line, Print, auth, consensus, gov, is_governance, run};
use crate::Fault;
use crate::outside::Outside;
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
pub struct Reader {
    of: Option<Arc<Deployed>>,
    realm: Option<Realm<Kv>>,
    interpreters: Interpreters,
    parsed: auth::Cache,
    // Lent to the realm while a handler runs. Nothing ever stands in for it: keys come from there.
    own: Option<(Box<dyn Outside>, Print)>,
}

/// A request that has found its endpoint, and whose caller may be there.
struct Admitted<'a> {
    reading: &'a Reading,
    request: &'a Request,
    endpoint: &'a Endpoint,
    parameters: Vec<(String, String)>,
    grant: Grant,
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
        Reader {
            of: None,
            realm: None,
            interpreters: Interpreters::default(),
            parsed: auth::Cache::new(),
            own: Some((outside, console)),
        }
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
            return Ok(said(gov::view(&store, request)?));
        }
        let (endpoint, parameters) = match run::find(&reading.deployed, request) {
            Ok(found) => found,
            Err(response) => return Ok(Read { names_transaction: false, ..said(response) }),
        };
        let grant = match auth::authenticate(&endpoint.policies, request, &store, &mut self.parsed)? {
            Ok(grant) => grant,
            Err(denied) => return Ok(Read { names_transaction: false, ..said(denied.response()) }),
        };
        let Some((outside, console)) = self.own.take() else {
            return Err(sandbox::Fault("a reader was broken off in the middle of a request".into()).into());
        };
        let mut lent = Some(Box::new(Lent {
            store,
            sandbox: reading.sandbox.clone(),
            outside,
            archive: reading.archive.clone(),
            console,
            blind: false,
            turn: Turn { time_ms: request.time_ms, chance: Chance::Fresh, ..Turn::default() },
        }));
        let admitted = Admitted { reading, request, endpoint, parameters, grant };
        let read = self.run(&mut lent, &admitted, instructions);
        self.own = lent.map(|lent| (lent.outside, lent.console));
        read
    }

    /// The handler's answer. However it ends, what was lent is back.
    fn run(&mut self, lent: &mut Option<Box<Lent>>, admitted: &Admitted, instructions: u64) -> Result<Read, Fault> {
        let Admitted { reading, request, endpoint, parameters, grant } = admitted;
        let deployed = &reading.deployed;
        let state = match endpoint.mode {
            Mode::Historical => match past(back(lent), request)? {
                Ok(state) => Some(state.to_string()),
                Err(response) => {
                    return Ok(Read { names_transaction: response.is_success(), response, line: None, over: false });
                }
            },
            _ => None,
        };
        let head = run::head(request, endpoint, parameters, grant);
        let exchange = run::exchange(endpoint, &head, request, grant, state.as_deref());
        let key = endpoint.reuse.as_ref().map(|key| format!("{key} (ro)"));
        let outcome = match self.realm(reading, key.as_deref())? {
            None => super::not_loaded(&exchange),
            Some(mut realm) => {
                realm.allow(instructions);
                let outcome = run::lend(&mut realm, lent.take(), lent, Context::AppReadOnly, |realm| match key {
                    Some(_) => realm.respond(&exchange, request.time_ms),
                    None => realm.respond_once(&exchange, request.time_ms),
                })?;
                match key {
                    Some(key) => self.interpreters.put(&key, realm, deployed.options.interpreters()),
                    None => self.realm = Some(realm),
                }
                outcome
            }
        };
        let over = matches!(&outcome, sandbox::Outcome::Failure(failure) if failure.name == "InstructionLimitError");
        let answered = run::answered(outcome, endpoint, &deployed.options, &back(lent).store)?;
        Ok(Read { over, names_transaction: answered.apply, response: answered.response, line: answered.line })
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

fn back(lent: &mut Option<Box<Lent>>) -> &mut Lent {
    lent.as_deref_mut().expect("a realm gives back what it was lent")
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
