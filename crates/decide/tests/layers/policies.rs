//! Layer 5: policies permit the agent and the person, nothing forbids, and nothing is quietly false.

use warrantor_decide::Decision;

use crate::common::{World, at, bundle, check, deny, pass};

const READ: &str = r#"[{"effects":["read"],"servers":["bank","files","mail"]}]"#;
const SEND: &str = r#"[{"tool":"bank/send_money","arguments":{"recipient":{"in":["DE89","o'\"x\\","1"]},"amount":{},"priority":{},"subject":{}}}]"#;

fn read(policies: &str) -> World {
    World::new(READ).policies(policies).call("files/read", r#"{"path":"/a"}"#)
}

fn send(policies: &str, arguments: &str) -> World {
    World::new(SEND).and_policies(policies).call("bank/send_money", arguments)
}

fn standing() -> World {
    World::new("[]")
        .hops(&[&format!(
            r#"{{"id":"root","kind":"standing","person":"alice","sponsor":"bob","grants":{READ}}}"#
        )])
        .call("files/read", "{}")
        .with(|w| w.parts.agents[0].sponsors.push("bob".parse().unwrap()))
}

#[test]
fn agent_and_person_both_need_a_permit() {
    check(vec![
        ("none", read(""), deny(&["no_policy_permits", "person_not_permitted"])),
        (
            "only the agent",
            read("permit(principal is Agent, action, resource);"),
            deny(&["person_not_permitted"]),
        ),
        (
            "only the person",
            read("permit(principal is Person, action, resource);"),
            deny(&["no_policy_permits"]),
        ),
        (
            "each by its own",
            read(
                r#"permit(principal == Agent::"bot", action, resource);
                   permit(principal in Group::"finance", action in Action::"effect:read", resource == Server::"files");"#,
            ),
            pass(),
        ),
        (
            "another agent, a group the person is not in",
            read(
                r#"permit(principal == Agent::"clerk", action, resource);
                   permit(principal in Group::"ops", action, resource);"#,
            ),
            deny(&["no_policy_permits", "person_not_permitted"]),
        ),
        (
            "another action",
            read(r#"permit(principal, action == Action::"files/write", resource);"#),
            deny(&["no_policy_permits", "person_not_permitted"]),
        ),
        ("by server", read(r#"permit(principal, action in Action::"server:files", resource);"#), pass()),
        (
            "by another server",
            read(r#"permit(principal, action in Action::"server:mail", resource);"#),
            deny(&["no_policy_permits", "person_not_permitted"]),
        ),
        (
            "a forbid on the agent alone",
            read("permit(principal, action, resource); forbid(principal is Agent, action, resource);"),
            deny(&["policy_forbids"]),
        ),
        (
            "a forbid on the person alone",
            read("permit(principal, action, resource); forbid(principal is Person, action, resource);"),
            deny(&["policy_forbids"]),
        ),
        (
            "a forbid without a permit",
            read("forbid(principal, action, resource);"),
            deny(&["no_policy_permits", "person_not_permitted", "policy_forbids"]),
        ),
    ]);
}

#[test]
fn a_standing_mandate_is_judged_on_delegate_for_its_sponsor() {
    let agent = r#"permit(principal is Agent, action, resource);"#;
    let with = |policies: &str| standing().policies(&format!("{agent}\n{policies}"));
    check(vec![
        (
            "permitted to delegate",
            with(r#"permit(principal == Person::"bob", action == Action::"delegate", resource);"#),
            pass(),
        ),
        (
            "only the person is",
            with(r#"permit(principal == Person::"alice", action == Action::"delegate", resource);"#),
            deny(&["person_not_permitted"]),
        ),
        (
            "permitted the action instead",
            with(r#"permit(principal == Person::"bob", action == Action::"files/read", resource);"#),
            deny(&["person_not_permitted"]),
        ),
        (
            "by what is delegated",
            with(
                r#"permit(principal, action == Action::"delegate", resource == Server::"files")
                   when { context.tool == "files/read" && context.effects == ["read"] && context.agent == Agent::"bot"
                          && context.mandate.kind == "standing" && context.person == Person::"alice" };"#,
            ),
            pass(),
        ),
        (
            "forbidden to delegate",
            with(
                r#"permit(principal, action, resource); forbid(principal, action == Action::"delegate", resource);"#,
            ),
            deny(&["policy_forbids"]),
        ),
        (
            "no permit for the agent",
            standing().policies(r#"permit(principal is Person, action, resource);"#),
            deny(&["no_policy_permits"]),
        ),
        (
            "a delegated mandate does not need it",
            read(r#"permit(principal, action == Action::"files/read", resource);"#),
            pass(),
        ),
    ]);
}

#[test]
fn policies_read_the_context_as_designed() {
    let when = |condition: &str| {
        World::new("[]")
            .hops(&[
                &format!(r#"{{"id":"top","depth":1,"agent":"helper","grants":{READ}}}"#),
                &format!(r#"{{"id":"sub","purpose":"look","grants":{READ}}}"#),
            ])
            .call("files/read", r#"{"path":"/a","lines":3}"#)
            .policies(&format!(
                "permit(principal, action == Action::\"files/read\", resource) when {{ {condition} }};"
            ))
            .with(|w| {
                w.calls = 7;
                w.effects = crate::common::effects(&["write"]);
                w.now = at("2026-10-05T12:30:00.999999Z");
            })
    };
    let yes = [
        r#"context.task.calls == 7 && context.task.id == "task-1""#,
        r#"context.task.effects == ["write"]"#,
        // Every hop is judged with its own mandate.
        r#"context.mandate.root == "top" && ["top", "sub"].contains(context.mandate.id) && ["m0", "m1"].contains(context.mandate.instance)"#,
        r#"context.mandate.depth == 0 || (context.mandate.purpose == "look" && context.mandate.kind == "delegated" && context.mandate.depth == 1)"#,
        r#"context.person == Person::"alice" && context.person.mail.contains("alice@example.com")"#,
        r#"context.person in Group::"finance" && context.person.issuer like "https://*""#,
        r#"context.environment.time == datetime("2026-10-05T12:30:00.999Z")"#,
        r#"context.environment.time < datetime("2026-10-05T12:30:01Z")"#,
        r#"context.environment.enforcement_point == "gateway-1""#,
        r#"context.arguments has path && context.arguments.path == "/a""#,
        r#"context.arguments has lines && context.arguments.lines == 3"#,
        r#"(principal is Person) || (principal is Agent && principal.sponsors.contains(context.person))"#,
        r#"Person::"carol".mail.contains("carol@example.com") && Person::"bob" in Group::"ops""#,
        r#"Agent::"clerk".owners.contains(Person::"bob") && !(Person::"carol" in Group::"ops")"#,
    ];
    let mut cases: Vec<_> = yes.iter().map(|condition| (*condition, when(condition), pass())).collect();
    let no = [
        r#"context.task.calls == 6"#,
        r#"context.mandate.depth == 0"#,
        r#"context.arguments has lines && context.arguments.lines > 3"#,
    ];
    let neither = || deny(&["no_policy_permits", "person_not_permitted"]);
    cases.extend(no.iter().map(|condition| (*condition, when(condition), neither())));
    check(cases);
}

#[test]
fn what_a_forbid_names_is_looked_up_and_not_quietly_false() {
    let forbid = |condition: &str| {
        World::new(READ)
            .and_policies(&format!("forbid(principal, action, resource) when {{ {condition} }};"))
            .call("files/read", "{}")
    };
    check(vec![
        ("a person beside the chain", forbid(r#"Person::"bob" in Group::"ops""#), deny(&["policy_forbids"])),
        ("a person in no group", forbid(r#"Person::"carol" in Group::"ops""#), pass()),
        (
            "an agent beside the chain",
            forbid(r#"Agent::"clerk".sponsors.contains(Person::"bob")"#),
            deny(&["policy_forbids"]),
        ),
    ]);
}

#[test]
fn a_policy_that_errs_denies_although_others_permit() {
    let overflow = "context.task.calls + 9223372036854775807 > 0";
    let read = |policy: &str| read(&format!("@id(\"all\") permit(principal, action, resource);\n{policy}"));
    let once = |w: &mut World| w.calls = 1;
    check(vec![
        (
            "no overflow yet",
            read(&format!("permit(principal, action, resource) when {{ {overflow} }};")),
            pass(),
        ),
        (
            "a permit",
            read(&format!("permit(principal, action, resource) when {{ {overflow} }};")).with(once),
            deny(&["policy_error"]),
        ),
        (
            "a forbid",
            read(&format!("forbid(principal, action, resource) unless {{ {overflow} }};")).with(once),
            deny(&["policy_error"]),
        ),
        (
            "a forbid that asks",
            read(&format!("@ask(\"finance\") forbid(principal, action, resource) when {{ {overflow} }};"))
                .with(once),
            deny(&["policy_error"]),
        ),
        (
            "a forbid in observe mode",
            read(&format!("@mode(\"observe\") forbid(principal, action, resource) when {{ {overflow} }};"))
                .with(once),
            deny(&["policy_error"]),
        ),
        (
            "one for another action",
            read(&format!(
                "permit(principal, action == Action::\"files/write\", resource) when {{ {overflow} }};"
            ))
            .with(once),
            pass(),
        ),
        (
            "one for a principal beside",
            read(&format!("permit(principal == Agent::\"clerk\", action, resource) when {{ {overflow} }};"))
                .with(once),
            pass(),
        ),
    ]);
}

#[test]
fn a_number_that_does_not_convert_denies_only_where_a_policy_names_it() {
    let naming = r#"forbid(principal, action == Action::"bank/send_money", resource) when { context.arguments has amount && context.arguments.amount.greaterThan(decimal("5.0")) };"#;
    let has = r#"forbid(principal, action == Action::"bank/send_money", resource) when { context.arguments has amount };"#;
    let other = r#"forbid(principal, action == Action::"bank/send_money", resource) when { context.arguments has priority && context.arguments.priority > 5 };"#;
    let elsewhere = r#"forbid(principal, action == Action::"bank/batch", resource) when { context.arguments has payments };"#;
    let facts = || deny(&["facts_unavailable"]);
    check(vec![
        ("four places", send(naming, r#"{"amount":4.9999}"#), pass()),
        ("four places, beyond", send(naming, r#"{"amount":5.0001}"#), deny(&["policy_forbids"])),
        ("five places", send(naming, r#"{"amount":4.99999}"#), facts()),
        ("five places, has", send(has, r#"{"amount":4.99999}"#), facts()),
        ("padded", send(naming, r#"{"amount":4.999900000}"#), pass()),
        ("beyond 64 bits", send(naming, r#"{"amount":1e18}"#), facts()),
        ("named by none", send(other, r#"{"amount":4.99999}"#), pass()),
        ("named by one for another action", send(elsewhere, r#"{"amount":4.99999}"#), pass()),
        ("an integer", send(other, r#"{"priority":5}"#), pass()),
        ("an integer written otherwise", send(other, r#"{"priority":6.0}"#), deny(&["policy_forbids"])),
        ("an integer beyond 64 bits", send(other, r#"{"priority":9223372036854775808}"#), facts()),
        ("the smallest", send(other, r#"{"priority":-9223372036854775808}"#), pass()),
    ]);
    let batch = |policy: &str, arguments: &str| {
        World::new(r#"[{"tool":"bank/batch","arguments":{"payments":{}}}]"#)
            .and_policies(policy)
            .call("bank/batch", arguments)
    };
    let whole = r#"forbid(principal, action == Action::"bank/batch", resource) when { context.arguments has payments && context.arguments.payments.isEmpty() };"#;
    check(vec![
        ("within a list that a policy names", batch(whole, r#"{"payments":[{"amount":0.00001}]}"#), facts()),
        ("exact within it", batch(whole, r#"{"payments":[{"amount":0.0001}]}"#), pass()),
        ("within a list that none names", batch("", r#"{"payments":[{"amount":0.00001}]}"#), pass()),
    ]);
}

#[test]
fn the_resource_is_the_canonical_id_that_the_manifest_names() {
    let forbid = |id: &str| format!("forbid(principal, action, resource == Account::\"{id}\");");
    let forbidden = || deny(&["policy_forbids"]);
    check(vec![
        ("the account", send(&forbid("DE89"), r#"{"recipient":"DE89"}"#), forbidden()),
        ("in another spelling", send(&forbid("DE89"), r#"{"recipient":"de-8 9"}"#), forbidden()),
        ("another", send(&forbid("DE90"), r#"{"recipient":"DE89"}"#), pass()),
        ("quotes and backslashes", send(&forbid("O'\\\"X\\\\"), r#"{"recipient":"o'\"x\\"}"#), forbidden()),
        (
            "none given: the server",
            send("forbid(principal, action, resource == Server::\"bank\");", "{}"),
            forbidden(),
        ),
        (
            "given: not the server",
            send("forbid(principal, action, resource is Server);", r#"{"recipient":"DE89"}"#),
            pass(),
        ),
    ]);
    let order = |arguments: &str| {
        World::new(r#"[{"tool":"bank/cancel","arguments":{"order":{}}}]"#)
            .with(|w| {
                let tool = bundle::tool(
                    "cancel",
                    &["write"],
                    r#"{"order":{"type":["integer","string","array"],"items":{"type":"string"}}}"#,
                );
                w.parts.manifests[0] =
                    bundle::manifest("bank", vec![bundle::resource(tool, "Order", "order")]);
            })
            .and_policies("forbid(principal, action, resource == Order::\"1\");")
            .call("bank/cancel", arguments)
    };
    check(vec![
        ("a number", order(r#"{"order":1}"#), forbidden()),
        ("the same number", order(r#"{"order":1.0}"#), forbidden()),
        ("the same number with an exponent", order(r#"{"order":10e-1}"#), forbidden()),
        ("another number", order(r#"{"order":2}"#), pass()),
        ("a list is no id", order(r#"{"order":["1"]}"#), deny(&["facts_unavailable"])),
        (
            "a number without an exact value",
            order(r#"{"order":100000000000000000000000000000000000}"#),
            deny(&["facts_unavailable"]),
        ),
    ]);
}

#[test]
fn a_policy_in_observe_mode_is_told_and_does_not_forbid() {
    let observed = r#"@id("watch") @mode("observe") forbid(principal, action, resource);"#;
    let world = || World::new(READ).and_policies(observed).call("files/read", "{}");
    let Decision::Pass(draft) = world().decide() else { panic!("no pass") };
    assert_eq!(draft.grounds().observed.len(), 2, "once for each principal");
    let mut cases = vec![("reading", world(), pass())];
    for effect in ["pay", "destroy", "credential", "share", "execute"] {
        let world = World::new(r#"[{"tool":"files/act"}]"#)
            .with(|w| {
                w.parts.manifests[1] =
                    bundle::manifest("files", vec![bundle::tool("act", &["read", effect], "{}")])
            })
            .and_policies(observed)
            .call("files/act", "{}");
        cases.push((effect, world, deny(&["policy_forbids"])));
    }
    for effect in ["write", "egress"] {
        let world = World::new(r#"[{"tool":"files/act"}]"#)
            .with(|w| {
                w.parts.manifests[1] = bundle::manifest("files", vec![bundle::tool("act", &[effect], "{}")])
            })
            .and_policies(observed)
            .call("files/act", "{}");
        cases.push((effect, world, pass()));
    }
    check(cases);
}

#[test]
fn an_argument_that_only_one_alternative_requires_is_optional_to_policies() {
    let world = |policy: &str, arguments: &str| {
        World::new(r#"[{"tool":"files/pick"}]"#)
            .with(|w| {
                let mut tool = bundle::tool("pick", &["read"], "{}");
                tool.input_schema = crate::common::json(
                    r#"{"type":"object","anyOf":[
                        {"properties":{"a":{"type":"string"}},"required":["a"]},
                        {"properties":{"b":{"type":"string"}},"required":["b"]}]}"#,
                );
                w.parts.manifests[1] = bundle::manifest("files", vec![tool]);
            })
            .and_policies(policy)
            .call("files/pick", arguments)
    };
    let guarded = r#"forbid(principal, action == Action::"files/pick", resource) when { context.arguments has a && context.arguments.a == "x" };"#;
    check(vec![
        ("the one", world(guarded, r#"{"a":"x"}"#), deny(&["policy_forbids"])),
        ("the other", world(guarded, r#"{"b":"x"}"#), pass()),
    ]);
    let bare =
        r#"forbid(principal, action == Action::"files/pick", resource) when { context.arguments.a == "x" };"#;
    let built = warrantor_decide::Snapshot::build(world(bare, "{}").parts);
    assert!(built.is_err(), "a policy reads an optional argument unguarded");
}

#[test]
fn an_agent_that_stands_twice_in_a_chain_is_one_entity() {
    let world = World::new("[]")
        .hops(&[
            &format!(r#"{{"id":"root","depth":2,"grants":{READ}}}"#),
            &format!(r#"{{"id":"sub","depth":1,"agent":"helper","grants":{READ}}}"#),
            &format!(r#"{{"id":"subsub","grants":{READ}}}"#),
        ])
        .call("files/read", "{}");
    check(vec![("bot, helper, bot", world, pass())]);
}

#[test]
fn odd_names_of_arguments_make_a_valid_schema() {
    let world = World::new(r#"[{"tool":"files/odd"}]"#)
        .with(|w| {
            let tool = bundle::tool(
                "odd",
                &["read"],
                r#"{"a\"b":{"type":"string"},"if":{"type":"string"},"\u00e9\ud83d\ude00":{"type":"string"},"'":{"type":"string"},
                    "":{"type":"string"},"\u0000":{"type":"string"},"\\":{"type":"string"},"__cedar":{"type":"string"}, "a b":{"type":"integer"}}"#,
            );
            w.parts.manifests[1] = bundle::manifest("files", vec![tool]);
        })
        .and_policies(r#"forbid(principal, action == Action::"files/odd", resource) when { context.arguments has "a\"b" && context.arguments["a\"b"] == "x" };"#);
    check(vec![
        ("named", world.clone().call("files/odd", r#"{"a\"b":"x"}"#), deny(&["policy_forbids"])),
        ("all others", world.call("files/odd", r#"{"a\"b":"y","if":"x","é😀":"x","'":"x","":"x","\u0000":"x","\\":"x","__cedar":"x","a b":1}"#), pass()),
    ]);
}
