//! Publishing bundles, and their history.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    Json,
    extract::{FromRequest, Request, State},
    http::StatusCode,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warrantor_control::bundles::{Differences, Publication, PublishError, ToPublish, Unreviewed};
use warrantor_decide::administration::{Act, Resource};
use warrantor_model::EnforcementPoint;
use warrantor_store::Store;

use crate::{
    Api,
    problem::{Kind, Problem, ProblemBody},
    request::{Body, Caller, HistoryParams, Id, Params},
};

/// A bundle to publish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewBundle {
    /// The files as text, by their paths within the bundle.
    #[schema(value_type = Object)]
    pub(crate) files: BTreeMap<String, String>,
    /// Why; it is part of the history.
    #[schema(min_length = 1, max_length = 1000)]
    pub(crate) reason: String,
    /// The enforcement points that it is for; every one where none is named.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) points: BTreeSet<EnforcementPoint>,
}

impl From<PublishError> for Problem {
    fn from(cause: PublishError) -> Self {
        match cause {
            PublishError::Faults(report) => {
                let told: Vec<String> = report
                    .diagnostics()
                    .iter()
                    .take(20)
                    .map(|one| format!("{}: {one}", one.place()))
                    .collect();
                Self { field: Some("files".to_owned()), ..Self::new(Kind::NotPublished, told.join("; ")) }
            }
            PublishError::Office(cause) => cause.into(),
        }
    }
}

/// Publishes a bundle that passes its checks. Enforcement points that follow what is published for them decide on it within seconds.
#[utoipa::path(post, path = "/v1/bundles", tag = "bundles", operation_id = "publishBundle", request_body = NewBundle,
    responses((status = 201, body = Publication), (status = "default", body = ProblemBody)))]
pub(crate) async fn publish<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    request: Request,
) -> Result<(StatusCode, Json<Publication>), Problem> {
    let authority = api.may(&caller, Act::PublishBundle, &Resource::Deployment).await?;
    // It is large: only of somebody who may is it read.
    let Body(new) = Body::<NewBundle>::from_request(request, &()).await?;
    let files = new.files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    let unreviewed = vouched_for(&api, &caller);
    let new = ToPublish { files, reason: new.reason, points: new.points, unreviewed };
    Ok((StatusCode::CREATED, Json(api.office.publish(&authority, new).await?)))
}

/// Whether the caller may vouch for what nobody has reviewed.
fn vouched_for<S: Store>(api: &Api<S>, caller: &Caller) -> Unreviewed {
    match api.sees(caller, Act::PublishUnreviewed, &Resource::Deployment) {
        true => Unreviewed::Taken,
        false => Unreviewed::Refused,
    }
}

/// A page of publications.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Publications {
    /// The publications, the latest first.
    pub(crate) items: Vec<Publication>,
    /// Where the next page begins; none after the first publication.
    pub(crate) next: Option<u64>,
}

/// The history of what was published.
#[utoipa::path(get, path = "/v1/bundles", tag = "bundles", operation_id = "listPublications", params(HistoryParams),
    responses((status = 200, body = Publications), (status = "default", body = ProblemBody)))]
pub(crate) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Params(params): Params<HistoryParams>,
) -> Result<Json<Publications>, Problem> {
    api.may(&caller, Act::ReadBundle, &Resource::Deployment).await?;
    let (before, limit) = params.page()?;
    let items = api.office.publications(before, limit).await?;
    let next = items.last().map(|last| last.number).filter(|last| *last > 1 && items.len() == limit);
    Ok(Json(Publications { items, next }))
}

/// Which publication to compare with.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgainstParams {
    /// The other publication. When nothing is said, the one that decided before at its enforcement points.
    #[param(minimum = 1)]
    against: Option<u64>,
}

/// What a publication says differently from what decided before, or from another one, in words and by the lines of the files.
#[utoipa::path(get, path = "/v1/bundles/{number}/difference", tag = "bundles", operation_id = "comparePublications",
    params(("number" = u64, Path, description = "The publication's number"), AgainstParams),
    responses((status = 200, body = Differences), (status = "default", body = ProblemBody)))]
pub(crate) async fn compare<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(number): Id<u64>,
    Params(params): Params<AgainstParams>,
) -> Result<Json<Differences>, Problem> {
    api.may(&caller, Act::ReadBundle, &Resource::Deployment).await?;
    Ok(Json(api.office.compare(number, params.against).await?))
}

/// Why a publication is gone back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Back {
    /// Why; it is part of the history.
    #[schema(min_length = 1, max_length = 1000)]
    pub(crate) reason: String,
}

/// Goes back to an earlier publication, for the enforcement points that it was for. That is a publication of its own.
#[utoipa::path(post, path = "/v1/bundles/{number}/roll-back", tag = "bundles", operation_id = "rollBack",
    params(("number" = u64, Path, description = "The publication's number")), request_body = Back,
    responses((status = 201, body = Publication), (status = "default", body = ProblemBody)))]
pub(crate) async fn roll_back<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(number): Id<u64>,
    Body(back): Body<Back>,
) -> Result<(StatusCode, Json<Publication>), Problem> {
    let authority = api.may(&caller, Act::RollBack, &Resource::Deployment).await?;
    Ok((
        StatusCode::CREATED,
        Json(api.office.roll_back(&authority, number, back.reason, vouched_for(&api, &caller)).await?),
    ))
}
