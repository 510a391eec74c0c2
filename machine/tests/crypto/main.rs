//! What a bundle can call of cryptography: against `openssl`, against the vectors of the standards, against garbage.

#![allow(clippy::unwrap_used)]

mod certificates;
mod conversions;
mod errors;
mod garbage;
mod signatures;
mod snp;
mod wrapping;

use std::path::Path;
use std::process::Command;

use aws_lc_rs::digest::{SHA256, digest};
use machine::bundle::crypto::{Random, answer};
use sandbox::{Answer, Fault};
use serde_json::{Value, json};

/// A generator that starts from a number.
struct Seeded(u64, u64);

impl Random for Seeded {
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Fault> {
        for chunk in out.chunks_mut(32) {
            self.1 += 1;
            let block = digest(&SHA256, &[self.0.to_be_bytes(), self.1.to_be_bytes()].concat());
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
        }
        Ok(())
    }
}

/// Asks with chance from a seed.
fn ask_seeded(seed: u64, name: &str, mut arguments: Value, buffers: &[&[u8]]) -> Answer {
    arguments["fn"] = name.into();
    arguments["lens"] = buffers.iter().map(|buffer| buffer.len()).collect();
    answer(&arguments.to_string(), &buffers.concat(), &mut 0, &mut Seeded(seed, 0)).unwrap()
}

fn ask(name: &str, arguments: Value, buffers: &[&[u8]]) -> Answer {
    ask_seeded(1, name, arguments, buffers)
}

