//! Whether an act of administration is allowed: Cedar policies over who acts, the act, and what it is done to.
//!
//! Roles are nothing but entities that policies speak of. The policies that ship with the product ([`SHIPPED`]) give them their meaning; a deployment may put
//! its own in their place. As with calls, what is not permitted is refused, and a policy that errs refuses.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    str::FromStr,
};

use cedar_policy::{
    Authorizer, Context, Effect as CedarEffect, Entities, Entity, EntityId, EntityTypeName, EntityUid,
    PolicyId, PolicySet, Request, RestrictedExpression, Schema, ValidationMode, Validator,
};
use warrantor_model::{AgentId, EffectSet, GroupName, MandateKind, PersonId, ServerName, TemplateId};

use crate::{
    parts::{Fault, Place, PolicySource},
    policy::{in_order, located},
};

/// The policies of administration that ship with the product.
pub const SHIPPED: &str = include_str!("administration/shipped.cedar");
/// The schema that policies of administration are validated against.
pub const SCHEMA: &str = include_str!("administration/schema.cedarschema");
/// The roles that the shipped policies speak of. Policies of a deployment's own may speak of others.
pub const ROLES: [&str; 6] =
    ["administrator", "auditor", "responder", "publisher", "provisioner", "enforcement-point"];

macro_rules! acts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// An act of administration, by the name that policies and records have for it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Act {
            $($(#[$doc])* $variant,)*
        }

        impl Act {
            /// Every act.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its name.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

acts! {
    /// Sees every person.
    ListPeople = "people:list";
    /// Sees one person.
    ReadPerson = "people:read";
    /// Registers a person.
    RegisterPerson = "people:register";
    /// Changes a person's groups or roles.
    ChangePerson = "people:change";
    /// Stops a person, and with the person everything the person answers for.
    SuspendPerson = "people:suspend";
    /// Lets a stopped person go on.
    ResumePerson = "people:resume";
    /// Says that a person has left for good.
    PersonLeaves = "people:leave";
    /// Ends the sessions of a person.
    EndSessions = "people:sign-out";
    /// Provisions people and groups as a directory does.
    Provision = "directory:provision";
    /// Makes a credential for a client of the interface, such as a directory.
    AddClient = "clients:add";
    /// Sees the clients.
    ListClients = "clients:list";
    /// Ends a client's credential.
    RemoveClient = "clients:remove";
    /// Sees every agent.
    ListAgents = "agents:list";
    /// Sees one agent.
    ReadAgent = "agents:read";
    /// Proposes an agent, or a change of one.
    ProposeAgent = "agents:propose";
    /// Approves a proposed agent.
    ApproveAgent = "agents:approve";
    /// Stops an agent.
    SuspendAgent = "agents:suspend";
    /// Lets a stopped agent go on.
    ResumeAgent = "agents:resume";
    /// Retires an agent for good.
    RetireAgent = "agents:retire";
    /// Takes over for an owner or a sponsor who is gone.
    TakeOverAgent = "agents:take-over";
    /// Registers and removes an agent's keys.
    ChangeKeys = "agents:keys";
    /// Sees the templates of mandates.
    ReadTemplate = "templates:read";
    /// Sees every mandate.
    ListMandates = "mandates:list";
    /// Sees one mandate.
    ReadMandate = "mandates:read";
    /// Hands over a task.
    HandOver = "mandates:hand-over";
    /// Revokes a mandate, or every mandate of a template.
    RevokeMandate = "mandates:revoke";
    /// Says that the task of a mandate is done, which ends it.
    CompleteMandate = "mandates:complete";
    /// Sees whether a lockdown is in force.
    ReadDeployment = "deployment:read";
    /// Stops everything.
    LockDown = "deployment:lock";
    /// Lifts a lockdown.
    Unlock = "deployment:unlock";
    /// Sees how a call was decided.
    ReadDecision = "decisions:read";
    /// Sees tool servers and their definitions.
    ReadServer = "servers:read";
    /// Proposes a manifest of a tool server.
    ProposeManifest = "servers:propose";
    /// Approves a manifest that was proposed, which publishes it.
    ApproveManifest = "servers:approve";
    /// Turns a manifest down that was proposed.
    RejectManifest = "servers:reject";
    /// Quarantines a tool server: nothing of it can be used.
    QuarantineServer = "servers:quarantine";
    /// Lets a quarantined tool server be used again.
    ReleaseServer = "servers:release";
    /// Has calls decided, as an enforcement point.
    MakeDecisions = "decisions:make";
    /// Sees published bundles.
    ReadBundle = "bundles:read";
    /// Publishes a bundle.
    PublishBundle = "bundles:publish";
    /// Publishes a bundle with a manifest that nobody has approved, of a server of which none was approved yet.
    PublishUnreviewed = "bundles:publish-unreviewed";
    /// Goes back to an earlier bundle.
    RollBack = "bundles:roll-back";
}

/// Who acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// A person who signed in.
    Person {
        /// Who.
        id: PersonId,
        /// The person's groups.
        groups: BTreeSet<GroupName>,
        /// The person's roles.
        roles: BTreeSet<String>,
    },
    /// A client of the interface that has a credential of its own, such as a directory.
    Client {
        /// Its name.
        name: String,
        /// Its roles.
        roles: BTreeSet<String>,
    },
}

/// What an act is done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resource {
    /// The deployment as a whole.
    Deployment,
    /// A person.
    Person {
        /// Who.
        id: PersonId,
        /// The person's groups.
        groups: BTreeSet<GroupName>,
        /// The person's roles.
        roles: BTreeSet<String>,
    },
    /// An agent.
    Agent {
        /// Which.
        id: AgentId,
        /// Who is accountable for it, groups resolved.
        owners: BTreeSet<PersonId>,
        /// Who is accountable for what it does, groups resolved.
        sponsors: BTreeSet<PersonId>,
        /// Who may take over.
        deputies: BTreeSet<PersonId>,
        /// Who proposed it as it stands, and whoever may be the same human.
        proposers: BTreeSet<PersonId>,
        /// `low`, `medium` or `high`.
        risk: String,
        /// Effects it may have at most.
        effects: EffectSet,
        /// Where it stands: `proposed`, `active`, `suspended`, `retired`.
        state: String,
    },
    /// A mandate that was or is to be handed over.
    Mandate {
        /// The instance; a name of no instance while it is to be handed over.
        id: String,
        /// The template, where it is of one.
        template: Option<TemplateId>,
        /// Who hands over.
        person: PersonId,
        /// Who answers.
        sponsor: PersonId,
        /// Who acts.
        agent: AgentId,
        /// Who answers for the agent.
        agent_sponsors: BTreeSet<PersonId>,
        /// For whom the agent acts.
        kind: MandateKind,
        /// Effects that its grants reach.
        effects: EffectSet,
        /// Servers that its grants reach.
        servers: BTreeSet<String>,
    },
    /// A template of the bundle.
    Template(TemplateId),
    /// A tool server, or a manifest of one.
    Server {
        /// Its name.
        name: ServerName,
        /// Who proposed the manifest, and whoever may be the same human.
        proposers: BTreeSet<PersonId>,
        /// Effects that its tools may have.
        effects: EffectSet,
        /// Where the manifest stands: `draft`, `review`, `approved`, `rejected`; of the server itself `unregistered`, `active` or `quarantined`.
        state: String,
    },
}

