//! Everything that a member can sign, in both versions of the interface, under a constitution that counts votes.

use super::certificates::{P256, self_signed};
use super::signer::{Api, Message, Parliament, ago, ballot_at, proposal, propose_at, versioned};
use super::site::Pair;
use super::tools::{attempt, built, openssl, output, python};
use base64::{Engine, engine::general_purpose::URL_SAFE};
use serde_json::{Value, json};
use std::path::Path;

use Api::{Classic, Versioned};

fn set_user(pair: &Pair) -> Value {
    json!([{ "name": "set_user", "args": { "cert": pair.pem(), "user_data": { "set": true } } }])
}

fn code(answer: &crate::bundles::client::Answer) -> (u16, String) {
    let (status, code, _) = answer.error();
    (status, code)
}

#[test]
fn a_proposal_from_its_signature_to_its_end() {
    let parliament = Parliament::of_three(built());
    let [first, second, third] = &parliament.members[..] else { panic!("three members") };
    let folder = parliament.site.place.root();
    let user = self_signed(folder, "user", P256, "-days 2");
    let ids: Vec<String> = parliament.members.iter().map(Pair::id).collect();
    let listed = parliament.look("service/members").ok().json();
    let mut statuses: Vec<(&str, &str)> = listed["value"]
        .as_array()
        .expect("members")
        .iter()
        .map(|member| (member["memberId"].as_str().expect("an id"), member["status"].as_str().expect("a status")))
        .collect();
    statuses.sort_unstable();
    let mut sorted = ids.clone();
    sorted.sort_unstable();
    assert_eq!(statuses, sorted.iter().map(|id| (id.as_str(), "Active")).collect::<Vec<_>>());

    // One proposes, two vote for it.
    let message = Message::proposal(&proposal(set_user(&user)));
    let body = parliament.signer.sign(first, &message);
    let created = parliament.send(&propose_at(Versioned), &body).ok();
    let shown = created.json();
    let id = shown["proposalId"].as_str().expect("an id").to_owned();
    assert_eq!(shown, json!({ "proposalId": id, "proposerId": ids[0], "proposalState": "Open", "ballotCount": 0 }));
    assert_eq!(parliament.look(&format!("members/proposals/{id}")).ok().json(), shown);
    assert_eq!(parliament.look(&format!("members/proposals/{id}/actions")).ok().body, message.content);
    assert_eq!(parliament.look("members/proposals").ok().json()["value"].as_array().map(|all| all.contains(&shown)), Some(true));
    let replayed = parliament.send(&propose_at(Versioned), &body);
    let why = format!("Proposal submission replay, already exists as proposal {id}");
    assert_eq!(replayed.error(), (400, "ProposalReplay".into(), why.clone()));
    // Of an ECDSA signature, whoever has seen it can make another that verifies.
    assert_eq!(parliament.send(&propose_at(Versioned), &twin(&body)).error(), (400, "ProposalReplay".into(), why));

    let voted = parliament
        .vote(Versioned, second, &id, "return proposerId.length === 64 && JSON.parse(proposal).actions.length === 1")
        .ok();
    assert_eq!((&voted.json()["proposalState"], &voted.json()["ballotCount"]), (&json!("Open"), &json!(1)));
    assert_eq!(parliament.site.get_as(&user, "/app/user").status, 401);
    let accepted = parliament.vote(Versioned, third, &id, "return true").ok().json();
    assert_eq!(accepted["proposalState"], "Accepted");
    assert_eq!(accepted["finalVotes"], json!({ ids[1].clone(): true, ids[2].clone(): true }));
    assert_eq!(parliament.site.get_as(&user, "/app/user").ok().json()["data"], json!({ "set": true }));
    let ballot = parliament.look(&format!("members/proposals/{id}/ballots/{}", ids[2])).ok();
    assert_eq!(ballot.text(), "export function vote(proposal, proposerId) { return true }");
    assert!(ballot.header("content-type").is_some_and(|kind| kind.starts_with("text/javascript")), "{ballot:?}");
    let late = parliament.vote(Versioned, first, &id, "return true");
    let why = format!("Proposal {id} is currently in state Accepted - only Open proposals can receive votes");
    assert_eq!(late.error(), (400, "ProposalNotOpen".into(), why));
    assert_eq!(code(&parliament.withdraw(Versioned, first, &id)), (400, "ProposalNotOpen".into()));

    // Withdrawn by who proposed it, and by nobody else.
    let id = parliament.open(Versioned, second, &proposal(json!([{ "name": "remove_user", "args": { "user_id": user.id() } }])));
    let foreign = parliament.withdraw(Versioned, first, &id);
    let why = format!("Proposal {id} can only be withdrawn by proposer {}, not caller {}.", ids[1], ids[0]);
    assert_eq!(foreign.error(), (403, "AuthorizationFailed".into(), why));
    for _ in 0..2 {
        assert_eq!(parliament.withdraw(Versioned, second, &id).ok().json()["proposalState"], "Withdrawn");
    }
    assert_eq!(code(&parliament.vote(Versioned, first, &id, "return true")), (400, "ProposalNotOpen".into()));
    assert_eq!(parliament.withdraw(Versioned, second, &"0".repeat(64)).status, 204);

    // Rejected under a constitution that rejects; what was open under the old one is dropped.
    let open = parliament.open(Versioned, third, &proposal(set_user(&user)));
    let constitution = parliament.look("service/constitution").ok().text();
    let (accepts, _) = constitution.split_once("export function resolve(").expect("it resolves");
    let rest = constitution.split_once("export function resolve(").map(|(_, rest)| rest.split_once("\n}\n").expect("it ends").1);
    let rejects = format!("{accepts}{}\n{REJECTS}", rest.expect("more"));
    parliament.decide(json!([{ "name": "set_constitution", "args": { "constitution": rejects } }]));
    assert_eq!(parliament.look("service/constitution").ok().text(), rejects);
    assert_eq!(parliament.look(&format!("members/proposals/{open}")).ok().json()["proposalState"], "Dropped");
    let id = parliament.open(Versioned, first, &proposal(set_user(&user)));
    assert_eq!(parliament.vote(Versioned, second, &id, "return false").ok().json()["proposalState"], "Open");
    // What throws is no vote.
    assert_eq!(parliament.vote(Versioned, third, &id, "throw new Error('no')").ok().json()["proposalState"], "Open");
    let rejected = parliament.vote(Versioned, first, &id, "return false").ok().json();
    assert_eq!(rejected["proposalState"], "Rejected", "{rejected}");
    assert_eq!(rejected["finalVotes"], json!({ ids[0].clone(): false, ids[1].clone(): false }));
    assert_eq!(rejected["voteFailures"][&ids[2]]["reason"], "Error: no");
    parliament.site.audited();
}

