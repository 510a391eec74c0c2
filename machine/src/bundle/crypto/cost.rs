//! What answers cost beyond the bytes that go in and out, in units of about 0.4 ns. Fixed figures, from measurements of a typical
//! core: the same question costs the same everywhere and in every replay.

use super::ec::Curve;

/// Instructions of the guest, which take about 0.1 ns each, in a unit.
pub(super) const UNIT: u64 = 4;

/// A question as such: the JSON and the way to its answer.
pub(super) const QUESTION: u64 = 5_000;
/// To check the signature of a certificate, a report or a text, ECDSA or other.
pub(super) const ECDSA_VERIFY: u64 = 400_000;
/// Ed25519 and X25519: a signature, a check, a public key.
pub(super) const EDWARDS: u64 = 150_000;
/// To check that a point is on its curve.
pub(super) const EC_POINT: u64 = 200_000;
/// The point of a private scalar.
pub(super) const EC_PUBLIC: u64 = 600_000;
/// To parse a certificate.
pub(super) const CERTIFICATE: u64 = 50_000;

/// To copy or decode so many bytes.
pub(super) fn bytes(length: usize) -> u64 {
    2 * length as u64
}

/// To hash so many bytes, at 500 MB/s.
pub(super) fn hash(length: usize) -> u64 {
    5 * length as u64
}

/// To wrap so many bytes: six encryptions with AES for each eight of them, in portable code.
pub(super) fn wrap(length: usize) -> u64 {
    75 * length as u64
}

/// An ECDSA signature, in portable arithmetic.
pub(super) fn ecdsa_sign(curve: Curve) -> u64 {
    match curve {
        Curve::P256 => 1_000_000,
        Curve::P384 => 3_000_000,
    }
}

/// An operation with a public RSA key: quadratic in its length.
pub(super) fn rsa_public(bits: usize) -> u64 {
    500_000 * square(bits) / square(2048)
}

/// An operation with a private RSA key, or the check that its parts fit together: cubic in its length.
pub(super) fn rsa_private(bits: usize) -> u64 {
    5_000_000 * square(bits) * bits as u64 / (square(2048) * 2048)
}

/// One modular power with a modulus and an exponent of so many bits.
pub(super) fn power(bits: usize) -> u64 {
    2_200_000 * square(bits) * bits as u64 / (square(1024) * 1024)
}

/// One candidate for a prime, drawn and sieved.
pub(super) const CANDIDATE: u64 = 15_000;

fn square(bits: usize) -> u64 {
    bits as u64 * bits as u64
}
