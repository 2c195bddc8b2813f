//! Admissions over real TLS, with a fake Kubernetes API behind the webhook.

use std::time::Duration;

use cwii_contract::{Settings, settings::Delivery};
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    ROLE,
    api::{FakeApi, Mode},
    client::{Alpn, Client},
    owned, pod, review,
    webhook::{Setup, Webhook, patch, role},
};

const ACCOUNT: &str = "/api/v1/namespaces/apps/serviceaccounts/reports";
const NAMESPACE: &str = "/api/v1/namespaces/apps";
const DEPLOYMENT: &str = "/apis/apps/v1/namespaces/apps/deployments/web";
const REPLICA_SET: &str = "/apis/apps/v1/namespaces/apps/replicasets/web-7c9f";

fn none() -> Vec<String> {
    Vec::new()
}

fn arn(name: &str) -> Value {
    json!({"cwii.dev/aws-role-arn": format!("arn:aws:iam::123456789012:role/{name}")})
}

fn of(name: &str) -> Option<String> {
    Some(format!("arn:aws:iam::123456789012:role/{name}"))
}

#[tokio::test]
async fn a_pod_that_asks_for_aws_is_patched_over_both_protocols() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    for alpn in [Alpn::Http1, Alpn::Http2] {
        let mut client = Client::connect(webhook.https, &webhook.ca, alpn).await;
        let pod = pod("web", json!({"cwii.dev/aws-role-arn": ROLE}));
        let response = client.admit(&review(&pod)).await;
        assert_eq!(response["allowed"], true);
        assert_eq!(
            role(&response).as_deref(),
            Some(ROLE),
            "{alpn:?} {response}"
        );
        assert_eq!(response["auditAnnotations"]["injected"], "aws");
        assert_eq!(
            response["auditAnnotations"]["decision"],
            "injected: requested"
        );
    }
    assert_eq!(api.live_calls(), none());
}

#[tokio::test]
async fn a_pod_that_asks_for_nothing_costs_no_call_also_while_the_api_server_is_away() {
    let api = FakeApi::start().await;
    api.put_owned(DEPLOYMENT, "d1", json!({}), None);
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    let pods = [
        pod("bare", json!({"other.example.com/key": "x"})),
        owned(("apps/v1", "ReplicaSet"), "web-7c9f", "r1", Some("7c9f")),
        owned(("example.com/v1", "Operator"), "o", "o1", None),
        owned(("v1", "Node"), "n", "n1", None),
    ];
    for mode in [Mode::Up, Mode::Down] {
        api.set_mode(mode);
        for pod in &pods {
            let response = client.admit(&review(pod)).await;
            assert_eq!(response, json!({"uid": "5f2c", "allowed": true}));
        }
    }
    assert_eq!(api.live_calls(), none());
}

#[tokio::test]
async fn what_the_caches_know_is_injected_while_the_api_server_is_away() {
    let api = FakeApi::start().await;
    api.put(ACCOUNT, arn("account"));
    let webhook = Webhook::synced(&api).await;
    api.set_mode(Mode::Down);
    let mut client = webhook.client().await;
    let response = client.admit(&review(&pod("web", json!({})))).await;
    assert_eq!(role(&response), of("account"));
}

#[tokio::test]
async fn a_service_account_that_the_watch_has_not_seen_is_read_live() {
    let api = FakeApi::start().await;
    api.delete(ACCOUNT);
    let webhook = Webhook::synced(&api).await;
    api.put_quietly(ACCOUNT, arn("account"));
    let mut client = webhook.client().await;
    for _ in 0..3 {
        let response = client.admit(&review(&pod("web", json!({})))).await;
        assert_eq!(role(&response), of("account"));
    }
    // What was found serves for a second.
    assert_eq!(api.live_calls(), [format!("GET {ACCOUNT}")]);
    let found = "cwii_webhook_live_reads_total{kind=\"ServiceAccount\",result=\"found\"}";
    assert_eq!(webhook.metric(found).await, Some(1.0));
}

#[tokio::test]
async fn what_was_not_there_a_moment_ago_is_looked_for_again() {
    let api = FakeApi::start().await;
    api.delete(ACCOUNT);
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    let review = review(&pod("web", json!({})));
    assert_eq!(role(&client.admit(&review).await), None);
    api.put_quietly(ACCOUNT, arn("account"));
    assert_eq!(role(&client.admit(&review).await), of("account"));
}

