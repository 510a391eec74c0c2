//! Callers' signatures: who asked for a call, and after what.
//!
//! ```text
//! "glassbox call\n" backend "\n" nonce "\n" head " " root "\n" method "\n" args       signed with Ed25519 (RFC 8032)
//!
//! backend   64 hex digits      the backend that is called, so that no other can use the signature
//! nonce     9f86d081884c7d65.12   a session of the caller, and a count, so that nobody can use it twice
//! head      2.17               a signature transaction that the caller has seen,
//! root      64 hex digits      and the root that it signs, so that no other history can use it
//! method    "increment"        a JSON string
//! args      [1]                a JSON array, exactly as it was sent
//! ```
//!
//! The parts before `args` hold no line feed: hex digits, numbers, and JSON of a string. So one message has one reading.
//!
//! Which signatures are good must be the same for everybody, forever: an audit repeats the answer. The rule is that of
//! RFC 8032 without cofactor, `[S]B − [k]A = R` with `R` compared byte by byte, and besides:
//!
//! - `S` is below the order of the group, so that nobody can make a second signature from one (AWS-LC sees to it);
//! - the key is in its one encoding, its `y` below 2²⁵⁵ − 19 (AWS-LC sees to it);
//! - the key is none of the eight points of small order, for which anybody can sign anything (this module sees to it,
//!   and refuses the sign bit of a zero `x` with them).

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};

use crate::hex;
use crate::merkle::Hash;
use crate::txid::TxId;

/// Length of a caller's public key.
pub const CALLER_KEY_BYTES: usize = 32;
/// Length of a caller's signature.
pub const CALLER_SIGNATURE_BYTES: usize = 64;

/// What a caller signs. `method_json` is a JSON string, `args` a JSON array as it was sent.
pub fn message(backend: &str, nonce: &str, head: TxId, root: &Hash, method_json: &str, args: &str) -> Vec<u8> {
    let root = hex::encode(root);
    format!("glassbox call\n{backend}\n{nonce}\n{head} {root}\n{method_json}\n{args}").into_bytes()
}

/// True when the owner of the key signed the message, by the rule at the head of this module.
pub fn verify(key: &[u8; CALLER_KEY_BYTES], message: &[u8], signature: &[u8; CALLER_SIGNATURE_BYTES]) -> bool {
    !has_small_order(key) && UnparsedPublicKey::new(&ED25519, key).verify(message, signature).is_ok()
}

/// The `y` of the eight points of small order, little-endian: of order 8 (twice two points), 4, 1 and 2.
const SMALL_ORDER: [[u8; 32]; 5] = [
    *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\
       \xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
    *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\
       \x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
    [0; 32],
    with_ends(1, 0, 0),
    with_ends(0xec, 0xff, 0x7f),
];

const fn with_ends(first: u8, inside: u8, last: u8) -> [u8; 32] {
    let mut bytes = [inside; 32];
    bytes[0] = first;
    bytes[31] = last;
    bytes
}

fn has_small_order(key: &[u8; CALLER_KEY_BYTES]) -> bool {
    let mut y = *key;
    y[31] &= 0x7f;
    SMALL_ORDER.contains(&y)
}

/// A caller's own key.
pub struct CallerKey(Ed25519KeyPair);

impl CallerKey {
    /// The key that follows from 32 bytes, which are secret.
    pub fn from_seed(seed: [u8; 32]) -> CallerKey {
        CallerKey(Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed"))
    }

    /// The public key, which names the caller.
    pub fn public(&self) -> [u8; CALLER_KEY_BYTES] {
        self.0.public_key().as_ref().try_into().expect("a public key has 32 bytes")
    }

    /// Signs a message, see [`message`].
    pub fn sign(&self, message: &[u8]) -> [u8; CALLER_SIGNATURE_BYTES] {
        self.0.sign(message).as_ref().try_into().expect("a signature has 64 bytes")
    }
}

impl std::fmt::Debug for CallerKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CallerKey({})", hex::encode(&self.public()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: TxId = TxId { view: 2, seqno: 17 };