fn bytes(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Bytes(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn text(answer: Answer) -> String {
    match answer {
        Answer::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// The error of a refusal as JavaScript prints it.
fn refusal(answer: Answer) -> String {
    match answer {
        Answer::Refused { name, message } => format!("{name}: {message}"),
        other => panic!("{other:?}"),
    }
}

/// A pair of keys as PEM: private, public.
fn pair(answer: Answer) -> (String, String) {
    let pair: Value = serde_json::from_str(&text(answer)).unwrap();
    (pair["privateKey"].as_str().unwrap().into(), pair["publicKey"].as_str().unwrap().into())
}

fn unhex(text: &str) -> Vec<u8> {
    let text = text.trim();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A folder in which `openssl` works.
struct OpenSsl(tempfile::TempDir);

impl OpenSsl {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path().join(name), content).unwrap();
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    fn text(&self, name: &str) -> String {
        String::from_utf8(self.read(name)).unwrap()
    }

    /// Runs a command, its words separated by spaces; gives whether it succeeded and what it said.
    fn tries(&self, command: &str) -> (bool, String) {
        let output = Command::new("openssl").args(command.split(' ')).current_dir(self.path()).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    fn run(&self, command: &str) -> String {
        let (success, said) = self.tries(command);
        assert!(success, "openssl {command}: {said}");
        said
    }

    /// A new private key in a file.
    fn key(&self, kind: &str, file: &str) -> String {
        self.run(&format!("genpkey {kind} -out {file}"));
        self.text(file)
    }
}

const P256: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-256";
const P384: &str = "-algorithm EC -pkeyopt ec_paramgen_curve:P-384";
const RSA: &str = "-algorithm RSA -pkeyopt rsa_keygen_bits:2048";
const ED25519: &str = "-algorithm ED25519";
const X25519: &str = "-algorithm X25519";

#[test]
fn keys_that_are_made_are_those_openssl_would_write() {
    let questions = [
        ("generateRsaKeyPair", json!({ "size": 2048 })),
        ("generateRsaKeyPair", json!({ "size": 3072, "exponent": 3 })),
        ("generateEcdsaKeyPair", json!({ "curve": "secp256r1" })),
        ("generateEcdsaKeyPair", json!({ "curve": "secp384r1" })),
        ("generateEddsaKeyPair", json!({ "curve": "curve25519" })),
        ("generateEddsaKeyPair", json!({ "curve": "x25519" })),
    ];
    let openssl = OpenSsl::new();
    for (name, arguments) in questions {
        let (private, public) = pair(ask(name, arguments.clone(), &[]));
        openssl.write("private", &private);
        // openssl checks both the primes and the point.
        openssl.run("pkey -in private -check -noout");
        openssl.run("pkey -in private -out same");
        openssl.run("pkey -in private -pubout -out public");
        assert_eq!(openssl.text("same"), private, "{name}");
        assert_eq!(openssl.text("public"), public, "{name}");
        // The same seed gives the same key, another one another.
        assert_eq!(pair(ask(name, arguments.clone(), &[])).0, private);
        assert_ne!(pair(ask_seeded(2, name, arguments, &[])).0, private);
    }
}

#[test]
fn a_key_stays_the_same_in_every_version() {
    // An audit makes the keys again: whoever changes these has broken every ledger with a key in it.
    let of = |name, arguments| hex(digest(&SHA256, pair(ask_seeded(7, name, arguments, &[])).0.as_bytes()).as_ref());
    let made = [
        of("generateRsaKeyPair", json!({ "size": 2048 })),
        of("generateEcdsaKeyPair", json!({ "curve": "secp256r1" })),
        of("generateEddsaKeyPair", json!({ "curve": "curve25519" })),
    ];
    assert_eq!(made.map(|hash| hash[..16].to_owned()), ["d97709c26172db54", "ba744b6a190ac4fa", "377e41706ac069d9"]);
}

#[test]
fn aes_keys_are_the_bytes_of_chance() {
    for bits in [128, 192, 256] {
        let key = bytes(ask("generateAesKey", json!({ "size": bits }), &[]));
        let mut same = vec![0; bits / 8];
        Seeded(1, 0).fill(&mut same).unwrap();
        assert_eq!(key, same);
    }
}

#[test]
fn a_generator_that_fails_stops_the_host() {
    struct Broken;
    impl Random for Broken {
        fn fill(&mut self, _: &mut [u8]) -> Result<(), Fault> {
            Err(Fault("no seed".into()))
        }
    }
    let (private, _) = pair(ask("generateRsaKeyPair", json!({ "size": 2048 }), &[]));
    let questions = [
        json!({ "fn": "generateAesKey", "size": 256 }),
        json!({ "fn": "generateRsaKeyPair", "size": 2048 }),
        json!({ "fn": "generateEcdsaKeyPair", "curve": "secp256r1" }),
        json!({ "fn": "generateEddsaKeyPair", "curve": "x25519" }),
        json!({ "fn": "sign", "name": "RSA-PSS", "hash": "SHA-256", "saltLength": 32, "key": private, "lens": [0] }),
    ];
    for question in questions {
        assert_eq!(answer(&question.to_string(), b"", &mut 0, &mut Broken).unwrap_err().0, "no seed");
    }
}

#[test]
fn a_generator_that_repeats_itself_ends_the_search_for_primes() {
    struct Stuck;
    impl Random for Stuck {
        fn fill(&mut self, out: &mut [u8]) -> Result<(), Fault> {
            out.fill(0xff);
            Ok(())
        }
    }
    let question = json!({ "fn": "generateRsaKeyPair", "size": 2048 }).to_string();
    let refused = refusal(answer(&question, b"", &mut 0, &mut Stuck).unwrap());
    assert_eq!(refused, "InternalError: Failed to generate RSA key pair: no prime found");
}

#[test]
fn work_is_the_same_every_time() {
    let work_of = |question: &Value| {
        let mut work = 0;
        answer(&question.to_string(), b"", &mut work, &mut Seeded(3, 0)).unwrap();
        work
    };
    let digest = json!({ "fn": "digest", "algorithm": "SHA-256", "lens": [0] });
    let rsa = json!({ "fn": "generateRsaKeyPair", "size": 2048 });
    assert_eq!(work_of(&digest), work_of(&digest));
    assert_eq!(work_of(&rsa), work_of(&rsa));
    assert!(work_of(&digest) < 40_000);
    assert!((120_000_000..12_000_000_000).contains(&work_of(&rsa)), "{}", work_of(&rsa));
}
