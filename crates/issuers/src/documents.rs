//! Client id metadata documents (draft-ietf-oauth-client-id-metadata-document): an application whose name is the address at which it says who it is.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use thiserror::Error;
use url::{Host, Url};
use warrantor_model::Timestamp;

use crate::fetch::{Fetcher, TrustError, is_loopback, is_public};

/// Most bytes of a document (section 6.6 of the draft suggests so many).
const MAX_BYTES: usize = 5 << 10;
/// How long one is kept. One that could not be had is not kept at all.
const KEPT: Duration = Duration::from_secs(5 * 60);
/// Most documents that are kept.
const MAX_KEPT: usize = 1000;
/// Most addresses that people may be sent back to.
const MAX_REDIRECTS: usize = 32;

/// What an application says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientDocument {
    /// What people know it by, as it says.
    pub name: Option<String>,
    /// Where people are sent back to.
    pub redirect_uris: Vec<String>,
}

/// Why a document is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DocumentError {
    /// It cannot be had.
    #[error("the document of the application cannot be had: {0}")]
    Unavailable(String),
    /// It is none, or of another application.
    #[error("the document of the application is none that can be taken: {0}")]
    Unfit(&'static str),
}

#[derive(Deserialize)]
struct Raw {
    client_id: String,
    client_name: Option<String>,
    redirect_uris: Vec<String>,
    token_endpoint_auth_method: Option<String>,
    client_secret: Option<serde_json::Value>,
    grant_types: Option<Vec<String>>,
    response_types: Option<Vec<String>>,
}

/// Reads a document that was found at the address that is its application's name.
///
/// # Errors
/// [`DocumentError::Unfit`].
pub fn read_document(client_id: &str, bytes: &[u8]) -> Result<ClientDocument, DocumentError> {
    let raw: Raw = serde_json::from_slice(bytes)
        .map_err(|_| DocumentError::Unfit("it is no JSON, or lacks client_id or redirect_uris"))?;
    if raw.client_id != client_id {
        return Err(DocumentError::Unfit("its client_id is not its own address"));
    }
    // A secret that stands where everybody reads it is none.
    if raw.client_secret.is_some() || raw.token_endpoint_auth_method.is_some_and(|method| method != "none") {
        return Err(DocumentError::Unfit(
            "its token_endpoint_auth_method is not `none`: others are not known here",
        ));
    }
    let lists =
        |list: Option<Vec<String>>, name: &str| list.is_none_or(|list| list.iter().any(|one| one == name));
    if !lists(raw.grant_types, "authorization_code") || !lists(raw.response_types, "code") {
        return Err(DocumentError::Unfit("it does not use authorization codes"));
    }
    if raw.redirect_uris.is_empty() || raw.redirect_uris.len() > MAX_REDIRECTS {
        return Err(DocumentError::Unfit("it lists no redirect_uris, or too many"));
    }
    let name = raw.client_name.map(|name| name.chars().filter(|c| !c.is_control()).take(100).collect());
    Ok(ClientDocument { name, redirect_uris: raw.redirect_uris })
}

/// Documents, fetched when they are needed and kept for a while.
pub struct Documents {
    public: Fetcher,
    /// For documents on this machine, where the operator has named one.
    here: Fetcher,
    kept: Mutex<BTreeMap<String, (Timestamp, Arc<ClientDocument>)>>,
}

impl Documents {
    /// Makes ready to ask.
    ///
    /// # Errors
    /// [`TrustError`].
    pub fn new() -> Result<Self, TrustError> {
        Ok(Self { public: Fetcher::public()?, here: Fetcher::trusting(None)?, kept: Mutex::default() })
    }

    /// Whether a document is kept, so that nobody has to be asked.
    #[must_use]
    pub fn has(&self, client_id: &str, now: Timestamp) -> bool {
        self.lock().get(client_id).is_some_and(|(at, _)| now >= *at && now < at.plus(KEPT))
    }

    /// The document of an application that the operator lets be asked.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub async fn document(
        &self,
        client_id: &str,
        now: Timestamp,
    ) -> Result<Arc<ClientDocument>, DocumentError> {
        if let Some((_, document)) =
            self.lock().get(client_id).filter(|(at, _)| now >= *at && now < at.plus(KEPT))
        {
            return Ok(Arc::clone(document));
        }
        let url = Url::parse(client_id).map_err(|_| DocumentError::Unfit("its address is none"))?;
        let fetcher = match url.host() {
            // The operator has named one on this machine, in plain http, which nobody else may.
            _ if url.scheme() == "http" && is_loopback(&url) => &self.here,
            // A number is connected to without being looked up.
            Some(Host::Ipv4(address)) if !is_public(IpAddr::V4(address)) => return Err(elsewhere()),
            Some(Host::Ipv6(address)) if !is_public(IpAddr::V6(address)) => return Err(elsewhere()),
            _ => &self.public,
        };
        let bytes = fetcher.get(client_id, MAX_BYTES).await.map_err(DocumentError::Unavailable)?;
        let document = Arc::new(read_document(client_id, &bytes)?);
        let mut kept = self.lock();
        if kept.len() >= MAX_KEPT {
            kept.retain(|_, (at, _)| now >= *at && now < at.plus(KEPT));
            if kept.len() >= MAX_KEPT {
                kept.clear();
            }
        }
        kept.insert(client_id.to_owned(), (now, Arc::clone(&document)));
        Ok(document)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Timestamp, Arc<ClientDocument>)>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn elsewhere() -> DocumentError {
    DocumentError::Unavailable("its address is not on the public network".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_taken_that_speaks_of_its_own_address_and_keeps_no_secret() {
        const ID: &str = "https://app.example.com/client.json";
        let judged = |change: &str| {
            let mut document = serde_json::json!({
                "client_id": ID, "client_name": "App\u{7}", "redirect_uris": ["http://127.0.0.1/callback"], "logo_uri": "https://x",
            });
            let change: serde_json::Value = serde_json::from_str(change).unwrap();
            for (name, value) in change.as_object().unwrap() {
                document[name.as_str()] = value.clone();
            }
            read_document(ID, document.to_string().as_bytes())
        };
        let plain = ClientDocument {
            name: Some("App".to_owned()),
            redirect_uris: vec!["http://127.0.0.1/callback".to_owned()],
        };
        assert_eq!(judged("{}"), Ok(plain.clone()));
        assert_eq!(
            judged(
                r#"{"token_endpoint_auth_method":"none","grant_types":["authorization_code","refresh_token"]}"#
            ),
            Ok(plain)
        );
        for change in [
            r#"{"client_id":"https://app.example.com/client.json/"}"#,
            r#"{"client_id":7}"#,
            r#"{"redirect_uris":[]}"#,
            r#"{"redirect_uris":"http://127.0.0.1/callback"}"#,
            r#"{"token_endpoint_auth_method":"client_secret_basic"}"#,
            r#"{"token_endpoint_auth_method":"private_key_jwt"}"#,
            r#"{"client_secret":"hunter2"}"#,
            r#"{"grant_types":["implicit"]}"#,
            r#"{"response_types":["token"]}"#,
        ] {
            assert!(matches!(judged(change), Err(DocumentError::Unfit(_))), "{change}");
        }
        assert!(read_document(ID, b"<html>").is_err());
    }
}
