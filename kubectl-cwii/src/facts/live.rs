//! Facts of a live cluster: at most two rounds of requests for a pod, each object once.
//!
//! The first round reads the pod and everything that is known without it; the second what the pod and the webhooks name.
//! A third is only made for what no name tells beforehand: the Secret of a webhook that an unusual installer named, and the
//! nodes of a workload's pods. What is created or contacted beyond reads is part of the second round, and only with
//! `--probe`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt,
};

use bytes::Bytes;
use cwii_checks::{
    doctor::{Facts, Mechanism, Need, Object, examine},
    facts::{Fact, Issuer},
};
use cwii_contract::Provider;
use cwii_token::{Discovery, Jwks, Token};
use cwii_trust::Library;
use futures_util::future::join_all;
use secrecy::ExposeSecret as _;
use serde_json::{Value, value::RawValue};

use super::{
    assemble::{
        Surroundings, assemble, is_identity_webhook, secrets_of, selector_of, service_of,
        usual_secret, webhooks_of,
    },
    manifest::forget_secrets,
    rbac,
    store::{Key, Query, Store},
    sweep::likeness,
    workload::{Workload, config_maps_of, controller, guess, service_account_of},
};
use crate::{
    cli::Limit,
    cluster::{
        Cluster, Failure, ListOptions, Resource,
        client::{Mint, identify},
        fact, resource,
    },
    sources,
};

/// One request.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Read {
    Object(Key),
    List(Query),
    Version,
    ApiGroups,
    Discovery,
    Jwks,
    Metrics,
    /// The ConfigMap with trust documents.
    Trust,
}

/// What a request gave.
enum Answer {
    Object(Fact<Object>),
    List(Fact<Vec<Object>>),
    /// Pods, each with the number of those that are the same.
    Pods(Fact<Vec<(Object, usize)>>),
    Text(Fact<String>),
    Bytes(Fact<Bytes>),
}

/// Reads the cluster into a store.
pub(crate) struct Source<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) probe: bool,
    /// Whether trust documents were given; the stored ones are not read then.
    pub(crate) has_trust: bool,
    pub(crate) request_timeout: Limit,
    /// Whether there are many workloads, of which only what rules look at is kept.
    sweeps: bool,
    done: BTreeSet<Read>,
    rounds: usize,
}

impl<'c> Source<'c> {
    pub(crate) fn new(
        cluster: &'c Cluster,
        probe: bool,
        has_trust: bool,
        request_timeout: Limit,
    ) -> Self {
        Self {
            cluster,
            probe,
            has_trust,
            request_timeout,
            sweeps: false,
            done: BTreeSet::new(),
            rounds: 0,
        }
    }

    /// Whether an earlier list tells what a request would.
    fn is_known(&self, read: &Read, store: &Store) -> bool {
        match read {
            Read::List(query) => {
                // Of the pods of a sweep one stands for many, which those of a webhook must not.
                !query.namespace.is_empty()
                    && query.kind != "Pod"
                    && store.is_listed(&Query::new(&query.kind, "", ""))
            }
            Read::Object(key) => [key.namespace.as_str(), ""]
                .iter()
                .any(|namespace| store.is_listed(&Query::new(&key.kind, namespace, ""))),
            _ => false,
        }
    }

    /// How many rounds of requests were made.
    pub(crate) fn rounds(&self) -> usize {
        self.rounds
    }

    /// Makes requests at once and takes their answers. What was read before is not read again, nor what manifests say and a
    /// list of would say nothing about.
    pub(crate) async fn round(
        &mut self,
        reads: impl IntoIterator<Item = Read>,
        store: &mut Store,
        surroundings: &mut Surroundings,
    ) {
        let reads: BTreeSet<_> = reads
            .into_iter()
            .filter(|read| !self.done.contains(read) && !self.is_known(read, store))
            .collect();
        if reads.is_empty() {
            return;
        }
        self.rounds += 1;
        let cluster = self.cluster;
        let sweeps = self.sweeps;
        let answers = join_all(reads.iter().map(|read| ask(cluster, read, sweeps))).await;
        for (read, answer) in reads.iter().zip(answers) {
            take(read, answer, store, surroundings);
        }
        self.done.extend(reads);
        surroundings.clock = self.cluster.clock().map_or(Fact::NotCollected, Fact::Known);
    }

