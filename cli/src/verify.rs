//! `glassbox verify`: run the ledger again and compare.
//!
//! Two passes over the same files, beside each other if there are two cores: one checks the Merkle tree and every signature
//! ([`ledger::Audit`]), the other executes every input again ([`Machine::replay`]). Neither trusts anything that the server
//! says about itself but what the ledger proves.

use crate::address::{Address, Place};
use crate::client::Client;
use crate::{Failed, download, with_stack};
use indicatif::{ProgressBar, ProgressStyle};
use ledger::{Audit, Dir, Keys, Reader, TxId};
use machine::script::archive::Entry as FileEntry;
use machine::state::{Snapshot, State};
use machine::{Console, Machine, ReplayError, Service, maps};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Audit a backend: run its ledger again and compare.
///
/// Exit code 0: verified. 1: a mismatch. 2: it could not be checked.
#[derive(clap::Args)]
pub struct Args {
    /// The backend (HOST:PORT, ws://…, http://…), its directory, or a directory with a downloaded ledger.
    place: String,
    /// The files archive that it must be (hyper://… or dat://…).
    #[arg(long)]
    files: Option<String>,
    /// The call log that it must be (hyper://… or dat://…).
    #[arg(long)]
    log: Option<String>,
    /// Keep what is downloaded here; what is served later must continue it.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Threads to use [default: as many as there are cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// How long a signature over the archive's transaction may be waited for.
const SIGNATURE_TIMEOUT: Duration = Duration::from_secs(20);

/// How often it is asked for.
const SIGNATURE_INTERVAL: Duration = Duration::from_millis(100);

/// Differences of the files that are printed.
const MAX_SHOWN: usize = 20;

/// What a finished audit says.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    verified: bool,
    /// Entries of the call log that were replayed.
    calls: u64,
    transactions: u64,
    signatures: u64,
    /// The last transaction.
    last: Option<String>,
    /// Transactions behind the last signature.
    unsigned: u64,
    files: Option<String>,
    log: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatch: Option<Mismatch>,
}

/// What does not match.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mismatch {
    /// `ledger`, `callLog`, `files` or `identity`.
    what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<String>,
    details: Vec<String>,
}

/// What is audited.
struct Subject {
    ledger: PathBuf,
    /// The rows that are served, as of a transaction.
    archive: Option<(TxId, BTreeMap<String, Vec<u8>>)>,
    /// What the server says it is: the files' and the log's address.
    claimed: Option<(String, String)>,
    /// The operator's own directory has the secret that guards the unsigned tail too.
    keys: Option<Keys>,
    _kept: Option<tempfile::TempDir>,
}

enum Stopped {
    Mismatch(Mismatch),
    Unable(Failed),
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Stopped {
        Stopped::Unable(failed)
    }
}

fn mismatch<T>(what: &'static str, transaction: Option<TxId>, details: impl ToString) -> Result<T, Stopped> {
    let transaction = transaction.map(|txid| txid.to_string());
    Err(Stopped::Mismatch(Mismatch { what, transaction, details: vec![details.to_string()] }))
}

pub fn run(args: Args) -> Result<(), Failed> {
    let screen = Screen { quiet: args.json, colours: std::io::stdout().is_terminal() };
    let mut report = Report::default();
    let audited = audit(&args, &screen, &mut report);
    let failed = match audited {
        Ok(()) => {
            report.verified = true;
            None
        }
        Err(Stopped::Unable(failed)) if failed.code == 2 => return Err(failed),
        Err(Stopped::Unable(failed)) => {
            report.mismatch = Some(Mismatch { what: "ledger", transaction: None, details: vec![failed.message] });
            Some("Ledger mismatch.")
        }
        Err(Stopped::Mismatch(found)) => {
            let title = match found.what {
                "files" => "Output files mismatch.",
                "identity" => "Identity mismatch.",
                "ledger" => "Ledger mismatch.",
                _ => "Call log mismatch.",
            };
            report.mismatch = Some(found);
            Some(title)
        }
    };
    if args.json {
        println!("{}", serde_json::to_string(&report).expect("plain data"));
    }
    let Some(title) = failed else { return Ok(()) };
    if !args.json {
        screen.bad(title);
        for line in report.mismatch.iter().flat_map(|found| &found.details) {
            eprintln!("   {line}");
        }
    }
    Err(Failed::new(""))
}

struct Screen {
    quiet: bool,
    colours: bool,
}

impl Screen {
    fn step(&self, text: &str) {
        if !self.quiet {
            println!("{}{text}", if self.colours { "\x1b[2m›\x1b[0m" } else { "›" });
        }
    }

    fn good(&self, text: &str) {
        if !self.quiet {
            println!("{}{text}", if self.colours { "\x1b[32m✔\x1b[0m" } else { "✔" });
        }
    }