#[tokio::test]
async fn without_any_watch_every_scope_is_read_live_and_the_answer_is_right() {
    let api = FakeApi::start().await;
    api.put(NAMESPACE, arn("namespace"));
    let webhook = Webhook::cold(&api, Setup::default()).await;
    let mut client = webhook.client().await;
    assert_eq!(
        client.get("/readyz").await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    let response = client.admit(&review(&pod("web", json!({})))).await;
    assert_eq!(role(&response), of("namespace"));
    let mut calls = api.live_calls();
    calls.sort();
    assert_eq!(
        calls,
        [format!("GET {NAMESPACE}"), format!("GET {ACCOUNT}")]
    );
}

#[tokio::test]
async fn a_burst_waits_for_one_read() {
    let api = FakeApi::start().await;
    api.put(ACCOUNT, arn("account"));
    let webhook = Webhook::cold(&api, Setup::default()).await;
    api.hold_reads(true);
    let mut pending = Vec::new();
    for _ in 0..20 {
        let mut client = webhook.client().await;
        pending.push(tokio::spawn(async move {
            role(&client.admit(&review(&pod("web", json!({})))).await)
        }));
    }
    webhook.until(|| api.live_calls().len() >= 2).await;
    api.hold_reads(false);
    for task in pending {
        assert_eq!(task.await.unwrap(), of("account"));
    }
    assert_eq!(api.live_calls().len(), 2, "{:?}", api.live_calls());
}

#[tokio::test]
async fn an_object_that_cannot_be_read_is_an_http_error_and_never_a_denial() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let setup = Setup {
        lookup_timeout: Duration::from_millis(200),
        ..Setup::default()
    };
    let cold = Webhook::cold(&api, setup).await;
    let mut review = review(&pod("web", json!({"cwii.dev/aws-role-arn": ROLE})));
    review["request"]["object"]["spec"]["serviceAccountName"] = "unseen".into();

    api.set_mode(Mode::Down);
    let reply = cold.client().await.post(&review).await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    let text = reply.text();
    assert!(
        text.contains("apps/unseen is not known yet and could not be read"),
        "{text}"
    );
    assert!(text.contains("503: the fake API is down"), "{text}");

    api.set_mode(Mode::Up);
    api.hold_reads(true);
    let reply = cold.client().await.post(&review).await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    assert!(
        reply.text().contains("no answer of the API server within"),
        "{}",
        reply.text()
    );
    let failed = "cwii_webhook_requests_total{outcome=\"failed\",reason=\"lookup\"}";
    assert_eq!(cold.metric(failed).await, Some(2.0));

    // The API server waits for less than the lookup may take: the answer comes before it hangs up.
    let mut request = crate::support::client::post(review.to_string());
    *request.uri_mut() = "/mutate?timeout=250ms".parse().unwrap();
    let reply = webhook.client().await.send(request).await.unwrap();
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
}

#[tokio::test]
async fn a_read_that_fails_for_a_moment_is_tried_again() {
    let api = FakeApi::start().await;
    api.put(ACCOUNT, arn("account"));
    let webhook = Webhook::cold(&api, Setup::default()).await;
    api.set_mode(Mode::Down);
    let mut client = webhook.client().await;
    let admission =
        tokio::spawn(async move { role(&client.admit(&review(&pod("web", json!({})))).await) });
    webhook.until(|| api.live_calls().len() >= 4).await;
    api.set_mode(Mode::Up);
    assert_eq!(admission.await.unwrap(), of("account"));
}

#[tokio::test]
async fn a_replica_set_leads_to_its_deployment() {
    let api = FakeApi::start().await;
    let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d1", "controller": true});
    api.put_owned(DEPLOYMENT, "d1", arn("deployment"), None);
    api.put_owned(REPLICA_SET, "r1", arn("replica-set"), Some(owner));
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    let review = review(&owned(
        ("apps/v1", "ReplicaSet"),
        "web-7c9f",
        "r1",
        Some("7c9f"),
    ));
    for _ in 0..3 {
        assert_eq!(role(&client.admit(&review).await), of("deployment"));
    }
    // The guess was confirmed once, for as long as the ReplicaSet lives.
    assert_eq!(api.live_calls(), [format!("GET {REPLICA_SET}")]);
    api.set_mode(Mode::Down);
    assert_eq!(role(&client.admit(&review).await), of("deployment"));
}

#[tokio::test]
async fn a_replica_set_that_only_looks_like_a_deployments_speaks_for_itself() {
    let api = FakeApi::start().await;
    api.put_owned(DEPLOYMENT, "d1", arn("deployment"), None);
    api.put_owned(REPLICA_SET, "r1", arn("replica-set"), None);
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    let review = review(&owned(
        ("apps/v1", "ReplicaSet"),
        "web-7c9f",
        "r1",
        Some("7c9f"),
    ));
    assert_eq!(role(&client.admit(&review).await), of("replica-set"));
    // Nothing watches it: the last answer holds while it cannot be read.
    api.set_mode(Mode::Down);
    assert_eq!(role(&client.admit(&review).await), of("replica-set"));
}