    #[test]
    fn the_message_is_as_drawn() {
        let backend = "5f".repeat(32);
        let text = format!("glassbox call\n{backend}\n9f86d081884c7d65.12\n2.17 {}\n\"increment\"\n[1]", "ab".repeat(32));
        assert_eq!(message(&backend, "9f86d081884c7d65.12", HEAD, &[0xab; 32], "\"increment\"", "[1]"), text.as_bytes());
    }

    /// RFC 8032, 7.1, tests 1 and 2.
    #[test]
    fn known_signatures() {
        let seed = hex::decode("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60").unwrap();
        let key = CallerKey::from_seed(seed);
        assert_eq!(hex::encode(&key.public()), "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
             5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
        assert_eq!(hex::encode(&key.sign(b"")), signature);
        let seed = hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
        let key = CallerKey::from_seed(seed);
        assert_eq!(hex::encode(&key.public()), "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let signature = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";
        assert_eq!(hex::encode(&key.sign(b"\x72")), signature);
    }

    #[test]
    fn each_flipped_bit_is_noticed() {
        let key = CallerKey::from_seed([3; 32]);
        let good = message(&"5f".repeat(32), "9f86d081884c7d65.12", HEAD, &[7; 32], "\"f\"", "[]");
        let (public, signature) = (key.public(), key.sign(&good));
        assert!(verify(&public, &good, &signature));
        let flipped = |bytes: &[u8], bit: usize| {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            bytes
        };
        for bit in 0..good.len() * 8 {
            assert!(!verify(&public, &flipped(&good, bit), &signature), "message, bit {bit}");
        }
        for bit in 0..64 * 8 {
            assert!(!verify(&public, &good, &flipped(&signature, bit).try_into().unwrap()), "signature, bit {bit}");
        }
        for bit in 0..32 * 8 {
            assert!(!verify(&flipped(&public, bit).try_into().unwrap(), &good, &signature), "key, bit {bit}");
        }
    }

    /// S + the order of the group is the same number in the equation.
    #[test]
    fn a_second_signature_cannot_be_made_from_one() {
        const ORDER: [u8; 32] =
            *b"\xed\xd3\xf5\x5c\x1a\x63\x12\x58\xd6\x9c\xf7\xa2\xde\xf9\xde\x14\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x10";
        let key = CallerKey::from_seed([3; 32]);
        let mut signature = key.sign(b"text");
        let mut carry = 0;
        for (byte, add) in signature[32..].iter_mut().zip(ORDER) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert_eq!(carry, 0);
        assert!(!verify(&key.public(), b"text", &signature));
    }

    /// With a key of small order, R = [S]B signs every message (or one in a few): such keys are nobody's.
    #[test]
    fn keys_of_small_order_and_other_encodings() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let mut signature = [0; 64];
        signature[0] = 1; // R: the identity, S: 0
        assert!(UnparsedPublicKey::new(&ED25519, identity).verify(b"anything", &signature).is_ok(), "the library alone");
        assert!(!verify(&identity, b"anything", &signature));
        for y in SMALL_ORDER {
            for sign in [0, 0x80] {
                let mut key = y;
                key[31] |= sign;
                let mut alone = false;
                for n in 0..128u8 {
                    alone |= UnparsedPublicKey::new(&ED25519, key).verify(&[n], &signature).is_ok();
                    assert!(!verify(&key, &[n], &signature), "{}", hex::encode(&key));
                }
                // With x = 0 there is no sign; the library refuses that one by itself.
                let signless = y == SMALL_ORDER[3] || y == SMALL_ORDER[4];
                assert_eq!(alone, sign == 0 || !signless, "the library alone, {}", hex::encode(&key));
            }
        }
        // y = p and y = p + 1 are other encodings of 0 and 1.
        for first in [0xed, 0xee] {
            assert!(!verify(&with_ends(first, 0xff, 0x7f), b"anything", &signature));
        }
    }
}
