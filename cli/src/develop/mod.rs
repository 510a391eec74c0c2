//! `glassbox sandbox`: serve a bundle for development, with members, users and a service that is open.
//!
//! ```text
//! WORKSPACE/sandbox_common/   service_cert.pem, memberN_{cert,privk}.pem, userN_{cert,privk}.pem; `out`, the log
//! WORKSPACE/sandbox_0/        the node: ledger, keys, state
//! ```
//!
//! Nothing is done here that a member could not do: users, limits, the app and the opening are proposals, signed with a member's
//! key, and stand in the ledger.

mod govern;
mod people;
mod watch;

use crate::Failed;
use crate::govern::bundle::bundle_of;
use govern::Governance;
use machine::bundle::archive::Ledger;
use people::Person;
use server::bundle::{Front, journal::Journal};
use server::commit::Callers;
use server::node::{App, Genesis, Options};
use server::outside::Oracles;
use server::{Backend, https};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

/// Serve a bundle for development.
#[derive(clap::Args)]
pub struct Args {
    /// The folder of the bundle: app.json and src/.
    #[arg(long, value_name = "DIR")]
    js_app_bundle: Option<PathBuf>,
    /// Where keys and the node's directory are kept.
    #[arg(long, default_value = "./workspace")]
    workspace: PathBuf,
    /// Where to listen: HOST:PORT, `local://` before it is allowed. Port 0 takes a free one.
    #[arg(short, long, default_value = "127.0.0.1:8000")]
    node: String,
    /// Members of a new service.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    initial_member_count: u32,
    /// Users of a new service.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=100))]
    initial_user_count: u32,
    /// The constitution of a new service: `sandbox` accepts every proposal, `default` counts votes; or a file of JavaScript.
    #[arg(long, default_value = "sandbox")]
    constitution: String,
    /// Plain HTTP: no client certificates.
    #[arg(long)]
    http: bool,
    /// Requests and responses are readable in the ledger, without its secret.
    #[arg(long)]
    public_requests: bool,
    /// Deploy again whenever a file of the bundle is saved.
    #[arg(long, requires = "js_app_bundle")]
    watch: bool,
    /// Begin anew: what the workspace holds of an earlier service is deleted.
    #[arg(long)]
    fresh: bool,
    /// Transactions between two checkpoints.
    #[arg(long, hide = true, value_parser = clap::value_parser!(u64).range(2..=10_000))]
    checkpoint_every: Option<u64>,
}

pub fn run(args: Args) -> Result<(), Failed> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).compact().init();
    server::raise_file_limit();
    // Network threads run reads themselves, so there are as many as cores, and they need a realm's stack.
    let network_threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().clamp(1, 4));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(network_threads)
        .thread_stack_size(sandbox::THREAD_STACK_BYTES)
        .enable_all()
        .build()
        .map_err(Failed::new)?;
    // The main thread only waits: what is awaited on it would have its small stack.
    let served = runtime.spawn(serve(args));
    runtime.block_on(served).map_err(Failed::new)?
}