    /// What can be read before anything of a workload is known.
    pub(crate) fn around(&self, namespace: &str) -> Vec<Read> {
        let needs = rbac::needs(self.probe);
        let list = |kind: &str, namespace: &str| Read::List(Query::new(kind, namespace, ""));
        let mut reads = Vec::new();
        for need in needs {
            match need {
                Need::Namespace => reads.push(Read::Object(Key::new("Namespace", "", namespace))),
                Need::ServiceAccounts => reads.push(list("ServiceAccount", namespace)),
                Need::Events => reads.push(list("Event", namespace)),
                Need::NetworkPolicies => reads.push(list("NetworkPolicy", namespace)),
                Need::Quotas => {
                    reads.push(list("ResourceQuota", namespace));
                    reads.push(list("LimitRange", namespace));
                }
                other => reads.extend(self.of_cluster(other)),
            }
        }
        reads
    }

    /// What is read once for the whole cluster.
    fn of_cluster(&self, need: Need) -> Option<Read> {
        Some(match need {
            Need::Webhooks => Read::List(Query::new("MutatingWebhookConfiguration", "", "")),
            Need::DaemonSets => Read::List(Query::new("DaemonSet", "", "")),
            Need::Version => Read::Version,
            Need::ApiGroups => Read::ApiGroups,
            Need::Discovery => Read::Discovery,
            Need::Jwks => Read::Jwks,
            Need::Metrics => Read::Metrics,
            Need::Trust if !self.has_trust => Read::Trust,
            _ => return None,
        })
    }

    /// What a sweep lists, in one namespace or in all.
    pub(crate) fn lists(&mut self, namespace: &str, labels: &str) -> Vec<Read> {
        self.sweeps = true;
        let needs = rbac::needs(self.probe);
        let list = |kind: &str| Read::List(Query::new(kind, namespace, ""));
        let mut reads = vec![Read::List(Query::new("Pod", namespace, labels))];
        for need in needs {
            match need {
                Need::Owners => reads.extend(
                    [
                        "Deployment",
                        "StatefulSet",
                        "DaemonSet",
                        "ReplicationController",
                        "Job",
                        "CronJob",
                    ]
                    .map(list),
                ),
                Need::Namespace if namespace.is_empty() => reads.push(list("Namespace")),
                Need::Namespace => reads.push(Read::Object(Key::new("Namespace", "", namespace))),
                Need::ServiceAccount | Need::ServiceAccounts => reads.push(list("ServiceAccount")),
                Need::Events => reads.push(list("Event")),
                Need::NetworkPolicies => reads.push(list("NetworkPolicy")),
                Need::Quotas => reads.extend(["ResourceQuota", "LimitRange"].map(list)),
                Need::Node => reads.push(Read::List(Query::new("Node", "", ""))),
                other => reads.extend(self.of_cluster(other)),
            }
        }
        reads
    }

    /// What a pod names: its controllers, its ServiceAccount, its node, its ConfigMaps.
    pub(crate) fn named_by(&self, workload: &Workload, store: &Store) -> Vec<Read> {
        let Fact::Known(pod) = &workload.pod else {
            return Vec::new();
        };
        let needs = rbac::needs(self.probe);
        let namespace = workload.target.namespace.as_str();
        let mut reads = Vec::new();
        let mut want = |kind: &str, name: &str| {
            if !store.is_answered(kind, namespace, name) && Resource::find(kind).is_some() {
                reads.push(Read::Object(Key::new(kind, namespace, name)));
            }
        };
        if needs.contains(&Need::Owners) {
            let made = workload.template_of.as_ref().unwrap_or(pod);
            if let Some(owner) = controller(made) {
                want(&owner.kind(), &owner.name);
                if let Some(above) = guess(&owner, made) {
                    want(&above.kind(), &above.name);
                }
            }
        }
        want("ServiceAccount", service_account_of(pod));
        if let Some(node) = pod.text("/spec/nodeName").filter(|name| !name.is_empty())
            && needs.contains(&Need::Node)
        {
            want("Node", node);
        }
        if needs.contains(&Need::ConfigMaps) {
            for name in config_maps_of(pod) {
                want("ConfigMap", &name);
            }
        }
        reads
    }

