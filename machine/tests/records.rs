//! The codecs of the records: what is written is read again, and nothing else is read.

#![allow(clippy::unwrap_used)]

use ledger::TxId;
use machine::outside::{decode_oracles, encode_oracles};
use machine::script::archive::Entry;
use machine::{Call, Caller, Checkpoint, Code, Input, Service, Settings, Signed, outcome, vats};
use proptest::prelude::*;
use sandbox::Failure;
use std::borrow::Cow;

fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<String>().prop_map(|s| serde_json::to_string(&s).unwrap()),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(|fields| {
                let field = |(name, value): &(String, String)| format!("{}:{value}", serde_json::to_string(name).unwrap());
                format!("{{{}}}", fields.iter().map(field).collect::<Vec<_>>().join(","))
            }),
        ]
    })
}

fn caller() -> impl Strategy<Value = Caller> {
    let signed = (any::<[u8; 32]>(), any::<[u8; 8]>(), any::<u64>(), 1u64..1 << 30, 1u64..1 << 60, any::<[u8; 32]>()).prop_map(
        |(key, session, counter, view, seqno, half)| {
            let signature = [half, key].concat().try_into().unwrap();
            Caller::Signed(Box::new(Signed { key, session, counter, head: TxId { view, seqno }, signature }))
        },
    );
    prop_oneof![Just(Caller::Anonymous), any::<String>().prop_map(Caller::Named), signed]
}

fn input() -> impl Strategy<Value = Input> {
    let args = prop::collection::vec(json(), 0..4).prop_map(|args| format!("[{}]", args.join(", \n")));
    prop_oneof![
        (any::<String>(), args, caller(), any::<u64>()).prop_map(|(method, args, caller, time_ms)| Input::Call(Call {
            method,
            args,
            caller,
            time_ms
        })),
        any::<u64>().prop_map(|time_ms| Input::Init { time_ms }),
        (any::<String>(), any::<String>(), any::<(u32, u32, u64)>(), any::<u64>()).prop_map(
            |(name, source, (heap_bytes, stack_bytes, instructions), time_ms)| {
                let settings = Settings { heap_bytes, stack_bytes, instructions };
                Input::Deploy { code: Code { name, source, settings }, time_ms }
            }
        ),
    ]
}

fn result() -> impl Strategy<Value = outcome::Result> {
    prop_oneof![
        json().prop_map(|json| Ok(Some(json))),
        Just(Ok(None)),
        any::<(String, String, String)>().prop_map(|(name, message, stack)| Err(Failure { name, message, stack })),
    ]
}

/// Bytes near to what is well formed: that is where a lenient reader would show.
fn near(bytes: Vec<u8>, at: usize, to: u8) -> Vec<u8> {
    let mut bytes = bytes;
    if !bytes.is_empty() {
        let at = at % bytes.len();
        bytes[at] = to;
    }
    bytes
}

