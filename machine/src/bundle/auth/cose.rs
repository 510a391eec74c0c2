//! Signed bodies: COSE_Sign1 (RFC 9052), and the policy that asks a user for one.
//!
//! ```text
//! [18] [ protected: bstr, unprotected: map, payload: bstr, signature: bstr ]      the tag may be missing
//!        └ { 1: alg, 4: kid, … }       kid: the ASCII hex of the signer's id
//! signed: ["Signature1", protected, h'', payload]
//! ```
//!
//! The message is read by hand from CBOR values, whose depth is limited. A reader that also parses counter-signatures follows
//! protected headers inside protected headers to any depth, and a stranger's body could exhaust the stack.

use super::{Cache, Refusal, USERS_CERTS, Verdict, caller::Identity, key::Algorithm};
use crate::{
    Fault,
    bundle::{request::Request, store::Rows},
};
use coset::{
    ProtectedHeader, SignatureContext,
    cbor::{de::from_reader, value::Value},
    sig_structure_data,
};

const TAG_SIGN1: u64 = 18;
const HEADER_ALG: i64 = 1;
const HEADER_CRIT: i64 = 2;
const HEADER_KID: i64 = 4;

/// The orders of P-256, P-384 and P-521.
const N_P256: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];
const N_P384: [u8; 48] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xc7, 0x63, 0x4d, 0x81, 0xf4, 0x37, 0x2d, 0xdf, 0x58, 0x1a, 0x0d, 0xb2, 0x48, 0xb0, 0xa7, 0x7a, 0xec, 0xec,
    0x19, 0x6a, 0xcc, 0xc5, 0x29, 0x73,
];
const N_P521: [u8; 66] = [
    0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfa, 0x51, 0x86, 0x87, 0x83, 0xbf, 0x2f, 0x96, 0x6b,
    0x7f, 0xcc, 0x01, 0x48, 0xf7, 0x09, 0xa5, 0xd0, 0x3b, 0xb5, 0xc9, 0xb8, 0x89, 0x9c, 0x47, 0xae, 0xbb, 0x6f, 0xb7, 0x1e, 0x91,
    0x38, 0x64, 0x09,
];

/// A message whose signature is still to be checked.
#[derive(Debug)]
pub(super) struct Sign1 {
    protected: Vec<u8>,
    headers: Vec<(Value, Value)>,
    payload: Option<Vec<u8>>,
    signature: Vec<u8>,
    alg: i64,
    kid: Vec<u8>,
}

/// A message whose signature is one of the key that it names.
#[derive(Debug)]
pub(super) struct Verified {
    /// The signer's id.
    pub(super) id: String,
    pub(super) payload: Vec<u8>,
    pub(super) message: Sign1,
}

