//! A bundle's files into what decides.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use warrantor_decide::{CompiledTerms, Parts, PolicySource, Snapshot, wider_lines};
use warrantor_model::{
    Agent, AgentId, Digest, Json, MandateId, Manifest, Person, ServerName, TemplateId, Terms,
    tracker::Tracker,
};
use warrantor_tokens::{PublicKey, PublicKeyError};

use crate::{
    archive::{Files, Role},
    config::{self, Config},
    definitions::Definitions,
    doc::{Doc, Format, utf8, whole, without_error},
    files::{
        config::ConfigFile,
        manifest::ManifestFile,
        people::{AgentEntry, AgentsFile, PeopleFile},
        trackers::TrackersFile,
    },
    link::{self, Places},
    manifest,
    open::Open,
    report::{Diagnostic, Report, Severity, Source},
    terms, trackers,
    tree::short,
};

/// A bundle that holds together.
#[derive(Debug)]
pub struct Loaded {
    /// What decides.
    pub snapshot: Arc<Snapshot>,
    /// The mandates of the bundle: templates until a person hands one over.
    pub templates: BTreeMap<TemplateId, MandateTemplate>,
    /// The settings of the deployment.
    pub config: Config,
    /// The digest over all paths and contents.
    pub revision: Digest,
    /// The files, sorted by path, to keep with the revision.
    pub archive: Vec<(String, Vec<u8>)>,
    /// The files that describe each server.
    pub described: BTreeMap<ServerName, Described>,
    /// What an author should know.
    pub warnings: Vec<Diagnostic>,
}

/// The files of a bundle that describe a server, by their paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// The manifest.
    pub manifest: String,
    /// The server's own definitions.
    pub definitions: String,
}

impl Loaded {
    /// A file, as text.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<&str> {
        let (_, bytes) = self.archive.iter().find(|(known, _)| known == path)?;
        std::str::from_utf8(bytes).ok()
    }
}

/// A mandate as a bundle states it.
#[derive(Debug, Clone)]
pub struct MandateTemplate {
    /// The file it stands in.
    pub file: String,
    /// The document, exactly: [`terms_from_document`](crate::terms_from_document) makes the same terms of it.
    pub document: Json,
    /// What it leaves open for whoever hands it over.
    pub open: Open,
    /// What it says. What it leaves open stands for itself: nobody has these names and values.
    pub terms: Terms,
    /// The same, checked against the bundle's tools and compiled.
    pub compiled: CompiledTerms,
}

/// Loads the bundle in a directory.
///
/// # Errors
/// Everything that is wrong with any of its files; nothing is loaded then.
pub fn load(dir: &Path) -> Result<Loaded, Report> {
    let mut report = Report::default();
    let files = Files::read(dir, &mut report);
    finish(files, report)
}

/// Loads a bundle from its files, such as an archive that was kept.
///
/// # Errors
/// As [`load`]. A path that is no part of a bundle is an error here.
pub fn load_files(archive: Vec<(String, Vec<u8>)>) -> Result<Loaded, Report> {
    let mut report = Report::default();
    let mut files = Files::default();
    for (path, contents) in archive {
        if crate::archive::role(&path).is_none() {
            report.push(whole(&path, Severity::Error, "the file is no part of a bundle", "leave it out"));
        } else if files.0.insert(path.clone(), contents).is_some() {
            report.push(whole(&path, Severity::Error, "the file stands twice in the archive", "keep one"));
        }
    }
    finish(files, report)
}

/// What is wrong with the bundle in a directory, and what its author should know.
#[must_use]
pub fn check(dir: &Path) -> Report {
    match load(dir) {
        Ok(loaded) => {
            let mut report = Report::default();
            loaded.warnings.into_iter().for_each(|warning| report.push(warning));
            report
        }
        Err(report) => report,
    }
}

fn finish(files: Files, report: Report) -> Result<Loaded, Report> {
    let mut loader = Loader { files, report, places: Places::default(), described: BTreeMap::new() };
    match loader.load() {
        Some((snapshot, templates, config)) if loader.report.is_passed() => {
            let revision = loader.files.revision();
            loader.report.sort();
            Ok(Loaded {
                snapshot: Arc::new(snapshot),
                templates,
                config,
                revision,
                archive: loader.files.0.into_iter().collect(),
                described: loader.described,
                warnings: loader.report.into_diagnostics(),
            })
        }
        _ => {
            loader.report.sort();
            Err(loader.report)
        }
    }
}

