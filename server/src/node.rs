//! A node's directory: made, locked, recovered.
//!
//! ```text
//! DIR/glassbox.json      what this folder is: {"format":2,"kind":"script"}
//! DIR/lock               held while a process serves it
//! DIR/keys/              0700: the service's and the node's P-384 keys and certificates, the ledger secret
//! DIR/keys/{files,log}   0600: ed25519 seeds (hex) of the files archive and the call log
//! DIR/keys/operator      0600: ed25519 seed (hex) of the key that may upgrade the app over the network
//! DIR/ledger/            chunk files: the truth
//! DIR/state/             what follows from them up to a checkpoint; may be deleted
//! ```
//!
//! A new directory is made beside its place and renamed into it, so that it is there whole or not at all. Opening one reads
//! the ledger from the last checkpoint on, checks every byte of that, takes the heap from the checkpoint and executes what
//! came after it. If `state/` is behind, the writes in between are folded into it; if it is gone, all of them.

use crate::admit::{Admission, new_identity, public_key};
use crate::outside::{Live, Oracles, SharedConsole};
use crate::vats::Said;
use ledger::{Dir, Keys, Located, Log, Sealed, Sealer, ServiceStatus, Torn, TxId, WriteSet};
use machine::bundle::archive::Ledger;
use machine::vats::Install;
use machine::{Checkpoint, Code, Console, Fault, Input, Machine, Ran, Records, ReplayError, Service, Settings, maps, state};
use sandbox::Sandbox;
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const MARKER: &str = "glassbox.json";
const SCRIPT_MARKER: &str = "{\"format\":2,\"kind\":\"script\"}\n";
const BUNDLE_MARKER: &str = "{\"format\":2,\"kind\":\"bundle\"}\n";
const VATS_MARKER: &str = "{\"format\":2,\"kind\":\"vats\"}\n";
const LOCK: &str = "lock";
const KEYS: &str = "keys";
const LEDGER: &str = "ledger";
const STATE: &str = "state";
const FILES_KEY: &str = "files";
const LOG_KEY: &str = "log";
const OPERATOR_KEY: &str = "operator";

/// How long the certificates of a new service are valid, in seconds: ten years.
const VALIDITY_S: u64 = 10 * 365 * 24 * 3600;

/// What to serve, and where it is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory.
    pub dir: PathBuf,
    /// What is served.
    pub app: App,
    /// The title of a new archive.
    pub title: String,
    /// Take an edited script, or other limits, for an existing directory.
    pub upgrade: bool,
    /// What oracles may do.
    pub oracles: Oracles,
    /// Transactions between two checkpoints; `None` for the usual number.
    pub checkpoint_every: Option<u64>,
}

/// What an operator wants to serve.
#[derive(Debug, Clone)]
pub enum App {
    /// A script and its limits. `None` for a limit: as the directory has it, else the default.
    Script(Script),
    /// A bundle, with what a new directory begins with. What is deployed is for governance to say.
    Bundle(Box<Genesis>),
    /// Vats.
    Vats {
        /// As they begin in a new directory. `None`: whatever an existing one has.
        install: Option<Box<Install>>,
        /// What an existing one must have.
        said: Box<Said>,
    },
}

impl App {
    fn marker(&self) -> &'static str {
        match self {
            App::Script(_) => SCRIPT_MARKER,
            App::Bundle(_) => BUNDLE_MARKER,
            App::Vats { .. } => VATS_MARKER,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            App::Script(_) => machine::service::SCRIPT,
            App::Bundle(_) => machine::service::BUNDLE,
            App::Vats { .. } => machine::service::VATS,
        }
    }
}

/// What a new bundle's first transaction says of governance: rows of its public tables.
#[derive(Debug, Clone, Default)]
pub struct Genesis {
    /// Table, key, value.
    pub rows: Vec<(String, Vec<u8>, Vec<u8>)>,
}

