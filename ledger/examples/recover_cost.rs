//! What a restart costs: `cargo run --release --example recover_cost`. It writes ledgers whose last chunk has 15,000 small
//! transactions behind a checkpoint, and more and more older chunks, and recovers each from its checkpoint and whole.

#![allow(clippy::disallowed_methods)] // It measures.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use ledger::{CallerKey, Dir, Hash, Keys, Log, Sealer, TxId, WriteSet, caller, genesis};

const TRANSACTIONS: u64 = 15_000;
const PER_SIGNATURE: u64 = 100;
const OLDER_TRANSACTIONS: u64 = 20;
const OLDER_CHUNKS: [u64; 3] = [1, 70, 700];
const ROUNDS: u32 = 20;
const NOW_S: u64 = 1_700_000_000;

fn main() {
    let keys = Keys::generate("Glassbox", "node0", NOW_S, NOW_S + 365 * 24 * 3600).expect("keys can be generated");
    let keys = Arc::new(keys);
    let folder = std::env::temp_dir().join(format!("glassbox-recover-cost-{}", std::process::id()));
    for chunks in OLDER_CHUNKS {
        let checkpoint = write(&keys, &folder, chunks);
        let open = || Dir::open(&folder).expect("the folder was just written");
        let bytes = std::fs::metadata(folder.join(format!("ledger_{checkpoint}"))).map_or(0, |file| file.len());
        println!("{chunks} older chunks, checkpoint {checkpoint}, then {TRANSACTIONS} transactions in {bytes} bytes");
        measure("find", ROUNDS, || ledger::find(open(), &keys).expect("the ledger is good"));
        measure("find and recover", ROUNDS, || {
            let found = ledger::find(open(), &keys).expect("the ledger is good");
            assert_eq!(found.checkpoint().map(|checkpoint| checkpoint.txid().seqno), Some(checkpoint));
            found.recover(checkpoint, |_| {}).expect("the ledger is good")
        });
        measure("recover everything", 1, || ledger::recover(open(), &keys).expect("the ledger is good"));
        std::fs::remove_dir_all(&folder).expect("our own folder");
    }

    let (head, root): (_, Hash) = (Some(TxId { view: 2, seqno: 17 }), [7; 32]);
    let public = keys.chance().public_key();
    let signature = keys.chance().sign(head, &root);
    measure("chance, sign", 200, || keys.chance().sign(head, &root));
    measure("chance, verify", 200, || assert!(public.verify(head, &root, &signature)));
    let caller = CallerKey::from_seed([7; 32]);
    let message = caller::message(&"5f".repeat(32), "9f86d081884c7d65.12", TxId { view: 2, seqno: 17 }, &root, "\"f\"", "[1]");
    let (key, signature) = (caller.public(), caller.sign(&message));
    measure("caller, sign", 2000, || caller.sign(&message));
    measure("caller, verify", 2000, || assert!(caller::verify(&key, &message, &signature)));
}

/// A ledger that is being written.
struct Writer {
    log: Log<Dir>,
    sealer: Sealer,
}

impl Writer {
    fn put(&mut self, writes: &WriteSet) {
        let sealed = self.sealer.seal(writes, None).expect("it has an encoding");
        self.log.append(&sealed.raw).expect("the next transaction");
    }

    fn sign(&mut self, ends_chunk: bool) {
        let sealed = self.sealer.sign(NOW_S, ends_chunk).expect("the keys can sign");
        self.log.append(&sealed.raw).expect("the next transaction");
    }
}

/// Writes a ledger. Returns the transaction with the frontier.
fn write(keys: &Arc<Keys>, folder: &Path, older_chunks: u64) -> u64 {
    let log = Log::create(Dir::create(folder).expect("a new folder")).expect("an empty folder");
    let mut writer = Writer { log, sealer: Sealer::new(keys, 2).expect("an empty ledger begins at view 2") };
    let mut first = WriteSet::new();
    genesis(&mut first, keys);
    writer.put(&first);
    let mut call = WriteSet::new();
    call.put("public:glassbox", *b"call", vec![b'7'; 130]);
    for _ in 0..older_chunks {
        for _ in 0..OLDER_TRANSACTIONS {
            writer.put(&call);
        }
        writer.sign(true);
        writer.log.commit().expect("the disk takes it");
    }
    let checkpoint = writer.sealer.next().seqno;
    let mut frontier = WriteSet::new();
    writer.sealer.frontier().write(&mut frontier);
    writer.put(&frontier);
    for n in 0..TRANSACTIONS {
        writer.put(&call);
        if n % PER_SIGNATURE == PER_SIGNATURE - 1 {
            writer.sign(false);
        }
    }
    writer.log.commit().expect("the disk takes it");
    checkpoint
}

fn measure<T>(what: &str, rounds: u32, mut run: impl FnMut() -> T) {
    let begin = Instant::now();
    for _ in 0..rounds {
        run();
    }
    println!("{:>10.3} ms  {what}", begin.elapsed().as_secs_f64() * 1e3 / f64::from(rounds));
}
