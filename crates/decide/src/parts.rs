//! What a snapshot is made from, and the faults found on the way.
//!
//! Faults point into the structure of the files (`grants/1/arguments/amount/max`), not into their text: whoever read the files
//! turns a place into a line and a column.

use std::{collections::BTreeSet, fmt};

use warrantor_model::{Agent, Digest, GroupName, Manifest, Person, ServerName, TemplateId, tracker::Tracker};

/// The parts of a bundle, each well-formed by itself.
#[derive(Debug, Clone)]
pub struct Parts {
    /// The digest of the bundle's files.
    pub revision: Digest,
    /// People, in file order.
    pub people: Vec<Person>,
    /// Agents, in file order.
    pub agents: Vec<Agent>,
    /// Manifests, one a server.
    pub manifests: Vec<Manifest>,
    /// Policies, one a file.
    pub policies: Vec<PolicySource>,
    /// Servers in observe mode.
    pub observe: BTreeSet<ServerName>,
    /// Trackers, by name.
    pub trackers: Vec<Tracker>,
    /// Groups whose members the directory tells rather than these people.
    pub directory_groups: BTreeSet<GroupName>,
}

impl Parts {
    /// Nothing at all: a bundle that denies everything.
    #[must_use]
    pub fn empty(revision: Digest) -> Self {
        Self {
            revision,
            people: Vec::new(),
            agents: Vec::new(),
            manifests: Vec::new(),
            policies: Vec::new(),
            observe: BTreeSet::new(),
            trackers: Vec::new(),
            directory_groups: BTreeSet::new(),
        }
    }
}

/// The text of one policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicySource {
    /// Its name within the bundle.
    pub file: String,
    /// Cedar policies.
    pub text: String,
}

/// Whether a fault keeps a bundle from loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not, but an author should know.
    Warning,
}

/// Something wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Whether it keeps the bundle from loading.
    pub severity: Severity,
    /// Where it is.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What would mend it.
    pub cure: Option<String>,
}

impl Fault {
    /// A fault that keeps the bundle from loading.
    #[must_use]
    pub fn error(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, place, message: message.into(), cure: None }
    }

    /// A fault an author should know of.
    #[must_use]
    pub fn warning(place: Place, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, place, message: message.into(), cure: None }
    }

    /// With what would mend it.
    #[must_use]
    pub fn cure(mut self, cure: impl Into<String>) -> Self {
        self.cure = Some(cure.into());
        self
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.place, self.message)?;
        match &self.cure {
            Some(cure) => write!(f, " ({cure})"),
            None => Ok(()),
        }
    }
}

/// Where a fault is: a file, and a pointer into its structure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Nowhere in particular.
    Bundle,
    /// In people.yaml.
    People {
        /// Into its structure.
        pointer: Vec<String>,
    },
    /// In agents.yaml.
    Agents {
        /// Into its structure.
        pointer: Vec<String>,
    },
    /// In trackers.yaml.
    Trackers {
        /// Into its structure.
        pointer: Vec<String>,
    },
    /// In a manifest.
    Manifest {
        /// Whose.
        server: ServerName,
        /// Into its structure.
        pointer: Vec<String>,
    },
    /// In a server's definitions.
    Definitions {
        /// Whose.
        server: ServerName,
    },
    /// In a policy file.
    Policy {
        /// Which.
        file: String,
        /// First byte.
        offset: usize,
        /// How many bytes.
        length: usize,
    },
    /// In a mandate.
    Mandate {
        /// Which.
        template: TemplateId,
        /// Into its structure.
        pointer: Vec<String>,
    },
}

/// A pointer from its parts.
pub(crate) fn pointer(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}
