//! Templates, handover, mandates.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use warrantor_bundle::{Filling, Loaded, MandateTemplate, Open};
use warrantor_control::{
    handover::{Agreed, Once},
    mandates::{KnownMandate, MandatesOf, digest_of},
    sentences::{Section, sentences},
};
use warrantor_decide::administration::{Act, Resource};
use warrantor_engine::mandates::Consent;
use warrantor_model::{
    AgentId, Digest, Json as Exact, MandateId, MandateKind, PersonId, Subject, TemplateId, Timestamp,
    time::parse_duration,
};
use warrantor_store::Store;

use crate::{
    Api,
    people::Why,
    problem::{Kind, Problem, ProblemBody},
    request::{Body, Caller, Id, Optional, PageParams, Params, instant},
};

/// The longest time after which a sponsor has to look at a standing mandate again.
const MOST_DAYS_TO_REVIEW: u64 = 366;

/// A mandate of the bundle.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Template {
    /// Its id.
    pub(crate) id: String,
    /// Why, in a line.
    pub(crate) purpose: String,
    /// `delegated` or `standing`.
    pub(crate) kind: String,
    /// Who hands it over; none where that is left open.
    pub(crate) person: Option<String>,
    /// Who acts; none where that is left open.
    pub(crate) agent: Option<String>,
    /// Slots that whoever hands it over fills.
    pub(crate) takes: BTreeMap<String, TakenSlot>,
    /// What it allows, in plain sentences. What it leaves open stands in them under a name that nobody has.
    pub(crate) sentences: Vec<Section>,
}

/// A slot to fill.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TakenSlot {
    /// `text`, `number` or `boolean`.
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// What to tell whoever fills it.
    pub(crate) description: Option<String>,
}

/// The mandates of the bundle.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Templates {
    /// Each, in the order of their ids.
    pub(crate) items: Vec<Template>,
}

fn template(bundle: &Loaded, one: &MandateTemplate) -> Template {
    let Open { person, agent, takes } = &one.open;
    let slot = |taken: &warrantor_bundle::Taken| TakenSlot {
        kind: match taken.kind {
            warrantor_bundle::TakenKind::Text => "text",
            warrantor_bundle::TakenKind::Number => "number",
            warrantor_bundle::TakenKind::Boolean => "boolean",
        }
        .to_owned(),
        description: taken.description.clone(),
    };
    Template {
        id: one.terms.template.to_string(),
        purpose: one.terms.purpose.clone(),
        kind: one.terms.kind.as_str().to_owned(),
        person: (!person).then(|| one.terms.person.to_string()),
        agent: (!agent).then(|| one.terms.agent.to_string()),
        takes: takes.iter().map(|(name, taken)| (name.clone(), slot(taken))).collect(),
        sentences: sentences(&bundle.snapshot, &one.terms),
    }
}

/// The mandates of the bundle: what can be handed over.
#[utoipa::path(get, path = "/v1/templates", tag = "mandates", operation_id = "listTemplates",
    responses((status = 200, body = Templates), (status = "default", body = ProblemBody)))]
pub(crate) async fn templates<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
) -> Result<Json<Templates>, Problem> {
    api.may(&caller, Act::ReadTemplate, &Resource::Deployment).await?;
    let bundle = api.bundle();
    let seen = bundle
        .templates
        .values()
        .filter(|one| api.sees(&caller, Act::ReadTemplate, &Resource::Template(one.terms.template.clone())));
    Ok(Json(Templates { items: seen.map(|one| template(&bundle, one)).collect() }))
}

/// A mandate of the bundle.
#[utoipa::path(get, path = "/v1/templates/{id}", tag = "mandates", operation_id = "readTemplate",
    params(("id" = String, Path, description = "The template's id")),
    responses((status = 200, body = Template), (status = "default", body = ProblemBody)))]
pub(crate) async fn read_template<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<TemplateId>,
) -> Result<Json<Template>, Problem> {
    api.may(&caller, Act::ReadTemplate, &Resource::Template(id.clone())).await?;
    let bundle = api.bundle();
    let one = bundle.templates.get(&id).ok_or_else(|| Problem::unknown("template", id.as_str()))?;
    Ok(Json(template(&bundle, one)))
}

/// Revokes every mandate of a template that was handed over until now.
#[utoipa::path(post, path = "/v1/templates/{id}/revoke", tag = "mandates", operation_id = "revokeTemplate",
    params(("id" = String, Path, description = "The template's id")), request_body = Option<Why>,
    responses((status = 204), (status = "default", body = ProblemBody)))]
