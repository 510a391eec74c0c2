//! The machine: executes inputs, applies what they wrote, and replays ledgers.

use crate::auth::{Caller, Head, Signed};
use crate::bundle::{Bundle, Chance, Exchange, Request, Response};
use crate::checkpoint::Checkpoint;
use crate::difference::{Difference, Divergence, ReplayError, compare, shown};
use crate::input::{Call, Input, MalformedRecord};
use crate::outcome::{self, Outcome};
use crate::outside::{Outside, Recorded, Source, decode_oracles, encode_oracles};
use crate::reading::Reading;
use crate::records::Records;
use crate::script::Script;
use crate::service::BUNDLE;
use crate::state::{Snapshot, State};
use crate::vats::Vats;
use crate::{Fault, Service, maps};
use ledger::txid::FIRST_VIEW;
use ledger::{Hash, LedgerSecret, SignatureInfo, Transaction, TxId, WriteSet};
use sandbox::{Level, Sandbox};
use std::sync::Arc;

/// Where the console of the app goes: the number of the entry in the call log, the level, the line.
pub type Console = Box<dyn FnMut(u64, Level, &str) + Send>;

/// An app in the state that its ledger has led to.
pub struct Machine {
    app: App,
}

/// The kinds of app.
enum App {
    Script(Box<Script>),
    Bundle(Box<Bundle>),
    Vats(Box<Vats>),
}

/// What a transaction ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ran {
    /// Nothing: the first one, signatures, checkpoints.
    Nothing,
    /// A script's input.
    Call(Box<Entry>),
    /// A bundle's request, and what was answered.
    Request(Box<(Request, Response)>),
    /// A bundle's request that only the ledger secret shows, or that cannot be repeated without it. Its public writes were taken.
    Sealed,
}

/// A transaction, read: what it ran and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What came in.
    pub input: Input,
    /// What the ledger says it came to.
    pub result: outcome::Result,
    /// That is a summary of what vats did, and says of calls what [`crate::vats::answers`] finds there.
    pub is_summary: bool,
}

impl Entry {
    /// Reads a transaction; `None` if it ran nothing (the first one, signatures, checkpoints).
    pub fn read(writes: &WriteSet) -> Result<Option<Entry>, MalformedRecord> {
        let Some(record) = writes.get(maps::GLASSBOX, maps::CALL_KEY) else { return Ok(None) };
        Entry::decode(record).map(Some)
    }

    /// Reads the record of a call: the input, a line feed, the result.
    pub fn decode(record: &[u8]) -> Result<Entry, MalformedRecord> {
        // The arguments may hold line feeds, a result as the engine writes it holds none.
        let split = record.iter().rposition(|&byte| byte == b'\n');
        let (input, result) = record.split_at(split.ok_or(MalformedRecord { what: "call", why: "it has no outcome".into() })?);
        let input = Input::decode(input)?;
        match outcome::summary(&result[1..]) {
            Some(summary) => Ok(Entry { input, result: Ok(Some(summary.to_owned())), is_summary: true }),
            None => Ok(Entry { input, result: outcome::decode(&result[1..])?, is_summary: false }),
        }
    }
}

/// What a transaction claims, and its receipt proves: the digest of the record of its call.
pub fn claims(writes: &WriteSet) -> Option<Hash> {
    writes.get(maps::GLASSBOX, maps::CALL_KEY).map(ledger::sha256)
}

impl Machine {
    /// An app before its first transaction. The state must be empty.
    pub fn new(sandbox: Sandbox, state: State, console: Console, outside: Box<dyn Outside>) -> Machine {
        Machine { app: App::Script(Box::new(Script::new(sandbox, Records::new(state), console, outside))) }
    }

    /// A bundle before its first transaction. `secret` opens private tables; without it only what needs none can be executed.
    pub fn bundle(
        sandbox: &Sandbox,
        state: State,
        secret: Option<Arc<LedgerSecret>>,
        outside: Box<dyn Outside>,
    ) -> Result<Machine, Fault> {
        let mut records = Records::new(state);
        if let Some(secret) = secret {
            records.open_with(secret);
        }
        Ok(Machine { app: App::Bundle(Box::new(Bundle::new(sandbox, records, outside)?)) })
    }

