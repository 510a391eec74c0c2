//! Callers with certificates that openssl made.

use super::site::{Pair, Site};
use super::tools::{built, openssl, output, python};
use serde_json::json;
use std::path::Path;

/// A key and a certificate that it signs itself.
pub fn self_signed(folder: &Path, name: &str, options: &str, validity: &str) -> Pair {
    let pair = Pair::of(folder, name);
    let mut command = openssl(&format!("req -x509 -nodes {options} {validity} -subj /CN={name}"));
    command.arg("-keyout").arg(&pair.key).arg("-out").arg(&pair.cert);
    output(command, b"");
    pair
}

pub const P256: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "-newkey ec -pkeyopt ec_paramgen_curve:P-384";
const RSA: &str = "-newkey rsa:2048";
const TWO_DAYS: &str = "-days 2";

/// Some member proposes; a sandbox accepts.
fn accepted(site: &Site, actions: serde_json::Value) {
    let proposal = json!({ "actions": actions }).to_string();
    let file = site.file("proposal.json");
    std::fs::write(&file, proposal).expect("it is written");
    let member = site.person("member0");
    let mut sign = python("ccf_cose_sign1");
    sign.args(["--ccf-gov-msg-type", "proposal", "--ccf-gov-msg-created_at", &super::signer::now()]).arg("--content").arg(file);
    sign.arg("--signing-key").arg(member.key).arg("--signing-cert").arg(member.cert);
    let body = output(sign, b"");
    let target = "/gov/members/proposals:create?api-version=2024-07-01";
    let answer = site.ask(target, None, &["content-type: application/cose"], Some(&body)).ok();
    assert_eq!(answer.json()["proposalState"], "Accepted", "{}", answer.text());
}

