//! What a server offers beside tools, as calls that are decided like those of tools.

use std::collections::BTreeMap;

use warrantor_model::{
    ArgumentRule, Digest, Effect, EffectSet, Failure, Json, Offer, Path, Tool, ToolName, UriRule,
};

use crate::{
    definitions::Definitions,
    doc::Doc,
    files::manifest::{ManifestFile, OfferEntry},
    manifest,
    read::nearest,
    report::Report,
    tree::short,
};

/// What a server may ask of clients, and the schema of the answer that goes to it.
const CLIENT: [(&str, &str); 5] = [
    ("tasks", r#"{"type":"object","properties":{}}"#),
    (
        "elicitation",
        r#"{"type":"object","properties":{"action":{"enum":["accept","decline","cancel"],"type":"string"},"content":{"type":"object",
            "additionalProperties":{"type":["string","number","boolean","array"],"items":{"type":"string"}}}},"required":["action"]}"#,
    ),
    (
        "sampling",
        r#"{"type":"object","properties":{"role":{"type":"string","enum":["user","assistant"]},"model":{"type":"string"},
            "stopReason":{"type":"string","enum":["endTurn","stopSequence","maxTokens","toolUse"]},
            "content":{"type":["object","array"],"additionalProperties":true,"items":{"type":"object","additionalProperties":true}}},
            "required":["role","content"]}"#,
    ),
    (
        "roots",
        r#"{"type":"object","properties":{"roots":{"type":"array","items":{"type":"object","properties":
            {"uri":{"type":"string"},"name":{"type":"string"}},"required":["uri"]}}},"required":["roots"]}"#,
    ),
    (
        "logging",
        r#"{"type":"object","properties":{"level":{"type":"string","enum":
            ["debug","info","notice","warning","error","critical","alert","emergency"]}}}"#,
    ),
];
/// Members of answers that a grant need not name: each is a word of a closed list.
const FREE: [&str; 3] = ["action", "role", "stopReason"];
const RESOURCE: &str = r#"{"type":"object","properties":{"uri":{"type":"string"}},"required":["uri"]}"#;
const COMPLETION: &str = r#"{"type":"object","properties":{"argument":{"type":"string"},"value":{"type":"string"},
    "context":{"type":"object","additionalProperties":{"type":"string"}}},"required":["argument","value"]}"#;

/// What is offered beside tools.
#[derive(Default)]
pub(crate) struct Offers {
    pub(crate) tools: BTreeMap<ToolName, Tool>,
    pub(crate) uris: BTreeMap<ToolName, UriRule>,
}

/// The offers that a manifest describes.
pub(crate) fn offers(
    doc: &Doc,
    file: &ManifestFile,
    definitions: &Definitions,
    report: &mut Report,
) -> Offers {
    let mut reader = Reader { doc, file, definitions, report, offers: Offers::default() };
    for (name, entry) in &file.prompts {
        reader.prompt(name, entry);
    }
    for (name, entry) in &file.resources {
        reader.resource(name, entry);
    }
    for (name, entry) in &file.completions {
        reader.completion(name, entry);
    }
    for (name, entry) in &file.client {
        reader.client(name, entry);
    }
    reader.offers
}

struct Reader<'a> {
    doc: &'a Doc,
    file: &'a ManifestFile,
    definitions: &'a Definitions,
    report: &'a mut Report,
    offers: Offers,
}

