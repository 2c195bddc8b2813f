//! AAD Pod Identity still intercepts the workload's requests.
//!
//! ## What it checks
//!
//! The label `aadpodidbinding` on the pod, and a DaemonSet of AAD Pod Identity's NMI, by its labels or its name. Its custom
//! resources alone do nothing and are not reported.
//!
//! ## Why it matters
//!
//! NMI redirects requests for the instance metadata service on every node. As long as it runs a workload that falls back to
//! the managed identity gets one from it, and errors come from a component that has been out of support since 2023.
//!
//! ## How it looks
//!
//! ```text
//! getting assigned identities for pod shop/checkout-… in CREATED state failed after 16 attempts
//! ```
//!
//! ## How to fix it
//!
//! Remove the label from the pod template once the workload identity works; remove AAD Pod Identity when no pod has it any
//! more.
//!
//! ## How to verify the fix
//!
//! `kubectl get daemonsets -A -l component=nmi` lists nothing.
//!
//! ## References
//!
//! - Microsoft, "Migrate from pod managed-identity to workload identity":
//!   <https://learn.microsoft.com/azure/aks/workload-identity-migrate-from-pod-identity>

use serde_json::json;

use super::each;
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::{Applicability, Finding},
    rules::federation::{template_prefix, workload},
};

pub(super) const RULE: Rule = Rule::new(
    "AKS06",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::DaemonSets,
        Need::Trust,
    ],
    check,
);

const BINDING: &str = "aadpodidbinding";

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    each(case, |_| {
        let pod = case.pod()?;
        let labelled = pod.label(BINDING).is_some();
        let sets = match case.daemon_sets() {
            Ok(sets) => sets,
            // Without the label a pod is not one that NMI would answer for.
            Err(_) if !labelled => return Ok(Vec::new()),
            Err(gap) => return Err(gap),
        };
        let Some(nmi) = sets.into_iter().flatten().find(|set| is_nmi(set)) else {
            return Ok(Vec::new());
        };
        let finding = Finding::new(
            "AKS06",
            if labelled {
                "the pod is bound to AAD Pod Identity, whose DaemonSet still runs"
            } else {
                "the DaemonSet of AAD Pod Identity still intercepts requests for managed identities"
            },
        )
        .evidence("DaemonSet", format!("{}/{}", nmi.namespace().unwrap_or_default(), nmi.name()));
        if !labelled {
            return Ok(vec![
                finding
                    .at(nmi.subject())
                    .fix("remove AAD Pod Identity when no pod needs it any more")
                    .warning(),
            ]);
        }
        let path = format!("{}/metadata/labels/{BINDING}", template_prefix(case));
        let patch = json!([{"op": "remove", "path": path}]);
        Ok(vec![
            finding
                .at(pod.subject_label(BINDING))
                .fix("take the label off the pod template")
                .command(format!(
                    "kubectl -n {} patch {} --type=json -p '{patch}'",
                    case.namespace_name(),
                    workload(case).replace('/', " ")
                ))
                .applicable(Applicability::Unsafe),
        ])
    })
}

fn is_nmi(set: &Object) -> bool {
    let template = |label: &str| {
        set.get("/spec/template/metadata/labels")
            .and_then(|labels| labels.get(label))
            .and_then(|value| value.as_str())
    };
    set.label("component") == Some("nmi")
        || template("component") == Some("nmi")
        || template("app.kubernetes.io/component") == Some("nmi")
        || set.name() == "aad-pod-identity-nmi"
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

    fn with_nmi() -> Fixture {
        Fixture::aks().with(|facts| {
            facts.daemon_sets = Fact::Known(vec![Object::new(json!({
                "kind": "DaemonSet", "metadata": {"name": "nmi", "namespace": "kube-system",
                    "labels": {"component": "nmi", "tier": "node"}},
            }))]);
        })
    }

    #[test]
    fn without_nmi_even_the_label_passes() {
        assert_eq!(Fixture::aks().decide("AKS06"), Ok(Outcome::Pass));
        let fixture =
            Fixture::aks().pod(|pod| pod["metadata"]["labels"]["aadpodidbinding"] = "checkout".into());
        assert_eq!(fixture.decide("AKS06"), Ok(Outcome::Pass));
    }

    #[test]
    fn nmi_is_a_warning_and_a_bound_pod_an_error() {
        let severity = |fixture: Fixture| match fixture.decide("AKS06") {
            Ok(Outcome::Found(findings)) => findings[0].severity(),
            other => panic!("{other:?}"),
        };
        assert_eq!(severity(with_nmi()), Severity::Warning);
        let bound = with_nmi()
            .pod(|pod| pod["metadata"]["labels"]["aadpodidbinding"] = "checkout".into());
        assert_eq!(severity(bound), Severity::Error);
    }
}
