//! What apps are told, word for word.

use super::*;

#[test]
fn errors_have_their_texts() {
    let cases = [
        ("generateAesKey", json!({ "size": 100 }), "RangeError: invalid key size (not one of 128, 192, 256)"),
        (
            "generateRsaKeyPair",
            json!({ "size": 1024 }),
            "RangeError: invalid RSA key size (not a multiple of 8 from 2048 to 4096)",
        ),
        (
            "generateRsaKeyPair",
            json!({ "size": 4294967295u32 }),
            "RangeError: invalid RSA key size (not a multiple of 8 from 2048 to 4096)",
        ),
        (
            "generateRsaKeyPair",
            json!({ "size": 2048, "exponent": 4 }),
            "InternalError: Failed to generate RSA key pair: bad exponent value",
        ),
        (
            "generateEcdsaKeyPair",
            json!({ "curve": "secp256k1" }),
            "RangeError: Unsupported curve id, supported: secp256r1, secp384r1",
        ),
        ("generateEddsaKeyPair", json!({ "curve": "ed448" }), "RangeError: Unsupported curve id, supported: curve25519, x25519"),
        ("digest", json!({ "algorithm": "SHA-1" }), "RangeError: unsupported digest algorithm, supported: SHA-256"),
        (
            "wrapKey",
            json!({ "name": "x" }),
            "RangeError: unsupported key wrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP",
        ),
        (
            "unwrapKey",
            json!({ "name": "x" }),
            "RangeError: unsupported key unwrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP",
        ),
        ("wrapKey", json!({ "name": "RSA-OAEP" }), "InternalError: Failed to wrap key: PEM constructed with non-PEM data"),
        ("unwrapKey", json!({ "name": "RSA-OAEP" }), "InternalError: Failed to unwrap key: PEM constructed with non-PEM data"),
        ("wrapKey", json!({ "name": "AES-KWP" }), "InternalError: Failed to wrap key: nothing to wrap"),
        ("unwrapKey", json!({ "name": "AES-KWP" }), "InternalError: Failed to unwrap key: invalid key size"),
        (
            "sign",
            json!({ "name": "ECDSA", "hash": "SHA-1" }),
            "RangeError: Unsupported hash algorithm, supported: SHA-256, SHA-384, SHA-512",
        ),
        (
            "sign",
            json!({ "name": "x", "hash": "SHA-256" }),
            "RangeError: Unsupported signing algorithm, supported: RSA-PSS, ECDSA, EdDSA, HMAC",
        ),
        (
            "sign",
            json!({ "name": "ECDSA", "hash": "SHA-256", "key": "x" }),
            "InternalError: Failed to sign: PEM constructed with non-PEM data",
        ),
        (
            "sign",
            json!({ "name": "EdDSA", "key": "x" }),
            "InternalError: Failed to sign with EdDSA pair: PEM constructed with non-PEM data",
        ),
        (
            "verifySignature",
            json!({ "name": "ECDSA", "hash": "SHA-384" }),
            "RangeError: Unsupported hash algorithm, supported: SHA-256",
        ),
        (
            "verifySignature",
            json!({ "name": "HMAC", "hash": "SHA-256" }),
            "RangeError: Unsupported signing algorithm, supported: RSA-PSS, ECDSA, EdDSA",
        ),
        (
            "verifySignature",
            json!({ "name": "ECDSA", "hash": "SHA-256", "key": "x" }),
            "InternalError: Failed to verify signature: PEM constructed with non-PEM data",
        ),
        (
            "verifySignature",
            json!({ "name": "EdDSA", "key": "x" }),
            "RangeError: Failed to verify EdDSA signature: PEM constructed with non-PEM data",
        ),
        (
            "pubPemToJwk",
            json!({ "pem": "invalid_pem" }),
            "InternalError: Failed to convert pem to jwk: PEM constructed with non-PEM data",
        ),
        ("pubJwkToPem", json!({ "jwk": "{}" }), "InternalError: Failed to convert jwk to pem kty is missing"),
        ("pemToId", json!({ "pem": "x" }), "InternalError: Failed to parse PEM: PEM constructed with non-PEM data"),
        ("tcbHexToPolicy", json!({ "cpuid": "00a00f11", "tcb": "0011" }), "InternalError: Invalid TCB version data size: 2"),
        (
            "tcbHexToPolicy",
            json!({ "cpuid": "00000f11", "tcb": "0000000000000000" }),
            "InternalError: SEV-SNP: Unsupported CPUID family 15 model 1",
        ),
        ("verifySnpAttestation", json!({}), "RangeError: Input SEV-SNP attestation report is not of expected size 1184: 0"),
        ("nothing", json!({}), "TypeError: There is no function nothing"),
    ];
    for (name, arguments, expected) in cases {
        assert_eq!(refusal(ask(name, arguments.clone(), &[])), expected, "{name} {arguments}");
    }
}

#[test]
fn keys_of_a_wrong_kind_are_named() {
    let openssl = OpenSsl::new();
    let (rsa, ec) = (openssl.key(RSA, "rsa"), openssl.key(P256, "ec"));
    let of = |name: &str, key: &str| json!({ "name": name, "hash": "SHA-256", "key": key, "saltLength": 0 });
    assert_eq!(refusal(ask("sign", of("ECDSA", &rsa), &[b""])), "InternalError: Failed to sign: invalid EC key");
    assert_eq!(refusal(ask("sign", of("RSA-PSS", &ec), &[b""])), "InternalError: Failed to sign: invalid RSA key");
    assert_eq!(
        refusal(ask("sign", of("EdDSA", &ec), &[b""])),
        "InternalError: Failed to sign with EdDSA pair: invalid EdDSA key"
    );
    let mut salted = of("RSA-PSS", &rsa);
    for salt in [-5, 223, i64::MAX] {
        salted["saltLength"] = salt.into();
        assert_eq!(refusal(ask("sign", salted.clone(), &[b""])), "InternalError: Failed to sign: invalid salt length");
    }
    salted["saltLength"] = 222.into();
    assert_eq!(bytes(ask("sign", salted, &[b""])).len(), 256);
}

#[test]
fn lengths_that_do_not_fit_the_data_are_refused() {
    for question in ["", "[]", "{\"lens\":[1]}", "{\"lens\":[-1]}", "{\"lens\":[18446744073709551615]}"] {
        assert!(matches!(answer(question, b"", &mut 0, &mut Seeded(1, 0)).unwrap(), Answer::Refused { .. }), "{question}");
    }
}
