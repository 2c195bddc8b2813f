//! What is Entra's own: one algorithm, and federated identity credentials.

use cwii_token::KeyRules;
use serde_json::json;

use super::{Case, Cloud, Coded, Unanswered, shell};
use crate::{
    errors::Row,
    facts::{ConfigurationProblem, ConfigurationProblemKind as Kind},
    report::Finding,
};

pub(super) const CLOUD: Cloud = Cloud {
    leeway_seconds: 300,
    keys: KeyRules::Entra,
    audience_rows: &["700212", "7002121"],
    issuer_rows: &["70021", "700211", "90061"],
    fetch_rows: &["90061"],
    own: |_, _| None,
    refine: |_, _| None,
    particulars,
    configuration,
    transport: |_, _| Unanswered::default(),
};

fn particulars(case: &Case<'_>, row: &Row, finding: Finding) -> Finding {
    if !CREDENTIAL_ROWS.contains(&row.id) {
        return finding;
    }
    let client = shell(case.input("client").unwrap_or("CLIENT-ID"));
    let credential = json!({
        "name": "cwii",
        "issuer": case.issuer_url().unwrap_or("ISSUER"),
        "subject": case.subject_text().unwrap_or("SUBJECT"),
        "audiences": [case.audience().unwrap_or("AUDIENCE")],
    });
    finding
        .command(format!("az ad app federated-credential list --id {client}"))
        .command(format!(
            "az ad app federated-credential create --id {client} --parameters {}",
            shell(&credential.to_string())
        ))
}

fn configuration(problem: &ConfigurationProblem) -> Option<Coded> {
    let code = match problem.kind {
        Kind::Missing => "AZ09",
        Kind::ForeignEndpoint => "AZ08",
        Kind::Invalid if problem.name.contains("TENANT") => "AZ02",
        Kind::Invalid if problem.name.contains("CLIENT_ID") => "AZ01",
        Kind::Invalid if problem.name.contains("AUTHORITY") => "AZ08",
        _ if problem.name.contains("AZURE_KUBERNETES") => "AKS07",
        _ => return None,
    };
    Some(Coded { code, row: None })
}

/// Rows that say that no federated identity credential fits.
const CREDENTIAL_ROWS: &[&str] = &[
    "70021", "700211", "700212", "7002121", "700213", "7002138", "70025",
];
