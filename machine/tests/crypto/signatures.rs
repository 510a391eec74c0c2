//! `sign`, `verifySignature`, `digest`.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;

const DATA: &[u8] = b"some data\x00\xff";

fn sign(algorithm: Value, key: &str, data: &[u8]) -> Vec<u8> {
    let mut arguments = algorithm;
    arguments["key"] = key.into();
    bytes(ask("sign", arguments, &[data]))
}

fn verifies(algorithm: &Value, key: &str, signature: &[u8], data: &[u8]) -> bool {
    let mut arguments = algorithm.clone();
    arguments["key"] = key.into();
    match text(ask("verifySignature", arguments, &[signature, data])).as_str() {
        "true" => true,
        "false" => false,
        other => panic!("{other}"),
    }
}

/// `SEQUENCE { r, s }` of `r s`.
fn der(signature: &[u8]) -> Vec<u8> {
    let number = |bytes: &[u8]| {
        let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        let sign: &[u8] = if digits[0] >= 0x80 { &[0] } else { &[] };
        [&[2, (digits.len() + sign.len()) as u8], sign, digits].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let content = [number(r), number(s)].concat();
    [&[0x30, content.len() as u8], content.as_slice()].concat()
}

/// `r s`, each of `size` bytes, of `SEQUENCE { r, s }`.
fn p1363(der: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = &der[2..];
    for _ in 0..2 {
        let length = rest[1] as usize;
        let digits = &rest[2..2 + length];
        let digits = &digits[digits.iter().take_while(|byte| **byte == 0).count()..];
        out.extend(vec![0; size - digits.len()]);
        out.extend_from_slice(digits);
        rest = &rest[2 + length..];
    }
    out
}

#[test]
fn ecdsa_is_that_of_rfc_6979() {
    let vectors = [
        (
            ("P-256", "SHA-256", "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"),
            "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716\
             F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8",
        ),
        (
            ("P-256", "SHA-512", "C9AFA9D845BA75166B5C215767B1D6934E50C3DB36E89B127B8A622B120F6721"),
            "8496A60B5E9B47C825488827E0495B0E3FA109EC4568FD3F8D1097678EB97F00\
             2362AB1ADBE2B8ADF9CB9EDAB740EA6049C028114F2460F96554F61FAE3302FE",
        ),
        (
            (
                "P-384",
                "SHA-384",
                "6B9D3DAD2E1B8C1C05B19875B6659F4DE23C3B667BF297BA9AA47740787137D896D5724E4C70A825F872C9EA60D2EDF5",
            ),
            "94EDBB92A5ECB8AAD4736E56C691916B3F88140666CE9FA73D64C4EA95AD133C81A648152E44ACF96E36DD1E80FABE46\
             99EF4AEB15F178CEA1FE40DB2603138F130E740A19624526203B6351D0A3A94FA329C145786E679E7B82C71A38628AC8",
        ),
    ];
    for ((curve, hash, scalar), signature) in vectors {
        // SEC 1 without the point.
        let oid: &[u8] = if curve == "P-256" { &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] } else { &[0x2b, 0x81, 4, 0, 0x22] };
        let scalar = unhex(scalar);
        let named = [&[0xa0, oid.len() as u8 + 2, 6, oid.len() as u8], oid].concat();
        let content = [&[2, 1, 1, 4, scalar.len() as u8], scalar.as_slice(), &named].concat();
        let sec1 = [&[0x30, content.len() as u8], content.as_slice()].concat();
        let base64 = base64::engine::general_purpose::STANDARD.encode(sec1);
        let pem = format!("-----BEGIN EC PRIVATE KEY-----\n{base64}\n-----END EC PRIVATE KEY-----\n");
        let made = sign(json!({ "name": "ECDSA", "hash": hash }), &pem, b"sample");
        assert_eq!(hex(&made).to_uppercase(), signature, "{curve} {hash}");
    }
}

