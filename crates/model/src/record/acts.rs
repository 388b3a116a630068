//! What people, hosts and clients did beside calls: acts of administration, and tokens.

use minicbor::{Decode, Encode};
use serde::Serialize;

use crate::{Digest, Timestamp};

/// An act of administration. It holds no personal values: who somebody is stands in the registry, under the id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct ActRecord {
    /// The act, such as `agents:approve`.
    #[n(0)]
    pub act: String,
    /// What it was done to, such as `agent:invoice-bot`.
    #[n(1)]
    pub on: String,
    /// Who acted: `person:ID`, `client:NAME`, or a user of the host.
    #[n(2)]
    pub actor: String,
    /// How the actor was known.
    #[n(3)]
    pub evidence: String,
    /// The policies that permitted it, or those that forbade it.
    #[n(4)]
    pub policies: Vec<String>,
    /// Whether it was refused.
    #[n(5)]
    pub refused: bool,
    /// What changed, in words.
    #[n(6)]
    pub changes: Vec<String>,
    /// Why, in the words of who acted.
    #[n(7)]
    pub reason: Option<String>,
    /// The digest of the entry as it stands afterwards.
    #[n(8)]
    pub entry: Option<Digest>,
}

impl ActRecord {
    /// An act on the whole deployment of which there is nothing more to say.
    #[must_use]
    pub fn new(act: &str, actor: &str, evidence: &str) -> Self {
        Self {
            act: act.to_owned(),
            on: "deployment".to_owned(),
            actor: actor.to_owned(),
            evidence: evidence.to_owned(),
            policies: Vec::new(),
            refused: false,
            changes: Vec::new(),
            reason: None,
            entry: None,
        }
    }
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum ApprovalChange {
    /// Somebody said yes.
    #[n(0)]
    Approved,
    /// Somebody said no.
    #[n(1)]
    Denied,
    /// It waits no more: whoever asked took it back, or it was overtaken.
    #[n(2)]
    Withdrawn,
    /// Somebody was not let answer.
    #[n(3)]
    Refused,
}

/// An answer to a question. It holds no argument: what was put in is named by a commitment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct ApprovalRecord {
    /// The decision that asked.
    #[n(0)]
    pub question: String,
    /// What became of it.
    #[n(1)]
    pub change: ApprovalChange,
    /// Who: `person:ID`, or a user of the host.
    #[n(2)]
    pub by: String,
    /// How that is known.
    #[n(3)]
    pub evidence: String,
    /// As whom: each of those who were asked for whom this answer counts.
    #[n(4)]
    pub answers: Vec<String>,
    /// The policies that let this person answer, or that kept them from it.
    #[n(5)]
    pub policies: Vec<String>,
    /// Whether more persons have to answer.
    #[n(6)]
    pub more_wanted: bool,
    /// Salted commitment to the arguments that took the place of those that were asked about.
    #[n(7)]
    pub edited: Option<Digest>,
    /// Why, in the words of who answered.
    #[n(8)]
    pub reason: Option<String>,
    /// The bundle that was answered on.
    #[n(9)]
    pub bundle: Digest,
}

/// What became of a request for a token, or of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum TokenChange {
    /// It was made.
    #[n(0)]
    Made,
    /// None was made.
    #[n(1)]
    Refused,
    /// It counts no more, and neither does any that was made from it.
    #[n(2)]
    Revoked,
}

/// A token that was made, refused or revoked. It holds no token: what was shown is named by its digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct TokenRecord {
    /// What became of it.
    #[n(0)]
    pub change: TokenChange,
    /// Its name; none where none was made.
    #[n(1)]
    pub token: Option<String>,
    /// How it was asked for, such as `token-exchange`.
    #[n(2)]
    pub grant: String,
    /// The agent, as far as it is known; where it was refused, as far as it was claimed.
    #[n(3)]
    pub agent: Option<String>,
    /// How the agent proved who it is.
    #[n(4)]
    pub evidence: String,
    /// Whom it acts for.
    #[n(5)]
    pub person: Option<String>,
    /// The mandate.
    #[n(6)]
    pub mandate: Option<String>,
    /// Where it may be shown.
    #[n(7)]
    pub audience: Option<String>,
    /// The chain of actors, the present one first: issuer and name.
    #[n(8)]
    pub actors: Vec<String>,
    /// What it is bound to.
    #[n(9)]
    pub bound_to: Option<String>,
    /// The tokens that it was made from, the nearest first.
    #[n(10)]
    pub made_from: Vec<String>,
    /// Digests of the tokens that were shown.
    #[n(11)]
    pub shown: Vec<Digest>,
    /// When it ends.
    #[n(12)]
    pub expires_at: Option<Timestamp>,
    /// Why it was refused or revoked: a code of OAuth, and words.
    #[n(13)]
    pub reason: Option<String>,
    /// The grant by which it crossed from one domain to another, in the domain that made the grant and in the one that took it alike.
    #[n(14)]
    pub crossing: Option<CrossingRecord>,
}

/// A grant between two domains. Both record the same of it, so that either can show what the other has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct CrossingRecord {
    /// The digest of the grant, as it was sent.
    #[n(0)]
    pub grant: Digest,
    /// Who made it.
    #[n(1)]
    pub issuer: String,
    /// Its name there.
    #[n(2)]
    pub id: String,
    /// Of whom it speaks, by the name that its issuer has for them.
    #[n(3)]
    pub subject: String,
    /// To whom it was made.
    #[n(4)]
    pub audience: String,
    /// As whom the agent is known there.
    #[n(5)]
    pub client: String,
    /// The place that it was made for.
    #[n(6)]
    pub resource: Option<String>,
    /// The mandate that it is a part of, by its id at its issuer.
    #[n(7)]
    pub mandate: Option<String>,
    /// The task there.
    #[n(8)]
    pub task: Option<String>,
    /// The digest of what it hands on, in canonical form.
    #[n(9)]
    pub part: Option<Digest>,
}

impl TokenRecord {
    /// Of something of which no more is known.
    #[must_use]
    pub fn new(change: TokenChange, grant: String, evidence: String) -> Self {
        Self {
            change,
            token: None,
            grant,
            agent: None,
            evidence,
            person: None,
            mandate: None,
            audience: None,
            actors: Vec::new(),
            bound_to: None,
            made_from: Vec::new(),
            shown: Vec::new(),
            expires_at: None,
            reason: None,
            crossing: None,
        }
    }
}
