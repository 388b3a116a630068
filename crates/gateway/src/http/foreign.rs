//! Access tokens of other issuers (RFC 9068), such as an identity provider's for its applications: evidence of who calls, and nothing more.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use warrantor_issuers::Issuer;
use warrantor_model::{AgentId, Digest, Evidence, Json, ServerName, TemplateId, Timestamp, TokenEvidence};
use warrantor_tokens::{Binding, Claims};

use super::resource::Rejection;

/// Most scopes of a token that policies see, and the longest of them: more than all would not go over the wire to a control plane elsewhere.
const MAX_SCOPES: usize = 32;
const LONGEST_SCOPE: usize = 128;
/// How long a token may last from now on at most. A revocation at its issuer is not known here.
const LONGEST_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest of what a token says that is repeated.
const LONGEST: usize = 256;

/// An issuer whose access tokens say who calls.
#[derive(Clone)]
pub struct ForeignIssuer {
    /// The issuer.
    pub issuer: Arc<Issuer>,
    /// Its clients that are agents here, by their name there.
    pub clients: BTreeMap<String, ForeignClient>,
}

/// A client of another issuer that is an agent here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignClient {
    /// The agent.
    pub agent: AgentId,
    /// What it may run: mandates of the bundle, or instances.
    pub mandates: Vec<TemplateId>,
    /// Whether it may run every mandate that was handed over to its agent.
    pub handed_over: bool,
    /// The servers and sets it reaches.
    pub servers: BTreeSet<ServerName>,
    /// Of whom its tokens may speak; of itself where nobody is listed.
    pub subjects: BTreeSet<String>,
}

impl ForeignClient {
    /// Whether a token of it speaks of somebody it may speak of.
    pub(super) fn may_speak_of(&self, token: &ForeignToken) -> bool {
        match self.subjects.is_empty() {
            true => token.subject == token.client,
            false => self.subjects.contains(&token.subject),
        }
    }
}

/// What a token of another issuer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ForeignToken {
    pub(super) issuer: String,
    pub(super) client: String,
    pub(super) subject: String,
    /// How records name it.
    pub(super) name: String,
    pub(super) scopes: BTreeSet<String>,
    pub(super) bound_to: Option<Binding>,
    pub(super) expires_at: Timestamp,
}

impl ForeignToken {
    /// Reads a verified token.
    pub(super) fn read(claims: &Claims, token: &str, now: Timestamp) -> Result<Self, Rejection> {
        if claims.expires_at() > now.plus(LONGEST_LIFE) {
            return Err(Rejection::token("it lasts longer than a day"));
        }
        let short = |text: &str| text.len() <= LONGEST && !text.chars().any(char::is_control);
        let client = claims.text("client_id").or_else(|| claims.text("azp")).filter(|client| short(client));
        let client =
            client.ok_or_else(|| Rejection::token("it does not say for which client it was made"))?;
        if !short(claims.subject()) {
            return Err(Rejection::token("whom it speaks of is no name"));
        }
        let bound_to = match claims.get("cnf") {
            None => None,
            Some(cnf) => {
                let text = |name: &str| cnf.get(name).and_then(Json::as_str).map(str::to_owned);
                match (text("jkt"), text("x5t#S256")) {
                    (Some(thumbprint), None) => Some(Binding::Key(thumbprint)),
                    (None, Some(digest)) => Some(Binding::Certificate(digest)),
                    // A binding that is not understood is not one that may be passed over.
                    _ => return Err(Rejection::token("what it is bound to is not understood")),
                }
            }
        };
        let name = claims.text("jti").filter(|id| !id.is_empty() && short(id)).map(str::to_owned);
        let scopes = claims.text("scope").unwrap_or_default().split(' ').filter(|scope| !scope.is_empty());
        Ok(Self {
            issuer: claims.issuer().to_owned(),
            client: client.to_owned(),
            subject: claims.subject().to_owned(),
            name: name.unwrap_or_else(|| Digest::of(token.as_bytes()).to_string()),
            scopes: scopes
                .filter(|scope| short(scope) && scope.len() <= LONGEST_SCOPE)
                .take(MAX_SCOPES)
                .map(str::to_owned)
                .collect(),
            bound_to,
            expires_at: claims.expires_at(),
        })
    }

    /// Layer 1 of whoever shows it.
    pub(super) fn evidence(&self) -> Evidence {
        Evidence::AccessToken(Box::new(TokenEvidence {
            issuer: self.issuer.clone(),
            name: self.name.clone(),
            // It is none of ours, and was made from none.
            tokens: Vec::new(),
            subject: self.subject.clone(),
            client: self.client.clone(),
            scopes: self.scopes.clone(),
            bound: self.bound_to.is_some(),
            home: None,
        }))
    }
}
