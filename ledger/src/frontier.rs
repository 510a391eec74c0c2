//! The frontier: what one needs to go on from a transaction without the transactions before it.
//!
//! ```text
//! public:glassbox.tree   8 zero bytes →  0  u64   size: leaves 0 to size − 1, so this is transaction `size`
//!                                        8  u64   view  ┐ the last signature transaction before,
//!                                       16  u64   seqno ┘ 0 and 0 when there is none
//!                                       24  32 B  a peak, for every set bit of size, the widest first
//!
//! size = 11         ┌────────── peak ─────────┐
//!             ┌─────┴─────┐             ┌─────┴─────┐
//!          ┌──┴──┐     ┌──┴──┐       ┌──┴──┐     ┌──┴──┐       ┌ peak ┐
//!          0     1     2     3       4     5     6     7       8      9     10 = peak
//! ```
//!
//! The *peaks* are the complete nodes of the Merkle tree that the leaves fall into. A transaction that carries a frontier
//! is a *checkpoint*: recovery begins at the last one, see [`crate::find`]. Auditors hash everything from the first
//! transaction and compare: a frontier that is not that of their own tree is an error.
//!
//! Invariants: the frontier is that of the tree before the transaction that carries it; no signature transaction carries
//! one; it stands alone in its map, and one value has one encoding.

use crate::merkle::{Hash, Tree};
use crate::signature::SINGLETON_KEY;
use crate::txid::TxId;
use crate::write_set::WriteSet;

/// Where a frontier stands.
pub const FRONTIER_MAP: &str = "public:glassbox.tree";

const HEADER_BYTES: usize = 24;

/// The right edge of the Merkle tree, and the last signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    /// Number of leaves, which is the seqno of the transaction that carries the frontier.
    pub size: u64,
    /// The complete nodes over the leaves `0..size`, one per set bit of `size`, the widest first.
    pub peaks: Vec<Hash>,
    /// The last signature transaction before.
    pub signature: Option<TxId>,
}

/// A frontier that is not in its one encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the frontier of the tree is not in its one encoding")]
pub struct FrontierError;

impl Frontier {
    /// Adds it to a write set.
    pub fn write(&self, writes: &mut WriteSet) {
        writes.put(FRONTIER_MAP, SINGLETON_KEY, self.encode());
    }

    /// The frontier that a write set carries.
    pub fn read(writes: &WriteSet) -> Result<Option<Frontier>, FrontierError> {
        let Some(map) = writes.maps.get(FRONTIER_MAP) else {
            return Ok(None);
        };
        let value = map.writes.get(&SINGLETON_KEY[..]).ok_or(FrontierError)?;
        if map.writes.len() != 1 || !map.removes.is_empty() {
            return Err(FrontierError);
        }
        Frontier::decode(value).ok_or(FrontierError).map(Some)
    }

    fn encode(&self) -> Vec<u8> {
        let (view, seqno) = self.signature.map_or((0, 0), |txid| (txid.view, txid.seqno));
        let mut out: Vec<u8> = [self.size, view, seqno].iter().flat_map(|n| n.to_le_bytes()).collect();
        out.extend(self.peaks.as_flattened());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Frontier> {
        let (header, peaks) = bytes.split_at_checked(HEADER_BYTES)?;
        let number = |at: usize| header[at..].first_chunk().copied().map(u64::from_le_bytes);
        let size = number(0)?;
        let signature = match (number(8)?, number(16)?) {
            (0, 0) => None,
            (view, seqno) => Some(TxId::new(view, seqno).ok().filter(|txid| txid.seqno < size)?),
        };
        let (peaks, rest) = peaks.as_chunks::<32>();
        let complete = rest.is_empty() && size > 0 && peaks.len() == size.count_ones() as usize;
        complete.then(|| Frontier { size, peaks: peaks.to_vec(), signature })
    }
}

impl Tree {
    /// What one needs to go on from here, when the last signature is this one.
    pub fn frontier(&self, signature: Option<TxId>) -> Frontier {
        Frontier { size: self.size(), peaks: self.peaks(), signature }
    }

    /// The tree at a frontier, with an empty window: it has paths for the leaves that follow. `None` when the number of
    /// peaks does not fit the size; what [`Frontier::read`] returns always fits.
    pub fn from_frontier(frontier: &Frontier) -> Option<Tree> {
        Tree::from_peaks(frontier.size, &frontier.peaks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::sha256;

    fn carried(value: Vec<u8>) -> WriteSet {
        let mut writes = WriteSet::new();
        writes.put(FRONTIER_MAP, SINGLETON_KEY, value);
        writes
    }

    #[test]
    fn one_value_has_one_encoding() {
        let mut tree = Tree::new();
        for n in 1..50u64 {
            let signature = (n > 3).then(|| TxId { view: 2, seqno: n - 2 });
            let frontier = tree.frontier(signature);
            let mut writes = WriteSet::new();
            frontier.write(&mut writes);
            assert_eq!(Frontier::read(&writes), Ok(Some(frontier.clone())));
            let value = writes.get(FRONTIER_MAP, &SINGLETON_KEY).unwrap().to_vec();
            assert_eq!(value.len(), 24 + 32 * n.count_ones() as usize);
            assert_eq!(Tree::from_frontier(&frontier).unwrap().root(), tree.root());
            for len in 0..value.len() {
                assert_eq!(Frontier::read(&carried(value[..len].to_vec())), Err(FrontierError));
            }
            for at in 0..24 {
                let mut other = value.clone();
                other[at] ^= 0x80;
                let read = Frontier::read(&carried(other.clone()));
                assert!(read.is_err() || carried(other) == carried(read.unwrap().unwrap().encode()));
            }
            assert!(Frontier::read(&carried([value.as_slice(), &[0; 32]].concat())).is_err());
            tree.push(sha256(&n.to_le_bytes()));
        }
    }

    #[test]
    fn it_stands_alone() {
        let frontier = Tree::new().frontier(None);
        let mut writes = WriteSet::new();
        assert_eq!(Frontier::read(&writes), Ok(None));
        writes.put("public:glassbox", *b"tree", *b"");
        assert_eq!(Frontier::read(&writes), Ok(None));
        frontier.write(&mut writes);
        let mut two = writes.clone();
        two.put(FRONTIER_MAP, *b"k", *b"v");
        let mut removed = writes.clone();
        removed.remove(FRONTIER_MAP, *b"k");
        let mut gone = WriteSet::new();
        gone.remove(FRONTIER_MAP, SINGLETON_KEY);
        for bad in [two, removed, gone, carried(Vec::new()), carried(vec![0; 24])] {
            assert_eq!(Frontier::read(&bad), Err(FrontierError));
        }
        let ahead = Frontier { signature: Some(TxId { view: 2, seqno: 1 }), ..frontier };
        assert_eq!(Frontier::read(&carried(ahead.encode())), Err(FrontierError), "the signature comes before");
    }
}
