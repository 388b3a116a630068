//! The ledger that the cases tamper with, and the ways to tamper with it.

use warrantor_ledger::{
    AuditReport, Auditor, Checkpoint, Frontier, Hash, KeyName, SigningKey,
    audit::{Claims, Row, StoredCheckpoint, StoredHead, Trust},
    merkle::leaf_hash,
};
use zeroize::Zeroizing;

pub(crate) const ORIGIN: &str = "audit.example.com/tenant1";
/// The sizes at which the ledger below was signed; it has 12 entries.
pub(crate) const SIGNED: [u64; 3] = [4, 7, 10];

pub(crate) fn key(origin: &str, seed: u8) -> SigningKey {
    SigningKey::from_seed(origin.parse().unwrap(), Zeroizing::new([seed; 32])).unwrap()
}

pub(crate) fn tree(rows: &[(u64, Vec<u8>, Hash)]) -> Frontier {
    let mut tree = Frontier::empty();
    rows.iter().for_each(|(_, _, leaf)| tree.push(*leaf));
    tree
}

/// A ledger as the store and the signer hold it, and the auditor's own checkpoints.
#[derive(Clone)]
pub(crate) struct Ledger {
    pub(crate) rows: Vec<(u64, Vec<u8>, Hash)>,
    pub(crate) head: StoredHead,
    pub(crate) checkpoints: Vec<StoredCheckpoint>,
    pub(crate) last_signed: Option<Vec<u8>>,
    pub(crate) held: Vec<Vec<u8>>,
}

impl Ledger {
    pub(crate) fn of(entries: u64) -> Self {
        let rows: Vec<_> = (0..entries).map(|n| (n, format!("entry {n}").into_bytes())).collect();
        let rows: Vec<_> = rows.into_iter().map(|(n, entry)| (n, entry.clone(), leaf_hash(&entry))).collect();
        let head = StoredHead { size: 0, root: tree(&[]).root(), frontier: Vec::new() };
        let mut ledger = Self { rows, head, checkpoints: Vec::new(), last_signed: None, held: Vec::new() };
        ledger.forge_head();
        ledger
    }

    pub(crate) fn signed() -> Self {
        let mut ledger = Self::of(12);
        ledger.checkpoints = SIGNED.map(|size| ledger.sign(size, &key(ORIGIN, 1))).into();
        ledger.last_signed = Some(ledger.checkpoints[2].note.clone());
        ledger
    }

    /// A good checkpoint of the rows as they are now.
    pub(crate) fn sign(&self, size: u64, by: &SigningKey) -> StoredCheckpoint {
        let checkpoint =
            Checkpoint::of(by.verifier().name().clone(), &tree(&self.rows[..usize::try_from(size).unwrap()]));
        StoredCheckpoint { size, note: checkpoint.sign_first(&[by]).unwrap().into_bytes() }
    }

    /// A checkpoint that the log's own key signs over another history.
    pub(crate) fn sign_fork(&self, size: u64) -> StoredCheckpoint {
        let mut fork = self.clone();
        fork.rewrite(2, b"fork");
        fork.sign(size, &key(ORIGIN, 1))
    }

    /// Changes an entry together with its stored leaf hash.
    pub(crate) fn rewrite(&mut self, index: usize, entry: &[u8]) {
        self.rows[index].1 = entry.to_vec();
        self.rows[index].2 = leaf_hash(entry);
    }

    /// Writes the head that fits the rows, as an intruder who can write the store does.
    pub(crate) fn forge_head(&mut self) {
        let tree = tree(&self.rows);
        self.head = StoredHead { size: tree.size(), root: tree.root(), frontier: tree.to_bytes() };
    }

    pub(crate) fn audit(&self) -> AuditReport {
        let origin: KeyName = ORIGIN.parse().unwrap();
        let keys = [key(ORIGIN, 1).verifier().clone()];
        let claims = Claims {
            head: self.head.clone(),
            checkpoints: &self.checkpoints,
            last_signed: self.last_signed.as_deref(),
        };
        let mut auditor = Auditor::new(claims, &Trust { origin: &origin, keys: &keys, held: &self.held });
        for (index, entry, leaf) in &self.rows {
            auditor.row(Row { index: *index, entry, leaf: *leaf });
        }
        auditor.finish()
    }
}
