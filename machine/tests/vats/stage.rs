//! A machine with vats in it, what they print, and the ledger that they leave.

use ledger::{Keys, Sealer, Transaction, WriteSet};
use machine::state::State;
use machine::vats::{Dump, Install, Source, VatSource, Work, summary};
use machine::{Checkpoint, Input, Machine, Nobody, Records, Service, maps, outcome};
use sandbox::{Level, Sandbox};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock};

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

/// A vat of 2019 whose root object is this expression, in which `E`, `D`, `log` and `helpers` are known.
pub fn old(root: &str) -> String {
    format!(
        "export default function setup(syscall, state, helpers) {{
           const log = (...args) => {{ helpers.log(...args); console.log(...args); }};
           return helpers.makeLiveSlots(syscall, state, (E, D) => harden({root}), helpers.vatID);
         }}"
    )
}

/// A vat of today whose root object has these methods, in which `E`, `Far`, `D`, `vatPowers` and `log` are known.
pub fn today(root: &str) -> String {
    format!(
        "import {{ E }} from '@endo/far'; import {{ Far, passStyleOf, makeTagged }} from '@endo/pass-style';
         export const buildRootObject = (vatPowers, vatParameters, baggage) => {{
           const {{ D, testLog }} = vatPowers;
           const log = (...args) => {{ testLog(...args); console.log(...args); }};
           return Far('root', {root});
         }};"
    )
}

/// Files `vat-NAME.js`, `bootstrap.js` and others that these import.
pub fn install(files: &[(&str, &str)], argv: &[&str]) -> Install {
    let mut modules = BTreeMap::new();
    let mut vats = Vec::new();
    let mut bootstrap = String::new();
    for (name, source) in files {
        let stem = name.trim_end_matches(".js");
        if stem == "bootstrap" {
            bootstrap = if source.contains("buildRootObject = (vatPowers") { "bootstrap" } else { "_bootstrap" }.into();
        } else if let Some(vat) = stem.strip_prefix("vat-") {
            vats.push(VatSource { name: vat.into(), module: format!("/{name}"), parameters: None, options: None });
        }
        modules.insert(format!("/{name}"), (*source).to_owned());
    }
    vats.sort_by(|a, b| a.name.cmp(&b.name));
    if !bootstrap.is_empty() {
        vats.push(VatSource { name: bootstrap.clone(), module: "/bootstrap.js".into(), parameters: None, options: None });
    }
    let source = Source { vats, bootstrap, modules, bundles: BTreeMap::new() };
    Install::new(source, argv.iter().map(|&arg| arg.to_owned()).collect())
}

type Lines = Arc<Mutex<Vec<(Level, String)>>>;

/// See the [module](self).
pub struct Stage {
    pub machine: Machine,
    pub transactions: Vec<Transaction>,
    console: Lines,
    sealer: Sealer,
}

impl Stage {
    /// With nothing installed.
    pub fn empty() -> Stage {
        let keys = Arc::new(Keys::generate("service", "node", 1, 1 << 32).unwrap());
        let console = Lines::default();
        let mut machine = Machine::vats(&sandbox(), State::in_memory(), printing(&console)).unwrap();
        let writes = machine.begin(1, Service::nameless(machine::service::VATS)).unwrap();
        let sealer = Sealer::new(&keys, ledger::txid::FIRST_VIEW).unwrap();
        let mut stage = Stage { machine, transactions: Vec::new(), console, sealer };
        stage.seal(&writes);
        stage
    }

    /// With these files installed, `bootstrap` in the queue.
    pub fn new(files: &[(&str, &str)], argv: &[&str]) -> Stage {
        Stage::of(install(files, argv))
    }

    pub fn of(install: Install) -> Stage {
        let mut stage = Stage::empty();
        stage.work(Work::Install(Box::new(install))).unwrap_or_else(|failure| panic!("{failure:?}"));
        stage
    }

    fn seal(&mut self, writes: &WriteSet) {
        let raw = self.sealer.seal(writes, machine::claims(writes)).unwrap().raw;
        self.transactions.push(Transaction::from_raw(raw).unwrap());
    }

    pub fn work(&mut self, work: Work) -> outcome::Result {
        self.work_at(work, 0)
    }

