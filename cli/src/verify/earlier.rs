//! What earlier audits have executed and found right, so that the next one need not: `DIR/verified.json`.
//!
//! ```text
//! {"format":1,"stretches":[
//!   {"from":1,"to":10010,"root":"64 hex","engine":"64 hex","blind":true},…]}
//! ```
//!
//! A stretch is the transactions from one checkpoint (which is not part of it) to the next (which is). `root` is the Merkle
//! root over all transactions from the first up to and including `to`; `engine` the sandbox that executed them. The root
//! covers everything that the execution depends on, so a stretch is skipped exactly when the ledger has the same root there.
//! `blind`, left out when it is false, says that a bundle was executed without the ledger secret: an audit that has the secret
//! executes the stretch again.
//!
//! Invariants: stretches are in order and do not overlap. Only what one audit found right as a whole is written, by renaming
//! a complete file. A file that is not in its one form counts for nothing.

use crate::Failed;
use ledger::Hash;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

/// In the folder that `--dir` names.
const FILE: &str = "verified.json";

/// The version of the file.
const FORMAT: u32 = 1;

/// Bytes of the file: a hundred thousand stretches.
const MAX_BYTES: u64 = 16 << 20;

/// A stretch that came out as the ledger has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stretch {
    /// Its first transaction.
    pub from: u64,
    /// Its last one, a checkpoint.
    pub to: u64,
    /// The Merkle root after it, hex.
    pub root: String,
    /// [`sandbox::ENGINE`].
    pub engine: String,
    /// It was executed without the ledger secret: what is encrypted in it nobody has compared.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub blind: bool,
}

impl Stretch {
    /// One that this build has executed.
    pub fn new(from: u64, to: u64, root: &Hash, blind: bool) -> Stretch {
        Stretch { from, to, root: ledger::hex::encode(root), engine: sandbox::ENGINE.to_owned(), blind }
    }

    /// Whether it ends there, over the same transactions.
    pub fn ends(&self, to: u64, root: &Hash) -> bool {
        self.to == to && self.root == ledger::hex::encode(root)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    format: u32,
    stretches: Vec<Stretch>,
}

/// What is in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Earlier {
    stretches: Vec<Stretch>,
    /// This audit has the ledger secret.
    sees: bool,
}

impl Earlier {
    /// Reads the file in a folder. An error says why it counts for nothing.
    pub fn load(dir: &Path) -> Result<Earlier, String> {
        let path = dir.join(FILE);
        let error = |why: String| format!("{} is not used: {why}", path.display());
        let mut text = Vec::new();
        match File::open(&path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut text)) {
            Err(missing) if missing.kind() == ErrorKind::NotFound => return Ok(Earlier::default()),
            Err(failed) => return Err(error(failed.to_string())),
            Ok(_) if text.len() as u64 > MAX_BYTES => return Err(error("it is too long".into())),
            Ok(_) => {}
        }
        Earlier::decode(&text).map_err(error)
    }

    fn decode(text: &[u8]) -> Result<Earlier, String> {
        let Contents { format, stretches } = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        if format != FORMAT {
            return Err(format!("format {format}, not {FORMAT}"));
        }
        let digest = |text: &String| ledger::hex::decode::<32>(text).is_some();
        let good = stretches.iter().all(|s| 0 < s.from && s.from <= s.to && digest(&s.root) && digest(&s.engine));
        if !good || stretches.windows(2).any(|pair| pair[0].to >= pair[1].from) {
            return Err("it is damaged".into());
        }
        let earlier = Earlier { stretches, sees: false };
        if earlier.encode() != text { Err("it is damaged".into()) } else { Ok(earlier) }
    }

    fn encode(&self) -> Vec<u8> {
        let contents = Contents { format: FORMAT, stretches: self.stretches.clone() };
        let mut text = serde_json::to_vec(&contents).expect("strings and numbers can be written");
        text.push(b'\n');
        text
    }

    /// Writes the file, whole or not at all.
    pub fn save(&self, dir: &Path) -> Result<(), Failed> {
        let path = dir.join(FILE);
        let unable = |error: std::io::Error| Failed::unable(format!("{}: {error}", path.display()));
        let mut file = tempfile::NamedTempFile::new_in(dir).map_err(unable)?;
        file.write_all(&self.encode()).and_then(|()| file.as_file().sync_all()).map_err(unable)?;
        let kept: PathBuf = file.into_temp_path().keep().map_err(|error| unable(error.error))?;
        fs::rename(kept, &path).map_err(unable)
    }

    /// Counts only what was executed with the ledger secret from now on.
    pub fn with_secret(mut self) -> Earlier {
        self.sees = true;
        self
    }

    /// The stretch that begins with a transaction, if this build has executed it, with no less than is there now.
    pub fn from(&self, seqno: u64) -> Option<&Stretch> {
        let at = self.stretches.binary_search_by_key(&seqno, |stretch| stretch.from).ok()?;
        self.stretches.get(at).filter(|stretch| stretch.engine == sandbox::ENGINE && !(self.sees && stretch.blind))
    }

    /// Forgets what ends at or behind a transaction.
    pub fn forget_from(&mut self, seqno: u64) {
        self.stretches.retain(|stretch| stretch.to < seqno);
    }

    /// Adds a stretch, in place of those that overlap it.
    pub fn add(&mut self, stretch: Stretch) {
        self.stretches.retain(|other| other.to < stretch.from || stretch.to < other.from);
        let at = self.stretches.partition_point(|other| other.from < stretch.from);
        self.stretches.insert(at, stretch);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_read_strictly() {
        let dir = tempfile::tempdir().expect("a folder");
        assert_eq!(Earlier::load(dir.path()), Ok(Earlier::default()));
        let mut earlier = Earlier::default();
        for (from, to) in [(11, 20), (1, 10), (21, 30), (11, 20)] {
            earlier.add(Stretch::new(from, to, &[7; 32], from == 11));
        }
        earlier.save(dir.path()).expect("written");
        assert_eq!(Earlier::load(dir.path()), Ok(earlier.clone()));
        assert_eq!(earlier.from(11).map(|stretch| stretch.to), Some(20));
        assert_eq!(earlier.from(12), None);
        let seeing = earlier.clone().with_secret();
        assert_eq!((seeing.from(1).map(|stretch| stretch.to), seeing.from(11)), (Some(10), None));
        let good = fs::read(dir.path().join(FILE)).expect("a file");
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            // A changed digit of a digest is another digest; everything else is noticed.
            let read = Earlier::decode(&bad);
            assert!(read.is_err() || read.is_ok_and(|read| read != earlier), "{at}");
        }
        assert!(Earlier::decode(&good[..good.len() - 1]).is_err());
        earlier.forget_from(20);
        assert_eq!((earlier.from(1).map(|stretch| stretch.to), earlier.from(11)), (Some(10), None));
    }
}
