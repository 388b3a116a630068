//! Bundles that load, and bundles that do not, with the line that says why.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{fs, path::Path};

use proptest::prelude::*;
use warrantor_bundle::{
    EnvEntry, FileKind, Listed, Loaded, Report, Severity, check, load, load_files, parse_any,
    parse_definitions, terms_from_document,
};
use warrantor_model::{Json, Match, mandate::Lifetime};

const DIGEST: &str = "0a8314dc71d355102f40e346ba15a66328a484437cce943d90a66a90a853b446";

fn base() -> Vec<(String, String)> {
    [
        ("people.yaml", include_str!("bundle/people.yaml")),
        ("agents.yaml", include_str!("bundle/agents.yaml")),
        ("tools/bank.yaml", include_str!("bundle/tools/bank.yaml")),
        ("tools/bank.tools.json", include_str!("bundle/tools/bank.tools.json")),
        ("policies/base.cedar", include_str!("bundle/policies/base.cedar")),
        ("mandates/pay.yaml", include_str!("bundle/mandates/pay.yaml")),
        ("mandates/part.yaml", include_str!("bundle/mandates/part.yaml")),
        ("warrantor.toml", include_str!("bundle/warrantor.toml")),
    ]
    .map(|(path, text)| (path.to_owned(), text.replace("DIGEST", DIGEST)))
    .to_vec()
}

fn load_texts(files: Vec<(String, String)>) -> Result<Loaded, Report> {
    load_files(files.into_iter().map(|(path, text)| (path, text.into_bytes())).collect())
}

/// The base with one text in the place of another, which has to be there.
fn with(file: &str, right: &str, wrong: &str) -> Vec<(String, String)> {
    let mut files = base();
    let (_, text) = files.iter_mut().find(|(path, _)| path == file).unwrap();
    assert!(text.contains(right), "{file} has no {right:?}");
    *text = text.replacen(right, wrong, 1);
    files
}

fn and(mut files: Vec<(String, String)>, path: &str, text: &str) -> Vec<(String, String)> {
    files.retain(|(known, _)| known != path);
    files.push((path.to_owned(), text.to_owned()));
    files
}

fn errors(files: Vec<(String, String)>) -> Vec<String> {
    match load_texts(files) {
        Ok(_) => Vec::new(),
        Err(report) => report
            .diagnostics()
            .iter()
            .filter(|d| d.severity == Severity::Error)
            .map(|d| format!("{}: {}", d.place(), d.message))
            .collect(),
    }
}

#[test]
fn a_bundle_loads_with_everything_in_it() {
    let loaded = load_texts(base()).unwrap_or_else(|report| panic!("{}", Listed(&report)));
    assert!(loaded.warnings.is_empty(), "{:?}", loaded.warnings);
    assert_eq!(loaded.templates.len(), 2);
    let pay = &loaded.templates[&"pay".parse().unwrap()];
    assert_eq!(pay.file, "mandates/pay.yaml");
    assert_eq!(pay.terms.sponsor, pay.terms.person);
    assert!(matches!(pay.terms.lifetime, Lifetime::For(d) if d.as_secs() == 1800));
    assert_eq!(pay.terms.limits.calls, Some(40));
    let grant = &pay.terms.grants[1];
    assert!(matches!(&grant.matches, Match::Tool(tool) if tool.to_string() == "bank/send_money"));
    let amount = &grant.arguments.iter().find(|(path, _)| path.to_string() == "amount").unwrap().1;
    assert_eq!(amount.max, Some(Json::Number("1200.10".into())), "as it was written");
    assert_eq!(grant.limits.sum.values().next().unwrap().to_string(), "1200.10");
    let bank = &loaded.config.servers[&"bank".parse().unwrap()];
    assert_eq!(bank.env["BANK_TOKEN"], EnvEntry::File("secrets/token".to_owned()));
    assert_eq!(bank.timeout.as_secs(), 5);
    assert_eq!(loaded.snapshot.policy_count(), 2);
}

