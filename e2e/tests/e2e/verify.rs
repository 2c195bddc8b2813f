//! Annotate, admit, verify, read the result: everything is real but the clouds.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
};

use cwii_contract::{Provider, names};
use cwii_e2e::{
    Api, ControlPlane, FailurePolicy, Kubelet, Object, Progress, Webhook, control_plane,
};
use cwii_lab::{Case, Document, Mechanism, Workload};
use serde_json::{Value, json};

use crate::support::{
    SANDBOX, annotations, injected, pod_of, restricted, service_account, workload,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_proves_its_identity_to_aws_and_waits_while_the_trust_is_broken() {
    prove(&Story {
        provider: Provider::Aws,
        mechanism: Mechanism::AwsWebIdentity,
        namespace: "verify-aws",
        case: "e2e-aws",
        annotations: |w| {
            vec![
                ("aws-role-arn", w.names.get("ROLE_ARN").into()),
                ("aws-region", w.names.get("REGION").into()),
            ]
        },
        // The role trusts another namespace's ServiceAccount.
        document: Document::AwsRole,
        broken: |role| {
            let condition =
                &mut role["Role"]["AssumeRolePolicyDocument"]["Statement"][0]["Condition"];
            for value in condition["StringEquals"]
                .as_object_mut()
                .unwrap()
                .values_mut()
            {
                if value.as_str().unwrap().starts_with("system:") {
                    *value = "system:serviceaccount:elsewhere:reports".into();
                }
            }
        },
        says: &[
            "An error occurred (AccessDenied) when calling the AssumeRoleWithWebIdentity operation",
            "\"outcome\":\"denied\"",
        ],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_proves_its_identity_to_google_and_waits_while_the_trust_is_broken() {
    prove(&Story {
        provider: Provider::Gcp,
        mechanism: Mechanism::GoogleImpersonated,
        namespace: "verify-gcp",
        case: "e2e-gcp",
        annotations: gcp,
        // The pool's provider expects another audience.
        document: Document::GoogleProvider,
        broken: |provider| {
            provider["oidc"]["allowedAudiences"] = json!(["https://vault.example.com"]);
        },
        says: &["invalid_grant", "\"outcome\":\"denied\""],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_proves_its_identity_to_entra_and_waits_while_the_trust_is_broken() {
    prove(&Story {
        provider: Provider::Az,
        mechanism: Mechanism::EntraFederated,
        namespace: "verify-az",
        case: "e2e-az",
        annotations: |w| {
            vec![
                ("az-inject", "true".into()),
                ("az-client-id", w.names.get("CLIENT_ID").into()),
                ("az-tenant-id", w.names.get("TENANT_ID").into()),
            ]
        },
        // The credential names another namespace's ServiceAccount.
        document: Document::EntraFederatedCredentials,
        broken: |credentials| {
            credentials[0]["subject"] = "system:serviceaccount:elsewhere:reports".into();
        },
        says: &["AADSTS700213", "\"outcome\":\"denied\""],
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn google_credentials_that_come_in_a_config_map_are_verified_as_well() {
    let Some(plane) = control_plane().await else {
        return;
    };
    let Some(kubelet) = Kubelet::start(plane, SANDBOX).unwrap() else {
        return;
    };
    if !plane.has_controllers() {
        return;
    }
    let namespace = "verify-config-map";
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, namespace, &plane.url)
        .await
        .unwrap()
        .with_config_maps()
        .await
        .unwrap();
    let _replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    let case = plane.clouds.case(
        "e2e-config-map",
        Mechanism::GoogleDirect,
        namespace,
        "reports",
    );
    let workload = plane.clouds.lab.lay_out(&case).unwrap();
    let mut asked = gcp(&workload);
    asked.retain(|(key, _)| *key != "gcp-service-account");
    asked.extend([
        ("gcp-delivery", "config-map".to_owned()),
        ("gcp-verify", "true".to_owned()),
        ("gcp-verify-enforce", "true".to_owned()),
    ]);
    let asked = annotations(asked.iter().map(|(k, v)| (*k, v.as_str())));
    plane
        .namespace(&api, namespace, restricted(&webhook.label()), json!({}))
        .await
        .unwrap();
    api.create(&service_account(namespace, "reports", asked))
        .await
        .unwrap();
    let manifest = crate::support::workload(
        "apps/v1",
        "Deployment",
        namespace,
        "reports",
        "reports",
        &json!({}),
    );
    let config_maps = async || -> Vec<Value> {
        let all = Object::new("v1", "ConfigMap", namespace, "");
        let query = "labelSelector=app.kubernetes.io%2Fmanaged-by%3Dcwii";
        api.list(&all, query).await.unwrap()
    };
    let mut dry = crate::support::pod(namespace, "dry");
    dry["spec"]["serviceAccountName"] = "reports".into();
    let dry = api.create_with(&dry, "dryRun=All").await.unwrap();
    assert_eq!(injected(&dry), Some("gcp"));
    assert!(config_maps().await.is_empty(), "a dry run writes nothing");

    api.create(&manifest).await.unwrap();
    let pod = pod_of(&api, namespace, "reports").await;
    assert_eq!(config_maps().await.len(), 1);
    let mut pod = kubelet.take(namespace, name(&pod)).await.unwrap();
    let (ran, end) = pod.advance_to_end().await.unwrap();
    assert!(matches!(end, Progress::Running), "{end:?}");
    assert_eq!(ran.len(), 1, "nothing has to write the document: {ran:?}");
    assert!(
        ran[0].message.contains("\"outcome\":\"verified\""),
        "{ran:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_users_its_containers_run_as_a_pod_reads_what_is_injected_and_nobody_loses_his_token()
 {
    let Some(plane) = control_plane().await else {
        return;
    };
    let Some(kubelet) = Kubelet::start(plane, SANDBOX).unwrap() else {
        return;
    };
    let namespace = "verify-users";
    let api = plane.api().unwrap();
    let webhook = Webhook::new(plane, namespace, &plane.url).await.unwrap();
    let _replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
    let case = plane.clouds.case(
        "e2e-users",
        Mechanism::GoogleImpersonated,
        namespace,
        "reports",
    );
    let mut asked = gcp(&plane.clouds.lab.lay_out(&case).unwrap());
    asked.push(("gcp-verify", "true".to_owned()));
    asked.push(("gcp-verify-enforce", "true".to_owned()));
    plane
        .namespace(&api, namespace, restricted(&webhook.label()), json!({}))
        .await
        .unwrap();
    let asked = annotations(asked.iter().map(|(k, v)| (*k, v.as_str())));
    api.create(&service_account(namespace, "reports", asked))
        .await
        .unwrap();
    // The pod's user, the containers' users, the pod's group; who owns the token then, and who may read it.
    for (n, (pods, containers, group, owner, mode)) in [
        (Some(1000), [None, None], None, 1000, 0o600),
        (None, [Some(2000), Some(2000)], None, 2000, 0o600),
        (Some(1000), [None, Some(2000)], None, 0, 0o644),
        (None, [Some(1000), Some(2000)], None, 0, 0o644),
        (None, [None, None], None, 0, 0o644),
        (None, [None, None], Some(3000), 0, 0o640),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("users-{n}");
        let mut pod = crate::support::pod(namespace, &name);
        let spec = &mut pod["spec"];
        spec["serviceAccountName"] = "reports".into();
        spec["securityContext"]["runAsUser"] = json!(pods);
        spec["securityContext"]["fsGroup"] = json!(group);
        let mut second = spec["containers"][0].clone();
        second["name"] = "second".into();
        spec["containers"].as_array_mut().unwrap().push(second);
        for (container, user) in spec["containers"]
            .as_array_mut()
            .unwrap()
            .iter_mut()
            .zip(containers)
        {
            container["securityContext"]["runAsUser"] = json!(user);
        }
        api.create(&pod).await.unwrap();
        let mut pod = kubelet.take(namespace, &name).await.unwrap();
        let token = fs::metadata(pod.volume("cwii-gcp-token").unwrap().join("token")).unwrap();
        assert_eq!(
            (token.uid(), token.permissions().mode() & 0o777),
            (owner, mode),
            "{name}"
        );
        let (ran, end) = pod.advance_to_end().await.unwrap();
        assert!(matches!(end, Progress::Running), "{name}: {end:?}");
        assert_eq!(ran.len(), 2, "{name}: {ran:?}");
        // Whoever the application's containers run as has to read the document.
        let document = pod
            .volume("cwii-gcp-creds")
            .unwrap()
            .join("credentials.json");
        let document = fs::metadata(document).unwrap();
        assert_eq!(document.permissions().mode() & 0o444, 0o444, "{name}");
    }
}

/// What one cloud is asked, and how its trust is broken.
struct Story {
    provider: Provider,
    mechanism: Mechanism,
    namespace: &'static str,
    case: &'static str,
    annotations: fn(&Workload) -> Vec<(&'static str, String)>,
    document: Document,
    broken: fn(&mut Value),
    /// What `kubectl describe pod` shows of the cause.
    says: &'static [&'static str],
}

fn gcp(workload: &Workload) -> Vec<(&'static str, String)> {
    vec![
        ("gcp-inject", "true".into()),
        ("gcp-audience", workload.names.get("PROVIDER_NAME").into()),
        ("gcp-service-account", workload.names.get("GSA").into()),
    ]
}

async fn prove(story: &Story) {
    let Some(plane) = control_plane().await else {
        return;
    };
    let Some(kubelet) = Kubelet::start(plane, SANDBOX).unwrap() else {
        return;
    };
    if !plane.has_controllers() {
        return;
    }
    let stage = Stage::set(plane, kubelet, story).await;
    stage.a_healthy_one_starts().await;
    stage.a_broken_one_waits_and_says_why().await;
    stage
        .a_broken_one_that_is_not_enforced_starts_and_says_so()
        .await;
}

struct Stage<'a> {
    plane: &'static ControlPlane,
    kubelet: Kubelet,
    api: Api,
    story: &'a Story,
    case: Case,
    asked: Vec<(&'static str, String)>,
    verify: &'static str,
    _replica: cwii_e2e::Replica,
}

impl<'a> Stage<'a> {
    async fn set(plane: &'static ControlPlane, kubelet: Kubelet, story: &'a Story) -> Self {
        let namespace = story.namespace;
        let api = plane.api().unwrap();
        let webhook = Webhook::new(plane, namespace, &plane.url).await.unwrap();
        let replica = webhook.serve(FailurePolicy::Fail).await.unwrap();
        plane
            .namespace(&api, namespace, restricted(&webhook.label()), json!({}))
            .await
            .unwrap();
        api.create(&service_account(namespace, "reports", json!({})))
            .await
            .unwrap();
        let case = plane
            .clouds
            .case(story.case, story.mechanism, namespace, "reports");
        let workload = plane.clouds.lab.lay_out(&case).unwrap();
        Self {
            plane,
            kubelet,
            api,
            story,
            case,
            asked: (story.annotations)(&workload),
            verify: names::verify_container(story.provider),
            _replica: replica,
        }
    }

    /// Annotates and creates a Deployment, and waits for its pod.
    async fn deploy(&self, name: &str, enforce: bool) -> String {
        let provider = self.story.provider;
        let (verify, enforces) = (
            format!("{provider}-verify"),
            format!("{provider}-verify-enforce"),
        );
        let mut asked: Vec<(&str, &str)> =
            self.asked.iter().map(|(k, v)| (*k, v.as_str())).collect();
        asked.push((&verify, "true"));
        asked.push((&enforces, if enforce { "true" } else { "false" }));
        let manifest = workload(
            "apps/v1",
            "Deployment",
            self.story.namespace,
            name,
            "reports",
            &annotations(asked),
        );
        self.api.create(&manifest).await.unwrap();
        let pod = pod_of(&self.api, self.story.namespace, name).await;
        assert_eq!(injected(&pod), Some(provider.as_str()));
        self::name(&pod).to_owned()
    }

    async fn a_healthy_one_starts(&self) {
        let name = self.deploy("healthy", true).await;
        let mut pod = self
            .kubelet
            .take(self.story.namespace, &name)
            .await
            .unwrap();
        // The ServiceAccount runs as one user in all containers, so the token is that user's alone.
        let (ran, end) = pod.advance_to_end().await.unwrap();
        assert!(matches!(end, Progress::Running), "{end:?}");
        let last = ran.last().unwrap();
        assert_eq!(last.container, self.verify);
        assert!(
            last.message.contains("\"outcome\":\"verified\""),
            "{last:?}"
        );
        assert!(
            self.kubectl(&["get", "pod", &name])
                .await
                .contains("Running")
        );
    }

    async fn a_broken_one_waits_and_says_why(&self) {
        let lab = &self.plane.clouds.lab;
        let path = lab.document_file(&self.case, self.story.document);
        let right = fs::read_to_string(&path).unwrap();
        lab.edit(&self.case, self.story.document, self.story.broken)
            .unwrap();
        let name = self.deploy("broken", true).await;
        let mut pod = self
            .kubelet
            .take(self.story.namespace, &name)
            .await
            .unwrap();
        for shown in ["Init:Error", "Init:CrashLoopBackOff"] {
            let (_, end) = pod.advance_to_end().await.unwrap();
            let Progress::Restarts(ran) = end else {
                panic!("expected a restart, found {end:?}");
            };
            assert_eq!((ran.container.as_str(), ran.code), (self.verify, 20));
            let listed = self.kubectl(&["get", "pod", &name]).await;
            assert!(listed.contains(shown), "{listed}");
            let described = self.kubectl(&["describe", "pod", &name]).await;
            for text in self.story.says {
                assert!(
                    described.contains(text),
                    "expected `{text}` in:\n{described}"
                );
            }
        }
        let described = self.kubectl(&["describe", "pod", &name]).await;
        assert!(
            described.contains("Back-off restarting failed container"),
            "{described}"
        );

        // Once the trust is mended the same pod starts.
        fs::write(&path, right).unwrap();
        let (ran, end) = pod.advance_to_end().await.unwrap();
        assert!(matches!(end, Progress::Running), "{end:?}");
        assert!(
            ran.last()
                .unwrap()
                .message
                .contains("\"outcome\":\"verified\"")
        );
    }

    async fn a_broken_one_that_is_not_enforced_starts_and_says_so(&self) {
        let lab = &self.plane.clouds.lab;
        lab.edit(&self.case, self.story.document, self.story.broken)
            .unwrap();
        let name = self.deploy("lenient", false).await;
        let mut pod = self
            .kubelet
            .take(self.story.namespace, &name)
            .await
            .unwrap();
        let (ran, end) = pod.advance_to_end().await.unwrap();
        assert!(matches!(end, Progress::Running), "{end:?}");
        let last = ran.last().unwrap();
        assert_eq!((last.container.as_str(), last.code), (self.verify, 0));
        assert_eq!(
            last.stderr.lines().last(),
            Some(names::NON_ENFORCING_LAST_LINE),
            "{last:?}"
        );
        let described = self.kubectl(&["describe", "pod", &name]).await;
        for text in self.story.says {
            assert!(
                described.contains(text),
                "expected `{text}` in:\n{described}"
            );
        }
    }

    async fn kubectl(&self, arguments: &[&str]) -> String {
        let output = self
            .plane
            .kubectl()
            .unwrap()
            .args(["-n", self.story.namespace])
            .args(arguments)
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn name(pod: &Value) -> &str {
    pod["metadata"]["name"].as_str().unwrap()
}