/// A script as the operator gave it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Script {
    /// File name, for stack traces.
    pub name: String,
    /// The source.
    pub source: String,
    /// Bytes of heap.
    #[serde(default)]
    pub heap_bytes: Option<u32>,
    /// Bytes of stack.
    #[serde(default)]
    pub stack_bytes: Option<u32>,
    /// Instructions of one call.
    #[serde(default)]
    pub instructions: Option<u64>,
}

impl Script {
    pub(crate) fn code(&self, present: Settings) -> Code {
        Code {
            name: self.name.clone(),
            source: self.source.clone(),
            settings: Settings {
                heap_bytes: self.heap_bytes.unwrap_or(present.heap_bytes),
                stack_bytes: self.stack_bytes.unwrap_or(present.stack_bytes),
                instructions: self.instructions.unwrap_or(present.instructions),
            },
        }
    }
}

/// Why a directory cannot be served. Nothing was changed in it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The script does not come up.
    #[error("{0}")]
    Script(String),
    /// The script exports no function.
    #[error("{0} exports no function: there is nothing to call")]
    NoExports(String),
    /// Vats do not come up.
    #[error("{0}")]
    Vats(String),
    /// There are none.
    #[error("{} holds nothing yet", .0.display())]
    Missing(PathBuf),
    /// What it holds is of another kind, or of another format.
    #[error("{0}")]
    Kind(String),
    /// The directory is something else.
    #[error("{} is not a Glassbox directory and not empty", .0.display())]
    Foreign(PathBuf),
    /// Its place is taken by a file.
    #[error("{} is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// Another process serves it.
    #[error("{} is in use: another process serves it", .0.display())]
    Locked(PathBuf),
    /// The script was edited.
    #[error(
        "{difference}\nServe the old script, or accept the new one with --upgrade: it becomes a transaction, the files stay, the memory starts anew."
    )]
    Edited {
        /// What differs.
        difference: String,
    },
    /// The files of the ledger are not what the keys' owner wrote.
    #[error("the ledger is damaged: {0}")]
    Ledger(#[from] ledger::RecoverError),
    /// The keys cannot be used.
    #[error("the keys cannot be used: {0}")]
    Keys(#[from] ledger::KeyError),
    /// The ledger replays to something else.
    #[error("the ledger does not replay: {0}")]
    Replay(String),
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// Doing what.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The host failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The ledger could not be written.
    #[error("the ledger cannot be written: {0}")]
    Write(String),
}

fn io_error(what: impl Into<String>) -> impl FnOnce(io::Error) -> StartError {
    let what = what.into();
    move |source| StartError::Io { what, source }
}

/// An open directory, ready to run calls.
pub struct Node {
    pub(crate) machine: Machine,
    pub(crate) sealer: Sealer,
    pub(crate) log: Log<Dir>,
    pub(crate) admission: Admission,
    /// The last transaction of the ledger.
    pub(crate) last: TxId,
    /// The service's certificate, PEM.
    pub(crate) keys: Arc<Keys>,
    /// A transaction that a crash had left unfinished; it was cut off.
    pub torn: Option<Torn>,
    /// Entries of the call log, and how many of them were replayed.
    pub entries: u64,
    /// See there.
    pub replayed: u64,
    /// The first transaction was just written.
    pub fresh: bool,
    _lock: File,
}

/// Lines of the console are shown only for calls that run now, not for those that are replayed.
struct Gate(Arc<AtomicBool>);

impl Gate {
    fn shut(console: Console) -> (Gate, Console, SharedConsole) {
        let live = Arc::new(AtomicBool::new(false));
        let gate = live.clone();
        let shared: SharedConsole = Arc::new(Mutex::new(console));
        let console = shared.clone();
        let gated: Console = Box::new(move |number, level, line| {
            if gate.load(Ordering::Relaxed)
                && let Ok(mut console) = console.lock()
            {
                console(number, level, line);
            }
        });
        (Gate(live), gated, shared)
    }

    fn set(&self, live: bool) {
        self.0.store(live, Ordering::Relaxed);
    }
}

impl Node {
    /// Opens a directory, or makes it. Needs a thread with [`sandbox::THREAD_STACK_BYTES`] of stack.
    pub fn start(options: &Options, console: Console) -> Result<Node, StartError> {
        let sandbox = Sandbox::new().map_err(Fault::from)?;
        let dir = &options.dir;
        let fresh = match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(StartError::NotADirectory(dir.clone())),
            Err(error) => return Err(io_error(format!("reading {}", dir.display()))(error)),
            Ok(mut entries) => match entries.next() {
                None => true,
                Some(_) if dir.join(MARKER).is_file() => false,
                Some(_) => return Err(StartError::Foreign(dir.clone())),
            },
        };
        let shared: SharedConsole = Arc::new(Mutex::new(console));
        if fresh {
            create(options, &sandbox, &shared)?;
        }
        let console: Console = Box::new(move |number, level, line| {
            if let Ok(mut console) = shared.lock() {
                console(number, level, line);
            }
        });
        let mut node = open(options, sandbox, console)?;
        node.fresh = fresh;
        Ok(node)
    }

    /// Seals and writes an input that the node itself brings, before it serves.
    fn run(&mut self, input: &Input) -> Result<(), StartError> {
        let (outcome, writes) = self.machine.execute(self.sealer.next().seqno, input)?;
        if let Err(failure) = &outcome.result {
            let name = if let Input::Deploy { code, .. } = input { &code.name } else { "the script" };
            return Err(StartError::Script(describe(name, failure)));
        }
        let sealed = seal(&mut self.sealer, &writes)?;
        self.last = sealed.txid;
        self.log.append(&sealed.raw).and_then(|()| self.log.commit()).map_err(|error| StartError::Write(error.to_string()))
    }
}

