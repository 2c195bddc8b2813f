//! The pod is older than what asks for its identity.
//!
//! ## What it checks
//!
//! For a pod that lacks what its annotations ask for, or has another value of it: whether the pod was created before the
//! annotation was set (`managedFields` of the object that carries it) or before the webhook was installed. A pod that is
//! injected as asked passes, whatever the times.
//!
//! ## Why it matters
//!
//! A mutating webhook sees a pod once, when it is created. An annotation that is set later changes nothing in a pod that
//! runs, and neither Kubernetes nor the cloud says so.
//!
//! ## How it looks
//!
//! `kubectl describe serviceaccount` shows the right role, the pod has no `AWS_ROLE_ARN`, and the SDK uses the node's
//! credentials or none.
//!
//! ## How to fix it
//!
//! Restart the workload, so that new pods pass the webhook.
//!
//! ## How to verify the fix
//!
//! `kubectl get pod NAME -o yaml` of a new pod shows the token volume and the variables.
//!
//! ## References
//!
//! - Kubernetes, "Dynamic Admission Control": <https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/>
//! - Microsoft, "Azure AD Workload Identity: Concepts": <https://azure.github.io/azure-workload-identity/docs/concepts.html>
//! - Kubernetes, "Server-Side Apply", section "Field management":
//!   <https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management>

use cwii_contract::env;
use cwii_token::span;
use jiff::Timestamp;

use super::{needs_webhook, shows};
use crate::{
    doctor::{Case, Gap, Given, Mechanism, MechanismKind, Need, Object, Outcome, Rule},
    facts::Fact,
    report::{Applicability, Finding, Subject},
    rules::{cwii, words::{ago, restarted}},
};

pub(super) const RULE: Rule = Rule::new(
    "POD03",
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
.blocked_by(&["POD02", "POD08", "CWII06", "CWII07"]);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    if case.is_template() {
        return Ok(Outcome::not_applicable("nothing runs yet"));
    }
    case.service_account()?;
    let mechanisms: Vec<_> = case
        .mechanisms()
        .iter()
        .filter(|mechanism| needs_webhook(mechanism))
        .collect();
    if mechanisms.is_empty() {
        return Ok(Outcome::not_applicable("no webhook is asked for"));
    }
    let Some(created) = pod.created() else {
        return Ok(Outcome::not_applicable("the pod does not say when it was created"));
    };
    let mut findings = Vec::new();
    for mechanism in mechanisms {
        if is_as_asked(case, pod, mechanism)? {
            continue;
        }
        if let Some(finding) = older_than_the_annotation(case, pod, created, mechanism) {
            findings.push(finding);
        } else if !shows(pod, mechanism)
            && let Some(finding) = older_than_the_webhook(case, pod, created, mechanism)
        {
            findings.push(finding);
        }
    }
    Ok(Outcome::of(findings))
}

/// Whether the pod has what is asked for, as far as this rule cares.
fn is_as_asked(case: &Case<'_>, pod: &Object, mechanism: &Mechanism) -> Result<bool, Gap> {
    if !shows(pod, mechanism) {
        return Ok(mechanism.asked_by.is_none());
    }
    let same = |given: &Option<Given>, name: &str| {
        let template = case.template();
        let brought = template
            .is_some_and(|template| template.containers().any(|c| c.has_variable(name)));
        match (given, Given::variable(pod, name)) {
            (Some(given), Some(found)) if given.subject.is_some() && !brought => {
                given.value.trim() == found.value
            }
            _ => true,
        }
    };
    Ok(match mechanism.kind {
        MechanismKind::Cwii => {
            cwii::altered(case, &case.replay()?, mechanism.provider)?.is_empty()
        }
        MechanismKind::Irsa => same(&mechanism.role, env::AWS_ROLE_ARN),
        MechanismKind::AzureWorkloadIdentity => {
            same(&mechanism.client_id, env::AZURE_CLIENT_ID)
                && same(&mechanism.tenant_id, env::AZURE_TENANT_ID)
        }
        _ => true,
    })
}

