//! A pod as it is or as a template makes it, with the objects whose annotations speak for it.

use cwii_checks::doctor::Object;
use cwii_contract::{
    Layer, ObjectRef, Pod,
    pod::{OwnerReference, WorkloadKind},
    scope::Keys,
};
use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::{
    cluster::{Cluster, Failure, Resource, resource},
    problem::Problem,
    target::Named,
};

/// A pod and what speaks for it.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// The kind that was asked about, `Deployment`.
    pub(crate) kind: &'static Resource,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// File and line, for manifests.
    pub(crate) place: Option<String>,
    /// The pod; made from the template unless it is one.
    pub(crate) pod: Value,
    /// The object itself.
    pub(crate) object: Value,
    /// What speaks for the pod, in order of precedence.
    pub(crate) layers: Vec<Layer>,
    /// What could not be read and might speak for it: the missing permission, or why there was no answer.
    pub(crate) gaps: Vec<String>,
}

impl Workload {
    /// A live object and what stands around it, in two rounds of requests.
    ///
    /// # Errors
    ///
    /// The object itself cannot be read or has no pods.
    pub(crate) async fn read(
        cluster: &Cluster,
        named: &Named,
        namespace: &str,
    ) -> Result<Self, Problem> {
        let object = cluster.get(named.resource, namespace, &named.name).await;
        let object = object.map_err(|failure| {
            let what = if named.resource.namespaced {
                format!("{named} in namespace {namespace}")
            } else {
                named.to_string()
            };
            failure.into_problem(&what)
        })?;
        let mut workload = Self::of(named.resource, &object, namespace, None)?;
        workload.complete(Some(cluster), &[]).await;
        Ok(workload)
    }

    /// A manifest, as if it were applied to the cluster. Without a cluster nothing but the manifests is there.
    ///
    /// # Errors
    ///
    /// The object has no pods.
    pub(crate) async fn of_manifest(
        manifest: &Object,
        kind: &'static Resource,
        all: &[Object],
        default_namespace: &str,
        cluster: Option<&Cluster>,
    ) -> Result<Self, Problem> {
        let namespace = namespace_of(manifest.value()).unwrap_or(default_namespace);
        let mut workload = Self::of(kind, manifest.value(), namespace, place(manifest))?;
        workload.complete(cluster, all).await;
        Ok(workload)
    }

    fn of(
        kind: &'static Resource,
        object: &Value,
        namespace: &str,
        place: Option<String>,
    ) -> Result<Self, Problem> {
        let name = text(object, "/metadata/name")
            .or_else(|| text(object, "/metadata/generateName"))
            .unwrap_or_default()
            .to_owned();
        let pod = if kind == resource::POD {
            object.clone()
        } else if kind == resource::SERVICE_ACCOUNT {
            // Any pod that runs as it.
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": { "namespace": namespace },
                "spec": { "serviceAccountName": name },
            })
        } else {
            from_template(kind, object, namespace, &name).ok_or_else(|| {
                Problem::new(format!("{} `{name}` has no pod template", kind.singular))
            })?
        };
        Ok(Self {
            kind,
            namespace: namespace.to_owned(),
            name,
            place,
            pod,
            object: object.clone(),
            layers: Vec::new(),
            gaps: Vec::new(),
        })
    }

    /// Reads the objects that speak for the pod.
    async fn complete(&mut self, cluster: Option<&Cluster>, manifests: &[Object]) {
        let Ok(pod) = Pod::deserialize(&self.pod) else {
            return;
        };
        self.layers.push(Layer {
            object: pod.object(&self.namespace),
            keys: pod.keys(),
        });
        let account = pod.service_account_name().to_owned();
        let namespace = self.namespace.clone();
        let of_namespace = |resource: &'static Resource, name: String| {
            let namespace = namespace.clone();
            async move { find(cluster, manifests, resource, &namespace, &name).await }
        };
        let (owners, service_account, own_namespace) = tokio::join!(
            self.owners(cluster, manifests),
            of_namespace(resource::SERVICE_ACCOUNT, account.clone()),
            of_namespace(resource::NAMESPACE, self.namespace.clone()),
        );
        let (owners, gaps) = owners;
        self.layers.extend(owners);
        self.gaps.extend(gaps);
        let mut add = |result: Result<Option<Value>, Failure>, object: ObjectRef| match result {
            Ok(Some(value)) => self.layers.push(Layer {
                object,
                keys: keys(&value),
            }),
            Ok(None) => {}
            Err(failure) => self.gaps.push(format!("{object}: {failure}")),
        };
        add(
            service_account,
            ObjectRef::service_account(&namespace, &account),
        );
        add(own_namespace, ObjectRef::namespace(&namespace));
    }

    /// The controllers whose annotations count, the nearest first.
    async fn owners(
        &self,
        cluster: Option<&Cluster>,
        manifests: &[Object],
    ) -> (Vec<Layer>, Vec<String>) {
        let (mut layers, mut gaps) = (Vec::new(), Vec::new());
        if self.kind == resource::SERVICE_ACCOUNT {
            return (layers, gaps);
        }
        let mut object = self.object.clone();
        let mut kind = self.kind;
        let mut name = self.name.clone();
        // A Job that is not there yet gets these from its CronJob.
        if kind == resource::CRON_JOB
            && let Some(template) = object.pointer("/spec/jobTemplate")
        {
            layers.push(Layer {
                object: ObjectRef::workload("Job", &self.namespace, &format!("{name}-*")),
                keys: keys(template),
            });
        }
        let guess = self.deployment_guess();
        let mut ahead = None;
        // ReplicaSet and Deployment, Job and CronJob: nothing that counts is longer.
        for _ in 0..MAX_OWNERS {
            let above = controller(&object);
            if kind != resource::POD {
                let speaks = kind != resource::REPLICA_SET
                    || above
                        .as_ref()
                        .and_then(WorkloadKind::of)
                        .is_none_or(|above| above != WorkloadKind::Deployment);
                if speaks {
                    layers.push(Layer {
                        object: ObjectRef::workload(kind.kind, &self.namespace, &name),
                        keys: keys(&object),
                    });
                }
            }
            let Some(above) = above.filter(|above| WorkloadKind::of(above).is_some()) else {
                break;
            };
            let Some(resource) = Resource::of(&above.api_version, &above.kind) else {
                break;
            };
            let of = |resource: &'static Resource, name: String| async move {
                find(cluster, manifests, resource, &self.namespace, &name).await
            };
            let found = match (&guess, ahead.take()) {
                // Both at once, where the ReplicaSet's name tells its Deployment's.
                (Some(guess), None) if resource == resource::REPLICA_SET => {
                    let (found, next) = tokio::join!(
                        of(resource, above.name.clone()),
                        of(resource::DEPLOYMENT, guess.clone()),
                    );
                    ahead = Some(next);
                    found
                }
                (Some(guess), Some(next))
                    if resource == resource::DEPLOYMENT && *guess == above.name =>
                {
                    next
                }
                _ => of(resource, above.name.clone()).await,
            };
            match found {
                Ok(Some(found)) => {
                    (object, kind, name) = (found, resource, above.name.clone());
                }
                Ok(None) => break,
                Err(failure) => {
                    let owner = ObjectRef::workload(resource.kind, &self.namespace, &above.name);
                    gaps.push(format!("{owner}: {failure}"));
                    break;
                }
            }
        }
        (layers, gaps)
    }

    /// The Deployment that a pod's labels and its ReplicaSet's name point to.
    fn deployment_guess(&self) -> Option<String> {
        let pod = Pod::deserialize(&self.object)
            .ok()
            .filter(|_| self.kind == resource::POD)?;
        match pod.workload() {
            cwii_contract::Workload::ReplicaSet {
                deployment_name_guess,
                ..
            } => deployment_name_guess.map(str::to_owned),
            _ => None,
        }
    }

    /// `shop/deployment/checkout`.
    pub(crate) fn title(&self) -> String {
        format!("{}/{}/{}", self.namespace, self.kind.singular, self.name)
    }
}

