#![allow(clippy::unwrap_used)]

use super::transactions::parse;
use super::*;
use machine::bundle::tables;
use serde_json::{Value, json};
use written::Service;

#[path = "../../../../machine/tests/written/mod.rs"]
mod written;

#[test]
fn transaction_ids() {
    for bad in ["", ".", "a.b", "-1.-1", "0.0", "1.0", "0.1", "2.0", "2", "2.", ".2", "+1.1", "1.1.1", " 1.1", "1.1 "] {
        assert_eq!(parse(bad), None, "{bad}");
    }
    assert_eq!(parse("1.1"), Some((1, 1)));
    assert_eq!(parse("2.18446744073709551615"), Some((2, u64::MAX)));
    assert_eq!(parse("2.18446744073709551616"), None);
}

fn found(verb: &str, path: &str) -> (Vec<String>, Option<(&'static str, String)>) {
    let (verbs, route) = find(EVERYWHERE.iter().chain(&node::ROUTES), verb, path);
    (verbs, route.map(|(route, parameter)| (route.template, parameter.to_owned())))
}

#[test]
fn routes() {
    assert_eq!(found("GET", "/commit").1, Some(("/commit", String::new())));
    assert_eq!(found("GET", "/network/nodes/self").1, Some(("/network/nodes/self", String::new())));
    assert_eq!(found("GET", "/network/nodes/abc").1, Some(("/network/nodes/{node_id}", "abc".into())));
    assert_eq!(found("GET", "/network/nodes/a/b"), (vec![], None));
    assert_eq!(found("GET", "/network/nodes/"), (vec![], None));
    assert_eq!(found("POST", "/network/nodes/self"), (vec!["GET".into()], None));
    assert_eq!(found("POST", "/primary"), (vec!["GET".into(), "HEAD".into()], None));
    assert_eq!(found("OPTIONS", "/jwt_keys/refresh"), (vec!["POST".into()], None));
    assert!(is_app("/tx") && !is_app("/txs") && is_governance("/gov/api") && !is_governance("/api"));
}

#[test]
fn what_the_client_accepts() {
    let ask = |accept: &str| {
        let request = Request { headers: vec![("accept".into(), accept.into())], ..Request::default() };
        accept::agreed(&request, Response::json(200, &json!({}))).status
    };
    for good in ["application/json", "*/*", "text/html, application/*;q=0.8", "text/plain,application/json ; q=1"] {
        assert_eq!(ask(good), 200, "{good}");
    }
    assert_eq!((ask("text/html"), ask("nonsense"), ask("application/json, nonsense")), (406, 400, 400));
    let request = Request { headers: vec![("accept".into(), "text/html".into())], ..Request::default() };
    assert_eq!(accept::agreed(&request, Response::empty(204)).status, 204);
    assert_eq!(accept::agreed(&request, Response::error(404, "X", "x")).status, 404);
}

/// Tables, to read endpoints from.
struct Tables(Vec<(Vec<u8>, Vec<u8>)>);

impl machine::bundle::store::Rows for Tables {
    fn get(&self, _: &str, _: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        Ok(None)
    }

    fn rows(&self, _: &str) -> Result<Vec<(Vec<u8>, Vec<u8>)>, Fault> {
        Ok(self.0.clone())
    }
}

fn app_document() -> Value {
    let endpoint = |more: Value| {
        let mut endpoint =
            json!({ "js_module": "m.js", "js_function": "f", "forwarding_required": "always", "authn_policies": ["jwt"] });
        endpoint.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        endpoint.to_string().into_bytes()
    };
    let block = json!({ "parameters": [{ "in": "path", "name": "id", "required": true, "schema": { "type": "integer" } }],
        "responses": { "204": { "description": "done" } }, "security": [{ "jwt": [] }] });
    let all_of = json!({ "authn_policies": [{ "all_of": ["jwt", "user_cose_sign1"] }, "no_auth"] });
    let routes = [
        (&b"GET /log/{id}"[..], endpoint(json!({ "openapi": block }))),
        (b"DELETE /log/{id}", endpoint(json!({}))),
        (b"POST /log/{a}:{b}", endpoint(all_of)),
        (b"GET /only/{id}", endpoint(json!({ "openapi": block }))),
        (b"GET /hidden", endpoint(json!({ "openapi_hidden": true }))),
        (b"POST /commit", endpoint(json!({}))),
    ];
    let rows = routes.into_iter().map(|(key, value)| (key.to_vec(), value)).collect();
    let routes = machine::bundle::routes::Routes::read(&Tables(rows)).unwrap();
    let document = openapi::app(&routes);
    assert_eq!(document["paths"]["/log/{id}"]["get"], block, "as the app has it");
    document
}

#[test]
fn documents() {
    let app = app_document();
    let paths = app["paths"].as_object().unwrap();
    assert!(paths.get("/hidden").is_none());
    assert_eq!(paths["/log/{id}"]["parameters"][0]["name"], "id");
    assert!(paths["/only/{id}"].get("parameters").is_none());
    assert_eq!(paths["/log/{a}:{b}"]["post"]["security"], json!([{ "jwt": [], "user_cose_sign1": [] }, {}]));
    assert!(paths["/commit"].get("get").is_some() && paths["/commit"].get("post").is_some());
    let governance = openapi::governance(machine::bundle::gov::routes());
    let node = openapi::node(node::ROUTES.iter().map(|route| (route.verb, route.template)));
    assert!(node["paths"]["/network/nodes/{node_id}"]["parameters"].is_array());
    // For an independent validator.
    if let Some(folder) = std::env::var_os("GLASSBOX_OPENAPI_DIR") {
        for (name, document) in [("app", app), ("gov", governance), ("node", node)] {
            std::fs::write(std::path::Path::new(&folder).join(format!("{name}.json")), document.to_string()).unwrap();
        }
    }
}

/// A service with an app, and a ledger beside it.
struct Fixture {
    machine: machine::Machine,
    written: Service,
    ledger: Ledger,
    sessions: Sessions,
    committed: Option<TxId>,
    _folder: tempfile::TempDir,
}

impl Fixture {
    fn new(status: &str) -> Fixture {
        let folder = tempfile::tempdir().unwrap();
        let written = Service::new(&folder.path().join("ledger"));
        let sandbox = sandbox::Sandbox::new().unwrap();
        let secret = Some(written.keys.secret().clone());
        let state = machine::state::State::in_memory();
        let mut machine = machine::Machine::bundle(&sandbox, state, secret, Box::new(machine::Nobody)).unwrap();
        let mut rows = ledger::WriteSet::new();
        ledger::genesis(&mut rows, &written.keys);
        let info = json!({ "cert": written.keys.service_certificate().pem(), "status": status }).to_string();
        rows.put(tables::SERVICE_INFO, tables::SINGLETON, info);
        let endpoint =
            json!({ "js_module": "/app.js", "js_function": "f", "forwarding_required": "never", "authn_policies": ["no_auth"] });
        rows.put(tables::MODULES, "/app.js", "export function f() { return { body: 'mine' }; }");
        rows.put(tables::ENDPOINTS, "GET /api", endpoint.to_string());
        let service = machine::Service::nameless(machine::service::BUNDLE);
        machine.begin_with(TxId { view: 2, seqno: 1 }, service, rows).unwrap();
        let ledger = written.at_rest();
        Fixture { machine, written, ledger, sessions: Sessions::default(), committed: None, _folder: folder }
    }

    fn ask(&mut self, method: &str, target: &str, last: u64) -> Option<(u16, Value, Response)> {
        let reading = self.machine.as_bundle_mut().unwrap().publish();
        let context = Context {
            reading: &reading,
            ledger: &self.ledger,
            keys: &self.written.keys,
            address: "127.0.0.1:8000",
            committed: self.committed,
            last: Some(TxId { view: 2, seqno: last }),
            sessions: &self.sessions,
            uptime: Duration::ZERO,
        };
        let request = Request { method: method.into(), target: target.into(), ..Request::default() };
        let response = answer(&context, &request)?;
        let body = serde_json::from_slice(&response.body).unwrap_or_default();
        Some((response.status, body, response))
    }

    fn get(&mut self, target: &str, last: u64) -> (u16, Value) {
        let (status, body, _) = self.ask("GET", target, last).unwrap();
        (status, body)
    }
}

#[test]
fn transactions_and_receipts() {
    let mut fixture = Fixture::new("Open");
    assert_eq!(fixture.get("/app/commit", 1), (200, json!({ "transaction_id": "0.0" })));
    let call = fixture.written.call(1);
    for path in ["/tx", "/app/tx", "/gov/tx", "/node/tx"] {
        let status = |fixture: &mut Fixture, id: &str| fixture.get(&format!("{path}?transaction_id={id}"), call);
        assert_eq!(status(&mut fixture, "2.2"), (200, json!({ "transaction_id": "2.2", "status": "Pending" })));
        for (id, expected) in [("2.1", "Pending"), ("2.3", "Unknown"), ("3.1", "Unknown"), ("1.1", "Invalid"), ("1.9", "Invalid")]
        {
            assert_eq!(status(&mut fixture, id).1["status"], expected, "{id}");
        }
        for bad in ["a.b", "-1.-1", "0.0", "1.0", "0.1", "2.0"] {
            let (code, body) = status(&mut fixture, bad);
            assert_eq!((code, &body["error"]["code"]), (400, &json!("InvalidQueryParameterValue")), "{bad}");
        }
    }
    let receipt = "/receipt?transaction_id=2.2";
    let (code, _, response) = fixture.ask("GET", receipt, call).unwrap();
    assert!(code == 202 && response.headers.contains(&("retry-after".into(), "1".into())));
    assert_eq!(fixture.get("/receipt?transaction_id=2.9", call).1["error"]["code"], "TransactionPendingOrUnknown");
    assert_eq!(fixture.get("/receipt?transaction_id=1.1", call).1["error"]["code"], "TransactionInvalid");
    let signature = fixture.written.sign();
    fixture.committed = Some(TxId { view: 2, seqno: signature });
    let (code, body) = fixture.get(receipt, signature);
    assert!(code == 200 && body["leaf_components"]["claims_digest"] == "07".repeat(32));
    assert_eq!(fixture.get("/node/tx?transaction_id=2.2", signature).1["status"], "Committed");
    let commit = |query: &str| format!("/commit?{query}");
    let (history, none) = (json!({ "transaction_id": "2.3", "view_history": ["2.1"] }), json!({ "transaction_id": "2.3" }));
    for (query, expected) in [("view_history=true", &history), ("view_history_since=2", &history), ("view_history=false", &none)]
    {
        assert_eq!(fixture.get(&commit(query), signature), (200, expected.clone()), "{query}");
    }
    for (query, code) in [("view_history=maybe", 400), ("view_history_since=0", 400), ("view_history_since=3", 404)] {
        assert_eq!(fixture.get(&commit(query), signature).0, code, "{query}");
    }
}

#[test]
fn the_node() {
    let mut fixture = Fixture::new("Open");
    let id = fixture.written.keys.node_certificate().id().to_owned();
    let (_, network) = fixture.get("/node/network", 1);
    assert_eq!((&network["service_status"], &network["primary_id"]), (&json!("Open"), &json!(id)));
    assert_eq!((&network["current_view"], &network["current_service_create_txid"]), (&json!(2), &json!("2.1")));
    let (_, node) = fixture.get("/node/network/nodes/self", 1);
    assert_eq!(node["rpc_interfaces"]["primary_rpc_interface"]["published_address"], "127.0.0.1:8000");
    assert_eq!((&node["status"], &node["last_written"]), (&json!("Trusted"), &json!(1)));
    for path in ["primary", &id] {
        assert_eq!(fixture.get(&format!("/node/network/nodes/{path}"), 1), (200, node.clone()));
    }
    assert_eq!(fixture.get("/node/network/nodes", 1).1, json!({ "nodes": [node] }));
    for none in ["status=Retired", "host=elsewhere", "port=1"] {
        assert_eq!(fixture.get(&format!("/node/network/nodes?{none}"), 1).1, json!({ "nodes": [] }), "{none}");
    }
    let js = fixture.get("/node/js_metrics", 1).1;
    assert_eq!((&js["bytecode_used"], &js["max_execution_time"]), (&json!(false), &json!(5000)));
    for (target, code) in [
        ("/node/network/nodes?status=Lost", 400),
        ("/node/network/nodes/nobody", 404),
        ("/node/backup", 404),
        ("/node/primary", 200),
        ("/node/ready/app", 204),
        ("/node/ready/gov", 204),
        ("/node/jwt_keys/refresh", 405),
        ("/node/service/previous_identity", 404),
        ("/node", 404),
        ("/node/nothing", 404),
    ] {
        assert_eq!(fixture.get(target, 1).0, code, "{target}");
    }
    for route in node::ROUTES.iter().filter(|route| route.verb == "GET") {
        assert!(fixture.get(&format!("/node{}", route.template), 1).0 < 500, "{}", route.template);
    }
    let message = fixture.get("/node/nothing?x=1", 1).1["error"]["message"].clone();
    assert_eq!(message, "Unknown path: /nothing.");
    let (code, body, response) = fixture.ask("HEAD", "/node/primary", 1).unwrap();
    assert!(code == 200 && body.is_null() && response.body.is_empty());
    let (code, _, response) = fixture.ask("OPTIONS", "/node/primary", 1).unwrap();
    assert_eq!((code, response.headers), (204, vec![("allow".into(), "OPTIONS, GET, HEAD".into())]));
    let (code, body, _) = fixture.ask("POST", "/node/commit", 1).unwrap();
    assert_eq!((code, &body["error"]["message"]), (405, &json!("Allowed methods for '/commit' are: OPTIONS, GET.")));
}

#[test]
fn whose_a_path_is() {
    let mut open = Fixture::new("Open");
    for others in ["/app/api", "/app/nothing", "/gov/members/proposals", "/", "/gov"] {
        assert!(open.ask("GET", others, 1).is_none(), "{others}");
    }
    assert_eq!(open.get("/gov/api", 1).1["info"]["title"], "CCF Governance API");
    let mut opening = Fixture::new("Opening");
    assert_eq!(opening.get("/commit", 1).1["error"]["code"], "FrontendNotOpen");
    assert_eq!(opening.get("/node/ready/app", 1).0, 503);
    assert_eq!((opening.get("/node/commit", 1).0, opening.get("/gov/commit", 1).0), (200, 200));
}
