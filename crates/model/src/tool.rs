//! What agents act through: tools, their effects, and the reviewed description of a tool server.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{Digest, Json, Path, Selector, ServerName, ToolName};

/// What a tool does to the world.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// Looks.
    Read,
    /// Changes something.
    Write,
    /// Data leaves.
    Egress,
    /// Lets someone in.
    Share,
    /// Removes something for good.
    Destroy,
    /// Moves money.
    Pay,
    /// Touches a secret or who may sign in.
    Credential,
    /// Runs code.
    Execute,
}

impl Effect {
    /// All effects.
    pub const ALL: [Self; 8] = [
        Self::Read,
        Self::Write,
        Self::Egress,
        Self::Share,
        Self::Destroy,
        Self::Pay,
        Self::Credential,
        Self::Execute,
    ];

    /// The word used in files, policies and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Egress => "egress",
            Self::Share => "share",
            Self::Destroy => "destroy",
            Self::Pay => "pay",
            Self::Credential => "credential",
            Self::Execute => "execute",
        }
    }

    fn bit(self) -> u16 {
        match self {
            Self::Read => 1,
            Self::Write => 1 << 1,
            Self::Egress => 1 << 2,
            Self::Share => 1 << 3,
            Self::Destroy => 1 << 4,
            Self::Pay => 1 << 5,
            Self::Credential => 1 << 6,
            Self::Execute => 1 << 7,
        }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of effects.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct EffectSet(u16);

impl EffectSet {
    /// No effect. No tool has this set; it is where a union starts.
    pub const EMPTY: Self = Self(0);

    /// The set with this effect added.
    #[must_use]
    pub fn with(self, effect: Effect) -> Self {
        Self(self.0 | effect.bit())
    }

    /// The union.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the effect is in the set.
    #[must_use]
    pub fn contains(self, effect: Effect) -> bool {
        self.0 & effect.bit() != 0
    }

    /// Whether every effect of this set is in the other.
    #[must_use]
    pub fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this is a pure read.
    #[must_use]
    pub fn is_pure_read(self) -> bool {
        self == Self::EMPTY.with(Effect::Read)
    }

    /// The effects in their fixed order.
    pub fn iter(self) -> impl Iterator<Item = Effect> {
        Effect::ALL.into_iter().filter(move |effect| self.contains(*effect))
    }
}

impl FromIterator<Effect> for EffectSet {
    fn from_iter<I: IntoIterator<Item = Effect>>(effects: I) -> Self {
        effects.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl fmt::Display for EffectSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.iter().map(Effect::as_str).collect();
        f.write_str(&words.join(", "))
    }
}

impl fmt::Debug for EffectSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl Serialize for EffectSet {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de> Deserialize<'de> for EffectSet {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Effect>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// What sort of value an argument is: it sets the canonical form in which strings are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Free text.
    #[default]
    Text,
    /// An identifier, compared as written.
    Id,
    /// A mail address.
    Mail,
    /// A URL.
    Url,
    /// A host name.
    Host,
    /// A path of a file system or store.
    Path,
    /// A bank or similar account: upper case, separators dropped.
    Account,
    /// A handle: a leading `@` or `#` dropped, case kept.
    Handle,
    /// A telephone number.
    Phone,
    /// A calendar date.
    Date,
    /// An instant or a local date and time.
    Time,
    /// A number.
    Number,
}

/// What the manifest says of one argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ArgumentRule {
    /// Its value is consequential: it must be bounded or traced.
    pub sensitive: bool,
    /// Its kind, when the manifest names one.
    pub kind: Option<Kind>,
    /// It may be given even where no grant names it.
    pub free: bool,
    /// An empty value acts, and so is not absent.
    pub empty_acts: bool,
}

/// What a failed call leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Failure {
    /// Unknown: something may have happened. What was charged stays charged.
    #[default]
    Unknown,
    /// Nothing: a reported failure had no effect, so what was charged is given back.
    Atomic,
}

/// Who chooses a value that a result holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Writer {
    /// Anyone.
    Anyone,
    /// People of the organization.
    Organization,
    /// The person acted for.
    #[serde(rename = "self")]
    Own,
    /// The server itself.
    System,
}

