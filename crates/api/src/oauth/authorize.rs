//! People's applications ask for an authorization (RFC 6749, section 4.1, as OAuth 2.1 and MCP have it; RFC 7636; RFC 9207): who asks is looked at, whoever sits at
//! the browser signs in at the identity provider, and comes back to a page that asks.
//!
//! Nothing is kept here for somebody who has not signed in: what was asked for goes along in a cookie, sealed under a key of this process, so that strangers
//! cannot fill anything, and nobody can bring another's sign-in to an end in their own browser.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use url::Url;
use warrantor_bundle::serve::may_go_back_to;
use warrantor_control::tokens::{Code, TokenError, is_verifier};
use warrantor_issuers::{DocumentError, is_loopback};
use warrantor_model::{MandateId, Timestamp};
use warrantor_store::Store;
use warrantor_tokens::MandateDetails;

use super::{OAuth, answer::plain, form::Form};
use crate::{
    Api,
    cookies::{self, Along},
    pages,
    problem::{Kind, ProblemBody},
    provider::Provider,
    signing_in::{NotNow, NotSignedIn, Secrets, cookie_of},
};

/// How long a person may take to sign in, and then to answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// The longest of each thing that is asked for: all of them go along in a cookie, together with what is added to them.
const LONGEST: usize = 500;
/// Where cookies go along.
const PATH: &str = "/oauth";

/// What an application asks for, once it is known to be the one that it says it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Asks {
    pub(super) client_id: String,
    pub(super) application: String,
    pub(super) redirect_uri: String,
    pub(super) state: Option<String>,
    pub(super) challenge: String,
    pub(super) resource: String,
    pub(super) mandate: Option<MandateId>,
}

/// What goes along while a person signs in.
#[derive(Debug, Serialize, Deserialize)]
struct SigningIn {
    asks: Asks,
    secrets: Secrets,
    until: Timestamp,
}

