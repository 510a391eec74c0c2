//! The benchmark: one table of what the served process costs, seen from outside, and of what its parts cost.
//!
//! CPU per operation comes first, because elapsed times are noisy wherever a machine is shared. The server is the real
//! binary on a real directory; the load client runs in this process, and its CPU is not counted. Every measurement is
//! repeated ([`ROUNDS`]) and the best is shown, since noise only ever adds; `--json` has all of them.

mod bundle;
mod https;
mod inside;
mod load;
mod process;
mod table;
mod vats;

use clap::Parser;
use load::{Kind, Load};
use process::{DiskBytes, Server};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use table::{Row, Target};

/// How often everything is measured.
const ROUNDS: usize = 3;

/// Calls before a load is measured.
const WARM_UP_CALLS: usize = 1_000;

const PERSISTENT_COUNTER: &str = include_str!("../../examples/persistent-counter.js");
const COUNTER: &str = include_str!("../../examples/counter.js");
const METHOD: &str = "increment";

/// Measures Glassbox and prints one table.
#[derive(Parser)]
#[command(name = "bench")]
struct Args {
    /// The glassbox binary [default: the one that the environment variable GLASSBOX names, else beside this one].
    #[arg(long)]
    glassbox: Option<PathBuf>,
    /// A folder on the disk to be measured; a temporary one is made in it [default: beside this binary].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Calls of each load.
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000))]
    calls: u32,
    /// A few seconds: one round of fewer calls.
    #[arg(long)]
    quick: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Only this: restart after so many calls (may be given several times), stopped cleanly and killed.
    #[arg(long, value_name = "CALLS")]
    restart: Vec<usize>,
    /// Only what bundles cost.
    #[arg(long)]
    bundle: bool,
    /// Only what vats cost.
    #[arg(long, conflicts_with = "bundle")]
    vats: bool,
    /// Only load a server that already runs on this port, to look at it with a profiler. It must serve a counter.
    #[arg(long, value_name = "PORT")]
    attach: Option<u16>,
    /// With --attach: the server is a bundle's, with a counter at /app/visits, and this is its service's certificate.
    #[arg(long, value_name = "PEM", requires = "attach")]
    service_cert: Option<PathBuf>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(rows) if args.json => println!("{}", table::json(&rows)),
        Ok(rows) => print!("{}", table::text(&rows)),
        Err(error) => {
            eprintln!("ERROR: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn run(args: &Args) -> Result<Vec<Row>, Box<dyn Error>> {
    if let Some(port) = args.attach {
        return match &args.service_cert {
            Some(roots) => bundle::attached(port, roots, args.calls as usize),
            None => attached(port, args.calls as usize),
        };
    }
    let here = std::env::current_exe()?;
    let beside = here.parent().ok_or("this binary has no folder")?;
    let binary = args
        .glassbox
        .clone()
        .or_else(|| std::env::var_os("GLASSBOX").map(PathBuf::from))
        .unwrap_or_else(|| beside.join("glassbox"));
    if !binary.is_file() {
        return Err(format!("{} is missing: build it first", binary.display()).into());
    }
    let temp = tempfile::Builder::new().prefix("bench-").tempdir_in(args.dir.as_deref().unwrap_or(beside))?;
    let calls = if args.quick { (args.calls as usize).min(3_000) } else { args.calls as usize };
    let plan = Plan { binary, dir: temp.path().to_owned(), calls, rounds: if args.quick { 1 } else { ROUNDS } };
    if !args.restart.is_empty() {
        return restarts(&plan, &args.restart);
    }
    let mut rows = if args.bundle || args.vats { Vec::new() } else { outside(&plan)? };
    if !args.vats {
        rows.extend(bundle::rows(&plan)?);
    }
    if !args.bundle {
        rows.extend(vats::rows(&plan)?);
    }
    if args.bundle || args.vats {
        return Ok(rows);
    }
    let (inside_calls, dir) = (calls / 2, plan.dir.clone());
    let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
    let running =
        thread.spawn(move || inside::rows(inside_calls, PERSISTENT_COUNTER, &dir).map_err(|error| error.to_string()))?;
    rows.extend(running.join().map_err(|_| "the measurement of the parts panicked")??);
    Ok(rows)
}

fn attached(port: u16, calls: usize) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    for (what, load) in [("64 connections × 1 in flight", SPREAD), ("4 connections × 16 in flight", PACKED)] {
        let measured = load::run(port, METHOD, Load { calls, ..load })?;
        let detail = format!("p50 {:.2} ms, p99 {:.2} ms", measured.latency_ms(0.5), measured.latency_ms(0.99));
        rows.push(Row::most(what, "calls/s", &[measured.per_second()]).detail(detail));
    }
    Ok(rows)
}

