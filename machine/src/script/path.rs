//! Paths of the files archive.

use super::files::Refusal;

/// The longest path, in bytes, after decoding.
pub const MAX_PATH_BYTES: usize = 1024;

/// A path, decoded and normalised: absolute, without `.`, `..`, empty segments or a slash at the end (the root is empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    text: String,
    /// The caller wrote a slash at the end.
    pub trailing_slash: bool,
}

impl Path {
    /// Reads what a script gave. `..` stops at the root: no path leaves the archive.
    pub fn parse(raw: &str) -> Result<Path, Refusal> {
        let decoded = decode_uri_component(raw).ok_or_else(|| Refusal::new("URIError", "URI malformed"))?;
        if !decoded.chars().all(is_allowed) {
            return Err(Refusal::new("InvalidPathError", "Path contains invalid characters"));
        }
        let mut segments: Vec<&str> = Vec::new();
        for segment in decoded.split('/') {
            match segment {
                "" | "." => {}
                ".." => {
                    segments.pop();
                }
                name => segments.push(name),
            }
        }
        let text: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        if text.len() > MAX_PATH_BYTES {
            return Err(Refusal::new("InvalidPathError", "Path is too long"));
        }
        Ok(Path { text, trailing_slash: decoded.ends_with('/') })
    }

    /// The key in the archive; empty for the root.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `/`
    pub fn is_root(&self) -> bool {
        self.text.is_empty()
    }

    /// The folder that it stands in; `None` for the root.
    pub fn parent(&self) -> Option<&str> {
        self.text.rfind('/').map(|slash| &self.text[..slash])
    }
}

/// As in DatArchive, `/^[a-z0-9-._~!$&'()*+,;=:@/\s]+$/i`, and every letter beyond ASCII.
fn is_allowed(c: char) -> bool {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => true,
        '\t'..='\r' | ' ' => true,
        _ if c.is_ascii() => "-._~!$&'()*+,;=:@/".contains(c),
        _ => !c.is_control(),
    }
}

/// `decodeURIComponent`; `None` where that throws.
fn decode_uri_component(raw: &str) -> Option<String> {
    if !raw.contains('%') {
        return Some(raw.to_owned());
    }
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte == b'%' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            if !hex.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                return None;
            }
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(byte);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_and_never_leaves_the_archive() {
        for (raw, path) in [
            ("counter", "/counter"),
            ("/a//b/./c/../d", "/a/b/d"),
            ("../../../etc/passwd", "/etc/passwd"),
            ("/%2e%2e/x", "/x"),
            ("/a%2Fb", "/a/b"),
            ("/größe/日本", "/größe/日本"),
            ("/", ""),
            ("", ""),
        ] {
            assert_eq!(Path::parse(raw).expect(raw).as_str(), path, "{raw}");
        }
        for (raw, name) in [
            ("/a%", "URIError"),
            ("/%ff", "URIError"),
            ("/%+1", "URIError"),
            ("/a`b", "InvalidPathError"),
            ("/a\0", "InvalidPathError"),
        ] {
            assert_eq!(Path::parse(raw).expect_err(raw).name, name, "{raw}");
        }
    }
}
