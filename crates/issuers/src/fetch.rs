//! Requests to issuers: over TLS, to where they may name, within bounds of time and size, and without following redirects.

use std::{fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::{StatusCode, Uri};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use url::{Host, Url};

/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why nothing can be fetched.
#[derive(Debug, Error)]
pub enum TrustError {
    /// The file of certificates.
    #[error("the certificates in {file} cannot be used: {cause}")]
    Certificates {
        /// Which file.
        file: String,
        /// Why.
        cause: String,
    },
    /// The system's certificates.
    #[error("the system's certificates cannot be read: {0}")]
    Roots(#[from] std::io::Error),
}

/// Asks over HTTPS, and over plain HTTP where whoever calls lets it.
pub(crate) struct Fetcher(Client<HttpsConnector<HttpConnector>, Empty<Bytes>>);

impl Fetcher {
    /// Trusts these certificates, or the system's.
    pub(crate) fn trusting(certificates: Option<&Path>) -> Result<Self, TrustError> {
        let mut plain = HttpConnector::new();
        plain.set_connect_timeout(Some(PATIENCE));
        plain.enforce_http(false);
        let builder = hyper_rustls::HttpsConnectorBuilder::new();
        let connector = match certificates {
            None => builder.with_native_roots()?,
            Some(file) => builder.with_tls_config(trusting(file)?),
        };
        let connector = connector.https_or_http().enable_http1().wrap_connector(plain);
        Ok(Self(Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(connector)))
    }

    /// The body of a `200 OK` of at most so many bytes.
    pub(crate) async fn get(&self, url: &str, bound: usize) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is no address"))?;
        let asked = async {
            let response = self.0.get(uri).await.map_err(|cause| cause.to_string())?;
            if response.status() != StatusCode::OK {
                return Err(format!("it answered {}", response.status()));
            }
            let body = Limited::new(response.into_body(), bound).collect().await;
            body.map(http_body_util::Collected::to_bytes).map_err(|cause| cause.to_string())
        };
        match tokio::time::timeout(PATIENCE, asked).await {
            Ok(answer) => answer,
            Err(_) => Err("it did not answer in time".to_owned()),
        }
    }
}

/// Whether a URL leads to this machine.
#[must_use]
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.to_ipv4_mapped().is_some_and(|address| address.is_loopback())
        }
        None => false,
    }
}

/// TLS that trusts these certificates and no others.
///
/// # Errors
/// [`TrustError::Certificates`].
pub fn trusting(file: &Path) -> Result<ClientConfig, TrustError> {
    let wrong = |cause: String| TrustError::Certificates { file: file.display().to_string(), cause };
    let bytes = fs::read(file).map_err(|cause| wrong(cause.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&bytes) {
        let certificate = certificate.map_err(|cause| wrong(cause.to_string()))?;
        roots.add(certificate).map_err(|cause| wrong(cause.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("it has none".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|cause| wrong(cause.to_string()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}