/// The same request with the other signature that verifies.
pub fn twin(body: &[u8]) -> Vec<u8> {
    let mut python = python("python");
    python.args(["-c", TWIN]);
    let twin = output(python, body);
    assert_ne!(twin, body);
    twin
}

/// r, and the order of P-384 without s.
const TWIN: &str = r#"
import sys, cbor2
tag = cbor2.loads(sys.stdin.buffer.read())
signature = tag.value[3]
s = int.from_bytes(signature[48:], "big")
order = 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973
other = signature[:48] + (order - s).to_bytes(48, "big")
sys.stdout.buffer.write(cbor2.dumps(cbor2.CBORTag(18, [*tag.value[:3], other])))
"#;

/// More than half of the votes, either way.
const REJECTS: &str = "export function resolve(proposal, proposerId, votes, proposalId) {
  if (votes.filter(({ vote }) => vote).length > 1) return 'Accepted';
  return votes.filter(({ vote }) => !vote).length > 1 ? 'Rejected' : 'Open';
}
";

#[test]
fn what_is_refused() {
    let parliament = Parliament::of_three(built());
    let [first, second, _] = &parliament.members[..] else { panic!("three members") };
    let site = &parliament.site;
    let stranger = self_signed(site.place.root(), "stranger", P256, "-days 2");
    let user = site.person("user0");
    let id = parliament.open(Versioned, first, &proposal(set_user(&stranger)));
    let reason = |answer: crate::bundles::client::Answer| {
        let error = answer.json()["error"].clone();
        assert_eq!((answer.status, &error["code"]), (401, &json!("InvalidAuthenticationInfo")), "{error}");
        assert!(answer.header("www-authenticate").is_some_and(|value| value.starts_with("COSE-SIGN1 realm=")), "{answer:?}");
        let detail = &error["details"][0];
        assert_eq!(detail["auth_policy"], "active_member_cose_sign1");
        detail["message"].as_str().expect("a message").to_owned()
    };
    for (api, who) in [(Versioned, &stranger), (Versioned, &user), (Classic, &stranger)] {
        assert_eq!(reason(parliament.vote(api, who, &id, "return true")), "Signer is not a known member");
        assert_eq!(reason(parliament.propose(api, who, &proposal(set_user(&user)))), "Signer is not a known member");
    }
    assert_eq!(parliament.look(&format!("members/proposals/{id}")).ok().json()["ballotCount"], 0);
    let ballot = Message::ballot(&id, "return true");
    let as_proposal = parliament.signer.sign(second, &ballot);
    assert_eq!(
        reason(parliament.send(&propose_at(Versioned), &as_proposal)),
        "Found ccf.gov.msg.type set to ballot, expected ccf.gov.msg.type to be proposal"
    );
    // Another's signature under one's own name; one bit; no COSE at all; the right bytes under a wrong name.
    let masked = Pair { cert: first.cert.clone(), key: second.key.clone() };
    let forged = parliament.signer.sign(&masked, &ballot);
    let target = ballot_at(Versioned, &id, &second.id());
    assert_eq!(parliament.send(&ballot_at(Versioned, &id, &first.id()), &forged).status, 401);
    let mut changed = parliament.signer.sign(second, &ballot);
    let at = changed.windows(4).position(|bytes| bytes == b"true").expect("it is in there");
    changed[at..at + 4].copy_from_slice(b"fals");
    assert_eq!(parliament.send(&target, &changed).status, 401);
    let garbage = parliament.send(&target, b"garbage");
    assert!((400..=500).contains(&garbage.status), "{}", garbage.text());
    let plain = site.ask(&target, None, &["content-type: application/json"], Some(&changed));
    assert_eq!(reason(plain), "Content type is not set to application/cose");
    let silent = site.ask(&target, None, &["content-type;"], Some(&changed));
    assert_eq!(silent.status, 401);

    // Signed for one proposal, sent to another; for another member.
    let other = parliament.open(Versioned, first, &proposal(set_user(&user)));
    let body = parliament.signer.sign(second, &ballot);
    assert_eq!(code(&parliament.send(&ballot_at(Versioned, &other, &second.id()), &body)), (400, "InvalidResourceName".into()));
    assert_eq!(code(&parliament.send(&ballot_at(Versioned, &id, &first.id()), &body)), (400, "InvalidResourceName".into()));
    let unknown = "0".repeat(64);
    assert_eq!(code(&parliament.vote(Versioned, second, &unknown, "return true")), (404, "ProposalNotFound".into()));
    assert_eq!(code(&parliament.look(&format!("members/proposals/{unknown}"))), (404, "ProposalNotFound".into()));
    let ballot_of = |member: &Pair| format!("members/proposals/{id}/ballots/{}", member.id());
    assert_eq!(code(&parliament.look(&ballot_of(second))), (404, "VoteNotFound".into()));

    // The same ballot twice is one; another one is not.
    for _ in 0..2 {
        assert_eq!(parliament.vote(Versioned, second, &id, "return false").ok().json()["ballotCount"], 1);
    }
    let again = parliament.vote(Versioned, second, &id, "return true");
    let why = format!("Different ballot already submitted by {} for {id}.", second.id());
    assert_eq!(again.error(), (400, "VoteAlreadyExists".into(), why));
    assert_eq!(code(&parliament.vote(Classic, second, &id, "return false")), (400, "VoteAlreadyExists".into()));
    let nothing = Message::new("ballot", "{}").about(&id);
    assert_eq!(code(&parliament.signed(first, &ballot_at(Versioned, &id, &first.id()), &nothing)), (400, "InvalidInput".into()));

    // Times: older than half of what is remembered, and one that no ten digits can write.
    let value = proposal(json!([{ "name": "remove_user", "args": { "user_id": user.id() } }]));
    let old = parliament.signed(first, &propose_at(Versioned), &Message::proposal(&value).created_at(ago(86_400)));
    let (status, name, why) = old.error();
    assert_eq!((status, name.as_str()), (400, "ProposalCreatedTooLongAgo"));
    assert!(why.starts_with("Proposal created too long ago, created_at must be greater than 1"), "{why}");
    let never = Message::proposal(&value).created_at("2400-01-01T00:00:00+00:00".into());
    assert_eq!(code(&parliament.signed(first, &propose_at(Versioned), &never)), (400, "InvalidCreatedAt".into()));

    // Contents.
    let invalid = |value: Value| {
        let (status, name, why) = parliament.propose(Versioned, first, &value).error();
        assert_eq!((status, name.as_str()), (400, "ProposalFailedToValidate"), "{why}");
        why.strip_prefix("Proposal failed to validate: ").expect("it says so").to_owned()
    };
    assert!(invalid(proposal(json!([{ "name": "set_nonsense", "args": {} }]))).contains("set_nonsense"));
    assert!(invalid(proposal(json!([{ "name": "set_user", "args": { "cert": "no certificate" } }]))).contains("set_user"));
    invalid(json!({}));
    let text = parliament.signed(first, &propose_at(Versioned), &Message::new("proposal", "no JSON"));
    let (status, name, why) = text.error();
    assert_eq!((status, name.as_str()), (500, "InternalError"));
    assert!(why.starts_with("Failed to execute validation: SyntaxError"), "{why}");

    // Versions.
    let body = parliament.signer.sign(first, &Message::proposal(&value));
    let create = "/gov/members/proposals:create";
    assert_eq!(code(&parliament.send(create, &body)), (400, "MissingApiVersionParameter".into()));
    assert_eq!(
        code(&parliament.send(&format!("{create}?api-version=2020-01-01"), &body)),
        (400, "UnsupportedApiVersionValue".into())
    );
    assert_eq!(parliament.send(&format!("{create}?api-version=2023-06-01-preview"), &body).ok().json()["proposalState"], "Open");
    let share = Message::new("recovery_share", "c2hhcmU=");
    let target = versioned(&format!("recovery/members/{}:recover", first.id()));
    assert_eq!(code(&parliament.signed(first, &target, &share)), (403, "ServiceNotWaitingForRecoveryShares".into()));
    parliament.site.audited();
}

