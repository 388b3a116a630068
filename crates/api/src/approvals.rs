//! Questions to persons: listed, shown, answered.

pub(crate) mod browser;

use std::{collections::BTreeSet, sync::Arc};

use axum::{Json, extract::State};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::{IntoParams, ToSchema};
use warrantor_control::{
    access::Presenter,
    approvals::{ApprovalError, AskedQuestion, FRESH, Reply, Replying, WholeQuestion, is_asked},
};
use warrantor_decide::administration::{Act, Actor};
use warrantor_engine::{AnswerError, approvals::QuestionStanding};
use warrantor_model::{DecisionId, Digest, GroupName, MandateId, Subject, Timestamp};
use warrantor_store::Store;

use crate::{
    Api,
    problem::{Kind, Problem, ProblemBody},
    request::{Body, Caller, Id, MAX_PAGE, Optional, Params},
};

/// Which questions.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Which {
    /// `open` for those that wait for an answer or for its use (when nothing is said), or `all`.
    pub(crate) state: Option<String>,
    /// Only those that the caller is asked, by name or by a group.
    #[serde(default)]
    pub(crate) mine: bool,
    /// The id after which the page begins: `next` of the page before.
    #[param(max_length = 128)]
    pub(crate) after: Option<String>,
    /// How many items are looked at for the page, 1 to 200; 50 when nothing is said.
    #[param(minimum = 1, maximum = 200)]
    pub(crate) limit: Option<usize>,
}

/// Questions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Questions {
    /// Each, in the order in which they were asked. A page may have none and not be the last.
    pub(crate) items: Vec<AskedQuestion>,
    /// Where the next page begins; none on the last.
    #[schema(value_type = Option<String>)]
    pub(crate) next: Option<DecisionId>,
}

/// A yes.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Yes {
    /// The digest of the arguments that the person was shown: `arguments_digest` of the question.
    pub(crate) arguments_digest: String,
    /// Other arguments to be used in their place. The person answers for their values.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    pub(crate) arguments: Option<Box<serde_json::value::RawValue>>,
}

/// What is given is given, `null` too: it is no yes to what was asked.
fn given<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Box<serde_json::value::RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

/// A no.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct No {
    /// Why, for the agent.
    #[schema(max_length = 1000)]
    pub(crate) reason: Option<String>,
    /// Whether the whole task ends with it: the mandate that its person handed over.
    #[serde(default)]
    pub(crate) end_mandate: bool,
}

impl From<ApprovalError> for Problem {
    fn from(cause: ApprovalError) -> Self {
        let told = cause.to_string();
        match cause {
            ApprovalError::Answer(cause) => match cause {
                AnswerError::Unknown(id) => Self::unknown("question", id.as_str()),
                AnswerError::Settled { .. } | AnswerError::Contended => Self::new(Kind::Conflict, told),
                AnswerError::Refused { .. } => Self::new(Kind::Conflict, told),
                AnswerError::Stale(_) => Self::new(Kind::NotAsShown, told),
                AnswerError::MayNot { .. } => Self::new(Kind::NotPermitted, told),
                AnswerError::Invalid(why) => Self::invalid("arguments", why),
                AnswerError::SignInAgain { .. } => Self::new(Kind::SignInAgain, told),
                AnswerError::Uncertain(_) => Self::new(Kind::Unavailable, told),
                AnswerError::Unavailable(why) => Self::unavailable(&why),
            },
            ApprovalError::Office(cause) => cause.into(),
            ApprovalError::Explain(cause) => cause.into(),
            ApprovalError::Question(cause) => Self::unavailable(&cause),
        }
    }
}

fn groups(actor: &Actor) -> BTreeSet<GroupName> {
    match actor {
        Actor::Person { groups, .. } => groups.clone(),
        Actor::Client { .. } => BTreeSet::new(),
    }
}

