//! `devices.mailbox`: where messages to other machines lie until they are acknowledged, and where those from there come in.
//!
//! ```text
//! vattp ── add(peer, n, message), remove(peer, n), ackInbound(peer, n) ──▶ outboxes ──▶ host
//! host ── deliver_inbound(peer, id, [(n, message)..], ack) ──▶ deliverInboundMessages, deliverInboundAck ──▶ vattp
//! ```
//!
//! The host may say the same thing twice: each message, and each acknowledgment, is passed on once. Who was heard once under a name is
//! the only one of that name: another one would begin with message 1 again.

use super::{Arguments, CapData, Device, Handler, Kept, MAX_SAFE_INTEGER, Outlet, Value, insist_root, kept_state, no_method};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many machines there may be on the other side.
pub const MAX_PEERS: usize = 10_000;
/// How many messages to one of them may wait for its acknowledgment.
pub const MAX_OUTBOX_MESSAGES: usize = 100_000;
/// Bytes of one message, as JSON writes them: what lies here fits into a frame of the wire.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

const METHODS: [&str; 4] = ["ackInbound", "add", "registerInboundHandler", "remove"];

/// What there is with one other machine.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Which kernel it is, once it was heard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// By number, what it has not acknowledged.
    pub outbox: BTreeMap<u64, String>,
    /// The last of its messages that is dealt with.
    pub inbound_ack: u64,
    /// The last of its messages that was passed on.
    pub delivered: u64,
    /// The last of its acknowledgments that was passed on.
    pub acknowledged: u64,
}

impl Peer {
    /// Whether it cannot be the kernel that was heard.
    pub fn is_other(&self, id: &str) -> bool {
        self.id.as_deref().is_some_and(|known| known != id)
    }

    /// Whether it was heard, but not who it is: a ledger from before that was asked.
    pub fn is_nameless(&self) -> bool {
        self.id.is_none() && (self.delivered > 0 || self.acknowledged > 0)
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    handler: Option<Handler>,
    peers: BTreeMap<String, Peer>,
}

/// The device.
#[derive(Debug, Default)]
pub struct Mailbox {
    kept: Kept<State>,
}

impl Mailbox {
    /// The device with the state of `save()`.
    pub fn load(saved: &str) -> Result<Self, String> {
        Ok(Self { kept: Kept::load("mailbox", saved)? })
    }

    /// What has come from `peer`, which is the kernel `id`: messages with their numbers, and the number of the last one of ours that
    /// it has. Whether any of it was new.
    pub fn deliver_inbound(
        &mut self,
        peer: &str,
        id: Option<&str>,
        messages: &[(u64, String)],
        ack: u64,
        outlet: &mut dyn Outlet,
    ) -> Result<bool, String> {
        let Some(handler) = self.kept.state.handler.clone() else {
            return Err("deliverInboundMessages before registerInboundHandler".into());
        };
        if ack > MAX_SAFE_INTEGER || messages.iter().any(|(number, _)| *number > MAX_SAFE_INTEGER) {
            return Err("error in inboundCallback: not a safe integer".into());
        }
        let known = self.kept.state.peers.get(peer);
        if known.zip(id).is_some_and(|(known, id)| known.is_other(id)) {
            return Err(format!("'{peer}' is another kernel than before"));
        }
        let names = id.is_some() && known.is_none_or(|known| known.id.is_none());
        let mut delivered = known.map_or(0, |known| known.delivered);
        let mut new = Vec::new();
        for (number, message) in messages {
            if *number > delivered {
                delivered = *number;
                new.push(Value::Array(vec![Value::Number(*number as f64), Value::String(message.clone())]));
            }
        }
        let acknowledges = ack > known.map_or(0, |known| known.acknowledged);
        if new.is_empty() && !acknowledges && !names {
            return Ok(false);
        }
        let known = self.peer(peer)?;
        if names {
            known.id = id.map(str::to_owned);
        }
        known.delivered = delivered;
        known.acknowledged = known.acknowledged.max(ack);
        if !new.is_empty() {
            handler.send(outlet, "deliverInboundMessages", vec![Value::String(peer.into()), Value::Array(new)]);
        }
        if acknowledges {
            handler.send(outlet, "deliverInboundAck", vec![Value::String(peer.into()), Value::Number(ack as f64)]);
        }
        Ok(true)
    }