struct Loader {
    files: Files,
    report: Report,
    places: Places,
    described: BTreeMap<ServerName, Described>,
}

/// A mandate before it is compiled.
struct Draft {
    file: String,
    document: Json,
    terms: Terms,
    open: Open,
}

impl Loader {
    fn load(&mut self) -> Option<(Snapshot, BTreeMap<TemplateId, MandateTemplate>, Config)> {
        let before = self.report.weight();
        let people = self.people();
        let agents = self.agents();
        let manifests = self.manifests();
        let policies = self.policies();
        let trackers = self.trackers();
        // Judging the rest against files that are at fault would tell faults that are none.
        let sound = self.report.weight() == before;
        let config = self.config(&manifests, sound);
        self.tests();
        let drafts = self.mandates();
        if policies.is_empty() && !drafts.is_empty() {
            let cure = "write one in policies/: see `warrantor init` for a start";
            let message = "there is no policy, so every call is denied";
            self.report.push(whole("policies", Severity::Warning, message, cure));
        }
        if !sound {
            return None;
        }
        let observed = |server: &ServerName| manifests.iter().any(|manifest| manifest.server == *server);
        let observe = config.servers.iter().filter(|(name, server)| server.observe && observed(name));
        let parts = Parts {
            revision: self.files.revision(),
            people,
            agents,
            observe: observe.map(|(name, _)| name.clone()).collect(),
            manifests,
            policies,
            trackers,
            directory_groups: config.directory_groups.clone(),
        };
        let snapshot = link::snapshot(parts, &self.places, &mut self.report)?;
        let templates = self.compile(&snapshot, drafts);
        Some((snapshot, templates, config))
    }

    /// Reads the one file of a role.
    fn single<T: serde::de::DeserializeOwned>(&mut self, role: Role) -> Option<(Doc, T)> {
        let (path, contents) = self.files.of(role).next()?;
        let format = Format::of(path)?;
        let mut doc = Doc::parse(path, contents, format, &mut self.report)?;
        let file = doc.read(&mut self.report)?;
        Some((doc, file))
    }

    fn people(&mut self) -> Vec<Person> {
        let Some((doc, file)) = self.single::<PeopleFile>(Role::People) else { return Vec::new() };
        let mut people = Vec::new();
        for (at, entry) in file.people.into_iter().enumerate() {
            for (field, text) in [("issuer", &entry.issuer), ("subject", &entry.subject)] {
                if text.trim().is_empty() {
                    let pointer = ["people", &at.to_string(), field];
                    let message = format!("the {field} of {} is empty", entry.id);
                    doc.error(&mut self.report, &pointer, message, "issuer and subject are a person's key");
                }
            }
            people.push(Person {
                id: entry.id,
                issuer: entry.issuer,
                subject: entry.subject,
                mail: entry.mail,
                handles: entry.handles,
                groups: entry.groups,
                status: entry.status,
            });
        }
        self.places.people = Some(doc);
        people
    }

    fn agents(&mut self) -> Vec<Agent> {
        let Some((doc, file)) = self.single::<AgentsFile>(Role::Agents) else { return Vec::new() };
        let all_keys = agent_keys(&doc, &file.agents, &mut self.report);
        let agents = file.agents.into_iter().zip(all_keys).map(|(entry, keys)| Agent {
            keys,
            id: entry.id,
            owner: entry.owner,
            sponsors: entry.sponsors,
            purpose: entry.purpose,
            status: entry.status,
            blueprint: None,
            ceiling: warrantor_model::Ceiling {
                servers: entry.ceiling.servers,
                effects: entry.ceiling.effects.into_iter().collect(),
            },
        });
        self.places.agents = Some(doc);
        agents.collect()
    }

    fn config(&mut self, manifests: &[Manifest], sound: bool) -> Config {
        let Some((doc, file)) = self.single::<ConfigFile>(Role::Config) else { return Config::default() };
        let config = config::config(&doc, file, &mut self.report);
        let known = |name: &ServerName| manifests.iter().any(|manifest| manifest.server == *name);
        for name in config.servers.keys().filter(|name| sound && !known(name)) {
            let message = format!("the server {name} has no manifest");
            let cure = format!("add tools/{name}.yaml: see `warrantor manifest draft`");
            doc.error_at_key(&mut self.report, &["servers", name.as_str()], message, cure);
        }
        config
    }

