//! A double of the API server over loopback, plain or TLS: serves objects, refuses, delays, and records who asked what.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests are where environment and clock come from"
)]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    convert::Infallible,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::oneshot};
use tokio_rustls::TlsAcceptor;

/// The double. Ends when it is dropped.
pub(crate) struct Api {
    pub(crate) url: String,
    pub(crate) pki: Option<Pki>,
    state: Arc<Mutex<State>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// Common name of the client's certificate; empty without one.
    pub(crate) client: String,
}

/// Authorities and certificates of a double that speaks TLS.
pub(crate) struct Pki {
    pub(crate) ca: String,
    issuer: Issuer<'static, KeyPair>,
}

#[derive(Default)]
struct State {
    /// By path of the collection (`/apis/apps/v1/deployments`), namespace and name: the object, and its bytes.
    objects: BTreeMap<String, BTreeMap<(String, String), Stored>>,
    raw: HashMap<String, (u16, String)>,
    /// Verb and resource, with a subresource after a slash: `get pods`.
    denied: HashSet<String>,
    seen: Vec<Seen>,
    delay: Duration,
    clock_offset: i64,
    token: String,
    created: u64,
    on_create: Option<Change>,
}

type Change = Box<dyn Fn(&mut Value) + Send>;

struct Stored {
    object: Value,
    whole: Bytes,
    metadata: Bytes,
}

impl Api {
    /// Over plain HTTP.
    pub(crate) fn start() -> Self {
        Self::serve(None)
    }

    /// Over TLS, with certificates of its own; clients may have one of the same authority.
    pub(crate) fn start_tls() -> Self {
        Self::serve(Some(Pki::new()))
    }

    /// Over TLS with a server certificate for another name.
    pub(crate) fn start_tls_for(name: &str) -> Self {
        let pki = Pki::new();
        Self::serve_with(Some(pki), name)
    }

    fn serve(pki: Option<Pki>) -> Self {
        Self::serve_with(pki, "127.0.0.1")
    }

