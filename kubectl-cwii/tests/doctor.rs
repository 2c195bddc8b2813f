//! The doctor on a double of the API server that counts.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests are where environment and clock come from"
)]
#![allow(clippy::print_stdout, reason = "a benchmark prints its figures")]

mod support;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use support::{Api, finish, kubectl_cwii};

/// A workload that asks for an AWS role and was injected by nobody yet, and cwii's webhook.
const SHOP: &str = r#"
apiVersion: v1
kind: Namespace
metadata: { name: shop, labels: { kubernetes.io/metadata.name: shop } }
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: checkout
  namespace: shop
  creationTimestamp: "2026-11-20T09:00:00Z"
  annotations:
    cwii.dev/aws-inject: "true"
    cwii.dev/aws-role-arn: arn:aws:iam::111122223333:role/checkout
    cwii.dev/aws-region: eu-central-1
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: checkout, namespace: shop, creationTimestamp: "2026-11-20T10:00:00Z" }
spec:
  selector: { matchLabels: { app: checkout } }
  template:
    metadata: { labels: { app: checkout } }
    spec:
      serviceAccountName: checkout
      containers:
        - name: app
          image: example.com/app:1
---
apiVersion: apps/v1
kind: ReplicaSet
metadata:
  name: checkout-7d9f8b6c5
  namespace: shop
  ownerReferences: [{ apiVersion: apps/v1, kind: Deployment, name: checkout, uid: "1", controller: true }]
---
apiVersion: v1
kind: Pod
metadata:
  name: checkout-7d9f8b6c5-x2x4z
  namespace: shop
  creationTimestamp: "2026-11-22T10:00:00Z"
  labels: { app: checkout, pod-template-hash: 7d9f8b6c5 }
  ownerReferences: [{ apiVersion: apps/v1, kind: ReplicaSet, name: checkout-7d9f8b6c5, uid: "2", controller: true }]
spec:
  serviceAccountName: checkout
  nodeName: node-1
  containers:
    - name: app
      image: example.com/app:1
      envFrom: [{ configMapRef: { name: settings } }]
status: { phase: Running }
---
apiVersion: v1
kind: Node
metadata: { name: node-1 }
---
apiVersion: v1
kind: ConfigMap
metadata: { name: settings, namespace: shop }
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingWebhookConfiguration
metadata: { name: cwii }
webhooks:
  - name: mutate.cwii.dev
    clientConfig: { service: { namespace: cwii-system, name: cwii-webhook, path: /mutate, port: 443 } }
    rules: [{ apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods] }]
    admissionReviewVersions: [v1]
    sideEffects: None
    timeoutSeconds: 10
    failurePolicy: Ignore
