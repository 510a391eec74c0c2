//! The files archive in its map: one row for each file and folder.
//!
//! ```text
//! key    the path: `/photos/a.jpg`; the root has no row
//! value  u8 kind: 0 folder, 1 file · u48 LE created · u48 LE modified (milliseconds since 1970) · the content
//! ```
//!
//! Every archive has `/dat.json`, which says its address and title. Scripts read it; only the first transaction writes it.
//!
//! Its *version* counts the changes: each row that a transaction writes or removes is one, in the order of the paths.

use ledger::MapWrites;
use std::borrow::Cow;

/// The file that every archive begins with.
pub const MANIFEST_PATH: &str = "/dat.json";

/// Bytes in front of the content.
pub const HEADER_BYTES: usize = 1 + TIME_BYTES + TIME_BYTES;

/// Bytes of a time: enough until the year 10889.
const TIME_BYTES: usize = 6;

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    /// `None` for a folder.
    pub content: Option<Cow<'a, [u8]>>,
    /// Milliseconds since 1970 at which it was made.
    pub created_ms: u64,
    /// Milliseconds since 1970 at which it was last written.
    pub modified_ms: u64,
}

impl<'a> Entry<'a> {
    /// The value for the map.
    pub fn encode(&self) -> Vec<u8> {
        let content = self.content.as_deref().unwrap_or_default();
        let mut value = Vec::with_capacity(HEADER_BYTES + content.len());
        value.push(u8::from(self.content.is_some()));
        value.extend_from_slice(&self.created_ms.to_le_bytes()[..TIME_BYTES]);
        value.extend_from_slice(&self.modified_ms.to_le_bytes()[..TIME_BYTES]);
        value.extend_from_slice(content);
        value
    }

    /// Reads a value; `None` if it is none.
    pub fn decode(value: &'a [u8]) -> Option<Entry<'a>> {
        let (&kind, rest) = value.split_first()?;
        let (created, rest) = rest.split_first_chunk::<TIME_BYTES>()?;
        let (modified, content) = rest.split_first_chunk::<TIME_BYTES>()?;
        let time = |bytes: &[u8; TIME_BYTES]| bytes.iter().rev().fold(0, |time, &byte| time << 8 | u64::from(byte));
        let content = match kind {
            0 if content.is_empty() => None,
            1 => Some(Cow::Borrowed(content)),
            _ => return None,
        };
        Some(Entry { content, created_ms: time(created), modified_ms: time(modified) })
    }

    /// True for a folder.
    pub fn is_folder(&self) -> bool {
        self.content.is_none()
    }

    /// Bytes of content.
    pub fn size(&self) -> usize {
        self.content.as_deref().map_or(0, <[u8]>::len)
    }

    /// For a person: the content, shortened, and when it was written.
    pub fn describe(&self, chars: usize) -> String {
        match &self.content {
            None => format!("a folder of {}", self.modified_ms),
            Some(content) => {
                let text = String::from_utf8_lossy(content);
                let short = text.char_indices().nth(chars).map_or(&*text, |(end, _)| &text[..end]);
                format!("{short:?} ({} bytes, of {})", content.len(), self.modified_ms)
            }
        }
    }
}

/// The row of [`MANIFEST_PATH`].
pub fn manifest(files_key: &str, title: &str) -> Vec<u8> {
    let text = serde_json::json!({ "url": format!("hyper://{files_key}"), "title": title }).to_string();
    Entry { content: Some(Cow::Owned(text.into_bytes())), created_ms: 0, modified_ms: 0 }.encode()
}

/// The key of a path that a script gave, if it is one.
pub fn path_of(text: &str) -> Option<String> {
    super::path::Path::parse(text).ok().map(|path| path.as_str().to_owned())
}

/// The changes of a write set in the order of the paths: the path, and whether it was written.
pub fn changes(writes: &MapWrites) -> Vec<(&[u8], bool)> {
    let mut changes: Vec<(&[u8], bool)> = writes.writes.keys().map(|key| (key.as_slice(), true)).collect();
    changes.extend(writes.removes.iter().map(|key| (key.as_slice(), false)));
    changes.sort_unstable();
    changes
}
