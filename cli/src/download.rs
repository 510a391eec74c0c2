//! Downloads: the chunk files of a ledger into a folder, and the rows of the files archive.
//!
//! A folder that already holds chunks is brought up to date, and what is served now is compared with what was served
//! then: the last two chunks of the folder are fetched once more. That is enough to find a ledger that was written anew.
//! Each signature covers everything before it, so a change anywhere changes the last signature, and a complete chunk ends
//! with one.
//!
//! Invariants: bytes that were downloaded earlier are never overwritten or cut; every wait has a limit; a name or a size
//! that no honest backend sends is refused before anything is fetched.

use crate::Failed;
use crate::address::Address;
use ledger::TxId;
use ledger::chunk::{CHUNK_HEADER_BYTES, CHUNK_MAX_BYTES, ChunkName};
use server::http::{ARCHIVE_END, Listing, TRANSACTION_HEADER};
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a backend may send nothing.
const PROGRESS_TIMEOUT: Duration = Duration::from_secs(30);

/// How long one file may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(3600);

/// Bytes of a listing: some hundred thousand chunks.
const MAX_LISTING_BYTES: u64 = 16 << 20;

/// Bytes of a chunk file: transactions and their positions.
const MAX_CHUNK_BYTES: u64 = CHUNK_MAX_BYTES * 2;

/// Bytes of a ledger.
const MAX_LEDGER_BYTES: u64 = 1 << 40;

/// Bytes of an archive, which is held in memory.
const MAX_ARCHIVE_BYTES: u64 = 4 << 30;

/// Bytes of a key of the archive.
const MAX_KEY_BYTES: u64 = 64 << 10;

/// Bytes that are read at once.
const BLOCK_BYTES: usize = 256 << 10;

/// In front of the name of a file that is not complete. No reader takes it for a chunk.
const PART_PREFIX: &str = ".part-";

/// How often a listing is fetched again, because chunks were completed between listing and fetching.
const ATTEMPTS: usize = 3;

/// A ledger that was downloaded.
#[derive(Debug)]
pub struct Download {
    /// What the backend said there is.
    pub listing: Listing,
}

/// Fetches what is new since the last download into this folder, and all of it the first time.
///
/// Fails with exit code 1 if what is served contradicts what was downloaded earlier, with 2 if it cannot be fetched.
pub fn ledger(address: &Address, into: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<Download, Failed> {
    let mut mirror = Mirror::new(address, into)?;
    let (listing, _) = mirror.update(progress)?;
    Ok(Download { listing })
}

/// The rows of the files archive at one transaction: keys and values as they stand in the map.
pub fn archive(address: &Address) -> Result<(TxId, BTreeMap<String, Vec<u8>>), Failed> {
    let url = address.http("/archive");
    let bad = |why: &str| Failed::unable(format!("{url}: {why}"));
    let response = get(&agent(), &url)?.ok_or_else(|| bad("there is no such thing"))?;
    let txid = response.headers().get(TRANSACTION_HEADER).and_then(|value| value.to_str().ok()?.parse().ok());
    let txid = txid.ok_or_else(|| bad("the answer names no transaction"))?;
    let body = io::BufReader::with_capacity(BLOCK_BYTES, response.into_body().into_reader());
    let mut fields = Fields { body, left_bytes: MAX_ARCHIVE_BYTES };
    let mut rows: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    while let Some(key) = fields.next(MAX_KEY_BYTES).map_err(|error| bad(&error.to_string()))? {
        let value = fields.next(MAX_ARCHIVE_BYTES).map_err(|error| bad(&error.to_string()))?;
        let value = value.ok_or_else(|| bad("a path without a value"))?;
        let key = String::from_utf8(key).map_err(|_| bad("a path is no UTF-8"))?;
        if rows.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(bad("the paths are not in order"));
        }
        rows.insert(key, value);
    }
    Ok((txid, rows))
}

/// Keys and values with their lengths in front.
struct Fields<R> {
    body: R,
    left_bytes: u64,
}

