//! What goes wrong, as RFC 9457 problems from one catalogue.
//!
//! A problem says whose fault it is by its status, what is wrong by its type, and where and what would cure it in its detail. It never says which policy
//! stood in the way: that is in the record.

use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warrantor_bundle::FillError;
use warrantor_control::{explain::ExplainError, handover::HandoverError, office::OfficeError};

macro_rules! catalogue {
    ($($(#[$doc:meta])* $kind:ident = $slug:literal, $status:ident, $title:literal;)*) => {
        /// The sorts of problems.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)*
        }

        impl Kind {
            /// Every sort.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The last part of the type's URI.
            #[must_use]
            pub fn slug(self) -> &'static str {
                match self {
                    $(Self::$kind => $slug,)*
                }
            }

            /// The HTTP status.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$kind => StatusCode::$status,)*
                }
            }

            /// The title, the same for every problem of the sort.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$kind => $title,)*
                }
            }
        }
    };
}

catalogue! {
    /// The request cannot be read.
    Malformed = "malformed", BAD_REQUEST, "The request cannot be read";
    /// A field does not fit.
    Invalid = "invalid", BAD_REQUEST, "A field does not fit";
    /// No credential that counts now.
    Unauthenticated = "unauthenticated", UNAUTHORIZED, "Sign in first";
    /// Somebody has to prove again who they are.
    SignInAgain = "sign-in-again", UNAUTHORIZED, "Sign in again first";
    /// Policies do not permit it.
    NotPermitted = "not-permitted", FORBIDDEN, "This is not permitted to you";
    /// It is not there, or not for this caller to see.
    NotFound = "not-found", NOT_FOUND, "There is no such thing";
    /// Another method.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "This cannot be done here";
    /// It does not fit what there is.
    Conflict = "conflict", CONFLICT, "This does not fit what there is";
    /// The key was used for another request.
    KeyReused = "key-reused", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";
    /// What was agreed to is not what would be handed over.
    NotAsShown = "not-as-shown", CONFLICT, "What was agreed to is not what would be handed over";
    /// A bundle does not pass its checks.
    NotPublished = "not-published", UNPROCESSABLE_ENTITY, "The bundle does not pass its checks";
    /// Too large.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The request is too large";
    /// Another media type.
    MediaType = "media-type", UNSUPPORTED_MEDIA_TYPE, "Send JSON";
    /// Nobody can sign in here.
    NoProvider = "no-provider", NOT_FOUND, "No identity provider is configured";
    /// The provider does not answer.
    ProviderUnavailable = "provider-unavailable", BAD_GATEWAY, "The identity provider does not answer";
    /// The store or the log does not answer.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "It cannot be recorded now, so nothing was done";
    /// A mistake of ours.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Something is wrong here, and not with the request";
}

/// What the types of problems begin with.
pub const TYPE: &str = "urn:warrantor:problem:";

/// A problem (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemBody {
    /// What sort of problem it is: `urn:warrantor:problem:` and a name of the catalogue.
    #[serde(rename = "type")]
    pub kind: String,
    /// The sort, in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What is wrong here, and what would cure it.
    pub detail: String,
    /// The request: `urn:warrantor:request:` and the id that the log knows it by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The field that does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

/// A problem on its way to the caller.
#[derive(Debug, Clone)]
pub struct Problem {
    pub(crate) kind: Kind,
    pub(crate) detail: String,
    pub(crate) field: Option<String>,
}

