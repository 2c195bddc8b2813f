//! Another object's value wins over one that somebody set.
//!
//! ## What it checks
//!
//! Every `cwii.dev/` key that stands on more than one of pod, workload, ServiceAccount and namespace with different values;
//! an explicit `false` that switches off what another object asks for; and variables that a container brings itself, which
//! the webhook never overwrites. A namespace's value that a narrower object overrules is what namespaces are for, and is
//! reported only if it was set later than the value that wins.
//!
//! ## Why it matters
//!
//! The pod wins over its workload, that over the ServiceAccount, that over the namespace. Who edits one of the others sees
//! no effect and no error.
//!
//! ## How it looks
//!
//! `kubectl get serviceaccount` shows the new role, and the pod's `AWS_ROLE_ARN` is the old one, even after a restart.
//!
//! ## How to fix it
//!
//! Keep one of the values and remove the other.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii plan TYPE/NAME` prints every effective value with the object and key that it comes from.
//!
//! ## References
//!
//! - Kubernetes, "Annotations": <https://kubernetes.io/docs/concepts/overview/working-with-objects/annotations/>

use std::collections::BTreeSet;

use cwii_contract::{
    Layer, Provider, Scope,
    annotations::{self, INJECT, ValueKind},
    message::Cause,
    patch,
};
use serde::Deserialize as _;

use super::provider_of;
use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule},
    report::Finding,
    rules::words::{Place, ago, restarted},
};

pub(super) const RULE: Rule = Rule::new(
    "CWII03",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
    ],
    check,
);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let layers = case.layers()?;
    let keys: BTreeSet<String> = layers
        .iter()
        .flat_map(|layer| layer.keys.iter())
        .filter(|(key, value)| key.starts_with(annotations::PREFIX) && !value.trim().is_empty())
        .filter(|(key, _)| annotations::find(key).is_some())
        .map(|(key, _)| key.to_owned())
        .collect();
    if keys.is_empty() {
        return Ok(Outcome::not_applicable("cwii is not asked for"));
    }
    let mut findings = Vec::new();
    for key in &keys {
        findings.extend(shadowed(case, &layers, key));
    }
    findings.extend(switched_off(case, &layers));
    findings.extend(own_variables(case)?);
    Ok(Outcome::of(findings))
}

/// A value that another one hides.
fn shadowed(case: &Case<'_>, layers: &[Layer], key: &str) -> Option<Finding> {
    let mut values = layers.iter().filter_map(|layer| {
        let (_, value) = layer.keys.iter().find(|(found, _)| *found == key)?;
        (!value.trim().is_empty()).then(|| (layer, value.trim().to_owned()))
    });
    let (winner, winning) = values.next()?;
    let (loser, losing) = values.find(|(_, value)| !same(key, value, &winning))?;
    let manager = |layer: &Layer| {
        place(case, layer).and_then(|place| place.object.manager(&place.path("annotations", key)))
    };
    let (of_winner, of_loser) = (manager(winner), manager(loser));
    if loser.object.scope == Scope::Namespace {
        let later = |a: &Option<crate::doctor::Manager>| a.as_ref().and_then(|manager| manager.at);
        if later(&of_loser).zip(later(&of_winner)).is_none_or(|(loser, winner)| loser <= winner) {
            return None;
        }
    }
    let mut finding = Finding::new(
        "CWII03",
        format!(
            "`{key}` of {} has no effect: {} says `{winning}`",
            loser.object, winner.object
        ),
    )
    .compared(losing, winning.clone())
    .evidence_from("in force", winning, winner.object.to_string())
    .fix(format!(
        "keep one of the two: remove the key from {} or from {}",
        loser.object, winner.object
    ));
    if let Some(at) = of_loser.and_then(|manager| manager.at) {
        finding = finding.evidence("set", ago(case, at));
    }
    if let Some(provider) = provider_of(key) {
        finding = finding.of(provider);
    }
    if let Some(place) = place(case, loser) {
        finding = finding.at(place.at_annotation(key));
    }
    if let Some(place) = place(case, winner) {
        finding = finding.command(place.annotate(&[], &[key]));
        if place.template.is_none() {
            finding = restarted(finding, case);
        }
    }
    Some(finding)
}

/// An explicit `false` that hides what others ask for.
fn switched_off(case: &Case<'_>, layers: &[Layer]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for provider in Provider::ALL {
        let key = INJECT.full_key(provider);
        let mut explicit = layers.iter().filter_map(|layer| {
            let (_, value) = layer.keys.iter().find(|(found, _)| *found == key)?;
            Some((layer, value.trim().to_ascii_lowercase()))
        });
        let Some((layer, _)) = explicit
            .find(|(_, value)| value == "true" || value == "false")
            .filter(|(_, value)| value == "false")
        else {
            continue;
        };
        let identity = match provider {
            Provider::Aws => annotations::AWS_ROLE_ARN,
            Provider::Az => annotations::AZ_CLIENT_ID,
            Provider::Gcp => annotations::AUDIENCE,
        }
        .full_key(provider);
        let Some(asker) = layers
            .iter()
            .filter(|other| other.object.scope <= Scope::ServiceAccount)
            .find(|other| other.keys.iter().any(|(found, _)| found == identity))
        else {
            continue;
        };
        let mut finding = Finding::new(
            "CWII03",
            format!(
                "`{key}` of {} is `false`: `{identity}` of {} has no effect",
                layer.object, asker.object
            ),
        )
        .of(provider)
        .fix("remove the `false` if the pod is to have the identity");
        if let Some(place) = place(case, layer) {
            finding = finding
                .at(place.at_annotation(&key))
                .command(place.annotate(&[], &[&key]));
            if place.template.is_none() {
                finding = restarted(finding, case);
            }
        }
        findings.push(finding);
    }
    findings
}

