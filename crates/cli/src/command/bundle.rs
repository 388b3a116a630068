//! `init`, `check`, `schema`.

use std::fs;

use anyhow::Context;
use serde_json::json;
use warrantor_bundle::{Report, load, schema as schema_of, starter};

use crate::{
    args::{CheckArgs, InitArgs, SchemaArgs},
    output::{Exit, Output, Usage, render},
    system::user_name,
};

pub(crate) fn init(args: &InitArgs, out: Output) -> anyhow::Result<Exit> {
    let root = match &args.root {
        Some(root) => root.clone(),
        None => std::env::current_dir()?,
    };
    let root = fs::canonicalize(&root)
        .with_context(|| format!("{} is not there: make the directory first", root.display()))?;
    let root = root.to_str().context("the root's path is not UTF-8")?.to_owned();
    let person = match &args.person {
        Some(person) => person.to_string(),
        None => user_name(rustix::process::getuid().as_raw()).context("who are you? give --person ID")?,
    };
    if fs::read_dir(&args.dir).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(Usage(format!("{} is not empty: choose a new directory", args.dir.display())).into());
    }
    let files = starter(&root, &person)?;
    for (path, text) in &files {
        let path = args.dir.join(path);
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))?;
    }
    let report = warrantor_bundle::check(&args.dir);
    if !report.is_passed() {
        return Err(report.into());
    }
    let dir = args.dir.display().to_string();
    let names: Vec<&String> = files.iter().map(|(path, _)| path).collect();
    out.answer(&json!({ "bundle": dir, "files": names, "root": root, "person": person }), |to| {
        writeln!(to, "Made {dir}, and it passes its own check:")?;
        for (path, _) in &files {
            writeln!(to, "  {path}")?;
        }
        writeln!(to, "\nRead mandates/tidy-notes.yaml first; it says what the agent may do below {root}.")?;
        writeln!(to, "Then put this before the file server's command in your MCP client:\n")?;
        writeln!(
            to,
            "  warrantor run --bundle {dir} --server files --mandate tidy-notes -- npx -y @modelcontextprotocol/server-filesystem {root}"
        )
    })?;
    Ok(Exit::Done)
}

pub(crate) fn check(args: &CheckArgs, out: Output) -> anyhow::Result<Exit> {
    let loaded = match load(&args.dir) {
        Ok(loaded) => loaded,
        Err(report) => return tell(&report, out),
    };
    if args.cedar_schema {
        out.text(loaded.snapshot.cedar_schema())?;
        return Ok(Exit::Done);
    }
    let observed: Vec<String> = loaded
        .config
        .servers
        .iter()
        .filter(|(_, server)| server.observe)
        .map(|(name, _)| name.to_string())
        .collect();
    let answer = json!({
        "ok": true,
        "revision": loaded.revision.to_string(),
        "servers": loaded.snapshot.servers().map(ToString::to_string).collect::<Vec<_>>(),
        "policies": loaded.snapshot.policy_count(),
        "observe": observed,
        "mandates": loaded.templates.keys().map(ToString::to_string).collect::<Vec<_>>(),
        "diagnostics": loaded.warnings,
    });
    if !out.is_json() && !loaded.warnings.is_empty() {
        let report = warrantor_bundle::check(&args.dir);
        out.note(render(&report).trim_end());
    }
    out.answer(&answer, |to| {
        writeln!(to, "{} holds together", args.dir.display())?;
        writeln!(
            to,
            "{}, {}, {}, {}",
            counted(loaded.snapshot.servers().count(), "server", "servers"),
            counted(loaded.snapshot.policy_count(), "policy", "policies"),
            counted(loaded.templates.len(), "mandate", "mandates"),
            counted(loaded.warnings.len(), "warning", "warnings"),
        )?;
        writeln!(to, "revision {}", loaded.revision)?;
        for server in &observed {
            writeln!(
                to,
                "OBSERVE MODE for {server}: mandates do not limit its calls, they are only recorded"
            )?;
        }
        Ok(())
    })?;
    Ok(Exit::Done)
}

fn counted(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

fn tell(report: &Report, out: Output) -> anyhow::Result<Exit> {
    let answer = json!({ "ok": false, "diagnostics": report.diagnostics(), "omitted": report.omitted() });
    if !out.is_json() {
        out.note(render(report).trim_end());
    }
    out.answer(&answer, |to| writeln!(to, "{report}"))?;
    Ok(Exit::Wrong)
}

pub(crate) fn schema(args: &SchemaArgs, out: Output) -> anyhow::Result<Exit> {
    let mut text = serde_json::to_string_pretty(&schema_of(args.kind))?;
    text.push('\n');
    out.text(&text)?;
    Ok(Exit::Done)
}
