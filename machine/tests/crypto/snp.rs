//! `verifySnpAttestation` and `tcbHexToPolicy`. The report and the certificates are those of a real processor, as published
//! with the `sev` crate.

use super::*;

const REPORT: &str = include_str!("snp/milan-report.hex");
const CHAIN: &str = include_str!("snp/milan-chain.pem");
const TURIN: &str = include_str!("snp/turin-chain.pem");

fn verify(report: &[u8], chain: &str, arguments: Value) -> Answer {
    ask("verifySnpAttestation", arguments, &[report, chain.as_bytes()])
}

#[test]
fn a_real_report_is_read() {
    let report = unhex(REPORT);
    let answer: Value = serde_json::from_str(&text(verify(&report, CHAIN, json!({})))).unwrap();
    let attestation = &answer["attestation"];
    assert_eq!(attestation["version"], 2);
    assert_eq!(attestation["measurement"], hex(&report[0x90..0xc0]));
    assert_eq!(attestation["report_data"], hex(&report[0x50..0x90]));
    assert_eq!(attestation["chip_id"], hex(&report[0x1a0..0x1e0]));
    assert_eq!(attestation["policy"]["debug"], 0);
    assert_eq!(attestation["reported_tcb"]["microcode"], report[0x187]);
    assert!(answer.get("uvm_endorsements").is_none());
    let tcb = attestation["reported_tcb"]["hexstring"].clone();
    assert!(matches!(verify(&report, CHAIN, json!({ "tcb": tcb })), Answer::Text(_)));
    // Whatever the time, while none is given; and not before the certificates were made.
    assert!(refusal(verify(&report, CHAIN, json!({ "now": 1 }))).contains("chain of signatures"));
    assert!(matches!(verify(&report, CHAIN, json!({ "now": 1_700_000_000_000i64 })), Answer::Text(_)));
}

#[test]
fn a_report_that_was_changed_is_refused() {
    let report = unhex(REPORT);
    for at in (0..0x2a0).chain(0x2a0..0x2d0) {
        let mut changed = report.clone();
        changed[at] ^= 1;
        assert!(matches!(verify(&changed, CHAIN, json!({})), Answer::Refused { .. }), "{at}");
    }
}

#[test]
fn what_does_not_fit_is_named() {
    let report = unhex(REPORT);
    let says = |report: &[u8], chain: &str, arguments: Value, expected: &str| {
        let refused = refusal(verify(report, chain, arguments));
        assert!(refused.starts_with("RangeError: ") && refused.contains(expected), "{refused}");
    };
    says(&report[1..], CHAIN, json!({}), "attestation report is not of expected size 1184: 1183");
    says(&report, &CHAIN[..CHAIN.len() - 30], json!({}), "Expected 3 endorsement certificates but got 2");
    says(&report, "", json!({}), "Expected 3 endorsement certificates but got 0");
    says(&report, TURIN, json!({}), "was not the expected one for v2 0 0");
    says(&report, CHAIN, json!({ "tcb": "0000000000000000" }), "does not match reported TCB");
    says(&report, CHAIN, json!({ "tcb": "zz" }), "TCB could not be parsed");
    // The chip's certificate of another processor.
    let end = "-----END CERTIFICATE-----";
    let (milan, turin): (Vec<_>, Vec<_>) = (CHAIN.split_inclusive(end).collect(), TURIN.split_inclusive(end).collect());
    says(&report, &[turin[0], milan[1], milan[2]].concat(), json!({}), "chain of signatures");
    says(&report, &[milan[0], turin[1], milan[2]].concat(), json!({}), "chain of signatures");
    let refused = refusal(ask("verifySnpAttestation", json!({ "uvm": true }), &[&report, CHAIN.as_bytes(), b"x"]));
    assert_eq!(refused, "RangeError: Failed to parse COSE_Sign1 of UVM endorsements");
}

#[test]
fn versions_are_taken_apart() {
    let policy = |cpuid: &str, tcb: &str| text(ask("tcbHexToPolicy", json!({ "cpuid": cpuid, "tcb": tcb }), &[]));
    assert_eq!(
        serde_json::from_str::<Value>(&policy("00a00f11", "d315000000000004")).unwrap(),
        json!({ "hexstring": "d315000000000004", "microcode": 0xd3, "snp": 0x15, "tee": 0, "boot_loader": 4 })
    );
    assert_eq!(policy("00a10f11", "d315000000000004"), policy("00a00f11", "d315000000000004"));
    assert_eq!(
        serde_json::from_str::<Value>(&policy("00b00f21", "1100000022334455")).unwrap(),
        json!({ "hexstring": "1100000022334455", "microcode": 0x11, "snp": 0x22, "tee": 0x33, "boot_loader": 0x44, "fmc": 0x55 })
    );
}

