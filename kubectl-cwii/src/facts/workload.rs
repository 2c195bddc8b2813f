//! Workloads among objects: pods, and what would make pods but has none.

use cwii_checks::{
    doctor::{Object, Origin, Owner, Target},
    facts::Fact,
};
use serde_json::{Value, json};

use super::{
    manifest::below,
    store::{Store, kind_of},
};

/// A workload to examine.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub(crate) target: Target,
    /// The pod, or one made from the template.
    pub(crate) pod: Fact<Object>,
    /// Whether it was made from a template, or never passed an API server.
    pub(crate) from_template: bool,
    /// The object with the template, where the pod was made from one.
    pub(crate) template_of: Option<Object>,
    /// How many pods it stands for.
    pub(crate) pods: usize,
}

/// `metadata.ownerReferences` with `controller: true`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reference {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl Reference {
    /// Its kind as the store spells it.
    pub(crate) fn kind(&self) -> String {
        kind_of(&self.api_version, &self.kind)
    }
}

impl Workload {
    /// A pod.
    pub(crate) fn of_pod(pod: Object) -> Self {
        Self {
            target: target_of(&pod),
            from_template: !is_live(&pod),
            pod: Fact::Known(pod),
            template_of: None,
            pods: 1,
        }
    }

    /// What makes pods; none if it has no template.
    pub(crate) fn of_template(object: &Object) -> Option<Self> {
        Some(Self {
            target: target_of(object),
            pod: Fact::Known(pod_of_template(object)?),
            from_template: true,
            template_of: Some(object.clone()),
            pods: 0,
        })
    }

    /// The controllers above it, the nearest first.
    pub(crate) fn owners(&self, store: &Store) -> Vec<Owner> {
        match (&self.template_of, &self.pod) {
            (Some(object), _) => {
                let mut owners = vec![Owner {
                    api_version: object.api_version().to_owned(),
                    kind: object.kind().to_owned(),
                    name: object.name().to_owned(),
                    object: Fact::Known(object.clone()),
                }];
                owners.extend(chain(store, object));
                owners
            }
            (None, Fact::Known(pod)) => chain(store, pod),
            _ => Vec::new(),
        }
    }
}

/// All workloads among some objects: the pods, and each controller that no pod of them belongs to.
pub(crate) fn workloads<'o>(
    store: &Store,
    objects: impl Iterator<Item = &'o Object>,
) -> Vec<Workload> {
    let mut found = Vec::new();
    let mut makers = Vec::new();
    let mut served = std::collections::BTreeSet::new();
    for object in objects {
        let kind = kind_of(object.api_version(), object.kind());
        if kind == "Pod" {
            let mut workload = Workload::of_pod(object.clone());
            workload.pods = store.number(object);
            for owner in workload.owners(store) {
                served.insert((
                    workload.target.namespace.clone(),
                    kind_of(&owner.api_version, &owner.kind),
                    owner.name,
                ));
            }
            found.push(workload);
        } else if template_pointer(&kind).is_some() {
            makers.push((kind, object));
        }
    }
    for (kind, object) in &makers {
        let namespace = object.namespace().unwrap_or_default();
        let key = (namespace.to_owned(), kind.clone(), object.name().to_owned());
        // What another controller makes is that one's.
        let is_made = controller(object).is_some_and(|above| {
            makers.iter().any(|(kind, maker)| {
                *kind == above.kind()
                    && maker.name() == above.name
                    && maker.namespace() == object.namespace()
            })
        });
        if !served.contains(&key) && !is_made {
            found.extend(Workload::of_template(object));
        }
    }
    found
}

/// The controller of an object.
pub(crate) fn controller(object: &Object) -> Option<Reference> {
    let reference = object
        .list("/metadata/ownerReferences")
        .find(|reference| reference.get("controller") == Some(&Value::Bool(true)))?;
    let text = |member: &str| reference.get(member)?.as_str().map(str::to_owned);
    Some(Reference {
        api_version: text("apiVersion")?,
        kind: text("kind")?,
        name: text("name")?,
    })
}

/// The controller above a controller as its name tells it: a ReplicaSet is called after its Deployment and the hash of the
/// template, a CronJob's Job after it and the minute.
/// Source: Kubernetes, "Deployments", `pod-template-hash` label; "CronJob", names of Jobs.
pub(crate) fn guess(reference: &Reference, pod: &Object) -> Option<Reference> {
    let (api_version, kind, suffix) = match reference.kind().as_str() {
        "ReplicaSet" => ("apps/v1", "Deployment", pod.label("pod-template-hash")?),
        "Job" => {
            let minute = reference.name.rsplit('-').next()?;
            if minute.len() < 8 || !minute.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            ("batch/v1", "CronJob", minute)
        }
        _ => return None,
    };
    let name = reference.name.strip_suffix(suffix)?.strip_suffix('-')?;
    (!name.is_empty()).then(|| Reference {
        api_version: api_version.into(),
        kind: kind.into(),
        name: name.into(),
    })
}

