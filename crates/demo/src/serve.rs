//! The example world for a client of one's own: its directory, and the configuration to paste.
//!
//! Nothing stays running: MCP clients start and end stdio servers themselves, so what they need is a command line.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    bundle::{self, MANDATE, SERVER},
    story::{Options, Place, StoryError},
    tell::Form,
};

/// Where the bundle is within the directory.
pub(crate) const BUNDLE: &str = "bundle";
/// Where the data directory is within the directory.
pub(crate) const DATA: &str = "data";

/// The command line that stands between a client and the office.
pub(crate) struct Wrapped {
    program: String,
    root: PathBuf,
    journal: Option<String>,
}

impl Wrapped {
    pub(crate) fn new(program: &Path, root: &Path) -> Self {
        Self { program: text(program), root: root.to_owned(), journal: None }
    }

    /// The office writes what it performs into this file.
    pub(crate) fn with_journal(self, path: &Path) -> Self {
        Self { journal: Some(text(path)), ..self }
    }

    /// What follows the program's name.
    pub(crate) fn arguments(&self) -> Vec<String> {
        let (bundle, data) = (text(&self.root.join(BUNDLE)), text(&self.root.join(DATA)));
        let enforced =
            ["run", "--bundle", &bundle, "--server", SERVER, "--mandate", MANDATE, "--data", &data];
        let upstream = ["--", &self.program, "demo-world"];
        let journal = self.journal.iter().flat_map(|path| ["--journal", path]);
        enforced.into_iter().chain(upstream).chain(journal).map(str::to_owned).collect()
    }

    /// The configuration that Claude Code, Claude Desktop and Cursor read.
    fn configuration(&self) -> Value {
        json!({ "mcpServers": { SERVER: { "command": self.program, "args": self.arguments() } } })
    }
}

/// A path in a command line. One that is not UTF-8 cannot stand in a client's configuration; it comes out as a path that is not there.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// A new temporary directory.
pub(crate) fn temporary() -> Result<TempDir, StoryError> {
    tempfile::Builder::new().prefix("warrantor-demo-").tempdir().map_err(|cause| StoryError::Directory {
        path: "the system's directory for temporary files".into(),
        cause,
    })
}

/// A directory without anything in it, made if need be, by its full path.
pub(crate) fn empty(path: &Path) -> Result<PathBuf, StoryError> {
    let failed = |cause| StoryError::Directory { path: path.to_owned(), cause };
    fs::create_dir_all(path).map_err(failed)?;
    match fs::read_dir(path).map_err(failed)?.next() {
        None => fs::canonicalize(path).map_err(failed),
        Some(_) => Err(StoryError::NotEmpty { path: path.to_owned() }),
    }
}

/// Writes the example world's bundle into a directory that stays, and tells how to put it behind an MCP client. Of [`Place`] only
/// where the directory is matters: it always stays.
///
/// # Errors
/// [`StoryError`].
pub fn serve(options: &Options, form: Form, out: &mut dyn Write) -> Result<(), StoryError> {
    let root = match &options.place {
        Place::Temporary | Place::Kept => temporary()?.keep(),
        Place::At(path) => empty(path)?,
    };
    bundle::write(&root.join(BUNDLE)).map_err(|cause| StoryError::Directory { path: root.clone(), cause })?;
    let wrapped = Wrapped::new(&options.executable, &root);
    match form {
        Form::Json => write_json(&wrapped, &root, out)?,
        Form::Terminal { .. } => write_guide(&wrapped, &root, out)?,
    }
    out.flush().map_err(StoryError::Write)
}

fn write_json(wrapped: &Wrapped, root: &Path, out: &mut dyn Write) -> io::Result<()> {
    let mut answer = wrapped.configuration();
    if let Some(members) = answer.as_object_mut() {
        members.insert("directory".to_owned(), json!(text(root)));
    }
    writeln!(out, "{answer:#}")
}

fn write_guide(wrapped: &Wrapped, root: &Path, out: &mut dyn Write) -> io::Result<()> {
    let data = text(&root.join(DATA));
    writeln!(out, "The example world stands in {}, and stays there.\n", root.display())?;
    writeln!(out, "Put it behind an MCP client with this configuration:\n")?;
    writeln!(out, "  Claude Code      .mcp.json in a project's directory")?;
    writeln!(out, "  Claude Desktop   claude_desktop_config.json (Settings, Developer, Edit Config)")?;
    writeln!(out, "  Cursor           .cursor/mcp.json in a project's directory\n")?;
    writeln!(out, "{:#}\n", wrapped.configuration())?;
    writeln!(out, "Nothing has to run here: the client starts it when it needs it, and ends it.\n")?;
    writeln!(out, "Then hand the task to your assistant, and try to talk it into more:\n")?;
    writeln!(out, "  {}\n", crate::tell::REQUEST)?;
    writeln!(out, "Meanwhile, from another terminal:\n")?;
    for (command, about) in [
        (format!("warrantor audit export --data {data}"), "every record, as JSON Lines"),
        (format!("warrantor explain ID --data {data}"), "one decision; its id is in the refusal"),
        (
            format!("warrantor revoke person priya-raman --data {data}"),
            "nobody answers for the agent any more",
        ),
        (format!("warrantor audit verify --data {data}"), "nothing was changed since"),
    ] {
        writeln!(out, "  # {about}\n  {command}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(place: Place) -> Options {
        Options { executable: "/opt/warrantor".into(), place }
    }

    #[test]
    fn the_configuration_wraps_the_office_into_the_program() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("world");
        let mut out = Vec::new();
        serve(&options(Place::At(root.clone())), Form::Json, &mut out).unwrap();
        let answer: Value = serde_json::from_slice(&out).unwrap();
        let root = root.canonicalize().unwrap();
        assert_eq!(answer["directory"], json!(root));
        let office = &answer["mcpServers"]["office"];
        assert_eq!(office["command"], "/opt/warrantor");
        let words: Vec<&str> =
            office["args"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect();
        let (bundle, data) = (root.join("bundle"), root.join("data"));
        assert_eq!(
            words.join(" "),
            format!(
                "run --bundle {} --server office --mandate pay-october --data {} -- /opt/warrantor demo-world",
                bundle.display(),
                data.display()
            )
        );
        assert!(bundle.join("people.yaml").is_file());
    }

    #[test]
    fn the_guide_holds_a_configuration_that_can_be_pasted() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::At(dir.path().to_owned());
        let mut out = Vec::new();
        serve(&options(place), Form::Terminal { width: 80, colours: false }, &mut out).unwrap();
        let guide = String::from_utf8(out).unwrap();
        let (_, pasted) = guide.split_once("\n{").unwrap();
        let (pasted, _) = pasted.split_once("\n}").unwrap();
        let pasted: Value = serde_json::from_str(&format!("{{{pasted}}}")).unwrap();
        assert!(pasted["mcpServers"]["office"]["args"].is_array());
    }

    #[test]
    fn a_directory_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "x").unwrap();
        let refused = serve(&options(Place::At(dir.path().to_owned())), Form::Json, &mut Vec::new());
        assert!(matches!(refused, Err(StoryError::NotEmpty { .. })), "{refused:?}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
