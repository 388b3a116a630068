//! Making proofs: which hashes lead from a leaf to the root, and from an older root to a newer one.
//!
//! A proof is made from the hashes of perfect subtrees, at most two for each level, so a store that keeps tiles answers with
//! a handful of reads; a slice of leaf hashes serves small logs and tests.

use thiserror::Error;

use super::{Frontier, Hash, empty_root, node_hash};

/// Where the hashes of perfect subtrees come from. They never change once their leaves exist.
pub trait Subtrees {
    /// Why a hash could not be had.
    type Error;

    /// The root of the perfect subtree over the leaves from `index * 2^level` on, `2^level` of them. Level 0 is leaf hashes.
    ///
    /// # Errors
    /// Whatever keeps the source from answering; a subtree that is not wholly there is an error.
    fn subtree(&self, level: u32, index: u64) -> Result<Hash, Self::Error>;
}

/// A leaf hash was asked for that is not in the slice. The caller's fault: the size it named is larger than the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the subtree at level {level}, index {index} reaches beyond the {held} leaves held: name a size within them"
)]
pub struct LeafMissing {
    /// The level asked for.
    pub level: u32,
    /// The index within the level.
    pub index: u64,
    /// How many leaf hashes there are.
    pub held: usize,
}

/// Why no proof was made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProveError<E> {
    /// The leaf is not in a tree of this size. The caller's fault.
    #[error("no leaf {index} in a tree of {size} leaves: ask for an index below the size")]
    OutsideTree {
        /// The leaf asked for.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The older tree is larger than the newer. The caller's fault.
    #[error("a tree of {new} leaves cannot extend one of {old}: name the smaller size first")]
    Shrinks {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// The source of hashes did not answer.
    #[error("a hash of the tree could not be read")]
    Source(#[source] E),
}

impl Subtrees for [Hash] {
    type Error = LeafMissing;

    fn subtree(&self, level: u32, index: u64) -> Result<Hash, LeafMissing> {
        let missing = LeafMissing { level, index, held: self.len() };
        let width = 1_usize.checked_shl(level).ok_or(missing)?;
        let start = usize::try_from(index).ok().and_then(|i| i.checked_mul(width)).ok_or(missing)?;
        let end = start.checked_add(width).ok_or(missing)?;
        self.get(start..end).map(root_of).ok_or(missing)
    }
}

/// The root over these leaf hashes.
#[must_use]
pub fn root_of(leaves: &[Hash]) -> Hash {
    let mut tree = Frontier::empty();
    for leaf in leaves {
        tree.push(*leaf);
    }
    tree.root()
}

/// The root of the tree's first `size` leaves.
///
/// # Errors
/// What the source of hashes says.
pub fn root_at<S: Subtrees + ?Sized>(tree: &S, size: u64) -> Result<Hash, S::Error> {
    if size == 0 { Ok(empty_root()) } else { range_root(tree, 0, size) }
}

/// The proof that leaf `index` is in the tree of the first `size` leaves: the hashes beside its way to the root, leaf first
/// (RFC 6962 section 2.1.1).
///
/// # Errors
/// [`ProveError`]: an index outside the tree, or what the source of hashes says.
pub fn inclusion_proof<S: Subtrees + ?Sized>(
    tree: &S,
    index: u64,
    size: u64,
) -> Result<Vec<Hash>, ProveError<S::Error>> {
    if index >= size {
        return Err(ProveError::OutsideTree { index, size });
    }
    let (mut start, mut width) = (0, size);
    let mut root_first = Vec::new();
    while width > 1 {
        let left = split(width);
        let (beside, beside_width) = if index - start < left {
            let right = (start + left, width - left);
            width = left;
            right
        } else {
            let whole_left = (start, left);
            (start, width) = (start + left, width - left);
            whole_left
        };
        root_first.push(range_root(tree, beside, beside_width).map_err(ProveError::Source)?);
    }
    root_first.reverse();
    Ok(root_first)
}

/// The proof that the tree of the first `old` leaves is the past of that of the first `new` leaves (RFC 6962 section 2.1.2).
/// It is empty when `old` is 0 or `new`.
///
/// # Errors
/// [`ProveError`]: `old` above `new`, or what the source of hashes says.
pub fn consistency_proof<S: Subtrees + ?Sized>(
    tree: &S,
    old: u64,
    new: u64,
) -> Result<Vec<Hash>, ProveError<S::Error>> {
    if old > new {
        return Err(ProveError::Shrinks { old, new });
    }
    if old == 0 || old == new {
        return Ok(Vec::new());
    }
    let root = |start, width| range_root(tree, start, width).map_err(ProveError::Source);
    let (mut start, mut width) = (0, new);
    let mut root_first = Vec::new();
    while start + width != old {
        let left = split(width);
        if old - start <= left {
            root_first.push(root(start + left, width - left)?);
            width = left;
        } else {
            root_first.push(root(start, left)?);
            (start, width) = (start + left, width - left);
        }
    }
    // Reached without ever turning right, this subtree is the whole old tree: the verifier holds its root already.
    if start != 0 {
        root_first.push(root(start, width)?);
    }
    root_first.reverse();
    Ok(root_first)
}

/// The largest power of two below `width`, which must be at least 2: where RFC 6962 splits a tree.
fn split(width: u64) -> u64 {
    1 << (width - 1).ilog2()
}

/// The root over `width` leaves (at least 1) from `start` on, which is aligned as the splits of RFC 6962 align it.
/// Depth is at most 64: each step takes a bit off the width.
fn range_root<S: Subtrees + ?Sized>(tree: &S, start: u64, width: u64) -> Result<Hash, S::Error> {
    if width.is_power_of_two() {
        let level = width.trailing_zeros();
        return tree.subtree(level, start >> level);
    }
    let left = split(width);
    let right_root = range_root(tree, start + left, width - left)?;
    Ok(node_hash(&range_root(tree, start, left)?, &right_root))
}
