//! A ledger that is written while a machine runs, as a node does it.

#![allow(dead_code, clippy::unwrap_used)]

use ledger::{Dir, Keys, Log, Sealer, Transaction, WriteSet};
use machine::state::State;
use machine::{Call, Caller, Code, Head, Input, Machine, Outside, Service, Settings, outcome};
use sandbox::{Answer, Level, Sandbox, World};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// When everything happens, in milliseconds since 1970.
pub const NOW_MS: u64 = 1_700_000_000_000;

/// What a call may use.
pub const INSTRUCTIONS: u64 = 1_000_000_000;

/// A realm needs more stack than a test's thread has.
pub fn with_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
        let done = thread.spawn_scoped(scope, work).unwrap().join();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

pub fn sandbox() -> Sandbox {
    static SANDBOX: OnceLock<Sandbox> = OnceLock::new();
    SANDBOX.get_or_init(|| Sandbox::new().unwrap()).clone()
}

/// The chance key signs; oracles see a world in which nothing happens.
struct Elsewhere(Arc<Keys>);

impl Outside for Elsewhere {
    fn chance(&mut self, head: Option<&Head>) -> [u8; ledger::chance::CHANCE_BYTES] {
        self.0.chance().sign(head.map(|head| head.txid), &head.map_or([0; 32], |head| head.root))
    }

    fn entropy(&mut self) -> [u8; 32] {
        [7; 32]
    }

    fn world(&mut self, _: u64) -> Box<dyn World> {
        Box::new(Still)
    }
}

struct Still;

impl World for Still {
    fn now_us(&mut self) -> f64 {
        NOW_MS as f64 * 1000.0
    }
    fn seed(&mut self) -> u64 {
        1
    }
    fn wait(&mut self, _: f64) {}
    fn over(&mut self) -> Option<(String, String)> {
        None
    }
    fn console(&mut self, _: Level, _: &str) {}
    fn fetch(&mut self, _: &str, _: &[u8]) -> Answer {
        Answer::Nothing
    }
}

/// A ledger and its machine.
pub struct Book {
    pub machine: Machine,
    pub transactions: Vec<Transaction>,
    sealer: Sealer,
    log: Log<Dir>,
    folder: TempDir,
}

impl Book {
    /// A ledger of this script.
    pub fn new(source: &str) -> Book {
        let keys = Arc::new(Keys::generate("service", "node", NOW_MS / 1000 - 60, NOW_MS / 1000 + 3600).unwrap());
        let outside = Box::new(Elsewhere(keys.clone()));
        let mut machine = Machine::new(sandbox(), State::in_memory(), Box::new(|_, _, _| {}), outside);
        let service = Service {
            format: machine::service::FORMAT,
            kind: "script".into(),
            title: "a test".into(),
            files: "0".repeat(64),
            log: "1".repeat(64),
            operator: "2".repeat(64),
            chance: keys.chance().public_key_hex(),
            engine: sandbox::ENGINE.into(),
        };
        let mut writes = machine.begin(1, service).unwrap();
        ledger::genesis(&mut writes, &keys);
        let folder = tempfile::tempdir().unwrap();
        let log = Log::create(Dir::create(&folder.path().join("ledger")).unwrap()).unwrap();
        let sealer = Sealer::new(&keys, ledger::txid::FIRST_VIEW).unwrap();
        let mut book = Book { machine, transactions: Vec::new(), sealer, log, folder };
        book.write(&writes);
        book.deploy(source).unwrap();
        book
    }

    fn write(&mut self, writes: &WriteSet) {
        let raw = self.sealer.seal(writes, machine::claims(writes)).unwrap().raw;
        self.append(raw);
    }

    fn append(&mut self, raw: Vec<u8>) {
        self.log.append(&raw).unwrap();
        self.log.commit().unwrap();
        self.transactions.push(Transaction::from_raw(raw).unwrap());
    }

    fn run(&mut self, input: &Input) -> outcome::Result {
        let (outcome, writes) = self.machine.execute(self.sealer.next().seqno, input).unwrap();
        self.write(&writes);
        outcome.result
    }

    pub fn deploy(&mut self, source: &str) -> outcome::Result {
        let settings = Settings { instructions: INSTRUCTIONS, ..Settings::default() };
        let code = Code { name: "test.js".into(), source: source.into(), settings };
        self.run(&Input::Deploy { code, time_ms: NOW_MS })
    }

    pub fn call(&mut self, method: &str, args: &str) -> outcome::Result {
        let (method, args) = (method.into(), args.into());
        self.run(&Input::Call(Call { method, args, caller: Caller::Named("bob".into()), time_ms: NOW_MS }))
    }

    pub fn sign(&mut self) {
        let raw = self.sealer.sign(NOW_MS / 1000, false).unwrap().raw;
        self.append(raw);
        let signature = self.sealer.last_signature().unwrap().clone();
        self.machine.signed(&signature).unwrap();
    }

    pub fn checkpoint(&mut self) {
        let mut writes = self.machine.checkpoint(self.sealer.next()).unwrap();
        self.sealer.frontier().write(&mut writes);
        self.write(&writes);
    }

    /// The number of the last transaction.
    pub fn last(&self) -> u64 {
        self.transactions.last().unwrap().txid().seqno
    }

    pub fn transaction(&self, seqno: u64) -> &Transaction {
        &self.transactions[seqno as usize - 1]
    }

    /// The chunk files.
    pub fn storage(&self) -> Dir {
        Dir::open(&self.path()).unwrap()
    }

    fn path(&self) -> std::path::PathBuf {
        Path::new(self.folder.path()).join("ledger")
    }

    /// A machine that has replayed everything up to a transaction.
    pub fn as_of(&self, seqno: u64) -> Machine {
        let silent = Box::new(|_, _, _: &str| {});
        machine::past::open(sandbox(), &self.storage(), State::in_memory(), seqno, silent).unwrap()
    }
}

pub fn json(text: &str) -> outcome::Result {
    Ok(Some(text.into()))
}
