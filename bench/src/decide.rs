//! A decision on ten policies against bare Cedar on the same set.
//!
//! Cedar's side does what a careful user of its typed API does for each call: builds the entities, the context and the request, and
//! evaluates the ten policies once, for the agent. Our side makes the whole decision: accountability, the pinned schema, bounds and limits of five
//! grants, and Cedar for both principals.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hint::black_box,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use cedar_policy::{
    Authorizer, Context, Entities, Entity, EntityUid, PolicySet, Request, RestrictedExpression,
};
use warrantor_decide::{Decision, Facts, Hop, Parts, PolicySource, Snapshot, TaskState, decide};
use warrantor_model::{
    Accountable, Agent, AgentStatus, Bounds, Call, Ceiling, Decimal, Definition, Digest, Effect, EffectSet,
    Evidence, Failure, Grant, Json, Limits, Mandate, MandateKind, Manifest, Match, Person, PersonStatus,
    Standing, Terms, Timestamp, Tool, mandate::Lifetime,
};

use crate::{
    median,
    report::{Part, Row},
};

const POLICIES: &str = r#"
@id("agents-act") permit(principal is Agent, action in Action::"server:bank", resource);
@id("people-act") permit(principal is Person, action in Action::"server:bank", resource);
@id("small") forbid(principal, action == Action::"bank/send_money", resource) when { context.arguments has amount && context.arguments.amount.greaterThan(decimal("5000.0")) };
@id("busy") forbid(principal, action, resource) when { context.task.calls > 1000 };
@id("night") forbid(principal is Agent, action in Action::"effect:pay", resource) when { context.environment.time < datetime("2020-01-01") };
@id("kind") forbid(principal is Agent, action in Action::"effect:pay", resource) unless { context.mandate.kind == "delegated" };
@id("depth") forbid(principal is Agent, action, resource) when { context.mandate.depth > 3 };
@id("group") forbid(principal is Person, action in Action::"effect:pay", resource) unless { principal in Group::"finance" };
@id("subject") forbid(principal, action == Action::"bank/send_money", resource) when { context.arguments.subject like "*password*" };
@id("purpose") forbid(principal is Agent, action, resource) when { principal.purpose == "retired" };
"#;

pub(crate) fn measure(rounds: usize) -> anyhow::Result<Part> {
    let ours = Ours::new()?;
    let bare = Bare::new()?;
    let calls = 2000u32;
    let (mut decided, mut evaluated) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        decided.push(micros(calls, || ours.once()));
        evaluated.push(micros(calls, || bare.once()));
    }
    let (decided, evaluated) = (median(decided), median(evaluated));
    Ok(Part {
        title: "One decision",
        method: format!(
            "{rounds} alternating rounds of {calls} calls on one thread. Warrantor: `decide`, all layers, two principals, a mandate of five \
             grants with bounds, sums and limits. Against: `cedar-policy` alone on the same ten policies, one principal, request and per-call \
             entities built through its typed API. A second column of work on our side, so 2 × would be Cedar alone done twice."
        ),
        rows: vec![Row {
            what: "decide on 10 policies".into(),
            ours: format!("{decided:.1} µs"),
            against: format!("{evaluated:.1} µs"),
            ratio: format!("{:.2} ×", decided / evaluated),
            aim: "≤ 2.5 ×",
        }],
    })
}

fn micros(calls: u32, mut once: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        once();
    }
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
}

struct Ours {
    snapshot: Snapshot,
    task: TaskState,
    facts: Facts,
    call: Call,
    now: Timestamp,
}

