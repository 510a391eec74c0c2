//! What `set_js_runtime_options` sets, as limits of a realm.
//!
//! An execution time is an instruction budget here: [`INSTRUCTIONS_PER_MS`] for each millisecond, so that the same request runs
//! into it on every machine, always at the same place.

use super::store::Rows;
use super::tables;
use crate::Fault;
use sandbox::Limits;
use serde::Deserialize;

/// What a millisecond of execution time stands for: about what a core of 2020 does in one. Loops of JavaScript come to nine to
/// twenty-five million.
pub const INSTRUCTIONS_PER_MS: u64 = 10_000_000;

/// The most interpreters that are kept, whatever is asked for.
const MAX_INTERPRETERS: usize = 100;

/// The runtime's options.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Options {
    /// Bytes of heap.
    pub max_heap_bytes: u64,
    /// Bytes of stack.
    pub max_stack_bytes: u64,
    /// Milliseconds of execution, as instructions.
    pub max_execution_time_ms: u64,
    /// What a handler throws goes to the log.
    pub log_exception_details: bool,
    /// What a handler throws goes to the caller.
    pub return_exception_details: bool,
    /// Interpreters that are kept for reuse.
    pub max_cached_interpreters: u64,
    /// `Date` shows the time of the request without being asked to, as in CCF 7.
    pub enable_untrusted_date_time: bool,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            max_heap_bytes: 100 << 20,
            max_stack_bytes: 1 << 20,
            max_execution_time_ms: 5_000,
            log_exception_details: false,
            return_exception_details: false,
            max_cached_interpreters: 10,
            enable_untrusted_date_time: false,
        }
    }
}

impl Options {
    /// The options of a state; what cannot be read is as if it were not there.
    pub fn read(rows: &impl Rows) -> Result<Options, Fault> {
        let row = rows.get(tables::RUNTIME_OPTIONS, tables::SINGLETON)?;
        Ok(row.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default())
    }

    /// As a realm has them, within what can be set at all.
    pub fn limits(&self) -> Limits {
        let within = |value: u64, least: u64, most: u64| value.clamp(least, most);
        let (least, most) = (Limits::MIN, Limits::MAX);
        Limits {
            heap_bytes: within(self.max_heap_bytes, least.heap_bytes.into(), most.heap_bytes.into()) as u32,
            stack_bytes: within(self.max_stack_bytes, least.stack_bytes.into(), most.stack_bytes.into()) as u32,
            instructions: within(
                self.max_execution_time_ms.saturating_mul(INSTRUCTIONS_PER_MS),
                least.instructions,
                most.instructions,
            ),
        }
    }

    /// The limits of governance: never less than the defaults.
    pub fn governance_limits(&self) -> Limits {
        let usual = Options::default();
        Options {
            max_heap_bytes: self.max_heap_bytes.max(usual.max_heap_bytes),
            max_stack_bytes: self.max_stack_bytes.max(usual.max_stack_bytes),
            max_execution_time_ms: self.max_execution_time_ms.max(usual.max_execution_time_ms),
            ..usual
        }
        .limits()
    }

    /// Interpreters that are kept.
    pub fn interpreters(&self) -> usize {
        usize::try_from(self.max_cached_interpreters).unwrap_or(MAX_INTERPRETERS).min(MAX_INTERPRETERS)
    }
}
