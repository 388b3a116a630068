//! Secrets of upstreams, sealed: a file in which each secret stands encrypted under a key of its own, and that key under one which is kept elsewhere.
//!
//! Whoever has the file has nothing without the key, and whoever has the key has it in a place made for keys: a file of its own, the environment, or a service
//! that unwraps it when it is asked. The name of a secret is bound to what is sealed, so that two cannot change places.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use warrantor_engine::bodies::{SealError, SealKey};
use warrantor_model::{Randomness, Timestamp};
use zeroize::Zeroizing;

use crate::files;

/// Most bytes of a secret.
const MAX_SECRET: usize = 64 << 10;
/// Most bytes of the file.
const MAX_FILE: u64 = 4 << 20;
/// The version of the file.
const VERSION: u32 = 1;

/// Why a secret is not there.
#[derive(Debug, Error)]
pub enum SecretError {
    /// The operating system refused.
    #[error("{}: {cause}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The file is none of sealed secrets.
    #[error("{} holds no sealed secrets: {cause}", path.display())]
    Format {
        /// Which file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// There is no secret of this name.
    #[error("there is no secret {name}: it is put there with `warrantor secret put {name}`")]
    Unknown {
        /// Which.
        name: String,
    },
    /// A name that is none.
    #[error("{name:?} names no secret: use 1 to 64 letters, digits and `._-`")]
    Name {
        /// Which.
        name: String,
    },
    /// It is empty or too long.
    #[error("a secret has 1 to {MAX_SECRET} bytes")]
    Size,
    /// It does not open.
    #[error("the secret {name} does not open: the key is another one, or the file was changed")]
    Sealed {
        /// Which.
        name: String,
    },
    /// It cannot be sealed.
    #[error(transparent)]
    Seal(SealError),
}

/// One sealed secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The secret's own key, wrapped.
    key: String,
    /// The secret, under that key.
    sealed: String,
    /// When it was put there.
    put: Timestamp,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u32,
    secrets: BTreeMap<String, Entry>,
}

/// A file of sealed secrets, and the key that opens it.
#[derive(Debug)]
pub struct Secrets {
    path: PathBuf,
    key: SealKey,
    entries: BTreeMap<String, Entry>,
}

fn checked(name: &str) -> Result<(), SecretError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    match (1..=64).contains(&name.len()) && name.chars().all(plain) {
        true => Ok(()),
        false => Err(SecretError::Name { name: name.chars().take(64).collect() }),
    }
}

/// What a secret's key is wrapped for, and the secret sealed for: nothing opens under another name.
fn context(name: &str) -> String {
    format!("warrantor secret {name}")
}

impl Secrets {
    /// Reads a file; one that is not there has no secrets yet.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn open(path: &Path, key: SealKey) -> Result<Self, SecretError> {
        let io = |cause| SecretError::Io { path: path.to_owned(), cause };
        let format = |cause: String| SecretError::Format { path: path.to_owned(), cause };
        let entries = match fs::metadata(path) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(cause) => return Err(io(cause)),
            Ok(found) if found.len() > MAX_FILE => return Err(format("it is too large".to_owned())),
            Ok(_) => {
                let bytes = fs::read(path).map_err(io)?;
                let file: File = serde_json::from_slice(&bytes).map_err(|cause| format(cause.to_string()))?;
                if file.version != VERSION {
                    return Err(format(format!("its version is {}, and {VERSION} is read", file.version)));
                }
                file.secrets
            }
        };
        Ok(Self { path: path.to_owned(), key, entries })
    }

    /// The names, and when each was put there.
    pub fn names(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        self.entries.iter().map(|(name, entry)| (name.as_str(), entry.put))
    }

    /// A secret.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn get(&self, name: &str) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let entry = self.entries.get(name).ok_or_else(|| SecretError::Unknown { name: name.to_owned() })?;
        let sealed = || SecretError::Sealed { name: name.to_owned() };
        let decoded = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| sealed());
        let own = self.key.unwrap_key(&context(name), &decoded(&entry.key)?).map_err(|_| sealed())?;
        own.open_value(&context(name), &decoded(&entry.sealed)?).map_err(|_| sealed())
    }

    /// Puts a secret there, in place of one that has its name.
    ///
    /// # Errors
    /// [`SecretError`]; the file is as it was then.
    pub fn put(
        &mut self,
        name: &str,
        secret: &[u8],
        now: Timestamp,
        randomness: &dyn Randomness,
    ) -> Result<(), SecretError> {
        checked(name)?;
        if secret.is_empty() || secret.len() > MAX_SECRET {
            return Err(SecretError::Size);
        }
        let own = SealKey::generate(randomness).map_err(SecretError::Seal)?;
        let key = self.key.wrap(randomness, &context(name), &own).map_err(SecretError::Seal)?;
        let sealed = own.seal_value(randomness, &context(name), secret).map_err(SecretError::Seal)?;
        let encoded = |bytes: Vec<u8>| BASE64_STANDARD.encode(bytes);
        let entry = Entry { key: encoded(key), sealed: encoded(sealed), put: now };
        let mut entries = self.entries.clone();
        entries.insert(name.to_owned(), entry);
        self.write(entries)
    }

    /// Takes a secret away.
    ///
    /// # Errors
    /// [`SecretError`]; the file is as it was then.
    pub fn remove(&mut self, name: &str) -> Result<(), SecretError> {
        let mut entries = self.entries.clone();
        entries.remove(name).ok_or_else(|| SecretError::Unknown { name: name.to_owned() })?;
        self.write(entries)
    }

    /// Wraps every secret's key under another key. The secrets themselves stay as they are sealed.
    ///
    /// # Errors
    /// [`SecretError`]; the file and its key are as they were then.
    pub fn rewrap(&mut self, key: SealKey, randomness: &dyn Randomness) -> Result<(), SecretError> {
        let mut entries = self.entries.clone();
        for (name, entry) in &mut entries {
            let sealed = || SecretError::Sealed { name: name.clone() };
            let wrapped = BASE64_STANDARD.decode(&entry.key).map_err(|_| sealed())?;
            let own = self.key.unwrap_key(&context(name), &wrapped).map_err(|_| sealed())?;
            let wrapped = key.wrap(randomness, &context(name), &own).map_err(SecretError::Seal)?;
            entry.key = BASE64_STANDARD.encode(wrapped);
        }
        self.write(entries)?;
        self.key = key;
        Ok(())
    }

    fn write(&mut self, entries: BTreeMap<String, Entry>) -> Result<(), SecretError> {
        let file = File { version: VERSION, secrets: entries };
        let text = serde_json::to_vec_pretty(&file)
            .map_err(|cause| SecretError::Format { path: self.path.clone(), cause: cause.to_string() })?;
        files::replace(&self.path, &text)
            .map_err(|cause| SecretError::Io { path: self.path.clone(), cause })?;
        self.entries = file.secrets;
        Ok(())
    }
}

