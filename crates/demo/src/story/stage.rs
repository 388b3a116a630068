//! The stage: a directory with bundle, data and journal, the agent on it, and what happened so far.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    Options, Place, StoryError, Told,
    agent::Agent,
    answer::{Answer, Tampering},
    program,
    steps::{Action, Step, object},
    tamper,
};
use crate::{
    bundle,
    serve::{self, Wrapped},
    world::{self, Performed},
};

/// Most of what the program said on standard error that is told when something failed.
const LAST_WORDS: usize = 600;

/// The stage.
pub(super) struct Stage {
    program: PathBuf,
    root: PathBuf,
    /// Holds the directory until the story is over; none when it stays.
    temporary: Option<TempDir>,
    agent: Option<Agent>,
    told: Vec<Told>,
}

impl Stage {
    /// Makes the directory and writes the bundle.
    pub(super) fn set(options: &Options) -> Result<Self, StoryError> {
        let (root, temporary) = match &options.place {
            Place::Temporary => {
                let made = serve::temporary()?;
                (made.path().to_owned(), Some(made))
            }
            Place::Kept => (serve::temporary()?.keep(), None),
            Place::At(path) => (serve::empty(path)?, None),
        };
        bundle::write(&root.join(serve::BUNDLE))
            .map_err(|cause| StoryError::Directory { path: root.clone(), cause })?;
        Ok(Self { program: options.executable.clone(), root, temporary, agent: None, told: Vec::new() })
    }

