//! Where values come from that configurations name: text, files, the environment, sealed secrets; and the commands about sealed secrets.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context;
use serde::Serialize;
use warrantor_bundle::{
    EnvEntry,
    gateway::{KeySource, SecretsConfig},
};
use warrantor_control::{
    keys::read_secret,
    secrets::{Secrets, key_of},
};
use warrantor_engine::bodies::SealKey;
use warrantor_model::{Clock, Randomness};
use zeroize::Zeroizing;

use crate::{
    args::{SecretCommand, SecretKeyArgs, SecretPlace},
    output::{Exit, Output, Usage},
    system::{SystemBytes, SystemClock},
};

/// Most bytes that a command may print as a key.
const MAX_PRINTED: u64 = 4096;

/// Where values come from.
#[derive(Clone, Copy)]
pub(super) struct Sources<'a> {
    /// Where files are named from.
    pub(super) base: &'a Path,
    /// Sealed secrets, where there are any.
    pub(super) sealed: Option<&'a Secrets>,
}

impl<'a> Sources<'a> {
    /// Files named from here, and no sealed secrets.
    pub(super) fn at(base: &'a Path) -> Self {
        Self { base, sealed: None }
    }

    /// The value of a variable or a header.
    pub(super) fn value(&self, entry: &EnvEntry, name: &str) -> anyhow::Result<String> {
        match entry {
            EnvEntry::Literal(text) => Ok(text.clone()),
            EnvEntry::File(file) => secret_file(&self.base.join(file)),
            EnvEntry::Env(variable) => std::env::var(variable).with_context(|| {
                format!(
                    "the configuration takes {name} from the environment variable {variable}, which is not set"
                )
            }),
            EnvEntry::Sealed(secret) => {
                let sealed = self.sealed.with_context(|| {
                    format!("{name} is the sealed secret {secret}, and only gateway.toml with [secrets] has such")
                })?;
                let bytes = sealed.get(secret)?;
                let text = std::str::from_utf8(&bytes)
                    .with_context(|| format!("the secret {secret} is no text, and cannot be {name}"))?;
                Ok(text.to_owned())
            }
        }
    }
}

fn secret_file(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path)
        .with_context(|| format!("the secret file {} cannot be read", path.display()))?;
    Ok(without_break(&text).to_owned())
}

/// A text without the line break at its end.
fn without_break(text: &str) -> &str {
    text.strip_suffix('\n').map_or(text, |text| text.strip_suffix('\r').unwrap_or(text))
}

/// The sealed secrets of a configuration.
pub(super) fn open(config: &SecretsConfig) -> anyhow::Result<Secrets> {
    Ok(Secrets::open(&config.file, key(&config.key)?)?)
}

/// The key of sealed secrets, from where it is kept.
fn key(source: &KeySource) -> anyhow::Result<SealKey> {
    let (text, place) = match source {
        KeySource::File(path) => (read_secret(path)?, path.display().to_string()),
        KeySource::Env(variable) => {
            let text = std::env::var(variable).with_context(|| {
                format!("the key is in the environment variable {variable}, which is not set")
            })?;
            (Zeroizing::new(text), format!("the environment variable {variable}"))
        }
        KeySource::Command(words) => {
            (printed(words)?, format!("what {} printed", words.first().map_or("", String::as_str)))
        }
    };
    key_of(&text).map_err(|why| anyhow::anyhow!("{place} is no key of sealed secrets: {why}"))
}

/// What a command prints. What it says on standard error goes to ours.
fn printed(words: &[String]) -> anyhow::Result<Zeroizing<String>> {
    let (program, arguments) = words.split_first().context("the command of the key is empty")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("the command {program} of the key cannot be started"))?;
    let mut text = Zeroizing::new(String::new());
    let out = child.stdout.take().context("the command has no output")?;
    out.take(MAX_PRINTED)
        .read_to_string(&mut text)
        .with_context(|| format!("what {program} prints is no text"))?;
    let ended = child.wait()?;
    if !ended.success() {
        anyhow::bail!("the command {program} of the key ended with {ended}");
    }
    Ok(text)
}

impl SecretPlace {
    fn source(&self) -> anyhow::Result<KeySource> {
        source(self.key_file.as_ref(), self.key_env.as_ref(), &self.key_command)
    }

    fn open(&self) -> anyhow::Result<Secrets> {
        open(&SecretsConfig { file: self.store.clone(), key: self.source()? })
    }
}

fn source(
    file: Option<&PathBuf>,
    variable: Option<&String>,
    command: &[String],
) -> anyhow::Result<KeySource> {
    match (file, variable, command) {
        (Some(file), None, []) => Ok(KeySource::File(file.clone())),
        (None, Some(variable), []) => Ok(KeySource::Env(variable.clone())),
        (None, None, [_, ..]) => Ok(KeySource::Command(command.to_vec())),
        _ => Err(Usage("say where the key is: --key-file, --key-env or --key-command".to_owned()).into()),
    }
}

/// A secret, as far as it is told.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    put: String,
}

/// `secret …`.
pub(crate) fn secret(command: SecretCommand, out: Output) -> anyhow::Result<Exit> {
    let (clock, randomness) = (SystemClock, SystemBytes::new());
    match command {
        SecretCommand::Key(args) => new_key(&args, &randomness, out)?,
        SecretCommand::Put(args) => {
            let mut secret = Zeroizing::new(String::new());
            let stdin = std::io::stdin();
            stdin
                .lock()
                .take(1 << 20)
                .read_to_string(&mut secret)
                .context("the secret is read from standard input")?;
            let mut secrets = args.place.open()?;
            secrets.put(&args.name, without_break(&secret).as_bytes(), clock.now(), &randomness)?;
            out.answer(&serde_json::json!({ "name": args.name }), |to| {
                writeln!(to, "The secret {} is sealed in {}", args.name, args.place.store.display())
            })?;
        }
        SecretCommand::List(args) => {
            let secrets = args.place.open()?;
            let told: Vec<Told<'_>> =
                secrets.names().map(|(name, put)| Told { name, put: put.to_string() }).collect();
            out.answer(&told, |to| {
                told.iter().try_for_each(|one| writeln!(to, "{}  put {}", one.name, one.put))
            })?;
        }
        SecretCommand::Remove(args) => {
            args.place.open()?.remove(&args.name)?;
            out.answer(&serde_json::json!({ "name": args.name }), |to| {
                writeln!(to, "The secret {} is gone", args.name)
            })?;
        }
        SecretCommand::Rewrap(args) => {
            let new =
                key(&source(args.new_key_file.as_ref(), args.new_key_env.as_ref(), &args.new_key_command)?)?;
            let mut secrets = args.place.open()?;
            secrets.rewrap(new, &randomness)?;
            let count = secrets.names().count();
            out.answer(&serde_json::json!({ "secrets": count }), |to| {
                writeln!(to, "{count} secrets open with the new key, and no more with the old one")
            })?;
        }
    }
    Ok(Exit::Done)
}

/// Makes a key in a file of its own.
fn new_key(args: &SecretKeyArgs, randomness: &dyn Randomness, out: Output) -> anyhow::Result<()> {
    let mut bytes = Zeroizing::new([0; 32]);
    randomness.fill(bytes.as_mut())?;
    let text = Zeroizing::new(format!("{}\n", Zeroizing::new(hex::encode(bytes.as_ref())).as_str()));
    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&args.file)
        .with_context(|| format!("{} cannot be made", args.file.display()))?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    out.answer(&serde_json::json!({ "file": args.file }), |to| {
        writeln!(to, "The key is in {}: keep it apart from what it seals", args.file.display())
    })?;
    Ok(())
}
