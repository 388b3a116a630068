//! Approvals: exactly what was answered is lifted, for exactly the call that was asked about, while whoever answered may answer.

use std::sync::Arc;

use warrantor_decide::{Answering, Asking, Decision, may_approve};
use warrantor_model::{Approval, Approver, Given, PersonStatus};

use crate::common::{World, ask, at, deny, json, outcome, pass};

const GRANT: &str = r#"[{"tool":"bank/send_money","arguments":{"amount":{"max":100},"recipient":{"from":["request"]}},"ask":"group:ops"}]"#;
const ASKS: &str = r#"@id("four-eyes") @ask("finance") forbid(principal, action, resource) when { context has arguments.amount };"#;
const ALL: &str = r#"@id("all") permit(principal, action, resource);"#;

/// A task with words of the person's own.
fn world_of(grants: &str) -> World {
    World::new("[]").hops(&[&format!(r#"{{"id":"root","request":"pay what is due","grants":{grants}}}"#)])
}

fn send() -> World {
    world_of(GRANT)
        .policies(&format!("{ALL} {ASKS}"))
        .with(|w| w.parts.people[0].groups.clear())
        .call("bank/send_money", r#"{"amount":5,"recipient":"DE1234567890"}"#)
}

fn asked(world: &World) -> Asking {
    match world.decide() {
        Decision::Ask(asking, _) => *asking,
        other => panic!("not asked: {:?}", outcome(&other)),
    }
}

/// Answers by these persons to everything that the world's call asks.
fn answered(world: &World, by: &[(&str, &str)]) -> Approval {
    let asking = asked(world);
    let given = by.iter().map(|(who, by)| Given {
        who: who.parse().unwrap(),
        by: by.parse().unwrap(),
        at: at("2026-10-05T11:59:00Z"),
    });
    Approval {
        question: "d-1".parse().unwrap(),
        binding: asking.binding,
        lifts: asking.askers,
        given: given.collect(),
        replaced: false,
        edited: Default::default(),
        until: at("2026-10-05T12:10:00Z"),
    }
}

const EVERYBODY: [(&str, &str); 3] =
    [("group:finance", "bob"), ("group:ops", "bob"), ("person:alice", "alice")];

fn with(world: World, approval: Approval) -> World {
    world.with(|w| w.facts.approval = Some(Arc::new(approval)))
}

#[test]
fn answers_to_everything_that_asks_let_the_call_pass_and_are_used_up_by_it() {
    let world = send();
    assert_eq!(outcome(&world.decide()), ask(&["group:finance", "group:ops", "person:alice"]));
    let approval = answered(&world, &EVERYBODY);
    let Decision::Pass(draft) = with(world, approval.clone()).decide() else { panic!("no pass") };
    assert_eq!(draft.approval().map(|used| &**used), Some(&approval));
    assert_eq!(draft.grounds().given, approval.given);
    for subject in ["person:bob", "directory:bob", "person:alice"] {
        assert!(draft.uses().contains(&subject.parse().unwrap()), "{subject}");
    }
}

#[test]
fn whoever_has_not_answered_is_still_asked() {
    let check = |by: &[(&str, &str)], left: &[&str]| {
        let approval = answered(&send(), by);
        assert_eq!(outcome(&with(send(), approval).decide()), ask(left), "{by:?}");
    };
    check(&[], &["group:finance", "group:ops", "person:alice"]);
    check(&EVERYBODY[..1], &["group:ops", "person:alice"]);
    check(&EVERYBODY[1..], &["group:finance"]);
    // An answer for somebody who was not asked is none.
    check(&[("group:finance", "bob"), ("person:carol", "carol")], &["group:ops", "person:alice"]);
}

#[test]
fn an_answer_lifts_nothing_that_is_no_question() {
    let approval = answered(&send(), &EVERYBODY);
    let check = |name: &str, change: fn(World) -> World, codes: &[&str]| {
        let world = change(with(send(), approval.clone()));
        match outcome(&world.decide()) {
            crate::common::Expect::Deny(found) => {
                for code in codes {
                    assert!(found.contains(*code), "{name}: {found:?}");
                }
            }
            other => panic!("{name}: {other:?}"),
        }
    };
    check(
        "a bound",
        |w| w.call("bank/send_money", r#"{"amount":500,"recipient":"DE1234567890"}"#),
        &["argument_out_of_bounds"],
    );
    check("revoked", |w| w.stopped("mandate:m0"), &["mandate_revoked"]);
    check("a lockdown", |w| w.stopped("deployment"), &["lockdown"]);
    check("the agent", |w| w.stopped("agent:bot"), &["agent_inactive"]);
    check("the person", |w| w.stopped("person:alice"), &["person_inactive"]);
    check("expired", |w| w.with(|w| w.now = at("2026-10-05T13:00:01Z")), &["mandate_expired"]);
    check(
        "a forbid",
        |w| w.policies(&format!("{ALL} {ASKS} forbid(principal is Agent, action, resource);")),
        &["policy_forbids"],
    );
    check("no permit", |w| w.policies(ASKS), &["no_policy_permits"]);
}

#[test]
fn an_answer_counts_for_the_call_that_was_asked_about_and_for_no_other() {
    let approval = answered(&send(), &EVERYBODY);
    let again = ask(&["group:finance", "group:ops", "person:alice"]);
    let check = |name: &str, change: fn(World) -> World, expected: crate::common::Expect| {
        assert_eq!(outcome(&change(with(send(), approval.clone())).decide()), expected, "{name}");
    };
    check("the call", |w| w, pass());
    check(
        "the same in another order",
        |w| w.call("bank/send_money", r#"{ "recipient":"DE1234567890", "amount":5}"#),
        pass(),
    );
    check(
        "another amount",
        |w| w.call("bank/send_money", r#"{"amount":6,"recipient":"DE1234567890"}"#),
        again.clone(),
    );
    check(
        "the same written otherwise",
        |w| w.call("bank/send_money", r#"{"amount":5.0,"recipient":"DE1234567890"}"#),
        again.clone(),
    );
    check(
        "one argument more",
        |w| w.call("bank/send_money", r#"{"amount":5,"recipient":"DE1234567890","subject":null}"#),
        again.clone(),
    );
    check(
        "another mandate",
        |w| {
            w.with(|w| {
                w.mandates[0].id = "m9".parse().unwrap();
                w.call.mandate = "m9".parse().unwrap();
            })
        },
        again.clone(),
    );
    check("another task", |w| w.with(|w| w.mandates[0].task = "task-2".parse().unwrap()), again.clone());
    check(
        "another definition",
        |w| {
            w.with(|w| {
                let tool = w.parts.manifests[0].tools.get_mut(&"send_money".parse().unwrap()).unwrap();
                tool.definition = warrantor_model::Digest::of(b"new");
            })
        },
        again.clone(),
    );
    check(
        "the policy says something else",
        |w| w.policies(&format!("{ALL} {}", ASKS.replace("amount", "recipient"))),
        ask(&["group:finance"]),
    );
    check(
        "the policy says it of another group",
        |w| w.policies(&format!("{ALL} {}", ASKS.replace("finance", "ops"))),
        ask(&["group:ops"]),
    );
    check(
        "one more policy",
        |w| {
            w.policies(&format!(
                r#"{ALL} {ASKS} @id("more") @ask("ops") forbid(principal, action, resource);"#
            ))
        },
        ask(&["group:ops"]),
    );
    check("a policy fewer", |w| w.policies(ALL), pass());
    check(
        "a label more",
        |w| {
            w.with(|w| {
                w.labels.insert("untrusted".into());
            })
        },
        again.clone(),
    );
    check(
        "where anyone writes",
        |w| w.saw("mail/read", "{}", r#"{"body":"DE1234567890"}"#),
        deny(&["source_not_allowed", "approval_required"]),
    );
    check("just before it ends", |w| w.with(|w| w.now = at("2026-10-05T12:09:59Z")), pass());
    check("as it ends", |w| w.with(|w| w.now = at("2026-10-05T12:10:00Z")), again);
}

#[test]
fn whoever_answered_must_be_somebody_who_may_answer_when_it_is_used() {
    let approval = answered(&send(), &EVERYBODY);
    let check = |name: &str, change: fn(World) -> World, left: &[&str]| {
        assert_eq!(outcome(&change(with(send(), approval.clone())).decide()), ask(left), "{name}");
    };
    let both: &[&str] = &["group:finance", "group:ops"];
    check("suspended", |w| w.stopped("person:bob"), both);
    check("gone from the directory", |w| w.stopped("directory:bob"), both);
    check("left", |w| w.with(|w| w.parts.people[1].status = PersonStatus::Left), both);
    check(
        "not there any more",
        |w| {
            w.with(|w| {
                w.parts.people[1].id = "rob".parse().unwrap();
                w.parts.agents.retain(|agent| agent.id.as_str() != "clerk");
            })
        },
        both,
    );
    check(
        "in the group no more",
        |w| {
            w.with(|w| {
                w.parts.people[1].groups.remove(&"ops".parse().unwrap());
                w.parts.people[2].groups.insert("ops".parse().unwrap());
            })
        },
        &["group:ops"],
    );
    let only = |what: &str| {
        format!(r#"permit(principal, action, resource) unless {{ principal is Person && {what} }}; {ASKS}"#)
    };
    let world = |what: &str| with(send(), approval.clone()).policies(&only(what));
    assert_eq!(
        outcome(&world(r#"action == Action::"approve""#).decide()),
        ask(&["group:finance", "group:ops", "person:alice"])
    );
    assert_eq!(
        outcome(&world(r#"action == Action::"approve" && principal == Person::"alice""#).decide()),
        ask(&["person:alice"])
    );
}

fn may(world: &World, who: &str, by: &str) -> Result<Vec<String>, String> {
    let snapshot = world.snapshot();
    let task = world.task(&snapshot);
    let (who, by): (Approver, _) = (who.parse().unwrap(), by.parse().unwrap());
    let answering = Answering { who: &who, by: &by, before: &[] };
    may_approve(&snapshot, &task, &world.facts, &world.call, world.now, &answering).map_err(|not| not.why)
}

#[test]
fn whoever_may_answer_is_ruled_by_policy_and_nobody_approves_what_is_done_for_themselves_where_it_is_grave() {
    let check = |policies: &str, who: &str, by: &str, part: &str| {
        let world = world_of(GRANT).policies(policies).call("bank/send_money", r#"{"amount":5}"#);
        match (may(&world, who, by), part) {
            (Ok(_), "") => {}
            (Err(why), part) if !part.is_empty() && why.contains(part) => {}
            (found, part) => panic!("{policies} {who} {by} {part}: {found:?}"),
        }
    };
    check(ALL, "group:finance", "bob", "");
    check(ALL, "person:alice", "alice", "");
    check(ALL, "group:finance", "carol", "not in the group");
    check(ALL, "person:alice", "bob", "alice is asked");
    check(ALL, "group:finance", "nobody", "not active");
    check(ALL, "group:finance", "alice", "somebody else has to approve");
    let allowed = r#"@allow("self_approval") permit(principal, action == Action::"approve", resource);"#;
    check(allowed, "group:finance", "alice", "");
    check("permit(principal is Agent, action, resource);", "group:finance", "bob", "no policy lets");
    let forbid = |when: &str| {
        format!(r#"{ALL} forbid(principal, action == Action::"approve", resource) when {{ {when} }};"#)
    };
    for (when, hits) in [
        (r#"context.tool == "bank/send_money""#, true),
        (r#"context.effects.contains("pay")"#, true),
        (r#"context.effects.contains("read")"#, false),
        (r#"context.asked.contains("group:finance")"#, true),
        (r#"context.agent == Agent::"bot""#, true),
        (r#"principal == context.person"#, false),
        (r#"principal in Group::"ops""#, true),
        (r#"context.sponsor == Person::"alice""#, true),
        (r#"context.answered.contains(principal)"#, false),
        (r#"context.task.calls > 0"#, false),
        (r#"context.mandate.depth * 9223372036854775807 * 2 > 1"#, false),
        (r#"context.environment.enforcement_point == "gateway-1""#, true),
    ] {
        check(&forbid(when), "group:finance", "bob", if hits { "policy does not let" } else { "" });
    }
    // A policy that errs keeps from it, as one that forbids.
    check(
        &forbid(r#"(context.task.calls + 2) * 9223372036854775807 > 1"#),
        "group:finance",
        "bob",
        "policy does not let",
    );
    // One that is only observed stands where the effect is grave.
    check(
        &format!(
            r#"{ALL} @mode("observe") forbid(principal == Person::"bob", action == Action::"approve", resource);"#
        ),
        "group:finance",
        "bob",
        "policy does not let",
    );
    // One that asks is about calls.
    check(&format!(r#"{ALL} @ask("ops") forbid(principal, action, resource);"#), "group:finance", "bob", "");
}

#[test]
fn reading_is_nothing_that_somebody_else_has_to_approve() {
    let grants = r#"[{"tool":"files/read","ask":"group:finance"}]"#;
    let world = World::new(grants).call("files/read", r#"{"path":"/a"}"#);
    assert!(may(&world, "group:finance", "alice").is_ok());
}

#[test]
fn policies_see_who_approved_and_permits_may_not_look() {
    let seen = r#"@id("alone") @ask("finance") forbid(principal, action, resource) unless { context has approval && context.approval.by.contains(Person::"bob") };"#;
    let world = || send().policies(&format!("{ALL} {seen}"));
    // It asks as long as nobody has answered, and is content with bob's answer whatever he answered as.
    let approval = answered(&world(), &[("group:ops", "bob"), ("person:alice", "alice")]);
    assert_eq!(outcome(&with(world(), approval).decide()), pass());
    let approval = answered(&world(), &[("person:alice", "alice")]);
    assert_eq!(outcome(&with(world(), approval).decide()), ask(&["group:finance", "group:ops"]));
    for (policy, part) in [
        (
            "permit(principal, action, resource) when { context has approval };",
            "a permit looks at context.approval",
        ),
        (
            r#"permit(principal, action == Action::"bank/send_money", resource) when { context has approval.by && context.approval.at > datetime("2020-01-01") };"#,
            "a permit looks at context.approval",
        ),
        (
            r#"@allow("self_approval") permit(principal, action == Action::"bank/send_money", resource);"#,
            "permits nobody to approve",
        ),
        (
            r#"@allow("self_approval") forbid(principal, action == Action::"approve", resource);"#,
            "permits nobody to approve",
        ),
        (
            r#"@ask("ops") forbid(principal, action == Action::"approve", resource);"#,
            "nobody is asked whether",
        ),
        (r#"@allow("everything") permit(principal, action, resource);"#, "allows nothing that is known"),
    ] {
        let faults = warrantor_decide::Snapshot::build(send().policies(policy).parts).unwrap_err();
        assert!(crate::common::show(&faults).contains(part), "{policy}: {}", crate::common::show(&faults));
    }
}

#[test]
fn an_approved_call_leaves_behind_what_it_would_have_left_behind_unasked() {
    let free = world_of(&GRANT.replace(r#","ask":"group:ops""#, "").replace("request", "any"))
        .policies(ALL)
        .call("bank/send_money", r#"{"amount":5,"recipient":"DE1234567890"}"#);
    let Decision::Pass(unasked) = free.decide() else { panic!("no pass: {:?}", outcome(&free.decide())) };
    let world = send();
    let approval = answered(&world, &EVERYBODY);
    let Decision::Pass(approved) = with(world, approval).decide() else { panic!("no pass") };
    assert!(!unasked.echoes().is_empty());
    assert_eq!(approved.echoes(), unasked.echoes());
}

#[test]
fn what_a_person_put_in_rests_on_them_also_where_nothing_asks_about_it_and_where_they_only_left_something_out()
 {
    // Large amounts are asked about; what took its place is small.
    let asks = r#"@id("large") @ask("finance") forbid(principal, action, resource) when { context has arguments.amount && context.arguments.amount.greaterThan(decimal("4.0")) };"#;
    let grants =
        r#"[{"tool":"bank/send_money","arguments":{"amount":{"max":100},"recipient":{"from":["any"]}}}]"#;
    let world = || world_of(grants).policies(&format!("{ALL} {asks}"));
    let large = world().call("bank/send_money", r#"{"amount":5,"recipient":"DE1234567890"}"#);
    let small = world().call("bank/send_money", r#"{"amount":1,"recipient":"DE1234567890"}"#);
    let mut approval = answered(&large, &[("group:finance", "bob")]);
    approval.replaced = true;
    // As the engine does: bound to the call as it is with what was put in.
    let unanswered = Approval { given: Vec::new(), ..approval.clone() };
    approval.binding = with(small.clone(), unanswered).decide().grounds().binding.clone().unwrap();
    for edited in [vec!["amount".to_owned()], Vec::new()] {
        let approval = Approval { edited: edited.into_iter().collect(), ..approval.clone() };
        let seen = with(small.clone(), approval.clone()).decide();
        let Decision::Pass(draft) = &seen else { panic!("no pass: {:?}", outcome(&seen)) };
        assert!(draft.uses().contains(&"person:bob".parse().unwrap()));
        assert_eq!(draft.approval().map(|used| &**used), Some(&approval));
        let stopped = with(small.clone(), approval).stopped("person:bob");
        assert_eq!(outcome(&stopped.decide()), deny(&["approval_required"]));
    }
}

#[test]
fn a_value_that_was_put_in_has_the_source_person() {
    let world = |from: &str, otherwise: &str| {
        let grants = format!(
            r#"[{{"tool":"bank/send_money","arguments":{{"amount":{{"max":100}},"recipient":{{{from}{otherwise}}}}},"ask":"group:ops"}}]"#
        );
        world_of(&grants).call("bank/send_money", r#"{"amount":5,"recipient":"DE99"}"#)
    };
    let put_in = |world: World| {
        let mut approval = answered(&world, &[("group:ops", "bob")]);
        approval.edited = ["recipient".to_owned()].into();
        approval.replaced = true;
        // As the engine does: what is asked of the edited call is what was answered.
        let unanswered = Approval { given: Vec::new(), ..approval.clone() };
        let seen = with(world.clone(), unanswered.clone()).decide();
        approval.binding = seen.grounds().binding.clone().unwrap();
        let bound = Approval { binding: approval.binding.clone(), ..unanswered };
        approval.lifts = asked(&with(world.clone(), bound)).askers;
        with(world, approval)
    };
    let listed = put_in(world(r#""from":["request","person"]"#, ""));
    let Decision::Pass(draft) = listed.decide() else { panic!("no pass") };
    assert_eq!(draft.grounds().sources["recipient"], ["person".to_owned()].into());
    // Without a list a sensitive value may be a person's; where `person` is not in the list, the mandate's person is asked as for anything from elsewhere.
    assert_eq!(outcome(&put_in(world("", "")).decide()), pass());
    assert_eq!(outcome(&put_in(world(r#""from":["request"]"#, "")).decide()), ask(&["person:alice"]));
    let strict = world(r#""from":["request"]"#, r#","otherwise":"deny""#);
    assert_eq!(outcome(&strict.decide()), deny(&["source_not_allowed", "approval_required"]));
    // What was not put in is judged as ever.
    let mut other = put_in(world("", ""));
    other.call.arguments = json(r#"{"amount":7,"recipient":"DE99"}"#);
    assert_eq!(outcome(&other.decide()), deny(&["approval_required"]));
}
