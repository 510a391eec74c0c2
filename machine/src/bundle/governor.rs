//! What governance needs of the machine: tables, and constitutions in realms of their own.

use super::access::Context;
use super::gov::{self, Governing};
use super::host::{Kv, Lent, refused};
use super::modules::Sources;
use super::store::{Row, Rows, RowsMut};
use super::{deployed, run};
use crate::Fault;
use sandbox::{Answer, Failure, Limits, Outcome, Realm};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// Governance in the middle of a request.
pub(crate) struct Governor<'a> {
    pub lent: &'a mut Option<Box<Lent>>,
    pub limits: Limits,
}

impl Governor<'_> {
    fn lent(&self) -> &Lent {
        self.lent.as_deref().expect("lent between two realms")
    }

    fn lent_mut(&mut self) -> &mut Lent {
        self.lent.as_deref_mut().expect("lent between two realms")
    }

    /// A fresh realm with one module.
    fn realm(&mut self, kind: &str, file: &str, source: &str) -> Result<Result<Realm<Kv>, Failure>, Fault> {
        let context = if kind == "apply" { Context::GovernanceActs } else { Context::Governance };
        let host = Kv::new(context, Sources::one(file, source));
        let (sandbox, time_ms) = (self.lent().sandbox.clone(), self.lent().turn.time_ms);
        let mut realm = Realm::new(&sandbox, self.limits, host)?;
        let names = serde_json::to_string(&[file]).expect("a string can be written");
        let lent = self.lent.take();
        let loaded = run::lend(&mut realm, lent, self.lent, Context::Loading, |realm| realm.modules(kind, &names, time_ms))?;
        Ok(match loaded {
            Outcome::Failure(failure) | Outcome::Refused(failure) => Err(failure),
            _ => Ok(realm),
        })
    }
}

impl Rows for Governor<'_> {
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.lent().store.get(map, key)
    }

    fn rows(&self, map: &str) -> Result<Vec<Row>, Fault> {
        self.lent().store.rows(map)
    }
}

impl RowsMut for Governor<'_> {
    fn put(&mut self, map: &str, key: &[u8], value: &[u8]) {
        self.lent_mut().store.put(map, key, value);
    }

    fn remove(&mut self, map: &str, key: &[u8]) {
        self.lent_mut().store.remove(map, key);
    }
}

impl Governing for Governor<'_> {
    fn clear(&mut self, map: &str) -> Result<(), Fault> {
        self.lent_mut().store.clear(map)
    }

    fn run(&mut self, kind: &str, file: &str, source: &str, export: &str, args: &str) -> Result<Result<String, Failure>, Fault> {
        let file = &rooted(file);
        let mut realm = match self.realm(kind, file, source)? {
            Ok(realm) => realm,
            Err(failure) => return Ok(Err(plain(failure))),
        };
        let context = if kind == "apply" { Context::GovernanceActs } else { Context::Governance };
        let (lent, time_ms) = (self.lent.take(), 0);
        let outcome = run::lend(&mut realm, lent, self.lent, context, |realm| realm.invoke(file, export, args, time_ms))?;
        Ok(match outcome {
            Outcome::Value(json) => Ok(json),
            Outcome::Failure(failure) | Outcome::Refused(failure) => Err(plain(failure)),
            _ => Ok("null".into()),
        })
    }

    fn shape(&mut self, file: &str, source: &str, names: &[&str]) -> Result<Result<Value, Failure>, Fault> {
        let sandbox = self.lent().sandbox.clone();
        shape(&sandbox, self.limits, file, source, names)
    }

    fn try_out(&mut self, bundle: &Value) -> Result<Result<(), String>, Fault> {
        let (texts, entries) = sources_of(bundle);
        let (sandbox, time_ms) = (self.lent().sandbox.clone(), self.lent().turn.time_ms);
        let lent = self.lent.take();
        let come = deployed::deploy(&sandbox, lent, self.lent, Sources::Texts(texts), Some(entries), time_ms)?;
        Ok(come.map(|_| ()))
    }

    fn root(&self) -> [u8; 32] {
        self.lent().store.records.head().map_or([0; 32], |head| head.root)
    }

    fn view_seqno(&self) -> (u64, u64) {
        self.lent().store.records.head().map_or((0, 0), |head| (head.txid.view, head.txid.seqno))
    }
}

/// Modules are named by paths from the root.
fn rooted(name: &str) -> String {
    if name.starts_with('/') { name.to_owned() } else { format!("/{name}") }
}

/// A failure with its stack as apps know it.
fn plain(failure: Failure) -> Failure {
    Failure { stack: run::shown(&failure.stack), ..failure }
}

