//! A check that does not enforce ends with 0 and one known last line, whatever happens, within its deadline.

use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use cwii_contract::{Outcome, Provider, names};
use cwii_lab::{Certificate, FaultKind, Lab, Mechanism, Scenario, Service, scenarios};
use jiff::SignedDuration;

use crate::support::{Agent, lab};

/// Deadline that the runs below are given.
const DEADLINE: Duration = Duration::from_secs(2);

/// How long a run may take beyond its deadline on a busy machine: start of the process, the watchdog's grace.
const SLACK: Duration = Duration::from_secs(5);

fn healthy(mechanism: Mechanism) -> &'static Scenario {
    scenarios()
        .iter()
        .find(|s| s.case.mechanism == mechanism && s.is_healthy())
        .expect("a healthy scenario for each mechanism")
}

fn services(mechanism: Mechanism) -> &'static [Service] {
    match mechanism {
        Mechanism::AwsWebIdentity => &[Service::AwsSts],
        Mechanism::AwsPodIdentity => &[Service::PodIdentity, Service::AwsSts],
        Mechanism::GoogleDirect => &[Service::GoogleSts],
        Mechanism::GoogleImpersonated => &[Service::GoogleSts, Service::GoogleIam],
        Mechanism::GkeMetadata => &[Service::GkeMetadata],
        Mechanism::EntraFederated => &[Service::Entra],
    }
}

/// Faults after which no identity can be had.
fn fatal_faults(service: Service) -> Vec<FaultKind> {
    let mut faults = vec![
        FaultKind::Status {
            status: 429,
            retry_after: Some(1),
        },
        FaultKind::Status {
            status: 429,
            retry_after: Some(3600),
        },
        FaultKind::Status {
            status: 500,
            retry_after: None,
        },
        FaultKind::Status {
            status: 503,
            retry_after: None,
        },
        FaultKind::HangConnect,
        FaultKind::Hang,
        FaultKind::HangBody,
        FaultKind::Reset,
        FaultKind::Truncated,
        FaultKind::Oversized(8 << 20),
        FaultKind::Garbage,
        FaultKind::WrongContent,
        FaultKind::HtmlPage,
        FaultKind::HtmlError,
        FaultKind::Redirect(302),
        FaultKind::Redirect(307),
        FaultKind::Latency(Duration::from_secs(60)),
    ];
    if service.is_tls() {
        faults.extend(
            [
                Certificate::Untrusted,
                Certificate::Expired,
                Certificate::OtherName,
            ]
            .map(FaultKind::Certificate),
        );
    }
    if matches!(
        service,
        Service::AwsSts | Service::GoogleSts | Service::Entra
    ) {
        faults.push(FaultKind::ClockShift(SignedDuration::from_hours(5)));
    }
    faults
}

fn trapped(lab: &Lab) -> usize {
    lab.requests()
        .iter()
        .filter(|r| r.service == Service::Trap)
        .count()
}

#[test]
fn under_every_fault_of_every_service() {
    for mechanism in Mechanism::ALL {
        let lab = lab();
        let workload = lab.workload(healthy(mechanism)).unwrap();
        for &service in services(mechanism) {
            let faults = fatal_faults(service);
            // Several at a time: most of them only wait for their deadline. Faults belong to a lab's service, so each
            // run has a lab of its own.
            for some in faults.chunks(12) {
                std::thread::scope(|scope| {
                    for fault in some {
                        scope.spawn(move || {
                            let lab = crate::support::lab();
                            let workload = lab.workload(healthy(mechanism)).unwrap();
                            // Pod Identity credentials are checked against STS afterwards; a shifted clock there
                            // only invalidates the signature.
                            lab.set_fault(service, fault.clone());
                            let ran = Agent::verify(&workload).arg("--timeout=2s").run();
                            let context =
                                format!("{mechanism:?} {service} {fault:?}\n{}", ran.stderr);
                            assert_eq!(ran.code, Some(0), "{context}");
                            assert_eq!(
                                ran.stderr.lines().last(),
                                Some(names::NON_ENFORCING_LAST_LINE),
                                "{context}"
                            );
                            assert!(ran.took < DEADLINE + SLACK, "{:?} {context}", ran.took);
                            assert_ne!(ran.result().outcome, Outcome::Verified, "{context}");
                            assert_eq!(trapped(&lab), 0, "a redirect was followed: {context}");
                        });
                    }
                });
            }
        }
        // The same workload without a fault passes, so it was the fault that failed the others.
        let ran = Agent::verify(&workload).run();
        assert_eq!(
            ran.result().outcome,
            Outcome::Verified,
            "{mechanism:?} {ran:?}"
        );
    }
}

