//! The OpenAPI 3.0 document of each prefix: what `/api` answers.
//!
//! What an app says of an endpoint under `openapi` stands in the document as it is. Added is what the format demands and the
//! app has left out: parameters of the path, and that there are responses at all.

use machine::bundle::auth::Policy;
use machine::bundle::routes::{Endpoint, Routes};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Verbs that the format knows.
const VERBS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

/// The app's document.
pub fn app(routes: &Routes) -> Value {
    let mut document = Document::new("JavaScript application", "What the application's app.json describes.", "0.0.1", "/app");
    for endpoint in routes.endpoints().filter(|endpoint| !endpoint.openapi_hidden) {
        let operation = match &endpoint.openapi {
            Some(block) => block.clone(),
            None => json!({ "security": security(endpoint) }),
        };
        document.add(&endpoint.verb, &endpoint.template, operation);
    }
    document.add_everywhere();
    document.finish()
}

/// Governance's document. `routes`: verb and path, `/gov` included.
pub fn governance(routes: &[(&str, &str)]) -> Value {
    let mut document = Document::new(
        "CCF Governance API",
        "Members' proposals and ballots, and what governance has decided.",
        env!("CARGO_PKG_VERSION"),
        "/gov",
    );
    for (verb, template) in routes {
        let signed = *verb != "GET";
        let mut operation = json!({});
        if signed {
            operation["security"] = json!([{ "member_cose_sign1": [] }]);
            operation["requestBody"] =
                json!({ "content": { "application/cose": { "schema": { "type": "string", "format": "binary" } } } });
        }
        document.add(verb, template.strip_prefix("/gov").unwrap_or(template), operation);
    }
    document.add_everywhere();
    document.finish()
}

/// The node's document. `routes`: verb and path, without `/node`.
pub(super) fn node(routes: impl Iterator<Item = (&'static str, &'static str)>) -> Value {
    let mut document =
        Document::new("CCF Public Node API", "The state of the service and of its node, for everybody.", "4.16.0", "/node");
    for (verb, template) in routes {
        let status = if template.starts_with("/ready/") { "204" } else { "200" };
        let mut operation = json!({ "responses": { status: answer(verb, template), "default": error() } });
        if template == "/network/nodes" {
            operation["parameters"] =
                ["host", "port", "status"].iter().map(|name| query(name, false, json!({ "type": "string" }))).collect();
        }
        document.add(verb, template, operation);
    }
    document.add_everywhere();
    document.finish()
}

fn answer(verb: &str, template: &str) -> Value {
    let bodyless = verb == "HEAD" || ["/primary", "/backup"].contains(&template) || template.starts_with("/ready/");
    if bodyless { json!({ "description": "Default response description" }) } else { body(json!({})) }
}

fn body(schema: Value) -> Value {
    json!({ "description": "Default response description", "content": { "application/json": { "schema": schema } } })
}

fn error() -> Value {
    json!({ "$ref": "#/components/responses/default" })
}

