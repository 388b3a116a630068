//! Agents that prove to the token service who they are.

use warrantor_bundle::serve::TrustDomainConfig;
use warrantor_engine::registry;
use warrantor_model::{AgentId, Timestamp};
use warrantor_store::Store;
use warrantor_tokens::{
    AssertionExpected, KeySet, Once, PublicKey, Refusal, TrustBundle, claimed, verify_assertion,
    verify_jwt_svid,
};

use super::{Code, LEEWAY, TokenError, TokenService};
use crate::{
    agents::AgentStanding,
    office::{Office, OfficeError},
};

/// What a client is told whose proof does not hold, whatever the reason: which agents there are is nobody's business.
const NOT_PROVED: &str = "the client has not proved who it is: see the keys of the agent, the audience and the times of the assertion";

/// Why an agent gets no token that stands for a whole domain, for the operator.
const STANDS_FOR: &str = "the agent stands for another domain, and asks for nothing itself";

/// An agent that has proved who it is. There is no way to one but [`TokenService::client`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    pub(super) agent: AgentId,
    pub(super) evidence: String,
    /// What must not have been seen before; nothing of whoever proves nothing.
    pub(super) once: Option<Once>,
}

impl Client {
    /// Which agent.
    #[must_use]
    pub fn agent(&self) -> &AgentId {
        &self.agent
    }

    /// How it proved who it is.
    #[must_use]
    pub fn evidence(&self) -> &str {
        &self.evidence
    }
}

impl TokenService {
    /// That a client did not prove who it is, in the same words whatever it was; why is for the operator.
    #[must_use]
    pub fn not_proved(&self, why: &str) -> TokenError {
        TokenError::but_for_the_operator(Code::InvalidClient, NOT_PROVED, why)
    }

    /// The agent that an assertion proves (RFC 7523). Whether the assertion was seen before is judged where something is made of it.
    ///
    /// # Errors
    /// [`TokenError::Refused`] with [`Code::InvalidClient`].
    pub async fn client<S: Store>(
        &self,
        office: &Office<S>,
        assertion: &str,
        named: Option<&str>,
    ) -> Result<Client, TokenError> {
        let refused = |why: &str| TokenError::but_for_the_operator(Code::InvalidClient, NOT_PROVED, why);
        let told = |cause: Refusal| refused(&cause.to_string());
        let subject = claimed(assertion, "sub").map_err(told)?.ok_or_else(|| refused("no `sub`"))?;
        if named.is_some_and(|named| named != subject) {
            return Err(refused("`client_id` and `sub` differ"));
        }
        let id: Result<AgentId, _> = subject.parse();
        let found = match &id {
            Ok(id) => office.agent_keys(id).await?,
            Err(_) => None,
        };
        // Somebody who is not there is looked at for as long as somebody who is.
        let (keys, is_known) = match found {
            Some(keys) => (keys, true),
            None => (self.decoy()?, false),
        };
        let mut audiences = vec![self.settings.issuer.clone()];
        audiences.extend(self.settings.endpoint_as_audience.then(|| self.settings.endpoint()));
        let expected = AssertionExpected { client: &subject, audiences: &audiences, leeway: LEEWAY };
        let verified = verify_assertion(assertion, &keys, &expected, office.now());
        let (true, Ok(agent)) = (is_known, id) else {
            return Err(refused("there is no agent of this name with a key"));
        };
        let once = verified.map_err(told)?;
        if self.settings.stands_for_domain(&agent) {
            return Err(refused(STANDS_FOR));
        }
        let known = office.agent(&agent).await.map_err(TokenError::Office)?;
        if known.standing != AgentStanding::Active || known.orphaned {
            return Err(refused("the agent is not active, or nobody live answers for it"));
        }
        let evidence = "a signed assertion (private_key_jwt)".to_owned();
        Ok(Client { agent, evidence, once: Some(once) })
    }

    /// The agent that a workload of a trust domain is, by its JWT-SVID (SPIFFE), which is made out to us.
    ///
    /// # Errors
    /// [`TokenError::Refused`] with [`Code::InvalidClient`].
    pub async fn workload<S: Store>(
        &self,
        office: &Office<S>,
        assertion: &str,
        (domain, bundle): (&TrustDomainConfig, &TrustBundle),
        named: Option<&str>,
    ) -> Result<Client, TokenError> {
        let refused = |why: &str| TokenError::but_for_the_operator(Code::InvalidClient, NOT_PROVED, why);
        let audiences = [self.settings.issuer.clone()];
        let svid = verify_jwt_svid(assertion, bundle, &audiences, LEEWAY, office.now())
            .map_err(|cause| refused(&cause.to_string()))?;
        let agent = domain.agent(svid.id());
        let agent = agent.ok_or_else(|| refused("no agent is at the path of this workload"))?;
        if self.settings.stands_for_domain(&agent) {
            return Err(refused(STANDS_FOR));
        }
        if named.is_some_and(|named| named != agent.as_str() && named != svid.id().as_str()) {
            return Err(refused("`client_id` names another than the SVID"));
        }
        let known = match office.agent(&agent).await {
            Ok(known) => known,
            Err(OfficeError::Unknown { .. }) => return Err(refused("there is no agent of this name")),
            Err(cause) => return Err(cause.into()),
        };
        if known.standing != AgentStanding::Active || known.orphaned {
            return Err(refused("the agent is not active, or nobody live answers for it"));
        }
        let evidence = format!("a JWT-SVID of {}", super::cut(svid.id().as_str()));
        Ok(Client { agent, evidence, once: (!domain.reuse).then(|| svid.once()) })
    }

    /// Keys that nobody has signed with for others.
    fn decoy(&self) -> Result<KeySet, TokenError> {
        let now = Timestamp::from_micros(i64::MAX);
        self.keys().verifying(now).ok_or_else(|| TokenError::Signing("there is no key".to_owned()))
    }
}

impl<S: Store> Office<S> {
    /// The keys by which an agent is known now; none where there is no such agent, or it has no key.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub(super) async fn agent_keys(&self, id: &AgentId) -> Result<Option<KeySet>, OfficeError> {
        let now = self.now();
        let texts: Vec<String> = match self.snapshot().agent(id) {
            Some(agent) => agent.keys.values().cloned().collect(),
            None => match registry::agent(&*self.store, id).await? {
                None => return Ok(None),
                Some((_, stored)) => stored
                    .keys
                    .into_values()
                    .filter(|key| key.expires_at.is_none_or(|until| now < until))
                    .map(|key| key.jwk)
                    .collect(),
            },
        };
        let keys: Vec<PublicKey> =
            texts.iter().filter_map(|text| PublicKey::parse(text.as_bytes()).ok()).collect();
        Ok(KeySet::of_all(keys))
    }
}
