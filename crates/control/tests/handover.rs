//! Who may hand over, what is resumed, and what an instance keeps whatever the files say later.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{sync::Arc, time::Duration};

use warrantor_control::handover::{Handed, HandoverError};
use warrantor_engine::Answer;
use warrantor_model::{Clock, Subject, TaskId, record::Event};
use warrantor_store::{
    MemoryStore, Store,
    contract::check_log,
    faults::{Fault, Faulty},
};
use warrantor_testkit::{BundleFiles, SeededBytes, World, records};

async fn resume<S: Store>(world: &World<S>, template: &str) -> Result<Handed, HandoverError> {
    world.at_desk(async |desk| desk.resume_or_begin(&template.parse().unwrap()).await).await
}

async fn renew<S: Store>(world: &World<S>, template: &str) -> Result<Handed, HandoverError> {
    world.at_desk(async |desk| desk.hand_over(&template.parse().unwrap()).await).await
}

/// The same world with other files: the bundle was edited.
fn edited<S: Store>(world: World<S>, files: &BundleFiles) -> World<S> {
    World { bundle: files.load(), ..world }
}

#[tokio::test]
async fn the_first_run_hands_over_and_later_ones_resume_what_is_live() {
    let world = World::new(MemoryStore::new());
    let first = resume(&world, "pay").await.unwrap();
    assert!(first.new && !first.file_differs);
    assert_eq!(first.expires_at, world.clock.now().plus(Duration::from_secs(1800)));
    world.clock.advance(Duration::from_secs(600));
    let second = resume(&world, "pay").await.unwrap();
    assert_eq!((second.new, &second.mandate, &second.task), (false, &first.mandate, &first.task));
    assert_eq!(second.expires_at, first.expires_at, "resuming does not renew");
    let in_task = async |task: &TaskId| {
        world.at_desk(async |desk| desk.resume_task(&"pay".parse().unwrap(), task).await).await
    };
    assert_eq!(in_task(&first.task).await.unwrap().mandate, first.mandate);
    let other = in_task(&"t-other".parse().unwrap()).await;
    assert!(matches!(other, Err(HandoverError::NoTask { .. })));
    assert!(matches!(resume(&world, "none").await, Err(HandoverError::Unknown { .. })));
    let handed = records(&*world.store).await;
    let handovers = handed.iter().filter(|record| matches!(record.event, Event::Handover(_))).count();
    assert_eq!(handovers, 1);

    let renewed = renew(&world, "pay").await.unwrap();
    assert!(renewed.new && renewed.mandate != first.mandate && renewed.task != first.task);
    assert_eq!(resume(&world, "pay").await.unwrap().mandate, renewed.mandate);
    assert!(matches!(in_task(&first.task).await, Err(HandoverError::NoTask { .. })));
}

#[tokio::test]
async fn an_ended_instance_is_refused_until_a_person_hands_over_again() {
    for how in ["expired", "mandate", "template", "exhausted"] {
        let files = BundleFiles::new().with("mandates/pay.yaml", "calls: 100", "calls: 1");
        let world = World::of(MemoryStore::new(), &files);
        let first = resume(&world, "pay").await.unwrap();
        match how {
            "expired" => world.clock.advance(Duration::from_secs(1800)),
            "mandate" => {
                let mandate = Subject::Mandate(first.mandate.clone());
                world.stop.stop(&mandate, world.clock.now()).unwrap();
            }
            "template" => world.stop.stop(&"template:pay".parse().unwrap(), world.clock.now()).unwrap(),
            _ => {
                let call = World::<MemoryStore>::call(&first.mandate, "list_payees", "{}");
                assert!(matches!(world.engine(&files).authorize(&call).await, Answer::Permitted(_)));
            }
        }
        assert!(matches!(resume(&world, "pay").await, Err(HandoverError::Ended { .. })), "{how}");
        world.clock.advance(Duration::from_secs(1));
        let renewed = renew(&world, "pay").await.unwrap();
        assert_eq!(resume(&world, "pay").await.unwrap().mandate, renewed.mandate, "{how}");
        let call = World::<MemoryStore>::call(&renewed.mandate, "list_payees", "{}");
        let answer = world.engine(&files).authorize(&call).await;
        assert!(matches!(answer, Answer::Permitted(_)), "{how}: {answer:?}");
    }
}

/// What was handed over is judged by the terms it was handed over with, in every respect.
#[tokio::test]
async fn edited_files_change_nothing_for_what_was_handed_over() {
    let of =
        |calls: u32| BundleFiles::new().with("mandates/pay.yaml", "calls: 100", &format!("calls: {calls}"));
    for (at_handover, in_file, used, ended) in [(2, 9, 2, true), (9, 2, 3, false)] {
        let case = format!("{at_handover} calls handed over, {in_file} in the file, {used} used");
        let world = World::of(MemoryStore::new(), &of(at_handover));
        let first = resume(&world, "pay").await.unwrap();
        let engine = world.engine(&of(at_handover));
        for _ in 0..used {
            let call = World::<MemoryStore>::call(&first.mandate, "list_payees", "{}");
            assert!(matches!(engine.authorize(&call).await, Answer::Permitted(_)), "{case}");
        }
        let world = edited(world, &of(in_file));
        match resume(&world, "pay").await {
            Err(HandoverError::Ended { why, .. }) => assert!(ended && why.contains('2'), "{case}: {why}"),
            Ok(handed) => assert!(!ended && handed.file_differs && handed.mandate == first.mandate, "{case}"),
            Err(other) => panic!("{case}: {other}"),
        }
        let call = World::<MemoryStore>::call(&first.mandate, "list_payees", "{}");
        let answer = world.engine(&of(in_file)).authorize(&call).await;
        assert_eq!(matches!(answer, Answer::Permitted(_)), !ended, "{case}: {answer:?}");
    }
}