fn schema(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn query(name: &str, required: bool, schema: Value) -> Value {
    json!({ "in": "query", "name": name, "required": required, "schema": schema })
}

/// Who may call, as far as the format can say it: certificates of TLS are beyond it.
fn security(endpoint: &Endpoint) -> Value {
    let scheme = |policy: &str| match policy {
        "jwt" => json!({ "jwt": [] }),
        "user_cose_sign1" | "member_cose_sign1" => json!({ policy: [] }),
        _ => json!({}),
    };
    let one = |policy: &Policy| match policy {
        Policy::Named(name) => scheme(name),
        Policy::AllOf(names) => {
            let schemes = names.iter().map(|name| scheme(name));
            Value::Object(schemes.filter_map(|scheme| scheme.as_object().cloned()).flatten().collect())
        }
    };
    let mut security: Vec<Value> = endpoint.policies.iter().map(one).collect();
    security.dedup();
    Value::Array(security)
}

struct Document {
    head: Value,
    paths: Map<String, Value>,
}

impl Document {
    fn new(title: &str, description: &str, version: &str, prefix: &str) -> Document {
        let head = json!({
            "openapi": "3.0.0",
            "info": { "title": title, "description": description, "version": version },
            "servers": [{ "url": prefix }],
            "components": components(),
        });
        Document { head, paths: Map::new() }
    }

    /// Takes an operation, unless it is there already or cannot be written.
    fn add(&mut self, verb: &str, template: &str, mut operation: Value) {
        let verb = verb.to_lowercase();
        if !VERBS.contains(&verb.as_str()) || !template.starts_with('/') {
            return;
        }
        let path = self.paths.entry(template).or_insert_with(|| json!({}));
        if path.get(&verb).is_some() {
            return;
        }
        if operation.get("responses").is_none() {
            let responses = match verb.as_str() {
                "head" => json!({ "default": error() }),
                _ => json!({ "200": body(json!({})), "default": error() }),
            };
            operation["responses"] = responses;
        }
        path[&verb] = operation;
    }

    /// What is built in under every prefix.
    fn add_everywhere(&mut self) {
        let named = |summary: &str, parameters: Value, schema: Value| {
            let responses = json!({ "200": body(schema), "default": error() });
            json!({ "summary": summary, "parameters": parameters, "responses": responses })
        };
        let txid = json!([query("transaction_id", true, schema("TransactionId"))]);
        let history = json!([
            query("view_history", false, json!({ "type": "boolean" })),
            query("view_history_since", false, json!({ "type": "integer", "format": "uint64", "minimum": 1 })),
        ]);
        let later = json!({ "description": "No signature covers the transaction yet: to be asked again", "headers": {
            "retry-after": { "description": "Seconds", "schema": { "type": "integer" } },
        }});
        self.add("GET", "/commit", named("Current commit level", history, schema("Commit")));
        self.add("GET", "/tx", named("Current status of a transaction", txid.clone(), schema("Status")));
        let mut receipt = named("Receipt for a transaction", txid, schema("Receipt"));
        receipt["responses"]["202"] = later;
        self.add("GET", "/receipt", receipt);
        self.add("GET", "/api", named("OpenAPI schema", json!([]), json!({ "type": "object" })));
    }

    fn finish(mut self) -> Value {
        for (template, path) in &mut self.paths {
            complete(template, path);
        }
        self.head["paths"] = Value::Object(self.paths);
        self.head
    }
}

/// Adds the parameters of a path that not every operation describes itself.
fn complete(template: &str, path: &mut Value) {
    let described = |operation: &Value, name: &str| {
        let parameters = operation.get("parameters").and_then(Value::as_array);
        parameters.is_some_and(|all| all.iter().any(|one| one["in"] == "path" && one["name"] == name))
    };
    let names: BTreeSet<&str> = template.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0)).collect();
    let operations = || path.as_object().into_iter().flat_map(Map::values);
    let missing = names.into_iter().filter(|name| operations().any(|operation| !described(operation, name)));
    let missing: Vec<Value> =
        missing.map(|name| json!({ "in": "path", "name": name, "required": true, "schema": { "type": "string" } })).collect();
    if !missing.is_empty() {
        path["parameters"] = Value::Array(missing);
    }
}

fn components() -> Value {
    let hash = json!({ "type": "string", "pattern": "^[a-f0-9]{64}$" });
    let text = json!({ "type": "string" });
    let object =
        |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "properties": properties });
    json!({
        "schemas": {
            "TransactionId": { "type": "string", "pattern": "^[0-9]+\\.[0-9]+$" },
            "Commit": object(&["transaction_id"], json!({
                "transaction_id": schema("TransactionId"),
                "view_history": { "type": "array", "items": schema("TransactionId") },
            })),
            "Status": object(&["transaction_id", "status"], json!({
                "transaction_id": schema("TransactionId"),
                "status": { "type": "string", "enum": ["Unknown", "Pending", "Committed", "Invalid"] },
            })),
            "Receipt": object(&["cert", "node_id", "proof", "signature"], json!({
                "cert": text,
                "leaf": hash,
                "leaf_components": object(&["claims_digest", "commit_evidence", "write_set_digest"], json!({
                    "claims_digest": hash,
                    "commit_evidence": text,
                    "write_set_digest": hash,
                })),
                "node_id": hash,
                "proof": { "type": "array", "items": {
                    "type": "object",
                    "properties": { "left": hash, "right": hash },
                    "minProperties": 1,
                    "maxProperties": 1,
                }},
                "signature": { "type": "string", "format": "byte" },
            })),
            "Error": object(&["error"], json!({
                "error": object(&["code", "message"], json!({
                    "code": text,
                    "message": text,
                    "details": { "type": "array", "items": { "type": "object" } },
                })),
            })),
        },
        "responses": {
            "default": { "description": "An error occurred", "content": { "application/json": { "schema": schema("Error") } } },
        },
        "securitySchemes": {
            "jwt": { "type": "http", "scheme": "bearer", "bearerFormat": "JWT" },
            "user_cose_sign1": { "type": "http", "scheme": "cose_sign1", "description": "COSE_Sign1 by a user of the service" },
            "member_cose_sign1": { "type": "http", "scheme": "cose_sign1", "description": "COSE_Sign1 by a member of the service" },
        },
    })
}
