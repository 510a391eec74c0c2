//! Keys as JSON (RFC 7517, 7518, 8037) and back to PEM. The members of an object are in alphabetical order.
//!
//! A JWK of a private RSA key has all numbers of PKCS#1, and so does its PEM: both ways give the same bytes again.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sandbox::Answer;
use serde_json::{Value, json};

use super::ec::Curve;
use super::keys::{self, Edwards, Private, Public};
use super::{Question, Result, cost, internal, rsa_key};

/// The kinds of keys, each with its own four functions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Ec,
    Rsa,
    Edwards,
}

/// One of the twelve functions.
pub(super) struct Conversion {
    kind: Kind,
    private: bool,
    to_pem: bool,
}

impl Conversion {
    pub fn named(name: &str) -> Option<Self> {
        let (kind, private, to_pem) = match name {
            "pubPemToJwk" => (Kind::Ec, false, false),
            "pemToJwk" => (Kind::Ec, true, false),
            "pubRsaPemToJwk" => (Kind::Rsa, false, false),
            "rsaPemToJwk" => (Kind::Rsa, true, false),
            "pubEddsaPemToJwk" => (Kind::Edwards, false, false),
            "eddsaPemToJwk" => (Kind::Edwards, true, false),
            "pubJwkToPem" => (Kind::Ec, false, true),
            "jwkToPem" => (Kind::Ec, true, true),
            "pubRsaJwkToPem" => (Kind::Rsa, false, true),
            "rsaJwkToPem" => (Kind::Rsa, true, true),
            "pubEddsaJwkToPem" => (Kind::Edwards, false, true),
            "eddsaJwkToPem" => (Kind::Edwards, true, true),
            _ => return None,
        };
        Some(Self { kind, private, to_pem })
    }

    /// The question has `pem` and perhaps `kid`, or `jwk`, the text of one.
    pub fn run(&self, question: &Question<'_>, work: &mut u64) -> Result<Answer> {
        if self.to_pem {
            let pem = self.pem(question.text("jwk"), work);
            return pem.map(Answer::Text).map_err(|reason| internal(format!("Failed to convert jwk to pem {reason}")));
        }
        let mut jwk =
            self.jwk(question.text("pem"), work).map_err(|reason| internal(format!("Failed to convert pem to jwk: {reason}")))?;
        if let Some(kid) = question.optional("kid") {
            jwk["kid"] = kid.into();
        }
        Ok(Answer::Text(jwk.to_string()))
    }

    fn jwk(&self, pem: &str, work: &mut u64) -> Result<Value, String> {
        let (public, private) = if self.private {
            let private = keys::private_from_pem(pem, work)?;
            (private.public().ok_or("invalid private key")?, Some(private))
        } else {
            (keys::public_from_pem(pem, work)?, None)
        };
        let mut jwk = match (self.kind, &public) {
            (Kind::Ec, Public::Ec(curve, point)) => {
                let (x, y) = point[1..].split_at(curve.size());
                json!({ "crv": curve.crv(), "kty": "EC", "x": encode(x), "y": encode(y) })
            }
            (Kind::Rsa, Public::Rsa(key)) => json!({ "e": encode(&key.e), "kty": "RSA", "n": encode(&key.n) }),
            (Kind::Edwards, Public::Edwards(use_, key)) => json!({ "crv": use_.crv(), "kty": "OKP", "x": encode(key) }),
            _ => return Err(self.wrong_key()),
        };
        match private {
            Some(Private::Ec(_, scalar)) => jwk["d"] = encode(&scalar).into(),
            Some(Private::Edwards(_, secret)) => jwk["d"] = encode(&secret).into(),
            Some(Private::Rsa(key)) => {
                for (name, number) in private_members(&key) {
                    jwk[name] = encode(number).into();
                }
            }
            None => {}
        }
        Ok(jwk)
    }

