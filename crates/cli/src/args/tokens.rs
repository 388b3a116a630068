//! Arguments of `warrantor token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use warrantor_model::{AgentId, ServerName, TemplateId};

use super::Place;

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token for an agent and the mandates that it may run, and add it to a file of tokens. It is shown once; the file has its digest.
    #[command(
        after_help = "Examples:\n  warrantor token add laptop --file tokens.toml --agent invoice-bot --mandate pay-october\n  warrantor token add ci --file tokens.toml --agent build-bot --mandate fix-issue --mandate triage -o json\n  warrantor token add fleet --file tokens.toml --agent invoice-bot --handed-over"
    )]
    Add(TokenAddArgs),
    /// Have another key sign the tokens that the token service makes. It is published for an hour before it signs, unless at once.
    #[command(
        after_help = "Examples:\n  warrantor token rotate\n  warrantor token rotate --algorithm ES256\n  warrantor token rotate --at-once -o json   # somebody may have the key: what it signed counts no more"
    )]
    Rotate(TokenRotateArgs),
}

#[derive(Debug, Args)]
pub(crate) struct TokenRotateArgs {
    /// What the key signs with.
    #[arg(long, value_name = "NAME", default_value = "EdDSA", value_parser = ["EdDSA", "ES256"])]
    pub(crate) algorithm: String,
    /// The key signs from now on, and those before it are gone: for keys that somebody else may have.
    #[arg(long)]
    pub(crate) at_once: bool,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Args)]
pub(crate) struct TokenAddArgs {
    /// A name for the token, for records and logs.
    pub(crate) name: ServerName,
    /// The file of tokens; made if it is not there.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// The agent that calls with it.
    #[arg(long, value_name = "ID")]
    pub(crate) agent: AgentId,
    /// A mandate that it may run; can be given several times.
    #[arg(long, value_name = "ID", required_unless_present = "handed_over")]
    pub(crate) mandate: Vec<TemplateId>,
    /// It may run every mandate that is handed over to the agent, as the control plane does it.
    #[arg(long)]
    pub(crate) handed_over: bool,
}
