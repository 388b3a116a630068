//! Records: what the ledger holds, in canonical CBOR (RFC 8949, deterministic encoding with integer keys) under 64 KiB.
//!
//! A record names everything that was decided on and holds no argument and no result: bodies are referred to by a salted commitment and kept
//! encrypted per person, so that erasing a key leaves every proof valid.

use minicbor::{Decode, Encode};
use serde::Serialize;
use thiserror::Error;

use crate::{Digest, Finding, ReasonCode, Timestamp};

mod acts;

pub use acts::{ActRecord, ApprovalChange, ApprovalRecord, CrossingRecord, TokenChange, TokenRecord};

/// Most bytes a record may have. An entry bundle counts them in 16 bits.
pub const MAX_RECORD_BYTES: usize = 65_535;
/// Most reasons a record lists; the body has all.
pub const MAX_REASONS: usize = 64;
/// The version of the format that is written and read.
pub const VERSION: u32 = 1;

/// One entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct Record {
    /// [`VERSION`].
    #[n(0)]
    pub version: u32,
    /// Its id: of the decision for a decision, else its own.
    #[n(1)]
    pub id: String,
    /// When it was made.
    #[n(2)]
    pub at: Timestamp,
    /// What happened.
    #[n(3)]
    pub event: Event,
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// A call was decided.
    #[n(0)]
    Decision(#[n(0)] Box<DecisionRecord>),
    /// What became of a permitted call.
    #[n(1)]
    Outcome(#[n(0)] OutcomeRecord),
    /// A person handed over a task.
    #[n(2)]
    Handover(#[n(0)] HandoverRecord),
    /// Someone or something was stopped, or let go on.
    #[n(3)]
    Standing(#[n(0)] StandingRecord),
    /// Refusals that could not be recorded when they were made.
    #[n(4)]
    AuditGap(#[n(0)] GapRecord),
    /// The ledger's own life: keys, epochs, clock.
    #[n(5)]
    Ledger(#[n(0)] LedgerRecord),
    /// A tool server's definitions were compared with their pins.
    #[n(6)]
    Definitions(#[n(0)] DefinitionsRecord),
    /// A bundle was first used to decide here.
    #[n(7)]
    Bundle(#[n(0)] BundleRecord),
    /// Somebody administered something, or was refused to.
    #[n(8)]
    Act(#[n(0)] ActRecord),
    /// A token was made, refused or revoked.
    #[n(9)]
    Token(#[n(0)] Box<TokenRecord>),
    /// A question was answered, or withdrawn.
    #[n(10)]
    Approval(#[n(0)] ApprovalRecord),
}

/// How a call was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum Verdict {
    /// It may take effect.
    #[n(0)]
    Pass,
    /// A person has to answer.
    #[n(1)]
    Ask,
    /// It is refused.
    #[n(2)]
    Deny,
}

/// One decision with everything it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct DecisionRecord {
    /// How it ended.
    #[n(0)]
    pub verdict: Verdict,
    /// The task.
    #[n(1)]
    pub task: Option<String>,
    /// Every hop, root first.
    #[n(2)]
    pub chain: Vec<HopRecord>,
    /// The protocol method.
    #[n(3)]
    pub method: String,
    /// The tool, `server/tool`.
    #[n(4)]
    pub tool: Option<String>,
    /// The effects the call has, by name.
    #[n(5)]
    pub effects: Vec<String>,
    /// The pinned definition it was judged by.
    #[n(6)]
    pub definition: Option<Digest>,
    /// Salted commitment to the arguments and details in the body.
    #[n(7)]
    pub body: Option<Digest>,
    /// Whose key seals the body.
    #[n(8)]
    pub body_of: Option<String>,
    /// Layer 1: who presented it.
    #[n(9)]
    pub evidence: String,
    /// Where it was enforced.
    #[n(10)]
    pub enforcement_point: String,
    /// The bundle it was decided on.
    #[n(11)]
    pub bundle: Digest,
    /// The store's revision it was decided on.
    #[n(12)]
    pub revision: u64,
    /// Why it did not pass, or what would have been said in observe mode.
    #[n(13)]
    pub reasons: Vec<ReasonRecord>,
    /// The policies that decided.
    #[n(14)]
    pub policies: Vec<PolicyRecord>,
    /// The limits that were read and charged.
    #[n(15)]
    pub limits: Vec<LimitRecord>,
    /// Who must be asked.
    #[n(16)]
    pub asked: Vec<String>,
    /// Effects the task had had before, by name, and how many calls: what policies saw of it.
    #[n(17)]
    pub task_effects: Vec<String>,
    /// Calls of the task before this one.
    #[n(18)]
    pub task_calls: u64,
    /// The engine's version.
    #[n(19)]
    pub engine: String,
    /// Where the values of arguments were found.
    #[cbor(n(20), default)]
    pub sources: Vec<SourceRecord>,
    /// Labels of what the task had touched.
    #[cbor(n(21), default)]
    pub task_labels: Vec<String>,
    /// What trackers stood at that policies could look at.
    #[cbor(n(22), default)]
    pub tracked: Vec<TrackedRecord>,
    /// How many events of the task's history were looked at.
    #[cbor(n(23), default)]
    pub events_seen: u64,
    /// What had to be done with the result, as the policies say it.
    #[cbor(n(24), default)]
    pub obligations: Vec<String>,
    /// The question that this call asked or waits for, or the answers that it used up.
    #[cbor(n(25), default)]
    pub approval: Option<ApprovalUse>,
}

/// A question as a decision had to do with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct ApprovalUse {
    /// The decision that asked.
    #[n(0)]
    pub question: String,
    /// Who had said yes, as whom and when; nobody where it waits.
    #[n(1)]
    pub given: Vec<GivenRecord>,
    /// The answers were used up by this call.
    #[n(2)]
    pub used: bool,
    /// Arguments that were decided with values which a person had put in, by place.
    #[n(3)]
    pub edited: Vec<String>,
}

/// One person's yes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct GivenRecord {
    /// Who was asked.
    #[n(0)]
    pub who: String,
    /// Who answered.
    #[n(1)]
    pub by: String,
    /// When.
    #[n(2)]
    pub at: Timestamp,
}

/// Where the values of one argument were found: names of the published vocabulary, no values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct SourceRecord {
    /// The argument, `*` for places in lists.
    #[n(0)]
    pub argument: String,
    /// The names, in order.
    #[n(1)]
    pub names: Vec<String>,
}

/// What one tracker stood at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct TrackedRecord {
    /// Which.
    #[n(0)]
    pub tracker: String,
    /// What it stood at.
    #[n(1)]
    pub stood_at: String,
}

/// One hop of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct HopRecord {
    /// The mandate instance.
    #[n(0)]
    pub mandate: String,
    /// The mandate of the bundle.
    #[n(1)]
    pub template: String,
    /// The digest of the terms handed over.
    #[n(2)]
    pub terms: Digest,
    /// Who handed over.
    #[n(3)]
    pub person: String,
    /// Who acts.
    #[n(4)]
    pub agent: String,
    /// Who answers.
    #[n(5)]
    pub sponsor: String,
    /// The grant that decided, by its place in the mandate.
    #[n(6)]
    pub grant: Option<u32>,
}

/// One reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct ReasonRecord {
    /// The code.
    #[n(0)]
    pub code: ReasonCode,
    /// The hop it concerns.
    #[n(1)]
    pub hop: Option<u32>,
    /// What gave it.
    #[n(2)]
    pub subject: Option<String>,
    /// Set when observe mode lifted it.
    #[n(3)]
    pub observed: bool,
}

impl ReasonRecord {
    /// The part of a finding that holds no values.
    #[must_use]
    pub fn of(finding: &Finding, observed: bool) -> Self {
        Self { code: finding.code, hop: finding.hop, subject: finding.subject.clone(), observed }
    }
}

/// One policy that decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct PolicyRecord {
    /// Its id.
    #[n(0)]
    pub policy: String,
    /// For which principal, as a Cedar entity.
    #[n(1)]
    pub principal: String,
    /// `permit` or `forbid`.
    #[n(2)]
    pub effect: String,
}

/// One limit that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct LimitRecord {
    /// Which.
    #[n(0)]
    pub counter: String,
    /// What it stood at.
    #[n(1)]
    pub stood_at: String,
    /// What this call adds; nothing when the call did not pass.
    #[n(2)]
    pub charged: Option<String>,
}

