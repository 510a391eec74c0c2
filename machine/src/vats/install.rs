//! How vats begin: members of the kernel, their first delivery, and the call of `bootstrap`.

use super::crank::{Cranked, failure};
use super::devices::Devices;
use super::kernel::{CapData, Dialect, KRef, Kernel, Message, Party, Watch};
use super::source::{Source, candidates};
use super::wavy::{Kind, Rewrite};
use super::work::Install;
use super::{Core, Vats};
use crate::Fault;
use sandbox::Failure;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Vats of ours: name, module, source.
pub const BUILTIN: [(&str, &str, &str); 5] = [
    ("comms", "/glassbox/comms.js", include_str!("builtin/comms.js")),
    ("http", "/glassbox/http.js", include_str!("builtin/http.js")),
    ("timer", "/glassbox/timer.js", include_str!("builtin/timer.js")),
    ("vatAdmin", "/glassbox/vatAdmin.js", include_str!("builtin/vatAdmin.js")),
    ("vattp", "/glassbox/vattp.js", include_str!("builtin/vattp.js")),
];

/// How vats of 2019 import one of ours.
const OLD_BUILTIN: &str = "@agoric/swingset-vat/src/vats/";

/// The vat that the outside calls.
pub(super) const HTTP: &str = "http";

/// The device of every kernel of 2019.
const LOOPBOX: &str = "loopbox";

/// The modules of all vats, as they are evaluated, by their paths.
#[derive(Default)]
pub(crate) struct Modules {
    sources: BTreeMap<String, Rewrite>,
    /// What vats can be made of: name and path.
    bundles: BTreeMap<String, String>,
}

impl Modules {
    /// Those of a source. Wavy dots are rewritten.
    pub fn of(source: &Source) -> Result<Modules, String> {
        let mut sources = BTreeMap::new();
        for (path, text) in &source.modules {
            let rewrite =
                Rewrite::of(text, Kind::Module).map_err(|error| format!("{}: {error}", path.trim_start_matches('/')))?;
            sources.insert(path.clone(), rewrite.unwrap_or_else(|| Rewrite::none(text)));
        }
        for (_, path, text) in BUILTIN {
            sources.insert(path.to_owned(), Rewrite::none(text));
        }
        Ok(Modules { sources, bundles: source.bundles.clone() })
    }

    /// The module that vats of this name can be made of.
    pub fn bundle(&self, name: &str) -> Option<&str> {
        self.bundles.get(name).map(String::as_str)
    }

    /// The path of the one that a name means: a path that may lack its end, or one of ours.
    pub fn path(&self, name: &str) -> Option<&str> {
        if let Some((path, _)) = candidates(name).iter().find_map(|path| self.sources.get_key_value(path)) {
            return Some(path);
        }
        let name = name.strip_prefix(OLD_BUILTIN)?.trim_end_matches(".js").trim_end_matches("/index");
        let name = name.rsplit('/').next()?;
        BUILTIN.iter().find(|(builtin, ..)| name.contains(builtin)).map(|(_, path, _)| *path)
    }

    /// The source of one.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.sources.get(path).map(|rewrite| rewrite.source.as_str())
    }

    /// A text in which frames of stack traces, like `    at run (/vat-bot.js:3:14)`, have the columns of what was written.
    pub fn as_written<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut result = String::new();
        let (mut at, mut done) = (0, 0);
        for line in text.split_inclusive('\n') {
            if let Some((head, column, original)) = self.frame(line) {
                result += &text[done..at + head.len()];
                result += &original.to_string();
                done = at + head.len() + column.len();
            }
            at += line.len();
        }
        if done == 0 { Cow::Borrowed(text) } else { Cow::Owned(result + &text[done..]) }
    }

    /// Of a line that is a frame in a rewritten module: all before the column, the column, and what it was.
    fn frame<'l>(&self, line: &'l str) -> Option<(&'l str, &'l str, u32)> {
        let (start, column) = line.trim_end().trim_end_matches(')').rsplit_once(':')?;
        let (place, row) = start.rsplit_once(':')?;
        let place = place.trim_start().strip_prefix("at ")?;
        let path = place.rsplit_once(" (").map_or(place, |(_, path)| path);
        let rewrite = self.sources.get(path).filter(|rewrite| !rewrite.edits.is_empty())?;
        let original = rewrite.column(row.parse().ok()?, column.parse().ok()?);
        Some((&line[..=start.len()], column, original))
    }
}

