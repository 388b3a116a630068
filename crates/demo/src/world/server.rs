//! The MCP face of the example world.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
        ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
    },
    service::RequestContext,
};
use serde_json::Value;

use super::{
    WorldError,
    journal::{Journal, Performed},
    office::Office,
    tools,
};

/// The example world as an MCP server.
#[derive(Debug, Clone)]
pub struct World {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    office: Office,
    journal: Option<Journal>,
}

impl World {
    /// The world as it begins.
    ///
    /// # Errors
    /// [`WorldError::Journal`] when that file cannot be opened.
    pub fn seeded(journal: Option<PathBuf>) -> Result<Self, WorldError> {
        let journal = match journal {
            Some(path) => Some(Journal::open(&path).map_err(|cause| WorldError::Journal { path, cause })?),
            None => None,
        };
        let state = State { office: Office::seeded(), journal };
        Ok(Self { state: Arc::new(Mutex::new(state)) })
    }

    fn perform(&self, tool: &str, arguments: Value) -> Option<Result<Value, String>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let performed = Performed { tool: tool.to_owned(), arguments: arguments.clone() };
        let answer = state.office.call(tool, arguments)?;
        let Some(journal) = state.journal.as_mut().filter(|_| answer.is_ok()) else {
            return Some(answer);
        };
        match journal.write(&performed) {
            Ok(()) => Some(answer),
            Err(cause) => Some(Err(format!("it was done but is missing in the journal: {cause}"))),
        }
    }
}

impl ServerHandler for World {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("warrantor-demo-world", env!("CARGO_PKG_VERSION")))
            .with_instructions(tools::INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tools::definitions()))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = Value::Object(request.arguments.unwrap_or_default());
        let result = match self.perform(&request.name, arguments) {
            Some(Ok(answer)) => CallToolResult::structured(answer),
            Some(Err(said)) => CallToolResult::error(vec![ContentBlock::text(said)]),
            None => {
                let message = format!("there is no tool {}", request.name);
                return Err(ErrorData::invalid_params(message, None));
            }
        };
        Ok(result.into())
    }
}

#[cfg(test)]
mod tests {
    use rmcp::{RoleClient, ServiceExt, model::Tool, service::RunningService};
    use serde_json::json;

    use super::*;
    use crate::world::journal;

    async fn client(journal: Option<PathBuf>) -> RunningService<RoleClient, ()> {
        let (near, far) = tokio::io::duplex(1 << 16);
        let world = World::seeded(journal).unwrap();
        tokio::spawn(async move { world.serve(far).await.unwrap().waiting().await });
        ().serve(near).await.unwrap()
    }

    fn call(tool: &'static str, arguments: Value) -> CallToolRequestParams {
        CallToolRequestParams::new(tool).with_arguments(rmcp::model::object(arguments))
    }

    #[tokio::test]
    async fn the_pinned_definitions_are_the_ones_the_server_answers_with() {
        let client = client(None).await;
        let answered = client.list_all_tools().await.unwrap();
        let pinned: Value = serde_json::from_str(crate::bundle::DEFINITIONS).unwrap();
        let answer = json!({ "instructions": tools::INSTRUCTIONS, "tools": answered });
        assert_eq!(pinned, answer, "{answer:#}");
        assert_eq!(client.peer_info().unwrap().instructions.as_deref(), Some(tools::INSTRUCTIONS));
    }

    #[tokio::test]
    async fn every_tool_that_is_listed_is_one_that_the_server_performs() {
        let client = client(None).await;
        for Tool { name, .. } in client.list_all_tools().await.unwrap() {
            let answered = client.call_tool(CallToolRequestParams::new(name.clone())).await;
            assert!(answered.is_ok(), "{name}: {answered:?}");
        }
        assert!(client.call_tool(call("erase", json!({}))).await.is_err());
    }

    #[tokio::test]
    async fn results_are_text_and_structure_alike_and_only_what_was_done_is_in_the_journal() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("journal");
        let client = client(Some(path.clone())).await;
        let read = client.call_tool(call("read_mail", json!({ "id": "m-2" }))).await.unwrap();
        let structured = read.structured_content.unwrap();
        let text = read.content.first().and_then(ContentBlock::as_text).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&text.text).unwrap(), structured);
        assert!(structured["mail"]["body"].as_str().unwrap().contains("display:none"));
        let missing = client.call_tool(call("read_mail", json!({ "id": "m-9" }))).await.unwrap();
        assert_eq!(missing.is_error, Some(true));
        let performed = journal::read(&path).unwrap();
        assert_eq!(performed, [Performed { tool: "read_mail".into(), arguments: json!({ "id": "m-2" }) }]);
    }
}
