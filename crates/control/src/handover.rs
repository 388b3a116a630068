//! Handing over tasks: a template of the bundle becomes a mandate by a recorded act.
//!
//! The terms are frozen at handover. What the files say later changes nothing for a mandate that was handed over; it takes
//! another handover. `run` hands over by itself only if no instance of the template and its slots ever existed on this data directory, else it
//! resumes the live one, with its budgets and history; an ended one is refused until a person hands over again.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use warrantor_bundle::{Loaded, MandateTemplate};
use warrantor_engine::{
    bodies::{SealError, SealKey},
    keys,
    mandates::{self, ChainError, Consent, MAX_HOPS, StoredMandate},
    registry::{self, RegistryError},
    stop::{StopError, StopFile},
};
use warrantor_model::{
    AgentStatus, Clock, Decimal, Digest, IdError, Json, MandateId, PersonId, PersonStatus, Randomness,
    Subject, TaskId, TemplateId, Timestamp,
    record::{Event, HandoverRecord, Record},
    time::NoRandomness,
};
use warrantor_store::{Commit, CommitError, Expect, Key, KeyError, ReadError, Store, Wanted};

use crate::{ATTEMPTS, bundles, commit_in_time, fresh_id, names};

/// What handing over needs.
pub struct Desk<'a, S> {
    /// The store.
    pub store: Arc<S>,
    /// The stop file.
    pub stop: &'a StopFile,
    /// The bundle.
    pub bundle: &'a Loaded,
    /// The key that wraps the persons' keys.
    pub seal: &'a SealKey,
    /// The time.
    pub clock: &'a dyn Clock,
    /// Unpredictable bytes.
    pub randomness: &'a dyn Randomness,
    /// By whose hand, as far as the system knows.
    pub evidence: String,
}

/// Why nothing was handed over or resumed.
#[derive(Debug, Error)]
pub enum HandoverError {
    /// The bundle has no such mandate.
    #[error("the bundle has no mandate {template}; it has: {known}")]
    Unknown {
        /// Which.
        template: TemplateId,
        /// Those it has.
        known: String,
    },
    /// The last instance has ended.
    #[error(
        "the mandate {template} was handed over and {why}; a person has to hand it over again: `warrantor mandate handover {template}`"
    )]
    Ended {
        /// Which.
        template: TemplateId,
        /// How it ended.
        why: String,
    },
    /// No live mandate of this task.
    #[error("the task {task} has no live mandate of {template}")]
    NoTask {
        /// Which task.
        task: TaskId,
        /// Of which template.
        template: TemplateId,
    },
    /// Somebody it needs is not there.
    #[error("{template} cannot be handed over: {why}")]
    Refused {
        /// Which.
        template: TemplateId,
        /// Why.
        why: String,
    },
    /// A chain of parents that is too long, or a circle.
    #[error("the mandates above {template} form a circle or more than {MAX_HOPS} hops")]
    Circle {
        /// Which.
        template: TemplateId,
    },
    /// Others hand over the same at the same time, again and again.
    #[error("others handed over {template} at the same time; try again")]
    Contended {
        /// Which.
        template: TemplateId,
    },
    /// The store failed.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store did not take it.
    #[error("the handover could not be recorded: {0}")]
    Commit(#[from] CommitError),
    /// A stored mandate does not read.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// Somebody of the registry does not read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The key of an earlier request was used for another one.
    #[error("this idempotency key was used for another request")]
    Reused,
    /// The bundle has a person whom the registry knows as somebody else.
    #[error(
        "{person} of people.yaml is known here as another person, of another issuer or subject: give the person in people.yaml another id"
    )]
    AnotherPerson {
        /// Who.
        person: PersonId,
    },
    /// The bundle gives somebody another id than the one they have here.
    #[error("{person} of people.yaml is known here as {known}: give the person in people.yaml that id")]
    OtherId {
        /// Who.
        person: PersonId,
        /// As whom.
        known: PersonId,
    },
    /// The stop file.
    #[error(transparent)]
    Stop(#[from] StopError),
    /// No random bytes.
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    /// The person's key could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// A name is too long for a key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// An id is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// What was to be stored has no JSON form. Our fault; nothing is stored.
    #[error("the handover cannot be written: {0}")]
    Encoding(#[from] serde_json::Error),
}

/// A mandate that can be called under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The instance.
    pub mandate: MandateId,
    /// The mandate that it is an instance of.
    pub template: TemplateId,
    /// Its task.
    pub task: TaskId,
    /// Whether it was handed over just now, rather than resumed.
    pub new: bool,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether the bundle's file says something else by now.
    pub file_differs: bool,
}

