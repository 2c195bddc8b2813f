//! etcd, kube-apiserver and, where there is one, kube-controller-manager: the real ones, one set for all tests of a
//! process.
//!
//! The ServiceAccount issuer is a cluster of the lab: the API server signs with a key of its own, and what it publishes
//! lies at the lab's issuer, where the emulated clouds fetch it. So a token that TokenRequest mints is accepted or
//! refused by them on its own merits. That is how operators of a cluster without a public API server do it, too.

use std::{
    collections::BTreeSet,
    env, fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock, PoisonError},
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::{
    api::{Api, Object, until},
    clouds::Clouds,
    network::{API_SERVER, KUBELET_PORT, NODE_ADDRESS, Network},
    pki::{self, Authority, Identity},
    process::{self, Process, lasting},
};

/// A running control plane.
pub struct ControlPlane {
    /// Folder for the files of tests; gone with the process.
    pub dir: PathBuf,
    /// `https://127.0.0.1:PORT`.
    pub url: String,
    /// Signs the certificates of API server, webhooks and clients.
    pub authority: Authority,
    /// The emulated clouds.
    pub clouds: Clouds,
    network: Option<Network>,
    admin: Identity,
    kubectl: Option<PathBuf>,
    has_controllers: bool,
    // They run for as long as this process: nobody drops a static.
    _processes: Vec<Process>,
}

/// The control plane of this process, started when first asked for.
///
/// None where its binaries are absent, after saying so once on standard error. With `CWII_REQUIRE_CONTROL_PLANE` set
/// that is a failure instead.
///
/// # Panics
///
/// It cannot be started, or it is required and not there.
pub async fn control_plane() -> Option<&'static ControlPlane> {
    static SHARED: OnceCell<Option<ControlPlane>> = OnceCell::const_new();
    the_one(&SHARED, false).await
}

/// A second control plane, for tests that install the webhook as a cluster has it: for all namespaces. Nobody else's
/// pods are there. Its Services lead to the pods that a [`crate::Node`] runs.
///
/// # Panics
///
/// As [`control_plane`].
pub async fn control_plane_to_install_on() -> Option<&'static ControlPlane> {
    static OWN: OnceCell<Option<ControlPlane>> = OnceCell::const_new();
    the_one(&OWN, true).await
}

async fn the_one(
    cell: &'static OnceCell<Option<ControlPlane>>,
    has_network: bool,
) -> Option<&'static ControlPlane> {
    cell.get_or_init(|| async {
        let binaries = match Binaries::find() {
            Ok(binaries) => binaries,
            Err(missing) => {
                skip(&missing);
                return None;
            }
        };
        let started = ControlPlane::start(&binaries, has_network).await;
        #[expect(clippy::panic, reason = "the tests of this process cannot go on")]
        Some(started.unwrap_or_else(|error| panic!("no control plane: {error:#}")))
    })
    .await
    .as_ref()
}

/// Says why tests are skipped, once.
///
/// # Panics
///
/// `CWII_REQUIRE_CONTROL_PLANE` is set.
pub fn skip(why: &str) {
    skip_unless_required("CWII_REQUIRE_CONTROL_PLANE", why);
}

/// Says why tests are skipped, once.
///
/// # Panics
///
/// The variable is set, which requires what is missing.
pub fn skip_unless_required(variable: &str, why: &str) {
    assert!(
        env::var_os(variable).is_none_or(|v| v.is_empty()),
        "{variable} is set, and {why}"
    );
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(why.to_owned()) {
        say(&format!("skipped: {why}"));
    }
}

