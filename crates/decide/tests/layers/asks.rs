//! Ask: only where nothing but persons' answers stands in the way.

use warrantor_decide::Decision;

use crate::common::{World, ask, bundle, check, deny, pass};

const SEND: &str = r#"[{"tool":"bank/send_money","arguments":{"amount":{"max":100}},"ask":"group:ops"}]"#;

fn send(grants: &str, policies: &str) -> World {
    World::new(grants).and_policies(policies).call("bank/send_money", r#"{"amount":5}"#)
}

#[test]
fn who_is_asked_is_united_over_grants_policies_principals_and_hops() {
    let plain = r#"[{"tool":"bank/send_money","arguments":{"amount":{}}}]"#;
    let person = r#"[{"tool":"bank/send_money","arguments":{"amount":{}},"ask":"person"}]"#;
    let both = r#"@ask("finance") forbid(principal, action, resource);"#;
    check(vec![
        ("nobody", send(plain, ""), pass()),
        ("the person", send(person, ""), ask(&["person:alice"])),
        ("a group", send(SEND, ""), ask(&["group:ops"])),
        ("a policy for both principals", send(plain, both), ask(&["group:finance"])),
        (
            "one policy a principal",
            send(
                plain,
                r#"@ask("finance") forbid(principal is Agent, action, resource);
                   @ask("ops") forbid(principal is Person, action, resource);"#,
            ),
            ask(&["group:finance", "group:ops"]),
        ),
        ("grant and policy", send(SEND, both), ask(&["group:finance", "group:ops"])),
        (
            "two hops",
            send(plain, both).hops(&[
                &format!(r#"{{"id":"root","depth":1,"grants":{person}}}"#),
                &format!(r#"{{"id":"sub","grants":{SEND}}}"#),
            ]),
            ask(&["group:finance", "group:ops", "person:alice"]),
        ),
        (
            "a policy whose condition does not hold",
            send(
                plain,
                r#"@ask("finance") forbid(principal, action, resource) when { context.task.calls > 3 };"#,
            ),
            pass(),
        ),
    ]);
}

#[test]
fn an_ask_never_hides_what_no_answer_lifts() {
    let asking = r#"@id("four-eyes") @ask("finance") forbid(principal, action, resource);"#;
    let world = || send(SEND, asking);
    check(vec![
        ("nothing else", world(), ask(&["group:finance", "group:ops"])),
        ("evidence", world().with(|w| w.call.evidence = warrantor_model::Evidence::Failed { why: "x".into() }), deny(&["credential_invalid", "approval_required"])),
        ("revoked", world().stopped("mandate:m0"), deny(&["mandate_revoked", "approval_required"])),
        ("invalid arguments", world().call("bank/send_money", r#"{"amount":5,"x":1}"#), deny(&["arguments_invalid", "argument_out_of_bounds", "approval_required"])),
        ("a bound", world().call("bank/send_money", r#"{"amount":500}"#), deny(&["argument_out_of_bounds", "approval_required"])),
        (
            "a plain forbid",
            send(SEND, &format!("{asking} forbid(principal, action, resource);")),
            deny(&["policy_forbids", "approval_required"]),
        ),
        (
            "no permit",
            World::new(SEND).policies(asking).call("bank/send_money", r#"{"amount":5}"#),
            deny(&["no_policy_permits", "person_not_permitted", "approval_required"]),
        ),
        (
            "a permit for one principal only",
            World::new(SEND)
                .policies(&format!("permit(principal is Agent, action, resource); {asking}"))
                .call("bank/send_money", r#"{"amount":5}"#),
            deny(&["person_not_permitted", "approval_required"]),
        ),
        (
            "an error",
            send(SEND, &format!("{asking} permit(principal, action, resource) when {{ context.task.calls * 9223372036854775807 > 0 }};"))
                .with(|w| w.calls = 2),
            deny(&["policy_error", "approval_required"]),
        ),
        ("a limit", send(r#"[{"tool":"bank/send_money","arguments":{"amount":{}},"limits":{"calls":0},"ask":"person"}]"#, ""), deny(&["limit_reached", "approval_required"])),
        ("what must come before", send(r#"[{"tool":"bank/send_money","arguments":{"amount":{}},"after":[{"tool":"files/read"}],"ask":"person"}]"#, ""), deny(&["not_yet", "approval_required"])),
        ("another hop's bound", world().hops(&[
            &format!(r#"{{"id":"root","depth":1,"grants":{SEND}}}"#),
            r#"{"id":"sub","grants":[{"tool":"bank/send_money","arguments":{"amount":{"max":1}}}]}"#,
        ]), deny(&["argument_out_of_bounds", "approval_required"])),
    ]);
}

#[test]
fn passing_beats_asking_beats_denying() {
    let grant = |max: u32, ask: &str| {
        format!(r#"{{"tool":"bank/send_money","arguments":{{"amount":{{"max":{max}}}}}{ask}}}"#)
    };
    let asks = r#","ask":"person""#;
    let world = |first: &str, second: &str| send(&format!("[{first},{second}]"), "");
    check(vec![
        ("ask, pass", world(&grant(9, asks), &grant(9, "")), pass()),
        ("pass, ask", world(&grant(9, ""), &grant(9, asks)), pass()),
        ("deny, ask", world(&grant(1, ""), &grant(9, asks)), ask(&["person:alice"])),
        ("ask, deny", world(&grant(9, asks), &grant(1, "")), ask(&["person:alice"])),
        ("deny, deny", world(&grant(1, ""), &grant(2, "")), deny(&["argument_out_of_bounds"])),
        (
            "ask, ask: the first asks",
            world(&grant(9, r#","ask":"group:ops""#), &grant(9, asks)),
            ask(&["group:ops"]),
        ),
    ]);
}

#[test]
fn observe_mode_lifts_asks_of_grants_for_lesser_effects_only() {
    let grants = r#"[{"effects":["read"],"servers":["files"],"ask":"person"},{"tool":"files/delete","arguments":{"path":{}},"ask":"person"}]"#;
    let world = |tool: &str| {
        World::new(grants)
            .with(|w| w.parts.observe = bundle::servers(&["files"]))
            .call(tool, r#"{"path":"/a"}"#)
    };
    check(vec![
        ("reading", world("files/read"), pass()),
        ("destroying", world("files/delete"), ask(&["person:alice"])),
    ]);
    let Decision::Pass(draft) = world("files/read").decide() else { panic!("no pass") };
    assert_eq!(draft.grounds().observed.len(), 1);
}
