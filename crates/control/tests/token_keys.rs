//! The keys of the token service as they are kept: made once, refused where anything is wrong with their file, changed slowly or at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use warrantor_control::{
    keys::{KeyDirectory, KeyError},
    tokens::{OVERLAP, TokenKeys},
};
use warrantor_model::Timestamp;
use warrantor_testkit::SeededBytes;
use warrantor_tokens::SigningAlgorithm::{self, EdDsa, Es256};

struct World {
    _directory: tempfile::TempDir,
    keys: KeyDirectory,
    file: PathBuf,
    randomness: SeededBytes,
}

fn now() -> Timestamp {
    "2030-01-01T12:00:00Z".parse().unwrap()
}

fn ids(keys: &TokenKeys, now: Timestamp) -> Vec<String> {
    let published = keys.published(now);
    published["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
}

fn signing(keys: &TokenKeys, algorithm: SigningAlgorithm, now: Timestamp) -> String {
    keys.signing(algorithm, now).unwrap().signer().id().to_owned()
}

impl World {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (path, randomness) = (directory.path().join("keys"), SeededBytes::new(3));
        let origin = "log.example.com".parse().unwrap();
        let keys = KeyDirectory::open(&path, &origin, 0, &randomness).unwrap();
        Self { _directory: directory, keys, file: path.join("tokens.keys"), randomness }
    }

    fn read(&self, algorithms: &[SigningAlgorithm]) -> Result<TokenKeys, KeyError> {
        self.keys.tokens(algorithms, now(), &self.randomness)
    }
}

#[test]
fn keys_are_made_once_for_each_algorithm_that_is_needed() {
    let world = World::new();
    let first = ids(&world.read(&[EdDsa]).unwrap(), now());
    assert_eq!(first.len(), 1);
    assert_eq!(ids(&world.read(&[EdDsa]).unwrap(), now()), first);
    let both = ids(&world.read(&[EdDsa, Es256]).unwrap(), now());
    assert_eq!((both.len(), &both[..1]), (2, &first[..]));
    assert_eq!(fs::metadata(&world.file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn another_key_is_published_at_once_and_signs_later_beside_the_old_one() {
    let world = World::new();
    let old = signing(&world.read(&[EdDsa, Es256]).unwrap(), EdDsa, now());
    let later = now().plus(OVERLAP);
    let keys = world.keys.rotate_tokens(EdDsa, later, now(), &world.randomness).unwrap();
    assert_eq!(ids(&keys, now()).len(), 3);
    assert_eq!(signing(&keys, EdDsa, now()), old);
    let new = signing(&keys, EdDsa, later);
    assert_ne!(new, old);
    // Who reads the file sees the same, and what nothing valid is signed with is forgotten by the next change.
    assert_eq!(signing(&world.read(&[EdDsa]).unwrap(), EdDsa, later), new);
    let much_later = later.plus(Duration::from_secs(86_400));
    world.keys.rotate_tokens(Es256, much_later, much_later, &world.randomness).unwrap();
    assert!(!ids(&world.read(&[EdDsa]).unwrap(), now()).contains(&old));
}

#[test]
fn a_key_that_somebody_else_may_have_is_gone_at_once_and_others_stay() {
    let world = World::new();
    let before = world.read(&[EdDsa, Es256]).unwrap();
    world.keys.rotate_tokens(EdDsa, now().plus(OVERLAP), now(), &world.randomness).unwrap();
    let keys = world.keys.replace_tokens(EdDsa, now(), &world.randomness).unwrap();
    let left = ids(&keys, now());
    assert_eq!(left.len(), 2);
    assert!(!left.contains(&signing(&before, EdDsa, now())));
    assert!(left.contains(&signing(&before, Es256, now())));
    assert_eq!(ids(&world.read(&[EdDsa, Es256]).unwrap(), now()), left);
}

#[test]
fn a_file_with_anything_wrong_about_it_is_refused_and_never_written_over() {
    let good = |path: &Path| fs::read_to_string(path).unwrap();
    let line = |algorithm: &str| format!("{algorithm} {} 2030-01-01T12:00:00Z\n", "ab".repeat(32));
    for (text, fits) in [
        (line("EdDSA"), true),
        (line("HS256"), false),
        (line("EdDSA").replace("ab", "a"), false),
        (line("EdDSA").replace("ab", "zz"), false),
        (line("EdDSA").replace(" 2030", " never"), false),
        (line("EdDSA").replace('\n', " more\n"), false),
        (format!("ES256 {} 2030-01-01T12:00:00Z\n", "00".repeat(32)), false),
        ("\n".to_owned(), false),
    ] {
        let world = World::new();
        world.read(&[EdDsa]).unwrap();
        fs::write(&world.file, &text).unwrap();
        match world.read(&[EdDsa]) {
            Ok(_) => assert!(fits, "{text}"),
            Err(cause) => assert!(matches!(cause, KeyError::Malformed { .. }) && !fits, "{text}: {cause}"),
        }
        assert_eq!(good(&world.file), text);
        let changed = world.keys.rotate_tokens(EdDsa, now(), now(), &world.randomness);
        assert_eq!(changed.is_ok(), fits, "{text}");
    }
    // Others could read it, or it cannot be read at all: neither is a reason to make new keys.
    let world = World::new();
    world.read(&[EdDsa]).unwrap();
    fs::set_permissions(&world.file, fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(world.read(&[EdDsa]), Err(KeyError::Open { mode: 0o640, .. })));
    fs::remove_file(&world.file).unwrap();
    fs::create_dir(&world.file).unwrap();
    assert!(matches!(world.read(&[EdDsa]), Err(KeyError::Io { .. })));
    assert!(world.file.is_dir());
}