/// Proposed and accepted, acknowledges the state, is active; is removed, and is nobody.
fn a_member_comes_and_goes(parliament: &Parliament, api: Api, member: &Pair) {
    let id = member.id();
    parliament.decide(json!([{ "name": "set_member", "args": { "cert": member.pem(), "member_data": { "new": true } } }]));
    let status = || parliament.look(&format!("service/members/{id}")).ok().json()["status"].clone();
    assert_eq!(status(), "Accepted");
    let refused = parliament.propose(api, member, &proposal(json!([{ "name": "remove_js_app" }])));
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"]["details"][0]["message"], "Signer is not an ACTIVE member");
    let (update, ack, field) = match api {
        Versioned => (
            versioned(&format!("members/state-digests/{id}:update")),
            versioned(&format!("members/state-digests/{id}:ack")),
            "stateDigest",
        ),
        Classic => ("/gov/ack/update_state_digest".into(), "/gov/ack".into(), "state_digest"),
    };
    let digest = parliament.signed(member, &update, &Message::new("state_digest", "")).ok().json()[field].clone();
    assert_eq!(digest.as_str().map(str::len), Some(64));
    assert_eq!(
        parliament.look(&format!("members/state-digests/{id}")).ok().json(),
        json!({ "memberId": id, "stateDigest": digest })
    );
    let sign = |digest: &Value| Message::new("ack", json!({ field: digest }).to_string());
    let wrong = parliament.signed(member, &ack, &sign(&json!("0".repeat(64))));
    assert_eq!(code(&wrong), (400, "StateDigestMismatch".into()));
    assert_eq!(status(), "Accepted");
    assert_eq!(parliament.signed(member, &ack, &sign(&digest)).status, 204);
    assert_eq!(status(), "Active");
    // Of four, three are needed.
    let open = parliament.open(api, member, &proposal(json!([{ "name": "remove_member", "args": { "member_id": id } }])));
    let field = if api == Classic { "state" } else { "proposalState" };
    for (voter, state) in [(&parliament.members[0], "Open"), (member, "Open"), (&parliament.members[1], "Accepted")] {
        assert_eq!(parliament.vote(api, voter, &open, "return true").ok().json()[field], state);
    }
    let gone = parliament.propose(api, member, &proposal(json!([{ "name": "remove_js_app" }])));
    assert_eq!(gone.json()["error"]["details"][0]["message"], "Signer is not a known member");
    assert_eq!(parliament.look(&format!("service/members/{id}")).status, 404);
}

