//! Tasks that cross from one domain to another: the grant that is made at home, and what is made of one that arrives.
//!
//! A grant says who acts, for whom and what of their mandate is handed on. The domain that takes it believes what its registry says this domain may assert, and
//! makes a token under a mandate of its own. Both sides record the same of a grant ([`CrossingRecord`]), by which either can show what the other has.

use std::time::Duration;

use serde_json::{Map, Value};
use warrantor_bundle::serve::{Accepts, DomainConfig, Said};
use warrantor_model::{
    AgentId, Digest, EffectSet, Home, Json, MandateId, MandateKind, PersonId, ServerName, Subject, Timestamp,
    ToolRef,
    record::{CrossingRecord, TokenChange, TokenRecord},
};
use warrantor_store::{MAX_PAGE, Store};
use warrantor_tokens::{Actor, Crossing, Once, Part, VerifiedProof, signed_digest};

use super::{
    Asked, Client, Code, LEEWAY, TokenError, TokenService,
    making::{Basis, Ready, chain, refused},
};
use crate::{
    mandates::{KnownMandate, MandateStanding, MandatesOf},
    office::{Office, OfficeError},
    parts,
};

/// Most bytes of a grant. It goes through forms and headers of others, and through their bounds.
const MAX_GRANT: usize = 12 << 10;
/// How long a grant may be valid: it counts once, and is remembered for as long.
const LONGEST: Duration = Duration::from_secs(60 * 60);

/// A grant that was made for another domain, and is recorded.
#[derive(Debug)]
pub struct Given {
    /// The grant itself.
    pub grant: String,
    /// What it says.
    pub says: Crossing,
    /// How many seconds it is valid for.
    pub expires_in: u64,
}

/// A grant of another domain that holds, and may be for this. There is no way to one but [`TokenService::arrived`].
#[derive(Debug, Clone)]
pub struct Arrived {
    says: Crossing,
    digest: Digest,
    acts_for: Option<For>,
}

/// For whom a token is made by a grant of another domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum For {
    /// For a person who is known here.
    Person(PersonId),
    /// For whoever handed a task to the agent that stands for the domain: this mandate is that part of it.
    Part {
        /// The part.
        mandate: MandateId,
        /// What it narrows.
        parent: MandateId,
        /// The person it acts for; none of a standing mandate.
        person: Option<PersonId>,
    },
}

/// What is recorded of a grant, by whoever made it as by whoever takes it. `grant` is the digest of what was signed.
#[must_use]
pub fn receipt(says: &Crossing, grant: Digest) -> CrossingRecord {
    let part = says.part.as_ref();
    CrossingRecord {
        grant,
        issuer: says.issuer.clone(),
        id: says.id.clone(),
        subject: says.subject.clone(),
        audience: says.audience.clone(),
        client: says.client.clone(),
        resource: says.resource.clone(),
        mandate: part.map(|part| part.mandate.clone()),
        task: says.task.clone(),
        part: part.map(|part| Json::from_value(&part.terms.clone().into()).digest()),
    }
}

impl Arrived {
    /// What it says.
    #[must_use]
    pub fn says(&self) -> &Crossing {
        &self.says
    }

    /// What is recorded of it, here as at home.
    #[must_use]
    pub fn record(&self) -> CrossingRecord {
        receipt(&self.says, self.digest)
    }

    /// For whom a token is made by it.
    #[must_use]
    pub fn acting_for(self, whom: For) -> Self {
        Self { acts_for: Some(whom), ..self }
    }

    pub(super) fn once(&self) -> Once {
        self.says.once(LEEWAY)
    }

