//! Where things stand in the ledger: the maps that this crate writes, and their keys.
//!
//! | map | key | value |
//! |---|---|---|
//! | `public:glassbox.service` | `service` | the [`crate::Service`], JSON; in the first transaction only |
//! | `public:glassbox.call` | `in` | the [`crate::Input`], JSON; in every transaction that runs something |
//! | `public:glassbox.call` | `out` | the [`crate::Outcome`], JSON; beside it |
//! | `public:script.files` | absolute path | an entry of the files archive, [`crate::script::archive`] |
//!
//! The state has one map more that is derived while writes are applied, and stands in no transaction:
//!
//! | `script.history` | version, u64 BE | `p` (put) or `d` (del), then the path |

/// What the ledger is a ledger of.
pub const SERVICE: &str = "public:glassbox.service";
/// The only key of [`SERVICE`].
pub const SERVICE_KEY: &[u8] = b"service";
/// Inputs and outcomes.
pub const CALL: &str = "public:glassbox.call";
/// The key of an input.
pub const IN_KEY: &[u8] = b"in";
/// The key of an outcome.
pub const OUT_KEY: &[u8] = b"out";
/// The files archive of a script.
pub const FILES: &str = "public:script.files";
/// The versions of the files archive; derived.
pub const HISTORY: &str = "script.history";
