//! The ledger: one file format, the code that writes it, and the code that catches whoever changed it afterwards.
//!
//! Every call becomes a [`Transaction`]: a [`WriteSet`] (named maps of bytes to bytes), encoded, encrypted where it is
//! private, and appended to a chunk file. The SHA-256 of every transaction is a leaf of one Merkle tree. From time to
//! time a *signature transaction* carries the root, signed twice: by the node's key and by the service's. A
//! [`Receipt`] is the path from one leaf to a signed root, and needs nothing else of the ledger to be believed.
//!
//! The format is the one of Microsoft's CCF, so that its public tools read and validate what is written here; it is
//! drawn in `docs/format.md`. The way of a transaction, file by file:
//!
//! ```text
//! write_set ──▶ sealer ──▶ transaction (bytes) ──▶ log ──▶ storage        writing
//!                 │ merkle, secret, cose
//!                 ▼
//!              receipt ──▶ whoever asked
//!
//! storage ──▶ reader ──▶ transaction ──▶ audit                            reading, by anyone
//!                             └──▶ recover (tags, torn tail) ──▶ log      reading, by the operator after a crash
//! ```
//!
//! Invariants of the crate:
//!
//! - It knows no JavaScript, no runtime, no thread and no clock; time and views are arguments. Randomness is used in
//!   [`Keys::generate`] and in ECDSA signatures, nowhere else.
//! - Two kinds of signatures have nothing to do with the ledger's own: those of [`chance`] and of [`caller`]. Both are
//!   functions of key and message.
//! - Only [`storage`] touches files, behind a trait small enough that a test can crash it after each operation.
//! - One value has one encoding. What would not re-encode to the same bytes is refused.
//! - Memory per transaction is bounded: auditor and sealer keep a window of the tree.
//! - What a restart reads does not grow with the ledger, when the application writes a [`Frontier`] now and then.
//! - Nothing on disk is changed before everything that a recovery reads was found good.

pub mod audit;
pub mod caller;
pub mod cert;
pub mod chance;
pub mod chunk;
pub mod cose;
pub mod frontier;
pub mod genesis;
pub mod hex;
pub mod index;
pub mod keys;
pub mod log;
pub mod merkle;
pub mod reader;
pub mod receipt;
pub mod recover;
pub mod sealer;
pub mod secret;
pub mod signature;
pub mod storage;
pub mod transaction;
pub mod txid;
pub mod write_set;

pub use audit::{Audit, AuditError};
pub use caller::CallerKey;
pub use cert::Certificate;
pub use chance::{ChanceKey, ChancePublicKey};
pub use frontier::{FRONTIER_MAP, Frontier};
pub use genesis::{ServiceStatus, genesis, service_info};
pub use index::Index;
pub use keys::{KeyError, Keys};
pub use log::{Log, LogError};
pub use merkle::Hash;
pub use reader::{Located, ReadError, Reader, Torn};
pub use receipt::{Receipt, ReceiptError, SavedReceipt};
pub use recover::{Checkpoint, Found, RecoverError, Recovery, find, recover, recover_with};
pub use sealer::{SealError, Sealed, Sealer};
pub use secret::{LedgerSecret, sha256};
pub use signature::SignatureInfo;
pub use storage::{Dir, Storage};
pub use transaction::{CodecError, Leaf, Transaction};
pub use txid::TxId;
pub use write_set::{MapWrites, WriteSet};
