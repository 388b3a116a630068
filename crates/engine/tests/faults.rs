//! What the engine does when the log fails: no permit without a durable record, refusals at once, and everything told later.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::time::Duration;

use tokio::time::Instant;
use warrantor_decide::Output;
use warrantor_engine::{Answer, Presented, Refused};
use warrantor_model::{
    Decimal, ReasonCode,
    record::{Event, Outcome, Verdict},
};
use warrantor_store::{
    Key, MemoryStore, Store, Wanted,
    contract::check_log,
    faults::{Fault, Faulty},
};
use warrantor_testkit::{BundleFiles, Rigged, World, decision, outcomes, records};

const PAY: &str = r#"{"recipient":"DE1","amount":200}"#;

async fn counter<S: Store>(store: &S, key: &str) -> Decimal {
    let key = Key::new(key).unwrap();
    store.read(&Wanted { counters: [key.clone()].into(), ..Wanted::default() }).await.unwrap().counter(&key)
}

fn refused(answer: Answer) -> Refused {
    match answer {
        Answer::Refused(refused) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

fn codes(refused: &Refused) -> Vec<ReasonCode> {
    refused.refusal.findings().iter().map(|finding| finding.code).collect()
}

async fn gaps<S: Store>(store: &S) -> Vec<u64> {
    let lost = |event| match event {
        Event::AuditGap(gap) => Some(gap.lost),
        _ => None,
    };
    records(store).await.into_iter().filter_map(|record| lost(record.event)).collect()
}

/// Every write of one call fails once lost, once stored after all and once refused; afterwards the log tells what the caller was told.
#[tokio::test(start_paused = true)]
async fn a_pass_whose_record_fails_gives_no_permit_and_is_told_later() {
    for (fault, stored) in [(Fault::Lost, false), (Fault::StoredAfterAll, true), (Fault::Refused, false)] {
        let files = BundleFiles::new();
        let world = World::new(Faulty::new(MemoryStore::new()));
        let handed = world.hand_over("pay").await;
        let engine = world.engine(&files);
        world.store.plan(1, fault);
        let refusal = refused(engine.authorize(&call(&world, &handed.mandate, "send_money", PAY)).await);
        assert_eq!(codes(&refusal), [ReasonCode::AuditUnavailable], "{fault:?}");
        engine.settle().await;

        let id = refusal.decision.as_str();
        let record = decision(&*world.store, id).await.unwrap();
        assert_eq!(record.verdict == Verdict::Pass, stored, "{fault:?}");
        let closed: Vec<Outcome> = outcomes(&*world.store, id).await.iter().map(|o| o.outcome).collect();
        assert_eq!(closed, if stored { vec![Outcome::NotSent] } else { vec![] }, "{fault:?}");
        if !stored {
            assert!(record.reasons.iter().any(|reason| reason.code == ReasonCode::AuditUnavailable));
            assert!(record.limits.iter().all(|limit| limit.charged.is_none()));
        }
        assert_eq!(gaps(&*world.store).await.len(), usize::from(fault != Fault::Refused), "{fault:?}");
        for key in ["calls", "1/sum/amount"] {
            let stands_at = counter(&*world.store, &format!("limit/{}/{key}", handed.mandate)).await;
            assert_eq!(stands_at, Decimal::ZERO, "{fault:?}: {key}");
        }
        check_log(&*world.store).await;
        let again = engine.authorize(&call(&world, &handed.mandate, "send_money", PAY)).await;
        assert!(matches!(again, Answer::Permitted(_)), "{fault:?}: {again:?}");
    }
}

fn call<S: Store>(
    _: &World<S>,
    mandate: &warrantor_model::MandateId,
    tool: &str,
    arguments: &str,
) -> Presented {
    World::<S>::call(mandate, tool, arguments)
}

/// Two faults one after the other: that of the pass, and that of the gap's own writing. Limits hold whatever was stored.
#[tokio::test(start_paused = true)]
async fn writing_the_gap_may_fail_too_and_nothing_is_given_back_twice() {
    for first in [Fault::Lost, Fault::StoredAfterAll] {
        for nth in 1..=2 {
            for second in [Fault::Lost, Fault::StoredAfterAll, Fault::Refused] {
                let files = BundleFiles::new().with("mandates/pay.yaml", "calls: 100", "calls: 2");
                let world = World::of(Faulty::new(MemoryStore::new()), &files);
                let handed = world.hand_over("pay").await;
                let engine = world.engine(&files);
                let read = call(&world, &handed.mandate, "list_payees", "{}");
                assert!(matches!(engine.authorize(&read).await, Answer::Permitted(_)));
                world.store.plan(1, first);
                refused(engine.authorize(&read).await);
                world.store.plan(nth, second);
                engine.settle().await;
                engine.settle().await;
                let case = format!("{first:?}, then {second:?} at write {nth}");
                let calls = counter(&*world.store, &format!("limit/{}/calls", handed.mandate)).await;
                assert_eq!(calls, Decimal::ONE, "{case}");
                assert!(matches!(engine.authorize(&read).await, Answer::Permitted(_)), "{case}");
                let over = refused(engine.authorize(&read).await);
                assert_eq!(codes(&over), [ReasonCode::LimitReached], "{case}");
                assert!(!gaps(&*world.store).await.is_empty(), "{case}");
            }
        }
    }
}

/// The store makes a commit that nobody waits for any more after the engine has looked for it.
#[tokio::test(start_paused = true)]
async fn a_pass_that_is_stored_after_its_deadline_is_closed_and_given_back() {
    let files = BundleFiles::new();
    let world = World::new(Rigged::new(MemoryStore::new()));
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    world.store.hold_commits(true);
    let begun = Instant::now();
    let refusal = refused(engine.authorize(&call(&world, &handed.mandate, "send_money", PAY)).await);
    assert!(begun.elapsed() <= Duration::from_secs(6), "held up for {:?}", begun.elapsed());
    assert_eq!(codes(&refusal), [ReasonCode::AuditUnavailable]);
    // Settling while the store still hangs ends, and the writes of the gap queue up behind the pass.
    engine.settle().await;
    world.store.hold_commits(false);
    for _ in 0..3 {
        engine.settle().await;
    }
    let id = refusal.decision.as_str();
    assert_eq!(decision(&*world.store, id).await.unwrap().verdict, Verdict::Pass);
    let closed: Vec<Outcome> = outcomes(&*world.store, id).await.iter().map(|o| o.outcome).collect();
    assert_eq!(closed, [Outcome::NotSent]);
    let paid = counter(&*world.store, &format!("limit/{}/1/sum/amount", handed.mandate)).await;
    assert_eq!(paid, Decimal::ZERO);
}

/// The pass arrives after the gap looked for it, and before the refusal that the gap would record in its place.
#[tokio::test(start_paused = true)]
async fn a_pass_that_is_stored_while_its_refusal_is_written_is_closed_and_given_back() {
    let files = BundleFiles::new();
    let world = World::new(Rigged::new(MemoryStore::new()));
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    world.store.hold_decisions(true);
    let refusal = refused(engine.authorize(&call(&world, &handed.mandate, "send_money", PAY)).await);
    let settling = tokio::spawn({
        let engine = engine.clone();
        async move { engine.settle().await }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.store.hold_decisions(false);
    settling.await.unwrap();
    let id = refusal.decision.as_str();
    assert_eq!(decision(&*world.store, id).await.unwrap().verdict, Verdict::Pass);
    let closed: Vec<Outcome> = outcomes(&*world.store, id).await.iter().map(|o| o.outcome).collect();
    assert_eq!(closed, [Outcome::NotSent]);
    let paid = counter(&*world.store, &format!("limit/{}/1/sum/amount", handed.mandate)).await;
    assert_eq!(paid, Decimal::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_not_held_up_and_is_recorded_when_the_log_works_again() {
    let files = BundleFiles::new();
    let world = World::new(Rigged::new(MemoryStore::new()));
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    world.store.hold_commits(true);
    let denied = call(&world, &handed.mandate, "send_money", r#"{"recipient":"DE9","amount":1}"#);
    let begun = Instant::now();
    let refusal = refused(engine.authorize(&denied).await);
    assert!(begun.elapsed() <= Duration::from_millis(300), "held up for {:?}", begun.elapsed());
    assert_eq!(codes(&refusal), [ReasonCode::ArgumentOutOfBounds]);
    world.store.hold_commits(false);
    engine.settle().await;
    assert_eq!(decision(&*world.store, refusal.decision.as_str()).await.unwrap().verdict, Verdict::Deny);
    assert_eq!(gaps(&*world.store).await, [0]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_reads_ends_in_a_refusal() {
    let files = BundleFiles::new();
    let world = World::new(Rigged::new(MemoryStore::new()));
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    world.store.hold_reads(true);
    let begun = Instant::now();
    let refusal = refused(engine.authorize(&call(&world, &handed.mandate, "list_payees", "{}")).await);
    assert_eq!(codes(&refusal), [ReasonCode::DecisionUnavailable]);
    assert!(begun.elapsed() <= Duration::from_millis(5250), "held up for {:?}", begun.elapsed());
    world.store.hold_reads(false);
    engine.settle().await;
    assert!(decision(&*world.store, refusal.decision.as_str()).await.is_some());
}

/// What can never be stored must not stand in the way of what can.
#[tokio::test(start_paused = true)]
async fn a_refusal_over_many_counted_values_is_recorded_and_blocks_nothing() {
    let files = BundleFiles::new();
    let world = World::new(Faulty::new(MemoryStore::new()));
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    let people: Vec<String> = (0..900).map(|n| format!("\"person-{n}@example.com\"")).collect();
    let many = format!("{{\"people\":[{}]}}", people.join(","));
    let refusal = refused(engine.authorize(&call(&world, &handed.mandate, "invite", &many)).await);
    assert_eq!(codes(&refusal), [ReasonCode::LimitReached]);
    for _ in 0..3 {
        let read = engine.authorize(&call(&world, &handed.mandate, "list_payees", "{}")).await;
        assert!(matches!(read, Answer::Permitted(_)), "{read:?}");
    }
    engine.settle().await;
    assert!(
        decision(&*world.store, refusal.decision.as_str()).await.is_some(),
        "the refusal is not recorded"
    );
    assert_eq!(gaps(&*world.store).await.len(), 0);
}

/// A pass with as many counted values as fit its record, given back: the names of what was given back are longer.
#[tokio::test(start_paused = true)]
async fn the_outcome_of_a_pass_over_many_counted_values_is_recorded() {
    let files = BundleFiles::new().with("mandates/pay.yaml", "\"people/*\": 2", "\"people/*\": 5000");
    let world = World::of(Faulty::new(MemoryStore::new()), &files);
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    let mut passed = 0;
    for count in [100, 300, 400, 450, 500, 600, 900] {
        let people: Vec<String> = (0..count).map(|n| format!("\"p{count}-{n}\"")).collect();
        let many = format!("{{\"people\":[{}]}}", people.join(","));
        let answer = engine.authorize(&call(&world, &handed.mandate, "invite", &many)).await;
        let Answer::Permitted(permit) = answer else {
            assert_eq!(codes(&refused(answer)), [ReasonCode::AuditUnavailable], "{count}");
            continue;
        };
        passed += 1;
        let id = permit.decision().to_string();
        let receipt = engine.release(permit).unwrap().spend();
        engine.outcome(&receipt, Outcome::NotSent, Duration::ZERO).await;
        let closed: Vec<Outcome> = outcomes(&*world.store, &id).await.iter().map(|o| o.outcome).collect();
        assert_eq!(closed, [Outcome::NotSent], "{count} values");
        let left = counter(&*world.store, &format!("limit/{}/3/distinct/people/*", handed.mandate)).await;
        assert_eq!(left, Decimal::ZERO, "{count} values");
    }
    assert!(passed >= 3, "{passed} passed");
}

/// More refusals than are kept, while the log is down: what is owed for effects outlives them.
#[tokio::test(start_paused = true)]
async fn a_flood_of_refusals_does_not_push_an_outcome_out_of_the_gap() {
    let files = BundleFiles::new();
    let world = World::new(Rigged::new(MemoryStore::new()));
    let handed = world.hand_over("pay").await;
    let engine = world.engine(&files);
    let Answer::Permitted(permit) = engine.authorize(&call(&world, &handed.mandate, "send_money", PAY)).await
    else {
        panic!("not permitted")
    };
    let id = permit.decision().to_string();
    let receipt = engine.release(permit).unwrap().spend();
    world.store.fail_commits(true);
    let taken = engine.take_in(&receipt, Outcome::Succeeded, b"{}", &Output::default(), Duration::ZERO).await;
    assert!(taken.is_err(), "a result that is in no history was to be shown");
    for _ in 0..600 {
        refused(engine.authorize(&call(&world, &handed.mandate, "nothing", "{}")).await);
    }
    world.store.fail_commits(false);
    engine.settle().await;
    let closed: Vec<Outcome> = outcomes(&*world.store, &id).await.iter().map(|o| o.outcome).collect();
    assert_eq!(closed, [Outcome::Succeeded]);
    assert_eq!(gaps(&*world.store).await, [89], "512 are kept, one of them the outcome");
}