/// Prints a line on standard error, past the capture that hides what passing tests print.
pub fn say(line: &str) {
    // Nobody may be listening.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// The binaries, as `setup-envtest` and .ci/run lay them.
struct Binaries {
    etcd: PathBuf,
    kube_apiserver: PathBuf,
    /// Only from our own build.
    kube_controller_manager: Option<PathBuf>,
    kubectl: Option<PathBuf>,
}

impl Binaries {
    fn find() -> Result<Self, String> {
        let folder = env::var_os("KUBEBUILDER_ASSETS")
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
            .ok_or(
                "KUBEBUILDER_ASSETS is not set, which names the folder of etcd and kube-apiserver",
            )?;
        let optional = |name: &str| Some(folder.join(name)).filter(|p| p.is_file());
        let required = |name: &str| {
            optional(name).ok_or(format!(
                "KUBEBUILDER_ASSETS names {}, which has no {name}",
                folder.display()
            ))
        };
        Ok(Self {
            etcd: required("etcd")?,
            kube_apiserver: required("kube-apiserver")?,
            kube_controller_manager: optional("kube-controller-manager"),
            kubectl: optional("kubectl"),
        })
    }
}

impl ControlPlane {
    async fn start(binaries: &Binaries, has_network: bool) -> Result<Self> {
        let dir = process::scratch()?;
        let authority = Authority::generate("cwii e2e throw-away CA")?;
        let admin = authority.client("admin", "system:masters")?;
        let clouds = Clouds::start(&dir)?;
        fs::write(dir.join("ca.crt"), &authority.certificate)?;
        fs::write(dir.join("service-accounts.key"), pki::signing_key()?)?;
        let [etcd_port, peer_port, port] = free_ports()?;
        let url = format!("https://127.0.0.1:{port}");
        let etcd_url = format!("http://127.0.0.1:{etcd_port}");

        let network = has_network.then(|| Network::new(&dir)).transpose()?;
        let mut processes = vec![start_etcd(binaries, &dir, &etcd_url, peer_port)?];
        let issuer = clouds.issuer();
        let mut server = api_server(binaries, &dir, &authority, &etcd_url, port, &issuer)?;
        if let Some(network) = &network {
            server
                .arg("--egress-selector-config-file")
                .arg(network.egress_configuration()?)
                .arg("--admission-control-config-file")
                .arg(restrict_pods(&dir)?);
        }
        let log = dir.join("kube-apiserver.log");
        processes.push(Process::start("kube-apiserver", server, &log)?);
        let mut plane = Self {
            kubectl: binaries.kubectl.clone(),
            has_controllers: binaries.kube_controller_manager.is_some(),
            dir,
            url,
            authority,
            clouds,
            network,
            admin,
            _processes: Vec::new(),
        };
        let api = plane.api()?;
        if let Some(network) = &plane.network {
            let (url, ca) = (plane.url.clone(), plane.authority.certificate.clone());
            let admin = plane.admin.clone();
            network.start(&plane.url, move || Api::new(&url, &ca, Some(&admin)))?;
        }
        plane.write_kubeconfig(
            "admin",
            &plane.url,
            &json!({
                "client-certificate-data": base64(&plane.admin.certificate),
                "client-key-data": base64(&plane.admin.key),
            }),
        )?;
        for path in ["/readyz", "/api/v1/namespaces/default"] {
            until(path, || async { api.text(path).await.ok() })
                .await
                .with_context(|| processes[0].log_tail())
                .with_context(|| processes[1].log_tail())?;
        }
        if let Some(binary) = &binaries.kube_controller_manager {
            processes.push(start_controller_manager(binary, &plane.dir)?);
        }
        plane.clouds.publish(
            serde_json::from_str(&api.text("/.well-known/openid-configuration").await?)?,
            serde_json::from_str(&api.text("/openid/v1/jwks").await?)?,
        );
        register_node(&api).await?;
        for process in &mut processes {
            process.check()?;
        }
        plane._processes = processes;
        Ok(plane)
    }

    /// A client with every right, for the event loop of the caller.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn api(&self) -> Result<Api> {
        Api::new(&self.url, &self.authority.certificate, Some(&self.admin))
    }

    /// What pods are reached through; none where only their init containers are run.
    pub(crate) fn network(&self) -> Option<&Network> {
        self.network.as_ref()
    }

    /// The kubeconfig of the client with every right.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("admin.kubeconfig")
    }

    /// Writes a kubeconfig for a user, which reaches the API server at a URL of its own.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_kubeconfig(&self, name: &str, url: &str, user: &Value) -> Result<PathBuf> {
        let path = self.dir.join(format!("{name}.kubeconfig"));
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "e2e", "cluster": {
                "server": url,
                "certificate-authority-data": base64(&self.authority.certificate),
            } }],
            "users": [{ "name": name, "user": user }],
            "contexts": [{ "name": "e2e", "context": { "cluster": "e2e", "user": name } }],
            "current-context": "e2e",
        });
        // JSON is YAML.
        fs::write(&path, config.to_string())?;
        Ok(path)
    }

    /// Whether controllers make pods of workloads. Where they do not, it says so for the test that needs them.
    #[must_use]
    pub fn has_controllers(&self) -> bool {
        if !self.has_controllers {
            skip(
                "KUBEBUILDER_ASSETS has no kube-controller-manager, which makes pods of Deployments",
            );
        }
        self.has_controllers
    }

    /// The real kubectl as a person with every right; none where there is no such binary, after saying so.
    #[must_use]
    pub fn kubectl(&self) -> Option<tokio::process::Command> {
        let Some(binary) = &self.kubectl else {
            skip("KUBEBUILDER_ASSETS has no kubectl");
            return None;
        };
        let mut command = tokio::process::Command::new(binary);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &self.dir)
            .kill_on_drop(true);
        Some(command)
    }

    /// The real Helm as a person with every right: what `CWII_HELM` names, else the one on the `PATH`; none where there is
    /// none, after saying so once.
    ///
    /// # Panics
    ///
    /// There is none, and `CWII_REQUIRE_HELM` is set.
    #[must_use]
    pub fn helm(&self) -> Option<tokio::process::Command> {
        let named = env::var_os("CWII_HELM").filter(|v| !v.is_empty());
        let binary = named.map(PathBuf::from).or_else(|| {
            let path = env::var_os("PATH")?;
            env::split_paths(&path)
                .map(|folder| folder.join("helm"))
                .find(|file| file.is_file())
        });
        let Some(binary) = binary else {
            skip_unless_required(
                "CWII_REQUIRE_HELM",
                "there is no helm, neither as CWII_HELM nor on the PATH, to install the chart with",
            );
            return None;
        };
        let mut command = tokio::process::Command::new(binary);
        command
            .env("KUBECONFIG", self.kubeconfig())
            .env("HOME", &self.dir)
            .kill_on_drop(true);
        for variable in ["XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env_remove(variable);
        }
        Some(command)
    }

    /// Makes a namespace with the ServiceAccount that every namespace has.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn namespace(
        &self,
        api: &Api,
        name: &str,
        labels: Value,
        annotations: Value,
    ) -> Result<()> {
        api.create(&json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": { "name": name, "labels": labels, "annotations": annotations },
        }))
        .await?;
        // Controllers make both a little later, where there are controllers. Pods that have a ServiceAccount's token
        // mounted get the second, too.
        api.ensure(&json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": { "name": "default", "namespace": name },
        }))
        .await?;
        api.ensure(&json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": { "name": "kube-root-ca.crt", "namespace": name },
            "data": { "ca.crt": self.authority.certificate },
        }))
        .await?;
        Ok(())
    }

    /// Gives a namespace a ResourceQuota that counts requests and limits, so that a pod without them is refused.
    ///
    /// # Errors
    ///
    /// The API server's.
    pub async fn quota(&self, api: &Api, namespace: &str) -> Result<()> {
        let hard = json!({
            "pods": "10",
            "requests.cpu": "10",
            "requests.memory": "10Gi",
            "limits.cpu": "20",
            "limits.memory": "20Gi",
        });
        api.create(&json!({
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": { "name": "quota", "namespace": namespace },
            "spec": { "hard": hard },
        }))
        .await?;
        let object = Object::new("v1", "ResourceQuota", namespace, "quota");
        if !self.has_controllers {
            // Nobody else says that nothing is used yet, and until then nothing is admitted.
            let used = json!({
                "pods": "0", "requests.cpu": "0", "requests.memory": "0", "limits.cpu": "0", "limits.memory": "0",
            });
            let status = json!({ "status": { "hard": hard, "used": used } });
            api.merge(&object, "status", &status).await?;
        }
        api.wait_for(&object, "counted", |q| q["status"]["used"].is_object())
            .await?;
        Ok(())
    }
}

