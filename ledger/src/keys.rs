//! The keys of a service, and the folder that holds them.
//!
//! ```text
//! keys/                 mode 0700
//!   service_cert.pem    self-signed; who trusts this certificate trusts the ledger
//!   service_key.pem     PKCS#8, mode 0600; signs roots (COSE) and the node's certificate
//!   node_cert.pem       signed by the service
//!   node_key.pem        PKCS#8, mode 0600; signs roots (ECDSA)
//!   ledger_secret       64 hex digits and a line feed, mode 0600
//!   chance              the same: the secret key of `chance`
//! ```
//!
//! Invariants: the folder appears complete or not at all; keys are never overwritten; [`Keys::load`] accepts only keys
//! that fit together, in the spelling in which [`Keys::save`] writes them. Nothing here prints a secret.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Digest, SHA384};
use aws_lc_rs::encoding::{AsBigEndian, EcPrivateKeyBin};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::pkcs8::Document;
use aws_lc_rs::rand::{SystemRandom, fill};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyUsagePurpose};

use crate::cert::{Certificate, CertificateError, encode_pem};
use crate::chance::{CHANCE_SECRET_BYTES, ChanceKey};
use crate::hex;
use crate::merkle::Hash;
use crate::secret::{LedgerSecret, SECRET_BYTES};

const SERVICE_CERT: &str = "service_cert.pem";
const SERVICE_KEY: &str = "service_key.pem";
const NODE_CERT: &str = "node_cert.pem";
const NODE_KEY: &str = "node_key.pem";
const SECRET: &str = "ledger_secret";
const CHANCE: &str = "chance";
/// Longest file of the folder.
const FILE_MAX_BYTES: u64 = 64 * 1024;
/// Longest name of a service or node, as X.520 has it.
pub const NAME_MAX_BYTES: usize = 64;

/// The names under which a node's own machine finds it: they stand in its certificate.
pub const LOCAL_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// The keys of a service with one node.
pub struct Keys {
    service: EcdsaKeyPair,
    service_pkcs8: Vec<u8>,
    service_certificate: Certificate,
    node: EcdsaKeyPair,
    node_pkcs8: Vec<u8>,
    node_certificate: Certificate,
    secret: Arc<LedgerSecret>,
    chance: ChanceKey,
    random: SystemRandom,
}

/// Keys that cannot be made, read, written or used together.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is not what its name says.
    #[error("{file}: {reason}")]
    Malformed {
        /// Which.
        file: &'static str,
        /// Why.
        reason: &'static str,
    },
    /// A certificate cannot be used.
    #[error("{file}: {source}")]
    Certificate {
        /// Which.
        file: &'static str,
        /// Why.
        source: CertificateError,
    },
    /// The keys cannot be generated.
    #[error("keys and certificates cannot be generated: {0}")]
    Generate(String),
}

