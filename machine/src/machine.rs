//! The machine: executes inputs, applies what they wrote, and replays ledgers.

use crate::auth::{Caller, Head, Signed};
use crate::checkpoint::Checkpoint;
use crate::difference::{Difference, Divergence, ReplayError, compare, shown};
use crate::input::{Call, Input, MalformedRecord};
use crate::outcome::{self, Outcome};
use crate::outside::{Outside, Recorded, Source, decode_oracles, encode_oracles};
use crate::reading::Reading;
use crate::records::Records;
use crate::script::Script;
use crate::state::{Snapshot, State};
use crate::{Fault, Service, maps};
use ledger::{Hash, SignatureInfo, Transaction, WriteSet};
use sandbox::{Level, Sandbox};

/// Where the console of the app goes: the number of the entry in the call log, the level, the line.
pub type Console = Box<dyn FnMut(u64, Level, &str) + Send>;

/// An app in the state that its ledger has led to.
pub struct Machine {
    script: Script,
}

/// A transaction, read: what it ran and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What came in.
    pub input: Input,
    /// What the ledger says it came to.
    pub result: outcome::Result,
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
        Ok(Entry { input: Input::decode(input)?, result: outcome::decode(&result[1..])? })
    }
}

/// What a transaction claims, and its receipt proves: the digest of the record of its call.
pub fn claims(writes: &WriteSet) -> Option<Hash> {
    writes.get(maps::GLASSBOX, maps::CALL_KEY).map(ledger::sha256)
}

impl Machine {
    /// An app before its first transaction. The state must be empty.
    pub fn new(sandbox: Sandbox, state: State, console: Console, outside: Box<dyn Outside>) -> Machine {
        Machine { script: Script::new(sandbox, Records::new(state), console, outside) }
    }

    /// An app as it was right after a checkpoint, which `records` have folded last.
    pub fn resume(
        sandbox: Sandbox,
        records: Records,
        checkpoint: &Checkpoint,
        console: Console,
        outside: Box<dyn Outside>,
    ) -> Result<Machine, Fault> {
        Ok(Machine { script: Script::resume(sandbox, records, checkpoint, console, outside)? })
    }

    /// What the ledger is a ledger of, once the first transaction was applied.
    pub fn service(&self) -> Option<&Service> {
        self.records().service()
    }

    /// The app.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// The sandbox that it runs in.
    pub fn sandbox(&self) -> &Sandbox {
        self.script.sandbox()
    }

    /// The app, to look into it.
    pub fn script_mut(&mut self) -> &mut Script {
        &mut self.script
    }

    /// What the ledger implies without the heap.
    pub fn records(&self) -> &Records {
        self.script.records()
    }

    /// How many entries the call log has: deployments, `init`, calls. The next one has this number.
    pub fn entries(&self) -> u64 {
        self.records().entries()
    }

    /// The state, for readers on other threads.
    pub fn snapshot(&mut self) -> Snapshot {
        self.script.records_mut().state_mut().snapshot()
    }

    /// The state, to flush it.
    pub fn state_mut(&mut self) -> &mut State {
        self.script.records_mut().state_mut()
    }

    /// Takes the first transaction: what the ledger is a ledger of.
    pub fn begin(&mut self, seqno: u64, service: Service) -> Result<WriteSet, Fault> {
        let mut writes = WriteSet::new();
        service.write(&mut writes);
        self.script.records_mut().apply(seqno, &writes, None)?;
        Ok(writes)
    }

    /// Takes a signature transaction.
    pub fn signed(&mut self, signature: &SignatureInfo) -> Result<(), Fault> {
        self.script.records_mut().sign(&Head::from(signature))
    }

    /// Runs an input as transaction `seqno`: the one way in which anything ever happens. The state has the writes when this
    /// returns; the write set is for the ledger.
    pub fn execute(&mut self, seqno: u64, input: &Input) -> Result<(Outcome, WriteSet), Fault> {
        self.script.sure(false);
        self.execute_from(seqno, input, Source::Live)
    }

    pub(crate) fn execute_from(&mut self, seqno: u64, input: &Input, source: Source) -> Result<(Outcome, WriteSet), Fault> {
        let record = input.encode();
        let outcome = self.script.execute(seqno, &record, input, source)?;
        let entry = Entry { input: input.clone(), result: outcome.result.clone() };
        let writes = seal(record, &outcome);
        self.script.records_mut().apply(seqno, &writes, Some(&entry))?;
        Ok((outcome, writes))
    }

