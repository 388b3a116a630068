//! The token service over HTTP: RFC 6749, RFC 8693, RFC 7662, RFC 7009, RFC 8414 and RFC 9449.
//!
//! What is refused is recorded, with the digests of what was shown and never with the tokens. A flood of refusals is not: beyond a few a second they are
//! in the process's log only, so that a stranger cannot fill the log.

mod answer;
mod authorize;
mod consent;
mod crossing;
mod form;

use std::{collections::BTreeMap, num::NonZeroU32, sync::Arc};

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header::AUTHORIZATION},
    response::{IntoResponse, Response},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::Serialize;
use serde_json::{Value, json};
use thiserror::Error;
use utoipa::ToSchema;
use warrantor_bundle::serve::{BundleSource, TokensConfig};
use warrantor_control::{
    access::Presenter,
    tokens::{
        Asked, Attempt, Client, Code, Grant, Made, Shown, Standing, SubjectToken, TokenError, TokenService,
    },
};
use warrantor_decide::administration::{Act, Resource};
use warrantor_engine::bodies::{SealError, SealKey};
use warrantor_issuers::{Documents, IssuerError, SettingsError, TrustDomain, TrustError};
use warrantor_model::{Digest, Json as ExactJson, Randomness};
use warrantor_store::Store;
use warrantor_tokens::{
    ASSERTION_ALGORITHMS, ASSERTION_TYPE, AccessToken, Binding, CROSSING_PROFILE, CROSSING_TOKEN_TYPE,
    Claims, MANDATE_DETAILS, MandateDetails, Nonce, PROOF_ALGORITHMS, ProofExpected, Purpose, SpiffeId,
    VerifiedProof, claimed, claimed_trust_domain, verify_proof,
};

use self::{answer::OAuthError, crossing::Domains, form::Form};
pub(crate) use self::{
    answer::OAuthErrorBody,
    authorize::{__path_authorize, __path_callback, authorize, callback},
    consent::{__path_answer, answer},
};
use crate::{
    Api,
    problem::{Kind, Problem},
    request::{Caller, bearer},
};

/// The grant of token exchange.
const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
/// The grant of another domain's assertion (RFC 7523, section 2.1).
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The kind of a client's assertion that is a JWT-SVID; the kind for any assertion does as well.
const SVID_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// What the names of token types begin with.
const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:";
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
    /// What goes along in browsers is sealed under this. One of each process: a sign-in that outlives it begins again.
    sealing: SealKey,
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
            sealing: SealKey::generate(randomness)?,
            service,
            asking: RateLimiter::direct(Quota::per_second(ASKED_A_SECOND)),
            recording: RateLimiter::direct(Quota::per_second(RECORDED_A_SECOND)),
        })
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

