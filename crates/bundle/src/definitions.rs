//! A server's own description of its tools: the `tools/list` answer as it was given.

use std::collections::BTreeMap;

use warrantor_mcp::tools::{DefinitionError, Offered, definition_digest, server_digest};
use warrantor_model::{Digest, Json};

use crate::{
    doc::{Doc, Format},
    report::Report,
    tree::{Pointer, short},
};

/// Deepest place of a schema that is looked at for references; the JSON reader bounds depth too.
const MAX_SCHEMA_DEPTH: usize = 64;

/// What a server says it offers.
#[derive(Debug, Clone)]
pub(crate) struct Definitions {
    /// The tools by name, each with its index in the file.
    pub(crate) tools: BTreeMap<String, Definition>,
    /// The prompts by name, each with the schema of its arguments.
    pub(crate) prompts: BTreeMap<String, Definition>,
    /// What lists of resources and templates say, by URI or template.
    pub(crate) listed: BTreeMap<String, Digest>,
    pub(crate) instructions: Option<String>,
    /// The digest over all of it.
    pub(crate) digest: Digest,
}

/// One tool as its server defines it.
#[derive(Debug, Clone)]
pub(crate) struct Definition {
    /// Its place in the list.
    pub(crate) index: usize,
    pub(crate) json: Json,
    pub(crate) input_schema: Json,
    pub(crate) digest: Digest,
}

impl Definitions {
    /// Reads a file of definitions: the answer's result, or the whole answer.
    pub(crate) fn parse(file: &str, bytes: &[u8], report: &mut Report) -> Option<(Doc, Self)> {
        let doc = Doc::parse(file, bytes, Format::Json, report)?;
        let read = Self::read(&doc, report);
        read.map(|definitions| (doc, definitions))
    }

    fn read(doc: &Doc, report: &mut Report) -> Option<Self> {
        let whole = doc.tree.to_json();
        let (result, above) = match whole.get("result") {
            Some(result) if whole.get("jsonrpc").is_some() => (result, vec!["result".to_owned()]),
            _ => (&whole, Vec::new()),
        };
        let at = |step: &str| [above.clone(), vec![step.to_owned()]].concat();
        let Some(tools) = result.get("tools").and_then(Json::as_array) else {
            let cure = "save the result of `tools/list` here: an object with `tools`";
            doc.error(report, &above, "there is no list `tools`", cure);
            return None;
        };
        if let Some(Json::String(_)) = result.get("nextCursor") {
            let cure = "ask for all pages, and put their tools into one list without `nextCursor`";
            doc.error(report, &at("nextCursor"), "the list goes on: this is its first page only", cure);
            return None;
        }
        let instructions = match result.get("instructions") {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text.clone()),
            Some(other) => {
                let message = format!("`instructions` is {}, not text", other.type_name());
                doc.error(report, &at("instructions"), message, "write the server's instructions as text");
                return None;
            }
        };
        let list = at("tools");
        let mut named = BTreeMap::new();
        let mut sound = true;
        for (index, json) in tools.iter().enumerate() {
            let here = [list.clone(), vec![index.to_string()]].concat();
            match definition(doc, &here, index, json, report) {
                Some((name, _)) if named.contains_key(&name) => {
                    let message = format!("the tool {:?} is defined twice", short(&name));
                    doc.error(report, &here, message, "remove one of the two");
                    sound = false;
                }
                Some((name, definition)) => drop(named.insert(name, definition)),
                None => sound = false,
            }
        }
        let others = Others::read(doc, result, &above, report)?;
        if !sound {
            return None;
        }
        let Others { prompts, listed, lists: [prompt_list, resource_list, template_list] } = others;
        let offered = Offered {
            tools,
            prompts: prompt_list,
            resources: resource_list,
            templates: template_list,
            instructions: instructions.as_deref(),
        };
        match server_digest(&offered) {
            Ok(digest) => Some(Self { tools: named, prompts, listed, instructions, digest }),
            Err(cause) => {
                doc.error(report, &list, undigestible(&cause), "");
                None
            }
        }
    }
}

/// What a server offers beside tools: the answers to `prompts/list`, `resources/list` and `resources/templates/list` in the same object.
struct Others<'a> {
    prompts: BTreeMap<String, Definition>,
    listed: BTreeMap<String, Digest>,
    lists: [&'a [Json]; 3],
}

