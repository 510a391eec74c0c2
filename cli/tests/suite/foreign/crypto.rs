//! Each function of the package's crypto: what it makes, openssl takes, and the other way round.

use super::site::Site;
use super::tools::{attempt, built, hex, openssl, oracle, output, unhex};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::Command;

const DATA: &[u8] = "größe\0\u{1f4a1}".as_bytes();

/// A sandbox with the app, and openssl beside it.
struct Bench {
    site: Site,
}

impl Bench {
    fn new() -> Bench {
        Bench { site: Site::serve(built(), &[]) }
    }

    /// Calls a function with each of these lists of arguments, in one request.
    fn answers(&self, name: &str, calls: &[Value]) -> Vec<Value> {
        let body: Vec<Value> = calls.iter().map(|args| json!({ "args": args })).collect();
        let answer = self.site.post(&format!("/app/crypto/{name}"), &json!(body)).ok().json();
        answer.as_array().expect("a list").clone()
    }

    /// The same, where none may throw.
    fn results(&self, name: &str, calls: &[Value]) -> Vec<Value> {
        let answers = self.answers(name, calls);
        answers.iter().map(|answer| answer.get("result").unwrap_or_else(|| panic!("{name}: {answer}")).clone()).collect()
    }

    fn result(&self, name: &str, args: Value) -> Value {
        self.results(name, &[args]).remove(0)
    }

    fn bytes(&self, name: &str, args: Value) -> Vec<u8> {
        unhex(self.result(name, args)["hex"].as_str().expect("bytes"))
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.site.file(name);
        std::fs::write(&path, bytes).expect("it is written");
        path
    }

    /// `openssl`, in the folder of the files.
    fn command(&self, line: &str) -> Command {
        let mut command = openssl(line);
        command.current_dir(self.site.place.root());
        command
    }

    fn openssl(&self, line: &str) -> Vec<u8> {
        output(self.command(line), b"")
    }

    fn pem(&self, line: &str) -> String {
        String::from_utf8(self.openssl(line)).expect("text")
    }

    /// A key of openssl's: private and public.
    fn key(&self, options: &str) -> (String, String) {
        let private = self.pem(&format!("genpkey {options}"));
        self.file("key.pem", &private);
        (private, self.pem("pkey -in key.pem -pubout"))
    }

    fn verified_by_openssl(&self, line: &str) -> bool {
        attempt(&mut self.command(line), b"").status.success()
    }
}

fn bytes(bytes: &[u8]) -> Value {
    json!({ "hex": hex(bytes) })
}

fn pair(value: &Value) -> (String, String) {
    let text = |name: &str| value[name].as_str().expect("PEM").to_owned();
    (text("privateKey"), text("publicKey"))
}

