//! Tells of pods on the host's network that go by Pod Identity.
//!
//! ## What it checks
//!
//! `hostNetwork: true` on a pod with Pod Identity, outside the namespace of the system's own pods. AWS runs such pods itself, so it
//! is a warning.
//!
//! ## Why it matters
//!
//! Users report that the agent refuses such pods where it serves others of the same set-up, with the text of a trust policy that
//! denies. On the host's network the instance metadata service answers too, so that a failure ends as the node's role.
//!
//! ## How it looks
//!
//! ```text
//! Unauthorized Exception! EKS does not have permissions to assume the associated role., fault: client
//! ```
//!
//! ## How to fix it
//!
//! Take the pod off the host's network, or use IRSA, which does not care.
//!
//! ## How to verify the fix
//!
//! `aws sts get-caller-identity` in the container names the association's role.
//!
//! ## References
//!
//! - aws/eks-pod-identity-agent, issue 139, "Pod identity for workload running on hostNetwork":
//!   <https://github.com/aws/eks-pod-identity-agent/issues/139>
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>

use cwii_contract::Provider;

use super::{NEEDS, NONE, pod_identity};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new("EPI14", NEEDS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    if pod_identity(case).is_none() {
        return Ok(Outcome::not_applicable(NONE));
    }
    let pod = case.pod()?;
    let on_host = pod.get("/spec/hostNetwork").and_then(|flag| flag.as_bool()) == Some(true);
    if !on_host || case.namespace_name() == "kube-system" {
        return Ok(Outcome::Pass);
    }
    Ok(Outcome::Found(vec![
        Finding::new(
            "EPI14",
            "the pod is on the host's network, where Pod Identity is reported to be refused",
        )
        .warning()
        .of(Provider::Aws)
        .at(pod.subject_at("/spec/hostNetwork", "`hostNetwork`"))
        .fix("take the pod off the host's network, or use IRSA for it"),
    ]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{catalogue::Severity, doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn a_pod_with_a_network_of_its_own_passes() {
        assert_eq!(Fixture::pod_identity().decide("EPI14"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_on_the_hosts_network_is_a_warning_except_for_the_systems_own() {
        let fixture = Fixture::pod_identity()
            .with(|fixture| fixture.pod(|pod| pod["spec"]["hostNetwork"] = json!(true)));
        assert_eq!(fixture.findings("EPI14")[0].severity(), Severity::Warning);
        let system = fixture
            .change("association.json", |document| document["association"]["namespace"] = json!("kube-system"))
            .with(|fixture| fixture.with(|facts| facts.target.namespace = "kube-system".into()));
        assert_eq!(system.decide("EPI14"), Ok(Outcome::Pass));
    }
}
