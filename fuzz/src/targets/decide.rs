//! Where values come from: words of a mandate, and results that a server chose.

use std::sync::LazyLock;

use warrantor_bundle::{Loaded, load_files};
use warrantor_control::replay::{ReplaySettings, Replayer};
use warrantor_model::{Source, record::Verdict};

use crate::Reading;

/// A source that is written and read again is the same source.
pub(crate) fn source(bytes: &[u8]) -> Reading {
    let Ok(text) = std::str::from_utf8(bytes) else { return Reading::Refused };
    let read = text.parse::<Source>();
    if let Ok(source) = &read {
        let written = source.to_string();
        assert!(written.parse::<Source>().is_ok_and(|again| again == *source), "read otherwise: {written}");
    }
    Reading::of(&read)
}

const BUNDLE: [(&str, &str); 6] = [
    ("people.yaml", include_str!("../../../crates/bundle/tests/bundle/people.yaml")),
    ("agents.yaml", include_str!("../../../crates/bundle/tests/bundle/agents.yaml")),
    ("tools/bank.yaml", include_str!("../../../crates/bundle/tests/bundle/tools/bank.yaml")),
    ("tools/bank.tools.json", include_str!("../../../crates/bundle/tests/bundle/tools/bank.tools.json")),
    ("policies/base.cedar", include_str!("../../../crates/bundle/tests/bundle/policies/base.cedar")),
    (
        "mandates/traced.yaml",
        r#"
id: traced
person: alice
agent: invoice-bot
purpose: is fuzzed
request: "Pay DE44500105175407324931 what ACME asks for."
expires_in: 1h
grants:
  - { effects: [read], servers: [bank] }
  - tool: bank/send_money
    arguments:
      recipient: { from: ["record:Payee#iban[name~=ACME]", request] }
      amount: { max: 100, from: [request, computed] }
      subject: { max_length: 140, from: [any] }
"#,
    ),
];

static LOADED: LazyLock<Option<Loaded>> = LazyLock::new(|| {
    // The fixture's digest is filled in by its tests; here the definitions are not pinned.
    let unpinned = |text: &str| text.replace("digest: sha256:DIGEST\n", "").into_bytes();
    load_files(BUNDLE.iter().map(|(path, text)| ((*path).to_owned(), unpinned(text))).collect()).ok()
});

/// A result with whatever text or structure, and a payment to an account that stands in it: never a panic, and never a pass, for no payee was read.
/// The account is one that no input of the fuzzer is likely to name as a payee of ACME.
pub(crate) fn trace(bytes: &[u8]) -> Reading {
    let (Ok(text), Some(bundle)) = (std::str::from_utf8(bytes), LOADED.as_ref()) else {
        return Reading::Refused;
    };
    let stopwatch = || 0;
    let mut replayer = Replayer::new(bundle, ReplaySettings::default(), &stopwatch);
    let quoted = serde_json::Value::String(text.to_owned());
    // What is JSON is a structure as well.
    let structured = serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
    let lines = [
        r#"{"type":"task","id":"t","mandate":"traced"}"#.to_owned(),
        r#"{"type":"call","id":"1","tool":"bank/list_payees","arguments":{}}"#.to_owned(),
        format!(r#"{{"type":"result","id":"1","structured":{structured},"text":{quoted}}}"#),
        r#"{"type":"call","id":"2","tool":"bank/send_money","arguments":{"recipient":"GB33BUKB20201555555555","amount":1}}"#.to_owned(),
        format!(r#"{{"type":"call","id":"3","tool":"bank/send_money","arguments":{{"recipient":"DE44500105175407324931","amount":1,"subject":{quoted}}}}}"#),
    ];
    let mut taken = Reading::Refused;
    for line in lines {
        match replayer.line(&line) {
            Ok(Some(call)) if call.id == "2" => {
                let payee = text.contains("ACME") || text.to_lowercase().contains("acme");
                assert!(call.decision != Verdict::Pass || payee, "an account from nowhere passed: {call:?}");
            }
            Ok(Some(call)) if call.id == "3" => {
                taken = if call.decision == Verdict::Pass { Reading::Taken } else { taken }
            }
            Ok(_) | Err(_) => {}
        }
    }
    taken
}
