//! The pod names a ServiceAccount that does not exist in its namespace.
//!
//! ## What it checks
//!
//! That `spec.serviceAccountName` of the pod, or `default` where it has none, is a ServiceAccount of the pod's own
//! namespace.
//!
//! ## Why it matters
//!
//! A ServiceAccount is never found across namespaces. A pod whose account is missing is not created at all; the reason
//! stands in the events of its ReplicaSet or Job, not on any pod. One whose account was deleted later keeps running, and
//! no token is minted for it any more.
//!
//! ## How it looks
//!
//! ```text
//! Error creating: pods "checkout-7d9f-" is forbidden: error looking up service account shop/checkout: serviceaccount "checkout" not found
//! ```
//!
//! ## How to fix it
//!
//! Create the ServiceAccount in the pod's namespace, with its annotations, or name the right one in the pod template.
//!
//! ## How to verify the fix
//!
//! `kubectl -n NAMESPACE get serviceaccount NAME` shows it, and new pods appear.
//!
//! ## References
//!
//! - Kubernetes, "Configure Service Accounts for Pods":
//!   <https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/>

use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new("POD02", &[Need::Pod, Need::ServiceAccount], check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let name = case.service_account_name()?;
    if case.service_account()?.is_some() {
        return Ok(Outcome::Pass);
    }
    let namespace = case.namespace_name();
    Ok(Outcome::Found(vec![
        Finding::new(
            "POD02",
            format!("ServiceAccount `{name}` does not exist in namespace `{namespace}`"),
        )
        .at(pod.subject_at("/spec/serviceAccountName", "`serviceAccountName`"))
        .fix("create the ServiceAccount, or name the right one in the pod template")
        .command(format!(
            "kubectl -n {namespace} create serviceaccount {name}"
        ))
        .applicable(Applicability::Unsafe),
    ]))
}

#[cfg(test)]
mod tests {
    use crate::{doctor::Outcome, facts::Fact, rules::fixture::Fixture};

    #[test]
    fn an_account_that_exists_passes() {
        assert_eq!(Fixture::plain().decide("POD02"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_account_that_does_not_exist_is_named() {
        let fixture = Fixture::plain().with(|facts| facts.service_account = Fact::Absent);
        assert_eq!(
            fixture.messages("POD02"),
            ["ServiceAccount `checkout` does not exist in namespace `shop`"]
        );
    }
}
