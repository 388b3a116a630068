//! The token service over HTTP: RFC 6749, RFC 8693, RFC 7662, RFC 7009, RFC 8414 and RFC 9449.
//!
//! What is refused is recorded, with the digests of what was shown and never with the tokens. A flood of refusals is not: beyond a few a second they are
//! in the process's log only, so that a stranger cannot fill the log.

mod answer;
mod asking;
mod authorize;
mod consent;
mod crossing;
mod form;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;
use utoipa::ToSchema;
use warrantor_bundle::serve::{BundleSource, TokensConfig};
use warrantor_control::tokens::{Attempt, Code, Made, TokenError, TokenService};
use warrantor_engine::bodies::SealError;
use warrantor_issuers::{Documents, SettingsError, TrustDomain, TrustError};
use warrantor_model::{Digest, Randomness, Timestamp};
use warrantor_store::Store;
use warrantor_tokens::{
    ASSERTION_ALGORITHMS, CROSSING_PROFILE, CROSSING_TOKEN_TYPE, MANDATE_DETAILS, PROOF_ALGORITHMS,
};

use self::{answer::OAuthError, asking::named, crossing::Domains, form::Form};
pub(crate) use self::{
    answer::OAuthErrorBody,
    authorize::{__path_authorize, __path_callback, authorize, callback},
    consent::{__path_answer, answer},
};
use crate::{
    Api,
    cookies::Cookies,
    problem::{Kind, Problem},
};

/// The grant of token exchange.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The grant of another domain's assertion (RFC 7523, section 2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// How many refusals a second are recorded.
const RECORDED_A_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// How many questions a second to others (documents of applications, codes at the identity provider) strangers can bring about.
const ASKED_A_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// The token service, and what keeps its log from being filled by strangers.
pub struct OAuth {
    service: TokenService,
    domains: Domains,
    trust_domains: BTreeMap<String, TrustDomain>,
    documents: Documents,
    /// What goes along in browsers.
    cookies: Cookies,
    /// What strangers can have asked of others.
    asking: DefaultDirectRateLimiter,
    recording: DefaultDirectRateLimiter,
}

impl OAuth {
    /// A face for this service.
    ///
    /// # Errors
    /// [`OAuthUnready`].
    pub fn new(service: TokenService, randomness: &dyn Randomness) -> Result<Self, OAuthUnready> {
        Ok(Self {
            domains: Domains::new(service.settings())?,
            trust_domains: trust_domains(service.settings()).map_err(SettingsError::from)?,
            documents: Documents::new().map_err(SettingsError::from)?,
            cookies: Cookies::new(&service.settings().issuer, randomness)?,
            service,
            asking: RateLimiter::direct(Quota::per_second(ASKED_A_SECOND)),
            recording: RateLimiter::direct(Quota::per_second(RECORDED_A_SECOND)),
        })
    }

    pub(crate) async fn unreadable_bundles(&self, now: Timestamp) -> Vec<String> {
        let mut found = Vec::new();
        for domain in self.trust_domains.values() {
            found.extend(domain.bundle(now).await.err().map(|cause| cause.to_string()));
        }
        found
    }

    /// The service behind it.
    #[must_use]
    pub fn service(&self) -> &TokenService {
        &self.service
    }
}

/// Why there can be no face for a token service.
#[derive(Debug, Error)]
pub enum OAuthUnready {
    /// A domain cannot be asked for its keys as it is configured, or nobody can be asked for anything.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// There are no random bytes.
    #[error(transparent)]
    Sealing(#[from] SealError),
}

/// A token (RFC 6749, section 5.1; RFC 8693, section 2.2.1).
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenAnswer {
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'static str>,
    /// `DPoP`, `Bearer` of a token that is bound to no key, or `N_A` of a grant, which opens nothing.
    token_type: &'static str,
    /// Seconds.
    expires_in: u64,
    /// What an application that somebody agreed to gets the next token with; it counts once.
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    /// What was granted (RFC 9396, section 7).
    #[schema(value_type = Vec<Object>)]
    authorization_details: Value,
}

fn invalid(why: impl Into<String>) -> TokenError {
    TokenError::refused(Code::InvalidRequest, why)
}

/// Makes a token: for an agent with a standing mandate (`client_credentials`), or in exchange for a token of whoever the agent acts for.
#[utoipa::path(post, path = "/oauth/token", tag = "tokens", operation_id = "makeToken", security(()),
    request_body(content = Object, content_type = "application/x-www-form-urlencoded", description = "The parameters of RFC 6749, RFC 8693, RFC 8707 and RFC 9396, and a signed assertion of the agent (RFC 7523)"),
    responses((status = 200, body = TokenAnswer), (status = "4XX", body = OAuthErrorBody), (status = "5XX", body = OAuthErrorBody)))]
