//! Every endpoint, once: the table makes the router and the OpenAPI document.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{DefaultBodyLimit, MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response},
    routing,
};
use utoipa::{
    OpenApi,
    openapi::{
        ContentBuilder, InfoBuilder, LicenseBuilder, OpenApiBuilder, Paths, RefOr,
        security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    },
};
use warrantor_store::Store;

use crate::{
    Api, agents, approvals,
    approvals::browser as approvals_browser,
    bundles, clients, delegations, deployment, enforcement, mandates, oauth, people,
    problem::{Kind, Problem, ProblemBody, TYPE},
    scim, servers, sessions,
};

/// Most bytes of a request's body.
const MAX_BODY: usize = 1 << 20;
/// Most bytes of a bundle that is published, as JSON.
const MAX_BUNDLE: usize = 8 << 20;
/// How long a request may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// The header that a request's id comes and goes in.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a caller.
const MAX_REQUEST_ID: usize = 128;

/// The endpoints that everybody may ask, whoever they are: `METHOD path`.
///
/// Those of the token service know their callers by themselves, in OAuth's ways.
pub const OPEN: &[&str] = &[
    "GET /healthz",
    "GET /readyz",
    "GET /openapi.json",
    "GET /v1/sign-in",
    "POST /v1/sessions",
    "POST /v1/delegations",
    "POST /oauth/token",
    "POST /oauth/introspect",
    "POST /oauth/revoke",
    "GET /oauth/jwks",
    "GET /oauth/authorize",
    "GET /oauth/callback",
    "POST /oauth/consent",
    "GET /.well-known/oauth-authorization-server",
    "GET /approvals",
    "GET /approvals/sign-in",
    "GET /approvals/callback",
    "POST /approvals/sign-out",
    "GET /approvals/{id}",
    "POST /approvals/{id}",
];

macro_rules! table {
    ($($method:ident $path:literal $module:ident::$handler:ident $documented:ident;)*) => {
        fn endpoints<S: Store>() -> Router<Arc<Api<S>>> {
            Router::new()$(.route($path, routing::$method($module::$handler::<S>)))*
        }

        fn paths() -> (Paths, Vec<(String, RefOr<utoipa::openapi::Schema>)>) {
            let mut schemas = Vec::new();
            let mut paths = Paths::new();
            $({
                type Documented = $module::$documented;
                paths.add_path_operation(
                    <Documented as utoipa::Path>::path(),
                    <Documented as utoipa::Path>::methods(),
                    <Documented as utoipa::Path>::operation(),
                );
                <Documented as utoipa::__dev::SchemaReferences>::schemas(&mut schemas);
            })*
            (paths, schemas)
        }

        /// Method and path of each endpoint of the table, as the router has them.
        #[cfg(test)]
        const TABLE: &[(&str, &str)] = &[$((stringify!($method), $path)),*];
    };
}

