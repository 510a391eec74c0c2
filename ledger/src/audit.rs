//! The audit: takes the transactions of a ledger in order and says whether they are what their signers signed.
//!
//! ```text
//! transaction ──▶ next seqno? view not lower? ──▶ signature? ── no ──▶ its service and node rows ──▶ leaf of the tree
//!                                                     └─ yes ──▶ root, node, both signatures ───────┘
//! ```
//!
//! The audit needs no secret and no state but this: a window of the Merkle tree (see [`crate::merkle`]), the
//! certificates that the ledger itself holds, and the last signature. Who knows the service's certificate from
//! elsewhere pins it; without a pin the audit shows only that the ledger is consistent with itself.
//!
//! An audit of the whole ledger begins at the first transaction. Recovery, which has the ledger secret, may begin at a
//! [`Frontier`]; what it knows then of the transactions before is the tree and the last signature.
//!
//! Invariants: after an error the audit is over: every later call returns an error too. Transactions after the last
//! signature are not yet vouched for by anyone; [`Audit::unsigned`] says how many there are.

use std::collections::BTreeMap;

use crate::cert::{Certificate, CertificateError};
use crate::frontier::{Frontier, FrontierError};
use crate::genesis::{NODE_CERTIFICATES_MAP, NODES_INFO_MAP, NodeInfo, SERVICE_INFO_MAP, ServiceInfo};
use crate::keys::Keys;
use crate::merkle::Tree;
use crate::sealer::bound_window;
use crate::signature::{SINGLETON_KEY, SignatureError, SignatureInfo};
use crate::transaction::{Leaf, Transaction};
use crate::txid::TxId;
use crate::write_set::{MapWrites, WriteSet};

/// Nodes that a ledger may name.
pub const NODES_MAX: usize = 1024;

/// Checks a ledger, one transaction after the other.
#[derive(Clone, Debug)]
pub struct Audit {
    pinned: Option<Certificate>,
    service: Option<Certificate>,
    status: Option<Status>,
    nodes: BTreeMap<String, Node>,
    tree: Tree,
    last: Option<TxId>,
    last_signature: Option<SignatureInfo>,
    failed: bool,
}

#[derive(Clone, Debug, Default)]
struct Node {
    trusted: bool,
    certificate: Option<Certificate>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Opening,
    Open,
}

/// A transaction that does not belong where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("transaction {txid}: {kind}")]
pub struct AuditError {
    /// Which.
    pub txid: TxId,
    /// Why.
    pub kind: AuditErrorKind,
}