    /// Vats before their first transaction. The state must be empty.
    pub fn vats(sandbox: &Sandbox, state: State, console: Console) -> Result<Machine, Fault> {
        Ok(Machine { app: App::Vats(Box::new(Vats::new(sandbox, Records::new(state), console)?)) })
    }

    /// An app as it was right after a checkpoint, which `records` have folded last.
    pub fn resume(
        sandbox: Sandbox,
        records: Records,
        checkpoint: &Checkpoint,
        console: Console,
        outside: Box<dyn Outside>,
    ) -> Result<Machine, Fault> {
        if records.is_bundle() {
            return Ok(Machine { app: App::Bundle(Box::new(Bundle::resume(&sandbox, records, outside)?)) });
        }
        if records.is_vats() {
            return Ok(Machine { app: App::Vats(Box::new(Vats::resume(&sandbox, records, console)?)) });
        }
        Ok(Machine { app: App::Script(Box::new(Script::resume(sandbox, records, checkpoint, console, outside)?)) })
    }

    /// What the ledger is a ledger of, once the first transaction was applied.
    pub fn service(&self) -> Option<&Service> {
        self.records().service()
    }

    /// The script.
    ///
    /// # Panics
    ///
    /// If the app is another one.
    pub fn script(&self) -> &Script {
        match &self.app {
            App::Script(script) => script,
            App::Bundle(_) | App::Vats(_) => panic!("this is no script"),
        }
    }

    /// The sandbox that it runs in.
    pub fn sandbox(&self) -> &Sandbox {
        match &self.app {
            App::Script(script) => script.sandbox(),
            App::Bundle(bundle) => bundle.sandbox(),
            App::Vats(vats) => vats.sandbox(),
        }
    }

    /// The script, to look into it.
    ///
    /// # Panics
    ///
    /// If the app is another one.
    pub fn script_mut(&mut self) -> &mut Script {
        match &mut self.app {
            App::Script(script) => script,
            App::Bundle(_) | App::Vats(_) => panic!("this is no script"),
        }
    }

    /// The vats, if there are.
    pub fn as_vats(&self) -> Option<&Vats> {
        match &self.app {
            App::Vats(vats) => Some(vats),
            _ => None,
        }
    }

    /// The vats, if there are.
    pub fn as_vats_mut(&mut self) -> Option<&mut Vats> {
        match &mut self.app {
            App::Vats(vats) => Some(vats),
            _ => None,
        }
    }

    /// The bundle, if it is one.
    pub fn as_bundle(&self) -> Option<&Bundle> {
        match &self.app {
            App::Bundle(bundle) => Some(bundle),
            App::Script(_) | App::Vats(_) => None,
        }
    }

    /// The bundle, if it is one.
    pub fn as_bundle_mut(&mut self) -> Option<&mut Bundle> {
        match &mut self.app {
            App::Bundle(bundle) => Some(bundle),
            App::Script(_) | App::Vats(_) => None,
        }
    }

    /// What the ledger implies without the heap.
    pub fn records(&self) -> &Records {
        match &self.app {
            App::Script(script) => script.records(),
            App::Bundle(bundle) => bundle.records(),
            App::Vats(vats) => vats.records(),
        }
    }

    fn records_mut(&mut self) -> &mut Records {
        match &mut self.app {
            App::Script(script) => script.records_mut(),
            App::Bundle(bundle) => bundle.records_mut(),
            App::Vats(vats) => vats.records_mut(),
        }
    }

    /// How many entries the call log has: deployments, `init`, calls. The next one has this number.
    pub fn entries(&self) -> u64 {
        self.records().entries()
    }

    /// The state, for readers on other threads.
    pub fn snapshot(&mut self) -> Snapshot {
        self.records_mut().state_mut().snapshot()
    }

    /// The state, to flush it.
    pub fn state_mut(&mut self) -> &mut State {
        self.records_mut().state_mut()
    }

