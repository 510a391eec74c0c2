//! Cranks: one delivery each, until the vat has nothing left to do.

use super::admin::tell_end;
use super::host::Ran;
use super::install::smallcaps_body;
use super::kernel::{CapData, Delivery, Dialect, GcKind, Item, Member, Next, Party, Reaped, Upgrade, VatData, Watch};
use super::{CRANK_BYTES, Core, Event, RUN_INSTRUCTIONS, Reply, VatRealm, Vats};
use crate::{Fault, outcome};
use sandbox::{Failure, Outcome};
use serde_json::json;
use std::fmt::Write as _;

/// What `bringOutYourDead` answers when there is more.
const MORE: &str = "more";

const METER_UNDERFLOW: &str = "meter underflow, vat terminated";

/// What a crank came to.
pub(super) enum Cranked {
    /// Nothing waits.
    Idle,
    /// It was done.
    Done,
    /// The vat was terminated.
    Terminated(Failure),
}

/// Why a vat ends.
pub(super) enum End {
    /// What it did in this crank is undone.
    Undone(Failure),
    /// It wanted to, and what it did counts.
    Left(CapData),
}

impl Vats {
    /// Runs cranks until nothing waits, at most so many, and no more when they have taken long. How many it were.
    pub(super) fn run(&mut self, most: u64) -> Result<u64, Fault> {
        let mut ran = 0;
        while ran < most && self.core().has_room() {
            if let Cranked::Idle = self.crank()? {
                break;
            }
            ran += 1;
        }
        Ok(ran)
    }

    /// Runs the next crank.
    pub(super) fn crank(&mut self) -> Result<Cranked, Fault> {
        let core = self.core_mut();
        core.begin_crank();
        if core.kernel.is_cycle_search_due() {
            self.collect_cycles()?;
            return Ok(Cranked::Done);
        }
        let (vat, delivery) = match core.kernel.take_next() {
            Next::Idle => return Ok(Cranked::Idle),
            Next::Done => {
                core.end_crank();
                return Ok(Cranked::Done);
            }
            Next::Upgrade(vat, upgrade) => {
                self.upgrade(vat, &upgrade)?;
                return Ok(Cranked::Done);
            }
            Next::Deliver(vat, delivery) => (vat, delivery),
        };
        self.work(vat, &delivery)
    }

    /// Makes a delivery, whatever comes of it: the rest of a crank.
    pub(super) fn work(&mut self, vat: u64, delivery: &Delivery) -> Result<Cranked, Fault> {
        let core = self.core_mut();
        core.note(vat, delivery);
        let realm = match delivery {
            Delivery::Start(_) => Some(self.realms.fresh(vat)?),
            _ => self.realms.take(vat, self.core.as_ref().expect("not lent"))?,
        };
        let Some(mut realm) = realm else { return Err(Fault::Checkpoint(format!("v{vat} has no heap"))) };
        let end = self.deliver(vat, &mut realm, delivery)?;
        let core = self.core_mut();
        let Some(end) = end else {
            let reaped = (*delivery == Delivery::BringOutYourDead).then(|| match core.more {
                true => Reaped::Some,
                false => Reaped::All(realm.instructions()),
            });
            core.kernel.delivered(vat, reaped);
            if let Delivery::Start(_) = *delivery
                && core.is_dynamic(vat)
            {
                core.tell_start(vat);
            }
            self.finish()?;
            self.realms.keep(vat, realm)?;
            return Ok(Cranked::Done);
        };
        let (failure, rejects, why) = match end {
            End::Undone(failure) => {
                // The message waits again, and finds the vat gone. What was computed was computed.
                core.abandon_crank();
                core.pay(vat, realm.instructions());
                let why = CapData::error(Dialect::Today, &failure.name, &failure.message);
                (failure, true, why)
            }
            End::Left(data) => {
                let (name, message) = data.failure();
                (failure(&name, &message), false, data)
            }
        };
        // What does not come up with the installation is the installation's own error.
        if rejects && self.install.is_some() {
            self.core_mut().say_end(vat, &failure);
        }
        let core = self.core_mut();
        core.terminate(vat, &failure, rejects, why)?;
        self.finish()?;
        self.realms.drop_vat(vat);
        Ok(Cranked::Terminated(failure))
    }

