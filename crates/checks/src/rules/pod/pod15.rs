//! The pod lacks fields that its template has: a webhook of an older API dropped them.
//!
//! ## What it checks
//!
//! The template of the pod's own controller against the live pod: fields of containers, init containers, mounts, security
//! contexts and of the spec itself that the template sets and the pod does not have. Values may differ, since webhooks change
//! them on purpose; probes may be rewritten to another kind.
//!
//! ## Why it matters
//!
//! A mutating webhook that reads a pod into the types of an older Kubernetes and writes it back loses what these types do not
//! know: `restartPolicy` of native sidecars, `grpc` probes, `resizePolicy`. The pod hangs or misbehaves, and the template is
//! right.
//!
//! ## How it looks
//!
//! A native sidecar without `restartPolicy: Always` is an ordinary init container that never ends: `Init:0/2` for ever.
//!
//! ## How to fix it
//!
//! Upgrade the webhook that writes whole pods back.
//!
//! ## How to verify the fix
//!
//! A new pod has the field.
//!
//! ## References
//!
//! - Kubernetes, "Admission Webhook Good Practices":
//!   <https://kubernetes.io/docs/concepts/cluster-administration/admission-webhooks-good-practices/>
//! - Kubernetes, "Sidecar Containers": <https://kubernetes.io/docs/concepts/workloads/pods/sidecar-containers/>

use serde_json::Value;

use crate::{
    doctor::{Case, Gap, Need, Object, Outcome, Rule, known},
    facts::Fact,
    report::Finding,
    rules::words::restarted,
};

pub(super) const RULE: Rule = Rule::new("POD15", &[Need::Pod, Need::Owners, Need::Webhooks], check);

fn check(case: &Case<'_>) -> Result<Outcome, Gap> {
    let pod = case.pod()?;
    if case.is_template() {
        return Ok(Outcome::not_applicable("nothing runs yet"));
    }
    let Some(owner) = case.owners().first() else {
        return Ok(Outcome::not_applicable("the pod has no template"));
    };
    let with_template = case.owners().iter().find_map(|owner| match &owner.object {
        Fact::Known(object) if object.template_pointer().is_some() => Some(object),
        _ => None,
    });
    let Some(object) = with_template else {
        known(&owner.object, Need::Owners)?;
        return Ok(Outcome::not_applicable("no controller has a template"));
    };
    let Some(template) = object.template_pod().filter(|_| made_this_pod(object, pod)) else {
        return Ok(Outcome::not_applicable(
            "the template has changed since the pod was made",
        ));
    };
    let mut lost = Vec::new();
    compare_object(
        template.get("/spec"),
        pod.get("/spec"),
        "/spec",
        &mut lost,
    );
    let findings: Vec<Finding> = lost
        .into_iter()
        .map(|pointer| {
            let finding = Finding::new("POD15", format!("`{pointer}` of the template is not in the pod"))
                .at(pod.subject_at(&pointer, format!("field `{}`", pointer.rsplit('/').next().unwrap_or_default())))
                .evidence_from(
                    "template",
                    template.get(&pointer).map(|value| cwii_contract::types::shorten(&value.to_string())).unwrap_or_default(),
                    format!("{} `{}`", object.kind(), object.name()),
                )
                .evidence("webhooks", webhooks(case))
                .fix("upgrade the mutating webhook that drops the field: it knows an older API of pods");
            restarted(finding, case)
        })
        .collect();
    Ok(Outcome::of(findings))
}

/// Whether the pod was made from this very template, as far as it can be told.
fn made_this_pod(object: &Object, pod: &Object) -> bool {
    if object.kind() == "ReplicaSet" {
        return true;
    }
    if let (Some(of_pod), Some(current)) = (
        pod.label("controller-revision-hash"),
        object.text("/status/updateRevision"),
    ) && of_pod != current
    {
        return false;
    }
    if let (Some(of_pod), Some(current)) = (
        pod.label("pod-template-generation"),
        object.annotation("deprecated.daemonset.template.generation"),
    ) && of_pod != current
    {
        return false;
    }
    let written = object.manager(&["spec", "template"]).and_then(|manager| manager.at);
    written.zip(pod.created()).is_none_or(|(written, created)| written <= created)
}

