//! `glassbox verify`: run the ledger again and compare.
//!
//! ```text
//! subject ──▶ pass ── every transaction: hashed, folded ──▶ crew ── stretch by stretch: executed ──▶ report
//! ```
//!
//! File by file: [`subject`] (what is audited), [`pass`] (the one reading of the ledger), [`stretch`] (what can be executed on
//! its own), [`crew`] (who executes it), [`earlier`] (what was executed in earlier audits), [`receipts`] (what callers hold),
//! [`files`] (what is served), [`divergence`] (where a replay differs, and why), [`report`] (what is said).
//!
//! Nothing that the server says about itself is trusted but what the ledger proves.

mod crew;
mod divergence;
mod earlier;
mod files;
mod pass;
mod receipts;
mod report;
mod stretch;
mod subject;

use crate::Failed;
use crate::address::Place;
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use crew::Progress;
use earlier::Earlier;
use ledger::TxId;
use machine::service::BUNDLE;
use pass::{Choice, Done, Fate, Passed, Plan};
use receipts::Receipts;
use report::{Report, Screen, Stopped, count, extend, mismatch, plural, ranges};
use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;
use subject::Subject;

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
    /// Keep what is downloaded here, which what is served later must continue, and what was verified, which then need not be
    /// executed again.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The service that it must be of: its certificate, PEM.
    #[arg(long, value_name = "PEM")]
    service_cert: Option<PathBuf>,
    /// The ledger secret (64 hex digits in a file): with it, encrypted requests of a bundle are executed, too.
    #[arg(long, value_name = "FILE")]
    ledger_secret: Option<PathBuf>,
    /// Saved receipts (*.json in this folder) that the ledger must hold.
    #[arg(long, value_name = "DIR")]
    receipts: Option<PathBuf>,
    /// Execute only from the last checkpoint before this transaction on (17 or 2.17).
    #[arg(long, value_name = "TRANSACTION", conflicts_with = "sample", value_parser = Point::parse)]
    from: Option<Point>,
    /// Execute only so many stretches between checkpoints, chosen at random.
    #[arg(long, value_name = "STRETCHES", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    /// Stretches to execute at the same time [default: as many as there are cores].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=256))]
    jobs: Option<u16>,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// A transaction as people write it: its number, or its whole name.
#[derive(Debug, Clone, Copy)]
enum Point {
    Seqno(u64),
    Id(TxId),
}

impl Point {
    fn parse(text: &str) -> Result<Point, String> {
        let seqno = text.parse().ok().filter(|&seqno| seqno > 0).map(Point::Seqno);
        seqno.or_else(|| text.parse().ok().map(Point::Id)).ok_or_else(|| "expected a transaction: 17 or 2.17".into())
    }

    fn seqno(self) -> u64 {
        match self {
            Point::Seqno(seqno) => seqno,
            Point::Id(txid) => txid.seqno,
        }
    }
}

/// How often the bar moves.
const BAR_INTERVAL: Duration = Duration::from_millis(100);

pub fn run(args: Args) -> Result<(), Failed> {
    let screen = Screen { quiet: args.json, colours: std::io::stdout().is_terminal() };
    let mut report = Report::default();
    let failed = match audit(&args, &screen, &mut report) {
        Ok(()) => {
            report.verified = true;
            None
        }
        Err(Stopped::Unable(failed)) if failed.code == 2 => return Err(failed),
        Err(Stopped::Unable(failed)) => {
            Some(report::Mismatch { what: "ledger", transaction: None, details: vec![failed.message] })
        }
        Err(Stopped::Mismatch(found)) => Some(found),
    };
    report.mismatch = failed;
    if args.json {
        println!("{}", serde_json::to_string(&report).expect("plain data"));
    }
    let Some(found) = &report.mismatch else { return Ok(()) };
    if !args.json {
        screen.bad(found.title());
        for line in &found.details {
            eprintln!("   {line}");
        }
        for line in report.divergence.iter().flat_map(divergence::lines) {
            eprintln!("   {line}");
        }
    }
    Err(Failed::new(""))
}

