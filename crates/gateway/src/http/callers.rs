//! Who calls: tokens of a file, each bound to an agent and to the mandates that it may run, and whoever shows an access token.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    num::NonZeroU32,
    sync::{Arc, Mutex},
};

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use warrantor_model::{AgentId, Digest, Evidence, MandateId, ServerName, TemplateId, Timestamp};
use warrantor_tokens::AccessToken;

use super::foreign::{ForeignClient, ForeignToken};
use crate::exchange::{Shown, lock};

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
    fn new(settings: CallerSettings, evidence: Evidence, per_second: NonZeroU32, under_way: usize) -> Self {
        let burst = per_second.saturating_add(per_second.get());
        Self {
            shown: Shown::until(evidence, settings.expires_at),
            settings,
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
        self.shown.has_ended(now)
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

/// Most callers that one client of another issuer is at a time: its tokens are made elsewhere, and leave room for others here.
const MAX_OF_CLIENT: usize = 1024;
/// Most callers that are known by access tokens at a time.
const MAX_ISSUED: usize = 16_384;

/// Everybody who may call.
pub(super) struct Callers {
    /// By the digest of a token of the file.
    fixed: BTreeMap<Digest, Arc<Caller>>,
    /// Whoever has shown an access token that counts. One that comes with the next token goes on with what it does.
    issued: Mutex<HashMap<Digest, Arc<Caller>>>,
    per_second: NonZeroU32,
    under_way: usize,
}

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
                known.and_then(|known| known.fixed.get(&settings.token)).filter(|c| c.settings == settings);
            let caller = match same {
                Some(same) => Arc::clone(same),
                None => {
                    let evidence = Evidence::Token { name: settings.name.clone() };
                    Arc::new(Caller::new(settings, evidence, per_second, under_way))
                }
            };
            (caller.settings.token, caller)
        };
        let fixed = settings.into_iter().map(caller).collect();
        Self { fixed, issued: Mutex::default(), per_second, under_way }
    }

    /// Goes on with those who were known by access tokens: these count for the same place as before.
    pub(super) fn keep_issued(&self, before: &Self) {
        if (self.per_second, self.under_way) == (before.per_second, before.under_way) {
            lock(&self.issued).clone_from(&lock(&before.issued));
        }
    }

    /// Whether this caller is among them, as it is.
    pub(super) fn has(&self, settings: &CallerSettings) -> bool {
        let same = |caller: &Arc<Caller>| caller.settings == *settings;
        self.fixed.get(&settings.token).is_some_and(same)
            || lock(&self.issued).get(&settings.token).is_some_and(same)
    }

    /// Whoever presents this token. Tokens are looked up by their digests, so that how long it takes tells nothing of other tokens.
    pub(super) fn of(&self, token: &str, now: Timestamp) -> Option<&Arc<Caller>> {
        let caller = self.fixed.get(&Digest::of(token.as_bytes()))?;
        (!caller.has_ended(now)).then_some(caller)
    }

    /// Whoever has shown an access token at an endpoint: the same caller for as long as agent, mandate and key are the same, whatever token it shows. None
    /// when there are too many.
    pub(super) fn issued(
        &self,
        token: &AccessToken,
        evidence: Evidence,
        endpoint: &ServerName,
        now: Timestamp,
    ) -> Option<Arc<Caller>> {
        let bound = match &token.bound_to {
            Some(binding) => binding.to_string(),
            // Without a key another token may be another's, unless both were made of one thing, as refreshed ones are.
            None => format!("token {}", token.lineage().last().unwrap_or(&token.id)),
        };
        let name = format!("{} {} {endpoint} {bound}", token.agent, token.mandate());
        let settings = CallerSettings {
            token: Digest::of_parts(&[b"access token", name.as_bytes()]),
            name,
            agent: token.agent.clone(),
            mandates: TemplateId::new(token.mandate().as_str()).into_iter().collect(),
            handed_over: false,
            servers: [endpoint.clone()].into(),
            expires_at: Some(token.expires_at),
        };
        self.shows(settings, evidence, token.expires_at, now)
    }

    /// Whoever has shown a token of another issuer at an endpoint: the same caller for as long as client, subject, scopes and key are the same, so that
    /// nothing is decided on what another token says. None when there are too many, or too many of one client.
    pub(super) fn foreign(
        &self,
        token: &ForeignToken,
        client: &ForeignClient,
        endpoint: &ServerName,
        now: Timestamp,
    ) -> Option<Arc<Caller>> {
        let bound = token.bound_to.as_ref().map(ToString::to_string).unwrap_or_default();
        let parts = [&token.issuer, &token.client, &token.subject, &bound].map(String::as_str);
        let parts =
            parts.into_iter().chain([endpoint.as_str()]).chain(token.scopes.iter().map(String::as_str));
        let identity: Vec<String> = parts.map(|part| format!("{}:{part}", part.len())).collect();
        let identity = Digest::of_parts(&[b"foreign token", identity.concat().as_bytes()]);
        let of_client = format!("{} of {} ", token.client, token.issuer);
        let is_new = |issued: &HashMap<Digest, Arc<Caller>>| !issued.contains_key(&identity);
        let are_many = |issued: &HashMap<Digest, Arc<Caller>>| {
            let others = issued
                .values()
                .filter(|caller| !caller.has_ended(now) && caller.settings.name.starts_with(&of_client));
            others.count() >= MAX_OF_CLIENT
        };
        {
            let issued = lock(&self.issued);
            if is_new(&issued) && are_many(&issued) {
                return None;
            }
        }
        let settings = CallerSettings {
            token: identity,
            // Connections are known by it: one of each identity.
            name: format!("{of_client}for {} ({})", token.subject, identity.hex()),
            agent: client.agent.clone(),
            mandates: client.mandates.clone(),
            handed_over: client.handed_over,
            servers: client.servers.iter().filter(|server| *server == endpoint).cloned().collect(),
            expires_at: Some(token.expires_at),
        };
        self.shows(settings, token.evidence(), token.expires_at, now)
    }

    /// The caller of this identity, who has just shown this.
    fn shows(
        &self,
        settings: CallerSettings,
        evidence: Evidence,
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Option<Arc<Caller>> {
        let identity = settings.token;
        let mut issued = lock(&self.issued);
        if let Some(known) = issued.get(&identity) {
            known.shown.renew(evidence, expires_at);
            return Some(Arc::clone(known));
        }
        if issued.len() >= MAX_ISSUED {
            issued.retain(|_, caller| !caller.has_ended(now) || Arc::strong_count(caller) > 1);
            if issued.len() >= MAX_ISSUED {
                return None;
            }
        }
        let caller = Arc::new(Caller::new(settings, evidence, self.per_second, self.under_way));
        issued.insert(identity, Arc::clone(&caller));
        Some(caller)
    }

    /// Lets go of those who came with access tokens that have ended.
    pub(super) fn tidy(&self, now: Timestamp) {
        lock(&self.issued).retain(|_, caller| !caller.has_ended(now) || Arc::strong_count(caller) > 1);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use warrantor_tokens::{Actors, Binding, MandateDetails};

    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_micros(1_893_499_200_000_000).plus(Duration::from_secs(seconds))
    }

    fn token(id: &str, key: Option<&str>, ends: u64) -> AccessToken {
        AccessToken {
            id: id.parse().unwrap(),
            subject: "alice".to_owned(),
            agent: "bot".parse().unwrap(),
            audience: "https://tools.example.com/bank".to_owned(),
            made: at(0),
            expires_at: at(ends),
            actors: Actors::default(),
            details: MandateDetails { mandate: "m1".parse().unwrap(), locations: Vec::new() },
            task: None,
            bound_to: key.map(|key| Binding::Key(key.to_owned())),
            made_from: Vec::new(),
            home: None,
        }
    }

    fn named(name: &str) -> Evidence {
        Evidence::Token { name: name.to_owned() }
    }

    #[test]
    fn a_caller_is_known_by_agent_mandate_and_key_and_stands_by_the_token_that_it_showed_last() {
        let callers = Callers::new(Vec::new(), NonZeroU32::MIN, 1, None);
        let server: ServerName = "bank".parse().unwrap();
        let shows = |token: &AccessToken, now: u64| {
            callers.issued(token, named(token.id.as_str()), &server, at(now)).unwrap()
        };
        let first = shows(&token("t1", Some("k"), 300), 0);
        // Another token, of an earlier end: what is asked now rests on it and nothing else.
        let again = shows(&token("t2", Some("k"), 200), 10);
        assert!(Arc::ptr_eq(&first, &again));
        assert_eq!(first.shown.now(), named("t2"));
        assert!(!first.has_ended(at(199)) && first.has_ended(at(200)));
        shows(&token("t3", Some("k"), 500), 190);
        assert_eq!(first.shown.now(), named("t3"));
        assert!(!first.has_ended(at(499)) && first.has_ended(at(500)));
        // Other keys are other callers; without one, each token is.
        let others = [token("t4", Some("l"), 300), token("t5", None, 300), token("t6", None, 300)];
        let others: Vec<_> = others.iter().map(|token| shows(token, 0)).collect();
        let names: BTreeSet<&str> = others.iter().map(|caller| caller.settings.name.as_str()).collect();
        assert_eq!(names.len(), 3);
        assert!(!names.contains(first.settings.name.as_str()));
        // Those that were made of one agreement, each in place of the one before, are one.
        let of = |id: &str, family: &str| AccessToken {
            made_from: vec![family.parse().unwrap()],
            ..token(id, None, 300)
        };
        let (one, next) = (shows(&of("t7", "f1"), 0), shows(&of("t8", "f1"), 0));
        assert!(Arc::ptr_eq(&one, &next));
        assert!(!Arc::ptr_eq(&one, &shows(&of("t9", "f2"), 0)));
    }

    #[test]
    fn callers_whose_tokens_have_ended_make_room_and_those_at_work_stay() {
        let callers = Callers::new(Vec::new(), NonZeroU32::MIN, 1, None);
        let server: ServerName = "bank".parse().unwrap();
        let shows = |nth: usize, now: u64| {
            let key = nth.to_string();
            callers.issued(&token("t1", Some(&key), now + 60), named("t1"), &server, at(now))
        };
        let at_work = shows(0, 0).unwrap();
        assert!((1..MAX_ISSUED).all(|nth| shows(nth, 0).is_some()));
        assert!(shows(MAX_ISSUED, 59).is_none(), "there is no room");
        assert!(shows(MAX_ISSUED, 60).is_some(), "those who have ended are gone");
        assert_eq!(lock(&callers.issued).len(), 2);
        assert!(callers.has(&at_work.settings));
    }
}
