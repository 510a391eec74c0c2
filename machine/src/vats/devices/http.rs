//! `devices.http`: what the outside may call, as the http vat has found out. `methods(JSON)` takes an array of names.

use super::{Arguments, CapData, Device, Kept, Outlet, Value, insist_root, kept_state, no_method, value};
use serde::{Deserialize, Serialize};

/// How many methods may be announced.
pub const MAX_METHODS: usize = 1_000;

#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    methods: Option<Vec<String>>,
}

/// The device.
#[derive(Debug, Default)]
pub struct Http {
    kept: Kept<State>,
}

impl Http {
    /// The device with the state of `save()`.
    pub fn load(saved: &str) -> Result<Self, String> {
        Ok(Self { kept: Kept::load("http", saved)? })
    }

    /// The names of the methods that can be called; `None` if they are not known.
    pub fn methods(&self) -> Option<&[String]> {
        self.kept.state.methods.as_deref()
    }
}

impl Device for Http {
    fn name(&self) -> &str {
        "http"
    }

    fn call(&mut self, _: &mut dyn Outlet, target: &str, method: &str, args: &CapData) -> Result<CapData, String> {
        insist_root(target)?;
        let mut args = Arguments::read(args)?;
        if method != "methods" {
            return Err(no_method(method, &["methods"]));
        }
        let names = match value::from_json(&args.string("methods()")?)? {
            Value::Array(names) if names.len() <= MAX_METHODS => names,
            _ => return Err(format!("methods() takes an array of at most {MAX_METHODS} names")),
        };
        let names = names.into_iter().map(|name| match name {
            Value::String(name) => Ok(name),
            other => Err(format!("{} is not a name", other.describe())),
        });
        let mut names = names.collect::<Result<Vec<_>, _>>()?;
        names.sort();
        names.dedup();
        self.kept.change().methods = Some(names);
        args.done()
    }

    kept_state!();
}
