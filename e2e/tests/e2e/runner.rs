//! The pod runner itself, on pods that nobody mutated.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use cwii_contract::names;
use cwii_e2e::{Kubelet, Object, Progress, control_plane};
use cwii_lab::Mechanism;
use serde_json::{Value, json};

use crate::support::SANDBOX;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_written_by_hand_proves_its_tokens_to_the_emulated_clouds() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let Some(kubelet) = Kubelet::start(plane, SANDBOX).unwrap() else {
        return;
    };
    let api = plane.api().unwrap();
    plane
        .namespace(&api, "runner", json!({}), json!({}))
        .await
        .unwrap();
    let case = plane
        .clouds
        .case("runner-aws", Mechanism::AwsWebIdentity, "runner", "default");
    let workload = plane.clouds.lab.lay_out(&case).unwrap();
    api.create(&pod(
        "by-hand",
        &json!({ "runAsUser": 1234 }),
        workload.names.get("ROLE_ARN"),
    ))
    .await
    .unwrap();
    let mut pod = kubelet.take("runner", "by-hand").await.unwrap();

    let token = pod.volume("token").unwrap().join("token");
    let metadata = std::fs::metadata(&token).unwrap();
    assert_eq!(metadata.uid(), 1234);
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);

    let (ran, end) = pod.advance_to_end().await.unwrap();
    assert!(matches!(end, Progress::Running), "{end:?}");
    assert!(
        ran[0].message.contains("\"outcome\":\"verified\""),
        "{ran:?}"
    );
    let seen = api.get(&Object::pod("runner", "by-hand")).await.unwrap();
    assert_eq!(seen["status"]["phase"], "Running");
    assert_eq!(
        seen["status"]["initContainerStatuses"][0]["state"]["terminated"]["message"],
        ran[0].message.as_str()
    );
}

fn pod(name: &str, security: &Value, role: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "namespace": "runner" },
        "spec": {
            "securityContext": security,
            "volumes": [{ "name": "token", "projected": { "sources": [
                { "serviceAccountToken": { "path": "token", "audience": "sts.amazonaws.com" } },
            ] } }],
            "initContainers": [{
                "name": "verify", "image": names::AGENT_REPOSITORY, "args": ["verify", "aws", "--enforce"],
                "securityContext": { "readOnlyRootFilesystem": true },
                "env": [
                    { "name": "AWS_ROLE_ARN", "value": role },
                    { "name": "AWS_WEB_IDENTITY_TOKEN_FILE", "value": "/token/token" },
                    { "name": "AWS_REGION", "value": "us-east-1" },
                ],
                "volumeMounts": [{ "name": "token", "mountPath": "/token", "readOnly": true }],
            }],
            "containers": [{ "name": "app", "image": "app" }],
        },
    })
}
