//! What a person at a terminal reads.

use std::process::Stdio;

use cwii_e2e::{ControlPlane, FailurePolicy, Webhook, control_plane};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::support::{annotated, pod};

#[tokio::test(flavor = "multi_thread")]
async fn warnings_and_denials_reach_whoever_runs_kubectl_apply() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, "person", &plane.url).await.unwrap();
    let _replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    plane
        .namespace(&api, "person", webhook.label(), json!({}))
        .await
        .unwrap();

    let misspelt = json!({ "cwii.dev/aws-rol-arn": "arn:aws:iam::111122223333:role/reports" });
    let Some((ok, said)) = apply(plane, &annotated(pod("person", "misspelt"), misspelt)).await
    else {
        return;
    };
    assert!(ok, "{said}");
    assert!(
        said.starts_with("Warning: ")
            && said.contains("cwii.dev/aws-rol-arn")
            && said.contains("cwii.dev/aws-role-arn"),
        "{said}"
    );

    let malformed = json!({ "cwii.dev/aws-role-arn": "arn:aws:iam::reports" });
    let (ok, said) = apply(plane, &annotated(pod("person", "malformed"), malformed))
        .await
        .unwrap();
    assert!(!ok, "{said}");
    assert!(
        said.contains("admission webhook \"mutate.cwii.dev\" denied the request: ")
            && said.contains("Pod person/malformed")
            && said.contains("cwii.dev/aws-role-arn")
            && said.contains("arn:aws:iam::reports")
            && said.contains("arn:aws:iam::123456789012:role/"),
        "it names object, key, value and what is allowed: {said}"
    );
}

/// `kubectl apply`: whether it succeeded, and what it said on standard error.
async fn apply(plane: &ControlPlane, manifest: &Value) -> Option<(bool, String)> {
    let mut child = plane
        .kubectl()?
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin
        .write_all(manifest.to_string().as_bytes())
        .await
        .unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Some((
        output.status.success(),
        String::from_utf8(output.stderr).unwrap(),
    ))
}
