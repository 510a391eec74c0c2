//! What a stranger can make grow, and how far.

use std::time::Duration;

/// Calls that wait while one runs. One more is refused.
pub const MAX_WAITING_CALLS: usize = 1_000;

/// A frame above this is refused with an error reply.
pub const MAX_FRAME_BYTES: usize = 4 << 20;

/// A frame above this ends the connection: it is not even read.
pub const MAX_READ_BYTES: usize = 16 << 20;

/// Requests in one JSON-RPC batch.
pub const MAX_BATCH: usize = 100;

/// Connections at once; further ones wait in the listener's backlog.
pub const MAX_CONNECTIONS: usize = 16_384;

/// Replies that wait for one connection that does not read them. One more ends it.
pub const MAX_UNSENT_REPLIES: usize = 2_048;

/// Bytes of replies that wait for one connection. More end it, as more replies do; one alone may be larger.
pub const MAX_UNSENT_BYTES: usize = 64 << 20;

/// Bytes of a method name or a caller's name.
pub const MAX_NAME_BYTES: usize = 256;

/// Bytes of a request's head.
pub const MAX_HEAD_BYTES: usize = 16 << 10;

/// How long a request's head may take.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(15);

/// How long a write to a client may take.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// Inputs that are executed before they go to disk together.
pub const MAX_GROUP: usize = 256;

/// How long finished calls wait at most for others that shall go to disk with them.
pub const MAX_GATHER: Duration = Duration::from_millis(1);

/// How often is looked whether they are there.
pub const GATHER_STEP: Duration = Duration::from_micros(100);

/// A signature follows at the latest so many transactions after the last one.
pub const MAX_UNSIGNED: u64 = 1_000;

/// A signature follows at the latest so long after the first transaction that it covers.
pub const SIGN_AFTER: Duration = Duration::from_millis(100);

/// When a receipt is waited for, a signature follows so long after its transaction.
pub const RECEIPT_AFTER: Duration = Duration::from_millis(1);

/// Threads that run calls which only read.
pub const MAX_READERS: usize = 8;

/// How long an oracle may take.
pub const ORACLE_TIMEOUT: Duration = Duration::from_secs(10);

/// A chunk of the ledger ends at the first signature beyond this size.
pub const CHUNK_BYTES: u64 = 5 << 20;
