//! What is federated beside the lab's own scenarios, and under which faults.

use std::time::Duration;

use cwii_contract::Provider;
use cwii_lab::{Case, Certificate, Fault, FaultKind, Lab, Mechanism, Service, TokenFile, Workload};
use jiff::SignedDuration;
use serde_json::json;

/// Other ways to write down what works, and what the clients could read differently from each other.
pub(crate) fn variants(lab: &Lab, provider: Provider) -> Vec<(&'static str, Workload)> {
    match provider {
        Provider::Aws => aws(lab),
        Provider::Gcp => gcp(lab),
        Provider::Az => az(lab),
    }
}

fn aws(lab: &Lab) -> Vec<(&'static str, Workload)> {
    const POD_IDENTITY: &str = "http://127.0.0.1:{{POD_IDENTITY_PORT}}/v1/credentials";
    let irsa = |name| Case::new(name, Mechanism::AwsWebIdentity);
    let eks = |name| Case::new(name, Mechanism::AwsPodIdentity);
    let mut workloads = lay_out(
        lab,
        [
            eks("token-in-a-variable").env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", None),
            eks("pod-identity-newline").file(TokenFile::Newline),
            eks("pod-identity-missing").file(TokenFile::Missing),
            eks("pod-identity-other-host").env(
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "http://192.0.2.1/v1/credentials",
            ),
            irsa("no-session-name").env("AWS_ROLE_SESSION_NAME", None),
            irsa("punctuated-session-name").env("AWS_ROLE_SESSION_NAME", "a=b,c.d@e-f+g_h"),
            irsa("role-with-a-path").env(
                "AWS_ROLE_ARN",
                "arn:aws:iam::{{ACCOUNT}}:role/team/a+b/{{ROLE_NAME}}",
            ),
            irsa("fips-and-dual-stack")
                .env("AWS_USE_FIPS_ENDPOINT", "true")
                .env("AWS_USE_DUALSTACK_ENDPOINT", "true"),
            irsa("both-mechanisms").env("AWS_CONTAINER_CREDENTIALS_FULL_URI", POD_IDENTITY),
            irsa("empty-token-file").file(TokenFile::Empty),
            irsa("binary-token-file").file(TokenFile::Binary),
            irsa("directory-for-a-file").file(TokenFile::Directory),
            irsa("static-keys-too")
                .env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
                .env("AWS_SECRET_ACCESS_KEY", "not-a-key"),
        ],
    );
    let (_, first) = &mut workloads[0];
    let token = std::fs::read_to_string(first.token_file.as_deref().unwrap()).unwrap();
    first
        .env
        .insert("AWS_CONTAINER_AUTHORIZATION_TOKEN".into(), token);
    workloads
}

fn gcp(lab: &Lab) -> Vec<(&'static str, Workload)> {
    let direct = |name| Case::new(name, Mechanism::GoogleDirect);
    let impersonated = |name| Case::new(name, Mechanism::GoogleImpersonated);
    let gke = |name| Case::new(name, Mechanism::GkeMetadata);
    lay_out(
        lab,
        [
            direct("google-json-file").file(TokenFile::Json),
            direct("google-newline").file(TokenFile::Newline),
            direct("google-empty").file(TokenFile::Empty),
            direct("google-binary").file(TokenFile::Binary),
            direct("google-no-file").file(TokenFile::Missing),
            direct("google-client")
                .credentials("/client_id", json!("a client"))
                .credentials("/client_secret", json!("and its secret")),
            direct("google-quota-project")
                .credentials("/quota_project_id", json!("another-project")),
            direct("google-no-source").credentials("/credential_source", None),
            direct("google-no-audience").credentials("/audience", None),
            impersonated("google-lifetime").credentials(
                "/service_account_impersonation",
                json!({ "token_lifetime_seconds": 1800 }),
            ),
            gke("gke-legacy-variable").env("GCE_METADATA_HOST", None),
            gke("gke-not-to-be-asked").env("NO_GCE_CHECK", "true"),
        ],
    )
}

fn az(lab: &Lab) -> Vec<(&'static str, Workload)> {
    let entra = |name| Case::new(name, Mechanism::EntraFederated);
    let mut workloads = lay_out(
        lab,
        [
            entra("entra-host-and-port"),
            entra("entra-spaces"),
            entra("entra-newline").file(TokenFile::Newline),
            entra("entra-binary").file(TokenFile::Binary),
            entra("entra-no-file").file(TokenFile::Missing),
            entra("entra-no-tenant").env("AZURE_TENANT_ID", None),
            entra("entra-plain-http").env("AZURE_AUTHORITY_HOST", "http://127.0.0.1:1/"),
        ],
    );
    let mut authority = |at: usize, change: fn(&str) -> String| {
        let value = workloads[at].1.env.get_mut("AZURE_AUTHORITY_HOST").unwrap();
        *value = change(value);
    };
    authority(0, |url| url.replace("https://", ""));
    authority(1, |url| format!("{url}/  "));
    workloads
}

fn lay_out<const N: usize>(lab: &Lab, cases: [Case; N]) -> Vec<(&'static str, Workload)> {
    cases
        .into_iter()
        .map(|case| (case.name, lab.lay_out(&case).unwrap()))
        .collect()
}

/// The faults by name, and how long either side waits.
pub(crate) fn faults(service: Service) -> Vec<(&'static str, Fault, Duration)> {
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
    let lasting = lasting.map(|(name, kind)| (name, Fault::always(kind)));
    let passing = passing.map(|(name, kind)| (name, Fault::first(1, kind)));
    lasting
        .into_iter()
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
pub(crate) const GENEROUS: Duration = Duration::from_secs(5);
/// For what never answers.
pub(crate) const SHORT: Duration = Duration::from_secs(1);
