//! The bytes of a connection that were read and not yet used.

/// Bytes at the start, and again after a large request.
const SMALL_BYTES: usize = 4 << 10;

/// A queue of bytes in one piece: filled at its end, used from its start, and reused.
#[derive(Debug)]
pub(super) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
}

impl Buffer {
    pub(super) fn new() -> Self {
        Buffer { data: vec![0; SMALL_BYTES], start: 0, end: 0 }
    }

    /// What is there.
    pub(super) fn filled(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(super) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Forgets the first bytes.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(self.start <= self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            if self.data.len() > SMALL_BYTES {
                self.data = vec![0; SMALL_BYTES];
            }
        }
    }

    /// Room for more; never empty. Who reads with a limit stops asking when `filled` has reached it.
    pub(super) fn space(&mut self) -> &mut [u8] {
        if self.end == self.data.len() {
            if self.start > 0 {
                self.data.copy_within(self.start..self.end, 0);
                (self.start, self.end) = (0, self.end - self.start);
            } else {
                self.data.resize(self.data.len() * 2, 0);
            }
        }
        &mut self.data[self.end..]
    }

    /// So many bytes were written into `space`.
    pub(super) fn add(&mut self, bytes: usize) {
        self.end += bytes;
        debug_assert!(self.end <= self.data.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_through_growth_and_reuse() {
        let mut buffer = Buffer::new();
        let (mut put, mut got) = (0u8, 0u8);
        for round in 0..200usize {
            for _ in 0..round % 7 {
                let space = buffer.space();
                let n = space.len().min(1 + round * 13);
                space[..n].iter_mut().for_each(|byte| {
                    *byte = put;
                    put = put.wrapping_add(1);
                });
                buffer.add(n);
            }
            let n = buffer.filled().len().min(round * 31);
            for byte in &buffer.filled()[..n] {
                assert_eq!(*byte, got);
                got = got.wrapping_add(1);
            }
            buffer.consume(n);
        }
    }
}