/// A string as smallcaps: it is escaped if it begins like something special.
fn escaped(text: &str) -> String {
    let escape = if text.starts_with(|c: char| ('!'..='-').contains(&c)) { "!" } else { "" };
    format!("{escape}{text}")
}

/// A value as smallcaps.
fn smallcaps(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(escaped(text)),
        Value::Array(items) => items.iter().map(smallcaps).collect(),
        Value::Object(fields) => Value::Object(fields.iter().map(|(key, value)| (escaped(key), smallcaps(value))).collect()),
        other => other.clone(),
    }
}

/// A string as smallcaps.
pub(super) fn smallcaps_text(text: &str) -> Value {
    smallcaps(&Value::String(text.to_owned()))
}

pub(super) fn smallcaps_body(value: &Value) -> String {
    format!("#{}", smallcaps(value))
}

impl Vats {
    /// Begins all vats, and queues the call of `bootstrap`. How many cranks that took; what does not come up leaves nothing.
    pub(super) fn install(&mut self, install: &Install, time_ms: u64) -> Result<Result<u64, Failure>, Fault> {
        if self.install.is_some() {
            return Ok(Err(failure("Error", "Vats are installed already")));
        }
        if !install.limits().are_allowed() {
            return Ok(Err(failure("RangeError", "The limits are beyond what can be set")));
        }
        let modules = match Modules::of(&install.source) {
            Ok(modules) => modules,
            Err(message) => return Ok(Err(failure("SyntaxError", &message))),
        };
        self.realms.limits = install.limits();
        let core = self.core_mut();
        core.modules = modules;
        let begun = match core.populate(install) {
            Ok(vats) => self.begin(&vats)?,
            Err(message) => Err(failure("Error", &message)),
        };
        match begun {
            Ok(cranks) => {
                let core = self.core_mut();
                core.kernel.begin();
                core.devices.begin();
                core.time(time_ms);
                core.bootstrap(install);
                self.install = Some(install.clone());
                Ok(Ok(cranks))
            }
            Err(failure) => {
                let core = self.core_mut();
                core.kernel = Kernel::default();
                core.devices = Devices::default();
                core.modules = Modules::default();
                core.cranks.clear();
                self.realms.clear();
                Ok(Err(failure))
            }
        }
    }

    fn begin(&mut self, vats: &[String]) -> Result<Result<u64, Failure>, Fault> {
        for (n, name) in vats.iter().enumerate() {
            match self.crank()? {
                Cranked::Done => {}
                Cranked::Idle => return Ok(Ok(n as u64)),
                Cranked::Terminated(error) => {
                    let message = format!("vat {name}: {}", error.message);
                    return Ok(Err(Failure { message, ..error }));
                }
            }
        }
        Ok(Ok(vats.len() as u64))
    }
}

impl Core {
    /// Devices and vats, without having run anything. The vats' names, in the order in which they begin.
    fn populate(&mut self, install: &Install) -> Result<Vec<String>, String> {
        let devices = std::iter::once(LOOPBOX).chain(install.devices.iter().map(String::as_str));
        for name in devices {
            if self.devices.names().any(|known| known == name) {
                continue;
            }
            let id = self.kernel.new_device();
            self.devices.add(id, name)?;
            self.kernel.add_member(Party::Device(id), name, "");
        }
        let source = &install.source;
        let mut vats: Vec<(String, String, Value)> = Vec::new();
        for vat in &source.vats {
            let mut parameters = vat.parameters.clone().unwrap_or_else(|| json!({}));
            if vat.name == source.bootstrap
                && let Some(fields) = parameters.as_object_mut()
            {
                // The command line wins over a configuration when it says something.
                if !install.argv.is_empty() || !fields.contains_key("argv") {
                    fields.insert("argv".into(), json!(install.argv));
                }
            }
            vats.push((vat.name.clone(), vat.module.clone(), parameters));
        }
        for name in &install.builtin {
            if vats.iter().any(|(known, ..)| known == name) {
                continue;
            }
            let (name, module, _) =
                BUILTIN.iter().find(|(builtin, ..)| builtin == name).ok_or_else(|| format!("There is no vat '{name}' to add"))?;
            vats.push(((*name).to_owned(), (*module).to_owned(), json!({})));
        }
        for (name, module, parameters) in &vats {
            let id = self.kernel.new_vat();
            self.kernel.add_member(Party::Vat(id), name, module);
            self.kernel.start(id, CapData { body: smallcaps_body(parameters), slots: Vec::new() });
        }
        Ok(vats.into_iter().map(|(name, ..)| name).collect())
    }

