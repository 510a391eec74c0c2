//! What the app sees of the past, and what others see of it: ranges, receipts, transactions.

use super::site::Site;
use super::tools::{built, output, script};
use serde_json::{Value, json};

#[test]
fn ranges_and_receipts_within_the_app() {
    let site = Site::serve(built(), &[]);
    let user = site.person("user0");
    let mut written = Vec::new();
    for n in 0..6 {
        // Of a private table and of a public one.
        let (id, text) = (4 + n % 2, format!("text {n}"));
        let answer = site.post_as(&user, &format!("/app/log/{id}"), &text).ok();
        let txid = answer.txid().expect("a transaction");
        if n == 2 {
            // A receipt needs a signature, which then stands among the others.
            site.wait_for(|| site.get(&format!("/app/receipt?transaction_id={txid}"))).ok();
        }
        written.push((id, text, txid, answer.json()["claim"].as_str().expect("a digest").to_owned()));
    }
    let (first, last) = (written[0].2, written[5].2);
    let mut receipts = Vec::new();
    for id in [4, 5] {
        let target = format!("/app/range?id={id}&from={}&to={}", first.seqno, last.seqno);
        let answer = site.wait_for(|| site.get_as(&user, &target)).ok().json();
        assert_eq!(answer["dropped"], json!([true, true]), "nothing is cached, so nothing is missed");
        let rows = answer["rows"].as_array().expect("rows");
        assert_eq!(rows.len() as u64, last.seqno - first.seqno + 1, "all transactions, also those of others");
        let texts: Vec<(&Value, &Value)> =
            rows.iter().filter(|row| !row["text"].is_null()).map(|row| (&row["transactionId"], &row["text"])).collect();
        let ours = written.iter().filter(|(of, ..)| *of == id);
        let expected: Vec<(Value, Value)> = ours.map(|(_, text, txid, _)| (json!(txid.to_string()), json!(text))).collect();
        assert_eq!(texts, expected.iter().map(|(id, text)| (id, text)).collect::<Vec<_>>());
        receipts.extend(rows.iter().map(|row| row["receipt"].clone()));
    }
    for (id, text, txid, claim) in &written {
        let header = format!("x-ms-ccf-transaction-id: {txid}");
        let then = site.wait_for(|| site.ask(&format!("/app/log/{id}"), Some(&user), &[&header], None)).ok().json();
        assert_eq!((&then["transactionId"], &then["text"]), (&json!(txid.to_string()), &json!(text)));
        assert_eq!(then["receipt"]["leaf_components"]["claims_digest"], *claim);
        receipts.push(then["receipt"].clone());

        let target = format!("/app/receipt?transaction_id={txid}");
        let served = site.wait_for(|| site.get(&target)).ok().json();
        assert_eq!(served["leaf_components"]["claims_digest"], *claim);
        receipts.push(served);
    }
    let without = site.ask("/app/log/4", Some(&user), &[], None);
    assert_eq!(without.error(), (404, "TransactionInvalid".into(), "Could not extract Transaction Id".into()));
    // Also of the first transaction, of governance, and of signatures.
    for seqno in 1..=last.seqno {
        let view = site.get(&format!("/app/consensus?view=1&seqno={seqno}")).ok().json()["view"].clone();
        let target = format!("/node/receipt?transaction_id={view}.{seqno}");
        receipts.push(site.wait_for(|| site.get(&target)).ok().json());
    }
    assert!(receipts.iter().any(|receipt| receipt.get("leaf").is_some()), "one of a signature by HTTP");
    assert!(receipts.iter().any(|receipt| receipt.get("root_hex").is_some()), "one of a signature within the app");
    let mut python = script("receipts.py");
    python.arg(site.service_cert());
    let said = output(python, json!(receipts).to_string().as_bytes());
    assert_eq!(String::from_utf8_lossy(&said).trim(), receipts.len().to_string());

    let consensus = |txid: ledger::TxId| site.get(&format!("/app/consensus?view={}&seqno={}", txid.view, txid.seqno)).ok().json();
    let now = site.wait_for(|| {
        let mut answer = site.get(&format!("/app/tx?transaction_id={last}")).ok();
        if answer.json()["status"] != "Committed" {
            answer.status = 202;
        }
        answer
    });
    assert_eq!(now.json(), json!({ "status": "Committed", "transaction_id": last.to_string() }));
    let said = consensus(last);
    assert_eq!((&said["status"], &said["view"]), (&json!("Committed"), &json!(last.view)));
    assert!(said["last"]["seqno"].as_u64() >= Some(last.seqno) && said["last"]["view"] == last.view);
    let never = consensus(ledger::TxId { view: last.view, seqno: last.seqno + 1000 });
    assert_eq!((&never["status"], &never["view"]), (&json!("Unknown"), &Value::Null));
    let other = consensus(ledger::TxId { view: 1, seqno: last.seqno });
    assert_eq!(other["status"], "Invalid");
    let commit = site.get("/app/commit?view_history=true").ok().json();
    assert!(commit["view_history"].as_array().is_some_and(|views| !views.is_empty()), "{commit}");
    site.audited();
}