/// How somebody agreed to what is handed over.
#[derive(Debug, Clone, Default)]
pub struct Agreed {
    /// Who agreed, to which sentences.
    pub consent: Option<Consent>,
    /// When the sponsor has to look at it again.
    pub review_at: Option<Timestamp>,
    /// What makes a second request like this one be answered with the mandate of the first.
    pub once: Option<Once>,
    /// Whether a part begins a task here, because its own began in another domain.
    pub begins_task: bool,
}

/// A request that is done once, however often it arrives.
#[derive(Debug, Clone)]
pub struct Once {
    key: Key,
    request: Digest,
}

/// What was made of a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    request: Digest,
    mandate: MandateId,
}

impl Once {
    /// The request of this digest under a key of its sender's.
    ///
    /// # Errors
    /// [`KeyError`] for a sender whose name is too long.
    pub fn new(sender: &str, key: &str, request: Digest) -> Result<Self, KeyError> {
        Ok(Self { key: names::idempotency(sender, key)?, request })
    }

    fn remembered(&self, mandate: &MandateId) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&Remembered { request: self.request, mandate: mandate.clone() })
    }
}

/// An instance as the store knows it.
struct Instance {
    id: MandateId,
    mandate: StoredMandate,
    /// How it ended, if it did.
    ended: Option<String>,
}

