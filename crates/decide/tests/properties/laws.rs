//! The laws of the decision, over generated mandates, policies and calls.

use std::collections::{BTreeMap, BTreeSet};

use proptest::{collection::vec, prelude::*, sample::select};
use warrantor_decide::{Charge, Decision, Facts, Hop, Presence, Snapshot, TaskState, decide, listed};
use warrantor_model::{Decimal, Json, MandateKind, Standing, Terms};

use crate::{
    common::{self, at, call, explain, outcome},
    naive::{self, Past, Said},
    specs::{self, Spec, Step},
};

fn facts() -> Facts {
    Facts { standing: Standing::default(), last_record_at: at(common::NOON), approval: None }
}

/// A store as a test has it: what was charged, and nothing else.
#[derive(Default, Clone)]
struct Kept {
    counters: BTreeMap<String, Decimal>,
    members: BTreeSet<String>,
    calls: u64,
}

impl Kept {
    fn decide(&self, snapshot: &Snapshot, chain: &[Hop], step: &Step) -> Decision {
        let mut presented = call(&format!("lab/{}", step.tool), "{}");
        presented.arguments = step.arguments.clone();
        presented.mandate = chain.last().unwrap().mandate.id.clone();
        let now = at(common::NOON);
        let wanted = snapshot.wanted(chain, &presented, now);
        let task = TaskState {
            calls: self.calls,
            counters: wanted
                .counters
                .into_iter()
                .map(|key| (key.clone(), self.counters.get(&key).copied().unwrap_or_default()))
                .collect(),
            members: wanted.members.intersection(&self.members).cloned().collect(),
            ..TaskState::begun(chain.to_vec(), now)
        };
        decide(snapshot, &task, &facts(), &presented, at(common::NOON))
    }

    fn commit(&mut self, decision: &Decision) {
        let Decision::Pass(draft) = decision else { return };
        for charge in draft.charges() {
            match charge {
                Charge::Add { counter, amount, .. } => {
                    *self.counters.entry(counter.clone()).or_default() += *amount
                }
                Charge::Distinct { member, counter, at_most } => {
                    if self.members.insert(member.clone()) {
                        let stands = self.counters.entry(counter.clone()).or_default();
                        *stands += Decimal::ONE;
                        assert!(at_most.is_none_or(|most| *stands <= most), "{charge:?} broke its bound");
                    }
                }
                Charge::Unique { member, .. } => {
                    assert!(self.members.insert(member.clone()), "{charge:?} was there");
                }
            }
        }
        self.members.extend(draft.markers().iter().cloned());
        self.calls += 1;
    }
}

fn said(decision: &Decision) -> Said {
    match decision {
        Decision::Pass(draft) => Said::Pass(draft.grounds().grants.iter().map(|g| g.unwrap()).collect()),
        Decision::Ask(question, _) => Said::Ask(question.question.asked.iter().cloned().collect()),
        Decision::Deny(..) => Said::Deny,
    }
}

/// How far a decision lets a call: never further by narrowing.
fn rank(decision: &Decision) -> u8 {
    match decision {
        Decision::Pass(_) => 2,
        Decision::Ask(..) => 1,
        Decision::Deny(..) => 0,
    }
}

/// One way to narrow.
#[derive(Debug, Clone)]
enum Narrowing {
    Bound { pick: usize, max: bool },
    Limit { pick: usize, whole: bool },
    Drop { pick: usize },
    Ask { pick: usize },
    Forbid(u8),
    Hop(Box<Terms>),
    Depose,
}

fn narrowing() -> impl Strategy<Value = Narrowing> {
    prop_oneof![
        3 => (any::<usize>(), any::<bool>()).prop_map(|(pick, max)| Narrowing::Bound { pick, max }),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(pick, whole)| Narrowing::Limit { pick, whole }),
        2 => any::<usize>().prop_map(|pick| Narrowing::Drop { pick }),
        1 => any::<usize>().prop_map(|pick| Narrowing::Ask { pick }),
        2 => (0..5u8).prop_map(Narrowing::Forbid),
        2 => specs::terms().prop_map(|terms| Narrowing::Hop(Box::new(terms))),
        1 => Just(Narrowing::Depose),
    ]
}