pub(crate) async fn token<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Json<TokenAnswer>, OAuthError> {
    let oauth = api.oauth.as_ref().ok_or_else(OAuthError::not_here)?;
    let (head, body) = request.into_parts();
    let mut attempt = Attempt::default();
    match api.make_token(oauth, &head.headers, body, &mut attempt).await {
        Ok(answer) => Ok(Json(answer)),
        Err(cause) => Err(api.refuse(oauth, &attempt, cause).await),
    }
}

/// Tells what a token says and whether it counts now (RFC 7662).
#[utoipa::path(post, path = "/oauth/introspect", tag = "tokens", operation_id = "introspectToken", security(()),
    request_body(content = Object, content_type = "application/x-www-form-urlencoded", description = "`token`, and the credential of whoever asks: a signed assertion of an agent, or in `Authorization` the token of an enforcement point"),
    responses((status = 200, body = Object), (status = "4XX", body = OAuthErrorBody), (status = "5XX", body = OAuthErrorBody)))]
pub(crate) async fn introspect<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<Json<Value>, OAuthError> {
    let oauth = api.oauth.as_ref().ok_or_else(OAuthError::not_here)?;
    let (head, body) = request.into_parts();
    let mut attempt = Attempt { grant: "introspection".to_owned(), ..Attempt::default() };
    match api.told(oauth, &head.headers, body, &mut attempt).await {
        Ok(told) => Ok(Json(told)),
        Err(cause) => Err(api.refuse(oauth, &attempt, cause).await),
    }
}

/// Ends a token, and every token that was made from it (RFC 7009).
#[utoipa::path(post, path = "/oauth/revoke", tag = "tokens", operation_id = "revokeToken", security(()),
    request_body(content = Object, content_type = "application/x-www-form-urlencoded", description = "`token`, and a signed assertion of the agent that it was made for"),
    responses((status = 200), (status = "4XX", body = OAuthErrorBody), (status = "5XX", body = OAuthErrorBody)))]
pub(crate) async fn revoke<S: Store>(
    State(api): State<Arc<Api<S>>>,
    request: Request,
) -> Result<StatusCode, OAuthError> {
    let oauth = api.oauth.as_ref().ok_or_else(OAuthError::not_here)?;
    let (head, body) = request.into_parts();
    let mut attempt = Attempt { grant: "revocation".to_owned(), ..Attempt::default() };
    let ended = async {
        let form = Form::read(&head.headers, body).await?;
        if let (Some(client_id), None) = (form.one("client_id"), form.one("client_assertion")) {
            let token = form.must("token")?;
            attempt.evidence = named(client_id);
            attempt.shown.push(Digest::of(token.as_bytes()));
            return oauth.service.revoke_kept(&api.office, client_id, token).await;
        }
        let client = api.client(oauth, &form, &mut attempt).await?;
        let token = form.must("token")?;
        attempt.shown.push(Digest::of(token.as_bytes()));
        oauth.service.revoke(&api.office, &client, token).await
    };
    match ended.await {
        Ok(()) => Ok(StatusCode::OK),
        Err(cause) => Err(api.refuse(oauth, &attempt, cause).await),
    }
}

/// What the token service says of itself (RFC 8414).
#[utoipa::path(get, path = "/.well-known/oauth-authorization-server", tag = "tokens", operation_id = "describeTokenService",
    security(()), responses((status = 200, body = Object), (status = "default", body = crate::problem::ProblemBody)))]
