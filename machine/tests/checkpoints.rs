//! Going on from a checkpoint is the same as having run everything before it.

#![allow(clippy::unwrap_used)]

mod book;

use book::{Book, NOW_MS, sandbox, with_stack};
use ledger::Transaction;
use machine::state::State;
use machine::{Checkpoint, Difference, Machine, Nobody, Records, ReplayError, maps};
use proptest::prelude::*;
use std::ops::Bound;

const PROGRAM: &str = r#"
    let store = new Map(), list = [], big = [];
    exports.put = (k, n) => { store.set(k, { n, pad: 'x'.repeat(n % 997) }); return store.size };
    exports.drop = (k) => store.delete(k);
    exports.grow = (n) => { big.push(new Uint8Array(50_000 + n % 100_000).fill(n)); if (big.length > 12) big = []; return big.length };
    exports.chance = () => { list.push(Math.random()); return list.at(-1) };
    exports.ask = async () => { list.push(await System.oracle(() => [Math.random(), Date.now()])); return list.at(-1) };
    exports.write = async (n) => { await System.files.writeFile('/f' + n % 5, 'y'.repeat(n % 3000)); return n };
    exports.remove = async (n) => System.files.unlink('/f' + n % 5);
    exports.fail = (n) => { store.set('gone', n); list.push(Math.random()); throw new RangeError('on purpose') };
    exports.spin = () => { for (;;) list.push(1), list.length > 3000 && (list = []) };
    exports.sum = () => [store.size, list.length, big.length];
    exports.migrate = (previous) => { list = previous.list || [] };
"#;