#[test]
fn a_mandate_from_the_store_says_the_same_as_its_file() {
    let loaded = load_texts(base()).unwrap();
    for template in loaded.templates.values() {
        let stored = serde_json::to_string(&template.document).unwrap();
        let document = Json::parse(stored.as_bytes()).unwrap();
        assert_eq!(terms_from_document(&document).unwrap(), template.terms);
    }
    for (document, first) in [
        (r#"{"id":"x"}"#, "the field \"purpose\" is missing"),
        (
            r#"{"id":"x","agent":"a","purpose":"p","expires_in":"1h","grants":[]}"#,
            "the mandate leaves open: the person",
        ),
        (
            r#"{"id":"x","person":"p","purpose":"p","expires_in":"1h","takes":{"s":{}},"grants":[]}"#,
            "the mandate leaves open: the agent, the slot s",
        ),
    ] {
        let report = terms_from_document(&Json::parse(document.as_bytes()).unwrap()).unwrap_err();
        assert!(report.to_string().contains(first), "{document}: {report}");
    }
}

#[test]
fn an_empty_bundle_loads_and_grants_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let loaded = load(dir.path()).unwrap();
    assert!(loaded.templates.is_empty() && loaded.snapshot.policy_count() == 0);
    assert!(check(dir.path()).is_passed());
}