/// How an act was ruled on. There is no way to [`Ruling::Permitted`] but policies that permit and none that forbids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// These policies permit it.
    Permitted(Vec<String>),
    /// It is refused.
    Refused {
        /// Policies that forbid it; none where nothing permits it.
        forbidding: Vec<String>,
        /// Policies that erred.
        errors: Vec<String>,
    },
}

/// The policies of administration.
#[derive(Debug)]
pub struct Administration {
    policies: PolicySet,
    schema: Schema,
    names: HashMap<PolicyId, String>,
}

impl Administration {
    /// Validates the policies.
    ///
    /// # Errors
    /// Every fault found.
    pub fn build(source: &PolicySource) -> Result<Self, Vec<Fault>> {
        let broken = |cause: String| vec![Fault::error(Place::Bundle, cause)];
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).map_err(|cause| broken(cause.to_string()))?;
        let set = PolicySet::from_str(&source.text)
            .map_err(|cause| cause.iter().map(|one| located(source, one)).collect::<Vec<_>>())?;
        let mut faults = Vec::new();
        if set.templates().next().is_some() {
            faults.extend(broken("policy templates are not supported".to_owned()));
        }
        let result = Validator::new(schema.clone()).validate(&set, ValidationMode::Strict);
        faults.extend(result.validation_errors().map(|error| located(source, error)));
        let mut policies = PolicySet::new();
        let mut names = HashMap::new();
        for (nth, policy) in in_order(&set).into_iter().enumerate() {
            let unknown = policy.annotations().map(|(name, _)| name).find(|name| *name != "id");
            if let Some(name) = unknown {
                faults.extend(broken(format!("{}: @{name} means nothing here", source.file)));
            }
            let json = policy.to_json().map_err(|cause| broken(cause.to_string()))?;
            if looks_at_membership_of_others(&json) {
                faults.extend(broken(format!(
                    "{}: a policy asks whether somebody other than `principal` and `resource` is in something: that is not known here, and would be false",
                    source.file
                )));
            }
            let name =
                policy.annotation("id").map_or_else(|| format!("{}#{nth}", source.file), str::to_owned);
            let id = PolicyId::new(&name);
            if policies.add(policy.new_id(id.clone())).is_err() {
                faults.extend(broken(format!("{}: two policies have the id {name:?}", source.file)));
            }
            names.insert(id, name);
        }
        if !policies.policies().any(|policy| policy.effect() == CedarEffect::Permit) {
            faults.extend(broken(format!("{}: no policy permits anything: nobody could act", source.file)));
        }
        if faults.is_empty() { Ok(Self { policies, schema, names }) } else { Err(faults) }
    }

    /// Rules on an act. Whatever cannot be evaluated is refused.
    #[must_use]
    pub fn rule(&self, actor: &Actor, act: Act, resource: &Resource) -> Ruling {
        let refused = |cause: String| Ruling::Refused { forbidding: Vec::new(), errors: vec![cause] };
        let asked = match question(&self.schema, actor, act, resource) {
            Ok(asked) => asked,
            Err(cause) => return refused(cause),
        };
        let (request, entities) = asked;
        let response = Authorizer::new().is_authorized(&request, &self.policies, &entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let mut deciding: Vec<String> =
            response.diagnostics().reason().filter_map(|policy| self.names.get(policy).cloned()).collect();
        deciding.sort();
        match response.decision() {
            cedar_policy::Decision::Allow if errors.is_empty() && !deciding.is_empty() => {
                Ruling::Permitted(deciding)
            }
            cedar_policy::Decision::Allow => Ruling::Refused { forbidding: Vec::new(), errors },
            cedar_policy::Decision::Deny => Ruling::Refused { forbidding: deciding, errors },
        }
    }
}

