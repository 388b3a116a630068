//! Making tokens: what is asked for, what has to hold, and the one commit after which a token leaves.

use std::time::Duration;

use warrantor_engine::mandates::MAX_HOPS;
use warrantor_model::{
    AgentId, Digest, Home, MandateId, MandateKind, PersonId, Subject, Timestamp, TokenId,
    record::{Event, Record, TokenChange, TokenRecord},
};
use warrantor_store::{Commit, CommitError, Expect, Store};
use warrantor_tokens::{
    AccessToken, Actor, Actors, ActorsError, Binding, Expected, MandateDetails, Nonce, Purpose,
    VerifiedProof, claimed, verify,
};

use super::{
    Asked, Client, Code, Grant, Made, SubjectToken, TokenError, TokenService, assertion_used, crossing::Only,
    proof_used, record_of, use_up,
};
use crate::{
    agents::AgentStanding,
    fresh_id,
    mandates::{KnownMandate, MandateStanding, MandatesOf},
    office::{Office, OfficeError},
};

/// What of the grant is known once it is verified.
pub(super) struct Basis {
    /// Whom it acts for; none of a standing mandate.
    pub(super) person: Option<PersonId>,
    /// `sub`.
    pub(super) subject: String,
    pub(super) actors: Actors,
    /// The mandate that the new one has to be, or to narrow.
    pub(super) parent: Option<MandateId>,
    /// The token that it is made from, and those before.
    pub(super) made_from: Vec<TokenId>,
    /// When what it is made from ends.
    pub(super) until: Option<Timestamp>,
    pub(super) shown: Vec<Digest>,
    /// The domain that the task comes from, where it is another.
    pub(super) home: Option<Home>,
}

/// Everything that a token, or a grant for another domain, is made of, once all that was asked for holds.
pub(super) struct Ready {
    pub(super) id: TokenId,
    pub(super) basis: Basis,
    pub(super) mandate: KnownMandate,
    /// The thumbprint of the key that whoever shows it has to have.
    pub(super) key: Option<String>,
    pub(super) now: Timestamp,
    /// How many seconds it is valid for.
    pub(super) seconds: u64,
}

impl Ready {
    pub(super) fn ends(&self) -> Timestamp {
        self.now.plus(Duration::from_secs(self.seconds))
    }
}

pub(super) fn refused(code: Code, why: impl Into<String>) -> TokenError {
    TokenError::refused(code, why)
}