impl<'a> Others<'a> {
    fn read(doc: &Doc, result: &'a Json, above: &[String], report: &mut Report) -> Option<Self> {
        let mut sound = true;
        let mut list = |member: &str| match result.get(member) {
            None => Some(&[][..]),
            Some(found) => found.as_array().or_else(|| {
                let at = [above, &[member.to_owned()]].concat();
                doc.error(
                    report,
                    &at,
                    format!("`{member}` is no list"),
                    "save the server's answer as it was given",
                );
                None
            }),
        };
        let lists = [list("prompts")?, list("resources")?, list("resourceTemplates")?];
        let [prompt_list, resource_list, template_list] = lists;
        let mut prompts = BTreeMap::new();
        let mut listed = BTreeMap::new();
        for (member, key, list) in [
            ("prompts", "name", prompt_list),
            ("resources", "uri", resource_list),
            ("resourceTemplates", "uriTemplate", template_list),
        ] {
            let mut seen = std::collections::BTreeSet::new();
            for (index, json) in list.iter().enumerate() {
                let here = [above, &[member.to_owned(), index.to_string()]].concat();
                let name = json.get(key).and_then(Json::as_str).filter(|name| !name.is_empty());
                let fault = match (name, definition_digest(json)) {
                    (None, _) => Some(format!("there is no `{key}`")),
                    (Some(name), _) if !seen.insert(name) => Some(format!("{:?} stands twice", short(name))),
                    (Some(_), Err(cause)) => Some(undigestible(&cause)),
                    (Some(name), Ok(digest)) => {
                        if member == "prompts" {
                            let input_schema = prompt_schema(json);
                            let prompt = Definition { index, json: json.clone(), input_schema, digest };
                            prompts.insert(name.to_owned(), prompt);
                        } else {
                            listed.insert(name.to_owned(), digest);
                        }
                        None
                    }
                };
                if let Some(message) = fault {
                    doc.error(report, &here, message, "save the server's answer as it was given");
                    sound = false;
                }
            }
        }
        sound.then_some(Self { prompts, listed, lists })
    }
}

/// The arguments of a prompt as a JSON Schema: texts, of which some are required.
fn prompt_schema(prompt: &Json) -> Json {
    let arguments = prompt.get("arguments").and_then(Json::as_array).unwrap_or_default();
    let text = Json::Object(vec![("type".to_owned(), Json::String("string".to_owned()))]);
    let named = |argument: &Json| argument.get("name").and_then(Json::as_str).map(str::to_owned);
    let properties: BTreeMap<String, Json> =
        arguments.iter().filter_map(|argument| Some((named(argument)?, text.clone()))).collect();
    let required = arguments
        .iter()
        .filter(|argument| argument.get("required") == Some(&Json::Bool(true)))
        .filter_map(|argument| named(argument).map(Json::String));
    Json::Object(vec![
        ("type".to_owned(), Json::String("object".to_owned())),
        ("properties".to_owned(), Json::Object(properties.into_iter().collect())),
        ("required".to_owned(), Json::Array(required.collect())),
    ])
}

fn undigestible(cause: &DefinitionError) -> String {
    match cause {
        DefinitionError::Canonicalize(inner) => format!("{cause}: {inner}"),
        DefinitionError::Number | DefinitionError::NoName => cause.to_string(),
    }
}

fn definition(
    doc: &Doc,
    here: &[String],
    index: usize,
    json: &Json,
    report: &mut Report,
) -> Option<(String, Definition)> {
    let Some(name) = json.get("name").and_then(Json::as_str).filter(|name| !name.is_empty()) else {
        doc.error(report, here, "a tool without a name", "save the server's answer as it was given");
        return None;
    };
    let schema_at = [here, &["inputSchema".to_owned()]].concat();
    let Some(schema @ Json::Object(_)) = json.get("inputSchema") else {
        let message = format!("the tool {:?} has no `inputSchema`", short(name));
        doc.error(
            report,
            here,
            message,
            "a tool whose arguments are not described cannot be decided on: leave it out",
        );
        return None;
    };
    if schema.get("type").and_then(Json::as_str) != Some("object") {
        let message = format!("the input schema of {:?} does not say `\"type\": \"object\"`", short(name));
        doc.error(report, &schema_at, message, "arguments are an object, and the schema has to say so");
        return None;
    }
    if let Some((at, reference)) = foreign_reference(schema) {
        let pointer = [schema_at, at].concat();
        let message = format!(
            "the input schema of {:?} refers to {:?}, outside of itself",
            short(name),
            short(&reference)
        );
        doc.error(
            report,
            &pointer,
            message,
            "only references within the schema (`#…`) are followed: nothing is fetched",
        );
        return None;
    }
    match definition_digest(json) {
        Ok(digest) => Some((
            name.to_owned(),
            Definition { index, json: json.clone(), input_schema: schema.clone(), digest },
        )),
        Err(cause) => {
            doc.error(report, here, undigestible(&cause), "");
            None
        }
    }
}

