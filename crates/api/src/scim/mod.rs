//! SCIM 2.0 (RFC 7643, 7644): how directories such as Okta and Entra ID provision people and groups.
//!
//! What directories send is taken as they send it: attributes that are not known here are passed over, names of attributes and operations are read without
//! regard to case, and a boolean may be a text. What is kept is told back; nothing else of it is believed.

mod filter;
mod groups;
mod patch;
mod users;

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{FromRequest, FromRequestParts, Request, State},
    http::{HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::get,
};
use serde_json::{Value, json};
use warrantor_control::{
    access::{DirectorySettings, Presenter},
    office::{Authority, OfficeError},
};
use warrantor_decide::administration::{Act, Resource};
use warrantor_model::Timestamp;
use warrantor_store::Store;

use crate::{
    Api,
    problem::{Kind, Problem},
    request::Caller,
};

/// The media type (RFC 7644, section 8.1).
const SCIM: &str = "application/scim+json";
/// Most entries of one answer.
const MAX_RESULTS: usize = 200;

pub(crate) fn router<S: Store>() -> Router<Arc<Api<S>>> {
    Router::new()
        .route("/scim/v2/Users", get(users::list::<S>).post(users::create::<S>))
        .route(
            "/scim/v2/Users/{id}",
            get(users::read::<S>)
                .put(users::replace::<S>)
                .patch(users::patch::<S>)
                .delete(users::delete::<S>),
        )
        .route("/scim/v2/Groups", get(groups::list::<S>).post(groups::create::<S>))
        .route(
            "/scim/v2/Groups/{id}",
            get(groups::read::<S>)
                .put(groups::replace::<S>)
                .patch(groups::patch::<S>)
                .delete(groups::delete::<S>),
        )
        .route("/scim/v2/ServiceProviderConfig", get(config::<S>))
        .route("/scim/v2/ResourceTypes", get(resource_types::<S>))
        .route("/scim/v2/Schemas", get(schemas::<S>))
}

/// An error as SCIM has it (RFC 7644, section 3.12).
#[derive(Debug)]
pub(super) struct ScimError {
    status: StatusCode,
    kind: Option<&'static str>,
    detail: String,
}

impl ScimError {
    fn new(status: StatusCode, kind: Option<&'static str>, detail: impl Into<String>) -> Self {
        Self { status, kind, detail: detail.into() }
    }

    fn bad(kind: &'static str, detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Some(kind), detail)
    }
}

impl IntoResponse for ScimError {
    fn into_response(self) -> Response {
        let mut body = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:Error"],
            "status": self.status.as_u16().to_string(),
            "detail": self.detail,
        });
        if let (Some(kind), Some(members)) = (self.kind, body.as_object_mut()) {
            members.insert("scimType".to_owned(), kind.into());
        }
        let mut response = (self.status, Scim(body)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"warrantor\"");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Problem> for ScimError {
    fn from(problem: Problem) -> Self {
        let kind = match problem.kind {
            Kind::Invalid => Some("invalidValue"),
            Kind::Malformed => Some("invalidSyntax"),
            Kind::Conflict => Some("uniqueness"),
            _ => None,
        };
        let detail = match &problem.field {
            Some(field) => format!("{field}: {}", problem.detail),
            None => problem.detail,
        };
        Self::new(problem.kind.status(), kind, detail)
    }
}

impl From<OfficeError> for ScimError {
    fn from(cause: OfficeError) -> Self {
        // A directory that is told of a conflict gives up; one that is told to come back does.
        if matches!(cause, OfficeError::Contended) {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, None, cause.to_string());
        }
        Problem::from(cause).into()
    }
}

/// An answer of SCIM's media type.
pub(super) struct Scim(pub(super) Value);

impl IntoResponse for Scim {
    fn into_response(self) -> Response {
        let mut response = Json(self.0).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(SCIM));
        response
    }
}

/// A body of JSON under any of the media types that directories send (`application/scim+json`, `application/json`).
pub(super) struct Sent(pub(super) Value);

impl<S: Send + Sync> FromRequest<S> for Sent {
    type Rejection = ScimError;
    async fn from_request(mut request: Request, state: &S) -> Result<Self, ScimError> {
        // The extractor of JSON reads any `+json`, and some send none at all.
        if !request.headers().contains_key(header::CONTENT_TYPE) {
            request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(SCIM));
        }
        match Json::<Value>::from_request(request, state).await {
            Ok(Json(value @ Value::Object(_))) => Ok(Self(value)),
            Ok(_) => Err(ScimError::bad("invalidSyntax", "the body has to be an object")),
            Err(cause) => Err(crate::request::rejected(&cause).into()),
        }
    }
}

/// A directory with the authority to provision.
pub(super) struct Directory {
    pub(super) settings: DirectorySettings,
    pub(super) authority: Authority,
}

impl<S: Store> FromRequestParts<Arc<Api<S>>> for Directory {
    type Rejection = ScimError;
    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api<S>>) -> Result<Self, ScimError> {
        let caller = Caller::from_request_parts(parts, api).await?;
        let authority = api.may(&caller, Act::Provision, &Resource::Deployment).await?;
        match caller.0 {
            Presenter::Client { client, .. } => match client.directory {
                Some(settings) => Ok(Self { settings, authority }),
                None => Err(ScimError::new(
                    StatusCode::FORBIDDEN,
                    None,
                    "the client is no directory: make one with `directory` settings",
                )),
            },
            Presenter::Person { .. } => {
                Err(ScimError::new(StatusCode::FORBIDDEN, None, "a person is no directory"))
            }
        }
    }
}

