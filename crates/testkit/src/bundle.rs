//! A small bundle: a bank with five tools, two people, an agent, a mandate and one that narrows it.

use warrantor_bundle::{Listed, Loaded, load_files};
use warrantor_mcp::tools::{Offered, server_digest};
use warrantor_model::Json;

/// What the bank answers to `tools/list`.
const TOOLS: &str = r#"{"tools":[
{"name":"send_money","description":"Sends money","inputSchema":{"type":"object","properties":{"recipient":{"type":"string"},"amount":{"type":"number"}},"required":["recipient","amount"]}},
{"name":"list_payees","inputSchema":{"type":"object","properties":{}}},
{"name":"add_note","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}},"outputSchema":{"type":"object"}},
{"name":"invite","inputSchema":{"type":"object","properties":{"people":{"type":"array","items":{"type":"string"}}},"required":["people"]}},
{"name":"close_account","inputSchema":{"type":"object","properties":{}}}
]}"#;

const MANIFEST: &str = r#"server: bank
definitions: bank.tools.json
digest: sha256:DIGEST
tools:
  send_money:
    effects: [pay]
    arguments: { recipient: { sensitive: true, kind: account }, amount: { kind: number } }
    failure: atomic
  list_payees: { effects: [read] }
  add_note: { effects: [write], arguments: { text: { free: true } } }
  invite: { effects: [share] }
  close_account: { effects: [destroy] }
"#;

const PEOPLE: &str = r#"people:
  - { id: alice, issuer: "https://login.example.com", subject: "1", groups: [finance] }
  - { id: bob, issuer: "https://login.example.com", subject: "2" }
"#;

const AGENTS: &str = r#"agents:
  - id: invoice-bot
    owner: alice
    sponsors: [alice]
    purpose: settles invoices
    ceiling: { servers: [bank], effects: [read, pay, write, share, destroy] }
"#;

const PAY: &str = r#"id: pay
person: alice
agent: invoice-bot
purpose: settle the invoice
expires_in: 30m
delegation: { depth: 1 }
limits: { calls: 100 }
grants:
  - tool: bank/list_payees
  - tool: bank/send_money
    arguments:
      recipient: { in: [DE1, DE2] }
      amount: { max: 1200 }
    limits: { sum: { amount: 1200 }, unique: [recipient] }
  - tool: bank/add_note
    after: ["bank/list_payees"]
  - tool: bank/invite
    arguments: { people: { max_items: 1000 } }
    limits: { distinct: { "people/*": 2 } }
  - tool: bank/close_account
    ask: person
"#;

const PART: &str = r#"id: part
person: alice
agent: invoice-bot
parent: pay
purpose: look up payees
expires_in: 10h
grants:
  - tool: bank/list_payees
"#;

/// The files of a bundle, to be changed and loaded.
#[derive(Debug, Clone)]
pub struct BundleFiles(Vec<(String, String)>);

impl Default for BundleFiles {
    fn default() -> Self {
        Self::new()
    }
}

impl BundleFiles {
    /// The bank's.
    #[must_use]
    pub fn new() -> Self {
        let tools = Json::parse(TOOLS.as_bytes()).unwrap();
        let digest = server_digest(&Offered {
            tools: tools.get("tools").and_then(Json::as_array).unwrap(),
            ..Offered::default()
        })
        .unwrap();
        let files = [
            ("people.yaml", PEOPLE.to_owned()),
            ("agents.yaml", AGENTS.to_owned()),
            ("tools/bank.yaml", MANIFEST.replace("DIGEST", &digest.hex())),
            ("tools/bank.tools.json", TOOLS.to_owned()),
            ("policies/all.cedar", "@id(\"all\")\npermit (principal, action, resource);\n".to_owned()),
            ("mandates/pay.yaml", PAY.to_owned()),
            ("mandates/part.yaml", PART.to_owned()),
        ];
        Self(files.map(|(path, text)| (path.to_owned(), text)).to_vec())
    }

    /// The bank's `tools/list` answer, as it is pinned, on one line.
    #[must_use]
    pub fn definitions() -> String {
        TOOLS.replace('\n', "")
    }

    /// With one text in the place of another, which has to be there.
    #[must_use]
    pub fn with(mut self, file: &str, right: &str, other: &str) -> Self {
        let (_, text) = self.0.iter_mut().find(|(path, _)| path == file).unwrap();
        assert!(text.contains(right), "{file} has no {right:?}");
        *text = text.replacen(right, other, 1);
        self
    }

    /// With another file.
    #[must_use]
    pub fn and(mut self, path: &str, text: &str) -> Self {
        self.0.retain(|(known, _)| known != path);
        self.0.push((path.to_owned(), text.to_owned()));
        self
    }

    /// The texts by their paths.
    #[must_use]
    pub fn texts(&self) -> std::collections::BTreeMap<String, String> {
        self.0.iter().cloned().collect()
    }

    /// The bundle.
    #[must_use]
    pub fn load(&self) -> Loaded {
        let files = self.0.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes()));
        load_files(files.collect()).unwrap_or_else(|report| panic!("{}", Listed(&report)))
    }
}
