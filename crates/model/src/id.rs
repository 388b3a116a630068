//! Identifiers: every kind its own type, each parsed or refused.
//!
//! Names that people write (agents, persons, servers, groups, mandates) hold 1 to 128 bytes of ASCII letters, digits and
//! `._-@+:`, and begin with a letter or digit. They appear in paths of keys, in Cedar entity ids and on terminals, so nothing
//! that could be read as two different things gets in.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Longest identifier, in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Nothing was given.
    #[error("{kind} is empty: give it a name")]
    Empty {
        /// What was to be named.
        kind: &'static str,
    },
    /// More than [`MAX_ID_BYTES`] bytes.
    #[error("{kind} has {bytes} bytes, more than the {MAX_ID_BYTES} that are allowed: shorten it")]
    TooLong {
        /// What was to be named.
        kind: &'static str,
        /// How long it was.
        bytes: usize,
    },
    /// A character outside the alphabet.
    #[error("{kind} has the character {found:?} at byte {at}: use ASCII letters, digits and {allowed}")]
    Character {
        /// What was to be named.
        kind: &'static str,
        /// The offending character.
        found: char,
        /// Where it stands.
        at: usize,
        /// What else is allowed beside letters and digits.
        allowed: &'static str,
    },
    /// A tool reference without its slash.
    #[error("{found:?} is no tool reference: write it as server/tool")]
    NoSlash {
        /// What was written.
        found: String,
    },
}

const NAME_EXTRA: &str = "._-@+:";
const SERVER_EXTRA: &str = "._-";
const TOOL_EXTRA: &str = "._-/";

/// What a server offers under a name, each sort in a space of names of its own.
///
/// Everything but tools carries its sort in its name, `prompt:summary`: no name of a tool has a colon, so none can be taken for another sort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Offer {
    /// A tool.
    Tool,
    /// A prompt.
    Prompt,
    /// A resource, or all resources of a template, under the manifest's name for them.
    Resource,
    /// Completions of the arguments of a prompt or a template.
    Completion,
    /// What the server may ask of the client, or tell it unasked.
    Client,
}

impl Offer {
    /// Every sort.
    pub const ALL: [Self; 5] = [Self::Tool, Self::Prompt, Self::Resource, Self::Completion, Self::Client];

    /// What names of this sort begin with.
    #[must_use]
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Tool => "",
            Self::Prompt => "prompt:",
            Self::Resource => "resource:",
            Self::Completion => "completion:",
            Self::Client => "client:",
        }
    }

    /// The sort of a name, and the name without its prefix.
    fn split(text: &str) -> (Self, &str) {
        let marked = Self::ALL.into_iter().filter(|offer| *offer != Self::Tool);
        marked
            .filter_map(|offer| Some((offer, text.strip_prefix(offer.prefix())?)))
            .next()
            .unwrap_or((Self::Tool, text))
    }
}

fn check(kind: &'static str, text: &str, allowed: &'static str) -> Result<(), IdError> {
    // A tool's name may say what sort of thing it names.
    let text = if allowed == TOOL_EXTRA { Offer::split(text).1 } else { text };
    let first = text.chars().next().ok_or(IdError::Empty { kind })?;
    if text.len() > MAX_ID_BYTES {
        return Err(IdError::TooLong { kind, bytes: text.len() });
    }
    if !(first.is_ascii_alphanumeric() || (first == '_' && allowed == TOOL_EXTRA)) {
        return Err(IdError::Character { kind, found: first, at: 0, allowed });
    }
    match text.char_indices().find(|(_, c)| !c.is_ascii_alphanumeric() && !allowed.contains(*c)) {
        Some((at, found)) => Err(IdError::Character { kind, found, at, allowed }),
        None => Ok(()),
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident, $kind:literal, $allowed:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Parses the identifier.
            ///
            /// # Errors
            /// [`IdError`] when the text is empty, too long, or has a character outside the alphabet.
            pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
                let text = text.into();
                check($kind, &text, $allowed)?;
                Ok(Self(text))
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    )*};
}

ids! {
    /// A person, by the name the bundle gives; the person's key is issuer and subject.
    PersonId, "a person's id", NAME_EXTRA;
    /// A registered agent.
    AgentId, "an agent's id", NAME_EXTRA;
    /// A group of persons.
    GroupName, "a group's name", NAME_EXTRA;
    /// A mandate as written in a bundle: a template until a person hands it over.
    TemplateId, "a mandate's id", SERVER_EXTRA;
    /// A mandate that was handed over: one instance of a template.
    MandateId, "a mandate instance's id", NAME_EXTRA;
    /// The root mandate's run.
    TaskId, "a task's id", NAME_EXTRA;
    /// One decision.
    DecisionId, "a decision's id", SERVER_EXTRA;
    /// A token that the token service made: its `jti`.
    TokenId, "a token's id", NAME_EXTRA;
    /// A tool server as the bundle names it.
    ServerName, "a server's name", SERVER_EXTRA;
    /// An enforcement point, as it names itself in records.
    EnforcementPoint, "an enforcement point's name", SERVER_EXTRA;
    /// A tool as its server names it, or something else that a server offers: see [`Offer`].
    ToolName, "a tool's name", TOOL_EXTRA;
}