/// Whether `in` stands behind anything but a variable: groups and roles are told of who acts and of the person acted on, and of nobody else.
fn looks_at_membership_of_others(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Object(members) => members.iter().any(|(name, value)| {
            let of_other = match name.as_str() {
                "in" => value.get("left").is_some_and(|left| left.get("Var").is_none()),
                "is" => {
                    value.get("in").is_some()
                        && value.get("left").is_some_and(|left| left.get("Var").is_none())
                }
                _ => false,
            };
            of_other || looks_at_membership_of_others(value)
        }),
        serde_json::Value::Array(items) => items.iter().any(looks_at_membership_of_others),
        _ => false,
    }
}

/// An act as Cedar sees it.
fn question(
    schema: &Schema,
    actor: &Actor,
    act: Act,
    resource: &Resource,
) -> Result<(Request, Entities), String> {
    let mut all = Vec::new();
    let principal = actor_entities(actor, &mut all)?;
    let resource = resource_entity(resource, &mut all)?;
    let mut seen = HashSet::new();
    // The one acted on may be the one who acts; the actor's own entity, which has groups and roles, counts.
    all.retain(|entity: &Entity| seen.insert(entity.uid()));
    let action = uid("Action", act.as_str())?;
    let entities = Entities::from_entities(all, Some(schema)).map_err(|cause| cause.to_string())?;
    let request = Request::new(principal, action, resource, Context::empty(), Some(schema))
        .map_err(|cause| cause.to_string())?;
    Ok((request, entities))
}

