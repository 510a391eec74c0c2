//! The host side of `System.files`: nine methods over the archive's map, for one call at a time.
//!
//! A call reads the state under its own writes; the writes are handed out when it ends. What is refused is refused with the
//! name and message that DatArchive gives.

use super::archive::{Entry, MANIFEST_PATH};
use super::path::Path;
use crate::difference::Difference;
use crate::outside::{Outside, Recorded, Source};
use crate::records::Records;
use crate::state::{self, State};
use crate::{Console, maps};
use base64::Engine as _;
use ledger::ChancePublicKey;
use ledger::chance::CHANCE_BYTES;
use sandbox::{Answer, Consult, Fault, Host, Level, OracleAnswer, Realm};
use serde_json::json;
use std::borrow::Cow;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Bound;

/// What one call may write, in bytes of paths and contents.
pub const MAX_WRITES_BYTES: usize = 32 << 20;

/// What it costs a call to look at a row of the archive or its history, in instructions, beside its bytes.
const ROW_INSTRUCTIONS: u64 = 2_000;
const BYTE_INSTRUCTIONS: u64 = 4;

/// The numbers of the questions, as in `prelude/files.js`.
pub mod op {
    pub const READ: u32 = 10;
    pub const WRITE: u32 = 11;
    pub const MKDIR: u32 = 12;
    pub const UNLINK: u32 = 13;
    pub const RMDIR: u32 = 14;
    pub const READDIR: u32 = 15;
    pub const STAT: u32 = 16;
    pub const HISTORY: u32 = 17;
    pub const INFO: u32 = 18;
    /// As in `prelude/realm.js`.
    pub const PREVIOUS: u32 = 7;
}

/// An error of the archive, as the script sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// `error.name`
    pub name: &'static str,
    /// `error.message`
    pub message: String,
}

impl Refusal {
    pub(super) fn new(name: &'static str, message: &str) -> Refusal {
        Refusal { name, message: message.to_owned() }
    }
}

enum Problem {
    Refused(Refusal),
    Fault(Fault),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::Refused(refusal)
    }
}

impl From<state::StateError> for Problem {
    fn from(error: state::StateError) -> Problem {
        Problem::Fault(Fault(error.to_string()))
    }
}

fn refuse<T>(name: &'static str, message: &str) -> Result<T, Problem> {
    Err(Refusal::new(name, message).into())
}

/// The archive, and what the present call has written so far.
pub struct Files {
    records: Records,
    console: Console,
    outside: Box<dyn Outside>,
    time_ms: u64,
    writes: BTreeMap<String, Option<Vec<u8>>>,
    written_bytes: usize,
    /// What the present question has taken, in instructions.
    work: Cell<u64>,
    /// The seed of this call, but for the chance that it has to be mixed with.
    draw: Draw,
    source: Source,
    drawn: Option<[u8; CHANCE_BYTES]>,
    said: Vec<OracleAnswer>,
    /// What the ledger lacks or has wrong for this replay.
    pub problem: Option<Difference>,
    /// The call may only read.
    pub readonly: bool,
    /// It is no transaction, and has this seed.
    reading: Option<u64>,
    /// The realm of the code before, while a new one migrates.
    pub previous: Option<Box<Realm<Files>>>,
}

/// What tells the seed of one call from that of another.
#[derive(Debug, Clone, Default)]
pub struct Draw {
    /// The input's record.
    pub record: Vec<u8>,
    /// The transaction.
    pub seqno: u64,
}

impl Draw {
    fn seed(&self, chance: &[u8; CHANCE_BYTES]) -> u64 {
        let mixed = ledger::sha256(&[&chance[..], &ledger::sha256(&self.record), &self.seqno.to_le_bytes()].concat());
        u64::from_le_bytes(*mixed.first_chunk().expect("32 bytes"))
    }
}

impl Files {
    pub fn new(records: Records, console: Console, outside: Box<dyn Outside>) -> Files {
        Files {
            records,
            console,
            outside,
            time_ms: 0,
            writes: BTreeMap::new(),
            written_bytes: 0,
            work: Cell::new(0),
            draw: Draw::default(),
            source: Source::Live,
            drawn: None,
            said: Vec::new(),
            problem: None,
            readonly: false,
            reading: None,
            previous: None,
        }
    }

    /// For a reader: see [`crate::reading`].
    pub fn reading(console: Console) -> Files {
        Files { reading: Some(0), ..Files::new(Records::new(State::in_memory()), console, Box::new(crate::Nobody)) }
    }

