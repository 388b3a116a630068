//! A call as it is presented for a decision.

use crate::{Json, MandateId, ToolRef};

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
    /// The presented evidence did not verify.
    Failed {
        /// Why, for the operator.
        why: String,
    },
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
