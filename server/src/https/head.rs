//! A request's head: bytes to [`Head`], without I/O.
//!
//! ```text
//! method SP target SP HTTP/1.1 CR LF
//! name ":" [SP|HTAB]* value [SP|HTAB]* CR LF        for each header
//! CR LF
//! ```
//!
//! # Invariants
//!
//! - A line ends with CR LF. Neither of the two occurs elsewhere, nor does any other control character but a tab in a value.
//! - The length of the body is told in one way only, or there is none.

use super::Limits;
use super::refusal::Refusal;

/// How the body is delimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// So many bytes; 0 when nothing is said.
    Length(usize),
    /// Chunks.
    Chunked,
}

/// A head that can be read in one way only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
    pub(super) keep_alive: bool,
    /// It is HTTP/1.0, whose clients must be told that the connection stays.
    pub(super) old: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub(super) waits: bool,
}

/// Finds the end of a head while it arrives. Looks at each byte once.
#[derive(Debug, Default)]
pub(super) struct Scan {
    seen: usize,
}

impl Scan {
    /// The length of the head when it is complete. `bytes` has the ones of the last call and more.
    pub(super) fn end(&mut self, bytes: &[u8], limits: &Limits) -> Result<Option<usize>, Refusal> {
        let window = &bytes[..bytes.len().min(limits.head_bytes)];
        if self.seen == 0 && !window.is_empty() && !is_token_byte(window[0]) {
            // TLS on a plain port, among others: it need not wait for a line's end.
            return Err(Refusal::Malformed("Invalid method."));
        }
        while let Some(found) = window[self.seen..].iter().position(|byte| *byte == b'\n') {
            let at = self.seen + found;
            self.seen = at + 1;
            if at == 0 || window[at - 1] != b'\r' {
                return Err(Refusal::Malformed("A line ends with LF instead of CRLF."));
            }
            if at >= 3 && window[at - 2] == b'\n' {
                return Ok(Some(at + 1));
            }
        }
        self.seen = window.len();
        if window.len() == limits.head_bytes { Err(Refusal::HeaderTooLarge(limits.head_bytes)) } else { Ok(None) }
    }
}

/// Reads a complete head, as [`Scan`] delimits it.
pub(super) fn parse(bytes: &[u8], limits: &Limits) -> Result<Head, Refusal> {
    let mut lines = Lines(bytes);
    let line = lines.next().unwrap_or_default();
    if line.len() > limits.header_bytes {
        return Err(Refusal::HeaderTooLarge(limits.header_bytes));
    }
    let (method, target, old) = request_line(line)?;
    let mut headers: Vec<(String, String)> = Vec::with_capacity(16);
    let mut count = 0;
    let mut framing = None;
    let mut expects = false;
    for line in lines {
        if line.is_empty() {
            break;
        }
        count += 1;
        if count > limits.headers {
            return Err(Refusal::TooManyHeaders(limits.headers));
        }
        if line.len() > limits.header_bytes {
            return Err(Refusal::HeaderTooLarge(limits.header_bytes));
        }
        let (name, value) = header(line)?;
        match headers.iter_mut().find(|(known, _)| *known == name) {
            Some((_, _)) if matches!(&name[..], "content-length" | "transfer-encoding") => {
                return Err(Refusal::Malformed("The length of the body is told more than once."));
            }
            Some((_, _)) if name == "host" => return Err(Refusal::Malformed("More than one Host header.")),
            Some((_, values)) => {
                values.push_str(", ");
                values.push_str(value);
                continue;
            }
            None => {}
        }
        match &name[..] {
            "content-length" | "transfer-encoding" if framing.is_some() => {
                return Err(Refusal::Malformed("Content-Length and Transfer-Encoding together."));
            }
            "content-length" => framing = Some(Framing::Length(content_length(value, limits)?)),
            "transfer-encoding" if old => return Err(Refusal::Malformed("Transfer-Encoding in HTTP/1.0.")),
            "transfer-encoding" if value == "chunked" => framing = Some(Framing::Chunked),
            "transfer-encoding" => return Err(Refusal::Malformed("Invalid Transfer-Encoding header value.")),
            "host" if !value.bytes().all(is_host_byte) => return Err(Refusal::Malformed("Invalid Host header value.")),
            "expect" if !old => expects = true,
            _ => {}
        }
        headers.push((name, value.to_owned()));
    }
    let find = |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| &value[..]);
    if !old && find("host").is_none() {
        return Err(Refusal::Malformed("No Host header."));
    }
    let framing = framing.unwrap_or(Framing::Length(0));
    if expects && !find("expect").unwrap_or_default().eq_ignore_ascii_case("100-continue") {
        return Err(Refusal::Expectation);
    }
    let connection = |wanted: &str| {
        find("connection").is_some_and(|value| value.split(',').any(|option| option.trim().eq_ignore_ascii_case(wanted)))
    };
    let keep_alive = !connection("close") && (!old || connection("keep-alive"));
    Ok(Head {
        method: method.to_owned(),
        target: target.to_owned(),
        framing,
        keep_alive,
        old,
        waits: expects && framing != Framing::Length(0),
        headers,
    })
}

/// The lines of bytes in which [`Scan`] has found no lone LF, without their ends.
struct Lines<'a>(&'a [u8]);

