//! Members and users of a sandbox: keys and certificates in its common folder.

use crate::Failed;
use crate::govern::cose;
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, PKCS_ECDSA_P384_SHA384};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Who has a key.
#[derive(Debug, Clone)]
pub struct Person {
    /// Its certificate, PEM.
    pub cert: String,
    /// Its private key, PEM.
    pub key: String,
}

impl Person {
    /// The id: SHA-256 of the certificate.
    pub fn id(&self) -> Result<String, Failed> {
        cose::certificate_id(&self.cert).map_err(Failed::new)
    }
}

/// How long certificates are valid, in days.
const VALIDITY_DAYS: i64 = 365;

/// Those of a kind: of a new service as many as are asked for, of an old one those whose files are there.
pub fn people(common: &Path, kind: &str, count: u32, fresh: bool) -> Result<Vec<Person>, Failed> {
    fs::create_dir_all(common).map_err(|error| Failed::new(format!("making {}: {error}", common.display())))?;
    let mut people = Vec::new();
    for number in 0..u32::MAX {
        let cert = common.join(format!("{kind}{number}_cert.pem"));
        let key = common.join(format!("{kind}{number}_privk.pem"));
        if cert.is_file() && key.is_file() {
            let read =
                |path: &Path| fs::read_to_string(path).map_err(|error| Failed::new(format!("{}: {error}", path.display())));
            people.push(Person { cert: read(&cert)?, key: read(&key)? });
        } else if fresh && number < count {
            let person = new(&format!("{kind}{number}"))?;
            write(&key, &person.key, 0o600)?;
            write(&cert, &person.cert, 0o644)?;
            people.push(person);
        } else {
            break;
        }
    }
    if people.is_empty() && kind == "member" {
        return Err(Failed::new(format!("{} has no member's key: begin anew with --fresh", common.display())));
    }
    Ok(people)
}

fn new(name: &str) -> Result<Person, Failed> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).map_err(Failed::new)?;
    let mut params = CertificateParams::default();
    let now = std::time::SystemTime::now();
    params.not_before = (now - std::time::Duration::from_secs(24 * 3600)).into();
    params.not_after = (now + std::time::Duration::from_secs(VALIDITY_DAYS as u64 * 24 * 3600)).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let cert = params.self_signed(&key).map_err(Failed::new)?;
    Ok(Person { cert: cert.pem().replace("\r\n", "\n"), key: key.serialize_pem().replace("\r\n", "\n") })
}

/// Writes a file anew, with these permissions.
pub fn write(path: &Path, text: &str, mode: u32) -> Result<(), Failed> {
    let mut options = fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(mode).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| Failed::new(format!("{}: {error}", path.display())))
}
