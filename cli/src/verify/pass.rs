//! The one reading of a ledger: every transaction is read, hashed and folded once, here, in order, and goes on to whoever
//! executes the stretch that it is in.
//!
//! ```text
//! chunk files ──▶ tag, Merkle tree, signatures ──▶ receipts ──▶ fold ──▶ the stretch's queue ──▶ executed
//!                                                                └─ at a checkpoint: a snapshot, the next stretch
//! ```
//!
//! Invariants: what is executed are the bytes that were hashed; no file is read twice. A transaction that the tree or a signature proves
//! wrong is the last that is read, and is executed too: the replay may know what is wrong about it.

use super::crew::{Crew, Executed, Progress};
use super::earlier::Earlier;
use super::receipts::{Receipts, Verdict};
use super::report::{Callers, Stopped};
use super::stretch::{Cutter, Folder, Kit, Problem, Start, Stretch, stopped_by};
use super::subject::Subject;
use crate::Failed;
use ledger::merkle::Tree;
use ledger::{Audit, Certificate, Dir, Hash, Keys, Located, SignatureInfo, Transaction, TxId};
use machine::past::Transactions;
use machine::state::{Snapshot, State, StateError};
use machine::{Caller, Difference, Divergence, Entry, Fault, Input, Records, Service, maps};
use std::collections::BTreeSet;
use std::ops::Bound;
use std::sync::atomic::Ordering;

/// Which stretches are to be executed.
pub enum Choice {
    /// Every one.
    All,
    /// Those that begin with these transactions.
    Some(BTreeSet<u64>),
}

/// What to do.
pub struct Plan<'a> {
    /// The ledger.
    pub subject: &'a Subject,
    /// Who executes.
    pub jobs: usize,
    /// What.
    pub choice: &'a Choice,
    /// What need not be executed again.
    pub earlier: &'a Earlier,
    /// What the ledger must hold.
    pub receipts: &'a Receipts,
    /// A transaction that it must have.
    pub named: Option<TxId>,
    /// For the bar.
    pub progress: &'a Progress,
}

/// What became of a stretch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was executed, or would have been but for a problem.
    Executed,
    /// An earlier audit has executed it.
    Earlier,
    /// It was only hashed and folded.
    Folded,
}

/// A stretch of the ledger, after the pass.
pub struct Done {
    /// The first transaction.
    pub from: u64,
    /// The last one.
    pub to: u64,
    /// The checkpoint that it begins with.
    pub checkpoint: Option<TxId>,
    /// The Merkle root behind the checkpoint that it ends with.
    pub root: Option<Hash>,
    /// What became of it.
    pub fate: Fate,
}

/// What a pass has found.
pub struct Passed {
    pub calls: u64,
    pub transactions: u64,
    pub signatures: u64,
    pub last: Option<TxId>,
    pub unsigned: u64,
    pub callers: Callers,
    pub oracle_answers: u64,
    pub service: Option<Service>,
    pub certificate: Option<Certificate>,
    /// The state at the archive's transaction.
    pub snapshot: Option<Snapshot>,
    pub stretches: Vec<Done>,
    pub verdicts: Vec<Verdict>,
    /// What the reading has found.
    pub proof: Option<Stopped>,
    /// What the execution has found.
    pub problem: Option<Box<Problem>>,
    /// From here on the ledger is not the one that was executed earlier, or cannot be known to be: a pass that executes what
    /// ends behind it knows more.
    pub stale: Option<u64>,
    // Behind the snapshots, which read from it.
    _folder: Folder,
}

