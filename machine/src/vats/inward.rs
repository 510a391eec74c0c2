//! What comes to the kernel from elsewhere than its vats: calls, ticks, mail, devices; and the vats' stores.

use super::admin::Desk;
use super::crank::failure;
use super::devices::command::Response;
use super::devices::{self, Admin, AdminAnswer, Outlet};
use super::install::{HTTP, smallcaps_body, smallcaps_text};
use super::kernel::{CapData, Illegal, KRef, Message, Party, STORE, VALUES, VatData, Watch, is_digestible};
use super::work::Work;
use super::{Core, Reply};
use crate::Fault;
use crate::input::Call;
use ledger::Hash;
use sandbox::{Failure, Level};
use serde_json::json;
use serde_json::value::RawValue;
use std::ops::Bound;

/// What is said to who calls when a critical vat has ended.
pub const STOPPED: &str = "The kernel has stopped: a critical vat has ended";

impl Outlet for Desk<'_> {
    fn send(&mut self, target: &str, method: &str, args: devices::CapData) {
        let Some(target) = self.kernel.tables().clist(self.device).and_then(|clist| clist.kref(target)) else { return };
        let slots: Vec<&str> = args.slots.iter().map(String::as_str).collect();
        let Ok(data) = self.kernel.import_data(self.device, &args.body, &slots) else {
            self.lost = true;
            return;
        };
        let message = match data.body.strip_prefix('#') {
            // In today's form the method is part of the body.
            Some(args) => {
                let body = format!("#[{},{args}]", smallcaps_text(method));
                Message { method: None, args: CapData { body, slots: data.slots }, result: None }
            }
            None => Message { method: Some(method.to_owned()), args: data, result: None },
        };
        self.kernel.send(target, message);
    }

    fn admin(&mut self, ask: Admin) -> Result<AdminAnswer, String> {
        Desk::admin(self, ask)
    }
}

impl Desk<'_> {
    /// Whether everything that the device has sent is on its way.
    fn sent(&self) -> Result<(), String> {
        if self.lost { Err("It is more than a vat may be sent at once".into()) } else { Ok(()) }
    }
}

impl Core {
    /// A call from outside: `vats.http` passes it on to what was registered there; a command goes to who takes them.
    /// `input` is the digest of the call as the ledger has it.
    pub(super) fn call(&mut self, call: &Call, input: Hash) -> Result<(), Failure> {
        if self.kernel.tables().counters().panic.is_some() {
            return Err(failure("Error", STOPPED));
        }
        if !is_digestible(&call.args) {
            return Err(failure("RangeError", &format!("The arguments hold more than {VALUES} values")));
        }
        if call.method == devices::COMMAND && self.devices.takes_commands() {
            return self.command(&call.args, input).map_err(|message| failure("Error", &message));
        }
        let root = self.vat_named(HTTP).map(|http| self.kernel.exported(Party::Vat(http), "o+0"));
        let Some(root) = root else {
            return Err(failure("Error", "These vats take no calls: there is no vat 'http'"));
        };
        let result = self.kernel.watch(Watch::Call { number: self.number, input });
        let caller = json!({ "id": call.caller.id() });
        let body = smallcaps_body(&json!(["call", [call.method, call.args, caller]]));
        self.kernel.send(root, Message { method: None, args: CapData { body, slots: Vec::new() }, result: Some(result) });
        Ok(())
    }

    /// What comes of it is what is answered to the device.
    fn command(&mut self, args: &str, input: Hash) -> Result<(), String> {
        let Ok([json]) = serde_json::from_str::<[&RawValue; 1]>(args) else {
            return Err("command(obj) takes one argument".into());
        };
        let Core { kernel, devices, modules, ended, number, .. } = self;
        let id = devices.id(devices::COMMAND).ok_or("There is no device 'command'")?;
        let mut desk = Desk { kernel, modules, device: Party::Device(id), ended, asks: None, lost: false };
        devices.command(id, *number, ledger::hex::encode(&input), json.get(), &mut desk)?;
        desk.sent()
    }

    /// What vats have said over the command device: answers to calls, and lines for the console.
    pub(super) fn take_commanded(&mut self) -> Vec<Reply> {
        let (responses, broadcasts) = self.devices.take_commanded();
        for json in broadcasts {
            (self.console)(self.number, Level::Info, &format!("broadcast {json}"));
        }
        let reply = |response: Response| {
            let Response { number, input, is_reject, body } = response;
            let input = ledger::hex::decode(&input)?;
            let result = match is_reject {
                false => Ok(body),
                true => {
                    let body = body.unwrap_or_default();
                    Err(failure("Error", &serde_json::from_str::<String>(&body).unwrap_or(body)))
                }
            };
            Some(Reply { watch: Watch::Call { number, input }, result })
        };
        responses.into_iter().filter_map(reply).collect()
    }

