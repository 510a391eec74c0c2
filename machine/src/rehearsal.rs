//! Rehearsals: what other code would have made of the same calls.
//!
//! The first deployment of a ledger is taken by the new code, under the same limits; deployments after it are left out. `init`
//! and the calls run with what the ledger has for them: time, caller, chance, the answers of oracles. Results and writes are
//! compared with the recorded ones, and a difference is no reason to stop: the new code goes on from what it did itself.
//!
//! Where the new code asks for what the ledger does not have, it gets a fixed answer (the seed 0, an `OracleError`), and that is
//! counted.

use crate::checkpoint::Checkpoint;
use crate::difference::{Difference, shown};
use crate::input::{Call, Code, Input, MalformedRecord};
use crate::machine::Entry;
use crate::outcome::{self, Outcome};
use crate::outside::{Nobody, Source};
use crate::script::archive;
use crate::service::SCRIPT;
use crate::state::State;
use crate::{Caller, Fault, Machine, Service, maps};
use ledger::{MapWrites, SignatureInfo, Transaction, TxId, WriteSet};
use sandbox::{Failure, Sandbox};
use std::collections::BTreeMap;

/// Characters of a file's content in a difference.
const SHOWN_CHARS: usize = 60;

/// New code on its way through a ledger.
pub struct Rehearsal {
    machine: Machine,
    name: String,
    source: String,
    deployed: bool,
    /// Entries of the call log that were not run.
    skipped: u64,
    most: usize,
    found: Rehearsed,
}

/// What a rehearsal has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rehearsed {
    /// Calls (with `init`) that were run and compared.
    pub calls: u64,
    /// Those of them that came to something else.
    pub differing: u64,
    /// The first of them.
    pub differences: Vec<Changed>,
    /// The calls by their method.
    pub methods: BTreeMap<String, Tally>,
    /// Calls that drew chance where the ledger has none.
    pub without_chance: u64,
    /// Calls that asked an oracle of which the ledger has no answer.
    pub without_oracle: u64,
    /// Deployments after the first.
    pub left_out: u64,
    /// The new code exports `init`, and the ledger has none: it was not run.
    pub init_without_record: bool,
}

/// How many calls of a method there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// All.
    pub calls: u64,
    /// Those with another result or other writes.
    pub differing: u64,
    /// The new code does not have this method.
    pub gone: bool,
}

/// A call that came to something else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The transaction.
    pub txid: TxId,
    /// The entry of the call log.
    pub number: u64,
    /// The method.
    pub method: String,
    /// A JSON array.
    pub args: String,
    /// Who called.
    pub caller: Option<String>,
    /// What the ledger says.
    pub recorded: outcome::Result,
    /// What the new code says.
    pub rehearsed: outcome::Result,
    /// Files that were written otherwise: the path, what the ledger has, what the new code wrote.
    pub files: Vec<(String, String, String)>,
}