/// A chain of two whose leaf may sign endorsements; its folder and DERs, leaf first.
fn endorsers() -> (OpenSsl, Vec<Vec<u8>>) {
    let openssl = OpenSsl::new();
    openssl.key(RSA, "root.key");
    openssl.key(RSA, "leaf.key");
    openssl.run("req -new -x509 -key root.key -subj /CN=root -addext keyUsage=critical,keyCertSign -out root.pem");
    openssl.write("extensions", "extendedKeyUsage=1.3.6.1.4.1.311.76.59.1.2");
    openssl.run("req -new -key leaf.key -subj /CN=leaf -out leaf.csr");
    openssl.run("x509 -req -in leaf.csr -CA root.pem -CAkey root.key -CAcreateserial -extfile extensions -out leaf.pem");
    let ders = ["leaf", "root"].map(|name| {
        openssl.run(&format!("x509 -in {name}.pem -outform DER -out {name}.der"));
        openssl.read(&format!("{name}.der"))
    });
    (openssl, ders.into())
}

#[test]
fn an_endorsement_is_checked_down_to_the_roots_that_are_trusted() {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use coset::cbor::value::Value as Cbor;
    use coset::{CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};

    let report = unhex(REPORT);
    let (openssl, chain) = endorsers();
    let key = openssl.text("leaf.key");
    let measured = &report[0x90..0xc0];
    let did = |der: &[u8], purpose: &str| {
        format!("did:x509:0:sha256:{}::eku:{purpose}", URL_SAFE_NO_PAD.encode(digest(&SHA256, der).as_ref()))
    };
    let good = did(&chain[1], "1.3.6.1.4.1.311.76.59.1.2");
    let signed = |header: HeaderBuilder, payload: &[u8]| {
        let message = CoseSign1Builder::new()
            .protected(
                header
                    .algorithm(iana::Algorithm::PS384)
                    .value(33, Cbor::Array(chain.iter().cloned().map(Cbor::Bytes).collect()))
                    .build(),
            )
            .payload(payload.to_vec())
            .create_signature(b"", |data| {
                let algorithm = json!({ "name": "RSA-PSS", "hash": "SHA-384", "saltLength": 48, "key": key });
                bytes(ask("sign", algorithm, &[data]))
            })
            .build();
        message.to_tagged_vec().unwrap()
    };
    let named = |did: &str| {
        HeaderBuilder::new()
            .content_type("application/json".into())
            .text_value("iss".into(), Cbor::Text(did.into()))
            .text_value("feed".into(), Cbor::Text("ContainerPlat-AMD-UVM".into()))
    };
    let claimed = |did: &str, svn: u64| {
        let claims = vec![
            (Cbor::Integer(1.into()), Cbor::Text(did.into())),
            (Cbor::Integer(2.into()), Cbor::Text("ContainerPlat-AMD-UVM".into())),
            (Cbor::Text("svn".into()), Cbor::Integer(svn.into())),
        ];
        HeaderBuilder::new().value(15, Cbor::Map(claims)).value(259, Cbor::Text("application/octet-stream".into()))
    };
    let json = |measurement: &[u8], svn: Value| {
        json!({ "x-ms-sevsnpvm-guestsvn": svn, "x-ms-sevsnpvm-launchmeasurement": hex(measurement) }).to_string().into_bytes()
    };
    let verdict = |endorsement: &[u8]| {
        refusal(ask("verifySnpAttestation", json!({ "uvm": true }), &[&report, CHAIN.as_bytes(), endorsement]))
    };
    // All is well except that the root is not Microsoft's, whose key nobody here has.
    let untrusted = format!(
        "RangeError: UVM endorsements did {good}, feed ContainerPlat-AMD-UVM, svn 100 do not match any of the known UVM roots of trust"
    );
    assert_eq!(verdict(&signed(named(&good), &json(measured, "100".into()))), untrusted);
    assert_eq!(verdict(&signed(named(&good), &json(measured, 100.into()))), untrusted);
    assert_eq!(verdict(&signed(claimed(&good, 100), measured)), untrusted);

    let says = |endorsement: Vec<u8>, expected: &str| {
        let said = verdict(&endorsement);
        assert!(said.contains(expected), "{said}");
    };
    says(signed(named(&good), &json(&report[..48], "100".into())), "is not equal to UVM attestation measurement");
    says(signed(named(&good), &json(measured, "x".into())), "Unable to parse sevsnpvm_guest_svn value x");
    says(signed(named(&good), &json(measured, Value::Null)), "Unexpected type for sevsnpvm_guest_svn");
    says(signed(claimed(&good, 100), &json(measured, 1.into())), "is not equal to UVM attestation measurement");
    says(signed(named(&good).content_type("text/plain".into()), measured), "Unexpected payload content type text/plain");
    says(signed(named(&did(&chain[0], "1.3.6.1.4.1.311.76.59.1.2")), b""), "has the fingerprint");
    says(signed(named(&did(&chain[1], "1.2.3")), b""), "does not have the purpose");
    says(signed(named("did:web:example.org"), b""), "Unsupported DID");
    let mut forged = signed(claimed(&good, 100), measured);
    let last = forged.len() - 1;
    forged[last] ^= 1;
    says(forged, "Signature verification failed");
}