/// Needs a thread with [`sandbox::THREAD_STACK_BYTES`] of stack.
pub fn run(plan: &Plan) -> Result<Passed, Stopped> {
    let folder = Folder::new()?;
    let storage = open(plan.subject)?;
    let state = State::open(&folder.folded()).map_err(Stopped::unable)?;
    let pinned = plan.subject.pinned.as_ref().or(plan.subject.keys.as_ref().map(Keys::service_certificate));
    let audit = pinned.cloned().map_or_else(Audit::new, Audit::pinned);
    let mut passed = Passed {
        calls: 0,
        transactions: 0,
        signatures: 0,
        last: None,
        unsigned: 0,
        callers: Callers::default(),
        oracle_answers: 0,
        service: None,
        certificate: None,
        snapshot: None,
        stretches: Vec::new(),
        verdicts: Vec::new(),
        proof: None,
        problem: None,
        stale: None,
        _folder: Folder::new()?,
    };
    let kit = Kit::new(plan.subject)?;
    let records = kit.equip(Records::new(state));
    let path = folder.path();
    std::thread::scope(|scope| {
        let crew = Crew::new(scope, plan.jobs, kit, path, plan.progress)?;
        let mut pass = Pass { plan, audit, records, crew, cutter: Cutter::default(), open: None, passed: &mut passed };
        let read = pass.read(&storage);
        pass.finish(read)
    })?;
    passed._folder = folder;
    Ok(passed)
}

fn open(subject: &Subject) -> Result<Dir, Stopped> {
    let unable = |error| Failed::unable(format!("{}: {error}", subject.ledger.display()));
    Ok(Dir::open(&subject.ledger).map_err(unable)?)
}

/// Where stretches begin: transactions, in order. Reads the whole ledger; errors are left to the pass.
pub fn outline(subject: &Subject) -> Result<Vec<u64>, Stopped> {
    let storage = open(subject)?;
    let (mut begins, mut cutter) = (vec![1], Cutter::default());
    let mut last = 0;
    for located in Transactions::from(&storage, 1) {
        let Ok(located) = located else { break };
        last = located.transaction.txid().seqno;
        if cutter.take(located.transaction.public()).is_some() {
            begins.push(last + 1);
        }
    }
    // A checkpoint at the end begins nothing.
    begins.retain(|&begin| begin <= last);
    Ok(begins)
}

/// The stretch that the pass is in.
struct Current {
    from: u64,
    to: u64,
    checkpoint: Option<TxId>,
    fate: Fate,
    stretch: Stretch,
}

struct Pass<'a, 'scope> {
    plan: &'a Plan<'a>,
    audit: Audit,
    records: Records,
    crew: Crew<'scope>,
    cutter: Cutter,
    open: Option<Current>,
    passed: &'a mut Passed,
}

/// The ledger is not the one that an earlier audit saw.
struct Stale;

enum End {
    Stopped(Stopped),
    Stale,
}

impl From<Stopped> for End {
    fn from(stopped: Stopped) -> End {
        End::Stopped(stopped)
    }
}

impl From<Stale> for End {
    fn from(_: Stale) -> End {
        End::Stale
    }
}

impl Pass<'_, '_> {
    fn read(&mut self, storage: &Dir) -> Result<(), End> {
        let broken = |error| End::from(Stopped::mismatch("ledger", None, error));
        let mut start = Start::Beginning;
        for located in Transactions::from(storage, 1) {
            let located = located.map_err(broken)?;
            let txid = located.transaction.txid();
            if self.open.is_none() {
                self.begin(txid.seqno, start);
                start = Start::Beginning;
            }
            let checked = self.check(&located);
            let mut cut = None;
            let taken = match checked {
                Ok(signature) => {
                    cut = self.cutter.take(located.transaction.public());
                    self.fold(&located.transaction, signature)
                }
                Err(stopped) => Err(stopped),
            };
            self.hand_on(&located.transaction);
            taken?;
            self.look(txid)?;
            if let Some(record) = cut {
                self.end(true)?;
                let snapshot = self.records.state_mut().snapshot();
                start = Start::Checkpoint { txid, record, snapshot };
            }
        }
        // What was skipped as far as it went may have gone on.
        if self.open.as_ref().is_some_and(|open| open.fate == Fate::Earlier) {
            return Err(Stale.into());
        }
        self.end(false)?;
        Ok(())
    }