/// What is put in the place of what, and the line and message that come of it.
#[test]
fn every_fault_is_told_in_its_line() {
    let mut missed = Vec::new();
    for (file, right, wrong, expected) in [
        (
            "people.yaml",
            "id: alice",
            "id: al/ice",
            "people.yaml:2:9: a person's id has the character '/' at byte 2",
        ),
        (
            "people.yaml",
            "subject: \"17\"",
            "subject: 17",
            "people.yaml:8:14: expected text, found the number 17",
        ),
        ("people.yaml", "subject: \"17\"", "subject: \"\"", "people.yaml:8:14: the subject of bob is empty"),
        ("people.yaml", "id: bob", "id: alice", "people.yaml:6:9: the person alice stands twice"),
        (
            "people.yaml",
            "subject: \"17\"",
            "subject: 00u1",
            "people.yaml:8:14: issuer and subject of bob are those of another person",
        ),
        ("people.yaml", "groups: [finance]", "groups: [finance", "people.yaml:6:7: not well-formed YAML"),
        (
            "people.yaml",
            "    groups",
            "    gruops",
            "people.yaml:5:5: the field \"gruops\" is not known here",
        ),
        (
            "agents.yaml",
            "owner: alice",
            "owner: carol",
            "agents.yaml:3:12: the owner carol is not in people.yaml",
        ),
        ("agents.yaml", "[\"group:finance\"]", "[]", "agents.yaml:4:5: nobody sponsors invoice-bot"),
        (
            "agents.yaml",
            "[\"group:finance\"]",
            "[alice, \"group:x\"]",
            "agents.yaml:4:23: the sponsor group:x is not in people.yaml",
        ),
        (
            "agents.yaml",
            "    ceiling: { servers: [bank], effects: [read, pay] }\n",
            "",
            "agents.yaml:2:5: the field \"ceiling\" is missing",
        ),
        (
            "tools/bank.yaml",
            "definitions: bank",
            "definitions: ../bank",
            "tools/bank.yaml:2:14: \"../bank.tools.json\" is no name of a file of definitions",
        ),
        (
            "tools/bank.yaml",
            "definitions: bank",
            "definitions: bonk",
            "tools/bank.yaml:2:14: there is no file tools/bonk.tools.json",
        ),
        (
            "tools/bank.yaml",
            "digest: sha256:",
            "digest: sha256:0000000000000000000000000000000000000000000000000000000000000000 #",
            "tools/bank.yaml:3:1: the definitions in bank.tools.json are not the ones that were pinned",
        ),
        ("tools/bank.yaml", "effects: [pay]", "effects: []", "tools/bank.yaml:8:5: send_money has no effect"),
        (
            "tools/bank.yaml",
            "  list_payees:",
            "  list_payes:",
            "tools/bank.yaml:12:3: the server defines no tool list_payes",
        ),
        (
            "tools/bank.yaml",
            "\"*\": Payee",
            "\"*\": Payer",
            "tools/bank.yaml:12:51: there is no record \"Payer\" here",
        ),
        (
            "tools/bank.yaml",
            "key: iban",
            "key: bic",
            "tools/bank.yaml:5:17: the key \"bic\" is no field of Payee",
        ),
        (
            "tools/bank.yaml",
            "writer: self }, name",
            "writer: { \"[x]\": self, else: anyone } }, name",
            "tools/bank.yaml:5:66: \"x\" compares nothing",
        ),
        (
            "tools/bank.yaml",
            "writer: self }, name",
            "writer: { \"[x=1]\": self } }, name",
            "tools/bank.yaml:5:56: there is no writer for the other cases",
        ),
        (
            "tools/bank.yaml",
            "writer: self }, name",
            "writer: { \"[x=]\": self, else: anyone } }, name",
            "tools/bank.yaml:5:66: a comparison without a value",
        ),
        (
            "tools/bank.yaml",
            "id: recipient",
            "id: recipent",
            "tools/bank.yaml:9:36: recipent is no argument of bank/send_money",
        ),
        (
            "tools/bank.yaml",
            "kind: number",
            "kind: numbre",
            "tools/bank.yaml:10:81: \"numbre\" is not known here",
        ),
        (
            "tools/bank.tools.json",
            "\"type\": \"number\", \"multipleOf\": 0.01",
            "\"$ref\": \"https://x.example/s\"",
            "tools/bank.tools.json:10:31: the input schema of \"send_money\" refers to \"https://x.example/s\", outside of itself",
        ),
        (
            "tools/bank.tools.json",
            "\"Sends money\"",
            "\"Sends money\",",
            "tools/bank.tools.json:5:36: not well-formed JSON",
        ),
        ("policies/base.cedar", "permit (principal,", "permit (principle,", "policies/base.cedar:2:9: "),
        ("policies/base.cedar", "arguments.amount.less", "arguments.amuont.less", "policies/base.cedar:6:"),
        ("policies/base.cedar", "bank/send_money", "bank/send_mony", "policies/base.cedar:5:"),
        (
            "mandates/pay.yaml",
            "person: alice",
            "person: carol",
            "mandates/pay.yaml:2:9: carol is not a known person",
        ),
        (
            "mandates/pay.yaml",
            "agent: invoice-bot",
            "agent: other-bot",
            "mandates/pay.yaml:3:8: other-bot is not a known agent",
        ),
        (
            "mandates/pay.yaml",
            "purpose: settle the invoice",
            "purpose: \" \"",
            "mandates/pay.yaml:4:10: the purpose is empty",
        ),
        ("mandates/pay.yaml", "expires_in: 30m\n", "", "mandates/pay.yaml:1:1: the mandate has no end"),
        (
            "mandates/pay.yaml",
            "expires_in: 30m",
            "expires_in: soon",
            "mandates/pay.yaml:5:13: \"soon\" is no duration",
        ),
        (
            "mandates/pay.yaml",
            "expires_in: 30m",
            "expires_in: 30m\nexpires_at: 2031-01-31T12:00:00Z",
            "mandates/pay.yaml:6:13: the mandate ends twice",
        ),
        (
            "mandates/pay.yaml",
            "expires_in: 30m",
            "expires_at: 2031-01-31",
            "mandates/pay.yaml:5:13: \"2031-01-31\" is no instant",
        ),
        (
            "mandates/pay.yaml",
            "expires_in: 30m",
            "expires_in:",
            "mandates/pay.yaml:5:1: the field is there but has no value",
        ),
        (
            "mandates/pay.yaml",
            "calls: 40",
            "calls: forty",
            "mandates/pay.yaml:7:18: expected a whole number, found the text \"forty\"",
        ),
        (
            "mandates/pay.yaml",
            "    servers: [bank]\n",
            "",
            "mandates/pay.yaml:9:5: the grant names effects but no servers",
        ),
        (
            "mandates/pay.yaml",
            "effects: [read]\n    ",
            "",
            "mandates/pay.yaml:9:5: the grant names servers but no effects",
        ),
        ("mandates/pay.yaml", "effects: [read]", "effects: []", "mandates/pay.yaml:9:5: `effects` is empty"),
        (
            "mandates/pay.yaml",
            "effects: [read]",
            "tool: bank/list_payees",
            "mandates/pay.yaml:9:5: the grant names a tool and effects or servers",
        ),
        (
            "mandates/pay.yaml",
            "effects: [read]\n    servers: [bank]",
            "ask: person",
            "mandates/pay.yaml:9:5: the grant does not say which tools it grants",
        ),
        (
            "mandates/pay.yaml",
            "tool: bank/send_money",
            "tool: bank/send_money\n    except: [bank/list_payees]",
            "mandates/pay.yaml:12:5: `except` takes tools out of an effects grant",
        ),
        (
            "mandates/pay.yaml",
            "tool: bank/send_money",
            "tool: send_money",
            "mandates/pay.yaml:11:11: \"send_money\" is no tool reference",
        ),
        (
            "mandates/pay.yaml",
            "tool: bank/send_money",
            "tool: bank/send_mony",
            "mandates/pay.yaml:11:11: bank/send_mony is not a known tool",
        ),
        (
            "mandates/pay.yaml",
            "      amount: {",
            "      amuont: {",
            "mandates/pay.yaml:14:7: amuont is no argument here",
        ),
        (
            "mandates/pay.yaml",
            "      amount: {",
            "      \"a~\": {",
            "mandates/pay.yaml:14:7: \"a~\" has a `~` that escapes nothing",
        ),
        (
            "mandates/pay.yaml",
            "max: 1200.10 }",
            "mx: 1200.10 }",
            "mandates/pay.yaml:14:17: the bound \"mx\" is not known here",
        ),
        (
            "mandates/pay.yaml",
            "max: 1200.10 }",
            "max: }",
            "mandates/pay.yaml:14:17: the field is there but has no value",
        ),
        (
            "mandates/pay.yaml",
            "max: 1200.10 }",
            "max: many }",
            "mandates/pay.yaml:14:22: \"many\" has no order here",
        ),
        (
            "mandates/pay.yaml",
            "{ max: 1200.10 }",
            "1200",
            "mandates/pay.yaml:14:15: expected bounds, found the number 1200",
        ),
        (
            "mandates/pay.yaml",
            "in: [DE1, DE2]",
            "in: []",
            "mandates/pay.yaml:13:20: an empty list admits nothing",
        ),
        ("mandates/pay.yaml", "matches: \"[0-9]+\"", "matches: \"[0-9\"", "mandates/pay.yaml:15:"),
        (
            "mandates/pay.yaml",
            "n: { matches",
            "m: { matches",
            "mandates/pay.yaml:15:43: \"m\" is no bound, and the template has no hole of that name",
        ),
        (
            "mandates/pay.yaml",
            "n: { matches",
            "n: { match",
            "mandates/pay.yaml:15:48: the bound \"match\" is not known here",
        ),
        (
            "mandates/pay.yaml",
            "Invoice {n}",
            "Invoice {n} {max}",
            "mandates/pay.yaml:15:28: the hole {max} has the name of a bound",
        ),
        (
            "mandates/pay.yaml",
            "sum: { amount: 1200.10 }",
            "sum: { amount: -1 }",
            "mandates/pay.yaml:16:40: a sum of at most -1 admits nothing",
        ),
        (
            "mandates/pay.yaml",
            "sum: { amount: 1200.10 }",
            "sum: { amount: \"1200\" }",
            "mandates/pay.yaml:16:40: expected a number, found \"1200\"",
        ),
        (
            "mandates/pay.yaml",
            "after: [\"bank/list_payees\"]",
            "after: [\"bank/list_payees(\"]",
            "mandates/pay.yaml:17:13: \"bank/list_payees(\" does not end with `)`",
        ),
        (
            "mandates/pay.yaml",
            "after: [\"bank/list_payees\"]",
            "ask: group:x y",
            "mandates/pay.yaml:17:10: \"group:x y\" is nobody who could be asked",
        ),
        (
            "mandates/part.yaml",
            "id: part",
            "id: pay",
            "mandates/pay.yaml:1:5: another file states the mandate pay already",
        ),
        (
            "mandates/part.yaml",
            "parent: pay",
            "parent: play",
            "mandates/part.yaml:4:9: there is no mandate play to narrow",
        ),
        ("mandates/part.yaml", "parent: pay", "parent: part", "mandates/part.yaml:4:9: part narrows itself"),
        (
            "mandates/pay.yaml",
            "depth: 1",
            "depth: 0",
            "mandates/part.yaml:4:9: pay does not let this follow it",
        ),
        (
            "mandates/pay.yaml",
            "id: pay\n",
            "id: pay\nid: pay\n",
            "mandates/pay.yaml:2:1: \"id\" stands twice here",
        ),
        (
            "mandates/pay.yaml",
            "max: 1200.10",
            "max: 0x10",
            "mandates/pay.yaml:14:22: \"0x10\" is read in different ways",
        ),
        (
            "warrantor.toml",
            "servers.bank",
            "servers.bonk",
            "warrantor.toml:1:10: the server bonk has no manifest",
        ),
        (
            "warrantor.toml",
            "timeout = \"5s\"",
            "timeout = \"5 parsecs\"",
            "warrantor.toml:3:11: \"5 parsecs\" is no duration",
        ),
        (
            "warrantor.toml",
            "timeout = \"5s\"",
            "timeout = 5",
            "warrantor.toml:3:11: expected text, found the number 5",
        ),
        ("warrantor.toml", "timeout = \"5s\"", "timeout = ", "warrantor.toml:3:11: not well-formed TOML"),
        (
            "warrantor.toml",
            "timeout = \"5s\"",
            "observes = true",
            "warrantor.toml:3:1: the field \"observes\" is not known here",
        ),
        (
            "warrantor.toml",
            "{ file = \"secrets/token\" }",
            "{ file = \"a\", env = \"b\" }",
            "warrantor.toml:2:9: the value has no one source",
        ),
        (
            "warrantor.toml",
            "timeout = \"5s\"",
            "pass = [\"BANK_TOKEN\"]",
            "warrantor.toml:2:9: BANK_TOKEN is set and passed through",
        ),
        (
            "warrantor.toml",
            "timeout = \"5s\"",
            "max_result_bytes = 0",
            "warrantor.toml:3:20: no result has no bytes",
        ),
    ] {
        let found = errors(with(file, right, wrong));
        if !found.iter().any(|error| error.starts_with(expected)) {
            missed.push(format!("{file}: {right:?} -> {wrong:?}\nwanted {expected}\nfound  {found:#?}"));
        }
    }
    assert!(missed.is_empty(), "{}", missed.join("\n\n"));
}

