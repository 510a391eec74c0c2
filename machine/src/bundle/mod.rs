//! Bundles: `app.json` and ES modules behind HTTP endpoints over a key-value store, under governance. After CCF.
//!
//! ```text
//! Request ──▶ routes ──▶ auth ──▶ app: a handler in a realm ──▶ Response, write set
//!                          └────▶ gov: proposals, ballots, a constitution in a realm
//!                         all of it from the request and the state alone
//! ```
//!
//! Modules are evaluated once, when they are deployed; each request begins with the heap as it was after that
//! ([`deployed`]). A handler that asks for it finds the heap that the last request of its key has left ([`reuse`]).
//!
//! # Invariants
//!
//! - No table, no heap and no clock is seen that does not follow from the ledger up to the request.
//! - No request that is refused before it reaches a handler leaves a transaction.
//! - No private table, and no seed, stands in the public part of a transaction.

pub mod access;
pub mod archive;
pub mod auth;
pub mod consensus;
pub mod crypto;
pub mod deployed;
pub mod gov;
mod governor;
pub mod history;
mod host;
mod modules;
pub mod options;
pub mod reader;
pub(crate) mod replay;
pub mod request;
mod reuse;
pub mod routes;
pub mod run;
pub mod store;
pub mod tables;
mod turn;

use crate::checkpoint::{self, Checkpoint};
use crate::difference::Difference;
use crate::input::strict;
use crate::outside::Outside;
use crate::records::Records;
use crate::{Fault, maps};
use access::Context;
use deployed::Deployed;
use governor::Governor;
use history::Archive;
use host::{Kv, Lent};
use ledger::{Hash, WriteSet};
pub use request::{Request, Response};
use reuse::Interpreters;
use routes::{Endpoint, Found, Mode};
use run::Answered;
use sandbox::{Level, Realm, Sandbox};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use store::{Rows, Store};
use turn::Turn;
pub use turn::{Chance, Seed};

/// The first segments of paths that are not the app's.
const GOVERNANCE: &str = "/gov";
/// Before the app's paths; may be left out.
const APP: &str = "/app";

/// A bundle and its tables.
pub struct Bundle {
    sandbox: Sandbox,
    // Never None between two calls of a method here.
    lent: Option<Box<Lent>>,
    deployed: Arc<Deployed>,
    /// Where handlers run that reuse nothing.
    realm: Option<Realm<Kv>>,
    interpreters: Interpreters,
    parsed: auth::Cache,
    checkpoint_every: u64,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What the client hears.
    pub response: Response,
    /// What is to be sealed; `None` if it leaves no transaction.
    pub sealed: Option<Sealing>,
    /// For the log.
    pub line: Option<Line>,
}

/// Where lines of the console go.
pub type Print = Box<dyn FnMut(Level, &str) + Send>;

/// What a request adds to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealing {
    /// Request, response and what it wrote.
    pub writes: WriteSet,
    /// What the app claims.
    pub claims: Option<Hash>,
    /// The handler's writes are among them.
    pub applied: bool,
}

/// What the log says of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// The template of the path.
    pub route: String,
    /// The app wants a line.
    pub wanted: bool,
    /// What the handler threw, if that is to be logged.
    pub thrown: Option<String>,
}

/// When modules were evaluated, as the ledger has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImageRecord {
    time: u64,
}

