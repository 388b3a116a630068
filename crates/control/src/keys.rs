//! The key directory: what the ledger signs with, kept apart from what it signs.
//!
//! Whoever can write the database can make it agree on any history; only signatures contradict that. So the signing key, the list of keys
//! to trust, and the last signed checkpoint live in a directory of their own, owner-only, that may be placed on another volume and backed up
//! on its own. Files with wider permissions are refused, not repaired: the key may have been read.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use thiserror::Error;
use warrantor_engine::bodies::SealKey;
use warrantor_ledger::{KeyName, SigningKey, VerifierKey, note::SigningKeyError};
use warrantor_model::{Randomness, Timestamp, time::NoRandomness};
use warrantor_tokens::SigningAlgorithm;
use zeroize::Zeroizing;

use crate::{
    files,
    tokens::{TokenKey, TokenKeys},
};

const SIGNING: &str = "ledger.key";
const TRUSTED: &str = "ledger.vkeys";
const SEAL: &str = "bodies.key";
const DECISIONS: &str = "decisions.key";
const TOKENS: &str = "tokens.keys";
const LAST: &str = "checkpoint";
const FRONTIER: &str = "checkpoint.frontier";
const LOCK: &str = "lock";

/// Why the key directory cannot be used.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The operating system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("{} may be read or written by others than its owner (mode {mode:o}): see who could have read it, then `chmod go-rwx` it or rotate the key", path.display())]
    Open {
        /// Which.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// A file does not hold what it should.
    #[error("{} does not hold {what}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
    },
    /// There is a log and no keys for it. New keys would hide whatever happened to it.
    #[error("{} holds no keys for a log that has {size} records: restore the key directory", path.display())]
    Lost {
        /// Where they should be.
        path: PathBuf,
        /// How many records there are.
        size: u64,
    },
    /// No random bytes for a new key.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The key cannot be used.
    #[error(transparent)]
    Key(#[from] SigningKeyError),
}

/// The key directory.
#[derive(Debug, Clone)]
pub struct KeyDirectory {
    path: PathBuf,
}

/// Held while a checkpoint is signed or a key rotated: one process at a time.
#[derive(Debug)]
pub struct KeyLock {
    _file: File,
}

/// A signing key that is not in force yet.
pub struct NewKey {
    seed: Zeroizing<[u8; 32]>,
    key: SigningKey,
}

impl NewKey {
    /// The key.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }
}

