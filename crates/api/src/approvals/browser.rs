//! The pages where people answer: reached by a link, after signing in; without script.
//!
//! A browser's session is one of the interface's own, in a cookie that goes along to these pages alone. A page that is answered carries a sealed text that says
//! for whom it was made, about which question and which arguments: nobody answers a page that they were not shown, and nothing else than was shown.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use axum::{
    body::to_bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use serde::{Deserialize, Serialize};
use warrantor_control::{
    access::Presenter,
    approvals::{AskedQuestion, DeniedAnswer, Reply, WholeQuestion},
    office::Authority,
    visible::visible,
};
use warrantor_decide::{MAX_SOURCES, administration::Act};
use warrantor_engine::approvals::QuestionStanding;
use warrantor_engine::bodies::SealError;
use warrantor_model::{DecisionId, Digest, Json, PersonId, Randomness, Timestamp, path::walk};
use warrantor_store::Store;

use crate::{
    Api,
    cookies::{Along, Cookies, cookie, forgotten},
    pages::{ApprovalPage, ApprovalsPage, ArgumentShown, EarlierShown, STYLE, notice, shown},
    problem::{Kind, Problem, ProblemBody},
    request::{Caller, Id},
    signing_in::{NotNow, NotSignedIn, Secrets, cookie_of},
};

/// Where the pages are.
const PATH: &str = "/approvals";
/// The cookie with a browser's session.
const SESSION: &str = "warrantor_session";
/// How long a browser's session lasts.
const LASTS: Duration = Duration::from_secs(8 * 60 * 60);
/// How long a person may take to sign in.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// How long a page can be answered.
const READING: Duration = Duration::from_secs(60 * 60);
/// What pages are sealed for.
const PAGE: &str = "a question that was shown";
/// Most bytes of an answer: arguments that are put in, and room beside them.
const MAX_FORM: usize = 2 << 20;
/// Most questions of the list.
const MAX_LISTED: usize = 100;
/// How many codes a second strangers can have asked of the identity provider.
const ASKED_A_SECOND: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// What the pages need.
pub struct Browser {
    /// The control plane's address as browsers know it.
    url: String,
    cookies: Cookies,
    asking: DefaultDirectRateLimiter,
}

impl Browser {
    /// Pages at this address, an origin.
    ///
    /// # Errors
    /// [`SealError`] when there are no random bytes.
    pub fn new(url: String, randomness: &dyn Randomness) -> Result<Self, SealError> {
        let cookies = Cookies::new(&url, randomness)?;
        Ok(Self { url, cookies, asking: RateLimiter::direct(Quota::per_second(ASKED_A_SECOND)) })
    }

    fn callback(&self) -> String {
        format!("{}{PATH}/callback", self.url)
    }
}

/// What goes along while a person signs in.
#[derive(Debug, Serialize, Deserialize)]
struct SigningIn {
    secrets: Secrets,
    /// The page they wanted: the list, or a question.
    to: Option<DecisionId>,
    /// Whether they have to prove anew who they are.
    again: bool,
    until: Timestamp,
}

/// What a page was made of.
#[derive(Debug, Serialize, Deserialize)]
struct Read {
    person: PersonId,
    question: DecisionId,
    shown: Option<Digest>,
    until: Timestamp,
}

/// What a form says.
#[derive(Debug, Default)]
struct Answered {
    page: String,
    answer: String,
    arguments: String,
    reason: String,
    end_mandate: String,
}

impl Answered {
    /// Reads a form. None where something stands in it twice, or that is no part of ours.
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut form = Self::default();
        let mut seen = Vec::new();
        for (name, value) in url::form_urlencoded::parse(bytes) {
            let place = match name.as_ref() {
                "page" => &mut form.page,
                "answer" => &mut form.answer,
                "arguments" => &mut form.arguments,
                "reason" => &mut form.reason,
                "end_mandate" => &mut form.end_mandate,
                _ => return None,
            };
            if seen.contains(&name) {
                return None;
            }
            *place = value.into_owned();
            seen.push(name);
        }
        Some(form)
    }
}

fn place_of(question: Option<&DecisionId>) -> String {
    question.map_or_else(|| PATH.to_owned(), |id| format!("{PATH}/{id}"))
}

