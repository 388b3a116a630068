//! The identity provider that people sign in with (OpenID Connect Core 1.0).

use std::time::Duration;

use warrantor_bundle::serve::ProviderConfig;
use warrantor_issuers::{CodeSent, Discovery, Issuer, IssuerError, IssuerSettings, SettingsError};
use warrantor_model::Timestamp;
use warrantor_tokens::{Claims, Nonce, Purpose};

/// How long its keys are kept.
const KEEP: Duration = Duration::from_secs(60 * 60);
/// How long they go on while it does not answer: old keys are better than nobody being able to sign in; a day is the end.
const KEEP_UNANSWERED: Duration = Duration::from_secs(24 * 60 * 60);

/// An identity provider.
pub struct Provider {
    settings: ProviderConfig,
    issuer: Issuer,
}

/// Where people sign in.
pub(crate) struct SignInPlaces {
    pub(crate) authorization: String,
    pub(crate) token: String,
    pub(crate) device: Option<String>,
}

impl Provider {
    /// Makes ready to ask a provider. It is asked when it is needed first.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn new(settings: ProviderConfig) -> Result<Self, SettingsError> {
        let issuer = Issuer::new(IssuerSettings {
            issuer: settings.issuer.clone(),
            algorithms: settings.algorithms.clone(),
            discovery: Discovery::OpenId,
            certificates: settings.certificates.clone(),
            keep: KEEP,
            keep_unanswered: KEEP_UNANSWERED,
            leeway: settings.leeway,
        })?;
        Ok(Self { settings, issuer })
    }

    /// As it is configured.
    #[must_use]
    pub fn settings(&self) -> &ProviderConfig {
        &self.settings
    }

    /// The subject that a token's claims name a person by.
    #[must_use]
    pub fn subject(&self, claims: &Claims) -> Option<String> {
        match self.settings.subject_claim.as_str() {
            "sub" => Some(claims.subject().to_owned()),
            other => claims.text(other).filter(|text| !text.is_empty()).map(str::to_owned),
        }
    }

    /// Where people sign in, as the provider says.
    ///
    /// # Errors
    /// [`IssuerError::Unavailable`].
    pub(crate) async fn places(&self, now: Timestamp) -> Result<SignInPlaces, IssuerError> {
        let metadata = self.issuer.metadata(now).await?;
        let must = |place: &Option<String>, name: &str| {
            place.clone().ok_or_else(|| IssuerError::Unavailable {
                what: "the metadata",
                issuer: self.settings.issuer.clone(),
                cause: format!("it has no {name}"),
            })
        };
        Ok(SignInPlaces {
            authorization: must(&metadata.authorization_endpoint, "authorization_endpoint")?,
            token: must(&metadata.token_endpoint, "token_endpoint")?,
            device: metadata.device_authorization_endpoint.clone(),
        })
    }

    /// The ID token that a code becomes, which whoever signs in was sent back with; not verified yet.
    ///
    /// # Errors
    /// [`IssuerError::Unavailable`].
    pub(crate) async fn redeem(
        &self,
        code: &str,
        verifier: &str,
        redirect_uri: &str,
        now: Timestamp,
    ) -> Result<String, IssuerError> {
        let client_id = &self.settings.client_id;
        self.issuer.redeem(&CodeSent { code, redirect_uri, client_id, verifier }, now).await
    }

    /// Checks a token of the provider.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub async fn verify(
        &self,
        token: &str,
        purpose: Purpose,
        nonce: Nonce<'_>,
        now: Timestamp,
    ) -> Result<Claims, IssuerError> {
        let own = [self.settings.client_id.clone()];
        let audiences = match purpose {
            Purpose::Id => &own[..],
            Purpose::Access => &self.settings.audiences,
            // Its grants are taken, or not, as those of a domain.
            Purpose::Crossing => &[],
        };
        self.issuer.verify(token, (purpose, audiences), nonce, now).await
    }
}
