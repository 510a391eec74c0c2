//! `glassbox upgrade`: other code for a backend, and what that would change.

mod dry_run;

use crate::Failed;
use crate::address::{Address, Place};
use crate::past::Ledger;
use ledger::TxId;
use machine::past::Transactions;
use machine::{Entry, Input};
use server::Backend;
use server::node::{Options, Script};
use server::outside::Oracles;
use std::path::{Path, PathBuf};

/// Replace the script of a backend, or see what that would change.
///
/// The files stay; the memory starts anew, but for what `exports.migrate` takes over. With --dry-run exit code 0: every call
/// would have come to the same. 1: there are differences. 2: it could not be run.
#[derive(clap::Args)]
pub struct Args {
    /// The backend (HOST:PORT[/MOUNT], ws://… or http://…), or its directory while nobody serves it.
    #[arg(value_name = "URL|DIR")]
    place: String,
    /// The new script.
    #[arg(value_name = "NEW.js")]
    script: PathBuf,
    /// Change nothing: run the recorded calls with the new script and compare, then try the upgrade on a copy.
    #[arg(long)]
    dry_run: bool,
    /// Print one JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

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
    let txid = deploy(&place, &new)?;
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
fn deploy(place: &Place, new: &New) -> Result<TxId, Failed> {
    match place {
        Place::Dir(dir) => deploy_to(dir, new),
        Place::Url(address) => deploy_over(address, new),
    }
}

/// A directory that nobody serves: the node is started with the new script, and stopped.
fn deploy_to(dir: &Path, new: &New) -> Result<TxId, Failed> {
    if !dir.join("glassbox.json").is_file() {
        return Err(Failed::unable(format!("{} is not the directory of a backend", dir.display())));
    }
    let options = Options {
        dir: dir.to_owned(),
        code: Script {
            name: new.name.clone(),
            source: new.source.clone(),
            heap_bytes: None,
            stack_bytes: None,
            instructions: None,
        },
        title: String::new(),
        upgrade: true,
        oracles: Oracles::default(),
        checkpoint_every: None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failed::unable)?;
    let (backend, _) = Backend::start(options, Default::default(), Box::new(|_, _, _| {})).map_err(Failed::new)?;
    backend.stop();
    if !runtime.block_on(backend.ended()) {
        return Err(Failed::new("the node has stopped; nothing that was acknowledged is lost"));
    }
    match deployed(dir)? {
        Some((txid, source)) if source == new.source => Ok(txid),
        _ => Err(Failed::new(format!("{} does not run the new script", dir.display()))),
    }
}

/// A backend that is being served.
fn deploy_over(address: &Address, _: &New) -> Result<TxId, Failed> {
    Err(Failed::unable(format!("{address} cannot be upgraded over the network; stop it, and name its directory")))
}

/// The last deployment that came up: its transaction and its source.
fn deployed(dir: &Path) -> Result<Option<(TxId, String)>, Failed> {
    let storage = Ledger::open(&Place::Dir(dir.to_owned()))?.storage()?;
    let mut found = None;
    for located in Transactions::from(&storage, 1) {
        let transaction = located.map_err(Failed::new)?.transaction;
        if let Ok(Some(Entry { input: Input::Deploy { code, .. }, result: Ok(_) })) = Entry::read(transaction.public()) {
            found = Some((transaction.txid(), code.source));
        }
    }
    Ok(found)
}
