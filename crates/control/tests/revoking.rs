//! What a revocation ends, and what a person can hand over after it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::time::Duration;

use warrantor_control::{
    handover::{Handed, HandoverError},
    standing::{self, Act, StandingError},
};
use warrantor_engine::{Answer, Engine};
use warrantor_model::{Clock, MandateId, ReasonCode, Subject, TemplateId};
use warrantor_store::{
    MemoryStore, Store,
    faults::{Fault, Faulty},
};
use warrantor_testkit::{BundleFiles, World};

fn template() -> TemplateId {
    "pay".parse().unwrap()
}

async fn stop<S: Store>(world: &World<S>, subject: &Subject) {
    let act =
        Act { evidence: "tester", reason: None, now: world.clock.now(), randomness: &*world.randomness };
    let stopped = standing::stop(&world.stop, Some(&*world.store), subject, &act).await.unwrap();
    assert!(stopped.file.is_ok() && stopped.record.is_ok(), "{stopped:?}");
}

async fn again(world: &World<MemoryStore>) -> Result<Handed, HandoverError> {
    world.at_desk(async |desk| desk.hand_over(&template()).await).await
}

async fn resume(world: &World<MemoryStore>) -> Result<Handed, HandoverError> {
    world.at_desk(async |desk| desk.resume_or_begin(&template()).await).await
}

/// How a read under a mandate is answered: the reason, or none when it passes and is released.
async fn read(engine: &Engine<MemoryStore>, mandate: &MandateId) -> Option<ReasonCode> {
    match engine.authorize(&World::<MemoryStore>::call(mandate, "list_payees", "{}")).await {
        Answer::Permitted(permit) => engine.release(permit).err().map(|refused| refused.refusal.primary().0),
        Answer::Refused(refused) => Some(refused.refusal.primary().0),
        Answer::Asked(..) => Some(ReasonCode::ApprovalRequired),
    }
}

#[tokio::test]
async fn a_revoked_mandate_of_the_bundle_ends_what_was_handed_over_and_can_be_handed_over_anew() {
    let world = World::new(MemoryStore::new());
    let engine = world.engine(&BundleFiles::new());
    let first = world.hand_over("pay").await;
    assert_eq!(read(&engine, &first.mandate).await, None);
    world.clock.advance(Duration::from_secs(1));
    stop(&world, &Subject::Template(template())).await;
    assert_eq!(read(&engine, &first.mandate).await, Some(ReasonCode::MandateRevoked));
    let ended = resume(&world).await.unwrap_err();
    assert!(matches!(ended, HandoverError::Ended { .. }), "{ended}");
    world.clock.advance(Duration::from_secs(1));
    let second = again(&world).await.unwrap();
    assert_eq!(read(&engine, &second.mandate).await, None, "what was handed over afterwards is another act");
    assert_eq!(
        read(&engine, &first.mandate).await,
        Some(ReasonCode::MandateRevoked),
        "the first came back to life"
    );
    assert_eq!(resume(&world).await.unwrap().mandate, second.mandate);
    world.clock.advance(Duration::from_secs(1));
    stop(&world, &Subject::Template(template())).await;
    assert_eq!(
        read(&engine, &second.mandate).await,
        Some(ReasonCode::MandateRevoked),
        "the second stop did not reach it"
    );
}

#[tokio::test]
async fn the_stop_file_alone_reaches_what_was_handed_over_before_it() {
    let world = World::new(MemoryStore::new());
    let engine = world.engine(&BundleFiles::new());
    let first = world.hand_over("pay").await;
    world.clock.advance(Duration::from_secs(1));
    world.stop.stop(&Subject::Template(template()), world.clock.now()).unwrap();
    assert_eq!(read(&engine, &first.mandate).await, Some(ReasonCode::MandateRevoked));
    world.clock.advance(Duration::from_secs(1));
    let second = again(&world).await.unwrap();
    assert_eq!(read(&engine, &second.mandate).await, None);
    world.clock.advance(Duration::from_secs(1));
    world.stop.stop(&Subject::Template(template()), world.clock.now()).unwrap();
    assert_eq!(read(&engine, &second.mandate).await, Some(ReasonCode::MandateRevoked));
}

#[tokio::test]
async fn one_revoked_instance_leaves_the_next_alone_and_never_comes_back() {
    let world = World::new(MemoryStore::new());
    let engine = world.engine(&BundleFiles::new());
    let first = world.hand_over("pay").await;
    let subject = Subject::Mandate(first.mandate.clone());
    stop(&world, &subject).await;
    let act =
        Act { evidence: "tester", reason: None, now: world.clock.now(), randomness: &*world.randomness };
    let lifted = standing::lift(&world.stop, &*world.store, &subject, &act).await;
    assert!(matches!(lifted, Err(StandingError::Final { .. })));
    let second = again(&world).await.unwrap();
    assert_eq!(read(&engine, &first.mandate).await, Some(ReasonCode::MandateRevoked));
    assert_eq!(read(&engine, &second.mandate).await, None);
}