fn audit(args: &Args, screen: &Screen, report: &mut Report) -> Result<(), Stopped> {
    let pins = [("--files", &args.files), ("--log", &args.log)];
    let [files, log] = pins.map(|(flag, pin)| pin.as_deref().map(|pin| key_of(flag, pin)).transpose());
    let (files, log) = (files?, log?);
    let receipts = args.receipts.as_deref().map(Receipts::load).transpose()?;
    let pinned = args.service_cert.as_deref().map(crate::receipt::read_certificate).transpose()?;
    let mut subject = match Place::parse(&args.place)? {
        Place::Url(address) => subject::fetch(&address, args.dir.as_deref(), screen)?,
        Place::Dir(dir) => subject::open(&dir, screen)?,
    };
    subject.pinned = pinned;
    subject.secret = args.ledger_secret.as_deref().map(subject::read_secret).transpose()?;
    let mut earlier = known(args.dir.as_deref(), screen)?;
    let sees = subject.ledger_secret().is_some();
    if sees {
        earlier = earlier.with_secret();
    }

    let mut passed = check(args, &subject, receipts.as_ref(), &mut earlier, screen)?;
    describe(&passed, report);
    settle(&mut passed, &subject, receipts.as_ref(), report)?;
    screen.step("Comparing outputs...");

    let Some(service) = &passed.service else { return mismatch("ledger", None, "the ledger is empty") };
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
    let sealed = report.callers.as_ref().map_or(&[][..], |callers| &callers.sealed);
    if let Some(dir) = &args.dir {
        let blind = service.kind == BUNDLE && !sees;
        remember(&passed.stretches, sealed, blind, &mut earlier, dir)?;
    }
    let is_whole = report.not_executed.is_empty() && sealed.is_empty();
    screen.good(if is_whole { "Call log verified." } else { "Call log verified in part." });
    if let Some((txid, served)) = &subject.archive {
        let Some(snapshot) = &passed.snapshot else {
            return Err(Failed::unable(format!("the ledger does not reach transaction {txid}, of which the files are")).into());
        };
        files::compare(served, snapshot, *txid)?;
        screen.good("Output files verified.");
    }
    if let Some(receipts) = report.receipts {
        screen.good(&format!("{} verified.", plural(receipts, "receipt")));
    }
    say_more(report, screen);
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

/// What earlier audits have left in the folder of `--dir`, which is made if it is missing.
fn known(dir: Option<&Path>, screen: &Screen) -> Result<Earlier, Failed> {
    let Some(dir) = dir else { return Ok(Earlier::default()) };
    std::fs::create_dir_all(dir).map_err(|error| Failed::unable(format!("{}: {error}", dir.display())))?;
    Ok(Earlier::load(dir).unwrap_or_else(|why| {
        screen.note(&why);
        Earlier::default()
    }))
}

/// Reads the ledger, and once more without what was skipped if that was not what it was.
fn check(
    args: &Args,
    subject: &Subject,
    receipts: Option<&Receipts>,
    earlier: &mut Earlier,
    screen: &Screen,
) -> Result<Passed, Stopped> {
    let jobs = args.jobs.map_or_else(|| std::thread::available_parallelism().map_or(1, |cores| cores.get()), usize::from);
    let choice = choose(args, subject, earlier)?;
    let none = Receipts::default();
    let named = match args.from {
        Some(Point::Id(txid)) => Some(txid),
        _ => None,
    };
    loop {
        let progress = Progress::default();
        let receipts = receipts.unwrap_or(&none);
        let plan = Plan { subject, jobs, choice: &choice, earlier, receipts, named, progress: &progress };
        let passed = with_bar(&plan, screen)?;
        if passed.transactions == 0 && passed.proof.is_none() {
            return Err(Failed::unable(format!("{}: there is no ledger", subject.ledger.display())).into());
        }
        let Some(from) = passed.stale else {
            if let (Some(point), None) = (args.from, &passed.proof)
                && passed.last.is_none_or(|last| last.seqno < point.seqno())
            {
                let last = passed.last.map_or("nothing".into(), |last| last.to_string());
                return Err(Failed::unable(format!("--from {}: the ledger ends with {last}", point.seqno())).into());
            }
            return Ok(passed);
        };
        screen.note(&format!("from transaction {from} on the ledger is not as it was verified earlier; it is executed again"));
        earlier.forget_from(from);
    }
}

/// Which stretches to execute.
fn choose(args: &Args, subject: &Subject, earlier: &Earlier) -> Result<Choice, Stopped> {
    if let Some(point) = args.from {
        let mut begins = pass::outline(subject)?;
        // The checkpoint stands right before the stretch, and has to be before the transaction.
        let first = begins.iter().rposition(|&begin| begin <= point.seqno()).unwrap_or(0);
        return Ok(Choice::Some(begins.drain(first..).collect()));
    }
    let Some(sample) = args.sample else { return Ok(Choice::All) };
    let mut begins = pass::outline(subject)?;
    begins.retain(|&begin| earlier.from(begin).is_none());
    let mut chosen = BTreeSet::new();
    while chosen.len() < sample as usize && !begins.is_empty() {
        chosen.insert(begins.swap_remove(random_below(begins.len())?));
    }
    Ok(Choice::Some(chosen))
}

/// A random number below another one, from the system.
fn random_below(below: usize) -> Result<usize, Failed> {
    let mut bytes = [0; 16];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Failed::unable("the system has no randomness"))?;
    // 128 bits for at most 64: no number is preferred by more than 2^-64.
    Ok((u128::from_le_bytes(bytes) % below as u128) as usize)
}

