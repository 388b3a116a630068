//! What a server says unasked, until it is told on: each thing once, however often it was said meanwhile.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::sync::Notify;
use warrantor_mcp::tools::List;

use crate::exchange::lock;

/// Most messages of a log that wait.
const MAX_MESSAGES: usize = 64;

/// One thing that a server said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Told {
    /// This list changed.
    Changed(Changed),
    /// A resource that somebody subscribed to changed.
    Updated(String),
    /// A message of its log that came when no call was under way, in the order in which it came.
    Message(u64, Vec<u8>),
}

/// A list that can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Changed {
    Tools,
    Prompts,
    Resources,
}

impl Changed {
    pub(crate) const ALL: [Self; 3] = [Self::Tools, Self::Prompts, Self::Resources];

    /// The notification that says so.
    pub(crate) fn method(self) -> &'static str {
        match self {
            Self::Tools => "notifications/tools/list_changed",
            Self::Prompts => "notifications/prompts/list_changed",
            Self::Resources => "notifications/resources/list_changed",
        }
    }

    /// The list that a notification is about.
    pub(crate) fn said_by(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|changed| changed.method() == method)
    }

    /// The lists that change with it.
    pub(crate) fn lists(self) -> &'static [List] {
        match self {
            Self::Tools => &[List::Tools],
            Self::Prompts => &[List::Prompts],
            Self::Resources => &[List::Resources, List::Templates],
        }
    }
}

/// What a server said. Cheap to clone; clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tidings(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// How often the server said that a list changed whose entries are pinned. Counted here and not with the definitions: those are held while a
    /// listing waits for its answers, and whoever reads the server's news must not wait for whoever waits for the server.
    changes: AtomicU64,
    messages: AtomicU64,
    told: Mutex<BTreeSet<Told>>,
    more: Notify,
}

impl Tidings {
    /// The server says that a list changed.
    pub(crate) fn changed(&self, changed: Changed) {
        if changed != Changed::Resources {
            self.0.changes.fetch_add(1, Ordering::SeqCst);
        }
        self.tell(Told::Changed(changed));
    }

    /// The server says that a resource changed.
    pub(crate) fn updated(&self, uri: String) {
        self.tell(Told::Updated(uri));
    }

    /// The server's log says something. What nobody takes in time is dropped.
    pub(crate) fn message(&self, line: Vec<u8>) {
        let number = self.0.messages.fetch_add(1, Ordering::SeqCst);
        let waiting = lock(&self.0.told).iter().filter(|told| matches!(told, Told::Message(..))).count();
        if waiting < MAX_MESSAGES {
            self.tell(Told::Message(number, line));
        }
    }

    fn tell(&self, told: Told) {
        lock(&self.0.told).insert(told);
        self.0.more.notify_one();
    }

    /// How often pinned lists changed.
    pub(crate) fn count(&self) -> u64 {
        self.0.changes.load(Ordering::SeqCst)
    }

    /// Waits for something to be told. One reader at a time.
    pub(crate) async fn next(&self) -> BTreeSet<Told> {
        loop {
            let more = self.0.more.notified();
            let told = std::mem::take(&mut *lock(&self.0.told));
            if !told.is_empty() {
                return told;
            }
            more.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_said_often_is_told_once_and_counted_each_time() {
        let tidings = Tidings::default();
        for _ in 0..3 {
            tidings.changed(Changed::Tools);
        }
        tidings.changed(Changed::Resources);
        tidings.updated("x:a".to_owned());
        assert_eq!(tidings.count(), 3);
        let told = tidings.next().await;
        let wanted =
            [Told::Changed(Changed::Tools), Told::Changed(Changed::Resources), Told::Updated("x:a".into())];
        assert_eq!(told, wanted.into());
    }

    #[test]
    fn lists_and_their_news_belong_together() {
        for changed in Changed::ALL {
            assert_eq!(Changed::said_by(changed.method()), Some(changed));
        }
        assert!(Changed::Resources.lists().contains(&List::Templates));
        assert_eq!(Changed::said_by("notifications/message"), None);
    }
}
