//! `/Groups` (RFC 7643, section 4.2).

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use warrantor_control::directory::{Provisioned, StoredGroup};
use warrantor_model::PersonId;
use warrantor_store::Store;

use super::{
    Directory, Query, Scim, ScimError, Sent, Window, filter, listed, member, meta,
    patch::{self, Operation, Target},
    text,
};
use crate::{
    Api,
    problem::Problem,
    request::{Id, Name},
};

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";

type Group = Provisioned<String, StoredGroup>;

fn shown(group: &Group, members: Option<&BTreeSet<PersonId>>) -> Value {
    let mut value = json!({
        "schemas": [SCHEMA],
        "id": group.id,
        "displayName": group.what.display_name,
        "meta": meta("Group", &group.id, group.what.created, group.what.changed, group.version),
    });
    if let Some(object) = value.as_object_mut() {
        if let Some(id) = &group.what.external_id {
            object.insert("externalId".to_owned(), id.as_str().into());
        }
        if let Some(members) = members {
            let members: Vec<Value> =
                members.iter().map(|id| json!({ "value": id.to_string(), "type": "User" })).collect();
            object.insert("members".to_owned(), members.into());
        }
    }
    value
}

async fn answer<S: Store>(
    api: &Api<S>,
    directory: &Directory,
    status: StatusCode,
    group: &Group,
    excluded: bool,
) -> Result<Response, ScimError> {
    let members = match excluded {
        true => None,
        false => Some(api.office.members(&directory.settings, &group.what.name).await?),
    };
    let mut response = (status, Scim(shown(group, members.as_ref()))).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/scim/v2/Groups/{}", group.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The members that a value names.
fn members(value: &Value) -> Result<BTreeSet<PersonId>, ScimError> {
    let list = match value {
        Value::Null => return Ok(BTreeSet::new()),
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let one = |one: &Value| {
        let id = match one {
            Value::String(id) => Some(id.clone()),
            one => member(one, "value").map_or(Ok(None), |value| text("members.value", value))?,
        };
        let id = id.and_then(|id| PersonId::new(id).ok());
        id.ok_or_else(|| ScimError::bad("invalidValue", "members are `{ \"value\": \"id of a user\" }`"))
    };
    list.iter().map(one).collect()
}

fn named(sent: &Value) -> Result<(String, Option<String>), ScimError> {
    let name = member(sent, "displayName").map_or(Ok(None), |value| text("displayName", value))?;
    let name = name.ok_or_else(|| ScimError::bad("invalidValue", "displayName is missing"))?;
    Ok((name, member(sent, "externalId").map_or(Ok(None), |value| text("externalId", value))?))
}

pub(super) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    query: Query,
) -> Result<Scim, ScimError> {
    let mut wanted = Vec::new();
    for one in query.filter.as_deref().map(filter::parse).transpose()?.unwrap_or_default() {
        if !["displayname", "externalid", "id"].contains(&one.attribute.as_str()) {
            let why =
                format!("groups are found by displayName, externalId or id, and not by {}", one.attribute);
            return Err(ScimError::bad("invalidFilter", why));
        }
        wanted.push(one);
    }
    let matches = |id: &str, group: &StoredGroup| {
        wanted.iter().all(|one| match one.attribute.as_str() {
            "displayname" => group.display_name.eq_ignore_ascii_case(&one.value),
            "externalid" => group.external_id.as_deref() == Some(one.value.as_str()),
            _ => id == one.value,
        })
    };
    let Window { from, count } = query.window;
    let found = api.office.directory_groups(&directory.settings, from, count, matches).await?;
    let mut resources = Vec::new();
    for group in &found.1 {
        let members = match query.excluded.iter().any(|name| name == "members") {
            true => None,
            false => Some(api.office.members(&directory.settings, &group.what.name).await?),
        };
        resources.push(shown(group, members.as_ref()));
    }
    Ok(listed(found.0, query.window, &resources))
}

pub(super) async fn create<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    Sent(sent): Sent,
) -> Result<Response, ScimError> {
    let (name, external) = named(&sent)?;
    let who = member(&sent, "members").map_or(Ok(BTreeSet::new()), members)?;
    let Directory { settings, authority } = &directory;
    let group = api.office.provision_group(authority, settings, &name, external, &who).await?;
    answer(&api, &directory, StatusCode::CREATED, &group, false).await
}

