//! Deciding for enforcement points elsewhere, asked over the router as their gateways do.

use serde_json::{Value, json};
use warrantor_engine::wire::{Answered, Signed, Verified};
use warrantor_model::{Digest, EnforcementPoint};

use crate::common::{Plane, decisions, files};

/// A plane with a mandate, and two enforcement points.
struct Points {
    plane: Plane,
    eu: String,
    us: String,
    mandate: String,
}

impl Points {
    async fn new() -> Self {
        let plane = Plane::new();
        let giver = plane.person("giver", &[]).await;
        plane.person("owner", &[]).await;
        plane.agent("bot", "owner", "owner", &[]).await;
        let mandate = plane.settle(&giver, "bot").await;
        let eu = plane.client("eu", "enforcement-point").await;
        let us = plane.client("us", "enforcement-point").await;
        Self { plane, eu, us, mandate }
    }

    /// Asks as `eu`, and believes only what is signed for it.
    async fn ask(&self, question: Value) -> (Answered, Signed) {
        self.ask_as(&self.eu, "eu", question).await
    }

    async fn ask_as(&self, token: &str, point: &str, question: Value) -> (Answered, Signed) {
        let body = json!({ "nonce": "0".repeat(64), "question": question });
        let answered = self.plane.ask(token, "POST", "/v1/enforcement", Some(body.clone())).await.is(200);
        let signed: Signed = serde_json::from_value(answered).unwrap();
        let point: EnforcementPoint = point.parse().unwrap();
        let trusted = [decisions().verifier().clone()];
        let verified = Verified::of(signed.clone(), &trusted, &point, body.to_string().as_bytes()).unwrap();
        (verified.answered().clone(), signed)
    }

    async fn refused(&self, token: &str, question: Value, part: &str) {
        let body = json!({ "nonce": "0".repeat(64), "question": question });
        let answered = self.plane.ask(token, "POST", "/v1/enforcement", Some(body)).await;
        assert!(answered.status.is_client_error(), "{}: {}", answered.status, answered.body);
        assert!(
            answered.body["detail"].as_str().unwrap_or_default().contains(part),
            "{part}: {}",
            answered.body
        );
    }

    fn call(&self, tool: &str, bundle: &Digest) -> Value {
        json!({
            "bundle": bundle, "method": "tools/call", "mandate": self.mandate, "server": "bank", "offer": "", "tool": tool,
            "arguments": "{}", "evidence": { "kind": "token", "name": "laptop" }, "definition": "as_pinned",
        })
    }

    /// The bundle that holds, as `eu` is told.
    async fn bundle(&self) -> Digest {
        match self.ask(json!({ "ask": "bundle", "have": null })).await.0 {
            Answered::Bundle { revision, .. } => revision,
            other => panic!("{other:?}"),
        }
    }

    async fn calls(&self) -> usize {
        let records = warrantor_testkit::records(&*self.plane.store).await;
        records.iter().filter(|record| record.id.ends_with(".outcome")).count()
    }
}

#[tokio::test]
async fn a_point_is_given_its_bundle_and_its_calls_are_decided_on_that() {
    let points = Points::new().await;
    let bundle = points.bundle().await;
    let (have, _) = points.ask(json!({ "ask": "bundle", "have": bundle })).await;
    assert!(matches!(have, Answered::Bundle { files: None, .. }), "{have:?}");
    let (passed, _) =
        points.ask(json!({ "ask": "decide", "call": points.call("list_payees", &bundle) })).await;
    assert!(matches!(passed, Answered::Permitted { .. }), "{passed:?}");
    let (denied, _) =
        points.ask(json!({ "ask": "decide", "call": points.call("close_account", &bundle) })).await;
    let Answered::Refused { findings, .. } = denied else { panic!("{denied:?}") };
    assert!(!findings.is_empty());
    let (listed, _) = points
        .ask(json!({ "ask": "list", "mandate": points.mandate, "server": "bank", "evidence": { "kind": "token", "name": "x" } }))
        .await;
    assert_eq!(listed, Answered::Listed { tools: ["list_payees".to_owned()].into() });
    let (mandate, _) = points.ask(json!({ "ask": "mandate", "mandate": points.mandate })).await;
    assert!(matches!(&mandate, Answered::Mandate { agent, .. } if agent.as_str() == "bot"), "{mandate:?}");
    let (none, _) = points.ask(json!({ "ask": "mandate", "mandate": "m00000000000-0000000000000000" })).await;
    assert!(matches!(none, Answered::NoMandate { .. }), "{none:?}");
    // A call that was judged by another bundle is decided once that is taken.
    let other = Digest::of(b"another");
    let (moved, _) = points.ask(json!({ "ask": "decide", "call": points.call("list_payees", &other) })).await;
    assert_eq!(moved, Answered::Moved {});
}

