//! `glassbox upgrade`: other code for a backend, and what that would change.

mod dry_run;

use crate::Failed;
use crate::address::{Address, Place};
use crate::client::{Client, Who};
use crate::key::CallerKey;
use crate::past::Ledger;
use ledger::TxId;
use machine::past::Transactions;
use machine::{Entry, Input};
use server::node::{App, Options, Script};
use server::outside::Oracles;
use server::{Backend, StartError, rpc};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Replace the script of a backend, or see what that would change.
///
/// The files stay; the memory starts anew, but for what `exports.migrate` takes over. With --dry-run exit code 0: every call
/// would have come to the same. 1: there are differences. 2: it could not be run.
#[derive(clap::Args)]
pub struct Args {
    /// The backend (HOST:PORT[/MOUNT], ws://… or http://…), or its directory.
    #[arg(value_name = "URL|DIR")]
    place: String,
    /// The new script.
    #[arg(value_name = "NEW.js")]
    script: PathBuf,
    /// The operator's key, for a backend that is being served elsewhere: its DIR/keys/operator.
    #[arg(long, value_name = "FILE")]
    operator: Option<PathBuf>,
    /// Change nothing: run the recorded calls with the new script and compare, then try the upgrade on a copy.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// How often an upgrade over the network is tried, while the backend's head moves on.
const ATTEMPTS: u32 = 20;

/// A script as it was read.
struct New {
    name: String,
    source: String,
}

pub fn run(args: Args) -> Result<(), Failed> {
    let new = read(&args.script)?;
    let place = Place::parse(&args.place)?;
    if args.dry_run {
        return dry_run::run(&Ledger::open(&place)?, new, args.json);
    }
    if let Place::Dir(dir) = &place
        && deployed(dir)?.is_some_and(|(_, source)| source == new.source)
    {
        return say(args.json, None, &format!("{} runs this script already.", dir.display()));
    }
    let txid = deploy(&place, args.operator.as_deref(), &new)?;
    say(args.json, Some(txid), &format!("Upgraded to {} by transaction {txid}.", new.name))
}

fn say(json: bool, txid: Option<TxId>, text: &str) -> Result<(), Failed> {
    match json {
        true => println!("{}", serde_json::json!({ "transaction": txid.map(|txid| txid.to_string()) })),
        false => println!("{text}"),
    }
    Ok(())
}

fn read(script: &Path) -> Result<New, Failed> {
    let failed = |why: &dyn std::fmt::Display| Failed::unable(format!("Failed to load {}: {why}", script.display()));
    let source = std::fs::read(script).map_err(|error| failed(&error))?;
    let source = String::from_utf8(source).map_err(|_| failed(&"it is no UTF-8 text"))?;
    Ok(New { name: script.file_name().unwrap_or_default().to_string_lossy().into_owned(), source })
}

/// Deploys the new script, and gives its transaction.
fn deploy(place: &Place, operator: Option<&Path>, new: &New) -> Result<TxId, Failed> {
    match (place, operator) {
        (Place::Dir(dir), _) => deploy_to(dir, new),
        (Place::Url(address), Some(operator)) => deploy_over(address, operator, new),
        (Place::Url(_), None) => Err(Failed::unable(
            "to upgrade over the network, name the operator's key: --operator DIR/keys/operator, of the backend's directory",
        )),
    }
}

/// A directory that nobody serves: the node is started with the new script, and stopped.
fn deploy_to(dir: &Path, new: &New) -> Result<TxId, Failed> {
    if !dir.join("glassbox.json").is_file() {
        return Err(Failed::unable(format!("{} is not the directory of a backend", dir.display())));
    }
    let options = Options {
        dir: dir.to_owned(),
        app: App::Script(Script {
            name: new.name.clone(),
            source: new.source.clone(),
            heap_bytes: None,
            stack_bytes: None,
            instructions: None,
        }),
        title: String::new(),
        upgrade: true,
        oracles: Oracles::default(),
        checkpoint_every: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failed::unable)?;
    let (backend, _) = match Backend::start(options, Default::default(), Box::new(|_, _, _| {})) {
        // Whoever serves it has written into the lock where.
        Err(StartError::Locked(_)) => {
            let address = std::fs::read_to_string(dir.join("lock")).unwrap_or_default();
            let unknown = || Failed::unable(format!("{} is in use, and it does not say where it is served", dir.display()));
            let address = Address::parse(address.trim()).map_err(|_| unknown())?;
            return deploy_over(&address, &dir.join("keys").join("operator"), new);
        }
        started => started.map_err(Failed::new)?,
    };
    backend.stop();
    if !runtime.block_on(backend.ended()) {
        return Err(Failed::new("the node has stopped; nothing that was acknowledged is lost"));
    }
    match deployed(dir)? {
        Some((txid, source)) if source == new.source => Ok(txid),
        _ => Err(Failed::new(format!("{} does not run the new script", dir.display()))),
    }
}

/// A backend that is being served, with the operator's key.
fn deploy_over(address: &Address, operator: &Path, new: &New) -> Result<TxId, Failed> {
    let key = CallerKey::from_seed_file(operator)?;
    let key = Arc::new(key);
    let args = serde_json::json!([{ "name": new.name, "source": new.source }]).to_string();
    let mut attempts = ATTEMPTS;
    loop {
        let mut client = Client::connect_with(address, &Who::default(), Some(key.clone()))?;
        let called = client.call_for(rpc::UPGRADE, &args, false)?;
        attempts -= 1;
        match called.result {
            // Another signature came in between.
            Err(error) if error.name == "StaleCallError" && attempts > 0 => {}
            Err(error) => return Err(Failed::new(error)),
            Ok(_) => {
                let txid = called.transaction.and_then(|txid| txid.parse().ok());
                return txid.ok_or_else(|| Failed::new("the backend does not say in which transaction it took the script"));
            }
        }
    }
}

/// The last deployment that came up: its transaction and its source.
fn deployed(dir: &Path) -> Result<Option<(TxId, String)>, Failed> {
    let storage = Ledger::open(&Place::Dir(dir.to_owned()))?.storage()?;
    let mut found = None;
    for located in Transactions::from(&storage, 1) {
        let transaction = located.map_err(Failed::new)?.transaction;
        if let Ok(Some(Entry { input: Input::Deploy { code, .. }, result: Ok(_), .. })) = Entry::read(transaction.public()) {
            found = Some((transaction.txid(), code.source));
        }
    }
    Ok(found)
}