    pub(super) fn basis(&self, actor: Actor) -> Result<Basis, TokenError> {
        let agent = actor.subject.clone();
        let actors = self.says.actors.extended(actor).map_err(chain)?;
        let (person, parent) = match &self.acts_for {
            Some(For::Person(person)) => (Some(person.clone()), None),
            Some(For::Part { parent, person, .. }) => (person.clone(), Some(parent.clone())),
            None => return Err(refused(Code::InvalidGrant, "the grant speaks of nobody who is known here")),
        };
        Ok(Basis {
            subject: person.as_ref().map_or(agent, ToString::to_string),
            person,
            actors,
            parent,
            made_from: Vec::new(),
            until: Some(self.says.expires_at),
            shown: vec![self.digest],
            home: Some(Home { issuer: self.says.issuer.clone(), subject: self.says.subject.clone() }),
        })
    }
}

impl TokenService {
    /// Makes a grant for a place of another domain, which is the audience that was asked for. It is recorded when this returns.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn give<S: Store>(
        &self,
        office: &Office<S>,
        asked: Asked<'_>,
        domain: &str,
    ) -> Result<Given, TokenError> {
        let unknown =
            || refused(Code::InvalidTarget, "no grants are made for this domain, or not for this place");
        let gives =
            self.settings.domain(domain).and_then(|domain| domain.gives.as_ref()).ok_or_else(unknown)?;
        if !gives.is_for(asked.audience) {
            return Err(unknown());
        }
        let client = gives.clients.get(&asked.client.agent).ok_or_else(|| {
            refused(Code::UnauthorizedClient, "the agent is not known in this domain: see its `clients`")
        })?;
        if office.is_stopped(&Subject::Server(gives.server.clone())).await? {
            return Err(refused(
                Code::InvalidGrant,
                format!("{} is stopped here: no grant is made", gives.server),
            ));
        }
        if asked.proof.is_none() {
            let why = "a grant is bound to a key: send a proof in the header `DPoP`";
            return Err(refused(Code::InvalidDpopProof, why));
        }
        let ready = self.ready(office, &asked).await?;
        // Limits of the mandates above count over everything below them, and nobody there could count that.
        if ready.mandate.parent.is_some() {
            let why = "the mandate was handed on: a grant says a whole mandate, so a task crosses before it is divided";
            return Err(refused(Code::InvalidAuthorizationDetails, why));
        }
        let mut terms = office.told_elsewhere(&ready.mandate, &gives.server).await?.ok_or_else(|| {
            let why =
                format!("the mandate grants nothing at {} that could be judged elsewhere", gives.server);
            refused(Code::InvalidAuthorizationDetails, why)
        })?;
        terms.insert("expires_at".to_owned(), ready.mandate.expires_at.to_string().into());
        let (now, seconds, expires_at) = (ready.now, ready.seconds, ready.ends());
        let Ready { id, basis, mandate, key, .. } = ready;
        let says = Crossing {
            id: id.to_string(),
            issuer: self.settings.issuer.clone(),
            subject: basis.subject,
            audience: domain.to_owned(),
            client: client.clone(),
            resource: Some(asked.audience.to_owned()),
            made: now,
            expires_at,
            actors: basis.actors,
            task: Some(mandate.task.to_string()),
            bound_to: key,
            part: Some(Part { mandate: mandate.id.to_string(), location: asked.audience.to_owned(), terms }),
        };
        let keys = self.keys();
        let key = keys
            .signing(gives.algorithm, now)
            .ok_or_else(|| TokenError::Signing(format!("there is no key for {}", gives.algorithm.name())))?;
        let grant = says.sign(key.signer()).map_err(|cause| TokenError::Signing(cause.to_string()))?;
        if grant.len() > MAX_GRANT {
            let why =
                "what the mandate grants there is too long to be said: hand over a mandate for it alone";
            return Err(refused(Code::InvalidAuthorizationDetails, why));
        }
        let actors = says.actors.list().iter();
        let record = TokenRecord {
            token: Some(says.id.clone()),
            agent: Some(asked.client.agent.to_string()),
            person: basis.person.map(|person| person.to_string()),
            mandate: Some(mandate.id.to_string()),
            audience: Some(domain.to_owned()),
            actors: actors.map(|actor| format!("{} {}", actor.issuer, actor.subject)).collect(),
            bound_to: says.bound_to.as_ref().map(|thumbprint| format!("key {thumbprint}")),
            made_from: basis.made_from.iter().map(ToString::to_string).collect(),
            shown: basis.shown,
            expires_at: Some(expires_at),
            crossing: Some(receipt(&says, signed_digest(&grant))),
            ..TokenRecord::new(
                TokenChange::Made,
                "identity-assertion".to_owned(),
                asked.client.evidence.clone(),
            )
        };
        self.commit(office, &asked, (&id, &basis.made_from), record, expires_at).await?;
        Ok(Given { grant, says, expires_in: seconds })
    }

    /// The domain whose grants are taken, by the issuer that one names, and what it may say.
    ///
    /// # Errors
    /// [`TokenError::Refused`] for any other.
    pub fn accepted(&self, issuer: &str) -> Result<(&DomainConfig, &Accepts), TokenError> {
        let domain = self.settings.domain(issuer);
        domain.and_then(|domain| Some((domain, domain.accepts.as_ref()?))).ok_or_else(|| {
            refused(Code::InvalidGrant, "grants of this issuer are not taken here: see `domains`")
        })
    }

    /// A verified grant, if this client may redeem it for this place now.
    ///
    /// # Errors
    /// [`TokenError::Refused`].
    pub fn arrived(
        &self,
        (says, digest): (Crossing, Digest),
        client: &Client,
        place: Option<&str>,
        proof: Option<&VerifiedProof>,
        now: Timestamp,
    ) -> Result<Arrived, TokenError> {
        let unfit = |why: String| refused(Code::InvalidGrant, why);
        let (domain, accepts) = self.accepted(&says.issuer)?;
        if says.client != client.agent.as_str() {
            return Err(unfit("the grant was made for another client".to_owned()));
        }
        if !accepts.clients.contains(&client.agent) {
            return Err(unfit(
                "grants of this domain are not taken for this client: see its `clients`".to_owned(),
            ));
        }
        if says.expires_at > now.plus(LONGEST) {
            return Err(unfit("the grant lasts longer than a grant may".to_owned()));
        }
        let Some(resource) = says.resource.as_deref() else {
            return Err(unfit("the grant does not say for which place it is (`resource`)".to_owned()));
        };
        let is_ours = self.settings.resource(resource).is_some() && accepts.is_for(resource);
        if !is_ours || place.is_some_and(|place| place != resource) {
            return Err(refused(Code::InvalidTarget, "the grant is for another place"));
        }
        if says.bound_to.is_some() && says.bound_to.as_deref() != proof.map(VerifiedProof::thumbprint) {
            return Err(unfit("the grant is bound to another key than the proof's".to_owned()));
        }
        let actors = says.actors.list();
        if actors.len() > accepts.max_actors {
            let why = format!("the chain has more than {} actors", accepts.max_actors);
            return Err(unfit(why));
        }
        let may_speak =
            |actor: &&Actor| actor.issuer == domain.issuer || accepts.through.contains(&actor.issuer);
        if let Some(other) = actors.iter().find(|actor| !may_speak(actor)) {
            let why = format!(
                "the domain may not speak of an actor of {}: see `through`",
                super::cut(&other.issuer)
            );
            return Err(unfit(why));
        }
        Ok(Arrived { says, digest, acts_for: None })
    }

    /// What a grant hands on, as a mandate here would say it.
    ///
    /// # Errors
    /// [`TokenError::Refused`] where it hands nothing on that could be understood here.
    pub fn part_of(&self, arrived: &Arrived) -> Result<(AgentId, Map<String, Value>), TokenError> {
        let unfit = |why: &str| refused(Code::InvalidAuthorizationDetails, why);
        let (_, accepts) = self.accepted(&arrived.says.issuer)?;
        let Said::Parts { agent, server } = &accepts.said else {
            return Err(unfit("this domain speaks of people here: its grants hand no part of a mandate on"));
        };
        let part = arrived.says.part.as_ref().ok_or_else(|| {
            unfit("the grant hands no part of a mandate on, and this domain's have to (`authorization_details`)")
        })?;
        if arrived.says.resource.as_deref() != Some(part.location.as_str()) {
            return Err(unfit("the part is for another place than the grant"));
        }
        let terms = parts::taken(&part.terms, server)
            .ok_or_else(|| unfit("the part says more than could be understood here"))?;
        Ok((agent.clone(), terms))
    }
}

