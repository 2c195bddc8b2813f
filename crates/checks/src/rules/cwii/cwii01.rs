//! The pod is not as cwii's webhook would make it.
//!
//! ## What it checks
//!
//! The webhook's own plan, made once more from the pod template and the annotations of the four scopes, against the live
//! pod, field by field: volumes, mounts and variables of every container, init containers with their arguments. A bare pod
//! is compared with the plan of itself. What an API server adds (`defaultMode`, the `kube-api-access` mount, the order of
//! variables), what the template brings of its own, and images of a webhook whose flags are not known make no difference.
//!
//! ## Why it matters
//!
//! An injection is made once, when a pod is created. What is missing or altered in it later stays so until the next start,
//! and so does what an annotation said before somebody changed it.
//!
//! ## How it looks
//!
//! The SDK misses the piece that is gone: no role, no token file, another audience.
//!
//! ```text
//! InvalidIdentityToken: Incorrect token audience
//! ```
//!
//! ## How to fix it
//!
//! Restart the workload: its new pods are injected afresh. If the new pod differs again, another webhook or an operator
//! changes it after cwii; the JSON pointer says which field.
//!
//! ## How to verify the fix
//!
//! `kubectl cwii plan deployment/NAME` shows what a new pod gets, and this check passes on one.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control": <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>
//! - IETF, "JavaScript Object Notation (JSON) Pointer", RFC 6901: <https://www.rfc-editor.org/rfc/rfc6901>

use cwii_contract::{Difference, Provider, types::shorten};

use super::{altered, is_injected};
use crate::{
    doctor::{Case, Gap, Need, Outcome, Rule},
    report::{Applicability, Finding},
    rules::words::restarted,
};

pub(super) const RULE: Rule = Rule::new(
    "CWII01",
    &[
        Need::Pod,
        Need::Owners,
        Need::ServiceAccount,
        Need::Namespace,
        Need::WebhookSettings,
    ],
    check,
)
.blocked_by(&[
    "POD01", "POD02", "POD03", "POD04", "POD05", "POD06", "POD08", "POD15", "CWII06", "CWII07",
    "HOOK01", "HOOK02", "HOOK03", "HOOK05", "HOOK06", "HOOK07", "HOOK08", "HOOK12",
]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    if case.is_template() {
        return Ok(Outcome::not_applicable("nothing runs yet"));
    }
    let replay = case.replay()?;
    let Ok(plan) = &replay.plan else {
        return Ok(Outcome::not_applicable(
            "the webhook would refuse the pod",
        ));
    };
    let mut findings = Vec::new();
    let mut concerns = false;
    for provider in Provider::ALL {
        let planned = plan.providers.iter().any(|part| part.provider == provider);
        let injected = is_injected(pod, provider);
        concerns |= planned || injected;
        let name = provider.display_name();
        if !planned {
            if injected {
                let volume = cwii_contract::names::token_volume(provider);
                let index = pod
                    .list("/spec/volumes")
                    .position(|found| found.get("name").and_then(serde_json::Value::as_str) == Some(volume))
                    .unwrap_or_default();
                findings.push(restarted(
                    Finding::new(
                        "CWII01",
                        format!("the pod has cwii's injection for {name}, which nothing asks for any more"),
                    )
                    .warning()
                    .of(provider)
                    .at(pod.subject_at(&format!("/spec/volumes/{index}"), format!("volume `{volume}`")))
                    .fix("restart the workload if it is to lose the identity, or set the annotations again"),
                    case,
                ));
            }
            continue;
        }
        let differences = altered(case, &replay, provider)?;
        let Some(first) = differences.first() else {
            continue;
        };
        let mut finding = if injected {
            let more = match differences.len() - 1 {
                0 => String::new(),
                more => format!(" ({more} more)"),
            };
            let finding = Finding::new(
                "CWII01",
                format!("{} at `{}`{more}", state(first), first.pointer),
            )
            .at(pod.subject_at(&first.pointer, first.what.clone()));
            match (&first.found, first.expected.as_str()) {
                (Some(found), Some(expected)) => {
                    finding.compared(text(found), expected)
                }
                (Some(found), None) if !first.expected.is_object() => {
                    finding.compared(text(found), text(&first.expected))
                }
                _ => finding,
            }
        } else {
            Finding::new(
                "CWII01",
                format!("nothing that the webhook injects for {name} is in the pod"),
            )
            .at(pod.subject_at(&first.pointer, first.what.clone()))
        };
        for difference in differences.iter().take(8) {
            finding = finding.evidence_from(
                "difference",
                state(difference),
                difference.pointer.clone(),
            );
        }
        if differences.len() > 8 {
            finding = finding.evidence("difference", format!("and {} more", differences.len() - 8));
        }
        findings.push(restarted(
            finding
                .of(provider)
                .fix("restart the workload: pods are injected when they are created")
                .applicable(Applicability::Safe),
            case,
        ));
    }
    if !concerns {
        return Ok(Outcome::not_applicable("cwii is not asked for"));
    }
    Ok(Outcome::of(findings))
}

