//! `devices.vatAdmin`: the kernel's part of making vats, as its vat of that name calls it. Each call asks the kernel at once; how
//! it went, the kernel tells the vat later, with messages to its root object:
//!
//! ```text
//! createByBundleID ──▶ newVatCallback(vatID, {rootObject} | {error})     upgradeVat ──▶ vatUpgradeCallback(upgradeID, ok, outcome)
//! terminateWithFailure ──▶ vatTerminated(vatID, shouldReject, info)      a meter ──▶ meterCrossedThreshold(meterID, remaining)
//! ```
//!
//! A bundle is a node of this device: who has it, has the bundle. It is the same node whenever it is asked for.

use super::{
    Admin, AdminAnswer, Arguments, CapData, Device, Kept, Outlet, ROOT, ReapInterval, Value, VatOptions, kept_state, no_method,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How many bundles may be asked for.
pub const MAX_BUNDLES: usize = 100_000;
/// How long a bundle's ID or name, or a vat's name, may be: bytes.
pub const MAX_NAME_BYTES: usize = 200;

const METHODS: [&str; 12] = [
    "addMeterRemaining",
    "changeOptions",
    "createByBundleID",
    "createMeter",
    "createUnlimitedMeter",
    "getBundleCap",
    "getBundleIDByName",
    "getMeter",
    "getNamedBundleCap",
    "setMeterThreshold",
    "terminateWithFailure",
    "upgradeVat",
];

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// `d+1` is the first one.
    bundles: Vec<String>,
    /// Where each stands there.
    nodes: BTreeMap<String, usize>,
}

/// The device.
#[derive(Debug, Default)]
pub struct VatAdmin {
    kept: Kept<State>,
}

fn unexpected(answer: &AdminAnswer) -> String {
    format!("the kernel answered {answer:?}")
}

fn id(answer: AdminAnswer) -> Result<String, String> {
    match answer {
        AdminAnswer::Id(id) => Ok(id),
        other => Err(unexpected(&other)),
    }
}

fn name(args: &mut Arguments, what: &str) -> Result<String, String> {
    let name = args.string(what)?;
    if name.is_empty() || name.len() > MAX_NAME_BYTES { Err(format!("{what} is not a name")) } else { Ok(name) }
}

fn amount(args: &mut Arguments, what: &str) -> Result<u64, String> {
    match args.next() {
        value @ Value::BigInt(_) => value.as_nat().ok_or_else(|| format!("{what} is out of range")),
        _ => Err(format!("{what} must be a BigInt")),
    }
}

fn reap_interval(value: &Value) -> Result<Option<ReapInterval>, String> {
    match value {
        Value::Undefined => Ok(None),
        Value::String(never) if never == "never" => Ok(Some(ReapInterval::Never)),
        value @ (Value::Number(_) | Value::BigInt(_)) => match value.as_nat() {
            Some(deliveries) => Ok(Some(ReapInterval::Deliveries(deliveries))),
            None => Err("invalid reapInterval value".into()),
        },
        _ => Err("invalid reapInterval value".into()),
    }
}

fn meter_level(remaining: Option<u64>) -> Value {
    remaining.map_or_else(|| Value::String("unlimited".into()), |remaining| Value::BigInt(remaining.to_string()))
}

impl VatAdmin {
    /// The device with the state of `save()`.
    pub fn load(saved: &str) -> Result<Self, String> {
        Ok(Self { kept: Kept::load("vatAdmin", saved)? })
    }

    /// The node that stands for a bundle, which is installed.
    pub fn bundle_node(&mut self, bundle_id: &str) -> Result<String, String> {
        if let Some(index) = self.kept.state.nodes.get(bundle_id) {
            return Ok(format!("d+{}", index + 1));
        }
        if self.kept.state.bundles.len() >= MAX_BUNDLES {
            return Err(format!("there are {MAX_BUNDLES} bundles already"));
        }
        let state = self.kept.change();
        state.nodes.insert(bundle_id.to_owned(), state.bundles.len());
        state.bundles.push(bundle_id.to_owned());
        Ok(format!("d+{}", state.bundles.len()))
    }

    fn bundle(&mut self, args: &Arguments, bundle_id: &str) -> Result<CapData, String> {
        let slot = self.bundle_node(bundle_id)?;
        args.answer(Value::Slot { slot, iface: Some("Alleged: device".into()) })
    }

    fn options(value: &Value, args: &Arguments) -> Result<VatOptions, String> {
        let Value::Record(fields) = value else { return Err("options must be a record".into()) };
        let mut options = VatOptions::default();
        for (field, value) in fields {
            match (field.as_str(), value) {
                (_, Value::Undefined) => {}
                ("name", Value::String(name)) if name.len() <= MAX_NAME_BYTES => options.name = Some(name.clone()),
                ("meterID", Value::String(meter)) => options.meter_id = Some(meter.clone()),
                ("enableSetup", Value::Bool(enable)) => options.enable_setup = *enable,
                ("critical", Value::Bool(critical)) => options.critical = *critical,
                ("reapInterval", value) => options.reap_interval = reap_interval(value)?,
                ("vatParameters", value) => options.parameters = Some(args.dialect.encode(value)),
                // There is one kind of worker, every vat is pipelined to, and every transcript is kept.
                ("managerType" | "nodeOptions" | "enablePipelining" | "useTranscript", _) => {}
                _ => return Err(format!("CreateVatOptions({field})")),
            }
        }
        Ok(options)
    }

