//! The facts of one workload, out of everything that was read.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cwii_checks::{
    doctor::{Backend, Facts, Object, Owner},
    facts::{Fact, Issuer, IssuerSeen, ServerClock},
};
use cwii_contract::{Settings, deployed, types::IssuerUrl};
use cwii_token::{Discovery, Jwks};
use cwii_trust::Library;
use jiff::Timestamp;
use serde_json::Value;

use super::{
    store::{Store, kind_of},
    workload::{Workload, config_maps_of, service_account_of, template_pointer},
};
use crate::cluster::webhook::is_webhook;

/// What is the same for all workloads of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings {
    pub(crate) now: Timestamp,
    /// Whether there is a cluster behind the manifests.
    pub(crate) is_live: bool,
    /// Whether manifests were given.
    pub(crate) has_files: bool,
    pub(crate) trust: Fact<Library>,
    pub(crate) version: Fact<String>,
    pub(crate) api_groups: Fact<Vec<String>>,
    pub(crate) discovery: Fact<Discovery>,
    pub(crate) jwks: Fact<Jwks>,
    pub(crate) clock: Fact<ServerClock>,
    pub(crate) metrics: Fact<String>,
    pub(crate) published: Fact<Issuer>,
    /// The cwii webhook's settings, once they are known.
    pub(crate) webhook_settings: Fact<Settings>,
    pub(crate) backends: Fact<BTreeMap<String, Backend>>,
}

impl Surroundings {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self {
            now,
            is_live: false,
            has_files: false,
            trust: Fact::NotCollected,
            version: Fact::NotCollected,
            api_groups: Fact::NotCollected,
            discovery: Fact::NotCollected,
            jwks: Fact::NotCollected,
            clock: Fact::NotCollected,
            metrics: Fact::NotCollected,
            published: Fact::NotCollected,
            webhook_settings: Fact::NotCollected,
            backends: Fact::NotCollected,
        }
    }

    /// Takes from trust documents what a cluster would say, where there is none, and what nobody looked at in public.
    pub(crate) fn fill_from_documents(&mut self) {
        let Fact::Known(library) = &self.trust else {
            return;
        };
        if !self.is_live {
            if let Some(discovery) = library.discovery() {
                self.discovery = Fact::Known(discovery.clone());
            }
            if let Some(jwks) = library.cluster_jwks() {
                self.jwks = Fact::Known(jwks.clone());
            }
        }
        let (discovery, jwks) = (library.published_discovery(), library.published_jwks());
        if matches!(self.published, Fact::NotCollected) && (discovery.is_some() || jwks.is_some()) {
            let said = discovery.map(|discovery| discovery.issuer.clone());
            let url = match &self.discovery {
                Fact::Known(discovery) => Some(discovery.issuer.clone()),
                _ => library
                    .all_claims()
                    .find_map(|(_, claims)| claims.issuer().map(str::to_owned))
                    .or(said),
            }
            .unwrap_or_default();
            let fact = |discovery: Option<&Discovery>| {
                discovery.map_or(Fact::NotCollected, |known| Fact::Known(known.clone()))
            };
            self.published = Fact::Known(Issuer {
                discovery_url: url
                    .parse::<IssuerUrl>()
                    .map(|issuer| issuer.discovery_url())
                    .unwrap_or_default(),
                url,
                jwks_url: discovery.map(|discovery| discovery.jwks_uri.clone()),
                discovery: fact(discovery),
                jwks: jwks.map_or(Fact::NotCollected, |known| Fact::Known(known.clone())),
                seen: IssuerSeen::default(),
            });
        }
    }

    /// Reads what stands behind the webhooks out of the store, once for all workloads.
    pub(crate) fn look_behind_webhooks(&mut self, store: &Store) {
        let webhooks = store.list("MutatingWebhookConfiguration", "", "");
        self.backends = match &webhooks {
            Fact::Known(webhooks) => Fact::Known(backends(store, webhooks)),
            other => without(other),
        };
        self.webhook_settings = match (&webhooks, &self.backends) {
            (Fact::Known(webhooks), Fact::Known(backends)) => settings(webhooks, backends),
            (other, _) => without(other),
        };
    }
}

