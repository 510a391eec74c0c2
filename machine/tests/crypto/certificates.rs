//! Bundles, chains and identities, with certificates of `openssl`.

use super::*;

/// A certificate authority in a folder.
struct Authority(OpenSsl);

impl Authority {
    fn new() -> Self {
        Self(OpenSsl::new())
    }

    /// A certificate `name` with extensions, which `;` separates (a semicolon itself is `\u{1}`), signed by `issuer` or by itself.
    fn issue(&self, kind: &str, name: &str, issuer: Option<&str>, extensions: &str, options: &str) -> String {
        let openssl = &self.0;
        openssl.key(kind, &format!("{name}.key"));
        openssl.write("extensions", extensions.replace(';', "\n").replace('\u{1}', ";"));
        openssl.run(&format!("req -new -key {name}.key -subj /CN={name} -out {name}.csr"));
        let signer = match issuer {
            Some(issuer) => format!("-CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial"),
            None => format!("-signkey {name}.key"),
        };
        openssl.run(&format!("x509 -req -in {name}.csr -days 3650 -extfile extensions -out {name}.pem {signer}{options}"));
        openssl.text(&format!("{name}.pem"))
    }
}

const CA: &str = "basicConstraints=critical,CA:true;keyUsage=critical,keyCertSign";
const LEAF: &str = "basicConstraints=critical,CA:false";

fn chain(certificates: &[&str], trusted: &str) -> bool {
    text(ask("isValidX509CertChain", json!({ "chain": certificates.join("\n"), "trusted": trusted, "now": 0 }), &[])) == "true"
}

fn bundle(pem: &str) -> bool {
    text(ask("isValidX509CertBundle", json!({ "pem": pem }), &[])) == "true"
}

#[test]
fn chains_of_every_algorithm_lead_to_a_trusted_certificate() {
    let p521 = "-algorithm EC -pkeyopt ec_paramgen_curve:P-521";
    let pss = " -sigopt rsa_padding_mode:pss -sigopt rsa_pss_saltlen:digest";
    let kinds = [
        (RSA, " -sha256"),
        (RSA, " -sha384"),
        (RSA, " -sha512"),
        (RSA, &format!(" -sha384{pss}")),
        (P256, " -sha256"),
        (P384, " -sha384"),
        (P256, " -sha512"),
        (p521, " -sha512"),
        (ED25519, ""),
    ];
    for (kind, options) in kinds {
        let authority = Authority::new();
        let root = authority.issue(kind, "root", None, CA, options);
        let middle = authority.issue(kind, "middle", Some("root"), CA, options);
        let leaf = authority.issue(kind, "leaf", Some("middle"), LEAF, options);
        // Trusted itself; by its issuer; by an issuer that is no root; through one in between.
        assert!(chain(&[&leaf], &leaf), "{kind}{options}");
        assert!(chain(&[&middle], &root), "{kind}{options}");
        assert!(chain(&[&leaf], &middle), "{kind}{options}");
        assert!(chain(&[&leaf, &middle], &root), "{kind}{options}");
        assert!(chain(&[&leaf, &root, &middle], &root), "the order of the others does not matter");
        assert!(chain(&[&leaf, &middle], &(leaf.clone() + &root)));
        // Nothing leads there.
        assert!(!chain(&[&leaf], &root), "{kind}{options}");
        assert!(!chain(&[&root], &leaf), "{kind}{options}");
        assert!(!chain(&[&middle, &leaf], &leaf), "a leaf issues nothing");
    }
}

#[test]
fn an_issuer_must_be_allowed_to_issue() {
    let authority = Authority::new();
    let root = authority.issue(P256, "root", None, "basicConstraints=critical,CA:true,pathlen:0", "");
    let middle = authority.issue(P256, "middle", Some("root"), CA, "");
    let leaf = authority.issue(P256, "leaf", Some("middle"), LEAF, "");
    assert!(chain(&[&middle], &root));
    assert!(!chain(&[&leaf, &middle], &root), "the path is too long");
    assert!(chain(&[&leaf], &middle));

    let signer = authority.issue(P256, "signer", None, "basicConstraints=critical,CA:true;keyUsage=digitalSignature", "");
    let signed = authority.issue(P256, "signed", Some("signer"), LEAF, "");
    assert!(!chain(&[&signed], &signer), "its key is not for certificates");

    let plain = authority.issue(P256, "plain", None, "subjectKeyIdentifier=hash", "");
    let signed = authority.issue(P256, "signed2", Some("plain"), LEAF, "");
    assert!(!chain(&[&signed], &plain), "no authority");

    // Constraints on names are not understood, so they end a chain.
    let narrow = "basicConstraints=critical,CA:true;nameConstraints=critical,permitted\u{1}DNS:example.org";
    let narrow = authority.issue(P256, "narrow", None, narrow, "");
    let signed = authority.issue(P256, "signed3", Some("narrow"), LEAF, "");
    assert!(!chain(&[&signed], &narrow));
}

