//! Agents that hand on a part of their task to another agent.
//!
//! Whoever asks is no person and has no session: it shows the access token of its own task, made for this service, and proves to have its key. What it may hand
//! on was said by the person who handed the task over: how many hops, and nothing that the person has not granted.

use std::sync::Arc;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use warrantor_control::{handover::Agreed, parts, tokens::Standing};
use warrantor_model::AgentId;
use warrantor_store::Store;
use warrantor_tokens::{AccessToken, Binding, ProofExpected, VerifiedProof, verify_proof};

use crate::{
    Api,
    oauth::OAuth,
    problem::{Kind, Problem, ProblemBody},
    request::Body,
};

/// A part of a task.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delegation {
    /// The agent that is to do it.
    #[schema(value_type = String)]
    agent: AgentId,
    /// What it may do, in the format of mandates: `purpose`, `grants`, `limits`, `slots`, `expires_in` or `expires_at`, `delegation`.
    #[schema(value_type = Object)]
    mandate: Value,
}

/// A mandate that was handed on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Delegated {
    /// Its id: what the other agent names when it exchanges the token that it is given.
    id: String,
    /// The task, which is that of the mandate above.
    task: String,
    /// When it ends.
    expires_at: String,
}

fn unknown(why: impl Into<String>) -> Problem {
    Problem::new(Kind::Unauthenticated, why)
}

/// Hands a part of the task on, under the access token of the agent that does so: made for the token service, with a proof (`DPoP`).
#[utoipa::path(post, path = "/v1/delegations", tag = "tokens", operation_id = "delegate", security(()), request_body = Delegation,
    responses((status = 201, body = Delegated), (status = "default", body = ProblemBody)))]
pub(crate) async fn delegate<S: Store>(
    State(api): State<Arc<Api<S>>>,
    headers: HeaderMap,
    Body(body): Body<Delegation>,
) -> Result<(StatusCode, Json<Delegated>), Problem> {
    let none =
        || Problem::new(Kind::NotFound, "no token service is configured here: see [tokens] of serve.toml");
    let oauth = api.oauth.as_ref().ok_or_else(none)?;
    let (token, proof) = api.shown(oauth, &headers).await?;
    let evidence = format!("agent:{} (access token {}, bound to its key)", token.agent, token.id);
    match api.office.show_once(&proof, &token.agent, &evidence).await {
        Ok(()) => {}
        Err(warrantor_control::office::OfficeError::Contended) => {
            return Err(unknown("the proof was used before: make one for each request"));
        }
        Err(cause) => return Err(cause.into()),
    }
    let (above, terms) = api.office.mandate_document(token.mandate()).await?;
    let said = body.mandate.as_object().ok_or_else(|| Problem::invalid("mandate", "an object is needed"))?;
    let document =
        parts::document(&body.agent, said, &above, &terms).map_err(|why| Problem::invalid("mandate", why))?;
    let bundle = api.bundle();
    let part = bundle.narrowed(&above, &document).map_err(|report| {
        let all: Vec<String> = report.diagnostics().iter().map(ToString::to_string).collect();
        Problem::invalid("mandate", all.join("; "))
    })?;
    let desk = api.desk(&bundle, evidence);
    desk.note_bundle().await?;
    let handed = desk.delegate_under(token.mandate(), terms.depth, &part, &Agreed::default()).await?;
    let delegated = Delegated {
        id: handed.mandate.to_string(),
        task: handed.task.to_string(),
        expires_at: handed.expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, Json(delegated)))
}

impl<S: Store> Api<S> {
    /// The agent's own token, made for this service, and the proof that it is its.
    async fn shown(
        &self,
        oauth: &OAuth,
        headers: &HeaderMap,
    ) -> Result<(AccessToken, VerifiedProof), Problem> {
        let one = |name: &str| {
            let mut values = headers.get_all(name).iter();
            match (values.next(), values.next()) {
                (Some(value), None) => value.to_str().ok(),
                _ => None,
            }
        };
        let missing = "send the agent's access token as `Authorization: DPoP …`, and a proof in `DPoP`";
        let token = one(header::AUTHORIZATION.as_str())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("dpop"))
            .map(|(_, token)| token.trim())
            .ok_or_else(|| unknown(missing))?;
        let proof = one("dpop").ok_or_else(|| unknown(missing))?;
        let says = match oauth.service().standing(&self.office, token).await? {
            Standing::Active(says) => *says,
            Standing::Inactive => return Err(unknown("the access token does not count now")),
        };
        let issuer = &oauth.service().settings().issuer;
        if says.audience != *issuer {
            return Err(unknown(format!("the access token was made for another place than {issuer}")));
        }
        let url = format!("{issuer}/v1/delegations");
        let expected = ProofExpected { method: "POST", url: &url, token: Some(token), nonces: None };
        let proof =
            verify_proof(proof, &expected, self.office.now()).map_err(|cause| unknown(cause.to_string()))?;
        if says.bound_to != Some(Binding::Key(proof.thumbprint().to_owned())) {
            return Err(unknown("the access token is bound to another key than the proof's"));
        }
        Ok((says, proof))
    }
}
