//! The chunked transfer coding, decoded while it arrives, without I/O.
//!
//! ```text
//! size (hexadecimal) [";" extension] CR LF  data CR LF        for each chunk
//! "0" [";" extension] CR LF  [name ":" value CR LF]*  CR LF
//! ```
//!
//! Extensions and trailers are ignored, but what they are made of is checked like all the rest.

use super::Limits;
use super::head;
use super::refusal::Refusal;

/// Bytes of a line with a chunk's size.
const SIZE_LINE_BYTES: usize = 256;

/// Digits of a chunk's size.
const SIZE_DIGITS: usize = 8;

/// Bytes of all trailers.
const TRAILER_BYTES: usize = 4 << 10;

/// A body in chunks.
#[derive(Debug)]
pub(super) struct Chunked {
    expects: Expects,
    body: Vec<u8>,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    Size,
    Data(usize),
    DataEnd,
    Trailer,
    Nothing,
}

impl Chunked {
    pub(super) fn new() -> Self {
        Chunked { expects: Expects::Size, body: Vec::new(), trailer_bytes: 0 }
    }

    /// Takes what it can of `bytes` and tells how much that was. The rest must come again with more behind it.
    pub(super) fn feed(&mut self, bytes: &[u8], limits: &Limits) -> Result<usize, Refusal> {
        let mut used = 0;
        loop {
            let rest = &bytes[used..];
            match self.expects {
                Expects::Size => {
                    let malformed = Refusal::Malformed("The line with a chunk's size is too long.");
                    let Some((line, taken)) = line(rest, SIZE_LINE_BYTES, malformed)? else { return Ok(used) };
                    let size = size(line)?;
                    if size > limits.body_bytes - self.body.len() {
                        return Err(Refusal::BodyTooLarge(limits.body_bytes));
                    }
                    used += taken;
                    self.expects = if size == 0 { Expects::Trailer } else { Expects::Data(size) };
                }
                Expects::Data(left) => {
                    let taken = left.min(rest.len());
                    self.body.extend_from_slice(&rest[..taken]);
                    used += taken;
                    if taken < left {
                        self.expects = Expects::Data(left - taken);
                        return Ok(used);
                    }
                    self.expects = Expects::DataEnd;
                }
                Expects::DataEnd => {
                    if !b"\r\n".starts_with(&rest[..rest.len().min(2)]) {
                        return Err(Refusal::Malformed("A chunk is longer than its size."));
                    }
                    if rest.len() < 2 {
                        return Ok(used);
                    }
                    used += 2;
                    self.expects = Expects::Size;
                }
                Expects::Trailer => {
                    let too_large = Refusal::HeaderTooLarge(TRAILER_BYTES);
                    let Some((line, taken)) = line(rest, TRAILER_BYTES - self.trailer_bytes, too_large)? else {
                        return Ok(used);
                    };
                    used += taken;
                    self.trailer_bytes += taken;
                    if line.is_empty() {
                        self.expects = Expects::Nothing;
                    } else {
                        head::header(line)?;
                    }
                }
                Expects::Nothing => return Ok(used),
            }
        }
    }

    /// Bytes of the body so far.
    pub(super) fn len(&self) -> usize {
        self.body.len()
    }

    /// The body when it is complete.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        (self.expects == Expects::Nothing).then(|| std::mem::take(&mut self.body))
    }
}

/// The first line without its end, and its length with it, unless it is incomplete.
fn line(bytes: &[u8], limit: usize, too_long: Refusal) -> Result<Option<(&[u8], usize)>, Refusal> {
    let window = &bytes[..bytes.len().min(limit)];
    match window.iter().position(|byte| *byte == b'\n') {
        None if window.len() == limit => Err(too_long),
        None => Ok(None),
        Some(at) if at > 0 && window[at - 1] == b'\r' => Ok(Some((&window[..at - 1], at + 1))),
        Some(_) => Err(Refusal::Malformed("A line ends with LF instead of CRLF.")),
    }
}