/// What became of a permitted call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct OutcomeRecord {
    /// The decision.
    #[n(0)]
    pub decision: String,
    /// What became of it.
    #[n(1)]
    pub outcome: Outcome,
    /// Salted commitment to the result in the body.
    #[n(2)]
    pub body: Option<Digest>,
    /// Bytes of the result.
    #[n(3)]
    pub bytes: u64,
    /// Charges that were given back.
    #[n(4)]
    pub given_back: Vec<String>,
    /// Microseconds between release and answer.
    #[n(5)]
    pub micros: u64,
    /// Labels that the result brought to its task.
    #[cbor(n(6), default)]
    pub labels: Vec<String>,
}

/// What became of a permitted call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "snake_case")]
#[cbor(index_only)]
pub enum Outcome {
    /// The tool answered.
    #[n(0)]
    Succeeded,
    /// The tool answered that it failed.
    #[n(1)]
    Failed,
    /// The server answered with a protocol error.
    #[n(2)]
    Refused,
    /// No byte reached the server.
    #[n(3)]
    NotSent,
    /// It was sent and no answer came: what happened is unknown.
    #[n(4)]
    Unknown,
    /// The client took it back while it ran: what happened is unknown.
    #[n(5)]
    Cancelled,
    /// The answer was not one that may be passed on.
    #[n(6)]
    Withheld,
    /// A part of the answer was shown before its end: a question of the server, or a message of its log. The call goes on.
    #[n(7)]
    Shown,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Succeeded,
        Self::Failed,
        Self::Refused,
        Self::NotSent,
        Self::Unknown,
        Self::Cancelled,
        Self::Withheld,
        Self::Shown,
    ];

    /// Its name in records.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
            Self::Cancelled => "cancelled",
            Self::Withheld => "withheld",
            Self::Shown => "shown",
        }
    }
}

