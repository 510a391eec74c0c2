//! The app's endpoints, as `app.json` describes them, and which of them a request is for.

use super::auth::Policy;
use super::store::Rows;
use super::tables;
use crate::Fault;
use serde_json::Value;
use std::collections::BTreeMap;

/// What an endpoint may do to the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Reads and writes.
    ReadWrite,
    /// Reads.
    ReadOnly,
    /// Reads, and sees a transaction of the past.
    Historical,
}

/// An endpoint.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// The verb, in upper case.
    pub verb: String,
    /// The template of its path.
    pub template: String,
    /// The module's path from the root of the bundle, with a leading slash.
    pub module: String,
    /// The export.
    pub function: String,
    /// Who may call.
    pub policies: Vec<Policy>,
    /// What it may do.
    pub mode: Mode,
    /// `sometimes`, `always` or `never`: for a cluster.
    pub forwarding_required: String,
    /// `none`, `to_primary` or `to_backup`: for a cluster.
    pub redirection_strategy: Option<String>,
    /// The key under which interpreters are reused.
    pub reuse: Option<String>,
    /// The Operation Object for the OpenAPI document.
    pub openapi: Option<Value>,
    /// It is left out of that document.
    pub openapi_hidden: bool,
}

/// All endpoints.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    /// Without parameters: by path, then verb.
    exact: BTreeMap<String, BTreeMap<String, Endpoint>>,
    templates: BTreeMap<String, (Vec<Piece>, BTreeMap<String, Endpoint>)>,
}

/// A piece of a template.
#[derive(Debug, Clone)]
enum Piece {
    Text(String),
    /// A parameter, which ends before a slash, or before this.
    Parameter(String, Option<char>),
}

/// What a request is for.
#[derive(Debug)]
pub enum Found<'a> {
    /// An endpoint and its parameters, not decoded.
    Endpoint(&'a Endpoint, Vec<(String, String)>),
    /// The path is known, the verb is not. These are.
    Verbs(Vec<String>),
    /// Several templates fit.
    Ambiguous(Vec<String>),
    /// Nothing.
    Nothing,
}

/// Cuts a template into pieces; `{x}` is a parameter.
fn pieces(template: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        let Some((name, after)) = after.split_once('}') else { break };
        pieces.push(Piece::Text(text.to_owned()));
        let end = after.chars().next().filter(|&end| end != '{');
        pieces.push(Piece::Parameter(name.to_owned(), end));
        rest = after;
    }
    pieces.push(Piece::Text(rest.to_owned()));
    pieces
}

/// The parameters of a path that fits.
fn fit(pieces: &[Piece], path: &str) -> Option<Vec<(String, String)>> {
    let mut rest = path;
    let mut parameters = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => rest = rest.strip_prefix(text.as_str())?,
            Piece::Parameter(name, end) => {
                let len = rest.find(|c| c == '/' || Some(c) == *end).unwrap_or(rest.len());
                if len == 0 {
                    return None;
                }
                let (value, after) = rest.split_at(len);
                parameters.push((name.clone(), value.to_owned()));
                rest = after;
            }
        }
    }
    rest.is_empty().then_some(parameters)
}

impl Endpoint {
    fn read(verb: &str, template: &str, text: &[u8]) -> Option<Endpoint> {
        let value: Value = serde_json::from_slice(text).ok()?;
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        let module = text("js_module")?;
        // What is no policy lets nobody in.
        let policy = |policy: &Value| Policy::read(policy).unwrap_or_else(|_| Policy::Named(policy.to_string()));
        let policies = match value.get("authn_policies") {
            Some(Value::Array(policies)) => policies.iter().map(policy).collect(),
            other => vec![policy(other.unwrap_or(&Value::Null))],
        };
        Some(Endpoint {
            verb: verb.to_owned(),
            template: template.to_owned(),
            module: if module.starts_with('/') { module.to_owned() } else { format!("/{module}") },
            function: text("js_function")?.to_owned(),
            policies,
            mode: match text("mode") {
                Some("readonly") => Mode::ReadOnly,
                Some("historical") => Mode::Historical,
                _ => Mode::ReadWrite,
            },
            forwarding_required: text("forwarding_required").unwrap_or("sometimes").to_owned(),
            redirection_strategy: text("redirection_strategy").map(str::to_owned),
            reuse: value.get("interpreter_reuse").and_then(|reuse| reuse.get("key")).and_then(Value::as_str).map(str::to_owned),
            openapi: value.get("openapi").filter(|block| block.is_object()).cloned(),
            openapi_hidden: value.get("openapi_hidden").and_then(Value::as_bool).unwrap_or(false),
        })
    }
}

impl Routes {
    /// The endpoints of a state.
    pub fn read(rows: &impl Rows) -> Result<Routes, Fault> {
        let mut routes = Routes::default();
        for (key, value) in rows.rows(tables::ENDPOINTS)? {
            let key = String::from_utf8_lossy(&key).into_owned();
            let Some((verb, template)) = key.split_once(' ') else { continue };
            let verb = verb.to_uppercase();
            let Some(endpoint) = Endpoint::read(&verb, template, &value) else { continue };
            let verbs = if template.contains('{') {
                &mut routes.templates.entry(template.to_owned()).or_insert_with(|| (pieces(template), BTreeMap::new())).1
            } else {
                routes.exact.entry(template.to_owned()).or_default()
            };
            verbs.insert(verb, endpoint);
        }
        Ok(routes)
    }

    /// What a request for this path, without `/app`, is for.
    pub fn find(&self, verb: &str, path: &str) -> Found<'_> {
        let (verbs, parameters) = match self.exact.get(path) {
            Some(verbs) => (verbs, Vec::new()),
            None => {
                let mut fits = self
                    .templates
                    .iter()
                    .filter_map(|(template, (pieces, verbs))| fit(pieces, path).map(|parameters| (template, verbs, parameters)));
                let Some((template, verbs, parameters)) = fits.next() else { return Found::Nothing };
                let others: Vec<String> = fits.map(|(template, ..)| template.clone()).collect();
                if !others.is_empty() {
                    return Found::Ambiguous(std::iter::once(template.clone()).chain(others).collect());
                }
                (verbs, parameters)
            }
        };
        match verbs.get(verb) {
            Some(endpoint) => Found::Endpoint(endpoint, parameters),
            None => Found::Verbs(verbs.keys().cloned().collect()),
        }
    }

    /// All endpoints in the order of their paths.
    pub fn endpoints(&self) -> impl Iterator<Item = &Endpoint> {
        self.exact.values().chain(self.templates.values().map(|(_, verbs)| verbs)).flat_map(BTreeMap::values)
    }

    /// The modules that handlers stand in, each once, in order.
    pub fn modules(&self) -> Vec<&str> {
        let mut modules: Vec<&str> = self.endpoints().map(|endpoint| endpoint.module.as_str()).collect();
        modules.sort_unstable();
        modules.dedup();
        modules
    }
}
