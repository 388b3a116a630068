//! Deciding for enforcement points elsewhere.

use std::sync::Arc;

use axum::{
    Json,
    body::Bytes,
    extract::{FromRequest, Request, State},
};
use serde::Serialize;
use utoipa::ToSchema;
use warrantor_control::enforcement::EnforcementError;
use warrantor_decide::administration::{Act, Actor, Resource};
use warrantor_model::EnforcementPoint;
use warrantor_store::Store;

use crate::{
    Api,
    problem::{Kind, Problem, ProblemBody},
    request::Caller,
};

/// A signed answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignedAnswer {
    /// The note (C2SP signed note): the point, the digest of the question, the digest of the answer.
    note: String,
    /// The answer, as JSON text.
    answer: String,
}

/// A question of an enforcement point.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "only described: the bytes are what is signed for, and are read as a whole")]
pub(crate) struct Questioned {
    /// A number of 64 hexadecimal digits that was never used.
    nonce: String,
    /// What is asked: an object whose `ask` says which question it is.
    #[schema(value_type = Object)]
    question: String,
}

impl From<EnforcementError> for Problem {
    fn from(cause: EnforcementError) -> Self {
        match cause {
            EnforcementError::Question(why) => Self::new(Kind::Malformed, why),
            EnforcementError::Office(cause) => cause.into(),
            EnforcementError::Handover(cause) => cause.into(),
            EnforcementError::Unavailable(why) => Self::new(Kind::Unavailable, why),
            cause @ EnforcementError::Signing(_) => Self::internal(&cause),
        }
    }
}

/// Decides for the enforcement point that the client is, and answers whatever else its gateway has to know; signed. The client's name is the point's.
#[utoipa::path(post, path = "/v1/enforcement", tag = "enforcement", operation_id = "answerPoint", request_body = Questioned,
    responses((status = 200, body = SignedAnswer), (status = "default", body = ProblemBody)))]
pub(crate) async fn answer<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    request: Request,
) -> Result<Json<SignedAnswer>, Problem> {
    api.may(&caller, Act::MakeDecisions, &Resource::Deployment).await?;
    let Actor::Client { name, .. } = caller.actor() else {
        return Err(Problem::new(Kind::NotPermitted, "only a client is an enforcement point"));
    };
    let point: EnforcementPoint = name.parse().map_err(|cause| {
        Problem::invalid("name", format!("the client's name names no enforcement point: {cause}"))
    })?;
    let Some(_place) = api.enforcement.place() else {
        return Err(Problem::new(Kind::Unavailable, "too many questions are under way: ask again"));
    };
    // It is large: only of somebody who may is it read.
    let bytes = Bytes::from_request(request, &()).await.map_err(|cause| match cause.status() {
        axum::http::StatusCode::PAYLOAD_TOO_LARGE => {
            Problem::new(Kind::TooLarge, "the question has more bytes than are read")
        }
        _ => Problem::new(Kind::Malformed, cause.body_text()),
    })?;
    // What was begun is brought to its end, also for somebody who has gone: a pass that nobody gets has to be closed.
    let answering = tokio::spawn({
        let api = Arc::clone(&api);
        async move { api.enforcement.answer(&api.office, &api.bundle(), &point, &bytes).await }
    });
    let signed = answering.await.map_err(|cause| Problem::internal(&cause))??;
    Ok(Json(SignedAnswer { note: signed.note, answer: signed.answer }))
}