impl TokenService {
    /// Makes a token. It is recorded when this returns.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn make<S: Store>(&self, office: &Office<S>, asked: Asked<'_>) -> Result<Made, TokenError> {
        let target = self.target(office, asked.audience, &asked.client).await?;
        let ready = self.ready(office, &asked).await?;
        if ready.key.is_none() && !target.bearer {
            let why = "a token for this place is bound to a key: send a proof in the header `DPoP`";
            return Err(refused(Code::InvalidDpopProof, why));
        }
        let (now, seconds, expires_at) = (ready.now, ready.seconds, ready.ends());
        let Ready { id, basis, mandate, key, .. } = ready;
        let says = AccessToken {
            id,
            subject: basis.subject,
            agent: asked.client.agent.clone(),
            audience: asked.audience.to_owned(),
            made: now,
            expires_at,
            actors: basis.actors,
            details: MandateDetails {
                mandate: mandate.id.clone(),
                locations: vec![asked.audience.to_owned()],
            },
            task: Some(mandate.task.to_string()),
            bound_to: key.map(Binding::Key),
            made_from: basis.made_from,
            home: basis.home,
        };
        let keys = self.keys();
        let key = keys
            .signing(target.algorithm, now)
            .ok_or_else(|| TokenError::Signing(format!("there is no key for {}", target.algorithm.name())))?;
        let token = says
            .sign(&self.settings.issuer, key.signer())
            .map_err(|cause| TokenError::Signing(cause.to_string()))?;
        let record = TokenRecord {
            person: basis.person.map(|person| person.to_string()),
            shown: basis.shown,
            crossing: match &asked.grant {
                Grant::Crossing(arrived) => Some(arrived.record()),
                Grant::ClientCredentials | Grant::Exchange(_) | Grant::Kept(_) => None,
            },
            ..record_of(&says, TokenChange::Made, asked.grant.name(), &asked.client)
        };
        let refresh =
            self.commit(office, &asked, (&says.id, &says.made_from), record, mandate.expires_at).await?;
        Ok(Made { token, says, expires_in: seconds, refresh })
    }

    /// What is made of a request if everything in it holds now.
    pub(super) async fn ready<S: Store>(
        &self,
        office: &Office<S>,
        asked: &Asked<'_>,
    ) -> Result<Ready, TokenError> {
        let now = office.now();
        if office.is_stopped(&Subject::Deployment).await? {
            return Err(refused(Code::InvalidGrant, "everything is stopped: no token is made"));
        }
        let basis = self.basis(office, asked, now).await?;
        let mandate = self.mandate(office, asked, &basis).await?;
        live(office, &mandate).await?;
        let ends = [Some(now.plus(self.settings.lifetime)), Some(mandate.expires_at), basis.until];
        let expires_at = ends.into_iter().flatten().min().unwrap_or(now);
        // Whole seconds, as tokens tell them, and never more than there are.
        let seconds =
            u64::try_from(expires_at.as_micros().saturating_sub(now.as_micros()) / 1_000_000).unwrap_or(0);
        if seconds == 0 {
            return Err(refused(Code::InvalidGrant, "what it would be made from ends now"));
        }
        let id: TokenId = fresh_id("k", now, &*office.randomness)
            .map_err(OfficeError::from)?
            .parse()
            .map_err(|_| TokenError::Signing("its name is none".to_owned()))?;
        let key = asked.proof.as_ref().map(|proof| proof.thumbprint().to_owned());
        Ok(Ready { id, basis, mandate, key, now, seconds })
    }

    /// Records the token, unless something was shown before that counts once, or what it is made from was revoked meanwhile.
    pub(super) async fn commit<S: Store>(
        &self,
        office: &Office<S>,
        asked: &Asked<'_>,
        (id, made_from): (&TokenId, &[TokenId]),
        record: TokenRecord,
        mandate_ends: Timestamp,
    ) -> Result<Option<String>, TokenError> {
        let event = Event::Token(Box::new(record));
        let mut commit = Commit::new(Record::new(id.as_str(), office.now(), event));
        let assertion = asked.client.once.as_ref().map(|once| use_up(&mut commit, once)).transpose()?;
        let proof = asked.proof.as_ref().map(|proof| use_up(&mut commit, &proof.once())).transpose()?;
        let grant = match &asked.grant {
            Grant::Crossing(arrived) => Some(use_up(&mut commit, &arrived.once())?),
            Grant::ClientCredentials | Grant::Exchange(_) | Grant::Kept(_) => None,
        };
        let kept = match &asked.grant {
            Grant::Kept(kept) => {
                let key = asked.proof.as_ref().map(|proof| proof.thumbprint().to_owned());
                Some(kept.use_up(office, &mut commit, key, mandate_ends).await?)
            }
            Grant::ClientCredentials | Grant::Exchange(_) | Grant::Crossing(_) => None,
        };
        let (kept, refresh) = kept.unzip();
        for token in made_from {
            let subject = Subject::Token(token.clone());
            let key = warrantor_engine::keys::standing(&subject).map_err(OfficeError::from)?;
            commit.expect.push((key, Expect::Absent));
        }
        match office.commit(commit).await {
            Ok(_) => Ok(refresh),
            Err(CommitError::Moved { key, .. }) if Some(&key) == assertion.as_ref() => Err(assertion_used()),
            Err(CommitError::Moved { key, .. }) if Some(&key) == proof.as_ref() => Err(proof_used()),
            Err(CommitError::Moved { key, .. }) if kept.is_some_and(|kept| kept.contains(&key)) => {
                Err(TokenError::Contended)
            }
            Err(CommitError::Moved { key, .. }) if Some(&key) == grant.as_ref() => {
                Err(refused(Code::InvalidGrant, "the grant was used before: ask for another"))
            }
            Err(CommitError::Moved { .. }) => {
                Err(refused(Code::InvalidGrant, "a token that it would be made from was revoked"))
            }
            Err(cause) => Err(OfficeError::from(cause).into()),
        }
    }

    /// Where the token is to be shown: at a configured place, here, or at another agent that will have it exchanged.
    async fn target<S: Store>(
        &self,
        office: &Office<S>,
        audience: &str,
        client: &Client,
    ) -> Result<Target, TokenError> {
        if let Some(resource) = self.settings.resource(audience) {
            return Ok(Target { algorithm: resource.algorithm, bearer: resource.bearer });
        }
        // Whoever delegates hands a token on, which the receiver has exchanged here; it is good for nothing else.
        let own = Target { algorithm: warrantor_tokens::SigningAlgorithm::EdDsa, bearer: false };
        if audience == self.settings.issuer {
            return Ok(own);
        }
        let other: Option<AgentId> = audience.parse().ok().filter(|agent| *agent != client.agent);
        if let Some(agent) = other {
            match office.agent(&agent).await {
                Ok(_) => return Ok(own),
                Err(OfficeError::Unknown { .. }) => {}
                Err(cause) => return Err(cause.into()),
            }
        }
        Err(refused(
            Code::InvalidTarget,
            "tokens are not made for this place: see `resources` of the token service",
        ))
    }

    async fn basis<S: Store>(
        &self,
        office: &Office<S>,
        asked: &Asked<'_>,
        now: Timestamp,
    ) -> Result<Basis, TokenError> {
        let agent = &asked.client.agent;
        let actor = Actor { issuer: self.settings.issuer.clone(), subject: agent.to_string() };
        match &asked.grant {
            Grant::ClientCredentials => Ok(Basis {
                person: None,
                subject: agent.to_string(),
                actors: Actors::default(),
                parent: None,
                made_from: Vec::new(),
                until: None,
                shown: Vec::new(),
                home: None,
            }),
            Grant::Crossing(arrived) => arrived.basis(actor),
            Grant::Kept(kept) => kept.basis(actor),
            Grant::Exchange(SubjectToken::Person { person, may_act, expires_at, shown }) => {
                if let Some((issuer, name)) = may_act {
                    let is_here = issuer.as_ref().is_none_or(|issuer| *issuer == self.settings.issuer);
                    if !is_here || name != agent.as_str() {
                        let why = "the subject's token says that somebody else may act (`may_act`)";
                        return Err(refused(Code::ActorUnauthorized, why));
                    }
                }
                Ok(Basis {
                    person: Some(person.clone()),
                    subject: person.to_string(),
                    actors: Actors::default().extended(actor).map_err(chain)?,
                    parent: None,
                    made_from: Vec::new(),
                    until: Some(*expires_at),
                    shown: vec![*shown],
                    home: None,
                })
            }
            Grant::Exchange(SubjectToken::Ours(token)) => {
                let from = self.verified(token, now).map_err(|cause| {
                    TokenError::but_for_the_operator(
                        Code::InvalidRequest,
                        "the subject's token does not hold",
                        cause,
                    )
                })?;
                let is_for_us = from.audience == self.settings.issuer || from.audience == agent.as_str();
                if !is_for_us {
                    let why = "the subject's token was made for another place: a token that is exchanged is made for the token service, or for the agent that exchanges it";
                    return Err(refused(Code::InvalidRequest, why));
                }
                for id in from.lineage() {
                    if office.is_stopped(&Subject::Token(id.clone())).await? {
                        return Err(refused(
                            Code::InvalidGrant,
                            "the subject's token, or one that it was made from, was revoked",
                        ));
                    }
                }
                // Its own holder proves to have the key; another agent was given it, and is known by its own credential.
                if from.agent == *agent && !holds(&from, asked.proof.as_ref()) {
                    return Err(refused(
                        Code::InvalidDpopProof,
                        "the subject's token is bound to another key than the proof's",
                    ));
                }
                let parent = match office.mandate(&from.details.mandate).await {
                    Ok(parent) => parent,
                    Err(OfficeError::Unknown { .. }) => {
                        return Err(refused(
                            Code::InvalidGrant,
                            "the mandate of the subject's token is not known",
                        ));
                    }
                    Err(cause) => return Err(cause.into()),
                };
                let actors = match from.agent == *agent {
                    true => from.actors.clone(),
                    false => from.actors.extended(actor).map_err(chain)?,
                };
                let person = (parent.kind == MandateKind::Delegated).then(|| parent.person.clone());
                Ok(Basis {
                    person,
                    subject: from.subject.clone(),
                    actors,
                    parent: Some(parent.id),
                    made_from: from.lineage().cloned().collect(),
                    until: Some(from.expires_at),
                    shown: vec![Digest::of(token.as_bytes())],
                    home: from.home,
                })
            }
        }
    }

    /// A token of ours, whatever it was made for.
    pub(super) fn verified(&self, token: &str, now: Timestamp) -> Result<AccessToken, String> {
        let audience = claimed(token, "aud").map_err(|cause| cause.to_string())?;
        let audiences = [audience.ok_or("it has not one audience")?];
        let expected = Expected {
            issuer: &self.settings.issuer,
            audiences: &audiences,
            algorithms: &[warrantor_tokens::Algorithm::EdDSA, warrantor_tokens::Algorithm::ES256],
            purpose: Purpose::Access,
            nonce: Nonce::Absent,
            leeway: Duration::ZERO,
            max_age: None,
        };
        let keys = self.keys().verifying(now).ok_or("there is no key")?;
        let claims = verify(token, &keys, &expected, now).map_err(|cause| cause.to_string())?;
        AccessToken::read(&claims).map_err(|cause| cause.to_string())
    }

    /// The mandate that the token is to be for: the one that is named, or the only one there is.
    async fn mandate<S: Store>(
        &self,
        office: &Office<S>,
        asked: &Asked<'_>,
        basis: &Basis,
    ) -> Result<KnownMandate, TokenError> {
        let unfit = |why: &str| refused(Code::InvalidAuthorizationDetails, why);
        let agent = &asked.client.agent;
        let fits = |mandate: &KnownMandate| -> Result<(), TokenError> {
            if mandate.agent != *agent {
                // The same whether there is such a mandate or not.
                return Err(unfit("there is no such mandate of this agent"));
            }
            let is_own = basis.parent.as_ref() == Some(&mandate.id);
            match (&basis.parent, &mandate.parent) {
                (Some(_), _) if is_own => {}
                (Some(parent), Some(of)) if of == parent => {}
                (Some(_), _) => {
                    return Err(unfit("the mandate does not narrow the one of the subject's token"));
                }
                (None, Some(_)) => {
                    return Err(unfit(
                        "the mandate was delegated: exchange a token of the agent that delegated it",
                    ));
                }
                (None, None) => {}
            }
            match (&basis.person, mandate.kind) {
                (Some(person), MandateKind::Delegated) if mandate.person == *person => Ok(()),
                (Some(_), MandateKind::Delegated) => Err(unfit("there is no such mandate of this agent")),
                (None, MandateKind::Standing) => Ok(()),
                (Some(_), MandateKind::Standing) => {
                    Err(unfit("the mandate is a standing one: ask with client_credentials"))
                }
                (None, MandateKind::Delegated) => Err(refused(
                    Code::UnauthorizedClient,
                    "the agent acts for a person under this mandate: exchange the person's token",
                )),
            }
        };
        if let Some(details) = &asked.details {
            if details.locations.iter().any(|location| location != asked.audience) {
                return Err(unfit("`locations` names another place than the one that the token is for"));
            }
            let mandate = match office.mandate(&details.mandate).await {
                Ok(mandate) => mandate,
                Err(OfficeError::Unknown { .. }) => {
                    return Err(unfit("there is no such mandate of this agent"));
                }
                Err(cause) => return Err(cause.into()),
            };
            fits(&mandate)?;
            return Ok(mandate);
        }
        match office.only_live(&MandatesOf::Agent(agent.clone()), &|mandate| fits(mandate).is_ok()).await? {
            Only::This(only) => Ok(*only),
            Only::None if matches!(asked.grant, Grant::ClientCredentials) => Err(unfit(
                "the agent has no live standing mandate: for a task that a person has handed over, exchange that person's token",
            )),
            Only::None => Err(unfit("the agent has no live mandate that this could be for")),
            Only::Several => Err(unfit("the agent has several mandates that this could be for: name one")),
        }
    }
}