#[derive(Debug, Clone)]
enum Step {
    Call(&'static str, u32),
    Sign,
    Checkpoint,
    Deploy,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let method = prop::sample::select(vec!["put", "drop", "grow", "chance", "ask", "write", "remove", "fail", "sum"]);
    let step = prop_oneof![
        20 => (method, any::<u32>()).prop_map(|(method, n)| Step::Call(method, n % 200_000)),
        3 => Just(Step::Sign),
        3 => Just(Step::Checkpoint),
        1 => Just(Step::Deploy),
    ];
    prop::collection::vec(step, 5..60)
}

fn written(steps: &[Step]) -> Book {
    let mut book = Book::new(PROGRAM);
    for step in steps {
        match step {
            Step::Call("put", n) => drop(book.call("put", &format!("[{},{n}]", n % 40))),
            Step::Call(method, n) => drop(book.call(method, &format!("[{n}]"))),
            Step::Sign => book.sign(),
            Step::Checkpoint => book.checkpoint(),
            Step::Deploy => drop(book.deploy(PROGRAM)),
        }
    }
    book
}

fn replay(machine: &mut Machine, transaction: &Transaction) {
    machine.replay(transaction).unwrap_or_else(|error| panic!("{}: {error}", transaction.txid()));
}

/// Everything that a machine is: the heap's digest, the rows of the state, the counts.
#[derive(Debug, PartialEq)]
struct Image {
    heap: Option<[u8; 32]>,
    rows: Vec<(String, Vec<u8>, u64, Vec<u8>)>,
    entries: u64,
    version: u64,
}

fn image(machine: &mut Machine) -> Image {
    let snapshot = machine.snapshot();
    let mut rows = Vec::new();
    for map in [maps::FILES, maps::HEAP, maps::HISTORY, maps::NONCES, maps::SIGNATURES, maps::APP] {
        for row in snapshot.range(map, Bound::Unbounded, Bound::Unbounded).unwrap() {
            let (key, entry) = row.unwrap();
            rows.push((map.to_owned(), key.to_vec(), entry.seqno(), entry.value().to_vec()));
        }
    }
    let (entries, version) = (machine.records().entries(), machine.records().version());
    Image { heap: machine.script().heap_digest(), rows, entries, version }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn from_any_checkpoint_on_all_bytes_are_the_same(steps in steps()) {
        with_stack(|| {
            let mut book = written(&steps);
            let silent = || -> machine::Console { Box::new(|_, _, _| {}) };
            let mut full = Machine::new(sandbox(), State::in_memory(), silent(), Box::new(Nobody));
            let mut folded = Records::new(State::in_memory());
            let mut resumed: Vec<Machine> = Vec::new();
            for transaction in &book.transactions {
                replay(&mut full, transaction);
                resumed.iter_mut().for_each(|machine| replay(machine, transaction));
                folded.fold(transaction).unwrap();
                if let Some(record) = transaction.public().get(maps::GLASSBOX, maps::CHECKPOINT_KEY) {
                    let checkpoint = Checkpoint::decode(record).unwrap();
                    let state = State::fork(&folded.state_mut().snapshot());
                    let records = Records::resume(state, &checkpoint).unwrap();
                    let machine = Machine::resume(sandbox(), records, &checkpoint, silent(), Box::new(Nobody)).unwrap();
                    resumed.push(machine);
                }
            }
            let live = image(&mut book.machine);
            assert_eq!(image(&mut full), live);
            for machine in &mut resumed {
                assert_eq!(image(machine), live);
            }
        });
    }
}

#[test]
fn a_checkpoint_writes_what_has_changed_and_nothing_else() {
    with_stack(|| {
        let mut book = Book::new(PROGRAM);
        let pages = |book: &Book| {
            let writes = book.transaction(book.last()).public();
            writes.maps.get(maps::HEAP).map_or((0, 0), |map| (map.writes.len(), map.writes.values().map(Vec::len).sum::<usize>()))
        };
        book.checkpoint();
        let first = pages(&book);
        book.checkpoint();
        assert_eq!(pages(&book), (0, 0), "nothing ran in between");
        for n in 0..200 {
            drop(book.call("put", &format!("[{},7]", n % 3)));
        }
        book.checkpoint();
        let second = pages(&book);
        assert!(second.0 > 0 && second.0 < 120, "{second:?} of {first:?}");
        drop(book.call("fail", "[1]"));
        book.checkpoint();
        assert_eq!(pages(&book), (0, 0), "a failed call leaves nothing");
    });
}

#[test]
fn a_seed_follows_from_the_ledger() {
    with_stack(|| {
        let mut book = Book::new(PROGRAM);
        let chance =
            |book: &Book| book.transaction(book.last()).public().get(maps::GLASSBOX, maps::CHANCE_KEY).map(<[u8]>::to_vec);
        book.sign();
        let first = book.call("chance", "[]").unwrap();
        let key = chance(&book).unwrap();
        let second = book.call("chance", "[]").unwrap();
        assert_eq!(chance(&book), None, "the same group");
        assert_ne!(first, second, "each call has a seed of its own");
        book.call("put", "[1,1]").unwrap();
        book.sign();
        assert!(book.call("fail", "[1]").is_err());
        assert_ne!(chance(&book).unwrap(), key, "another state, another signature; also when the call fails");
        book.checkpoint();
        book.call("chance", "[]").unwrap();
        assert!(chance(&book).is_some(), "who begins here must find it");
    });
}

/// A transaction of an operator who has written something else.
fn changed(transaction: &Transaction, change: impl FnOnce(&mut ledger::WriteSet)) -> Transaction {
    let mut writes = transaction.public().clone();
    change(&mut writes);
    let keys = std::sync::Arc::new(ledger::Keys::generate("s", "n", 1, NOW_MS / 500).unwrap());
    let mut sealer = ledger::Sealer::new(&keys, 2).unwrap();
    while sealer.next().seqno < transaction.txid().seqno {
        sealer.seal(&ledger::WriteSet::new(), None).unwrap();
    }
    writes.maps.remove(ledger::FRONTIER_MAP);
    Transaction::from_raw(sealer.seal(&writes, machine::claims(&writes)).unwrap().raw).unwrap()
}

fn difference(book: &Book, forged: &Transaction) -> Difference {
    let mut machine = book.as_of(forged.txid().seqno - 1);
    match machine.replay(forged) {
        Err(ReplayError::Divergence(divergence)) => divergence.difference,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_checkpoint_or_an_answer_cannot_say() {
    with_stack(|| {
        let mut book = Book::new(PROGRAM);
        book.sign();
        book.call("chance", "[]").unwrap();
        let drew = book.transaction(book.last()).clone();
        book.call("ask", "[]").unwrap();
        let asked = book.transaction(book.last()).clone();
        book.checkpoint();
        let saved = book.transaction(book.last()).clone();

        let forged = changed(&saved, |writes| {
            let page = writes.maps.get_mut(maps::HEAP).unwrap().writes.values_mut().next().unwrap();
            *page = lz4_flex::block::compress(&[7; 4096]);
        });
        assert!(matches!(difference(&book, &forged), Difference::Page { .. }));
        let forged = changed(&saved, |writes| {
            let record = Checkpoint::decode(writes.get(maps::GLASSBOX, maps::CHECKPOINT_KEY).unwrap()).unwrap();
            writes.put(maps::GLASSBOX, maps::CHECKPOINT_KEY, Checkpoint { entries: 1, ..record }.encode());
        });
        assert!(matches!(difference(&book, &forged), Difference::Write { .. }));
        let forged = changed(&drew, |writes| writes.put(maps::GLASSBOX, maps::CHANCE_KEY, [1; 48]));
        assert_eq!(difference(&book, &forged), Difference::Chance("is not the chance key's signature"));
        let without = |key: &'static [u8]| {
            move |writes: &mut ledger::WriteSet| drop(writes.maps.get_mut(maps::GLASSBOX).unwrap().writes.remove(key))
        };
        assert_eq!(difference(&book, &changed(&drew, without(maps::CHANCE_KEY))), Difference::Chance("is missing"));
        assert_eq!(difference(&book, &changed(&asked, without(maps::ORACLES_KEY))), Difference::Oracle);
        let forged = changed(&asked, |writes| writes.put(maps::GLASSBOX, maps::ORACLES_KEY, b"[{\"value\":1}]".as_slice()));
        assert!(matches!(difference(&book, &forged), Difference::Result { .. }), "the caller's result gives it away");
    });
}