#[test]
fn a_grant_of_another_offer_names_one_that_is_described() {
    for (right, wrong, expected) in [
        ("tool: bank/send_money", "prompt: bank/pay", "11:13: bank/pay is not a known prompt"),
        ("tool: bank/send_money", "resource: bank/pay", "11:15: bank/pay is not a known resource"),
        ("tool: bank/send_money", "completion: bank/pay", "11:17: bank/pay is not a known completion"),
        ("tool: bank/send_money", "client: bank/sampling", "11:13: bank/sampling is not a known client"),
        ("tool: bank/send_money", "task: bank/pay", "11:5: the field \"task\" is not known here"),
        ("tool: bank/send_money", "tool: bank/prompt:pay", "11:11: bank/prompt:pay is no tool"),
        ("tool: bank/send_money", "prompt: bank/prompt:pay", "11:13: bank/prompt:pay is no prompt"),
        (
            "tool: bank/send_money",
            "tool: bank/send_money\n    prompt: bank/pay",
            "11:5: the grant names a tool and a prompt",
        ),
    ] {
        let found = errors(with("mandates/pay.yaml", right, wrong));
        let expected = format!("mandates/pay.yaml:{expected}");
        assert!(
            found.iter().any(|error| error.starts_with(&expected)),
            "wanted {expected}\nfound {found:#?}"
        );
    }
}

