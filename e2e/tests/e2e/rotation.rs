//! The certificate that replicas make and share: two processes, one Secret, one configuration, and the rights that the
//! chart gives them.

use std::{collections::VecDeque, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cwii_e2e::{
    Api, Balancer, ControlPlane, FailurePolicy, Identity, Replica, Webhook, control_plane, until,
};
use serde_json::{Value, json};

use crate::{
    creators::{Creators, all_have_their_own_role},
    support::{annotated, for_role, pod},
};

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_fill_an_empty_secret_and_write_no_field_but_the_bundle() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let mut setup = Setup::start(plane, "share", HOUR, Duration::from_secs(3)).await;
    setup.serves(2).await;
    setup.webhook.is_asked().await.unwrap();

    let secret = setup.secret().await;
    let keys: Vec<_> = secret["data"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["ca.crt", "tls.crt", "tls.key"]);
    let ca = member(&secret, "ca.crt");
    let configuration = setup.configuration().await;
    assert_eq!(bundle(&configuration), std::slice::from_ref(&ca));
    for replica in &setup.replicas {
        assert!(serves(replica, &ca).await);
    }
    let fields = configuration["metadata"]["managedFields"]
        .as_array()
        .unwrap()
        .iter()
        .find(|fields| fields["manager"] == "cwii-webhook")
        .unwrap();
    assert_eq!(fields["operation"], "Apply");
    assert_eq!(
        fields["fieldsV1"],
        json!({ "f:webhooks": { "k:{\"name\":\"mutate.cwii.dev\"}": {
            ".": {}, "f:name": {}, "f:clientConfig": { "f:caBundle": {} },
        } } })
    );
    // A replica that comes later takes what is there.
    setup.add();
    setup.serves(3).await;
    let after = setup.secret().await;
    assert_eq!(
        after["metadata"]["resourceVersion"],
        secret["metadata"]["resourceVersion"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_by_age_and_one_that_is_asked_for_cost_no_pod() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let overlap = Duration::from_secs(3);
    let setup = Setup::start(plane, "ages", Duration::from_secs(24), overlap).await;
    setup.serves(2).await;
    setup.webhook.is_asked().await.unwrap();
    let creators = setup.creators();
    let first = setup.secret().await;
    let second = setup.rotated(&first).await;
    creators.created_at_least(creators.created() + 50).await;
    setup
        .api
        .merge(
            &setup.webhook.secret(),
            "",
            &json!({ "metadata": { "annotations": { "cwii.dev/rotate": "now" } } }),
        )
        .await
        .unwrap();
    setup.rotated(&second).await;
    creators.created_at_least(creators.created() + 50).await;
    let tally = creators.stop("certificate rotated by its replicas").await;
    all_have_their_own_role(&setup.api, "ages", &tally).await;
    assert_eq!(tally.failed, 0, "a rotation costs no attempt: {tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_emptied_is_filled_with_what_is_served_and_costs_no_pod() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let setup = Setup::start(plane, "emptied", HOUR, Duration::from_secs(2)).await;
    setup.serves(2).await;
    setup.webhook.is_asked().await.unwrap();
    let creators = setup.creators();
    let before = setup.secret().await;
    let object = setup.webhook.secret();
    let emptied = json!({ "data": null });
    setup.api.merge(&object, "", &emptied).await.unwrap();
    let is_back = |secret: &Value| secret["data"] == before["data"];
    setup
        .api
        .wait_for(&object, "the certificate is back", is_back)
        .await
        .unwrap();
    creators.created_at_least(creators.created() + 50).await;
    // Something that is no certificate is no better than nothing.
    let broken = json!({ "data": { "tls.crt": "aGVsbG8=" } });
    setup.api.merge(&object, "", &broken).await.unwrap();
    setup
        .api
        .wait_for(&object, "the certificate is back", is_back)
        .await
        .unwrap();
    creators.created_at_least(creators.created() + 50).await;
    let tally = creators.stop("Secret emptied and broken").await;
    all_have_their_own_role(&setup.api, "emptied", &tally).await;
    assert_eq!(tally.failed, 0, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_that_somebody_empties_or_replaces_is_put_back() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let setup = Setup::start(plane, "bundle", HOUR, Duration::from_secs(2)).await;
    setup.serves(2).await;
    setup.webhook.is_asked().await.unwrap();
    let ca = member(&setup.secret().await, "ca.crt");
    let object = setup.webhook.object();
    for other in [
        Value::Null,
        cwii_e2e::base64(&plane.authority.certificate).into(),
    ] {
        let mut configuration = setup.configuration().await;
        configuration["webhooks"][0]["clientConfig"]["caBundle"] = other;
        let patch = json!({ "webhooks": configuration["webhooks"] });
        setup.api.merge(&object, "", &patch).await.unwrap();
        setup
            .api
            .wait_for(&object, "the bundle is back, alone", |configuration| {
                bundle(configuration) == std::slice::from_ref(&ca)
            })
            .await
            .unwrap();
        let probe = annotated(pod("bundle", "probe"), for_role("probe"));
        until("pods are admitted again", || async {
            setup.api.create_with(&probe, "dryRun=All").await.ok()
        })
        .await
        .unwrap();
    }
    let mut overwritten = 0.0;
    for replica in &setup.replicas {
        let name = "cwii_webhook_certificate_bundle_overwritten_total";
        overwritten += replica.metric(name, &[]).await.unwrap();
        let log = replica.process.log();
        assert!(!log.contains("PRIVATE KEY"), "{log}");
    }
    assert!(overwritten >= 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_goes_on_whichever_step_the_replica_was_killed_after() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let overlap = Duration::from_secs(3);
    let mut setup = Setup::start(plane, "killed", HOUR, overlap).await;
    setup.serves(2).await;
    setup.replicas.pop_back();
    setup.serves(1).await;
    let first = setup.secret().await;
    let object = setup.webhook.secret();
    let rotate = json!({ "metadata": { "annotations": { "cwii.dev/rotate": "now" } } });
    setup.api.merge(&object, "", &rotate).await.unwrap();
    type State = fn(&Value) -> bool;
    let states: [(&str, State); 3] = [
        ("staged", |secret| {
            secret["data"]["next-tls.crt"].is_string()
        }),
        ("published", |secret| {
            secret["metadata"]["annotations"]["cwii.dev/next-published-at"].is_string()
        }),
        ("promoted", |secret| {
            secret["data"]["previous-ca.crt"].is_string()
        }),
    ];
    for (what, state) in states {
        setup.api.wait_for(&object, what, state).await.unwrap();
        // SIGKILL, and another in its place.
        setup.replicas.pop_back();
        setup.add();
    }
    setup.rotated(&first).await;
    setup.serves(1).await;
    setup.webhook.is_asked().await.unwrap();
}

/// Replicas that share a certificate, behind a Service.
struct Setup {
    api: Api,
    webhook: Webhook,
    service: Balancer,
    replicas: VecDeque<Replica>,
    namespace: String,
}

impl Setup {
    /// Two replicas, and a configuration that trusts nobody yet.
    async fn start(
        plane: &'static ControlPlane,
        name: &str,
        lifetime: Duration,
        overlap: Duration,
    ) -> Self {
        let api = plane.api().unwrap();
        let webhook = Webhook::new(plane, name, &plane.url)
            .await
            .unwrap()
            .with_shared_certificate(lifetime, overlap)
            .await
            .unwrap();
        plane
            .namespace(&api, name, webhook.label(), json!({}))
            .await
            .unwrap();
        let service = Balancer::start(Duration::from_millis(100)).await.unwrap();
        webhook
            .register(service.address, FailurePolicy::Fail)
            .await
            .unwrap();
        let mut setup = Self {
            api,
            webhook,
            service,
            replicas: VecDeque::new(),
            namespace: name.to_owned(),
        };
        setup.add();
        setup.add();
        setup
    }

    fn add(&mut self) {
        let replica = self.webhook.start().unwrap();
        self.service.follow(replica.address, replica.probe());
        self.replicas.push_back(replica);
    }

    /// Waits until as many replicas are behind the Service.
    async fn serves(&self, count: usize) {
        let what = format!("{count} replicas behind the Service");
        let served = until(&what, || async {
            (self.service.endpoints().len() == count).then_some(())
        });
        if let Err(error) = served.await {
            let logs = self.replicas.iter().map(|r| r.process.log_tail());
            panic!("{error}: {}", logs.collect::<Vec<_>>().join("\n---\n"));
        }
    }

    fn creators(&self) -> Creators {
        let namespace = self.namespace.clone();
        Creators::start(&self.api, 2, move |n| {
            annotated(pod(&namespace, &format!("pod-{n}")), for_role(n))
        })
    }

    async fn secret(&self) -> Value {
        self.api.get(&self.webhook.secret()).await.unwrap()
    }

    async fn configuration(&self) -> Value {
        self.api.get(&self.webhook.object()).await.unwrap()
    }

    /// Waits for the end of a rotation: another certificate, served by all, trusted alone.
    async fn rotated(&self, from: &Value) -> Value {
        let old = member(from, "ca.crt");
        let secret = self
            .api
            .wait_for(&self.webhook.secret(), "rotated", |secret| {
                secret["data"]["tls.crt"] != from["data"]["tls.crt"]
                    && secret["data"]["previous-ca.crt"].is_null()
            })
            .await
            .unwrap();
        let new = member(&secret, "ca.crt");
        self.api
            .wait_for(&self.webhook.object(), "trusts the new one alone", |c| {
                bundle(c).first() == Some(&new) && !bundle(c).contains(&old)
            })
            .await
            .unwrap();
        for replica in &self.replicas {
            until("the new certificate is served", || async {
                serves(replica, &new).await.then_some(())
            })
            .await
            .unwrap();
        }
        secret
    }
}

/// Whether a replica serves a certificate of this authority.
async fn serves(replica: &Replica, ca: &str) -> bool {
    let url = format!("https://{}", replica.address);
    let client = Api::new(&url, ca, None::<&Identity>).unwrap();
    client.text("/healthz").await.is_ok()
}

fn member(secret: &Value, key: &str) -> String {
    decoded(&secret["data"][key])
}

/// The certificates of the bundle, PEM.
fn bundle(configuration: &Value) -> Vec<String> {
    let pem = decoded(&configuration["webhooks"][0]["clientConfig"]["caBundle"]);
    pem.split_inclusive("-----END CERTIFICATE-----\n")
        .map(str::to_owned)
        .collect()
}

fn decoded(value: &Value) -> String {
    let bytes = STANDARD.decode(value.as_str().unwrap_or_default()).unwrap();
    String::from_utf8(bytes).unwrap()
}

const HOUR: Duration = Duration::from_secs(3600);