/// Why a rehearsal cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum RehearsalError {
    /// The new code does not come up.
    #[error("{name} does not come up: {}: {}", failure.name, failure.message)]
    Code {
        /// Its file name.
        name: String,
        /// What it threw.
        failure: Failure,
    },
    /// There is no script whose calls could be run with other code.
    #[error("this is not the ledger of a script, but of a bundle or of vats")]
    Bundle,
    /// A record cannot be read.
    #[error("transaction {txid}: {error}")]
    Malformed {
        /// Which.
        txid: TxId,
        /// Why.
        error: MalformedRecord,
    },
    /// What a transaction says came from outside cannot be read.
    #[error("transaction {txid}: {difference}")]
    Outside {
        /// Which.
        txid: TxId,
        /// Why.
        difference: Box<Difference>,
    },
    /// The host failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Rehearsal {
    /// Before the first transaction. The state must be empty; `most` differences are kept.
    pub fn new(sandbox: Sandbox, state: State, name: &str, source: &str, most: usize) -> Rehearsal {
        let machine = Machine::new(sandbox, state, Box::new(|_, _, _| {}), Box::new(Nobody));
        Rehearsal {
            machine,
            name: name.to_owned(),
            source: source.to_owned(),
            deployed: false,
            skipped: 0,
            most,
            found: Rehearsed::default(),
        }
    }

    /// Calls that were compared so far.
    pub fn calls(&self) -> u64 {
        self.found.calls
    }

    /// Runs the next transaction of the ledger.
    pub fn take(&mut self, transaction: &Transaction) -> Result<(), RehearsalError> {
        let txid = transaction.txid();
        let recorded = transaction.public();
        if let Ok(Some(signature)) = SignatureInfo::read(transaction) {
            return Ok(self.machine.signed(&signature)?);
        }
        if let Some(record) = recorded.get(maps::GLASSBOX, maps::SERVICE_KEY) {
            let service = Service::decode(record).map_err(|error| RehearsalError::Malformed { txid, error })?;
            if service.kind != SCRIPT {
                return Err(RehearsalError::Bundle);
            }
            self.machine.begin(txid.seqno, service)?;
            return Ok(());
        }
        if recorded.get(maps::GLASSBOX, maps::CHECKPOINT_KEY).is_some_and(|record| Checkpoint::decode(record).is_ok()) {
            self.machine.checkpoint(txid)?;
            return Ok(());
        }
        let entry = Entry::read(recorded).map_err(|error| RehearsalError::Malformed { txid, error })?;
        match entry {
            Some(Entry { input: Input::Deploy { code, time_ms }, .. }) if !self.deployed => {
                let code = Code { name: self.name.clone(), source: self.source.clone(), settings: code.settings };
                let outcome = self.run(transaction, &Input::Deploy { code, time_ms })?;
                if let Err(failure) = outcome.result {
                    return Err(RehearsalError::Code { name: self.name.clone(), failure });
                }
                self.deployed = true;
                self.found.init_without_record = self.machine.script().exports().init;
                Ok(())
            }
            Some(Entry { input: Input::Deploy { .. }, .. }) => {
                self.found.left_out += 1;
                self.skipped += 1;
                self.skip(txid)
            }
            Some(entry) => self.call(transaction, entry),
            None => self.skip(txid),
        }
    }

    /// What was found.
    pub fn finish(self) -> Rehearsed {
        self.found
    }

    fn skip(&mut self, txid: TxId) -> Result<(), RehearsalError> {
        self.machine.script_mut().records_mut().apply(txid.seqno, &WriteSet::new(), None)?;
        Ok(())
    }

    fn run(&mut self, transaction: &Transaction, input: &Input) -> Result<Outcome, RehearsalError> {
        let txid = transaction.txid();
        let source = self
            .machine
            .recorded(transaction.public())
            .map_err(|difference| RehearsalError::Outside { txid, difference: Box::new(difference) })?;
        let chance = match &source {
            Source::Recorded(recorded) => recorded.chance,
            Source::Live => None,
        };
        let script = self.machine.script_mut();
        script.sure(false);
        let (outcome, _) = self.machine.execute_from(txid.seqno, input, source)?;
        let script = self.machine.script_mut();
        match script.take_problem() {
            Some(Difference::Oracle) => self.found.without_oracle += 1,
            Some(_) => self.found.without_chance += 1,
            None => {}
        }
        // It was drawn here in the ledger; the new code may draw later.
        if let Some(chance) = chance {
            script.records_mut().know_chance(chance);
        }
        Ok(outcome)
    }

    fn call(&mut self, transaction: &Transaction, entry: Entry) -> Result<(), RehearsalError> {
        let txid = transaction.txid();
        let number = self.machine.entries() + self.skipped;
        let exports = self.machine.script().exports();
        let (method, args, caller, gone) = match &entry.input {
            Input::Call(Call { method, args, caller, .. }) => {
                (method.clone(), args.clone(), caller.id(), !exports.methods.contains(method))
            }
            _ => ("init".to_owned(), "[]".to_owned(), Caller::Anonymous.id(), !exports.init),
        };
        let is_init = matches!(entry.input, Input::Init { .. });
        if is_init {
            self.found.init_without_record = false;
        }
        let outcome = if is_init && gone {
            self.skip(txid)?;
            self.skipped += 1;
            let result = Err(Failure { name: "TypeError".into(), message: "there is no init".into(), stack: String::new() });
            Outcome { result, writes: BTreeMap::new(), chance: None, oracles: Vec::new() }
        } else {
            self.run(transaction, &entry.input)?
        };
        let files = files_changed(transaction.public(), &outcome);
        let differs = !is_same(&entry.result, &outcome.result) || !files.is_empty();
        self.found.calls += 1;
        let tally = self.found.methods.entry(method.clone()).or_default();
        tally.calls += 1;
        // A call of what the old code did not have either is no loss.
        tally.gone |= gone && differs;
        if !differs {
            return Ok(());
        }
        tally.differing += 1;
        self.found.differing += 1;
        if self.found.differences.len() < self.most {
            let (recorded, rehearsed) = (entry.result, outcome.result);
            self.found.differences.push(Changed { txid, number, method, args, caller, recorded, rehearsed, files });
        }
        Ok(())
    }
}

/// Equal values, or errors of the same name and message: where in the code they are thrown may have moved.
fn is_same(recorded: &outcome::Result, rehearsed: &outcome::Result) -> bool {
    match (recorded, rehearsed) {
        (Err(a), Err(b)) => a.name == b.name && a.message == b.message,
        (a, b) => a == b,
    }
}

fn files_changed(recorded: &WriteSet, outcome: &Outcome) -> Vec<(String, String, String)> {
    let none = MapWrites::default();
    let files = recorded.maps.get(maps::FILES).unwrap_or(&none);
    let mut before: BTreeMap<&[u8], Option<&[u8]>> =
        files.writes.iter().map(|(path, row)| (path.as_slice(), Some(row.as_slice()))).collect();
    before.extend(files.removes.iter().map(|path| (path.as_slice(), None)));
    let after: BTreeMap<&[u8], Option<&[u8]>> =
        outcome.writes.iter().map(|(path, row)| (path.as_bytes(), row.as_deref())).collect();
    let describe = |row: Option<&Option<&[u8]>>| match row {
        None => "nothing".to_owned(),
        Some(None) => "removed".to_owned(),
        Some(Some(row)) => archive::Entry::decode(row).map_or_else(|| shown(row), |entry| entry.describe(SHOWN_CHARS)),
    };
    let mut paths: Vec<&[u8]> = before.keys().chain(after.keys()).copied().collect();
    paths.sort_unstable();
    paths.dedup();
    paths.retain(|path| before.get(path) != after.get(path));
    let path = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
    paths.into_iter().map(|at| (path(at), describe(before.get(at)), describe(after.get(at)))).collect()
}
