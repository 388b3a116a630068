//! `/Users` (RFC 7643, section 4.1).

use std::sync::Arc;

use axum::{
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use warrantor_control::directory::{Provisioned, StoredUser, UserBy, UserDraft};
use warrantor_model::PersonId;
use warrantor_store::Store;

use super::{
    Directory, Query, Scim, ScimError, Sent, Window, boolean, filter, listed, member, meta,
    patch::{self, Operation, Target},
    text,
};
use crate::{Api, request::Id};

const SCHEMA: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

/// A user as it is told to the directory.
fn shown(user: &Provisioned<PersonId, StoredUser>) -> Value {
    let told = &user.what.told;
    let mails: Vec<Value> = told
        .mail
        .iter()
        .enumerate()
        .map(|(at, mail)| json!({ "value": mail, "type": "work", "primary": at == 0 }))
        .collect();
    let mut value = json!({
        "schemas": [SCHEMA],
        "id": user.id.to_string(),
        "userName": told.user_name,
        "active": told.active,
        "emails": mails,
        "meta": meta("User", user.id.as_str(), user.what.created, user.what.changed, user.version),
    });
    if let Some(members) = value.as_object_mut() {
        if let Some(id) = &told.external_id {
            members.insert("externalId".to_owned(), id.as_str().into());
        }
        if let Some(name) = &told.display_name {
            members.insert("displayName".to_owned(), name.as_str().into());
            members.insert("name".to_owned(), json!({ "formatted": name }));
        }
    }
    value
}

/// What a whole user says. Whether somebody is active stays as it was `before` where nothing is said of it.
fn draft(sent: &Value, before: bool) -> Result<UserDraft, ScimError> {
    let some = |name: &str| member(sent, name).map_or(Ok(None), |value| text(name, value));
    let user_name = some("userName")?.ok_or_else(|| ScimError::bad("invalidValue", "userName is missing"))?;
    let display_name = match some("displayName")? {
        Some(name) => Some(name),
        None => member(sent, "name").map_or(Ok(None), called)?,
    };
    let mail = member(sent, "emails").map_or(Ok(Vec::new()), addresses)?;
    let active = member(sent, "active").map_or(Ok(before), |value| boolean("active", value))?;
    Ok(UserDraft { user_name, external_id: some("externalId")?, display_name, mail, active })
}

/// What `name` calls somebody.
fn called(name: &Value) -> Result<Option<String>, ScimError> {
    let part = |part: &str| member(name, part).map_or(Ok(None), |value| text(part, value));
    if let Some(formatted) = part("formatted")? {
        return Ok(Some(formatted));
    }
    let parts: Vec<String> = [part("givenName")?, part("familyName")?].into_iter().flatten().collect();
    Ok((!parts.is_empty()).then(|| parts.join(" ")))
}

/// Addresses, the primary one first.
fn addresses(emails: &Value) -> Result<Vec<String>, ScimError> {
    let list = match emails {
        Value::Null => return Ok(Vec::new()),
        Value::Array(list) => list.as_slice(),
        one => std::slice::from_ref(one),
    };
    let mut mails: Vec<(bool, String)> = Vec::new();
    for one in list {
        let address = match one {
            Value::String(address) => Some(address.clone()),
            one => member(one, "value").map_or(Ok(None), |value| text("emails.value", value))?,
        };
        let primary = member(one, "primary").map_or(Ok(false), |value| boolean("emails.primary", value))?;
        mails.extend(address.map(|address| (!primary, address)));
    }
    mails.sort_by_key(|(rank, _)| *rank);
    let mut all: Vec<String> = Vec::new();
    for (_, address) in mails {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    Ok(all)
}

fn answer(status: StatusCode, user: &Provisioned<PersonId, StoredUser>) -> Response {
    let mut response = (status, Scim(shown(user))).into_response();
    if let Ok(location) = HeaderValue::from_str(&format!("/scim/v2/Users/{}", user.id)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

pub(super) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    query: Query,
) -> Result<Scim, ScimError> {
    let Some(text) = &query.filter else {
        let Window { from, count } = query.window;
        let (total, users) = api.office.directory_users(&directory.settings, from, count).await?;
        let shown: Vec<Value> = users.iter().map(shown).collect();
        return Ok(listed(total, query.window, &shown));
    };
    let mut found: Option<Provisioned<PersonId, StoredUser>> = None;
    for (nth, one) in filter::parse(text)?.into_iter().enumerate() {
        let matches = |user: &Provisioned<PersonId, StoredUser>| {
            let told = &user.what.told;
            match filter::short(&one.attribute) {
                "username" => told.user_name.to_lowercase() == one.value.to_lowercase(),
                "externalid" => told.external_id.as_deref() == Some(one.value.as_str()),
                "id" => user.id.as_str() == one.value,
                "active" => told.active.to_string() == one.value.to_lowercase(),
                _ => false,
            }
        };
        let first = nth == 0;
        match filter::short(&one.attribute) {
            "username" | "externalid" | "id" if first => {
                found = match filter::short(&one.attribute) {
                    "username" => {
                        let by = UserBy::UserName(one.value.clone());
                        api.office.directory_user_by(&directory.settings, &by).await?
                    }
                    "externalid" => {
                        let by = UserBy::ExternalId(one.value.clone());
                        api.office.directory_user_by(&directory.settings, &by).await?
                    }
                    _ => match PersonId::new(one.value.as_str()) {
                        Ok(id) => known(api.office.directory_user(&directory.settings, &id).await)?,
                        Err(_) => None,
                    },
                };
            }
            "username" | "externalid" | "id" | "active" if !first => found = found.filter(matches),
            other => {
                return Err(ScimError::bad(
                    "invalidFilter",
                    format!("users are found by userName, externalId or id, and not by {other} first"),
                ));
            }
        }
    }
    let resources: Vec<Value> =
        found.iter().skip(query.window.from).take(query.window.count).map(shown).collect();
    Ok(listed(usize::from(found.is_some()), query.window, &resources))
}

fn known<T>(found: Result<T, warrantor_control::office::OfficeError>) -> Result<Option<T>, ScimError> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(warrantor_control::office::OfficeError::Unknown { .. }) => Ok(None),
        Err(cause) => Err(cause.into()),
    }
}

pub(super) async fn create<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    Sent(sent): Sent,
) -> Result<Response, ScimError> {
    let user = api.office.provision(&directory.authority, &directory.settings, draft(&sent, true)?).await?;
    Ok(answer(StatusCode::CREATED, &user))
}

