//! `glassbox files`: reads the files archive of a backend.

use crate::Failed;
use crate::address::{Address, Place};
use crate::download::{agent, chunks_of, get};
use ledger::{Dir, Reader};
use machine::maps;
use machine::script::archive::Entry;
use server::http::{FileEntry, TRANSACTION_HEADER};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Read the files archive of a backend.
#[derive(clap::Args)]
#[command(override_usage = "glassbox files <URL|DIR> [PATH]
       glassbox files <URL|DIR> ls [PATH]
       glassbox files <URL|DIR> cat <PATH>
       glassbox files <URL|DIR> get [--force] <PATH> [DEST]")]
pub struct Args {
    /// The backend (HOST:PORT[/MOUNT], ws://… or http://…) or its directory.
    #[arg(value_name = "URL|DIR")]
    place: String,
    /// `ls` lists a folder, `cat` prints a file, `get` saves a file [default: ls /].
    #[arg(value_name = "ls|cat|get, PATH")]
    words: Vec<String>,
    /// With `get`: overwrite a file that exists.
    #[arg(short, long)]
    force: bool,
}

/// Bytes of a file.
const MAX_FILE_BYTES: u64 = 4 << 30;

/// Bytes of the listing of a folder.
const MAX_FOLDER_BYTES: u64 = 256 << 20;

enum What {
    List,
    Print,
    Save(Option<PathBuf>),
}

enum Found {
    File(Vec<u8>),
    Folder(Vec<FileEntry>),
}

pub fn run(args: Args) -> Result<(), Failed> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    let (what, path) = match words[..] {
        [] | ["ls"] => (What::List, "/"),
        ["ls", path] => (What::List, path),
        ["cat", path] => (What::Print, path),
        ["get", path] => (What::Save(None), path),
        ["get", path, dest] => (What::Save(Some(dest.into())), path),
        ["cat" | "get"] => return Err(Failed::unable("which file? Give its path in the archive")),
        [path] => (What::List, path),
        _ => return Err(Failed::unable(format!("expected ls, cat or get and a path, not: {}", words.join(" ")))),
    };
    if args.force && !matches!(what, What::Save(_)) {
        return Err(Failed::unable("--force goes with get"));
    }
    let place = Place::parse(&args.place)?;
    let path = normal(path);
    let found = match &place {
        Place::Url(address) => fetch(address, &path)?,
        Place::Dir(dir) => look(&rows(dir)?, &path)?,
    };
    let shown = if path.is_empty() { "/" } else { &path };
    match (found.ok_or_else(|| Failed::new(format!("{shown}: no such file or folder")))?, what) {
        (Found::Folder(entries), What::List) => print(list(&entries).as_bytes()),
        (Found::Folder(_), _) => Err(Failed::new(format!("{shown} is a folder"))),
        (Found::File(content), What::List) => {
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            print(list(&[FileEntry { name, kind: "file".into(), size: content.len(), modified: 0 }]).as_bytes())
        }
        (Found::File(content), What::Print) => print(&content),
        (Found::File(content), What::Save(dest)) => save(&content, &path, dest, args.force),
    }
}

/// The key of a path: absolute, without a slash at the end; the root is empty.
fn normal(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            name => segments.push(name),
        }
    }
    segments.iter().flat_map(|segment| ["/", segment]).collect()
}

/// Asks a backend.
fn fetch(address: &Address, path: &str) -> Result<Option<Found>, Failed> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    let escaped: String =
        path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
    let url = address.http(&format!("/files{}", if escaped.is_empty() { "/" } else { &escaped }));
    let unable = |error: &dyn std::fmt::Display| Failed::unable(format!("{url}: {error}"));
    let Some(mut response) = get(&agent(), &url)? else { return Ok(None) };
    let is_folder = response.body().mime_type() == Some("application/json");
    if !is_folder && !response.headers().contains_key(TRANSACTION_HEADER) {
        return Err(unable(&"it is no Glassbox backend"));
    }
    let max = if is_folder { MAX_FOLDER_BYTES } else { MAX_FILE_BYTES };
    let content = response.body_mut().with_config().limit(max).read_to_vec().map_err(|error| unable(&error))?;
    if !is_folder {
        return Ok(Some(Found::File(content)));
    }
    let entries = serde_json::from_slice(&content).map_err(|error| unable(&error))?;
    Ok(Some(Found::Folder(entries)))
}