table! {
    get "/v1/me" people::me __path_me;
    get "/v1/people" people::list __path_list;
    post "/v1/people" people::register __path_register;
    get "/v1/people/{id}" people::read __path_read;
    put "/v1/people/{id}/roles" people::give_roles __path_give_roles;
    put "/v1/people/{id}/groups" people::put_in_groups __path_put_in_groups;
    post "/v1/people/{id}/suspend" people::suspend __path_suspend;
    post "/v1/people/{id}/resume" people::resume __path_resume;
    post "/v1/people/{id}/leave" people::leave __path_leave;
    delete "/v1/people/{id}/sessions" people::end_sessions __path_end_sessions;
    get "/v1/sign-in" sessions::how __path_how;
    post "/v1/sessions" sessions::begin __path_begin;
    delete "/v1/sessions/current" sessions::end __path_end;
    get "/v1/clients" clients::list __path_list;
    post "/v1/clients" clients::add __path_add;
    delete "/v1/clients/{name}" clients::remove __path_remove;
    get "/v1/agents" agents::list __path_list;
    get "/v1/agents/{id}" agents::read __path_read;
    put "/v1/agents/{id}/proposal" agents::propose __path_propose;
    post "/v1/agents/{id}/approve" agents::approve __path_approve;
    post "/v1/agents/{id}/fleet" agents::make_of_fleet __path_make_of_fleet;
    post "/v1/agents/{id}/suspend" agents::suspend __path_suspend;
    post "/v1/agents/{id}/resume" agents::resume __path_resume;
    post "/v1/agents/{id}/retire" agents::retire __path_retire;
    post "/v1/agents/{id}/take-over" agents::take_over __path_take_over;
    put "/v1/agents/{id}/keys/{name}" agents::add_key __path_add_key;
    delete "/v1/agents/{id}/keys/{name}" agents::remove_key __path_remove_key;
    get "/v1/templates" mandates::templates __path_templates;
    get "/v1/templates/{id}" mandates::read_template __path_read_template;
    post "/v1/templates/{id}/revoke" mandates::revoke_template __path_revoke_template;
    post "/v1/mandates/preview" mandates::preview __path_preview;
    post "/v1/mandates" mandates::hand_over __path_hand_over;
    get "/v1/mandates" mandates::list __path_list;
    get "/v1/mandates/{id}" mandates::read __path_read;
    post "/v1/mandates/{id}/revoke" mandates::revoke __path_revoke;
    post "/v1/mandates/{id}/complete" mandates::complete __path_complete;
    get "/approvals" approvals_browser::list __path_list;
    get "/approvals/sign-in" approvals_browser::sign_in __path_sign_in;
    get "/approvals/callback" approvals_browser::callback __path_callback;
    post "/approvals/sign-out" approvals_browser::sign_out __path_sign_out;
    get "/approvals/{id}" approvals_browser::read __path_read;
    post "/approvals/{id}" approvals_browser::answer __path_answer;
    get "/v1/approvals" approvals::list __path_list;
    get "/v1/approvals/{id}" approvals::read __path_read;
    post "/v1/approvals/{id}/approve" approvals::approve __path_approve;
    post "/v1/approvals/{id}/deny" approvals::deny __path_deny;
    post "/v1/bundles" bundles::publish __path_publish;
    get "/v1/bundles" bundles::list __path_list;
    get "/v1/bundles/{number}/difference" bundles::compare __path_compare;
    post "/v1/bundles/{number}/roll-back" bundles::roll_back __path_roll_back;
    get "/v1/lockdown" deployment::read __path_read;
    put "/v1/lockdown" deployment::lock __path_lock;
    delete "/v1/lockdown" deployment::unlock __path_unlock;
    post "/v1/enforcement" enforcement::answer __path_answer;
    get "/v1/decisions/{id}" deployment::decision __path_decision;
    get "/v1/servers" servers::list __path_list;
    get "/v1/servers/{name}" servers::read __path_read;
    get "/v1/servers/{name}/difference" servers::seen __path_seen;
    get "/v1/servers/{name}/manifests" servers::manifests __path_manifests;
    post "/v1/servers/{name}/manifests" servers::propose __path_propose;
    get "/v1/servers/{name}/manifests/{number}" servers::read_manifest __path_read_manifest;
    get "/v1/servers/{name}/manifests/{number}/difference" servers::compare __path_compare;
    post "/v1/servers/{name}/manifests/{number}/approve" servers::approve __path_approve;
    post "/v1/servers/{name}/manifests/{number}/reject" servers::reject __path_reject;
    post "/v1/servers/{name}/quarantine" servers::quarantine __path_quarantine;
    post "/v1/servers/{name}/release" servers::release __path_release;
    get "/readyz" deployment::readyz __path_readyz;
    post "/v1/delegations" delegations::delegate __path_delegate;
    post "/oauth/token" oauth::token __path_token;
    post "/oauth/introspect" oauth::introspect __path_introspect;
    post "/oauth/revoke" oauth::revoke __path_revoke;
    get "/oauth/jwks" oauth::jwks __path_jwks;
    get "/oauth/authorize" oauth::authorize __path_authorize;
    get "/oauth/callback" oauth::callback __path_callback;
    post "/oauth/consent" oauth::answer __path_answer;
    get "/.well-known/oauth-authorization-server" oauth::metadata __path_metadata;
}

/// What is documented by hand: it has no store.
#[derive(OpenApi)]
#[openapi(paths(deployment::healthz))]
struct ByHand;

/// The OpenAPI document (3.1) of everything that the router answers, SCIM excepted: RFC 7644 describes that.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    let (mut paths, schemas) = paths();
    paths.paths.extend(ByHand::openapi().paths.paths);
    let mut document = OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Warrantor")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "The control plane: people, agents, mandates, and who may do what with them. Problems are those of RFC 9457; each names its sort in `type`.",
                ))
                .license(Some(LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build())),
        )
        .paths(paths)
        .security(Some([SecurityRequirement::new("bearer", Vec::<String>::new())]))
        .build();
    let components = document.components.get_or_insert_with(Default::default);
    components.schemas.extend(schemas);
    components.security_schemes.insert(
        "bearer".to_owned(),
        SecurityScheme::Http(
            HttpBuilder::new()
                .scheme(HttpAuthScheme::Bearer)
                .description(Some(
                    "The token of a session or of a client, or an access token of the identity provider",
                ))
                .build(),
        ),
    );
    problems(&mut document);
    document
}

/// Problems are of their own media type, whatever the endpoint.
fn problems(document: &mut utoipa::openapi::OpenApi) {
    for item in document.paths.paths.values_mut() {
        for operation in [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch]
            .into_iter()
            .flatten()
        {
            if let Some(RefOr::T(response)) = operation.responses.responses.get_mut("default") {
                "A problem (RFC 9457)".clone_into(&mut response.description);
                let schema = utoipa::openapi::Ref::from_schema_name("ProblemBody");
                response.content.clear();
                response.content.insert(
                    "application/problem+json".to_owned(),
                    ContentBuilder::new().schema(Some(schema)).build(),
                );
            }
        }
    }
}

