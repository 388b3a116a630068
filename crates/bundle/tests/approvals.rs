//! What serve.toml and gateway.toml say of questions: where they are answered, who is told of them, and how long a call waits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use std::{fs, path::Path, time::Duration};

use warrantor_bundle::{Report, STARTER_SERVER, gateway::load_gateway, serve::load_serve, starter};

/// What is loaded of a file of this name, beside a bundle, or what is wrong with it.
fn read<T>(name: &str, text: &str, load: impl Fn(&Path) -> Result<T, Report>) -> Result<T, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join(name);
    for (path, text) in starter("/home/alice", "alice").unwrap() {
        let path = dir.path().join("bundle").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::write(dir.path().join("tokens"), "").unwrap();
    fs::write(&file, format!("bundle = \"bundle\"\n{text}")).unwrap();
    load(&file).map_err(|report| {
        let told = report.diagnostics().iter().map(|one| format!("{} {one}", one.place()));
        told.collect::<Vec<_>>().join("\n")
    })
}

const PROVIDER: &str = "[provider]\nissuer = \"https://login.example.com\"\nclient_id = \"warrantor\"\n";

#[test]
fn pages_and_notices_go_where_nobody_reads_along() {
    let check = |text: &str, wrong: &str| match (read("serve.toml", text, load_serve), wrong) {
        (Ok(_), "") => {}
        (Err(told), wrong) if !wrong.is_empty() && told.contains(wrong) => {}
        (got, _) => panic!("{text}: {:?}", got.err()),
    };
    let pages = |url: &str| format!("{PROVIDER}[approvals]\nurl = \"{url}\"\n");
    check(&pages("https://control.example.com"), "");
    check(&pages("http://127.0.0.1:8421"), "");
    check("[approvals]\nurl = \"https://control.example.com\"\n", "cannot sign in");
    for bad in [
        "http://control.example.com",
        "https://control.example.com/approvals",
        "control.example.com",
        "https://u@c.example.com",
    ] {
        check(&pages(bad), "is no address of a server");
    }
    let notices =
        |url: &str| format!("[[approvals.notices]]\nurl = \"{url}\"\nsecret_file = \"notices.secret\"\n");
    check(&notices("https://chat.example.com/hooks/1?key=2"), "");
    check(&notices("http://localhost:9/hook"), "");
    for bad in [
        "http://chat.example.com/hook",
        "chat",
        "ftp://chat.example.com",
        "https://u:p@chat.example.com/",
        "https://:p@chat.example.com/",
        "https://chat.example.com/#x",
    ] {
        check(&notices(bad), "no address that notices could be sent to");
    }
    check("[[approvals.notices]]\nurl = \"https://chat.example.com\"\n", "secret_file");
    let told = read("serve.toml", &notices("https://chat.example.com/"), load_serve).unwrap();
    assert_eq!((told.pages, told.notices.len()), (None, 1));
    assert!(told.notices[0].secret.is_absolute() && told.notices[0].secret.ends_with("notices.secret"));
}

#[test]
fn a_gateway_sends_clients_to_a_page_and_lets_a_call_wait_for_so_long() {
    let servers = format!("[servers.{STARTER_SERVER}]\ncommand = [\"true\"]\n");
    let of = |approvals: &str| {
        read("gateway.toml", &format!("tokens = \"tokens\"\n{approvals}{servers}"), load_gateway)
            .map(|config| config.asking)
    };
    let none = of("").unwrap();
    assert_eq!((none.page, none.hold), (None, Duration::ZERO));
    let some = of("[approvals]\npage = \"https://control.example.com/approvals\"\nhold = \"20s\"\n").unwrap();
    assert_eq!(some.page.as_deref(), Some("https://control.example.com/approvals"));
    assert_eq!(some.hold, Duration::from_secs(20));
    for (approvals, wrong) in [
        ("page = \"https://control.example.com\"", "is no address of a page"),
        ("page = \"http://control.example.com/approvals\"", "is no address of a page"),
        ("page = \"https://control.example.com/approvals?x=1\"", "is no address of a page"),
        ("hold = \"11m\"", "longer than 10 minutes"),
        ("hold = \"soon\"", "soon"),
        ("wait = \"20s\"", "wait"),
    ] {
        let told = of(&format!("[approvals]\n{approvals}\n")).unwrap_err();
        assert!(told.contains(wrong), "{approvals}: {told}");
    }
}
