//! Looks for kube2iam and kiam, which stand between pods and the instance metadata service.
//!
//! ## What it checks
//!
//! The annotation `iam.amazonaws.com/role` on a pod that has a way to AWS by itself, and DaemonSets of kube2iam or kiam in the
//! cluster.
//!
//! ## Why it matters
//!
//! Both answer in place of the instance metadata service and hand out credentials of the annotated role. An SDK that finds its
//! web identity first never asks them; one that does not gets another role than anybody expects.
//!
//! ## How it looks
//!
//! Calls are made as the role of `iam.amazonaws.com/role`, or of kube2iam's default role.
//!
//! ## How to fix it
//!
//! Take the annotation away once the workload uses its web identity, and remove the DaemonSet when nobody needs it.
//!
//! ## How to verify the fix
//!
//! `aws sts get-caller-identity` in the container names the expected role.
//!
//! ## References
//!
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>
//! - Amazon EKS, "IAM roles for service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html>

use cwii_contract::Provider;

use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::{Place, restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "AWS21",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::DaemonSets,
    ],
    check,
);

const ANNOTATION: &str = "iam.amazonaws.com/role";

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let of_aws = |provider| provider == Provider::Aws;
    if !case.mechanisms().iter().any(|mechanism| of_aws(mechanism.provider)) {
        return Ok(Outcome::not_applicable("the pod has no way to AWS by itself"));
    }
    let pod = case.pod()?;
    let mut findings = Vec::new();
    if let Some(role) = pod.annotation(ANNOTATION) {
        let mut finding = Finding::new(
            "AWS21",
            format!("the pod asks kube2iam or kiam for the role `{role}` as well"),
        )
        .of(Provider::Aws)
        .at(pod.subject_annotation(ANNOTATION))
        .fix("take the annotation away")
        .applicable(Applicability::Unsafe);
        let place = Place::of_pod(case).filter(|place| place.annotation(ANNOTATION).is_some());
        if let Some(place) = place {
            finding = restarted(finding.command(place.annotate(&[], &[ANNOTATION])), case);
        }
        findings.push(finding);
    }
    // An annotation is enough to know; without one only the DaemonSets tell.
    match case.daemon_sets() {
        Ok(sets) => {
            let interceptor = sets.into_iter().flatten().find(|set| intercepts(set));
            if let Some(set) = interceptor {
                findings.push(
                    Finding::new(
                        "AWS21",
                        format!("`{}` intercepts the instance metadata service on the cluster's nodes", set.name()),
                    )
                    .of(Provider::Aws)
                    .at(set.subject())
                    .fix("remove the DaemonSet once nobody needs it"),
                );
            }
        }
        Err(gap) if findings.is_empty() => return Err(gap),
        Err(_) => {}
    }
    Ok(Outcome::of(findings))
}

fn intercepts(set: &Object) -> bool {
    let known = ["kube2iam", "kiam", "kiam-agent"];
    let label = set.label("app.kubernetes.io/name").or_else(|| set.label("app"));
    known.contains(&set.name())
        || label.is_some_and(|label| known.contains(&label) && !set.name().ends_with("-server"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{doctor::{Object, Outcome}, facts::Fact, rules::fixture::Fixture};

    #[test]
    fn a_cluster_without_interceptors_passes() {
        assert_eq!(Fixture::irsa().decide("AWS21"), Ok(Outcome::Pass));
        assert!(matches!(Fixture::plain().decide("AWS21"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn annotation_and_daemon_set_are_told() {
        let fixture = Fixture::irsa()
            .pod(|pod| pod["metadata"]["annotations"] = json!({"iam.amazonaws.com/role": "checkout-old"}))
            .with(|facts| {
                facts.daemon_sets = Fact::Known(vec![Object::new(json!({"kind": "DaemonSet",
                    "metadata": {"name": "kube2iam", "namespace": "kube-system"}}))]);
            });
        assert_eq!(
            fixture.messages("AWS21"),
            [
                "the pod asks kube2iam or kiam for the role `checkout-old` as well",
                "`kube2iam` intercepts the instance metadata service on the cluster's nodes",
            ]
        );
    }
}