    /// What stands behind the webhooks that inject identities. Services of others are none of this tool's business.
    pub(crate) fn behind_webhooks(&self, store: &Store) -> Vec<Read> {
        let needs = rbac::needs(self.probe);
        if !needs.contains(&Need::Backends) && !needs.contains(&Need::WebhookSettings) {
            return Vec::new();
        }
        let Fact::Known(configurations) = store.list("MutatingWebhookConfiguration", "", "") else {
            return Vec::new();
        };
        let mut reads = Vec::new();
        for (namespace, name) in webhooks_of(&configurations)
            .filter(|webhook| is_identity_webhook(webhook))
            .filter_map(service_of)
        {
            let list = |kind: &str, labels: &str| Read::List(Query::new(kind, namespace, labels));
            reads.push(Read::Object(Key::new("Service", namespace, name)));
            reads.push(list(
                "EndpointSlice",
                &format!("kubernetes.io/service-name={name}"),
            ));
            // Its selector is not known yet.
            reads.push(list("Pod", ""));
            reads.push(list("Deployment", ""));
            reads.push(Read::Object(Key::new(
                "Secret",
                namespace,
                &usual_secret(name),
            )));
        }
        reads
    }

    /// Secrets with certificates that are named otherwise than usual.
    pub(crate) fn secrets(&self, store: &Store) -> Vec<Read> {
        let Fact::Known(configurations) = store.list("MutatingWebhookConfiguration", "", "") else {
            return Vec::new();
        };
        let mut reads = Vec::new();
        for (namespace, name) in webhooks_of(&configurations)
            .filter(|webhook| is_identity_webhook(webhook))
            .filter_map(service_of)
        {
            let Fact::Known(service) = store.get("Service", namespace, name) else {
                continue;
            };
            let Some(labels) = selector_of(&service) else {
                continue;
            };
            let Fact::Known(pods) = store.list("Pod", namespace, &labels) else {
                continue;
            };
            let names = secrets_of(pods.iter());
            if names.contains(&usual_secret(name)) {
                continue;
            }
            reads.extend(
                names
                    .iter()
                    .map(|name| Read::Object(Key::new("Secret", namespace, name))),
            );
        }
        reads
    }
}

/// What `--probe` asks for one workload, beyond reads.
pub(crate) struct Probe {
    pub(crate) audiences: Vec<String>,
    pub(crate) copy: Option<Value>,
    pub(crate) issuer: Option<String>,
}

/// What became of it.
pub(crate) struct Probed {
    tokens: BTreeMap<String, Fact<Token>>,
    dry_run: Fact<Object>,
    published: Fact<Issuer>,
}

impl Probe {
    /// What would be asked, by what is known so far.
    pub(crate) fn of(store: &Store, surroundings: &Surroundings, workload: &Workload) -> Self {
        let facts = assemble(store, surroundings, workload, true);
        let audiences: BTreeSet<String> = examine(&facts)
            .mechanisms
            .iter()
            .filter(|mechanism| mechanism.kind.presents_token())
            .filter_map(audience)
            .collect();
        let issuer = match &surroundings.discovery {
            Fact::Known(discovery) => Some(discovery.issuer.clone()),
            _ => None,
        };
        Self {
            audiences: audiences.into_iter().collect(),
            copy: match &workload.pod {
                Fact::Known(pod) => Some(copy_of(pod)),
                _ => None,
            },
            issuer: issuer.filter(|issuer| issuer.starts_with("https://")),
        }
    }

