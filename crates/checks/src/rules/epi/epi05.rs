//! Looks for what EKS puts into the pods of a ServiceAccount with a pod identity association.
//!
//! ## What it checks
//!
//! A pod whose ServiceAccount has an association must have `AWS_CONTAINER_CREDENTIALS_FULL_URI` in its containers, and the
//! projected token for `pods.eks.amazonaws.com` among its volumes. Where the pod has IRSA instead, which still works, it is a
//! warning.
//!
//! ## Why it matters
//!
//! EKS changes pods only as they are created. One that is older than the association never gets the variables, and its SDK
//! goes on to whatever comes next, in the end the node's role.
//!
//! ## How it looks
//!
//! ```text
//! Unable to locate credentials. You can configure credentials by running "aws configure".
//! ```
//!
//! ## How to fix it
//!
//! Restart the workload.
//!
//! ## How to verify the fix
//!
//! The new pod has `AWS_CONTAINER_CREDENTIALS_FULL_URI` and the volume `eks-pod-identity-token`.
//!
//! ## References
//!
//! - Amazon EKS, "Understand how EKS Pod Identity works":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
//! - Amazon EKS, "Configure pods to access AWS services with service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-configure-pods.html>

use cwii_contract::{Provider, env};
use cwii_token::span::humanize;

use super::{NEEDS, NONE, association, pod_identity};
use crate::{
    doctor::{Case, Gap, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::restarted,
};

pub(super) const RULE: Rule =
    Rule::new("EPI05", NEEDS, check).blocked_by(&["EPI02", "EPI06", "POD03", "POD15"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let Some(identity) = pod_identity(case) else {
        return Ok(Outcome::not_applicable(NONE));
    };
    if case.is_template() {
        return Ok(Outcome::not_applicable("EKS adds it as the pod is created"));
    }
    let pod = case.pod()?;
    let lacking: Vec<String> = pod
        .containers()
        .filter(|container| container.list == "containers")
        .filter(|container| !container.has_variable(env::AWS_CONTAINER_CREDENTIALS_FULL_URI))
        .map(|container| format!("`{}`", container.name()))
        .collect();
    let all = pod
        .containers()
        .filter(|container| container.list == "containers")
        .count();
    let message = if lacking.len() == all {
        "the ServiceAccount has a pod identity association, and the pod has nothing of it"
    } else if identity.token.is_none() {
        "the pod has the endpoint of Pod Identity and no token for it"
    } else {
        return Ok(Outcome::Pass);
    };
    let mut finding = Finding::new("EPI05", message)
        .of(Provider::Aws)
        .at(pod.subject_at(
            "/spec/containers",
            format!("`{}` in the containers", env::AWS_CONTAINER_CREDENTIALS_FULL_URI),
        ))
        .fix("restart the workload: only new pods get the variables")
        .applicable(Applicability::Safe);
    if let Some(association) = association(case)? {
        finding = finding.evidence(
            "association",
            format!(
                "{}: {}/{}",
                association.cluster_name, association.namespace, association.service_account
            ),
        );
        if let (Some(created), Some(changed)) = (pod.created(), association.changed_at)
            && created < changed
        {
            finding = finding.evidence(
                "pod",
                format!("{} older than the association", humanize(changed.duration_since(created))),
            );
        }
    }
    let works = case
        .mechanisms()
        .iter()
        .any(|mechanism| mechanism.provider == Provider::Aws && mechanism.kind.presents_token() && mechanism.injected);
    if works {
        finding = finding.warning();
    }
    Ok(Outcome::Found(vec![restarted(finding, case)]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{catalogue::Severity, doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn a_pod_with_endpoint_and_token_passes() {
        assert_eq!(Fixture::pod_identity().decide("EPI05"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_that_is_older_than_the_association_has_nothing_of_it() {
        let fixture = Fixture::pod_identity().with(|fixture| {
            fixture.pod(|pod| {
                pod["spec"]["volumes"] = json!([]);
                pod["spec"]["containers"][0]["env"] = json!([]);
                pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
                pod["metadata"]["creationTimestamp"] = json!("2026-11-20T08:59:00Z");
            })
        });
        let finding = fixture.findings("EPI05").remove(0);
        assert_eq!(finding.severity(), Severity::Error);
        assert_eq!(finding.fix.commands, ["kubectl -n shop rollout restart deployment checkout"]);
        assert!(finding.evidence.iter().any(|e| e.value.ends_with("older than the association")));
    }

    #[test]
    fn an_endpoint_without_token_is_told() {
        let fixture = Fixture::pod_identity().with(|fixture| {
            fixture.pod(|pod| {
                pod["spec"]["volumes"] = json!([]);
                pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
            })
        });
        assert_eq!(fixture.messages("EPI05"), ["the pod has the endpoint of Pod Identity and no token for it"]);
    }

    #[test]
    fn a_pod_that_still_has_irsa_works() {
        let fixture = Fixture::irsa_trusted().document(
            "association.json",
            &json!({"association": {"clusterName": "prod", "namespace": "shop", "serviceAccount": "checkout",
                "roleArn": "arn:aws:iam::111122223333:role/checkout"}}).to_string(),
        );
        assert_eq!(fixture.findings("EPI05")[0].severity(), Severity::Warning);
    }
}
