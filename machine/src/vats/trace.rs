//! What happens between vats, for who looks on: the causal graph's nodes and edges.

use serde::Serialize;

/// Something that happened in a crank.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    /// A message came to a vat.
    Deliver {
        /// The crank.
        crank: u64,
        /// The vat.
        vat: String,
        /// Object or promise.
        target: String,
        /// The method.
        method: String,
        /// The arguments' body.
        args: String,
        /// The method stands in it, too: it is an array of both.
        in_body: bool,
        /// The promise for what comes of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<String>,
    },
    /// A vat has sent one.
    Send {
        /// The crank.
        crank: u64,
        /// The vat.
        vat: String,
        /// Object or promise.
        target: String,
        /// The method.
        method: String,
        /// The promise for what comes of it.
        #[serde(skip_serializing_if = "Option::is_none")]
        result: Option<String>,
    },
    /// A vat has resolved a promise.
    Resolve {
        /// The crank.
        crank: u64,
        /// The vat.
        vat: String,
        /// The promise.
        promise: String,
        /// Rejected.
        rejected: bool,
        /// With what.
        body: String,
    },
    /// A vat was told of promises.
    Notify {
        /// The crank.
        crank: u64,
        /// The vat.
        vat: String,
        /// The promises.
        promises: Vec<String>,
    },
    /// Anything else that a vat was given: garbage, its start.
    Other {
        /// The crank.
        crank: u64,
        /// The vat.
        vat: String,
        /// What.
        what: String,
    },
    /// A vat was terminated.
    Terminated {
        /// The crank.
        crank: u64,
        /// The vat.
        vat: String,
        /// Why.
        why: String,
    },
}
