//! Layer 4: what a grant matches, effects that hang on arguments, ceilings, chains, observe mode.

use warrantor_decide::Decision;

use crate::common::{World, bundle, check, deny, pass};

fn denied() -> crate::common::Expect {
    deny(&["tool_not_available"])
}

#[test]
fn without_a_grant_that_matches_nothing_passes() {
    let world = |grants: &str, tool: &str| World::new(grants).call(tool, "{}");
    check(vec![
        ("no grants", world("[]", "files/read"), denied()),
        ("another tool", world(r#"[{"tool":"files/write"}]"#, "files/read"), denied()),
        ("that tool", world(r#"[{"tool":"files/read"}]"#, "files/read"), pass()),
        ("effects and server", world(r#"[{"effects":["read"],"servers":["files"]}]"#, "files/read"), pass()),
        ("another effect", world(r#"[{"effects":["write"],"servers":["files"]}]"#, "files/read"), denied()),
        ("another server", world(r#"[{"effects":["read"],"servers":["mail"]}]"#, "files/read"), denied()),
        ("no servers", world(r#"[{"effects":["read"],"servers":[]}]"#, "files/read"), denied()),
        ("no effects", world(r#"[{"effects":[],"servers":["files"]}]"#, "files/read"), denied()),
        ("some of its effects", world(r#"[{"effects":["write"],"servers":["mail"]}]"#, "mail/send"), denied()),
        ("all of its effects", world(r#"[{"effects":["write","egress"],"servers":["mail"]}]"#, "mail/send"), pass()),
        (
            "excepted",
            world(r#"[{"effects":["read"],"servers":["files"],"except":["files/read"]}]"#, "files/read"),
            denied(),
        ),
        (
            "excepted in one grant and named in another",
            world(
                r#"[{"effects":["read"],"servers":["files"],"except":["files/read"]},{"tool":"files/read"}]"#,
                "files/read",
            ),
            pass(),
        ),
        (
            "a named tool does not narrow an effects grant",
            World::new(r#"[{"tool":"files/read","arguments":{"path":{"within":["/a"]}}},{"effects":["read"],"servers":["files"]}]"#)
                .call("files/read", r#"{"path":"/b"}"#),
            pass(),
        ),
    ]);
}

#[test]
fn effects_that_hang_on_arguments_count_wherever_effects_are_spoken_of() {
    let grant = r#"[{"effects":["write"],"servers":["mail"],"arguments":{"participants":{},"title":{}}}]"#;
    let both = r#"[{"effects":["write","egress"],"servers":["mail"],"arguments":{"participants":{}}}]"#;
    let alone = r#"{"participants":[]}"#;
    let invited = r#"{"participants":["x"]}"#;
    let event = |grants: &str, arguments: &str| World::new(grants).call("mail/create_event", arguments);
    let narrow_ceiling =
        |w: &mut World| w.parts.agents[0].ceiling.effects = crate::common::effects(&["write"]);
    let forbid = |world: World| {
        world.and_policies(r#"@id("out") forbid(principal, action in Action::"effect:egress", resource);"#)
    };
    let permit = |world: World| {
        world.policies(r#"permit(principal, action in Action::"effect:write", resource) unless { action in Action::"effect:egress" };"#)
    };
    check(vec![
        ("granted without", event(grant, alone), pass()),
        ("granted with", event(grant, invited), denied()),
        ("absent is null", event(grant, r#"{"title":"x"}"#), pass()),
        ("both granted", event(both, invited), pass()),
        ("ceiling without", event(both, alone).with(narrow_ceiling), pass()),
        ("ceiling with", event(both, invited).with(narrow_ceiling), denied()),
        ("forbidden without", forbid(event(both, alone)), pass()),
        ("forbidden with", forbid(event(both, invited)), deny(&["policy_forbids"])),
        ("permitted without", permit(event(both, alone)), pass()),
        (
            "permitted with",
            permit(event(both, invited)),
            deny(&["no_policy_permits", "person_not_permitted"]),
        ),
    ]);
    let unnamed = r#"[{"tool":"files/touch"}]"#;
    let touch = |arguments: &str| {
        World::new(unnamed)
            .with(|w| {
                let tool =
                    bundle::tool("touch", &["read"], r#"{"force":{"type":"string"},"x":{"type":"string"}}"#);
                w.parts.manifests[1] =
                    bundle::manifest("files", vec![bundle::when(tool, "force", &["write"])]);
            })
            .call("files/touch", arguments)
    };
    check(vec![
        ("a read as long as it is one", touch(r#"{"x":"a"}"#), pass()),
        (
            "an effect that an argument adds makes it effectful",
            touch(r#"{"x":"a","force":"y"}"#),
            deny(&["argument_out_of_bounds"]),
        ),
    ]);
}

#[test]
fn no_mandate_lifts_an_agent_above_its_ceiling() {
    let world = |agent: &str, tool: &str| {
        World::new("[]")
            .hops(&[&format!(r#"{{"id":"root","agent":"{agent}","grants":[{{"tool":"{tool}"}}]}}"#)])
            .call(tool, "{}")
    };
    let below = |first: &str, second: &str| {
        World::new("[]")
            .hops(&[
                &format!(r#"{{"id":"root","depth":1,"agent":"{first}","grants":[{{"tool":"mail/list"}}]}}"#),
                &format!(r#"{{"id":"sub","agent":"{second}","grants":[{{"tool":"mail/list"}}]}}"#),
            ])
            .call("mail/list", "{}")
    };
    check(vec![
        ("within", world("reader", "files/read"), pass()),
        ("beyond its servers", world("reader", "mail/list"), denied()),
        ("beyond its effects", world("reader", "files/delete"), denied()),
        ("the last agent's", below("bot", "reader"), denied()),
        ("the first agent's", below("reader", "bot"), denied()),
        ("neither", below("bot", "clerk"), pass()),
    ]);
}

#[test]
fn every_hop_has_to_grant_the_call() {
    let hops = |first: &str, second: &str, third: &str| {
        World::new("[]")
            .hops(&[
                &format!(r#"{{"id":"root","depth":2,"grants":[{first}]}}"#),
                &format!(r#"{{"id":"sub","depth":1,"agent":"helper","grants":[{second}]}}"#),
                &format!(r#"{{"id":"subsub","grants":[{third}]}}"#),
            ])
            .call("files/read", r#"{"path":"/a/b"}"#)
    };
    let (any, a, c) = (
        r#"{"tool":"files/read","arguments":{"path":{}}}"#,
        r#"{"tool":"files/read","arguments":{"path":{"within":["/a"]}}}"#,
        r#"{"tool":"files/read","arguments":{"path":{"within":["/c"]}}}"#,
    );
    let out = || deny(&["argument_out_of_bounds"]);
    check(vec![
        ("all", hops(any, a, any), pass()),
        ("not the root", hops(c, any, any), out()),
        ("not the middle", hops(any, c, any), out()),
        ("not the last", hops(any, any, c), out()),
        ("nothing at the root", hops("", any, any), denied()),
        ("nothing at the last", hops(any, any, ""), denied()),
    ]);
}

#[test]
fn observe_mode_of_a_server_lifts_the_mandate_and_nothing_else() {
    let observed = |tool: &str, arguments: &str| {
        World::new(r#"[{"tool":"files/read","arguments":{"path":{"within":["/a"]}},"limits":{"calls":1}}]"#)
            .with(|w| w.parts.observe = bundle::servers(&["files", "bank", "mail"]))
            .call(tool, arguments)
    };
    let read = || observed("files/read", r#"{"path":"/b"}"#);
    check(vec![
        ("a bound", read(), pass()),
        ("a limit", read().counter("limit/m0/0/calls", "1"), pass()),
        ("an ungranted write", observed("files/write", r#"{"mode":1}"#), pass()),
        ("an ungranted egress", observed("mail/send", r#"{"to":["a@x.com"]}"#), pass()),
        ("destroying", observed("files/delete", r#"{"path":"/a"}"#), denied()),
        ("paying", observed("bank/send_money", "{}"), denied()),
        ("an unknown tool", observed("files/chmod", "{}"), denied()),
        ("invalid arguments", observed("files/read", r#"{"path":5}"#), deny(&["arguments_invalid"])),
        (
            "evidence",
            read().with(|w| w.call.evidence = warrantor_model::Evidence::Failed { why: "x".into() }),
            deny(&["credential_invalid"]),
        ),
        (
            "expired",
            read().with(|w| w.now = crate::common::at("2026-10-05T14:00:00Z")),
            deny(&["mandate_expired"]),
        ),
        (
            "changed",
            read().with(|w| w.call.definition = warrantor_model::Definition::Changed),
            deny(&["tool_changed"]),
        ),
        ("policy", read().policies(""), deny(&["no_policy_permits", "person_not_permitted"])),
        (
            "no chain",
            read().with(|w| {
                w.chain.clear();
                w.mandates.clear();
            }),
            deny(&["mandate_invalid", "tool_not_available"]),
        ),
    ]);
    for effect in ["pay", "destroy", "credential", "share", "execute"] {
        let world = observed("files/act", "{}").with(|w| {
            w.parts.manifests[1] = bundle::manifest(
                "files",
                vec![
                    bundle::tool("act", &["read", effect], "{}"),
                    bundle::tool("read", &["read"], r#"{"path":{}}"#),
                ],
            );
        });
        check(vec![(effect, world, denied())]);
    }
    // What would have been said is kept, and the call is charged without a bound.
    let Decision::Pass(draft) = read().counter("limit/m0/0/calls", "7").decide() else { panic!("no pass") };
    let said: Vec<_> = draft.grounds().observed.iter().map(|f| f.code.as_str()).collect();
    assert_eq!(said, ["argument_out_of_bounds", "limit_reached"]);
    assert!(
        matches!(draft.charges(), [warrantor_decide::Charge::Add { at_most: None, .. }]),
        "{:?}",
        draft.charges()
    );
}
