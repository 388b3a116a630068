//! Policy files: read, validated strictly, and refused where Cedar would be lenient.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    str::FromStr,
};

use cedar_policy::{
    ActionConstraint, Effect as CedarEffect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode,
    Validator,
};
use miette::Diagnostic;
use warrantor_model::{GroupName, Manifest, ServerName};

use super::{APPROVE, words::unknown_words};
use crate::{
    obligations::{self, Obligation},
    parts::{Fault, Place, PolicySource},
    roster::Roster,
};

/// The annotations a policy may carry. Others are refused: a misspelt `@ask` would be a plain forbid at best.
const ANNOTATIONS: [&str; 8] = ["id", "ask", "allow", "mode", "description", "redact", "label", "cap"];

/// What is known of one policy beside its text.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) policy: Policy,
    /// Where it stands.
    pub(super) place: Place,
    pub(super) ask: Option<GroupName>,
    /// It lets people approve what is done for them.
    pub(super) self_approval: bool,
    pub(super) observe: bool,
    /// Every attribute its conditions name.
    pub(super) attributes: BTreeSet<String>,
    /// What goes with it when it permits.
    pub(super) obligations: Vec<Obligation>,
}

/// What policies may name.
#[derive(Clone, Copy)]
pub(crate) struct Known<'a> {
    pub(crate) roster: &'a Roster,
    /// Groups whose members the directory tells.
    pub(crate) directory_groups: &'a BTreeSet<GroupName>,
    pub(crate) manifests: &'a BTreeMap<ServerName, Manifest>,
    pub(crate) labels: &'a BTreeSet<String>,
}

impl Known<'_> {
    fn has_group(&self, name: &str) -> bool {
        let of_the_bundle = self.roster.groups().keys().any(|known| known.as_str() == name);
        of_the_bundle || self.directory_groups.iter().any(|known| known.as_str() == name)
    }

    pub(super) fn has(&self, uid: &EntityUid) -> bool {
        let id = uid.id().unescaped();
        match uid.type_name().to_string().as_str() {
            "Person" => self.roster.people().keys().any(|known| known.as_str() == id),
            "Agent" => self.roster.agents().keys().any(|known| known.as_str() == id),
            "Group" => self.has_group(id),
            "Server" => self.manifests.keys().any(|known| known.as_str() == id),
            // Actions are the validator's business; resources live outside the bundle.
            _ => true,
        }
    }
}

pub(super) fn read_policies(
    sources: &[PolicySource],
    schema: &Schema,
    known: &Known<'_>,
    faults: &mut Vec<Fault>,
) -> HashMap<PolicyId, Rule> {
    let validator = Validator::new(schema.clone());
    let mut rules: HashMap<PolicyId, Rule> = HashMap::new();
    for source in sources {
        let set = match PolicySet::from_str(&source.text) {
            Ok(set) => set,
            Err(cause) => {
                faults.extend(cause.iter().map(|one| located(source, one)));
                continue;
            }
        };
        if set.templates().next().is_some() {
            let message = "policy templates are not supported: write the principal and resource out";
            faults.push(Fault::error(whole(source), message));
        }
        let result = validator.validate(&set, ValidationMode::Strict);
        faults.extend(result.validation_errors().map(|error| located(source, error)));
        faults.extend(result.validation_warnings().map(|warning| {
            let mut fault = located(source, warning);
            fault.severity = crate::parts::Severity::Warning;
            fault
        }));
        for (nth, policy) in in_order(&set).into_iter().enumerate() {
            if let Some(rule) = read_policy(source, nth, policy, known, faults)
                && let Some(twin) = rules.insert(rule.policy.id().clone(), rule)
            {
                let message = format!("two policies have the id {:?}", twin.policy.id().to_string());
                faults.push(
                    Fault::error(place_of(source, &twin.policy), message).cure("give each its own @id"),
                );
            }
        }
    }
    rules
}