/// Why a request ends here.
pub(super) enum Ends {
    /// Nobody can be sent back: who asks, or where to, is not sure.
    Page(StatusCode, &'static str, String),
    /// The application is told.
    Back(Box<Asks>, &'static str, String),
}

impl Ends {
    pub(super) fn page(why: impl Into<String>) -> Self {
        Self::Page(StatusCode::BAD_REQUEST, "This cannot go on", why.into())
    }

    /// The answer.
    pub(super) fn told(self, oauth: &OAuth) -> Response {
        match self {
            Self::Page(status, title, why) => pages::notice(status, title, &why),
            Self::Back(asks, error, why) => {
                back(oauth, &asks, &[("error", error), ("error_description", &plain(&why))])
            }
        }
    }
}

/// Sends the browser back to the application, with the name of whoever answers (RFC 9207).
pub(super) fn back(oauth: &OAuth, asks: &Asks, parameters: &[(&str, &str)]) -> Response {
    let Ok(mut url) = Url::parse(&asks.redirect_uri) else {
        return pages::notice(
            StatusCode::BAD_REQUEST,
            "This cannot go on",
            "There is nowhere to go back to.",
        );
    };
    url.query_pairs_mut().extend_pairs(parameters);
    if let Some(state) = &asks.state {
        url.query_pairs_mut().append_pair("state", state);
    }
    url.query_pairs_mut().append_pair("iss", &oauth.service().settings().issuer);
    sent_to(url.as_str())
}

fn sent_to(address: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(address) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers =
        [(header::LOCATION, location), (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"))];
    (StatusCode::SEE_OTHER, headers).into_response()
}

impl OAuth {
    /// A cookie of this name with a value that only this process can read, for as long as a person may take.
    pub(super) fn cookie<S: Store>(
        &self,
        api: &Api<S>,
        name: &str,
        value: &impl Serialize,
        same_site: &str,
    ) -> Option<HeaderValue> {
        let along = Along { path: PATH, same_site, lasts: PATIENCE };
        self.cookies.sealed(&*api.randomness, name, value, along)
    }

    /// What the cookie of this name holds.
    pub(super) fn opened<T: DeserializeOwned>(&self, headers: &HeaderMap, name: &str) -> Option<T> {
        self.cookies.opened(headers, name)
    }
}

/// Takes a cookie away.
pub(super) fn forgotten(name: &str) -> Option<HeaderValue> {
    cookies::forgotten(name, PATH)
}

/// Begins a sign-in for an application that asks to act for whoever is at the browser.
#[utoipa::path(get, path = "/oauth/authorize", tag = "tokens", operation_id = "authorize", security(()),
    description = "For browsers. The parameters of RFC 6749, section 4.1.1, with PKCE (S256) and one `resource` (RFC 8707).",
    responses((status = 303, description = "To the identity provider, or back to the application"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn authorize<S: Store>(State(api): State<Arc<Api<S>>>, request: Request) -> Response {
    let Some(oauth) = api.oauth.as_ref() else { return nothing_here() };
    let (head, _) = request.into_parts();
    let begun = async {
        let asks = api.asked_for(oauth, head.uri.query().unwrap_or_default()).await?;
        api.sent_to_sign_in(oauth, asks).await
    };
    begun.await.unwrap_or_else(|ends: Ends| ends.told(oauth))
}

/// Takes whoever has signed in on to the page that asks.
#[utoipa::path(get, path = "/oauth/callback", tag = "tokens", operation_id = "signedIn", security(()),
    description = "For browsers: where the identity provider sends people back to.",
    responses((status = 200, body = String, content_type = "text/html", description = "The page that asks"), (status = 303, description = "Back to the application"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn callback<S: Store>(State(api): State<Arc<Api<S>>>, request: Request) -> Response {
    let Some(oauth) = api.oauth.as_ref() else { return nothing_here() };
    let (head, _) = request.into_parts();
    let went_on = api.came_back(oauth, head.uri.query().unwrap_or_default(), &head.headers).await;
    went_on.unwrap_or_else(|ends| ends.told(oauth))
}

pub(super) fn nothing_here() -> Response {
    let why = "No token service is configured here: see [tokens] of serve.toml.";
    pages::notice(StatusCode::NOT_FOUND, "There is nothing here", why)
}

impl<S: Store> Api<S> {
    /// What is asked for, of an application that is known.
    async fn asked_for(&self, oauth: &OAuth, query: &str) -> Result<Asks, Ends> {
        let form = Form::parse(query.as_bytes())
            .map_err(|_| Ends::page("A parameter of the request stands twice, or there are too many."))?;
        let one = |name: &str| -> Result<Option<String>, Ends> {
            match form.one(name) {
                Some(text) if text.len() > LONGEST || text.chars().any(char::is_control) => {
                    Err(Ends::page(format!("The parameter {name} is too long, or no text.")))
                }
                text => Ok(text.map(str::to_owned)),
            }
        };
        let client_id = one("client_id")?
            .ok_or_else(|| Ends::page("The request does not say which application asks (client_id)."))?;
        let (application, listed) = self.application(oauth, &client_id).await?;
        let redirect_uri = match (one("redirect_uri")?, listed.as_slice()) {
            (Some(uri), _) if listed.iter().any(|of| is_same(of, &uri)) && may_go_back_to(&uri) => uri,
            (None, [only]) if may_go_back_to(only) => only.clone(),
            (Some(uri), _) => {
                tracing::warn!(client_id, uri, "an answer would go to an address that is not listed");
                let why =
                    "The application is not known at the address that the answer would go to (redirect_uri)";
                return Err(Ends::page(format!("{why}: {uri}")));
            }
            (None, _) => {
                return Err(Ends::page("The request does not say where the answer goes (redirect_uri)."));
            }
        };
        // From here on the application is told what is wrong.
        let mut asks = Asks {
            client_id,
            application,
            redirect_uri,
            state: one("state")?,
            challenge: String::new(),
            resource: String::new(),
            mandate: None,
        };
        let wrong = |asks: &Asks, error, why: &str| Ends::Back(Box::new(asks.clone()), error, why.to_owned());
        if form.one("response_type") != Some("code") {
            return Err(wrong(&asks, "unsupported_response_type", "use response_type=code"));
        }
        for (name, error) in
            [("request", "request_not_supported"), ("request_uri", "request_uri_not_supported")]
        {
            if form.one(name).is_some() {
                return Err(wrong(&asks, error, "send the parameters themselves"));
            }
        }
        // `scope` is not looked at: applications send one whether there are any or not, and what is granted is the mandate (RFC 6749, section 3.3).
        if form.one("response_mode").is_some_and(|mode| mode != "query") {
            return Err(wrong(&asks, "invalid_request", "the answer goes in the query: response_mode=query"));
        }
        if form.one("prompt") == Some("none") {
            return Err(wrong(&asks, "interaction_required", "the person is always asked"));
        }
        match (form.one("code_challenge"), form.one("code_challenge_method")) {
            (Some(challenge), Some("S256")) if is_verifier(challenge) && challenge.len() == 43 => {
                challenge.clone_into(&mut asks.challenge)
            }
            _ => {
                return Err(wrong(
                    &asks,
                    "invalid_request",
                    "send a code_challenge, made by S256 (RFC 7636)",
                ));
            }
        }
        let resource = match form.all("resource") {
            [one]
                if one.len() <= LONGEST
                    && !one.chars().any(char::is_control)
                    && oauth.service().settings().resource(one).is_some() =>
            {
                one.clone()
            }
            _ => {
                let why =
                    "say one place where the token is to be shown (resource), which tokens are made for here";
                return Err(wrong(&asks, "invalid_target", why));
            }
        };
        asks.resource = resource;
        if let Some(text) = form.one("authorization_details") {
            let details = MandateDetails::parse(text)
                .map_err(|cause| wrong(&asks, "invalid_authorization_details", &cause.to_string()))?;
            if details.locations.iter().any(|location| *location != asks.resource) {
                let why = "`locations` names another place than `resource`";
                return Err(wrong(&asks, "invalid_authorization_details", why));
            }
            asks.mandate = Some(details.mandate);
        }
        match oauth.service().application(&self.office, &asks.client_id).await {
            Ok(_) => Ok(asks),
            Err(TokenError::Refused { code: Code::InvalidClient, why, .. }) => {
                Err(wrong(&asks, "unauthorized_client", &why))
            }
            Err(cause) => {
                tracing::error!(%cause, "an application's agent cannot be looked at");
                Err(wrong(&asks, "temporarily_unavailable", "try again"))
            }
        }
    }

    /// What an application is called, and where it may have people sent back to: as it is configured, or as its document says.
    async fn application(&self, oauth: &OAuth, client_id: &str) -> Result<(String, Vec<String>), Ends> {
        let Some(application) = oauth.service().settings().application(client_id) else {
            tracing::warn!(client_id, "somebody came with an application that is not known");
            let why = format!(
                "The application {client_id} is not known here. Whoever runs this service can add it (applications)."
            );
            return Err(Ends::page(why));
        };
        let host = || Url::parse(client_id).ok().and_then(|url| url.host_str().map(str::to_owned));
        if !application.redirect_uris.is_empty() {
            let name = application.name.clone().unwrap_or_else(|| client_id.to_owned());
            return Ok((name, application.redirect_uris.clone()));
        }
        let busy = || {
            Ends::Page(
                StatusCode::SERVICE_UNAVAILABLE,
                "Not now",
                "Too many sign-ins begin at once. Try again.".to_owned(),
            )
        };
        if !oauth.documents.has(client_id, self.office.now()) {
            oauth.asking.check().map_err(|_| busy())?;
        }
        match oauth.documents.document(client_id, self.office.now()).await {
            Ok(document) => {
                let own = application.name.clone().or_else(|| document.name.clone());
                // What it calls itself anybody could call themselves; where it says so cannot be had by anybody.
                let name = match (own, host()) {
                    (Some(name), Some(host)) => format!("{name} ({host})"),
                    (name, host) => name.or(host).unwrap_or_else(|| client_id.to_owned()),
                };
                Ok((name, document.redirect_uris.clone()))
            }
            Err(cause @ DocumentError::Unfit(_)) => Err(Ends::page(format!("{cause}."))),
            Err(cause @ DocumentError::Unavailable(_)) => {
                tracing::warn!(%cause, client_id, "an application's document cannot be had");
                let why = "What the application says of itself cannot be had now. Try again.".to_owned();
                Err(Ends::Page(StatusCode::SERVICE_UNAVAILABLE, "Not now", why))
            }
        }
    }

    async fn sent_to_sign_in(&self, oauth: &OAuth, asks: Asks) -> Result<Response, Ends> {
        let provider = self.signs_in(&asks)?;
        let begun = self.begin_sign_in(provider, &oauth.service().settings().callback(), &[]).await;
        let (url, secrets) = begun.map_err(|NotNow(why)| {
            Ends::Back(Box::new(asks.clone()), "temporarily_unavailable", why.to_owned())
        })?;
        let name = cookie_of(&secrets.state);
        let along = SigningIn { asks: asks.clone(), secrets, until: self.office.now().plus(PATIENCE) };
        let too_long = || {
            let why = "the request is too long to go along in a browser".to_owned();
            Ends::Back(Box::new(asks.clone()), "invalid_request", why)
        };
        let cookie = oauth.cookie(self, &name, &along, "Lax").ok_or_else(too_long)?;
        let mut response = sent_to(url.as_str());
        response.headers_mut().insert(header::SET_COOKIE, cookie);
        Ok(response)
    }

    fn signs_in(&self, asks: &Asks) -> Result<&Provider, Ends> {
        let none = || {
            Ends::Back(
                Box::new(asks.clone()),
                "temporarily_unavailable",
                "nobody can sign in here".to_owned(),
            )
        };
        self.provider.as_ref().ok_or_else(none)
    }

    /// Whoever comes back from the identity provider, to the browser that they were sent from.
    async fn came_back(&self, oauth: &OAuth, query: &str, headers: &HeaderMap) -> Result<Response, Ends> {
        let lost = || {
            Ends::page(
                "This sign-in is not known in this browser, or took too long. Go back to the application and begin again.",
            )
        };
        let form = Form::parse(query.as_bytes()).map_err(|_| lost())?;
        let state = form.one("state").ok_or_else(lost)?;
        let name = cookie_of(state);
        let along: SigningIn = oauth.opened(headers, &name).ok_or_else(lost)?;
        if along.secrets.state != state || self.office.now() >= along.until {
            return Err(lost());
        }
        let asks = along.asks;
        let provider = self.signs_in(&asks)?;
        // An answer of somebody else's provider (RFC 9207).
        if form.one("iss").is_some_and(|issuer| issuer != provider.settings().issuer) {
            return Err(lost());
        }
        let Some(code) = form.one("code") else {
            let (error, why) = match form.one("error") {
                Some("access_denied" | "interaction_required" | "login_required") => {
                    ("access_denied", "the person did not sign in")
                }
                _ => ("server_error", "the identity provider did not let the person sign in"),
            };
            return Err(Ends::Back(Box::new(asks), error, why.to_owned()));
        };
        if oauth.asking.check().is_err() {
            let why = "too many sign-ins come back at once: try again".to_owned();
            return Err(Ends::Back(Box::new(asks), "temporarily_unavailable", why));
        }
        let redirect_uri = oauth.service().settings().callback();
        let signed_in = match self.end_sign_in(provider, &redirect_uri, &along.secrets, Some(code)).await {
            Ok(signed_in) => signed_in,
            Err(NotSignedIn::ByProvider | NotSignedIn::NoToken) => {
                let why = "the identity provider gave no token for the sign-in".to_owned();
                return Err(Ends::Back(Box::new(asks), "server_error", why));
            }
            Err(NotSignedIn::Here(problem)) => {
                // Why stands in the log: the application need not know how things are here.
                let (error, why) = match problem.kind {
                    Kind::Unavailable | Kind::ProviderUnavailable => ("temporarily_unavailable", "try again"),
                    Kind::Internal => ("server_error", "the sign-in could not be judged"),
                    _ => ("access_denied", "whoever signed in may not act here"),
                };
                return Err(Ends::Back(Box::new(asks), error, why.to_owned()));
            }
        };
        let mut response = self.question(oauth, asks, signed_in).await?;
        if let Some(cookie) = forgotten(&name) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}

/// Whether an address is the one that is listed: exactly, but for the port on one's own machine, which a program cannot choose beforehand (RFC 8252, section
/// 7.3).
fn is_same(listed: &str, uri: &str) -> bool {
    if listed == uri {
        return true;
    }
    let (Ok(mut listed), Ok(mut url)) = (Url::parse(listed), Url::parse(uri)) else { return false };
    if listed.scheme() != "http" || url.scheme() != "http" || !is_loopback(&listed) || !is_loopback(&url) {
        return false;
    }
    // As it was written: nothing that a parser would put right.
    let as_written = url.as_str() == uri;
    as_written && listed.set_port(None).is_ok() && url.set_port(None).is_ok() && listed == url
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_where_the_application_is_known_and_on_ones_own_machine_to_any_port() {
        for (listed, uri, same) in [
            ("https://a.example/cb", "https://a.example/cb", true),
            ("https://a.example/cb", "https://a.example/cb/", false),
            ("https://a.example/cb", "https://a.example/cb?x=1", false),
            ("https://a.example/cb", "https://a.example:444/cb", false),
            ("https://a.example/cb", "https://a.example.evil/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000/cb", true),
            ("http://127.0.0.1:1/cb", "http://127.0.0.1:5000/cb", true),
            ("http://localhost/cb", "http://localhost:5000/cb", true),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000/other", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1:5000/x/../cb", false),
            ("http://127.0.0.1/cb", "http://localhost:5000/cb", false),
            ("http://127.0.0.1/cb", "http://evil@127.0.0.1:5000/cb", false),
            ("http://127.0.0.1/cb", "http://127.0.0.1.evil.example/cb", false),
            ("app://cb", "app://cb", true),
            ("app://cb", "app://cb:1", false),
        ] {
            assert_eq!(is_same(listed, uri), same, "{listed} {uri}");
        }
    }
}
