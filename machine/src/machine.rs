//! The machine: executes inputs, applies what they wrote, and replays ledgers.

use crate::input::{Input, MalformedRecord};
use crate::outcome::{self, Outcome};
use crate::script::Script;
use crate::state::{Snapshot, State};
use crate::{Fault, Service, maps};
use ledger::{MapWrites, Transaction, TxId, WriteSet};
use sandbox::{Level, Sandbox};

/// Where the console of the app goes: the number of the entry in the call log, the level, the line.
pub type Console = Box<dyn FnMut(u64, Level, &str) + Send>;

/// An app in the state that its ledger has led to.
pub struct Machine {
    service: Option<Service>,
    script: Script,
    entries: u64,
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
    /// Reads a transaction; `None` if it ran nothing (the first one, signatures).
    pub fn read(writes: &WriteSet) -> Result<Option<Entry>, MalformedRecord> {
        let Some(record) = writes.get(maps::GLASSBOX, maps::CALL_KEY) else { return Ok(None) };
        // The arguments may hold line feeds, a result as the engine writes it holds none.
        let split = record.iter().rposition(|&byte| byte == b'\n');
        let (input, result) = record.split_at(split.ok_or(MalformedRecord { what: "call", why: "it has no outcome".into() })?);
        Ok(Some(Entry { input: Input::decode(input)?, result: outcome::decode(&result[1..])? }))
    }
}

/// A transaction that does not come out again as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("transaction {txid}: {difference}")]
pub struct Divergence {
    /// Which.
    pub txid: TxId,
    /// What differs.
    pub difference: Difference,
}