impl Problem {
    pub(crate) fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), field: None }
    }

    pub(crate) fn invalid(field: impl Into<String>, why: impl Into<String>) -> Self {
        Self { kind: Kind::Invalid, detail: why.into(), field: Some(field.into()) }
    }

    pub(crate) fn unknown(what: &str, name: &str) -> Self {
        Self::new(Kind::NotFound, format!("there is no {what} {name}, or it is not yours to see"))
    }

    /// A mistake of ours: told in the log, and to the caller only that there is one.
    pub(crate) fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(Kind::Internal, "the log has the request's id and the cause")
    }

    pub(crate) fn unavailable(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request could not be served");
        Self::new(Kind::Unavailable, "the store does not answer; try again")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = ProblemBody {
            kind: format!("{TYPE}{}", self.kind.slug()),
            title: self.kind.title().to_owned(),
            status: self.kind.status().as_u16(),
            detail: self.detail,
            instance: None,
            field: self.field,
        };
        let text = serde_json::to_vec(&body).unwrap_or_default();
        let mut response = Response::new(Body::from(text));
        *response.status_mut() = self.kind.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let challenge = match self.kind {
            Kind::Unauthenticated => Some("Bearer realm=\"warrantor\""),
            // RFC 9470, section 3.
            Kind::SignInAgain => Some(
                "Bearer realm=\"warrantor\", error=\"insufficient_user_authentication\", max_age=\"300\"",
            ),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        // The request's id is put in where it is known.
        response.extensions_mut().insert(body);
        response
    }
}

impl From<OfficeError> for Problem {
    fn from(cause: OfficeError) -> Self {
        match cause {
            OfficeError::Unknown { what, name } => Self::unknown(what, &name),
            OfficeError::Invalid { field, why } => Self::invalid(field, why),
            OfficeError::Conflict(why) => Self::new(Kind::Conflict, why),
            OfficeError::Contended => Self::new(Kind::Conflict, cause.to_string()),
            OfficeError::Key(cause) => Self::new(Kind::Invalid, cause.to_string()),
            OfficeError::Standing(warrantor_control::standing::StandingError::Final { subject }) => {
                Self::new(Kind::Conflict, format!("{subject} has ended for good: hand it over again"))
            }
            // A commit that is too large is a mistake of whoever put it together.
            OfficeError::Commit(warrantor_store::CommitError::Malformed(_)) => Self::internal(&cause),
            OfficeError::Read(_)
            | OfficeError::Commit(_)
            | OfficeError::Standing(_)
            | OfficeError::Stop(_)
            | OfficeError::Randomness(_) => Self::unavailable(&cause),
            OfficeError::Registry(_) | OfficeError::ReadStanding(_) | OfficeError::Encoding(_) => {
                Self::internal(&cause)
            }
        }
    }
}

impl From<HandoverError> for Problem {
    fn from(cause: HandoverError) -> Self {
        match cause {
            HandoverError::Unknown { template, .. } => Self::unknown("template", template.as_str()),
            HandoverError::Reused => Self::new(Kind::KeyReused, "send a key of its own with each request"),
            HandoverError::Ended { .. }
            | HandoverError::NoTask { .. }
            | HandoverError::Refused { .. }
            | HandoverError::Circle { .. }
            | HandoverError::AnotherPerson { .. }
            | HandoverError::OtherId { .. }
            | HandoverError::Contended { .. } => Self::new(Kind::Conflict, cause.to_string()),
            HandoverError::Key(cause) => Self::new(Kind::Invalid, cause.to_string()),
            HandoverError::Id(cause) => Self::new(Kind::Invalid, cause.to_string()),
            HandoverError::Read(_)
            | HandoverError::Commit(_)
            | HandoverError::Stop(_)
            | HandoverError::Randomness(_) => Self::unavailable(&cause),
            HandoverError::Chain(_)
            | HandoverError::Registry(_)
            | HandoverError::Seal(_)
            | HandoverError::Encoding(_) => Self::internal(&cause),
        }
    }
}

impl From<FillError> for Problem {
    fn from(cause: FillError) -> Self {
        match cause {
            FillError::Unknown(template) => Self::unknown("template", template.as_str()),
            FillError::Field { field, why } => Self::invalid(field, why),
            FillError::Unfit(report) => Self::new(Kind::Invalid, report.to_string()),
        }
    }
}

impl From<ExplainError> for Problem {
    fn from(cause: ExplainError) -> Self {
        match cause {
            ExplainError::Unknown { id } => Self::unknown("decision", &id),
            ExplainError::Read(_) => Self::unavailable(&cause),
            ExplainError::Unreadable { .. } => Self::internal(&cause),
        }
    }
}
