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

/// A frame of mail above this ends the connection: one message may have [`machine::vats::devices::mailbox::MAX_MESSAGE_BYTES`].
pub const MAX_MAIL_FRAME_BYTES: usize = 6 << 20;

/// Messages in a frame of mail.
pub const MAX_MAIL_MESSAGES: usize = 1_000;

/// Messages that a kernel is given at once: four cranks for each, so that what comes in does not pile up in its queue.
pub const MAIL_AT_ONCE: usize = machine::vats::CRANKS_PER_INPUT as usize / 4;

/// Bytes of messages after which a frame of mail takes no further one, and neither does what a kernel is given at once.
pub const MAIL_FILL_BYTES: usize = 1 << 20;

/// Bytes of mail from one kernel that wait for ours. With more there, nothing is read from that kernel.
pub const MAX_MAIL_WAITING_BYTES: usize = 4 << 20;

/// Connections at once of kernels that have not shown who they are.
pub const MAX_MAIL_STRANGERS: usize = 64;

/// How long another kernel may take to say who it is, or to be connected to.
pub const MAIL_HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// After so long without mail an empty frame is sent.
pub const MAIL_HEARTBEAT: Duration = Duration::from_secs(10);

/// A connection on which nothing has come for so long is given up.
pub const MAIL_SILENCE: Duration = Duration::from_secs(35);

/// How long to wait until the next attempt to connect to another kernel: first, and at most.
pub const MAIL_PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// How long to wait when the queue is full.
pub const MAIL_BUSY_PAUSE: Duration = Duration::from_millis(20);

/// How long there is no connection with another kernel after ours has not taken its mail.
pub const MAIL_REFUSED_PAUSE: Duration = Duration::from_secs(60);

const _: () = assert!(
    MAIL_FILL_BYTES + machine::vats::devices::mailbox::MAX_MESSAGE_BYTES + 24 * MAX_MAIL_MESSAGES + 4096 <= MAX_MAIL_FRAME_BYTES
);
