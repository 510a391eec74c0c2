//! Vats that are made, ended and upgraded while others run, and the meters that pay for them: what the vatAdmin device asks of the
//! kernel, and what the vat `vatAdmin` hears of it.

use super::devices::{Admin, AdminAnswer, ReapInterval, VatOptions};
use super::install::Modules;
use super::kernel::{CapData, Dialect, Illegal, Item, KRef, Kernel, Member, Message, Meter, Party, Upgrade};
use super::{Core, devices};
use serde_json::{Value, json};

/// The vat that hears of them.
const VAT_ADMIN: &str = "vatAdmin";

/// How many vats there can be.
const MAX_VATS: usize = 100_000;

/// WebAssembly instructions that one unit of a meter pays for.
pub const INSTRUCTIONS_PER_UNIT: u64 = 1_000;

/// What an answer to the device needs.
pub(super) struct Desk<'a> {
    pub kernel: &'a mut Kernel,
    pub modules: &'a Modules,
    pub device: Party,
    /// Vats that end with this crank, if it counts.
    pub ended: &'a mut Vec<(u64, Member)>,
    /// The vat that asks.
    pub asks: Option<u64>,
    /// A message of the device was more than a vat may be sent: whatever wanted it fails.
    pub lost: bool,
}

fn vat_of(id: &str) -> Result<u64, String> {
    match id.parse() {
        Ok(Party::Vat(vat)) => Ok(vat),
        _ => Err(format!("{id:?} is no vat")),
    }
}

impl Desk<'_> {
    pub fn admin(&mut self, ask: Admin) -> Result<AdminAnswer, String> {
        match ask {
            Admin::Create { bundle_id, options } => self.create(&bundle_id, options),
            Admin::Upgrade { vat_id, bundle_id, parameters, message } => {
                let vat = self.alive(&vat_id)?;
                let module = self.module(&bundle_id)?;
                let parameters = self.given(&parameters)?;
                let counters = self.kernel.tables_mut().counters_mut();
                let id = counters.upgrade;
                counters.upgrade += 1;
                self.kernel.upgrade(vat, Upgrade { id, module, parameters, message });
                Ok(AdminAnswer::Id(format!("up{id}")))
            }
            Admin::Terminate { vat_id, reason } => {
                let vat = self.alive(&vat_id)?;
                if self.asks == Some(vat) {
                    return Err("vatAdmin cannot end itself".into());
                }
                let reason = self.given(&reason)?;
                let dialect = self.kernel.tables().member(Party::Vat(vat)).map_or(Dialect::Today, |member| member.dialect);
                if let Some(member) = self.kernel.tables().member(Party::Vat(vat)) {
                    self.ended.push((vat, member.clone()));
                }
                self.kernel.terminate(vat, &CapData::error(dialect, "Error", "vat terminated"));
                tell_end(self.kernel, vat, true, reason);
                Ok(AdminAnswer::Done)
            }
            Admin::ChangeOptions { vat_id, reap_interval } => {
                let vat = self.alive(&vat_id)?;
                if let (Some(interval), Some(member)) = (reap_interval, self.kernel.tables_mut().member_mut(Party::Vat(vat))) {
                    member.reap_every = deliveries(interval);
                    member.reap_in = member.reap_every;
                }
                Ok(AdminAnswer::Done)
            }
            Admin::CreateMeter { remaining, threshold } => {
                let counters = self.kernel.tables_mut().counters_mut();
                let id = counters.meter;
                counters.meter += 1;
                let meter =
                    Meter { remaining: remaining.unwrap_or_default(), threshold, unlimited: remaining.is_none(), armed: true };
                self.kernel.tables_mut().put_meter(id, meter);
                Ok(AdminAnswer::Id(format!("m{id}")))
            }
            Admin::AddMeterRemaining { meter_id, delta } => {
                let (id, meter) = self.meter(&meter_id)?;
                let remaining = meter.remaining.checked_add(delta).ok_or("meter overflow")?;
                let armed = remaining >= meter.threshold;
                self.kernel.tables_mut().put_meter(id, Meter { remaining, armed, ..meter });
                Ok(AdminAnswer::Done)
            }
            Admin::SetMeterThreshold { meter_id, threshold } => {
                let (id, meter) = self.meter(&meter_id)?;
                let armed = meter.remaining >= threshold;
                self.kernel.tables_mut().put_meter(id, Meter { threshold, armed, ..meter });
                Ok(AdminAnswer::Done)
            }
            Admin::GetMeter { meter_id } => {
                let (_, meter) = self.meter(&meter_id)?;
                let remaining = (!meter.unlimited).then_some(meter.remaining);
                Ok(AdminAnswer::Meter { remaining, threshold: meter.threshold })
            }
            Admin::HasBundle { bundle_id } | Admin::NamedBundle { name: bundle_id } => {
                Ok(match self.modules.bundle(&bundle_id) {
                    Some(_) => AdminAnswer::Id(bundle_id),
                    None => AdminAnswer::Nothing,
                })
            }
        }
    }

    fn create(&mut self, bundle_id: &str, options: VatOptions) -> Result<AdminAnswer, String> {
        let module = self.module(bundle_id)?;
        if self.kernel.tables().members().count() >= MAX_VATS {
            return Err(format!("there are {MAX_VATS} vats already"));
        }
        let meter = options.meter_id.as_deref().map(|id| self.meter(id)).transpose()?.map(|(id, _)| id);
        let parameters = match &options.parameters {
            Some(parameters) => self.given(parameters)?,
            None => CapData { body: "#\"#undefined\"".into(), slots: Vec::new() },
        };
        let id = self.kernel.new_vat();
        let party = Party::Vat(id);
        self.kernel.add_member(party, options.name.as_deref().unwrap_or(bundle_id), &module);
        if let Some(member) = self.kernel.tables_mut().member_mut(party) {
            member.dynamic = true;
            member.critical = options.critical;
            member.meter = meter;
            if let Some(interval) = options.reap_interval {
                member.reap_every = deliveries(interval);
                member.reap_in = member.reap_every;
            }
        }
        self.kernel.start(id, parameters);
        Ok(AdminAnswer::Id(party.to_string()))
    }

    fn alive(&self, id: &str) -> Result<u64, String> {
        let vat = vat_of(id)?;
        self.kernel.tables().member(Party::Vat(vat)).map(|_| vat).ok_or_else(|| format!("{id} is not running"))
    }

    fn module(&self, bundle_id: &str) -> Result<String, String> {
        self.modules.bundle(bundle_id).map(str::to_owned).ok_or_else(|| format!("there is no bundle {bundle_id:?}"))
    }

    fn meter(&self, id: &str) -> Result<(u64, Meter), String> {
        let number: Option<u64> = id.strip_prefix('m').and_then(|number| number.parse().ok());
        let meter = number.and_then(|number| Some((number, *self.kernel.tables().meter(number)?)));
        meter.ok_or_else(|| format!("there is no meter {id:?}"))
    }

    fn given(&mut self, data: &devices::CapData) -> Result<CapData, String> {
        let slots: Vec<&str> = data.slots.iter().map(String::as_str).collect();
        self.kernel.import_data(self.device, &data.body, &slots).map_err(|Illegal(message)| message)
    }
}

