//! The state of a growing tree: the roots of its perfect subtrees, at most one for each bit of the size.
//!
//! It is all that appending and taking the root need, so the head of the ledger is stored as one small value whatever the
//! ledger's length. What was pushed cannot be read back from it.

use thiserror::Error;

use super::{Hash, MAX_SIZE, empty_root, node_hash};

/// The bytes of the size in the written form.
const SIZE_BYTES: usize = 8;

/// An append-only tree in O(log n) memory.
///
/// Kept true: there is one peak for each set bit of the size, largest subtree first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frontier {
    size: u64,
    peaks: Vec<Hash>,
}

/// Why bytes are no frontier. Whoever stored them, or damaged them.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FrontierError {
    /// Not even a size.
    #[error("a frontier of {found} bytes has no size: it opens with 8 bytes, restore it from the log's rows")]
    TooShort {
        /// How many bytes there were.
        found: usize,
    },
    /// The size is beyond [`MAX_SIZE`].
    #[error("a frontier claims {size} leaves: {MAX_SIZE} is the most, restore it from the log's rows")]
    TooLarge {
        /// The size claimed.
        size: u64,
    },
    /// Not one hash for each set bit of the size.
    #[error(
        "a frontier of {size} leaves holds {found} bytes of hashes, it must hold {wanted}: restore it from the log's rows"
    )]
    WrongLength {
        /// The size claimed.
        size: u64,
        /// The bytes of hashes that the size asks for.
        wanted: usize,
        /// The bytes of hashes found.
        found: usize,
    },
}

impl Frontier {
    /// The tree without leaves.
    #[must_use]
    pub fn empty() -> Self {
        Self { size: 0, peaks: Vec::new() }
    }

    /// How many leaves were pushed.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Appends a leaf hash (see [`super::leaf_hash`]) at the index that is the size so far.
    pub fn push(&mut self, leaf: Hash) {
        let mut right = leaf;
        // Each trailing one of the size is a perfect subtree that the new leaf completes to one of twice the width.
        for _ in 0..self.size.trailing_ones() {
            if let Some(left) = self.peaks.pop() {
                right = node_hash(&left, &right);
            }
        }
        self.peaks.push(right);
        self.size += 1;
    }

    /// The roots of the perfect subtrees, the largest first: one for each bit of the size.
    #[must_use]
    pub fn peaks(&self) -> &[Hash] {
        &self.peaks
    }

    /// The root over all leaves so far.
    #[must_use]
    pub fn root(&self) -> Hash {
        let smallest_first = self.peaks.iter().rev().copied();
        smallest_first.reduce(|right, left| node_hash(&left, &right)).unwrap_or_else(empty_root)
    }

    /// The written form: the size as 8 bytes, big-endian, then the peaks, largest subtree first. At most 2056 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.size.to_be_bytes().to_vec();
        for peak in &self.peaks {
            bytes.extend_from_slice(peak.as_bytes());
        }
        bytes
    }

    /// Reads what [`Frontier::to_bytes`] writes and nothing else. Whether the hashes are those of any log, only an audit tells.
    ///
    /// # Errors
    /// [`FrontierError`] unless the size is at most [`MAX_SIZE`] and exactly its hashes follow.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FrontierError> {
        let (size, rest) =
            bytes.split_first_chunk::<SIZE_BYTES>().ok_or(FrontierError::TooShort { found: bytes.len() })?;
        let size = u64::from_be_bytes(*size);
        if size > MAX_SIZE {
            return Err(FrontierError::TooLarge { size });
        }
        let (peaks, odd) = rest.as_chunks::<{ Hash::LENGTH }>();
        let wanted = size.count_ones() as usize;
        if peaks.len() != wanted || !odd.is_empty() {
            return Err(FrontierError::WrongLength {
                size,
                wanted: wanted * Hash::LENGTH,
                found: rest.len(),
            });
        }
        Ok(Self { size, peaks: peaks.iter().copied().map(Hash::from_bytes).collect() })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;
    use crate::merkle::leaf_hash;

    #[test]
    fn a_frontier_read_back_grows_like_the_one_written() {
        let mut whole = Frontier::empty();
        for n in 0..70_u8 {
            let mut read = Frontier::from_bytes(&whole.to_bytes()).unwrap();
            assert_eq!(read, whole);
            whole.push(leaf_hash(&[n]));
            read.push(leaf_hash(&[n]));
            assert_eq!(read.root(), whole.root());
        }
    }

    #[test]
    fn a_frontier_has_exactly_the_hashes_that_its_size_asks_for() {
        let at = |size: u64, hashes: usize| [size.to_be_bytes().to_vec(), vec![7; hashes * 32]].concat();
        for (bytes, taken) in [
            (at(0, 0), true),
            (at(0, 1), false),
            (at(6, 2), true),
            (at(6, 1), false),
            (at(6, 3), false),
            (at(6, 2)[..71].to_vec(), false),
            (vec![0; 7], false),
            (at(MAX_SIZE, 1), true),
            (at(MAX_SIZE + 1, 2), false),
            (at(u64::MAX, 64), false),
        ] {
            assert_eq!(Frontier::from_bytes(&bytes).is_ok(), taken, "{} bytes", bytes.len());
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_written_the_same(size in 0..300_u64, tail in proptest::collection::vec(any::<u8>(), 0..200)) {
            let bytes = [size.to_be_bytes().to_vec(), tail].concat();
            if let Ok(read) = Frontier::from_bytes(&bytes) {
                assert_eq!(read.to_bytes(), bytes);
            }
        }
    }
}
