//! Calls whose answer comes as a task (2026-07-28).
//!
//! A task is the call that it began as: its receipt is kept until it ends, and its result is taken in and shown like any other. Its id is ours, made of
//! random bits, and known to the connection of one caller's mandate alone; the server's own stays here.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::value::RawValue;
use tokio::{sync::Mutex, time::Instant};
use warrantor_decide::Output;
use warrantor_engine::DecisionPoint;
use warrantor_mcp::{
    Fragment, Id, RpcError,
    capabilities::{Capabilities, asked_by},
    envelope, rpc,
    tasks::{Status, TaskParams, TaskState, acknowledged, required},
};
use warrantor_model::{Digest, ToolRef, record::Outcome};

use crate::{
    answers::Unsent,
    exchange::{Asked, Exchange, Reply, lock},
    obligations,
    owed::Owed,
    upstream::{Answer, Mirror, NoAnswer, Request, Said},
    uses::Use,
};

/// Most tasks of one connection; those that have ended make room.
const MAX_TASKS: usize = 64;
/// How long giving tasks up may take when their mandate ends.
const LAST: Duration = Duration::from_secs(2);

/// A call that goes on at the server.
pub(crate) struct Task<P: DecisionPoint> {
    owed: Option<Owed<P>>,
    theirs: String,
    tool: ToolRef,
    begun: Instant,
    /// What the client was asked last: keys of questions, and the digest of all of them.
    asked: (BTreeMap<String, &'static str>, Option<Digest>),
    /// What it ended with, as it was shown.
    ended: Option<Fragment<'static>>,
}

/// Tasks by our ids.
pub(crate) type Tasks<P> = BTreeMap<String, Arc<Mutex<Task<P>>>>;

impl<P: DecisionPoint> Exchange<P> {
    /// Keeps a call that became a task.
    pub(crate) async fn begin_task(
        &self,
        using: &Use<'_>,
        owed: Owed<P>,
        tool: &ToolRef,
        result: &RawValue,
    ) -> Reply {
        let id = using.asked.id;
        let refused = |owed: Owed<P>, why: &str| {
            let message = format!("the call became a task that is not kept: {why}{}", owed.name());
            tracing::warn!(why, "a task was not kept");
            owed.tell(Outcome::Withheld, Duration::ZERO);
            Reply::error(id, rpc::INTERNAL_ERROR, message)
        };
        let state = match TaskState::begun(result) {
            Ok(state) => state,
            Err(cause) => return refused(owed, &cause.to_string()),
        };
        let Some(ours) = self.engine.unguessable() else {
            return refused(owed, "no random bytes for its id");
        };
        let mut tasks = lock(&self.tasks);
        if tasks.len() >= MAX_TASKS {
            // Those that have ended were shown. One that is locked is being looked at.
            tasks.retain(|_, task| task.try_lock().map_or(true, |task| task.ended.is_none()));
        }
        if tasks.len() >= MAX_TASKS {
            return refused(owed, "too many go on");
        }
        let task = Task {
            owed: Some(owed),
            theirs: state.id.to_string(),
            tool: tool.clone(),
            begun: Instant::now(),
            asked: (BTreeMap::new(), None),
            ended: None,
        };
        let shown = state.to_client(true, &ours, None);
        tasks.insert(ours, Arc::new(Mutex::new(task)));
        Reply::Line(envelope::result(id, &shown))
    }

    /// Answers `tasks/get`, `tasks/update` and `tasks/cancel`.
    pub(crate) async fn task(&self, asked: &Asked<'_>, params: &TaskParams<'_>) -> Reply {
        let id = asked.id;
        let able = params.meta.modern().map(|modern| Capabilities::read(modern.client_capabilities()));
        let able = able.and_then(Result::ok).unwrap_or_default();
        if !able.has("tasks") {
            let mut error =
                RpcError::new(rpc::MISSING_CAPABILITY, "the client does not say that it knows tasks");
            error.data = Some(required());
            return Reply::fault(id, &error);
        }
        if let Err(why) = self.stands().await {
            tracing::warn!(why = why.detail, "a task is not told of");
            return Reply::error(id, rpc::REFUSED, why.code.sentence());
        }
        let known = lock(&self.tasks).get(params.id.as_ref()).cloned();
        let Some(task) = known else {
            return Reply::error(id, rpc::INVALID_PARAMS, "there is no such task");
        };
        let mut task = task.lock().await;
        let able = self.granted_only(able).await;
        match asked.method {
            "tasks/update" => self.update(id, params, &task, able).await,
            "tasks/cancel" => {
                let answer = self.ask_about("tasks/cancel", params, &task.theirs, &[], able).await;
                self.acknowledge(id, &answer)
            }
            _ => match task.ended.clone() {
                Some(ended) => Reply::Line(envelope::result(id, &ended)),
                None => self.look(id, params, &mut task, able).await,
            },
        }
    }