/// The facts of a workload.
pub(crate) fn assemble(
    store: &Store,
    surroundings: &Surroundings,
    workload: &Workload,
    is_alone: bool,
) -> Facts {
    let mut facts = Facts::new(workload.target.clone(), surroundings.now);
    let namespace = workload.target.namespace.as_str();
    facts.pod = workload.pod.clone();
    facts.from_template = workload.from_template;
    facts.owners = workload.owners(store);
    facts.namespace = store.get("Namespace", "", namespace);
    facts.service_accounts = store.list("ServiceAccount", namespace, "");
    facts.webhooks = store.list("MutatingWebhookConfiguration", "", "");
    facts.daemon_sets = store.list("DaemonSet", "", "");
    facts.network_policies = store.list("NetworkPolicy", namespace, "");
    facts.quotas = both(
        store.list("ResourceQuota", namespace, ""),
        store.list("LimitRange", namespace, ""),
    );
    if let Fact::Known(pod) = &workload.pod {
        facts.from_files = pod.origin().is_some();
        let account = service_account_of(pod);
        facts.service_account = store.get("ServiceAccount", namespace, account);
        facts.config_maps = config_maps(store, namespace, &config_maps_of(pod));
        facts.node = match pod.text("/spec/nodeName").filter(|name| !name.is_empty()) {
            Some(node) => store.get("Node", "", node),
            None if surroundings.is_live => Fact::Absent,
            None => Fact::NotCollected,
        };
        facts.events = events(store, namespace, &facts);
        if let Fact::Known(library) = &surroundings.trust {
            let mut claims: Vec<_> = library
                .claims(namespace, account)
                .into_iter()
                .cloned()
                .collect();
            // The claims of one workload's token are this one's, also where they name somebody else: that may be the fault.
            if claims.is_empty() && is_alone {
                claims = library.all_claims().map(|(_, c)| c.clone()).collect();
            }
            if !claims.is_empty() {
                facts.claims = Fact::Known(claims);
            }
        }
    }
    if surroundings.has_files {
        facts.others = Fact::Known(others(store, namespace, &facts));
    }
    facts.trust = surroundings.trust.clone();
    facts.version = surroundings.version.clone();
    facts.api_groups = surroundings.api_groups.clone();
    facts.discovery = surroundings.discovery.clone();
    facts.jwks = surroundings.jwks.clone();
    facts.clock = surroundings.clock.clone();
    facts.metrics = surroundings.metrics.clone();
    facts.published = surroundings.published.clone();
    facts.webhook_settings = surroundings.webhook_settings.clone();
    facts.backends = surroundings.backends.clone();
    facts
}

/// Whether a webhook is cwii's own.
/// Source: contract, "Webhook": its name is `mutate.cwii.dev`.
pub(crate) fn is_cwii(webhook: &Value) -> bool {
    webhook
        .get("name")
        .and_then(Value::as_str)
        .is_some_and(|name| name == "cwii.dev" || name.ends_with(".cwii.dev"))
}

/// Whether a webhook injects identities, as far as its name or its Service's tells. Names are those that the vendors publish.
pub(crate) fn is_identity_webhook(webhook: &Value) -> bool {
    let name = webhook
        .get("name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let service = service_of(webhook).map_or("", |(_, name)| name);
    let parts = [
        "cwii",
        "pod-identity",
        "iam-for-pods",
        "azure-wi-",
        "workload-identity",
    ];
    parts
        .iter()
        .any(|part| name.contains(part) || service.contains(part))
}

/// Namespace and name of a webhook's Service; none where it is reached by URL.
pub(crate) fn service_of(webhook: &Value) -> Option<(&str, &str)> {
    let service = webhook.pointer("/clientConfig/service")?;
    Some((
        service.get("namespace")?.as_str()?,
        service.get("name")?.as_str()?,
    ))
}

/// The webhooks of configurations.
pub(crate) fn webhooks_of(configurations: &[Object]) -> impl Iterator<Item = &Value> {
    configurations
        .iter()
        .flat_map(|configuration| configuration.list("/webhooks"))
}

/// A Service's selector as a query writes it; none where it has none and picks nothing.
pub(crate) fn selector_of(service: &Object) -> Option<String> {
    let pairs: Vec<_> = service
        .get("/spec/selector")?
        .as_object()?
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    (!pairs.is_empty()).then(|| pairs.join(","))
}

/// The Secrets that pods may serve a certificate from, by name.
pub(crate) fn secrets_of<'o>(makers: impl Iterator<Item = &'o Object>) -> Vec<String> {
    let mut names = Vec::new();
    for object in makers {
        let spec = template_pointer(&kind_of(object.api_version(), object.kind()))
            .map_or_else(|| "/spec".to_owned(), |pointer| format!("{pointer}/spec"));
        for volume in object.list(&format!("{spec}/volumes")) {
            let projected = volume
                .pointer("/projected/sources")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|source| source.pointer("/secret/name"));
            for name in volume
                .pointer("/secret/secretName")
                .into_iter()
                .chain(projected)
            {
                if let Some(name) = name.as_str()
                    && !names.iter().any(|known| known == name)
                {
                    names.push(name.to_owned());
                }
            }
        }
    }
    names
}