#[tokio::test]
async fn a_bundle_that_was_published_before_is_decided_on_for_a_moment() {
    let points = Points::new().await;
    let before = points.bundle().await;
    let forbidding = files().and("policies/no.cedar", "@id(\"no\") forbid (principal, action, resource);");
    points.plane.publish(&forbidding).await;
    let decide = |bundle: Digest| json!({ "ask": "decide", "call": points.call("list_payees", &bundle) });
    let (now, _) = points.ask(decide(points.bundle().await)).await;
    assert!(matches!(now, Answered::Refused { .. }), "{now:?}");
    let (soon, _) = points.ask(decide(before)).await;
    assert!(matches!(soon, Answered::Permitted { .. }), "{soon:?}");
    points.plane.clock.advance(std::time::Duration::from_secs(10));
    assert_eq!(points.ask(decide(before)).await.0, Answered::Moved {});
}

#[tokio::test]
async fn what_is_published_once_more_goes_on_and_what_is_gone_back_to_holds_at_once() {
    let points = Points::new().await;
    let forbidding = files().and("policies/no.cedar", "@id(\"no\") forbid (principal, action, resource);");
    let decide = |bundle: Digest| json!({ "ask": "decide", "call": points.call("list_payees", &bundle) });
    let permitting = points.plane.publish(&files()).await;
    let (passes, _) = points.ask(decide(permitting.revision)).await;
    assert!(matches!(passes, Answered::Permitted { .. }), "{passes:?}");
    let again = points.plane.publish(&files()).await;
    assert!(again.number > permitting.number && again.revision == permitting.revision);
    let (passes, _) = points.ask(decide(permitting.revision)).await;
    assert!(matches!(passes, Answered::Permitted { .. }), "{passes:?}");
    let other = points.plane.publish(&forbidding).await;
    let (forbidden, _) = points.ask(decide(other.revision)).await;
    assert!(matches!(forbidden, Answered::Refused { .. }), "{forbidden:?}");
    points.plane.publish(&files()).await;
    let (passes, _) = points.ask(decide(points.bundle().await)).await;
    assert!(matches!(passes, Answered::Permitted { .. }), "{passes:?}");
}

#[tokio::test]
async fn what_became_of_a_call_is_told_by_the_permit_of_this_very_point() {
    let points = Points::new().await;
    let bundle = points.bundle().await;
    let decide = json!({ "ask": "decide", "call": points.call("list_payees", &bundle) });
    let (_, permit) = points.ask(decide.clone()).await;
    let take_in = |permit: &Signed| {
        json!({
            "ask": "take_in", "permit": permit, "part": null, "outcome": "succeeded", "result": "{}", "micros": 5,
            "output": { "structured": "{\"a\":1}", "texts": ["a"], "others": [], "error": false },
        })
    };
    // Another point's, a forged one, and one that is no permit.
    points.refused(&points.us, take_in(&permit), "not given out here").await;
    let forged = Signed { answer: permit.answer.replace("list_payees", "send_money"), ..permit.clone() };
    points.refused(&points.eu, take_in(&forged), "not given out here").await;
    let (_, other) = points.ask(json!({ "ask": "bundle", "have": bundle })).await;
    points.refused(&points.eu, take_in(&other), "no permit").await;
    assert_eq!(points.calls().await, 0);
    let (taken, _) = points.ask(take_in(&permit)).await;
    assert_eq!(taken, Answered::Done {});
    assert_eq!(points.calls().await, 1);
    // Told again it stays what it was; and it is not shown a second time.
    let (again, _) = points.ask(take_in(&permit)).await;
    assert_eq!(again, Answered::Withheld {});
    let give_back = json!({ "ask": "outcome", "permit": permit, "outcome": "not_sent", "micros": 0 });
    points.ask(give_back).await;
    assert_eq!(points.calls().await, 1);
}