pub(super) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    id: Result<Id<Name>, Problem>,
    query: Query,
) -> Result<Response, ScimError> {
    let Id(Name(id)) = id?;
    let group = api.office.directory_group(&directory.settings, &id).await?;
    let excluded = query.excluded.iter().any(|name| name == "members");
    answer(&api, &directory, StatusCode::OK, &group, excluded).await
}

pub(super) async fn replace<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    id: Result<Id<Name>, Problem>,
    Sent(sent): Sent,
) -> Result<Response, ScimError> {
    let Id(Name(id)) = id?;
    let (name, external) = named(&sent)?;
    let wanted = member(&sent, "members").map_or(Ok(BTreeSet::new()), members)?;
    let Directory { settings, authority } = &directory;
    let group = api.office.directory_group(settings, &id).await?;
    api.office.rename_group(authority, settings, &id, &name, external).await?;
    settle(&api, &directory, &group, wanted).await?;
    answer(&api, &directory, StatusCode::OK, &api.office.directory_group(settings, &id).await?, false).await
}

/// Makes a group have exactly these members.
async fn settle<S: Store>(
    api: &Api<S>,
    directory: &Directory,
    group: &Group,
    wanted: BTreeSet<PersonId>,
) -> Result<(), ScimError> {
    let now = api.office.members(&directory.settings, &group.what.name).await?;
    let add = wanted.difference(&now).cloned().collect();
    let remove = now.difference(&wanted).cloned().collect();
    let Directory { settings, authority } = directory;
    Ok(api.office.change_members(authority, settings, &group.what.name, &add, &remove).await?)
}

pub(super) async fn patch<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    id: Result<Id<Name>, Problem>,
    Sent(sent): Sent,
) -> Result<Response, ScimError> {
    let Id(Name(id)) = id?;
    let operations = patch::operations(&sent)?;
    let group = api.office.directory_group(&directory.settings, &id).await?;
    let mut wanted = api.office.members(&directory.settings, &group.what.name).await?;
    let mut called = (group.what.display_name.clone(), group.what.external_id.clone());
    for operation in &operations {
        change(&mut called, &mut wanted, operation)?;
    }
    let Directory { settings, authority } = &directory;
    api.office.rename_group(authority, settings, &id, &called.0, called.1).await?;
    settle(&api, &directory, &group, wanted).await?;
    answer(&api, &directory, StatusCode::OK, &api.office.directory_group(settings, &id).await?, false).await
}

/// What one operation changes of a group.
fn change(
    called: &mut (String, Option<String>),
    wanted: &mut BTreeSet<PersonId>,
    operation: &Operation<'_>,
) -> Result<(), ScimError> {
    let missing = || ScimError::bad("invalidValue", "the operation has no value");
    let Some(path) = operation.path else {
        let value = operation.value.and_then(Value::as_object).ok_or_else(missing)?;
        for (name, value) in value {
            // Okta repeats the id beside what it changes.
            let one = Operation { path: Some(name), value: Some(value), ..*operation };
            change(called, wanted, &one)?;
        }
        return Ok(());
    };
    let lower = path.to_ascii_lowercase();
    match (lower.as_str(), operation.target) {
        ("members", Target::Add) => wanted.extend(members(operation.value.ok_or_else(missing)?)?),
        ("members", Target::Replace) => *wanted = members(operation.value.ok_or_else(missing)?)?,
        ("members", Target::Remove) => match operation.value {
            // Entra names whom to take out in the value; without one, everybody goes (RFC 7644, section 3.5.2.2).
            Some(value) => {
                let gone = members(value)?;
                wanted.retain(|id| !gone.contains(id));
            }
            None => wanted.clear(),
        },
        (selected, Target::Remove) if selected.starts_with("members[") => {
            let inner = path.get("members[".len()..).and_then(|rest| rest.strip_suffix(']'));
            let inner = inner.ok_or_else(|| ScimError::bad("invalidPath", "the path does not end"))?;
            for one in filter::parse(inner)? {
                if one.attribute != "value" {
                    return Err(ScimError::bad("invalidPath", "members are selected by `value`"));
                }
                wanted.retain(|id| id.as_str() != one.value);
            }
        }
        ("displayname", Target::Add | Target::Replace) => {
            let name = text("displayName", operation.value.ok_or_else(missing)?)?;
            called.0 = name.ok_or_else(|| ScimError::bad("invalidValue", "displayName cannot be empty"))?;
        }
        ("externalid", Target::Add | Target::Replace) => {
            called.1 = text("externalId", operation.value.ok_or_else(missing)?)?;
        }
        ("externalid", Target::Remove) => called.1 = None,
        ("id" | "schemas" | "meta", _) => {}
        _ => return Err(ScimError::bad("invalidPath", format!("{path:?} of a group cannot be changed"))),
    }
    Ok(())
}