/// Why a transaction does not belong where it stands.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AuditErrorKind {
    /// Not the next sequence number.
    #[error("transaction number {expected} was expected")]
    Seqno {
        /// The one that was expected.
        expected: u64,
    },
    /// The view went down.
    #[error("the view is lower than that of the transaction before")]
    View,
    /// The first transaction must say who the service is.
    #[error("the first transaction does not name the service")]
    NoService,
    /// The service is not the one that was pinned, or became another one.
    #[error("the certificate of the service is another one")]
    OtherService,
    /// A row of the service or of a node cannot be read.
    #[error("a row of {map} cannot be read")]
    Governance {
        /// Where.
        map: &'static str,
    },
    /// The service went from open to opening.
    #[error("the status of the service must go from opening to open")]
    Status,
    /// A certificate that cannot be used.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// A node that the service did not endorse.
    #[error("the certificate of node {node} is not signed by the service")]
    NotEndorsed {
        /// Which.
        node: String,
    },
    /// A node's row and its certificate disagree.
    #[error("the certificate of node {node} has another key")]
    NodeId {
        /// Which.
        node: String,
    },
    /// More nodes than [`NODES_MAX`].
    #[error("the ledger names more than {NODES_MAX} nodes")]
    TooManyNodes,
    /// A chunk ends after a transaction that is not a signature.
    #[error("a chunk may end only after a signature")]
    EndOfChunk,
    /// A signature transaction that cannot be read.
    #[error(transparent)]
    Signature(#[from] SignatureError),
    /// A frontier that cannot be read.
    #[error(transparent)]
    Frontier(#[from] FrontierError),
    /// A frontier of other transactions.
    #[error("the frontier is not that of the transactions before it")]
    OtherFrontier,
    /// The time of the service's signature went back.
    #[error("the signature is older than the signature before it")]
    Time,
    /// The link to the signature before is wrong.
    #[error("the signature does not name the signature before it")]
    Previous,
    /// The transactions are not those that were signed.
    #[error("the Merkle root of the transactions is not the signed one")]
    Root,
    /// Signed by a node that is not trusted.
    #[error("node {node} signed, which is not trusted")]
    UntrustedNode {
        /// Which.
        node: String,
    },
    /// The node's signature is wrong.
    #[error("the node's signature over the Merkle root is wrong")]
    NodeSignature,
    /// The service's signature is wrong.
    #[error("the service's signature over the Merkle root is wrong")]
    ServiceSignature,
    /// An earlier transaction was refused already.
    #[error("an earlier transaction was refused")]
    AlreadyFailed,
}

use AuditErrorKind as Kind;

impl Default for Audit {
    fn default() -> Audit {
        Audit::new()
    }
}

impl Audit {
    /// Takes whatever service the ledger names.
    pub fn new() -> Audit {
        Audit {
            pinned: None,
            service: None,
            status: None,
            nodes: BTreeMap::new(),
            tree: Tree::new(),
            last: None,
            last_signature: None,
            failed: false,
        }
    }

    /// Takes only the ledger of this service.
    pub fn pinned(service: Certificate) -> Audit {
        Audit { pinned: Some(service), ..Audit::new() }
    }

    /// From a frontier on. `last` is a transaction before, the nearest that is known, and `last_signature` the signature that the
    /// frontier names. Both come from transactions that the owner of `keys` sealed; the signature is checked here.
    pub(crate) fn resume(
        keys: &Keys,
        frontier: &Frontier,
        last: Option<TxId>,
        last_signature: Option<SignatureInfo>,
    ) -> Result<Audit, AuditErrorKind> {
        let (service, node) = (keys.service_certificate(), keys.node_certificate());
        if last_signature.as_ref().map(|signature| signature.txid) != frontier.signature {
            return Err(Kind::Previous);
        }
        let mut audit = Audit {
            service: Some(service.clone()),
            tree: Tree::from_frontier(frontier).ok_or(FrontierError)?,
            last: last.or(frontier.signature),
            ..Audit::pinned(service.clone())
        };
        audit.nodes.insert(node.id().to_owned(), Node { trusted: true, certificate: Some(node.clone()) });
        if let Some(signature) = &last_signature {
            audit.verify(signature, audit.trusted(signature)?)?;
        }
        audit.last_signature = last_signature;
        Ok(audit)
    }

    /// The last transaction.
    pub fn last(&self) -> Option<TxId> {
        self.last
    }

    /// The last signature.
    pub fn last_signature(&self) -> Option<&SignatureInfo> {
        self.last_signature.as_ref()
    }

    /// The number of transactions after the last signature.
    pub fn unsigned(&self) -> u64 {
        self.tree.size() - 1 - self.last_signature.as_ref().map_or(0, |signature| signature.txid.seqno)
    }

    /// The service that the ledger names.
    pub fn service_certificate(&self) -> Option<&Certificate> {
        self.service.as_ref()
    }

    /// The certificate of a node that may sign.
    pub fn trusted_node(&self, id: &str) -> Option<&Certificate> {
        self.nodes.get(id).filter(|node| node.trusted)?.certificate.as_ref()
    }

    /// What one needs to go on from the next transaction.
    pub fn frontier(&self) -> Frontier {
        self.tree.frontier(self.last_signature.as_ref().map(|signature| signature.txid))
    }

    /// The tree and the last signature, for a sealer that goes on.
    pub(crate) fn into_parts(self) -> (Tree, Option<SignatureInfo>) {
        (self.tree, self.last_signature)
    }

    /// Checks the next transaction. When it is a signature, everything up to it is now vouched for.
    pub fn push(&mut self, transaction: &Transaction) -> Result<Option<SignatureInfo>, AuditError> {
        self.push_leaf(transaction, &transaction.leaf())
    }

    /// The same, when the caller has computed the leaf already.
    pub(crate) fn push_leaf(&mut self, transaction: &Transaction, leaf: &Leaf) -> Result<Option<SignatureInfo>, AuditError> {
        self.take(transaction, leaf, true)
    }

    /// The same, without the two ECDSA signatures of a signature transaction: its root, its node and its links are checked.
    /// For transactions whose tag was checked already; [`Audit::verify`] makes up for it.
    pub(crate) fn push_unverified(
        &mut self,
        transaction: &Transaction,
        leaf: &Leaf,
    ) -> Result<Option<SignatureInfo>, AuditError> {
        self.take(transaction, leaf, false)
    }

    fn take(&mut self, transaction: &Transaction, leaf: &Leaf, verify: bool) -> Result<Option<SignatureInfo>, AuditError> {
        let checked = if self.failed { Err(Kind::AlreadyFailed) } else { self.check(transaction, verify) };
        let signature = checked.map_err(|kind| {
            self.failed = true;
            AuditError { txid: transaction.txid(), kind }
        })?;
        self.last = Some(transaction.txid());
        self.tree.push(leaf.digest());
        if let Some(signature) = &signature {
            self.last_signature = Some(signature.clone());
        }
        bound_window(&mut self.tree);
        Ok(signature)
    }

    /// Checks the node's and the service's signature over a root.
    pub(crate) fn verify(&self, signature: &SignatureInfo, node: &Certificate) -> Result<(), AuditErrorKind> {
        if !node.verifies_root(&signature.root, &signature.node_signature) {
            return Err(Kind::NodeSignature);
        }
        let service = self.service.as_ref().ok_or(Kind::NoService)?;
        if !signature.service_signature.verifies(&signature.root, service) {
            return Err(Kind::ServiceSignature);
        }
        Ok(())
    }

    fn trusted(&self, signature: &SignatureInfo) -> Result<&Certificate, Kind> {
        self.trusted_node(&signature.node_id).ok_or_else(|| Kind::UntrustedNode { node: signature.node_id.clone() })
    }

    fn check(&mut self, transaction: &Transaction, verify: bool) -> Result<Option<SignatureInfo>, Kind> {
        let txid = transaction.txid();
        if txid.seqno != self.tree.size() {
            return Err(Kind::Seqno { expected: self.tree.size() });
        }
        if self.last.is_some_and(|last| txid.view < last.view) {
            return Err(Kind::View);
        }
        let signature = SignatureInfo::read(transaction)?;
        match &signature {
            Some(signature) => {
                let node = self.check_signature(signature)?;
                if verify {
                    self.verify(signature, node)?;
                }
            }
            None if transaction.ends_chunk() => return Err(Kind::EndOfChunk),
            None => {
                self.check_frontier(transaction.public())?;
                self.take_governance(transaction.public())?;
            }
        }
        if self.service.is_none() {
            return Err(Kind::NoService);
        }
        Ok(signature)
    }

    /// A frontier must be ours. A signature transaction has none, because it writes nothing but signatures.
    fn check_frontier(&self, writes: &WriteSet) -> Result<(), Kind> {
        match Frontier::read(writes)? {
            Some(frontier) if frontier != self.frontier() => Err(Kind::OtherFrontier),
            _ => Ok(()),
        }
    }

    /// Checks all but the signatures themselves. Returns the node that should have signed.
    fn check_signature(&self, signature: &SignatureInfo) -> Result<&Certificate, Kind> {
        if signature.previous != self.last_signature.as_ref().map(|previous| previous.txid) {
            return Err(Kind::Previous);
        }
        if signature.root != self.tree.root() {
            return Err(Kind::Root);
        }
        if self.last_signature.as_ref().is_some_and(|last| signature.signed_at_s() < last.signed_at_s()) {
            return Err(Kind::Time);
        }
        self.trusted(signature)
    }

    fn take_governance(&mut self, writes: &WriteSet) -> Result<(), Kind> {
        if let Some(map) = writes.maps.get(SERVICE_INFO_MAP) {
            self.take_service(map)?;
        }
        if let Some(map) = writes.maps.get(NODES_INFO_MAP) {
            for (id, row) in rows(map, NODES_INFO_MAP) {
                let (id, row) = (id?, row.map(|row| json::<NodeInfo>(row, NODES_INFO_MAP)).transpose()?);
                self.node(id)?.trusted = row.is_some_and(|row| row.status == "Trusted");
            }
        }
        if let Some(map) = writes.maps.get(NODE_CERTIFICATES_MAP) {
            for (id, row) in rows(map, NODE_CERTIFICATES_MAP) {
                let id = id?;
                let certificate = match row {
                    None => None,
                    Some(row) => Some(self.node_certificate(id, row)?),
                };
                self.node(id)?.certificate = certificate;
            }
        }
        Ok(())
    }

    fn take_service(&mut self, map: &MapWrites) -> Result<(), Kind> {
        let governance = Kind::Governance { map: SERVICE_INFO_MAP };
        let row = map.writes.get(&SINGLETON_KEY[..]).ok_or_else(|| governance.clone())?;
        let info: ServiceInfo = json(row, SERVICE_INFO_MAP)?;
        let certificate = Certificate::from_pem(&info.cert)?;
        for expected in [&self.pinned, &self.service].into_iter().flatten() {
            if *expected != certificate {
                return Err(Kind::OtherService);
            }
        }
        let status = match info.status.as_str() {
            "Opening" => Status::Opening,
            "Open" => Status::Open,
            _ => return Err(governance),
        };
        if (self.status, status) == (Some(Status::Open), Status::Opening) {
            return Err(Kind::Status);
        }
        self.status = Some(status);
        self.service = Some(certificate);
        Ok(())
    }

    fn node_certificate(&self, id: &str, pem: &[u8]) -> Result<Certificate, Kind> {
        let pem = std::str::from_utf8(pem).map_err(|_| CertificateError::Pem)?;
        let certificate = Certificate::from_pem(pem)?;
        if certificate.id() != id {
            return Err(Kind::NodeId { node: id.to_owned() });
        }
        let service = self.service.as_ref().ok_or(Kind::NoService)?;
        if !certificate.is_endorsed_by(service) {
            return Err(Kind::NotEndorsed { node: id.to_owned() });
        }
        Ok(certificate)
    }

    fn node(&mut self, id: &str) -> Result<&mut Node, Kind> {
        if self.nodes.len() >= NODES_MAX && !self.nodes.contains_key(id) {
            return Err(Kind::TooManyNodes);
        }
        Ok(self.nodes.entry(id.to_owned()).or_default())
    }
}

/// The rows that a map writes, and those that it removes, by node id.
fn rows<'a>(map: &'a MapWrites, name: &'static str) -> impl Iterator<Item = (Result<&'a str, Kind>, Option<&'a [u8]>)> {
    let id = move |key: &'a [u8]| match std::str::from_utf8(key) {
        Ok(id) if id.len() == 64 => Ok(id),
        _ => Err(Kind::Governance { map: name }),
    };
    let writes = map.writes.iter().map(|(key, value)| (key.as_slice(), Some(value.as_slice())));
    let removes = map.removes.iter().map(|key| (key.as_slice(), None));
    writes.chain(removes).map(move |(key, row)| (id(key), row))
}

