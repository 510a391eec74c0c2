//! What comes in, beside calls. In the ledger:
//!
//! ```text
//! {"vats":{"install":{"source":{…},"argv":[…],…}},"time":ms}
//! {"vats":{"run":256},"time":ms}        {"vats":"tick","time":ms}
//! {"vats":{"mail":{"peer":"b","id":"64 hex","messages":[[1,"…"]],"ack":0}},"time":ms}
//! ```

use super::source::Source;
use crate::input::Settings;
use sandbox::Limits;
use serde::{Deserialize, Serialize};

/// Work for the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Work {
    /// Vats begin.
    Install(Box<Install>),
    /// So many cranks may run.
    Run(u64),
    /// The timer looks at the time of this input.
    Tick,
    /// Messages from another kernel.
    Mail {
        /// Which.
        peer: String,
        /// Which kernel it is: the id of its backend. Older ledgers do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// Number and text of each.
        messages: Vec<(u64, String)>,
        /// The last of ours that it has.
        ack: u64,
    },
}

/// What is installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Install {
    /// Vats and modules.
    pub source: Source,
    /// What `bootstrap` is given.
    pub argv: Vec<String>,
    /// Devices beside the loopbox.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<String>,
    /// Vats of ours that are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builtin: Vec<String>,
    /// The vat whose root the outside may call, unless one registers an object with `vats.http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<String>,
    /// Limits of each vat; of instructions in each crank.
    #[serde(flatten)]
    pub settings: Settings,
}

/// Instructions of one crank, unless said otherwise: about a second of computing.
pub const CRANK_INSTRUCTIONS: u64 = 5_000_000_000;

impl Work {
    /// For people.
    pub fn name(&self) -> &'static str {
        match self {
            Work::Install(_) => "the installation",
            Work::Run(_) => "a run of cranks",
            Work::Tick => "a tick of the timer",
            Work::Mail { .. } => "mail",
        }
    }
}

impl Install {
    /// With the usual limits.
    pub fn new(source: Source, argv: Vec<String>) -> Install {
        let settings = Settings { instructions: CRANK_INSTRUCTIONS, ..Settings::default() };
        Install { source, argv, devices: Vec::new(), builtin: Vec::new(), root: None, settings }
    }

    /// The limits of each vat.
    pub fn limits(&self) -> Limits {
        self.settings.into()
    }
}
