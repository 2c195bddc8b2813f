//! From what the arguments name to workloads, with everything read that their rules need.

use std::collections::BTreeSet;

use cwii_checks::{doctor::Object, facts::Fact};

use super::{
    assemble::Surroundings,
    live::{Read, Source},
    store::{Key, Query, Store, kind_of},
    sweep::{self, Selector},
    workload::{Workload, template_pointer, workloads},
};
use crate::{
    cluster::Resource,
    problem::Problem,
    target::{Named, Words},
};

/// What is to be looked at.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) words: &'a Words,
    /// The namespace of what is named.
    pub(crate) namespace: String,
    /// Whether that namespace was named; else it is where things are looked for by default.
    pub(crate) is_namespace_given: bool,
    pub(crate) all_namespaces: bool,
    pub(crate) selector: Option<&'a Selector>,
    /// The selector as it was given.
    pub(crate) labels: &'a str,
}

fn is_account(named: &Named) -> bool {
    named.resource.kind == "ServiceAccount"
}

impl Request<'_> {
    /// The namespace that a sweep is kept to.
    fn only(&self) -> Option<&str> {
        (self.is_namespace_given && !self.all_namespaces).then_some(self.namespace.as_str())
    }

    /// The workloads meant, of those in manifests.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(crate) fn among_manifests(&self, store: &Store) -> Result<Vec<Workload>, Problem> {
        let all = workloads(store, store.given());
        let chosen = match self.words {
            Words::Objects(named) => {
                let mut chosen = Vec::new();
                for named in named {
                    chosen.extend(self.named(store, &all, named)?);
                }
                chosen
            }
            Words::All(_) | Words::Nothing => self.filtered(store, all),
        };
        if chosen.is_empty() {
            return Err(Problem::new(
                "there is no such workload among the manifests, expected pods or what makes pods",
            ));
        }
        Ok(sweep::distinct(store, chosen))
    }

    fn filtered(&self, store: &Store, all: Vec<Workload>) -> Vec<Workload> {
        all.into_iter()
            .filter(|workload| self.only().is_none_or(|n| workload.target.namespace == n))
            .filter(|workload| match self.words {
                Words::All(resource) => workload.is_of(store, resource.kind),
                _ => true,
            })
            .filter(|workload| {
                self.selector
                    .is_none_or(|selector| workload.matches(selector))
            })
            .collect()
    }

    /// The pods of one named workload, or what would be its pods.
    fn named(
        &self,
        store: &Store,
        all: &[Workload],
        named: &Named,
    ) -> Result<Vec<Workload>, Problem> {
        let belongs =
            |workload: &&Workload| workload.belongs_to(store, named.resource.kind, &named.name);
        let (chosen, elsewhere): (Vec<_>, Vec<_>) = all
            .iter()
            .filter(belongs)
            .partition(|workload| workload.target.namespace == self.namespace);
        if !chosen.is_empty() {
            return Ok(chosen.into_iter().cloned().collect());
        }
        let problem = Problem::new(format!(
            "{named} in namespace {} is not among the manifests",
            self.namespace
        ));
        Err(
            match elsewhere.first().map(|other| &other.target.namespace) {
                Some(other) => {
                    problem.help(format!("there is one in namespace {other}: add -n {other}"))
                }
                None => problem,
            },
        )
    }

    /// The workloads meant, of a cluster with manifests laid over it, and everything around them.
    ///
    /// # Errors
    ///
    /// What is named does not exist or cannot be looked at.
    pub(crate) async fn in_cluster(
        &self,
        source: &mut Source<'_>,
        store: &mut Store,
        surroundings: &mut Surroundings,
    ) -> Result<Vec<Workload>, Problem> {
        let chosen = match self.words {
            // Nothing leads from a ServiceAccount to its pods, so those of its namespace are gone through.
            Words::Objects(named) if named.iter().any(is_account) => {
                self.sweep(source, store, surroundings).await?
            }
            Words::Objects(named) => self.objects(named, source, store, surroundings).await?,
            _ if surroundings.has_files => self.manifests(source, store, surroundings).await?,
            _ => self.sweep(source, store, surroundings).await?,
        };
        let mut reads = source.behind_webhooks(store);
        // What a first pod named was read with it; of a sweep nothing is read for one pod.
        if matches!(self.words, Words::Objects(_)) || surroundings.has_files {
            for workload in &chosen {
                reads.extend(source.named_by(workload, store));
            }
        }
        source.round(reads, store, surroundings).await;
        let secrets = source.secrets(store);
        source.round(secrets, store, surroundings).await;
        Ok(sweep::distinct(store, chosen))
    }

    /// Objects by their names: one round, and for what makes pods a second with them.
    async fn objects(
        &self,
        named: &[Named],
        source: &mut Source<'_>,
        store: &mut Store,
        surroundings: &mut Surroundings,
    ) -> Result<Vec<Workload>, Problem> {
        let namespace = self.namespace.as_str();
        let mut reads: Vec<_> = named
            .iter()
            .map(|named| Read::Object(Key::new(named.resource.kind, namespace, &named.name)))
            .collect();
        reads.extend(source.around(namespace));
        source.round(reads, store, surroundings).await;
        let mut found = Vec::new();
        let mut makers = Vec::new();
        for named in named {
            let object = self.existing(store, named)?;
            if named.resource.kind == "Pod" {
                found.push(Workload::of_pod(object));
            } else {
                makers.push((named, object));
            }
        }
        if makers.is_empty() {
            return Ok(found);
        }
        let mut reads = source.behind_webhooks(store);
        for (_, object) in &makers {
            let labels = labels_of(object);
            reads.push(Read::List(Query::new("Pod", namespace, &labels)));
            if let Some(workload) = Workload::of_template(object) {
                reads.extend(source.named_by(&workload, store));
            }
        }
        source.round(reads, store, surroundings).await;
        for (named, object) in makers {
            let pods = match store.list("Pod", namespace, &labels_of(&object)) {
                Fact::Known(pods) => pods,
                _ => Vec::new(),
            };
            let before = found.len();
            found.extend(
                pods.into_iter()
                    .map(Workload::of_pod)
                    .filter(|pod| pod.belongs_to(store, named.resource.kind, &named.name)),
            );
            if found.len() == before {
                found.extend(Workload::of_template(&object));
            }
        }
        Ok(found)
    }

    /// A named object, or why there is nothing to look at.
    fn existing(&self, store: &Store, named: &Named) -> Result<Object, Problem> {
        let what = format!("{named} in namespace {}", self.namespace);
        Err(match store.get(named.resource.kind, &self.namespace, &named.name) {
            Fact::Known(object) => return Ok(object),
            Fact::Absent => Problem::new(format!("{what} does not exist")).help(format!(
                "see what there is with `kubectl -n {} get {}`",
                self.namespace, named.resource.plural
            )),
            Fact::Denied(permission) => Problem::new(format!(
                "{what} could not be looked at: not allowed to {permission}"
            ))
            .help("see which permissions the doctor needs with `kubectl cwii doctor --print-rbac`"),
            Fact::Unreachable(why) | Fact::Invalid(why) => {
                Problem::new(format!("{what} could not be looked at: {why}"))
            }
            Fact::TimedOut | Fact::NotCollected => {
                Problem::new(format!("{what} could not be looked at: no answer in time"))
            }
        })
    }

    /// What manifests hold, as if it had been applied.
    async fn manifests(
        &self,
        source: &mut Source<'_>,
        store: &mut Store,
        surroundings: &mut Surroundings,
    ) -> Result<Vec<Workload>, Problem> {
        let chosen = self.among_manifests(store)?;
        let namespaces: BTreeSet<&str> = chosen
            .iter()
            .map(|workload| workload.target.namespace.as_str())
            .collect();
        let mut reads: Vec<_> = namespaces
            .into_iter()
            .flat_map(|namespace| source.around(namespace))
            .collect();
        // What is given may be there already, with what others wrote on it.
        reads.extend(
            store
                .given()
                .map(Key::of)
                .filter(|key| Resource::find(&key.kind).is_some() && key.kind != "Event")
                .map(Read::Object),
        );
        source.round(reads, store, surroundings).await;
        // Objects look different now that the live ones lie under them.
        self.among_manifests(store)
    }

    /// Everything of a namespace or of all: a list call for each kind.
    async fn sweep(
        &self,
        source: &mut Source<'_>,
        store: &mut Store,
        surroundings: &mut Surroundings,
    ) -> Result<Vec<Workload>, Problem> {
        let namespace = if self.all_namespaces {
            ""
        } else {
            self.namespace.as_str()
        };
        let reads = source.lists(namespace, self.labels);
        source.round(reads, store, surroundings).await;
        let pods = match store.list("Pod", namespace, "") {
            _ if !self.labels.is_empty() => store.list("Pod", namespace, self.labels),
            all => all,
        };
        let place = match namespace {
            "" => "all namespaces".to_owned(),
            namespace => format!("namespace {namespace}"),
        };
        let pods = match pods {
            Fact::Known(pods) => pods,
            Fact::Denied(permission) => {
                return Err(Problem::new(format!(
                    "the pods of {place} could not be looked at: not allowed to {permission}"
                )));
            }
            Fact::Unreachable(why) | Fact::Invalid(why) => {
                return Err(Problem::new(format!(
                    "the pods of {place} could not be looked at: {why}"
                )));
            }
            _ => {
                return Err(Problem::new(format!(
                    "the pods of {place} could not be looked at: no answer in time"
                )));
            }
        };
        // What ended well needs no identity any more.
        let running = pods
            .iter()
            .filter(|pod| pod.text("/status/phase") != Some("Succeeded"));
        let mut makers = Vec::new();
        if self.labels.is_empty() {
            for kind in ["Deployment", "StatefulSet", "DaemonSet", "CronJob"] {
                if let Fact::Known(objects) = store.list(kind, namespace, "") {
                    makers.extend(objects);
                }
            }
        }
        let all = workloads(store, running.chain(&makers));
        let chosen = match self.words {
            Words::All(resource) => all
                .into_iter()
                .filter(|workload| workload.is_of(store, resource.kind))
                .collect(),
            Words::Objects(named) => {
                for named in named {
                    self.existing(store, named)?;
                }
                let is_meant = |workload: &Workload| {
                    let mut named = named.iter();
                    named.any(|one| workload.belongs_to(store, one.resource.kind, &one.name))
                };
                all.into_iter().filter(is_meant).collect()
            }
            Words::Nothing => all,
        };
        if chosen.is_empty() {
            let of = match self.words {
                Words::Objects(named) => {
                    let names: Vec<_> = named.iter().map(ToString::to_string).collect();
                    format!(" of {}", names.join(", "))
                }
                _ => String::new(),
            };
            return Err(Problem::new(format!("there is no workload{of} in {place}")));
        }
        Ok(chosen)
    }

    /// Every call that [`Self::in_cluster`] would make, as far as names are known beforehand.
    pub(crate) fn calls(
        &self,
        source: &mut Source<'_>,
        store: &Store,
        has_files: bool,
    ) -> Vec<String> {
        let mut calls = BTreeSet::new();
        let (mut later, mut namespaces) = (Vec::new(), BTreeSet::new());
        match self.words {
            Words::Objects(named) if !named.iter().any(is_account) => {
                for named in named {
                    let key = Key::new(named.resource.kind, &self.namespace, &named.name);
                    calls.insert(Read::Object(key));
                    if named.resource.kind != "Pod" {
                        later.push(Read::List(Query::new(
                            "Pod",
                            &self.namespace,
                            "{its selector}",
                        )));
                    }
                }
                namespaces.insert(self.namespace.clone());
            }
            _ if has_files => {
                let workloads = workloads(store, store.given());
                namespaces.extend(
                    workloads
                        .into_iter()
                        .map(|workload| workload.target.namespace),
                );
                calls.extend(store.given().map(Key::of).map(Read::Object));
            }
            _ => {
                let namespace = if self.all_namespaces {
                    ""
                } else {
                    &self.namespace
                };
                calls.extend(source.lists(namespace, self.labels));
            }
        }
        for namespace in &namespaces {
            calls.extend(source.around(namespace));
            for (kind, name) in [
                ("ReplicaSet", "{the pod's controller}"),
                ("Deployment", "{the controller's controller}"),
                ("ServiceAccount", "{the pod's, if they could not be listed}"),
                ("Node", "{the pod's}"),
                ("ConfigMap", "{each that the pod uses}"),
            ] {
                later.push(Read::Object(Key::new(kind, namespace, name)));
            }
        }
        let webhook = "{each identity webhook's namespace}";
        for (kind, name) in [
            ("Service", "{its Service}"),
            ("Secret", "{its certificate}"),
        ] {
            later.push(Read::Object(Key::new(kind, webhook, name)));
        }
        for kind in ["EndpointSlice", "Pod", "Deployment"] {
            later.push(Read::List(Query::new(kind, webhook, "")));
        }
        let mut lines: Vec<_> = calls.iter().map(Read::to_string).collect();
        lines.extend(later.iter().map(Read::to_string));
        if source.probe {
            for namespace in &namespaces {
                lines.push(format!(
                    "POST /api/v1/namespaces/{namespace}/serviceaccounts/{{the pod's}}/token"
                ));
                lines.push(format!(
                    "POST /api/v1/namespaces/{namespace}/pods?dryRun=All"
                ));
            }
            lines.push("GET {issuer}/.well-known/openid-configuration".into());
            lines.push("GET {the discovery document's jwks_uri}".into());
        }
        lines
    }
}

/// The selector of what makes pods; without one its template's labels.
fn labels_of(object: &Object) -> String {
    let pointer = template_pointer(&kind_of(object.api_version(), object.kind()))
        .map(|template| format!("{template}/metadata/labels"))
        .unwrap_or_default();
    let pairs = object
        .get("/spec/selector/matchLabels")
        .or_else(|| object.get(&pointer))
        .and_then(serde_json::Value::as_object);
    pairs
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect::<Vec<_>>()
        .join(",")
}