    /// Asks everything at once.
    pub(crate) async fn run(&self, source: &Source<'_>, workload: &Workload) -> Probed {
        let namespace = workload.target.namespace.as_str();
        let Fact::Known(pod) = &workload.pod else {
            return Probed {
                tokens: BTreeMap::new(),
                dry_run: Fact::NotCollected,
                published: Fact::NotCollected,
            };
        };
        // A token for a pod that is there is bound to it, as its own is.
        let bound = pod
            .uid()
            .filter(|_| !workload.from_template)
            .map(|uid| (pod.name(), uid));
        let mint = |audience: &String| {
            let audiences = vec![audience.clone()];
            async move {
                let minted = source
                    .cluster
                    .mint(Mint {
                        namespace,
                        service_account: service_account_of(pod),
                        audiences: &audiences,
                        expiration_seconds: None,
                        pod: bound,
                    })
                    .await;
                let token = minted.and_then(|minted| {
                    Token::decode(minted.token.expose_secret())
                        .map_err(|error| Failure::Unreadable(error.to_string()))
                });
                fact(token)
            }
        };
        let dry_run = async {
            match &self.copy {
                Some(copy) => fact(
                    source
                        .cluster
                        .create(resource::POD, namespace, copy, true)
                        .await
                        .map(Object::new),
                ),
                None => Fact::NotCollected,
            }
        };
        let published = async {
            match &self.issuer {
                Some(issuer) => {
                    let environment = sources::environment();
                    let options = sources::options(source.request_timeout);
                    Fact::Known(
                        cwii_exchange::issuer(issuer, &environment, &options, Provider::Az).await,
                    )
                }
                None => Fact::NotCollected,
            }
        };
        let (tokens, dry_run, published) = tokio::join!(
            join_all(self.audiences.iter().map(mint)),
            dry_run,
            published
        );
        Probed {
            tokens: self.audiences.iter().cloned().zip(tokens).collect(),
            dry_run,
            published,
        }
    }
}

impl Probed {
    pub(crate) fn fill(self, facts: &mut Facts) {
        facts.tokens = Fact::Known(self.tokens);
        facts.dry_run = self.dry_run;
        if !matches!(self.published, Fact::NotCollected) {
            facts.published = self.published;
        }
    }
}

fn audience(mechanism: &Mechanism) -> Option<String> {
    mechanism
        .token
        .as_ref()
        .and_then(|token| token.audience.clone())
        .or_else(|| mechanism.audience.as_ref().map(|given| given.value.clone()))
}

/// A pod as its maker sent it: without what the API server, the scheduler, the kubelet and identity webhooks gave it.
fn copy_of(pod: &Object) -> Value {
    let mut copy = pod.value().clone();
    let volumes: BTreeSet<String> = pod
        .list("/spec/volumes")
        .filter_map(|volume| volume.get("name")?.as_str())
        .filter(|name| is_injected(name))
        .map(str::to_owned)
        .collect();
    let is_gone = |value: &Value| {
        value
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|name| volumes.contains(name))
    };
    if let Some(metadata) = copy.get_mut("metadata").and_then(Value::as_object_mut) {
        let prefix: String = pod.name().chars().take(200).collect();
        metadata
            .retain(|member, _| matches!(member.as_str(), "namespace" | "labels" | "annotations"));
        metadata.insert(
            "generateName".into(),
            format!("{}-", prefix.trim_end_matches(['-', '.'])).into(),
        );
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            for output in ["cwii.dev/injected", "cwii.dev/webhook-version"] {
                annotations.remove(output);
            }
        }
    }
    if let Some(members) = copy.as_object_mut() {
        members.remove("status");
    }
    let Some(spec) = copy.get_mut("spec").and_then(Value::as_object_mut) else {
        return copy;
    };
    for member in [
        "nodeName",
        "ephemeralContainers",
        "priority",
        "preemptionPolicy",
    ] {
        spec.remove(member);
    }
    if let Some(Value::Array(list)) = spec.get_mut("volumes") {
        list.retain(|volume| !is_gone(volume));
    }
    for list in ["initContainers", "containers"] {
        let Some(Value::Array(containers)) = spec.get_mut(list) else {
            continue;
        };
        containers.retain(|container| {
            !container
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(|name| name.starts_with("cwii-"))
        });
        for container in containers {
            let mut had = false;
            if let Some(Value::Array(mounts)) = container.get_mut("volumeMounts") {
                had = mounts.iter().any(|mount| {
                    is_gone(mount)
                        && !mount
                            .get("name")
                            .and_then(Value::as_str)
                            .is_some_and(|name| name.starts_with("kube-api-access-"))
                });
                mounts.retain(|mount| !is_gone(mount));
            }
            if had && let Some(Value::Array(variables)) = container.get_mut("env") {
                variables.retain(|variable| {
                    !variable
                        .get("name")
                        .and_then(Value::as_str)
                        .is_some_and(|name| INJECTED_VARIABLES.contains(&name))
                });
            }
        }
    }
    copy
}