    /// A read begins.
    pub fn look(&mut self, records: Records, time_ms: u64, seed: u64) {
        self.records = records;
        self.begin(time_ms, Draw::default(), Source::Live);
        self.readonly = true;
        self.reading = Some(seed);
    }

    /// For a realm that nothing is asked of but its variables.
    pub fn none() -> Files {
        Files::new(Records::new(State::in_memory()), Box::new(|_, _, _| {}), Box::new(crate::Nobody))
    }

    pub fn records(&self) -> &Records {
        &self.records
    }

    pub fn records_mut(&mut self) -> &mut Records {
        &mut self.records
    }

    /// The next entry of the call log begins.
    pub fn begin(&mut self, time_ms: u64, draw: Draw, source: Source) {
        self.time_ms = time_ms;
        self.draw = draw;
        self.source = source;
        self.drawn = None;
        self.said.clear();
        self.problem = None;
        self.writes.clear();
        self.written_bytes = 0;
        self.readonly = false;
    }

    /// What came from outside during the call.
    pub fn take_answers(&mut self) -> (Option<[u8; CHANCE_BYTES]>, Vec<OracleAnswer>) {
        (self.drawn.take(), std::mem::take(&mut self.said))
    }

    /// What the call has written: the last value of each path, and only where it is another than before.
    pub fn take_writes(&mut self) -> BTreeMap<String, Option<Vec<u8>>> {
        std::mem::take(&mut self.writes)
    }

    fn get(&self, path: &str) -> Result<Option<Vec<u8>>, Problem> {
        let value = match self.writes.get(path) {
            Some(own) => own.clone(),
            None => self.records.state().get(maps::FILES, path.as_bytes())?.map(|entry| entry.value().to_vec()),
        };
        self.charge(value.as_ref().map_or(0, Vec::len));
        Ok(value)
    }

    /// A row of so many bytes was looked at.
    fn charge(&self, bytes: usize) {
        self.work.set(self.work.get() + ROW_INSTRUCTIONS + BYTE_INSTRUCTIONS * bytes as u64);
    }

