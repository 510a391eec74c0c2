//! Governance from the command line: proposals, ballots, withdrawals and acks, signed with a member's key.
//!
//! ```text
//! args ──▶ cose: sign ──▶ service: POST over TLS ──▶ a line for the caller, or the service's refusal in words
//! ```

pub mod bundle;
pub mod cose;
mod service;

use crate::Failed;
use clap::builder::PossibleValuesParser;
use serde_json::{Value, json};
pub use service::Service;
use std::path::PathBuf;

/// What a ballot says that somebody writes as a word.
const YES: &str = "export function vote(proposal, proposerId) { return true; }";
const NO: &str = "export function vote(proposal, proposerId) { return false; }";

/// Propose something to the members of a service.
#[derive(clap::Args)]
#[command(override_usage = "glassbox propose <FILE> [OPTIONS]\n       glassbox propose --js-app <DIR> [OPTIONS]")]
pub struct ProposeArgs {
    /// The proposal: JSON, {"actions":[{"name":…,"args":…}]}.
    #[arg(value_name = "FILE", required_unless_present = "js_app", conflicts_with = "js_app")]
    file: Option<PathBuf>,
    /// Propose the app in this folder: app.json and src/.
    #[arg(long, value_name = "DIR")]
    js_app: Option<PathBuf>,
    #[command(flatten)]
    service: Service,
}

/// Vote on a proposal.
#[derive(clap::Args)]
pub struct VoteArgs {
    /// The proposal.
    #[arg(value_name = "ID")]
    proposal: String,
    /// For it or against it.
    #[arg(value_parser = PossibleValuesParser::new(["yes", "no"]), required_unless_present = "ballot", conflicts_with = "ballot")]
    vote: Option<String>,
    /// Vote with this program: a module that exports vote(proposal, proposerId).
    #[arg(long, value_name = "FILE")]
    ballot: Option<PathBuf>,
    #[command(flatten)]
    service: Service,
}

/// Take a proposal of yours back.
#[derive(clap::Args)]
pub struct WithdrawArgs {
    /// The proposal.
    #[arg(value_name = "ID")]
    proposal: String,
    #[command(flatten)]
    service: Service,
}

/// Acknowledge the state of a service, and become an active member.
#[derive(clap::Args)]
pub struct AckArgs {
    #[command(flatten)]
    service: Service,
}

/// `glassbox propose`
pub fn propose(args: ProposeArgs) -> Result<(), Failed> {
    let proposal = match (&args.js_app, &args.file) {
        (Some(dir), _) => {
            let bundle = bundle::bundle_of(dir)?;
            json!({ "actions": [{ "name": "set_js_app", "args": { "bundle": bundle } }] }).to_string().into_bytes()
        }
        (None, Some(file)) => service::read(file)?,
        (None, None) => return Err(Failed::unable("what is to be proposed? Name a file, or an app with --js-app")),
    };
    if proposal.len() > bundle::MAX_PROPOSAL_BYTES {
        return Err(Failed::unable(format!(
            "the proposal has {} bytes; a service takes at most {}",
            proposal.len(),
            bundle::MAX_PROPOSAL_BYTES
        )));
    }
    let made = args.service.connect()?.send("members/proposals:create", "proposal", None, &proposal)?;
    show(&made)
}

/// `glassbox vote`
pub fn vote(args: VoteArgs) -> Result<(), Failed> {
    let ballot = match (&args.ballot, args.vote.as_deref()) {
        (Some(file), _) => {
            let bytes = service::read(file)?;
            String::from_utf8(bytes).map_err(|_| Failed::unable(format!("{} is not UTF-8", file.display())))?
        }
        (None, Some("no")) => NO.to_owned(),
        (None, _) => YES.to_owned(),
    };
    let id = checked(&args.proposal)?;
    let service = args.service.connect()?;
    let path = format!("members/proposals/{id}/ballots/{}:submit", service.member_id());
    show(&service.send(&path, "ballot", Some(id), json!({ "ballot": ballot }).to_string().as_bytes())?)
}

/// `glassbox withdraw`
pub fn withdraw(args: WithdrawArgs) -> Result<(), Failed> {
    let id = checked(&args.proposal)?;
    let service = args.service.connect()?;
    let withdrawn = service.send(&format!("members/proposals/{id}:withdraw"), "withdrawal", Some(id), b"")?;
    if withdrawn.is_null() {
        return Err(Failed::new(format!("the service knows no proposal {id}")));
    }
    show(&withdrawn)
}

/// `glassbox ack`
pub fn ack(args: AckArgs) -> Result<(), Failed> {
    let service = args.service.connect()?;
    let path = format!("members/state-digests/{}", service.member_id());
    let digest = service.send(&format!("{path}:update"), "state_digest", None, b"")?;
    let digest = digest["stateDigest"].as_str().ok_or_else(|| Failed::unable("the service names no state"))?;
    let payload = json!({ "stateDigest": digest }).to_string();
    service.send(&format!("{path}:ack"), "ack", None, payload.as_bytes())?;
    println!("{} Active", service.member_id());
    Ok(())
}

/// An id goes into a path.
fn checked(id: &str) -> Result<&str, Failed> {
    match id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(id),
        false => Err(Failed::unable(format!("{id} is no proposal's id: that has 64 hexadecimal digits"))),
    }
}

/// One line for people and scripts: id and state. What came of ballots that threw goes to stderr.
fn show(proposal: &Value) -> Result<(), Failed> {
    let text = |name: &str| proposal[name].as_str().ok_or_else(|| Failed::unable("the service does not say what came of it"));
    println!("{} {}", text("proposalId")?, text("proposalState")?);
    for (member, failure) in proposal["voteFailures"].as_object().into_iter().flatten() {
        eprintln!("the ballot of {member} was not counted: {}", failure["reason"].as_str().unwrap_or_default());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    enum Cli {
        Propose(ProposeArgs),
        Vote(VoteArgs),
        Withdraw(WithdrawArgs),
        Ack(AckArgs),
    }

    #[test]
    fn arguments() {
        let id = "ab".repeat(32);
        for good in [
            vec!["propose", "p.json"],
            vec!["propose", "--js-app", "app", "--member", "member1"],
            vec!["vote", &id, "yes"],
            vec!["vote", &id, "--ballot", "b.js", "--url", "https://h:1"],
            vec!["withdraw", &id],
            vec!["ack", "--workspace", "w", "--cacert", "c.pem"],
        ] {
            assert!(Cli::try_parse_from(std::iter::once("glassbox").chain(good.clone())).is_ok(), "{good:?}");
        }
        for bad in [
            vec!["propose"],
            vec!["propose", "p.json", "--js-app", "app"],
            vec!["vote", &id],
            vec!["vote", &id, "perhaps"],
            vec!["vote", &id, "no", "--ballot", "b.js"],
        ] {
            assert!(Cli::try_parse_from(std::iter::once("glassbox").chain(bad.clone())).is_err(), "{bad:?}");
        }
        assert!(checked(&id).is_ok());
        assert!(checked("../..").is_err());
    }
}
