//! Starting, holding and ending one lab.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use cwii_contract::env;
use jiff::Timestamp;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{runtime::Handle, sync::oneshot};

use crate::{
    Connection, RecordedRequest, Row, Scenario, aws, case,
    case::{Case, Mechanism, Workload},
    documents::{Document, Names, Store, write_atomically},
    entra,
    fault::{Fault, FaultKind, Faults, ForcedAnswer, Service},
    gke, google, issuer,
    issuer::TokenSpec,
    jwks::Fetcher,
    keys::{KeyName, Keys},
    pod_identity, scenarios,
    server::{self, Door, Received, Records, Reply, lock},
    tls::Tls,
};

/// A clock: what time it is for the lab.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// How to start a lab.
#[derive(Clone, Default)]
pub struct Options {
    /// Where the documents go. They are written anew (ports differ from run to run); other files stay, and so does the
    /// folder when the lab ends. None: a temporary folder, which goes with the lab.
    pub dir: Option<PathBuf>,
    /// The lab's clock; none: the system's.
    pub clock: Option<Clock>,
    /// Keys of another lab, see [`Lab::keys`]; none: its own.
    pub keys: Option<Keys>,
    /// Names that the servers' certificate is valid for beside those of loopback, `*.example.test` for instance: for
    /// clients that reach the lab under a name of their own.
    pub extra_names: Vec<String>,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("dir", &self.dir)
            .field("extra_names", &self.extra_names)
            .finish_non_exhaustive()
    }
}

/// Where the servers listen. URLs without a slash at the end, on `localhost` for TLS and `127.0.0.1` otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoints {
    /// Issuer; a cluster's is `{issuer}/{cluster}`.
    pub issuer: String,
    /// AWS STS.
    pub sts: String,
    /// Google STS; the token endpoint is `{google_sts}/v1/token`.
    pub google_sts: String,
    /// Google IAM credentials.
    pub google_iam: String,
    /// Entra.
    pub entra: String,
    /// EKS Pod Identity agent; credentials are at `{pod_identity}/v1/credentials`.
    pub pod_identity: String,
    /// Where redirects lead.
    pub trap: String,
}

/// A lab. It runs on a thread of its own, so that it answers while the caller waits for a child process; it ends when it
/// is dropped, and takes its files with it.
pub struct Lab {
    state: Arc<State>,
    running: Option<Running>,
    // Declared after what uses the folder: fields are dropped in order.
    _temporary: Option<TempDir>,
}

