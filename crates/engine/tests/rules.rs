//! The rules of charging, giving back, waiting and trusting the store, over a store in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{sync::Arc, time::Duration};

use warrantor_decide::{Output, Presence};
use warrantor_engine::{
    Answer, Engine, EngineParts, Permit, Presented, Refused, Settings, bodies::SealKey, keys,
    mandates::StoredMandate,
};
use warrantor_model::{
    Clock, Decimal, Definition, Digest, Effect, Evidence, MandateId, ReasonCode, Subject,
    record::{Event, Outcome, Record, StandingChange, StandingRecord, Verdict},
};
use warrantor_store::{Commit, Key, MemoryStore, Store, Wanted, contract::check_log};
use warrantor_testkit::{BundleFiles, World, decision, outcomes, records};

const PAY: &str = r#"{"recipient":"DE1","amount":200}"#;

fn refused(answer: Answer) -> Refused {
    match answer {
        Answer::Refused(refused) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

fn permitted(answer: Answer) -> Permit {
    match answer {
        Answer::Permitted(permit) => permit,
        other => panic!("not permitted: {other:?}"),
    }
}

fn codes(refused: &Refused) -> Vec<ReasonCode> {
    refused.refusal.findings().iter().map(|finding| finding.code).collect()
}

fn call(mandate: &MandateId, tool: &str, arguments: &str) -> Presented {
    World::<MemoryStore>::call(mandate, tool, arguments)
}

async fn counter(store: &MemoryStore, key: &str) -> Decimal {
    let key = Key::new(key).unwrap();
    store.read(&Wanted { counters: [key.clone()].into(), ..Wanted::default() }).await.unwrap().counter(&key)
}

async fn holds(store: &MemoryStore, key: &Key) -> bool {
    let wanted = Wanted { members: [key.clone()].into(), ..Wanted::default() };
    store.read(&wanted).await.unwrap().members.contains(key)
}

/// Overwrites an entry, as somebody with access to the database could.
async fn overwrite(store: &MemoryStore, key: Key, value: Vec<u8>) {
    let at = "2030-01-01T12:00:00Z".parse().unwrap();
    let event = Event::Standing(StandingRecord {
        subject: "agent:nobody".into(),
        change: StandingChange::Lifted,
        evidence: "test".into(),
        reason: None,
        effective_at: at,
    });
    let mut commit = Commit::new(Record::new(format!("overwrite-{}", Digest::of(&value)), at, event));
    commit.puts.push((key, value));
    store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn a_pass_commits_its_record_its_charges_and_the_counts_of_its_task() {
    let files = BundleFiles::new();
    let world = World::new(MemoryStore::new());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    let permit = permitted(engine.authorize(&call(&handed.mandate, "send_money", PAY)).await);
    let id = permit.decision().to_string();
    let record = decision(&*world.store, &id).await.unwrap();
    assert_eq!(record.verdict, Verdict::Pass);
    assert_eq!(record.tool.as_deref(), Some("bank/send_money"));
    assert_eq!(record.evidence, "local user tester (1000)");
    assert_eq!(record.chain.len(), 1);
    assert_eq!(record.chain[0].grant, Some(1));
    assert!(record.body.is_some() && record.body_of.as_deref() == Some("alice"));
    let prefix = format!("limit/{}", handed.mandate);
    assert_eq!(counter(&world.store, &format!("{prefix}/calls")).await, Decimal::ONE);
    assert_eq!(counter(&world.store, &format!("{prefix}/1/sum/amount")).await, Decimal::from(200));
    assert_eq!(counter(&world.store, keys::task_calls(&handed.task).unwrap().as_str()).await, Decimal::ONE);
    assert!(holds(&world.store, &keys::task_effect(&handed.task, Effect::Pay).unwrap()).await);
    assert!(!holds(&world.store, &keys::task_effect(&handed.task, Effect::Read).unwrap()).await);
    let release = engine.release(permit).unwrap();
    assert_eq!(release.arguments(), PAY.as_bytes(), "the bytes that were decided");
    assert_eq!(release.tool().to_string(), "bank/send_money");

    let refusal = refused(engine.authorize(&call(&handed.mandate, "close_it", "{}")).await);
    assert_eq!(codes(&refusal), [ReasonCode::ToolNotAvailable]);
    let record = decision(&*world.store, refusal.decision.as_str()).await.unwrap();
    assert_eq!((record.verdict, record.task_calls), (Verdict::Deny, 1));
    check_log(&*world.store).await;
}

#[tokio::test]
async fn an_ask_executes_nothing_and_is_recorded() {
    let world = World::new(MemoryStore::new());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&BundleFiles::new());
    let Answer::Asked(id, question) = engine.authorize(&call(&handed.mandate, "close_account", "{}")).await
    else {
        panic!("not asked")
    };
    assert!(!question.asked.is_empty());
    let record = decision(&*world.store, id.as_str()).await.unwrap();
    assert_eq!(record.verdict, Verdict::Ask);
    assert_eq!(counter(&world.store, &format!("limit/{}/calls", handed.mandate)).await, Decimal::ZERO);
}

/// What is given back, by outcome and by what the manifest says of failures.
#[tokio::test]
async fn charges_are_given_back_when_nothing_was_sent_or_an_atomic_tool_failed() {
    let other = r#"{"text":"hello"}"#;
    for (tool, arguments, outcome, given_back) in [
        ("send_money", PAY, Outcome::NotSent, true),
        ("send_money", PAY, Outcome::Failed, true),
        ("send_money", PAY, Outcome::Succeeded, false),
        ("send_money", PAY, Outcome::Refused, false),
        ("send_money", PAY, Outcome::Unknown, false),
        ("send_money", PAY, Outcome::Cancelled, false),
        ("send_money", PAY, Outcome::Withheld, false),
        ("add_note", other, Outcome::NotSent, true),
        ("add_note", other, Outcome::Failed, false),
        ("invite", r#"{"people":["ann","bea"]}"#, Outcome::NotSent, true),
        ("invite", r#"{"people":["ann","bea"]}"#, Outcome::Unknown, false),
    ] {
        let case = format!("{tool}, {outcome:?}");
        let files = BundleFiles::new().with("mandates/pay.yaml", "    after: [\"bank/list_payees\"]\n", "");
        let world = World::of(MemoryStore::new(), &files);
        let handed = world.hand_over("pay").await;
        let engine = world.engine(&files);
        let permit = permitted(engine.authorize(&call(&handed.mandate, tool, arguments)).await);
        let id = permit.decision().to_string();
        let receipt = engine.release(permit).unwrap().spend();
        let took = Duration::from_millis(3);
        match outcome {
            Outcome::Succeeded | Outcome::Failed | Outcome::Refused => {
                engine.take_in(&receipt, outcome, b"{\"done\":1}", &Output::default(), took).await.unwrap();
            }
            nothing_shown => engine.outcome(&receipt, nothing_shown, took).await,
        }
        // Telling it twice changes nothing.
        engine.outcome(&receipt, Outcome::NotSent, took).await;
        engine.settle().await;
        let told = outcomes(&*world.store, &id).await;
        assert_eq!(told.len(), 1, "{case}");
        assert_eq!((told[0].outcome, told[0].micros), (outcome, 3000), "{case}");
        assert_eq!(told[0].given_back.is_empty(), !given_back, "{case}");
        let calls = counter(&world.store, &format!("limit/{}/calls", handed.mandate)).await;
        assert_eq!(calls.is_zero(), given_back, "{case}: calls");
        if tool == "invite" {
            let people =
                counter(&world.store, &format!("limit/{}/3/distinct/people/*", handed.mandate)).await;
            assert_eq!(people, Decimal::from(if given_back { 0 } else { 2 }), "{case}: people");
        }
        if tool == "send_money" {
            let again = engine.authorize(&call(&handed.mandate, tool, arguments)).await;
            assert_eq!(matches!(again, Answer::Permitted(_)), given_back, "{case}: the recipient is used up");
        }
    }
}

#[tokio::test]
async fn a_call_that_waits_for_another_passes_once_that_one_has_succeeded() {
    let world = World::new(MemoryStore::new());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&BundleFiles::new());
    let note = call(&handed.mandate, "add_note", r#"{"text":"x"}"#);
    for outcome in [Outcome::Failed, Outcome::Unknown, Outcome::NotSent, Outcome::Withheld] {
        assert_eq!(codes(&refused(engine.authorize(&note).await)), [ReasonCode::NotYet]);
        let permit = permitted(engine.authorize(&call(&handed.mandate, "list_payees", "{}")).await);
        let receipt = engine.release(permit).unwrap().spend();
        engine.outcome(&receipt, outcome, Duration::ZERO).await;
    }
    assert_eq!(codes(&refused(engine.authorize(&note).await)), [ReasonCode::NotYet]);
    let permit = permitted(engine.authorize(&call(&handed.mandate, "list_payees", "{}")).await);
    let receipt = engine.release(permit).unwrap().spend();
    engine.take_in(&receipt, Outcome::Succeeded, b"[]", &Output::default(), Duration::ZERO).await.unwrap();
    permitted(engine.authorize(&note).await);
}

#[tokio::test]
async fn time_ends_mandates_and_a_clock_behind_the_log_ends_passing() {
    let world = World::new(MemoryStore::new());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&BundleFiles::new());
    let read = call(&handed.mandate, "list_payees", "{}");
    world.clock.advance(Duration::from_secs(30 * 60 - 1));
    permitted(engine.authorize(&read).await);
    world.clock.back(Duration::from_secs(10));
    assert_eq!(codes(&refused(engine.authorize(&read).await)), [ReasonCode::ClockUntrusted]);
    world.clock.advance(Duration::from_secs(11));
    assert_eq!(codes(&refused(engine.authorize(&read).await)), [ReasonCode::MandateExpired]);
}

#[tokio::test]
async fn what_cannot_be_read_or_is_not_known_is_refused_and_recorded() {
    let world = World::new(MemoryStore::new());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&BundleFiles::new());
    let unknown: MandateId = "m-none".parse().unwrap();
    let of = |change: &dyn Fn(&mut Presented)| {
        let mut presented = call(&handed.mandate, "list_payees", "{}");
        change(&mut presented);
        presented
    };
    let cases: Vec<(&str, Presented, ReasonCode)> = vec![
        ("no JSON", of(&|p| p.arguments = b"{".to_vec()), ReasonCode::ArgumentsInvalid),
        (
            "a member twice",
            of(&|p| p.arguments = b"{\"a\":1,\"a\":1}".to_vec()),
            ReasonCode::ArgumentsInvalid,
        ),
        ("no UTF-8", of(&|p| p.arguments = b"{\"a\":\"\xff\"}".to_vec()), ReasonCode::ArgumentsInvalid),
        ("no object", of(&|p| p.arguments = b"[]".to_vec()), ReasonCode::ArgumentsInvalid),
        ("two values", of(&|p| p.arguments = b"{} {}".to_vec()), ReasonCode::ArgumentsInvalid),
        (
            "deep",
            of(&|p| p.arguments = [b"[".repeat(10_000), b"]".repeat(10_000)].concat()),
            ReasonCode::ArgumentsInvalid,
        ),
        ("a name with a slash", of(&|p| p.tool = "a/b".into()), ReasonCode::ToolNotAvailable),
        ("no name", of(&|p| p.tool = String::new()), ReasonCode::ToolNotAvailable),
        ("another server", of(&|p| p.server = "other".parse().unwrap()), ReasonCode::ToolNotAvailable),
        ("not seen", of(&|p| p.definition = Definition::NotSeen), ReasonCode::ToolNotAvailable),
        ("changed", of(&|p| p.definition = Definition::Changed), ReasonCode::ToolChanged),
        (
            "evidence",
            of(&|p| p.evidence = Evidence::Failed { why: "forged".into() }),
            ReasonCode::CredentialInvalid,
        ),
        ("mandate", of(&|p| p.mandate = unknown.clone()), ReasonCode::MandateInvalid),
    ];
    for (name, presented, code) in cases {
        let refusal = refused(engine.authorize(&presented).await);
        assert!(codes(&refusal).contains(&code), "{name}: {:?}", codes(&refusal));
        assert!(decision(&*world.store, refusal.decision.as_str()).await.is_some(), "{name} is not recorded");
    }
    let method = engine.refuse_method(&of(&|p| p.method = "resources/read".into())).await;
    assert_eq!(codes(&method), [ReasonCode::MethodNotAvailable]);
    let record = decision(&*world.store, method.decision.as_str()).await.unwrap();
    assert_eq!((record.method.as_str(), record.verdict), ("resources/read", Verdict::Deny));
}

#[tokio::test]
async fn a_stored_mandate_that_was_changed_is_refused() {
    type Change = fn(&mut StoredMandate);
    let files = BundleFiles::new();
    let changes: [(&str, Change); 5] = [
        ("terms", |m| m.document = m.document.replace("1200", "9999")),
        ("no mandate", |m| {
            m.document = "{}".to_owned();
            m.terms = Digest::of(b"{}");
        }),
        ("another agent", |m| {
            m.document = m.document.replace("invoice-bot", "ghost");
            m.terms = Digest::of(m.document.as_bytes());
        }),
        ("its own parent", |m| m.parent = Some("SELF".parse().unwrap())),
        ("a parent that is not there", |m| m.parent = Some("m-gone".parse().unwrap())),
    ];
    for (name, change) in changes {
        let world = World::of(MemoryStore::new(), &files);
        let handed = world.hand_over("pay").await;
        let key = keys::mandate(&handed.mandate).unwrap();
        let wanted = Wanted { entries: [key.clone()].into(), ..Wanted::default() };
        let entry = world.store.read(&wanted).await.unwrap().entries.remove(&key).unwrap();
        let mut stored: StoredMandate = serde_json::from_slice(&entry.value).unwrap();
        change(&mut stored);
        if stored.parent.as_ref().is_some_and(|parent| parent.as_str() == "SELF") {
            stored.parent = Some(handed.mandate.clone());
        }
        overwrite(&world.store, key.clone(), serde_json::to_vec(&stored).unwrap()).await;
        let engine = world.engine(&files);
        let refusal = refused(engine.authorize(&call(&handed.mandate, "list_payees", "{}")).await);
        let found = codes(&refusal);
        let wanted = [ReasonCode::DecisionUnavailable, ReasonCode::MandateInvalid, ReasonCode::AgentInactive];
        assert!(found.iter().any(|code| wanted.contains(code)), "{name}: {found:?}");
        overwrite(&world.store, key, b"garbage".to_vec()).await;
        let engine = world.engine(&files);
        let refusal = refused(engine.authorize(&call(&handed.mandate, "list_payees", "{}")).await);
        assert_eq!(codes(&refusal), [ReasonCode::DecisionUnavailable], "{name}");
    }
}

#[tokio::test]
async fn a_chain_narrows_charges_every_hop_and_ends_with_any_of_it() {
    let files = BundleFiles::new();
    let world = World::new(MemoryStore::new());
    let part = world.hand_over("part").await;
    let engine = world.engine(&files);
    let read = call(&part.mandate, "list_payees", "{}");
    let permit = permitted(engine.authorize(&read).await);
    let record = decision(&*world.store, permit.decision().as_str()).await.unwrap();
    let line: Vec<&str> = record.chain.iter().map(|hop| hop.template.as_str()).collect();
    assert_eq!(line, ["pay", "part"]);
    let root = record.chain[0].mandate.clone();
    assert_eq!(counter(&world.store, &format!("limit/{root}/calls")).await, Decimal::ONE);
    let wider = refused(engine.authorize(&call(&part.mandate, "send_money", PAY)).await);
    assert_eq!(codes(&wider), [ReasonCode::ToolNotAvailable], "the parent's grant is not the child's");
    let presence = Presence { server: "bank".parse().unwrap(), evidence: read.evidence.clone() };
    let listed: Vec<String> =
        engine.listed(&part.mandate, &presence).await.iter().map(ToString::to_string).collect();
    assert_eq!(listed, ["list_payees"]);
    for subject in [Subject::Mandate(root.parse().unwrap()), "template:pay".parse().unwrap()] {
        world.stop.stop(&subject, world.clock.now()).unwrap();
        assert_eq!(codes(&refused(engine.authorize(&read).await)), [ReasonCode::MandateRevoked], "{subject}");
        assert!(engine.listed(&part.mandate, &presence).await.is_empty(), "{subject}");
        world.stop.clear(&subject).unwrap();
    }
    permitted(engine.authorize(&read).await);
}

#[tokio::test]
async fn a_pass_whose_arguments_cannot_be_sealed_is_refused() {
    let files = BundleFiles::new();
    let world = World::new(MemoryStore::new());
    let handed = world.hand_over("pay").await;
    let parts = |seal| EngineParts {
        store: Arc::clone(&world.store),
        snapshot: files.load().snapshot,
        stop: Arc::clone(&world.stop),
        seal,
        clock: Arc::clone(&world.clock) as _,
        randomness: Arc::clone(&world.randomness) as _,
        settings: Settings::named("test"),
    };
    let wrong = Engine::new(parts(SealKey::new([1; 32])));
    let refusal = refused(wrong.authorize(&call(&handed.mandate, "list_payees", "{}")).await);
    assert_eq!(codes(&refusal), [ReasonCode::AuditUnavailable]);
    let right = Engine::new(parts(World::<MemoryStore>::seal()));
    permitted(right.authorize(&call(&handed.mandate, "list_payees", "{}")).await);
    assert_eq!(records(&*world.store).await.len(), 3);
}