/// The first reference that leads out of the schema. Values that are data (`const`, `enum`, `default`, `examples`) have none, and a property may
/// be called `$ref`.
fn foreign_reference(schema: &Json) -> Option<(Pointer, String)> {
    fn search(value: &Json, names_are_data: bool, at: &mut Pointer) -> Option<String> {
        if at.len() > MAX_SCHEMA_DEPTH {
            return None;
        }
        match value {
            Json::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
                at.push(index.to_string());
                let found = search(item, false, at);
                if found.is_none() {
                    at.pop();
                }
                found
            }),
            Json::Object(members) => members.iter().find_map(|(name, member)| {
                at.push(name.clone());
                let found = match (name.as_str(), member) {
                    ("$ref" | "$dynamicRef" | "$recursiveRef", Json::String(reference))
                        if !names_are_data =>
                    {
                        (!reference.starts_with('#')).then(|| reference.clone())
                    }
                    ("const" | "enum" | "default" | "examples", _) if !names_are_data => None,
                    (
                        "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                        Json::Object(_),
                    ) if !names_are_data => search(member, true, at),
                    _ => search(member, false, at),
                };
                if found.is_none() {
                    at.pop();
                }
                found
            }),
            _ => None,
        }
    }
    let mut at = Pointer::new();
    search(schema, false, &mut at).map(|reference| (at, reference))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Listed;

    fn read(text: &str) -> (Option<Definitions>, String) {
        let mut report = Report::default();
        let read = Definitions::parse("tools/x.tools.json", text.as_bytes(), &mut report);
        (read.map(|(_, definitions)| definitions), Listed(&report).to_string())
    }

    #[test]
    fn an_answer_and_its_result_are_the_same_definitions() {
        let result =
            r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}],"instructions":"be kind","ttlMs":1}"#;
        let answer = format!(r#"{{"jsonrpc":"2.0","id":1,"result":{result}}}"#);
        let (one, two) = (read(result).0.unwrap(), read(&answer).0.unwrap());
        assert_eq!(one.digest, two.digest);
        assert_eq!(one.instructions.as_deref(), Some("be kind"));
        let without = read(r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}}]}"#).0.unwrap();
        assert_ne!(one.digest, without.digest);
    }

    #[test]
    fn definitions_that_cannot_be_decided_on_are_refused_with_their_place() {
        for (text, expected) in [
            ("{}", "tools/x.tools.json:1:1: error: there is no list `tools`"),
            ("[]", "tools/x.tools.json:1:1: error: there is no list `tools`"),
            (r#"{"tools":[{}]}"#, "tools/x.tools.json:1:11: error: a tool without a name"),
            (
                "{\"tools\":[\n{\"name\":\"t\"}]}",
                "tools/x.tools.json:2:1: error: the tool \"t\" has no `inputSchema`",
            ),
            (
                "{\"tools\":[{\"name\":\"t\",\n\"inputSchema\":{}}]}",
                "tools/x.tools.json:2:2: error: the input schema of \"t\" does not say `\"type\": \"object\"`",
            ),
            (
                r#"{"tools":[{"name":"t","inputSchema":{"type":"object","properties":{"a":{"$ref":"http://x/y"}}}}]}"#,
                "tools/x.tools.json:1:80: error: the input schema of \"t\" refers to \"http://x/y\", outside of itself",
            ),
            (
                r#"{"tools":[{"name":"t","inputSchema":{"type":"object"}},{"name":"t","inputSchema":{"type":"object"}}]}"#,
                "tools/x.tools.json:1:56: error: the tool \"t\" is defined twice",
            ),
            (r#"{"tools":[],"nextCursor":"2"}"#, "tools/x.tools.json:1:26: error: the list goes on"),
            (r#"{"tools":[],"tools":[]}"#, "tools/x.tools.json:1:14: error: \"tools\" stands twice here"),
        ] {
            let (definitions, told) = read(text);
            assert!(definitions.is_none() && told.starts_with(expected), "{text}\n{told}");
        }
    }

    #[test]
    fn references_within_and_data_are_no_foreign_references() {
        for schema in [
            r##"{"type":"object","$ref":"#/$defs/a","$defs":{"a":{"$ref":"#"}}}"##,
            r#"{"type":"object","properties":{"$ref":{"type":"string"}}}"#,
            r#"{"type":"object","properties":{"a":{"const":{"$ref":"http://x"}}}}"#,
        ] {
            assert_eq!(foreign_reference(&Json::parse(schema.as_bytes()).unwrap()), None, "{schema}");
        }
        let hidden = r#"{"anyOf":[{},{"properties":{"default":{"$ref":"x.json"}}}]}"#;
        let found = foreign_reference(&Json::parse(hidden.as_bytes()).unwrap()).unwrap();
        assert_eq!((found.0.join("/"), found.1), ("anyOf/1/properties/default/$ref".into(), "x.json".into()));
    }
}
