//! OAuth's own face of what goes wrong (RFC 6749, section 5.2): its clients know no problems.

use axum::{
    Json,
    http::{HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use warrantor_control::tokens::{Code, TokenError};

/// Why no token was given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OAuthErrorBody {
    /// A code of OAuth.
    error: String,
    /// In words.
    error_description: String,
}

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct OAuthError {
    pub(super) status: StatusCode,
    error: &'static str,
    description: String,
}

impl OAuthError {
    pub(super) fn of(code: Code, why: impl Into<String>) -> Self {
        let status = match code {
            Code::InvalidClient => StatusCode::UNAUTHORIZED,
            Code::ActorUnauthorized => StatusCode::FORBIDDEN,
            _ => StatusCode::BAD_REQUEST,
        };
        Self { status, error: code.as_str(), description: why.into() }
    }

    pub(super) fn not_here() -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            error: "invalid_request",
            description: "no token service is configured here: see [tokens] of serve.toml".to_owned(),
        }
    }
}

impl From<TokenError> for OAuthError {
    fn from(cause: TokenError) -> Self {
        match cause {
            TokenError::Refused { code, why, .. } => Self::of(code, why),
            cause @ (TokenError::Office(_)
            | TokenError::Signing(_)
            | TokenError::Contended
            | TokenError::Unavailable(_)) => {
                tracing::error!(%cause, "a token could not be made or ended");
                // RFC 7009, section 2.2.1, names this status; the code is that of RFC 6749, section 4.1.2.1.
                Self {
                    status: StatusCode::SERVICE_UNAVAILABLE,
                    error: "temporarily_unavailable",
                    description: "it cannot be judged or recorded now, so nothing was done: try again"
                        .to_owned(),
                }
            }
        }
    }
}

/// Words as a description may have them (RFC 6749, section 5.2): printable ASCII without quotes and backslash.
pub(super) fn plain(text: &str) -> String {
    let fits = |c: char| matches!(c, ' ' | '!' | '#'..='[' | ']'..='~');
    text.chars()
        .map(|c| {
            if fits(c) {
                c
            } else if c == '"' || c == '`' {
                '\''
            } else {
                '?'
            }
        })
        .collect()
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let body =
            OAuthErrorBody { error: self.error.to_owned(), error_description: plain(&self.description) };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(axum::http::header::RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