impl<S: Store> Desk<'_, S> {
    /// What `run` does: the live instance, or the first one.
    ///
    /// # Errors
    /// [`HandoverError`]; an ended instance is one.
    pub async fn resume_or_begin(&self, template: &TemplateId) -> Result<Handed, HandoverError> {
        if !self.bundle.templates.contains_key(template)
            && let Some(handed) = self.resume_instance(template).await?
        {
            return Ok(handed);
        }
        let template = self.template(template)?;
        match self.resume_or_hand_over(template).await {
            // Another process was first: what it handed over is resumed. Or it handed over another task of the same person.
            Err(HandoverError::Contended { .. }) => self.resume_or_hand_over(template).await,
            other => other,
        }
    }

    async fn resume_or_hand_over(&self, template: &MandateTemplate) -> Result<Handed, HandoverError> {
        match self.instance(template).await? {
            None => self.hand_over_chain(template).await,
            Some(Instance { ended: Some(why), .. }) => {
                Err(HandoverError::Ended { template: template.terms.template.clone(), why })
            }
            Some(instance) => self.resumed(template, instance).await,
        }
    }

    /// The live instance that is named by its own id rather than by its template's; none when there is no such instance.
    async fn resume_instance(&self, name: &TemplateId) -> Result<Option<Handed>, HandoverError> {
        let id = MandateId::new(name.as_str())?;
        let Some(mandate) = mandates::load(&*self.store, &id).await? else { return Ok(None) };
        if let Some(why) = self.ended(&id, &mandate).await? {
            return Err(HandoverError::Ended { template: mandate.template, why });
        }
        self.begin_history(&id, &mandate).await?;
        Ok(Some(Handed {
            mandate: id,
            template: mandate.template,
            task: mandate.task,
            new: false,
            expires_at: mandate.expires_at,
            file_differs: false,
        }))
    }

    /// The live instance within a task.
    ///
    /// # Errors
    /// [`HandoverError`].
    pub async fn resume_task(&self, template: &TemplateId, task: &TaskId) -> Result<Handed, HandoverError> {
        let template = self.template(template)?;
        match self.instance(template).await? {
            Some(instance) if instance.ended.is_none() && instance.mandate.task == *task => {
                self.resumed(template, instance).await
            }
            _ => Err(HandoverError::NoTask { task: task.clone(), template: template.terms.template.clone() }),
        }
    }

    /// Hands over anew, whatever was before.
    ///
    /// # Errors
    /// [`HandoverError`].
    pub async fn hand_over(&self, template: &TemplateId) -> Result<Handed, HandoverError> {
        self.hand_over_chain(self.template(template)?).await
    }

    /// Hands on a part of a live task: the mandate narrows the live instance of its parent and belongs to that one's task.
    ///
    /// # Errors
    /// [`HandoverError`]; without a live instance of the parent nothing is handed on.
    pub async fn delegate(&self, template: &MandateTemplate) -> Result<Handed, HandoverError> {
        let refused = |why: String| HandoverError::Refused { template: template.terms.template.clone(), why };
        let Some(parent) = &template.terms.parent else {
            return Err(refused("it narrows no mandate: name one in `parent`".to_owned()));
        };
        let above = match self.instance(self.template(parent)?).await? {
            Some(Instance { ended: Some(why), .. }) => return Err(refused(format!("{parent} {why}"))),
            Some(above) => above,
            None => {
                return Err(refused(format!("{parent} was never handed over: a task begins with a person")));
            }
        };
        let (mandate, stored) = self.hand_over_one(template, Some(&(above.id, above.mandate)), None).await?;
        Ok(Handed {
            mandate,
            template: stored.template,
            task: stored.task,
            new: true,
            expires_at: stored.expires_at,
            file_differs: false,
        })
    }

    /// Hands on a part of a task whose mandate is this one, to be judged beside it at each call.
    ///
    /// # Errors
    /// [`HandoverError`]; of a mandate that has ended, or may not be handed on so far, nothing is.
    pub async fn delegate_under(
        &self,
        parent: &MandateId,
        depth: u32,
        part: &MandateTemplate,
        agreed: &Agreed,
    ) -> Result<Handed, HandoverError> {
        let refused = |why: String| HandoverError::Refused { template: part.terms.template.clone(), why };
        let Some(above) = mandates::load(&*self.store, parent).await? else {
            return Err(refused(format!("there is no mandate {parent}")));
        };
        if let Some(why) = self.ended(parent, &above).await? {
            return Err(refused(format!("{parent} {why}")));
        }
        if depth == 0 || part.terms.depth >= depth {
            return Err(refused(format!(
                "{parent} may be handed on {depth} hops further, and this is beyond"
            )));
        }
        let above = (parent.clone(), above);
        let (mandate, stored) = self.hand_over_one(part, Some(&above), Some(agreed)).await?;
        Ok(Handed {
            mandate,
            template: stored.template,
            task: stored.task,
            new: true,
            expires_at: stored.expires_at,
            file_differs: false,
        })
    }

    /// Hands over a root mandate that was filled in or written out, as somebody agreed to it.
    ///
    /// # Errors
    /// [`HandoverError`].
    pub async fn hand_over_agreed(
        &self,
        template: &MandateTemplate,
        agreed: &Agreed,
    ) -> Result<Handed, HandoverError> {
        if template.terms.parent.is_some() {
            return Err(HandoverError::Refused {
                template: template.terms.template.clone(),
                why: "it narrows another mandate, and a task begins with one that narrows none".to_owned(),
            });
        }
        let mut attempt = 0usize;
        let (mandate, stored) = loop {
            match self.hand_over_one(template, None, Some(agreed)).await {
                // Somebody else filled in the same: each of them has a mandate of their own.
                Err(HandoverError::Contended { .. }) if attempt < ATTEMPTS => {
                    attempt = attempt.saturating_add(1);
                    if let Some(handed) = self.handed_before(agreed).await? {
                        return Ok(handed);
                    }
                }
                other => break other?,
            }
        };
        Ok(Handed {
            mandate,
            template: stored.template,
            task: stored.task,
            new: true,
            expires_at: stored.expires_at,
            file_differs: false,
        })
    }

    /// What the same request was answered with before.
    ///
    /// # Errors
    /// [`HandoverError::Reused`] when the key was used for another request.
    pub async fn handed_before(&self, agreed: &Agreed) -> Result<Option<Handed>, HandoverError> {
        let Some(once) = &agreed.once else { return Ok(None) };
        let Some((_, value)) = self.entry(&once.key).await? else { return Ok(None) };
        let before: Remembered = serde_json::from_slice(&value)?;
        if before.request != once.request {
            return Err(HandoverError::Reused);
        }
        let unreadable = || ChainError::Unreadable {
            mandate: before.mandate.clone(),
            cause: "it is not in the store".into(),
        };
        let stored = mandates::load(&*self.store, &before.mandate).await?.ok_or_else(unreadable)?;
        Ok(Some(Handed {
            mandate: before.mandate,
            template: stored.template,
            task: stored.task,
            new: false,
            expires_at: stored.expires_at,
            file_differs: false,
        }))
    }

    /// Notes the bundle as one that decides here, and keeps its files.
    ///
    /// # Errors
    /// [`HandoverError`].
    pub async fn note_bundle(&self) -> Result<(), HandoverError> {
        let now = self.clock.now();
        bundles::note(&*self.store, self.bundle, &self.evidence, now, self.randomness).await
    }

    fn template(&self, template: &TemplateId) -> Result<&MandateTemplate, HandoverError> {
        self.bundle.templates.get(template).ok_or_else(|| HandoverError::Unknown {
            template: template.clone(),
            known: self.bundle.templates.keys().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        })
    }

    async fn resumed(&self, template: &MandateTemplate, instance: Instance) -> Result<Handed, HandoverError> {
        self.begin_history(&instance.id, &instance.mandate).await?;
        Ok(Handed {
            file_differs: Digest::of(template.document.canonical().as_bytes()) != instance.mandate.terms,
            mandate: instance.id,
            template: instance.mandate.template,
            task: instance.mandate.task,
            new: false,
            expires_at: instance.mandate.expires_at,
        })
    }

    /// Hands over a template, and first what it narrows where that has no live instance.
    async fn hand_over_chain(&self, template: &MandateTemplate) -> Result<Handed, HandoverError> {
        let mut line = vec![template];
        while let Some(parent) = line.last().and_then(|last| last.terms.parent.as_ref()) {
            if line.len() >= MAX_HOPS {
                return Err(HandoverError::Circle { template: template.terms.template.clone() });
            }
            line.push(self.template(parent)?);
        }
        let mut parent: Option<(MandateId, StoredMandate)> = None;
        while let Some(next) = line.pop() {
            let last = line.is_empty();
            let live = self.instance(next).await?.filter(|instance| instance.ended.is_none() && !last);
            let same_line =
                |instance: &Instance| instance.mandate.parent.as_ref() == parent.as_ref().map(|(id, _)| id);
            parent = Some(match live.filter(same_line) {
                Some(instance) => (instance.id, instance.mandate),
                None => self.hand_over_one(next, parent.as_ref(), None).await?,
            });
        }
        let (mandate, stored) =
            parent.ok_or_else(|| HandoverError::Circle { template: template.terms.template.clone() })?;
        Ok(Handed {
            mandate,
            template: stored.template,
            task: stored.task,
            new: true,
            expires_at: stored.expires_at,
            file_differs: false,
        })
    }

    async fn hand_over_one(
        &self,
        template: &MandateTemplate,
        parent: Option<&(MandateId, StoredMandate)>,
        agreed: Option<&Agreed>,
    ) -> Result<(MandateId, StoredMandate), HandoverError> {
        if !template.open.is_closed() {
            return Err(HandoverError::Refused {
                template: template.terms.template.clone(),
                why: format!("it leaves open: {}; fill it in", template.open.words()),
            });
        }
        self.may_hand_over(template).await?;
        let terms = &template.terms;
        let now = self.clock.now();
        let document = template.document.canonical();
        let own_end = terms.lifetime.end(now);
        let begins_task = agreed.is_some_and(|agreed| agreed.begins_task);
        let stored = StoredMandate {
            template: terms.template.clone(),
            parent: parent.map(|(id, _)| id.clone()),
            task: match parent {
                Some((_, parent)) if !begins_task => parent.task.clone(),
                _ => TaskId::new(fresh_id("t", now, self.randomness)?)?,
            },
            person: terms.person.clone(),
            handed_over_at: now,
            expires_at: parent.map_or(own_end, |(_, parent)| own_end.min(parent.expires_at)),
            terms: Digest::of(document.as_bytes()),
            document,
            consent: agreed.and_then(|agreed| agreed.consent.clone()),
            review_at: agreed.and_then(|agreed| agreed.review_at),
            begins_task: begins_task && parent.is_some(),
        };
        let id = MandateId::new(fresh_id("m", now, self.randomness)?)?;
        // `run` resumes by the template's name: only what the bundle says itself, and nobody has filled in or written out, has that name.
        let names_instance = agreed.is_none()
            || self
                .bundle
                .templates
                .get(&terms.template)
                .is_some_and(|own| own.document == template.document);
        let mut commit = self.handover_commit(template, &id, &stored, now, names_instance).await?;
        if let Some(once) = agreed.and_then(|agreed| agreed.once.as_ref()) {
            commit.expect.push((once.key.clone(), Expect::Absent));
            commit.puts.push((once.key.clone(), once.remembered(&id)?));
        }
        match self.commit(commit).await {
            Ok(()) => Ok((id, stored)),
            Err(CommitError::Moved { .. }) => {
                Err(HandoverError::Contended { template: terms.template.clone() })
            }
            Err(cause) => Err(cause.into()),
        }
    }

    async fn handover_commit(
        &self,
        template: &MandateTemplate,
        id: &MandateId,
        stored: &StoredMandate,
        now: Timestamp,
        names_instance: bool,
    ) -> Result<Commit, HandoverError> {
        let event = Event::Handover(HandoverRecord {
            mandate: id.to_string(),
            template: stored.template.to_string(),
            terms: stored.terms,
            task: stored.task.to_string(),
            parent: stored.parent.as_ref().map(ToString::to_string),
            person: stored.person.to_string(),
            agent: template.terms.agent.to_string(),
            expires_at: stored.expires_at,
            evidence: self.evidence.clone(),
            bundle: self.bundle.revision,
            shown: stored.consent.as_ref().map(|consent| consent.shown),
            review_at: stored.review_at,
        });
        let mut commit = Commit::new(Record::new(fresh_id("h", now, self.randomness)?, now, event));
        if names_instance {
            let instance_key = instance_key(template)?;
            let before = self.entry(&instance_key).await?.map(|entry| entry.0);
            commit.expect.push((instance_key.clone(), before.map_or(Expect::Absent, Expect::Version)));
            commit.puts.push((instance_key, id.as_str().as_bytes().to_vec()));
        }
        let agent = &template.terms.agent;
        for index in [names::mandate_of_person(&stored.person, id)?, names::mandate_of_agent(agent, id)?] {
            commit.puts.push((index, b"{}".to_vec()));
        }
        let mandate_key = keys::mandate(id)?;
        commit.expect.push((mandate_key.clone(), Expect::Absent));
        commit.puts.push((mandate_key, serde_json::to_vec(stored)?));
        let body_key = keys::body_key(&stored.person)?;
        let person_key = match self.entry(&body_key).await? {
            Some((_, wrapped)) => self.seal.unwrap_key(stored.person.as_str(), &wrapped)?,
            None => {
                let key = SealKey::generate(self.randomness)?;
                commit.expect.push((body_key.clone(), Expect::Absent));
                commit.puts.push((body_key, self.seal.wrap(self.randomness, stored.person.as_str(), &key)?));
                key
            }
        };
        if stored.parent.is_none() || stored.begins_task {
            let task_key = keys::task_key(&stored.task)?;
            let wrapped = person_key.wrap(
                self.randomness,
                stored.task.as_str(),
                &SealKey::generate(self.randomness)?,
            )?;
            commit.expect.push((task_key.clone(), Expect::Absent));
            commit.puts.push((task_key, wrapped));
        }
        Ok(commit)
    }

    /// Whether the people and the agent of the terms stand. The decision looks again at each call; this says it to the person who hands over.
    async fn may_hand_over(&self, template: &MandateTemplate) -> Result<(), HandoverError> {
        let terms = &template.terms;
        let refused = |why: String| HandoverError::Refused { template: terms.template.clone(), why };
        let snapshot = &self.bundle.snapshot;
        let mut stopped: Vec<Subject> = self.stop.read()?.into_iter().map(|stop| stop.subject).collect();
        let registered = match snapshot.agent(&terms.agent) {
            Some(_) => None,
            None => registry::agent(&*self.store, &terms.agent)
                .await?
                .map(|(_, stored)| stored.agent(&terms.agent)),
        };
        let agent = snapshot.agent(&terms.agent).or(registered.as_ref());
        let mut subjects = vec![Subject::Deployment, Subject::Agent(terms.agent.clone())];
        subjects.extend(agent.and_then(|agent| agent.blueprint.clone()).map(Subject::Agent));
        subjects.extend([&terms.person, &terms.sponsor].into_iter().flat_map(Subject::of_person));
        for subject in &subjects {
            if self.is_stopped(subject).await? {
                stopped.push(subject.clone());
            }
        }
        if let Some(subject) = subjects.iter().find(|subject| stopped.contains(subject)) {
            return Err(refused(format!("{subject} is stopped")));
        }
        if agent.is_none_or(|known| known.status != AgentStatus::Active) {
            return Err(refused(format!("agent {} is not active", terms.agent)));
        }
        for person in [&terms.person, &terms.sponsor] {
            let registered = match snapshot.person(person) {
                Some(_) => None,
                None => {
                    registry::person(&*self.store, person).await?.map(|(_, stored)| stored.person(person))
                }
            };
            let known = snapshot.person(person).or(registered.as_ref());
            if known.is_none_or(|known| known.status != PersonStatus::Active) {
                return Err(refused(format!("{person} is not active")));
            }
        }
        Ok(())
    }

    async fn is_stopped(&self, subject: &Subject) -> Result<bool, HandoverError> {
        Ok(crate::standing::stored(&*self.store, subject).await?.is_some_and(|standing| standing.stopped))
    }

    /// The last instance of a template with its slots.
    async fn instance(&self, template: &MandateTemplate) -> Result<Option<Instance>, HandoverError> {
        let Some((_, value)) = self.entry(&instance_key(template)?).await? else { return Ok(None) };
        let id = MandateId::new(String::from_utf8_lossy(&value).into_owned())?;
        let unreadable =
            || ChainError::Unreadable { mandate: id.clone(), cause: "it is not in the store".into() };
        let mandate = mandates::load(&*self.store, &id).await?.ok_or_else(unreadable)?;
        let ended = self.ended(&id, &mandate).await?;
        Ok(Some(Instance { id, mandate, ended }))
    }

    /// How an instance ended, if it did: by time, by a stop of it or of anything above it, or because its calls are used up.
    async fn ended(&self, id: &MandateId, mandate: &StoredMandate) -> Result<Option<String>, HandoverError> {
        if self.clock.now() >= mandate.expires_at {
            return Ok(Some(format!("expired at {}", mandate.expires_at)));
        }
        let mut hops = vec![(id.clone(), mandate.clone())];
        while let Some(parent) = hops.last().and_then(|(_, hop)| hop.parent.clone()) {
            match mandates::load(&*self.store, &parent).await? {
                Some(stored) if hops.len() < MAX_HOPS => hops.push((parent, stored)),
                _ => return Ok(Some(format!("narrows {parent}, which is not there"))),
            }
        }
        for (hop, stored) in &hops {
            if let Some(subject) = revoked(&*self.store, self.stop, hop, stored).await? {
                return Ok(Some(format!("was revoked ({subject})")));
            }
        }
        for (hop, stored) in &hops {
            if let Some(most) = calls(hop, stored)? {
                let key = Key::new(format!("limit/{hop}/calls"))?;
                let wanted = Wanted { counters: [key.clone()].into(), ..Wanted::default() };
                if self.store.read(&wanted).await?.counter(&key) >= Decimal::from(most) {
                    return Ok(Some(format!("has used all of its {most} calls")));
                }
            }
        }
        Ok(None)
    }

    pub(crate) async fn entry(&self, key: &Key) -> Result<Option<(u64, Vec<u8>)>, HandoverError> {
        let wanted = Wanted { entries: [key.clone()].into(), ..Wanted::default() };
        let mut view = self.store.read(&wanted).await?;
        Ok(view.entries.remove(key).map(|entry| (entry.version, entry.value)))
    }

    pub(crate) async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        commit_in_time(&*self.store, commit).await.map(drop)
    }
}

