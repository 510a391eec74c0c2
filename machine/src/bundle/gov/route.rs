//! Which request is for what.

use super::names::PROPOSALS;
use super::{Answer, Governing, Stop, acks, ballots, classic, custom, finish, kv, proposals, service};
use crate::Fault;
use crate::bundle::auth::{self, SignedRequest};
use crate::bundle::not_allowed;
use crate::bundle::request::{Request, Response};
use crate::bundle::store::Rows;

/// The first version of the interface.
const PREVIEW: &str = "2023-06-01-preview";
/// The second.
const V1: &str = "2024-07-01";

/// Which interface a route belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Api {
    /// Needs `?api-version=`; either version.
    Versioned,
    /// The same, not in the preview.
    SinceV1,
    /// Without versions, and with names of its own.
    Classic,
}

/// A request that may write.
pub(super) struct Call<'a> {
    pub governing: &'a mut dyn Governing,
    pub request: &'a Request,
    pub cache: &'a mut auth::Cache,
    pub params: Vec<String>,
    pub classic: bool,
}

/// A request that reads.
pub(super) struct Look<'a> {
    pub rows: &'a dyn Rows,
    pub request: &'a Request,
    pub params: Vec<String>,
}

#[derive(Clone, Copy)]
enum Work {
    Write(fn(Call) -> Answer),
    Read(fn(Look) -> Answer),
}

struct Route {
    verb: &'static str,
    template: &'static str,
    api: Api,
    work: Work,
}

const fn get(template: &'static str, api: Api, work: fn(Look) -> Answer) -> Route {
    Route { verb: "GET", template, api, work: Work::Read(work) }
}

const fn post(template: &'static str, api: Api, work: fn(Call) -> Answer) -> Route {
    Route { verb: "POST", template, api, work: Work::Write(work) }
}

use Api::{Classic, SinceV1, Versioned};

/// Paths without parameters stand before those that would match them.
static ROUTES: [Route; 44] = [
    post("/gov/members/proposals:create", Versioned, proposals::create),
    get("/gov/members/proposals", Versioned, proposals::list),
    post("/gov/members/proposals/{proposalId}:withdraw", Versioned, proposals::withdraw),
    get("/gov/members/proposals/{proposalId}", Versioned, proposals::one),
    get("/gov/members/proposals/{proposalId}/actions", Versioned, proposals::actions),
    post("/gov/members/proposals/{proposalId}/ballots/{memberId}:submit", Versioned, ballots::submit),
    get("/gov/members/proposals/{proposalId}/ballots/{memberId}", Versioned, ballots::one),
    get("/gov/members/state-digests/{memberId}", Versioned, acks::one),
    post("/gov/members/state-digests/{memberId}:update", Versioned, acks::update),
    post("/gov/members/state-digests/{memberId}:ack", Versioned, acks::ack),
    get("/gov/recovery/encrypted-shares/{memberId}", Versioned, acks::no_share),
    post("/gov/recovery/members/{memberId}:recover", Versioned, acks::no_recovery),
    get("/gov/service/constitution", Versioned, service::constitution),
    get("/gov/service/info", Versioned, service::info),
    get("/gov/service/javascript-app", SinceV1, service::app),
    get("/gov/service/javascript-modules", SinceV1, service::modules),
    get("/gov/service/javascript-modules/{moduleName}", SinceV1, service::module),
    get("/gov/service/join-policy", Versioned, service::join_policy),
    get("/gov/service/jwk", Versioned, service::jwk),
    get("/gov/service/members", Versioned, service::members),
    get("/gov/service/members/{memberId}", Versioned, service::member),
    get("/gov/service/users", Versioned, service::users),
    get("/gov/service/users/{userId}", Versioned, service::user),
    get("/gov/service/nodes", Versioned, service::nodes),
    get("/gov/service/nodes/{nodeId}", Versioned, service::node),
    get("/gov/service/transactions/commit", Versioned, service::elsewhere),
    get("/gov/service/transactions/{transactionId}", Versioned, service::elsewhere),
    post("/gov/proposals", Classic, proposals::create),
    get("/gov/proposals", Classic, classic::proposals),
    get("/gov/proposals/{proposal_id}", Classic, classic::proposal),
    get("/gov/proposals/{proposal_id}/actions", Classic, proposals::actions),
    post("/gov/proposals/{proposal_id}/withdraw", Classic, proposals::withdraw),
    post("/gov/proposals/{proposal_id}/ballots", Classic, ballots::submit),
    get("/gov/proposals/{proposal_id}/ballots/{member_id}", Classic, classic::ballot),
    post("/gov/ack", Classic, acks::ack),
    post("/gov/ack/update_state_digest", Classic, acks::update),
    get("/gov/members", Classic, classic::members),
    get("/gov/recovery_share", Classic, acks::no_share),
    get("/gov/encrypted_recovery_share/{member_id}", Classic, acks::no_share),
    post("/gov/recovery_share", Classic, acks::no_recovery),
    get("/gov/jwt_keys/all", Classic, classic::jwt_keys),
    get("/gov/kv/{table}", Classic, kv::table),
    get("/gov/kv/{group}/{table}", Classic, kv::table),
    get("/gov/kv/{group}/{subgroup}/{table}", Classic, kv::table),
];

static PAIRS: [(&str, &str); ROUTES.len()] = {
    let mut pairs = [("", ""); ROUTES.len()];
    let mut at = 0;
    while at < ROUTES.len() {
        pairs[at] = (ROUTES[at].verb, ROUTES[at].template);
        at += 1;
    }
    pairs
};

/// Verb and template, with the prefix `/gov`, of everything that there is.
pub fn routes() -> &'static [(&'static str, &'static str)] {
    &PAIRS
}

