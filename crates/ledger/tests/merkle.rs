//! The tree against the vectors of Certificate Transparency and against an independent implementation.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use proptest::prelude::*;
use tlog_tiles as other;
use warrantor_ledger::{
    Frontier, Hash, Subtrees, Tile,
    merkle::{
        ConsistencyError, InclusionError, consistency_proof, empty_root, inclusion_proof, leaf_hash, root_at,
        root_of, verify_consistency, verify_inclusion,
    },
    tile::TileError,
};

const ENTRIES: [&str; 8] =
    ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
const ROOTS: [&str; 9] = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];
const INCLUSION_5_OF_8: [&str; 3] = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    ROOTS[4],
];
const CONSISTENCY_6_TO_8: [&str; 3] =
    ["0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a", INCLUSION_5_OF_8[1], ROOTS[4]];
const CONSISTENCY_2_TO_5: [&str; 2] =
    ["5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e", INCLUSION_5_OF_8[0]];

fn at(index: u64) -> usize {
    index.try_into().unwrap()
}

fn hashes(hex: &[&str]) -> Vec<Hash> {
    hex.iter().map(|hex| hex.parse().unwrap()).collect()
}

fn vector_leaves() -> Vec<Hash> {
    ENTRIES.iter().map(|hex| leaf_hash(&hex::decode(hex).unwrap())).collect()
}

fn leaves(count: usize) -> Vec<Hash> {
    (0..count).map(|n| leaf_hash(&n.to_be_bytes())).collect()
}

#[test]
fn the_roots_are_those_of_the_published_vectors() {
    let leaves = vector_leaves();
    let mut grown = Frontier::empty();
    for (size, root) in hashes(&ROOTS).into_iter().enumerate() {
        assert_eq!(root_of(&leaves[..size]), root, "size {size}");
        assert_eq!(root_at(leaves.as_slice(), size as u64), Ok(root), "size {size}");
        assert_eq!(grown.root(), root, "size {size}");
        leaves.get(size).into_iter().for_each(|leaf| grown.push(*leaf));
    }
    assert_eq!(empty_root().to_string(), ROOTS[0]);
}

#[test]
fn the_proofs_are_those_of_the_published_vectors() {
    let (leaves, roots) = (vector_leaves(), hashes(&ROOTS));
    let proof = inclusion_proof(leaves.as_slice(), 5, 8).unwrap();
    assert_eq!(proof, hashes(&INCLUSION_5_OF_8));
    assert_eq!(verify_inclusion(&leaves[5], 5, 8, &proof, &roots[8]), Ok(()));
    for (old, new, expected) in
        [(6, 8, &CONSISTENCY_6_TO_8[..]), (2, 5, &CONSISTENCY_2_TO_5), (0, 8, &[]), (8, 8, &[])]
    {
        let proof = consistency_proof(leaves.as_slice(), old, new).unwrap();
        assert_eq!(proof, hashes(expected), "{old} to {new}");
        let (old_root, new_root) = (&roots[at(old)], &roots[at(new)]);
        assert_eq!(verify_consistency(old, new, old_root, new_root, &proof), Ok(()), "{old} to {new}");
    }
}

#[test]
fn every_proof_of_a_small_tree_verifies_and_none_verifies_elsewhere() {
    for size in 1..=20 {
        let leaves = leaves(size);
        let root = root_of(&leaves);
        for index in 0..size {
            let proof = inclusion_proof(leaves.as_slice(), index as u64, size as u64).unwrap();
            for (at, leaf) in leaves.iter().enumerate() {
                let taken = verify_inclusion(leaf, at as u64, size as u64, &proof, &root).is_ok();
                assert_eq!(taken, at == index, "proof of {index} for {at} of {size}");
            }
        }
        for old in 0..=size {
            let proof = consistency_proof(leaves.as_slice(), old as u64, size as u64).unwrap();
            for at in 1..=size {
                let old_root = root_of(&leaves[..at]);
                let taken = verify_consistency(at as u64, size as u64, &old_root, &root, &proof).is_ok();
                assert_eq!(taken, at == old || (at == size && old == 0), "proof of {old} for {at} of {size}");
            }
        }
    }
}