fn older_than_the_annotation(
    case: &Case<'_>,
    pod: &Object,
    created: Timestamp,
    mechanism: &Mechanism,
) -> Option<Finding> {
    let mut subjects: Vec<Subject> = mechanism.asked_by.iter().cloned().collect();
    subjects.extend(
        [
            &mechanism.role,
            &mechanism.client_id,
            &mechanism.tenant_id,
            &mechanism.audience,
            &mechanism.google_provider,
            &mechanism.google_service_account,
            &mechanism.region,
            &mechanism.session_name,
        ]
        .into_iter()
        .flatten()
        .filter_map(|given| given.subject.clone()),
    );
    if mechanism.kind == MechanismKind::Cwii
        && let Ok(Ok(plan)) = case.plan()
    {
        let settings = plan
            .providers
            .iter()
            .filter(|part| part.provider == mechanism.provider)
            .flat_map(|part| part.settings.clone());
        subjects.extend(settings.filter_map(|setting| case.source_subject(&setting.from)));
    }
    let (at, subject, manager) = subjects
        .into_iter()
        .filter_map(|subject| {
            let (at, manager) = set_at(case, &subject)?;
            Some((at, subject, manager))
        })
        .max_by_key(|(at, _, _)| *at)?;
    if at <= created {
        return None;
    }
    let what = subject.what.clone().unwrap_or_else(|| "the annotation".into());
    let finding = Finding::new(
        "POD03",
        format!(
            "the pod was created {} before {what} of {} `{}` was set",
            span::humanize(at.duration_since(created)),
            subject.kind,
            subject.name
        ),
    )
    .of(mechanism.provider)
    .evidence_from("set", ago(case, at), manager)
    .at(subject);
    Some(mended(case, pod, created, finding))
}

fn older_than_the_webhook(
    case: &Case<'_>,
    pod: &Object,
    created: Timestamp,
    mechanism: &Mechanism,
) -> Option<Finding> {
    let webhooks = match &case.look(Need::Webhooks).webhooks {
        Fact::Known(webhooks) => webhooks,
        _ => return None,
    };
    let of_mechanism: Vec<&Object> = webhooks
        .iter()
        .filter(|webhook| {
            webhook.list("/webhooks").any(|entry| {
                let name = entry.get("name").and_then(|name| name.as_str()).unwrap_or_default();
                match mechanism.kind {
                    MechanismKind::Cwii => name == "mutate.cwii.dev",
                    MechanismKind::Irsa | MechanismKind::EksPodIdentity => {
                        name.contains("iam-for-pods.amazonaws.com") || name.contains("pod-identity-webhook")
                    }
                    MechanismKind::AzureWorkloadIdentity => name.contains("azure-workload-identity"),
                    _ => false,
                }
            })
        })
        .collect();
    let oldest = of_mechanism.iter().min_by_key(|webhook| webhook.created())?;
    let at = oldest.created().filter(|at| *at > created)?;
    let finding = Finding::new(
        "POD03",
        format!(
            "the pod was created {} before the webhook `{}` was installed",
            span::humanize(at.duration_since(created)),
            oldest.name()
        ),
    )
    .of(mechanism.provider)
    .at(pod.subject())
    .evidence_from("installed", ago(case, at), format!("MutatingWebhookConfiguration `{}`", oldest.name()));
    Some(mended(case, pod, created, finding))
}

fn mended(case: &Case<'_>, pod: &Object, created: Timestamp, finding: Finding) -> Finding {
    restarted(
        finding
            .evidence_from("pod created", ago(case, created), format!("pod `{}`", pod.name()))
            .fix("restart the workload: webhooks see a pod only when it is created")
            .applicable(Applicability::Safe),
        case,
    )
}

