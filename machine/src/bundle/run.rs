//! From a request to what a handler is given, and from what it returns to a response.

use super::access::Context;
use super::auth::Grant;
use super::deployed::Deployed;
use super::host::{Kv, Lent};
use super::options::Options;
use super::request::{Request, Response};
use super::routes::{Endpoint, Found};
use super::store::Rows;
use super::tables;
use super::{Line, Route, app_path, unrouted};
use crate::Fault;
use base64::Engine;
use base64::prelude::BASE64_STANDARD as BASE64;
use ledger::Hash;
use sandbox::{Failure, Outcome, Realm, Reply};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::json;
use serde_json::value::RawValue;
use sourcemap::SourceMap;
use std::collections::BTreeMap;

/// What a handler has answered.
pub(crate) struct Answered {
    pub response: Response,
    /// Its writes count.
    pub apply: bool,
    pub claims: Option<Hash>,
    /// For the log; governance has its own.
    pub line: Option<Line>,
}

/// Runs work in a realm that has been lent what it needs, and puts that back, whatever comes of it.
pub(crate) fn lend<T>(
    realm: &mut Realm<Kv>,
    lent: Option<Box<Lent>>,
    back: &mut Option<Box<Lent>>,
    context: Context,
    work: impl FnOnce(&mut Realm<Kv>) -> Result<T, sandbox::Fault>,
) -> Result<T, sandbox::Fault> {
    let host = realm.host_mut();
    host.lent = lent;
    host.context = context;
    host.shows_time = false;
    let done = work(realm);
    let host = realm.host_mut();
    *back = host.lent.take();
    done
}

/// The endpoint of a request, or what is answered in its place.
pub fn find<'a>(deployed: &'a Deployed, request: &Request) -> Result<Route<'a>, Response> {
    let path = app_path(request.path()).unwrap_or(request.path());
    if !deployed.open {
        return Err(Response::error(404, "FrontendNotOpen", "Frontend is not open."));
    }
    match deployed.routes.find(&request.method, path) {
        Found::Endpoint(endpoint, parameters) => Ok((endpoint, parameters)),
        other => Err(unrouted(&other, path, &request.method).expect("it is no endpoint")),
    }
}

/// Pairs as an object.
struct Pairs<'a>(&'a [(String, String)]);

impl Serialize for Pairs<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

#[derive(serde::Serialize)]
struct Head<'a> {
    headers: Pairs<'a>,
    query: &'a str,
    path: &'a str,
    method: &'a str,
    hostname: Option<&'a str>,
    route: &'a str,
    url: &'a str,
    params: Pairs<'a>,
    caller: &'a RawValue,
}

/// The request without its body, as the realm gets it.
pub(crate) fn head(request: &Request, endpoint: &Endpoint, parameters: &[(String, String)], grant: &Grant) -> String {
    let prefixed = |path: &str| if path.starts_with("/app/") { path.to_owned() } else { format!("/app{path}") };
    let (path, url) = (prefixed(request.path()), prefixed(&request.target));
    let null = || RawValue::from_string("null".into()).expect("null is JSON");
    let caller = RawValue::from_string(grant.caller.clone()).unwrap_or_else(|_| null());
    let head = Head {
        headers: Pairs(&request.headers),
        query: request.query(),
        path: &path,
        method: &request.method,
        hostname: request.header("host"),
        route: &format!("/app{}", endpoint.template),
        url: &url,
        params: Pairs(parameters),
        caller: &caller,
    };
    serde_json::to_string(&head).expect("strings can be written")
}

/// What a realm is given. `head`: see [`head`]; `state`: the transaction of the past that the request is about.
pub(crate) fn exchange<'a>(
    endpoint: &'a Endpoint,
    head: &'a str,
    request: &'a Request,
    grant: &'a Grant,
    state: Option<&'a str>,
) -> sandbox::Exchange<'a> {
    sandbox::Exchange {
        module: &endpoint.module,
        function: &endpoint.function,
        request: head,
        body: &request.body,
        state,
        content: grant.content.as_deref(),
    }
}