impl Keys {
    /// New keys, with certificates that are valid between two times in seconds since 1970.
    pub fn generate(service_name: &str, node_name: &str, not_before_s: u64, not_after_s: u64) -> Result<Keys, KeyError> {
        if [service_name, node_name].iter().any(|name| name.is_empty() || name.len() > NAME_MAX_BYTES) {
            return Err(KeyError::Generate(format!("a name must have 1 to {NAME_MAX_BYTES} bytes")));
        }
        let failed = |e: rcgen::Error| KeyError::Generate(e.to_string());
        let new_key = || rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).map_err(failed);
        let (service, node) = (new_key()?, new_key()?);
        let params = |name: &str| {
            let mut params = CertificateParams::default();
            let epoch = rcgen::date_time_ymd(1970, 1, 1);
            let time = |s| epoch.checked_add(std::time::Duration::from_secs(s).try_into().ok()?);
            let out_of_range = || KeyError::Generate("the validity is out of range".to_owned());
            params.not_before = time(not_before_s).ok_or_else(out_of_range)?;
            params.not_after = time(not_after_s).ok_or_else(out_of_range)?;
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(DnType::CommonName, name);
            params.use_authority_key_identifier_extension = true;
            Ok(params)
        };
        let mut service_params = params(service_name)?;
        service_params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        service_params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let mut node_params = params(node_name)?;
        node_params.is_ca = IsCa::ExplicitNoCa;
        node_params.subject_alt_names = CertificateParams::new(LOCAL_NAMES.map(str::to_owned)).map_err(failed)?.subject_alt_names;
        node_params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let service_der = service_params.self_signed(&service).map_err(failed)?;
        let issuer = Issuer::from_params(&service_params, &service);
        let node_der = node_params.signed_by(&node, &issuer).map_err(failed)?;
        let mut secret = [0; SECRET_BYTES];
        fill(&mut secret).map_err(|_| KeyError::Generate("no randomness".to_owned()))?;
        let mut chance = [0; CHANCE_SECRET_BYTES];
        fill(&mut chance).map_err(|_| KeyError::Generate("no randomness".to_owned()))?;
        let chance = ChanceKey::from_randomness(&chance).map_err(|e| KeyError::Generate(e.to_string()))?;
        Keys::assemble(
            service.serialize_der(),
            &encode_pem("CERTIFICATE", service_der.der()),
            node.serialize_der(),
            &encode_pem("CERTIFICATE", node_der.der()),
            secret,
            chance,
        )
    }

    /// Reads a folder.
    pub fn load(dir: &Path) -> Result<Keys, KeyError> {
        let read = |file: &'static str| {
            let path = dir.join(file);
            let io = |source| KeyError::Io { path: path.clone(), source };
            if fs::metadata(&path).map_err(io)?.len() > FILE_MAX_BYTES {
                return Err(KeyError::Malformed { file, reason: "the file is too long" });
            }
            String::from_utf8(fs::read(&path).map_err(io)?)
                .map_err(|_| KeyError::Malformed { file, reason: "the file is not text" })
        };
        let key = |file: &'static str| {
            let text = read(file)?;
            let malformed = || KeyError::Malformed { file, reason: "not the PEM text of a private key" };
            let parsed = pem::parse(&text).map_err(|_| malformed())?;
            if encode_pem("PRIVATE KEY", parsed.contents()) != text {
                return Err(malformed());
            }
            Ok(parsed.into_contents())
        };
        let digits = |file: &'static str| {
            let text = read(file)?;
            let bytes = text.strip_suffix('\n').and_then(hex::decode::<32>);
            bytes.ok_or(KeyError::Malformed { file, reason: "not 64 hex digits and a line feed" })
        };
        let chance = ChanceKey::from_bytes(&digits(CHANCE)?);
        let chance = chance.map_err(|_| KeyError::Malformed { file: CHANCE, reason: "not a secret key of BLS12-381" })?;
        let secret = digits(SECRET)?;
        Keys::assemble(key(SERVICE_KEY)?, &read(SERVICE_CERT)?, key(NODE_KEY)?, &read(NODE_CERT)?, secret, chance)
    }

    /// Writes a folder that does not exist yet, or is empty.
    pub fn save(&self, dir: &Path) -> Result<(), KeyError> {
        let io = |path: &Path| {
            let path = path.to_owned();
            move |source| KeyError::Io { path, source }
        };
        let mut partial = dir.as_os_str().to_owned();
        partial.push(".new");
        let partial = PathBuf::from(partial);
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(io(&partial))?;
        }
        fs::DirBuilder::new().mode(0o700).create(&partial).map_err(io(&partial))?;
        let secret = hex::encode(self.secret.raw()) + "\n";
        let chance = hex::encode(&self.chance.to_bytes()) + "\n";
        for (file, text) in [
            (SERVICE_CERT, self.service_certificate.pem()),
            (SERVICE_KEY, &encode_pem("PRIVATE KEY", &self.service_pkcs8)),
            (NODE_CERT, self.node_certificate.pem()),
            (NODE_KEY, &encode_pem("PRIVATE KEY", &self.node_pkcs8)),
            (SECRET, &secret),
            (CHANCE, &chance),
        ] {
            let path = partial.join(file);
            let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(io(&path))?;
            out.write_all(text.as_bytes()).and_then(|()| out.sync_all()).map_err(io(&path))?;
        }
        let sync = |path: &Path| fs::File::open(path).and_then(|folder| folder.sync_all()).map_err(io(path));
        sync(&partial)?;
        fs::rename(&partial, dir).map_err(io(dir))?;
        match dir.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync(parent),
            _ => sync(Path::new(".")),
        }
    }

    /// The certificate that outsiders must know to verify the ledger and its receipts.
    pub fn service_certificate(&self) -> &Certificate {
        &self.service_certificate
    }

    /// The certificate of the node that signs.
    pub fn node_certificate(&self) -> &Certificate {
        &self.node_certificate
    }

    /// The secret that seals transactions.
    pub fn secret(&self) -> &Arc<LedgerSecret> {
        &self.secret
    }

    /// The node's private key, PEM, for connections: its certificate names [`LOCAL_NAMES`].
    pub fn node_key_pem(&self) -> String {
        encode_pem("PRIVATE KEY", &self.node_pkcs8)
    }

    /// The key whose signatures are the service's random numbers. Nothing of the ledger alone says which key that should
    /// be: the application names its public key in the first transaction, and compares.
    pub fn chance(&self) -> &ChanceKey {
        &self.chance
    }

    /// The node's ECDSA signature over a root, in DER, where the root stands in for the hash of a message.
    ///
    /// ECDSA takes a hash as a number. The library signs P-384 only with hashes of 48 bytes, so the 32 bytes are
    /// extended to the left with zeros, which leaves the number as it is.
    pub(crate) fn node_sign(&self, root: &Hash) -> Result<Vec<u8>, Unspecified> {
        let mut number = [0; 48];
        number[16..].copy_from_slice(root);
        let digest = Digest::import_less_safe(&number, &SHA384)?;
        Ok(self.node.sign_digest(&digest)?.as_ref().to_vec())
    }

    /// The service's ES384 signature over a message, r ‖ s.
    pub(crate) fn service_sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        Ok(self.service.sign(&self.random, message)?.as_ref().to_vec())
    }

    fn assemble(
        service_pkcs8: Vec<u8>,
        service_pem: &str,
        node_pkcs8: Vec<u8>,
        node_pem: &str,
        secret: [u8; SECRET_BYTES],
        chance: ChanceKey,
    ) -> Result<Keys, KeyError> {
        let certificate = |file, text| Certificate::from_pem(text).map_err(|source| KeyError::Certificate { file, source });
        let malformed = |file, reason| KeyError::Malformed { file, reason };
        let service_certificate = certificate(SERVICE_CERT, service_pem)?;
        let node_certificate = certificate(NODE_CERT, node_pem)?;
        let not_a_key = "not a P-384 private key in PKCS#8";
        let service = EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_FIXED_SIGNING, &service_pkcs8)
            .map_err(|_| malformed(SERVICE_KEY, not_a_key))?;
        let node =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P384_SHA384_ASN1_SIGNING, &node_pkcs8).map_err(|_| malformed(NODE_KEY, not_a_key))?;
        for (pair, pkcs8, file) in [(&service, &service_pkcs8, SERVICE_KEY), (&node, &node_pkcs8, NODE_KEY)] {
            let again = encode_key(pair).map_err(|_| malformed(file, not_a_key))?;
            if again.as_ref() != pkcs8 {
                return Err(malformed(file, "the key is not in its one encoding"));
            }
        }
        if service.public_key().as_ref() != service_certificate.point() {
            return Err(malformed(SERVICE_KEY, "the key is not the one of service_cert.pem"));
        }
        if node.public_key().as_ref() != node_certificate.point() {
            return Err(malformed(NODE_KEY, "the key is not the one of node_cert.pem"));
        }
        if !service_certificate.is_endorsed_by(&service_certificate) {
            return Err(malformed(SERVICE_CERT, "the certificate is not signed by its own key"));
        }
        if !node_certificate.is_endorsed_by(&service_certificate) {
            return Err(malformed(NODE_CERT, "the certificate is not signed by the service"));
        }
        Ok(Keys {
            service,
            service_pkcs8,
            service_certificate,
            node,
            node_pkcs8,
            node_certificate,
            secret: Arc::new(LedgerSecret::new(secret)),
            chance,
            random: SystemRandom::new(),
        })
    }
}

/// PKCS#8 of a key, made from its numbers alone, so that nothing of the encoding it was read from is left.
fn encode_key(pair: &EcdsaKeyPair) -> Result<Document, Unspecified> {
    let number: EcPrivateKeyBin<'_> = pair.private_key().as_be_bytes()?;
    let point = pair.public_key().as_ref();
    let alone = EcdsaKeyPair::from_private_key_and_public_key(&ECDSA_P384_SHA384_ASN1_SIGNING, number.as_ref(), point);
    alone.map_err(|_| Unspecified)?.to_pkcs8v1()
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (service, node) = (&self.service_certificate, &self.node_certificate);
        f.debug_struct("Keys").field("service", service).field("node", node).finish_non_exhaustive()
    }
}
