//! Whatever comes in, an answer goes out, and the same one with and without a cache.

use super::{Tables, ask, cose, data, jwt, request};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use machine::bundle::{
    auth::{Cache, jwt_keys_of, signed_by_member},
    request::Request,
    store::RowsMut,
};
use proptest::{collection::vec, prelude::*};
use serde_json::json;

fn rows() -> Tables {
    let mut rows = Tables::default();
    rows.user(data!("user.cert.pem"), None);
    rows.member(data!("member.cert.pem"), None);
    jwt::publish(&mut rows, "kid-rsa", data!("rsa.spki.der"), "https://issuer.example/", None);
    rows
}

/// `good` with some bytes put in place of others.
fn damaged(good: &'static [u8]) -> impl Strategy<Value = Vec<u8>> {
    (0..good.len(), 0..8usize, vec(any::<u8>(), 0..8)).prop_map(move |(at, cut, put)| {
        let end = (at + cut).min(good.len());
        [&good[..at], &put, &good[end..]].concat()
    })
}

proptest! {
    #[test]
    fn bodies(body in prop_oneof![vec(any::<u8>(), 0..300), damaged(data!("user.cose")), damaged(data!("proposal.cose"))]) {
        let (rows, request) = (rows(), cose::signed(&body));
        let _ = ask(json!(["user_cose_sign1", "no_auth"]), &request, &rows);
        let _ = signed_by_member(&request, "proposal", true, &rows, &mut Cache::new()).unwrap();
    }

    #[test]
    fn certificates(der in prop_oneof![vec(any::<u8>(), 0..300), damaged(data!("user.cert.pem")), damaged(data!("rsa.spki.der"))]) {
        let request = Request { certificate: Some(der), ..request() };
        let _ = ask(json!(["user_cert", "member_cert"]), &request, &rows());
        let _ = ask(json!(["any_cert"]), &request, &rows());
    }

    #[test]
    fn certificates_in_the_table(pem in damaged(data!("user.cert.pem"))) {
        let mut rows = rows();
        let id = super::id_of(data!("user.cert.pem"));
        rows.put("public:ccf.gov.users.certs", id.as_bytes(), &pem);
        let _ = ask(json!(["user_cose_sign1"]), &cose::signed(data!("user.cose")), &rows);
    }

    #[test]
    fn tokens(value in "\\PC{0,60}", header in damaged(br#"{"alg":"RS256","kid":"kid-rsa"}"#),
              payload in damaged(br#"{"iss":"https://issuer.example/","exp":4102444800,"nbf":1.5}"#)) {
        let rows = rows();
        let token = format!("{}.{}.", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
        prop_assert!(ask(json!(["jwt"]), &jwt::bearer(&token), &rows).is_err());
        prop_assert!(ask(json!(["jwt"]), &jwt::bearer(&value), &rows).is_err());
    }

    #[test]
    fn rows_of_keys(row in damaged(br#"[{"issuer":"https://issuer.example/","public_key":"AAAA","constraint":"https://a"}]"#)) {
        let mut rows = rows();
        rows.put(jwt::TABLE, b"kid-rsa", &row);
        let _ = ask(json!(["jwt"]), &jwt::bearer(std::str::from_utf8(data!("rsa.jwt")).unwrap()), &rows);
    }

    #[test]
    fn key_sets(n in "[A-Za-z0-9_=-]{0,600}", e in "[A-Za-z0-9_-]{0,8}", crv in "P-(256|384|521)", x5c in "[A-Za-z0-9+/]{0,80}") {
        for jwk in [json!({"kid": "k", "n": n, "e": e}), json!({"kid": "k", "crv": crv, "x": n, "y": n}), json!({"kid": "k", "x5c": [x5c]})] {
            let _ = jwt_keys_of("https://a.example", &json!({}), &json!({"keys": [jwk]}));
        }
    }

    #[test]
    fn urls(constraint in "\\PC{0,40}", issuer in "(https?:)?/?/?[a-z\\[\\]:/?#.]{0,20}") {
        for jwk in [&constraint, &issuer] {
            let keys = json!({"keys": [{"kid": "k", "issuer": jwk, "x5c": [""]}]});
            let made = jwt_keys_of(&issuer, &json!({}), &keys);
            prop_assert!(made.is_err());
        }
    }
}
