//! People and agents who are registered beside the bundle count as if they stood in it; what the bundle says of its own stands.

use std::collections::BTreeSet;

use warrantor_decide::Snapshot;
use warrantor_model::{AgentStatus, PersonStatus};

use crate::common::{Expect, World, bundle, deny, explain, outcome, pass};

const READ: &str = r#"[{"effects":["read"],"servers":["bank","files","mail"]}]"#;

/// The same world with everybody registered beside an empty bundle of people, groups left to the directory.
fn beside(world: &World) -> Snapshot {
    let mut parts = world.parts.clone();
    let (people, agents) = (std::mem::take(&mut parts.people), std::mem::take(&mut parts.agents));
    parts.directory_groups = people.iter().flat_map(|person| person.groups.iter().cloned()).collect();
    let bare = World { parts, ..world.clone() };
    bare.snapshot().registering(people, agents)
}

#[test]
fn who_is_registered_is_judged_as_one_of_the_bundle() {
    let reading = || World::new(READ).call("files/read", r#"{"path":"/a"}"#);
    let helper = || reading().hops(&[&format!(r#"{{"id":"root","agent":"helper","grants":{READ}}}"#)]);
    let agent = |status| move |w: &mut World| w.parts.agents[0].status = status;
    let person = |status| move |w: &mut World| w.parts.people[0].status = status;
    let finance = r#"@id("finance") permit(principal in Group::"finance", action, resource);
        @id("agents") permit(principal is Agent, action, resource);"#;
    for (name, world) in [
        ("active", reading()),
        ("answered for by a group", helper()),
        ("an agent that is proposed", reading().with(agent(AgentStatus::Proposed))),
        ("an agent that is retired", reading().with(agent(AgentStatus::Retired))),
        ("a person who left", reading().with(person(PersonStatus::Left))),
        ("an agent that is stopped", reading().stopped("agent:bot")),
        ("a person who is stopped", reading().stopped("person:alice")),
        ("a person the directory stopped", reading().stopped("directory:alice")),
        ("half of the group", helper().stopped("person:bob")),
        ("all of the group", helper().stopped("person:bob").stopped("directory:alice")),
        (
            "a ceiling",
            reading()
                .hops(&[&format!(r#"{{"id":"root","agent":"reader","grants":{READ}}}"#)])
                .call("bank/payees", "{}"),
        ),
        ("a policy over a group", reading().policies(finance)),
    ] {
        let (own, registered) = (world.decide(), world.decide_on(&beside(&world)));
        assert_eq!(
            outcome(&own),
            outcome(&registered),
            "{name}: {} / {}",
            explain(&own),
            explain(&registered)
        );
    }
}

fn check(name: &str, world: &World, snapshot: &Snapshot, expected: &Expect) {
    let decision = world.decide_on(snapshot);
    assert_eq!(outcome(&decision), *expected, "{name}: {}", explain(&decision));
}

#[test]
fn nobody_takes_the_place_of_somebody_of_the_bundle() {
    let world = World::new(READ).call("files/read", r#"{"path":"/a"}"#).with(|w| {
        w.parts.agents[0].status = AgentStatus::Suspended;
    });
    let mut active = world.parts.agents[0].clone();
    active.status = AgentStatus::Active;
    let snapshot = world.snapshot().registering(Vec::new(), vec![active]);
    check("an agent", &world, &snapshot, &deny(&["agent_inactive"]));
    let world = World::new(READ).call("files/read", r#"{"path":"/a"}"#).with(|w| {
        w.parts.people[0].status = PersonStatus::Left;
    });
    let snapshot = world.snapshot().registering(vec![bundle::person("alice", &[])], Vec::new());
    let expected = &deny(&["person_inactive", "no_live_owner", "no_live_sponsor"]);
    check("a person", &world, &snapshot, expected);
}

#[test]
fn a_group_that_the_bundle_does_not_leave_to_the_directory_is_the_bundles_own() {
    let finance = r#"@id("finance") permit(principal in Group::"finance", action, resource);
        @id("agents") permit(principal is Agent, action, resource);"#;
    let world = World::new(READ)
        .hops(&[&format!(r#"{{"id":"root","person":"dave","grants":{READ}}}"#)])
        .call("files/read", r#"{"path":"/a"}"#)
        .policies(finance);
    let dave = || vec![bundle::person("dave", &["finance"])];
    check(
        "undeclared",
        &world,
        &world.snapshot().registering(dave(), Vec::new()),
        &deny(&["person_not_permitted"]),
    );
    let declared = world.with(|w| {
        w.parts.directory_groups = BTreeSet::from(["finance".parse().unwrap()]);
    });
    check("declared", &declared, &declared.snapshot().registering(dave(), Vec::new()), &pass());
    // Nor is somebody of such a group accountable for an agent of the bundle.
    let helper = World::new(READ)
        .hops(&[&format!(
            r#"{{"id":"root","agent":"helper","person":"dave","sponsor":"dave","grants":{READ}}}"#
        )])
        .call("files/read", r#"{"path":"/a"}"#)
        .stopped("person:alice")
        .stopped("person:bob");
    let snapshot = helper.snapshot().registering(dave(), Vec::new());
    check("accountable", &helper, &snapshot, &deny(&["no_live_owner", "no_live_sponsor"]));
}

#[test]
fn what_stops_a_blueprint_stops_whoever_was_made_by_it() {
    let world = World::new(READ)
        .hops(&[&format!(r#"{{"id":"root","agent":"one","grants":{READ}}}"#)])
        .call("files/read", r#"{"path":"/a"}"#);
    let mut one = bundle::agent("one", "alice", &["alice"]);
    one.blueprint = Some("plan".parse().unwrap());
    let snapshot = world.snapshot().registering(Vec::new(), vec![one]);
    check("active", &world, &snapshot, &pass());
    check("stopped", &world.clone().stopped("agent:plan"), &snapshot, &deny(&["agent_inactive"]));
    check("another", &world.stopped("agent:other-plan"), &snapshot, &pass());
}
