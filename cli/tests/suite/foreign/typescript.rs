//! An app in TypeScript, with the package, and with libraries that know nothing of this place.

use super::site::Site;
use super::tools::{built, oracle, output, python};
use serde_json::{Value, json};

/// A value for each converter, near the edges of what it holds.
fn values() -> Value {
    json!({
        "bool": true, "int8": -128, "uint8": 255, "int16": -32768, "uint16": 65535, "int32": -2_147_483_648_i64,
        "uint32": 4_294_967_295_u64, "int64": "-9223372036854775808", "uint64": "18446744073709551615", "float32": -1.5,
        "float64": 0.1, "string": "größe 💡", "json": { "x": 1, "y": [1, 2.5] }, "checkedJson": { "x": -1, "y": [] },
        "uint8Array": [0, 255], "int32Array": [-1, 1], "float64Array": [0.1, -1e300], "arrayBuffer": [0, 1, 255],
    })
}

/// What no converter takes.
fn wrong() -> Value {
    json!({
        "bool": 1, "int8": 128, "uint8": -1, "int16": 32768, "uint16": 65536, "int32": 2_147_483_648_i64, "uint32": -1,
        "int64": "9223372036854775808", "uint64": "-1", "float32": "1", "float64": "1", "string": 1,
    })
}

#[test]
fn every_converter() {
    let site = Site::serve(built(), &[]);
    let written = site.post("/app/converters", &values()).ok().json();
    let refused = site.post("/app/converters", &wrong()).ok().json();
    let request = |body| json!({ "module": "kv.js", "name": "convert", "body": body });
    let in_node = oracle(&json!([request(values()), request(wrong())]));
    assert_eq!(written, in_node[0], "the bytes in the tables are those of the package's own emulator");
    assert_eq!(refused, in_node[1]);
    assert_eq!(written["int64"]["bytes"], "0000000000000080");
    assert_eq!(written["float64"]["bytes"], "9a9999999999b93f");
    for (name, plain) in values().as_object().expect("an object") {
        assert_eq!(written[name]["value"], *plain, "{name}");
        let read = site.get(&format!("/app/converters/{name}")).ok().json();
        // Some of what was refused is a value after all: then it stands in the table now.
        let last = refused.get(name).filter(|shown| shown.get("error").is_none()).unwrap_or(&written[name]);
        assert_eq!(read, *last, "{name}, in a request of its own");
    }

    let first = site.post("/app/typed", &json!(null)).ok();
    let second = site.post("/app/typed", &json!(null)).ok().json();
    let expected = json!({
        "chained": true,
        "seen": [[1, { "x": 1, "y": [1] }, true], [2, { "x": 2, "y": [1, 2] }, true], [3, { "x": 3, "y": [] }, true]],
        "has": [true, false, true, false], "missing": true, "sizes": [2, 1], "before": null, "members": ["a", "b"],
    });
    assert_eq!(first.json(), expected);
    assert_eq!(second["before"], json!(first.txid().expect("it was written").seqno));
    site.audited();
}

#[test]
fn libraries_that_know_nothing_of_this_place() {
    let site = Site::serve(built(), &[]);
    let user = site.person("user0");
    // A token, signed by openssl with a P-256 key of its own.
    let (key, cert) = (site.file("key.pem"), site.file("cert.pem"));
    let mut command =
        super::tools::openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /C=DE/CN=jws");
    command.arg("-keyout").arg(&key).arg("-out").arg(&cert);
    output(command, b"");
    let certificate = std::fs::read_to_string(&cert).expect("a certificate");
    let token = output(
        {
            let mut sign = python("python");
            sign.args(["-c", SIGN_TOKEN]).arg(&key);
            sign
        },
        b"",
    );
    let token = String::from_utf8(token).expect("text");
    let body = json!({ "token": token.trim(), "certificate": certificate });
    let answer = site.post("/app/libraries", &body).ok().json();
    let url = "https://user@a.example:81/c/../d?x=1&y=%20z&x=2#h";
    let polyfilled = |_| site.ask("/app/polyfilled", None, &[], Some(url.as_bytes())).ok().json();
    let in_node = oracle(&json!([
        { "module": "libraries.js", "name": "use", "body": body },
        { "module": "polyfilled.js", "name": "use", "body": url },
    ]));
    assert_eq!(answer, in_node[0]);
    assert_eq!((&answer["valid"], &answer["subject"]), (&json!(true), &json!("/C=DE/CN=jws")));
    assert_eq!(answer["mac"], "f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8");
    // Twice: the interpreter is used again.
    for body in [0, 1].map(polyfilled) {
        assert_eq!(body, in_node[1]);
    }
    assert_eq!(in_node[1]["cloned"], true);

    let text = site.ask("/app/text", None, &["content-type: text/plain"], Some("aé💡".as_bytes())).ok();
    assert_eq!((text.text().as_str(), text.header("x-bytes")), ("aé💡", Some("7")));
    let report = site.post("/app/snp", &json!({ "evidence": "00", "endorsements": "00" }));
    assert_eq!((report.status, &report.json()["name"], &report.json()["global"]), (400, &json!("RangeError"), &json!("object")));
    assert_eq!(site.get_as(&user, "/app/user").ok().json()["id"], user.id());

    // With a map in the module, a trace names the place in TypeScript.
    let source = include_str!("app/src/people.ts");
    let line = source.lines().position(|line| line.contains("new TypeError")).expect("it is there") + 1;
    let broken = site.post("/app/broken", &json!({ "because": "größe" }));
    let detail = &broken.json()["error"]["details"][0];
    assert_eq!((broken.status, &detail["message"]), (500, &json!("TypeError: größe")));
    assert!(detail["trace"].as_str().is_some_and(|trace| trace.contains(&format!("people.ts:{line}"))), "{detail}");
    site.audited();
}

/// `{"sub":"a"}` as a token of ES256.
const SIGN_TOKEN: &str = r#"
import base64, sys
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
b64 = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
key = serialization.load_pem_private_key(open(sys.argv[1], "rb").read(), None)
text = b64(b'{"alg":"ES256","typ":"JWT"}') + b"." + b64(b'{"sub":"a"}')
r, s = utils.decode_dss_signature(key.sign(text, ec.ECDSA(hashes.SHA256())))
print((text + b"." + b64(r.to_bytes(32, "big") + s.to_bytes(32, "big"))).decode())
"#;
