//! `warrantor manifest draft`: a manifest from what a server says of itself, every guess marked for review.

use std::fmt::Write as _;

use warrantor_model::{Digest, Effect, Json, Kind, Offer, ServerName, ToolName};

use crate::{
    definitions::{Definition, Definitions},
    doc::whole,
    guess::{self, Guess},
    report::{Report, Severity},
    text::{comment, plain_or_quoted, quoted},
};

/// The draft of a manifest with its definitions, as files of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// Where the manifest belongs: `tools/SERVER.yaml`.
    pub manifest_path: String,
    /// The manifest, commented.
    pub manifest: String,
    /// Where the definitions belong: `tools/SERVER.tools.json`.
    pub definitions_path: String,
    /// The definitions, set out for review; their digest is that of the answer.
    pub definitions: String,
    /// The digest that the manifest pins.
    pub digest: Digest,
    /// How many guesses wait for review.
    pub guesses: usize,
}

/// The digest that pins how a server is started: of the canonical JSON list of the command and its arguments.
#[must_use]
pub fn launch_digest(command: &[String]) -> Digest {
    Json::Array(command.iter().cloned().map(Json::String).collect()).digest()
}

/// Drafts a manifest from a `tools/list` answer, whole or its result only. Instructions are those of the answer unless given; the launch command is
/// pinned when given.
///
/// # Errors
/// What is wrong with the answer.
pub fn draft(
    server: &ServerName,
    answer: &[u8],
    instructions: Option<&str>,
    launch: Option<&[String]>,
) -> Result<Draft, Report> {
    let mut report = Report::default();
    let definitions_path = format!("tools/{server}.tools.json");
    let text = set_out(&definitions_path, answer, instructions, &mut report);
    let read = text.and_then(|text| {
        Definitions::parse(&definitions_path, text.as_bytes(), &mut report)
            .map(|(_, definitions)| (text, definitions))
    });
    let Some((text, definitions)) = read.filter(|_| report.is_passed()) else { return Err(report) };
    let mut writer = Writer { out: String::new(), guesses: 0 };
    writer.manifest(server, &definitions, launch);
    Ok(Draft {
        manifest_path: format!("tools/{server}.yaml"),
        manifest: writer.out,
        definitions_path,
        definitions: text,
        digest: definitions.digest,
        guesses: writer.guesses,
    })
}

/// The result of the answer on lines of its own, numbers and members as they were, with the instructions.
fn set_out(path: &str, answer: &[u8], instructions: Option<&str>, report: &mut Report) -> Option<String> {
    let answer = match Json::parse(answer) {
        Ok(answer) => answer,
        Err(cause) => {
            let cure = "give the server's answer to `tools/list` as JSON";
            report.push(whole(path, Severity::Error, cause.to_string(), cure));
            return None;
        }
    };
    let mut result = match answer.get("result") {
        Some(result) if answer.get("jsonrpc").is_some() => result.clone(),
        _ => answer,
    };
    if let (Json::Object(members), Some(text)) = (&mut result, instructions) {
        let given = Json::String(text.to_owned());
        match members.iter_mut().find(|(name, _)| name == "instructions") {
            Some((_, own)) if *own != given && !own.is_null() => {
                let message = "the answer has other instructions than the ones that were given";
                report.push(whole(path, Severity::Error, message, "give them once"));
                return None;
            }
            Some((_, own)) => *own = given,
            None => members.insert(0, ("instructions".to_owned(), given)),
        }
    }
    match serde_json::to_string_pretty(&result) {
        Ok(text) => Some(format!("{text}\n")),
        Err(cause) => {
            report.push(whole(path, Severity::Error, format!("the answer cannot be written: {cause}"), ""));
            None
        }
    }
}

struct Writer {
    out: String,
    guesses: usize,
}

impl Writer {
    fn line(&mut self, text: &str) {
        self.out.push_str(text);
        self.out.push('\n');
    }

