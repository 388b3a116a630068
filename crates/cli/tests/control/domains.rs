//! Two domains: an agent whose task was handed over in one works with a tool of the other, and both keep the same books of it.

use serde_json::{Value, json};

use crate::{
    oauth::{Different, Place, free},
    support::{fixture, reason_of, run, text_of, warrantor},
};

const ACME: &str = "  - id: acme\n    owner: bob\n    sponsors: [bob]\n    purpose: stands for another domain\n    status: active\n    ceiling: { servers: [fake], effects: [read, write, pay] }\n";

/// Home, where alice hands a task over, and abroad, where bob has said what agents of that domain may do.
fn two() -> (Place, Place, Value) {
    let address = || format!("http://127.0.0.1:{}", free());
    let (here, there, tools) = (address(), address(), address());
    let gives = format!(
        "[[tokens.domains]]\nissuer = \"{there}\"\n[tokens.domains.gives]\nresources = [\"{tools}/\"]\nserver = \"fake\"\nclients = {{ bot = \"bot\" }}\n"
    );
    let home = Place::with(&Different { serve: &gives, control: Some(&here), ..Different::default() });
    let accepts = format!(
        "[[tokens.domains]]\nissuer = \"{here}\"\n[tokens.domains.accepts]\nclients = [\"bot\"]\nagent = \"acme\"\nserver = \"fake\"\n"
    );
    let partner = fixture("mandate.yaml")
        .replace("id: work", "id: partner")
        .replace("person: alice", "person: bob")
        .replace("agent: bot", "agent: acme")
        .replace("expires_in: 1h", "expires_in: 2h")
        + "delegation: { depth: 1 }\n";
    let abroad = Place::with(&Different {
        serve: &accepts,
        control: Some(&there),
        tools: Some(&tools),
        agents: ACME,
        mandate: Some(("partner", &partner)),
        ..Different::default()
    });
    let bundle = abroad.world.path("bundle");
    let partner =
        abroad.world.done(&["mandate", "handover", "partner", "--bundle", bundle.to_str().unwrap()]);
    (home, abroad, partner)
}

#[test]
fn a_task_of_one_domain_is_worked_on_in_another_and_stopped_by_either() {
    let (home, abroad, partner) = two();
    let alice = home.signed_in("alice");
    let order = |steps: Value| {
        json!({
            "home": home.plane.said["url"], "mandate": home.mandate, "subject": alice["access_token"], "subject_type": "access_token", "steps": steps, "mode": "legacy",
        })
    };
    let pay = |amount: u64| json!(["call", "pay", { "amount": amount }]);
    let told =
        abroad.agent("bot", &order(json!([["call", "echo", { "text": "from afar" }], pay(60), pay(101)])));
    let steps = told["steps"].as_array().unwrap_or_else(|| panic!("{told}\n{}", home.plane.stderr()));
    assert!(text_of(&json!({ "result": steps[0] })).unwrap().contains("from afar"), "{told}");
    assert_eq!(reason_of(&json!({ "result": steps[1] })), None, "{told}");
    assert_eq!(
        reason_of(&json!({ "result": steps[2] })).as_deref(),
        Some("argument_out_of_bounds"),
        "{told}"
    );
    // What is limited is limited over all tokens of the task: 60 of 100 are spent.
    let told = abroad.agent("bot", &order(json!([pay(41), pay(40)])));
    assert_eq!(reason_of(&json!({ "result": told["steps"][0] })).as_deref(), Some("limit_reached"), "{told}");
    assert_eq!(reason_of(&json!({ "result": told["steps"][1] })), None, "{told}");
    let passed: Vec<Value> =
        abroad.world.events("decision").into_iter().filter(|one| one["verdict"] == "pass").collect();
    let evidence = passed[0]["evidence"].as_str().unwrap();
    let from =
        format!("for bot, for alice of {}, bound to its key", home.plane.said["url"].as_str().unwrap());
    assert!(evidence.ends_with(&from), "{evidence}");
    // Both have the same books.
    let crossings = |place: &Place, domain: &Place, more: &[&str]| {
        let mut command = warrantor();
        command.args(["audit", "crossings", "-o", "json", "--domain"]);
        command.arg(domain.plane.said["url"].as_str().unwrap()).arg("--data").arg(place.world.data());
        run(command.args(more))
    };
    let ours = crossings(&home, &abroad, &[]).stdout;
    let file = abroad.world.path("theirs.json");
    std::fs::write(&file, &ours).unwrap();
    let compared = crossings(&abroad, &home, &["--compare", file.to_str().unwrap()]);
    let compared: Value = serde_json::from_slice(&compared.stdout).unwrap();
    assert_eq!(
        compared,
        json!({ "ok": true, "matching": 2, "unused": [], "never_made": [], "differing": [], "twice": [] })
    );
    let mut forged: Value = serde_json::from_slice(&ours).unwrap();
    forged[0]["crossing"]["subject"] = "mallory".into();
    forged.as_array_mut().unwrap().pop();
    std::fs::write(&file, forged.to_string()).unwrap();
    let mut command = warrantor();
    command.args(["audit", "crossings", "-o", "json", "--domain", home.plane.said["url"].as_str().unwrap()]);
    command.arg("--data").arg(abroad.world.data()).arg("--compare").arg(&file);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let compared: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (compared["differing"].as_array().unwrap().len(), compared["never_made"].as_array().unwrap().len()),
        (1, 1),
        "{compared}"
    );
    // Bob stops what he had said of the domain: nothing passes, and no other token is made.
    abroad.world.done(&["revoke", "mandate", partner["mandate"].as_str().unwrap()]);
    let refused = abroad.agent("bot", &order(json!([["list"]])));
    assert_eq!(refused["code"], "invalid_grant", "{refused}");
    // Alice ends her task at home: no other grant is made.
    home.world.done(&["revoke", "mandate", &home.mandate]);
    let refused = abroad.agent("bot", &order(json!([["list"]])));
    assert_eq!(refused["code"], "invalid_grant", "{refused}");
    assert!(refused["refused"].as_str().unwrap().contains("has ended"), "{refused}");
    home.world.verified();
    abroad.world.verified();
}