pub(crate) async fn metadata<S: Store>(State(api): State<Arc<Api<S>>>) -> Result<Json<Value>, Problem> {
    let oauth = api.oauth.as_ref().ok_or_else(none)?;
    Ok(Json(described(oauth.service.settings())))
}

/// The keys that its tokens are checked with (RFC 7517).
#[utoipa::path(get, path = "/oauth/jwks", tag = "tokens", operation_id = "tokenKeys",
    security(()), responses((status = 200, body = Object), (status = "default", body = crate::problem::ProblemBody)))]
pub(crate) async fn jwks<S: Store>(State(api): State<Arc<Api<S>>>) -> Result<Response, Problem> {
    let oauth = api.oauth.as_ref().ok_or_else(none)?;
    let keys = oauth.service.keys().published(api.office.now());
    let media = [(axum::http::header::CONTENT_TYPE, "application/jwk-set+json")];
    Ok((media, keys.to_string()).into_response())
}

/// The trust domains whose workloads are agents, each with its bundle.
fn trust_domains(settings: &TokensConfig) -> Result<BTreeMap<String, TrustDomain>, TrustError> {
    let made = settings.trust_domains.iter().map(|one| {
        let domain = match &one.source {
            BundleSource::File(file) => TrustDomain::in_file(&one.name, file.clone()),
            BundleSource::Endpoint { url, certificates } => {
                TrustDomain::at(&one.name, url, certificates.as_deref())?
            }
        };
        Ok((one.name.clone(), domain))
    });
    made.collect()
}

fn none() -> Problem {
    Problem::new(Kind::NotFound, "no token service is configured here: see [tokens] of serve.toml")
}

fn described(settings: &TokensConfig) -> Value {
    let issuer = &settings.issuer;
    let mut grants = vec!["client_credentials", EXCHANGE];
    let accepts = settings.domains.iter().any(|domain| domain.accepts.is_some());
    let gives = settings.domains.iter().any(|domain| domain.gives.is_some());
    grants.extend(accepts.then_some(JWT_BEARER));
    let applications = !settings.applications.is_empty();
    let by_document = settings.applications.iter().any(|application| application.redirect_uris.is_empty());
    let mut methods = vec!["private_key_jwt"];
    let mut responses = Vec::new();
    if applications {
        grants.extend(["authorization_code", "refresh_token"]);
        methods.push("none");
        responses.push("code");
    }
    let mut described = json!({
        "issuer": issuer,
        "token_endpoint": settings.endpoint(),
        "introspection_endpoint": format!("{issuer}/oauth/introspect"),
        "revocation_endpoint": format!("{issuer}/oauth/revoke"),
        "jwks_uri": format!("{issuer}/oauth/jwks"),
        "response_types_supported": responses,
        "grant_types_supported": grants,
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "introspection_endpoint_auth_methods_supported": ["private_key_jwt"],
        "introspection_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": methods,
        "revocation_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS,
        "dpop_signing_alg_values_supported": PROOF_ALGORITHMS,
        "authorization_details_types_supported": [MANDATE_DETAILS],
    });
    let optional = [
        ("authorization_grant_profiles_supported", accepts, json!([CROSSING_PROFILE])),
        ("identity_chaining_requested_token_types_supported", gives, json!([CROSSING_TOKEN_TYPE])),
        ("authorization_endpoint", applications, json!(format!("{issuer}/oauth/authorize"))),
        ("response_modes_supported", applications, json!(["query"])),
        ("code_challenge_methods_supported", applications, json!(["S256"])),
        ("authorization_response_iss_parameter_supported", applications, json!(true)),
        ("client_id_metadata_document_supported", by_document, json!(true)),
    ];
    if let Some(members) = described.as_object_mut() {
        let said = optional.into_iter().filter(|(_, said, _)| *said);
        members.extend(said.map(|(name, _, value)| (name.to_owned(), value)));
    }
    described
}

impl From<Made> for TokenAnswer {
    fn from(made: Made) -> Self {
        Self {
            token_type: if made.says.bound_to.is_some() { "DPoP" } else { "Bearer" },
            authorization_details: made.says.details.claim(),
            access_token: made.token,
            issued_token_type: None,
            expires_in: made.expires_in,
            refresh_token: made.refresh,
        }
    }
}
