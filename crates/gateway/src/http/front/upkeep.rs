//! What ends and what goes on: a new configuration, idleness, revocation, the gateway's own end.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use futures_util::{
    StreamExt,
    future::join_all,
    stream::{self},
};
use tokio::time::Instant;
use warrantor_decide::{Presence, Snapshot};
use warrantor_engine::DecisionPoint;
use warrantor_model::ReasonCode;

use super::{Front, Mandates, Whose};
use crate::{
    exchange::{Shown, lock},
    http::{
        served::{Now, Serving},
        sessions::Session,
    },
};

/// How many standings are asked for at a time.
const AT_ONCE: usize = 32;
/// How long something goes on of which it cannot be told whether it stands.
const DOUBT: Duration = Duration::from_secs(5);

impl<P: DecisionPoint, M: Mandates> Front<P, M> {
    /// Serves something else from here on, decided on this bundle. Sessions, streams and calls of callers and servers that are what they were go on;
    /// the others end.
    pub(in crate::http) fn replace(&self, serving: Serving<M>, snapshot: Arc<Snapshot>) {
        let now = Arc::new(Now::of(serving, Some(&self.now())));
        self.engine.decide_on(snapshot);
        *self.serving.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&now);
        lock(&self.resolved).clear();
        let ended: Vec<String> = lock(&self.sessions)
            .iter()
            .filter(|(_, (server, session))| !now.keeps(server, session.configured, &session.caller))
            .map(|(name, _)| name.clone())
            .collect();
        ended.iter().for_each(|name| self.end_session(name));
        lock(&self.modern).retain(|whose, (caller, connection)| {
            let keeps = now.keeps(&whose.server, connection.configured, caller);
            if !keeps {
                connection.close();
            }
            keeps
        });
    }

    /// Nothing new begins any more.
    pub(in crate::http) fn stop(&self) {
        lock(&self.under_way).take();
        for (_, session) in lock(&self.sessions).values() {
            session.end_streams();
        }
    }

    /// Ends everything that is still there.
    pub(in crate::http) fn end_all(&self) {
        lock(&self.upkeep).take();
        for (_, (_, session)) in lock(&self.sessions).drain() {
            session.end();
        }
        for (_, (_, connection)) in std::mem::take(&mut *lock(&self.modern)) {
            connection.close();
        }
    }

    /// Ends what is idle, and what runs under a mandate that does not stand any more.
    pub(in crate::http) fn tidy(&self) {
        let now = self.clock.now();
        let serving = self.now();
        serving.callers.tidy(now);
        serving.resource.iter().for_each(|resource| resource.tidy(now));
        let patience = serving.limits.idle;
        let idle: Vec<String> = lock(&self.sessions)
            .iter()
            .filter(|(_, (_, session))| {
                session.is_idle(patience) || session.behind.is_lost() || session.caller.has_ended(now)
            })
            .map(|(name, _)| name.clone())
            .collect();
        idle.iter().for_each(|name| self.end_session(name));
        lock(&self.modern).retain(|_, (caller, connection)| {
            connection.tidy();
            // What only we hold is in no request.
            let unused = Arc::strong_count(connection) == 1 && connection.is_idle(patience);
            let has_ended = caller.has_ended(now);
            if has_ended {
                connection.close();
            }
            !connection.is_lost() && !unused && !has_ended
        });
    }

    /// Ends sessions, streams and calls under way whose mandate, or whose server, does not stand any more. A session with a set ends with each of its
    /// servers: the next one goes without.
    pub(in crate::http) async fn revoke(&self) {
        let mut used: BTreeMap<Whose, Shown> = BTreeMap::new();
        for (_, session) in lock(&self.sessions).values() {
            let caller = &session.caller;
            used.extend(
                session
                    .behind
                    .servers()
                    .map(|server| (Whose::of(caller, &session.mandate, server), caller.shown.clone())),
            );
        }
        used.extend(lock(&self.modern).iter().map(|(whose, (caller, _))| {
            (Whose::of(caller, &whose.mandate, &whose.server), caller.shown.clone())
        }));
        // What nobody uses is looked up again when somebody does.
        lock(&self.resolved).retain(|_, known| used.keys().any(|used| used.mandate == known.mandate));
        let mut ended = Vec::new();
        let asked = stream::iter(used.into_iter().map(|(used, shown)| async move {
            let presence = Presence { server: used.server.clone(), evidence: shown.now() };
            let standing = self.engine.stands(&used.mandate, &presence).await;
            (used, standing)
        }));
        let standings: Vec<_> = asked.buffer_unordered(AT_ONCE).collect().await;
        lock(&self.doubts).retain(|doubted, _| standings.iter().any(|(used, _)| used == doubted));
        for (used, standing) in standings {
            let why = match standing {
                Ok(()) => {
                    lock(&self.doubts).remove(&used);
                    continue;
                }
                Err(why) => why,
            };
            let Whose { caller, mandate, server } = &used;
            // That it cannot be told for a moment ends nothing: whatever is shown is asked for by itself, and refused.
            if why.code == ReasonCode::DecisionUnavailable && self.engine.stops().is_some() {
                let since = *lock(&self.doubts).entry(used.clone()).or_insert_with(Instant::now);
                if since.elapsed() < DOUBT {
                    continue;
                }
            }
            tracing::info!(caller, %mandate, %server, why = why.detail, "what runs under the mandate is ended");
            let sentence = why.code.sentence();
            lock(&self.resolved).retain(|_, resolved| resolved.mandate != *mandate);
            let is_over = |session: &Session<P>| {
                session.mandate == *mandate
                    && session.caller.settings.name == *caller
                    && session.behind.servers().any(|one| one == server)
            };
            let sessions: Vec<String> = lock(&self.sessions)
                .iter()
                .filter(|(_, (_, session))| is_over(session))
                .inspect(|(_, (_, session))| session.behind.stopped(sentence))
                .map(|(name, _)| name.clone())
                .collect();
            sessions.iter().for_each(|name| self.end_session(name));
            lock(&self.modern).retain(|whose, (_, connection)| {
                let stands = whose.mandate != *mandate || whose.server != *server || whose.caller != *caller;
                if !stands {
                    connection.exchange.upstream.let_go(sentence);
                    ended.push((Arc::clone(connection), sentence));
                }
                stands
            });
        }
        if ended.is_empty() {
            return;
        }
        // Servers are told to give tasks up, each at its own pace: nothing waits for that.
        tokio::spawn(join_all(ended.into_iter().map(|(connection, sentence)| async move {
            connection.exchange.give_up_tasks().await;
            connection.exchange.upstream.stopped(sentence);
            connection.close();
        })));
    }
}
