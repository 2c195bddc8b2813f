//! The patch is what an API server parses for every pod: it has to stay small.

use serde_json::{Value, json};

use crate::support::{Scopes, admit, settings};

/// A pod of a Deployment as an API server hands it in: three containers and an init container, all with variables and
/// mounts, and the defaults and managed fields that make up most of a review.
pub(crate) fn ordinary_pod() -> Value {
    let container = |name: &str| {
        json!({
            "name": name,
            "image": format!("registry.example.com/shop/{name}:2.3.1"),
            "env": [
                { "name": "LOG_LEVEL", "value": "info" },
                { "name": "POD_IP", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "status.podIP" } } },
            ],
            "resources": { "limits": { "cpu": "500m", "memory": "256Mi" }, "requests": { "cpu": "100m", "memory": "128Mi" } },
            "volumeMounts": [
                { "name": "data", "mountPath": "/data" },
                { "name": "kube-api-access-7xk2p", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" },
            ],
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "IfNotPresent",
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
        })
    };
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "generateName": "checkout-6d5b7f9c4d-",
            "namespace": "apps",
            "labels": { "app": "checkout", "pod-template-hash": "6d5b7f9c4d" },
            "annotations": { "prometheus.io/scrape": "true", "prometheus.io/port": "9090" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "checkout-6d5b7f9c4d",
                "uid": "0b7b9b4e-7c5f-4d52-8d2e-0d7c4a2f6a11", "controller": true, "blockOwnerDeletion": true,
            }],
            "managedFields": [{
                "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "time": "2026-11-22T02:00:00Z", "fieldsType": "FieldsV1",
                "fieldsV1": { "f:metadata": { "f:generateName": {}, "f:labels": { ".": {}, "f:app": {}, "f:pod-template-hash": {} } },
                    "f:spec": { "f:containers": { "k:{\"name\":\"app\"}": { ".": {}, "f:image": {}, "f:name": {}, "f:resources": {} } },
                        "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:schedulerName": {}, "f:securityContext": {} } },
            }],
        },
        "spec": {
            "volumes": [
                { "name": "data", "emptyDir": {} },
                { "name": "kube-api-access-7xk2p", "projected": { "sources": [
                    { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                    { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                    { "downwardAPI": { "items": [{ "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } }] } },
                ], "defaultMode": 420 } },
            ],
            "initContainers": [container("migrate")],
            "containers": [container("app"), container("helper"), container("logs")],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "checkout",
            "serviceAccount": "checkout",
            "securityContext": { "runAsNonRoot": true, "seccompProfile": { "type": "RuntimeDefault" } },
            "schedulerName": "default-scheduler",
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            ],
            "priority": 0,
            "enableServiceLinks": true,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    })
}

#[test]
fn the_patch_of_an_ordinary_aws_pod_is_under_two_and_a_half_kilobytes() {
    let role = json!({ "cwii.dev/aws-role-arn": "arn:aws:iam::123456789012:role/checkout" });
    let with = |more: &[(&str, &str)]| {
        let mut annotations = role.clone();
        for (key, value) in more {
            annotations[format!("cwii.dev/{key}")] = (*value).into();
        }
        let answer = admit(
            &ordinary_pod(),
            &Scopes::service_account(&annotations),
            &settings(),
        );
        answer.unwrap().patch.len()
    };
    let role_only = with(&[]);
    let region = with(&[("aws-region", "eu-central-1")]);
    let verify = with(&[("aws-verify", "true"), ("aws-verify-enforce", "true")]);
    let all = with(&[("aws-region", "eu-central-1"), ("aws-verify", "true")]);
    println!(
        "pod {} bytes; patch: role {role_only}, region {region}, verify {verify}, region and verify {all}",
        ordinary_pod().to_string().len()
    );
    assert!(role_only < 2500, "{role_only}");
    assert!(region < 4100, "{region}");
    assert!(verify < 3400, "{verify}");
}

#[test]
fn a_pod_that_asks_for_nothing_gets_no_patch() {
    let answer = admit(&ordinary_pod(), &Scopes::default(), &settings()).unwrap();
    assert_eq!(answer.patch, b"[]");
    assert!(answer.warnings.is_empty());
}