impl KeyDirectory {
    /// Opens the directory, making it and its keys for a log of `size` records if there are none; that is allowed for an empty log only.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn open(
        path: &Path,
        origin: &KeyName,
        size: u64,
        randomness: &dyn Randomness,
    ) -> Result<Self, KeyError> {
        let directory = Self { path: path.to_owned() };
        directory.make()?;
        let _lock = directory.lock()?;
        owner_only(path)?;
        let missing = |name| !directory.at(name).exists();
        if size > 0 && (missing(SIGNING) || missing(SEAL)) {
            return Err(KeyError::Lost { path: path.to_owned(), size });
        }
        if missing(SIGNING) {
            directory.make_signing(origin, randomness)?;
        }
        if missing(SEAL) {
            let mut seal = Zeroizing::new([0; 32]);
            randomness.fill(seal.as_mut())?;
            directory.replace(SEAL, hex::encode(seal.as_ref()).as_bytes())?;
        }
        // Looked at now, and not only when the first checkpoint is signed.
        owner_only(&directory.at(SIGNING))?;
        owner_only(&directory.at(TRUSTED))?;
        owner_only(&directory.at(SEAL))?;
        Ok(directory)
    }

    /// The directory of an existing deployment; nothing is made.
    ///
    /// # Errors
    /// [`KeyError::Io`] when it is not there, [`KeyError::Open`] when others may write to it.
    pub fn existing(path: &Path) -> Result<Self, KeyError> {
        owner_writes(path)?;
        Ok(Self { path: path.to_owned() })
    }

    fn make(&self) -> Result<(), KeyError> {
        match fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path) {
            Ok(()) => Ok(()),
            Err(cause) => Err(self.io("", cause)),
        }
    }

    /// Where the directory is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the lock.
    ///
    /// # Errors
    /// [`KeyError::Io`].
    pub fn lock(&self) -> Result<KeyLock, KeyError> {
        let path = self.at(LOCK);
        let io = |cause| KeyError::Io { path: path.clone(), cause };
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(io)?;
        flock(&file, FlockOperation::LockExclusive).map_err(|cause| io(cause.into()))?;
        Ok(KeyLock { _file: file })
    }

    /// The key that signs.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn signing(&self, origin: &KeyName) -> Result<SigningKey, KeyError> {
        let seed = self.secret(SIGNING)?;
        Ok(SigningKey::from_seed(origin.clone(), seed)?)
    }

    /// The key that wraps the persons' keys.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn seal(&self) -> Result<SealKey, KeyError> {
        Ok(SealKey::new(*self.secret(SEAL)?))
    }

    /// The key that signs answers to enforcement points elsewhere; made when it is first asked for. It is none of the ledger's: what it signs is good for a
    /// moment, and whoever has it cannot forge history.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn decisions(&self, origin: &KeyName, randomness: &dyn Randomness) -> Result<SigningKey, KeyError> {
        let _lock = self.lock()?;
        if !self.at(DECISIONS).exists() {
            let mut seed = Zeroizing::new([0; 32]);
            randomness.fill(seed.as_mut())?;
            self.replace(DECISIONS, hex::encode(seed.as_ref()).as_bytes())?;
        }
        let name = format!("{origin}/decisions");
        let name = name.parse().map_err(|_| KeyError::Malformed {
            path: self.at(DECISIONS),
            what: "a key whose name fits: the log's is too long",
        })?;
        Ok(SigningKey::from_seed(name, self.secret(DECISIONS)?)?)
    }

    /// The keys that sign tokens, the first ones first; with one for each of these algorithms, made now where there is none.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn tokens(
        &self,
        algorithms: &[SigningAlgorithm],
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<TokenKeys, KeyError> {
        let lock = self.lock()?;
        let mut keys = self.read_token_keys()?;
        let missing: Vec<_> =
            algorithms.iter().copied().filter(|one| keys.signing(*one, now).is_none()).collect();
        for algorithm in missing {
            keys.add(fresh_token_key(algorithm, now, randomness)?);
            self.write_token_keys(&keys, &lock)?;
        }
        Ok(keys)
    }

    /// Adds a key that signs tokens from an instant on, so that whoever verifies them has read it by then, and forgets those that nothing valid is signed
    /// with any more.
    ///
    /// # Errors
    /// [`KeyError`]; the keys are as they were then.
    pub fn rotate_tokens(
        &self,
        algorithm: SigningAlgorithm,
        from: Timestamp,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<TokenKeys, KeyError> {
        let lock = self.lock()?;
        let mut keys = self.read_token_keys()?;
        keys.forget(now);
        keys.add(fresh_token_key(algorithm, from, randomness)?);
        self.write_token_keys(&keys, &lock)?;
        Ok(keys)
    }

    /// Puts another key in the place of those of an algorithm, at once: what these have signed counts no more. For keys that somebody else may have.
    ///
    /// # Errors
    /// [`KeyError`]; the keys are as they were then.
    pub fn replace_tokens(
        &self,
        algorithm: SigningAlgorithm,
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<TokenKeys, KeyError> {
        let lock = self.lock()?;
        let mut keys = self.read_token_keys()?;
        keys.drop_all(algorithm);
        keys.add(fresh_token_key(algorithm, now, randomness)?);
        self.write_token_keys(&keys, &lock)?;
        Ok(keys)
    }

    fn read_token_keys(&self) -> Result<TokenKeys, KeyError> {
        let malformed = || KeyError::Malformed {
            path: self.at(TOKENS),
            what: "keys of tokens: an algorithm, 64 hexadecimal digits and an instant in each line",
        };
        // Only a file that is not there has no keys: one that cannot be read would be written over.
        let Some(bytes) = self.optional(TOKENS)?.map(Zeroizing::new) else { return Ok(TokenKeys::default()) };
        owner_only(&self.at(TOKENS))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| malformed())?;
        let mut keys = TokenKeys::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            let (Some(algorithm), Some(seed), Some(from), None) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                return Err(malformed());
            };
            let algorithm = SigningAlgorithm::named(algorithm).ok_or_else(malformed)?;
            let mut bytes = Zeroizing::new([0; 32]);
            hex::decode_to_slice(seed, bytes.as_mut()).map_err(|_| malformed())?;
            let from = from.parse().map_err(|_| malformed())?;
            keys.add(TokenKey::new(algorithm, bytes, from).map_err(|_| malformed())?);
        }
        Ok(keys)
    }

    fn write_token_keys(&self, keys: &TokenKeys, _lock: &KeyLock) -> Result<(), KeyError> {
        let mut text = Zeroizing::new(String::new());
        for key in keys.iter() {
            text.push_str(key.signer.algorithm().name());
            text.push(' ');
            text.push_str(&Zeroizing::new(hex::encode(key.seed.as_ref())));
            text.push_str(&format!(" {}\n", key.from));
        }
        self.replace(TOKENS, text.as_bytes())
    }

    /// The verifier keys to trust, the first ones first.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn trusted(&self) -> Result<Vec<VerifierKey>, KeyError> {
        let path = self.at(TRUSTED);
        owner_writes(&path)?;
        let text = fs::read_to_string(&path).map_err(|cause| self.io(TRUSTED, cause))?;
        text.lines()
            .filter(|line| !line.trim().is_empty())
            .map(|line| {
                line.parse().map_err(|_| KeyError::Malformed { path: path.clone(), what: "verifier keys" })
            })
            .collect()
    }

    /// A new signing key, which signs nothing until it is installed.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn draft(&self, origin: &KeyName, randomness: &dyn Randomness) -> Result<NewKey, KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        randomness.fill(seed.as_mut())?;
        let key = SigningKey::from_seed(origin.clone(), seed.clone())?;
        Ok(NewKey { seed, key })
    }

    /// Puts a new key in the place of the one that signs, and trusts it beside the old ones.
    ///
    /// # Errors
    /// [`KeyError`]; the old key stays in force then.
    pub fn install(&self, new: &NewKey, _lock: &KeyLock) -> Result<(), KeyError> {
        let mut trusted: String = self.trusted()?.iter().map(|key| format!("{key}\n")).collect();
        // Trusted before it signs: a crash in between leaves a key that nobody used.
        trusted.push_str(&format!("{}\n", new.key.verifier()));
        self.replace(TRUSTED, trusted.as_bytes())?;
        self.replace(SIGNING, hex::encode(new.seed.as_ref()).as_bytes())
    }

    /// The last signed checkpoint's note.
    ///
    /// # Errors
    /// [`KeyError`]. `None` only when nothing was ever signed here.
    pub fn last_signed(&self) -> Result<Option<String>, KeyError> {
        self.optional(LAST)?
            .map(|bytes| {
                String::from_utf8(bytes)
                    .map_err(|_| KeyError::Malformed { path: self.at(LAST), what: "a checkpoint" })
            })
            .transpose()
    }

    /// The frontier at the last signed checkpoint. It proves nothing by itself: its root must be the signed one.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn last_frontier(&self) -> Result<Option<Vec<u8>>, KeyError> {
        self.optional(FRONTIER)
    }

    /// Keeps a signed checkpoint, durably, before anybody sees it.
    ///
    /// # Errors
    /// [`KeyError`]; the checkpoint must not be published then.
    pub fn keep_signed(&self, note: &str, frontier: &[u8], _lock: &KeyLock) -> Result<(), KeyError> {
        self.replace(LAST, note.as_bytes())?;
        self.replace(FRONTIER, frontier)
    }

    /// The first signing key. Trusted before it is there: a process that ends in between leaves a key that nobody has, and the next one makes both anew.
    fn make_signing(&self, origin: &KeyName, randomness: &dyn Randomness) -> Result<(), KeyError> {
        let mut seed = Zeroizing::new([0; 32]);
        randomness.fill(seed.as_mut())?;
        let key = SigningKey::from_seed(origin.clone(), seed.clone())?;
        self.replace(TRUSTED, format!("{}\n", key.verifier()).as_bytes())?;
        self.replace(SIGNING, hex::encode(seed.as_ref()).as_bytes())
    }

    fn secret(&self, name: &str) -> Result<Zeroizing<[u8; 32]>, KeyError> {
        let path = self.at(name);
        let text = read_secret(&path)?;
        let mut bytes = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), bytes.as_mut())
            .map_err(|_| KeyError::Malformed { path, what: "a key of 64 hexadecimal digits" })?;
        Ok(bytes)
    }

    fn optional(&self, name: &str) -> Result<Option<Vec<u8>>, KeyError> {
        match fs::read(self.at(name)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(cause) => Err(self.io(name, cause)),
        }
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> Result<(), KeyError> {
        files::replace(&self.at(name), bytes).map_err(|cause| self.io(name, cause))
    }

    fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn io(&self, name: &str, cause: io::Error) -> KeyError {
        KeyError::Io { path: self.at(name), cause }
    }
}

