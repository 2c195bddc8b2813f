//! The platform itself keeps admission webhooks away from the pod's namespace.
//!
//! ## What it checks
//!
//! Whether the requirement of the webhook's `namespaceSelector` that excludes the namespace is one that a platform put
//! there: `control-plane` and `kubernetes.azure.com/managedby` of the Admissions Enforcer of AKS, `openshift.io/run-level`
//! of OpenShift.
//!
//! ## Why it matters
//!
//! AKS adds its requirements to every webhook configuration, whatever the chart says, so that a webhook cannot break the
//! system's own namespaces. A label taken over from one of these namespaces, or a workload in `kube-system`, is then out of
//! the webhook's reach, and editing the chart does not help.
//!
//! ## How it looks
//!
//! The pod runs, and has neither variables nor token. `namespaceSelector` in the cluster has requirements that the chart
//! does not have.
//!
//! ## How to fix it
//!
//! Move the workload to a namespace of its own. Where it has to stay, exempt the webhook configuration from the enforcer
//! (`admissions.enforcer/disabled: "true"`, as label or annotation), and take the requirements out that are there already.
//!
//! ## How to verify the fix
//!
//! `kubectl get mutatingwebhookconfiguration NAME -o yaml` has no such requirement any more; a new pod has the variables.
//!
//! ## References
//!
//! - Microsoft, "Frequently asked questions about AKS", on admission controller webhooks and internal namespaces:
//!   <https://learn.microsoft.com/azure/aks/faq>
//! - Azure Workload Identity, "Troubleshooting", on pods in `kube-system`:
//!   <https://azure.github.io/azure-workload-identity/docs/troubleshooting.html>

use serde_json::json;

use super::{
    anew,
    matching::{self, Kind},
    per_wish, shell,
};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK03",
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

/// Labels that platforms select by, and whose they are.
const PLATFORMS: &[(&str, &str)] = &[
    ("control-plane", "AKS"),
    ("kubernetes.azure.com/managedby", "AKS"),
    ("openshift.io/run-level", "OpenShift"),
];

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    per_wish(case, |wish, webhooks| {
        if !wish.lacking() {
            return Ok(Some(Vec::new()));
        }
        let mut findings = Vec::new();
        for webhook in webhooks {
            let clauses = matching::excluding(case, webhook)?;
            if clauses.is_empty() {
                return Ok(Some(Vec::new()));
            }
            let by_platform = clauses.iter().find_map(|clause| {
                let label = clause.label().filter(|_| clause.kind == Kind::Namespace)?;
                let (_, platform) = PLATFORMS.iter().find(|(known, _)| *known == label)?;
                Some((clause, *platform))
            });
            let Some((clause, platform)) = by_platform else {
                continue;
            };
            let mut finding = Finding::new(
                "HOOK03",
                format!(
                    "{platform} keeps webhooks away from namespace `{}`",
                    case.namespace_name()
                ),
            )
            .of(wish.mechanism.provider)
            .at(webhook.configuration.subject_at(
                &clause.pointer,
                format!("`namespaceSelector` of webhook `{}`", webhook.name()),
            ))
            .evidence_from(
                "clause",
                format!("wants {}, found {}", clause.text, clause.found),
                format!("namespace {}", case.namespace_name()),
            )
            .fix("move the workload to a namespace of its own, or exempt the webhook from the platform's rule");
            if platform == "AKS" {
                finding = finding
                    .command(format!(
                        "kubectl annotate mutatingwebhookconfiguration {} admissions.enforcer/disabled=true --overwrite",
                        shell(webhook.configuration.name())
                    ))
                    .command(webhook.patch(&json!([{"op": "remove", "path": clause.pointer}])));
            }
            findings.push(anew(case, wish, finding));
        }
        Ok(Some(findings))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::{Outcome, State},
        facts::Fact,
        rules::fixture::{Fixture, edit},
    };

    fn enforced() -> Fixture {
        Fixture::wanting().webhook("cwii", |webhook| {
            webhook["namespaceSelector"] = json!({"matchExpressions": [
                {"key": "control-plane", "operator": "DoesNotExist"},
                {"key": "kubernetes.azure.com/managedby", "operator": "NotIn", "values": ["aks"]},
            ]});
        })
    }

    #[test]
    fn what_the_enforcer_adds_does_not_concern_other_namespaces() {
        assert_eq!(enforced().decide("HOOK03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_namespace_of_the_platform_is_the_cause_and_not_the_selector() {
        let fixture = enforced().with(|facts| {
            edit(&mut facts.namespace, |namespace| {
                namespace["metadata"]["labels"]["control-plane"] = json!("true");
            });
        });
        assert_eq!(
            fixture.messages("HOOK03"),
            ["AKS keeps webhooks away from namespace `shop`"]
        );
        let examination = fixture.examine();
        assert!(examination.verdicts.iter().any(|verdict| {
            verdict.entry.code == "HOOK02"
                && matches!(&verdict.state, State::Unknown { blocked_by, .. } if blocked_by == &["HOOK03"])
        }));
    }

    #[test]
    fn a_selector_of_the_charts_own_is_not_the_platforms() {
        let fixture = Fixture::wanting()
            .webhook("cwii", |webhook| {
                webhook["namespaceSelector"] = json!({"matchLabels": {"identity": "on"}});
            });
        assert_eq!(fixture.decide("HOOK03"), Ok(Outcome::Pass));
        let fixture = fixture.with(|facts| facts.namespace = Fact::Denied("get namespaces".into()));
        assert!(fixture.decide("HOOK03").is_err());
    }
}