    /// Framing, Merkle tree, signatures, and with the operator's secret the tag.
    fn check(&mut self, located: &Located) -> Result<Option<SignatureInfo>, Stopped> {
        let transaction = &located.transaction;
        let txid = transaction.txid();
        let wrong = |what: String| {
            Stopped::mismatch("ledger", Some(txid), format!("{}, offset {}, {what}", located.file, located.offset))
        };
        if let Some(keys) = &self.plan.subject.keys
            && let Err(error) = transaction.decrypt(keys.secret())
        {
            return Err(wrong(format!("transaction {txid}: {error}")));
        }
        match self.audit.push(transaction) {
            Ok(signature) => Ok(signature),
            Err(error) => {
                let since = self.audit.last_signature().map_or("the beginning".into(), |signature| signature.txid.to_string());
                Err(wrong(format!("{error} (the last good signature is {since})")))
            }
        }
    }

    /// Takes a transaction that stands where it belongs.
    fn fold(&mut self, transaction: &Transaction, signature: Option<SignatureInfo>) -> Result<(), Stopped> {
        let (txid, writes) = (transaction.txid(), transaction.public());
        self.passed.transactions += 1;
        self.passed.signatures += u64::from(signature.is_some());
        self.passed.calls += u64::from(writes.get(maps::GLASSBOX, maps::CALL_KEY).is_some());
        if let Some(answers) = writes.get(maps::GLASSBOX, maps::ORACLES_KEY) {
            self.passed.oracle_answers += machine::outside::decode_oracles(answers).map_or(0, |answers| answers.len() as u64);
        }
        self.passed.verdicts.extend(self.plan.receipts.compare(transaction));
        if self.open.as_ref().is_some_and(|open| open.fate != Fate::Executed) {
            self.inspect(transaction)?;
        }
        self.records.fold(transaction).map_err(|fault| match fault {
            Fault::State(StateError::Refused(refusal)) => {
                Stopped::mismatch("ledger", Some(txid), format!("transaction {txid}: {refusal}"))
            }
            fault => Stopped::unable(fault),
        })
    }

    /// What can be said about a call without executing it: that its time does not go back, and, of a signed one, that it
    /// continues its session and knows this history.
    fn inspect(&mut self, transaction: &Transaction) -> Result<(), Stopped> {
        let difference = match Entry::read(transaction.public()) {
            Ok(None) => return Ok(()),
            Err(error) => Some(Difference::from(error)),
            Ok(Some(entry)) => {
                let (time_ms, before_ms) = (entry.input.time_ms(), self.records.time_ms());
                let mut difference = (time_ms < before_ms).then_some(Difference::Time { time_ms, before_ms });
                if let Input::Call(call) = &entry.input {
                    self.passed.callers.count(&call.caller);
                    if let Caller::Signed(signed) = &call.caller
                        && difference.is_none()
                    {
                        let admitted = self.records.admits(signed, call.time_ms).map_err(Stopped::unable)?;
                        difference = admitted.err().map(|error| Difference::Caller { error });
                    }
                }
                difference
            }
        };
        if let (Some(difference), Some(open)) = (difference, &self.open) {
            let divergence = Box::new(Divergence { txid: transaction.txid(), difference });
            let engine = self.records.service().map_or(sandbox::ENGINE, |service| &service.engine);
            let stopped = stopped_by(&divergence, self.records.entries(), engine);
            let stretch = open.stretch.clone();
            self.crew.report(Box::new(Problem { stopped, stretch, divergence: None }));
        }
        Ok(())
    }

    fn begin(&mut self, from: u64, start: Start) {
        let fate = match self.plan.choice {
            _ if self.plan.earlier.from(from).is_some() => Fate::Earlier,
            Choice::Some(chosen) if !chosen.contains(&from) => Fate::Folded,
            _ => Fate::Executed,
        };
        let checkpoint = match &start {
            Start::Beginning => None,
            Start::Checkpoint { txid, .. } => Some(*txid),
        };
        let stretch = Stretch { index: self.passed.stretches.len(), from, start };
        if fate == Fate::Executed {
            self.crew.begin(stretch.clone());
        }
        self.open = Some(Current { from, to: from, checkpoint, fate, stretch });
    }