impl DecisionId {
    /// The name of decisions that were not made, or for which there were no random bytes: nothing is recorded under it.
    #[must_use]
    pub fn unrecorded() -> Self {
        Self("d0".to_owned())
    }
}

impl MandateId {
    /// Whether a text is made like the ids of mandates that were handed over: `m`, 12 hexadecimal digits, a dash and 16 more.
    #[must_use]
    pub fn is_like(text: &str) -> bool {
        let hex =
            |text: &str, length: usize| text.len() == length && text.bytes().all(|b| b.is_ascii_hexdigit());
        let parts = text.strip_prefix('m').and_then(|rest| rest.split_once('-'));
        parts.is_some_and(|(time, random)| hex(time, 12) && hex(random, 16))
    }
}

impl ToolName {
    /// The name of something of this sort.
    ///
    /// # Errors
    /// [`IdError`] when the text is no name; one that says its sort itself is none.
    pub fn of(offer: Offer, text: &str) -> Result<Self, IdError> {
        if let Some(at) = text.find(':') {
            return Err(IdError::Character { kind: "a tool's name", found: ':', at, allowed: TOOL_EXTRA });
        }
        Self::new(format!("{}{text}", offer.prefix()))
    }

    /// What sort of thing it names.
    #[must_use]
    pub fn offer(&self) -> Offer {
        Offer::split(&self.0).0
    }

    /// The name without its sort.
    #[must_use]
    pub fn bare(&self) -> &str {
        Offer::split(&self.0).1
    }
}

/// A tool of a server, written `server/tool`. The first slash divides: server names have none, tool names may.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ToolRef {
    /// The server.
    pub server: ServerName,
    /// The tool of that server.
    pub tool: ToolName,
}

impl ToolRef {
    /// Puts a reference together.
    #[must_use]
    pub fn new(server: ServerName, tool: ToolName) -> Self {
        Self { server, tool }
    }
}

impl FromStr for ToolRef {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let (server, tool) =
            text.split_once('/').ok_or_else(|| IdError::NoSlash { found: text.to_owned() })?;
        Ok(Self { server: ServerName::new(server)?, tool: ToolName::new(tool)? })
    }
}

impl TryFrom<String> for ToolRef {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        text.parse()
    }
}

impl From<ToolRef> for String {
    fn from(tool: ToolRef) -> Self {
        tool.to_string()
    }
}

impl fmt::Display for ToolRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.server, self.tool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_refused_for_what_could_be_misread() {
        for bad in ["", " a", "a b", "a\n", "ä", "-a", "a/b", "a\u{200b}", "a\"b"] {
            assert!(AgentId::new(bad).is_err(), "{bad:?} was taken");
        }
        assert!(AgentId::new("a".repeat(129)).is_err());
        for good in ["invoice-bot", "alice@example.com", "9", "a".repeat(128).as_str()] {
            assert!(AgentId::new(good).is_ok(), "{good:?} was refused");
        }
    }

    #[test]
    fn a_name_says_its_sort_and_no_tool_can_pass_for_another() {
        for offer in Offer::ALL {
            let name = ToolName::of(offer, "a/b").unwrap();
            assert_eq!((name.offer(), name.bare()), (offer, "a/b"));
            assert_eq!(ToolName::new(name.as_str()).unwrap(), name);
            for forged in ["prompt:a", "client:sampling", ":a", "a:b"] {
                assert!(ToolName::of(offer, forged).is_err(), "{forged} was taken as {offer:?}");
            }
        }
        for bad in ["prompt:", "prompt:prompt:a", "other:a", "Prompt:a"] {
            assert!(ToolName::new(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn the_first_slash_of_a_tool_reference_divides() {
        let tool: ToolRef = "files/dir/read".parse().unwrap();
        assert_eq!((tool.server.as_str(), tool.tool.as_str()), ("files", "dir/read"));
        assert!("files".parse::<ToolRef>().is_err());
        assert!("/read".parse::<ToolRef>().is_err());
        assert!("files/".parse::<ToolRef>().is_err());
    }
}
