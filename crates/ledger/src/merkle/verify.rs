//! Checking proofs against roots that the caller holds on other grounds, after RFC 9162 sections 2.1.3.2 and 2.1.4.2.

use thiserror::Error;

use super::{Hash, node_hash};

/// Why a leaf was not shown to be in a tree. Whoever made the proof, or the log itself, is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InclusionError {
    /// The leaf is not in a tree of this size.
    #[error("no leaf {index} in a tree of {size} leaves: ask the log for a proof against a later checkpoint")]
    OutsideTree {
        /// The leaf claimed.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// More or fewer hashes than the way from this leaf to the root has.
    #[error(
        "{found} hashes do not lead from leaf {index} to the root of {size} leaves: ask for the proof again"
    )]
    WrongLength {
        /// The leaf claimed.
        index: u64,
        /// The tree's size.
        size: u64,
        /// The hashes in the proof.
        found: usize,
    },
    /// The proof leads to another root: the entry, its place or the proof is not the one that was logged.
    #[error(
        "the entry leads to root {computed}, the checkpoint has {root}: it is not what was logged at this place"
    )]
    RootDiffers {
        /// Where the proof led.
        computed: Hash,
        /// Where it should have led.
        root: Hash,
    },
}

/// Why an older tree was not shown to be the past of a newer one. Whoever made the proof, or the log itself, is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ConsistencyError {
    /// The newer tree is the smaller one.
    #[error(
        "a tree of {new} leaves cannot extend one of {old}: the log was truncated, or the sizes were exchanged"
    )]
    Shrinks {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
    },
    /// More or fewer hashes than these two sizes have between them.
    #[error("{found} hashes do not lead from {old} leaves to {new}: ask for the proof again")]
    WrongLength {
        /// The older size.
        old: u64,
        /// The newer size.
        new: u64,
        /// The hashes in the proof.
        found: usize,
    },
    /// The proof does not start from the older root.
    #[error("the proof starts from root {computed}, the older checkpoint has {root}: history was rewritten")]
    OldRootDiffers {
        /// The older root as the proof has it.
        computed: Hash,
        /// The older root held.
        root: Hash,
    },
    /// The proof does not lead to the newer root.
    #[error("the proof leads to root {computed}, the newer checkpoint has {root}: history was rewritten")]
    NewRootDiffers {
        /// The newer root as the proof has it.
        computed: Hash,
        /// The newer root held.
        root: Hash,
    },
}

/// Where a walk from a leaf or an old tree's edge to the root stands.
struct Walk {
    /// The node's index in its level.
    node: u64,
    /// The index of the last node in that level.
    last: u64,
}

impl Walk {
    /// Takes one step up; says whether the sibling there stands left of the walk. `None` above the root.
    fn step(&mut self) -> Option<Side> {
        if self.last == 0 {
            return None;
        }
        let side = if self.node & 1 == 1 || self.node == self.last {
            // A last node without a right sibling is passed up unhashed until it is a right child. It is not node 0:
            // the last node of a level of more than one has a higher index.
            let unhashed = self.node.trailing_zeros();
            self.node >>= unhashed;
            self.last >>= unhashed;
            Side::Left
        } else {
            Side::Right
        };
        self.node >>= 1;
        self.last >>= 1;
        Some(side)
    }
}

enum Side {
    Left,
    Right,
}

/// Shows that the leaf with this hash stands at `index` in the tree of `size` leaves with this root.
///
/// # Errors
/// [`InclusionError`] unless the proof has exactly the hashes needed and leads to the root.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), InclusionError> {
    let Some(last) = size.checked_sub(1).filter(|last| index <= *last) else {
        return Err(InclusionError::OutsideTree { index, size });
    };
    let wrong_length = InclusionError::WrongLength { index, size, found: proof.len() };
    let mut walk = Walk { node: index, last };
    let mut computed = *leaf;
    for beside in proof {
        computed = match walk.step().ok_or(wrong_length)? {
            Side::Left => node_hash(beside, &computed),
            Side::Right => node_hash(&computed, beside),
        };
    }
    if walk.last != 0 {
        return Err(wrong_length);
    }
    if computed == *root { Ok(()) } else { Err(InclusionError::RootDiffers { computed, root: *root }) }
}

/// Shows that the tree of `old` leaves with `old_root` is the past of that of `new` leaves with `new_root`.
///
/// The empty tree is the past of every tree; then and for equal sizes the proof must be empty.
///
/// # Errors
/// [`ConsistencyError`] unless the proof has exactly the hashes needed and leads to both roots.
pub fn verify_consistency(
    old: u64,
    new: u64,
    old_root: &Hash,
    new_root: &Hash,
    proof: &[Hash],
) -> Result<(), ConsistencyError> {
    if old > new {
        return Err(ConsistencyError::Shrinks { old, new });
    }
    let wrong_length = ConsistencyError::WrongLength { old, new, found: proof.len() };
    if old == 0 || old == new {
        if !proof.is_empty() {
            return Err(wrong_length);
        }
        let differs = old == new && old_root != new_root;
        let wrong = ConsistencyError::NewRootDiffers { computed: *old_root, root: *new_root };
        return if differs { Err(wrong) } else { Ok(()) };
    }
    // A perfect old tree is a node of the new one: its root is where the proof starts, and is not sent.
    let (first, rest) = match proof.split_first() {
        Some(_) if old.is_power_of_two() => (old_root, proof),
        Some((first, rest)) => (first, rest),
        None => return Err(wrong_length),
    };
    let whole = (old - 1).trailing_ones();
    let mut walk = Walk { node: (old - 1) >> whole, last: (new - 1) >> whole };
    let (mut old_computed, mut new_computed) = (*first, *first);
    for beside in rest {
        match walk.step().ok_or(wrong_length)? {
            Side::Left => {
                old_computed = node_hash(beside, &old_computed);
                new_computed = node_hash(beside, &new_computed);
            }
            Side::Right => new_computed = node_hash(&new_computed, beside),
        }
    }
    if walk.last != 0 {
        return Err(wrong_length);
    }
    if old_computed != *old_root {
        return Err(ConsistencyError::OldRootDiffers { computed: old_computed, root: *old_root });
    }
    if new_computed != *new_root {
        return Err(ConsistencyError::NewRootDiffers { computed: new_computed, root: *new_root });
    }
    Ok(())
}