#[test]
fn what_is_wrong_with_sources_and_trackers_is_told_in_its_place() {
    for (right, wrong, expected) in [
        ("expires_in: 30m", "expires_in: 30m\nquoted: [\"a pasted mail\"]", "6:10: the span does not stand"),
        ("in: [DE1, DE2]", "from: [requests]", "13:27: \"requests\" is no source"),
        ("in: [DE1, DE2]", "from: []", "13:20: an empty list"),
        ("in: [DE1, DE2]", "from: [any], also_from: [\"slot:x\"]", "13:45: there is no slot"),
        ("in: [DE1, DE2]", "from: [self], otherwise: perhaps", "13:45: \"perhaps\" is no answer"),
        ("in: [DE1, DE2]", "from: [self], otherwise: { strange: ask }", "13:56: \"strange\" is no case"),
        ("in: [DE1, DE2]", "from: [self], otherwise: { untrusted: pass }", "13:34: `untrusted` is laxer"),
        ("in: [DE1, DE2]", "from: [\"record:Nothing#x\"]", "13:27: no manifest describes records"),
        ("n: { matches", "n: { from: [nowhere], matches", "15:55: \"nowhere\" is no source"),
        ("bank/list_payees\"]", "bank/list_payees(x=$slot.v)\"]", "17:13: there is no slot"),
    ] {
        let found = errors(with("mandates/pay.yaml", right, wrong));
        let expected = format!("mandates/pay.yaml:{expected}");
        assert!(
            found.iter().any(|error| error.starts_with(&expected)),
            "wanted {expected}\nfound {found:#?}"
        );
    }
    for (trackers, expected) in [
        ("{}", None),
        ("failed_reads: { count: true, effects: [read], outcome: error, window: 10m, per: task }", None),
        ("paid: { sum: arguments.amount, tools: [bank/send_money], window: 24h, per: person }", None),
        ("1x: { count: true, window: 1h, per: task }", Some("1:1: \"1x\" is no name of a tracker")),
        ("x: { window: 1h, per: task }", Some("1:1: the tracker x does not say what it counts")),
        (
            "x: { count: true, sum: arguments.a, window: 1h, per: task }",
            Some("1:1: the tracker x does not say"),
        ),
        ("x: { sum: amount, window: 1h, per: task }", Some("1:11: \"amount\" is no argument")),
        ("x: { count: true, window: 1s, per: task }", Some("1:27: \"1s\" is no window")),
        ("x: { count: true, window: soon, per: task }", Some("1:27: ")),
        ("x: { count: true, tools: [], window: 1h, per: task }", Some("1:19: `tools` is empty")),
        (
            "x: { count: true, tools: [bank/nothing], window: 1h, per: task }",
            Some("1:19: bank/nothing is not a known tool"),
        ),
        (
            "x: { sum: arguments.nothing, window: 1h, per: task }",
            Some("1:11: nothing is an argument of no tool"),
        ),
    ] {
        let found = errors(and(base(), "trackers.yaml", trackers));
        match expected {
            None => assert_eq!(found, Vec::<String>::new(), "{trackers}"),
            Some(expected) => {
                let expected = format!("trackers.yaml:{expected}");
                assert!(
                    found.iter().any(|error| error.starts_with(&expected)),
                    "{trackers}\nfound {found:#?}"
                );
            }
        }
    }
}

