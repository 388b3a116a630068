//! The Merkle tree of RFC 6962 section 2.1 over SHA-256: hashes, the state of a growing tree, proofs and their checks.
//!
//! Kept true: leaves and nodes hash under different prefixes, so neither can pass as the other; every function takes sizes
//! as `u64` whatever the platform; a check accepts a proof only when every hash of it was used.

mod frontier;
mod hash;
mod proof;
mod verify;

pub use frontier::{Frontier, FrontierError};
pub(crate) use hash::shown;
pub use hash::{Hash, HashError, empty_root, leaf_hash, node_hash};
pub use proof::{LeafMissing, ProveError, Subtrees, consistency_proof, inclusion_proof, root_at, root_of};
pub use verify::{ConsistencyError, InclusionError, verify_consistency, verify_inclusion};

/// The largest tree that any parser here takes, in leaves: 2^62.
///
/// Counters are `u64`. A tree read at this size could still grow by more leaves than can ever be pushed before a counter
/// overflows, which is why growing needs no error.
pub const MAX_SIZE: u64 = 1 << 62;