fn uid(entity_type: &str, id: &str) -> Result<EntityUid, String> {
    let name = EntityTypeName::from_str(entity_type).map_err(|cause| cause.to_string())?;
    Ok(EntityUid::from_type_name_and_id(name, EntityId::new(id)))
}

fn bare(entity_type: &str, id: &str) -> Result<Entity, String> {
    Ok(Entity::new_no_attrs(uid(entity_type, id)?, HashSet::new()))
}

fn actor_entities(actor: &Actor, all: &mut Vec<Entity>) -> Result<EntityUid, String> {
    let (kind, id, groups, roles) = match actor {
        Actor::Person { id, groups, roles } => ("Person", id.as_str(), Some(groups), roles),
        Actor::Client { name, roles } => ("Client", name.as_str(), None, roles),
    };
    let mut parents = HashSet::new();
    for role in roles {
        all.push(bare("Role", role)?);
        parents.insert(uid("Role", role)?);
    }
    for group in groups.into_iter().flatten() {
        all.push(bare("Group", group.as_str())?);
        parents.insert(uid("Group", group.as_str())?);
    }
    let principal = uid(kind, id)?;
    all.push(Entity::new_no_attrs(principal.clone(), parents));
    Ok(principal)
}

fn people(who: &BTreeSet<PersonId>) -> Result<RestrictedExpression, String> {
    let one = |person: &PersonId| Ok(RestrictedExpression::new_entity_uid(uid("Person", person.as_str())?));
    Ok(RestrictedExpression::new_set(who.iter().map(one).collect::<Result<Vec<_>, String>>()?))
}

fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

fn effect_names(effects: EffectSet) -> RestrictedExpression {
    RestrictedExpression::new_set(effects.iter().map(|effect| text(effect.as_str())))
}