/// Volumes that the API server and identity webhooks add.
fn is_injected(volume: &str) -> bool {
    [
        "kube-api-access-",
        "cwii-",
        "azure-workload-identity-reserved-",
    ]
    .iter()
    .any(|prefix| volume.starts_with(prefix))
        || [
            "aws-iam-token",
            "eks-pod-identity-token",
            "azure-identity-token",
            "gcp-iam-token",
            "external-credential-config",
        ]
        .contains(&volume)
}

/// One request.
async fn ask(cluster: &Cluster, read: &Read, sweeps: bool) -> Answer {
    match read {
        Read::Object(key) => {
            let Some(resource) = Resource::find(&key.kind) else {
                return Answer::Object(Fact::NotCollected);
            };
            let found = cluster.get(resource, &key.namespace, &key.name).await;
            Answer::Object(fact(found.map(|mut value| {
                if key.kind == "Secret" {
                    forget_secrets(&mut value);
                }
                Object::new(value)
            })))
        }
        Read::List(query) => {
            let Some(resource) = Resource::find(&query.kind) else {
                return Answer::List(Fact::NotCollected);
            };
            let options = ListOptions {
                namespace: Some(query.namespace.as_str()).filter(|name| !name.is_empty()),
                labels: Some(query.labels.as_str()).filter(|labels| !labels.is_empty()),
                // Old events say nothing that new ones do not, and there are many.
                fields: Some("type=Warning").filter(|_| sweeps && query.kind == "Event"),
                page: Some(PAGE),
                ..ListOptions::default()
            };
            if !sweeps {
                let found = cluster.list(resource, options).await;
                let objects = |values: Vec<Value>| values.into_iter().map(Object::new).collect();
                return Answer::List(fact(found).map(objects));
            }
            let mut kept = Kept::default();
            let pages = cluster
                .each(resource, options, |raw: Box<RawValue>| {
                    kept.take(resource, &raw)
                })
                .await;
            let found = fact(pages.map(|_| kept.objects));
            if query.kind == "Pod" {
                Answer::Pods(found)
            } else {
                Answer::List(found.map(|pods| pods.into_iter().map(|(pod, _)| pod).collect()))
            }
        }
        Read::Version => Answer::Text(fact(cluster.version().await)),
        Read::ApiGroups => Answer::Bytes(fact(cluster.raw("/apis").await)),
        Read::Discovery => {
            Answer::Bytes(fact(cluster.raw("/.well-known/openid-configuration").await))
        }
        Read::Jwks => Answer::Bytes(fact(cluster.raw("/openid/v1/jwks").await)),
        Read::Metrics => Answer::Bytes(fact(cluster.raw("/metrics").await)),
        Read::Trust => {
            let found = cluster.get(resource::CONFIG_MAP, SYSTEM, TRUST).await;
            Answer::Object(fact(found.map(Object::new)))
        }
    }
}

