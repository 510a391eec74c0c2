//! Where things stand in the ledger: the maps that this crate writes, and their keys.
//!
//! | map | key | value |
//! |---|---|---|
//! | `public:glassbox` | `service` | the [`crate::Service`], JSON; in the first transaction only |
//! | `public:glassbox` | `call` | the [`crate::Input`], a line feed, the [`crate::Outcome`]'s result, both JSON; in every transaction that runs something |
//! | `public:glassbox` | `chance` | 48 bytes: the chance key's signature, in the first call that draws after a signature or a checkpoint |
//! | `public:glassbox` | `oracles` | what oracles have said during the call, [`crate::outside`] |
//! | `public:glassbox` | `checkpoint` | the [`crate::checkpoint`] record, JSON |
//! | `public:glassbox.heap` | page, u32 BE | the page, LZ4; in checkpoints only |
//! | `public:files` | absolute path | an entry of the files archive, [`crate::script::archive`] |
//!
//! A bundle's transactions have its own tables, and:
//!
//! | map | key | value |
//! |---|---|---|
//! | `glassbox` (encrypted) or `public:glassbox` | `request`, `response` | [`crate::bundle::Request`], [`crate::bundle::Response`] |
//! | `glassbox` (encrypted) | `seed` | 32 bytes: what chance and keys were drawn from, if they were |
//! | `public:glassbox` | `image` | `{"time":ms}`: modules are evaluated anew, at this time |
//!
//! The state has maps more that are derived while writes are applied, and stand in no transaction. Their names begin with
//! `glassbox.`, which no app's do:
//!
//! | `history` | version, u64 BE | `p` (put) or `d` (del), then the path |
//! | `nonces` | a caller's key, 32 bytes; session, 8 bytes | the last counter, u64 BE |
//! | `signatures` | seqno of a signature transaction, u64 BE | view u64 BE, root, seconds since 1970 u64 BE |
//! | `views` | view, u64 BE | the first seqno of the view, u64 BE; for bundles |
//! | `app` | `service`, `code`, `checkpoint`, `image` | the service record; the record of the last deployment that came up; the last checkpoint |

/// What the ledger is a ledger of, and what it ran.
pub const GLASSBOX: &str = "public:glassbox";
/// The key of the service record.
pub const SERVICE_KEY: &[u8] = b"service";
/// The key of an input and its result.
pub const CALL_KEY: &[u8] = b"call";
/// The key of the chance key's signature.
pub const CHANCE_KEY: &[u8] = b"chance";
/// The key of what oracles said.
pub const ORACLES_KEY: &[u8] = b"oracles";
/// The key of a checkpoint.
pub const CHECKPOINT_KEY: &[u8] = b"checkpoint";
/// The pages of the heap.
pub const HEAP: &str = "public:glassbox.heap";
/// The last counter of each caller's session; derived.
pub const NONCES: &str = "glassbox.nonces";
/// The signature transactions; derived.
pub const SIGNATURES: &str = "glassbox.signatures";
/// What a restored machine needs to know of the app; derived.
pub const APP: &str = "glassbox.app";
/// The key of the deployed code in [`APP`].
pub const CODE_KEY: &[u8] = b"code";
/// The files archive of a script.
pub const FILES: &str = "public:files";
/// The versions of the files archive; derived.
pub const HISTORY: &str = "glassbox.history";
/// What belongs to this project, public or not: the first part of the names of its maps.
pub const OWN: &str = "glassbox";
/// A bundle's request.
pub const REQUEST_KEY: &[u8] = b"request";
/// What was answered.
pub const RESPONSE_KEY: &[u8] = b"response";
/// The secret seed of a request.
pub const SEED_KEY: &[u8] = b"seed";
/// When a bundle's modules were evaluated.
pub const IMAGE_KEY: &[u8] = b"image";
/// When views began; derived.
pub const VIEWS: &str = "glassbox.views";