/// Policies in the order of the file: the parser numbers them.
pub(crate) fn in_order(set: &PolicySet) -> Vec<&Policy> {
    let mut policies: Vec<&Policy> = set.policies().collect();
    policies.sort_by_key(|policy| {
        policy.id().to_string().trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX)
    });
    policies
}

pub(super) fn read_policy(
    source: &PolicySource,
    nth: usize,
    policy: &Policy,
    known: &Known<'_>,
    faults: &mut Vec<Fault>,
) -> Option<Rule> {
    let place = || place_of(source, policy);
    let before = faults.len();
    for (name, _) in policy.annotations().filter(|(name, _)| !ANNOTATIONS.contains(name)) {
        let message = match name {
            "notify" => {
                format!("not supported yet: the obligation @{name} cannot be carried out by this version")
            }
            _ => format!("@{name} is no annotation that Warrantor knows"),
        };
        faults.push(Fault::error(place(), message).cure(format!("known are: @{}", ANNOTATIONS.join(", @"))));
    }
    for uid in policy.entity_literals().iter().filter(|uid| !known.has(uid)) {
        let message = format!("{uid} is not in this bundle, so the policy could never mean it");
        faults.push(Fault::error(place(), message).cure("correct the name, or add it to the bundle"));
    }
    let forbids = policy.effect() == CedarEffect::Forbid;
    let ask = policy.annotation("ask").map(str::to_owned);
    if let Some(group) = &ask {
        if !forbids {
            faults.push(Fault::error(
                place(),
                "@ask stands on a permit; it belongs on a forbid, which an answer lifts",
            ));
        }
        if names_approve(policy) {
            let message =
                "@ask stands on a forbid of approving: nobody is asked whether somebody may be asked";
            faults.push(
                Fault::error(place(), message).cure("forbid it without @ask, or on the calls themselves"),
            );
        }
        if !known.has_group(group) {
            faults.push(Fault::error(place(), format!("@ask names the group {group:?}, which nobody is in")));
        }
    }
    let ask = match ask.map(GroupName::new).transpose() {
        Ok(ask) => ask,
        Err(cause) => {
            faults.push(Fault::error(place(), format!("@ask names no group: {cause}")));
            None
        }
    };
    let self_approval = match policy.annotation("allow") {
        None => false,
        Some("self_approval") if !forbids && could_be_approve(policy) => true,
        Some("self_approval") => {
            let message = "@allow(\"self_approval\") stands on a policy that permits nobody to approve";
            faults.push(Fault::error(place(), message).cure("it belongs on a permit of Action::\"approve\""));
            false
        }
        Some(other) => {
            let message = format!("@allow({other:?}) allows nothing that is known");
            faults.push(Fault::error(place(), message).cure("the only one is \"self_approval\""));
            false
        }
    };
    let observe = match policy.annotation("mode") {
        None => false,
        Some("observe") if forbids => true,
        Some("observe") => {
            faults.push(Fault::error(place(), "@mode(\"observe\") stands on a permit; it lifts a forbid"));
            false
        }
        Some(other) => {
            faults.push(
                Fault::error(place(), format!("@mode({other:?}) is no mode"))
                    .cure("the only mode is \"observe\""),
            );
            false
        }
    };
    let obligations = match obligations::read(policy) {
        Ok(obligations) if obligations.is_empty() || !forbids => obligations,
        Ok(_) => {
            let message = "an obligation stands on a forbid; it belongs on a permit, which it goes with";
            faults.push(Fault::error(place(), message));
            Vec::new()
        }
        Err(message) => {
            faults.push(Fault::error(place(), message));
            Vec::new()
        }
    };
    let mut unknown = Vec::new();
    let attributes = match policy.to_json() {
        Ok(json) => {
            if !forbids && reads_approval(&json) {
                let message =
                    "a permit looks at context.approval: what is permitted does not depend on an answer";
                let cure = "permit it, and forbid it with @ask where a person has to answer";
                faults.push(Fault::error(place(), message).cure(cure));
            }
            unknown = unknown_words(&json, known.labels, known.manifests);
            let mut names = BTreeSet::new();
            attribute_names(&json, &mut names);
            names
        }
        Err(cause) => {
            faults.push(Fault::error(place(), format!("the policy cannot be read back: {cause}")));
            BTreeSet::new()
        }
    };
    if faults.len() > before {
        return None;
    }
    for message in unknown {
        let cure = "correct the word, or leave it if other bundles have it";
        faults.push(Fault::warning(place(), message).cure(cure));
    }
    let id = match policy.annotation("id") {
        Some(id) => id.to_owned(),
        None => format!("{}#{nth}", source.file),
    };
    Some(Rule {
        policy: policy.new_id(PolicyId::new(id)),
        place: place(),
        ask,
        self_approval,
        observe,
        attributes,
        obligations,
    })
}

