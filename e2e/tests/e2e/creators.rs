//! Pods that are created one after the other, and whether each of them was injected.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use cwii_e2e::{Api, Object, say, until};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::support::{injected, variable};

/// Creates pods until it is stopped.
pub(crate) struct Creators {
    counts: Arc<Counts>,
    tasks: JoinSet<()>,
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    next: AtomicUsize,
    created: AtomicUsize,
    unmutated: AtomicUsize,
    failed: AtomicUsize,
    last_failure: std::sync::Mutex<String>,
}

/// What they saw.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Pods that were admitted.
    pub(crate) created: usize,
    /// Attempts that failed, and were made again.
    pub(crate) failed: usize,
    #[expect(dead_code, reason = "printed when an assertion fails")]
    last_failure: String,
}

impl Creators {
    /// Some at once, each one pod after the other.
    pub(crate) fn start(
        api: &Api,
        tasks: usize,
        pod: impl Fn(usize) -> Value + Send + Sync + 'static,
    ) -> Self {
        Self::paced(api, tasks, Duration::ZERO, pod)
    }

    /// Some at once, each with a pause after every pod: for what takes longer.
    pub(crate) fn paced(
        api: &Api,
        tasks: usize,
        pause: Duration,
        pod: impl Fn(usize) -> Value + Send + Sync + 'static,
    ) -> Self {
        let counts = Arc::new(Counts::default());
        let pod = Arc::new(pod);
        let mut set = JoinSet::new();
        for _ in 0..tasks {
            let (api, counts, pod) = (api.clone(), Arc::clone(&counts), Arc::clone(&pod));
            set.spawn(async move {
                while !counts.stop.load(Ordering::Relaxed) {
                    let n = counts.next.fetch_add(1, Ordering::Relaxed);
                    create(&api, &pod(n), &counts).await;
                    tokio::time::sleep(pause).await;
                }
            });
        }
        Self { counts, tasks: set }
    }

    pub(crate) fn created(&self) -> usize {
        self.counts.created.load(Ordering::Relaxed)
    }

    pub(crate) async fn created_at_least(&self, count: usize) {
        until(&format!("{count} pods"), || async {
            (self.created() >= count).then_some(())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn failed_at_least(&self, count: usize) {
        until(&format!("{count} failed attempts"), || async {
            (self.counts.failed.load(Ordering::Relaxed) >= count).then_some(())
        })
        .await
        .unwrap();
    }

    pub(crate) async fn stop(self, what: &str) -> Tally {
        self.counts.stop.store(true, Ordering::Relaxed);
        self.tasks.join_all().await;
        let tally = Tally {
            created: self.counts.created.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
            last_failure: self.counts.last_failure.lock().unwrap().clone(),
        };
        let unmutated = self.counts.unmutated.load(Ordering::Relaxed);
        say(&format!(
            "{what}: {} pods admitted, {unmutated} of them unmutated, {} attempts failed and were made again",
            tally.created, tally.failed
        ));
        assert_eq!(unmutated, 0, "{tally:?}");
        tally
    }
}

/// Creates one pod, as often as it takes.
async fn create(api: &Api, pod: &Value, counts: &Counts) {
    loop {
        match api.create(pod).await {
            Ok(pod) => {
                counts.created.fetch_add(1, Ordering::Relaxed);
                if injected(&pod).is_none() {
                    counts.unmutated.fetch_add(1, Ordering::Relaxed);
                }
                return;
            }
            Err(_) if counts.stop.load(Ordering::Relaxed) => return,
            Err(error) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                *counts.last_failure.lock().unwrap() = error.to_string();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}

/// Every pod of the namespace is as its own annotation asks.
pub(crate) async fn all_have_their_own_role(api: &Api, namespace: &str, tally: &Tally) {
    let pods = api.list(&Object::pod(namespace, ""), "").await.unwrap();
    assert_eq!(tally.created, pods.len());
    for pod in &pods {
        assert_eq!(
            variable(pod, "AWS_ROLE_ARN"),
            pod["metadata"]["annotations"]["cwii.dev/aws-role-arn"].as_str(),
            "{pod}"
        );
    }
    let unmutated = pods.iter().filter(|p| injected(p).is_none()).count();
    assert_eq!(unmutated, 0);
}
