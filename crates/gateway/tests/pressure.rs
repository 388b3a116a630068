//! Peers that are slow, loud, gone or hanging: nobody waits for them but themselves, and what happened is recorded.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

mod support;

use support::{Rig, call, text};
use warrantor_gateway::Ended;
use warrantor_model::record::{Event, Outcome};
use warrantor_store::{MemoryStore, Store};
use warrantor_testkit::{BundleFiles, Rigged, records};

async fn told<S: Store>(store: &S) -> Vec<Outcome> {
    let outcome = |event| match event {
        Event::Outcome(outcome) => Some(outcome.outcome),
        _ => None,
    };
    records(store).await.into_iter().filter_map(|record| outcome(record.event)).collect()
}

#[tokio::test(start_paused = true)]
async fn news_of_a_changed_list_before_its_answer_does_not_block_the_answer() {
    let mut rig = Rig::new(MemoryStore::new()).await.legacy().await;
    rig.call("1", "list_payees", "{}").await;
    let asked = rig.server.next().await;
    assert_eq!(asked["method"], "tools/list");
    rig.server.send(r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#).await;
    rig.answer(&asked, &BundleFiles::definitions()).await;
    assert_eq!(rig.client.next().await["method"], "notifications/tools/list_changed");
    // What was listed before the news may be old: it is listed anew.
    rig.list_definitions().await;
    let asked = rig.server.next().await;
    assert_eq!(asked["method"], "tools/call");
    rig.answer(&asked, &text("nobody")).await;
    assert_eq!(rig.client.next().await["result"]["content"][0]["text"], "nobody");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_does_not_stop_the_recording() {
    let mut rig = Rig::with_pipes(MemoryStore::new(), &BundleFiles::new(), 4096).await.legacy().await;
    rig.call("1", "list_payees", "{}").await;
    rig.list_definitions().await;
    let first = rig.server.next().await;
    rig.answer(&first, &text("first")).await;
    rig.client.next().await;
    let with_progress = r#"{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"list_payees","arguments":{},"_meta":{"progressToken":"p"}}}"#;
    rig.client.send(with_progress).await;
    let asked = rig.server.next().await;
    let token = asked["params"]["_meta"]["progressToken"].clone();
    // More than pipe and queue hold, and nobody reads it.
    for n in 0..2000 {
        let progress = format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/progress","params":{{"progressToken":{token},"progress":{n}}}}}"#
        );
        rig.server.send(&progress).await;
    }
    rig.answer(&asked, &text("second")).await;
    // A flood of requests as well, whose answers nobody reads.
    for n in 0..50 {
        rig.client.send(&call(&format!("\"x{n}\""), "list_payees", "{}")).await;
        let asked = rig.server.next().await;
        rig.answer(&asked, &text("more")).await;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(told(&*rig.world.store).await, vec![Outcome::Succeeded; 52]);
    // When it hangs up, the session ends in good time.
    assert_eq!(rig.end().await, Ended::ByClient);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_and_asks_without_end_still_has_its_answers_taken() {
    let mut rig = Rig::with_pipes(MemoryStore::new(), &BundleFiles::new(), 4096).await.legacy().await;
    rig.call("1", "list_payees", "{}").await;
    rig.list_definitions().await;
    let asked = rig.server.next().await;
    // More requests than our answers to them find room for, before it reads a single one.
    for n in 0..2000 {
        rig.server.send(&format!(r#"{{"jsonrpc":"2.0","id":"s{n}","method":"ping"}}"#)).await;
    }
    rig.answer(&asked, &text("done")).await;
    assert_eq!(rig.client.next().await["result"]["content"][0]["text"], "done");
    assert_eq!(told(&*rig.world.store).await, [Outcome::Succeeded]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_babbling_server_does_not_keep_the_client_from_being_heard() {
    let mut rig = Rig::with_pipes(MemoryStore::new(), &BundleFiles::new(), 1 << 16).await.legacy().await;
    let noise = format!(
        "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\",\"params\":{{\"data\":\"{}\"}}}}\n",
        "x".repeat(3000)
    );
    let Rig { server, .. } = &mut rig;
    let babbling = server.babble(noise);
    for n in 0..50 {
        rig.client.send(&format!(r#"{{"jsonrpc":"2.0","id":{},"method":"resources/list"}}"#, n + 1)).await;
        assert_eq!(rig.client.next().await["error"]["code"], -32601);
    }
    babbling.abort();
}

#[tokio::test(start_paused = true)]
async fn calls_under_way_when_the_client_leaves_are_waited_for_and_recorded() {
    let mut rig = Rig::new(MemoryStore::new()).await.legacy().await;
    rig.call("1", "list_payees", "{}").await;
    rig.list_definitions().await;
    let one = rig.server.next().await;
    rig.call("2", "invite", r#"{"people":["ann"]}"#).await;
    let two = rig.server.next().await;
    rig.client.hang_up().await;
    tokio::time::advance(std::time::Duration::from_millis(500)).await;
    rig.answer(&one, &text("late")).await;
    assert_eq!(rig.client.next().await["result"]["content"][0]["text"], "late");
    // The other one never comes.
    assert_eq!(two["params"]["name"], "invite");
    assert_eq!(rig.ended().await, Ended::ByClient);
    assert_eq!(told(&*rig.world.store).await, [Outcome::Succeeded, Outcome::Unknown]);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_leaves_an_outcome_for_every_call() {
    let mut rig = Rig::new(MemoryStore::new()).await.legacy().await;
    rig.call("1", "list_payees", "{}").await;
    rig.list_definitions().await;
    rig.server.next().await;
    rig.server.hang_up().await;
    assert_eq!(rig.client.next().await["error"]["code"], -32603);
    assert_eq!(rig.ended().await, Ended::ByUpstream);
    assert_eq!(told(&*rig.world.store).await, [Outcome::Unknown]);
}

/// The client leaves while the record of a call hangs: the pass is not sent any more, and closed.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_its_record_at_the_end_is_closed() {
    let mut rig = Rig::new(Rigged::new(MemoryStore::new())).await.legacy().await;
    rig.call("1", "list_payees", "{}").await;
    rig.list_definitions().await;
    let first = rig.server.next().await;
    rig.answer(&first, &text("first")).await;
    rig.client.next().await;
    rig.world.store.hold_commits(true);
    rig.call("2", "send_money", r#"{"recipient":"DE1","amount":5}"#).await;
    assert!(rig.server.is_quiet().await);
    rig.client.hang_up().await;
    let store = std::sync::Arc::clone(&rig.world.store);
    let later = tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(4500)).await;
        store.hold_commits(false);
    });
    assert_eq!(rig.ended().await, Ended::ByClient);
    later.await.unwrap();
    assert_eq!(told(&*rig.world.store).await, [Outcome::Succeeded, Outcome::NotSent]);
}

/// Dropping the session, as an interrupt does, loses no outcome either.
#[tokio::test(start_paused = true)]
async fn an_interrupted_session_tells_the_outcomes_of_calls_under_way() {
    let mut rig = Rig::new(MemoryStore::new()).await.legacy().await;
    rig.call("1", "list_payees", "{}").await;
    rig.list_definitions().await;
    rig.server.next().await;
    rig.serving.abort();
    assert!((&mut rig.serving).await.unwrap_err().is_cancelled());
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    rig.engine.settle().await;
    assert_eq!(told(&*rig.world.store).await, [Outcome::Unknown]);
}
