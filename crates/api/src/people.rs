//! People.

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warrantor_control::people::{KnownPerson, NewPerson};
use warrantor_decide::administration::{Act, Actor, Resource};
use warrantor_model::{GroupName, PersonId};
use warrantor_store::Store;

use crate::{
    Api,
    problem::{Problem, ProblemBody},
    request::{Body, Caller, Id, Optional, PageParams, Params},
};

/// Why something is done, in the words of who does it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Why {
    /// The reason; it is recorded.
    #[schema(max_length = 1000)]
    pub(crate) reason: Option<String>,
}

impl Why {
    pub(crate) fn words(&self) -> Result<Option<&str>, Problem> {
        match self.reason.as_deref() {
            Some(words) if words.len() > 1000 || words.chars().any(char::is_control) => {
                Err(Problem::invalid("reason", "at most 1000 bytes in one line are kept"))
            }
            words => Ok(words),
        }
    }
}

/// A page of people.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct People {
    /// The people, in the order of their ids.
    pub(crate) items: Vec<KnownPerson>,
    /// Where the next page begins; none after the last one.
    pub(crate) next: Option<String>,
}

/// Who the caller is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Myself {
    /// The person; none for a client.
    pub(crate) person: Option<KnownPerson>,
    /// The client's name; none for a person.
    pub(crate) client: Option<String>,
    /// Roles in administration.
    #[schema(value_type = Vec<String>)]
    pub(crate) roles: BTreeSet<String>,
}

/// Who the caller is.
#[utoipa::path(get, path = "/v1/me", tag = "people", operation_id = "whoAmI",
    responses((status = 200, body = Myself), (status = "default", body = ProblemBody)))]
pub(crate) async fn me<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
) -> Result<Json<Myself>, Problem> {
    Ok(Json(match caller.actor() {
        Actor::Person { id, roles, .. } => {
            Myself { person: Some(api.office.person(id).await?), client: None, roles: roles.clone() }
        }
        Actor::Client { name, roles } => {
            Myself { person: None, client: Some(name.clone()), roles: roles.clone() }
        }
    }))
}

/// The people of the bundle and of the registry.
#[utoipa::path(get, path = "/v1/people", tag = "people", operation_id = "listPeople", params(PageParams),
    responses((status = 200, body = People), (status = "default", body = ProblemBody)))]
pub(crate) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Params(page): Params<PageParams>,
) -> Result<Json<People>, Problem> {
    api.may(&caller, Act::ListPeople, &Resource::Deployment).await?;
    let limit = page.limit()?;
    let items = api.office.people(page.after()?.as_ref(), limit).await?;
    let next = (items.len() == limit).then(|| items.last().map(|last| last.id.to_string())).flatten();
    Ok(Json(People { items, next }))
}

/// A person to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Registration {
    /// The id; made from the name when none is given.
    #[schema(value_type = Option<String>, max_length = 128)]
    pub(crate) id: Option<PersonId>,
    /// The identity provider, as its tokens name it.
    #[schema(max_length = 512)]
    pub(crate) issuer: String,
    /// The provider's name for the person, as its tokens tell it.
    #[schema(max_length = 512)]
    pub(crate) subject: String,
    /// What the person is called.
    pub(crate) name: Option<String>,
    /// Mail addresses: attributes, never keys.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) mail: BTreeSet<String>,
    /// Groups to put the person in.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub(crate) groups: BTreeSet<GroupName>,
}

/// Registers a person.
#[utoipa::path(post, path = "/v1/people", tag = "people", operation_id = "registerPerson",
    request_body = Registration,
    responses((status = 201, body = KnownPerson), (status = "default", body = ProblemBody)))]
pub(crate) async fn register<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Body(new): Body<Registration>,
) -> Result<(StatusCode, Json<KnownPerson>), Problem> {
    let authority = api.may(&caller, Act::RegisterPerson, &Resource::Deployment).await?;
    let new = NewPerson {
        id: new.id,
        issuer: new.issuer,
        subject: new.subject,
        name: new.name,
        mail: new.mail,
        groups: new.groups,
    };
    Ok((StatusCode::CREATED, Json(api.office.register(&authority, new).await?)))
}

/// A person.
#[utoipa::path(get, path = "/v1/people/{id}", tag = "people", operation_id = "readPerson",
    params(("id" = String, Path, description = "The person's id")),
    responses((status = 200, body = KnownPerson), (status = "default", body = ProblemBody)))]