#[test]
fn after_a_panic_and_an_enforcing_run_ends_with_70() {
    let lab = lab();
    let workload = lab.workload(healthy(Mechanism::AwsWebIdentity)).unwrap();
    let ran = Agent::verify(&workload)
        .env("CWII_TEST_PANIC", "canary-in-a-panic")
        .run();
    ran.assert_not_enforced();
    assert!(
        ran.stderr.contains("internal error at") && !ran.stderr.contains("canary"),
        "{}",
        ran.stderr
    );
    assert_eq!(ran.result().outcome, Outcome::Error);
    let ran = Agent::verify(&workload)
        .arg("--enforce")
        .env("CWII_TEST_PANIC", "1")
        .run();
    assert_eq!(ran.code, Some(70), "{ran:?}");
}

#[test]
fn on_sigterm_in_the_middle_of_the_exchange() {
    for enforce in [false, true] {
        let lab = lab();
        let workload = lab.workload(healthy(Mechanism::AwsWebIdentity)).unwrap();
        lab.set_fault(Service::AwsSts, FaultKind::Hang);
        let mut agent = Agent::verify(&workload).arg("--timeout=60s");
        if enforce {
            agent = agent.arg("--enforce");
        }
        let start = Instant::now();
        let child = agent.spawn();
        while !lab.requests().iter().any(|r| r.service == Service::AwsSts) {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "the request never came"
            );
            std::thread::yield_now();
        }
        let killed = Command::new("kill")
            .args(["-TERM", &child.id().to_string()])
            .status()
            .unwrap();
        assert!(killed.success());
        let ran = agent.finish(child, start);
        if enforce {
            assert_eq!(ran.code, Some(30), "{ran:?}");
        } else {
            ran.assert_not_enforced();
        }
        assert!(ran.stderr.contains("SIGTERM"), "{ran:?}");
        assert_eq!(ran.result().outcome, Outcome::Error);
    }
}

#[test]
fn with_a_full_disk_or_no_place_for_the_termination_message() {
    let lab = lab();
    let broken = scenarios()
        .iter()
        .find(|s| s.outcome == Outcome::Denied)
        .unwrap();
    let workload = lab.workload(broken).unwrap();
    let ran = Agent::verify(&workload)
        .termination_log("/dev/full".as_ref())
        .run();
    ran.assert_not_enforced();
    assert!(
        ran.stderr.contains("/dev/full could not be written")
            || ran.stderr.contains("written to /dev/full"),
        "{}",
        ran.stderr
    );
    let missing = tempfile::tempdir().unwrap();
    let ran = Agent::verify(&workload)
        .termination_log(&missing.path().join("x"))
        .run();
    ran.assert_not_enforced();
    assert_eq!(
        missing.path().read_dir().unwrap().count(),
        0,
        "outside a pod nothing is written"
    );
    let ran = Agent::verify(&workload)
        .termination_log(missing.path())
        .run();
    ran.assert_not_enforced();
}

