//! What handlers take from requests: who asks, ids, parameters and bodies, each parsed or refused as a problem.

use std::{str::FromStr, sync::Arc};

use axum::{
    Json, RequestExt,
    extract::{FromRequest, FromRequestParts, Path, Query, Request, rejection::JsonRejection},
    http::{HeaderMap, header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;
use warrantor_control::{access::Presenter, office::Hand};
use warrantor_decide::administration::Actor;
use warrantor_model::{PersonId, Timestamp};
use warrantor_store::Store;

use crate::{
    Api,
    problem::{Kind, Problem},
};

/// Most items of a page.
pub const MAX_PAGE: usize = 200;
/// Items of a page when nothing is said.
const DEFAULT_PAGE: usize = 50;

/// Whoever makes the request, known by a credential that counts now.
#[derive(Debug, Clone)]
pub struct Caller(pub(crate) Presenter);

impl Caller {
    pub(crate) fn actor(&self) -> &Actor {
        self.0.actor()
    }

    pub(crate) fn hand(&self) -> &Hand {
        self.0.hand()
    }

    /// The person, where it is one.
    pub(crate) fn person(&self) -> Option<&PersonId> {
        match &self.0 {
            Presenter::Person { id, .. } => Some(id),
            Presenter::Client { .. } => None,
        }
    }

    /// The person, or a refusal for whoever is none.
    pub(crate) fn must_be_person(&self) -> Result<&PersonId, Problem> {
        self.person().ok_or_else(|| Problem::new(Kind::NotPermitted, "only a person can do this"))
    }
}

/// The bearer token of a request; one alone (RFC 6750), and only in the header.
pub(crate) fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let missing = || {
        Problem::new(
            Kind::Unauthenticated,
            "send `Authorization: Bearer …` with the token of a session or a client",
        )
    };
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(one), None) = (given.next(), given.next()) else { return Err(missing()) };
    let (scheme, token) = one.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(missing)?;
    let token = token.trim_matches(' ');
    if !scheme.eq_ignore_ascii_case("bearer") || token.is_empty() || token.len() > 16 << 10 {
        return Err(missing());
    }
    Ok(token)
}

impl<S: Store> FromRequestParts<Arc<Api<S>>> for Caller {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<S>>) -> Result<Self, Problem> {
        let token = bearer(&parts.headers)?;
        let ended = || {
            Problem::new(
                Kind::Unauthenticated,
                "the credential is unknown, has ended, or its holder may not act now",
            )
        };
        // A JWT has two dots, and none of our own tokens has any.
        let presenter = match token.contains('.') {
            true => api.presented_by_provider(token).await?,
            false => api.office.presenter(token).await?,
        };
        presenter.map(Self).ok_or_else(ended)
    }
}

/// An id in the path. What cannot be an id is the id of nothing.
#[derive(Debug)]
pub struct Id<T>(pub(crate) T);

impl<T: FromStr, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unknown = || Problem::new(Kind::NotFound, "the path names nothing that could be here");
        let Path(text): Path<String> = Path::from_request_parts(parts, state).await.map_err(|_| unknown())?;
        text.parse().map(Self).map_err(|_| unknown())
    }
}

/// Two ids in the path.
#[derive(Debug)]
pub struct Ids<A, B>(pub(crate) A, pub(crate) B);

impl<A: FromStr, B: FromStr, S: Send + Sync> FromRequestParts<S> for Ids<A, B> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let unknown = || Problem::new(Kind::NotFound, "the path names nothing that could be here");
        let found = Path::<(String, String)>::from_request_parts(parts, state).await;
        let Path((one, other)) = found.map_err(|_| unknown())?;
        Ok(Self(one.parse().map_err(|_| unknown())?, other.parse().map_err(|_| unknown())?))
    }
}

/// Parameters in the query, none of them unknown.
#[derive(Debug)]
pub struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        query
            .map(|Query(params)| Self(params))
            .map_err(|cause| Problem::new(Kind::Malformed, cause.body_text()))
    }
}