pub(crate) fn seal(sealer: &mut Sealer, writes: &WriteSet) -> Result<Sealed, StartError> {
    sealer.seal(writes, machine::claims(writes)).map_err(|error| StartError::Write(error.to_string()))
}

/// Seconds since 1970.
pub(crate) fn now_s(admission: &mut Admission) -> u64 {
    admission.time_ms() / 1000
}

/// Runs code in a realm of its own, as it would start an app. Nothing is kept.
pub(crate) fn try_out(sandbox: &Sandbox, code: &Code, time_ms: u64) -> Result<(), StartError> {
    let silent: Console = Box::new(|_, _, _| {});
    let mut machine = Machine::new(sandbox.clone(), state::State::in_memory(), silent, Box::new(machine::Nobody));
    machine.begin(1, Service::nameless(machine::service::SCRIPT))?;
    deploy(&mut machine, 2, code, time_ms).map(|_| ())
}

fn deploy(machine: &mut Machine, seqno: u64, code: &Code, time_ms: u64) -> Result<WriteSet, StartError> {
    let input = Input::Deploy { code: code.clone(), time_ms };
    let (outcome, writes) = machine.execute(seqno, &input)?;
    if let Err(failure) = &outcome.result {
        return Err(StartError::Script(describe(&code.name, failure)));
    }
    if machine.script().exports().methods.is_empty() {
        return Err(StartError::NoExports(code.name.clone()));
    }
    Ok(writes)
}

/// `counter.js:3:14: SyntaxError: …`, as compilers have it.
pub(crate) fn describe(name: &str, failure: &sandbox::Failure) -> String {
    let sandbox::Failure { name: error, message, stack } = failure;
    let position = stack.lines().find_map(|line| {
        let from = line.find(&format!("{name}:"))?;
        let end = line[from..].find([')', ' ']).map_or(line.len(), |end| from + end);
        Some(&line[from..end])
    });
    format!("{}: {error}: {message}", position.unwrap_or(name))
}

