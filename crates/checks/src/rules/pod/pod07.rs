//! The pod lacks the label that Azure's webhook selects by.
//!
//! ## What it checks
//!
//! For a ServiceAccount with `azure.workload.identity/client-id`, or a label on the workload: that the pod template carries the
//! label `azure.workload.identity/use` with the text `true`, in quotes where YAML would read a boolean.
//!
//! ## Why it matters
//!
//! The webhook's object selector picks pods by this label. A label on the Deployment itself does not reach its pods, and
//! `True` is another text.
//!
//! ## How it looks
//!
//! ```text
//! WorkloadIdentityCredential authentication unavailable. The workload options are not fully configured.
//! ```
//!
//! ## How to fix it
//!
//! Put the label on the pod template; that starts new pods.
//!
//! ## How to verify the fix
//!
//! `kubectl get pods -l azure.workload.identity/use=true` lists the new pod, and it has `AZURE_FEDERATED_TOKEN_FILE`.
//!
//! ## References
//!
//! - Microsoft, "Service account labels and annotations":
//!   <https://azure.github.io/azure-workload-identity/docs/topics/service-account-labels-and-annotations.html>
//! - Microsoft, "Deploy and configure workload identity on an AKS cluster":
//!   <https://learn.microsoft.com/en-us/azure/aks/workload-identity-deploy-cluster>

use cwii_contract::Provider;
use serde_json::Value;

use crate::{
    doctor::{Case, Gap, MechanismKind, Need, Outcome, Rule, azure},
    facts::Fact,
    report::{Applicability, Finding},
    rules::words::{Place, restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "POD07",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
    ],
    check,
)
.blocked_by(&["POD01", "POD02", "POD05", "POD06", "POD09"]);

pub(super) fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    let mechanisms = case.mechanisms();
    let on_workload = case.owners().iter().find_map(|owner| match &owner.object {
        Fact::Known(object) if object.get("/metadata/labels").is_some_and(|labels| labels.get(azure::USE).is_some()) => {
            Some(object)
        }
        _ => None,
    });
    let mechanism = mechanisms
        .iter()
        .find(|mechanism| mechanism.kind == MechanismKind::AzureWorkloadIdentity);
    let by_other_means = mechanisms
        .iter()
        .any(|mechanism| mechanism.provider == Provider::Az && mechanism.injected);
    if mechanism.is_none() && on_workload.is_none() {
        return Ok(Outcome::not_applicable("Azure's webhook is not asked for"));
    }
    if by_other_means {
        return Ok(Outcome::Pass);
    }
    let place = Place::of_pod(case);
    let value = match place {
        Some(place) => place.labels().find(|(key, _)| *key == azure::USE).map(|(_, value)| value),
        None => pod.get("/metadata/labels").and_then(|labels| labels.get(azure::USE)),
    };
    let key = azure::USE;
    let message = match value {
        Some(Value::String(value)) if value == "true" => return Ok(Outcome::Pass),
        Some(Value::String(value)) => format!("label `{key}` of the pods is `{value}`, expected `true`"),
        Some(other) => format!("label `{key}` of the pods is {other}, which is no text: expected `\"true\"`"),
        None => match on_workload {
            Some(object) => format!(
                "label `{key}` stands on {} `{}` and not on its pods",
                object.kind(),
                object.name()
            ),
            None => format!("the pods have no label `{key}`, though their ServiceAccount has a client id"),
        },
    };
    let mut finding = Finding::new("POD07", message)
        .of(Provider::Az)
        .fix("put the label on the pod template, as a text")
        .applicable(Applicability::Safe);
    if let Some(Value::String(value)) = value {
        finding = finding.compared(value, "true");
    }
    finding = match place {
        Some(place) => finding
            .at(place.at_label(key))
            .command(place.label(&[(key, "true")], &[])),
        None => finding.at(pod.subject_label(key)),
    };
    if place.is_some_and(|place| place.template.is_none()) {
        finding = restarted(finding, case);
    }
    Ok(Outcome::Found(vec![finding]))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, edit},
    };

    fn with(label: Value) -> Fixture {
        Fixture::plain()
            .service_account(|account| {
                account["metadata"]["annotations"] =
                    json!({"azure.workload.identity/client-id": "11111111-2222-3333-4444-555555555555"});
            })
            .with(|facts| {
                for owner in &mut facts.owners {
                    edit(&mut owner.object, |object| {
                        object["spec"]["template"]["metadata"]["labels"]["azure.workload.identity/use"] = label.clone();
                    });
                }
            })
    }

    #[test]
    fn the_label_with_the_text_true_passes() {
        assert_eq!(with(json!("true")).decide("POD07"), Ok(Outcome::Pass));
    }

    // azure-workload-identity#1025, #661
    #[test]
    fn other_values_are_found() {
        assert_eq!(
            with(json!("True")).messages("POD07"),
            ["label `azure.workload.identity/use` of the pods is `True`, expected `true`"]
        );
        assert_eq!(
            with(json!(true)).messages("POD07"),
            ["label `azure.workload.identity/use` of the pods is true, which is no text: expected `\"true\"`"]
        );
    }

    #[test]
    fn a_label_on_the_deployment_alone_is_found_and_patched() {
        let fixture = Fixture::plain().with(|facts| {
            edit(&mut facts.owners[1].object, |deployment| {
                deployment["metadata"]["labels"] = json!({"azure.workload.identity/use": "true"});
            });
        });
        let Ok(Outcome::Found(findings)) = fixture.decide("POD07") else {
            panic!()
        };
        assert_eq!(
            findings[0].message,
            "label `azure.workload.identity/use` stands on Deployment `checkout` and not on its pods"
        );
        assert!(findings[0].fix.commands[0].contains("/spec/template/metadata/labels/azure.workload.identity~1use"));
    }

    #[test]
    fn a_pod_that_nobody_asks_anything_for_does_not_concern_it() {
        assert!(matches!(Fixture::irsa().decide("POD07"), Ok(Outcome::NotApplicable(_))));
    }
}