    /// Takes the first transaction: what the ledger is a ledger of.
    pub fn begin(&mut self, seqno: u64, service: Service) -> Result<WriteSet, Fault> {
        self.begin_with(TxId { view: FIRST_VIEW, seqno }, service, WriteSet::new())
    }

    /// The same, with what the operator of a bundle says at first of governance.
    pub fn begin_with(&mut self, txid: TxId, service: Service, mut writes: WriteSet) -> Result<WriteSet, Fault> {
        service.write(&mut writes);
        match &mut self.app {
            App::Script(_) | App::Vats(_) => self.records_mut().apply(txid.seqno, &writes, None)?,
            App::Bundle(bundle) => {
                bundle.records_mut().apply_bundle(txid, &writes, None)?;
                bundle.refresh()?;
            }
        }
        Ok(writes)
    }

    /// Takes a signature transaction.
    pub fn signed(&mut self, signature: &SignatureInfo) -> Result<(), Fault> {
        self.records_mut().sign(&Head::from(signature))
    }

    /// Runs an input as transaction `seqno`: the one way in which anything ever happens. The state has the writes when this
    /// returns; the write set is for the ledger.
    pub fn execute(&mut self, seqno: u64, input: &Input) -> Result<(Outcome, WriteSet), Fault> {
        if let App::Script(script) = &mut self.app {
            script.sure(false);
        }
        self.execute_from(seqno, input, Source::Live)
    }

    pub(crate) fn execute_from(&mut self, seqno: u64, input: &Input, source: Source) -> Result<(Outcome, WriteSet), Fault> {
        let record = input.encode();
        if let App::Vats(vats) = &mut self.app {
            let (result, writes) = vats.execute(input)?;
            let entry = Entry { input: input.clone(), is_summary: result.is_ok(), result: result.clone() };
            let outcome = Outcome { result, writes: Default::default(), chance: None, oracles: Vec::new() };
            let writes = seal(record, &outcome::encode_summary(&outcome.result), &outcome, writes);
            self.records_mut().apply(seqno, &writes, Some(&entry))?;
            return Ok((outcome, writes));
        }
        let outcome = self.script_mut().execute(seqno, &record, input, source)?;
        let entry = Entry { input: input.clone(), result: outcome.result.clone(), is_summary: false };
        let writes = seal(record, &outcome::encode(&outcome.result), &outcome, WriteSet::new());
        self.records_mut().apply(seqno, &writes, Some(&entry))?;
        Ok((outcome, writes))
    }

    /// Answers a request to a bundle, which becomes transaction `txid` if it leaves one: the one way in which anything ever
    /// happens to a bundle. `public`: request and response are readable in the ledger.
    ///
    /// # Panics
    ///
    /// If the app is a script.
    pub fn respond(&mut self, txid: TxId, request: &Request, chance: Chance, public: bool) -> Result<Exchange, Fault> {
        let bundle = self.as_bundle_mut().expect("a script takes no requests");
        let exchange = bundle.execute(request, chance, public)?;
        if let Some(sealed) = &exchange.sealed {
            bundle.records_mut().apply_bundle(txid, &sealed.writes, Some(request.time_ms))?;
        }
        Ok(exchange)
    }

    /// Writes a checkpoint as transaction `txid`: see [`crate::checkpoint`].
    pub fn checkpoint(&mut self, txid: TxId) -> Result<WriteSet, Fault> {
        let mut writes = WriteSet::new();
        match &mut self.app {
            App::Script(script) => {
                script.save(&mut writes)?;
                script.records_mut().apply(txid.seqno, &writes, None)?;
            }
            App::Vats(vats) => {
                vats.save(&mut writes)?;
                vats.records_mut().apply(txid.seqno, &writes, None)?;
            }
            App::Bundle(bundle) => {
                bundle.save(&mut writes);
                bundle.records_mut().apply_bundle(txid, &writes, None)?;
            }
        }
        Ok(writes)
    }

    /// What readers need, if the code exports a method that only reads. After a deployment it is another.
    pub fn share(&mut self) -> Result<Option<Reading>, Fault> {
        self.script_mut().share()
    }

