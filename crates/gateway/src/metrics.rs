//! What a gateway counts: decisions and why, how long each stage takes, how its servers answer, how its log stands.
//!
//! Labels are names of the configuration and words of closed lists, so that no caller can make more series than there are.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use warrantor_engine::Answer as Decided;
use warrantor_model::{Offer, ReasonCode, ServerName};

use crate::upstream::NoAnswer;

/// Upper bounds of stages, in seconds: from what a decision costs to what a slow tool takes.
const BUCKETS: [f64; 14] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5, 10.0, 60.0];

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfDecision {
    server: String,
    offer: &'static str,
    verdict: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfStage {
    server: String,
    stage: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfAnswer {
    server: String,
    answer: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfResponse {
    status: u16,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfReload {
    result: &'static str,
}

/// The part of a use that was timed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Deciding, the record's durability included.
    Decide,
    /// Waiting for the server.
    Upstream,
    /// Taking the answer into the task's history, its durability included.
    TakeIn,
}

/// How a gateway stands at the moment it is asked.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Standing {
    pub(crate) sessions: usize,
    pub(crate) connections: usize,
    pub(crate) unrecorded: u64,
    pub(crate) is_ready: bool,
}

/// Counters of one gateway.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    decisions: Family<OfDecision, Counter>,
    stages: Family<OfStage, Histogram>,
    answers: Family<OfAnswer, Counter>,
    responses: Family<OfResponse, Counter>,
    reloads: Family<OfReload, Counter>,
    sessions: Gauge,
    connections: Gauge,
    unrecorded: Gauge,
    ready: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("warrantor");
        let stages = Family::<OfStage, Histogram>::new_with_constructor(|| Histogram::new(BUCKETS));
        let metrics = Self {
            registry: Registry::default(),
            decisions: Family::default(),
            stages,
            answers: Family::default(),
            responses: Family::default(),
            reloads: Family::default(),
            sessions: Gauge::default(),
            connections: Gauge::default(),
            unrecorded: Gauge::default(),
            ready: Gauge::default(),
        };
        registry.register("decisions", "Decisions, by what they said and why", metrics.decisions.clone());
        registry.register_with_unit(
            "stage",
            "How long each stage of a use took",
            Unit::Seconds,
            metrics.stages.clone(),
        );
        registry.register("upstream_answers", "How tool servers answered", metrics.answers.clone());
        registry.register("responses", "Responses to clients, by status", metrics.responses.clone());
        registry.register("reloads", "Configurations read anew", metrics.reloads.clone());
        registry.register("sessions", "Sessions of the older era", metrics.sessions.clone());
        registry.register(
            "upstream_connections",
            "Connections of the newer era to tool servers",
            metrics.connections.clone(),
        );
        registry.register(
            "records_missing",
            "Records that wait for a log that fails",
            metrics.unrecorded.clone(),
        );
        registry.register("ready", "Whether calls could pass", metrics.ready.clone());
        Self { registry, ..metrics }
    }
}

/// How it was decided, in words of closed lists: the verdict, and the reason of one that does not pass.
pub(crate) fn verdict(decided: &Decided) -> (&'static str, &'static str) {
    match decided {
        Decided::Permitted(_) => ("pass", ""),
        Decided::Asked(..) => ("ask", "approval_required"),
        Decided::Refused(refused) => ("deny", refused.refusal.primary().0.as_str()),
    }
}

impl Metrics {
    /// A decision, and how long it took.
    pub(crate) fn decided(&self, server: &ServerName, offer: Offer, decided: &Decided, took: Duration) {
        let (verdict, reason) = verdict(decided);
        self.decision(server, offer, verdict, reason);
        self.took(server, Stage::Decide, took);
    }

    /// A decision of which the reason is known.
    pub(crate) fn decision(
        &self,
        server: &ServerName,
        offer: Offer,
        verdict: &'static str,
        reason: &'static str,
    ) {
        let offer = match offer {
            Offer::Tool => "tool",
            Offer::Prompt => "prompt",
            Offer::Resource => "resource",
            Offer::Completion => "completion",
            Offer::Client => "client",
        };
        self.count(server, offer, verdict, reason);
    }

    /// A method that uses nothing, and was refused.
    pub(crate) fn refused_method(&self, server: &ServerName) {
        self.count(server, "none", "deny", ReasonCode::MethodNotAvailable.as_str());
    }