/// A task handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct HandoverRecord {
    /// The new mandate instance.
    #[n(0)]
    pub mandate: String,
    /// The mandate of the bundle.
    #[n(1)]
    pub template: String,
    /// The digest of the terms.
    #[n(2)]
    pub terms: Digest,
    /// The task.
    #[n(3)]
    pub task: String,
    /// The mandate it narrows.
    #[n(4)]
    pub parent: Option<String>,
    /// Who hands over.
    #[n(5)]
    pub person: String,
    /// Who is to act.
    #[n(6)]
    pub agent: String,
    /// When it ends.
    #[n(7)]
    pub expires_at: Timestamp,
    /// By whose hand, as far as the system knows.
    #[n(8)]
    pub evidence: String,
    /// The bundle.
    #[n(9)]
    pub bundle: Digest,
    /// The digest of the sentences that whoever handed it over agreed to.
    #[n(10)]
    pub shown: Option<Digest>,
    /// When its sponsor has to look at it again.
    #[n(11)]
    pub review_at: Option<Timestamp>,
}

/// Someone or something stopped, or let go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct StandingRecord {
    /// Who or what: `agent:x`, `person:x`, `mandate:x`, `template:x`, `deployment`.
    #[n(0)]
    pub subject: String,
    /// Stopped, or let go on.
    #[n(1)]
    pub change: StandingChange,
    /// By whose hand.
    #[n(2)]
    pub evidence: String,
    /// Why, in the words of who did it.
    #[n(3)]
    pub reason: Option<String>,
    /// When it took effect, which is before the record when the log was failing.
    #[n(4)]
    pub effective_at: Timestamp,
}

/// Which way a standing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(rename_all = "lowercase")]
#[cbor(index_only)]
pub enum StandingChange {
    /// Nothing passes any more.
    #[n(0)]
    Stopped,
    /// The stop was lifted.
    #[n(1)]
    Lifted,
}

/// Refusals that could not be recorded in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct GapRecord {
    /// Since when the log was failing.
    #[n(0)]
    pub since: Timestamp,
    /// How many records were lost.
    #[n(1)]
    pub lost: u64,
    /// What was failing.
    #[n(2)]
    pub cause: String,
}

/// The ledger's own life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum LedgerRecord {
    /// The log begins.
    #[n(0)]
    Created {
        /// Its origin.
        #[n(0)]
        origin: String,
        /// The first verifier key.
        #[n(1)]
        key: String,
    },
    /// Checkpoints are signed by a new key from here on.
    #[n(1)]
    KeyRotated {
        /// The new verifier key.
        #[n(0)]
        key: String,
        /// By whose hand.
        #[n(1)]
        evidence: String,
    },
    /// An operator confirmed that the clock is right although it stands before the last record.
    #[n(2)]
    ClockConfirmed {
        /// By whose hand.
        #[n(0)]
        evidence: String,
        /// Where the clock stood before.
        #[n(1)]
        was: Timestamp,
    },
    /// A log restored from a backup goes on: what was signed beyond it is lost, and said to be.
    #[n(3)]
    EpochBegun {
        /// The number of the epoch.
        #[n(0)]
        epoch: u64,
        /// Size of the last checkpoint that was signed before.
        #[n(1)]
        lost_from: u64,
        /// By whose hand.
        #[n(2)]
        evidence: String,
    },
    /// Nothing happened for a minute, and somebody was there: makes silence provable.
    #[n(4)]
    Quiet {
        /// Since when.
        #[n(0)]
        since: Timestamp,
    },
}