    fn trackers(&mut self) -> Vec<Tracker> {
        let Some((doc, TrackersFile(entries))) = self.single(Role::Trackers) else { return Vec::new() };
        let trackers = entries
            .iter()
            .filter_map(|(name, entry)| trackers::tracker(&doc, name, entry, &mut self.report))
            .collect();
        self.places.trackers = Some(doc);
        trackers
    }

    fn tests(&mut self) {
        let tests: Vec<String> = self.files.of(Role::Test).map(|(path, _)| path.to_owned()).collect();
        for path in tests {
            self.report.push(whole(&path, Severity::Warning, "tests are not run yet", ""));
        }
    }

    fn policies(&mut self) -> Vec<PolicySource> {
        let mut policies = Vec::new();
        for (path, contents) in self.files.of(Role::Policy) {
            if let Some(text) = utf8(path, contents, &mut self.report) {
                self.places.policies.insert(path.to_owned(), Source::new(path, text));
                policies.push(PolicySource { file: path.to_owned(), text: text.to_owned() });
            }
        }
        policies
    }

    fn manifests(&mut self) -> Vec<Manifest> {
        let mut manifests = Vec::new();
        for (path, contents) in self.files.of(Role::Manifest) {
            let Some(format) = Format::of(path) else { continue };
            let report = &mut self.report;
            let Some(mut doc) = Doc::parse(path, contents, format, report) else { continue };
            let before = report.weight();
            let Some(file) = doc.read::<ManifestFile>(report) else { continue };
            if self.places.manifests.contains_key(&file.server) {
                let message = format!("another manifest describes the server {} already", file.server);
                doc.error(report, &["server"], message, "give one of the two another name, or join them");
                continue;
            }
            let found = definitions(&self.files, &doc, &file, report);
            if let Some((definitions_doc, definitions)) = found {
                let made = manifest::manifest(&doc, &file, &definitions, report);
                manifests.extend(made.filter(|_| report.weight() == before));
                self.places.definitions.insert(file.server.clone(), definitions_doc);
            }
            let described =
                Described { manifest: path.to_owned(), definitions: format!("tools/{}", file.definitions) };
            self.described.insert(file.server.clone(), described);
            self.places.manifests.insert(file.server.clone(), doc);
        }
        for (path, _) in self.files.of(Role::Definitions) {
            if !self.described.values().any(|described| described.definitions == path) {
                let cure = "name it in a manifest: see `warrantor manifest draft`";
                self.report.push(whole(path, Severity::Warning, "no manifest names these definitions", cure));
            }
        }
        manifests
    }

    fn mandates(&mut self) -> Vec<Draft> {
        let mut drafts: Vec<Draft> = Vec::new();
        let sound = without_error(&mut self.report, |report| {
            for (path, contents) in self.files.of(Role::Mandate) {
                let Some(format) = Format::of(path) else { continue };
                let Some(mut doc) = Doc::parse(path, contents, format, report) else { continue };
                let document = doc.tree.to_json();
                let Some((terms, open)) = terms::read_terms(&mut doc, report) else { continue };
                if MandateId::is_like(terms.template.as_str()) {
                    let message = "the id is made like those of mandates that were handed over";
                    doc.error(report, &["id"], message, "give it another");
                    continue;
                }
                if self.places.mandates.contains_key(&terms.template) {
                    let message = format!("another file states the mandate {} already", terms.template);
                    doc.error(report, &["id"], message, "give one of the two another id");
                    continue;
                }
                self.places.mandates.insert(terms.template.clone(), doc);
                drafts.push(Draft { file: path.to_owned(), document, terms, open });
            }
        });
        if sound {
            self.parents(&drafts);
        }
        drafts
    }