#[tokio::test]
async fn a_stop_holds_at_the_next_question() {
    let points = Points::new().await;
    let bundle = points.bundle().await;
    let stand = json!({ "ask": "stand", "mandate": points.mandate, "server": "bank", "evidence": { "kind": "token", "name": "x" } });
    let (stands, _) = points.ask(stand.clone()).await;
    assert_eq!(stands, Answered::Hindered { findings: Vec::new() });
    let responder = points.plane.person("responder", &["responder"]).await;
    points.plane.ask(&responder, "POST", "/v1/agents/bot/suspend", None).await.is(200);
    let (stopped, _) = points.ask(stand).await;
    assert!(matches!(&stopped, Answered::Hindered { findings } if !findings.is_empty()), "{stopped:?}");
    let (refused, _) =
        points.ask(json!({ "ask": "decide", "call": points.call("list_payees", &bundle) })).await;
    assert!(matches!(refused, Answered::Refused { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_pass_whose_answer_was_lost_is_closed_and_what_it_charged_given_back() {
    let points = Points::new().await;
    let bundle = points.bundle().await;
    let outcomes = async || {
        let records = warrantor_testkit::records(&*points.plane.store).await;
        let told = records.into_iter().filter_map(|record| match record.event {
            warrantor_model::record::Event::Outcome(outcome) => {
                Some((outcome.outcome, outcome.given_back.len()))
            }
            _ => None,
        });
        told.collect::<Vec<_>>()
    };
    let decide = json!({ "nonce": "1".repeat(64), "question": { "ask": "decide", "call": points.call("list_payees", &bundle) } });
    let digest = Digest::of(decide.to_string().as_bytes());
    points.plane.ask(&points.eu, "POST", "/v1/enforcement", Some(decide)).await.is(200);
    // Nobody gives up what another was asked.
    points.ask_as(&points.us, "us", json!({ "ask": "abandon", "question": digest })).await;
    assert_eq!(outcomes().await, []);
    points.ask(json!({ "ask": "abandon", "question": digest })).await;
    let not_sent = warrantor_model::record::Outcome::NotSent;
    assert_eq!(outcomes().await, [(not_sent, 1)], "the mandate's ten calls are ten again");
    points.ask(json!({ "ask": "abandon", "question": digest })).await;
    assert_eq!(outcomes().await.len(), 1);
    // Given up before it was answered.
    let late = json!({ "nonce": "2".repeat(64), "question": { "ask": "decide", "call": points.call("list_payees", &bundle) } });
    points.ask(json!({ "ask": "abandon", "question": Digest::of(late.to_string().as_bytes()) })).await;
    points.plane.ask(&points.eu, "POST", "/v1/enforcement", Some(late)).await.is(200);
    assert_eq!(outcomes().await, [(not_sent, 1), (not_sent, 1)]);
}

#[tokio::test]
async fn nothing_is_taken_in_of_a_call_that_was_stopped_while_it_ran_and_a_gap_is_recorded() {
    let points = Points::new().await;
    let bundle = points.bundle().await;
    let (_, permit) =
        points.ask(json!({ "ask": "decide", "call": points.call("list_payees", &bundle) })).await;
    let responder = points.plane.person("responder", &["responder"]).await;
    points.plane.ask(&responder, "POST", "/v1/servers/bank/quarantine", None).await.is(200);
    let take_in = |outcome: &str, part: Option<u32>| {
        json!({
            "ask": "take_in", "permit": permit, "part": part, "outcome": outcome, "result": "{}", "micros": 5,
            "output": { "structured": null, "texts": ["a"], "others": [], "error": false },
        })
    };
    assert_eq!(points.ask(take_in("shown", Some(1))).await.0, Answered::Withheld {});
    assert_eq!(points.ask(take_in("succeeded", None)).await.0, Answered::Withheld {});
    for (outcome, part) in [("not_sent", None), ("shown", None), ("succeeded", Some(1)), ("eaten", None)] {
        points.refused(&points.eu, take_in(outcome, part), "outcome").await;
    }
    let gap = json!({ "ask": "gap", "since": "2030-01-01T11:00:00Z", "lost": 7, "cause": "the cable" });
    assert_eq!(points.ask(gap).await.0, Answered::Done {});
    points.plane.api.settle().await;
    let records = warrantor_testkit::records(&*points.plane.store).await;
    let gaps = records.iter().filter_map(|record| match &record.event {
        warrantor_model::record::Event::AuditGap(gap) => Some((gap.lost, gap.cause.as_str())),
        _ => None,
    });
    assert_eq!(gaps.collect::<Vec<_>>(), [(7, "eu was cut off: the cable")]);
    // Of a server that its bundle does not have a point says nothing.
    let seen = json!({ "ask": "definitions", "server": "desk", "changed": [], "unknown": [], "missing": [], "instructions_withheld": false, "said": "" });
    points.refused(&points.eu, seen, "no server desk").await;
}

#[tokio::test]
async fn who_is_no_enforcement_point_and_what_is_no_question_is_refused() {
    let points = Points::new().await;
    let bundle = json!({ "ask": "bundle", "have": null });
    let administrator = points.plane.person("anna", &["administrator"]).await;
    points.refused(&administrator, bundle.clone(), "not permitted").await;
    let auditor = points.plane.client("auditors", "auditor").await;
    points.refused(&auditor, bundle.clone(), "not permitted").await;
    points.refused(&points.eu, json!({ "ask": "everything" }), "unknown variant").await;
    points.refused(&points.eu, json!({ "ask": "bundle", "have": null, "more": 1 }), "unknown field").await;
    let mut call = points.call("list_payees", &points.bundle().await);
    call["offer"] = "thing:".into();
    points.refused(&points.eu, json!({ "ask": "decide", "call": call }), "no such sort").await;
    let odd = json!({ "nonce": "short", "question": bundle });
    points.plane.ask(&points.eu, "POST", "/v1/enforcement", Some(odd)).await.is(400);
}
