//! The two curves of ECDSA, P-256 and P-384.

use aws_lc_rs::agreement;
use ecdsa::hazmat::sign_prehashed_rfc6979;
use p256::NistP256;
use p256::elliptic_curve::sec1::ToSec1Point;
use p384::NistP384;
use sha2::{Digest, Sha256, Sha384, Sha512};

use super::sign::Hash;

/// A curve of NIST.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Curve {
    P256,
    P384,
}

impl Curve {
    /// The object identifier, as the content of a DER value.
    pub fn oid(self) -> &'static [u8] {
        match self {
            Curve::P256 => &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07],
            Curve::P384 => &[0x2b, 0x81, 0x04, 0x00, 0x22],
        }
    }

    /// By its object identifier.
    pub fn by_oid(oid: &[u8]) -> Option<Self> {
        [Curve::P256, Curve::P384].into_iter().find(|curve| curve.oid() == oid)
    }

    /// Its name in a JWK.
    pub fn crv(self) -> &'static str {
        match self {
            Curve::P256 => "P-256",
            Curve::P384 => "P-384",
        }
    }

    /// How many bytes a coordinate or a scalar has.
    pub fn size(self) -> usize {
        match self {
            Curve::P256 => 32,
            Curve::P384 => 48,
        }
    }

    /// The uncompressed form of a point (`04 x y`), if it is one of the curve.
    pub fn point(self, bytes: &[u8]) -> Option<Vec<u8>> {
        let point = match self {
            Curve::P256 => p256::PublicKey::from_sec1_bytes(bytes).ok()?.to_sec1_point(false).as_bytes().to_vec(),
            Curve::P384 => p384::PublicKey::from_sec1_bytes(bytes).ok()?.to_sec1_point(false).as_bytes().to_vec(),
        };
        Some(point)
    }

    /// The point of a private scalar, if it is one: between 1 and the order, of the curve's size.
    pub fn public(self, scalar: &[u8]) -> Option<Vec<u8>> {
        if scalar.len() != self.size() {
            return None;
        }
        let algorithm = match self {
            Curve::P256 => &agreement::ECDH_P256,
            Curve::P384 => &agreement::ECDH_P384,
        };
        let key = agreement::PrivateKey::from_private_key(algorithm, scalar).ok()?;
        let point = key.compute_public_key().ok()?.as_ref().to_vec();
        Some(point)
    }

    /// Signs deterministically (RFC 6979): `r s`, each as long as the curve. The generator of the nonce uses the hash of
    /// the message, as the RFC says.
    pub fn sign(self, scalar: &[u8], hash: Hash, message: &[u8]) -> Option<Vec<u8>> {
        macro_rules! with {
            ($key:ty, $curve:ty, $digest:ty) => {{
                let key = <$key>::from_slice(scalar).ok()?;
                let digest = <$digest>::digest(message);
                let (signature, _) = sign_prehashed_rfc6979::<$curve, $digest>(&key.to_nonzero_scalar(), &digest, &[]);
                signature.to_bytes().to_vec()
            }};
        }
        let signature = match (self, hash) {
            (Curve::P256, Hash::Sha256) => with!(p256::SecretKey, NistP256, Sha256),
            (Curve::P256, Hash::Sha384) => with!(p256::SecretKey, NistP256, Sha384),
            (Curve::P256, Hash::Sha512) => with!(p256::SecretKey, NistP256, Sha512),
            (Curve::P384, Hash::Sha256) => with!(p384::SecretKey, NistP384, Sha256),
            (Curve::P384, Hash::Sha384) => with!(p384::SecretKey, NistP384, Sha384),
            (Curve::P384, Hash::Sha512) => with!(p384::SecretKey, NistP384, Sha512),
        };
        Some(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_lies_between_one_and_the_order() {
        for curve in [Curve::P256, Curve::P384] {
            let size = curve.size();
            let mut one = vec![0; size];
            assert_eq!(curve.public(&one), None);
            one[size - 1] = 1;
            let generator = curve.public(&one).expect("one is a scalar");
            assert_eq!(curve.point(&generator), Some(generator.clone()));
            assert_eq!(curve.public(&vec![0xff; size]), None);
            assert_eq!(curve.public(&one[1..]), None);
            // Two points have this x; this y is of none.
            let mut off = generator;
            off[size + 1] ^= 1;
            assert_eq!(curve.point(&off), None);
            assert_eq!(curve.point(&[0]), None, "infinity is no key");
        }
    }
}
