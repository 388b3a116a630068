//! What stands at both ends of a measured gateway: an echoing server on rmcp, a bare passthrough on hyper, and a client that costs little.

use std::{convert::Infallible, io::Write as _, net::SocketAddr, sync::Arc};

use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, combinators::BoxBody};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
    service::TowerToHyperService,
};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult,
        PaginatedRequestParams, ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
    },
    service::{RequestContext, SubscriptionContext},
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::local::LocalSessionManager,
    },
};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Lists so many tools, and says again what it is told.
#[derive(Clone)]
struct Echo(usize);

fn tool(nth: usize) -> Tool {
    let schema = json!({
        "type": "object",
        "properties": { "text": { "type": "string", "maxLength": 1000 }, "amount": { "type": "number" } },
        "required": ["text"],
        "additionalProperties": false,
    });
    let name = if nth == 0 { "echo".to_owned() } else { format!("echo_{nth}") };
    Tool::new(name, "Says again what it is told.", rmcp::model::object(schema))
}

impl ServerHandler for Echo {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build())
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items((0..self.0).map(tool).collect()))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    /// Its tools never change.
    async fn listen(&self, subscription: SubscriptionContext) -> Result<(), ErrorData> {
        subscription.cancelled().await;
        Ok(())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let arguments = request.arguments.unwrap_or_default();
        let text = arguments.get("text").and_then(Value::as_str).unwrap_or_default();
        Ok(CallToolResult::success(vec![ContentBlock::text(text.to_owned())]).into())
    }
}

/// The definitions that a server of so many tools lists.
pub(super) fn definitions(tools: usize) -> anyhow::Result<String> {
    let tools: Vec<Tool> = (0..tools).map(tool).collect();
    Ok(serde_json::to_string(&json!({ "tools": tools }))?)
}

/// Listens on a port of its own and prints it.
async fn listen() -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    std::io::stdout().flush()?;
    Ok(listener)
}

