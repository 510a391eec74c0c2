//! The connections of a listener, counted.

use super::refusal::Refusal;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is counted. All of it may be read while it is written.
#[derive(Debug, Default)]
pub struct Sessions {
    /// Open connections.
    pub active: AtomicU64,
    /// The most that were open at once.
    pub peak: AtomicU64,
    /// The most that may be.
    pub most: AtomicU64,
    /// Those that ended because what came was no HTTP.
    pub malformed: AtomicU64,
    /// Those that ended with too large a body.
    pub large_bodies: AtomicU64,
    /// Those that ended with too large a head.
    pub large_heads: AtomicU64,
}

impl Sessions {
    /// Counts a connection until the guard is dropped.
    pub(super) fn open(self: &Arc<Sessions>) -> Open {
        let active = self.active.fetch_add(1, Relaxed) + 1;
        self.peak.fetch_max(active, Relaxed);
        Open(self.clone())
    }

    /// Counts what a connection ends with.
    pub(super) fn refused(&self, refusal: &Refusal) {
        let counter = match refusal {
            Refusal::Malformed(_) => &self.malformed,
            Refusal::BodyTooLarge(_) => &self.large_bodies,
            Refusal::HeaderTooLarge(_) | Refusal::TooManyHeaders(_) => &self.large_heads,
            Refusal::Expectation | Refusal::Unanswered => return,
        };
        counter.fetch_add(1, Relaxed);
    }
}

/// An open connection.
pub(super) struct Open(Arc<Sessions>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}
