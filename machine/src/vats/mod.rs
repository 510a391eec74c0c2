//! Vats: objects that send each other messages. After SwingSet.
//!
//! ```text
//! input ──▶ kernel ──▶ crank: a delivery ──▶ the vat's realm ──syscalls──▶ kernel ──▶ the next crank …   one transaction
//! ```
//!
//! The kernel ([`kernel`]) is tables; each vat is a realm of its own ([`realms`]); what a vat asks while it runs comes back through its
//! host ([`host`]), which has the kernel for so long. An input is an installation, a call from outside, a tick of the timer, mail, or the
//! permission to run so many cranks: nothing else ever happens, so the tables and the heaps are a function of the inputs.
//!
//! # Invariants
//!
//! - No trace of a crank that failed, but that its vat is terminated.
//! - No result depends on where a transaction ends and the next one begins.
//! - No more than a few vats are alive, whatever their number: the others are the pages in which they differ from a fresh one.

mod admin;
mod crank;
mod cycles;
pub mod devices;
mod dump;
mod host;
mod install;
mod inward;
pub mod kernel;
mod realms;
pub mod source;
mod trace;
pub mod wavy;
pub mod work;

use crate::checkpoint::{self, Checkpoint};
use crate::input::Input;
use crate::machine::Entry;
use crate::outcome;
use crate::records::Records;
use crate::{Console, Fault, maps};
use devices::Devices;
pub use dump::{DataDump, Dump, ItemDump, MessageDump, PromiseDump, VatTable};
use host::VatHost;
pub use install::BUILTIN;
use install::Modules;
pub use inward::STOPPED;
use kernel::{Kernel, Member, Watch};
use ledger::WriteSet;
use realms::Realms;
use sandbox::{Failure, Realm, Sandbox};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
pub use source::{Source, VatSource};
pub use trace::Event;
pub use work::{Install, Work};

/// After a call, a tick or mail so many cranks follow in the same transaction.
pub const CRANKS_PER_INPUT: u64 = 256;

/// A transaction begins no further crank after so many instructions: a second of computing or two, also where it says that it may run
/// for ever.
pub const RUN_INSTRUCTIONS: u64 = 10_000_000_000;

/// What a vat may ask of the kernel in one crank, in bytes; and with how many a transaction begins no further one.
pub const CRANK_BYTES: usize = 64 << 20;

/// So many cranks after the last checkpoint comes the next one at the latest.
pub const CHECKPOINT_CRANKS: u64 = 20_000;

/// The map of the heaps: vat u32 BE and page u32 BE, the page LZ4.
pub const HEAPS: &str = "public:vats.heap";

/// What the maps of this kind of app begin with.
pub const MAPS: &str = "public:vats.";

/// What was delivered, a line each, in the transaction that has run it.
pub const CRANKS_KEY: &[u8] = b"cranks";

/// What a vat's realm needs while it runs, and the app between.
pub(crate) struct Core {
    pub kernel: Kernel,
    pub records: Records,
    pub devices: Devices,
    pub modules: Modules,
    console: Console,
    /// The number of this input in the log.
    number: u64,
    /// What was delivered since the transaction began.
    cranks: String,
    /// Instructions that it took.
    spent: u64,
    /// Bytes that vats have asked with in this crank, and in those of this transaction before it.
    bytes: (usize, usize),
    /// The vat that ran last knows of more garbage than it has said.
    more: bool,
    /// Vats that end with this crank, if it counts, as they were.
    ended: Vec<(u64, Member)>,
    /// What the kernel waited for and has come to be since then.
    replies: Vec<kernel::Settled>,
    /// Everything that vats have asked for since then.
    activity: Sha256,
    /// For who looks on.
    events: Option<Vec<Event>>,
    /// How many there were when the crank began.
    noted: usize,
}

