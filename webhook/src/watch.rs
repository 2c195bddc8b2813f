//! One list and then one watch per kind, for ever.
//!
//! Not kube's reflector: it keeps whole objects, and while it lists again it holds everything twice. Here a store is
//! never emptied by a failure. What was known stays known while the API server is away, and a new list replaces the old
//! one object by object.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use http::StatusCode;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, info, warn};

use crate::{
    cluster::{Cluster, ClusterError, Lines},
    kind::Kind,
    log::printable,
    object::{Event, Keep},
    store::Store,
};

/// What the watches have seen, of all kinds.
#[derive(Debug)]
pub struct Caches([Arc<Cache>; Kind::WATCHED.len()]);

/// What one watch has seen.
#[derive(Debug)]
pub struct Cache {
    /// The kind.
    pub kind: Kind,
    /// Its objects.
    pub store: Store,
    synced: AtomicBool,
    start: Instant,
    /// Milliseconds after `start` at which the API server last said something; zero for never.
    contact: AtomicU64,
}

impl Caches {
    /// Empty caches, which no watch fills yet.
    #[must_use]
    pub fn new() -> Self {
        let start = Instant::now();
        Self(Kind::WATCHED.map(|kind| {
            Arc::new(Cache {
                kind,
                store: Store::default(),
                synced: AtomicBool::new(false),
                start,
                contact: AtomicU64::new(0),
            })
        }))
    }

    /// The cache of one kind; none for kinds that are not watched.
    #[must_use]
    pub fn of(&self, kind: Kind) -> Option<&Cache> {
        self.iter().find(|cache| cache.kind == kind)
    }

    /// All caches.
    pub fn iter(&self) -> impl Iterator<Item = &Cache> {
        self.0.iter().map(|cache| &**cache)
    }

    /// The first kind whose first list is not complete yet; none when all are.
    #[must_use]
    pub fn waiting_for(&self) -> Option<Kind> {
        self.iter()
            .find(|cache| !cache.is_synced())
            .map(|cache| cache.kind)
    }

    /// Starts the watches. They end when the runtime does.
    pub fn start(&self, cluster: &Arc<Cluster>) {
        for cache in &self.0 {
            let (cluster, cache) = (Arc::clone(cluster), Arc::clone(cache));
            tokio::spawn(async move { keep(&cluster, &cache).await });
        }
    }
}

impl Default for Caches {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// Whether a list was completed.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// How long ago the API server last said something about this kind: a page, an event, or a bookmark, which it sends
    /// about every minute. None before the first.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let contact = self.contact.load(Ordering::Relaxed);
        (contact > 0).then(|| {
            self.start
                .elapsed()
                .saturating_sub(Duration::from_millis(contact))
        })
    }

    fn touch(&self) {
        let elapsed = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.contact.store(elapsed.max(1), Ordering::Relaxed);
    }
}

async fn keep(cluster: &Cluster, cache: &Cache) {
    let mut backoff = Backoff::default();
    loop {
        match list(cluster, cache).await {
            Ok(version) => {
                backoff.reset();
                if !cache.synced.swap(true, Ordering::AcqRel) {
                    let (kind, objects) = (cache.kind.name(), cache.store.len());
                    info!(kind, objects, "listed");
                }
                follow(cluster, cache, version, &mut backoff).await;
            }
            // A list that took so long that its pages expired begins again.
            Err(error) => {
                report(cache, "list", &error);
                backoff.wait().await;
            }
        }
    }
}

/// Reads all pages and returns the version that they show.
async fn list(cluster: &Cluster, cache: &Cache) -> Result<String, ClusterError> {
    cache.store.begin_list();
    let mut next = String::new();
    loop {
        let end = cluster
            .page(cache.kind, &next, |object| cache.store.put(object))
            .await?;
        cache.touch();
        if end.next.is_empty() {
            cache.store.end_list();
            return Ok(end.resource_version);
        }
        next = end.next;
    }
}