/// A key from 64 hexadecimal digits, as they are kept.
///
/// # Errors
/// The words say what it should be, and nothing of what it is.
pub fn key_of(text: &str) -> Result<SealKey, &'static str> {
    let mut bytes = Zeroizing::new([0; 32]);
    hex::decode_to_slice(text.trim(), bytes.as_mut()).map_err(|_| "a key has 64 hexadecimal digits")?;
    Ok(SealKey::new(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(std::sync::atomic::AtomicU8);
    impl Randomness for Counting {
        fn fill(&self, buffer: &mut [u8]) -> Result<(), warrantor_model::time::NoRandomness> {
            buffer.fill(self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
            Ok(())
        }
    }

    fn now() -> Timestamp {
        "2030-01-01T00:00:00Z".parse().unwrap()
    }

    #[test]
    fn a_secret_is_read_with_its_key_under_its_name_and_otherwise_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        let randomness = Counting(1.into());
        let mut secrets = Secrets::open(&path, SealKey::new([7; 32])).unwrap();
        secrets.put("bank", b"Bearer hunter2", now(), &randomness).unwrap();
        secrets.put("mail", b"other", now(), &randomness).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("hunter2") && !text.contains(&BASE64_STANDARD.encode("Bearer hunter2")));
        let again = Secrets::open(&path, SealKey::new([7; 32])).unwrap();
        assert_eq!(again.get("bank").unwrap().as_slice(), b"Bearer hunter2");
        assert_eq!(again.names().map(|(name, _)| name).collect::<Vec<_>>(), ["bank", "mail"]);
        assert!(!format!("{again:?}").contains("hunter2"));
        let other = Secrets::open(&path, SealKey::new([8; 32])).unwrap();
        assert!(matches!(other.get("bank"), Err(SecretError::Sealed { .. })));
        assert!(matches!(again.get("nothing"), Err(SecretError::Unknown { .. })));
        // Two that changed places open no more.
        let mut file: serde_json::Value = serde_json::from_str(&text).unwrap();
        let (bank, mail) = (file["secrets"]["bank"].take(), file["secrets"]["mail"].take());
        (file["secrets"]["bank"], file["secrets"]["mail"]) = (mail, bank);
        fs::write(&path, file.to_string()).unwrap();
        let swapped = Secrets::open(&path, SealKey::new([7; 32])).unwrap();
        assert!(matches!(swapped.get("bank"), Err(SecretError::Sealed { .. })));
    }

    #[test]
    fn another_key_takes_over_and_the_old_one_opens_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        let randomness = Counting(1.into());
        let mut secrets = Secrets::open(&path, SealKey::new([7; 32])).unwrap();
        secrets.put("bank", b"x", now(), &randomness).unwrap();
        secrets.rewrap(SealKey::new([9; 32]), &randomness).unwrap();
        assert_eq!(secrets.get("bank").unwrap().as_slice(), b"x");
        let old = Secrets::open(&path, SealKey::new([7; 32])).unwrap();
        assert!(matches!(old.get("bank"), Err(SecretError::Sealed { .. })));
        assert!(matches!(
            Secrets::open(&path, SealKey::new([7; 32])).unwrap().rewrap(SealKey::new([1; 32]), &randomness),
            Err(SecretError::Sealed { .. })
        ));
        secrets.remove("bank").unwrap();
        assert!(matches!(secrets.get("bank"), Err(SecretError::Unknown { .. })));
    }

    #[test]
    fn what_is_no_name_no_secret_and_no_file_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.json");
        let randomness = Counting(1.into());
        let mut secrets = Secrets::open(&path, SealKey::new([7; 32])).unwrap();
        for name in ["", "a b", "../x", &"a".repeat(65)] {
            assert!(matches!(secrets.put(name, b"x", now(), &randomness), Err(SecretError::Name { .. })));
        }
        for secret in [Vec::new(), vec![0; MAX_SECRET + 1]] {
            assert!(matches!(secrets.put("a", &secret, now(), &randomness), Err(SecretError::Size)));
        }
        for text in ["", "{}", r#"{"version":2,"secrets":{}}"#, r#"{"version":1,"secrets":{},"more":1}"#] {
            fs::write(&path, text).unwrap();
            let opened = Secrets::open(&path, SealKey::new([7; 32]));
            assert!(matches!(opened, Err(SecretError::Format { .. })), "{text}");
        }
        assert!(key_of("00").is_err() && key_of(&"ab".repeat(32)).is_ok());
    }
}
