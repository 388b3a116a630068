//! Templates that leave something open: who hands the task over, which agent acts, the values of slots. Whoever hands one over fills it in; what results is
//! a mandate like any other, checked like any other.

use std::collections::BTreeMap;

use thiserror::Error;
use warrantor_model::{AgentId, Decimal, Json, PersonId, TemplateId, Timestamp};

use crate::{
    Loaded, MandateTemplate, Report,
    files::mandate::{TakenEntry, TakenKind},
    values::{Exact, Value},
};

/// Stands for whoever hands over, while a template is checked.
pub(crate) const SOMEBODY: &str = "whoever-hands-over";
/// Stands for whichever agent, while a template is checked.
pub(crate) const SOME_AGENT: &str = "whichever-agent";
/// Most characters of a text in a slot when nothing is said.
const DEFAULT_LENGTH: u64 = 200;

/// What a template leaves open.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Open {
    /// Who hands over.
    pub person: bool,
    /// Who acts.
    pub agent: bool,
    /// Slots, and what each may hold.
    pub takes: BTreeMap<String, Taken>,
}

impl Open {
    /// Whether nothing is open.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        !self.person && !self.agent && self.takes.is_empty()
    }

    /// What is open, in words.
    #[must_use]
    pub fn words(&self) -> String {
        let who = [(self.person, "the person"), (self.agent, "the agent")];
        let who = who.into_iter().filter(|(open, _)| *open).map(|(_, what)| what.to_owned());
        let slots = self.takes.keys().map(|name| format!("the slot {name}"));
        who.chain(slots).collect::<Vec<_>>().join(", ")
    }
}

/// What a slot may hold.
#[derive(Debug, Clone, PartialEq)]
pub struct Taken {
    /// What to tell whoever fills it.
    pub description: Option<String>,
    /// What it holds.
    pub kind: TakenKind,
    /// It is one of these, where some are named.
    pub one_of: Option<Vec<Json>>,
    /// The most characters of a text.
    pub max_length: u64,
    /// The least a number may be.
    pub min: Option<Decimal>,
    /// The most a number may be.
    pub max: Option<Decimal>,
}

impl Taken {
    /// What an entry says; or what is wrong with it, and the field.
    pub(crate) fn of(entry: TakenEntry) -> Result<Self, (&'static str, String)> {
        let text = entry.kind == TakenKind::Text;
        let number = entry.kind == TakenKind::Number;
        if entry.max_length.is_some() && !text {
            return Err(("max_length", "only a text has a length".to_owned()));
        }
        if (entry.min.is_some() || entry.max.is_some()) && !number {
            return Err(("min", "only a number has a least and a most".to_owned()));
        }
        let decimal = |exact: Option<Exact>| exact.map(|Exact(decimal)| decimal);
        let taken = Self {
            description: entry.description,
            kind: entry.kind,
            one_of: entry.one_of.map(|values| values.into_iter().map(|Value(value)| value).collect()),
            max_length: entry.max_length.unwrap_or(DEFAULT_LENGTH),
            min: decimal(entry.min),
            max: decimal(entry.max),
        };
        if let Some(values) = &taken.one_of {
            if values.is_empty() {
                return Err(("in", "nothing could be chosen".to_owned()));
            }
            for value in values {
                taken.has_kind(value).map_err(|why| ("in", why))?;
            }
        }
        Ok(taken)
    }

    /// Some value that it may hold, to check a template with.
    pub(crate) fn sample(&self) -> Json {
        if let Some(first) = self.one_of.as_ref().and_then(|values| values.first()) {
            return first.clone();
        }
        match self.kind {
            TakenKind::Text => Json::String("x".to_owned()),
            TakenKind::Boolean => Json::Bool(true),
            TakenKind::Number => {
                let number = self.min.or(self.max).unwrap_or(Decimal::ONE);
                Json::Number(number.to_string().into())
            }
        }
    }

    fn has_kind(&self, value: &Json) -> Result<(), String> {
        match (self.kind, value) {
            (TakenKind::Text, Json::String(_)) | (TakenKind::Boolean, Json::Bool(_)) => Ok(()),
            (TakenKind::Number, Json::Number(_)) if value.as_decimal().is_some() => Ok(()),
            (TakenKind::Text, _) => Err("a text is needed".to_owned()),
            (TakenKind::Number, _) => Err("an exact number is needed".to_owned()),
            (TakenKind::Boolean, _) => Err("true or false is needed".to_owned()),
        }
    }