#[test]
fn what_no_proof_can_show_is_refused_by_name() {
    let leaves = leaves(4);
    let root = root_of(&leaves);
    let outside = InclusionError::OutsideTree { index: 4, size: 4 };
    assert_eq!(verify_inclusion(&leaves[0], 4, 4, &[], &root), Err(outside));
    assert_eq!(
        verify_inclusion(&leaves[0], 0, 0, &[], &root),
        Err(InclusionError::OutsideTree { index: 0, size: 0 })
    );
    let shrinks = ConsistencyError::Shrinks { old: 4, new: 3 };
    assert_eq!(verify_consistency(4, 3, &root, &root_of(&leaves[..3]), &[]), Err(shrinks));
    let rewritten = ConsistencyError::NewRootDiffers { computed: root, root: leaves[0] };
    assert_eq!(verify_consistency(4, 4, &root, &leaves[0], &[]), Err(rewritten));
    let padded = ConsistencyError::WrongLength { old: 0, new: 4, found: 1 };
    assert_eq!(verify_consistency(0, 4, &empty_root(), &root, &[root]), Err(padded));
    let cut = ConsistencyError::WrongLength { old: 3, new: 4, found: 0 };
    assert_eq!(verify_consistency(3, 4, &root, &root, &[]), Err(cut));
    assert!(inclusion_proof(leaves.as_slice(), 4, 4).is_err());
    assert!(inclusion_proof(leaves.as_slice(), 0, 5).is_err());
    assert!(consistency_proof(leaves.as_slice(), 4, 3).is_err());
    assert!(consistency_proof(leaves.as_slice(), 1, 5).is_err());
    assert!(leaves.as_slice().subtree(64, 0).is_err());
    assert!(leaves.as_slice().subtree(63, u64::MAX).is_err());
}

#[test]
fn an_inner_node_does_not_pass_as_a_leaf_entry() {
    let leaves = leaves(4);
    let node = root_of(&leaves[..2]);
    let entry = [leaves[0].as_bytes().as_slice(), leaves[1].as_bytes()].concat();
    let proof = [root_of(&leaves[2..])];
    let root = root_of(&leaves);
    // A tree of two "leaves" with the same root is what a forger would claim; only hashing the entry gives it away.
    assert_eq!(verify_inclusion(&node, 0, 2, &proof, &root), Ok(()));
    assert!(verify_inclusion(&leaf_hash(&entry), 0, 2, &proof, &root).is_err());
}

#[test]
fn the_largest_sizes_are_walked_without_overflow() {
    let hash = leaf_hash(b"");
    for size in [u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) + 1] {
        for length in 0..70 {
            let proof = vec![hash; length];
            for index in [0, 1, size / 2, size - 1] {
                assert!(verify_inclusion(&hash, index, size, &proof, &hash).is_err());
                assert!(
                    verify_consistency(index.max(1), size, &hash, &hash, &proof).is_err() || index == size
                );
            }
        }
    }
}

/// The other implementation's tree, in the store that it keeps.
struct Other(Vec<other::Hash>);

impl other::HashReader for Other {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<other::Hash>, other::Error> {
        Ok(indexes.iter().map(|index| self.0[at(*index)]).collect())
    }
}

impl Other {
    fn of(entries: &[Vec<u8>]) -> Self {
        let mut tree = Self(Vec::new());
        for (n, entry) in entries.iter().enumerate() {
            let more = other::stored_hashes(n as u64, entry, &tree).unwrap();
            tree.0.extend(more);
        }
        tree
    }
}

fn theirs(hash: &Hash) -> other::Hash {
    other::Hash(*hash.as_bytes())
}

fn all_theirs(hashes: &[Hash]) -> Vec<other::Hash> {
    hashes.iter().map(theirs).collect()
}

fn ours(hashes: &[other::Hash]) -> Vec<Hash> {
    hashes.iter().map(|hash| Hash::from_bytes(hash.0)).collect()
}

fn entries() -> impl Strategy<Value = Vec<Vec<u8>>> {
    prop::collection::vec(prop::collection::vec(any::<u8>(), 0..8), 1..300)
}