/// Writes a new directory: keys, identity, and a ledger that begins with what it is, the code, and `init`.
fn create(options: &Options, sandbox: &Sandbox, console: &SharedConsole) -> Result<(), StartError> {
    let mut admission = Admission::new(0);
    let time_ms = admission.time_ms();
    let now_s = time_ms / 1000;
    let (files_seed, files) = new_identity();
    let (log_seed, log) = new_identity();
    let (operator_seed, operator) = new_identity();
    // Everything that can be wrong with the script shows here, before anything is written.
    let keys = Arc::new(Keys::generate("Glassbox service", "Glassbox node", now_s.saturating_sub(3600), now_s + VALIDITY_S)?);
    let service = |kind: &str| Service {
        format: machine::service::FORMAT,
        kind: kind.into(),
        title: options.title.clone(),
        files,
        log,
        operator,
        chance: keys.chance().public_key_hex(),
        engine: sandbox::ENGINE.into(),
    };
    let sealed = match &options.app {
        App::Script(script) => {
            let service = service(machine::service::SCRIPT);
            first_of_script(options, &script.code(Settings::default()), sandbox, &keys, service, &mut admission)?
        }
        App::Vats { install: None, .. } => return Err(StartError::Missing(options.dir.clone())),
        App::Vats { install: Some(install), .. } => {
            let service = service(machine::service::VATS);
            crate::vats::first(install, sandbox, &keys, service, &mut admission, console)?
        }
        App::Bundle(genesis) => first_of_bundle(genesis, sandbox, &keys, service(machine::service::BUNDLE), now_s)?,
    };

    let target = &options.dir;
    let name = target.file_name().ok_or_else(|| StartError::Foreign(target.clone()))?;
    let parent = match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let fresh = parent.join(format!(".{}.{}.new", name.to_string_lossy(), std::process::id()));
    let made = (|| {
        let what = |doing: &str| io_error(format!("{doing} {}", fresh.display()));
        fs::create_dir_all(&parent).map_err(what("making"))?;
        let _ = fs::remove_dir_all(&fresh);
        fs::DirBuilder::new().mode(0o755).create(&fresh).map_err(what("making"))?;
        write_new(&fresh.join(MARKER), options.app.marker(), 0o644)?;
        write_new(&fresh.join(LOCK), "", 0o644)?;
        keys.save(&fresh.join(KEYS))?;
        for (name, seed) in [(FILES_KEY, files_seed), (LOG_KEY, log_seed), (OPERATOR_KEY, operator_seed)] {
            write_new(&fresh.join(KEYS).join(name), &(crate::admit::hex(&seed) + "\n"), 0o600)?;
        }
        let storage = Dir::create(&fresh.join(LEDGER)).map_err(what("making"))?;
        let mut log = Log::create(storage).map_err(|error| StartError::Write(error.to_string()))?;
        for sealed in &sealed {
            log.append(&sealed.raw).map_err(|error| StartError::Write(error.to_string()))?;
        }
        log.commit().map_err(|error| StartError::Write(error.to_string()))?;
        for dir in [fresh.join(KEYS), fresh.clone()] {
            File::open(&dir).and_then(|dir| dir.sync_all()).map_err(what("syncing"))?;
        }
        match fs::rename(&fresh, target) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => return Err(StartError::Locked(target.clone())),
            renamed => renamed.map_err(what("renaming"))?,
        }
        File::open(&parent).and_then(|dir| dir.sync_all()).map_err(what("syncing"))
    })();
    if made.is_err() {
        let _ = fs::remove_dir_all(&fresh);
    }
    made
}