    /// Lets readers have the state as it is now. They can still have it while the next call runs.
    pub fn publish(&mut self) {
        self.script_mut().publish();
    }

    /// Has checkpoints come more often than every [`crate::checkpoint::CHECKPOINT_TRANSACTIONS`].
    pub fn checkpoint_every(&mut self, transactions: u64) {
        match &mut self.app {
            App::Script(script) => script.checkpoint_every(transactions),
            App::Bundle(bundle) => bundle.checkpoint_every(transactions),
            App::Vats(vats) => vats.checkpoint_every(transactions),
        }
    }

    /// Whether a checkpoint is due before transaction `seqno`.
    pub fn wants_checkpoint(&self, seqno: u64) -> bool {
        match &self.app {
            App::Script(script) => script.wants_checkpoint(seqno),
            App::Bundle(bundle) => bundle.wants_checkpoint(seqno),
            App::Vats(vats) => vats.wants_checkpoint(seqno),
        }
    }

    /// Executes what a transaction says was executed, and compares. `Ok` says what it was. After an error the machine is of
    /// no further use.
    pub fn replay(&mut self, transaction: &Transaction) -> Result<Ran, ReplayError> {
        let txid = transaction.txid();
        let diverges = |difference| ReplayError::Divergence(Box::new(Divergence { txid, difference }));
        let recorded = transaction.public();
        let is_bundle = matches!(self.app, App::Bundle(_));
        if let Ok(Some(signature)) = SignatureInfo::read(transaction) {
            self.signed(&signature)?;
            return Ok(Ran::Nothing);
        }
        if let App::Bundle(bundle) = &mut self.app
            && transaction.public().get(maps::GLASSBOX, maps::CHECKPOINT_KEY).is_none()
            && transaction.public().get(maps::GLASSBOX, maps::SERVICE_KEY).is_none()
            && bundle.records().service().is_some()
        {
            return crate::bundle::replay::replay(bundle, transaction);
        }
        if !transaction.private().is_empty() {
            return Err(diverges(Difference::Foreign("a private part")));
        }
        if transaction.claims_digest() != claims(recorded).unwrap_or_default() {
            return Err(diverges(Difference::Claims));
        }
        if let Some(record) = recorded.get(maps::GLASSBOX, maps::SERVICE_KEY) {
            if txid.seqno != 1 {
                return Err(diverges(Difference::Order("the service record stands in the first transaction only")));
            }
            let service = Service::decode(record).map_err(|error| diverges(error.into()))?;
            // What a bundle's operator says of governance at first is taken as it is.
            let mut given = WriteSet::new();
            if service.kind == BUNDLE {
                given.maps = recorded.maps.clone();
                given.maps.retain(|name, _| name.starts_with("public:ccf.gov."));
            }
            let writes = self.begin_with(txid, service, given)?;
            compare("the service", recorded, &writes, is_bundle).map_err(diverges)?;
            return Ok(Ran::Nothing);
        }
        if self.service().is_none() {
            return Err(diverges(Difference::Order("the first transaction does not say what the ledger is a ledger of")));
        }
        if let Some(record) = recorded.get(maps::GLASSBOX, maps::CHECKPOINT_KEY) {
            let checkpoint = Checkpoint::decode(record).map_err(|error| diverges(error.into()))?;
            if let App::Bundle(bundle) = &mut self.app {
                bundle.believe(&checkpoint);
            }
            let writes = self.checkpoint(txid)?;
            compare("the checkpoint", recorded, &writes, is_bundle).map_err(diverges)?;
            return Ok(Ran::Nothing);
        }
        let Some(entry) = Entry::read(recorded).map_err(|error| diverges(error.into()))? else {
            compare("the transaction", recorded, &WriteSet::new(), false).map_err(diverges)?;
            self.records_mut().apply(txid.seqno, &WriteSet::new(), None)?;
            return Ok(Ran::Nothing);
        };
        let source = self.recorded(recorded).map_err(diverges)?;
        self.admissible(&entry.input)?.map_err(diverges)?;
        if let App::Script(script) = &mut self.app {
            script.sure(entry.result.is_ok() && !matches!(entry.input, Input::Deploy { .. }));
        }
        let executed = self.execute_from(txid.seqno, &entry.input, source);
        if let App::Script(script) = &mut self.app {
            if let Some(difference) = script.take_problem() {
                return Err(diverges(difference));
            }
            if script.is_broken() {
                return Err(diverges(Difference::Failed { what: what(&entry.input) }));
            }
        }
        let (outcome, writes) = executed?;
        if outcome.result != entry.result {
            return Err(diverges(Difference::Result {
                what: self::what(&entry.input),
                recorded: shown(&outcome::encode(&entry.result)),
                replayed: shown(&outcome::encode(&outcome.result)),
            }));
        }
        compare(&what(&entry.input), recorded, &writes, false).map_err(diverges)?;
        Ok(Ran::Call(Box::new(entry)))
    }

