//! What an audit says in the end.

use super::Finding;
use crate::merkle::Hash;

/// The outcome of an audit. Made by [`super::Auditor::finish`] only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditReport {
    pub(super) size: u64,
    pub(super) root: Hash,
    pub(super) signed_size: u64,
    pub(super) checkpoints_verified: u64,
    pub(super) checkpoints_unchecked: u64,
    pub(super) findings: Vec<Finding>,
    pub(super) omitted: u64,
}

impl AuditReport {
    /// How many entries there are: one above the highest index.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root derived from the rows. It means something only without findings.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.root
    }

    /// The size up to which a signed root confirms the entries. What lies beyond is as the store says, no more.
    #[must_use]
    pub fn signed_size(&self) -> u64 {
        self.signed_size
    }

    /// How many checkpoints are signed and have the root derived, the auditor's included.
    #[must_use]
    pub fn checkpoints_verified(&self) -> u64 {
        self.checkpoints_verified
    }

    /// How many signed checkpoints could not be compared, for rows that are missing. Above 0 only with findings.
    #[must_use]
    pub fn checkpoints_unchecked(&self) -> u64 {
        self.checkpoints_unchecked
    }

    /// What does not fit: first about checkpoints, then about rows in their order, then about the head and missing rows.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// How many more findings there were than are kept.
    #[must_use]
    pub fn omitted(&self) -> u64 {
        self.omitted
    }

    /// Whether nothing was found. For an exit code and a headline; a ledger is never written on the strength of it.
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.findings.is_empty() && self.omitted == 0
    }
}
