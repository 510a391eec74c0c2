//! PEM to JWK and back.

use super::*;

const ALL: [(&str, &str); 5] = [(P256, ""), (P384, ""), (RSA, "Rsa"), (ED25519, "Eddsa"), (X25519, "Eddsa")];

/// The name of a function: `pubRsaPemToJwk`, `rsaPemToJwk`, `pemToJwk`.
fn name(public: bool, kind: &str, rest: &str) -> String {
    let name = format!("{}{kind}{rest}", if public { "pub" } else { "" });
    format!("{}{}", name[..1].to_lowercase(), &name[1..])
}

#[test]
fn keys_of_openssl_come_back_byte_for_byte() {
    let openssl = OpenSsl::new();
    for (options, kind) in ALL {
        let private = openssl.key(options, "private");
        openssl.run("pkey -in private -pubout -out public");
        for (public, pem) in [(false, private), (true, openssl.text("public"))] {
            let jwk = text(ask(&name(public, kind, "PemToJwk"), json!({ "pem": pem, "kid": "me" }), &[]));
            assert_eq!(serde_json::from_str::<Value>(&jwk).unwrap()["kid"], "me");
            assert_eq!(text(ask(&name(public, kind, "JwkToPem"), json!({ "jwk": jwk }), &[])), pem, "{options} {public}");
            let without = text(ask(&name(public, kind, "PemToJwk"), json!({ "pem": pem }), &[]));
            assert!(!without.contains("\"kid\""));
        }
    }
}

#[test]
fn traditional_forms_are_read() {
    let openssl = OpenSsl::new();
    let rsa = openssl.key(RSA, "rsa");
    openssl.run("rsa -in rsa -traditional -out rsa1");
    openssl.run("rsa -in rsa -pubout -out public");
    openssl.run("rsa -in rsa -RSAPublicKey_out -out public1");
    let jwk = |name: &str, pem: &str| text(ask(name, json!({ "pem": pem }), &[]));
    assert_eq!(jwk("rsaPemToJwk", &openssl.text("rsa1")), jwk("rsaPemToJwk", &rsa));
    assert_eq!(jwk("pubRsaPemToJwk", &openssl.text("public1")), jwk("pubRsaPemToJwk", &openssl.text("public")));
    let ec = openssl.key(P384, "ec");
    openssl.run("ec -in ec -out ec1");
    assert!(openssl.text("ec1").contains("BEGIN EC PRIVATE KEY"));
    assert_eq!(jwk("pemToJwk", &openssl.text("ec1")), jwk("pemToJwk", &ec));
    // With the parameters of its curve before it.
    openssl.run("ecparam -name prime256v1 -genkey -out both");
    assert!(openssl.text("both").starts_with("-----BEGIN EC PARAMETERS"));
    assert!(jwk("pemToJwk", &openssl.text("both")).contains("P-256"));
}

#[test]
fn a_jwk_has_its_members_in_order() {
    // RFC 7517, A.1 and A.2.
    let public = r#"{"crv":"P-256","kid":"1","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    let private = r#"{"crv":"P-256","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","kid":"1","kty":"EC","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}"#;
    for (jwk, to_pem, to_jwk) in [(public, "pubJwkToPem", "pubPemToJwk"), (private, "jwkToPem", "pemToJwk")] {
        let pem = text(ask(to_pem, json!({ "jwk": jwk }), &[]));
        assert_eq!(text(ask(to_jwk, json!({ "pem": pem, "kid": "1" }), &[])), jwk);
    }
}

#[test]
fn parts_that_do_not_fit_together_are_refused() {
    let openssl = OpenSsl::new();
    for (options, kind) in ALL {
        let of = |file| {
            let pem = openssl.key(options, file);
            serde_json::from_str::<Value>(&text(ask(&name(false, kind, "PemToJwk"), json!({ "pem": pem }), &[]))).unwrap()
        };
        let (mut mixed, other) = (of("a"), of("b"));
        mixed["d"] = other["d"].clone();
        let refused = refusal(ask(&name(false, kind, "JwkToPem"), json!({ "jwk": mixed.to_string() }), &[]));
        assert!(refused.starts_with("InternalError: Failed to convert jwk to pem "), "{refused}");
    }
}

#[test]
fn keys_of_another_kind_are_refused() {
    let openssl = OpenSsl::new();
    let keys = ALL.map(|(options, kind)| (openssl.key(options, "private"), kind));
    for (pem, kind) in &keys {
        for other in ["", "Rsa", "Eddsa"].iter().filter(|other| *other != kind) {
            let refused = refusal(ask(&name(false, other, "PemToJwk"), json!({ "pem": pem }), &[]));
            assert!(refused.starts_with("InternalError: Failed to convert pem to jwk: invalid "), "{refused}");
        }
    }
}
