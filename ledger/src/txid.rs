//! The name of a transaction: the *view* in which it was written and its *sequence number*, written `2.17`.
//!
//! Sequence numbers count from 1 without gaps. The view goes up whenever another writer, or the same one after a crash,
//! takes over, so that no two different transactions ever had the same name (and the same encryption nonce).
//!
//! Invariants: 1 ≤ view < 2^31, 1 ≤ seqno < 2^63, in text without sign, leading zero or blank.

use std::fmt;
use std::str::FromStr;

/// The view of the first transaction of a ledger.
pub const FIRST_VIEW: u64 = 2;
/// The view must fit in 31 bits of the nonce.
pub const VIEW_MAX: u64 = 0x7fff_ffff;
/// The sequence number is a signed 64-bit integer in the public domain.
pub const SEQNO_MAX: u64 = i64::MAX as u64;

/// Names a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId {
    /// Goes up when a writer takes over.
    pub view: u64,
    /// Counts transactions from 1, without gaps.
    pub seqno: u64,
}

/// Not the text of a [`TxId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a transaction id: expected view.seqno, such as 2.17")]
pub struct TxIdError;

impl TxId {
    /// A name, when both numbers are in range.
    pub fn new(view: u64, seqno: u64) -> Result<TxId, TxIdError> {
        let in_range = (1..=VIEW_MAX).contains(&view) && (1..=SEQNO_MAX).contains(&seqno);
        in_range.then_some(TxId { view, seqno }).ok_or(TxIdError)
    }
}

impl fmt::Display for TxId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.view, self.seqno)
    }
}

impl FromStr for TxId {
    type Err = TxIdError;

    fn from_str(text: &str) -> Result<TxId, TxIdError> {
        let (view, seqno) = text.split_once('.').ok_or(TxIdError)?;
        TxId::new(decimal(view).ok_or(TxIdError)?, decimal(seqno).ok_or(TxIdError)?)
    }
}

/// A decimal number in its one spelling: digits only, no leading zero.
pub(crate) fn decimal(text: &str) -> Option<u64> {
    let canonical = text.bytes().all(|c| c.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if canonical { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_strict() {
        assert_eq!("2.17".parse(), Ok(TxId { view: 2, seqno: 17 }));
        assert_eq!(TxId { view: 2, seqno: 17 }.to_string(), "2.17");
        assert!("2147483647.9223372036854775807".parse::<TxId>().is_ok());
        for bad in [
            "",
            ".",
            "2",
            "2.",
            ".17",
            "02.17",
            "2.017",
            "+2.17",
            "2.+17",
            " 2.17",
            "2.17 ",
            "2.17.1",
            "0.17",
            "2.0",
            "2147483648.1",
            "2.9223372036854775808",
            "2.99999999999999999999",
            "２.1",
        ] {
            assert_eq!(bad.parse::<TxId>(), Err(TxIdError), "{bad:?}");
        }
    }
}