impl Ours {
    fn new() -> anyhow::Result<Self> {
        let built = Snapshot::build(parts()?).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        let snapshot = built.snapshot;
        let compiled = snapshot.compile(terms()?).map_err(|faults| anyhow::anyhow!("{faults:?}"))?;
        let now = Timestamp::from_str("2026-06-01T12:00:00Z")?;
        let mandate = Mandate {
            id: "m1".parse()?,
            parent: None,
            task: "t1".parse()?,
            begins_task: false,
            terms: Arc::clone(compiled.terms()),
            handed_over_at: now,
            expires_at: now.plus(Duration::from_secs(3600)),
        };
        let hop = Hop { mandate, terms: Arc::new(compiled), terms_digest: Digest::of(b"terms") };
        let call = Call {
            mandate: "m1".parse()?,
            tool: "bank/send_money".parse()?,
            arguments: Json::parse(
                br#"{"recipient":"DE89370400440532013000","amount":120.50,"subject":"Invoice 10"}"#,
            )?,
            evidence: Evidence::LocalUser { uid: 1000, name: None },
            definition: Definition::AsPinned,
            enforcement_point: "bench".into(),
        };
        let chain = vec![hop];
        let wanted = snapshot.wanted(&chain, &call, now);
        let counters = wanted.counters.into_iter().map(|name| (name, Decimal::ZERO)).collect();
        let task = TaskState { calls: 3, counters, ..TaskState::begun(chain, now) };
        let facts = Facts { standing: Standing::default(), last_record_at: now, approval: None };
        let ours = Self { snapshot, task, facts, call, now };
        match ours.decide() {
            Decision::Pass(_) => Ok(ours),
            other => bail!("the measured call does not pass: {other:?}"),
        }
    }

    fn decide(&self) -> Decision {
        decide(&self.snapshot, &self.task, &self.facts, &self.call, self.now)
    }

    fn once(&self) {
        black_box(self.decide());
    }
}

fn parts() -> anyhow::Result<Parts> {
    let schema = br#"{"type":"object","properties":{"recipient":{"type":"string"},"amount":{"type":"number"},"subject":{"type":"string"}},"required":["recipient","amount","subject"]}"#;
    let tool = Tool {
        name: "send_money".parse()?,
        definition: Digest::of(b"definition"),
        input_schema: Json::parse(schema)?,
        output_schema: None,
        effects: EffectSet::EMPTY.with(Effect::Pay),
        effects_when: Vec::new(),
        resource: None,
        arguments: BTreeMap::new(),
        returns: Vec::new(),
        text: Default::default(),
        outputs: BTreeMap::new(),
        failure: Failure::Atomic,
    };
    let person = Person {
        id: "alice".parse()?,
        issuer: "https://login.example.com".into(),
        subject: "00u1".into(),
        mail: vec!["alice@example.com".into()],
        handles: BTreeMap::new(),
        groups: BTreeSet::from(["finance".parse()?]),
        status: PersonStatus::Active,
    };
    let agent = Agent {
        blueprint: None,
        keys: BTreeMap::new(),
        id: "invoice-bot".parse()?,
        owner: Accountable::Person("alice".parse()?),
        sponsors: vec![Accountable::Person("alice".parse()?)],
        purpose: "pays invoices".into(),
        status: AgentStatus::Active,
        ceiling: Ceiling {
            servers: BTreeSet::from(["bank".parse()?]),
            effects: EffectSet::EMPTY.with(Effect::Pay).with(Effect::Read),
        },
    };
    let manifest = Manifest {
        server: "bank".parse()?,
        records: BTreeMap::new(),
        tools: BTreeMap::from([("send_money".parse()?, tool)]),
        instructions: None,
        launch: None,
        uris: BTreeMap::new(),
        definitions: Digest::of(b"definitions"),
        listed: BTreeMap::new(),
    };
    Ok(Parts {
        people: vec![person],
        agents: vec![agent],
        manifests: vec![manifest],
        policies: vec![PolicySource { file: "policies/ten.cedar".into(), text: POLICIES.into() }],
        ..Parts::empty(Digest::of(b"bench"))
    })
}

fn terms() -> anyhow::Result<Terms> {
    let grant = |most: u32| -> anyhow::Result<Grant> {
        let text = |length| Bounds { max_length: Some(length), ..Bounds::default() };
        let amount = Bounds { max: Some(Json::Number(most.to_string().into())), ..Bounds::default() };
        Ok(Grant {
            matches: Match::Tool("bank/send_money".parse()?),
            arguments: vec![
                ("recipient".parse()?, Bounds { prefix: Some("DE".into()), ..text(34) }),
                ("amount".parse()?, amount),
                ("subject".parse()?, text(140)),
            ],
            limits: Limits {
                calls: Some(10),
                sum: BTreeMap::from([("amount".parse()?, Decimal::from(1200))]),
                ..Limits::default()
            },
            ask: None,
            after: Vec::new(),
        })
    };
    Ok(Terms {
        template: "pay".parse()?,
        parent: None,
        kind: MandateKind::Delegated,
        person: "alice".parse()?,
        agent: "invoice-bot".parse()?,
        sponsor: "alice".parse()?,
        purpose: "settle an invoice".into(),
        request: None,
        quoted: Vec::new(),
        slots: BTreeMap::new(),
        lifetime: Lifetime::For(Duration::from_secs(3600)),
        depth: 0,
        limits: Limits { calls: Some(100), ..Limits::default() },
        grants: [10, 20, 50, 100, 1200].into_iter().map(grant).collect::<anyhow::Result<_>>()?,
    })
}