    fn bad(&self, text: &str) {
        eprintln!("{}{text}", if std::io::stderr().is_terminal() { "\x1b[31m✖\x1b[0m" } else { "✖" });
    }

    fn bar(&self, len: u64, unit: &str) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template(&format!("{{bar:40}} {{pos}}/{{len}} {unit}  {{eta}}"));
        ProgressBar::new(len).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

fn audit(args: &Args, screen: &Screen, report: &mut Report) -> Result<(), Stopped> {
    let pins = [("--files", &args.files), ("--log", &args.log)];
    let [files, log] = pins.map(|(flag, pin)| pin.as_deref().map(|pin| key_of(flag, pin)).transpose());
    let (files, log) = (files?, log?);
    let subject = match Place::parse(&args.place)? {
        Place::Url(address) => fetch(&address, args.dir.as_deref(), screen)?,
        Place::Dir(dir) => open(&dir, screen)?,
    };

    let jobs = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get()), usize::from);
    let archive_at = subject.archive.as_ref().map(|(txid, _)| *txid);
    let replayed = check(&subject, jobs, archive_at, screen, report)?;

    let service = &replayed.service;
    report.files = Some(service.files_url());
    report.log = Some(service.log_url());
    for (what, pin, found) in [("files archive", files, &service.files), ("call log", log, &service.log)] {
        if let Some(pin) = pin
            && pin != *found
        {
            return mismatch("identity", None, format!("the {what} is hyper://{found}, not hyper://{pin}"));
        }
    }
    if let Some((files, log)) = &subject.claimed {
        for (what, claimed, proven) in [("files archive", files, service.files_url()), ("call log", log, service.log_url())] {
            if *claimed != proven {
                return mismatch(
                    "identity",
                    None,
                    format!("the server says that the {what} is {claimed}, the ledger proves {proven}"),
                );
            }
        }
    }
    screen.good("Call log verified.");
    if let Some((txid, served)) = &subject.archive {
        let Some(snapshot) = replayed.snapshot else {
            return Err(Failed::unable(format!("the ledger does not reach transaction {txid}, of which the files are")).into());
        };
        compare_files(served, &snapshot, *txid)?;
        screen.good("Output files verified.");
    }
    if report.unsigned > 0 && !screen.quiet {
        eprintln!("Note: the last {} transactions were replayed, but no signature covers them yet.", report.unsigned);
    }
    Ok(())
}

/// The key of a pinned address: 64 hex digits, with or without `hyper://` or `dat://`.
fn key_of(flag: &str, pin: &str) -> Result<String, Failed> {
    let key =
        pin.strip_prefix("hyper://").or(pin.strip_prefix("dat://")).unwrap_or(pin).trim_end_matches('/').to_ascii_lowercase();
    if key.len() == 64 && key.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        Ok(key)
    } else {
        Err(Failed::unable(format!("{flag} {pin}: expected hyper:// and 64 hexadecimal digits")))
    }
}

