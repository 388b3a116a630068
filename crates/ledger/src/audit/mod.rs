//! Deriving the whole ledger again from what is stored, in one pass, and naming what does not fit and where.
//!
//! An [`Auditor`] is first told what is claimed (head, checkpoints, whom to trust), then fed every row in order, then asked
//! for its [`AuditReport`]. It holds O(log n) hashes, the checkpoints, and at most [`MAX_FINDINGS`] findings.
//!
//! What is trusted: the verifier keys, and checkpoints that the auditor kept outside of the log's reach. Nothing stored is:
//! whoever can write the store can make rows, leaf hashes, head and frontier agree on any history. Only signed roots
//! contradict that, so each is compared with the root over the entries themselves.
//!
//! Two trees are kept once an entry and its stored leaf hash disagree, one from the entries, one from the stored hashes: the
//! next signed root tells which of the two was changed.
//!
//! Not known here: where rows come from, what entries mean, whether a checkpoint is recent.

mod claims;
mod finding;
mod report;

pub use claims::{Claims, StoredCheckpoint, StoredHead, Trust};
pub use finding::{Finding, MAX_FINDINGS, Source};
pub use report::AuditReport;

use crate::merkle::{Frontier, Hash, leaf_hash};
use claims::Signed;
use finding::Findings;

/// One stored row of the ledger.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The index that the row has in the store.
    pub index: u64,
    /// The entry's bytes.
    pub entry: &'a [u8],
    /// The leaf hash stored beside it.
    pub leaf: Hash,
}

/// The audit under way.
#[derive(Debug)]
pub struct Auditor {
    head: StoredHead,
    signed: std::iter::Peekable<std::vec::IntoIter<Signed>>,
    /// From the entries themselves.
    entries: Frontier,
    /// From the stored leaf hashes, since they disagree with the entries.
    leaves: Option<Leaves>,
    /// One above the highest index seen.
    end: u64,
    gaps: Vec<Gap>,
    contradicted: Option<Contradicted>,
    last_good: u64,
    verified: u64,
    unchecked: u64,
    findings: Findings,
}

/// The other tree, and which rows made it another.
#[derive(Debug)]
struct Leaves {
    tree: Frontier,
    disagreeing: Vec<u64>,
    more: u64,
}

/// Indices that were passed over; a late row may still fill them.
#[derive(Debug)]
struct Gap {
    from: u64,
    to: u64,
}

/// A run of checkpoints whose root is not the one derived.
#[derive(Debug)]
struct Contradicted {
    first: Source,
    until: u64,
    checkpoints: u64,
}

impl Auditor {
    /// Checks the claims against each other and makes ready for the first row.
    #[must_use]
    pub fn new(claims: Claims<'_>, trust: &Trust<'_>) -> Self {
        let mut findings = Findings::default();
        let signed = claims::verified(&claims, trust, &mut findings);
        Self {
            head: claims.head,
            signed: signed.into_iter().peekable(),
            entries: Frontier::empty(),
            leaves: None,
            end: 0,
            gaps: Vec::new(),
            contradicted: None,
            last_good: 0,
            verified: 0,
            unchecked: 0,
            findings,
        }
    }

    /// Takes the next row in the store's order.
    pub fn row(&mut self, row: Row<'_>) {
        let expected = self.end;
        if row.index < expected {
            self.late(row.index, expected - 1);
            return;
        }
        // Before the first row, too: a checkpoint of size 0 is compared with the empty tree.
        self.compare_roots();
        if row.index > expected {
            self.gap(Gap { from: expected, to: row.index - 1 });
        }
        self.end = row.index.saturating_add(1);
        let computed = leaf_hash(row.entry);
        if computed != row.leaf {
            self.disagree(row.index);
        }
        if let Some(leaves) = &mut self.leaves {
            leaves.tree.push(row.leaf);
        }
        self.entries.push(computed);
    }

    /// Ends the audit: no more rows are stored.
    #[must_use]
    pub fn finish(mut self) -> AuditReport {
        self.compare_roots();
        self.end_of_contradiction();
        self.compare_tail();
        self.compare_head();
        self.unresolved();
        for gap in std::mem::take(&mut self.gaps) {
            self.findings.add(Finding::Missing { from: gap.from, to: gap.to });
        }
        let (findings, omitted) = self.findings.into_parts();
        AuditReport {
            size: self.end,
            root: self.entries.root(),
            signed_size: self.last_good,
            checkpoints_verified: self.verified,
            checkpoints_unchecked: self.unchecked,
            findings,
            omitted,
        }
    }

