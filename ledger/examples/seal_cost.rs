//! What sealing, signing and auditing cost, in CPU time per transaction: `cargo run --release --example seal_cost`.

#![allow(clippy::disallowed_methods)] // It measures.

use std::sync::Arc;
use std::time::Instant;

use ledger::{Audit, Keys, Sealer, Transaction, WriteSet, genesis};

const TRANSACTIONS: u32 = 200_000;
const SIGNATURES: u32 = 500;
const NOW_S: u64 = 1_700_000_000;

fn main() {
    let keys = Keys::generate("Glassbox", "node0", NOW_S, NOW_S + 365 * 24 * 3600).expect("keys can be generated");
    let keys = Arc::new(keys);
    let mut first = WriteSet::new();
    genesis(&mut first, &keys);
    let mut sealer = Sealer::new(&keys, 2).expect("an empty ledger begins at view 2");
    let mut raw = vec![sealer.seal(&first, None).expect("the genesis has an encoding").raw];

    let mut call = WriteSet::new();
    call.put("public:call", *b"input", vec![7; 60]);
    let mut private = WriteSet::new();
    private.put("call", *b"input", vec![7; 60]);
    for (name, writes) in [("public", &call), ("private", &private)] {
        let begin = Instant::now();
        let mut bytes = 0;
        for _ in 0..TRANSACTIONS {
            let sealed = sealer.seal(writes, None).expect("the call has an encoding");
            bytes = sealed.raw.len();
            raw.push(sealed.raw);
        }
        report(&format!("seal, {name}, {bytes} bytes"), begin, TRANSACTIONS);
    }

    let begin = Instant::now();
    let mut bytes = 0;
    for _ in 0..SIGNATURES {
        let sealed = sealer.sign(NOW_S, false).expect("the keys can sign");
        bytes = sealed.raw.len();
        raw.push(sealed.raw);
    }
    report(&format!("sign, {bytes} bytes"), begin, SIGNATURES);

    let leaf = sealer.seal(&call, None).expect("the call has an encoding");
    raw.push(leaf.raw);
    raw.push(sealer.sign(NOW_S, false).expect("the keys can sign").raw);
    let begin = Instant::now();
    for _ in 0..SIGNATURES {
        sealer.receipt(&leaf.leaf).expect("the transaction is signed");
    }
    report("receipt, made", begin, SIGNATURES);
    let receipt = sealer.receipt(&leaf.leaf).expect("the transaction is signed");
    let begin = Instant::now();
    for _ in 0..SIGNATURES {
        receipt.verify(keys.service_certificate()).expect("the receipt is good");
    }
    report(&format!("receipt, verified, {} bytes of JSON", receipt.to_json().len()), begin, SIGNATURES);

    let begin = Instant::now();
    let parsed: Vec<Transaction> = raw.into_iter().map(|raw| Transaction::from_raw(raw).expect("just encoded")).collect();
    report("parse", begin, parsed.len() as u32);

    let begin = Instant::now();
    for transaction in &parsed[1..=TRANSACTIONS as usize] {
        transaction.decrypt(keys.secret()).expect("just sealed");
    }
    report("check the tag", begin, TRANSACTIONS);

    let mut audit = Audit::pinned(keys.service_certificate().clone());
    let signatures = parsed.len() - SIGNATURES as usize - 2;
    let begin = Instant::now();
    for transaction in &parsed[..signatures] {
        audit.push(transaction).expect("the ledger is good");
    }
    report("audit, without signatures", begin, signatures as u32);
    let begin = Instant::now();
    for transaction in &parsed[signatures..] {
        audit.push(transaction).expect("the ledger is good");
    }
    report("audit, a signature", begin, SIGNATURES + 2);
}

fn report(what: &str, begin: Instant, count: u32) {
    println!("{:>10.2} µs  {what}", begin.elapsed().as_secs_f64() * 1e6 / f64::from(count));
}
