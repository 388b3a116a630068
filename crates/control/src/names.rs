//! The names under which the office keeps state in the store, beside those of the engine, and how it writes of things in records.

use warrantor_decide::administration::Resource;
use warrantor_model::{Accountable, AgentId, Digest, MandateId, PersonId, ServerName, Timestamp};
use warrantor_store::{Key, KeyError};

/// How records name what an act is done to.
pub(crate) fn of_resource(resource: &Resource) -> String {
    match resource {
        Resource::Deployment => "deployment".to_owned(),
        Resource::Person { id, .. } => format!("person:{id}"),
        Resource::Agent { id, .. } => format!("agent:{id}"),
        Resource::Mandate { id, .. } => format!("mandate:{id}"),
        Resource::Template(template) => format!("template:{template}"),
        Resource::Server { name, .. } => format!("server:{name}"),
    }
}

/// Texts of others in keys: by their digests, so that no character of theirs and no length matters.
fn digest(parts: &[&str]) -> String {
    let parts: Vec<String> = parts.iter().map(|part| format!("{}:{part}", part.len())).collect();
    Digest::of(parts.concat().as_bytes()).hex()
}

/// Who has a subject of an issuer.
pub(crate) fn who(issuer: &str, subject: &str) -> Result<Key, KeyError> {
    Key::new(format!("who/{}", digest(&[issuer, subject])))
}

/// All persons of the registry.
pub(crate) fn people() -> Result<Key, KeyError> {
    Key::new("person")
}

/// A person's roles.
pub(crate) fn roles(person: &PersonId) -> Result<Key, KeyError> {
    Key::new(format!("roles/{person}"))
}

/// All agents of the registry.
pub(crate) fn agents() -> Result<Key, KeyError> {
    Key::new("agent")
}

/// A change of an agent that nobody has approved yet.
pub(crate) fn proposal(agent: &AgentId) -> Result<Key, KeyError> {
    Key::new(format!("proposal/{agent}"))
}

/// The agents that somebody is accountable for.
pub(crate) fn agents_of(who: &Accountable) -> Result<Key, KeyError> {
    Key::new(format!("answers/{who}"))
}

/// That somebody is accountable for an agent, or its deputy.
pub(crate) fn agent_of(who: &Accountable, agent: &AgentId) -> Result<Key, KeyError> {
    Key::new(format!("answers/{who}/{agent}"))
}

/// What a directory knows of a person.
pub(crate) fn directory_user(person: &PersonId) -> Result<Key, KeyError> {
    Key::new(format!("directory/{person}"))
}

/// All persons whom a directory knows.
pub(crate) fn directory_users() -> Result<Key, KeyError> {
    Key::new("directory")
}

/// Who of an issuer has a user name, without regard to case.
pub(crate) fn user_name(issuer: &str, name: &str) -> Result<Key, KeyError> {
    Key::new(format!("username/{}", digest(&[issuer, &name.to_lowercase()])))
}

/// Who has an id that a directory gave.
pub(crate) fn external_id(issuer: &str, id: &str) -> Result<Key, KeyError> {
    Key::new(format!("external/{}", digest(&[issuer, id])))
}

/// A group of a directory, by its id.
pub(crate) fn directory_group(id: &str) -> Result<Key, KeyError> {
    Key::new(format!("group/{id}"))
}

/// All groups of directories.
pub(crate) fn directory_groups() -> Result<Key, KeyError> {
    Key::new("group")
}

/// Which group of a directory has a name.
pub(crate) fn group_name(name: &str) -> Result<Key, KeyError> {
    Key::new(format!("groupname/{name}"))
}

/// A session, by the digest of its token.
pub(crate) fn session(token: &Digest) -> Result<Key, KeyError> {
    Key::new(format!("session/{}", token.hex()))
}

/// The sessions of a person.
pub(crate) fn sessions_of(person: &PersonId) -> Result<Key, KeyError> {
    Key::new(format!("sessions/{person}"))
}

/// That a session is a person's.
pub(crate) fn session_of(person: &PersonId, token: &Digest) -> Result<Key, KeyError> {
    Key::new(format!("sessions/{person}/{}", token.hex()))
}

