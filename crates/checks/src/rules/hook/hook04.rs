//! Two webhooks inject the same identity, and do not know of each other.
//!
//! ## What it checks
//!
//! How many webhooks of one kind are called for this pod: in one MutatingWebhookConfiguration or in several, reached by the
//! same Service or by others.
//!
//! ## Why it matters
//!
//! An add-on of the platform and a chart of one's own share names: of ClusterRoles, of the configuration, of volumes. One
//! of them overwrites the other's certificate or takes its permissions away when it is removed, and pods get what the
//! one with the older settings injects.
//!
//! ## How it looks
//!
//! Pods come up with a tenant or region that nobody set, or without an identity after one of the two was uninstalled.
//!
//! ## How to fix it
//!
//! Keep one. On EKS and AKS keep the platform's, and uninstall the chart.
//!
//! ## How to verify the fix
//!
//! `kubectl get mutatingwebhookconfigurations` lists one webhook of the kind, and a new pod has the variables once.
//!
//! ## References
//!
//! - Microsoft, "Use Microsoft Entra Workload ID with AKS":
//!   <https://learn.microsoft.com/azure/aks/workload-identity-overview>
//! - AWS, "Assign IAM roles to Kubernetes service accounts":
//!   <https://docs.aws.amazon.com/eks/latest/userguide/associate-service-account-role.html>

use super::{matching, per_wish, shell, webhook::Webhook};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK04",
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
)
.blocked_by(&["AKS02"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    per_wish(case, |wish, webhooks| {
        let mut called = Vec::new();
        for webhook in webhooks {
            // Which of them are called does not matter where there is only one.
            if webhooks.len() > 1 && matching::excluding(case, webhook)?.is_empty() {
                called.push(webhook);
            }
        }
        let [first, second, ..] = called.as_slice() else {
            return Ok(Some(Vec::new()));
        };
        let mut finding = Finding::new(
            "HOOK04",
            format!(
                "{} webhooks inject {} into this pod",
                called.len(),
                wish.mechanism.kind.name()
            ),
        )
        .of(wish.mechanism.provider)
        .at(second.subject("", "entry"));
        for webhook in &called {
            finding = finding.evidence_from(
                "webhook",
                format!("`{}`, reached at {}", webhook.name(), place(webhook)),
                format!("mutatingwebhookconfiguration {}", webhook.configuration.name()),
            );
        }
        finding = finding.fix("keep one of them, the platform's where it has one, and uninstall the other");
        // Which one is not the platform's shows where one of them is.
        let managed = |webhook: &Webhook<'_>| match webhook.service() {
            None => true,
            Some(service) => service.namespace == "kube-system",
        };
        let other = match (managed(first), managed(second)) {
            (true, false) => Some(second),
            (false, true) => Some(first),
            _ => None,
        };
        if let Some(other) = other.filter(|_| {
            called.len() == 2 && first.configuration.name() != second.configuration.name()
        }) {
            finding = finding
                .command(format!(
                    "kubectl delete mutatingwebhookconfiguration {}",
                    shell(other.configuration.name())
                ))
                .applicable(Applicability::Unsafe);
        }
        Ok(Some(vec![if wish.lacking() {
            finding
        } else {
            finding.warning()
        }]))
    })
}

fn place(webhook: &Webhook<'_>) -> String {
    match webhook.service() {
        Some(service) => format!("Service {service}"),
        None => webhook.text("/clientConfig/url").unwrap_or("no place").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        catalogue::Severity,
        doctor::{Object, Outcome},
        facts::Fact,
        rules::fixture::Fixture,
    };

    fn doubled() -> Fixture {
        Fixture::irsa().with(|facts| {
            let Fact::Known(webhooks) = &mut facts.webhooks else {
                panic!("no webhooks");
            };
            webhooks.push(Object::new(json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": "aws-pod-identity-webhook"},
                "webhooks": [{
                    "name": "pod-identity-webhook.amazonaws.com", "failurePolicy": "Ignore",
                    "admissionReviewVersions": ["v1beta1"], "sideEffects": "None",
                    "clientConfig": {"service": {"namespace": "identity", "name": "pod-identity-webhook", "path": "/mutate"}},
                    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}],
                }],
            })));
        })
    }

    #[test]
    fn one_webhook_passes() {
        assert_eq!(Fixture::irsa().decide("HOOK04"), Ok(Outcome::Pass));
    }

    #[test]
    fn the_one_that_is_not_the_platforms_is_to_go() {
        assert_eq!(
            doubled().messages("HOOK04"),
            ["2 webhooks inject IRSA into this pod"]
        );
        assert_eq!(doubled().severities("HOOK04"), [Severity::Warning]);
        let Ok(Outcome::Found(findings)) = doubled().decide("HOOK04") else {
            panic!("nothing found");
        };
        assert_eq!(
            findings[0].fix.commands,
            ["kubectl delete mutatingwebhookconfiguration aws-pod-identity-webhook"]
        );
    }

    #[test]
    fn one_that_is_not_called_for_this_pod_does_not_count() {
        let fixture = doubled().webhook("aws-pod-identity-webhook", |webhook| {
            webhook["objectSelector"] = json!({"matchLabels": {"use": "it"}});
        });
        assert_eq!(fixture.decide("HOOK04"), Ok(Outcome::Pass));
    }
}
