//! What a constitution cannot do with tables alone: `ccf.gov.*`, `ccf.node.*`, `ccf.network.*` and the like.
//!
//! | name | does |
//! |---|---|
//! | `validateConstitution(text)` | throws unless it has `validate`, `resolve` and `apply` with the right numbers of parameters |
//! | `transitionServiceToOpen(previous, next)` | the service is open from now on; `next` must be its certificate |
//! | `refreshAppBytecodeCache()` | interpreters are forgotten and modules evaluated anew: their heap takes the place of bytecode, and the row with the engine's name says that it is used |
//! | `setJwtPublicSigningKeys(issuer, metadata, jwks)`, `removeJwtPublicSigningKeys(issuer)` | keys that tokens are checked with |
//! | `triggerLedgerChunk()`, `triggerSnapshot()`, `triggerLedgerRekey()`, `triggerRecoverySharesRefresh()` | nothing: chunks end, checkpoints come and the secret stays as they do without it |
//! | `getLatestLedgerSecretSeqno()` | 1: the secret is as old as the ledger |
//! | `generateEndorsedCertificate(…)`, `generateNetworkCertificate(…)` | throw: a single node keeps its certificates |

use super::lens::Hand;
use super::{Governing, Stop, constitution};
use crate::Fault;
use crate::bundle::auth;
use crate::bundle::tables::{BYTECODE_VERSION, INTERPRETER_FLUSH, SERVICE_INFO, SINGLETON};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// An error that is thrown where the effect was asked for: name and message.
type Thrown = (String, String);

fn error<T>(message: impl Into<String>) -> Result<T, Thrown> {
    Err(("Error".into(), message.into()))
}

fn type_error<T>(message: impl Into<String>) -> Result<T, Thrown> {
    Err(("TypeError".into(), message.into()))
}

/// Does what a realm asks for. `name` is the function's name with or without what it belongs to: `ccf.node.triggerSnapshot`.
/// `args` is the JSON array of its arguments. The result is JSON, `None` for `undefined`; the inner error is thrown.
///
/// `now_ms` is not used: no effect depends on time.
pub fn effect(
    governing: &mut dyn Governing,
    name: &str,
    args: &Value,
    _now_ms: u64,
) -> Result<Result<Option<String>, Thrown>, Fault> {
    let name = name.rsplit('.').next().unwrap_or(name);
    let args = args.as_array().map(Vec::as_slice).unwrap_or_default();
    let text = |at: usize| args.get(at).and_then(Value::as_str);
    let count = |expected: usize| match args.len() {
        n if n == expected => Ok(()),
        n => type_error(format!("Passed {n} arguments, but expected {expected}")),
    };
    let done = match name {
        "validateConstitution" => match (count(1), text(0)) {
            (Err(thrown), _) => Err(thrown),
            (_, None) => type_error("Argument must be a string"),
            (_, Some(source)) => match constitution::check(governing, source) {
                Ok(Ok(())) => return Ok(Ok(Some("true".into()))),
                Ok(Err(why)) => error(why),
                Err(Stop::Fault(fault)) => return Err(fault),
                Err(Stop::Refused(_)) => error("The constitution cannot be checked"),
            },
        },
        "transitionServiceToOpen" => match count(2) {
            Ok(()) => open(governing, text(0), text(1))?,
            Err(thrown) => Err(thrown),
        },
        "refreshAppBytecodeCache" => {
            flush(governing);
            let engine = serde_json::to_vec(sandbox::ENGINE).expect("a string can be written");
            governing.put(BYTECODE_VERSION, SINGLETON, &engine);
            Ok(())
        }
        "setJwtPublicSigningKeys" => match (count(3), text(0)) {
            (Err(thrown), _) => Err(thrown),
            (_, None) => type_error("First argument must be a string"),
            (_, Some(issuer)) => set_keys(governing, issuer, &args[1], &args[2])?,
        },
        "removeJwtPublicSigningKeys" => match (count(1), text(0)) {
            (Err(thrown), _) => Err(thrown),
            (_, None) => type_error("Argument must be a string"),
            (_, Some(issuer)) => auth::remove_jwt_keys(&mut Hand(governing), issuer)?.or_else(error),
        },
        "triggerLedgerChunk" | "triggerSnapshot" | "triggerLedgerRekey" | "triggerRecoverySharesRefresh" => count(0),
        "getLatestLedgerSecretSeqno" => return Ok(Ok(Some("1".into()))),
        "generateEndorsedCertificate" | "generateNetworkCertificate" => {
            error(format!("{name} is not supported by a single node: it keeps its certificates"))
        }
        _ => type_error(format!("{name} is not a function")),
    };
    Ok(done.map(|()| None))
}

/// Interpreters that are kept for reuse are made anew after this.
pub(super) fn flush(governing: &mut dyn Governing) {
    governing.put(INTERPRETER_FLUSH, SINGLETON, b"true");
}

fn set_keys(governing: &mut dyn Governing, issuer: &str, metadata: &Value, jwks: &Value) -> Result<Result<(), Thrown>, Fault> {
    Ok(auth::set_jwt_keys(&mut Hand(governing), issuer, metadata, jwks)?.or_else(error))
}

/// The same certificate, whatever the line ends.
fn same_pem(one: &str, other: &str) -> bool {
    one.split_whitespace().eq(other.split_whitespace())
}

fn open(governing: &mut dyn Governing, previous: Option<&str>, next: Option<&str>) -> Result<Result<(), Thrown>, Fault> {
    let row = governing.get(SERVICE_INFO, SINGLETON)?;
    let info = row.and_then(|row| serde_json::from_slice::<BTreeMap<String, Box<RawValue>>>(&row).ok());
    let Some(mut info) = info else { return Ok(error("The service has no information about itself")) };
    let text = |name: &str| info.get(name).and_then(|value| serde_json::from_str::<String>(value.get()).ok()).unwrap_or_default();
    let (certificate, status) = (text("cert"), text("status"));
    let Some(next) = next else { return Ok(type_error("The next service identity must be a string")) };
    if !same_pem(next, &certificate) {
        return Ok(error("The next service identity is not the certificate of this service"));
    }
    if previous.is_some_and(|previous| !same_pem(previous, &certificate)) {
        return Ok(error("A previous service identity was given, but this service never had another one"));
    }
    if status != "Open" {
        info.insert("status".into(), RawValue::from_string("\"Open\"".into()).expect("it is JSON"));
        governing.put(SERVICE_INFO, SINGLETON, &serde_json::to_vec(&info).expect("it was read from JSON"));
    }
    Ok(Ok(()))
}
