//! The tables as rows of the state, and in the ledger.
//!
//! ```text
//! public:vats.kernel
//!   kernel                 {"object":n,"promise":n,…}            the next numbers, [`Counters`]
//!   v1, d7                 {"name":"bot",…}                       vats and devices, [`Member`]
//!   v1.c.ko20              R o-50                                 c-lists: R reachable, _ only known
//!   ko20                   {"owner":"v1","refs":[2,2]}            reachable, recognizable
//!   kp40                   {"refs":1,"decider":"v1","subscribers":["v2"],"queue":[0,0]}
//!   kp40                   {"refs":1,"state":"fulfilled","body":"…","slots":["ko20"],"untold":["v2"],"resolver":"v1"}
//!   kp40                   {"refs":1,"watch":4,"input":"64 hex",…}  the kernel waits for it: 0 for `bootstrap`, or a call's number
//!                                                                and 1, and the digest of its input
//!   kp40.queue.N, run.N    {"send":"ko20","method":"…","body":"…","slots":[…],"result":"kp41"}   N of 16 digits
//!   run.N                  {"notify":"v2","promise":"kp40"}       and {"start":…}, {"upgrade":…}
//!   gc.v1.ACTION.ko20      (empty)                                ACTION: 0 dropExport, 1 retireExport, 2 retireImport
//!   reap.v1                (empty)                                it is asked next what it does not need
//!   m1                     {"remaining":n,…}                      meters
//! public:vats.store   v1.KEY   what the vat has put there
//! public:vats.log     N        a line
//! ```

use super::refs::{KRef, NoRef, Party};
use super::tables::{Entry, GcKind, Item, Member, Meter, Object, Promise, PromiseState, Row, Tables, Upgrade, Watch};
use super::{CapData, Dialect, Kernel, Message};
use crate::Fault;
use crate::state::State;
use ledger::WriteSet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Bound;

/// The map of the kernel's tables.
pub const ROWS: &str = "public:vats.kernel";
/// The map of the vats' stores.
pub const STORE: &str = "public:vats.store";
/// The map of the log.
pub const LOG: &str = "public:vats.log";

