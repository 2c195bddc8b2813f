//! From a pod to the objects that speak for it: workload, ServiceAccount and namespace.
//!
//! The caches answer first. What they have not seen is read live, within a deadline, so that a ServiceAccount or a
//! Deployment that was created a moment before its pod counts, and so that answers are right before the first list is
//! complete. What can neither be found nor read is an error, never a guess.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cwii_contract::{Keys, Layer, Pod, Workload, WorkloadKind};
use tokio::{
    sync::Mutex as AsyncMutex,
    time::{Instant, timeout_at},
};
use tracing::warn;

use crate::{
    bounded::Bounded,
    cluster::{Cluster, ClusterError},
    kind::Kind,
    log::printable,
    metrics::{Metrics, ReadResult},
    object::{Known, Owner},
    watch::Caches,
};

/// Finds the layers of a pod.
#[derive(Debug)]
pub struct Lookup {
    caches: Arc<Caches>,
    cluster: Arc<Cluster>,
    metrics: Arc<Metrics>,
    recent: Mutex<Bounded<Target, Arc<AsyncMutex<Option<Recent>>>>>,
    replica_sets: Mutex<Bounded<Identity, ReplicaSet>>,
}

/// An object could be found neither in a cache nor live.
#[derive(Debug, thiserror::Error)]
#[error("{object} is not known yet and could not be read: {error}")]
pub struct LookupError {
    /// The object.
    pub object: String,
    /// Why it could not be read.
    pub error: ClusterError,
}

type Target = (Kind, Box<str>, Box<str>);
/// Namespace and uid: what a pod claims about its owner holds in its own namespace only.
type Identity = (Box<str>, Box<str>);

/// What was read live, and when.
#[derive(Clone, Debug)]
struct Recent {
    known: Known,
    at: Instant,
}

/// What is remembered of a ReplicaSet.
#[derive(Clone, Debug)]
struct ReplicaSet {
    known: Known,
    at: Instant,
}

impl Lookup {
    /// Looks into `caches` first and asks `cluster` for the rest.
    #[must_use]
    pub fn new(caches: Arc<Caches>, cluster: Arc<Cluster>, metrics: Arc<Metrics>) -> Self {
        Self {
            caches,
            cluster,
            metrics,
            recent: Mutex::new(Bounded::new(RECENT_READS)),
            replica_sets: Mutex::new(Bounded::new(REPLICA_SETS)),
        }
    }

    /// The layers of a pod in order of precedence, the pod's own first; objects that say nothing are left out.
    ///
    /// # Errors
    ///
    /// An object that no cache has seen and that could not be read before the deadline.
    pub async fn layers(
        &self,
        namespace: &str,
        pod: &Pod,
        deadline: Instant,
    ) -> Result<Vec<Layer>, LookupError> {
        let account = pod.service_account_name();
        // The caches are asked before anything is awaited, and what is read live is read at the same time.
        let (workload, account_keys, namespace_keys) = tokio::join!(
            self.workload(namespace, pod, deadline),
            self.keys(Kind::ServiceAccount, namespace, account, deadline),
            self.keys(Kind::Namespace, "", namespace, deadline),
        );
        let mut layers = Vec::new();
        let mut push = |layer: Layer| {
            if !layer.keys.is_empty() {
                layers.push(layer);
            }
        };
        push(Layer {
            object: pod.object(namespace),
            keys: pod.keys(),
        });
        workload?.into_iter().for_each(&mut push);
        push(Layer {
            object: Kind::ServiceAccount.object(namespace, account),
            keys: account_keys?,
        });
        push(Layer {
            object: Kind::Namespace.object("", namespace),
            keys: namespace_keys?,
        });
        Ok(layers)
    }

    async fn keys(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        deadline: Instant,
    ) -> Result<Keys, LookupError> {
        let known = match self.cached(kind, namespace, name) {
            Some(known) => Some(known),
            None => self.live(kind, namespace, name, None, deadline).await?,
        };
        Ok(known.map(|known| known.keys).unwrap_or_default())
    }

    async fn workload(
        &self,
        namespace: &str,
        pod: &Pod,
        deadline: Instant,
    ) -> Result<Vec<Layer>, LookupError> {
        match pod.workload() {
            Workload::None => Ok(Vec::new()),
            Workload::Direct { kind, name, uid } => {
                self.direct(kind, namespace, name, uid, deadline).await
            }
            Workload::ReplicaSet {
                name,
                uid,
                deployment_name_guess,
            } => {
                let seen = deployment_name_guess
                    .and_then(|guess| self.cached(DEPLOYMENT, namespace, guess));
                if seen.is_some_and(|known| known.keys.is_empty()) {
                    return Ok(Vec::new());
                }
                self.of_replica_set(namespace, name, uid, deadline).await
            }
        }
    }

    /// A workload that is named with its uid, and the CronJob of a Job.
    async fn direct(
        &self,
        kind: WorkloadKind,
        namespace: &str,
        name: &str,
        uid: &str,
        deadline: Instant,
    ) -> Result<Vec<Layer>, LookupError> {
        let Some(known) = self
            .identified(kind, namespace, name, uid, deadline)
            .await?
        else {
            return Ok(Vec::new());
        };
        let mut layers = vec![layer(kind, namespace, name, known.keys)];
        if kind == WorkloadKind::Job
            && let Some(owner) = known.owner.filter(|o| is(o, WorkloadKind::CronJob))
            && let Some(known) = self
                .identified(
                    WorkloadKind::CronJob,
                    namespace,
                    &owner.name,
                    &owner.uid,
                    deadline,
                )
                .await?
        {
            layers.push(layer(
                WorkloadKind::CronJob,
                namespace,
                &owner.name,
                known.keys,
            ));
        }
        Ok(layers)
    }