/// A change to a proof that leaves another proof.
#[derive(Debug, Clone)]
enum Change {
    Flip { at: usize, bit: usize },
    Drop { at: usize },
    Insert { at: usize, hash: [u8; 32] },
    Exchange { at: usize },
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<usize>(), 0..256_usize).prop_map(|(at, bit)| Change::Flip { at, bit }),
        any::<usize>().prop_map(|at| Change::Drop { at }),
        (any::<usize>(), any::<[u8; 32]>()).prop_map(|(at, hash)| Change::Insert { at, hash }),
        any::<usize>().prop_map(|at| Change::Exchange { at }),
    ]
}

/// The changed proof; an empty one can only grow.
fn changed(proof: &[Hash], change: &Change) -> Vec<Hash> {
    let mut proof = proof.to_vec();
    let length = proof.len();
    match change {
        Change::Insert { at, hash } => proof.insert(at % (length + 1), Hash::from_bytes(*hash)),
        _ if length == 0 => proof.push(empty_root()),
        Change::Flip { at, bit } => {
            let mut bytes = *proof[at % length].as_bytes();
            bytes[bit / 8] ^= 1 << (bit % 8);
            proof[at % length] = Hash::from_bytes(bytes);
        }
        Change::Drop { at } => drop(proof.remove(at % length)),
        Change::Exchange { at } => proof.swap(at % length, (at % length + 1) % length),
    }
    proof
}

proptest! {
    #[test]
    fn roots_and_inclusion_proofs_are_those_of_the_other_implementation(
        entries in entries(), index in any::<prop::sample::Index>(), change in change(),
    ) {
        let other_tree = Other::of(&entries);
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let (size, index) = (leaves.len() as u64, index.index(leaves.len()));
        let (root, leaf, index) = (root_of(&leaves), leaves[index], index as u64);
        prop_assert_eq!(theirs(&root), other::tree_hash(size, &other_tree).unwrap());

        let proof = inclusion_proof(leaves.as_slice(), index, size).unwrap();
        other::check_record(&all_theirs(&proof), size, theirs(&root), index, theirs(&leaf)).unwrap();
        let other_proof = ours(&other::prove_record(size, index, &other_tree).unwrap());
        prop_assert_eq!(verify_inclusion(&leaf, index, size, &other_proof, &root), Ok(()));

        let changed = changed(&proof, &change);
        prop_assert!(changed == proof || verify_inclusion(&leaf, index, size, &changed, &root).is_err());
    }

    #[test]
    fn consistency_proofs_are_those_of_the_other_implementation(
        entries in entries(), old in any::<prop::sample::Index>(), change in change(),
    ) {
        let other_tree = Other::of(&entries);
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let (old, new) = (old.index(leaves.len()) + 1, leaves.len() as u64);
        let (old_root, new_root, old) = (root_of(&leaves[..old]), root_of(&leaves), old as u64);

        let proof = consistency_proof(leaves.as_slice(), old, new).unwrap();
        other::check_tree(&all_theirs(&proof), new, theirs(&new_root), old, theirs(&old_root)).unwrap();
        let other_proof = ours(&other::prove_tree(new, old, &other_tree).unwrap());
        prop_assert_eq!(verify_consistency(old, new, &old_root, &new_root, &other_proof), Ok(()));

        let changed = changed(&proof, &change);
        prop_assert!(changed == proof || verify_consistency(old, new, &old_root, &new_root, &changed).is_err());
    }

    #[test]
    fn any_proof_is_taken_by_both_implementations_or_by_neither(
        leaf in any::<[u8; 32]>(), root in any::<[u8; 32]>(), proof in prop::collection::vec(any::<[u8; 32]>(), 0..12),
        index in 0..2000_u64, size in 1..2000_u64, fit in any::<bool>(),
    ) {
        let proof: Vec<Hash> = proof.into_iter().map(Hash::from_bytes).collect();
        let leaf = Hash::from_bytes(leaf);
        // A root that the proof does lead to, so that the sides of every step are compared and not only its length.
        let root = match verify_inclusion(&leaf, index, size, &proof, &Hash::from_bytes(root)) {
            Err(InclusionError::RootDiffers { computed, .. }) if fit => computed,
            _ => Hash::from_bytes(root),
        };
        let by_us = verify_inclusion(&leaf, index, size, &proof, &root).is_ok();
        let by_them = other::check_record(&all_theirs(&proof), size, theirs(&root), index, theirs(&leaf)).is_ok();
        prop_assert_eq!(by_us, by_them);
    }

    #[test]
    fn tiles_and_their_contents_are_those_of_the_other_implementation(entries in 1..1500_usize, old in 0..1500_usize) {
        let entries: Vec<Vec<u8>> = (0..entries).map(|n| n.to_be_bytes().to_vec()).collect();
        let other_tree = Other::of(&entries);
        let leaves: Vec<Hash> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        let (old, new) = (old.min(leaves.len()) as u64, leaves.len() as u64);
        let grown: Vec<Tile> = Tile::grown(old, new).collect();
        let others = other::Tile::new_tiles(8, old, new);
        prop_assert_eq!(grown.len(), others.len());
        for (tile, other_tile) in grown.iter().zip(&others) {
            prop_assert_eq!(tile.to_string(), other_tile.path().replacen("tile/8/", "tile/", 1));
            prop_assert_eq!(tile.content(leaves.as_slice()).unwrap(), other_tile.read_data(&other_tree).unwrap());
        }
    }

    #[test]
    fn a_tile_path_is_read_as_the_other_implementation_reads_it(
        level in 0..10_u8, groups in prop::collection::vec("x?[0-9]{2,4}", 1..5), width in prop::option::of(1..300_u16),
    ) {
        let place = format!("{level}/{}", groups.join("/"));
        let place = width.map_or(place.clone(), |width| format!("{place}.p/{width}"));
        let read = format!("tile/{place}").parse::<Tile>();
        let other_read = other::Tile::from_path(&format!("tile/8/{place}"));
        match read {
            Ok(tile) => {
                let other_tile = other_read.unwrap();
                prop_assert_eq!((tile.level(), tile.index()), (other_tile.level(), other_tile.level_index()));
                prop_assert_eq!(u32::from(tile.width()), other_tile.width());
                prop_assert_eq!(tile.to_string(), format!("tile/{place}"));
            }
            Err(TileError::Path { .. }) => prop_assert!(other_read.is_err(), "only we refuse {}", place),
            // The other implementation knows no largest tree.
            Err(TileError::OutsideTree { level, index, width }) => {
                let hashes = u128::from(index) * 256 + u128::from(width);
                let beyond = level > 7 || hashes << (8 * level) > 1 << 62;
                prop_assert!(beyond || other_read.is_err(), "only we refuse {}", place);
            }
        }
    }
}