    /// A mandate narrows one that is there, that lets it, and that does not narrow it in turn.
    fn parents(&mut self, drafts: &[Draft]) {
        let terms_of = |id: &TemplateId| drafts.iter().map(|draft| &draft.terms).find(|t| t.template == *id);
        for terms in drafts.iter().map(|draft| &draft.terms) {
            let (Some(parent), Some(doc)) = (&terms.parent, self.places.mandates.get(&terms.template)) else {
                continue;
            };
            let fault = match terms_of(parent) {
                None => Some((
                    format!("there is no mandate {} to narrow", short(parent.as_str())),
                    "name a mandate of this bundle".to_owned(),
                )),
                Some(_) if narrows_itself(terms, &terms_of) => {
                    Some((format!("{} narrows itself", terms.template), "break the circle".to_owned()))
                }
                Some(above) if above.depth <= terms.depth => Some((
                    format!(
                        "{parent} does not let this follow it: its `delegation.depth` is {}",
                        above.depth
                    ),
                    format!(
                        "a mandate that narrows it needs at least {} there",
                        terms.depth.saturating_add(1)
                    ),
                )),
                Some(_) => None,
            };
            if let Some((message, cure)) = fault {
                doc.error(&mut self.report, &["parent"], message, cure);
            }
        }
    }

    fn compile(&mut self, snapshot: &Snapshot, drafts: Vec<Draft>) -> BTreeMap<TemplateId, MandateTemplate> {
        let mut templates = BTreeMap::new();
        for Draft { file, document, terms, open } in drafts {
            let known = link::knows_actors(snapshot, &terms, &open, &self.places, &mut self.report);
            let compiled = link::compile(snapshot, terms.clone(), &self.places, &mut self.report);
            if let Some(compiled) = compiled.filter(|_| known) {
                let template = terms.template.clone();
                templates.insert(template, MandateTemplate { file, document, open, terms, compiled });
            }
        }
        templates
    }
}

/// Follows parents for as many steps as there could be before one comes again.
fn narrows_itself<'a>(terms: &Terms, terms_of: &impl Fn(&TemplateId) -> Option<&'a Terms>) -> bool {
    let mut seen = vec![&terms.template];
    let mut above = terms.parent.as_ref().and_then(terms_of);
    while let Some(next) = above {
        if seen.contains(&&next.template) {
            return next.template == terms.template;
        }
        seen.push(&next.template);
        above = next.parent.as_ref().and_then(terms_of);
    }
    false
}

/// The definitions a manifest names, from the file beside it.
fn definitions(
    files: &Files,
    doc: &Doc,
    file: &ManifestFile,
    report: &mut Report,
) -> Option<(Doc, Definitions)> {
    let path = format!("tools/{}", file.definitions);
    if crate::archive::role(&path) != Some(Role::Definitions) {
        let message = format!("{:?} is no name of a file of definitions", short(&file.definitions));
        doc.error(
            report,
            &["definitions"],
            message,
            format!("name a file beside this one: {}.tools.json", file.server),
        );
        return None;
    }
    match files.0.get(&path) {
        Some(contents) => Definitions::parse(&path, contents, report),
        None => {
            let message = format!("there is no file {path}");
            doc.error(report, &["definitions"], message, "save the server's `tools/list` answer there");
            None
        }
    }
}

impl Loaded {
    /// Whether a server's manifest rests on definitions of this digest.
    #[must_use]
    pub fn pins(&self, server: &ServerName, digest: Digest) -> bool {
        self.snapshot.manifest(server).is_some_and(|manifest| manifest.definitions == digest)
    }