    /// Asks the server about a task.
    async fn ask_about(
        &self,
        method: &'static str,
        params: &TaskParams<'_>,
        theirs: &str,
        responses: &[(String, Box<RawValue>)],
        able: Capabilities,
    ) -> Result<Answer, NoAnswer> {
        let pending = self.upstream.announce(None, None);
        let line = params.request(pending.id, method, theirs, responses, able);
        let modern = params.meta.modern().map(|modern| modern.version());
        let mirror = Mirror { method, name: Some(theirs.to_owned()), modern, ..Mirror::default() };
        self.ask(pending, Request { line, mirror }, self.settings.request_timeout).await
    }

    /// What the client is told of something that has no result.
    fn acknowledge(&self, id: &Id<'_>, answer: &Result<Answer, NoAnswer>) -> Reply {
        match self.relay(id, answer, |_| Ok((acknowledged(), ()))) {
            Ok((line, ())) => Reply::Line(line),
            Err(reply) => reply,
        }
    }

    /// Answers of the client, each decided.
    async fn update(
        &self,
        id: &Id<'_>,
        params: &TaskParams<'_>,
        task: &Task<P>,
        able: Capabilities,
    ) -> Reply {
        let mut responses = Vec::new();
        // Dropped on the way, they went nowhere.
        let mut answers = Unsent(Vec::new());
        for (key, answer) in &params.responses {
            // What nobody asked goes nowhere.
            let Some(asked) = task.asked.0.get(key.as_ref()) else { continue };
            match self.let_through(asked, answer).await {
                Ok((raw, owes)) => {
                    responses.push((key.to_string(), raw));
                    answers.0.extend(owes);
                }
                Err((decision, reason, sentence, next)) => {
                    let refusal = warrantor_mcp::refusal::Refusal {
                        decision: &decision,
                        reason: reason.as_str(),
                        sentence: &sentence,
                        next_step: next.as_str(),
                    };
                    return Reply::fault(id, &refusal.to_rpc(rpc::REFUSED, None));
                }
            }
        }
        let answer = self.ask_about("tasks/update", params, &task.theirs, &responses, able).await;
        if !matches!(answer, Err(NoAnswer::NotSent | NoAnswer::TakenBack)) {
            answers.sent();
        }
        self.acknowledge(id, &answer)
    }

    /// How far a task has come; what it ends with is taken in before it is shown.
    async fn look(
        &self,
        id: &Id<'_>,
        params: &TaskParams<'_>,
        task: &mut Task<P>,
        able: Capabilities,
    ) -> Reply {
        let answer = self.ask_about("tasks/get", params, &task.theirs, &[], able).await;
        let said = match &answer {
            Ok(answer) => answer.said(&self.settings.upstream_limits),
            Err(cause) => return Reply::error(id, rpc::INTERNAL_ERROR, cause.to_string()),
        };
        let state = match said {
            Ok(Said::Result(result)) => TaskState::parse(result).map_err(|cause| cause.to_string()),
            Ok(Said::Error(error)) => {
                return Reply::error(id, rpc::code_of(error), "the tool server answered with this error");
            }
            Err(why) => Err(why),
        };
        let state = match state {
            Ok(state) if state.id == task.theirs => state,
            Ok(_) => return self.withheld_task(id, "it is of another task"),
            Err(why) => return self.withheld_task(id, &why),
        };
        let ours = params.id.as_ref();
        let took = task.begun.elapsed();
        match state.status {
            Status::Working => Reply::Line(envelope::result(id, &state.to_client(false, ours, None))),
            Status::Cancelled => {
                if let Some(owed) = task.owed.take() {
                    owed.tell(Outcome::Cancelled, took);
                }
                self.end(id, task, state.to_client(false, ours, None))
            }
            Status::InputRequired => self.ask_client(id, task, &state, ours, able).await,
            Status::Failed | Status::Completed => match self.take_in_end(task, &state, took).await {
                Ok((member, shown)) => {
                    let ended = state.to_client(false, ours, Some((member, &Fragment::from(&*shown))));
                    self.end(id, task, ended)
                }
                Err(why) => {
                    if let Some(owed) = task.owed.take() {
                        owed.tell(Outcome::Withheld, took);
                    }
                    lock(&self.tasks).remove(ours);
                    self.withheld_task(id, &why)
                }
            },
        }
    }