#[test]
fn all_faults_of_all_files_are_told_in_one_run() {
    let mut files = with("people.yaml", "    groups", "    gruops");
    for (file, right, wrong) in [
        ("agents.yaml", "purpose: settles invoices", "purpose: 1"),
        ("mandates/pay.yaml", "max: 1200.10", "max:"),
        ("mandates/pay.yaml", "expires_in: 30m", "expires_in: soon"),
        ("warrantor.toml", "timeout", "timeuot"),
        ("tools/bank.yaml", "kind: number", "kind: numbre"),
    ] {
        let (_, text) = files.iter_mut().find(|(path, _)| path == file).unwrap();
        *text = text.replacen(right, wrong, 1);
    }
    let found = errors(files);
    let places: Vec<&str> = found.iter().map(|error| error.split(": ").next().unwrap()).collect();
    assert_eq!(
        places,
        [
            "agents.yaml:5:14",
            "mandates/pay.yaml:5:13",
            "mandates/pay.yaml:14:17",
            "people.yaml:5:5",
            "tools/bank.yaml:10:81",
            "warrantor.toml:3:1"
        ]
    );
}

#[test]
fn an_author_is_warned_of_what_loads_but_may_not_be_meant() {
    let unpinned = with("tools/bank.yaml", "digest: sha256:", "# ");
    let unlisted =
        with("tools/bank.yaml", "  list_payees: { effects: [read], returns: { \"*\": Payee } }\n", "");
    let unlisted = and(
        unlisted,
        "mandates/pay.yaml",
        "id: pay\nperson: alice\nagent: invoice-bot\npurpose: p\nexpires_in: 1h\ngrants: []\n",
    );
    let unlisted = and(
        unlisted,
        "mandates/part.yaml",
        "id: part\nperson: alice\nagent: invoice-bot\npurpose: p\nexpires_in: 1h\ngrants: []\n",
    );
    for (files, expected) in [
        (unpinned, "tools/bank.yaml:2:14: the definitions in bank.tools.json are not pinned"),
        (unlisted, "tools/bank.yaml:6:1: not listed here, so they can never be called: list_payees"),
        (and(base(), "tests/pay.yaml", "anything: [\n"), "tests/pay.yaml: tests are not run yet"),
        (and(base(), "tools/x.tools.json", "{}"), "tools/x.tools.json: no manifest names these definitions"),
        (
            with("warrantor.toml", "timeout", "observe = true\ntimeout"),
            "warrantor.toml:3:11: bank is in observe mode",
        ),
        (
            with("warrantor.toml", "{ file = \"secrets/token\" }", "\"s3cret\""),
            "warrantor.toml:2:22: the value of BANK_TOKEN stands in the file",
        ),
        (
            with("mandates/pay.yaml", "in: [DE1, DE2]", "equals: $slot.v"),
            "mandates/pay.yaml:13:7: the text is compared as it is written",
        ),
    ] {
        let loaded = load_texts(files).unwrap_or_else(|report| panic!("{}", Listed(&report)));
        let told: Vec<_> = loaded.warnings.iter().map(|d| format!("{}: {}", d.place(), d.message)).collect();
        assert!(
            told.iter().any(|warning| warning.starts_with(expected)),
            "wanted {expected}\ntold {told:#?}"
        );
    }
}

