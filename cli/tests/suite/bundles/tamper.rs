//! An operator with all keys who rewrites what a bundle has answered: every audit that can see it, says so.

use super::place::{App, Place};
use crate::support::{stderr, stdout};
use crate::verify::{copy_dir, path, verify};
use ledger::{Audit, Dir, Keys, Log, Reader, Sealer, SignatureInfo, TxId, WriteSet};
use machine::bundle::Response;
use machine::{Checkpoint, maps};
use serde_json::json;
use std::fs;
use std::path::Path;
use std::sync::Arc;

/// The ledger from a transaction on, written again with the node's own keys, private parts and all, as after a restart. The change
/// sees every transaction but signatures, and says whether it stays.
fn forge(dir: &Path, from: u64, mut change: impl FnMut(&mut WriteSet) -> bool) {
    let keys = Arc::new(Keys::load(&dir.join("keys")).expect("keys"));
    let storage = Dir::open(&dir.join("ledger")).expect("a ledger");
    let forged = dir.join("forged");
    let mut log = Log::create(Dir::create(&forged).expect("a folder")).expect("a log");
    let transactions: Vec<_> =
        Reader::open(&storage).expect("readable").map(|located| located.expect("readable").transaction).collect();
    let mut audit = Audit::new();
    let (kept, rest) = transactions.split_at(from as usize - 1);
    for transaction in kept {
        audit.push(transaction).expect("honest");
        log.append(transaction.raw()).expect("appended");
    }
    let view = transactions.last().expect("not empty").txid().view + 1;
    let mut sealer = Sealer::resume(&keys, view, audit).expect("a sealer");
    for transaction in rest {
        if let Some(signature) = SignatureInfo::read(transaction).expect("readable") {
            log.append(&sealer.sign(signature.signed_at_s(), false).expect("signed").raw).expect("appended");
            continue;
        }
        let mut writes = transaction.public().clone();
        writes.maps.extend(transaction.decrypt(keys.secret()).expect("readable").maps);
        // What follows from the transactions before is made to fit, before the change.
        let record = writes.get(maps::GLASSBOX, maps::CHECKPOINT_KEY).and_then(|row| Checkpoint::decode(row).ok());
        if let Some(mut record) = record {
            record.signature = sealer.last_signature().map(|last| (last.txid, last.root, last.signed_at_s()));
            writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, record.encode());
        }
        if writes.maps.contains_key(ledger::FRONTIER_MAP) {
            sealer.frontier().write(&mut writes);
        }
        if change(&mut writes) {
            let claims = Some(transaction.claims_digest()).filter(|claims| *claims != [0; 32]);
            log.append(&sealer.seal(&writes, claims).expect("sealed").raw).expect("appended");
        }
    }
    let now_s = sealer.last_signature().map_or(0, SignatureInfo::signed_at_s);
    log.append(&sealer.sign(now_s, false).expect("signed").raw).expect("appended");
    log.commit().expect("written");
    drop(storage);
    fs::remove_dir_all(dir.join("ledger")).expect("removed");
    fs::rename(forged, dir.join("ledger")).expect("renamed");
}

/// Changes the body of an answer.
fn answer(writes: &mut WriteSet, from: &str, to: &str) -> bool {
    for map in [maps::OWN, maps::GLASSBOX] {
        let Some(row) = writes.get(map, maps::RESPONSE_KEY) else { continue };
        let mut response = Response::decode(row).expect("a response");
        if response.body == from.as_bytes() {
            response.body = to.as_bytes().to_vec();
            writes.put(map, maps::RESPONSE_KEY, response.encode());
            return true;
        }
    }
    false
}

const APP: &str = "
    const bytes = (text) => ccf.strToBuf(String(text));
    export function add(request) {
        const [mine, theirs] = [ccf.kv['mine'], ccf.kv['public:theirs']];
        const n = mine.has(bytes('n')) ? ccf.bufToJsonCompatible(mine.get(bytes('n'))) : 0;
        const sum = n + request.body.json();
        mine.set(bytes('n'), ccf.jsonCompatibleToBuf(sum));
        theirs.set(bytes('n'), ccf.jsonCompatibleToBuf(sum));
        return { body: { sum } };
    }
    export function roll() {
        const rolled = Math.random();
        ccf.rpc.setClaimsDigest(ccf.crypto.digest('SHA-256', bytes(rolled)));
        return { body: { rolled } };
    }";

