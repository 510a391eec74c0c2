//! Keys: what kinds there are, and their PEM. Public keys are SPKI, private ones PKCS#8; `RSA PRIVATE KEY`,
//! `RSA PUBLIC KEY` and `EC PRIVATE KEY` are read as well.

use aws_lc_rs::agreement;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::der::{self, Reader};
use super::ec::Curve;
use super::rsa_key;
use super::{cost, pem};

/// The object identifiers of kinds of keys, as the content of a DER value.
pub(super) mod oid {
    pub const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    pub const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    pub const X25519: &[u8] = &[0x2b, 0x65, 0x6e];
    pub const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
}

/// The two uses of Curve25519.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Edwards {
    /// Signatures.
    Ed25519,
    /// Agreement.
    X25519,
}

impl Edwards {
    pub fn oid(self) -> &'static [u8] {
        match self {
            Edwards::Ed25519 => oid::ED25519,
            Edwards::X25519 => oid::X25519,
        }
    }

    /// Its name in a JWK.
    pub fn crv(self) -> &'static str {
        match self {
            Edwards::Ed25519 => "Ed25519",
            Edwards::X25519 => "X25519",
        }
    }

    /// The public key of 32 secret bytes.
    pub fn public(self, secret: &[u8; 32]) -> Option<Vec<u8>> {
        match self {
            Edwards::Ed25519 => Some(Ed25519KeyPair::from_seed_unchecked(secret).ok()?.public_key().as_ref().to_vec()),
            Edwards::X25519 => {
                let key = agreement::PrivateKey::from_private_key(&agreement::X25519, secret).ok()?;
                Some(key.compute_public_key().ok()?.as_ref().to_vec())
            }
        }
    }
}

/// A public key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Public {
    /// A point, uncompressed.
    Ec(Curve, Vec<u8>),
    Rsa(rsa_key::Public),
    Edwards(Edwards, [u8; 32]),
}

/// A private key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Private {
    /// A scalar, as long as the curve.
    Ec(Curve, Vec<u8>),
    Rsa(Box<rsa_key::Private>),
    Edwards(Edwards, [u8; 32]),
}

/// Reads a public key. The reason against it is a text.
pub(super) fn public_from_pem(text: &str, work: &mut u64) -> Result<Public, String> {
    let block = pem::find(text, &["PUBLIC KEY", "RSA PUBLIC KEY"])?;
    match block.label {
        "PUBLIC KEY" => public_from_spki(&block.der, work).ok_or_else(|| "invalid public key".into()),
        _ => rsa_public(&block.der).map(Public::Rsa).ok_or_else(|| "invalid RSA key".into()),
    }
}

/// Reads a private key. The reason against it is a text.
pub(super) fn private_from_pem(text: &str, work: &mut u64) -> Result<Private, String> {
    let block = pem::find(text, &["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"])?;
    let key = match block.label {
        "PRIVATE KEY" => private_from_pkcs8(&block.der, work),
        "RSA PRIVATE KEY" => rsa_private(&block.der, work).map(|key| Private::Rsa(Box::new(key))),
        _ => ec_private(&block.der, None, work),
    };
    key.ok_or_else(|| "invalid private key".into())
}

/// Reads a SubjectPublicKeyInfo.
pub(super) fn public_from_spki(bytes: &[u8], work: &mut u64) -> Option<Public> {
    let mut outer = Reader(bytes);
    let mut info = outer.sequence()?;
    outer.end()?;
    let (kind, parameters) = algorithm(&mut info)?;
    let key = info.bits()?;
    info.end()?;
    match kind {
        oid::EC => {
            let curve = Curve::by_oid(Reader(parameters).take(der::OID)?)?;
            *work += cost::EC_POINT;
            Some(Public::Ec(curve, curve.point(key)?))
        }
        oid::RSA => rsa_public(key).map(Public::Rsa),
        oid::ED25519 if parameters.is_empty() => Some(Public::Edwards(Edwards::Ed25519, key.try_into().ok()?)),
        oid::X25519 if parameters.is_empty() => Some(Public::Edwards(Edwards::X25519, key.try_into().ok()?)),
        _ => None,
    }
}

fn private_from_pkcs8(bytes: &[u8], work: &mut u64) -> Option<Private> {
    let mut outer = Reader(bytes);
    let mut info = outer.sequence()?;
    outer.end()?;
    // Version 2 (RFC 5958) adds the public key, which follows from the private one.
    if !matches!(info.natural()?, [] | [1]) {
        return None;
    }
    let (kind, parameters) = algorithm(&mut info)?;
    let key = info.take(der::OCTET_STRING)?;
    match kind {
        oid::EC => {
            let curve = Curve::by_oid(Reader(parameters).take(der::OID)?)?;
            ec_private(key, Some(curve), work)
        }
        oid::RSA => rsa_private(key, work).map(|key| Private::Rsa(Box::new(key))),
        oid::ED25519 | oid::X25519 => {
            let use_ = if kind == oid::ED25519 { Edwards::Ed25519 } else { Edwards::X25519 };
            let mut inner = Reader(key);
            let secret = inner.take(der::OCTET_STRING)?;
            inner.end()?;
            Some(Private::Edwards(use_, secret.try_into().ok()?))
        }
        _ => None,
    }
}

