//! What earlier versions of the program left out, made up for when it is met.

use warrantor_engine::{bodies::SealKey, keys, mandates::StoredMandate};
use warrantor_model::{
    MandateId,
    record::{ActRecord, Event, Record},
};
use warrantor_store::{Commit, CommitError, Expect, Insert, Key, Store};

use crate::{
    fresh_id,
    handover::{Desk, HandoverError},
};

impl<S: Store> Desk<'_, S> {
    /// Gives a task that the first version began what it has no trace of: a key for its history, and the word that what it saw before is not known. From
    /// there on its values are traced as where events were let go of: what is found nowhere may have been anybody's, and every label counts as brought.
    pub(crate) async fn begin_history(
        &self,
        id: &MandateId,
        mandate: &StoredMandate,
    ) -> Result<(), HandoverError> {
        let task_key = keys::task_key(&mandate.task)?;
        if self.entry(&task_key).await?.is_some() {
            return Ok(());
        }
        let Some((_, wrapped)) = self.entry(&keys::body_key(&mandate.person)?).await? else { return Ok(()) };
        let person_key = self.seal.unwrap_key(mandate.person.as_str(), &wrapped)?;
        let wrapped =
            person_key.wrap(self.randomness, mandate.task.as_str(), &SealKey::generate(self.randomness)?)?;
        let now = self.clock.now();
        let event = Event::Act(ActRecord {
            on: format!("mandate:{id}"),
            changes: vec!["its task's history begins here: what it saw before is not known".to_owned()],
            ..ActRecord::new("mandates:upgrade", "host", &self.evidence)
        });
        let mut commit = Commit::new(Record::new(fresh_id("a", now, self.randomness)?, now, event));
        commit.expect.push((task_key.clone(), Expect::Absent));
        commit.puts.push((task_key, wrapped));
        let labels = self.bundle.snapshot.known_labels().iter();
        let marks = labels
            .map(|label| keys::task_label(&mandate.task, label))
            .chain([keys::task_forgotten(&mandate.task)])
            .collect::<Result<Vec<Key>, _>>()?;
        let mark = |member| Insert { member, must_be_new: false, counted: None };
        commit.inserts.extend(marks.into_iter().map(mark));
        match self.commit(commit).await {
            // Another process was first.
            Ok(()) | Err(CommitError::Moved { .. }) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }
}
