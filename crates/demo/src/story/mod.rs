//! The story of one task, performed for real and told as it goes.
//!
//! Every step really happens: calls go through `warrantor run` to the example world, stopping, explaining and verifying through the program's
//! own commands. The story only knows what it expects, and says so when it is told something else.

mod agent;
mod answer;
mod program;
mod stage;
mod steps;
mod tamper;

use std::{io, path::PathBuf, time::Duration};

use serde::Serialize;
use thiserror::Error;

pub use answer::{Answer, Refused};
pub use steps::{Action, Expected, Shows, Step, object, steps};

use crate::tell::Narrator;
use stage::Stage;

/// Where the story takes place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a temporary directory that is gone afterwards.
    Temporary,
    /// In a temporary directory that stays.
    Kept,
    /// In this directory, which stays. It is made if need be and must not hold anything.
    At(PathBuf),
}

/// What the story needs from outside.
#[derive(Debug, Clone)]
pub struct Options {
    /// The program: this very executable.
    pub executable: PathBuf,
    /// Where it takes place.
    pub place: Place,
}

/// Time that only goes forward, from any beginning.
pub type Stopwatch<'a> = &'a dyn Fn() -> Duration;

/// Why the story could not be told at all.
#[derive(Debug, Error)]
pub enum StoryError {
    /// No directory to play in.
    #[error("no directory for the demonstration could be made at {}", path.display())]
    Directory {
        /// Where.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: io::Error,
    },
    /// The directory holds something.
    #[error("{} is not empty: name a directory that is, or none", path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// Nobody listens.
    #[error("the story cannot be written")]
    Write(#[from] io::Error),
}

/// How the story ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Ending {
    /// Every step was as expected.
    AsExpected,
    /// Some steps were not.
    Otherwise {
        /// How many.
        steps: usize,
    },
}

/// A step with what came of it.
#[derive(Debug, Clone)]
pub struct Told {
    /// The step.
    pub step: Step,
    /// What came of it.
    pub answer: Answer,
    /// How long it took, in microseconds, as the agent or operator saw it.
    pub micros: u64,
    /// Whether it is what the story expects.
    pub as_expected: bool,
}

/// Calls by how they ended, and how long all of it took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Calls that took effect.
    pub passed: usize,
    /// Calls that were refused.
    pub denied: usize,
    /// Calls that wait for a person.
    pub asked: usize,
    /// Steps that were not as expected.
    pub unexpected: usize,
    /// From the first step to the last, in microseconds.
    pub micros: u64,
}

/// Performs all steps and tells them.
///
/// # Errors
/// [`StoryError`] when there is no place to perform it or nobody to tell it to. Whatever goes wrong within a step is told as that step's answer
/// and makes the ending [`Ending::Otherwise`].
pub async fn run(
    options: &Options,
    stopwatch: Stopwatch<'_>,
    narrator: &mut dyn Narrator,
) -> Result<Ending, StoryError> {
    let mut stage = Stage::set(options)?;
    narrator.opening(stage.kept())?;
    let begun = stopwatch();
    let mut summary = Summary::default();
    for step in steps() {
        let before = stopwatch();
        let answer = stage.perform(&step).await;
        let micros = micros(stopwatch().saturating_sub(before));
        let as_expected = answer.is(step.expected);
        summary.count(&answer, as_expected);
        let told = Told { step, answer, micros, as_expected };
        narrator.step(&told)?;
        stage.remember(told);
    }
    stage.leave().await;
    summary.micros = micros(stopwatch().saturating_sub(begun));
    narrator.closing(&summary)?;
    Ok(match summary.unexpected {
        0 => Ending::AsExpected,
        steps => Ending::Otherwise { steps },
    })
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl Summary {
    fn count(&mut self, answer: &Answer, as_expected: bool) {
        let counter = match answer.decision() {
            Some("pass") => Some(&mut self.passed),
            Some("ask") => Some(&mut self.asked),
            Some(_) => Some(&mut self.denied),
            None => None,
        };
        if let Some(counter) = counter {
            *counter = counter.saturating_add(1);
        }
        self.unexpected = self.unexpected.saturating_add(usize::from(!as_expected));
    }
}