struct Running {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// Why a lab cannot do what it was asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LabError {
    /// No port on loopback.
    #[error("cannot listen on loopback: {0}")]
    Bind(#[source] std::io::Error),
    /// No thread or no event loop.
    #[error("cannot start: {0}")]
    Start(#[source] std::io::Error),
    /// A file or folder of the lab.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        #[source]
        source: std::io::Error,
    },
    /// A document of the lab.
    #[error("{}: {problem}", path.display())]
    Document {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A certificate.
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// TLS.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A signing key.
    #[error("cannot make or use a signing key: {0}")]
    Key(String),
    /// The client by which the emulated clouds fetch keys.
    #[error("cannot set up the client that fetches keys: {0}")]
    Client(String),
}

/// What all servers of one lab share.
pub(crate) struct State {
    clock: Clock,
    dir: PathBuf,
    handle: Handle,
    endpoints: OnceLock<Endpoints>,
    thumbprint: String,
    faults: Mutex<BTreeMap<Service, Faults>>,
    cases: Mutex<BTreeMap<&'static str, Registered>>,
    metadata_ports: Mutex<BTreeMap<String, u16>>,
    secrets: Mutex<Vec<String>>,
    pub(crate) tls: Tls,
    pub(crate) keys: Keys,
    pub(crate) store: Store,
    pub(crate) fetcher: Fetcher,
    pub(crate) records: Records,
    pub(crate) aws: aws::Issued,
    pub(crate) google: google::Issued,
}

/// A case whose documents are written.
struct Registered {
    case: Case,
    names: Names,
    /// When its token was last written; none before it was laid out.
    written: Option<Instant>,
}

impl Lab {
    /// Starts the servers and writes the documents of all scenarios.
    ///
    /// # Errors
    ///
    /// No port on loopback, or the folder cannot be written.
    pub fn start(options: Options) -> Result<Self, LabError> {
        let (dir, temporary) = match options.dir {
            Some(dir) => {
                let made = std::fs::create_dir_all(&dir);
                // Absolute: the environment of a workload is used from anywhere.
                let dir = made
                    .and_then(|()| std::path::absolute(&dir))
                    .map_err(|source| LabError::File { path: dir, source })?;
                (dir, None)
            }
            None => {
                let temporary = tempfile::Builder::new()
                    .prefix("cwii-lab-")
                    .tempdir()
                    .map_err(|source| LabError::File {
                        path: std::env::temp_dir(),
                        source,
                    })?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        let tls = Tls::generate(&options.extra_names)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(LabError::Start)?;
        let state = Arc::new(State {
            clock: options.clock.unwrap_or_else(|| Arc::new(Timestamp::now)),
            handle: runtime.handle().clone(),
            endpoints: OnceLock::new(),
            thumbprint: tls.thumbprint(),
            faults: Mutex::default(),
            cases: Mutex::default(),
            metadata_ports: Mutex::default(),
            secrets: Mutex::default(),
            keys: options.keys.unwrap_or_default(),
            store: Store::new(dir.clone()),
            fetcher: Fetcher::new(tls.client_config()?)?,
            records: Records::default(),
            aws: aws::Issued::default(),
            google: google::Issued::default(),
            tls,
            dir,
        });
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("cwii-lab".to_owned())
            .spawn(move || {
                // Either a word or the sender's end; when the loop is dropped, so is every task and socket.
                let _ = runtime.block_on(stopped);
            })
            .map_err(LabError::Start)?;
        let lab = Self {
            state,
            running: Some(Running { stop, thread }),
            _temporary: temporary,
        };
        lab.open()?;
        Ok(lab)
    }

    fn open(&self) -> Result<(), LabError> {
        let state = &self.state;
        let open = |service: Service| -> Result<String, LabError> {
            let port = state.listen(Door { service, pod: None })?;
            Ok(if service.is_tls() {
                format!("https://localhost:{port}")
            } else {
                format!("http://127.0.0.1:{port}")
            })
        };
        let endpoints = Endpoints {
            issuer: open(Service::Issuer)?,
            sts: open(Service::AwsSts)?,
            google_sts: open(Service::GoogleSts)?,
            google_iam: open(Service::GoogleIam)?,
            entra: open(Service::Entra)?,
            pod_identity: open(Service::PodIdentity)?,
            trap: open(Service::Trap)?,
        };
        // Set once, here.
        let _ = state.endpoints.set(endpoints);
        write_atomically(&state.ca_file(), state.tls.ca_pem.as_bytes())?;
        state
            .store
            .write(case::OTHER_CA, state.tls.other_ca_pem.as_bytes())?;
        state.store.write("README.txt", README.as_bytes())?;
        state.store.write_json(entra::TENANTS, &entra::tenants())?;
        for scenario in scenarios() {
            state.register(&scenario.case)?;
        }
        state.handle.spawn(renew(Arc::clone(state)));
        Ok(())
    }

    /// Where the servers listen.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        self.state.endpoints()
    }

    /// The certificate of the throw-away authority, PEM.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.state.ca_file()
    }

    /// The folder with the documents.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.state.dir
    }

    /// Now, by the lab's clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.state.now()
    }