fn take(read: &Read, answer: Answer, store: &mut Store, surroundings: &mut Surroundings) {
    match (read, answer) {
        (Read::Trust, Answer::Object(fact)) => surroundings.trust = stored(fact),
        (Read::Object(key), Answer::Object(fact)) => store.answer(key.clone(), fact),
        (Read::List(query), Answer::List(fact)) => store.answer_list(query.clone(), fact),
        (Read::List(query), Answer::Pods(fact)) => {
            let fact = fact.map(|pods| {
                let kept = pods.into_iter().map(|(pod, number)| {
                    store.stands_for(Key::of(&pod), number);
                    pod
                });
                kept.collect()
            });
            store.answer_list(query.clone(), fact);
        }
        (Read::Version, Answer::Text(fact)) => surroundings.version = fact,
        (Read::ApiGroups, Answer::Bytes(fact)) => {
            surroundings.api_groups = parsed(fact, |bytes| {
                let list: Value = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
                let groups = list.get("groups").and_then(Value::as_array);
                Ok(groups
                    .into_iter()
                    .flatten()
                    .filter_map(|group| group.get("name")?.as_str().map(str::to_owned))
                    .collect())
            });
        }
        (Read::Discovery, Answer::Bytes(fact)) => {
            surroundings.discovery = parsed(fact, |bytes| {
                Discovery::parse(bytes).map_err(|e| e.to_string())
            });
        }
        (Read::Jwks, Answer::Bytes(fact)) => {
            surroundings.jwks = parsed(fact, |bytes| Jwks::parse(bytes).map_err(|e| e.to_string()));
        }
        (Read::Metrics, Answer::Bytes(fact)) => {
            surroundings.metrics =
                parsed(
                    fact,
                    |bytes| Ok(String::from_utf8_lossy(bytes).into_owned()),
                );
        }
        _ => {}
    }
}

/// What a sweep keeps of a list while it passes.
#[derive(Default)]
struct Kept {
    objects: Vec<(Object, usize)>,
    /// Place of the pods of a controller that are the same.
    like: HashMap<(String, String, u64), usize>,
}

impl Kept {
    fn take(&mut self, resource: &Resource, raw: &RawValue) {
        let Ok(mut value) = serde_json::from_str::<Value>(raw.get()) else {
            return;
        };
        identify(&mut value, resource);
        let value = trimmed(value);
        let object = Object::new(value);
        let owner = controller(&object).filter(|_| resource.kind == "Pod");
        let Some(owner) = owner else {
            self.objects.push((object, 1));
            return;
        };
        let key = (
            object.namespace().unwrap_or_default().to_owned(),
            owner.name,
            likeness(&object),
        );
        match self.like.get(&key) {
            Some(index) => {
                if let Some((known, number)) = self.objects.get_mut(*index) {
                    *number += 1;
                    // The oldest stands for them all.
                    if object.created() < known.created() {
                        *known = object;
                    }
                }
            }
            None => {
                self.like.insert(key, self.objects.len());
                self.objects.push((object, 1));
            }
        }
    }
}

/// An object without what no rule looks at and takes most of the space.
fn trimmed(mut value: Value) -> Value {
    let is_pod = value.get("kind").and_then(Value::as_str) == Some("Pod");
    if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
        metadata.remove("selfLink");
        if let Some(Value::Object(annotations)) = metadata.get_mut("annotations") {
            annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
        }
        if let Some(Value::Array(managed)) = metadata.get_mut("managedFields") {
            for entry in managed.iter_mut() {
                if let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") {
                    fields.retain(|member, _| member == "f:metadata");
                }
            }
            managed.retain(|entry| {
                entry
                    .get("fieldsV1")
                    .and_then(Value::as_object)
                    .is_some_and(|fields| !fields.is_empty())
            });
        }
    }
    if is_pod && let Some(Value::Object(status)) = value.get_mut("status") {
        status.retain(|member, _| {
            matches!(
                member.as_str(),
                "phase"
                    | "reason"
                    | "message"
                    | "startTime"
                    | "containerStatuses"
                    | "initContainerStatuses"
            )
        });
    }
    value
}

