//! Signed bodies: users' and members', as `ccf_cose_sign1` makes them.

use super::{Tables, ask, broken, challenge, data, reasons, refused, request};
use coset::{CborSerializable, CoseSign1, TaggedCborSerializable, cbor::value::Value as Cbor};
use machine::bundle::{
    auth::{Cache, Denied, SignedRequest, signed_by_member},
    request::Request,
    store::RowsMut,
};
use serde_json::json;

pub(super) fn signed(body: &[u8]) -> Request {
    let headers = vec![("content-type".into(), "application/cose".into())];
    Request { method: "POST".into(), headers, body: body.to_vec(), ..request() }
}

fn member(request: &Request, kind: &str, active: bool, rows: &Tables) -> Result<SignedRequest, Denied> {
    let mut cache = Cache::new();
    let first = signed_by_member(request, kind, active, rows, &mut cache).unwrap();
    assert_eq!(signed_by_member(request, kind, active, rows, &mut cache).unwrap(), first);
    first
}

fn why(request: &Request, kind: &str, active: bool, rows: &Tables) -> String {
    let denied = member(request, kind, active, rows).unwrap_err();
    assert_eq!(challenge(&denied).as_deref(), Some("COSE-SIGN1 realm=\"Signed request access\""));
    let policy = if active { "active_member_cose_sign1 " } else { "member_cose_sign1 " };
    reasons(&denied)[0].strip_prefix(policy).unwrap().to_owned()
}

/// A message of its parts, with nothing said about their being well-formed.
fn message(protected: &[(Cbor, Cbor)], payload: Cbor, signature: &[u8]) -> Vec<u8> {
    let header = Cbor::Map(protected.to_vec());
    array(vec![Cbor::Bytes(bytes(&header)), Cbor::Map(vec![]), payload, Cbor::Bytes(signature.to_vec())])
}

fn array(parts: Vec<Cbor>) -> Vec<u8> {
    bytes(&Cbor::Tag(18, Box::new(Cbor::Array(parts))))
}

fn bytes(value: &Cbor) -> Vec<u8> {
    let mut out = Vec::new();
    coset::cbor::ser::into_writer(value, &mut out).unwrap();
    out
}

fn header(alg: i64, kid: &[u8]) -> Vec<(Cbor, Cbor)> {
    vec![(1.into(), alg.into()), (4.into(), Cbor::Bytes(kid.to_vec()))]
}

#[test]
fn users() {
    let mut rows = Tables::default();
    let policy = || json!(["user_cose_sign1"]);
    let good = signed(data!("user.cose"));
    assert_eq!(refused(policy(), &request(), &rows), ["user_cose_sign1 Missing content-type header"]);
    for other in ["application/json", "application/cose; x=1", ""] {
        let mut request = good.clone();
        request.headers[0].1 = other.into();
        let expected = ["user_cose_sign1 Content type is not set to application/cose"];
        assert_eq!(refused(policy(), &request, &rows), expected);
    }
    assert_eq!(refused(policy(), &good, &rows), ["user_cose_sign1 Signer is not a known user"]);

    for (cert, cose) in [
        (data!("user.cert.pem"), data!("user.cose")),
        (data!("other.cert.pem"), data!("other.cose")),
        (data!("p521.cert.pem"), data!("p521.cose")),
    ] {
        let id = rows.user(cert, Some(json!({"user_data": 7})));
        let pem = serde_json::to_string(std::str::from_utf8(cert).unwrap()).unwrap();
        let grant = ask(policy(), &signed(cose), &rows).unwrap();
        let rest = format!("\"policy\":\"user_cose_sign1\",\"id\":\"{id}\",\"data\":7,\"cert\":{pem}");
        assert_eq!(grant.caller, format!("{{\"cose\":{{}},{rest}}}"));
        assert_eq!(grant.content.as_deref(), Some(b"\x00\xffbody".as_slice()));
        assert_eq!(grant.id, Some(id));
    }
    // The tag may be missing; a payload elsewhere is not accepted.
    let mut parsed = CoseSign1::from_tagged_slice(data!("user.cose")).unwrap();
    ask(policy(), &signed(&parsed.clone().to_vec().unwrap()), &rows).unwrap();
    parsed.payload = None;
    let detached = signed(&parsed.to_tagged_vec().unwrap());
    assert_eq!(refused(policy(), &detached, &rows), ["user_cose_sign1 Failed to validate COSE Sign1"]);
    // A body that is none with the right content type is an internal error, as clients have learnt.
    for body in [b"".as_slice(), b"{}", b"garbage", &[0xd2], &[0x84, 0x40, 0xa0, 0x40, 0x40]] {
        broken(policy(), &signed(body), &rows);
    }
}

#[test]
fn a_byte_that_differs() {
    let mut rows = Tables::default();
    rows.user(data!("user.cert.pem"), None);
    let good = data!("user.cose");
    for at in 0..good.len() {
        for flip in [1, 0x80] {
            let mut body = good.to_vec();
            body[at] ^= flip;
            ask(json!(["user_cose_sign1"]), &signed(&body), &rows).unwrap_err();
        }
    }
    let longer = [good, &[0]].concat();
    broken(json!(["user_cose_sign1"]), &signed(&longer), &rows);
}

