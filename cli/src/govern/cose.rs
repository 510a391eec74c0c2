//! Signs governance requests: the COSE_Sign1 messages that `ccf_cose_sign1` makes.
//!
//! ```text
//! 18([ h'{1: alg, 4: kid, "ccf.gov.msg.type", "ccf.gov.msg.proposal_id"?, "ccf.gov.msg.created_at"}', {}, payload, signature ])
//! ```
//!
//! `kid` is the lower-case hex of the SHA-256 of the certificate's DER. Signing draws randomness.

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair},
};
use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, cbor::value::Value, iana::Algorithm};

/// Signs `payload` as a request of type `kind`, about `proposal` where there is one.
///
/// The key is PEM, PKCS#8 (`PRIVATE KEY`) or SEC1 (`EC PRIVATE KEY`), on P-256 or P-384; the certificate is PEM.
pub fn sign1(
    kind: &str,
    proposal: Option<&str>,
    created_at_s: i64,
    payload: &[u8],
    key_pem: &str,
    cert_pem: &str,
) -> Result<Vec<u8>, String> {
    let (algorithm, key) = key_pair(key_pem)?;
    // The parameters stand in the order in which `ccf_cose_sign1` writes them.
    let mut header = HeaderBuilder::new()
        .algorithm(algorithm)
        .key_id(certificate_id(cert_pem)?.into_bytes())
        .text_value("ccf.gov.msg.type".into(), Value::from(kind));
    if let Some(proposal) = proposal {
        header = header.text_value("ccf.gov.msg.proposal_id".into(), Value::from(proposal));
    }
    let header = header.text_value("ccf.gov.msg.created_at".into(), Value::from(created_at_s)).build();
    let sign = |message: &[u8]| {
        let signature = key.sign(&SystemRandom::new(), message).map_err(|_| "the key does not sign".to_owned())?;
        Ok::<_, String>(signature.as_ref().to_vec())
    };
    let message = CoseSign1Builder::new().protected(header).payload(payload.to_vec());
    let message = message.try_create_signature(&[], sign)?.build();
    message.to_tagged_vec().map_err(|error| format!("cannot encode the message: {error}"))
}

/// A member's or user's id: the lower-case hex of the SHA-256 of the certificate's DER.
pub fn certificate_id(cert_pem: &str) -> Result<String, String> {
    let parsed = pem::parse(cert_pem).map_err(|error| format!("the certificate is not PEM: {error}"))?;
    if parsed.tag() != "CERTIFICATE" {
        return Err(format!("the certificate's file holds a {}", parsed.tag()));
    }
    Ok(digest(&SHA256, parsed.contents()).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The key with the algorithm that its curve is for.
fn key_pair(key_pem: &str) -> Result<(Algorithm, EcdsaKeyPair), String> {
    // `openssl ecparam -genkey` writes the curve's parameters before the key.
    let blocks = pem::parse_many(key_pem).map_err(|error| format!("the key is not PEM: {error}"))?;
    let block = blocks.iter().find(|block| matches!(block.tag(), "PRIVATE KEY" | "EC PRIVATE KEY"));
    let block = block.ok_or("the key's file holds no PRIVATE KEY and no EC PRIVATE KEY")?;
    [(Algorithm::ES256, &ECDSA_P256_SHA256_FIXED_SIGNING), (Algorithm::ES384, &ECDSA_P384_SHA384_FIXED_SIGNING)]
        .into_iter()
        .find_map(|(name, algorithm)| {
            // Reads both forms.
            EcdsaKeyPair::from_private_key_der(algorithm, block.contents()).ok().map(|key| (name, key))
        })
        .ok_or_else(|| "the key is not an ECDSA key on P-256 or P-384".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, KeyPair, UnparsedPublicKey, VerificationAlgorithm,
    };
    use coset::CoseSign1;

    macro_rules! data {
        ($name:literal) => {
            concat!(env!("CARGO_MANIFEST_DIR"), "/../machine/tests/bundle_auth/data/", $name)
        };
    }

    fn check(made: &[u8], theirs: &[u8], key_pem: &str, verifier: &'static dyn VerificationAlgorithm) {
        let (made, theirs) = (CoseSign1::from_tagged_slice(made).unwrap(), CoseSign1::from_tagged_slice(theirs).unwrap());
        // All but the signature is the same, to the byte.
        assert_eq!(
            (&made.protected, &made.unprotected, &made.payload),
            (&theirs.protected, &theirs.unprotected, &theirs.payload)
        );
        let (_, key) = key_pair(key_pem).unwrap();
        let key = UnparsedPublicKey::new(verifier, key.public_key().as_ref());
        made.verify_signature(&[], |signature, message| key.verify(message, signature)).unwrap();
        theirs.verify_signature(&[], |signature, message| key.verify(message, signature)).unwrap();
    }

    #[test]
    fn the_same_messages_as_ccf_cose_sign1() {
        let (key, cert) = (include_str!(data!("member.key.pem")), include_str!(data!("member.cert.pem")));
        let (created_at_s, payload) = (1_795_341_600, b"{\"actions\": []}");
        let made = sign1("proposal", None, created_at_s, payload, key, cert).unwrap();
        check(&made, include_bytes!(data!("proposal.cose")), key, &ECDSA_P384_SHA384_FIXED);
        let pkcs8 = include_str!(data!("member.pkcs8.pem"));
        let made = sign1("ballot", Some(&"ab".repeat(32)), created_at_s, payload, pkcs8, cert).unwrap();
        check(&made, include_bytes!(data!("ballot.cose")), key, &ECDSA_P384_SHA384_FIXED);
        let (key, cert) = (include_str!(data!("member256.key.pem")), include_str!(data!("member256.cert.pem")));
        let made = sign1("proposal", None, created_at_s, payload, key, cert).unwrap();
        check(&made, include_bytes!(data!("proposal256.cose")), key, &ECDSA_P256_SHA256_FIXED);
    }

    #[test]
    fn what_cannot_sign() {
        let (key, cert) = (include_str!(data!("member.key.pem")), include_str!(data!("member.cert.pem")));
        let sign = |key: &str, cert: &str| sign1("ack", None, 0, b"", key, cert).unwrap_err();
        assert_eq!(sign(include_str!(data!("rsa.key.pem")), cert), "the key is not an ECDSA key on P-256 or P-384");
        assert_eq!(sign(cert, cert), "the key's file holds no PRIVATE KEY and no EC PRIVATE KEY");
        assert_eq!(sign(key, key), "the certificate's file holds a EC PRIVATE KEY");
        assert!(sign(key, "x").starts_with("the certificate is not PEM: "));
    }
}
