//! The bundle: three people, two groups, four agents, three servers.

use std::collections::{BTreeMap, BTreeSet};

use warrantor_decide::{Parts, PolicySource};
use warrantor_model::{
    Accountable, Agent, AgentStatus, ArgumentRule, Ceiling, Digest, Failure, FieldRule, Kind, Manifest,
    Person, PersonStatus, RecordKey, RecordType, ServerName, TextForm, Tool, Writer, WriterRule,
    tool::ResourceRule,
};

use super::{effects, json};

pub fn parts() -> Parts {
    Parts {
        directory_groups: std::collections::BTreeSet::new(),
        revision: Digest::of(b"revision"),
        people: vec![person("alice", &["finance"]), person("bob", &["finance", "ops"]), person("carol", &[])],
        agents: vec![
            agent("bot", "alice", &["alice"]),
            agent("helper", "group:finance", &["group:finance"]),
            agent("clerk", "bob", &["bob"]),
            Agent {
                blueprint: None,
                ceiling: Ceiling { servers: servers(&["files"]), effects: effects(&["read"]) },
                ..agent("reader", "alice", &["alice"])
            },
        ],
        manifests: vec![bank(), files(), mail()],
        policies: vec![PolicySource {
            file: "all.cedar".into(),
            text: "@id(\"all\")\npermit(principal, action, resource);\n".into(),
        }],
        observe: BTreeSet::new(),
        trackers: Vec::new(),
    }
}

pub fn person(id: &str, groups: &[&str]) -> Person {
    Person {
        id: id.parse().unwrap(),
        issuer: "https://login.example.com".into(),
        subject: format!("sub-{id}"),
        mail: vec![format!("{id}@example.com")],
        handles: BTreeMap::new(),
        groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
        status: PersonStatus::Active,
    }
}

pub fn agent(id: &str, owner: &str, sponsors: &[&str]) -> Agent {
    let who = |text: &str| text.parse::<Accountable>().unwrap();
    Agent {
        blueprint: None,
        keys: BTreeMap::new(),
        id: id.parse().unwrap(),
        owner: who(owner),
        sponsors: sponsors.iter().map(|sponsor| who(sponsor)).collect(),
        purpose: "invented".into(),
        status: AgentStatus::Active,
        ceiling: Ceiling {
            servers: servers(&["bank", "files", "mail"]),
            effects: warrantor_model::Effect::ALL.into_iter().collect(),
        },
    }
}

pub fn servers(names: &[&str]) -> BTreeSet<ServerName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

pub fn manifest(server: &str, tools: Vec<Tool>) -> Manifest {
    Manifest {
        server: server.parse().unwrap(),
        records: BTreeMap::new(),
        tools: tools.into_iter().map(|tool| (tool.name.clone(), tool)).collect(),
        instructions: None,
        launch: None,
        uris: BTreeMap::new(),
        definitions: Digest::of(b"definitions"),
        listed: BTreeMap::new(),
    }
}

/// A tool whose input schema has these properties, none required.
pub fn tool(name: &str, does: &[&str], properties: &str) -> Tool {
    Tool {
        name: name.parse().unwrap(),
        definition: Digest::of(name.as_bytes()),
        input_schema: json(&format!(r#"{{"type":"object","properties":{properties}}}"#)),
        output_schema: None,
        effects: effects(does),
        effects_when: Vec::new(),
        resource: None,
        arguments: BTreeMap::new(),
        failure: Failure::Unknown,
        returns: Vec::new(),
        text: TextForm::Plain,
        outputs: BTreeMap::new(),
    }
}

/// Adds a rule for an argument: the words `sensitive`, `free`, `acts`, or a kind.
pub fn rule(mut tool: Tool, path: &str, words: &[&str]) -> Tool {
    let mut rule = ArgumentRule::default();
    for word in words {
        match *word {
            "sensitive" => rule.sensitive = true,
            "free" => rule.free = true,
            "acts" => rule.empty_acts = true,
            kind => rule.kind = Some(serde_json::from_str::<Kind>(&format!("\"{kind}\"")).unwrap()),
        }
    }
    tool.arguments.insert(path.parse().unwrap(), rule);
    tool
}

pub fn when(mut tool: Tool, path: &str, does: &[&str]) -> Tool {
    tool.effects_when.push((path.parse().unwrap(), effects(does)));
    tool
}

pub fn resource(mut tool: Tool, entity_type: &str, id: &str) -> Tool {
    tool.resource = Some(ResourceRule { entity_type: entity_type.into(), id: id.parse().unwrap() });
    tool
}

pub fn bank() -> Manifest {
    let send = tool(
        "send_money",
        &["pay"],
        r#"{"recipient":{"type":"string"},"amount":{"type":"number"},"subject":{"type":["string","null"]},
            "date":{"type":"string"},"priority":{"type":"integer"}}"#,
    );
    let send = rule(send, "recipient", &["sensitive", "account"]);
    let send = rule(rule(send, "date", &["date"]), "subject", &["text"]);
    let batch = tool(
        "batch",
        &["pay"],
        r#"{"payments":{"type":"array","items":{"type":"object","properties":
            {"iban":{"type":"string"},"amount":{"type":"number"}}}}}"#,
    );
    let list = tool(
        "list_payees",
        &["read"],
        r#"{"filter":{"type":"string"},"limit":{"type":"integer"},"pin":{"type":"string"},"pins":{"type":"array","items":{"type":["string","null"]}}}"#,
    );
    let list = rule(rule(list, "pin", &["sensitive", "id"]), "pins", &["sensitive", "id"]);
    manifest(
        "bank",
        vec![resource(send, "Account", "recipient"), rule(batch, "payments/*/iban", &["account"]), list],
    )
}

