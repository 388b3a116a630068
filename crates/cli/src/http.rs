//! A small HTTP client for commands: one request, bounded in time and size, no redirect followed.

use std::{path::Path, time::Duration};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of an answer.
const MAX_ANSWER: usize = 4 << 20;

/// What goes with a request.
pub(crate) enum Sent<'a> {
    /// Nothing.
    Nothing,
    /// JSON.
    Json(&'a Value),
    /// JSON as it is written.
    Written(&'a str),
    /// A form.
    Form(&'a [(&'a str, &'a str)]),
}

/// Reaches what it is sent to over TLS, as the system trusts certificates; over plain HTTP where the address says so.
pub(crate) fn connector() -> anyhow::Result<HttpsConnector<HttpConnector>> {
    let builder = hyper_rustls::HttpsConnectorBuilder::new();
    let builder = builder.with_native_roots().context("the system's certificates cannot be read")?;
    Ok(builder.https_or_http().enable_http1().build())
}

/// Asks, and gives the status and the JSON of the answer; `null` for an answer without any.
pub(crate) async fn ask(
    method: Method,
    url: &str,
    token: Option<&str>,
    sent: Sent<'_>,
) -> anyhow::Result<(StatusCode, Value)> {
    let (body, media) = match sent {
        Sent::Nothing => (Bytes::new(), None),
        Sent::Json(value) => (Bytes::from(serde_json::to_vec(value)?), Some("application/json")),
        Sent::Written(text) => (Bytes::copy_from_slice(text.as_bytes()), Some("application/json")),
        Sent::Form(pairs) => {
            let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
            (Bytes::from(form), Some("application/x-www-form-urlencoded"))
        }
    };
    let mut request = Request::builder().method(method).uri(url).header(header::ACCEPT, "application/json");
    if let Some(media) = media {
        request = request.header(header::CONTENT_TYPE, media);
    }
    if let Some(token) = token {
        let mut value: header::HeaderValue =
            format!("Bearer {token}").parse().context("the token cannot be sent")?;
        value.set_sensitive(true);
        request = request.header(header::AUTHORIZATION, value);
    }
    let request = request.body(Full::new(body)).with_context(|| format!("{url:?} is no address"))?;
    let client = Client::builder(TokioExecutor::new()).build(connector()?);
    let asked = async {
        let response = client.request(request).await.with_context(|| format!("{url} does not answer"))?;
        let status = response.status();
        let bytes = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let bytes =
            bytes.map_err(|cause| anyhow::anyhow!("the answer of {url} cannot be read: {cause}"))?.to_bytes();
        if bytes.is_empty() {
            return Ok((status, Value::Null));
        }
        let value =
            serde_json::from_slice(&bytes).with_context(|| format!("{url} does not answer with JSON"))?;
        anyhow::Ok((status, value))
    };
    match tokio::time::timeout(PATIENCE, asked).await {
        Ok(answer) => answer,
        Err(_) => bail!("{url} did not answer within {} s", PATIENCE.as_secs()),
    }
}

/// Writes a file that only its owner may read, in one step: whoever reads it meanwhile sees the old one or the new one.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let beside = path.with_extension("new");
    let _ = std::fs::remove_file(&beside);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&beside)
        .with_context(|| format!("{} cannot be made", beside.display()))?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path).with_context(|| format!("{} cannot be written", path.display()))
}