fn json<T: serde::de::DeserializeOwned>(row: &[u8], map: &'static str) -> Result<T, Kind> {
    serde_json::from_slice(row).map_err(|_| Kind::Governance { map })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cose;
    use crate::sealer::Sealer;
    use crate::transaction;
    use std::sync::Arc;

    /// The sealer would not write such a signature.
    #[test]
    fn a_signature_that_is_older_than_the_one_before() {
        let keys = Arc::new(Keys::generate("Service", "node0", 0, 1 << 32).unwrap());
        let mut sealer = Sealer::new(&keys, 2).unwrap();
        let mut first = WriteSet::new();
        crate::genesis::genesis(&mut first, &keys);
        let mut audit = Audit::new();
        for sealed in [sealer.seal(&first, None).unwrap(), sealer.sign(1000, false).unwrap()] {
            audit.push(&Transaction::parse(&sealed.raw).unwrap()).unwrap();
        }
        for (time_s, expected) in [(999, Err(Kind::Time)), (1000, Ok(())), (1001, Ok(()))] {
            let (txid, root) = (sealer.next(), audit.tree.root());
            let (service, node) = (keys.service_certificate(), keys.node_certificate());
            let sign = |message: &[u8]| keys.service_sign(message);
            let info = SignatureInfo {
                txid,
                previous: audit.last_signature().map(|signature| signature.txid),
                root,
                node_id: node.id().to_owned(),
                node_signature: keys.node_sign(&root).unwrap(),
                service_signature: cose::Signature::create(txid, time_s, service.name(), service, &root, sign).unwrap(),
                ends_chunk: false,
            };
            let (raw, _) = transaction::encode(txid, 0, &info.write_set(), [0; 32], keys.secret()).unwrap();
            let pushed = audit.clone().push(&Transaction::parse(&raw).unwrap());
            assert_eq!(pushed.map(|_| ()).map_err(|error| error.kind), expected, "{time_s}");
        }
    }

    #[test]
    fn a_signature_transaction_carries_no_frontier() {
        let keys = Arc::new(Keys::generate("Service", "node0", 0, 1 << 32).unwrap());
        let mut sealer = Sealer::new(&keys, 2).unwrap();
        let mut first = WriteSet::new();
        crate::genesis::genesis(&mut first, &keys);
        let mut audit = Audit::new();
        audit.push(&Transaction::parse(&sealer.seal(&first, None).unwrap().raw).unwrap()).unwrap();
        let (txid, frontier) = (sealer.next(), sealer.frontier());
        sealer.sign(1000, false).unwrap();
        let mut writes = sealer.last_signature().unwrap().write_set();
        frontier.write(&mut writes);
        let (raw, _) = transaction::encode(txid, 0, &writes, [0; 32], keys.secret()).unwrap();
        let error = audit.push(&Transaction::parse(&raw).unwrap()).unwrap_err();
        assert_eq!(error.kind, Kind::Signature(SignatureError::Maps));
    }
}
