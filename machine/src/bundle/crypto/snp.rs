//! `verifySnpAttestation`: a report of AMD SEV-SNP, the certificates of the chip, and perhaps Microsoft's endorsement of the
//! virtual machine's firmware.
//!
//! ```text
//! root (ARK, one of AMD's) ─signs─▶ ASK ─signs─▶ VCEK, the chip's, with its TCB and id ─signs─▶ report
//! ```
//!
//! The three certificates are PEM, the chip's first. The keys of AMD's roots are pinned here by their SHA-256. Validity in
//! time is checked only if the question has a time. The report has 1184 bytes, numbers little-endian (AMD 56860, table
//! "ATTESTATION_REPORT"); a report before version 3 does not name its processor and counts as one of Milan.

use aws_lc_rs::signature::{ECDSA_P384_SHA384_ASN1, UnparsedPublicKey};
use serde_json::{Value, json};
use x509_parser::certificate::X509Certificate;

use super::der::{self, Reader};
use super::sign::Hash;
use super::tcb::{Product, Tcb};
use super::x509::hex;
use super::{Question, Result, cost, range, uvm, x509};

const SIZE: usize = 0x4a0;
/// Where the signature begins: what is before it is signed.
const SIGNED: usize = 0x2a0;

/// The SHA-256 of the SubjectPublicKeyInfo of AMD's root keys.
const ROOTS: [(Product, &str); 3] = [
    (Product::Milan, "9f056bee44377e29308cb5ffa895bdfb62d18881fa6bed8d6f075b0204089cb9"),
    (Product::Genoa, "429a69c9422aa258ee4d8db5fcda9c6470ef15f8cd5a9cebd6cbc7d90b863831"),
    (Product::Turin, "4f125410563a2ab9a50356f9243f6fe0b6f73de98603f53f90339c70e9d7ad08"),
];

/// The question has the buffers report, certificates and, if `uvm` is true, endorsement; and perhaps `tcb`. The answer
/// gives byte strings in hexadecimal.
pub(super) fn verify(question: &Question<'_>, work: &mut u64) -> Result<Value> {
    checked(question, work).map_err(range)
}

fn checked(question: &Question<'_>, work: &mut u64) -> Result<Value, String> {
    let report = Report::parse(question.buffer(0))?;
    let product = report.product()?;
    report.check_endorsed(product, question.buffer(1), question.number("now"), work)?;
    if let Some(claimed) = question.optional("tcb") {
        let (claimed, reported) = (Tcb::from_hex(claimed)?, report.tcb(0x180));
        if claimed != reported {
            let (claimed, reported) = (claimed.to_hex(), reported.to_hex());
            return Err(format!("SEV-SNP: endorsed TCB {claimed} does not match reported TCB {reported}"));
        }
    }
    let mut answer = json!({ "attestation": report.object(product) });
    if question.arguments["uvm"] == true {
        answer["uvm_endorsements"] = uvm::verify(question.buffer(2), report.bytes(0x90, 48), work)?;
    }
    Ok(answer)
}

/// A report of the right size.
struct Report<'a>(&'a [u8]);

