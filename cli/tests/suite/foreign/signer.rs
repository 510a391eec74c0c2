//! Members' requests, signed by `ccf_cose_sign1`.

use super::site::{Pair, Site};
use super::tools::script;
use crate::bundles::client::Answer;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Seconds before now, as the command line takes a time.
pub fn ago(seconds: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    let then = now.as_secs() as i64 - seconds;
    let (days, rest) = (then.div_euclid(86_400), then.rem_euclid(86_400));
    // The date of a day since 1970, by eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let (day, month) = (day_of_year - (153 * month + 2) / 5 + 1, if month < 10 { month + 3 } else { month - 9 });
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}+00:00", rest / 3600, rest / 60 % 60, rest % 60)
}

pub fn now() -> String {
    ago(0)
}

/// The tool, running.
pub struct Signer {
    child: Child,
    pipes: RefCell<(ChildStdin, BufReader<ChildStdout>)>,
    content: PathBuf,
}

/// A request that is to be signed.
pub struct Message<'a> {
    pub kind: &'a str,
    pub proposal: Option<&'a str>,
    pub created_at: String,
    pub content: Vec<u8>,
}

impl<'a> Message<'a> {
    pub fn new(kind: &'a str, content: impl Into<Vec<u8>>) -> Message<'a> {
        Message { kind, proposal: None, created_at: now(), content: content.into() }
    }

    pub fn proposal(value: &Value) -> Message<'a> {
        Message::new("proposal", value.to_string())
    }

    /// A ballot: the body of the function `vote`.
    pub fn ballot(id: &'a str, body: &str) -> Message<'a> {
        let ballot = format!("export function vote(proposal, proposerId) {{ {body} }}");
        Message::new("ballot", json!({ "ballot": ballot }).to_string()).about(id)
    }

    pub fn about(self, id: &'a str) -> Message<'a> {
        Message { proposal: Some(id), ..self }
    }

    pub fn created_at(self, created_at: String) -> Message<'a> {
        Message { created_at, ..self }
    }

    /// The tool's arguments, without the key.
    pub fn arguments(&self, content: &std::path::Path, cert: &std::path::Path) -> Vec<String> {
        let path = |path: &std::path::Path| path.to_string_lossy().into_owned();
        let mut args = vec!["--ccf-gov-msg-type".to_owned(), self.kind.to_owned()];
        args.extend(["--ccf-gov-msg-created_at".to_owned(), self.created_at.clone()]);
        if let Some(id) = self.proposal {
            args.extend(["--ccf-gov-msg-proposal_id".to_owned(), id.to_owned()]);
        }
        std::fs::write(content, &self.content).expect("it is written");
        args.extend(["--content".to_owned(), path(content), "--signing-cert".to_owned(), path(cert)]);
        args
    }
}

impl Signer {
    pub fn new(site: &Site) -> Signer {
        let mut child = script("sign.py").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python starts");
        let pipes = (child.stdin.take().expect("piped"), BufReader::new(child.stdout.take().expect("piped")));
        Signer { child, pipes: RefCell::new(pipes), content: site.file("content") }
    }

    pub fn sign(&self, who: &Pair, message: &Message) -> Vec<u8> {
        let mut args = message.arguments(&self.content, &who.cert);
        args.extend(["--signing-key".to_owned(), who.key.to_string_lossy().into_owned()]);
        let mut pipes = self.pipes.borrow_mut();
        writeln!(pipes.0, "{}", json!(args)).expect("it listens");
        let mut line = String::new();
        pipes.1.read_line(&mut line).expect("it answers");
        STANDARD.decode(line.trim()).expect("base64")
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proposal. It has a number, of which nobody takes notice: the tool signs without chance, so what is the same, and of the same
/// second, is a replay.
pub fn proposal(actions: Value) -> Value {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    json!({ "actions": actions, "number": NUMBER.fetch_add(1, Relaxed) })
}

/// Governance by signed requests.
pub struct Parliament {
    pub site: Site,
    pub signer: Signer,
    pub members: Vec<Pair>,
}

/// Both versions of the interface.
#[derive(Clone, Copy, PartialEq)]
pub enum Api {
    Versioned,
    Classic,
}

impl Parliament {
    /// The default constitution, with three members who are active.
    pub fn of_three(bundle: &std::path::Path) -> Parliament {
        let site = Site::serve(bundle, &["--initial-member-count", "3", "--constitution", "default"]);
        let members = (0..3).map(|number| site.person(&format!("member{number}"))).collect();
        Parliament { signer: Signer::new(&site), site, members }
    }

    /// Sends what is signed already.
    pub fn send(&self, target: &str, body: &[u8]) -> Answer {
        self.site.ask(target, None, &["content-type: application/cose"], Some(body))
    }

    pub fn signed(&self, who: &Pair, target: &str, message: &Message) -> Answer {
        self.send(target, &self.signer.sign(who, message))
    }

    pub fn propose(&self, api: Api, who: &Pair, value: &Value) -> Answer {
        self.signed(who, &propose_at(api), &Message::proposal(value))
    }

    /// A proposal that is open now: its id.
    pub fn open(&self, api: Api, who: &Pair, value: &Value) -> String {
        let answer = self.propose(api, who, value).ok().json();
        let (id, state) = if api == Api::Classic { ("proposal_id", "state") } else { ("proposalId", "proposalState") };
        assert_eq!(answer[state], "Open", "{answer}");
        answer[id].as_str().expect("an id").to_owned()
    }

    /// A ballot: the body of the function.
    pub fn vote(&self, api: Api, who: &Pair, id: &str, body: &str) -> Answer {
        self.signed(who, &ballot_at(api, id, &who.id()), &Message::ballot(id, body))
    }

    pub fn withdraw(&self, api: Api, who: &Pair, id: &str) -> Answer {
        let target = match api {
            Api::Versioned => versioned(&format!("members/proposals/{id}:withdraw")),
            Api::Classic => format!("/gov/proposals/{id}/withdraw"),
        };
        self.signed(who, &target, &Message::new("withdrawal", "").about(id))
    }

    /// Proposed by the first, voted for by the others until it is accepted.
    pub fn decide(&self, actions: Value) -> Value {
        let id = self.open(Api::Versioned, &self.members[0], &proposal(actions));
        let mut state = Value::Null;
        for member in &self.members {
            state = self.vote(Api::Versioned, member, &id, "return true").ok().json();
            if state["proposalState"] != "Open" {
                break;
            }
        }
        assert_eq!(state["proposalState"], "Accepted", "{state}");
        state
    }

    pub fn look(&self, path: &str) -> Answer {
        self.site.get(&versioned(path))
    }
}

/// A path of the versioned interface.
pub fn versioned(path: &str) -> String {
    format!("/gov/{path}?api-version=2024-07-01")
}

pub fn propose_at(api: Api) -> String {
    match api {
        Api::Versioned => versioned("members/proposals:create"),
        Api::Classic => "/gov/proposals".into(),
    }
}

pub fn ballot_at(api: Api, id: &str, member: &str) -> String {
    match api {
        Api::Versioned => versioned(&format!("members/proposals/{id}/ballots/{member}:submit")),
        Api::Classic => format!("/gov/proposals/{id}/ballots"),
    }
}
