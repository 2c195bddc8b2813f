//! An operator owns the pod template, and writes over what is edited there.
//!
//! ## What it checks
//!
//! For a workload whose template lacks the ServiceAccount or the label that its identity needs: whether the workload itself
//! has a controller, a custom resource of some operator.
//!
//! ## Why it matters
//!
//! An operator renders the template from its own resource, again and again. A fix in the Deployment or StatefulSet holds for
//! a few seconds.
//!
//! ## How it looks
//!
//! `kubectl edit statefulset` succeeds, and the next `kubectl get` shows the old template.
//!
//! ## How to fix it
//!
//! Set the ServiceAccount or the pod labels in the custom resource; most operators have a field for each.
//!
//! ## How to verify the fix
//!
//! The template keeps the value, and new pods have it.
//!
//! ## References
//!
//! - Kubernetes, "Operator pattern": <https://kubernetes.io/docs/concepts/extend-kubernetes/operator/>
//! - Kubernetes, "Owners and Dependents": <https://kubernetes.io/docs/concepts/overview/working-with-objects/owners-dependents/>

use serde_json::Value;

use super::{pod01, pod07};
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    facts::Fact,
    report::Finding,
};

pub(super) const RULE: Rule = Rule::new(
    "POD09",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
        Need::Node,
        Need::Trust,
        Need::ServiceAccounts,
    ],
    check,
)
.blocked_by(&["POD02"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    case.pod()?;
    let Some((workload, api_version, kind, name)) = operator(case) else {
        return Ok(Outcome::not_applicable("no operator owns the workload"));
    };
    let mut findings = Vec::new();
    for (outcome, field) in [
        (pod01::check(case)?, "the ServiceAccount"),
        (pod07::check(case)?, "the pod labels"),
    ] {
        let Outcome::Found(found) = outcome else {
            continue;
        };
        for cause in found {
            let mut finding = Finding::new(
                "POD09",
                format!("{}; {kind} `{name}` owns the template", cause.message),
            )
            .evidence_from("owner", format!("{api_version} {kind} `{name}`"), format!("{} `{}`", workload.kind(), workload.name()))
            .fix(format!("set {field} in {kind} `{name}`: its operator writes the template"));
            if let Some(manager) = workload.template_pointer().and_then(|_| workload.manager(&["spec", "template"])) {
                finding = finding.evidence("written by", format!("field manager `{}`", manager.name));
            }
            if let Some(subject) = cause.subject {
                finding = finding.at(subject);
            }
            if let Some(provider) = cause.provider {
                finding = finding.of(provider);
            }
            findings.push(finding);
        }
    }
    Ok(Outcome::of(findings))
}

/// The workload with the template, and the custom resource that controls it.
fn operator<'a>(case: &Case<'a>) -> Option<(&'a Object, String, String, String)> {
    case.owners().iter().rev().find_map(|owner| {
        let Fact::Known(object) = &owner.object else {
            return None;
        };
        object.template_pointer()?;
        let reference = object
            .list("/metadata/ownerReferences")
            .find(|reference| reference.get("controller").and_then(Value::as_bool) == Some(true))?;
        let text = |member: &str| reference.get(member).and_then(Value::as_str).map(str::to_owned);
        let api_version = text("apiVersion")?;
        let is_built_in = ["apps/", "batch/", "v1"]
            .iter()
            .any(|built_in| api_version.starts_with(built_in));
        (!is_built_in).then_some(())?;
        Some((object, api_version, text("kind")?, text("name")?))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, edit},
    };

    fn owned(fixture: Fixture) -> Fixture {
        fixture.with(|facts| {
            edit(&mut facts.owners[1].object, |object| {
                object["metadata"]["ownerReferences"] = json!([{"apiVersion": "acid.zalan.do/v1", "kind": "postgresql",
                    "name": "orders", "controller": true}]);
            });
        })
    }

    fn without_the_label() -> Fixture {
        Fixture::plain().service_account(|account| {
            account["metadata"]["annotations"] =
                json!({"azure.workload.identity/client-id": "11111111-2222-3333-4444-555555555555"});
        })
    }

    #[test]
    fn an_operator_whose_template_is_in_order_passes() {
        assert_eq!(owned(Fixture::irsa()).decide("POD09"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_operator_whose_template_lacks_the_label_is_named() {
        assert_eq!(
            owned(without_the_label()).messages("POD09"),
            ["the pods have no label `azure.workload.identity/use`, though their ServiceAccount has a client id; \
              postgresql `orders` owns the template"]
        );
    }

    #[test]
    fn a_workload_of_nobody_does_not_concern_it() {
        assert!(matches!(without_the_label().decide("POD09"), Ok(Outcome::NotApplicable(_))));
    }
}
