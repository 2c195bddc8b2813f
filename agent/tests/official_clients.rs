//! The official clients as judges: botocore, google-auth and azure-identity federate the lab's workloads beside the
//! agent, and both must come to the same verdict and send the same requests.
//!
//! The clients come from Python's package registry. Where there is no Python or no registry a test says `skipped:` and
//! passes, unless `CWII_REQUIRE_OFFICIAL_CLIENTS=1` makes that a failure. A client that is in the cache of an earlier
//! run (`CWII_TEST_CACHE`) needs no registry.
#![allow(
    clippy::disallowed_methods,
    reason = "a test runs other programs, with its own environment and clock"
)]

#[path = "official/client.rs"]
mod client;
#[path = "official/install.rs"]
mod install;
#[path = "official/wire.rs"]
mod wire;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    time::{Duration, Instant},
};

use cwii_contract::{Outcome, Provider};
use cwii_exchange::{Env, Options};
use cwii_lab::{Case, Certificate, Fault, FaultKind, Lab, Mechanism, Service, Workload};
use jiff::{SignedDuration, Timestamp};

use client::{Client, Patience, Verdict};

#[test]
fn botocore_agrees_with_the_agent_on_every_workload_of_the_lab() {
    every_workload(Provider::Aws, "botocore");
}

#[test]
fn google_auth_agrees_with_the_agent_on_every_workload_of_the_lab() {
    every_workload(Provider::Gcp, "google-auth");
}

#[test]
fn azure_identity_agrees_with_the_agent_on_every_workload_of_the_lab() {
    every_workload(Provider::Az, "azure-identity");
}

#[test]
fn botocore_agrees_with_the_agent_under_every_fault_of_sts() {
    every_fault("botocore", Mechanism::AwsWebIdentity, Service::AwsSts);
}

#[test]
fn botocore_agrees_with_the_agent_under_every_fault_of_the_pod_identity_agent() {
    every_fault("botocore", Mechanism::AwsPodIdentity, Service::PodIdentity);
}

#[test]
fn google_auth_agrees_with_the_agent_under_every_fault_of_sts() {
    every_fault("google-auth", Mechanism::GoogleDirect, Service::GoogleSts);
}

#[test]
fn google_auth_agrees_with_the_agent_under_every_fault_of_impersonation() {
    every_fault(
        "google-auth",
        Mechanism::GoogleImpersonated,
        Service::GoogleIam,
    );
}

#[test]
fn google_auth_agrees_with_the_agent_under_every_fault_of_the_metadata_server() {
    every_fault("google-auth", Mechanism::GkeMetadata, Service::GkeMetadata);
}

#[test]
fn azure_identity_agrees_with_the_agent_under_every_fault_of_entra() {
    every_fault("azure-identity", Mechanism::EntraFederated, Service::Entra);
}

/// Where a client comes to another verdict by its nature: client, workload or `MECHANISM: FAULT`, the agent's verdict,
/// the client's, and why. A row that no longer holds fails the test, as does a difference without a row.
const OTHER_VERDICTS: [(&str, &str, Outcome, Outcome, &str); 0] = [];

/// Where a client sends something else by its nature: client, workload or `MECHANISM: FAULT`, and why.
const OTHER_REQUESTS: [(&str, &str, &str); 0] = [];

fn every_workload(provider: Provider, name: &'static str) {
    let Some(mut court) = Court::open(provider, name) else {
        return;
    };
    let scenarios = cwii_lab::scenarios().iter().map(|scenario| &scenario.case);
    let rows = cwii_lab::rows().iter().filter_map(|row| row.case());
    let mut seen = BTreeSet::new();
    for case in scenarios.chain(rows) {
        if case.mechanism.provider() == provider && seen.insert(case.name) {
            let workload = court.lab.lay_out(case).unwrap();
            court.hear(case.name, &workload, GENEROUS);
        }
    }
    court.close(|of| seen.contains(of));
}