/// The modules of a bundle by path, and those with handlers.
fn sources_of(bundle: &Value) -> (BTreeMap<String, String>, Vec<String>) {
    let modules = bundle["modules"].as_array().into_iter().flatten();
    let texts =
        modules.filter_map(|module| Some((rooted(module["name"].as_str()?), module["module"].as_str()?.to_owned()))).collect();
    let paths = bundle["metadata"]["endpoints"].as_object().into_iter().flat_map(|paths| paths.values());
    let endpoints = paths.filter_map(Value::as_object).flat_map(|verbs| verbs.values());
    let mut entries: Vec<String> = endpoints.filter_map(|endpoint| endpoint["js_module"].as_str()).map(rooted).collect();
    entries.sort_unstable();
    entries.dedup();
    (texts, entries)
}

/// How many parameters exports have. Nothing is lent to the realm: no module may look at tables while it is evaluated.
fn shape(
    sandbox: &sandbox::Sandbox,
    limits: Limits,
    file: &str,
    source: &str,
    names: &[&str],
) -> Result<Result<Value, Failure>, Fault> {
    let file = &rooted(file);
    let mut realm = Realm::new(sandbox, limits, Kv::new(Context::Loading, Sources::one(file, source)))?;
    let entry = serde_json::to_string(&[file]).expect("a string can be written");
    if let Outcome::Failure(failure) | Outcome::Refused(failure) = realm.modules("gov", &entry, 0)? {
        return Ok(Err(plain(failure)));
    }
    let names = serde_json::to_string(names).expect("strings can be written");
    Ok(match realm.shape(file, &names)? {
        Outcome::Value(json) => Ok(serde_json::from_str(&json).unwrap_or(Value::Null)),
        Outcome::Failure(failure) | Outcome::Refused(failure) => Err(plain(failure)),
        _ => Ok(Value::Null),
    })
}

/// What a constitution's own functions do, in the middle of its call: no realm can be lent anything there.
struct Acting<'a>(&'a mut Lent);

impl Rows for Acting<'_> {
    fn get(&self, map: &str, key: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        self.0.store.get(map, key)
    }

    fn rows(&self, map: &str) -> Result<Vec<Row>, Fault> {
        self.0.store.rows(map)
    }
}

impl RowsMut for Acting<'_> {
    fn put(&mut self, map: &str, key: &[u8], value: &[u8]) {
        self.0.store.put(map, key, value);
    }

    fn remove(&mut self, map: &str, key: &[u8]) {
        self.0.store.remove(map, key);
    }
}

impl Governing for Acting<'_> {
    fn clear(&mut self, map: &str) -> Result<(), Fault> {
        self.0.store.clear(map)
    }

    fn run(&mut self, _: &str, _: &str, _: &str, _: &str, _: &str) -> Result<Result<String, Failure>, Fault> {
        Err(sandbox::Fault("a realm within a realm".into()).into())
    }

    fn shape(&mut self, file: &str, source: &str, names: &[&str]) -> Result<Result<Value, Failure>, Fault> {
        shape(&self.0.sandbox.clone(), Limits::DEFAULT, file, source, names)
    }

    fn try_out(&mut self, _: &Value) -> Result<Result<(), String>, Fault> {
        Err(sandbox::Fault("a realm within a realm".into()).into())
    }

    fn root(&self) -> [u8; 32] {
        self.0.store.records.head().map_or([0; 32], |head| head.root)
    }

    fn view_seqno(&self) -> (u64, u64) {
        self.0.store.records.head().map_or((0, 0), |head| (head.txid.view, head.txid.seqno))
    }
}

#[derive(Deserialize)]
struct Asked {
    name: String,
    args: Value,
}

/// Answers `ccf.gov`, `ccf.node`, `ccf.network` and the rest of what constitutions have.
pub(crate) fn effect(lent: &mut Lent, text: &str) -> Result<Answer, sandbox::Fault> {
    let broken = |error: &dyn std::fmt::Display| sandbox::Fault(error.to_string());
    let Asked { name, args } = serde_json::from_str(text).map_err(|error| broken(&error))?;
    let now_ms = lent.turn.time_ms;
    match gov::effect(&mut Acting(lent), &name, &args, now_ms).map_err(|error| broken(&error))? {
        Ok(None) => Ok(Answer::Nothing),
        Ok(Some(json)) => Ok(Answer::Text(json)),
        Err((name, message)) => {
            let name = match name.as_str() {
                "TypeError" => "TypeError",
                "RangeError" => "RangeError",
                "InternalError" => "InternalError",
                _ => "Error",
            };
            Ok(refused(name, message))
        }
    }
}
