//! The tables that governance alone uses.

/// Proposals: id, the JSON text as it was signed.
pub(super) const PROPOSALS: &str = "public:ccf.gov.proposals";
/// What has come of them: id, JSON.
pub(super) const PROPOSALS_INFO: &str = "public:ccf.gov.proposals_info";
/// The last signed request of each member: id, COSE_Sign1.
pub(super) const COSE_HISTORY: &str = "public:ccf.gov.cose_history";
/// Proposals that cannot be submitted again: time and digest, id.
pub(super) const RECENT_PROPOSALS: &str = "public:ccf.gov.cose_recent_proposals";
/// What members have acknowledged: id, JSON.
pub(super) const ACKS: &str = "public:ccf.gov.members.acks";
/// Members' keys for what is encrypted to them: id, PEM.
pub(super) const ENCRYPTION_KEYS: &str = "public:ccf.gov.members.encryption_public_keys";
/// Settings of the service: SINGLETON, JSON.
pub(super) const SERVICE_CONFIG: &str = "public:ccf.gov.service.config";
/// Issuers of tokens: issuer, JSON.
pub(super) const JWT_ISSUERS: &str = "public:ccf.gov.jwt.issuers";
/// Keys that sign tokens: kid, JSON.
pub(super) const JWT_KEYS: &str = "public:ccf.gov.jwt.public_signing_keys_metadata_v2";
/// Certificates of authorities: name, a JSON string of PEM.
pub(super) const CA_BUNDLES: &str = "public:ccf.gov.tls.ca_cert_bundles";
/// Requests of developers that cannot be made again: time and digest, what it was.
pub(super) const RECENT_CUSTOM: &str = "public:ccf.gov.glassbox.recent_custom_endpoints";
