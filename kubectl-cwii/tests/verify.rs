//! `kubectl cwii verify` against a double of the API server, which plays kubelet and agent.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests are where environment and clock come from"
)]

mod support;

use std::{
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Api, finish, kubectl_cwii};

const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop }
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: checkout
  namespace: shop
  annotations:
    cwii.dev/aws-role-arn: arn:aws:iam::111122223333:role/checkout
    cwii.dev/aws-verify-image: amazon/aws-cli:2
    cwii.dev/gcp-inject: "true"
    cwii.dev/gcp-audience: //iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: checkout, namespace: shop }
spec:
  template:
    spec:
      serviceAccountName: checkout
      nodeSelector: { pool: blue }
      tolerations: [{ operator: Exists }]
      imagePullSecrets: [{ name: registry }]
      securityContext: { runAsUser: 1000, fsGroup: 2000 }
      containers: [{ name: app, image: "example.com/app:1" }]
"#;

/// A double whose pods get a status as soon as they are there.
fn shop(status: Value) -> Api {
    let api = Api::start();
    api.put_yaml(SHOP);
    api.on_create(move |pod| pod["status"] = status.clone());
    api
}

fn ended(exit_code: i64, message: &str) -> Value {
    json!({
        "phase": "Failed",
        "containerStatuses": [{
            "name": "cwii-aws-verify",
            "state": { "terminated": { "exitCode": exit_code, "message": message } },
        }],
    })
}

const VERIFIED: &str = "cwii: AWS accepted the token\n  Arn: arn:aws:sts::111122223333:assumed-role/checkout/x\n\n{\"cwii\":1,\"provider\":\"aws\",\"outcome\":\"verified\",\"code\":null,\"providerError\":null,\"identity\":{\"Arn\":\"arn:aws:sts::111122223333:assumed-role/checkout/x\"},\"at\":\"2026-01-01T00:00:00Z\"}";

const DENIED: &str = "An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation: Not authorized\n\n{\"cwii\":1,\"provider\":\"aws\",\"outcome\":\"denied\",\"code\":\"AWS05\",\"providerError\":{\"code\":\"AccessDenied\",\"message\":\"Not authorized\"},\"identity\":{},\"at\":\"2026-01-01T00:00:00Z\"}";

fn command(api: &Api, dir: &Path, arguments: &[&str]) -> Command {
    let config = api.kubeconfig(dir, &json!({}));
    let mut command = kubectl_cwii(&[&["verify"], arguments].concat());
    command.env("KUBECONFIG", config);
    command
}

fn run(api: &Api, arguments: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    finish(&mut command(api, dir.path(), arguments))
}

/// The pod that was created.
fn created(api: &Api) -> Value {
    let seen = api.seen();
    let mut posts = seen.iter().filter(|seen| seen.method == http::Method::POST);
    let pod = posts.next().unwrap().body.clone();
    assert!(posts.next().is_none(), "one pod");
    pod
}

fn is_deleted(api: &Api) -> bool {
    api.names("/api/v1/pods").is_empty()
}

#[test]
fn a_pod_of_the_service_account_runs_the_agent_and_is_gone_afterwards() {
    let api = shop(ended(0, VERIFIED));
    let (code, stdout, stderr) = run(&api, &["deploy", "checkout", "--provider", "aws"]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.starts_with("shop/deployment/checkout · aws · verified · "),
        "{stdout}"
    );
    assert!(
        stdout.contains("\n  cwii: AWS accepted the token\n    Arn: arn:aws:sts"),
        "{stdout}"
    );
    assert!(!stdout.contains("\"cwii\":1"), "{stdout}");
    assert!(is_deleted(&api));
    assert!(stderr.contains("creating a pod"), "{stderr}");

    let pod = created(&api);
    let spec = &pod["spec"];
    for (member, expected) in [
        ("serviceAccountName", json!("checkout")),
        ("restartPolicy", json!("Never")),
        ("activeDeadlineSeconds", json!(120)),
        ("automountServiceAccountToken", json!(false)),
        ("nodeSelector", json!({ "pool": "blue" })),
        ("tolerations", json!([{ "operator": "Exists" }])),
        ("imagePullSecrets", json!([{ "name": "registry" }])),
        ("initContainers", json!([])),
        (
            "securityContext",
            json!({
                "runAsNonRoot": true,
                "seccompProfile": { "type": "RuntimeDefault" },
                "runAsUser": 1000,
                "fsGroup": 2000,
            }),
        ),
    ] {
        assert_eq!(spec[member], expected, "{member}");
    }
    let [agent] = spec["containers"].as_array().unwrap().as_slice() else {
        panic!("{spec}");
    };
    assert_eq!(agent["args"], json!(["verify", "aws", "--enforce"]));
    assert!(
        agent["image"].as_str().unwrap().contains("cwii-agent:"),
        "the agent, not a cloud's CLI"
    );
    assert_eq!(agent["securityContext"]["allowPrivilegeEscalation"], false);
    assert_eq!(
        agent["securityContext"]["capabilities"]["drop"],
        json!(["ALL"])
    );
    assert_eq!(agent["securityContext"]["readOnlyRootFilesystem"], true);
    assert!(agent["resources"]["limits"]["memory"].is_string());
    let volumes = spec["volumes"].as_array().unwrap();
    assert_eq!(volumes.len(), 1, "the token of one provider: {volumes:?}");
    let metadata = &pod["metadata"];
    assert_eq!(metadata["generateName"], "cwii-verify-checkout-");
    assert_eq!(metadata["labels"]["app.kubernetes.io/managed-by"], "cwii");
    assert_eq!(
        metadata["annotations"]["cwii.dev/aws-inject"], "false",
        "the webhook leaves it alone"
    );
    let owner = &metadata["ownerReferences"][0];
    assert_eq!(
        (&owner["kind"], &owner["controller"]),
        (&json!("Deployment"), &json!(false))
    );
    assert!(owner["uid"].is_string());
}