/// What a handler's outcome says to the client.
pub(crate) fn answered(outcome: Outcome, endpoint: &Endpoint, options: &Options, rows: &impl Rows) -> Result<Answered, Fault> {
    let route = format!("/app{}", endpoint.template);
    let failed = |response: Response, thrown: Option<String>| Answered {
        response,
        apply: false,
        claims: None,
        line: Some(Line { route: route.clone(), wanted: true, thrown }),
    };
    Ok(match outcome {
        Outcome::Reply(Reply { status, headers, body, apply, claims, metrics }) => {
            // Found out later, it would be too late: the writes would stand, and the client would hear of a failure.
            if !headers.iter().all(is_header) {
                let said = "Invalid endpoint function return value (header value type).";
                return Ok(failed(Response::error(500, "InternalError", said), None));
            }
            let response = Response { status, headers, body };
            let apply = apply.unwrap_or(response.is_success());
            Answered { response, apply, claims, line: Some(Line { route, wanted: metrics, thrown: None }) }
        }
        Outcome::Invalid(message) => failed(Response::error(500, "InternalError", message), None),
        Outcome::Failure(failure) | Outcome::Refused(failure) => {
            if failure.name == "InstructionLimitError" {
                return Ok(failed(Response::error(500, "InternalError", "Operation took too long to complete."), None));
            }
            let message = told(&failure);
            let wanted = options.return_exception_details || options.log_exception_details;
            let trace = if wanted { shown(&traced(&failure.stack, rows)?) } else { String::new() };
            let said = "Exception thrown while executing.";
            let response = if options.return_exception_details {
                let details = json!([{ "code": "JSException", "message": message, "trace": trace }]);
                Response::error_with(500, "InternalError", said, details)
            } else {
                Response::error(500, "InternalError", said)
            };
            failed(response, options.log_exception_details.then(|| format!("{message}\n{trace}")))
        }
        Outcome::Value(_) | Outcome::Nothing => failed(Response::error(500, "InternalError", "The handler gave no reply."), None),
    })
}

/// Whether a header can be sent: nothing in it ends it.
fn is_header((name, value): &(String, String)) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token) && !value.bytes().any(|byte| byte < b' ' && byte != b'\t' || byte == 0x7f)
}

/// What was thrown, in a line.
pub(crate) fn told(failure: &Failure) -> String {
    let Failure { name, message, .. } = failure;
    match name.as_str() {
        "HeapLimitError" => "InternalError: out of memory".into(),
        "InstructionLimitError" => "InternalError: interrupted".into(),
        "" => message.clone(),
        name if message.is_empty() => name.to_owned(),
        name => format!("{name}: {message}"),
    }
}

/// A stack with the positions of the sources that modules were made from, where a module has a source map in itself.
fn traced(stack: &str, rows: &impl Rows) -> Result<String, Fault> {
    let mut maps: BTreeMap<String, Option<SourceMap>> = BTreeMap::new();
    let mut out = String::new();
    for line in stack.lines() {
        let place = line.strip_suffix(')').and_then(|line| line.rsplit_once('(')).and_then(|(before, place)| {
            let mut parts = place.rsplitn(3, ':');
            let (column, row) = (parts.next()?.parse::<u32>().ok()?, parts.next()?.parse::<u32>().ok()?);
            Some((before, parts.next()?, row, column))
        });
        let mapped = match place {
            None => None,
            Some((before, module, row, column)) => {
                if !maps.contains_key(module) {
                    let source = rows.get(tables::MODULES, module.as_bytes())?;
                    maps.insert(module.to_owned(), source.and_then(|source| source_map(&source)));
                }
                let map = maps.get(module).and_then(Option::as_ref);
                let token = map.and_then(|map| map.lookup_token(row.saturating_sub(1), column.saturating_sub(1)));
                token.and_then(|token| {
                    let (file, row, column) = (token.get_source()?, token.get_src_line() + 1, token.get_src_col() + 1);
                    Some(format!("{before}({file}:{row}:{column})"))
                })
            }
        };
        out.push_str(mapped.as_deref().unwrap_or(line));
        out.push('\n');
    }
    Ok(out)
}

/// The map in a module's last comment, if it stands there itself.
fn source_map(source: &[u8]) -> Option<SourceMap> {
    const MARK: &str = "//# sourceMappingURL=data:application/json;";
    let text = std::str::from_utf8(source).ok()?;
    let url = text.lines().rev().take(5).find_map(|line| line.trim().strip_prefix(MARK))?;
    let json = BASE64.decode(url.split_once("base64,")?.1.trim()).ok()?;
    SourceMap::from_slice(&json).ok()
}

/// A stack as the engine that such apps are written for has it: without columns, and without what is not the app's.
pub(crate) fn shown(stack: &str) -> String {
    let mut out = String::new();
    for line in stack.lines().filter(|line| !line.contains("glassbox:") && !line.contains("(native)")) {
        let cut = line.strip_suffix(')').and_then(|start| {
            let (rest, column) = start.rsplit_once(':')?;
            let (_, number) = rest.rsplit_once(':')?;
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            (digits(column) && digits(number)).then(|| format!("{rest})"))
        });
        out.push_str(cut.as_deref().unwrap_or(line));
        out.push('\n');
    }
    out
}