fn backends(store: &Store, configurations: &[Object]) -> BTreeMap<String, Backend> {
    let mut backends = BTreeMap::new();
    for (namespace, name) in webhooks_of(configurations).filter_map(service_of) {
        backends
            .entry(format!("{namespace}/{name}"))
            .or_insert_with(|| backend(store, namespace, name));
    }
    backends
}

fn backend(store: &Store, namespace: &str, name: &str) -> Backend {
    let service = store.get("Service", namespace, name);
    let selector = match &service {
        Fact::Known(service) => Some(selector_of(service)),
        _ => None,
    };
    let picked = |kind: &str| match &selector {
        Some(Some(labels)) => store.list(kind, namespace, labels),
        // A Service without a selector picks nothing.
        Some(None) => Fact::Known(Vec::new()),
        None => match store.list(kind, namespace, "") {
            // Which of them would be picked nobody can tell.
            Fact::Known(_) | Fact::Absent => Fact::NotCollected,
            other => other,
        },
    };
    let pods = picked("Pod");
    let deployments = match (&selector, store.list("Deployment", namespace, "")) {
        (Some(Some(labels)), Fact::Known(all)) => Fact::Known(
            all.into_iter()
                .filter(|deployment| makes(deployment, labels))
                .collect(),
        ),
        (Some(None), _) => Fact::Known(Vec::new()),
        (None, Fact::Known(_)) => Fact::NotCollected,
        (_, other) => other,
    };
    let known = |fact: &Fact<Vec<Object>>| match fact {
        Fact::Known(objects) => objects.clone(),
        _ => Vec::new(),
    };
    let (makers, made) = (known(&deployments), known(&pods));
    let mut names = secrets_of(makers.iter().chain(&made));
    if names.is_empty() {
        names = vec![usual_secret(name)];
    }
    Backend {
        endpoint_slices: store.list(
            "EndpointSlice",
            namespace,
            &format!("kubernetes.io/service-name={name}"),
        ),
        pods,
        deployments,
        certificate: certificate(store, namespace, &names),
        service,
    }
}

/// What the installer of a webhook calls the Secret with its certificate, by the Service: cwii's chart, the README of
/// amazon-eks-pod-identity-webhook, the chart of Azure Workload Identity.
pub(crate) fn usual_secret(service: &str) -> String {
    match service.strip_suffix("-webhook-service") {
        Some(stem) => format!("{stem}-server-cert"),
        None if service.ends_with("pod-identity-webhook") => format!("{service}-cert"),
        None => format!("{service}-tls"),
    }
}

/// The first certificate among some Secrets.
fn certificate(store: &Store, namespace: &str, names: &[String]) -> Fact<String> {
    let mut outcome = Fact::NotCollected;
    for name in names {
        let secret = store.get("Secret", namespace, name);
        match &secret {
            Fact::Known(secret) => {
                if let Some(text) = secret.text("/stringData/tls.crt") {
                    return Fact::Known(text.to_owned());
                }
                let Some(text) = secret.text("/data/tls.crt") else {
                    continue;
                };
                let decoded = STANDARD
                    .decode(text.split_whitespace().collect::<String>())
                    .ok()
                    .and_then(|bytes| String::from_utf8(bytes).ok());
                return match decoded {
                    Some(pem) => Fact::Known(pem),
                    None => Fact::Invalid(format!(
                        "`tls.crt` of secret {namespace}/{name} is not PEM in base64"
                    )),
                };
            }
            Fact::NotCollected => {}
            other => {
                // Not to be there matters less than not to be seen.
                if !matches!(outcome, Fact::Denied(_)) {
                    outcome = without(other);
                }
            }
        }
    }
    outcome
}

/// Whether a Deployment makes pods with these labels.
fn makes(deployment: &Object, labels: &str) -> bool {
    super::store::pairs(labels).iter().all(|(key, value)| {
        deployment
            .get("/spec/template/metadata/labels")
            .and_then(|labels| labels.get(*key))
            .and_then(Value::as_str)
            == Some(*value)
    })
}

/// The settings of the cwii webhook, by its Deployment.
fn settings(configurations: &[Object], backends: &BTreeMap<String, Backend>) -> Fact<Settings> {
    let Some((namespace, name)) = webhooks_of(configurations)
        .filter(|webhook| is_cwii(webhook))
        .find_map(service_of)
    else {
        return Fact::Absent;
    };
    let Some(backend) = backends.get(&format!("{namespace}/{name}")) else {
        return Fact::NotCollected;
    };
    match &backend.deployments {
        Fact::Known(deployments) => match deployments.first() {
            Some(deployment) => read_settings(deployment),
            None => Fact::Absent,
        },
        other => without(other),
    }
}

