//! Cranks: one delivery each, until the vat has nothing left to do.

use super::host::Ran;
use super::kernel::{CapData, Delivery, Dialect, GcKind, Item, Next, Party, VatData, Watch};
use super::{Core, Event, Reply, VatRealm, Vats};
use crate::{Fault, outcome};
use sandbox::{Failure, Outcome};
use std::fmt::Write as _;

/// What a crank came to.
pub(super) enum Cranked {
    /// Nothing waits.
    Idle,
    /// It was done.
    Done,
    /// The vat was terminated.
    Terminated(u64, Failure),
}

/// Why a vat ends.
enum End {
    /// What it did in this crank is undone.
    Undone(Failure),
    /// It wanted to, and what it did counts.
    Left(CapData),
}

impl Vats {
    /// Runs cranks until nothing waits, at most so many. How many it were.
    pub(super) fn run(&mut self, most: u64) -> Result<u64, Fault> {
        for ran in 0..most {
            if let Cranked::Idle = self.crank()? {
                return Ok(ran);
            }
        }
        Ok(most)
    }

    /// Runs the next crank.
    pub(super) fn crank(&mut self) -> Result<Cranked, Fault> {
        let core = self.core_mut();
        core.kernel.begin();
        core.devices.begin();
        let (vat, delivery) = match core.kernel.next() {
            Next::Idle => return Ok(Cranked::Idle),
            Next::Done => {
                core.end_crank();
                return Ok(Cranked::Done);
            }
            Next::Upgrade(..) => {
                core.end_crank();
                return Ok(Cranked::Done);
            }
            Next::Deliver(vat, delivery) => (vat, delivery),
        };
        core.note(vat, &delivery);
        let realm = match &delivery {
            Delivery::Start(_) => Some(self.realms.fresh(vat)?),
            _ => self.realms.take(vat, self.core.as_ref().expect("not lent"))?,
        };
        let Some(mut realm) = realm else { return Err(Fault::Checkpoint(format!("v{vat} has no heap"))) };
        let (outcome, ran) = self.deliver(vat, &mut realm, &delivery)?;
        self.core = Some(ran.core);
        let core = self.core.as_mut().expect("just put");
        let end = match (ran.illegal, outcome, ran.exit) {
            (Some(illegal), ..) => Some(End::Undone(failure("IllegalSyscallError", &illegal.0))),
            (None, Outcome::Failure(error) | Outcome::Refused(error), _) => Some(End::Undone(error)),
            (None, _, Some((true, data))) => {
                let (name, message) = data.failure();
                Some(End::Undone(failure(&name, &message)))
            }
            (None, _, Some((false, data))) => Some(End::Left(data)),
            (None, outcome, None) => {
                if let (Delivery::Start(_), Outcome::Value(reply)) = (&delivery, outcome) {
                    core.started(vat, &reply);
                }
                None
            }
        };
        match end {
            None => {
                core.kernel.delivered(vat, delivery == Delivery::BringOutYourDead);
                core.end_crank();
                self.realms.keep(vat, realm)?;
                Ok(Cranked::Done)
            }
            Some(end) => {
                let failure = match end {
                    End::Undone(failure) => {
                        // The message waits again, and finds the vat gone.
                        core.kernel.abandon();
                        core.devices.abandon();
                        core.kernel.begin();
                        failure
                    }
                    End::Left(data) => {
                        let (name, message) = data.failure();
                        self::failure(&name, &message)
                    }
                };
                core.terminate(vat, &failure)?;
                core.end_crank();
                self.realms.drop_vat(vat);
                Ok(Cranked::Terminated(vat, failure))
            }
        }
    }

    fn deliver(&mut self, vat: u64, realm: &mut VatRealm, delivery: &Delivery) -> Result<(Outcome, Ran), Fault> {
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

impl Core {
    fn end_crank(&mut self) {
        self.kernel.finish();
        let settled = self.kernel.take_settled();
        self.replies.extend(settled);
    }

    /// What has come of calls in this transaction.
    pub(super) fn take_replies(&mut self) -> Vec<Reply> {
        std::mem::take(&mut self.replies).into_iter().map(|settled| Reply { watch: settled.watch, result: reply_of(&settled) }).collect()
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

    /// A vat ends: what it had to decide is rejected, its store is emptied.
    fn terminate(&mut self, vat: u64, failure: &Failure) -> Result<(), Fault> {
        if let Some(events) = &mut self.events {
            let crank = self.kernel.tables().counters().cranks;
            let why = format!("{}: {}", failure.name, failure.message);
            events.push(Event::Terminated { crank, vat: format!("v{vat}"), why });
        }
        let member = self.kernel.tables().member(Party::Vat(vat));
        let (dialect, name) = member.map_or((Dialect::Today, String::new()), |member| (member.dialect, member.name.clone()));
        let line = format!("vat {name} (v{vat}) terminated: {}: {}", failure.name, failure.message);
        (self.console)(self.number, sandbox::Level::Error, &line);
        self.kernel.terminate(vat, &CapData::error(dialect, "Error", "vat terminated"));
        for key in self.store_keys(vat)? {
            self.kernel.tables_mut().store(vat, &key, None);
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
                    result: result.as_deref().map(known),
                }
            }
            Delivery::Notify(_) => {
                Event::Notify { crank, vat: name, promises: self.kernel.told().iter().map(|id| format!("kp{id}")).collect() }
            }
            Delivery::Gc(kind, vrefs) => Event::Other { crank, vat: name, what: format!("{} {}", gc_name(*kind), vrefs.join(",")) },
            Delivery::BringOutYourDead => Event::Other { crank, vat: name, what: "bringOutYourDead".into() },
            Delivery::Start(_) => Event::Other { crank, vat: name, what: "startVat".into() },
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
        let event = Event::Send { crank, vat: format!("v{vat}"), target: target.to_string(), method: message.method_name(), result };
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

/// What a promise that the kernel waited for tells the outside: `http` answers with a string of JSON, empty for `undefined`.
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
    let text = text.strip_prefix('!').unwrap_or(&text).to_owned();
    Ok(Some(text).filter(|text| !text.is_empty() && serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok()))
}