#[test]
fn what_was_rewritten_is_found() {
    let app = App::new(APP).write("POST /add", "add").write("POST /roll", "roll");
    let place = Place::new(&app);
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    let mut sent: Vec<TxId> = Vec::new();
    let user_id = crate::bundles::sign::id(&place.pem("user0_cert.pem"));
    let args = json!({ "user_id": user_id, "user_data": { "rich": false } });
    let decided = sandbox.propose(&json!({ "actions": [{ "name": "set_user_data", "args": args }] })).ok();
    sent.push(decided.txid().expect("a transaction"));
    for n in 1..=4 {
        sent.push(client.post("/app/add", &n.to_string()).ok().txid().expect("a transaction"));
    }
    let rolled = client.post("/app/roll", "").ok();
    sent.push(rolled.txid().expect("a transaction"));
    sandbox.stop();
    let (dir, honest) = (place.dir(), place.root().join("honest"));
    copy_dir(&dir, &honest);
    let rolled = rolled.text();
    let json_bytes = |value: serde_json::Value| value.to_string().into_bytes();
    let is_second = |writes: &WriteSet| writes.get("public:theirs", b"n") == Some(b"3");

    type Change<'a> = &'a dyn Fn(&mut WriteSet) -> bool;
    // What was changed; what a reader with the secret says; whether one without it sees anything.
    let cases: [(&str, Change, &str, bool); 17] = [
        ("nothing", &|_| true, "", false),
        (
            "an answer",
            &|writes| {
                answer(writes, "{\"sum\":3}", "{\"sum\":4}");
                true
            },
            "POST /app/add",
            false,
        ),
        (
            "an answer of chance",
            &|writes| {
                answer(writes, &rolled, "{\"rolled\":0.5}");
                true
            },
            "POST /app/roll",
            false,
        ),
        (
            "the seed",
            &|writes| {
                if writes.get(maps::OWN, maps::SEED_KEY).is_some() {
                    writes.put(maps::OWN, maps::SEED_KEY, [7; 32]);
                }
                true
            },
            "POST /app/roll",
            false,
        ),
        (
            "the seed is gone",
            &|writes| {
                if let Some(own) = writes.maps.get_mut(maps::OWN) {
                    own.writes.remove(maps::SEED_KEY);
                }
                true
            },
            "no seed, though the request draws from one",
            false,
        ),
        (
            "a seed too many",
            &|writes| {
                if is_second(writes) {
                    writes.put(maps::OWN, maps::SEED_KEY, [7; 32]);
                }
                true
            },
            "seed",
            false,
        ),
        (
            "a private row",
            &|writes| {
                if is_second(writes) {
                    writes.put("mine", *b"n", json_bytes(json!(1000)));
                }
                true
            },
            "POST /app/add",
            false,
        ),
        (
            "a public row",
            &|writes| {
                if is_second(writes) {
                    writes.put("public:theirs", *b"n", json_bytes(json!(1000)));
                }
                true
            },
            "POST /app/add",
            false,
        ),
        (
            "a row that nothing explains",
            &|writes| {
                if is_second(writes) {
                    writes.maps.remove(maps::OWN);
                }
                true
            },
            "nothing explains its write",
            false,
        ),
        (
            "the request",
            &|writes| {
                if is_second(writes) {
                    let row = writes.get(maps::OWN, maps::REQUEST_KEY).expect("a request").to_vec();
                    let mut request = machine::bundle::Request::decode(&row).expect("a request");
                    request.body = b"2000".to_vec();
                    writes.put(maps::OWN, maps::REQUEST_KEY, request.encode());
                }
                true
            },
            "POST /app/add",
            false,
        ),
        ("a request left out", &|writes| !is_second(writes), "POST /app/add", false),
        (
            "an app that nobody has decided on",
            &|writes| {
                if is_second(writes) {
                    writes.put("public:ccf.gov.modules", *b"/app.js", *b"export function add() { return { body: 'mine' } }");
                }
                true
            },
            "of /app.js in public:ccf.gov.modules",
            true,
        ),
        (
            "an app that is said to have come up",
            &|writes| {
                if is_second(writes) {
                    writes.put(maps::GLASSBOX, maps::IMAGE_KEY, *b"{\"time\":1}");
                }
                true
            },
            "of image in public:glassbox",
            true,
        ),
        (
            "a user that nobody has let in",
            &|writes| {
                if is_second(writes) {
                    *writes = WriteSet::new();
                    writes.put("public:ccf.gov.users.certs", *b"stranger", *b"PEM");
                }
                true
            },
            "nothing explains its write of stranger in public:ccf.gov.users.certs",
            true,
        ),
        (
            "what governance has decided",
            &|writes| {
                if writes.get("public:ccf.gov.users.info", user_id.as_bytes()).is_some() {
                    writes.put("public:ccf.gov.users.info", user_id.as_bytes(), *b"{\"user_data\":{\"rich\":true}}");
                }
                true
            },
            "in public:ccf.gov.users.info",
            true,
        ),
        (
            "a vote that was not held",
            &|writes| {
                let row = writes.get(maps::GLASSBOX, maps::REQUEST_KEY).map(<[u8]>::to_vec);
                if let Some(row) = row {
                    let mut request = machine::bundle::Request::decode(&row).expect("a request");
                    let at = request.body.windows(5).position(|window| window == b"false").expect("the decision");
                    request.body[at..at + 5].copy_from_slice(b"true ");
                    writes.put(maps::GLASSBOX, maps::REQUEST_KEY, request.encode());
                }
                true
            },
            "POST /gov/members/proposals:create",
            true,
        ),
        (
            "a member that is removed",
            &|writes| {
                if is_second(writes) {
                    writes.remove("public:ccf.gov.members.info", *b"somebody");
                }
                true
            },
            "of somebody in public:ccf.gov.members.info",
            true,
        ),
    ];
    for (what, change, said, without) in cases {
        copy_dir(&honest, &dir);
        forge(&dir, sent[0].seqno, change);
        for jobs in ["1", "2"] {
            let output = verify(&[path(&dir), "--jobs", jobs]);
            if said.is_empty() {
                assert_eq!(output.status.code(), Some(0), "{what}: {}", stderr(&output));
            } else {
                assert_eq!(output.status.code(), Some(1), "{what}: {}", stdout(&output));
                let text = stderr(&output);
                assert!(text.starts_with("✖Call log mismatch.\n   Mismatch on entry ") && text.contains(said), "{what}: {text}");
            }
            // Who cannot read the requests sees that governance did not ask for it.
            let output = verify(&[path(&dir.join("ledger")), "--jobs", jobs]);
            assert_eq!(output.status.code(), Some(i32::from(without)), "{what}: {}{}", stdout(&output), stderr(&output));
        }
    }
}

