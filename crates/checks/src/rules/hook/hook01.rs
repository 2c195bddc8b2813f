//! No webhook is registered that would inject the identity that the workload asks for.
//!
//! ## What it checks
//!
//! For each mechanism that a webhook injects (cwii, IRSA and EKS Pod Identity, Azure workload identity, Google federation):
//! that some MutatingWebhookConfiguration has a webhook of it, known by the webhook's name, the configuration's or the
//! Service's. GKE's metadata server needs none, nor does what somebody wrote into the pod by hand.
//!
//! ## Why it matters
//!
//! Annotations and labels are inert by themselves. Without the webhook the API server admits the pod as it was written, and
//! nobody is told: no event, no warning, no failed admission.
//!
//! ## How it looks
//!
//! The pod runs, and has neither variables nor token. SDKs fall through to what comes next, often the node's identity:
//!
//! ```text
//! botocore.exceptions.NoCredentialsError: Unable to locate credentials
//! ```
//!
//! ## How to fix it
//!
//! Install the webhook. On EKS it runs in the control plane, and only its registration can be lost; AWS describes how to
//! create it again. On AKS `az aks update` with `--enable-oidc-issuer --enable-workload-identity` installs it. Pods that
//! exist already have to be made anew afterwards.
//!
//! ## How to verify the fix
//!
//! `kubectl get mutatingwebhookconfigurations` lists it, and a new pod has the variables.
//!
//! ## References
//!
//! - AWS re:Post, "How do I troubleshoot IRSA errors in Amazon EKS?":
//!   <https://repost.aws/knowledge-center/eks-troubleshoot-irsa-errors>
//! - Azure Workload Identity, "Mutating Admission Webhook":
//!   <https://azure.github.io/azure-workload-identity/docs/installation/mutating-admission-webhook.html>

use super::{NO_WISH, webhook};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK01",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::Webhooks,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let wishes = webhook::wishes(case);
    if wishes.is_empty() {
        return Ok(Outcome::not_applicable(NO_WISH));
    }
    let mut findings = Vec::new();
    for wish in wishes {
        if !webhook::of(case, wish.family)?.is_empty() {
            continue;
        }
        let mut finding = Finding::new(
            "HOOK01",
            format!("no MutatingWebhookConfiguration calls {}", wish.family.name),
        )
        .of(wish.mechanism.provider)
        .fix(wish.family.install);
        if let Some(subject) = &wish.mechanism.asked_by {
            finding = finding.at(subject.clone());
        }
        // A pod that was injected when it was made keeps what it has; the next one will not get it.
        findings.push(if wish.lacking() {
            finding
        } else {
            finding.warning()
        });
    }
    Ok(Outcome::of(findings))
}

#[cfg(test)]
mod tests {
    use crate::{
        catalogue::Severity,
        doctor::{Gap, Need, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    #[test]
    fn a_webhook_that_is_there_passes() {
        assert_eq!(Fixture::irsa().decide("HOOK01"), Ok(Outcome::Pass));
        assert_eq!(Fixture::wanting().decide("HOOK01"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_that_asks_for_nothing_needs_no_webhook() {
        let fixture = Fixture::plain().with(|facts| facts.webhooks = Fact::Known(Vec::new()));
        assert!(matches!(
            fixture.decide("HOOK01"),
            Ok(Outcome::NotApplicable(_))
        ));
    }

    #[test]
    fn a_webhook_that_is_not_there_is_an_error_for_a_pod_without_its_injection() {
        let fixture = Fixture::wanting().with(|facts| facts.webhooks = Fact::Known(Vec::new()));
        assert_eq!(
            fixture.messages("HOOK01"),
            ["no MutatingWebhookConfiguration calls cwii's webhook"]
        );
        assert_eq!(fixture.severities("HOOK01"), [Severity::Error]);
    }

    #[test]
    fn it_is_a_warning_for_a_pod_that_was_injected_before() {
        let fixture = Fixture::irsa().with(|facts| facts.webhooks = Fact::Known(Vec::new()));
        assert_eq!(fixture.severities("HOOK01"), [Severity::Warning]);
    }

    #[test]
    fn configurations_that_nobody_gave_are_not_absent() {
        let fixture = Fixture::wanting().with(|facts| facts.webhooks = Fact::NotCollected);
        assert!(matches!(
            fixture.decide("HOOK01"),
            Err(Gap::NotLookedAt(Need::Webhooks, _))
        ));
        let fixture = Fixture::wanting().with(|facts| {
            facts.webhooks = Fact::Denied("list mutatingwebhookconfigurations".into());
        });
        assert!(matches!(
            fixture.decide("HOOK01"),
            Err(Gap::Unknown(Need::Webhooks, _))
        ));
    }
}
