//! Two mechanisms of one cloud are configured for the pod.
//!
//! ## What it checks
//!
//! Whether the pod has, or asks for, more than one way to the same cloud: cwii beside IRSA, a federation document beside GKE's
//! metadata server, wiring by hand beside a webhook. IRSA with EKS Pod Identity is EPI07's, a client secret AZ10's.
//!
//! ## Why it matters
//!
//! The SDK takes the first source of its own order, and orders differ: for AWS the web identity token comes before the
//! container's endpoint, and that before the node; for Google `GOOGLE_APPLICATION_CREDENTIALS` comes before the metadata
//! server; for Azure a secret comes before the federated token, and that before the managed identity. The other mechanism may
//! be broken for months without anybody seeing it, and takes over on the day the first one goes.
//!
//! ## How it looks
//!
//! The identity of the calls is another one than the one that was configured last.
//!
//! ## How to fix it
//!
//! Keep one, and remove the annotations of the other.
//!
//! ## How to verify the fix
//!
//! The doctor names one mechanism for each cloud.
//!
//! ## References
//!
//! - AWS, "Standardized credential providers": <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>
//! - Google Cloud, "How Application Default Credentials works":
//!   <https://cloud.google.com/docs/authentication/application-default-credentials>
//! - Microsoft, "Credential chains in the Azure Identity library":
//!   <https://learn.microsoft.com/en-us/python/api/overview/azure/identity-readme>

use cwii_contract::Provider;

use crate::{
    doctor::{Case, Gap, MECHANISMS, Mechanism, MechanismKind, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("APP02", MECHANISMS, check).blocked_by(&["EPI07", "GKE09", "AZ10"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mechanisms = case.mechanisms();
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable("no cloud is asked for"));
    }
    let mut findings = Vec::new();
    for provider in Provider::ALL {
        let of_cloud: Vec<&Mechanism> = mechanisms
            .iter()
            .filter(|mechanism| mechanism.provider == provider)
            .collect();
        let has = |kind: MechanismKind| of_cloud.iter().any(|mechanism| mechanism.kind == kind);
        // An annotation of IRSA beside an association is harmless, and both in one pod are EPI07's.
        let is_eks_pair = of_cloud.len() == 2 && has(MechanismKind::Irsa) && has(MechanismKind::EksPodIdentity);
        if of_cloud.len() < 2 || is_eks_pair {
            continue;
        }
        let names: Vec<&str> = of_cloud.iter().map(|mechanism| mechanism.kind.name()).collect();
        let mut finding = Finding::new(
            "APP02",
            format!("the pod has {} ways to {}: {}", of_cloud.len(), provider.display_name(), names.join(", ")),
        )
        .of(provider)
        .at(pod.subject())
        .evidence("order", order(provider))
        .fix("keep one, and remove the annotations of the other");
        for mechanism in &of_cloud {
            let by = mechanism
                .asked_by
                .as_ref()
                .map_or_else(|| "the pod itself".to_owned(), |by| {
                    format!("{} of {} `{}`", by.what.clone().unwrap_or_default(), by.kind, by.name)
                });
            finding = finding.evidence_from("asked for", by, mechanism.kind.name());
        }
        findings.push(finding);
    }
    Ok(Outcome::of(findings))
}

/// The order in which SDKs look.
fn order(provider: Provider) -> &'static str {
    match provider {
        Provider::Aws => "static keys, web identity token, container endpoint, node",
        Provider::Gcp => "GOOGLE_APPLICATION_CREDENTIALS, gcloud's own file, metadata server",
        Provider::Az => "client secret or certificate, federated token, managed identity",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn one_way_to_each_cloud_passes() {
        for fixture in [Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("APP02"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn irsa_beside_cwii_is_found() {
        let fixture = Fixture::cwii_aws().pod(|pod| {
            pod["spec"]["volumes"].as_array_mut().unwrap().push(json!({"name": "aws-iam-token", "projected": {"sources":
                [{"serviceAccountToken": {"audience": "sts.amazonaws.com", "path": "token"}}]}}));
        });
        assert_eq!(fixture.messages("APP02"), ["the pod has 2 ways to AWS: cwii, IRSA"]);
    }

    #[test]
    fn a_pod_of_no_cloud_does_not_concern_it() {
        assert!(matches!(Fixture::plain().decide("APP02"), Ok(Outcome::NotApplicable(_))));
    }
}
