//! What is owed for a call that was released: an outcome, whatever becomes of it; and what is shown of it beside its answer.

use std::{collections::BTreeSet, time::Duration};

use serde_json::value::RawValue;
use warrantor_decide::{Obligation, Output};
use warrantor_engine::{DecisionPoint, Receipt, Withheld};
use warrantor_model::{DecisionId, record::Outcome};

use crate::obligations;

/// Most questions and messages of a server that are shown of one call, and most bytes of them.
const MAX_SHOWN: u32 = 200;
const MAX_SHOWN_BYTES: usize = 1 << 20;

/// The outcome that is owed for a call that was released. Whatever ends the task that has it, an outcome is told.
pub(crate) struct Owed<P: DecisionPoint> {
    engine: P,
    receipt: Option<Receipt>,
    aside: Aside,
}

impl<P: DecisionPoint> Owed<P> {
    pub(crate) fn new(engine: P, receipt: Receipt) -> Self {
        Self { engine, receipt: Some(receipt), aside: Aside::default() }
    }

    /// Tells the outcome in the background: nothing is shown.
    pub(crate) fn tell(mut self, outcome: Outcome, took: Duration) {
        if let Some(receipt) = self.receipt.take() {
            self.engine.outcome_later(receipt, outcome, took);
        }
    }

    /// Takes the result into the task's history, so that it can be shown.
    pub(crate) async fn take_in(
        &mut self,
        outcome: Outcome,
        body: &[u8],
        output: &Output,
        took: Duration,
    ) -> Result<(), Withheld> {
        let Some(receipt) = &self.receipt else { return Err(Withheld) };
        let taken = self.engine.take_in(receipt, outcome, body, output, took).await;
        self.receipt = None;
        taken
    }

    /// Whether what goes with the permit lets questions and messages be shown: of them it cannot be told what is to be left out.
    pub(crate) fn shows_parts(&self) -> bool {
        !self.receipt.as_ref().is_some_and(|receipt| obligations::redacts(receipt.obligations()))
    }

    /// Takes a part of the answer into the task's history, so that it can be shown before the end.
    pub(crate) async fn take_in_part(&mut self, part: &RawValue) -> Result<(), Withheld> {
        let Some(receipt) = &self.receipt else { return Err(Withheld) };
        let number = self.aside.admit(receipt.obligations(), part)?;
        take_in_aside(&self.engine, receipt, number, part).await
    }

    /// What has to be done with the answer.
    pub(crate) fn obligations(&self) -> BTreeSet<Obligation> {
        self.receipt.as_ref().map(|receipt| receipt.obligations().clone()).unwrap_or_default()
    }

    /// The arguments that the call was made with, where they are not the client's.
    pub(crate) fn edited(&self) -> Option<String> {
        self.receipt.as_ref().and_then(Receipt::edited).map(str::to_owned)
    }

    /// What its server's log may be taken in by once it has ended.
    pub(crate) fn late(&self) -> Option<Late> {
        Some(Late { receipt: self.receipt.clone()?, aside: self.aside })
    }

    pub(crate) fn decision(&self) -> Option<DecisionId> {
        self.receipt.as_ref().map(|receipt| receipt.decision().clone())
    }

    /// The decision, for messages.
    pub(crate) fn name(&self) -> String {
        self.receipt.as_ref().map(|receipt| format!(" (decision {})", receipt.decision())).unwrap_or_default()
    }
}

impl<P: DecisionPoint> Drop for Owed<P> {
    fn drop(&mut self) {
        // Without a runtime there is no log to tell it to.
        if let Some(receipt) = self.receipt.take()
            && tokio::runtime::Handle::try_current().is_ok()
        {
            self.engine.outcome_later(receipt, Outcome::Unknown, Duration::ZERO);
        }
    }
}

/// What was shown of a call beside its answer: questions of the server and messages of its log, while it ran and after.
#[derive(Debug, Clone, Copy, Default)]
struct Aside {
    parts: u32,
    bytes: usize,
}

impl Aside {
    /// The number of one more part, if it may be shown. Of a part it cannot be told what is to be left out; and what a server says beside its answers must
    /// not push the task's history out.
    fn admit(&mut self, obligations: &BTreeSet<Obligation>, part: &RawValue) -> Result<u32, Withheld> {
        self.parts = self.parts.saturating_add(1);
        self.bytes = self.bytes.saturating_add(part.get().len());
        let is_owed = obligations::redacts(obligations) || obligations::caps(obligations, self.bytes);
        if is_owed || self.parts > MAX_SHOWN || self.bytes > MAX_SHOWN_BYTES {
            return Err(Withheld);
        }
        Ok(self.parts)
    }
}

pub(crate) async fn take_in_aside<P: DecisionPoint>(
    engine: &P,
    receipt: &Receipt,
    number: u32,
    part: &RawValue,
) -> Result<(), Withheld> {
    let output = Output { others: vec![part.get().to_owned()], ..Output::default() };
    engine.take_in_part(receipt, number, part.get().as_bytes(), &output).await
}

/// The latest call that has ended: what the server's log says after its answer is taken in as a part of it, under the same bounds.
pub(crate) struct Late {
    receipt: Receipt,
    aside: Aside,
}

impl Late {
    /// The receipt to take one more message in by, and its number, if it may be shown.
    pub(crate) fn admit(&mut self, message: &RawValue) -> Option<(Receipt, u32)> {
        let number = self.aside.admit(self.receipt.obligations(), message).ok()?;
        Some((self.receipt.clone(), number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beside_an_answer_no_more_is_shown_than_its_permit_and_the_bounds_allow() {
        let part = |bytes: usize| RawValue::from_string(format!("\"{}\"", "x".repeat(bytes - 2))).unwrap();
        let small = part(10);
        let owes = |obligation| BTreeSet::from([obligation]);
        let redact = owes(Obligation::Redact("a".parse().unwrap()));
        assert!(Aside::default().admit(&redact, &small).is_err());
        let (cap, mut aside) = (owes(Obligation::Cap(25)), Aside::default());
        assert_eq!(aside.admit(&cap, &small).ok(), Some(1));
        assert_eq!(aside.admit(&cap, &small).ok(), Some(2));
        assert!(aside.admit(&cap, &small).is_err(), "the cap is on all parts together");
        let (none, mut aside) = (BTreeSet::new(), Aside::default());
        assert!((1..=MAX_SHOWN).all(|nth| aside.admit(&none, &small).ok() == Some(nth)));
        assert!(aside.admit(&none, &small).is_err());
        assert!(Aside::default().admit(&none, &part(MAX_SHOWN_BYTES + 1)).is_err());
    }
}
