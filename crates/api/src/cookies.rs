//! Cookies: what goes along in a browser, sealed so that only this process reads it.

use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue, header};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use warrantor_engine::bodies::{SealError, SealKey};
use warrantor_model::Randomness;

/// The largest cookie that browsers keep, attributes and all.
const LARGEST: usize = 4096;

/// How a cookie goes along.
#[derive(Clone, Copy)]
pub(crate) struct Along<'a> {
    pub(crate) path: &'a str,
    pub(crate) same_site: &'a str,
    pub(crate) lasts: Duration,
}

/// Seals cookies. One of each process: what outlives it begins again.
pub(crate) struct Cookies {
    sealing: SealKey,
    /// Whether browsers come over TLS.
    secure: bool,
}

impl Cookies {
    /// For pages at this address.
    pub(crate) fn new(address: &str, randomness: &dyn Randomness) -> Result<Self, SealError> {
        Ok(Self { sealing: SealKey::generate(randomness)?, secure: address.starts_with("https:") })
    }

    /// A cookie of this name with a value that only this process can read.
    pub(crate) fn sealed(
        &self,
        randomness: &dyn Randomness,
        name: &str,
        value: &impl Serialize,
        along: Along<'_>,
    ) -> Option<HeaderValue> {
        self.plain(name, &self.seal(randomness, name, value)?, along)
    }

    /// A cookie of this name with this value.
    pub(crate) fn plain(&self, name: &str, value: &str, along: Along<'_>) -> Option<HeaderValue> {
        let Along { path, same_site, lasts } = along;
        let secure = if self.secure { "; Secure" } else { "" };
        let cookie = format!(
            "{name}={value}; Path={path}; Max-Age={}; HttpOnly; SameSite={same_site}{secure}",
            lasts.as_secs(),
        );
        // Browsers drop a larger one without a word.
        (cookie.len() <= LARGEST).then_some(cookie).and_then(|cookie| HeaderValue::from_str(&cookie).ok())
    }

    /// A value as text that only this process can read.
    pub(crate) fn seal(
        &self,
        randomness: &dyn Randomness,
        name: &str,
        value: &impl Serialize,
    ) -> Option<String> {
        let text = serde_json::to_vec(value).ok()?;
        let sealed = self.sealing.seal_value(randomness, name, &text).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode(sealed))
    }

    /// What the cookie of this name holds.
    pub(crate) fn opened<T: DeserializeOwned>(&self, headers: &HeaderMap, name: &str) -> Option<T> {
        self.open(name, cookie(headers, name)?)
    }

    /// What [`Cookies::seal`] sealed under this name.
    pub(crate) fn open<T: DeserializeOwned>(&self, name: &str, sealed: &str) -> Option<T> {
        let sealed = BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?;
        serde_json::from_slice(&self.sealing.open_value(name, &sealed).ok()?).ok()
    }
}

/// The value of a cookie.
pub(crate) fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
    let mut values = all.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (of, value) = pair.trim().split_once('=')?;
        (of == name).then_some(value)
    });
    values.next()
}

/// Takes a cookie away.
pub(crate) fn forgotten(name: &str, path: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("{name}=; Path={path}; Max-Age=0; HttpOnly")).ok()
}
