//! A session between a scripted client and a scripted server, over pipes in memory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "test code"
)]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, ReadHalf, WriteHalf, split},
    task::JoinHandle,
    time::timeout,
};
use warrantor_engine::Engine;
use warrantor_gateway::{Asking, Ended, Session, SessionSettings};
use warrantor_model::Evidence;
use warrantor_store::Store;
use warrantor_testkit::{BundleFiles, World};

/// How long a line may take on a clock that goes on by itself when everybody waits.
const PATIENCE: Duration = Duration::from_secs(4);

/// One end of a pipe.
pub struct End {
    pub name: &'static str,
    lines: BufReader<ReadHalf<DuplexStream>>,
    out: Option<WriteHalf<DuplexStream>>,
}

impl End {
    fn new(name: &'static str, stream: DuplexStream) -> Self {
        let (reader, writer) = split(stream);
        Self { name, lines: BufReader::new(reader), out: Some(writer) }
    }

    pub async fn send(&mut self, line: &str) {
        let line = format!("{line}\n");
        let written = timeout(PATIENCE, self.out.as_mut().unwrap().write_all(line.as_bytes()));
        written.await.unwrap_or_else(|_| panic!("the {} cannot write {line}", self.name)).unwrap();
    }

    /// The next line as it came, or none at the end.
    pub async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = timeout(PATIENCE, self.lines.read_line(&mut line)).await;
        let count = read.unwrap_or_else(|_| panic!("nothing comes to the {}", self.name)).unwrap();
        (count > 0).then(|| line.trim_end().to_owned())
    }

    pub async fn next(&mut self) -> Value {
        let line = self.line().await.unwrap_or_else(|| panic!("the {}'s stream ended", self.name));
        serde_json::from_str(&line).unwrap()
    }

    /// Whether nothing comes.
    pub async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(200), self.lines.fill_buf()).await.is_err()
    }

    /// Says the same again and again.
    pub fn babble(&mut self, text: String) -> JoinHandle<()> {
        let mut out = self.out.take().unwrap();
        tokio::spawn(async move { while out.write_all(text.as_bytes()).await.is_ok() {} })
    }

    /// Ends what this end says. The other direction stays open.
    pub async fn hang_up(&mut self) {
        self.out.take().unwrap().shutdown().await.unwrap();
    }
}

/// A session under way.
pub struct Rig<S> {
    pub world: World<S>,
    pub engine: Engine<S>,
    pub mandate: String,
    pub client: End,
    pub server: End,
    pub serving: JoinHandle<Ended>,
}

impl<S: Store> Rig<S> {
    pub async fn new(store: S) -> Self {
        Self::with_pipes(store, &BundleFiles::new(), 1 << 20).await
    }

    pub async fn with_pipes(store: S, files: &BundleFiles, pipe: usize) -> Self {
        Self::asking(store, files, pipe, Asking::default()).await
    }

    /// One that asks persons so.
    pub async fn asking(store: S, files: &BundleFiles, pipe: usize, asking: Asking) -> Self {
        let world = World::of(store, files);
        let handed = world.hand_over("pay").await;
        let engine = world.engine(files);
        let (client, client_end) = tokio::io::duplex(pipe);
        let (server, server_end) = tokio::io::duplex(pipe);
        let (client_in, client_out) = split(client_end);
        let (upstream_out, upstream_in) = split(server_end);
        let settings = SessionSettings {
            mandate: handed.mandate.clone(),
            server: "bank".parse().unwrap(),
            evidence: Evidence::LocalUser { uid: 1000, name: None }.into(),
            call_timeout: Duration::from_secs(60),
            request_timeout: Duration::from_secs(30),
            client_limits: Default::default(),
            upstream_limits: Default::default(),
            asking,
            trace: None,
        };
        let session = Session::new(engine.clone(), settings);
        let serving =
            tokio::spawn(
                async move { session.serve(client_in, client_out, upstream_in, upstream_out).await },
            );
        Self {
            world,
            engine,
            mandate: handed.mandate.to_string(),
            client: End::new("client", client),
            server: End::new("server", server),
            serving,
        }
    }

    /// The handshake of the older era.
    pub async fn legacy(mut self) -> Self {
        self.client.send(INITIALIZE).await;
        let asked = self.server.next().await;
        assert_eq!(asked["method"], "initialize");
        self.answer(&asked, INITIALIZED).await;
        assert_eq!(self.client.next().await["result"]["serverInfo"]["name"], "bank");
        self.client.send(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#).await;
        assert_eq!(self.server.next().await["method"], "notifications/initialized");
        self
    }

    /// Answers a request of ours.
    pub async fn answer(&mut self, asked: &Value, result: &str) {
        let line = format!(r#"{{"jsonrpc":"2.0","id":{},"result":{result}}}"#, asked["id"]);
        self.server.send(&line).await;
    }

    /// Answers the listing that comes before the first call.
    pub async fn list_definitions(&mut self) {
        let asked = self.server.next().await;
        assert_eq!(asked["method"], "tools/list", "{asked}");
        self.answer(&asked, &BundleFiles::definitions()).await;
    }

    pub async fn call(&mut self, id: &str, tool: &str, arguments: &str) {
        self.client.send(&call(id, tool, arguments)).await;
    }

    /// Ends the client and waits for the session's end.
    pub async fn end(&mut self) -> Ended {
        self.client.hang_up().await;
        self.ended().await
    }

    pub async fn ended(&mut self) -> Ended {
        timeout(Duration::from_secs(60), &mut self.serving).await.expect("the session does not end").unwrap()
    }
}

pub const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"sampling":{}},"clientInfo":{"name":"agent","version":"1"}}}"#;
pub const INITIALIZED: &str = r#"{"protocolVersion":"2025-11-25","capabilities":{"tools":{"listChanged":true}},"serverInfo":{"name":"bank","version":"1"}}"#;

pub fn call(id: &str, tool: &str, arguments: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
    )
}

pub fn text(text: &str) -> String {
    json!({ "content": [{ "type": "text", "text": text }] }).to_string()
}
