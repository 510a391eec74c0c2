//! `verifySignature`: with a public key or the certificate of one.

use aws_lc_rs::signature::{self, EcdsaVerificationAlgorithm, UnparsedPublicKey};
use rsa::BigUint;
use rsa::traits::PublicKeyParts;

use super::ec::Curve;
use super::keys::{self, Edwards, Public};
use super::sign::{Hash, salt_length};
use super::{Question, Result, cost, der, internal, range, rsa_key, x509};

/// The question has `name`, `hash`, `saltLength`, `key` and the buffers signature and data.
pub(super) fn verify(question: &Question<'_>, work: &mut u64) -> Result<bool> {
    let (name, key) = (question.text("name"), question.text("key"));
    let (signature, data) = (question.buffer(0), question.buffer(1));
    *work += cost::hash(data.len());
    if name == "EdDSA" {
        *work += cost::EDWARDS;
        return match keys::public_from_pem(key, work) {
            Ok(Public::Edwards(Edwards::Ed25519, key)) => {
                Ok(UnparsedPublicKey::new(&signature::ED25519, key).verify(data, signature).is_ok())
            }
            Ok(_) => Err(range("Failed to verify EdDSA signature: invalid EdDSA key")),
            Err(reason) => Err(range(format!("Failed to verify EdDSA signature: {reason}"))),
        };
    }
    if question.text("hash") != "SHA-256" {
        return Err(range("Unsupported hash algorithm, supported: SHA-256"));
    }
    if name != "RSA-PSS" && name != "ECDSA" {
        return Err(range("Unsupported signing algorithm, supported: RSA-PSS, ECDSA, EdDSA"));
    }
    let refuse = |reason: String| internal(format!("Failed to verify signature: {reason}"));
    // A certificate says itself what kind of key it has; a signature of another kind is then merely a wrong one.
    let certified = key.starts_with("-----BEGIN CERTIFICATE");
    let public = if certified { x509::key_of_pem(key, work) } else { keys::public_from_pem(key, work) }.map_err(refuse)?;
    match (name, public) {
        ("ECDSA", Public::Ec(curve, point)) => Ok(ecdsa(curve, &point, signature, data, work)),
        ("RSA-PSS", Public::Rsa(key)) => Ok(pss(&key, question.number("saltLength"), signature, data, work)),
        _ if certified => Ok(false),
        ("ECDSA", _) => Err(refuse("invalid EC key".into())),
        _ => Err(refuse("invalid RSA key".into())),
    }
}

/// `signature` is r and s, of equal length.
fn ecdsa(curve: Curve, point: &[u8], signature: &[u8], data: &[u8], work: &mut u64) -> bool {
    *work += cost::ECDSA_VERIFY;
    if signature.is_empty() || !signature.len().is_multiple_of(2) || signature.len() > 4 * curve.size() {
        return false;
    }
    let (r, s) = signature.split_at(signature.len() / 2);
    let encoded = der::sequence(&[&der::natural(r), &der::natural(s)]);
    let algorithm: &'static EcdsaVerificationAlgorithm = match curve {
        Curve::P256 => &signature::ECDSA_P256_SHA256_ASN1,
        Curve::P384 => &signature::ECDSA_P384_SHA256_ASN1,
    };
    UnparsedPublicKey::new(algorithm, point).verify(data, &encoded).is_ok()
}

fn pss(key: &rsa_key::Public, salt: i64, signature: &[u8], data: &[u8], work: &mut u64) -> bool {
    let bits = rsa_key::bits(&key.n);
    *work += cost::rsa_public(bits);
    let (Some(key), Some(salt)) = (key.key(), salt_length(salt, Hash::Sha256, bits)) else { return false };
    // The library takes a signature modulo n; there is only one that is below it.
    if BigUint::from_bytes_be(signature) >= *key.n() {
        return false;
    }
    key.verify(Hash::Sha256.pss(salt), &Hash::Sha256.digest(data), signature).is_ok()
}
