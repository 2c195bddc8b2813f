//! The webhook is installed, and its rules or selectors keep it away from this pod.
//!
//! ## What it checks
//!
//! The webhook's `rules`, `namespaceSelector`, `objectSelector` and `matchConditions`, as the API server evaluates them when
//! the pod is created: labels of the namespace, labels of the pod, CEL expressions over the pod. A condition that depends on
//! who makes the request cannot be told afterwards, and is then unknown.
//!
//! ## Why it matters
//!
//! A pod that a selector excludes is admitted without the webhook, silently. Most often a label is missing from the
//! namespace, or stands on the Deployment and not on its pod template.
//!
//! ## How it looks
//!
//! The pod runs, and has neither variables nor token. Other namespaces work.
//!
//! ## How to fix it
//!
//! Set the label that the selector wants, on the namespace or in the pod template, and make the pods anew. Where the
//! selector itself is wrong, change it in the values of the chart that the webhook came with.
//!
//! ## How to verify the fix
//!
//! `kubectl get mutatingwebhookconfiguration NAME -o yaml` beside `kubectl get namespace NAME --show-labels`; a new pod has
//! the variables.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control", "Matching requests":
//!   <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/#matching-requests-rules>
//! - Azure Workload Identity, release notes of v1.0.0, on its object selector:
//!   <https://github.com/Azure/azure-workload-identity/releases/tag/v1.0.0>

use super::{
    matching::{self, Kind},
    per_wish, restart,
};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK02",
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
.blocked_by(&["POD05", "POD06", "POD07", "HOOK03"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    per_wish(case, |wish, webhooks| {
        // A pod that has its injection was selected, whatever its labels are by now.
        if !wish.lacking() {
            return Ok(Some(Vec::new()));
        }
        let mut findings = Vec::new();
        for webhook in webhooks {
            let clauses = matching::excluding(case, webhook)?;
            let Some(first) = clauses.first() else {
                return Ok(Some(Vec::new()));
            };
            let part = match first.kind {
                Kind::Rules => "`rules`",
                Kind::Namespace => "`namespaceSelector`",
                Kind::Object => "`objectSelector`",
                Kind::Condition => "a match condition",
            };
            let mut finding = Finding::new(
                "HOOK02",
                format!(
                    "{} is not called for this pod: {part} of webhook `{}` excludes it",
                    wish.family.name,
                    webhook.name()
                ),
            )
            .of(wish.mechanism.provider)
            .at(webhook
                .configuration
                .subject_at(&first.pointer, format!("{part} of webhook `{}`", webhook.name())));
            for clause in &clauses {
                let source = match clause.kind {
                    Kind::Namespace => format!("namespace {}", case.namespace_name()),
                    _ => "the pod".to_owned(),
                };
                finding = finding.evidence_from(
                    "clause",
                    format!("wants {}, found {}", clause.text, clause.found),
                    source,
                );
            }
            let commands: Vec<_> = clauses.iter().map(|clause| clause.command(case)).collect();
            finding = if commands.iter().all(Option::is_some) && !commands.is_empty() {
                let finding = commands
                    .into_iter()
                    .flatten()
                    .fold(finding, Finding::command)
                    .fix("set what the selector wants, then make the pods anew")
                    .applicable(Applicability::Unsafe);
                // A patch of the template makes them anew by itself.
                match (first.kind, restart(case)) {
                    (Kind::Namespace, Some(command)) => finding.command(command),
                    _ => finding,
                }
            } else {
                finding.fix("move the workload to where the webhook is called, or change the webhook's selection")
            };
            findings.push(finding);
        }
        Ok(Some(findings))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::{Gap, Need, Outcome},
        report::Finding,
        rules::fixture::Fixture,
    };

    fn with(member: &str, value: Value) -> Fixture {
        Fixture::wanting().webhook("cwii", |webhook| webhook[member] = value)
    }

    fn only(fixture: &Fixture) -> Finding {
        match fixture.decide("HOOK02") {
            Ok(Outcome::Found(findings)) if findings.len() == 1 => findings[0].clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_webhook_that_selects_the_pod_passes() {
        assert_eq!(Fixture::wanting().decide("HOOK02"), Ok(Outcome::Pass));
        for selector in [
            json!({"matchExpressions": [{"key": "a", "operator": "NotIn", "values": ["x"]}]}),
            json!({"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}),
            json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]}),
            json!({"matchLabels": {"kubernetes.io/metadata.name": "shop"}}),
            json!({}),
        ] {
            assert_eq!(
                with("namespaceSelector", selector.clone()).decide("HOOK02"),
                Ok(Outcome::Pass),
                "{selector}"
            );
        }
    }

    #[test]
    fn the_clause_of_a_namespace_selector_is_named_with_the_label_to_set() {
        let finding = only(&with(
            "namespaceSelector",
            json!({"matchLabels": {"identity": "on"}}),
        ));
        assert_eq!(
            finding.message,
            "cwii's webhook is not called for this pod: `namespaceSelector` of webhook `mutate.cwii.dev` excludes it"
        );
        assert_eq!(
            finding.evidence[0].value,
            "wants `identity=on`, found no label `identity`"
        );
        assert_eq!(
            finding.fix.commands,
            [
                "kubectl label namespace shop identity=on --overwrite",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }

    #[test]
    fn the_clause_of_an_object_selector_is_mended_in_the_template() {
        let finding = only(&with(
            "objectSelector",
            json!({"matchExpressions": [{"key": "example.com/use", "operator": "In", "values": ["true"]}]}),
        ));
        assert_eq!(
            finding.subject.unwrap().pointer.as_deref(),
            Some("/webhooks/0/objectSelector/matchExpressions/0")
        );
        assert_eq!(
            finding.fix.commands,
            [
                r#"kubectl -n shop patch deployment checkout --type=json -p '[{"op":"add","path":"/spec/template/metadata/labels/example.com~1use","value":"true"}]'"#
            ]
        );
    }

    #[test]
    fn rules_without_pods_exclude_every_pod() {
        let finding = only(&with(
            "rules",
            json!([{"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}]),
        ));
        assert!(finding.message.contains("`rules`"));
    }

    #[test]
    fn a_false_match_condition_excludes_and_one_that_cannot_be_told_is_unknown() {
        let conditions = |expression: &str| {
            with(
                "matchConditions",
                json!([{"name": "c", "expression": expression}]),
            )
        };
        assert_eq!(
            conditions("request.namespace == 'shop' && object.spec.serviceAccountName != 'default'")
                .decide("HOOK02"),
            Ok(Outcome::Pass)
        );
        let finding = only(&conditions("object.spec.serviceAccountName == 'other'"));
        assert!(
            finding.evidence[0]
                .value
                .contains("object.spec.serviceAccountName == 'other'")
        );
        for expression in [
            "!request.userInfo.username.startsWith('system:node')",
            "isQuantity(object.metadata.name)",
            "object.metadata.annotations['nope'] == 'x'",
        ] {
            assert!(
                matches!(conditions(expression).decide("HOOK02"),
                    Err(Gap::Unknown(Need::Webhooks, why)) if why.contains(expression)),
                "{expression}"
            );
        }
    }

    #[test]
    fn a_pod_with_its_injection_was_selected() {
        let fixture = Fixture::irsa().webhook("pod-identity-webhook", |webhook| {
            webhook["namespaceSelector"] = json!({"matchLabels": {"identity": "on"}});
        });
        assert_eq!(fixture.decide("HOOK02"), Ok(Outcome::Pass));
    }
}
