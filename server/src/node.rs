//! A node's directory: made, locked, recovered.
//!
//! ```text
//! DIR/glassbox.json      what this folder is: {"format":1,"kind":"script"}
//! DIR/lock               held while a process serves it
//! DIR/keys/              0700: the service's and the node's P-384 keys and certificates, the ledger secret
//! DIR/keys/{files,log}   0600: ed25519 seeds (hex) of the files archive and the call log
//! DIR/ledger/            chunk files: the truth
//! DIR/state/             what follows from them; may be deleted
//! ```
//!
//! A new directory is made beside its place and renamed into it, so that it is there whole or not at all. Opening one reads
//! the whole ledger, checks every byte of it, and replays it: the realm's heap is a function of the ledger too.

use crate::admit::{Admission, new_identity, public_key};
use ledger::{Dir, Keys, Log, Sealed, Sealer, ServiceStatus, Torn, TxId, WriteSet};
use machine::{Code, Console, Fault, Input, Machine, ReplayError, Service, Settings, state};
use sandbox::Sandbox;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const MARKER: &str = "glassbox.json";
const MARKER_TEXT: &str = "{\"format\":1,\"kind\":\"script\"}\n";
const LOCK: &str = "lock";
const KEYS: &str = "keys";
const LEDGER: &str = "ledger";
const STATE: &str = "state";
const FILES_KEY: &str = "files";
const LOG_KEY: &str = "log";

/// How long the certificates of a new service are valid, in seconds: ten years.
const VALIDITY_S: u64 = 10 * 365 * 24 * 3600;

/// What to serve, and where it is kept.
#[derive(Debug, Clone)]
pub struct Options {
    /// The directory.
    pub dir: PathBuf,
    /// The script and its limits. `None` for a limit: as the directory has it, else the default.
    pub code: Script,
    /// The title of a new archive.
    pub title: String,
    /// Take an edited script, or other limits, for an existing directory.
    pub upgrade: bool,
}

/// A script as the operator gave it.
#[derive(Debug, Clone)]
pub struct Script {
    /// File name, for stack traces.
    pub name: String,
    /// The source.
    pub source: String,
    /// Bytes of heap.
    pub heap_bytes: Option<u32>,
    /// Bytes of stack.
    pub stack_bytes: Option<u32>,
    /// Instructions of one call.
    pub instructions: Option<u64>,
}

impl Script {
    fn code(&self, present: Settings) -> Code {
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
    /// A transaction that a crash had left unfinished; it was cut off.
    pub torn: Option<Torn>,
    /// Entries of the call log that were replayed.
    pub replayed: u64,
    /// The first transaction was just written.
    pub fresh: bool,
    _lock: File,
}

/// Lines of the console are shown only for calls that run now, not for those that are replayed.
pub(crate) struct Live(Arc<AtomicBool>);

impl Live {
    fn gate(mut console: Console) -> (Live, Console) {
        let live = Arc::new(AtomicBool::new(false));
        let gate = live.clone();
        let gated: Console = Box::new(move |number, level, line| {
            if gate.load(Ordering::Relaxed) {
                console(number, level, line);
            }
        });
        (Live(live), gated)
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
        if fresh {
            create(options, &sandbox)?;
        }
        let mut node = open(options, sandbox, console)?;
        node.fresh = fresh;
        Ok(node)
    }

