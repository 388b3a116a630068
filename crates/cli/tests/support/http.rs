//! A gateway under test, and a client of raw HTTP: what it sends is what a test says, byte for byte.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use super::{World, python, run, script, warrantor};

const PATIENCE: Duration = Duration::from_secs(20);
/// The headers of a message in the older era.
pub const LEGACY: [(&str, &str); 2] =
    [("content-type", "application/json"), ("accept", "application/json, text/event-stream")];
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

/// A running gateway.
pub struct Gateway {
    child: Child,
    pub address: SocketAddr,
    pub metrics: Option<SocketAddr>,
    tokens: BTreeMap<String, String>,
    stderr: std::path::PathBuf,
}

/// A token: its name, its agent, its mandates.
pub type Caller<'a> = (&'a str, &'a str, &'a [&'a str]);

impl Gateway {
    /// A gateway before the scripted server of a world, with these callers.
    pub fn before(world: &World, callers: &[Caller<'_>], more: &str) -> Self {
        let command = json!([python(), "-I", "-S", script("upstream.py"), world.path("upstream"), world.era]);
        Self::start(world, callers, &format!("{more}\n[servers.fake]\ncommand = {command}\n"))
    }

    /// A gateway with this configuration beside the bundle, the data directory and the tokens.
    pub fn start(world: &World, callers: &[Caller<'_>], more: &str) -> Self {
        Self::start_at(world, "127.0.0.1:0", callers, more)
    }

    /// [`Gateway::start`] at an address that is known beforehand.
    pub fn start_at(world: &World, listen: &str, callers: &[Caller<'_>], more: &str) -> Self {
        let text = format!("bundle = \"bundle\"\ndata = \"data\"\nlisten = \"{listen}\"\n{more}");
        Self::configured(world, callers, &text)
    }

    /// A gateway with this configuration and these callers.
    pub fn configured(world: &World, callers: &[Caller<'_>], more: &str) -> Self {
        let mut tokens = BTreeMap::new();
        let _ = fs::remove_file(world.path("tokens.toml"));
        for (name, agent, mandates) in callers {
            let mut command = warrantor();
            command.args(["token", "add", name, "--agent", agent, "-o", "json", "--file"]);
            command.arg(world.path("tokens.toml"));
            for mandate in *mandates {
                command.args(["--mandate", mandate]);
            }
            let made: Value = serde_json::from_slice(&run(&mut command).stdout).unwrap();
            tokens.insert((*name).to_owned(), made["token"].as_str().unwrap().to_owned());
        }
        world.write("gateway.toml", &format!("tokens = \"tokens.toml\"\n{more}"));
        let (file, stderr) =
            tempfile::Builder::new().prefix("stderr-").tempfile_in(world.path("")).unwrap().keep().unwrap();
        let mut child = warrantor()
            .args(["gateway", "-o", "json", "--config"])
            .arg(world.path("gateway.toml"))
            .envs(world.environment.iter().map(|(name, value)| (name, value)))
            .env("WARRANTOR_LOG", "info")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        let listening: Value = loop {
            if out.read_line(&mut said).unwrap() == 0 {
                panic!("no gateway came up: {}", fs::read_to_string(&stderr).unwrap());
            }
            if let Ok(listening) = serde_json::from_str(&said) {
                break listening;
            }
        };
        let url = listening["url"].as_str().unwrap();
        let address = url.rsplit('/').next().unwrap().parse().unwrap();
        let metrics = listening["metrics"].as_str().and_then(|url| url.split('/').nth(2)?.parse().ok());
        Self { child, address, metrics, tokens, stderr }
    }

    pub fn token(&self, name: &str) -> &str {
        &self.tokens[name]
    }

    pub fn stderr(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// A client with a connection of its own.
    pub fn client(&self, caller: &str) -> Client {
        let mut client = Client::to(self.address);
        client.token = self.tokens.get(caller).cloned();
        client
    }

    /// A client whose session has begun.
    pub fn session(&self, caller: &str) -> Client {
        let mut client = self.client(caller);
        client.initialize();
        client
    }

    /// Has the configuration read anew.
    pub fn hangup(&self) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::HUP).unwrap();
    }

    /// Has the configuration read anew, and waits until it was.
    pub fn reread(&self) {
        let read = || self.stderr().matches("the configuration was read anew").count();
        let (before, begun) = (read(), std::time::Instant::now());
        self.hangup();
        while read() == before {
            assert!(begun.elapsed().as_secs() < 20, "{}", self.stderr());
        }
    }

    /// Asks the gateway to end, and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap()
    }

    /// Ends it without a word.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Response {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|cause| panic!("{cause}: {self:?}"))
    }

    pub fn is_stream(&self) -> bool {
        self.headers.get("content-type").is_some_and(|kind| kind == "text/event-stream")
    }
}

/// One connection.
pub struct Client {
    reader: BufReader<TcpStream>,
    address: SocketAddr,
    pub token: Option<String>,
    pub path: String,
    pub session: Option<String>,
    next: u64,
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            reader: BufReader::new(stream),
            address,
            token: None,
            path: "/fake".to_owned(),
            session: None,
            next: 0,
        }
    }

    /// What comes, as it comes.
    pub fn stream(&mut self) -> &mut impl Read {
        &mut self.reader
    }

    /// Sends bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).unwrap();
    }

    /// Sends a request with these headers besides `Host` and the token.
    pub fn send(&mut self, method: &str, headers: &[(&str, &str)], body: &str) {
        let mut text = format!("{method} {} HTTP/1.1\r\nhost: {}\r\n", self.path, self.address);
        if let Some(token) = &self.token {
            text += &format!("authorization: Bearer {token}\r\n");
        }
        if let Some(session) = &self.session {
            text += &format!("mcp-session-id: {session}\r\n");
        }
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        text += &format!("content-length: {}\r\n\r\n{body}", body.len());
        self.raw(text.as_bytes());
    }

    /// The status and the headers of the response; its body is still to be read.
    pub fn head(&mut self) -> Response {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert!(self.reader.read_line(&mut line).expect("no response in time") > 0, "hung up: {lines:?}");
            if line == "\r\n" {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        let status = lines[0].split(' ').nth(1).unwrap().parse().unwrap();
        let header =
            |line: &String| line.split_once(": ").map(|(n, v)| (n.to_ascii_lowercase(), v.to_owned()));
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in lines[1..].iter().filter_map(header) {
            // One that stands several times is a list.
            headers.entry(name).and_modify(|all| *all += &format!(", {value}")).or_insert(value);
        }
        Response { status, headers, body: String::new() }
    }

    /// A whole response.
    pub fn response(&mut self) -> Response {
        let mut response = self.head();
        if response.headers.contains_key("transfer-encoding") {
            while let Some(chunk) = self.chunk() {
                response.body += &chunk;
            }
        } else {
            let length = response.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
            let mut body = vec![0; length];
            self.reader.read_exact(&mut body).unwrap();
            response.body = String::from_utf8(body).unwrap();
        }
        response
    }

    /// The next piece of a body that comes in pieces; none at its end.
    fn chunk(&mut self) -> Option<String> {
        let mut size = String::new();
        if self.reader.read_line(&mut size).expect("nothing in time") == 0 {
            return None;
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut chunk = vec![0; size + 2];
        self.reader.read_exact(&mut chunk).unwrap();
        chunk.truncate(size);
        (size > 0).then(|| String::from_utf8(chunk).unwrap())
    }

    /// The next event of a stream: its id and its message. Signs of life are passed over; none at the end of the stream.
    pub fn event(&mut self) -> Option<(String, Value)> {
        loop {
            let chunk = self.chunk()?;
            let (mut id, mut data) = (String::new(), String::new());
            for line in chunk.lines() {
                match line.split_once(": ") {
                    Some(("id", text)) => id = text.to_owned(),
                    Some(("data", text)) => data += text,
                    _ => {}
                }
            }
            if !data.is_empty() {
                return Some((id, serde_json::from_str(&data).unwrap()));
            }
        }
    }

    pub fn ask(&mut self, method: &str, headers: &[(&str, &str)], body: &str) -> Response {
        self.send(method, headers, body);
        self.response()
    }

    /// Goes on in another client's session, with ids of its own.
    pub fn join(&mut self, other: &Self) {
        self.session.clone_from(&other.session);
        self.next = other.next + 1000;
    }

    /// Begins a session of the older era.
    pub fn initialize(&mut self) {
        let response = self.ask("POST", &LEGACY, INITIALIZE);
        assert_eq!(response.status, 200, "{response:?}");
        self.session = Some(response.headers["mcp-session-id"].clone());
        let told = self.ask("POST", &LEGACY, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
        assert_eq!(told.status, 202, "{told:?}");
    }

    /// Sends a request of the older era.
    pub fn request(&mut self, method: &str, params: &str) {
        self.next += 1;
        let id = self.next;
        let body = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#);
        self.send("POST", &LEGACY, &body);
    }

    /// Calls a tool in the older era.
    pub fn call(&mut self, tool: &str, arguments: &str) -> Value {
        self.request("tools/call", &format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#));
        let response = self.response();
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }

    /// Sends a modern request, whose headers say what its body says.
    pub fn send_modern(&mut self, method: &str, name: Option<&str>, params: &str) {
        let body = modern(method, params);
        let mut headers = LEGACY.to_vec();
        headers.extend([("mcp-protocol-version", "2026-07-28"), ("mcp-method", method)]);
        headers.extend(name.map(|name| ("mcp-name", name)));
        self.send("POST", &headers, &body);
    }

    /// Calls a tool in the modern era.
    pub fn call_modern(&mut self, tool: &str, arguments: &str) -> Value {
        let params = format!(r#""name":"{tool}","arguments":{arguments}"#);
        self.send_modern("tools/call", Some(tool), &params);
        let response = self.response();
        assert_eq!(response.status, 200, "{response:?}");
        response.json()
    }
}

/// A modern request with these parameters beside `_meta`.
pub fn modern(method: &str, params: &str) -> String {
    let comma = if params.is_empty() { "" } else { "," };
    format!(
        r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{{{params}{comma}"_meta":{{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{{}}}}}}}}"#
    )
}