    /// What the ledger says came from outside.
    pub(crate) fn recorded(&self, writes: &WriteSet) -> Result<Source, Difference> {
        let malformed = |what, why: &str| Difference::Malformed(MalformedRecord { what, why: why.into() });
        let mut recorded = Recorded::default();
        if let Some(chance) = writes.get(maps::GLASSBOX, maps::CHANCE_KEY) {
            recorded.chance = Some(chance.try_into().map_err(|_| malformed("chance", "it has not 48 bytes"))?);
        }
        if let Some(oracles) = writes.get(maps::GLASSBOX, maps::ORACLES_KEY) {
            recorded.oracles = decode_oracles(oracles)
                .ok_or_else(|| malformed("oracles", "they are not in the one form that is allowed"))?
                .into();
        }
        Ok(Source::Recorded(recorded))
    }

    /// Whether an input of the ledger could have been admitted.
    fn admissible(&self, input: &Input) -> Result<Result<(), Difference>, Fault> {
        let (time_ms, before_ms) = (input.time_ms(), self.records().time_ms());
        if time_ms < before_ms {
            return Ok(Err(Difference::Time { time_ms, before_ms }));
        }
        let Input::Call(call) = input else { return Ok(Ok(())) };
        let Caller::Signed(signed) = &call.caller else { return Ok(Ok(())) };
        Ok(self.admits(call, signed)?.map_err(|error| Difference::Caller { error }))
    }

    /// Whether a signed call may be run now.
    pub fn admits(&self, call: &Call, signed: &Signed) -> Result<Result<(), crate::AuthError>, Fault> {
        let backend = self.service().map_or("", |service| &service.log);
        Ok(self.records().admits(signed, call.time_ms)?.and_then(|root| {
            if signed.covers(backend, &root, &call.method, &call.args) { Ok(()) } else { Err(crate::AuthError::Altered) }
        }))
    }
}

/// The write set of an executed input, on top of what its app writes itself.
fn seal(mut record: Vec<u8>, result: &[u8], outcome: &Outcome, mut set: WriteSet) -> WriteSet {
    record.push(b'\n');
    record.extend_from_slice(result);
    set.put(maps::GLASSBOX, maps::CALL_KEY, record);
    if let Some(chance) = &outcome.chance {
        set.put(maps::GLASSBOX, maps::CHANCE_KEY, chance);
    }
    if !outcome.oracles.is_empty() {
        set.put(maps::GLASSBOX, maps::ORACLES_KEY, encode_oracles(&outcome.oracles));
    }
    for (path, value) in &outcome.writes {
        match value {
            Some(value) => set.put(maps::FILES, path.as_bytes(), value.as_slice()),
            None => set.remove(maps::FILES, path.as_bytes()),
        }
    }
    set
}

fn what(input: &Input) -> String {
    match input {
        Input::Deploy { code, .. } => format!("deployment of {}", code.name),
        Input::Init { .. } => "init()".into(),
        Input::Call(call) => format!("{}()", call.method),
        Input::Vats { work, .. } => work.name().to_owned(),
    }
}
