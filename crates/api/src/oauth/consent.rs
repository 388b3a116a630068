//! The page that asks a person whether an application may act for them, and their answer.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde::{Deserialize, Serialize};
use url::Url;
use warrantor_control::{
    office::Hand,
    tokens::{Consented, TokenError},
};
use warrantor_model::{AgentId, Digest, MandateId, PersonId, Timestamp};
use warrantor_store::Store;

use super::{
    OAuth,
    authorize::{Asks, Ends, PATIENCE, back, forgotten, nothing_here},
    form::Form,
};
use crate::{
    Api,
    pages::{ChoiceShown, ConsentPage, STYLE, shown},
    problem::ProblemBody,
    sessions::JustSignedIn,
};

/// Where the answer goes.
const ACTION: &str = "/oauth/consent";

/// What goes along while a person reads.
#[derive(Debug, Serialize, Deserialize)]
struct Reading {
    asks: Asks,
    agent: AgentId,
    person: PersonId,
    actor: String,
    evidence: String,
    /// What stands in the page, so that nobody answers a page that was not shown here.
    page: String,
    until: Timestamp,
}

fn cookie_of(flow: &str) -> String {
    format!("warrantor_consent_{flow}")
}

/// Takes a person's answer.
#[utoipa::path(post, path = "/oauth/consent", tag = "tokens", operation_id = "consent", security(()),
    description = "For browsers: the form of the page that asks.",
    responses((status = 303, description = "Back to the application, with a code or an error"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn answer<S: Store>(State(api): State<Arc<Api<S>>>, request: Request) -> Response {
    let Some(oauth) = api.oauth.as_ref() else { return nothing_here() };
    let (head, body) = request.into_parts();
    let answered = async {
        let unread = |_: TokenError| Ends::page("The answer cannot be read.");
        let form = Form::read(&head.headers, body).await.map_err(unread)?;
        api.answered(oauth, &head.headers, &form).await
    };
    answered.await.unwrap_or_else(|ends| ends.told(oauth))
}

/// Why an answer is not taken. It is told to the person, who may have sent it twice: the application may have its answer already.
fn answered_before(cause: &TokenError) -> Ends {
    match cause {
        TokenError::Refused { why, .. } => Ends::page(format!(
            "Nothing was given to the application: {why}. Begin again from the application."
        )),
        cause => {
            tracing::error!(%cause, "an answer could not be recorded");
            let why = "The answer could not be recorded. Begin again from the application.".to_owned();
            Ends::Page(StatusCode::SERVICE_UNAVAILABLE, "Not now", why)
        }
    }
}

impl<S: Store> Api<S> {
    /// The page that asks whoever has just signed in.
    pub(super) async fn question(
        &self,
        oauth: &OAuth,
        asks: Asks,
        signed_in: JustSignedIn,
    ) -> Result<Response, Ends> {
        let not_now = |cause: String| {
            tracing::error!(cause, "a person cannot be asked");
            Ends::Back(Box::new(asks.clone()), "temporarily_unavailable", "try again".to_owned())
        };
        let person = &signed_in.person;
        let client = oauth.service().application(&self.office, &asks.client_id).await;
        let client = client.map_err(|cause| not_now(cause.to_string()))?;
        let agent = self.office.agent(client.agent()).await.map_err(|cause| not_now(cause.to_string()))?;
        let choices = oauth.service().choices(&self.office, person, &agent.id).await;
        let mut offered = Vec::new();
        for choice in choices.map_err(|cause| not_now(cause.to_string()))? {
            if asks.mandate.as_ref().is_some_and(|named| *named != choice.id) {
                continue;
            }
            let sections = self.office.told(&choice.id).await.map_err(|cause| not_now(cause.to_string()))?;
            offered.push(ChoiceShown {
                id: choice.id.to_string(),
                purpose: choice.purpose,
                ends: choice.expires_at.to_string(),
                sections,
            });
        }
        let fresh = || self.unguessable().ok_or_else(|| not_now("there are no random bytes".to_owned()));
        let (page, flow) = (fresh()?, fresh()?);
        let flow = flow.get(..16).unwrap_or_default().to_owned();
        let reading = Reading {
            asks: asks.clone(),
            agent: agent.id.clone(),
            person: person.clone(),
            actor: signed_in.hand.actor.clone(),
            evidence: format!(
                "{}, at {}",
                signed_in.hand.evidence,
                signed_in.authenticated_at.unwrap_or_else(|| self.office.now())
            ),
            page,
            until: self.office.now().plus(PATIENCE),
        };
        let cookie = oauth.cookie(self, &cookie_of(&flow), &reading, "Strict");
        let cookie = cookie.ok_or_else(|| not_now("the page cannot be sealed".to_owned()))?;
        let is_here = Url::parse(&asks.redirect_uri).is_ok_and(|url| url.scheme() != "https");
        let question = ConsentPage {
            style: STYLE,
            application: &asks.application,
            client_id: &asks.client_id,
            goes_to: &asks.redirect_uri,
            is_here,
            person: person.as_str(),
            agent: agent.id.as_str(),
            purpose: &agent.purpose,
            resource: &asks.resource,
            choices: offered,
            action: ACTION,
            flow: &flow,
            page: &reading.page,
        };
        let mut response = shown(StatusCode::OK, &question);
        response.headers_mut().append(header::SET_COOKIE, cookie);
        Ok(response)
    }

    async fn answered(&self, oauth: &OAuth, headers: &HeaderMap, form: &Form) -> Result<Response, Ends> {
        let lost = || {
            Ends::page(
                "This page is not known in this browser, or was open too long. Go back to the application and begin again.",
            )
        };
        let flow = form.one("flow").filter(|flow| flow.len() <= 32).ok_or_else(lost)?;
        let name = cookie_of(flow);
        let reading: Reading = oauth.opened(headers, &name).ok_or_else(lost)?;
        // Browsers say where a form comes from, and of ours that it is from here.
        let elsewhere = headers
            .get(header::ORIGIN)
            .is_some_and(|origin| origin != oauth.service().settings().issuer.as_str());
        if elsewhere || form.one("page") != Some(&reading.page) || self.office.now() >= reading.until {
            return Err(lost());
        }
        let Reading { asks, agent, person, actor, evidence, page, .. } = reading;
        let mut response = match (form.one("answer"), form.one("mandate").map(str::parse::<MandateId>)) {
            (Some("allow"), Some(Ok(mandate))) => {
                let consented = Consented {
                    client_id: asks.client_id.clone(),
                    redirect_uri: asks.redirect_uri.clone(),
                    challenge: asks.challenge.clone(),
                    resource: asks.resource.clone(),
                    agent,
                    person,
                    mandate,
                };
                let hand = Hand { actor, evidence };
                let page = Digest::of(page.as_bytes());
                match oauth.service().consent(&self.office, &hand, consented, &page).await {
                    Ok(code) => back(oauth, &asks, &[("code", &code)]),
                    Err(cause) => return Err(answered_before(&cause)),
                }
            }
            (Some("deny"), _) => {
                let hand = Hand { actor, evidence };
                let page = Digest::of(page.as_bytes());
                let (client_id, resource) = (&asks.client_id, &asks.resource);
                match oauth.service().deny(&self.office, &hand, (client_id, resource), &agent, &page).await {
                    Ok(()) => back(
                        oauth,
                        &asks,
                        &[("error", "access_denied"), ("error_description", "the person said no")],
                    ),
                    Err(cause) => return Err(answered_before(&cause)),
                }
            }
            _ => {
                return Err(Ends::page(
                    "The page was answered without a choice. Begin again from the application.",
                ));
            }
        };
        if let Some(cookie) = forgotten(&name) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }
}