    fn serve_with(pki: Option<Pki>, name: &str) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        state.lock().unwrap().raw.insert(
            "/version".into(),
            (
                200,
                r#"{"major":"1","minor":"34","gitVersion":"v1.34.2"}"#.into(),
            ),
        );
        let acceptor = pki.as_ref().map(|pki| pki.acceptor(name));
        let (ready, address) = std::sync::mpsc::channel();
        let (stop, stopped) = oneshot::channel();
        let shared = Arc::clone(&state);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                ready.send(listener.local_addr().unwrap()).unwrap();
                tokio::select! {
                    () = accept(listener, acceptor, shared) => {}
                    _ = stopped => {}
                }
            });
        });
        let address: SocketAddr = address.recv().unwrap();
        let scheme = if pki.is_some() { "https" } else { "http" };
        Self {
            url: format!("{scheme}://{address}"),
            pki,
            state,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// Stores an object where its kind belongs.
    pub(crate) fn put(&self, object: Value) -> &Self {
        self.state.lock().unwrap().put(object);
        self
    }

    /// Stores every object of a YAML or JSON text.
    pub(crate) fn put_yaml(&self, text: &str) -> &Self {
        for object in serde_saphyr::from_multiple::<Value>(text).unwrap() {
            if !object.is_null() {
                self.put(object);
            }
        }
        self
    }

    pub(crate) fn remove(&self, collection: &str, namespace: &str, name: &str) {
        let mut state = self.state.lock().unwrap();
        let objects = state.objects.get_mut(collection).unwrap();
        objects.remove(&(namespace.into(), name.into())).unwrap();
    }

    /// Answers a path with a text.
    pub(crate) fn answer(&self, path: &str, status: u16, text: &str) -> &Self {
        let mut state = self.state.lock().unwrap();
        state.raw.insert(path.into(), (status, text.into()));
        drop(state);
        self
    }

    /// Refuses with 403 as RBAC does: `deny("get", "pods")`, `deny("create", "serviceaccounts/token")`.
    pub(crate) fn deny(&self, verb: &str, resource: &str) -> &Self {
        let mut state = self.state.lock().unwrap();
        state.denied.insert(format!("{verb} {resource}"));
        drop(state);
        self
    }

    /// Waits before each answer.
    pub(crate) fn delay(&self, delay: Duration) -> &Self {
        self.state.lock().unwrap().delay = delay;
        self
    }

    /// Says a time that is so many seconds off.
    pub(crate) fn clock_offset(&self, seconds: i64) -> &Self {
        self.state.lock().unwrap().clock_offset = seconds;
        self
    }

    /// Answers every TokenRequest with this token.
    pub(crate) fn token(&self, token: &str) -> &Self {
        self.state.lock().unwrap().token = token.into();
        self
    }

    /// Changes what is created before it is stored.
    pub(crate) fn on_create(&self, change: impl Fn(&mut Value) + Send + 'static) -> &Self {
        self.state.lock().unwrap().on_create = Some(Box::new(change));
        self
    }

    /// Requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.lock().unwrap().seen.clone()
    }

    /// Requests so far, as `GET /api/v1/…?…`.
    pub(crate) fn lines(&self) -> Vec<String> {
        let line = |seen: &Seen| {
            let query = if seen.query.is_empty() { "" } else { "?" };
            format!("{} {}{query}{}", seen.method, seen.path, seen.query)
        };
        self.seen().iter().map(line).collect()
    }

    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().seen.clear();
    }

    /// Names of the objects of a collection.
    pub(crate) fn names(&self, collection: &str) -> Vec<String> {
        let state = self.state.lock().unwrap();
        let objects = state.objects.get(collection).into_iter().flatten();
        objects.map(|((_, name), _)| name.clone()).collect()
    }

    /// A kubeconfig for the double: context `test`, user `tester` with what is given.
    pub(crate) fn kubeconfig(&self, directory: &Path, user: &Value) -> PathBuf {
        let mut cluster = json!({ "server": self.url });
        if let Some(pki) = &self.pki {
            let path = directory.join("ca.crt");
            fs::write(&path, &pki.ca).unwrap();
            cluster["certificate-authority"] = path.to_str().into();
        }
        let config = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{ "name": "double", "cluster": cluster }],
            "users": [{ "name": "tester", "user": user }],
            "contexts": [
                { "name": "test", "context": { "cluster": "double", "user": "tester", "namespace": "shop" } },
                { "name": "dangling", "context": { "cluster": "double", "user": "testr" } },
            ],
        });
        let path = directory.join("config");
        // JSON is YAML.
        fs::write(&path, config.to_string()).unwrap();
        path
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A proxy that makes tunnels, as HTTP CONNECT asks for. Ends when it is dropped.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    /// The heads of what it was asked.
    heads: Arc<Mutex<Vec<String>>>,
    stopped: Arc<std::sync::atomic::AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Proxy {
    pub(crate) fn start() -> Self {
        use std::sync::atomic::Ordering;
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let stopped = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (seen, ended) = (Arc::clone(&heads), Arc::clone(&stopped));
        let thread = thread::spawn(move || {
            for client in listener.incoming() {
                if ended.load(Ordering::SeqCst) {
                    return;
                }
                let seen = Arc::clone(&seen);
                thread::spawn(move || tunnel(client.unwrap(), &seen));
            }
        });
        Self {
            address,
            heads,
            stopped,
            thread: Some(thread),
        }
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.stopped
            .store(true, std::sync::atomic::Ordering::SeqCst);
        let _ = std::net::TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn tunnel(mut client: std::net::TcpStream, seen: &Mutex<Vec<String>>) {
    use std::io::{Read as _, Write as _};
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && client.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap().to_owned();
    seen.lock().unwrap().push(head);
    let mut server = std::net::TcpStream::connect(target).unwrap();
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
    let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let _ = std::io::copy(&mut server, &mut client);
    let _ = client.shutdown(std::net::Shutdown::Both);
}

impl Pki {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "double");
        let key = KeyPair::generate().unwrap();
        let ca = params.self_signed(&key).unwrap().pem();
        Self {
            ca,
            issuer: Issuer::new(params, key),
        }
    }

    /// Certificate and key in PEM, for a server name or a client's common name.
    pub(crate) fn certificate(&self, name: &str, end: SystemTime) -> (String, String) {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = (end - Duration::from_secs(86_400)).into();
        params.not_after = end.into();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn acceptor(&self, name: &str) -> TlsAcceptor {
        let end = SystemTime::now() + Duration::from_secs(3600);
        let (certificate, key) = self.certificate(name, end);
        let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut roots = rustls::RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.ca.as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                .allow_unauthenticated()
                .build()
                .unwrap();
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![certificate], key)
            .unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, state) = (acceptor.clone(), Arc::clone(&state));
        tokio::spawn(async move {
            let serve = |client: String| {
                let state = Arc::clone(&state);
                service_fn(move |request| answer(Arc::clone(&state), client.clone(), request))
            };
            match acceptor {
                None => {
                    let service = serve(String::new());
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
                Some(acceptor) => {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let client = stream
                        .get_ref()
                        .1
                        .peer_certificates()
                        .and_then(|chain| chain.first())
                        .map(|certificate| common_name(certificate))
                        .unwrap_or_default();
                    let service = serve(client);
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                }
            }
        });
    }
}

fn common_name(certificate: &[u8]) -> String {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).unwrap();
    let name = certificate.subject().iter_common_name().next().unwrap();
    name.as_str().unwrap().to_owned()
}

