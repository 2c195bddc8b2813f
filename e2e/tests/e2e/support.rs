//! Manifests that the tests share, and what they look for in pods.

use cwii_e2e::{Api, Object};
use serde_json::{Map, Value, json};

/// What pods are run in.
pub(crate) const SANDBOX: &str = env!("CARGO_BIN_EXE_cwii-e2e-sandbox");

/// Labels of a namespace: under a webhook, and with the `restricted` Pod Security level enforced.
pub(crate) fn restricted(webhook: &Value) -> Value {
    let mut labels = webhook.clone();
    labels["pod-security.kubernetes.io/enforce"] = "restricted".into();
    labels
}

/// A pod that is admissible wherever a pod can be.
pub(crate) fn pod(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": namespace },
        "spec": pod_spec("default"),
    })
}

/// Its spec, with a ServiceAccount.
pub(crate) fn pod_spec(service_account: &str) -> Value {
    json!({
        "serviceAccountName": service_account,
        "securityContext": {
            "runAsNonRoot": true,
            "runAsUser": 1000,
            "seccompProfile": { "type": "RuntimeDefault" },
        },
        "containers": [{
            "name": "app",
            "image": "registry.example.com/app:1",
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "capabilities": { "drop": ["ALL"] },
            },
            "resources": {
                "requests": { "cpu": "10m", "memory": "16Mi" },
                "limits": { "cpu": "100m", "memory": "32Mi" },
            },
        }],
    })
}

/// A workload of any kind that makes such pods, with annotations of its own.
pub(crate) fn workload(
    api_version: &str,
    kind: &str,
    namespace: &str,
    name: &str,
    service_account: &str,
    annotations: &Value,
) -> Value {
    let labels = json!({ "app": name });
    let template = json!({
        "metadata": { "labels": labels },
        "spec": pod_spec(service_account),
    });
    let mut spec = match kind {
        "ReplicationController" => json!({ "replicas": 1, "selector": labels }),
        "DaemonSet" => json!({ "selector": { "matchLabels": labels } }),
        "Job" => json!({}),
        _ => json!({ "replicas": 1, "selector": { "matchLabels": labels } }),
    };
    spec["template"] = template;
    if kind == "StatefulSet" {
        spec["serviceName"] = name.into();
    }
    if kind == "Job" {
        spec["template"]["spec"]["restartPolicy"] = "Never".into();
    }
    json!({
        "apiVersion": api_version,
        "kind": kind,
        "metadata": { "name": name, "namespace": namespace, "annotations": annotations },
        "spec": spec,
    })
}

/// A ServiceAccount with annotations.
pub(crate) fn service_account(namespace: &str, name: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": namespace, "annotations": annotations },
    })
}

/// An object with annotations.
pub(crate) fn annotated(mut object: Value, annotations: Value) -> Value {
    object["metadata"]["annotations"] = annotations;
    object
}

/// The role of a number, as an ARN.
pub(crate) fn role(name: impl std::fmt::Display) -> String {
    format!("arn:aws:iam::111122223333:role/{name}")
}

/// Annotations that ask for AWS alone.
pub(crate) fn for_role(name: impl std::fmt::Display) -> Value {
    json!({ "cwii.dev/aws-role-arn": role(name) })
}

/// A variable of a pod's first container.
pub(crate) fn variable<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    pod["spec"]["containers"][0]["env"]
        .as_array()?
        .iter()
        .find(|v| v["name"] == name)?["value"]
        .as_str()
}

/// What the webhook wrote that it injected.
pub(crate) fn injected(pod: &Value) -> Option<&str> {
    pod["metadata"]["annotations"]["cwii.dev/injected"].as_str()
}

/// The names of the items of a list in a pod's spec.
pub(crate) fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    pod["spec"][list]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|item| item["name"].as_str())
        .collect()
}

/// Waits for the first pod of a workload of [`workload`].
pub(crate) async fn pod_of(api: &Api, namespace: &str, app: &str) -> Value {
    let pods = Object::pod(namespace, "");
    let query = format!("labelSelector=app%3D{app}");
    cwii_e2e::until(&format!("a pod of {app}"), || async {
        api.list(&pods, &query).await.ok()?.into_iter().next()
    })
    .await
    .unwrap()
}

/// Annotations from pairs whose names are known at run time.
pub(crate) fn annotations<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    pairs
        .into_iter()
        .map(|(key, value)| (format!("cwii.dev/{key}"), value.into()))
        .collect::<Map<_, _>>()
        .into()
}
