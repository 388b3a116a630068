//! Tool servers: manifests proposed, reviewed and approved; quarantine.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warrantor_control::servers::{Approved, KnownManifest, KnownServer, ManifestDifferences, NewManifest};
use warrantor_decide::administration::{Act, Resource};
use warrantor_model::{Digest, ServerName};
use warrantor_store::Store;

use crate::{
    Api,
    people::Why,
    problem::{Problem, ProblemBody},
    request::{Body, Caller, HistoryParams, Id, Ids, Optional, PageParams, Params},
};

/// A page of servers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Servers {
    /// The servers, in the order of their names.
    pub(crate) items: Vec<KnownServer>,
    /// Where the next page begins; none after the last one.
    pub(crate) next: Option<String>,
}

/// The tool servers that the bundle describes or the registry knows, what each offers, and what was seen that is not as described.
#[utoipa::path(get, path = "/v1/servers", tag = "servers", operation_id = "listServers", params(PageParams),
    responses((status = 200, body = Servers), (status = "default", body = ProblemBody)))]
pub(crate) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Params(page): Params<PageParams>,
) -> Result<Json<Servers>, Problem> {
    api.may(&caller, Act::ReadServer, &Resource::Deployment).await?;
    let (after, limit) = (page.after::<ServerName>()?, page.limit()?);
    let items = api.office.servers(after.as_ref(), limit).await?;
    let next = (items.len() == limit).then(|| items.last().map(|last| last.name.to_string())).flatten();
    Ok(Json(Servers { items, next }))
}

/// A tool server.
#[utoipa::path(get, path = "/v1/servers/{name}", tag = "servers", operation_id = "readServer",
    params(("name" = String, Path, description = "The server's name")),
    responses((status = 200, body = KnownServer), (status = "default", body = ProblemBody)))]
pub(crate) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(name): Id<ServerName>,
) -> Result<Json<KnownServer>, Problem> {
    api.may(&caller, Act::ReadServer, &Resource::Deployment).await?;
    Ok(Json(api.office.server(&name).await?))
}

/// What the server was seen to offer differently from what describes it: in words, then by the lines of its definitions.
#[utoipa::path(get, path = "/v1/servers/{name}/difference", tag = "servers", operation_id = "compareServer",
    params(("name" = String, Path, description = "The server's name")),
    responses((status = 200, body = ManifestDifferences), (status = "default", body = ProblemBody)))]
pub(crate) async fn seen<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(name): Id<ServerName>,
) -> Result<Json<ManifestDifferences>, Problem> {
    api.may(&caller, Act::ReadServer, &Resource::Deployment).await?;
    Ok(Json(api.office.compare_seen(&name).await?))
}

/// A page of manifests.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Manifests {
    /// The manifests, the latest first, without their files.
    pub(crate) items: Vec<KnownManifest>,
    /// Where the next page begins; none after the first manifest.
    pub(crate) next: Option<u64>,
}

/// The manifests that were proposed of a server, and what became of each.
#[utoipa::path(get, path = "/v1/servers/{name}/manifests", tag = "servers", operation_id = "listManifests",
    params(("name" = String, Path, description = "The server's name"), HistoryParams),
    responses((status = 200, body = Manifests), (status = "default", body = ProblemBody)))]
pub(crate) async fn manifests<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(name): Id<ServerName>,
    Params(params): Params<HistoryParams>,
) -> Result<Json<Manifests>, Problem> {
    api.may(&caller, Act::ReadServer, &Resource::Deployment).await?;
    let (before, limit) = params.page()?;
    let items = api.office.manifests(&name, before, limit).await?;
    let next = items.last().map(|last| last.number).filter(|last| *last > 1 && items.len() == limit);
    Ok(Json(Manifests { items, next }))
}

/// A manifest to be proposed. What is left out is taken from what describes the server now.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Proposed {
    /// The manifest, as `tools/NAME.yaml` of a bundle has it. Without one the rules of now are drafted over the definitions, each change marked
    /// `# guess:`; of a server that nothing describes everything is guessed.
    pub(crate) manifest: Option<String>,
    /// What the server answers to `tools/list`. With neither of the two the manifest is drafted over what the server was seen to offer.
    pub(crate) definitions: Option<String>,
    /// Why; it is part of the history.
    #[schema(min_length = 1, max_length = 1000)]
    pub(crate) reason: String,
}

/// Proposes a manifest. It waits for the approval of somebody else; a draft with guesses first for another proposal, without them.
#[utoipa::path(post, path = "/v1/servers/{name}/manifests", tag = "servers", operation_id = "proposeManifest",
    params(("name" = String, Path, description = "The server's name")), request_body = Proposed,
    responses((status = 201, body = KnownManifest), (status = "default", body = ProblemBody)))]
pub(crate) async fn propose<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(name): Id<ServerName>,
    Body(new): Body<Proposed>,
) -> Result<(StatusCode, Json<KnownManifest>), Problem> {
    let resource = api.office.server_resource(&name, None, caller.person()).await?;
    let authority = api.may(&caller, Act::ProposeManifest, &resource).await?;
    let new = NewManifest { manifest: new.manifest, definitions: new.definitions, reason: new.reason };
    Ok((StatusCode::CREATED, Json(api.office.propose_manifest(&authority, &name, new).await?)))
}