/// Definitions compared with their pins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct DefinitionsRecord {
    /// The server.
    #[n(0)]
    pub server: String,
    /// Tools whose definition differs from the pin: quarantined.
    #[n(1)]
    pub changed: Vec<String>,
    /// Tools the server offers that no manifest knows.
    #[n(2)]
    pub unknown: Vec<String>,
    /// Tools of the manifest that the server does not offer.
    #[n(3)]
    pub missing: Vec<String>,
    /// Whether the server's instructions differ from the pinned ones and are withheld.
    #[n(4)]
    pub instructions_withheld: bool,
}

impl DefinitionsRecord {
    /// Whether everything is as reviewed.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let Self { server: _, changed, unknown, missing, instructions_withheld } = self;
        changed.is_empty() && unknown.is_empty() && missing.is_empty() && !instructions_withheld
    }
}

/// A bundle that decides from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Encode, Decode)]
#[cbor(map)]
pub struct BundleRecord {
    /// Its digest.
    #[n(0)]
    pub revision: Digest,
    /// How many files it has.
    #[n(1)]
    pub files: u64,
    /// Whether the files were kept, so that its decisions can be made again.
    #[n(2)]
    pub kept: bool,
    /// By whose hand it was used.
    #[n(3)]
    pub evidence: String,
}

/// Why bytes are no record, or a record has no bytes.
#[derive(Debug, Error)]
pub enum RecordError {
    /// Not the format.
    #[error("not a record: {0}")]
    Format(#[from] minicbor::decode::Error),
    /// A version this program does not know.
    #[error("a record of version {0}; this program reads version {VERSION}: use a newer one")]
    Version(u32),
    /// Bytes after the record, or a longer form than need be.
    #[error("not the canonical form of a record")]
    NotCanonical,
    /// More than [`MAX_RECORD_BYTES`].
    #[error("a record of {0} bytes; at most {MAX_RECORD_BYTES} are allowed")]
    TooLarge(usize),
}

impl Record {
    /// A record of the present version.
    #[must_use]
    pub fn new(id: impl Into<String>, at: Timestamp, event: Event) -> Self {
        Self { version: VERSION, id: id.into(), at, event }
    }

