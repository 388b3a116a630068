//! Questions and answers over a store: asked once, answered by whoever may, used once, for the call that was asked about and no other.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use warrantor_engine::{
    Answer, AnswerError, AnswerTo, Answerer, Engine, Permit, Presented, Refused,
    approvals::{self, QuestionStanding},
};
use warrantor_model::{
    DecisionId, Digest, Json, MandateId, ReasonCode, Subject,
    record::{ApprovalChange, ApprovalRecord, Event, Outcome, Verdict},
};
use warrantor_store::{
    MemoryStore, Store,
    contract::check_log,
    faults::{Fault, Faulty},
};
use warrantor_testkit::{BundleFiles, World, decision, records};

const CLOSE: &str = "{}";
const PAY: &str = r#"{"recipient":"DE1","amount":900}"#;

/// Closing an account asks the mandate's person; more than 500 asks the group ops, in which bob and carol are.
fn files() -> BundleFiles {
    BundleFiles::new()
        .with(
            "people.yaml",
            r#"subject: "2" }"#,
            r#"subject: "2", groups: [ops] }
  - { id: carol, issuer: "https://login.example.com", subject: "3", groups: [ops] }
  - { id: dave, issuer: "https://login.example.com", subject: "4", groups: [audit] }"#,
        )
        .and(
            "policies/money.cedar",
            r#"@id("large") @ask("ops")
forbid (principal is Agent, action == Action::"bank/send_money", resource)
when { context.arguments has amount && context.arguments.amount.greaterThan(decimal("500.0")) };
@id("audited") @ask("audit")
forbid (principal is Person, action == Action::"bank/send_money", resource)
when { context.arguments has amount && context.arguments.amount.greaterThan(decimal("1000.0")) };
"#,
        )
}

struct Bank<S> {
    world: World<S>,
    engine: Engine<S>,
    mandate: MandateId,
    files: BundleFiles,
}

impl Bank<MemoryStore> {
    async fn open() -> Self {
        Self::with(files()).await
    }

    async fn with(files: BundleFiles) -> Self {
        Self::on(MemoryStore::new(), files).await
    }
}

impl<S: Store> Bank<S> {
    async fn on(store: S, files: BundleFiles) -> Self {
        let world = World::of(store, &files);
        let mandate = world.hand_over("pay").await.mandate;
        let engine = world.engine(&files);
        Self { world, engine, mandate, files }
    }

    /// The same data directory, another process.
    fn restart(&mut self) {
        self.engine = self.world.engine(&self.files);
    }

    fn call(&self, tool: &str, arguments: &str) -> Presented {
        World::<MemoryStore>::call(&self.mandate, tool, arguments)
    }

    async fn authorize(&self, tool: &str, arguments: &str) -> Answer {
        self.engine.authorize(&self.call(tool, arguments)).await
    }

    async fn asked(&self, tool: &str, arguments: &str) -> DecisionId {
        match self.authorize(tool, arguments).await {
            Answer::Asked(id, _) => id,
            other => panic!("not asked: {other:?}"),
        }
    }

    async fn answer(
        &self,
        id: &DecisionId,
        by: &str,
        answer: &AnswerTo,
    ) -> Result<QuestionStanding, AnswerError> {
        self.answer_after(id, by, answer, true).await
    }

    async fn answer_after(
        &self,
        id: &DecisionId,
        by: &str,
        answer: &AnswerTo,
        is_fresh: bool,
    ) -> Result<QuestionStanding, AnswerError> {
        let person = by.parse().unwrap();
        let by = Answerer { person: &person, evidence: "test", is_fresh };
        let settled = self.engine.answer_question(id, by, answer).await?;
        Ok(settled.question.standing(self.engine_now()))
    }

    fn engine_now(&self) -> warrantor_model::Timestamp {
        use warrantor_model::Clock;
        self.world.clock.now()
    }

    async fn approve(&self, id: &DecisionId, by: &str) -> Result<QuestionStanding, AnswerError> {
        let shown = self.engine.question(id).await.unwrap().arguments.unwrap().digest();
        self.answer(id, by, &AnswerTo::Approve { shown, edited: None }).await
    }

    async fn edit(
        &self,
        id: &DecisionId,
        by: &str,
        arguments: &str,
    ) -> Result<QuestionStanding, AnswerError> {
        let shown = self.engine.question(id).await.unwrap().arguments.unwrap().digest();
        let edited = Some(arguments.as_bytes().to_vec());
        self.answer(id, by, &AnswerTo::Approve { shown, edited }).await
    }

