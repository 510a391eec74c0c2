//! The whole life of a service under members who vote, from the command line, and its audit.

use super::place::{App, Place, Sandbox};
use super::sign;
use crate::support::{run, stderr, stdout};
use crate::verify::{copy_dir, path, verify};
use serde_json::{Value, json};
use std::process::Output;

struct Parliament<'a> {
    place: &'a Place,
    sandbox: &'a Sandbox,
}

impl Parliament<'_> {
    fn command(&self, args: &[&str], member: &str) -> Output {
        let (url, common) = (self.sandbox.url(), self.place.common());
        run(&[args, &["--url", &url, "--workspace", path(&common), "--member", member]].concat())
    }

    /// What is printed: the proposal and its state.
    fn said(output: Output) -> (String, String) {
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        let text = stdout(&output);
        let (id, state) = text.lines().next().and_then(|line| line.split_once(' ')).expect("a proposal and its state");
        (id.to_owned(), state.to_owned())
    }

    fn propose(&self, member: &str, proposal: &Value) -> (String, String) {
        let file = self.place.root().join("proposal.json");
        std::fs::write(&file, proposal.to_string()).expect("written");
        Parliament::said(self.command(&["propose", path(&file)], member))
    }

    fn vote(&self, member: &str, id: &str, vote: &str) -> String {
        Parliament::said(self.command(&["vote", id, vote], member)).1
    }

    /// Two of three decide.
    fn decide(&self, proposal: &Value) -> String {
        let (id, state) = self.propose("member0", proposal);
        assert_eq!(state, "Open");
        assert_eq!(self.vote("member0", &id, "yes"), "Open");
        assert_eq!(self.vote("member1", &id, "yes"), "Accepted");
        id
    }

    fn refused(&self, args: &[&str], member: &str, said: &str) {
        let output = self.command(args, member);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stdout(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    }
}

fn counter(step: u32) -> App {
    let source = format!(
        "const table = ccf.kv['counts'];
         export function count(request) {{
             const key = ccf.strToBuf(request.caller.id);
             const before = table.has(key) ? ccf.bufToJsonCompatible(table.get(key)) : 0;
             table.set(key, ccf.jsonCompatibleToBuf(before + {step}));
             return {{ body: {{ count: before + {step} }} }};
         }}"
    );
    let users = json!({ "authn_policies": ["user_cert"] });
    let reused = json!({ "authn_policies": ["user_cert"], "interpreter_reuse": { "key": "k" } });
    App::new(&source).endpoint("POST /count", "count", users).endpoint("POST /again", "count", reused)
}

