//! The whole way: people sign in, an agent is approved, a task is handed over and worked on; then the directory says that the person is gone.

use serde_json::json;

use crate::{
    plane::{Plane, provider},
    support::{
        World,
        http::{Gateway, LEGACY},
        reason_of, text_of,
    },
};

#[test]
fn a_person_who_leaves_the_directory_ends_what_their_agent_does_at_the_very_next_call() {
    let world = World::new();
    let (_provider, issuer) = provider(&world);
    let plane = Plane::on(&world, &issuer);
    assert_eq!(plane.running.said["has_administrator"], false);
    // Two people sign in, one with a browser and one on another device; the host makes one of them an administrator.
    let fiona = plane.sign_in("fiona", false);
    let otto = plane.sign_in("otto", true);
    world.done(&["person", "roles", &otto, "--role", "administrator"]);
    let (fiona_token, otto_token) = (plane.token("fiona"), plane.token("otto"));
    let me = plane.done(&fiona_token, "GET", "/v1/me", None);
    assert_eq!(
        (me["person"]["subject"].as_str(), me["person"]["id"].as_str()),
        (Some("fiona"), Some(fiona.as_str()))
    );
    // The directory knows fiona by what the provider's tokens call her.
    let okta = world.done(&["client", "add", "okta", "--role", "provisioner", "--issuer", &issuer]);
    let okta = okta["token"].as_str().unwrap();
    let user = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": "fiona@example.com", "externalId": "fiona", "displayName": "Fiona", "active": true,
        "emails": [{ "value": "fiona@example.com", "primary": true, "type": "work" }],
    });
    let user = plane.done(okta, "POST", "/scim/v2/Users", Some(&user));
    assert_eq!(user["id"], fiona);
    // She proposes an agent, somebody else approves it, and she hands it a task.
    let spec = json!({
        "owner": otto, "sponsors": [otto], "purpose": "tests", "risk": "low", "servers": ["fake"], "effects": ["read"],
    });
    let (refused, _) = plane.ask(&fiona_token, "PUT", "/v1/agents/clerk/proposal", Some(&spec));
    assert_eq!(refused, 403, "an agent of somebody else was proposed");
    let spec = json!({
        "owner": fiona, "sponsors": [fiona], "deputies": [otto], "purpose": "tests", "risk": "low",
        "servers": ["fake"], "effects": ["read"],
    });
    let proposed = plane.done(&fiona_token, "PUT", "/v1/agents/clerk/proposal", Some(&spec));
    let digest = json!({ "digest": proposed["proposal"]["digest"] });
    plane.done(&otto_token, "POST", "/v1/agents/clerk/approve", Some(&digest));
    let task = json!({ "mandate": {
        "id": "look-around", "agent": "clerk", "purpose": "look around", "expires_in": "1h",
        "grants": [{ "tool": "fake/echo" }],
    } });
    let shown = plane.done(&fiona_token, "POST", "/v1/mandates/preview", Some(&task));
    let mut agreed = task.clone();
    agreed["agreed"] = shown["agreed"].clone();
    let mandate = plane.done(&fiona_token, "POST", "/v1/mandates", Some(&agreed));
    let mandate = mandate["id"].as_str().unwrap().to_owned();
    // The agent works through a gateway that knows it from the control plane only.
    let digest = warrantor_model_digest("clerk-token");
    let tokens = format!("[tokens.clerk]\nsha256 = \"{digest}\"\nagent = \"clerk\"\nhanded_over = true\n");
    let gateway = Gateway::before(&world, &[("laptop", "bot", &["work"])], "");
    world.write(
        "tokens.toml",
        &(std::fs::read_to_string(world.path("tokens.toml")).unwrap() + "\n" + &tokens),
    );
    gateway.hangup();
    let mut client = gateway.client("laptop");
    client.token = Some("clerk-token".to_owned());
    let named = [LEGACY[0], LEGACY[1], ("warrantor-mandate", mandate.as_str())];
    let begun = std::time::Instant::now();
    // The hangup is read beside what is served.
    let answer = loop {
        let answer = client.ask("POST", &named, INITIALIZE);
        if answer.status == 200 {
            break answer;
        }
        assert!(begun.elapsed().as_secs() < 20, "{answer:?}\n{}", gateway.stderr());
    };
    client.session = Some(answer.headers["mcp-session-id"].clone());
    let told = client.ask("POST", &LEGACY, r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    assert_eq!(told.status, 202);
    assert!(text_of(&client.call("echo", r#"{"text":"hello"}"#)).unwrap().contains("hello"));
    let mut listening = gateway.client("laptop");
    listening.token.clone_from(&client.token);
    listening.join(&client);
    listening.send("GET", &[("accept", "text/event-stream")], "");
    assert!(listening.head().is_stream());
    // Another agent's token reaches nothing of hers.
    let mut other = gateway.client("laptop");
    let foreign = other.ask("POST", &named, INITIALIZE);
    assert_eq!(foreign.status, 403, "{foreign:?}");
    // She is deactivated in the directory.
    let patch = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "value": { "active": false } }],
    });
    plane.done(okta, "PATCH", &format!("/scim/v2/Users/{fiona}"), Some(&patch));
    let refused = client.ask("POST", &LEGACY, r#"{"jsonrpc":"2.0","id":9,"method":"tools/call","params":{"name":"echo","arguments":{"text":"again"}}}"#);
    if refused.status == 200 {
        assert_eq!(reason_of(&refused.json()).as_deref(), Some("person_inactive"), "{refused:?}");
    } else {
        // The stop may have ended the session before.
        assert_eq!(refused.status, 404, "{refused:?}");
    }
    assert_eq!(listening.event(), None, "the stream went on");
    assert_eq!(plane.ask(&fiona_token, "GET", "/v1/me", None).0, 401);
    let (status, _) = plane.ask(&fiona_token, "POST", "/v1/mandates", Some(&task));
    assert_eq!(status, 401);
    // The record says who, when, why.
    let acts = world.events("act");
    let said = format!("{fiona} deactivated");
    let stop = acts.iter().find(|act| act["changes"] == json!([said])).unwrap();
    assert_eq!(
        (stop["act"].as_str(), stop["actor"].as_str()),
        (Some("directory:provision"), Some("client:okta"))
    );
    assert!(stop["evidence"].as_str().unwrap().starts_with("token "), "{stop}");
    assert_eq!(stop["policies"], json!(["provisioners-tell-who-there-is"]));
    let handed = world.events("handover");
    let handed = handed.iter().find(|one| one["mandate"] == mandate).unwrap();
    assert!(handed["evidence"].as_str().unwrap().contains("signed in with http://127.0.0.1"), "{handed}");
    assert_eq!(handed["shown"], shown["agreed"]);
    // A deputy takes the agent over; the task was hers and stays ended.
    plane.done(&otto_token, "POST", "/v1/agents/clerk/take-over", Some(&json!({ "take": "owner" })));
    plane.done(&otto_token, "POST", "/v1/agents/clerk/take-over", Some(&json!({ "take": "sponsor" })));
    let (status, _) = plane.ask(&otto_token, "GET", "/v1/agents?orphaned=true", None);
    assert_eq!(status, 200);
    let mut again = gateway.client("laptop");
    again.token.clone_from(&client.token);
    let answer = again.ask("POST", &named, INITIALIZE);
    assert_ne!(answer.status, 200, "{answer:?}");
    drop(plane);
    world.verified();
}

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"test","version":"1"}}}"#;