    fn root_call(&mut self, outlet: &mut dyn Outlet, method: &str, args: &mut Arguments) -> Result<CapData, String> {
        match method {
            "createByBundleID" => {
                let bundle_id = name(args, "createByBundleID() bundleID")?;
                let options = Self::options(&args.next(), args)?;
                let vat_id = id(outlet.admin(Admin::Create { bundle_id, options })?)?;
                args.answer(Value::String(vat_id))
            }
            "upgradeVat" => {
                let vat_id = name(args, "upgradeVat() vatID")?;
                let bundle_id = name(args, "upgradeVat() bundleID")?;
                let parameters = args.dialect.encode(&args.next());
                let message = match args.next() {
                    Value::Undefined => "vat upgraded".into(),
                    Value::String(message) => message,
                    _ => return Err("upgradeMessage not a string".into()),
                };
                let upgrade_id = id(outlet.admin(Admin::Upgrade { vat_id, bundle_id, parameters, message })?)?;
                args.answer(Value::String(upgrade_id))
            }
            "terminateWithFailure" => {
                let vat_id = name(args, "terminateWithFailure() vatID")?;
                let reason = args.dialect.encode(&args.next());
                outlet.admin(Admin::Terminate { vat_id, reason })?;
                args.done()
            }
            "changeOptions" => {
                let vat_id = name(args, "changeOptions() vatID")?;
                let interval = args.next().field("reapInterval").map_or(Ok(None), reap_interval)?;
                outlet.admin(Admin::ChangeOptions { vat_id, reap_interval: interval })?;
                args.done()
            }
            "createMeter" => {
                let remaining = Some(amount(args, "createMeter() remaining")?);
                let threshold = amount(args, "createMeter() threshold")?;
                let meter_id = id(outlet.admin(Admin::CreateMeter { remaining, threshold })?)?;
                args.answer(Value::String(meter_id))
            }
            "createUnlimitedMeter" => {
                let meter_id = id(outlet.admin(Admin::CreateMeter { remaining: None, threshold: 0 })?)?;
                args.answer(Value::String(meter_id))
            }
            "addMeterRemaining" => {
                let meter_id = name(args, "addMeterRemaining() meterID")?;
                let delta = amount(args, "addMeterRemaining() delta")?;
                outlet.admin(Admin::AddMeterRemaining { meter_id, delta })?;
                args.done()
            }
            "setMeterThreshold" => {
                let meter_id = name(args, "setMeterThreshold() meterID")?;
                let threshold = amount(args, "setMeterThreshold() threshold")?;
                outlet.admin(Admin::SetMeterThreshold { meter_id, threshold })?;
                args.done()
            }
            "getMeter" => match outlet.admin(Admin::GetMeter { meter_id: name(args, "getMeter() meterID")? })? {
                AdminAnswer::Meter { remaining, threshold } => args.answer(Value::record([
                    ("remaining", meter_level(remaining)),
                    ("threshold", Value::BigInt(threshold.to_string())),
                ])),
                other => Err(unexpected(&other)),
            },
            "getBundleCap" => {
                let bundle_id = name(args, "getBundleCap() bundleID")?;
                match outlet.admin(Admin::HasBundle { bundle_id })? {
                    AdminAnswer::Id(bundle_id) => self.bundle(args, &bundle_id),
                    _ => args.done(),
                }
            }
            "getNamedBundleCap" | "getBundleIDByName" => {
                let name = name(args, "getNamedBundleCap() name")?;
                match outlet.admin(Admin::NamedBundle { name: name.clone() })? {
                    AdminAnswer::Id(bundle_id) if method == "getNamedBundleCap" => self.bundle(args, &bundle_id),
                    AdminAnswer::Id(bundle_id) => args.answer(Value::String(bundle_id)),
                    _ => Err(format!("unregistered bundle name '{name}'")),
                }
            }
            _ => Err(no_method(method, &METHODS)),
        }
    }
}

impl Device for VatAdmin {
    fn name(&self) -> &str {
        "vatAdmin"
    }

    fn call(&mut self, outlet: &mut dyn Outlet, target: &str, method: &str, args: &CapData) -> Result<CapData, String> {
        let mut args = Arguments::read(args)?;
        if target == ROOT {
            return self.root_call(outlet, method, &mut args);
        }
        let number: Option<usize> = target.strip_prefix("d+").and_then(|number| number.parse().ok());
        let bundle = number.and_then(|number| number.checked_sub(1)).and_then(|index| self.kept.state.bundles.get(index));
        match bundle {
            Some(bundle_id) if method == "getBundleID" => args.answer(Value::String(bundle_id.clone())),
            Some(_) => Err(format!("bundlecap[{method}] does not exist")),
            None => Err(format!("unknown device node {target}")),
        }
    }

    kept_state!();
}
