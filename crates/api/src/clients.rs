//! Clients of the interface that have a credential of their own.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warrantor_control::access::{DirectorySettings, StoredClient};
use warrantor_decide::administration::{Act, Resource};
use warrantor_store::Store;

use crate::{
    Api,
    problem::{Problem, ProblemBody},
    request::{Body, Caller, Id, Name, instant},
};

/// The clients.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Clients {
    /// Each of them, without its token.
    pub(crate) items: Vec<StoredClient>,
}

/// The clients.
#[utoipa::path(get, path = "/v1/clients", tag = "clients", operation_id = "listClients",
    responses((status = 200, body = Clients), (status = "default", body = ProblemBody)))]
pub(crate) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
) -> Result<Json<Clients>, Problem> {
    api.may(&caller, Act::ListClients, &Resource::Deployment).await?;
    Ok(Json(Clients { items: api.office.clients().await? }))
}

/// A client to make a credential for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewClient {
    /// Its name.
    #[schema(max_length = 64)]
    pub(crate) name: String,
    /// What it may do: names that policies of administration speak of.
    #[schema(value_type = Vec<String>)]
    pub(crate) roles: BTreeSet<String>,
    /// For a directory: whose people it provisions.
    pub(crate) directory: Option<DirectorySettings>,
    /// When its credential ends.
    pub(crate) expires_at: Option<String>,
}

/// A client with its token.
#[derive(Serialize, ToSchema)]
pub(crate) struct MadeClient {
    /// The token. It is shown this once.
    pub(crate) token: String,
    /// What stands behind it.
    pub(crate) client: StoredClient,
}

/// Makes a credential for a client.
#[utoipa::path(post, path = "/v1/clients", tag = "clients", operation_id = "addClient", request_body = NewClient,
    responses((status = 201, body = MadeClient), (status = "default", body = ProblemBody)))]
pub(crate) async fn add<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Body(new): Body<NewClient>,
) -> Result<(StatusCode, Json<MadeClient>), Problem> {
    caller.must_be_person()?;
    let authority = api.may(&caller, Act::AddClient, &Resource::Deployment).await?;
    let expires_at = instant("expires_at", new.expires_at.as_deref())?;
    let made = api.office.add_client(&authority, &new.name, new.roles, new.directory, expires_at).await?;
    Ok((StatusCode::CREATED, Json(MadeClient { token: made.token, client: made.what })))
}

/// Ends a client's credential.
#[utoipa::path(delete, path = "/v1/clients/{name}", tag = "clients", operation_id = "removeClient",
    params(("name" = String, Path, description = "The client's name")),
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub(crate) async fn remove<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(Name(name)): Id<Name>,
) -> Result<StatusCode, Problem> {
    caller.must_be_person()?;
    let authority = api.may(&caller, Act::RemoveClient, &Resource::Deployment).await?;
    api.office.remove_client(&authority, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
