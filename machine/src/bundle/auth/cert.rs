//! X.509 certificates, and the policies that ask for one.
//!
//! TLS has shown that the client holds the certificate's key, and nothing else: no issuer is checked. An id is the lower-case
//! hex of the SHA-256 of the certificate's DER; who stands in the table with it is known.

use super::{Cache, MEMBERS_CERTS, Refusal, USERS_CERTS, Verdict, caller::Identity, hex, key::PublicKey, sha256};
use crate::bundle::{request::Request, store::Rows};
use base64::{Engine, engine::general_purpose::STANDARD};
use x509_parser::{certificate::X509Certificate, prelude::FromDer};

/// What is used of a certificate.
#[derive(Debug, Clone)]
pub(super) struct Certificate {
    not_before_s: i64,
    not_after_s: i64,
    key: Option<PublicKey>,
}

impl Certificate {
    /// `None` if the DER is no certificate, or has something behind it.
    pub(super) fn from_der(der: &[u8]) -> Option<Certificate> {
        let (rest, parsed) = X509Certificate::from_der(der).ok()?;
        let validity = parsed.validity();
        rest.is_empty().then(|| Certificate {
            not_before_s: validity.not_before.timestamp(),
            not_after_s: validity.not_after.timestamp(),
            key: PublicKey::from_spki(parsed.public_key().raw),
        })
    }

    /// The first certificate of a PEM text.
    pub(super) fn from_pem(pem: &[u8]) -> Option<Certificate> {
        let parsed = pem::parse(pem).ok()?;
        if parsed.tag() != "CERTIFICATE" { None } else { Certificate::from_der(parsed.contents()) }
    }

    /// Its key, if it is of a kind that verifies something here.
    pub(super) fn key(&self) -> Option<&PublicKey> {
        self.key.as_ref()
    }

    fn check_validity(&self, now_s: i64) -> Result<(), String> {
        if now_s < self.not_before_s {
            return Err(format!("Current time {now_s} is before certificate's Not Before validity period {}", self.not_before_s));
        }
        if now_s > self.not_after_s {
            return Err(format!("Current time {now_s} is after certificate's Not After validity period {}", self.not_after_s));
        }
        Ok(())
    }
}

/// The DER's `SubjectPublicKeyInfo`.
pub(super) fn spki_of(der: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    Some(parsed.public_key().raw.to_vec())
}

/// `user_cert`.
pub(super) fn user(request: &Request, rows: &impl Rows, parsed: &mut Cache) -> Verdict<Identity> {
    let Some(der) = &request.certificate else { return Refusal::reason("No caller user certificate") };
    let digest = sha256(der);
    if let Err(refusal) = valid(digest, der, request, parsed) {
        return Ok(Err(refusal));
    }
    let id = hex(&digest);
    if rows.get(USERS_CERTS, id.as_bytes())?.is_none() {
        return Refusal::reason("Could not find matching user certificate");
    }
    Ok(Ok(Identity::User { id }))
}

/// `member_cert`. Neither the certificate's validity nor the member's status is asked for, as in CCF.
pub(super) fn member(request: &Request, rows: &impl Rows) -> Verdict<Identity> {
    let Some(der) = &request.certificate else { return Refusal::reason("No caller member certificate") };
    let id = hex(&sha256(der));
    if rows.get(MEMBERS_CERTS, id.as_bytes())?.is_none() {
        return Refusal::reason("Could not find matching member certificate");
    }
    Ok(Ok(Identity::Member { id }))
}

/// `any_cert`.
pub(super) fn any(request: &Request, parsed: &mut Cache) -> Verdict<Identity> {
    let Some(der) = &request.certificate else { return Refusal::reason("No caller certificate") };
    Ok(valid(sha256(der), der, request, parsed).map(|()| Identity::Certificate { pem: pem_of(der) }))
}

fn valid(digest: [u8; 32], der: &[u8], request: &Request, parsed: &mut Cache) -> Result<(), Refusal> {
    let Some(certificate) = parsed.certificate(digest, der) else {
        return Err(Refusal::Broken("Failed to parse the caller's certificate".into()));
    };
    let now_s = i64::try_from(request.time_ms / 1_000).unwrap_or(i64::MAX);
    certificate.check_validity(now_s).map_err(Refusal::Reason)
}

/// PEM as OpenSSL writes it: 64 characters a line, `\n`.
fn pem_of(der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    for (n, letter) in base64.chars().enumerate() {
        if n > 0 && n % 64 == 0 {
            pem.push('\n');
        }
        pem.push(letter);
    }
    pem.push_str("\n-----END CERTIFICATE-----\n");
    pem
}
