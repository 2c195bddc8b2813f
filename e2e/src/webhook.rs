//! Webhooks under test: the real process, with a ServiceAccount's rights, registered over TLS.
//!
//! Each has its own MutatingWebhookConfiguration, which looks at the namespaces with its label alone: so tests share a
//! control plane and disturb nobody.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    api::{Api, Object, http_client, until},
    control_plane::{ControlPlane, base64, binary, free_port},
    pki::Identity,
    process::{Process, lasting},
};

/// What a webhook is made of, before and between its processes.
pub struct Webhook {
    plane: &'static ControlPlane,
    api: Api,
    name: String,
    folder: PathBuf,
    kubeconfig: PathBuf,
    arguments: Vec<String>,
    shares_certificate: bool,
    side_effects: &'static str,
    started: AtomicUsize,
}

/// One running process of a webhook.
pub struct Replica {
    /// The process.
    pub process: Process,
    /// Where it serves admission reviews.
    pub address: SocketAddr,
    metrics: String,
}

/// `failurePolicy`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FailurePolicy {
    /// A pod is admitted as it is when the webhook does not answer.
    Ignore,
    /// A pod is refused when the webhook does not answer.
    Fail,
}

impl Webhook {
    /// Prepares one: its ServiceAccount, its rights, its certificate. `api_server` is where it finds the API server.
    ///
    /// # Errors
    ///
    /// The API server's, or a file cannot be written.
    pub async fn new(plane: &'static ControlPlane, name: &str, api_server: &str) -> Result<Self> {
        let api = plane.api()?;
        let token = grant(&api, name).await?;
        let webhook = Self {
            plane,
            name: name.to_owned(),
            folder: plane.dir.join("webhooks").join(name),
            kubeconfig: plane.write_kubeconfig(
                &format!("webhook-{name}"),
                api_server,
                &json!({ "token": token }),
            )?,
            arguments: Vec::new(),
            shares_certificate: false,
            side_effects: "None",
            started: AtomicUsize::new(0),
            api,
        };
        fs::create_dir_all(&webhook.folder)?;
        webhook.install_certificate(&plane.authority.server(&[])?)?;
        Ok(webhook)
    }

