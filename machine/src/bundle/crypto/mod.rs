//! Everything cryptographic that a bundle can call: `ccf.crypto`, `ccf.pemToId`, `ccf.tcbHexToPolicy` and
//! `snp_attestation`. The realm asks one question at a time; the prelude has checked the kinds of the arguments.
//!
//! - An answer follows from the question and from the bytes that [`Random`] gives: an audit asks again and compares. What
//!   is signed with ECDSA takes its nonce from the key and the text (RFC 6979), what needs chance takes it from there.
//! - Nothing here knows the time. `isValidX509CertChain` looks at validity only for the `now` of its question.
//! - Keys that are made or unwrapped are as secret as the bytes of `Random`.
//! - A question is refused, never failed, whatever a caller sends; only `Random` can fail.
//!
//! Libraries: aws-lc for what needs no chance of ours (digests, verification, RSA decryption, Curve25519); RustCrypto
//! where the chance must be ours (RSA-PSS salt and blinding, ECDSA), since aws-lc takes its own.

mod cost;
mod der;
mod ec;
mod generate;
mod jwk;
mod keys;
mod oaep;
mod pem;
mod rsa_key;
mod sign;
mod snp;
mod tcb;
mod uvm;
mod verify;
mod wrap;
mod x509;

use std::borrow::Cow;

use sandbox::{Answer, Fault};
use serde_json::Value;

/// Where keys and nonces come from: the caller's generator, which starts from the secret seed of the request.
pub trait Random {
    /// Fills `out` with the next bytes.
    fn fill(&mut self, out: &mut [u8]) -> Result<(), Fault>;
}

/// Why there is no answer.
enum Error {
    /// The app gets an error.
    Refused(&'static str, String),
    /// The host failed.
    Fault(Fault),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::Fault(fault)
    }
}

type Result<T, E = Error> = std::result::Result<T, E>;

fn range(message: impl Into<String>) -> Error {
    Error::Refused("RangeError", message.into())
}

fn internal(message: impl Into<String>) -> Error {
    Error::Refused("InternalError", message.into())
}

/// Answers one question: `text` is `{"fn":name, ..arguments.., "lens":[..]}`, `data` the buffers one after another, as
/// long as `lens` says. Pairs of keys, JWKs and reports come back as JSON text, booleans as `true` or `false`.
///
/// What it costs beyond bytes is added to `work`, in instructions, from the question and its answer alone.
pub fn answer(text: &str, data: &[u8], work: &mut u64, random: &mut dyn Random) -> std::result::Result<Answer, Fault> {
    let mut units = 0;
    let asked = Question::parse(text, data).and_then(|question| dispatch(&question, &mut units, random));
    *work = work.saturating_add(units.saturating_mul(cost::UNIT));
    match asked {
        Ok(answer) => Ok(answer),
        Err(Error::Refused(name, message)) => Ok(Answer::Refused { name: Cow::Borrowed(name), message }),
        Err(Error::Fault(fault)) => Err(fault),
    }
}

/// The arguments of a question.
struct Question<'a> {
    arguments: Value,
    buffers: Vec<&'a [u8]>,
}

impl<'a> Question<'a> {
    fn parse(text: &str, mut data: &'a [u8]) -> Result<Self> {
        let malformed = || Error::Refused("TypeError", "Malformed question".into());
        let arguments: Value = serde_json::from_str(text).map_err(|_| malformed())?;
        let mut buffers = Vec::new();
        for length in arguments["lens"].as_array().into_iter().flatten() {
            let length = length.as_u64().and_then(|length| usize::try_from(length).ok()).ok_or_else(malformed)?;
            let (buffer, rest) = data.split_at_checked(length).ok_or_else(malformed)?;
            buffers.push(buffer);
            data = rest;
        }
        Ok(Self { arguments, buffers })
    }

    /// A text argument; a missing one is empty.
    fn text(&self, name: &str) -> &str {
        self.arguments[name].as_str().unwrap_or_default()
    }

    /// A text argument that may be missing.
    fn optional(&self, name: &str) -> Option<&str> {
        self.arguments[name].as_str()
    }

    /// A whole number; a missing one is 0.
    fn number(&self, name: &str) -> i64 {
        self.arguments[name].as_i64().unwrap_or_default()
    }

    /// The n-th buffer; a missing one is empty.
    fn buffer(&self, index: usize) -> &'a [u8] {
        self.buffers.get(index).copied().unwrap_or_default()
    }
}

fn dispatch(question: &Question<'_>, work: &mut u64, random: &mut dyn Random) -> Result<Answer> {
    *work += cost::QUESTION;
    let name = question.text("fn");
    match name {
        "digest" => Ok(Answer::Bytes(sign::digest(question.text("algorithm"), question.buffer(0), work)?)),
        "generateAesKey" => Ok(Answer::Bytes(generate::aes(question.number("size"), random)?)),
        "generateRsaKeyPair" => {
            let exponent = question.arguments["exponent"].as_u64();
            json(&generate::rsa_pair(question.number("size"), exponent, work, random)?)
        }
        "generateEcdsaKeyPair" => json(&generate::ecdsa_pair(question.text("curve"), work, random)?),
        "generateEddsaKeyPair" => json(&generate::eddsa_pair(question.text("curve"), work, random)?),
        "wrapKey" => Ok(Answer::Bytes(wrap::wrap(question, work, random)?)),
        "unwrapKey" => Ok(Answer::Bytes(wrap::unwrap(question, work)?)),
        "sign" => Ok(Answer::Bytes(sign::sign(question, work, random)?)),
        "verifySignature" => truth(verify::verify(question, work)?),
        "isValidX509CertBundle" => truth(x509::is_bundle(question.text("pem"), work)),
        "isValidX509CertChain" => {
            truth(x509::is_chain(question.text("chain"), question.text("trusted"), question.number("now"), work))
        }
        "pemToId" => Ok(Answer::Text(x509::pem_to_id(question.text("pem"), work)?)),
        "tcbHexToPolicy" => json(&tcb::hex_to_policy(question.text("cpuid"), question.text("tcb"))?),
        "verifySnpAttestation" => json(&snp::verify(question, work)?),
        _ => match jwk::Conversion::named(name) {
            Some(conversion) => conversion.run(question, work),
            None => Err(Error::Refused("TypeError", format!("There is no function {name}"))),
        },
    }
}

fn json(value: &Value) -> Result<Answer> {
    Ok(Answer::Text(value.to_string()))
}

fn truth(value: bool) -> Result<Answer> {
    Ok(Answer::Text(value.to_string()))
}