impl<S: Store> Api<S> {
    /// Whether a caller is asked.
    pub(crate) fn asks(&self, caller: &Caller, question: &AskedQuestion) -> bool {
        caller.person().is_some_and(|person| is_asked(question, person, &groups(caller.actor())))
    }

    /// Whether a caller may see a question: whoever is asked, and whoever may see how calls under the mandate are decided.
    pub(crate) async fn sees_question(
        &self,
        caller: &Caller,
        question: &AskedQuestion,
    ) -> Result<bool, Problem> {
        if self.asks(caller, question) {
            return Ok(true);
        }
        let Ok(mandate) = MandateId::new(question.mandate.as_str()) else { return Ok(false) };
        let resource = self.office.mandate_resource(&mandate).await?;
        Ok(self.sees(caller, Act::ReadDecision, &resource))
    }

    pub(crate) async fn seen_question(
        &self,
        caller: &Caller,
        id: &DecisionId,
    ) -> Result<WholeQuestion, Problem> {
        let question = self.approvals.question(id).await?;
        if !self.sees_question(caller, &question).await? {
            return Err(Problem::unknown("question", id.as_str()));
        }
        Ok(self.approvals.whole(&self.office, &self.bundle(), id).await?)
    }

    /// Whether somebody has just proved who they are. Where the identity provider does not say when they did, nobody has.
    pub(crate) fn is_fresh(&self, authenticated_at: Option<Timestamp>) -> bool {
        authenticated_at.is_some_and(|at| at.plus(FRESH) >= self.office.now())
    }

    /// Takes an answer of whoever calls, who must be a person that sees the question.
    pub(crate) async fn replied(
        &self,
        caller: &Caller,
        id: &DecisionId,
        reply: Reply,
    ) -> Result<AskedQuestion, Problem> {
        let Presenter::Person { id: person, hand, authenticated_at, .. } = &caller.0 else {
            return Err(Problem::new(Kind::NotPermitted, "only a person can answer"));
        };
        let question = self.approvals.question(id).await?;
        if !self.sees_question(caller, &question).await? {
            return Err(Problem::unknown("question", id.as_str()));
        }
        let is_fresh = self.is_fresh(*authenticated_at);
        let by = Replying { person, hand, is_fresh };
        Ok(self.approvals.reply(&self.office, &self.bundle(), id, &by, reply).await?)
    }
}

/// Questions to persons that the caller may see.
#[utoipa::path(get, path = "/v1/approvals", tag = "approvals", operation_id = "listApprovals", params(Which),
    responses((status = 200, body = Questions), (status = "default", body = ProblemBody)))]
pub(crate) async fn list<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Params(which): Params<Which>,
) -> Result<Json<Questions>, Problem> {
    let limit = which.limit.unwrap_or(50);
    if !(1..=MAX_PAGE).contains(&limit) {
        return Err(Problem::invalid("limit", format!("1 to {MAX_PAGE} items make a page")));
    }
    let after = which.after.as_deref().map(str::parse::<DecisionId>).transpose();
    let after = after.map_err(|cause| Problem::invalid("after", cause.to_string()))?;
    let (page, next) = match which.state.as_deref() {
        None | Some("open") => api.approvals.open(after.as_ref(), limit).await?,
        Some("all") => api.approvals.all(after.as_ref(), limit).await?,
        Some(_) => return Err(Problem::invalid("state", "it is `open` or `all`")),
    };
    let mut items = Vec::new();
    for question in page {
        let seen = match which.mine {
            true => api.asks(&caller, &question),
            false => api.sees_question(&caller, &question).await?,
        };
        if seen {
            items.push(question);
        }
    }
    Ok(Json(Questions { items, next }))
}

/// A question with all that whoever answers has to know.
#[utoipa::path(get, path = "/v1/approvals/{id}", tag = "approvals", operation_id = "readApproval",
    params(("id" = String, Path, description = "The decision that asked")),
    responses((status = 200, body = WholeQuestion), (status = "default", body = ProblemBody)))]
