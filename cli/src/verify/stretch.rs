//! Stretches: the pieces of a ledger that can be executed without each other.
//!
//! ```text
//! 1 ──────────────────▶ checkpoint ────────────────────▶ checkpoint ─────────────▶ the last transaction
//! └── from nothing ──────────────┘└── from its pages ─────────────┘└── the tail ──────────────┘
//! ```
//!
//! A stretch ends with a checkpoint, whose replay shows that the pages in it are right; the next stretch begins with those
//! pages. So a ledger whose stretches all come out as they are recorded is one whose execution from the beginning does.

use super::report::{Callers, Stopped, extend};
use super::subject::Subject;
use crate::Failed;
use ledger::{Dir, LedgerSecret, Transaction, TxId, WriteSet};
use machine::bundle::archive::Ledger;
use machine::bundle::history::Archive;
use machine::past::Transactions;
use machine::service::{BUNDLE, SCRIPT, VATS};
use machine::state::{Snapshot, State, StateError};
use machine::{Caller, Checkpoint, Console, Divergence, Fault, Input, Machine, Nobody, Ran, Records, ReplayError, Service, maps};
use sandbox::Sandbox;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A checkpoint ends a stretch when so many bytes of heap come to each of its transactions at the most. To begin at a
/// checkpoint costs a copy of the heap: thousands of checkpoints of a large heap are executed in one piece.
const HEAP_BYTES_PER_TRANSACTION: u64 = 256 << 10;

/// Bytes of transactions that may be executed from a checkpoint on. What they write stays in memory.
const MAX_STRETCH_BYTES: u64 = 1 << 30;

/// What a ledger is executed with.
#[derive(Clone)]
pub struct Kit {
    pub sandbox: Sandbox,
    /// Which kind of app it is of.
    pub kind: String,
    /// Opens private tables.
    pub secret: Option<Arc<LedgerSecret>>,
    /// The ledger itself, for requests that look at the past.
    pub archive: Option<Arc<dyn Archive>>,
}

impl Kit {
    /// The kit for a ledger in this folder.
    pub fn new(subject: &Subject) -> Result<Kit, Failed> {
        let storage = Dir::open(&subject.ledger).map_err(Failed::unable)?;
        let first = Transactions::from(&storage, 1).next().and_then(Result::ok);
        let service = first.as_ref().and_then(|located| located.transaction.public().get(maps::GLASSBOX, maps::SERVICE_KEY));
        // A ledger that begins with something else is found by the replay.
        let kind = service.and_then(|record| Service::decode(record).ok()).map_or(SCRIPT.into(), |service| service.kind);
        let secret = subject.ledger_secret();
        let archive = match &secret {
            Some(secret) if kind == BUNDLE => {
                let ledger = Ledger::at_rest(&subject.ledger, secret.clone()).map_err(Failed::unable)?;
                Some(Arc::new(ledger) as Arc<dyn Archive>)
            }
            _ => None,
        };
        Ok(Kit { sandbox: Sandbox::new().map_err(Failed::unable)?, kind, secret, archive })
    }

    /// Records that open private tables, if that is possible.
    pub fn equip(&self, mut records: Records) -> Records {
        if let Some(secret) = &self.secret {
            records.open_with(secret.clone());
        }
        records
    }
}

/// Where a stretch begins.
#[derive(Clone)]
pub enum Start {
    /// Before the first transaction.
    Beginning,
    /// Right after a checkpoint.
    Checkpoint {
        /// The checkpoint.
        txid: TxId,
        /// What it says.
        record: Checkpoint,
        /// The state with it.
        snapshot: Snapshot,
    },
}

/// A stretch that is to be executed.
#[derive(Clone)]
pub struct Stretch {
    /// Their order in the ledger.
    pub index: usize,
    /// The first transaction.
    pub from: u64,
    /// What is there before it.
    pub start: Start,
}

/// A transaction that does not come out as it is recorded, or that cannot be executed.
pub struct Problem {
    /// What to say.
    pub stopped: Stopped,
    /// The stretch that it is in.
    pub stretch: Stretch,
    /// How it differs.
    pub divergence: Option<Box<Divergence>>,
}

/// Decides where stretches end.
#[derive(Default)]
pub struct Cutter {
    transactions: u64,
}

impl Cutter {
    /// Takes the next transaction. The checkpoint in it, if a stretch ends here.
    pub fn take(&mut self, writes: &WriteSet) -> Option<Checkpoint> {
        self.transactions += 1;
        // A checkpoint that cannot be read is found by the execution that goes on over it.
        let checkpoint = Checkpoint::decode(writes.get(maps::GLASSBOX, maps::CHECKPOINT_KEY)?).ok()?;
        if checkpoint.heap_bytes as u64 > self.transactions.saturating_mul(HEAP_BYTES_PER_TRANSACTION) {
            return None;
        }
        self.transactions = 0;
        Some(checkpoint)
    }
}

/// The execution of a stretch.
pub struct Execution {
    machine: Machine,
    stretch: Stretch,
    /// Bytes that it may still take; it began at a checkpoint. What began at the beginning goes to the disk as it grows.
    room_bytes: Option<u64>,
    /// Who called.
    pub callers: Callers,
}

fn silent() -> Console {
    Box::new(|_, _, _| {})
}

/// What a checkpoint is no good for.
fn malformed(fault: Fault) -> Result<String, Fault> {
    match fault {
        Fault::Checkpoint(why) => Ok(why),
        Fault::State(StateError::Unusable(why)) => Ok(why),
        other => Err(other),
    }
}