/// See the [module](self).
pub struct Vats {
    // Lent to the realm that runs.
    core: Option<Box<Core>>,
    realms: Realms,
    install: Option<Install>,
    /// Cranks at the last checkpoint.
    saved_cranks: u64,
    checkpoint_every: u64,
    settled: Vec<Reply>,
}

/// What has come of a call from outside, or of `bootstrap`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// Which.
    pub watch: Watch,
    /// What.
    pub result: outcome::Result,
}

/// What a transaction came to, as the ledger has it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Summary<'a> {
    /// How many cranks it has run.
    cranks: u64,
    /// Whether nothing waits any more.
    idle: bool,
    /// SHA-256 of all that vats have asked for meanwhile.
    activity: String,
    /// What has come of calls.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    settled: Vec<SettledRecord<'a>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SettledRecord<'a> {
    /// The call's number in the log; none for `bootstrap`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    call: Option<u64>,
    /// SHA-256 of the call's input, with which its caller finds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    input: Option<String>,
    #[serde(borrow, default, deserialize_with = "outcome::present", skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error: Option<(String, String)>,
}

impl Vats {
    pub(crate) fn new(sandbox: &Sandbox, records: Records, console: Console) -> Result<Vats, Fault> {
        let core = Core {
            kernel: Kernel::default(),
            records,
            devices: Devices::default(),
            modules: Modules::default(),
            console,
            number: 0,
            cranks: String::new(),
            spent: 0,
            bytes: (0, 0),
            more: false,
            ended: Vec::new(),
            replies: Vec::new(),
            activity: Sha256::new(),
            events: None,
            noted: 0,
        };
        Ok(Vats {
            core: Some(Box::new(core)),
            realms: Realms::new(sandbox.vats()?),
            install: None,
            saved_cranks: 0,
            checkpoint_every: checkpoint::CHECKPOINT_TRANSACTIONS,
            settled: Vec::new(),
        })
    }

    /// As they were right after a checkpoint, which the records have folded last.
    pub(crate) fn resume(sandbox: &Sandbox, records: Records, console: Console) -> Result<Vats, Fault> {
        let deployed = records.state().get(maps::APP, maps::CODE_KEY)?;
        let mut vats = Vats::new(sandbox, records, console)?;
        let Some(deployed) = deployed else { return Ok(vats) };
        let malformed = |why: &str| Fault::Checkpoint(format!("the installation before a checkpoint {why}"));
        let entry = Entry::decode(deployed.value()).map_err(|error| malformed(&error.to_string()))?;
        let Input::Vats { work: Work::Install(install), .. } = entry.input else { return Err(malformed("is none")) };
        let core = vats.core.as_mut().expect("not lent");
        core.modules = Modules::of(&install.source).map_err(|error| malformed(&error))?;
        core.kernel = Kernel::read(core.records.state())?;
        core.devices = Devices::resume(&core.kernel, core.records.state())?;
        vats.saved_cranks = core.kernel.tables().counters().cranks;
        vats.realms.limits = install.limits();
        vats.install = Some(*install);
        Ok(vats)
    }

    fn core(&self) -> &Core {
        self.core.as_ref().expect("lent while a vat runs only")
    }

    fn core_mut(&mut self) -> &mut Core {
        self.core.as_mut().expect("lent while a vat runs only")
    }

    pub(crate) fn records(&self) -> &Records {
        &self.core().records
    }

    pub(crate) fn records_mut(&mut self) -> &mut Records {
        &mut self.core_mut().records
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        self.realms.sandbox()
    }

    /// What runs, once it was installed.
    pub fn installed(&self) -> Option<&Install> {
        self.install.as_ref()
    }

    /// The kernel's tables.
    pub fn kernel(&self) -> &Kernel {
        &self.core().kernel
    }

    /// The devices.
    pub fn devices(&self) -> &Devices {
        &self.core().devices
    }

    /// Has every vat say next what it does not need any more. For tests: no input says so.
    #[doc(hidden)]
    pub fn reap(&mut self) {
        self.core_mut().kernel.reap_all();
    }