fn malformed(key: &str) -> Fault {
    Fault::Checkpoint(format!("the kernel's row {key:?} is malformed"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberRow {
    name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    module: String,
    dialect: Dialect,
    #[serde(default, skip_serializing_if = "is_default")]
    raw: bool,
    next: [u64; 3],
    deliveries: u64,
    reap: (u64, u64),
    #[serde(default, skip_serializing_if = "is_default")]
    dynamic: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    incarnation: u64,
    #[serde(default, skip_serializing_if = "is_default")]
    critical: bool,
    #[serde(default, skip_serializing_if = "is_default")]
    meter: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    heap: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ObjectRow {
    #[serde(default, skip_serializing_if = "is_default")]
    owner: Option<String>,
    refs: (u32, u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PromiseRow {
    refs: u32,
    #[serde(default, skip_serializing_if = "is_default")]
    watch: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    input: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    decider: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    subscribers: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    queue: (u64, u64),
    #[serde(default, skip_serializing_if = "is_default")]
    state: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    slots: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    untold: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    resolver: Option<String>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct ItemRow {
    #[serde(default, skip_serializing_if = "is_default")]
    send: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    notify: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    start: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    upgrade: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    promise: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    method: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    slots: Vec<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    result: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    id: Option<u64>,
    #[serde(default, skip_serializing_if = "is_default")]
    module: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    message: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("strings and numbers can be written")
}

fn names(slots: &[KRef]) -> Vec<String> {
    slots.iter().map(KRef::to_string).collect()
}

fn vat_name(vat: u64) -> String {
    Party::Vat(vat).to_string()
}

impl Row {
    /// Where it stands: map and key.
    fn place(&self) -> (&'static str, String) {
        match self {
            Row::Counters => (ROWS, "kernel".into()),
            Row::Member(party) => (ROWS, party.to_string()),
            Row::Object(id) => (ROWS, format!("ko{id}")),
            Row::Promise(id) => (ROWS, format!("kp{id}")),
            Row::Queued(id, n) => (ROWS, format!("kp{id}.queue.{n:016}")),
            Row::Run(n) => (ROWS, format!("run.{n:016}")),
            Row::Entry(party, kref) => (ROWS, format!("{party}.c.{kref}")),
            Row::Gc((vat, kind, id)) => (ROWS, format!("gc.v{vat}.{}.ko{id}", *kind as u8)),
            Row::Reap(vat) => (ROWS, format!("reap.v{vat}")),
            Row::Meter(id) => (ROWS, format!("m{id}")),
            Row::Log(n) => (LOG, format!("{n:016}")),
            Row::Store(vat, key) => (STORE, format!("v{vat}.{key}")),
        }
    }

    /// What stands there now.
    fn value(&self, tables: &Tables) -> Option<Vec<u8>> {
        match self {
            Row::Counters => Some(json(tables.counters())),
            Row::Member(party) => tables.member(*party).map(|member| json(&member_row(member))),
            Row::Object(id) => tables.object(*id).map(|object| {
                let owner = object.owner.map(|party| party.to_string());
                json(&ObjectRow { owner, refs: (object.reachable, object.recognizable) })
            }),
            Row::Promise(id) => tables.promise(*id).map(|promise| json(&promise_row(promise))),
            Row::Queued(id, n) => tables.queued(*id, *n).map(|message| json(&message_row(KRef::Promise(*id), message))),
            Row::Run(n) => tables.run_item(*n).map(|item| json(&item_row(item))),
            Row::Entry(party, kref) => tables.clist(*party).and_then(|clist| clist.entry(*kref)).map(|entry| {
                let mark = if entry.reachable { 'R' } else { '_' };
                format!("{mark} {}", entry.vref).into_bytes()
            }),
            Row::Gc(action) => tables.gc_actions().contains(action).then(Vec::new),
            Row::Reap(vat) => tables.reap_queue().contains(vat).then(Vec::new),
            Row::Meter(id) => tables.meter(*id).map(json),
            Row::Log(n) => tables.log_line(*n).map(|line| line.as_bytes().to_vec()),
            Row::Store(vat, key) => {
                tables.stored(*vat, key).and_then(|value| value.as_ref().map(|value| value.as_bytes().to_vec()))
            }
        }
    }
}

fn member_row(member: &Member) -> MemberRow {
    MemberRow {
        name: member.name.clone(),
        module: member.module.clone(),
        dialect: member.dialect,
        raw: member.raw,
        next: member.next,
        deliveries: member.deliveries,
        reap: (member.reap_in, member.reap_every),
        dynamic: member.dynamic,
        incarnation: member.incarnation,
        critical: member.critical,
        meter: member.meter,
        heap: member.heap_bytes,
    }
}

impl MemberRow {
    fn read(self) -> Member {
        Member {
            name: self.name,
            module: self.module,
            dialect: self.dialect,
            raw: self.raw,
            next: self.next,
            deliveries: self.deliveries,
            reap_in: self.reap.0,
            reap_every: self.reap.1,
            dynamic: self.dynamic,
            incarnation: self.incarnation,
            critical: self.critical,
            meter: self.meter,
            heap_bytes: self.heap,
        }
    }
}

fn promise_row(promise: &Promise) -> PromiseRow {
    let watch = promise.watch.map(|watch| match watch {
        Watch::Bootstrap => 0,
        Watch::Call { number, .. } => number + 1,
    });
    let input = match promise.watch {
        Some(Watch::Call { input, .. }) => Some(ledger::hex::encode(&input)),
        Some(Watch::Bootstrap) | None => None,
    };
    let vats = |vats: &BTreeSet<u64>| vats.iter().map(|&vat| vat_name(vat)).collect();
    let mut row = PromiseRow {
        refs: promise.refs,
        watch,
        input,
        decider: None,
        subscribers: Vec::new(),
        queue: (0, 0),
        state: None,
        body: None,
        slots: Vec::new(),
        untold: Vec::new(),
        resolver: None,
    };
    match &promise.state {
        PromiseState::Unresolved { decider, subscribers, queue } => {
            row.decider = decider.map(vat_name);
            row.subscribers = vats(subscribers);
            row.queue = *queue;
        }
        PromiseState::Resolved { rejected, data, untold, resolver } => {
            row.state = Some(if *rejected { "rejected" } else { "fulfilled" }.into());
            row.body = Some(data.body.clone());
            row.slots = names(&data.slots);
            row.untold = vats(untold);
            row.resolver = resolver.map(vat_name);
        }
    }
    row
}

fn message_row(target: KRef, message: &Message) -> ItemRow {
    ItemRow {
        send: Some(target.to_string()),
        method: message.method.clone(),
        body: Some(message.args.body.clone()),
        slots: names(&message.args.slots),
        result: message.result.map(|id| KRef::Promise(id).to_string()),
        ..ItemRow::default()
    }
}

fn item_row(item: &Item) -> ItemRow {
    match item {
        Item::Send(target, message) => message_row(*target, message),
        Item::Notify(vat, id) => {
            ItemRow { notify: Some(vat_name(*vat)), promise: Some(KRef::Promise(*id).to_string()), ..ItemRow::default() }
        }
        Item::Start(vat, data) => ItemRow {
            start: Some(vat_name(*vat)),
            body: Some(data.body.clone()),
            slots: names(&data.slots),
            ..ItemRow::default()
        },
        Item::Upgrade(vat, Upgrade { id, module, parameters, message }) => ItemRow {
            upgrade: Some(vat_name(*vat)),
            id: Some(*id),
            module: Some(module.clone()),
            body: Some(parameters.body.clone()),
            slots: names(&parameters.slots),
            message: Some(message.clone()),
            ..ItemRow::default()
        },
    }
}

fn vat_of(text: &str) -> Result<u64, NoRef> {
    match text.parse()? {
        Party::Vat(vat) => Ok(vat),
        Party::Device(_) => Err(NoRef(text.into())),
    }
}

fn promise_of(text: &str) -> Result<u64, NoRef> {
    match text.parse()? {
        KRef::Promise(id) => Ok(id),
        _ => Err(NoRef(text.into())),
    }
}

fn krefs(slots: Vec<String>) -> Result<Vec<KRef>, NoRef> {
    slots.iter().map(|slot| slot.parse()).collect()
}

impl PromiseRow {
    fn read(self) -> Result<Promise, NoRef> {
        let vats = |names: Vec<String>| names.iter().map(|name| vat_of(name)).collect::<Result<BTreeSet<u64>, _>>();
        let watch = match (self.watch, self.input) {
            (None, None) => None,
            (Some(0), None) => Some(Watch::Bootstrap),
            (Some(n), Some(input)) if n > 0 => {
                let input = ledger::hex::decode(&input).ok_or(NoRef(input))?;
                Some(Watch::Call { number: n - 1, input })
            }
            (_, input) => return Err(NoRef(input.unwrap_or_default())),
        };
        let vat = |name: Option<String>| name.map(|name| vat_of(&name)).transpose();
        let state = match self.state.as_deref() {
            None => PromiseState::Unresolved {
                decider: vat(self.decider)?,
                subscribers: vats(self.subscribers)?,
                queue: (self.queue.0, self.queue.1.max(self.queue.0)),
            },
            Some(state) => PromiseState::Resolved {
                rejected: state == "rejected",
                data: CapData { body: self.body.unwrap_or_default(), slots: krefs(self.slots)? },
                untold: vats(self.untold)?,
                resolver: vat(self.resolver)?,
            },
        };
        Ok(Promise { refs: self.refs, watch, state })
    }
}

impl ItemRow {
    fn read(self) -> Result<Item, NoRef> {
        let data = CapData { body: self.body.unwrap_or_default(), slots: krefs(self.slots)? };
        if let Some(target) = self.send {
            let result = self.result.map(|result| promise_of(&result)).transpose()?;
            return Ok(Item::Send(target.parse()?, Message { method: self.method, args: data, result }));
        }
        if let Some(vat) = self.notify {
            return Ok(Item::Notify(vat_of(&vat)?, promise_of(&self.promise.unwrap_or_default())?));
        }
        if let Some(vat) = self.start {
            return Ok(Item::Start(vat_of(&vat)?, data));
        }
        let vat = vat_of(&self.upgrade.unwrap_or_default())?;
        let (id, module, message) =
            (self.id.unwrap_or_default(), self.module.unwrap_or_default(), self.message.unwrap_or_default());
        Ok(Item::Upgrade(vat, Upgrade { id, module, parameters: data, message }))
    }
}

impl Kernel {
    /// Adds what has changed since the last transaction.
    pub fn write(&mut self, state: &State, writes: &mut WriteSet) -> Result<(), Fault> {
        for (row, was_there) in self.tables.take_dirty() {
            let (map, key) = row.place();
            match row.value(&self.tables) {
                Some(value) => writes.put(map, key.as_bytes(), value),
                None if was_there && (map != STORE || state.get(map, key.as_bytes())?.is_some()) => {
                    writes.remove(map, key.as_bytes());
                }
                None => {}
            }
        }
        self.tables.forget_stores();
        Ok(())
    }

    /// The tables as a state has them.
    pub fn read(state: &State) -> Result<Kernel, Fault> {
        let mut kernel = Kernel::default();
        let mut result = Ok(());
        kernel.tables.restore(|tables| result = read_rows(state, tables));
        result.map(|()| kernel)
    }
}

fn read_rows(state: &State, tables: &mut Tables) -> Result<(), Fault> {
    for row in state.range(ROWS, Bound::Unbounded, Bound::Unbounded)? {
        let (key, entry) = row?;
        let key = std::str::from_utf8(&key).map_err(|_| malformed("?"))?;
        read_row(tables, key, entry.value()).ok_or_else(|| malformed(key))?;
    }
    for row in state.range(LOG, Bound::Unbounded, Bound::Unbounded)? {
        let (key, entry) = row?;
        let n = std::str::from_utf8(&key).ok().and_then(|key| key.parse().ok()).ok_or_else(|| malformed("log"))?;
        tables.put_log(n, String::from_utf8_lossy(entry.value()).into_owned());
    }
    if !tables.queues_are_whole() {
        return Err(malformed("queue"));
    }
    Ok(())
}

fn read_row(tables: &mut Tables, key: &str, value: &[u8]) -> Option<()> {
    fn parse<'a, T: Deserialize<'a>>(value: &'a [u8]) -> Option<T> {
        serde_json::from_slice(value).ok()
    }
    if key == "kernel" {
        tables.set_counters(parse(value)?);
    } else if let Some(n) = key.strip_prefix("run.") {
        tables.put_run(n.parse().ok()?, parse::<ItemRow>(value)?.read().ok()?);
    } else if let Some(vat) = key.strip_prefix("reap.") {
        tables.set_reap(vat_of(vat).ok()?, true);
    } else if let Some(action) = key.strip_prefix("gc.") {
        let [vat, kind, id] = action.split('.').collect::<Vec<_>>().try_into().ok()?;
        let kind = match kind {
            "0" => GcKind::DropExport,
            "1" => GcKind::RetireExport,
            "2" => GcKind::RetireImport,
            _ => return None,
        };
        let KRef::Object(id) = id.parse().ok()? else { return None };
        tables.set_gc((vat_of(vat).ok()?, kind, id), true);
    } else if let Some((party, kref)) = key.split_once(".c.") {
        let text = std::str::from_utf8(value).ok()?;
        let (mark, vref) = text.split_once(' ')?;
        let entry = Entry { vref: vref.to_owned(), reachable: mark == "R" };
        tables.put_entry(party.parse().ok()?, kref.parse().ok()?, entry);
    } else if let Some((promise, n)) = key.split_once(".queue.") {
        let Item::Send(_, message) = parse::<ItemRow>(value)?.read().ok()? else { return None };
        tables.put_queued(promise_of(promise).ok()?, n.parse().ok()?, message);
    } else if key.ends_with(".state") {
        // A device's, which reads it itself.
    } else if let Some(id) = key.strip_prefix('m') {
        tables.put_meter(id.parse().ok()?, parse::<Meter>(value)?);
    } else if let Ok(kref) = key.parse::<KRef>() {
        match kref {
            KRef::Object(id) => {
                let ObjectRow { owner, refs } = parse(value)?;
                let owner = owner.map(|owner| owner.parse()).transpose().ok()?;
                tables.put_object(id, Object { owner, reachable: refs.0, recognizable: refs.1 });
            }
            KRef::Promise(id) => tables.put_promise(id, parse::<PromiseRow>(value)?.read().ok()?),
            KRef::Device(_) => return None,
        }
    } else {
        let party: Party = key.parse().ok()?;
        let member = parse::<MemberRow>(value)?.read();
        tables.put_member(party, member);
    }
    Some(())
}