fn start_etcd(binaries: &Binaries, dir: &Path, url: &str, peer_port: u16) -> Result<Process> {
    let peer = format!("http://127.0.0.1:{peer_port}");
    let mut etcd = lasting(&binaries.etcd);
    etcd.arg("--data-dir")
        .arg(dir.join("etcd"))
        .arg("--unsafe-no-fsync")
        .arg(format!("--listen-client-urls={url}"))
        .arg(format!("--advertise-client-urls={url}"))
        .arg(format!("--listen-peer-urls={peer}"))
        .arg(format!("--initial-advertise-peer-urls={peer}"))
        .arg(format!("--initial-cluster=default={peer}"))
        .args(["--log-level", "warn"]);
    Process::start("etcd", etcd, &dir.join("etcd.log"))
}

fn api_server(
    binaries: &Binaries,
    dir: &Path,
    authority: &Authority,
    etcd: &str,
    port: u16,
    issuer: &str,
) -> Result<Command> {
    let (certificate, key) = authority
        .server(&["kubernetes.default.svc", API_SERVER])?
        .write(dir, "api-server")?;
    let tokens = dir.join("service-accounts.key");
    let mut server = lasting(&binaries.kube_apiserver);
    let mut flag = |name: &str, value: &dyn AsRef<Path>| {
        let mut text = std::ffi::OsString::from(format!("--{name}="));
        text.push(value.as_ref());
        server.arg(text);
    };
    flag("etcd-servers", &etcd);
    flag("bind-address", &"127.0.0.1");
    flag("advertise-address", &"127.0.0.1");
    // A Service that leads to loopback is refused, and nobody needs it here.
    flag("endpoint-reconciler-type", &"none");
    flag("secure-port", &port.to_string());
    flag("tls-cert-file", &certificate);
    flag("tls-private-key-file", &key);
    flag("client-ca-file", &dir.join("ca.crt"));
    flag("service-cluster-ip-range", &"10.0.0.0/24");
    flag("authorization-mode", &"RBAC");
    // For the pod with hostNetwork; Pod Security admission decides by namespace.
    flag("allow-privileged", &"true");
    flag("service-account-issuer", &issuer);
    flag(
        "service-account-jwks-uri",
        &format!("{issuer}/openid/v1/jwks"),
    );
    flag("service-account-signing-key-file", &tokens);
    flag("service-account-key-file", &tokens);
    flag("api-audiences", &"https://kubernetes.default.svc");
    flag("profiling", &"false");
    Ok(server)
}