    /// The Deployment of a ReplicaSet, or where it has none the ReplicaSet itself.
    async fn of_replica_set(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        deadline: Instant,
    ) -> Result<Vec<Layer>, LookupError> {
        let Some(known) = self.replica_set(namespace, name, uid, deadline).await? else {
            return Ok(Vec::new());
        };
        let deployment = known
            .owner
            .filter(|owner| is(owner, WorkloadKind::Deployment));
        match deployment {
            None => Ok(vec![layer(
                WorkloadKind::ReplicaSet,
                namespace,
                name,
                known.keys,
            )]),
            Some(owner) => {
                let kind = WorkloadKind::Deployment;
                self.direct(kind, namespace, &owner.name, &owner.uid, deadline)
                    .await
            }
        }
    }

    /// A ReplicaSet with this uid. Which Deployment it belongs to does not change; what it says itself may, so without
    /// a Deployment it is read again, at most once a second, and the last answer holds while it cannot be read.
    async fn replica_set(
        &self,
        namespace: &str,
        name: &str,
        uid: &str,
        deadline: Instant,
    ) -> Result<Option<Known>, LookupError> {
        let identity: Identity = (namespace.into(), uid.into());
        let remembered = {
            let mut sets = self
                .replica_sets
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            sets.get(&identity).cloned()
        };
        if let Some(set) = &remembered {
            let owned = set
                .known
                .owner
                .as_ref()
                .is_some_and(|owner| is(owner, WorkloadKind::Deployment));
            if owned || set.at.elapsed() < REUSE {
                return Ok(Some(set.known.clone()));
            }
        }
        let kind = WorkloadKind::ReplicaSet;
        let found = match self
            .live(Kind::Workload(kind), namespace, name, Some(uid), deadline)
            .await
        {
            Ok(found) => found,
            Err(error) => {
                return match remembered {
                    Some(set) => {
                        warn!(
                            error = printable(&error.to_string()),
                            "the last known annotations of a ReplicaSet are used"
                        );
                        Ok(Some(set.known))
                    }
                    None => Err(error),
                };
            }
        };
        if let Some(known) = &found {
            let set = ReplicaSet {
                known: known.clone(),
                at: Instant::now(),
            };
            self.replica_sets
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(identity, set);
        }
        Ok(found)
    }

    /// An owner, which is the one that is meant only if its uid is the one in the reference. Another object of the same
    /// name in the cache is an older one, and the reason to look again; another one in the answer is a newer one, and
    /// the owner itself is gone.
    async fn identified(
        &self,
        kind: WorkloadKind,
        namespace: &str,
        name: &str,
        uid: &str,
        deadline: Instant,
    ) -> Result<Option<Known>, LookupError> {
        let kind = Kind::Workload(kind);
        match self.cached(kind, namespace, name) {
            Some(known) if *known.uid == *uid => Ok(Some(known)),
            _ => self.live(kind, namespace, name, Some(uid), deadline).await,
        }
    }

    fn cached(&self, kind: Kind, namespace: &str, name: &str) -> Option<Known> {
        self.caches.of(kind)?.store.get(namespace, name)
    }

    /// Reads an object from the API server. Pods that come at once wait for one read; one that found something serves
    /// for a second. One that found nothing serves nobody else: the object may have been created since. With a `uid`,
    /// only the object that has it counts.
    async fn live(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        uid: Option<&str>,
        deadline: Instant,
    ) -> Result<Option<Known>, LookupError> {
        let is_meant = |known: &Known| uid.is_none_or(|uid| *known.uid == *uid);
        let begin = Instant::now();
        let slot = {
            let target: Target = (kind, namespace.into(), name.into());
            let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
            match recent.get(&target) {
                Some(slot) => Arc::clone(slot),
                None => {
                    let slot = Arc::default();
                    recent.insert(target, Arc::clone(&slot));
                    slot
                }
            }
        };
        let failed = |error| LookupError {
            object: kind.object(namespace, name).to_string(),
            error,
        };
        // The read ends at the deadline by itself; waiting for somebody else's does not.
        let mut slot = timeout_at(deadline, slot.lock())
            .await
            .map_err(|_| failed(ClusterError::Timeout(begin.elapsed())))?;
        if let Some(recent) = slot.as_ref()
            && recent.at.elapsed() < REUSE
            && is_meant(&recent.known)
        {
            return Ok(Some(recent.known.clone()));
        }
        let found = self.cluster.read(kind, namespace, name, deadline).await;
        self.metrics.live_read(
            kind,
            match &found {
                Ok(Some(_)) => ReadResult::Found,
                Ok(None) => ReadResult::NotFound,
                Err(_) => ReadResult::Error,
            },
        );
        let known = found.map_err(failed)?.map(|object| object.known);
        *slot = known.clone().map(|known| Recent {
            known,
            at: Instant::now(),
        });
        Ok(known.filter(is_meant))
    }
}

fn layer(kind: WorkloadKind, namespace: &str, name: &str, keys: Keys) -> Layer {
    Layer {
        object: Kind::Workload(kind).object(namespace, name),
        keys,
    }
}

/// Whether a controller is of a kind, matched by group and kind.
fn is(owner: &Owner, kind: WorkloadKind) -> bool {
    *owner.group == *kind.group() && *owner.kind == *kind.kind()
}

const DEPLOYMENT: Kind = Kind::Workload(WorkloadKind::Deployment);
/// How long a live answer serves further pods.
const REUSE: Duration = Duration::from_secs(1);
/// The pods of one burst.
const RECENT_READS: usize = 1024;
/// A few kilobytes per hundred.
const REPLICA_SETS: usize = 4096;