#[tokio::test]
async fn a_replica_set_of_another_controller_speaks_for_itself() {
    let api = FakeApi::start().await;
    let rollout = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "web", "uid": "x", "controller": true});
    api.put_owned(REPLICA_SET, "r1", arn("replica-set"), Some(rollout));
    let webhook = Webhook::synced(&api).await;
    let review = review(&owned(
        ("apps/v1", "ReplicaSet"),
        "web-7c9f",
        "r1",
        Some("7c9f"),
    ));
    let response = webhook.client().await.admit(&review).await;
    assert_eq!(role(&response), of("replica-set"));
}

#[tokio::test]
async fn a_deployment_that_the_watch_has_not_seen_is_found_through_its_replica_set() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d1", "controller": true});
    api.put_quietly(DEPLOYMENT, arn("wrong"));
    api.put_owned(REPLICA_SET, "r1", json!({}), Some(owner));
    let mut client = webhook.client().await;
    let review = review(&owned(
        ("apps/v1", "ReplicaSet"),
        "web-7c9f",
        "r1",
        Some("7c9f"),
    ));
    // One of the same name but not the same: the owner is gone.
    assert_eq!(role(&client.admit(&review).await), None);
    api.put_owned(DEPLOYMENT, "d1", arn("deployment"), None);
    assert_eq!(role(&client.admit(&review).await), of("deployment"));
}

#[tokio::test]
async fn an_owner_counts_only_with_its_uid_and_its_group() {
    let api = FakeApi::start().await;
    let path = "/apis/apps/v1/namespaces/apps/statefulsets/db";
    api.put_owned(path, "old", arn("old"), None);
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    let mut admit = async |kind: (&str, &str), uid: &str| {
        role(&client.admit(&review(&owned(kind, "db", uid, None))).await)
    };
    assert_eq!(admit(("apps/v1", "StatefulSet"), "old").await, of("old"));
    assert_eq!(admit(("example.com/v1", "StatefulSet"), "old").await, None);
    assert_eq!(api.live_calls(), none());
    // Deleted and created again: what the cache holds is another object.
    assert_eq!(admit(("apps/v1", "StatefulSet"), "new").await, None);
    api.put_owned(path, "new", arn("new"), None);
    assert_eq!(admit(("apps/v1", "StatefulSet"), "new").await, of("new"));
}

#[tokio::test]
async fn a_job_of_a_cron_job_hears_both_and_itself_first() {
    let api = FakeApi::start().await;
    let owner = json!({"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "c1", "controller": true});
    let job = "/apis/batch/v1/namespaces/apps/jobs/nightly-1";
    api.put_owned(
        job,
        "j1",
        json!({"cwii.dev/aws-region": "eu-central-1"}),
        Some(owner),
    );
    api.put_owned(
        "/apis/batch/v1/namespaces/apps/cronjobs/nightly",
        "c1",
        arn("nightly"),
        None,
    );
    for watched in [true, false] {
        let webhook = Webhook::cold(&api, Setup::default()).await;
        if watched {
            webhook.watch(&api).await;
        }
        let review = review(&owned(("batch/v1", "Job"), "nightly-1", "j1", None));
        let response = webhook.client().await.admit(&review).await;
        assert_eq!(role(&response), of("nightly"));
        assert!(format!("{:?}", patch(&response)).contains("eu-central-1"));
        assert_eq!(
            api.live_calls().is_empty(),
            watched,
            "{:?}",
            api.live_calls()
        );
    }
}

#[tokio::test]
async fn a_change_arrives_by_the_watch() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    let review = review(&pod("web", json!({})));
    for name in ["one", "two"] {
        api.put(ACCOUNT, arn(name));
        let arrived = async { while role(&client.admit(&review).await) != of(name) {} };
        tokio::time::timeout(Duration::from_secs(60), arrived)
            .await
            .unwrap();
    }
    assert_eq!(api.live_calls(), none());
}

#[tokio::test]
async fn a_new_list_takes_nothing_away_until_it_is_complete() {
    let api = FakeApi::start().await;
    api.set_page(2);
    for n in 0..7 {
        api.put(
            &format!("/api/v1/namespaces/apps/serviceaccounts/a{n}"),
            json!({}),
        );
    }
    api.put(ACCOUNT, arn("account"));
    let webhook = Webhook::synced(&api).await;
    let accounts = |call: &String| call == "LIST /api/v1/serviceaccounts";
    assert_eq!(api.calls().iter().filter(|c| accounts(c)).count(), 4);
    api.hold_lists(true);
    api.delete("/api/v1/namespaces/apps/serviceaccounts/a0");
    api.expire("/api/v1/serviceaccounts");
    webhook
        .until(|| api.calls().iter().filter(|c| accounts(c)).count() == 5)
        .await;
    let mut client = webhook.client().await;
    let response = client.admit(&review(&pod("web", json!({})))).await;
    assert_eq!(role(&response), of("account"));
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    api.hold_lists(false);
    let kind = cwii_webhook::kind::Kind::ServiceAccount;
    let store = &webhook.caches().of(kind).unwrap().store;
    webhook.until(|| store.len() == 7).await;
    assert_eq!(api.live_calls(), none());
}

#[tokio::test]
async fn readiness_waits_for_every_list_and_says_which_is_missing() {
    let api = FakeApi::start().await;
    api.forbid(Some("cronjobs"));
    let webhook = Webhook::cold(&api, Setup::default()).await;
    webhook.start_watches();
    let waiting = || webhook.caches().waiting_for().map(|kind| kind.name());
    webhook.until(|| waiting() == Some("CronJob")).await;
    for (mut client, _) in [
        (webhook.client().await, 0),
        (Client::plain(webhook.http).await, 1),
    ] {
        let reply = client.get("/readyz").await;
        assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            reply.text(),
            "not ready: the first list of CronJob is not complete\n"
        );
        assert_eq!(client.get("/healthz").await.status, StatusCode::OK);
    }
    api.forbid(None);
    webhook.until(|| waiting().is_none()).await;
    assert_eq!(webhook.client().await.get("/readyz").await.text(), "ok\n");
    assert_eq!(
        webhook
            .metric("cwii_webhook_cache_synced{kind=\"CronJob\"}")
            .await,
        Some(1.0)
    );
}

