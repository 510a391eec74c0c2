//! A sandbox governs itself: proposals, signed by its members, through the same front as everybody's.

use super::people::Person;
use crate::Failed;
use crate::govern::cose;
use machine::bundle::store::Rows;
use machine::bundle::{Request, Response, tables};
use serde_json::{Value, json};
use server::Backend;
use server::bundle::Front;

const VERSION: &str = "api-version=2024-07-01";

/// A vote for every proposal, for constitutions that count them.
const YES: &str = "export function vote(proposal, proposerId) { return true; }";

/// Whoever governs a sandbox.
#[derive(Clone)]
pub struct Governance {
    front: Front,
    members: Vec<Person>,
}

impl Governance {
    pub fn new(front: Front, members: Vec<Person>) -> Governance {
        Governance { front, members }
    }

    /// Does what is missing: members' acks, users, limits, the app, the opening.
    pub async fn set_up(&self, backend: &Backend, users: &[Person], bundle: Option<&Value>) -> Result<(), Failed> {
        let reading = backend.published().ok_or_else(|| Failed::new("the node has stopped"))?;
        let store = reading.store();
        let row = |map: &str, key: &[u8]| store.get(map, key).map_err(Failed::new);
        for member in &self.members {
            let info = row(tables::MEMBER_INFO, member.id()?.as_bytes())?;
            if info.is_some_and(|info| String::from_utf8_lossy(&info).contains("\"Accepted\"")) {
                self.acknowledge(member).await?;
            }
        }
        let mut actions = Vec::new();
        for user in users {
            if row(tables::USER_CERTS, user.id()?.as_bytes())?.is_none() {
                let args = json!({ "cert": user.cert, "user_data": { "isAdmin": true } });
                actions.push(json!({ "name": "set_user", "args": args }));
            }
        }
        if row(tables::RUNTIME_OPTIONS, tables::SINGLETON)?.is_none() {
            let args = json!({
                "max_heap_bytes": 100 << 20, "max_stack_bytes": 1 << 20, "max_execution_time_ms": 5000,
                "log_exception_details": true, "return_exception_details": true, "max_cached_interpreters": 10,
            });
            actions.push(json!({ "name": "set_js_runtime_options", "args": args }));
        }
        if !actions.is_empty() {
            self.propose(&json!({ "actions": actions })).await?;
        }
        if let Some(bundle) = bundle
            && differs(&store, bundle)?
        {
            self.deploy(bundle).await?;
        }
        if !reading.deployed.open {
            let certificate = backend.certificate().pem();
            let args = json!({ "next_service_identity": certificate });
            self.propose(&json!({ "actions": [{ "name": "transition_service_to_open", "args": args }] })).await?;
        }
        Ok(())
    }

    /// Deploys a bundle.
    pub async fn deploy(&self, bundle: &Value) -> Result<(), Failed> {
        let args = json!({ "bundle": bundle, "disable_bytecode_cache": false });
        self.propose(&json!({ "actions": [{ "name": "set_js_app", "args": args }] })).await
    }

    /// Proposes, and has members vote until it is accepted.
    async fn propose(&self, proposal: &Value) -> Result<(), Failed> {
        let path = format!("/gov/members/proposals:create?{VERSION}");
        let proposer = &self.members[0];
        let mut state = self.send(proposer, &path, "proposal", None, proposal.to_string().as_bytes()).await?;
        let id = state["proposalId"].as_str().unwrap_or_default().to_owned();
        for member in &self.members {
            if state["proposalState"] != "Open" {
                break;
            }
            let path = format!("/gov/members/proposals/{id}/ballots/{}:submit?{VERSION}", member.id()?);
            let ballot = json!({ "ballot": YES }).to_string();
            state = self.send(member, &path, "ballot", Some(&id), ballot.as_bytes()).await?;
        }
        match state["proposalState"].as_str() {
            Some("Accepted") => Ok(()),
            other => Err(Failed::new(format!("the proposal {id} is {}: {state}", other.unwrap_or("unknown")))),
        }
    }

    /// A member's first act.
    async fn acknowledge(&self, member: &Person) -> Result<(), Failed> {
        let at = format!("/gov/members/state-digests/{}", member.id()?);
        let digest = self.send(member, &format!("{at}:update?{VERSION}"), "state_digest", None, b"").await?;
        let ack = json!({ "stateDigest": digest["stateDigest"] }).to_string();
        self.send(member, &format!("{at}:ack?{VERSION}"), "ack", None, ack.as_bytes()).await.map(|_| ())
    }

    async fn send(
        &self,
        member: &Person,
        target: &str,
        kind: &str,
        proposal: Option<&str>,
        payload: &[u8],
    ) -> Result<Value, Failed> {
        let now_s = (server::admit::now_ms() / 1000) as i64;
        let body = cose::sign1(kind, proposal, now_s, payload, &member.key, &member.cert).map_err(Failed::new)?;
        let headers = vec![("content-type".to_owned(), "application/cose".to_owned())];
        let request = Request { method: "POST".into(), target: target.into(), headers, body, certificate: None, time_ms: 0 };
        let (tell, told) = tokio::sync::oneshot::channel();
        self.front.answer(request, Box::new(move |answered| drop(tell.send(answered.response))));
        let response: Response = told.await.map_err(|_| Failed::new("the node has stopped"))?;
        let said = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
        if response.is_success() {
            return Ok(said);
        }
        let why = said["error"]["message"].as_str().map_or_else(|| said.to_string(), str::to_owned);
        Err(Failed::new(format!("governance refuses the {kind}: {why}")))
    }
}

/// Whether another app is deployed than this one.
fn differs(rows: &impl Rows, bundle: &Value) -> Result<bool, Failed> {
    let text = |map: &str| -> Result<Vec<(String, String)>, Failed> {
        let rows = rows.rows(map).map_err(Failed::new)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(rows.iter().map(|(key, value)| (text(key), text(value))).collect())
    };
    let mut modules: Vec<(String, String)> = bundle["modules"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|module| Some((format!("/{}", module["name"].as_str()?), module["module"].as_str()?.to_owned())))
        .collect();
    modules.sort();
    if modules != text(tables::MODULES)? {
        return Ok(true);
    }
    let deployed = text(tables::ENDPOINTS)?;
    let mut count = 0;
    for (path, verbs) in bundle["metadata"]["endpoints"].as_object().into_iter().flatten() {
        for (verb, endpoint) in verbs.as_object().into_iter().flatten() {
            count += 1;
            let key = format!("{} {path}", verb.to_uppercase());
            let Some((_, known)) = deployed.iter().find(|(known, _)| *known == key) else { return Ok(true) };
            let known: Value = serde_json::from_str(known).unwrap_or(Value::Null);
            // The deployed module has its path from the root.
            let same = endpoint.as_object().into_iter().flatten().all(|(name, value)| match name.as_str() {
                "js_module" => {
                    known[name].as_str().map(|path| path.trim_start_matches('/'))
                        == value.as_str().map(|path| path.trim_start_matches('/'))
                }
                _ => known[name] == *value,
            });
            if !same {
                return Ok(true);
            }
        }
    }
    Ok(count != deployed.len())
}