#[tokio::test]
async fn nothing_is_handed_over_for_or_to_whoever_is_stopped() {
    for subject in [
        Subject::Deployment,
        Subject::Agent("invoice-bot".parse().unwrap()),
        Subject::Person("alice".parse().unwrap()),
    ] {
        let world = World::new(MemoryStore::new());
        stop(&world, &subject).await;
        let refused = again(&world).await.unwrap_err();
        assert!(matches!(refused, HandoverError::Refused { .. }), "{subject}: {refused}");
    }
}

#[tokio::test]
async fn an_expired_mandate_is_refused_until_it_is_handed_over_anew() {
    let world = World::new(MemoryStore::new());
    let first = world.hand_over("pay").await;
    assert_eq!(resume(&world).await.unwrap().mandate, first.mandate);
    world.clock.advance(Duration::from_secs(1800));
    assert!(matches!(resume(&world).await, Err(HandoverError::Ended { .. })));
    let second = again(&world).await.unwrap();
    assert_ne!(second.mandate, first.mandate);
    assert_eq!(resume(&world).await.unwrap().mandate, second.mandate);
}

#[tokio::test]
async fn a_child_belongs_to_its_parents_task_and_does_not_outlive_it() {
    let world = World::new(MemoryStore::new());
    let engine = world.engine(&BundleFiles::new());
    let parent = world.hand_over("pay").await;
    let child = world.hand_over("part").await;
    assert_eq!(
        (&child.task, child.expires_at),
        (&parent.task, parent.expires_at),
        "ten hours were asked for"
    );
    assert_eq!(read(&engine, &child.mandate).await, None);
    stop(&world, &Subject::Mandate(parent.mandate)).await;
    assert_eq!(read(&engine, &child.mandate).await, Some(ReasonCode::MandateRevoked));
    let ended =
        world.at_desk(async |desk| desk.resume_or_begin(&"part".parse().unwrap()).await).await.unwrap_err();
    assert!(matches!(ended, HandoverError::Ended { .. }), "{ended}");
}

#[tokio::test]
async fn terms_stay_as_they_were_handed_over_whatever_the_file_says_since() {
    let wider = BundleFiles::new().with("mandates/pay.yaml", "max: 1200", "max: 1000000");
    let mut world = World::new(MemoryStore::new());
    let first = world.hand_over("pay").await;
    world.bundle = wider.load();
    let resumed = resume(&world).await.unwrap();
    assert!(resumed.file_differs && resumed.mandate == first.mandate);
    let engine = world.engine(&wider);
    let call =
        World::<MemoryStore>::call(&first.mandate, "send_money", r#"{"recipient":"DE1","amount":5000}"#);
    let Answer::Refused(refused) = engine.authorize(&call).await else {
        panic!("the edited file widened a mandate")
    };
    assert_eq!(refused.refusal.primary().0, ReasonCode::ArgumentOutOfBounds);
}

#[tokio::test]
async fn a_stop_is_acknowledged_by_the_file_or_the_store_and_denied_when_both_fail() {
    let subject = Subject::Agent("invoice-bot".parse().unwrap());
    let world = World::new(Faulty::new(MemoryStore::new()));
    let act =
        Act { evidence: "tester", reason: None, now: world.clock.now(), randomness: &*world.randomness };
    world.store.plan(1, Fault::Refused);
    let stopped = standing::stop(&world.stop, Some(&*world.store), &subject, &act).await.unwrap();
    assert!(stopped.file.is_ok() && stopped.record.is_err(), "{stopped:?}");
    assert_eq!(standing::absorb(&world.stop, &*world.store, &act).await.unwrap(), 1, "it is recorded later");
    assert_eq!(standing::absorb(&world.stop, &*world.store, &act).await.unwrap(), 0);
    // The file is damaged: removing it leaves this handle without one that others stop by.
    std::fs::remove_file(world.directory.path().join("stop")).unwrap();
    let by_store = standing::stop(&world.stop, Some(&*world.store), &subject, &act).await.unwrap();
    assert!(by_store.file.is_err() && by_store.record.is_ok(), "{by_store:?}");
    world.store.plan(1, Fault::Refused);
    let neither = standing::stop(&world.stop, Some(&*world.store), &subject, &act).await;
    assert!(matches!(neither, Err(StandingError::NotAcknowledged { .. })), "{neither:?}");
}
