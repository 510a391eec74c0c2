//! The `glassbox` command.
//!
//! Exit codes: 0 done, 1 it failed or (verify) does not match, 2 it could not be tried: wrong arguments, nobody there.

mod address;
mod call;
mod client;
mod develop;
mod download;
mod exec;
mod files;
mod govern;
mod key;
mod log;
mod past;
mod receipt;
mod repl;
mod trace;
mod upgrade;
mod vat;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// JavaScript backends that nobody has to trust.
#[derive(Parser)]
#[command(name = "glassbox", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a backend script.
    Exec(exec::Args),
    /// Serve a bundle for development: endpoints over tables, under governance.
    Sandbox(develop::Args),
    /// Run vats: objects that send each other messages.
    Vat(Box<vat::Args>),
    /// Propose a change to a bundle's service: its app, users, members, limits, or what a file of actions says.
    Propose(govern::ProposeArgs),
    /// Vote on a proposal.
    Vote(govern::VoteArgs),
    /// Withdraw a proposal of your own.
    Withdraw(govern::WithdrawArgs),
    /// Become an active member.
    Ack(govern::AckArgs),
    /// Open a REPL session to a backend.
    Repl(repl::Args),
    /// Call one method of a backend and print its JSON result.
    Call(call::Args),
    /// Print the call log of a backend.
    Log(log::Args),
    /// Read the files archive of a backend.
    Files(files::Args),
    /// Audit a backend: run its ledger again and compare.
    Verify(verify::Args),
    /// Show what one call did, step by step.
    Trace(trace::Args),
    /// Replace the script of a backend, or see what that would change.
    Upgrade(upgrade::Args),
    /// Check the receipts of calls.
    Receipt(receipt::Args),
    /// Keep the keys that sign your calls.
    Key(key::Args),
}

/// Why a command did not do what it was asked for.
#[derive(Debug)]
struct Failed {
    code: u8,
    message: String,
}

impl Failed {
    /// It was tried and failed.
    fn new(message: impl ToString) -> Failed {
        Failed { code: 1, message: message.to_string() }
    }

    /// It could not be tried.
    fn unable(message: impl ToString) -> Failed {
        Failed { code: 2, message: message.to_string() }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.command {
        Command::Exec(args) => exec::run(args),
        Command::Sandbox(args) => develop::run(args),
        Command::Vat(args) => vat::run(*args),
        Command::Propose(args) => govern::propose(args),
        Command::Vote(args) => govern::vote(args),
        Command::Withdraw(args) => govern::withdraw(args),
        Command::Ack(args) => govern::ack(args),
        Command::Repl(args) => repl::run(args),
        Command::Call(args) => call::run(args),
        Command::Log(args) => log::run(args),
        Command::Files(args) => files::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Trace(args) => trace::run(args),
        Command::Upgrade(args) => upgrade::run(args),
        Command::Receipt(args) => receipt::run(args),
        Command::Key(args) => key::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failed { code, message }) => {
            if !message.is_empty() {
                eprintln!("ERROR: {message}");
            }
            ExitCode::from(code)
        }
    }
}

/// Runs work that needs a realm on a thread with enough stack.
fn with_stack<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failed> {
    let thread = std::thread::Builder::new().stack_size(sandbox::THREAD_STACK_BYTES);
    let running = thread.spawn(work).map_err(Failed::unable)?;
    running.join().map_err(|_| Failed::unable("an internal error; the lines above say where"))
}
