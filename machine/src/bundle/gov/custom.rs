//! A developer's short cut: an app is deployed by one request, without proposals and votes.
//!
//! | request | does |
//! |---|---|
//! | `PUT /app/custom_endpoints` | replaces the app by the bundle in the body |
//! | `GET /app/custom_endpoints` | the bundle that is deployed |
//! | `GET /app/custom_endpoints/modules?module_name=/a.js` | one module's source |
//! | `PATCH /app/custom_endpoints/runtime_options` | changes some of the limits |
//! | `GET /app/custom_endpoints/runtime_options` | the limits |
//!
//! It is there only where the service was started for development ([`DEVELOPMENT`]); elsewhere it does not exist. Who deploys must
//! be a user with `user_data.isAdmin`, by TLS certificate or by a signed body:
//!
//! ```text
//! COSE_Sign1, protected: {1: alg, 4: kid, "app.msg.type": "custom_endpoints" or "runtime_options", "app.msg.created_at": seconds}
//! ```

use super::effects::flush;
use super::info::as_rows;
use super::lens::Lens;
use super::names::RECENT_CUSTOM;
use super::{Answer, Governing, Stop, finish, proposals, replay, service};
use crate::Fault;
use crate::bundle::auth::{self, Policy};
use crate::bundle::not_allowed;
use crate::bundle::request::{Request, Response};
use crate::bundle::store::Rows;
use crate::bundle::tables::{DEVELOPMENT, ENDPOINTS, MODULES, RUNTIME_OPTIONS, SINGLETON, USER_INFO};
use aws_lc_rs::digest;
use coset::cbor::{de::from_reader, value::Value as Cbor};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const TYPE: &str = "app.msg.type";
const CREATED_AT: &str = "app.msg.created_at";

const BUNDLE_PATH: &str = "/app/custom_endpoints";
const MODULES_PATH: &str = "/app/custom_endpoints/modules";
const OPTIONS_PATH: &str = "/app/custom_endpoints/runtime_options";

/// Verb and path of everything here.
pub fn routes() -> &'static [(&'static str, &'static str)] {
    &[("PUT", BUNDLE_PATH), ("GET", BUNDLE_PATH), ("GET", MODULES_PATH), ("PATCH", OPTIONS_PATH), ("GET", OPTIONS_PATH)]
}

/// The path as it stands in [`routes`]: `/app` may be left out.
fn rooted_path(path: &str) -> String {
    if path.starts_with("/app/") { path.to_owned() } else { format!("/app{path}") }
}

