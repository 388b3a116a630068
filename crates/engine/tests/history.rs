//! What a task has seen and done: kept sealed, shared by all engines on a store, joined before anything is shown, bounded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{sync::Arc, time::Duration};

use warrantor_decide::Output;
use warrantor_engine::{Answer, Engine, Presented, keys};
use warrantor_model::{
    Json, MandateId, ReasonCode,
    record::{DecisionRecord, Outcome, Verdict},
};
use warrantor_store::{Commit, Key, MAX_PAGE, MemoryStore, Store, Wanted};
use warrantor_testkit::{BundleFiles, Rigged, SeededBytes, World, decision, outcomes, records};

const IBAN: &str = "DE44500105175407324931";

/// The bank, whose payees alice keeps; she pays to one of them by name.
fn files() -> BundleFiles {
    BundleFiles::new()
        .with(
            "tools/bank.yaml",
            "tools:",
            "records:\n  Payee: { key: iban, labels: [confidential], fields: { iban: { kind: account, writer: self }, name: { writer: self } } }\ntools:",
        )
        .with("tools/bank.yaml", "list_payees: { effects: [read] }", "list_payees: { effects: [read], returns: { \"*\": Payee } }")
        .with("mandates/pay.yaml", "recipient: { in: [DE1, DE2] }", "recipient: { from: [\"record:Payee#iban[name~=ACME]\"] }")
        .with("mandates/pay.yaml", ", unique: [recipient]", "")
        .with("mandates/pay.yaml", "    after: [\"bank/list_payees\"]\n", "")
}

fn call(mandate: &MandateId, tool: &str, arguments: &str) -> Presented {
    World::<MemoryStore>::call(mandate, tool, arguments)
}

