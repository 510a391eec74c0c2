//! What the service answers itself: transactions, receipts, API documents under every prefix, and the node's state under
//! `/node`.
//!
//! ```text
//! /app/commit  /commit          ┐
//! /gov/commit                   ├─ transactions: commit, tx, receipt, api
//! /node/commit                  ┘
//! /node/network, /node/state …  ── node
//! ```
//!
//! Nothing here is a transaction, and nothing says more than what is on disk. There is one node, which is always the primary,
//! and no trusted hardware: what would be its quote says so.

mod accept;
mod node;
mod transactions;

use super::openapi;
use crate::https::Sessions;
use ledger::{Keys, TxId};
use machine::Fault;
use machine::bundle::archive::Ledger;
use machine::bundle::reader::Reading;
use machine::bundle::routes::Found;
use machine::bundle::{Request, Response, app_path, not_allowed};
use std::time::Duration;

/// What answers are made of.
pub struct Context<'a> {
    /// The app and the tables.
    pub reading: &'a Reading,
    /// Transactions and receipts.
    pub ledger: &'a Ledger,
    /// The service's and the node's certificates.
    pub keys: &'a Keys,
    /// Where the node listens, as clients know it: `host:port`.
    pub address: &'a str,
    /// The last signature on disk.
    pub committed: Option<TxId>,
    /// The last transaction on disk.
    pub last: Option<TxId>,
    /// Connections.
    pub sessions: &'a Sessions,
    /// Since the start.
    pub uptime: Duration,
}

/// Which prefix a request has come under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Frontend {
    App,
    Governance,
    Node,
}

/// A request on its way to its answer.
struct Call<'a> {
    context: &'a Context<'a>,
    request: &'a Request,
    frontend: Frontend,
    /// What stands for `{…}` in the path.
    parameter: &'a str,
}

type Answer = Result<Response, Fault>;

/// An endpoint of our own.
pub(super) struct Route {
    verb: &'static str,
    /// Without the prefix; the last part may be `{…}`.
    template: &'static str,
    answer: fn(&Call) -> Answer,
}

const fn get(template: &'static str, answer: fn(&Call) -> Answer) -> Route {
    Route { verb: "GET", template, answer }
}

/// Under every prefix.
static EVERYWHERE: [Route; 4] = [
    get("/commit", transactions::commit),
    get("/tx", transactions::status),
    get("/receipt", transactions::receipt),
    get("/api", api),
];

/// Whether this is built in for apps, as long as the app has nothing of that name. The path is without `/app`.
pub fn is_app(path: &str) -> bool {
    EVERYWHERE.iter().any(|route| route.template == path)
}

/// Whether this is built in for governance. The path is the whole one.
pub fn is_governance(path: &str) -> bool {
    path.strip_prefix("/gov").is_some_and(is_app)
}

/// Answers a request for something that is built in. `None` if it is for something else: the app's own endpoints come first.
pub fn answer(context: &Context, request: &Request) -> Option<Response> {
    let path = request.path();
    let under = |prefix: &str| path.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let (frontend, rest) = match (under("/gov"), under("/node")) {
        (Some(rest), _) => (Frontend::Governance, rest),
        (None, Some(rest)) => (Frontend::Node, rest),
        (None, None) => (Frontend::App, app_path(path)?),
    };
    if frontend == Frontend::App {
        let found = context.reading.deployed.routes.find(&request.method, rest);
        if !is_app(rest) || matches!(found, Found::Endpoint(..) | Found::Ambiguous(..)) {
            return None;
        }
        if !context.reading.deployed.open {
            return Some(bodyless(request, Response::error(404, "FrontendNotOpen", "Frontend is not open.")));
        }
    }
    let own: &[Route] = if frontend == Frontend::Node { &node::ROUTES } else { &[] };
    let (verbs, found) = find(EVERYWHERE.iter().chain(own), &request.method, rest);
    let response = match found {
        Some((route, parameter)) => (route.answer)(&Call { context, request, frontend, parameter }).unwrap_or_else(|fault| {
            tracing::error!("{path} could not be answered: {fault}");
            Response::error(500, "InternalError", "The request could not be answered.")
        }),
        None if !verbs.is_empty() => not_allowed(&verbs, rest, &request.method),
        None if frontend == Frontend::Node => Response::error(404, "ResourceNotFound", format!("Unknown path: {rest}.")),
        None => return None,
    };
    Some(bodyless(request, accept::agreed(request, response)))
}

/// The route and what its parameter is, or the verbs that the path has.
fn find<'r, 'p>(
    routes: impl Iterator<Item = &'r Route>,
    verb: &str,
    path: &'p str,
) -> (Vec<String>, Option<(&'r Route, &'p str)>) {
    let mut verbs = Vec::new();
    let mut templated = None;
    let mut exactly = false;
    for route in routes {
        let parameter = match route.template.split_once('{') {
            None if route.template == path => "",
            Some((start, _)) if !exactly => match path.strip_prefix(start) {
                Some(parameter) if !parameter.is_empty() && !parameter.contains('/') => parameter,
                _ => continue,
            },
            _ => continue,
        };
        exactly |= parameter.is_empty();
        if route.verb == verb {
            if parameter.is_empty() {
                return (Vec::new(), Some((route, parameter)));
            }
            templated = Some((route, parameter));
        }
        verbs.push(route.verb.to_owned());
    }
    verbs.sort();
    verbs.dedup();
    (verbs, templated.filter(|_| !exactly))
}

/// An answer to `HEAD` has no body.
fn bodyless(request: &Request, mut response: Response) -> Response {
    if request.method == "HEAD" {
        response.body.clear();
    }
    response
}

/// `/api`: the OpenAPI document of a frontend.
fn api(call: &Call) -> Answer {
    let document = match call.frontend {
        Frontend::App => openapi::app(&call.context.reading.deployed.routes),
        Frontend::Governance => openapi::governance(machine::bundle::gov::routes()),
        Frontend::Node => openapi::node(node::ROUTES.iter().map(|route| (route.verb, route.template))),
    };
    Ok(Response::json(200, &document))
}

/// A value of the query that does not do.
fn bad_query(message: impl Into<String>) -> Response {
    Response::error(400, "InvalidQueryParameterValue", message)
}

#[cfg(test)]
mod tests;
