//! `/node/…`: the state of the one node there is.

use super::transactions::views;
use super::{Answer, Call, Context, Route, get};
use machine::Fault;
use machine::bundle::store::Rows;
use machine::bundle::{Response, tables};
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;

/// The version that is named for CCF's: what answers is not CCF.
const VERSION: &str = concat!("glassbox-", env!("CARGO_PKG_VERSION"));
/// The engine that runs in the sandbox.
const ENGINE: &str = "quickjs-ng 0.16.2";
/// The name of the one interface, as CCF's samples name theirs.
const INTERFACE: &str = "primary_rpc_interface";

const NODES_INFO: &str = ledger::genesis::NODES_INFO_MAP;
const SERVICE_CONFIG: &str = "public:ccf.gov.service.config";
const PREVIOUS_IDENTITY: &str = "public:ccf.gov.service.previous_service_identity";
/// What a node's status can be.
const STATUSES: [&str; 3] = ["Pending", "Trusted", "Retired"];

/// What there is under `/node`, beside what there is everywhere.
pub static ROUTES: [Route; 28] = [
    get("/state", state),
    get("/network", network),
    get("/network/nodes", nodes),
    get("/network/nodes/self", this_node),
    get("/network/nodes/primary", this_node),
    get("/network/nodes/{node_id}", one_node),
    get("/network/removable_nodes", |_| json(json!({ "nodes": [] }))),
    get("/primary", |_| Ok(Response::empty(200))),
    Route { verb: "HEAD", template: "/primary", answer: |_| Ok(Response::empty(200)) },
    get("/backup", |_| Ok(not_found("Node is not backup"))),
    get("/config", |call| json(configuration(call.context))),
    get("/consensus", consensus_details),
    get("/memory", |_| Ok(memory())),
    get("/metrics", metrics),
    get("/js_metrics", js_metrics),
    get("/version", |_| json(json!({ "ccf_version": VERSION, "quickjs_version": ENGINE, "unsafe": false }))),
    get("/ready/app", |call| Ok(Response::empty(if call.context.reading.deployed.open { 204 } else { 503 }))),
    get("/ready/gov", |_| Ok(Response::empty(204))),
    get("/quotes", |call| json(json!({ "quotes": [quote(call.context)] }))),
    get("/quotes/self", |call| json(quote(call.context))),
    get("/attestations", |call| json(json!({ "attestations": [quote(call.context)] }))),
    get("/attestations/self", |call| json(quote(call.context))),
    get("/service/previous_identity", previous_identity),
    get("/service/configuration", service_configuration),
    get("/self_signed_certificate", certificate),
    get("/index/strategies", |_| json(json!([]))),
    Route { verb: "POST", template: "/jwt_keys/refresh", answer: |_| Ok(for_nodes_only()) },
    get("/jwt_keys/refresh/metrics", |_| json(json!({ "attempts": 0, "successes": 0, "failures": 0 }))),
];

fn json(body: Value) -> Answer {
    Ok(Response::json(200, &body))
}

fn not_found(message: &str) -> Response {
    Response::error(404, "ResourceNotFound", message)
}

/// A row of a table that has one.
fn single(call: &Call, map: &str) -> Result<Option<Value>, Fault> {
    let row = call.context.reading.store().get(map, tables::SINGLETON)?;
    Ok(row.and_then(|row| serde_json::from_slice(&row).ok()))
}

fn node_id<'a>(context: &'a Context) -> &'a str {
    context.keys.node_certificate().id()
}

fn state(call: &Call) -> Answer {
    let context = call.context;
    json(json!({
        "node_id": node_id(context),
        "state": "PartOfNetwork",
        "last_signed_seqno": context.committed.map_or(0, |txid| txid.seqno),
        "startup_seqno": 0,
        "stop_notice": false,
    }))
}

fn network(call: &Call) -> Answer {
    let context = call.context;
    let Some(info) = single(call, tables::SERVICE_INFO)? else { return Ok(not_found("Service state not available.")) };
    let views = views(context)?;
    let (view, first) = views.first().copied().unwrap_or_default();
    json(json!({
        "service_status": info["status"],
        "service_certificate": info["cert"],
        "recovery_count": 0,
        "service_data": info.get("service_data").unwrap_or(&Value::Null),
        "current_service_create_txid": format!("{view}.{first}"),
        "current_view": views.last().map_or(0, |(view, _)| *view),
        "primary_id": node_id(context),
    }))
}

/// What is told of a node.
fn described(context: &Context, id: &str, info: &Value) -> Result<Value, Fault> {
    let written = context.reading.store().version(NODES_INFO, id.as_bytes())?;
    let here = id == node_id(context);
    let interface = json!({ "bind_address": context.address, "published_address": context.address, "protocol": "tcp" });
    Ok(json!({
        "node_id": id,
        "status": info["status"],
        "primary": here,
        "rpc_interfaces": if here { json!({ INTERFACE: interface }) } else { json!({}) },
        "node_data": info.get("node_data").unwrap_or(&Value::Null),
        "last_written": written.unwrap_or(0),
    }))
}

