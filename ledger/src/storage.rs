//! Storage: the few things that a ledger does to a folder. One trait, so that a test can crash, tear and flip between
//! any two of them.
//!
//! Invariants that a ledger relies on: after [`Storage::sync`] the bytes of the file survive a crash; after
//! [`Storage::sync_dir`] so do names. Before that, a write may be lost, or only its first part be there.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// A folder of files.
pub trait Storage {
    /// The names of the files.
    fn list(&self) -> io::Result<BTreeSet<String>>;

    /// All bytes of a file.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// Some bytes of a file; fewer, when it ends before.
    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>>;

    /// The length of a file in bytes.
    fn len(&self, name: &str) -> io::Result<u64>;

    /// Writes at an offset. A file that does not exist is created when the offset is 0, and only then.
    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts a file.
    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()>;

    /// Makes the bytes of a file durable.
    fn sync(&mut self, name: &str) -> io::Result<()>;

    /// Gives a file another name.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;

    /// Makes the names of files durable.
    fn sync_dir(&mut self) -> io::Result<()>;
}

/// A folder of the file system. The file that was written last is kept open.
#[derive(Debug)]
pub struct Dir {
    path: PathBuf,
    open: Option<(String, File)>,
}

impl Dir {
    /// A folder, which is created when it does not exist.
    pub fn create(path: &Path) -> io::Result<Dir> {
        if !path.is_dir() {
            fs::create_dir_all(path)?;
            if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
                File::open(parent)?.sync_all()?;
            }
        }
        Dir::open(path)
    }

    /// A folder that exists.
    pub fn open(path: &Path) -> io::Result<Dir> {
        fs::read_dir(path)?;
        Ok(Dir { path: path.to_owned(), open: None })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn file(&mut self, name: &str, create: bool) -> io::Result<&File> {
        if self.open.as_ref().is_none_or(|(open, _)| open != name) {
            self.open = None;
            let file = OpenOptions::new().write(true).create(create).open(self.path.join(name))?;
            self.open = Some((name.to_owned(), file));
        }
        let (_, file) = self.open.as_ref().expect("opened above");
        Ok(file)
    }
}

impl Storage for Dir {
    fn list(&self) -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.insert(name);
            }
        }
        Ok(names)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        fs::read(self.path.join(name))
    }

    fn read_at(&self, name: &str, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let file = File::open(self.path.join(name))?;
        let there = file.metadata()?.len().saturating_sub(offset).min(len as u64);
        let mut bytes = vec![0; there as usize];
        file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn len(&self, name: &str) -> io::Result<u64> {
        Ok(fs::metadata(self.path.join(name))?.len())
    }

    fn write_at(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file(name, offset == 0)?.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, name: &str, len: u64) -> io::Result<()> {
        self.file(name, false)?.set_len(len)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.file(name, false)?.sync_data()
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.open = None;
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn sync_dir(&mut self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }
}
