//! A pod on the host's network gets the node's identity.
//!
//! ## What it checks
//!
//! `hostNetwork: true` on a pod whose identity comes from an address on the node: GKE's metadata server, EKS Pod Identity, or
//! Azure's proxy sidecar. Mechanisms that present a token file work there like anywhere, and are not reported.
//!
//! ## Why it matters
//!
//! Metadata servers and agents tell pods apart by their addresses. On the host's network the pod is the node, and gets the
//! node's credentials, or none.
//!
//! ## How it looks
//!
//! The calls carry the identity of the node: `assumed-role/node-role/i-0123456789abcdef0`, or the node's service account.
//!
//! ## How to fix it
//!
//! Drop `hostNetwork`, or use federation with a token file (IRSA, cwii, a federated credential).
//!
//! ## How to verify the fix
//!
//! The identity of a call is the workload's own.
//!
//! ## References
//!
//! - Google Cloud, "About Workload Identity Federation for GKE", section "Limitations":
//!   <https://cloud.google.com/kubernetes-engine/docs/concepts/workload-identity>
//! - AWS, "EKS Pod Identity considerations": <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>

use cwii_contract::Provider;
use serde_json::Value;

use crate::{
    doctor::{Case, Gap, MECHANISMS, MechanismKind, Outcome, Rule, azure},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("POD18", MECHANISMS, check).blocked_by(&["GKE06", "EPI14", "AKS08"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    if pod.get("/spec/hostNetwork").and_then(Value::as_bool) != Some(true) {
        return Ok(Outcome::not_applicable("the pod has a network of its own"));
    }
    let has_proxy = pod.annotation(azure::PROXY_SIDECAR) == Some("true");
    let mut findings = Vec::new();
    for mechanism in case.mechanisms() {
        let by_node = match mechanism.kind {
            MechanismKind::GkeMetadata | MechanismKind::EksPodIdentity => true,
            MechanismKind::AzureWorkloadIdentity => has_proxy,
            _ => false,
        };
        // With a token of its own the pod does not depend on the node's answer.
        let has_token = mechanism.provider == Provider::Gcp
            && case
                .mechanisms()
                .iter()
                .any(|other| other.provider == Provider::Gcp && other.injected);
        if !by_node || has_token {
            continue;
        }
        findings.push(
            Finding::new(
                "POD18",
                format!(
                    "the pod is on the host's network, where {} gives it the node's identity or none",
                    mechanism.kind.name()
                ),
            )
            .of(mechanism.provider)
            .at(pod.subject_at("/spec/hostNetwork", "`hostNetwork`"))
            .fix("drop `hostNetwork`, or use a mechanism that presents a token file"),
        );
    }
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::Outcome, rules::fixture::Fixture};

    fn on_host(fixture: Fixture) -> Fixture {
        fixture.pod(|pod| pod["spec"]["hostNetwork"] = json!(true))
    }

    #[test]
    fn a_token_file_works_on_the_hosts_network() {
        for fixture in [on_host(Fixture::irsa()), on_host(Fixture::cwii_all())] {
            assert_eq!(fixture.decide("POD18"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_metadata_server_does_not() {
        let fixture = on_host(Fixture::plain().service_account(|account| {
            account["metadata"]["annotations"] =
                json!({"iam.gke.io/gcp-service-account": "checkout@shop-prod.iam.gserviceaccount.com"});
        }));
        assert_eq!(
            fixture.messages("POD18"),
            ["the pod is on the host's network, where GKE workload identity gives it the node's identity or none"]
        );
    }

    #[test]
    fn a_pod_with_a_network_of_its_own_does_not_concern_it() {
        assert!(matches!(Fixture::irsa().decide("POD18"), Ok(Outcome::NotApplicable(_))));
    }
}