impl<R: Read> Fields<R> {
    /// `None` at the end. A body that is cut is an error.
    fn next(&mut self, max_bytes: u64) -> io::Result<Option<Vec<u8>>> {
        let mut len = [0; 8];
        self.body.read_exact(&mut len)?;
        let len = u64::from_le_bytes(len);
        if len == ARCHIVE_END {
            return Ok(None);
        }
        if len > max_bytes.min(self.left_bytes) {
            return Err(io::Error::other("the archive is too large"));
        }
        self.left_bytes -= len;
        let mut field = Vec::new();
        if self.body.by_ref().take(len).read_to_end(&mut field)? as u64 != len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some(field))
    }
}

/// With a limit on every wait.
pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_resolve(Some(CONNECT_TIMEOUT))
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_send_request(Some(PROGRESS_TIMEOUT))
        .timeout_recv_response(Some(PROGRESS_TIMEOUT))
        .timeout_per_read(Some(PROGRESS_TIMEOUT))
        .timeout_recv_body(Some(BODY_TIMEOUT))
        // The WebSocket goes straight to the backend; so do downloads.
        .proxy(None)
        .max_redirects(0)
        .build();
    ureq::Agent::new_with_config(config)
}

/// Asks. `None` when there is no such thing.
pub fn get(agent: &ureq::Agent, url: &str) -> Result<Option<ureq::http::Response<ureq::Body>>, Failed> {
    match agent.get(url).call() {
        Ok(response) if response.status() == 200 => Ok(Some(response)),
        Ok(response) => Err(Failed::unable(format!("{url}: the answer is {}", response.status()))),
        Err(ureq::Error::StatusCode(404)) => Ok(None),
        Err(error) => Err(Failed::unable(format!("{url}: {error}"))),
    }
}

/// Where the chunk files of a directory are: in its `ledger`, or, in a folder of downloads, in itself.
pub fn chunks_of(dir: &Path) -> Result<PathBuf, Failed> {
    let inner = dir.join("ledger");
    if inner.is_dir() {
        return Ok(inner);
    }
    let entries = fs::read_dir(dir).map_err(|error| Failed::unable(format!("{}: {error}", dir.display())))?;
    let mut names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    if names.any(|name| name.starts_with("ledger_")) {
        return Ok(dir.to_owned());
    }
    Err(Failed::unable(format!("{} is not the directory of a backend: there is no ledger in it", dir.display())))
}

/// A folder that follows the ledger of a backend.
pub struct Mirror {
    address: Address,
    agent: ureq::Agent,
    dir: PathBuf,
    /// The chunks in the folder and their sizes, by their first transaction.
    local: BTreeMap<u64, (ChunkName, u64)>,
    /// What the folder held at the beginning has been compared with what is served.
    compared: bool,
}

/// Why a chunk was not fetched.
enum Stopped {
    Failed(Failed),
    /// It is not there any more: the listing is too old.
    Moved,
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Stopped {
        Stopped::Failed(failed)
    }
}

