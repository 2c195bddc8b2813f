//! The AdmissionReview under load: 4.3 KB, a pod of a Deployment with three containers and one init container, as
//! kube-apiserver sends it, with the fields that it has defaulted by then.

use serde_json::{Value, json};

/// A pod of the ServiceAccount, in [`NAMESPACE`]; the same each time.
pub(crate) fn review(service_account: &str, uid: &str) -> Value {
    json!({
        "kind": "AdmissionReview",
        "apiVersion": "admission.k8s.io/v1",
        "request": {
            "uid": uid,
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "requestKind": {"group": "", "version": "v1", "kind": "Pod"},
            "requestResource": {"group": "", "version": "v1", "resource": "pods"},
            "namespace": NAMESPACE,
            "operation": "CREATE",
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "0f3bb0ad-5fb5-4a1c-8d39-2f0a7f2c9d1e",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]
            },
            "object": pod(service_account),
            "oldObject": null,
            "dryRun": false,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"}
        }
    })
}

fn pod(service_account: &str) -> Value {
    let access = json!([{
        "name": "kube-api-access-x7k2p",
        "readOnly": true,
        "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"
    }]);
    let container = |name: &str, image: &str, env: Value, port: Option<u16>| {
        let mut container = json!({
            "name": name,
            "image": image,
            "env": env,
            "resources": {"limits": {"cpu": "1", "memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "volumeMounts": access,
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent"
        });
        if let Some(port) = port {
            container["ports"] =
                json!([{"name": "http", "containerPort": port, "protocol": "TCP"}]);
            container["readinessProbe"] = json!({
                "httpGet": {"path": "/ready", "port": "http", "scheme": "HTTP"},
                "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3
            });
        }
        container
    };
    json!({
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": format!("{DEPLOYMENT}-{HASH}-"),
            "namespace": NAMESPACE,
            "creationTimestamp": null,
            "labels": {"app.kubernetes.io/name": DEPLOYMENT, "pod-template-hash": HASH},
            "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090"},
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{DEPLOYMENT}-{HASH}"),
                "uid": "5d0a4f0e-4d61-4a7e-9d0c-0d6f6f3c2b11", "controller": true, "blockOwnerDeletion": true
            }]
        },
        "spec": {
            "volumes": [{
                "name": "kube-api-access-x7k2p",
                "projected": {
                    "sources": [
                        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                        {"downwardAPI": {"items": [{
                            "path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
                        }]}}
                    ],
                    "defaultMode": 420
                }
            }],
            "initContainers": [container(
                "migrate", "registry.example.com/shop/checkout:1.42.0",
                json!([{"name": "DATABASE_HOST", "value": "checkout-db.shop.svc"}]), None
            )],
            "containers": [
                container(
                    "checkout", "registry.example.com/shop/checkout:1.42.0",
                    json!([
                        {"name": "DATABASE_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "checkout-db", "key": "password"}}},
                        {"name": "LOG_LEVEL", "value": "info"}
                    ]),
                    Some(8080)
                ),
                container(
                    "envoy", "registry.example.com/mesh/envoy:1.38.1",
                    json!([{"name": "POD_IP", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": "status.podIP"}}}]),
                    None
                ),
                container(
                    "log-shipper", "registry.example.com/platform/vector:0.51.0", json!([]), None
                )
            ],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": service_account,
            "serviceAccount": service_account,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 10001, "fsGroup": 10001},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
            ],
            "priority": 0,
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority"
        },
        "status": {}
    })
}

/// Of the pod.
pub(crate) const NAMESPACE: &str = "shop";
/// What owns the pod's ReplicaSet; it carries no keys.
pub(crate) const DEPLOYMENT: &str = "checkout";
const HASH: &str = "7d9c5b8f6b";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::http;

    #[test]
    fn the_review_has_4_3_kilobytes() {
        let uid = http::uid(0);
        let bytes = review("checkout", str::from_utf8(&uid).unwrap()).to_string();
        assert!((4200..4400).contains(&bytes.len()), "{}", bytes.len());
        assert_eq!(bytes.matches(str::from_utf8(&uid).unwrap()).count(), 1);
    }
}
