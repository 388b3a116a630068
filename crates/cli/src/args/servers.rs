//! Arguments of `warrantor server`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use warrantor_model::{Digest, ServerName};

use super::OfficePlace;

#[derive(Debug, Subcommand)]
pub(crate) enum ServerCommand {
    /// List the tool servers, and what was seen of each that is not as described.
    #[command(
        after_help = "Examples:\n  warrantor server list\n  warrantor server list --bundle ./bundle -o json"
    )]
    List(OfficePlace),
    /// Show a server and its manifests; or one manifest, whose files can be written into a bundle.
    #[command(
        after_help = "Examples:\n  warrantor server show bank\n  warrantor server show bank --manifest 3\n  warrantor server show bank --into ./bundle     # the one that was approved last"
    )]
    Show(ServerShowArgs),
    /// Say what a manifest says differently from what describes the server now; without a manifest, what the server was seen to offer.
    #[command(
        after_help = "Examples:\n  warrantor server difference bank\n  warrantor server difference bank --manifest 4\n  warrantor server difference bank --manifest 4 --against 2 -o json"
    )]
    Difference(ServerDifferenceArgs),
    /// Propose a manifest. It takes effect once it is approved.
    #[command(
        after_help = "Examples:\n  warrantor server propose bank --from ./bundle --reason 'Its new release'\n  warrantor server propose bank --definitions answer.json --reason 'Drafted over what it says now'\n  warrantor server propose bank --reason 'Drafted over what a gateway saw'\n\nA draft has lines marked `# guess:`. Write it out with `server show --manifest N --into DIR`, look at each, take the\nmarks out, and propose it again.\n\nExit code 0 when it is proposed, 1 when it does not pass its checks."
    )]
    Propose(ServerProposeArgs),
    /// Approve a manifest: it is published wherever the server is described.
    #[command(
        after_help = "Examples:\n  warrantor server approve bank 4 --digest sha256:93a9…   # as `server show bank --manifest 4` tells it\n\nExit code 0 when it is approved, 1 when a bundle does not pass its checks with it."
    )]
    Approve(ServerApproveArgs),
    /// Turn a manifest down.
    #[command(after_help = "Examples:\n  warrantor server reject bank 4 --reason 'close_account destroys'")]
    Reject(ServerRejectArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ServerShowArgs {
    /// The server's name.
    pub(crate) name: ServerName,
    /// One of its manifests, by its number.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) manifest: Option<u64>,
    /// Write the manifest and its definitions into this bundle directory; those that are there are replaced.
    #[arg(long, value_name = "DIR")]
    pub(crate) into: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct ServerDifferenceArgs {
    /// The server's name.
    pub(crate) name: ServerName,
    /// The manifest; without one, what the server was seen to offer.
    #[arg(long, value_name = "NUMBER")]
    pub(crate) manifest: Option<u64>,
    /// Another manifest to compare with; without one, what describes the server now.
    #[arg(long, value_name = "NUMBER", requires = "manifest")]
    pub(crate) against: Option<u64>,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct ServerProposeArgs {
    /// The server's name.
    pub(crate) name: ServerName,
    /// The bundle directory with `tools/NAME.yaml` and `tools/NAME.tools.json`.
    #[arg(long, value_name = "DIR", conflicts_with = "definitions")]
    pub(crate) from: Option<PathBuf>,
    /// What the server answers to `tools/list`: the rules of now are drafted over it.
    #[arg(long, value_name = "FILE")]
    pub(crate) definitions: Option<PathBuf>,
    /// Why; it is part of the history.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct ServerApproveArgs {
    /// The server's name.
    pub(crate) name: ServerName,
    /// The manifest's number.
    pub(crate) number: u64,
    /// The digest of the manifest as it was looked at.
    #[arg(long, value_name = "DIGEST")]
    pub(crate) digest: Digest,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}

#[derive(Debug, Args)]
pub(crate) struct ServerRejectArgs {
    /// The server's name.
    pub(crate) name: ServerName,
    /// The manifest's number.
    pub(crate) number: u64,
    /// Why; whoever proposed it reads it.
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) place: OfficePlace,
}