    fn count(&self, server: &ServerName, offer: &'static str, verdict: &'static str, reason: &'static str) {
        self.decisions
            .get_or_create(&OfDecision { server: server.to_string(), offer, verdict, reason })
            .inc();
    }

    /// How long a stage took.
    pub(crate) fn took(&self, server: &ServerName, stage: Stage, took: Duration) {
        let stage = match stage {
            Stage::Decide => "decide",
            Stage::Upstream => "upstream",
            Stage::TakeIn => "take_in",
        };
        self.stages.get_or_create(&OfStage { server: server.to_string(), stage }).observe(took.as_secs_f64());
    }

    /// How a server answered.
    pub(crate) fn answered<T>(&self, server: &ServerName, answer: &Result<T, NoAnswer>) {
        let answer = answer.as_ref().map_or_else(NoAnswer::word, |_| "answered");
        self.answers.get_or_create(&OfAnswer { server: server.to_string(), answer }).inc();
    }

    /// A response to a client.
    pub(crate) fn responded(&self, status: u16) {
        self.responses.get_or_create(&OfResponse { status }).inc();
    }

    /// A configuration that was read anew, or could not be.
    pub(crate) fn reloaded(&self, is_taken: bool) {
        let result = if is_taken { "taken" } else { "refused" };
        self.reloads.get_or_create(&OfReload { result }).inc();
    }

    /// Everything that was counted, in the text format of OpenMetrics.
    pub(crate) fn text(&self, standing: Standing) -> String {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.sessions.set(number(standing.sessions));
        self.connections.set(number(standing.connections));
        self.unrecorded.set(i64::try_from(standing.unrecorded).unwrap_or(i64::MAX));
        self.ready.set(i64::from(standing.is_ready));
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_told_under_its_names() {
        let metrics = Metrics::default();
        let server: ServerName = "files".parse().unwrap();
        metrics.decision(&server, Offer::Tool, "deny", "limit_reached");
        metrics.decision(&server, Offer::Tool, "deny", "limit_reached");
        metrics.took(&server, Stage::Decide, Duration::from_micros(300));
        metrics.answered(&server, &Err::<(), _>(NoAnswer::Broken("secret".into())));
        metrics.responded(403);
        metrics.reloaded(false);
        let text = metrics.text(Standing { sessions: 2, connections: 1, unrecorded: 0, is_ready: true });
        for line in [
            r#"warrantor_decisions_total{server="files",offer="tool",verdict="deny",reason="limit_reached"} 2"#,
            r#"warrantor_stage_seconds_bucket{le="0.0005",server="files",stage="decide"} 1"#,
            r#"warrantor_upstream_answers_total{server="files",answer="broken"} 1"#,
            r#"warrantor_responses_total{status="403"} 1"#,
            r#"warrantor_reloads_total{result="refused"} 1"#,
            "warrantor_sessions 2",
            "warrantor_upstream_connections 1",
            "warrantor_records_missing 0",
            "warrantor_ready 1",
        ] {
            assert!(text.lines().any(|told| told == line), "{line} is not in:\n{text}");
        }
        assert!(!text.contains("secret"));
    }

    /// Names that begin like ours, wherever they stand in a text.
    fn names(text: &str) -> std::collections::BTreeSet<&str> {
        let words = text.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
        words.filter(|word| word.starts_with("warrantor_")).collect()
    }

    #[test]
    fn the_dashboard_and_the_guide_name_what_is_told() {
        let metrics = Metrics::default();
        let server: ServerName = "files".parse().unwrap();
        metrics.decision(&server, Offer::Tool, "pass", "");
        metrics.took(&server, Stage::TakeIn, Duration::ZERO);
        metrics.answered(&server, &Ok(()));
        metrics.responded(200);
        metrics.reloaded(true);
        let text = metrics.text(Standing::default());
        let told = names(&text);
        let read = |file: &str| {
            std::fs::read_to_string(format!("{}/../../docs/operate/{file}", env!("CARGO_MANIFEST_DIR")))
        };
        for file in ["grafana.json", "gateway.md"] {
            let file = read(file).unwrap();
            let used = names(&file);
            assert!(used.len() > 5 && used.is_subset(&told), "{:?} are not told", used.difference(&told));
        }
    }
}