/// The narrowed chain and forbids, and whether the permit is still there.
fn narrowed(spec: &Spec, how: &Narrowing) -> (Vec<Terms>, u8, bool) {
    let (mut hops, mut forbids, mut permit) = (spec.hops.clone(), spec.forbids, true);
    let grants: usize = hops.iter().map(|terms| terms.grants.len()).sum();
    let grant =
        |hops: &mut Vec<Terms>, pick: usize, change: &dyn Fn(&mut Vec<warrantor_model::Grant>, usize)| {
            let mut at = pick.checked_rem(grants).unwrap_or_default();
            for terms in hops {
                if at < terms.grants.len() {
                    return change(&mut terms.grants, at);
                }
                at -= terms.grants.len();
            }
        };
    match how {
        Narrowing::Bound { pick, max } => grant(&mut hops, *pick, &|grants, at| {
            for (_, bounds) in &mut grants[at].arguments {
                match max {
                    true if bounds.max.is_none() => bounds.max = Some(common::json("2")),
                    _ => {
                        bounds.required = true;
                        bounds.max_items = Some(bounds.max_items.unwrap_or(1).min(1));
                    }
                }
            }
        }),
        Narrowing::Limit { pick, whole: true } => {
            let at = pick % hops.len();
            hops[at].limits.calls = Some(hops[at].limits.calls.unwrap_or(1).min(1));
        }
        Narrowing::Limit { pick, whole: false } => grant(&mut hops, *pick, &|grants, at| {
            grants[at].limits.calls = Some(0);
            grants[at].limits.sum.values_mut().for_each(|most| *most = Decimal::ZERO);
        }),
        Narrowing::Drop { pick } => grant(&mut hops, *pick, &|grants, at| drop(grants.remove(at))),
        Narrowing::Ask { pick } => grant(&mut hops, *pick, &|grants, at| {
            grants[at].ask.get_or_insert(warrantor_model::Asked::Person);
        }),
        Narrowing::Forbid(nth) => forbids |= 1 << nth,
        Narrowing::Hop(terms) => {
            // Policies judge the agent that acts; a hop of another agent is another call.
            let agent = hops.last().unwrap().agent.clone();
            hops.push(Terms { agent, ..(**terms).clone() });
        }
        Narrowing::Depose => permit = false,
    }
    (hops, forbids, permit)
}

