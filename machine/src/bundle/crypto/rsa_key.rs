//! RSA keys as numbers. The bounds here keep every later operation finite: no key is longer than [`MAX_BITS`], no
//! modulus or prime is even or zero.

use rsa::BigUint;
use rsa::traits::{PrivateKeyParts, PublicKeyParts};

/// The longest modulus.
pub(super) const MAX_BITS: usize = 4096;
/// The shortest modulus.
pub(super) const MIN_BITS: usize = 1024;

/// The public half, as big-endian numbers without leading zeros.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Public {
    pub n: Vec<u8>,
    pub e: Vec<u8>,
}

/// All numbers of a private key, in the order of PKCS#1, as they were given: a key that is read is written again the same.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Private {
    pub public: Public,
    pub d: Vec<u8>,
    pub p: Vec<u8>,
    pub q: Vec<u8>,
    pub dp: Vec<u8>,
    pub dq: Vec<u8>,
    pub qi: Vec<u8>,
}

/// How many bits a number has.
pub(super) fn bits(number: &[u8]) -> usize {
    let digits = super::der::strip(number);
    digits.first().map_or(0, |first| digits.len() * 8 - first.leading_zeros() as usize)
}

fn is_odd(number: &[u8]) -> bool {
    number.last().is_some_and(|last| last & 1 == 1)
}

impl Public {
    /// The key for computations, if its numbers can be ones.
    pub fn key(&self) -> Option<rsa::RsaPublicKey> {
        let length = bits(&self.n);
        let exponent = bits(&self.e);
        if !(MIN_BITS..=MAX_BITS).contains(&length) || !is_odd(&self.n) || !(2..=33).contains(&exponent) || !is_odd(&self.e) {
            return None;
        }
        rsa::RsaPublicKey::new(BigUint::from_bytes_be(&self.n), BigUint::from_bytes_be(&self.e)).ok()
    }
}

impl Private {
    /// All numbers of a key that was made here.
    pub fn from_key(key: &rsa::RsaPrivateKey) -> Option<Self> {
        let [p, q] = key.primes() else { return None };
        Some(Self {
            public: Public { n: key.n().to_bytes_be(), e: key.e().to_bytes_be() },
            d: key.d().to_bytes_be(),
            p: p.to_bytes_be(),
            q: q.to_bytes_be(),
            dp: key.dp()?.to_bytes_be(),
            dq: key.dq()?.to_bytes_be(),
            qi: key.crt_coefficient()?.to_bytes_be(),
        })
    }

    /// The key for computations, if all its numbers fit together. Whether the two factors are primes is not checked: with
    /// others the signature does not verify, which the computation itself finds.
    pub fn key(&self) -> Option<rsa::RsaPrivateKey> {
        self.public.key()?;
        let length = bits(&self.public.n);
        let fits = |number: &[u8]| bits(number) <= length;
        if ![&self.d, &self.p, &self.q, &self.dp, &self.dq, &self.qi].into_iter().all(|number| fits(number)) {
            return None;
        }
        if !is_odd(&self.p) || !is_odd(&self.q) || bits(&self.p) < 2 || bits(&self.q) < 2 || self.p == self.q {
            return None;
        }
        let number = |bytes: &[u8]| BigUint::from_bytes_be(bytes);
        let key = rsa::RsaPrivateKey::from_components(
            number(&self.public.n),
            number(&self.public.e),
            number(&self.d),
            vec![number(&self.p), number(&self.q)],
        )
        .ok()?;
        let derived = Self::from_key(&key)?;
        (derived.dp == self.dp && derived.dq == self.dq && derived.qi == self.qi).then_some(key)
    }
}