/// How a record names whoever proves nothing of itself.
fn named(client_id: &str) -> String {
    let name: String = client_id.chars().filter(|c| !c.is_control()).take(200).collect();
    format!("the name of an application, {name}")
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

/// Whether a grant for another domain is asked for rather than an access token.
fn wants_to_cross(form: &Form) -> Result<bool, TokenError> {
    match form.one("requested_token_type") {
        None => Ok(false),
        Some(CROSSING_TOKEN_TYPE) => Ok(true),
        Some(wanted) if wanted.strip_prefix(TOKEN_TYPE) == Some("access_token") => Ok(false),
        Some(_) => Err(invalid(
            "access tokens are made here, and id-jag for other domains: see requested_token_type",
        )),
    }
}

impl<S: Store> Api<S> {
    /// Tells a client that it is refused, and records it.
    async fn refuse(&self, oauth: &OAuth, attempt: &Attempt, cause: TokenError) -> OAuthError {
        // What failed here is in the log already, and of nobody's doing.
        if matches!(cause, TokenError::Refused { .. }) {
            match oauth.recording.check() {
                Ok(()) => oauth.service.refused(&self.office, attempt, &cause).await,
                Err(_) => tracing::warn!(%cause, "a refused token is not recorded: there are too many"),
            }
        }
        cause.into()
    }

    async fn make_token(
        &self,
        oauth: &OAuth,
        headers: &HeaderMap,
        body: Body,
        attempt: &mut Attempt,
    ) -> Result<TokenAnswer, TokenError> {
        let form = Form::read(headers, body).await?;
        attempt.grant = form.one("grant_type").unwrap_or_default().to_owned();
        if let (Some("authorization_code" | "refresh_token"), None) =
            (form.one("grant_type"), form.one("client_assertion"))
        {
            return self.go_on(oauth, &form, headers, attempt).await;
        }
        let client = self.client(oauth, &form, attempt).await?;
        let is_exchange = match form.must("grant_type")? {
            "client_credentials" => false,
            EXCHANGE | JWT_BEARER => true,
            _ => {
                let why = "use client_credentials, the grant of token exchange, or that of another domain (jwt-bearer)";
                return Err(TokenError::refused(Code::UnsupportedGrantType, why));
            }
        };
        if form.one("scope").is_some() {
            let why = "no scopes are given out: what a token is good for is said by a mandate, in authorization_details";
            return Err(TokenError::refused(Code::InvalidScope, why));
        }
        if form.one("grant_type") == Some(JWT_BEARER) {
            return self.redeem(oauth, &form, client, headers, attempt).await;
        }
        let crosses = is_exchange && wants_to_cross(&form)?;
        let audience = if crosses { form.must_once("resource")? } else { form.place()? };
        attempt.audience = Some(audience.to_owned());
        let details = match form.one("authorization_details") {
            None => None,
            Some(text) => Some(MandateDetails::parse(text).map_err(|cause| {
                TokenError::refused(Code::InvalidAuthorizationDetails, cause.to_string())
            })?),
        };
        attempt.mandate = details.as_ref().map(|details| details.mandate.to_string());
        let proof = self.proof(oauth, headers)?;
        let grant = match is_exchange {
            false => Grant::ClientCredentials,
            true => Grant::Exchange(self.subject(oauth, &form, attempt).await?),
        };
        let asked = Asked { grant, client, proof, audience, details };
        if crosses {
            return self.cross(oauth, asked, form.must_once("audience")?).await;
        }
        let made = oauth.service.make(&self.office, asked).await?;
        Ok(TokenAnswer {
            issued_token_type: is_exchange.then_some("urn:ietf:params:oauth:token-type:access_token"),
            ..made.into()
        })
    }

    /// Makes a token for an application that somebody agreed to: for its code, or for the refresh token that it got with the last one.
    async fn go_on(
        &self,
        oauth: &OAuth,
        form: &Form,
        headers: &HeaderMap,
        attempt: &mut Attempt,
    ) -> Result<TokenAnswer, TokenError> {
        let (service, client_id) = (&oauth.service, form.must("client_id")?);
        attempt.evidence = named(client_id);
        if form.one("client_secret").is_some() || headers.contains_key(AUTHORIZATION) {
            let why = "an application proves nothing of itself here: send its client_id, and no secret";
            return Err(TokenError::refused(Code::InvalidClient, why));
        }
        let client = service.application(&self.office, client_id).await?;
        attempt.agent = Some(client.agent().to_string());
        client.evidence().clone_into(&mut attempt.evidence);
        let shown = match form.must("grant_type")? {
            "refresh_token" => Shown::Refresh(form.must("refresh_token")?),
            _ => Shown::Code {
                code: form.must("code")?,
                redirect_uri: form.one("redirect_uri"),
                verifier: form.must("code_verifier")?,
            },
        };
        let (Shown::Code { code: text, .. } | Shown::Refresh(text)) = shown;
        attempt.shown.push(Digest::of(text.as_bytes()));
        let place = match form.all("resource") {
            [] => None,
            _ => Some(form.must_once("resource")?),
        };
        let proof = self.proof(oauth, headers)?;
        let kept = service.kept(&self.office, client_id, shown, place, proof.as_ref()).await?;
        let consented = kept.consented().clone();
        attempt.audience = Some(consented.resource.clone());
        attempt.mandate = Some(consented.mandate.to_string());
        let details = Some(MandateDetails { mandate: consented.mandate, locations: Vec::new() });
        let grant = Grant::Kept(Box::new(kept));
        let asked = Asked { grant, client, proof, audience: &consented.resource, details };
        Ok(service.make(&self.office, asked).await?.into())
    }

    /// The agent that asks, by its assertion: the only way there is.
    async fn client(&self, oauth: &OAuth, form: &Form, attempt: &mut Attempt) -> Result<Client, TokenError> {
        let refused = |why: &str| TokenError::refused(Code::InvalidClient, why);
        let (kind, assertion) = match (form.one("client_assertion_type"), form.one("client_assertion")) {
            (Some(kind), Some(assertion)) => (kind, assertion),
            _ => {
                return Err(refused(
                    "a client proves who it is by a signed assertion: client_assertion_type and client_assertion",
                ));
            }
        };
        attempt.shown.push(Digest::of(assertion.as_bytes()));
        attempt.agent = claimed(assertion, "sub").ok().flatten();
        if kind != ASSERTION_TYPE && kind != SVID_TYPE {
            return Err(refused("this client_assertion_type is not known"));
        }
        if form.one("client_secret").is_some() {
            return Err(refused("a client proves who it is in one way: there are no client secrets here"));
        }
        let client = match claimed_trust_domain(assertion) {
            Ok(Some(id)) => self.workload(oauth, &id, assertion, form.one("client_id")).await?,
            _ => oauth.service.client(&self.office, assertion, form.one("client_id")).await?,
        };
        attempt.agent = Some(client.agent().to_string());
        client.evidence().clone_into(&mut attempt.evidence);
        Ok(client)
    }

    /// The agent that a workload of a trust domain is.
    async fn workload(
        &self,
        oauth: &OAuth,
        id: &SpiffeId,
        assertion: &str,
        named: Option<&str>,
    ) -> Result<Client, TokenError> {
        let domain = oauth.trust_domains.get(id.trust_domain());
        let config = oauth.service.settings().trust_domain(id.trust_domain());
        let (Some(domain), Some(config)) = (domain, config) else {
            return Err(oauth.service.not_proved("its trust domain is not one of `trust_domains`"));
        };
        let bundle = domain.bundle(self.office.now()).await;
        let bundle = bundle.map_err(|cause| TokenError::Unavailable(cause.to_string()))?;
        oauth.service.workload(&self.office, assertion, (config, &bundle), named).await
    }

    /// The proof of possession that a token is to be bound by, if one is sent.
    fn proof(&self, oauth: &OAuth, headers: &HeaderMap) -> Result<Option<VerifiedProof>, TokenError> {
        let refused = |why: &str| TokenError::refused(Code::InvalidDpopProof, why);
        let mut sent = headers.get_all("dpop").iter();
        let proof = match (sent.next(), sent.next()) {
            (None, _) => return Ok(None),
            (Some(proof), None) => proof.to_str().map_err(|_| refused("the proof is no token"))?,
            (Some(_), Some(_)) => return Err(refused("the header DPoP stands twice")),
        };
        let endpoint = oauth.service.settings().endpoint();
        // Proofs that were seen are remembered, so that no nonce is needed.
        let expected = ProofExpected { method: "POST", url: &endpoint, token: None, nonces: None };
        verify_proof(proof, &expected, self.office.now())
            .map(Some)
            .map_err(|cause| refused(&cause.to_string()))
    }

    /// For whom the agent wants to act.
    async fn subject<'f>(
        &self,
        oauth: &OAuth,
        form: &'f Form,
        attempt: &mut Attempt,
    ) -> Result<SubjectToken<'f>, TokenError> {
        let token = form.must("subject_token")?;
        attempt.shown.push(Digest::of(token.as_bytes()));
        if form.one("actor_token").is_some() || form.one("actor_token_type").is_some() {
            let why =
                "whoever acts is the client, which proves who it is by its assertion: send no actor_token";
            return Err(invalid(why));
        }
        let short = |name: &'static str, text: &'f str| {
            text.strip_prefix(TOKEN_TYPE).ok_or_else(|| invalid(format!("{name} is no type of a token")))
        };
        let purpose = match short("subject_token_type", form.must("subject_token_type")?)? {
            "access_token" => Purpose::Access,
            "id_token" => Purpose::Id,
            _ => return Err(invalid("a subject_token_type of access_token or id_token is needed")),
        };
        let refused = |detail: String| TokenError::Refused {
            code: Code::InvalidRequest,
            why: "the subject's token does not hold".to_owned(),
            detail: Some(detail),
        };
        if !token.contains('.') {
            // A session of the person, which is a token of ours like any other.
            return match self.office.presenter(token).await? {
                Some(Presenter::Person { id, expires_at, .. }) if purpose == Purpose::Access => {
                    let shown = Digest::of(token.as_bytes());
                    Ok(SubjectToken::Person { person: id, may_act: None, expires_at, shown })
                }
                _ => Err(refused("it is no session of a person that counts now".to_owned())),
            };
        }
        let issuer = claimed(token, "iss").map_err(|cause| refused(cause.to_string()))?;
        if issuer.as_deref() == Some(oauth.service.settings().issuer.as_str()) {
            return match purpose {
                Purpose::Access => Ok(SubjectToken::Ours(token)),
                Purpose::Id | Purpose::Crossing => Err(refused("it is no such token".to_owned())),
            };
        }
        let Some(provider) = self.provider.as_ref() else {
            return Err(refused("no identity provider is configured".to_owned()));
        };
        let claims = match provider.verify(token, purpose, Nonce::Any, self.office.now()).await {
            Ok(claims) => claims,
            Err(IssuerError::Refused(cause)) => return Err(refused(cause.to_string())),
            Err(cause @ IssuerError::Unavailable { .. }) => {
                return Err(TokenError::Unavailable(format!(
                    "the identity provider does not answer: {cause}"
                )));
            }
        };
        let subject = provider.subject(&claims);
        let person = match subject {
            Some(subject) => self.office.who(claims.issuer(), &subject).await?,
            None => None,
        };
        let Some(person) = person else { return Err(refused("nobody is known by it here".to_owned())) };
        if self.office.actor(&person).await?.is_none() {
            return Err(refused(format!("{person} is not active")));
        }
        Ok(SubjectToken::Person {
            person,
            may_act: may_act(&claims).map_err(refused)?,
            expires_at: claims.expires_at(),
            shown: Digest::of(token.as_bytes()),
        })
    }

    async fn told(
        &self,
        oauth: &OAuth,
        headers: &HeaderMap,
        body: Body,
        attempt: &mut Attempt,
    ) -> Result<Value, TokenError> {
        let form = Form::read(headers, body).await?;
        let asks = if form.one("client_assertion").is_some() {
            Some(self.client(oauth, &form, attempt).await?)
        } else {
            self.is_point(headers).await?;
            None
        };
        let token = form.must("token")?;
        attempt.shown.push(Digest::of(token.as_bytes()));
        let says = match oauth.service.standing(&self.office, token).await? {
            Standing::Active(says) => says,
            Standing::Inactive => return Ok(json!({ "active": false })),
        };
        // What was made for others is nothing that this agent could know of.
        if asks.is_some_and(|client| *client.agent() != says.agent) {
            return Ok(json!({ "active": false }));
        }
        Ok(introspected(&oauth.service.settings().issuer, &says))
    }

    /// Whether the caller is an enforcement point, which is trusted with every token that is shown to it.
    async fn is_point(&self, headers: &HeaderMap) -> Result<(), TokenError> {
        let refused = || {
            let why =
                "an agent asks with its assertion, and an enforcement point with its token in Authorization";
            TokenError::refused(Code::InvalidClient, why)
        };
        let token = bearer(headers).map_err(|_| refused())?;
        let presenter = self.office.presenter(token).await?.ok_or_else(refused)?;
        let caller = Caller(presenter);
        match self.may(&caller, Act::MakeDecisions, &Resource::Deployment).await {
            Ok(_) => Ok(()),
            Err(_) => Err(refused()),
        }
    }
}

/// Who may act for whoever a token speaks of (RFC 8693, section 4.4): issuer and name. A claim of another form is none that may be passed over.
fn may_act(claims: &Claims) -> Result<Option<(Option<String>, String)>, String> {
    let Some(claim) = claims.get("may_act") else { return Ok(None) };
    let text = |name: &str| claim.get(name).and_then(ExactJson::as_str).map(str::to_owned);
    let name = text("sub").ok_or("its claim may_act names nobody")?;
    match claim.get("iss") {
        None => Ok(Some((None, name))),
        Some(_) => Ok(Some((Some(text("iss").ok_or("its claim may_act has another form")?), name))),
    }
}

fn introspected(issuer: &str, says: &AccessToken) -> Value {
    let mut told = says.claims(issuer);
    if let Some(members) = told.as_object_mut() {
        members.insert("active".to_owned(), true.into());
        let kind = match says.bound_to {
            Some(Binding::Key(_)) => "DPoP",
            Some(Binding::Certificate(_)) | None => "Bearer",
        };
        members.insert("token_type".to_owned(), kind.into());
    }
    told
}
