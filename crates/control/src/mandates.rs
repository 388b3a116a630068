//! Mandates as the office shows them, and how they are ended.

use std::collections::BTreeSet;

use serde::Serialize;
use warrantor_decide::{Snapshot, administration::Resource};
use warrantor_engine::{
    keys,
    mandates::{self, ChainError, StoredMandate},
};
use warrantor_model::{
    AgentId, Digest, EffectSet, Json, MandateId, MandateKind, Match, PersonId, Subject, TaskId, TemplateId,
    Terms, Timestamp,
    record::{ActRecord, Event, Record},
};
use warrantor_store::{Commit, Expect, MAX_PAGE, Store};

use crate::{
    fresh_id, names,
    office::{Authority, Office, OfficeError},
    sentences::{Section, sentences},
    standing,
};

/// How many mandates are put in the indices by one commit.
const INDEXED_AT_ONCE: usize = 400;

/// A mandate that was handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct KnownMandate {
    /// The instance.
    #[schema(value_type = String)]
    pub id: MandateId,
    /// The template it is of.
    #[schema(value_type = String)]
    pub template: TemplateId,
    /// Its task.
    #[schema(value_type = String)]
    pub task: TaskId,
    /// The mandate it narrows.
    #[schema(value_type = Option<String>)]
    pub parent: Option<MandateId>,
    /// Who handed it over.
    #[schema(value_type = String)]
    pub person: PersonId,
    /// Who answers for it.
    #[schema(value_type = String)]
    pub sponsor: PersonId,
    /// Who acts.
    #[schema(value_type = String)]
    pub agent: AgentId,
    /// For whom the agent acts.
    #[schema(value_type = String)]
    pub kind: MandateKind,
    /// Why, in a line.
    pub purpose: String,
    /// When it was handed over.
    #[schema(value_type = String)]
    pub handed_over_at: Timestamp,
    /// When it ends.
    #[schema(value_type = String)]
    pub expires_at: Timestamp,
    /// Where it stands.
    pub standing: MandateStanding,
    /// When its sponsor has to look at it again.
    #[schema(value_type = Option<String>)]
    pub review_at: Option<Timestamp>,
    /// Whether that is past.
    pub review_due: bool,
    /// Who agreed to it, and how that is known.
    pub agreed_by: Option<String>,
}

/// Where a mandate stands by itself. Whether its people and its agent stand is another question, which each call asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum MandateStanding {
    /// Calls can be made under it.
    Live,
    /// Its time is over.
    Expired,
    /// It was ended.
    Ended {
        /// When.
        #[schema(value_type = String)]
        at: Timestamp,
        /// Why, in the words of who did it.
        reason: Option<String>,
    },
}

/// What can be read of the terms of a mandate.
struct Opened {
    stored: StoredMandate,
    terms: Terms,
}

impl<S: Store> Office<S> {
    async fn opened(&self, id: &MandateId) -> Result<Opened, OfficeError> {
        let unknown = || OfficeError::Unknown { what: "mandate", name: id.to_string() };
        let stored = mandates::load(&*self.store, id).await.map_err(unreadable)?.ok_or_else(unknown)?;
        Ok(Opened { terms: terms(&stored).map_err(OfficeError::Conflict)?, stored })
    }

    /// A mandate.
    ///
    /// # Errors
    /// [`OfficeError`]; [`OfficeError::Unknown`] when there is none.
    pub async fn mandate(&self, id: &MandateId) -> Result<KnownMandate, OfficeError> {
        let Opened { stored, terms } = self.opened(id).await?;
        let now = self.now();
        let standing = match self.ended(id, &stored).await? {
            Some((at, reason)) => MandateStanding::Ended { at, reason },
            None if now >= stored.expires_at => MandateStanding::Expired,
            None => MandateStanding::Live,
        };
        Ok(KnownMandate {
            id: id.clone(),
            template: stored.template,
            task: stored.task,
            parent: stored.parent,
            person: terms.person,
            sponsor: terms.sponsor,
            agent: terms.agent,
            kind: terms.kind,
            purpose: terms.purpose,
            handed_over_at: stored.handed_over_at,
            expires_at: stored.expires_at,
            standing,
            review_at: stored.review_at,
            review_due: stored.review_at.is_some_and(|at| now >= at),
            agreed_by: stored.consent.map(|consent| consent.by),
        })
    }

