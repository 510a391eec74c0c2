//! The governance rows that make a ledger verifiable on its own: who the service is, and which nodes it trusts.
//!
//! ```text
//! public:ccf.gov.service.info                  8 zero bytes → {"cert":"PEM","status":"Opening" or "Open"}
//! public:ccf.gov.nodes.info                    node id      → {"status":"Trusted"}
//! public:ccf.gov.nodes.endorsed_certificates   node id      → PEM
//! ```

use serde::Deserialize;

use crate::keys::Keys;
use crate::signature::SINGLETON_KEY;
use crate::write_set::WriteSet;

/// The service's certificate and status.
pub const SERVICE_INFO_MAP: &str = "public:ccf.gov.service.info";
/// The status of each node.
pub const NODES_INFO_MAP: &str = "public:ccf.gov.nodes.info";
/// The certificate of each node, endorsed by the service.
pub const NODE_CERTIFICATES_MAP: &str = "public:ccf.gov.nodes.endorsed_certificates";

/// What a service says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceStatus {
    /// Being set up: members act, users wait.
    Opening,
    /// Users are served.
    Open,
}

impl ServiceStatus {
    fn text(self) -> &'static str {
        match self {
            ServiceStatus::Opening => "Opening",
            ServiceStatus::Open => "Open",
        }
    }
}

/// Adds what the first transaction must say: the service is opening, and its node is trusted.
pub fn genesis(writes: &mut WriteSet, keys: &Keys) {
    let node = keys.node_certificate();
    writes.put(NODES_INFO_MAP, node.id(), r#"{"status":"Trusted"}"#);
    writes.put(NODE_CERTIFICATES_MAP, node.id(), node.pem());
    service_info(writes, keys, ServiceStatus::Opening);
}

/// Adds the status of the service. A service goes from opening to open once.
pub fn service_info(writes: &mut WriteSet, keys: &Keys, status: ServiceStatus) {
    let info = serde_json::json!({ "cert": keys.service_certificate().pem(), "status": status.text() });
    writes.put(SERVICE_INFO_MAP, SINGLETON_KEY, info.to_string());
}

/// The fields that an auditor reads of a service's row. Others may stand beside them.
#[derive(Deserialize)]
pub(crate) struct ServiceInfo {
    pub(crate) cert: String,
    pub(crate) status: String,
}

/// The field that an auditor reads of a node's row.
#[derive(Deserialize)]
pub(crate) struct NodeInfo {
    pub(crate) status: String,
}