    fn hand_on(&mut self, transaction: &Transaction) {
        let Some(open) = &mut self.open else { return };
        open.to = transaction.txid().seqno;
        match open.fate {
            Fate::Executed => self.crew.take(transaction),
            Fate::Earlier | Fate::Folded => {
                self.plan.progress.bytes.fetch_add(transaction.raw().len() as u64, Ordering::Relaxed);
            }
        }
    }

    /// What else is asked of the ledger at a transaction.
    fn look(&mut self, txid: TxId) -> Result<(), Stopped> {
        if let Some((at, _)) = &self.plan.subject.archive
            && at.seqno == txid.seqno
        {
            if *at != txid {
                let why = format!("the files are served as of {at}, the ledger has {txid} there");
                return Err(Stopped::mismatch("ledger", Some(txid), why));
            }
            self.passed.snapshot = Some(self.records.state_mut().snapshot());
        }
        match self.plan.named {
            Some(named) if named.seqno == txid.seqno && named != txid => {
                Err(Stopped::mismatch("ledger", Some(txid), format!("transaction {named} is not in it: it has {txid} there")))
            }
            _ => Ok(()),
        }
    }

    /// The stretch is over: at a checkpoint, or where the ledger ends.
    fn end(&mut self, at_checkpoint: bool) -> Result<(), Stale> {
        let Some(Current { from, to, checkpoint, fate, .. }) = self.open.take_if(|open| {
            // One that is not as it was stays open, so that it is known where it began.
            open.fate != Fate::Earlier || self.plan.earlier.from(open.from).is_some_and(|earlier| earlier.to == open.to)
        }) else {
            return if self.open.is_some() { Err(Stale) } else { Ok(()) };
        };
        let root = at_checkpoint.then(|| Tree::from_frontier(&self.audit.frontier()).map(|tree| tree.root())).flatten();
        if fate == Fate::Earlier {
            let same = root.is_some_and(|root| self.plan.earlier.from(from).is_some_and(|known| known.ends(to, &root)));
            if !same {
                self.passed.stale = Some(from);
                return Err(Stale);
            }
        }
        self.passed.stretches.push(Done { from, to, checkpoint, root, fate });
        self.crew.end();
        Ok(())
    }

    fn finish(self, read: Result<(), End>) -> Result<(), Stopped> {
        let Pass { plan, audit, records, crew, open, passed, .. } = self;
        if records.is_bundle() {
            passed.calls = records.entries();
        }
        plan.progress.calls.store(passed.calls, Ordering::Relaxed);
        plan.progress.is_read.store(read.is_ok(), Ordering::Release);
        let Executed { problem, callers } = crew.finish();
        // An error within what was skipped: executed, it may say more.
        if let (Err(_), Some(Current { from, fate: Fate::Earlier, .. })) = (&read, &open) {
            passed.stale = Some(*from);
        }
        if let Some(Current { from, to, checkpoint, fate, .. }) = open {
            passed.stretches.push(Done { from, to, checkpoint, root: None, fate });
        }
        passed.problem = problem;
        passed.callers.add(&callers);
        passed.last = audit.last();
        passed.unsigned = audit.unsigned();
        passed.certificate = audit.service_certificate().cloned();
        passed.service = records.service().cloned();
        passed.callers.keys = keys(&records)?;
        match read {
            Err(End::Stopped(stopped)) => passed.proof = Some(stopped),
            Err(End::Stale) | Ok(()) => {}
        }
        Ok(())
    }
}

/// How many keys have signed calls.
fn keys(records: &Records) -> Result<u64, Stopped> {
    let (mut count, mut last) = (0, None);
    for key in records.state().keys(maps::NONCES, Bound::Unbounded, Bound::Unbounded).map_err(Stopped::unable)? {
        let key = key.map_err(Stopped::unable)?;
        let caller = key.first_chunk::<32>().copied();
        count += u64::from(caller != last);
        last = caller;
    }
    Ok(count)
}