    /// The vat without which the kernel could not go on, if one has ended.
    pub fn panicked(&self) -> Option<u64> {
        self.core().kernel.tables().counters().panic
    }

    /// Whether nothing waits.
    pub fn is_idle(&self) -> bool {
        self.core().kernel.is_idle()
    }

    /// The tables, for a person.
    pub fn dump(&self) -> Dump {
        Dump::of(self)
    }

    /// What has come of calls since this was asked last.
    pub fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.settled)
    }

    /// What is to be sent to other kernels, if that has changed since this was asked last.
    pub fn take_mail(&mut self) -> Option<devices::Mail> {
        self.core_mut().devices.take_mail()
    }

    /// From now on it is noted who sends what to whom.
    pub fn watch(&mut self) {
        self.core_mut().events = Some(Vec::new());
    }

    /// What was noted since this was asked last.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.core_mut().events.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// SHA-256 of a vat's heap. It is brought into memory for it.
    pub fn heap_digest(&mut self, vat: u64) -> Result<Option<[u8; 32]>, Fault> {
        let core = self.core.as_ref().expect("lent while a vat runs only");
        let Some(realm) = self.realms.take(vat, core)? else { return Ok(None) };
        let digest = realm.heap_digest();
        self.realms.put(vat, realm)?;
        Ok(Some(digest))
    }

    pub(crate) fn checkpoint_every(&mut self, transactions: u64) {
        self.checkpoint_every = transactions;
    }

    pub(crate) fn wants_checkpoint(&self, seqno: u64) -> bool {
        let core = self.core();
        let since = seqno.saturating_sub(core.records.checkpoint());
        let cranks = core.kernel.tables().counters().cranks.saturating_sub(self.saved_cranks);
        since >= self.checkpoint_every || cranks >= CHECKPOINT_CRANKS || core.records.state().is_full()
    }

    /// Adds a checkpoint to a write set: the record, and the pages of heaps that have changed since the last one.
    pub(crate) fn save(&mut self, writes: &mut WriteSet) -> Result<(), Fault> {
        let core = self.core.as_mut().expect("lent while a vat runs only");
        let records = &core.records;
        let record = Checkpoint {
            entries: records.entries(),
            version: records.version(),
            time_ms: records.time_ms(),
            heap_bytes: 0,
            signature: records.head().map(|head| (head.txid, head.root, head.time_s)),
        };
        writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, record.encode());
        self.realms.save(core, writes)?;
        core.kernel.write(core.records.state(), writes)?;
        self.saved_cranks = core.kernel.tables().counters().cranks;
        Ok(())
    }

    /// Runs an input. The result and the writes are for the ledger; a refused installation leaves nothing.
    pub(crate) fn execute(&mut self, input: &Input) -> Result<(outcome::Result, WriteSet), Fault> {
        let core = self.core_mut();
        core.number = core.records.entries();
        core.cranks.clear();
        core.spent = 0;
        core.bytes = (0, 0);
        core.activity = Sha256::new();
        core.kernel.begin();
        core.devices.begin();
        let ran = match input {
            Input::Vats { work: Work::Install(install), time_ms } => match self.install(install, *time_ms)? {
                Ok(cranks) => cranks,
                Err(failure) => return Ok((Err(failure), WriteSet::new())),
            },
            _ if self.install.is_none() => return Ok((Err(refused("Nothing is installed")), WriteSet::new())),
            Input::Vats { work: Work::Run(cranks), .. } => self.run(*cranks)?,
            Input::Vats { work, time_ms } => {
                let core = self.core_mut();
                core.time(*time_ms);
                match core.input(work, *time_ms) {
                    Ok(()) => self.run(CRANKS_PER_INPUT)?,
                    Err(message) => return Ok((Err(refused(&message)), self.undo())),
                }
            }
            Input::Call(call) => {
                let core = self.core_mut();
                core.time(call.time_ms);
                match core.call(call, ledger::sha256(&input.encode())) {
                    Ok(()) => self.run(CRANKS_PER_INPUT)?,
                    Err(failure) => return Ok((Err(failure), self.undo())),
                }
            }
            Input::Deploy { .. } | Input::Init { .. } => {
                return Ok((Err(refused("These are vats, and no script")), WriteSet::new()));
            }
        };
        self.seal(ran)
    }

    /// A refused input leaves nothing.
    fn undo(&mut self) -> WriteSet {
        let core = self.core_mut();
        core.kernel.undo_transaction();
        core.devices.undo_transaction();
        WriteSet::new()
    }

    fn seal(&mut self, ran: u64) -> Result<(outcome::Result, WriteSet), Fault> {
        let mut replies: Vec<Reply> = self.core_mut().take_replies();
        replies.extend(self.core_mut().take_commanded());
        let core = self.core.as_mut().expect("lent while a vat runs only");
        let call = |watch: Watch| match watch {
            Watch::Bootstrap => None,
            Watch::Call { number, input } => Some((number, ledger::hex::encode(&input))),
        };
        let settled = replies.iter().map(|reply| SettledRecord {
            call: call(reply.watch).map(|(number, _)| number),
            input: call(reply.watch).map(|(_, input)| input),
            result: reply.result.as_ref().ok().and_then(|json| json.as_deref()).and_then(|json| serde_json::from_str(json).ok()),
            error: reply.result.as_ref().err().map(|failure| (failure.name.clone(), failure.message.clone())),
        });
        let summary = Summary {
            cranks: ran,
            idle: core.kernel.is_idle(),
            activity: ledger::hex::encode(&core.activity.finalize_reset()),
            settled: settled.collect(),
        };
        let json = serde_json::to_string(&summary).expect("strings and numbers can be written");
        let mut writes = WriteSet::new();
        core.kernel.write(core.records.state(), &mut writes)?;
        core.devices.write(&mut writes);
        if !core.cranks.is_empty() {
            writes.put(maps::GLASSBOX, CRANKS_KEY, core.cranks.as_bytes());
        }
        self.settled.extend(replies);
        Ok((Ok(Some(json)), writes))
    }
}

