//! The official clients as judges: botocore, google-auth and azure-identity federate the lab's workloads beside the
//! agent, and both must come to the same verdict and send the same requests.
//!
//! The clients come from Python's package registry. Where there is no Python or no registry a test says `skipped:` and
//! passes, unless `CWII_REQUIRE_OFFICIAL_CLIENTS=1` makes that a failure. A client that is in the cache of an earlier
//! run (`CWII_TEST_CACHE`) needs no registry.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a test, with programs, files and a clock; what it cannot do fails it"
)]

#[path = "official/client.rs"]
mod client;
#[path = "official/differences.rs"]
mod differences;
#[path = "official/install.rs"]
mod install;
#[path = "official/wire.rs"]
mod wire;
#[path = "official/workloads.rs"]
mod workloads;

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io::Write as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cwii_contract::{Outcome, Provider};
use cwii_exchange::{Env, Options};
use cwii_lab::{Case, Fault, Lab, Mechanism, Service, Workload};
use jiff::Timestamp;

use client::{Client, Patience, Verdict};
use differences::{AZURE_IDENTITY, BOTOCORE, GOOGLE_AUTH};
use workloads::{GENEROUS, SHORT};

#[test]
fn botocore_comes_to_the_agents_verdicts_by_the_agents_requests() {
    judge(
        BOTOCORE,
        Provider::Aws,
        &[
            (Mechanism::AwsWebIdentity, Service::AwsSts),
            (Mechanism::AwsPodIdentity, Service::PodIdentity),
            (Mechanism::AwsPodIdentity, Service::AwsSts),
        ],
    );
}

#[test]
fn google_auth_comes_to_the_agents_verdicts_by_the_agents_requests() {
    judge(
        GOOGLE_AUTH,
        Provider::Gcp,
        &[
            (Mechanism::GoogleDirect, Service::GoogleSts),
            (Mechanism::GoogleImpersonated, Service::GoogleIam),
            (Mechanism::GkeMetadata, Service::GkeMetadata),
        ],
    );
}

#[test]
fn azure_identity_comes_to_the_agents_verdicts_by_the_agents_requests() {
    judge(
        AZURE_IDENTITY,
        Provider::Az,
        &[(Mechanism::EntraFederated, Service::Entra)],
    );
}

/// Compares a client with the agent: on every workload of the lab for its cloud, and under the faults of every service,
/// each on a healthy workload. Most of the time somebody waits for an answer, so all of this runs side by side, each
/// part in a lab of its own.
fn judge(name: &'static str, provider: Provider, services: &[(Mechanism, Service)]) {
    let interpreter = match install::interpreter() {
        Ok(interpreter) => interpreter,
        Err(reason) => {
            let required = std::env::var_os("CWII_REQUIRE_OFFICIAL_CLIENTS");
            assert_ne!(required.as_deref(), Some("1".as_ref()), "{name}: {reason}");
            return tell(&format!(
                "skipped: {name} does not judge the agent: {reason}"
            ));
        }
    };
    let open = || Court::open(interpreter, name, provider);
    let complaints: String = thread::scope(|scope| {
        let parts: Vec<_> = services
            .iter()
            .map(|&(mechanism, service)| {
                scope.spawn(move || every_fault(open(), mechanism, service))
            })
            .chain([scope.spawn(move || every_workload(open(), provider))])
            .collect();
        parts.into_iter().map(|part| part.join().unwrap()).collect()
    });
    assert!(
        complaints.is_empty(),
        "{name} and the agent differ\n{complaints}"
    );
}

/// The stories, then whatever provokes an error of the clouds' catalogue.
fn every_workload(mut court: Court, provider: Provider) -> String {
    let scenarios = cwii_lab::scenarios().iter().map(|scenario| &scenario.case);
    let rows = cwii_lab::rows().iter().filter_map(|row| row.case());
    for case in scenarios.chain(rows) {
        if case.mechanism.provider() == provider && !court.heard.contains(case.name) {
            let workload = court.lab.lay_out(case).unwrap();
            court.hear(case.name, &workload, GENEROUS);
        }
    }
    for (name, workload) in workloads::variants(&court.lab, provider) {
        court.hear(name, &workload, GENEROUS);
    }
    court.close("every workload", |of| !of.contains(':'))
}