    /// The keys of this lab, for another to use.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.state.keys.clone()
    }

    /// Mints a token.
    ///
    /// # Errors
    ///
    /// A key cannot be made.
    pub fn mint(&self, spec: &TokenSpec) -> Result<String, LabError> {
        issuer::mint(&self.state, spec)
    }

    /// A public key as a key set holds it.
    ///
    /// # Errors
    ///
    /// The key cannot be made.
    pub fn jwk(&self, name: KeyName) -> Result<Value, LabError> {
        Ok(self.state.keys.key(name)?.jwk.clone())
    }

    /// The token that a case's workload would carry.
    #[must_use]
    pub fn token_spec(&self, case: &Case) -> TokenSpec {
        case::token_spec(case, &self.state.names_of(case))
    }

    /// Lays out a scenario's workload. Its documents were written when the lab started and are left as they are now.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn workload(&self, scenario: &Scenario) -> Result<Workload, LabError> {
        self.lay_out(&scenario.case)
    }

    /// Lays out the workload that provokes an error row; none where no exchange can.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn provoke(&self, row: &Row) -> Result<Option<Workload>, LabError> {
        row.case().map(|case| self.lay_out(case)).transpose()
    }

    /// Lays out a workload: a fresh token, credentials and environment; its documents too, unless they were written
    /// before. The lab renews the token as the kubelet would, unless the case breaks it.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn lay_out(&self, case: &Case) -> Result<Workload, LabError> {
        let names = self.state.register(case)?;
        let workload = case::lay_out(&self.state, case, names)?;
        if let Some(registered) = lock(&self.state.cases).get_mut(case.name) {
            // The same documents may get another token, or another file.
            registered.case = case.clone();
            registered.written = Some(Instant::now());
        }
        Ok(workload)
    }

    /// Edits a document of a case, as a person with an editor would.
    ///
    /// # Errors
    ///
    /// There is no such document, it is not JSON, or it cannot be written.
    pub fn edit(
        &self,
        case: &Case,
        document: Document,
        edit: impl FnOnce(&mut Value),
    ) -> Result<(), LabError> {
        let path = document.path(&self.state.names_of(case));
        let wrong = |problem: String| LabError::Document {
            path: path.clone().into(),
            problem,
        };
        let current = self.state.store.document(&path).map_err(wrong)?;
        let mut value = current.as_deref().cloned().unwrap_or(Value::Null);
        edit(&mut value);
        self.state.store.write_json(&path, &value)
    }

    /// Where a document of a case lies.
    #[must_use]
    pub fn document_file(&self, case: &Case, document: Document) -> PathBuf {
        let path = document.path(&self.state.names_of(case));
        self.state.store.absolute(&path)
    }

    /// Sets a fault; one of the same kind is replaced.
    pub fn set_fault(&self, service: Service, fault: impl Into<Fault>) {
        lock(&self.state.faults)
            .entry(service)
            .or_default()
            .set(fault.into());
    }

    /// Ends all faults of one service. Connections that hang already go on hanging.
    pub fn clear_fault(&self, service: Service) {
        lock(&self.state.faults).entry(service).or_default().clear();
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        lock(&self.state.faults).clear();
    }

    /// Makes the emulated clouds forget every key that they fetched.
    pub fn forget_keys(&self) {
        self.state.fetcher.forget();
    }

    /// Everything that was received, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<RecordedRequest> {
        self.state.records.requests()
    }

    /// How many connections clients opened to a service. Those of the emulated clouds, for keys, do not count.
    #[must_use]
    pub fn connections(&self, service: Service) -> usize {
        self.connection_details()
            .iter()
            .filter(|c| c.service == service && !c.internal)
            .count()
    }

    /// Every connection, with bytes and round trips.
    #[must_use]
    pub fn connection_details(&self) -> Vec<Connection> {
        self.state.records.connections()
    }

    /// Every secret that was made in this lab so far: signatures of tokens, secret access keys, session tokens, access
    /// tokens. For tests that search outputs for them.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        lock(&self.state.secrets).clone()
    }

    /// Variables that point the official SDKs of all three clouds at the lab, each as a workload that works.
    ///
    /// # Errors
    ///
    /// A file cannot be written.
    pub fn exports(&self) -> Result<BTreeMap<String, String>, LabError> {
        let mut all = BTreeMap::new();
        let mut allowed = Vec::new();
        for mechanism in [
            Mechanism::GoogleImpersonated,
            Mechanism::EntraFederated,
            Mechanism::AwsWebIdentity,
        ] {
            let healthy = scenarios()
                .iter()
                .find(|s| s.case.mechanism == mechanism && s.is_healthy());
            if let Some(scenario) = healthy {
                let workload = self.workload(scenario)?;
                all.extend(workload.env);
                allowed.extend(workload.allow_endpoints);
            }
        }
        // So that the agent follows them too.
        all.insert(env::CWII_ALLOW_ENDPOINT.to_owned(), allowed.join(","));
        Ok(all)
    }

    /// Ends the lab and waits until its thread has ended. Dropping it does the same.
    pub async fn shutdown(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            let _ = running.stop.send(());
            let _ = running.thread.join();
            // Tokens of a folder that stays would outlive the keys that signed them, and be litter.
            let _ = std::fs::remove_dir_all(self.state.dir.join("workloads"));
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.end();
    }
}

