//! Certificates: bundles, chains, identities.
//!
//! A chain holds if its first certificate is trusted, or if issuers lead from it to a trusted one. An issuer's subject is
//! the other's issuer; it may sign certificates (basic constraints, key usage, path length) and has signed this one. A
//! trusted certificate need not be a root. An extension that is critical and not looked at here, such as name constraints,
//! breaks a chain. Revocation and the purposes of a certificate are not looked at.

use aws_lc_rs::signature as algorithms;
use aws_lc_rs::signature::{UnparsedPublicKey, VerificationAlgorithm};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AlgorithmIdentifier, X509Version};

use super::der::{self, Reader};
use super::keys::{self, Public};
use super::sign::Hash;
use super::{Result, cost, internal, pem};

/// How PEM calls a certificate.
const LABELS: [&str; 2] = ["CERTIFICATE", "X509 CERTIFICATE"];
/// How many certificates a bundle may have.
const MAX_CERTIFICATES: usize = 100;
/// How many signatures are checked for one chain: more only serves to keep the checker busy.
const MAX_SIGNATURES: usize = 100;

/// The DER of every certificate of a text, at least one; `None` if there is anything else in it, or too many.
pub(super) fn bundle(text: &str) -> Option<Vec<Vec<u8>>> {
    let blocks = pem::blocks(text)?;
    if blocks.is_empty() || blocks.len() > MAX_CERTIFICATES || blocks.iter().any(|block| !LABELS.contains(&block.label)) {
        return None;
    }
    Some(blocks.into_iter().map(|block| block.der).collect())
}

/// Parses a certificate that is nothing else.
pub(super) fn parse<'a>(der: &'a [u8], work: &mut u64) -> Option<X509Certificate<'a>> {
    *work += cost::CERTIFICATE + cost::bytes(der.len());
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, certificate)| certificate)
}

/// The SHA-256 of a certificate, which is the identity of a user or member.
pub(super) fn pem_to_id(text: &str, work: &mut u64) -> Result<String> {
    let der = first(text).map_err(|reason| internal(format!("Failed to parse PEM: {reason}")))?;
    parse(&der, work).ok_or_else(|| internal("Failed to parse PEM: not a certificate"))?;
    Ok(hex(&Hash::Sha256.digest(&der)))
}

/// The key of a certificate. The reason against it is a text.
pub(super) fn key_of_pem(text: &str, work: &mut u64) -> Result<Public, String> {
    let der = first(text)?;
    let certificate = parse(&der, work).ok_or("not a certificate")?;
    keys::public_from_spki(certificate.public_key().raw, work).ok_or_else(|| "unsupported public key type".into())
}

fn first(text: &str) -> Result<Vec<u8>, String> {
    pem::find(text, &LABELS).map(|block| block.der)
}

pub(super) fn is_bundle(text: &str, work: &mut u64) -> bool {
    bundle(text).is_some_and(|certificates| certificates.iter().all(|der| parse(der, work).is_some()))
}

/// `now_ms` is the time at which all certificates on the way have to be valid; 0 leaves that out.
pub(super) fn is_chain(chain: &str, trusted: &str, now_ms: i64, work: &mut u64) -> bool {
    let (Some(chain), Some(trusted)) = (bundle(chain), bundle(trusted)) else { return false };
    leads(&chain, &trusted, now_ms, work).unwrap_or(false)
}

/// Whether the first certificate of a chain, as DER, is trusted or issued by one that is. `None` if one does not parse.
pub(super) fn leads(chain: &[Vec<u8>], trusted: &[Vec<u8>], now_ms: i64, work: &mut u64) -> Option<bool> {
    let mut all = Vec::new();
    for (der, is_trusted) in trusted.iter().map(|der| (der, true)).chain(chain.iter().skip(1).map(|der| (der, false))) {
        all.push(Known { der, certificate: parse(der, work)?, is_trusted });
    }
    let target = Known { der: chain.first()?, certificate: parse(chain.first()?, work)?, is_trusted: false };
    let mut search = Search { now_ms, signatures: 0 };
    Some(search.reaches(&target, &mut all, 0, work))
}

struct Known<'a> {
    der: &'a [u8],
    certificate: X509Certificate<'a>,
    is_trusted: bool,
}

struct Search {
    now_ms: i64,
    signatures: usize,
}

impl Search {
    /// `below` is how many issuers there are between the target and the next one.
    fn reaches(&mut self, from: &Known<'_>, all: &mut Vec<Known<'_>>, below: u32, work: &mut u64) -> bool {
        if !self.is_valid_now(&from.certificate) || !extensions_are_known(&from.certificate) {
            return false;
        }
        if from.is_trusted || all.iter().any(|known| known.is_trusted && known.der == from.der) {
            return true;
        }
        for index in 0..all.len() {
            let issuer = &all[index];
            if issuer.certificate.subject().as_raw() != from.certificate.issuer().as_raw()
                || !may_issue(issuer, below)
                || self.signatures == MAX_SIGNATURES
            {
                continue;
            }
            self.signatures += 1;
            if !is_signed_by(&from.certificate, &issuer.certificate, work) {
                continue;
            }
            // Taken out while it is looked at, so that it is not an issuer of itself, and put back in its place.
            let issuer = all.swap_remove(index);
            let reached = self.reaches(&issuer, all, below + 1, work);
            all.push(issuer);
            let last = all.len() - 1;
            all.swap(index, last);
            if reached {
                return true;
            }
        }
        false
    }

