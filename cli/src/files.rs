//! not yet
use crate::Failed;
/// x
#[derive(clap::Args)]
pub struct Args { url: String }
pub fn run(args: Args) -> Result<(), Failed> { Err(Failed::new(args.url)) }
