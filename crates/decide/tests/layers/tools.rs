//! Layer 3: the tool as pinned, and arguments valid against its schema and of one reading.

use warrantor_model::Definition;

use crate::common::{World, bundle, check, deny, pass};

const ALL: &str = r#"[{"effects":["read","write"],"servers":["bank","files","mail"]},
    {"tool":"files/read"},{"tool":"files/write","arguments":{"path":{},"meta":{},"meta/@keys":{},"open":{},"open/@keys":{},"options":{}}}]"#;

#[test]
fn a_definition_that_changed_or_was_not_seen_denies() {
    let definition = |definition| move |w: &mut World| w.call.definition = definition;
    let read = || World::new(ALL).call("files/read", "{}");
    check(vec![
        ("as pinned", read(), pass()),
        ("changed", read().with(definition(Definition::Changed)), deny(&["tool_changed"])),
        ("not seen", read().with(definition(Definition::NotSeen)), deny(&["tool_not_available"])),
    ]);
}

#[test]
fn a_tool_in_no_manifest_denies() {
    let case = |tool: &str| World::new(ALL).call(tool, "{}");
    check(vec![
        ("unknown tool", case("files/chmod"), deny(&["tool_not_available"])),
        ("unknown server", case("nowhere/read"), deny(&["tool_not_available"])),
        ("another case", case("files/Read"), deny(&["tool_not_available"])),
        ("known", case("files/read"), pass()),
    ]);
}

