//! A Kubernetes API of a few kinds of metadata over loopback, the webhook in this process, and clients for it.

pub(crate) mod api;
pub(crate) mod client;
pub(crate) mod webhook;

use serde_json::{Value, json};

pub(crate) const ROLE: &str = "arn:aws:iam::123456789012:role/reports";

/// A pod as a person writes one.
pub(crate) fn pod(name: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": "apps", "annotations": annotations},
        "spec": {"serviceAccountName": "reports", "containers": [{"name": "main", "image": "example.com/app:1"}]},
    })
}

/// A pod of a controller.
pub(crate) fn owned(kind: (&str, &str), name: &str, uid: &str, hash: Option<&str>) -> Value {
    let mut pod = pod("x", json!({}));
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": kind.0, "kind": kind.1, "name": name, "uid": uid, "controller": true}]);
    if let Some(hash) = hash {
        pod["metadata"]["labels"] = json!({"pod-template-hash": hash});
    }
    pod
}

/// The review of a pod's creation in namespace `apps`.
pub(crate) fn review(pod: &Value) -> Value {
    json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {
            "uid": "5f2c", "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": "apps", "operation": "CREATE", "dryRun": false,
            "userInfo": {"username": "kubernetes-admin"}, "object": pod, "oldObject": null,
        },
    })
}
