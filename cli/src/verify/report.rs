//! What an audit says: on the terminal, and as one JSON object.

use crate::Failed;
use indicatif::{ProgressBar, ProgressStyle};
use ledger::TxId;
use serde::Serialize;
use std::io::IsTerminal;

/// What a finished audit says.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub verified: bool,
    /// Entries of the call log.
    pub calls: u64,
    pub transactions: u64,
    pub signatures: u64,
    /// The last transaction.
    pub last: Option<String>,
    /// Transactions behind the last signature.
    pub unsigned: u64,
    pub files: Option<String>,
    pub log: Option<String>,
    /// Who called. Only when the audit came to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callers: Option<Callers>,
    /// Answers of oracles that the ledger holds: nothing but the operator vouches for them.
    pub oracle_answers: u64,
    /// Ranges of transactions that were executed.
    pub executed: Vec<(u64, u64)>,
    /// Ranges that an earlier audit has executed, which had the same Merkle root there.
    pub verified_earlier: Vec<(u64, u64)>,
    /// Ranges that were only hashed.
    pub not_executed: Vec<(u64, u64)>,
    /// Checkpoints from which something was executed, and to which nothing was.
    pub trusted: Vec<String>,
    /// Saved receipts that were found good.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mismatch: Option<Mismatch>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub divergence: Option<Explanation>,
}

/// Who called how often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Callers {
    /// Calls that a key has signed.
    pub signed: u64,
    /// How many keys those are.
    pub keys: u64,
    /// Calls of nobody in particular.
    pub anonymous: u64,
    /// Calls under names that nobody checked.
    pub named: u64,
    /// Requests to a bundle.
    #[serde(skip_serializing_if = "is_zero")]
    pub requests: u64,
    /// Ranges of transactions that nobody can execute without the ledger secret.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<(u64, u64)>,
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// What does not match.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Mismatch {
    /// `ledger`, `callLog`, `files`, `identity` or `receipts`.
    pub what: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    pub details: Vec<String>,
}

/// Where a replay differs from the ledger, and what may be the cause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    pub transaction: String,
    /// The number in the call log.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub args: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<String>,
    /// What differs: a file and the byte in it, the result, a page of the heap.
    pub operation: String,
    /// What the replay gives there.
    pub expected: String,
    /// What the ledger has there.
    pub got: String,
    /// The place in the script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// A likely cause.
    pub cause: &'static str,
    /// What speaks for it.
    pub evidence: String,
}

impl Mismatch {
    pub fn title(&self) -> &'static str {
        match self.what {
            "files" => "Output files mismatch.",
            "identity" => "Identity mismatch.",
            "receipts" => "Receipts mismatch.",
            "ledger" => "Ledger mismatch.",
            _ => "Call log mismatch.",
        }
    }
}

/// Why an audit does not end well.
#[derive(Debug)]
pub enum Stopped {
    Mismatch(Mismatch),
    Unable(Failed),
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Stopped {
        Stopped::Unable(failed)
    }
}

impl Stopped {
    pub fn mismatch(what: &'static str, transaction: Option<TxId>, details: impl ToString) -> Stopped {
        let transaction = transaction.map(|txid| txid.to_string());
        Stopped::Mismatch(Mismatch { what, transaction, details: vec![details.to_string()] })
    }

    pub fn unable(error: impl std::fmt::Display) -> Stopped {
        Stopped::Unable(Failed::unable(format!("the replay cannot go on: {error}")))
    }
}

/// A mismatch as a result.
pub fn mismatch<T>(what: &'static str, transaction: Option<TxId>, details: impl ToString) -> Result<T, Stopped> {
    Err(Stopped::mismatch(what, transaction, details))
}

/// Where lines go.
pub struct Screen {
    pub quiet: bool,
    pub colours: bool,
}

impl Screen {
    pub fn step(&self, text: &str) {
        self.line(if self.colours { "\x1b[2m›\x1b[0m" } else { "›" }, text);
    }

    pub fn good(&self, text: &str) {
        self.line(if self.colours { "\x1b[32m✔\x1b[0m" } else { "✔" }, text);
    }

    pub fn plain(&self, text: &str) {
        self.line("", text);
    }

    fn line(&self, mark: &str, text: &str) {
        if !self.quiet {
            println!("{mark}{text}");
        }
    }

    pub fn note(&self, text: &str) {
        if !self.quiet {
            eprintln!("Note: {text}");
        }
    }

    pub fn bad(&self, text: &str) {
        eprintln!("{}{text}", if std::io::stderr().is_terminal() { "\x1b[31m✖\x1b[0m" } else { "✖" });
    }

    pub fn bar(&self, len: u64) -> ProgressBar {
        if self.quiet || !std::io::stderr().is_terminal() {
            return ProgressBar::hidden();
        }
        let style = ProgressStyle::with_template("{bar:40} {bytes}/{total_bytes}  {eta}");
        ProgressBar::new(len).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
    }
}

/// `transactions 1 to 41000, 52001 to 60000`
pub fn ranges(ranges: &[(u64, u64)]) -> String {
    let one = |&(from, to): &(u64, u64)| if from == to { from.to_string() } else { format!("{from} to {to}") };
    let few = matches!(ranges, [(from, to)] if from == to);
    format!("transaction{} {}", if few { "" } else { "s" }, ranges.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// Adds a range, which begins behind the last one.
pub fn extend(ranges: &mut Vec<(u64, u64)>, from: u64, to: u64) {
    match ranges.last_mut() {
        Some((_, last)) if *last + 1 == from => *last = to,
        _ => ranges.push((from, to)),
    }
}

/// How many transactions some ranges have.
pub fn count(ranges: &[(u64, u64)]) -> u64 {
    ranges.iter().map(|(from, to)| to - from + 1).sum()
}

/// `1 call`, `2 calls`
pub fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_join() {
        let mut all = Vec::new();
        for (from, to) in [(1, 3), (4, 9), (11, 11), (20, 22)] {
            extend(&mut all, from, to);
        }
        assert_eq!(all, [(1, 9), (11, 11), (20, 22)]);
        assert_eq!(ranges(&all), "transactions 1 to 9, 11, 20 to 22");
        assert_eq!(ranges(&[(7, 7)]), "transaction 7");
        assert_eq!(count(&all), 13);
    }
}
