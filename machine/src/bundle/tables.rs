//! The tables of governance, by CCF's names. All of them are public.

/// The key of a table with one row.
pub const SINGLETON: &[u8] = &[0; 8];

/// The constitution: SINGLETON, a JSON string.
pub const CONSTITUTION: &str = "public:ccf.gov.constitution";
/// The app's endpoints: `GET /path`, JSON.
pub const ENDPOINTS: &str = "public:ccf.gov.endpoints";
/// The app's modules: `/name.js`, the source.
pub const MODULES: &str = "public:ccf.gov.modules";
/// The engine that bytecode was made by.
pub const BYTECODE_VERSION: &str = "public:ccf.gov.modules_quickjs_version";
/// Written to have all interpreters forgotten.
pub const INTERPRETER_FLUSH: &str = "public:ccf.gov.interpreter.flush";
/// The limits of handlers: SINGLETON, JSON.
pub const RUNTIME_OPTIONS: &str = "public:ccf.gov.js_runtime_options";
/// Members' certificates: id, PEM.
pub const MEMBER_CERTS: &str = "public:ccf.gov.members.certs";
/// What is known of members: id, JSON.
pub const MEMBER_INFO: &str = "public:ccf.gov.members.info";
/// Users' certificates: id, PEM.
pub const USER_CERTS: &str = "public:ccf.gov.users.certs";
/// What is known of users: id, JSON.
pub const USER_INFO: &str = "public:ccf.gov.users.info";
/// The service: SINGLETON, JSON.
pub const SERVICE_INFO: &str = "public:ccf.gov.service.info";
/// Whether a developer may deploy without proposals: SINGLETON, `true`.
pub const DEVELOPMENT: &str = "public:ccf.gov.glassbox.development";
/// Reserved names begin so, after `public:` if that is there.
pub const GOVERNANCE_PREFIX: &str = "ccf.gov.";
/// The same of what the service itself keeps.
pub const INTERNAL_PREFIX: &str = "ccf.internal.";
