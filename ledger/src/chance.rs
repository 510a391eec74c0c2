//! Chance: the key whose signatures are a service's random numbers.
//!
//! ```text
//! message     "glassbox chance\n" ‖ txid ‖ "\n" ‖ 64 hex digits: a signature transaction, and the root that it signs;
//!             "0.0" and 64 zeros before the first one
//! signature   48 bytes: a compressed point of G1                BLS12-381, minimal signatures,
//! public key  96 bytes: a compressed point of G2, 192 hex       BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_
//! ```
//!
//! A BLS signature is *unique*: for a key and a message there is one, and nobody who holds the key can look for one that
//! suits him. (Of ECDSA and Ed25519 signatures there are as many as one likes.) And who does not hold the key cannot tell
//! it in advance. So a signature over a root that is signed already is a random number that nobody chose, and everybody
//! can check it with the public key.
//!
//! Invariants: signing is a function of key and message; only the canonical encoding of a point in the right group, and
//! never the point at infinity, is taken for a key or a signature.

use blst::BLST_ERROR::BLST_SUCCESS;
use blst::min_sig::{PublicKey, SecretKey, Signature};

use crate::hex;
use crate::merkle::Hash;
use crate::txid::TxId;

/// Length of a signature.
pub const CHANCE_BYTES: usize = 48;
/// Length of the secret key.
pub const CHANCE_SECRET_BYTES: usize = 32;
/// Length of the public key.
pub const CHANCE_PUBLIC_BYTES: usize = 96;

/// The name of the way in which messages become points: RFC 9380, with the words of the BLS signature draft.
const DOMAIN: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_";

/// Signs roots, for the sake of the signatures.
pub struct ChanceKey(SecretKey);

/// Checks what a [`ChanceKey`] signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChancePublicKey(PublicKey);

/// Not a key for chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a BLS12-381 key in its one encoding")]
pub struct ChanceKeyError;

impl ChanceKey {
    /// The key that follows from 32 random bytes.
    pub(crate) fn from_randomness(bytes: &[u8; CHANCE_SECRET_BYTES]) -> Result<ChanceKey, ChanceKeyError> {
        SecretKey::key_gen(bytes, &[]).map(ChanceKey).map_err(|_| ChanceKeyError)
    }

    /// A key as [`ChanceKey::to_bytes`] gave it: a number between 0 and the order of the group, big-endian.
    pub(crate) fn from_bytes(bytes: &[u8; CHANCE_SECRET_BYTES]) -> Result<ChanceKey, ChanceKeyError> {
        SecretKey::from_bytes(bytes).map(ChanceKey).map_err(|_| ChanceKeyError)
    }

    pub(crate) fn to_bytes(&self) -> [u8; CHANCE_SECRET_BYTES] {
        self.0.to_bytes()
    }

    /// The key that others check with.
    pub fn public_key(&self) -> ChancePublicKey {
        ChancePublicKey(self.0.sk_to_pk())
    }

    /// The same, in 192 hex digits.
    pub fn public_key_hex(&self) -> String {
        self.public_key().to_hex()
    }

    /// The one signature over a signature transaction and its root. Before the first, `head` is `None` and `root` zeros.
    pub fn sign(&self, head: Option<TxId>, root: &Hash) -> [u8; CHANCE_BYTES] {
        self.0.sign(&message(head, root), DOMAIN, &[]).compress()
    }
}

impl ChancePublicKey {
    /// Reads 192 hex digits.
    pub fn from_hex(text: &str) -> Result<ChancePublicKey, ChanceKeyError> {
        let bytes: [u8; CHANCE_PUBLIC_BYTES] = hex::decode(text).ok_or(ChanceKeyError)?;
        let key = PublicKey::uncompress(&bytes).map_err(|_| ChanceKeyError)?;
        key.validate().map_err(|_| ChanceKeyError)?; // in the group, and not infinity
        if key.compress() == bytes { Ok(ChancePublicKey(key)) } else { Err(ChanceKeyError) }
    }

    /// The 192 hex digits.
    pub fn to_hex(&self) -> String {
        hex::encode(&self.0.compress())
    }