    /// A row behind its place: it was passed over before, or is there twice. Its entry cannot enter the tree any more.
    fn late(&mut self, index: u64, after: u64) {
        let Some(at) = self.gaps.iter().position(|gap| (gap.from..=gap.to).contains(&index)) else {
            self.findings.add(Finding::Repeated { index });
            return;
        };
        let gap = self.gaps.remove(at);
        if index < gap.to {
            self.gaps.insert(at, Gap { from: index + 1, to: gap.to });
        }
        if index > gap.from {
            self.gaps.insert(at, Gap { from: gap.from, to: index - 1 });
        }
        self.findings.add(Finding::OutOfOrder { index, after });
    }

    fn gap(&mut self, gap: Gap) {
        if self.gaps.len() < MAX_FINDINGS {
            self.gaps.push(gap);
        } else {
            // Too many to hold: said at once, and a late row will be called repeated.
            self.findings.add(Finding::Missing { from: gap.from, to: gap.to });
        }
    }

    fn disagree(&mut self, index: u64) {
        let fresh = || Leaves { tree: self.entries.clone(), disagreeing: Vec::new(), more: 0 };
        let leaves = self.leaves.get_or_insert_with(fresh);
        if leaves.disagreeing.len() < MAX_FINDINGS {
            leaves.disagreeing.push(index)
        } else {
            leaves.more += 1
        }
    }

    /// Whether the tree has exactly the rows below `end`; with a gap no root can be derived any more.
    fn is_whole(&self) -> bool {
        self.entries.size() == self.end
    }

    /// Compares the root so far with those of the checkpoints of this size.
    fn compare_roots(&mut self) {
        let mut of_size = Vec::new();
        while let Some(signed) = self.signed.next_if(|signed| signed.size <= self.end) {
            of_size.push(signed);
        }
        let Some(first) = of_size.first() else { return };
        let (first, all) = (first.source, of_size.len() as u64);
        if !self.is_whole() {
            self.unchecked += all;
            return;
        }
        let good = of_size.iter().filter(|signed| self.agrees(signed.root)).count() as u64;
        if good > 0 {
            // Those of this size that have another root were found to split the view already.
            self.verified += good;
            self.end_of_contradiction();
            self.last_good = self.end;
        } else {
            let fresh = Contradicted { first, until: self.end, checkpoints: 0 };
            self.contradicted.get_or_insert(fresh).checkpoints += all;
        }
    }

    /// Whether this root is that of the entries or of the stored leaf hashes; if so, says what disagreed with it, and goes
    /// on from the tree that has it.
    fn agrees(&mut self, root: Hash) -> bool {
        let by_entries = self.entries.root() == root;
        let Some(leaves) = self.leaves.take_if(|leaves| by_entries || leaves.tree.root() == root) else {
            return by_entries;
        };
        let named =
            |index| if by_entries { Finding::LeafChanged { index } } else { Finding::EntryChanged { index } };
        self.findings.add_all(leaves.disagreeing.into_iter().map(named), leaves.more);
        if !by_entries {
            self.entries = leaves.tree;
        }
        true
    }

    fn end_of_contradiction(&mut self) {
        if let Some(Contradicted { first, until, checkpoints }) = self.contradicted.take() {
            let after = self.last_good;
            self.findings.add(Finding::HistoryRewritten { after, until, first, checkpoints });
        }
    }

    /// Checkpoints that are left cover more than there is.
    fn compare_tail(&mut self) {
        let rest: Vec<Signed> = self.signed.by_ref().collect();
        if let Some(largest) = rest.last() {
            self.unchecked += rest.len() as u64;
            self.findings.add(Finding::Truncated {
                size: self.end,
                signed: largest.size,
                by: largest.source,
            });
        }
    }

    fn compare_head(&mut self) {
        if self.head.size != self.end {
            self.findings.add(Finding::HeadSize { head: self.head.size, rows: self.end });
            return;
        }
        if !self.is_whole() {
            return;
        }
        let root = self.head.root;
        if !self.agrees(root) {
            self.findings.add(Finding::HeadRoot { head: root, computed: self.entries.root() });
        }
        match Frontier::from_bytes(&self.head.frontier) {
            Ok(frontier) if frontier == self.entries => {}
            Ok(_) => self.findings.add(Finding::HeadFrontier),
            Err(why) => self.findings.add(Finding::HeadFrontierMalformed { why }),
        }
    }

    /// No root told which of entry and leaf hash was changed.
    fn unresolved(&mut self) {
        if let Some(leaves) = self.leaves.take() {
            let named = |index| Finding::EntryOrLeafChanged { index };
            self.findings.add_all(leaves.disagreeing.into_iter().map(named), leaves.more);
        }
    }
}