async fn serve(args: Args) -> Result<(), Failed> {
    let at = args.node.strip_prefix("local://").unwrap_or(&args.node).to_owned();
    let listener = TcpListener::bind(&at).await.map_err(|error| Failed::new(format!("Cannot listen on {at}: {error}")))?;
    let address = listener.local_addr().map_err(Failed::new)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Failed::new)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(Failed::new)?;

    let bundle = args.js_app_bundle.as_deref().map(bundle_of).transpose()?;
    let workspace = std::path::absolute(&args.workspace).map_err(Failed::new)?;
    let (common, dir) = (workspace.join("sandbox_common"), workspace.join("sandbox_0"));
    if args.fresh {
        for old in [&common, &dir] {
            match std::fs::remove_dir_all(old) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(Failed::new(format!("deleting {}: {error}", old.display())));
                }
                _ => {}
            }
        }
    }
    let fresh = !dir.exists();
    let members = people::people(&common, "member", args.initial_member_count, fresh)?;
    let users = people::people(&common, "user", args.initial_user_count, fresh)?;
    let options = Options {
        dir: dir.clone(),
        app: App::Bundle(Box::new(genesis(&members, &args.constitution)?)),
        title: "Glassbox sandbox".into(),
        upgrade: false,
        oracles: Oracles::default(),
        checkpoint_every: args.checkpoint_every,
    };
    let journal = Journal::new(Box::new(log(&common)?)).map_err(Failed::new)?;
    let lines = journal.clone();
    let console: machine::Console = Box::new(move |_, level, line| lines.console(level, line));
    let starting = tokio::task::spawn_blocking(move || Backend::start(options, Callers::default(), console));
    let (backend, started) = starting.await.map_err(Failed::new)?.map_err(Failed::new)?;
    if let Some(bytes) = started.torn_bytes {
        eprintln!("Recovered: an unfinished transaction of {bytes} bytes was cut off; it was never acknowledged.");
    }
    if !started.fresh {
        eprintln!("Recovered {} requests; {} of them replayed.", started.entries, started.replayed);
    }
    if args.public_requests {
        backend.publish_requests();
    }
    people::write(&common.join("service_cert.pem"), backend.certificate().pem(), 0o644)?;

    let waits = backend.clone();
    let wait = move |seqno| waits.wait_until_durable(seqno);
    let ledger = Ledger::live(backend.ledger_dir(), backend.keys().secret().clone(), wait);
    let ledger = Arc::new(ledger.map_err(Failed::new)?);
    backend.archive(ledger.clone());
    let scheme = if args.http { "http" } else { "https" };
    let front = Front::new(backend.clone(), ledger, journal, address.to_string());

    let governance = Governance::new(front.clone(), members);
    if let Err(failed) = governance.set_up(&backend, &users, bundle.as_ref()).await {
        backend.stop();
        backend.ended().await;
        return Err(failed);
    }

    let tls = if args.http {
        None
    } else {
        let keys = backend.keys();
        let config = https::tls_config(keys.node_certificate().pem(), &keys.node_key_pem());
        Some(Arc::new(config.map_err(Failed::new)?))
    };
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let serving = tokio::spawn(https::serve(listener, tls, Arc::new(front), https::Limits::default(), stopped));
    welcome(&format!("{scheme}://{address}"), &common, args.js_app_bundle.as_deref());
    if args.watch
        && let Some(folder) = args.js_app_bundle.clone()
    {
        tokio::spawn(watch::watch(folder, governance));
    }

    let honest = tokio::select! {
        honest = backend.ended() => honest,
        _ = interrupt.recv() => { let _ = stop.send(()); let _ = serving.await; backend.stop(); backend.ended().await }
        _ = terminate.recv() => { let _ = stop.send(()); let _ = serving.await; backend.stop(); backend.ended().await }
    };
    if honest { Ok(()) } else { Err(Failed::new("the node has stopped; nothing that was acknowledged is lost")) }
}

/// The log: the node's folder is made by the node itself, so it lies beside the keys.
fn log(common: &Path) -> Result<std::fs::File, Failed> {
    let path = common.join("out");
    let opened = std::fs::OpenOptions::new().create(true).append(true).open(&path);
    opened.map_err(|error| Failed::new(format!("{}: {error}", path.display())))
}

/// What the first transaction says: the members, and their constitution.
fn genesis(members: &[Person], constitution: &str) -> Result<Genesis, Failed> {
    use machine::bundle::{gov::constitution as own, tables};
    let text = match constitution {
        "sandbox" => own::sandbox(),
        "default" => own::default(),
        file => std::fs::read_to_string(file).map_err(|error| Failed::new(format!("Failed to load {file}: {error}")))?,
    };
    let text = serde_json::to_vec(&text).expect("a string can be written");
    let mut rows = vec![
        (tables::CONSTITUTION.to_owned(), tables::SINGLETON.to_vec(), text),
        (tables::DEVELOPMENT.to_owned(), tables::SINGLETON.to_vec(), b"true".to_vec()),
    ];
    for member in members {
        let id = member.id()?.into_bytes();
        rows.push((tables::MEMBER_CERTS.to_owned(), id.clone(), member.cert.clone().into_bytes()));
        rows.push((tables::MEMBER_INFO.to_owned(), id, br#"{"status":"Accepted"}"#.to_vec()));
    }
    Ok(Genesis { rows })
}

fn welcome(url: &str, common: &Path, bundle: Option<&Path>) {
    println!("Started a network with one node:");
    println!("  Node [0] = {url}");
    match bundle {
        Some(bundle) => println!("The application of {} is deployed. You can now issue requests to it.", bundle.display()),
        None => println!("No application is deployed. Deploy one with: glassbox propose --js-app DIR"),
    }
    println!("Keys and certificates are in the common folder: {}", common.display());
    println!("Press Ctrl+C to stop the network");
    let _ = std::io::stdout().flush();
}
