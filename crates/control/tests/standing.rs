//! Stopping with a file or a store that fails, lifting, and catching up.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::fs;

use warrantor_control::standing::{Act, StandingError, absorb, lift, stop, stored};
use warrantor_model::{
    Clock, Subject,
    record::{Event, StandingChange},
};
use warrantor_store::{MemoryStore, Store};
use warrantor_testkit::{Rigged, World, records};

type Rig = World<Rigged<MemoryStore>>;

fn act(world: &Rig) -> Act<'_> {
    Act { evidence: "tester", reason: Some("drill"), now: world.clock.now(), randomness: &*world.randomness }
}

fn break_file(world: &Rig) {
    fs::remove_file(world.directory.path().join("stop")).unwrap();
}

async fn changes<S: Store>(store: &S) -> Vec<StandingChange> {
    let change = |event| match event {
        Event::Standing(standing) => Some(standing.change),
        _ => None,
    };
    records(store).await.into_iter().filter_map(|record| change(record.event)).collect()
}

#[tokio::test]
async fn a_stop_is_acknowledged_unless_file_and_store_both_fail() {
    for (file, store) in [(true, true), (true, false), (false, true), (false, false)] {
        for subject in ["agent:invoice-bot", "person:alice", "template:pay", "deployment"] {
            let case = format!("{subject}, file {file}, store {store}");
            let world = World::new(Rigged::new(MemoryStore::new()));
            let subject: Subject = subject.parse().unwrap();
            if !file {
                break_file(&world);
            }
            world.store.fail_commits(!store);
            let stopped = stop(&world.stop, Some(&*world.store), &subject, &act(&world)).await;
            match stopped {
                Err(StandingError::NotAcknowledged { .. }) => assert!(!file && !store, "{case}"),
                Err(other) => panic!("{case}: {other}"),
                Ok(stopped) => {
                    assert_eq!((stopped.file.is_ok(), stopped.record.is_ok()), (file, store), "{case}");
                }
            }
            let standing = stored(&*world.store, &subject).await.unwrap();
            assert_eq!(standing.is_some_and(|standing| standing.stopped), store, "{case}");
            if file {
                assert!(world.stop.read().unwrap().iter().any(|stop| stop.subject == subject), "{case}");
                assert_eq!(world.stop.unabsorbed().unwrap().is_empty(), store, "{case}");
            }
        }
    }
}

#[tokio::test]
async fn a_stop_without_any_store_is_in_the_file_and_absorbed_later_with_its_own_time() {
    let world = World::new(Rigged::new(MemoryStore::new()));
    let bot: Subject = "agent:invoice-bot".parse().unwrap();
    let stopped = stop(&world.stop, None::<&MemoryStore>, &bot, &act(&world)).await.unwrap();
    assert!(stopped.file.is_ok() && stopped.record.is_err());
    let since = world.clock.now();
    world.clock.advance(std::time::Duration::from_secs(100));
    world.store.fail_commits(true);
    assert!(absorb(&world.stop, &*world.store, &act(&world)).await.is_err());
    world.store.fail_commits(false);
    assert_eq!(absorb(&world.stop, &*world.store, &act(&world)).await.unwrap(), 1);
    assert_eq!(absorb(&world.stop, &*world.store, &act(&world)).await.unwrap(), 0);
    let standing = stored(&*world.store, &bot).await.unwrap().unwrap();
    assert!(standing.stopped && standing.since == since, "{standing:?}");
    assert_eq!(changes(&*world.store).await, [StandingChange::Stopped]);
}

#[tokio::test]
async fn lifting_takes_both_away_and_a_mandate_never() {
    let world = World::new(Rigged::new(MemoryStore::new()));
    let bot: Subject = "agent:invoice-bot".parse().unwrap();
    stop(&world.stop, Some(&*world.store), &bot, &act(&world)).await.unwrap();
    world.store.fail_commits(true);
    assert!(lift(&world.stop, &*world.store, &bot, &act(&world)).await.is_err());
    assert_eq!(world.stop.read().unwrap().len(), 1, "lifted though the store did not take it");
    world.store.fail_commits(false);
    lift(&world.stop, &*world.store, &bot, &act(&world)).await.unwrap();
    assert!(world.stop.read().unwrap().is_empty());
    assert!(!stored(&*world.store, &bot).await.unwrap().unwrap().stopped);
    assert_eq!(changes(&*world.store).await, [StandingChange::Stopped, StandingChange::Lifted]);
    for subject in ["mandate:m1", "template:pay"] {
        let lifted = lift(&world.stop, &*world.store, &subject.parse().unwrap(), &act(&world)).await;
        assert!(matches!(lifted, Err(StandingError::Final { .. })), "{subject}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hanging_store_does_not_keep_a_stop_from_being_in_force() {
    let world = World::new(Rigged::new(MemoryStore::new()));
    world.store.hold_commits(true);
    let bot: Subject = "agent:invoice-bot".parse().unwrap();
    let stopped = stop(&world.stop, Some(&*world.store), &bot, &act(&world)).await.unwrap();
    assert!(stopped.file.is_ok() && stopped.record.is_err());
    world.store.hold_commits(false);
}