    pub fn work_at(&mut self, work: Work, time_ms: u64) -> outcome::Result {
        let (outcome, writes) = self.machine.execute(self.sealer.next().seqno, &Input::Vats { work, time_ms }).unwrap();
        self.seal(&writes);
        outcome.result
    }

    pub fn checkpoint(&mut self) {
        let mut writes = self.machine.checkpoint(self.sealer.next()).unwrap();
        self.sealer.frontier().write(&mut writes);
        self.seal(&writes);
    }

    /// A machine that goes on from the last checkpoint, with nothing but what the state has.
    pub fn restart(&mut self) {
        self.checkpoint();
        let last = self.transactions.last().unwrap();
        let checkpoint = Checkpoint::decode(last.public().get(maps::GLASSBOX, maps::CHECKPOINT_KEY).unwrap()).unwrap();
        let state = State::fork(&self.machine.snapshot());
        let records = Records::resume(state, &checkpoint).unwrap();
        self.machine = Machine::resume(sandbox(), records, &checkpoint, printing(&self.console), Box::new(Nobody)).unwrap();
    }

    /// Another machine that executes everything again, and compares.
    pub fn replayed(&self) -> Machine {
        let mut machine = Machine::vats(&sandbox(), State::in_memory(), Box::new(|_, _, _| {})).unwrap();
        for transaction in &self.transactions {
            machine.replay(transaction).unwrap_or_else(|error| panic!("{}: {error}", transaction.txid()));
        }
        machine
    }

    /// At most so many cranks. How many, and whether nothing waits any more.
    pub fn cranks(&mut self, most: u64) -> (u64, bool) {
        let result = self.work(Work::Run(most));
        summary(&result).unwrap()
    }

    /// Until nothing waits. How many cranks.
    pub fn run(&mut self) -> u64 {
        let mut cranks = 0;
        loop {
            let (ran, idle) = self.cranks(256);
            cranks += ran;
            if idle {
                return cranks;
            }
        }
    }

    /// The same, and after each crank the kernel's tables agree.
    pub fn run_audited(&mut self) -> u64 {
        let mut cranks = 0;
        self.audit();
        loop {
            let (ran, idle) = self.cranks(1);
            cranks += ran;
            self.audit();
            if idle {
                return cranks;
            }
        }
    }

    pub fn audit(&self) {
        if let Err(what) = self.machine.as_vats().unwrap().kernel().audit() {
            panic!("{what}\n{}", serde_json::to_string_pretty(&self.dump()).unwrap());
        }
    }

    pub fn dump(&self) -> Dump {
        self.machine.as_vats().unwrap().dump()
    }

    /// What was printed since this was asked last, without what is for debugging.
    pub fn console(&self) -> Vec<String> {
        self.lines().into_iter().filter(|(level, _)| *level != Level::Debug).map(|(_, line)| line).collect()
    }

    /// All that was printed since.
    pub fn lines(&self) -> Vec<(Level, String)> {
        std::mem::take(&mut self.console.lock().unwrap())
    }

    /// Runs until nothing waits, and what was printed meanwhile.
    pub fn output(&mut self) -> Vec<String> {
        self.run_audited();
        self.console()
    }

    /// The tables and the digest of each heap.
    pub fn image(&mut self) -> (Dump, Vec<Option<[u8; 32]>>) {
        image(&mut self.machine)
    }
}

/// The tables and the digest of each heap.
pub fn image(machine: &mut Machine) -> (Dump, Vec<Option<[u8; 32]>>) {
    let vats = machine.as_vats_mut().unwrap();
    let dump = vats.dump();
    let ids: Vec<u64> = dump.vat_tables.iter().map(|vat| vat.vat_id[1..].parse().unwrap()).collect();
    let heaps = ids.into_iter().map(|id| vats.heap_digest(id).unwrap()).collect();
    (dump, heaps)
}

fn printing(console: &Lines) -> machine::Console {
    let console = console.clone();
    Box::new(move |_, level, line| console.lock().unwrap().push((level, line.to_owned())))
}

/// What a bootstrap prints that is alone with these vats.
pub fn printed(files: &[(&str, &str)]) -> Vec<String> {
    with_stack(|| Stage::new(files, &[]).output())
}