#[test]
fn google_gets_its_credentials_written_first() {
    let api = shop(json!({
        "phase": "Pending",
        "initContainerStatuses": [{
            "name": "cwii-gcp-creds-writer",
            "state": { "terminated": { "exitCode": 10, "message": "no space" } },
        }],
    }));
    let (code, stdout, _) = run(
        &api,
        &[
            "sa/checkout",
            "--provider",
            "gcp",
            "--image",
            "example.com/agent:7",
        ],
    );
    assert_eq!(code, Some(3));
    assert!(
        stdout.contains("cwii-gcp-creds-writer ended with exit code 10: no space"),
        "{stdout}"
    );
    let pod = created(&api);
    let containers = [&pod["spec"]["initContainers"], &pod["spec"]["containers"]];
    for (list, name) in containers
        .iter()
        .zip(["cwii-gcp-creds-writer", "cwii-gcp-verify"])
    {
        assert_eq!(list.as_array().unwrap().len(), 1);
        assert_eq!(list[0]["name"], name);
        assert_eq!(list[0]["image"], "example.com/agent:7");
    }
    assert_eq!(
        pod["metadata"]["ownerReferences"][0]["kind"],
        "ServiceAccount"
    );
    assert!(is_deleted(&api));
}

#[test]
fn what_the_cloud_said_is_shown_and_makes_the_exit_code() {
    let api = shop(ended(20, DENIED));
    let (code, stdout, _) = run(&api, &["deploy/checkout", "--provider", "aws"]);
    assert_eq!(code, Some(1));
    assert!(
        stdout.contains("(AccessDenied)") && stdout.contains("kubectl cwii explain AWS05"),
        "{stdout}"
    );
    let (code, stdout, _) = run(
        &api,
        &["deploy/checkout", "--provider", "aws", "-o", "json"],
    );
    assert_eq!(code, Some(1));
    let report: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(report["result"]["code"], "AWS05");
    assert_eq!(
        (&report["exitCode"], &report["summary"]["exitCode"]),
        (&json!(20), &json!(1))
    );
    let unreachable = DENIED.replace("denied", "unreachable");
    let (code, ..) = run(
        &shop(ended(30, &unreachable)),
        &["deploy/checkout", "--provider", "aws"],
    );
    assert_eq!(code, Some(3));
    let (code, stdout, _) = run(
        &shop(ended(1, "panic\u{1b}[2J")),
        &["deploy/checkout", "--provider", "aws"],
    );
    assert_eq!(code, Some(3));
    assert!(stdout.contains("panic\\u{1b}[2J"), "{stdout}");
}

#[test]
fn a_pod_that_cannot_start_is_inconclusive_and_says_why() {
    let waiting = json!({
        "phase": "Pending",
        "containerStatuses": [{ "state": { "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } } }],
    });
    let failed = json!({ "phase": "Failed", "reason": "DeadlineExceeded", "message": "too slow" });
    for (status, said) in [
        (waiting, "ImagePullBackOff: no such image"),
        (failed, "Failed: DeadlineExceeded too slow"),
    ] {
        let api = shop(status);
        let (code, stdout, _) = run(&api, &["deploy/checkout", "--provider", "aws"]);
        assert_eq!(code, Some(3));
        assert!(stdout.contains(said), "{stdout}");
        assert!(is_deleted(&api));
    }
}

#[test]
fn the_pod_is_deleted_when_the_command_is_interrupted_or_out_of_time() {
    let pending = json!({ "phase": "Pending" });
    let api = shop(pending.clone());
    let (code, stdout, _) = run(
        &api,
        &["deploy/checkout", "--provider", "aws", "--timeout", "1s"],
    );
    assert_eq!(code, Some(124), "{stdout}");
    assert!(stdout.contains("had not ended: Pending"), "{stdout}");
    created(&api);
    assert!(is_deleted(&api));

    let api = shop(pending);
    let dir = tempfile::tempdir().unwrap();
    let child = command(&api, dir.path(), &["deploy/checkout", "--provider", "aws"])
        .spawn()
        .unwrap();
    let end = Instant::now() + Duration::from_secs(20);
    while is_deleted(&api) {
        assert!(Instant::now() < end, "no pod was created");
        std::thread::yield_now();
    }
    let killed = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(is_deleted(&api));
}

#[test]
fn what_is_not_injected_or_not_allowed_creates_no_pod() {
    let api = shop(ended(0, VERIFIED));
    let (code, _, stderr) = run(&api, &["deploy/checkout", "--provider", "az"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("is not injected into pods of shop/deployment/checkout"),
        "{stderr}"
    );
    assert!(
        stderr.contains("kubectl cwii plan deployment checkout -n shop"),
        "{stderr}"
    );
    let (code, _, stderr) = run(&api, &["ns/shop", "--provider", "aws"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("a namespace runs as nobody"), "{stderr}");
    let (code, _, stderr) = run(&api, &["deploy/nope", "--provider", "aws"]);
    assert_eq!(code, Some(2));
    assert!(stderr.contains("does not exist"), "{stderr}");
    assert!(
        api.seen()
            .iter()
            .all(|seen| seen.method == http::Method::GET)
    );
    api.deny("create", "pods");
    let (code, _, stderr) = run(&api, &["deploy/checkout", "--provider", "aws"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("not allowed to create pods in namespace shop"),
        "{stderr}"
    );
    assert!(is_deleted(&api));
}
