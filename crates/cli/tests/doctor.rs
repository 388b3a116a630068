//! `warrantor doctor`: what is wrong is said with its cure, and nothing is changed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "test code"
)]

mod support;

use std::{fs, os::unix::fs::PermissionsExt, process::Stdio};

use serde_json::{Value, json};
use support::{World, http::Gateway, python, script, warrantor};

const BOT: (&str, &str, &[&str]) = ("laptop", "bot", &["work"]);

/// What it found, by what it looked at, and its exit code.
fn doctor(world: &World, arguments: &[&str]) -> (Vec<Value>, i32) {
    let mut command = warrantor();
    command.args(["doctor", "-o", "json"]).args(arguments).current_dir(world.path("")).stdin(Stdio::null());
    let output = command.output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|cause| panic!("{cause}: {}", String::from_utf8_lossy(&output.stderr)));
    (told["findings"].as_array().unwrap().clone(), output.status.code().unwrap())
}

fn standing<'a>(found: &'a [Value], what: &str) -> (&'a str, &'a str) {
    let of = |finding: &&Value| finding["what"].as_str().unwrap().ends_with(what);
    let worst = found
        .iter()
        .filter(of)
        .max_by_key(|f| ["ok", "warning", "wrong"].iter().position(|s| f["standing"] == *s));
    let worst = worst.unwrap_or_else(|| panic!("{what} was not looked at: {found:#?}"));
    (worst["standing"].as_str().unwrap(), worst["says"].as_str().unwrap())
}

#[test]
fn what_is_wrong_is_said_and_what_is_well_too() {
    let world = World::new();
    let mut gateway = Gateway::before(&world, &[BOT], "");
    assert!(gateway.session("laptop").call("echo", "{}")["result"].is_object());
    assert!(gateway.stop().success());
    let (found, code) = doctor(&world, &["--config", "gateway.toml"]);
    assert_eq!(code, 0, "{found:#?}");
    for what in ["gateway.toml", "data", "stop file", "listen", "server fake"] {
        assert_eq!(standing(&found, what).0, "ok", "{what}: {found:#?}");
    }
    assert_eq!(standing(&found, "keys").0, "warning", "{found:#?}");

    // A server that is not what was reviewed, one that is not there, a lockdown, a directory that others read.
    let tools = fs::read_to_string(world.path("upstream/tools.json")).unwrap();
    world.write(
        "upstream/tools.json",
        &tools.replacen("\"description\":", "\"title\":\"x\",\"description\":", 1),
    );
    world.done(&["lockdown"]);
    fs::set_permissions(world.data(), fs::Permissions::from_mode(0o755)).unwrap();
    let (found, code) = doctor(&world, &["--config", "gateway.toml"]);
    assert_eq!(code, 1, "{found:#?}");
    assert_eq!(standing(&found, "server fake").0, "warning", "{found:#?}");
    assert_eq!(standing(&found, "stop file"), ("warning", "a lockdown is in force: nothing passes"));
    assert_eq!(standing(&found, "data").0, "wrong");

    let command = json!([python(), "-I", "-S", script("nothing.py")]);
    let config = format!(
        "bundle = \"bundle\"\ndata = \"data\"\ntokens = \"tokens.toml\"\nmetrics = \"1.2.3\"\n[servers.fake]\ncommand = {command}\n"
    );
    world.write("gateway.toml", &config);
    let (found, code) = doctor(&world, &["--config", "gateway.toml"]);
    assert_eq!(code, 1);
    assert!(standing(&found, "gateway.toml").1.contains("is no address with a port"), "{found:#?}");
    world.write("gateway.toml", &config.replace("metrics = \"1.2.3\"\n", ""));
    let (found, code) = doctor(&world, &["--config", "gateway.toml"]);
    assert_eq!((code, standing(&found, "server fake").0), (1, "wrong"), "{found:#?}");
}

#[test]
fn a_data_directory_that_is_not_there_is_no_fault_and_is_not_made() {
    let world = World::new();
    let (found, code) = doctor(&world, &["--data", "nowhere"]);
    assert_eq!((code, standing(&found, "nowhere").0), (0, "warning"), "{found:#?}");
    assert!(!world.path("nowhere").exists());
}