/// How many calls a mandate has, by the terms that were handed over; the file may say otherwise by now.
fn calls(id: &MandateId, stored: &StoredMandate) -> Result<Option<u64>, ChainError> {
    let unreadable = |cause: String| ChainError::Unreadable { mandate: id.clone(), cause };
    let document = Json::parse(stored.document.as_bytes()).map_err(|cause| unreadable(cause.to_string()))?;
    let terms =
        warrantor_bundle::terms_from_document(&document).map_err(|cause| unreadable(cause.to_string()))?;
    Ok(terms.limits.calls)
}

/// What revoked a mandate, if something did: a stop of itself, or of its template after it was handed over.
///
/// # Errors
/// [`HandoverError`] when standing cannot be read.
pub async fn revoked<S: Store>(
    store: &S,
    stop: &StopFile,
    id: &MandateId,
    mandate: &StoredMandate,
) -> Result<Option<Subject>, HandoverError> {
    let stops = stop.read()?;
    for subject in [Subject::Mandate(id.clone()), Subject::Template(mandate.template.clone())] {
        let stored = crate::standing::stored(store, &subject).await?.filter(|standing| standing.stopped);
        let by_file = stops.iter().filter(|stop| stop.subject == subject).map(|stop| stop.since);
        let reaches = |since| !matches!(subject, Subject::Template(_)) || mandate.handed_over_at <= since;
        if by_file.chain(stored.map(|standing| standing.since)).any(reaches) {
            return Ok(Some(subject));
        }
    }
    Ok(None)
}

/// An instance belongs to a template and the slots it was filled with.
fn instance_key(template: &MandateTemplate) -> Result<Key, KeyError> {
    let slots = Json::Object(
        template.terms.slots.iter().map(|(name, value)| (name.clone(), value.clone())).collect(),
    );
    keys::instance(&template.terms.template, &slots.digest().hex())
}