/// The SHA-256 digest of a text, in hexadecimal.
fn warrantor_model_digest(text: &str) -> String {
    let output = crate::support::run(std::process::Command::new("sh").args([
        "-c",
        "printf %s \"$0\" | sha256sum",
        text,
    ]));
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn a_session_is_whose_it_is_until_it_is_ended() {
    let world = World::new();
    world.write("bundle/warrantor.toml", "[directory]\ngroups = [\"finance\"]\n");
    let (_provider, issuer) = provider(&world);
    let mut plane = Plane::on(&world, &issuer);
    let person = plane.sign_in("fiona", false);
    let whoami = crate::support::run(&mut plane.command("fiona", &["whoami"]));
    let me: serde_json::Value = serde_json::from_slice(&whoami.stdout).unwrap();
    assert_eq!(me["person"]["id"], person);
    assert_eq!(me["person"]["groups"], json!(["finance"]));
    // Whoever signs in again is the same person.
    assert_eq!(plane.sign_in("fiona", true), person);
    let token = plane.token("fiona");
    crate::support::run(&mut plane.command("fiona", &["logout"]));
    assert_eq!(plane.ask(&token, "GET", "/v1/me", None).0, 401);
    let without = plane.command("fiona", &["whoami"]).output().unwrap();
    assert_eq!(without.status.code(), Some(2), "{}", String::from_utf8_lossy(&without.stderr));
    let mode = std::os::unix::fs::PermissionsExt::mode;
    let kept = std::fs::metadata(world.path("data/warrantor.db")).unwrap();
    assert_eq!(mode(&kept.permissions()) & 0o077, 0);
    assert!(plane.running.stop().success(), "{}", plane.running.stderr());
    assert!(!plane.running.stderr().contains(&token), "a token is in the log");
}