impl<S: Store> Office<S> {
    /// What of a mandate is said to the domain in whose place a server stands here: no more than its agent may do at all.
    async fn told_elsewhere(
        &self,
        mandate: &KnownMandate,
        server: &ServerName,
    ) -> Result<Option<Map<String, Value>>, TokenError> {
        let (document, _) = self.mandate_document(&mandate.id).await?;
        let agent = self.agent(&mandate.agent).await?;
        if !agent.servers.contains(server) {
            return Ok(None);
        }
        let snapshot = self.snapshot();
        let is_within = |effects: EffectSet| effects.iter().all(|effect| agent.effects.contains(&effect));
        let may = |tool: Option<&str>, grant: &Map<String, Value>| match tool {
            Some(tool) => {
                let tool = format!("{server}/{tool}").parse::<ToolRef>().ok();
                tool.and_then(|tool| snapshot.tool(&tool))
                    .is_some_and(|tool| is_within(tool.possible_effects()))
            }
            None => {
                let effects = grant.get("effects").and_then(Value::as_array);
                effects.is_none_or(|effects| {
                    let known = agent.effects.iter().map(|effect| effect.as_str()).collect::<Vec<_>>();
                    effects.iter().all(|effect| effect.as_str().is_some_and(|effect| known.contains(&effect)))
                })
            }
        };
        Ok(parts::told(&document, server, &may))
    }