/// What the transactions in a directory add up to.
fn rows(dir: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>, Failed> {
    let chunks = chunks_of(dir)?;
    let unreadable = |error: &dyn std::fmt::Display| Failed::new(format!("{}: {error}", chunks.display()));
    let storage = Dir::open(&chunks).map_err(|error| unreadable(&error))?;
    let mut rows = BTreeMap::new();
    for located in Reader::open(&storage).map_err(|error| unreadable(&error))? {
        let located = located.map_err(|error| unreadable(&error))?;
        if let Some(files) = located.transaction.public().maps.get(maps::FILES) {
            for removed in &files.removes {
                rows.remove(removed);
            }
            rows.extend(files.writes.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    Ok(rows)
}

fn look(rows: &BTreeMap<Vec<u8>, Vec<u8>>, path: &str) -> Result<Option<Found>, Failed> {
    let entry = |value| Entry::decode(value).ok_or_else(|| Failed::new("the archive holds a row that cannot be read"));
    if !path.is_empty() {
        let Some(row) = rows.get(path.as_bytes()) else { return Ok(None) };
        if let Some(content) = entry(row)?.content {
            return Ok(Some(Found::File(content.into_owned())));
        }
    }
    let below = format!("{path}/");
    let mut entries = Vec::new();
    for (key, value) in rows.range(below.clone().into_bytes()..).take_while(|(key, _)| key.starts_with(below.as_bytes())) {
        let name = String::from_utf8_lossy(&key[below.len()..]).into_owned();
        if name.contains('/') {
            continue;
        }
        let entry = entry(value)?;
        let kind = if entry.is_folder() { "folder" } else { "file" };
        entries.push(FileEntry { name, kind: kind.into(), size: entry.size(), modified: entry.modified_ms });
    }
    Ok(Some(Found::Folder(entries)))
}

/// One line for each entry: kind, bytes, name.
fn list(entries: &[FileEntry]) -> String {
    let size = |entry: &FileEntry| if entry.kind == "file" { entry.size.to_string() } else { "-".into() };
    let width = entries.iter().map(|entry| size(entry).len()).max().unwrap_or(0);
    let mut lines = String::new();
    for entry in entries {
        let name: String =
            entry.name.chars().map(|c| if c.is_control() { c.escape_default().to_string() } else { c.into() }).collect();
        let slash = if entry.kind == "file" { "" } else { "/" };
        lines += &format!("{:<6}  {:>width$}  {name}{slash}\n", entry.kind, size(entry));
    }
    lines
}

fn print(content: &[u8]) -> Result<(), Failed> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(content).and_then(|()| stdout.flush()) {
        // Nobody reads any more.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written.map_err(|error| Failed::new(format!("stdout: {error}"))),
    }
}

fn save(content: &[u8], path: &str, dest: Option<PathBuf>, force: bool) -> Result<(), Failed> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let dest = match dest {
        None => PathBuf::from(name),
        Some(dest) if dest.is_dir() => dest.join(name),
        Some(dest) => dest,
    };
    let mut options = OpenOptions::new();
    options.write(true);
    let options = if force { options.create(true).truncate(true) } else { options.create_new(true) };
    let written = options.open(&dest).and_then(|mut file| file.write_all(content));
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failed::new(format!("{} exists already; --force overwrites it", dest.display())),
        _ => Failed::new(format!("{}: {error}", dest.display())),
    })?;
    println!("{}  {} bytes", dest.display(), content.len());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, key) in [("/", ""), ("", ""), ("a", "/a"), ("//a/./b/", "/a/b"), ("/../../a/../b", "/b")] {
            assert_eq!(normal(path), key, "{path}");
        }
    }

    #[test]
    fn a_folder_lists_what_is_in_it() {
        let file = |text: &str| Entry { content: Some(text.as_bytes().into()), created_ms: 1, modified_ms: 2 }.encode();
        let folder = Entry { content: None, created_ms: 1, modified_ms: 1 }.encode();
        let rows: BTreeMap<Vec<u8>, Vec<u8>> =
            [("/a", folder.clone()), ("/a!", file("x")), ("/a/b", file("12345678901")), ("/a/c", folder), ("/a/c/d", file(""))]
                .map(|(key, value)| (key.into(), value))
                .into();
        let listed = |path: &str| match look(&rows, path).expect("readable") {
            Some(Found::Folder(entries)) => list(&entries),
            Some(Found::File(content)) => format!("{content:?}"),
            None => "none".into(),
        };
        assert_eq!(listed(""), "folder  -  a/\nfile    1  a!\n");
        assert_eq!(listed("/a"), "file    11  b\nfolder   -  c/\n");
        assert_eq!(listed("/a!"), "[120]");
        assert_eq!(listed("/b"), "none");
    }
}