fn every_fault(mut court: Court, mechanism: Mechanism, service: Service) -> String {
    let workload = court.lab.lay_out(&Case::new("healthy", mechanism)).unwrap();
    let topic = format!("{mechanism:?}, {service}");
    for (name, fault, patience) in workloads::faults(service) {
        court.fault = Some((service, fault));
        court.hear(&format!("{topic}: {name}"), &workload, patience);
    }
    court.close(&format!("{topic}, every fault"), |of| {
        of.starts_with(&topic)
    })
}

/// One lab, one client, and what it differed in.
struct Court {
    lab: Lab,
    client: Client,
    name: &'static str,
    fault: Option<(Service, Fault)>,
    heard: BTreeSet<String>,
    /// What the table says, and is so.
    proved: BTreeSet<&'static str>,
    complaints: String,
    started: Instant,
}

impl Court {
    fn open(interpreter: &Path, name: &'static str, provider: Provider) -> Self {
        Self {
            lab: Lab::start(cwii_lab::Options::default()).unwrap(),
            client: Client::start(interpreter, provider),
            name,
            fault: None,
            heard: BTreeSet::new(),
            proved: BTreeSet::new(),
            complaints: String::new(),
            started: Instant::now(),
        }
    }

    /// Lets both federate one workload, and compares.
    fn hear(&mut self, of: &str, workload: &Workload, timeout: Duration) {
        self.heard.insert(of.to_owned());
        let attempts = (timeout == SHORT).then_some(1);
        let (ours, our_requests) = self.record(|_| agent(workload, timeout));
        let ((theirs, said), their_requests) =
            self.record(|client| client.verify(&workload.env, Patience { timeout, attempts }));

        let verdicts = (ours.outcome != theirs.outcome).then_some((ours.outcome, theirs.outcome));
        let unsent = |verdict: &Verdict, requests: &[wire::Call]| {
            verdicts.is_some() && verdict.outcome == Outcome::Invalid && requests.is_empty()
        };
        let implied = unsent(&ours, &our_requests) || unsent(&theirs, &their_requests);
        let other_words = ours.differs_from(&theirs);
        let other_requests = wire::difference(&our_requests, &their_requests);
        let requests = !other_requests.is_empty() && !implied;

        let complaints = &mut self.complaints;
        let known = differences::rows(self.name).find(|(_, known)| *known == of);
        if let Some((_, known)) = known.filter(|(row, _)| {
            (row.verdicts, row.requests) == (verdicts, requests)
                && (verdicts.is_some() || other_words.is_none())
        }) {
            self.proved.insert(known);
        } else if known.is_some() || other_words.is_some() || requests {
            let what = other_words.unwrap_or_else(|| "other requests".into());
            let _ = write!(
                complaints,
                "{of}: {what}\n  agent:  {ours}\n  client: {theirs}\n{other_requests}"
            );
            if let Some((row, _)) = known {
                let _ = writeln!(
                    complaints,
                    "  not the difference of the table ({})",
                    row.because
                );
            }
        }
        if self
            .lab
            .secrets()
            .iter()
            .any(|secret| said.contains(secret.as_str()))
        {
            let _ = writeln!(complaints, "{of}: the client's words hold a secret");
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

    /// What there is to complain of, rows of the table included that this was `about` and that never came up.
    fn close(mut self, topic: &str, about: impl Fn(&str) -> bool) -> String {
        assert!(!self.heard.is_empty(), "{topic}: nothing was compared");
        for (row, of) in
            differences::rows(self.name).filter(|(_, of)| about(of) && !self.heard.contains(*of))
        {
            let _ = writeln!(
                self.complaints,
                "{of}: in the table and never heard ({})",
                row.because
            );
        }
        tell(&format!(
            "{}, {topic}: {} cases in {:.1} s, {} of them in the table of differences",
            self.name,
            self.heard.len(),
            self.started.elapsed().as_secs_f64(),
            self.proved.len(),
        ));
        self.complaints
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
