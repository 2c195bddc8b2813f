//! What is Google's own: tokens in their last seconds, long subjects, bindings, the metadata server.

use cwii_contract::types::PoolProvider;
use cwii_token::{Claims, KeyRules};
use jiff::SignedDuration;

use super::{Case, Cloud, Coded, Unanswered, shell};
use crate::{
    errors::Row,
    facts::{
        ConfigurationProblem, ConfigurationProblemKind as Kind, Step, TransportProblem,
        TransportProblemKind,
    },
    report::Finding,
};

pub(super) const CLOUD: Cloud = Cloud {
    leeway_seconds: 60,
    keys: KeyRules::Google,
    audience_rows: &[],
    issuer_rows: &["G4", "G6"],
    fetch_rows: &["G6"],
    own: |_, _| None,
    refine,
    particulars,
    configuration,
    transport,
};

fn refine(case: &Case<'_>, row: &Row) -> Option<Finding> {
    match row.id {
        // Recorded: a token with a second left gives 500.
        "G16" => {
            let left = case
                .claims()
                .and_then(Claims::expires_at)?
                .duration_since(case.clock.server());
            (left < SignedDuration::from_secs(10)).then(|| {
                Finding::new(
                    "TOK09",
                    "Google fails on a token that expires within seconds, and nobody has replaced it",
                )
                .evidence("token file", case.token_path())
                .fix("mount the projected token volume itself, without `subPath`: the kubelet replaces the file in it")
            })
        }
        "G10"
            if case
                .subject_text()
                .is_some_and(|s| s.len() > MAX_SUBJECT_BYTES) =>
        {
            Some(Finding::new("GCP06", row.meaning).fix(row.fix))
        }
        _ => None,
    }
}

fn particulars(case: &Case<'_>, row: &Row, finding: Finding) -> Finding {
    let provider = case
        .input("audience")
        .and_then(|a| a.parse::<PoolProvider>().ok());
    match (row.id, provider) {
        ("G9", _) => match case.subject_text() {
            Some(subject) => finding.evidence("subject", format!("{} bytes", subject.len())),
            None => finding,
        },
        ("G17", Some(provider)) => {
            let Some(email) = case.input("service account") else { return finding };
            let subject = case.subject_text().unwrap_or("SUBJECT");
            let member =
                format!("principal://iam.googleapis.com/{}/subject/{subject}", provider.pool_resource());
            finding
                .evidence("service account", email)
                .evidence("principal", format!("{member} (if google.subject is mapped from assertion.sub)"))
                .command(format!(
                    "gcloud iam service-accounts add-iam-policy-binding {} --role roles/iam.workloadIdentityUser --member {}",
                    shell(email),
                    shell(&member)
                ))
        }
        ("G2" | "G3" | "G4" | "G8" | "G10", Some(p)) => finding.command(format!(
            "gcloud iam workload-identity-pools providers describe {} --location global --workload-identity-pool {} --project {} --format json",
            p.provider(),
            p.pool(),
            p.project_number()
        )),
        _ => finding,
    }
}

fn configuration(problem: &ConfigurationProblem) -> Option<Coded> {
    let of_document = problem.name == "GOOGLE_APPLICATION_CREDENTIALS"
        || problem.name == "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE"
        || !problem.name.bytes().any(|b| b.is_ascii_uppercase());
    let (code, row) = match problem.kind {
        Kind::NothingConfigured => ("POD10", Some("G28")),
        Kind::Invalid if problem.name == "audience" => ("GCP01", Some("G29")),
        Kind::ForeignEndpoint => ("GCP10", None),
        Kind::Unreadable | Kind::Invalid | Kind::Missing if of_document => ("GCP10", Some("G29")),
        _ => return None,
    };
    Some(Coded { code, row })
}

fn transport(step: Step, problem: &TransportProblem) -> Unanswered {
    use TransportProblemKind as Kind;
    let silent = matches!(
        problem.kind,
        Kind::Refused | Kind::ConnectTimeout | Kind::ReadTimeout | Kind::Dns | Kind::Other
    );
    if step != Step::GoogleMetadata || !silent {
        return Unanswered::default();
    }
    Unanswered {
        finding: Some(
            Finding::new("GKE08", format!("the metadata server does not answer at {}", problem.host)).fix(
                "run the pod on a node pool with GKE_METADATA and without hostNetwork, and let network policies allow the metadata server",
            ),
        ),
        row: Some("G31"),
    }
}

/// IAM: `google.subject` "can't exceed 127 bytes".
const MAX_SUBJECT_BYTES: usize = 127;