#[tokio::test]
async fn two_processes_that_begin_at_once_get_one_instance() {
    for template in ["pay", "part"] {
        let files = BundleFiles::new();
        let memory = MemoryStore::new();
        let behind = memory.reopen().unwrap();
        // The one process hangs in its commit while the other goes through.
        let one = Arc::new(World::of(Faulty::new(memory), &files));
        let two = World {
            store: Arc::new(behind),
            randomness: Arc::new(SeededBytes::new(99)),
            ..World::of(MemoryStore::new(), &files)
        };
        one.store.plan(1, Fault::Hang);
        let mut slow = Box::pin(resume(&one, template));
        let waits =
            std::future::poll_fn(|context| std::task::Poll::Ready(slow.as_mut().poll(context).is_pending()));
        assert!(waits.await);
        let quick = resume(&two, template).await.unwrap();
        one.store.release();
        let slow = slow.await.unwrap();
        assert_eq!((slow.mandate, slow.task), (quick.mandate, quick.task), "{template}");
        assert!(quick.new && !slow.new, "{template}");
        check_log(&*two.store).await;
    }
}

#[tokio::test]
async fn a_child_is_handed_over_under_its_parent_s_live_instance_and_ends_with_it() {
    let world = World::new(MemoryStore::new());
    let parent = resume(&world, "pay").await.unwrap();
    world.clock.advance(Duration::from_secs(60));
    let child = resume(&world, "part").await.unwrap();
    assert_eq!(child.task, parent.task);
    assert_eq!(child.expires_at, parent.expires_at, "ten hours end with the parent's thirty minutes");
    // A parent that was handed over anew has no children yet.
    let renewed = renew(&world, "pay").await.unwrap();
    let again = renew(&world, "part").await.unwrap();
    assert_eq!(again.task, renewed.task);
    // What stops the parent ends the child.
    for subject in [Subject::Mandate(renewed.mandate), "template:pay".parse().unwrap()] {
        world.stop.stop(&subject, world.clock.now()).unwrap();
        assert!(matches!(resume(&world, "part").await, Err(HandoverError::Ended { .. })), "{subject}");
        world.stop.clear(&subject).unwrap();
    }
    assert_eq!(resume(&world, "part").await.unwrap().mandate, again.mandate);
    // An ended parent is handed over anew with its child.
    world.clock.advance(Duration::from_secs(1800));
    let both = renew(&world, "part").await.unwrap();
    assert!(both.task != again.task && resume(&world, "pay").await.unwrap().task == both.task);
}

#[tokio::test]
async fn nobody_who_is_stopped_or_inactive_hands_over_or_is_handed_to() {
    let base = BundleFiles::new();
    let suspended_person =
        base.clone().with("people.yaml", "groups: [finance] }", "groups: [finance], status: suspended }");
    let suspended_agent =
        base.clone().with("agents.yaml", "    owner: alice\n", "    owner: alice\n    status: suspended\n");
    for (name, files) in [("person", suspended_person), ("agent", suspended_agent)] {
        let world = World::of(MemoryStore::new(), &files);
        let refused = resume(&world, "pay").await;
        assert!(matches!(refused, Err(HandoverError::Refused { .. })), "a suspended {name}: {refused:?}");
        assert_eq!(world.store.head().await.unwrap().size, 0, "{name}");
    }
    for subject in ["agent:invoice-bot", "person:alice", "deployment"] {
        let world = World::new(MemoryStore::new());
        let subject: Subject = subject.parse().unwrap();
        world.stop.stop(&subject, world.clock.now()).unwrap();
        assert!(matches!(resume(&world, "pay").await, Err(HandoverError::Refused { .. })), "{subject}");
        assert!(matches!(renew(&world, "pay").await, Err(HandoverError::Refused { .. })), "{subject}");
        world.stop.clear(&subject).unwrap();
        resume(&world, "pay").await.unwrap();
    }
}

#[tokio::test]
async fn a_bundle_is_noted_once_with_its_files() {
    let world = World::new(MemoryStore::new());
    for _ in 0..3 {
        world.at_desk(async |desk| desk.note_bundle().await).await.unwrap();
    }
    let noted = records(&*world.store).await;
    let [bound, record] = noted.as_slice() else { panic!("{} records", noted.len()) };
    assert!(matches!(&bound.event, Event::Act(act) if act.act == "people:bind"), "{bound:?}");
    let Event::Bundle(bundle) = &record.event else { panic!("{record:?}") };
    assert!(bundle.kept && bundle.revision == world.bundle.revision && bundle.files == 7);
}

#[tokio::test]
async fn a_bundle_that_gives_somebody_the_id_of_another_or_another_id_is_not_noted() {
    let world = World::new(MemoryStore::new());
    world.at_desk(async |desk| desk.note_bundle().await).await.unwrap();
    let files = BundleFiles::new();
    for (right, wrong, part) in [
        (r#"subject: "1""#, r#"subject: "9""#, "another person"),
        ("id: bob", "id: robert", "known here as bob"),
    ] {
        let mut world_of = World::of(MemoryStore::new(), &files.clone().with("people.yaml", right, wrong));
        world_of.store = std::sync::Arc::clone(&world.store);
        let refused = world_of.at_desk(async |desk| desk.note_bundle().await).await.unwrap_err();
        assert!(refused.to_string().contains(part), "{refused}");
    }
}