pub(crate) async fn revoke_template<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<TemplateId>,
    Optional(why): Optional<Why>,
) -> Result<StatusCode, Problem> {
    let authority = api.may(&caller, Act::RevokeMandate, &Resource::Template(id.clone())).await?;
    if !api.bundle().templates.contains_key(&id) {
        return Err(Problem::unknown("template", id.as_str()));
    }
    api.office.end_mandate(&authority, &Subject::Template(id), why.words()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What is to be handed over: a template with what it leaves open, or grants written out.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Handover {
    /// The template.
    #[schema(value_type = Option<String>)]
    pub(crate) template: Option<TemplateId>,
    /// Or the whole mandate, in the format of `warrantor schema mandate`, without `person`.
    #[schema(value_type = Option<Object>)]
    pub(crate) mandate: Option<serde_json::Value>,
    /// Which agent is to act, where the template leaves that open.
    #[schema(value_type = Option<String>)]
    pub(crate) agent: Option<AgentId>,
    /// Values of slots.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(crate) slots: BTreeMap<String, serde_json::Value>,
    /// The person's own words, where the template has none.
    #[schema(max_length = 10000)]
    pub(crate) request: Option<String>,
    /// When it ends, where that is earlier than the template says.
    pub(crate) expires_at: Option<String>,
    /// After how long the sponsor has to look at it again, such as `30d`: needed for a standing mandate.
    pub(crate) review_in: Option<String>,
    /// The digest of the sentences that the person was shown and agreed to, as the preview gives it.
    pub(crate) agreed: Option<String>,
}

/// What would be handed over.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Preview {
    /// What it allows, in plain sentences, for the person who is to agree.
    pub(crate) sentences: Vec<Section>,
    /// The digest of the sentences, which an agreement names.
    pub(crate) agreed: String,
    /// When it would end.
    #[schema(value_type = String)]
    pub(crate) expires_at: Timestamp,
}

impl<S: Store> Api<S> {
    /// What a handover would make a mandate of.
    fn filled(
        &self,
        bundle: &Loaded,
        person: &PersonId,
        handover: &Handover,
    ) -> Result<MandateTemplate, Problem> {
        let now = self.office.now();
        let until = instant("expires_at", handover.expires_at.as_deref())?;
        if until.is_some_and(|until| until <= now) {
            return Err(Problem::invalid("expires_at", "it would have ended already"));
        }
        match (&handover.template, &handover.mandate) {
            (Some(id), None) => {
                let filling = Filling {
                    person: person.clone(),
                    agent: handover.agent.clone(),
                    slots: handover
                        .slots
                        .iter()
                        .map(|(name, value)| (name.clone(), Exact::from_value(value)))
                        .collect(),
                    request: handover.request.clone(),
                    until: until.map(|until| (now, until)),
                };
                Ok(bundle.fill(id, filling)?)
            }
            (None, Some(document)) => {
                let mut document = document.clone();
                let members = document
                    .as_object_mut()
                    .ok_or_else(|| Problem::invalid("mandate", "an object is needed"))?;
                if members.contains_key("person") {
                    return Err(Problem::invalid(
                        "mandate",
                        "the person is whoever hands over: leave it out",
                    ));
                }
                members.insert("person".to_owned(), person.to_string().into());
                if until.is_some() || handover.agent.is_some() || !handover.slots.is_empty() {
                    return Err(Problem::invalid(
                        "mandate",
                        "a mandate that is written out says all of it itself",
                    ));
                }
                let written = bundle.written_out(&Exact::from_value(&document));
                let written = written.map_err(|report| Problem::invalid("mandate", report.to_string()))?;
                // A name of the bundle's would pass for the bundle's mandate in every list and record.
                if bundle.templates.contains_key(&written.terms.template) {
                    return Err(Problem::invalid(
                        "mandate",
                        "the bundle has a mandate of this id: give another",
                    ));
                }
                Ok(written)
            }
            _ => Err(Problem::invalid("template", "give either a template or a mandate")),
        }
    }

    fn preview(&self, bundle: &Loaded, filled: &MandateTemplate) -> Result<Preview, Problem> {
        let told = sentences(&bundle.snapshot, &filled.terms);
        Ok(Preview {
            agreed: digest_of(&told).map_err(|cause| Problem::internal(&cause))?.to_string(),
            sentences: told,
            expires_at: filled.terms.lifetime.end(self.office.now()),
        })
    }
}

/// What a handover would allow, in plain sentences. Nothing is handed over.
#[utoipa::path(post, path = "/v1/mandates/preview", tag = "mandates", operation_id = "previewMandate", request_body = Handover,
    responses((status = 200, body = Preview), (status = "default", body = ProblemBody)))]
pub(crate) async fn preview<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Body(handover): Body<Handover>,
) -> Result<Json<Preview>, Problem> {
    let person = caller.must_be_person()?;
    let bundle = api.bundle();
    let filled = api.filled(&bundle, person, &handover)?;
    let resource = api.office.terms_resource("new", &filled.terms, handover.template.is_some()).await?;
    api.may(&caller, Act::HandOver, &resource).await?;
    Ok(Json(api.preview(&bundle, &filled)?))
}

