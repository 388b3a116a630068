//! Requests to issuers: over TLS, to where they may name, within bounds of time and size, and without following redirects.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{
        Client,
        connect::{HttpConnector, dns::Name},
    },
    rt::{TokioExecutor, TokioTimer},
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use thiserror::Error;
use tower_service::Service;
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

/// Finds the addresses of a host: all, or those alone that are on the public network.
#[derive(Clone, Copy)]
struct Resolver {
    public_only: bool,
}

impl Service<Name> for Resolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let public_only = self.public_only;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            // What was looked at is what is connected to: a name that leads elsewhere the next moment leads nowhere.
            let found: Vec<SocketAddr> = found.filter(|at| !public_only || is_public(at.ip())).collect();
            match found.is_empty() {
                true => Err(std::io::Error::other("the host has no address on the public network")),
                false => Ok(found.into_iter()),
            }
        })
    }
}

/// Whether an address is one of the public network, where nobody's own services are.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let special = v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_multicast()
                || v4.is_documentation()
                // This network, shared space (RFC 6598), protocol assignments, benchmarks, and what is reserved.
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240;
            !special
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Global unicast alone, without documentation and without what carries an address of the older protocol in it (6to4, Teredo).
            let tunnelled = first == 0x2002 || (first == 0x2001 && second == 0);
            (0x2000..0x4000).contains(&first) && !tunnelled && !(first == 0x2001 && second == 0x0db8)
        }
    }
}

/// Asks over HTTPS, and over plain HTTP where whoever calls lets it.
pub(crate) struct Fetcher(Client<HttpsConnector<HttpConnector<Resolver>>, Full<Bytes>>);

impl Fetcher {
    /// Trusts these certificates, or the system's.
    pub(crate) fn trusting(certificates: Option<&Path>) -> Result<Self, TrustError> {
        Self::resolving(Resolver { public_only: false }, certificates)
    }

    /// Asks hosts on the public network alone.
    pub(crate) fn public() -> Result<Self, TrustError> {
        Self::resolving(Resolver { public_only: true }, None)
    }

    fn resolving(resolver: Resolver, certificates: Option<&Path>) -> Result<Self, TrustError> {
        let mut plain = HttpConnector::new_with_resolver(resolver);
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
        let request = Request::get(uri).header(header::ACCEPT, "application/json").body(Full::default());
        self.ask(request.map_err(|cause| cause.to_string())?, bound).await
    }

    /// What a form is answered with.
    pub(crate) async fn post(&self, url: &str, form: String, bound: usize) -> Result<Bytes, String> {
        let uri: Uri = url.parse().map_err(|_| format!("{url:?} is no address"))?;
        let request = Request::post(uri)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form));
        self.ask(request.map_err(|cause| cause.to_string())?, bound).await
    }

    async fn ask(&self, request: Request<Full<Bytes>>, bound: usize) -> Result<Bytes, String> {
        let asked = async {
            let response = self.0.request(request).await.map_err(|cause| cause.to_string())?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_ones_own_network_is_public() {
        for (address, public) in [
            ("93.184.216.34", true),
            ("2606:2800:220:1:248:1893:25c8:1946", true),
            ("127.0.0.1", false),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("172.16.0.1", false),
            ("192.168.1.1", false),
            ("169.254.169.254", false),
            ("100.64.0.1", false),
            ("192.0.0.8", false),
            ("198.18.0.1", false),
            ("192.0.2.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::1", false),
            ("::", false),
            ("fe80::1", false),
            ("fd00::1", false),
            ("ff02::1", false),
            ("::ffff:10.0.0.1", false),
            ("64:ff9b::a00:1", false),
            ("2002:a00:1::", false),
            ("2001:0:a00:1::", false),
            ("2001:db8::1", false),
        ] {
            assert_eq!(is_public(address.parse().unwrap()), public, "{address}");
        }
    }
}