    /// The entry at a path. The root is a folder without a row.
    fn entry(&self, path: &str) -> Result<Option<Entry<'static>>, Problem> {
        if path.is_empty() {
            return Ok(Some(Entry { content: None, created_ms: 0, modified_ms: 0 }));
        }
        let Some(value) = self.get(path)? else { return Ok(None) };
        let entry =
            Entry::decode(&value).ok_or_else(|| Problem::Fault(Fault(format!("the archive's row of {path} is malformed"))))?;
        let content = entry.content.map(|content| Cow::Owned(content.into_owned()));
        Ok(Some(Entry { content, ..entry }))
    }

    fn put(&mut self, path: &str, value: Option<Vec<u8>>) -> Result<(), Problem> {
        if self.readonly {
            return refuse("ReadOnlyError", "A method that only reads cannot write");
        }
        let size = |value: &Option<Vec<u8>>| path.len() + value.as_ref().map_or(0, Vec::len);
        let before = self.writes.get(path).map_or(0, size);
        let after = self.written_bytes - before + size(&value);
        if after > MAX_WRITES_BYTES {
            return refuse("QuotaExceededError", &format!("A call may write {MAX_WRITES_BYTES} bytes"));
        }
        self.written_bytes = after;
        self.writes.insert(path.to_owned(), value);
        Ok(())
    }

    /// The first path at or after `from` and before `to` that has a row now.
    fn next_path(&self, from: Bound<&str>, to: &str) -> Result<Option<String>, Problem> {
        let mut from = match from {
            Bound::Included(path) => Bound::Included(path.to_owned()),
            Bound::Excluded(path) => Bound::Excluded(path.to_owned()),
            Bound::Unbounded => Bound::Unbounded,
        };
        loop {
            self.charge(0);
            let bound = from.as_ref().map(String::as_str);
            let own = self.writes.range::<str, _>((bound, Bound::Excluded(to))).find(|(_, value)| value.is_some());
            let stored = self
                .records
                .state()
                .keys(maps::FILES, bound.map(str::as_bytes), Bound::Excluded(to.as_bytes()))?
                .next()
                .transpose()?
                .map(|key| String::from_utf8_lossy(&key).into_owned());
            return Ok(match (own.map(|(path, _)| path), stored) {
                (Some(own), None) => Some(own.clone()),
                (Some(own), Some(stored)) if *own < stored => Some(own.clone()),
                (_, Some(stored)) if self.writes.get(&stored) == Some(&None) => {
                    from = Bound::Excluded(stored);
                    continue;
                }
                (_, stored) => stored,
            });
        }
    }

    /// The paths below a folder: all of them, or its own entries.
    fn list(&self, folder: &str, recursive: bool) -> Result<Vec<String>, Problem> {
        let prefix = format!("{folder}/");
        let end = format!("{folder}0"); // `0` is the character after `/`
        let mut found = Vec::new();
        let mut from = Bound::Included(prefix.clone());
        while let Some(path) = self.next_path(from.as_ref().map(String::as_str), &end)? {
            match path[prefix.len()..].find('/') {
                Some(slash) if !recursive => from = Bound::Included(format!("{}0", &path[..prefix.len() + slash])),
                _ => {
                    from = Bound::Excluded(path.clone());
                    found.push(path);
                }
            }
        }
        Ok(found)
    }

    fn answer(&mut self, op: u32, text: &str, data: &[u8]) -> Result<Answer, Problem> {
        let (option, path) = match op {
            op::READ | op::WRITE | op::RMDIR | op::READDIR => text.split_once('\n').unwrap_or(("", text)),
            _ => ("", text),
        };
        match op {
            op::PREVIOUS => return self.previous(text),
            op::HISTORY => return self.history(text),
            op::INFO => return Ok(Answer::Text(self.info())),
            _ => {}
        }
        let path = Path::parse(path)?;
        match op {
            op::READ => self.read(&path, option),
            op::WRITE => self.write(&path, option, data),
            op::MKDIR => self.mkdir(&path),
            op::UNLINK => self.unlink(&path),
            op::RMDIR => self.rmdir(&path, option == "r"),
            op::READDIR => self.readdir(&path, option == "r"),
            op::STAT => match self.entry(path.as_str())? {
                Some(entry) => Ok(Answer::Text(json!(stat(&entry)).to_string())),
                None => refuse("NotFoundError", "File not found"),
            },
            _ => refuse("TypeError", "Scripts have no such question"),
        }
    }

    fn read(&self, path: &Path, encoding: &str) -> Result<Answer, Problem> {
        let content = match self.entry(path.as_str())? {
            Some(Entry { content: Some(content), .. }) => content,
            Some(_) => return refuse("NotAFileError", "Target must be a file"),
            // The tutorial counts from an archive without the file.
            None if encoding == "json" => return Ok(Answer::Nothing),
            None => return refuse("NotFoundError", "File not found"),
        };
        Ok(match encoding {
            "" | "utf8" | "utf-8" | "json" => Answer::Text(String::from_utf8_lossy(&content).into_owned()),
            "hex" => Answer::Text(content.iter().map(|byte| format!("{byte:02x}")).collect()),
            "base64" => Answer::Text(base64::prelude::BASE64_STANDARD.encode(&content)),
            "binary" => Answer::Bytes(content.into_owned()),
            _ => return refuse("InvalidEncodingError", "Invalid encoding"),
        })
    }

    fn parent_exists(&self, path: &Path) -> Result<(), Problem> {
        let parent = path.parent().unwrap_or("");
        if self.entry(parent)?.is_some_and(|entry| entry.is_folder()) {
            return Ok(());
        }
        refuse("ParentFolderDoesntExistError", "Cannot write to this location ; No parent folder exists")
    }

    fn write(&mut self, path: &Path, encoding: &str, data: &[u8]) -> Result<Answer, Problem> {
        if path.trailing_slash && !path.is_root() {
            return refuse("InvalidPathError", "Files can not have a trailing slash");
        }
        unprotected(path)?;
        let content = decode(encoding, data)?;
        let created_ms = match self.entry(path.as_str())? {
            Some(entry) if entry.is_folder() => return refuse("EntryAlreadyExistsError", "Cannot overwrite non-files"),
            Some(entry) => entry.created_ms,
            None => {
                self.parent_exists(path)?;
                self.time_ms
            }
        };
        let entry = Entry { content: Some(content), created_ms, modified_ms: self.time_ms };
        self.put(path.as_str(), Some(entry.encode()))?;
        Ok(Answer::Nothing)
    }

    fn mkdir(&mut self, path: &Path) -> Result<Answer, Problem> {
        if self.entry(path.as_str())?.is_some() {
            return refuse("EntryAlreadyExistsError", "Cannot overwrite files or folders");
        }
        self.parent_exists(path)?;
        let entry = Entry { content: None, created_ms: self.time_ms, modified_ms: self.time_ms };
        self.put(path.as_str(), Some(entry.encode()))?;
        Ok(Answer::Nothing)
    }

    fn unlink(&mut self, path: &Path) -> Result<Answer, Problem> {
        unprotected(path)?;
        match self.entry(path.as_str())? {
            None => refuse("NotFoundError", "File not found"),
            Some(entry) if entry.is_folder() => refuse("NotAFileError", "Cannot unlink non-files"),
            Some(_) => {
                self.put(path.as_str(), None)?;
                Ok(Answer::Nothing)
            }
        }
    }

    fn rmdir(&mut self, path: &Path, recursive: bool) -> Result<Answer, Problem> {
        match self.entry(path.as_str())? {
            None => return refuse("NotFoundError", "File not found"),
            Some(entry) if !entry.is_folder() => return refuse("NotAFolderError", "Cannot rmdir non-folders"),
            Some(_) => {}
        }
        let (first, end) = (format!("{}/", path.as_str()), format!("{}0", path.as_str()));
        if !recursive && self.next_path(Bound::Included(&first), &end)?.is_some() {
            return refuse("DestDirectoryNotEmpty", "Destination path is not empty ; Aborting");
        }
        if path.is_root() {
            return refuse("ProtectedFileNotWritableError", "Protected file is not wrtable");
        }
        for path in self.list(path.as_str(), true)? {
            self.put(&path, None)?;
        }
        self.put(path.as_str(), None)?;
        Ok(Answer::Nothing)
    }

    fn readdir(&self, path: &Path, recursive: bool) -> Result<Answer, Problem> {
        match self.entry(path.as_str())? {
            None => return refuse("NotFoundError", "File not found"),
            Some(entry) if !entry.is_folder() => return Ok(Answer::Text("[]".into())),
            Some(_) => {}
        }
        let mut rows = Vec::new();
        for found in self.list(path.as_str(), recursive)? {
            let name = found[path.as_str().len() + 1..].to_owned();
            if let Some(entry) = self.entry(&found)? {
                let (kind, size, modified, created) = stat(&entry);
                rows.push(json!([name, kind, size, modified, created]));
            }
        }
        Ok(Answer::Text(json!(rows).to_string()))
    }

    /// `start`, `end` (-1: none) and direction; the entries are numbered from 0, the versions from 1.
    fn history(&self, text: &str) -> Result<Answer, Problem> {
        let mut lines = text.split('\n');
        let mut number = || lines.next().and_then(|line| line.parse::<i64>().ok()).unwrap_or(-1);
        let (start, end) = (number().max(0) as u64, number());
        let reverse = lines.next() == Some("r");
        let mut rows = Vec::new();
        let stored = self.records.state().range(
            maps::HISTORY,
            Bound::Included((start + 1).to_be_bytes().as_slice()),
            match u64::try_from(end) {
                Ok(end) => Bound::Excluded((end + 1).to_be_bytes()),
                Err(_) => Bound::Unbounded,
            }
            .as_ref()
            .map(<[u8; 8]>::as_slice),
        )?;
        for row in stored {
            let (key, entry) = row?;
            let version =
                u64::from_be_bytes(key[..].try_into().map_err(|_| Fault("a malformed version".into())).map_err(Problem::Fault)?);
            self.charge(0);
            let (kind, path) = entry.value().split_at(1);
            rows.push((String::from_utf8_lossy(path).into_owned(), version, kind == b"p"));
        }
        // The call's own changes, as they will be numbered if nothing else comes.
        for (version, (path, value)) in (self.records.version() + 1..).zip(&self.writes) {
            if version > start && (end < 0 || version <= end as u64) {
                rows.push((path.clone(), version, value.is_some()));
            }
        }
        if reverse {
            rows.reverse();
        }
        let rows: Vec<_> =
            rows.iter().map(|(path, version, put)| json!([path, version, if *put { "put" } else { "del" }])).collect();
        Ok(Answer::Text(json!(rows).to_string()))
    }

    /// A variable of the code before, for `migrate`.
    fn previous(&mut self, name: &str) -> Result<Answer, Problem> {
        let Some(realm) = &mut self.previous else { return Ok(Answer::Nothing) };
        match realm.peek(name, self.time_ms).map_err(Problem::Fault)? {
            sandbox::Outcome::Value(json) => Ok(Answer::Text(json)),
            sandbox::Outcome::Nothing | sandbox::Outcome::Reply(_) | sandbox::Outcome::Invalid(_) => Ok(Answer::Nothing),
            sandbox::Outcome::Failure(failure) | sandbox::Outcome::Refused(failure) => {
                Ok(Answer::Refused { name: failure.name.into(), message: failure.message })
            }
        }
    }

    fn info(&self) -> String {
        let (key, title) = self.records.service().map_or(("", ""), |service| (&service.files, &service.title));
        json!({
            "key": key,
            "url": format!("hyper://{key}"),
            "isOwner": true,
            "version": self.records.version() + self.writes.len() as u64,
            "peers": 0,
            "mtime": 0,
            "size": 0,
            "title": title,
            "description": "",
            "type": [],
            "author": "",
            "links": {},
        })
        .to_string()
    }
}

