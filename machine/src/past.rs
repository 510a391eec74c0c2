//! The past: a machine as it was at a transaction of its ledger.
//!
//! ```text
//! 1 ───────────── fold ────────────▶ last checkpoint ── replay ──▶ the transaction │ what comes after is not read
//! ```
//!
//! What stands before the checkpoint is taken as it is recorded; whether that is true is for an audit to say. The ledger is
//! only read, and may be in use: a chunk that is completed, and so renamed, while it is read is found again.

use crate::checkpoint::Checkpoint;
use crate::difference::ReplayError;
use crate::outside::Nobody;
use crate::records::Records;
use crate::service::{SCRIPT, VATS};
use crate::state::State;
use crate::{Console, Fault, Machine, Service, maps};
use ledger::{Located, ReadError, Reader, Storage, TxId, WriteSet};
use sandbox::Sandbox;
use std::fmt;
use std::io::ErrorKind;
use std::str::FromStr;

/// How people name a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// `17`, its number.
    Seqno(u64),
    /// `2.17`, its whole name.
    Id(TxId),
    /// `#5`, the entry of the call log that it holds.
    Entry(u64),
}

/// Why there is no machine as of a transaction.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The text names no transaction.
    #[error("{0:?} names no transaction: expected its number, its name such as 2.17, or #N for entry N of the call log")]
    Malformed(String),
    /// The ledger does not reach so far.
    #[error("there is no transaction {point}; {}", last.map_or("the ledger is empty".into(), |last| format!("the last one is {last}")))]
    NoTransaction {
        /// The one asked for.
        point: Point,
        /// The last one.
        last: Option<TxId>,
    },
    /// Another view wrote a transaction of that number.
    #[error("there is no transaction {asked}; number {} is {found}", found.seqno)]
    Renamed {
        /// The one asked for.
        asked: TxId,
        /// The one that stands there.
        found: TxId,
    },
    /// A bundle's: every request begins with the same heap.
    #[error("this is the ledger of a bundle: it can be audited, but not stepped through here")]
    Bundle,
    /// Vats have no one realm to look into.
    #[error("this is the ledger of vats: it can be audited, but not stepped through here")]
    Vats,
    /// The ledger cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The replay does not come so far.
    #[error("the ledger does not replay: {0}")]
    Replay(#[from] ReplayError),
    /// The host failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl FromStr for Point {
    type Err = PastError;

    fn from_str(text: &str) -> Result<Point, PastError> {
        let malformed = || PastError::Malformed(text.to_owned());
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            if plain { digits.parse::<u64>().map_err(|_| malformed()) } else { Err(malformed()) }
        };
        match text.strip_prefix('#') {
            Some(entry) => number(entry).map(Point::Entry),
            None if text.contains('.') => text.parse().map(Point::Id).map_err(|_| malformed()),
            None => number(text).map(Point::Seqno),
        }
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Point::Seqno(seqno) => write!(f, "{seqno}"),
            Point::Id(txid) => write!(f, "{txid}"),
            Point::Entry(number) => write!(f, "#{number}"),
        }
    }
}

/// How often a ledger in use is looked at again for the same transaction.
const ATTEMPTS: usize = 5;

/// The transactions of a ledger that may be in use.
pub struct Transactions<'a, S: Storage> {
    storage: &'a S,
    reader: Option<Reader<'a, S>>,
    next: u64,
    attempts: usize,
}

impl<'a, S: Storage> Transactions<'a, S> {
    /// From a transaction on.
    pub fn from(storage: &'a S, seqno: u64) -> Transactions<'a, S> {
        Transactions { storage, reader: None, next: seqno, attempts: 0 }
    }

    fn read(&mut self) -> Result<Option<Located>, ReadError> {
        let reader = match &mut self.reader {
            Some(reader) => reader,
            reader => reader.insert(Reader::open_at(self.storage, self.next)?),
        };
        reader.next().transpose()
    }
}

impl<S: Storage> Iterator for Transactions<'_, S> {
    type Item = Result<Located, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.read() {
                Err(ReadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound && self.attempts < ATTEMPTS => {
                    self.attempts += 1;
                    self.reader = None;
                }
                Ok(Some(located)) => {
                    self.attempts = 0;
                    self.next = located.transaction.txid().seqno + 1;
                    return Some(Ok(located));
                }
                other => return other.transpose(),
            }
        }
    }
}