pub(super) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    id: Result<Id<PersonId>, crate::problem::Problem>,
) -> Result<Response, ScimError> {
    let Id(id) = id?;
    Ok(answer(StatusCode::OK, &api.office.directory_user(&directory.settings, &id).await?))
}

pub(super) async fn replace<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    id: Result<Id<PersonId>, crate::problem::Problem>,
    Sent(sent): Sent,
) -> Result<Response, ScimError> {
    let Id(id) = id?;
    let Directory { settings, authority } = &directory;
    let become_it = |before: &UserDraft| draft(&sent, before.active);
    let user = api.office.provision_again::<ScimError>(authority, settings, &id, become_it).await?;
    Ok(answer(StatusCode::OK, &user))
}

pub(super) async fn patch<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    id: Result<Id<PersonId>, crate::problem::Problem>,
    Sent(sent): Sent,
) -> Result<Response, ScimError> {
    let Id(id) = id?;
    let Directory { settings, authority } = &directory;
    let operations = patch::operations(&sent)?;
    let become_it = |before: &UserDraft| {
        let mut told = before.clone();
        operations.iter().try_for_each(|operation| change(&mut told, operation))?;
        Ok(told)
    };
    let user = api.office.provision_again::<ScimError>(authority, settings, &id, become_it).await?;
    Ok(answer(StatusCode::OK, &user))
}