fn stat(entry: &Entry) -> (&'static str, usize, u64, u64) {
    (if entry.is_folder() { "directory" } else { "file" }, entry.size(), entry.modified_ms, entry.created_ms)
}

fn unprotected(path: &Path) -> Result<(), Problem> {
    if path.as_str() == MANIFEST_PATH {
        return refuse("ProtectedFileNotWritableError", "Protected file is not wrtable");
    }
    Ok(())
}

/// What a script writes, as bytes. `bytes` is what the prelude says for buffers.
fn decode<'a>(encoding: &str, data: &'a [u8]) -> Result<Cow<'a, [u8]>, Problem> {
    let invalid = || Problem::from(Refusal::new("InvalidEncodingError", "Invalid encoding"));
    let text = || std::str::from_utf8(data).map_err(|_| invalid());
    Ok(match encoding {
        "" | "utf8" | "utf-8" | "bytes" => Cow::Borrowed(data),
        "binary" => {
            let latin: Option<Vec<u8>> = text()?.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect();
            Cow::Owned(latin.ok_or_else(invalid)?)
        }
        "hex" => {
            let digits = text()?.as_bytes();
            let digit = |byte: u8| (byte as char).to_digit(16);
            let byte = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
            Cow::Owned(digits.chunks(2).map(byte).collect::<Option<Vec<u8>>>().ok_or_else(invalid)?)
        }
        "base64" => {
            use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
            const LENIENT: GeneralPurpose = GeneralPurpose::new(
                &base64::alphabet::STANDARD,
                GeneralPurposeConfig::new()
                    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
                    .with_decode_allow_trailing_bits(true),
            );
            Cow::Owned(LENIENT.decode(text()?.trim()).map_err(|_| invalid())?)
        }
        _ => return Err(invalid()),
    })
}

