//! Layers 1 and 2.

use warrantor_model::{AgentStatus, Evidence, PersonStatus};

use crate::common::{World, at, bundle, check, deny, pass};

const READ: &str = r#"[{"effects":["read"],"servers":["bank","files","mail"]}]"#;

fn reading() -> World {
    World::new(READ).call("files/read", r#"{"path":"/a"}"#)
}

#[test]
fn evidence_that_did_not_verify_denies() {
    let failed = |w: &mut World| w.call.evidence = Evidence::Failed { why: "no signature".into() };
    let nameless = |w: &mut World| w.call.evidence = Evidence::LocalUser { uid: 1, name: None };
    check(vec![
        ("failed evidence", reading().with(failed), deny(&["credential_invalid"])),
        ("a local user without a name", reading().with(nameless), pass()),
        ("a local user", reading(), pass()),
    ]);
}

#[test]
fn an_agent_that_is_not_live_denies() {
    let status = |status| move |w: &mut World| w.parts.agents[0].status = status;
    check(vec![
        ("proposed", reading().with(status(AgentStatus::Proposed)), deny(&["agent_inactive"])),
        ("suspended", reading().with(status(AgentStatus::Suspended)), deny(&["agent_inactive"])),
        ("retired", reading().with(status(AgentStatus::Retired)), deny(&["agent_inactive"])),
        ("stopped", reading().stopped("agent:bot"), deny(&["agent_inactive"])),
        ("another agent stopped", reading().stopped("agent:clerk"), pass()),
        (
            "an agent in the middle of the chain",
            reading()
                .hops(&[
                    &format!(r#"{{"id":"root","depth":1,"agent":"clerk","grants":{READ}}}"#),
                    &format!(r#"{{"id":"sub","grants":{READ}}}"#),
                ])
                .stopped("agent:clerk"),
            deny(&["agent_inactive"]),
        ),
    ]);
}

#[test]
fn a_person_of_the_chain_who_is_not_live_denies() {
    let status = |who: usize, status| move |w: &mut World| w.parts.people[who].status = status;
    // Helper is owned and sponsored by a group, so that nothing else hangs on alice.
    let helper = || reading().hops(&[&format!(r#"{{"id":"root","agent":"helper","grants":{READ}}}"#)]);
    check(vec![
        ("suspended", helper().with(status(0, PersonStatus::Suspended)), deny(&["person_inactive"])),
        ("left", helper().with(status(0, PersonStatus::Left)), deny(&["person_inactive"])),
        ("stopped", helper().stopped("person:alice"), deny(&["person_inactive"])),
        ("stopped by the directory", helper().stopped("directory:alice"), deny(&["person_inactive"])),
        ("another person", helper().stopped("person:carol"), pass()),
        (
            "the person is also the only owner and sponsor",
            reading().stopped("person:alice"),
            deny(&["person_inactive", "no_live_owner", "no_live_sponsor"]),
        ),
        (
            "the mandate's sponsor",
            reading()
                .hops(&[&format!(r#"{{"id":"root","sponsor":"bob","grants":{READ}}}"#)])
                .stopped("person:bob"),
            deny(&["no_live_sponsor"]),
        ),
    ]);
}

#[test]
fn a_group_is_live_as_long_as_one_of_it_is() {
    let helper = || {
        reading().hops(&[&format!(r#"{{"id":"root","agent":"helper","person":"carol","grants":{READ}}}"#)])
    };
    let suspend = |who: usize| move |w: &mut World| w.parts.people[who].status = PersonStatus::Suspended;
    check(vec![
        ("all of finance live", helper(), pass()),
        ("one suspended", helper().with(suspend(0)), pass()),
        (
            "one suspended and one stopped",
            helper().with(suspend(0)).stopped("person:bob"),
            deny(&["no_live_owner", "no_live_sponsor"]),
        ),
        (
            "the second sponsor answers",
            reading().hops(&[&format!(r#"{{"id":"root","person":"carol","grants":{READ}}}"#)]).with(|w| {
                w.parts.agents[0] = bundle::agent("bot", "bob", &["alice", "bob"]);
                w.parts.people[0].status = PersonStatus::Left;
            }),
            pass(),
        ),
    ]);
}

#[test]
fn a_mandate_that_has_ended_or_was_revoked_denies() {
    let now = |text: &'static str| move |w: &mut World| w.now = at(text);
    let two = || {
        reading().hops(&[
            &format!(r#"{{"id":"root","depth":1,"grants":{READ}}}"#),
            &format!(r#"{{"id":"sub","grants":{READ}}}"#),
        ])
    };
    check(vec![
        ("a microsecond before the end", reading().with(now("2026-10-05T12:59:59.999999Z")), pass()),
        ("at the very instant", reading().with(now("2026-10-05T13:00:00Z")), deny(&["mandate_expired"])),
        ("after", reading().with(now("2026-10-05T13:00:01Z")), deny(&["mandate_expired"])),
        (
            "only the root has ended",
            two().with(|w| w.mandates[0].expires_at = w.now),
            deny(&["mandate_expired"]),
        ),
        ("the instance was revoked", reading().stopped("mandate:m0"), deny(&["mandate_revoked"])),
        ("the template was revoked", reading().stopped("template:root"), deny(&["mandate_revoked"])),
        ("the root's instance was revoked", two().stopped("mandate:m0"), deny(&["mandate_revoked"])),
        ("the root's template was revoked", two().stopped("template:root"), deny(&["mandate_revoked"])),
        ("another mandate was revoked", two().stopped("mandate:m7").stopped("template:x"), pass()),
        ("a mandate named like an agent", reading().stopped("agent:m0").stopped("person:m0"), pass()),
    ]);
}

#[test]
fn a_chain_that_does_not_hold_together_denies() {
    let chain = || {
        reading().hops(&[
            &format!(r#"{{"id":"root","depth":2,"grants":{READ}}}"#),
            &format!(r#"{{"id":"sub","depth":1,"agent":"helper","grants":{READ}}}"#),
            &format!(r#"{{"id":"subsub","agent":"clerk","grants":{READ}}}"#),
        ])
    };
    // What is changed in the terms has to be compiled too.
    fn reterm(nth: usize, change: impl FnOnce(&mut warrantor_model::Terms)) -> impl FnOnce(&mut World) {
        move |w: &mut World| {
            change(&mut w.chain[nth]);
            w.mandates[nth].terms = std::sync::Arc::new(w.chain[nth].clone());
        }
    }
    let invalid = || deny(&["mandate_invalid"]);
    check(vec![
        ("three hops", chain(), pass()),
        ("another parent", chain().with(|w| w.mandates[1].parent = Some("m9".parse().unwrap())), invalid()),
        ("no parent", chain().with(|w| w.mandates[2].parent = None), invalid()),
        (
            "a root with a parent",
            chain().with(|w| w.mandates[0].parent = Some("m9".parse().unwrap())),
            invalid(),
        ),
        ("another task", chain().with(|w| w.mandates[2].task = "task-2".parse().unwrap()), invalid()),
        ("another person", chain().with(reterm(1, |t| t.person = "bob".parse().unwrap())), invalid()),
        (
            "another kind",
            chain().with(reterm(2, |t| t.kind = warrantor_model::MandateKind::Standing)),
            invalid(),
        ),
        ("no depth left", chain().with(reterm(0, |t| t.depth = 0)), invalid()),
        ("as deep as the parent", chain().with(reterm(1, |t| t.depth = 2)), invalid()),
        ("the call names the middle", chain().with(|w| w.call.mandate = "m1".parse().unwrap()), invalid()),
        (
            "the call names an unknown mandate",
            chain().with(|w| w.call.mandate = "m9".parse().unwrap()),
            invalid(),
        ),
        (
            "the links in the wrong order",
            chain().with(|w| {
                w.chain.swap(0, 1);
                w.mandates.swap(0, 1);
            }),
            invalid(),
        ),
    ]);
}

#[test]
fn a_server_that_is_quarantined_denies_and_is_not_told_from_one_that_is_not_there() {
    let unknown = || World::new(READ).call("files/nothing", r#"{"path":"/a"}"#);
    check(vec![
        ("quarantined", reading().stopped("server:files"), deny(&["tool_not_available"])),
        ("another one is", reading().stopped("server:bank"), pass()),
        ("an agent of that name is stopped", reading().stopped("agent:files"), pass()),
    ]);
    let told = |world: World| match world.decide() {
        warrantor_decide::Decision::Deny(refusal, _) => refusal.primary().1,
        other => panic!("{other:?}"),
    };
    assert_eq!(told(reading().stopped("server:files")), told(unknown()));
}

#[test]
fn a_lockdown_or_a_clock_behind_the_last_record_denies() {
    let last = |text: &'static str| move |w: &mut World| w.facts.last_record_at = at(text);
    check(vec![
        ("lockdown", reading().stopped("deployment"), deny(&["lockdown"])),
        ("clock five seconds behind", reading().with(last("2026-10-05T12:00:05Z")), pass()),
        (
            "clock behind by more",
            reading().with(last("2026-10-05T12:00:05.000001Z")),
            deny(&["clock_untrusted"]),
        ),
        ("clock ahead", reading().with(last("2026-10-05T11:00:00Z")), pass()),
    ]);
}

#[test]
fn terms_that_are_not_the_compiled_ones_deny() {
    let other = |w: &mut World| {
        let mut narrow = w.chain[0].clone();
        narrow.grants.clear();
        w.mandates[0].terms = std::sync::Arc::new(narrow);
    };
    check(vec![("compiled from other terms", reading().with(other), deny(&["mandate_invalid"]))]);
}

#[test]
fn a_pass_names_all_whose_standing_it_rests_on() {
    let decision = reading()
        .hops(&[
            &format!(r#"{{"id":"root","depth":1,"agent":"helper","grants":{READ}}}"#),
            &format!(r#"{{"id":"sub","sponsor":"bob","grants":{READ}}}"#),
        ])
        .decide();
    let warrantor_decide::Decision::Pass(draft) = decision else { panic!("no pass") };
    let uses: Vec<String> = draft.uses().iter().map(ToString::to_string).collect();
    assert_eq!(
        uses,
        [
            "deployment",
            "agent:bot",
            "agent:helper",
            "person:alice",
            "person:bob",
            "directory:alice",
            "directory:bob",
            "mandate:m0",
            "mandate:m1",
            "template:root",
            "template:sub",
            "server:files"
        ]
    );
}
