//! The OpenAPI document against the real program: schemathesis sends what fits it and what does not.

use std::process::Command;

use crate::{
    plane::Running,
    support::{World, python, warrantor},
};

#[test]
fn no_request_that_schemathesis_makes_ends_in_a_fault_of_ours_or_an_answer_that_is_not_described() {
    let world = World::new();
    let mut command = warrantor();
    command.args(["dev", "--port", "0", "-o", "json"]);
    let plane = Running::start(&mut command, &world.path(""));
    let url = plane.said["url"].as_str().unwrap();
    let token = plane.said["sessions"][0]["token"].as_str().unwrap();
    let tester = python().with_file_name("schemathesis");
    let output = Command::new(tester)
        .current_dir(world.path(""))
        .args(["run", &format!("{url}/openapi.json"), "--no-color", "--seed", "7", "--max-examples", "15"])
        .args(["--header", &format!("Authorization: Bearer {token}")])
        // Acts that end what later requests need: they are tried by the matrix.
        .args(["--exclude-operation-id", "endSession", "--exclude-operation-id", "endSessions"])
        .args(["--exclude-operation-id", "suspendPerson", "--exclude-operation-id", "personLeaves"])
        .args(["--exclude-operation-id", "giveRoles"])
        .args(["--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,negative_data_rejection"])
        .args(["--phases", "examples,coverage,fuzzing"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        plane.stderr()
    );
}
