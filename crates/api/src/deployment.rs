//! The deployment as a whole: lockdown, decisions; and whether it is up.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use warrantor_control::explain::explain;
use warrantor_decide::administration::{Act, Resource};
use warrantor_model::{DecisionId, MandateId, record::Event};
use warrantor_store::Store;

use crate::{
    Api,
    people::Why,
    problem::{Problem, ProblemBody},
    request::{Caller, Id, Optional},
};

/// Whether a lockdown is in force.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Lockdown {
    /// Whether everything is stopped.
    pub(crate) in_force: bool,
}

/// Whether a lockdown is in force.
#[utoipa::path(get, path = "/v1/lockdown", tag = "deployment", operation_id = "readLockdown",
    responses((status = 200, body = Lockdown), (status = "default", body = ProblemBody)))]
pub(crate) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
) -> Result<Json<Lockdown>, Problem> {
    api.may(&caller, Act::ReadDeployment, &Resource::Deployment).await?;
    Ok(Json(Lockdown { in_force: api.office.is_locked().await? }))
}

/// Stops everything, at once and everywhere.
#[utoipa::path(put, path = "/v1/lockdown", tag = "deployment", operation_id = "lockDown", request_body = Option<Why>,
    responses((status = 200, body = Lockdown), (status = "default", body = ProblemBody)))]
pub(crate) async fn lock<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Optional(why): Optional<Why>,
) -> Result<Json<Lockdown>, Problem> {
    let authority = api.may(&caller, Act::LockDown, &Resource::Deployment).await?;
    api.office.lock_down(&authority, why.words()?).await?;
    Ok(Json(Lockdown { in_force: true }))
}

/// Lifts a lockdown.
#[utoipa::path(delete, path = "/v1/lockdown", tag = "deployment", operation_id = "unlock",
    responses((status = 200, body = Lockdown), (status = "default", body = ProblemBody)))]
pub(crate) async fn unlock<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
) -> Result<Json<Lockdown>, Problem> {
    caller.must_be_person()?;
    let authority = api.may(&caller, Act::Unlock, &Resource::Deployment).await?;
    api.office.unlock(&authority, None).await?;
    Ok(Json(Lockdown { in_force: api.office.is_locked().await? }))
}

/// How a call was decided: its record, its arguments as far as they were kept, and what became of it.
#[utoipa::path(get, path = "/v1/decisions/{id}", tag = "deployment", operation_id = "readDecision",
    params(("id" = String, Path, description = "The decision's id")),
    responses((status = 200, body = Object), (status = "default", body = ProblemBody)))]
pub(crate) async fn decision<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<DecisionId>,
) -> Result<Json<serde_json::Value>, Problem> {
    let explained = explain(api.store(), Some(api.seal()), id.as_str()).await?;
    // Whoever may see the mandate that the call was made under sees the call; other records are the deployment's.
    let resource = match &explained.record.event {
        Event::Decision(decision) => match decision.chain.last() {
            Some(last) => {
                let mandate =
                    MandateId::new(last.mandate.as_str()).map_err(|cause| Problem::internal(&cause))?;
                api.office.mandate_resource(&mandate).await?
            }
            None => Resource::Deployment,
        },
        _ => Resource::Deployment,
    };
    api.may(&caller, Act::ReadDecision, &resource)
        .await
        .map_err(|_| Problem::unknown("decision", id.as_str()))?;
    serde_json::to_value(&explained).map(Json).map_err(|cause| Problem::internal(&cause))
}

/// That the process runs.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "isAlive", security(()),
    responses((status = 200, body = String)))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// That the process can decide and record: the store answers, and everything may go on.
#[utoipa::path(get, path = "/readyz", tag = "health", operation_id = "isReady", security(()),
    responses((status = 200, body = String), (status = 503, body = String)))]
pub(crate) async fn readyz<S: Store>(State(api): State<Arc<Api<S>>>) -> impl IntoResponse {
    match api.store().head().await {
        Ok(_) => (StatusCode::OK, "ready\n"),
        Err(cause) => {
            tracing::warn!(%cause, "not ready: the store does not answer");
            (StatusCode::SERVICE_UNAVAILABLE, "the store does not answer\n")
        }
    }
}