/// When a key of an object was set last, and by whom; for an object that is younger than its managers know, its creation.
fn set_at(case: &Case<'_>, subject: &Subject) -> Option<(Timestamp, String)> {
    let pointer = subject.pointer.as_deref()?;
    let members: Vec<String> = pointer
        .split('/')
        .skip(1)
        .map(|member| member.replace("~1", "/").replace("~0", "~"))
        .collect();
    let [metadata, member, _] = members.as_slice() else {
        return None;
    };
    if metadata != "metadata" || !["annotations", "labels"].contains(&member.as_str()) {
        return None;
    }
    let object = [case.service_account().ok()?, case.namespace().ok()?]
        .into_iter()
        .flatten()
        .chain(case.owners().iter().filter_map(|owner| match &owner.object {
            Fact::Known(object) => Some(object),
            _ => None,
        }))
        .find(|object| object.kind() == subject.kind && object.name() == subject.name)?;
    let path: Vec<&str> = members.iter().map(String::as_str).collect();
    let by_manager = object.manager(&path).and_then(|manager| {
        Some((manager.at?, format!("field manager `{}`", manager.name)))
    });
    by_manager.or_else(|| Some((object.created()?, format!("creation of {} `{}`", object.kind(), object.name()))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        facts::Fact,
        report::Finding,
        rules::fixture::{Fixture, cwii::webhook},
    };

    fn annotated_at(fixture: Fixture, key: &str, time: &str) -> Fixture {
        fixture.service_account(|account| {
            account["metadata"]["managedFields"] = json!([{"manager": "kubectl-annotate", "operation": "Update",
                "time": time, "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {format!("f:{key}"): {}}}}}]);
        })
    }

    fn found(fixture: &Fixture) -> Vec<Finding> {
        match fixture.decide("POD03") {
            Ok(Outcome::Found(findings)) => findings,
            other => panic!("{other:?}"),
        }
    }

    fn irsa_not_injected() -> Fixture {
        let mut fixture = Fixture::irsa();
        fixture.facts.pod = Fixture::plain().facts.pod;
        fixture
    }

    // aws/amazon-eks-pod-identity-webhook#174, #109
    #[test]
    fn an_annotation_that_is_younger_than_the_pod_is_found_and_the_restart_printed() {
        let fixture = annotated_at(irsa_not_injected(), "eks.amazonaws.com/role-arn", "2026-11-22T11:00:00Z");
        let findings = found(&fixture);
        assert_eq!(
            findings[0].message,
            "the pod was created 1 h before annotation `eks.amazonaws.com/role-arn` of ServiceAccount `checkout` was set"
        );
        assert_eq!(
            findings[0].fix.commands,
            ["kubectl -n shop rollout restart deployment checkout"]
        );
    }

    #[test]
    fn an_annotation_that_was_set_again_does_not_matter_to_a_pod_that_has_it() {
        let fixture = annotated_at(Fixture::irsa(), "eks.amazonaws.com/role-arn", "2026-11-22T11:00:00Z");
        assert_eq!(fixture.decide("POD03"), Ok(Outcome::Pass));
        let fixture = annotated_at(Fixture::cwii_aws(), "cwii.dev/aws-role-arn", "2026-11-22T11:00:00Z");
        assert_eq!(fixture.decide("POD03"), Ok(Outcome::Pass));
    }

    #[test]
    fn an_older_annotation_is_not_the_reason() {
        let fixture = annotated_at(irsa_not_injected(), "eks.amazonaws.com/role-arn", "2026-11-22T09:00:00Z");
        assert_eq!(fixture.decide("POD03"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_role_that_changed_after_the_pod_was_injected_is_found() {
        let fixture = annotated_at(Fixture::irsa(), "eks.amazonaws.com/role-arn", "2026-11-22T11:30:00Z")
            .service_account(|account| {
                account["metadata"]["annotations"]["eks.amazonaws.com/role-arn"] =
                    json!("arn:aws:iam::111122223333:role/new");
            });
        assert!(found(&fixture)[0].message.starts_with("the pod was created 1 h 30 m before"));
    }

    #[test]
    fn a_lifetime_that_changed_after_cwii_injected_is_found() {
        let fixture = Fixture::cwii_aws().service_account(|account| {
            account["metadata"]["annotations"]["cwii.dev/aws-token-expiration"] = json!("7200");
        });
        let fixture = annotated_at(fixture, "cwii.dev/aws-token-expiration", "2026-11-22T11:00:00Z");
        assert_eq!(
            found(&fixture)[0].message,
            "the pod was created 1 h before annotation `cwii.dev/aws-token-expiration` of ServiceAccount `checkout` was \
             set"
        );
    }

    // azure-workload-identity#790
    #[test]
    fn a_webhook_that_came_after_the_pod_is_found() {
        let fixture = Fixture::cwii_aws()
            .not_injected()
            .with(|facts| facts.webhooks = Fact::Known(vec![webhook("2026-11-22T11:00:00Z")]));
        assert_eq!(
            found(&fixture)[0].message,
            "the pod was created 1 h before the webhook `cwii` was installed"
        );
    }

    #[test]
    fn a_template_has_no_age() {
        let fixture = irsa_not_injected().with(|facts| facts.from_template = true);
        assert!(matches!(fixture.decide("POD03"), Ok(Outcome::NotApplicable(_))));
    }
}
