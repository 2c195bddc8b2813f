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
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cwii_contract::{
    Outcome::{self, Denied, Invalid, Unreachable, Verified},
    Provider,
};
use cwii_exchange::{Env, Options};
use cwii_lab::{Case, Certificate, Fault, FaultKind, Lab, Mechanism, Service, Workload};
use jiff::{SignedDuration, Timestamp};

use client::{Client, Patience, Verdict};

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

/// Where a client comes to another verdict by its nature. A row that does not hold fails the test, as does a difference
/// without a row.
const OTHER_VERDICTS: [OtherVerdict; 7] = [
    OtherVerdict {
        client: BOTOCORE,
        of: &["aws-placeholder", "row-a23-arn", "row-a24-session"],
        agent: Invalid,
        says: Denied,
        because: "the agent parses role and session name, and sends no token to a role that cannot be",
    },
    OtherVerdict {
        client: BOTOCORE,
        of: &["row-a7-opaque", "row-p3-empty"],
        agent: Invalid,
        says: Denied,
        because: "the agent sends nothing that cannot be a token",
    },
    OtherVerdict {
        client: GOOGLE_AUTH,
        of: &[
            "GoogleDirect, google-sts: 429 once",
            "GoogleDirect, google-sts: 503 once",
            "GoogleImpersonated, google-iam: 429 once",
            "GoogleImpersonated, google-iam: 503 once",
        ],
        agent: Verified,
        says: Unreachable,
        because: "google-auth asks STS and IAM once, the agent again where the trouble is transient",
    },
    OtherVerdict {
        client: GOOGLE_AUTH,
        of: &[
            "GkeMetadata, gke-metadata: 429 once",
            "GkeMetadata, gke-metadata: 503 once",
        ],
        agent: Verified,
        says: Unreachable,
        because: "to google-auth a first answer that is no success means no metadata server",
    },
    OtherVerdict {
        client: AZURE_IDENTITY,
        of: &["row-900023-tenant"],
        agent: Invalid,
        says: Denied,
        because: "the agent parses the tenant, which becomes a part of the path",
    },
    OtherVerdict {
        client: AZURE_IDENTITY,
        of: &["row-7000218-empty", "row-50027-truncated"],
        agent: Invalid,
        says: Denied,
        because: "the agent sends nothing that cannot be a token",
    },
    OtherVerdict {
        client: AZURE_IDENTITY,
        of: &["row-50196", "row-500531"],
        agent: Unreachable,
        says: Denied,
        because: "azure-identity tries again by status only, the agent also by the codes that Entra calls transient",
    },
];

/// Where a client sends something else by its nature; the same applies.
const OTHER_REQUESTS: [OtherRequests; 2] = [
    OtherRequests {
        client: GOOGLE_AUTH,
        of: &[
            "GoogleDirect, google-sts: redirect 302",
            "GoogleDirect, google-sts: redirect 307",
            "GoogleImpersonated, google-iam: redirect 302",
            "GoogleImpersonated, google-iam: redirect 307",
            "GkeMetadata, gke-metadata: redirect 302",
            "GkeMetadata, gke-metadata: redirect 307",
        ],
        because: "google-auth follows redirects, with the token in its hands; the agent never does",
    },
    OtherRequests {
        client: GOOGLE_AUTH,
        of: &[
            "GkeMetadata, gke-metadata: 429 once",
            "GkeMetadata, gke-metadata: 503 once",
        ],
        because: "see the verdict: google-auth asks no further",
    },
];

/// A row about verdicts. Where the agent's is [`Invalid`] it has sent nothing, so the requests differ as well.
struct OtherVerdict {
    client: &'static str,
    /// Workloads, or `MECHANISM, SERVICE: FAULT`.
    of: &'static [&'static str],
    agent: Outcome,
    says: Outcome,
    because: &'static str,
}

/// A row about requests.
struct OtherRequests {
    client: &'static str,
    /// Workloads, or `MECHANISM, SERVICE: FAULT`.
    of: &'static [&'static str],
    because: &'static str,
}

const BOTOCORE: &str = "botocore";
const GOOGLE_AUTH: &str = "google-auth";
const AZURE_IDENTITY: &str = "azure-identity";

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
    court.close("every workload", |of| !of.contains(':'))
}

fn every_fault(mut court: Court, mechanism: Mechanism, service: Service) -> String {
    let workload = court.lab.lay_out(&Case::new("healthy", mechanism)).unwrap();
    let topic = format!("{mechanism:?}, {service}");
    for (name, fault, patience) in faults(service) {
        court.fault = Some((service, fault));
        court.hear(&format!("{topic}: {name}"), &workload, patience);
    }
    court.close(&format!("{topic}, every fault"), |of| {
        of.starts_with(&topic)
    })
}