/// One flipped byte of a private part is found by everybody: its hash is in the tree.
#[test]
fn a_flipped_byte() {
    let app = App::new(APP).write("POST /add", "add");
    let place = Place::new(&app);
    let sandbox = place.serve(&[]);
    let mut client = sandbox.client();
    for n in 1..=20 {
        client.post("/app/add", &n.to_string()).ok();
    }
    sandbox.stop();
    let ledger = place.dir().join("ledger");
    let files = fs::read_dir(&ledger).expect("a folder").map(|entry| entry.expect("an entry").path());
    let chunk = files.filter(|file| !path(file).contains("index")).max_by_key(|file| fs::metadata(file).expect("a file").len());
    let chunk = chunk.expect("a chunk");
    let bytes = fs::read(&chunk).expect("a chunk");
    for part in 1..12 {
        let mut changed = bytes.clone();
        let at = bytes.len() * part / 12;
        changed[at] ^= 1;
        fs::write(&chunk, &changed).expect("written");
        for args in [&[path(&ledger)][..], &[path(&place.dir())]] {
            let output = verify(args);
            assert_eq!(output.status.code(), Some(1), "offset {at}: {}", stdout(&output));
        }
    }
    fs::write(&chunk, &bytes).expect("written");
    assert_eq!(verify(&[path(&ledger)]).status.code(), Some(0));
}
