//! What a sandbox leaves behind, and the documents that it serves, before others' readers.

use super::signer::Parliament;
use super::site::Site;
use super::tools::{attempt, built, output, python, script};
use crate::support::{run, stderr, stdout};
use serde_json::{Value, json};

#[test]
fn ccf_reads_the_ledger() {
    let parliament = Parliament::of_three(built());
    let site = &parliament.site;
    let user = site.person("user0");
    for n in 0..40 {
        site.post_as(&user, &format!("/app/log/{n}"), &format!("text {n}")).ok();
    }
    parliament.decide(json!([{ "name": "remove_js_app" }]));
    let place = parliament.site.audited();
    let ledger = place.dir().join("ledger");
    let validated = output(
        {
            let mut validate = script("validate.py");
            validate.arg(&ledger);
            validate
        },
        b"",
    );
    let counts: Vec<u64> =
        String::from_utf8_lossy(&validated).split_whitespace().map(|number| number.parse().expect("a number")).collect();
    let [transactions, signatures, _] = counts[..] else { panic!("{counts:?}") };
    assert!(transactions > 50 + signatures && signatures > 2, "{counts:?}");

    let read = |args: &[&str]| {
        let mut reader = python("read_ledger.py");
        reader.args(args).arg("--uncommitted").arg(&ledger);
        String::from_utf8_lossy(&output(reader, b"")).into_owned()
    };
    let digests = read(&["--digests-only"]);
    assert!(digests.contains(&format!("Found {signatures} signatures, and verified until")), "{digests}");
    let tables = read(&[]);
    for table in [
        "public:ccf.gov.members.certs",
        "public:ccf.gov.members.info",
        "public:ccf.gov.users.certs",
        "public:ccf.gov.users.info",
        "public:ccf.gov.service.info",
        "public:ccf.gov.nodes.info",
        "public:ccf.gov.constitution",
        "public:ccf.gov.modules",
        "public:ccf.gov.endpoints",
        "public:ccf.gov.proposals",
        "public:ccf.gov.proposals_info",
        "public:ccf.gov.cose_history",
        "public:ccf.gov.cose_recent_proposals",
        "public:ccf.gov.js_runtime_options",
        "public:ccf.gov.members.acks",
        "public:ccf.gov.interpreter.flush",
        "public:ccf.internal.signatures",
        "public:ccf.internal.cose_signatures",
        "public:ccf.internal.tree",
        "public:messages",
    ] {
        assert!(tables.contains(&format!("table \"{table}\"")), "{table}");
    }
    assert!(tables.contains("text 7"), "a public table is for everybody");
    assert!(!tables.contains("text 8") && !tables.contains("table \"messages\""), "a private one is not");

    // Who has only the ledger executes what is public, and is told what is not.
    let alone = place.root().join("alone");
    std::fs::create_dir_all(alone.join("ledger")).expect("a folder");
    for entry in std::fs::read_dir(&ledger).expect("a folder") {
        let path = entry.expect("an entry").path();
        std::fs::copy(&path, alone.join("ledger").join(path.file_name().expect("a name"))).expect("copied");
    }
    let blind = run(&["verify", &alone.to_string_lossy()]);
    let said = stdout(&blind);
    assert!(blind.status.success() && said.contains("Not executed without the ledger secret: "), "{said}{}", stderr(&blind));

    // One bit, in a private part, or anywhere.
    let chunk = std::fs::read_dir(&ledger).expect("a folder").next().expect("a chunk").expect("an entry").path();
    let bytes = std::fs::read(&chunk).expect("a chunk");
    for part in 1..6 {
        let mut changed = bytes.clone();
        changed[bytes.len() * part / 6] ^= 1;
        std::fs::write(&chunk, &changed).expect("it is written");
        let mut validate = script("validate.py");
        validate.arg(&ledger).arg("refused");
        let refused = attempt(&mut validate, b"");
        assert!(refused.status.success(), "part {part}: {}", String::from_utf8_lossy(&refused.stderr));
    }
}

#[test]
fn documents_are_valid() {
    let site = Site::serve(built(), &[]);
    let mut validate = script("openapi.py");
    for prefix in ["app", "gov", "node"] {
        let document = site.get(&format!("/{prefix}/api")).ok();
        let file = site.file(&format!("{prefix}.json"));
        std::fs::write(&file, &document.body).expect("it is written");
        validate.arg(file);
        let answer = site.ask(&format!("/{prefix}/api"), None, &["accept: text/html"], None);
        assert_eq!(answer.error().1, "UnsupportedContentType", "{}", answer.text());
    }
    output(validate, b"");
    let document = site.get("/app/api").ok().json();
    let metadata: Value = serde_json::from_slice(&std::fs::read(built().join("app.json")).expect("app.json")).expect("JSON");
    for (path, verbs) in metadata["endpoints"].as_object().expect("endpoints") {
        for (verb, endpoint) in verbs.as_object().expect("verbs") {
            let there = &document["paths"][path][verb];
            assert!(there.is_object(), "{verb} {path}");
            for (name, value) in endpoint["openapi"].as_object().expect("a block") {
                assert_eq!(there[name], *value, "{verb} {path}: what the app says of {name}");
            }
        }
    }
    // Another app.
    let banking = Site::serve(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/banking"), &[]);
    let mut validate = script("openapi.py");
    let file = site.file("banking.json");
    std::fs::write(&file, banking.get("/app/api").ok().body).expect("it is written");
    output(
        {
            validate.arg(file);
            validate
        },
        b"",
    );
    banking.audited();
    site.audited();
}
