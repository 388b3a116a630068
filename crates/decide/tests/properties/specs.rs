//! Generated mandates, policies and calls over one small server with four tools.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc, sync::Arc};

use proptest::{collection::vec, option, prelude::*, sample::select, strategy::Union};
use warrantor_decide::{Hop, PolicySource, Snapshot};
use warrantor_model::{
    Asked, Bounds, Digest, EffectSet, Grant, Json, Limits, Mandate, Match, Path, Terms, mandate::Earlier,
};

use crate::common::{self, at, bundle, json};

/// `c` is free, an empty `b` acts; `both` has an effect more when `a` is there.
pub fn lab() -> warrantor_decide::Parts {
    let schema = r#"{"a":{"items":{"items":{}},"properties":{"b":{},"0":{}}},"b":{},"c":{}}"#;
    let tool = |name: &str, does: &[&str]| {
        let tool = bundle::tool(name, does, schema);
        bundle::rule(bundle::rule(tool, "b", &["acts"]), "c", &["free"])
    };
    let mut parts = bundle::parts();
    parts.manifests = vec![bundle::manifest(
        "lab",
        vec![
            tool("look", &["read"]),
            tool("change", &["write"]),
            bundle::when(tool("both", &["write"]), "a", &["egress"]),
            tool("pay", &["pay", "write"]),
        ],
    )];
    for (nth, agent) in parts.agents.iter_mut().enumerate() {
        agent.ceiling.servers = bundle::servers(&["lab"]);
        if nth == 3 {
            agent.ceiling.effects = common::effects(&["read", "write"]);
        }
    }
    parts
}

pub const TOOLS: [&str; 4] = ["look", "change", "both", "pay"];
/// Bot, helper and clerk may do everything, reader may read and write.
pub const AGENTS: [&str; 4] = ["bot", "helper", "clerk", "reader"];
pub const PATHS: [&str; 11] = ["a", "b", "c", "*", "**", "a/*", "a/0", "a/b", "**/b", "a/*/*", "*/0"];

/// Policies beside the one that permits, by number: who, what, and the group that is asked.
pub struct Forbid {
    pub agent: bool,
    pub person: bool,
    /// The tools it speaks of; for `both`, whether only with its further effect.
    pub tools: &'static [&'static str],
    pub only_egress: bool,
    pub ask: Option<&'static str>,
    text: &'static str,
}

pub const FORBIDS: [Forbid; 5] = [
    Forbid {
        agent: true,
        person: true,
        tools: &["look"],
        only_egress: false,
        ask: None,
        text: "forbid(principal, action == Action::\"lab/look\", resource);",
    },
    Forbid {
        agent: false,
        person: true,
        tools: &["pay"],
        only_egress: false,
        ask: None,
        text: "forbid(principal in Group::\"finance\", action in Action::\"effect:pay\", resource);",
    },
    Forbid {
        agent: true,
        person: false,
        tools: &["both"],
        only_egress: true,
        ask: None,
        text: "forbid(principal is Agent, action in Action::\"effect:egress\", resource);",
    },
    Forbid {
        agent: true,
        person: true,
        tools: &["change", "both", "pay"],
        only_egress: false,
        ask: Some("finance"),
        text: "@ask(\"finance\") forbid(principal, action in Action::\"effect:write\", resource);",
    },
    Forbid {
        agent: false,
        person: true,
        tools: &TOOLS,
        only_egress: false,
        ask: Some("ops"),
        text: "@ask(\"ops\") forbid(principal is Person, action, resource == Server::\"lab\");",
    },
];

/// The snapshot with these of the forbids, and with or without the permit.
pub fn snapshot(forbids: u8, permit: bool) -> Rc<Snapshot> {
    thread_local! {
        static BUILT: RefCell<BTreeMap<(u8, bool), Rc<Snapshot>>> = const { RefCell::new(BTreeMap::new()) };
    }
    let build = || {
        let mut parts = lab();
        parts.policies = sources(forbids, permit);
        Rc::new(Snapshot::build(parts).unwrap_or_else(|faults| panic!("{}", common::show(&faults))).snapshot)
    };
    BUILT.with(|built| Rc::clone(built.borrow_mut().entry((forbids, permit)).or_insert_with(build)))
}

