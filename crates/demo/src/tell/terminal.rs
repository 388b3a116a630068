//! The story on a terminal: a line for what happens, with its answer at the right edge, and a few below it.

use std::{
    io::{self, Write},
    path::Path,
};

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use super::{NEXT, Narrator, REQUEST};
use crate::story::{Action, Answer, Summary, Told};

/// The widest and narrowest text.
const WIDEST: usize = 100;
const NARROWEST: usize = 40;
/// How far text under a step is set in.
const INDENT: usize = 4;
/// Most lines of arguments, and of what a result or a reason says.
const MOST_LINES: usize = 2;
/// Most findings that are listed.
const MOST_FINDINGS: usize = 3;

/// The narrator of a terminal.
pub struct Terminal<'a> {
    out: &'a mut dyn Write,
    width: usize,
    colours: bool,
}

const PLAIN: Style = Style::new();
const STRONG: Style = Style::new().bold();
const FAINT: Style = Style::new().dimmed();

const fn coloured(colour: AnsiColor) -> Style {
    Style::new().fg_color(Some(anstyle::Color::Ansi(colour)))
}

const GOOD: Style = coloured(AnsiColor::Green);
const BAD: Style = coloured(AnsiColor::Red);
const OPEN: Style = coloured(AnsiColor::Yellow);
const ALARM: Style = coloured(AnsiColor::Red).bold();

impl<'a> Terminal<'a> {
    /// Writes there, as wide as said but neither wider than 100 columns nor narrower than 40.
    pub fn new(out: &'a mut dyn Write, width: usize, colours: bool) -> Self {
        Self { out, width: width.clamp(NARROWEST, WIDEST), colours }
    }