fn every_fault(name: &'static str, mechanism: Mechanism, service: Service) {
    let Some(mut court) = Court::open(mechanism.provider(), name) else {
        return;
    };
    let case = Case::new("healthy", mechanism);
    let workload = court.lab.lay_out(&case).unwrap();
    let label = |fault: &str| format!("{mechanism:?}: {fault}");
    for (fault, kind, patience) in faults(service) {
        // Set anew for each of the two, since a fault that strikes once must strike both.
        court.fault = Some((service, kind));
        court.hear(&label(fault), &workload, patience);
    }
    court.close(|of| of.starts_with(&label("")));
}

/// The faults, how patient both sides are with each, and what a fault is called.
fn faults(service: Service) -> Vec<(&'static str, Fault, Duration)> {
    let status = |status, retry_after| FaultKind::Status {
        status,
        retry_after,
    };
    let hour = SignedDuration::from_hours(1);
    let mut faults: Vec<(_, Fault, _)> = vec![
        ("none", Fault::first(0, FaultKind::Hang), GENEROUS),
        (
            "latency",
            FaultKind::Latency(Duration::from_millis(20)).into(),
            GENEROUS,
        ),
        (
            "round trip",
            FaultKind::RoundTrip(Duration::from_millis(20)).into(),
            GENEROUS,
        ),
        ("429", status(429, None).into(), GENEROUS),
        ("429 once", Fault::first(1, status(429, Some(1))), GENEROUS),
        ("500", status(500, None).into(), GENEROUS),
        ("503", status(503, None).into(), GENEROUS),
        ("503 once", Fault::first(1, status(503, None)), GENEROUS),
        ("hang when connecting", FaultKind::HangConnect.into(), SHORT),
        ("hang", FaultKind::Hang.into(), SHORT),
        ("hang in the body", FaultKind::HangBody.into(), SHORT),
        ("reset", FaultKind::Reset.into(), GENEROUS),
        ("truncated", FaultKind::Truncated.into(), GENEROUS),
        ("oversized", FaultKind::Oversized(8 << 20).into(), GENEROUS),
        ("garbage", FaultKind::Garbage.into(), GENEROUS),
        ("wrong content", FaultKind::WrongContent.into(), GENEROUS),
        ("page of a portal", FaultKind::HtmlPage.into(), GENEROUS),
        ("page of a gateway", FaultKind::HtmlError.into(), GENEROUS),
        ("redirect 302", FaultKind::Redirect(302).into(), GENEROUS),
        ("redirect 307", FaultKind::Redirect(307).into(), GENEROUS),
        ("stale keys", FaultKind::StaleJwks.into(), GENEROUS),
        (
            "clock an hour ahead",
            FaultKind::ClockShift(hour).into(),
            GENEROUS,
        ),
        (
            "clock an hour behind",
            FaultKind::ClockShift(-hour).into(),
            GENEROUS,
        ),
    ];
    if service.is_tls() {
        for (name, certificate) in [
            ("untrusted certificate", Certificate::Untrusted),
            ("expired certificate", Certificate::Expired),
            ("another's certificate", Certificate::OtherName),
        ] {
            faults.push((name, FaultKind::Certificate(certificate).into(), GENEROUS));
        }
    }
    faults
}

/// Longer than anything on loopback takes.
const GENEROUS: Duration = Duration::from_secs(10);
/// For what never answers.
const SHORT: Duration = Duration::from_secs(1);

/// One lab, one client, and what they differed in.
struct Court {
    lab: Lab,
    client: Client,
    name: &'static str,
    fault: Option<(Service, Fault)>,
    cases: u32,
    /// Rows of the tables that proved true.
    proved: BTreeSet<&'static str>,
    complaints: String,
    started: Instant,
}

impl Court {
    /// Starts lab and client, or says why there is none.
    fn open(provider: Provider, name: &'static str) -> Option<Self> {
        let interpreter = match install::interpreter() {
            Ok(interpreter) => interpreter,
            Err(reason) => {
                let required = std::env::var_os("CWII_REQUIRE_OFFICIAL_CLIENTS");
                assert_ne!(required.as_deref(), Some("1".as_ref()), "{name}: {reason}");
                tell(&format!(
                    "skipped: {name} does not judge the agent: {reason}"
                ));
                return None;
            }
        };
        Some(Self {
            lab: Lab::start(cwii_lab::Options::default()).unwrap(),
            client: Client::start(interpreter, provider),
            name,
            fault: None,
            cases: 0,
            proved: BTreeSet::new(),
            complaints: String::new(),
            started: Instant::now(),
        })
    }