#[test]
fn a_digest_may_be_pinned_by_era() {
    let by_era =
        |eras: &str| with("tools/bank.yaml", &format!("digest: sha256:{DIGEST}"), &format!("digest: {eras}"));
    let zero = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    assert_eq!(
        errors(by_era(&format!("{{ legacy: sha256:{DIGEST}, modern: {zero} }}"))),
        Vec::<String>::new()
    );
    assert_eq!(errors(by_era(&format!("{{ modern: sha256:{DIGEST} }}"))), Vec::<String>::new());
    assert_eq!(errors(by_era(&format!("{{ modern: {zero} }}"))).len(), 1);
    assert_eq!(errors(by_era("{}")), ["tools/bank.yaml:3:1: pins nothing"]);
}

fn write(dir: &Path, files: &[(String, String)]) {
    for (path, text) in files {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

#[test]
fn a_directory_and_its_archive_are_the_same_bundle_in_any_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut files = base();
    write(dir.path(), &files);
    let from_dir = load(dir.path()).unwrap_or_else(|report| panic!("{}", Listed(&report)));
    files.reverse();
    let from_files = load_texts(files).unwrap();
    assert_eq!(from_dir.revision, from_files.revision);
    assert_eq!(from_dir.snapshot.revision(), from_dir.revision);
    assert_eq!(from_dir.archive, from_files.archive);
    assert_eq!(load_files(from_dir.archive).unwrap().revision, from_dir.revision);
    let changed = load_texts(with("people.yaml", "id: bob", "id: rob")).unwrap();
    assert_ne!(changed.revision, from_files.revision);
}

#[test]
fn files_beside_a_bundle_are_left_alone_and_misplaced_ones_are_told() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), &base());
    let loaded = load(dir.path()).unwrap();
    for beside in ["README.md", ".gitignore", ".git/config", "policies/.swp", "tools/notes.md", "secrets.txt"]
    {
        write(dir.path(), &[(beside.to_owned(), "x".to_owned())]);
    }
    assert_eq!(load(dir.path()).unwrap().revision, loaded.revision);
    for (path, severity, message) in [
        ("policy/more.cedar", Severity::Warning, "the directory policy is not read"),
        ("people.yaml.yaml", Severity::Warning, "people.yaml.yaml is not read"),
        ("policies/more.ceder", Severity::Error, "the file is not read"),
        ("policies/more/a.cedar", Severity::Error, "a directory where only files are read"),
        ("agents.json", Severity::Error, "several files state agents: agents.json, agents.yaml"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &base());
        write(dir.path(), &[(path.to_owned(), "{\"agents\": []}".to_owned())]);
        let report = check(dir.path());
        let told = report.diagnostics().iter().any(|d| d.severity == severity && d.message == message);
        assert!(told, "{path}: {}", Listed(&report));
    }
    let report = check(&dir.path().join("nowhere"));
    assert!(!report.is_passed());
}

