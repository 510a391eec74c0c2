//! As much DER as keys need: a writer and a strict reader. One value has one encoding; anything else is refused.
//!
//! ```text
//! PKCS#8   SEQUENCE { INTEGER 0, SEQUENCE { OID, parameters? }, OCTET STRING key, .. }
//! SPKI     SEQUENCE { SEQUENCE { OID, parameters? }, BIT STRING key }
//! PKCS#1   SEQUENCE { INTEGER 0, n, e, d, p, q, d mod p-1, d mod q-1, q^-1 mod p }   and   SEQUENCE { n, e }
//! SEC 1    SEQUENCE { INTEGER 1, OCTET STRING d, [0] OID?, [1] BIT STRING point? }
//! ```

pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const NULL: u8 = 0x05;
pub(super) const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;

/// One value: tag, length, content.
pub(super) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    let length = content.len();
    if length < 0x80 {
        out.push(length as u8);
    } else {
        let bytes = length.to_be_bytes();
        let digits = &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..];
        out.push(0x80 | digits.len() as u8);
        out.extend_from_slice(digits);
    }
    out.extend_from_slice(content);
    out
}

/// A constructed value of others.
pub(super) fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    value(SEQUENCE, &parts.concat())
}

/// A natural number, given as big-endian bytes.
pub(super) fn natural(bytes: &[u8]) -> Vec<u8> {
    let digits = strip(bytes);
    let mut content = Vec::with_capacity(digits.len() + 1);
    if digits.first().is_none_or(|byte| *byte >= 0x80) {
        content.push(0);
    }
    content.extend_from_slice(digits);
    value(INTEGER, &content)
}

/// A string of whole octets as bits.
pub(super) fn bits(bytes: &[u8]) -> Vec<u8> {
    value(BIT_STRING, &[&[0], bytes].concat())
}

/// Without leading zeros.
pub(super) fn strip(bytes: &[u8]) -> &[u8] {
    &bytes[bytes.iter().take_while(|byte| **byte == 0).count()..]
}

/// Reads values one after another.
pub(super) struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next value, whatever it is: its tag and content.
    pub fn any(&mut self) -> Option<(u8, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, mut rest) = rest.split_first()?;
        let length = if first < 0x80 {
            usize::from(first)
        } else {
            // Four octets of length are more than any key has.
            let count = usize::from(first & 0x7f);
            let digits = rest.get(..count).filter(|_| (1..=4).contains(&count))?;
            rest = &rest[count..];
            let length = digits.iter().fold(0usize, |length, digit| (length << 8) | usize::from(*digit));
            if digits[0] == 0 || length < 0x80 {
                return None;
            }
            length
        };
        let content = rest.get(..length)?;
        self.0 = &rest[length..];
        Some((tag, content))
    }

    /// The content of the next value, if it has this tag.
    pub fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if *self.0.first()? != tag {
            return None;
        }
        Some(self.any()?.1)
    }

    /// The values within the next one, a sequence.
    pub fn sequence(&mut self) -> Option<Reader<'a>> {
        Some(Reader(self.take(SEQUENCE)?))
    }

    /// A natural number as big-endian bytes without leading zeros; zero is empty.
    pub fn natural(&mut self) -> Option<&'a [u8]> {
        match self.take(INTEGER)? {
            [0] => Some(&[]),
            [0, rest @ ..] if rest[0] >= 0x80 => Some(rest),
            digits @ [first, ..] if (1..0x80).contains(first) => Some(digits),
            _ => None,
        }
    }

    /// A bit string of whole octets.
    pub fn bits(&mut self) -> Option<&'a [u8]> {
        match self.take(BIT_STRING)? {
            [0, octets @ ..] => Some(octets),
            _ => None,
        }
    }

    /// Nothing may follow.
    pub fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}