/// Whether a path is one of these, or under them.
pub fn is_custom(path: &str) -> bool {
    rooted_path(path).strip_prefix(BUNDLE_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Whether the service takes apps without proposals. If not, none of this exists.
pub fn is_allowed(rows: &dyn Rows) -> Result<bool, Fault> {
    Ok(rows.get(DEVELOPMENT, SINGLETON)?.as_deref() == Some(b"true"))
}

fn unknown(request: &Request) -> Stop {
    let path = request.path();
    Stop::new(404, "ResourceNotFound", format!("Unknown path: {}.", path.strip_prefix("/app").unwrap_or(path)))
}

fn invalid(message: impl Into<String>) -> Stop {
    Stop::new(400, "InvalidInput", message)
}

/// Answers a request that writes. What it has written is to be kept if the status is 2xx.
pub(super) fn handle(governing: &mut dyn Governing, request: &Request, cache: &mut auth::Cache) -> Result<Response, Fault> {
    let mut work = || {
        if !is_allowed(as_rows(governing))? {
            return Err(unknown(request));
        }
        match (request.method.as_str(), rooted_path(request.path()).as_str()) {
            ("PUT", BUNDLE_PATH) => {
                let bundle = payload(governing, request, cache, "custom_endpoints")?;
                deploy(governing, &bundle)
            }
            ("PATCH", OPTIONS_PATH) => {
                let changes = payload(governing, request, cache, "runtime_options")?;
                set_options(governing, &changes)
            }
            _ => Err(refused(request)),
        }
    };
    finish(work())
}

/// Answers a request that reads.
pub(super) fn view(rows: &dyn Rows, request: &Request) -> Result<Response, Fault> {
    let work = || {
        if !is_allowed(rows)? {
            return Err(unknown(request));
        }
        match (request.method.as_str(), rooted_path(request.path()).as_str()) {
            ("GET" | "HEAD", BUNDLE_PATH) => deployed(rows),
            ("GET" | "HEAD", MODULES_PATH) => module(rows, request),
            ("GET" | "HEAD", OPTIONS_PATH) => Ok(Response::json(200, &Value::Object(options(rows)?))),
            _ => Err(refused(request)),
        }
    };
    finish(work())
}

/// What is answered to a verb, or a path, that is not there.
fn refused(request: &Request) -> Stop {
    let path = rooted_path(request.path());
    let verbs: Vec<String> = routes().iter().filter(|(_, known)| *known == path).map(|(verb, _)| (*verb).to_owned()).collect();
    if verbs.is_empty() {
        return unknown(request);
    }
    Stop::Refused(not_allowed(&verbs, path.strip_prefix("/app").unwrap_or(&path), &request.method))
}

/// The body, or what is signed in it, of a request that an administrator makes.
fn payload(governing: &mut dyn Governing, request: &Request, cache: &mut auth::Cache, kind: &str) -> Answer<Vec<u8>> {
    let policies = [Policy::Named("user_cose_sign1".into()), Policy::Named("user_cert".into())];
    let grant = auth::authenticate(&policies, request, &Lens(as_rows(governing)), cache)??;
    let user = grant.id.unwrap_or_default();
    let info = governing.get(USER_INFO, user.as_bytes())?;
    let info: Value = info.and_then(|row| serde_json::from_slice(&row).ok()).unwrap_or_default();
    let is_admin = info.get("user_data").and_then(|data| data.get("isAdmin"));
    if is_admin != Some(&Value::Bool(true)) {
        return Err(Stop::new(403, "AuthorizationFailed", "Only admins may access this endpoint."));
    }
    let Some(content) = grant.content else { return Ok(request.body.clone()) };
    let (found, created_at_s, protected) = signed_headers(&request.body)
        .ok_or_else(|| Stop::new(400, "MissingRequiredHeader", format!("Missing {CREATED_AT} protected header")))?;
    if found.as_deref() != Some(kind) {
        let found = found.as_deref().unwrap_or("nothing");
        return Err(invalid(format!("Found {TYPE} set to {found}, expected {TYPE} to be {kind}")));
    }
    // By what is signed, not by the signature: of one that verifies, anybody can make another.
    let mut signed = digest::Context::new(&digest::SHA256);
    for part in [&(protected.len() as u64).to_le_bytes()[..], &protected, &content] {
        signed.update(part);
    }
    let taken = replay::remember(governing, RECENT_CUSTOM, created_at_s, signed.finish().as_ref(), kind)?;
    taken.map_err(|why| match why {
        replay::Refused::Unwritable => invalid(format!("{CREATED_AT} is too large")),
        replay::Refused::Again(_) => invalid("This signed request was made before"),
        replay::Refused::TooOld(oldest) => invalid(format!("{CREATED_AT} is too long ago: it must be {oldest} or later")),
    })?;
    Ok(content)
}

/// Type, time and the whole protected header of a message that has been verified.
fn signed_headers(mut body: &[u8]) -> Option<(Option<String>, i64, Vec<u8>)> {
    let parts = match from_reader::<Cbor, _>(&mut body).ok()? {
        Cbor::Tag(_, inner) => inner.into_array().ok()?,
        other => other.into_array().ok()?,
    };
    let protected = parts.first()?.as_bytes()?.clone();
    let headers = from_reader::<Cbor, _>(&mut protected.as_slice()).ok()?.into_map().ok()?;
    let header = |name: &str| headers.iter().find(|(label, _)| label.as_text() == Some(name)).map(|(_, value)| value);
    let kind = header(TYPE).and_then(Cbor::as_text).map(str::to_owned);
    let created_at_s = header(CREATED_AT)?.as_integer().and_then(|time| i64::try_from(time).ok()).filter(|time| *time >= 0)?;
    Some((kind, created_at_s, protected))
}

/// An endpoint keeps what its author has written.
type Endpoint = BTreeMap<String, Box<RawValue>>;

#[derive(Deserialize)]
struct Bundle {
    metadata: Metadata,
    modules: Vec<Module>,
}

#[derive(Deserialize)]
struct Metadata {
    endpoints: BTreeMap<String, BTreeMap<String, Endpoint>>,
}

#[derive(Deserialize)]
struct Module {
    name: String,
    module: String,
}

/// Paths of modules begin with a slash in the tables.
fn rooted(name: &str) -> String {
    format!("/{}", name.strip_prefix('/').unwrap_or(name))
}

fn deploy(governing: &mut dyn Governing, body: &[u8]) -> Answer {
    let bundle: Bundle = serde_json::from_slice(body).map_err(|error| invalid(format!("The body is no bundle: {error}")))?;
    let mut endpoints = BTreeMap::new();
    for (path, verbs) in bundle.metadata.endpoints {
        for (verb, endpoint) in verbs {
            let name = format!("{} {path}", verb.to_uppercase());
            let endpoint = checked(&name, endpoint, &bundle.modules).map_err(invalid)?;
            endpoints.insert(name, endpoint);
        }
    }
    let value: Value = serde_json::from_slice(body).map_err(|error| invalid(format!("The body is no bundle: {error}")))?;
    proposals::try_out(governing, &value)?.map_err(invalid)?;
    governing.clear(MODULES)?;
    governing.clear(ENDPOINTS)?;
    for module in &bundle.modules {
        governing.put(MODULES, rooted(&module.name).as_bytes(), module.module.as_bytes());
    }
    for (name, endpoint) in &endpoints {
        let row = serde_json::to_vec(endpoint).expect("it was read from JSON");
        governing.put(ENDPOINTS, name.as_bytes(), &row);
    }
    flush(governing);
    Ok(Response::empty(204))
}

/// An endpoint as it is kept, or what is wrong with it. Without a mode it may write, as everywhere.
fn checked(name: &str, mut endpoint: Endpoint, modules: &[Module]) -> Result<Endpoint, String> {
    let text = |field: &str| endpoint.get(field).and_then(|value| serde_json::from_str::<String>(value.get()).ok());
    let module = text("js_module").ok_or_else(|| format!("{name}: js_module must be a string"))?;
    text("js_function").ok_or_else(|| format!("{name}: js_function must be a string"))?;
    if !modules.iter().any(|known| rooted(&known.name) == rooted(&module)) {
        return Err(format!("{name}: module '{module}' not found in bundle"));
    }
    let among = |field: &str, known: &[&str], required: bool| match endpoint.get(field) {
        None if !required => Ok(()),
        _ if text(field).is_some_and(|value| known.contains(&value.as_str())) => Ok(()),
        _ => Err(format!("{name}: {field} must be one of {}", known.join(", "))),
    };
    among("mode", &["readwrite", "readonly", "historical"], false)?;
    among("forwarding_required", &["sometimes", "always", "never"], true)?;
    among("redirection_strategy", &["none", "to_primary", "to_backup"], false)?;
    let policies = endpoint.get("authn_policies").map(|value| serde_json::from_str::<Vec<Policy>>(value.get()));
    match policies {
        Some(Ok(_)) => {}
        Some(Err(error)) => return Err(format!("{name}: authn_policies: {error}")),
        None => return Err(format!("{name}: authn_policies must be an array")),
    }
    let module = Value::from(rooted(&module)).to_string();
    endpoint.insert("js_module".into(), RawValue::from_string(module).expect("a string is JSON"));
    Ok(endpoint)
}

fn deployed(rows: &dyn Rows) -> Answer {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let modules = rows.rows(MODULES)?;
    let modules: Vec<Value> =
        modules.iter().map(|(name, source)| json!({ "name": text(name), "module": text(source) })).collect();
    let endpoints = service::endpoints(rows, true)?;
    Ok(Response::json(200, &json!({ "metadata": { "endpoints": endpoints }, "modules": modules })))
}

fn module(rows: &dyn Rows, request: &Request) -> Answer {
    let name = request.parameter("module_name");
    let name = name.ok_or_else(|| Stop::new(400, "InvalidQueryParameterValue", "Missing query parameter 'module_name'"))?;
    let source = rows.get(MODULES, rooted(&name).as_bytes())?;
    let source = source.ok_or_else(|| Stop::new(404, "ResourceNotFound", format!("No module found with name '{name}'.")))?;
    Ok(Response::typed(200, "text/javascript", source))
}

/// The limits, with what they are by default.
fn options(rows: &dyn Rows) -> Answer<Map<String, Value>> {
    let usual = json!({
        "max_heap_bytes": 100 << 20, "max_stack_bytes": 1 << 20, "max_execution_time_ms": 5_000,
        "log_exception_details": false, "return_exception_details": false, "max_cached_interpreters": 10,
    });
    let Value::Object(mut options) = usual else { unreachable!("it is an object") };
    let row = rows.get(RUNTIME_OPTIONS, SINGLETON)?;
    if let Some(Value::Object(set)) = row.and_then(|row| serde_json::from_slice(&row).ok()) {
        options.extend(set.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Ok(options)
}

fn set_options(governing: &mut dyn Governing, body: &[u8]) -> Answer {
    let changes: Value = serde_json::from_slice(body).map_err(|error| invalid(format!("The body is no JSON: {error}")))?;
    let changes = changes.as_object().ok_or_else(|| invalid("The body is no object"))?;
    let mut options = options(as_rows(governing))?;
    for (name, value) in changes {
        let before = options.get_mut(name).ok_or_else(|| invalid(format!("{name} is no runtime option")))?;
        if before.is_boolean() != value.is_boolean() || (before.is_number() && value.as_u64().is_none()) {
            let what = if before.is_boolean() { "true or false" } else { "a whole number" };
            return Err(invalid(format!("{name} must be {what}")));
        }
        *before = value.clone();
    }
    let sorted: BTreeMap<&String, &Value> = options.iter().collect();
    governing.put(RUNTIME_OPTIONS, SINGLETON, &serde_json::to_vec(&sorted).expect("scalars can be written"));
    Ok(Response::json(200, &Value::Object(options)))
}