/// Every namespace enforces the Pod Security level `restricted`, as strict clusters have it. The file that says so.
fn restrict_pods(dir: &Path) -> Result<PathBuf> {
    let path = dir.join("admission.json");
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{ "name": "PodSecurity", "configuration": {
            "apiVersion": "pod-security.admission.config.k8s.io/v1",
            "kind": "PodSecurityConfiguration",
            "defaults": { "enforce": "restricted", "enforce-version": "latest" },
        } }],
    });
    fs::write(&path, configuration.to_string())?;
    Ok(path)
}

fn start_controller_manager(binary: &Path, dir: &Path) -> Result<Process> {
    let mut manager = lasting(binary);
    manager
        .arg("--kubeconfig")
        .arg(dir.join("admin.kubeconfig"))
        .arg("--root-ca-file")
        .arg(dir.join("ca.crt"))
        .arg(format!("--controllers={}", CONTROLLERS.join(",")))
        .args([
            "--leader-elect=false",
            "--secure-port=0",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
        ]);
    let log = dir.join("kube-controller-manager.log");
    Process::start("kube-controller-manager", manager, &log)
}

/// A node for the pods that the runner takes.
async fn register_node(api: &Api) -> Result<()> {
    let node = Object::new("v1", "Node", "", NODE);
    api.create(&json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": { "name": NODE, "labels": { "kubernetes.io/os": "linux", "kubernetes.io/hostname": NODE } },
    }))
    .await?;
    // Admission makes every new node one that is not ready, until its kubelet says otherwise.
    api.merge(&node, "", &json!({ "spec": { "taints": null } }))
        .await?;
    let room = json!({ "cpu": "64", "memory": "256Gi", "pods": "1000" });
    api.merge(
        &node,
        "status",
        &json!({ "status": {
            "addresses": [{ "type": "InternalIP", "address": NODE_ADDRESS }],
            "daemonEndpoints": { "kubeletEndpoint": { "Port": KUBELET_PORT } },
            "capacity": room,
            "allocatable": room,
            "conditions": [{ "type": "Ready", "status": "True", "reason": "KubeletReady" }],
        } }),
    )
    .await?;
    Ok(())
}

