//! `sign` and `digest`.

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::{digest, hmac};
use rsa::pss::Pss;
use rsa::rand_core::{CryptoRng, RngCore};
use rsa::sha2::{Sha256, Sha384, Sha512};

use super::keys::{self, Edwards, Private};
use super::{Question, Random, Result, cost, internal, range, rsa_key};

/// A hash function of the SHA-2 family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "SHA-256" => Some(Hash::Sha256),
            "SHA-384" => Some(Hash::Sha384),
            "SHA-512" => Some(Hash::Sha512),
            _ => None,
        }
    }

    pub fn digest(self, data: &[u8]) -> Vec<u8> {
        let algorithm = match self {
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        };
        digest::digest(algorithm, data).as_ref().to_vec()
    }

    /// How many bytes it gives.
    pub fn size(self) -> usize {
        match self {
            Hash::Sha256 => 32,
            Hash::Sha384 => 48,
            Hash::Sha512 => 64,
        }
    }

    /// The padding of RSA-PSS with a salt of so many bytes.
    pub fn pss(self, salt: usize) -> Pss {
        match self {
            Hash::Sha256 => Pss::new_blinded_with_salt::<Sha256>(salt),
            Hash::Sha384 => Pss::new_blinded_with_salt::<Sha384>(salt),
            Hash::Sha512 => Pss::new_blinded_with_salt::<Sha512>(salt),
        }
    }
}

pub(super) fn digest(algorithm: &str, data: &[u8], work: &mut u64) -> Result<Vec<u8>> {
    if algorithm != "SHA-256" {
        return Err(range("unsupported digest algorithm, supported: SHA-256"));
    }
    *work += cost::hash(data.len());
    Ok(Hash::Sha256.digest(data))
}

/// The question has `name`, `hash`, `saltLength`, `key` and the buffer to sign.
pub(super) fn sign(question: &Question<'_>, work: &mut u64, random: &mut dyn Random) -> Result<Vec<u8>> {
    let (name, key, data) = (question.text("name"), question.text("key"), question.buffer(0));
    *work += cost::hash(data.len());
    if name == "EdDSA" {
        *work += cost::EDWARDS;
        return eddsa(key, data, work).map_err(|reason| internal(format!("Failed to sign with EdDSA pair: {reason}")));
    }
    let hash = Hash::named(question.text("hash"))
        .ok_or_else(|| range("Unsupported hash algorithm, supported: SHA-256, SHA-384, SHA-512"))?;
    let refuse = |reason: String| internal(format!("Failed to sign: {reason}"));
    match name {
        "ECDSA" => ecdsa(key, hash, data, work).map_err(refuse),
        "RSA-PSS" => {
            let mut chance = Chance::new(random)?;
            pss(key, hash, question.number("saltLength"), data, work, &mut chance).map_err(refuse)
        }
        "HMAC" => {
            let algorithm = match hash {
                Hash::Sha256 => hmac::HMAC_SHA256,
                Hash::Sha384 => hmac::HMAC_SHA384,
                Hash::Sha512 => hmac::HMAC_SHA512,
            };
            Ok(hmac::sign(&hmac::Key::new(algorithm, key.as_bytes()), data).as_ref().to_vec())
        }
        _ => Err(range("Unsupported signing algorithm, supported: RSA-PSS, ECDSA, EdDSA, HMAC")),
    }
}

fn eddsa(key: &str, data: &[u8], work: &mut u64) -> Result<Vec<u8>, String> {
    match keys::private_from_pem(key, work)? {
        Private::Edwards(Edwards::Ed25519, seed) => {
            let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| "invalid EdDSA key")?;
            Ok(pair.try_sign(data).map_err(|_| "invalid EdDSA key")?.as_ref().to_vec())
        }
        _ => Err("invalid EdDSA key".into()),
    }
}

fn ecdsa(key: &str, hash: Hash, data: &[u8], work: &mut u64) -> Result<Vec<u8>, String> {
    match keys::private_from_pem(key, work)? {
        Private::Ec(curve, scalar) => {
            *work += cost::ecdsa_sign(curve);
            curve.sign(&scalar, hash, data).ok_or_else(|| "invalid EC key".into())
        }
        _ => Err("invalid EC key".into()),
    }
}

fn pss(key: &str, hash: Hash, salt: i64, data: &[u8], work: &mut u64, chance: &mut Chance) -> Result<Vec<u8>, String> {
    let Private::Rsa(key) = keys::private_from_pem(key, work)? else { return Err("invalid RSA key".into()) };
    let bits = rsa_key::bits(&key.public.n);
    let salt = salt_length(salt, hash, bits).ok_or("invalid salt length")?;
    *work += cost::rsa_private(bits);
    let key = key.key().ok_or("invalid RSA key")?;
    key.sign_with_rng(chance, hash.pss(salt), &hash.digest(data)).map_err(|error| error.to_string())
}

/// How long a salt may be: -1 means as long as the hash, as in OpenSSL. `None` if the modulus has no room for it.
pub(super) fn salt_length(asked: i64, hash: Hash, bits: usize) -> Option<usize> {
    let length = if asked == -1 { hash.size() } else { usize::try_from(asked).ok()? };
    let room = (bits - 1).div_ceil(8).checked_sub(hash.size() + 2)?;
    (length <= room).then_some(length)
}

/// Chance for the RSA library: one draw from the caller's, stretched by hashing. However much the library takes for its
/// blinding, what the caller draws next stays the same.
struct Chance {
    seed: [u8; 32],
    blocks: u64,
}

impl Chance {
    fn new(random: &mut dyn Random) -> Result<Self> {
        let mut seed = [0; 32];
        random.fill(&mut seed)?;
        Ok(Self { seed, blocks: 0 })
    }
}

impl RngCore for Chance {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(32) {
            self.blocks += 1;
            let block = digest::digest(&digest::SHA256, &[&self.seed[..], &self.blocks.to_be_bytes()].concat());
            chunk.copy_from_slice(&block.as_ref()[..chunk.len()]);
        }
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(out);
        Ok(())
    }
}

impl CryptoRng for Chance {}