/// Bare Cedar, as a careful user would call it.
struct Bare {
    policies: PolicySet,
    authorizer: Authorizer,
}

impl Bare {
    fn new() -> anyhow::Result<Self> {
        let bare = Self { policies: PolicySet::from_str(POLICIES)?, authorizer: Authorizer::new() };
        if bare.evaluate()? == cedar_policy::Decision::Allow {
            Ok(bare)
        } else {
            bail!("the measured request is not allowed")
        }
    }

    fn once(&self) {
        let _ = black_box(self.evaluate());
    }

    fn evaluate(&self) -> anyhow::Result<cedar_policy::Decision> {
        let uid = |name: &str, id: &str| -> anyhow::Result<EntityUid> {
            Ok(EntityUid::from_type_name_and_id(name.parse()?, cedar_policy::EntityId::new(id)))
        };
        let text = |s: &str| RestrictedExpression::new_string(s.to_owned());
        let record = |fields: Vec<(&str, RestrictedExpression)>| {
            RestrictedExpression::new_record(fields.into_iter().map(|(k, v)| (k.to_owned(), v)))
                .context("fields are distinct")
        };
        let (alice, finance) = (uid("Person", "alice")?, uid("Group", "finance")?);
        let people = RestrictedExpression::new_set([RestrictedExpression::new_entity_uid(alice.clone())]);
        let agent_attributes = HashMap::from([
            ("owners".to_owned(), people.clone()),
            ("sponsors".to_owned(), people),
            ("purpose".to_owned(), text("pays invoices")),
        ]);
        let person_attributes = HashMap::from([
            ("issuer".to_owned(), text("https://login.example.com")),
            ("subject".to_owned(), text("00u1")),
            ("mail".to_owned(), RestrictedExpression::new_set([text("alice@example.com")])),
        ]);
        let agent = uid("Agent", "invoice-bot")?;
        let action = uid("Action", "bank/send_money")?;
        let (pay, at_bank) = (uid("Action", "effect:pay")?, uid("Action", "server:bank")?);
        let server = uid("Server", "bank")?;
        let entities = Entities::from_entities(
            [
                Entity::new(agent.clone(), agent_attributes, HashSet::new())?,
                Entity::new(alice.clone(), person_attributes, HashSet::from([finance.clone()]))?,
                Entity::new_no_attrs(finance, HashSet::new()),
                Entity::new_no_attrs(server.clone(), HashSet::new()),
                Entity::new_no_attrs(pay.clone(), HashSet::new()),
                Entity::new_no_attrs(at_bank.clone(), HashSet::new()),
                Entity::new_no_attrs(action.clone(), HashSet::from([pay, at_bank])),
            ],
            None,
        )?;
        let context = Context::from_pairs([
            (
                "arguments".to_owned(),
                record(vec![
                    ("recipient", text("DE89370400440532013000")),
                    ("amount", RestrictedExpression::new_decimal("120.5")),
                    ("subject", text("Invoice 10")),
                ])?,
            ),
            (
                "mandate".to_owned(),
                record(vec![
                    ("id", text("pay")),
                    ("instance", text("m1")),
                    ("root", text("pay")),
                    ("purpose", text("settle an invoice")),
                    ("kind", text("delegated")),
                    ("depth", RestrictedExpression::new_long(0)),
                ])?,
            ),
            ("person".to_owned(), RestrictedExpression::new_entity_uid(alice)),
            (
                "task".to_owned(),
                record(vec![
                    ("id", text("t1")),
                    ("calls", RestrictedExpression::new_long(3)),
                    ("effects", RestrictedExpression::new_set([])),
                ])?,
            ),
            (
                "environment".to_owned(),
                record(vec![
                    ("time", RestrictedExpression::new_datetime("2026-06-01T12:00:00.000Z")),
                    ("enforcement_point", text("bench")),
                ])?,
            ),
        ])?;
        let request = Request::new(agent, action, server, context, None)?;
        Ok(self.authorizer.is_authorized(&request, &self.policies, &entities).decision())
    }
}
