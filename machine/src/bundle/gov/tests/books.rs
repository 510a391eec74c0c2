//! Proposals, ballots, acks and what is shown of them.

use super::super::{effect, hex, names::*, service};
use super::*;

const CREATE: &str = "/gov/members/proposals:create?api-version=2024-07-01";
const V: &str = "?api-version=2024-07-01";
const NOW: i64 = 1_700_000_000;

fn propose(fake: &mut Fake, who: usize, at: i64) -> (String, Response) {
    let response = fake.signed(CREATE, who, "proposal", at, None, r#"{"actions":[]}"#);
    (body(&response)["proposalId"].as_str().unwrap_or_default().to_owned(), response)
}

fn vote(fake: &mut Fake, id: &str, who: usize, ballot: &str) -> Response {
    let target = format!("/gov/members/proposals/{id}/ballots/{}:submit{V}", MEMBERS[who].id());
    fake.signed(&target, who, "ballot", NOW, Some(id), &json!({ "ballot": ballot }).to_string())
}

#[test]
fn a_proposal_from_beginning_to_end() {
    let mut fake = Fake::new();
    fake.resolve = |yes, _| if yes > 1 { "Accepted" } else { "Open" };
    let (old, _) = propose(&mut fake, 1, NOW);
    let (id, response) = propose(&mut fake, 0, NOW + 1);
    let expected = json!({ "proposalId": id, "proposerId": MEMBERS[0].id(), "proposalState": "Open", "ballotCount": 0 });
    assert_eq!((response.status, body(&response)), (200, expected));
    assert_eq!(id.len(), 64);
    let withdrawn = fake.signed(&format!("/gov/members/proposals/{old}:withdraw{V}"), 1, "withdrawal", NOW, Some(&old), "");
    assert_eq!(body(&withdrawn)["proposalState"], "Withdrawn");
    assert_eq!(vote(&mut fake, &id, 0, "vote/2 yes").status, 200);
    assert_eq!(vote(&mut fake, &id, 1, "vote/2 throw").status, 200);
    let last = vote(&mut fake, &id, 2, "vote/2 yes");
    let shown = body(&last);
    assert_eq!((shown["proposalState"].as_str(), shown["ballotCount"].as_u64()), (Some("Accepted"), Some(3)));
    assert_eq!(shown["finalVotes"], json!({ (MEMBERS[0].id()): true, (MEMBERS[2].id()): true }));
    assert_eq!(shown["voteFailures"][MEMBERS[1].id()], json!({ "reason": "Error: no vote", "trace": "    at apply" }));
    assert_eq!(fake.applied, std::slice::from_ref(&id));
    // What was decided before is gone, the last one is still there.
    assert_eq!(body(&fake.look(&format!("/gov/members/proposals{V}")))["value"], json!([shown]));
    assert_eq!(fake.look(&format!("/gov/members/proposals/{id}/actions{V}")).body, br#"{"actions":[]}"#);
    let ballot = fake.look(&format!("/gov/members/proposals/{id}/ballots/{}{V}", MEMBERS[0].id()));
    assert_eq!(ballot, Response::typed(200, "text/javascript", b"vote/2 yes".to_vec()));
    assert_eq!(fake.rows(COSE_HISTORY).unwrap().len(), 3);
    let classic = body(&fake.look(&format!("/gov/proposals/{id}")));
    assert_eq!(classic["state"], "Accepted");
    assert_eq!(classic["ballots"][MEMBERS[0].id()], "vote/2 yes");
}

#[test]
fn what_is_refused_leaves_nothing() {
    let mut fake = Fake::new();
    let before = fake.tables.clone();
    let refused = fake.signed(CREATE, 0, "proposal", NOW, None, "{}");
    assert_eq!(code(&refused), (400, "ProposalFailedToValidate".into()));
    assert_eq!(message(&refused), "Proposal failed to validate: no actions");
    let garbage = fake.signed(CREATE, 0, "proposal", NOW, None, "{");
    assert_eq!(code(&garbage), (500, "InternalError".into()));
    assert!(message(&garbage).starts_with("Failed to execute validation: SyntaxError: unexpected"), "{}", message(&garbage));
    assert_eq!(code(&fake.signed(CREATE, 0, "ballot", NOW, None, "{}")), (401, "InvalidAuthenticationInfo".into()));
    assert_eq!(code(&fake.send("POST", CREATE, "application/cose", vec![1])), (500, "InternalError".into()));
    assert_eq!(code(&fake.send("POST", CREATE, "application/json", vec![])), (401, "InvalidAuthenticationInfo".into()));
    fake.app_fails = Some("Module '/b.js' could not be loaded");
    let app = json!({ "actions": [{ "name": "set_js_app", "args": { "bundle": { "modules": [{ "name": "a.js" }] } } }] });
    let refused = fake.signed(CREATE, 0, "proposal", NOW, None, &app.to_string());
    assert_eq!(message(&refused), "Proposal failed to validate: Module '/b.js' could not be loaded");
    let outside = app.to_string().replace("a.js", "../a.js");
    let refused = fake.signed(CREATE, 0, "proposal", NOW, None, &outside);
    assert!(message(&refused).contains("'../a.js' is no path within the bundle"), "{}", message(&refused));
    for (verdict, expected) in [
        ("throw", "Failed to resolve(): Error: no way\n    at apply"),
        ("Failed", "resolve() returned invalid status value: \"Failed\""),
    ] {
        fake.resolve = if verdict == "throw" { |_, _| "throw" } else { |_, _| "Failed" };
        let (_, response) = propose(&mut fake, 0, NOW);
        assert_eq!((response.status, message(&response).as_str()), (500, expected));
    }
    (fake.resolve, fake.apply_throws) = (|_, _| "Accepted", true);
    let (_, response) = propose(&mut fake, 0, NOW);
    assert_eq!((response.status, message(&response).as_str()), (500, "Failed to apply(): Error: cannot\n    at apply"));
    fake.put(MEMBER_INFO, MEMBERS[0].id().as_bytes(), br#"{"status":"Active","member_data":{"n":1}}"#);
    assert_eq!(fake.tables, before);
}

#[test]
fn ballots_that_do_not_count() {
    let mut fake = Fake::new();
    let (id, _) = propose(&mut fake, 0, NOW);
    let foreign = format!("/gov/members/proposals/{id}/ballots/{}:submit{V}", MEMBERS[1].id());
    let ballot = r#"{"ballot":"vote/2 yes"}"#;
    assert_eq!(code(&fake.signed(&foreign, 0, "ballot", NOW, Some(&id), ballot)), (400, "InvalidResourceName".into()));
    assert_eq!(code(&fake.signed(&foreign, 1, "ballot", NOW, None, ballot)), (400, "InvalidResourceName".into()));
    assert_eq!(code(&fake.signed(&foreign, 1, "ballot", NOW, Some(&id), "{}")), (400, "InvalidInput".into()));
    assert_eq!(code(&vote(&mut fake, &id, 1, "broken")), (400, "InvalidInput".into()));
    assert_eq!(code(&vote(&mut fake, &id, 1, "no export")), (400, "InvalidInput".into()));
    assert_eq!(code(&vote(&mut fake, &hex(&[1; 32]), 1, "vote/2")), (404, "ProposalNotFound".into()));
    assert_eq!(vote(&mut fake, &id, 1, "vote/2 yes").status, 200);
    assert_eq!(body(&vote(&mut fake, &id, 1, "vote/2 yes"))["ballotCount"], 1);
    assert_eq!(code(&vote(&mut fake, &id, 1, "vote/2 no")), (400, "VoteAlreadyExists".into()));
    fake.resolve = |_, _| "Rejected";
    assert_eq!(body(&vote(&mut fake, &id, 2, "vote/2 no"))["proposalState"], "Rejected");
    assert_eq!(code(&vote(&mut fake, &id, 0, "vote/2 no")), (400, "ProposalNotOpen".into()));
    let target = format!("/gov/members/proposals/{id}/ballots/{}{V}", MEMBERS[0].id());
    assert_eq!(code(&fake.look(&target)), (404, "VoteNotFound".into()));
}

#[test]
fn withdrawals() {
    let mut fake = Fake::new();
    let (id, _) = propose(&mut fake, 0, NOW);
    let target = format!("/gov/members/proposals/{id}:withdraw{V}");
    let foreign = fake.signed(&target, 1, "withdrawal", NOW, Some(&id), "");
    assert_eq!(code(&foreign), (403, "AuthorizationFailed".into()));
    for _ in 0..2 {
        let own = fake.signed(&target, 0, "withdrawal", NOW, Some(&id), "");
        assert_eq!((own.status, body(&own)["proposalState"].as_str()), (200, Some("Withdrawn")));
    }
    let unknown = hex(&[1; 32]);
    let target = format!("/gov/members/proposals/{unknown}:withdraw{V}");
    assert_eq!(fake.signed(&target, 0, "withdrawal", NOW, Some(&unknown), ""), Response::empty(204));
    let classic = format!("/gov/proposals/{unknown}/withdraw");
    assert_eq!(code(&fake.signed(&classic, 0, "withdrawal", NOW, Some(&unknown), "")), (400, "ProposalNotFound".into()));
}

#[test]
fn proposals_are_not_taken_twice_and_not_too_late() {
    let mut fake = Fake::new();
    let headers = [("ccf.gov.msg.type", Cbor::from("proposal")), ("ccf.gov.msg.created_at", Cbor::from(NOW))];
    let message_bytes = MEMBERS[0].sign(&headers, br#"{"actions":[]}"#);
    let first = fake.send("POST", CREATE, "application/cose", message_bytes.clone());
    let id = body(&first)["proposalId"].as_str().unwrap().to_owned();
    // The root is another one by then, in a real ledger.
    fake.remove(PROPOSALS, id.as_bytes());
    let again = fake.send("POST", CREATE, "application/cose", message_bytes);
    assert_eq!(code(&again), (400, "ProposalReplay".into()));
    assert_eq!(message(&again), format!("Proposal submission replay, already exists as proposal {id}"));
    fake.put(SERVICE_CONFIG, SINGLETON, br#"{"recent_cose_proposals_window_size":4}"#);
    for at in 1..6 {
        assert_eq!(propose(&mut fake, 0, NOW + at).1.status, 200);
    }
    let kept: Vec<String> =
        fake.rows(RECENT_PROPOSALS).unwrap().iter().map(|(key, _)| String::from_utf8_lossy(&key[..10]).into_owned()).collect();
    assert_eq!(kept, (2..6).map(|at| (NOW + at).to_string()).collect::<Vec<_>>());
    let (_, late) = propose(&mut fake, 0, NOW + 3);
    assert_eq!(code(&late), (400, "ProposalCreatedTooLongAgo".into()));
    assert_eq!(message(&late), format!("Proposal created too long ago, created_at must be greater than {}", NOW + 4));
    assert_eq!(propose(&mut fake, 0, NOW + 4).1.status, 200);
    assert_eq!(code(&propose(&mut fake, 0, 10_000_000_000).1), (400, "InvalidCreatedAt".into()));
}

#[test]
fn a_member_becomes_active() {
    let mut fake = Fake::new();
    let id = MEMBERS[0].id();
    fake.put(MEMBER_INFO, id.as_bytes(), br#"{"member_data":{"z":1,"a":2},"status":"Accepted"}"#);
    assert_eq!(propose(&mut fake, 0, NOW).1.status, 401);
    let digests = format!("/gov/members/state-digests/{id}");
    let digest = hex(&[7; 32]);
    let ack = json!({ "stateDigest": digest }).to_string();
    assert_eq!(code(&fake.signed(&format!("{digests}:ack{V}"), 0, "ack", NOW, None, &ack)), (403, "AuthorizationFailed".into()));
    assert_eq!(code(&fake.look(&format!("{digests}{V}"))), (404, "ResourceNotFound".into()));
    let foreign = fake.signed(&format!("{digests}:update{V}"), 1, "state_digest", NOW, None, "");
    assert_eq!(code(&foreign), (400, "InvalidAuthenticationInfo".into()));
    let update = fake.signed(&format!("{digests}:update{V}"), 0, "state_digest", NOW, None, "");
    assert_eq!(body(&update), json!({ "memberId": id, "stateDigest": digest }));
    assert_eq!(fake.look(&format!("{digests}{V}")), update);
    let wrong = fake.signed(&format!("{digests}:ack{V}"), 0, "ack", NOW, None, r#"{"stateDigest":"00"}"#);
    assert_eq!(code(&wrong), (400, "StateDigestMismatch".into()));
    assert_eq!(fake.signed(&format!("{digests}:ack{V}"), 0, "ack", NOW, None, &ack), Response::empty(204));
    let row = fake.get(MEMBER_INFO, id.as_bytes()).unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&row), r#"{"member_data":{"z":1,"a":2},"status":"Active"}"#);
    assert_eq!(propose(&mut fake, 0, NOW).1.status, 200);
}

#[test]
fn the_classic_interface() {
    let mut fake = Fake::new();
    fake.resolve = |yes, _| if yes > 0 { "Accepted" } else { "Open" };
    let made = body(&fake.signed("/gov/proposals", 0, "proposal", NOW, None, r#"{"actions":[]}"#));
    let id = made["proposal_id"].as_str().unwrap();
    assert_eq!((made["state"].as_str(), made["ballot_count"].as_u64()), (Some("Open"), Some(0)));
    assert_eq!(body(&fake.look("/gov/proposals"))[id]["proposer_id"], MEMBERS[0].id());
    let ballot = r#"{"ballot":"vote/2 yes"}"#;
    let voted = body(&fake.signed(&format!("/gov/proposals/{id}/ballots"), 0, "ballot", NOW, Some(id), ballot));
    assert_eq!((voted["state"].as_str(), &voted["votes"]), (Some("Accepted"), &json!({ (MEMBERS[0].id()): true })));
    let shown = fake.look(&format!("/gov/proposals/{id}/ballots/{}", MEMBERS[0].id()));
    assert_eq!(body(&shown), json!({ "ballot": "vote/2 yes" }));
    assert_eq!(body(&fake.look("/gov/proposals")), json!({}));
    let mut request = Request { method: "POST".into(), target: "/gov/ack/update_state_digest".into(), ..Request::default() };
    request.certificate = Some(pem::parse(MEMBERS[0].cert).unwrap().into_contents());
    let digest = super::super::handle(&mut fake, &request, &mut Cache::new()).unwrap();
    assert_eq!(body(&digest), json!({ "state_digest": hex(&[7; 32]) }));
    let ack = String::from_utf8(digest.body).unwrap();
    assert_eq!(fake.signed("/gov/ack", 0, "ack", NOW, None, &ack).status, 204);
    assert_eq!(body(&fake.look("/gov/members"))[MEMBERS[0].id()]["status"], "Active");
    assert_eq!(body(&fake.look("/gov/kv/constitution")), "text");
    assert_eq!(body(&fake.look("/gov/kv/members/info"))[MEMBERS[0].id()]["member_data"]["n"], 1);
    assert_eq!(fake.look("/gov/kv/glassbox/development").status, 404);
}

#[test]
fn paths_verbs_and_versions() {
    let mut fake = Fake::new();
    for (target, expected) in [
        ("/gov/members/proposals", "MissingApiVersionParameter"),
        ("/gov/members/proposals?api-version=1", "UnsupportedApiVersionValue"),
        ("/gov/service/javascript-app?api-version=2023-06-01-preview", "UnsupportedApiVersionValue"),
        ("/gov/service/javascript-app?api-version=2024-07-01&case=upper", "InvalidQueryParameterValue"),
        ("/gov/members/proposals/7?api-version=2024-07-01", "InvalidResourceName"),
    ] {
        assert_eq!(code(&fake.look(target)), (400, expected.into()), "{target}");
    }
    let unknown = fake.look("/gov/nothing?api-version=2024-07-01");
    assert_eq!((code(&unknown), message(&unknown)), ((404, "ResourceNotFound".into()), "Unknown path: /nothing.".into()));
    let verb = fake.send("DELETE", "/gov/members/proposals", "", vec![]);
    assert_eq!(code(&verb), (405, "UnsupportedHttpVerb".into()));
    assert_eq!(message(&verb), "Allowed methods for '/members/proposals' are: OPTIONS, GET.");
    let options = fake.send("OPTIONS", "/gov/members/proposals:create", "", vec![]);
    assert_eq!((options.status, options.headers), (204, vec![("allow".into(), "OPTIONS, POST".into())]));
    // Nothing that is listed fails for want of an answer.
    for (verb, template) in super::super::routes() {
        let target = template.replace("{transactionId}", "2.1").replace(['{', '}'], "");
        let target = format!("{target}?api-version=2024-07-01");
        if service::is_about_transactions(target.split('?').next().unwrap()) {
            continue;
        }
        let response = if *verb == "GET" { fake.look(&target) } else { fake.send(verb, &target, "", vec![]) };
        assert!(response.status < 500 && response.status != 405, "{verb} {template}: {response:?}");
    }
}

#[test]
fn what_everybody_sees() {
    let mut fake = Fake::new();
    fake.put(ENDPOINTS, b"GET /a/{b}", br#"{"js_module":"/a.js","js_function":"f","authn_policies":["jwt"],"x":1}"#);
    fake.put(MODULES, b"/a.js", b"export const f = 1");
    fake.put(USER_CERTS, USER.id().as_bytes(), USER.cert.as_bytes());
    fake.put(JWT_KEYS, b"kid", br#"[{"issuer":"i","public_key":"AQID"}]"#);
    let app = body(&fake.look("/gov/service/javascript-app?api-version=2024-07-01"));
    assert_eq!(app["endpoints"]["/a/{b}"]["GET"]["jsModule"], "/a.js");
    assert_eq!(app["endpoints"]["/a/{b}"]["GET"]["mode"], "readwrite");
    let app = body(&fake.look("/gov/service/javascript-app?api-version=2024-07-01&case=original"));
    assert_eq!(app["endpoints"]["/a/{b}"]["GET"]["x"], 1);
    assert_eq!(fake.look(&format!("/gov/service/javascript-modules/%2Fa.js{V}")).body, b"export const f = 1");
    assert_eq!(body(&fake.look(&format!("/gov/service/javascript-modules{V}"))), json!({ "value": [{ "moduleName": "/a.js" }] }));
    let user = body(&fake.look(&format!("/gov/service/users/{}{V}", USER.id())));
    assert_eq!((&user["userData"], &user["certificate"]), (&Value::Null, &json!(USER.cert)));
    let member = body(&fake.look(&format!("/gov/service/members/{}{V}", MEMBERS[0].id())));
    assert_eq!((&member["memberData"], &member["recoveryRole"]), (&json!({ "n": 1 }), &json!("NonParticipant")));
    assert_eq!(body(&fake.look(&format!("/gov/service/info{V}")))["configuration"]["recentCoseProposalsWindowSize"], 100);
    let jwk = body(&fake.look(&format!("/gov/service/jwk{V}")));
    assert_eq!(jwk["keys"]["kid"][0]["publicKey"], "-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n");
}

struct Known;

impl service::Ledger for Known {
    fn committed(&self) -> (u64, u64) {
        (2, 9)
    }

    fn status(&self, _: u64, seqno: u64) -> &'static str {
        if seqno <= 9 { "Committed" } else { "Unknown" }
    }
}

#[test]
fn transactions() {
    let ask = |txid: &str| {
        let target = format!("/gov/service/transactions/{txid}{V}");
        assert!(service::is_about_transactions(target.trim_end_matches(V)));
        service::transactions(&Request { method: "GET".into(), target, ..Request::default() }, &Known)
    };
    assert_eq!(body(&ask("commit")), json!({ "status": "Committed", "transactionId": "2.9" }));
    assert_eq!(body(&ask("2.10")), json!({ "status": "Unknown", "transactionId": "2.10" }));
    for txid in ["a.b", "0.1", "1.0", "1", "-1.-1", "01.1"] {
        assert_eq!(code(&ask(txid)), (400, "InvalidQueryParameterValue".into()), "{txid}");
    }
}

#[test]
fn effects() {
    let mut fake = Fake::new();
    let mut act = |name: &str, args: Value| effect(&mut fake, name, &args, 0).unwrap();
    let error = |message: &str| Err(("Error".to_owned(), message.to_owned()));
    assert_eq!(act("validateConstitution", json!(["validate/1 resolve/3 apply/2"])), Ok(Some("true".into())));
    assert_eq!(
        act("validateConstitution", json!(["resolve/3 apply/2"])),
        error("Failed to find export 'validate' in the constitution")
    );
    assert_eq!(
        act("ccf.gov.validateConstitution", json!(["validate/1 resolve/2 apply/2"])),
        error("constitution exports function resolve with 2 args, expected between 3 and 4 args")
    );
    assert_eq!(act("validateConstitution", json!(["broken"])), error("Failed to compile constitution: Error: unexpected token"));
    assert!(act("generateNetworkCertificate", json!(["", 1])).is_err());
    assert_eq!(act("triggerSnapshot", json!([])), Ok(None));
    assert!(act("fly", json!([])).is_err());
    assert!(act("transitionServiceToOpen", json!([null, MEMBERS[0].cert])).is_err());
    assert_eq!(act("transitionServiceToOpen", json!([null, USER.cert.replace('\n', "\r\n")])), Ok(None));
    assert_eq!(act("refreshAppBytecodeCache", json!([])), Ok(None));
    let info: Value = serde_json::from_slice(&fake.get(SERVICE_INFO, SINGLETON).unwrap().unwrap()).unwrap();
    assert_eq!(info, json!({ "cert": USER.cert, "status": "Open" }));
    assert_eq!(fake.get(INTERPRETER_FLUSH, SINGLETON).unwrap().unwrap(), b"true");
}
