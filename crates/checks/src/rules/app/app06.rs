//! A variable of the container changes what the cloud's SDKs do.
//!
//! ## What it checks
//!
//! Variables, for the clouds that the pod has an identity of, that name other files, endpoints or credentials than the ones
//! that federation uses: `AWS_CONFIG_FILE`, `AWS_SHARED_CREDENTIALS_FILE`, `AWS_ENDPOINT_URL` and `AWS_ENDPOINT_URL_STS`;
//! `CLOUDSDK_*` for credentials, `GCE_METADATA_*`, `NO_GCE_CHECK`; `AZURE_TOKEN_CREDENTIALS`, where it leaves the federated
//! token out. `AWS_EC2_METADATA_DISABLED` is good practice and not reported.
//!
//! ## Why it matters
//!
//! They are set once for a test or a migration, and nobody remembers them when the exchange goes to another place.
//!
//! ## How it looks
//!
//! Requests reach a host that nobody expects, or a profile's settings hold instead of the injected ones.
//!
//! ## How to fix it
//!
//! Remove the variable, unless it is meant.
//!
//! ## How to verify the fix
//!
//! `kubectl exec POD -- env` no longer has it.
//!
//! ## References
//!
//! - AWS, "Settings reference": <https://docs.aws.amazon.com/sdkref/latest/guide/settings-reference.html>
//! - Google Cloud, "Managing gcloud CLI properties": <https://cloud.google.com/sdk/docs/properties>
//! - Microsoft, "Azure Identity client library for Python": <https://learn.microsoft.com/en-us/python/api/overview/azure/identity-readme>

use cwii_contract::{Provider, names};

use crate::{
    doctor::{Case, Container, Gap, MECHANISMS, MechanismKind, Outcome, Rule, variable_subject},
    report::{Applicability, Finding},
    rules::words::{Place, kubectl, quote},
};

pub(super) const RULE: Rule = Rule::new("APP06", MECHANISMS, check).blocked_by(&["APP01"]);

const OVERRIDES: &[(Provider, &str, &str)] = &[
    (Provider::Aws, "AWS_CONFIG_FILE", "SDKs read another configuration file, whose profile may win"),
    (Provider::Aws, "AWS_SHARED_CREDENTIALS_FILE", "SDKs read another credentials file, whose profile may win"),
    (Provider::Aws, "AWS_ENDPOINT_URL_STS", "the exchange goes to this endpoint"),
    (Provider::Aws, "AWS_ENDPOINT_URL", "every call goes to this endpoint, the exchange too"),
    (Provider::Gcp, "CLOUDSDK_CONFIG", "gcloud and the SDKs look for their files in another directory"),
    (Provider::Gcp, "CLOUDSDK_AUTH_ACCESS_TOKEN_FILE", "gcloud uses a token from a file and no federation"),
    (Provider::Gcp, "GCE_METADATA_HOST", "SDKs ask another metadata server"),
    (Provider::Gcp, "GCE_METADATA_IP", "SDKs look for the metadata server at another address"),
    (Provider::Gcp, "NO_GCE_CHECK", "SDKs do not look for the metadata server"),
    (Provider::Az, "AZURE_TOKEN_CREDENTIALS", "DefaultAzureCredential uses other credentials than the federated token"),
];

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mechanisms = case.mechanisms();
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable("no cloud is asked for"));
    }
    let mut findings = Vec::new();
    for container in pod.containers().filter(|container| container.list != "ephemeralContainers") {
        if Provider::ALL.iter().any(|provider| container.name() == names::verify_container(*provider)) {
            continue;
        }
        for (provider, name, effect) in OVERRIDES {
            let Some(mechanism) = mechanisms.iter().find(|mechanism| mechanism.provider == *provider) else {
                continue;
            };
            let value = container.variable(name);
            // Google's webhook sets it for its own file.
            let is_injected = *name == "CLOUDSDK_CONFIG" && mechanism.kind == MechanismKind::GoogleFederation;
            if !container.has_variable(name) || value == Some("") || is_injected || is_harmless(name, value) {
                continue;
            }
            findings.push(finding(case, &container, name, effect).of(*provider).at(variable_subject(
                pod, &container, name,
            )));
        }
    }
    Ok(Outcome::of(findings))
}

/// A value that says what holds anyway.
fn is_harmless(name: &str, value: Option<&str>) -> bool {
    match (name, value) {
        ("AZURE_TOKEN_CREDENTIALS", Some(value)) => {
            ["prod", "workloadidentitycredential"].contains(&value.to_ascii_lowercase().as_str())
        }
        ("NO_GCE_CHECK", Some(value)) => !value.eq_ignore_ascii_case("true"),
        _ => false,
    }
}

fn finding(case: &Case<'_>, container: &Container<'_>, name: &str, effect: &str) -> Finding {
    let finding = Finding::new("APP06", format!("container `{}` has `{name}`: {effect}", container.name()))
        .evidence("value", container.variable(name).unwrap_or("from elsewhere"))
        .fix("remove it, unless it is meant");
    match Place::of_pod(case).filter(|place| place.template.is_some()) {
        Some(place) => finding
            .command(format!(
                "{} set env {}/{} -c {} {name}-",
                kubectl(place.object),
                place.object.kind().to_lowercase(),
                quote(place.object.name()),
                quote(container.name())
            ))
            .applicable(Applicability::Unsafe),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn with(fixture: Fixture, name: &str, value: &str) -> Fixture {
        fixture.pod(|pod| {
            let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
            env.push(json!({"name": name, "value": value}));
        })
    }

    #[test]
    fn what_webhooks_set_and_good_practice_pass() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("APP06"), Ok(Outcome::Pass));
        }
        let blocked = with(Fixture::irsa(), "AWS_EC2_METADATA_DISABLED", "true");
        assert_eq!(blocked.decide("APP06"), Ok(Outcome::Pass));
        let wanted = with(Fixture::cwii_az(), "AZURE_TOKEN_CREDENTIALS", "prod");
        assert_eq!(wanted.decide("APP06"), Ok(Outcome::Pass));
    }

    #[test]
    fn another_endpoint_is_found() {
        let fixture = with(Fixture::irsa(), "AWS_ENDPOINT_URL_STS", "http://localstack:4566");
        assert_eq!(
            fixture.messages("APP06"),
            ["container `app` has `AWS_ENDPOINT_URL_STS`: the exchange goes to this endpoint"]
        );
    }

    #[test]
    fn a_credential_that_leaves_the_token_out_is_found() {
        let fixture = with(Fixture::cwii_az(), "AZURE_TOKEN_CREDENTIALS", "dev");
        assert_eq!(fixture.messages("APP06").len(), 1);
    }
}
