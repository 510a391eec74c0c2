//! `glassbox log`: the call log, entry by entry.

mod entry;
mod source;

use crate::Failed;
use crate::address::Place;
use entry::{Row, Table};
use machine::script::files::changes;
use machine::{Entry, maps};
use source::Source;
use std::io::{self, Write};

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

pub fn run(args: Args) -> Result<(), Failed> {
    let mut source = Source::open(&Place::parse(&args.place)?, args.follow)?;
    let mut log = Log { next_seqno: 1, entries: 0, files_version: 0, json: args.json, rows: Vec::new(), table: Table::default() };
    loop {
        if source.update()? {
            match log.print(&source) {
                // Nobody reads any more.
                Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(()),
                Err(Stop::Output(error)) => return Err(Failed::new(format!("stdout: {error}"))),
                Err(Stop::Failed(failed)) => return Err(failed),
                Ok(()) => {}
            }
        }
        if !args.follow || !source.wait() {
            return Ok(());
        }
    }
}

/// What has been printed.
struct Log {
    next_seqno: u64,
    entries: u64,
    files_version: u64,
    json: bool,
    rows: Vec<Row>,
    table: Table,
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
    fn print(&mut self, source: &Source) -> Result<(), Stop> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        while let Some(read) = source.read_from(self.next_seqno, |located| {
            let transaction = located.transaction;
            let txid = transaction.txid();
            let files = transaction.public().maps.get(maps::FILES);
            self.files_version += files.map_or(0, |writes| changes(writes).len() as u64);
            self.next_seqno = txid.seqno + 1;
            let entry = Entry::read(transaction.public())
                .map_err(|error| Stop::Failed(Failed::new(format!("transaction {txid} ({}, offset {}): {error}", located.file, located.offset))))?;
            let Some(entry) = entry else { return Ok(()) };
            let number = self.entries;
            self.entries += 1;
            if self.json {
                return Ok(writeln!(out, "{}", entry::json(number, txid, &entry, self.files_version))?);
            }
            self.rows.push(entry::row(number, txid, &entry, self.files_version));
            if self.rows.len() >= ALIGNED_ROWS {
                self.table.print(&mut self.rows, &mut out)?;
            }
            Ok(())
        })? {
            if read == source::Read::Complete {
                break;
            }
        }
        self.table.print(&mut self.rows, &mut out)?;
        Ok(out.flush()?)
    }
}
