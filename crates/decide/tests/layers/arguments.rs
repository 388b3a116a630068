//! Layer 4, arguments: what no grant named, what bounds cannot judge, and every way round a bound that was thought of.

use crate::common::{World, bundle, check, deny, pass};

/// Calls of `files/write`, an effectful tool, under one grant with these bounds.
fn write(bounds: &str, cases: &[(&str, bool)]) {
    calls("files/write", bounds, cases);
}

fn calls(tool: &str, bounds: &str, cases: &[(&str, bool)]) {
    let grants = format!(r#"[{{"tool":"{tool}","arguments":{bounds}}}]"#);
    let world = World::new(&grants);
    let expected = |passes: bool| if passes { pass() } else { deny(&["argument_out_of_bounds"]) };
    check(
        cases
            .iter()
            .map(|(arguments, passes)| (*arguments, world.clone().call(tool, arguments), expected(*passes)))
            .collect(),
    );
}

#[test]
fn an_argument_that_an_effectful_grant_does_not_name_is_absent_or_denies() {
    write(
        r#"{"path":{}}"#,
        &[
            (r#"{"path":"/a"}"#, true),
            (r#"{"path":"/a","mode":6}"#, false),
            (r#"{"path":"/a","mode":0}"#, false),
            // Free by the manifest.
            (r#"{"path":"/a","content":"x"}"#, true),
            // Absent.
            (r#"{"path":"/a","tags":[]}"#, true),
            (r#"{"path":"/a","options":{}}"#, true),
            (r#"{"path":"/a","options":{"secret":""}}"#, true),
            (r#"{"path":"/a","options":{"deep":null}}"#, true),
            (r#"{"path":"/a","options":{"deep":false}}"#, false),
            // An element is never absent: a list of nothings has a length and places.
            (r#"{"path":"/a","tags":[null]}"#, false),
            (r#"{"path":"/a","tags":[""]}"#, false),
            (r#"{"path":"/a","tags":[[]]}"#, false),
            (r#"{"path":"/a","tags":[{}]}"#, false),
            (r#"{"path":"/a","options":{"deep":[null]}}"#, false),
            // An empty value that acts.
            (r#"{"path":"/a","scope":[]}"#, false),
            // Names that the schema leaves open carry data of their own.
            (r#"{"path":"/a","meta":{}}"#, true),
            (r#"{"path":"/a","meta":{"secret":null}}"#, false),
            (r#"{"path":"/a","meta":{"secret":""}}"#, false),
            (r#"{"path":"/a","open":{"x":[]}}"#, false),
        ],
    );
}

#[test]
fn an_argument_that_a_read_does_not_name_passes_unless_it_is_sensitive() {
    calls(
        "bank/list_payees",
        r#"{}"#,
        &[
            (r#"{}"#, true),
            (r#"{"filter":"x","limit":3}"#, true),
            (r#"{"pin":""}"#, true),
            (r#"{"pin":"1234"}"#, false),
            (r#"{"pins":[]}"#, true),
            (r#"{"pins":["1234"]}"#, false),
            (r#"{"pins":[null]}"#, false),
        ],
    );
    // An effect beside reading makes it effectful.
    let world = World::new(r#"[{"tool":"mail/peek","arguments":{}}]"#).with(|w| {
        let tool = bundle::tool("peek", &["read", "egress"], r#"{"x":{"type":"string"}}"#);
        w.parts.manifests[2] = bundle::manifest("mail", vec![tool]);
    });
    check(vec![
        (
            "named by nobody",
            world.clone().call("mail/peek", r#"{"x":"a"}"#),
            deny(&["argument_out_of_bounds"]),
        ),
        ("absent", world.call("mail/peek", r#"{"x":""}"#), pass()),
    ]);
}

#[test]
fn names_in_a_sensitive_map_are_sensitive_also_for_reads() {
    let world = World::new(r#"[{"tool":"files/look"}]"#).with(|w| {
        let tool = bundle::tool(
            "look",
            &["read"],
            r#"{"by":{"type":"object","additionalProperties":{"type":["string","null"]}},
                "as":{"type":"object","additionalProperties":{"type":["string","null"]}}}"#,
        );
        let tool = bundle::rule(tool, "by", &["sensitive"]);
        w.parts.manifests[1] =
            bundle::manifest("files", vec![bundle::rule(tool, "as/@keys", &["sensitive"])]);
    });
    check(vec![
        (
            "a name below a sensitive map",
            world.clone().call("files/look", r#"{"by":{"data":null}}"#),
            deny(&["argument_out_of_bounds"]),
        ),
        (
            "a sensitive name",
            world.clone().call("files/look", r#"{"as":{"data":"x"}}"#),
            deny(&["argument_out_of_bounds"]),
        ),
        ("no name", world.call("files/look", r#"{"by":{},"as":{}}"#), pass()),
    ]);
}

#[test]
fn the_deepest_path_speaks_for_a_leaf() {
    write(
        r#"{"path":{},"tags":{"max":1},"tags/0":{"max":10},"tags/*":{"max":5},"tags/*/*":{"max":2},"tags/*/0":{"max":3}}"#,
        &[
            (r#"{"tags":[10]}"#, true),
            (r#"{"tags":[11]}"#, false),
            (r#"{"tags":[1,5]}"#, true),
            (r#"{"tags":[1,6]}"#, false),
            (r#"{"tags":[[3,2]]}"#, true),
            (r#"{"tags":[[2,3]]}"#, false),
            (r#"{"tags":[1,[3,2]]}"#, true),
            (r#"{"tags":[[[3]]]}"#, true),
            (r#"{"tags":[[[4]]]}"#, false),
        ],
    );
    // A path that names the leaf is deeper than one that names a container of it, however it is written.
    write(
        r#"{"options":{},"**/secret":{"in":["a"]}}"#,
        &[
            (r#"{"options":{"deep":1}}"#, true),
            (r#"{"options":{"secret":"a"}}"#, true),
            (r#"{"options":{"secret":"b"}}"#, false),
        ],
    );
    write(
        r#"{"**":{"equals":"x"},"mode":{"max":7}}"#,
        &[
            (r#"{"mode":7,"path":"x"}"#, true),
            (r#"{"mode":8,"path":"x"}"#, false),
            (r#"{"mode":7,"path":"y"}"#, false),
            (r#"{}"#, true),
        ],
    );
    // Of two that are equally deep both must hold, in whatever order they stand.
    write(
        r#"{"**/box/**/leaf":{"in":["a","b"]},"**/inner/**/leaf":{"in":["b","c"]}}"#,
        &[
            (r#"{"options":{"box":{"inner":{"leaf":"b"}}}}"#, true),
            (r#"{"options":{"box":{"inner":{"leaf":"a"}}}}"#, false),
            (r#"{"options":{"box":{"inner":{"leaf":"c"}}}}"#, false),
        ],
    );
}

#[test]
fn a_container_keeps_its_own_bounds_beside_those_of_its_leaves() {
    calls(
        "mail/send",
        r#"{"to":{"max_items":2},"to/*":{"domain_in":["example.com"]}}"#,
        &[
            (r#"{"to":["a@example.com","b@mail.example.com"]}"#, true),
            (r#"{"to":["a@example.com","b@example.com","c@example.com"]}"#, false),
            (r#"{"to":["a@example.com","b@example.org"]}"#, false),
            (r#"{"to":[]}"#, true),
            (r#"{}"#, true),
        ],
    );
    calls(
        "mail/send",
        r#"{"to":{"required":true,"domain_in":["example.com"]}}"#,
        &[(r#"{"to":["a@example.com"]}"#, true), (r#"{}"#, false)],
    );
    write(
        r#"{"meta/@keys":{"in":["a"],"required":true},"meta":{}}"#,
        &[(r#"{"meta":{"a":"x"}}"#, true), (r#"{"meta":{}}"#, false), (r#"{}"#, false)],
    );
    // Bounds of the whole value hold for the arguments as a whole.
    write(
        r#"{"":{"max_items":1},"mode":{},"path":{}}"#,
        &[(r#"{"mode":1}"#, true), (r#"{"mode":1,"path":"/a"}"#, false)],
    );
    write(
        r#"{"":{"equals":{"mode":1}}}"#,
        &[
            (r#"{"mode":1}"#, true),
            (r#"{"mode":1.0}"#, true),
            (r#"{"mode":2}"#, false),
            (r#"{}"#, false),
            (r#"{"mode":1,"path":"/a"}"#, false),
        ],
    );
    write(r#"{"":{"absent":true}}"#, &[(r#"{}"#, true), (r#"{"mode":1}"#, false)]);
}

#[test]
fn equality_with_a_container_holds_for_the_whole_of_it() {
    write(
        r#"{"tags":{"equals":["a",1]}}"#,
        &[
            (r#"{"tags":["a",1.0]}"#, true),
            (r#"{"tags":["a"]}"#, false),
            (r#"{"tags":[1,"a"]}"#, false),
            (r#"{"tags":["a",1,null]}"#, false),
            (r#"{"tags":[]}"#, false),
            (r#"{"tags":[["a",1]]}"#, false),
        ],
    );
    write(
        r#"{"options":{"equals":{"deep":5}},"options/deep":{"max":3}}"#,
        &[(r#"{"options":{"deep":5}}"#, false), (r#"{"options":{"deep":3}}"#, false)],
    );
    write(
        r#"{"options":{"equals":{"deep":2}},"options/deep":{"max":3}}"#,
        &[(r#"{"options":{"deep":2}}"#, true), (r#"{"options":{"deep":3}}"#, false)],
    );
    write(
        r#"{"tags":{"in":["a","b"]}}"#,
        &[(r#"{"tags":["a","b","a"]}"#, true), (r#"{"tags":["a","c"]}"#, false)],
    );
    write(
        r#"{"tags":{"in":[["a"],[]]}}"#,
        &[
            (r#"{"tags":["a"]}"#, true),
            (r#"{"tags":[]}"#, true),
            (r#"{"tags":["a","a"]}"#, false),
            (r#"{"tags":[["a"]]}"#, false),
        ],
    );
}

#[test]
fn an_empty_or_null_value_that_bounds_cannot_judge_denies() {
    for bounds in [
        r#"{"equals":"a"}"#,
        r#"{"in":["a"]}"#,
        r#"{"min":1}"#,
        r#"{"max":1}"#,
        r#"{"prefix":"a"}"#,
        r#"{"glob":"a*"}"#,
        r#"{"matches":"a+"}"#,
        r#"{"within":["/a"]}"#,
        r#"{"host_in":["example.com"]}"#,
        r#"{"domain_in":["example.com"]}"#,
        r#"{"max_length":5}"#,
        r#"{"template":"a{x}","x":{}}"#,
    ] {
        write(
            &format!(r#"{{"tags":{bounds}}}"#),
            &[
                (r#"{}"#, true),
                (r#"{"tags":[]}"#, false),
                (r#"{"tags":[[]]}"#, false),
                (r#"{"tags":[{}]}"#, false),
                (r#"{"tags":[null]}"#, false),
            ],
        );
    }
    write(
        r#"{"tags":{}}"#,
        &[(r#"{"tags":[]}"#, true), (r#"{"tags":[null]}"#, true), (r#"{"tags":[[],{}]}"#, true)],
    );
    write(r#"{"tags":{"max_items":2}}"#, &[(r#"{"tags":[]}"#, true), (r#"{"tags":[1,2,3]}"#, false)]);
    write(
        r#"{"tags":{"absent":true}}"#,
        &[(r#"{"tags":[]}"#, true), (r#"{"tags":[null]}"#, false), (r#"{"tags":["x"]}"#, false)],
    );
    // A null member is absent, and bounds skip what is absent.
    calls(
        "bank/send_money",
        r#"{"recipient":{"equals":"X"},"subject":{"equals":"rent"}}"#,
        &[(r#"{"subject":null}"#, true), (r#"{"subject":"rent"}"#, true), (r#"{"subject":""}"#, false)],
    );
}

#[test]
fn a_numeric_name_is_no_index_where_the_schema_says_otherwise() {
    write(
        r#"{"open/0":{"equals":"a"},"open/@keys":{"in":["0"]}}"#,
        &[
            (r#"{"open":{"0":"a"}}"#, true),
            (r#"{"open":{"0":"b"}}"#, false),
            (r#"{"open":{"00":"a"}}"#, false),
            (r#"{"open":{"1":"a"}}"#, false),
        ],
    );
    write(r#"{"tags/0":{"equals":"a"}}"#, &[(r#"{"tags":["a"]}"#, true), (r#"{"tags":["a","a"]}"#, false)]);
}

#[test]
fn member_names_are_bounded_by_the_deepest_keys_path() {
    write(
        r#"{"**/@keys":{},"meta/@keys":{"in":["a"]},"meta":{},"open":{}}"#,
        &[(r#"{"meta":{"a":"x"}}"#, true), (r#"{"meta":{"b":"x"}}"#, false), (r#"{"open":{"b":"x"}}"#, true)],
    );
    write(r#"{"meta":{}}"#, &[(r#"{"meta":{"a":"x"}}"#, false), (r#"{"meta":{}}"#, true)]);
    write(
        r#"{"meta/@keys":{"max_length":2,"matches":"[a-z]+"},"meta/*":{"max_length":3}}"#,
        &[
            (r#"{"meta":{"ab":"abc"}}"#, true),
            (r#"{"meta":{"abc":"x"}}"#, false),
            (r#"{"meta":{"A":"x"}}"#, false),
            (r#"{"meta":{"":"x"}}"#, false),
            (r#"{"meta":{"a":"abcd"}}"#, false),
        ],
    );
}

#[test]
fn expressions_and_globs_are_anchored_at_both_ends() {
    write(
        r#"{"path":{"matches":"/a|/b"}}"#,
        &[
            (r#"{"path":"/a"}"#, true),
            (r#"{"path":"/b"}"#, true),
            (r#"{"path":"/ax"}"#, false),
            (r#"{"path":"x/b"}"#, false),
        ],
    );
    write(
        r#"{"content":{"matches":"(?m)^a$"}}"#,
        &[(r#"{"content":"a"}"#, true), (r#"{"content":"a\n"}"#, false), (r#"{"content":"a\nb"}"#, false)],
    );
    write(
        r#"{"content":{"glob":"*.txt"}}"#,
        &[
            (r#"{"content":"a.txt"}"#, true),
            (r#"{"content":"a.txt\n"}"#, false),
            (r#"{"content":"x/a.txt"}"#, false),
            (r#"{"content":"a.txt/../b"}"#, false),
        ],
    );
}

#[test]
fn numbers_are_compared_exactly_at_the_extremes() {
    calls(
        "bank/send_money",
        r#"{"amount":{"max":1200}}"#,
        &[
            (r#"{"amount":1200.00}"#, true),
            (r#"{"amount":1.2e3}"#, true),
            (r#"{"amount":-0}"#, true),
            (r#"{"amount":-0.0001}"#, false),
            (r#"{"amount":1200.000000000000000000001}"#, false),
            (r#"{"amount":1e308}"#, false),
            (r#"{"amount":1e-300}"#, false),
            (r#"{"amount":79228162514264337593543950335}"#, false),
            (r#"{"amount":1200.0000000000000000000000000000000000000000000000000000000000}"#, false),
        ],
    );
    calls(
        "bank/send_money",
        r#"{"amount":{"max":79228162514264337593543950335}}"#,
        &[
            (r#"{"amount":79228162514264337593543950335}"#, true),
            (r#"{"amount":79228162514264337593543950336}"#, false),
            (r#"{"amount":7.9e28}"#, true),
        ],
    );
}

#[test]
fn a_number_in_a_string_is_a_number_where_its_kind_says_so() {
    let world = |bounds: &str| {
        World::new(&format!(r#"[{{"tool":"bank/pay","arguments":{{"amount":{bounds}}}}}]"#)).with(|w| {
            let tool = bundle::tool("pay", &["pay"], r#"{"amount":{"type":"string"}}"#);
            w.parts.manifests[0] = bundle::manifest("bank", vec![bundle::rule(tool, "amount", &["number"])]);
        })
    };
    let out = || deny(&["argument_out_of_bounds"]);
    check(vec![
        ("within", world(r#"{"max":10}"#).call("bank/pay", r#"{"amount":"9.5"}"#), pass()),
        ("beyond", world(r#"{"max":10}"#).call("bank/pay", r#"{"amount":"11"}"#), out()),
        ("negative", world(r#"{"max":10}"#).call("bank/pay", r#"{"amount":"-1"}"#), out()),
        (
            "negative where min allows it",
            world(r#"{"min":-2,"max":10}"#).call("bank/pay", r#"{"amount":"-1"}"#),
            pass(),
        ),
        (
            "below a minimum in a string",
            world(r#"{"min":"-2","max":10}"#).call("bank/pay", r#"{"amount":"-3"}"#),
            out(),
        ),
        ("empty", world(r#"{"max":10}"#).call("bank/pay", r#"{"amount":""}"#), out()),
    ]);
}

#[test]
fn places_are_judged_in_their_plain_form() {
    calls(
        "files/delete",
        r#"{"path":{"within":["/tmp/a"]}}"#,
        &[
            (r#"{"path":"/tmp/a/b"}"#, true),
            (r#"{"path":"/tmp//a"}"#, true),
            (r#"{"path":"/tmp/ab"}"#, false),
            (r#"{"path":"/tmp"}"#, false),
            (r#"{"path":"tmp/a"}"#, false),
            (r#"{"path":""}"#, false),
        ],
    );
    calls(
        "mail/send",
        r#"{"link":{"host_in":["example.com"]}}"#,
        &[
            (r#"{"link":"https://example.com/a?b=https://evil.com"}"#, true),
            (r#"{"link":"example.com:8080/a"}"#, true),
            (r#"{"link":"https://a.example.com/"}"#, false),
            (r#"{"link":"https://evil.com/#example.com"}"#, false),
            (r#"{"link":"https://evil.com?@example.com"}"#, false),
            (r#"{"link":"evil.com/x://example.com"}"#, false),
        ],
    );
    calls(
        "mail/send",
        r#"{"body":{"domain_in":["example.com"]}}"#,
        &[
            (r#"{"body":"a@example.com"}"#, true),
            (r#"{"body":"https://x.example.com/y"}"#, true),
            (r#"{"body":"example.com"}"#, true),
            (r#"{"body":"a@evil.com,b@example.com"}"#, false),
            (r#"{"body":"evil.com/@example.com"}"#, false),
            (r#"{"body":"https://evil.com/a@example.com"}"#, false),
            (r#"{"body":"example.com/x"}"#, false),
            (r#"{"body":"xexample.com"}"#, false),
        ],
    );
}
