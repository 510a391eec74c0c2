//! `glassbox log`: the call log, entry by entry.

mod entry;
mod source;

use crate::Failed;
use crate::address::Place;
use entry::{Logged, Row, Table};
use ledger::{Dir, Located, ReadError, Reader};
use machine::outside::decode_oracles;
use machine::script::archive::changes;
use machine::{Entry, maps};
use source::Source;
use std::io::{self, BufWriter, StdoutLock, Write};
use std::path::Path;

/// Print the call log of a backend.
#[derive(clap::Args)]
pub struct Args {
    /// The backend (HOST:PORT[/MOUNT], ws://… or http://…) or its directory.
    #[arg(value_name = "URL|DIR")]
    place: String,
    /// One JSON object per line, nothing shortened.
    #[arg(long)]
    json: bool,
    /// Go on printing calls as they come.
    #[arg(short, long)]
    follow: bool,
}

/// Rows that are aligned with each other before they are printed.
const ALIGNED_ROWS: usize = 1_000;

/// How often a ledger in use is looked at again, because a chunk was completed, and so renamed, while it was read.
const ATTEMPTS: usize = 5;

pub fn run(args: Args) -> Result<(), Failed> {
    let mut source = Source::open(&Place::parse(&args.place)?, args.follow)?;
    let mut log = Log {
        next_seqno: 1,
        entries: 0,
        files_version: 0,
        json: args.json,
        rows: Vec::new(),
        table: Table::default(),
        out: BufWriter::new(io::stdout().lock()),
    };
    loop {
        if source.update()? {
            match log.print(source.chunks()) {
                Ok(()) => {}
                // Nobody reads any more.
                Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(Stop::Output(error)) => return Err(Failed::new(format!("stdout: {error}"))),
                Err(Stop::Failed(failed)) => return Err(failed),
            }
        }
        if !args.follow || !source::wait(log.out.get_ref()) {
            return Ok(());
        }
    }
}

/// What has been printed, and so what has not.
struct Log {
    next_seqno: u64,
    entries: u64,
    files_version: u64,
    json: bool,
    rows: Vec<Row>,
    table: Table,
    out: BufWriter<StdoutLock<'static>>,
}

enum Stop {
    Failed(Failed),
    Output(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Output(error)
    }
}

impl Log {
    /// Prints the entries that have not been printed.
    fn print(&mut self, chunks: &Path) -> Result<(), Stop> {
        let broken = |error: ReadError| Stop::Failed(Failed::new(format!("{}: {error}", chunks.display())));
        for attempt in 1.. {
            match self.read(chunks)? {
                Ok(()) => break,
                Err(ReadError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                Err(error) => return Err(broken(error)),
            }
        }
        self.table.print(&mut self.rows, &mut self.out)?;
        Ok(self.out.flush()?)
    }

    fn read(&mut self, chunks: &Path) -> Result<Result<(), ReadError>, Stop> {
        let io = |source| ReadError::Io { file: String::new(), source };
        let storage = match Dir::open(chunks) {
            Ok(storage) => storage,
            Err(error) => return Ok(Err(io(error))),
        };
        let reader = match Reader::open_at(&storage, self.next_seqno) {
            Ok(reader) => reader,
            Err(error) => return Ok(Err(error)),
        };
        for located in reader {
            match located {
                Ok(located) => self.transaction(&located)?,
                Err(error) => return Ok(Err(error)),
            }
        }
        Ok(Ok(()))
    }

    fn transaction(&mut self, located: &Located) -> Result<(), Stop> {
        let txid = located.transaction.txid();
        let writes = located.transaction.public();
        self.next_seqno = txid.seqno + 1;
        self.files_version += writes.maps.get(maps::FILES).map_or(0, |writes| changes(writes).len() as u64);
        let unreadable = |why: String| {
            Stop::Failed(Failed::new(format!("{}, offset {}, transaction {txid}: {why}", located.file, located.offset)))
        };
        let entry = Entry::read(writes).map_err(|error| unreadable(error.to_string()))?;
        let Some(entry) = entry else { return Ok(()) };
        let oracles = match writes.get(maps::GLASSBOX, maps::ORACLES_KEY) {
            Some(bytes) => decode_oracles(bytes).ok_or_else(|| unreadable("malformed oracles".into()))?,
            None => Vec::new(),
        };
        let logged = Logged { number: self.entries, txid, entry: &entry, oracles: &oracles, files_version: self.files_version };
        self.entries += 1;
        if self.json {
            writeln!(self.out, "{}", entry::json(&logged))?;
            return Ok(());
        }
        self.rows.push(entry::row(&logged));
        if self.rows.len() >= ALIGNED_ROWS {
            self.table.print(&mut self.rows, &mut self.out)?;
        }
        Ok(())
    }
}