    /// Lets both federate one workload, and compares.
    fn hear(&mut self, of: &str, workload: &Workload, patience: Duration) {
        self.cases += 1;
        let (ours, our_requests) = self.record(|_| agent(workload, patience));
        let attempts = (patience == SHORT).then_some(1);
        let ((theirs, said), their_requests) = self.record(|client| {
            client.verify(
                &workload.env,
                Patience {
                    timeout: patience,
                    attempts,
                },
            )
        });
        let leaks = |secret: &String| said.contains(secret.as_str());
        assert!(
            !self.lab.secrets().iter().any(leaks),
            "{of}: the client's words hold a secret"
        );

        let mut complaints = String::new();
        let mut differ = ours.differs_from(&theirs);
        if let Some((_, row, agent, client, why)) = OTHER_VERDICTS
            .iter()
            .find(|row| (row.0, row.1) == (self.name, of))
        {
            if (*agent, *client) == (ours.outcome, theirs.outcome) {
                self.proved.insert(row);
                differ = None;
            } else {
                differ = Some(format!("the table has another difference: {why}"));
            }
        }
        if let Some(differ) = differ {
            let _ = writeln!(
                complaints,
                "  {differ}\n    agent:  {ours}\n    client: {theirs}"
            );
        }
        let other = wire::difference(&our_requests, &their_requests);
        let row = OTHER_REQUESTS
            .iter()
            .find(|row| (row.0, row.1) == (self.name, of));
        match row {
            Some((_, row, _)) if !other.is_empty() => {
                self.proved.insert(row);
            }
            _ if other.is_empty() => {}
            _ => {
                let _ = write!(complaints, "  other requests\n{other}");
            }
        }
        if !complaints.is_empty() {
            let _ = write!(self.complaints, "{of}\n{complaints}");
        }
    }

    /// What an exchange gave, and what it sent. The fault begins anew: one that strikes once must strike either side.
    fn record<T>(&mut self, exchange: impl FnOnce(&mut Client) -> T) -> (T, Vec<wire::Call>) {
        if let Some((service, fault)) = &self.fault {
            self.lab.clear_faults();
            self.lab.set_fault(*service, fault.clone());
        }
        let before = self.lab.requests().len();
        let given = exchange(&mut self.client);
        (given, wire::exchange(&self.lab.requests()[before..]))
    }

    /// Fails if the two differed, or if a row of the tables that this was `about` did not prove true.
    fn close(mut self, about: impl Fn(&str) -> bool) {
        assert!(self.cases > 0, "nothing was compared");
        let rows = OTHER_VERDICTS.iter().map(|row| (row.0, row.1));
        for (client, of) in rows.chain(OTHER_REQUESTS.iter().map(|row| (row.0, row.1))) {
            if client == self.name && about(of) && !self.proved.contains(of) {
                let _ = writeln!(
                    self.complaints,
                    "{of}\n  in the table, but there is no difference"
                );
            }
        }
        assert!(
            self.complaints.is_empty(),
            "{} and the agent differ\n{}",
            self.name,
            self.complaints
        );
        tell(&format!(
            "{}: {} cases in {:.1} s, the agent's verdicts and requests in all but {}",
            self.name,
            self.cases,
            self.started.elapsed().as_secs_f64(),
            self.proved.len(),
        ));
    }
}

/// Lets the agent federate, in this process.
fn agent(workload: &Workload, patience: Duration) -> Verdict {
    let env: Env = workload.env.clone().into_iter().collect();
    let mut options = Options::new(patience, Timestamp::now);
    options
        .allow_endpoints
        .clone_from(&workload.allow_endpoints);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let result = runtime
        .block_on(cwii_agent::verify(workload.provider, &env, &options))
        .result();
    let (code, message) = result
        .provider_error
        .map_or((None, None), |error| (error.code, Some(error.message)));
    Verdict {
        outcome: result.outcome,
        code,
        message,
        identity: result.identity,
    }
}

/// A line for whoever runs the tests; not through `println!`, which the harness keeps to itself when a test passes.
fn tell(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
