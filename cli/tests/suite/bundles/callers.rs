//! Who calls: certificates, tokens, signed bodies, and several of them at once.

use super::client::{Answer, Client};
use super::place::{App, Place};
use super::sign::{self, base64url, cose, now_s, openssl, person};
use crate::support::stderr;
use crate::verify::{path, verify};
use serde_json::{Value, json};
use std::path::Path;

fn app() -> App {
    let with = |app: App, path: &str, policies: Value| {
        let read = json!({ "authn_policies": policies, "mode": "readonly" });
        let write = json!({ "authn_policies": policies });
        app.endpoint(&format!("GET {path}"), "who", read).endpoint(&format!("POST {path}"), "who", write)
    };
    let app = App::new(include_str!("apps/who.js"));
    [
        ("/user", json!(["user_cert"])),
        ("/member", json!(["member_cert"])),
        ("/any", json!(["any_cert"])),
        ("/none", json!([])),
        ("/nobody", json!(["no_auth"])),
        ("/jwt", json!(["jwt"])),
        ("/cose", json!(["user_cose_sign1"])),
        ("/either", json!(["member_cert", "user_cert", "no_auth"])),
        ("/both", json!([{ "all_of": ["user_cert", "jwt"] }])),
        ("/signed", json!([{ "all_of": ["user_cose_sign1", "user_cert"] }])),
        ("/many", json!(["member_cert", { "all_of": ["user_cert", "jwt"] }, "jwt"])),
        ("/unknown", json!(["user_cert", "magic"])),
    ]
    .into_iter()
    .fold(app, |app, (path, policies)| with(app, path, policies))
}

/// The reasons of a 401, policy by policy, and its challenge.
fn denied(answer: &Answer) -> (Vec<(String, String)>, Option<String>) {
    let error = &answer.json()["error"];
    assert_eq!(answer.status, 401, "{error}");
    assert_eq!(
        (&error["code"], &error["message"]),
        (&json!("InvalidAuthenticationInfo"), &json!("Invalid authentication credentials."))
    );
    assert_eq!(answer.txid(), None);
    let details = error["details"].as_array().expect("details").iter().map(|detail| {
        assert_eq!(detail["code"], "InvalidAuthenticationInfo");
        let text = |name: &str| detail[name].as_str().expect("a text").to_owned();
        (text("auth_policy"), text("message"))
    });
    (details.collect(), answer.header("www-authenticate").map(str::to_owned))
}

fn reason(answer: &Answer) -> String {
    let (details, _) = denied(answer);
    assert_eq!(details.len(), 1, "{details:?}");
    details[0].1.clone()
}

/// The same answer whether the endpoint may write or not.
fn both(client: &mut Client, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
    let [read, write] = ["GET", "POST"].map(|method| client.send(method, path, headers, body));
    let same = |answer: &Answer| {
        let text = answer.text();
        // The time may go on between the two.
        text.split("Current time").next().map(str::to_owned)
    };
    assert_eq!((read.status, same(&read)), (write.status, same(&write)), "{path}");
    read
}