/// The first transactions of a script: what it is, the code, and `init`.
fn first_of_script(
    options: &Options,
    code: &Code,
    sandbox: &Sandbox,
    keys: &Arc<Keys>,
    service: Service,
    admission: &mut Admission,
) -> Result<Vec<Sealed>, StartError> {
    let time_ms = admission.time_ms();
    let silent = || -> Console { Box::new(|_, _, _| {}) };
    let outside = Live { keys: keys.clone(), oracles: options.oracles.clone(), console: Arc::new(Mutex::new(silent())) };
    let mut machine = Machine::new(sandbox.clone(), state::State::in_memory(), silent(), Box::new(outside));
    let mut writes = machine.begin(1, service)?;
    ledger::genesis(&mut writes, keys);
    let mut sealer = new_sealer(keys)?;
    let mut sealed = vec![seal(&mut sealer, &writes)?];
    let mut writes = deploy(&mut machine, sealer.next().seqno, code, time_ms)?;
    ledger::service_info(&mut writes, keys, ServiceStatus::Open);
    sealed.push(seal(&mut sealer, &writes)?);
    if machine.script().exports().init {
        let input = Input::Init { time_ms: admission.time_ms() };
        let (outcome, writes) = machine.execute(sealer.next().seqno, &input)?;
        if let Err(failure) = &outcome.result {
            return Err(StartError::Script(format!("init() failed: {}", describe(&code.name, failure))));
        }
        sealed.push(seal(&mut sealer, &writes)?);
    }
    sealed.push(sealer.sign(time_ms / 1000, false).map_err(|error| StartError::Write(error.to_string()))?);
    Ok(sealed)
}

/// The first transaction of a bundle: what it is, and what governance begins with.
fn first_of_bundle(
    genesis: &Genesis,
    sandbox: &Sandbox,
    keys: &Arc<Keys>,
    service: Service,
    now_s: u64,
) -> Result<Vec<Sealed>, StartError> {
    let outside = Box::new(machine::Nobody);
    let mut machine = Machine::bundle(sandbox, state::State::in_memory(), Some(keys.secret().clone()), outside)?;
    let mut sealer = new_sealer(keys)?;
    let mut writes = WriteSet::new();
    ledger::genesis(&mut writes, keys);
    for (table, key, value) in &genesis.rows {
        writes.put(table, key.as_slice(), value.as_slice());
    }
    let writes = machine.begin_with(sealer.next(), service, writes)?;
    let first = seal(&mut sealer, &writes)?;
    Ok(vec![first, sealer.sign(now_s, false).map_err(|error| StartError::Write(error.to_string()))?])
}

pub(crate) fn new_sealer(keys: &Arc<Keys>) -> Result<Sealer, StartError> {
    Sealer::new(keys, ledger::txid::FIRST_VIEW).map_err(|error| StartError::Write(error.to_string()))
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), StartError> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(io_error(format!("writing {}", path.display())))
}

/// Takes the lock; it is released when the file is closed, also by a crash.
fn lock(dir: &Path) -> Result<File, StartError> {
    let path = dir.join(LOCK);
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path);
    let file = file.map_err(io_error(format!("opening {}", path.display())))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(StartError::Locked(dir.to_owned())),
        Err(fs::TryLockError::Error(error)) => Err(io_error(format!("locking {}", path.display()))(error)),
    }
}

/// The public key (hex) of a seed that the directory keeps.
fn identity(dir: &Path, name: &'static str) -> Result<String, StartError> {
    let path = dir.join(KEYS).join(name);
    let text = fs::read_to_string(&path).map_err(io_error(format!("reading {}", path.display())))?;
    let digits = text.trim_end().as_bytes();
    let seed: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect();
    seed.and_then(|seed| public_key(&seed)).ok_or_else(|| StartError::Replay(format!("{} holds no key", path.display())))
}

fn expect_identity(dir: &Path, name: &'static str, expected: &str) -> Result<(), StartError> {
    if identity(dir, name)? == expected {
        return Ok(());
    }
    let path = dir.join(KEYS).join(name);
    Err(StartError::Replay(format!("{} is not the key that the first transaction names", path.display())))
}

/// What a ledger has led to so far, while it is read.
enum Rebuilt {
    /// Before the checkpoint that the heap is taken from.
    Folding(Box<Records>),
    /// From there on everything is executed.
    Running(Box<Machine>),
    /// It did not come to its end.
    Failed(StartError),
}

