//! The devices of one kernel, by their numbers, and how they are undone and kept.

use super::{CapData, Device, Outlet, command, http, loopbox, mailbox, timer, vat_admin};
use crate::Fault;
use crate::state::State;
use crate::vats::Work;
use crate::vats::kernel::{Kernel, Party, ROWS};
use ledger::WriteSet;
use std::collections::{BTreeMap, BTreeSet};

/// What is called from outside to reach the command device.
pub const COMMAND: &str = "command";

/// For each peer what there is with it.
pub type Mail = BTreeMap<String, mailbox::Peer>;

enum Any {
    Loopbox(loopbox::Loopbox),
    Mailbox(mailbox::Mailbox),
    Timer(timer::Timer),
    Command(command::Command),
    VatAdmin(vat_admin::VatAdmin),
    Http(http::Http),
}

impl Any {
    /// A device as it was kept, or new.
    fn load(name: &str, saved: Option<&str>) -> Result<Any, String> {
        fn kept<T: Default>(saved: Option<&str>, load: impl FnOnce(&str) -> Result<T, String>) -> Result<T, String> {
            saved.map_or_else(|| Ok(T::default()), load)
        }
        Ok(match name {
            "loopbox" => Any::Loopbox(kept(saved, loopbox::Loopbox::load)?),
            "mailbox" => Any::Mailbox(kept(saved, mailbox::Mailbox::load)?),
            "timer" => Any::Timer(kept(saved, timer::Timer::load)?),
            "command" => Any::Command(kept(saved, command::Command::load)?),
            "vatAdmin" => Any::VatAdmin(kept(saved, vat_admin::VatAdmin::load)?),
            "http" => Any::Http(kept(saved, http::Http::load)?),
            other => return Err(format!("There is no device '{other}'")),
        })
    }

    fn device(&self) -> &dyn Device {
        match self {
            Any::Loopbox(device) => device,
            Any::Mailbox(device) => device,
            Any::Timer(device) => device,
            Any::Command(device) => device,
            Any::VatAdmin(device) => device,
            Any::Http(device) => device,
        }
    }

    fn device_mut(&mut self) -> &mut dyn Device {
        match self {
            Any::Loopbox(device) => device,
            Any::Mailbox(device) => device,
            Any::Timer(device) => device,
            Any::Command(device) => device,
            Any::VatAdmin(device) => device,
            Any::Http(device) => device,
        }
    }
}

/// See the [module](self).
#[derive(Default)]
pub struct Devices {
    all: BTreeMap<u64, Any>,
    /// Those that were called in this crank, as they were before it.
    before: BTreeMap<u64, String>,
    /// Those that were undone in this transaction: whether they differ from their rows is not known.
    undone: BTreeSet<u64>,
    /// Mail may have changed since it was asked for last.
    mail: bool,
}

/// The key of a device's state.
fn row(id: u64) -> String {
    format!("d{id}.state")
}

impl Devices {
    /// The devices of a kernel, as a state has them.
    pub(crate) fn resume(kernel: &Kernel, state: &State) -> Result<Devices, Fault> {
        let mut devices = Devices { mail: true, ..Devices::default() };
        for (party, member) in kernel.tables().members() {
            let Party::Device(id) = party else { continue };
            let saved = state.get(ROWS, row(id).as_bytes())?;
            let saved = saved.map(|saved| String::from_utf8_lossy(saved.value()).into_owned());
            devices.all.insert(id, Any::load(&member.name, saved.as_deref()).map_err(Fault::Checkpoint)?);
        }
        Ok(devices)
    }

