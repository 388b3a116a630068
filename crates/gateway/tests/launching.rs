//! Servers as processes: their environment, and their end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    reason = "test code"
)]

use tokio::io::AsyncReadExt;
use warrantor_gateway::launch::Launch;

fn launch(script: &str) -> Launch {
    Launch {
        program: "/bin/sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: vec![("PATH".into(), "/usr/bin:/bin".into()), ("GIVEN".into(), "yes".into())],
        secrets: Vec::new(),
        directory: None,
        name: None,
    }
}

#[tokio::test]
async fn a_server_sees_the_environment_it_was_given_and_no_other() {
    let (running, stdin, mut stdout) = launch("echo \"$GIVEN-$CARGO_PKG_NAME-$HOME\"").start().unwrap();
    let mut said = String::new();
    stdout.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, "yes--\n");
    drop(stdin);
    assert!(running.end().await.unwrap().success());
}

#[tokio::test]
async fn a_server_that_does_not_end_is_ended_with_what_it_started() {
    // The grandchild holds the pipe open until it ends.
    let (running, stdin, mut stdout) =
        launch("trap '' TERM; sleep 1000 & echo started; sleep 1000").start().unwrap();
    let mut started = [0; 8];
    stdout.read_exact(&mut started).await.unwrap();
    drop(stdin);
    assert!(!running.end().await.unwrap().success());
    assert_eq!(stdout.read(&mut started).await.unwrap(), 0, "the grandchild lives on");
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error() {
    let launch = Launch { program: "/nonexistent/server".into(), ..launch("") };
    assert!(launch.start().is_err());
}
