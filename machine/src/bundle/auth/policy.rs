//! `authn_policies` of an endpoint, as they stand in its metadata.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser::SerializeMap};
use serde_json::Value;

/// One of an endpoint's policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Policy {
    /// A policy by its name. Names are checked when a request comes, not when metadata is read.
    Named(String),
    /// `{"all_of": […]}`: all of these, each at most once.
    AllOf(Vec<String>),
}

/// A way to say who one is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Scheme {
    NoAuth,
    UserCert,
    MemberCert,
    AnyCert,
    Jwt,
    UserCose,
}

impl Scheme {
    /// In alphabetical order: the order in which `all_of` tries them and names them.
    const ALL: [Scheme; 6] =
        [Scheme::AnyCert, Scheme::Jwt, Scheme::MemberCert, Scheme::NoAuth, Scheme::UserCert, Scheme::UserCose];

    /// The name in `authn_policies` and in `caller.policy`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Scheme::NoAuth => "no_auth",
            Scheme::UserCert => "user_cert",
            Scheme::MemberCert => "member_cert",
            Scheme::AnyCert => "any_cert",
            Scheme::Jwt => "jwt",
            Scheme::UserCose => "user_cose_sign1",
        }
    }

    /// The `www-authenticate` header of a refusal.
    pub(super) fn challenge(self) -> Option<&'static str> {
        match self {
            Scheme::Jwt => Some("Bearer realm=\"JWT bearer token access\", error=\"invalid_token\""),
            Scheme::UserCose => Some(COSE_CHALLENGE),
            Scheme::NoAuth | Scheme::UserCert | Scheme::MemberCert | Scheme::AnyCert => None,
        }
    }

    fn by_name(name: &str) -> Result<Scheme, String> {
        let found = Scheme::ALL.into_iter().find(|scheme| scheme.name() == name);
        found.ok_or_else(|| format!("Unknown auth policy: {name}"))
    }
}

/// The `www-authenticate` header where a signed body is asked for.
pub(super) const COSE_CHALLENGE: &str = "COSE-SIGN1 realm=\"Signed request access\"";

impl Policy {
    /// Reads one element of `authn_policies`.
    pub fn read(value: &Value) -> Result<Policy, String> {
        if let Value::String(name) = value {
            return Ok(Policy::Named(name.clone()));
        }
        let names = value.get("all_of").and_then(Value::as_array).filter(|names| !names.is_empty());
        let names = names.and_then(|names| names.iter().map(|name| name.as_str().map(str::to_owned)).collect());
        names.map(Policy::AllOf).ok_or_else(|| {
            format!(
                "Unsupported auth policy. Policies must be either a string, or an object containing an \"all_of\" key with \
                 list-of-strings value. Unsupported value: {value}"
            )
        })
    }

    /// How the details of a refusal name it: names of `all_of` in order, joined with `+`.
    pub fn name(&self) -> String {
        match self {
            Policy::Named(name) => name.clone(),
            Policy::AllOf(names) => {
                let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
                names.sort_unstable();
                names.join("+")
            }
        }
    }

    /// What has to pass, in the order of names.
    pub(super) fn schemes(&self) -> Result<Vec<Scheme>, String> {
        match self {
            Policy::Named(name) => Ok(vec![Scheme::by_name(name)?]),
            Policy::AllOf(names) => {
                let mut schemes = names.iter().map(|name| Scheme::by_name(name)).collect::<Result<Vec<_>, _>>()?;
                schemes.sort_unstable_by_key(|scheme| scheme.name());
                if let Some(twice) = schemes.windows(2).find(|pair| pair[0] == pair[1]) {
                    return Err(format!("Auth policy {} names {} more than once", self.name(), twice[0].name()));
                }
                Ok(schemes)
            }
        }
    }
}

impl<'de> Deserialize<'de> for Policy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Policy, D::Error> {
        Policy::read(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for Policy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Policy::Named(name) => serializer.serialize_str(name),
            Policy::AllOf(names) => {
                let mut map = serializer.serialize_map(Some(1))?;
                map.serialize_entry("all_of", names)?;
                map.end()
            }
        }
    }
}
