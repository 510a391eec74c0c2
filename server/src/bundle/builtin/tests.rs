#![allow(clippy::unwrap_used)]

use super::transactions::parse;
use super::*;
use serde_json::{Value, json};

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
        let mut endpoint = json!({ "js_module": "m.js", "js_function": "f", "forwarding_required": "always", "authn_policies": ["jwt"] });
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