struct Plan {
    binary: PathBuf,
    dir: PathBuf,
    calls: usize,
    rounds: usize,
}

/// One kind of load, over all rounds.
#[derive(Default)]
struct Loads {
    cpu_us: Vec<f64>,
    user_us: Vec<f64>,
    per_second: Vec<f64>,
    p50_ms: Vec<f64>,
    p99_ms: Vec<f64>,
}

impl Loads {
    fn add(&mut self, server: &Server, run: impl FnOnce() -> Result<load::Measured, String>) -> Result<(), String> {
        let before = server.cpu()?;
        let measured = run()?;
        let cpu = server.cpu()? - before;
        self.cpu_us.push(cpu.total_us() / measured.calls() as f64);
        self.user_us.push(cpu.user_us / measured.calls() as f64);
        self.per_second.push(measured.per_second());
        self.p50_ms.push(measured.latency_ms(0.5));
        self.p99_ms.push(measured.latency_ms(0.99));
        Ok(())
    }

    fn latencies(&self) -> String {
        format!("p50 {:.2} ms, p99 {:.2} ms", least(&self.p50_ms), least(&self.p99_ms))
    }

    fn cpu_row(&self, what: &str) -> Row {
        let detail = format!("{:.1} of it in the kernel; {}", least(&self.cpu_us) - least(&self.user_us), self.latencies());
        Row::new(what, "µs CPU/call", &self.cpu_us).detail(detail)
    }

    fn rate_row(&self, what: &str) -> Row {
        Row::most(what, "calls/s", &self.per_second)
    }
}

fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

const SPREAD: Load = Load { connections: 64, in_flight: 1, calls: 0, kind: Kind::Plain };
const PACKED: Load = Load { connections: 4, in_flight: 16, calls: 0, kind: Kind::Plain };

/// What can be seen of the served process from outside.
fn outside(plan: &Plan) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rounds = Rounds::default();
    for round in 0..plan.rounds {
        persisted(plan, round, &mut rounds)?;
        in_memory(plan, round, &mut rounds)?;
    }
    let Rounds { spread, packed, memory_spread, memory_packed, alone, .. } = &rounds;
    let rows = vec![
        spread
            .cpu_row("persisted counter, 64 connections × 1 in flight")
            .target(Target::AtMost(40.0))
            .quoted("1,900 µs, no fsync"),
        spread.rate_row("… calls per second, each reply after fsync").target(Target::AtLeast(10_000.0)).quoted("496/s, no fsync"),
        packed.cpu_row("persisted counter, 4 connections × 16 in flight").target(Target::AtMost(40.0)),
        packed.rate_row("… calls per second, each reply after fsync").target(Target::AtLeast(10_000.0)),
        memory_spread.cpu_row("in-memory counter, 64 connections × 1 in flight"),
        memory_spread.rate_row("… calls per second, each reply after fsync"),
        memory_packed.cpu_row("in-memory counter, 4 connections × 16 in flight"),
        memory_packed.rate_row("… calls per second, each reply after fsync"),
        Row::new("one client alone: latency at the median", "ms", &alone.p50_ms)
            .detail(format!("p99 {:.2} ms; {:.0} µs CPU/call", least(&alone.p99_ms), least(&alone.cpu_us)))
            .target(Target::AtMost(0.6)),
        rounds.receipted.cpu_row("… with a receipt in each reply, 64 connections × 1 in flight"),
        Row::new("… a receipted reply: latency at the median", "ms", &rounds.receipted.p50_ms).target(Target::AtMost(5.0)),
        Row::new("… a receipted reply: latency at p99", "ms", &rounds.receipted.p99_ms).target(Target::AtMost(20.0)),
        rounds.signed.cpu_row("… each call signed by its caller, 64 connections × 1 in flight"),
        audit_row(&rounds),
        Row::most("audit: how much faster with --jobs 2 than with 1", "×", &rounds.verify_speedup).target(Target::AtLeast(1.8)),
        Row::new("restart after all loads, stopped cleanly", "ms", &rounds.restart_ms).target(Target::AtMost(300.0)),
        Row::new("restart after all loads, killed", "ms", &rounds.restart_killed_ms).target(Target::AtMost(300.0)),
        Row::new("disk: ledger and state after a clean stop", "bytes/call", &rounds.disk_bytes)
            .detail(format!("{:.0} by file length", least(&rounds.apparent_bytes)))
            .target(Target::AtMost(400.0)),
        Row::most("memory: resident after all loads", "MB", &rounds.rss_after_mb)
            .detail(format!("{:.1} MB right after the start", least(&rounds.rss_start_mb)))
            .target(Target::AtMost(60.0)),
        Row::new("`exec` to serving, new directory", "ms", &rounds.start_new_ms)
            .detail(format!("{:.0} ms to a first reply", least(&rounds.first_reply_new_ms)))
            .target(Target::AtMost(100.0)),
        Row::new("`exec` to serving, directory with one call", "ms", &rounds.start_small_ms)
            .detail(format!("{:.0} ms to a first reply", least(&rounds.first_reply_small_ms)))
            .target(Target::AtMost(100.0)),
    ];
    Ok(rows)
}

