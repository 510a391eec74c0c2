//! What parsing certificates and keys has given, by digest of what was parsed.

use super::{cert::Certificate, key::PublicKey, sha256};
use std::collections::BTreeMap;

/// How many things of each kind a cache holds.
const MAX_ENTRIES: usize = 1_000;

/// Parsed certificates and keys. What it returns is what parsing would return, so it changes the time of an answer only.
#[derive(Debug, Default)]
pub struct Cache {
    // One map for each way to read bytes: what is a certificate in PEM must not pass for one in DER.
    certificates: BTreeMap<[u8; 32], Certificate>,
    certificates_pem: BTreeMap<[u8; 32], Certificate>,
    keys: BTreeMap<[u8; 32], PublicKey>,
}

impl Cache {
    /// An empty one.
    pub fn new() -> Cache {
        Cache::default()
    }

    /// The certificate with this DER, whose SHA-256 is `digest`; `None` if it is none.
    pub(super) fn certificate(&mut self, digest: [u8; 32], der: &[u8]) -> Option<&Certificate> {
        look_up(&mut self.certificates, digest, || Certificate::from_der(der))
    }

    /// The certificate in PEM.
    pub(super) fn certificate_pem(&mut self, pem: &[u8]) -> Option<&Certificate> {
        look_up(&mut self.certificates_pem, sha256(pem), || Certificate::from_pem(pem))
    }

    /// The key with this `SubjectPublicKeyInfo`.
    pub(super) fn key(&mut self, spki: &[u8]) -> Option<&PublicKey> {
        look_up(&mut self.keys, sha256(spki), || PublicKey::from_spki(spki))
    }

    /// The key of the certificate with this DER.
    pub(super) fn key_of(&mut self, der: &[u8]) -> Option<&PublicKey> {
        self.certificate(sha256(der), der)?.key()
    }
}

fn look_up<T>(map: &mut BTreeMap<[u8; 32], T>, digest: [u8; 32], parse: impl FnOnce() -> Option<T>) -> Option<&T> {
    if !map.contains_key(&digest) {
        let parsed = parse()?;
        if map.len() >= MAX_ENTRIES {
            map.clear();
        }
        map.insert(digest, parsed);
    }
    map.get(&digest)
}
