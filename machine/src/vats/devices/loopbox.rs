//! `devices.loopbox`: connects transports within one kernel, as if each were another machine's. `makeSender(name)` is a node that
//! takes the place of a mailbox for the transport called `name`: what is added there for a peer goes to the object that was
//! registered under the peer's name, at once, as `deliverInboundMessages(name, [[number, message]])`.
//!
//! A sender numbers what it sends itself, from 1. Nothing is lost on the way, so nothing is acknowledged.

use super::{Arguments, CapData, Device, Handler, Kept, Outlet, ROOT, Value, kept_state, no_method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many senders and names there may be, each.
pub const MAX_SENDERS: usize = 10_000;

const METHODS: [&str; 3] = ["getSender", "makeSender", "registerInboundHandler"];
const SENDER_METHODS: [&str; 3] = ["ackInbound", "add", "remove"];

#[derive(Debug, Serialize, Deserialize)]
struct Sender {
    name: String,
    count: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    handlers: BTreeMap<String, Handler>,
    /// `d+1` is the first one.
    senders: Vec<Sender>,
}

/// The device.
#[derive(Debug, Default)]
pub struct Loopbox {
    kept: Kept<State>,
}

impl Loopbox {
    /// The device with the state of `save()`.
    pub fn load(saved: &str) -> Result<Self, String> {
        Ok(Self { kept: Kept::load("loopbox", saved)? })
    }

    fn register(&mut self, args: &mut Arguments) -> Result<CapData, String> {
        let (name, handler) = (args.text()?, args.handler()?);
        let handlers = &self.kept.state.handlers;
        if handlers.contains_key(&name) {
            return Err("already registered".into());
        }
        if handlers.len() >= MAX_SENDERS {
            return Err(format!("there are {MAX_SENDERS} handlers already"));
        }
        self.kept.change().handlers.insert(name, handler);
        args.done()
    }

    fn make_sender(&mut self, args: &mut Arguments) -> Result<CapData, String> {
        let name = args.text()?;
        if self.kept.state.senders.len() >= MAX_SENDERS {
            return Err(format!("there are {MAX_SENDERS} senders already"));
        }
        let senders = &mut self.kept.change().senders;
        senders.push(Sender { name, count: 1 });
        args.answer(Value::Slot { slot: format!("d+{}", senders.len()), iface: Some("Alleged: loopbox sender".into()) })
    }

    fn add(&mut self, index: usize, args: &mut Arguments, outlet: &mut dyn Outlet) -> Result<CapData, String> {
        let (peer, _, message) = (args.text()?, args.nat()?, args.text()?);
        let state = self.kept.change();
        let Some(handler) = state.handlers.get(&peer) else { return Err(format!("unregistered peer '{peer}'")) };
        let sender = &mut state.senders[index];
        let messages = vec![Value::Array(vec![Value::Number(sender.count as f64), Value::String(message)])];
        sender.count += 1;
        handler.send(outlet, "deliverInboundMessages", vec![Value::String(sender.name.clone()), Value::Array(messages)]);
        args.done()
    }
}

impl Device for Loopbox {
    fn name(&self) -> &str {
        "loopbox"
    }

    fn call(&mut self, outlet: &mut dyn Outlet, target: &str, method: &str, args: &CapData) -> Result<CapData, String> {
        let mut args = Arguments::read(args)?;
        if target == ROOT {
            return match method {
                "registerInboundHandler" => self.register(&mut args),
                "makeSender" | "getSender" => self.make_sender(&mut args),
                _ => Err(no_method(method, &METHODS)),
            };
        }
        let number: Option<usize> = target.strip_prefix("d+").and_then(|number| number.parse().ok());
        match number.and_then(|number| number.checked_sub(1)) {
            Some(index) if index < self.kept.state.senders.len() => match method {
                "add" => self.add(index, &mut args, outlet),
                "remove" | "ackInbound" => args.done(),
                _ => Err(no_method(method, &SENDER_METHODS)),
            },
            _ => Err(format!("unknown device node {target}")),
        }
    }

    kept_state!();
}
