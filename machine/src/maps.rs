//! Where things stand in the ledger: the maps that this crate writes, and their keys.
//!
//! | map | key | value |
//! |---|---|---|
//! | `public:glassbox` | `service` | the [`crate::Service`], JSON; in the first transaction only |
//! | `public:glassbox` | `call` | the [`crate::Input`], a line feed, the [`crate::Outcome`]'s result, both JSON; in every transaction that runs something |
//! | `public:files` | absolute path | an entry of the files archive, [`crate::script::archive`] |
//!
//! The state has one map more that is derived while writes are applied, and stands in no transaction:
//!
//! | `history` | version, u64 BE | `p` (put) or `d` (del), then the path |

/// What the ledger is a ledger of, and what it ran.
pub const GLASSBOX: &str = "public:glassbox";
/// The key of the service record.
pub const SERVICE_KEY: &[u8] = b"service";
/// The key of an input and its result.
pub const CALL_KEY: &[u8] = b"call";
/// The files archive of a script.
pub const FILES: &str = "public:files";
/// The versions of the files archive; derived.
pub const HISTORY: &str = "history";