impl Host for Files {
    fn console(&mut self, level: Level, line: &str) {
        (self.console)(self.records.entries(), level, line);
    }

    fn seed(&mut self) -> Result<u64, Fault> {
        if let Some(seed) = self.reading {
            return Ok(seed);
        }
        if let Some(chance) = self.records.chance().or(self.drawn.as_ref()) {
            return Ok(self.draw.seed(chance));
        }
        let head = self.records.head();
        let chance = match &self.source {
            Source::Live => self.outside.chance(head),
            Source::Recorded(Recorded { chance: Some(chance), .. }) => {
                let key = self.records.service().and_then(|service| ChancePublicKey::from_hex(&service.chance).ok());
                let root = head.map_or([0; 32], |head| head.root);
                if !key.is_some_and(|key| key.verify(head.map(|head| head.txid), &root, chance)) {
                    self.problem = Some(Difference::Chance("is not the chance key's signature"));
                }
                *chance
            }
            Source::Recorded(_) => {
                self.problem = Some(Difference::Chance("is missing"));
                return Ok(0);
            }
        };
        self.drawn = Some(chance);
        Ok(self.draw.seed(&chance))
    }

    fn consult(&mut self) -> Result<Consult, Fault> {
        if self.readonly {
            let message = "A method that only reads cannot ask an oracle: nobody would know the answer".to_owned();
            return Ok(Consult::Recorded(Err(("ReadOnlyError".into(), message))));
        }
        match &mut self.source {
            Source::Live => Ok(Consult::Run(self.outside.world(self.records.entries()))),
            Source::Recorded(recorded) => Ok(Consult::Recorded(recorded.oracles.pop_front().unwrap_or_else(|| {
                self.problem = Some(Difference::Oracle);
                Err(("OracleError".into(), "The ledger has no answer".into()))
            }))),
        }
    }

    fn consulted(&mut self, answer: &OracleAnswer) {
        self.said.push(answer.clone());
    }

    fn ask(&mut self, op: u32, text: &str, data: &[u8], work: &mut u64) -> Result<Answer, Fault> {
        self.work.set(0);
        let answer = self.answer(op, text, data);
        *work += self.work.get();
        match answer {
            Ok(answer) => Ok(answer),
            Err(Problem::Refused(Refusal { name, message })) => Ok(Answer::Refused { name: name.into(), message }),
            Err(Problem::Fault(fault)) => Err(fault),
        }
    }
}