    /// A vat by its name.
    pub(super) fn vat_named(&self, name: &str) -> Option<u64> {
        self.kernel.tables().members().find_map(|(party, member)| match party {
            Party::Vat(id) if member.name == name => Some(id),
            _ => None,
        })
    }

    /// Every vat's root gets its name in the kernel, in the order of the vats' names; then `bootstrap` is called.
    fn bootstrap(&mut self, install: &Install) {
        let mut vats: Vec<(String, u64)> = Vec::new();
        let mut devices: Vec<(String, u64)> = Vec::new();
        for (party, member) in self.kernel.tables().members() {
            match party {
                Party::Vat(id) => vats.push((member.name.clone(), id)),
                Party::Device(id) => devices.push((member.name.clone(), id)),
            }
        }
        vats.sort();
        devices.sort_by_key(|(_, id)| *id);
        let mut slots = Vec::with_capacity(vats.len() + devices.len());
        for (_, id) in &vats {
            let root = self.kernel.exported(Party::Vat(*id), "o+0");
            // The roots of vats that are there from the first are there to the last.
            self.kernel.refer(root);
            slots.push(root);
        }
        for (_, id) in &devices {
            slots.push(self.kernel.exported(Party::Device(*id), "d+0"));
        }
        // What `http` needs of the kernel before anybody can be served.
        if let Some(http) = vats.iter().position(|(name, _)| name == HTTP) {
            let device = devices.iter().position(|(name, _)| name == HTTP).map(|at| slots[vats.len() + at]);
            let root = install.root.as_ref().and_then(|root| vats.iter().position(|(name, _)| name == root)).map(|at| slots[at]);
            let given = [("connect", "$0.Alleged: device", device), ("register", "$0.Alleged: root", root)];
            for (method, name, slot) in given {
                let Some(slot) = slot else { continue };
                let args = CapData { body: format!("#{}", json!([method, [name]])), slots: vec![slot] };
                self.kernel.send(slots[http], Message { method: None, args, result: None });
            }
        }
        let Some(at) = vats.iter().position(|(name, _)| *name == install.source.bootstrap) else { return };
        let target = slots[at];
        let dialect = self.kernel.tables().member(Party::Vat(vats[at].1)).map_or(Dialect::Today, |member| member.dialect);
        let message = match dialect {
            Dialect::Old => {
                Message { method: Some("bootstrap".into()), args: old_bootstrap(install, &vats, &devices, slots), result: None }
            }
            Dialect::Today => {
                let result = self.kernel.watch(Watch::Bootstrap);
                Message { method: None, args: bootstrap_today(&vats, &devices, slots), result: Some(result) }
            }
        };
        self.kernel.send(target, message);
    }
}

/// `bootstrap(argv, vats, devices)`. An empty object would be passed by presence, so there is something in the devices.
fn old_bootstrap(install: &Install, vats: &[(String, u64)], devices: &[(String, u64)], slots: Vec<KRef>) -> CapData {
    let slot = |index: usize| json!({ "@qclass": "slot", "index": index });
    let roots: serde_json::Map<String, Value> = vats.iter().enumerate().map(|(n, (name, _))| (name.clone(), slot(n))).collect();
    let mut nodes = serde_json::Map::from_iter([("_dummy".to_owned(), json!("dummy"))]);
    nodes.extend(devices.iter().enumerate().map(|(n, (name, _))| (name.clone(), slot(vats.len() + n))));
    CapData { body: json!([install.argv, roots, nodes]).to_string(), slots }
}

/// `bootstrap(vats, devices)`.
fn bootstrap_today(vats: &[(String, u64)], devices: &[(String, u64)], slots: Vec<KRef>) -> CapData {
    let roots: serde_json::Map<String, Value> =
        vats.iter().enumerate().map(|(n, (name, _))| (escaped(name), json!(format!("${n}.Alleged: root")))).collect();
    let nodes: serde_json::Map<String, Value> = devices
        .iter()
        .enumerate()
        .map(|(n, (name, _))| (escaped(name), json!(format!("${}.Alleged: device", vats.len() + n))))
        .collect();
    CapData { body: format!("#{}", json!(["bootstrap", [roots, nodes]])), slots }
}
