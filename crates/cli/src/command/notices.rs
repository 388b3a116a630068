//! Sends notices of questions to programs elsewhere: each as often as it takes, within bounds.

use std::{fs, sync::Arc, time::Duration};

use anyhow::Context;
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, StatusCode, Uri, header};
use hyper_rustls::HttpsConnector;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use tokio::task::JoinSet;
use warrantor_api::Api;
use warrantor_bundle::serve::NoticesConfig;
use warrantor_control::notices::{Notice, Signing, Told};
use warrantor_model::Clock;
use warrantor_store_sql::SqliteStore;

use crate::http::connector;

/// How often it is looked for questions.
const LOOK: Duration = Duration::from_secs(1);
/// Questions that are read at a time.
const PAGE: usize = 200;
/// How long a receiver may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long it waits before each try.
const TRIES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_secs(2 * 60),
    Duration::from_secs(10 * 60),
    Duration::from_secs(30 * 60),
];
/// Most notices to one receiver that are under way.
const MAX_UNDER_WAY: usize = 1000;

/// Where notices go.
struct Receiver {
    uri: Uri,
    signing: Signing,
}

/// Tells of questions until it is stopped.
pub(super) struct Teller {
    receivers: Vec<Arc<Receiver>>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    page: Option<String>,
    clock: Arc<dyn Clock>,
}

impl Teller {
    /// For these receivers; `page` is where questions are answered.
    pub(super) fn to(
        receivers: &[NoticesConfig],
        page: Option<String>,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Option<Self>> {
        if receivers.is_empty() {
            return Ok(None);
        }
        let read = |receiver: &NoticesConfig| {
            let file = receiver.secret.display();
            let secret =
                fs::read_to_string(&receiver.secret).with_context(|| format!("{file} cannot be read"))?;
            let signing = Signing::read(&secret).with_context(|| file.to_string())?;
            anyhow::Ok(Arc::new(Receiver {
                uri: receiver.url.parse().context("[[approvals.notices]] url")?,
                signing,
            }))
        };
        Ok(Some(Self {
            receivers: receivers.iter().map(read).collect::<anyhow::Result<_>>()?,
            client: Client::builder(TokioExecutor::new()).build(connector()?),
            page,
            clock,
        }))
    }

    pub(super) async fn tell(self, api: Arc<Api<SqliteStore>>) {
        let teller = Arc::new(self);
        let mut told = Told::default();
        // Each has room of its own, so that one that is gone holds nothing up for the others.
        let mut under_way: Vec<_> =
            teller.receivers.iter().map(|receiver| (receiver, JoinSet::new())).collect();
        let mut looking = tokio::time::interval(LOOK);
        loop {
            looking.tick().await;
            let notices = match teller.due(&api, &mut told).await {
                Ok(notices) => notices,
                Err(cause) => {
                    tracing::warn!(%cause, "nobody can be told of questions now");
                    continue;
                }
            };
            for (receiver, sending) in &mut under_way {
                while sending.try_join_next().is_some() {}
                for notice in &notices {
                    if sending.len() >= MAX_UNDER_WAY {
                        let host = receiver.uri.host();
                        tracing::warn!(notice = notice.id, host, "a notice is not sent: too many wait");
                        continue;
                    }
                    sending.spawn(Arc::clone(&teller).deliver(Arc::clone(receiver), notice.clone()));
                }
            }
        }
    }

    async fn due(&self, api: &Api<SqliteStore>, told: &mut Told) -> anyhow::Result<Vec<Notice>> {
        let approvals = api.approvals();
        let (mut open, mut after) = (Vec::new(), None);
        loop {
            let (page, next) = approvals.open(after.as_ref(), PAGE).await?;
            open.extend(page);
            after = next;
            if after.is_none() {
                break;
            }
        }
        let page = self.page.as_deref();
        let (mut due, gone) = told.open(&open, page, self.clock.now());
        for id in gone {
            match approvals.question(&id).await {
                Ok(question) => due.extend(told.settled(&question, page, self.clock.now())),
                // It is looked at again, and holds nothing else up.
                Err(cause) => {
                    tracing::warn!(question = %id, %cause, "nobody can be told what came of a question")
                }
            }
        }
        Ok(due)
    }

    async fn deliver(self: Arc<Self>, receiver: Arc<Receiver>, notice: Notice) {
        let host = receiver.uri.host().unwrap_or_default();
        for wait in TRIES {
            tokio::time::sleep(wait).await;
            match tokio::time::timeout(PATIENCE, self.send(&receiver, &notice)).await {
                Ok(Ok(status)) if status.is_success() => return,
                // The receiver says that there is nobody any more.
                Ok(Ok(StatusCode::GONE)) => break,
                Ok(Ok(status)) => tracing::warn!(notice = notice.id, host, %status, "a notice was not taken"),
                Ok(Err(cause)) => tracing::warn!(notice = notice.id, host, %cause, "a notice was not sent"),
                Err(_) => tracing::warn!(notice = notice.id, host, "a notice was not answered in time"),
            }
        }
        tracing::error!(notice = notice.id, host, "a notice is given up");
    }

    async fn send(&self, receiver: &Receiver, notice: &Notice) -> anyhow::Result<StatusCode> {
        // Signed anew for each try: a receiver takes none that is old.
        let sent_at = u64::try_from(self.clock.now().as_micros() / 1_000_000)?;
        let request = Request::post(receiver.uri.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .header("webhook-id", &notice.id)
            .header("webhook-timestamp", sent_at)
            .header("webhook-signature", receiver.signing.signature(notice, sent_at))
            .body(Full::new(Bytes::from(notice.body.clone())))?;
        Ok(self.client.request(request).await?.status())
    }
}
