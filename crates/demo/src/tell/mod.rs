//! Telling the story: on a terminal, or as one JSON document.

mod document;
mod terminal;

use std::{
    io::{self, Write},
    path::Path,
};

pub use document::Document;
pub use terminal::Terminal;

use crate::story::{Summary, Told};

/// The words in which the task was handed over; the mandate quotes them.
pub(crate) const REQUEST: &str =
    "Pay Brightwell's October invoice to their usual account, at most 1200 EUR, and answer Nora's mail.";

/// What to try next: a command, and what it does.
pub(crate) const NEXT: [(&str, &str); 3] = [
    ("warrantor demo --serve", "this world behind your own assistant: what to paste where"),
    ("warrantor init guarded", "a mandate and policies for a real server, ready to edit"),
    ("warrantor check guarded", "every fault of a bundle, with line and cure"),
];

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Lines for people.
    Terminal {
        /// Columns that there are; no more than 100 are used.
        width: usize,
        /// Whether colours may be used. The caller knows `NO_COLOR` and whether it is a terminal.
        colours: bool,
    },
    /// One document.
    Json,
}

/// Whoever tells the story.
pub trait Narrator {
    /// Before the first step. The directory is given if it stays.
    ///
    /// # Errors
    /// When it cannot be written.
    fn opening(&mut self, directory: Option<&Path>) -> io::Result<()>;

    /// After each step.
    ///
    /// # Errors
    /// When it cannot be written.
    fn step(&mut self, told: &Told) -> io::Result<()>;

    /// After the last step.
    ///
    /// # Errors
    /// When it cannot be written.
    fn closing(&mut self, summary: &Summary) -> io::Result<()>;
}

/// A narrator of this form.
#[must_use]
pub fn narrator(form: Form, out: &mut dyn Write) -> Box<dyn Narrator + '_> {
    match form {
        Form::Terminal { width, colours } => Box::new(Terminal::new(out, width, colours)),
        Form::Json => Box::new(Document::new(out)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mandate_quotes_the_words_that_are_told() {
        let mandate = include_str!("../../bundle/mandates/pay-october.yaml");
        assert!(mandate.contains(&format!("  {REQUEST}\n")));
    }
}
