//! The chart, installed, upgraded, rolled back and uninstalled by Helm itself.
//!
//! Everything is as in a cluster: the chart's Deployment makes the pods, they run the real webhook with the chart's
//! arguments, as its user, with its ServiceAccount's token, under the Pod Security level `restricted`; the real
//! controllers say which of them are ready, and the API server asks at the Service. `cwii_e2e::Node` is the node.

use std::{
    collections::BTreeSet,
    process::{Output, Stdio},
    time::Duration,
};

use cwii_contract::names;
use cwii_e2e::{
    Api, ControlPlane, Ended, Kubelet, Node, Object, control_plane_to_install_on, until,
};
use cwii_lab::Mechanism;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    sync::{Mutex, MutexGuard},
};

use crate::{
    creators::{Creators, all_have_their_own_role},
    support::{
        SANDBOX, annotated, annotations, for_role, injected, names, pod, pod_of, service_account,
        workload,
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn helm_install_and_one_annotated_deployment_give_a_verified_pod_and_uninstall_leaves_nothing()
 {
    let Some(stage) = Stage::set().await else {
        return;
    };
    let before = stage.everything().await;
    let said = stage.install(&[]).await;
    for next in [
        "rollout status deployment/cwii-webhook",
        "kubectl cwii doctor",
    ] {
        assert!(
            said.contains(next),
            "the notes name the next command: {said}"
        );
    }
    // At once: who waited for the installation may count on it, failurePolicy Ignore or not.
    stage.a_deployment_is_injected_and_verified().await;
    stage.both_replicas_are_as_the_chart_has_them().await;
    let ended = stage.uninstall(&before).await;
    assert_eq!(ended.len(), 2, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_through_a_rotation_of_the_certificate_and_a_rollback_cost_no_pod() {
    let Some(stage) = Stage::set().await else {
        return;
    };
    let before = stage.everything().await;
    stage
        .install(&[
            FAIL,
            // A rotation begins half a minute after the certificate was made, and takes a quarter of a minute.
            "--set=certificates.lifetime=45s",
            "--set=certificates.overlap=5s",
        ])
        .await;
    stage.both_replicas_are_as_the_chart_has_them().await;
    let first = stage.authority().await;
    let creators = stage.creators().await;

    stage.rotation_is("before_switch").await;
    let upgrade = ["upgrade", "cwii", CHART, "--reuse-values", "--wait"];
    stage
        .helm(&[&upgrade, &["--set=logLevel=debug"][..]].concat())
        .await;
    for pod in stage.replicas().await {
        let arguments = &pod["spec"]["containers"][0]["args"];
        assert!(arguments.to_string().contains("--log-level=debug"), "{pod}");
    }
    stage.rotation_is("steady").await;
    let second = stage.authority().await;
    assert_ne!(first, second, "the certificate was replaced");
    creators.created_at_least(creators.created() + 50).await;

    stage.helm(&["rollback", "cwii", "1", "--wait"]).await;
    stage.rotation_is("before_switch").await;
    stage.rotation_is("steady").await;
    assert_ne!(stage.authority().await, second, "and once more");
    creators.created_at_least(creators.created() + 50).await;

    stage
        .no_pod_was_lost(creators, "upgraded and rolled back through two rotations")
        .await;
    stage.both_replicas_are_as_the_chart_has_them().await;
    let ended = stage.uninstall(&before).await;
    assert_eq!(ended.len(), 2, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_somebody_else_keeps_in_a_secret_is_served_and_its_renewal_costs_no_pod()
{
    let Some(stage) = Stage::set().await else {
        return;
    };
    stage.namespace(SYSTEM).await;
    let secret = stage.certificate();
    stage.api.create(&secret).await.unwrap();
    let before = stage.everything().await;
    stage
        .install(&[EXISTING, &[FAIL, "--set", &stage.bundle("")][..]].concat())
        .await;
    stage.both_replicas_are_as_the_chart_has_them().await;
    stage.a_deployment_is_injected_and_verified().await;

    let loads = async || {
        let name = "cwii_webhook_certificate_reloads_total";
        stage.metric(name, &["result=\"success\""]).await
    };
    assert_eq!(loads().await, [1.0, 1.0]);
    let creators = stage.creators().await;
    let renewed = stage.certificate();
    stage
        .api
        .merge(&Object::of(&secret), "", &renewed)
        .await
        .unwrap();
    until("both replicas serve the renewed certificate", || async {
        (loads().await == [2.0, 2.0]).then_some(())
    })
    .await
    .unwrap();
    creators.created_at_least(creators.created() + 50).await;
    stage
        .no_pod_was_lost(creators, "certificate renewed by somebody else")
        .await;
    stage.uninstall(&before).await;
    stage.namespace_is_gone(SYSTEM).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_makes_the_certificate_may_change_in_both_directions() {
    let Some(stage) = Stage::set().await else {
        return;
    };
    let before = stage.everything().await;
    stage.install(&[FAIL]).await;
    stage.api.create(&stage.certificate()).await.unwrap();

    // Who trusts both authorities meanwhile loses nothing. The field is the webhook's until it is taken.
    let creators = stage.creators().await;
    let bundle = stage.bundle(&stage.authority().await);
    let upgrade = ["upgrade", "cwii", CHART, "--wait", FAIL];
    let to_existing = ["--force-conflicts", "--set", &bundle];
    stage
        .helm(&[&upgrade, EXISTING, &to_existing].concat())
        .await;
    creators.created_at_least(creators.created() + 50).await;
    stage
        .no_pod_was_lost(
            creators,
            "from the webhook's own certificate to an existing one",
        )
        .await;
    stage.a_deployment_is_injected_and_verified().await;

    // On the way back Helm takes its bundle away before the webhook has one: pods are refused for a moment, and none
    // is admitted as it is.
    let creators = stage.creators().await;
    stage.helm(&upgrade).await;
    stage.is_asked().await;
    creators.created_at_least(creators.created() + 50).await;
    let tally = creators.stop("and back").await;
    all_have_their_own_role(&stage.api, LOAD, &tally).await;
    stage.namespace_is_gone(LOAD).await;
    stage.a_deployment_is_injected_and_verified().await;

    let secret = Object::of(&stage.certificate());
    stage.api.delete(&secret).await.unwrap();
    stage.uninstall(&before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rendered_manifests_that_are_applied_again_and_again_leave_certificate_and_bundle_alone() {
    let Some(stage) = Stage::set().await else {
        return;
    };
    stage.namespace(SYSTEM).await;
    let before = stage.everything().await;
    // As Argo CD does, with `kubectl apply` from the client, and as Flux does, from the server and by force.
    stage.apply(&stage.render(&[FAIL]).await, &[]).await;
    let (authority, creators) = (stage.authority().await, stage.creators().await);
    let changed = stage.render(&[FAIL, "--set=logLevel=debug"]).await;
    for arguments in [
        &[][..],
        &[
            "--server-side",
            "--force-conflicts",
            "--field-manager=gitops",
        ],
    ] {
        stage.apply(&changed, arguments).await;
        assert_eq!(stage.authority().await, authority);
        creators.created_at_least(creators.created() + 50).await;
    }
    stage
        .no_pod_was_lost(creators, "manifests applied again and again")
        .await;
    stage.both_replicas_are_as_the_chart_has_them().await;
    stage.kubectl(&["delete", "-f", "-"], &changed).await;
    stage.there_is(&before).await;
    stage.namespace_is_gone(SYSTEM).await;
}

/// An installation that nobody else looks at meanwhile.
pub(crate) struct Stage {
    plane: &'static ControlPlane,
    pub(crate) api: Api,
    pub(crate) node: Node,
    _alone: MutexGuard<'static, ()>,
}

impl Stage {
    pub(crate) async fn set() -> Option<Self> {
        // The configuration is for the whole cluster, and its name is the documented one: one installation at a time.
        static ALONE: Mutex<()> = Mutex::const_new(());
        let plane = control_plane_to_install_on().await?;
        plane.helm()?;
        if !plane.has_controllers() {
            return None;
        }
        let kubelet = Kubelet::start(plane, SANDBOX).unwrap()?;
        let alone = ALONE.lock().await;
        let stage = Self {
            node: Node::start(plane, &kubelet, &[SYSTEM, SHOP]).unwrap(),
            plane,
            api: plane.api().unwrap(),
            _alone: alone,
        };
        stage.namespace(SHOP).await;
        // Nothing is counted before the controllers have made what every namespace has.
        for namespace in ["default", "kube-node-lease", "kube-public", "kube-system"] {
            stage.namespace_is_complete(namespace).await;
        }
        Some(stage)
    }

    /// `helm install cwii`, as the documentation has it, with more arguments.
    pub(crate) async fn install(&self, arguments: &[&str]) -> String {
        let install = ["install", "cwii", CHART, "--create-namespace", "--wait"];
        self.helm(&[&install, arguments].concat()).await
    }

    pub(crate) async fn helm(&self, arguments: &[&str]) -> String {
        let output = self.try_helm(arguments).await;
        let said = said(&output);
        assert!(
            output.status.success(),
            "helm {arguments:?}: {said}\n{:?}\n{:#?}",
            self.node.problems(),
            self.node.ended(),
        );
        said
    }

    pub(crate) async fn try_helm(&self, arguments: &[&str]) -> Output {
        let mut helm = self.plane.helm().unwrap();
        helm.args(["--namespace", SYSTEM])
            .args(arguments)
            .args(["--timeout", "120s"])
            .output()
            .await
            .unwrap()
    }

    /// Waits until a pod that asks for injection gets it. Under failurePolicy Ignore one that comes before the API server
    /// has heard that the webhook is there is admitted as it is.
    pub(crate) async fn is_asked(&self) {
        let probe = annotated(pod(SHOP, "probe"), for_role("probe"));
        until("the API server asks the webhook", || async {
            let pod = self.api.create_with(&probe, "dryRun=All").await.ok()?;
            injected(&pod).map(drop)
        })
        .await
        .unwrap();
    }

    /// Waits until the rotation of the certificate that the replicas share has come so far, as every one of them sees it.
    async fn rotation_is(&self, phase: &str) {
        let label = format!("phase=\"{phase}\"");
        until(&format!("the rotation's phase is {phase}"), || async {
            let name = "cwii_webhook_certificate_rotation";
            let of_each = self.metric(name, &[&label]).await;
            (of_each.len() == 2 && of_each.iter().all(|v| *v == 1.0)).then_some(())
        })
        .await
        .unwrap();
    }

    /// Who signed the certificate that the replicas share, PEM.
    async fn authority(&self) -> String {
        let output = self
            .plane
            .kubectl()
            .unwrap()
            .args(["--namespace", SYSTEM, "get", "secret", "cwii-webhook-tls"])
            .args([
                "--output",
                r#"go-template={{index .data "ca.crt" | base64decode}}"#,
            ])
            .output()
            .await
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// A Secret as cert-manager keeps it, with a certificate that is new every time.
    fn certificate(&self) -> Value {
        let authority = &self.plane.authority;
        let identity = authority.server(&["cwii-webhook.cwii-system.svc"]).unwrap();
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": { "name": "webhook-certificate", "namespace": SYSTEM },
            "stringData": { "tls.crt": identity.certificate, "tls.key": identity.key },
        })
    }

    /// The value that has the API server trust it, and somebody else as well.
    fn bundle(&self, also: &str) -> String {
        format!(
            "certificates.existing.caBundle={}{also}",
            self.plane.authority.certificate
        )
    }

    async fn render(&self, arguments: &[&str]) -> String {
        let template = [&["template", "cwii", CHART, "--skip-tests"], arguments].concat();
        let output = self.try_helm(&template).await;
        assert!(output.status.success(), "{}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Applies manifests and waits until they are in effect.
    async fn apply(&self, manifests: &str, arguments: &[&str]) {
        let apply = ["apply", "-f", "-"];
        self.kubectl(&[&apply, arguments].concat(), manifests).await;
        let wait = [
            "rollout",
            "status",
            "deployment/cwii-webhook",
            "--timeout=120s",
        ];
        self.kubectl(&wait, "").await;
    }

    async fn kubectl(&self, arguments: &[&str], input: &str) {
        let mut child = self
            .plane
            .kubectl()
            .unwrap()
            .args(["--namespace", SYSTEM])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let output = child.wait_with_output().await.unwrap();
        assert!(
            output.status.success(),
            "kubectl {arguments:?}: {}",
            said(&output)
        );
    }

    async fn both_replicas_are_as_the_chart_has_them(&self) {
        let pods = self.replicas().await;
        assert_eq!(pods.len(), 2, "{pods:#?}");
        for pod in &pods {
            let version = env!("CARGO_PKG_VERSION");
            assert_eq!(
                pod["spec"]["containers"][0]["image"],
                format!("ghcr.io/cwii-dev/cwii-webhook:{version}")
            );
            assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
            assert_eq!(injected(pod), None);
        }
        assert_eq!(self.node.problems(), Vec::<String>::new());
    }

    /// The webhook's pods, but for those that are about to go.
    async fn replicas(&self) -> Vec<Value> {
        let mut pods = self.api.list(&Object::pod(SYSTEM, ""), "").await.unwrap();
        pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
        pods
    }

    /// The way that the documentation goes: an annotated Deployment, and the cloud is asked before it starts.
    async fn a_deployment_is_injected_and_verified(&self) {
        let case = self
            .plane
            .clouds
            .case("install", Mechanism::AwsWebIdentity, SHOP, "checkout");
        let cloud = self.plane.clouds.lab.lay_out(&case).unwrap();
        let account = service_account(SHOP, "checkout", json!({}));
        self.api.ensure(&account).await.unwrap();
        let deployment = workload(
            "apps/v1",
            "Deployment",
            SHOP,
            "checkout",
            "checkout",
            &annotations([
                ("aws-role-arn", cloud.names.get("ROLE_ARN")),
                ("aws-region", cloud.names.get("REGION")),
                ("aws-verify", "true"),
                ("aws-verify-enforce", "true"),
            ]),
        );
        self.api.create(&deployment).await.unwrap();
        let pod = pod_of(&self.api, SHOP, "checkout").await;
        assert_eq!(injected(&pod), Some("aws"));
        assert_eq!(
            names(&pod, "initContainers"),
            [names::verify_container(cwii_contract::Provider::Aws)]
        );
        let object = Object::pod(SHOP, pod["metadata"]["name"].as_str().unwrap());
        let pod = self
            .api
            .wait_for(&object, "it runs", |p| p["status"]["phase"] == "Running")
            .await
            .unwrap();
        let verify = &pod["status"]["initContainerStatuses"][0];
        assert_eq!(verify["restartCount"], 0);
        let ended = &verify["state"]["terminated"];
        assert_eq!(ended["exitCode"], 0, "{verify}");
        let message = ended["message"].as_str().unwrap();
        assert!(message.contains("\"outcome\":\"verified\""), "{message}");
        assert_eq!(self.node.problems(), Vec::<String>::new());
        self.api.delete(&Object::of(&deployment)).await.unwrap();
        self.api.delete(&Object::of(&account)).await.unwrap();
        let pods = Object::pod(SHOP, "");
        until("the Deployment's pods are gone", || async {
            self.api
                .list(&pods, "")
                .await
                .ok()?
                .is_empty()
                .then_some(())
        })
        .await
        .unwrap();
    }

    /// A metric of every replica, read by way of the API server, as a person without a way into the pods' network does.
    async fn metric(&self, name: &str, labels: &[&str]) -> Vec<f64> {
        let mut of_each = Vec::new();
        for pod in self.replicas().await {
            let pod = pod["metadata"]["name"].as_str().unwrap();
            let path = format!("/api/v1/namespaces/{SYSTEM}/pods/{pod}:8080/proxy/metrics");
            // One that comes or goes does not answer.
            if let Ok(page) = self.api.text(&path).await {
                of_each.push(cwii_e2e::metric(&page, name, labels));
            }
        }
        of_each
    }

    /// Pods that ask for injection, for as long as something is done to the webhook. `Node` does not run them.
    async fn creators(&self) -> Creators {
        self.namespace(LOAD).await;
        Creators::paced(&self.api, 2, Duration::from_millis(50), |n| {
            annotated(pod(LOAD, &format!("pod-{n}")), for_role(n))
        })
    }

    /// Nobody had to try twice, and every pod is as it asked to be.
    async fn no_pod_was_lost(&self, creators: Creators, what: &str) {
        let tally = creators.stop(what).await;
        all_have_their_own_role(&self.api, LOAD, &tally).await;
        assert_eq!(tally.failed, 0, "{what}: {tally:?}");
        self.namespace_is_gone(LOAD).await;
    }

    /// Makes a namespace and waits for what the controllers put there.
    async fn namespace(&self, name: &str) {
        self.api
            .ensure(&json!({
                "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name },
            }))
            .await
            .unwrap();
        self.namespace_is_complete(name).await;
    }

    async fn namespace_is_complete(&self, name: &str) {
        for (kind, object) in [
            ("ServiceAccount", "default"),
            ("ConfigMap", "kube-root-ca.crt"),
        ] {
            let object = Object::new("v1", kind, name, object);
            self.api
                .wait_for(&object, "it is there", |_| true)
                .await
                .unwrap();
        }
    }

    pub(crate) async fn namespace_is_gone(&self, name: &str) {
        let namespace = Object::new("v1", "Namespace", "", name);
        self.api.delete(&namespace).await.unwrap();
        until(&format!("namespace {name} is gone"), || async {
            self.api.get(&namespace).await.err()
        })
        .await
        .unwrap();
    }

    /// Uninstalls, and compares what there is with what there was. The answer is how the webhook's processes ended.
    async fn uninstall(&self, before: &BTreeSet<String>) -> Vec<Ended> {
        let so_far = self.node.ended().len();
        self.helm(&["uninstall", "cwii", "--wait"]).await;
        // The namespace that `--create-namespace` made, with what every namespace has.
        let of_namespace = BTreeSet::from([
            format!("configmaps {SYSTEM}/kube-root-ca.crt"),
            format!("namespaces {SYSTEM}"),
            format!("serviceaccounts {SYSTEM}/default"),
        ]);
        self.there_is(&(before | &of_namespace)).await;
        if !of_namespace.is_subset(before) {
            let namespace = Object::new("v1", "Namespace", "", SYSTEM);
            self.api.delete(&namespace).await.unwrap();
            self.there_is(before).await;
        }
        let ended = self.node.ended().split_off(so_far);
        for one in self.node.ended() {
            assert!(
                one.asked_to && one.code == 0,
                "{} of {} ended with {} by itself or in haste: {}",
                one.container,
                one.pod,
                one.code,
                one.log
            );
        }
        ended
    }

    /// Waits until there is what there should be: what is deleted takes a moment to go.
    async fn there_is(&self, expected: &BTreeSet<String>) {
        let differs = std::sync::Mutex::new(BTreeSet::new());
        until("what there is is what there should be", || async {
            let now = self.everything().await;
            *differs.lock().unwrap() = &now ^ expected;
            (now == *expected).then_some(())
        })
        .await
        .unwrap_or_else(|error| panic!("{error}: {:#?}", differs.lock().unwrap()));
    }

    /// Every object of every type that can be listed, as `kubectl api-resources --verbs=list` names them; but for what
    /// the cluster writes down of its own accord and throws away after a while.
    pub(crate) async fn everything(&self) -> BTreeSet<String> {
        let read = async |path: &str| -> Value {
            serde_json::from_str(&self.api.text(path).await.unwrap()).unwrap()
        };
        let groups = read("/apis").await;
        let mut roots = vec!["/api/v1".to_owned()];
        for group in groups["groups"].as_array().unwrap() {
            let version = group["preferredVersion"]["groupVersion"].as_str().unwrap();
            roots.push(format!("/apis/{version}"));
        }
        let mut all = BTreeSet::new();
        for root in roots {
            let resources = read(&root).await;
            for resource in resources["resources"].as_array().unwrap() {
                let name = resource["name"].as_str().unwrap();
                let is_listed = resource["verbs"]
                    .as_array()
                    .unwrap()
                    .contains(&"list".into());
                if !is_listed || ["events", "componentstatuses"].contains(&name) {
                    continue;
                }
                let list = read(&format!("{root}/{name}")).await;
                for item in list["items"].as_array().unwrap() {
                    let of = |field: &str| item["metadata"][field].as_str().unwrap_or_default();
                    let namespace = match of("namespace") {
                        "" => String::new(),
                        namespace => format!("{namespace}/"),
                    };
                    all.insert(format!("{name} {namespace}{}", of("name")));
                }
            }
        }
        all
    }
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|stream| String::from_utf8_lossy(stream).into_owned())
        .concat()
}

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../charts/cwii");
const FAIL: &str = "--set=webhook.failurePolicy=Fail";
const EXISTING: &[&str] = &[
    "--set=certificates.mode=existing",
    "--set=certificates.existing.secretName=webhook-certificate",
];
const SYSTEM: &str = "cwii-system";
const SHOP: &str = "shop";
const LOAD: &str = "load";
