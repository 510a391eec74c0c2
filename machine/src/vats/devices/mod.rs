//! The devices: what vats reach without a message. A vat calls one (`D(device).method(...)`) and has the answer at once; a device
//! can only send messages, whose answers it never sees.
//!
//! ```text
//! vat ──callNow──▶ Device::call ──answer──▶ vat          Outlet::send ──▶ the run queue
//! host ──inputs──▶ deliver_inbound, poll, inbound, ...   Outlet::admin ──▶ the kernel, at once
//! ```
//!
//! Invariants:
//! - A device knows no clock, no chance and no thread: what it does follows from its calls and inputs.
//! - `load(save())` is the same device. The kernel keeps `save()` in a row, and loads it again when it undoes a crank.
//! - Whatever it is called with, it answers or refuses; it never panics.
//! - What it answers is written in the dialect that it was asked in.

mod all;
pub mod command;
pub mod http;
pub mod loopbox;
pub mod mailbox;
pub mod timer;
pub mod value;
pub mod vat_admin;

#[cfg(test)]
mod tests;

pub use all::{COMMAND, Devices, Mail};
use serde::{Deserialize, Serialize};
use value::{Dialect, Value};

/// The node that every device has from the start.
pub const ROOT: &str = "d+0";
/// The largest whole number that a vat's Number can hold.
pub const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A body and the references that it speaks of, as the device sees them: `o-N` is an object of a vat, `d+N` a node of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapData {
    /// JSON: smallcaps if it begins with `#`, else the form of 2019.
    pub body: String,
    /// What the body refers to by index.
    pub slots: Vec<String>,
}

/// What a device may do to the kernel while it is called.
pub trait Outlet {
    /// Queues a message to the object that the device knows as `target` (`o-N`). There is no result. `args` is an array's.
    fn send(&mut self, target: &str, method: &str, args: CapData);
    /// Asks the kernel something only the vat admin device may ask.
    fn admin(&mut self, ask: Admin) -> Result<AdminAnswer, String>;
}

/// What the vat admin device asks of the kernel. References in `CapData` are the device's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admin {
    /// A new vat: answers `Id` with its vat ID; `newVatCallback` or `vatTerminated` follows.
    Create {
        /// Which bundle.
        bundle_id: String,
        /// How.
        options: VatOptions,
    },
    /// Other code for a vat: answers `Id` with an upgrade ID; `vatUpgradeCallback` follows.
    Upgrade {
        /// Which vat.
        vat_id: String,
        /// To which bundle.
        bundle_id: String,
        /// For its `buildRootObject`.
        parameters: CapData,
        /// What those learn whose promises it breaks.
        message: String,
    },
    /// Ends a vat, as failed: answers `Done`; `vatTerminated` follows.
    Terminate {
        /// Which vat.
        vat_id: String,
        /// What `done()` is rejected with.
        reason: CapData,
    },
    /// Answers `Done`.
    ChangeOptions {
        /// Which vat.
        vat_id: String,
        /// How often it collects garbage, if that is to change.
        reap_interval: Option<ReapInterval>,
    },
    /// A new meter: answers `Id`.
    CreateMeter {
        /// What it begins with; `None` is unlimited.
        remaining: Option<u64>,
        /// Below which `meterCrossedThreshold` is sent.
        threshold: u64,
    },
    /// Answers `Done`.
    AddMeterRemaining {
        /// Which meter.
        meter_id: String,
        /// How much more.
        delta: u64,
    },
    /// Answers `Done`.
    SetMeterThreshold {
        /// Which meter.
        meter_id: String,
        /// The new one.
        threshold: u64,
    },
    /// Answers `Meter`.
    GetMeter {
        /// Which meter.
        meter_id: String,
    },
    /// Whether a bundle is installed: answers `Id` with the same ID, or `Nothing`.
    HasBundle {
        /// Which.
        bundle_id: String,
    },
    /// The bundle that the configuration calls so: answers `Id`, or `Nothing`.
    NamedBundle {
        /// Its name.
        name: String,
    },
}

/// What the kernel answers at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AdminAnswer {
    /// It is done, or will be.
    Done,
    /// There is no such thing.
    Nothing,
    /// What it is called.
    Id(String),
    /// A meter's state.
    Meter {
        /// What is left; `None` is unlimited.
        remaining: Option<u64>,
        /// Below which it is told.
        threshold: u64,
    },
}

/// How a vat is to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VatOptions {
    /// For people.
    pub name: Option<String>,
    /// Which meter its cranks use up.
    pub meter_id: Option<String>,
    /// Whether its module may be a `setup` function.
    pub enable_setup: bool,
    /// Whether the kernel ends with it.
    pub critical: bool,
    /// How often it collects garbage.
    pub reap_interval: Option<ReapInterval>,
    /// For its `buildRootObject`.
    pub parameters: Option<CapData>,
}