/// An AlgorithmIdentifier: its object identifier, and what follows as it stands.
fn algorithm<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], &'a [u8])> {
    let mut algorithm = reader.sequence()?;
    let kind = algorithm.take(der::OID)?;
    Some((kind, algorithm.0))
}

fn rsa_public(bytes: &[u8]) -> Option<rsa_key::Public> {
    let mut outer = Reader(bytes);
    let mut numbers = outer.sequence()?;
    outer.end()?;
    let key = rsa_key::Public { n: numbers.natural()?.to_vec(), e: numbers.natural()?.to_vec() };
    numbers.end()?;
    key.key()?;
    Some(key)
}

fn rsa_private(bytes: &[u8], work: &mut u64) -> Option<rsa_key::Private> {
    let mut outer = Reader(bytes);
    let mut numbers = outer.sequence()?;
    outer.end()?;
    // Version 1 has more than two primes.
    if !numbers.natural()?.is_empty() {
        return None;
    }
    let mut next = || numbers.natural().map(<[u8]>::to_vec);
    let key = rsa_key::Private {
        public: rsa_key::Public { n: next()?, e: next()? },
        d: next()?,
        p: next()?,
        q: next()?,
        dp: next()?,
        dq: next()?,
        qi: next()?,
    };
    numbers.end()?;
    *work += cost::rsa_public(rsa_key::bits(&key.public.n).min(rsa_key::MAX_BITS));
    key.key()?;
    Some(key)
}

fn ec_private(bytes: &[u8], curve: Option<Curve>, work: &mut u64) -> Option<Private> {
    let mut outer = Reader(bytes);
    let mut parts = outer.sequence()?;
    outer.end()?;
    if parts.natural()? != [1] {
        return None;
    }
    let scalar = parts.take(der::OCTET_STRING)?.to_vec();
    let named = parts.take(0xa0).and_then(|parameters| Curve::by_oid(Reader(parameters).take(der::OID)?));
    let curve = curve.or(named)?;
    *work += cost::EC_PUBLIC + cost::EC_POINT;
    let point = curve.public(&scalar)?;
    // A public key that stands beside has to be the right one.
    if let Some(given) = parts.take(0xa1)
        && curve.point(Reader(given).bits()?)? != point
    {
        return None;
    }
    Some(Private::Ec(curve, scalar))
}

impl Public {
    /// As a SubjectPublicKeyInfo.
    pub fn to_spki(&self) -> Vec<u8> {
        let (algorithm, key) = match self {
            Public::Ec(curve, point) => (ec_algorithm(*curve), point.clone()),
            Public::Rsa(key) => (rsa_algorithm(), der::sequence(&[&der::natural(&key.n), &der::natural(&key.e)])),
            Public::Edwards(use_, key) => (der::sequence(&[&der::value(der::OID, use_.oid())]), key.to_vec()),
        };
        der::sequence(&[&algorithm, &der::bits(&key)])
    }

    pub fn to_pem(&self) -> String {
        pem::encode("PUBLIC KEY", &self.to_spki())
    }
}

impl Private {
    /// The other half.
    pub fn public(&self) -> Option<Public> {
        Some(match self {
            Private::Ec(curve, scalar) => Public::Ec(*curve, curve.public(scalar)?),
            Private::Rsa(key) => Public::Rsa(key.public.clone()),
            Private::Edwards(use_, secret) => Public::Edwards(*use_, use_.public(secret)?.try_into().ok()?),
        })
    }

    /// As PKCS#8, the way OpenSSL writes it.
    pub fn to_pkcs8(&self) -> Option<Vec<u8>> {
        let (algorithm, key) = match self {
            Private::Ec(curve, scalar) => {
                let point = der::value(0xa1, &der::bits(&curve.public(scalar)?));
                let key = der::sequence(&[&der::natural(&[1]), &der::value(der::OCTET_STRING, scalar), &point]);
                (ec_algorithm(*curve), key)
            }
            Private::Rsa(key) => {
                let numbers = [&key.public.n, &key.public.e, &key.d, &key.p, &key.q, &key.dp, &key.dq, &key.qi];
                let mut parts = vec![der::natural(&[0])];
                parts.extend(numbers.map(|number| der::natural(number)));
                (rsa_algorithm(), der::value(der::SEQUENCE, &parts.concat()))
            }
            Private::Edwards(use_, secret) => {
                (der::sequence(&[&der::value(der::OID, use_.oid())]), der::value(der::OCTET_STRING, secret))
            }
        };
        Some(der::sequence(&[&der::natural(&[0]), &algorithm, &der::value(der::OCTET_STRING, &key)]))
    }

    pub fn to_pem(&self) -> Option<String> {
        Some(pem::encode("PRIVATE KEY", &self.to_pkcs8()?))
    }
}

fn ec_algorithm(curve: Curve) -> Vec<u8> {
    der::sequence(&[&der::value(der::OID, oid::EC), &der::value(der::OID, curve.oid())])
}

fn rsa_algorithm() -> Vec<u8> {
    der::sequence(&[&der::value(der::OID, oid::RSA), &der::value(der::NULL, &[])])
}
