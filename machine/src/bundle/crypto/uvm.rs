//! Microsoft's endorsement of the firmware of a utility virtual machine: a COSE_Sign1 whose issuer is a `did:x509`.
//!
//! The protected header has the algorithm (1), the chain of certificates (33), the issuer and the feed; either by the names
//! `iss` and `feed`, with the launch measurement in a JSON payload of type `application/json` (3), or as claims (15: issuer
//! 1, subject 2, `svn`), with the measurement itself as payload of type `application/octet-stream` (259).

use aws_lc_rs::signature::{self, UnparsedPublicKey, VerificationAlgorithm};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use coset::cbor::value::Value as Cbor;
use coset::{CoseSign1, Label, RegisteredLabelWithPrivate, TaggedCborSerializable, iana};
use serde_json::{Value, json};

use super::sign::Hash;
use super::x509::hex;
use super::{Result, cost, x509};

/// Who may endorse what, and from which version on.
const ROOTS: [(&str, &str, u64); 2] = [
    (
        "did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.2",
        "ContainerPlat-AMD-UVM",
        100,
    ),
    ("did:x509:0:sha256:I__iuL25oXEVFdTP_aBLx_eT1RPHbCQ_ECBQfYZpt9s::eku:1.3.6.1.4.1.311.76.59.1.5", "ConfAKS-AMD-UVM", 1),
];

const CHAIN: i64 = 33;
const CLAIMS: i64 = 15;
const INNER_TYPE: i64 = 259;

/// What the protected header says.
struct Header {
    chain: Vec<Vec<u8>>,
    did: String,
    feed: String,
    content_type: String,
    /// Only if it is a claim.
    svn: Option<u64>,
}

/// Checks an endorsement of a launch measurement.
pub(super) fn verify(endorsement: &[u8], measurement: &[u8], work: &mut u64) -> Result<Value, String> {
    let message = CoseSign1::from_tagged_slice(endorsement).map_err(|_| "Failed to parse COSE_Sign1 of UVM endorsements")?;
    let header = header(&message)?;
    resolve(&header, work)?;
    check_signature(&message, &header.chain, work)?;

    let payload = message.payload.as_deref().unwrap_or_default();
    let expected_type = if header.svn.is_some() { "application/octet-stream" } else { "application/json" };
    if header.content_type != expected_type {
        let found = &header.content_type;
        return Err(format!("Unexpected payload content type {found}, expected {expected_type}"));
    }
    let (endorsed, svn) = match header.svn {
        Some(svn) => (hex(payload), svn),
        None => json_payload(payload)?,
    };
    let measured = hex(measurement);
    if endorsed != measured {
        return Err(format!(
            "Launch measurement in UVM endorsements payload {endorsed} is not equal to UVM attestation measurement {measured}"
        ));
    }
    let (did, feed) = (&header.did, &header.feed);
    if !ROOTS.iter().any(|(of, for_, from)| of == did && for_ == feed && *from <= svn) {
        return Err(format!(
            "UVM endorsements did {did}, feed {feed}, svn {svn} do not match any of the known UVM roots of trust"
        ));
    }
    Ok(json!({ "did": did, "feed": feed, "svn": svn.to_string() }))
}

fn header(message: &CoseSign1) -> Result<Header, String> {
    let fields = &message.protected.header;
    if !fields.crit.is_empty() {
        return Err("Unknown critical header in UVM endorsements".into());
    }
    let rest = |label: Label| fields.rest.iter().find(|(name, _)| *name == label).map(|(_, value)| value);
    let text = |value: Option<&Cbor>| value.and_then(Cbor::as_text).map(str::to_owned);
    let chain = match rest(Label::Int(CHAIN)) {
        Some(Cbor::Bytes(only)) => vec![only.clone()],
        Some(Cbor::Array(all)) => all.iter().filter_map(Cbor::as_bytes).cloned().collect(),
        _ => return Err("Failed to parse x5chain in UVM endorsements".into()),
    };
    if let Some(Cbor::Map(claims)) = rest(Label::Int(CLAIMS)) {
        let claim = |name: Cbor| claims.iter().find(|(key, _)| *key == name).map(|(_, value)| value);
        let svn = claim(Cbor::Text("svn".into())).and_then(Cbor::as_integer).and_then(|svn| u64::try_from(svn).ok());
        return Ok(Header {
            chain,
            did: text(claim(Cbor::Integer(1.into()))).ok_or("No CWT iss in UVM endorsements")?,
            feed: text(claim(Cbor::Integer(2.into()))).ok_or("No CWT sub in UVM endorsements")?,
            content_type: text(rest(Label::Int(INNER_TYPE))).ok_or("No content type in UVM endorsements")?,
            svn: Some(svn.ok_or("No CWT svn in UVM endorsements")?),
        });
    }
    let content_type = match &fields.content_type {
        Some(coset::ContentType::Text(text)) => text.clone(),
        _ => return Err("Failed to parse content-type in UVM endorsements".into()),
    };
    Ok(Header {
        chain,
        did: text(rest(Label::Text("iss".into()))).ok_or("Failed to parse iss in UVM endorsements")?,
        feed: text(rest(Label::Text("feed".into()))).ok_or("Failed to parse feed in UVM endorsements")?,
        content_type,
        svn: None,
    })
}