#[test]
fn certificates() {
    let place = Place::new(&app());
    let sandbox = place.serve(&["--initial-user-count", "2"]);
    let (cert, member_cert) = (place.pem("user1_cert.pem"), place.pem("member0_cert.pem"));
    let (id, member_id) = (sign::id(&cert), sign::id(&member_cert));
    let user = json!({ "policy": "user_cert", "id": id, "data": { "isAdmin": true }, "cert": cert });
    let member = json!({ "policy": "member_cert", "id": member_id, "data": null, "cert": member_cert });

    let mut client = sandbox.client_of("user1");
    assert_eq!(both(&mut client, "/app/user", &[], b"").ok().json(), user);
    assert_eq!(both(&mut client, "/app/either", &[], b"").ok().json(), user);
    assert_eq!(both(&mut client, "/app/any", &[], b"").ok().json(), json!({ "policy": "any_cert", "cert": cert }));
    assert_eq!(both(&mut client, "/app/none", &[], b"").ok().json(), Value::Null);
    assert_eq!(both(&mut client, "/app/nobody", &[], b"").ok().json(), json!({ "policy": "no_auth" }));
    assert_eq!(reason(&both(&mut client, "/app/member", &[], b"")), "Could not find matching member certificate");
    let unknown = both(&mut client, "/app/unknown", &[], b"");
    assert_eq!(unknown.error(), (500, "InternalError".into(), "Unknown auth policy: magic".into()));

    let mut client = sandbox.client_of("member0");
    assert_eq!(both(&mut client, "/app/member", &[], b"").ok().json(), member);
    assert_eq!(both(&mut client, "/app/either", &[], b"").ok().json(), member);
    assert_eq!(reason(&both(&mut client, "/app/user", &[], b"")), "Could not find matching user certificate");

    let mut client = sandbox.client();
    assert_eq!(reason(&both(&mut client, "/app/user", &[], b"")), "No caller user certificate");
    assert_eq!(reason(&both(&mut client, "/app/member", &[], b"")), "No caller member certificate");
    assert_eq!(reason(&both(&mut client, "/app/any", &[], b"")), "No caller certificate");
    assert_eq!(both(&mut client, "/app/either", &[], b"").ok().json(), json!({ "policy": "no_auth" }));

    // A stranger's certificate is somebody's, and no user's; validity counts.
    let (stranger, key) = person("stranger", -1, 1);
    let mut client = sandbox.client_with(&stranger, &key);
    assert_eq!(reason(&both(&mut client, "/app/user", &[], b"")), "Could not find matching user certificate");
    let caller = both(&mut client, "/app/any", &[], b"").ok().json();
    assert_eq!(caller, json!({ "policy": "any_cert", "cert": stranger.replace("\r\n", "\n") }));
    for (from, to, said) in [
        (-10, -1, "is after certificate's Not After validity period "),
        (1, 10, "is before certificate's Not Before validity period "),
    ] {
        let (cert, key) = person("a user", from, to);
        sandbox.act("set_user", json!({ "cert": cert }));
        let mut client = sandbox.client_with(&cert, &key);
        for path in ["/app/user", "/app/any"] {
            let why = reason(&both(&mut client, path, &[], b""));
            assert!(why.starts_with("Current time ") && why.contains(said), "{why}");
        }
    }

    // Governance decides who is a user, and what is known of him; on a connection that stays, from the next request on.
    let mut client = sandbox.client_of("user1");
    sandbox.act("set_user_data", json!({ "user_id": id, "user_data": { "roles": ["röle"] } }));
    assert_eq!(client.get("/app/user").ok().json()["data"], json!({ "roles": ["röle"] }));
    sandbox.act("remove_user", json!({ "user_id": id }));
    assert_eq!(reason(&both(&mut client, "/app/user", &[], b"")), "Could not find matching user certificate");
    sandbox.act("set_user", json!({ "cert": cert }));
    assert_eq!(client.get("/app/user").ok().json()["data"], Value::Null);

    // What a client sends as a header counts for nothing.
    let mut client = sandbox.client();
    let forged = [("x-client-cert", "anything"), ("x-ssl-client-verify", "SUCCESS")];
    assert_eq!(reason(&both(&mut client, "/app/user", &forged, b"")), "No caller user certificate");
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Signs tokens with openssl.
struct Issuer<'a> {
    folder: &'a Path,
    kid: &'a str,
}

impl Issuer<'_> {
    /// A new RSA key, and its public half as a JWK.
    fn new<'a>(folder: &'a Path, kid: &'a str) -> (Issuer<'a>, Value) {
        openssl(folder, &["genrsa", "-out", &format!("{kid}.pem"), "2048"]);
        let modulus = openssl(folder, &["rsa", "-in", &format!("{kid}.pem"), "-noout", "-modulus"]);
        let modulus = String::from_utf8(modulus).expect("hex");
        let digits = modulus.trim().strip_prefix("Modulus=").expect("a modulus").as_bytes().to_vec();
        let n: Vec<u8> = digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16).expect("hex"))
            .collect();
        (Issuer { folder, kid }, json!({ "kty": "RSA", "kid": kid, "n": base64url(&n), "e": "AQAB" }))
    }

    fn signature(&self, signed: &str) -> String {
        std::fs::write(self.folder.join("signed"), signed).expect("written");
        base64url(&openssl(self.folder, &["dgst", "-sha256", "-sign", &format!("{}.pem", self.kid), "signed"]))
    }

    fn token(&self, header: &Value, payload: &Value) -> String {
        let signed = format!("{}.{}", base64url(header.to_string().as_bytes()), base64url(payload.to_string().as_bytes()));
        format!("{signed}.{}", self.signature(&signed))
    }
}