/// What a machine is made with.
struct Parts {
    sandbox: Sandbox,
    console: Console,
    outside: Live,
}

/// Reads a ledger's transactions one by one and has the machine in the end.
struct Rebuild {
    now: Option<Rebuilt>,
    parts: Option<Parts>,
    archive: Arc<Ledger>,
    /// The checkpoint that the heap is taken from.
    resume_at: u64,
    replayed: u64,
}

impl Rebuild {
    fn machine(&mut self, records: Records, checkpoint: &Checkpoint) -> Rebuilt {
        let Parts { sandbox, console, outside } = self.parts.take().expect("a machine is made once");
        match Machine::resume(sandbox, records, checkpoint, console, Box::new(outside)) {
            Ok(mut machine) => {
                if let Some(bundle) = machine.as_bundle_mut() {
                    bundle.set_archive(self.archive.clone());
                }
                Rebuilt::Running(Box::new(machine))
            }
            Err(fault) => Rebuilt::Failed(fault.into()),
        }
    }

    fn take(&mut self, located: &Located) {
        let transaction = &located.transaction;
        let place =
            |what: &dyn std::fmt::Display| StartError::Replay(format!("{}, offset {}: {what}", located.file, located.offset));
        let next = match self.now.take().expect("always there between two transactions") {
            Rebuilt::Folding(mut records) => match records.fold(transaction) {
                Err(fault) => Rebuilt::Failed(fault.into()),
                Ok(()) if transaction.txid().seqno < self.resume_at => Rebuilt::Folding(records),
                Ok(()) => match transaction.public().get(maps::GLASSBOX, maps::CHECKPOINT_KEY).map(Checkpoint::decode) {
                    Some(Ok(checkpoint)) => self.machine(*records, &checkpoint),
                    _ => Rebuilt::Failed(place(&"the checkpoint is malformed")),
                },
            },
            Rebuilt::Running(mut machine) => match machine.replay(transaction) {
                Ok(entry) => {
                    self.replayed += u64::from(entry != Ran::Nothing);
                    Rebuilt::Running(machine)
                }
                Err(ReplayError::Fault(fault)) => Rebuilt::Failed(fault.into()),
                Err(ReplayError::Divergence(divergence)) => {
                    let engine = machine.service().map(|service| service.engine.clone()).unwrap_or_default();
                    let hint = if engine == sandbox::ENGINE { "" } else { " (it was written by another version of the sandbox)" };
                    Rebuilt::Failed(place(&format!("{divergence}{hint}")))
                }
            },
            failed @ Rebuilt::Failed(_) => failed,
        };
        self.now = Some(next);
    }
}

/// The records that the store has kept, if they belong to a checkpoint of this ledger up to `last`. The store may be of
/// another history: brought back from elsewhere, or the ledger was.
fn kept(dir: &Path, ledger: &Path, last: u64, keys: &Keys) -> Result<Option<(Records, Checkpoint)>, StartError> {
    let is_of_this_ledger = |seqno: u64, checkpoint: &Checkpoint| {
        let Ok(storage) = Dir::open(ledger) else { return false };
        let Ok(mut reader) = ledger::Reader::open_at(&storage, seqno) else { return false };
        let Some(Ok(located)) = reader.next() else { return false };
        located.transaction.public().get(maps::GLASSBOX, maps::CHECKPOINT_KEY) == Some(checkpoint.encode().as_slice())
    };
    let open = || -> Result<Option<(Records, Checkpoint)>, Fault> {
        let state = state::State::open(dir)?;
        let applied = state.applied();
        if applied == 0 || applied > last {
            return Ok(None);
        }
        Ok(Records::reopen(state)?.filter(|(_, checkpoint)| is_of_this_ledger(applied, checkpoint)))
    };
    match open() {
        Ok(Some((mut records, checkpoint))) => {
            records.open_with(keys.secret().clone());
            Ok(Some((records, checkpoint)))
        }
        Ok(None) => Ok(None),
        Err(Fault::State(state::StateError::InUse)) => Err(Fault::State(state::StateError::InUse).into()),
        // It is rebuilt from the ledger, also when a crash came while the store was made.
        Err(_) => Ok(None),
    }
}