    /// A mandate that is written out beside the bundle, checked against it. Whether there are the people and the agent that it names is for the handover.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn written_out(&self, document: &Json) -> Result<MandateTemplate, Report> {
        let terms = terms::terms_from_document(document)?;
        let mut report = Report::default();
        match link::compile(&self.snapshot, terms.clone(), &Places::default(), &mut report) {
            Some(compiled) if report.is_passed() => Ok(MandateTemplate {
                file: "a mandate written out".to_owned(),
                document: document.clone(),
                open: Open::default(),
                terms,
                compiled,
            }),
            _ => Err(report),
        }
    }

    /// A mandate that narrows one which was handed over, whose document this is.
    ///
    /// # Errors
    /// Everything that is wrong with it, and every line in which it is wider than what it narrows.
    pub fn narrowed(&self, above: &Json, document: &Json) -> Result<MandateTemplate, Report> {
        let mut report = Report::default();
        let part = self.written_out(document)?;
        // Policies know a mandate by its id: a part that took another's would be judged as that one.
        if self.templates.contains_key(&part.terms.template) {
            let message = format!("the bundle has a mandate {}", part.terms.template);
            report.push(whole("mandate", Severity::Error, message, "give the part an id of its own"));
            return Err(report);
        }
        let above = link::compile(
            &self.snapshot,
            terms::terms_from_document(above)?,
            &Places::default(),
            &mut report,
        );
        if let Some(above) = above {
            Places::default().tell_all(&wider_lines(&self.snapshot, &above, &part.compiled), &mut report);
        }
        report.sort();
        if report.is_passed() { Ok(part) } else { Err(report) }
    }

    /// A mandate in a file beside the bundle that narrows one of the bundle's, checked against the bundle and against what it narrows.
    ///
    /// # Errors
    /// Everything that is wrong with it, and every line in which it is wider than what it narrows.
    pub fn delegated(&self, file: &str, bytes: &[u8]) -> Result<MandateTemplate, Report> {
        let mut report = Report::default();
        let template = self.read_beside(file, bytes, &mut report);
        match template {
            Some(template) if report.is_passed() => Ok(template),
            _ => {
                report.sort();
                Err(report)
            }
        }
    }

    fn read_beside(&self, file: &str, bytes: &[u8], report: &mut Report) -> Option<MandateTemplate> {
        let mut doc = Doc::parse(file, bytes, Format::of(file).unwrap_or(Format::Yaml), report)?;
        let document = doc.tree.to_json();
        let terms = terms::read_closed(&mut doc, report)?;
        let other = self.templates.get(&terms.template);
        if other.is_some_and(|other| other.document.canonical() != document.canonical()) {
            let message = format!("the bundle has another mandate {}", terms.template);
            doc.error(report, &["id"], message, "give this one an id of its own");
            return None;
        }
        let mut places = Places::default();
        let above = terms.parent.as_ref().and_then(|parent| self.templates.get(parent));
        let Some(above) = above else {
            let known: Vec<&str> = self.templates.keys().map(TemplateId::as_str).collect();
            let message = "the mandate narrows none of the bundle's";
            doc.error(
                report,
                &["parent"],
                message,
                format!("write `parent: …`, one of: {}", known.join(", ")),
            );
            return None;
        };
        places.mandates.insert(terms.template.clone(), doc);
        let open = Open::default();
        let known = link::knows_actors(&self.snapshot, &terms, &open, &places, report);
        let compiled = link::compile(&self.snapshot, terms.clone(), &places, report).filter(|_| known)?;
        places.tell_all(&wider_lines(&self.snapshot, &above.compiled, &compiled), report);
        Some(MandateTemplate { file: file.to_owned(), document, open, terms, compiled })
    }

    /// Every line in which a mandate of the bundle is wider than what it narrows. It could not pass more by them, but it reads as if.
    #[must_use]
    pub fn wider_lines(&self, template: &MandateTemplate) -> Option<Report> {
        let bytes = self.archive.iter().find(|(path, _)| *path == template.file).map(|(_, bytes)| bytes)?;
        self.delegated(&template.file, bytes).err()
    }
}

/// The keys of each agent, in the order of the agents.
fn agent_keys(doc: &Doc, agents: &[AgentEntry], report: &mut Report) -> Vec<BTreeMap<String, String>> {
    let mut thumbprints: BTreeMap<String, AgentId> = BTreeMap::new();
    let mut all_keys = Vec::new();
    for (at, entry) in agents.iter().enumerate() {
        let mut keys = BTreeMap::new();
        for (name, members) in &entry.keys {
            let at = at.to_string();
            let pointer = ["agents", at.as_str(), "keys", name.as_str()];
            let text = serde_json::to_vec(members).unwrap_or_default();
            let key = match PublicKey::parse(&text) {
                Ok(key) => key,
                Err(cause @ PublicKeyError::Private(_)) => {
                    let message = format!("the key {name} of {} is a private one: {cause}", entry.id);
                    let cure = "take it out, make another pair, and write the public members of that";
                    doc.error_unshown(report, &pointer, message, cure);
                    continue;
                }
                Err(cause) => {
                    let message = format!("the key {name} of {} is none: {cause}", entry.id);
                    let cure = "write its public members, such as kty: OKP, crv: Ed25519, x: …";
                    doc.error(report, &pointer, message, cure);
                    continue;
                }
            };
            // Whoever has the key would be either of them.
            if let Some(other) = thumbprints.insert(key.thumbprint().to_owned(), entry.id.clone()) {
                let message = format!("the key {name} of {} is a key of {other} already", entry.id);
                doc.error(report, &pointer, message, "make a key of its own for each agent");
            }
            keys.insert(name.clone(), key.canonical().to_owned());
        }
        all_keys.push(keys);
    }
    all_keys
}