/// `did:x509:0:sha256:<fingerprint of an issuer>::eku:<purpose>`: the chain holds up to its last certificate, has that
/// issuer, and its first certificate has that purpose. Validity in time is not looked at: an endorsement outlives its key.
fn resolve(header: &Header, work: &mut u64) -> Result<(), String> {
    let did = &header.did;
    let parts = did.strip_prefix("did:x509:0:sha256:").and_then(|rest| rest.split_once("::eku:"));
    let (fingerprint, purpose) = parts.ok_or_else(|| format!("Unsupported DID {did}"))?;
    let [_, issuers @ ..] = header.chain.as_slice() else { return Err("The x5chain is too short".into()) };
    let last = issuers.last().ok_or("The x5chain is too short")?;
    if issuers.len() > 10 || x509::leads(&header.chain, std::slice::from_ref(last), 0, work) != Some(true) {
        return Err("The x5chain of the UVM endorsements is broken".into());
    }
    if !issuers.iter().any(|der| URL_SAFE_NO_PAD.encode(Hash::Sha256.digest(der)) == fingerprint) {
        return Err(format!("No certificate of the x5chain has the fingerprint of {did}"));
    }
    let leaf = x509::parse(&header.chain[0], work).ok_or("The x5chain of the UVM endorsements is broken")?;
    let purposes = leaf.extended_key_usage().ok().flatten();
    if !purposes.is_some_and(|purposes| purposes.value.other.iter().any(|oid| oid.to_id_string() == purpose)) {
        return Err(format!("The certificate does not have the purpose of {did}"));
    }
    Ok(())
}

fn check_signature(message: &CoseSign1, chain: &[Vec<u8>], work: &mut u64) -> Result<(), String> {
    let Some(RegisteredLabelWithPrivate::Assigned(named)) = message.protected.header.alg else {
        return Err("Failed to parse alg in UVM endorsements".into());
    };
    let algorithm: &'static dyn VerificationAlgorithm = match named {
        iana::Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        iana::Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        iana::Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        iana::Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        iana::Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        iana::Algorithm::ES512 => &signature::ECDSA_P521_SHA512_FIXED,
        other => return Err(format!("Signature algorithm {} is not one of expected: RSA, ECDSA", other as i64)),
    };
    let leaf = x509::parse(&chain[0], work).ok_or("The x5chain of the UVM endorsements is broken")?;
    *work += cost::ECDSA_VERIFY;
    let key = UnparsedPublicKey::new(algorithm, &*leaf.public_key().subject_public_key.data);
    message
        .verify_signature(b"", |signature, signed| key.verify(signed, signature))
        .map_err(|_| "Signature verification failed".into())
}

fn json_payload(payload: &[u8]) -> Result<(String, u64), String> {
    let payload: Value = serde_json::from_slice(payload).map_err(|_| "The payload of the UVM endorsements is no JSON")?;
    let measurement = payload["x-ms-sevsnpvm-launchmeasurement"].as_str().ok_or("No launch measurement in UVM endorsements")?;
    let svn = match &payload["x-ms-sevsnpvm-guestsvn"] {
        Value::String(text) => text
            .parse()
            .map_err(|_| format!("Unable to parse sevsnpvm_guest_svn value {text} to unsigned in UVM endorsements payload"))?,
        other => other
            .as_u64()
            .ok_or("Unexpected type for sevsnpvm_guest_svn in UVM endorsements payload, expected string or unsigned integer")?,
    };
    Ok((measurement.to_owned(), svn))
}
