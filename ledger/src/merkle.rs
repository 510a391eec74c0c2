//! The Merkle tree over all transactions: leaf `i` is transaction `i`, leaf 0 is 32 zero bytes.
//!
//! ```text
//! level 2          ┌──── h ────┐           h = sha256(left ‖ right)
//! level 1       ┌─ h ─┐     ┌─ h ─┐  ┐     the last node of a level, when it has no sibling,
//! level 0       0     1     2     3  4     is promoted as it is
//! ```
//!
//! Only complete nodes are kept, by level; they never change again. The root and every path follow from them. Of each
//! level the tree keeps what paths of the leaves of its *window* need; [`Tree::forget_before`] moves the window. With
//! an empty window that is one node per set bit of the size: 2 KiB, however long the ledger.
//!
//! Invariants: level `k` holds the complete nodes from `base` to `size >> k`; every range that a root or a path of the
//! window needs is made of those.

use crate::secret::sha256;

/// Longest path: a tree has fewer than 2^63 leaves.
pub const PATH_MAX_STEPS: usize = 63;

/// A SHA-256.
pub type Hash = [u8; 32];

/// The tree, with the complete nodes that its window needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    size: u64,
    window: u64,
    levels: Vec<Level>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Level {
    /// Index of the first node that is kept.
    base: u64,
    nodes: Vec<Hash>,
}

/// One step of a path: the sibling, and on which side it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The sibling is the left one: `sha256(sibling ‖ node)`.
    pub left: bool,
    /// The sibling.
    pub hash: Hash,
}

impl Default for Tree {
    fn default() -> Tree {
        Tree::new()
    }
}

impl Tree {
    /// The tree of an empty ledger: leaf 0 alone.
    pub fn new() -> Tree {
        let mut tree = Tree { size: 0, window: 0, levels: Vec::new() };
        tree.push([0; 32]);
        tree
    }

    /// Number of leaves, which is the seqno of the next transaction.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The first leaf that has a path.
    pub fn window(&self) -> u64 {
        self.window
    }

    /// Appends a leaf.
    pub fn push(&mut self, leaf: Hash) {
        let mut node = leaf;
        let mut index = self.size;
        for k in 0.. {
            if k == self.levels.len() {
                self.levels.push(Level::default());
            }
            let level = &mut self.levels[k];
            if level.nodes.is_empty() {
                level.base = index;
            }
            level.nodes.push(node);
            if index.is_multiple_of(2) {
                break;
            }
            let left = level.nodes[level.nodes.len() - 2];
            node = pair(&left, &node);
            index /= 2;
        }
        self.size += 1;
    }

    /// The root over all leaves.
    pub fn root(&self) -> Hash {
        self.range(0, self.size)
    }

    /// The path of a leaf to the root that the tree had when it had `size` leaves. `None` for a leaf before the window,
    /// and for a leaf or a size that is not there.
    pub fn path(&self, leaf: u64, size: u64) -> Option<Vec<Step>> {
        if leaf < self.window || leaf >= size || size > self.size {
            return None;
        }
        let mut path = Vec::new();
        let mut k = 0;
        while 1u64.checked_shl(k).is_some_and(|width| width < size) {
            let index = leaf >> k;
            let sibling = index ^ 1;
            let start = sibling << k;
            if start < size {
                let hash = self.range(start, size.min(start + (1 << k)));
                path.push(Step { left: sibling < index, hash });
            }
            k += 1;
        }
        Some(path)
    }

    /// Gives up the paths of leaves before `leaf`, and the memory that they need.
    pub fn forget_before(&mut self, leaf: u64) {
        let leaf = leaf.min(self.size);
        if leaf <= self.window {
            return;
        }
        self.window = leaf;
        for (k, level) in self.levels.iter_mut().enumerate() {
            // The node that holds the first leaf of the window, or its left sibling.
            let keep = ((leaf >> k) & !1).max(level.base);
            let drop = (keep - level.base).min(level.nodes.len() as u64);
            level.nodes.drain(..drop as usize);
            level.base += drop;
        }
    }

    /// Hash of the leaves `start..end`, where `start` begins a node at least that wide. Its complete nodes, from the
    /// right, each pair hashed once.
    fn range(&self, start: u64, end: u64) -> Hash {
        let mut hash = None;
        let mut at = end;
        while at > start {
            let k = at.trailing_zeros().min((at - start).ilog2());
            at -= 1 << k;
            let node = self.node(k as usize, at >> k);
            hash = Some(hash.map_or(node, |right| pair(&node, &right)));
        }
        hash.expect("a range is not empty")
    }

    /// The complete nodes that the leaves fall into, one per set bit of the size, from the widest on the left to the
    /// narrowest on the right. All that comes after can be hashed with these.
    pub fn peaks(&self) -> Vec<Hash> {
        let widths = (0..self.levels.len()).rev().filter(|k| self.size >> k & 1 == 1);
        widths.map(|k| self.node(k, (self.size >> k) - 1)).collect()
    }