/// The router: every endpoint of the table, SCIM, and what surrounds each request.
pub fn router<S: Store>(api: Arc<Api<S>>) -> Router {
    endpoints::<S>()
        .route("/healthz", routing::get(deployment::healthz))
        .route("/openapi.json", routing::get(document))
        .merge(scim::router::<S>())
        .layer(from_fn(bounded))
        .fallback(|| async {
            Problem::new(Kind::NotFound, "there is nothing at this path: see /openapi.json")
        })
        .method_not_allowed_fallback(|| async {
            Problem::new(Kind::MethodNotAllowed, "this path has other methods: see /openapi.json")
        })
        .layer(DefaultBodyLimit::max(MAX_BUNDLE))
        .layer(from_fn_with_state(Arc::clone(&api), around::<S>))
        .with_state(api)
}

/// A bundle may be larger than anything else that is sent, and so may what an enforcement point has taken in; whoever sends these has said who they are
/// before they are read.
async fn bounded(mut request: Request, next: Next) -> Response {
    let most = match request.uri().path() {
        "/v1/bundles" => MAX_BUNDLE,
        "/v1/enforcement" => warrantor_engine::wire::MAX_BYTES,
        _ => MAX_BODY,
    };
    DefaultBodyLimit::max(most).apply(&mut request);
    next.run(request).await
}

/// The document, made once.
async fn document() -> impl IntoResponse {
    static DOCUMENT: OnceLock<bytes::Bytes> = OnceLock::new();
    let made = || serde_json::to_vec(&openapi()).unwrap_or_default().into();
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.get_or_init(made).clone())
}

/// What surrounds each request: its id, its bound in time, its count, and headers that every answer has.
#[expect(clippy::disallowed_methods, reason = "measures how long a request took; nothing is decided by it")]
async fn around<S: Store>(State(api): State<Arc<Api<S>>>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let given = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
    let fits = |id: &&str| {
        (1..=MAX_REQUEST_ID).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let id = match given.filter(fits) {
        Some(id) => id.to_owned(),
        None => api.fresh_request_id(),
    };
    let path = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_owned());
    let path = path.unwrap_or_else(|| "unmatched".to_owned());
    let method = request.method().clone();
    let span = api.spans.request(&method, &path, request.headers());
    if let Ok(value) = HeaderValue::from_str(&id) {
        request.headers_mut().insert(REQUEST_ID, value);
    }
    let mut response = match tokio::time::timeout(PATIENCE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Kind::Unavailable, "it took too long; whether it was done is not known")
            .into_response(),
    };
    let status = response.status();
    if let Some(mut problem) = response.extensions_mut().remove::<ProblemBody>() {
        problem.instance = Some(format!("urn:warrantor:request:{id}"));
        *response.body_mut() = Body::from(serde_json::to_vec(&problem).unwrap_or_default());
        response.headers_mut().remove(header::CONTENT_LENGTH);
        let sort = problem.kind.strip_prefix(TYPE).unwrap_or_default();
        span.answered(&id, status, Some(sort));
        tracing::info!(request = %id, %method, path, status = status.as_u16(), problem = sort, "answered");
    } else {
        span.answered(&id, status, None);
        tracing::debug!(request = %id, %method, path, status = status.as_u16(), "answered");
    }
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    api.metrics.request(&path, &method, status.as_u16(), begun.elapsed());
    response
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_endpoint_of_the_router_is_documented_under_its_own_path() {
        let document = openapi();
        for (method, path) in TABLE {
            let item = document.paths.paths.get(*path).unwrap_or_else(|| panic!("{path} is not documented"));
            let operation = match *method {
                "get" => &item.get,
                "post" => &item.post,
                "put" => &item.put,
                _ => &item.delete,
            };
            assert!(operation.is_some(), "{method} {path} is not documented");
        }
        let documented: usize = document
            .paths
            .paths
            .values()
            .map(|item| [&item.get, &item.post, &item.put, &item.delete].into_iter().flatten().count())
            .sum();
        assert_eq!(documented, TABLE.len() + 1, "something is documented that the router does not have");
    }

    #[test]
    fn every_operation_has_an_id_of_its_own_and_every_reference_leads_somewhere() {
        let text = serde_json::to_string(&openapi()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let mut ids = BTreeSet::new();
        for item in value["paths"].as_object().unwrap().values() {
            for operation in item.as_object().unwrap().values() {
                assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            }
        }
        for part in text.split("#/components/schemas/").skip(1) {
            let name = part.split('"').next().unwrap();
            assert!(value["components"]["schemas"].get(name).is_some(), "{name} is nowhere");
        }
    }

    #[test]
    fn an_open_endpoint_says_so_in_the_document_and_no_other_does() {
        let value = serde_json::to_value(openapi()).unwrap();
        for (path, item) in value["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                let open = operation.get("security").is_some();
                let name = format!("{} {path}", method.to_uppercase());
                assert_eq!(open, OPEN.contains(&name.as_str()), "{name}");
            }
        }
    }
}
