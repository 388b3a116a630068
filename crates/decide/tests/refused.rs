//! What does not load: each fault of a bundle or a mandate, and exactly where it is told to be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    missing_docs,
    reason = "test code"
)]

mod common;

use common::{World, bundle, json, show};
use warrantor_decide::{Fault, Parts, Place, PolicySource, Severity, Snapshot};
use warrantor_model::Tool;

fn pointer(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn people(at: &str) -> Place {
    Place::People { pointer: pointer(at) }
}

fn agents(at: &str) -> Place {
    Place::Agents { pointer: pointer(at) }
}

fn manifest(server: &str, at: &str) -> Place {
    Place::Manifest { server: server.parse().unwrap(), pointer: pointer(at) }
}

fn mandate(at: &str) -> Place {
    Place::Mandate { template: "root".parse().unwrap(), pointer: pointer(at) }
}

/// The fault of this severity at this place whose message has these words.
fn expect(name: &str, faults: &[Fault], severity: Severity, place: &Place, words: &str) {
    let found =
        faults.iter().any(|f| f.severity == severity && f.place == *place && f.message.contains(words));
    assert!(found, "{name}: no fault at {place:?} with {words:?} among\n{}", show(faults));
}

type Change = Box<dyn Fn(&mut Parts)>;

fn refused(cases: Vec<(&str, Change, Place, &str)>) {
    for (name, change, place, words) in cases {
        let mut parts = bundle::parts();
        change(&mut parts);
        match Snapshot::build(parts) {
            Ok(_) => panic!("{name}: the bundle was built"),
            Err(faults) => expect(name, &faults, Severity::Error, &place, words),
        }
    }
}

fn change(change: impl Fn(&mut Parts) + 'static) -> Change {
    Box::new(change)
}

#[test]
fn people_and_agents_that_do_not_add_up() {
    refused(vec![
        (
            "a person twice",
            change(|p| {
                let mut twin = p.people[0].clone();
                twin.subject = "other".into();
                p.people.push(twin);
            }),
            people("people 3 id"),
            "stands twice",
        ),
        (
            "one key for two persons",
            change(|p| p.people[1].subject = "sub-alice".into()),
            people("people 1 subject"),
            "of another person",
        ),
        (
            "an agent twice",
            change(|p| p.agents.push(p.agents[0].clone())),
            agents("agents 4 id"),
            "stands twice",
        ),
        (
            "an unknown owner",
            change(|p| p.agents[0] = bundle::agent("bot", "zoe", &["alice"])),
            agents("agents 0 owner"),
            "not in people.yaml",
        ),
        (
            "an unknown owning group",
            change(|p| p.agents[0] = bundle::agent("bot", "group:zoo", &["alice"])),
            agents("agents 0 owner"),
            "not in people.yaml",
        ),
        (
            "no sponsor",
            change(|p| p.agents[0].sponsors.clear()),
            agents("agents 0 sponsors"),
            "nobody sponsors",
        ),
        (
            "an unknown sponsor",
            change(|p| p.agents[2] = bundle::agent("clerk", "bob", &["bob", "zoe"])),
            agents("agents 2 sponsors 1"),
            "zoe",
        ),
        (
            "observe mode of no server",
            change(|p| p.observe = bundle::servers(&["nowhere"])),
            Place::Bundle,
            "no manifest",
        ),
    ]);
}

/// The bundle with one more tool at its bank.
fn tool(tool: Tool) -> Change {
    change(move |p| drop(p.manifests[0].tools.insert(tool.name.clone(), tool.clone())))
}

#[test]
fn manifests_that_do_not_fit_their_definitions() {
    let plain = || {
        bundle::tool(
            "extra",
            &["read"],
            r#"{"a":{"type":"string"},"b":{"type":"array","items":{"type":"string"}}}"#,
        )
    };
    let schema = |text: &str| {
        let mut tool = plain();
        tool.input_schema = json(text);
        tool
    };
    let definitions = Place::Definitions { server: "bank".parse().unwrap() };
    refused(vec![
        (
            "two manifests",
            change(|p| p.manifests.push(p.manifests[0].clone())),
            manifest("bank", "server"),
            "two manifests",
        ),
        (
            "a rule for no argument",
            tool(bundle::rule(plain(), "c", &["free"])),
            manifest("bank", "tools extra arguments c"),
            "no argument",
        ),
        (
            "a rule below a string",
            tool(bundle::rule(plain(), "a/x", &["free"])),
            manifest("bank", "tools extra arguments a/x"),
            "no argument",
        ),
        (
            "effects when no argument",
            tool(bundle::when(plain(), "c", &["pay"])),
            manifest("bank", "tools extra effects_when c"),
            "no argument",
        ),
        (
            "a resource of no argument",
            tool(bundle::resource(plain(), "Thing", "c")),
            manifest("bank", "tools extra resource id"),
            "no argument",
        ),
        (
            "a resource of several values",
            tool(bundle::resource(plain(), "Thing", "b/*")),
            manifest("bank", "tools extra resource id"),
            "several values",
        ),
        (
            "a resource of any depth",
            tool(bundle::resource(plain(), "Thing", "**")),
            manifest("bank", "tools extra resource id"),
            "several values",
        ),
        (
            "a resource of names",
            tool(bundle::resource(plain(), "Thing", "@keys")),
            manifest("bank", "tools extra resource id"),
            "several values",
        ),
        (
            "a reserved resource type",
            tool(bundle::resource(plain(), "Person", "a")),
            manifest("bank", "tools extra resource type"),
            "cannot be a resource type",
        ),
        (
            "a resource type that is no name",
            tool(bundle::resource(plain(), "A::B", "a")),
            manifest("bank", "tools extra resource type"),
            "cannot be a resource type",
        ),
        (
            "a resource type in quotes",
            tool(bundle::resource(plain(), "X;\nentity Y", "a")),
            manifest("bank", "tools extra resource type"),
            "cannot be a resource type",
        ),
        (
            "no effects",
            tool(bundle::tool("extra", &[], "{}")),
            manifest("bank", "tools extra effects"),
            "no effects",
        ),
        (
            "a schema that is none",
            tool(schema(r#"{"type":"objekt"}"#)),
            definitions.clone(),
            "does not compile",
        ),
        (
            "a schema with a reference outwards",
            tool(schema(r#"{"$ref":"https://example.com/schema.json"}"#)),
            definitions.clone(),
            "does not compile",
        ),
        (
            "a schema with a file",
            tool(schema(r#"{"$ref":"file:///etc/passwd"}"#)),
            definitions.clone(),
            "does not compile",
        ),
        (
            "a schema with a backtracking pattern",
            tool(schema(r#"{"properties":{"a":{"pattern":"(?=a)b"}}}"#)),
            definitions.clone(),
            "does not compile",
        ),
        (
            "a schema with a number beyond a double",
            tool(schema(r#"{"properties":{"a":{"maximum":1e999}}}"#)),
            definitions,
            "beyond the range",
        ),
    ]);
    for name in [
        "Mandate",
        "Task",
        "Environment",
        "String",
        "Long",
        "Set",
        "Bool",
        "Entity",
        "Extension",
        "decimal",
        "datetime",
        "ipaddr",
        "in",
        "if",
        "true",
        "is",
        "like",
        "Group",
        "Action",
    ] {
        let mut parts = bundle::parts();
        tool(bundle::resource(plain(), name, "a"))(&mut parts);
        let built = Snapshot::build(parts);
        assert!(built.is_err(), "{name} was taken as a resource type");
    }
}

/// The file with this text; the place is that of the marked words.
fn policy(text: &str, marked: &str) -> (Change, Place) {
    let source = PolicySource { file: "p.cedar".into(), text: text.into() };
    let place =
        Place::Policy { file: "p.cedar".into(), offset: text.find(marked).unwrap(), length: marked.len() };
    (change(move |p| p.policies.push(source.clone())), place)
}

#[test]
fn policies_that_are_wrong_are_told_where() {
    let whole = "permit(principal, action, resource);";
    let cases: &[(&str, &str, &str, &str)] = &[
        ("syntax", "permit(principal, action resource);", "resource", "unexpected token"),
        (
            "an unknown attribute",
            "\n\n  permit(principal, action, resource)\n  when { context.nothing };",
            "context.nothing",
            "attribute `nothing`",
        ),
        (
            "an unknown tool",
            "permit(principal, action == Action::\"bank/rob\", resource);",
            "Action::\"bank/rob\"",
            "bank/rob",
        ),
        (
            "an unknown effect",
            "permit(principal, action in Action::\"effect:fly\", resource);",
            "Action::\"effect:fly\"",
            "effect:fly",
        ),
        (
            "an unguarded optional argument",
            "permit(principal, action == Action::\"files/read\", resource) when { context.arguments.path == \"/a\" };",
            "context.arguments.path",
            "path",
        ),
        (
            "two types compared",
            "permit(principal, action, resource) when { context.task.calls == \"3\" };",
            "context.task.calls == \"3\"",
            "type",
        ),
        (
            "a decimal with too many places",
            "permit(principal, action, resource) when { decimal(\"1.23456\").lessThan(decimal(\"2.0\")) };",
            "decimal(\"1.23456\").lessThan(decimal(\"2.0\"))",
            "decimal",
        ),
        (
            "an unknown annotation",
            "@askk(\"finance\")\nforbid(principal, action, resource);",
            "@askk(\"finance\")\nforbid(principal, action, resource);",
            "@askk",
        ),
        (
            "an obligation that cannot be carried out",
            "@notify(\"finance\") permit(principal, action, resource);",
            "@notify(\"finance\") permit(principal, action, resource);",
            "not supported yet",
        ),
        (
            "an obligation on a forbid",
            "@redact(\"a\") forbid(principal, action, resource);",
            "@redact(\"a\") forbid(principal, action, resource);",
            "on a forbid",
        ),
        (
            "a path that is none",
            "@redact(\"a~\") permit(principal, action, resource);",
            "@redact(\"a~\") permit(principal, action, resource);",
            "is no path",
        ),
        (
            "a path that leads nowhere",
            "@redact(\"/body\") permit(principal, action, resource);",
            "@redact(\"/body\") permit(principal, action, resource);",
            "would leave nothing out",
        ),
        (
            "a label that is none",
            "@label(\"1 a\") permit(principal, action, resource);",
            "@label(\"1 a\") permit(principal, action, resource);",
            "is no label",
        ),
        (
            "a cap that is none",
            "@cap(\"0\") permit(principal, action, resource);",
            "@cap(\"0\") permit(principal, action, resource);",
            "a number of bytes",
        ),
        (
            "an ask on a permit",
            "@ask(\"finance\") permit(principal, action, resource);",
            "@ask(\"finance\") permit(principal, action, resource);",
            "on a permit",
        ),
        (
            "an ask of nobody",
            "@ask(\"nobody\") forbid(principal, action, resource);",
            "@ask(\"nobody\") forbid(principal, action, resource);",
            "nobody is in",
        ),
        (
            "an ask without a group",
            "@ask forbid(principal, action, resource);",
            "@ask forbid(principal, action, resource);",
            "nobody is in",
        ),
        (
            "an unknown mode",
            "@mode(\"off\") forbid(principal, action, resource);",
            "@mode(\"off\") forbid(principal, action, resource);",
            "no mode",
        ),
        (
            "observe mode on a permit",
            "@mode(\"observe\") permit(principal, action, resource);",
            "@mode(\"observe\") permit(principal, action, resource);",
            "on a permit",
        ),
        (
            "an unknown person",
            "forbid(principal == Person::\"zoe\", action, resource);",
            "forbid(principal == Person::\"zoe\", action, resource);",
            "Person::\"zoe\"",
        ),
        (
            "an unknown agent in a condition",
            "forbid(principal, action, resource) when { principal == Agent::\"zoe\" };",
            "forbid(principal, action, resource) when { principal == Agent::\"zoe\" };",
            "Agent::\"zoe\"",
        ),
        (
            "an unknown group",
            "forbid(principal in Group::\"zoo\", action, resource);",
            "forbid(principal in Group::\"zoo\", action, resource);",
            "Group::\"zoo\"",
        ),
        (
            "an unknown server",
            "forbid(principal, action, resource == Server::\"zoo\");",
            "forbid(principal, action, resource == Server::\"zoo\");",
            "Server::\"zoo\"",
        ),
        (
            "the second of two such",
            "permit(principal, action, resource);\nforbid(principal in Group::\"zoo\", action, resource);",
            "forbid(principal in Group::\"zoo\", action, resource);",
            "Group::\"zoo\"",
        ),
    ];
    for (name, text, marked, words) in cases {
        let (change, place) = policy(text, marked);
        refused(vec![(name, change, place, words)]);
    }
    let whole_of = |text: &str| policy(text, text.get(..1).unwrap());
    let (template, place) = whole_of("permit(principal == ?principal, action, resource);");
    refused(vec![("a template", template, place, "templates")]);
    let (twin, place) = policy(&format!("@id(\"all\") {whole}"), &format!("@id(\"all\") {whole}"));
    let place = match place {
        Place::Policy { file, length, .. } => Place::Policy { file, offset: 0, length },
        other => other,
    };
    let mut parts = bundle::parts();
    twin(&mut parts);
    let faults = Snapshot::build(parts).unwrap_err();
    assert!(
        faults.iter().any(|f| f.message.contains("two policies have the id")
            && matches!(&f.place, Place::Policy { file, .. } if *file == "p.cedar")),
        "{place:?}: {}",
        show(&faults)
    );
}

#[test]
fn mandates_that_name_what_is_not_there_or_cannot_hold() {
    let bounded = |bounds: &str| format!(r#"{{"grants":[{{"tool":"files/write","arguments":{bounds}}}]}}"#);
    let limited = |limits: &str| format!(r#"{{"grants":[{{"tool":"files/write","limits":{limits}}}]}}"#);
    let cases: Vec<(&str, String, &str, &str)> = vec![
        ("tool", r#"{"grants":[{"tool":"files/chmod"}]}"#.into(), "grants 0 tool", "not a known tool"),
        (
            "server of a tool",
            r#"{"grants":[{"tool":"nowhere/x"}]}"#.into(),
            "grants 0 tool",
            "not a known tool",
        ),
        (
            "server",
            r#"{"grants":[{"tool":"files/read"},{"effects":["read"],"servers":["nowhere"]}]}"#.into(),
            "grants 1 servers",
            "no manifest",
        ),
        (
            "exception",
            r#"{"grants":[{"effects":["read"],"servers":["files"],"except":["files/x"]}]}"#.into(),
            "grants 0 except",
            "not a known tool",
        ),
        (
            "condition",
            r#"{"grants":[{"tool":"files/read","after":[{"tool":"mail/list"},{"tool":"files/x"}]}]}"#.into(),
            "grants 0 after 1",
            "not a known tool",
        ),
        (
            "argument of a condition",
            r#"{"grants":[{"tool":"files/read","after":[{"tool":"mail/list","arguments":{"x":1}}]}]}"#.into(),
            "grants 0 after 0",
            "no argument",
        ),
        ("argument", bounded(r#"{"pathh":{}}"#), "grants 0 arguments pathh", "no argument"),
        ("argument below a string", bounded(r#"{"path/x":{}}"#), "grants 0 arguments path/x", "no argument"),
        ("names of no map", bounded(r#"{"path/@keys":{}}"#), "grants 0 arguments path/@keys", "no argument"),
        ("expression", bounded(r#"{"path":{"matches":"("}}"#), "grants 0 arguments path matches", ""),
        (
            "expression that leaves its anchors",
            bounded(r#"{"path":{"matches":"a)|(?:b"}}"#),
            "grants 0 arguments path matches",
            "",
        ),
        (
            "expression too large",
            bounded(r#"{"path":{"matches":"(\\w{1000}){1000}"}}"#),
            "grants 0 arguments path matches",
            "",
        ),
        ("glob", bounded(r#"{"path":{"glob":"["}}"#), "grants 0 arguments path glob", ""),
        (
            "maximum of words",
            bounded(r#"{"mode":{"max":"much"}}"#),
            "grants 0 arguments mode max",
            "no order",
        ),
        ("maximum too long", bounded(r#"{"mode":{"max":1e99}}"#), "grants 0 arguments mode max", "no order"),
        (
            "minimum that is a list",
            bounded(r#"{"mode":{"min":[1]}}"#),
            "grants 0 arguments mode min",
            "no order",
        ),
        (
            "directory with dots",
            bounded(r#"{"path":{"within":["/a","../b"]}}"#),
            "grants 0 arguments path within",
            "dot segments",
        ),
        (
            "host",
            bounded(r#"{"content":{"host_in":["https://example.com"]}}"#),
            "grants 0 arguments content host_in",
            "host",
        ),
        (
            "no domains",
            bounded(r#"{"content":{"domain_in":[]}}"#),
            "grants 0 arguments content domain_in",
            "empty list",
        ),
        (
            "value that nothing equals",
            bounded(r#"{"path":{"equals":"/a/../b"}}"#),
            "grants 0 arguments path equals",
            "no value can equal",
        ),
        (
            "one of several such",
            bounded(r#"{"path":{"in":["/a","~/b"]}}"#),
            "grants 0 arguments path in",
            "no value can equal",
        ),
        (
            "hole without bounds",
            bounded(r#"{"content":{"template":"a {x}"}}"#),
            "grants 0 arguments content template",
            "no bounds",
        ),
        (
            "hole not closed",
            bounded(r#"{"content":{"template":"a {x"}}"#),
            "grants 0 arguments content template",
            "not closed",
        ),
        (
            "hole with a wrong bound",
            bounded(r#"{"content":{"template":"a {x}","x":{"matches":"("}}}"#),
            "grants 0 arguments content x matches",
            "",
        ),
        (
            "hole with a template",
            bounded(r#"{"content":{"template":"a {x}","x":{"template":"{y}","y":{}}}}"#),
            "grants 0 arguments content x template",
            "template of its own",
        ),
        (
            "sum of nothing",
            limited(r#"{"sum":{"amount":1}}"#),
            "grants 0 limits sum",
            "no tool that is granted",
        ),
        (
            "different values of nothing",
            limited(r#"{"distinct":{"to":1}}"#),
            "grants 0 limits distinct",
            "no tool that is granted",
        ),
        (
            "once of nothing",
            limited(r#"{"unique":["to"]}"#),
            "grants 0 limits unique",
            "no tool that is granted",
        ),
        (
            "the mandate's limits",
            r#"{"limits":{"sum":{"amount":1}},"grants":[{"tool":"files/read"}]}"#.into(),
            "limits sum",
            "no tool that is granted",
        ),
    ];
    let snapshot = World::new("[]").snapshot();
    for (name, text, at, words) in cases {
        let faults = snapshot
            .compile(common::terms(&json(&text)))
            .err()
            .unwrap_or_else(|| panic!("{name}: {text} compiled"));
        expect(name, &faults, Severity::Error, &mandate(at), words);
    }
}

#[test]
fn a_bundles_mandate_names_people_and_an_agent_that_are_there() {
    let snapshot = World::new("[]").snapshot();
    for (text, at, words) in [
        (r#"{"person":"zoe","sponsor":"alice","grants":[]}"#, "person", "not a known person"),
        (r#"{"sponsor":"zoe","grants":[]}"#, "sponsor", "not a known person"),
        (r#"{"agent":"zoe","grants":[]}"#, "agent", "not a known agent"),
    ] {
        let faults = snapshot.actors(&common::terms(&json(text)));
        expect(at, &faults, Severity::Error, &mandate(at), words);
    }
    assert_eq!(snapshot.actors(&common::terms(&json(r#"{"grants":[]}"#))), []);
}

#[test]
fn a_path_bounded_twice_is_refused() {
    let mut terms =
        common::terms(&json(r#"{"grants":[{"tool":"files/write","arguments":{"mode":{"max":1}}}]}"#));
    let mut wider = terms.grants[0].arguments[0].clone();
    wider.1 = warrantor_model::Bounds::default();
    terms.grants[0].arguments.push(wider);
    let faults = World::new("[]").snapshot().compile(terms).expect_err("two bounds of one path compiled");
    expect("twice", &faults, Severity::Error, &mandate("grants 0 arguments mode"), "bounded twice");
}

#[test]
fn sources_that_lead_nowhere_are_refused_and_lax_ones_warned_of() {
    let mut parts = bundle::parts();
    let payee = warrantor_model::RecordType {
        fields: [("iban".parse().unwrap(), warrantor_model::FieldRule::default())].into(),
        ..Default::default()
    };
    parts.manifests[0].records.insert("Payee".into(), payee);
    let snapshot = Snapshot::build(parts).unwrap().snapshot;
    let compile = |request: &str, sources: &str| {
        snapshot.compile(common::terms(&json(&format!(
            r#"{{{request}"slots":{{"vendor":"ACME"}},"grants":[{{"tool":"bank/send_money","arguments":{{"recipient":{{"from":[{sources}]}}}}}}]}}"#
        ))))
    };
    let at = mandate("grants 0 arguments recipient from 0");
    for (source, words) in [
        (r#""slot:other""#, "no slot"),
        (r#""record:Nothing#iban""#, "no manifest describes records"),
        (r#""record:files/Payee#iban""#, "no manifest describes records"),
        (r#""record:Payee#iban[name=$slot.other]""#, "no slot"),
        (r#""tool:bank/nothing""#, "not a known tool"),
        (r#""tool:bank/list_payees(nothing=1)""#, "is no argument of"),
        (r#""tool:bank/list_payees(.=1)""#, "arguments are none"),
        (r#""call:bank/nothing#x""#, "not a known tool"),
        (r#""call:bank/list_payees#nothing""#, "is no argument of"),
        (r#""request""#, "no request"),
    ] {
        let faults = compile("", source).err().unwrap_or_else(|| panic!("{source} compiled"));
        expect(source, &faults, Severity::Error, &at, words);
    }
    for (source, words) in [
        (r#""any""#, "sensitive"),
        (r#""record:Payee#name""#, "no listed field"),
        (r#""record:Payee#iban""#, "have no key"),
        (r#""record:Payee#iban[iban=$slot.vendor]""#, "anyone may write"),
        (r#""tool:bank/list_payees#*/iban[name=x]""#, "anyone may write"),
    ] {
        let compiled = compile(r#""request":"Pay 5 to DE89.","#, source)
            .unwrap_or_else(|faults| panic!("{source}: {}", show(&faults)));
        expect(source, compiled.warnings(), Severity::Warning, &at, words);
    }
    let number = json(
        r#"{"request":"Pay 5.","grants":[{"tool":"bank/send_money","arguments":{"amount":{"from":["request"]},"priority":{"otherwise":"deny"}}}]}"#,
    );
    let compiled = snapshot.compile(common::terms(&number)).unwrap();
    expect(
        "otherwise",
        compiled.warnings(),
        Severity::Warning,
        &mandate("grants 0 arguments priority otherwise"),
        "says nothing",
    );
}

#[test]
fn what_manifests_say_of_results_is_checked() {
    let mut parts = bundle::parts();
    let rule = warrantor_model::FieldRule {
        writer: warrantor_model::WriterRule::Depends {
            when: vec![("[a=$slot.b]".parse().unwrap(), warrantor_model::Writer::Own)],
            otherwise: warrantor_model::Writer::Anyone,
        },
        ..Default::default()
    };
    let record =
        warrantor_model::RecordType { fields: [("a".parse().unwrap(), rule)].into(), ..Default::default() };
    parts.manifests[0].records.insert("R".into(), record);
    let faults = Snapshot::build(parts).unwrap_err();
    expect(
        "slots",
        &faults,
        Severity::Error,
        &manifest("bank", "records R fields a writer"),
        "belong to one",
    );
    let mut parts = bundle::parts();
    let fetch =
        bundle::rule(bundle::tool("fetch", &["read"], r#"{"url":{"type":"string"}}"#), "url", &["url"]);
    parts.manifests[0].tools.insert(fetch.name.clone(), fetch);
    let built = Snapshot::build(parts).unwrap();
    expect(
        "carries",
        &built.warnings,
        Severity::Warning,
        &manifest("bank", "tools fetch arguments url"),
        "leaves with it",
    );
}

#[test]
fn trackers_that_count_nothing_are_refused() {
    let tracker = |change: fn(&mut warrantor_model::tracker::Tracker)| {
        let mut tracker = warrantor_model::tracker::Tracker {
            name: "paid".into(),
            what: warrantor_model::tracker::Tracked::Sum("amount".parse().unwrap()),
            tools: Some(["bank/send_money".parse().unwrap()].into()),
            effects: None,
            outcome: None,
            window: std::time::Duration::from_secs(3600),
            per: warrantor_model::tracker::Per::Task,
        };
        change(&mut tracker);
        let mut parts = bundle::parts();
        parts.trackers = vec![tracker];
        Snapshot::build(parts)
    };
    let place = |field: &str| Place::Trackers { pointer: pointer(&format!("paid {field}")) };
    assert!(tracker(|_| {}).is_ok());
    let faults = tracker(|t| t.tools = Some(["bank/nothing".parse().unwrap()].into())).unwrap_err();
    expect("tool", &faults, Severity::Error, &place("tools"), "not a known tool");
    let faults =
        tracker(|t| t.what = warrantor_model::tracker::Tracked::Sum("nothing".parse().unwrap())).unwrap_err();
    expect("sum", &faults, Severity::Error, &place("sum"), "argument of no tool");
}

#[test]
fn what_can_never_pass_is_warned_of_and_loads() {
    let mut parts = bundle::parts();
    parts.agents[0].ceiling.servers.insert("later".parse().unwrap());
    let built = Snapshot::build(parts).unwrap();
    expect("ceiling", &built.warnings, Severity::Warning, &agents("agents 0 ceiling servers"), "no manifest");
    for (text, at, words) in [
        (r#"{"agent":"reader","grants":[{"tool":"files/delete"}]}"#, "grants 0", "never pass"),
        (r#"{"grants":[{"effects":["execute"],"servers":["files"]}]}"#, "grants 0", "matches no tool"),
        (r#"{"grants":[{"tool":"files/read","ask":"group:nobody"}]}"#, "grants 0 ask", "nobody is in"),
    ] {
        let compiled = built.snapshot.compile(common::terms(&json(text))).unwrap();
        expect(text, compiled.warnings(), Severity::Warning, &mandate(at), words);
    }
}

#[test]
fn what_asks_where_nobody_may_answer_is_warned_of() {
    let asking =
        r#"@id("asks") @ask("finance") forbid (principal, action == Action::"files/read", resource);"#;
    let calls = r#"@id("calls") permit (principal, action == Action::"files/read", resource);"#;
    let answers = r#"@id("answers") permit (principal, action == Action::"approve", resource);"#;
    for (policies, is_warned) in
        [([asking, calls].concat(), true), ([asking, calls, answers].concat(), false)]
    {
        let mut parts = bundle::parts();
        parts.policies = vec![PolicySource { file: "p.cedar".into(), text: policies }];
        let built = Snapshot::build(parts).unwrap();
        let words = "no policy lets anybody answer";
        let told = |faults: &[Fault]| faults.iter().filter(|f| f.message.contains(words)).count();
        assert_eq!(told(&built.warnings), usize::from(is_warned), "{}", show(&built.warnings));
        for (text, at) in [
            (r#"{"grants":[{"tool":"files/read","ask":"person"}]}"#, "grants 0 ask"),
            (
                r#"{"request":"read it","grants":[{"tool":"files/read","arguments":{"path":{"from":["request"],"otherwise":"ask"}}}]}"#,
                "grants 0 arguments path otherwise",
            ),
        ] {
            let compiled = built.snapshot.compile(common::terms(&json(text))).unwrap();
            if is_warned {
                expect(text, compiled.warnings(), Severity::Warning, &mandate(at), words);
            }
            assert_eq!(told(compiled.warnings()), usize::from(is_warned), "{text}");
        }
    }
}

#[test]
fn every_fault_is_told_and_not_the_first_alone() {
    let mut parts = bundle::parts();
    parts.agents[0] = bundle::agent("bot", "zoe", &["yann"]);
    parts.observe = bundle::servers(&["nowhere"]);
    parts.policies.push(PolicySource { file: "p.cedar".into(), text: "permit(".into() });
    let faults = Snapshot::build(parts).unwrap_err();
    for place in [agents("agents 0 owner"), agents("agents 0 sponsors 0"), Place::Bundle] {
        assert!(faults.iter().any(|fault| fault.place == place), "{place:?} is not among\n{}", show(&faults));
    }
    assert!(faults.iter().any(|f| matches!(&f.place, Place::Policy { file, .. } if file == "p.cedar")));
}
