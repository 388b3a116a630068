//! `tools/*.yaml`: our reviewed description of a tool server.

use std::{collections::BTreeMap, fmt};

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer,
    de::{self, MapAccess, Visitor},
};
use warrantor_model::{
    Digest, Effect, Failure, Kind, Path, Selector, ServerName, TextForm, ToolName, Writer, WriterRule,
};

use super::text::{DigestText, NameText, PathText, ToolText};

/// A tool server: what it offers, and what we know of it. A tool that is not described here cannot be called.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Manifest")]
pub struct ManifestFile {
    /// The server's name within the bundle.
    #[schemars(with = "NameText")]
    pub server: ServerName,
    /// The file beside this one that holds the server's `tools/list` answer, verbatim.
    pub definitions: String,
    /// The digest of all tool definitions and the instructions. What differs from it is quarantined.
    pub digest: Option<DigestPin>,
    /// The digest of the command line or URL by which the server is reached.
    #[schemars(with = "Option<DigestText>")]
    pub launch: Option<Digest>,
    /// Records that results of this server consist of, by name.
    #[serde(default)]
    pub records: BTreeMap<String, RecordEntry>,
    /// The tools, by name.
    #[schemars(with = "BTreeMap<ToolText, ToolEntry>")]
    pub tools: BTreeMap<ToolName, ToolEntry>,
    /// The prompts, by name.
    #[serde(default)]
    #[schemars(with = "BTreeMap<ToolText, OfferEntry>")]
    pub prompts: BTreeMap<ToolName, OfferEntry>,
    /// The resources, by a name of ours: one URI each, or all that fit a template.
    #[serde(default)]
    #[schemars(with = "BTreeMap<ToolText, OfferEntry>")]
    pub resources: BTreeMap<ToolName, OfferEntry>,
    /// Which arguments the server may complete: `prompt/NAME` or `resource/NAME`, of those above. The call has `argument`, `value` and `context`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<ToolText, OfferEntry>")]
    pub completions: BTreeMap<ToolName, OfferEntry>,
    /// What the server may ask of clients: `elicitation`, `sampling`, `roots`. The call is the client's answer, on its way to the server. `logging` lets
    /// its log messages through, `tasks` lets it answer with a task.
    #[serde(default)]
    #[schemars(with = "BTreeMap<ToolText, OfferEntry>")]
    pub client: BTreeMap<ToolName, OfferEntry>,
}

/// What a server offers beside tools.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Offer")]
pub struct OfferEntry {
    /// What it does: by default `read`, for answers of the client `egress`.
    #[schemars(length(min = 1))]
    pub effects: Option<Vec<Effect>>,
    /// The URI of a resource.
    pub uri: Option<String>,
    /// The template of its URIs (RFC 6570): `{name}` stands for a segment, `{+name}` for several.
    pub template: Option<String>,
    /// What is known of arguments, by path. A resource has the one argument `uri`.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, ArgumentEntry>")]
    pub arguments: BTreeMap<Path, ArgumentEntry>,
    /// Which records the result holds, by path.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, String>")]
    pub returns: BTreeMap<Path, String>,
    /// How text in the result is read.
    #[serde(default)]
    pub text: TextForm,
    /// What is known of places in the result that are no record, by path; the deepest wins.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, FieldEntry>")]
    pub outputs: BTreeMap<Path, FieldEntry>,
}

/// One digest, or one for each protocol era when the server describes itself differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DigestPin {
    /// In either era.
    One(Digest),
    /// By era.
    ByEra(DigestsByEra),
}

/// Digests by protocol era.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DigestsByEra {
    /// For connections that begin with `initialize`.
    #[schemars(with = "Option<DigestText>")]
    pub legacy: Option<Digest>,
    /// For stateless connections, from 2026-07-28 on.
    #[schemars(with = "Option<DigestText>")]
    pub modern: Option<Digest>,
}

impl DigestPin {
    /// Whether the digest is pinned, for whichever era.
    #[must_use]
    pub fn holds(&self, digest: Digest) -> bool {
        match self {
            Self::One(one) => *one == digest,
            Self::ByEra(eras) => [eras.legacy, eras.modern].contains(&Some(digest)),
        }
    }
}

impl<'de> Deserialize<'de> for DigestPin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PinVisitor;
        impl<'de> Visitor<'de> for PinVisitor {
            type Value = DigestPin;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a digest, or digests under `legacy` and `modern`")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<DigestPin, E> {
                text.parse().map(DigestPin::One).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<DigestPin, A::Error> {
                let eras = DigestsByEra::deserialize(de::value::MapAccessDeserializer::new(map))?;
                if eras.legacy.is_none() && eras.modern.is_none() {
                    return Err(de::Error::custom("pins nothing: give `legacy`, `modern` or both"));
                }
                Ok(DigestPin::ByEra(eras))
            }
        }
        deserializer.deserialize_any(PinVisitor)
    }
}

impl JsonSchema for DigestPin {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DigestPin".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let one = generator.subschema_for::<DigestText>();
        let eras = generator.subschema_for::<DigestsByEra>();
        schemars::json_schema!({ "description": "One digest, or one for each protocol era.", "anyOf": [one, eras] })
    }
}

