//! Sessions written down as traces, to be replayed on another bundle.
//!
//! A trace is no record: it holds arguments and results in the clear, it is not signed, and a line that cannot be written changes nothing for the
//! call. Lines are those that `warrantor schema trace` describes.

use std::{
    io::Write,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value, value::RawValue};
use warrantor_decide::Output;
use warrantor_model::{Clock, Json, TaskId, TemplateId};

/// Writes one session's lines.
pub struct TraceWriter {
    clock: Arc<dyn Clock>,
    to: Mutex<Box<dyn Write + Send>>,
}

impl TraceWriter {
    /// A writer that begins with the task.
    ///
    /// # Errors
    /// What the writer says of the first line.
    pub fn begin(
        to: Box<dyn Write + Send>,
        clock: Arc<dyn Clock>,
        task: &TaskId,
        mandate: &TemplateId,
    ) -> std::io::Result<Self> {
        let writer = Self { clock, to: Mutex::new(to) };
        let at = writer.clock.now().to_string();
        let line =
            serde_json::json!({ "type": "task", "id": task.as_str(), "mandate": mandate.as_str(), "at": at });
        writer.write(&line.to_string())?;
        Ok(writer)
    }

    /// A call that was decided.
    pub(crate) fn call(&self, decision: &str, tool: &str, arguments: &[u8]) {
        // What is no object was refused as such, and no trace can say it.
        let Ok(arguments) = serde_json::from_slice::<&RawValue>(arguments) else { return };
        if !arguments.get().starts_with('{') {
            return;
        }
        let text = |text: &str| Value::String(text.to_owned());
        let at = text(&self.clock.now().to_string());
        self.tell(&format!(
            r#"{{"type":"call","id":{},"tool":{},"at":{at},"arguments":{}}}"#,
            text(decision),
            text(tool),
            one_line(arguments.get())
        ));
    }

    /// A result that was released.
    pub(crate) fn result(&self, decision: &str, output: &Output) {
        let mut line = Map::new();
        line.insert("type".into(), "result".into());
        line.insert("id".into(), decision.into());
        line.insert("at".into(), self.clock.now().to_string().into());
        line.insert("error".into(), output.error.into());
        match output.texts.as_slice() {
            [] => {}
            [one] => drop(line.insert("text".into(), one.as_str().into())),
            several => drop(line.insert("text".into(), several.into())),
        }
        if !output.others.is_empty() {
            line.insert("others".into(), output.others.as_slice().into());
        }
        let mut text = Value::Object(line).to_string();
        if let Some(structured) = &output.structured {
            // By hand, so that numbers stay as they were written.
            text.pop();
            text.push_str(&format!(",\"structured\":{}}}", Json::canonical(structured)));
        }
        self.tell(&text);
    }

    fn tell(&self, line: &str) {
        if let Err(cause) = self.write(line) {
            tracing::warn!(%cause, "the trace could not be written");
        }
    }

    fn write(&self, line: &str) -> std::io::Result<()> {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        to.write_all(line.as_bytes())?;
        to.write_all(b"\n")?;
        to.flush()
    }
}

impl std::fmt::Debug for TraceWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TraceWriter")
    }
}

/// JSON without line breaks between its parts; within strings there are none unescaped.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}