pub(super) async fn delete<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    id: Result<Id<Name>, Problem>,
) -> Result<StatusCode, ScimError> {
    let Id(Name(id)) = id?;
    api.office.deprovision_group(&directory.authority, &directory.settings, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(operations: &str) -> Vec<String> {
        let mut called = ("finance".to_owned(), None);
        let mut wanted: BTreeSet<PersonId> = ["a", "b", "c"].map(|id| id.parse().unwrap()).into();
        let sent: Value = serde_json::from_str(operations).unwrap();
        for operation in patch::operations(&sent).unwrap() {
            change(&mut called, &mut wanted, &operation).unwrap();
        }
        wanted.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn members_come_and_go_as_okta_and_entra_send_them() {
        for (operations, left) in [
            (
                r#"{"Operations":[{"op":"add","path":"members","value":[{"value":"d","display":"D"}]}]}"#,
                "a b c d",
            ),
            (
                r#"{"Operations":[{"op":"Add","path":"members","value":[{"$ref":null,"value":"d"}]}]}"#,
                "a b c d",
            ),
            (r#"{"Operations":[{"op":"remove","path":"members[value eq \"b\"]"}]}"#, "a c"),
            (r#"{"Operations":[{"op":"Remove","path":"members","value":[{"value":"b"}]}]}"#, "a c"),
            (r#"{"Operations":[{"op":"remove","path":"members"}]}"#, ""),
            (r#"{"Operations":[{"op":"replace","path":"members","value":[{"value":"x"}]}]}"#, "x"),
            (r#"{"Operations":[{"op":"replace","value":{"id":"g-1","displayName":"Finance"}}]}"#, "a b c"),
            (
                r#"{"Operations":[{"op":"remove","path":"members[value eq \"b\"]"},{"op":"add","path":"members","value":[{"value":"b"}]}]}"#,
                "a b c",
            ),
        ] {
            assert_eq!(patched(operations).join(" "), left, "{operations}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for operations in [
            r#"{}"#,
            r#"{"Operations":[{"op":"move","path":"members"}]}"#,
            r#"{"Operations":[{"op":"remove"}]}"#,
            r#"{"Operations":[{"op":"add","path":"members"}]}"#,
            r#"{"Operations":[{"op":"add","path":"members","value":[{"value":"a b"}]}]}"#,
            r#"{"Operations":[{"op":"remove","path":"members[type eq \"User\"]"}]}"#,
            r#"{"Operations":[{"op":"remove","path":"members[value eq \"b\""}]}"#,
            r#"{"Operations":[{"op":"add","path":"owners","value":[]}]}"#,
        ] {
            let sent: Value = serde_json::from_str(operations).unwrap();
            let mut called = ("finance".to_owned(), None);
            let done = patch::operations(&sent).and_then(|operations| {
                operations.iter().try_for_each(|one| change(&mut called, &mut BTreeSet::new(), one))
            });
            assert!(done.is_err(), "{operations} was taken");
        }
    }
}