proptest! {
    #[test]
    fn inputs(input in input(), at in any::<usize>(), to in any::<u8>()) {
        let bytes = input.encode();
        prop_assert_eq!(Input::decode(&bytes).unwrap(), input);
        let other = near(bytes, at, to);
        if let Ok(read) = Input::decode(&other) {
            prop_assert_eq!(read.encode(), other);
        }
    }

    #[test]
    fn results(result in result(), at in any::<usize>(), to in any::<u8>()) {
        let bytes = outcome::encode(&result);
        prop_assert_eq!(outcome::decode(&bytes).unwrap(), result);
        let other = near(bytes, at, to);
        if let Ok(read) = outcome::decode(&other) {
            prop_assert_eq!(outcome::encode(&read), other);
        }
    }

    #[test]
    fn oracles(answers in prop::collection::vec(result(), 0..4), at in any::<usize>(), to in any::<u8>()) {
        let answers: Vec<_> = answers.into_iter().map(|result| result.map_err(|failure| (failure.name, failure.message))).collect();
        let bytes = encode_oracles(&answers);
        prop_assert_eq!(decode_oracles(&bytes), Some(answers));
        let other = near(bytes, at, to);
        if let Some(read) = decode_oracles(&other) {
            prop_assert_eq!(encode_oracles(&read), other);
        }
    }

    #[test]
    fn checkpoints(numbers in any::<(u64, u64, u64, usize, u64)>(), signed in any::<Option<(u64, [u8; 32])>>(), at in any::<usize>(), to in any::<u8>()) {
        let (entries, version, time_ms, heap_bytes, time_s) = numbers;
        let signed_before = signed.map(|(seqno, root)| (TxId { view: 2, seqno: seqno >> 8 | 1 }, root, time_s));
        let beyond = Checkpoint { entries: entries | 1 << 54, version, time_ms, heap_bytes, signature: signed_before };
        prop_assert!(Checkpoint::decode(&beyond.encode()).is_err());
        let (entries, version) = (entries >> 11, version >> 11);
        let signature = signed.map(|(seqno, root)| (TxId { view: 2, seqno: seqno >> 8 | 1 }, root, time_s));
        let checkpoint = Checkpoint { entries, version, time_ms, heap_bytes, signature };
        let bytes = checkpoint.encode();
        prop_assert_eq!(Checkpoint::decode(&bytes).unwrap(), checkpoint);
        let other = near(bytes, at, to);
        if let Ok(read) = Checkpoint::decode(&other) {
            prop_assert_eq!(read.encode(), other);
        }
    }

    #[test]
    fn services(title in any::<String>(), files in "[0-9a-f]{64}", at in any::<usize>(), to in any::<u8>()) {
        let chance = files.repeat(3);
        let service = Service { format: 2, kind: "script".into(), title, log: files.clone(), files, operator: "o".into(), chance, engine: "e".into() };
        let bytes = service.encode();
        prop_assert_eq!(Service::decode(&bytes).unwrap(), service);
        let other = near(bytes, at, to);
        if let Ok(read) = Service::decode(&other) {
            prop_assert_eq!(read.encode(), other);
        }
    }

    #[test]
    fn files(content in any::<Option<Vec<u8>>>(), created_ms in 0u64..1 << 48, modified_ms in 0u64..1 << 48, bytes in any::<Vec<u8>>()) {
        let entry = Entry { content: content.map(Cow::Owned), created_ms, modified_ms };
        let encoded = entry.encode();
        prop_assert_eq!(Entry::decode(&encoded).unwrap(), entry);
        if let Some(read) = Entry::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn nothing_panics(bytes in any::<Vec<u8>>()) {
        let _ = (Input::decode(&bytes).is_ok(), outcome::decode(&bytes).is_ok(), Service::decode(&bytes).is_ok());
        let _ = (Checkpoint::decode(&bytes).is_ok(), decode_oracles(&bytes), Signed::parse_nonce(&String::from_utf8_lossy(&bytes)));
    }
}

/// What vats did stands in a form of its own, which no script's result has.
#[test]
fn summaries() {
    let call = "{\"call\":\"add\",\"args\":[],\"time\":1}";
    let digest = ledger::hex::encode(&ledger::sha256(call.as_bytes()));
    let summary = |settled: &str| {
        format!(
            "{{\"cranks\":1,\"idle\":true,\"activity\":\"\"{}}}",
            settled.replace("DIGEST", &format!("\"input\":\"{digest}\""))
        )
    };
    let read = |result: &str| machine::Entry::decode(format!("{{\"init\":true,\"time\":1}}\n{result}").as_bytes());
    let answers = |settled: &str| {
        let summary = summary(settled);
        let entry = read(&format!("{{\"vats\":{summary}}}")).unwrap();
        assert!(entry.is_summary);
        assert_eq!(outcome::encode_summary(&entry.result), format!("{{\"vats\":{summary}}}").into_bytes());
        for script in [format!("{{\"result\":{summary}}}"), format!("{{\"result\":{{\"vats\":{summary}}}}}")] {
            assert_eq!(vats::answers(&read(&script).unwrap(), call), []);
        }
        vats::answers(&entry, call)
    };
    let failed = Failure { name: "TypeError".into(), message: "no".into(), stack: String::new() };
    assert_eq!(answers(""), []);
    assert_eq!(answers(",\"settled\":[{\"result\":1},{\"call\":2,\"input\":\"other\",\"result\":1}]"), []);
    assert_eq!(answers(",\"settled\":[{\"call\":3,DIGEST,\"result\":[1]}]"), [Ok(Some("[1]".into()))]);
    assert_eq!(answers(",\"settled\":[{\"call\":3,DIGEST}]"), [Ok(None)]);
    assert_eq!(
        answers(",\"settled\":[{\"call\":3,DIGEST,\"result\":null},{\"call\":4,DIGEST,\"error\":[\"TypeError\",\"no\"]}]"),
        [Ok(Some("null".into())), Err(failed)]
    );
    for other in [
        "{\"vats\":{}}".to_owned(),
        format!("{{\"vats\": {}}}", summary("")),
        format!("{{\"vats\":{}}}", summary(",\"settled\":[]")),
        format!("{{\"vats\":{}}}", summary(",\"more\":1")),
        format!("{{\"vats\":{}}}", summary(",\"settled\":[{\"input\":\"\",\"call\":3}]")),
        format!("{{\"vats\":{},\"result\":1}}", summary("")),
    ] {
        assert!(read(&other).is_err(), "{other}");
    }
}