impl Reader<'_> {
    fn prompt(&mut self, name: &ToolName, entry: &OfferEntry) {
        let Some(definition) = self.definitions.prompts.get(name.as_str()) else {
            let message = format!("the server defines no prompt {name}");
            let known = self.definitions.prompts.keys().map(String::as_str);
            let cure = match nearest(name.as_str(), known) {
                Some(near) => format!("did you mean {near}?"),
                None => format!("add its answer to `prompts/list` to {}", self.file.definitions),
            };
            self.doc.error_at_key(self.report, &["prompts", name.as_str()], message, cure);
            return;
        };
        self.no_uri("prompts", name, entry);
        self.add("prompts", Offer::Prompt, name, entry, definition.input_schema.clone(), definition.digest);
    }

    fn resource(&mut self, name: &ToolName, entry: &OfferEntry) {
        let here = ["resources", name.as_str()];
        let rule = match (&entry.uri, &entry.template) {
            (Some(uri), None) => UriRule::Exact(uri.clone()),
            (None, Some(template)) => UriRule::Template(template.clone()),
            _ => {
                let message = format!("{name} has no one sort of URIs");
                self.doc.error_at_key(self.report, &here, message, "give either `uri` or `template`");
                return;
            }
        };
        let (UriRule::Exact(text) | UriRule::Template(text)) = &rule;
        let digest = self.definitions.listed.get(text).copied().unwrap_or(Digest::of(text.as_bytes()));
        if let Ok(known) = ToolName::of(Offer::Resource, name.as_str()) {
            self.offers.uris.insert(known, rule);
        }
        self.add("resources", Offer::Resource, name, entry, schema(RESOURCE), digest);
    }

    fn completion(&mut self, name: &ToolName, entry: &OfferEntry) {
        let known = match name.as_str().split_once('/') {
            Some(("prompt", prompt)) => self.file.prompts.keys().any(|known| known.as_str() == prompt),
            Some(("resource", resource)) => {
                let entry = self.file.resources.iter().find(|(known, _)| known.as_str() == resource);
                entry.is_some_and(|(_, entry)| entry.template.is_some())
            }
            _ => false,
        };
        if !known {
            let message = format!("{name} is no prompt and no template of resources that is described here");
            let cure = "write prompt/NAME, or resource/NAME of one with a `template`";
            self.doc.error_at_key(self.report, &["completions", name.as_str()], message, cure);
        }
        self.no_uri("completions", name, entry);
        let digest = Digest::of(name.as_str().as_bytes());
        self.add("completions", Offer::Completion, name, entry, schema(COMPLETION), digest);
    }

    fn client(&mut self, name: &ToolName, entry: &OfferEntry) {
        let Some((known, answer)) = CLIENT.iter().find(|(known, _)| *known == name.as_str()) else {
            let message = format!("a server can ask nothing by the name {name} of a client");
            let cure = "it is one of elicitation, sampling, roots, logging and tasks";
            self.doc.error_at_key(self.report, &["client", name.as_str()], message, cure);
            return;
        };
        self.no_uri("client", name, entry);
        self.add("client", Offer::Client, name, entry, schema(answer), Digest::of(known.as_bytes()));
        // How it was answered says next to nothing: a grant has to name what was.
        let Ok(known) = ToolName::of(Offer::Client, name.as_str()) else { return };
        let Some(tool) = self.offers.tools.get_mut(&known) else { return };
        for path in FREE
            .iter()
            .filter(|path| tool.input_schema.get("properties").is_some_and(|p| p.get(path).is_some()))
        {
            if let Ok(path) = path.parse::<Path>() {
                tool.arguments.entry(path).or_insert(ArgumentRule { free: true, ..ArgumentRule::default() });
            }
        }
    }

    fn no_uri(&mut self, part: &str, name: &ToolName, entry: &OfferEntry) {
        for (field, given) in [("uri", &entry.uri), ("template", &entry.template)] {
            if given.is_some() {
                let pointer = [part, name.as_str(), field];
                self.doc.error(self.report, &pointer, "only resources have URIs", "take it out");
            }
        }
    }

    fn add(
        &mut self,
        part: &str,
        offer: Offer,
        name: &ToolName,
        entry: &OfferEntry,
        input_schema: Json,
        definition: Digest,
    ) {
        let Ok(known) = ToolName::of(offer, name.as_str()) else {
            let message = format!("{:?} is no name", short(name.as_str()));
            self.doc.error_at_key(self.report, &[part, name.as_str()], message, "leave the colon out");
            return;
        };
        let effects = match &entry.effects {
            Some(effects) => effects.iter().copied().collect(),
            None if offer == Offer::Client && !matches!(name.as_str(), "logging" | "tasks") => {
                EffectSet::EMPTY.with(Effect::Egress)
            }
            None => EffectSet::EMPTY.with(Effect::Read),
        };
        if effects.is_empty() {
            let cure = "say what it does: read, write, egress, share, destroy, pay, credential, execute";
            self.doc.error(
                self.report,
                &[part, name.as_str(), "effects"],
                format!("{name} has no effect"),
                cure,
            );
        }
        manifest::check_results(
            self.doc,
            self.file,
            &[part, name.as_str()],
            &entry.returns,
            &entry.outputs,
            self.report,
        );
        let tool = Tool {
            name: known.clone(),
            definition,
            input_schema,
            output_schema: None,
            effects,
            effects_when: Vec::new(),
            resource: None,
            arguments: manifest::arguments(&entry.arguments),
            failure: Failure::Unknown,
            returns: manifest::returns(&entry.returns),
            text: entry.text,
            outputs: manifest::outputs(&entry.outputs),
        };
        self.offers.tools.insert(known, tool);
    }
}

/// One of our own schemas. They parse: a test reads them all.
fn schema(text: &str) -> Json {
    Json::parse(text.as_bytes()).unwrap_or(Json::Bool(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_schemas_are_objects() {
        for text in CLIENT.iter().map(|(_, text)| *text).chain([RESOURCE, COMPLETION]) {
            assert!(schema(text).get("properties").is_some(), "{text}");
        }
    }
}