#[test]
fn headers_of_messages() {
    let mut rows = Tables::default();
    let kid = rows.user(data!("user.cert.pem"), None);
    let kid = kid.as_bytes();
    let payload = || Cbor::Bytes(b"x".to_vec());
    let policy = || json!(["user_cose_sign1"]);
    for alg in [-8, -37, 5, 0, -99_999] {
        let body = message(&header(alg, kid), payload(), &[0; 96]);
        assert_eq!(refused(policy(), &signed(&body), &rows), [format!("user_cose_sign1 Unsupported algorithm: {alg}")]);
    }
    // The key's algorithm is another.
    for alg in [-7, -35, -36] {
        let body = message(&header(alg, kid), payload(), &[0; 96]);
        assert_eq!(refused(policy(), &signed(&body), &rows), ["user_cose_sign1 Failed to validate COSE Sign1"]);
    }
    for other in [kid.to_ascii_uppercase(), vec![0xff; 64], Vec::new(), vec![b'0'; 100_000]] {
        let body = message(&header(-35, &other), payload(), &[0; 96]);
        assert_eq!(refused(policy(), &signed(&body), &rows), ["user_cose_sign1 Signer is not a known user"]);
    }
    let mut twice = header(-35, kid);
    twice.push((1.into(), (-7).into()));
    assert!(broken(policy(), &signed(&message(&twice, payload(), b"")), &rows).contains("twice"));
    for bad in [
        vec![],
        vec![(1.into(), Cbor::from(-35))],
        vec![(1.into(), Cbor::Text("ES384".into())), (4.into(), Cbor::Bytes(kid.to_vec()))],
        vec![(1.into(), Cbor::from(u64::MAX)), (4.into(), Cbor::Bytes(kid.to_vec()))],
        vec![(1.into(), Cbor::from(-35)), (4.into(), Cbor::Text("abc".into()))],
        [header(-35, kid), vec![(Cbor::Null, Cbor::Null)]].concat(),
    ] {
        broken(policy(), &signed(&message(&bad, payload(), b"")), &rows);
    }
    rows.put("public:ccf.gov.users.certs", kid, b"no certificate");
    broken(policy(), &signed(data!("user.cose")), &rows);
}

/// A counter-signature has a protected header, which may have a counter-signature: a reader that follows them runs out of stack.
#[test]
fn messages_in_messages() {
    let mut protected = bytes(&Cbor::Map(vec![]));
    for _ in 0..3_000 {
        let inner = Cbor::Array(vec![Cbor::Bytes(protected), Cbor::Map(vec![]), Cbor::Bytes(vec![])]);
        protected = bytes(&Cbor::Map(vec![(7.into(), inner)]));
    }
    let parts = vec![Cbor::Bytes(protected), Cbor::Map(vec![]), Cbor::Null, Cbor::Bytes(vec![])];
    broken(json!(["user_cose_sign1"]), &signed(&array(parts)), &Tables::default());
    broken(json!(["user_cose_sign1"]), &signed(&[0x81; 1_000_000]), &Tables::default());
    // Lengths that are not there.
    for huge in [[0x9b; 9], [0xbb; 9], [0x5b; 9], [0x7b; 9]] {
        broken(json!(["user_cose_sign1"]), &signed(&huge), &Tables::default());
    }
}

#[test]
fn members() {
    let mut rows = Tables::default();
    let proposal = signed(data!("proposal.cose"));
    assert_eq!(why(&proposal, "proposal", true, &rows), "Signer is not a known member");
    // A user with the same certificate is no member.
    rows.user(data!("member.cert.pem"), None);
    assert_eq!(why(&proposal, "proposal", false, &rows), "Signer is not a known member");
    let id = rows.member(data!("member.cert.pem"), Some(json!({"status": "Accepted"})));
    assert_eq!(why(&proposal, "proposal", true, &rows), "Signer is not an ACTIVE member");
    let accepted = member(&proposal, "proposal", false, &rows).unwrap();
    rows.member(data!("member.cert.pem"), Some(json!({"status": "Active"})));
    assert_eq!(member(&proposal, "proposal", true, &rows).unwrap(), accepted);

    let parsed = CoseSign1::from_tagged_slice(data!("proposal.cose")).unwrap();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &parsed.signature);
    let expected = SignedRequest {
        member: id.clone(),
        kind: "proposal".into(),
        created_at_s: 1_795_341_600,
        proposal: None,
        payload: b"{\"actions\": []}".to_vec(),
        digest: digest.as_ref().try_into().unwrap(),
        replay_digest: accepted.replay_digest,
        raw: data!("proposal.cose").to_vec(),
    };
    assert_eq!(accepted, expected);
    let ballot = member(&signed(data!("ballot.cose")), "ballot", true, &rows).unwrap();
    assert_eq!(ballot.proposal, Some("ab".repeat(32)));
    member(&signed(data!("ack.cose")), "ack", false, &rows).unwrap();
    assert_eq!(member(&signed(data!("finished.cose")), "proposal", true, &rows).unwrap().payload, b"{}");
    rows.member(data!("member256.cert.pem"), Some(json!({"status": "Active"})));
    member(&signed(data!("proposal256.cose")), "proposal", true, &rows).unwrap();

    for kind in ["ballot", "withdrawal", "ack"] {
        let expected = format!("Found ccf.gov.msg.type set to proposal, expected ccf.gov.msg.type to be {kind}");
        assert_eq!(why(&proposal, kind, true, &rows), expected);
    }
    assert_eq!(why(&request(), "proposal", false, &rows), "Missing content-type header");
    let mut json = proposal.clone();
    json.headers[0].1 = "application/json".into();
    assert_eq!(why(&json, "proposal", true, &rows), "Content type is not set to application/cose");
    let mut forged = CoseSign1::from_tagged_slice(data!("proposal.cose")).unwrap();
    forged.payload = Some(b"{\"actions\":[]}".to_vec());
    let forged = signed(&forged.to_tagged_vec().unwrap());
    assert_eq!(why(&forged, "proposal", true, &rows), "Failed to validate COSE Sign1");
    rows.put("public:ccf.gov.members.info", id.as_bytes(), b"garbage");
    assert_eq!(why(&proposal, "proposal", true, &rows), "Signer is not an ACTIVE member");
}