#[test]
fn with_a_bad_flag_and_an_enforcing_run_ends_with_10() {
    for arguments in [
        &["verify"][..],
        &["verify", "ibm"],
        &["verify", "aws", "--bogus"],
        &["verify", "aws", "--timeout=0s"],
        &["verify", "aws", "--timeout"],
        &["verify", "aws", "--enforce=yes"],
        &["verify", "aws", "extra"],
        &["verify", "aws", "-o", "xml"],
    ] {
        let ran = Agent::new(arguments).run();
        ran.assert_not_enforced();
        assert!(ran.stderr.starts_with("error:"), "{ran:?}");
    }
    let ran = Agent::new(&["verify", "aws", "--enforce", "--bogus"]).run();
    assert_eq!(ran.code, Some(10), "{ran:?}");
    assert_eq!(ran.result().outcome, Outcome::Invalid);
    // An argument that is no text must not be more than a bad flag.
    let output = Command::new(env!("CARGO_BIN_EXE_cwii-agent"))
        .arg("verify")
        .arg(std::ffi::OsStr::from_bytes(b"\xff\xfe"))
        .env_clear()
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert_eq!(stderr.lines().last(), Some(names::NON_ENFORCING_LAST_LINE));
    assert!(!stderr.contains("internal error"), "{stderr}");
    let ran = Agent::new(&["verify", "aws"])
        .env("CWII_TIMEOUT", "never")
        .run();
    ran.assert_not_enforced();
    assert!(
        ran.stderr.contains("CWII_TIMEOUT") || ran.stderr.contains("--timeout"),
        "{ran:?}"
    );
}

#[test]
fn with_nothing_configured_at_all() {
    for provider in Provider::ALL {
        let ran = Agent::verify_bare(provider).arg("--timeout=5s").run();
        ran.assert_not_enforced();
        assert_eq!(ran.result().outcome, Outcome::Invalid, "{ran:?}");
        let ran = Agent::verify_bare(provider)
            .arg("--timeout=5s")
            .arg("--enforce")
            .run();
        assert_eq!(ran.code, Some(10), "{ran:?}");
    }
}

#[test]
fn a_token_file_that_blocks_its_reader_does_not_hold_the_pod() {
    let lab = lab();
    let workload = lab.workload(healthy(Mechanism::AwsWebIdentity)).unwrap();
    let agent = Agent::verify(&workload).arg("--timeout=1s");
    let pipe = agent.dir().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .unwrap()
            .success()
    );
    let ran = agent
        .env("AWS_WEB_IDENTITY_TOKEN_FILE", pipe.display().to_string())
        .run();
    ran.assert_not_enforced();
    assert!(ran.took < DEADLINE + SLACK, "{ran:?}");
}

#[test]
fn an_unreachable_cloud_may_be_allowed_but_a_denial_may_not() {
    let lab = lab();
    let workload = lab.workload(healthy(Mechanism::EntraFederated)).unwrap();
    lab.set_fault(
        Service::Entra,
        FaultKind::Status {
            status: 503,
            retry_after: None,
        },
    );
    let ran = Agent::verify(&workload)
        .arg("--enforce")
        .arg("--timeout=5s")
        .run();
    assert_eq!(
        (ran.code, ran.result().outcome),
        (Some(30), Outcome::Unreachable),
        "{ran:?}"
    );
    let allow = |workload| {
        Agent::verify(workload)
            .arg("--enforce")
            .arg("--timeout=5s")
            .arg("--on-unreachable=allow")
            .run()
    };
    let ran = allow(&workload);
    assert_eq!(
        (ran.code, ran.result().outcome),
        (Some(0), Outcome::Unreachable),
        "{ran:?}"
    );
    assert!(
        ran.stderr
            .trim_end()
            .ends_with("allowed to go on (--on-unreachable allow)"),
        "{ran:?}"
    );
    let denied = scenarios()
        .iter()
        .find(|s| s.outcome == Outcome::Denied)
        .unwrap();
    let ran = allow(&lab.workload(denied).unwrap());
    assert_eq!(ran.code, Some(20), "{ran:?}");
}