/// How long a start takes after ever longer histories.
fn restarts(plan: &Plan, calls: &[usize]) -> Result<Vec<Row>, Box<dyn Error>> {
    let script = plan.dir.join("persistent-counter.js");
    std::fs::write(&script, PERSISTENT_COUNTER)?;
    let dir = plan.dir.join("restarts");
    let mut rows = Vec::new();
    let mut done = 0;
    for &calls in calls {
        let server = Server::start(&plan.binary, &script, &dir)?;
        load::run(server.port, METHOD, Load { calls: calls.saturating_sub(done), ..PACKED })?;
        done = calls;
        server.stop()?;
        let disk = process::disk_bytes(&dir)?.allocated as f64 / calls as f64;
        let mut clean = Vec::new();
        for _ in 0..plan.rounds {
            let server = Server::start(&plan.binary, &script, &dir)?;
            clean.push(server.serving_after.as_secs_f64() * 1e3);
            server.stop()?;
        }
        let detail = format!("{disk:.0} bytes on disk per call");
        rows.push(
            Row::new(format!("restart after {calls} calls, stopped cleanly"), "ms", &clean)
                .detail(detail)
                .target(Target::AtMost(300.0)),
        );
        let mut killed = Vec::new();
        for _ in 0..plan.rounds {
            let server = Server::start(&plan.binary, &script, &dir)?;
            // Nearly as many as a checkpoint lets come.
            load::run(server.port, METHOD, Load { calls: 9_900, ..PACKED })?;
            drop(server);
            let server = Server::start(&plan.binary, &script, &dir)?;
            killed.push(server.serving_after.as_secs_f64() * 1e3);
            server.stop()?;
        }
        rows.push(Row::new("… killed 9,900 calls after that", "ms", &killed).target(Target::AtMost(300.0)));
    }
    Ok(rows)
}

fn audit_row(rounds: &Rounds) -> Row {
    let what = "audit: `glassbox verify`, per 1,000 calls";
    let row = match &rounds.verify_skipped {
        Some(why) => Row::skipped(what, why),
        None => Row::new(what, "ms CPU", &rounds.verify_ms).detail(format!("{:.0} ms elapsed", least(&rounds.verify_elapsed_ms))),
    };
    row.target(Target::AtMost(20.0)).quoted("1,600 ms")
}

#[derive(Default)]
struct Rounds {
    spread: Loads,
    packed: Loads,
    memory_spread: Loads,
    memory_packed: Loads,
    alone: Loads,
    start_new_ms: Vec<f64>,
    start_small_ms: Vec<f64>,
    first_reply_new_ms: Vec<f64>,
    first_reply_small_ms: Vec<f64>,
    rss_start_mb: Vec<f64>,
    rss_after_mb: Vec<f64>,
    disk_bytes: Vec<f64>,
    apparent_bytes: Vec<f64>,
    receipted: Loads,
    signed: Loads,
    restart_ms: Vec<f64>,
    restart_killed_ms: Vec<f64>,
    verify_speedup: Vec<f64>,
    verify_ms: Vec<f64>,
    verify_elapsed_ms: Vec<f64>,
    verify_skipped: Option<String>,
}