/// The machine at the start of a stretch. `folder` is for the state of one that begins at the beginning.
pub fn machine_at(kit: &Kit, start: &Start, folder: &Path) -> Result<Machine, Fault> {
    let sandbox = kit.sandbox.clone();
    let mut machine = match start {
        Start::Beginning => {
            let state = State::open(&folder.join("replay"))?;
            match kit.kind.as_str() {
                BUNDLE => Machine::bundle(&sandbox, state, kit.secret.clone(), Box::new(Nobody))?,
                VATS => Machine::vats(&sandbox, state, silent())?,
                _ => Machine::new(sandbox, state, silent(), Box::new(Nobody)),
            }
        }
        Start::Checkpoint { record, snapshot, .. } => {
            let records = kit.equip(Records::resume(State::fork(snapshot), record)?);
            Machine::resume(sandbox, records, record, silent(), Box::new(Nobody))?
        }
    };
    if let (Some(bundle), Some(archive)) = (machine.as_bundle_mut(), &kit.archive) {
        bundle.set_archive(archive.clone());
    }
    Ok(machine)
}

impl Execution {
    /// Needs a thread with [`sandbox::THREAD_STACK_BYTES`] of stack, as everything here.
    pub fn begin(kit: &Kit, stretch: Stretch, folder: &Path) -> Result<Execution, Box<Problem>> {
        match machine_at(kit, &stretch.start, folder) {
            Ok(machine) => {
                let room_bytes = matches!(stretch.start, Start::Checkpoint { .. }).then_some(MAX_STRETCH_BYTES);
                Ok(Execution { machine, stretch, room_bytes, callers: Callers::default() })
            }
            Err(fault) => {
                let txid = match &stretch.start {
                    Start::Beginning => TxId { view: ledger::txid::FIRST_VIEW, seqno: 1 },
                    Start::Checkpoint { txid, .. } => *txid,
                };
                let stopped = match malformed(fault) {
                    Ok(why) => Stopped::mismatch("callLog", Some(txid), format!("Mismatch on the checkpoint {txid}: {why}")),
                    Err(fault) => Stopped::unable(fault),
                };
                Err(Box::new(Problem { stopped, stretch, divergence: None }))
            }
        }
    }

    /// Goes on where this stretch ends.
    pub fn go_on(&mut self, stretch: Stretch) {
        self.stretch = stretch;
    }

    /// The transaction that comes next, if the execution came to the end of its stretch without a problem.
    pub fn next(&self) -> u64 {
        self.machine.records().state().applied() + 1
    }

    /// Executes a transaction, and compares.
    pub fn take(&mut self, transaction: &Transaction) -> Result<(), Box<Problem>> {
        let number = self.machine.entries();
        let problem =
            |stopped, divergence, stretch: &Stretch| Err(Box::new(Problem { stopped, stretch: stretch.clone(), divergence }));
        if let Some(room_bytes) = &mut self.room_bytes {
            match room_bytes.checked_sub(transaction.raw().len() as u64) {
                Some(left_bytes) => *room_bytes = left_bytes,
                None => {
                    let why = "too much is written after one checkpoint; verify --jobs 1 executes it from the beginning";
                    return problem(Stopped::unable(why), None, &self.stretch);
                }
            }
        }
        match self.machine.replay(transaction) {
            Ok(ran) => {
                match &ran {
                    Ran::Call(entry) => {
                        if let Input::Call(call) = &entry.input {
                            self.callers.count(&call.caller);
                        }
                    }
                    Ran::Request(_) => self.callers.requests += 1,
                    Ran::Sealed => extend(&mut self.callers.sealed, transaction.txid().seqno, transaction.txid().seqno),
                    Ran::Nothing => {}
                }
                Ok(())
            }
            Err(ReplayError::Fault(fault)) => problem(Stopped::unable(fault), None, &self.stretch),
            Err(ReplayError::Divergence(divergence)) => {
                let engine = self.machine.service().map_or(sandbox::ENGINE, |service| &service.engine);
                let stopped = stopped_by(&divergence, number, engine);
                problem(stopped, Some(divergence), &self.stretch)
            }
        }
    }
}

/// What a divergence means: nothing, when another engine wrote the ledger.
pub fn stopped_by(divergence: &Divergence, number: u64, engine: &str) -> Stopped {
    if engine != sandbox::ENGINE {
        return Stopped::Unable(Failed::unable(format!(
            "{divergence}\nThe ledger was written by another version of the sandbox ({engine}, this is {}): \
             it can be checked by a build with that one.",
            sandbox::ENGINE
        )));
    }
    Stopped::mismatch("callLog", Some(divergence.txid), format!("Mismatch on entry {number}, {divergence}"))
}

impl Callers {
    /// Counts a call.
    pub fn count(&mut self, caller: &Caller) {
        match caller {
            Caller::Anonymous => self.anonymous += 1,
            Caller::Named(_) => self.named += 1,
            Caller::Signed(_) => self.signed += 1,
        }
    }

    /// Adds the calls of other stretches. The keys are counted in the state.
    pub fn add(&mut self, other: &Callers) {
        self.anonymous += other.anonymous;
        self.named += other.named;
        self.signed += other.signed;
        self.requests += other.requests;
        self.sealed.extend(&other.sealed);
        self.sealed.sort_unstable();
        let mut joined = Vec::new();
        for (from, to) in std::mem::take(&mut self.sealed) {
            extend(&mut joined, from, to);
        }
        self.sealed = joined;
    }
}

/// A folder for the states of one pass.
pub struct Folder(tempfile::TempDir);

impl Folder {
    /// Makes one.
    pub fn new() -> Result<Folder, Stopped> {
        tempfile::tempdir().map(Folder).map_err(Stopped::unable)
    }

    /// Where the state is that the ledger is folded into.
    pub fn folded(&self) -> PathBuf {
        self.0.path().join("folded")
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}
