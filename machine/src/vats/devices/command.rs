//! `devices.command`: calls from outside, each answered once, and announcements to the operator's console.
//!
//! ```text
//! call command(obj) ──▶ handler.inbound(count, obj)          vat ── sendResponse(count, isReject, obj) ──▶ what comes of the call
//!                                                            vat ── sendBroadcast(obj) ──▶ a line of the console
//! ```
//!
//! `count` is the call's number in the log.

use super::{Arguments, CapData, Device, Handler, Kept, Outlet, Value, insist_root, kept_state, no_method, value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many calls may wait; and how many announcements may be made in one transaction.
pub const MAX_WAITING: usize = 10_000;

const METHODS: [&str; 3] = ["registerInboundHandler", "sendBroadcast", "sendResponse"];

/// What has come of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    /// The call's number in the log.
    pub number: u64,
    /// The digest of its input, as it was given.
    pub input: String,
    /// Whether it is a refusal.
    pub is_reject: bool,
    /// JSON; `None` is undefined.
    pub body: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    handler: Option<Handler>,
    /// Calls that wait: the digests of their inputs, by number.
    open: BTreeMap<u64, String>,
    // What is taken at the end of each transaction.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    responses: Vec<Response>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    broadcasts: Vec<String>,
}

/// The device.
#[derive(Debug, Default)]
pub struct Command {
    kept: Kept<State>,
}

impl Command {
    /// The device with the state of `save()`.
    pub fn load(saved: &str) -> Result<Self, String> {
        Ok(Self { kept: Kept::load("command", saved)? })
    }

    /// Whether a vat takes calls.
    pub fn is_open(&self) -> bool {
        self.kept.state.handler.is_some()
    }

    /// A call, with its argument as JSON. Its number and the digest of its input will be those of its response.
    pub fn inbound(&mut self, number: u64, input: String, json: &str, outlet: &mut dyn Outlet) -> Result<(), String> {
        let Some(handler) = self.kept.state.handler.clone() else {
            return Err("inboundCallback before registerInboundHandler".into());
        };
        let asked = value::from_json(json)?;
        if self.kept.state.open.len() >= MAX_WAITING {
            return Err(format!("{MAX_WAITING} commands wait for an answer already"));
        }
        self.kept.change().open.insert(number, input);
        handler.send(outlet, "inbound", vec![Value::Number(number as f64), asked]);
        Ok(())
    }

    /// What was answered since this was asked last.
    pub fn take_responses(&mut self) -> Vec<Response> {
        if self.kept.state.responses.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.kept.change().responses)
    }

    /// What was announced since this was asked last, as JSON.
    pub fn take_broadcasts(&mut self) -> Vec<String> {
        if self.kept.state.broadcasts.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.kept.change().broadcasts)
    }

    fn respond(&mut self, args: &mut Arguments) -> Result<(), String> {
        let number = args.nat()?;
        let is_reject = match args.next() {
            Value::Bool(is_reject) => is_reject,
            other => return Err(format!("isReject is {}", other.describe())),
        };
        let body = args.next().to_json()?;
        if !self.kept.state.open.contains_key(&number) {
            return Err(format!("unknown response index {number}"));
        }
        let state = self.kept.change();
        let input = state.open.remove(&number).unwrap_or_default();
        state.responses.push(Response { number, input, is_reject, body });
        Ok(())
    }

    fn broadcast(&mut self, args: &mut Arguments) -> Result<(), String> {
        let json = args.next().to_json()?.unwrap_or_else(|| "null".into());
        if self.kept.state.broadcasts.len() >= MAX_WAITING {
            return Err(format!("{MAX_WAITING} announcements were made in this transaction already"));
        }
        self.kept.change().broadcasts.push(json);
        Ok(())
    }
}

impl Device for Command {
    fn name(&self) -> &str {
        "command"
    }

    fn call(&mut self, _: &mut dyn Outlet, target: &str, method: &str, args: &CapData) -> Result<CapData, String> {
        insist_root(target)?;
        let mut args = Arguments::read(args)?;
        let failed = |error: String| format!("error during {method}: {error}");
        match method {
            "registerInboundHandler" => {
                let handler = args.handler()?;
                self.kept.change().handler = Some(handler);
            }
            "sendResponse" => self.respond(&mut args).map_err(failed)?,
            "sendBroadcast" => self.broadcast(&mut args).map_err(failed)?,
            _ => return Err(no_method(method, &METHODS)),
        }
        args.done()
    }

    kept_state!();
}