#[test]
fn members_headers() {
    let mut rows = Tables::default();
    let kid = rows.member(data!("member.cert.pem"), None);
    let body = |more: &[(Cbor, Cbor)]| {
        let header = [header(-35, kid.as_bytes()), more.to_vec()].concat();
        signed(&message(&header, Cbor::Bytes(vec![]), &[0; 96]))
    };
    let created = |value: Cbor| (Cbor::Text("ccf.gov.msg.created_at".into()), value);
    for bad in [
        vec![],
        vec![created((-1).into())],
        vec![created("1".into())],
        vec![created(u64::MAX.into())],
        vec![created(1.into()), ("ccf.gov.msg.type".into(), 1.into())],
        vec![created(1.into()), ("ccf.gov.msg.proposal_id".into(), Cbor::Null)],
    ] {
        let response = member(&body(&bad), "ack", false, &rows).unwrap_err().response();
        assert_eq!(response.status, 500);
    }
    assert_eq!(why(&body(&[created(1.into())]), "ack", false, &rows), "Failed to validate COSE Sign1");
}

/// What a key of ours signs without saying what for.
#[test]
fn a_request_that_does_not_say_what_for() {
    let mut rows = Tables::default();
    let kid = rows.member(data!("member256.cert.pem"), None);
    let key = pem::parse(data!("member256.key.pem")).unwrap();
    let algorithm = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = aws_lc_rs::signature::EcdsaKeyPair::from_private_key_der(algorithm, key.contents()).unwrap();
    for critical in [false, true] {
        let mut builder = coset::HeaderBuilder::new()
            .algorithm(coset::iana::Algorithm::ES256)
            .key_id(kid.clone().into_bytes())
            .text_value("ccf.gov.msg.created_at".into(), 1.into());
        if critical {
            builder = builder.add_critical(coset::iana::HeaderParameter::ContentType);
        }
        let message = coset::CoseSign1Builder::new()
            .protected(builder.build())
            .payload(vec![])
            .create_signature(&[], |tbs| key.sign(&aws_lc_rs::rand::SystemRandom::new(), tbs).unwrap().as_ref().to_vec());
        let request = signed(&message.build().to_tagged_vec().unwrap());
        let expected = match critical {
            false => "Missing ccf.gov.msg.type, expected ccf.gov.msg.type to be ack",
            true => "Failed to validate COSE Sign1",
        };
        assert_eq!(why(&request, "ack", false, &rows), expected);
    }
}

/// `n - s` for `s`: both signatures verify, and both are known to be the same.
#[test]
fn the_other_signature() {
    let n: [&[u8]; 2] = [
        b"ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551",
        b"ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    ];
    let mut rows = Tables::default();
    for (cert, cose, n) in
        [(data!("member256.cert.pem"), data!("proposal256.cose"), n[0]), (data!("member.cert.pem"), data!("proposal.cose"), n[1])]
    {
        rows.member(cert, None);
        let mut message = CoseSign1::from_tagged_slice(cose).unwrap();
        let size = message.signature.len() / 2;
        let mut borrow = 0;
        for at in (0..size).rev() {
            let digit = i32::from_str_radix(std::str::from_utf8(&n[2 * at..2 * at + 2]).unwrap(), 16).unwrap();
            let rest = digit - i32::from(message.signature[size + at]) - borrow;
            borrow = i32::from(rest < 0);
            message.signature[size + at] = rest.rem_euclid(256) as u8;
        }
        let first = member(&signed(cose), "proposal", false, &rows).unwrap();
        let second = member(&signed(&message.to_tagged_vec().unwrap()), "proposal", false, &rows).unwrap();
        assert_ne!(first.digest, second.digest);
        assert_eq!(first.replay_digest, second.replay_digest);
    }
}
