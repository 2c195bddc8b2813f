//! Looks for containers that have both web identity and Pod Identity, of which web identity wins.
//!
//! ## What it checks
//!
//! A container with `AWS_WEB_IDENTITY_TOKEN_FILE` and `AWS_ROLE_ARN` beside an `AWS_CONTAINER_CREDENTIALS_FULL_URI` of the EKS Pod
//! Identity Agent. An annotation of IRSA that is left on the ServiceAccount alone is harmless: EKS then injects Pod Identity
//! only.
//!
//! ## Why it matters
//!
//! In the default chain of the SDKs web identity comes before container credentials, and a provider that is configured and
//! fails ends the chain. The association is ignored, silently while the old role still works.
//!
//! ## How it looks
//!
//! Calls are made, or denied, as the role of `AWS_ROLE_ARN` in place of the association's.
//!
//! ## How to fix it
//!
//! Take away what injects web identity, then restart the workload.
//!
//! ## How to verify the fix
//!
//! The new pod has `AWS_CONTAINER_CREDENTIALS_FULL_URI` and no `AWS_WEB_IDENTITY_TOKEN_FILE`.
//!
//! ## References
//!
//! - AWS SDKs and Tools, "AWS SDKs and Tools standardized credential providers":
//!   <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>
//! - Amazon EKS, "Use pod identity with the AWS SDK":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-minimum-sdk.html>

use cwii_contract::{Provider, env};

use super::{NEEDS, NONE, pod_identity};
use crate::{
    doctor::{Case, Container, Gap, MechanismKind, Outcome, Rule, aws as mechanism, variable_subject},
    report::{Applicability, Finding},
    rules::words::{quote, restarted},
};

pub(super) const RULE: Rule = Rule::new("EPI07", NEEDS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    if pod_identity(case).is_none() {
        return Ok(Outcome::not_applicable(NONE));
    }
    let pod = case.pod()?;
    let both: Vec<Container<'_>> = pod
        .containers()
        .filter(|container| {
            container
                .variable(env::AWS_CONTAINER_CREDENTIALS_FULL_URI)
                .is_some_and(mechanism::is_pod_identity)
                && container.has_variable(env::AWS_ROLE_ARN)
                && container.has_variable(env::AWS_WEB_IDENTITY_TOKEN_FILE)
                && container.variable(env::AWS_WEB_IDENTITY_TOKEN_FILE) != Some("")
        })
        .collect();
    let Some(first) = both.first() else {
        return Ok(Outcome::Pass);
    };
    let names: Vec<String> = both.iter().map(|c| format!("`{}`", c.name())).collect();
    let mut finding = Finding::new(
        "EPI07",
        "web identity is configured beside Pod Identity, and SDKs take web identity first",
    )
    .of(Provider::Aws)
    .at(variable_subject(pod, first, env::AWS_WEB_IDENTITY_TOKEN_FILE))
    .evidence("containers", names.join(", "));
    if let Some(role) = first.variable(env::AWS_ROLE_ARN) {
        finding = finding.evidence("role in force", role);
    }
    if let Some(role) = pod_identity(case).and_then(|identity| identity.role.as_ref()) {
        finding = finding.evidence("role of the association", role.value.as_str());
    }
    finding = finding
        .fix("take away what injects web identity, then restart the workload")
        .applicable(Applicability::Unsafe);
    for command in removals(case) {
        finding = finding.command(command);
    }
    Ok(Outcome::Found(vec![restarted(finding, case)]))
}

/// The commands that take away each way by which web identity came.
fn removals(case: &Case<'_>) -> Vec<String> {
    let namespace = quote(case.namespace_name());
    let mut commands = Vec::new();
    for identity in case.mechanisms() {
        match identity.kind {
            MechanismKind::Irsa => {
                if let Some(subject) = &identity.asked_by {
                    commands.push(format!(
                        "kubectl -n {namespace} annotate serviceaccount {} {}-",
                        quote(&subject.name),
                        mechanism::ROLE_ARN
                    ));
                }
            }
            MechanismKind::Cwii if identity.provider == Provider::Aws => {
                if let Ok(account) = case.service_account_name() {
                    commands.push(format!(
                        "kubectl -n {namespace} annotate serviceaccount {} cwii.dev/aws-inject=false --overwrite",
                        quote(account)
                    ));
                }
            }
            MechanismKind::Manual if identity.provider == Provider::Aws => {
                if let Some(owner) = case.top_owner() {
                    commands.push(format!(
                        "kubectl -n {namespace} set env {}/{} {}- {}-",
                        owner.kind.to_ascii_lowercase(),
                        quote(&owner.name),
                        env::AWS_WEB_IDENTITY_TOKEN_FILE,
                        env::AWS_ROLE_ARN
                    ));
                }
            }
            _ => {}
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn pod_identity_alone_passes_even_with_an_annotation_left() {
        assert_eq!(Fixture::pod_identity().decide("EPI07"), Ok(Outcome::Pass));
        let left = Fixture::pod_identity_with_annotation_left();
        assert_eq!(left.decide("EPI07"), Ok(Outcome::Pass));
        assert_eq!(left.codes(), Vec::<&str>::new());
    }

    #[test]
    fn both_in_one_container_is_told_with_the_annotation_to_remove() {
        let fixture = Fixture::pod_identity().with(|fixture| {
            let irsa = Fixture::irsa();
            let crate::facts::Fact::Known(pod) = &irsa.facts.pod else { unreachable!() };
            let web = pod.value()["spec"]["containers"][0]["env"].as_array().unwrap().clone();
            fixture
                .pod(|pod| pod["spec"]["containers"][0]["env"].as_array_mut().unwrap().extend(web))
                .service_account(|account| {
                    account["metadata"]["annotations"] =
                        json!({"eks.amazonaws.com/role-arn": "arn:aws:iam::111122223333:role/checkout"});
                })
        });
        let finding = fixture.findings("EPI07").remove(0);
        assert_eq!(
            finding.fix.commands,
            [
                "kubectl -n shop annotate serviceaccount checkout eks.amazonaws.com/role-arn-",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }
}
