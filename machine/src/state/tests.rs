#![allow(clippy::disallowed_methods, reason = "the kill test starts a process and asks for its environment")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::ops::Bound::{self, Excluded, Included, Unbounded};
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;

/// What the state must be: `(map, key)` to `(seqno, value)`.
type Model = BTreeMap<(&'static str, Vec<u8>), (u64, Vec<u8>)>;

/// Map, key, and the value or its removal.
type Write = (&'static str, Vec<u8>, Option<Vec<u8>>);

/// The names are neighbours on purpose: one is the start of another, one ends in a high byte.
const MAPS: [&str; 4] = ["public:a", "public:ab", "public:b", "public:é"];

#[derive(Debug, Clone)]
enum Op {
    /// The writes of one transaction, and by how much the seqno grows.
    Apply(u64, Vec<Write>),
    Flush,
    /// Drop without a flush, open again: what was not flushed is gone.
    Reopen,
    Wipe,
    Snapshot,
    DropSnapshot,
    Check(&'static str, Bound<Vec<u8>>, Bound<Vec<u8>>, u64),
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(prop::sample::select(vec![0, 1, b'a', 0xff]), 0..3),
        1 => prop::collection::vec(any::<u8>(), 20..40),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..40),
        1 => (any::<u8>(), 4_000_usize..20_000).prop_map(|(byte, len)| vec![byte; len]),
    ]
}

fn bound() -> impl Strategy<Value = Bound<Vec<u8>>> {
    prop_oneof![key().prop_map(Included), key().prop_map(Excluded), Just(Unbounded)]
}

fn op() -> impl Strategy<Value = Op> {
    let write = (prop::sample::select(&MAPS[..]), key(), prop::option::weighted(0.7, value()));
    prop_oneof![
        12 => (1_u64..4, prop::collection::vec(write, 0..6)).prop_map(|(step, writes)| Op::Apply(step, writes)),
        3 => Just(Op::Flush),
        1 => Just(Op::Reopen),
        1 => prop::bool::weighted(0.3).prop_map(|wipe| if wipe { Op::Wipe } else { Op::Flush }),
        3 => Just(Op::Snapshot),
        2 => Just(Op::DropSnapshot),
        6 => (prop::sample::select(&MAPS[..]), bound(), bound(), any::<u64>())
            .prop_map(|(map, from, to, ends)| Op::Check(map, from, to, ends)),
    ]
}

fn as_slice(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

fn apply_to_model(model: &mut Model, seqno: u64, writes: &[Write]) {
    for (map, key, value) in writes {
        match value {
            Some(value) => model.insert((map, key.clone()), (seqno, value.clone())),
            None => model.remove(&(*map, key.clone())),
        };
    }
}

fn apply(state: &mut State, seqno: u64, writes: &[Write]) {
    let writes = writes.iter().map(|(map, key, value)| (*map, key.as_slice(), value.as_deref()));
    state.apply(seqno, writes).unwrap();
}

/// Reads from `range` and `keys` with `ends` choosing the end of each step, and compares with the model.
fn check_range(
    model: &Model,
    map: &str,
    (from, to): (&Bound<Vec<u8>>, &Bound<Vec<u8>>),
    mut ends: u64,
    mut range: Range<'_>,
    mut keys: Keys<'_>,
) {
    let inside = (as_slice(from), as_slice(to));
    let mut expected: std::collections::VecDeque<_> = model
        .iter()
        .filter(|((other, key), _)| *other == map && std::ops::RangeBounds::<[u8]>::contains(&inside, key.as_slice()))
        .collect();
    loop {
        let back = ends & 1 == 1;
        ends = ends.rotate_right(1);
        let (want, got, got_key) = if back {
            (expected.pop_back(), range.next_back(), keys.next_back())
        } else {
            (expected.pop_front(), range.next(), keys.next())
        };
        let got = got.transpose().unwrap();
        let got = got.as_ref().map(|(key, entry)| (&**key, entry.seqno(), entry.value()));
        assert_eq!(got, want.map(|((_, key), (seqno, value))| (key.as_slice(), *seqno, value.as_slice())));
        assert_eq!(got_key.transpose().unwrap().as_deref(), got.map(|(key, _, _)| key));
        if got.is_none() {
            return;
        }
    }
}

fn check_get(model: &Model, map: &'static str, key: &[u8], got: Result<Option<Entry>, StateError>) {
    let got = got.unwrap();
    let want = model.get(&(map, key.to_vec()));
    let got = got.as_ref().map(|entry| (entry.seqno(), entry.value()));
    assert_eq!(got, want.map(|(seqno, value)| (*seqno, value.as_slice())));
}

fn run(ops: &[Op], dir: Option<&Path>) {
    let open = || dir.map_or_else(State::in_memory, |dir| State::open(dir).unwrap());
    let mut state = open();
    let mut model = Model::new();
    let mut flushed = (0, Model::new());
    let mut snapshots: Vec<(Snapshot, u64, Model)> = Vec::new();
    for op in ops {
        match op {
            Op::Apply(step, writes) => {
                let seqno = state.applied() + step;
                apply(&mut state, seqno, writes);
                apply_to_model(&mut model, seqno, writes);
                assert_eq!(state.applied(), seqno);
            }
            Op::Flush => {
                state.flush().unwrap();
                flushed = (state.applied(), model.clone());
            }
            Op::Reopen if dir.is_some() => {
                snapshots.clear();
                drop(state);
                state = open();
                assert_eq!(state.applied(), flushed.0);
                model.clone_from(&flushed.1);
            }
            Op::Reopen => {}
            Op::Wipe => {
                state.wipe().unwrap();
                model.clear();
                flushed = (0, Model::new());
                assert_eq!(state.applied(), 0);
            }
            Op::Snapshot => {
                let snapshot = state.snapshot();
                let applied = state.applied();
                snapshots.push((snapshot, applied, model.clone()));
            }
            Op::DropSnapshot => {
                if !snapshots.is_empty() {
                    snapshots.remove(0);
                }
            }
            Op::Check(map, from, to, ends) => {
                let (low, high) = (as_slice(from), as_slice(to));
                let (range, keys) = (state.range(map, low, high).unwrap(), state.keys(map, low, high).unwrap());
                check_range(&model, map, (from, to), *ends, range, keys);
                if let Included(key) | Excluded(key) = from {
                    check_get(&model, map, key, state.get(map, key));
                }
                for (snapshot, applied, model) in &snapshots {
                    assert_eq!(snapshot.applied(), *applied);
                    let range = snapshot.range(map, low, high).unwrap();
                    check_range(model, map, (from, to), *ends, range, snapshot.keys(map, low, high).unwrap());
                    if let Included(key) | Excluded(key) = from {
                        check_get(model, map, key, snapshot.get(map, key));
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 200, failure_persistence: None, ..Default::default() })]

    #[test]
    fn on_disk_equals_a_model(ops in prop::collection::vec(op(), 1..60)) {
        let dir = TempDir::new().unwrap();
        run(&ops, Some(dir.path()));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, max_shrink_iters: 2_000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn in_memory_equals_a_model(ops in prop::collection::vec(op(), 1..80)) {
        run(&ops, None);
    }
}

/// Applies `count` small transactions to one map, `keys` keys in turn.
fn count_up(state: &mut State, count: u64, keys: u64) {
    for _ in 0..count {
        let seqno = state.applied() + 1;
        let key = (seqno % keys).to_be_bytes();
        state.apply(seqno, [("public:n", &key[..], Some(&seqno.to_be_bytes()[..]))]).unwrap();
    }
}

/// The state after `count_up` up to `applied`, over all keys below `keys`.
fn assert_counted(applied: u64, keys: u64, get: impl Fn(&[u8]) -> Option<Entry>) {
    for n in 0..keys {
        let last = (0..keys).find_map(|back| {
            let seqno = applied.checked_sub(back)?;
            (seqno > 0 && seqno % keys == n).then_some(seqno)
        });
        let got = get(&n.to_be_bytes());
        assert_eq!(got.as_ref().map(Entry::seqno), last, "key {n} after {applied}");
        assert_eq!(got.as_ref().map(Entry::value), last.map(u64::to_be_bytes).as_ref().map(|bytes| &bytes[..]));
    }
}

#[test]
fn without_a_flush_a_reopened_state_is_the_last_flushed_prefix() {
    let dir = TempDir::new().unwrap();
    let mut state = State::open(dir.path()).unwrap();
    count_up(&mut state, 100, 7);
    state.flush().unwrap();
    count_up(&mut state, 50, 7);
    assert_eq!((state.applied(), state.flushed()), (150, 100));
    drop(state);

    let mut state = State::open(dir.path()).unwrap();
    assert_eq!((state.applied(), state.flushed()), (100, 100));
    assert_counted(100, 7, |key| state.get("public:n", key).unwrap());
    count_up(&mut state, 50, 7);
    assert_counted(150, 7, |key| state.get("public:n", key).unwrap());
}

#[test]
fn few_keys_reach_the_store_by_the_count_of_transactions() {
    let dir = TempDir::new().unwrap();
    let mut state = State::open(dir.path()).unwrap();
    count_up(&mut state, FLUSH_TRANSACTIONS + 10, 3);
    assert_eq!(state.flushed(), FLUSH_TRANSACTIONS);
}

#[test]
fn many_bytes_reach_the_store_by_their_size() {
    let dir = TempDir::new().unwrap();
    let mut state = State::open(dir.path()).unwrap();
    let value = vec![7; FLUSH_OVERLAY_BYTES / 4];
    for seqno in 1..=6_u64 {
        state.apply(seqno, [("public:big", &seqno.to_be_bytes()[..], Some(&value[..]))]).unwrap();
    }
    assert_eq!(state.flushed(), 4);
    assert_eq!(state.get("public:big", &2_u64.to_be_bytes()).unwrap().unwrap().value(), value);
}

/// Not a test by itself: the process that `a_killed_process_leaves_a_consistent_prefix` kills.
#[test]
#[ignore = "runs until it is killed"]
fn victim() {
    let dir = std::env::var_os("STATE_VICTIM_DIR").unwrap();
    let mut state = State::open(Path::new(&dir)).unwrap();
    loop {
        count_up(&mut state, 499, 900);
        let seqno = state.applied() + 1;
        state.apply(seqno, [("public:big", &b"one"[..], Some(&big_value(seqno)[..]))]).unwrap();
        state.flush().unwrap();
        println!("flushed {seqno}");
    }
}

fn big_value(seqno: u64) -> Vec<u8> {
    seqno.to_be_bytes().repeat(2_000)
}

#[test]
fn a_killed_process_leaves_a_consistent_prefix() {
    let dir = TempDir::new().unwrap();
    let name = format!("{}::victim", module_path!().split_once("::").unwrap().1);
    let mut before = 0;
    for round in 0..5 {
        let mut victim = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--ignored", "--nocapture"])
            .env("STATE_VICTIM_DIR", dir.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // The victim is killed somewhere in the writing of the next flush, or in a merge.
        let mut lines = BufReader::new(victim.stdout.take().unwrap()).lines().map(|line| line.unwrap());
        let last = lines.by_ref().filter_map(|line| Some(line.split_once("flushed ")?.1.parse::<u64>().unwrap()));
        let last = last.take(2 + round).last().unwrap();
        victim.kill().unwrap();
        victim.wait().unwrap();

        let state = State::open(dir.path()).unwrap();
        let applied = state.applied();
        assert!(before < last && last <= applied && applied.is_multiple_of(500), "{before}, {last}, {applied}");
        let big = state.get("public:big", b"one").unwrap().unwrap();
        assert_eq!(big.seqno(), applied);
        assert!(big.value() == big_value(applied));
        for item in state.range("public:n", Unbounded, Unbounded).unwrap() {
            let (key, entry) = item.unwrap();
            let n = u64::from_be_bytes((*key).try_into().unwrap());
            // Every 500th transaction writes the big value instead.
            let newest = (0..=applied).rev().find(|seqno| seqno % 900 == n && seqno % 500 != 0);
            assert_eq!(Some(entry.seqno()), newest);
            assert_eq!(entry.value(), entry.seqno().to_be_bytes());
        }
        before = applied;
    }
}

fn all(snapshot: &Snapshot) -> impl Iterator<Item = (Key, Entry)> {
    snapshot.range("public:n", Unbounded, Unbounded).unwrap().map(|item| item.unwrap())
}

#[test]
fn a_snapshot_does_not_move_while_the_writer_writes_in_another_thread() {
    let dir = TempDir::new().unwrap();
    let mut state = State::open(dir.path()).unwrap();
    count_up(&mut state, 1_000, 50);
    state.flush().unwrap();
    count_up(&mut state, 1_007, 50);
    let snapshot = state.snapshot();
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            for _ in 0..200 {
                assert_eq!(snapshot.applied(), 2_007);
                assert_counted(2_007, 50, |key| snapshot.get("public:n", key).unwrap());
                assert_eq!(all(&snapshot).count(), 50);
            }
        });
        for _ in 0..10 {
            count_up(&mut state, 500, 200);
            state.flush().unwrap();
            state.snapshot();
        }
        state.wipe().unwrap();
        count_up(&mut state, 10, 200);
        state.flush().unwrap();
        reader.join().unwrap();
    });
    assert_counted(2_007, 50, |key| snapshot.get("public:n", key).unwrap());
    assert_counted(10, 200, |key| state.get("public:n", key).unwrap());
}

#[test]
fn what_comes_after_a_wipe_survives_reopening() {
    let dir = TempDir::new().unwrap();
    let mut state = State::open(dir.path()).unwrap();
    count_up(&mut state, 300, 10);
    state.flush().unwrap();
    state.wipe().unwrap();
    assert_eq!((state.applied(), state.flushed()), (0, 0));
    count_up(&mut state, 5, 10);
    state.flush().unwrap();
    drop(state);
    for _ in 0..3 {
        let state = State::open(dir.path()).unwrap();
        assert_eq!(state.applied(), 5);
        assert_counted(5, 10, |key| state.get("public:n", key).unwrap());
    }
    State::delete(dir.path()).unwrap();
    assert_eq!(State::open(dir.path()).unwrap().applied(), 0);
}

#[test]
fn a_new_state_makes_its_store_with_the_first_flush() {
    let dir = TempDir::new().unwrap();
    let place = dir.path().join("state");
    let mut state = State::open(&place).unwrap();
    state.flush().unwrap();
    count_up(&mut state, 300, 10);
    let snapshot = state.snapshot();
    assert!(!place.exists());
    state.flush().unwrap();
    assert_eq!(state.flushed(), 300);
    count_up(&mut state, 7, 10);
    assert_counted(300, 10, |key| snapshot.get("public:n", key).unwrap());
    assert_counted(307, 10, |key| state.get("public:n", key).unwrap());
    drop((state, snapshot));
    assert_counted(300, 10, |key| State::open(&place).unwrap().get("public:n", key).unwrap());
}

#[test]
fn a_wipe_alone_survives_reopening() {
    let dir = TempDir::new().unwrap();
    let mut state = State::open(dir.path()).unwrap();
    count_up(&mut state, 300, 10);
    state.flush().unwrap();
    state.wipe().unwrap();
    drop(state);
    let state = State::open(dir.path()).unwrap();
    assert_eq!(state.applied(), 0);
    assert_eq!(state.keys("public:n", Unbounded, Unbounded).unwrap().count(), 0);
}

#[test]
fn refusals_change_nothing() {
    let mut state = State::in_memory();
    state.apply(5, [("m", &b"k"[..], Some(&b"v"[..]))]).unwrap();
    let long_name = "m".repeat(MAX_MAP_NAME_BYTES + 1);
    let long_key = vec![0; MAX_KEY_BYTES + 1];
    let long_value = vec![0; MAX_VALUE_BYTES + 1];
    let cases = [
        (5, "m", &b"k"[..], &b"w"[..], Refusal::Order { seqno: 5, applied: 5 }),
        (4, "m", b"k", b"w", Refusal::Order { seqno: 4, applied: 5 }),
        (6, "", b"k", b"w", Refusal::MapName { bytes: 0 }),
        (6, &long_name, b"k", b"w", Refusal::MapName { bytes: long_name.len() }),
        (6, "m", &long_key, b"w", Refusal::Key { bytes: long_key.len() }),
        (6, "m", b"k", &long_value, Refusal::Value { bytes: long_value.len() }),
    ];
    for (seqno, map, key, value, refusal) in cases {
        let writes = [("m", &b"k"[..], None), (map, key, Some(value))];
        match state.apply(seqno, writes) {
            Err(StateError::Refused(got)) => assert_eq!(got, refusal),
            other => panic!("{other:?} instead of {refusal:?}"),
        }
        assert_eq!(state.applied(), 5);
        assert_eq!(state.get("m", b"k").unwrap().unwrap().value(), b"v");
    }
}

#[test]
fn the_limits_themselves_are_allowed() {
    let dir = TempDir::new().unwrap();
    let mut state = State::open(dir.path()).unwrap();
    let (name, key, value) = ("m".repeat(MAX_MAP_NAME_BYTES), vec![0xff; MAX_KEY_BYTES], vec![1; MAX_VALUE_BYTES]);
    state.apply(u64::MAX, [(name.as_str(), key.as_slice(), Some(value.as_slice()))]).unwrap();
    assert_eq!(state.flushed(), u64::MAX, "a value over the size of the overlay goes to the store");
    drop(state);
    let state = State::open(dir.path()).unwrap();
    let entry = state.get(&name, &key).unwrap().unwrap();
    assert_eq!(entry.seqno(), u64::MAX);
    assert!(entry.value() == value);
    assert_eq!(state.keys(&name, Unbounded, Unbounded).unwrap().count(), 1);
}

#[test]
fn a_store_of_another_format_or_in_use_is_told_apart() {
    let dir = TempDir::new().unwrap();
    let state = State::open(dir.path()).unwrap();
    assert!(matches!(State::open(dir.path()), Err(StateError::InUse)));
    drop(state);
    let (mut store, _) = store::Store::open(dir.path()).unwrap();
    store.write_record_for_test(vec![9; 9]);
    drop(store);
    assert!(matches!(State::open(dir.path()), Err(StateError::Unusable(_))));
}

#[test]
fn states_and_snapshots_cross_threads() {
    fn crosses<T: Send + Sync + 'static>() {}
    crosses::<Snapshot>();
    crosses::<State>();
    crosses::<Entry>();
}