impl<'a> Report<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        if bytes.len() != SIZE {
            let size = bytes.len();
            return Err(format!("Input SEV-SNP attestation report is not of expected size {SIZE}: {size}"));
        }
        let report = Report(bytes);
        let version = report.number(0);
        if version < 2 {
            return Err(format!("SEV-SNP: Attestation version is {version} not >= expected minimum 2"));
        }
        Ok(report)
    }

    fn bytes(&self, at: usize, length: usize) -> &'a [u8] {
        &self.0[at..at + length]
    }

    fn number(&self, at: usize) -> u32 {
        self.bytes(at, 4).iter().rev().fold(0, |number, byte| (number << 8) | u32::from(*byte))
    }

    fn byte(&self, at: usize) -> u8 {
        self.0[at]
    }

    fn bit(&self, at: usize, bit: u32) -> u32 {
        u32::from(self.0[at + bit as usize / 8]) >> (bit % 8) & 1
    }

    fn tcb(&self, at: usize) -> Tcb {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.bytes(at, 8));
        Tcb(bytes)
    }

    /// Which of the chip's keys signed: 0 is the VCEK.
    fn signing_key(&self) -> u32 {
        self.number(0x48) >> 2 & 7
    }

    fn product(&self) -> Result<Product, String> {
        if self.number(0) < 3 { Ok(Product::Milan) } else { Product::of(self.byte(0x188), self.byte(0x189)) }
    }

    fn check_endorsed(&self, product: Product, endorsements: &[u8], now_ms: i64, work: &mut u64) -> Result<(), String> {
        let text = String::from_utf8_lossy(endorsements);
        let count = text.matches("-----END CERTIFICATE-----").count();
        if count != 3 {
            return Err(format!("Expected 3 endorsement certificates but got {count}"));
        }
        let bundle = x509::bundle(&text).ok_or("SEV-SNP: The endorsement certificates could not be parsed")?;
        let [vcek_der, ask_der, ark_der] = bundle.as_slice() else {
            return Err("SEV-SNP: The endorsement certificates could not be parsed".into());
        };
        let unparsable = "SEV-SNP: The endorsement certificates could not be parsed";
        let vcek = x509::parse(vcek_der, work).ok_or(unparsable)?;
        let ark = x509::parse(ark_der, work).ok_or(unparsable)?;

        let root = hex(&Hash::Sha256.digest(ark.public_key().raw));
        let expected = ROOTS.iter().find(|(of, _)| *of == product).map_or("", |(_, key)| key);
        if root != expected {
            return Err(format!(
                "SEV-SNP: The root of trust public key for this attestation was not the expected one for v{} {} {}:  {root} != {expected}",
                self.number(0),
                self.byte(0x188),
                self.byte(0x189),
            ));
        }
        if !x509::is_signed_by(&ark, &ark, work) {
            return Err("SEV-SNP: The root of trust public key for this attestation was not self signed as expected".into());
        }
        let chain = [vcek_der.clone(), ask_der.clone()];
        if x509::leads(&chain, std::slice::from_ref(ark_der), now_ms, work) != Some(true) {
            return Err("SEV-SNP: The chain of signatures from the root of trust to this attestation is broken".into());
        }
        self.check_signature(&vcek, work)?;
        self.check_policy()?;
        self.check_chip(product, &vcek)
    }

    fn check_signature(&self, vcek: &X509Certificate<'_>, work: &mut u64) -> Result<(), String> {
        let algorithm = self.number(0x34);
        if algorithm != 1 {
            return Err(format!("SEV-SNP: Unsupported signature algorithm: {algorithm} (supported: 1)"));
        }
        let number = |at| der::natural(&self.bytes(at, 72).iter().rev().copied().collect::<Vec<u8>>());
        let signature = der::sequence(&[&number(SIGNED), &number(SIGNED + 72)]);
        *work += cost::ECDSA_VERIFY;
        UnparsedPublicKey::new(&ECDSA_P384_SHA384_ASN1, &*vcek.public_key().subject_public_key.data)
            .verify(&self.0[..SIGNED], &signature)
            .map_err(|_| "SEV-SNP: Chip certificate (VCEK) did not sign this attestation".into())
    }

    fn check_policy(&self) -> Result<(), String> {
        let (signing_key, level) = (self.signing_key(), self.number(0x30));
        if signing_key != 0 {
            return Err(format!("SEV-SNP: Attestation report must be signed by VCEK: {signing_key}"));
        }
        if self.bit(0x48, 1) == 1 {
            return Err("SEV-SNP: Mask chip key must not be set".into());
        }
        if level > 3 {
            return Err(format!("SEV-SNP: This report seems to be host generated (VMPL {level} > 3)"));
        }
        if self.bit(0x08, 19) == 1 {
            return Err("SEV-SNP: SNP attestation report guest policy debugging must not be enabled".into());
        }
        if self.bit(0x08, 18) == 1 {
            return Err("SEV-SNP: SNP attestation report guest policy migration must not be enabled".into());
        }
        Ok(())
    }

    /// What the chip's certificate says of its TCB and id has to fit the report.
    fn check_chip(&self, product: Product, vcek: &X509Certificate<'_>) -> Result<(), String> {
        let extension = |oid: &str| {
            vcek.extensions().iter().find(|extension| extension.oid.to_id_string() == oid).map(|extension| extension.value)
        };
        let reported = self.tcb(0x180);
        let mut endorsed = Vec::new();
        for (name, version) in reported.parts(product) {
            let number = match name {
                "boot_loader" => 1,
                "tee" => 2,
                "snp" => 3,
                "microcode" => 8,
                _ => 9,
            };
            // All or none, as in the reference: a certificate that lacks one says nothing of the TCB.
            let Some(value) = extension(&format!("1.3.6.1.4.1.3704.1.3.{number}")) else {
                endorsed.clear();
                break;
            };
            let least = match Reader(value).natural() {
                Some([]) => 0,
                Some([least]) => *least,
                _ => return Err(format!("Invalid {name} value in TCB version")),
            };
            endorsed.push((name, version, least));
        }
        if endorsed.iter().any(|(_, version, least)| version < least) {
            let least = endorsed.iter().map(|(name, _, least)| ((*name).to_owned(), Value::from(*least)));
            return Err(format!(
                "SEV-SNP: Reported TCB {} does not meet or exceed the endorsed TCB {}",
                reported.object(product),
                Value::Object(least.collect()),
            ));
        }
        // Turin uses eight bytes of the field.
        let id = if product == Product::Turin { self.bytes(0x1a0, 8) } else { self.bytes(0x1a0, 64) };
        if let Some(value) = extension("1.3.6.1.4.1.3704.1.4") {
            let value = Reader(value).take(der::OCTET_STRING).filter(|inner| inner.len() + 2 == value.len()).unwrap_or(value);
            if value != id {
                let (endorsed, reported) = (hex(value), hex(id));
                return Err(format!("SEV-SNP: Chip ID in attestation does not match endorsed chip ID: {endorsed} != {reported}"));
            }
        }
        Ok(())
    }

    fn object(&self, product: Product) -> Value {
        let bytes = |at, length| hex(self.bytes(at, length));
        let tcb = |at| self.tcb(at).object(product);
        json!({
            "version": self.number(0x00),
            "guest_svn": self.number(0x04),
            "policy": {
                "abi_minor": self.byte(0x08),
                "abi_major": self.byte(0x09),
                "smt": self.bit(0x08, 16),
                "migrate_ma": self.bit(0x08, 18),
                "debug": self.bit(0x08, 19),
                "single_socket": self.bit(0x08, 20),
            },
            "family_id": bytes(0x10, 16),
            "image_id": bytes(0x20, 16),
            "vmpl": self.number(0x30),
            "signature_algo": self.number(0x34),
            "platform_version": tcb(0x38),
            "platform_info": { "smt_en": self.bit(0x40, 0), "tsme_en": self.bit(0x40, 1) },
            "flags": {
                "author_key_en": self.bit(0x48, 0),
                "mask_chip_key": self.bit(0x48, 1),
                "signing_key": self.signing_key(),
            },
            "report_data": bytes(0x50, 64),
            "measurement": bytes(0x90, 48),
            "host_data": bytes(0xc0, 32),
            "id_key_digest": bytes(0xe0, 48),
            "author_key_digest": bytes(0x110, 48),
            "report_id": bytes(0x140, 32),
            "report_id_ma": bytes(0x160, 32),
            "reported_tcb": tcb(0x180),
            "cpuid_fam_id": self.byte(0x188),
            "cpuid_mod_id": self.byte(0x189),
            "cpuid_step": self.byte(0x18a),
            "chip_id": bytes(0x1a0, 64),
            "committed_tcb": tcb(0x1e0),
            "current_build": self.byte(0x1e8),
            "current_minor": self.byte(0x1e9),
            "current_major": self.byte(0x1ea),
            "committed_build": self.byte(0x1ec),
            "committed_minor": self.byte(0x1ed),
            "committed_major": self.byte(0x1ee),
            "launch_tcb": tcb(0x1f0),
            "signature": { "r": bytes(SIGNED, 72), "s": bytes(SIGNED + 72, 72) },
        })
    }
}
