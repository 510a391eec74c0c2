//! `glassbox call`: one call.

use crate::address::Address;
use crate::client::{Client, Who};
use crate::{Failed, receipt};
use serde_json::value::RawValue;
use std::path::PathBuf;

/// Call one method of a backend and print its JSON result.
#[derive(clap::Args)]
pub struct Args {
    /// The backend: HOST:PORT[/MOUNT], ws://… or http://…
    url: String,
    /// The method.
    method: String,
    /// The arguments, each as JSON.
    #[arg(allow_negative_numbers = true)]
    json: Vec<String>,
    #[command(flatten)]
    who: Who,
    /// Wait for the call's receipt, check it, and write it to this file.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
}

pub fn run(args: Args) -> Result<(), Failed> {
    let address = Address::parse(&args.url)?;
    for argument in &args.json {
        serde_json::from_str::<&RawValue>(argument).map_err(|error| {
            Failed::unable(format!("the argument {argument} is no JSON: {error} (text needs quotes: '\"text\"')"))
        })?;
    }
    let mut client = Client::connect(&address, &args.who)?;
    warn_about_user(&client, args.who.user.as_deref());
    let called = client.call_for(&args.method, &format!("[{}]", args.json.join(",")), args.receipt.is_some())?;
    if let (Some(file), Some(saved)) = (&args.receipt, &called.receipt) {
        receipt::write(file, saved)?;
    }
    match called.result {
        Ok(Some(json)) => println!("{json}"),
        Ok(None) => {}
        Err(error) => return Err(Failed::new(error)),
    }
    Ok(())
}

/// A name that the backend does not take must not go unnoticed.
pub fn warn_about_user(client: &Client, user: Option<&str>) {
    if let Some(user) = user
        && !client.info.debug
    {
        eprintln!("WARNING: the backend does not run with --debug: you are anonymous, not {user}.");
    }
}