    /// The timer hears what time it is.
    pub(super) fn time(&mut self, time_ms: u64) {
        // Nothing is due that says so; that time stands still is no error here.
        let _ = self.input(&Work::Tick, time_ms);
    }

    /// Something for a device.
    pub(super) fn input(&mut self, work: &Work, time_ms: u64) -> Result<(), String> {
        let name = match work {
            Work::Tick => "timer",
            Work::Mail { .. } => "mailbox",
            Work::Install(_) | Work::Run(_) => return Ok(()),
        };
        let Core { kernel, devices, modules, ended, .. } = self;
        let id = devices.id(name).ok_or_else(|| format!("There is no device '{name}'"))?;
        let mut desk = Desk { kernel, modules, device: Party::Device(id), ended, asks: None, lost: false };
        devices.input(id, work, time_ms, &mut desk)?;
        desk.sent()
    }

    /// A vat calls a device, which answers at once.
    pub(super) fn call_device(
        &mut self,
        vat: u64,
        target: &str,
        method: &str,
        args: VatData,
    ) -> Result<Result<VatData, String>, Illegal> {
        let Core { kernel, devices, modules, ended, .. } = self;
        let known = kernel.tables().clist(Party::Vat(vat)).and_then(|clist| clist.kref(target));
        let Some(node @ KRef::Device(_)) = known else {
            return Err(Illegal(format!("{target} is no device that v{vat} knows")));
        };
        let slots: Vec<&str> = args.slots.iter().map(String::as_str).collect();
        let data = kernel.import_data(Party::Vat(vat), &args.body, &slots)?;
        if data.slots.iter().any(|slot| matches!(slot, KRef::Promise(_))) {
            return Ok(Err("D() arguments cannot include a Promise".into()));
        }
        let owner = devices.ids().find_map(|id| {
            let entry = kernel.tables().clist(Party::Device(id))?.entry(node)?;
            entry.vref.starts_with("d+").then(|| (id, entry.vref.clone()))
        });
        let Some((id, target)) = owner else { return Ok(Err("The device is gone".into())) };
        let party = Party::Device(id);
        let VatData { body, slots } = kernel.export_data(party, &data);
        let args = devices::CapData { body, slots };
        let mut desk = Desk { kernel: &mut *kernel, modules, device: party, ended, asks: Some(vat), lost: false };
        let answer = match devices.call(id, &mut desk, &target, method, &args).and_then(|answer| desk.sent().map(|()| answer)) {
            Ok(answer) => answer,
            Err(message) => return Ok(Err(message)),
        };
        let slots: Vec<&str> = answer.slots.iter().map(String::as_str).collect();
        match kernel.import_data(party, &answer.body, &slots) {
            Ok(data) => Ok(Ok(kernel.export_data(Party::Vat(vat), &data))),
            Err(Illegal(message)) => Ok(Err(message)),
        }
    }

    /// A row of a vat's store.
    pub(super) fn store_get(&self, vat: u64, key: &str) -> Result<Option<String>, Fault> {
        if let Some(row) = self.kernel.tables().stored(vat, key) {
            return Ok(row.clone());
        }
        let row = self.records.state().get(STORE, format!("v{vat}.{key}").as_bytes())?;
        Ok(row.map(|row| String::from_utf8_lossy(row.value()).into_owned()))
    }

    /// The next key of a vat's store.
    pub(super) fn store_next(&self, vat: u64, prior: &str) -> Result<Option<String>, Fault> {
        let tables = self.kernel.tables();
        let newer = tables.stored_after(vat, prior).find(|(_, value)| value.is_some()).map(|(key, _)| key.to_owned());
        let prefix = format!("v{vat}.");
        let (from, to) = (format!("{prefix}{prior}"), format!("v{vat}/"));
        let mut older = None;
        for key in self.records.state().keys(STORE, Bound::Excluded(from.as_bytes()), Bound::Excluded(to.as_bytes()))? {
            let key = String::from_utf8_lossy(&key?[prefix.len()..]).into_owned();
            if !matches!(tables.stored(vat, &key), Some(None)) {
                older = Some(key);
                break;
            }
        }
        Ok(match (newer, older) {
            (Some(newer), Some(older)) => Some(newer.min(older)),
            (newer, older) => newer.or(older),
        })
    }

    /// All keys of a vat's store.
    pub(super) fn store_keys(&self, vat: u64) -> Result<Vec<String>, Fault> {
        let mut keys = Vec::new();
        let mut at = String::new();
        while let Some(key) = self.store_next(vat, &at)? {
            at.clone_from(&key);
            keys.push(key);
        }
        Ok(keys)
    }
}
