//! Sending a browser to the identity provider, and what comes back: the same for people's applications and for people themselves.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use url::Url;
use warrantor_model::Digest;
use warrantor_store::Store;
use warrantor_tokens::Nonce;

use crate::{Api, problem::Problem, provider::Provider, sessions::JustSignedIn};

/// What has to come back with whoever signs in, and to be kept until then where nobody else reads it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) state: String,
    nonce: String,
    verifier: String,
}

/// Why somebody cannot be sent to sign in now, in words for whoever wanted to.
pub(crate) struct NotNow(pub(crate) &'static str);

/// Why somebody who came back is not signed in.
pub(crate) enum NotSignedIn {
    /// The provider did not let them.
    ByProvider,
    /// It gave no token for the code.
    NoToken,
    /// They are not let in here.
    Here(Problem),
}

/// The name of the cookie that a sign-in goes along in, by its state: several may be under way in one browser.
pub(crate) fn cookie_of(state: &str) -> String {
    format!("warrantor_sign_in_{}", state.get(..16).unwrap_or_default())
}

impl<S: Store> Api<S> {
    /// A text that nobody can guess.
    pub(crate) fn unguessable(&self) -> Option<String> {
        let mut bytes = [0; 32];
        self.randomness.fill(&mut bytes).ok()?;
        Some(BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The address where whoever signs in is sent, and what has to come back from there to `redirect_uri`.
    pub(crate) async fn begin_sign_in(
        &self,
        provider: &Provider,
        redirect_uri: &str,
        more: &[(&str, &str)],
    ) -> Result<(Url, Secrets), NotNow> {
        let places = provider.places(self.office.now()).await.map_err(|cause| {
            tracing::warn!(%cause, "the identity provider does not answer");
            NotNow("the identity provider does not answer: try again")
        })?;
        let fresh = || self.unguessable().ok_or(NotNow("there are no random bytes: try again"));
        let secrets = Secrets { state: fresh()?, nonce: fresh()?, verifier: fresh()? };
        let challenge = BASE64_URL_SAFE_NO_PAD.encode(Digest::of(secrets.verifier.as_bytes()).as_bytes());
        let settings = provider.settings();
        let mut url =
            Url::parse(&places.authorization).map_err(|_| NotNow("the identity provider has no address"))?;
        url.query_pairs_mut()
            .extend_pairs([
                ("response_type", "code"),
                ("client_id", &settings.client_id),
                ("redirect_uri", redirect_uri),
                ("scope", &settings.scope),
                ("state", &secrets.state),
                ("nonce", &secrets.nonce),
                ("code_challenge", &challenge),
                ("code_challenge_method", "S256"),
            ])
            .extend_pairs(more);
        Ok((url, secrets))
    }

    /// Whoever a code is of that came back.
    pub(crate) async fn end_sign_in(
        &self,
        provider: &Provider,
        redirect_uri: &str,
        secrets: &Secrets,
        code: Option<&str>,
    ) -> Result<JustSignedIn, NotSignedIn> {
        let code = code.ok_or(NotSignedIn::ByProvider)?;
        let redeemed = provider.redeem(code, &secrets.verifier, redirect_uri, self.office.now()).await;
        let id_token = redeemed.map_err(|cause| {
            tracing::warn!(%cause, "a sign-in in a browser did not come about");
            NotSignedIn::NoToken
        })?;
        self.signed_in(&id_token, Nonce::Exactly(&secrets.nonce)).await.map_err(|problem| {
            tracing::warn!(problem = problem.detail, "somebody who signed in is not let in");
            NotSignedIn::Here(problem)
        })
    }
}