    /// Flags for processes that are started from now on.
    #[must_use]
    pub fn with(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// It may write ConfigMaps: the flag, the right, and that it says so.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn with_config_maps(mut self) -> Result<Self> {
        let name = "cwii-webhook-config-maps";
        let rules = json!([
            { "apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "patch"] },
        ]);
        allow(&self.api, name, &rules, &self.name).await?;
        self.side_effects = "NoneOnDryRun";
        Ok(self.with(["--config-map-delivery"]))
    }

    /// Its processes make their certificate themselves and share it through a Secret, which is made here, empty, with
    /// the rights for that and no more. They trust nobody to write `caBundle`.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn with_shared_certificate(
        mut self,
        lifetime: Duration,
        overlap: Duration,
    ) -> Result<Self> {
        let Object { name, .. } = self.secret();
        self.api
            .create(&json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": { "name": name, "namespace": SYSTEM },
            }))
            .await?;
        let in_namespace = json!([{
            "apiGroups": [""], "resources": ["secrets"], "resourceNames": [name],
            "verbs": ["get", "patch"],
        }]);
        let in_cluster = json!([{
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": ["mutatingwebhookconfigurations"], "resourceNames": [self.name],
            "verbs": ["get", "patch"],
        }]);
        let role = format!("{name}-certificate");
        self.api
            .create(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": { "name": role, "namespace": SYSTEM },
                "rules": in_namespace,
            }))
            .await?;
        self.api
            .create(&json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": { "name": role, "namespace": SYSTEM },
                "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role },
                "subjects": [
                    { "kind": "ServiceAccount", "name": self.name, "namespace": SYSTEM },
                ],
            }))
            .await?;
        allow(&self.api, &role, &in_cluster, &self.name).await?;
        let arguments = [
            "--tls-self-signed=127.0.0.1,localhost".to_owned(),
            format!("--tls-secret={SYSTEM}/{name}"),
            format!("--tls-webhook-configuration={}", self.name),
            format!("--tls-lifetime={}s", lifetime.as_secs()),
            format!("--tls-overlap={}s", overlap.as_secs()),
        ];
        self.shares_certificate = true;
        Ok(self.with(arguments))
    }

    /// The Secret through which its processes share a certificate.
    #[must_use]
    pub fn secret(&self) -> Object {
        Object::new("v1", "Secret", SYSTEM, &format!("{}-tls", self.name))
    }

    /// The label that puts a namespace under it, `{"cwii-e2e": NAME}`, with more where a test needs more.
    #[must_use]
    pub fn label(&self) -> Value {
        json!({ LABEL: self.name })
    }

    /// Replaces the certificate that its processes serve.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn install_certificate(&self, identity: &Identity) -> Result<()> {
        // Key first: whoever reads in between sees a pair that does not fit, and has to keep the old one.
        for (name, text) in [
            ("tls.key", &identity.key),
            ("tls.crt", &identity.certificate),
        ] {
            let temporary = self.folder.join(format!(".{name}"));
            fs::write(&temporary, text)?;
            fs::rename(&temporary, self.folder.join(name))?;
        }
        Ok(())
    }

    /// Starts one process. It is not ready yet.
    ///
    /// # Errors
    ///
    /// It does not compile, or cannot be started.
    pub fn start(&self) -> Result<Replica> {
        self.start_at(free_port()?)
    }

    /// Starts one process on a port that is known before.
    ///
    /// # Errors
    ///
    /// As [`Webhook::start`].
    pub fn start_at(&self, port: u16) -> Result<Replica> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let metrics = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        let mut command = lasting(binary("cwii-webhook")?);
        command
            .arg(format!("--listen={address}"))
            .arg(format!("--metrics-listen={metrics}"))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(&self.arguments);
        if !self.shares_certificate {
            command
                .arg("--tls-cert-file")
                .arg(self.folder.join("tls.crt"))
                .arg("--tls-key-file")
                .arg(self.folder.join("tls.key"));
        }
        let log = self.folder.join(format!("{number}.log"));
        Ok(Replica {
            process: Process::start("cwii-webhook", command, &log)?,
            address,
            metrics: format!("http://{metrics}"),
        })
    }

    /// Starts one process, waits until it is ready, and registers it.
    ///
    /// # Errors
    ///
    /// It does not become ready, or the API server never asks it.
    pub async fn serve(&self, policy: FailurePolicy) -> Result<Replica> {
        let mut replica = self.start()?;
        replica.ready().await?;
        self.register(replica.address, policy).await?;
        self.is_asked().await?;
        Ok(replica)
    }

    /// Tells the API server to ask at an address.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn register(&self, address: SocketAddr, policy: FailurePolicy) -> Result<()> {
        let mut configuration = configuration(
            &self.name,
            "mutate.cwii.dev",
            address,
            &self.plane.authority.certificate,
            &self.label(),
            policy,
            self.side_effects,
        );
        if self.shares_certificate {
            configuration["webhooks"][0]["clientConfig"]["caBundle"] = Value::Null;
        }
        self.api.create(&configuration).await?;
        Ok(())
    }

    /// Changes whom the API server trusts to be the webhook, PEM.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn trust(&self, bundle: &str) -> Result<()> {
        let object = self.object();
        let mut configuration = self.api.get(&object).await?;
        configuration["webhooks"][0]["clientConfig"]["caBundle"] = base64(bundle).into();
        let patch = json!({ "webhooks": configuration["webhooks"] });
        self.api.merge(&object, "", &patch).await?;
        Ok(())
    }

    /// Waits until the API server knows the registration and the webhook answers: a pod that is never stored comes back
    /// injected.
    ///
    /// # Errors
    ///
    /// It does not, in time.
    pub async fn is_asked(&self) -> Result<()> {
        let namespace = self.probe_namespace().await?;
        let pod = probe_pod(&namespace, "arn:aws:iam::111122223333:role/probe");
        until("the API server asks the webhook", || async {
            let pod = self.api.create_with(&pod, "dryRun=All").await.ok()?;
            pod.pointer("/metadata/annotations/cwii.dev~1injected")
                .is_some()
                .then_some(())
        })
        .await
    }

    /// As [`Webhook::is_asked`], for one that may inject nothing: a pod that asks for too much draws a warning.
    ///
    /// # Errors
    ///
    /// It does not, in time.
    pub async fn is_registered(&self) -> Result<()> {
        let namespace = self.probe_namespace().await?;
        let mut pod = probe_pod(&namespace, "");
        pod["metadata"]["annotations"]["cwii.dev/no-such-key"] = "x".into();
        until("the API server asks the webhook", || async {
            let (_, warnings) = self.api.create_and_listen(&pod, "dryRun=All").await.ok()?;
            (!warnings.is_empty()).then_some(())
        })
        .await
    }

    /// Its MutatingWebhookConfiguration.
    #[must_use]
    pub fn object(&self) -> Object {
        Object::new(
            "admissionregistration.k8s.io/v1",
            "MutatingWebhookConfiguration",
            "",
            &self.name,
        )
    }

    async fn probe_namespace(&self) -> Result<String> {
        let namespace = format!("probe-{}", self.name);
        self.plane
            .namespace(&self.api, &namespace, self.label(), json!({}))
            .await?;
        Ok(namespace)
    }
}