    /// Writes a checkpoint as transaction `seqno`: see [`crate::checkpoint`].
    pub fn checkpoint(&mut self, seqno: u64) -> Result<WriteSet, Fault> {
        let mut writes = WriteSet::new();
        self.script.save(&mut writes)?;
        self.script.records_mut().apply(seqno, &writes, None)?;
        Ok(writes)
    }

    /// What readers need, if the code exports a method that only reads. After a deployment it is another.
    pub fn share(&mut self) -> Result<Option<Reading>, Fault> {
        self.script.share()
    }

    /// Lets readers have the state as it is now. They can still have it while the next call runs.
    pub fn publish(&mut self) {
        self.script.publish();
    }

    /// Has checkpoints come more often than every [`crate::checkpoint::CHECKPOINT_TRANSACTIONS`].
    pub fn checkpoint_every(&mut self, transactions: u64) {
        self.script.checkpoint_every(transactions);
    }

    /// Whether a checkpoint is due before transaction `seqno`.
    pub fn wants_checkpoint(&self, seqno: u64) -> bool {
        self.script.wants_checkpoint(seqno)
    }

    /// Executes what a transaction says was executed, and compares. `Ok` says what it was. After an error the machine is of
    /// no further use.
    pub fn replay(&mut self, transaction: &Transaction) -> Result<Option<Entry>, ReplayError> {
        let txid = transaction.txid();
        let diverges = |difference| ReplayError::Divergence(Box::new(Divergence { txid, difference }));
        let recorded = transaction.public();
        if !transaction.private().is_empty() {
            return Err(diverges(Difference::Foreign("a private part")));
        }
        if let Ok(Some(signature)) = SignatureInfo::read(transaction) {
            self.signed(&signature)?;
            return Ok(None);
        }
        if transaction.claims_digest() != claims(recorded).unwrap_or_default() {
            return Err(diverges(Difference::Claims));
        }
        if let Some(record) = recorded.get(maps::GLASSBOX, maps::SERVICE_KEY) {
            if txid.seqno != 1 {
                return Err(diverges(Difference::Order("the service record stands in the first transaction only")));
            }
            let service = Service::decode(record).map_err(|error| diverges(error.into()))?;
            let writes = self.begin(txid.seqno, service)?;
            compare("the service", recorded, &writes).map_err(diverges)?;
            return Ok(None);
        }
        if self.service().is_none() {
            return Err(diverges(Difference::Order("the first transaction does not say what the ledger is a ledger of")));
        }
        if let Some(record) = recorded.get(maps::GLASSBOX, maps::CHECKPOINT_KEY) {
            Checkpoint::decode(record).map_err(|error| diverges(error.into()))?;
            let writes = self.checkpoint(txid.seqno)?;
            compare("the checkpoint", recorded, &writes).map_err(diverges)?;
            return Ok(None);
        }
        let Some(entry) = Entry::read(recorded).map_err(|error| diverges(error.into()))? else {
            compare("the transaction", recorded, &WriteSet::new()).map_err(diverges)?;
            self.script.records_mut().apply(txid.seqno, &WriteSet::new(), None)?;
            return Ok(None);
        };
        let source = self.recorded(recorded).map_err(diverges)?;
        self.admissible(&entry.input)?.map_err(diverges)?;
        self.script.sure(entry.result.is_ok() && !matches!(entry.input, Input::Deploy { .. }));
        let executed = self.execute_from(txid.seqno, &entry.input, source);
        if let Some(difference) = self.script.take_problem() {
            return Err(diverges(difference));
        }
        if self.script.is_broken() {
            return Err(diverges(Difference::Failed { what: what(&entry.input) }));
        }
        let (outcome, writes) = executed?;
        if outcome.result != entry.result {
            return Err(diverges(Difference::Result {
                what: self::what(&entry.input),
                recorded: shown(&outcome::encode(&entry.result)),
                replayed: shown(&outcome::encode(&outcome.result)),
            }));
        }
        compare(&what(&entry.input), recorded, &writes).map_err(diverges)?;
        Ok(Some(entry))
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

/// The write set of an executed input.
fn seal(mut record: Vec<u8>, outcome: &Outcome) -> WriteSet {
    let mut set = WriteSet::new();
    record.push(b'\n');
    record.extend_from_slice(&outcome::encode(&outcome.result));
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
    }
}