    /// A line that was guessed.
    fn guessed(&mut self, text: &str, why: &str) {
        self.guesses = self.guesses.saturating_add(1);
        self.line(&format!("{text}  # guess: {why}"));
    }

    fn manifest(&mut self, server: &ServerName, definitions: &Definitions, launch: Option<&[String]>) {
        self.line(&format!(
            "# What we know of the server {server}: a draft. Nothing in it has been reviewed."
        ));
        self.line("# Every line marked `# guess:` was guessed from names, schemas and the server's own hints, none of which can be trusted.");
        self.line("# Read each tool's definition, correct the line, and take the mark away. Tools that nobody needs are best taken out: a");
        self.line("# tool that is not listed here cannot be called.");
        self.line(&format!("server: {}", plain_or_quoted(server.as_str())));
        self.line("# The server's own answer to `tools/list`.");
        self.line(&format!("definitions: {}", plain_or_quoted(&format!("{server}.tools.json"))));
        self.line("# The digest of that answer. Whatever differs from it is quarantined.");
        self.line(&format!("digest: {}", definitions.digest));
        if let Some(command) = launch {
            let shown: Vec<String> = command.iter().map(|part| comment(part)).collect();
            self.line(&format!("# How the server is started: {}", shown.join(" ")));
            self.line(&format!("launch: {}", launch_digest(command)));
        }
        self.line("");
        self.line("# Effects: read, write, egress (data leaves), share (lets someone in), destroy, pay, credential, execute.");
        self.line("# `sensitive: true`: the value is consequential, and a grant has to name it. `kind`: how values are compared. `free: true`:");
        self.line("# may be given even where no grant names it. What a result holds counts as written by anyone until `outputs` says otherwise.");
        let mut tools: Vec<(&String, &Definition)> = definitions.tools.iter().collect();
        tools.sort_by_key(|(_, definition)| definition.index);
        let (named, unnamed): (Vec<_>, Vec<_>) =
            tools.into_iter().partition(|(name, _)| ToolName::of(Offer::Tool, name).is_ok());
        self.line(if named.is_empty() { "tools: {}" } else { "tools:" });
        for (name, definition) in named {
            self.tool(name, definition);
        }
        for (name, _) in unnamed {
            self.line(&format!(
                "# Left out, for its name has characters that are not allowed: {}",
                comment(name)
            ));
        }
        self.prompts(definitions);
        self.resources(definitions);
    }

    fn prompts(&mut self, definitions: &Definitions) {
        let named = |name: &&String| ToolName::of(Offer::Prompt, name).is_ok();
        let mut prompts: Vec<&String> = definitions.prompts.keys().filter(named).collect();
        prompts.sort_by_key(|name| definitions.prompts.get(*name).map(|definition| definition.index));
        if prompts.is_empty() {
            return;
        }
        self.line("# Prompts: texts that the server writes. A grant has to name each.");
        self.line("prompts:");
        for name in prompts {
            self.guessed(&format!("  {}: {{ effects: [read] }}", plain_or_quoted(name)), "a prompt reads");
        }
    }

    fn resources(&mut self, definitions: &Definitions) {
        if definitions.listed.is_empty() {
            return;
        }
        self.line("# Resources, by names of ours. `{name}` in a template stands for a segment, `{+name}` for several. A grant has to name each.");
        self.line("resources:");
        let mut numbers = 0u32;
        for text in definitions.listed.keys() {
            numbers = numbers.saturating_add(1);
            let field = if text.contains('{') { "template" } else { "uri" };
            let line = format!("  resource-{numbers}: {{ {field}: {}, effects: [read] }}", quoted(text));
            if warrantor_decide::is_matched(text) {
                self.guessed(&line, "a resource is read");
            } else {
                self.line(&format!(
                    "# Left out, for its template cannot be matched with certainty: {}",
                    comment(text)
                ));
            }
        }
    }

