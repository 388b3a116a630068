//! Tokens that are not for us, and ways to make them look as if they were.

use serde_json::{Value, json};

use crate::{
    plane::{Plane, ask, node, provider},
    support::{World, node_modules, run},
};

/// Tokens of a provider for an account, as a client of it gets them: through the browser, with a nonce of our choice.
fn tokens(issuer: &str, client: &str, account: &str, nonce: &str, resource: Option<&str>) -> Value {
    let mut command = node("tokens.mjs");
    command.args([issuer, client, account, nonce]).args(resource).arg(node_modules());
    serde_json::from_slice(&run(&mut command).stdout).unwrap()
}

const NONCE: &str = "0123456789abcdef";

fn begin(plane: &Plane, token: &str, nonce: &str) -> (u16, Value) {
    plane.ask("", "POST", "/v1/sessions", Some(&json!({ "id_token": token, "nonce": nonce })))
}

#[test]
fn an_id_token_counts_once_here_and_only_as_one_for_this_sign_in() {
    let world = World::new();
    let (_provider, issuer) = provider(&world);
    let (_other, elsewhere) = provider(&world);
    let plane = Plane::on(&world, &issuer);
    let good = tokens(&issuer, "warrantor", "fiona", NONCE, None);
    let good = good["id_token"].as_str().unwrap();
    let foreign = tokens(&elsewhere, "warrantor", "fiona", NONCE, None);
    let others = tokens(&issuer, "other-app", "fiona", NONCE, None);
    let parts: Vec<&str> = good.split('.').collect();
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", parts[1]);
    let cut = format!("{}.{}.", parts[0], parts[1]);
    for (name, token, nonce, part) in [
        ("of another provider", foreign["id_token"].as_str().unwrap(), NONCE, ""),
        ("for another application", others["id_token"].as_str().unwrap(), NONCE, "audience"),
        ("without a signature", &unsigned, NONCE, "algorithm"),
        ("with the signature cut off", &cut, NONCE, "signature"),
        ("of another sign-in", good, "fedcba9876543210", "nonce"),
        ("an access token", others["access_token"].as_str().unwrap(), NONCE, ""),
        ("nothing", "", NONCE, ""),
        ("no token", "a.b.c", NONCE, ""),
    ] {
        let (status, answer) = begin(&plane, token, nonce);
        assert_eq!(status, 401, "{name}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(part), "{name}: {answer}");
    }
    assert_eq!(begin(&plane, good, "short").0, 400);
    assert_eq!(begin(&plane, good, NONCE).0, 201);
    let (status, again) = begin(&plane, good, NONCE);
    assert_eq!(status, 401, "{again}");
    assert!(again["detail"].as_str().unwrap().contains("used before"), "{again}");
}

#[test]
fn an_application_acts_for_a_person_only_with_a_token_for_us() {
    let world = World::new();
    let (_provider, issuer) = provider(&world);
    let plane = Plane::on(&world, &issuer);
    let person = plane.sign_in("fiona", false);
    let ours = tokens(&issuer, "other-app", "fiona", NONCE, Some("urn:warrantor:api"));
    let token = ours["access_token"].as_str().unwrap();
    let me = plane.done(token, "GET", "/v1/me", None);
    assert_eq!(me["person"]["id"], person);
    let foreign = tokens(&issuer, "other-app", "fiona", NONCE, Some("urn:other:api"));
    assert_eq!(plane.ask(foreign["access_token"].as_str().unwrap(), "GET", "/v1/me", None).0, 401);
    // An ID token is no access token, and somebody who never signed in is nobody.
    assert_eq!(plane.ask(ours["id_token"].as_str().unwrap(), "GET", "/v1/me", None).0, 401);
    let stranger = tokens(&issuer, "other-app", "stranger", NONCE, Some("urn:warrantor:api"));
    assert_eq!(plane.ask(stranger["access_token"].as_str().unwrap(), "GET", "/v1/me", None).0, 401);
}

#[test]
fn the_same_address_at_another_issuer_is_another_person() {
    let world = World::new();
    let (_provider, issuer) = provider(&world);
    let plane = Plane::on(&world, &issuer);
    let fiona = plane.sign_in("fiona", false);
    let directory =
        world.done(&["client", "add", "evil", "--role", "provisioner", "--issuer", "https://evil.example"]);
    let user = json!({ "userName": "fiona@example.com", "externalId": "fiona", "active": true,
        "emails": [{ "value": "fiona@example.com" }] });
    let user = plane.done(directory["token"].as_str().unwrap(), "POST", "/scim/v2/Users", Some(&user));
    assert_ne!(user["id"], fiona);
}

/// A provider that answers as it is told to.
fn liar(answers: fn(&str) -> String) -> String {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let issuer = format!("http://{}", listener.local_addr().unwrap());
    let own = issuer.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            let _ = stream.read(&mut head);
            let body = answers(&own);
            let (status, body) = match body.strip_prefix("302 ") {
                Some(to) => (format!("302 Found\r\nlocation: {to}"), String::new()),
                None => ("200 OK".to_owned(), body),
            };
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    issuer
}

fn metadata(issuer: &str, jwks: &str, named: &str) -> String {
    json!({
        "issuer": named, "authorization_endpoint": format!("{issuer}/auth"),
        "token_endpoint": format!("{issuer}/token"), "jwks_uri": jwks,
    })
    .to_string()
}

#[test]
fn a_provider_sends_us_nowhere_but_where_it_may() {
    type Answers = fn(&str) -> String;
    let cases: [(&str, Answers); 6] = [
        ("another issuer", |own| metadata(own, &format!("{own}/jwks"), "https://login.example.com")),
        ("a file", |own| metadata(own, "file:///etc/passwd", own)),
        ("a machine of the inner network", |own| {
            metadata(own, "http://169.254.169.254/latest/meta-data", own)
        }),
        ("a name with a password", |own| metadata(own, "https://user:secret@example.com/jwks", own)),
        ("a redirect", |_| "302 http://169.254.169.254/latest/meta-data".to_owned()),
        ("more than is read", |_| " ".repeat(1 << 20)),
    ];
    let world = World::new();
    for (name, answers) in cases {
        let issuer = liar(answers);
        let plane = Plane::on(&world, &issuer);
        let (status, answer) = ask(&plane.url, "", "GET", "/v1/sign-in", None);
        assert_eq!(status, 502, "{name}: {answer}");
        assert!(!answer.to_string().contains("secret@"), "{name}: {answer}");
    }
}