pub fn sources(forbids: u8, permit: bool) -> Vec<PolicySource> {
    let permit = permit.then_some("permit(principal, action, resource);");
    let texts = FORBIDS.iter().enumerate().filter(|(nth, _)| forbids & (1 << nth) != 0).map(|(_, f)| f.text);
    texts
        .chain(permit)
        .enumerate()
        .map(|(nth, text)| PolicySource { file: format!("{nth}.cedar"), text: text.into() })
        .collect()
}

/// One call.
#[derive(Debug, Clone)]
pub struct Step {
    pub tool: &'static str,
    pub arguments: Json,
}

/// A chain and what is called under it.
#[derive(Debug, Clone)]
pub struct Spec {
    pub hops: Vec<Terms>,
    pub forbids: u8,
    pub steps: Vec<Step>,
}

impl Spec {
    pub fn chain(&self, snapshot: &Snapshot) -> Vec<Hop> {
        chain(snapshot, &self.hops)
    }
}

pub fn chain(snapshot: &Snapshot, hops: &[Terms]) -> Vec<Hop> {
    let mut parent = None;
    hops.iter()
        .enumerate()
        .map(|(nth, terms)| {
            let mut terms = terms.clone();
            // Each may be followed by those that do follow it, and by one more.
            terms.depth = u32::try_from(9 - nth).unwrap();
            let compiled = snapshot
                .compile(terms)
                .unwrap_or_else(|faults| panic!("the mandate does not compile: {}", common::show(&faults)));
            let id: warrantor_model::MandateId = format!("m{nth}").parse().unwrap();
            Hop {
                mandate: Mandate {
                    parent: parent.replace(id.clone()),
                    id,
                    task: "task-1".parse().unwrap(),
                    begins_task: false,
                    terms: Arc::clone(compiled.terms()),
                    handed_over_at: at("2026-10-05T11:00:00Z"),
                    expires_at: at("2026-10-05T13:00:00Z"),
                },
                terms: Arc::new(compiled),
                terms_digest: Digest::of(b"terms"),
            }
        })
        .collect()
}

fn scalar() -> impl Strategy<Value = Json> + Clone {
    select(vec![
        "1", "2", "3", "1.0", "2.5", "-1", "\"x\"", "\"xy\"", "\"yx\"", "\"\"", "true", "null", "[]", "{}",
    ])
    .prop_map(json)
}

pub fn arguments() -> impl Strategy<Value = Json> {
    let list = vec(Union::new([scalar().boxed(), vec(scalar(), 0..3).prop_map(Json::Array).boxed()]), 0..4);
    let object =
        (option::of(scalar()), option::of(scalar())).prop_map(|(b, zero)| members([("b", b), ("0", zero)]));
    let a = prop_oneof![scalar(), list.prop_map(Json::Array), object];
    (option::weighted(0.6, a), option::weighted(0.4, scalar()), option::weighted(0.3, scalar()))
        .prop_map(|(a, b, c)| members([("a", a), ("b", b), ("c", c)]))
}

