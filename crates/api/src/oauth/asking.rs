//! What is asked of the token service, taken apart: who asks, what for, and by what right.

use axum::{
    body::Body,
    http::{HeaderMap, header::AUTHORIZATION},
};
use serde_json::{Value, json};
use warrantor_control::{
    access::Presenter,
    tokens::{Asked, Attempt, Client, Code, Grant, Shown, Standing, SubjectToken, TokenError},
};
use warrantor_decide::administration::{Act, Resource};
use warrantor_issuers::IssuerError;
use warrantor_model::{Digest, Json as ExactJson};
use warrantor_store::Store;
use warrantor_tokens::{
    ASSERTION_TYPE, AccessToken, Binding, CROSSING_TOKEN_TYPE, Claims, MandateDetails, Nonce, ProofExpected,
    Purpose, SpiffeId, VerifiedProof, claimed, claimed_trust_domain, verify_proof,
};

use super::{EXCHANGE, JWT_BEARER, OAuth, TokenAnswer, answer::OAuthError, form::Form, invalid};
use crate::{
    Api,
    request::{Caller, bearer},
};

/// The kind of a client's assertion that is a JWT-SVID; the kind for any assertion does as well.
const SVID_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";
/// How often it is looked again at what somebody else used at the same moment.
const AGAIN: usize = 4;
/// What the names of token types begin with.
const TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:";

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

/// How a record names whoever proves nothing of itself.
pub(super) fn named(client_id: &str) -> String {
    let name: String = client_id.chars().filter(|c| !c.is_control()).take(200).collect();
    format!("the name of an application, {name}")
}

impl<S: Store> Api<S> {
    /// Tells a client that it is refused, and records it.
    pub(super) async fn refuse(&self, oauth: &OAuth, attempt: &Attempt, cause: TokenError) -> OAuthError {
        // What failed here is in the log already, and of nobody's doing.
        if matches!(cause, TokenError::Refused { .. }) {
            match oauth.recording.check() {
                Ok(()) => oauth.service.refused(&self.office, attempt, &cause).await,
                Err(_) => tracing::warn!(%cause, "a refused token is not recorded: there are too many"),
            }
        }
        cause.into()
    }

    pub(super) async fn make_token(
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
            // Two windows of one application may show one token at the same moment: the second is answered like the first.
            for _ in 0..AGAIN {
                match self.go_on(oauth, &form, headers, attempt).await {
                    Err(TokenError::Contended) => {}
                    other => return other,
                }
            }
            return Err(TokenError::Contended);
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
    pub(super) async fn client(
        &self,
        oauth: &OAuth,
        form: &Form,
        attempt: &mut Attempt,
    ) -> Result<Client, TokenError> {
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
    pub(super) fn proof(
        &self,
        oauth: &OAuth,
        headers: &HeaderMap,
    ) -> Result<Option<VerifiedProof>, TokenError> {
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

    pub(super) async fn told(
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
