//! What the chart renders, as the API server takes it: every object, over the grid of values that `cargo xtask chart`
//! judges, by a dry run that validates strictly, and its pods under the Pod Security level `restricted`.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use cwii_e2e::{Api, ControlPlane, Object, control_plane, skip_unless_required, until};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::install::Stage;

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_takes_every_object_that_the_chart_renders() {
    let Some(plane) = control_plane().await else {
        return;
    };
    if plane.helm().is_none() || plane.kubectl().is_none() {
        return;
    }
    let has_kinds_of_others = install_kinds_of_others(plane).await;
    let api = plane.api().unwrap();
    let restricted = json!({
        "pod-security.kubernetes.io/enforce": "restricted",
        "pod-security.kubernetes.io/warn": "restricted",
    });
    plane
        .namespace(&api, NAMESPACE, restricted, json!({}))
        .await
        .unwrap();
    let mut entries: Vec<PathBuf> = fs::read_dir(GRID)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    assert!(entries.len() >= 10, "{entries:?}");
    for values in &entries {
        let name = values.file_stem().unwrap().to_string_lossy();
        let mut objects = render(plane, values).await;
        if !has_kinds_of_others {
            objects.retain(|object| {
                let api_version = object["apiVersion"].as_str().unwrap();
                !OTHERS.iter().any(|group| api_version.starts_with(group))
            });
        }
        // A pod wants its ServiceAccount to be there, and what is only tried is not.
        for account in objects.iter().filter(|o| o["kind"] == "ServiceAccount") {
            let name = &account["metadata"]["name"];
            api.ensure(&json!({
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": { "name": name, "namespace": NAMESPACE },
            }))
            .await
            .unwrap();
        }
        let said = dry_run(plane, &objects).await;
        assert!(said.is_empty(), "{name}: {said}");
        for object in &objects {
            pods_are_admitted(&api, &name, object).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn helm_test_has_the_doctor_judge_the_installation_and_leaves_nothing_behind() {
    let Some(stage) = Stage::set().await else {
        return;
    };
    stage.install(&[]).await;
    stage.is_asked().await;
    let before = stage.everything().await;

    // What is wrong here is the issuer of this control plane, and that alone: no cloud reaches `localhost`.
    assert_eq!(helm_test(&stage).await, ["error[ISS01]"]);
    assert_eq!(stage.everything().await, before);

    let service = Object::new("v1", "Service", SYSTEM, "cwii-webhook");
    let selecting = |component: &str| json!({ "spec": { "selector": { "app.kubernetes.io/component": component } } });
    stage
        .api
        .merge(&service, "", &selecting("nobody"))
        .await
        .unwrap();
    assert_eq!(helm_test(&stage).await, ["error[HOOK06]", "error[ISS01]"]);
    assert_eq!(stage.everything().await, before);

    stage.helm(&["uninstall", "cwii", "--wait"]).await;
    stage.namespace_is_gone(SYSTEM).await;
}

/// What the doctor finds when Helm runs it; what it may not read would be among it.
async fn helm_test(stage: &Stage) -> Vec<String> {
    let so_far = stage.node.ended().len();
    let output = stage.try_helm(&["test", "cwii", "--logs"]).await;
    let ended = stage.node.ended().split_off(so_far);
    let doctor = ended.iter().find(|one| one.container == "doctor");
    let doctor = doctor.unwrap_or_else(|| panic!("{}", said(&output)));
    // It passes if and only if the doctor does.
    assert_eq!(output.status.success(), doctor.code == 0);
    doctor
        .log
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(head, _)| head)
        .filter(|head| ["error[", "warning["].iter().any(|s| head.starts_with(s)))
        .map(str::to_owned)
        .chain(
            doctor
                .log
                .contains("not allowed to")
                .then(|| doctor.log.clone()),
        )
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_says_what_the_alerts_ask_it_for() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let label = "cwii-e2e-not-there";
    plane
        .namespace(&api, "alerts", json!({ label: "true" }), json!({}))
        .await
        .unwrap();
    // Nobody answers there.
    let webhook = |name: &str, policy: &str| {
        json!({
            "name": name,
            "clientConfig": { "url": format!("https://127.0.0.1:{}/mutate", cwii_e2e::free_port().unwrap()) },
            "rules": [{ "operations": ["CREATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"] }],
            "namespaceSelector": { "matchLabels": { label: "true" } },
            "objectSelector": { "matchLabels": { "policy": policy } },
            "failurePolicy": policy,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        })
    };
    let configuration = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": "alerts" },
        "webhooks": [webhook("open.cwii.dev", "Ignore"), webhook("closed.cwii.dev", "Fail")],
    });
    api.create(&configuration).await.unwrap();
    let pod = |policy: &str| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": "pod", "namespace": "alerts", "labels": { "policy": policy } },
            "spec": { "containers": [{ "name": "app", "image": "app" }] },
        })
    };
    until("the API server says what became of both pods", || async {
        api.create_with(&pod("Ignore"), "dryRun=All").await.unwrap();
        api.create_with(&pod("Fail"), "dryRun=All").await.err()?;
        let page = api.text("/metrics").await.unwrap();
        [
            r#"apiserver_admission_webhook_fail_open_count{name="open.cwii.dev","#,
            r#"apiserver_admission_webhook_rejection_count{error_type="calling_webhook_error",name="closed.cwii.dev","#,
            r#"apiserver_admission_webhook_admission_duration_seconds_bucket{name="open.cwii.dev","#,
        ]
        .iter()
        .all(|sample| page.contains(sample))
        .then_some(())
    })
    .await
    .unwrap();
    api.delete(&Object::of(&configuration)).await.unwrap();
}