#[test]
fn users_and_strangers() {
    let site = Site::serve(built(), &[]);
    let folder = site.place.root().to_owned();
    let users = [("p256", P256), ("p384", P384), ("rsa", RSA)].map(|(name, key)| self_signed(&folder, name, key, TWO_DAYS));
    let stranger = self_signed(&folder, "stranger", P256, TWO_DAYS);
    let set =
        |pair: &Pair, data: serde_json::Value| json!({ "name": "set_user", "args": { "cert": pair.pem(), "user_data": data } });
    for user in &users {
        assert_eq!(site.get_as(user, "/app/user").status, 401, "not yet a user");
    }
    accepted(&site, json!(users.iter().enumerate().map(|(at, user)| set(user, json!({ "number": at }))).collect::<Vec<_>>()));
    for (at, user) in users.iter().enumerate() {
        let said = site.get_as(user, "/app/user?a=%20b&c").ok().json();
        let expected = json!({
            "policy": "user_cert", "id": user.id(), "data": { "number": at }, "cert": user.pem(), "method": "GET",
            "path": "/app/user", "route": "/app/user", "query": "a=%20b&c", "url": "/app/user?a=%20b&c",
        });
        assert_eq!(said, expected);
        assert_eq!(site.get_as(user, "/app/anybody").ok().json()["policy"], "user_cert");
        let refused = site.get_as(user, "/app/member");
        assert_eq!(refused.status, 401);
        assert_eq!(refused.json()["error"]["details"][0]["message"], "Could not find matching member certificate");
    }
    assert_eq!(site.get_as(&stranger, "/app/anybody").ok().json()["policy"], "any_cert");
    assert_eq!(site.get("/app/anybody").ok().json()["policy"], "no_auth");
    let member = site.person("member0");
    assert_eq!(site.get_as(&member, "/app/member").ok().json()["id"], member.id());
    let reason = |pair: Option<&Pair>| {
        let refused = site.ask("/app/user", pair, &[], None);
        assert_eq!(refused.status, 401, "{}", refused.text());
        let error = &refused.json()["error"];
        assert_eq!(
            (&error["code"], &error["message"]),
            (&json!("InvalidAuthenticationInfo"), &json!("Invalid authentication credentials."))
        );
        assert_eq!(
            (&error["details"][0]["auth_policy"], error["details"].as_array().map(Vec::len)),
            (&json!("user_cert"), Some(1))
        );
        error["details"][0]["message"].as_str().expect("a message").to_owned()
    };
    assert_eq!(reason(None), "No caller user certificate");
    assert_eq!(reason(Some(&stranger)), "Could not find matching user certificate");

    // Signed by somebody, not by itself; and one with the same key and another certificate is another user.
    let mut issue = openssl("x509 -req -days 2 -CAcreateserial -in /dev/stdin");
    let mut request = openssl("req -new -subj /CN=issued -key");
    request.arg(&users[0].key);
    let request = output(request, b"");
    let issued = Pair { cert: folder.join("issued_cert.pem"), key: users[0].key.clone() };
    issue.arg("-CA").arg(&users[1].cert).arg("-CAkey").arg(&users[1].key).arg("-out").arg(&issued.cert);
    output(issue, &request);
    assert_eq!(reason(Some(&issued)), "Could not find matching user certificate");
    accepted(&site, json!([set(&issued, json!(null)), { "name": "remove_user", "args": { "user_id": users[2].id() } }]));
    assert_eq!(site.get_as(&issued, "/app/user").ok().json()["data"], json!(null));
    assert_eq!(reason(Some(&users[2])), "Could not find matching user certificate");

    // openssl's `req` cannot date back: another tool of it can.
    let dated = |name: &str, from: &str, to: &str| {
        let pair = Pair::of(&folder, name);
        let mut make = python("python");
        make.args(["-c", DATED, from, to]).arg(&pair.cert).arg(&pair.key);
        output(make, b"");
        pair
    };
    let (expired, early) = (dated("expired", "-9", "-1"), dated("early", "1", "9"));
    accepted(&site, json!([set(&expired, json!(null)), set(&early, json!(null))]));
    let (late, soon) = (reason(Some(&expired)), reason(Some(&early)));
    assert!(late.starts_with("Current time ") && late.contains(" is after certificate's Not After validity period "), "{late}");
    assert!(soon.starts_with("Current time ") && soon.contains(" is before certificate's Not Before validity period "), "{soon}");

    // A key that is not the certificate's proves nothing.
    assert!(site.refuses(&Pair { cert: users[0].cert.clone(), key: users[1].key.clone() }));

    // What a user signs is a body, too.
    let signed = {
        let mut sign = python("python");
        sign.args(["-c", SIGN]).arg(&users[0].key).arg(&users[0].cert);
        output(sign, b"")
    };
    let answer = site.ask("/app/user", None, &["content-type: application/cose"], Some(&signed)).ok();
    assert_eq!(answer.json(), json!({ "id": users[0].id(), "content": "signed text" }));

    tokens(&site, &folder);
    site.audited();
}

