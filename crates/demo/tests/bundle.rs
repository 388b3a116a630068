//! The example bundle is one that its own reader takes without a word.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{fs, path::Path};

use warrantor_bundle::{Listed, check, load};
use warrantor_demo::bundle;

#[test]
fn the_bundle_passes_its_check_without_errors_and_warnings() {
    let dir = tempfile::tempdir().unwrap();
    bundle::write(dir.path()).unwrap();
    let report = check(dir.path());
    assert!(report.is_passed() && report.warnings() == 0, "{}", Listed(&report));
    let loaded = load(dir.path()).unwrap();
    assert!(loaded.templates.keys().any(|id| id.as_str() == bundle::MANDATE));
}

#[test]
fn every_file_of_the_bundle_s_directory_is_written() {
    let dir = tempfile::tempdir().unwrap();
    bundle::write(dir.path()).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("bundle");
    let mut names = Vec::new();
    for place in [".", "tools", "policies", "mandates"] {
        for entry in fs::read_dir(source.join(place)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                names.push(path.strip_prefix(&source).unwrap().to_owned());
            }
        }
    }
    assert_eq!(names.len(), 8);
    for name in names {
        assert_eq!(
            fs::read(source.join(&name)).unwrap(),
            fs::read(dir.path().join(&name)).unwrap(),
            "{name:?}"
        );
    }
}
