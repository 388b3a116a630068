//! Permits: what a pass leaves behind once its record is durable, and what an effect needs.
//!
//! A [`Permit`] is made in two places: from a commit that succeeded, and from a control plane's answer that was verified to be signed for this very call. It holds the argument bytes that were decided, so that nothing else
//! can be sent under it. [`Release`] is made from it after the last look: at the stop file, or at how old it is. Neither can be copied,
//! made from a boolean, read from bytes or defaulted:
//!
//! ```compile_fail,E0451
//! # use warrantor_engine::Permit;
//! let forged = Permit { decision: panic!(), tool: panic!(), arguments: Vec::new(), receipt: panic!(), uses: Default::default(), handed_over: Vec::new(), until: None };
//! ```
//!
//! ```compile_fail,E0277
//! # use warrantor_engine::Permit;
//! let forged: Permit = true.into();
//! ```
//!
//! ```compile_fail,E0277
//! # use warrantor_engine::Permit;
//! fn defaulted<T: Default>() -> T { T::default() }
//! let forged: Permit = defaulted();
//! ```
//!
//! ```compile_fail,E0599
//! # fn twice(permit: warrantor_engine::Permit) {
//! let copy = permit.clone();
//! # }
//! ```
//!
//! ```compile_fail,E0277
//! # use warrantor_engine::Permit;
//! fn read<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> { serde_json::from_str(text).ok() }
//! let forged: Option<Permit> = read("{}");
//! ```
//!
//! ```compile_fail,E0451
//! # use warrantor_engine::Release;
//! let forged = Release { tool: panic!(), arguments: Vec::new(), receipt: panic!() };
//! ```

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use warrantor_decide::{Charge, Obligation, Tracking};
use warrantor_model::{DecisionId, Failure, PersonId, Subject, TaskId, TemplateId, Timestamp, ToolRef};

use crate::{stop::Stop, wire::Signed};

/// A pass whose record is durable.
#[derive(Debug)]
pub struct Permit {
    pub(crate) decision: DecisionId,
    pub(crate) tool: ToolRef,
    pub(crate) arguments: Vec<u8>,
    pub(crate) receipt: Box<Receipt>,
    pub(crate) uses: BTreeSet<Subject>,
    /// When each mandate of the chain was handed over: revoking one of the bundle ends what was handed over before.
    pub(crate) handed_over: Vec<(TemplateId, Timestamp)>,
    /// When it is too old to be released, where it came over the wire: what was stopped since is not known here. On whatever clock its enforcement point
    /// measures leases with.
    pub(crate) until: Option<Duration>,
}

impl Permit {
    /// The decision it came from.
    #[must_use]
    pub fn decision(&self) -> &DecisionId {
        &self.decision
    }

    /// The tool it permits.
    #[must_use]
    pub fn tool(&self) -> &ToolRef {
        &self.tool
    }

    /// Releases a permit that came over the wire, as long as it is young enough: every stop that was in force when it was asked for counted.
    ///
    /// # Errors
    /// The permit, when it is too old, or did not come over the wire: then the engine that gave it releases it.
    pub fn release_by_age(self, now: Duration) -> Result<Release, Box<Self>> {
        match self.until {
            Some(until) if now < until => {
                Ok(Release { tool: self.tool, arguments: self.arguments, receipt: self.receipt })
            }
            _ => Err(Box::new(self)),
        }
    }

    /// What is owed for it.
    #[must_use]
    pub fn receipt(&self) -> &Receipt {
        &self.receipt
    }

    /// Whether a stop takes the permit back.
    pub(crate) fn is_stopped_by(&self, stop: &Stop) -> bool {
        self.uses.contains(&stop.subject)
            && match &stop.subject {
                Subject::Template(template) => {
                    self.handed_over.iter().any(|(known, at)| known == template && *at <= stop.since)
                }
                _ => true,
            }
    }
}

/// A permit that passed the last look: this call may be sent, now and once.
#[derive(Debug)]
pub struct Release {
    pub(crate) tool: ToolRef,
    pub(crate) arguments: Vec<u8>,
    pub(crate) receipt: Box<Receipt>,
}

impl Release {
    /// The tool to call.
    #[must_use]
    pub fn tool(&self) -> &ToolRef {
        &self.tool
    }

    /// The bytes that were decided on, exactly as they arrived.
    #[must_use]
    pub fn arguments(&self) -> &[u8] {
        &self.arguments
    }

    /// Uses the release up; the receipt is for telling the outcome.
    #[must_use]
    pub fn spend(self) -> Receipt {
        *self.receipt
    }
}

/// What is owed for a released call: its outcome.
#[derive(Debug, Clone)]
pub struct Receipt {
    pub(crate) decision: DecisionId,
    pub(crate) task: TaskId,
    pub(crate) tool: ToolRef,
    pub(crate) owner: Option<PersonId>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) markers: BTreeSet<String>,
    pub(crate) tracking: Vec<Tracking>,
    pub(crate) failure: Failure,
    pub(crate) obligations: BTreeSet<Obligation>,
    /// The arguments, where they are not those that were presented: whoever approved the call put them in.
    pub(crate) edited: Option<Arc<str>>,
    /// The signed answer that it came by, for whoever has to show it to the control plane again.
    pub(crate) proof: Option<Arc<Signed>>,
}

impl Receipt {
    /// The signed answer that it came by; none where this process decided.
    #[must_use]
    pub fn proof(&self) -> Option<&Signed> {
        self.proof.as_deref()
    }

    /// The decision the outcome belongs to.
    #[must_use]
    pub fn decision(&self) -> &DecisionId {
        &self.decision
    }

    /// The arguments that whoever approved the call put in the place of those that were presented. The agent has to be told.
    #[must_use]
    pub fn edited(&self) -> Option<&str> {
        self.edited.as_deref()
    }

    /// What has to be done with the result before it is shown.
    #[must_use]
    pub fn obligations(&self) -> &BTreeSet<Obligation> {
        &self.obligations
    }

    /// The labels among them.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &String> {
        self.obligations.iter().filter_map(|obligation| match obligation {
            Obligation::Label(label) => Some(label),
            Obligation::Redact(_) | Obligation::Cap(_) => None,
        })
    }
}