impl Mirror {
    /// A folder, which is made if it does not exist.
    pub fn new(address: &Address, dir: &Path) -> Result<Mirror, Failed> {
        let unable = |error: io::Error| Failed::unable(format!("{}: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(unable)?;
        let mut local = BTreeMap::new();
        for entry in fs::read_dir(dir).map_err(unable)? {
            let entry = entry.map_err(unable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(PART_PREFIX) {
                fs::remove_file(entry.path()).map_err(unable)?;
            } else if name.starts_with("ledger_") {
                let chunk = chunk_name(&name)
                    .ok_or_else(|| Failed::unable(format!("{}: not the name of a chunk", entry.path().display())))?;
                let bytes = entry.metadata().map_err(unable)?.len();
                if local.insert(chunk.first, (chunk, bytes)).is_some() {
                    return Err(Failed::unable(format!("{}: two chunks begin with transaction {}", dir.display(), chunk.first)));
                }
            }
        }
        Ok(Mirror { address: address.clone(), agent: agent(), dir: dir.to_owned(), local, compared: false })
    }

    /// Fetches what is new. Gives the listing and the number of new bytes. `progress` hears of bytes of the whole ledger.
    pub fn update(&mut self, progress: &mut dyn FnMut(u64, u64)) -> Result<(Listing, u64), Failed> {
        for _ in 0..ATTEMPTS {
            let listing = self.listing()?;
            let chunks = checked(&listing).map_err(|why| Failed::unable(format!("{}: {why}", self.address.http("/ledger"))))?;
            match self.fetch_all(&chunks, progress) {
                Ok(new_bytes) => return Ok((listing, new_bytes)),
                Err(Stopped::Moved) => {}
                Err(Stopped::Failed(failed)) => return Err(failed),
            }
        }
        Err(Failed::unable(format!("{}: files that it lists are not served", self.address.http("/ledger"))))
    }

    fn listing(&self) -> Result<Listing, Failed> {
        let url = self.address.http("/ledger");
        let none = || Failed::unable(format!("{url}: there is no ledger"));
        let mut response = get(&self.agent, &url)?.ok_or_else(none)?;
        let text = response.body_mut().with_config().limit(MAX_LISTING_BYTES).read_to_vec();
        let text = text.map_err(|error| Failed::unable(format!("{url}: {error}")))?;
        serde_json::from_slice(&text).map_err(|error| Failed::unable(format!("{url}: not the listing of a ledger: {error}")))
    }

    fn fetch_all(&mut self, served: &[(ChunkName, u64)], progress: &mut dyn FnMut(u64, u64)) -> Result<u64, Stopped> {
        let total: u64 = served.iter().map(|(_, bytes)| bytes).sum();
        let (mut done, mut new) = (0, 0);
        progress(done, total);
        for &(first, (name, bytes)) in &self.local.iter().map(|(first, chunk)| (*first, *chunk)).collect::<Vec<_>>() {
            if served.iter().all(|(other, _)| other.first != first) {
                self.missing(name, bytes, served)?;
            }
        }
        // The last chunk may be open and without a signature, the one before it ends with one.
        let compare_from = self.local.keys().rev().nth(1).or(self.local.keys().next()).copied().unwrap_or(u64::MAX);
        for &(name, bytes) in served {
            let local = self.local.get(&name.first).copied();
            let settled = self.compared || name.first < compare_from;
            if local == Some((name, bytes)) && settled {
                done += bytes;
                progress(done, total);
                continue;
            }
            let at = done;
            new += self.fetch(name, bytes, local, &mut |part| progress(at + part, total))?;
            self.local.insert(name.first, (name, bytes));
            done += bytes;
        }
        self.compared = true;
        Ok(new)
    }

    /// A chunk of the folder, of which no beginning is served.
    fn missing(&mut self, name: ChunkName, bytes: u64, served: &[(ChunkName, u64)]) -> Result<(), Failed> {
        if bytes <= CHUNK_HEADER_BYTES as u64 {
            // It was open and empty: nothing is known of it.
            fs::remove_file(self.dir.join(name.to_string())).map_err(|error| self.disk(name, error))?;
            self.local.remove(&name.first);
            return Ok(());
        }
        let covered =
            served.iter().any(|(other, _)| other.first > name.first || other.last.is_some_and(|last| last >= name.first));
        Err(if covered { self.forked(name, CHUNK_HEADER_BYTES as u64) } else { self.truncated(name, CHUNK_HEADER_BYTES as u64) })
    }

    /// Fetches a chunk file, or what is new of it, and gives the number of new bytes.
    fn fetch(
        &self,
        name: ChunkName,
        bytes: u64,
        local: Option<(ChunkName, u64)>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, Stopped> {
        let url = self.address.http(&format!("/ledger/{name}"));
        // What of the folder's chunk must come again: its transactions, without the table behind them.
        let (old, common) = match local {
            None => (None, 0),
            Some((old, old_bytes)) => (Some(old), self.transactions_end(old, old_bytes)?),
        };
        let grows = old == Some(name) && name.last.is_none();
        let from = if grows && self.compared { common.min(bytes) } else { 0 };
        let response = get(&self.agent, &format!("{url}?from={from}"))?.ok_or(Stopped::Moved)?;
        let mut body = response.into_body().into_reader().take(bytes - from);
        let disk = |error| self.disk(name, error);

        let mut old_file = match old {
            Some(old) => Some(File::open(self.dir.join(old.to_string())).map_err(disk)?),
            None => None,
        };
        let part = self.dir.join(format!("{PART_PREFIX}{name}"));
        let mut file = if grows {
            OpenOptions::new().append(true).open(self.dir.join(name.to_string())).map_err(disk)?
        } else {
            File::create(&part).map_err(disk)?
        };
        let mut at = from;
        let mut block = vec![0; BLOCK_BYTES];
        let mut earlier = vec![0; BLOCK_BYTES];
        if let Some(old_file) = &mut old_file {
            old_file.seek(SeekFrom::Start(from)).map_err(disk)?;
        }
        loop {
            let read = body.read(&mut block).map_err(|error| Failed::unable(format!("{url}: {error}")))?;
            if read == 0 {
                break;
            }
            // The header of an open chunk is blank. It is not when the chunk was completed after it was listed.
            if name.last.is_none() {
                let header = (CHUNK_HEADER_BYTES as u64).saturating_sub(at).min(read as u64);
                block[..header as usize].fill(0);
            }
            let again = common.saturating_sub(at).min(read as u64) as usize;
            if let Some(old_file) = &mut old_file {
                old_file.read_exact(&mut earlier[..again]).map_err(disk)?;
                let differs = (0..again).find(|&i| at + i as u64 >= CHUNK_HEADER_BYTES as u64 && earlier[i] != block[i]);
                if let Some(i) = differs {
                    let _ = fs::remove_file(&part);
                    return Err(self.forked(old.unwrap_or(name), at + i as u64).into());
                }
            }
            let written = if grows { &block[again..read] } else { &block[..read] };
            file.write_all(written).map_err(disk)?;
            at += read as u64;
            progress(at);
        }
        if at < bytes {
            let _ = fs::remove_file(&part);
            return Err(Failed::unable(format!("{url}: only {at} of {bytes} bytes came")).into());
        }
        if let Some(old) = old {
            // The common part is the same: then the other one may only be longer, and a complete chunk not even that.
            let same = old.last.is_none() || (old == name && local.map(|(_, old_bytes)| old_bytes) == Some(bytes));
            if common > bytes || !same {
                let _ = fs::remove_file(&part);
                return Err(if bytes <= common && name.last.is_none() {
                    self.truncated(old, bytes).into()
                } else {
                    self.forked(old, common.min(bytes)).into()
                });
            }
        }
        if !grows {
            if old == Some(name) {
                // Compared, and the same.
                fs::remove_file(&part).map_err(disk)?;
                return Ok(0);
            }
            fs::rename(&part, self.dir.join(name.to_string())).map_err(disk)?;
            if let Some(old) = old {
                fs::remove_file(self.dir.join(old.to_string())).map_err(disk)?;
            }
        }
        Ok(bytes - common.min(bytes))
    }

    /// Where the transactions of a chunk of the folder end.
    fn transactions_end(&self, name: ChunkName, bytes: u64) -> Result<u64, Failed> {
        if name.last.is_none() {
            return Ok(bytes);
        }
        let mut header = [0; CHUNK_HEADER_BYTES];
        let read = File::open(self.dir.join(name.to_string())).and_then(|mut file| file.read_exact(&mut header));
        read.map_err(|error| self.disk(name, error))?;
        Ok(u64::from_le_bytes(header).min(bytes))
    }

    fn disk(&self, name: ChunkName, error: io::Error) -> Failed {
        Failed::unable(format!("{}: {error}", self.dir.join(name.to_string()).display()))
    }

    fn forked(&self, name: ChunkName, offset: u64) -> Failed {
        let file = self.dir.join(name.to_string());
        Failed::new(format!(
            "The ledger served now contradicts the one downloaded earlier: it differs from {} at offset {offset}. Nothing was overwritten.",
            file.display()
        ))
    }

    fn truncated(&self, name: ChunkName, offset: u64) -> Failed {
        let file = self.dir.join(name.to_string());
        Failed::new(format!(
            "The ledger is truncated: less is served now than was downloaded earlier; it ends before offset {offset} of {}. Nothing was overwritten.",
            file.display()
        ))
    }
}

/// The chunks of a listing, if it can be that of a ledger: without gap or overlap, an open chunk last, sizes in bounds.
fn checked(listing: &Listing) -> Result<Vec<(ChunkName, u64)>, String> {
    let mut chunks = Vec::with_capacity(listing.files.len());
    let (mut expected, mut total, mut open) = (1, 0_u64, false);
    for file in &listing.files {
        let name = chunk_name(&file.name).ok_or_else(|| format!("{:?} is not the name of a chunk", file.name))?;
        if open || name.first != expected {
            return Err(format!("{name} is listed where a chunk from transaction {expected} should be"));
        }
        total = total.saturating_add(file.bytes);
        if file.bytes > MAX_CHUNK_BYTES || total > MAX_LEDGER_BYTES {
            return Err(format!("{name} is too large"));
        }
        match name.last {
            Some(last) => expected = last.checked_add(1).ok_or("a chunk without an end")?,
            None => open = true,
        }
        chunks.push((name, file.bytes));
    }
    Ok(chunks)
}

/// The name of a chunk in its one spelling.
fn chunk_name(text: &str) -> Option<ChunkName> {
    let rest = text.strip_prefix("ledger_")?;
    let name = match rest.strip_suffix(".committed") {
        None => ChunkName { first: rest.parse().ok()?, last: None },
        Some(range) => {
            let (first, last) = range.split_once('-')?;
            ChunkName { first: first.parse().ok()?, last: Some(last.parse().ok()?) }
        }
    };
    let in_order = name.first > 0 && name.last.is_none_or(|last| last >= name.first);
    (in_order && name.to_string() == text).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use server::http::ChunkFile;

    fn listing(files: &[(&str, u64)]) -> Listing {
        let files = files.iter().map(|(name, bytes)| ChunkFile { name: (*name).into(), bytes: *bytes }).collect();
        Listing { last: String::new(), signed: String::new(), files }
    }

    #[test]
    fn a_listing_must_be_that_of_a_ledger() {
        for good in [&[][..], &[("ledger_1", 8)], &[("ledger_1-2.committed", 9), ("ledger_3-3.committed", 9), ("ledger_4", 0)]] {
            assert!(checked(&listing(good)).is_ok(), "{good:?}");
        }
        for bad in [
            &[("ledger_2", 8)][..],
            &[("ledger_1", 8), ("ledger_2", 8)],
            &[("ledger_1-2.committed", 8), ("ledger_4", 8)],
            &[("ledger_1-2.committed", 8), ("ledger_2", 8)],
            &[("ledger_01", 8)],
            &[("ledger_+1", 8)],
            &[("ledger_1/../x", 8)],
            &[("../ledger_1", 8)],
            &[("ledger_2-1.committed", 8)],
            &[("ledger_1-18446744073709551615.committed", 8)],
            &[("ledger_1", u64::MAX)],
        ] {
            assert!(checked(&listing(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_cut_archive_is_noticed() {
        let whole = [&1u64.to_le_bytes()[..], b"a", &2u64.to_le_bytes(), b"bc", &ARCHIVE_END.to_le_bytes()].concat();
        let read = |bytes: &[u8]| {
            let mut fields = Fields { body: bytes, left_bytes: 100 };
            let mut found = Vec::new();
            while let Some(field) = fields.next(10)? {
                found.push(field);
            }
            io::Result::Ok(found)
        };
        assert_eq!(read(&whole).expect("complete"), [b"a".to_vec(), b"bc".to_vec()]);
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "{len}");
        }
        assert!(read(&11u64.to_le_bytes()).is_err());
    }
}
