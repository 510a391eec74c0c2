//! The tables, for a person: the shape of `dump()`.

use super::Vats;
use super::kernel::{CapData, Dialect, GcKind, Item, KRef, Message, PromiseState};
use serde::Serialize;

/// See the [module](self).
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Dump {
    /// What `helpers.log` was given.
    pub log: Vec<String>,
    /// The vats.
    pub vat_tables: Vec<VatTable>,
    /// The c-lists: kernel's name, whose, its name.
    pub kernel_table: Vec<(String, String, String)>,
    /// Promises.
    pub promises: Vec<PromiseDump>,
    /// Objects: name, owner, reachable and recognizable counts.
    pub objects: Vec<(String, Option<String>, u32, u32)>,
    /// What vats have to hear of.
    pub gc_actions: Vec<String>,
    /// Vats that are asked next what they do not need.
    pub reap_queue: Vec<String>,
    /// What waits.
    pub run_queue: Vec<ItemDump>,
    /// Always empty: a message is routed when it is delivered.
    pub acceptance_queue: Vec<ItemDump>,
}

/// A vat.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct VatTable {
    /// `v1`
    #[serde(rename = "vatID")]
    pub vat_id: String,
    /// `bot`
    pub name: String,
    /// Deliveries so far.
    pub deliveries: u64,
    /// How often it was upgraded.
    pub incarnation: u64,
}

/// A body and what its slots are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DataDump {
    /// As sent.
    pub body: String,
    /// The kernel's names.
    pub slots: Vec<String>,
}

/// A promise.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PromiseDump {
    /// `kp40`
    pub id: String,
    /// `unresolved`, `fulfilled`, `rejected`; as a vat of 2019 resolves it, `fulfilledToData` or `fulfilledToPresence`.
    pub state: &'static str,
    /// Who refers to it.
    pub ref_count: u32,
    /// Who may resolve it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decider: Option<String>,
    /// Who wants to know.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subscribers: Option<Vec<String>>,
    /// What waits for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Vec<MessageDump>>,
    /// With what it was resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataDump>,
    /// With which object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<String>,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MessageDump {
    /// The method, as vats of 2019 say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// Its arguments.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<DataDump>,
    /// Both, as today's say it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub methargs: Option<DataDump>,
    /// The promise for what comes of it.
    pub result: Option<String>,
}

/// Something that waits.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type")]
pub enum ItemDump {
    /// A message.
    #[serde(rename = "send")]
    Send {
        /// For what.
        target: String,
        /// What.
        msg: MessageDump,
    },
    /// A vat is to hear of a promise.
    #[serde(rename = "notify")]
    Notify {
        /// Which.
        #[serde(rename = "vatID")]
        vat_id: String,
        /// Of which.
        kpid: String,
    },
    /// A vat begins.
    #[serde(rename = "startVat")]
    Start {
        /// Which.
        #[serde(rename = "vatID")]
        vat_id: String,
    },
    /// A vat begins anew.
    #[serde(rename = "upgrade-vat")]
    Upgrade {
        /// Which.
        #[serde(rename = "vatID")]
        vat_id: String,
    },
}

fn data(data: &CapData) -> DataDump {
    DataDump { body: data.body.clone(), slots: data.slots.iter().map(KRef::to_string).collect() }
}

fn message(message: &Message) -> MessageDump {
    let args = Some(data(&message.args));
    let result = message.result.map(|id| format!("kp{id}"));
    match &message.method {
        Some(method) => MessageDump { method: Some(method.clone()), args, methargs: None, result },
        None => MessageDump { method: None, args: None, methargs: args, result },
    }
}

fn item(item: &Item) -> ItemDump {
    match item {
        Item::Send(target, sent) => ItemDump::Send { target: target.to_string(), msg: message(sent) },
        Item::Notify(vat, id) => ItemDump::Notify { vat_id: format!("v{vat}"), kpid: format!("kp{id}") },
        Item::Start(vat, _) => ItemDump::Start { vat_id: format!("v{vat}") },
        Item::Upgrade(vat, _) => ItemDump::Upgrade { vat_id: format!("v{vat}") },
    }
}

impl Dump {
    pub(super) fn of(vats: &Vats) -> Dump {
        let tables = vats.kernel().tables();
        let mut kernel_table = Vec::new();
        let mut vat_tables = Vec::new();
        for (party, member) in tables.members() {
            let name = party.to_string();
            if name.starts_with('v') {
                vat_tables.push(VatTable {
                    vat_id: name.clone(),
                    name: member.name.clone(),
                    deliveries: member.deliveries,
                    incarnation: member.incarnation,
                });
            }
            let clist = tables.clist(party);
            kernel_table.extend(
                clist
                    .into_iter()
                    .flat_map(|clist| clist.iter())
                    .map(|(kref, entry)| (kref, party, name.clone(), entry.vref.clone())),
            );
        }
        // By name, numbers as numbers: device nodes, objects, promises; of each thing devices before vats.
        kernel_table
            .sort_by_key(|(kref, party, ..)| (kref.to_string().as_bytes()[1], *kref, party.to_string().as_bytes()[0], *party));
        let promises = tables.promises().map(|(id, promise)| {
            let empty = PromiseDump {
                id: format!("kp{id}"),
                state: "unresolved",
                ref_count: promise.refs,
                decider: None,
                subscribers: None,
                queue: None,
                data: None,
                slot: None,
            };
            match &promise.state {
                PromiseState::Unresolved { decider, subscribers, queue } => PromiseDump {
                    decider: decider.map(|vat| format!("v{vat}")),
                    subscribers: Some(subscribers.iter().map(|vat| format!("v{vat}")).collect()),
                    queue: Some((queue.0..queue.1).filter_map(|n| tables.queued(id, n)).map(message).collect()),
                    ..empty
                },
                PromiseState::Resolved { rejected: true, data: with, .. } => {
                    PromiseDump { state: "rejected", data: Some(data(with)), ..empty }
                }
                PromiseState::Resolved { data: with, .. } => match (with.dialect(), with.sole_slot()) {
                    (Dialect::Today, _) => PromiseDump { state: "fulfilled", data: Some(data(with)), ..empty },
                    (Dialect::Old, Some(slot)) => {
                        PromiseDump { state: "fulfilledToPresence", slot: Some(slot.to_string()), ..empty }
                    }
                    (Dialect::Old, None) => PromiseDump { state: "fulfilledToData", data: Some(data(with)), ..empty },
                },
            }
        });
        let objects = tables.objects().map(|(id, object)| {
            (format!("ko{id}"), object.owner.map(|owner| owner.to_string()), object.reachable, object.recognizable)
        });
        let gc_name = |kind: GcKind| match kind {
            GcKind::DropExport => "dropExport",
            GcKind::RetireExport => "retireExport",
            GcKind::RetireImport => "retireImport",
        };
        Dump {
            log: tables.log().map(str::to_owned).collect(),
            vat_tables,
            kernel_table: kernel_table.into_iter().map(|(kref, _, name, vref)| (kref.to_string(), name, vref)).collect(),
            promises: promises.collect(),
            objects: objects.collect(),
            gc_actions: tables.gc_actions().iter().map(|(vat, kind, id)| format!("v{vat} {} ko{id}", gc_name(*kind))).collect(),
            reap_queue: tables.reap_queue().iter().map(|vat| format!("v{vat}")).collect(),
            run_queue: tables.run_queue().map(|(_, waits)| item(waits)).collect(),
            acceptance_queue: Vec::new(),
        }
    }
}
