//! A node that runs whatever pods appear in some namespaces, for tests that install something and watch it work.
//!
//! Scheduler and kubelet in one: each pod that nobody has taken is bound, run ([`Kubelet`]), looked after, and ended when
//! it is deleted. A container that ends by itself, or that has to be killed, is no secret: the test asks for it. What
//! containers print is there for `kubectl logs`, for which the API server asks the node.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    net::UnixListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    api::{Api, Object},
    control_plane::ControlPlane,
    kubelet::{BoundPod, Ended, Kubelet, Progress},
    proxy::acceptor,
};

/// A node. What it runs ends when it is dropped.
pub struct Node {
    tasks: [JoinHandle<()>; 2],
    record: Arc<Record>,
}

#[derive(Default)]
struct Record {
    ended: Mutex<Vec<Ended>>,
    problems: Mutex<Vec<String>>,
    /// Where the logs of a pod are, `NAMESPACE/NAME`.
    logs: Mutex<HashMap<String, PathBuf>>,
}

impl Node {
    /// Starts one on the caller's event loop.
    ///
    /// # Errors
    ///
    /// The control plane has no network, or TLS cannot be set up.
    pub fn start(plane: &ControlPlane, kubelet: &Kubelet, namespaces: &[&str]) -> Result<Self> {
        let record = Arc::new(Record::default());
        let namespaces = namespaces.iter().map(|n| (*n).to_owned()).collect();
        let api = plane.api()?;
        let network = plane.network().context("no network to be reached in")?;
        // Of a node before.
        let _ = fs::remove_file(network.kubelet());
        let listener = UnixListener::bind(network.kubelet())?;
        let logs = serve_logs(listener, acceptor(plane)?, Arc::clone(&record));
        let work = work(api, kubelet.clone(), namespaces, Arc::clone(&record));
        Ok(Self {
            tasks: [tokio::spawn(work), tokio::spawn(logs)],
            record,
        })
    }

    /// How the containers ended that went on, in order.
    #[must_use]
    pub fn ended(&self) -> Vec<Ended> {
        lock(&self.record.ended).clone()
    }

    /// What pods could not be run, and why.
    #[must_use]
    pub fn problems(&self) -> Vec<String> {
        lock(&self.record.problems).clone()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn work(api: Api, kubelet: Kubelet, namespaces: Vec<String>, record: Arc<Record>) {
    let mut taken = HashSet::new();
    let mut pods = JoinSet::new();
    loop {
        for namespace in &namespaces {
            let listed = api.list(&Object::pod(namespace, ""), "").await;
            for pod in listed.unwrap_or_default() {
                let uid = pod["metadata"]["uid"].as_str().unwrap_or_default();
                let is_free = pod["spec"]["nodeName"].is_null();
                if is_free && taken.insert(uid.to_owned()) {
                    let (api, kubelet, record) = (api.clone(), kubelet.clone(), record.clone());
                    pods.spawn(async move { take(&api, &kubelet, &pod, &record).await });
                }
            }
        }
        while pods.try_join_next().is_some() {}
        tokio::time::sleep(POLL).await;
    }
}

async fn take(api: &Api, kubelet: &Kubelet, pod: &Value, record: &Record) {
    let of = |name: &str| pod["metadata"][name].as_str().unwrap_or_default();
    let object = Object::pod(of("namespace"), of("name"));
    let Err(error) = look_after(api, kubelet, &object, record).await else {
        return;
    };
    match api.get(&object).await {
        // Whoever deletes a pod while it starts wants nothing of it any more.
        Ok(now) if is_deleted(&now) => {
            let _ = api.delete(&object).await;
        }
        Err(gone) if gone.status == 404 => {}
        _ => lock(&record.problems).push(format!("{}: {error:#}", object.name)),
    }
}

async fn look_after(api: &Api, kubelet: &Kubelet, object: &Object, record: &Record) -> Result<()> {
    let namespace = object.namespace.as_deref().unwrap_or_default();
    let mut pod = kubelet.take(namespace, &object.name).await?;
    let name = format!("{namespace}/{}", object.name);
    lock(&record.logs).insert(name, pod.logs());
    start(api, object, &mut pod).await?;
    let mut refreshed = Instant::now();
    while !is_deleted(&api.get(object).await?) {
        let ended = pod.tend(false).await?;
        lock(&record.ended).extend(ended);
        if refreshed.elapsed() > REFRESHES_EVERY {
            pod.refresh().await?;
            refreshed = Instant::now();
        }
        tokio::time::sleep(POLL).await;
    }
    let ended = pod.end().await?;
    lock(&record.ended).extend(ended);
    Ok(())
}

/// Runs the init containers, as often as it takes, and starts the others.
async fn start(api: &Api, object: &Object, pod: &mut BoundPod) -> Result<()> {
    loop {
        match pod.advance().await? {
            Progress::Done(_) => {}
            Progress::Restarts(_) => tokio::time::sleep(BACK_OFF).await,
            Progress::Failed(_) | Progress::Running => return Ok(()),
        }
        if is_deleted(&api.get(object).await?) {
            return Ok(());
        }
    }
}

/// What a kubelet answers to the API server behind `kubectl logs`. Whom it serves nobody checks here.
async fn serve_logs(listener: UnixListener, acceptor: TlsAcceptor, record: Arc<Record>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, record) = (acceptor.clone(), Arc::clone(&record));
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let answer = |request: Request<Incoming>| {
                let log = log_of(&record, request.uri().path());
                let status = match log {
                    Some(_) => StatusCode::OK,
                    None => StatusCode::NOT_FOUND,
                };
                let mut response = Response::new(Full::new(Bytes::from(log.unwrap_or_default())));
                *response.status_mut() = status;
                async { Ok::<_, Infallible>(response) }
            };
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer))
                .await;
        });
    }
}

/// `/containerLogs/NAMESPACE/POD/CONTAINER`: what its last run printed.
fn log_of(record: &Record, path: &str) -> Option<Vec<u8>> {
    let mut parts = path.strip_prefix("/containerLogs/")?.split('/');
    let (namespace, pod, container) = (parts.next()?, parts.next()?, parts.next()?);
    let folder = lock(&record.logs)
        .get(&format!("{namespace}/{pod}"))?
        .join(container);
    let runs = (0_u32..).map(|n| folder.join(format!("{n}.log")));
    fs::read(runs.take_while(|log| log.is_file()).last()?).ok()
}

fn is_deleted(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const POLL: Duration = Duration::from_millis(100);
const REFRESHES_EVERY: Duration = Duration::from_secs(2);
const BACK_OFF: Duration = Duration::from_secs(1);