    /// The directory, when it stays.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.temporary.is_none().then_some(self.root.as_path())
    }

    /// Keeps a step for those that come back to it.
    pub(super) fn remember(&mut self, told: Told) {
        self.told.push(told);
    }

    /// Performs a step. What goes wrong is the answer.
    pub(super) async fn perform(&mut self, step: &Step) -> Answer {
        let done = match &step.action {
            Action::ListTools => self.list_tools().await,
            Action::Call { tool, arguments } => self.call(step, tool, &object(arguments)).await,
            Action::Approve { step, person } => self.approve(step, person).await,
            Action::Suspend { person } => self.suspend(person).await,
            Action::Witness => self.witness().await,
            Action::Explain { step } => self.explain(step).await,
            Action::Verify => self.verify().await,
            Action::Tamper { step } => self.tamper(step).await,
        };
        done.unwrap_or_else(|why| Answer::Failed { why })
    }

    async fn agent(&mut self) -> Result<&Agent, String> {
        if self.agent.is_none() {
            let arguments = Wrapped::new(&self.program, &self.root).with_journal(&self.journal()).arguments();
            let log = File::create(self.log()).map_err(|cause| told(&cause))?;
            let agent = Agent::start(&self.program, &arguments, log).await;
            self.agent = Some(agent.map_err(|cause| self.with_last_words(told(&cause)))?);
        }
        self.agent.as_ref().ok_or_else(|| "the agent is not there".to_owned())
    }

    async fn list_tools(&mut self) -> Result<Answer, String> {
        let shown = self.agent().await?.tools().await;
        let shown = shown.map_err(|cause| self.with_last_words(told(&cause)))?;
        let mut hidden = world::tool_names();
        hidden.retain(|name| !shown.contains(name));
        hidden.sort();
        Ok(Answer::Tools { shown, hidden })
    }

    async fn call(&mut self, step: &Step, tool: &'static str, arguments: &Value) -> Result<Answer, String> {
        let result = self.agent().await?.call(tool, arguments).await;
        let result = result.map_err(|cause| self.with_last_words(told(&cause)))?;
        Ok(Answer::of_call(result, step.shows))
    }

    async fn approve(&mut self, step: &str, person: &str) -> Result<Answer, String> {
        let (decision, _) = self.refused(step)?;
        let words = ["approvals", "approve", &decision, "--as", person];
        let ran = program::run(&self.program, &words, &self.data()).await.map_err(|cause| told(&cause))?;
        match ran.code {
            Some(0) => {
                Ok(Answer::Approved { question: decision, person: person.to_owned(), answer: ran.answer })
            }
            _ => Err(format!("the answer of {person} was not taken: {}", ran.answer)),
        }
    }

    async fn suspend(&mut self, person: &str) -> Result<Answer, String> {
        let words = ["revoke", "person", person, "--reason", "left the company"];
        let ran = program::run(&self.program, &words, &self.data()).await.map_err(|cause| told(&cause))?;
        match ran.code {
            Some(0) => Ok(Answer::Suspended { person: person.to_owned(), answer: ran.answer }),
            _ => Err(format!("revoking {person} was not acknowledged: {}", ran.answer)),
        }
    }

    /// Compares the office's own journal with the calls that passed.
    async fn witness(&mut self) -> Result<Answer, String> {
        self.end_agent().await?;
        let passed: Vec<Performed> = self
            .told
            .iter()
            .filter_map(|told| match (&told.step.action, &told.answer) {
                (Action::Call { tool, arguments }, Answer::Passed { .. }) => {
                    Some(Performed { tool: (*tool).to_owned(), arguments: object(arguments) })
                }
                _ => None,
            })
            .collect();
        let performed = world::read_journal(&self.journal()).map_err(|cause| told(&cause))?;
        if performed != passed {
            let count = (passed.len(), performed.len());
            return Err(format!(
                "{} calls passed and the office performed {}: {performed:?}",
                count.0, count.1
            ));
        }
        let acts = performed.iter().filter_map(act).collect();
        Ok(Answer::Witnessed { calls: performed.len(), acts })
    }

    async fn explain(&mut self, step: &str) -> Result<Answer, String> {
        let (decision, _) = self.refused(step)?;
        let ran = program::run(&self.program, &["explain", &decision], &self.data())
            .await
            .map_err(|cause| told(&cause))?;
        Ok(Answer::of_explanation(ran.answer))
    }

    async fn verify(&mut self) -> Result<Answer, String> {
        self.audit(None, &self.data(), 0).await
    }

    async fn tamper(&mut self, step: &str) -> Result<Answer, String> {
        let (decision, tool) = self.refused(step)?;
        // The last process that has the store open writes everything into its main file.
        self.end_agent().await?;
        let copy = self.root.join("tampered-copy");
        let changed =
            tamper::copy_and_change(&self.data(), &copy, &decision, &format!("{}/{tool}", bundle::SERVER))
                .map_err(|cause| told(&cause))?;
        let record = self.told.iter().find_map(|told| match &told.answer {
            Answer::Explained { index, decision_id, .. } if *decision_id == decision => Some(*index),
            _ => None,
        });
        let tampering = Tampering {
            record: record
                .ok_or_else(|| format!("no step explained {decision}, so its place is not known"))?,
            change: format!(
                "{}, byte {}: {} became {}",
                changed.file, changed.offset, changed.before, changed.after
            ),
        };
        self.audit(Some(tampering), &copy, 1).await
    }

    async fn audit(&self, tampering: Option<Tampering>, data: &Path, code: i32) -> Result<Answer, String> {
        let ran =
            program::run(&self.program, &["audit", "verify"], data).await.map_err(|cause| told(&cause))?;
        if ran.code != Some(code) {
            return Err(format!("the verification ended with {:?} and said {}", ran.code, ran.answer));
        }
        Ok(Answer::of_verification(tampering, ran.answer))
    }

    /// The decision and the tool of an earlier step that was refused.
    fn refused(&self, step: &str) -> Result<(String, &'static str), String> {
        let earlier = self.told.iter().find(|told| told.step.id == step);
        match earlier.map(|told| (&told.step.action, &told.answer)) {
            Some((Action::Call { tool, .. }, Answer::Refused(refused))) => {
                Ok((refused.decision_id.clone(), tool))
            }
            _ => Err(format!("the step {step} was not refused, so there is nothing to look at")),
        }
    }

    /// Ends the agent's connection, if one is open, and with it the enforcing process and the office.
    async fn end_agent(&mut self) -> Result<(), String> {
        match self.agent.take() {
            None => Ok(()),
            Some(agent) => agent.leave().await.map_err(|cause| self.with_last_words(told(&cause))),
        }
    }

    /// Ends whatever is open; what fails now changes nothing that was told.
    pub(super) async fn leave(&mut self) {
        if let Some(agent) = self.agent.take() {
            drop(agent.leave().await);
        }
    }

    fn data(&self) -> PathBuf {
        self.root.join(serve::DATA)
    }

    fn journal(&self) -> PathBuf {
        self.root.join("performed.jsonl")
    }

    fn log(&self) -> PathBuf {
        self.root.join("run.log")
    }

    /// A failure together with the end of what the program said meanwhile.
    fn with_last_words(&self, why: String) -> String {
        let said = fs::read_to_string(self.log()).unwrap_or_default();
        let said = said.trim();
        if said.is_empty() {
            return why;
        }
        let skipped = said.chars().count().saturating_sub(LAST_WORDS);
        format!("{why}. It said: {}", said.chars().skip(skipped).collect::<String>())
    }
}

/// A performed call in words, if it was no reading.
fn act(performed: &Performed) -> Option<String> {
    let text = |name: &str| {
        performed
            .arguments
            .get(name)
            .map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    match performed.tool.as_str() {
        "send_money" => Some(format!("{} {} to {}", text("amount")?, text("currency")?, text("recipient")?)),
        "send_mail" => Some(format!("a mail, “{}”", text("subject")?)),
        "write_file" => Some(format!("the file {}", text("path")?)),
        _ => None,
    }
}

/// An error with all its causes.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_done_is_told_and_what_was_read_is_not() {
        let performed = |tool: &str, arguments: Value| Performed { tool: tool.to_owned(), arguments };
        for (call, wanted) in [
            (
                performed("send_money", json!({ "amount": 1180, "currency": "EUR", "recipient": "X" })),
                Some("1180 EUR to X"),
            ),
            (performed("send_mail", json!({ "subject": "Re: x" })), Some("a mail, “Re: x”")),
            (performed("read_mail", json!({ "id": "m-1" })), None),
        ] {
            assert_eq!(act(&call).as_deref(), wanted);
        }
    }

    #[test]
    fn an_error_is_told_with_its_causes() {
        let cause = std::io::Error::other("disk on fire");
        let error = StoryError::Directory { path: "/x".into(), cause };
        assert!(told(&error).ends_with("/x: disk on fire"), "{}", told(&error));
    }
}