    fn tool(&mut self, name: &str, definition: &Definition) {
        let text = |member: &str| definition.json.get(member).and_then(Json::as_str).map(comment);
        if let Some(description) =
            text("description").or_else(|| text("title")).filter(|text| !text.is_empty())
        {
            self.line(&format!("  # {description}"));
        }
        self.line(&format!("  {}:", plain_or_quoted(name)));
        let effects = guess::effects(name, &definition.json);
        let words: Vec<&str> = effects.value.iter().map(|effect| effect.as_str()).collect();
        self.guessed(&format!("    effects: [{}]", words.join(", ")), &effects.why);
        let rules: Vec<(String, Rule)> = guess::arguments(&definition.input_schema)
            .into_iter()
            .filter_map(|(path, name, schema)| Some((path, Rule::of(&name, schema, &effects.value)?)))
            .collect();
        if rules.is_empty() {
            return;
        }
        self.line("    arguments:");
        for (path, rule) in rules {
            let (fields, why) = rule.written();
            self.guessed(&format!("      {}: {{ {fields} }}", plain_or_quoted(&path)), &why);
        }
    }
}

/// What is guessed of one argument.
struct Rule {
    kind: Option<Guess<Kind>>,
    sensitive: Option<Guess<()>>,
}

impl Rule {
    fn of(name: &str, schema: &Json, effects: &[Effect]) -> Option<Self> {
        let kind = guess::kind(name, schema);
        let sensitive = guess::sensitive(name, kind.as_ref().map(|guess| guess.value), effects);
        (kind.is_some() || sensitive.is_some()).then_some(Self { kind, sensitive })
    }

    fn written(&self) -> (String, String) {
        let (mut fields, mut why) = (String::new(), Vec::new());
        if let Some(guess) = &self.sensitive {
            fields.push_str("sensitive: true");
            why.push(guess.why.as_str());
        }
        if let Some(guess) = &self.kind {
            let separator = if fields.is_empty() { "" } else { ", " };
            // Writing into a string cannot fail.
            let _ = write!(fields, "{separator}kind: {}", kind_word(guess.value));
            why.push(guess.why.as_str());
        }
        (fields, why.join(", "))
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Id => "id",
        Kind::Mail => "mail",
        Kind::Url => "url",
        Kind::Host => "host",
        Kind::Path => "path",
        Kind::Account => "account",
        Kind::Handle => "handle",
        Kind::Phone => "phone",
        Kind::Date => "date",
        Kind::Time => "time",
        Kind::Number => "number",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Listed, load_files};

    fn drafted(answer: &str, launch: Option<&[String]>) -> Draft {
        let server = ServerName::new("s").unwrap();
        draft(&server, answer.as_bytes(), None, launch).unwrap_or_else(|report| panic!("{}", Listed(&report)))
    }

    fn passes(draft: &Draft) -> Result<usize, String> {
        let files = vec![
            (draft.manifest_path.clone(), draft.manifest.clone().into_bytes()),
            (draft.definitions_path.clone(), draft.definitions.clone().into_bytes()),
        ];
        match load_files(files) {
            Ok(loaded) => {
                Ok(loaded.snapshot.manifest(&ServerName::new("s").unwrap()).map_or(0, |m| m.tools.len()))
            }
            Err(report) => Err(format!("{}\n{}", Listed(&report), draft.manifest)),
        }
    }

    #[test]
    fn the_draft_of_a_real_server_passes_the_check() {
        let answer = include_str!("../starter/tools/files.tools.json");
        let draft = drafted(answer, Some(&["npx".to_owned(), "-y".to_owned(), "x".to_owned()]));
        assert_eq!(passes(&draft), Ok(14));
        for line in [
            "launch: sha256:",
            "  # Read the complete contents of a file as text. DEPRECATED: Use read_text_file instead.",
            "  write_file:",
            "    effects: [write, destroy]  # guess: the name says \"write\", the server calls it destructive",
            "      path: { kind: path }  # guess: its name says \"path\"",
            "      \"paths/*\": { kind: path }  # guess: its name says \"paths\"",
        ] {
            assert!(draft.manifest.contains(line), "{line}\n{}", draft.manifest);
        }
        assert_eq!(draft.manifest.matches("# guess: ").count(), draft.guesses);
    }