/// Whether a map is this project's own, which no app sees.
pub(crate) fn is_own(name: &str) -> bool {
    let rest = name.strip_prefix(ledger::write_set::PUBLIC_PREFIX).unwrap_or(name);
    rest.strip_prefix(maps::OWN).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Whether an app may see a map of a transaction of the past.
pub(crate) fn is_for_apps(name: &str) -> bool {
    !is_own(name) && Context::AppReadOnly.refuses(name, "get", false).is_none()
}

/// The record of the request in a transaction.
pub(crate) fn record_of(writes: &WriteSet) -> Option<&[u8]> {
    writes.get(maps::GLASSBOX, maps::REQUEST_KEY).or_else(|| writes.get(maps::OWN, maps::REQUEST_KEY))
}

/// A path without what names the app; `None` if it is another's.
pub fn app_path(path: &str) -> Option<&str> {
    let first = |of: &str| path.strip_prefix(of).filter(|rest| rest.starts_with('/') || rest.is_empty());
    if first(GOVERNANCE).is_some() || first("/node").is_some() {
        return None;
    }
    Some(first(APP).unwrap_or(path))
}

/// Whether governance answers a request.
pub fn is_governance(path: &str) -> bool {
    path.strip_prefix(GOVERNANCE).is_some_and(|rest| rest.starts_with('/')) || gov::custom::is_custom(path)
}

impl Bundle {
    pub(crate) fn new(sandbox: &Sandbox, records: Records, outside: Box<dyn Outside>) -> Result<Bundle, Fault> {
        let sandbox = sandbox.bundles()?;
        let blind = records.secret().is_none();
        let lent = Lent {
            store: Store::new(records),
            sandbox: sandbox.clone(),
            outside,
            archive: None,
            console: Box::new(|_, _| {}),
            blind,
            turn: Turn::default(),
        };
        Ok(Bundle {
            sandbox,
            lent: Some(Box::new(lent)),
            deployed: Arc::default(),
            realm: None,
            interpreters: Interpreters::default(),
            parsed: auth::Cache::new(),
            checkpoint_every: checkpoint::CHECKPOINT_TRANSACTIONS,
        })
    }

    /// A bundle as of a checkpoint, which the records have folded last.
    pub(crate) fn resume(sandbox: &Sandbox, records: Records, outside: Box<dyn Outside>) -> Result<Bundle, Fault> {
        let mut bundle = Bundle::new(sandbox, records, outside)?;
        let row = bundle.records().state().get(maps::APP, maps::IMAGE_KEY)?;
        let time_ms = row.and_then(|row| read_image(row.value())).unwrap_or_default();
        let come = bundle.deploy(time_ms)?;
        come.map_err(|why| Fault::Checkpoint(format!("the app before a checkpoint does not come up: {why}")))?;
        Ok(bundle)
    }

    fn lent(&self) -> &Lent {
        self.lent.as_deref().expect("always there between two methods")
    }

    fn lent_mut(&mut self) -> &mut Lent {
        self.lent.as_deref_mut().expect("always there between two methods")
    }

    pub(crate) fn records(&self) -> &Records {
        &self.lent().store.records
    }

    pub(crate) fn records_mut(&mut self) -> &mut Records {
        &mut self.lent_mut().store.records
    }

    /// The app that is deployed.
    pub fn deployed(&self) -> &Arc<Deployed> {
        &self.deployed
    }

    /// The tables.
    pub fn store(&self) -> &Store {
        &self.lent().store
    }

    /// The sandbox of bundles.
    pub fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// Where transactions of the past are found.
    pub fn set_archive(&mut self, archive: Arc<dyn Archive>) {
        self.lent_mut().archive = Some(archive);
    }

    /// Where the console of handlers goes.
    pub fn set_console(&mut self, console: Print) {
        self.lent_mut().console = console;
    }

    pub(crate) fn checkpoint_every(&mut self, transactions: u64) {
        self.checkpoint_every = transactions;
    }

    pub(crate) fn wants_checkpoint(&self, seqno: u64) -> bool {
        let records = self.records();
        seqno.saturating_sub(records.checkpoint()) >= self.checkpoint_every || records.state().is_full()
    }

    /// Adds a checkpoint to a write set. Whoever goes on from there has no interpreters, so nobody has.
    pub(crate) fn save(&mut self, writes: &mut WriteSet) {
        self.interpreters.flush();
        let records = self.records();
        let record = Checkpoint {
            entries: records.entries(),
            version: 0,
            time_ms: records.time_ms(),
            heap_bytes: 0,
            signature: records.head().map(|head| (head.txid, head.root, head.time_s)),
        };
        writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, record.encode());
    }

    /// Takes what the first transaction says of governance.
    pub(crate) fn refresh(&mut self) -> Result<(), Fault> {
        let come = self.deploy(0)?;
        come.map_err(|why| Fault::Checkpoint(format!("the app of the first transaction does not come up: {why}")))
    }

    /// Takes what a transaction that was not executed here says of the app.
    pub(crate) fn take_over(&mut self, writes: &WriteSet) -> Result<(), Fault> {
        match writes.get(maps::GLASSBOX, maps::IMAGE_KEY).and_then(read_image) {
            Some(time_ms) => {
                self.deploy(time_ms)?.map_err(|why| Fault::Checkpoint(format!("an app of the ledger does not come up: {why}")))
            }
            None => Ok(()),
        }
    }

    /// Who cannot read requests cannot count them: then what a checkpoint says of their number and times is taken.
    pub(crate) fn believe(&mut self, checkpoint: &Checkpoint) {
        if self.lent().blind {
            self.records_mut().believe(checkpoint);
        }
    }

    /// Interpreters whose heaps are not known any more.
    pub(crate) fn forget(&mut self) {
        self.interpreters.flush();
        self.interpreters.lost = true;
    }

    /// Why the last request could not be repeated.
    pub(crate) fn take_problem(&mut self) -> Option<Difference> {
        let turn = &mut self.lent_mut().turn;
        std::mem::take(&mut turn.seedless).then_some(Difference::Foreign("no seed, though the request draws from one"))
    }

    /// Whether the last request needed what the ledger secret opens.
    pub(crate) fn was_blinded(&mut self) -> bool {
        std::mem::take(&mut self.lent_mut().turn.blinded)
    }

    /// Answers a request. `public`: request and response are readable in the ledger.
    pub(crate) fn execute(&mut self, request: &Request, chance: Chance, public: bool) -> Result<Exchange, Fault> {
        let lent = self.lent_mut();
        lent.turn = Turn { time_ms: request.time_ms, chance, ..Turn::default() };
        lent.store.writes = WriteSet::new();
        let exchange = if is_governance(request.path()) { self.govern(request) } else { self.serve(request, public) };
        self.lent_mut().store.writes = WriteSet::new();
        exchange
    }

    /// A request of the app.
    fn serve(&mut self, request: &Request, public: bool) -> Result<Exchange, Fault> {
        let deployed = self.deployed.clone();
        let (endpoint, parameters) = match run::find(&deployed, request) {
            Ok(found) => found,
            Err(response) => return Ok(Exchange { response, sealed: None, line: None }),
        };
        let Bundle { lent, parsed, .. } = self;
        let store = &lent.as_deref().expect("always there between two methods").store;
        let grant = match auth::authenticate(&endpoint.policies, request, store, parsed)? {
            Ok(grant) => grant,
            Err(denied) => return Ok(Exchange { response: denied.response(), sealed: None, line: None }),
        };
        let head = run::head(request, endpoint, &parameters, &grant);
        let exchange = run::exchange(endpoint, &head, request, &grant, None);
        let context = if endpoint.mode == Mode::ReadWrite { Context::App } else { Context::AppReadOnly };
        let outcome = match &endpoint.reuse {
            Some(key) => {
                let key = format!("{key} ({})", if context == Context::App { "rw" } else { "ro" });
                self.in_interpreter(&key, &exchange, context, request.time_ms)?
            }
            None => self.in_fresh_realm(&exchange, context, request.time_ms)?,
        };
        let answered = run::answered(outcome, endpoint, &deployed.options, self.store())?;
        Ok(self.seal(request, answered, public))
    }

    fn in_fresh_realm(
        &mut self,
        exchange: &sandbox::Exchange,
        context: Context,
        time_ms: u64,
    ) -> Result<sandbox::Outcome, Fault> {
        let Some(realm) = &mut self.realm else { return Ok(not_loaded(exchange)) };
        let lent = self.lent.take();
        let outcome = run::lend(realm, lent, &mut self.lent, context, |realm| realm.respond_once(exchange, time_ms));
        Ok(outcome?)
    }

    fn in_interpreter(
        &mut self,
        key: &str,
        exchange: &sandbox::Exchange,
        context: Context,
        time_ms: u64,
    ) -> Result<sandbox::Outcome, Fault> {
        let Some(image) = &self.deployed.image else { return Ok(not_loaded(exchange)) };
        if self.interpreters.lost {
            self.lent_mut().turn.blinded = true;
            return Err(sandbox::Fault("what this interpreter holds is not known without the ledger secret".into()).into());
        }
        let most = self.deployed.options.interpreters();
        let mut realm = match self.interpreters.take(key) {
            Some(realm) => realm,
            None => {
                let host = Kv::of(&self.deployed, context);
                Realm::from_image(&self.sandbox, self.deployed.options.limits(), host, image)?
            }
        };
        let lent = self.lent.take();
        let outcome = run::lend(&mut realm, lent, &mut self.lent, context, |realm| realm.respond(exchange, time_ms))?;
        self.interpreters.put(key, realm, most);
        Ok(outcome)
    }

    /// The write set of a request that reached a handler.
    fn seal(&mut self, request: &Request, answered: Answered, public: bool) -> Exchange {
        let Answered { response, apply, claims, line } = answered;
        let lent = self.lent_mut();
        let mut writes = if apply { std::mem::take(&mut lent.store.writes) } else { WriteSet::new() };
        writes.maps.retain(|_, map| !map.is_empty());
        let map = if public { maps::GLASSBOX } else { maps::OWN };
        writes.put(map, maps::REQUEST_KEY, request.encode());
        writes.put(map, maps::RESPONSE_KEY, response.encode());
        if let Some(seed) = lent.turn.seed {
            writes.put(maps::OWN, maps::SEED_KEY, seed);
        }
        Exchange { response, sealed: Some(Sealing { writes, claims: claims.filter(|_| apply), applied: apply }), line }
    }

    /// A request of governance: always public.
    fn govern(&mut self, request: &Request) -> Result<Exchange, Fault> {
        let Bundle { lent, deployed, parsed, .. } = self;
        let mut governor = Governor { lent, limits: deployed.options.governance_limits() };
        let response = gov::handle(&mut governor, request, parsed)?;
        let nothing = |response| Ok(Exchange { response, sealed: None, line: None });
        if !response.is_success() || self.lent().store.writes.is_empty() {
            return nothing(response);
        }
        if let Some(why) = self.lent().store.refuses() {
            return nothing(Response::error(400, "InvalidInput", format!("This cannot be a transaction: {why}.")));
        }
        let touched = |map: &str| self.lent().store.writes.maps.get(map).is_some_and(|map| !map.is_empty());
        let redeployed = deployed::IMAGE_TABLES.iter().any(|map| touched(map));
        let changed = redeployed || touched(tables::SERVICE_INFO);
        let before = (self.deployed.clone(), self.realm.take());
        if redeployed {
            if let Err(why) = self.deploy(request.time_ms)? {
                (self.deployed, self.realm) = before;
                return nothing(Response::error(400, "ProposalFailedToValidate", format!("Proposal failed to validate: {why}")));
            }
            let record = serde_json::to_vec(&ImageRecord { time: request.time_ms }).expect("a number can be written");
            self.lent_mut().store.writes.put(maps::GLASSBOX, maps::IMAGE_KEY, record);
        } else {
            self.realm = before.1;
            if changed {
                let fresh = Deployed::read(&self.lent().store)?;
                self.deployed = Arc::new(Deployed { image: self.deployed.image.clone(), ..fresh });
            }
        }
        Ok(self.seal(request, Answered { response, apply: true, claims: None, line: None }, true))
    }

    /// Evaluates the modules of the tables as they are now, and takes the app. The inner error says why it does not come up.
    fn deploy(&mut self, time_ms: u64) -> Result<Result<(), String>, Fault> {
        let lent = self.lent.take();
        match deployed::deploy(&self.sandbox, lent, &mut self.lent, modules::Sources::Tables, None, time_ms)? {
            Ok((deployed, realm)) => {
                self.interpreters.flush();
                self.interpreters.lost = false;
                self.deployed = Arc::new(deployed);
                self.realm = realm;
                Ok(Ok(()))
            }
            Err(why) => Ok(Err(why)),
        }
    }

    /// What readers need: the app, and the state as it is now.
    pub fn publish(&mut self) -> reader::Reading {
        let view = Arc::new(self.records_mut().view());
        reader::Reading {
            sandbox: self.sandbox.clone(),
            deployed: self.deployed.clone(),
            view,
            archive: self.lent().archive.clone(),
        }
    }
}