/// Finds a transaction.
pub fn locate<S: Storage>(storage: &S, point: Point) -> Result<Located, PastError> {
    let found = match point {
        Point::Seqno(0) => None,
        Point::Seqno(seqno) | Point::Id(TxId { seqno, .. }) => Transactions::from(storage, seqno).next().transpose()?,
        Point::Entry(number) => {
            let mut entries = 0;
            let mut found = None;
            for located in Transactions::from(storage, 1) {
                let located = located?;
                if located.transaction.public().get(maps::GLASSBOX, maps::CALL_KEY).is_some() {
                    entries += 1;
                }
                if entries > number {
                    found = Some(located);
                    break;
                }
            }
            found
        }
    };
    match (found, point) {
        (Some(located), Point::Id(asked)) if located.transaction.txid() != asked => {
            Err(PastError::Renamed { asked, found: located.transaction.txid() })
        }
        (Some(located), _) => Ok(located),
        (None, point) => Err(PastError::NoTransaction { point, last: last(storage)? }),
    }
}

fn last<S: Storage>(storage: &S) -> Result<Option<TxId>, PastError> {
    let mut last = None;
    for located in Transactions::from(storage, 1) {
        last = Some(located?.transaction.txid());
    }
    Ok(last)
}

/// The machine as it was right after transaction `until`; before the first one for 0. The state must be empty.
pub fn open<S: Storage>(sandbox: Sandbox, storage: &S, state: State, until: u64, console: Console) -> Result<Machine, PastError> {
    let mut checkpoint = None;
    let mut last = None;
    for located in Transactions::from(storage, 1) {
        let transaction = located?.transaction;
        if transaction.txid().seqno > until {
            break;
        }
        last = Some(transaction.txid());
        let service = transaction.public().get(maps::GLASSBOX, maps::SERVICE_KEY).map(Service::decode);
        match service {
            Some(Ok(service)) if service.kind == VATS => return Err(PastError::Vats),
            Some(Ok(service)) if service.kind != SCRIPT => return Err(PastError::Bundle),
            _ => {}
        }
        if let Some(record) = transaction.public().get(maps::GLASSBOX, maps::CHECKPOINT_KEY)
            // One that cannot be read is found by the replay.
            && let Ok(record) = Checkpoint::decode(record)
        {
            checkpoint = Some((transaction.txid().seqno, record));
        }
    }
    if last.map_or(0, |last| last.seqno) < until {
        return Err(PastError::NoTransaction { point: Point::Seqno(until), last });
    }

    let mut transactions = Transactions::from(storage, 1)
        .take_while(|located| located.as_ref().map_or(true, |located| located.transaction.txid().seqno <= until));
    let mut machine = match &checkpoint {
        None => Machine::new(sandbox, state, console, Box::new(Nobody)),
        Some((at, checkpoint)) => {
            let mut records = Records::new(state);
            for located in transactions.by_ref() {
                let transaction = located?.transaction;
                records.fold(&transaction)?;
                if transaction.txid().seqno == *at {
                    break;
                }
            }
            Machine::resume(sandbox, records, checkpoint, console, Box::new(Nobody))?
        }
    };
    for located in transactions {
        machine.replay(&located?.transaction)?;
    }
    Ok(machine)
}

impl Machine {
    /// Evaluates a line in the script's own realm, at the time of the last entry, and keeps what it writes for the lines
    /// after it: for who looks into the past. From then on this is no machine of its ledger any more. `None`: nothing is
    /// deployed.
    ///
    /// Nobody answers oracles, and chance comes from no key: it is the same for the same lines.
    pub fn eval(&mut self, source: &str) -> Result<Option<sandbox::Outcome>, Fault> {
        let seqno = self.records().state().applied() + 1;
        let Some((outcome, written)) = self.script_mut().eval(seqno, source)? else { return Ok(None) };
        let mut writes = WriteSet::new();
        for (path, value) in written {
            match value {
                Some(value) => writes.put(maps::FILES, path.into_bytes(), value),
                None => writes.remove(maps::FILES, path.into_bytes()),
            }
        }
        self.script_mut().records_mut().apply(seqno, &writes, None)?;
        Ok(Some(outcome))
    }
}