/// An ECDSA signature as two numbers of equal length, in openssl's form.
fn der(signature: &[u8]) -> Vec<u8> {
    let number = |half: &[u8]| {
        let mut half = &half[half.iter().take_while(|byte| **byte == 0).count()..];
        let padded = [&[0], half].concat();
        if half.first().is_none_or(|byte| *byte > 127) {
            half = &padded;
        }
        [&[2, half.len() as u8], half].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let both = [number(r), number(s)].concat();
    [&[0x30, both.len() as u8], &both[..]].concat()
}

/// And back: two numbers of `len` bytes.
pub fn plain(signature: &[u8], len: usize) -> Vec<u8> {
    let number = |at: usize| {
        let number = &signature[at + 2..at + 2 + usize::from(signature[at + 1])];
        let number = &number[number.len().saturating_sub(len)..];
        ([vec![0; len - number.len()], number.to_vec()].concat(), at + 2 + usize::from(signature[at + 1]))
    };
    let (r, next) = number(2);
    [r, number(next).0].concat()
}

#[test]
fn keys_are_keys_for_openssl() {
    let bench = Bench::new();
    let mut pairs = bench.results("generateEcdsaKeyPair", &[json!(["secp256r1"]), json!(["secp384r1"])]);
    pairs.extend(bench.results("generateEddsaKeyPair", &[json!(["curve25519"]), json!(["x25519"])]));
    pairs.extend(bench.results("generateRsaKeyPair", &[json!([2048]), json!([2048, 3])]));
    for (pair_of_keys, kind) in pairs.iter().zip(["prime256v1", "secp384r1", "ED25519", "X25519", "65537", "Exponent: 3"]) {
        let (private, public) = pair(pair_of_keys);
        bench.file("made.pem", &private);
        assert_eq!(bench.pem("pkey -in made.pem -pubout"), public, "{kind}");
        let text = bench.pem("pkey -in made.pem -check -text");
        assert!(text.contains("Key is valid") && text.contains(kind), "{kind}: {text}");
        assert_eq!(bench.pem("pkey -in made.pem"), private, "{kind}: the same bytes when openssl writes it");
    }
    let aes = bench.results("generateAesKey", &[json!([128]), json!([192]), json!([256])]);
    let bits: Vec<usize> = aes.iter().map(|key| key["hex"].as_str().expect("bytes").len() * 4).collect();
    assert_eq!(bits, [128, 192, 256]);
    let refused = [
        ("generateAesKey", json!([64]), "RangeError: invalid key size (not one of 128, 192, 256)"),
        ("generateEcdsaKeyPair", json!(["P-256"]), "RangeError: Unsupported curve id, supported: secp256r1, secp384r1"),
        ("generateEddsaKeyPair", json!(["ed25519"]), "RangeError: Unsupported curve id, supported: curve25519, x25519"),
        ("digest", json!(["MD5", bytes(DATA)]), "RangeError: unsupported digest algorithm, supported: SHA-256"),
    ];
    for (name, args, expected) in refused {
        assert_eq!(bench.answers(name, &[args])[0]["error"], expected);
    }
    assert_eq!(bench.bytes("digest", json!(["SHA-256", bytes(DATA)])), {
        bench.file("data", DATA);
        bench.openssl("dgst -sha256 -binary data")
    });
    bench.site.audited();
}

#[test]
fn signatures_are_signatures_for_openssl() {
    let bench = Bench::new();
    bench.file("data", DATA);
    for (curve, len) in [("P-256", 32), ("P-384", 48)] {
        let (private, public) =
            bench.key(&format!("-algorithm EC -pkeyopt ec_paramgen_curve:{curve} -pkeyopt ec_param_enc:named_curve"));
        bench.file("public.pem", &public);
        for hash in ["SHA-256", "SHA-384", "SHA-512"] {
            let algorithm = json!({ "name": "ECDSA", "hash": hash });
            let signature = bench.bytes("sign", json!([algorithm, private, bytes(DATA)]));
            assert_eq!(signature.len(), 2 * len, "{curve} {hash}");
            bench.file("signature", der(&signature));
            let digest = hash.replace('-', "").to_lowercase();
            assert!(
                bench.verified_by_openssl(&format!("dgst -{digest} -verify public.pem -signature signature data")),
                "{curve} {hash}"
            );
        }
        let certificate = bench.pem("req -x509 -key key.pem -days 2 -subj /CN=signer");
        let signature = plain(&bench.openssl("dgst -sha256 -sign key.pem data"), len);
        verifies(&bench, json!({ "name": "ECDSA", "hash": "SHA-256" }), &[&public, &certificate], &signature);
    }

    let (private, public) = bench.key("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    bench.file("public.pem", &public);
    let options = |salt| format!("-sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:{salt}");
    for (hash, salt) in [("SHA-256", 0), ("SHA-256", 32), ("SHA-384", 48), ("SHA-512", 20)] {
        let algorithm = json!({ "name": "RSA-PSS", "hash": hash, "saltLength": salt });
        bench.file("signature", bench.bytes("sign", json!([algorithm, private, bytes(DATA)])));
        let digest = hash.replace('-', "").to_lowercase();
        let line = format!("dgst -{digest} -verify public.pem {} -signature signature data", options(salt));
        assert!(bench.verified_by_openssl(&line), "{hash} {salt}");
    }
    let certificate = bench.pem("req -x509 -key key.pem -days 2 -subj /CN=signer");
    let signature = bench.openssl(&format!("dgst -sha256 -sign key.pem {} data", options(32)));
    verifies(&bench, json!({ "name": "RSA-PSS", "hash": "SHA-256", "saltLength": 32 }), &[&public, &certificate], &signature);

    let (private, public) = bench.key("-algorithm ed25519");
    bench.file("public.pem", &public);
    bench.file("signature", bench.bytes("sign", json!([{ "name": "EdDSA" }, private, bytes(DATA)])));
    assert!(bench.verified_by_openssl("pkeyutl -verify -pubin -inkey public.pem -rawin -in data -sigfile signature"));
    let signature = bench.openssl("pkeyutl -sign -inkey key.pem -rawin -in data");
    verifies(&bench, json!({ "name": "EdDSA" }), &[&public], &signature);

    for hash in ["SHA-256", "SHA-384", "SHA-512"] {
        let mac = bench.bytes("sign", json!([{ "name": "HMAC", "hash": hash }, "a key", bytes(DATA)]));
        let mut command = bench.command(&format!("dgst -{} -binary -hmac", hash.replace('-', "").to_lowercase()));
        command.args(["a key", "data"]);
        assert_eq!(mac, output(command, b""), "{hash}");
    }
    bench.site.audited();
}

/// A signature of openssl's over [`DATA`] is one for the app, with each of these keys; of other bytes it is not.
fn verifies(bench: &Bench, algorithm: Value, keys: &[&str], signature: &[u8]) {
    let mut other = signature.to_vec();
    other[10] ^= 1;
    for key in keys {
        let check = |signature: &[u8], data: &[u8]| json!([algorithm, key, bytes(signature), bytes(data)]);
        let calls = [check(signature, DATA), check(&other, DATA), check(signature, b"other")];
        assert_eq!(bench.results("verifySignature", &calls), [true, false, false], "{algorithm} {key}");
        let request = |call: &Value| json!({ "module": "crypto.js", "name": "call", "params": { "name": "verifySignature" }, "body": { "args": call } });
        let in_node = oracle(&json!(calls.iter().map(request).collect::<Vec<_>>()));
        assert_eq!(in_node, [json!({ "result": true }), json!({ "result": false }), json!({ "result": false })]);
    }
}

#[test]
fn wrapped_keys_are_unwrapped_by_openssl() {
    let bench = Bench::new();
    let (private, public) = bench.key("-algorithm RSA -pkeyopt rsa_keygen_bits:2048");
    bench.file("public.pem", &public);
    let secret: Vec<u8> = (0..32).collect();
    bench.file("secret", &secret);
    let oaep = "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256";
    for label in [None, Some("6c6162656c")] {
        let with = label.map_or(String::new(), |label| format!("-pkeyopt rsa_oaep_label:{label}"));
        let mut algorithm = json!({ "name": "RSA-OAEP" });
        if let Some(label) = label {
            algorithm["label"] = json!({ "hex": label });
        }
        let wrapped = bench.bytes("wrapKey", json!([bytes(&secret), bytes(public.as_bytes()), algorithm]));
        bench.file("wrapped", &wrapped);
        assert_eq!(bench.openssl(&format!("pkeyutl -decrypt -inkey key.pem -in wrapped {oaep} {with}")), secret, "{with}");
        let wrapped = bench.openssl(&format!("pkeyutl -encrypt -pubin -inkey public.pem -in secret {oaep} {with}"));
        assert_eq!(bench.bytes("unwrapKey", json!([bytes(&wrapped), bytes(private.as_bytes()), algorithm])), secret, "{with}");
    }

    // Lengths that are no multiple of eight, too.
    for (bits, len) in [(128, 16), (192, 20), (256, 7), (256, 200)] {
        let key: Vec<u8> = (0..bits / 8).map(|byte: u32| byte as u8).collect();
        let secret: Vec<u8> = (0..len).collect();
        let line = |what: &str| format!("enc -id-aes{bits}-wrap-pad -K {} -iv A65959A6 {what}", hex(&key));
        let algorithm = json!({ "name": "AES-KWP" });
        let wrapped = bench.bytes("wrapKey", json!([bytes(&secret), bytes(&key), algorithm]));
        assert_eq!(output(bench.command(&line("-d")), &wrapped), secret, "{bits} {len}");
        assert_eq!(output(bench.command(&line("-e")), &secret), wrapped, "{bits} {len}");
        assert_eq!(bench.bytes("unwrapKey", json!([bytes(&wrapped), bytes(&key), algorithm])), secret);
    }

    // An RSA private key does not fit into RSA: it goes with an AES key that does.
    let algorithm = json!({ "name": "RSA-OAEP-AES-KWP", "aesKeySize": 256 });
    let wrapped = bench.bytes("wrapKey", json!([bytes(private.as_bytes()), bytes(public.as_bytes()), algorithm]));
    bench.file("wrapped", &wrapped[..256]);
    let key = bench.openssl(&format!("pkeyutl -decrypt -inkey key.pem -in wrapped {oaep}"));
    let line = format!("enc -d -id-aes256-wrap-pad -K {} -iv A65959A6", hex(&key));
    assert_eq!(output(bench.command(&line), &wrapped[256..]), private.as_bytes());
    assert_eq!(bench.bytes("unwrapKey", json!([bytes(&wrapped), bytes(private.as_bytes()), algorithm])), private.as_bytes());

    let wrong = json!([bytes(&secret), bytes(b"key"), { "name": "AES-CBC" }]);
    assert_eq!(
        bench.answers("wrapKey", std::slice::from_ref(&wrong))[0]["error"],
        "RangeError: unsupported key wrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP"
    );
    assert_eq!(
        bench.answers("unwrapKey", &[wrong])[0]["error"],
        "RangeError: unsupported key unwrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP"
    );
    bench.site.audited();
}

#[test]
fn keys_in_json_are_those_of_node() {
    let bench = Bench::new();
    let mut requests = Vec::new();
    let mut answered = Vec::new();
    let mut ask = |name: &str, args: Value| {
        let result = bench.result(name, args.clone());
        requests.push(json!({ "module": "crypto.js", "name": "call", "params": { "name": name }, "body": { "args": args } }));
        answered.push(json!({ "result": result.clone() }));
        result
    };
    let kinds = [
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-256 -pkeyopt ec_param_enc:named_curve",
            "pubPemToJwk",
            "pubJwkToPem",
            "pemToJwk",
            "jwkToPem",
        ),
        (
            "-algorithm EC -pkeyopt ec_paramgen_curve:P-384 -pkeyopt ec_param_enc:named_curve",
            "pubPemToJwk",
            "pubJwkToPem",
            "pemToJwk",
            "jwkToPem",
        ),
        ("-algorithm RSA -pkeyopt rsa_keygen_bits:2048", "pubRsaPemToJwk", "pubRsaJwkToPem", "rsaPemToJwk", "rsaJwkToPem"),
        ("-algorithm ed25519", "pubEddsaPemToJwk", "pubEddsaJwkToPem", "eddsaPemToJwk", "eddsaJwkToPem"),
        ("-algorithm x25519", "pubEddsaPemToJwk", "pubEddsaJwkToPem", "eddsaPemToJwk", "eddsaJwkToPem"),
    ];
    for (options, to_public_jwk, to_public_pem, to_jwk, to_pem) in kinds {
        let (private, public) = bench.key(options);
        for kid in [None, Some("a kid")] {
            let args = |pem: &str| kid.map_or(json!([pem]), |kid| json!([pem, kid]));
            let jwk = ask(to_public_jwk, args(&public));
            assert_eq!(jwk.get("kid").and_then(Value::as_str), kid, "{options}");
            assert_eq!(ask(to_public_pem, json!([jwk])), public, "{options}");
            let jwk = ask(to_jwk, args(&private));
            let again = bench.result(to_pem, json!([jwk]));
            if options.contains("RSA") {
                // There may be other exponents; openssl takes them for the same key.
                bench.file("again.pem", again.as_str().expect("PEM"));
                assert_eq!(bench.pem("pkey -in again.pem -pubout"), public);
                assert!(bench.pem("pkey -in again.pem -check -noout").contains("Key is valid"));
            } else {
                assert_eq!(again, private, "{options}");
            }
        }
    }
    assert_eq!(oracle(&json!(requests)), answered, "as Node's own crypto writes them");
    let error = |name: &str, args: Value| bench.answers(name, &[args])[0]["error"].as_str().expect("an error").to_owned();
    assert!(error("pubPemToJwk", json!(["no key"])).starts_with("InternalError: Failed to convert pem to jwk: "));
    assert!(error("jwkToPem", json!([{ "kty": "EC" }])).starts_with("InternalError: Failed to convert jwk to pem"));
    assert_eq!(error("pemToJwk", json!([])), "TypeError: Passed 0 arguments, but expected 1 or 2");
    bench.site.audited();
}

#[test]
fn chains_of_certificates() {
    let bench = Bench::new();
    bench.file("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
    let issue = |name: &str, options: &str, signed: &str| {
        bench.openssl(&format!("req -new -newkey {options} -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        bench.openssl(&format!("x509 -req -in {name}.csr -out {name}.pem {signed}"));
        std::fs::read_to_string(bench.site.file(&format!("{name}.pem"))).expect("PEM")
    };
    let p384 = "ec -pkeyopt ec_paramgen_curve:P-384";
    let root = issue("root", p384, "-signkey root.key -days 9 -extfile ca.ext");
    let middle = issue("middle", "rsa:2048", "-CA root.pem -CAkey root.key -CAcreateserial -days 9 -extfile ca.ext");
    let leaf = issue("leaf", "ec -pkeyopt ec_paramgen_curve:P-256", "-CA middle.pem -CAkey middle.key -CAcreateserial -days 9");
    let other = issue("other", p384, "-signkey other.key -days 9 -extfile ca.ext");
    let chain = format!("{leaf}{middle}");
    let bundles: Vec<Value> =
        [&root, &format!("{chain}{root}"), "", "no certificate", &leaf[..200]].map(|pem| json!([pem])).into();
    assert_eq!(bench.results("isValidX509CertBundle", &bundles), [true, true, false, false, false]);
    let chains = [(&chain, &root), (&leaf, &middle), (&middle, &root), (&root, &root), (&leaf, &root), (&chain, &other)];
    let calls: Vec<Value> = chains.map(|(chain, trusted)| json!([chain, trusted])).into();
    let answers = bench.results("isValidX509CertChain", &calls);
    for (at, (chain, trusted)) in chains.into_iter().enumerate() {
        let end = "-----END CERTIFICATE-----\n";
        let (first, rest) = chain.split_at(chain.find(end).expect("PEM") + end.len());
        bench.file("first.pem", first);
        bench.file("rest.pem", if rest.is_empty() { first } else { rest });
        bench.file("trusted.pem", trusted);
        // As the reference asks it: a certificate that is trusted is an end, also where it signs itself not.
        let line = "verify -partial_chain -trusted trusted.pem -untrusted rest.pem first.pem";
        assert_eq!(answers[at], bench.verified_by_openssl(line), "chain {at}");
    }
    assert_eq!(answers, [true, true, true, true, false, false]);
    bench.site.audited();
}
