//! What is read from a request's headers before anything of it is decided, and what is said about it.

use hyper::{
    HeaderMap, StatusCode,
    header::{
        ACCEPT, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, CONTENT_TYPE, HeaderValue, VARY,
    },
};
use warrantor_mcp::{
    Era, Id, ParamsError, ProtocolVersion, RpcError,
    headers::{self, HeaderError},
    rpc,
};

use super::{
    callers::Busy,
    respond::{self, Answer},
};

pub(super) fn mismatch(id: Option<&Id<'_>>, cause: &HeaderError) -> Answer {
    respond::fault(StatusCode::BAD_REQUEST, id, &RpcError::new(rpc::HEADER_MISMATCH, cause.to_string()))
}

/// The answer to a request of which it cannot be told to which era it belongs. One that contradicts itself is told that first.
pub(super) fn undeclared(id: &Id<'_>, header: Option<&str>, cause: &ParamsError) -> Answer {
    if let (Some(header), ParamsError::UnsupportedVersion { requested }) = (header, cause)
        && header != requested
    {
        let differs = HeaderError::Mismatch {
            header: headers::PROTOCOL_VERSION.to_owned(),
            found: header.to_owned(),
            wanted: requested.clone(),
        };
        return mismatch(Some(id), &differs);
    }
    let error = cause.to_rpc();
    let status = match modern_status(error.code) {
        StatusCode::OK => StatusCode::BAD_REQUEST,
        status => status,
    };
    respond::fault(status, Some(id), &error)
}

/// The status of an error of our own towards a modern client.
pub(super) fn modern_status(code: i64) -> StatusCode {
    match code {
        rpc::METHOD_NOT_FOUND => StatusCode::NOT_FOUND,
        rpc::HEADER_MISMATCH
        | rpc::MISSING_CAPABILITY
        | rpc::UNSUPPORTED_VERSION
        | rpc::INVALID_REQUEST
        | rpc::PARSE_ERROR => StatusCode::BAD_REQUEST,
        _ => StatusCode::OK,
    }
}

pub(super) fn too_busy(busy: Busy) -> Answer {
    let why = match busy {
        Busy::Rate => "too many requests a second: wait and try again",
        Busy::UnderWay => "too many requests are under way: wait until one is answered",
    };
    let refused = respond::refused(StatusCode::TOO_MANY_REQUESTS, why);
    respond::with(refused, "retry-after", HeaderValue::from_static("1"))
}

pub(super) fn is_modern(version: Option<&str>) -> bool {
    version
        .and_then(|version| version.parse::<ProtocolVersion>().ok())
        .is_some_and(|v| v.era() == Era::Modern)
}

pub(super) fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') =>
        {
            name
        }
        _ => host,
    }
}

pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    kind.and_then(|kind| kind.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

/// Whether the client takes such an answer.
pub(super) fn accepts(headers: &HeaderMap, wanted: &str) -> bool {
    let family = wanted.split('/').next().unwrap_or_default();
    headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|range| {
            let kind = range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            kind == wanted || kind == "*/*" || kind.strip_suffix("/*") == Some(family)
        })
}

/// What a page's browser asks before it calls.
pub(super) fn preflight() -> Answer {
    let mut answer = respond::empty(StatusCode::NO_CONTENT);
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST, GET, DELETE"));
    headers.insert(
        ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization, DPoP, Content-Type, Accept, Last-Event-ID, Mcp-Session-Id, MCP-Protocol-Version, Mcp-Method, Mcp-Name, Warrantor-Mandate",
        ),
    );
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    answer
}

/// Lets a page of an origin that may call read the response.
pub(super) fn for_page(mut answer: Answer, origin: HeaderValue) -> Answer {
    let headers = answer.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(
        ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static("Mcp-Session-Id, WWW-Authenticate, DPoP-Nonce"),
    );
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    answer
}
