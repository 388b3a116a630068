//! How persons are asked: where they answer, and how long a call waits for them.

use std::time::Duration;

use url::Url;
use warrantor_model::time::parse_duration;

use super::PlaneConfig;
use crate::{
    doc::Doc, files::gateway::ApprovalsEntry, read::split_cure, report::Report, serve::is_secure, tree::short,
};

/// Longest time that a call waits for persons: clients give up before.
const MAX_HOLD: Duration = Duration::from_secs(10 * 60);

/// How persons are asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AskingConfig {
    /// Where questions are answered: the address of each is this and its id.
    pub page: Option<String>,
    /// How long a call waits for its answer before its client is told that it waits.
    pub hold: Duration,
}

/// What the file says of it. Where a control plane decides, questions are answered on its pages.
pub(super) fn asking(
    doc: &Doc,
    entry: Option<&ApprovalsEntry>,
    plane: Option<&PlaneConfig>,
    report: &mut Report,
) -> AskingConfig {
    let of_plane = plane.map(|plane| format!("{}/approvals", plane.url.trim_end_matches('/')));
    let Some(entry) = entry else { return AskingConfig { page: of_plane, hold: Duration::ZERO } };
    let page = match &entry.page {
        None => of_plane,
        Some(page) => {
            let fits = Url::parse(page).is_ok_and(|url| {
                is_secure(&url)
                    && url.query().is_none()
                    && url.fragment().is_none()
                    && url.username().is_empty()
                    && url.password().is_none()
                    && url.path().trim_end_matches('/').ends_with("/approvals")
            });
            if !fits {
                let message = format!("{:?} is no address of a page", short(page));
                let cure =
                    "write one such as https://warrantor.example.com/approvals; http on this machine only";
                doc.error(report, &["approvals", "page"], message, cure);
            }
            Some(page.clone())
        }
    };
    let hold = match entry.hold.as_deref().map(parse_duration) {
        None => Duration::ZERO,
        Some(Ok(hold)) if hold <= MAX_HOLD => hold,
        Some(Ok(_)) => {
            let message = "a call cannot wait for a person for longer than 10 minutes";
            doc.error(report, &["approvals", "hold"], message, "write a time such as 20s");
            Duration::ZERO
        }
        Some(Err(cause)) => {
            let (what, cure) = split_cure(&cause.to_string());
            doc.error(report, &["approvals", "hold"], what, cure.unwrap_or_default());
            Duration::ZERO
        }
    };
    AskingConfig { page, hold }
}