/// Where a token is shown, and what that asks of it.
struct Target {
    algorithm: warrantor_tokens::SigningAlgorithm,
    bearer: bool,
}

pub(super) fn chain(cause: ActorsError) -> TokenError {
    refused(Code::InvalidRequest, cause.to_string())
}

/// Whether a proof is of the key that a token is bound to.
fn holds(token: &AccessToken, proof: Option<&VerifiedProof>) -> bool {
    match (&token.bound_to, proof) {
        (None, _) => true,
        (Some(Binding::Key(thumbprint)), Some(proof)) => proof.thumbprint() == thumbprint,
        (Some(_), _) => false,
    }
}

/// Whether a mandate, every mandate above it, and everybody who answers for them stand now.
pub(super) async fn live<S: Store>(office: &Office<S>, mandate: &KnownMandate) -> Result<(), TokenError> {
    let ended = |why: String| refused(Code::InvalidGrant, why);
    let mut next = Some(mandate.clone());
    for _ in 0..MAX_HOPS {
        let Some(mandate) = next else { return Ok(()) };
        if mandate.standing != MandateStanding::Live {
            return Err(ended(format!("the mandate {} has ended", mandate.id)));
        }
        let agent = office.agent(&mandate.agent).await;
        let stands =
            |agent: &crate::agents::KnownAgent| agent.standing == AgentStanding::Active && !agent.orphaned;
        match agent {
            Ok(agent) if stands(&agent) => {}
            Ok(_) | Err(OfficeError::Unknown { .. }) => {
                return Err(ended(format!(
                    "the agent {} is not active, or nobody live answers for it",
                    mandate.agent
                )));
            }
            Err(cause) => return Err(cause.into()),
        }
        for person in [&mandate.person, &mandate.sponsor] {
            if office.actor(person).await?.is_none() {
                return Err(ended(format!(
                    "{person}, who answers for the mandate {}, is not active",
                    mandate.id
                )));
            }
        }
        next = match &mandate.parent {
            Some(parent) => Some(office.mandate(parent).await?),
            None => None,
        };
    }
    Err(ended("the chain of mandates is too long".to_owned()))
}
