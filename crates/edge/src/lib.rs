//! A decision point over the wire, floor 5: questions to a control plane, and its signed answers.
//!
//! Nothing is decided here and nothing is believed that is not signed for this very question of this very point. A permit is good for [`Settings::lease`]
//! from the sending of its question: so every release rests on a state that had everything that was stopped before that. When the control plane does not
//! answer, calls are refused (`decision_unavailable`), results are withheld, and what became of calls that were released is told as soon as it answers again.

mod asking;
mod remote;

pub use asking::{PlaneError, PlaneSettings};
pub use remote::{Remote, Settings};