/// Tokens of an issuer whose key governance knows.
fn tokens(site: &Site, folder: &Path) {
    let issuer = self_signed(folder, "issuer", RSA, TWO_DAYS);
    let token = |audience: &str| {
        let mut sign = python("python");
        sign.args(["-c", TOKEN, audience]).arg(&issuer.key);
        String::from_utf8(output(sign, b"")).expect("text").trim().to_owned()
    };
    let mut der = openssl("x509 -outform DER -in");
    der.arg(&issuer.cert);
    let x5c = {
        let mut base64 = openssl("base64 -A");
        base64.arg("-e");
        String::from_utf8(output(base64, &output(der, b""))).expect("text")
    };
    let ask = |token: &str| site.ask("/app/token", None, &[&format!("authorization: Bearer {token}")], None);
    assert_eq!(ask(&token("a")).json()["error"]["details"][0]["message"], "JWT signing key not found for kid k1");
    let jwks = json!({ "keys": [{ "kty": "RSA", "kid": "k1", "x5c": [x5c] }] });
    accepted(
        site,
        json!([{ "name": "set_jwt_issuer", "args": { "issuer": "https://issuer.example", "auto_refresh": false, "jwks": jwks } }]),
    );
    let said = ask(&token("größe")).ok().json();
    assert_eq!((&said["issuer"], &said["payload"]["aud"]), (&json!("https://issuer.example"), &json!("größe")));
    let forged = token("a").replacen(".e", ".f", 1);
    let refused = ask(&forged);
    assert_eq!(refused.status, 401);
    assert_eq!(refused.header("www-authenticate"), Some(r#"Bearer realm="JWT bearer token access", error="invalid_token""#));
}

/// A developer deploys without governance: by certificate, and by a signed request, which works once.
#[test]
fn a_developer_deploys() {
    let site = Site::serve(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/banking"), &[]);
    let developer = site.person("user0");
    let bundle = |text: &str| {
        let endpoint = json!({
            "js_module": "a.js", "js_function": "f", "forwarding_required": "never", "authn_policies": ["no_auth"], "mode": "readonly",
        });
        let module = format!("export function f() {{ return {{ body: '{text}' }} }}");
        json!({ "metadata": { "endpoints": { "/text": { "get": endpoint } } }, "modules": [{ "name": "a.js", "module": module }] })
    };
    let deploy = |who: Option<&Pair>, kind: &str, body: &[u8]| {
        let curl = ["--request", "PUT"];
        site.ask_with(&curl, "/app/custom_endpoints", who, &[&format!("content-type: {kind}")], Some(body))
    };
    let by_certificate = bundle("by certificate").to_string();
    assert_eq!(deploy(None, "application/json", by_certificate.as_bytes()).status, 401);
    assert_eq!(deploy(Some(&developer), "application/json", by_certificate.as_bytes()).status, 204);
    assert_eq!(site.get("/app/text").ok().text(), "by certificate");
    let signed = |text: &str| {
        let mut sign = python("python");
        sign.args(["-c", DEVELOP]).arg(&developer.key).arg(&developer.cert);
        output(sign, bundle(text).to_string().as_bytes())
    };
    let first = signed("signed");
    assert_eq!(deploy(None, "application/cose", &first).status, 204);
    assert_eq!(site.get("/app/text").ok().text(), "signed");
    assert_eq!(deploy(None, "application/cose", &signed("signed again")).status, 204);
    for replay in [&first, &super::governance::twin(&first)] {
        let (status, _, message) = deploy(None, "application/cose", replay).error();
        assert_eq!((status, message.as_str()), (400, "This signed request was made before"));
    }
    assert_eq!(site.get("/app/text").ok().text(), "signed again");
    site.audited();
}

/// A bundle, signed.
const DEVELOP: &str = r#"
import sys, time, ccf.cose
key, cert = (open(name).read() for name in sys.argv[1:])
header = {"app.msg.type": "custom_endpoints", "app.msg.created_at": int(time.time())}
sys.stdout.buffer.write(ccf.cose.create_cose_sign1(sys.stdin.buffer.read(), key, cert, header))
"#;

/// A certificate that is valid from and until so many days from now.
const DATED: &str = r#"
import datetime, sys
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
start, end, cert, key_file = sys.argv[1:]
key = ec.generate_private_key(ec.SECP256R1())
name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "dated")])
now = datetime.datetime.now(datetime.timezone.utc)
built = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(7)
built = built.not_valid_before(now + datetime.timedelta(days=int(start))).not_valid_after(now + datetime.timedelta(days=int(end)))
open(cert, "wb").write(built.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
encoding = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
open(key_file, "wb").write(key.private_bytes(*encoding))
"#;

/// A user's signed request.
const SIGN: &str = r#"
import sys, ccf.cose
key, cert = (open(name).read() for name in sys.argv[1:])
sys.stdout.buffer.write(ccf.cose.create_cose_sign1(b"signed text", key, cert))
"#;

/// A token of RS256.
const TOKEN: &str = r#"
import base64, json, sys, time
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
b64 = lambda data: base64.urlsafe_b64encode(data).rstrip(b"=")
key = serialization.load_pem_private_key(open(sys.argv[2], "rb").read(), None)
claims = {"iss": "https://issuer.example", "aud": sys.argv[1], "exp": int(time.time()) + 600, "nbf": int(time.time()) - 600}
text = b64(b'{"alg":"RS256","typ":"JWT","kid":"k1"}') + b"." + b64(json.dumps(claims).encode())
print((text + b"." + b64(key.sign(text, padding.PKCS1v15(), hashes.SHA256()))).decode())
"#;