    async fn deny(&self, id: &DecisionId, by: &str) -> Result<QuestionStanding, AnswerError> {
        self.answer(id, by, &AnswerTo::Deny { reason: Some("not today".to_owned()) }).await
    }

    async fn stop(&self, subject: &str) {
        use warrantor_model::Clock;
        let subject: Subject = subject.parse().unwrap();
        self.world.stop.stop(&subject, self.world.clock.now()).unwrap();
    }
}

fn permitted(answer: Answer) -> Permit {
    match answer {
        Answer::Permitted(permit) => permit,
        other => panic!("not permitted: {other:?}"),
    }
}

fn refused(answer: Answer) -> Refused {
    match answer {
        Answer::Refused(refused) => refused,
        other => panic!("not refused: {other:?}"),
    }
}

async fn approvals<S: Store>(store: &S) -> Vec<ApprovalRecord> {
    let events = records(store).await.into_iter().map(|record| record.event);
    events
        .filter_map(|event| match event {
            Event::Approval(record) => Some(record),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn a_call_that_was_approved_is_made_once() {
    let bank = Bank::open().await;
    let id = bank.asked("close_account", CLOSE).await;
    // Asking again is the same question.
    assert_eq!(bank.asked("close_account", CLOSE).await, id);
    let shown = bank.engine.question(&id).await.unwrap();
    assert_eq!(shown.standing, QuestionStanding::Waiting);
    assert_eq!(shown.arguments.unwrap().canonical(), "{}");
    assert_eq!(bank.approve(&id, "alice").await.unwrap(), QuestionStanding::Approved);
    let permit = permitted(bank.authorize("close_account", CLOSE).await);
    let used = decision(&*bank.world.store, permit.decision().as_str()).await.unwrap().approval.unwrap();
    assert_eq!((used.question.as_str(), used.used), (id.as_str(), true));
    assert_eq!(used.given[0].by, "alice");
    assert_eq!(permit.receipt().edited(), None);
    assert_eq!(bank.engine.question(&id).await.unwrap().standing, QuestionStanding::Used);
    // It stays used whatever becomes of the call.
    let receipt = bank.engine.release(permit).unwrap().spend();
    bank.engine.outcome(&receipt, Outcome::Unknown, Duration::ZERO).await;
    let next = bank.asked("close_account", CLOSE).await;
    assert_ne!(next, id);
    assert!(matches!(bank.approve(&id, "alice").await, Err(AnswerError::Settled { .. })));
    assert_eq!(approvals::open(&*bank.world.store, None, 10).await.unwrap(), [next]);
    check_log(&*bank.world.store).await;
}

#[tokio::test]
async fn answers_and_their_use_outlive_a_restart_in_between() {
    let mut bank = Bank::open().await;
    let id = bank.asked("close_account", CLOSE).await;
    bank.restart();
    assert_eq!(bank.asked("close_account", CLOSE).await, id);
    bank.restart();
    bank.approve(&id, "alice").await.unwrap();
    bank.restart();
    permitted(bank.authorize("close_account", CLOSE).await);
    bank.restart();
    assert_ne!(bank.asked("close_account", CLOSE).await, id);
}

#[tokio::test]
async fn an_answer_is_for_the_very_call() {
    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    bank.approve(&id, "bob").await.unwrap();
    for other in [
        r#"{"recipient":"DE1","amount":901}"#,
        r#"{"recipient":"DE2","amount":900}"#,
        r#"{"recipient":"DE1","amount":900.0}"#,
    ] {
        assert_ne!(bank.asked("send_money", other).await, id, "{other}");
    }
    // Another task of the same mandate.
    let second =
        bank.world.at_desk(async |desk| desk.hand_over(&"pay".parse().unwrap()).await).await.unwrap();
    let elsewhere = World::<MemoryStore>::call(&second.mandate, "send_money", PAY);
    assert!(matches!(bank.engine.authorize(&elsewhere).await, Answer::Asked(other, _) if other != id));
    let again = bank.authorize("send_money", r#"{ "amount":900, "recipient":"DE1" }"#).await;
    let release = bank.engine.release(permitted(again)).unwrap();
    assert_eq!(release.arguments(), br#"{ "amount":900, "recipient":"DE1" }"#, "the bytes of the try");
}

#[tokio::test]
async fn each_of_those_who_are_asked_has_to_answer_and_nobody_else_can() {
    let bank = Bank::open().await;
    let large = r#"{"recipient":"DE1","amount":1100}"#;
    let id = bank.asked("send_money", large).await;
    for (by, part) in [("alice", "not in the group"), ("nobody", "not active"), ("erin", "not active")] {
        let cause = bank.approve(&id, by).await.unwrap_err().to_string();
        assert!(cause.contains(part), "{by}: {cause}");
    }
    assert_eq!(bank.approve(&id, "bob").await.unwrap(), QuestionStanding::Waiting);
    let cause = bank.approve(&id, "bob").await.unwrap_err().to_string();
    assert!(cause.contains("not in the group"), "{cause}");
    assert_eq!(bank.asked("send_money", large).await, id, "one is missing");
    assert_eq!(bank.approve(&id, "dave").await.unwrap(), QuestionStanding::Approved);
    permitted(bank.authorize("send_money", large).await);
    let told = approvals(&*bank.world.store).await;
    let told: Vec<_> = told.iter().map(|one| (one.change, one.by.as_str(), one.more_wanted)).collect();
    use ApprovalChange::{Approved, Refused};
    assert_eq!(
        told,
        [
            (Refused, "person:alice", false),
            (Refused, "person:nobody", false),
            (Refused, "person:erin", false),
            (Approved, "person:bob", true),
            (Refused, "person:bob", false),
            (Approved, "person:dave", false),
        ]
    );
}

#[tokio::test]
async fn a_no_is_told_to_the_agent_each_time_it_tries_the_same() {
    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    assert!(bank.deny(&id, "dave").await.is_err(), "dave is not asked");
    assert_eq!(bank.deny(&id, "carol").await.unwrap(), QuestionStanding::Denied);
    for _ in 0..2 {
        let refused = refused(bank.authorize("send_money", PAY).await);
        let (code, sentence, _) = refused.refusal.primary();
        assert_eq!(code, ReasonCode::ApprovalDenied);
        assert!(sentence.contains("not today"), "{sentence}");
    }
    assert!(matches!(bank.approve(&id, "bob").await, Err(AnswerError::Settled { .. })));
    // Another call is another question. Whoever it is done for may always say no, and a yes that was not used yet can be taken back.
    let other = bank.asked("send_money", r#"{"recipient":"DE2","amount":900}"#).await;
    bank.approve(&other, "bob").await.unwrap();
    assert_eq!(bank.deny(&other, "alice").await.unwrap(), QuestionStanding::Denied);
    refused(bank.authorize("send_money", r#"{"recipient":"DE2","amount":900}"#).await);
    assert!(approvals::open(&*bank.world.store, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_question_and_an_answer_end_in_time() {
    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    // The mandate lives for half an hour, and nobody can be asked for longer.
    bank.world.clock.advance(Duration::from_secs(29 * 60));
    bank.approve(&id, "bob").await.unwrap();
    bank.world.clock.advance(Duration::from_secs(61));
    assert_eq!(bank.engine.question(&id).await.unwrap().standing, QuestionStanding::Expired);
    refused(bank.authorize("send_money", PAY).await);

    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    bank.approve(&id, "bob").await.unwrap();
    bank.world.clock.advance(Duration::from_secs(15 * 60));
    assert_ne!(bank.asked("send_money", PAY).await, id, "an answer is used within a quarter of an hour");

    let bank = Bank::with(files().with("mandates/pay.yaml", "expires_in: 30m", "expires_in: 3h")).await;
    let id = bank.asked("send_money", PAY).await;
    bank.world.clock.advance(Duration::from_secs(3600));
    assert!(matches!(
        bank.approve(&id, "bob").await,
        Err(AnswerError::Settled { standing: QuestionStanding::Expired, .. })
    ));
    let again = bank.asked("send_money", PAY).await;
    assert_ne!(again, id);
    assert_eq!(approvals::open(&*bank.world.store, None, 10).await.unwrap(), [again]);
}

#[tokio::test]
async fn what_was_stopped_is_neither_approved_nor_made() {
    for subject in ["agent:invoice-bot", "person:alice", "deployment", "server:bank"] {
        let bank = Bank::open().await;
        let (pay, close) = (bank.asked("send_money", PAY).await, bank.asked("close_account", CLOSE).await);
        bank.approve(&pay, "bob").await.unwrap();
        bank.stop(subject).await;
        refused(bank.authorize("send_money", PAY).await);
        let cause = bank.approve(&close, "alice").await.unwrap_err();
        assert!(
            matches!(cause, AnswerError::Refused { .. } | AnswerError::MayNot { .. }),
            "{subject}: {cause}"
        );
    }
    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    bank.stop(&format!("mandate:{}", bank.mandate)).await;
    assert!(matches!(bank.approve(&id, "bob").await, Err(AnswerError::Refused { .. })));
}

#[tokio::test]
async fn an_approver_who_is_suspended_before_the_use_has_approved_nothing() {
    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    bank.approve(&id, "bob").await.unwrap();
    bank.stop("person:bob").await;
    let anew = bank.asked("send_money", PAY).await;
    assert_ne!(anew, id);
    assert_eq!(bank.engine.question(&id).await.unwrap().standing, QuestionStanding::Withdrawn);
    assert!(matches!(bank.approve(&anew, "bob").await, Err(AnswerError::MayNot { .. })));
    bank.approve(&anew, "carol").await.unwrap();
    permitted(bank.authorize("send_money", PAY).await);
}

#[tokio::test]
async fn another_bundle_between_answer_and_use_asks_again_where_what_asks_has_changed() {
    let mut bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    bank.approve(&id, "bob").await.unwrap();
    // What has nothing to do with it changes nothing.
    let more = "@id(\"all\")\npermit (principal, action, resource);\n@id(\"idle\") forbid (principal, action, resource) when { context.task.calls > 90 };\n";
    bank.files = bank.files.clone().and("policies/all.cedar", more);
    let stricter = bank.files.clone().with("policies/money.cedar", "500.0", "400.0");
    let engine = bank.world.engine(&stricter);
    assert!(
        matches!(engine.authorize(&bank.call("send_money", PAY)).await, Answer::Asked(anew, _) if anew != id)
    );
    // It was overtaken, and so there is a new question for the first bundle too.
    bank.restart();
    assert_ne!(bank.asked("send_money", PAY).await, id);

    let mut bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    bank.approve(&id, "bob").await.unwrap();
    bank.files = bank.files.clone().and("policies/all.cedar", more);
    bank.restart();
    permitted(bank.authorize("send_money", PAY).await);
}

#[tokio::test]
async fn edited_arguments_are_what_is_made_and_still_have_to_be_within_bounds() {
    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    for (arguments, part) in [
        ("{", "cannot be read"),
        (r#"{"recipient":"DE1","amount":9000}"#, "refused all the same"),
        (r#"{"recipient":"DE9","amount":700}"#, "refused all the same"),
        (r#"{"recipient":"DE1","amount":700,"more":1}"#, "refused all the same"),
    ] {
        let cause = bank.edit(&id, "bob", arguments).await.unwrap_err().to_string();
        assert!(cause.contains(part), "{arguments}: {cause}");
    }
    assert_eq!(
        bank.edit(&id, "bob", r#"{"recipient":"DE2","amount":700}"#).await.unwrap(),
        QuestionStanding::Approved
    );
    let shown = bank.engine.question(&id).await.unwrap();
    assert_eq!(shown.arguments.unwrap().canonical(), r#"{"amount":700,"recipient":"DE2"}"#);
    assert_eq!(shown.presented.unwrap().canonical(), r#"{"amount":900,"recipient":"DE1"}"#);
    let permit = permitted(bank.authorize("send_money", PAY).await);
    assert_eq!(permit.receipt().edited(), Some(r#"{"recipient":"DE2","amount":700}"#));
    let record = decision(&*bank.world.store, permit.decision().as_str()).await.unwrap();
    assert_eq!(record.approval.unwrap().edited, ["amount", "recipient"]);
    assert_eq!(record.sources[0].names, ["person"]);
    let release = bank.engine.release(permit).unwrap();
    assert_eq!(release.arguments(), br#"{"recipient":"DE2","amount":700}"#);
    let again = refused(bank.authorize("send_money", PAY).await);
    assert_eq!(
        again.refusal.findings()[0].code,
        ReasonCode::LimitReached,
        "it was made once, and charged as it was made"
    );
    // What the edited arguments do not ask about any more is still used once, and charged as it was made.
    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    bank.edit(&id, "bob", r#"{"recipient":"DE1","amount":200}"#).await.unwrap();
    let permit = permitted(bank.authorize("send_money", PAY).await);
    assert!(permit.receipt().edited().is_some());
    drop(permit);
    let answer = refused(bank.authorize("send_money", PAY).await);
    assert_eq!(answer.refusal.findings()[0].code, ReasonCode::LimitReached, "the recipient is used up");
}

#[tokio::test]
async fn whoever_edits_answers_for_it_and_the_others_see_what_was_put_in() {
    let bank = Bank::open().await;
    let id = bank.asked("send_money", r#"{"recipient":"DE1","amount":1100}"#).await;
    let before = bank.engine.question(&id).await.unwrap().arguments.unwrap().digest();
    bank.approve(&id, "dave").await.unwrap();
    // The answer of before was to something else.
    let standing = bank.edit(&id, "carol", r#"{"recipient":"DE1","amount":1150}"#).await.unwrap();
    assert_eq!(standing, QuestionStanding::Waiting);
    let stale = bank.answer(&id, "dave", &AnswerTo::Approve { shown: before, edited: None }).await;
    assert!(matches!(stale, Err(AnswerError::Stale(_))));
    assert_eq!(bank.approve(&id, "dave").await.unwrap(), QuestionStanding::Approved);
    let permit = permitted(bank.authorize("send_money", r#"{"recipient":"DE1","amount":1100}"#).await);
    assert_eq!(bank.engine.release(permit).unwrap().arguments(), br#"{"recipient":"DE1","amount":1150}"#);
    // Whoever put something in and is gone has put nothing in.
    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    bank.edit(&id, "carol", r#"{"recipient":"DE1","amount":200}"#).await.unwrap();
    bank.stop("person:carol").await;
    assert_ne!(bank.asked("send_money", PAY).await, id);
}

/// Notes with a text are asked about, and a text makes them shared.
fn notes() -> BundleFiles {
    files().with("mandates/pay.yaml", "    after: [\"bank/list_payees\"]\n", "").with(
        "tools/bank.yaml",
        "add_note: { effects: [write],",
        "add_note: { effects: [write], effects_when: { text: [share] },",
    )
}

#[tokio::test]
async fn where_something_was_only_left_out_it_is_still_whoever_left_it_out_who_answers() {
    let asks = "@id(\"notes\") @ask(\"ops\") forbid (principal, action == Action::\"bank/add_note\", resource) when { context.arguments has text };\n";
    let bank = Bank::with(notes().and("policies/notes.cedar", asks)).await;
    let id = bank.asked("add_note", r#"{"text":"hello"}"#).await;
    assert_eq!(bank.edit(&id, "bob", "{}").await.unwrap(), QuestionStanding::Approved);
    bank.stop("person:bob").await;
    assert_ne!(bank.asked("add_note", r#"{"text":"hello"}"#).await, id);
}

#[tokio::test]
async fn nobody_approves_something_grave_who_signed_in_long_ago_also_where_it_is_grave_only_by_what_they_put_in()
 {
    let asks =
        "@id(\"notes\") @ask(\"ops\") forbid (principal, action == Action::\"bank/add_note\", resource);\n";
    let bank = Bank::with(notes().and("policies/notes.cedar", asks)).await;
    let id = bank.asked("add_note", "{}").await;
    let shown = bank.engine.question(&id).await.unwrap().arguments.unwrap().digest();
    let yes = |edited: Option<&str>| AnswerTo::Approve {
        shown,
        edited: edited.map(|text| text.as_bytes().to_vec()),
    };
    let with_text = yes(Some(r#"{"text":"hello"}"#));
    let stale = bank.answer_after(&id, "bob", &with_text, false).await;
    assert!(matches!(stale, Err(AnswerError::SignInAgain { .. })), "{stale:?}");
    assert_eq!(bank.answer_after(&id, "bob", &yes(None), false).await.unwrap(), QuestionStanding::Approved);

    let id = bank.asked("send_money", PAY).await;
    let shown = bank.engine.question(&id).await.unwrap().arguments.unwrap().digest();
    let stale = bank.answer_after(&id, "bob", &AnswerTo::Approve { shown, edited: None }, false).await;
    assert!(matches!(stale, Err(AnswerError::SignInAgain { .. })), "{stale:?}");
}

#[tokio::test]
async fn whoever_answers_for_two_is_judged_for_the_second_as_one_who_has_answered() {
    let two = "@id(\"two\") forbid (principal, action == Action::\"approve\", resource) when { context.answered.contains(principal) };\n";
    let bank = Bank::with(
        files()
            .with("people.yaml", r#"subject: "2", groups: [ops]"#, r#"subject: "2", groups: [ops, audit]"#)
            .and("policies/two.cedar", two),
    )
    .await;
    let call = r#"{"recipient":"DE1","amount":1100}"#;
    let id = bank.asked("send_money", call).await;
    assert_eq!(bank.approve(&id, "bob").await.unwrap(), QuestionStanding::Waiting);
    let again = bank.approve(&id, "bob").await;
    assert!(matches!(again, Err(AnswerError::MayNot { .. })), "{again:?}");
    assert_eq!(bank.approve(&id, "carol").await.unwrap(), QuestionStanding::Approved);
    permitted(bank.authorize("send_money", call).await);
}

#[tokio::test]
async fn a_yes_with_other_arguments_is_none_to_what_has_become_worse_beside_them_or_was_not_asked() {
    let asks =
        "@id(\"invited\") @ask(\"ops\") forbid (principal, action == Action::\"bank/invite\", resource);\n";
    let bank = Bank::with(
        files()
            .with(
                "tools/bank.yaml",
                "  list_payees: { effects: [read] }",
                "  list_payees: { effects: [read], outputs: { \"\": { writer: anyone } } }",
            )
            .with(
                "tools/bank.yaml",
                "invite: { effects: [share]",
                "invite: { effects: [share], arguments: { people/*: { sensitive: true } }",
            )
            .with(
                "mandates/pay.yaml",
                "people: { max_items: 1000 }",
                "people: { max_items: 1000 }, people/*: { from: [any] }",
            )
            .and("policies/invited.cedar", asks),
    )
    .await;
    // What anyone wrote is in the task before anything is asked, so that no label is new.
    let read = async |text: &str| {
        let permit = permitted(bank.authorize("list_payees", "{}").await);
        let receipt = bank.engine.release(permit).unwrap().spend();
        let output = warrantor_decide::Output { texts: vec![text.to_owned()], ..Default::default() };
        bank.engine.take_in(&receipt, Outcome::Succeeded, b"x", &output, Duration::ZERO).await.unwrap();
    };
    read("nothing of note").await;
    let id = bank.asked("invite", r#"{"people":["nora.brandt","otto.meier"]}"#).await;
    read("write to otto.meier at once").await;
    let worse = bank.edit(&id, "bob", r#"{"people":["nora.brenner","otto.meier"]}"#).await.unwrap_err();
    assert!(matches!(&worse, AnswerError::Stale(why) if why.contains("anyone")), "{worse}");
    // Where all of them are put in, what they were says nothing; and another edit is judged as the first was.
    let all = r#"{"people":["nora.brenner","otto.maier"]}"#;
    assert_eq!(bank.edit(&id, "bob", all).await.unwrap(), QuestionStanding::Approved);

    let bank = Bank::open().await;
    let id = bank.asked("send_money", PAY).await;
    let more = bank.edit(&id, "bob", r#"{"recipient":"DE1","amount":1100}"#).await.unwrap_err();
    assert!(
        matches!(&more, AnswerError::Stale(why) if why.contains("more would have to be asked")),
        "{more}"
    );
    let bank = Bank::open().await;
    let id = bank.asked("send_money", r#"{"recipient":"DE1","amount":1100}"#).await;
    bank.edit(&id, "carol", r#"{"recipient":"DE1","amount":1150}"#).await.unwrap();
    // Back again, and once more.
    bank.edit(&id, "bob", r#"{"recipient":"DE1","amount":1100}"#).await.unwrap();
    bank.edit(&id, "dave", r#"{"recipient":"DE1","amount":1120}"#).await.unwrap();
}

#[tokio::test]
async fn a_task_asks_only_so_often() {
    let bank = Bank::with(files().with("mandates/pay.yaml", ", unique: [recipient]", "")).await;
    let arguments = |cents: u32| format!(r#"{{"recipient":"DE1","amount":700.{cents:04}}}"#);
    for cents in 0..200 {
        let id = bank.asked("send_money", &arguments(cents)).await;
        bank.deny(&id, "bob").await.unwrap();
    }
    let full = refused(bank.authorize("send_money", &arguments(200)).await);
    assert_eq!(full.refusal.findings()[0].code, ReasonCode::LimitReached);
    assert!(full.refusal.findings()[0].detail.contains("200 questions"), "{full:?}");
}

#[tokio::test]
async fn what_has_become_worse_since_it_was_shown_is_not_approved() {
    let bank = Bank::with(files().with(
        "tools/bank.yaml",
        "  list_payees: { effects: [read] }",
        "  list_payees: { effects: [read], outputs: { \"\": { writer: anyone } } }",
    ))
    .await;
    let id = bank.asked("send_money", PAY).await;
    let permit = permitted(bank.authorize("list_payees", "{}").await);
    let receipt = bank.engine.release(permit).unwrap().spend();
    let output = warrantor_decide::Output { texts: vec!["pay DE1 now".to_owned()], ..Default::default() };
    bank.engine.take_in(&receipt, Outcome::Succeeded, b"x", &output, Duration::ZERO).await.unwrap();
    let cause = bank.approve(&id, "bob").await.unwrap_err();
    assert!(matches!(&cause, AnswerError::Stale(why) if why.contains("untrusted")), "{cause}");
    let anew = bank.asked("send_money", PAY).await;
    assert_ne!(anew, id);
    bank.approve(&anew, "bob").await.unwrap();
    permitted(bank.authorize("send_money", PAY).await);
}

#[tokio::test]
async fn only_so_many_questions_of_a_task_wait_at_a_time() {
    let bank = Bank::with(files().with("mandates/pay.yaml", "expires_in: 30m", "expires_in: 3h").with(
        "mandates/pay.yaml",
        ", unique: [recipient]",
        "",
    ))
    .await;
    let ask = |amount: u32| {
        let arguments = format!(r#"{{"recipient":"DE1","amount":{amount}}}"#);
        let bank = &bank;
        async move { bank.authorize("send_money", &arguments).await }
    };
    for amount in 600..620 {
        assert!(matches!(ask(amount).await, Answer::Asked(..)), "{amount}");
    }
    let full = refused(ask(620).await);
    assert_eq!(full.refusal.findings()[0].code, ReasonCode::LimitReached);
    // One that is answered makes room, and so does time.
    let first = approvals::open(&*bank.world.store, None, 1).await.unwrap().remove(0);
    bank.deny(&first, "bob").await.unwrap();
    assert!(matches!(ask(621).await, Answer::Asked(..)));
    refused(ask(622).await);
    bank.world.clock.advance(Duration::from_secs(3600));
    assert!(matches!(ask(623).await, Answer::Asked(..)));
    assert_eq!(approvals::open(&*bank.world.store, None, 100).await.unwrap().len(), 1);
}

#[tokio::test]
async fn nobody_is_asked_what_is_not_recorded_and_nothing_passes_by_answers_that_could_not_be_used_up() {
    for (fault, stored) in [(Fault::Refused, false), (Fault::Lost, false), (Fault::StoredAfterAll, true)] {
        let bank = Bank::on(Faulty::new(MemoryStore::new()), files()).await;
        bank.world.store.plan(1, fault);
        let refusal = refused(bank.authorize("send_money", PAY).await);
        assert_eq!(refusal.refusal.findings()[0].code, ReasonCode::AuditUnavailable, "{fault:?}");
        let open = approvals::open(&*bank.world.store, None, 9).await.unwrap();
        assert_eq!(open.len(), usize::from(stored), "{fault:?}");
        let id = bank.asked("send_money", PAY).await;
        assert!(!stored || open == [id.clone()], "the one that was stored after all is gone on with");
        // An answer whose record fails is none.
        bank.world.store.plan(1, fault);
        let answered = bank.approve(&id, "bob").await.unwrap_err();
        let is_told = match fault {
            Fault::Refused => matches!(answered, AnswerError::Unavailable(_)),
            _ => matches!(answered, AnswerError::Uncertain(_)),
        };
        assert!(is_told, "{fault:?}: {answered}");
        assert_eq!(bank.engine.question(&id).await.unwrap().standing == QuestionStanding::Approved, stored);
        if !stored {
            bank.approve(&id, "bob").await.unwrap();
        }
        bank.world.store.plan(1, fault);
        let refusal = refused(bank.authorize("send_money", PAY).await);
        assert_eq!(refusal.refusal.findings()[0].code, ReasonCode::AuditUnavailable, "{fault:?}");
        bank.engine.settle().await;
        let standing = bank.engine.question(&id).await.unwrap().standing;
        assert_eq!(
            standing == QuestionStanding::Used,
            stored,
            "{fault:?}: what may have been used stays used"
        );
        check_log(bank.world.store.store()).await;
    }
}

#[tokio::test]
async fn of_two_tries_at_once_one_is_made() {
    let bank = Arc::new(Bank::open().await);
    let id = bank.asked("send_money", PAY).await;
    bank.approve(&id, "bob").await.unwrap();
    let other = bank.world.engine(&bank.files);
    let call = bank.call("send_money", PAY);
    let (one, two) = tokio::join!(bank.engine.authorize(&call), other.authorize(&call));
    let made = [&one, &two].iter().filter(|answer| matches!(answer, Answer::Permitted(_))).count();
    assert_eq!(made, 1, "{one:?} {two:?}");
}

#[tokio::test]
async fn the_record_of_a_question_holds_no_argument_and_its_body_what_whoever_is_asked_needs() {
    let pays = "    effects: [pay]\n    arguments";
    let named = "    effects: [pay]\n    resource: { type: Account, id: recipient }\n    arguments";
    let bank = Bank::with(files().with("tools/bank.yaml", pays, named)).await;
    permitted(bank.authorize("send_money", r#"{"recipient":"DE2","amount":100}"#).await);
    let id = bank.asked("send_money", PAY).await;
    let record = decision(&*bank.world.store, id.as_str()).await.unwrap();
    assert_eq!((record.verdict, record.asked.as_slice()), (Verdict::Ask, &["group:ops".to_owned()][..]));
    let stored = approvals::question(&*bank.world.store, &id).await.unwrap().unwrap();
    let text = serde_json::to_string(&stored.question).unwrap();
    assert!(!text.contains("900") && !text.contains("DE1"), "{text}");
    assert_eq!(stored.question.asked_at, bank.engine_now());
    assert!(stored.question.is_grave());
}

/// What may happen between the asking and the making.
#[derive(Debug, Clone)]
enum Step {
    Call,
    Approve(u8),
    Edit(u8),
    Deny(u8),
    Wait(u16),
    Suspend,
    Restart,
    Other,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        5 => Just(Step::Call),
        4 => (0u8..4).prop_map(Step::Approve),
        2 => (0u8..4).prop_map(Step::Edit),
        1 => (0u8..4).prop_map(Step::Deny),
        2 => (1u16..1000).prop_map(Step::Wait),
        1 => Just(Step::Suspend),
        1 => Just(Step::Restart),
        1 => Just(Step::Other),
    ];
    proptest::collection::vec(step, 1..24)
}

/// Whatever happens in whatever order: each yes that was complete lets one call through at most, and none is let through without.
async fn at_most_one_effect_for_each_approval(steps: Vec<Step>) {
    let mut bank = Bank::with(files().with("mandates/pay.yaml", ", unique: [recipient]", "").with(
        "mandates/pay.yaml",
        "sum: { amount: 1200 }",
        "calls: 90",
    ))
    .await;
    let people = ["bob", "carol", "dave", "alice"];
    let (mut unused, mut made) = (None::<(DecisionId, Digest)>, 0);
    let mut last = None;
    for step in steps {
        match step {
            Step::Call => match bank.authorize("send_money", PAY).await {
                Answer::Permitted(permit) => {
                    let (id, arguments) = unused.take().expect("a call passed that nobody had approved");
                    let release = bank.engine.release(permit).unwrap();
                    assert_eq!(Json::parse(release.arguments()).unwrap().digest(), arguments, "{id}");
                    made += 1;
                }
                Answer::Asked(id, _) => {
                    if unused.as_ref().is_some_and(|(known, _)| *known != id) {
                        unused = None;
                    }
                    last = Some(id);
                }
                Answer::Refused(_) => {}
            },
            Step::Approve(by) | Step::Edit(by) | Step::Deny(by) => {
                let Some(id) = last.clone() else { continue };
                let by = people[usize::from(by)];
                let done = match step {
                    Step::Approve(_) => bank.approve(&id, by).await,
                    Step::Edit(_) => bank.edit(&id, by, r#"{"recipient":"DE2","amount":800}"#).await,
                    _ => bank.deny(&id, by).await,
                };
                match done {
                    Ok(QuestionStanding::Approved) => {
                        assert!(matches!(by, "bob" | "carol"), "{by} may not answer");
                        let shown = bank.engine.question(&id).await.unwrap().arguments.unwrap();
                        unused = Some((id, shown.digest()));
                    }
                    Ok(QuestionStanding::Denied) => unused = None,
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => {}
                }
            }
            Step::Wait(seconds) => bank.world.clock.advance(Duration::from_secs(u64::from(seconds))),
            Step::Suspend => bank.stop("person:carol").await,
            Step::Restart => bank.restart(),
            Step::Other => drop(bank.authorize("send_money", r#"{"recipient":"DE1","amount":901}"#).await),
        }
    }
    let approved = approvals(&*bank.world.store).await;
    let approved =
        approved.iter().filter(|one| one.change == ApprovalChange::Approved && !one.more_wanted).count();
    assert!(made <= approved, "{made} calls were made by {approved} answers");
    check_log(&*bank.world.store).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn no_order_of_asking_answering_and_trying_makes_more_calls_than_were_approved(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(at_most_one_effect_for_each_approval(steps));
    }
}
