//! Pods that the real controllers make of workloads.

use cwii_e2e::{FailurePolicy, Object, Webhook, control_plane};
use serde_json::json;

use crate::support::{
    annotated, for_role, injected, pod_of, restricted, role, service_account, variable, workload,
};

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_workload_hands_its_annotations_to_its_pods() {
    let Some(plane) = control_plane().await else {
        return;
    };
    if !plane.has_controllers() {
        return;
    }
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, "owners", &plane.url).await.unwrap();
    let _replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    plane
        .namespace(&api, "owners", restricted(&webhook.label()), json!({}))
        .await
        .unwrap();
    for (api_version, kind) in [
        ("apps/v1", "Deployment"),
        ("apps/v1", "ReplicaSet"),
        ("apps/v1", "StatefulSet"),
        ("apps/v1", "DaemonSet"),
        ("v1", "ReplicationController"),
        ("batch/v1", "Job"),
    ] {
        let name = kind.to_lowercase();
        let manifest = workload(
            api_version,
            kind,
            "owners",
            &name,
            "default",
            &for_role(&name),
        );
        api.create(&manifest).await.unwrap();
        let pod = pod_of(&api, "owners", &name).await;
        assert_eq!(injected(&pod), Some("aws"), "{kind}");
        assert_eq!(
            variable(&pod, "AWS_ROLE_ARN"),
            Some(role(&name).as_str()),
            "{kind}"
        );
    }

    let Some(mut kubectl) = plane.kubectl() else {
        return;
    };
    let job = workload(
        "batch/v1",
        "Job",
        "owners",
        "nightly",
        "default",
        &json!({}),
    );
    let nightly = json!({
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": { "name": "nightly", "namespace": "owners", "annotations": for_role("nightly") },
        "spec": { "schedule": "0 0 1 1 *", "suspend": true, "jobTemplate": { "spec": job["spec"] } },
    });
    api.create(&nightly).await.unwrap();
    // What the CronJob controller does at its time.
    let made = kubectl
        .args([
            "-n",
            "owners",
            "create",
            "job",
            "nightly-1",
            "--from=cronjob/nightly",
        ])
        .output()
        .await
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let pod = pod_of(&api, "owners", "nightly").await;
    assert_eq!(
        variable(&pod, "AWS_ROLE_ARN"),
        Some(role("nightly").as_str())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn for_every_key_the_nearest_object_that_sets_it_decides() {
    let Some(plane) = control_plane().await else {
        return;
    };
    if !plane.has_controllers() {
        return;
    }
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, "levels", &plane.url).await.unwrap();
    let _replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    let all = |level: &str| {
        json!({
            "cwii.dev/aws-role-arn": role(level),
            "cwii.dev/aws-region": "eu-west-1",
            "cwii.dev/aws-role-session-name": level,
        })
    };
    plane
        .namespace(&api, "levels", webhook.label(), all("namespace"))
        .await
        .unwrap();
    let account = json!({
        "cwii.dev/aws-role-arn": role("account"),
        "cwii.dev/aws-role-session-name": "account",
    });
    api.create(&service_account("levels", "account", account))
        .await
        .unwrap();
    let mut deployment = workload(
        "apps/v1",
        "Deployment",
        "levels",
        "web",
        "account",
        &json!({ "cwii.dev/aws-role-session-name": "workload" }),
    );
    api.create(&deployment).await.unwrap();
    let pod = pod_of(&api, "levels", "web").await;
    assert_eq!(
        variable(&pod, "AWS_ROLE_ARN"),
        Some(role("account").as_str())
    );
    assert_eq!(variable(&pod, "AWS_REGION"), Some("eu-west-1"));
    assert_eq!(variable(&pod, "AWS_ROLE_SESSION_NAME"), Some("workload"));

    // The pod's own word ends it, whatever the others say.
    deployment["metadata"]["name"] = "off".into();
    deployment["spec"]["selector"]["matchLabels"]["app"] = "off".into();
    deployment["spec"]["template"] = annotated(
        deployment["spec"]["template"].clone(),
        json!({ "cwii.dev/aws-inject": "false" }),
    );
    deployment["spec"]["template"]["metadata"]["labels"]["app"] = "off".into();
    api.create(&deployment).await.unwrap();
    let pod = pod_of(&api, "levels", "off").await;
    assert_eq!(injected(&pod), None);

    // A Deployment that changes its mind decides for the pods to come.
    let object = Object::new("apps/v1", "Deployment", "levels", "web");
    let patch = json!({
        "metadata": { "annotations": { "cwii.dev/aws-role-arn": role("changed") } },
        "spec": { "replicas": 0 },
    });
    api.merge(&object, "", &patch).await.unwrap();
    api.delete(&Object::pod(
        "levels",
        pod_name(&pod_of(&api, "levels", "web").await),
    ))
    .await
    .unwrap();
    cwii_e2e::until("no pod is left", || async {
        let query = "labelSelector=app%3Dweb";
        let pods = api.list(&Object::pod("levels", ""), query).await.unwrap();
        pods.is_empty().then_some(())
    })
    .await
    .unwrap();
    api.merge(&object, "", &json!({ "spec": { "replicas": 1 } }))
        .await
        .unwrap();
    let pod = pod_of(&api, "levels", "web").await;
    assert_eq!(
        variable(&pod, "AWS_ROLE_ARN"),
        Some(role("changed").as_str())
    );
}

fn pod_name(pod: &serde_json::Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap()
}
