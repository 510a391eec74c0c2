//! Parsing: sources of strangers, with `~.` in them, by a parser that recurses and knows no `~.`.
//!
//! Each `~.` that no digit follows is masked by as many bytes that the parser takes for the same: ` .` before a name, spaces before
//! `(` and `[`. So all positions are those of the original. In strings, comments, templates and regular expressions nothing that
//! counts changes. What the masks stood for is found again by their offsets.
//!
//! # Invariants
//!
//! - No source reaches the parser that nests deeper than [`NESTING_LIMIT`]; it runs on a stack of its own, of [`STACK_BYTES`].
//! - Positions are of the original text: lines and columns from 1, columns in characters.

pub use super::nesting::NESTING_LIMIT;
use super::nesting::{self, Refusal};
use oxc_allocator::Allocator;
use oxc_ast::ast::Program;
use oxc_parser::Parser;
use oxc_span::SourceType;
use std::fmt;

/// Bytes of a source.
pub const SOURCE_BYTES: usize = 64 << 20;

/// The parser's stack: reserved, and touched as deep as a source nests. The deepest sources were seen to take 32 MiB of it; without
/// optimisation the frames are larger.
pub const STACK_BYTES: usize = if cfg!(debug_assertions) { 1 << 30 } else { 128 << 20 };

/// White space and comments that may stand between `~.` and `(` or `[`.
const BLANK_BYTES: usize = 256;

/// Characters of a line that an error shows.
const EXCERPT_CHARS: usize = 80;

/// What a source is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With imports and exports.
    Module,
    /// For `evaluate`.
    Script,
}

/// Why a source is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// From 1.
    pub line: u32,
    /// In characters, from 1.
    pub column: u32,
    /// The line, or what is around the place if it is long.
    pub excerpt: String,
}

impl SyntaxError {
    /// At a byte of a source.
    pub fn at(source: &str, offset: usize, message: impl Into<String>) -> SyntaxError {
        let mut offset = offset.min(source.len());
        while !source.is_char_boundary(offset) {
            offset -= 1;
        }
        let (line, start) = line_of(source, offset);
        let column = source[start..offset].chars().count();
        let rest = &source[start..];
        let end = rest.find(is_line_end).unwrap_or(rest.len());
        let excerpt = rest[..end].chars().skip(column.saturating_sub(EXCERPT_CHARS / 2)).take(EXCERPT_CHARS).collect::<String>();
        let excerpt = excerpt.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned();
        SyntaxError { message: message.into(), line, column: column as u32 + 1, excerpt }
    }
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (line {}, column {}): {}", self.message, self.line, self.column, self.excerpt)
    }
}

impl std::error::Error for SyntaxError {}

pub(super) fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

/// The line of a byte, from 1, and where it begins.
fn line_of(source: &str, offset: usize) -> (u32, usize) {
    let (mut line, mut start) = (1, 0);
    for (at, c) in source[..offset].char_indices().filter(|(_, c)| is_line_end(*c)) {
        start = at + c.len_utf8();
        // CRLF is one.
        line += u32::from(!(c == '\r' && source.as_bytes().get(at + 1) == Some(&b'\n')));
    }
    (line, start)
}

/// A source as the parser gets it, and where the wavy dots were.
pub(crate) struct Masked {
    pub text: String,
    /// Offsets, ascending.
    pub marks: Vec<u32>,
}

/// Whether there may be a wavy dot.
pub(super) fn is_wavy(source: &str) -> bool {
    source.match_indices("~.").any(|(at, _)| !source.as_bytes().get(at + 2).is_some_and(u8::is_ascii_digit))
}

fn mask(source: &str) -> Masked {
    let mut text = source.as_bytes().to_vec();
    let mut marks = Vec::new();
    for (at, _) in source.match_indices("~.") {
        if !source.as_bytes().get(at + 2).is_some_and(u8::is_ascii_digit) {
            let mut end = (at + 2 + BLANK_BYTES).min(source.len());
            while !source.is_char_boundary(end) {
                end -= 1;
            }
            let call = matches!(source.as_bytes().get(blank_end(&source[..end], at + 2)), Some(b'(' | b'['));
            text[at] = b' ';
            text[at + 1] = if call { b' ' } else { b'.' };
            marks.push(at as u32);
        }
    }
    Masked { text: String::from_utf8(text).expect("ASCII for ASCII"), marks }
}

/// The byte after white space and comments.
pub(super) fn blank_end(source: &str, mut at: usize) -> usize {
    loop {
        let rest = &source[at..];
        let space = rest.len() - rest.trim_start_matches(|c: char| c.is_whitespace() || c == '\u{feff}').len();
        let comment = if rest.starts_with("//") {
            rest.find(is_line_end).unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            0
        };
        if space + comment == 0 {
            return at;
        }
        at += if space > 0 { space } else { comment };
    }
}

/// Parses a source and hands it on, on a stack that is deep enough to walk it.
pub(crate) fn parse<T>(
    source: &str,
    kind: Kind,
    then: impl FnOnce(&Program<'_>, &Masked) -> Result<T, SyntaxError>,
) -> Result<T, SyntaxError> {
    if source.len() > SOURCE_BYTES {
        return Err(SyntaxError::at(source, 0, format!("The source has more than {} MiB", SOURCE_BYTES >> 20)));
    }
    let masked = mask(source);
    let refusal = nesting::check(&masked.text, kind == Kind::Script).err();
    let readable = match &refusal {
        None => masked.text.len(),
        Some(refusal) if refusal.is_syntax => refusal.at,
        Some(refusal) => return Err(SyntaxError::at(source, refusal.at, refusal.what)),
    };
    stacker::grow(STACK_BYTES, || {
        let allocator = Allocator::default();
        let source_type = if kind == Kind::Module { SourceType::mjs() } else { SourceType::script() };
        let parsed = Parser::new(&allocator, &masked.text[..readable], source_type).parse();
        let first =
            parsed.diagnostics.errors().map(|error| (error.labels.first().map_or(0, |label| label.offset() as usize), error));
        let first = first.min_by_key(|(offset, _)| *offset);
        match (refusal, first) {
            (refusal, Some((offset, error))) if refusal.is_none() || offset < readable => {
                let (offset, message) = unmasked(&masked, offset, &error.message);
                Err(SyntaxError::at(source, offset, message))
            }
            (Some(Refusal { at, what, .. }), _) => Err(SyntaxError::at(source, at, what)),
            (None, _) => then(&parsed.program, &masked),
        }
    })
}

/// A parser's error in terms of the original: a `.` may be a `~.`.
fn unmasked(masked: &Masked, offset: usize, message: &str) -> (usize, String) {
    let mark = |at: usize| masked.marks.binary_search(&(at as u32)).is_ok();
    if offset > 0 && mark(offset - 1) {
        return (offset - 1, message.replace("`.`", "`~.`"));
    }
    // Of a masked call, the parser sees the bracket.
    let call = masked.marks.partition_point(|mark| (*mark as usize) < offset);
    if call > 0 {
        let before = masked.marks[call - 1] as usize;
        if masked.text.as_bytes()[before + 1] == b' ' && blank_end(&masked.text, before + 2) == offset {
            return (before, "Unexpected `~.`".to_owned());
        }
    }
    (offset, message.to_owned())
}
