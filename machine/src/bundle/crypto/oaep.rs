//! RSA-OAEP (RFC 8017, 7.1) with SHA-256 for both hashes. Encryption is written out, because its seed must come from the
//! caller's chance and its label may be any bytes; decryption is aws-lc's, whose time does not depend on the secret.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use rsa::BigUint;
use rsa::hazmat::rsa_encrypt;
use rsa::traits::PublicKeyParts;

use super::{Random, Result, internal};

const HASH: usize = 32;

/// Encrypts: `00 ‖ seed ⊕ mask ‖ (hash(label) ‖ 00… ‖ 01 ‖ message) ⊕ mask`, to the power of e.
pub(super) fn encrypt(key: &rsa::RsaPublicKey, message: &[u8], label: &[u8], random: &mut dyn Random) -> Result<Vec<u8>> {
    let size = key.size();
    if message.len() + 2 * HASH + 2 > size {
        return Err(internal("Failed to wrap key: data too large for key size"));
    }
    let mut block = vec![0u8; size];
    let (seed, data) = block[1..].split_at_mut(HASH);
    random.fill(seed)?;
    data[..HASH].copy_from_slice(digest(&SHA256, label).as_ref());
    let start = data.len() - message.len();
    data[start - 1] = 1;
    data[start..].copy_from_slice(message);
    mask(data, seed);
    mask(seed, data);
    let number =
        rsa_encrypt(key, &BigUint::from_bytes_be(&block)).map_err(|_| internal("Failed to wrap key: invalid RSA key"))?;
    let digits = number.to_bytes_be();
    let mut out = vec![0; size - digits.len()];
    out.extend_from_slice(&digits);
    Ok(out)
}

/// Decrypts with a PKCS#8 key; `None` for whatever reason.
pub(super) fn decrypt(pkcs8: &[u8], wrapped: &[u8], label: &[u8]) -> Option<Vec<u8>> {
    let key = OaepPrivateDecryptingKey::new(PrivateDecryptingKey::from_pkcs8(pkcs8).ok()?).ok()?;
    if wrapped.len() != key.key_size_bytes() {
        return None;
    }
    let mut plain = vec![0; key.min_output_size()];
    let label = Some(label).filter(|label| !label.is_empty());
    Some(key.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, &mut plain, label).ok()?.to_vec())
}

/// Adds the mask that MGF1 makes of a seed.
fn mask(target: &mut [u8], seed: &[u8]) {
    for (counter, chunk) in (0u32..).zip(target.chunks_mut(HASH)) {
        let bytes = digest(&SHA256, &[seed, &counter.to_be_bytes()].concat());
        chunk.iter_mut().zip(bytes.as_ref()).for_each(|(byte, mask)| *byte ^= mask);
    }
}
