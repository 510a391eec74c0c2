//! `glassbox call`: one call.

use crate::Failed;
use crate::address::Address;
use crate::client::Client;
use serde_json::value::RawValue;

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
    /// Call as this user (the backend must run with --debug).
    #[arg(short, long)]
    user: Option<String>,
}

pub fn run(args: Args) -> Result<(), Failed> {
    let address = Address::parse(&args.url)?;
    for argument in &args.json {
        serde_json::from_str::<&RawValue>(argument).map_err(|error| {
            Failed::unable(format!("the argument {argument} is no JSON: {error} (text needs quotes: '\"text\"')"))
        })?;
    }
    let mut client = Client::connect(&address, args.user.as_deref())?;
    warn_about_user(&client, args.user.as_deref());
    match client.call(&args.method, &format!("[{}]", args.json.join(",")))? {
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