    /// The mandate of an agent that stands for a domain: the only one of its that is live.
    ///
    /// # Errors
    /// [`TokenError::Refused`] where there is none, or more than one.
    pub async fn mandate_for_domain(&self, agent: &AgentId) -> Result<KnownMandate, TokenError> {
        let roots = |mandate: &KnownMandate| mandate.parent.is_none();
        match self.only_live(&MandatesOf::Agent(agent.clone()), &roots).await? {
            Only::This(only) => Ok(*only),
            Only::None => Err(refused(Code::InvalidGrant, format!("nothing is handed to {agent} here now"))),
            Only::Several => {
                let why = format!("several mandates of {agent} are live here: end all but one");
                Err(refused(Code::InvalidGrant, why))
            }
        }
    }
}

/// How many there are.
pub(super) enum Only {
    /// None.
    None,
    /// This one alone.
    This(Box<KnownMandate>),
    /// More than one.
    Several,
}

impl<S: Store> Office<S> {
    /// The only live mandate that fits, wherever in the list it stands.
    pub(super) async fn only_live(
        &self,
        of: &MandatesOf,
        fits: &(dyn Fn(&KnownMandate) -> bool + Sync),
    ) -> Result<Only, OfficeError> {
        let (mut found, mut after) = (None, None);
        loop {
            let page = self.mandates(of, after.as_ref(), MAX_PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(found.map_or(Only::None, |only| Only::This(Box::new(only))));
            };
            after = Some(last.id.clone());
            for mandate in page {
                if mandate.standing != MandateStanding::Live || !fits(&mandate) {
                    continue;
                }
                if found.replace(mandate).is_some() {
                    return Ok(Only::Several);
                }
            }
        }
    }
}

impl For {
    /// For whoever handed over what this part narrows.
    #[must_use]
    pub fn part(mandate: MandateId, above: &KnownMandate) -> Self {
        let person = (above.kind == MandateKind::Delegated).then(|| above.person.clone());
        Self::Part { mandate, parent: above.id.clone(), person }
    }
}
