//! Agents.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warrantor_control::agents::{AgentSpec, KnownAgent, TakeOver};
use warrantor_decide::administration::{Act, Resource};
use warrantor_model::{AgentId, Digest};
use warrantor_store::Store;

use crate::{
    Api,
    people::Why,
    problem::{Kind, Problem, ProblemBody},
    request::{Body, Caller, Id, Ids, Name, Optional, PageParams, Params, instant},
};

/// A page of agents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Agents {
    /// The agents, in the order of their ids.
    pub(crate) items: Vec<KnownAgent>,
    /// Where the next page begins; none after the last one.
    pub(crate) next: Option<String>,
}

/// Which agents, and where the page begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgentParams {
    /// The id after which the page begins.
    #[param(max_length = 128)]
    after: Option<String>,
    /// How many items the page has at most; 50 when nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// Only those that nobody live is accountable for. The page may be short, and even empty, before the last one.
    #[serde(default)]
    orphaned: bool,
}

/// The agents of the bundle and of the registry: all for whoever may see all, else the caller's own.
#[utoipa::path(get, path = "/v1/agents", tag = "agents", operation_id = "listAgents", params(AgentParams),
    responses((status = 200, body = Agents), (status = "default", body = ProblemBody)))]
pub(crate) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Params(params): Params<AgentParams>,
) -> Result<Json<Agents>, Problem> {
    let page = PageParams { after: params.after, limit: params.limit };
    let (after, limit) = (page.after::<AgentId>()?, page.limit()?);
    let sees_all = api.sees(&caller, Act::ListAgents, &Resource::Deployment);
    let mut items = if sees_all {
        api.office.agents(after.as_ref(), limit).await?
    } else if let Some(person) = caller.person() {
        api.office.agents_of(person, after.as_ref(), limit).await?
    } else {
        api.may(&caller, Act::ListAgents, &Resource::Deployment).await?;
        Vec::new()
    };
    let next = (items.len() == limit).then(|| items.last().map(|last| last.id.to_string())).flatten();
    if !sees_all {
        let mut seen = Vec::new();
        for agent in items {
            let resource = api.office.agent_resource(&agent, caller.person()).await?;
            seen.extend(api.sees(&caller, Act::ReadAgent, &resource).then_some(agent));
        }
        items = seen;
    }
    items.retain(|agent| !params.orphaned || agent.orphaned);
    Ok(Json(Agents { items, next }))
}

/// An agent.
#[utoipa::path(get, path = "/v1/agents/{id}", tag = "agents", operation_id = "readAgent",
    params(("id" = String, Path, description = "The agent's id")),
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<AgentId>,
) -> Result<Json<KnownAgent>, Problem> {
    let (agent, resource) = api.agent_seen_by(&caller, &id).await?;
    api.may(&caller, Act::ReadAgent, &resource).await?;
    Ok(Json(agent))
}

/// Proposes an agent, or another form of one that there is. It waits for the approval of somebody else.
#[utoipa::path(put, path = "/v1/agents/{id}/proposal", tag = "agents", operation_id = "proposeAgent",
    params(("id" = String, Path, description = "The agent's id")), request_body = AgentSpec,
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn propose<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<AgentId>,
    Body(spec): Body<AgentSpec>,
) -> Result<Json<KnownAgent>, Problem> {
    let resource = api.office.proposed_resource(&id, &spec).await?;
    let authority = api.may(&caller, Act::ProposeAgent, &resource).await?;
    // Who proposes another form of an agent must be one who may do so for it as it stands.
    let seen = match api.agent_seen_by(&caller, &id).await {
        Ok((agent, standing)) => {
            api.may(&caller, Act::ProposeAgent, &standing).await?;
            Some(agent)
        }
        Err(Problem { kind: Kind::NotFound, .. }) => None,
        Err(problem) => return Err(problem),
    };
    Ok(Json(api.office.propose(&authority, &id, seen.as_ref(), spec).await?))
}

/// What is approved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Approval {
    /// The digest of the proposal as it was seen.
    #[schema(value_type = String)]
    pub(crate) digest: Digest,
}

/// Approves what was proposed. Nobody approves what they proposed themselves.
#[utoipa::path(post, path = "/v1/agents/{id}/approve", tag = "agents", operation_id = "approveAgent",
    params(("id" = String, Path, description = "The agent's id")), request_body = Approval,
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn approve<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<AgentId>,
    Body(approval): Body<Approval>,
) -> Result<Json<KnownAgent>, Problem> {
    caller.must_be_person()?;
    let (agent, resource) = api.agent_seen_by(&caller, &id).await?;
    let authority = api.may(&caller, Act::ApproveAgent, &resource).await?;
    Ok(Json(api.office.approve(&authority, &agent, &approval.digest).await?))
}

/// An agent to be made by a blueprint.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfFleet {
    /// Its id.
    #[schema(value_type = String)]
    pub(crate) id: AgentId,
}