fn nodes(call: &Call) -> Answer {
    let (context, wanted) = (call.context, |name| call.request.parameter(name));
    let status = wanted("status");
    if let Some(status) = status.as_deref().filter(|status| !STATUSES.contains(status)) {
        return Ok(super::bad_query(format!("Query parameter '{status}' is not a valid node status")));
    }
    let (host, port) = context.address.rsplit_once(':').unwrap_or((context.address, ""));
    let elsewhere = wanted("host").is_some_and(|wanted| wanted != host) || wanted("port").is_some_and(|wanted| wanted != port);
    let mut nodes = Vec::new();
    for (id, info) in context.reading.store().rows(NODES_INFO)? {
        let id = String::from_utf8_lossy(&id);
        let info: Value = serde_json::from_slice(&info).unwrap_or_default();
        if !elsewhere && status.as_deref().is_none_or(|status| info["status"] == status) {
            nodes.push(described(context, &id, &info)?);
        }
    }
    json(json!({ "nodes": nodes }))
}

fn node(call: &Call, id: &str) -> Answer {
    let row = call.context.reading.store().get(NODES_INFO, id.as_bytes())?;
    let Some(info) = row.and_then(|row| serde_json::from_slice(&row).ok()) else { return Ok(not_found("Node not found")) };
    json(described(call.context, id, &info)?)
}

fn this_node(call: &Call) -> Answer {
    node(call, node_id(call.context))
}

fn one_node(call: &Call) -> Answer {
    node(call, call.parameter)
}

fn configuration(context: &Context) -> Value {
    json!({ node_id(context): { "address": context.address } })
}

fn consensus_details(call: &Call) -> Answer {
    let context = call.context;
    json(json!({ "details": {
        "acks": {},
        "configs": [{ "idx": 1, "nodes": configuration(context), "rid": 0 }],
        "current_view": views(context)?.last().map_or(0, |(view, _)| *view),
        "leadership_state": "Leader",
        "membership_state": "Active",
        "primary_id": node_id(context),
        "ticking": true,
    }}))
}

/// The process's memory, as the kernel counts it. CCF's names are of a heap; here all of it counts.
fn memory() -> Response {
    let kib = |file: &str, name: &str| {
        let text = std::fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
    };
    const PROCESS: &str = "/proc/self/status";
    let known = (kib("/proc/meminfo", "MemTotal"), kib(PROCESS, "VmRSS"), kib(PROCESS, "VmHWM"));
    let (Some(all), Some(now), Some(peak)) = known else { return Response::text(500, "Failed to read memory usage") };
    Response::json(
        200,
        &json!({ "max_total_heap_size": all, "current_allocated_heap_size": now, "peak_allocated_heap_size": peak }),
    )
}

fn metrics(call: &Call) -> Answer {
    let sessions = call.context.sessions;
    let (active, peak, most) = (sessions.active.load(Relaxed), sessions.peak.load(Relaxed), sessions.most.load(Relaxed));
    let interface = json!({
        "active": active,
        "peak": peak,
        "soft_cap": most,
        "hard_cap": most,
        "errors": {
            "parsing": sessions.malformed.load(Relaxed),
            "request_payload_too_large": sessions.large_bodies.load(Relaxed),
            "request_header_too_large": sessions.large_heads.load(Relaxed),
        },
    });
    json(json!({ "sessions": { "active": active, "peak": peak, "interfaces": { INTERFACE: interface } } }))
}

/// What stands for bytecode here is the heap with the modules evaluated. `disable_bytecode_cache` does not change what runs,
/// but the row that it leaves out is told of.
fn js_metrics(call: &Call) -> Answer {
    let deployed = &call.context.reading.deployed;
    let used = call.context.reading.store().get(tables::BYTECODE_VERSION, tables::SINGLETON)?.is_some();
    let bytes = deployed.image.as_ref().map_or(0, |image| image.len_bytes());
    let options = &deployed.options;
    json(json!({
        "bytecode_size": if used { bytes } else { 0 },
        "bytecode_used": used,
        "max_heap_size": options.max_heap_bytes,
        "max_stack_size": options.max_stack_bytes,
        "max_execution_time": options.max_execution_time_ms,
        "max_cached_interpreters": options.max_cached_interpreters,
    }))
}

/// No hardware vouches for this node.
fn quote(context: &Context) -> Value {
    json!({ "node_id": node_id(context), "raw": "", "endorsements": "", "format": "Insecure_Virtual" })
}

fn previous_identity(call: &Call) -> Answer {
    match single(call, PREVIOUS_IDENTITY)? {
        Some(identity) => json(json!({ "previous_service_identity": identity })),
        None => Ok(not_found("This service is not a recovery of a previous service.")),
    }
}

fn service_configuration(call: &Call) -> Answer {
    let usual = json!({
        "recovery_threshold": 0,
        "maximum_node_certificate_validity_days": 365,
        "maximum_service_certificate_validity_days": 365,
        "recent_cose_proposals_window_size": 100,
    });
    json(single(call, SERVICE_CONFIG)?.unwrap_or(usual))
}

/// The node's certificate. It is the service's key that has signed it; the node has no other.
fn certificate(call: &Call) -> Answer {
    json(json!({ "self_signed_certificate": call.context.keys.node_certificate().pem() }))
}

fn for_nodes_only() -> Response {
    let detail = json!([{
        "auth_policy": "node_cert",
        "code": "InvalidAuthenticationInfo",
        "message": "Could not find matching node certificate",
    }]);
    Response::error_with(401, "InvalidAuthenticationInfo", "Invalid authentication credentials.", detail)
}