    pub(crate) fn add(&mut self, id: u64, name: &str) -> Result<(), String> {
        self.all.insert(id, Any::load(name, None)?);
        Ok(())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.all.values().map(|any| any.device().name())
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> {
        self.all.keys().copied()
    }

    pub(crate) fn id(&self, name: &str) -> Option<u64> {
        self.all.iter().find(|(_, any)| any.device().name() == name).map(|(id, _)| *id)
    }

    /// A crank begins.
    pub(crate) fn begin(&mut self) {
        self.before.clear();
    }

    /// What a crank did to devices is undone.
    pub(crate) fn abandon(&mut self) {
        for (id, before) in std::mem::take(&mut self.before) {
            let Some(any) = self.all.get_mut(&id) else { continue };
            // What it has saved it can load.
            if let Ok(mut old) = Any::load(any.device().name(), Some(&before)) {
                std::mem::swap(any, &mut old);
                self.undone.insert(id);
            }
        }
    }

    /// The transaction is undone, of which this was the first crank: all is as it is in the rows.
    pub(crate) fn undo_transaction(&mut self) {
        self.abandon();
        self.undone.clear();
    }

    /// A vat calls a device.
    pub(crate) fn call(
        &mut self,
        id: u64,
        outlet: &mut dyn Outlet,
        target: &str,
        method: &str,
        args: &CapData,
    ) -> Result<CapData, String> {
        let any = self.all.get_mut(&id).ok_or("The device is gone")?;
        self.before.entry(id).or_insert_with(|| any.device().save());
        self.mail |= matches!(any, Any::Mailbox(_));
        any.device_mut().call(outlet, target, method, args)
    }

    /// Something has come from outside for a device.
    pub(crate) fn input(&mut self, id: u64, work: &Work, time_ms: u64, outlet: &mut dyn Outlet) -> Result<(), String> {
        let any = self.all.get_mut(&id).ok_or("The device is gone")?;
        self.before.entry(id).or_insert_with(|| any.device().save());
        match (any, work) {
            (Any::Mailbox(mailbox), Work::Mail { peer, id, messages, ack }) => {
                self.mail = true;
                mailbox.deliver_inbound(peer, id.as_deref(), messages, *ack, outlet).map(|_| ())
            }
            (Any::Timer(timer), _) if time_ms > timer.last_polled() => timer.poll(time_ms, outlet).map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Adds the state of those that have changed.
    pub(crate) fn write(&mut self, writes: &mut WriteSet) {
        let undone = std::mem::take(&mut self.undone);
        for (id, any) in &mut self.all {
            if any.device().changed() || undone.contains(id) {
                writes.put(ROWS, row(*id), any.device().save());
                any.device_mut().saved();
            }
        }
    }

    /// What the outside may call, as far as it is known.
    pub fn methods(&self) -> Vec<String> {
        let http = self.all.values().find_map(|any| if let Any::Http(http) = any { Some(http) } else { None });
        let mut methods = http.and_then(http::Http::methods).map(<[String]>::to_vec).unwrap_or_default();
        if self.takes_commands() && !methods.iter().any(|method| method == COMMAND) {
            methods.push(COMMAND.into());
            methods.sort();
        }
        methods
    }

    /// Whether a vat has said that it takes commands.
    pub(crate) fn takes_commands(&self) -> bool {
        self.all.values().any(|any| matches!(any, Any::Command(command) if command.is_open()))
    }

    /// A call of [`COMMAND`] for the device `id`: its number, the digest of its input, and its argument.
    pub(crate) fn command(
        &mut self,
        id: u64,
        number: u64,
        input: String,
        json: &str,
        outlet: &mut dyn Outlet,
    ) -> Result<(), String> {
        let Some(Any::Command(command)) = self.all.get_mut(&id) else { return Err("The device is gone".into()) };
        self.before.entry(id).or_insert_with(|| command.save());
        command.inbound(number, input, json, outlet)
    }

    /// What was answered to commands, and what was announced, in this transaction.
    pub(crate) fn take_commanded(&mut self) -> (Vec<command::Response>, Vec<String>) {
        let command = self.all.values_mut().find_map(|any| if let Any::Command(command) = any { Some(command) } else { None });
        command.map(|command| (command.take_responses(), command.take_broadcasts())).unwrap_or_default()
    }

    /// When the timer has to be looked at, in milliseconds since 1970.
    pub fn next_wakeup(&self) -> Option<u64> {
        self.all.values().find_map(|any| if let Any::Timer(timer) = any { timer.next_wakeup() } else { None })
    }

    /// Whether there can be mail.
    pub fn has_mailbox(&self) -> bool {
        self.all.values().any(|any| matches!(any, Any::Mailbox(_)))
    }

    /// What there is with other kernels, if that may have changed since it was asked for last, and if a vat takes what they send.
    pub(crate) fn take_mail(&mut self) -> Option<Mail> {
        let mailbox = self.all.values().find_map(|any| if let Any::Mailbox(mailbox) = any { Some(mailbox) } else { None })?;
        if !self.mail || !mailbox.is_open() {
            return None;
        }
        self.mail = false;
        Some(mailbox.peers().clone())
    }
}
