//! Who and what can be stopped, and what is stopped now.

use std::{collections::BTreeSet, fmt, str::FromStr};

use crate::{AgentId, IdError, MandateId, PersonId, ReasonCode, ServerName, TemplateId, TokenId};

/// Something that can be stopped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// Everything: a lockdown.
    Deployment,
    /// One agent.
    Agent(AgentId),
    /// One person, and with the person everything the person answers for.
    Person(PersonId),
    /// One person as far as the directory goes: it says that the person is not active. Stops the same as [`Subject::Person`], but goes and comes with
    /// what the directory says, so that neither lifts what the other stopped.
    InDirectory(PersonId),
    /// One mandate that was handed over, and those below it.
    Mandate(MandateId),
    /// A mandate of the bundle, and with it every instance.
    Template(TemplateId),
    /// One tool server: it is quarantined, and nothing that it offers can be used.
    Server(ServerName),
    /// One token of the token service, and those that were made from it.
    Token(TokenId),
}

impl Subject {
    /// Why a call is refused that rests on it, once it is stopped.
    #[must_use]
    pub fn reason(&self) -> ReasonCode {
        match self {
            Self::Deployment => ReasonCode::Lockdown,
            Self::Agent(_) => ReasonCode::AgentInactive,
            Self::Person(_) | Self::InDirectory(_) => ReasonCode::PersonInactive,
            Self::Mandate(_) | Self::Template(_) => ReasonCode::MandateRevoked,
            Self::Server(_) => ReasonCode::ToolNotAvailable,
            Self::Token(_) => ReasonCode::CredentialRevoked,
        }
    }

    /// Everything whose stop stops a person.
    #[must_use]
    pub fn of_person(person: &PersonId) -> [Self; 2] {
        [Self::Person(person.clone()), Self::InDirectory(person.clone())]
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deployment => f.write_str("deployment"),
            Self::Agent(id) => write!(f, "agent:{id}"),
            Self::Person(id) => write!(f, "person:{id}"),
            Self::InDirectory(id) => write!(f, "directory:{id}"),
            Self::Mandate(id) => write!(f, "mandate:{id}"),
            Self::Template(id) => write!(f, "template:{id}"),
            Self::Server(name) => write!(f, "server:{name}"),
            Self::Token(id) => write!(f, "token:{id}"),
        }
    }
}

impl FromStr for Subject {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        match text.split_once(':') {
            Some(("agent", id)) => AgentId::new(id).map(Self::Agent),
            Some(("person", id)) => PersonId::new(id).map(Self::Person),
            Some(("directory", id)) => PersonId::new(id).map(Self::InDirectory),
            Some(("mandate", id)) => MandateId::new(id).map(Self::Mandate),
            Some(("template", id)) => TemplateId::new(id).map(Self::Template),
            Some(("server", name)) => ServerName::new(name).map(Self::Server),
            Some(("token", id)) => TokenId::new(id).map(Self::Token),
            _ if text == "deployment" => Ok(Self::Deployment),
            _ => Err(IdError::Empty {
                kind: "a subject (agent:, person:, mandate:, template:, server:, token: or deployment)",
            }),
        }
    }
}

/// What is stopped.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    stopped: BTreeSet<Subject>,
}

impl Standing {
    /// What is stopped.
    #[must_use]
    pub fn new(stopped: BTreeSet<Subject>) -> Self {
        Self { stopped }
    }

    /// Whether this very subject is stopped. A lockdown is a subject of its own, [`Subject::Deployment`], which every decision asks for.
    #[must_use]
    pub fn is_stopped(&self, subject: &Subject) -> bool {
        self.stopped.contains(subject)
    }

    /// What is stopped, in order.
    pub fn stopped(&self) -> impl Iterator<Item = &Subject> {
        self.stopped.iter()
    }

    /// With what another source says is stopped as well.
    #[must_use]
    pub fn and(mut self, other: impl IntoIterator<Item = Subject>) -> Self {
        self.stopped.extend(other);
        self
    }
}