/// A key of random bytes. Of those some are no key of the algorithm: then of others.
fn fresh_token_key(
    algorithm: SigningAlgorithm,
    from: Timestamp,
    randomness: &dyn Randomness,
) -> Result<TokenKey, KeyError> {
    for _ in 0..4 {
        let mut seed = Zeroizing::new([0; 32]);
        randomness.fill(seed.as_mut())?;
        if let Ok(key) = TokenKey::new(algorithm, seed, from) {
            return Ok(key);
        }
    }
    Err(NoRandomness.into())
}

/// A secret from a file of its own.
///
/// # Errors
/// [`KeyError`], also of a file that others than its owner may read.
pub fn read_secret(path: &Path) -> Result<Zeroizing<String>, KeyError> {
    owner_only(path)?;
    let text = fs::read_to_string(path).map_err(|cause| KeyError::Io { path: path.to_owned(), cause })?;
    Ok(Zeroizing::new(text))
}

/// Secrets: nobody else may read them.
fn owner_only(path: &Path) -> Result<(), KeyError> {
    without(path, 0o077)
}

/// What is trusted: others may read it, as on a copy that an auditor was given, and not change it.
fn owner_writes(path: &Path) -> Result<(), KeyError> {
    without(path, 0o022)
}

fn without(path: &Path, forbidden: u32) -> Result<(), KeyError> {
    let metadata = fs::metadata(path).map_err(|cause| KeyError::Io { path: path.to_owned(), cause })?;
    let mode = metadata.mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    Ok(())
}