/// `file:line`, with `-` for standard input.
fn place(object: &Object) -> Option<String> {
    let origin = object.origin()?;
    let line = origin.lines.get("").copied().unwrap_or(1);
    Some(format!("{}:{line}", origin.file))
}

/// An object of the manifests, else of the cluster. None: there is no such object.
async fn find(
    cluster: Option<&Cluster>,
    manifests: &[Object],
    resource: &'static Resource,
    namespace: &str,
    name: &str,
) -> Result<Option<Value>, Failure> {
    let given = manifests.iter().map(Object::value).find(|object| {
        let is_kind = text(object, "/apiVersion")
            .zip(text(object, "/kind"))
            .and_then(|(version, kind)| Resource::of(version, kind))
            .is_some_and(|kind| kind == resource);
        is_kind
            && text(object, "/metadata/name") == Some(name)
            && (!resource.namespaced || namespace_of(object).is_none_or(|n| n == namespace))
    });
    if let Some(given) = given {
        return Ok(Some(given.clone()));
    }
    let Some(cluster) = cluster else {
        return Ok(None);
    };
    match cluster.get_metadata(resource, namespace, name).await {
        Ok(object) => Ok(Some(object)),
        Err(Failure::Absent) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// The pod that a template makes.
fn from_template(kind: &Resource, object: &Value, namespace: &str, name: &str) -> Option<Value> {
    let pointer = if kind == resource::CRON_JOB {
        "/spec/jobTemplate/spec/template"
    } else {
        "/spec/template"
    };
    let template = object.pointer(pointer)?;
    let mut metadata = template
        .get("metadata")
        .filter(|metadata| metadata.is_object())
        .cloned()
        .unwrap_or_else(|| json!({}));
    metadata["namespace"] = namespace.into();
    metadata["generateName"] = format!("{name}-").into();
    Some(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_else(|| json!({})),
    }))
}

/// Who made it.
pub(crate) fn controller(object: &Value) -> Option<OwnerReference> {
    object
        .pointer("/metadata/ownerReferences")?
        .as_array()?
        .iter()
        .find(|reference| reference["controller"] == true)
        .and_then(|reference| OwnerReference::deserialize(reference).ok())
}

fn keys(object: &Value) -> Keys {
    let annotations = object
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    Keys::from_annotations(
        annotations
            .into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))),
    )
}

fn namespace_of(object: &Value) -> Option<&str> {
    text(object, "/metadata/namespace").filter(|namespace| !namespace.is_empty())
}

fn text<'v>(object: &'v Value, pointer: &str) -> Option<&'v str> {
    object.pointer(pointer)?.as_str()
}

const MAX_OWNERS: usize = 4;
