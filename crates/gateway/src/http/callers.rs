//! Who calls: bearer tokens, each bound to an agent and to the mandates that it may run.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroU32,
    sync::Arc,
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warrantor_model::{AgentId, Digest, Evidence, MandateId, ServerName, TemplateId, Timestamp};

use crate::exchange::Shown;

/// A caller as it is configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerSettings {
    /// The token's name, for records and logs.
    pub name: String,
    /// The digest of the token.
    pub token: Digest,
    /// Who calls with it.
    pub agent: AgentId,
    /// What it may run: mandates of the bundle, or instances.
    pub mandates: Vec<TemplateId>,
    /// Whether it may run every mandate that was handed over to its agent.
    pub handed_over: bool,
    /// The servers and sets it reaches.
    pub servers: BTreeSet<ServerName>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A caller, and how much it does right now.
pub(super) struct Caller {
    pub(super) settings: CallerSettings,
    /// What it has shown last.
    pub(super) shown: Shown,
    rate: DefaultDirectRateLimiter,
    under_way: Arc<Semaphore>,
}

/// Why a caller has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Busy {
    /// Too many requests a second.
    Rate,
    /// Too many requests under way.
    UnderWay,
}

impl Caller {
    fn new(settings: CallerSettings, per_second: NonZeroU32, under_way: usize) -> Self {
        let burst = per_second.saturating_add(per_second.get());
        let shown = Evidence::Token { name: settings.name.clone() }.into();
        Self {
            settings,
            shown,
            rate: RateLimiter::direct(Quota::per_second(per_second).allow_burst(burst)),
            under_way: Arc::new(Semaphore::new(under_way.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Takes a place among the caller's requests.
    pub(super) fn begin(&self) -> Result<OwnedSemaphorePermit, Busy> {
        self.rate.check().map_err(|_| Busy::Rate)?;
        Arc::clone(&self.under_way).try_acquire_owned().map_err(|_| Busy::UnderWay)
    }

    /// Whether the token has ended.
    pub(super) fn has_ended(&self, now: Timestamp) -> bool {
        self.settings.expires_at.is_some_and(|until| now >= until)
    }

    /// The mandate that a request runs: the one it names, or the only one. Whether one that was handed over is its agent's is seen to where it is known
    /// whose it is.
    pub(super) fn mandate(&self, named: Option<&str>) -> Option<TemplateId> {
        match (named, self.settings.mandates.as_slice()) {
            (None, [only]) if !self.settings.handed_over => Some(only.clone()),
            (None, _) => None,
            (Some(named), all) => match all.iter().find(|mandate| mandate.as_str() == named) {
                Some(listed) => Some(listed.clone()),
                None if self.settings.handed_over && MandateId::is_like(named) => TemplateId::new(named).ok(),
                None => None,
            },
        }
    }
}

/// Everybody who may call.
pub(super) struct Callers(BTreeMap<Digest, Arc<Caller>>);

impl Callers {
    /// These callers; one that was known before, and is the same, goes on with what it does right now.
    pub(super) fn new(
        settings: Vec<CallerSettings>,
        per_second: NonZeroU32,
        under_way: usize,
        known: Option<&Self>,
    ) -> Self {
        let caller = |settings: CallerSettings| {
            let same =
                known.and_then(|known| known.0.get(&settings.token)).filter(|c| c.settings == settings);
            let caller = match same {
                Some(same) => Arc::clone(same),
                None => Arc::new(Caller::new(settings, per_second, under_way)),
            };
            (caller.settings.token, caller)
        };
        Self(settings.into_iter().map(caller).collect())
    }

    /// Whether this caller is among them, as it is.
    pub(super) fn has(&self, settings: &CallerSettings) -> bool {
        self.0.get(&settings.token).is_some_and(|caller| caller.settings == *settings)
    }

    /// Whoever presents this token. Tokens are looked up by their digests, so that how long it takes tells nothing of other tokens.
    pub(super) fn of(&self, token: &str, now: Timestamp) -> Option<&Arc<Caller>> {
        let caller = self.0.get(&Digest::of(token.as_bytes()))?;
        (!caller.has_ended(now)).then_some(caller)
    }
}