    /// Whether somebody takes what comes.
    pub fn is_open(&self) -> bool {
        self.kept.state.handler.is_some()
    }

    /// What lies here for each peer.
    pub fn peers(&self) -> &BTreeMap<String, Peer> {
        &self.kept.state.peers
    }

    /// The same as JSON: `{peer: {outbox: [[number, message], ...], inboundAck: number}}`.
    pub fn export(&self) -> String {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Exported<'a> {
            outbox: Vec<(u64, &'a str)>,
            inbound_ack: u64,
        }
        let peers = self.kept.state.peers.iter().map(|(name, peer)| {
            let outbox = peer.outbox.iter().map(|(number, message)| (*number, message.as_str())).collect();
            (name.as_str(), Exported { outbox, inbound_ack: peer.inbound_ack })
        });
        serde_json::to_string(&peers.collect::<BTreeMap<_, _>>()).expect("a map with string keys, strings and numbers")
    }

    fn peer(&mut self, name: &str) -> Result<&mut Peer, String> {
        let peers = &self.kept.state.peers;
        if !peers.contains_key(name) && peers.len() >= MAX_PEERS {
            return Err(format!("there are {MAX_PEERS} peers already"));
        }
        // Not before: what was refused is no reason to write the state once more.
        Ok(self.kept.change().peers.entry(name.to_owned()).or_default())
    }

    fn add(&mut self, args: &mut Arguments) -> Result<(), String> {
        let (name, number, message) = (args.text()?, args.nat()?, args.text()?);
        // Escapes make six bytes of one at most.
        let is_too_long = || serde_json::to_string(&message).map_or(true, |json| json.len() > MAX_MESSAGE_BYTES);
        if message.len() >= MAX_MESSAGE_BYTES / 6 && is_too_long() {
            return Err(format!("a message may have {MAX_MESSAGE_BYTES} bytes"));
        }
        let outbox = &mut self.peer(&name)?.outbox;
        if outbox.len() >= MAX_OUTBOX_MESSAGES && !outbox.contains_key(&number) {
            return Err(format!("{MAX_OUTBOX_MESSAGES} messages wait for '{name}' already"));
        }
        outbox.insert(number, message);
        Ok(())
    }

    fn remove(&mut self, args: &mut Arguments) -> Result<(), String> {
        let (name, number) = (args.text()?, args.nat()?);
        self.peer(&name)?.outbox.remove(&number);
        Ok(())
    }

    fn ack_inbound(&mut self, args: &mut Arguments) -> Result<(), String> {
        let (name, number) = (args.text()?, args.nat()?);
        self.peer(&name)?.inbound_ack = number;
        Ok(())
    }
}

impl Device for Mailbox {
    fn name(&self) -> &str {
        "mailbox"
    }

    fn call(&mut self, _: &mut dyn Outlet, target: &str, method: &str, args: &CapData) -> Result<CapData, String> {
        insist_root(target)?;
        let mut args = Arguments::read(args)?;
        let failed = |error: String| format!("error in {method}: {error}");
        match method {
            "registerInboundHandler" => {
                let handler = args.handler()?;
                if self.kept.state.handler.is_some() {
                    return Err("already registered".into());
                }
                self.kept.change().handler = Some(handler);
            }
            "add" => self.add(&mut args).map_err(failed)?,
            "remove" => self.remove(&mut args).map_err(failed)?,
            "ackInbound" => self.ack_inbound(&mut args).map_err(failed)?,
            _ => return Err(no_method(method, &METHODS)),
        }
        args.done()
    }

    kept_state!();
}