pub(crate) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<DecisionId>,
) -> Result<Json<WholeQuestion>, Problem> {
    Ok(Json(api.seen_question(&caller, &id).await?))
}

/// Says yes to exactly this call, once.
#[utoipa::path(post, path = "/v1/approvals/{id}/approve", tag = "approvals", operation_id = "approve",
    params(("id" = String, Path, description = "The decision that asked")), request_body = Yes,
    responses((status = 200, body = AskedQuestion), (status = "default", body = ProblemBody)))]
pub(crate) async fn approve<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<DecisionId>,
    Body(yes): Body<Yes>,
) -> Result<Json<AskedQuestion>, Problem> {
    let shown: Digest = yes
        .arguments_digest
        .parse()
        .map_err(|_| Problem::invalid("arguments_digest", "it is `sha256:` and 64 hexadecimal digits"))?;
    let arguments = yes.arguments.map(|raw| raw.get().as_bytes().to_vec());
    Ok(Json(api.replied(&caller, &id, Reply::Approve { shown, arguments }).await?))
}

/// Says no.
#[utoipa::path(post, path = "/v1/approvals/{id}/deny", tag = "approvals", operation_id = "deny",
    params(("id" = String, Path, description = "The decision that asked")), request_body = Option<No>,
    responses((status = 200, body = AskedQuestion), (status = "default", body = ProblemBody)))]
pub(crate) async fn deny<S: Store>(
    State(api): State<Arc<Api<S>>>,
    caller: Caller,
    Id(id): Id<DecisionId>,
    Optional(no): Optional<No>,
) -> Result<Json<AskedQuestion>, Problem> {
    Ok(Json(api.denied(&caller, &id, no.reason, no.end_mandate).await?))
}

impl<S: Store> Api<S> {
    /// The mandate that a person handed over for what a question is a part of.
    pub(crate) async fn whole_task(
        &self,
        question: &AskedQuestion,
    ) -> Result<(MandateId, warrantor_decide::administration::Resource), Problem> {
        let mandate =
            MandateId::new(question.root_mandate.as_str()).map_err(|cause| Problem::internal(&cause))?;
        let resource = self.office.mandate_resource(&mandate).await?;
        Ok((mandate, resource))
    }

    /// A no, and the end of the mandate where it says so and policies let the caller end it.
    pub(crate) async fn denied(
        &self,
        caller: &Caller,
        id: &DecisionId,
        reason: Option<String>,
        end_mandate: bool,
    ) -> Result<AskedQuestion, Problem> {
        let answered = match self.replied(caller, id, Reply::Deny { reason }).await {
            // The no was taken before: what is left is to end the task.
            Err(problem) if end_mandate && problem.kind == Kind::Conflict => {
                let question = self.approvals.question(id).await?;
                if question.state != QuestionStanding::Denied
                    || !self.sees_question(caller, &question).await?
                {
                    return Err(problem);
                }
                question
            }
            answered => answered?,
        };
        if end_mandate {
            // The no stands whatever comes of the rest.
            let (mandate, resource) = self.whole_task(&answered).await?;
            let not_ended = |problem: Problem| match problem.kind {
                Kind::NotPermitted | Kind::NotFound => {
                    let told = "Your no was taken. The task was not ended: that is not yours to do.";
                    Problem::new(Kind::NotPermitted, told)
                }
                kind => {
                    let told = format!("Your no was taken. The task was not ended: {}", problem.detail);
                    Problem::new(kind, told)
                }
            };
            let authority = self.may(caller, Act::RevokeMandate, &resource).await.map_err(not_ended)?;
            let why = format!("with the answer to {id}");
            let ended = self.office.end_mandate(&authority, &Subject::Mandate(mandate), Some(&why)).await;
            ended.map_err(|cause| not_ended(cause.into()))?;
        }
        Ok(answered)
    }
}
