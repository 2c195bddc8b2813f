//! The lab's scenarios as manifests: the doctor tells the same story as the tour.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

use std::process::Command;

use cwii_lab::scenarios;
use serde_json::Value;

/// Where doctor and scenario rightly differ: what the doctor says first, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    (
        "aws-placeholder",
        "POD08",
        "it sees the template's text in the annotation, of which an ARN that is none is the consequence",
    ),
    (
        "aws-role-missing",
        "CWII04",
        "a role that is not among the documents may exist; what the verify container was told remains",
    ),
];

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_kubectl-cwii"))
        .args(arguments)
        .env_remove("KUBECONFIG")
        .output()
        .unwrap();
    (
        output.status.code(),
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn the_doctor_names_the_cause_of_every_scenario() {
    let dir = tempfile::tempdir().unwrap();
    let (code, stdout, stderr) = run(&["lab", "--write", dir.path().to_str().unwrap()]);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(stdout.lines().count(), scenarios().len());
    let mut faults = Vec::new();
    for scenario in scenarios() {
        let manifests = dir.path().join(scenario.name);
        let trust = manifests.join("trust");
        let (code, stdout, stderr) = run(&[
            "doctor",
            "-f",
            manifests.to_str().unwrap(),
            "--local",
            "--trust",
            trust.to_str().unwrap(),
            "-o",
            "json",
        ]);
        let Ok(report) = serde_json::from_str::<Value>(&stdout) else {
            faults.push(format!("{}: {code:?} {stderr}", scenario.name));
            continue;
        };
        assert!(!stdout.contains("eyJ"), "{}: a token", scenario.name);
        let findings: Vec<_> = report["results"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|result| matches!(result["status"].as_str(), Some("fail" | "warn")))
            .map(|result| {
                let text = |member: &str| result[member].as_str().unwrap_or_default().to_owned();
                (text("code"), text("message"))
            })
            .collect();
        let different = DIFFERENT.iter().find(|(name, ..)| *name == scenario.name);
        let is_told = match (scenario.check, findings.first()) {
            (None, None) => code == Some(0),
            // The verify container's own verdict carries the cause where nothing else shows it.
            (Some(check), Some((first, message))) => {
                // The pod runs, and nobody said no: a warning.
                let expected = if message.contains(" could not be asked") {
                    Some(0)
                } else {
                    Some(1)
                };
                code == expected
                    && (first == check
                        || first == "CWII04" && message.ends_with(&format!("({check})"))
                        || different.is_some_and(|(_, code, _)| first == code))
            }
            _ => false,
        };
        if !is_told {
            faults.push(format!(
                "{}: expected {:?}, exit {code:?}, found {findings:?}",
                scenario.name, scenario.check
            ));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}