/// The parameters, if the template fits.
fn matched(template: &str, path: &str) -> Option<Vec<String>> {
    let (mut template, mut path) = (template, path);
    let mut params = Vec::new();
    while let Some((literal, rest)) = template.split_once('{') {
        path = path.strip_prefix(literal)?;
        let (_, after) = rest.split_once('}').expect("templates are well formed");
        // What follows a parameter ends it.
        let stop = after.chars().next().unwrap_or('/');
        let end = path.find([stop, '/']).unwrap_or(path.len());
        if end == 0 {
            return None;
        }
        params.push(path[..end].to_owned());
        path = &path[end..];
        template = after;
    }
    (path == template).then_some(params)
}

/// What there is at a path: the routes that fit it.
fn at(path: &str) -> Vec<(&'static Route, Vec<String>)> {
    let exact: Vec<_> = ROUTES.iter().filter(|route| route.template == path).map(|route| (route, Vec::new())).collect();
    if !exact.is_empty() {
        return exact;
    }
    ROUTES.iter().filter_map(|route| Some((route, matched(route.template, path)?))).collect()
}

fn find(request: &Request) -> Answer<(&'static Route, Vec<String>)> {
    let path = request.path();
    let here = at(path);
    let shown = path.strip_prefix("/gov").unwrap_or(path);
    if here.is_empty() {
        return Err(Stop::new(404, "ResourceNotFound", format!("Unknown path: {shown}.")));
    }
    let mut verbs: Vec<String> = here.iter().map(|(route, _)| route.verb.to_owned()).collect();
    let verb = if request.method == "HEAD" { "GET" } else { request.method.as_str() };
    if let Some(found) = here.into_iter().find(|(route, _)| route.verb == verb) {
        return Ok(found);
    }
    verbs.sort_unstable();
    verbs.dedup();
    Err(Stop::Refused(not_allowed(&verbs, shown, &request.method)))
}

fn check_version(api: Api, request: &Request) -> Answer<()> {
    let supported: &[&str] = match api {
        Api::Classic => return Ok(()),
        Api::Versioned => &[PREVIEW, V1],
        Api::SinceV1 => &[V1],
    };
    let accepted = format!("The supported api-versions are: {}", supported.join(", "));
    match request.parameter("api-version") {
        None => {
            let message = format!("The api-version query parameter (?api-version=) is required for this request. {accepted}");
            Err(Stop::new(400, "MissingApiVersionParameter", message))
        }
        Some(version) if supported.contains(&version.as_str()) => Ok(()),
        Some(version) => {
            Err(Stop::new(400, "UnsupportedApiVersionValue", format!("Unsupported api-version '{version}'. {accepted}")))
        }
    }
}

/// Whether the request may be made at all: its path, verb and version are known.
pub(super) fn check(request: &Request) -> Answer<()> {
    check_version(find(request)?.0.api, request)
}

/// Answers a request under `/gov`, or one of a developer's ([`custom`]), that may write: the path is the request's, with its prefix.
///
/// What it has written is to be kept if the status is 2xx, and dropped otherwise.
pub fn handle(governing: &mut dyn Governing, request: &Request, cache: &mut auth::Cache) -> Result<Response, Fault> {
    if custom::is_custom(request.path()) {
        return custom::handle(governing, request, cache);
    }
    let mut work = || {
        let (route, params) = find(request)?;
        check_version(route.api, request)?;
        match route.work {
            Work::Write(work) => {
                let classic = route.api == Api::Classic;
                work(Call { governing: &mut *governing, request, cache: &mut *cache, params, classic })
            }
            Work::Read(_) => Err(Stop::internal("A request that reads came as one that writes.")),
        }
    };
    finish(work())
}

/// Answers one that only reads, and those that nothing answers. Nobody is asked who reads, so the cache is not used.
pub fn view(rows: &dyn Rows, request: &Request) -> Result<Response, Fault> {
    if custom::is_custom(request.path()) {
        return custom::view(rows, request);
    }
    let work = || {
        let (route, params) = find(request)?;
        check_version(route.api, request)?;
        match route.work {
            Work::Read(work) => work(Look { rows, request, params }),
            Work::Write(_) => Err(Stop::internal("A request that writes came as one that reads.")),
        }
    };
    finish(work())
}

impl Call<'_> {
    /// The member's signed request that the body is.
    pub fn signed(&mut self, kind: &str, must_be_active: bool) -> Answer<SignedRequest> {
        let lens = super::lens::Lens(super::info::as_rows(self.governing));
        Ok(auth::signed_by_member(self.request, kind, must_be_active, &lens, self.cache)??)
    }

    /// The proposal's id in the path, which must be the one that was signed.
    pub fn signed_proposal(&self, signed: &SignedRequest) -> Answer<String> {
        let id = hex_id(&self.params[0], "proposal")?;
        if signed.proposal.as_ref() != Some(&id) {
            return Err(Stop::new(400, "InvalidResourceName", "Authenticated proposal id does not match URL"));
        }
        Ok(id)
    }

    /// The proposal's JSON text.
    pub fn proposal_text(&self, id: &str) -> Answer<String> {
        let row = self.governing.get(PROPOSALS, id.as_bytes())?;
        row.map(|row| String::from_utf8_lossy(&row).into_owned())
            .ok_or_else(|| Stop::new(404, "ProposalNotFound", format!("Could not find proposal {id}.")))
    }
}

/// An id: 64 hex digits.
pub(super) fn hex_id(text: &str, what: &str) -> Answer<String> {
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    Err(Stop::new(400, "InvalidResourceName", format!("'{text}' is not a valid hex-encoded {what} ID")))
}