/// `user_cose_sign1`.
pub(super) fn user(request: &Request, rows: &impl Rows, parsed: &mut Cache) -> Verdict<Identity> {
    let message = match Sign1::of(request) {
        Ok(message) => message,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let verified = verify(message, USERS_CERTS, "Signer is not a known user", rows, parsed)?;
    Ok(verified.map(|verified| Identity::Signer { id: verified.id, payload: verified.payload }))
}

/// Checks the signature with the certificate that the table `certs` has under the message's `kid`.
pub(super) fn verify(
    message: Sign1,
    certs: &str,
    unknown: &str,
    rows: &impl Rows,
    parsed: &mut Cache,
) -> Result<Result<Verified, Refusal>, Fault> {
    let algorithm = match message.alg {
        -7 => Algorithm::Es256,
        -35 => Algorithm::Es384,
        -36 => Algorithm::Es512,
        other => return Refusal::reason(format!("Unsupported algorithm: {other}")),
    };
    let Ok(id) = std::str::from_utf8(&message.kid).map(str::to_owned) else { return Refusal::reason(unknown) };
    let Some(pem) = rows.get(certs, &message.kid)? else { return Refusal::reason(unknown) };
    let Some(certificate) = parsed.certificate_pem(&pem) else {
        return Refusal::broken(format!("Failed to get certificate for caller {id}"));
    };
    let payload = match (&message.payload, certificate.key()) {
        (Some(payload), Some(key))
            // What a critical header asks for is not known here, so it cannot be done.
            if message.header(&Value::from(HEADER_CRIT)).is_none()
                && key.verifies(algorithm, &message.signed(payload), &message.signature) =>
        {
            payload.clone()
        }
        _ => return Refusal::reason("Failed to validate COSE Sign1"),
    };
    Ok(Ok(Verified { id, payload, message }))
}

impl Sign1 {
    /// The message that is the body of `request`.
    pub(super) fn of(request: &Request) -> Result<Sign1, Refusal> {
        match request.header("content-type") {
            None => Err(Refusal::Reason("Missing content-type header".into())),
            Some("application/cose") => Sign1::read(&request.body).map_err(Refusal::Broken),
            Some(_) => Err(Refusal::Reason("Content type is not set to application/cose".into())),
        }
    }

    /// Reads a message; the error says what is missing.
    fn read(bytes: &[u8]) -> Result<Sign1, String> {
        let parts = match whole(bytes).ok_or("Failed to parse COSE_Sign1: the body is not CBOR")? {
            Value::Tag(TAG_SIGN1, inner) => inner.into_array(),
            other => other.into_array(),
        };
        let parts: [Value; 4] = parts
            .ok()
            .and_then(|parts| parts.try_into().ok())
            .ok_or("Failed to parse COSE_Sign1: the body is not an array of four")?;
        let (protected, payload, signature) = match parts {
            [Value::Bytes(protected), Value::Map(_), Value::Bytes(payload), Value::Bytes(signature)] => {
                (protected, Some(payload), signature)
            }
            [Value::Bytes(protected), Value::Map(_), Value::Null, Value::Bytes(signature)] => (protected, None, signature),
            _ => return Err("Failed to parse COSE_Sign1: a part is of another type".into()),
        };
        let headers = whole(&protected).and_then(|map| map.into_map().ok());
        let headers = headers.ok_or("Failed to decode the protected header of COSE_Sign1")?;
        let mut message = Sign1 { protected, headers, payload, signature, alg: 0, kid: Vec::new() };
        message.refuse_duplicates()?;
        message.alg = message.integer(&Value::from(HEADER_ALG), "alg")?;
        message.kid = match message.header(&Value::from(HEADER_KID)) {
            Some(Value::Bytes(kid)) => kid.clone(),
            _ => return Err("Failed to parse kid in protected header".into()),
        };
        Ok(message)
    }

    /// A parameter of the protected header.
    pub(super) fn header(&self, label: &Value) -> Option<&Value> {
        self.headers.iter().find(|(name, _)| name == label).map(|(_, value)| value)
    }

    /// A parameter that must be an integer.
    pub(super) fn integer(&self, label: &Value, name: &str) -> Result<i64, String> {
        let value = self.header(label).and_then(Value::as_integer).and_then(|value| i64::try_from(value).ok());
        value.ok_or_else(|| format!("Failed to parse {name} in protected header"))
    }

    /// A parameter that may be missing and must be text.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, String> {
        match self.header(&Value::from(name)) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text.clone())),
            Some(_) => Err(format!("Failed to parse {name} in protected header")),
        }
    }

    /// The signature as it stands in the message.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// The one of the two signatures that have the same meaning whose `s` is the smaller.
    ///
    /// With `r‖s` also `r‖n-s` verifies, and everybody can compute the one from the other. What must not come twice is
    /// therefore known by this one. The signature has been verified, so its length fits the algorithm and `0 < s < n`.
    pub(super) fn canonical_signature(&self) -> Vec<u8> {
        let order: &[u8] = match self.alg {
            -7 => &N_P256,
            -35 => &N_P384,
            _ => &N_P521,
        };
        let (r, s) = self.signature.split_at(self.signature.len() / 2);
        let other = subtract(order, s);
        [r, s.min(other.as_slice())].concat()
    }

    /// The bytes that are signed.
    fn signed(&self, payload: &[u8]) -> Vec<u8> {
        let protected = ProtectedHeader { original_data: Some(self.protected.clone()), header: Default::default() };
        sig_structure_data(SignatureContext::CoseSign1, protected, None, &[], payload)
    }

    /// A header that says two things says nothing. Only integers and text are labels.
    fn refuse_duplicates(&self) -> Result<(), String> {
        let mut seen = std::collections::BTreeSet::new();
        for (label, _) in &self.headers {
            let key = match label {
                Value::Integer(number) => (Some(i128::from(*number)), ""),
                Value::Text(text) => (None, text.as_str()),
                _ => return Err("A label in the protected header of COSE_Sign1 is neither integer nor text".into()),
            };
            if !seen.insert(key) {
                return Err("The protected header of COSE_Sign1 has a label twice".into());
            }
        }
        Ok(())
    }
}

/// The one CBOR value that `bytes` are.
fn whole(mut bytes: &[u8]) -> Option<Value> {
    let value = from_reader(&mut bytes).ok()?;
    bytes.is_empty().then_some(value)
}

/// `a - b` of big-endian numbers of one length, `a` not the smaller.
fn subtract(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = false;
    let mut out: Vec<u8> = (a.iter().rev().zip(b.iter().rev()))
        .map(|(a, b)| {
            let (first, under) = a.overflowing_sub(*b);
            let (digit, again) = first.overflowing_sub(u8::from(borrow));
            borrow = under || again;
            digit
        })
        .collect();
    out.reverse();
    out
}
