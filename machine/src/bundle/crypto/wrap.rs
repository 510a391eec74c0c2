//! `wrapKey` and `unwrapKey`: RSA-OAEP, AES-KWP (RFC 5649), and both together (CKM_RSA_AES_KEY_WRAP of PKCS#11: a fresh AES
//! key under OAEP, then the key under KWP).
//!
//! The question has the buffers key, wrapping key and, optionally, label. A wrapping key of RSA is the bytes of a PEM.

use aes_kw::{KeyInit, KwpAes128, KwpAes192, KwpAes256};

use super::keys::{self, Private, Public};
use super::{Question, Random, Result, cost, generate, internal, oaep, range, rsa_key};

const WRAP: &str = "Failed to wrap key: ";
const UNWRAP: &str = "Failed to unwrap key: ";

pub(super) fn wrap(question: &Question<'_>, work: &mut u64, random: &mut dyn Random) -> Result<Vec<u8>> {
    let (key, wrapping, label) = (question.buffer(0), question.buffer(1), question.buffer(2));
    *work += cost::bytes(key.len());
    match question.text("name") {
        "RSA-OAEP" => oaep::encrypt(&public(wrapping, work)?, key, label, random),
        "AES-KWP" => kwp(wrapping, key, work).map_err(|reason| internal(format!("{WRAP}{reason}"))),
        "RSA-OAEP-AES-KWP" => {
            let public = public(wrapping, work)?;
            let bits = question.number("aesKeySize");
            if ![128, 192, 256].contains(&bits) {
                return Err(internal(format!("{WRAP}invalid key size")));
            }
            let fresh = generate::aes(bits, random)?;
            let mut out = oaep::encrypt(&public, &fresh, label, random)?;
            out.extend(kwp(&fresh, key, work).map_err(|reason| internal(format!("{WRAP}{reason}")))?);
            Ok(out)
        }
        _ => Err(range("unsupported key wrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP")),
    }
}

pub(super) fn unwrap(question: &Question<'_>, work: &mut u64) -> Result<Vec<u8>> {
    let (wrapped, unwrapping, label) = (question.buffer(0), question.buffer(1), question.buffer(2));
    *work += cost::bytes(wrapped.len());
    let unwrapped = match question.text("name") {
        "RSA-OAEP" => private(unwrapping, work).and_then(|(key, _)| open(&key, wrapped, label)),
        "AES-KWP" => unkwp(unwrapping, wrapped, work),
        "RSA-OAEP-AES-KWP" => private(unwrapping, work).and_then(|(key, size)| {
            let (first, second) =
                wrapped.split_at_checked(size).filter(|(_, second)| !second.is_empty()).ok_or("not enough ciphertext")?;
            let fresh = open(&key, first, label)?;
            if ![16, 24, 32].contains(&fresh.len()) {
                return Err("invalid key size".into());
            }
            unkwp(&fresh, second, work)
        }),
        _ => return Err(range("unsupported key unwrapping algorithm, supported: RSA-OAEP, AES-KWP, RSA-OAEP-AES-KWP")),
    };
    unwrapped.map_err(|reason| internal(format!("{UNWRAP}{reason}")))
}

fn public(pem: &[u8], work: &mut u64) -> Result<rsa::RsaPublicKey> {
    let text = String::from_utf8_lossy(pem);
    let key = match keys::public_from_pem(&text, work) {
        Ok(Public::Rsa(key)) => key,
        Ok(_) => return Err(internal(format!("{WRAP}invalid RSA key"))),
        Err(reason) => return Err(internal(format!("{WRAP}{reason}"))),
    };
    *work += cost::rsa_public(rsa_key::bits(&key.n));
    key.key().ok_or_else(|| internal(format!("{WRAP}invalid RSA key")))
}

/// The PKCS#8 of an RSA key, and how many bytes its modulus has.
fn private(pem: &[u8], work: &mut u64) -> Result<(Vec<u8>, usize), String> {
    let key = keys::private_from_pem(&String::from_utf8_lossy(pem), work)?;
    let Private::Rsa(rsa) = &key else { return Err("invalid RSA key".into()) };
    let bits = rsa_key::bits(&rsa.public.n);
    *work += cost::rsa_private(bits);
    Ok((key.to_pkcs8().ok_or("invalid RSA key")?, bits.div_ceil(8)))
}

fn open(key: &[u8], wrapped: &[u8], label: &[u8]) -> Result<Vec<u8>, String> {
    oaep::decrypt(key, wrapped, label).ok_or_else(|| "oaep decoding error".into())
}

fn kwp(key: &[u8], plain: &[u8], work: &mut u64) -> Result<Vec<u8>, String> {
    if plain.is_empty() {
        return Err("nothing to wrap".into());
    }
    *work += cost::wrap(plain.len());
    let mut out = vec![0; plain.len().div_ceil(8) * 8 + 8];
    let length = match key.len() {
        16 => KwpAes128::new_from_slice(key).map_err(|_| "invalid key size")?.wrap_key(plain, &mut out).map(<[u8]>::len),
        24 => KwpAes192::new_from_slice(key).map_err(|_| "invalid key size")?.wrap_key(plain, &mut out).map(<[u8]>::len),
        32 => KwpAes256::new_from_slice(key).map_err(|_| "invalid key size")?.wrap_key(plain, &mut out).map(<[u8]>::len),
        _ => return Err("invalid key size".into()),
    };
    out.truncate(length.map_err(|_| "data too long")?);
    Ok(out)
}

fn unkwp(key: &[u8], wrapped: &[u8], work: &mut u64) -> Result<Vec<u8>, String> {
    if ![16, 24, 32].contains(&key.len()) {
        return Err("invalid key size".into());
    }
    if wrapped.len() < 16 || !wrapped.len().is_multiple_of(8) {
        return Err("not enough ciphertext".into());
    }
    *work += cost::wrap(wrapped.len());
    let mut out = vec![0; wrapped.len()];
    let length = match key.len() {
        16 => KwpAes128::new_from_slice(key).map_err(|_| "invalid key size")?.unwrap_key(wrapped, &mut out).map(<[u8]>::len),
        24 => KwpAes192::new_from_slice(key).map_err(|_| "invalid key size")?.unwrap_key(wrapped, &mut out).map(<[u8]>::len),
        _ => KwpAes256::new_from_slice(key).map_err(|_| "invalid key size")?.unwrap_key(wrapped, &mut out).map(<[u8]>::len),
    };
    out.truncate(length.map_err(|_| "integrity check failed")?);
    Ok(out)
}