/// Variables and mounts that the template brings, which stay.
fn own_variables(case: &Case<'_>) -> Result<Vec<Finding>, Gap> {
    let replay = case.replay()?;
    let (Ok(plan), Some(template)) = (&replay.plan, &replay.template) else {
        return Ok(Vec::new());
    };
    let Ok(parsed) = cwii_contract::Pod::deserialize(template.value()) else {
        return Ok(Vec::new());
    };
    let subject = Place::of_pod(case).map(|place| place.object.subject());
    Ok(patch(&parsed, plan)
        .warnings
        .iter()
        .filter(|warning| warning.cause == Cause::Clash)
        .map(|warning| {
            let finding = Finding::new("CWII03", warning.as_str())
                .fix("remove it from the pod template if the injected one is to hold");
            match &subject {
                Some(subject) => finding.at(subject.clone()),
                None => finding,
            }
        })
        .collect())
}

/// Booleans and words are the same in any case.
fn same(key: &str, a: &str, b: &str) -> bool {
    match annotations::find(key).map(|(row, _)| row.kind) {
        Some(ValueKind::Bool) => a.eq_ignore_ascii_case(b),
        _ => a == b,
    }
}

fn place<'a>(case: &Case<'a>, layer: &Layer) -> Option<Place<'a>> {
    if layer.object.scope == Scope::Pod {
        return Place::of_pod(case);
    }
    let is = |object: &Object| object.kind() == layer.object.kind && object.name() == layer.object.name;
    Place::all(case)
        .into_iter()
        .find(|place| place.template.is_none() && is(place.object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        Severity,
        doctor::Outcome,
        rules::fixture::{Fixture, cwii::ROLE, edit},
    };

    #[test]
    fn one_value_for_each_key_passes() {
        assert_eq!(Fixture::cwii_all().decide("CWII03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_workload_whose_value_hides_that_of_its_account_is_named() {
        let fixture = Fixture::cwii_aws().with(|facts| {
            edit(&mut facts.owners[1].object, |deployment| {
                deployment["metadata"]["annotations"] =
                    json!({"cwii.dev/aws-role-arn": "arn:aws:iam::111122223333:role/other"});
            });
        });
        assert_eq!(
            fixture.messages("CWII03"),
            ["`cwii.dev/aws-role-arn` of ServiceAccount shop/checkout has no effect: \
              Deployment shop/checkout says `arn:aws:iam::111122223333:role/other`"]
        );
        let Ok(Outcome::Found(findings)) = fixture.decide("CWII03") else {
            panic!()
        };
        assert_eq!(findings[0].severity(), Severity::Warning);
        assert_eq!(
            findings[0].fix.commands,
            [
                "kubectl -n shop annotate deployment checkout cwii.dev/aws-role-arn-",
                "kubectl -n shop rollout restart deployment checkout",
            ]
        );
    }

    #[test]
    fn a_default_of_the_namespace_is_there_to_be_overruled() {
        let fixture = Fixture::cwii_aws().with(|facts| {
            edit(&mut facts.namespace, |namespace| {
                namespace["metadata"]["annotations"] = json!({"cwii.dev/aws-region": "us-east-1"});
            });
        });
        assert_eq!(fixture.decide("CWII03"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_explicit_false_is_named_where_something_asks() {
        let fixture = Fixture::cwii_aws().with(|facts| {
            edit(&mut facts.namespace, |namespace| {
                namespace["metadata"]["annotations"] = json!({"cwii.dev/aws-inject": "False"});
            });
        });
        assert_eq!(
            fixture.messages("CWII03"),
            ["`cwii.dev/aws-inject` of Namespace shop is `false`: `cwii.dev/aws-role-arn` of ServiceAccount \
              shop/checkout has no effect"]
        );
    }

    #[test]
    fn a_variable_of_the_container_itself_stays_and_is_named() {
        let fixture = Fixture::plain()
            .with(|facts| {
                for owner in &mut facts.owners {
                    edit(&mut owner.object, |object| {
                        object["spec"]["template"]["spec"]["containers"][0]["env"] =
                            json!([{"name": "AWS_REGION", "value": "us-east-1"}]);
                    });
                }
            })
            .service_account(|account| {
                account["metadata"]["annotations"] =
                    json!({"cwii.dev/aws-role-arn": ROLE, "cwii.dev/aws-region": "eu-central-1"});
            });
        assert_eq!(
            fixture.messages("CWII03"),
            ["container `app` has its own `AWS_REGION`, which is kept; `AWS_DEFAULT_REGION` would not go with it and \
              is not added"]
        );
    }

    #[test]
    fn a_workload_that_cwii_is_not_asked_for_does_not_concern_it() {
        assert!(matches!(Fixture::irsa().decide("CWII03"), Ok(Outcome::NotApplicable(_))));
    }
}