/// What differs between a transaction and its replay. Values are shown as text, shortened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// A record cannot be read.
    #[error(transparent)]
    Malformed(#[from] MalformedRecord),
    /// Something is written that no input explains.
    #[error("nothing explains its write of {key} in {map}")]
    Unexplained {
        /// The map.
        map: String,
        /// The key.
        key: String,
    },
    /// The result or the error is another.
    #[error("{what}: the ledger says {recorded}, the replay gives {replayed}")]
    Result {
        /// The method.
        what: String,
        /// In the ledger.
        recorded: String,
        /// Again.
        replayed: String,
    },
    /// A write is another.
    #[error("{what} of {key} in {map}: the ledger says {recorded}, the replay gives {replayed}")]
    Write {
        /// The method.
        what: String,
        /// The map.
        map: String,
        /// The key.
        key: String,
        /// In the ledger.
        recorded: String,
        /// Again.
        replayed: String,
    },
    /// The claims digest or the private part is used, which no app of this kind does.
    #[error("it has {0}, which this kind of app never writes")]
    Foreign(&'static str),
    /// It stands before the first transaction, or the first stands twice.
    #[error("{0}")]
    Order(&'static str),
}

/// A replay that did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The ledger says something else than the replay.
    #[error(transparent)]
    Divergence(#[from] Box<Divergence>),
    /// The host failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The longest value that a difference shows, in characters.
const SHOWN_CHARS: usize = 200;

impl Machine {
    /// An app before its first transaction. The state must be empty.
    pub fn new(sandbox: Sandbox, state: State, console: Console) -> Machine {
        Machine { service: None, script: Script::new(sandbox, state, console), entries: 0 }
    }

    /// What the ledger is a ledger of, once the first transaction was applied.
    pub fn service(&self) -> Option<&Service> {
        self.service.as_ref()
    }

    /// The app.
    pub fn script(&self) -> &Script {
        &self.script
    }

    /// How many entries the call log has: deployments, `init`, calls. The next one has this number.
    pub fn entries(&self) -> u64 {
        self.entries
    }

    /// The state, for readers on other threads.
    pub fn snapshot(&mut self) -> Snapshot {
        self.script.state_mut().snapshot()
    }

    /// The state, to flush it.
    pub fn state_mut(&mut self) -> &mut State {
        self.script.state_mut()
    }

    /// Takes the first transaction: what the ledger is a ledger of.
    pub fn begin(&mut self, seqno: u64, service: Service) -> Result<WriteSet, Fault> {
        let mut writes = WriteSet::new();
        service.write(&mut writes);
        self.script.begin(&service);
        self.script.apply(seqno, writes.maps.get(maps::FILES))?;
        self.service = Some(service);
        Ok(writes)
    }

    /// Runs an input as transaction `seqno`: the one way in which anything ever happens. The state has the writes when this
    /// returns; the write set is for the ledger.
    pub fn execute(&mut self, seqno: u64, input: &Input) -> Result<(Outcome, WriteSet), Fault> {
        let outcome = self.script.execute(self.entries, input)?;
        self.entries += 1;
        let writes = seal(input, &outcome);
        self.script.apply(seqno, writes.maps.get(maps::FILES))?;
        Ok((outcome, writes))
    }

    /// Executes what a transaction says was executed, and compares. `Ok` says what it was.
    pub fn replay(&mut self, transaction: &Transaction) -> Result<Option<Entry>, ReplayError> {
        let txid = transaction.txid();
        let diverges = |difference| ReplayError::Divergence(Box::new(Divergence { txid, difference }));
        let recorded = transaction.public();
        if !transaction.private().is_empty() {
            return Err(diverges(Difference::Foreign("a private part")));
        }
        if transaction.claims_digest() != [0; 32] {
            return Err(diverges(Difference::Foreign("a claims digest")));
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
        if self.service.is_none() {
            return Err(diverges(Difference::Order("the first transaction does not say what the ledger is a ledger of")));
        }
        let Some(entry) = Entry::read(recorded).map_err(|error| diverges(error.into()))? else {
            compare("the transaction", recorded, &WriteSet::new()).map_err(diverges)?;
            return Ok(None);
        };
        let (outcome, writes) = self.execute(txid.seqno, &entry.input)?;
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
}

/// The write set of an executed input.
fn seal(input: &Input, outcome: &Outcome) -> WriteSet {
    let mut set = WriteSet::new();
    let mut record = input.encode();
    record.push(b'\n');
    record.extend_from_slice(&outcome::encode(&outcome.result));
    set.put(maps::GLASSBOX, maps::CALL_KEY, record);
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

/// Maps that are the ledger's own; the audit of the ledger checks them.
fn is_the_ledgers(map: &str) -> bool {
    map.starts_with("public:ccf.")
}

fn compare(what: &str, recorded: &WriteSet, replayed: &WriteSet) -> Result<(), Difference> {
    let none = MapWrites::default();
    let names = recorded.maps.keys().chain(replayed.maps.keys()).filter(|map| !is_the_ledgers(map));
    for map in names {
        let (theirs, ours) = (recorded.maps.get(map).unwrap_or(&none), replayed.maps.get(map).unwrap_or(&none));
        if theirs == ours {
            continue;
        }
        let keys = [&theirs.writes, &ours.writes].into_iter().flat_map(|writes| writes.keys());
        for key in keys.chain(&theirs.removes).chain(&ours.removes) {
            let value = |writes: &MapWrites| match writes.writes.get(key) {
                Some(value) => shown_entry(map, value),
                None if writes.removes.contains(key) => "removed".into(),
                None => "nothing".to_owned(),
            };
            let same =
                theirs.writes.get(key) == ours.writes.get(key) && theirs.removes.contains(key) == ours.removes.contains(key);
            if !same {
                let key = String::from_utf8_lossy(key).into_owned();
                if replayed.maps.is_empty() {
                    return Err(Difference::Unexplained { map: map.clone(), key });
                }
                let (recorded, replayed) = (value(theirs), value(ours));
                return Err(Difference::Write { what: what.into(), map: map.clone(), key, recorded, replayed });
            }
        }
    }
    Ok(())
}

fn shown_entry(map: &str, value: &[u8]) -> String {
    match crate::script::archive::Entry::decode(value) {
        Some(entry) if map == maps::FILES => entry.describe(SHOWN_CHARS),
        _ => shown(value),
    }
}

/// Bytes as a person can read them, shortened.
pub(crate) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], bytes.len()),
        None => text.into_owned(),
    }
}
