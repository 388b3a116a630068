//! Signing in: a person proves to the identity provider who they are, and gets a session here for the ID token.

use std::{sync::Arc, time::Duration};

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use warrantor_control::{
    access::Presenter,
    office::{Authority, Hand},
    people::Told,
};
use warrantor_decide::administration::Act;
use warrantor_issuers::IssuerError;
use warrantor_model::{Digest, GroupName, PersonId, Timestamp};
use warrantor_store::Store;
use warrantor_tokens::{Claims, Nonce, Purpose};

use crate::{
    Api,
    problem::{Kind, Problem, ProblemBody},
    provider::Provider,
    request::{Body, Caller},
};

/// How long a session lasts.
const SESSION: Duration = Duration::from_secs(8 * 60 * 60);

/// What a client needs to sign a person in.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SignIn {
    /// The identity provider.
    pub(crate) issuer: String,
    /// Our name there.
    pub(crate) client_id: String,
    /// Where the person is sent.
    pub(crate) authorization_endpoint: String,
    /// Where a code becomes tokens.
    pub(crate) token_endpoint: String,
    /// Where a device asks for a code, if the provider has that.
    pub(crate) device_authorization_endpoint: Option<String>,
    /// What to ask for.
    pub(crate) scope: String,
}

/// Where and how people sign in.
#[utoipa::path(get, path = "/v1/sign-in", tag = "sessions", operation_id = "howToSignIn", security(()),
    responses((status = 200, body = SignIn), (status = "default", body = ProblemBody)))]
pub(crate) async fn how<S: Store>(State(api): State<Arc<Api<S>>>) -> Result<Json<SignIn>, Problem> {
    let provider = api.provider()?;
    let places = provider.places(api.office.now()).await.map_err(|cause| unavailable(&cause))?;
    Ok(Json(SignIn {
        issuer: provider.settings().issuer.clone(),
        client_id: provider.settings().client_id.clone(),
        authorization_endpoint: places.authorization,
        token_endpoint: places.token,
        device_authorization_endpoint: places.device,
        scope: provider.settings().scope.clone(),
    }))
}

/// What a sign-in gave.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SignedIn {
    /// The ID token that the provider gave (OpenID Connect Core 1.0).
    pub(crate) id_token: String,
    /// The nonce that was sent with the person. It was made for this sign-in and is used once. It is left out where none could be sent: at a sign-in on
    /// another device, whose token must have none.
    #[schema(min_length = 16, max_length = 128)]
    pub(crate) nonce: Option<String>,
}

/// A session.
#[derive(Serialize, ToSchema)]
pub(crate) struct Session {
    /// The token. It is shown this once.
    pub(crate) token: String,
    /// Whose it is.
    pub(crate) person: String,
    /// When it ends.
    #[schema(value_type = String)]
    pub(crate) expires_at: Timestamp,
}

/// Begins a session for an ID token.
#[utoipa::path(post, path = "/v1/sessions", tag = "sessions", operation_id = "beginSession", request_body = SignedIn, security(()),
    responses((status = 201, body = Session), (status = "default", body = ProblemBody)))]
pub(crate) async fn begin<S: Store>(
    State(api): State<Arc<Api<S>>>,
    Body(body): Body<SignedIn>,
) -> Result<(StatusCode, Json<Session>), Problem> {
    if body.nonce.as_ref().is_some_and(|nonce| nonce.len() < 16 || nonce.len() > 128) {
        return Err(Problem::invalid("nonce", "16 to 128 characters that nobody can guess are needed"));
    }
    let nonce = body.nonce.as_deref().map_or(Nonce::Absent, Nonce::Exactly);
    let signed_in = api.signed_in(&body.id_token, nonce).await?;
    let authority = Authority::of_person(Act::ReadPerson, &signed_in.person, signed_in.hand);
    let at = signed_in.authenticated_at;
    let made = api.office.begin_session(&authority, &signed_in.person, SESSION, at).await?;
    let session =
        Session { token: made.token, person: signed_in.person.to_string(), expires_at: made.what.expires_at };
    Ok((StatusCode::CREATED, Json(session)))
}

/// Somebody who has just signed in.
pub(crate) struct JustSignedIn {
    pub(crate) person: PersonId,
    /// For records.
    pub(crate) hand: Hand,
    /// When they proved who they are, where the provider says so. A sign-in alone does not: a browser that was left open signs in without a word.
    pub(crate) authenticated_at: Option<Timestamp>,
}

