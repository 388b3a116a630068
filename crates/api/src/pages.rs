//! Pages for people: plain HTML without scripts, which nothing can frame.

use std::sync::LazyLock;

use askama::Template;
use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_STANDARD};
use warrantor_control::{approvals::AskedQuestion, sentences::Section};
use warrantor_model::Digest;

/// The style of every page. It stands in the page, and the policy names its digest: there is nothing else to fetch.
pub(crate) const STYLE: &str = include_str!("../templates/style.css");
static STYLE_DIGEST: LazyLock<String> =
    LazyLock::new(|| BASE64_STANDARD.encode(Digest::of(STYLE.as_bytes()).as_bytes()));

/// Asks whether an application may act for whoever has signed in.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct ConsentPage<'a> {
    pub(crate) style: &'static str,
    /// What it calls itself.
    pub(crate) application: &'a str,
    pub(crate) client_id: &'a str,
    /// Where the answer goes.
    pub(crate) goes_to: &'a str,
    /// Whether that is this machine.
    pub(crate) is_here: bool,
    pub(crate) person: &'a str,
    pub(crate) agent: &'a str,
    /// What the agent is for.
    pub(crate) purpose: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) choices: Vec<ChoiceShown>,
    /// Where the form goes.
    pub(crate) action: &'a str,
    pub(crate) flow: &'a str,
    pub(crate) page: &'a str,
}

/// A mandate that can be chosen.
pub(crate) struct ChoiceShown {
    pub(crate) id: String,
    pub(crate) purpose: String,
    pub(crate) ends: String,
    pub(crate) sections: Vec<Section>,
}

/// The questions that somebody is asked.
#[derive(Template)]
#[template(path = "approvals.html")]
pub(crate) struct ApprovalsPage<'a> {
    pub(crate) style: &'static str,
    pub(crate) person: &'a str,
    pub(crate) questions: &'a [AskedQuestion],
    /// Whether there are more than are listed.
    pub(crate) more: bool,
}

/// One question, and the form that answers it.
#[derive(Template)]
#[template(path = "approval.html")]
pub(crate) struct ApprovalPage<'a> {
    pub(crate) style: &'static str,
    pub(crate) person: &'a str,
    pub(crate) question: &'a AskedQuestion,
    /// Where the form goes.
    pub(crate) action: &'a str,
    /// What was shown, sealed.
    pub(crate) page: &'a str,
    /// Whether a yes of whoever reads it counts.
    pub(crate) can_approve: bool,
    pub(crate) can_deny: bool,
    /// Whether they may end the whole task.
    pub(crate) can_end: bool,
    /// The words of the person who handed the task over.
    pub(crate) request: Option<String>,
    pub(crate) values: Vec<ArgumentShown>,
    /// The arguments as JSON.
    pub(crate) raw: String,
    /// What the agent gave, where somebody put other arguments in its place, and who.
    pub(crate) before: Option<String>,
    pub(crate) edited_by: Option<&'a str>,
    pub(crate) why: Vec<String>,
    pub(crate) labels: String,
    pub(crate) earlier: Vec<EarlierShown>,
    pub(crate) effects: String,
    pub(crate) grave: bool,
}

/// The value of an argument.
pub(crate) struct ArgumentShown {
    pub(crate) at: String,
    pub(crate) value: String,
    /// Where it comes from.
    pub(crate) told: String,
}

/// An earlier call of the same tool.
pub(crate) struct EarlierShown {
    pub(crate) arguments: String,
    /// Places whose values are others now.
    pub(crate) changed: String,
}

/// Tells something.
#[derive(Template)]
#[template(path = "notice.html")]
struct Notice<'a> {
    style: &'static str,
    title: &'a str,
    text: &'a str,
}

/// A page that tells something and asks nothing.
pub(crate) fn notice(status: StatusCode, title: &str, text: &str) -> Response {
    shown(status, &Notice { style: STYLE, title, text })
}

/// A page as it is sent.
///
/// The policy says nothing of where forms go: browsers hold every hop of a redirect that answers one against that, and an application's address may lead on to
/// another, or be one that no policy can write, such as `http://[::1]`. There is no script that could change a form.
///
/// Referrers go to ourselves alone, and not nowhere: of a page without any, browsers say that its forms come from nobody (`Origin: null`).
pub(crate) fn shown(status: StatusCode, page: &impl Template) -> Response {
    let Ok(html) = page.render() else { return StatusCode::INTERNAL_SERVER_ERROR.into_response() };
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{}'; frame-ancestors 'none'; base-uri 'none'",
        *STYLE_DIGEST
    );
    let Ok(policy) = HeaderValue::from_str(&policy) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let mut response = (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}