fn not_loaded(exchange: &sandbox::Exchange) -> sandbox::Outcome {
    sandbox::Outcome::Invalid(format!("Module '{}' could not be loaded", exchange.module))
}

fn read_image(bytes: &[u8]) -> Option<u64> {
    let read = |record: ImageRecord| Ok(record.time);
    let write = |time: &u64| serde_json::to_vec(&ImageRecord { time: *time }).expect("a number can be written");
    strict("image record", bytes, read, write).ok()
}

/// A route and its parameters.
pub(crate) type Route<'a> = (&'a Endpoint, Vec<(String, String)>);

/// What `find` makes of a path that leads to no endpoint.
pub(crate) fn unrouted(found: &Found, path: &str, verb: &str) -> Option<Response> {
    Some(match found {
        Found::Endpoint(..) => return None,
        Found::Nothing => Response::error(404, "ResourceNotFound", format!("Unknown path: {path}.")),
        Found::Ambiguous(templates) => {
            let list = templates.join(", ");
            Response::error(500, "InternalError", format!("Multiple potential matches for path: {path}: {list}"))
        }
        Found::Verbs(verbs) => not_allowed(verbs, path, verb),
    })
}

/// A known path, and a verb that it does not have. `OPTIONS` every path has.
pub fn not_allowed(verbs: &[String], path: &str, verb: &str) -> Response {
    let allowed = std::iter::once("OPTIONS").chain(verbs.iter().map(String::as_str)).collect::<Vec<_>>().join(", ");
    let response = match verb {
        "OPTIONS" => Response::empty(204),
        _ => Response::error(405, "UnsupportedHttpVerb", format!("Allowed methods for '{path}' are: {allowed}.")),
    };
    response.with("allow", allowed)
}

/// Whether the service serves users.
pub(crate) fn is_open(rows: &impl Rows) -> Result<bool, Fault> {
    let row = rows.get(tables::SERVICE_INFO, tables::SINGLETON)?;
    let info: Option<serde_json::Value> = row.and_then(|row| serde_json::from_slice(&row).ok());
    Ok(info.is_some_and(|info| info["status"] == "Open"))
}
