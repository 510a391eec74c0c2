//! New keys, from the caller's chance alone: the same bytes give the same key, in every version of this code. That is why
//! the search for primes is written out here: a library may search another way in its next release.

use rsa::{BigUint, RsaPrivateKey};
use serde_json::{Value, json};

use super::ec::Curve;
use super::keys::{Edwards, Private};
use super::{Error, Random, Result, cost, internal, range, rsa_key};

/// The lengths of RSA keys that are made.
const RSA_BITS: std::ops::RangeInclusive<i64> = 2048..=4096;
/// Bases of Miller and Rabin for each prime. FIPS 186-5 (table B.1) asks for 4 or 5 at these lengths.
const ROUNDS: usize = 8;
/// A search that takes longer met a broken generator: about 350 to 710 candidates are needed.
const MAX_CANDIDATES: usize = 40_000;

pub(super) fn aes(bits: i64, random: &mut dyn Random) -> Result<Vec<u8>> {
    if ![128, 192, 256].contains(&bits) {
        return Err(range("invalid key size (not one of 128, 192, 256)"));
    }
    let mut key = vec![0; bits as usize / 8];
    random.fill(&mut key)?;
    Ok(key)
}

pub(super) fn ecdsa_pair(curve: &str, work: &mut u64, random: &mut dyn Random) -> Result<Value> {
    let curve = match curve {
        "secp256r1" => Curve::P256,
        "secp384r1" => Curve::P384,
        _ => return Err(range("Unsupported curve id, supported: secp256r1, secp384r1")),
    };
    *work += 2 * cost::EC_PUBLIC;
    let mut scalar = vec![0; curve.size()];
    // One of 2^32 strings is no scalar of P-256; of P-384 almost none.
    for _ in 0..32 {
        random.fill(&mut scalar)?;
        if curve.public(&scalar).is_some() {
            return pair(&Private::Ec(curve, scalar)).ok_or_else(|| internal("Failed to generate ECDSA key pair: no encoding"));
        }
    }
    Err(internal("Failed to generate ECDSA key pair: no chance"))
}

pub(super) fn eddsa_pair(curve: &str, work: &mut u64, random: &mut dyn Random) -> Result<Value> {
    let use_ = match curve {
        "curve25519" => Edwards::Ed25519,
        "x25519" => Edwards::X25519,
        _ => return Err(range("Unsupported curve id, supported: curve25519, x25519")),
    };
    *work += cost::EDWARDS;
    let mut secret = [0; 32];
    random.fill(&mut secret)?;
    pair(&Private::Edwards(use_, secret)).ok_or_else(|| internal("Failed to generate EdDSA key pair: no encoding"))
}

pub(super) fn rsa_pair(bits: i64, exponent: Option<u64>, work: &mut u64, random: &mut dyn Random) -> Result<Value> {
    if !RSA_BITS.contains(&bits) || bits % 8 != 0 {
        return Err(range("invalid RSA key size (not a multiple of 8 from 2048 to 4096)"));
    }
    let exponent = exponent.unwrap_or(65537);
    if exponent < 3 || exponent.is_multiple_of(2) || exponent > u64::from(u32::MAX) {
        return Err(internal("Failed to generate RSA key pair: bad exponent value"));
    }
    let half = bits as usize / 2;
    let p = prime(half, exponent, None, work, random)?;
    let q = prime(half, exponent, Some(&p), work, random)?;
    // The larger one first, as is the custom: the coefficient is that of q.
    let (p, q) = if p > q { (p, q) } else { (q, p) };
    let key = RsaPrivateKey::from_p_q(p, q, BigUint::from(exponent)).ok();
    let key = key.as_ref().and_then(rsa_key::Private::from_key);
    key.and_then(|key| pair(&Private::Rsa(Box::new(key)))).ok_or_else(|| internal("Failed to generate RSA key pair: no key"))
}

fn pair(key: &Private) -> Option<Value> {
    Some(json!({ "privateKey": key.to_pem()?, "publicKey": key.public()?.to_pem() }))
}

/// A prime of exactly so many bits, the upper two of them set, so that the product of two is as long as asked for; with
/// p - 1 coprime to the exponent, and far from `other` (FIPS 186-5, A.1.3).
fn prime(bits: usize, exponent: u64, other: Option<&BigUint>, work: &mut u64, random: &mut dyn Random) -> Result<BigUint> {
    let small = small_primes();
    let mut candidate = vec![0u8; bits / 8];
    let last = candidate.len() - 1;
    for _ in 0..MAX_CANDIDATES {
        *work += cost::CANDIDATE;
        random.fill(&mut candidate)?;
        candidate[0] |= 0xc0;
        candidate[last] |= 1;
        if small.iter().any(|divisor| remainder(&candidate, u64::from(*divisor)) == 0) {
            continue;
        }
        let less_one = (remainder(&candidate, exponent) + exponent - 1) % exponent;
        if gcd(exponent, less_one) != 1 {
            continue;
        }
        // Their upper 100 bits differ.
        if other.is_some_and(|other| other.to_bytes_be()[..13] == candidate[..13]) {
            continue;
        }
        let number = BigUint::from_bytes_be(&candidate);
        if is_probably_prime(&number, bits, work, random)? {
            return Ok(number);
        }
    }
    Err(internal("Failed to generate RSA key pair: no prime found"))
}

/// The test of Miller and Rabin with random bases.
fn is_probably_prime(number: &BigUint, bits: usize, work: &mut u64, random: &mut dyn Random) -> Result<bool, Error> {
    let one = BigUint::from(1u8);
    let two = BigUint::from(2u8);
    let minus_one = number - &one;
    let twos = (0..).take_while(|bit| (&minus_one >> *bit) % &two == BigUint::from(0u8)).count();
    let odd = &minus_one >> twos;
    let mut base = vec![0u8; bits / 8];
    'rounds: for _ in 0..ROUNDS {
        random.fill(&mut base)?;
        // Between 2 and n - 2.
        let base = BigUint::from_bytes_be(&base) % (number - BigUint::from(3u8)) + &two;
        *work += cost::power(bits);
        let mut power = base.modpow(&odd, number);
        if power == one || power == minus_one {
            continue;
        }
        for _ in 1..twos {
            power = power.modpow(&two, number);
            if power == minus_one {
                continue 'rounds;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

/// The odd primes below 4096.
fn small_primes() -> Vec<u16> {
    let mut primes: Vec<u16> = Vec::new();
    for number in (3..4096u16).step_by(2) {
        if primes.iter().take_while(|prime| **prime * **prime <= number).all(|prime| number % prime != 0) {
            primes.push(number);
        }
    }
    primes
}

/// A big-endian number modulo a small one, which is below 2^32.
fn remainder(number: &[u8], modulus: u64) -> u64 {
    number.chunks(4).fold(0, |rest, word| word.iter().fold(rest, |rest, byte| (rest << 8) | u64::from(*byte)) % modulus)
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_numbers() {
        let small = small_primes();
        assert_eq!((small.len(), small[0], small.last()), (563, 3, Some(&4093)));
        assert_eq!(remainder(&[1, 0, 0, 0, 0, 0, 0, 0, 5], 65537), ((1u128 << 64 | 5) % 65537) as u64);
        assert_eq!(gcd(65537, 65536), 1);
        assert_eq!(gcd(9, 6), 3);
    }
}
