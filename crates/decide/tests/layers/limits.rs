//! Layer 4, limits and order: calls, sums, different and unique values, per grant and per mandate, over chains; and `after`.

use crate::common::{World, bundle, check, check_run, deny, pass};

fn reached() -> crate::common::Expect {
    deny(&["limit_reached"])
}

#[test]
fn calls_are_counted_by_grant_and_by_mandate() {
    let grants = r#"[{"tool":"files/read","limits":{"calls":2}},{"effects":["read"],"servers":["mail"]}]"#;
    let world =
        World::new("[]").hops(&[&format!(r#"{{"id":"root","limits":{{"calls":3}},"grants":{grants}}}"#)]);
    check_run(
        "calls",
        world,
        &[
            ("files/read", "{}", pass()),
            ("files/read", "{}", pass()),
            ("files/read", "{}", reached()),
            ("mail/list", "{}", pass()),
            ("mail/list", "{}", reached()),
        ],
    );
    let none = World::new(r#"[{"tool":"files/read","limits":{"calls":0}}]"#);
    check_run("no calls", none, &[("files/read", "{}", reached())]);
}

#[test]
fn a_sum_is_exact_and_takes_numbers_only() {
    let grants = r#"[{"tool":"bank/send_money","arguments":{"amount":{}},"limits":{"sum":{"amount":100}}}]"#;
    check_run(
        "sum",
        World::new(grants),
        &[
            ("bank/send_money", r#"{"amount":33.33}"#, pass()),
            ("bank/send_money", r#"{"amount":66.67000001}"#, reached()),
            ("bank/send_money", r#"{"amount":66.67}"#, pass()),
            ("bank/send_money", r#"{"amount":0.00000000000000000000000001}"#, reached()),
            ("bank/send_money", r#"{"amount":0}"#, pass()),
            ("bank/send_money", r#"{}"#, pass()),
            ("bank/send_money", r#"{"amount":-1}"#, deny(&["argument_out_of_bounds"])),
            ("bank/send_money", r#"{"amount":1e60}"#, deny(&["argument_out_of_bounds"])),
        ],
    );
    let mandate = r#"{"id":"root","limits":{"sum":{"payments/*/amount":10}},"grants":[{"tool":"bank/batch","arguments":{"payments":{}}}]}"#;
    check_run(
        "sum over elements",
        World::new("[]").hops(&[mandate]),
        &[
            ("bank/batch", r#"{"payments":[{"amount":4},{"amount":7}]}"#, reached()),
            ("bank/batch", r#"{"payments":[{"amount":4},{"amount":6}]}"#, pass()),
            ("bank/batch", r#"{"payments":[{"amount":-4},{"amount":4}]}"#, deny(&["argument_out_of_bounds"])),
        ],
    );
    let text = World::new(
        r#"[{"tool":"bank/pay","arguments":{"amount":{}},"limits":{"sum":{"amount":10}}}]"#,
    )
    .with(|w| {
        let tool = bundle::tool("pay", &["pay"], r#"{"amount":{"type":"string"}}"#);
        w.parts.manifests[0] = bundle::manifest("bank", vec![tool]);
    });
    check_run(
        "a sum of strings",
        text,
        &[("bank/pay", r#"{"amount":"5"}"#, deny(&["argument_out_of_bounds"]))],
    );
}

#[test]
fn different_values_are_counted_also_within_one_call() {
    let grants = r#"[{"tool":"mail/send","arguments":{"to":{}},"limits":{"distinct":{"to/*":2}}}]"#;
    check_run(
        "distinct",
        World::new(grants),
        &[
            ("mail/send", r#"{"to":["a@x.com","b@x.com","c@x.com"]}"#, reached()),
            ("mail/send", r#"{"to":["a@x.com"]}"#, pass()),
            ("mail/send", r#"{"to":["b@x.com","c@x.com"]}"#, reached()),
            ("mail/send", r#"{"to":["b@x.com","a@x.com","b@x.com"]}"#, pass()),
            ("mail/send", r#"{"to":["A@X.com","b@x.com"]}"#, pass()),
            ("mail/send", r#"{"to":["c@x.com"]}"#, reached()),
            ("mail/send", r#"{"to":[]}"#, pass()),
        ],
    );
    check_run(
        "distinct numbers",
        World::new(
            r#"[{"tool":"bank/send_money","arguments":{"amount":{}},"limits":{"distinct":{"amount":1}}}]"#,
        ),
        &[
            ("bank/send_money", r#"{"amount":5}"#, pass()),
            ("bank/send_money", r#"{"amount":5.00}"#, pass()),
            ("bank/send_money", r#"{"amount":50e-1}"#, pass()),
            ("bank/send_money", r#"{"amount":5.01}"#, reached()),
        ],
    );
    check_run(
        "distinct names",
        World::new(
            r#"[{"tool":"files/write","arguments":{"meta":{},"meta/@keys":{}},"limits":{"distinct":{"meta/@keys":1}}}]"#,
        ),
        &[
            ("files/write", r#"{"meta":{"a":"x","b":"x"}}"#, reached()),
            ("files/write", r#"{"meta":{"a":"x"}}"#, pass()),
            ("files/write", r#"{"meta":{"b":"x"}}"#, reached()),
        ],
    );
}

#[test]
fn a_unique_value_is_used_once_in_any_spelling() {
    let grants =
        r#"[{"tool":"mail/send","arguments":{"to":{},"subject":{}},"limits":{"unique":["to/*","subject"]}}]"#;
    check_run(
        "unique",
        World::new(grants),
        &[
            ("mail/send", r#"{"to":["a@x.com"],"subject":"1"}"#, pass()),
            ("mail/send", r#"{"to":["a@x.com"],"subject":"2"}"#, reached()),
            ("mail/send", r#"{"to":["A@X.COM"],"subject":"3"}"#, reached()),
            ("mail/send", r#"{"to":["b@x.com"],"subject":"1"}"#, reached()),
            ("mail/send", r#"{"to":["b@x.com","a@x.com"],"subject":"4"}"#, reached()),
            ("mail/send", r#"{"to":["b@x.com"],"subject":"a@x.com"}"#, pass()),
            ("mail/send", r#"{"to":[]}"#, pass()),
        ],
    );
    check_run(
        "twice in one call",
        World::new(grants),
        &[
            ("mail/send", r#"{"to":["a@x.com","A@x.com"]}"#, deny(&["argument_out_of_bounds"])),
            ("mail/send", r#"{"to":["a@x.com","b@x.com"]}"#, pass()),
        ],
    );
    let numbers = r#"[{"tool":"bank/send_money","arguments":{"amount":{},"recipient":{"in":["DE 89","X"]}},
        "limits":{"unique":["amount","recipient"]}}]"#;
    check_run(
        "unique numbers and accounts",
        World::new(numbers),
        &[
            ("bank/send_money", r#"{"amount":1.50}"#, pass()),
            ("bank/send_money", r#"{"amount":1.5}"#, reached()),
            ("bank/send_money", r#"{"amount":15e-1}"#, reached()),
            (
                "bank/send_money",
                r#"{"amount":0.123456789012345678901234567890123}"#,
                deny(&["argument_out_of_bounds"]),
            ),
            ("bank/send_money", r#"{"recipient":"de-89"}"#, pass()),
            ("bank/send_money", r#"{"recipient":"DE89"}"#, reached()),
        ],
    );
}

#[test]
fn what_a_hop_below_does_counts_against_every_hop_above() {
    let world = World::new("[]").hops(&[
        r#"{"id":"root","depth":2,"limits":{"calls":3},"grants":[{"tool":"files/read"}]}"#,
        r#"{"id":"sub","depth":1,"grants":[{"tool":"files/read","limits":{"calls":2}}]}"#,
        r#"{"id":"subsub","grants":[{"tool":"files/read"}]}"#,
    ]);
    check_run(
        "over three hops",
        world.clone(),
        &[("files/read", "{}", pass()), ("files/read", "{}", pass()), ("files/read", "{}", reached())],
    );
    check_run(
        "the root's is nearly used up",
        world.counter("limit/m0/calls", "2"),
        &[("files/read", "{}", pass()), ("files/read", "{}", reached())],
    );
}

#[test]
fn the_winning_grant_alone_is_charged() {
    let grants = r#"[
        {"tool":"bank/send_money","arguments":{"amount":{"max":10}},"limits":{"calls":1}},
        {"tool":"bank/send_money","arguments":{"amount":{"max":100}},"limits":{"calls":1}},
        {"tool":"bank/send_money","arguments":{"amount":{"max":100}},"ask":"person"}]"#;
    check_run(
        "in the order of the file, then the next that passes, then one that asks",
        World::new(grants),
        &[
            ("bank/send_money", r#"{"amount":5}"#, pass()),
            ("bank/send_money", r#"{"amount":50}"#, pass()),
            ("bank/send_money", r#"{"amount":5}"#, crate::common::ask(&["person:alice"])),
            ("bank/send_money", r#"{"amount":500}"#, deny(&["approval_required", "argument_out_of_bounds"])),
        ],
    );
    let winner = |arguments: &str| {
        World::new(grants).call("bank/send_money", arguments).decide().grounds().grants.clone()
    };
    assert_eq!(winner(r#"{"amount":5}"#), [Some(0)]);
    assert_eq!(winner(r#"{"amount":50}"#), [Some(1)]);
}

#[test]
fn grants_are_judged_whole_and_never_mixed() {
    let grants = r#"[
        {"tool":"mail/send","arguments":{"to":{"domain_in":["a.com"]},"subject":{"in":["x"]}}},
        {"tool":"mail/send","arguments":{"to":{"domain_in":["b.com"]},"subject":{"in":["y"]}}}]"#;
    let world = |arguments: &str| World::new(grants).call("mail/send", arguments);
    let out = || deny(&["argument_out_of_bounds"]);
    check(vec![
        ("the first", world(r#"{"to":["q@a.com"],"subject":"x"}"#), pass()),
        ("the second", world(r#"{"to":["q@b.com"],"subject":"y"}"#), pass()),
        ("half of each", world(r#"{"to":["q@a.com"],"subject":"y"}"#), out()),
        ("both at once", world(r#"{"to":["q@a.com","q@b.com"],"subject":"x"}"#), out()),
    ]);
}

#[test]
fn a_grant_waits_for_the_calls_it_comes_after() {
    let grants = r#"[{"tool":"files/read","arguments":{"path":{}}},{"tool":"mail/list"},
        {"tool":"files/delete","arguments":{"path":{}},"after":[
            {"tool":"files/read","arguments":{"path":"/a"}},{"tool":"mail/list"}]}]"#;
    check_run(
        "after",
        World::new(grants),
        &[
            ("files/delete", r#"{"path":"/a"}"#, deny(&["not_yet"])),
            ("files/read", r#"{"path":"/b"}"#, pass()),
            ("files/delete", r#"{"path":"/a"}"#, deny(&["not_yet"])),
            ("files/read", r#"{"path":"/a"}"#, pass()),
            ("files/delete", r#"{"path":"/a"}"#, deny(&["not_yet"])),
            ("mail/list", "{}", pass()),
            ("files/delete", r#"{"path":"/a"}"#, pass()),
        ],
    );
}

#[test]
fn a_counter_that_was_not_read_denies() {
    let world = World::new(
        r#"[{"tool":"mail/send","arguments":{"to":{}},"limits":{"calls":1,"distinct":{"to/*":1}}}]"#,
    )
    .call("mail/send", r#"{"to":["a@x.com"]}"#);
    let snapshot = world.snapshot();
    let mut task = world.task(&snapshot);
    task.counters.clear();
    let decision = warrantor_decide::decide(&snapshot, &task, &world.facts, &world.call, world.now);
    assert_eq!(crate::common::outcome(&decision), deny(&["decision_unavailable"]));
}