/// Ports on loopback that are free now. Another program could take one before it is used; then the start fails, loudly.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    // All at once, so that they differ.
    let listeners = [(); N].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
    let mut ports = [0; N];
    for (port, listener) in ports.iter_mut().zip(listeners) {
        *port = listener?.local_addr()?.port();
    }
    Ok(ports)
}

/// A free port on loopback.
///
/// # Errors
///
/// There is none.
pub fn free_port() -> Result<u16> {
    free_ports().map(|[port]| port)
}

/// Standard base64, as kubeconfigs and webhook configurations hold certificates.
#[must_use]
pub fn base64(text: &str) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.encode(text)
}

/// A binary of this workspace: from the folder that `CWII_E2E_BINARIES` names, for instance a release's, or built, once,
/// as `cargo test` builds it.
///
/// # Errors
///
/// It does not compile.
pub fn binary(name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<Vec<(String, PathBuf)>, String>> = OnceLock::new();
    if let Some(folder) = env::var_os("CWII_E2E_BINARIES").filter(|v| !v.is_empty()) {
        return Ok(Path::new(&folder).join(name));
    }
    match BUILT.get_or_init(|| build().map_err(|e| format!("{e:#}"))) {
        Ok(all) => all
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, path)| path.clone())
            .with_context(|| format!("cargo built no `{name}`")),
        Err(error) => bail!("{error}"),
    }
}

fn build() -> Result<Vec<(String, PathBuf)>> {
    let messages = process::output(
        Command::new(env!("CARGO"))
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .args([
                "build",
                "--quiet",
                "--message-format=json-render-diagnostics",
            ])
            .args([
                "-p",
                "cwii-agent",
                "-p",
                "cwii-webhook",
                "-p",
                "kubectl-cwii",
                "--bins",
            ]),
    )?;
    let mut built = Vec::new();
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line)?;
        if let (Some(name), Some(path)) = (
            message["target"]["name"].as_str(),
            message["executable"].as_str(),
        ) {
            built.push((name.to_owned(), path.into()));
        }
    }
    Ok(built)
}

/// The one node.
pub const NODE: &str = "node-1";

/// What makes pods, what has to be there for them, and what says where they are. Not those that act on nodes without a
/// kubelet.
const CONTROLLERS: [&str; 14] = [
    "cronjob-controller",
    "daemonset-controller",
    "deployment-controller",
    "disruption-controller",
    "endpointslice-controller",
    "garbage-collector-controller",
    "job-controller",
    "namespace-controller",
    "replicaset-controller",
    "replicationcontroller-controller",
    "resourcequota-controller",
    "root-ca-certificate-publisher-controller",
    "serviceaccount-controller",
    "statefulset-controller",
];