    /// Seals and writes an input that the node itself brings, before it serves.
    fn run(&mut self, input: &Input) -> Result<(), StartError> {
        let (_, writes) = self.machine.execute(self.sealer.next().seqno, input)?;
        let sealed = seal(&mut self.sealer, &writes)?;
        self.last = sealed.txid;
        self.log.append(&sealed.raw).and_then(|()| self.log.commit()).map_err(|error| StartError::Write(error.to_string()))
    }
}

pub(crate) fn seal(sealer: &mut Sealer, writes: &WriteSet) -> Result<Sealed, StartError> {
    sealer.seal(writes, None).map_err(|error| StartError::Write(error.to_string()))
}

/// Seconds since 1970.
pub(crate) fn now_s(admission: &mut Admission) -> u64 {
    admission.time_ms() / 1000
}

/// Runs code in a realm of its own, as it would start an app. Nothing is kept.
fn try_out(sandbox: &Sandbox, code: &Code, time_ms: u64) -> Result<(), StartError> {
    let silent: Console = Box::new(|_, _, _| {});
    let mut machine = Machine::new(sandbox.clone(), state::State::in_memory(), silent);
    let service = Service {
        format: machine::service::FORMAT,
        kind: "script".into(),
        title: String::new(),
        files: String::new(),
        log: String::new(),
        engine: sandbox::ENGINE.into(),
    };
    machine.begin(1, service)?;
    deploy(&mut machine, 2, code, time_ms, 0).map(|_| ())
}

fn deploy(machine: &mut Machine, seqno: u64, code: &Code, time_ms: u64, seed: u64) -> Result<WriteSet, StartError> {
    let input = Input::Deploy { code: code.clone(), time_ms, seed };
    let (outcome, writes) = machine.execute(seqno, &input)?;
    if let Err(failure) = &outcome.result {
        return Err(StartError::Script(describe(&code.name, failure)));
    }
    if machine.script().methods().is_empty() {
        return Err(StartError::NoExports(code.name.clone()));
    }
    Ok(writes)
}

/// `counter.js:3:14: SyntaxError: …`, as compilers have it.
fn describe(name: &str, failure: &sandbox::Failure) -> String {
    let sandbox::Failure { name: error, message, stack } = failure;
    let position = stack.lines().find_map(|line| {
        let from = line.find(&format!("{name}:"))?;
        let end = line[from..].find([')', ' ']).map_or(line.len(), |end| from + end);
        Some(&line[from..end])
    });
    format!("{}: {error}: {message}", position.unwrap_or(name))
}

/// Writes a new directory: keys, identity, and a ledger that begins with what it is, the code, and `init`.
fn create(options: &Options, sandbox: &Sandbox) -> Result<(), StartError> {
    let mut admission = Admission::new(0);
    let time_ms = admission.time_ms();
    let now_s = time_ms / 1000;
    let (files_seed, files) = new_identity();
    let (log_seed, log) = new_identity();
    let service = Service {
        format: machine::service::FORMAT,
        kind: "script".into(),
        title: options.title.clone(),
        files,
        log,
        engine: sandbox::ENGINE.into(),
    };
    let code = options.code.code(Settings::default());

    // Everything that can be wrong with the script shows here, before anything is written.
    let keys = Arc::new(Keys::generate("Glassbox service", "Glassbox node", now_s.saturating_sub(3600), now_s + VALIDITY_S)?);
    let mut machine = Machine::new(sandbox.clone(), state::State::in_memory(), Box::new(|_, _, _| {}));
    let mut writes = machine.begin(1, service)?;
    ledger::genesis(&mut writes, &keys);
    let mut sealer = Sealer::new(&keys, ledger::txid::FIRST_VIEW).map_err(|error| StartError::Write(error.to_string()))?;
    let mut sealed = vec![seal(&mut sealer, &writes)?];
    let mut writes = deploy(&mut machine, sealer.next().seqno, &code, time_ms, admission.seed())?;
    ledger::service_info(&mut writes, &keys, ServiceStatus::Open);
    sealed.push(seal(&mut sealer, &writes)?);
    if machine.script().has_init() {
        let input = Input::Init { time_ms: admission.time_ms(), seed: admission.seed() };
        let (outcome, writes) = machine.execute(sealer.next().seqno, &input)?;
        if let Err(failure) = &outcome.result {
            return Err(StartError::Script(format!("init() failed: {}", describe(&code.name, failure))));
        }
        sealed.push(seal(&mut sealer, &writes)?);
    }
    sealed.push(sealer.sign(now_s, false).map_err(|error| StartError::Write(error.to_string()))?);

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
        write_new(&fresh.join(MARKER), MARKER_TEXT, 0o644)?;
        write_new(&fresh.join(LOCK), "", 0o644)?;
        keys.save(&fresh.join(KEYS))?;
        for (name, seed) in [(FILES_KEY, files_seed), (LOG_KEY, log_seed)] {
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

fn identity(dir: &Path, name: &'static str, expected: &str) -> Result<(), StartError> {
    let path = dir.join(KEYS).join(name);
    let text = fs::read_to_string(&path).map_err(io_error(format!("reading {}", path.display())))?;
    let digits = text.trim_end().as_bytes();
    let seed: Option<Vec<u8>> =
        digits.chunks(2).map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok())).collect();
    match seed.and_then(|seed| public_key(&seed)) {
        Some(key) if key == expected => Ok(()),
        Some(_) => Err(StartError::Replay(format!("{} is not the key that the first transaction names", path.display()))),
        None => Err(StartError::Replay(format!("{} holds no key", path.display()))),
    }
}

fn open(options: &Options, sandbox: Sandbox, console: Console) -> Result<Node, StartError> {
    let dir = &options.dir;
    let marker = fs::read_to_string(dir.join(MARKER)).map_err(io_error(format!("reading {}", dir.join(MARKER).display())))?;
    if marker != MARKER_TEXT {
        return Err(StartError::Replay(format!("{} is of a format that this version does not know", dir.join(MARKER).display())));
    }
    let lock = lock(dir)?;
    let keys = Arc::new(Keys::load(&dir.join(KEYS))?);
    // The heap is rebuilt from the first transaction, and calls read the state: both start empty.
    state::State::delete(&dir.join(STATE)).map_err(Fault::from)?;
    let state = state::State::open(&dir.join(STATE)).map_err(Fault::from)?;
    let (live, console) = Live::gate(console);
    let mut machine = Machine::new(sandbox.clone(), state, console);

    let storage = Dir::open(&dir.join(LEDGER)).map_err(io_error(format!("opening {}", dir.join(LEDGER).display())))?;
    let mut failed = None;
    let mut last_ms = 0;
    let recovery = ledger::recover_with(storage, &keys, |located| {
        if failed.is_none() {
            match machine.replay(&located.transaction) {
                Ok(entry) => last_ms = entry.map_or(last_ms, |entry| entry.input.time_ms()),
                Err(error) => failed = Some((located.file.clone(), located.offset, error)),
            }
        }
    })?;
    match failed {
        None => {}
        Some((_, _, ReplayError::Fault(fault))) => return Err(fault.into()),
        Some((file, offset, ReplayError::Divergence(divergence))) => {
            let engine = machine.service().map(|service| service.engine.clone()).unwrap_or_default();
            let hint = if engine == sandbox::ENGINE { "" } else { " (it was written by another version of the sandbox)" };
            return Err(StartError::Replay(format!("{file}, offset {offset}: {divergence}{hint}")));
        }
    }
    let Some(service) = machine.service() else {
        return Err(StartError::Replay("it has no first transaction".into()));
    };
    identity(dir, FILES_KEY, &service.files)?;
    identity(dir, LOG_KEY, &service.log)?;
    let view = recovery.next_view();
    let last = recovery.audit.last().expect("the machine has taken a first transaction from it");
    let sealer = Sealer::resume(&keys, view, recovery.audit).map_err(|error| StartError::Replay(error.to_string()))?;
    let replayed = machine.entries();
    let mut node = Node {
        machine,
        sealer,
        log: recovery.log,
        admission: Admission::new(last_ms),
        last,
        torn: recovery.torn,
        replayed,
        fresh: false,
        _lock: lock,
    };

    let Some(present) = node.machine.script().code().cloned() else {
        return Err(StartError::Replay("it never deploys a script".into()));
    };
    let wanted = options.code.code(present.settings);
    if let Some(difference) = difference(&present, &wanted) {
        if !options.upgrade {
            return Err(StartError::Edited { difference });
        }
        let time_ms = node.admission.time_ms();
        try_out(&sandbox, &wanted, time_ms)?;
        let seed = node.admission.seed();
        node.run(&Input::Deploy { code: wanted, time_ms, seed })?;
    }
    live.set(true);
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