/// The controllers above an object, the nearest first, as far as they are known or told by their names.
fn chain(store: &Store, object: &Object) -> Vec<Owner> {
    let namespace = object.namespace().unwrap_or_default();
    let mut owners: Vec<Owner> = Vec::new();
    let mut next = controller(object);
    // Two are usual; a loop among references would never end.
    while let Some(reference) = next.take()
        && owners.len() < 5
    {
        let fact = store.get(&reference.kind(), namespace, &reference.name);
        next = match &fact {
            Fact::Known(owner) => controller(owner),
            Fact::Absent => None,
            _ => guess(&reference, object).filter(|above| {
                // A Job's name says less than a ReplicaSet's.
                above.kind == "Deployment"
                    || matches!(
                        store.get(&above.kind(), namespace, &above.name),
                        Fact::Known(_)
                    )
            }),
        };
        // The Deployment of a ReplicaSet that is gone, or was not given, may be there all the same.
        if matches!(fact, Fact::Absent) {
            next = guess(&reference, object).filter(|above| {
                matches!(
                    store.get(&above.kind(), namespace, &above.name),
                    Fact::Known(_)
                )
            });
        }
        owners.push(Owner {
            api_version: reference.api_version,
            kind: reference.kind,
            name: reference.name,
            object: fact,
        });
    }
    owners
}

/// Whether a pod has passed an API server: one that has not was written by somebody, and no webhook has seen it.
pub(crate) fn is_live(pod: &Object) -> bool {
    [
        "/metadata/uid",
        "/metadata/creationTimestamp",
        "/metadata/ownerReferences",
        "/metadata/resourceVersion",
        "/spec/nodeName",
        "/status/phase",
    ]
    .iter()
    .any(|pointer| pod.get(pointer).is_some_and(|value| !value.is_null()))
}

/// A pod as the template would make it.
pub(crate) fn pod_of_template(object: &Object) -> Option<Object> {
    let pointer = template_pointer(&kind_of(object.api_version(), object.kind()))?;
    let template = object.get(pointer)?;
    let mut metadata = template
        .get("metadata")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    metadata.insert("generateName".into(), format!("{}-", object.name()).into());
    if let Some(namespace) = object.namespace() {
        metadata.insert("namespace".into(), namespace.into());
    }
    let spec = template.get("spec")?;
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    Some(match object.origin() {
        Some(origin) => Object::from_file(
            pod,
            Origin {
                file: origin.file.clone(),
                lines: below(&origin.lines, pointer),
            },
        ),
        None => Object::new(pod),
    })
}

/// Where the pod template of a kind stands.
pub(crate) fn template_pointer(kind: &str) -> Option<&'static str> {
    match kind {
        "Deployment"
        | "ReplicaSet"
        | "StatefulSet"
        | "DaemonSet"
        | "ReplicationController"
        | "Job" => Some("/spec/template"),
        "CronJob" => Some("/spec/jobTemplate/spec/template"),
        _ => None,
    }
}

pub(crate) fn target_of(object: &Object) -> Target {
    Target {
        kind: object.kind().to_owned(),
        namespace: object.namespace().unwrap_or_default().to_owned(),
        name: object.name().to_owned(),
    }
}

/// The ServiceAccount that a pod runs as.
pub(crate) fn service_account_of(pod: &Object) -> &str {
    ["/spec/serviceAccountName", "/spec/serviceAccount"]
        .iter()
        .find_map(|pointer| pod.text(pointer).filter(|name| !name.is_empty()))
        .unwrap_or("default")
}

/// The ConfigMaps that a pod's containers take variables or files from, by name.
pub(crate) fn config_maps_of(pod: &Object) -> Vec<String> {
    let mut names = std::collections::BTreeSet::new();
    let mut add = |value: Option<&Value>| {
        // The cluster's own, in every pod.
        if let Some(name) = value.and_then(Value::as_str)
            && name != "kube-root-ca.crt"
        {
            names.insert(name.to_owned());
        }
    };
    for container in pod.containers() {
        for source in container.elements("envFrom") {
            add(source.pointer("/configMapRef/name"));
        }
        for variable in container.elements("env") {
            add(variable.pointer("/valueFrom/configMapKeyRef/name"));
        }
    }
    for volume in pod.list("/spec/volumes") {
        add(volume.pointer("/configMap/name"));
        for source in volume
            .pointer("/projected/sources")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            add(source.pointer("/configMap/name"));
        }
    }
    names.into_iter().collect()
}
