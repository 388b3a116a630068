//! Layer 1: access tokens, what they are made from, and what policies read of them.

use warrantor_model::{Evidence, Home, TokenEvidence};

use crate::common::{World, check, deny, pass};

const READ: &str = r#"[{"effects":["read"],"servers":["files"]}]"#;

fn token(bound: bool) -> Evidence {
    Evidence::AccessToken(Box::new(claims(bound)))
}

fn claims(bound: bool) -> TokenEvidence {
    TokenEvidence {
        issuer: "https://control.example.com".into(),
        name: "k2".into(),
        tokens: vec!["k2".parse().unwrap(), "k1".parse().unwrap()],
        subject: "alice".into(),
        client: "bot".into(),
        scopes: ["tools:call".to_owned()].into(),
        bound,
        home: None,
    }
}

fn world() -> World {
    World::new(READ).call("files/read", "{}").with(|w| w.call.evidence = token(true))
}

#[test]
fn a_token_counts_until_it_or_what_it_was_made_from_is_revoked() {
    let revoked = || deny(&["credential_revoked"]);
    check(vec![
        ("as it is", world(), pass()),
        ("revoked", world().stopped("token:k2"), revoked()),
        ("what it was made from", world().stopped("token:k1"), revoked()),
        ("another", world().stopped("token:k3"), pass()),
        (
            "both",
            world().stopped("token:k1").stopped("token:k2"),
            deny(&["credential_revoked", "credential_revoked"]),
        ),
        (
            "with the mandate",
            world().stopped("token:k2").stopped("mandate:m0"),
            deny(&["credential_revoked", "mandate_revoked"]),
        ),
        // No scope lets a call pass.
        (
            "ungranted",
            world().call("files/delete", r#"{"path":"/a"}"#).with(|w| w.call.evidence = token(true)),
            deny(&["tool_not_available"]),
        ),
    ]);
}

#[test]
fn policies_read_a_token_where_there_is_one_and_must_ask_first() {
    let forbid = |condition: &str| {
        world().and_policies(&format!("forbid(principal, action, resource) when {{ {condition} }};"))
    };
    let unbound = |world: World| world.with(|w| w.call.evidence = token(false));
    let local = |world: World| world.with(|w| w.call.evidence = Evidence::Token { name: "laptop".into() });
    let unless_bound = "if context has token then !context.token.bound else true";
    check(vec![
        ("bound", forbid(unless_bound), pass()),
        ("unbound", unbound(forbid(unless_bound)), deny(&["policy_forbids"])),
        ("no token", local(forbid(unless_bound)), deny(&["policy_forbids"])),
        (
            "its claims",
            forbid(
                r#"context has token && !(context.token.issuer == "https://control.example.com" && context.token.subject == "alice" && context.token.client == "bot" && context.token.scopes.contains("tools:call"))"#,
            ),
            pass(),
        ),
    ]);
    let abroad = |world: World| {
        world.with(|w| {
            let home = Some(Home { issuer: "https://acme.example".into(), subject: "carol".into() });
            w.call.evidence = Evidence::AccessToken(Box::new(TokenEvidence { home, ..claims(true) }));
        })
    };
    let not_from_acme = r#"context has token.home && context.token.home.issuer == "https://acme.example" && context.token.home.subject == "carol""#;
    check(vec![
        ("of this domain", forbid(not_from_acme), pass()),
        ("of another domain", abroad(forbid(not_from_acme)), deny(&["policy_forbids"])),
    ]);
    // Who does not ask whether there is one has a policy that could err.
    let blind = world().and_policies("forbid(principal, action, resource) when { context.token.bound };");
    assert!(
        warrantor_decide::Snapshot::build(blind.parts).is_err(),
        "a policy over a token that may be missing was loaded"
    );
}
