//! Calls against each other, and stops against calls.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{fs, sync::Arc};

use warrantor_engine::{Answer, Engine, Permit, Refused, StopFile, StoredStanding, keys};
use warrantor_model::{
    Clock, Decimal, ReasonCode, Subject,
    record::{Event, Outcome, Record, StandingChange, StandingRecord, Verdict},
};
use warrantor_store::{
    Commit, Key, MemoryStore, Store, Wanted,
    contract::check_log,
    faults::{Fault, Faulty},
};
use warrantor_testkit::{BundleFiles, SeededBytes, World, decision, outcomes, records};

const READ: &str = "list_payees";

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

async fn counter<S: Store>(store: &S, key: &str) -> Decimal {
    let key = Key::new(key).unwrap();
    store.read(&Wanted { counters: [key.clone()].into(), ..Wanted::default() }).await.unwrap().counter(&key)
}

/// Stops or lifts a subject in the store alone.
async fn in_store<S: Store>(store: &S, subject: &Subject, stopped: bool, id: &str) {
    let at = "2030-01-01T12:00:00Z".parse().unwrap();
    let change = if stopped { StandingChange::Stopped } else { StandingChange::Lifted };
    let event = Event::Standing(StandingRecord {
        subject: subject.to_string(),
        change,
        evidence: "test".into(),
        reason: None,
        effective_at: at,
    });
    let mut commit = Commit::new(Record::new(id, at, event));
    let value = serde_json::to_vec(&StoredStanding { stopped, since: at, reason: None }).unwrap();
    commit.puts.push((keys::standing(subject).unwrap(), value));
    store.commit(commit).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_64_calls_for_the_last_unit_through_two_engines_exactly_one_passes() {
    for (limit, tool, arguments) in [
        ("{ sum: { amount: 200 } }", "send_money", r#"{"recipient":"DE1","amount":200}"#),
        ("{ unique: [recipient] }", "send_money", r#"{"recipient":"DE1","amount":1}"#),
        ("{ calls: 1 }", "send_money", r#"{"recipient":"DE2","amount":1}"#),
    ] {
        let files = BundleFiles::new().with(
            "mandates/pay.yaml",
            "limits: { sum: { amount: 1200 }, unique: [recipient] }",
            &format!("limits: {limit}"),
        );
        let memory = MemoryStore::new();
        let second = memory.reopen().unwrap();
        let world = World::of(memory, &files);
        let handed = world.hand_over("pay").await;
        let other = World {
            store: Arc::new(second),
            randomness: Arc::new(SeededBytes::new(8_000)),
            ..World::of(MemoryStore::new(), &files)
        };
        let engines: [Engine<MemoryStore>; 2] = [world.engine(&files), other.engine(&files)];
        let calls = (0..64).map(|n| {
            let engine = engines[n % 2].clone();
            let call = World::<MemoryStore>::call(&handed.mandate, tool, arguments);
            tokio::spawn(async move { engine.authorize(&call).await })
        });
        let mut passed = 0;
        for call in calls.collect::<Vec<_>>() {
            match call.await.unwrap() {
                Answer::Permitted(_) => passed += 1,
                other => assert_eq!(codes(&refused(other)), [ReasonCode::LimitReached], "{limit}"),
            }
        }
        assert_eq!(passed, 1, "{limit}");
        for engine in engines {
            engine.settle().await;
        }
        let all = records(&*world.store).await;
        let decisions = all.iter().filter_map(|record| match &record.event {
            Event::Decision(decision) => Some(decision.verdict),
            _ => None,
        });
        let decisions: Vec<Verdict> = decisions.collect();
        assert_eq!(decisions.len(), 64, "{limit}: every call left its record");
        assert_eq!(decisions.iter().filter(|verdict| **verdict == Verdict::Pass).count(), 1, "{limit}");
        check_log(&*world.store).await;
    }
}

#[tokio::test]
async fn a_stop_between_decision_and_commit_is_seen_by_the_commit() {
    for subject in ["agent:invoice-bot", "person:alice", "template:pay", "server:bank", "deployment"] {
        let files = BundleFiles::new();
        let world = World::new(Faulty::new(MemoryStore::new()));
        let handed = world.hand_over("pay").await;
        let engine = world.engine(&files);
        world.store.plan(1, Fault::Hang);
        let calling = tokio::spawn({
            let call = World::<MemoryStore>::call(&handed.mandate, READ, "{}");
            async move { engine.authorize(&call).await }
        });
        // The call hangs in its commit; the stop is made behind it.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!calling.is_finished());
        in_store(world.store.store(), &subject.parse().unwrap(), true, "stop").await;
        world.store.release();
        let refusal = refused(calling.await.unwrap());
        assert!(
            codes(&refusal).iter().all(|code| matches!(
                code,
                ReasonCode::AgentInactive
                    | ReasonCode::PersonInactive
                    | ReasonCode::NoLiveSponsor
                    | ReasonCode::NoLiveOwner
                    | ReasonCode::MandateRevoked
                    | ReasonCode::ToolNotAvailable
                    | ReasonCode::Lockdown
            )),
            "{subject}: {:?}",
            codes(&refusal)
        );
        let record = decision(&*world.store, refusal.decision.as_str()).await.unwrap();
        assert_eq!(record.verdict, Verdict::Deny, "{subject}");
    }
}

#[tokio::test]
async fn a_stop_between_commit_and_release_takes_the_permit_back() {
    let files = BundleFiles::new();
    for (subject, code) in [
        ("agent:invoice-bot", ReasonCode::AgentInactive),
        ("person:alice", ReasonCode::PersonInactive),
        ("template:pay", ReasonCode::MandateRevoked),
        ("mandate", ReasonCode::MandateRevoked),
        ("server:bank", ReasonCode::ToolNotAvailable),
        ("deployment", ReasonCode::Lockdown),
    ] {
        let world = World::new(MemoryStore::new());
        let handed = world.hand_over("pay").await;
        let engine = world.engine(&files);
        let call =
            World::<MemoryStore>::call(&handed.mandate, "send_money", r#"{"recipient":"DE1","amount":200}"#);
        let permit = permitted(engine.authorize(&call).await);
        let subject = match subject {
            "mandate" => Subject::Mandate(handed.mandate.clone()),
            text => text.parse().unwrap(),
        };
        // Somebody else's stop changes nothing for this one.
        world.stop.stop(&"agent:other".parse().unwrap(), world.clock.now()).unwrap();
        // Another process stops.
        let elsewhere = StopFile::open(&world.directory.path().join("stop")).unwrap();
        elsewhere.stop(&subject, world.clock.now()).unwrap();
        let id = permit.decision().to_string();
        let refusal = engine.release(permit).unwrap_err();
        assert_eq!(codes(&refusal), [code], "{subject}");
        engine.settle().await;
        let closed: Vec<Outcome> = outcomes(&*world.store, &id).await.iter().map(|o| o.outcome).collect();
        assert_eq!(closed, [Outcome::NotSent], "{subject}");
        for key in ["calls", "1/sum/amount"] {
            let stands_at = counter(&*world.store, &format!("limit/{}/{key}", handed.mandate)).await;
            assert_eq!(stands_at, Decimal::ZERO, "{subject}: {key}");
        }
        // The next call is refused before it is a pass; after the stop is lifted in both places it goes on.
        assert!(codes(&refused(engine.authorize(&call).await)).contains(&code), "{subject}");
        elsewhere.clear(&subject).unwrap();
        let permit = permitted(engine.authorize(&call).await);
        assert_eq!(engine.release(permit).unwrap().arguments(), call.arguments, "{subject}");
    }
}

#[tokio::test]
async fn what_the_store_stops_stays_stopped_until_the_store_lifts_it() {
    let files = BundleFiles::new();
    let world = World::new(MemoryStore::new());
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    let call = World::<MemoryStore>::call(&handed.mandate, READ, "{}");
    let bot: Subject = "agent:invoice-bot".parse().unwrap();
    for round in 0..3 {
        permitted(engine.authorize(&call).await);
        in_store(&*world.store, &bot, true, &format!("stop-{round}")).await;
        assert_eq!(codes(&refused(engine.authorize(&call).await)), [ReasonCode::AgentInactive]);
        in_store(&*world.store, &bot, false, &format!("lift-{round}")).await;
    }
    let mut damaged = Commit::new(Record::new(
        "damage",
        world.clock.now(),
        Event::Standing(StandingRecord {
            subject: bot.to_string(),
            change: StandingChange::Lifted,
            evidence: "test".into(),
            reason: None,
            effective_at: world.clock.now(),
        }),
    ));
    damaged.puts.push((keys::standing(&bot).unwrap(), b"{\"stopped\":false}".to_vec()));
    world.store.commit(damaged).await.unwrap();
    assert_eq!(codes(&refused(engine.authorize(&call).await)), [ReasonCode::DecisionUnavailable]);
}

/// Whatever happens to the stop file, calls are refused, before the commit and after it.
#[tokio::test]
async fn a_stop_file_that_is_gone_or_damaged_stops_everything() {
    type Harm = fn(&std::path::Path);
    let harms: [(&str, Harm); 5] = [
        ("deleted", |path| fs::remove_file(path).unwrap()),
        ("truncated", |path| fs::OpenOptions::new().write(true).open(path).unwrap().set_len(100).unwrap()),
        ("garbled", |path| fs::write(path, vec![1; 65536]).unwrap()),
        ("moved away", |path| fs::rename(path, path.with_extension("away")).unwrap()),
        ("replaced", |path| {
            let beside = path.with_extension("new");
            fs::write(&beside, vec![0; 65536]).unwrap();
            fs::rename(beside, path).unwrap();
        }),
    ];
    for (name, harm) in harms {
        let files = BundleFiles::new();
        let world = World::new(MemoryStore::new());
        let handed = world.hand_over("pay").await;
        let engine = world.engine(&files);
        let call = World::<MemoryStore>::call(&handed.mandate, READ, "{}");
        let permit = permitted(engine.authorize(&call).await);
        harm(&world.directory.path().join("stop"));
        let at_release = engine.release(permit).unwrap_err();
        assert_eq!(codes(&at_release), [ReasonCode::DecisionUnavailable], "{name}");
        let before = refused(engine.authorize(&call).await);
        assert_eq!(codes(&before), [ReasonCode::DecisionUnavailable], "{name}");
        let stop = world.stop.stop(&"agent:invoice-bot".parse().unwrap(), world.clock.now());
        assert!(stop.is_err(), "{name}: a stop that no process would see was acknowledged");
    }
}

#[test]
fn stops_made_at_the_same_time_are_all_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("stop");
    drop(StopFile::open(&path).unwrap());
    let at = "2030-01-01T12:00:00Z".parse().unwrap();
    let shared = Arc::new(StopFile::open(&path).unwrap());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (path, shared) = (&path, Arc::clone(&shared));
            scope.spawn(move || {
                // Half of them share a handle, as threads of one process do.
                let own = StopFile::open(path).unwrap();
                let file = if thread % 2 == 0 { &own } else { &*shared };
                for n in 0..20 {
                    file.stop(&format!("agent:a{thread}-{n}").parse().unwrap(), at).unwrap();
                }
            });
        }
    });
    assert_eq!(shared.read().unwrap().len(), 160);
}
