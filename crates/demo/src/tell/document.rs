//! The story as one JSON document, written when it is over.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{NEXT, Narrator, REQUEST};
use crate::{
    bundle::{MANDATE, SERVER},
    story::{Action, Summary, Told, object},
};

/// The narrator of `-o json`.
pub struct Document<'a> {
    out: &'a mut dyn Write,
    directory: Option<PathBuf>,
    steps: Vec<Value>,
}

impl<'a> Document<'a> {
    /// Writes there.
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, directory: None, steps: Vec::new() }
    }
}

impl Narrator for Document<'_> {
    fn opening(&mut self, directory: Option<&Path>) -> io::Result<()> {
        self.directory = directory.map(Path::to_owned);
        Ok(())
    }

    fn step(&mut self, told: &Told) -> io::Result<()> {
        self.steps.push(step(told)?);
        Ok(())
    }

    fn closing(&mut self, summary: &Summary) -> io::Result<()> {
        let document = json!({
            "task": {
                "person": "amara-okafor", "agent": "invoice-assistant", "sponsor": "priya-raman",
                "mandate": MANDATE, "server": SERVER, "request": REQUEST
            },
            "directory": self.directory,
            "steps": self.steps,
            "summary": summary,
            "as_expected": summary.unexpected == 0,
            "next": NEXT.map(|(command, about)| json!({ "command": command, "about": about })),
        });
        serde_json::to_writer_pretty(&mut *self.out, &document)?;
        self.out.write_all(b"\n")?;
        self.out.flush()
    }
}

fn step(told: &Told) -> io::Result<Value> {
    let mut members = Map::new();
    members.insert("id".to_owned(), json!(told.step.id));
    members.insert("title".to_owned(), json!(told.step.title));
    if let Action::Call { tool, arguments } = &told.step.action {
        members.insert("tool".to_owned(), json!(format!("{SERVER}/{tool}")));
        members.insert("arguments".to_owned(), object(arguments));
    }
    if let Some(decision) = told.answer.decision() {
        members.insert("decision".to_owned(), json!(decision));
    }
    if let Value::Object(answer) = serde_json::to_value(&told.answer)? {
        members.extend(answer);
    }
    members.insert("micros".to_owned(), json!(told.micros));
    members.insert("expected".to_owned(), json!(told.step.expected.to_string()));
    members.insert("as_expected".to_owned(), json!(told.as_expected));
    Ok(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Answer, Refused, steps};

    #[test]
    fn a_document_tells_what_was_called_and_what_came_of_it() {
        let mut out = Vec::new();
        let mut narrator = Document::new(&mut out);
        let step = steps().into_iter().find(|step| step.id == "again").unwrap();
        let answer = Answer::Refused(Refused {
            decision_id: "d-1".into(),
            reason: "limit_reached".into(),
            sentence: "No more.".into(),
            next_step: "request_mandate".into(),
        });
        narrator.opening(None).unwrap();
        narrator.step(&Told { step, answer, micros: 7, as_expected: true }).unwrap();
        narrator.closing(&Summary { denied: 1, ..Summary::default() }).unwrap();
        let document: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(document["as_expected"], true);
        let step = &document["steps"][0];
        for (member, value) in [
            ("tool", json!("office/send_money")),
            ("decision", json!("deny")),
            ("decision_id", json!("d-1")),
            ("reason", json!("limit_reached")),
            ("sentence", json!("No more.")),
            ("micros", json!(7)),
        ] {
            assert_eq!(step[member], value, "{member}");
        }
    }
}
