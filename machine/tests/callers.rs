//! Which signed calls are admitted, by what the ledger says: the time that passes, and the heads that were superseded.

#![allow(clippy::unwrap_used)]

mod book;

use book::{Book, NOW_MS, with_stack};
use ledger::{CallerKey, SignatureInfo, TxId};
use machine::auth::STALE_AFTER_S;
use machine::{AuthError, Call, Caller, Signed};

/// The roots that signature transactions sign, by their seqnos.
fn root(book: &Book, seqno: u64) -> ledger::Hash {
    SignatureInfo::read(book.transaction(seqno)).unwrap().unwrap().root
}

fn txid(seqno: u64) -> TxId {
    TxId { view: ledger::txid::FIRST_VIEW, seqno }
}

#[test]
fn a_head_is_stale_ten_minutes_after_it_was_superseded() {
    with_stack(|| {
        let mut book = Book::new("exports.add = n => n");
        book.sign();
        let first = book.last();
        let key = CallerKey::from_seed([1; 32]);
        let admits = |book: &Book, head: u64, counter, time_ms| {
            let root = root(book, head);
            let mut signed = Signed { key: key.public(), session: [7; 8], counter, head: txid(head), signature: [0; 64] };
            let message = ledger::caller::message(&"1".repeat(64), &signed.nonce(), signed.head, &root, "\"add\"", "[1]");
            signed.signature = key.sign(&message);
            let caller = Caller::Signed(Box::new(signed.clone()));
            let call = Call { method: "add".into(), args: "[1]".into(), caller, time_ms };
            book.machine.admits(&call, &signed).unwrap()
        };
        // While it is the newest it never gets old, whatever happens.
        let years = NOW_MS + 100 * 365 * 24 * 3_600_000;
        assert_eq!(admits(&book, first, 1, years), Ok(()));
        book.call("add", "[1]").unwrap();
        book.checkpoint();
        assert_eq!(admits(&book, first, 1, years), Ok(()));
        book.sign();
        let second = book.last();
        let limit_ms = NOW_MS + STALE_AFTER_S * 1000;
        assert_eq!(admits(&book, first, 1, NOW_MS), Ok(()));
        assert_eq!(admits(&book, first, 1, limit_ms + 999), Ok(()));
        assert_eq!(admits(&book, first, 1, limit_ms + 1_000), Err(AuthError::Stale(txid(first))));
        assert_eq!(admits(&book, second, 1, years), Ok(()));
        // What counts is the signature right after it, not the newest.
        book.call("add", "[1]").unwrap();
        book.sign();
        assert_eq!(admits(&book, first, 1, limit_ms + 1_000), Err(AuthError::Stale(txid(first))));
        assert_eq!(
            AuthError::Stale(txid(first)).to_string(),
            "the caller's view of the ledger, 2.3, is more than ten minutes old"
        );
        // A counter begins above zero.
        assert_eq!(admits(&book, second, 0, NOW_MS), Err(AuthError::Replayed(0)));
        // A replay of the ledger, from its beginning, admits the same.
        let replayed = book.as_of(book.last());
        for (head, time_ms) in [(first, limit_ms + 999), (first, limit_ms + 1_000), (second, limit_ms + 1_000)] {
            let signed = Signed { key: key.public(), session: [7; 8], counter: 1, head: txid(head), signature: [0; 64] };
            let (ours, theirs) = (book.machine.records().admits(&signed, time_ms), replayed.records().admits(&signed, time_ms));
            assert_eq!(ours.unwrap(), theirs.unwrap(), "{head} {time_ms}");
        }
    });
}

#[test]
fn a_head_must_be_a_signature_transaction_of_this_ledger() {
    with_stack(|| {
        let mut book = Book::new("exports.add = n => n");
        book.sign();
        let signature = book.last();
        let signed = |head| Signed { key: [1; 32], session: [7; 8], counter: 1, head, signature: [0; 64] };
        let forks =
            [txid(0), TxId { view: 0, seqno: 0 }, txid(signature - 1), txid(signature + 1), TxId { view: 3, seqno: signature }];
        for head in forks {
            assert_eq!(book.machine.records().admits(&signed(head), NOW_MS).unwrap(), Err(AuthError::Forked(head)));
        }
        assert_eq!(book.machine.records().admits(&signed(txid(signature)), NOW_MS).unwrap(), Ok(root(&book, signature)));
    });
}