/// Downloads what a server offers: the ledger, the files, and the ledger up to a signature that covers the files.
fn fetch(address: &Address, keep: Option<&Path>, screen: &Screen) -> Result<Subject, Failed> {
    screen.step(&format!("Connecting to {address}..."));
    let client = Client::connect(address, None)?;
    screen.step("Connected.");
    let claimed = (client.info.files_archive_url.clone(), client.info.call_log_url.clone());
    drop(client);

    let (into, kept) = match keep {
        Some(dir) => {
            std::fs::create_dir_all(dir).map_err(|error| Failed::unable(format!("{}: {error}", dir.display())))?;
            (dir.to_owned(), None)
        }
        None => {
            let temporary = tempfile::tempdir().map_err(Failed::unable)?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    screen.step("Downloading call log...");
    let bar = screen.bar(0, "bytes");
    let mut progress = |done, total| {
        bar.set_length(total);
        bar.set_position(done);
    };
    let downloaded = download::ledger(address, &into, &mut progress);
    bar.finish_and_clear();
    downloaded?;
    screen.step("Downloading files archive...");
    let archive = download::archive(address)?;
    let until = Instant::now() + SIGNATURE_TIMEOUT;
    loop {
        let listing = download::ledger(address, &into, &mut |_, _| {})?.listing;
        let signed: Option<TxId> = listing.signed.parse().ok();
        if signed.is_some_and(|signed| signed.seqno >= archive.0.seqno) {
            break;
        }
        if Instant::now() > until {
            return Err(Failed::unable(format!("the server signs nothing: no signature covers transaction {}", archive.0)));
        }
        std::thread::sleep(SIGNATURE_INTERVAL);
    }
    Ok(Subject { ledger: into, archive: Some(archive), claimed: Some(claimed), keys: None, _kept: kept })
}

/// A node's own directory, or one with chunk files in it.
fn open(dir: &Path, screen: &Screen) -> Result<Subject, Failed> {
    screen.step(&format!("Reading {}...", dir.display()));
    let own = dir.join("ledger");
    let (ledger, keys) = if own.is_dir() {
        let keys = Keys::load(&dir.join("keys"));
        if let Err(error) = &keys {
            eprintln!("Note: the keys are not used, what no signature covers is only replayed: {error}");
        }
        (own, keys.ok())
    } else {
        (dir.to_owned(), None)
    };
    Ok(Subject { ledger, archive: None, claimed: None, keys, _kept: None })
}

/// What both passes found.
struct Replayed {
    service: Service,
    /// The state at the archive's transaction.
    snapshot: Option<Snapshot>,
    // Behind the snapshot, which reads from it.
    _state: tempfile::TempDir,
}

/// What the first pass counts.
struct Audited {
    calls: u64,
    transactions: u64,
    signatures: u64,
    last: Option<TxId>,
    unsigned: u64,
}

fn check(
    subject: &Subject,
    jobs: usize,
    archive_at: Option<TxId>,
    screen: &Screen,
    report: &mut Report,
) -> Result<Replayed, Stopped> {
    let (progress, replayed_so_far) = mpsc::channel::<u64>();
    let ledger = subject.ledger.clone();
    let replay = move || match with_stack(move || replay(&ledger, archive_at, &progress)) {
        Ok(done) => done,
        Err(failed) => Err(failed.into()),
    };
    let announce = |audited: &Audited, report: &mut Report| {
        report.calls = audited.calls;
        report.transactions = audited.transactions;
        report.signatures = audited.signatures;
        report.last = audited.last.map(|txid| txid.to_string());
        report.unsigned = audited.unsigned;
        screen.step(&format!("Replaying {} calls...", audited.calls));
        screen.bar(audited.calls, "calls")
    };
    let replayed = if jobs < 2 {
        let audited = check_signatures(subject)?;
        let bar = announce(&audited, report);
        let replayed = replay();
        bar.finish_and_clear();
        replayed
    } else {
        std::thread::scope(|scope| {
            let running = scope.spawn(replay);
            let audited = check_signatures(subject);
            let bar = match &audited {
                Ok(audited) => announce(audited, report),
                Err(_) => ProgressBar::hidden(),
            };
            while let Ok(count) = replayed_so_far.recv() {
                bar.set_position(count);
            }
            bar.finish_and_clear();
            let replayed =
                running.join().unwrap_or_else(|_| Err(Failed::unable("an internal error; the lines above say where").into()));
            match (audited, replayed) {
                (Ok(_), replayed) => replayed,
                // The signatures prove that something is wrong, the replay may know what.
                (Err(Stopped::Mismatch(mut proof)), Err(Stopped::Mismatch(cause))) => {
                    proof
                        .details
                        .extend(cause.details.into_iter().filter(|line| !proof.details.contains(line)).collect::<Vec<_>>());
                    Err(Stopped::Mismatch(proof))
                }
                (Err(stopped), _) => Err(stopped),
            }
        })
    };
    let replayed = replayed?;
    screen.step("Comparing outputs...");
    Ok(replayed)
}

/// The first pass: framing, Merkle tree, signatures, and with the operator's secret every tag.
fn check_signatures(subject: &Subject) -> Result<Audited, Stopped> {
    let storage = Dir::open(&subject.ledger).map_err(|error| Failed::unable(format!("{}: {error}", subject.ledger.display())))?;
    let mut reader = Reader::open(&storage).or_else(|error| mismatch("ledger", None, error))?;
    let mut audit = match &subject.keys {
        Some(keys) => Audit::pinned(keys.service_certificate().clone()),
        None => Audit::new(),
    };
    let mut audited = Audited { calls: 0, transactions: 0, signatures: 0, last: None, unsigned: 0 };
    for located in &mut reader {
        let located = match located {
            Ok(located) => located,
            Err(error) => return mismatch("ledger", None, error),
        };
        let transaction = &located.transaction;
        let txid = transaction.txid();
        let place = format!("{}, offset {}", located.file, located.offset);
        if let Some(keys) = &subject.keys
            && let Err(error) = transaction.decrypt(keys.secret())
        {
            return mismatch("ledger", Some(txid), format!("{place}, transaction {txid}: {error}"));
        }
        match audit.push(transaction) {
            Ok(Some(_)) => audited.signatures += 1,
            Ok(None) => {}
            Err(error) => {
                let since = audit.last_signature().map_or("the beginning".into(), |signature| signature.txid.to_string());
                return mismatch("ledger", Some(txid), format!("{place}, {error} (the last good signature is {since})"));
            }
        }
        audited.transactions += 1;
        audited.calls += u64::from(transaction.public().get(maps::GLASSBOX, maps::CALL_KEY).is_some());
    }
    if audited.transactions == 0 {
        return Err(Failed::unable(format!("{}: there is no ledger", subject.ledger.display())).into());
    }
    if audited.signatures == 0 {
        return mismatch("ledger", None, "no signature stands in the ledger");
    }
    audited.last = audit.last();
    audited.unsigned = audit.unsigned();
    Ok(audited)
}

/// The second pass: everything again.
fn replay(ledger: &Path, archive_at: Option<TxId>, progress: &mpsc::Sender<u64>) -> Result<Replayed, Stopped> {
    let unable = |error: &dyn std::fmt::Display| Failed::unable(format!("the replay cannot go on: {error}"));
    let folder = tempfile::tempdir().map_err(|error| unable(&error))?;
    let state = State::open(&folder.path().join("state")).map_err(|error| unable(&error))?;
    let sandbox = sandbox::Sandbox::new().map_err(|error| unable(&error))?;
    let silent: Console = Box::new(|_, _, _| {});
    let mut machine = Machine::new(sandbox, state, silent);
    let storage = Dir::open(ledger).map_err(|error| unable(&error))?;
    let mut snapshot = None;
    let mut announced = 0;
    for located in Reader::open(&storage).or_else(|error| mismatch("ledger", None, error))? {
        let located = match located {
            Ok(located) => located,
            Err(error) => return mismatch("ledger", None, error),
        };
        let txid = located.transaction.txid();
        let number = machine.entries();
        match machine.replay(&located.transaction) {
            Ok(_) => {}
            Err(ReplayError::Fault(fault)) => return Err(unable(&fault).into()),
            Err(ReplayError::Divergence(divergence)) => {
                let engine = machine.service().map_or(sandbox::ENGINE, |service| &service.engine);
                if engine != sandbox::ENGINE {
                    return Err(Failed::unable(format!(
                        "{divergence}\nThe ledger was written by another version of the sandbox ({engine}, this is {}): \
                         it can be checked by a build with that one.",
                        sandbox::ENGINE
                    ))
                    .into());
                }
                return mismatch("callLog", Some(txid), format!("Mismatch on entry {number}, {divergence}"));
            }
        }
        if archive_at.is_some_and(|at| at.seqno == txid.seqno) {
            if archive_at != Some(txid) {
                return mismatch(
                    "ledger",
                    Some(txid),
                    format!("the files are served as of {}, the ledger has {txid} there", archive_at.unwrap_or(txid)),
                );
            }
            snapshot = Some(machine.snapshot());
        }
        if machine.entries() >= announced + 256 {
            announced = machine.entries();
            let _ = progress.send(announced);
        }
    }
    match machine.service().cloned() {
        Some(service) => Ok(Replayed { service, snapshot, _state: folder }),
        None => mismatch("ledger", None, "the ledger is empty"),
    }
}

/// The files that are served, against those that the replay made.
fn compare_files(served: &BTreeMap<String, Vec<u8>>, snapshot: &Snapshot, txid: TxId) -> Result<(), Stopped> {
    let unable = |error: &dyn std::fmt::Display| Stopped::Unable(Failed::unable(error));
    let mut replayed = BTreeMap::new();
    for row in snapshot.range(maps::FILES, Bound::Unbounded, Bound::Unbounded).map_err(|error| unable(&error))? {
        let (key, entry) = row.map_err(|error| unable(&error))?;
        replayed.insert(String::from_utf8_lossy(&key).into_owned(), entry.value().to_vec());
    }
    let describe = |value: Option<&Vec<u8>>| match value {
        None => "nothing".to_owned(),
        Some(value) => FileEntry::decode(value).map_or("no entry of an archive".into(), |entry| entry.describe(120)),
    };
    let mut paths: Vec<&String> =
        served.keys().chain(replayed.keys()).filter(|path| served.get(*path) != replayed.get(*path)).collect();
    paths.sort_unstable();
    paths.dedup();
    if paths.is_empty() {
        return Ok(());
    }
    let mut details: Vec<String> = paths
        .iter()
        .take(MAX_SHOWN)
        .map(|path| {
            format!(
                "{path} at {txid}: served {}, the replay gives {}",
                describe(served.get(*path)),
                describe(replayed.get(*path))
            )
        })
        .collect();
    if paths.len() > MAX_SHOWN {
        details.push(format!("and {} more", paths.len() - MAX_SHOWN));
    }
    Err(Stopped::Mismatch(Mismatch { what: "files", transaction: Some(txid.to_string()), details }))
}