#[test]
fn members_come_and_go() {
    let parliament = Parliament::of_three(built());
    let folder = parliament.site.place.root().to_owned();
    let curves = [("P-256", Versioned), ("P-384", Classic), ("P-521", Versioned)];
    for (curve, api) in curves {
        let key = format!("-newkey ec -pkeyopt ec_paramgen_curve:{curve}");
        a_member_comes_and_goes(&parliament, api, &self_signed(&folder, curve, &key, "-days 2"));
    }
    parliament.site.audited();
}

#[test]
fn the_interface_without_versions() {
    let parliament = Parliament::of_three(built());
    let [first, second, third] = &parliament.members[..] else { panic!("three members") };
    let ids: Vec<String> = parliament.members.iter().map(Pair::id).collect();
    let user = self_signed(parliament.site.place.root(), "user", P256, "-days 2");
    let message = Message::proposal(&proposal(set_user(&user)));
    let body = parliament.signer.sign(first, &message);
    let created = parliament.send("/gov/proposals", &body).ok().json();
    let id = created["proposal_id"].as_str().expect("an id").to_owned();
    assert_eq!(created, json!({ "ballot_count": 0, "proposal_id": id, "proposer_id": ids[0], "state": "Open" }));
    assert_eq!(code(&parliament.send("/gov/proposals", &body)), (400, "ProposalReplay".into()));
    let path = format!("/gov/proposals/{id}");
    assert_eq!(parliament.site.get(&path).ok().json()["state"], "Open");
    assert_eq!(parliament.site.get(&format!("{path}/actions")).ok().body, message.content);
    assert_eq!(parliament.vote(Classic, second, &id, "return true").ok().json()["state"], "Open");
    let ballot = parliament.site.get(&format!("{path}/ballots/{}", ids[1])).ok().json();
    assert_eq!(ballot, json!({ "ballot": "export function vote(proposal, proposerId) { return true }" }));
    assert_eq!(parliament.vote(Classic, third, &id, "return true").ok().json()["state"], "Accepted");
    assert_eq!(parliament.site.get_as(&user, "/app/user").ok().json()["id"], user.id());
    let id = parliament.open(Classic, first, &proposal(json!([{ "name": "remove_user", "args": { "user_id": user.id() } }])));
    assert_eq!(code(&parliament.withdraw(Classic, second, &id)), (403, "AuthorizationFailed".into()));
    assert_eq!(parliament.withdraw(Classic, first, &id).ok().json()["state"], "Withdrawn");
    assert_eq!(code(&parliament.withdraw(Classic, first, &id)), (400, "ProposalNotOpen".into()));
    let members = parliament.site.get("/gov/members").ok().json();
    assert_eq!(members.as_object().map(|all| all.len()), Some(3), "{members}");
    assert_eq!(members[&ids[0]]["status"], "Active");
    assert_eq!(members[&ids[0]]["cert"], json!(first.pem()));
    parliament.site.audited();
}