#[test]
fn eddsa_is_that_of_rfc_8037() {
    let jwk = r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
                  "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let pem = text(ask("eddsaJwkToPem", json!({ "jwk": jwk }), &[]));
    let signed = b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature = sign(json!({ "name": "EdDSA" }), &pem, signed);
    assert_eq!(
        URL_SAFE_NO_PAD.encode(signature),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

#[test]
fn digests_and_hmac_are_known_ones() {
    let digest = bytes(ask("digest", json!({ "algorithm": "SHA-256" }), &[b"Hello world!"]));
    assert_eq!(hex(&digest), "c0535e4be2b79ffd93291305436bf889314e4a3faec05ecffcbb7df31ad9e51a");
    let openssl = OpenSsl::new();
    openssl.write("data", DATA);
    for (hash, option) in [("SHA-256", "-sha256"), ("SHA-384", "-sha384"), ("SHA-512", "-sha512")] {
        let code = sign(json!({ "name": "HMAC", "hash": hash }), "secret ö", DATA);
        let key = hex("secret ö".as_bytes());
        let said = openssl.run(&format!("dgst {option} -mac HMAC -macopt hexkey:{key} data"));
        assert!(said.trim().ends_with(&hex(&code)), "{said}");
    }
}

#[test]
fn ecdsa_and_openssl_understand_each_other() {
    let openssl = OpenSsl::new();
    openssl.write("data", DATA);
    for (kind, size) in [(P256, 32), (P384, 48)] {
        let private = openssl.key(kind, "private");
        openssl.run("pkey -in private -pubout -out public");
        let public = openssl.text("public");
        for (hash, option) in [("SHA-256", "-sha256"), ("SHA-384", "-sha384"), ("SHA-512", "-sha512")] {
            let signature = sign(json!({ "name": "ECDSA", "hash": hash }), &private, DATA);
            assert_eq!(signature.len(), 2 * size);
            openssl.write("signature", der(&signature));
            openssl.run(&format!("dgst {option} -verify public -signature signature data"));
        }
        let algorithm = json!({ "name": "ECDSA", "hash": "SHA-256" });
        for _ in 0..20 {
            openssl.run("dgst -sha256 -sign private -out signature data");
            let signature = p1363(&openssl.read("signature"), size);
            assert!(verifies(&algorithm, &public, &signature, DATA));
            assert!(!verifies(&algorithm, &public, &signature, b"other"));
        }
        for wrong in [&b""[..], b"x", &[0; 64], &[0; 96], &[0xff; 96], &[1; 300]] {
            assert!(!verifies(&algorithm, &public, wrong, DATA));
        }
        // With the certificate of the key.
        openssl.run("req -new -x509 -key private -subj /CN=a -out certificate");
        let signature = sign(algorithm.clone(), &private, DATA);
        assert!(verifies(&algorithm, &openssl.text("certificate"), &signature, DATA));
        let pss = json!({ "name": "RSA-PSS", "hash": "SHA-256" });
        assert!(!verifies(&pss, &openssl.text("certificate"), &signature, DATA));
    }
}

#[test]
fn rsa_pss_and_openssl_understand_each_other() {
    let openssl = OpenSsl::new();
    openssl.write("data", DATA);
    let private = openssl.key(RSA, "private");
    openssl.run("pkey -in private -pubout -out public");
    openssl.run("req -new -x509 -key private -subj /CN=a -out certificate");
    openssl.run("rsa -in private -traditional -out pkcs1");
    let public = openssl.text("public");
    for salt in [0, 20, 32, -1] {
        let sigopt = format!("-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}");
        for (hash, option) in [("SHA-256", "-sha256"), ("SHA-384", "-sha384"), ("SHA-512", "-sha512")] {
            let algorithm = json!({ "name": "RSA-PSS", "hash": hash, "saltLength": salt });
            let signature = sign(algorithm.clone(), &private, DATA);
            openssl.write("signature", &signature);
            openssl.run(&format!("dgst {option} {sigopt} -verify public -signature signature data"));
            assert_eq!(sign(algorithm, &openssl.text("pkcs1"), DATA), signature, "the same chance, the same signature");
        }
        let algorithm = json!({ "name": "RSA-PSS", "hash": "SHA-256", "saltLength": salt });
        openssl.run(&format!("dgst -sha256 {sigopt} -sign private -out signature data"));
        let signature = openssl.read("signature");
        for key in [&public, &openssl.text("certificate")] {
            assert!(verifies(&algorithm, key, &signature, DATA));
            assert!(!verifies(&algorithm, key, &signature, b"other"));
            assert!(!verifies(&algorithm, key, &signature[1..], DATA));
        }
        let other = json!({ "name": "RSA-PSS", "hash": "SHA-256", "saltLength": 31 });
        assert!(!verifies(&other, &public, &signature, DATA));
    }
}

#[test]
fn eddsa_and_openssl_understand_each_other() {
    let openssl = OpenSsl::new();
    openssl.write("data", DATA);
    let private = openssl.key(ED25519, "private");
    openssl.run("pkey -in private -pubout -out public");
    let signature = sign(json!({ "name": "EdDSA" }), &private, DATA);
    openssl.run("pkeyutl -sign -rawin -inkey private -in data -out signature");
    assert_eq!(openssl.read("signature"), signature);
    let algorithm = json!({ "name": "EdDSA" });
    assert!(verifies(&algorithm, &openssl.text("public"), &signature, DATA));
    assert!(!verifies(&algorithm, &openssl.text("public"), &signature, b"other"));
    assert!(!verifies(&algorithm, &openssl.text("public"), &signature[1..], DATA));
}