/// Makes an agent of a fleet: as its blueprint says, and approved with it.
#[utoipa::path(post, path = "/v1/agents/{id}/fleet", tag = "agents", operation_id = "makeOfFleet",
    params(("id" = String, Path, description = "The blueprint's id")), request_body = OfFleet,
    responses((status = 201, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn make_of_fleet<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(blueprint): Id<AgentId>,
    Body(body): Body<OfFleet>,
) -> Result<(StatusCode, Json<KnownAgent>), Problem> {
    let (_, resource) = api.agent_seen_by(&caller, &blueprint).await?;
    api.may(&caller, Act::ReadAgent, &resource).await?;
    let authority = api.may(&caller, Act::ProposeAgent, &resource).await?;
    Ok((StatusCode::CREATED, Json(api.office.make_of_fleet(&authority, &blueprint, &body.id).await?)))
}

/// Stops an agent; a blueprint with its whole fleet.
#[utoipa::path(post, path = "/v1/agents/{id}/suspend", tag = "agents", operation_id = "suspendAgent",
    params(("id" = String, Path, description = "The agent's id")), request_body = Option<Why>,
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn suspend<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<AgentId>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownAgent>, Problem> {
    let (_, resource) = api.agent_seen_by(&caller, &id).await?;
    let authority = api.may(&caller, Act::SuspendAgent, &resource).await?;
    Ok(Json(api.office.suspend_agent(&authority, &id, why.words()?).await?))
}

/// Lets a stopped agent go on.
#[utoipa::path(post, path = "/v1/agents/{id}/resume", tag = "agents", operation_id = "resumeAgent",
    params(("id" = String, Path, description = "The agent's id")), request_body = Option<Why>,
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn resume<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<AgentId>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownAgent>, Problem> {
    caller.must_be_person()?;
    let (_, resource) = api.agent_seen_by(&caller, &id).await?;
    let authority = api.may(&caller, Act::ResumeAgent, &resource).await?;
    Ok(Json(api.office.resume_agent(&authority, &id, why.words()?).await?))
}

/// Retires an agent for good. Its name is not given again.
#[utoipa::path(post, path = "/v1/agents/{id}/retire", tag = "agents", operation_id = "retireAgent",
    params(("id" = String, Path, description = "The agent's id")), request_body = Option<Why>,
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn retire<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<AgentId>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownAgent>, Problem> {
    let (_, resource) = api.agent_seen_by(&caller, &id).await?;
    let authority = api.may(&caller, Act::RetireAgent, &resource).await?;
    Ok(Json(api.office.retire(&authority, &id, why.words()?).await?))
}

/// What a deputy takes over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Over {
    /// `owner` or `sponsor`.
    pub(crate) take: Part,
    /// The reason; it is recorded.
    pub(crate) reason: Option<String>,
}

/// What a deputy takes over.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Part {
    /// Being accountable for the agent as an asset.
    Owner,
    /// Being accountable for what it does.
    Sponsor,
}

/// A deputy takes over where nobody live is left.
#[utoipa::path(post, path = "/v1/agents/{id}/take-over", tag = "agents", operation_id = "takeOverAgent",
    params(("id" = String, Path, description = "The agent's id")), request_body = Over,
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn take_over<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<AgentId>,
    Body(over): Body<Over>,
) -> Result<Json<KnownAgent>, Problem> {
    let deputy = caller.must_be_person()?.clone();
    let why = Why { reason: over.reason };
    let (agent, resource) = api.agent_seen_by(&caller, &id).await?;
    let authority = api.may(&caller, Act::TakeOverAgent, &resource).await?;
    let what = match over.take {
        Part::Owner => TakeOver::Owner,
        Part::Sponsor => TakeOver::Sponsor,
    };
    Ok(Json(api.office.take_over(&authority, &agent, &deputy, what, why.words()?).await?))
}

/// A public key of an agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// The JSON Web Key (RFC 7517), public members only.
    #[schema(value_type = Object)]
    pub(crate) jwk: Box<serde_json::value::RawValue>,
    /// When it ends.
    pub(crate) expires_at: Option<String>,
}

/// Registers a public key of an agent under a name.
#[utoipa::path(put, path = "/v1/agents/{id}/keys/{name}", tag = "agents", operation_id = "addKey",
    params(("id" = String, Path, description = "The agent's id"), ("name" = String, Path, description = "The key's name")),
    request_body = NewKey,
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn add_key<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Ids(id, Name(name)): Ids<AgentId, Name>,
    Body(key): Body<NewKey>,
) -> Result<Json<KnownAgent>, Problem> {
    let (agent, resource) = api.agent_seen_by(&caller, &id).await?;
    let authority = api.may(&caller, Act::ChangeKeys, &resource).await?;
    let expires_at = instant("expires_at", key.expires_at.as_deref())?;
    Ok(Json(api.office.add_key(&authority, &agent, &name, key.jwk.get(), expires_at).await?))
}

/// Removes a key of an agent.
#[utoipa::path(delete, path = "/v1/agents/{id}/keys/{name}", tag = "agents", operation_id = "removeKey",
    params(("id" = String, Path, description = "The agent's id"), ("name" = String, Path, description = "The key's name")),
    responses((status = 200, body = KnownAgent), (status = "default", body = ProblemBody)))]
pub(crate) async fn remove_key<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Ids(id, Name(name)): Ids<AgentId, Name>,
) -> Result<Json<KnownAgent>, Problem> {
    let (agent, resource) = api.agent_seen_by(&caller, &id).await?;
    let authority = api.may(&caller, Act::ChangeKeys, &resource).await?;
    Ok(Json(api.office.remove_key(&authority, &agent, &name).await?))
}