/// Members of `expected` that `found` lacks.
fn compare_object(expected: Option<&Value>, found: Option<&Value>, pointer: &str, lost: &mut Vec<String>) {
    let (Some(expected), Some(found)) = (
        expected.and_then(Value::as_object),
        found.and_then(Value::as_object),
    ) else {
        return;
    };
    for (name, value) in expected {
        if is_nothing(value) {
            continue;
        }
        let at = format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"));
        let Some(there) = found.get(name).filter(|there| !there.is_null()) else {
            // The alias of `serviceAccountName`, and what schedulers and webhooks move on purpose.
            if !["serviceAccount", "command", "args", "resources", "lifecycle", "limits", "requests"]
                .contains(&name.as_str())
            {
                lost.push(at);
            }
            continue;
        };
        match name.as_str() {
            "containers" | "initContainers" => compare_named(value, there, &at, "name", lost),
            "volumeMounts" => compare_named(value, there, &at, "mountPath", lost),
            "livenessProbe" | "readinessProbe" | "startupProbe" => {
                let has_handler = ["exec", "grpc", "httpGet", "tcpSocket"]
                    .iter()
                    .any(|handler| there.get(handler).is_some());
                if !has_handler {
                    lost.push(at);
                }
            }
            "securityContext" | "seccompProfile" | "capabilities" => {
                compare_object(Some(value), Some(there), &at, lost);
            }
            _ => {}
        }
    }
}

fn compare_named(expected: &Value, found: &Value, pointer: &str, key: &str, lost: &mut Vec<String>) {
    let elements = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let found = elements(found);
    for element in elements(expected) {
        let position = found.iter().position(|other| other.get(key) == element.get(key));
        // A container or mount that is gone altogether was taken away, not lost.
        if let Some(position) = position {
            compare_object(Some(&element), found.get(position), &format!("{pointer}/{position}"), lost);
        }
    }
}

/// What an API server does not keep.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_i64() == Some(0),
        Value::String(text) => text.is_empty(),
        Value::Array(elements) => elements.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

fn webhooks(case: &Case<'_>) -> String {
    match &case.look(Need::Webhooks).webhooks {
        Fact::Known(webhooks) if !webhooks.is_empty() => {
            let names: Vec<&str> = webhooks.iter().map(Object::name).collect();
            names.join(", ")
        }
        _ => "not known".into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::{
        doctor::Outcome,
        rules::fixture::{Fixture, edit},
    };

    fn with_template(change: impl Fn(&mut serde_json::Value)) -> Fixture {
        Fixture::plain().with(|facts| {
            for owner in &mut facts.owners {
                edit(&mut owner.object, |object| change(&mut object["spec"]["template"]["spec"]));
            }
        })
    }

    #[test]
    fn a_pod_with_all_of_its_template_and_more_passes() {
        for fixture in [Fixture::plain(), Fixture::irsa(), Fixture::cwii_all()] {
            assert_eq!(fixture.decide("POD15"), Ok(Outcome::Pass));
        }
    }

    // eks#84, #165, #208, #1312
    #[test]
    fn a_native_sidecar_that_lost_its_restart_policy_is_found() {
        let fixture = with_template(|spec| {
            spec["initContainers"] = json!([{"name": "proxy", "image": "x", "restartPolicy": "Always"}]);
        })
        .pod(|pod| pod["spec"]["initContainers"] = json!([{"name": "proxy", "image": "x"}]));
        assert_eq!(
            fixture.messages("POD15"),
            ["`/spec/initContainers/0/restartPolicy` of the template is not in the pod"]
        );
    }

    #[test]
    fn a_probe_without_a_handler_is_found_and_a_rewritten_one_is_not() {
        let template = |spec: &mut serde_json::Value| {
            spec["containers"][0]["livenessProbe"] = json!({"grpc": {"port": 9000}, "periodSeconds": 5});
        };
        let empty = with_template(template)
            .pod(|pod| pod["spec"]["containers"][0]["livenessProbe"] = json!({"periodSeconds": 5}));
        assert_eq!(
            empty.messages("POD15"),
            ["`/spec/containers/0/livenessProbe` of the template is not in the pod"]
        );
        let rewritten = with_template(template).pod(|pod| {
            pod["spec"]["containers"][0]["livenessProbe"] = json!({"httpGet": {"port": 15020}, "periodSeconds": 5});
        });
        assert_eq!(rewritten.decide("POD15"), Ok(Outcome::Pass));
    }

    #[test]
    fn a_template_that_changed_since_says_nothing() {
        let mut fixture = with_template(|spec| spec["hostUsers"] = json!("x"));
        fixture.facts.owners.remove(0);
        edit(&mut fixture.facts.owners[0].object, |object| {
            object["metadata"]["managedFields"] = json!([{"manager": "kubectl", "time": "2026-11-22T11:00:00Z",
                "fieldsV1": {"f:spec": {"f:template": {}}}}]);
        });
        assert!(matches!(fixture.decide("POD15"), Ok(Outcome::NotApplicable(_))));
    }

    #[test]
    fn a_bare_pod_has_no_template() {
        let fixture = Fixture::irsa().with(|facts| facts.owners.clear());
        assert!(matches!(fixture.decide("POD15"), Ok(Outcome::NotApplicable(_))));
    }
}