fn read_settings(deployment: &Object) -> Fact<Settings> {
    let Some(container) = deployment
        .list("/spec/template/spec/containers")
        .max_by_key(|container| is_webhook(container))
    else {
        return Fact::Invalid(format!("deployment {} has no container", deployment.name()));
    };
    match deployed(container, env!("CARGO_PKG_VERSION")) {
        Ok(deployed) => Fact::Known(deployed.settings),
        Err(error) => Fact::Invalid(error.to_string()),
    }
}

/// Events about the pod and its controllers.
fn events(store: &Store, namespace: &str, facts: &Facts) -> Fact<Vec<Object>> {
    let all = match store.list("Event", namespace, "") {
        Fact::Known(all) => all,
        other => return other,
    };
    let is_about = |event: &Object| {
        let text = |member: &str| {
            event
                .text(&format!("/involvedObject/{member}"))
                .or_else(|| event.text(&format!("/regarding/{member}")))
        };
        let (Some(kind), Some(name)) = (text("kind"), text("name")) else {
            return false;
        };
        let is_pod = match &facts.pod {
            Fact::Known(pod) => kind == "Pod" && name == pod.name(),
            _ => kind == "Pod" && name == facts.target.name,
        };
        // What makes no pods yet has no pod that names its ReplicaSet or Job.
        let is_made_by = |owner: &Owner| {
            let between = match owner.kind.as_str() {
                "Deployment" => "ReplicaSet",
                "CronJob" => "Job",
                _ => return false,
            };
            kind == between
                && name
                    .strip_prefix(owner.name.as_str())
                    .and_then(|rest| rest.strip_prefix('-'))
                    .is_some_and(|rest| !rest.is_empty() && !rest.contains('-'))
        };
        is_pod
            || facts.owners.iter().any(|owner| {
                owner.kind == kind && owner.name == name || facts.from_template && is_made_by(owner)
            })
    };
    Fact::Known(all.into_iter().filter(is_about).collect())
}

fn config_maps(store: &Store, namespace: &str, names: &[String]) -> Fact<Vec<Object>> {
    let mut found = Vec::new();
    let mut gap = None;
    for name in names {
        match store.get("ConfigMap", namespace, name) {
            Fact::Known(object) => found.push(object),
            Fact::Absent => {}
            other => gap = Some(other),
        }
    }
    match gap {
        // Of manifests alone some are better than none.
        Some(Fact::NotCollected) if !found.is_empty() => Fact::Known(found),
        Some(gap) => without(&gap),
        None => Fact::Known(found),
    }
}

/// What else manifests hold in the namespace.
fn others(store: &Store, namespace: &str, facts: &Facts) -> Vec<Object> {
    store
        .given()
        .filter(|object| object.namespace() == Some(namespace))
        .filter(|object| {
            let kind = kind_of(object.api_version(), object.kind());
            let is_it = kind == facts.target.kind && object.name() == facts.target.name;
            let is_above = facts
                .owners
                .iter()
                .any(|owner| owner.kind == kind && owner.name == object.name());
            let is_read_otherwise = matches!(kind.as_str(), "ServiceAccount" | "Event");
            !is_it && !is_above && !is_read_otherwise
        })
        .cloned()
        .collect()
}

/// Two lists as one; what one of them lacks the whole lacks, unless nobody asked for it.
fn both(a: Fact<Vec<Object>>, b: Fact<Vec<Object>>) -> Fact<Vec<Object>> {
    match (a, b) {
        (Fact::Known(mut a), Fact::Known(b)) => {
            a.extend(b);
            Fact::Known(a)
        }
        (Fact::Known(some), Fact::NotCollected) | (Fact::NotCollected, Fact::Known(some)) => {
            Fact::Known(some)
        }
        (Fact::Known(_), gap) | (gap, _) => gap,
    }
}

/// A fact's failure for a fact of another type; what is known is none and becomes "not collected".
fn without<T, U>(fact: &Fact<T>) -> Fact<U> {
    match fact {
        Fact::Known(_) | Fact::NotCollected => Fact::NotCollected,
        Fact::Absent => Fact::Absent,
        Fact::Denied(permission) => Fact::Denied(permission.clone()),
        Fact::Unreachable(why) => Fact::Unreachable(why.clone()),
        Fact::TimedOut => Fact::TimedOut,
        Fact::Invalid(why) => Fact::Invalid(why.clone()),
    }
}
