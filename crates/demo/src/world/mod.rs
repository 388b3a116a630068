//! The example world: an MCP server for the files, the mailbox and the bank account of an invented company.
//!
//! It is a server like any other: it knows no mandate and obeys every call. One mail in it hides an instruction for whatever assistant
//! reads the mailbox. State is in memory and begins anew with each process; there is no clock and no randomness in it.

mod journal;
mod office;
pub(crate) mod seed;
mod server;
mod tools;

use std::path::PathBuf;

use rmcp::{ServiceExt, service::ServerInitializeError};
use thiserror::Error;

pub(crate) use journal::{Performed, read as read_journal};
pub use server::World;

/// Why the example world could not be served.
#[derive(Debug, Error)]
pub enum WorldError {
    /// The journal cannot be opened: the caller's path.
    #[error("the journal {} cannot be opened: name a file in a directory that is there", path.display())]
    Journal {
        /// The path that was given.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// The client did not open a connection as MCP prescribes: the client's fault.
    #[error("the client opened no MCP connection")]
    Opening(#[source] Box<ServerInitializeError>),
    /// The task that serves died: a fault of ours.
    #[error("the server stopped")]
    Stopped(#[source] tokio::task::JoinError),
}

/// The tools that the world offers, by name.
pub(crate) fn tool_names() -> Vec<String> {
    tools::definitions().into_iter().map(|tool| tool.name.into_owned()).collect()
}

/// Serves the example world on standard input and output until the client goes. With a journal, every call that is performed is
/// appended to that file as a line of JSON, so that whoever stands outside can see what really happened.
///
/// # Errors
/// [`WorldError`], when the journal cannot be opened or no connection comes about.
pub async fn serve_world_stdio(journal: Option<PathBuf>) -> Result<(), WorldError> {
    let world = World::seeded(journal)?;
    let served = match world.serve(rmcp::transport::stdio_pipes()).await {
        Ok(served) => served,
        // A client that leaves before it has said anything is none.
        Err(ServerInitializeError::ConnectionClosed(_)) => return Ok(()),
        Err(cause) => return Err(WorldError::Opening(Box::new(cause))),
    };
    served.waiting().await.map(drop).map_err(WorldError::Stopped)
}
