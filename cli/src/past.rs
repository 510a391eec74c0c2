//! Looking back: which ledger is meant, which of its transactions, and the machine as it was there.
//!
//! A directory is only read, also while a server uses it; a backend's ledger is downloaded into a folder that goes away with
//! the command.

use crate::address::Place;
use crate::{Failed, download};
use ledger::{Dir, Located};
use machine::past::{PastError, Point};
use machine::state::State;
use machine::{Console, Machine};
use std::path::PathBuf;
use tempfile::TempDir;

/// A ledger to read from.
pub struct Ledger {
    chunks: PathBuf,
    /// The directory that is served, if it is here.
    dir: Option<PathBuf>,
    _kept: Option<TempDir>,
}

/// A machine as of a transaction.
pub struct Past {
    pub machine: Machine,
    // Behind the machine, which keeps its state there.
    _state: TempDir,
}

impl Ledger {
    /// The ledger of a directory, or a backend's.
    pub fn open(place: &Place) -> Result<Ledger, Failed> {
        match place {
            Place::Dir(dir) => Ok(Ledger {
                chunks: download::chunks_of(dir)?,
                dir: Some(dir.clone()).filter(|dir| dir.join("glassbox.json").is_file()),
                _kept: None,
            }),
            Place::Url(address) => {
                let folder = folder()?;
                download::ledger(address, folder.path(), &mut |_, _| {})?;
                Ok(Ledger { chunks: folder.path().to_owned(), dir: None, _kept: Some(folder) })
            }
        }
    }

    /// Its chunk files.
    pub fn storage(&self) -> Result<Dir, Failed> {
        Dir::open(&self.chunks).map_err(|error| Failed::unable(format!("{}: {error}", self.chunks.display())))
    }

    /// Finds a transaction.
    pub fn locate(&self, point: Point) -> Result<Located, Failed> {
        machine::past::locate(&self.storage()?, point).map_err(failed)
    }

    /// The machine right after a transaction. Needs a thread with [`sandbox::THREAD_STACK_BYTES`] of stack.
    pub fn as_of(&self, seqno: u64, console: Console) -> Result<Past, Failed> {
        let sandbox = sandbox::Sandbox::new().map_err(Failed::unable)?;
        let folder = folder()?;
        let state = State::open(&folder.path().join("state")).map_err(Failed::unable)?;
        let opened = machine::past::open(sandbox, &self.storage()?, state, seqno, console);
        let machine = opened.map_err(|error| match (&error, &self.dir) {
            (PastError::Vats, Some(dir)) => {
                let dir = dir.display();
                Failed::unable(format!("{dir} holds vats, not a script: see glassbox vat trace --dir {dir}"))
            }
            _ => failed(error),
        })?;
        Ok(Past { machine, _state: folder })
    }
}

/// A folder that goes away with the value.
pub fn folder() -> Result<TempDir, Failed> {
    tempfile::tempdir().map_err(|error| Failed::unable(format!("no folder for what is read: {error}")))
}

/// Which transaction is meant.
pub fn point(text: &str) -> Result<Point, Failed> {
    text.parse().map_err(failed)
}

/// What is asked for is not there (2), or the ledger is not what it says (1).
pub fn failed(error: PastError) -> Failed {
    match error {
        PastError::Malformed(_)
        | PastError::NoTransaction { .. }
        | PastError::Renamed { .. }
        | PastError::Bundle
        | PastError::Vats
        | PastError::Fault(_) => Failed::unable(error),
        PastError::Read(_) | PastError::Replay(_) => Failed::new(error),
    }
}