async fn answer(
    state: Arc<Mutex<State>>,
    client: String,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let seen = Seen {
        method: parts.method,
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
        client,
    };
    let delay = {
        let mut state = state.lock().unwrap();
        state.seen.push(seen.clone());
        state.delay
    };
    tokio::time::sleep(delay).await;
    let mut state = state.lock().unwrap();
    let (status, body) = state.answer(&seen);
    let offset = state.clock_offset;
    let now = SystemTime::now();
    let shift = Duration::from_secs(offset.unsigned_abs());
    let date = if offset < 0 { now - shift } else { now + shift };
    Ok(Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::DATE, httpdate::fmt_http_date(date))
        .body(Full::new(body))
        .unwrap())
}

/// A request's place in the API.
struct Place {
    collection: String,
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<String>,
}

impl Place {
    fn of(path: &str) -> Option<Self> {
        let decoded: Vec<String> = path
            .split('/')
            .skip(1)
            .map(|part| {
                percent_encoding::percent_decode_str(part)
                    .decode_utf8_lossy()
                    .into_owned()
            })
            .collect();
        let (root, rest) = match decoded.first().map(String::as_str)? {
            "api" => decoded.split_at_checked(2)?,
            "apis" => decoded.split_at_checked(3)?,
            _ => return None,
        };
        // `/api/v1/namespaces/x` is an object, `/api/v1/namespaces/x/pods` a collection in it.
        let (namespace, rest) = match rest {
            [namespaces, namespace, rest @ ..]
                if namespaces == "namespaces" && !rest.is_empty() =>
            {
                (Some(namespace.clone()), rest)
            }
            _ => (None, rest),
        };
        let resource = rest.first()?.clone();
        Some(Self {
            collection: format!("/{}/{resource}", root.join("/")),
            resource,
            namespace,
            name: rest.get(1).cloned(),
            subresource: rest.get(2).cloned(),
        })
    }
}

