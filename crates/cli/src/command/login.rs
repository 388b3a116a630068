//! `login`, `logout`, `whoami`: a person's session at a control plane.
//!
//! The person signs in at the identity provider: in a browser on this machine, which brings a code back to a port of ours (RFC 8252, with PKCE, RFC 7636),
//! or on another device that a code is typed into (RFC 8628). The ID token that comes of it becomes a session of the control plane.

use std::{collections::BTreeMap, fs, os::unix::fs::DirBuilderExt, path::PathBuf, time::Duration};

use anyhow::{Context, bail};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};
use url::Url;
use warrantor_control::approvals::FRESH;
use warrantor_model::{Digest, Randomness};

use super::people::session_on_host;
use crate::{
    args::{LoginArgs, ServerArgs},
    command::block_on,
    http::{Sent, ask, write_private},
    output::{Exit, Output, Usage},
    system::SystemBytes,
};

/// How long a person may take to sign in.
const SIGN_IN: Duration = Duration::from_secs(5 * 60);
/// How long a session that is begun on the host lasts.
const HOST_SESSION: Duration = Duration::from_secs(8 * 60 * 60);
/// The longest wait between two questions about a device's code.
const LONGEST_INTERVAL: u64 = 60;

/// A session as it is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    token: String,
    person: String,
    expires_at: String,
}

/// What `login` answers.
#[derive(Serialize)]
struct LoggedIn<'a> {
    server: &'a str,
    person: &'a str,
    expires_at: &'a str,
    kept_in: String,
}

/// How to sign in, as the control plane tells it.
#[derive(Deserialize)]
struct SignIn {
    issuer: String,
    client_id: String,
    authorization_endpoint: String,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    scope: String,
}

fn file() -> anyhow::Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
    let Some(base) = base else { bail!("there is nowhere to keep a session: set HOME or XDG_CONFIG_HOME") };
    let directory = base.join("warrantor");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("{} cannot be made", directory.display()))?;
    Ok(directory.join("sessions.json"))
}

fn sessions() -> anyhow::Result<BTreeMap<String, Kept>> {
    let file = file()?;
    match fs::read(&file) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is no file of sessions", file.display())),
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => Ok(BTreeMap::new()),
        Err(cause) => Err(cause).with_context(|| format!("{} cannot be read", file.display())),
    }
}

fn keep(sessions: &BTreeMap<String, Kept>) -> anyhow::Result<()> {
    write_private(&file()?, &serde_json::to_vec_pretty(sessions)?)
}

/// The control plane's address without a slash at its end. Tokens go to nobody in the clear but ourselves.
fn server(args: &ServerArgs) -> anyhow::Result<String> {
    let wrong = |why: &str| Usage(format!("--server {}: {why}", args.server));
    let url =
        Url::parse(&args.server).map_err(|_| wrong("write a URL such as https://warrantor.example.com"))?;
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        _ => return Err(wrong("https is needed, or http on this machine").into()),
    }
    Ok(args.server.trim_end_matches('/').to_owned())
}

/// A member that is a text.
fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value.get(name).and_then(Value::as_str)
}

pub(super) fn problem(status: StatusCode, answer: &Value) -> anyhow::Error {
    let detail = text(answer, "detail").or_else(|| text(answer, "error_description"));
    let title = text(answer, "title").or_else(|| text(answer, "error")).unwrap_or("it was refused");
    match detail {
        Some(detail) => anyhow::anyhow!("{title}: {detail} ({status})"),
        None => anyhow::anyhow!("{title} ({status})"),
    }
}

pub(crate) fn login(args: &LoginArgs, out: Output) -> anyhow::Result<Exit> {
    let server = server(&args.server)?;
    block_on(async {
        let kept = match &args.as_person {
            Some(person) => {
                let made = session_on_host(&args.place, person, HOST_SESSION).await?;
                Kept {
                    token: made.token,
                    person: person.to_string(),
                    expires_at: made.what.expires_at.to_string(),
                }
            }
            None => sign_in(&server, args.device, out).await?,
        };
        let mut all = sessions()?;
        all.insert(server.clone(), kept.clone());
        keep(&all)?;
        let kept_in = file()?.display().to_string();
        let answer =
            LoggedIn { server: &server, person: &kept.person, expires_at: &kept.expires_at, kept_in };
        out.answer(&answer, |to| {
            writeln!(to, "You are {} at {server} until {}", answer.person, answer.expires_at)
        })?;
        Ok(Exit::Done)
    })
}

