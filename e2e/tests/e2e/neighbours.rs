//! Another webhook changes the pod, and the API server invokes ours again.

use cwii_e2e::{FailurePolicy, Neighbour, Webhook, control_plane, until};
use serde_json::{Value, json};

use crate::support::{annotated, injected, names, pod, role};

#[tokio::test(flavor = "multi_thread")]
async fn what_another_webhook_adds_later_is_injected_and_what_it_rewrites_is_left_alone() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, "neighbours", &plane.url).await.unwrap();
    let replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    plane
        .namespace(&api, "neighbours", webhook.label(), json!({}))
        .await
        .unwrap();
    let _mesh = Neighbour::start(plane, "neighbours-mesh", &webhook.label(), mesh)
        .await
        .unwrap();
    let asks = json!({ "cwii.dev/aws-role-arn": role("web"), "cwii.dev/aws-verify": "true" });
    let manifest = annotated(pod("neighbours", "web"), asks);
    until("the other webhook is asked", || async {
        let pod = api.create_with(&manifest, "dryRun=All").await.unwrap();
        names(&pod, "containers").contains(&"proxy").then_some(())
    })
    .await
    .unwrap();

    let asked = replica
        .metric("cwii_webhook_requests_total", &[])
        .await
        .unwrap();
    let (pod, warnings) = api.create_and_listen(&manifest, "").await.unwrap();
    let times = replica
        .metric("cwii_webhook_requests_total", &[])
        .await
        .unwrap()
        - asked;
    assert_eq!(times, 2.0, "ours was invoked again");
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(injected(&pod), Some("aws"));
    assert_eq!(names(&pod, "initContainers"), ["cwii-aws-verify"]);
    let image = pod["spec"]["initContainers"][0]["image"].as_str().unwrap();
    assert!(image.starts_with("mirror.example.com/"), "{image}");
    assert_eq!(names(&pod, "containers"), ["app", "proxy"]);
    for container in pod["spec"]["containers"].as_array().unwrap() {
        let variables: Vec<&str> = container["env"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|v| v["name"].as_str())
            .collect();
        assert_eq!(variables, ["AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE"]);
        let tokens = container["volumeMounts"].as_array().unwrap();
        let ours = tokens.iter().filter(|m| m["name"] == "cwii-aws-token");
        assert_eq!(ours.count(), 1, "{container}");
    }
}

/// A proxy beside the application, and every image from a mirror.
fn mesh(pod: &Value) -> Value {
    let mut operations = Vec::new();
    for (n, container) in pod["spec"]["initContainers"]
        .as_array()
        .into_iter()
        .flatten()
        .enumerate()
    {
        let image = container["image"].as_str().unwrap_or_default();
        if !image.starts_with("mirror.") {
            operations.push(json!({
                "op": "replace",
                "path": format!("/spec/initContainers/{n}/image"),
                "value": format!("mirror.example.com/{image}"),
            }));
        }
    }
    if !names(pod, "containers").contains(&"proxy") {
        operations.push(json!({
            "op": "add",
            "path": "/spec/containers/-",
            "value": { "name": "proxy", "image": "registry.example.com/proxy:1" },
        }));
    }
    operations.into()
}
