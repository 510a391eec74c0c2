//! Signed requests and tokens, made with nothing of the command's own.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair};
use coset::cbor::value::Value;
use coset::{CborSerializable, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana::Algorithm};
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

pub fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64
}

/// The id of a certificate.
pub fn id(cert_pem: &str) -> String {
    let der = pem::parse(cert_pem).expect("PEM");
    digest(&SHA256, der.contents()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A COSE_Sign1 message, tagged, with a key on P-384.
pub fn cose(key_pem: &str, cert_pem: &str, more: Vec<(&str, Value)>, payload: &[u8]) -> Vec<u8> {
    let key = pem::parse(key_pem).expect("PEM");
    let key = EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, key.contents()).expect("a key on P-384");
    let mut header = HeaderBuilder::new().algorithm(Algorithm::ES384).key_id(id(cert_pem).into_bytes());
    for (name, value) in more {
        header = header.text_value(name.into(), value);
    }
    let sign = |message: &[u8]| key.sign(&SystemRandom::new(), message).expect("it signs").as_ref().to_vec();
    let message = CoseSign1Builder::new().protected(header.build()).payload(payload.to_vec()).create_signature(&[], sign).build();
    message.to_tagged_vec().expect("CBOR")
}

/// The same message with another signature of the right length.
pub fn spoilt(message: &[u8]) -> Vec<u8> {
    let mut message = coset::CoseSign1::from_tagged_slice(message).expect("a message");
    message.signature[0] ^= 1;
    let bytes = message.clone().to_vec().expect("CBOR");
    [&[0xd2], &bytes[..]].concat()
}

/// A certificate of its own, valid from so many days ago to so many days from now, with its key; both PEM.
pub fn person(name: &str, from_days: i64, to_days: i64) -> (String, String) {
    use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P384_SHA384};
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).expect("a key");
    let mut params = CertificateParams::default();
    let at = |days: i64| {
        let day = std::time::Duration::from_secs(24 * 3600) * u32::try_from(days.abs()).expect("a few days");
        if days < 0 { SystemTime::now() - day } else { SystemTime::now() + day }
    };
    params.not_before = at(from_days).into();
    params.not_after = at(to_days).into();
    params.distinguished_name.push(DnType::CommonName, name);
    let cert = params.self_signed(&key).expect("a certificate");
    (cert.pem(), key.serialize_pem())
}

/// Runs `openssl` in a folder: its stdout.
pub fn openssl(folder: &Path, args: &[&str]) -> Vec<u8> {
    let output = Command::new("openssl").args(args).current_dir(folder).output().expect("openssl starts");
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// Base64url without padding.
pub fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