/// A manifest, with its files.
#[utoipa::path(get, path = "/v1/servers/{name}/manifests/{number}", tag = "servers", operation_id = "readManifest",
    params(("name" = String, Path, description = "The server's name"), ("number" = u64, Path, description = "The manifest's number")),
    responses((status = 200, body = KnownManifest), (status = "default", body = ProblemBody)))]
pub(crate) async fn read_manifest<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Ids(name, number): Ids<ServerName, u64>,
) -> Result<Json<KnownManifest>, Problem> {
    api.may(&caller, Act::ReadServer, &Resource::Deployment).await?;
    Ok(Json(api.office.manifest(&name, number).await?))
}

/// Which manifest to compare with.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AgainstParams {
    /// The other manifest. When nothing is said, what describes the server now.
    #[param(minimum = 1)]
    against: Option<u64>,
}

/// What a manifest says differently from what describes the server now, or from another one, in words and by the lines of the files.
#[utoipa::path(get, path = "/v1/servers/{name}/manifests/{number}/difference", tag = "servers", operation_id = "compareManifests",
    params(("name" = String, Path, description = "The server's name"), ("number" = u64, Path, description = "The manifest's number"), AgainstParams),
    responses((status = 200, body = ManifestDifferences), (status = "default", body = ProblemBody)))]
pub(crate) async fn compare<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Ids(name, number): Ids<ServerName, u64>,
    Params(params): Params<AgainstParams>,
) -> Result<Json<ManifestDifferences>, Problem> {
    api.may(&caller, Act::ReadServer, &Resource::Deployment).await?;
    Ok(Json(api.office.compare_manifests(&name, number, params.against).await?))
}

/// What is approved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ManifestApproval {
    /// The digest of the manifest as it was seen.
    #[schema(value_type = String)]
    pub(crate) digest: Digest,
}

/// Approves a manifest, which publishes every bundle that it belongs into. Nobody approves what they proposed themselves.
#[utoipa::path(post, path = "/v1/servers/{name}/manifests/{number}/approve", tag = "servers", operation_id = "approveManifest",
    params(("name" = String, Path, description = "The server's name"), ("number" = u64, Path, description = "The manifest's number")),
    request_body = ManifestApproval,
    responses((status = 200, body = Approved), (status = "default", body = ProblemBody)))]
pub(crate) async fn approve<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Ids(name, number): Ids<ServerName, u64>,
    Body(approval): Body<ManifestApproval>,
) -> Result<Json<Approved>, Problem> {
    caller.must_be_person()?;
    let (manifest, authority) = api.answering(&caller, Act::ApproveManifest, &name, number).await?;
    Ok(Json(api.office.approve_manifest(&authority, &manifest, &approval.digest).await?))
}

/// Why a manifest is turned down.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rejection {
    /// Why; whoever proposed it reads it.
    #[schema(min_length = 1, max_length = 1000)]
    pub(crate) reason: String,
}

/// Turns a manifest down.
#[utoipa::path(post, path = "/v1/servers/{name}/manifests/{number}/reject", tag = "servers", operation_id = "rejectManifest",
    params(("name" = String, Path, description = "The server's name"), ("number" = u64, Path, description = "The manifest's number")),
    request_body = Rejection,
    responses((status = 200, body = KnownManifest), (status = "default", body = ProblemBody)))]
pub(crate) async fn reject<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Ids(name, number): Ids<ServerName, u64>,
    Body(rejection): Body<Rejection>,
) -> Result<Json<KnownManifest>, Problem> {
    caller.must_be_person()?;
    let (manifest, authority) = api.answering(&caller, Act::RejectManifest, &name, number).await?;
    Ok(Json(api.office.reject_manifest(&authority, &manifest, &rejection.reason).await?))
}

/// Quarantines a server: nothing of it can be used, at the next call everywhere.
#[utoipa::path(post, path = "/v1/servers/{name}/quarantine", tag = "servers", operation_id = "quarantineServer",
    params(("name" = String, Path, description = "The server's name")), request_body = Option<Why>,
    responses((status = 200, body = KnownServer), (status = "default", body = ProblemBody)))]
pub(crate) async fn quarantine<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(name): Id<ServerName>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownServer>, Problem> {
    let resource = api.office.server_resource(&name, None, caller.person()).await?;
    let authority = api.may(&caller, Act::QuarantineServer, &resource).await?;
    Ok(Json(api.office.quarantine(&authority, &name, why.words()?).await?))
}

/// Lets a quarantined server be used again.
#[utoipa::path(post, path = "/v1/servers/{name}/release", tag = "servers", operation_id = "releaseServer",
    params(("name" = String, Path, description = "The server's name")), request_body = Option<Why>,
    responses((status = 200, body = KnownServer), (status = "default", body = ProblemBody)))]
pub(crate) async fn release<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(name): Id<ServerName>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownServer>, Problem> {
    caller.must_be_person()?;
    let resource = api.office.server_resource(&name, None, caller.person()).await?;
    let authority = api.may(&caller, Act::ReleaseServer, &resource).await?;
    Ok(Json(api.office.release_server(&authority, &name, why.words()?).await?))
}