/// Starts a server and has one reply from it. Gives the time until it said that it serves and until the reply.
fn start(plan: &Plan, script: &Path, dir: &Path) -> Result<(Server, f64, f64), Box<dyn Error>> {
    let began = Instant::now();
    let server = Server::start(&plan.binary, script, dir)?;
    load::alone(server.port, METHOD, 1)?;
    let first_reply_ms = began.elapsed().as_secs_f64() * 1e3;
    let serving_ms = server.serving_after.as_secs_f64() * 1e3;
    Ok((server, serving_ms, first_reply_ms))
}

fn persisted(plan: &Plan, round: usize, rounds: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let script = plan.dir.join("persistent-counter.js");
    std::fs::write(&script, PERSISTENT_COUNTER)?;
    let dir = plan.dir.join(format!("persisted-{round}"));

    let (server, serving_ms, first_reply_ms) = start(plan, &script, &dir)?;
    rounds.start_new_ms.push(serving_ms);
    rounds.first_reply_new_ms.push(first_reply_ms);
    server.stop()?;
    let small = process::disk_bytes(&dir)?;
    let (server, serving_ms, first_reply_ms) = start(plan, &script, &dir)?;
    rounds.start_small_ms.push(serving_ms);
    rounds.first_reply_small_ms.push(first_reply_ms);
    rounds.rss_start_mb.push(server.rss_mb()?);

    let port = server.port;
    let lone_calls = plan.calls / 10;
    load::run(port, METHOD, Load { calls: WARM_UP_CALLS, ..PACKED })?;
    rounds.spread.add(&server, || load::run(port, METHOD, Load { calls: plan.calls, ..SPREAD }))?;
    rounds.packed.add(&server, || load::run(port, METHOD, Load { calls: plan.calls, ..PACKED }))?;
    rounds.alone.add(&server, || load::alone(port, METHOD, lone_calls))?;
    rounds.rss_after_mb.push(server.rss_mb()?);
    server.stop()?;

    let calls = (WARM_UP_CALLS + 2 * plan.calls + lone_calls) as f64;
    let large = process::disk_bytes(&dir)?;
    let per_call = |bytes: fn(DiskBytes) -> u64| (bytes(large) as f64 - bytes(small) as f64) / calls;
    rounds.disk_bytes.push(per_call(|disk| disk.allocated));
    rounds.apparent_bytes.push(per_call(|disk| disk.apparent));

    match (process::verify(&plan.binary, &dir, 1), process::verify(&plan.binary, &dir, 2)) {
        (Ok(one), Ok(two)) => {
            rounds.verify_ms.push(one.cpu_ms / calls * 1e3);
            rounds.verify_elapsed_ms.push(two.elapsed_ms / calls * 1e3);
            rounds.verify_speedup.push(one.elapsed_ms / two.elapsed_ms);
        }
        (Err(why), _) | (_, Err(why)) => rounds.verify_skipped = Some(format!("`glassbox verify` says: {why}")),
    }

    let server = Server::start(&plan.binary, &script, &dir)?;
    rounds.restart_ms.push(server.serving_after.as_secs_f64() * 1e3);
    let port = server.port;
    rounds.receipted.add(&server, || load::run(port, METHOD, Load { calls: plan.calls / 2, kind: Kind::Receipted, ..SPREAD }))?;
    rounds.signed.add(&server, || load::run(port, METHOD, Load { calls: plan.calls / 2, kind: Kind::Signed, ..SPREAD }))?;
    drop(server);
    let server = Server::start(&plan.binary, &script, &dir)?;
    rounds.restart_killed_ms.push(server.serving_after.as_secs_f64() * 1e3);
    server.stop()?;
    Ok(())
}

fn in_memory(plan: &Plan, round: usize, rounds: &mut Rounds) -> Result<(), Box<dyn Error>> {
    let script = plan.dir.join("counter.js");
    std::fs::write(&script, COUNTER)?;
    let server = Server::start(&plan.binary, &script, &plan.dir.join(format!("memory-{round}")))?;
    let port = server.port;
    load::run(port, METHOD, Load { calls: WARM_UP_CALLS, ..PACKED })?;
    rounds.memory_spread.add(&server, || load::run(port, METHOD, Load { calls: plan.calls, ..SPREAD }))?;
    rounds.memory_packed.add(&server, || load::run(port, METHOD, Load { calls: plan.calls, ..PACKED }))?;
    server.stop()?;
    Ok(())
}