/// Custom resource definitions of cert-manager and the Prometheus operator, from the folder that `CWII_CRDS` names;
/// whether there is one.
async fn install_kinds_of_others(plane: &ControlPlane) -> bool {
    let Some(folder) = env::var_os("CWII_CRDS").filter(|v| !v.is_empty()) else {
        skip_unless_required(
            "CWII_REQUIRE_HELM",
            "CWII_CRDS is not set, which names the folder of others' custom resource definitions; the chart's objects of \
             these kinds",
        );
        return false;
    };
    let output = plane
        .kubectl()
        .unwrap()
        .args(["apply", "--server-side", "-f"])
        .arg(&folder)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let output = plane
        .kubectl()
        .unwrap()
        .args(["wait", "--for=condition=Established", "--timeout=60s", "-f"])
        .arg(&folder)
        .output()
        .await
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    true
}

/// What `helm template` prints, hooks included.
async fn render(plane: &ControlPlane, values: &Path) -> Vec<Value> {
    let output = plane
        .helm()
        .unwrap()
        .args(["template", "chart", CHART, "--namespace", NAMESPACE])
        .arg("--values")
        .arg(values)
        .output()
        .await
        .unwrap();
    assert!(
        output.status.success(),
        "{}: {}",
        values.display(),
        said(&output)
    );
    let text = String::from_utf8(output.stdout).unwrap();
    let objects: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    objects
        .into_iter()
        .filter(|object| !object.is_null())
        .collect()
}

/// Complaints and warnings of a server-side dry run of all objects at once.
async fn dry_run(plane: &ControlPlane, objects: &[Value]) -> String {
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects });
    let mut child = plane
        .kubectl()
        .unwrap()
        .args([
            "apply",
            "--server-side",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(list.to_string().as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    let applied = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        assert_eq!(applied.lines().count(), objects.len(), "{applied}");
    }
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A pod as a template has it passes admission; a Deployment with a bad one is accepted, and then has no pods.
async fn pods_are_admitted(api: &Api, name: &str, object: &Value) {
    let (labels, spec) = match object["kind"].as_str() {
        Some("Deployment") => {
            let template = &object["spec"]["template"];
            (&template["metadata"]["labels"], &template["spec"])
        }
        Some("Pod") => (&object["metadata"]["labels"], &object["spec"]),
        _ => return,
    };
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "pod", "namespace": NAMESPACE, "labels": labels },
        "spec": spec,
    });
    let (admitted, warnings) = api
        .create_and_listen(&pod, "dryRun=All&fieldValidation=Strict")
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(warnings, Vec::<String>::new(), "{name}");
    assert_eq!(admitted["spec"]["securityContext"], spec["securityContext"]);
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/cwii");
const GRID: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../xtask/src/chart/grid");
/// Not the documented one, where others install.
const NAMESPACE: &str = "chart";
/// The documented one.
const SYSTEM: &str = "cwii-system";
const OTHERS: [&str; 2] = ["cert-manager.io/", "monitoring.coreos.com/"];