/// The stored trust documents. That nobody stored any is as if none had been given.
fn stored(fact: Fact<Object>) -> Fact<Library> {
    fact.and_then(|object| {
        let data = object.get("/data").and_then(Value::as_object);
        let (library, results) = Library::from_config_map_data(
            data.into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))),
        );
        match results.into_iter().find_map(Result::err) {
            Some(error) if library.is_empty() => Fact::Invalid(error.to_string()),
            _ => Fact::Known(library),
        }
    })
    .or_not_collected()
}

fn parsed<T>(fact: Fact<Bytes>, parse: impl FnOnce(&[u8]) -> Result<T, String>) -> Fact<T> {
    fact.and_then(|bytes| match parse(&bytes) {
        Ok(value) => Fact::Known(value),
        Err(why) => Fact::Invalid(why),
    })
}

/// Ways to go on with a fact.
pub(super) trait Then<T> {
    fn and_then<U>(self, then: impl FnOnce(T) -> Fact<U>) -> Fact<U>;
    fn map<U>(self, change: impl FnOnce(T) -> U) -> Fact<U>;
    fn or_not_collected(self) -> Self;
}

impl<T> Then<T> for Fact<T> {
    fn and_then<U>(self, then: impl FnOnce(T) -> Fact<U>) -> Fact<U> {
        match self {
            Self::Known(value) => then(value),
            Self::Absent => Fact::Absent,
            Self::Denied(permission) => Fact::Denied(permission),
            Self::Unreachable(why) => Fact::Unreachable(why),
            Self::TimedOut => Fact::TimedOut,
            Self::Invalid(why) => Fact::Invalid(why),
            Self::NotCollected => Fact::NotCollected,
        }
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Fact<U> {
        self.and_then(|value| Fact::Known(change(value)))
    }

    fn or_not_collected(self) -> Self {
        match self {
            Self::Absent => Self::NotCollected,
            other => other,
        }
    }
}

/// As the API server logs it, for `--dry-run`.
impl fmt::Display for Read {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self {
            Self::Object(key) => Resource::find(&key.kind)
                .map(|resource| readable(&resource.path(Some(&key.namespace))) + "/" + &key.name),
            Self::List(query) => Resource::find(&query.kind).map(|resource| {
                let namespace = Some(query.namespace.as_str()).filter(|name| !name.is_empty());
                let mut path = readable(&resource.path(namespace));
                if !query.labels.is_empty() {
                    path.push_str(&format!("?labelSelector={}", query.labels));
                }
                path
            }),
            Self::Version => Some("/version".into()),
            Self::ApiGroups => Some("/apis".into()),
            Self::Discovery => Some("/.well-known/openid-configuration".into()),
            Self::Jwks => Some("/openid/v1/jwks".into()),
            Self::Metrics => Some("/metrics".into()),
            Self::Trust => Some(format!("/api/v1/namespaces/{SYSTEM}/configmaps/{TRUST}")),
        };
        write!(f, "GET {}", path.unwrap_or_default())
    }
}

/// Placeholders and dashes as they are.
fn readable(path: &str) -> String {
    percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .into_owned()
}

/// 10,000 pods are ten pages.
const PAGE: usize = 1000;
/// Where cwii is installed, and where `trust store` puts trust documents.
const SYSTEM: &str = "cwii-system";
const TRUST: &str = "cwii-trust";

const INJECTED_VARIABLES: &[&str] = &[
    "AWS_STS_REGIONAL_ENDPOINTS",
    "AWS_DEFAULT_REGION",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_ROLE_SESSION_NAME",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_TENANT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_AUTHORITY_HOST",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_CLOUD_PROJECT",
    "CLOUDSDK_AUTH_CREDENTIAL_FILE_OVERRIDE",
    "CLOUDSDK_COMPUTE_REGION",
    "CLOUDSDK_CORE_PROJECT",
];
