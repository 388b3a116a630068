//! Who is let in: by a token of the file, or by an access token that counts here.

use std::{sync::Arc, time::Duration};

use http_body_util::{BodyExt, Limited};
use hyper::{StatusCode, body::Incoming, header::HeaderValue, http::request::Parts};
use warrantor_engine::{DecisionPoint, Presented};
use warrantor_model::{Definition, Evidence, Offer};
use warrantor_tokens::AccessToken;

use super::{Front, Mandates, no_such_path};
use crate::http::{
    behind::Endpoint,
    callers::Caller,
    resource::{Admitted, Credential, Rejected, Rejection},
    respond::{self, Refused},
    served::Now,
};

/// Most bytes of the body of a request that is refused for its caller that are read, so that its connection can go on.
const MOST_DRAINED: usize = 256 << 10;
/// How long that may take.
const DRAINING: Duration = Duration::from_secs(2);

/// Reads what is left of a request that is refused already, within bounds, and keeps nothing of it.
pub(super) async fn is_drained(body: Incoming) -> bool {
    let mut body = Limited::new(body, MOST_DRAINED);
    let drained = async {
        while let Some(frame) = body.frame().await {
            if frame.is_err() {
                return false;
            }
        }
        true
    };
    tokio::time::timeout(DRAINING, drained).await.unwrap_or(false)
}

impl<P: DecisionPoint, M: Mandates> Front<P, M> {
    /// Who asks: by a token of the file, or by an access token that counts here.
    pub(super) async fn caller(&self, serving: &Now<M>, head: &Parts) -> Result<Arc<Caller>, Refused> {
        let (path, now) = (head.uri.path(), self.clock.now());
        let endpoint = serving.endpoints.get(path).ok_or_else(|| Refused::from(no_such_path()))?;
        let credential = Credential::of(&head.headers);
        if credential == Credential::Several {
            return Err(Refused::new(StatusCode::BAD_REQUEST, "`Authorization` stands twice"));
        }
        if let Credential::Bearer(token) = credential
            && let Some(caller) = serving.callers.of(token, now)
        {
            return Ok(Arc::clone(caller));
        }
        let Some(resource) = &serving.resource else {
            let refused = respond::refused(
                StatusCode::UNAUTHORIZED,
                "a bearer token of this gateway is needed in `Authorization`, and this is none",
            );
            return Err(respond::with(refused, "www-authenticate", HeaderValue::from_static("Bearer")).into());
        };
        match resource.admit(path, head.method.as_str(), credential, &head.headers, now).await {
            Ok(admitted) => {
                let known = match &admitted {
                    Admitted::Ours(token) => {
                        serving.callers.issued(token, resource.evidence(token), &endpoint.name, now)
                    }
                    Admitted::Foreign(nth, token) => {
                        let issuer = resource.settings.foreign.get(*nth);
                        let client = issuer.and_then(|issuer| issuer.clients.get(&token.client));
                        client.and_then(|client| serving.callers.foreign(token, client, &endpoint.name, now))
                    }
                };
                let busy = "too many agents call at the same time: wait and try again";
                known.ok_or_else(|| Refused::new(StatusCode::SERVICE_UNAVAILABLE, busy))
            }
            Err(Rejected { why, token }) => {
                if token.is_none() && matches!(why, Rejection::Token(_) | Rejection::Proof(_)) {
                    tracing::info!(endpoint = %endpoint.name, %why, "a token was refused");
                }
                let is_news = |token: &Arc<AccessToken>| resource.is_news(&token.id, &why, now);
                if let Some(token) = token.filter(|_| why != Rejection::Nonce).filter(is_news) {
                    self.record_rejected(endpoint, &token, &why, head);
                }
                Err(resource.challenge(path, &why, now).into())
            }
        }
    }

    /// Records that somebody has a token that does not count: it was found, or is used where it should not be.
    fn record_rejected(&self, endpoint: &Endpoint, token: &AccessToken, why: &Rejection, head: &Parts) {
        let Some(server) = endpoint.servers.first() else { return };
        let why = format!("the access token {} of {} was refused: {why}", token.id, token.agent);
        tracing::warn!(endpoint = %endpoint.name, why, "a caller was refused");
        let presented = Presented {
            method: format!("{} {}", head.method, endpoint.path),
            mandate: token.mandate().clone(),
            server: server.server.clone(),
            offer: Offer::Tool,
            tool: String::new(),
            arguments: b"{}".to_vec(),
            evidence: Evidence::Failed { why },
            definition: Definition::NotSeen,
        };
        let engine = self.engine.clone();
        // Nobody waits for it; while we stop, it is only in the log.
        let _ = self.begin(async move { drop(engine.refuse_method(&presented).await) });
    }
}