/// A record: something with an identity that results hold, such as a payee or a transaction.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Record")]
pub struct RecordEntry {
    /// The field that tells records apart, or `@keys` for maps by name. Without it every element is a record of its own.
    pub key: Option<String>,
    /// Labels that a task takes on when it reads such a record.
    #[serde(default)]
    pub labels: Vec<String>,
    /// Fields by path. What is not listed may have been written by anyone.
    #[schemars(with = "BTreeMap<PathText, FieldEntry>")]
    pub fields: BTreeMap<Path, FieldEntry>,
}

/// What is known of a field.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Field")]
pub struct FieldEntry {
    /// What sort of value it is.
    pub kind: Option<Kind>,
    /// Who chooses the value.
    pub writer: Option<WriterEntry>,
    /// Labels that a task takes on when it reads the field.
    #[serde(default)]
    pub labels: Vec<String>,
}

/// A writer, or writers by condition: `{ "[sender=$self]": self, else: anyone }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriterEntry(pub WriterRule);

impl<'de> Deserialize<'de> for WriterEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RuleVisitor;
        impl<'de> Visitor<'de> for RuleVisitor {
            type Value = WriterEntry;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a writer (system, self, organization, anyone), or writers by selector")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<WriterEntry, E> {
                Writer::deserialize(de::value::StrDeserializer::new(word))
                    .map(|writer| WriterEntry(WriterRule::Always(writer)))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WriterEntry, A::Error> {
                let (mut when, mut otherwise) = (Vec::new(), None);
                while let Some(condition) = map.next_key::<Condition>()? {
                    match condition {
                        Condition::Else => otherwise = Some(map.next_value()?),
                        Condition::Selector(selector) => when.push((selector, map.next_value()?)),
                    }
                }
                let otherwise = otherwise.ok_or_else(|| {
                    de::Error::custom("there is no writer for the other cases: add `else: anyone`")
                })?;
                Ok(WriterEntry(WriterRule::Depends { when, otherwise }))
            }
        }
        deserializer.deserialize_any(RuleVisitor)
    }
}

enum Condition {
    Else,
    Selector(Selector),
}

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text == "else" {
            return Ok(Self::Else);
        }
        if !text.starts_with('[') {
            return Err(de::Error::custom(format!(
                "{text:?} is no condition: write a selector in brackets, such as [sender=$self], or else"
            )));
        }
        text.parse().map(Self::Selector).map_err(de::Error::custom)
    }
}

impl JsonSchema for WriterEntry {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "WriterRule".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let writer = generator.subschema_for::<Writer>();
        schemars::json_schema!({
            "description": "Who chooses the value: one writer, or writers by a selector on the record, with `else`.",
            "anyOf": [
                writer,
                {
                    "type": "object",
                    "properties": { "else": writer },
                    "patternProperties": { "^\\[.*=.*\\]$": writer },
                    "additionalProperties": false,
                    "required": ["else"]
                }
            ]
        })
    }
}

/// One tool.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tool")]
pub struct ToolEntry {
    /// What it does; never empty.
    #[schemars(length(min = 1))]
    pub effects: Vec<Effect>,
    /// What it does besides when an argument is given, by path.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, Vec<Effect>>")]
    pub effects_when: BTreeMap<Path, Vec<Effect>>,
    /// What it acts on, for policies. The server itself when nothing is said.
    pub resource: Option<ResourceEntry>,
    /// What is known of its arguments, by path.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, ArgumentEntry>")]
    pub arguments: BTreeMap<Path, ArgumentEntry>,
    /// What a failed call leaves behind. Without it, something may have happened.
    #[serde(default)]
    pub failure: Failure,
    /// Which records the result holds, by path.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, String>")]
    pub returns: BTreeMap<Path, String>,
    /// How text in the result is read.
    #[serde(default)]
    pub text: TextForm,
    /// What is known of places in the result that are no record, by path; the deepest wins.
    #[serde(default)]
    #[schemars(with = "BTreeMap<PathText, FieldEntry>")]
    pub outputs: BTreeMap<Path, FieldEntry>,
}

/// The resource of a call: a type, and the argument that holds the id.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Resource")]
pub struct ResourceEntry {
    /// The entity type in policies, such as `Account`.
    #[serde(rename = "type")]
    pub entity_type: String,
    /// The argument that holds the id.
    #[schemars(with = "PathText")]
    pub id: Path,
}

/// What is known of an argument.
#[derive(Debug, Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Argument")]
pub struct ArgumentEntry {
    /// Its value is consequential: a grant must bound it.
    #[serde(default)]
    pub sensitive: bool,
    /// What sort of value it is: the form in which it is compared.
    pub kind: Option<Kind>,
    /// It may be given even where no grant names it.
    #[serde(default)]
    pub free: bool,
    /// What an empty value is.
    #[serde(default)]
    pub empty: EmptyValue,
}

/// What an empty value (`""`, `[]`, `{}`) of an argument is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EmptyValue {
    /// The same as no value.
    #[default]
    Absent,
    /// A value that acts.
    Acts,
}
