//! Counters, in the text format of Prometheus.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// What is counted. All of it may be read while it is written.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Calls that succeeded.
    pub calls_ok: AtomicU64,
    /// Calls that failed, and are in the ledger with their error.
    pub calls_failed: AtomicU64,
    /// Calls that were refused because too many were waiting.
    pub calls_refused: AtomicU64,
    /// Signed calls that were refused: replayed, stale, of another history.
    pub calls_unauthorised: AtomicU64,
    /// Calls that only read.
    pub reads: AtomicU64,
    /// Checkpoints written since the start.
    pub checkpoints: AtomicU64,
    /// Their bytes in the ledger.
    pub checkpoint_bytes: AtomicU64,
    /// Microseconds that they took, with the flush of the state.
    pub checkpoint_us: AtomicU64,
    /// Calls that wait or run now.
    pub waiting: AtomicU64,
    /// Requests that were no valid call.
    pub bad_requests: AtomicU64,
    /// Open WebSocket connections.
    pub connections: AtomicU64,
    /// Group commits, each with one fsync.
    pub commits: AtomicU64,
    /// Microseconds spent in them.
    pub commit_us: AtomicU64,
    /// Bytes appended to the ledger.
    pub ledger_bytes: AtomicU64,
    /// The last durable transaction.
    pub last_seqno: AtomicU64,
    /// The last signed transaction.
    pub signed_seqno: AtomicU64,
    /// Bytes of the realm's heap.
    pub heap_bytes: AtomicU64,
    /// Microseconds spent executing.
    pub execute_us: AtomicU64,
}

impl Metrics {
    /// The page.
    pub fn page(&self) -> String {
        let mut page = String::new();
        let mut line = |kind: &str, name: &str, help: &str, values: &[(&str, &AtomicU64)]| {
            let _ = writeln!(page, "# HELP glassbox_{name} {help}\n# TYPE glassbox_{name} {kind}");
            for (labels, value) in values {
                let _ = writeln!(page, "glassbox_{name}{labels} {}", value.load(Relaxed));
            }
        };
        line(
            "counter",
            "calls_total",
            "Calls by what became of them.",
            &[
                ("{outcome=\"ok\"}", &self.calls_ok),
                ("{outcome=\"failed\"}", &self.calls_failed),
                ("{outcome=\"refused\"}", &self.calls_refused),
                ("{outcome=\"unauthorised\"}", &self.calls_unauthorised),
            ],
        );
        line("counter", "reads_total", "Calls that only read.", &[("", &self.reads)]);
        line("counter", "bad_requests_total", "Frames and requests that were no valid call.", &[("", &self.bad_requests)]);
        line("gauge", "calls_waiting", "Calls that wait or run.", &[("", &self.waiting)]);
        line("gauge", "connections", "Open WebSocket connections.", &[("", &self.connections)]);
        line("counter", "commits_total", "Group commits, one fsync each.", &[("", &self.commits)]);
        line("counter", "commit_microseconds_total", "Time spent in group commits.", &[("", &self.commit_us)]);
        line("counter", "execute_microseconds_total", "Time spent executing.", &[("", &self.execute_us)]);
        line("counter", "ledger_bytes_total", "Bytes appended to the ledger since the start.", &[("", &self.ledger_bytes)]);
        line("counter", "checkpoints_total", "Checkpoints written since the start.", &[("", &self.checkpoints)]);
        line("counter", "checkpoint_bytes_total", "Their bytes in the ledger.", &[("", &self.checkpoint_bytes)]);
        line("counter", "checkpoint_microseconds_total", "Time that they took.", &[("", &self.checkpoint_us)]);
        line("gauge", "ledger_seqno", "The last durable transaction.", &[("", &self.last_seqno)]);
        line("gauge", "ledger_signed_seqno", "The last signature transaction.", &[("", &self.signed_seqno)]);
        line("gauge", "heap_bytes", "Bytes of the script's heap.", &[("", &self.heap_bytes)]);
        page
    }
}