    /// Ends a crank that counts, and with it the vats that another has ended.
    fn finish(&mut self) -> Result<(), Fault> {
        for (vat, member) in std::mem::take(&mut self.core_mut().ended) {
            self.core_mut().clear_away(vat, &member, "another has ended it")?;
            self.realms.drop_vat(vat);
        }
        self.core_mut().end_crank();
        Ok(())
    }

    /// A vat begins anew: it lets go of what it does not keep, in a copy of its realm; then a fresh one takes over what it has kept in
    /// its store. If that does not come up, nothing has happened but that whoever wanted it hears so.
    fn upgrade(&mut self, vat: u64, upgrade: &Upgrade) -> Result<(), Fault> {
        let Upgrade { id, module, parameters, message } = upgrade;
        let party = Party::Vat(vat);
        let Some(member) = self.core().kernel.tables().member(party).cloned() else {
            let core = self.core_mut();
            core.tell_upgrade(*id, Err("vat is not running"));
            core.end_crank();
            return Ok(());
        };
        let core = self.core.as_ref().expect("not lent");
        let Some(old) = self.realms.take(vat, core)? else { return Err(Fault::Checkpoint(format!("v{vat} has no heap"))) };
        let mut copy = self.realms.copy(vat, &old)?;
        self.realms.put(vat, old)?;
        let incarnation = member.incarnation + 1;
        let disconnection = disconnection(member.dialect, message, member.incarnation);
        let stop = Delivery::Stop(VatData { body: disconnection.body.clone(), slots: Vec::new() });
        self.core_mut().note(vat, &stop);
        let mut end = self.deliver(vat, &mut copy, &stop)?;
        let mut spent = copy.instructions();
        let mut realm = self.realms.fresh(vat)?;
        if end.is_none() {
            let core = self.core_mut();
            core.kernel.disconnect(vat, &disconnection);
            if let Some(member) = core.kernel.tables_mut().member_mut(party) {
                (member.incarnation, member.module) = (incarnation, module.clone());
            }
            let start = Delivery::Start(core.kernel.export_data(party, parameters));
            core.note(vat, &start);
            end = self.deliver(vat, &mut realm, &start)?;
            spent = spent.saturating_add(realm.instructions());
        }
        match end {
            None => {
                let core = self.core_mut();
                core.kernel.delivered(vat, Some(Reaped::All(0)));
                core.tell_upgrade(*id, Ok(incarnation));
                self.finish()?;
                self.realms.keep(vat, realm)
            }
            Some(end) => {
                let text = match end {
                    End::Undone(failure) => format!("vat-upgrade failure: {}: {}", failure.name, failure.message),
                    End::Left(_) => "vat-upgrade failure: the vat has left".to_owned(),
                };
                let core = self.core_mut();
                core.abandon_crank();
                // The wish itself is gone.
                core.kernel.tables_mut().pop();
                core.kernel.let_go(parameters);
                core.pay(vat, spent);
                core.tell_upgrade(*id, Err(&text));
                core.end_crank();
                Ok(())
            }
        }
    }

    /// Makes a delivery, and says why the vat ends by it, if it does.
    pub(super) fn deliver(&mut self, vat: u64, realm: &mut VatRealm, delivery: &Delivery) -> Result<Option<End>, Fault> {
        let (outcome, ran) = self.run_realm(vat, realm, delivery)?;
        self.core = Some(ran.core);
        let core = self.core.as_mut().expect("just put");
        core.spent = core.spent.saturating_add(realm.instructions());
        core.more = false;
        Ok(match (ran.illegal, outcome, ran.exit) {
            (Some(illegal), ..) => Some(End::Undone(failure("IllegalSyscallError", &illegal.0))),
            (None, Outcome::Failure(error) | Outcome::Refused(error), _) => {
                let stack = core.modules.as_written(&error.stack).into_owned();
                Some(End::Undone(of_a_crank(Failure { stack, ..error })))
            }
            (None, _, Some((true, data))) => {
                let (name, message) = data.failure();
                Some(End::Undone(failure(&name, &message)))
            }
            (None, ..) if !delivery.is_of_garbage() && !core.pay(vat, realm.instructions()) => {
                Some(End::Undone(failure("Error", METER_UNDERFLOW)))
            }
            (None, _, Some((false, data))) => Some(End::Left(data)),
            (None, outcome, None) => {
                match (delivery, outcome) {
                    (Delivery::Start(_), Outcome::Value(reply)) => core.started(vat, &reply),
                    (Delivery::BringOutYourDead, Outcome::Value(reply)) => core.more = reply == MORE,
                    _ => {}
                }
                None
            }
        })
    }

