//! `devices.command`: questions from the host, each answered once, and announcements to it.
//!
//! ```text
//! host ── inbound(JSON) ──▶ handler.inbound(count, value)          vat ── sendResponse(count, isReject, value) ──▶ responses()
//!                                                                  vat ── sendBroadcast(value) ──▶ broadcasts()
//! ```

use super::{Arguments, CapData, Device, Handler, Kept, Outlet, Value, insist_root, kept_state, no_method, value};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How many questions, answers or announcements may wait, each.
pub const MAX_WAITING: usize = 10_000;

const METHODS: [&str; 3] = ["registerInboundHandler", "sendBroadcast", "sendResponse"];

/// An answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    /// Whether it is a refusal.
    pub is_reject: bool,
    /// JSON; `None` is undefined.
    pub body: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    handler: Option<Handler>,
    next: u64,
    open: BTreeSet<u64>,
    responses: BTreeMap<u64, Response>,
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

    /// A question, as JSON. Its number: the answer will be under it.
    pub fn inbound(&mut self, json: &str, outlet: &mut dyn Outlet) -> Result<u64, String> {
        let Some(handler) = self.kept.state.handler.clone() else {
            return Err("inboundCallback before registerInboundHandler".into());
        };
        let asked = value::from_json(json)?;
        if self.kept.state.open.len() >= MAX_WAITING {
            return Err(format!("{MAX_WAITING} questions wait for an answer already"));
        }
        let state = self.kept.change();
        let count = state.next;
        state.next += 1;
        state.open.insert(count);
        handler.send(outlet, "inbound", vec![Value::Number(count as f64), asked]);
        Ok(count)
    }

    /// What has been answered and not taken yet.
    pub fn responses(&self) -> &BTreeMap<u64, Response> {
        &self.kept.state.responses
    }

    /// Takes an answer.
    pub fn take_response(&mut self, count: u64) -> Option<Response> {
        if !self.kept.state.responses.contains_key(&count) {
            return None;
        }
        self.kept.change().responses.remove(&count)
    }

    /// Takes what was announced, as JSON.
    pub fn take_broadcasts(&mut self) -> Vec<String> {
        if self.kept.state.broadcasts.is_empty() {
            return Vec::new();
        }
        std::mem::take(&mut self.kept.change().broadcasts)
    }

    fn respond(&mut self, args: &mut Arguments) -> Result<(), String> {
        let count = args.nat()?;
        let is_reject = match args.next() {
            Value::Bool(is_reject) => is_reject,
            other => return Err(format!("isReject is {}", other.describe())),
        };
        let body = args.next().to_json()?;
        if !self.kept.state.open.contains(&count) {
            return Err(format!("unknown response index {count}"));
        }
        if self.kept.state.responses.len() >= MAX_WAITING {
            return Err(format!("{MAX_WAITING} answers wait for the host already"));
        }
        let state = self.kept.change();
        state.open.remove(&count);
        state.responses.insert(count, Response { is_reject, body });
        Ok(())
    }

    fn broadcast(&mut self, args: &mut Arguments) -> Result<(), String> {
        let json = args.next().to_json()?.unwrap_or_else(|| "null".into());
        if self.kept.state.broadcasts.len() >= MAX_WAITING {
            return Err(format!("{MAX_WAITING} announcements wait for the host already"));
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