impl<S: Store> Api<S> {
    /// Whoever an ID token is of, which counts once.
    pub(crate) async fn signed_in(&self, id_token: &str, nonce: Nonce<'_>) -> Result<JustSignedIn, Problem> {
        let provider = self.provider()?;
        let now = self.office.now();
        let claims = provider.verify(id_token, Purpose::Id, nonce, now).await.map_err(refused)?;
        let subject = provider.subject(&claims).ok_or_else(|| {
            Problem::new(Kind::Unauthenticated, "the token does not have the claim that names people here")
        })?;
        // The token counts once: whoever finds it later finds nothing.
        self.office.use_once("id token", &Digest::of(id_token.as_bytes())).await.map_err(
            |cause| match cause {
                warrantor_control::office::OfficeError::Contended => {
                    Problem::new(Kind::Unauthenticated, "this token was used before: sign in again")
                }
                cause => cause.into(),
            },
        )?;
        let evidence = format!("signed in with {}", claims.issuer());
        let authority = Authority::of_sign_in(Act::RegisterPerson, &evidence);
        let told = told(provider, &claims);
        let person = self
            .office
            .signed_in(&authority, claims.issuer(), &subject, told, provider.settings().register)
            .await
            .map_err(|cause| match cause {
                warrantor_control::office::OfficeError::Unknown { .. } => {
                    tracing::warn!(
                        issuer = claims.issuer(),
                        subject,
                        "somebody has signed in who is not registered here"
                    );
                    Problem::new(Kind::NotPermitted, "you are not registered here: ask an administrator")
                }
                cause => cause.into(),
            })?;
        let authenticated_at = claims.instant("auth_time");
        let gone = || Problem::new(Kind::Unauthenticated, "you may not act here now");
        let hand = Hand { actor: format!("person:{}", person.id), evidence: evidence.clone() };
        let live = self
            .office
            .person_presents(&person.id, hand.clone(), None, authenticated_at, claims.expires_at())
            .await?;
        live.ok_or_else(gone)?;
        Ok(JustSignedIn { person: person.id, hand, authenticated_at })
    }
}

/// What a token tells of a person.
fn told(provider: &Provider, claims: &Claims) -> Told {
    let named = claims.text("name").or_else(|| claims.text("preferred_username"));
    let line = |text: &str| text.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    let groups = provider.settings().groups_claim.as_deref().map(|claim| claims.texts(claim));
    Told {
        name: named.map(line),
        // An address that nobody has verified is nobody's.
        mail: claims.text("email").filter(|_| claims.is_true("email_verified")).map(line),
        groups: groups
            .unwrap_or_default()
            .into_iter()
            .filter_map(|group| GroupName::new(group).ok())
            .take(warrantor_control::people::MAX_LIST)
            .collect(),
        handle: claims.text("preferred_username").or_else(|| claims.text("email")).map(line),
    }
}

/// Ends the session that the request is made with.
#[utoipa::path(delete, path = "/v1/sessions/current", tag = "sessions", operation_id = "endSession",
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub(crate) async fn end<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
) -> Result<StatusCode, Problem> {
    let Presenter::Person { id, hand, session, .. } = &caller.0 else {
        return Err(Problem::new(Kind::Conflict, "a client has no session: remove the client"));
    };
    let Some(session) = session else {
        return Err(Problem::new(
            Kind::Conflict,
            "this is no session but a token of the provider: it ends by itself",
        ));
    };
    let authority = Authority::of_person(Act::EndSessions, id, hand.clone());
    api.office.end_session(&authority, id, session).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn unavailable(cause: &IssuerError) -> Problem {
    tracing::warn!(%cause, "the identity provider does not answer");
    Problem::new(Kind::ProviderUnavailable, cause.to_string())
}

fn refused(cause: IssuerError) -> Problem {
    match cause {
        IssuerError::Refused(why) => {
            Problem::new(Kind::Unauthenticated, format!("the token is refused: {why}"))
        }
        cause => unavailable(&cause),
    }
}

impl<S: Store> Api<S> {
    pub(crate) fn provider(&self) -> Result<&Provider, Problem> {
        let none = || {
            Problem::new(
                Kind::NoProvider,
                "nobody can sign in here: configure one, or begin a session on the host with `warrantor login`",
            )
        };
        self.provider.as_ref().ok_or_else(none)
    }

    /// A person by an access token of the provider (RFC 9068).
    pub(crate) async fn presented_by_provider(&self, token: &str) -> Result<Option<Presenter>, Problem> {
        let Ok(provider) = self.provider() else { return Ok(None) };
        let now = self.office.now();
        let claims = provider.verify(token, Purpose::Access, Nonce::Absent, now).await.map_err(refused)?;
        let Some(subject) = provider.subject(&claims) else { return Ok(None) };
        let Some(id) = self.office.who(claims.issuer(), &subject).await? else { return Ok(None) };
        let application = claims.text("client_id").unwrap_or_default();
        let hand = Hand {
            actor: format!("person:{id}"),
            evidence: format!("access token of {} for the application {application:?}", claims.issuer()),
        };
        let at = claims.instant("auth_time");
        Ok(self.office.person_presents(&id, hand, None, at, claims.expires_at()).await?)
    }
}