    fn styled(&self, style: Style, text: &str) -> String {
        if self.colours && style != PLAIN { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// Text in lines, set in, in one style.
    fn paragraph(&mut self, indent: usize, style: Style, text: &str) -> io::Result<()> {
        for line in wrap(text, self.width.saturating_sub(indent)) {
            let line = self.styled(style, &line);
            writeln!(self.out, "{:indent$}{line}", "")?;
        }
        Ok(())
    }

    /// The same below a step, but no more than a few lines.
    fn excerpt(&mut self, style: Style, text: &str) -> io::Result<()> {
        let columns = self.width.saturating_sub(INDENT);
        let all = wrap(text, columns);
        let cut = all.len() > MOST_LINES;
        for (nth, line) in all.into_iter().take(MOST_LINES).enumerate() {
            let last = cut && nth.saturating_add(1) == MOST_LINES;
            let line = if last { cut_off(&line, columns) } else { line };
            let line = self.styled(style, &line);
            writeln!(self.out, "{:INDENT$}{line}", "")?;
        }
        Ok(())
    }

    /// The first few of what was found, each as long as it is.
    fn findings(&mut self, findings: &[String]) -> io::Result<()> {
        for finding in findings.iter().take(MOST_FINDINGS) {
            self.paragraph(INDENT, PLAIN, &format!("· {finding}"))?;
        }
        match findings.len().saturating_sub(MOST_FINDINGS) {
            0 => Ok(()),
            more => self.paragraph(INDENT, FAINT, &format!("and {more} more")),
        }
    }

    /// What happens at the left, what came of it at the right, below it if there is no room.
    fn headline(&mut self, mark: &str, style: Style, title: &str, right: &str) -> io::Result<()> {
        let marked = self.styled(style, mark);
        let answered = self.styled(style, right);
        let mut lines = wrap(title, self.width.saturating_sub(INDENT)).into_iter();
        let first = lines.next().unwrap_or_default();
        // Marks are as wide as the indentation allows, so that titles stand in one column.
        let margin = INDENT.saturating_sub(1).saturating_sub(width(mark));
        let used = INDENT.saturating_add(width(&first)).saturating_add(width(right));
        let titled = self.styled(STRONG, &first);
        write!(self.out, " {marked}{:margin$}{titled}", "")?;
        match self.width.checked_sub(used) {
            Some(gap) if gap > 1 && lines.len() == 0 => writeln!(self.out, "{:gap$}{answered}", ""),
            _ => {
                writeln!(self.out)?;
                for line in lines {
                    let line = self.styled(STRONG, &line);
                    writeln!(self.out, "{:INDENT$}{line}", "")?;
                }
                self.paragraph(INDENT, style, right)
            }
        }
    }

    fn answer(&mut self, told: &Told) -> io::Result<()> {
        match &told.answer {
            Answer::Tools { shown, hidden } => {
                self.paragraph(INDENT, PLAIN, &format!("shown: {}", shown.join(", ")))?;
                self.paragraph(
                    INDENT,
                    FAINT,
                    &format!("not granted, so not there for it: {}", hidden.join(", ")),
                )
            }
            Answer::Passed { told: Some(text), .. } => self.excerpt(FAINT, &format!("→ {text}")),
            Answer::Passed { told: None, .. } => Ok(()),
            Answer::Refused(refused) => {
                let text = format!("{} Next: {}.", refused.sentence, refused.next_step);
                self.excerpt(PLAIN, &text)
            }
            Answer::Approved { question, person, .. } => {
                let text = format!("warrantor approvals approve {question} --as {person}");
                self.paragraph(INDENT, FAINT, &text)
            }
            Answer::Suspended { person, .. } => {
                self.paragraph(INDENT, FAINT, &format!("warrantor revoke person {person}"))
            }
            Answer::Witnessed { calls, acts } => {
                let text = format!("{calls} calls reached it. What it did: {}.", acts.join("; "));
                self.paragraph(INDENT, PLAIN, &text)
            }
            Answer::Explained { decision_id, index, chain, findings, .. } => {
                self.paragraph(INDENT, FAINT, &format!("warrantor explain {decision_id}"))?;
                self.paragraph(INDENT, PLAIN, &format!("record {index}: {}", chain.join("; ")))?;
                self.findings(findings)
            }
            Answer::Intact { size, root, .. } => {
                self.paragraph(INDENT, FAINT, "warrantor audit verify")?;
                self.paragraph(
                    INDENT,
                    PLAIN,
                    &format!("{size} records, all under a signed checkpoint; root {root}"),
                )
            }
            Answer::Tampered { tampering, findings, .. } => {
                if let Some(tampering) = tampering {
                    let text = format!("record {}, {}", tampering.record, tampering.change);
                    self.paragraph(INDENT, FAINT, &text)?;
                }
                self.findings(findings)
            }
            Answer::Failed { why } => self.paragraph(INDENT, PLAIN, why),
        }
    }
}

impl Narrator for Terminal<'_> {
    fn opening(&mut self, directory: Option<&Path>) -> io::Result<()> {
        writeln!(self.out)?;
        self.paragraph(0, PLAIN, "Amara Okafor, of finance, hands an AI agent a task:")?;
        writeln!(self.out)?;
        self.paragraph(INDENT, STRONG, &format!("“{REQUEST}”"))?;
        writeln!(self.out)?;
        let text = "The mandate says what that takes, and no more. Priya Raman answers for the agent. Every call it makes to the \
                    office server (files, mail, bank) is decided, recorded, and only then made.";
        self.paragraph(0, PLAIN, text)?;
        match directory {
            None => Ok(()),
            Some(directory) => {
                self.paragraph(0, FAINT, &format!("All of it stays in {}.", directory.display()))
            }
        }
    }

    fn step(&mut self, told: &Told) -> io::Result<()> {
        if let Some(heading) = told.step.heading {
            let heading = self.styled(coloured(AnsiColor::Cyan), heading);
            writeln!(self.out, "\n{heading}")?;
        }
        let (mark, style, word) = verdict(&told.answer);
        let time = milliseconds(told.micros);
        let right = match word {
            Some(word) => format!("{word}  {time}"),
            None => time,
        };
        self.headline(mark, style, told.step.title, &right)?;
        if let Action::Call { tool, arguments } = &told.step.action {
            self.excerpt(PLAIN, &call(tool, arguments))?;
        }
        self.answer(told)?;
        if !told.as_expected {
            let text = format!("!! This is not as it should be. It should be: {}.", told.step.expected);
            self.paragraph(INDENT, ALARM, &text)?;
        }
        self.out.flush()
    }

    fn closing(&mut self, summary: &Summary) -> io::Result<()> {
        writeln!(self.out)?;
        let Summary { passed, denied, asked, unexpected, micros } = *summary;
        if unexpected > 0 {
            let text =
                format!("{unexpected} steps did not end as they should have; they are marked with !! above.");
            self.paragraph(0, ALARM, &text)?;
        }
        let seconds = format!("{}.{}", micros / 1_000_000, micros / 100_000 % 10);
        let text = format!(
            "{passed} calls passed, {denied} refused, {asked} waiting for a person; {seconds} seconds."
        );
        self.paragraph(0, PLAIN, &text)?;
        writeln!(self.out, "\nTry next\n")?;
        let column = NEXT.iter().map(|(command, _)| width(command)).max().unwrap_or_default();
        for (command, about) in NEXT {
            let gap = column.saturating_sub(width(command)).saturating_add(3);
            let (command, about) = (self.styled(STRONG, command), self.styled(FAINT, about));
            writeln!(self.out, "  {command}{:gap$}{about}", "")?;
        }
        self.out.flush()
    }
}

/// Mark, style and word of an answer.
fn verdict(answer: &Answer) -> (&'static str, Style, Option<String>) {
    match answer {
        Answer::Passed { .. } => ("✓", GOOD, Some("pass".to_owned())),
        Answer::Refused(refused) if refused.asks() => ("?", OPEN, Some(format!("ask {}", refused.reason))),
        Answer::Refused(refused) => ("✗", BAD, Some(format!("deny {}", refused.reason))),
        Answer::Approved { .. } => ("✓", GOOD, Some("approved".to_owned())),
        Answer::Suspended { .. } => ("■", OPEN, Some("suspended".to_owned())),
        Answer::Witnessed { .. } => ("✓", GOOD, Some("agrees".to_owned())),
        Answer::Intact { .. } => ("✓", GOOD, Some("intact".to_owned())),
        Answer::Tampered { .. } => ("✗", BAD, Some("tampering found".to_owned())),
        Answer::Tools { .. } | Answer::Explained { .. } => ("·", PLAIN, None),
        Answer::Failed { .. } => ("!!", ALARM, Some("failed".to_owned())),
    }
}

/// A call as people read it.
fn call(tool: &str, arguments: &[(&str, Value)]) -> String {
    let arguments: Vec<String> =
        arguments.iter().map(|(name, value)| format!("{name}: {}", bare(value))).collect();
    format!("{tool}({})", arguments.join(", "))
}

/// A value without the signs that only machines need.
fn bare(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(bare).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

fn milliseconds(micros: u64) -> String {
    format!("{}.{} ms", micros / 1000, micros / 100 % 10)
}

/// Columns of a text. What is told has no characters of double width but those that a result brings; they only move the right edge.
fn width(text: &str) -> usize {
    text.chars().count()
}

/// A line with a sign at its end that there was more.
fn cut_off(line: &str, columns: usize) -> String {
    let kept: String = line.chars().take(columns.saturating_sub(2)).collect();
    format!("{} …", kept.trim_end())
}

/// Lines of at most so many columns, broken at spaces; a word that is longer is broken where the line ends.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(1);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        if !line.is_empty() && width(&line).saturating_add(1).saturating_add(width(word)) > columns {
            lines.push(std::mem::take(&mut line));
        }
        if !line.is_empty() {
            line.push(' ');
        }
        for c in word.chars() {
            // Control characters in a result must not reach the terminal.
            if width(&line) >= columns {
                lines.push(std::mem::take(&mut line));
            }
            line.push(if c.is_control() { '\u{fffd}' } else { c });
        }
    }
    if !line.is_empty() {
        lines.push(line);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Refused, steps};

    fn told(width: usize, colours: bool) -> String {
        let mut out = Vec::new();
        let mut narrator = Terminal::new(&mut out, width, colours);
        narrator.opening(None).unwrap();
        for step in steps() {
            let answer = Answer::Refused(Refused {
                decision_id: "d-1".into(),
                reason: "argument_out_of_bounds".into(),
                sentence: "The argument recipient must be one of a few.\u{1b}[2J ".repeat(9),
                next_step: "narrow_call".into(),
            });
            narrator.step(&Told { step, answer, micros: 1234, as_expected: false }).unwrap();
        }
        narrator.closing(&Summary { unexpected: 2, ..Summary::default() }).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_line_is_wider_than_the_terminal_or_a_hundred_columns() {
        for (given, most) in [(60, 60), (80, 80), (100, 100), (240, 100)] {
            for line in told(given, false).lines().filter(|line| !line.contains("warrantor ")) {
                assert!(width(line) <= most, "{given}: {line}");
            }
        }
    }

    #[test]
    fn without_colours_there_are_no_escapes_and_results_bring_none_either() {
        assert!(!told(80, false).contains('\u{1b}'));
        let coloured = told(80, true);
        assert!(coloured.contains("\u{1b}[31m") && !coloured.contains("\u{1b}[2J"));
    }

    #[test]
    fn a_step_that_is_not_as_expected_is_told_loudly() {
        let told = told(100, false);
        assert!(told.contains("It should be: the call is refused, limit_reached."));
        assert!(told.contains("2 steps did not end as they should have"));
    }

    #[test]
    fn text_breaks_at_spaces_and_long_words_where_the_line_ends() {
        for (text, columns, lines) in [
            ("one two three", 7, vec!["one two", "three"]),
            ("abcdefgh i", 3, vec!["abc", "def", "gh", "i"]),
            ("  ", 3, vec![]),
        ] {
            assert_eq!(wrap(text, columns), lines);
        }
    }
}