#[test]
fn a_governed_life() {
    let place = Place::new(&counter(1));
    let begin = ["--constitution", "default", "--initial-member-count", "3", "--checkpoint-every", "25"];
    let sandbox = place.serve_again(&begin);
    let parliament = Parliament { place: &place, sandbox: &sandbox };
    let mut user = sandbox.client_of("user0");
    let mut count = |n: u64| assert_eq!(user.post("/app/count", "").ok().json()["count"], n);

    // The app: by vote.
    let output = parliament.command(&["propose", "--js-app", path(&place.folder())], "member2");
    let (id, state) = Parliament::said(output);
    assert_eq!(state, "Open");
    assert_eq!(parliament.vote("member2", &id, "yes"), "Open");
    assert_eq!(parliament.vote("member1", &id, "no"), "Open");
    parliament.refused(&["vote", &id, "yes"], "member1", "VoteAlreadyExists");
    assert_eq!(parliament.vote("member0", &id, "yes"), "Accepted");
    parliament.refused(&["vote", &id, "yes"], "member0", "ProposalNotOpen");
    parliament.refused(&["vote", &"0".repeat(64), "yes"], "member0", "ProposalNotFound");
    // Who is no member proposes nothing and votes on nothing.
    let proposal = place.root().join("proposal.json");
    std::fs::write(&proposal, counter(100).proposal().to_string()).expect("written");
    parliament.refused(&["propose", path(&proposal)], "user0", "401");
    (1..=4).for_each(&mut count);

    // The users and what is known of them, the limits.
    let (cert, key) = sign::person("user1", -1, 30);
    std::fs::write(place.common().join("user1_cert.pem"), &cert).expect("written");
    std::fs::write(place.common().join("user1_privk.pem"), &key).expect("written");
    parliament.decide(&json!({ "actions": [
        { "name": "set_user", "args": { "cert": cert, "user_data": { "of": "a vote" } } },
        { "name": "set_js_runtime_options", "args": { "max_heap_bytes": 50 << 20, "max_stack_bytes": 1 << 20, "max_execution_time_ms": 300, "return_exception_details": true } },
    ] }));
    assert_eq!(sandbox.client_of("user1").post("/app/again", "").ok().json()["count"], 1);
    (5..=9).for_each(&mut count);

    // Redeployed: the tables stay.
    parliament.decide(&counter(10).proposal());
    count(19);

    // Ballots are programs. One that throws does not count, and is told.
    let (id, _) =
        parliament.propose("member0", &json!({ "actions": [{ "name": "remove_user", "args": { "user_id": sign::id(&cert) } }] }));
    let ballot = place.root().join("ballot.js");
    std::fs::write(&ballot, "export function vote(proposal, proposerId) { throw new Error('no vote'); }").expect("written");
    assert_eq!(Parliament::said(parliament.command(&["vote", &id, "--ballot", path(&ballot)], "member0")).1, "Open");
    std::fs::write(
        &ballot,
        "export function vote(proposal, proposerId) { return JSON.parse(proposal).actions[0].name === 'remove_user'; }",
    )
    .expect("written");
    assert_eq!(Parliament::said(parliament.command(&["vote", &id, "--ballot", path(&ballot)], "member1")).1, "Open");
    assert_eq!(parliament.vote("member2", &id, "yes"), "Accepted");
    let shown = sandbox.client().get(&format!("/gov/members/proposals/{id}?api-version=2024-07-01")).ok().json();
    assert_eq!(shown["voteFailures"][sign::id(&place.pem("member0_cert.pem"))]["reason"], "Error: no vote", "{shown}");
    assert_eq!(sandbox.client_of("user1").post("/app/count", "").status, 401);

    // A proposal that its proposer takes back, and one that another constitution drops.
    let (withdrawn, _) = parliament.propose("member1", &counter(1000).proposal());
    let answer = sandbox.govern(
        "member1",
        &format!("members/proposals/{withdrawn}:withdraw"),
        "withdrawal",
        Some(&withdrawn),
        &Value::Null,
    );
    assert_eq!((answer.status, &answer.json()["proposalState"]), (200, &json!("Withdrawn")));
    parliament.refused(&["vote", &withdrawn, "yes"], "member0", "ProposalNot");
    let (dropped, _) = parliament.propose("member1", &counter(1000).proposal());
    let constitution = sandbox.client().get("/gov/service/constitution?api-version=2024-07-01").ok().text();
    let one_decides = constitution.replace("inFavour > Math.floor(active.size / 2)", "inFavour > 0");
    assert_ne!(one_decides, constitution);
    parliament.decide(&json!({ "actions": [{ "name": "set_constitution", "args": { "constitution": one_decides } }] }));
    parliament.refused(&["vote", &dropped, "yes"], "member0", "ProposalNot");
    let (id, _) = parliament.propose("member2", &json!({ "actions": [{ "name": "set_user_data", "args": { "user_id": sign::id(&place.pem("user0_cert.pem")), "user_data": { "n": 1 } } }] }));
    assert_eq!(parliament.vote("member2", &id, "yes"), "Accepted");
    count(29);
    sandbox.kill();

    // What was decided holds after a kill, and so does what was counted.
    let sandbox = place.serve_again(&["--checkpoint-every", "25"]);
    let parliament = Parliament { place: &place, sandbox: &sandbox };
    let mut user = sandbox.client_of("user0");
    assert_eq!(user.post("/app/count", "").ok().json()["count"], 39);
    // The end of the app.
    let (id, _) = parliament.propose("member0", &json!({ "actions": [{ "name": "remove_js_app" }] }));
    assert_eq!(parliament.vote("member1", &id, "yes"), "Accepted");
    assert_eq!(user.post("/app/count", "").error(), (404, "ResourceNotFound".into(), "Unknown path: /count.".into()));
    sandbox.stop();

    // Everything is executed again, by one and by two; without the secret, all that is governance's.
    let dir = place.dir();
    for jobs in ["1", "2"] {
        let output = verify(&[path(&dir), "--jobs", jobs]);
        assert_eq!(output.status.code(), Some(0), "{jobs}: {}", stderr(&output));
        assert!(stdout(&output).contains("✔Call log verified.\n"), "{}", stdout(&output));
    }
    let alone = place.root().join("alone");
    copy_dir(&dir.join("ledger"), &alone);
    for jobs in ["1", "2"] {
        let output = verify(&[path(&alone), "--jobs", jobs, "--ledger-secret", path(&dir.join("keys/ledger_secret"))]);
        assert_eq!(output.status.code(), Some(0), "{jobs}: {}", stderr(&output));
        let output = verify(&[path(&alone), "--jobs", jobs, "--json"]);
        assert_eq!(output.status.code(), Some(0), "{jobs}: {}", stderr(&output));
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let sealed: Vec<(u64, u64)> = serde_json::from_value(report["callers"]["sealed"].clone()).expect("ranges");
        // The requests of users; those that were refused have left nothing.
        assert_eq!(sealed.iter().map(|(from, to)| to - from + 1).sum::<u64>(), 13, "{report}");
    }
}
