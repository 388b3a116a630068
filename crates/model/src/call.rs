//! A call as it is presented for a decision.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::{Json, MandateId, TokenId, ToolRef};

/// The evidence of layer 1: who presents the call, verified, or why that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// The operating system says which local user runs the enforcement point.
    LocalUser {
        /// The numeric user id.
        uid: u32,
        /// The name, when the system knows one.
        name: Option<String>,
    },
    /// A bearer token that was configured for one agent and certain mandates, the call's among them.
    Token {
        /// The token's name; never the token.
        name: String,
    },
    /// An access token that was verified, for the enforcement point that it was shown to.
    AccessToken(Box<TokenEvidence>),
    /// The presented evidence did not verify.
    Failed {
        /// Why, for the operator.
        why: String,
    },
}

impl Evidence {
    /// The tokens that it rests on: none of them may have been revoked.
    #[must_use]
    pub fn tokens(&self) -> &[TokenId] {
        match self {
            Self::AccessToken(token) => &token.tokens,
            Self::LocalUser { .. } | Self::Token { .. } | Self::Failed { .. } => &[],
        }
    }
}

/// A verified access token. Its claims are facts that policies may read; by itself none of them lets a call pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenEvidence {
    /// Who made it.
    pub issuer: String,
    /// How records name it; never the token.
    pub name: String,
    /// Of a token of the token service itself and those that it was made from; empty for a token of somebody else.
    pub tokens: Vec<TokenId>,
    /// Whom it speaks of.
    pub subject: String,
    /// The client that it was made for.
    pub client: String,
    /// Its scopes.
    pub scopes: BTreeSet<String>,
    /// Whether whoever presents it has proved to have the key that it is bound to.
    pub bound: bool,
    /// The domain that the task comes from, where it is another.
    pub home: Option<Home>,
}

/// Where a task comes from that crossed from another domain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Home {
    /// The issuer of that domain's tokens.
    pub issuer: String,
    /// Who answers for the task there, by the name that it has for them.
    pub subject: String,
}

/// What the enforcement point knows of the tool's present definition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Definition {
    /// The server offers the tool exactly as pinned.
    AsPinned,
    /// The server's definition differs from the pin: quarantined.
    Changed,
    /// The server does not offer the tool, or has not been asked yet.
    NotSeen,
}

/// One call: a tool and its full arguments under a mandate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The mandate it is made under: the last hop of the chain.
    pub mandate: MandateId,
    /// The tool.
    pub tool: ToolRef,
    /// The full arguments; an object. A call without arguments has an empty one.
    pub arguments: Json,
    /// Layer 1: who presents it.
    pub evidence: Evidence,
    /// What is known of the tool's definition now.
    pub definition: Definition,
    /// The name of the enforcement point.
    pub enforcement_point: String,
}