    fn run_realm(&mut self, vat: u64, realm: &mut VatRealm, delivery: &Delivery) -> Result<(Outcome, Ran), Fault> {
        let core = self.core.take().expect("lent while a vat runs only");
        let start = match delivery {
            Delivery::Start(_) => core.options(vat),
            _ => String::new(),
        };
        realm.host_mut().lend(core);
        let outcome = fields(delivery, &start, |kind, fields| realm.deliver(kind, fields));
        let ran = realm.host_mut().take();
        match outcome {
            Ok(outcome) => Ok((outcome, ran)),
            Err(fault) => {
                self.core = Some(ran.core);
                Err(fault.into())
            }
        }
    }
}

/// Limits speak of a call; here it is a crank.
fn of_a_crank(failure: Failure) -> Failure {
    let message = match failure.name.as_str() {
        "InstructionLimitError" | "HeapLimitError" => failure.message.strip_prefix("The call "),
        _ => None,
    };
    match message.map(|rest| format!("The crank {rest}")) {
        Some(message) => Failure { message, ..failure },
        None => failure,
    }
}

pub(super) fn failure(name: &str, message: &str) -> Failure {
    Failure { name: name.into(), message: message.into(), stack: String::new() }
}

/// The kind and the fields of a delivery, as the guest wants them.
fn fields<T>(delivery: &Delivery, start: &str, with: impl FnOnce(&str, &[&str]) -> T) -> T {
    match delivery {
        Delivery::Message { target, method, args, result } => {
            let slots = args.slots.join(",");
            let (form, method) = method.as_ref().map_or(("2", ""), |method| ("1", method));
            with("message", &[target, form, method, &args.body, &slots, result.as_deref().unwrap_or_default()])
        }
        Delivery::Notify(resolutions) => {
            let slots: Vec<String> = resolutions.iter().map(|(_, _, data)| data.slots.join(",")).collect();
            let fields: Vec<&str> = resolutions
                .iter()
                .zip(&slots)
                .flat_map(|((vpid, rejected, data), slots)| {
                    [vpid.as_str(), if *rejected { "1" } else { "0" }, data.body.as_str(), slots.as_str()]
                })
                .collect();
            with("notify", &fields)
        }
        Delivery::Gc(kind, vrefs) => with(gc_name(*kind), &vrefs.iter().map(String::as_str).collect::<Vec<_>>()),
        Delivery::BringOutYourDead => with("bringOutYourDead", &[]),
        Delivery::Stop(data) => with("stopVat", &[&data.body, &data.slots.join(",")]),
        Delivery::Start(parameters) => with("startVat", &[start, &parameters.body, &parameters.slots.join(",")]),
    }
}

fn gc_name(kind: GcKind) -> &'static str {
    match kind {
        GcKind::DropExport => "dropExports",
        GcKind::RetireExport => "retireExports",
        GcKind::RetireImport => "retireImports",
    }
}

/// What `startVat` answers.
#[derive(serde::Deserialize)]
struct Started {
    dialect: Dialect,
    dispatch: String,
}

/// What `startVat` is told.
#[derive(serde::Serialize)]
struct Options<'a> {
    name: &'a str,
    #[serde(rename = "vatID")]
    vat_id: String,
    module: &'a str,
    upgrade: bool,
}

/// What others hear of promises that a vat had to decide before it began anew.
fn disconnection(dialect: Dialect, message: &str, incarnation: u64) -> CapData {
    let value = json!({ "incarnationNumber": incarnation, "name": "vatUpgraded", "upgradeMessage": message });
    let body = match dialect {
        Dialect::Today => smallcaps_body(&value),
        Dialect::Old => value.to_string(),
    };
    CapData { body, slots: Vec::new() }
}

impl Core {
    /// Whether the transaction is not too long yet.
    fn has_room(&self) -> bool {
        self.spent < RUN_INSTRUCTIONS && self.bytes.1 + self.cranks.len() < CRANK_BYTES
    }

    pub(super) fn begin_crank(&mut self) {
        self.bytes = (0, self.bytes.1 + self.bytes.0);
        self.noted = self.events.as_ref().map_or(0, Vec::len);
        self.kernel.begin();
        self.devices.begin();
        self.ended.clear();
    }