    /// When and why a mandate was ended by somebody, if it was.
    async fn ended(
        &self,
        id: &MandateId,
        stored: &StoredMandate,
    ) -> Result<Option<(Timestamp, Option<String>)>, OfficeError> {
        let stops = self.stop.read()?;
        for subject in [Subject::Mandate(id.clone()), Subject::Template(stored.template.clone())] {
            let reaches = |since| !matches!(subject, Subject::Template(_)) || stored.handed_over_at <= since;
            let known = standing::stored(&*self.store, &subject).await?.filter(|standing| standing.stopped);
            if let Some(known) = known.filter(|known| reaches(known.since)) {
                return Ok(Some((known.since, known.reason)));
            }
            if let Some(stop) = stops.iter().find(|stop| stop.subject == subject && reaches(stop.since)) {
                return Ok(Some((stop.since, None)));
            }
        }
        Ok(None)
    }

    /// The document of a mandate, as it was handed over.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn mandate_document(&self, id: &MandateId) -> Result<(Json, Terms), OfficeError> {
        let Opened { stored, terms } = self.opened(id).await?;
        let document = Json::parse(stored.document.as_bytes())
            .map_err(|cause| OfficeError::Conflict(cause.to_string()))?;
        Ok((document, terms))
    }

    /// What a mandate allows, in plain sentences.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn told(&self, id: &MandateId) -> Result<Vec<Section>, OfficeError> {
        let Opened { terms, .. } = self.opened(id).await?;
        Ok(sentences(&self.snapshot(), &terms))
    }

    /// The mandates after one: all, or those of a person, or those of an agent.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn mandates(
        &self,
        of: &MandatesOf,
        after: Option<&MandateId>,
        limit: usize,
    ) -> Result<Vec<KnownMandate>, OfficeError> {
        let under = match of {
            MandatesOf::Everybody => keys::mandates()?,
            MandatesOf::Person(person) => names::mandates_of_person(person)?,
            MandatesOf::Agent(agent) => names::mandates_of_agent(agent)?,
        };
        let mut known = Vec::new();
        for id in self.ids::<MandateId>(&under, after.map(AsRef::as_ref), limit).await? {
            match self.mandate(&id).await {
                Ok(mandate) => known.push(mandate),
                // One that does not read is refused at each call; it must not hide the others.
                Err(OfficeError::Conflict(cause)) => {
                    tracing::warn!(mandate = %id, cause, "a mandate does not read and is left out of a list");
                }
                Err(cause) => return Err(cause),
            }
        }
        Ok(known)
    }

    /// The mandate as policies of administration see it.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn mandate_resource(&self, id: &MandateId) -> Result<Resource, OfficeError> {
        let Opened { terms, .. } = self.opened(id).await?;
        self.terms_resource(id.as_str(), &terms, true).await
    }

    /// Terms that are to be handed over, as policies of administration see them. Those that are written out are of no template.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn terms_resource(
        &self,
        id: &str,
        terms: &Terms,
        of_template: bool,
    ) -> Result<Resource, OfficeError> {
        let agent_sponsors = match self.agent(&terms.agent).await {
            Ok(agent) => match self.agent_resource(&agent, None).await? {
                Resource::Agent { sponsors, .. } => sponsors,
                _ => BTreeSet::new(),
            },
            // Nobody answers for an agent that is not there.
            Err(OfficeError::Unknown { .. }) => BTreeSet::new(),
            Err(cause) => return Err(cause),
        };
        let (effects, servers) = reach(&self.snapshot(), terms);
        Ok(Resource::Mandate {
            id: id.to_owned(),
            template: of_template.then(|| terms.template.clone()),
            person: terms.person.clone(),
            sponsor: terms.sponsor.clone(),
            agent: terms.agent.clone(),
            agent_sponsors,
            kind: terms.kind,
            effects,
            servers,
        })
    }

    /// Ends a mandate, or every mandate of a template that was handed over until now.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn end_mandate(
        &self,
        authority: &Authority,
        subject: &Subject,
        reason: Option<&str>,
    ) -> Result<standing::Stopped, OfficeError> {
        match subject {
            Subject::Mandate(id) => drop(self.opened(id).await?),
            Subject::Template(_) => {}
            other => return Err(OfficeError::Conflict(format!("{other} is no mandate"))),
        }
        self.stop_it(authority, subject, reason).await
    }

    /// Stops everything.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn lock_down(
        &self,
        authority: &Authority,
        reason: Option<&str>,
    ) -> Result<standing::Stopped, OfficeError> {
        self.stop_it(authority, &Subject::Deployment, reason).await
    }

    /// Lifts a lockdown.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn unlock(&self, authority: &Authority, reason: Option<&str>) -> Result<u64, OfficeError> {
        self.lift_it(authority, &Subject::Deployment, reason).await
    }

    /// Whether a lockdown is in force.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn is_locked(&self) -> Result<bool, OfficeError> {
        self.is_stopped(&Subject::Deployment).await
    }

    /// Puts the mandates of earlier versions in the indices of persons and agents, once. Gives how many.
    ///
    /// # Errors
    /// [`OfficeError`].
    pub async fn index_mandates(&self, evidence: &str) -> Result<usize, OfficeError> {
        let marker = names::mandates_indexed()?;
        if self.entry::<usize>(&marker).await?.is_some() {
            return Ok(0);
        }
        let (mut after, mut count) = (None, 0usize);
        loop {
            let page =
                self.store.scan(&keys::mandates()?, after.as_ref(), MAX_PAGE.min(INDEXED_AT_ONCE)).await?;
            let Some((last, _)) = page.last() else { break };
            after = Some(last.clone());
            let mut puts = Vec::new();
            for (key, entry) in &page {
                let id = key.as_str().rsplit_once('/').and_then(|(_, id)| MandateId::new(id).ok());
                // One that does not read is found by nobody and refused at each call.
                let Some((id, stored)) =
                    id.and_then(|id| Some((id.clone(), mandates::decode(&id, &entry.value).ok()?)))
                else {
                    continue;
                };
                puts.push((names::mandate_of_person(&stored.person, &id)?, b"{}".to_vec()));
                if let Ok(terms) = terms(&stored) {
                    puts.push((names::mandate_of_agent(&terms.agent, &id)?, b"{}".to_vec()));
                }
                count = count.saturating_add(1);
            }
            self.note(evidence, format!("{} mandates put in the indices", page.len()), Vec::new(), puts)
                .await?;
        }
        let done = vec![(marker.clone(), serde_json::to_vec(&count)?)];
        match self
            .note(evidence, "the mandates are indexed".to_owned(), vec![(marker, Expect::Absent)], done)
            .await
        {
            // Another process was first.
            Ok(()) | Err(OfficeError::Contended) => Ok(count),
            Err(cause) => Err(cause),
        }
    }

    async fn note(
        &self,
        evidence: &str,
        said: String,
        expect: Vec<(warrantor_store::Key, Expect)>,
        puts: Vec<(warrantor_store::Key, Vec<u8>)>,
    ) -> Result<(), OfficeError> {
        let now = self.now();
        let event = Event::Act(ActRecord {
            changes: vec![said],
            ..ActRecord::new("deployment:index", "host", evidence)
        });
        let mut commit = Commit::new(Record::new(fresh_id("a", now, &*self.randomness)?, now, event));
        commit.expect = expect;
        commit.puts = puts;
        self.commit(commit).await?;
        Ok(())
    }
}