/// The server, until it is killed.
pub(super) async fn serve_echo(tools: usize) -> anyhow::Result<()> {
    let listener = listen().await?;
    let service = StreamableHttpService::new(
        move || Ok(Echo(tools)),
        Arc::new(LocalSessionManager::default()),
        StreamableHttpServerConfig::default(),
    );
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let service = TowerToHyperService::new(service.clone());
        tokio::spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

/// A proxy that passes everything on and looks at nothing, until it is killed.
pub(super) async fn serve_passthrough(to: SocketAddr) -> anyhow::Result<()> {
    let listener = listen().await?;
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build(connector);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let client = client.clone();
        let service = service_fn(move |request| {
            let client = client.clone();
            async move { Ok::<_, Infallible>(pass(&client, to, request).await) }
        });
        tokio::spawn(async move {
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn pass(
    client: &Client<HttpConnector, Full<Bytes>>,
    to: SocketAddr,
    request: Request<Incoming>,
) -> Response<BoxBody<Bytes, hyper::Error>> {
    let failed = || {
        let mut response = Response::new(Full::new(Bytes::new()).map_err(|never| match never {}).boxed());
        *response.status_mut() = hyper::StatusCode::BAD_GATEWAY;
        response
    };
    let (mut head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return failed() };
    let Ok(uri) = format!("http://{to}/").parse() else { return failed() };
    head.uri = uri;
    match client.request(Request::from_parts(head, Full::new(body.to_bytes()))).await {
        Ok(response) => response.map(BodyExt::boxed),
        Err(_) => failed(),
    }
}

/// Which era a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speaks {
    Legacy,
    Modern,
}

/// One connection of a client. Requests are written out before, and of answers only what ends them is looked at: what is measured is
/// what stands in between.
pub(super) struct Wire {
    stream: TcpStream,
    head: String,
    speaks: Speaks,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects, and in the older era begins a session.
    pub(super) async fn open(
        to: SocketAddr,
        path: &str,
        token: &str,
        mandate: &str,
        speaks: Speaks,
    ) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {to}\r\nauthorization: Bearer {token}\r\nwarrantor-mandate: {mandate}\r\ncontent-type: application/json\r\naccept: application/json, text/event-stream\r\n"
        );
        let mut wire = Self { stream, head, speaks, buffer: Vec::new() };
        if speaks == Speaks::Legacy {
            let hello = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"0"}}}"#;
            wire.ask("", hello).await?;
            let answer = String::from_utf8_lossy(&wire.buffer).to_lowercase();
            let session = answer.split("mcp-session-id: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            wire.head.push_str(&format!(
                "mcp-session-id: {}\r\nmcp-protocol-version: 2025-11-25\r\n",
                session.context("no session")?
            ));
            wire.ask("", r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await?;
        }
        Ok(wire)
    }

    /// Calls the tool; the answer must be what was said.
    pub(super) async fn call(&mut self) -> anyhow::Result<()> {
        const CALL: &str =
            r#""name":"echo","arguments":{"text":"a short sentence to be said again","amount":12.50}"#;
        self.request("tools/call", Some("echo"), CALL).await?;
        self.must_hold("a short sentence to be said again")
    }

    /// Lists the tools.
    pub(super) async fn list(&mut self) -> anyhow::Result<()> {
        self.request("tools/list", None, "").await?;
        self.must_hold("\"echo\"")
    }

    /// Listens for a change of the tools, and returns once that is acknowledged; the stream stays as long as this connection.
    pub(super) async fn listen(&mut self) -> anyhow::Result<()> {
        let (headers, body) =
            self.written("subscriptions/listen", None, r#""notifications":{"toolsListChanged":true}"#);
        self.send(&headers, &body).await?;
        while !String::from_utf8_lossy(&self.buffer).contains("notifications/subscriptions/acknowledged") {
            self.receive().await?;
        }
        Ok(())
    }

    fn must_hold(&self, part: &str) -> anyhow::Result<()> {
        let answer = String::from_utf8_lossy(&self.buffer);
        if !answer.contains(part) || answer.contains("\"isError\":true") {
            bail!("a measured request failed: {answer}");
        }
        Ok(())
    }

    async fn request(&mut self, method: &str, name: Option<&str>, params: &str) -> anyhow::Result<()> {
        let (headers, body) = self.written(method, name, params);
        self.ask(&headers, &body).await
    }

    /// The headers and the body of a request.
    fn written(&self, method: &str, name: Option<&str>, params: &str) -> (String, String) {
        let (headers, params) = match self.speaks {
            Speaks::Legacy => (String::new(), params.to_owned()),
            Speaks::Modern => {
                let name = name.map(|name| format!("mcp-name: {name}\r\n")).unwrap_or_default();
                let comma = if params.is_empty() { "" } else { "," };
                (
                    format!("mcp-protocol-version: 2026-07-28\r\nmcp-method: {method}\r\n{name}"),
                    format!(
                        r#"{params}{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}"#
                    ),
                )
            }
        };
        (headers, format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}}}}}"#))
    }

    async fn ask(&mut self, headers: &str, body: &str) -> anyhow::Result<()> {
        self.send(headers, body).await?;
        while !ended(&self.buffer) {
            self.receive().await?;
        }
        Ok(())
    }

    async fn send(&mut self, headers: &str, body: &str) -> anyhow::Result<()> {
        let message = format!("{}{headers}content-length: {}\r\n\r\n{body}", self.head, body.len());
        self.stream.write_all(message.as_bytes()).await?;
        self.buffer.clear();
        Ok(())
    }

    async fn receive(&mut self) -> anyhow::Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("hung up: {}", String::from_utf8_lossy(&self.buffer));
        }
        Ok(())
    }
}

/// Whether a whole response is there.
fn ended(buffer: &[u8]) -> bool {
    let text = String::from_utf8_lossy(buffer);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let head = head.to_ascii_lowercase();
    if head.contains("transfer-encoding: chunked") {
        return body.ends_with("0\r\n\r\n");
    }
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    body.len() >= length.unwrap_or(0)
}