/// Where a list begins and how long it is (RFC 7644, section 3.4.2.4).
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) from: usize,
    pub(super) count: usize,
}

/// What a list was asked for: parameters that are not known are passed over.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) filter: Option<String>,
    pub(super) window: Window,
    pub(super) excluded: Vec<String>,
}

impl Default for Window {
    fn default() -> Self {
        Self { from: 0, count: MAX_RESULTS }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ScimError;
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ScimError> {
        let mut query = Self::default();
        let number = |name: &str, text: &str| {
            text.parse::<i64>()
                .map_err(|_| ScimError::bad("invalidValue", format!("{name} has to be a number")))
        };
        for (name, value) in url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
            match name.to_ascii_lowercase().as_str() {
                "filter" => query.filter = Some(value.into_owned()),
                // One or less is the first.
                "startindex" => {
                    let from = number("startIndex", &value)?.saturating_sub(1).max(0);
                    query.window.from = usize::try_from(from).unwrap_or(usize::MAX);
                }
                "count" => {
                    let count = number("count", &value)?.max(0);
                    query.window.count = usize::try_from(count).unwrap_or(MAX_RESULTS).min(MAX_RESULTS);
                }
                "excludedattributes" => {
                    query.excluded = value.split(',').map(|name| name.trim().to_ascii_lowercase()).collect();
                }
                "sortby" | "sortorder" | "attributes" => {}
                _ => {}
            }
        }
        Ok(query)
    }
}

pub(super) fn listed(total: usize, window: Window, resources: &[Value]) -> Scim {
    Scim(json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": window.from.saturating_add(1),
        "itemsPerPage": resources.len(),
        "Resources": resources,
    }))
}

/// What is told of every resource (RFC 7643, section 3.1).
pub(super) fn meta(kind: &str, id: &str, created: Timestamp, changed: Timestamp, version: u64) -> Value {
    json!({
        "resourceType": kind,
        "created": created.to_string(),
        "lastModified": changed.to_string(),
        "location": format!("/scim/v2/{kind}s/{id}"),
        "version": format!("W/\"{version}\""),
    })
}

/// A member of an object, its name without regard to case (RFC 7643, section 2.1).
pub(super) fn member<'a>(object: &'a Value, name: &str) -> Option<&'a Value> {
    object.as_object()?.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// A boolean, also where it is sent as a text.
pub(super) fn boolean(name: &str, value: &Value) -> Result<bool, ScimError> {
    let truth = match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        _ => None,
    };
    truth.ok_or_else(|| ScimError::bad("invalidValue", format!("{name} has to be true or false")))
}

/// A text; `null` and an empty one are none.
pub(super) fn text(name: &str, value: &Value) -> Result<Option<String>, ScimError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) if text.is_empty() => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        _ => Err(ScimError::bad("invalidValue", format!("{name} has to be a text"))),
    }
}

/// What is supported here (RFC 7643, section 5).
async fn config<S: Store>(State(_): State<Arc<Api<S>>>, _: Directory) -> Scim {
    let no = json!({ "supported": false });
    Scim(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": MAX_RESULTS },
        "changePassword": no,
        "sort": no,
        "etag": no,
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The token of a client with the role `provisioner`",
            "primary": true,
        }],
        "meta": { "resourceType": "ServiceProviderConfig", "location": "/scim/v2/ServiceProviderConfig" },
    }))
}

async fn resource_types<S: Store>(State(_): State<Arc<Api<S>>>, _: Directory) -> Scim {
    let one = |name: &str| {
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
            "id": name,
            "name": name,
            "endpoint": format!("/{name}s"),
            "schema": format!("urn:ietf:params:scim:schemas:core:2.0:{name}"),
            "meta": { "resourceType": "ResourceType", "location": format!("/scim/v2/ResourceTypes/{name}") },
        })
    };
    listed(2, Window::default(), &[one("User"), one("Group")])
}

async fn schemas<S: Store>(State(_): State<Arc<Api<S>>>, _: Directory) -> Scim {
    let attribute = |name: &str, kind: &str, many: bool, required: bool, uniqueness: &str| {
        json!({
            "name": name, "type": kind, "multiValued": many, "required": required, "caseExact": false,
            "mutability": "readWrite", "returned": "default", "uniqueness": uniqueness,
        })
    };
    let one = |name: &str, attributes: Vec<Value>| {
        let id = format!("urn:ietf:params:scim:schemas:core:2.0:{name}");
        json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
            "id": id,
            "name": name,
            "attributes": attributes,
            "meta": { "resourceType": "Schema", "location": format!("/scim/v2/Schemas/{id}") },
        })
    };
    let user = vec![
        attribute("userName", "string", false, true, "server"),
        attribute("displayName", "string", false, false, "none"),
        attribute("emails", "complex", true, false, "none"),
        attribute("active", "boolean", false, false, "none"),
    ];
    let group = vec![
        attribute("displayName", "string", false, true, "server"),
        attribute("members", "complex", true, false, "none"),
    ];
    listed(2, Window::default(), &[one("User", user), one("Group", group)])
}