impl Replica {
    /// Waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// It ends, or is not ready in time.
    pub async fn ready(&mut self) -> Result<()> {
        let http = http_client(None, None, Some(Duration::from_secs(5)))?;
        let url = self.probe();
        let ready = until("the webhook is ready", || async {
            let answer = http.get(&url).send().await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
        self.process.check()?;
        ready.with_context(|| self.process.log_tail())
    }

    /// Where its readiness is asked, as the kubelet does.
    #[must_use]
    pub fn probe(&self) -> String {
        format!("{}/readyz", self.metrics)
    }

    /// The sum of a metric's samples that have all of these labels, written as they are: `result="ok"`.
    ///
    /// # Errors
    ///
    /// It does not answer.
    pub async fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let http = http_client(None, None, Some(Duration::from_secs(5)))?;
        let url = format!("{}/metrics", self.metrics);
        let text = http.get(url).send().await?.text().await?;
        Ok(metric(&text, name, labels))
    }
}

/// The sum of a metric's samples in the Prometheus text format that have all of these labels.
#[must_use]
pub fn metric(text: &str, name: &str, labels: &[&str]) -> f64 {
    text.lines()
        .filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let rest = series.strip_prefix(name)?;
            let complete = rest.is_empty() || rest.starts_with('{');
            (complete && labels.iter().all(|l| rest.contains(l)))
                .then(|| value.parse::<f64>().ok())
                .flatten()
        })
        .sum()
}

/// A MutatingWebhookConfiguration for pods.
pub(crate) fn configuration(
    name: &str,
    webhook: &str,
    address: SocketAddr,
    ca: &str,
    namespaces: &Value,
    policy: FailurePolicy,
    side_effects: &str,
) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": name },
        "webhooks": [{
            "name": webhook,
            "clientConfig": {
                "url": format!("https://{address}/mutate"),
                "caBundle": base64(ca),
            },
            "rules": [{
                "operations": ["CREATE"],
                "apiGroups": [""],
                "apiVersions": ["v1"],
                "resources": ["pods"],
                "scope": "Namespaced",
            }],
            "matchPolicy": "Equivalent",
            "namespaceSelector": { "matchLabels": namespaces },
            "failurePolicy": format!("{policy:?}"),
            "reinvocationPolicy": "IfNeeded",
            "sideEffects": side_effects,
            "admissionReviewVersions": ["v1"],
            "timeoutSeconds": 10,
        }],
    })
}

fn probe_pod(namespace: &str, role: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": "probe", "namespace": namespace, "annotations": {
            "cwii.dev/aws-role-arn": role,
        } },
        "spec": { "containers": [{ "name": "app", "image": "app" }] },
    })
}

/// A ServiceAccount with what the webhook needs and not more, and a token of it.
async fn grant(api: &Api, name: &str) -> Result<String> {
    api.ensure(&json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SYSTEM },
    }))
    .await?;
    api.create(&json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": { "name": name, "namespace": SYSTEM },
    }))
    .await?;
    let watched = ["get", "list", "watch"];
    let rules = json!([
        {
            "apiGroups": [""],
            "resources": ["namespaces", "serviceaccounts", "replicationcontrollers"],
            "verbs": watched,
        },
        {
            "apiGroups": ["apps"],
            "resources": ["deployments", "statefulsets", "daemonsets"],
            "verbs": watched,
        },
        { "apiGroups": ["apps"], "resources": ["replicasets"], "verbs": ["get"] },
        { "apiGroups": ["batch"], "resources": ["jobs", "cronjobs"], "verbs": watched },
    ]);
    allow(api, "cwii-webhook", &rules, name).await?;
    let account = Object::new("v1", "ServiceAccount", SYSTEM, name);
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": { "audiences": [], "expirationSeconds": 7200 },
    });
    let answer = api.post(&account, "token", &request).await?;
    answer["status"]["token"]
        .as_str()
        .map(str::to_owned)
        .context("TokenRequest answers without a token")
}

/// Binds a role to a webhook's ServiceAccount.
async fn allow(api: &Api, role: &str, rules: &Value, account: &str) -> Result<()> {
    api.ensure(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": { "name": role },
        "rules": rules,
    }))
    .await?;
    api.create(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": { "name": format!("{role}-{account}") },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role },
        "subjects": [{ "kind": "ServiceAccount", "name": account, "namespace": SYSTEM }],
    }))
    .await?;
    Ok(())
}

const LABEL: &str = "cwii-e2e";
const SYSTEM: &str = "cwii-system";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_metric_are_summed_by_their_labels() {
        let text = "# TYPE a counter\na{x=\"1\",y=\"2\"} 3\na{x=\"2\"} 4\nab{x=\"1\"} 5\nc 6\n";
        assert_eq!(metric(text, "a", &[]), 7.0);
        assert_eq!(metric(text, "a", &["x=\"1\""]), 3.0);
        assert_eq!(metric(text, "c", &[]), 6.0);
    }
}