/// Hands over a task.
#[utoipa::path(post, path = "/v1/mandates", tag = "mandates", operation_id = "handOver", request_body = Handover,
    params(("Idempotency-Key" = Option<String>, Header, description = "Makes a second request like this one be answered with the mandate of the first")),
    responses((status = 201, body = KnownMandate), (status = 200, body = KnownMandate, description = "It was handed over before, by this key"), (status = "default", body = ProblemBody)))]
pub(crate) async fn hand_over<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    headers: HeaderMap,
    Body(handover): Body<Handover>,
) -> Result<(StatusCode, Json<KnownMandate>), Problem> {
    let person = caller.must_be_person()?;
    let bundle = api.bundle();
    let once = once(&headers, person, &handover)?;
    let agreed = Agreed { once, ..Agreed::default() };
    // Asked before anything is looked at that may have changed since the first time.
    let before = api.desk(&bundle, String::new()).handed_before(&agreed).await?;
    if let Some(before) = before {
        return Ok((StatusCode::OK, Json(api.office.mandate(&before.mandate).await?)));
    }
    let filled = api.filled(&bundle, person, &handover)?;
    let resource = api.office.terms_resource("new", &filled.terms, handover.template.is_some()).await?;
    let authority = api.may(&caller, Act::HandOver, &resource).await?;
    let shown = api.preview(&bundle, &filled)?;
    let standing = filled.terms.kind == MandateKind::Standing;
    match handover.agreed.as_deref() {
        Some(agreed) if agreed == shown.agreed => {}
        Some(_) => {
            return Err(Problem::new(
                Kind::NotAsShown,
                "the sentences have changed: show them, and ask again",
            ));
        }
        None if standing => {
            return Err(Problem::invalid(
                "agreed",
                "a standing mandate needs the sponsor's agreement to its sentences",
            ));
        }
        None => {}
    }
    let review_at = review(&api.office.now(), handover.review_in.as_deref(), standing)?;
    let digest: Option<Digest> = handover.agreed.as_deref().and_then(|text| text.parse().ok());
    let consent = digest.map(|shown| Consent { by: authority.evidence(), shown });
    let agreed = Agreed { consent, review_at, ..agreed };
    let desk = api.desk(&bundle, authority.evidence());
    desk.note_bundle().await?;
    let handed = desk.hand_over_agreed(&filled, &agreed).await?;
    let status = if handed.new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(api.office.mandate(&handed.mandate).await?)))
}

/// The idempotency key of a request, bound to whoever sends it and to what it says.
fn once(headers: &HeaderMap, person: &PersonId, handover: &Handover) -> Result<Option<Once>, Problem> {
    let mut keys = headers.get_all("idempotency-key").iter();
    let Some(key) = keys.next() else { return Ok(None) };
    let invalid = || Problem::invalid("Idempotency-Key", "one key of 1 to 128 visible characters is needed");
    let text = key.to_str().map_err(|_| invalid())?;
    if keys.next().is_some()
        || text.is_empty()
        || text.len() > 128
        || !text.bytes().all(|b| b.is_ascii_graphic())
    {
        return Err(invalid());
    }
    let request = serde_json::to_vec(handover).map_err(|cause| Problem::internal(&cause))?;
    let once = Once::new(person.as_str(), text, Digest::of(&request));
    once.map(Some).map_err(|cause| Problem::invalid("Idempotency-Key", cause.to_string()))
}

/// When the sponsor has to look at it again.
fn review(now: &Timestamp, text: Option<&str>, needed: bool) -> Result<Option<Timestamp>, Problem> {
    let Some(text) = text else {
        return if needed {
            Err(Problem::invalid("review_in", "a standing mandate needs a date of review, such as `30d`"))
        } else {
            Ok(None)
        };
    };
    let after = parse_duration(text).map_err(|cause| Problem::invalid("review_in", cause.to_string()))?;
    if after.as_secs() > MOST_DAYS_TO_REVIEW * 24 * 60 * 60 {
        return Err(Problem::invalid("review_in", format!("at most {MOST_DAYS_TO_REVIEW} days may pass")));
    }
    Ok(Some(now.plus(after)))
}

/// A page of mandates.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Mandates {
    /// The mandates, in the order of their ids, which is that of time.
    pub(crate) items: Vec<KnownMandate>,
    /// Where the next page begins; none after the last one.
    pub(crate) next: Option<String>,
}

/// Whose mandates, and where the page begins.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct MandateParams {
    /// The id after which the page begins.
    #[param(max_length = 128)]
    after: Option<String>,
    /// How many items the page has at most; 50 when nothing is said.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<usize>,
    /// Only those that this person handed over.
    #[param(value_type = Option<String>)]
    person: Option<PersonId>,
    /// Only those of this agent. The page may be short before the last one.
    #[param(value_type = Option<String>)]
    agent: Option<AgentId>,
}