fn open(options: &Options, sandbox: Sandbox, console: Console) -> Result<Node, StartError> {
    let dir = &options.dir;
    let marker = fs::read_to_string(dir.join(MARKER)).map_err(io_error(format!("reading {}", dir.join(MARKER).display())))?;
    if marker != options.app.marker() {
        let is = match marker.as_str() {
            SCRIPT_MARKER => "a script",
            BUNDLE_MARKER => "a bundle",
            VATS_MARKER => "vats",
            _ => {
                let marker = dir.join(MARKER);
                return Err(StartError::Kind(format!("{} is of a format that this version does not know", marker.display())));
            }
        };
        let wanted = match &options.app {
            App::Script(_) => "a script",
            App::Bundle(_) => "a bundle",
            App::Vats { .. } => "vats",
        };
        return Err(StartError::Kind(format!("{} holds {is}, not {wanted}", dir.display())));
    }
    let lock = lock(dir)?;
    let keys = Arc::new(Keys::load(&dir.join(KEYS))?);
    let (gate, console, shared) = Gate::shut(console);
    let live = shared.clone();
    let outside = Live { keys: keys.clone(), oracles: options.oracles.clone(), console: shared };
    // Requests that look at the past find it in the files, while the ledger is replayed.
    let archive = Ledger::at_rest(&dir.join(LEDGER), keys.secret().clone());
    let archive = Arc::new(archive.map_err(|error| StartError::Replay(error.to_string()))?);

    let storage = Dir::open(&dir.join(LEDGER)).map_err(io_error(format!("opening {}", dir.join(LEDGER).display())))?;
    let found = ledger::find(storage, &keys)?;
    let resume_at = found.checkpoint().map_or(0, |checkpoint| checkpoint.txid().seqno);
    let mut rebuild =
        Rebuild { now: None, parts: Some(Parts { sandbox: sandbox.clone(), console, outside }), archive, resume_at, replayed: 0 };
    let from = match kept(&dir.join(STATE), &dir.join(LEDGER), resume_at, &keys)? {
        Some((mut records, checkpoint)) => {
            records.state_mut().flush_by_hand();
            let applied = records.state().applied();
            let rebuilt =
                if applied == resume_at { rebuild.machine(records, &checkpoint) } else { Rebuilt::Folding(Box::new(records)) };
            rebuild.now = Some(rebuilt);
            applied
        }
        None => {
            state::State::delete(&dir.join(STATE)).map_err(Fault::from)?;
            let mut state = state::State::open(&dir.join(STATE)).map_err(Fault::from)?;
            // While all of it is folded, the store may take it as it comes: only what it holds in the end counts.
            if resume_at == 0 {
                state.flush_by_hand();
            }
            rebuild.now = Some(if resume_at > 0 {
                let mut records = Records::new(state);
                records.open_with(keys.secret().clone());
                Rebuilt::Folding(Box::new(records))
            } else {
                let Parts { sandbox, console, outside } = rebuild.parts.take().expect("a machine is made once");
                let outside = Box::new(outside);
                let mut machine = match &options.app {
                    App::Script(_) => Machine::new(sandbox, state, console, outside),
                    App::Bundle(_) => Machine::bundle(&sandbox, state, Some(keys.secret().clone()), outside)?,
                    App::Vats { .. } => Machine::vats(&sandbox, state, console)?,
                };
                if let Some(bundle) = machine.as_bundle_mut() {
                    bundle.set_archive(rebuild.archive.clone());
                }
                Rebuilt::Running(Box::new(machine))
            });
            0
        }
    };
    let recovery = found.recover(from, |located| rebuild.take(located))?;
    let mut machine = match rebuild.now {
        Some(Rebuilt::Running(machine)) => *machine,
        Some(Rebuilt::Failed(error)) => return Err(error),
        Some(Rebuilt::Folding(_)) | None => return Err(StartError::Replay("its last checkpoint was not reached".into())),
    };
    machine.state_mut().flush_by_hand();
    if let Some(transactions) = options.checkpoint_every {
        machine.checkpoint_every(transactions);
    }
    let Some(service) = machine.service() else {
        return Err(StartError::Replay("it has no first transaction".into()));
    };
    let kind = options.app.kind();
    if service.kind != kind {
        return Err(StartError::Replay(format!("its first transaction is not that of a {kind}")));
    }
    expect_identity(dir, FILES_KEY, &service.files)?;
    expect_identity(dir, LOG_KEY, &service.log)?;
    if keys.chance().public_key_hex() != service.chance {
        return Err(StartError::Replay("the chance key is not the one that the first transaction names".into()));
    }
    expect_identity(dir, OPERATOR_KEY, &service.operator)?;
    let view = recovery.next_view();
    let last = recovery.audit.last().expect("the machine has taken a first transaction from it");
    let sealer = Sealer::resume(&keys, view, recovery.audit).map_err(|error| StartError::Replay(error.to_string()))?;
    let mut node = Node {
        admission: Admission::new(machine.records().time_ms()),
        entries: machine.entries(),
        machine,
        sealer,
        log: recovery.log,
        last,
        keys,
        torn: recovery.torn,
        replayed: rebuild.replayed,
        fresh: false,
        _lock: lock,
    };

    let App::Script(script) = &options.app else {
        gate.set(true);
        if let App::Vats { install, said } = &options.app {
            crate::vats::expect(&node.machine, install.as_deref(), said)?;
        }
        if let Some(bundle) = node.machine.as_bundle_mut() {
            bundle.set_console(Box::new(move |level, line| {
                if let Ok(mut console) = live.lock() {
                    console(0, level, line);
                }
            }));
        }
        return Ok(node);
    };
    let Some(present) = node.machine.script().code().cloned() else {
        return Err(StartError::Replay("it never deploys a script".into()));
    };
    let wanted = script.code(present.settings);
    if let Some(difference) = difference(&present, &wanted) {
        if !options.upgrade {
            return Err(StartError::Edited { difference });
        }
        let time_ms = node.admission.time_ms();
        try_out(&sandbox, &wanted, time_ms)?;
        node.run(&Input::Deploy { code: wanted, time_ms })?;
    }
    gate.set(true);
    Ok(node)
}