    fn pem(&self, text: &str, work: &mut u64) -> Result<String, String> {
        let jwk: Value = serde_json::from_str(text).map_err(|_| "jwk is no JSON")?;
        let expected = match self.kind {
            Kind::Ec => "EC",
            Kind::Rsa => "RSA",
            Kind::Edwards => "OKP",
        };
        if member(&jwk, "kty")? != expected {
            return Err(format!("kty is not {expected}"));
        }
        let public = match self.kind {
            Kind::Ec => {
                let curve = [Curve::P256, Curve::P384].into_iter().find(|curve| jwk["crv"] == curve.crv());
                let curve = curve.ok_or("crv is neither P-256 nor P-384")?;
                let point = [&[4][..], &sized(&jwk, "x", curve.size())?, &sized(&jwk, "y", curve.size())?].concat();
                *work += cost::EC_POINT + if self.private { 2 * cost::EC_PUBLIC } else { 0 };
                Public::Ec(curve, curve.point(&point).ok_or("the point is not on the curve")?)
            }
            Kind::Rsa => {
                let key = rsa_key::Public { n: natural(&jwk, "n")?, e: natural(&jwk, "e")? };
                key.key().ok_or("invalid RSA key")?;
                Public::Rsa(key)
            }
            Kind::Edwards => {
                let use_ = [Edwards::Ed25519, Edwards::X25519].into_iter().find(|use_| jwk["crv"] == use_.crv());
                let key = sized(&jwk, "x", 32)?.try_into().map_err(|_| "x has a wrong length")?;
                Public::Edwards(use_.ok_or("crv is neither Ed25519 nor X25519")?, key)
            }
        };
        if !self.private {
            return Ok(public.to_pem());
        }
        let private = match &public {
            Public::Ec(curve, _) => Private::Ec(*curve, sized(&jwk, "d", curve.size())?),
            Public::Edwards(use_, _) => {
                Private::Edwards(*use_, sized(&jwk, "d", 32)?.try_into().map_err(|_| "d has a wrong length")?)
            }
            Public::Rsa(key) => {
                *work += cost::rsa_public(rsa_key::bits(&key.n));
                let key = rsa_key::Private {
                    public: key.clone(),
                    d: natural(&jwk, "d")?,
                    p: natural(&jwk, "p")?,
                    q: natural(&jwk, "q")?,
                    dp: natural(&jwk, "dp")?,
                    dq: natural(&jwk, "dq")?,
                    qi: natural(&jwk, "qi")?,
                };
                key.key().ok_or("invalid RSA key")?;
                Private::Rsa(Box::new(key))
            }
        };
        if private.public().as_ref() != Some(&public) {
            return Err("the private key is not that of the public one".into());
        }
        private.to_pem().ok_or_else(|| "invalid private key".into())
    }

    fn wrong_key(&self) -> String {
        match self.kind {
            Kind::Ec => "invalid EC key".into(),
            Kind::Rsa => "invalid RSA key".into(),
            Kind::Edwards => "invalid EdDSA key".into(),
        }
    }
}

fn private_members(key: &rsa_key::Private) -> [(&'static str, &[u8]); 6] {
    [("d", &key.d), ("p", &key.p), ("q", &key.q), ("dp", &key.dp), ("dq", &key.dq), ("qi", &key.qi)]
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn member<'a>(jwk: &'a Value, name: &str) -> Result<&'a str, String> {
    jwk[name].as_str().ok_or_else(|| format!("{name} is missing"))
}

fn decode(jwk: &Value, name: &str) -> Result<Vec<u8>, String> {
    URL_SAFE_NO_PAD.decode(member(jwk, name)?.trim_end_matches('=')).map_err(|_| format!("{name} is no base64url"))
}

fn sized(jwk: &Value, name: &str, size: usize) -> Result<Vec<u8>, String> {
    let bytes = decode(jwk, name)?;
    if bytes.len() == size { Ok(bytes) } else { Err(format!("{name} has a wrong length")) }
}

fn natural(jwk: &Value, name: &str) -> Result<Vec<u8>, String> {
    Ok(super::der::strip(&decode(jwk, name)?).to_vec())
}
