//! Every scenario of the lab ends as its story says.

use std::time::Duration;

use cwii_contract::Outcome;
use cwii_lab::scenarios;

use crate::support::{Agent, lab, verify};

#[test]
fn every_scenario_ends_as_its_story_says() {
    let lab = lab();
    let mut wrong = Vec::new();
    for scenario in scenarios() {
        let verification = verify(&lab.workload(scenario).unwrap(), Duration::from_secs(10));
        let outcome = Outcome::from(verification.diagnosis.exit);
        let code = verification.diagnosis.cause.as_ref().and_then(|c| c.code());
        let says = verification.result().provider_error.and_then(|e| e.code);
        if outcome != scenario.outcome
            || code != scenario.agent_check
            || says.as_deref() != scenario.provider_code
        {
            wrong.push(format!(
                "{}: expected {:?} {:?} {:?}, found {outcome:?} {code:?} {says:?}\n{}",
                scenario.name,
                scenario.outcome,
                scenario.agent_check,
                scenario.provider_code,
                cwii_agent::render::text(&verification)
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_verified_run_prints_the_identity_and_nothing_else_on_standard_output() {
    let lab = lab();
    for scenario in scenarios().iter().filter(|s| s.is_healthy()) {
        let ran = Agent::verify(&lab.workload(scenario).unwrap())
            .arg("--enforce")
            .run();
        assert_eq!(ran.code, Some(0), "{}: {ran:?}", scenario.name);
        let identity: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let keys: Vec<&str> = identity
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        if scenario.provider() == cwii_contract::Provider::Aws {
            assert_eq!(keys, ["UserId", "Account", "Arn"]);
            assert!(
                ran.stdout.starts_with("{\n    \"UserId\": \"AROA"),
                "{}",
                ran.stdout
            );
        }
        let result = ran.result();
        assert_eq!((result.outcome, result.code), (Outcome::Verified, None));
        assert_eq!(result.identity.len(), keys.len());
    }
}

#[test]
fn a_denial_of_aws_begins_with_the_line_that_people_grep_for() {
    let lab = lab();
    let scenario = scenarios()
        .iter()
        .find(|s| s.provider_code == Some("AccessDenied"))
        .unwrap();
    let ran = Agent::verify(&lab.workload(scenario).unwrap())
        .arg("--enforce")
        .run();
    assert_eq!(ran.code, Some(20));
    assert_eq!(
        ran.stderr.lines().next(),
        Some(
            "An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation: \
             Not authorized to perform sts:AssumeRoleWithWebIdentity"
        )
    );
    assert!(ran.stdout.is_empty());
    assert_eq!(
        ran.result().provider_error.unwrap().message,
        "Not authorized to perform sts:AssumeRoleWithWebIdentity"
    );
}

#[test]
fn json_output_is_one_document_that_agrees_with_the_termination_message() {
    let lab = lab();
    for scenario in scenarios().iter().filter(|s| s.tour) {
        let ran = Agent::verify(&lab.workload(scenario).unwrap())
            .arg("--enforce")
            .arg("-ojson")
            .run();
        let document: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        let result = serde_json::to_value(ran.result()).unwrap();
        for (name, value) in result.as_object().unwrap() {
            assert_eq!(&document[name], value, "{} {name}", scenario.name);
        }
        assert_eq!(document["exitCode"].as_i64(), ran.code.map(i64::from));
        assert!(ran.stderr.is_empty(), "{}", ran.stderr);
    }
}
