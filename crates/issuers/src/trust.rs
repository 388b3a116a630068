//! Bundles of trust domains (SPIFFE Trust Domain and Bundle, SPIFFE Federation), read or fetched when they are needed and kept for a while.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use thiserror::Error;
use warrantor_model::Timestamp;
use warrantor_tokens::{MAX_KEY_SET_BYTES, TrustBundle};

use crate::fetch::{Fetcher, TrustError};

/// How long a bundle is kept that does not say for how long, and one of a file.
const KEPT: Duration = Duration::from_secs(60);
/// How long one is kept at most, whatever it says.
const LONGEST: Duration = Duration::from_secs(60 * 60);
/// How long one goes on, from when it was had, while there is no newer one.
const UNANSWERED: Duration = Duration::from_secs(60 * 60);
/// How long a source that failed is left alone.
const PAUSE: Duration = Duration::from_secs(10);

/// Why there is no bundle.
#[derive(Debug, Error)]
#[error("the bundle of the trust domain {domain} cannot be had: {cause}")]
pub struct NoBundle {
    domain: String,
    cause: String,
}

/// A trust domain, with the bundle that it has now.
pub struct TrustDomain {
    name: String,
    source: Source,
    kept: Mutex<Kept>,
    /// Held by whoever asks.
    asking: tokio::sync::Mutex<()>,
}

enum Source {
    File(PathBuf),
    Endpoint(String, Fetcher),
}

#[derive(Default)]
struct Kept {
    bundle: Option<(Timestamp, Arc<TrustBundle>)>,
    failed: Option<(Timestamp, String)>,
}

impl TrustDomain {
    /// One whose bundle is in a file.
    #[must_use]
    pub fn in_file(name: &str, file: PathBuf) -> Self {
        Self::of(name, Source::File(file))
    }

    /// One whose bundle is at an address.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn at(name: &str, url: &str, certificates: Option<&std::path::Path>) -> Result<Self, TrustError> {
        Ok(Self::of(name, Source::Endpoint(url.to_owned(), Fetcher::trusting(certificates)?)))
    }

    fn of(name: &str, source: Source) -> Self {
        Self { name: name.to_owned(), source, kept: Mutex::default(), asking: tokio::sync::Mutex::default() }
    }

    /// Its bundle, as of a moment ago.
    ///
    /// # Errors
    /// [`NoBundle`].
    pub async fn bundle(&self, now: Timestamp) -> Result<Arc<TrustBundle>, NoBundle> {
        let fresh = |kept: &Kept| {
            let (at, bundle) = kept.bundle.as_ref()?;
            // What a bundle says of how often it is asked for is said of its address.
            let lasts = match self.source {
                Source::File(_) => KEPT,
                Source::Endpoint(..) => bundle.refresh_hint().unwrap_or(KEPT).clamp(KEPT, LONGEST),
            };
            (now >= *at && now < at.plus(lasts)).then(|| Arc::clone(bundle))
        };
        if let Some(bundle) = fresh(&self.lock()) {
            return Ok(bundle);
        }
        let _asking = self.asking.lock().await;
        if let Some(bundle) = fresh(&self.lock()) {
            return Ok(bundle);
        }
        let failed = self.lock().failed.clone().filter(|(at, _)| now >= *at && now < at.plus(PAUSE));
        let had = match failed {
            Some((_, cause)) => Err(cause),
            None => self.had().await,
        };
        let mut kept = self.lock();
        let old = kept.bundle.clone();
        let had = had.and_then(|bundle| match &old {
            // A bundle that is older than the one before may have a key in it that was taken away.
            Some((_, before)) if !bundle.replaces(before) => {
                Err("it is older than the one before".to_owned())
            }
            _ => Ok(Arc::new(bundle)),
        });
        match had {
            Ok(bundle) => {
                *kept = Kept { bundle: Some((now, Arc::clone(&bundle))), failed: None };
                Ok(bundle)
            }
            Err(cause) => {
                if kept.failed.as_ref().is_none_or(|(at, _)| now < *at || now >= at.plus(PAUSE)) {
                    kept.failed = Some((now, cause.clone()));
                }
                match old.filter(|(at, _)| now >= *at && now < at.plus(UNANSWERED)) {
                    Some((_, bundle)) => {
                        tracing::warn!(
                            domain = self.name,
                            cause,
                            "the bundle of a trust domain is not fresh"
                        );
                        Ok(bundle)
                    }
                    None => Err(NoBundle { domain: self.name.clone(), cause }),
                }
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn had(&self) -> Result<TrustBundle, String> {
        let bytes = match &self.source {
            Source::File(file) => {
                let file = file.clone();
                let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
                let bytes = read.map_err(|cause| cause.to_string())?.map_err(|cause| cause.to_string())?;
                if bytes.len() > MAX_KEY_SET_BYTES {
                    return Err("the file is too large".to_owned());
                }
                bytes
            }
            Source::Endpoint(url, fetcher) => fetcher.get(url, MAX_KEY_SET_BYTES).await?.to_vec(),
        };
        TrustBundle::parse(&self.name, &bytes).map_err(|cause| cause.to_string())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use warrantor_tokens::{Signer, SigningAlgorithm};

    use super::*;

    fn bundle(seed: u8, sequence: u64) -> String {
        let key = Signer::from_seed(SigningAlgorithm::Es256, &[seed; 32]).unwrap();
        let mut public = key.public().clone();
        public["use"] = "jwt-svid".into();
        json!({ "keys": [public], "spiffe_sequence": sequence }).to_string()
    }

    #[tokio::test]
    async fn a_bundle_is_read_again_and_never_gives_way_to_an_older_one() {
        let file = std::env::temp_dir().join(format!("warrantor-bundle-{}", std::process::id()));
        let domain = TrustDomain::in_file("prod.example.com", file.clone());
        let begin: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds: u64| begin.plus(Duration::from_secs(seconds));
        std::fs::remove_file(&file).ok();
        assert!(domain.bundle(at(0)).await.is_err());
        std::fs::write(&file, bundle(1, 5)).unwrap();
        assert!(domain.bundle(at(9)).await.is_err(), "a source that failed is left alone for a while");
        assert_eq!(domain.bundle(at(10)).await.unwrap().sequence(), Some(5));
        std::fs::write(&file, bundle(2, 6)).unwrap();
        assert_eq!(domain.bundle(at(69)).await.unwrap().sequence(), Some(5));
        assert_eq!(domain.bundle(at(70)).await.unwrap().sequence(), Some(6));
        std::fs::write(&file, bundle(1, 5)).unwrap();
        assert_eq!(domain.bundle(at(130)).await.unwrap().sequence(), Some(6));
        std::fs::write(&file, "{}").unwrap();
        assert_eq!(domain.bundle(at(3669)).await.unwrap().sequence(), Some(6));
        assert!(domain.bundle(at(3670)).await.is_err(), "it goes on for an hour and no longer");
        std::fs::remove_file(&file).ok();
    }
}