#[test]
fn arguments_that_do_not_fit_the_schema_deny() {
    let cases = [
        ("files/read", r#"{"path":"/a","lines":3}"#, true),
        ("files/read", r#"{"path":5}"#, false),
        ("files/read", r#"{"lines":"3"}"#, false),
        ("files/read", r#"{"lines":3.5}"#, false),
        ("files/read", r#"{"lines":3.0}"#, true),
        ("files/read", r#"{"lines":null}"#, false),
        ("files/read", r#"{"lines":1e999}"#, false),
        ("files/read", r#"{"pathh":"/a"}"#, false),
        ("files/read", r#"{"path":"/a","":1}"#, false),
        ("files/read", r#"{"Path":"/a"}"#, false),
        ("files/write", r#"{"options":{"deep":1}}"#, true),
        ("files/write", r#"{"options":{"deeper":1}}"#, false),
        ("files/write", r#"{"options":{"deep":{"x":1}}}"#, false),
        ("files/write", r#"{"meta":{"anything":"x"}}"#, true),
        ("files/write", r#"{"meta":{"anything":5}}"#, false),
        ("files/write", r#"{"open":{"anything":5}}"#, true),
        ("mail/send", r#"{"to":{"0":"a@example.com"}}"#, false),
    ];
    for (tool, arguments, valid) in cases {
        let world = World::new(ALL).call(tool, arguments);
        let world = if tool.starts_with("mail") {
            world.hops(&[r#"{"id":"root","grants":[{"tool":"mail/send","arguments":{"**":{}}}]}"#])
        } else {
            world
        };
        let expected = if valid { pass() } else { deny(&["arguments_invalid"]) };
        check(vec![(arguments, world.call(tool, arguments), expected)]);
    }
}

#[test]
fn below_an_explicitly_open_place_the_mandate_judges_names_and_not_the_schema() {
    for arguments in [r#"{"open":{"anything":{"further":5}}}"#, r#"{"open":{"anything":[{"further":5}]}}"#] {
        let expected = deny(&["argument_out_of_bounds"]);
        check(vec![(arguments, World::new(ALL).call("files/write", arguments), expected)]);
    }
}

#[test]
fn arguments_that_are_no_object_deny() {
    for arguments in ["[]", "null", "\"{}\"", "5", "[{}]"] {
        let world = World::new(ALL).call("files/read", arguments);
        let decision = world.decide();
        let warrantor_decide::Decision::Deny(refusal, _) = &decision else { panic!("{arguments} passed") };
        assert_eq!(refusal.primary().0.as_str(), "arguments_invalid", "{arguments}");
    }
}

#[test]
fn a_value_of_two_readings_denies_for_its_kind() {
    let kinds: &[(&str, &[&str], &[&str])] = &[
        ("text", &["a\tb\nc", "\u{e9}"], &["a\u{0}", "a\u{200b}b", "e\u{301}", "\u{202e}a"]),
        ("id", &["a b"], &[" a", "a ", "a\n"]),
        ("mail", &["A@Example.com"], &["a", "A <a@example.com>", "a@b@example.com", "a@ex\u{430}mple.com"]),
        (
            "url",
            &["https://example.com/a", "example.com", "localhost:8080/x", "https://[2001:db8::1]/"],
            &[
                "https://u@example.com",
                "https://example.com/../x",
                "https://example.com/%2e%2e/x",
                "https://example.com\\x",
                "https:///example.com/x",
                "https:/example.com",
                "file:/etc/passwd",
                "javascript:alert(1)",
                "https://ex%61mple.com/",
                "https://\u{ff45}xample.com/",
                "https://1.2.3.00/",
            ],
        ),
        (
            "host",
            &["Example.com", "example.com.", "m\u{fc}nchen.de", "1.2.3.4"],
            &["example.com:80", "0x7f.1", "127.1", "a b", "\u{ff45}xample.com", "example\u{3002}com", "a.."],
        ),
        (
            "path",
            &["/a/b", "a b.txt", "100%", "/a/report….txt", ".hidden", "a..b"],
            &[
                "/a/../b",
                "..",
                ".",
                "/a/%2e%2e/b",
                "/a/%252e/b",
                "/a%c0%afb",
                "~/x",
                "a\\b",
                "/a/\u{ff0e}\u{ff0e}/b",
                "/a/\u{2025}/b",
                "/a\u{ff0f}b",
                "/a\u{ff3c}b",
                "//a",
                "/a/…",
                "a/.../b",
                "a/*",
                "a/$HOME",
                "a/%ef%bc%8e%ef%bc%8e/x",
                "a/%e0%80%ae/x",
            ],
        ),
        ("account", &["DE89 3704", "de-89"], &["DE\u{200b}89", "\u{17f}E45", "D\u{131}89", "DE\u{df}9"]),
        ("handle", &["@alice", "#general"], &[" @alice", "ali\u{200d}ce"]),
        ("phone", &["+49 (30) 1", "112"], &["call", "+", "1+2", "\u{661}\u{662}"]),
        (
            "date",
            &["2026-01-31"],
            &["31.01.2026", "2026-02-30", "20260131", "2026-1-31", "2026-W05-6", "2026-031"],
        ),
        (
            "time",
            &["2026-01-31T12:00", "2026-01-31T12:00:00Z", "2026-01-31T12:00:00+02:00"],
            &[
                "2026-01-31T12:00[Asia/Tokyo]",
                "2026-01-31T12:00:60Z",
                "12:00",
                "2026-01-31T12:00+02:00[Asia/Tokyo]",
            ],
        ),
        (
            "number",
            &["12.50", "1200", "-4", "0.125", "1234.567"],
            &[
                "1e3",
                "12e-1",
                "12.000",
                "1.234.567",
                "1_000",
                "1,000",
                "0x10",
                "+5",
                ".5",
                "5.",
                " 5",
                "\u{661}",
                "00",
            ],
        ),
    ];
    let mut wrong = Vec::new();
    for (kind, plain, ambiguous) in kinds {
        for (text, fits) in plain.iter().map(|t| (t, true)).chain(ambiguous.iter().map(|t| (t, false))) {
            let world = World::new(r#"[{"effects":["read"],"servers":["files"]}]"#).with(|w| {
                let tool = bundle::tool("take", &["read"], r#"{"x":{"type":"string"}}"#);
                w.parts.manifests = vec![bundle::manifest("files", vec![bundle::rule(tool, "x", &[kind])])];
                w.parts.agents.truncate(1);
                w.call.tool = "files/take".parse().unwrap();
                w.call.arguments = warrantor_model::Json::Object(vec![(
                    "x".into(),
                    warrantor_model::Json::String((*text).into()),
                )]);
            });
            let expected = if fits { pass() } else { deny(&["arguments_invalid"]) };
            let decision = world.decide();
            if crate::common::outcome(&decision) != expected {
                wrong.push(format!("{kind} {text:?}: {}", crate::common::explain(&decision)));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_ambiguous_member_name_denies_where_names_are_sensitive() {
    let world = |arguments: &str| {
        World::new(r#"[{"tool":"files/tag","arguments":{"meta":{},"meta/@keys":{"in":["a","b"]}}}]"#)
            .with(|w| {
                let tool = bundle::tool(
                    "tag",
                    &["write"],
                    r#"{"meta":{"type":"object","additionalProperties":{"type":"string"}}}"#,
                );
                w.parts.manifests = vec![bundle::manifest(
                    "files",
                    vec![bundle::rule(tool, "meta/@keys", &["sensitive", "id"])],
                )];
                w.parts.agents.truncate(1);
            })
            .call("files/tag", arguments)
    };
    check(vec![
        ("a listed name", world(r#"{"meta":{"a":"x"}}"#), pass()),
        ("another name", world(r#"{"meta":{"c":"x"}}"#), deny(&["argument_out_of_bounds"])),
        (
            "a name with an invisible character",
            world("{\"meta\":{\"a\u{200b}\":\"x\"}}"),
            deny(&["arguments_invalid", "argument_out_of_bounds"]),
        ),
    ]);
}
