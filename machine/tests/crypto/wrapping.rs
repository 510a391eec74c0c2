//! `wrapKey` and `unwrapKey`.

use super::*;

#[test]
fn aes_kwp_is_that_of_rfc_5649() {
    let key = unhex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
    let vectors = [
        ("c37b7e6492584340bed12207808941155068f738", "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a"),
        ("466f7250617369", "afbeb0f07dfbf5419200f2ccb50bb24f"),
    ];
    for (plain, wrapped) in vectors {
        let made = bytes(ask("wrapKey", json!({ "name": "AES-KWP" }), &[&unhex(plain), &key]));
        assert_eq!(hex(&made), wrapped);
        assert_eq!(hex(&bytes(ask("unwrapKey", json!({ "name": "AES-KWP" }), &[&made, &key]))), plain);
    }
}

#[test]
fn aes_kwp_of_every_size_comes_back() {
    for size in [16, 24, 32] {
        let key = vec![9; size];
        for length in 1..70 {
            let plain = vec![length as u8; length];
            let wrapped = bytes(ask("wrapKey", json!({ "name": "AES-KWP" }), &[&plain, &key]));
            assert_eq!(wrapped.len(), length.div_ceil(8) * 8 + 8);
            assert_eq!(bytes(ask("unwrapKey", json!({ "name": "AES-KWP" }), &[&wrapped, &key])), plain);
        }
    }
}

#[test]
fn aes_kwp_is_that_of_openssl() {
    let openssl = OpenSsl::new();
    openssl.write("plain", [5; 21]);
    let key = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
    let wrapped = bytes(ask("wrapKey", json!({ "name": "AES-KWP" }), &[&[5; 21], &unhex(key)]));
    openssl.write("wrapped", wrapped);
    openssl.run(&format!("enc -d -id-aes256-wrap-pad -K {key} -iv A65959A6 -in wrapped -out back"));
    assert_eq!(openssl.read("back"), [5; 21]);
}

#[test]
fn rsa_oaep_is_that_of_openssl() {
    let openssl = OpenSsl::new();
    let private = openssl.key(RSA, "private");
    openssl.run("pkey -in private -pubout -out public");
    let public = openssl.text("public");
    let options = "-pkeyopt rsa_padding_mode:oaep -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256";
    // A label need not be text.
    for label in [&b""[..], b"label42", &[0xff, 0, 0xfe]] {
        let label_option = if label.is_empty() { String::new() } else { format!(" -pkeyopt rsa_oaep_label:{}", hex(label)) };
        for plain in [&b""[..], b"k", &[7; 32], &[8; 190]] {
            let wrapped = bytes(ask("wrapKey", json!({ "name": "RSA-OAEP" }), &[plain, public.as_bytes(), label]));
            openssl.write("wrapped", &wrapped);
            openssl.run(&format!("pkeyutl -decrypt -inkey private -in wrapped -out back {options}{label_option}"));
            assert_eq!(openssl.read("back"), plain);

            openssl.write("plain", plain);
            openssl.run(&format!("pkeyutl -encrypt -pubin -inkey public -in plain -out wrapped {options}{label_option}"));
            let wrapped = openssl.read("wrapped");
            assert_eq!(bytes(ask("unwrapKey", json!({ "name": "RSA-OAEP" }), &[&wrapped, private.as_bytes(), label])), plain);
            let refused = refusal(ask("unwrapKey", json!({ "name": "RSA-OAEP" }), &[&wrapped, private.as_bytes(), b"other"]));
            assert_eq!(refused, "InternalError: Failed to unwrap key: oaep decoding error");
        }
    }
    let refused = refusal(ask("wrapKey", json!({ "name": "RSA-OAEP" }), &[&[0; 191], public.as_bytes()]));
    assert_eq!(refused, "InternalError: Failed to wrap key: data too large for key size");
}

#[test]
fn both_together_are_a_fresh_key_and_the_key_under_it() {
    let (private, public) = pair(ask("generateRsaKeyPair", json!({ "size": 2048 }), &[]));
    let name = "RSA-OAEP-AES-KWP";
    for bits in [128, 192, 256] {
        let plain = [3; 1000];
        let wrapped = bytes(ask("wrapKey", json!({ "name": name, "aesKeySize": bits }), &[&plain, public.as_bytes(), b"l"]));
        assert_eq!(wrapped.len(), 256 + 1008);
        let arguments = json!({ "name": name, "aesKeySize": bits });
        assert_eq!(bytes(ask("unwrapKey", arguments, &[&wrapped, private.as_bytes(), b"l"])), plain);

        let fresh = bytes(ask("unwrapKey", json!({ "name": "RSA-OAEP" }), &[&wrapped[..256], private.as_bytes(), b"l"]));
        assert_eq!(fresh.len(), bits / 8);
        assert_eq!(bytes(ask("unwrapKey", json!({ "name": "AES-KWP" }), &[&wrapped[256..], &fresh])), plain);
    }
}
