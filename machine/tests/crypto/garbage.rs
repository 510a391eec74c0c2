//! No question panics, whatever is in it.

use proptest::prelude::*;

use super::*;

const FUNCTIONS: [&str; 25] = [
    "digest",
    "generateAesKey",
    "generateEcdsaKeyPair",
    "generateEddsaKeyPair",
    "wrapKey",
    "unwrapKey",
    "sign",
    "verifySignature",
    "isValidX509CertBundle",
    "isValidX509CertChain",
    "pemToId",
    "tcbHexToPolicy",
    "verifySnpAttestation",
    "pubPemToJwk",
    "pemToJwk",
    "pubRsaPemToJwk",
    "rsaPemToJwk",
    "pubEddsaPemToJwk",
    "eddsaPemToJwk",
    "pubJwkToPem",
    "jwkToPem",
    "pubRsaJwkToPem",
    "rsaJwkToPem",
    "pubEddsaJwkToPem",
    "eddsaJwkToPem",
];
const NAMES: [&str; 7] = ["RSA-OAEP", "AES-KWP", "RSA-OAEP-AES-KWP", "RSA-PSS", "ECDSA", "EdDSA", "HMAC"];
const LABELS: [&str; 6] = ["PRIVATE KEY", "PUBLIC KEY", "CERTIFICATE", "RSA PRIVATE KEY", "RSA PUBLIC KEY", "EC PRIVATE KEY"];

/// The DER of true keys and certificates, to be spoilt.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let openssl = OpenSsl::new();
    let mut seeds = Vec::new();
    for (at, kind) in [P256, P384, RSA, ED25519, X25519].into_iter().enumerate() {
        openssl.key(kind, "private");
        openssl.run("pkey -in private -outform DER -out der");
        seeds.push(("PRIVATE KEY".into(), openssl.read("der")));
        openssl.run("pkey -in private -pubout -outform DER -out der");
        seeds.push(("PUBLIC KEY".into(), openssl.read("der")));
        if at < 4 {
            openssl.run("req -new -x509 -key private -subj /CN=a -outform DER -out der");
            seeds.push(("CERTIFICATE".into(), openssl.read("der")));
        }
    }
    seeds
}

fn pem(label: &str, der: &[u8]) -> String {
    use base64::Engine;
    let base64 = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n")
}

/// Asks every function for this key.
fn ask_all(key: &str, jwk: &str, data: &[u8]) {
    for name in FUNCTIONS {
        for algorithm in if name.contains("rapKey") || name == "sign" || name == "verifySignature" { &NAMES[..] } else { &[""] } {
            let arguments = json!({
                "name": algorithm, "hash": "SHA-256", "saltLength": 8, "aesKeySize": 256, "size": 128, "key": key, "pem": key,
                "jwk": jwk, "chain": key, "trusted": key, "cpuid": "00a00f11", "tcb": key, "uvm": true,
            });
            let key_first = name.contains("rapKey");
            let buffers = if key_first { [data, key.as_bytes(), data] } else { [data, data, data] };
            ask(name, arguments, &buffers);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes(label in 0..6usize, der in proptest::collection::vec(any::<u8>(), 0..200), data in proptest::collection::vec(any::<u8>(), 0..300)) {
        ask_all(&pem(LABELS[label], &der), &String::from_utf8_lossy(&der), &data);
    }

    #[test]
    fn random_texts(key in "(-----BEGIN (PRIVATE KEY|X)-----)?\\PC{0,40}(-----END (PRIVATE KEY|X)-----)?(-----)?", question in "\\PC{0,80}") {
        ask_all(&key, &key, question.as_bytes());
        let _ = answer(&question, b"", &mut 0, &mut Seeded(1, 0)).unwrap();
    }

    #[test]
    fn random_jwks(kty in "(EC|RSA|OKP)", crv in "(P-256|P-384|Ed25519|X25519)", numbers in proptest::collection::vec("[A-Za-z0-9_-]{0,400}", 10)) {
        let names = ["x", "y", "d", "n", "e", "p", "q", "dp", "dq", "qi"];
        let mut jwk = json!({ "kty": kty, "crv": crv });
        for (name, number) in names.into_iter().zip(numbers) {
            jwk[name] = number.into();
        }
        ask_all("", &jwk.to_string(), b"");
    }
}

#[test]
fn spoilt_keys() {
    let mut random = Seeded(99, 0);
    for (label, der) in seeds() {
        for round in 0..60 {
            let mut spoilt = der.clone();
            let mut chance = [0; 8];
            random.fill(&mut chance).unwrap();
            let at = u32::from_le_bytes([chance[0], chance[1], chance[2], 0]) as usize;
            for change in 0..=round % 3 {
                let at = (at + change * usize::from(chance[5])) % spoilt.len();
                spoilt[at] = chance[3].wrapping_add(change as u8);
            }
            if round % 10 == 0 {
                spoilt.truncate(at % der.len());
            }
            ask_all(&pem(&label, &spoilt), "", &chance);
        }
    }
}

#[test]
fn spoilt_jwks_of_rsa() {
    let (private, _) = pair(ask("generateRsaKeyPair", json!({ "size": 2048 }), &[]));
    let jwk: Value = serde_json::from_str(&text(ask("rsaPemToJwk", json!({ "pem": private }), &[]))).unwrap();
    for name in ["n", "e", "d", "p", "q", "dp", "dq", "qi"] {
        for value in ["", "AA", "AQ", "Ag", "_____w", "=", "é"] {
            let mut spoilt = jwk.clone();
            spoilt[name] = value.into();
            assert!(
                matches!(ask("rsaJwkToPem", json!({ "jwk": spoilt.to_string() }), &[]), Answer::Refused { .. }),
                "{name} {value}"
            );
        }
    }
}
