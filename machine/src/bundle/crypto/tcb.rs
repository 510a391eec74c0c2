//! AMD's processors with SEV-SNP and the versions of their trusted code ("TCB"), eight bytes:
//!
//! ```text
//! Milan, Genoa   boot_loader · tee · 0 0 0 0 · snp · microcode
//! Turin          fmc · boot_loader · tee · snp · 0 0 0 · microcode
//! ```
//!
//! The text is hexadecimal of the number, so the bytes are reversed in it. Source: AMD 56860 (SEV-SNP firmware ABI).

use serde_json::{Map, Value};

use super::{Result, internal, x509};

/// A generation of processors.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Product {
    Milan,
    Genoa,
    Turin,
}

impl Product {
    /// By family and model, as CPUID and reports give them.
    pub fn of(family: u8, model: u8) -> Result<Self, String> {
        match (family, model) {
            (0x19, 0x01) => Ok(Product::Milan),
            (0x19, 0x11) => Ok(Product::Genoa),
            (0x1a, 0x01 | 0x02) => Ok(Product::Turin),
            _ => Err(format!("SEV-SNP: Unsupported CPUID family {family} model {model}")),
        }
    }
}

/// The versions of one processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tcb(pub [u8; 8]);

impl Tcb {
    pub fn from_hex(text: &str) -> Result<Self, String> {
        let mut bytes = hex(text).ok_or("TCB could not be parsed from hex_str")?;
        bytes.reverse();
        let size = bytes.len();
        Ok(Self(bytes.try_into().map_err(|_| format!("Invalid TCB version data size: {size}"))?))
    }

    pub fn to_hex(self) -> String {
        let mut bytes = self.0;
        bytes.reverse();
        x509::hex(&bytes)
    }

    /// The parts by name.
    pub fn parts(self, product: Product) -> Vec<(&'static str, u8)> {
        let [a, b, c, d, .., y, z] = self.0;
        match product {
            Product::Milan | Product::Genoa => vec![("microcode", z), ("snp", y), ("tee", b), ("boot_loader", a)],
            Product::Turin => vec![("microcode", z), ("snp", d), ("tee", c), ("boot_loader", b), ("fmc", a)],
        }
    }

    /// As an object: the parts, and the whole as `hexstring`.
    pub fn object(self, product: Product) -> Value {
        let mut object = Map::new();
        object.insert("hexstring".into(), self.to_hex().into());
        object.extend(self.parts(product).into_iter().map(|(name, version)| (name.to_owned(), version.into())));
        object.into()
    }
}

/// `tcbHexToPolicy`: `cpuid` is what leaf 1 gives in EAX, as in `00a00f11`.
pub(super) fn hex_to_policy(cpuid: &str, tcb: &str) -> Result<Value> {
    policy(cpuid, tcb).map_err(internal)
}

fn policy(cpuid: &str, tcb: &str) -> Result<Value, String> {
    let bytes: [u8; 4] = hex(cpuid).and_then(|bytes| bytes.try_into().ok()).ok_or("CPUID could not be parsed")?;
    let eax = u32::from_be_bytes(bytes);
    let family = (((eax >> 8) & 0xf) as u8).wrapping_add((eax >> 20) as u8);
    let model = ((eax >> 12) & 0xf0) as u8 | ((eax >> 4) & 0xf) as u8;
    let tcb = Tcb::from_hex(tcb)?;
    Ok(tcb.object(Product::of(family, model)?))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.len() > 64 {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
