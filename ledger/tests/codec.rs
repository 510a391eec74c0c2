//! One value has one encoding, and nothing else is accepted.

#![allow(clippy::unwrap_used)] // also in the helpers of the tests

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use ledger::transaction::OVERHEAD_BYTES;
use ledger::{CodecError, LedgerSecret, MapWrites, SealError, Sealer, Transaction, WriteSet};
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..20)
}

fn map_writes() -> impl Strategy<Value = MapWrites> {
    (btree_map(bytes(), bytes(), 0..5), btree_set(bytes(), 0..5)).prop_map(|(writes, mut removes)| {
        removes.retain(|key| !writes.contains_key(key));
        MapWrites { writes, removes }
    })
}

fn write_set() -> impl Strategy<Value = WriteSet> {
    btree_map("(public:)?[a-zé.]{1,6}", map_writes(), 0..5).prop_map(|maps| WriteSet { maps })
}

/// A write set without the maps that do nothing, in two halves.
fn halves(writes: &WriteSet) -> (WriteSet, WriteSet) {
    let pick = |public| WriteSet {
        maps: writes
            .maps
            .iter()
            .filter(|(name, map)| name.starts_with("public:") == public && !map.is_empty())
            .map(|(name, map)| (name.clone(), map.clone()))
            .collect::<BTreeMap<_, _>>(),
    };
    (pick(true), pick(false))
}

fn sealer() -> Sealer {
    Sealer::new(support::keys(), 2).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn what_was_sealed_is_read_back(writes in write_set(), claims in any::<Option<[u8; 32]>>()) {
        let sealed = sealer().seal(&writes, claims).unwrap();
        let read = Transaction::parse(&sealed.raw).unwrap();
        let (public, private) = halves(&writes);
        prop_assert_eq!(read.txid(), sealed.txid);
        prop_assert_eq!(read.public(), &public);
        prop_assert_eq!(read.decrypt(support::keys().secret()).unwrap(), private);
        prop_assert_eq!(read.claims_digest(), claims.unwrap_or_default());
        prop_assert_eq!(read.leaf(), sealed.leaf);
        prop_assert_eq!(read.into_raw(), sealed.raw);
    }

    /// Change, cut or lengthen an encoding: when it is still accepted, it is the encoding of what it now says.
    #[test]
    fn what_is_accepted_encodes_to_the_same_bytes(
        writes in write_set(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in 0usize..3, tail in 0usize..3,
    ) {
        let mut raw = sealer().seal(&writes, None).unwrap().raw;
        let at = at.index(raw.len());
        raw[at] = byte;
        raw.truncate(raw.len() - cut);
        raw.extend(std::iter::repeat_n(0, tail));
        let Ok(read) = Transaction::parse(&raw) else { return Ok(()) };
        prop_assert_eq!(encode_again(&read), raw);
    }

    #[test]
    fn random_bytes_never_panic(raw in vec(any::<u8>(), 0..300)) {
        let _ = Transaction::parse(&raw);
    }

    #[test]
    fn random_bytes_behind_a_good_frame_never_panic(mut body in vec(any::<u8>(), 36..300), maps in vec(0u8..12, 0..200)) {
        body.extend(maps);
        let mut raw = (1 | (body.len() as u64) << 16).to_le_bytes().to_vec();
        let public_len = (body.len() - 36) as u64;
        body[28..36].copy_from_slice(&public_len.to_le_bytes());
        raw.extend(body);
        let _ = Transaction::parse(&raw);
    }
}

/// The encoder, written a second time, from what the parsed transaction says. Tag and digests are taken over.
fn encode_again(read: &Transaction) -> Vec<u8> {
    let number = |n: u64| n.to_le_bytes().to_vec();
    let text = |bytes: &[u8]| [number(bytes.len() as u64), bytes.to_vec()].concat();
    let mut public = vec![4];
    public.extend(number(read.txid().seqno));
    public.extend(read.claims_digest());
    public.extend(read.commit_evidence_digest());
    public.extend(number(0));
    for (name, map) in &read.public().maps {
        public.extend([text(name.as_bytes()), number(0), number(0), number(map.writes.len() as u64)].concat());
        for (key, value) in &map.writes {
            public.extend([text(key), text(value)].concat());
        }
        public.extend(number(map.removes.len() as u64));
        for key in &map.removes {
            public.extend(text(key));
        }
    }
    let mut raw = read.raw()[8..24].to_vec();
    raw.extend(number(read.txid().seqno));
    raw.extend((read.txid().view as u32).to_le_bytes());
    raw.extend(number(public.len() as u64));
    raw.extend(public);
    raw.extend(read.private());
    let header = 1 | u64::from(read.flags()) << 8 | (raw.len() as u64) << 16;
    [number(header), raw].concat()
}

#[test]
fn an_empty_transaction_costs_what_the_format_forces() {
    let sealed = sealer().seal(&WriteSet::new(), None).unwrap();
    assert_eq!(sealed.raw.len(), OVERHEAD_BYTES);
    assert_eq!(OVERHEAD_BYTES, 125);
}

#[test]
fn a_changed_transaction_or_another_secret_does_not_decrypt() {
    let sealed = sealer().seal(&support::call(3), None).unwrap();
    let secret = support::keys().secret();
    assert!(Transaction::parse(&sealed.raw).unwrap().decrypt(secret).is_ok());
    let other = LedgerSecret::new([7; 32]);
    assert!(matches!(Transaction::parse(&sealed.raw).unwrap().decrypt(&other), Err(CodecError::Tag(_))));
    for at in 0..sealed.raw.len() {
        for bit in 0..8 {
            let mut raw = sealed.raw.clone();
            raw[at] ^= 1 << bit;
            let read = Transaction::parse(&raw).and_then(|transaction| transaction.decrypt(secret));
            assert!(read.is_err(), "byte {at}, bit {bit}");
        }
    }
}

#[test]
fn a_write_set_without_an_encoding_is_refused_and_the_sealer_goes_on() {
    let mut sealer = sealer();
    let mut both = WriteSet::new();
    both.put("public:a", *b"k", *b"v");
    both.maps.get_mut("public:a").unwrap().removes.insert(b"k".to_vec());
    assert_eq!(sealer.seal(&both, None), Err(SealError::Codec(CodecError::WrittenAndRemoved)));
    let mut long = WriteSet::new();
    long.put(&"n".repeat(1025), *b"k", *b"v");
    assert_eq!(sealer.seal(&long, None), Err(SealError::Codec(CodecError::MapName)));
    let mut reserved = WriteSet::new();
    reserved.put("public:ccf.internal.tree", *b"k", *b"v");
    assert_eq!(sealer.seal(&reserved, None), Err(SealError::ReservedMap("public:ccf.internal.tree")));
    assert_eq!(sealer.seal(&WriteSet::new(), None).unwrap().txid.seqno, 1);
}

#[test]
fn a_view_is_never_used_again() {
    for view in [0, 1, 1 << 31] {
        assert!(matches!(Sealer::new(support::keys(), view), Err(SealError::View { .. })), "{view}");
    }
    let _: &Arc<_> = support::keys();
}