#[tokio::test]
async fn other_operations_are_admitted_as_they_are() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    for operation in ["UPDATE", "DELETE", "CONNECT"] {
        let mut review = review(&pod("web", json!({"cwii.dev/aws-role-arn": ROLE})));
        review["request"]["operation"] = operation.into();
        if operation == "DELETE" {
            review["request"]["object"] = Value::Null;
        }
        let response = client.admit(&review).await;
        assert_eq!(response, json!({"uid": "5f2c", "allowed": true}));
    }
}

#[tokio::test]
async fn an_invalid_value_denies_and_the_message_names_object_key_and_what_is_allowed() {
    let api = FakeApi::start().await;
    api.put(ACCOUNT, json!({"cwii.dev/aws-role-arn": "reports"}));
    let webhook = Webhook::synced(&api).await;
    let response = webhook
        .client()
        .await
        .admit(&review(&pod("web", json!({}))))
        .await;
    assert_eq!(response["allowed"], false);
    assert_eq!(response["status"]["code"], 400);
    assert_eq!(response["status"]["reason"], "BadRequest");
    let message = response["status"]["message"].as_str().unwrap();
    for part in [
        "ServiceAccount apps/reports",
        "cwii.dev/aws-role-arn",
        "`reports`",
        "arn:",
    ] {
        assert!(message.contains(part), "{message}");
    }
    assert!(response.get("patch").is_none());
}

#[tokio::test]
async fn warnings_travel_with_the_answer() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let pod = pod(
        "web",
        json!({"cwii.dev/aws-role-arn": ROLE, "cwii.dev/aws-regoin": "eu-central-1"}),
    );
    let response = webhook.client().await.admit(&review(&pod)).await;
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(
        warning.contains("aws-regoin") && warning.contains("aws-region"),
        "{warning}"
    );
    assert_eq!(role(&response).as_deref(), Some(ROLE));
}

fn google(delivery: &str) -> Value {
    json!({
        "cwii.dev/gcp-inject": "true",
        "cwii.dev/gcp-audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k",
        "cwii.dev/gcp-delivery": delivery,
    })
}

fn with_config_maps() -> Setup {
    Setup {
        settings: Settings {
            config_map_delivery: true,
            gcp_default_delivery: Delivery::ConfigMap,
            ..Settings::new("0.1.0").unwrap()
        },
        lookup_timeout: Duration::from_millis(200),
        ..Setup::default()
    }
}