/// How often a vat collects garbage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReapInterval {
    /// Each so many deliveries.
    Deliveries(u64),
    /// Not at all.
    Never,
}

/// A device, as the kernel calls it.
pub trait Device {
    /// What vats find it under, in `devices`.
    fn name(&self) -> &str;

    /// A vat calls `method` of the node `target` (`d+N`). An error is thrown to the caller, as an Error with that message.
    fn call(&mut self, outlet: &mut dyn Outlet, target: &str, method: &str, args: &CapData) -> Result<CapData, String>;

    /// Everything that is to outlive a restart.
    fn save(&self) -> String;

    /// Whether `save()` has changed since `saved`.
    fn changed(&self) -> bool;

    /// The state is in its row.
    fn saved(&mut self);
}

/// A device's state, and whether it has changed: what all devices keep.
#[derive(Debug, Default)]
struct Kept<T> {
    state: T,
    changed: bool,
}

impl<T: Default + Serialize + for<'a> Deserialize<'a>> Kept<T> {
    fn load(device: &str, saved: &str) -> Result<Self, String> {
        let state = serde_json::from_str(saved).map_err(|e| format!("the state of device {device} cannot be read: {e}"))?;
        Ok(Self { state, changed: false })
    }

    fn save(&self) -> String {
        serde_json::to_string(&self.state).expect("maps with string keys, lists, strings and numbers")
    }

    fn change(&mut self) -> &mut T {
        self.changed = true;
        &mut self.state
    }
}

/// An object that messages go to, and the dialect of who has named it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Handler {
    slot: String,
    dialect: Dialect,
}

impl Handler {
    fn send(&self, outlet: &mut dyn Outlet, method: &str, args: Vec<Value>) {
        outlet.send(&self.slot, method, self.dialect.encode(&Value::Array(args)));
    }
}

/// The arguments of a call, taken one by one.
#[derive(Debug)]
struct Arguments {
    values: std::vec::IntoIter<Value>,
    dialect: Dialect,
}

impl Arguments {
    fn read(args: &CapData) -> Result<Self, String> {
        match value::decode(args)? {
            (Value::Array(values), dialect) => Ok(Self { values: values.into_iter(), dialect }),
            _ => Err("arguments are not an array".into()),
        }
    }

    /// The next one; beyond the last there is undefined.
    fn next(&mut self) -> Value {
        self.values.next().unwrap_or(Value::Undefined)
    }

    /// As a string; what is none becomes one, like in a template of JavaScript.
    fn text(&mut self) -> Result<String, String> {
        match self.next() {
            Value::String(text) => Ok(text),
            Value::Number(number) => Ok(number.to_string()),
            Value::BigInt(digits) => Ok(digits),
            other => Err(format!("{} is not a string", other.describe())),
        }
    }

    fn string(&mut self, what: &str) -> Result<String, String> {
        match self.next() {
            Value::String(text) => Ok(text),
            other => Err(format!("{what} must be a string, not {}", other.describe())),
        }
    }

    /// A natural number, as a Number or a BigInt.
    fn nat(&mut self) -> Result<u64, String> {
        let value = self.next();
        value.as_nat().ok_or_else(|| format!("{} is not a natural number", value.describe()))
    }

    fn handler(&mut self) -> Result<Handler, String> {
        let dialect = self.dialect;
        match self.next() {
            Value::Slot { slot, .. } if slot.starts_with("o-") => Ok(Handler { slot, dialect }),
            other => Err(format!("{} is not an object of a vat", other.describe())),
        }
    }

    fn answer(&self, value: Value) -> Result<CapData, String> {
        Ok(self.dialect.encode(&value))
    }

    fn done(&self) -> Result<CapData, String> {
        self.answer(Value::Undefined)
    }
}

fn no_method(method: &str, methods: &[&str]) -> String {
    format!("target[{method}] does not exist, has {}", methods.join(","))
}

fn insist_root(target: &str) -> Result<(), String> {
    if target == ROOT { Ok(()) } else { Err(format!("unknown device node {target}")) }
}

/// What every device's trait methods are but `name` and `call`: its state stands in `kept`.
macro_rules! kept_state {
    () => {
        fn save(&self) -> String {
            self.kept.save()
        }

        fn changed(&self) -> bool {
            self.kept.changed
        }

        fn saved(&mut self) {
            self.kept.changed = false;
        }
    };
}
use kept_state;