    /// What a crank did is undone; what follows from that belongs to it, too.
    pub(super) fn abandon_crank(&mut self) {
        self.kernel.abandon();
        self.devices.abandon();
        self.ended.clear();
        self.kernel.begin();
        if let Some(events) = &mut self.events {
            // That it was delivered is true; what the vat did is not.
            events.truncate(self.noted + 1);
        }
    }

    pub(super) fn end_crank(&mut self) {
        self.kernel.finish();
        let settled = self.kernel.take_settled();
        self.replies.extend(settled);
    }

    /// What has come of calls in this transaction.
    pub(super) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies)
            .into_iter()
            .map(|settled| Reply { watch: settled.watch, result: reply_of(&settled) })
            .collect()
    }

    fn options(&self, vat: u64) -> String {
        let Some(member) = self.kernel.tables().member(Party::Vat(vat)) else { return String::new() };
        let options =
            Options { name: &member.name, vat_id: format!("v{vat}"), module: &member.module, upgrade: member.incarnation > 0 };
        serde_json::to_string(&options).expect("strings can be written")
    }

    fn started(&mut self, vat: u64, reply: &str) {
        let Ok(started) = serde_json::from_str::<Started>(reply) else { return };
        let Some(member) = self.kernel.tables_mut().member_mut(Party::Vat(vat)) else { return };
        member.dialect = started.dialect;
        member.raw = started.dispatch == "raw";
    }

    fn say_end(&mut self, vat: u64, failure: &Failure) {
        let name = self.kernel.tables().member(Party::Vat(vat)).map_or("", |member| member.name.as_str());
        let line = format!("vat {name} (v{vat}) terminated: {}: {}", failure.name, failure.message);
        (self.console)(self.number, sandbox::Level::Error, &line);
    }

    /// A vat ends: what it had to decide is rejected.
    fn terminate(&mut self, vat: u64, failure: &Failure, rejects: bool, why: CapData) -> Result<(), Fault> {
        let Some(member) = self.kernel.tables().member(Party::Vat(vat)).cloned() else { return Ok(()) };
        let why_text = format!("{}: {}", failure.name, failure.message);
        self.kernel.terminate(vat, &CapData::error(member.dialect, "Error", "vat terminated"));
        self.clear_away(vat, &member, &why_text)?;
        if member.dynamic {
            tell_end(&mut self.kernel, vat, rejects, why);
        }
        Ok(())
    }

    /// What a vat leaves behind that has ended: its store is emptied, and if it was critical the kernel stops.
    fn clear_away(&mut self, vat: u64, member: &Member, why: &str) -> Result<(), Fault> {
        if let Some(events) = &mut self.events {
            let crank = self.kernel.tables().counters().cranks;
            events.push(Event::Terminated { crank, vat: format!("v{vat}"), why: why.to_owned() });
        }
        for key in self.store_keys(vat)? {
            self.kernel.tables_mut().store(vat, &key, None);
        }
        if member.critical {
            let line = format!("the kernel stops: {} (v{vat}) was critical", member.name);
            (self.console)(self.number, sandbox::Level::Error, &line);
            self.kernel.tables_mut().counters_mut().panic = Some(vat);
        }
        Ok(())
    }

    /// A line for the ledger, and an event for who looks on.
    fn note(&mut self, vat: u64, delivery: &Delivery) {
        let line = &mut self.cranks;
        let data = |line: &mut String, data: &VatData| {
            let _ = write!(line, "\t{}\t", data.slots.join(","));
            escape(line, &data.body);
        };
        let _ = write!(line, "v{vat}\t");
        match delivery {
            Delivery::Message { target, method, args, result } => {
                let _ = write!(line, "message\t{target}\t{}\t", result.as_deref().unwrap_or_default());
                escape(line, method.as_deref().unwrap_or_default());
                data(line, args);
            }
            Delivery::Notify(resolutions) => {
                line.push_str("notify");
                for (vpid, rejected, resolution) in resolutions {
                    let _ = write!(line, "\t{vpid}\t{}", if *rejected { "rejected" } else { "fulfilled" });
                    data(line, resolution);
                }
            }
            Delivery::Gc(kind, vrefs) => {
                let _ = write!(line, "{}\t{}", gc_name(*kind), vrefs.join(","));
            }
            Delivery::BringOutYourDead => line.push_str("bringOutYourDead"),
            Delivery::Stop(disconnection) => {
                line.push_str("stopVat");
                data(line, disconnection);
            }
            Delivery::Start(parameters) => {
                line.push_str("startVat");
                data(line, parameters);
            }
        }
        line.push('\n');
        if self.events.is_some() {
            self.delivers(vat, delivery);
        }
    }

    fn delivers(&mut self, vat: u64, delivery: &Delivery) {
        let crank = self.kernel.tables().counters().cranks;
        let clist = self.kernel.tables().clist(Party::Vat(vat));
        let known = |vref: &str| {
            let kref = clist.and_then(|clist| clist.kref(vref));
            kref.map_or_else(|| vref.to_owned(), |kref| kref.to_string())
        };
        let name = format!("v{vat}");
        let event = match delivery {
            Delivery::Message { target, method, args, result } => {
                let message = super::kernel::Message {
                    method: method.clone(),
                    args: CapData { body: args.body.clone(), slots: Vec::new() },
                    result: None,
                };
                Event::Deliver {
                    crank,
                    vat: name,
                    target: known(target),
                    method: message.method_name(),
                    args: args.body.clone(),
                    in_body: method.is_none(),
                    result: result.as_deref().map(known),
                }
            }
            Delivery::Notify(_) => {
                Event::Notify { crank, vat: name, promises: self.kernel.told().iter().map(|id| format!("kp{id}")).collect() }
            }
            Delivery::Gc(kind, vrefs) => {
                Event::Other { crank, vat: name, what: format!("{} {}", gc_name(*kind), vrefs.join(",")) }
            }
            Delivery::BringOutYourDead => Event::Other { crank, vat: name, what: "bringOutYourDead".into() },
            Delivery::Start(_) => Event::Other { crank, vat: name, what: "startVat".into() },
            Delivery::Stop(_) => Event::Other { crank, vat: name, what: "stopVat".into() },
        };
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }

    /// The vat has just sent what is last in the queue.
    pub(super) fn sent(&mut self, vat: u64) {
        let crank = self.kernel.tables().counters().cranks;
        let Some(Item::Send(target, message)) = self.kernel.tables().last_in_queue() else { return };
        let result = message.result.map(|id| format!("kp{id}"));
        let event =
            Event::Send { crank, vat: format!("v{vat}"), target: target.to_string(), method: message.method_name(), result };
        if let Some(events) = &mut self.events {
            events.push(event);
        }
    }

    /// The vat is about to resolve promises.
    pub(super) fn resolves(&mut self, vat: u64, resolutions: &[super::kernel::Resolution]) {
        let crank = self.kernel.tables().counters().cranks;
        let clist = self.kernel.tables().clist(Party::Vat(vat));
        let all: Vec<Event> = resolutions
            .iter()
            .map(|(vpid, rejected, body, _)| Event::Resolve {
                crank,
                vat: format!("v{vat}"),
                promise: clist.and_then(|clist| clist.kref(vpid)).map_or_else(|| (*vpid).to_owned(), |kref| kref.to_string()),
                rejected: *rejected,
                body: (*body).to_owned(),
            })
            .collect();
        if let Some(events) = &mut self.events {
            events.extend(all);
        }
    }
}

/// A body holds no line feed and no tab as it stands there.
fn escape(line: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\t' => line.push_str("\\t"),
            '\\' => line.push_str("\\\\"),
            c => line.push(c),
        }
    }
}

/// What a promise that the kernel waited for tells the outside: `http` answers with a string of JSON, empty for `undefined`. It is
/// sent as the ledger has it, where a result holds no line feed.
fn reply_of(settled: &super::kernel::Settled) -> outcome::Result {
    if settled.rejected {
        let (name, message) = settled.data.failure();
        return Err(failure(&name, &message));
    }
    if let Watch::Bootstrap = settled.watch {
        return Ok(None);
    }
    let body = settled.data.body.strip_prefix('#').unwrap_or(&settled.data.body);
    let Ok(text) = serde_json::from_str::<String>(body) else { return Ok(None) };
    let text = text.strip_prefix('!').unwrap_or(&text).replace(['\n', '\r'], " ");
    let json = serde_json::from_str::<&serde_json::value::RawValue>(&text).ok();
    Ok(json.map(|json| json.get().to_owned()))
}