fn deliveries(interval: ReapInterval) -> u64 {
    match interval {
        ReapInterval::Deliveries(deliveries) => deliveries.max(1),
        ReapInterval::Never => 0,
    }
}

/// A message to `vatAdmin`. `$0` in the arguments is the slot.
fn tell(kernel: &mut Kernel, method: &str, args: &Value, slots: Vec<KRef>) {
    let admin = kernel.tables().members().find_map(|(party, member)| (member.name == VAT_ADMIN).then_some(party));
    let Some(party @ Party::Vat(_)) = admin else { return };
    let root = kernel.exported(party, "o+0");
    let body = format!("#{}", json!([method, args]));
    kernel.send(root, Message { method: None, args: CapData { body, slots }, result: None });
}

/// `vatAdmin` hears that a vat has ended, and why.
pub(super) fn tell_end(kernel: &mut Kernel, vat: u64, rejects: bool, why: CapData) {
    // What it says may be in either dialect: the body is put in as it stands if it is today's.
    let info = match why.body.strip_prefix('#') {
        Some(body) => body.to_owned(),
        None => {
            let (name, message) = why.failure();
            CapData::error(Dialect::Today, &name, &message).body[1..].to_owned()
        }
    };
    let slots = if why.body.starts_with('#') { why.slots } else { Vec::new() };
    let info: Value = serde_json::from_str(&info).unwrap_or(Value::Null);
    tell(kernel, "vatTerminated", &json!([format!("v{vat}"), rejects, info]), slots);
}

impl Core {
    /// A vat that was made while others ran has begun.
    pub(super) fn tell_start(&mut self, vat: u64) {
        let root = self.kernel.exported(Party::Vat(vat), "o+0");
        tell(&mut self.kernel, "newVatCallback", &json!([format!("v{vat}"), { "rootObject": "$0.Alleged: root" }]), vec![root]);
    }

    /// What has become of an upgrade.
    pub(super) fn tell_upgrade(&mut self, id: u64, outcome: Result<u64, &str>) {
        let id = format!("up{id}");
        let args = match outcome {
            Ok(incarnation) => json!([id, true, incarnation]),
            Err(message) => {
                let error = CapData::error(Dialect::Today, "Error", message);
                let error: Value = serde_json::from_str(&error.body[1..]).unwrap_or(Value::Null);
                json!([id, false, error])
            }
        };
        tell(&mut self.kernel, "vatUpgradeCallback", &args, Vec::new());
    }

    /// Takes what a delivery has used from its vat's meter. `false`: there was not enough in it, and nothing is left.
    pub(super) fn pay(&mut self, vat: u64, instructions: u64) -> bool {
        let Some(id) = self.kernel.tables().member(Party::Vat(vat)).and_then(|member| member.meter) else { return true };
        let Some(meter) = self.kernel.tables().meter(id).copied().filter(|meter| !meter.unlimited) else { return true };
        let units = instructions.div_ceil(INSTRUCTIONS_PER_UNIT);
        let remaining = meter.remaining.saturating_sub(units);
        let crossed = meter.armed && remaining < meter.threshold;
        self.kernel.tables_mut().put_meter(id, Meter { remaining, armed: meter.armed && !crossed, ..meter });
        if crossed {
            tell(&mut self.kernel, "meterCrossedThreshold", &json!([format!("m{id}"), format!("+{remaining}")]), Vec::new());
        }
        meter.remaining >= units
    }

    /// Whether the vat that has just sent something is `vatAdmin`'s concern.
    pub(super) fn is_dynamic(&self, vat: u64) -> bool {
        self.kernel.tables().member(Party::Vat(vat)).is_some_and(|member| member.dynamic)
    }
}

impl Kernel {
    /// A vat is to begin anew.
    pub fn upgrade(&mut self, vat: u64, upgrade: Upgrade) {
        for &slot in &upgrade.parameters.slots {
            self.refer(slot);
        }
        self.tables_mut().push(Item::Upgrade(vat, upgrade));
    }
}