fn bearer(client: &mut Client, path: &str, token: &str) -> Answer {
    both(client, path, &[("authorization", &format!("Bearer {token}"))], b"")
}

#[test]
fn tokens() {
    let place = Place::new(&app());
    let sandbox = place.serve(&[]);
    let (issuer, jwk) = Issuer::new(place.root(), "key-1");
    let (other, _) = Issuer::new(place.root(), "key-2");
    let url = "https://issuer.example/v2";
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" });
    let payload = json!({ "iss": url, "sub": "alice", "exp": now_s() + 3600, "nbf": now_s() - 10, "groups": ["a", "ö"] });
    let token = issuer.token(&header, &payload);
    let mut client = sandbox.client();
    assert_eq!(reason(&bearer(&mut client, "/app/jwt", &token)), "JWT signing key not found for kid key-1");
    sandbox.act("set_jwt_issuer", json!({ "issuer": url, "auto_refresh": false }));
    sandbox.act("set_jwt_public_signing_keys", json!({ "issuer": url, "jwks": { "keys": [jwk] } }));

    let caller = bearer(&mut client, "/app/jwt", &token).ok().json();
    assert_eq!(caller, json!({ "policy": "jwt", "jwt": { "keyIssuer": url, "header": header, "payload": payload } }));

    let without = |name: &str| {
        let mut payload = payload.clone();
        payload.as_object_mut().expect("an object").remove(name);
        issuer.token(&header, &payload)
    };
    let with = |name: &str, value: Value| {
        let mut payload = payload.clone();
        payload[name] = value;
        issuer.token(&header, &payload)
    };
    let headed = |changes: Value| {
        let mut header = header.clone();
        for (name, value) in changes.as_object().expect("an object") {
            header[name] = value.clone();
        }
        issuer.token(&header, &payload)
    };
    let parts: Vec<&str> = token.split('.').collect();
    let past = now_s() - 5;
    let unsigned = format!("{}.{}.", base64url(json!({ "alg": "none", "kid": "key-1" }).to_string().as_bytes()), parts[1]);
    let cases = [
        (with("exp", past.into()), format!("Token's Expiration Time (exp) claim {past}")),
        (with("nbf", (now_s() + 3600).into()), "is before token's Not Before (nbf) claim ".into()),
        (without("exp"), "JWT payload is missing required field: exp".into()),
        (without("iss"), "JWT payload is missing required field: iss".into()),
        (headed(json!({ "kid": "key-9" })), "JWT signing key not found for kid key-9".into()),
        (other.token(&header, &payload), "Signature verification failed".into()),
        (format!("{}.{}.{}", parts[0], base64url(b"{}"), parts[2]), "JWT payload is missing required field: ".into()),
        (format!("{}.{}", parts[0], parts[1]), "Malformed JWT: must contain exactly 3 parts".into()),
        (format!("{token}.x"), "Malformed JWT: must contain exactly 3 parts".into()),
        ("a.b.c".into(), String::new()),
        ("..".into(), String::new()),
        (unsigned, String::new()),
        (headed(json!({ "alg": "none" })), String::new()),
        (headed(json!({ "alg": "HS256" })), String::new()),
        (headed(json!({ "alg": "ES256" })), String::new()),
        (headed(json!({ "kid": 7 })), String::new()),
    ];
    for (token, said) in cases {
        let why = reason(&bearer(&mut client, "/app/jwt", &token));
        assert!(why.to_lowercase().contains(&said.to_lowercase()), "{why}, not {said}");
    }
    // The public key taken for a shared secret.
    let spki = openssl(place.root(), &["rsa", "-in", "key-1.pem", "-pubout"]);
    std::fs::write(place.root().join("spki"), &spki).expect("written");
    let signed = format!("{}.{}", base64url(json!({ "alg": "HS256", "kid": "key-1" }).to_string().as_bytes()), parts[1]);
    std::fs::write(place.root().join("signed"), &signed).expect("written");
    let key = format!("hexkey:{}", spki.iter().map(|byte| format!("{byte:02x}")).collect::<String>());
    let mac = openssl(place.root(), &["dgst", "-sha256", "-mac", "HMAC", "-macopt", &key, "-binary", "signed"]);
    denied(&bearer(&mut client, "/app/jwt", &format!("{signed}.{}", base64url(&mac))));

    let challenge = "Bearer realm=\"JWT bearer token access\", error=\"invalid_token\"";
    for (value, said) in [
        (None, "Missing authorization header"),
        (Some("Bearer"), "Authorization header only contains one field"),
        (Some("Basic abc"), "Authorization header does not have Bearer scheme"),
    ] {
        let headers: Vec<(&str, &str)> = value.map(|value| ("authorization", value)).into_iter().collect();
        let answer = both(&mut client, "/app/jwt", &headers, b"");
        assert_eq!(denied(&answer), (vec![("jwt".into(), said.into())], Some(challenge.into())));
    }

    // A token alone is not both, nor is a certificate.
    let authorization = [("authorization", format!("Bearer {token}"))];
    let authorization = [(authorization[0].0, authorization[0].1.as_str())];
    let (details, _) = denied(&both(&mut client, "/app/both", &authorization, b""));
    assert_eq!(details, [("jwt+user_cert".to_owned(), "user_cert:No caller user certificate".to_owned())]);
    let mut user = sandbox.client_of("user0");
    let (details, _) = denied(&both(&mut user, "/app/both", &[], b""));
    assert_eq!(details, [("jwt+user_cert".to_owned(), "jwt:Missing authorization header".to_owned())]);
    let caller = both(&mut user, "/app/both", &authorization, b"").ok().json();
    let cert = place.pem("user0_cert.pem");
    assert_eq!(caller["policy"], json!(["jwt", "user_cert"]));
    assert_eq!(caller["jwt"], json!({ "policy": "jwt", "jwt": { "keyIssuer": url, "header": header, "payload": payload } }));
    assert_eq!(caller["user_cert"]["id"], sign::id(&cert));
    // In order of preference.
    assert_eq!(both(&mut user, "/app/many", &authorization, b"").ok().json()["policy"], json!(["jwt", "user_cert"]));
    assert_eq!(both(&mut client, "/app/many", &authorization, b"").ok().json()["policy"], "jwt");
    let (details, _) = denied(&both(&mut client, "/app/many", &[], b""));
    let policies: Vec<&str> = details.iter().map(|(policy, _)| policy.as_str()).collect();
    assert_eq!(policies, ["member_cert", "jwt+user_cert", "jwt"]);

    // A key that is gone verifies nothing any more.
    sandbox.act("remove_jwt_issuer", json!({ "issuer": url }));
    assert_eq!(reason(&bearer(&mut client, "/app/jwt", &token)), "JWT signing key not found for kid key-1");
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// A key may be bound to one tenant of its issuer.
#[test]
fn tokens_of_tenants() {
    let place = Place::new(&app());
    let sandbox = place.serve(&[]);
    let (issuer, mut jwk) = Issuer::new(place.root(), "key-1");
    let host = "https://login.microsoftonline.com";
    jwk["issuer"] = format!("{host}/{{tenantid}}/v2.0").into();
    let metadata = format!("{host}/common/v2.0");
    sandbox.act("set_jwt_issuer", json!({ "issuer": metadata, "auto_refresh": false, "jwks": { "keys": [jwk] } }));
    let header = json!({ "alg": "RS256", "kid": "key-1" });
    let mut client = sandbox.client();
    let mut ask = |iss: &str, tid: Value| {
        let payload = json!({ "iss": iss, "tid": tid, "exp": now_s() + 60 });
        bearer(&mut client, "/app/jwt", &issuer.token(&header, &payload))
    };
    assert_eq!(ask(&format!("{host}/mine/v2.0"), "mine".into()).ok().json()["jwt"]["keyIssuer"], metadata);
    let why = reason(&ask(&format!("{host}/mine/v2.0"), "other".into()));
    assert_eq!(why, format!("Kid key-1 failed issuer constraint validation {host}/{{tenantid}}/v2.0"));
    assert!(
        reason(&ask("https://evil.example/mine/v2.0", "mine".into()))
            .starts_with("Kid key-1 failed issuer constraint validation ")
    );
    sandbox.stop();
}

#[test]
fn signed_bodies() {
    let place = Place::new(&app());
    let sandbox = place.serve(&[]);
    let (cert, key) = (place.pem("user0_cert.pem"), place.pem("user0_privk.pem"));
    let id = sign::id(&cert);
    let typed = [("content-type", "application/cose")];
    let mut client = sandbox.client();
    let message = cose(&key, &cert, Vec::new(), "größe".as_bytes());
    let caller = both(&mut client, "/app/cose", &typed, &message).ok().json();
    let expected = json!({
        "policy": "user_cose_sign1", "id": id, "data": { "isAdmin": true }, "cert": cert, "cose": { "content": "größe" },
    });
    assert_eq!(caller, expected);
    // What else the signer says in the header is his business.
    let more = vec![("ccf.gov.msg.type", "proposal".into()), ("app", 7.into())];
    assert_eq!(both(&mut client, "/app/cose", &typed, &cose(&key, &cert, more, b"")).ok().json()["cose"]["content"], "");

    let challenge = Some("COSE-SIGN1 realm=\"Signed request access\"".to_owned());
    let said = |why: &str| (vec![("user_cose_sign1".to_owned(), why.to_owned())], challenge.clone());
    assert_eq!(denied(&both(&mut client, "/app/cose", &[], &message)), said("Missing content-type header"));
    let other = [("content-type", "application/json")];
    assert_eq!(denied(&both(&mut client, "/app/cose", &other, &message)), said("Content type is not set to application/cose"));
    let (member_cert, member_key) = (place.pem("member0_cert.pem"), place.pem("member0_privk.pem"));
    let stranger = cose(&member_key, &member_cert, Vec::new(), b"x");
    assert_eq!(denied(&both(&mut client, "/app/cose", &typed, &stranger)), said("Signer is not a known user"));
    let pretender = cose(&member_key, &cert, Vec::new(), b"x");
    assert_eq!(denied(&both(&mut client, "/app/cose", &typed, &pretender)), said("Failed to validate COSE Sign1"));
    assert_eq!(denied(&both(&mut client, "/app/cose", &typed, &sign::spoilt(&message))), said("Failed to validate COSE Sign1"));
    // What is no message ends as an internal error, as it does in CCF.
    for garbage in [&b"garbage"[..], b"", &message[..message.len() - 1], &[&message[..], b"x"].concat(), &[0x9f; 5000]] {
        let (status, code, _) = both(&mut client, "/app/cose", &typed, garbage).error();
        assert_eq!((status, code.as_str()), (500, "InternalError"));
    }

    // Signed by one user over another's connection: both are who they are.
    let mut user = sandbox.client_of("user0");
    let caller = both(&mut user, "/app/signed", &typed, &message).ok().json();
    assert_eq!(caller["policy"], json!(["user_cert", "user_cose_sign1"]));
    assert_eq!((&caller["user_cert"]["id"], &caller["user_cose_sign1"]["cose"]["content"]), (&json!(id), &json!("größe")));
    let (details, _) = denied(&both(&mut user, "/app/signed", &typed, &stranger));
    assert_eq!(details, [("user_cert+user_cose_sign1".to_owned(), "user_cose_sign1:Signer is not a known user".to_owned())]);
    sandbox.stop();
    let output = verify(&[path(&place.dir())]);
    assert!(output.status.success(), "{}", stderr(&output));
}

/// Over plain HTTP nobody has a certificate; everything else is the same.
#[test]
fn plain_http() {
    let place = Place::new(&app());
    let sandbox = place.serve(&["--http"]);
    let curl = |path: &str| {
        let output =
            std::process::Command::new("curl").args(["-sS", &format!("http://127.0.0.1:{}{path}", sandbox.port)]).output();
        let output = output.expect("curl starts");
        assert!(output.status.success(), "{}", stderr(&output));
        serde_json::from_slice::<Value>(&output.stdout).expect("JSON")
    };
    assert_eq!(curl("/app/nobody"), json!({ "policy": "no_auth" }));
    assert_eq!(curl("/app/user")["error"]["details"][0]["message"], "No caller user certificate");
    sandbox.stop();
}

/// The common client: curl with the files that the sandbox leaves.
#[test]
fn curl_with_a_certificate() {
    let place = Place::new(&app());
    let sandbox = place.serve(&[]);
    let mut command = std::process::Command::new("curl");
    command.args(["-sS", "--cacert", "service_cert.pem", "--cert", "user0_cert.pem", "--key", "user0_privk.pem"]);
    let output = command.arg(format!("{}/app/user", sandbox.url())).current_dir(place.common()).output().expect("curl starts");
    let caller: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(caller["id"], sign::id(&place.pem("user0_cert.pem")), "{}", stderr(&output));
    sandbox.stop();
}