/// A body of JSON, no member of it unknown.
#[derive(Debug)]
pub struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned + 'static, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        match request.extract::<Json<T>, _>().await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(cause) => Err(rejected(&cause)),
        }
    }
}

/// A body that may be left out.
#[derive(Debug)]
pub struct Optional<T>(pub(crate) T);

impl<T: DeserializeOwned + Default + 'static, S: Send + Sync> FromRequest<S> for Optional<T> {
    type Rejection = Problem;
    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let length = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let is_chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        if !is_chunked && matches!(length, None | Some("0")) {
            return Ok(Self(T::default()));
        }
        Body::from_request(request, state).await.map(|Body(body)| Self(body))
    }
}

pub(crate) fn rejected(cause: &JsonRejection) -> Problem {
    match cause {
        JsonRejection::MissingJsonContentType(_) => {
            Problem::new(Kind::MediaType, "send the body as `Content-Type: application/json`")
        }
        JsonRejection::BytesRejection(_) if cause.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Kind::TooLarge, "the body has more bytes than are read")
        }
        cause => Problem::new(Kind::Malformed, cause.body_text()),
    }
}

/// Where a page begins and how long it is.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// The id after which the page begins: `next` of the page before.
    #[param(max_length = 128)]
    pub after: Option<String>,
    /// How many items the page has at most, 1 to 200; 50 when nothing is said.
    #[param(minimum = 1, maximum = 200)]
    pub limit: Option<usize>,
}

impl PageParams {
    pub(crate) fn limit(&self) -> Result<usize, Problem> {
        match self.limit {
            None => Ok(DEFAULT_PAGE),
            Some(limit @ 1..=MAX_PAGE) => Ok(limit),
            Some(_) => Err(Problem::invalid("limit", format!("1 to {MAX_PAGE} items make a page"))),
        }
    }

    pub(crate) fn after<T: FromStr<Err: std::fmt::Display>>(&self) -> Result<Option<T>, Problem> {
        let parsed = self.after.as_deref().map(str::parse).transpose();
        parsed.map_err(|cause: T::Err| Problem::invalid("after", cause.to_string()))
    }
}

/// Where a page of numbered things begins, the latest first, and how long it is.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParams {
    /// The number before which the page begins: `next` of the page before.
    #[param(minimum = 1)]
    before: Option<u64>,
    /// How many items the page has at most; 50 when nothing is said.
    #[param(minimum = 1, maximum = 100)]
    limit: Option<usize>,
}

/// Most of a page of numbered things: each is read by itself.
const MAX_NUMBERED: usize = 100;

impl HistoryParams {
    /// The number that the page ends before, an int64 of JSON Schema, of which the first is 1; and the length.
    pub(crate) fn page(&self) -> Result<(Option<u64>, usize), Problem> {
        if self.before.is_some_and(|number| number == 0 || i64::try_from(number).is_err()) {
            return Err(Problem::invalid(
                "before",
                "a number of 1 or more is needed: `next` of the page before",
            ));
        }
        match self.limit {
            None => Ok((self.before, DEFAULT_PAGE)),
            Some(limit @ 1..=MAX_NUMBERED) => Ok((self.before, limit)),
            Some(_) => Err(Problem::invalid("limit", format!("1 to {MAX_NUMBERED} items make a page"))),
        }
    }
}

/// An instant in the future, in a body.
pub(crate) fn instant(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    let parsed = text.map(str::parse).transpose();
    parsed.map_err(|_| Problem::invalid(field, "an instant is needed, such as 2030-01-31T12:00:00Z"))
}

/// A name in a path that is no id of the model.
#[derive(Debug, Clone)]
pub struct Name(pub(crate) String);

impl FromStr for Name {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let fits = !text.is_empty() && text.len() <= 64 && text.chars().all(plain);
        if fits { Ok(Self(text.to_owned())) } else { Err(()) }
    }
}
