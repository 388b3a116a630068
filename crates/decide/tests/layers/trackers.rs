//! Trackers: what policies read of a window, and what a pass adds to it.

use std::time::Duration;

use warrantor_decide::{Charge, Decision};
use warrantor_model::tracker::{Per, Tracked, TrackedOutcome, Tracker};

use crate::common::{World, at, check, deny, explain, pass};

fn tracker(name: &str, what: Tracked, per: Per) -> Tracker {
    Tracker {
        name: name.into(),
        what,
        tools: Some(["bank/send_money".parse().unwrap()].into()),
        effects: None,
        outcome: None,
        window: Duration::from_secs(24 * 3600),
        per,
    }
}

const PAY: &str = r#"[{"tool":"bank/send_money","arguments":{"recipient":{"equals":"DE1"},"amount":{}}}]"#;
const LIMIT: &str = r#"@id("limit") forbid(principal, action == Action::"bank/send_money", resource)
    when { context.tracked.paid.greaterThan(decimal("100.0")) };"#;

fn world() -> World {
    World::new(PAY)
        .and_policies(LIMIT)
        .with(|w| {
            w.parts.trackers = vec![tracker("paid", Tracked::Sum("amount".parse().unwrap()), Per::Person)]
        })
        .call("bank/send_money", r#"{"recipient":"DE1","amount":12.5}"#)
}

/// The bucket so many hours before noon.
fn bucket(hours: i64) -> String {
    let hour = at(crate::common::NOON).as_micros().div_euclid(3_600_000_000) - hours;
    format!("tracker/paid/86400s/alice/{hour}")
}

#[test]
fn a_window_is_read_whole_and_what_left_it_is_not() {
    check(vec![
        ("nothing yet", world(), pass()),
        ("just enough", world().counter(&bucket(0), "100"), pass()),
        ("too much", world().counter(&bucket(0), "100.01"), deny(&["policy_forbids"])),
        (
            "over several hours",
            world().counter(&bucket(1), "60").counter(&bucket(20), "60"),
            deny(&["policy_forbids"]),
        ),
        ("at the edge it counts", world().counter(&bucket(24), "101"), deny(&["policy_forbids"])),
        ("beyond it does not", world().counter(&bucket(25), "101"), pass()),
        ("by a clock that is ahead", world().counter(&bucket(-1), "101"), deny(&["policy_forbids"])),
    ]);
}

#[test]
fn a_pass_adds_on_the_condition_that_nobody_added_meanwhile() {
    let decision = world().counter(&bucket(0), "40").decide();
    let Decision::Pass(draft) = &decision else { panic!("{}", explain(&decision)) };
    let number = |text: &str| text.parse().unwrap();
    let expected = [
        Charge::Add { counter: bucket(0), amount: number("12.5"), at_most: Some(number("52.5")) },
        Charge::Add { counter: bucket(-1), amount: number("0"), at_most: Some(number("0")) },
    ];
    for charge in expected {
        assert!(draft.charges().contains(&charge), "{charge:?} in {:?}", draft.charges());
    }
    assert_eq!(decision.grounds().tracked, [("paid".to_owned(), number("40"))]);
}

#[test]
fn a_tracker_that_no_policy_reads_is_added_to_without_a_condition() {
    let decision = world().policies("permit(principal, action, resource);").decide();
    let Decision::Pass(draft) = &decision else { panic!("{}", explain(&decision)) };
    let [Charge::Add { counter, at_most: None, .. }] = draft.charges() else {
        panic!("{:?}", draft.charges())
    };
    assert_eq!(*counter, bucket(0));
}

#[test]
fn outcomes_are_counted_when_they_are_known() {
    let failing =
        Tracker { outcome: Some(TrackedOutcome::Error), ..tracker("failed", Tracked::Count, Per::Task) };
    let decision = world().with(|w| w.parts.trackers.push(failing)).decide();
    let Decision::Pass(draft) = &decision else { panic!("{}", explain(&decision)) };
    let [tracking] = draft.tracking() else { panic!("{:?}", draft.tracking()) };
    assert_eq!(tracking.outcome, TrackedOutcome::Error);
}

#[test]
fn a_number_that_cannot_be_added_up_denies() {
    let amount = |literal: &str| format!(r#"{{"recipient":"DE1","amount":{literal}}}"#);
    let huge = format!("1{}", "0".repeat(40));
    check(vec![(
        "too many digits",
        world().call("bank/send_money", &amount(&huge)),
        deny(&["facts_unavailable", "policy_error"]),
    )]);
}
