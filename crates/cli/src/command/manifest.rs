//! `manifest draft`.

use std::{fs, io::Read, path::Path, time::Duration};

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use warrantor_bundle::draft;
use warrantor_gateway::launch::{BASIC_VARIABLES, Launch};
use warrantor_mcp::tools::{List, OfferList};

use crate::{
    args::{DraftArgs, ManifestCommand},
    command::block_on,
    output::{Exit, Output},
};

/// How long a live server may take to tell its tools.
const PATIENCE: Duration = Duration::from_secs(60);
/// Most pages of a listing.
const MAX_PAGES: usize = 64;

pub(crate) fn run(command: ManifestCommand, out: Output) -> anyhow::Result<Exit> {
    let ManifestCommand::Draft(args) = command;
    let (answer, instructions) = match &args.from {
        Some(path) => (read_answer(path)?, None),
        None => block_on(ask_server(&args.command))?,
    };
    let launch = (!args.command.is_empty()).then_some(args.command.as_slice());
    let draft = draft(&args.server, &answer, instructions.as_deref(), launch)?;
    let Some(into) = &args.into else {
        out.text(&draft.manifest)?;
        return Ok(Exit::Done);
    };
    let files = [(&draft.manifest_path, &draft.manifest), (&draft.definitions_path, &draft.definitions)];
    if let Some((path, _)) = files.iter().find(|(path, _)| into.join(path.as_str()).exists()) {
        bail!(
            "{} is there already: move it away, or draft under another name",
            into.join(path.as_str()).display()
        );
    }
    for (path, text) in files {
        write(&into.join(path), text)?;
    }
    let answer = json!({
        "server": args.server.to_string(),
        "manifest": draft.manifest_path,
        "definitions": draft.definitions_path,
        "digest": draft.digest.to_string(),
        "guesses": draft.guesses,
    });
    write_answer(&args, &answer, draft.guesses, out)
}

fn write_answer(args: &DraftArgs, answer: &Value, guesses: usize, out: Output) -> anyhow::Result<Exit> {
    out.answer(answer, |to| {
        writeln!(to, "Drafted tools/{}.yaml with {guesses} guesses, each marked `# guess:`.", args.server)?;
        writeln!(
            to,
            "Review them: effects decide what grants match, and a wrong one lets through what it should not."
        )
    })?;
    Ok(Exit::Done)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

fn read_answer(path: &Path) -> anyhow::Result<Vec<u8>> {
    if path == Path::new("-") {
        let mut bytes = Vec::new();
        std::io::stdin().lock().take(64 << 20).read_to_end(&mut bytes)?;
        return Ok(bytes);
    }
    fs::read(path).with_context(|| format!("{} cannot be read", path.display()))
}

/// Starts the server, shakes hands, and collects every page of what it lists, verbatim but for being in one object.
pub(super) async fn ask_server(command: &[String]) -> anyhow::Result<(Vec<u8>, Option<String>)> {
    let (program, arguments) = command.split_first().context("no command was given")?;
    let environment =
        BASIC_VARIABLES.iter().filter_map(|name| Some(((*name).into(), std::env::var_os(name)?))).collect();
    let launch = Launch {
        program: program.into(),
        arguments: arguments.iter().map(Into::into).collect(),
        environment,
        secrets: Vec::new(),
        directory: None,
        name: None,
    };
    let (running, stdin, stdout) = launch.start().with_context(|| format!("{program} cannot be started"))?;
    let mut talk = Talk { stdin, stdout: BufReader::new(stdout), next: 0 };
    let result = tokio::time::timeout(PATIENCE, listing(&mut talk))
        .await
        .context("the server did not answer within a minute");
    drop(talk);
    running.end().await;
    result?
}

struct Talk {
    stdin: tokio::process::ChildStdin,
    stdout: BufReader<tokio::process::ChildStdout>,
    next: u64,
}

impl Talk {
    async fn send(&mut self, message: &Value) -> anyhow::Result<()> {
        self.stdin.write_all(format!("{message}\n").as_bytes()).await.context("the server ended")?;
        Ok(self.stdin.flush().await?)
    }

    /// Asks, and gives the text of the answering line.
    async fn ask(&mut self, method: &str, params: Value) -> anyhow::Result<String> {
        match self.try_ask(method, params).await? {
            Ok(line) => Ok(line),
            Err(error) => bail!("the server answered {method} with an error: {error}"),
        }
    }

    /// The same, for what the server may not have.
    async fn try_ask(&mut self, method: &str, params: Value) -> anyhow::Result<Result<String, Value>> {
        self.next = self.next.saturating_add(1);
        self.send(&json!({ "jsonrpc": "2.0", "id": self.next, "method": method, "params": params })).await?;
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).await? == 0 {
                bail!("the server ended before it answered {method}");
            }
            let Ok(message) = serde_json::from_str::<Value>(&line) else { continue };
            if message.get("id").and_then(Value::as_u64) != Some(self.next) || message.get("method").is_some()
            {
                continue;
            }
            if let Some(error) = message.get("error") {
                return Ok(Err(error.clone()));
            }
            return Ok(Ok(line));
        }
    }
}

/// The result of a line, as the bytes it has there.
fn raw_result(line: &str) -> anyhow::Result<&serde_json::value::RawValue> {
    #[derive(serde::Deserialize)]
    struct Line<'a> {
        #[serde(borrow)]
        result: &'a serde_json::value::RawValue,
    }
    Ok(serde_json::from_str::<Line<'_>>(line)?.result)
}

async fn listing(talk: &mut Talk) -> anyhow::Result<(Vec<u8>, Option<String>)> {
    let hello = json!({
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": { "name": "warrantor", "version": env!("CARGO_PKG_VERSION") },
    });
    let hello = talk.ask("initialize", hello).await?;
    let greeting: Value = serde_json::from_str(raw_result(&hello)?.get())?;
    let instructions = greeting.get("instructions").and_then(Value::as_str).map(str::to_owned);
    talk.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await?;
    let mut parts = vec![format!("\"tools\":{}", all_pages(talk, List::Tools).await?)];
    let offers = |name: &str| greeting.get("capabilities").and_then(|offered| offered.get(name)).is_some();
    for (capability, list) in
        [("prompts", List::Prompts), ("resources", List::Resources), ("resources", List::Templates)]
    {
        if offers(capability) {
            let entries = all_pages(talk, list).await?;
            parts.push(format!("\"{}\":{entries}", list.members().0));
        }
    }
    Ok((format!("{{{}}}", parts.join(",")).into_bytes(), instructions))
}

/// Every entry of a list, verbatim, as one JSON array.
async fn all_pages(talk: &mut Talk, list: List) -> anyhow::Result<String> {
    let mut entries: Vec<String> = Vec::new();
    let mut params = json!({});
    for _ in 0..MAX_PAGES {
        let line = match talk.try_ask(list.method(), params).await? {
            Ok(line) => line,
            // Some servers announce what they do not have.
            Err(_) if list != List::Tools && entries.is_empty() => return Ok("[]".to_owned()),
            Err(error) => bail!("the server answered {} with an error: {error}", list.method()),
        };
        let page = OfferList::parse(list, raw_result(&line)?)
            .with_context(|| format!("the server's answer to {} does not read", list.method()))?;
        entries.extend(page.entries().iter().map(|entry| entry.raw.get().to_owned()));
        match page.next_cursor() {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => return Ok(format!("[{}]", entries.join(","))),
        }
    }
    bail!("the server answers {} on more than {MAX_PAGES} pages", list.method())
}
