//! A node that runs whatever pods appear in some namespaces, for tests that install something and watch it work.
//!
//! Scheduler and kubelet in one: each pod that nobody has taken is bound, run ([`Kubelet`]), looked after, and ended when
//! it is deleted. A container that ends by itself, or that has to be killed, is no secret: the test asks for it.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;
use tokio::task::{JoinHandle, JoinSet};

use crate::{
    api::{Api, Object},
    control_plane::ControlPlane,
    kubelet::{BoundPod, Ended, Kubelet, Progress},
};

/// A node. What it runs ends when it is dropped.
pub struct Node {
    task: JoinHandle<()>,
    record: Arc<Record>,
}

#[derive(Default)]
struct Record {
    ended: Mutex<Vec<Ended>>,
    problems: Mutex<Vec<String>>,
}

impl Node {
    /// Starts one on the caller's event loop.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn start(plane: &ControlPlane, kubelet: &Kubelet, namespaces: &[&str]) -> Result<Self> {
        let record = Arc::new(Record::default());
        let namespaces = namespaces.iter().map(|n| (*n).to_owned()).collect();
        let api = plane.api()?;
        let task = tokio::spawn(work(api, kubelet.clone(), namespaces, Arc::clone(&record)));
        Ok(Self { task, record })
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
        self.task.abort();
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

fn is_deleted(pod: &Value) -> bool {
    !pod["metadata"]["deletionTimestamp"].is_null()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

const POLL: Duration = Duration::from_millis(100);
const REFRESHES_EVERY: Duration = Duration::from_secs(2);
const BACK_OFF: Duration = Duration::from_secs(1);