pub fn files() -> Manifest {
    let read = rule(
        tool("read", &["read"], r#"{"path":{"type":"string"},"lines":{"type":"integer"}}"#),
        "path",
        &["path"],
    );
    let write = tool(
        "write",
        &["write"],
        r#"{"path":{"type":"string"},"content":{"type":"string"},"mode":{"type":"integer"},
            "scope":{"type":"array","items":{"type":"string"}},
            "tags":{"type":"array","items":{"items":{"items":{}}}},
            "options":{"type":"object","properties":{"deep":{"items":{}},"secret":{"type":"string"},
                "box":{"properties":{"inner":{"properties":{"leaf":{}}}}}}},
            "meta":{"type":"object","additionalProperties":{"type":["string","null"]}},
            "open":{"type":"object","additionalProperties":true}}"#,
    );
    let write = rule(rule(write, "path", &["path"]), "content", &["free"]);
    let write = rule(write, "scope", &["acts"]);
    let delete = rule(tool("delete", &["destroy"], r#"{"path":{"type":"string"}}"#), "path", &["path"]);
    manifest("files", vec![read, write, delete])
}

pub fn mail() -> Manifest {
    let send = tool(
        "send",
        &["egress", "write"],
        r#"{"to":{"type":"array","items":{"type":"string"}},"cc":{"type":"array","items":{"type":"string"}},
            "subject":{"type":"string"},"body":{"type":"string"},"link":{"type":"string"}}"#,
    );
    let send = rule(rule(rule(send, "to", &["mail"]), "cc", &["mail"]), "body", &["free"]);
    let send = rule(send, "link", &["url"]);
    let event = tool(
        "create_event",
        &["write"],
        r#"{"title":{"type":"string"},"participants":{"type":"array","items":{"type":"string"}}}"#,
    );
    manifest(
        "mail",
        vec![
            send,
            when(event, "participants", &["egress"]),
            tool("list", &["read"], r#"{"folder":{"type":"string"}}"#),
        ],
    )
}

fn field(writer: Writer, kind: Option<Kind>) -> FieldRule {
    FieldRule { kind, writer: WriterRule::Always(writer), labels: Default::default() }
}

/// The bank with payees that alice keeps, transactions that anyone may word, notes that she and her agents write, and mail.
pub fn traced() -> Parts {
    let mut bank = bank();
    let payee = RecordType {
        key: Some(RecordKey::Field("iban".into())),
        fields: BTreeMap::from([
            ("iban".parse().unwrap(), field(Writer::Own, Some(Kind::Account))),
            ("name".parse().unwrap(), field(Writer::Own, None)),
        ]),
        ..RecordType::default()
    };
    let transaction = RecordType {
        key: Some(RecordKey::Field("id".into())),
        labels: ["confidential".to_owned()].into(),
        fields: BTreeMap::from([
            ("id".parse().unwrap(), field(Writer::System, None)),
            ("amount".parse().unwrap(), field(Writer::System, None)),
            (
                "subject".parse().unwrap(),
                FieldRule {
                    writer: WriterRule::Depends {
                        when: vec![("[sender=$self]".parse().unwrap(), Writer::Own)],
                        otherwise: Writer::Anyone,
                    },
                    ..FieldRule::default()
                },
            ),
        ]),
    };
    bank.records = BTreeMap::from([("Payee".to_owned(), payee), ("Transaction".to_owned(), transaction)]);
    bank.tools.get_mut(&"list_payees".parse().unwrap()).unwrap().returns =
        vec![("*".parse().unwrap(), "Payee".into())];
    let mut transactions = tool("transactions", &["read"], "{}");
    transactions.returns = vec![("*".parse().unwrap(), "Transaction".into())];
    let password = rule(
        tool("set_password", &["credential"], r#"{"password":{"type":"string"}}"#),
        "password",
        &["sensitive", "text"],
    );
    for tool in [transactions, password] {
        bank.tools.insert(tool.name.clone(), tool);
    }
    let mut notes = manifest(
        "notes",
        vec![
            tool("write", &["write"], r#"{"text":{"type":"string"}}"#),
            tool("read", &["read"], r#"{"name":{"type":"string"}}"#),
            tool("parsed", &["read"], "{}"),
        ],
    );
    let own = BTreeMap::from([("".parse().unwrap(), field(Writer::Own, None))]);
    notes.tools.get_mut(&"read".parse().unwrap()).unwrap().outputs = own.clone();
    let parsed = notes.tools.get_mut(&"parsed".parse().unwrap()).unwrap();
    parsed.outputs = own;
    parsed.text = TextForm::Json;
    let mut whole = parts();
    whole.agents[0].ceiling.servers.insert("notes".parse().unwrap());
    whole.manifests = vec![bank, files(), mail(), notes];
    whole
}