#[test]
fn a_tree_has_the_tiles_of_the_specifications_examples() {
    let count = |size, level, full| {
        Tile::grown(0, size).filter(|tile| tile.level() == level && (tile.width() == 256) == full).count()
    };
    let partial = |size: u64, level: u8| {
        Tile::grown(0, size).find(|tile| tile.level() == level && tile.width() < 256).map(|tile| tile.width())
    };
    assert_eq!((count(70_000, 0, true), partial(70_000, 0)), (273, Some(112)));
    assert_eq!((count(70_000, 1, true), partial(70_000, 1)), (1, Some(17)));
    assert_eq!((count(70_000, 2, true), partial(70_000, 2)), (0, Some(1)));
    assert_eq!((count(256, 0, true), partial(256, 0), partial(256, 1)), (1, None, Some(1)));
    assert_eq!(Tile::grown(0, 0).count() + Tile::grown(300, 300).count() + Tile::grown(300, 2).count(), 0);
    assert_eq!(Tile::new(0, 1_234_067, 256).unwrap().to_string(), "tile/0/x001/x234/067");
    assert_eq!(Tile::new(1, 0, 17).unwrap().to_string(), "tile/1/000.p/17");
}

#[test]
fn a_tile_beyond_every_tree_is_refused() {
    for (level, index, width, taken) in [
        (0, 0, 0, false),
        (0, 0, 257, false),
        (0, (1 << 54) - 1, 256, true),
        (0, 1 << 54, 1, false),
        (0, u64::MAX, 1, false),
        (7, 0, 64, true),
        (7, 0, 65, false),
        (8, 0, 1, false),
        (255, 0, 1, false),
    ] {
        assert_eq!(
            Tile::new(level, index, width).is_ok(),
            taken,
            "level {level}, index {index}, width {width}"
        );
    }
    for path in [
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/x000/000",
        "tile/00/000",
        "tile/0/0",
        "tile/0/000/",
        "tile/0/000.p/01",
    ] {
        assert!(path.parse::<Tile>().is_err(), "{path} was taken");
    }
}