fn secret() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    SystemBytes::new().fill(&mut bytes)?;
    Ok(BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

async fn sign_in(server: &str, device: bool, out: Output) -> anyhow::Result<Kept> {
    let (status, how) = ask(Method::GET, &format!("{server}/v1/sign-in"), None, Sent::Nothing).await?;
    if status != StatusCode::OK {
        return Err(problem(status, &how));
    }
    let how: SignIn = serde_json::from_value(how).context("the control plane does not say how to sign in")?;
    let nonce = secret()?;
    // A code that is typed into another device carries no nonce (RFC 8628).
    let (tokens, nonce) = match device {
        true => (by_device(&how, out).await?, None),
        false => (by_browser(&how, &nonce, out).await?, Some(nonce)),
    };
    let Some(id_token) = text(&tokens, "id_token") else { bail!("the identity provider gave no ID token") };
    let body = json!({ "id_token": id_token, "nonce": nonce });
    let (status, session) =
        ask(Method::POST, &format!("{server}/v1/sessions"), None, Sent::Json(&body)).await?;
    if status != StatusCode::CREATED {
        return Err(problem(status, &session));
    }
    serde_json::from_value(session).context("the control plane gave no session")
}

/// A browser on this machine, which brings the code back to a port of ours.
async fn by_browser(how: &SignIn, nonce: &str, out: Output) -> anyhow::Result<Value> {
    let listener =
        TcpListener::bind(("127.0.0.1", 0)).await.context("no port on this machine can be listened on")?;
    let redirect = format!("http://127.0.0.1:{}/callback", listener.local_addr()?.port());
    let (state, verifier) = (secret()?, secret()?);
    let challenge = BASE64_URL_SAFE_NO_PAD.encode(Digest::of(verifier.as_bytes()).as_bytes());
    let mut url = Url::parse(&how.authorization_endpoint).context("the provider's address cannot be used")?;
    url.query_pairs_mut().extend_pairs([
        ("response_type", "code"),
        ("client_id", &how.client_id),
        ("redirect_uri", &redirect),
        ("scope", &how.scope),
        ("state", &state),
        ("nonce", nonce),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        // Somebody who was asked to sign in again has to, and the token says when they did.
        ("max_age", &FRESH.as_secs().to_string()),
    ]);
    out.note(&format!("Sign in with your browser at\n  {url}\nand come back here."));
    let code = tokio::time::timeout(SIGN_IN, code(&listener, &state, &how.issuer))
        .await
        .context("nobody signed in in time")??;
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", &redirect),
        ("client_id", &how.client_id),
        ("code_verifier", &verifier),
    ];
    let (status, tokens) = ask(Method::POST, &how.token_endpoint, None, Sent::Form(&form)).await?;
    if status == StatusCode::OK { Ok(tokens) } else { Err(problem(status, &tokens)) }
}

/// Waits for the browser to bring a code that belongs to this sign-in. Whatever else comes is told so, and waited on.
async fn code(listener: &TcpListener, state: &str, issuer: &str) -> anyhow::Result<String> {
    loop {
        let (stream, _) = listener.accept().await?;
        // One that says nothing must not keep the browser from being heard.
        let heard = tokio::time::timeout(Duration::from_secs(5), callback(stream, state, issuer)).await;
        if let Ok(Ok(Some(found))) = heard {
            return found.map_err(|refused| anyhow::anyhow!("the provider says: {refused}"));
        }
    }
}

/// Reads one request of the browser: the code, or how the provider refused it; none when it is neither.
async fn callback(
    stream: TcpStream,
    state: &str,
    issuer: &str,
) -> anyhow::Result<Option<Result<String, String>>> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    (&mut reader).take(8192).read_line(&mut line).await?;
    let path = line.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
    let found = Url::parse(&format!("http://127.0.0.1{path}"))
        .ok()
        .filter(|url| url.path() == "/callback")
        .and_then(|url| {
            let get = |name: &str| {
                url.query_pairs().find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
            };
            // Only what carries our own state is an answer to us.
            (get("state").as_deref() == Some(state)).then_some(())?;
            // Another provider's answer must not be taken to this one (RFC 9207).
            if get("iss").is_some_and(|named| named != issuer) {
                return Some(Err("the answer is another provider's".to_owned()));
            }
            match (get("code"), get("error")) {
                (Some(code), None) => Some(Ok(code)),
                (_, Some(error)) => Some(Err(get("error_description").unwrap_or(error))),
                (None, None) => None,
            }
        });
    let (status, text) = match &found {
        Some(Ok(_)) => ("200 OK", "You can close this window and go back to the terminal."),
        Some(Err(_)) => ("200 OK", "It was refused. The terminal tells why."),
        None => ("404 Not Found", "There is nothing here."),
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\nCache-Control: no-store\r\n\r\n{text}",
        text.len()
    );
    reader.write_all(answer.as_bytes()).await?;
    reader.shutdown().await?;
    Ok(found)
}

