//! What happens when the webhook does not answer does not go with what it is called for.
//!
//! ## What it checks
//!
//! For cwii's webhook and others that were installed by hand: `failurePolicy: Fail` on a webhook without any selector, and
//! `failurePolicy: Ignore` for a pod that no enforced verification guards. The webhooks of EKS and AKS are set up by the
//! platform, which answers for them.
//!
//! ## Why it matters
//!
//! `Fail` without a selector holds the webhook's own pods back as well: after an outage nothing can be created that would end
//! it, not even the mirror pods of a new control-plane node. `Ignore` admits pods without their identity whenever the webhook
//! is away; only a verification inside the pod notices.
//!
//! ## How it looks
//!
//! After all nodes were replaced at once no pod starts; or single pods of a rollout have no identity.
//!
//! ## How to fix it
//!
//! `Fail` with a `namespaceSelector` that leaves out `kube-system` and the webhook's own namespace; or `Ignore` together with
//! `cwii.dev/<provider>-verify` and `cwii.dev/<provider>-verify-enforce` on what must not start without.
//!
//! ## How to verify the fix
//!
//! `kubectl get mutatingwebhookconfiguration NAME -o yaml` shows the pair.
//!
//! ## References
//!
//! - Kubernetes, "Admission Webhook Good Practices":
//!   <https://kubernetes.io/docs/concepts/cluster-administration/admission-webhooks-good-practices/>

use serde_json::{Value, json};

use super::{each, webhook::Webhook};
use crate::{
    doctor::{Case, Gap, MechanismKind, Need, Outcome, Rule},
    report::{Applicability, Finding},
};

pub(super) const RULE: Rule = Rule::new(
    "HOOK13",
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
    each(case, |wish, webhook| {
        let Some(service) = webhook.service() else {
            return Ok(None);
        };
        // The add-on of AKS; self-installed webhooks have a namespace of their own.
        if wish.mechanism.kind == MechanismKind::AzureWorkloadIdentity
            && service.namespace == "kube-system"
        {
            return Ok(None);
        }
        let found = |message: String| {
            Finding::new("HOOK13", message)
                .of(wish.mechanism.provider)
                .at(webhook.subject("/failurePolicy", "`failurePolicy`"))
        };
        if webhook.fails_closed() {
            if selective(webhook) {
                return Ok(Some(Vec::new()));
            }
            let path = webhook.pointer("/namespaceSelector");
            let selector = json!({"matchExpressions": [{
                "key": "kubernetes.io/metadata.name", "operator": "NotIn",
                "values": ["kube-system", "kube-node-lease", service.namespace],
            }]});
            return Ok(Some(vec![
                found(format!(
                    "webhook `{}` fails closed for every pod, its own included",
                    webhook.name()
                ))
                .compared("Fail, without a selector", "Fail, with a namespace selector")
                .fix("leave out the system's namespaces and the webhook's own")
                .command(webhook.patch(&json!([{"op": "add", "path": path, "value": selector}])))
                .applicable(Applicability::Unsafe),
            ]));
        }
        if verified(case, wish.mechanism.kind, wish.mechanism.provider)? {
            return Ok(Some(Vec::new()));
        }
        Ok(Some(vec![
            found(format!(
                "without an answer of webhook `{}` this pod starts without its identity",
                webhook.name()
            ))
            .compared("Ignore, without an enforced verification", "Fail, or an enforced verification")
            .fix("let the webhook fail closed, or have the identity verified before the pod starts"),
        ]))
    })
}

/// Whether anything limits what the webhook is called for.
fn selective(webhook: &Webhook<'_>) -> bool {
    let some = |member: &str| {
        webhook.value.get(member).is_some_and(|value| match value {
            Value::Object(members) => !members.is_empty(),
            Value::Array(items) => !items.is_empty(),
            _ => false,
        })
    };
    ["namespaceSelector", "objectSelector", "matchConditions"]
        .into_iter()
        .any(some)
}

/// Whether an init container of cwii lets the pod start only with its identity.
fn verified(
    case: &Case<'_>,
    kind: MechanismKind,
    provider: cwii_contract::Provider,
) -> Result<bool, Gap> {
    if kind != MechanismKind::Cwii {
        return Ok(false);
    }
    let Ok(plan) = case.plan()? else {
        return Ok(false);
    };
    let key = format!("cwii.dev/{provider}-verify-enforce");
    Ok(plan
        .providers
        .iter()
        .filter(|planned| planned.provider == provider && !planned.init_containers.is_empty())
        .flat_map(|planned| &planned.settings)
        .any(|setting| setting.key == key && setting.value == "true"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{catalogue::Severity, doctor::Outcome, rules::fixture::Fixture};

    #[test]
    fn failing_closed_with_a_selector_passes() {
        assert_eq!(Fixture::wanting().decide("HOOK13"), Ok(Outcome::Pass));
    }

    #[test]
    fn the_platforms_own_choice_is_not_judged() {
        assert!(matches!(
            Fixture::irsa().decide("HOOK13"),
            Ok(Outcome::NotApplicable(_))
        ));
        assert!(matches!(
            Fixture::azure_wanting().decide("HOOK13"),
            Ok(Outcome::NotApplicable(_))
        ));
    }

    #[test]
    fn failing_closed_for_everything_is_a_warning() {
        let fixture = Fixture::wanting().webhook("cwii", |webhook| {
            webhook["namespaceSelector"] = json!({});
        });
        assert_eq!(fixture.severities("HOOK13"), [Severity::Warning]);
        assert_eq!(
            fixture.messages("HOOK13"),
            ["webhook `mutate.cwii.dev` fails closed for every pod, its own included"]
        );
    }

    #[test]
    fn failing_open_needs_an_enforced_verification() {
        let open = Fixture::wanting().webhook("cwii", |webhook| {
            webhook["failurePolicy"] = json!("Ignore");
        });
        assert_eq!(
            open.messages("HOOK13"),
            ["without an answer of webhook `mutate.cwii.dev` this pod starts without its identity"]
        );
        let verified = open.service_account(|account| {
            account["metadata"]["annotations"]["cwii.dev/aws-verify"] = json!("true");
            account["metadata"]["annotations"]["cwii.dev/aws-verify-enforce"] = json!("true");
        });
        assert_eq!(verified.decide("HOOK13"), Ok(Outcome::Pass));
    }
}