pub(crate) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<PersonId>,
) -> Result<Json<KnownPerson>, Problem> {
    api.may(&caller, Act::ReadPerson, &api.person_resource(&id).await?).await?;
    Ok(Json(api.office.person(&id).await?))
}

/// The roles a person is to have.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Roles {
    /// Names that policies of administration speak of.
    #[schema(value_type = Vec<String>)]
    pub(crate) roles: BTreeSet<String>,
}

/// Says which roles a person has.
#[utoipa::path(put, path = "/v1/people/{id}/roles", tag = "people", operation_id = "giveRoles",
    params(("id" = String, Path, description = "The person's id")), request_body = Roles,
    responses((status = 200, body = KnownPerson), (status = "default", body = ProblemBody)))]
pub(crate) async fn give_roles<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<PersonId>,
    Body(body): Body<Roles>,
) -> Result<Json<KnownPerson>, Problem> {
    let authority = api.may(&caller, Act::ChangePerson, &api.person_resource(&id).await?).await?;
    Ok(Json(api.office.give_roles(&authority, &id, body.roles).await?))
}

/// The groups a person is to be put in.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Groups {
    /// Names of groups, beside those that the provider's tokens tell.
    #[schema(value_type = Vec<String>)]
    pub(crate) groups: BTreeSet<GroupName>,
}

/// Says which groups a person is in, beside those that the provider's tokens tell.
#[utoipa::path(put, path = "/v1/people/{id}/groups", tag = "people", operation_id = "putInGroups",
    params(("id" = String, Path, description = "The person's id")), request_body = Groups,
    responses((status = 200, body = KnownPerson), (status = "default", body = ProblemBody)))]
pub(crate) async fn put_in_groups<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<PersonId>,
    Body(body): Body<Groups>,
) -> Result<Json<KnownPerson>, Problem> {
    let authority = api.may(&caller, Act::ChangePerson, &api.person_resource(&id).await?).await?;
    Ok(Json(api.office.put_in_groups(&authority, &id, body.groups).await?))
}

/// Stops a person, and with the person everything the person answers for.
#[utoipa::path(post, path = "/v1/people/{id}/suspend", tag = "people", operation_id = "suspendPerson",
    params(("id" = String, Path, description = "The person's id")), request_body = Option<Why>,
    responses((status = 200, body = KnownPerson), (status = "default", body = ProblemBody)))]
pub(crate) async fn suspend<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<PersonId>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownPerson>, Problem> {
    let authority = api.may(&caller, Act::SuspendPerson, &api.person_resource(&id).await?).await?;
    Ok(Json(api.office.suspend_person(&authority, &id, why.words()?).await?))
}

/// Lets a stopped person go on. What the directory says stands.
#[utoipa::path(post, path = "/v1/people/{id}/resume", tag = "people", operation_id = "resumePerson",
    params(("id" = String, Path, description = "The person's id")), request_body = Option<Why>,
    responses((status = 200, body = KnownPerson), (status = "default", body = ProblemBody)))]
pub(crate) async fn resume<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<PersonId>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownPerson>, Problem> {
    let authority = api.may(&caller, Act::ResumePerson, &api.person_resource(&id).await?).await?;
    Ok(Json(api.office.resume_person(&authority, &id, why.words()?).await?))
}

/// Says that a person has left for good.
#[utoipa::path(post, path = "/v1/people/{id}/leave", tag = "people", operation_id = "personLeaves",
    params(("id" = String, Path, description = "The person's id")), request_body = Option<Why>,
    responses((status = 200, body = KnownPerson), (status = "default", body = ProblemBody)))]
pub(crate) async fn leave<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<PersonId>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownPerson>, Problem> {
    let authority = api.may(&caller, Act::PersonLeaves, &api.person_resource(&id).await?).await?;
    Ok(Json(api.office.person_leaves(&authority, &id, why.words()?).await?))
}

/// How many sessions were ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Ended {
    /// How many.
    pub(crate) ended: usize,
}

/// Ends every session of a person.
#[utoipa::path(delete, path = "/v1/people/{id}/sessions", tag = "people", operation_id = "endSessions",
    params(("id" = String, Path, description = "The person's id")),
    responses((status = 200, body = Ended), (status = "default", body = ProblemBody)))]
pub(crate) async fn end_sessions<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<PersonId>,
) -> Result<Json<Ended>, Problem> {
    let authority = api.may(&caller, Act::EndSessions, &api.person_resource(&id).await?).await?;
    Ok(Json(Ended { ended: api.office.end_sessions(&authority, &id).await? }))
}