/// Says what differs between the deployed code and the operator's; the file's name alone is no difference.
fn difference(present: &Code, wanted: &Code) -> Option<String> {
    let Settings { heap_bytes, stack_bytes, instructions } = present.settings;
    for (what, was, is) in [
        ("heap limit", u64::from(heap_bytes), u64::from(wanted.settings.heap_bytes)),
        ("stack limit", u64::from(stack_bytes), u64::from(wanted.settings.stack_bytes)),
        ("instruction limit", instructions, wanted.settings.instructions),
    ] {
        if was != is {
            return Some(format!("The directory's {what} is {was}, not {is}."));
        }
    }
    if present.source == wanted.source {
        return None;
    }
    let (mut old, mut new) = (present.source.lines(), wanted.source.lines());
    for number in 1.. {
        match (old.next(), new.next()) {
            (Some(a), Some(b)) if a == b => {}
            (None, None) => break,
            (a, b) => {
                let show = |line: Option<&str>| line.map_or("(end of the script)".into(), |line| format!("`{}`", line.trim()));
                return Some(format!(
                    "The directory runs another script: it differs from {} at line {number}.\n  deployed: {}\n  now:      {}",
                    wanted.name,
                    show(a),
                    show(b)
                ));
            }
        }
    }
    Some(format!("The directory runs another script: it differs from {} in its line ends.", wanted.name))
}
