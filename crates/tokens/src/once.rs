//! What counts once, such as an assertion or a proof of possession.

use warrantor_model::{Digest, Timestamp};

/// What was verified and must not have been seen before. Whether it was is for whoever remembers; there is no way to one but verification.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Once {
    pub(crate) replay: Digest,
    pub(crate) until: Timestamp,
}

impl Once {
    /// What is remembered of it.
    #[must_use]
    pub fn replay(&self) -> Digest {
        self.replay
    }

    /// Until when: afterwards it does not verify any more.
    #[must_use]
    pub fn until(&self) -> Timestamp {
        self.until
    }
}