impl Writer {
    /// The word used in files, policies and records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Anyone => "anyone",
            Self::Organization => "organization",
            Self::Own => "self",
            Self::System => "system",
        }
    }
}

/// A writer, or writers by a selector on the record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WriterRule {
    /// Always the same.
    Always(Writer),
    /// The first whose selector holds.
    Depends {
        /// In the order written.
        when: Vec<(Selector, Writer)>,
        /// When none holds.
        otherwise: Writer,
    },
}

impl Default for WriterRule {
    fn default() -> Self {
        Self::Always(Writer::Anyone)
    }
}

/// What is known of a place in a result.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FieldRule {
    /// What sort of value it is.
    pub kind: Option<Kind>,
    /// Who chooses it.
    pub writer: WriterRule,
    /// Labels that a task takes on by reading it.
    pub labels: BTreeSet<String>,
}

/// What tells records of a type apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordKey {
    /// A field.
    Field(String),
    /// The name under which it stands in a map.
    Name,
}

/// A type of records that results hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordType {
    /// What tells them apart; without it each is a record of its own.
    pub key: Option<RecordKey>,
    /// Labels that a task takes on by reading one.
    pub labels: BTreeSet<String>,
    /// Fields by path. What is not listed anyone may have written.
    pub fields: BTreeMap<Path, FieldRule>,
}

/// How text in a result is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TextForm {
    /// As text.
    #[default]
    Plain,
    /// As JSON; what does not parse may have been written by anyone.
    Json,
}

/// The resource a call acts on, for policies: a type and the argument that holds its id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceRule {
    /// The Cedar entity type.
    pub entity_type: String,
    /// The argument that holds the id.
    pub id: Path,
}

/// One tool of a server, reviewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tool {
    /// Its name at its server.
    pub name: ToolName,
    /// The digest of its definition as pinned.
    pub definition: Digest,
    /// The JSON Schema of its arguments as pinned.
    pub input_schema: Json,
    /// The JSON Schema of its structured results as pinned, if it declares one.
    pub output_schema: Option<Json>,
    /// What it does, never empty.
    pub effects: EffectSet,
    /// What it does besides when an argument is present.
    pub effects_when: Vec<(Path, EffectSet)>,
    /// What it acts on; the server itself when nothing is said.
    pub resource: Option<ResourceRule>,
    /// What is known of its arguments, by path.
    pub arguments: BTreeMap<Path, ArgumentRule>,
    /// What a failed call leaves behind.
    pub failure: Failure,
    /// Which types of records the result holds, by path.
    pub returns: Vec<(Path, String)>,
    /// How text in the result is read.
    pub text: TextForm,
    /// What is known of places in the result that are no record, by path.
    pub outputs: BTreeMap<Path, FieldRule>,
}

impl Tool {
    /// Every effect the tool can have, whatever its arguments.
    #[must_use]
    pub fn possible_effects(&self) -> EffectSet {
        self.effects_when.iter().fold(self.effects, |all, (_, more)| all.union(*more))
    }
}

/// Which URIs a resource has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UriRule {
    /// This one.
    Exact(String),
    /// Every one that fits this template of RFC 6570: `{name}` within a segment, `{+name}` over several.
    Template(String),
}

/// Our reviewed description of a tool server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The server's name.
    pub server: ServerName,
    /// The types of records that its results hold, by name.
    pub records: BTreeMap<String, RecordType>,
    /// What it offers, by name: tools, prompts, resources, completions, and what it may ask of clients. What is not here cannot be used.
    pub tools: BTreeMap<ToolName, Tool>,
    /// Which URIs its resources have, each by the name under `tools`.
    pub uris: BTreeMap<ToolName, UriRule>,
    /// The digest of everything that the server said of itself, as it was reviewed.
    pub definitions: Digest,
    /// Definitions of listed resources and templates as pinned, by URI or template.
    pub listed: BTreeMap<String, Digest>,
    /// The server's instructions as pinned; `None` withholds whatever it sends.
    pub instructions: Option<String>,
    /// The digest of command line or URL, when pinned.
    pub launch: Option<Digest>,
}