#[test]
fn a_certificate_of_the_first_version_issues_only_if_it_is_trusted() {
    let authority = Authority::new();
    let openssl = &authority.0;
    openssl.key(P256, "old.key");
    openssl.run("req -new -key old.key -subj /CN=old -out old.csr");
    openssl.run("x509 -req -in old.csr -signkey old.key -out old.pem");
    assert!(openssl.run("x509 -in old.pem -noout -text").contains("Version: 1"));
    let middle = authority.issue(P256, "middle", Some("old"), CA, "");
    openssl.run("x509 -req -in old.csr -CA middle.pem -CAkey middle.key -CAcreateserial -out old.pem");
    let second = openssl.text("old.pem");
    let leaf = authority.issue(P256, "leaf", Some("old"), LEAF, "");
    assert!(chain(&[&leaf], &second));
    assert!(!chain(&[&leaf, &second], &middle));
}

#[test]
fn a_forged_issuer_is_found_out() {
    let (authority, forger) = (Authority::new(), Authority::new());
    let root = authority.issue(P256, "root", None, CA, "");
    let forged = forger.issue(P256, "root", None, CA, "");
    let leaf = authority.issue(P256, "leaf", Some("root"), LEAF, "");
    assert!(chain(&[&leaf], &root));
    assert!(!chain(&[&leaf], &forged), "the name is that of the issuer, the key is not");
    assert!(chain(&[&leaf], &(forged.clone() + &root)), "another of the same name is looked at, too");
    assert!(!chain(&[&leaf, &root], &forged));
}

#[test]
fn validity_counts_at_the_time_that_is_given() {
    let authority = Authority::new();
    let root = authority.issue(P256, "root", None, CA, "");
    let leaf = authority.issue(P256, "leaf", Some("root"), LEAF, "");
    let at = |now: i64| text(ask("isValidX509CertChain", json!({ "chain": leaf, "trusted": root, "now": now }), &[])) == "true";
    let day = 24 * 3600 * 1000;
    let openssl = &authority.0;
    openssl.run("x509 -in leaf.pem -outform DER -out leaf.der");
    let der = openssl.read("leaf.der");
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).unwrap();
    let now = certificate.validity().not_before.timestamp() * 1000;
    assert!(at(0));
    assert!(at(now + day));
    assert!(!at(now - day));
    assert!(!at(now + 4000 * day));
}

#[test]
fn a_bundle_is_nothing_but_certificates() {
    let authority = Authority::new();
    let pem = authority.issue(RSA, "a", None, CA, "");
    assert!(bundle(&pem));
    assert!(bundle(&format!("{pem}\n{pem}")));
    assert!(bundle(&pem.replace('\n', "\r\n")));
    for wrong in ["", "garbage", &pem[..pem.len() - 10], &pem.replace("MII", "MIJ"), &authority.0.text("a.key")] {
        assert!(!bundle(wrong), "{wrong}");
        assert!(!chain(&[wrong], &pem));
        assert!(!chain(&[&pem], wrong));
    }
    assert!(!bundle(&pem.repeat(101)));
}

#[test]
fn an_identity_is_the_hash_of_a_certificate() {
    let authority = Authority::new();
    let pem = authority.issue(P384, "a", None, CA, "");
    let said = authority.0.run("x509 -in a.pem -noout -fingerprint -sha256");
    let expected = said.trim().split_once('=').unwrap().1.replace(':', "").to_lowercase();
    assert_eq!(text(ask("pemToId", json!({ "pem": pem }), &[])), expected);
    let refused = refusal(ask("pemToId", json!({ "pem": authority.0.text("a.key") }), &[]));
    assert_eq!(refused, "InternalError: Failed to parse PEM: CERTIFICATE is expected, not PRIVATE KEY");
}
