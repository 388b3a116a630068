//! `approvals`: questions to persons, at a control plane or in a data directory of this machine.

use std::{collections::BTreeSet, fs, io::Write, sync::Arc, time::Duration};

use anyhow::{Context, bail};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use warrantor_bundle::{Loaded, load_files};
use warrantor_control::{
    approval_stats,
    approvals::{ApprovalError, Approvals, ApprovalsParts, AskedQuestion, Reply, Replying},
    office::Hand,
};
use warrantor_decide::administration::Act;
use warrantor_engine::AnswerError;
use warrantor_model::{DecisionId, Digest, Json, MandateId, PersonId, Subject};
use warrantor_store_sql::SqliteStore;

use super::{
    login::{problem, session},
    people::Opened,
};
use crate::{
    args::{
        AnswerArgs, ApprovalListArgs, ApprovalsCommand, ApproveArgs, DenyArgs, OfficePlace, StatsArgs, Where,
    },
    command::block_on,
    http::{Sent, ask},
    output::{Exit, NotAnswered, Output, Usage, columns},
};

/// Questions that are read at a time.
const PAGE: usize = 200;
/// Most calls of a tool that a grant is made of, the last ones.
const MAX_READ: usize = 50;
/// How often `watch` looks.
const LOOK: Duration = Duration::from_secs(1);
/// How long it waits where nothing can be read.
const AFTER_A_FAILURE: Duration = Duration::from_secs(10);

pub(crate) fn approvals(command: ApprovalsCommand, out: Output) -> anyhow::Result<Exit> {
    block_on(async move {
        match command {
            ApprovalsCommand::List(args) => list(&args, out).await,
            ApprovalsCommand::Watch(args) => watch(&args, out).await,
            ApprovalsCommand::Show(args) => {
                let at = At::of(&args.at).await?;
                let question = at.show(&args.id).await?;
                out.answer(&question, |to| tell(&question, to))?;
                at.close().await?;
                Ok(Exit::Done)
            }
            ApprovalsCommand::Stats(args) => stats(&args, out).await,
            ApprovalsCommand::Approve(args) => approve(&args, out).await,
            ApprovalsCommand::Deny(args) => deny(&args, out).await,
        }
    })
}

/// Where the questions are.
enum At {
    Server { url: String, token: String },
    Host(Box<Host>),
}

struct Host {
    opened: Opened,
    approvals: Approvals<SqliteStore>,
    own: Arc<Loaded>,
}

fn not_answered(cause: ApprovalError) -> anyhow::Error {
    match cause {
        ApprovalError::Answer(AnswerError::Unknown(id)) => {
            Usage(format!("there is no question {id} here")).into()
        }
        ApprovalError::Answer(AnswerError::Unavailable(_) | AnswerError::Uncertain(_)) => cause.into(),
        ApprovalError::Answer(_) => NotAnswered(cause.to_string()).into(),
        cause => cause.into(),
    }
}

impl At {
    async fn of(at: &Where) -> anyhow::Result<Self> {
        if let Some(server) = &at.server {
            let (url, token) = session(server)?;
            return Ok(Self::Server { url, token });
        }
        let opened = Opened::existing(&OfficePlace { bundle: None, place: at.place.clone() }).await?;
        let deployment = &opened.deployment;
        let approvals = Approvals::new(ApprovalsParts {
            store: Arc::clone(&deployment.store),
            stop: Arc::clone(&deployment.stop),
            seal: deployment.keys.seal()?,
            clock: Arc::clone(&deployment.clock) as _,
            randomness: Arc::clone(&deployment.randomness) as _,
        });
        let own = Arc::new(load_files(Vec::new())?);
        Ok(Self::Host(Box::new(Host { opened, approvals, own })))
    }

    async fn close(self) -> anyhow::Result<()> {
        match self {
            Self::Server { .. } => Ok(()),
            Self::Host(host) => host.opened.close().await,
        }
    }