#[test]
fn a_private_key_is_refused_and_shown_to_nobody() {
    use miette::Diagnostic as _;
    let secret = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    let key = format!(
        "keys: {{ main: {{ kty: OKP, crv: Ed25519, x: 11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo, d: {secret} }} }}"
    );
    let report =
        load_texts(with("agents.yaml", "- id: invoice-bot", &format!("- {key}\n    id: invoice-bot")))
            .unwrap_err();
    let [told] = report.diagnostics() else { panic!("{report:?}") };
    assert!(
        told.message.contains("is a private one") && told.message.contains("agents.yaml, line 2"),
        "{told}"
    );
    assert!(told.source_code().is_none() && told.labels().is_none());
    assert!(!format!("{told} {told:?} {}", serde_json::to_string(&report).unwrap()).contains(secret));
}

#[test]
fn a_report_is_data_and_prints_its_lines() {
    use miette::Diagnostic as _;
    let report = load_texts(with("people.yaml", "id: alice", "id: 1")).unwrap_err();
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(
        json["diagnostics"][0],
        serde_json::json!({
            "severity": "error",
            "file": "people.yaml",
            "line": 2,
            "column": 9,
            "message": "expected text, found the number 1",
            "cure": "write \"1\" if it is text"
        })
    );
    let diagnostic = &report.diagnostics()[0];
    let label = diagnostic.labels().unwrap().next().unwrap();
    let source = diagnostic.source_code().unwrap();
    let shown = source.read_span(label.inner(), 0, 0).unwrap();
    assert_eq!((shown.name(), shown.line()), (Some("people.yaml"), 1));
    assert_eq!(std::str::from_utf8(shown.data()).unwrap().trim(), "1");
    let not_utf8 = load_files(vec![("people.yaml".to_owned(), b"people: []\n# \xff".to_vec())]).unwrap_err();
    assert_eq!(not_utf8.diagnostics()[0].place(), "people.yaml:2:3");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for kind in FileKind::ALL {
            let _ = parse_any(kind, &bytes);
        }
        let _ = parse_definitions(&bytes);
    }

    #[test]
    fn a_document_with_bytes_changed_is_read_or_refused(
        at in any::<prop::sample::Index>(), length in 0usize..6, put in "[\\[\\]{}:,\"'&*!| \n\t0-9a-z~.-]{0,4}",
    ) {
        for (kind, text) in [
            (FileKind::Mandate, include_str!("documents/mandate.yaml")),
            (FileKind::Manifest, include_str!("documents/manifest.yaml")),
            (FileKind::People, include_str!("documents/people.yaml")),
            (FileKind::Config, include_str!("documents/warrantor.toml")),
        ] {
            let at = at.index(text.len());
            let end = (at + length).min(text.len());
            let mut bytes = text.as_bytes()[..at].to_vec();
            bytes.extend_from_slice(put.as_bytes());
            bytes.extend_from_slice(&text.as_bytes()[end..]);
            let _ = parse_any(kind, &bytes);
        }
    }
}

/// A template that leaves everything open, with something in the place of a line.
fn open_template(takes: &str) -> Vec<(String, String)> {
    let text = format!(
        "id: open\npurpose: anything\nexpires_in: 1h\ntakes:\n{takes}\ngrants:\n  - effects: [read]\n    servers: [bank]\n"
    );
    and(base(), "mandates/open.yaml", &text)
}

#[test]
fn a_template_that_leaves_something_open_loads_and_what_is_left_open_is_told() {
    let loaded =
        load_texts(open_template("  vendor: { in: [ACME, Brightwell] }\n  most: { type: number, max: 5 }"))
            .unwrap();
    let open = &loaded.templates[&"open".parse().unwrap()].open;
    assert_eq!(open.words(), "the person, the agent, the slot most, the slot vendor");
    assert!(
        loaded
            .templates
            .values()
            .filter(|other| other.terms.template.as_str() != "open")
            .all(|other| other.open.is_closed())
    );
}

#[test]
fn a_slot_that_nothing_could_be_put_in_is_refused_with_its_place() {
    for (takes, part) in [
        ("  a: { in: [] }", "nothing could be chosen"),
        ("  a: { in: [1] }", "a text is needed"),
        ("  a: { type: number, in: [x] }", "an exact number is needed"),
        ("  a: { type: number, max_length: 3 }", "only a text has a length"),
        ("  a: { min: 3 }", "only a number has a least"),
        ("  a: { type: list }", "list"),
        ("  a: { kind: text }", "kind"),
    ] {
        let report = load_texts(open_template(takes)).unwrap_err();
        assert!(Listed(&report).to_string().contains(part), "{takes}: {}", Listed(&report));
    }
}
