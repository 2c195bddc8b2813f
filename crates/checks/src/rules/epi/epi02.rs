//! Looks whether the pod's node is one that EKS Pod Identity exists on.
//!
//! ## What it checks
//!
//! Pod Identity exists on Linux instances of EC2. A pod on Fargate, or on a Windows node, has none, although an association may name
//! its ServiceAccount.
//!
//! ## Why it matters
//!
//! The agent is a DaemonSet, which Fargate does not run, and there is none for Windows. Nothing refuses the association.
//!
//! ## How it looks
//!
//! ```text
//! Unable to locate credentials. You can configure credentials by running "aws configure".
//! ```
//!
//! ## How to fix it
//!
//! Use IAM roles for service accounts (IRSA) there, or move the workload to a Linux node.
//!
//! ## How to verify the fix
//!
//! The new pod has `AWS_WEB_IDENTITY_TOKEN_FILE`, and `aws sts get-caller-identity` names the role.
//!
//! ## References
//!
//! - Amazon EKS, "Learn how EKS Pod Identity grants pods access to AWS services", restrictions:
//!   <https://docs.aws.amazon.com/eks/latest/userguide/pod-identities.html>
//! - Amazon EKS, "IAM roles for service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/iam-roles-for-service-accounts.html>

use cwii_contract::Provider;

use super::{NEEDS, NONE, pod_identity};
use crate::{
    doctor::{Case, Gap, MechanismKind, Outcome, Rule},
    report::Finding,
    rules::words::{quote, restarted},
};

pub(super) const RULE: Rule = Rule::new("EPI02", NEEDS, check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let Some(identity) = pod_identity(case) else {
        return Ok(Outcome::not_applicable(NONE));
    };
    let pod = case.pod()?;
    let node = match case.node() {
        Ok(node) => node,
        // The pod itself tells of Fargate and Windows too, in most cases.
        Err(Gap::NotLookedAt(..)) => None,
        Err(gap) => return Err(gap),
    };
    let on_node = |key: &str| node.and_then(|node| node.label(key));
    let selected = |key: &str| pod.get("/spec/nodeSelector")?.get(key)?.as_str();
    let is_fargate = on_node("eks.amazonaws.com/compute-type") == Some("fargate")
        || pod.label("eks.amazonaws.com/fargate-profile").is_some();
    let is_windows = on_node("kubernetes.io/os") == Some("windows")
        || selected("kubernetes.io/os") == Some("windows")
        || pod.text("/spec/os/name") == Some("windows");
    let (message, what) = if is_fargate {
        ("EKS Pod Identity does not exist on Fargate, where the pod runs", "Fargate")
    } else if is_windows {
        ("EKS Pod Identity does not exist on Windows, where the pod runs", "Windows")
    } else {
        return Ok(Outcome::Pass);
    };
    let mut finding = Finding::new("EPI02", message)
        .of(Provider::Aws)
        .at(pod.subject_at("/spec/nodeName", "`nodeName`"))
        .evidence("node", pod.text("/spec/nodeName").unwrap_or(what));
    let works = case
        .mechanisms()
        .iter()
        .any(|other| other.kind == MechanismKind::Irsa && other.injected);
    if works {
        // The association is for replicas elsewhere, perhaps.
        finding = finding.warning();
    }
    finding = finding.fix("use IRSA for this workload, or move it to a Linux node of EC2");
    if let Some(role) = &identity.role {
        finding = finding.command(format!(
            "kubectl -n {} annotate serviceaccount {} eks.amazonaws.com/role-arn={} --overwrite",
            quote(case.namespace_name()),
            quote(case.service_account_name()?),
            quote(&role.value)
        ));
        finding = restarted(finding, case);
    }
    Ok(Outcome::Found(vec![finding]))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, edit},
    };

    #[test]
    fn a_linux_instance_passes() {
        assert_eq!(Fixture::pod_identity().decide("EPI02"), Ok(Outcome::Pass));
    }

    #[test]
    fn fargate_and_windows_are_told() {
        for (label, value, word) in [
            ("eks.amazonaws.com/compute-type", "fargate", "Fargate"),
            ("kubernetes.io/os", "windows", "Windows"),
        ] {
            let fixture = Fixture::pod_identity().with(|fixture| {
                fixture.with(|facts| {
                    edit(&mut facts.node, |node| node["metadata"]["labels"][label] = json!(value));
                })
            });
            assert!(fixture.messages("EPI02")[0].contains(word));
        }
    }
}