fn could_be_approve(policy: &Policy) -> bool {
    policy.action_constraint() == ActionConstraint::Any || names_approve(policy)
}

fn names_approve(policy: &Policy) -> bool {
    let is = |uid: &EntityUid| uid.id().unescaped() == APPROVE;
    match policy.action_constraint() {
        ActionConstraint::Any => false,
        ActionConstraint::Eq(uid) => is(&uid),
        ActionConstraint::In(uids) => uids.iter().any(is),
    }
}

/// Whether a policy in its JSON form looks at `context.approval`.
fn reads_approval(json: &serde_json::Value) -> bool {
    match json {
        serde_json::Value::Object(members) => {
            let reads = |operator: &str| {
                members.get(operator).is_some_and(|operand| {
                    let of_context =
                        operand.pointer("/left/Var").and_then(|var| var.as_str()) == Some("context");
                    let attr = operand.get("attr");
                    let first = attr.and_then(|attr| attr.as_str().or_else(|| attr.get(0)?.as_str()));
                    of_context && first == Some("approval")
                })
            };
            reads(".") || reads("has") || members.values().any(reads_approval)
        }
        serde_json::Value::Array(items) => items.iter().any(reads_approval),
        _ => false,
    }
}

/// Every attribute that `.` or `has` names, anywhere in a policy's JSON form.
pub(super) fn attribute_names(json: &serde_json::Value, names: &mut BTreeSet<String>) {
    match json {
        serde_json::Value::Object(members) => {
            for operator in [".", "has"] {
                let operand = members.get(operator);
                if let Some(name) = operand.and_then(|o| o.get("attr")) {
                    match name {
                        serde_json::Value::String(name) => drop(names.insert(name.clone())),
                        serde_json::Value::Array(path) => {
                            names.extend(path.iter().filter_map(|part| part.as_str()).map(str::to_owned));
                        }
                        _ => {}
                    }
                }
            }
            // A record that is written out is compared as a whole, and so names what it holds.
            if let Some(record) = members.get("Record").and_then(serde_json::Value::as_object) {
                names.extend(record.keys().cloned());
            }
            members.values().for_each(|member| attribute_names(member, names));
        }
        serde_json::Value::Array(items) => items.iter().for_each(|item| attribute_names(item, names)),
        _ => {}
    }
}

pub(super) fn whole(source: &PolicySource) -> Place {
    Place::Policy { file: source.file.clone(), offset: 0, length: source.text.len().min(1) }
}

/// A policy's own place: its text, searched in the file, since the parser does not tell.
pub(super) fn place_of(source: &PolicySource, policy: &Policy) -> Place {
    let text = policy.to_string();
    match source.text.find(text.trim()) {
        Some(offset) => Place::Policy { file: source.file.clone(), offset, length: text.trim().len() },
        None => whole(source),
    }
}

/// A fault of Cedar's, with its place and its help.
pub(crate) fn located(source: &PolicySource, error: &dyn Diagnostic) -> Fault {
    let label = error.labels().and_then(|mut labels| labels.next());
    let place = match label {
        Some(label) => {
            Place::Policy { file: source.file.clone(), offset: label.offset(), length: label.len() }
        }
        None => whole(source),
    };
    let mut fault = Fault::error(place, error.to_string());
    fault.cure = error.help().map(|help| help.to_string());
    fault
}