/// Runs a pass on a thread of its own, and shows how far it is.
fn with_bar(plan: &Plan, screen: &Screen) -> Result<Passed, Stopped> {
    let bar = screen.bar(ledger_bytes(&plan.subject.ledger));
    let announce = || screen.step(&format!("Replaying {} calls...", plan.progress.calls.load(Ordering::Relaxed)));
    std::thread::scope(|scope| {
        let (ended, end) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
        let running = thread.spawn_scoped(scope, move || {
            let passed = pass::run(plan);
            let _ = ended.send(());
            passed
        });
        let running = running.map_err(Stopped::unable)?;
        let mut announced = false;
        while end.recv_timeout(BAR_INTERVAL) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            bar.set_position(plan.progress.bytes.load(Ordering::Relaxed));
            if plan.progress.is_read.load(Ordering::Acquire) && !announced {
                announced = true;
                bar.suspend(announce);
            }
        }
        bar.finish_and_clear();
        let passed = running.join().map_err(|_| Failed::unable("an internal error; the lines above say where"))?;
        if !announced && plan.progress.is_read.load(Ordering::Acquire) {
            announce();
        }
        passed
    })
}

fn ledger_bytes(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).filter(|data| data.is_file()).map(|data| data.len()).sum()
}

/// What a pass has counted.
fn describe(passed: &Passed, report: &mut Report) {
    report.calls = passed.calls;
    report.transactions = passed.transactions;
    report.signatures = passed.signatures;
    report.last = passed.last.map(|txid| txid.to_string());
    report.unsigned = passed.unsigned;
    report.oracle_answers = passed.oracle_answers;
    let mut is_proven = true;
    for Done { from, to, checkpoint, fate, .. } in &passed.stretches {
        let list = match fate {
            Fate::Executed => &mut report.executed,
            Fate::Earlier => &mut report.verified_earlier,
            Fate::Folded => &mut report.not_executed,
        };
        extend(list, *from, *to);
        if let (true, false, Some(checkpoint)) = (*fate != Fate::Folded, is_proven, checkpoint) {
            report.trusted.push(checkpoint.to_string());
        }
        is_proven = *fate != Fate::Folded;
    }
}

