//! The seeds and the targets belong together.

#![allow(clippy::unwrap_used, missing_docs, reason = "test code")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use warrantor_fuzz::{Reading, TARGETS};

fn files(directory: &Path) -> Vec<PathBuf> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect()
}

fn seeds() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds")
}

#[test]
fn every_target_has_seeds_and_every_seed_a_target() {
    let directories: BTreeSet<String> =
        files(&seeds()).iter().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(directories, targets);
}

#[test]
fn every_parser_takes_at_least_one_of_its_seeds() {
    for (name, target) in TARGETS {
        let seeds = files(&seeds().join(name));
        let taken = seeds.iter().filter(|seed| target(&fs::read(seed).unwrap()) == Reading::Taken).count();
        assert!(taken > 0, "{name} takes none of its {} seeds", seeds.len());
    }
}
