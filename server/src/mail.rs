//! Mail between kernels on different machines.

use std::collections::BTreeMap;
use std::sync::Arc;

/// What is to be sent: for each peer the messages that it has not acknowledged, with their numbers, and the last of its own that is here.
pub type Outgoing = Arc<BTreeMap<String, (Vec<(u64, String)>, u64)>>;

/// Who sends it.
pub type Outbox = Arc<dyn Fn(Outgoing) + Send + Sync>;