    /// Whether a value may stand in the slot.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, value: &Json) -> Result<(), String> {
        self.has_kind(value)?;
        if let Some(values) = &self.one_of
            && !values.contains(value)
        {
            return Err("it is none of those that can be chosen".to_owned());
        }
        match value {
            Json::String(text) => {
                if text.trim().is_empty() || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
                    return Err("a text without control characters is needed".to_owned());
                }
                if u64::try_from(text.chars().count()).map_or(true, |length| length > self.max_length) {
                    return Err(format!("at most {} characters are allowed", self.max_length));
                }
            }
            Json::Number(_) => {
                let number = value.as_decimal().unwrap_or_default();
                if self.min.is_some_and(|min| number < min) || self.max.is_some_and(|max| number > max) {
                    return Err("it is beyond what is allowed".to_owned());
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// What whoever hands over fills in.
#[derive(Debug, Clone, PartialEq)]
pub struct Filling {
    /// Who hands over.
    pub person: PersonId,
    /// Which agent acts; as the template says when none is given.
    pub agent: Option<AgentId>,
    /// Values of slots.
    pub slots: BTreeMap<String, Json>,
    /// The person's own words, where the template has none.
    pub request: Option<String>,
    /// When it ends, where that is earlier than the template says. `now` is when it is handed over.
    pub until: Option<(Timestamp, Timestamp)>,
}

/// Why a template is not filled.
#[derive(Debug, Error)]
pub enum FillError {
    /// There is no such template.
    #[error("the bundle has no mandate {0}")]
    Unknown(TemplateId),
    /// Something that is filled in does not fit.
    #[error("{field}: {why}")]
    Field {
        /// What.
        field: String,
        /// Why.
        why: String,
    },
    /// What results is no mandate of this bundle.
    #[error("what results is no mandate of this bundle: {0}")]
    Unfit(Report),
}

impl Loaded {
    /// Fills in what a template leaves open. Nothing that it says can be changed by that, but the end can come earlier.
    ///
    /// # Errors
    /// [`FillError`].
    pub fn fill(&self, template: &TemplateId, filling: Filling) -> Result<MandateTemplate, FillError> {
        let blank = self.templates.get(template).ok_or_else(|| FillError::Unknown(template.clone()))?;
        let field =
            |field: &str, why: &str| FillError::Field { field: field.to_owned(), why: why.to_owned() };
        if !blank.open.person && blank.terms.person != filling.person {
            return Err(field("person", &format!("only {} can hand it over", blank.terms.person)));
        }
        let agent = match (&filling.agent, blank.open.agent) {
            (Some(agent), true) => agent.clone(),
            (None, true) => return Err(field("agent", "say which agent is to act")),
            (Some(agent), false) if *agent != blank.terms.agent => {
                return Err(field("agent", &format!("it is for {}", blank.terms.agent)));
            }
            (_, false) => blank.terms.agent.clone(),
        };
        for (name, value) in &filling.slots {
            let taken = blank.open.takes.get(name);
            let taken =
                taken.ok_or_else(|| field(&format!("slots/{name}"), "there is no such slot to fill"))?;
            taken.check(value).map_err(|why| field(&format!("slots/{name}"), &why))?;
        }
        if let Some(missing) = blank.open.takes.keys().find(|name| !filling.slots.contains_key(*name)) {
            return Err(field(&format!("slots/{missing}"), "it has to be filled"));
        }
        if filling.request.is_some() && blank.terms.request.is_some() {
            return Err(field("request", "the template has its words already"));
        }
        let Json::Object(members) = &blank.document else { return Err(field("template", "it is no object")) };
        let mut members: Vec<(String, Json)> = members
            .iter()
            .filter(|(name, _)| !["takes", "slots"].contains(&name.as_str()))
            .cloned()
            .collect();
        let mut set = |name: &str, value: Json| {
            members.retain(|(known, _)| known != name);
            members.push((name.to_owned(), value));
        };
        set("person", Json::String(filling.person.to_string()));
        set("agent", Json::String(agent.to_string()));
        let own = blank.terms.slots.iter().filter(|(name, _)| !blank.open.takes.contains_key(*name));
        let mut slots: Vec<(String, Json)> =
            own.map(|(name, value)| (name.clone(), value.clone())).chain(filling.slots).collect();
        slots.sort_by(|(a, _), (b, _)| a.cmp(b));
        set("slots", Json::Object(slots));
        if let Some(request) = filling.request {
            set("request", Json::String(request));
        }
        if let Some((now, until)) = filling.until
            && until < blank.terms.lifetime.end(now)
        {
            set("expires_at", Json::String(until.to_string()));
            members.retain(|(name, _)| name != "expires_in");
        }
        let mut filled = self.written_out(&Json::Object(members)).map_err(FillError::Unfit)?;
        filled.file.clone_from(&blank.file);
        Ok(filled)
    }
}