/// Any JSON, with names and texts that try to be something else.
fn anything() -> impl Strategy<Value = Json> {
    let text = prop_oneof![
        "\\PC{0,12}",
        ".{0,6}",
        select(vec![
            "",
            "0",
            "path",
            "to",
            "a",
            "meta",
            "..",
            "/srv/../x",
            "a@b.c",
            "https://x@y",
            "2026-02-30",
            "~0",
            "@keys",
            "*",
            "**",
            "\u{0}",
            "\u{200b}",
            "\u{1d173}",
            "%2e%2e",
            "\u{202e}",
            "xn--",
            "1e999",
        ])
        .prop_map(str::to_owned),
    ];
    let number = select(vec![
        "0",
        "-0",
        "1",
        "1e400",
        "-1e-400",
        "0.00001",
        "79228162514264337593543950336",
        "1e28",
        "1E+2",
    ])
    .prop_map(|n| Json::Number(n.into()));
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        number,
        text.clone().prop_map(Json::String),
    ];
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let names = select(vec![
            "path",
            "to",
            "a",
            "b",
            "c",
            "meta",
            "open",
            "options",
            "tags",
            "recipient",
            "amount",
            "payments",
            "iban",
            "0",
            "",
        ])
        .prop_map(str::to_owned);
        let name = prop_oneof![3 => names, 1 => text.clone()];
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Json::Array),
            proptest::collection::btree_map(name, inner, 0..6)
                .prop_map(|m| Json::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 768, ..ProptestConfig::default() })]

    #[test]
    fn a_run_comes_out_as_the_naive_model_says(spec in specs::spec()) {
        let snapshot = specs::snapshot(spec.forbids, true);
        let chain = spec.chain(&snapshot);
        let mut kept = Kept::default();
        let mut history: Vec<Past> = Vec::new();
        for step in &spec.steps {
            let decision = kept.decide(&snapshot, &chain, step);
            let expected = naive::decide(&spec.hops, spec.forbids, &history, step);
            prop_assert_eq!(said(&decision), expected.clone(), "{} {}\n{}", step.tool, step.arguments, explain(&decision));
            kept.commit(&decision);
            if let Said::Pass(winners) = expected {
                history.push(Past { step: step.clone(), winners });
            }
        }
    }

    #[test]
    fn narrowing_never_widens(spec in specs::spec(), how in narrowing()) {
        let (hops, forbids, permit) = narrowed(&spec, &how);
        let (wide, narrow) = (specs::snapshot(spec.forbids, true), specs::snapshot(forbids, permit));
        let (wide_chain, narrow_chain) = (spec.chain(&wide), specs::chain(&narrow, &hops));
        for step in &spec.steps {
            let before = Kept::default().decide(&wide, &wide_chain, step);
            let after = Kept::default().decide(&narrow, &narrow_chain, step);
            prop_assert!(
                rank(&after) <= rank(&before),
                "{how:?} let {} {} through\nbefore: {}\nafter: {}", step.tool, step.arguments, explain(&before), explain(&after)
            );
        }
    }

    #[test]
    fn the_same_inputs_give_the_same_answer(spec in specs::spec()) {
        let snapshot = specs::snapshot(spec.forbids, true);
        let chain = spec.chain(&snapshot);
        for step in &spec.steps {
            let first = Kept::default().decide(&snapshot, &chain, step);
            let second = Kept::default().decide(&snapshot, &chain, step);
            prop_assert_eq!(format!("{first:?}"), format!("{second:?}"));
        }
    }

    #[test]
    fn what_is_not_listed_is_denied(spec in specs::spec(), permit in proptest::bool::weighted(0.9), standing in any::<bool>()) {
        let snapshot = specs::snapshot(spec.forbids, permit);
        let mut hops = spec.hops.clone();
        if standing {
            hops.iter_mut().for_each(|terms| terms.kind = MandateKind::Standing);
        }
        let chain = specs::chain(&snapshot, &hops);
        let step = &spec.steps[0];
        let presented = call(&format!("lab/{}", step.tool), "{}");
        let task = TaskState::begun(chain.clone(), at(common::NOON));
        let presence = Presence { server: "lab".parse().unwrap(), evidence: presented.evidence };
        let shown = listed(&snapshot, &task, &facts(), &presence, at(common::NOON));
        for step in spec.steps.iter().filter(|step| !shown.iter().any(|tool| tool.as_str() == step.tool)) {
            let decision = Kept::default().decide(&snapshot, &chain, step);
            prop_assert!(rank(&decision) == 0, "{} {} is not listed: {}", step.tool, step.arguments, explain(&decision));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_the_parts_does_not_matter(spec in specs::spec(), turn in 1usize..4) {
        let mut parts = specs::lab();
        parts.policies = specs::sources(spec.forbids, true);
        parts.people.rotate_left(turn % 3);
        parts.agents.rotate_left(turn % 4);
        let shift = turn % parts.policies.len();
        parts.policies.rotate_left(shift);
        parts.manifests.reverse();
        let turned = Snapshot::build(parts).unwrap().snapshot;
        let plain = specs::snapshot(spec.forbids, true);
        for step in &spec.steps {
            let a = Kept::default().decide(&plain, &spec.chain(&plain), step);
            let b = Kept::default().decide(&turned, &spec.chain(&turned), step);
            prop_assert_eq!(outcome(&a), outcome(&b));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn no_arguments_make_a_decision_panic(
        arguments in anything(),
        tool in select(vec!["files/read", "files/write", "files/delete", "mail/send", "mail/create_event", "bank/send_money", "bank/batch", "bank/list_payees", "x/y"]),
        paths in vec(select(vec!["**", "*", "to/*", "meta/@keys", "**/@keys", "path", "a/b", "open/**"]), 0..4),
    ) {
        thread_local! {
            static SNAPSHOT: Snapshot = Snapshot::build(common::parts()).unwrap().snapshot;
        }
        SNAPSHOT.with(|snapshot| {
            let paths: BTreeSet<&str> = paths.into_iter().collect();
            let named: Vec<String> = paths.iter().map(|path| format!(r#""{path}":{{"max_items":3,"in":["a",1,[],"0"]}}"#)).collect();
            let text = format!(r#"{{"grants":[{{"effects":["read","write","egress","pay","destroy"],"servers":["files","mail","bank"],
                "arguments":{{{}}},"limits":{{"calls":1,"sum":{{"amount":5}},"distinct":{{"**":3}},"unique":["*"]}}}}]}}"#, named.join(","));
            let Ok(compiled) = snapshot.compile(common::terms(&common::json(&text))) else { return Ok(()) };
            let mut world = common::World::new("[]");
            world.call = call(tool, "{}");
            world.call.arguments = arguments.clone();
            let mut task = world.task(snapshot);
            task.chain[0].mandate.terms = std::sync::Arc::clone(compiled.terms());
            task.chain[0].terms = std::sync::Arc::new(compiled);
            let wanted = snapshot.wanted(&task.chain, &world.call, world.now);
            task.counters = wanted.counters.into_iter().map(|key| (key, Decimal::ZERO)).collect();
            let decision = decide(snapshot, &task, &world.facts, &world.call, world.now);
            if arguments.as_object().is_none() {
                prop_assert_eq!(rank(&decision), 0, "{} was taken", arguments);
            }
            Ok(())
        })?;
    }
}

/// A law over calls that are all denied would say nothing.
#[test]
fn the_generated_calls_pass_ask_and_are_denied() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut counts = [0u32; 3];
    for _ in 0..300 {
        let spec = specs::spec().new_tree(&mut runner).unwrap().current();
        let snapshot = specs::snapshot(spec.forbids, true);
        let chain = spec.chain(&snapshot);
        let mut kept = Kept::default();
        for step in &spec.steps {
            let decision = kept.decide(&snapshot, &chain, step);
            counts[usize::from(rank(&decision))] += 1;
            kept.commit(&decision);
        }
    }
    let [denied, asked, passed] = counts;
    assert!(denied > 100 && asked > 60 && passed > 100, "{denied} denied, {asked} asked, {passed} passed");
}