    /// A tree of so many leaves, with an empty window. `None` unless there is one peak per set bit of the size.
    pub(crate) fn from_peaks(size: u64, peaks: &[Hash]) -> Option<Tree> {
        if peaks.len() != size.count_ones() as usize || size == 0 {
            return None;
        }
        let mut rest = peaks.iter().rev();
        let level = |k: u32| {
            let nodes: Vec<Hash> = if size >> k & 1 == 1 { rest.next().copied().into_iter().collect() } else { Vec::new() };
            Level { base: (size >> k) & !1, nodes }
        };
        let levels = (0..=size.ilog2()).map(level).collect();
        Some(Tree { size, window: size, levels })
    }

    fn node(&self, k: usize, index: u64) -> Hash {
        let level = &self.levels[k];
        level.nodes[(index - level.base) as usize]
    }
}

/// The parent of two nodes.
fn pair(left: &Hash, right: &Hash) -> Hash {
    let mut text = [0; 64];
    text[..32].copy_from_slice(left);
    text[32..].copy_from_slice(right);
    sha256(&text)
}

/// Follows a path from a leaf to the root.
pub fn fold(leaf: Hash, path: &[Step]) -> Hash {
    path.iter().fold(leaf, |node, step| if step.left { pair(&step.hash, &node) } else { pair(&node, &step.hash) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaf(i: u64) -> Hash {
        if i == 0 { [0; 32] } else { sha256(&i.to_le_bytes()) }
    }

    /// The tree as the format describes it: pair up, promote the odd one, again.
    fn naive(leaves: &[Hash]) -> Hash {
        let mut row = leaves.to_vec();
        while row.len() > 1 {
            row = row.chunks(2).map(|c| if c.len() == 2 { pair(&c[0], &c[1]) } else { c[0] }).collect();
        }
        row[0]
    }

    #[test]
    fn roots_and_paths_match_a_recomputation() {
        const SIZE_MAX: u64 = 70;
        let leaves: Vec<Hash> = (0..SIZE_MAX).map(leaf).collect();
        for window in 0..=SIZE_MAX {
            let mut tree = Tree::new();
            for i in 1..SIZE_MAX {
                if i == window {
                    tree.forget_before(window);
                }
                tree.push(leaf(i));
            }
            tree.forget_before(window);
            assert_eq!(tree.root(), naive(&leaves));
            for size in 1..=SIZE_MAX {
                for i in 0..SIZE_MAX {
                    let path = tree.path(i, size);
                    assert_eq!(path.is_some(), i >= window && i < size, "{i} of {size}, window {window}");
                    if let Some(path) = path {
                        assert_eq!(fold(leaf(i), &path), naive(&leaves[..size as usize]));
                    }
                }
            }
        }
    }

    #[test]
    fn a_tree_goes_on_from_its_peaks() {
        const SIZE_MAX: u64 = 140;
        let leaves: Vec<Hash> = (0..SIZE_MAX).map(leaf).collect();
        let mut whole = Tree::new();
        for size in 1..SIZE_MAX {
            let mut edge = whole.clone();
            edge.forget_before(size);
            let mut tree = Tree::from_peaks(size, &whole.peaks()).unwrap();
            assert_eq!((tree.peaks(), tree.root()), (whole.peaks(), whole.root()));
            assert_eq!(tree, edge, "{size}");
            for i in size..SIZE_MAX {
                assert_eq!(tree.path(i - 1, i).is_some(), i > size);
                tree.push(leaf(i));
                assert_eq!(tree.root(), naive(&leaves[..=i as usize]), "{size} to {i}");
            }
            for i in size..SIZE_MAX {
                assert_eq!(fold(leaf(i), &tree.path(i, SIZE_MAX).unwrap()), naive(&leaves));
            }
            whole.push(leaf(size));
        }
        assert_eq!(Tree::from_peaks(0, &[]), None);
        assert_eq!(Tree::from_peaks(3, &[[0; 32]]), None);
        assert_eq!(Tree::from_peaks(4, &[[0; 32]; 2]), None);
    }

    #[test]
    fn an_empty_window_keeps_only_the_right_edge() {
        let mut tree = Tree::new();
        for i in 1..100_000 {
            tree.push(leaf(i));
            if i % 100 == 0 {
                tree.forget_before(tree.size());
            }
        }
        tree.forget_before(tree.size());
        let kept: usize = tree.levels.iter().map(|level| level.nodes.len()).sum();
        assert!(kept <= 2 * 17, "{kept}");
        let leaves: Vec<Hash> = (0..100_000).map(leaf).collect();
        assert_eq!(tree.root(), naive(&leaves));
    }
}