/// Mandates that were handed over: those of a person or of an agent, as far as the caller may see them; all for whoever may see all, else the caller's own.
#[utoipa::path(get, path = "/v1/mandates", tag = "mandates", operation_id = "listMandates", params(MandateParams),
    responses((status = 200, body = Mandates), (status = "default", body = ProblemBody)))]
pub(crate) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Params(params): Params<MandateParams>,
) -> Result<Json<Mandates>, Problem> {
    let page = PageParams { after: params.after, limit: params.limit };
    let (after, limit) = (page.after::<MandateId>()?, page.limit()?);
    let sees_all = api.sees(&caller, Act::ListMandates, &Resource::Deployment);
    let of = match (params.person, params.agent, caller.person()) {
        (Some(_), Some(_), _) => {
            return Err(Problem::invalid("agent", "list the mandates of a person or of an agent"));
        }
        (Some(person), None, Some(own)) if person == *own => MandatesOf::Person(person),
        // How many mandates somebody hands over, and when, is told to nobody who may not see them.
        (Some(person), None, _) => {
            api.may(&caller, Act::ListMandates, &Resource::Deployment).await?;
            MandatesOf::Person(person)
        }
        (None, Some(agent), _) => {
            let (_, resource) = api.agent_seen_by(&caller, &agent).await?;
            api.may(&caller, Act::ReadAgent, &resource).await?;
            MandatesOf::Agent(agent)
        }
        (None, None, Some(person)) if !sees_all => MandatesOf::Person(person.clone()),
        (None, None, _) => {
            api.may(&caller, Act::ListMandates, &Resource::Deployment).await?;
            MandatesOf::Everybody
        }
    };
    let all = api.office.mandates(&of, after.as_ref(), limit).await?;
    let next = (all.len() == limit).then(|| all.last().map(|last| last.id.to_string())).flatten();
    let mut items = Vec::new();
    for one in all {
        let seen = sees_all || {
            let resource = api.office.mandate_resource(&one.id).await?;
            api.sees(&caller, Act::ReadMandate, &resource)
        };
        items.extend(seen.then_some(one));
    }
    Ok(Json(Mandates { items, next }))
}

/// A mandate, and what it allows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Shown {
    /// The mandate.
    #[serde(flatten)]
    pub(crate) mandate: KnownMandate,
    /// What it allows, in plain sentences.
    pub(crate) sentences: Vec<Section>,
}

/// A mandate, and what it allows in plain sentences.
#[utoipa::path(get, path = "/v1/mandates/{id}", tag = "mandates", operation_id = "readMandate",
    params(("id" = String, Path, description = "The mandate's id")),
    responses((status = 200, body = Shown), (status = "default", body = ProblemBody)))]
pub(crate) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<MandateId>,
) -> Result<Json<Shown>, Problem> {
    let resource = api.office.mandate_resource(&id).await?;
    api.may(&caller, Act::ReadMandate, &resource).await?;
    Ok(Json(Shown { mandate: api.office.mandate(&id).await?, sentences: api.office.told(&id).await? }))
}

/// Revokes a mandate, and those below it, for good.
#[utoipa::path(post, path = "/v1/mandates/{id}/revoke", tag = "mandates", operation_id = "revokeMandate",
    params(("id" = String, Path, description = "The mandate's id")), request_body = Option<Why>,
    responses((status = 200, body = KnownMandate), (status = "default", body = ProblemBody)))]
pub(crate) async fn revoke<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<MandateId>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownMandate>, Problem> {
    let resource = api.office.mandate_resource(&id).await?;
    let authority = api.may(&caller, Act::RevokeMandate, &resource).await?;
    api.office.end_mandate(&authority, &Subject::Mandate(id.clone()), why.words()?).await?;
    Ok(Json(api.office.mandate(&id).await?))
}

/// Says that the task of a mandate is done, which ends it.
#[utoipa::path(post, path = "/v1/mandates/{id}/complete", tag = "mandates", operation_id = "completeMandate",
    params(("id" = String, Path, description = "The mandate's id")), request_body = Option<Why>,
    responses((status = 200, body = KnownMandate), (status = "default", body = ProblemBody)))]
pub(crate) async fn complete<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<MandateId>,
    Optional(why): Optional<Why>,
) -> Result<Json<KnownMandate>, Problem> {
    let resource = api.office.mandate_resource(&id).await?;
    let authority = api.may(&caller, Act::CompleteMandate, &resource).await?;
    let reason = why.words()?.map_or_else(|| "completed".to_owned(), |words| format!("completed: {words}"));
    api.office.end_mandate(&authority, &Subject::Mandate(id.clone()), Some(&reason)).await?;
    Ok(Json(api.office.mandate(&id).await?))
}