/// Whose mandates are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MandatesOf {
    /// Everybody's.
    Everybody,
    /// Those that a person handed over.
    Person(PersonId),
    /// Those of an agent.
    Agent(AgentId),
}

fn unreadable(cause: ChainError) -> OfficeError {
    match cause {
        ChainError::Read(cause) => cause.into(),
        ChainError::Key(cause) => cause.into(),
        cause => OfficeError::Conflict(cause.to_string()),
    }
}

fn terms(stored: &StoredMandate) -> Result<Terms, String> {
    let document = Json::parse(stored.document.as_bytes()).map_err(|cause| cause.to_string())?;
    warrantor_bundle::terms_from_document(&document).map_err(|cause| cause.to_string())
}

/// The digest of sentences: what an agreement is bound to.
///
/// # Errors
/// [`serde_json::Error`], which sentences never give.
pub fn digest_of(told: &[Section]) -> Result<Digest, serde_json::Error> {
    Ok(Digest::of(&serde_json::to_vec(told)?))
}

/// The effects and the servers that grants reach.
fn reach(snapshot: &Snapshot, terms: &Terms) -> (EffectSet, BTreeSet<String>) {
    let (mut effects, mut servers) = (EffectSet::EMPTY, BTreeSet::new());
    for grant in &terms.grants {
        match &grant.matches {
            Match::Tool(tool) => {
                servers.insert(tool.server.to_string());
                if let Some(tool) = snapshot.tool(tool) {
                    effects = effects.union(tool.possible_effects());
                }
            }
            Match::Effects { effects: some, servers: reached, .. } => {
                servers.extend(reached.iter().map(ToString::to_string));
                effects = effects.union(*some);
            }
        }
    }
    (effects, servers)
}