fn members<const N: usize>(members: [(&str, Option<Json>); N]) -> Json {
    Json::Object(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

pub fn bounds() -> impl Strategy<Value = Bounds> {
    let value = || select(vec!["1", "2", "\"x\"", "\"xy\"", "[1,2]", "[]", "true"]).prop_map(json);
    prop_oneof![
        12 => Just(Bounds::default()),
        2 => value().prop_map(|v| Bounds { equals: Some(v), ..Bounds::default() }),
        2 => vec(value(), 1..4).prop_map(|v| Bounds { one_of: Some(v), ..Bounds::default() }),
        2 => select(vec!["1", "2.5"]).prop_map(|v| Bounds { max: Some(json(v)), ..Bounds::default() }),
        1 => Just(Bounds { prefix: Some("x".into()), ..Bounds::default() }),
        1 => Just(Bounds { max_length: Some(1), ..Bounds::default() }),
        1 => Just(Bounds { max_items: Some(1), ..Bounds::default() }),
        1 => Just(Bounds { absent: true, ..Bounds::default() }),
        1 => Just(Bounds { required: true, ..Bounds::default() }),
        1 => Just(Bounds { required: true, max_items: Some(2), ..Bounds::default() }),
    ]
}

pub fn limits() -> impl Strategy<Value = Limits> {
    let path = |text: &str| text.parse::<Path>().unwrap();
    let one = |most: Option<u64>| Limits { calls: most, ..Limits::default() };
    prop_oneof![
        9 => Just(Limits::default()),
        2 => (0..4u64).prop_map(move |n| one(Some(n))),
        1 => (0..6i64).prop_map(move |n| Limits { sum: [(path("c"), n.into())].into(), ..Limits::default() }),
        1 => (0..3u64).prop_map(move |n| Limits { distinct: [(path("a/*"), n)].into(), ..Limits::default() }),
        1 => Just(Limits { unique: [path("b")].into(), ..Limits::default() }),
        1 => Just(Limits { unique: [path("a/*")].into(), ..Limits::default() }),
    ]
}

fn effects() -> impl Strategy<Value = EffectSet> {
    select(vec![
        &["read"][..],
        &["write"],
        &["write", "egress"],
        &["read", "write", "egress", "pay"],
        &["read", "write", "egress", "pay"],
    ])
    .prop_map(common::effects)
}

pub fn grant() -> impl Strategy<Value = Grant> {
    let tool = |name: &str| format!("lab/{name}").parse::<warrantor_model::ToolRef>().unwrap();
    let matches = prop_oneof![
        1 => select(TOOLS.to_vec()).prop_map(move |name| Match::Tool(tool(name))),
        1 => (effects(), option::of(select(TOOLS.to_vec()))).prop_map(move |(effects, except)| Match::Effects {
            effects,
            servers: bundle::servers(&["lab"]),
            except: except.into_iter().map(tool).collect(),
        }),
    ];
    let arguments = proptest::collection::btree_map(
        prop_oneof![1 => Just("**"), 4 => select(PATHS.to_vec())],
        bounds(),
        0..5,
    )
    .prop_map(|map| map.into_iter().map(|(path, b)| (path.parse().unwrap(), b)).collect::<Vec<_>>());
    let ask = prop_oneof![
        5 => Just(None),
        1 => Just(Some(Asked::Person)),
        1 => Just(Some(Asked::Group("ops".parse().unwrap()))),
    ];
    let after = prop_oneof![
        9 => Just(Vec::new()),
        1 => Just(vec![Earlier { tool: tool("look"), arguments: Vec::new() }]),
        1 => Just(vec![Earlier { tool: tool("change"), arguments: vec![("b".parse().unwrap(), json("1"))] }]),
    ];
    (matches, arguments, limits(), ask, after).prop_map(|(matches, arguments, limits, ask, after)| Grant {
        matches,
        arguments,
        limits,
        ask,
        after,
    })
}

pub fn terms() -> impl Strategy<Value = Terms> {
    let agent = prop_oneof![6 => Just("bot"), 1 => select(AGENTS.to_vec())];
    (vec(grant(), 1..6), limits(), agent).prop_map(|(grants, limits, agent)| Terms {
        grants,
        limits,
        agent: agent.parse().unwrap(),
        ..common::terms(&json("{}"))
    })
}

pub fn step() -> impl Strategy<Value = Step> {
    (select(TOOLS.to_vec()), arguments()).prop_map(|(tool, arguments)| Step { tool, arguments })
}

pub fn spec() -> impl Strategy<Value = Spec> {
    let forbids = prop_oneof![3 => Just(0u8), 1 => 0..32u8];
    let hops = prop_oneof![4 => vec(terms(), 1), 2 => vec(terms(), 2), 1 => vec(terms(), 3)];
    (hops, forbids, vec(step(), 1..8)).prop_map(|(hops, forbids, steps)| Spec { hops, forbids, steps })
}
