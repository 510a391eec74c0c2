//! `glassbox exec`: serve a script. What serves it, [`Serving`], serves vats too.

use crate::Failed;
use machine::Console;
use sandbox::Level;
use server::commit::Callers;
use server::node::{App, Options, Script};
use server::oracle::AllowedHost;
use server::outside::Oracles;
use server::{Backend, http, limits, listen};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Serve a backend script.
#[derive(clap::Args)]
pub struct Args {
    /// The script: a file that exports functions.
    script: PathBuf,
    #[command(flatten)]
    listen: Listen,
    /// The directory of the ledger and its keys [default: ./<script name>].
    #[arg(long)]
    dir: Option<PathBuf>,
    /// The title of a new archive [default: "<script name> files"].
    #[arg(long)]
    title: Option<String>,
    /// Let callers name themselves (?user=, Basic credentials); show console.debug.
    #[arg(short, long)]
    debug: bool,
    /// Accept an edited script or other limits for an existing directory: the new code becomes a transaction.
    #[arg(long)]
    upgrade: bool,
    /// Take signed calls only.
    #[arg(long, conflicts_with = "debug")]
    require_auth: bool,
    /// A host that oracles may fetch from; may be given several times.
    #[arg(long, value_name = "HOST[:PORT]")]
    allow_net: Vec<AllowedHost>,
    /// How long an oracle may take.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    oracle_timeout_ms: Option<u64>,
    /// Transactions between two checkpoints.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    checkpoint_every: Option<u64>,
    /// Megabytes of memory that the script may use [default: 256].
    #[arg(long, value_parser = clap::value_parser!(u32).range(4..=1024))]
    heap_mib: Option<u32>,
    /// Kilobytes of stack that nested calls may use [default: 512].
    #[arg(long, value_parser = clap::value_parser!(u32).range(64..=1536))]
    stack_kib: Option<u32>,
    /// WebAssembly instructions that one call may take [default: 30000000000, a few seconds].
    #[arg(long, value_parser = clap::value_parser!(u64).range(1_000_000..=1_000_000_000_000))]
    instructions: Option<u64>,
}

/// Where a node listens.
#[derive(clap::Args)]
pub struct Listen {
    /// The port; 0 takes a free one.
    #[arg(short, long, default_value_t = 5555)]
    port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The path of the RPC.
    #[arg(long, default_value = "/")]
    mount: String,
}

pub fn run(args: Args) -> Result<(), Failed> {
    let source =
        std::fs::read(&args.script).map_err(|error| Failed::new(format!("Failed to load {}: {error}", args.script.display())))?;
    let source = String::from_utf8(source)
        .map_err(|_| Failed::new(format!("Failed to load {}: it is no UTF-8 text", args.script.display())))?;
    let file_name = args.script.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let stem = Path::new(&file_name).file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(format!("./{stem}")));
    let dir = std::path::absolute(&dir).map_err(|error| Failed::new(format!("{}: {error}", dir.display())))?;
    let options = Options {
        dir,
        app: App::Script(Script {
            name: file_name,
            source,
            heap_bytes: args.heap_mib.map(|mib| mib << 20),
            stack_bytes: args.stack_kib.map(|kib| kib << 10),
            instructions: args.instructions,
        }),
        title: args.title.clone().unwrap_or_else(|| format!("{stem} files")),
        upgrade: args.upgrade,
        oracles: Oracles {
            allowed: args.allow_net.clone().into(),
            timeout: args.oracle_timeout_ms.map_or(limits::ORACLE_TIMEOUT, Duration::from_millis),
        },
        checkpoint_every: args.checkpoint_every,
    };
    let callers = Callers { debug: args.debug, require_auth: args.require_auth };
    runtime()?.block_on(async { Serving::start(args.listen, options, callers, console(args.debug)).await?.serve().await })
}

