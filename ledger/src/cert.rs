//! Certificates: what a ledger needs to know of an X.509 certificate, and no more.
//!
//! A service has a self-signed certificate; it signs the certificate of each node. Both hold P-384 keys. Names,
//! validity and extensions are for people and for TLS; here only the keys, the common name and the endorsement count,
//! because a ledger must still verify when its certificates have expired.
//!
//! Invariants: the subject is one common name, the key an uncompressed P-384 point, the signature ECDSA with SHA-384,
//! the PEM text is the one that encoding the DER again gives.

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::signature::{ECDSA_P384_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_FIXED, UnparsedPublicKey};
use yasna::models::ObjectIdentifier;
use yasna::tags::TAG_SEQUENCE;
use yasna::{ASN1Error, ASN1ErrorKind, ASN1Result, BERReader, Tag};

use crate::hex;
use crate::merkle::Hash;
use crate::secret::sha256;

/// Longest PEM text of a certificate.
pub const CERTIFICATE_MAX_BYTES: usize = 16 * 1024;

const ID_EC_PUBLIC_KEY: &[u64] = &[1, 2, 840, 10045, 2, 1];
const COMMON_NAME: &[u64] = &[2, 5, 4, 3];
const SECP384R1: &[u64] = &[1, 3, 132, 0, 34];
const ECDSA_WITH_SHA384: &[u64] = &[1, 2, 840, 10045, 4, 3, 3];

/// A certificate with a P-384 key.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    pem: String,
    id: String,
    name: String,
    signed: Vec<u8>,
    signature: Vec<u8>,
    point: Vec<u8>,
}

/// Not a certificate that a ledger can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not one certificate in PEM, spelled as we would.
    #[error("not the PEM text of one certificate")]
    Pem,
    /// Not DER, or not with a P-384 key and an ECDSA-SHA384 signature.
    #[error("not a certificate with a P-384 key, signed by ECDSA with SHA-384")]
    Der,
}

impl Certificate {
    /// Reads PEM.
    pub fn from_pem(text: &str) -> Result<Certificate, CertificateError> {
        if text.len() > CERTIFICATE_MAX_BYTES {
            return Err(CertificateError::Pem);
        }
        let parsed = pem::parse(text).map_err(|_| CertificateError::Pem)?;
        if parsed.tag() != "CERTIFICATE" || encode_pem("CERTIFICATE", parsed.contents()) != text {
            return Err(CertificateError::Pem);
        }
        let parts = yasna::parse_der(parsed.contents(), read).map_err(|_| CertificateError::Der)?;
        let Parts { signed, signature, name, spki, point } = parts;
        Ok(Certificate { pem: text.to_owned(), id: hex::encode(&sha256(&spki)), name, signed, signature, point })
    }

    /// The PEM text.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// The name of the key: SHA-256 of its SubjectPublicKeyInfo, in hex. Node ids and COSE key ids are these.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The common name of the subject.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key, as an uncompressed point.
    pub(crate) fn point(&self) -> &[u8] {
        &self.point
    }

    /// True when the owner of `issuer` signed this certificate.
    pub fn is_endorsed_by(&self, issuer: &Certificate) -> bool {
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &issuer.point).verify(&self.signed, &self.signature).is_ok()
    }

    /// True when `signature` (DER) signs a root of the tree, which stands in for the hash of a message.
    pub fn verifies_root(&self, root: &Hash, signature: &[u8]) -> bool {
        let digest = Digest::import_less_safe(root, &SHA256).expect("a root has the length of a SHA-256");
        UnparsedPublicKey::new(&ECDSA_P384_SHA256_ASN1, &self.point).verify_digest(&digest, signature).is_ok()
    }

    /// True when `signature` (r ‖ s) signs a message with ES384.
    pub(crate) fn verifies_es384(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, &self.point).verify(message, signature).is_ok()
    }
}

impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.id)
    }
}

/// PEM with line feeds, as all public tools write it.
pub(crate) fn encode_pem(tag: &str, der: &[u8]) -> String {
    let config = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    pem::encode_config(&pem::Pem::new(tag, der), config)
}

struct Parts {
    signed: Vec<u8>,
    signature: Vec<u8>,
    name: String,
    /// SubjectPublicKeyInfo, and the point in it.
    spki: Vec<u8>,
    point: Vec<u8>,
}

fn read(reader: BERReader<'_, '_>) -> ASN1Result<Parts> {
    reader.read_sequence(|certificate| {
        let signed = certificate.next().read_der()?;
        certificate.next().read_sequence(|algorithm| oid(algorithm.next(), ECDSA_WITH_SHA384))?;
        let signature = octets(certificate.next())?;
        let (name, spki) = yasna::parse_der(&signed, |reader| {
            reader.read_sequence(|fields| {
                fields.read_optional(|version| version.read_tagged(Tag::context(0), |v| v.read_u64()))?;
                for _ in ["serial number", "algorithm", "issuer", "validity"] {
                    fields.next().read_der()?;
                }
                let name = common_name(fields.next())?;
                let spki = fields.next().read_der()?;
                while fields.read_optional(|extension| extension.read_der())?.is_some() {}
                Ok((name, spki))
            })
        })?;
        let point = yasna::parse_der(&spki, |reader| {
            reader.read_sequence(|fields| {
                fields.next().read_sequence(|algorithm| {
                    oid(algorithm.next(), ID_EC_PUBLIC_KEY)?;
                    oid(algorithm.next(), SECP384R1)
                })?;
                octets(fields.next())
            })
        })?;
        if point.len() != 97 || point[0] != 4 {
            return Err(ASN1Error::new(ASN1ErrorKind::Invalid));
        }
        Ok(Parts { signed, signature, name, spki, point })
    })
}

/// The name of a subject that has a common name and nothing else.
fn common_name(reader: BERReader<'_, '_>) -> ASN1Result<String> {
    reader.read_sequence(|names| {
        names.next().read_set(|set| {
            set.next(&[TAG_SEQUENCE])?.read_sequence(|attribute| {
                oid(attribute.next(), COMMON_NAME)?;
                attribute.next().read_utf8string()
            })
        })
    })
}

fn oid(reader: BERReader<'_, '_>, expected: &[u64]) -> ASN1Result<()> {
    let found = reader.read_oid()?;
    if found == ObjectIdentifier::from_slice(expected) { Ok(()) } else { Err(ASN1Error::new(ASN1ErrorKind::Invalid)) }
}

/// A bit string of whole bytes.
fn octets(reader: BERReader<'_, '_>) -> ASN1Result<Vec<u8>> {
    let (bytes, bits) = reader.read_bitvec_bytes()?;
    if bits == bytes.len() * 8 { Ok(bytes) } else { Err(ASN1Error::new(ASN1ErrorKind::Invalid)) }
}