/// A client's credential, by the digest of its token.
pub(crate) fn client(token: &Digest) -> Result<Key, KeyError> {
    Key::new(format!("client/{}", token.hex()))
}

/// All clients.
pub(crate) fn clients() -> Result<Key, KeyError> {
    Key::new("client")
}

/// Which credential a client has.
pub(crate) fn client_name(name: &str) -> Result<Key, KeyError> {
    Key::new(format!("clientname/{name}"))
}

/// Which agent has a key.
pub(crate) fn key_holder(thumbprint: &str) -> Result<Key, KeyError> {
    Key::new(format!("keyholder/{thumbprint}"))
}

/// The mandates that a person handed over.
pub(crate) fn mandates_of_person(person: &PersonId) -> Result<Key, KeyError> {
    Key::new(format!("mandates/person/{person}"))
}

/// That a mandate was handed over by a person.
pub(crate) fn mandate_of_person(person: &PersonId, mandate: &MandateId) -> Result<Key, KeyError> {
    Key::new(format!("mandates/person/{person}/{mandate}"))
}

/// The mandates of an agent.
pub(crate) fn mandates_of_agent(agent: &AgentId) -> Result<Key, KeyError> {
    Key::new(format!("mandates/agent/{agent}"))
}

/// That a mandate is an agent's.
pub(crate) fn mandate_of_agent(agent: &AgentId, mandate: &MandateId) -> Result<Key, KeyError> {
    Key::new(format!("mandates/agent/{agent}/{mandate}"))
}

/// That mandates of earlier versions have been put in the indices.
pub(crate) fn mandates_indexed() -> Result<Key, KeyError> {
    Key::new("indexed/mandates")
}

/// What was made of a request under a key of its sender's.
pub(crate) fn idempotency(sender: &str, key: &str) -> Result<Key, KeyError> {
    Key::new(format!("once/{}", digest(&[sender, key])))
}

/// That something that counts once was used.
pub(crate) fn used(digest: &Digest) -> Result<Key, KeyError> {
    Key::new(format!("used/{}", digest.hex()))
}

/// That something was seen that counts once until an instant. What ends in the same hour stands together, the earliest first.
pub(crate) fn replay(digest: &Digest, until: Timestamp) -> Result<Key, KeyError> {
    kept(&replay_hour(until), digest)
}

/// The same, by the hour.
pub(crate) fn kept(hour: &str, digest: &Digest) -> Result<Key, KeyError> {
    Key::new(format!("replay/{hour}/{}", digest.hex()))
}

/// Everything that was seen once.
pub(crate) fn replays() -> Result<Key, KeyError> {
    Key::new("replay")
}

/// The hour that an instant is in, so that later ones sort later.
pub(crate) fn replay_hour(at: Timestamp) -> String {
    format!("{:012}", at.as_micros().max(0) / 3_600_000_000)
}

/// The key that an id is bound to.
pub(crate) fn identity(person: &PersonId) -> Result<Key, KeyError> {
    Key::new(format!("identity/{person}"))
}

/// That everybody of a revision is bound.
pub(crate) fn bound(revision: &Digest) -> Result<Key, KeyError> {
    Key::new(format!("bound/{}", revision.hex()))
}

/// A publication, by its number.
pub(crate) fn publication(number: u64) -> Result<Key, KeyError> {
    Key::new(format!("publication/{number:012}"))
}

/// All servers of the registry.
pub(crate) fn servers() -> Result<Key, KeyError> {
    Key::new("server")
}

/// A server of the registry.
pub(crate) fn server(name: &ServerName) -> Result<Key, KeyError> {
    Key::new(format!("server/{name}"))
}

/// A manifest of a server, by its number.
pub(crate) fn manifest(server: &ServerName, number: u64) -> Result<Key, KeyError> {
    Key::new(format!("manifest/{server}/{number:012}"))
}

/// Which publication decides where.
pub(crate) fn publication_heads() -> Result<Key, KeyError> {
    Key::new("publications/heads")
}