/// What a server runs in: its log goes to stderr.
pub fn runtime() -> Result<Runtime, Failed> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).compact().init();
    server::raise_file_limit();
    // The executor and the committer have threads of their own; threads that only wake each other cost more than they help.
    let network_threads = std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).clamp(1, 4));
    tokio::runtime::Builder::new_multi_thread().worker_threads(network_threads).enable_all().build().map_err(Failed::new)
}

/// A directory that is being served.
pub struct Serving {
    backend: Backend,
    listener: TcpListener,
    mount: String,
    interrupt: Signal,
    terminate: Signal,
}

impl Serving {
    /// Opens the directory, or makes it, and says where it is served. It is, from [`Serving::serve`] on.
    pub async fn start(listen: Listen, options: Options, callers: Callers, console: Console) -> Result<Serving, Failed> {
        let Listen { host, port, mount } = listen;
        // The port first: if it is taken, nothing is written.
        let at = format!("{host}:{port}");
        let listener = TcpListener::bind(&at).await.map_err(|error| Failed::new(format!("Cannot listen on {at}: {error}")))?;
        let port = listener.local_addr().map_err(Failed::new)?.port();
        let interrupt = signal(SignalKind::interrupt()).map_err(Failed::new)?;
        let terminate = signal(SignalKind::terminate()).map_err(Failed::new)?;

        let (dir, has_files) = (options.dir.clone(), matches!(options.app, App::Script(_)));
        let starting = tokio::task::spawn_blocking(move || Backend::start(options, callers, console));
        let (backend, started) = starting.await.map_err(Failed::new)?.map_err(Failed::new)?;
        if let Some(bytes) = started.torn_bytes {
            eprintln!(
                "Recovered: an unfinished transaction of {bytes} bytes at the end of the ledger was cut off; it was never acknowledged."
            );
        }
        if !started.fresh {
            eprintln!("Recovered {} entries of the call log; {} of them replayed.", started.entries, started.replayed);
        }
        let shown_host = if host == "127.0.0.1" { "localhost" } else { &host };
        let mount = mount.trim_matches('/').to_owned();
        let path = if mount.is_empty() { String::new() } else { format!("/{mount}") };
        // For `glassbox upgrade DIR`.
        let lock = dir.join("lock");
        if let Err(error) = std::fs::write(&lock, format!("{shown_host}:{port}{path}\n")) {
            eprintln!("WARNING: {}: {error}", lock.display());
        }
        let service = backend.service();
        println!("Serving at {shown_host}:{port}{path}");
        println!("Serving directory {}", dir.display());
        println!();
        if has_files {
            println!("Files:    {}", service.files_url());
        }
        println!("Call log: {}", service.log_url());
        let _ = std::io::stdout().flush();
        Ok(Serving { backend, listener, mount, interrupt, terminate })
    }

    /// What is being served.
    pub fn backend(&self) -> &Backend {
        &self.backend
    }

    /// Serves until it is told to end.
    pub async fn serve(self) -> Result<(), Failed> {
        let Serving { backend, listener, mount, mut interrupt, mut terminate } = self;
        let app = http::router(backend.clone(), &mount);
        let serving = tokio::spawn(listen::serve(listener, app));
        let honest = tokio::select! {
            honest = backend.ended() => honest,
            _ = interrupt.recv() => { backend.stop(); backend.ended().await }
            _ = terminate.recv() => { backend.stop(); backend.ended().await }
        };
        serving.abort();
        if honest { Ok(()) } else { Err(Failed::new("the node has stopped; nothing that was acknowledged is lost")) }
    }
}

/// The script's console goes to the server's log, with the number of the call.
pub fn console(debug: bool) -> Console {
    Box::new(move |number, level, line| {
        let level = match level {
            Level::Debug if !debug => return,
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let mut stderr = std::io::stderr().lock();
        for line in line.split('\n') {
            let _ = writeln!(stderr, "call {number} {level}: {line}");
        }
    })
}