/// What is the matter with one place.
fn state(difference: &Difference) -> String {
    match &difference.found {
        None => format!("{} is missing", difference.what),
        Some(_) => format!("{} is not as planned", difference.what),
    }
}

fn text(value: &serde_json::Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None => shorten(&value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        facts::Fact,
        report::Finding,
        rules::fixture::{Fixture, edit},
    };

    fn findings(fixture: &Fixture) -> Vec<Finding> {
        match fixture.decide("CWII01") {
            Ok(Outcome::Found(findings)) => findings,
            other => panic!("{other:?}"),
        }
    }

    fn pointer(fixture: &Fixture) -> String {
        let found = findings(fixture);
        assert_eq!(found.len(), 1, "{found:#?}");
        found[0].subject.clone().unwrap().pointer.unwrap()
    }

    #[test]
    fn a_pod_right_after_its_admission_passes() {
        for fixture in [
            Fixture::cwii_aws(),
            Fixture::cwii_gcp_direct(),
            Fixture::cwii_gcp_impersonated(),
            Fixture::cwii_az(),
            Fixture::cwii_all(),
        ] {
            assert_eq!(fixture.decide("CWII01"), Ok(Outcome::Pass));
        }
    }

    #[test]
    fn a_variable_that_was_removed_is_named_by_its_pointer() {
        let fixture = Fixture::cwii_aws().pod(|pod| {
            let env = pod["spec"]["containers"][0]["env"].as_array_mut().unwrap();
            env.retain(|variable| variable["name"] != "AWS_ROLE_ARN");
        });
        assert_eq!(pointer(&fixture), "/spec/containers/0/env/-");
        assert_eq!(
            fixture.messages("CWII01"),
            ["variable `AWS_ROLE_ARN` of container `app` is missing at `/spec/containers/0/env/-`"]
        );
    }

    #[test]
    fn an_audience_that_was_altered_is_named_by_its_pointer() {
        let fixture = Fixture::cwii_aws().pod(|pod| {
            pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["audience"] =
                json!("sts.amazonaws.com/");
        });
        assert_eq!(
            pointer(&fixture),
            "/spec/volumes/0/projected/sources/0/serviceAccountToken/audience"
        );
        let comparison = findings(&fixture)[0].comparison.clone().unwrap();
        assert_eq!(comparison.found, "sts.amazonaws.com/");
        assert_eq!(comparison.expected, "sts.amazonaws.com");
    }

    #[test]
    fn a_lifetime_that_was_altered_is_named_by_its_pointer() {
        let fixture = Fixture::cwii_aws().pod(|pod| {
            pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] =
                json!(7200);
        });
        assert_eq!(
            pointer(&fixture),
            "/spec/volumes/0/projected/sources/0/serviceAccountToken/expirationSeconds"
        );
    }

    #[test]
    fn a_mount_that_was_dropped_is_named_by_its_pointer() {
        let fixture = Fixture::cwii_az().pod(|pod| {
            let mounts = pod["spec"]["containers"][0]["volumeMounts"].as_array_mut().unwrap();
            mounts.retain(|mount| mount["name"] != "cwii-az-token");
        });
        assert_eq!(pointer(&fixture), "/spec/containers/0/volumeMounts/-");
    }

    #[test]
    fn an_init_container_that_is_gone_is_named_by_its_pointer() {
        let fixture = Fixture::cwii_aws().pod(|pod| {
            pod["spec"].as_object_mut().unwrap().remove("initContainers");
        });
        assert_eq!(pointer(&fixture), "/spec/initContainers/-");
    }

    #[test]
    fn an_annotation_that_changed_after_the_injection_shows_as_differences() {
        let fixture = Fixture::cwii_aws().service_account(|account| {
            account["metadata"]["annotations"]["cwii.dev/aws-role-arn"] =
                json!("arn:aws:iam::111122223333:role/checkout-2");
        });
        let found = findings(&fixture);
        assert_eq!(found.len(), 1);
        let pointer = found[0].subject.clone().unwrap().pointer.unwrap();
        assert!(pointer.ends_with("/value"), "{pointer}");
        assert_eq!(
            found[0].comparison.clone().unwrap().expected,
            "arn:aws:iam::111122223333:role/checkout-2"
        );
    }

    #[test]
    fn a_pod_without_any_injection_is_one_finding_for_each_cloud() {
        let fixture = Fixture::cwii_all().not_injected();
        assert_eq!(
            fixture.messages("CWII01"),
            [
                "nothing that the webhook injects for AWS is in the pod",
                "nothing that the webhook injects for Entra ID is in the pod",
                "nothing that the webhook injects for Google Cloud is in the pod",
            ]
        );
    }

    #[test]
    fn an_injection_that_nothing_asks_for_is_a_warning() {
        let fixture = Fixture::cwii_aws().service_account(|account| {
            account["metadata"]["annotations"] = json!({});
        });
        assert_eq!(
            fixture.messages("CWII01"),
            ["the pod has cwii's injection for AWS, which nothing asks for any more"]
        );
        assert_eq!(findings(&fixture)[0].severity(), crate::Severity::Warning);
    }

    #[test]
    fn what_the_template_brings_of_its_own_is_no_difference() {
        let own = json!([{"name": "AWS_ROLE_ARN", "value": "arn:aws:iam::111122223333:role/own"}]);
        let fixture = Fixture::plain()
            .pod(|pod| pod["spec"]["containers"][0]["env"] = own.clone())
            .with(|facts| {
                for owner in &mut facts.owners {
                    edit(&mut owner.object, |object| {
                        object["spec"]["template"]["spec"]["containers"][0]["env"] = own.clone();
                    });
                }
            })
            .service_account(|account| {
                account["metadata"]["annotations"] = json!({"cwii.dev/aws-role-arn": "arn:aws:iam::111122223333:role/checkout"});
            })
            .admitted();
        assert_eq!(fixture.decide("CWII01"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_sidecar_that_came_later_is_not_of_the_template_and_no_difference() {
        let fixture = Fixture::cwii_aws().pod(|pod| {
            pod["spec"]["containers"].as_array_mut().unwrap().push(json!({"name": "istio-proxy"}));
        });
        assert_eq!(fixture.decide("CWII01"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_image_is_no_difference_where_the_webhooks_flags_are_not_known() {
        let other = |pod: &mut serde_json::Value| {
            pod["spec"]["initContainers"][0]["image"] = json!("mirror.example.com/cwii-agent:0.1.0");
        };
        let fixture = Fixture::cwii_aws().pod(other);
        assert_eq!(pointer(&fixture), "/spec/initContainers/0/image");
        let unknown = fixture.with(|facts| facts.webhook_settings = Fact::NotCollected);
        assert_eq!(unknown.decide("CWII01"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_pod_of_an_older_webhook_may_have_its_image() {
        let fixture = Fixture::cwii_aws().pod(|pod| {
            pod["spec"]["initContainers"][0]["image"] = json!("ghcr.io/cwii-dev/cwii-agent:0.0.9");
            pod["metadata"]["annotations"]["cwii.dev/webhook-version"] = json!("0.0.9");
        });
        assert_eq!(fixture.decide("CWII01"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_bare_pod_is_compared_with_the_plan_of_itself() {
        let bare = Fixture::cwii_aws().with(|facts| facts.owners.clear());
        assert_eq!(bare.decide("CWII01"), Ok(Outcome::Pass));
        let broken = bare.pod(|pod| {
            pod["spec"]["containers"][0]["volumeMounts"] = json!([]);
        });
        assert_eq!(pointer(&broken), "/spec/containers/0/volumeMounts/-");
    }

    #[test]
    fn a_namespace_that_may_not_be_read_is_no_verdict() {
        let fixture = Fixture::cwii_aws()
            .with(|facts| facts.namespace = Fact::Denied("get namespaces".into()));
        assert!(fixture.decide("CWII01").is_err());
    }

    #[test]
    fn a_template_and_a_pod_of_nobody_do_not_concern_it() {
        let template = Fixture::cwii_aws().with(|facts| facts.from_template = true);
        assert!(matches!(template.decide("CWII01"), Ok(Outcome::NotApplicable(_))));
        assert!(matches!(Fixture::irsa().decide("CWII01"), Ok(Outcome::NotApplicable(_))));
    }
}
