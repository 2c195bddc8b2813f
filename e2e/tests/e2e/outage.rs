//! The API server behind the webhook is slow or gone: who asks for nothing never notices, who asks is never let in
//! unmutated by the webhook's own decision.

use std::time::{Duration, Instant};

use cwii_e2e::{ApiProxy, FailurePolicy, Object, Way, Webhook, control_plane, metric, until};
use serde_json::json;

use crate::support::{for_role, injected, pod, pod_of, service_account, variable, workload};

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_asks_for_nothing_costs_no_call_and_notices_no_outage() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let proxy = ApiProxy::start(plane).await.unwrap();
    let webhook = Webhook::new(plane, "quiet", &proxy.url).await.unwrap();
    let replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    plane
        .namespace(&api, "quiet", webhook.label(), json!({}))
        .await
        .unwrap();
    let has_controllers = plane.has_controllers();
    if has_controllers {
        let deployment = workload(
            "apps/v1",
            "Deployment",
            "quiet",
            "web",
            "default",
            &json!({}),
        );
        api.create(&deployment).await.unwrap();
        pod_of(&api, "quiet", "web").await;
    }
    // Until the watches have told of the namespace and its ServiceAccount.
    until("a pod costs no call", || async {
        let before = proxy.reads();
        api.create_with(&pod("quiet", "try"), "dryRun=All")
            .await
            .unwrap();
        (proxy.reads() == before).then_some(())
    })
    .await
    .unwrap();

    let asked = replica
        .metric("cwii_webhook_requests_total", &[])
        .await
        .unwrap();
    let before = proxy.reads();
    let mut pods = 0;
    for way in [Way::Open, Way::Refused, Way::Silent] {
        proxy.set(way);
        for n in 0..10 {
            let start = Instant::now();
            let name = format!("{way:?}-{n}").to_lowercase();
            let pod = api.create(&pod("quiet", &name)).await.unwrap();
            assert_eq!(injected(&pod), None);
            // A lookup that is given up takes 2 s.
            assert!(start.elapsed() < Duration::from_millis(1500), "{way:?}");
            pods += 1;
        }
        if has_controllers {
            let deployment = Object::new("apps/v1", "Deployment", "quiet", "web");
            let replicas = 2 + pods / 10;
            api.merge(
                &deployment,
                "",
                &json!({ "spec": { "replicas": replicas } }),
            )
            .await
            .unwrap();
            until(
                &format!("{replicas} pods of the Deployment, {way:?}"),
                || async {
                    let query = "labelSelector=app%3Dweb";
                    let found = api.list(&Object::pod("quiet", ""), query).await.unwrap();
                    (found.len() == replicas).then_some(())
                },
            )
            .await
            .unwrap();
        }
    }
    let now = replica
        .metric("cwii_webhook_requests_total", &[])
        .await
        .unwrap();
    assert!(
        now - asked >= f64::from(u32::try_from(pods).unwrap()),
        "the webhook was asked"
    );
    assert_eq!(proxy.reads(), before, "{:?}", &proxy.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn with_failure_policy_fail_a_lookup_that_breaks_fails_the_create_and_is_no_denial() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let proxy = ApiProxy::start(plane).await.unwrap();
    let webhook = Webhook::new(plane, "broken-fail", &proxy.url)
        .await
        .unwrap();
    let replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    plane
        .namespace(&api, "broken-fail", webhook.label(), json!({}))
        .await
        .unwrap();
    for way in [Way::Refused, Way::Silent] {
        proxy.set(way);
        let name = format!("{way:?}").to_lowercase();
        api.create(&service_account("broken-fail", &name, for_role(&name)))
            .await
            .unwrap();
        let mut pod = pod("broken-fail", &name);
        pod["spec"]["serviceAccountName"] = name.clone().into();
        let start = Instant::now();
        let error = api.create(&pod).await.unwrap_err();
        assert_eq!(
            (error.status, error.reason.as_str()),
            (500, "InternalError")
        );
        assert!(
            error
                .message
                .contains("failed calling webhook \"mutate.cwii.dev\""),
            "{error}"
        );
        assert!(!error.message.contains("denied the request"), "{error}");
        assert!(
            error
                .message
                .contains(&format!("ServiceAccount broken-fail/{name}")),
            "it says what could not be read: {error}"
        );
        // Well before the API server gives up on the webhook, which it would do after 10 s.
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "{:?}",
            start.elapsed()
        );

        proxy.set(Way::Open);
        let pod = until("the next attempt succeeds", || async {
            api.create(&pod).await.ok()
        })
        .await
        .unwrap();
        assert_eq!(
            variable(&pod, "AWS_ROLE_ARN"),
            Some(crate::support::role(&name).as_str())
        );
    }
    let failed = replica
        .metric("cwii_webhook_requests_total", &["outcome=\"failed\""])
        .await
        .unwrap();
    assert!(failed >= 2.0, "{failed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_failure_policy_ignore_a_lookup_that_breaks_lets_the_pod_in_and_the_api_server_counts_it()
 {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let proxy = ApiProxy::start(plane).await.unwrap();
    let webhook = Webhook::new(plane, "broken-ignore", &proxy.url)
        .await
        .unwrap();
    let _replica = webhook.serve(FailurePolicy::Ignore).await.unwrap();
    plane
        .namespace(&api, "broken-ignore", webhook.label(), json!({}))
        .await
        .unwrap();
    let fail_open = async || {
        let text = api.text("/metrics").await.unwrap();
        let name = "apiserver_admission_webhook_fail_open_count";
        metric(&text, name, &["name=\"mutate.cwii.dev\""])
    };
    let before = fail_open().await;
    proxy.set(Way::Refused);
    api.create(&service_account("broken-ignore", "late", for_role("late")))
        .await
        .unwrap();
    let mut pod = pod("broken-ignore", "late");
    pod["spec"]["serviceAccountName"] = "late".into();
    let pod = api.create(&pod).await.unwrap();
    assert_eq!(injected(&pod), None);
    assert!(fail_open().await > before);
}