impl State {
    fn put(&mut self, mut object: Value) {
        let api_version = object["apiVersion"].as_str().unwrap().to_owned();
        let kind = object["kind"].as_str().unwrap().to_owned();
        if object["metadata"]["uid"].is_null() {
            self.created += 1;
            object["metadata"]["uid"] =
                format!("00000000-0000-4000-8000-{:012}", self.created).into();
        }
        let root = if api_version.contains('/') {
            "apis"
        } else {
            "api"
        };
        let collection = format!("/{root}/{api_version}/{}", plural(&kind));
        let text = |member: &str| {
            object["metadata"][member]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        let key = (text("namespace"), text("name"));
        let metadata = json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        });
        let stored = Stored {
            whole: object.to_string().into(),
            metadata: metadata.to_string().into(),
            object,
        };
        self.objects
            .entry(collection)
            .or_default()
            .insert(key, stored);
    }

    fn answer(&mut self, seen: &Seen) -> (StatusCode, Bytes) {
        if let Some((status, text)) = self.raw.get(&seen.path) {
            return (StatusCode::from_u16(*status).unwrap(), text.clone().into());
        }
        let Some(place) = Place::of(&seen.path) else {
            return failure(
                404,
                "NotFound",
                "the server could not find the requested resource",
            );
        };
        let verb = match (&seen.method, &place.name) {
            (&Method::GET, Some(_)) => "get",
            (&Method::GET, None) => "list",
            (&Method::POST, _) => "create",
            (&Method::DELETE, _) => "delete",
            _ => "patch",
        };
        let resource = match &place.subresource {
            Some(subresource) => format!("{}/{subresource}", place.resource),
            None => place.resource.clone(),
        };
        if self.denied.contains(&format!("{verb} {resource}")) {
            let message = format!(
                "{resource} is forbidden: User \"tester\" cannot {verb} resource \"{resource}\""
            );
            return failure(403, "Forbidden", &message);
        }
        match verb {
            "get" => self.get(&place, seen),
            "list" => self.list(&place, seen),
            "create" if place.subresource.as_deref() == Some("token") => self.mint(seen),
            "create" => self.create(&place, seen),
            "delete" => self.delete(&place),
            _ => {
                let object = seen.body.clone();
                self.put(object.clone());
                (StatusCode::OK, object.to_string().into())
            }
        }
    }

    fn get(&self, place: &Place, seen: &Seen) -> (StatusCode, Bytes) {
        let key = (
            place.namespace.clone().unwrap_or_default(),
            place.name.clone().unwrap_or_default(),
        );
        match self
            .objects
            .get(&place.collection)
            .and_then(|objects| objects.get(&key))
        {
            Some(stored) if wants_metadata(seen) => (StatusCode::OK, stored.metadata.clone()),
            Some(stored) => (StatusCode::OK, stored.whole.clone()),
            None => {
                let message = format!("{} \"{}\" not found", place.resource, key.1);
                failure(404, "NotFound", &message)
            }
        }
    }

    fn list(&self, place: &Place, seen: &Seen) -> (StatusCode, Bytes) {
        let query: HashMap<String, String> = url::form_urlencoded::parse(seen.query.as_bytes())
            .into_owned()
            .collect();
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let skip = number("continue").unwrap_or_default();
        let limit = number("limit").unwrap_or(usize::MAX);
        let chosen: Vec<&Stored> = self
            .objects
            .get(&place.collection)
            .into_iter()
            .flatten()
            .filter(|((namespace, _), _)| place.namespace.as_ref().is_none_or(|n| n == namespace))
            .map(|(_, stored)| stored)
            .filter(|stored| {
                selects(query.get("labelSelector"), |key| {
                    stored.object["metadata"]["labels"][key]
                        .as_str()
                        .map(str::to_owned)
                }) && selects(query.get("fieldSelector"), |path| {
                    let pointer = format!("/{}", path.replace('.', "/"));
                    stored
                        .object
                        .pointer(&pointer)
                        .and_then(Value::as_str)
                        .map(str::to_owned)
                })
            })
            .collect();
        let page: Vec<&[u8]> = chosen
            .iter()
            .skip(skip)
            .take(limit)
            .map(|stored| {
                if wants_metadata(seen) {
                    &stored.metadata[..]
                } else {
                    &stored.whole[..]
                }
            })
            .collect();
        let next = if skip + page.len() < chosen.len() {
            (skip + page.len()).to_string()
        } else {
            String::new()
        };
        let metadata = json!({ "resourceVersion": "1", "continue": next });
        let mut body =
            format!(r#"{{"kind":"List","apiVersion":"v1","metadata":{metadata},"items":["#)
                .into_bytes();
        body.extend(page.join(&b","[..]));
        body.extend(b"]}");
        (StatusCode::OK, body.into())
    }

    fn create(&mut self, place: &Place, seen: &Seen) -> (StatusCode, Bytes) {
        let mut object = seen.body.clone();
        object["metadata"]["namespace"] = place.namespace.clone().into();
        if object["metadata"]["name"].is_null() {
            let prefix = object["metadata"]["generateName"]
                .as_str()
                .unwrap_or_default();
            object["metadata"]["name"] = format!("{prefix}x{:04}", self.seen.len()).into();
        }
        if !seen.query.contains("dryRun=All") {
            if let Some(change) = &self.on_create {
                change(&mut object);
            }
            self.put(object.clone());
        }
        (StatusCode::CREATED, object.to_string().into())
    }

    fn delete(&mut self, place: &Place) -> (StatusCode, Bytes) {
        let key = (
            place.namespace.clone().unwrap_or_default(),
            place.name.clone().unwrap_or_default(),
        );
        let removed = self
            .objects
            .get_mut(&place.collection)
            .and_then(|objects| objects.remove(&key));
        match removed {
            Some(stored) => (StatusCode::OK, stored.whole),
            None => failure(404, "NotFound", "not found"),
        }
    }

    fn mint(&self, seen: &Seen) -> (StatusCode, Bytes) {
        let mut answer = seen.body.clone();
        answer["status"] =
            json!({ "token": self.token, "expirationTimestamp": "2030-01-01T00:00:00Z" });
        (StatusCode::CREATED, answer.to_string().into())
    }
}

/// Equality alone: `a=b,c==d`.
fn selects(selector: Option<&String>, value: impl Fn(&str) -> Option<String>) -> bool {
    selector
        .into_iter()
        .flat_map(|selector| selector.split(','))
        .filter_map(|part| part.split_once('='))
        .all(|(key, wanted)| value(key).as_deref() == Some(wanted.trim_start_matches('=')))
}

fn wants_metadata(seen: &Seen) -> bool {
    let accept = seen.headers.get(header::ACCEPT);
    accept.is_some_and(|accept| accept.to_str().unwrap().contains("PartialObjectMetadata"))
}

fn failure(code: u16, reason: &str, message: &str) -> (StatusCode, Bytes) {
    let status = json!({
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    });
    (
        StatusCode::from_u16(code).unwrap(),
        status.to_string().into(),
    )
}

fn plural(kind: &str) -> String {
    let kind = kind.to_lowercase();
    match kind.strip_suffix('y') {
        Some(stem) => format!("{stem}ies"),
        None => format!("{kind}s"),
    }
}

/// The command, with an environment of its own.
pub(crate) fn kubectl_cwii(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-cwii"));
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("HOME", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit code, standard output and standard error.
pub(crate) fn finish(command: &mut Command) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    (
        status.code(),
        String::from_utf8(stdout).unwrap(),
        String::from_utf8(stderr).unwrap(),
    )
}