/// The faults by name, and how long either side waits.
fn faults(service: Service) -> Vec<(&'static str, Fault, Duration)> {
    let status = |status, retry_after| FaultKind::Status {
        status,
        retry_after,
    };
    let moment = Duration::from_millis(20);
    let hour = SignedDuration::from_hours(1);
    let lasting = [
        ("latency", FaultKind::Latency(moment)),
        ("round trip", FaultKind::RoundTrip(moment)),
        ("429", status(429, None)),
        ("500", status(500, None)),
        ("503", status(503, None)),
        ("hang when connecting", FaultKind::HangConnect),
        ("hang", FaultKind::Hang),
        ("hang in the body", FaultKind::HangBody),
        ("reset", FaultKind::Reset),
        ("truncated", FaultKind::Truncated),
        ("oversized", FaultKind::Oversized(8 << 20)),
        ("garbage", FaultKind::Garbage),
        ("wrong content", FaultKind::WrongContent),
        ("portal's page", FaultKind::HtmlPage),
        ("gateway's page", FaultKind::HtmlError),
        ("redirect 302", FaultKind::Redirect(302)),
        ("redirect 307", FaultKind::Redirect(307)),
        ("stale keys", FaultKind::StaleJwks),
        ("clock ahead", FaultKind::ClockShift(hour)),
        ("clock behind", FaultKind::ClockShift(-hour)),
        (
            "untrusted certificate",
            FaultKind::Certificate(Certificate::Untrusted),
        ),
        (
            "expired certificate",
            FaultKind::Certificate(Certificate::Expired),
        ),
        (
            "another's certificate",
            FaultKind::Certificate(Certificate::OtherName),
        ),
    ];
    let passing = [
        ("429 once", status(429, Some(1))),
        ("503 once", status(503, None)),
    ];
    let lasting = lasting
        .into_iter()
        .map(|(name, kind)| (name, Fault::always(kind)));
    let passing = passing
        .into_iter()
        .map(|(name, kind)| (name, Fault::first(1, kind)));
    lasting
        .chain(passing)
        .filter(|(_, fault)| service.is_tls() || !matches!(fault.kind, FaultKind::Certificate(_)))
        .map(|(name, fault)| {
            (
                name,
                fault,
                if name.starts_with("hang") {
                    SHORT
                } else {
                    GENEROUS
                },
            )
        })
        .collect()
}

/// Longer than anything on loopback takes.
const GENEROUS: Duration = Duration::from_secs(5);
/// For what never answers.
const SHORT: Duration = Duration::from_secs(1);

/// One lab, one client, and what it differed in.
struct Court {
    lab: Lab,
    client: Client,
    name: &'static str,
    fault: Option<(Service, Fault)>,
    heard: BTreeSet<String>,
    /// Rows of the tables that proved true.
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
    fn hear(&mut self, of: &str, workload: &Workload, patience: Duration) {
        self.heard.insert(of.to_owned());
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

        let mut complaints = String::new();
        if self
            .lab
            .secrets()
            .iter()
            .any(|secret| said.contains(secret.as_str()))
        {
            complaints.push_str("  the client's words hold a secret\n");
        }
        let named = |row: &&'static str| *row == of;
        let mut differ = ours.differs_from(&theirs);
        let known = OTHER_VERDICTS
            .iter()
            .filter(|row| row.client == self.name)
            .find_map(|row| Some((row, *row.of.iter().find(|of| named(of))?)));
        if let Some((row, of)) = known {
            if (row.agent, row.says) == (ours.outcome, theirs.outcome) {
                self.proved.insert(of);
                differ = None;
            } else {
                differ = Some(format!("not the difference of the table ({})", row.because));
            }
        }
        if let Some(differ) = differ {
            let _ = writeln!(
                complaints,
                "  {differ}\n    agent:  {ours}\n    client: {theirs}"
            );
        }

        let other = wire::difference(&our_requests, &their_requests);
        let refused = known.is_some_and(|(row, _)| row.agent == Invalid) && our_requests.is_empty();
        let known = OTHER_REQUESTS
            .iter()
            .filter(|row| row.client == self.name)
            .find_map(|row| row.of.iter().find(|of| named(of)));
        match known {
            _ if other.is_empty() || refused => {}
            Some(of) => {
                self.proved.insert(of);
            }
            None => {
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

    /// What there is to complain of, rows of the tables included that this was `about` and that did not prove true.
    fn close(mut self, topic: &str, about: impl Fn(&str) -> bool) -> String {
        assert!(!self.heard.is_empty(), "{topic}: nothing was compared");
        let verdicts = OTHER_VERDICTS
            .iter()
            .map(|row| (row.client, row.of, row.because));
        let requests = OTHER_REQUESTS
            .iter()
            .map(|row| (row.client, row.of, row.because));
        for (_, of, because) in verdicts.chain(requests).filter(|row| row.0 == self.name) {
            for of in of
                .iter()
                .filter(|of| about(of) && !self.proved.contains(*of))
            {
                let _ = writeln!(
                    self.complaints,
                    "{of}\n  no difference, against the table ({because})"
                );
            }
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
