//! Who may do what to which table: CCF's matrix.
//!
//! | table ↓ / context → | app, reads and writes | app, reads | governance, looks | governance, acts |
//! |---|---|---|---|---|
//! | private, the app's | RW | RO | none | none |
//! | public, the app's | RW | RO | none | write-only |
//! | public `ccf.gov.*` | RO | RO | RO | RW |
//! | public `ccf.internal.*` | RO | RO | RO | RO |
//! | private governance's or internal | none | none | none | none |

use super::tables::{GOVERNANCE_PREFIX, INTERNAL_PREFIX};
use crate::maps;
use ledger::write_set::PUBLIC_PREFIX;

/// What a realm runs for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// Modules are evaluated: no table can be used.
    Loading,
    /// A handler that reads and writes.
    App,
    /// A handler that reads.
    AppReadOnly,
    /// A constitution's `validate` or `resolve`, or a ballot.
    Governance,
    /// A constitution's `apply`.
    GovernanceActs,
}

impl Context {
    fn name(self) -> &'static str {
        match self {
            Context::Loading => "module evaluation",
            Context::App => "application",
            Context::AppReadOnly => "read-only application",
            Context::Governance => "read-only governance",
            Context::GovernanceActs => "read-write governance",
        }
    }

    /// Whether tables of this name may be read and written.
    fn rights(self, name: &str) -> (bool, bool) {
        let (public, rest) = match name.strip_prefix(PUBLIC_PREFIX) {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let governance = rest.starts_with(GOVERNANCE_PREFIX);
        let internal = rest.starts_with(INTERNAL_PREFIX);
        match self {
            Context::Loading => (false, false),
            _ if internal || governance && !public => (public, false),
            Context::App => (true, !governance),
            Context::AppReadOnly => (true, false),
            Context::Governance => (governance, false),
            Context::GovernanceActs if governance => (true, true),
            Context::GovernanceActs => (false, public),
        }
    }

    /// Why `method` must not be called on a table: name and message of the error.
    pub fn refuses(self, name: &str, method: &str, writes: bool) -> Option<(&'static str, String)> {
        let rest = name.strip_prefix(PUBLIC_PREFIX).unwrap_or(name);
        if rest.starts_with("ccf.") && !rest.starts_with(GOVERNANCE_PREFIX) && !rest.starts_with(INTERNAL_PREFIX) {
            return Some(("InternalError", format!("Map name '{name}' includes disallowed reserved prefix 'ccf.'")));
        }
        if rest == maps::OWN || rest.strip_prefix(maps::OWN).is_some_and(|rest| rest.starts_with('.')) {
            return Some(("InternalError", format!("Map name '{name}' includes disallowed reserved prefix '{}.'", maps::OWN)));
        }
        if name.is_empty() || name.len() > crate::state::MAX_MAP_NAME_BYTES {
            let most = crate::state::MAX_MAP_NAME_BYTES;
            return Some(("RangeError", format!("A map name has 1 to {most} bytes, not {}", name.len())));
        }
        let (may_read, may_write) = self.rights(name);
        if if writes { may_write } else { may_read } {
            return None;
        }
        let is = match (may_read, may_write) {
            (true, _) => "read-only",
            (false, true) => "write-only",
            (false, false) => "inaccessible",
        };
        Some((
            "TypeError",
            format!(
                "Cannot call {method} on table named {name}. This table is {is} in current {} execution context. See \
                 https://microsoft.github.io/CCF/main/audit/read_write_restrictions.html for more detail.",
                self.name()
            ),
        ))
    }
}