    /// True for the one signature of [`ChanceKey::sign`].
    pub fn verify(&self, head: Option<TxId>, root: &Hash, signature: &[u8; CHANCE_BYTES]) -> bool {
        let Ok(point) = Signature::uncompress(signature) else {
            return false;
        };
        let canonical = point.compress() == *signature && point.validate(true).is_ok();
        canonical && point.verify(false, &message(head, root), DOMAIN, &[], &self.0, false) == BLST_SUCCESS
    }
}

impl std::fmt::Debug for ChanceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChanceKey")
    }
}

fn message(head: Option<TxId>, root: &Hash) -> Vec<u8> {
    let head = head.map_or("0.0".to_owned(), |txid| txid.to_string());
    format!("glassbox chance\n{head}\n{}", hex::encode(root)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ChanceKey {
        ChanceKey::from_randomness(&[7; 32]).unwrap()
    }

    #[test]
    fn one_message_has_one_signature() {
        let key = key();
        let public = ChancePublicKey::from_hex(&key.public_key_hex()).unwrap();
        assert_eq!(public, key.public_key());
        assert_eq!(key.public_key_hex().len(), 192);
        let again = ChanceKey::from_bytes(&key.to_bytes()).unwrap();
        let head = TxId { view: 2, seqno: 17 };
        for (head, root) in [(None, [0; 32]), (Some(head), [0; 32]), (Some(head), [1; 32])] {
            let signature = key.sign(head, &root);
            assert_eq!(signature, again.sign(head, &root));
            assert!(public.verify(head, &root, &signature));
            assert!(!public.verify(Some(TxId { view: 3, seqno: 17 }), &root, &signature));
            assert!(!public.verify(head, &[2; 32], &signature));
            for at in 0..CHANCE_BYTES {
                for bit in 0..8 {
                    let mut changed = signature;
                    changed[at] ^= 1 << bit;
                    assert!(!public.verify(head, &root, &changed), "byte {at}, bit {bit}");
                }
            }
        }
        let other = ChanceKey::from_randomness(&[8; 32]).unwrap();
        assert!(!other.public_key().verify(None, &[0; 32], &key.sign(None, &[0; 32])));
    }

    /// A signature of this key must be the same in every build, since seeds follow from it.
    #[test]
    fn the_signature_of_a_known_key() {
        assert_eq!(message(None, &[0; 32]), format!("glassbox chance\n0.0\n{}", "0".repeat(64)).as_bytes());
        let text = "glassbox chance\n2.17\nabababababababababababababababababababababababababababababababab";
        assert_eq!(message(Some(TxId { view: 2, seqno: 17 }), &[0xab; 32]), text.as_bytes());
        let signature = key().sign(Some(TxId { view: 2, seqno: 17 }), &[0xab; 32]);
        assert_eq!(hex::encode(&signature), KNOWN_SIGNATURE);
        assert_eq!(key().public_key_hex(), KNOWN_PUBLIC_KEY);
    }

    const KNOWN_SIGNATURE: &str =
        "807f7ebe856e3c6f3fe1a6c3262e550e8bc38fbeddaa2adfc49799526a4637d92e6adcb27e68cbfaf158c1d1e3e9347e";

    const KNOWN_PUBLIC_KEY: &str = "8038bfe033bc328ea36bb7c3438bc5a27a0dc880506277e116c8b842ed0c1ea78d32c90b04afbca59bd828c1e6c5e3f3\
        19274412f2e9eecf7334114b02847693e9d997f1aa9f936d90cae8946df6593033431513e210880bcda015da1b61f6f5";

    #[test]
    fn not_a_key() {
        let good = key().public_key_hex();
        // Infinity, the encoding of another length, a point off the curve or off the group, upper-case digits.
        let infinity = "c0".to_owned() + &"00".repeat(95);
        for bad in [infinity, "00".repeat(96), good[2..].to_owned(), good.to_uppercase(), "9".repeat(192), String::new()] {
            assert_eq!(ChancePublicKey::from_hex(&bad), Err(ChanceKeyError), "{bad}");
        }
        assert!(!key().public_key().verify(None, &[0; 32], &[0; CHANCE_BYTES]));
        let mut infinity = [0; CHANCE_BYTES];
        infinity[0] = 0xc0;
        assert!(!key().public_key().verify(None, &[0; 32], &infinity));
        assert!(ChanceKey::from_bytes(&[0; 32]).is_err());
        assert!(ChanceKey::from_bytes(&[0xff; 32]).is_err(), "above the order of the group");
    }
}