/// What one operation changes of a user.
fn change(told: &mut UserDraft, operation: &Operation<'_>) -> Result<(), ScimError> {
    let Some(path) = operation.path else {
        // The members of the value say what is changed, each as if it were the path.
        let value =
            operation.value.ok_or_else(|| ScimError::bad("invalidValue", "the operation has no value"))?;
        let members = value
            .as_object()
            .ok_or_else(|| ScimError::bad("invalidValue", "without a path, the value has to be an object"))?;
        for (name, value) in members {
            let one = Operation { path: Some(name), value: Some(value), ..*operation };
            change(told, &one)?;
        }
        return Ok(());
    };
    let null = Value::Null;
    let value = match operation.target {
        Target::Remove => &null,
        Target::Add | Target::Replace => {
            operation.value.ok_or_else(|| ScimError::bad("invalidValue", "the operation has no value"))?
        }
    };
    let lower = path.to_ascii_lowercase();
    match filter::short(&lower) {
        "active" => told.active = boolean("active", value)?,
        "username" => {
            told.user_name = text("userName", value)?
                .ok_or_else(|| ScimError::bad("invalidValue", "userName cannot be removed"))?;
        }
        "externalid" => told.external_id = text("externalId", value)?,
        "displayname" | "name.formatted" => told.display_name = text("displayName", value)?,
        "name" => {
            if let Some(name) = called(value)? {
                told.display_name = Some(name);
            }
        }
        "emails" => {
            let mails = addresses(value)?;
            if operation.target == Target::Add {
                told.mail.extend(mails);
                let mut seen = std::collections::BTreeSet::new();
                told.mail.retain(|mail| seen.insert(mail.clone()));
            } else {
                told.mail = mails;
            }
        }
        // `emails[type eq "work"].value`: of which type an address is, is not kept.
        path if path.starts_with("emails[") && path.ends_with("].value") => {
            told.mail = text("emails.value", value)?.into_iter().collect();
        }
        // Other attributes are not kept, so that nothing of them changes.
        _ => {}
    }
    Ok(())
}

pub(super) async fn delete<S: Store>(
    State(api): State<Arc<Api<S>>>,
    directory: Directory,
    id: Result<Id<PersonId>, crate::problem::Problem>,
) -> Result<StatusCode, ScimError> {
    let Id(id) = id?;
    api.office.deprovision(&directory.authority, &directory.settings, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(operations: &str) -> UserDraft {
        let mut told = UserDraft {
            user_name: "alice@example.com".into(),
            external_id: Some("00u1".into()),
            display_name: Some("Alice".into()),
            mail: vec!["alice@example.com".into()],
            active: true,
        };
        let sent: Value = serde_json::from_str(operations).unwrap();
        for operation in patch::operations(&sent).unwrap() {
            change(&mut told, &operation).unwrap();
        }
        told
    }

    #[test]
    fn okta_and_entra_deactivate_in_their_own_ways() {
        for operations in [
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}"#,
            r#"{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"False"}]}"#,
            r#"{"Operations":[{"op":"replace","path":"urn:ietf:params:scim:schemas:core:2.0:User:active","value":false}]}"#,
        ] {
            assert!(!patched(operations).active, "{operations}");
        }
    }

    #[test]
    fn what_is_not_kept_changes_nothing_and_what_is_kept_changes() {
        let told = patched(
            r#"{"Operations":[
                {"op":"Add","path":"title","value":"CFO"},
                {"op":"Add","path":"roles[primary eq \"True\"].value","value":"admin"},
                {"op":"Replace","path":"emails[type eq \"work\"].value","value":"new@example.com"},
                {"op":"Replace","path":"displayName","value":"Alice B."},
                {"op":"Replace","value":{"externalId":"00u1","nickName":"al"}}
            ]}"#,
        );
        assert_eq!(told.mail, ["new@example.com"]);
        assert_eq!(told.display_name.as_deref(), Some("Alice B."));
        assert!(told.active);
    }

    #[test]
    fn a_user_is_read_as_directories_send_it() {
        let okta: Value = serde_json::from_str(
            r#"{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"a@x.org","name":{"givenName":"A","familyName":"B"},
                "emails":[{"value":"second@x.org"},{"primary":true,"value":"a@x.org","type":"work"}],"displayName":"","locale":"en-US","externalId":"00u","groups":[],"password":"1mz050nq","active":true}"#,
        )
        .unwrap();
        let read = draft(&okta, true).unwrap();
        assert_eq!(read.display_name.as_deref(), Some("A B"));
        assert_eq!(read.mail, ["a@x.org", "second@x.org"]);
        for bad in [
            r#"{}"#,
            r#"{"userName":7}"#,
            r#"{"userName":"a","active":"maybe"}"#,
            r#"{"userName":"a","emails":[{"value":1}]}"#,
        ] {
            assert!(draft(&serde_json::from_str(bad).unwrap(), true).is_err(), "{bad}");
        }
    }
}