impl<'a> Iterator for Lines<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let line = &self.0[..end.saturating_sub(1)];
        self.0 = &self.0[end + 1..];
        Some(line)
    }
}

/// Method, target, and whether it is HTTP/1.0.
fn request_line(line: &[u8]) -> Result<(&str, &str, bool), Refusal> {
    let malformed = Refusal::Malformed;
    let mut parts = line.split(|byte| *byte == b' ');
    let method = parts.next().unwrap_or_default();
    if method.is_empty() || !method.iter().copied().all(is_token_byte) {
        return Err(malformed("Invalid method."));
    }
    let target = parts.next().ok_or(malformed("The request line has no target."))?;
    if !target.iter().all(u8::is_ascii_graphic) {
        return Err(malformed("Invalid character in the target."));
    }
    let version = parts.next().ok_or(malformed("The request line has no HTTP version."))?;
    if parts.next().is_some() {
        return Err(malformed("The request line has more than three parts."));
    }
    let old = match version {
        b"HTTP/1.1" => false,
        b"HTTP/1.0" => true,
        _ => return Err(malformed("Invalid HTTP version: 1.1 is expected.")),
    };
    if target.first() != Some(&b'/') || target.contains(&b'#') {
        return Err(malformed("Invalid target: a path with an optional query is expected."));
    }
    Ok((ascii(method), ascii(target), old))
}

/// A header's name, lower-cased, and its value, trimmed.
pub(super) fn header(line: &[u8]) -> Result<(String, &str), Refusal> {
    let malformed = Refusal::Malformed;
    if matches!(line.first(), Some(b' ' | b'\t')) {
        return Err(malformed("A header is continued on the next line."));
    }
    let colon = line.iter().position(|byte| *byte == b':').ok_or(malformed("A header has no colon."))?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.is_empty() || !name.iter().copied().all(is_token_byte) {
        return Err(malformed("Invalid character in a header's name."));
    }
    // What `trim_ascii` takes away beyond spaces and tabs would have been refused as well.
    if line[colon + 1..].iter().any(|byte| byte.is_ascii_control() && *byte != b'\t') {
        return Err(malformed("Invalid character in a header's value."));
    }
    let value = std::str::from_utf8(value).map_err(|_| malformed("A header's value is not UTF-8."))?;
    Ok((ascii(name).to_ascii_lowercase(), value))
}

fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("just found to be ASCII")
}

fn content_length(value: &str, limits: &Limits) -> Result<usize, Refusal> {
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Refusal::Malformed("Invalid Content-Length header value."));
    }
    // Only digits: what does not fit is too large.
    match value.parse() {
        Ok(length) if length <= limits.body_bytes => Ok(length),
        _ => Err(Refusal::BodyTooLarge(limits.body_bytes)),
    }
}

static TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = matches!(byte as u8, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
            || (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    table
};

/// A byte of a method or a header's name.
pub(super) fn is_token_byte(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// A byte of a host with its port.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_of_a_token() {
        let all: Vec<u8> = (0..=255).filter(|byte| is_token_byte(*byte)).collect();
        let expected = "!#$%&'*+-.0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ^_`abcdefghijklmnopqrstuvwxyz|~";
        assert_eq!(String::from_utf8(all).unwrap(), expected);
    }

    type Headers<Value> = Vec<(String, Value)>;

    /// The head as another parser reads it: method, target, and the headers one by one.
    fn other(bytes: &[u8]) -> Option<(String, String, Headers<Vec<u8>>)> {
        let mut headers = [httparse::EMPTY_HEADER; 300];
        let mut request = httparse::Request::new(&mut headers);
        let httparse::Status::Complete(used) = request.parse(bytes).ok()? else { return None };
        assert_eq!(used, bytes.len());
        let headers = request.headers.iter().map(|header| (header.name.to_ascii_lowercase(), header.value.to_vec())).collect();
        Some((request.method?.to_owned(), request.path?.to_owned(), headers))
    }

    fn joined(headers: Headers<Vec<u8>>) -> Headers<String> {
        let mut joined: Headers<String> = Vec::new();
        for (name, value) in headers {
            let value = String::from_utf8(value.trim_ascii().to_vec()).unwrap();
            match joined.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => *values = format!("{values}, {value}"),
                None => joined.push((name, value)),
            }
        }
        joined
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, ..ProptestConfig::default() })]

        /// What is accepted here, others accept too and read in the same way.
        #[test]
        fn no_other_reading(
            head in "(GET|POST|X-y) /[!-~]{0,9} HTTP/1\\.[01]\r\nHost: h\r\n([a-cA-C!]{1,2}:[ \t!-~\u{e4}]{0,9}\r\n){0,5}(Content-Length: 5\r\n|Transfer-Encoding: chunked\r\n){0,2}\r\n",
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        ) {
            let mut bytes = head.into_bytes();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            let limits = Limits::default();
            let mut scan = Scan::default();
            if let Ok(Some(end)) = scan.end(&bytes, &limits)
                && let Ok(head) = parse(&bytes[..end], &limits)
            {
                let (method, target, headers) = other(&bytes[..end]).expect("accepted by the other one");
                prop_assert_eq!((head.method, head.target, head.headers), (method, target, joined(headers)));
            }
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes, &Limits::default());
            let _ = Scan::default().end(&bytes, &Limits::default());
        }
    }
}
