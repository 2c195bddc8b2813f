//! No pod that asked for injection is ever admitted without it, counted on the API server, whatever happens to the
//! webhook meanwhile. failurePolicy is Fail, and who creates pods tries again, as controllers do.

use std::{collections::VecDeque, time::Duration};

use cwii_e2e::{
    Api, ApiProxy, Authority, Balancer, FailurePolicy, Identity, Object, Webhook, control_plane,
    free_port, say, until,
};
use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    creators::{Creators, all_have_their_own_role},
    support::{annotated, for_role, injected, pod, role, service_account, variable},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_starts_cold_with_5000_service_accounts_and_slow_lists_misses_no_pod() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let proxy = ApiProxy::start(plane).await.unwrap();
    // Of every page; there are ten.
    proxy.slow_lists(Duration::from_millis(600));
    let webhook = Webhook::new(plane, "cold", &proxy.url).await.unwrap();
    plane
        .namespace(&api, "cold", webhook.label(), json!({}))
        .await
        .unwrap();
    create_service_accounts(&api, "cold", 5000).await;

    // The API server asks before anybody listens, then before anybody is ready.
    let port = free_port().unwrap();
    webhook
        .register(([127, 0, 0, 1], port).into(), FailurePolicy::Fail)
        .await
        .unwrap();
    let fails = annotated(pod("cold", "nobody-listens"), for_role("x"));
    until("the API server asks", || async {
        api.create_with(&fails, "dryRun=All").await.err()
    })
    .await
    .unwrap();
    let creators = Creators::start(&api, 8, |n| {
        let mut pod = pod("cold", &format!("pod-{n}"));
        pod["spec"]["serviceAccountName"] = format!("account-{}", n * 37 % 5000).into();
        pod
    });
    creators.failed_at_least(8).await;
    let mut replica = webhook.start_at(port).unwrap();
    replica.ready().await.unwrap();
    let before_ready = creators.created();
    creators.created_at_least(before_ready + 200).await;
    let tally = creators.stop("cold start").await;
    say(&format!(
        "cold start: {before_ready} of these pods before the webhook was ready"
    ));

    assert!(before_ready > 0, "{tally:?}");
    let pods = api.list(&Object::pod("cold", ""), "").await.unwrap();
    assert_eq!(tally.created, pods.len());
    for pod in &pods {
        let account = pod["spec"]["serviceAccountName"].as_str().unwrap();
        assert_eq!(injected(pod), Some("aws"), "{pod}");
        assert_eq!(variable(pod, "AWS_ROLE_ARN"), Some(role(account).as_str()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_that_are_replaced_one_after_the_other_miss_no_pod() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, "roll", &plane.url)
        .await
        .unwrap()
        .with(["--grace-period=2s"]);
    let service = Balancer::start(Duration::from_millis(500)).await.unwrap();
    let start = || {
        let replica = webhook.start().unwrap();
        service.follow(replica.address, replica.probe());
        replica
    };
    let mut replicas = VecDeque::from([start(), start()]);
    let serves = async |count: usize| {
        until(&format!("{count} replicas behind the Service"), || async {
            (service.endpoints().len() == count).then_some(())
        })
        .await
        .unwrap();
    };
    serves(2).await;
    webhook
        .register(service.address, FailurePolicy::Fail)
        .await
        .unwrap();
    webhook.is_asked().await.unwrap();
    plane
        .namespace(&api, "roll", webhook.label(), json!({}))
        .await
        .unwrap();

    let creators = Creators::start(&api, 4, |n| {
        annotated(pod("roll", &format!("pod-{n}")), for_role(n))
    });
    for _ in 0..2 {
        creators.created_at_least(creators.created() + 50).await;
        replicas.push_back(start());
        serves(3).await;
        let mut old = replicas.pop_front().unwrap();
        old.process.terminate().unwrap();
        let status = old.process.ended(Duration::from_secs(20)).await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", old.process.log_tail());
        serves(2).await;
        creators.created_at_least(creators.created() + 50).await;
    }
    let tally = creators.stop("two replicas rolled").await;
    all_have_their_own_role(&api, "roll", &tally).await;
    assert_eq!(tally.failed, 0, "a roll costs no attempt: {tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_is_rotated_costs_no_pod() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, "rotate", &plane.url).await.unwrap();
    let replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    plane
        .namespace(&api, "rotate", webhook.label(), json!({}))
        .await
        .unwrap();

    let creators = Creators::start(&api, 4, |n| {
        annotated(pod("rotate", &format!("pod-{n}")), for_role(n))
    });
    let mut old = plane.authority.certificate.clone();
    for _ in 0..2 {
        let next = Authority::generate("the next CA").unwrap();
        webhook
            .trust(&format!("{old}{}", next.certificate))
            .await
            .unwrap();
        creators.created_at_least(creators.created() + 50).await;
        webhook
            .install_certificate(&next.server(&[]).unwrap())
            .unwrap();
        let sees = Api::new(
            &format!("https://{}", replica.address),
            &next.certificate,
            None::<&Identity>,
        )
        .unwrap();
        until("the next certificate is served", || async {
            sees.text("/healthz").await.ok()
        })
        .await
        .unwrap();
        webhook.trust(&next.certificate).await.unwrap();
        creators.created_at_least(creators.created() + 50).await;
        old = next.certificate;
    }
    let tally = creators.stop("certificate rotated twice").await;
    all_have_their_own_role(&api, "rotate", &tally).await;
    assert_eq!(tally.failed, 0, "a rotation costs no attempt: {tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_made_a_moment_before_its_pod_is_honoured() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let api = plane.api().unwrap();
    let proxy = ApiProxy::start(plane).await.unwrap();
    let webhook = Webhook::new(plane, "moment", &proxy.url).await.unwrap();
    let _replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    plane
        .namespace(&api, "moment", webhook.label(), json!({}))
        .await
        .unwrap();
    // With watches as they are, and with watches that tell everything late.
    for (watches, late) in [("prompt", 0), ("late", 300)] {
        proxy.slow_watches(Duration::from_millis(late));
        for delay in [0, 10, 100] {
            let mut honoured = 0;
            for n in 0..60 {
                let name = format!("{watches}-{delay}-{n}");
                api.create(&service_account("moment", &name, for_role(&name)))
                    .await
                    .unwrap();
                tokio::time::sleep(Duration::from_millis(delay)).await;
                let mut pod = pod("moment", &name);
                pod["spec"]["serviceAccountName"] = name.clone().into();
                let pod = api.create(&pod).await.unwrap();
                honoured += usize::from(variable(&pod, "AWS_ROLE_ARN") == Some(&role(&name)));
            }
            say(&format!(
                "ServiceAccount {delay} ms before its pod, {watches} watches: {honoured} of 60 pods injected"
            ));
            assert_eq!(honoured, 60);
        }
    }
}

async fn create_service_accounts(api: &Api, namespace: &'static str, count: usize) {
    let mut tasks = JoinSet::new();
    for first in 0..16 {
        let api = api.clone();
        tasks.spawn(async move {
            for n in (first..count).step_by(16) {
                let name = format!("account-{n}");
                api.create(&service_account(namespace, &name, for_role(&name)))
                    .await
                    .unwrap();
            }
        });
    }
    tasks.join_all().await;
}