#[tokio::test]
async fn a_config_map_is_applied_once_and_not_for_a_dry_run() {
    let api = FakeApi::start().await;
    let webhook = Webhook::cold(&api, with_config_maps()).await;
    webhook.watch(&api).await;
    let mut client = webhook.client().await;
    let mut review = review(&pod("web", google("config-map")));
    review["request"]["dryRun"] = true.into();
    assert!(patch(&client.admit(&review).await).is_some());
    assert_eq!(api.live_calls(), none());

    review["request"]["dryRun"] = false.into();
    for _ in 0..3 {
        assert!(patch(&client.admit(&review).await).is_some());
    }
    let applied = api.applied();
    assert_eq!(applied.len(), 1);
    assert_eq!(applied[0]["query"], "fieldManager=cwii-webhook&force=true");
    let manifest = &applied[0]["manifest"];
    assert_eq!(manifest["metadata"]["namespace"], "apps");
    assert_eq!(
        manifest["metadata"]["labels"]["app.kubernetes.io/managed-by"],
        "cwii"
    );
    let name = manifest["metadata"]["name"].as_str().unwrap();
    assert_eq!(
        api.live_calls(),
        [format!("PATCH /api/v1/namespaces/apps/configmaps/{name}")]
    );
}

#[tokio::test]
async fn a_config_map_that_cannot_be_applied_is_an_http_error() {
    let api = FakeApi::start().await;
    let webhook = Webhook::cold(&api, with_config_maps()).await;
    webhook.watch(&api).await;
    api.set_mode(Mode::Down);
    let reply = webhook
        .client()
        .await
        .post(&review(&pod("web", google("config-map"))))
        .await;
    assert_eq!(reply.status, StatusCode::BAD_GATEWAY);
    assert!(
        reply.text().contains("ConfigMap apps/cwii-gcp-creds-"),
        "{}",
        reply.text()
    );
    // The other delivery needs no call.
    let review = review(&pod("web", google("init-container")));
    assert!(patch(&webhook.client().await.admit(&review).await).is_some());
}

#[tokio::test]
async fn the_metrics_page_holds_every_name_and_parses() {
    let api = FakeApi::start().await;
    let webhook = Webhook::synced(&api).await;
    let mut client = webhook.client().await;
    client
        .admit(&review(&pod("web", json!({"cwii.dev/aws-role-arn": ROLE}))))
        .await;
    client.admit(&review(&pod("web", json!({})))).await;
    client
        .send(crate::support::client::post("{"))
        .await
        .unwrap();
    let page = webhook.page().await;
    for line in [
        "cwii_webhook_requests_total{outcome=\"injected\",reason=\"requested\"} 1",
        "cwii_webhook_requests_total{outcome=\"passed\",reason=\"nothing_requested\"} 1",
        "cwii_webhook_requests_total{outcome=\"rejected\",reason=\"json\"} 1",
        "cwii_webhook_injections_total{provider=\"aws\"} 1",
        "cwii_webhook_injections_total{provider=\"gcp\"} 0",
        "cwii_webhook_request_duration_seconds_bucket{le=\"0.0001\"} ",
        "cwii_webhook_request_duration_seconds_count 3",
        "cwii_webhook_live_reads_total{kind=\"ServiceAccount\",result=\"found\"} 0",
        "cwii_webhook_cache_objects{kind=\"ServiceAccount\"} 1",
        "cwii_webhook_cache_age_seconds{kind=\"ServiceAccount\"} ",
        "cwii_webhook_cache_synced{kind=\"Job\"} 1",
        "cwii_webhook_certificate_expiry_timestamp_seconds ",
        "cwii_webhook_certificate_reloads_total{result=\"failure\"} 0",
        "cwii_webhook_tls_handshake_failures_total{reason=\"certificate_refused\"} 0",
        "cwii_webhook_certificate_check_timestamp_seconds 0",
        "cwii_webhook_certificate_bundle_mismatch 0",
        "cwii_webhook_certificate_bundle_overwritten_total 0",
        "cwii_webhook_certificates_made_total 0",
        "cwii_webhook_build_info{version=\"0.1.0\"} 1",
        "cwii_webhook_log_lines_dropped_total 0",
    ] {
        assert!(
            page.lines().any(|l| l.starts_with(line)),
            "{line} is missing in\n{page}"
        );
    }
    // The text format: comments, samples with a name and a number, and an end.
    let (end, lines) = page
        .trim_end()
        .lines()
        .collect::<Vec<_>>()
        .split_last()
        .map(|(e, l)| (*e, l.to_vec()))
        .unwrap();
    assert_eq!(end, "# EOF");
    for line in lines {
        if line.starts_with('#') {
            let word = line.split(' ').nth(1).unwrap();
            assert!(["HELP", "TYPE", "UNIT"].contains(&word), "{line}");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert!(name.starts_with("cwii_webhook_"), "{line}");
            value.parse::<f64>().unwrap();
        }
    }
}