fn resource_entity(resource: &Resource, all: &mut Vec<Entity>) -> Result<EntityUid, String> {
    let (uid, attributes) = match resource {
        Resource::Deployment => (uid("Deployment", "deployment")?, Vec::new()),
        Resource::Person { id, groups, roles } => {
            let actor = Actor::Person { id: id.clone(), groups: groups.clone(), roles: roles.clone() };
            return actor_entities(&actor, all);
        }
        Resource::Template(template) => (uid("Template", template.as_str())?, Vec::new()),
        Resource::Server { name, proposers, effects, state } => {
            let attributes = vec![
                ("proposers", people(proposers)?),
                ("effects", effect_names(*effects)),
                ("state", text(state)),
            ];
            (uid("Server", name.as_str())?, attributes)
        }
        Resource::Agent { id, owners, sponsors, deputies, proposers, risk, effects, state } => {
            let attributes = vec![
                ("owners", people(owners)?),
                ("sponsors", people(sponsors)?),
                ("deputies", people(deputies)?),
                ("proposers", people(proposers)?),
                ("risk", text(risk)),
                ("effects", effect_names(*effects)),
                ("state", text(state)),
            ];
            (uid("Agent", id.as_str())?, attributes)
        }
        Resource::Mandate {
            id,
            template,
            person,
            sponsor,
            agent,
            agent_sponsors,
            kind,
            effects,
            servers,
        } => {
            let kind = match kind {
                MandateKind::Delegated => "delegated",
                MandateKind::Standing => "standing",
            };
            let entity = |kind, id| Ok::<_, String>(RestrictedExpression::new_entity_uid(uid(kind, id)?));
            let mut attributes = vec![
                ("person", entity("Person", person.as_str())?),
                ("sponsor", entity("Person", sponsor.as_str())?),
                ("agent", entity("Agent", agent.as_str())?),
                ("agent_sponsors", people(agent_sponsors)?),
                ("kind", text(kind)),
                ("effects", effect_names(*effects)),
                ("servers", RestrictedExpression::new_set(servers.iter().map(|server| text(server)))),
            ];
            if let Some(template) = template {
                attributes.push(("template", entity("Template", template.as_str())?));
            }
            (uid("Mandate", id)?, attributes)
        }
    };
    let attributes: HashMap<String, RestrictedExpression> =
        attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let entity = Entity::new(uid.clone(), attributes, HashSet::new()).map_err(|cause| cause.to_string())?;
    all.push(entity);
    Ok(uid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Administration {
        Administration::build(&PolicySource { file: "shipped.cedar".into(), text: SHIPPED.into() })
            .unwrap_or_else(|faults| panic!("{faults:?}"))
    }

    fn built(text: &str) -> Result<Administration, Vec<Fault>> {
        Administration::build(&PolicySource { file: "own.cedar".into(), text: text.into() })
    }

    fn person(id: &str, roles: &[&str]) -> Actor {
        Actor::Person {
            id: id.parse().unwrap(),
            groups: BTreeSet::new(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        }
    }

    fn set(who: &[&str]) -> BTreeSet<PersonId> {
        who.iter().map(|id| id.parse().unwrap()).collect()
    }

    fn agent(owner: &str, proposer: &str) -> Resource {
        Resource::Agent {
            id: "bot".parse().unwrap(),
            owners: set(&[owner]),
            sponsors: set(&["sam"]),
            deputies: set(&["dora"]),
            proposers: set(&[proposer]),
            risk: "low".into(),
            effects: EffectSet::EMPTY,
            state: "proposed".into(),
        }
    }

    fn server(proposer: &str) -> Resource {
        Resource::Server {
            name: "bank".parse().unwrap(),
            proposers: set(&[proposer]),
            effects: EffectSet::EMPTY,
            state: "review".into(),
        }
    }

    fn mandate(person: &str, sponsor: &str, kind: MandateKind) -> Resource {
        Resource::Mandate {
            id: "new".into(),
            template: None,
            person: person.parse().unwrap(),
            sponsor: sponsor.parse().unwrap(),
            agent: "bot".parse().unwrap(),
            agent_sponsors: set(&["sam"]),
            kind,
            effects: EffectSet::EMPTY,
            servers: BTreeSet::new(),
        }
    }

    fn check(actor: &Actor, act: Act, resource: &Resource, permitted: bool) {
        let ruling = shipped().rule(actor, act, resource);
        let is_permitted = matches!(ruling, Ruling::Permitted(_));
        assert_eq!(is_permitted, permitted, "{actor:?} {act:?} {resource:?}: {ruling:?}");
    }

    #[test]
    fn every_act_has_its_action_in_the_schema_and_every_action_its_act() {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).unwrap();
        let groups = ["read", "stop"];
        let known: BTreeSet<String> = schema
            .actions()
            .map(|action| action.id().unescaped().to_owned())
            .filter(|name| !groups.contains(&name.as_str()))
            .collect();
        let named: BTreeSet<String> = Act::ALL.iter().map(|act| act.as_str().to_owned()).collect();
        assert_eq!(known, named);
    }

    #[test]
    fn nobody_is_permitted_anything_that_no_policy_permits() {
        for act in Act::ALL {
            let resource = match act.as_str() {
                name if name.starts_with("agents:") && *act != Act::ListAgents => agent("olga", "olga"),
                name if name.starts_with("servers:") && *act != Act::ReadServer => server("olga"),
                name if name.starts_with("mandates:") && *act != Act::ListMandates => {
                    mandate("olga", "olga", MandateKind::Delegated)
                }
                _ => Resource::Deployment,
            };
            let own = [Act::ReadTemplate, Act::ReadDeployment].contains(act);
            check(&person("nobody", &[]), *act, &resource, own);
            check(&person("nobody", &["no-such-role"]), *act, &resource, own);
        }
    }

    #[test]
    fn no_role_lifts_the_four_eyes() {
        let administrator = person("anna", &["administrator"]);
        check(&administrator, Act::ApproveAgent, &agent("olga", "olga"), true);
        check(&administrator, Act::ApproveAgent, &agent("anna", "olga"), true);
        check(&administrator, Act::ApproveAgent, &agent("olga", "anna"), false);
        check(&person("olga", &[]), Act::ApproveAgent, &agent("olga", "paul"), false);
        for role in ["administrator", "publisher"] {
            check(&person("anna", &[role]), Act::ApproveManifest, &server("olga"), true);
            check(&person("olga", &[role]), Act::ApproveManifest, &server("olga"), false);
            let client = Actor::Client { name: "pipeline".into(), roles: [role.to_owned()].into() };
            check(&client, Act::ProposeManifest, &server("olga"), true);
            check(&client, Act::ApproveManifest, &server("olga"), false);
        }
    }

    #[test]
    fn everybody_hands_over_their_own_tasks_and_nobody_those_of_others() {
        let delegated = MandateKind::Delegated;
        check(&person("alice", &[]), Act::HandOver, &mandate("alice", "alice", delegated), true);
        check(&person("mallory", &[]), Act::HandOver, &mandate("alice", "alice", delegated), false);
        check(&person("alice", &[]), Act::HandOver, &mandate("alice", "sam", delegated), false);
        check(
            &person("anna", &["administrator"]),
            Act::HandOver,
            &mandate("alice", "alice", delegated),
            false,
        );
        let standing = MandateKind::Standing;
        check(&person("sam", &[]), Act::HandOver, &mandate("sam", "sam", standing), true);
        check(&person("alice", &[]), Act::HandOver, &mandate("alice", "alice", standing), false);
    }

    #[test]
    fn what_a_client_may_do_is_what_its_role_permits() {
        let client = |role: &str| Actor::Client { name: "okta".into(), roles: [role.to_owned()].into() };
        check(&client("provisioner"), Act::Provision, &Resource::Deployment, true);
        check(&client("auditor"), Act::Provision, &Resource::Deployment, false);
        check(&client("provisioner"), Act::ListPeople, &Resource::Deployment, false);
        // A person is never a directory, whatever the role: the schema has no such request.
        check(
            &person("anna", &["administrator", "provisioner"]),
            Act::Provision,
            &Resource::Deployment,
            false,
        );
    }

    #[test]
    fn the_roles_and_groups_of_the_person_acted_on_are_known() {
        let own = built(
            r#"permit (principal in Role::"helpdesk", action == Action::"people:suspend", resource is Person)
               unless { resource in Role::"administrator" || resource in Group::"board" };"#,
        )
        .unwrap();
        let on = |roles: &[&str], groups: &[&str]| Resource::Person {
            id: "ada".parse().unwrap(),
            groups: groups.iter().map(|group| group.parse().unwrap()).collect(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
        };
        let rule = |resource: &Resource| {
            matches!(
                own.rule(&person("hugo", &["helpdesk"]), Act::SuspendPerson, resource),
                Ruling::Permitted(_)
            )
        };
        assert!(rule(&on(&[], &[])) && rule(&on(&["auditor"], &["finance"])));
        assert!(!rule(&on(&["administrator"], &[])) && !rule(&on(&[], &["board"])));
    }

    #[test]
    fn a_policy_that_errs_refuses_what_others_permit() {
        let own = built(
            r#"permit (principal, action, resource);
               forbid (principal, action == Action::"mandates:read", resource) when { resource.template == Template::"a" };"#,
        );
        assert!(own.is_err(), "an optional attribute was read without asking whether it is there");
        let overflow = built(
            r#"permit (principal, action, resource);
               permit (principal, action, resource) when { 9223372036854775807 + 1 == 0 };"#,
        )
        .unwrap();
        let ruling = overflow.rule(&person("anna", &[]), Act::ListPeople, &Resource::Deployment);
        assert!(matches!(&ruling, Ruling::Refused { errors, .. } if !errors.is_empty()), "{ruling:?}");
    }

    #[test]
    fn policies_that_are_no_use_are_refused_at_load() {
        for (text, part) in [
            ("", "nobody could act"),
            ("forbid (principal, action, resource);", "nobody could act"),
            ("permit (principal, action", ""),
            (r#"permit (principal, action == Action::"people:fly", resource);"#, ""),
            (r#"permit (principal == User::"x", action, resource);"#, ""),
            (r#"@ask("x") permit (principal, action, resource);"#, "means nothing here"),
            (
                r#"@id("a") permit (principal, action, resource); @id("a") permit (principal, action, resource);"#,
                "the id",
            ),
            ("permit (principal == ?principal, action, resource);", ""),
            (
                r#"permit (principal, action, resource); forbid (principal, action == Action::"mandates:revoke", resource is Mandate) when { resource.person in Role::"administrator" };"#,
                "would be false",
            ),
        ] {
            let faults = built(text).expect_err(text);
            assert!(faults.iter().any(|fault| fault.message.contains(part)), "{text}: {faults:?}");
        }
    }
}
