//! What is asked for, and what comes of it.

use warrantor_model::{Digest, PersonId, Timestamp};
use warrantor_tokens::{AccessToken, MandateDetails, VerifiedProof};

use super::{Arrived, Client, Kept};

/// A token that is asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// How.
    pub grant: Grant<'a>,
    /// By whom.
    pub client: Client,
    /// What it is to be bound to.
    pub proof: Option<VerifiedProof>,
    /// Where it is to be shown.
    pub audience: &'a str,
    /// Which mandate, where that is said.
    pub details: Option<MandateDetails>,
}

/// How a token is asked for.
#[derive(Debug)]
pub enum Grant<'a> {
    /// By an agent for a standing mandate (RFC 6749, section 4.4).
    ClientCredentials,
    /// By an agent that acts for somebody (RFC 8693).
    Exchange(SubjectToken<'a>),
    /// By an agent that another domain speaks for (RFC 7523, ID-JAG).
    Crossing(Box<Arrived>),
    /// By an application that somebody agreed to (RFC 6749, sections 4.1 and 6).
    Kept(Box<Kept>),
}

impl Grant<'_> {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client_credentials",
            Self::Exchange(_) => "token-exchange",
            Self::Crossing(_) => "jwt-bearer",
            Self::Kept(kept) => kept.name(),
        }
    }
}

/// What says for whom an agent wants to act.
#[derive(Debug)]
pub enum SubjectToken<'a> {
    /// A person, known by a token of the identity provider or by a session, verified.
    Person {
        /// Who.
        person: PersonId,
        /// Who may act for the person, where the token says so (`may_act`): issuer and name.
        may_act: Option<(Option<String>, String)>,
        /// When what was shown ends.
        expires_at: Timestamp,
        /// Its digest.
        shown: Digest,
    },
    /// A token of ours, of the agent that delegates; not verified yet.
    Ours(&'a str),
}

/// A token that was made, and is recorded.
#[derive(Debug)]
pub struct Made {
    /// The token itself.
    pub token: String,
    /// What it says.
    pub says: AccessToken,
    /// How many seconds it is valid for.
    pub expires_in: u64,
    /// What an application gets the next one with.
    pub refresh: Option<String>,
}