impl fmt::Debug for Lab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab")
            .field("dir", &self.state.dir)
            .field("endpoints", &self.state.endpoints)
            .finish_non_exhaustive()
    }
}

impl State {
    pub(crate) fn now(&self) -> Timestamp {
        (self.clock)()
    }

    pub(crate) fn endpoints(&self) -> &Endpoints {
        // Set before the first request can arrive: clients learn the ports from it.
        self.endpoints.get_or_init(|| Endpoints {
            issuer: String::new(),
            sts: String::new(),
            google_sts: String::new(),
            google_iam: String::new(),
            entra: String::new(),
            pod_identity: String::new(),
            trap: String::new(),
        })
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    /// SHA-1 of the authority's certificate.
    pub(crate) fn thumbprint(&self) -> &str {
        &self.thumbprint
    }

    pub(crate) fn keep_secret(&self, secret: &str) {
        lock(&self.secrets).push(secret.to_owned());
    }

    pub(crate) fn strike(&self, service: Service, of_connection: bool) -> Vec<FaultKind> {
        lock(&self.faults)
            .get_mut(&service)
            .map(|faults| faults.strike(of_connection))
            .unwrap_or_default()
    }

    /// The names of a cluster; of one that no case has, just its issuer.
    pub(crate) fn names(&self, cluster: &str) -> Names {
        if let Some(registered) = lock(&self.cases).get(cluster) {
            return registered.names.clone();
        }
        let issuer = format!("{}/{cluster}", self.endpoints().issuer);
        Names::new([
            ("CASE", cluster.to_owned()),
            ("CLUSTER", cluster.to_owned()),
            (
                "ISSUER_HOST",
                issuer.trim_start_matches("https://").to_owned(),
            ),
            ("ISSUER_BASE", issuer.clone()),
            ("ISSUER", issuer),
        ])
    }

    /// The case whose cluster has this issuer.
    pub(crate) fn cluster_of(&self, issuer: &str) -> Option<Names> {
        lock(&self.cases)
            .values()
            .find(|r| r.names.issuer() == issuer)
            .map(|r| r.names.clone())
    }

    fn names_of(&self, case: &Case) -> Names {
        case::names(case, self.endpoints(), &self.thumbprint)
    }

    /// Writes the documents of a case unless they were written before.
    fn register(&self, case: &Case) -> Result<Names, LabError> {
        let names = self.names_of(case);
        if lock(&self.cases).contains_key(case.name) {
            return Ok(names);
        }
        case::write_documents(self, case, &names)?;
        lock(&self.cases).insert(
            case.name,
            Registered {
                case: case.clone(),
                names: names.clone(),
                written: None,
            },
        );
        Ok(names)
    }

    /// The port of the metadata server that a case's pod sees.
    pub(crate) fn metadata_port(self: &Arc<Self>, pod: &str) -> Result<u16, LabError> {
        if let Some(port) = lock(&self.metadata_ports).get(pod) {
            return Ok(*port);
        }
        let port = self.listen(Door {
            service: Service::GkeMetadata,
            pod: Some(pod.into()),
        })?;
        lock(&self.metadata_ports).insert(pod.to_owned(), port);
        Ok(port)
    }

    fn listen(self: &Arc<Self>, door: Door) -> Result<u16, LabError> {
        let (port, listeners) = server::bind()?;
        for listener in listeners {
            self.handle
                .spawn(server::serve(Arc::clone(self), listener, door.clone()));
        }
        Ok(port)
    }

    pub(crate) async fn handle(self: &Arc<Self>, request: &Received) -> Reply {
        match request.service {
            Service::Issuer => issuer::handle(self, request),
            Service::AwsSts => aws::handle(self, request).await,
            Service::PodIdentity => pod_identity::handle(self, request).await,
            Service::GoogleSts => google::handle_sts(self, request).await,
            Service::GoogleIam => google::handle_iam(self, request),
            Service::GkeMetadata => gke::handle(self, request),
            Service::Entra => entra::handle(self, request).await,
            Service::Trap => Reply::json(200, &json!({ "caught": true })),
        }
    }

    /// The service's own words for being out of order.
    pub(crate) fn outage(&self, service: Service, status: u16, now: Timestamp) -> Reply {
        match service {
            Service::AwsSts => aws::outage(status),
            Service::GoogleSts => google::sts_outage(status),
            Service::GoogleIam => google::iam_outage(status),
            Service::Entra => entra::outage(status, now),
            _ => server::plain_outage(status),
        }
    }

    /// A forced answer in the service's own shape.
    pub(crate) fn forced(&self, service: Service, answer: &ForcedAnswer, now: Timestamp) -> Reply {
        match service {
            Service::AwsSts => aws::error(answer.status, &answer.code, &answer.message),
            Service::GoogleSts => google::sts_error(answer.status, &answer.code, &answer.message),
            Service::GoogleIam => google::iam_error(
                answer.status,
                &answer.code,
                &answer.message,
                answer.detail.as_deref().map(google::error_info).as_ref(),
            ),
            Service::Entra => entra::error(
                answer.status,
                answer.detail.as_deref().unwrap_or("invalid_client"),
                &answer.code,
                &format!("AADSTS{}: {}", answer.code, answer.message),
                now,
            ),
            Service::PodIdentity => {
                pod_identity::upstream_error(answer.status, &answer.code, &answer.message)
            }
            Service::Issuer | Service::GkeMetadata | Service::Trap => {
                Reply::text(answer.status, answer.message.clone())
            }
        }
    }

    /// The answer that a file forces on `subject` (a role, a provider, a client, …), if one does.
    pub(crate) fn forced_for(
        &self,
        service: Service,
        operation: Option<&str>,
        subject: &str,
        now: Timestamp,
    ) -> Option<Reply> {
        let documents = match self.store.folder("forced-answers") {
            Ok(documents) => documents,
            Err(problem) => return Some(self.broken(service, &problem, now)),
        };
        let text = |value: &Value, member: &str| {
            value.get(member).and_then(Value::as_str).map(str::to_owned)
        };
        documents.iter().find_map(|(_, value)| {
            let wanted = text(value, "operation");
            let hit = text(value, "service").as_deref() == Some(service.as_str())
                && text(value, "match").as_deref() == Some(subject)
                && (wanted.is_none() || wanted.as_deref() == operation);
            hit.then(|| {
                let answer = ForcedAnswer {
                    status: value
                        .get("status")
                        .and_then(Value::as_u64)
                        .and_then(|s| s.try_into().ok())
                        .unwrap_or(400),
                    code: text(value, "code").unwrap_or_default(),
                    message: text(value, "message").unwrap_or_default(),
                    detail: text(value, "detail"),
                };
                self.forced(service, &answer, now)
            })
        })
    }

    /// What a service says when a document of the lab cannot be used: a person has just edited it and wants to know.
    pub(crate) fn broken(&self, service: Service, problem: &str, now: Timestamp) -> Reply {
        let message = format!("lab: {problem}");
        match service {
            Service::AwsSts => aws::error(500, "InternalFailure", &message),
            Service::GoogleSts => google::sts_error(500, "server_error", &message),
            Service::GoogleIam => google::iam_error(500, "INTERNAL", &message, None),
            Service::Entra => entra::error(500, "server_error", "90033", &message, now),
            _ => Reply::text(500, message),
        }
    }
}

/// Renews tokens as the kubelet does: when 80 % of a token's life has passed.
async fn renew(state: Arc<State>) {
    loop {
        tokio::time::sleep(RENEWAL_ROUND).await;
        let due: Vec<(Case, Names)> = lock(&state.cases)
            .values()
            .filter(|r| {
                r.written.is_some_and(|written| {
                    case::renewable(&r.case, &r.names).is_some_and(|lifetime| {
                        written.elapsed() > lifetime.unsigned_abs().mul_f64(0.8)
                    })
                })
            })
            .map(|r| (r.case.clone(), r.names.clone()))
            .collect();
        for (case, names) in due {
            if let Some(path) = case::token_path(case.mechanism) {
                let file = state
                    .store
                    .absolute(&format!("workloads/{}", case.name))
                    .join(path);
                // A folder that somebody removed is not worth ending the lab for.
                let _ = case::write_token(&state, &case, &names, &file);
            }
            if let Some(registered) = lock(&state.cases).get_mut(case.name) {
                registered.written = Some(Instant::now());
            }
        }
    }
}

const RENEWAL_ROUND: Duration = Duration::from_secs(1);
const README: &str = include_str!("../templates/README.txt");