    fn end(&self, id: &Id<'_>, task: &mut Task<P>, ended: Fragment<'static>) -> Reply {
        let line = envelope::result(id, &ended);
        task.ended = Some(ended);
        Reply::Line(line)
    }

    fn withheld_task(&self, id: &Id<'_>, why: &str) -> Reply {
        tracing::warn!(why, "the state of a task was withheld");
        Reply::error(id, rpc::INTERNAL_ERROR, "the state of the task was withheld: the log says why")
    }

    /// The result or the error of a task, as it may be shown.
    async fn take_in_end(
        &self,
        task: &mut Task<P>,
        state: &TaskState<'_>,
        took: Duration,
    ) -> Result<(&'static str, Box<RawValue>), String> {
        let mut owed = task.owed.take().ok_or("it has ended")?;
        let owes = owed.obligations();
        let told = state.result.or(state.error).ok_or("it has no result")?;
        if obligations::caps(&owes, told.get().len()) {
            task.owed = Some(owed);
            return Err(obligations::TOO_LARGE.to_owned());
        }
        let ended = match state.result {
            Some(result) => {
                self.tool_answer(&task.tool, (&owes, owed.edited().as_deref()), result).map(|answer| {
                    let shown = answer.shown.unwrap_or_else(|| result.to_owned());
                    (answer.outcome, shown, answer.output)
                })
            }
            None if obligations::redacts(&owes) => {
                Err("it is an error, of which nothing can be left out".to_owned())
            }
            None => {
                let output = Output { others: vec![told.get().to_owned()], error: true, ..Output::default() };
                Ok((Outcome::Refused, told.to_owned(), output))
            }
        };
        let (outcome, shown, output) = match ended {
            Ok(ended) => ended,
            Err(why) => {
                task.owed = Some(owed);
                return Err(why);
            }
        };
        owed.take_in(outcome, told.get().as_bytes(), &output, took)
            .await
            .map_err(|cause| cause.to_string())?;
        Ok((if state.result.is_some() { "result" } else { "error" }, shown))
    }

    /// Shows what a task asks of the client; the same questions are recorded once.
    async fn ask_client(
        &self,
        id: &Id<'_>,
        task: &mut Task<P>,
        state: &TaskState<'_>,
        ours: &str,
        able: Capabilities,
    ) -> Reply {
        let mut asked = BTreeMap::new();
        for (key, method, params) in &state.questions {
            match asked_by(method).filter(|known| able.can(known, *params)) {
                Some(known) => drop(asked.insert(key.to_string(), known)),
                None => {
                    return self.withheld_task(id, "it asks for something that the client cannot be asked");
                }
            }
        }
        let Some(requests) = state.requests else {
            return self.withheld_task(id, "it waits, and asks nothing");
        };
        let digest = Digest::of(requests.get().as_bytes());
        if task.asked.1 != Some(digest) {
            let Some(owed) = &mut task.owed else { return self.withheld_task(id, "it has ended") };
            if owed.take_in_part(requests).await.is_err() {
                return self.withheld_task(id, "its questions could not be recorded");
            }
            task.asked = (asked, Some(digest));
        }
        let shown = state.to_client(false, ours, Some(("inputRequests", &Fragment::from(requests))));
        Reply::Line(envelope::result(id, &shown))
    }

    /// Gives up whatever goes on at the server, because its mandate does not stand any more.
    pub(crate) async fn give_up_tasks(&self) {
        // Whoever waits for this waits no longer than for one.
        let _ = tokio::time::timeout(LAST, self.cancel_tasks()).await;
    }

    async fn cancel_tasks(&self) {
        let tasks = std::mem::take(&mut *lock(&self.tasks));
        let meta = self.handshake().modern_meta.clone();
        let params = format!("{{\"taskId\":\"\",\"_meta\":{}}}", meta.unwrap_or_else(|| "{}".to_owned()));
        let Ok(params) = RawValue::from_string(params) else { return };
        let Some(Ok(params)) = TaskParams::parse("tasks/cancel", Some(&params)) else { return };
        let able = params.meta.modern().and_then(|m| Capabilities::read(m.client_capabilities()).ok());
        for task in tasks.into_values() {
            let task = task.lock().await;
            if task.ended.is_none() {
                let _ = self
                    .ask_about("tasks/cancel", &params, &task.theirs, &[], able.unwrap_or_default())
                    .await;
            }
        }
    }
}
