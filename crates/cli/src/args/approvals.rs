//! Arguments of `warrantor approvals`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use warrantor_model::{DecisionId, PersonId};

use super::Place;

#[derive(Debug, Subcommand)]
pub(crate) enum ApprovalsCommand {
    /// List the questions that wait for an answer, or for its use.
    #[command(
        after_help = "Examples:\n  warrantor approvals list\n  warrantor approvals list --server https://warrantor.example.com --mine\n  warrantor approvals list --all -o json"
    )]
    List(ApprovalListArgs),
    /// Print each question as it is asked, until interrupted.
    #[command(
        after_help = "Examples:\n  warrantor approvals watch\n  warrantor approvals watch --server https://warrantor.example.com --mine -o json"
    )]
    Watch(ApprovalListArgs),
    /// Show one question whole: the exact arguments, where each value came from, the request's own words, earlier calls of the same tool, and why it is asked.
    #[command(after_help = "Examples:\n  warrantor approvals show d019a2b3c4d5e-0123456789abcdef")]
    Show(ApprovalArgs),
    /// Tell how questions were answered, and which could be spared: those that are always approved, or asked too often.
    #[command(
        after_help = "Examples:\n  warrantor approvals stats\n  warrantor approvals stats --server https://warrantor.example.com -o json\n\nFor each that could be spared it prints a grant within whose bounds all approved calls lay. Read it before you take it over."
    )]
    Stats(StatsArgs),
    /// Say yes to exactly this call, once.
    #[command(
        after_help = "Examples:\n  warrantor approvals approve d019a2b3c4d5e-0123456789abcdef --server https://warrantor.example.com\n  warrantor approvals approve d019a2b3c4d5e-0123456789abcdef --as alice\n  warrantor approvals approve d019a2b3c4d5e-0123456789abcdef --as alice --arguments '{\"amount\":700,\"recipient\":\"DE1\"}'\n\nThe agent makes the same call again to have it made. Exit code 0 when the answer is recorded, 1 when it was not taken,\n4 when others have to answer too."
    )]
    Approve(ApproveArgs),
    /// Say no: the agent is told so, with the reason.
    #[command(
        after_help = "Examples:\n  warrantor approvals deny d019a2b3c4d5e-0123456789abcdef --as alice --reason \"ask the supplier first\"\n  warrantor approvals deny d019a2b3c4d5e-0123456789abcdef --as alice --end-mandate"
    )]
    Deny(DenyArgs),
}

/// Where the questions are: at a control plane, or in a data directory of this machine.
#[derive(Debug, Clone, Args)]
pub(crate) struct Where {
    /// The control plane, where `warrantor login` has begun a session; without it the data directory of this machine.
    #[arg(long, value_name = "URL")]
    pub(crate) server: Option<String>,
    #[command(flatten)]
    pub(crate) place: Place,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ApprovalListArgs {
    /// Only those that you are asked, by name or by a group; at a control plane.
    #[arg(long, requires = "server")]
    pub(crate) mine: bool,
    /// Those of the past too.
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, Args)]
pub(crate) struct ApprovalArgs {
    /// The question's id: the decision that asked.
    pub(crate) id: DecisionId,
    #[command(flatten)]
    pub(crate) at: Where,
}

/// Who answers where no session says it.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// The question's id: the decision that asked.
    pub(crate) id: DecisionId,
    /// Who answers, on the host of the data directory; the person who is asked where that is one.
    #[arg(long = "as", value_name = "PERSON", conflicts_with = "server")]
    pub(crate) as_person: Option<PersonId>,
    #[command(flatten)]
    pub(crate) at: Where,
}

#[derive(Debug, Args)]
pub(crate) struct ApproveArgs {
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    /// Other arguments to be used in the place of those that were asked about, as JSON.
    #[arg(long, value_name = "JSON")]
    pub(crate) arguments: Option<String>,
    /// The same from a file.
    #[arg(long, value_name = "FILE", conflicts_with = "arguments")]
    pub(crate) arguments_file: Option<PathBuf>,
    /// The digest of the arguments as they were shown to you; needed where somebody has put others in the place of the agent's.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) shown: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DenyArgs {
    #[command(flatten)]
    pub(crate) answer: AnswerArgs,
    /// Why, for the agent.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    /// End the whole task with it: the mandate that its person handed over.
    #[arg(long)]
    pub(crate) end_mandate: bool,
}