/// What a transaction says that it has run, and whether nothing waits any more.
pub fn summary(result: &outcome::Result) -> Option<(u64, bool)> {
    let json = result.as_ref().ok()?.as_deref()?;
    let summary: Summary = serde_json::from_str(json).ok()?;
    Some((summary.cranks, summary.idle))
}

/// What a transaction says has come of the call with this input, which may have been made in an earlier one. More than one answer if
/// the same was called more than once, to the letter and the millisecond.
pub fn answers(entry: &Entry, input: &str) -> Vec<outcome::Result> {
    let Some(Ok(Some(json))) = entry.is_summary.then_some(&entry.result) else { return Vec::new() };
    let Ok(summary) = serde_json::from_str::<Summary>(json) else { return Vec::new() };
    let digest = ledger::hex::encode(&ledger::sha256(input.as_bytes()));
    let answers = summary.settled.into_iter().filter(|record| record.input.as_ref() == Some(&digest));
    let result = |record: SettledRecord| match record.error {
        Some((name, message)) => Err(Failure { name, message, stack: String::new() }),
        None => Ok(record.result.map(|json| json.get().to_owned())),
    };
    answers.map(result).collect()
}

/// Whether this is a summary, and in its one form.
pub(crate) fn is_summary(json: &str) -> bool {
    let summary = serde_json::from_str::<Summary>(json);
    summary.is_ok_and(|summary| serde_json::to_string(&summary).is_ok_and(|written| written == json))
}

fn refused(message: &str) -> Failure {
    Failure { name: "Error".into(), message: message.into(), stack: String::new() }
}

pub(crate) type VatRealm = Realm<VatHost>;
