//! ConfigMaps with Google's credentials document, where the operator chose that delivery.
//!
//! A pod whose ConfigMap is missing hangs in ContainerCreating, so a ConfigMap that cannot be applied is a request that
//! cannot be answered. Names follow from contents: what was applied needs no second look, unless somebody deleted it,
//! so it is applied again after a few seconds.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cwii_contract::plan::ConfigMap;
use tokio::time::Instant;

use crate::{
    bounded::Bounded,
    cluster::{Cluster, ClusterError},
};

/// Applies ConfigMaps.
#[derive(Debug)]
pub struct Delivery {
    cluster: Arc<Cluster>,
    applied: Mutex<Bounded<Target, Instant>>,
}

/// Namespace and name.
type Target = (Box<str>, Box<str>);

/// A ConfigMap could not be applied.
#[derive(Debug, thiserror::Error)]
#[error("ConfigMap {namespace}/{name} could not be applied: {error}")]
pub struct DeliveryError {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Why.
    pub error: ClusterError,
}

impl Delivery {
    /// Applies to `cluster`.
    #[must_use]
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self {
            cluster,
            applied: Mutex::new(Bounded::new(REMEMBERED)),
        }
    }

    /// Sees to it that a ConfigMap is there.
    ///
    /// # Errors
    ///
    /// It could not be applied before the deadline.
    pub async fn ensure(
        &self,
        namespace: &str,
        config_map: &ConfigMap,
        deadline: Instant,
    ) -> Result<(), DeliveryError> {
        let key: Target = (namespace.into(), config_map.name.as_str().into());
        let lately = {
            let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
            applied.get(&key).is_some_and(|at| at.elapsed() < REUSE)
        };
        if lately {
            return Ok(());
        }
        let manifest = config_map.manifest(namespace);
        self.cluster
            .apply_config_map(namespace, &config_map.name, &manifest, deadline)
            .await
            .map_err(|error| DeliveryError {
                namespace: namespace.to_owned(),
                name: config_map.name.clone(),
                error,
            })?;
        let mut applied = self.applied.lock().unwrap_or_else(PoisonError::into_inner);
        applied.insert(key, Instant::now());
        Ok(())
    }
}

/// How long an applied ConfigMap is taken to be there.
const REUSE: Duration = Duration::from_secs(10);
const REMEMBERED: usize = 4096;