---
apiVersion: v1
kind: Service
metadata: { name: cwii-webhook, namespace: cwii-system }
spec: { selector: { app: cwii-webhook }, ports: [{ port: 443, targetPort: 8443 }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: cwii-webhook, namespace: cwii-system }
spec:
  selector: { matchLabels: { app: cwii-webhook } }
  template:
    metadata: { labels: { app: cwii-webhook } }
    spec:
      containers: [{ name: webhook, image: "ghcr.io/cwii-dev/cwii-webhook:0.1.0" }]
      volumes: [{ name: tls, secret: { secretName: cwii-webhook-tls } }]
---
apiVersion: v1
kind: Pod
metadata: { name: cwii-webhook-1, namespace: cwii-system, labels: { app: cwii-webhook } }
spec:
  containers: [{ name: webhook, image: "ghcr.io/cwii-dev/cwii-webhook:0.1.0" }]
  volumes: [{ name: tls, secret: { secretName: cwii-webhook-tls } }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: cwii-webhook-1, namespace: cwii-system, labels: { kubernetes.io/service-name: cwii-webhook } }
endpoints: [{ addresses: [10.0.0.1], conditions: { ready: true } }]
ports: [{ port: 8443 }]
---
apiVersion: v1
kind: Secret
metadata: { name: cwii-webhook-tls, namespace: cwii-system }
data: { tls.crt: LS0t, tls.key: c2VjcmV0LWtleQ== }
"#;

const POD: &str = "checkout-7d9f8b6c5-x2x4z";

fn shop() -> Api {
    let api = Api::start();
    api.put_yaml(SHOP);
    api.answer("/apis", 200, r#"{"groups": [{"name": "apps"}]}"#);
    api.answer(
        "/.well-known/openid-configuration",
        200,
        r#"{"issuer": "https://oidc.example.com/prod", "jwks_uri": "https://oidc.example.com/prod/openid/v1/jwks"}"#,
    );
    api.answer("/openid/v1/jwks", 200, r#"{"keys": []}"#);
    api
}

fn run(api: &Api, arguments: &[&str]) -> (Option<i32>, String, String) {
    let dir = tempfile::tempdir().unwrap();
    let config = api.kubeconfig(dir.path(), &json!({}));
    finish(kubectl_cwii(arguments).env("KUBECONFIG", config))
}

fn report(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Codes with a status, each with its message.
fn of_status(report: &Value, status: &str) -> Vec<(String, String)> {
    let results = report["results"].as_array().unwrap().iter();
    results
        .filter(|result| result["status"] == status)
        .map(|result| {
            let text = |member: &str| result[member].as_str().unwrap_or_default().to_owned();
            (text("code"), text("message"))
        })
        .collect()
}

/// What `-v 6` says: rounds and requests.
fn rounds(stderr: &str) -> (usize, usize) {
    let line = stderr
        .lines()
        .find(|line| line.contains("rounds of"))
        .unwrap();
    let numbers: Vec<usize> = line
        .split_whitespace()
        .filter_map(|word| word.parse().ok())
        .collect();
    (numbers[0], numbers[1])
}

#[test]
fn a_pod_costs_two_rounds_and_reads_each_object_once() {
    let api = shop();
    let (code, stdout, stderr) = run(&api, &["doctor", "pod", POD, "-v", "6", "-o", "json"]);
    assert!(matches!(code, Some(0 | 1)), "{code:?} {stderr}\n{stdout}");
    let (rounds, requests) = rounds(&stderr);
    assert!(rounds <= 2, "{rounds} rounds");
    let lines = api.lines();
    assert_eq!(lines.len(), requests);
    let mut paths: Vec<_> = api.seen().iter().map(|seen| seen.path.clone()).collect();
    paths.sort();
    let before = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), before, "{lines:#?}");
    assert!(
        lines.iter().all(|line| line.starts_with("GET ")),
        "{lines:#?}"
    );
    assert!(!stdout.contains("c2VjcmV0LWtleQ"), "a key in the output");
    println!("one pod: {rounds} rounds, {requests} requests");
}

#[test]
fn a_workload_is_found_by_its_controller_and_its_pods_with_it() {
    let api = shop();
    let (code, stdout, stderr) = run(&api, &["doctor", "deploy/checkout", "-o", "json"]);
    assert!(matches!(code, Some(0 | 1)), "{code:?} {stderr}\n{stdout}");
    assert_eq!(report(&stdout)["target"]["name"], POD);
}

#[test]
fn what_may_not_be_looked_at_is_unknown_and_names_the_permission() {
    let api = shop();
    for (verb, resource) in [
        ("list", "serviceaccounts"),
        ("list", "events"),
        ("list", "mutatingwebhookconfigurations"),
        ("list", "networkpolicies"),
        ("list", "resourcequotas"),
        ("list", "limitranges"),
        ("list", "daemonsets"),
        ("get", "namespaces"),
        ("get", "replicasets"),
        ("get", "deployments"),
        ("get", "nodes"),
        ("get", "configmaps"),
    ] {
        api.deny(verb, resource);
    }
    let (code, stdout, stderr) = run(&api, &["doctor", POD, "-o", "json"]);
    let report = report(&stdout);
    let findings = of_status(&report, "fail");
    if findings.is_empty() {
        assert_eq!(code, Some(3), "{stderr}");
    }
    let unknown = of_status(&report, "unknown");
    assert!(!unknown.is_empty(), "{stdout}");
    for (code, why) in &unknown {
        assert!(
            why.contains("not allowed to ") || why.contains("blocked by"),
            "{code}: {why}"
        );
    }
    // With the SA read by name, though the list was refused.
    assert!(
        api.lines()
            .iter()
            .any(|line| line.ends_with("/serviceaccounts/checkout")),
        "{:#?}",
        api.lines()
    );
}

#[test]
fn what_does_not_exist_is_a_usage_error() {
    let api = shop();
    let (code, stdout, stderr) = run(&api, &["doctor", "pod", "nope"]);
    assert_eq!(code, Some(2));
    assert!(
        stdout.is_empty() && stderr.contains("pod/nope in namespace shop does not exist"),
        "{stderr}"
    );
    api.deny("get", "pods");
    let (code, _, stderr) = run(&api, &["doctor", "pod", POD]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("not allowed to get pods in namespace shop"),
        "{stderr}"
    );
}

#[test]
fn a_dry_run_lists_calls_and_makes_none() {
    let api = shop();
    let (code, stdout, _) = run(&api, &["doctor", "pod", POD, "--dry-run", "--probe"]);
    assert_eq!(code, Some(0));
    assert!(api.lines().is_empty());
    for line in [
        "GET /api/v1/namespaces/shop/pods/checkout-7d9f8b6c5-x2x4z",
        "GET /apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
        "POST /api/v1/namespaces/shop/pods?dryRun=All",
    ] {
        assert!(
            stdout.lines().any(|found| found == line),
            "{line} in\n{stdout}"
        );
    }
    // Whatever is then called was listed, or stands for what was.
    let _ = run(&api, &["doctor", "pod", POD]);
    let known: Vec<&str> = stdout.lines().collect();
    for seen in api.seen() {
        let collection = seen
            .path
            .rsplit_once('/')
            .map_or("", |(base, _)| base)
            .to_owned();
        assert!(
            known.iter().any(|line| line.ends_with(&seen.path)
                || line.contains(&format!("{collection}/{{"))
                || line.contains("{each identity webhook")),
            "{} was not listed",
            seen.path
        );
    }
}

#[test]
fn only_a_probe_creates_anything() {
    let api = shop();
    api.on_create(|_| {});
    let (code, stdout, stderr) = run(
        &api,
        &[
            "doctor",
            "pod",
            POD,
            "--probe",
            "-o",
            "json",
            "--request-timeout",
            "2s",
        ],
    );
    assert!(code.is_some(), "{stderr}");
    report(&stdout);
    let posts: Vec<_> = api
        .seen()
        .into_iter()
        .filter(|seen| seen.method != "GET")
        .collect();
    let paths: Vec<_> = posts.iter().map(|seen| seen.path.as_str()).collect();
    assert!(
        paths.contains(&"/api/v1/namespaces/shop/serviceaccounts/checkout/token"),
        "{paths:?}"
    );
    assert_eq!(paths.len(), 2, "{paths:?}");
    for seen in &posts {
        if seen.path.ends_with("/pods") {
            assert!(seen.query.contains("dryRun=All"), "{}", seen.query);
            let copy = &seen.body;
            assert_eq!(copy["metadata"]["generateName"], format!("{POD}-"));
            for gone in [
                "/metadata/uid",
                "/metadata/name",
                "/spec/nodeName",
                "/status",
            ] {
                assert_eq!(copy.pointer(gone), None, "{gone}");
            }
        } else {
            assert_eq!(seen.body["spec"]["boundObjectRef"]["name"], POD);
            assert_eq!(seen.body["spec"]["audiences"], json!(["sts.amazonaws.com"]));
        }
    }
}

#[test]
fn a_time_limit_ends_with_its_own_code() {
    let api = shop();
    api.delay(Duration::from_secs(20));
    let begin = Instant::now();
    let (code, _, _) = run(&api, &["doctor", "pod", POD, "--timeout", "500ms"]);
    assert_eq!(code, Some(124));
    assert!(begin.elapsed() < Duration::from_secs(10));
}

#[test]
fn manifests_are_laid_over_the_cluster() {
    let api = shop();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("deployment.yaml");
    std::fs::write(
        &file,
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: checkout, namespace: shop}\nspec:\n  selector: {matchLabels: {app: checkout}}\n  template:\n    metadata: {labels: {app: checkout}}\n    spec:\n      serviceAccountName: nobody\n      containers: [{name: app, image: x}]\n",
    )
    .unwrap();
    let (code, stdout, stderr) = run(
        &api,
        &["doctor", "-f", file.to_str().unwrap(), "-o", "json"],
    );
    assert_eq!(code, Some(1), "{stderr}");
    let report = report(&stdout);
    assert_eq!(report["target"]["kind"], "Deployment");
    let first = &report["results"][0];
    assert_eq!(first["code"], "POD02", "{stdout}");
    assert_eq!(first["subject"]["line"], 9, "{stdout}");
}

/// 10,000 pods in 200 namespaces: figures on standard output, counts asserted.
#[test]
fn a_sweep_lists_each_kind_in_pages_and_asks_for_no_pod() {
    let namespaces = std::env::var("CWII_SWEEP_NAMESPACES").map_or(200, |n| n.parse().unwrap());
    let (workloads, pods) = (10, 5);
    let api = shop();
    for namespace in 0..namespaces {
        let name = format!("team-{namespace:03}");
        api.put(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}));
        for workload in 0..workloads {
            let app = format!("app-{workload}");
            api.put(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": app, "namespace": name}}));
            let spec = json!({"serviceAccountName": app, "containers": [{"name": "app", "image": "example.com/app:1",
                "env": (0..10).map(|n| json!({"name": format!("SETTING_{n}"), "value": "x".repeat(40)})).collect::<Vec<_>>(),
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]});
            api.put(json!({"apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": app, "namespace": name, "managedFields": managed()},
                "spec": {"selector": {"matchLabels": {"app": app}},
                    "template": {"metadata": {"labels": {"app": app}}, "spec": spec}}}));
            for pod in 0..pods {
                let mut spec = spec.clone();
                spec["nodeName"] = format!("node-{pod}").into();
                spec["volumes"] = json!([{"name": format!("kube-api-access-{pod:05}"), "projected": {"sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}]}}]);
                api.put(json!({"apiVersion": "v1", "kind": "Pod",
                    "metadata": {"name": format!("{app}-7d9f8b6c5-{pod:05}"), "namespace": name, "managedFields": managed(),
                        "creationTimestamp": "2026-11-22T10:00:00Z",
                        "labels": {"app": app, "pod-template-hash": "7d9f8b6c5"},
                        "ownerReferences": [{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-7d9f8b6c5"),
                            "uid": "x", "controller": true}]},
                    "spec": spec,
                    "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}],
                        "containerStatuses": [{"name": "app", "ready": true, "state": {"running": {}}}]}}));
            }
        }
    }
    let dir = tempfile::tempdir().unwrap();
    let config = api.kubeconfig(dir.path(), &json!({}));
    let mut command = kubectl_cwii(&["doctor", "-A", "-v", "6", "-o", "json"]);
    command.env("KUBECONFIG", config);
    let begin = Instant::now();
    let (output, errors) = (dir.path().join("out"), dir.path().join("err"));
    let mut child = command
        .stdout(std::fs::File::create(&output).unwrap())
        .stderr(std::fs::File::create(&errors).unwrap())
        .spawn()
        .unwrap();
    // The peak of its own memory; what a parent is told of a child counts the parent's as well.
    let mut memory = 0;
    let status = loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let peak = status.ok().and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM"))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        });
        memory = memory.max(peak.unwrap_or_default());
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let took = begin.elapsed();
    let code = status.code();
    let read = |path| std::fs::read_to_string(path).unwrap();
    let (stdout, stderr) = (read(output), read(errors));
    assert!(matches!(code, Some(0 | 1 | 3)), "{code:?} {stderr}");
    let sweep = report(&stdout);
    assert_eq!(
        sweep["summary"]["pods"],
        namespaces * workloads * pods + 2,
        "{}",
        sweep["summary"]
    );
    let mut calls: BTreeMap<String, usize> = BTreeMap::new();
    for seen in api.seen() {
        assert!(
            !seen.path.contains("/pods/"),
            "a call for a pod: {}",
            seen.path
        );
        let kind = seen.path.rsplit('/').next().unwrap().to_owned();
        if seen.query.contains("limit=") && !seen.path.contains("/namespaces/") {
            *calls.entry(kind).or_default() += 1;
        }
    }
    let (rounds, requests) = rounds(&stderr);
    println!("peak memory: {} MB", memory / 1024);
    println!(
        "sweep of {} pods: {took:?}, {rounds} rounds, {requests} requests",
        namespaces * workloads * pods
    );
    for (kind, calls) in &calls {
        println!("  {kind}: {calls}");
        // 10,002 pods with the double's own.
        assert!(*calls <= 11, "{kind}: {calls} calls");
    }
}

/// What the API server keeps of who wrote which field.
fn managed() -> Value {
    let fields: BTreeMap<String, Value> = (0..40)
        .map(|n| {
            (
                format!("f:some-field-{n}"),
                json!({"f:name": {}, "f:value": {}}),
            )
        })
        .collect();
    json!([{"manager": "kube-controller-manager", "operation": "Update", "time": "2026-11-22T10:00:00Z",
        "fieldsV1": {"f:spec": fields}}])
}

/// The doctor on a directory of the corpus.
fn corpus(name: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let directory = format!("{}/tests/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
    let (manifests, trust) = (
        format!("{directory}/manifests.yaml"),
        format!("{directory}/trust"),
    );
    let mut all = vec!["doctor", "--local", "-f", &manifests, "--trust", &trust];
    all.extend(["--now", "2026-11-22T12:00:00Z"]);
    all.extend(arguments);
    finish(&mut kubectl_cwii(&all))
}

#[test]
fn every_format_ends_with_the_same_code_and_the_page_fits_a_terminal() {
    const FORMATS: [&str; 11] = [
        "human", "wide", "short", "name", "json", "yaml", "jsonl", "sarif", "junit", "github",
        "html",
    ];
    for (name, expected) in [("aws05-namespace-renamed", 1), ("healthy-eks-irsa", 0)] {
        for format in FORMATS {
            let (code, stdout, stderr) = corpus(name, &["-o", format]);
            assert_eq!(code, Some(expected), "{name} as {format}: {stderr}");
            assert!(
                !stdout.is_empty() || format == "name",
                "{name} as {format}: nothing"
            );
            assert!(!stdout.contains('\u{1b}'), "{name} as {format}: colour");
            let is_page = ["human", "wide", "short"].contains(&format);
            let too_long = stdout
                .lines()
                .find(|line| is_page && line.chars().count() > 100 && line.contains(' '));
            // A word that cannot be broken stays whole, so that it can be pasted.
            assert!(
                too_long.is_none_or(|line| line.split_whitespace().any(|word| word.len() > 60)),
                "{name} as {format}: {too_long:?}"
            );
        }
    }
}

#[test]
fn one_container_can_be_looked_at_alone() {
    let (code, _, stderr) = corpus("healthy-eks-irsa", &["-c", "nobody"]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("has no container `nobody`, expected one of: "),
        "{stderr}"
    );
    let (code, _, stderr) = corpus("healthy-eks-irsa", &["-c", "app"]);
    assert_eq!(code, Some(0), "{stderr}");
}

#[test]
fn a_service_account_stands_for_its_workloads() {
    let api = shop();
    let (code, stdout, stderr) = run(&api, &["doctor", "sa/checkout", "-o", "json"]);
    assert!(matches!(code, Some(0 | 1)), "{code:?} {stderr}\n{stdout}");
    assert_eq!(report(&stdout)["target"]["name"], POD);
    let (code, _, stderr) = run(&api, &["doctor", "sa", "chekout"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains("serviceaccount/chekout in namespace shop does not exist"),
        "{stderr}"
    );
}

#[test]
fn a_misspelt_key_is_found_without_the_namespaces_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("checkout.yaml");
    std::fs::write(
        &file,
        r#"
apiVersion: v1
kind: ServiceAccount
metadata:
  name: checkout
  namespace: shop
  annotations: { cwii.dev/aws-role-anr: "arn:aws:iam::111122223333:role/checkout", cwii.dev/aws-verify: "yes" }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: checkout, namespace: shop }
spec:
  selector: { matchLabels: { app: checkout } }
  template:
    metadata: { labels: { app: checkout } }
    spec: { serviceAccountName: checkout, containers: [{ name: app, image: app }] }
"#,
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let (code, stdout, stderr) = finish(&mut kubectl_cwii(&[
        "doctor", "--local", "-f", file, "-o", "json",
    ]));
    assert_eq!(code, Some(1), "{stderr}");
    let failed = of_status(&report(&stdout), "fail");
    let codes: Vec<_> = failed.iter().map(|(code, _)| code.as_str()).collect();
    assert_eq!(codes, ["POD05", "CWII06"], "{stdout}");
}
