//! Where the chunk files come from: a directory, or downloads into a folder that goes away with the command.

use crate::Failed;
use crate::address::Place;
use crate::download::{Mirror, chunks_of};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use std::collections::BTreeMap;
use std::fs;
use std::io::StdoutLock;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};

/// How long to wait before looking for new calls.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// A ledger to read from.
pub enum Source {
    /// A directory, and the sizes of its chunk files when they were last looked at.
    Dir { chunks: PathBuf, seen: BTreeMap<String, u64> },
    /// A backend, and what of its ledger has been downloaded.
    Url { mirror: Box<Mirror>, temp: TempDir, read: bool },
}

impl Source {
    pub fn open(place: &Place, follow: bool) -> Result<Source, Failed> {
        match place {
            Place::Dir(dir) => Ok(Source::Dir { chunks: chunks_of(dir)?, seen: BTreeMap::new() }),
            Place::Url(address) => {
                let temp = tempfile::tempdir().map_err(|error| Failed::unable(format!("no folder for the download: {error}")))?;
                clean_up_on_signal(temp.path().to_owned(), follow)?;
                Ok(Source::Url { mirror: Box::new(Mirror::new(address, temp.path())?), temp, read: false })
            }
        }
    }

    /// Brings it up to date. False if nothing is new.
    pub fn update(&mut self) -> Result<bool, Failed> {
        match self {
            Source::Dir { chunks, seen } => {
                let now = sizes(chunks).map_err(|error| Failed::unable(format!("{}: {error}", chunks.display())))?;
                let changed = now != *seen;
                *seen = now;
                Ok(changed)
            }
            Source::Url { mirror, read, .. } => {
                let (_, new_bytes) = mirror.update(&mut |_, _| {})?;
                Ok(!std::mem::replace(read, true) || new_bytes > 0)
            }
        }
    }

    /// The folder of the chunk files.
    pub fn chunks(&self) -> &Path {
        match self {
            Source::Dir { chunks, .. } => chunks,
            Source::Url { temp, .. } => temp.path(),
        }
    }
}

fn sizes(chunks: &Path) -> std::io::Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for entry in fs::read_dir(chunks)? {
        let entry = entry?;
        // It may have been renamed since it was listed.
        let bytes = entry.metadata().map_or(0, |metadata| metadata.len());
        sizes.insert(entry.file_name().to_string_lossy().into_owned(), bytes);
    }
    Ok(sizes)
}

/// Waits until it is time to look again. False if nobody reads stdout any more.
pub fn wait(stdout: &StdoutLock) -> bool {
    let mut fds = [PollFd::new(stdout, PollFlags::empty())];
    let interval = Timespec::try_from(POLL_INTERVAL).expect("half a second fits");
    match poll(&mut fds, Some(&interval)) {
        Ok(0) | Err(_) => true,
        Ok(_) => false,
    }
}

/// A signal ends the command, but not before the download is removed. To interrupt `--follow` is its normal end.
fn clean_up_on_signal(temp: PathBuf, follow: bool) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().map_err(Failed::unable)?;
    let (mut interrupt, mut terminate) = {
        let _inside = runtime.enter();
        let open = |kind| signal(kind).map_err(Failed::unable);
        (open(SignalKind::interrupt())?, open(SignalKind::terminate())?)
    };
    std::thread::spawn(move || {
        let code = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => if follow { 0 } else { 130 },
                _ = terminate.recv() => 143,
            }
        });
        let _ = fs::remove_dir_all(&temp);
        std::process::exit(code);
    });
    Ok(())
}
