//! Names of things: the kernel's (`ko20`, `kp40`, `kd30`), a vat's (`o+0`, `p-60`, `d-70`), and whose they are (`v1`, `d7`).

use std::fmt;
use std::str::FromStr;

/// What the kernel knows an object, a promise or a device node by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KRef {
    /// `koN`
    Object(u64),
    /// `kpN`
    Promise(u64),
    /// `kdN`
    Device(u64),
}

/// Who can own and be given things: a vat or a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// `vN`
    Vat(u64),
    /// `dN`
    Device(u64),
}

/// The kind of a thing, as the first letter of a vat's name for it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `o`
    Object,
    /// `p`
    Promise,
    /// `d`
    Device,
}

/// No name of either kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a reference: {0:?}")]
pub struct NoRef(pub String);

impl fmt::Display for KRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KRef::Object(n) => write!(f, "ko{n}"),
            KRef::Promise(n) => write!(f, "kp{n}"),
            KRef::Device(n) => write!(f, "kd{n}"),
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Party::Vat(n) => write!(f, "v{n}"),
            Party::Device(n) => write!(f, "d{n}"),
        }
    }
}

/// A number as it is written, and in no other way.
fn number(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

impl FromStr for KRef {
    type Err = NoRef;

    fn from_str(text: &str) -> Result<KRef, NoRef> {
        let (kind, rest) = text.split_at_checked(2).ok_or_else(|| NoRef(text.into()))?;
        let n = number(rest).ok_or_else(|| NoRef(text.into()))?;
        match kind {
            "ko" => Ok(KRef::Object(n)),
            "kp" => Ok(KRef::Promise(n)),
            "kd" => Ok(KRef::Device(n)),
            _ => Err(NoRef(text.into())),
        }
    }
}

impl FromStr for Party {
    type Err = NoRef;

    fn from_str(text: &str) -> Result<Party, NoRef> {
        let (kind, rest) = text.split_at_checked(1).ok_or_else(|| NoRef(text.into()))?;
        match (kind, number(rest)) {
            ("v", Some(n)) => Ok(Party::Vat(n)),
            ("d", Some(n)) => Ok(Party::Device(n)),
            _ => Err(NoRef(text.into())),
        }
    }
}

/// A vat's name for something, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VRef<'a> {
    /// Object, promise or device.
    pub kind: Kind,
    /// Whether whoever uses the name has given it (`+`); else the kernel has (`-`).
    pub own: bool,
    /// What comes after the sign: a number, or `d10/3:0` of a virtual object.
    pub rest: &'a str,
}

/// The longest name that a vat may give.
const NAME_BYTES: usize = 64;

impl<'a> VRef<'a> {
    /// Reads a vat's name for something.
    pub fn parse(text: &'a str) -> Option<VRef<'a>> {
        if text.len() > NAME_BYTES {
            return None;
        }
        let (kind, rest) = text.split_at_checked(1)?;
        let kind = match kind {
            "o" => Kind::Object,
            "p" => Kind::Promise,
            "d" => Kind::Device,
            _ => return None,
        };
        let (sign, rest) = rest.split_at_checked(1)?;
        let own = match sign {
            "+" => true,
            "-" => false,
            _ => return None,
        };
        let virtual_name = own && kind == Kind::Object && is_virtual(rest);
        (virtual_name || number(rest).is_some()).then_some(VRef { kind, own, rest })
    }
}

/// `vK/I`, `dK/I`, each with a facet `:F` or none.
fn is_virtual(rest: &str) -> bool {
    let Some(rest) = rest.strip_prefix(['v', 'd']) else { return false };
    let Some((kind, instance)) = rest.split_once('/') else { return false };
    let (instance, facet) = instance.split_once(':').unwrap_or((instance, "0"));
    [kind, instance, facet].into_iter().all(|part| number(part).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_in_one_form_only() {
        assert_eq!("ko20".parse(), Ok(KRef::Object(20)));
        assert_eq!("v1".parse(), Ok(Party::Vat(1)));
        for wrong in ["", "k", "ko", "ko-1", "ko+1", "ko01", "kx1", "ko1 ", "ö1", "ko99999999999999999999"] {
            assert!(wrong.parse::<KRef>().is_err(), "{wrong}");
        }
        for good in ["o+0", "o-50", "p+5", "p-60", "d-70", "d+0", "o+v5/1", "o+d10/3:0"] {
            assert!(VRef::parse(good).is_some(), "{good}");
        }
        for wrong in
            ["", "o", "o+", "o50", "x+1", "o+01", "o-v5/1", "p+d1/1", "o+d1", "o+d1/", "o+d1/2:", "o+1,o+2", "o+1|", "ö+1"]
        {
            assert!(VRef::parse(wrong).is_none(), "{wrong}");
        }
    }
}