fn sent_to(address: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(address) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

fn nothing_here() -> Response {
    let why = "No page is configured here: write `[approvals]` with `url`, and `[provider]`, in serve.toml.";
    notice(StatusCode::NOT_FOUND, "There is nothing here", why)
}

fn no_question() -> Response {
    let why = "The address is no question's: it may have been cut off on its way to you.";
    notice(StatusCode::NOT_FOUND, "There is no such question", why)
}

fn problem_page(problem: &Problem) -> Response {
    let title = match problem.kind {
        Kind::NotFound => "There is no such question",
        Kind::NotPermitted => "This is not yours to answer",
        Kind::NotAsShown => "It is not what you were shown",
        Kind::Conflict => "It cannot be answered like this",
        Kind::Unavailable | Kind::ProviderUnavailable | Kind::Internal => "Not now",
        _ => "This cannot go on",
    };
    notice(problem.kind.status(), title, &problem.detail)
}

/// The questions that whoever is at the browser is asked.
#[utoipa::path(get, path = "/approvals", tag = "approvals", operation_id = "approvalsPage", security(()),
    description = "For browsers.",
    responses((status = 200, body = String, content_type = "text/html", description = "A list"), (status = 303, description = "To sign in"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn list<S: Store>(State(api): State<Arc<Api<S>>>, headers: HeaderMap) -> Response {
    if api.browser.is_none() {
        return nothing_here();
    }
    let listed = async {
        let Some(caller) = api.at_browser(&headers).await? else {
            return Ok(sent_to(&format!("{PATH}/sign-in")));
        };
        let (mut mine, mut after) = (Vec::new(), None);
        let more = loop {
            let (open, next) = api.approvals.open(after.as_ref(), MAX_LISTED).await?;
            mine.extend(open.into_iter().filter(|question| api.asks(&caller, question)).map(told));
            after = next;
            if mine.len() >= MAX_LISTED || after.is_none() {
                break after.is_some();
            }
        };
        let person = caller.must_be_person()?.to_string();
        let page = ApprovalsPage { style: STYLE, person: &person, questions: &mine, more };
        Ok::<_, Problem>(shown(StatusCode::OK, &page))
    };
    listed.await.unwrap_or_else(|problem| problem_page(&problem))
}

/// One question.
#[utoipa::path(get, path = "/approvals/{id}", tag = "approvals", operation_id = "approvalPage", security(()),
    description = "For browsers.", params(("id" = String, Path, description = "The decision that asked")),
    responses((status = 200, body = String, content_type = "text/html", description = "The question"), (status = 303, description = "To sign in"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn read<S: Store>(
    State(api): State<Arc<Api<S>>>,
    headers: HeaderMap,
    id: Result<Id<DecisionId>, Problem>,
) -> Response {
    let Some(browser) = &api.browser else { return nothing_here() };
    let Ok(Id(id)) = id else { return no_question() };
    let read = async {
        let Some(caller) = api.at_browser(&headers).await? else {
            return Ok(sent_to(&format!("{PATH}/sign-in?to={id}")));
        };
        let question = api.seen_question(&caller, &id).await?;
        api.question_page(browser, &caller, question).await
    };
    read.await.unwrap_or_else(|problem| problem_page(&problem))
}

/// Takes an answer.
#[utoipa::path(post, path = "/approvals/{id}", tag = "approvals", operation_id = "answerApprovalPage", security(()),
    description = "For browsers: the form of the page.", params(("id" = String, Path, description = "The decision that asked")),
    responses((status = 303, description = "Back to the question"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn answer<S: Store>(
    State(api): State<Arc<Api<S>>>,
    id: Result<Id<DecisionId>, Problem>,
    request: Request,
) -> Response {
    let Some(browser) = &api.browser else { return nothing_here() };
    let Ok(Id(id)) = id else { return no_question() };
    let (head, body) = request.into_parts();
    let answered = async {
        let Some(caller) = api.at_browser(&head.headers).await? else {
            return Ok(sent_to(&format!("{PATH}/sign-in?to={id}")));
        };
        let unread = || Problem::new(Kind::Malformed, "The answer cannot be read: open the question anew.");
        let bytes = to_bytes(body, MAX_FORM).await.map_err(|_| unread())?;
        let form = Answered::read(&bytes).ok_or_else(unread)?;
        api.page_answered(browser, &head.headers, &caller, &id, form).await
    };
    answered.await.unwrap_or_else(|problem: Problem| match problem.kind {
        Kind::SignInAgain => sent_to(&format!("{PATH}/sign-in?to={id}&again=yes")),
        _ => problem_page(&problem),
    })
}

/// Sends whoever is at the browser to sign in.
#[utoipa::path(get, path = "/approvals/sign-in", tag = "approvals", operation_id = "signInToApprovals", security(()),
    description = "For browsers.",
    params(("to" = Option<String>, Query, description = "The question to come back to"), ("again" = Option<String>, Query, description = "`yes` to sign in anew although a session lasts")),
    responses((status = 303, description = "To the identity provider"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn sign_in<S: Store>(State(api): State<Arc<Api<S>>>, request: Request) -> Response {
    let (Some(browser), Some(provider)) = (&api.browser, &api.provider) else { return nothing_here() };
    let (mut to, mut again) = (None, false);
    for (name, value) in url::form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()) {
        match name.as_ref() {
            // Only to a page of ours.
            "to" => to = value.parse::<DecisionId>().ok(),
            "again" => again = value == "yes",
            _ => {}
        }
    }
    // With an age, whatever it is, a provider has to say when the person signed in (OpenID Connect Core, section 2).
    let lasts = LASTS.as_secs().to_string();
    let more: &[(&str, &str)] =
        if again { &[("prompt", "login"), ("max_age", "0")] } else { &[("max_age", &lasts)] };
    let (url, secrets) = match api.begin_sign_in(provider, &browser.callback(), more).await {
        Ok(begun) => begun,
        Err(NotNow(why)) => return notice(StatusCode::SERVICE_UNAVAILABLE, "Not now", why),
    };
    let name = cookie_of(&secrets.state);
    let along = SigningIn { secrets, to, again, until: api.office.now().plus(PATIENCE) };
    let way = Along { path: PATH, same_site: "Lax", lasts: PATIENCE };
    let Some(cookie) = browser.cookies.sealed(&*api.randomness, &name, &along, way) else {
        return notice(
            StatusCode::SERVICE_UNAVAILABLE,
            "Not now",
            "The sign-in cannot be sealed: try again.",
        );
    };
    let mut response = sent_to(url.as_str());
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    response
}

/// Whoever has signed in comes back.
#[utoipa::path(get, path = "/approvals/callback", tag = "approvals", operation_id = "signedInToApprovals", security(()),
    description = "For browsers: where the identity provider sends people back to.",
    responses((status = 303, description = "To the page that was wanted"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn callback<S: Store>(State(api): State<Arc<Api<S>>>, request: Request) -> Response {
    let Some(browser) = &api.browser else { return nothing_here() };
    let (head, _) = request.into_parts();
    let came = api.came_back_to_answer(browser, head.uri.query().unwrap_or_default(), &head.headers).await;
    came.unwrap_or_else(|problem| problem_page(&problem))
}

/// Ends the browser's session.
#[utoipa::path(post, path = "/approvals/sign-out", tag = "approvals", operation_id = "signOutOfApprovals", security(()),
    description = "For browsers.",
    responses((status = 200, body = String, content_type = "text/html", description = "That it has ended"), (status = "4XX", body = String, content_type = "text/html", description = "A page that says why"), (status = "5XX", content((String = "text/html"), (ProblemBody = "application/problem+json")), description = "A page that says why, or a problem"), (status = "default", body = ProblemBody)))]
pub(crate) async fn sign_out<S: Store>(State(api): State<Arc<Api<S>>>, headers: HeaderMap) -> Response {
    let Some(browser) = &api.browser else { return nothing_here() };
    if is_elsewhere(browser, &headers) {
        return notice(StatusCode::BAD_REQUEST, "This cannot go on", "The form comes from another page.");
    }
    let ended = async {
        if let Some(Caller(Presenter::Person { id, hand, session: Some(session), .. })) =
            api.at_browser(&headers).await?
        {
            let authority = Authority::of_person(Act::EndSessions, &id, hand);
            api.office.end_session(&authority, &id, &session).await?;
        }
        Ok::<_, Problem>(notice(
            StatusCode::OK,
            "You are signed out",
            "Close this window, or open a question to sign in again.",
        ))
    };
    let mut response = ended.await.unwrap_or_else(|problem| problem_page(&problem));
    if let Some(cookie) = forgotten(SESSION, PATH) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// Browsers say where a form comes from, and of ours that it is from here.
fn is_elsewhere(browser: &Browser, headers: &HeaderMap) -> bool {
    headers.get(header::ORIGIN).is_some_and(|origin| origin != browser.url.as_str())
}

impl<S: Store> Api<S> {
    /// Whoever is at a browser, if they have signed in.
    async fn at_browser(&self, headers: &HeaderMap) -> Result<Option<Caller>, Problem> {
        let Some(token) = cookie(headers, SESSION) else { return Ok(None) };
        let presenter = self.office.presenter(token).await?;
        Ok(presenter.filter(|presenter| matches!(presenter, Presenter::Person { .. })).map(Caller))
    }

    async fn came_back_to_answer(
        &self,
        browser: &Browser,
        query: &str,
        headers: &HeaderMap,
    ) -> Result<Response, Problem> {
        let lost = || {
            let why = "This sign-in is not known in this browser, or took too long. Open the question again.";
            Problem::new(Kind::Malformed, why)
        };
        let (mut state, mut code, mut issuer) = (None, None, None);
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match name.as_ref() {
                "state" => &mut state,
                "code" => &mut code,
                "iss" => &mut issuer,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(lost());
            }
        }
        let state = state.ok_or_else(lost)?;
        let name = cookie_of(&state);
        let along: SigningIn = browser.cookies.opened(headers, &name).ok_or_else(lost)?;
        if along.secrets.state != state || self.office.now() >= along.until {
            return Err(lost());
        }
        let provider = self.provider()?;
        // An answer of somebody else's provider (RFC 9207).
        if issuer.is_some_and(|issuer| issuer != provider.settings().issuer) {
            return Err(lost());
        }
        if browser.asking.check().is_err() {
            return Err(Problem::new(Kind::Unavailable, "Too many sign-ins come back at once: try again."));
        }
        let signed_in =
            self.end_sign_in(provider, &browser.callback(), &along.secrets, code.as_deref()).await;
        let signed_in = signed_in.map_err(|cause| match cause {
            NotSignedIn::ByProvider => {
                Problem::new(Kind::NotPermitted, "The identity provider did not let you sign in.")
            }
            NotSignedIn::NoToken => Problem::new(
                Kind::ProviderUnavailable,
                "The identity provider gave no token for the sign-in.",
            ),
            NotSignedIn::Here(problem) => problem,
        })?;
        let at = signed_in.authenticated_at;
        if along.again && !self.is_fresh(at) {
            let why = "The identity provider does not say that you have just signed in. Without that nothing grave is approved here: \
                       it has to heed `max_age` and to send `auth_time`.";
            return Err(Problem::new(Kind::NotPermitted, why));
        }
        let authority = Authority::of_person(Act::ReadPerson, &signed_in.person, signed_in.hand);
        let made = self.office.begin_session(&authority, &signed_in.person, LASTS, at).await?;
        // Whoever signs in anew has one session, and not the one before as well.
        if let Some(Caller(Presenter::Person { id, hand, session: Some(before), .. })) =
            self.at_browser(headers).await?
        {
            let authority = Authority::of_person(Act::EndSessions, &id, hand);
            self.office.end_session(&authority, &id, &before).await?;
        }
        let way = Along { path: PATH, same_site: "Lax", lasts: LASTS };
        let session = browser.cookies.plain(SESSION, &made.token, way);
        let mut response = sent_to(&place_of(along.to.as_ref()));
        for cookie in session.into_iter().chain(forgotten(&name, PATH)) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
        Ok(response)
    }

    async fn question_page(
        &self,
        browser: &Browser,
        caller: &Caller,
        whole: WholeQuestion,
    ) -> Result<Response, Problem> {
        let person = caller.must_be_person()?;
        let whole = WholeQuestion { question: told(whole.question), ..whole };
        let question = &whole.question;
        let read = Read {
            person: person.clone(),
            question: question.id.clone(),
            shown: whole.arguments_digest,
            until: self.office.now().plus(READING),
        };
        let sealed = browser.cookies.seal(&*self.randomness, PAGE, &read);
        let sealed = sealed.ok_or_else(|| Problem::new(Kind::Unavailable, "The page cannot be sealed."))?;
        let text = whole.arguments_text.as_deref();
        let arguments = text.and_then(|text| Json::parse(text.as_bytes()).ok());
        let values = arguments.as_ref().map(|arguments| leaves(arguments, &whole)).unwrap_or_default();
        let pretty = arguments.as_ref().and_then(|value| serde_json::to_string_pretty(value).ok());
        let earlier = whole.earlier.iter().map(|call| EarlierShown {
            arguments: visible(&call.arguments_text),
            changed: visible(&call.changed.join(", ")),
        });
        let waits = question.state == QuestionStanding::Waiting;
        let is_theirs = question.person == person.as_str();
        let mut left = question.clone();
        left.asked.clone_from(&question.unanswered);
        let (_, task) = self.whole_task(question).await?;
        let page = ApprovalPage {
            style: STYLE,
            person: person.as_str(),
            question,
            action: &place_of(Some(&question.id)),
            page: &sealed,
            can_approve: waits && whole.arguments_digest.is_some() && self.asks(caller, &left),
            can_deny: (waits || question.state == QuestionStanding::Approved)
                && (self.asks(caller, question) || is_theirs),
            can_end: self.sees(caller, Act::RevokeMandate, &task),
            request: whole.request.as_deref().map(visible),
            values,
            raw: pretty.unwrap_or_default(),
            before: whole.presented_text.as_deref().map(visible),
            edited_by: whole.edited_by.as_deref(),
            why: whole.why.iter().map(|why| visible(&why.detail)).collect(),
            labels: whole.labels.join(", "),
            earlier: earlier.collect(),
            effects: question.effects.iter().map(|effect| effect.as_str()).collect::<Vec<_>>().join(", "),
            grave: whole.grave,
        };
        Ok(shown(StatusCode::OK, &page))
    }

    async fn page_answered(
        &self,
        browser: &Browser,
        headers: &HeaderMap,
        caller: &Caller,
        id: &DecisionId,
        form: Answered,
    ) -> Result<Response, Problem> {
        let lost = || {
            Problem::new(
                Kind::Malformed,
                "This page was not made for you, or was open too long: open the question anew.",
            )
        };
        let read: Read = browser.cookies.open(PAGE, &form.page).ok_or_else(lost)?;
        let is_theirs = read.person == *caller.must_be_person()? && read.question == *id;
        if is_elsewhere(browser, headers) || !is_theirs || self.office.now() >= read.until {
            return Err(lost());
        }
        let reason = Some(form.reason.trim().to_owned()).filter(|reason| !reason.is_empty());
        match form.answer.as_str() {
            "approve" | "approve_changed" => {
                let shown = read.shown.ok_or_else(lost)?;
                let changed = form.answer == "approve_changed";
                let arguments = changed.then(|| form.arguments.into_bytes());
                self.replied(caller, id, Reply::Approve { shown, arguments }).await?;
            }
            "deny" => drop(self.denied(caller, id, reason, form.end_mandate == "yes").await?),
            _ => {
                let why = "The page was answered without a choice: open the question anew.";
                return Err(Problem::new(Kind::Malformed, why));
            }
        }
        Ok(sent_to(&place_of(Some(id))))
    }
}

/// The values of arguments as a person reads them, each with where it comes from.
fn leaves(arguments: &Json, whole: &WholeQuestion) -> Vec<ArgumentShown> {
    let mut found = Vec::new();
    walk(arguments, &mut Vec::new(), &mut |location, value| {
        if location.is_empty() || matches!(value, Json::Array(_) | Json::Object(_)) && !value.is_empty_value()
        {
            return;
        }
        let at = warrantor_decide::place_text(location);
        let told = whole.sources.get(&at).map(|told| {
            // It says the value first, which stands beside it here.
            let named = warrantor_decide::value_text(&value.canonical());
            visible(told.strip_prefix(&named).unwrap_or(told).trim_start())
        });
        let many = whole.sources.len() >= MAX_SOURCES;
        let told = told.or_else(|| many.then(|| "was not looked for: there are too many values".to_owned()));
        found.push(ArgumentShown { at: visible(&at), value: plain(value), told: told.unwrap_or_default() });
    });
    found
}

/// A value as a person reads it. A text stands for itself, unless it could be read as something else than a text, or has ends that nobody sees.
fn plain(value: &Json) -> String {
    let is_itself =
        |text: &&str| !text.is_empty() && text.trim() == *text && Json::parse(text.as_bytes()).is_err();
    visible(&value.as_str().filter(is_itself).map_or_else(|| value.canonical(), str::to_owned))
}

/// A question as it is shown: what others wrote in it made visible.
fn told(question: AskedQuestion) -> AskedQuestion {
    let denied = question
        .denied
        .map(|denied| DeniedAnswer { reason: denied.reason.as_deref().map(visible), ..denied });
    AskedQuestion {
        purpose: visible(&question.purpose),
        part: question.part.as_deref().map(visible),
        withdrawn: question.withdrawn.as_deref().map(visible),
        denied,
        ..question
    }
}
