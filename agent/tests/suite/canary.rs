//! No secret reaches an output: token signatures, access keys, session tokens and access tokens of every scenario are
//! searched for in everything that the agent writes, at the most talkative settings.

use std::time::Duration;

use cwii_lab::{FaultKind, Service, rows, scenarios};

use crate::support::{Agent, Ran, lab, verify};

fn leaks<'a>(secrets: &'a [String], texts: &[&str]) -> Vec<&'a str> {
    secrets
        .iter()
        .map(String::as_str)
        .filter(|secret| texts.iter().any(|text| text.contains(secret)))
        .collect()
}

fn texts(ran: &Ran) -> [&str; 3] {
    [&ran.stdout, &ran.stderr, &ran.message]
}

#[test]
fn no_scenario_leaks_a_secret_at_any_log_level_or_format() {
    let lab = lab();
    for scenario in scenarios() {
        let workload = lab.workload(scenario).unwrap();
        for format in ["text", "json"] {
            let ran = Agent::verify(&workload)
                .arg("--timeout=5s")
                .arg("--log=trace")
                .arg(&format!("--output={format}"))
                .run();
            let secrets = lab.secrets();
            assert!(!secrets.is_empty());
            assert_eq!(leaks(&secrets, &texts(&ran)), [""; 0], "{}", scenario.name);
        }
    }
}

#[test]
fn no_error_row_leaks_a_secret_in_an_output_or_in_debug() {
    let lab = lab();
    for row in rows() {
        let Some(workload) = lab.provoke(row).unwrap() else {
            continue;
        };
        let verification = verify(&workload, Duration::from_secs(3));
        let debug = format!("{verification:#?}");
        let text = cwii_agent::render::text(&verification);
        let document = cwii_agent::render::document(&verification);
        let message = verification.termination_message();
        assert_eq!(
            leaks(&lab.secrets(), &[&debug, &text, &document, &message]),
            [""; 0],
            "row {}",
            row.id
        );
        lab.clear_faults();
    }
}

#[test]
fn a_server_that_sends_the_token_back_does_not_make_us_print_it() {
    let lab = lab();
    for scenario in scenarios().iter().filter(|s| s.tour) {
        let workload = lab.workload(scenario).unwrap();
        let Some(token) = workload
            .token_file
            .as_ref()
            .and_then(|file| std::fs::read_to_string(file).ok())
        else {
            continue;
        };
        for service in [Service::AwsSts, Service::GoogleSts, Service::Entra] {
            lab.set_fault(
                service,
                FaultKind::Answer(cwii_lab::ForcedAnswer {
                    status: 400,
                    code: "invalid_request".into(),
                    message: format!("cannot use {token}, sorry"),
                    detail: None,
                }),
            );
        }
        let ran = Agent::verify(&workload).arg("--log=trace").run();
        let signature = token.trim().rsplit('.').next().unwrap();
        assert!(
            texts(&ran).iter().all(|text| !text.contains(signature)),
            "{}: {ran:?}",
            scenario.name
        );
        lab.clear_faults();
    }
}
