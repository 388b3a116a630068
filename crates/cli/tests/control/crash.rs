//! The control plane killed at any moment: what it acknowledged is there, and the ledger verifies.

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;

use crate::{plane::Plane, support::World};

#[test]
fn what_was_acknowledged_before_a_kill_stands_after_it() {
    let world = World::new();
    for (round, millis) in [40u64, 90, 170].into_iter().enumerate() {
        let mut plane = Plane::on(&world, "http://127.0.0.1:1");
        let made = world.done(&[
            "client",
            "add",
            &format!("okta-{round}"),
            "--role",
            "provisioner",
            "--issuer",
            "https://a.example",
        ]);
        let token = made["token"].as_str().unwrap().to_owned();
        let acknowledged = Arc::new(Mutex::new(Vec::new()));
        let writers: Vec<_> = (0..4)
            .map(|writer| {
                let (url, token, acknowledged) =
                    (plane.url.clone(), token.clone(), Arc::clone(&acknowledged));
                std::thread::spawn(move || {
                    for nth in 0.. {
                        let name = format!("u{round}-{writer}-{nth}");
                        let Some(id) = create(&url, &token, &name) else { return };
                        acknowledged.lock().unwrap().push((name, id));
                    }
                })
            })
            .collect();
        // However far they have come.
        std::thread::sleep(Duration::from_millis(millis));
        plane.running.child.kill().unwrap();
        plane.running.child.wait().unwrap();
        writers.into_iter().for_each(|writer| writer.join().unwrap());
        let again = Plane::on(&world, "http://127.0.0.1:1");
        for (name, id) in acknowledged.lock().unwrap().iter() {
            let user = again.done(&token, "GET", &format!("/scim/v2/Users/{id}"), None);
            assert_eq!(user["userName"], json!(name));
        }
        drop(again);
        world.verified();
    }
}

/// Creates a user; its id, if that was acknowledged.
fn create(url: &str, token: &str, name: &str) -> Option<String> {
    let authority = url.trim_start_matches("http://");
    let mut stream = TcpStream::connect(authority).ok()?;
    let body = json!({ "userName": name, "externalId": name, "active": true }).to_string();
    let text = format!(
        "POST /scim/v2/Users HTTP/1.1\r\nhost: {authority}\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-type: application/scim+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    assert!(head.starts_with("HTTP/1.1 201"), "{answer}");
    let body: serde_json::Value = serde_json::from_str(body).ok()?;
    Some(body["id"].as_str()?.to_owned())
}