    fn is_valid_now(&self, certificate: &X509Certificate<'_>) -> bool {
        let validity = certificate.validity();
        let now = self.now_ms.div_euclid(1000);
        self.now_ms <= 0 || (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
    }
}

fn may_issue(known: &Known<'_>, below: u32) -> bool {
    let issuer = &known.certificate;
    match issuer.key_usage() {
        Ok(None) => {}
        Ok(Some(usage)) if usage.value.key_cert_sign() => {}
        _ => return false,
    }
    match issuer.basic_constraints() {
        Ok(Some(constraints)) => {
            constraints.value.ca && constraints.value.path_len_constraint.is_none_or(|longest| below <= longest)
        }
        // The first version knows no extensions: of that time, only what is trusted as such is believed.
        Ok(None) => known.is_trusted && issuer.version == X509Version::V1,
        Err(_) => false,
    }
}

/// Every critical extension is one whose meaning is respected above, or restricts uses that are not ours.
fn extensions_are_known(certificate: &X509Certificate<'_>) -> bool {
    certificate.extensions().iter().filter(|extension| extension.critical).all(|extension| {
        matches!(
            extension.oid.to_id_string().as_str(),
            "2.5.29.15" // key usage
                | "2.5.29.17" // subject's other names
                | "2.5.29.19" // basic constraints
                | "2.5.29.31" // where revocations are published
                | "2.5.29.32" // policies
                | "2.5.29.37" // purposes
        )
    })
}

/// Whether one certificate's key signed another.
pub(super) fn is_signed_by(certificate: &X509Certificate<'_>, issuer: &X509Certificate<'_>, work: &mut u64) -> bool {
    let algorithm = &certificate.signature_algorithm;
    if *algorithm != certificate.tbs_certificate.signature {
        return false;
    }
    let message = certificate.tbs_certificate.as_ref();
    *work += cost::ECDSA_VERIFY + cost::bytes(message.len());
    let key = issuer.public_key();
    let Some(verification) = verification(algorithm, key) else { return false };
    UnparsedPublicKey::new(verification, &*key.subject_public_key.data).verify(message, &certificate.signature_value.data).is_ok()
}

/// How signatures of an algorithm are checked with a key.
fn verification(
    algorithm: &AlgorithmIdentifier<'_>,
    key: &x509_parser::x509::SubjectPublicKeyInfo<'_>,
) -> Option<&'static dyn VerificationAlgorithm> {
    let key_kind = key.algorithm.algorithm.to_id_string();
    let is_rsa = key_kind == "1.2.840.113549.1.1.1";
    let curve = || Some(key.algorithm.parameters.as_ref()?.as_oid().ok()?.to_id_string());
    Some(match algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.11" if is_rsa => &algorithms::RSA_PKCS1_2048_8192_SHA256,
        "1.2.840.113549.1.1.12" if is_rsa => &algorithms::RSA_PKCS1_2048_8192_SHA384,
        "1.2.840.113549.1.1.13" if is_rsa => &algorithms::RSA_PKCS1_2048_8192_SHA512,
        "1.2.840.113549.1.1.10" if is_rsa => match pss_hash(algorithm)? {
            Hash::Sha256 => &algorithms::RSA_PSS_2048_8192_SHA256,
            Hash::Sha384 => &algorithms::RSA_PSS_2048_8192_SHA384,
            Hash::Sha512 => &algorithms::RSA_PSS_2048_8192_SHA512,
        },
        "1.3.101.112" if key_kind == "1.3.101.112" => &algorithms::ED25519,
        hash if key_kind == "1.2.840.10045.2.1" => match (curve()?.as_str(), hash) {
            (P256, "1.2.840.10045.4.3.2") => &algorithms::ECDSA_P256_SHA256_ASN1,
            (P256, "1.2.840.10045.4.3.3") => &algorithms::ECDSA_P256_SHA384_ASN1,
            (P256, "1.2.840.10045.4.3.4") => &algorithms::ECDSA_P256_SHA512_ASN1,
            (P384, "1.2.840.10045.4.3.2") => &algorithms::ECDSA_P384_SHA256_ASN1,
            (P384, "1.2.840.10045.4.3.3") => &algorithms::ECDSA_P384_SHA384_ASN1,
            (P384, "1.2.840.10045.4.3.4") => &algorithms::ECDSA_P384_SHA512_ASN1,
            (P521, "1.2.840.10045.4.3.2") => &algorithms::ECDSA_P521_SHA256_ASN1,
            (P521, "1.2.840.10045.4.3.3") => &algorithms::ECDSA_P521_SHA384_ASN1,
            (P521, "1.2.840.10045.4.3.4") => &algorithms::ECDSA_P521_SHA512_ASN1,
            _ => return None,
        },
        _ => return None,
    })
}

const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";
const P521: &str = "1.3.132.0.35";

/// The hash of `SEQUENCE { [0] hash, [1] mask, [2] salt length }`. The mask has the same hash and the salt its length, or
/// the check fails.
fn pss_hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<Hash> {
    let parameters = algorithm.parameters.as_ref()?;
    let mut members = Reader(parameters.data);
    let mut hash = Reader(members.take(0xa0)?).sequence()?;
    match hash.take(der::OID)? {
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01] => Some(Hash::Sha256),
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x02] => Some(Hash::Sha384),
        [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x03] => Some(Hash::Sha512),
        _ => None,
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
