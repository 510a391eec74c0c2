//! The text form of keys and certificates: base64 between two lines.

use base64::Engine;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig, general_purpose::STANDARD};

/// Readers of PEM care neither for padding nor for stray bits at the end.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &ALPHABET,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent).with_decode_allow_trailing_bits(true),
);

const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// What the reference says of a text that is no PEM.
const NO_PEM: &str = "PEM constructed with non-PEM data";

/// What stands between two lines.
pub(super) struct Block<'a> {
    pub label: &'a str,
    pub der: Vec<u8>,
}

/// The text of one block, as OpenSSL writes it: 64 characters in a line, a line feed at the end.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let base64 = STANDARD.encode(der);
    let mut out = format!("{BEGIN}{label}{DASHES}\n");
    for line in base64.as_bytes().chunks(64) {
        out.extend(line.iter().map(|byte| char::from(*byte)));
        out.push('\n');
    }
    out.push_str(&format!("{END}{label}{DASHES}\n"));
    out
}

/// The blocks of a text, in their order; what lies between them is passed over. `None` in the place of one that is begun
/// and not well ended, which is the last.
fn each(text: &str) -> impl Iterator<Item = Option<Block<'_>>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let start = rest.find(BEGIN)?;
        let block = next(&rest[start + BEGIN.len()..]);
        rest = block.as_ref().map_or("", |(_, rest)| rest);
        Some(block.map(|(block, _)| block))
    })
}

/// The block after its beginning, and what follows.
fn next(text: &str) -> Option<(Block<'_>, &str)> {
    let (label, rest) = text.split_once(DASHES)?;
    let (body, rest) = rest.split_once(END)?;
    let rest = rest.strip_prefix(label)?.strip_prefix(DASHES)?;
    Some((Block { label, der: decode(body)? }, rest))
}

/// All blocks of a text. `None` if one is not well ended.
pub(super) fn blocks(text: &str) -> Option<Vec<Block<'_>>> {
    each(text).collect()
}

/// The first block with one of these labels; what precedes it, such as the parameters of a curve, is passed over. The reason
/// against it is a text.
pub(super) fn find<'a>(text: &'a str, labels: &[&str]) -> Result<Block<'a>, String> {
    let mut met = None;
    for block in each(text) {
        let block = block.ok_or(NO_PEM)?;
        if labels.contains(&block.label) {
            return Ok(block);
        }
        met.get_or_insert(block.label);
    }
    match met {
        Some(label) => Err(format!("{} is expected, not {label}", labels[0])),
        None => Err(NO_PEM.into()),
    }
}

fn decode(body: &str) -> Option<Vec<u8>> {
    let body: Vec<u8> = body.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    LENIENT.decode(body).ok().filter(|der| !der.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_found_among_others() {
        let text = format!("text\n{}between{}", encode("A", &[1; 100]), encode("B", b"b"));
        assert_eq!(find(&text, &["B"]).map(|block| block.der), Ok(b"b".to_vec()));
        assert_eq!(find(&text, &["C"]).map(|block| block.der), Err("C is expected, not A".into()));
        assert_eq!(blocks(&text).map(|blocks| blocks.len()), Some(2));
        assert_eq!(blocks("").map(|blocks| blocks.len()), Some(0));
        for wrong in ["-----BEGIN A-----", "-----BEGIN A-----\nYQ==\n-----END B-----", "-----BEGIN A-----\n-----END A-----"] {
            assert!(blocks(wrong).is_none());
            assert_eq!(find(wrong, &["A"]).map(|block| block.der), Err(NO_PEM.into()));
        }
    }
}