fn size(line: &[u8]) -> Result<usize, Refusal> {
    let end = line.iter().position(|byte| *byte == b';').unwrap_or(line.len());
    let (digits, extension) = line.split_at(end);
    if digits.is_empty() || digits.len() > SIZE_DIGITS || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Refusal::Malformed("Invalid character in chunk size."));
    }
    if !extension.iter().all(|byte| byte.is_ascii_graphic() || b" \t".contains(byte)) {
        return Err(Refusal::Malformed("Invalid character in a chunk's extension."));
    }
    let digit = |byte: &u8| char::from(*byte).to_digit(16).expect("a hexadecimal digit") as usize;
    Ok(digits.iter().fold(0, |size, byte| size << 4 | digit(byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(bytes: &[u8], step: usize) -> Result<Option<(Vec<u8>, usize)>, Refusal> {
        let limits = Limits { body_bytes: 20, ..Limits::default() };
        let (mut chunked, mut used, mut end) = (Chunked::new(), 0, 0);
        while end < bytes.len() {
            end = bytes.len().min(end + step);
            used += chunked.feed(&bytes[used..end], &limits)?;
            if let Some(body) = chunked.take() {
                return Ok(Some((body, used)));
            }
        }
        Ok(None)
    }

    fn check(bytes: &[u8], expected: Result<Option<(&[u8], usize)>, Refusal>) {
        for step in 1..=bytes.len() {
            let got = decode(bytes, step);
            let got = got.as_ref().map(|some| some.as_ref().map(|(body, rest)| (&body[..], *rest)));
            assert_eq!(got, expected.as_ref().map(|some| *some), "{:?} by {step}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn well_formed_chunks_in_any_pieces() {
        check(b"0\r\n\r\n", Ok(Some((b"", 5))));
        check(b"5\r\nhello\r\n00A;a=\"b c\"\r\n0123456789\r\n0\r\nx: y\r\n\r\nGET", Ok(Some((b"hello0123456789", 46))));
        check(b"5\r\nhel", Ok(None));
        check(b"5\r\nhello\r\n0\r\n", Ok(None));
    }

    #[test]
    fn everything_else_is_refused() {
        let bad = |bytes: &[u8], reason| check(bytes, Err(Refusal::Malformed(reason)));
        for line in ["", "x", "5 ", " 5", "+5", "-1", "0x5", "5\r", "5g", "5,", "123456789", "ffffffffffffffffffff", "5_0"] {
            bad(format!("{line}\r\nhello\r\n0\r\n\r\n").as_bytes(), "Invalid character in chunk size.");
        }
        bad(b"5\nhello\r\n0\r\n\r\n", "A line ends with LF instead of CRLF.");
        bad(b"5;\x00\r\nhello\r\n0\r\n\r\n", "Invalid character in a chunk's extension.");
        bad(b"5;a\rb\r\nhello\r\n0\r\n\r\n", "Invalid character in a chunk's extension.");
        bad(b"5\r\nhello!\r\n0\r\n\r\n", "A chunk is longer than its size.");
        bad(b"5\r\nhello\n0\r\n\r\n", "A chunk is longer than its size.");
        bad(b"0\r\nx\r\n\r\n", "A header has no colon.");
        bad(b"0\r\nx : y\r\n\r\n", "Invalid character in a header's name.");
        bad(format!("5;{}\r\nhello\r\n", "x".repeat(SIZE_LINE_BYTES)).as_bytes(), "The line with a chunk's size is too long.");
        check(b"15\r\n", Err(Refusal::BodyTooLarge(20)));
        check(b"14\r\n01234567890123456789\r\n1\r\n", Err(Refusal::BodyTooLarge(20)));
        check(format!("0\r\n{}", "x: y\r\n".repeat(1000)).as_bytes(), Err(Refusal::HeaderTooLarge(TRAILER_BYTES)));
    }
}
