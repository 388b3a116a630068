//! `subscriptions/listen` (2026-07-28): a request that lasts, and tells of what changes.
//!
//! Each resource is decided on when the client asks, and again each time before it is told that one changed. What ends the mandate ends the stream.

use std::time::Duration;

use serde_json::value::RawValue;
use tokio::sync::mpsc;
use warrantor_engine::{Answer as Decided, DecisionPoint};
use warrantor_mcp::{
    Message, envelope,
    uses::{ListenParams, uri_of},
};
use warrantor_model::{Definition, Offer, record::Outcome};

use crate::{
    answers::MAX_PARTS,
    exchange::{Asked, Exchange, Reply},
    owed::Owed,
    tidings::Changed,
    upstream::{Mirror, NoAnswer, Parts, Request},
};

/// How long a subscription may last; then the client listens anew.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// What a client listens to, as far as it may.
struct Listening<'a> {
    wanted: &'a ListenParams<'a>,
    changes: Vec<Changed>,
    uris: Vec<String>,
}

impl<P: DecisionPoint> Exchange<P> {
    /// Tells the client what changes until one of the two ends it.
    pub(crate) async fn listen_for(&self, asked: &Asked<'_>) -> Reply {
        let id = asked.id;
        let mut wanted = match ListenParams::parse(asked.params) {
            Ok(wanted) => wanted,
            Err(cause) => return Reply::fault(id, &cause.to_rpc()),
        };
        if let Err(why) = Box::pin(self.stands()).await {
            tracing::warn!(why = why.detail, "nothing is told under a mandate that does not stand");
            return Box::pin(self.refuse_method(id, asked.method)).await;
        }
        let mut owed = Vec::new();
        let mut uris = Vec::new();
        for uri in &wanted.uris {
            // One that is refused is not among those that are honoured, and its record says why.
            if let Some(one) = Box::pin(self.subscribe(uri)).await {
                owed.push(one);
                uris.push(uri.to_string());
            }
        }
        wanted.prompts &= self.offers(Changed::Prompts);
        wanted.resources &= self.offers(Changed::Resources);
        let flags = [wanted.tools, wanted.prompts, wanted.resources];
        let changes =
            Changed::ALL.into_iter().zip(flags).filter_map(|(one, flag)| flag.then_some(one)).collect();
        let listening = Listening { wanted: &wanted, changes, uris };
        let (sender, mut parts) = mpsc::channel(MAX_PARTS);
        let Some(pending) = asked.flight.take_off(&self.upstream, None, Parts { sender, listens: true })
        else {
            owed.into_iter().for_each(|owed: Owed<P>| owed.tell(Outcome::NotSent, Duration::ZERO));
            return Reply::Nothing;
        };
        let line = listening.wanted.request(pending.id, &listening.uris);
        let modern = listening.wanted.meta.modern().map(|modern| modern.version());
        let mirror = Mirror { method: "subscriptions/listen", modern, ..Mirror::default() };
        let answer = {
            let asking = self.ask(pending, Request { line, mirror }, LONGEST);
            let mut asking = std::pin::pin!(asking);
            loop {
                tokio::select! {
                    Some(part) = parts.recv() => {
                        if let Some(line) = Box::pin(self.tell_listener(asked, &listening, &part)).await {
                            asked.flight.tell(line);
                        }
                    }
                    answer = &mut asking => break answer,
                }
            }
        };
        let outcome = if answer.is_ok() { Outcome::Succeeded } else { Outcome::Cancelled };
        owed.into_iter().for_each(|owed| owed.tell(outcome, Duration::ZERO));
        match answer {
            Err(NoAnswer::TimedOut) => Reply::Line(envelope::unsubscribed(id)),
            Err(NoAnswer::Cancelled | NoAnswer::TakenBack) => Reply::Nothing,
            answer => {
                let end = |_: &RawValue| Ok((warrantor_mcp::Fragment::empty_object(), ()));
                match self.relay(id, &answer, end) {
                    Ok(_) => Reply::Line(envelope::unsubscribed(id)),
                    Err(reply) => reply,
                }
            }
        }
    }

    /// Whether the manifest describes anything whose list this is.
    fn offers(&self, changed: Changed) -> bool {
        changed.lists().iter().any(|list| self.has(*list))
    }

    async fn subscribe(&self, uri: &str) -> Option<Owed<P>> {
        let presented = match self.reading("subscriptions/listen", uri) {
            Some(presented) => presented,
            None => self.presented(
                "subscriptions/listen",
                Offer::Resource,
                "",
                b"{}".to_vec(),
                Definition::NotSeen,
            ),
        };
        match self.authorize(&presented).await {
            Decided::Permitted(permit) => {
                let release = self.engine.release(permit).ok()?;
                Some(Owed::new(self.engine.clone(), release.spend()))
            }
            Decided::Refused(_) | Decided::Asked(..) => None,
        }
    }

    /// What a listener is told of a message of the server.
    async fn tell_listener(
        &self,
        asked: &Asked<'_>,
        listening: &Listening<'_>,
        line: &[u8],
    ) -> Option<Vec<u8>> {
        let Ok(Message::Notification { method, params }) =
            Message::parse(line, &self.settings.upstream_limits)
        else {
            // A server asks nothing here.
            return None;
        };
        self.stands().await.ok()?;
        match method.as_ref() {
            "notifications/subscriptions/acknowledged" => {
                let honoured = ListenParams::parse(params).ok()?;
                let uris = honoured.uris.iter().map(ToString::to_string);
                let uris: Vec<String> = uris.filter(|uri| listening.uris.contains(uri)).collect();
                let honoured = ListenParams {
                    tools: honoured.tools && listening.wanted.tools,
                    prompts: honoured.prompts && listening.wanted.prompts,
                    resources: honoured.resources && listening.wanted.resources,
                    ..honoured
                };
                Some(envelope::acknowledged(&honoured.wanted(&uris), asked.id))
            }
            "notifications/resources/updated" => {
                let uri = uri_of(params).filter(|uri| listening.uris.contains(uri))?;
                let reading = self.reading("subscriptions/listen", &uri)?;
                self.engine.would(&reading).await.ok()?;
                Some(envelope::updated(&uri, Some(asked.id)))
            }
            other => {
                let changed =
                    Changed::said_by(other).filter(|changed| listening.changes.contains(changed))?;
                Some(envelope::changed(changed.method(), asked.id))
            }
        }
    }
}