/// Watches from a version on until only a new list can help.
async fn follow(cluster: &Cluster, cache: &Cache, mut version: String, backoff: &mut Backoff) {
    let mut failures = 0;
    loop {
        let lasting = WATCH_LEAST + random_part(WATCH_SPREAD);
        let begin = Instant::now();
        let result = match cluster.watch(cache.kind, &version, lasting).await {
            Ok(mut lines) => {
                cache.touch();
                events(cache, cluster.keep(cache.kind), &mut lines, &mut version).await
            }
            Err(error) => Err(error),
        };
        let lasted = begin.elapsed() > MAX_PAUSE;
        if lasted {
            backoff.reset();
            failures = 0;
        }
        match result {
            // The server ends a watch after the time that it was asked for. One that ends at once must not become a loop.
            Ok(()) if lasted => {}
            Ok(()) => backoff.wait().await,
            Err(error) if error.status() == Some(StatusCode::GONE) => return,
            Err(error) => {
                report(cache, "watch", &error);
                backoff.wait().await;
                failures += 1;
                // A version that an etcd restored from a backup has not reached yet, or an event that cannot be read.
                if failures == MAX_FAILURES {
                    return;
                }
            }
        }
    }
}

async fn events(
    cache: &Cache,
    keep: Keep,
    lines: &mut Lines,
    version: &mut String,
) -> Result<(), ClusterError> {
    loop {
        // Silent for longer than bookmarks let expect: nobody is there any more.
        let Ok(line) = timeout(MAX_SILENCE, lines.next()).await else {
            return Ok(());
        };
        let Some(line) = line? else {
            return Ok(());
        };
        let event: Event<'_> = serde_json::from_slice(&line)
            .map_err(|error| ClusterError::Unreadable(error.to_string()))?;
        cache.touch();
        if event.kind == "ERROR" {
            let code = event.object.code.unwrap_or_default();
            return Err(ClusterError::Status {
                status: StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                message: event.object.message.unwrap_or_default().into_owned(),
            });
        }
        let metadata = event.object.metadata;
        if !metadata.resource_version.is_empty() {
            metadata.resource_version.as_ref().clone_into(version);
        }
        match &*event.kind {
            "ADDED" | "MODIFIED" => cache.store.put(metadata.object(keep)),
            "DELETED" => {
                let (namespace, name) = metadata.name();
                cache.store.remove(namespace, name);
            }
            // BOOKMARK, and what a newer API server may add.
            _ => {}
        }
    }
}

fn report(cache: &Cache, verb: &'static str, problem: &ClusterError) {
    let kind = cache.kind.name();
    let text = printable(&problem.to_string());
    match problem.status() {
        Some(StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED) => error!(
            kind,
            verb,
            error = text,
            ready = cache.is_synced(),
            "not allowed: the webhook needs `list` and `watch` on this kind in all namespaces"
        ),
        _ => warn!(
            kind,
            verb,
            error = text,
            ready = cache.is_synced(),
            "what was seen before stays in use, and is tried again"
        ),
    }
}

/// Pauses that grow from 0.8 to 30 seconds with some chance in each: what kube's watcher and client-go do.
#[derive(Default)]
struct Backoff {
    failures: u32,
}

impl Backoff {
    fn reset(&mut self) {
        self.failures = 0;
    }

    async fn wait(&mut self) {
        let pause = (FIRST_PAUSE * 2_u32.saturating_pow(self.failures)).min(MAX_PAUSE);
        self.failures = (self.failures + 1).min(8);
        sleep(pause / 2 + random_part(pause)).await;
    }
}

/// Between nothing and all of a duration. Chance enough to keep replicas apart, without a generator of its own.
pub(crate) fn random_part(of: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish();
    of.mul_f64((random % 1000) as f64 / 1000.0)
}

const FIRST_PAUSE: Duration = Duration::from_millis(800);
const MAX_PAUSE: Duration = Duration::from_secs(30);
const MAX_FAILURES: u32 = 4;
const WATCH_LEAST: Duration = Duration::from_secs(240);
const WATCH_SPREAD: Duration = Duration::from_secs(60);
const MAX_SILENCE: Duration = Duration::from_secs(150);
