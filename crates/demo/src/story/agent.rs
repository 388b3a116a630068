//! The agent: a real MCP client, in front of a real process that enforces.

use std::{fs::File, path::Path, process::Stdio, time::Duration};

use rmcp::{
    RoleClient, ServiceError,
    model::{
        CallToolRequestParams, CallToolResult, ClientCapabilities, ClientConfig, Implementation,
        ProtocolVersion,
    },
    service::{ClientInitializeError, ClientLifecycleMode, ClientServiceExt, RunningService},
};
use serde_json::Value;
use thiserror::Error;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

/// How long the program may take to open, to answer or to go. Far more than it takes; a demonstration that hangs shows nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why the agent could not go on.
#[derive(Debug, Error)]
pub(crate) enum AgentError {
    /// The process does not start: the executable's path is wrong.
    #[error("the program could not be started")]
    Start(#[source] std::io::Error),
    /// A child process without pipes: a fault of the system.
    #[error("the program was started without standard input and output")]
    Pipes,
    /// The connection did not open.
    #[error("no MCP connection could be opened through the program")]
    Opening(#[source] Box<ClientInitializeError>),
    /// No answer.
    #[error("the program did not answer within {} seconds", PATIENCE.as_secs())]
    Silent,
    /// An answer that is a protocol error, or none.
    #[error("the call was answered with a protocol error")]
    Protocol(#[source] Box<ServiceError>),
    /// The process ended badly.
    #[error("the program ended with {0}")]
    Ended(std::process::ExitStatus),
    /// The process could not be waited for.
    #[error("the program could not be waited for")]
    Wait(#[source] std::io::Error),
}

/// An agent at work.
pub(crate) struct Agent {
    client: RunningService<RoleClient, ClientConfig>,
    child: Child,
}

impl Agent {
    /// Starts the process and opens a connection. What the process says for people goes into the log file.
    pub(crate) async fn start(program: &Path, arguments: &[String], log: File) -> Result<Self, AgentError> {
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .map_err(AgentError::Start)?;
        let pipes = child.stdout.take().zip(child.stdin.take()).ok_or(AgentError::Pipes)?;
        let me = Implementation::new("invoice-assistant", env!("CARGO_PKG_VERSION"));
        let lifecycle =
            ClientLifecycleMode::Discover { preferred_versions: vec![ProtocolVersion::V_2026_07_28] };
        let opening =
            ClientConfig::new(ClientCapabilities::default(), me).serve_with_lifecycle(pipes, lifecycle);
        let client = timeout(PATIENCE, opening)
            .await
            .map_err(|_| AgentError::Silent)?
            .map_err(|cause| AgentError::Opening(Box::new(cause)))?;
        Ok(Self { client, child })
    }

    /// The names of the tools that are shown.
    pub(crate) async fn tools(&self) -> Result<Vec<String>, AgentError> {
        let tools = answer(self.client.list_all_tools()).await?;
        Ok(tools.into_iter().map(|tool| tool.name.into_owned()).collect())
    }

    /// Calls a tool.
    pub(crate) async fn call(
        &self,
        tool: &'static str,
        arguments: &Value,
    ) -> Result<CallToolResult, AgentError> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        answer(self.client.peer().call_tool(CallToolRequestParams::new(tool).with_arguments(arguments))).await
    }

    /// Ends the connection and waits until the process is gone.
    pub(crate) async fn leave(mut self) -> Result<(), AgentError> {
        // What remains of the client is of no use; whether the process ends is asked of the process.
        drop(self.client.cancel().await);
        match timeout(PATIENCE, self.child.wait()).await {
            Err(_) => Err(AgentError::Silent),
            Ok(Err(cause)) => Err(AgentError::Wait(cause)),
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(AgentError::Ended(status)),
        }
    }
}

async fn answer<T>(answer: impl Future<Output = Result<T, ServiceError>>) -> Result<T, AgentError> {
    timeout(PATIENCE, answer)
        .await
        .map_err(|_| AgentError::Silent)?
        .map_err(|cause| AgentError::Protocol(Box::new(cause)))
}