/// Whether all is well with the ledger itself, its execution, and the receipts; of several problems the first, with the others
/// beside it.
fn settle(passed: &mut Passed, subject: &Subject, receipts: Option<&Receipts>, report: &mut Report) -> Result<(), Stopped> {
    let is_whole = passed.proof.is_none();
    let judged = receipts.map(|receipts| receipts.judge(&passed.verdicts, passed.certificate.as_ref(), passed.last, is_whole));
    let problem = passed.problem.take();
    let divergence = problem.as_ref().and_then(|problem| divergence::explain(subject, problem));
    let mut found = match (passed.proof.take(), problem.map(|problem| problem.stopped)) {
        (None, None) if passed.signatures == 0 => Stopped::mismatch("ledger", None, "no signature stands in the ledger"),
        (None, None) => {
            report.callers = Some(std::mem::take(&mut passed.callers));
            report.receipts = judged.transpose()?;
            return Ok(());
        }
        // The signatures prove that something is wrong, the replay may know what.
        (Some(Stopped::Mismatch(mut proof)), Some(Stopped::Mismatch(cause))) => {
            let more: Vec<String> = cause.details.into_iter().filter(|line| !proof.details.contains(line)).collect();
            proof.details.extend(more);
            Stopped::Mismatch(proof)
        }
        (Some(stopped), _) | (None, Some(stopped)) => stopped,
    };
    if let Stopped::Mismatch(found) = &mut found {
        if let Some(Err(more)) = judged {
            found.details.extend(more.details);
        }
        report.divergence = divergence;
    }
    Err(found)
}

/// Writes down what was executed and came out right. Of a stretch with sealed transactions that cannot be said.
fn remember(stretches: &[Done], sealed: &[(u64, u64)], blind: bool, earlier: &mut Earlier, dir: &Path) -> Result<(), Failed> {
    let is_whole = |done: &&Done| !sealed.iter().any(|(first, last)| *first <= done.to && done.from <= *last);
    let executed = stretches.iter().filter(|done| done.fate == Fate::Executed).filter(is_whole);
    let mut is_new = false;
    for Done { from, to, root, .. } in executed {
        if let Some(root) = root {
            earlier.add(earlier::Stretch::new(*from, *to, root, blind));
            is_new = true;
        }
    }
    if is_new { earlier.save(dir) } else { Ok(()) }
}

/// Who called, what had to be trusted, and what was not executed.
fn say_more(report: &Report, screen: &Screen) {
    if let Some(callers) = &report.callers
        && callers.signed + callers.named > 0
    {
        let keys = plural(callers.keys, "key");
        let (signed, anonymous) = (plural(callers.signed, "call"), callers.anonymous);
        let named = match callers.named {
            0 => String::new(),
            named => format!(", {named} by names that nobody checked"),
        };
        screen.plain(&format!("Callers: {signed} signed by {keys}, {anonymous} anonymous{named}."));
    }
    if let Some(callers) = &report.callers
        && !callers.sealed.is_empty()
    {
        let what = ranges(&callers.sealed);
        screen.plain(&format!("Not executed without the ledger secret: {what}; what they wrote to public tables was taken."));
    }
    if report.oracle_answers > 0 {
        screen.plain(&format!("Oracles: {} taken on trust.", plural(report.oracle_answers, "answer")));
    }
    if !report.verified_earlier.is_empty() {
        screen.plain(&format!("Verified earlier: {}.", plural(count(&report.verified_earlier), "transaction")));
    }
    if report.unsigned > 0 {
        screen.note(&format!("the last {} transactions were replayed, but no signature covers them yet.", report.unsigned));
    }
    if !report.not_executed.is_empty() {
        let trusted = match report.trusted.as_slice() {
            [] => String::new(),
            [one] => format!(", and the checkpoint at {one} was taken on trust"),
            many => format!(", and the checkpoints at {} were taken on trust", many.join(", ")),
        };
        screen.plain(&format!("Not executed: {}; they are only hashed{trusted}.", ranges(&report.not_executed)));
    }
}