    async fn ask(&self, method: Method, path: &str, sent: Sent<'_>) -> anyhow::Result<Value> {
        let Self::Server { url, token } = self else { bail!("there is no control plane to ask") };
        let (status, answer) = ask(method, &format!("{url}{path}"), Some(token), sent).await?;
        match status {
            StatusCode::OK => Ok(answer),
            StatusCode::NOT_FOUND => Err(Usage(problem(status, &answer).to_string()).into()),
            status if text(&answer, "type").ends_with(":sign-in-again") => {
                let cure = format!("run `warrantor login --server {url}` first");
                Err(NotAnswered(format!("{}; {cure}", problem(status, &answer))).into())
            }
            status if status.is_client_error() => {
                Err(NotAnswered(problem(status, &answer).to_string()).into())
            }
            status => Err(problem(status, &answer)),
        }
    }

    /// All questions that are open, or all there are.
    async fn list(&self, args: &ApprovalListArgs) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        match self {
            Self::Server { .. } => {
                let state = if args.all { "all" } else { "open" };
                let mut after = String::new();
                loop {
                    let path = format!("/v1/approvals?state={state}&mine={}&limit={PAGE}{after}", args.mine);
                    let page = self.ask(Method::GET, &path, Sent::Nothing).await?;
                    all.extend(page.get("items").and_then(Value::as_array).into_iter().flatten().cloned());
                    match page.get("next").and_then(Value::as_str) {
                        Some(next) => after = format!("&after={next}"),
                        None => return Ok(all),
                    }
                }
            }
            Self::Host(host) => {
                let mut after = None;
                loop {
                    let (page, next) = match args.all {
                        true => host.approvals.all(after.as_ref(), PAGE).await?,
                        false => host.approvals.open(after.as_ref(), PAGE).await?,
                    };
                    for question in page {
                        all.push(serde_json::to_value(question)?);
                    }
                    match next {
                        Some(next) => after = Some(next),
                        None => return Ok(all),
                    }
                }
            }
        }
    }

    async fn show(&self, id: &DecisionId) -> anyhow::Result<Value> {
        match self {
            Self::Server { .. } => self.ask(Method::GET, &format!("/v1/approvals/{id}"), Sent::Nothing).await,
            Self::Host(host) => {
                let whole = host.approvals.whole(&host.opened.office, &host.own, id).await;
                Ok(serde_json::to_value(whole.map_err(not_answered)?)?)
            }
        }
    }

    async fn reply(&self, args: &AnswerArgs, reply: Reply, end_mandate: bool) -> anyhow::Result<Value> {
        let host = match self {
            Self::Server { .. } => {
                let (verb, body) = match reply {
                    Reply::Approve { shown, arguments } => {
                        // Numbers go as they were written.
                        let arguments = arguments.map(String::from_utf8).transpose()?;
                        let arguments =
                            arguments.map(|text| format!(r#","arguments":{text}"#)).unwrap_or_default();
                        ("approve", format!(r#"{{"arguments_digest":"{shown}"{arguments}}}"#))
                    }
                    Reply::Deny { reason } => {
                        ("deny", json!({ "reason": reason, "end_mandate": end_mandate }).to_string())
                    }
                };
                return self
                    .ask(Method::POST, &format!("/v1/approvals/{}/{verb}", args.id), Sent::Written(&body))
                    .await;
            }
            Self::Host(host) => host,
        };
        let question = host.approvals.question(&args.id).await.map_err(not_answered)?;
        let person = match &args.as_person {
            Some(person) => person.clone(),
            None => only_person(&question.asked)?,
        };
        let hand = Hand { actor: "host".to_owned(), evidence: host.opened.deployment.hand.clone() };
        let by = Replying { person: &person, hand: &hand, is_fresh: true };
        let answered = host.approvals.reply(&host.opened.office, &host.own, &args.id, &by, reply).await;
        let answered = answered.map_err(not_answered)?;
        if end_mandate {
            let mandate = MandateId::new(answered.root_mandate.clone())?;
            let authority = host.opened.authority(Act::RevokeMandate, format!("mandate:{mandate}"));
            let why = format!("with the answer to {}", args.id);
            host.opened.office.end_mandate(&authority, &Subject::Mandate(mandate), Some(&why)).await?;
        }
        Ok(serde_json::to_value(answered)?)
    }
}

/// The one person who is asked.
fn only_person(asked: &[String]) -> anyhow::Result<PersonId> {
    match asked {
        [who] if who.starts_with("person:") => Ok(PersonId::new(who.trim_start_matches("person:"))?),
        asked => {
            Err(Usage(format!("say who answers with `--as PERSON`: asked is {}", asked.join(", "))).into())
        }
    }
}

async fn list(args: &ApprovalListArgs, out: Output) -> anyhow::Result<Exit> {
    let at = At::of(&args.at).await?;
    let all = at.list(args).await?;
    out.answer(&all, |to| {
        let heads = ["QUESTION", "STATE", "AGENT", "TOOL", "ASKED", "PURPOSE", "UNTIL"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        rows.extend(all.iter().map(row));
        columns(to, &rows)
    })?;
    at.close().await?;
    Ok(Exit::Done)
}

fn row(question: &Value) -> Vec<String> {
    let asked = texts(question, "unanswered");
    let asked = if asked.is_empty() { texts(question, "asked") } else { asked };
    vec![
        text(question, "id"),
        text(question, "state"),
        text(question, "agent"),
        text(question, "tool"),
        asked.join(","),
        text(question, "purpose"),
        text(question, "until"),
    ]
}

async fn watch(args: &ApprovalListArgs, out: Output) -> anyhow::Result<Exit> {
    let at = At::of(&args.at).await?;
    let mut told: BTreeSet<String> = BTreeSet::new();
    out.note("Waiting for questions. An interrupt ends it.");
    let mut looking = tokio::time::interval(LOOK);
    let mut is_reached = false;
    loop {
        tokio::select! {
            _ = looking.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let open = match at.list(args).await {
            Ok(open) => open,
            // Whoever watches goes on watching: what was asked meanwhile is told when it can be read again.
            Err(cause) if is_reached => {
                out.note(&format!("warrantor: questions cannot be read now: {cause:#}"));
                looking.reset_after(AFTER_A_FAILURE);
                continue;
            }
            Err(cause) => return Err(cause),
        };
        is_reached = true;
        let waiting: BTreeSet<String> = open
            .iter()
            .filter(|question| text(question, "state") == "waiting" || args.all)
            .map(|question| text(question, "id"))
            .collect();
        for id in waiting.difference(&told) {
            let question = at.show(&id.parse()?).await?;
            if out.is_json() {
                out.text(&format!("{question}\n"))?;
            } else {
                out.answer(&question, |to| {
                    tell(&question, to)?;
                    writeln!(to)
                })?;
            }
        }
        told.extend(waiting);
    }
    at.close().await?;
    Ok(Exit::Done)
}

async fn stats(args: &StatsArgs, out: Output) -> anyhow::Result<Exit> {
    let at = At::of(&args.at).await?;
    let all = at.list(&ApprovalListArgs { mine: false, all: true, at: args.at.clone() }).await?;
    let questions = all.into_iter().map(serde_json::from_value).collect::<Result<Vec<AskedQuestion>, _>>()?;
    let told = approval_stats::stats(&questions);
    let (mut spared, mut unread) = (Vec::new(), 0usize);
    for sparing in &told.sparing {
        let mut grants = Vec::new();
        for (tool, ids) in &sparing.approved {
            let mut calls = Vec::new();
            for id in ids.iter().rev().take(MAX_READ) {
                // One whose bundle or key is not kept any more can be counted and not read.
                let Ok(question) = at.show(&id.parse()?).await else {
                    unread = unread.saturating_add(1);
                    continue;
                };
                let arguments = text(&question, "arguments_text");
                calls.extend(Json::parse(arguments.as_bytes()).ok());
            }
            if !calls.is_empty() {
                grants.extend(approval_stats::grant_of(tool, &calls));
            }
        }
        spared.push(json!({ "of": sparing.of, "why": sparing.why, "grants": grants }));
    }
    let answer = json!({ "came": told.came, "sparing": spared, "unread": unread });
    if args.at.server.is_some() {
        out.note("Counted are the questions that you may see.");
    }
    if unread > 0 {
        out.note(&format!("{unread} questions cannot be read any more, and are in no grant."));
    }
    out.answer(&answer, |to| {
        let heads = [
            "OF",
            "ASKED",
            "TASKS",
            "APPROVED",
            "DENIED",
            "UNANSWERED",
            "WAITING",
            "YES",
            "AT ONCE",
            "MEDIAN",
        ];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        rows.extend(told.came.iter().map(|came| {
            vec![
                came.of.clone(),
                came.asked.to_string(),
                came.tasks.to_string(),
                came.approved.to_string(),
                came.denied.to_string(),
                came.unanswered.to_string(),
                came.waiting.to_string(),
                came.approved_percent.map_or_else(String::new, |percent| format!("{percent} %")),
                came.at_once.to_string(),
                came.median_seconds.map_or_else(String::new, |seconds| format!("{seconds} s")),
            ]
        }));
        columns(to, &rows)?;
        for sparing in &spared {
            writeln!(to, "\n{}: {}", text(sparing, "of"), text(sparing, "why"))?;
            let grants = texts(sparing, "grants");
            if !grants.is_empty() {
                writeln!(to, "What was approved lay within this grant, which asks nobody:")?;
            }
            for grant in grants {
                grant.lines().try_for_each(|line| writeln!(to, "  {line}"))?;
            }
        }
        Ok(())
    })?;
    at.close().await?;
    Ok(Exit::Done)
}

async fn approve(args: &ApproveArgs, out: Output) -> anyhow::Result<Exit> {
    let arguments = match (&args.arguments, &args.arguments_file) {
        (Some(text), _) => Some(text.clone().into_bytes()),
        (None, Some(file)) => {
            Some(fs::read(file).with_context(|| format!("{} cannot be read", file.display()))?)
        }
        (None, None) => None,
    };
    if let Some(bytes) = &arguments
        && let Err(cause) = Json::parse(bytes)
    {
        return Err(Usage(format!("the arguments are no JSON: {cause}")).into());
    }
    let at = At::of(&args.answer.at).await?;
    let shown = match &args.shown {
        Some(shown) => shown.clone(),
        None => {
            let question = at.show(&args.answer.id).await?;
            let digest = text(&question, "arguments_digest");
            if let Some(by) = question.get("edited_by").and_then(Value::as_str) {
                let why = format!("{by} put other arguments in the place of the agent's");
                return Err(NotAnswered(format!(
                    "{why}: look at them with `warrantor approvals show`, and say yes to them with `--shown {digest}`"
                ))
                .into());
            }
            digest
        }
    };
    let shown: Digest = shown
        .parse()
        .map_err(|_| Usage("the arguments cannot be shown, so nobody can say yes to them".to_owned()))?;
    let answered = at.reply(&args.answer, Reply::Approve { shown, arguments }, false).await?;
    let waits = text(&answered, "state") == "waiting";
    out.answer(&answered, |to| {
        if waits {
            return writeln!(
                to,
                "Recorded; still to be answered by {}",
                texts(&answered, "unanswered").join(", ")
            );
        }
        writeln!(
            to,
            "Approved, once, until {}: the agent makes the same call again",
            text(&answered, "until")
        )
    })?;
    at.close().await?;
    Ok(if waits { Exit::Waiting } else { Exit::Done })
}

async fn deny(args: &DenyArgs, out: Output) -> anyhow::Result<Exit> {
    let at = At::of(&args.answer.at).await?;
    let answered =
        at.reply(&args.answer, Reply::Deny { reason: args.reason.clone() }, args.end_mandate).await?;
    out.answer(&answered, |to| {
        let ended = if args.end_mandate { ", and the mandate is ended" } else { "" };
        writeln!(to, "Denied{ended}: the agent is told so")
    })?;
    at.close().await?;
    Ok(Exit::Done)
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn texts(value: &Value, name: &str) -> Vec<String> {
    let list = value.get(name).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// A question as a person reads it who is asked.
fn tell(question: &Value, to: &mut dyn Write) -> std::io::Result<()> {
    let get = |name: &str| text(question, name);
    writeln!(to, "{}   {}   asked {}, until {}", get("id"), get("state"), get("asked_at"), get("until"))?;
    writeln!(
        to,
        "\n{} wants to call {} ({})",
        get("agent"),
        get("tool"),
        texts(question, "effects").join(", ")
    )?;
    writeln!(to, "  for {}, to: {} (mandate {})", get("person"), get("purpose"), get("template"))?;
    if let Some(part) = question.get("part").and_then(Value::as_str) {
        writeln!(to, "  another agent handed this on to it with the words: {}", json!(part))?;
    }
    if let Some(request) = question.get("request").and_then(Value::as_str) {
        writeln!(to, "  the person's words: {request}")?;
    }
    writeln!(to, "\narguments ({})", get("arguments_digest"))?;
    match question.get("arguments_text").and_then(Value::as_str) {
        Some(arguments) => indented(arguments, to)?,
        None => writeln!(to, "  cannot be shown: the person's key is gone")?,
    }
    if let Some(presented) = question.get("presented_text").and_then(Value::as_str) {
        writeln!(to, "{} put these in the place of", get("edited_by"))?;
        indented(presented, to)?;
    }
    let sources = question.get("sources").and_then(Value::as_object).into_iter().flatten();
    for (nth, (at, told)) in sources.enumerate() {
        if nth == 0 {
            writeln!(to, "\nwhere from")?;
        }
        writeln!(to, "  {at} = {}", told.as_str().unwrap_or_default())?;
    }
    let labels = texts(question, "labels");
    if !labels.is_empty() {
        writeln!(to, "  the task has touched what is {}", labels.join(", "))?;
    }
    writeln!(to, "\nwhy it is asked")?;
    for why in question.get("why").and_then(Value::as_array).into_iter().flatten() {
        writeln!(to, "  {}  [{}]", text(why, "detail"), text(why, "by"))?;
    }
    let earlier = question.get("earlier").and_then(Value::as_array).into_iter().flatten();
    for (nth, call) in earlier.enumerate() {
        if nth == 0 {
            writeln!(to, "\nearlier calls of {} in this task", get("tool"))?;
        }
        let changed = texts(call, "changed");
        let others = if changed.is_empty() {
            "the same".to_owned()
        } else {
            format!("others: {}", changed.join(", "))
        };
        writeln!(to, "  {}  {} ({others})", text(call, "decision"), text(call, "arguments_text"))?;
    }
    writeln!(to, "\nto be answered by\n  {}", texts(question, "asked").join(", "))?;
    for given in question.get("given").and_then(Value::as_array).into_iter().flatten() {
        writeln!(to, "  {} said yes as {} at {}", text(given, "by"), text(given, "who"), text(given, "at"))?;
    }
    if let Some(denied) = question.get("denied") {
        writeln!(
            to,
            "  {} said no at {}: {}",
            text(denied, "by"),
            text(denied, "at"),
            text(denied, "reason")
        )?;
    }
    if let Some(used) = question.get("used_by").and_then(Value::as_str) {
        writeln!(to, "  used by {used}")?;
    }
    if let Some(why) = question.get("withdrawn").and_then(Value::as_str) {
        writeln!(to, "  it counts no more: {why}")?;
    }
    Ok(())
}

/// JSON over several lines, its numbers as they are written.
fn indented(text: &str, to: &mut dyn Write) -> std::io::Result<()> {
    let told = Json::parse(text.as_bytes()).ok().and_then(|json| serde_json::to_string_pretty(&json).ok());
    told.as_deref().unwrap_or(text).lines().try_for_each(|line| writeln!(to, "  {line}"))
}