    #[test]
    fn instructions_are_pinned_with_the_tools() {
        let server = ServerName::new("s").unwrap();
        let answer = r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[{"name":"t","x":1.10,"inputSchema":{"type":"object"}}]}}"#;
        let with = draft(&server, answer.as_bytes(), Some("be kind"), None).unwrap();
        let without = draft(&server, answer.as_bytes(), None, None).unwrap();
        assert_ne!(with.digest, without.digest);
        assert!(
            with.definitions.contains("\"instructions\": \"be kind\"") && with.definitions.contains("1.10")
        );
        assert_eq!(passes(&with), Ok(1));
        let other = r#"{"instructions":"be rude","tools":[]}"#;
        assert!(draft(&server, other.as_bytes(), Some("be kind"), None).is_err());
    }

    #[test]
    fn what_is_no_answer_is_told() {
        let server = ServerName::new("s").unwrap();
        for answer in ["", "{}", "[]", r#"{"tools":[{"name":"a"}]}"#] {
            let report = draft(&server, answer.as_bytes(), None, None).unwrap_err();
            assert!(!report.is_passed(), "{answer}");
        }
    }

    #[test]
    fn a_draft_describes_prompts_and_resources_too() {
        let answer = r#"{"tools":[],"prompts":[{"name":"ask me"},{"name":"summary","arguments":[{"name":"id","required":true}]}],
            "resources":[{"uri":"notes://a","name":"a"}],
            "resourceTemplates":[{"uriTemplate":"notes://{id}","name":"n"},{"uriTemplate":"notes://{?q}","name":"q"}]}"#;
        let draft = drafted(answer, None);
        assert_eq!(passes(&draft), Ok(3), "{}", draft.manifest);
        for line in [
            "  summary: { effects: [read] }  # guess: a prompt reads",
            r#"  resource-1: { uri: "notes://a", effects: [read] }  # guess: a resource is read"#,
            r#"  resource-3: { template: "notes://{id}", effects: [read] }  # guess: a resource is read"#,
        ] {
            assert!(draft.manifest.lines().any(|told| told == line), "{line} is not in\n{}", draft.manifest);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_draft_of_any_tools_passes_the_check(
            tools in proptest::collection::btree_map(
                "[a-z_]{1,8}|send_[a-z]{1,5}|.{1,6}|true|no",
                ("(?s).{0,30}", proptest::collection::btree_map("[a-z/~*@]{1,6}|to|email|amount|.{1,4}", 0usize..5, 0..4)),
                0..4,
            )
        ) {
            let schemas = [
                r#"{"type":"string"}"#,
                r#"{"type":"number"}"#,
                r#"{"type":"array","items":{"type":"string"}}"#,
                r#"{"type":"object","properties":{"url":{"type":"string"}}}"#,
                r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            ];
            let listed: Vec<String> = tools.iter().map(|(name, (description, arguments))| {
                let properties: Vec<String> = arguments.iter()
                    .map(|(name, schema)| format!("{}:{}", serde_json::to_string(name).unwrap(), schemas[*schema]))
                    .collect();
                format!(
                    r#"{{"name":{},"description":{},"inputSchema":{{"type":"object","properties":{{{}}}}}}}"#,
                    serde_json::to_string(name).unwrap(), serde_json::to_string(description).unwrap(), properties.join(",")
                )
            }).collect();
            let draft = drafted(&format!(r#"{{"tools":[{}]}}"#, listed.join(",")), None);
            let named = tools.keys().filter(|name| ToolName::of(Offer::Tool, name).is_ok()).count();
            prop_assert_eq!(passes(&draft), Ok(named));
        }
    }
}
