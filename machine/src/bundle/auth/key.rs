//! Public keys, each of which verifies with the one algorithm that it is for.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    VerificationAlgorithm,
};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

/// A signature algorithm with its hash. Signatures of elliptic curves are `r‖s`, each as long as the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    /// ECDSA on P-256, SHA-256.
    Es256,
    /// ECDSA on P-384, SHA-384.
    Es384,
    /// ECDSA on P-521, SHA-512.
    Es512,
    /// RSASSA-PKCS1-v1_5, SHA-256, 2,048 to 8,192 bits.
    Rs256,
}

/// A public key.
#[derive(Debug, Clone)]
pub(super) struct PublicKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
}

/// `id-ecPublicKey` and `rsaEncryption`.
const EC: &str = "1.2.840.10045.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";

impl PublicKey {
    /// Reads a DER `SubjectPublicKeyInfo`; `None` if it is none, or of a kind that nothing here verifies with.
    pub(super) fn from_spki(spki: &[u8]) -> Option<PublicKey> {
        let (rest, info) = SubjectPublicKeyInfo::from_der(spki).ok()?;
        if !rest.is_empty() {
            return None;
        }
        let algorithm = match info.algorithm.algorithm.to_id_string().as_str() {
            RSA => Algorithm::Rs256,
            EC => match info.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string().as_str() {
                P256 => Algorithm::Es256,
                P384 => Algorithm::Es384,
                P521 => Algorithm::Es512,
                _ => return None,
            },
            _ => return None,
        };
        let verifier: &'static dyn VerificationAlgorithm = match algorithm {
            Algorithm::Es256 => &ECDSA_P256_SHA256_FIXED,
            Algorithm::Es384 => &ECDSA_P384_SHA384_FIXED,
            Algorithm::Es512 => &ECDSA_P521_SHA512_FIXED,
            Algorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
        };
        Some(PublicKey { algorithm, key: ParsedPublicKey::new(verifier, spki).ok()? })
    }

    /// Whether `signature` is this key's over `message`. A message that claims another algorithm than the key's is not.
    pub(super) fn verifies(&self, claimed: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        claimed == self.algorithm && self.key.verify_sig(message, signature).is_ok()
    }
}