/// Another device, which a code is typed into (RFC 8628).
async fn by_device(how: &SignIn, out: Output) -> anyhow::Result<Value> {
    let Some(endpoint) = &how.device_authorization_endpoint else {
        bail!("the identity provider knows no sign-in on another device: leave --device out");
    };
    let form = [("client_id", how.client_id.as_str()), ("scope", &how.scope)];
    let (status, asked) = ask(Method::POST, endpoint, None, Sent::Form(&form)).await?;
    if status != StatusCode::OK {
        return Err(problem(status, &asked));
    }
    let needed = |name: &str| {
        text(&asked, name).map(str::to_owned).with_context(|| format!("the provider gave no {name}"))
    };
    let (device_code, user_code, uri) =
        (needed("device_code")?, needed("user_code")?, needed("verification_uri")?);
    out.note(&format!("On any device, open\n  {uri}\nand type the code\n  {user_code}"));
    let mut interval = asked.get("interval").and_then(Value::as_u64).unwrap_or(5).clamp(1, LONGEST_INTERVAL);
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("device_code", device_code.as_str()),
        ("client_id", &how.client_id),
    ];
    let asking = async {
        loop {
            tokio::time::sleep(Duration::from_secs(interval)).await;
            let (status, answer) = ask(Method::POST, &how.token_endpoint, None, Sent::Form(&form)).await?;
            match text(&answer, "error") {
                _ if status == StatusCode::OK => return Ok(answer),
                Some("authorization_pending") => {}
                Some("slow_down") => interval = interval.saturating_add(5).min(LONGEST_INTERVAL),
                _ => return Err(problem(status, &answer)),
            }
        }
    };
    tokio::time::timeout(SIGN_IN, asking).await.context("nobody signed in in time")?
}

/// The address of a control plane as it is asked, and the token of the session there.
pub(super) fn session(url: &str) -> anyhow::Result<(String, String)> {
    let server = server(&ServerArgs { server: url.to_owned() })?;
    let token = kept(&server)?.token;
    Ok((server, token))
}

/// The session at a control plane, if there is one.
fn kept(server: &str) -> anyhow::Result<Kept> {
    sessions()?.remove(server).ok_or_else(|| {
        Usage(format!("you have no session at {server}: `warrantor login --server {server}`")).into()
    })
}

pub(crate) fn whoami(args: &ServerArgs, out: Output) -> anyhow::Result<Exit> {
    let server = server(args)?;
    let kept = kept(&server)?;
    let (status, me) = block_on(async {
        ask(Method::GET, &format!("{server}/v1/me"), Some(&kept.token), Sent::Nothing).await
    })?;
    if status != StatusCode::OK {
        return Err(problem(status, &me));
    }
    out.answer(&me, |to| {
        let person = me.pointer("/person/id").and_then(Value::as_str).unwrap_or(&kept.person);
        let roles: Vec<&str> = me
            .get("roles")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let roles = if roles.is_empty() { "no role".to_owned() } else { roles.join(", ") };
        writeln!(to, "You are {person} at {server} ({roles}) until {}", kept.expires_at)
    })?;
    Ok(Exit::Done)
}

pub(crate) fn logout(args: &ServerArgs, out: Output) -> anyhow::Result<Exit> {
    let server = server(args)?;
    let kept = kept(&server)?;
    let ended = block_on(async {
        ask(Method::DELETE, &format!("{server}/v1/sessions/current"), Some(&kept.token), Sent::Nothing).await
    });
    let mut all = sessions()?;
    all.remove(&server);
    keep(&all)?;
    // What the server does not know any more has ended.
    match ended {
        Ok((StatusCode::NO_CONTENT | StatusCode::UNAUTHORIZED, _)) => {}
        Ok((status, answer)) => return Err(problem(status, &answer)),
        Err(cause) => {
            return Err(
                cause.context("the session was forgotten here, and goes on at the server until its end")
            );
        }
    }
    out.answer(&json!({ "server": server }), |to| writeln!(to, "Your session at {server} has ended"))?;
    Ok(Exit::Done)
}