    /// The canonical bytes.
    ///
    /// # Errors
    /// [`RecordError::TooLarge`] beyond the bound; nothing is cut to fit.
    pub fn to_bytes(&self) -> Result<Vec<u8>, RecordError> {
        // Encoding to a vector cannot fail: its error type is uninhabited and no field encodes conditionally.
        let bytes = minicbor::to_vec(self).unwrap_or_default();
        if bytes.is_empty() || bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// Reads a record, and only from its canonical bytes.
    ///
    /// # Errors
    /// [`RecordError`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, RecordError> {
        if bytes.len() > MAX_RECORD_BYTES {
            return Err(RecordError::TooLarge(bytes.len()));
        }
        let record: Self = minicbor::decode(bytes)?;
        if record.version != VERSION {
            return Err(RecordError::Version(record.version));
        }
        let canonical = record.to_bytes()?;
        if canonical != bytes && !is_older_form(&canonical, bytes) {
            return Err(RecordError::NotCanonical);
        }
        Ok(record)
    }
}

/// Most members that were added to one sort of record since the first version of the program.
const MAX_ADDED: u64 = 6;

/// Whether bytes are the canonical ones of an earlier version of the program, which did not know the last members of an event. Members are only ever added
/// at the end, and one that is missing reads as its default; so an earlier form is the canonical one without its last members.
fn is_older_form(canonical: &[u8], bytes: &[u8]) -> bool {
    let Some(Members { header, count, begins }) = members(canonical) else { return false };
    let (Some(before), Some(entries)) = (canonical.get(..header), begins.first()) else { return false };
    (1..=MAX_ADDED.min(count)).any(|missing| {
        let kept = count.saturating_sub(missing);
        let end = usize::try_from(kept).ok().and_then(|kept| begins.get(kept));
        let Some(kept_entries) = end.and_then(|end| canonical.get(*entries..*end)) else { return false };
        let mut older = before.to_vec();
        let mut encoder = minicbor::Encoder::new(&mut older);
        if encoder.map(kept).is_err() {
            return false;
        }
        older.extend_from_slice(kept_entries);
        older == bytes
    })
}

/// Where the members of a record's event stand: the last thing in its bytes.
struct Members {
    /// Where the head of the map stands.
    header: usize,
    count: u64,
    /// Where each member begins, and where the last one ends.
    begins: Vec<usize>,
}

fn members(bytes: &[u8]) -> Option<Members> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let fields = decoder.map().ok()??;
    // Version, id and time; then the event: its sort, and the one thing that it holds.
    for _ in 1..fields {
        decoder.u64().ok()?;
        decoder.skip().ok()?;
    }
    decoder.u64().ok()?;
    decoder.array().ok()??;
    decoder.u64().ok()?;
    decoder.array().ok()??;
    let header = decoder.position();
    let count = decoder.map().ok()??;
    let mut begins = Vec::new();
    for _ in 0..count {
        begins.push(decoder.position());
        decoder.u64().ok()?;
        decoder.skip().ok()?;
    }
    begins.push(decoder.position());
    (decoder.position() == bytes.len()).then_some(Members { header, count, begins })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Record {
        Record::new(
            "d-1",
            Timestamp::from_micros(1),
            Event::Outcome(OutcomeRecord {
                decision: "d-0".into(),
                outcome: Outcome::Unknown,
                body: Some(Digest::of(b"x")),
                bytes: 9,
                given_back: vec!["calls".into()],
                micros: 12,
                labels: vec!["untrusted".into()],
            }),
        )
    }

    #[test]
    fn a_record_of_an_earlier_version_reads_and_nothing_else_that_lacks_a_member() {
        let mut record = sample();
        if let Event::Outcome(outcome) = &mut record.event {
            outcome.labels = Vec::new();
        }
        let bytes = record.to_bytes().unwrap();
        // As it was written before outcomes had labels: a map of six, and no `06 80` at its end.
        let Members { header, count, .. } = members(&bytes).unwrap();
        assert_eq!((bytes[header], count), (0xa7, 7));
        let mut older = bytes[..bytes.len() - 2].to_vec();
        older[header] = 0xa6;
        assert_eq!(Record::from_bytes(&older).unwrap(), record);
        // A member that is not the last, and one that was there from the beginning.
        let mut shorter = bytes[..bytes.len() - 2].to_vec();
        assert!(Record::from_bytes(&shorter).is_err(), "the count is another");
        shorter[header] = 0xa5;
        assert!(Record::from_bytes(&shorter).is_err());
        let mut longer = older.clone();
        longer.push(0x80);
        assert!(Record::from_bytes(&longer).is_err());
    }

    #[test]
    fn a_record_reads_back_from_its_own_bytes_only() {
        let bytes = sample().to_bytes().unwrap();
        assert_eq!(Record::from_bytes(&bytes).unwrap(), sample());
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Record::from_bytes(&longer).is_err(), "trailing bytes were taken");
        for end in 0..bytes.len() {
            assert!(Record::from_bytes(&bytes[..end]).is_err(), "{end} bytes were taken");
        }
    }

    #[test]
    fn an_unknown_version_is_refused() {
        let bytes = Record { version: 2, ..sample() }.to_bytes().unwrap();
        assert!(matches!(Record::from_bytes(&bytes), Err(RecordError::Version(2))));
    }

    #[test]
    fn a_record_beyond_the_bound_has_no_bytes() {
        let big = Record { id: "x".repeat(MAX_RECORD_BYTES), ..sample() };
        assert!(matches!(big.to_bytes(), Err(RecordError::TooLarge(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(record) = Record::from_bytes(&bytes) {
                prop_assert_eq!(record.to_bytes().unwrap(), bytes);
            }
        }

        #[test]
        fn a_changed_byte_never_goes_unnoticed(at in 0usize..60, to in any::<u8>()) {
            let bytes = sample().to_bytes().unwrap();
            let mut changed = bytes.clone();
            let at = at % changed.len();
            changed[at] = to;
            if let Ok(record) = Record::from_bytes(&changed) {
                prop_assert!(changed == bytes || record != sample());
            }
        }
    }
}