fn pay(mandate: &MandateId) -> Presented {
    call(mandate, "send_money", &format!(r#"{{"recipient":"{IBAN}","amount":5}}"#))
}

fn payees() -> Output {
    let text = format!(r#"[{{"iban":"{IBAN}","name":"ACME GmbH"}}]"#);
    Output { structured: Some(Json::parse(text.as_bytes()).unwrap()), ..Output::default() }
}

/// Makes a call that passes, and shows its result.
async fn sees<S: Store>(engine: &Engine<S>, presented: &Presented, output: &Output) -> Result<(), ()> {
    let Answer::Permitted(permit) = engine.authorize(presented).await else { panic!("not permitted") };
    let receipt = engine.release(permit).unwrap().spend();
    let taken = engine.take_in(&receipt, Outcome::Succeeded, b"{}", output, Duration::ZERO).await;
    taken.map_err(|_| ())
}

async fn verdict<S: Store>(engine: &Engine<S>, presented: &Presented) -> (Verdict, DecisionRecord) {
    let id = match engine.authorize(presented).await {
        Answer::Permitted(permit) => permit.decision().to_string(),
        Answer::Asked(id, _) => id.to_string(),
        Answer::Refused(refused) => refused.decision.to_string(),
    };
    engine.settle().await;
    let record = decision(&**engine.store(), &id).await.unwrap();
    (record.verdict, record)
}

#[tokio::test]
async fn what_one_engine_has_seen_another_knows_also_after_a_restart() {
    let memory = MemoryStore::new();
    let second = memory.reopen().unwrap();
    let world = World::of(memory, &files());
    let handed = world.hand_over("pay").await;
    let other = World {
        store: Arc::new(second),
        randomness: Arc::new(SeededBytes::new(8_000)),
        ..World::of(MemoryStore::new(), &files())
    };
    let (one, two) = (world.engine(&files()), other.engine(&files()));
    // Another account than the payee's: one that the agent has handed out before it was read would be no better for being read.
    let unread =
        call(&handed.mandate, "send_money", r#"{"recipient":"FR7630006000011234567890189","amount":5}"#);
    assert_eq!(verdict(&one, &unread).await.0, Verdict::Ask, "nothing was read");
    assert_eq!(verdict(&two, &unread).await.0, Verdict::Ask, "nothing was read");
    sees(&one, &call(&handed.mandate, "list_payees", "{}"), &payees()).await.unwrap();
    let (passed, record) = verdict(&two, &pay(&handed.mandate)).await;
    assert_eq!(passed, Verdict::Pass, "{record:?}");
    assert_eq!(record.sources[1].argument, "recipient");
    assert!(record.sources[1].names.contains(&"record:Payee#iban".to_owned()), "{:?}", record.sources);
    assert_eq!(record.task_labels, ["confidential"]);
    assert_eq!(record.events_seen, 4, "two asks, a call and its answer");
    let again = world.engine(&files());
    assert_eq!(verdict(&again, &pay(&handed.mandate)).await.0, Verdict::Pass);
    let answered = records(&*world.store).await;
    let told: Vec<_> = answered.iter().filter(|record| record.id.ends_with(".outcome")).collect();
    assert_eq!(told.len(), 1);
}

#[tokio::test]
async fn a_child_and_a_later_session_know_what_the_task_has_touched() {
    let world = World::of(MemoryStore::new(), &files());
    let child = world.hand_over("part").await;
    let root = world.hand_over("pay").await;
    assert_eq!(child.task, root.task);
    let engine = world.engine(&files());
    sees(&engine, &call(&child.mandate, "list_payees", "{}"), &payees()).await.unwrap();
    let (passed, record) = verdict(&world.engine(&files()), &pay(&root.mandate)).await;
    assert_eq!((passed, record.task_labels), (Verdict::Pass, vec!["confidential".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_recorded_is_not_shown_and_its_value_is_not_the_agents_own() {
    let world = World::of(Rigged::new(MemoryStore::new()), &files());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files());
    let listing = World::<Rigged<MemoryStore>>::call(&handed.mandate, "list_payees", "{}");
    let Answer::Permitted(permit) = engine.authorize(&listing).await else { panic!("not permitted") };
    let id = permit.decision().to_string();
    let receipt = engine.release(permit).unwrap().spend();
    world.store.fail_commits(true);
    let taken = engine.take_in(&receipt, Outcome::Succeeded, b"{}", &payees(), Duration::ZERO).await;
    assert!(taken.is_err(), "a result that no history has was shown");
    world.store.fail_commits(false);
    engine.settle().await;
    // Once the log works the outcome is told, and the history has the answer after all.
    assert_eq!(outcomes(&*world.store, &id).await.len(), 1);
    assert_eq!(verdict(&engine, &pay(&handed.mandate)).await.0, Verdict::Pass);
}

#[tokio::test]
async fn history_is_sealed_and_gone_with_its_key() {
    let world = World::of(MemoryStore::new(), &files());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files());
    sees(&engine, &call(&handed.mandate, "list_payees", "{}"), &payees()).await.unwrap();
    let stored = world.store.scan(&keys::task_events(&handed.task).unwrap(), None, MAX_PAGE).await.unwrap();
    assert_eq!(stored.len(), 2);
    for (key, entry) in &stored {
        for clear in [&b"DE44"[..], b"ACME", b"list_payees"] {
            assert!(!entry.value.windows(clear.len()).any(|window| window == clear), "{key} is in the clear");
        }
    }
    let record = records(&*world.store).await.remove(0);
    let mut commit = Commit::new(warrantor_model::record::Record { id: "erase".into(), ..record });
    commit.deletes.push(keys::task_key(&handed.task).unwrap());
    world.store.commit(commit).await.unwrap();
    let (denied, record) = verdict(&world.engine(&files()), &pay(&handed.mandate)).await;
    assert_eq!((denied, record.reasons[0].code), (Verdict::Deny, ReasonCode::DecisionUnavailable));
}

/// What a payment becomes once somebody has changed the second event of its task behind our back.
async fn after_tampering(tamper: impl FnOnce(&mut Commit, Key)) -> (Verdict, DecisionRecord) {
    let world = World::of(MemoryStore::new(), &files());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files());
    sees(&engine, &call(&handed.mandate, "list_payees", "{}"), &payees()).await.unwrap();
    let stored = world.store.scan(&keys::task_events(&handed.task).unwrap(), None, MAX_PAGE).await.unwrap();
    let record = records(&*world.store).await.remove(0);
    let mut commit = Commit::new(warrantor_model::record::Record { id: "tampered".into(), ..record });
    tamper(&mut commit, stored[1].0.clone());
    world.store.commit(commit).await.unwrap();
    verdict(&world.engine(&files()), &pay(&handed.mandate)).await
}

#[tokio::test]
async fn an_event_that_was_changed_denies_rather_than_being_forgotten_quietly() {
    let changed = after_tampering(|commit, key| commit.puts.push((key, b"not what was sealed".to_vec())));
    let (denied, record) = changed.await;
    assert_eq!((denied, record.reasons[0].code), (Verdict::Deny, ReasonCode::DecisionUnavailable));
}

#[tokio::test]
async fn an_event_that_is_missing_makes_what_is_found_nowhere_unknown() {
    let (denied, record) = after_tampering(|commit, key| commit.deletes.push(key)).await;
    assert_eq!((denied, record.reasons[0].code), (Verdict::Deny, ReasonCode::SourceNotAllowed));
    assert!(record.sources.iter().any(|source| source.names == ["unknown"]), "{:?}", record.sources);
}

#[tokio::test]
async fn a_result_too_large_to_keep_brings_every_label_and_makes_what_is_found_nowhere_unknown() {
    let world = World::of(MemoryStore::new(), &files());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files());
    let large = Output { texts: vec!["x".repeat(4 << 20)], ..Output::default() };
    sees(&engine, &call(&handed.mandate, "list_payees", "{}"), &large).await.unwrap();
    for engine in [engine, world.engine(&files())] {
        let (denied, record) = verdict(&engine, &pay(&handed.mandate)).await;
        assert_eq!((denied, record.reasons[0].code), (Verdict::Deny, ReasonCode::SourceNotAllowed));
        assert_eq!(record.task_labels, ["confidential", "untrusted"]);
        assert!(record.sources.iter().any(|source| source.names == ["unknown"]), "{:?}", record.sources);
    }
}

#[tokio::test]
async fn the_oldest_events_go_first_and_are_missed() {
    let world = World::of(MemoryStore::new(), &files());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files());
    // 17 answers of 3 MB are more than a task keeps.
    for _ in 0..20 {
        let large = Output { texts: vec!["word ".repeat(560 << 10)], ..Output::default() };
        sees(&engine, &call(&handed.mandate, "list_payees", "{}"), &large).await.unwrap();
    }
    let kept = async |engine: &Engine<MemoryStore>| {
        let (denied, record) = verdict(engine, &pay(&handed.mandate)).await;
        assert_eq!((denied, record.reasons[0].code), (Verdict::Deny, ReasonCode::SourceNotAllowed));
        record.events_seen
    };
    let seen = kept(&engine).await;
    assert!(seen < 40, "{seen} events are kept");
    assert!(kept(&world.engine(&files())).await < 41);
    let forgotten = keys::task_forgotten(&handed.task).unwrap();
    let wanted = Wanted { members: [forgotten.clone()].into(), ..Wanted::default() };
    assert!(world.store.read(&wanted).await.unwrap().members.contains(&forgotten));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_payments_through_two_engines_a_tracker_lets_exactly_ten_through() {
    let files = files()
        .and("trackers.yaml", "payments: { count: true, tools: [bank/send_money], window: 24h, per: person }\n")
        .and(
            "policies/limit.cedar",
            "@id(\"ten\") forbid (principal, action == Action::\"bank/send_money\", resource) when { context.tracked.payments >= 10 };\n",
        )
        .with("mandates/pay.yaml", "recipient: { from: [\"record:Payee#iban[name~=ACME]\"] }", "recipient: { in: [DE1, DE2] }");
    let memory = MemoryStore::new();
    let second = memory.reopen().unwrap();
    let world = World::of(memory, &files);
    let handed = world.hand_over("pay").await;
    let other = World {
        store: Arc::new(second),
        randomness: Arc::new(SeededBytes::new(8_000)),
        ..World::of(MemoryStore::new(), &files)
    };
    let engines = [world.engine(&files), other.engine(&files)];
    let calls = (0..64).map(|n| {
        let engine = engines[n % 2].clone();
        let presented = call(&handed.mandate, "send_money", r#"{"recipient":"DE1","amount":1}"#);
        tokio::spawn(async move { engine.authorize(&presented).await })
    });
    let mut passed = 0;
    for answer in calls.collect::<Vec<_>>() {
        match answer.await.unwrap() {
            Answer::Permitted(_) => passed += 1,
            Answer::Refused(refused) => {
                let codes: Vec<_> = refused.refusal.findings().iter().map(|finding| finding.code).collect();
                // Within an engine calls take turns; the other engine may still move a tracker under one too often, and then it is refused.
                let known = [ReasonCode::PolicyForbids, ReasonCode::DecisionUnavailable];
                assert!(codes.iter().all(|code| known.contains(code)), "{codes:?}");
            }
            Answer::Asked(..) => panic!("asked"),
        }
    }
    assert_eq!(passed, 10);
    // And it survives a restart.
    let (denied, record) = verdict(
        &world.engine(&files),
        &call(&handed.mandate, "send_money", r#"{"recipient":"DE1","amount":1}"#),
    )
    .await;
    assert_eq!((denied, record.tracked[0].stood_at.as_str()), (Verdict::Deny, "10"));
}

#[tokio::test]
async fn what_an_effectful_call_put_somewhere_is_remembered_in_the_person_s_other_tasks() {
    let notes = files().with(
        "tools/bank.yaml",
        "list_payees: { effects: [read],",
        "list_payees: { effects: [read], text: plain,",
    );
    let world = World::of(MemoryStore::new(), &notes);
    let first = world.hand_over("pay").await;
    let engine = world.engine(&notes);
    // An agent that was told a stranger's account writes it into a note.
    let stranger = Output { texts: vec![format!("pay {IBAN}")], ..Output::default() };
    sees(&engine, &call(&first.mandate, "list_payees", "{}"), &stranger).await.unwrap();
    let note = call(&first.mandate, "add_note", &format!(r#"{{"text":"ACME: {IBAN}"}}"#));
    sees(&engine, &note, &Output::default()).await.unwrap();
    // Another task of the same person reads it where only she writes.
    let second = world.at_desk(async |desk| desk.hand_over(&"pay".parse().unwrap()).await).await.unwrap();
    assert_ne!(first.task, second.task);
    let (asked, _) = verdict(&engine, &pay(&second.mandate)).await;
    assert_eq!(asked, Verdict::Ask);
    sees(&engine, &call(&second.mandate, "list_payees", "{}"), &payees()).await.unwrap();
    let (denied, record) = verdict(&engine, &pay(&second.mandate)).await;
    assert_eq!((denied, record.reasons[0].code), (Verdict::Deny, ReasonCode::SourceNotAllowed), "{record:?}");
    let key = Key::new("echo").unwrap();
    assert!(
        world.store.scan(&key, None, MAX_PAGE).await.unwrap().is_empty(),
        "values are members, not entries"
    );
}