/// A bundle as the package's own tool writes it, proposed with the real command; and signed where only a digest goes to the key.
#[test]
fn apps_by_vote_and_keys_elsewhere() {
    let parliament = Parliament::of_three(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/banking"));
    let [first, second, third] = &parliament.members[..] else { panic!("three members") };
    let site = &parliament.site;
    let bundle: Value = serde_json::from_slice(&std::fs::read(built().join("bundle.json")).expect("a bundle")).expect("JSON");
    let message = Message::proposal(&proposal(json!([{ "name": "set_js_app", "args": { "bundle": bundle } }])));
    let (content, signature) = (site.file("proposal.json"), site.file("signature.json"));
    let arguments = message.arguments(&content, &first.cert);

    let mut sign = python("ccf_cose_sign1");
    sign.args(&arguments).arg("--signing-key").arg(&first.key);
    let created = parliament.send(&propose_at(Versioned), &output(sign, b"")).ok().json();
    let id = created["proposalId"].as_str().expect("an id");
    assert_eq!(site.get("/app/consensus?view=1&seqno=1").status, 404, "it is not there yet");

    let ballot = Message::ballot(id, "return true");
    let arguments = ballot.arguments(&content, &second.cert);
    let mut prepare = python("ccf_cose_sign1_prepare");
    prepare.args(&arguments);
    let prepared: Value = serde_json::from_slice(&output(prepare, b"")).expect("JSON");
    let digest = base64::engine::general_purpose::STANDARD.decode(prepared["value"].as_str().expect("a digest")).expect("base64");
    let digest_file = site.file("digest");
    std::fs::write(&digest_file, digest).expect("it is written");
    let mut by_openssl = openssl("pkeyutl -sign -inkey");
    by_openssl.arg(&second.key).arg("-in").arg(&digest_file);
    let signed = super::crypto::plain(&output(by_openssl, b""), 48);
    std::fs::write(&signature, json!({ "value": URL_SAFE.encode(signed) }).to_string()).expect("it is written");
    let mut finish = python("ccf_cose_sign1_finish");
    finish.args(&arguments).arg("--signature").arg(&signature);
    let voted = parliament.send(&ballot_at(Versioned, id, &second.id()), &output(finish, b"")).ok().json();
    assert_eq!(voted["ballotCount"], 1);
    // The tool needs to be told what is voted on.
    let mut without = python("ccf_cose_sign1");
    without.args(["--ccf-gov-msg-type", "ballot", "--ccf-gov-msg-created_at", &ago(0), "--content"]).arg(&content);
    without.arg("--signing-key").arg(&second.key).arg("--signing-cert").arg(&second.cert);
    assert!(!attempt(&mut without, b"").status.success());

    assert_eq!(parliament.vote(Versioned, third, id, "return true").ok().json()["proposalState"], "Accepted");
    site.get("/app/consensus?view=1&seqno=1").ok();
    let app = parliament.look("service/javascript-app").ok().json();
    let paths = |app: &Value| app["endpoints"].as_object().expect("endpoints").keys().cloned().collect::<Vec<_>>();
    assert_eq!(paths(&app), paths(&bundle["metadata"]));
    let modules = parliament.look("service/javascript-modules").ok().json();
    assert_eq!(modules["value"].as_array().map(Vec::len), bundle["modules"].as_array().map(Vec::len));
    let kv = parliament.look("service/javascript-modules/%2Fkv.js").ok();
    assert_eq!(kv.body, std::fs::read(built().join("src/kv.js")).expect("a module"));
    parliament.site.audited();
}
