//! The few fields of a pod that decide what is injected, read from raw JSON.
//!
//! Everything else is skipped while it is read: it is neither kept nor understood, so that newer fields cannot hurt and
//! nothing of the pod is written back. `null` counts as absent everywhere, as it does for the API server.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor},
};

use crate::{
    annotations, plan,
    scope::{Keys, ObjectRef, Scope},
};

/// What the contract reads of a pod.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Pod {
    pub(crate) metadata: Option<Metadata>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) spec: Spec,
}

impl Pod {
    /// What the pod says for itself.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.annotations()
            .map(|annotations| annotations.keys.clone())
            .unwrap_or_default()
    }

    /// The pod as messages name it. The namespace is the caller's: a pod that is being created may lack its own.
    #[must_use]
    pub fn object(&self, namespace: &str) -> ObjectRef {
        let name = match &self.metadata {
            Some(Metadata {
                name: Some(name), ..
            }) if !name.is_empty() => name.clone(),
            Some(Metadata {
                generate_name: Some(prefix),
                ..
            }) => format!("{prefix}*"),
            _ => "*".to_owned(),
        };
        ObjectRef {
            scope: Scope::Pod,
            kind: Cow::Borrowed("Pod"),
            namespace: Some(namespace.to_owned()),
            name,
        }
    }

    /// `metadata.namespace`, which a pod that is being created may lack.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.metadata.as_ref()?.namespace.as_deref()
    }

    /// The ServiceAccount that it runs as; `default` where none is set.
    #[must_use]
    pub fn service_account_name(&self) -> &str {
        [&self.spec.service_account_name, &self.spec.service_account]
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty())
            .map_or("default", String::as_str)
    }

    /// The reference to its controller.
    #[must_use]
    pub fn controller(&self) -> Option<&OwnerReference> {
        self.metadata
            .as_ref()?
            .owner_references
            .iter()
            .find(|owner| owner.controller)
    }

    /// The workload to look up.
    #[must_use]
    pub fn workload(&self) -> Workload<'_> {
        let Some(owner) = self.controller() else {
            return Workload::None;
        };
        match WorkloadKind::of(owner) {
            None => Workload::None,
            Some(WorkloadKind::ReplicaSet) => Workload::ReplicaSet {
                name: &owner.name,
                uid: &owner.uid,
                deployment_name_guess: self
                    .label("pod-template-hash")
                    .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-'))
                    .filter(|name| !name.is_empty()),
            },
            Some(kind) => Workload::Direct {
                kind,
                name: &owner.name,
                uid: &owner.uid,
            },
        }
    }

    /// Value of a label. Only `pod-template-hash` is read.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        let labels = self.metadata.as_ref()?.labels.as_ref()?;
        (key == "pod-template-hash")
            .then_some(labels.pod_template_hash.as_deref())
            .flatten()
    }

    /// Whether only Windows nodes can run it: `spec.os.name`, a node selector, or required node affinity of which every
    /// term demands Windows.
    #[must_use]
    pub fn is_windows(&self) -> bool {
        const WINDOWS: &str = "windows";
        let spec = &self.spec;
        if let Some(name) = spec.os.as_ref().and_then(|os| os.name.as_deref()) {
            return name == WINDOWS;
        }
        if let Some(os) = spec
            .node_selector
            .as_ref()
            .and_then(|selector| selector.os.as_deref())
        {
            return os == WINDOWS;
        }
        let terms = spec
            .affinity
            .as_ref()
            .and_then(|affinity| affinity.node_affinity.as_ref())
            .and_then(|affinity| affinity.required.as_ref())
            .map_or(&[][..], |required| &required.node_selector_terms);
        !terms.is_empty()
            && terms.iter().all(|term| {
                term.match_expressions.iter().any(|expression| {
                    expression.key == OS_LABEL
                        && expression.operator == "In"
                        && !expression.values.is_empty()
                        && expression.values.iter().all(|value| value == WINDOWS)
                })
            })
    }

    /// Its init containers but those of an earlier injection, then its containers.
    pub(crate) fn own_containers(&self) -> impl Iterator<Item = &Container> {
        let init_containers = self.spec.init_containers.iter();
        init_containers
            .filter(|container| !plan::is_ours(&container.name))
            .chain(&self.spec.containers)
    }

    pub(crate) fn has_containers(&self) -> bool {
        !self.spec.containers.is_empty()
    }

    /// `spec.securityContext.runAsUser`.
    pub(crate) fn run_as_user(&self) -> Option<i64> {
        self.spec.security_context?.run_as_user
    }

    pub(crate) fn annotations(&self) -> Option<&Annotations> {
        self.metadata.as_ref()?.annotations.as_ref()
    }
}

/// A reference from an object to its owner. Source: Kubernetes API, `meta/v1 OwnerReference`.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// Group and version of the owner.
    #[serde(default, deserialize_with = "or_default")]
    pub api_version: String,
    /// Kind of the owner.
    #[serde(default, deserialize_with = "or_default")]
    pub kind: String,
    /// Name of the owner.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Uid of the owner.
    #[serde(default, deserialize_with = "or_default")]
    pub uid: String,
    /// Whether it is the one that manages the object.
    #[serde(default, deserialize_with = "or_default")]
    pub controller: bool,
}

impl OwnerReference {
    /// The API group, empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }
}

/// What has to be looked up to know a pod's owning workload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Workload<'a> {
    /// Nothing: no controller, or one that carries no annotations for pods.
    None,
    /// A ReplicaSet, whose Deployment speaks for it where it has one.
    ReplicaSet {
        /// Name of the ReplicaSet.
        name: &'a str,
        /// Uid of the ReplicaSet.
        uid: &'a str,
        /// The Deployment's name if the ReplicaSet was named by the Deployment controller: its own less
        /// `-<pod-template-hash>`.
        deployment_name_guess: Option<&'a str>,
    },
    /// The workload itself. A Job's own controller may be a CronJob, which counts as well.
    Direct {
        /// Kind.
        kind: WorkloadKind,
        /// Name.
        name: &'a str,
        /// Uid.
        uid: &'a str,
    },
}

/// The workloads whose annotations count.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum WorkloadKind {
    /// `apps Deployment`.
    Deployment,
    /// `apps ReplicaSet`, where it has no Deployment.
    ReplicaSet,
    /// `apps StatefulSet`.
    StatefulSet,
    /// `apps DaemonSet`.
    DaemonSet,
    /// `core ReplicationController`.
    ReplicationController,
    /// `batch Job`.
    Job,
    /// `batch CronJob`.
    CronJob,
}

impl WorkloadKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Deployment,
        Self::ReplicaSet,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicationController,
        Self::Job,
        Self::CronJob,
    ];

    /// The kind that a reference names, matched by API group and kind.
    #[must_use]
    pub fn of(owner: &OwnerReference) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.kind() == owner.kind && kind.group() == owner.group())
    }

    /// API group, empty for the core group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::Deployment | Self::ReplicaSet | Self::StatefulSet | Self::DaemonSet => "apps",
            Self::ReplicationController => "",
            Self::Job | Self::CronJob => "batch",
        }
    }

    /// Version of the API.
    #[must_use]
    pub const fn version(self) -> &'static str {
        "v1"
    }

    /// Kind.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::ReplicaSet => "ReplicaSet",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }

    /// Resource name in URLs and RBAC rules.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Deployment => "deployments",
            Self::ReplicaSet => "replicasets",
            Self::StatefulSet => "statefulsets",
            Self::DaemonSet => "daemonsets",
            Self::ReplicationController => "replicationcontrollers",
            Self::Job => "jobs",
            Self::CronJob => "cronjobs",
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind())
    }
}

/// Well-known label of a node's operating system.
const OS_LABEL: &str = "kubernetes.io/os";

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Metadata {
    name: Option<String>,
    generate_name: Option<String>,
    namespace: Option<String>,
    labels: Option<Labels>,
    pub(crate) annotations: Option<Annotations>,
    #[serde(default, deserialize_with = "or_default")]
    owner_references: Vec<OwnerReference>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Labels {
    #[serde(rename = "pod-template-hash")]
    pod_template_hash: Option<String>,
}

/// The pod's annotations: those that are read, and those that the webhook itself wrote.
#[derive(Clone, Debug, Default)]
pub(crate) struct Annotations {
    pub(crate) keys: Keys,
    pub(crate) outputs: Vec<(&'static str, String)>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Spec {
    service_account_name: Option<String>,
    service_account: Option<String>,
    os: Option<Os>,
    node_selector: Option<NodeSelector>,
    affinity: Option<Affinity>,
    pub(crate) security_context: Option<RunAs>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) volumes: Vec<Volume>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) init_containers: Vec<Container>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) containers: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize)]
struct Os {
    name: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
struct NodeSelector {
    #[serde(rename = "kubernetes.io/os")]
    os: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Affinity {
    node_affinity: Option<NodeAffinity>,
}

#[derive(Clone, Debug, Deserialize)]
struct NodeAffinity {
    #[serde(rename = "requiredDuringSchedulingIgnoredDuringExecution")]
    required: Option<RequiredAffinity>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequiredAffinity {
    #[serde(default, deserialize_with = "or_default")]
    node_selector_terms: Vec<NodeSelectorTerm>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct NodeSelectorTerm {
    #[serde(default, deserialize_with = "or_default")]
    match_expressions: Vec<MatchExpression>,
}

#[derive(Clone, Debug, Deserialize)]
struct MatchExpression {
    #[serde(default, deserialize_with = "or_default")]
    key: String,
    #[serde(default, deserialize_with = "or_default")]
    operator: String,
    #[serde(default, deserialize_with = "or_default")]
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunAs {
    pub(crate) run_as_user: Option<i64>,
}

/// A volume: its name, and what is in it as far as cwii adds such volumes itself.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Volume {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
    pub(crate) projected: Option<Projected>,
    pub(crate) empty_dir: Option<IgnoredAny>,
    pub(crate) config_map: Option<ConfigMapSource>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Projected {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) sources: Vec<ProjectedSource>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProjectedSource {
    pub(crate) service_account_token: Option<TokenSource>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenSource {
    pub(crate) path: Option<String>,
    pub(crate) audience: Option<String>,
    pub(crate) expiration_seconds: Option<i64>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConfigMapSource {
    pub(crate) name: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) items: Vec<KeyToPath>,
}

#[derive(Clone, Debug, Deserialize)]
pub(crate) struct KeyToPath {
    pub(crate) key: Option<String>,
    pub(crate) path: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Container {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) command: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) args: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) env: Vec<EnvVar>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) volume_mounts: Vec<VolumeMount>,
    pub(crate) security_context: Option<RunAs>,
}

impl Container {
    /// `securityContext.runAsUser`.
    pub(crate) fn run_as_user(&self) -> Option<i64> {
        self.security_context?.run_as_user
    }

    /// Whether it has a variable of this name, whatever its value.
    pub(crate) fn has_variable(&self, name: &str) -> bool {
        self.env.iter().any(|variable| variable.name == name)
    }
}

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct EnvVar {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
    pub(crate) value: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct VolumeMount {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) name: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) mount_path: String,
    pub(crate) read_only: Option<bool>,
    pub(crate) sub_path: Option<String>,
    pub(crate) sub_path_expr: Option<String>,
}

impl VolumeMount {
    /// Whether it shows a whole volume, not to be written to. With a `subPath` the kubelet does not renew a token.
    pub(crate) fn is_whole_and_read_only(&self) -> bool {
        let is_whole = [&self.sub_path, &self.sub_path_expr]
            .into_iter()
            .flatten()
            .all(String::is_empty);
        is_whole && self.read_only == Some(true)
    }
}

/// `null` is the default.
fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AnnotationsVisitor)
    }
}

struct AnnotationsVisitor;

impl<'de> Visitor<'de> for AnnotationsVisitor {
    type Value = Annotations;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("annotations")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Annotations, A::Error> {
        let mut read: Vec<(String, String)> = Vec::new();
        let mut outputs = Vec::new();
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                AnnotationKey::Other => {
                    map.next_value::<IgnoredAny>()?;
                }
                AnnotationKey::Read(key) => {
                    if let Some(value) = map.next_value::<Option<String>>()? {
                        read.push((key, value));
                    }
                }
                AnnotationKey::Output(key) => {
                    if let Some(value) = map.next_value::<Option<String>>()? {
                        outputs.push((key, value));
                    }
                }
            }
        }
        Ok(Annotations {
            keys: Keys::from_annotations(read.iter().map(|(k, v)| (k.as_str(), v.as_str()))),
            outputs,
        })
    }
}

enum AnnotationKey {
    Other,
    Read(String),
    Output(&'static str),
}

/// Looks at a key where it stands, so that those of others cost no copy.
struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = AnnotationKey;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<AnnotationKey, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = AnnotationKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<AnnotationKey, E> {
        Ok(if annotations::is_read(key) {
            AnnotationKey::Read(key.to_owned())
        } else {
            annotations::output(key).map_or(AnnotationKey::Other, AnnotationKey::Output)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(json: serde_json::Value) -> Pod {
        let text = json.to_string();
        let from_value: Pod = serde_json::from_value(json).unwrap();
        let from_text: Pod = serde_json::from_str(&text).unwrap();
        assert_eq!(format!("{from_value:?}"), format!("{from_text:?}"));
        from_text
    }

    fn owned_by(api_version: &str, kind: &str, name: &str, hash: &str) -> Pod {
        pod(json!({ "metadata": {
            "labels": { "pod-template-hash": hash },
            "ownerReferences": [
                { "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1" },
                { "apiVersion": api_version, "kind": kind, "name": name, "uid": "2", "controller": true },
            ],
        }}))
    }

    #[test]
    fn a_workload_is_matched_by_group_and_kind() {
        for (api_version, kind, expected) in [
            ("apps/v1", "StatefulSet", Some(WorkloadKind::StatefulSet)),
            ("apps/v1", "DaemonSet", Some(WorkloadKind::DaemonSet)),
            (
                "v1",
                "ReplicationController",
                Some(WorkloadKind::ReplicationController),
            ),
            ("batch/v1", "Job", Some(WorkloadKind::Job)),
            ("batch.volcano.sh/v1alpha1", "Job", None),
            ("apps.kruise.io/v1beta1", "StatefulSet", None),
            ("argoproj.io/v1alpha1", "Rollout", None),
            ("v1", "StatefulSet", None),
        ] {
            let pod = owned_by(api_version, kind, "x", "h");
            let found = match pod.workload() {
                Workload::Direct { kind, name, uid } => {
                    assert_eq!((name, uid), ("x", "2"));
                    Some(kind)
                }
                Workload::None => None,
                other @ Workload::ReplicaSet { .. } => panic!("{other:?}"),
            };
            assert_eq!(found, expected, "{api_version} {kind}");
        }
    }

    #[test]
    fn the_deployment_is_guessed_from_the_replica_sets_name_and_the_hash() {
        for (name, hash, guess) in [
            ("web-6d5b7f9c4d", "6d5b7f9c4d", Some("web")),
            ("web-a-b", "b", Some("web-a")),
            ("web", "6d5b7f9c4d", None),
            ("web6d5b7f9c4d", "6d5b7f9c4d", None),
            ("-6d5b7f9c4d", "6d5b7f9c4d", None),
        ] {
            assert_eq!(
                owned_by("apps/v1", "ReplicaSet", name, hash).workload(),
                Workload::ReplicaSet {
                    name,
                    uid: "2",
                    deployment_name_guess: guess
                }
            );
        }
    }

    #[test]
    fn an_owner_that_does_not_control_is_not_followed() {
        let pod = pod(json!({ "metadata": { "ownerReferences": [
            { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "x", "uid": "1", "controller": false },
            { "apiVersion": "batch/v1", "kind": "Job", "name": "y", "uid": "2", "controller": null },
        ]}}));
        assert_eq!((pod.controller(), pod.workload()), (None, Workload::None));
    }

    #[test]
    fn the_service_account_is_default_unless_named() {
        for (spec, name) in [
            (json!({}), "default"),
            (json!(null), "default"),
            (json!({ "serviceAccountName": "" }), "default"),
            (json!({ "serviceAccount": "old" }), "old"),
            (
                json!({ "serviceAccountName": "new", "serviceAccount": "old" }),
                "new",
            ),
        ] {
            assert_eq!(pod(json!({ "spec": spec })).service_account_name(), name);
        }
    }

    #[test]
    fn a_pod_is_named_even_before_it_has_a_name() {
        for (metadata, name) in [
            (json!({ "name": "web-0" }), "Pod apps/web-0"),
            (
                json!({ "generateName": "web-", "name": "" }),
                "Pod apps/web-*",
            ),
            (json!({}), "Pod apps/*"),
            (json!(null), "Pod apps/*"),
        ] {
            assert_eq!(
                pod(json!({ "metadata": metadata }))
                    .object("apps")
                    .to_string(),
                name
            );
        }
    }

    #[test]
    fn windows_is_told_by_the_os_the_selector_or_all_terms() {
        let term = |values: &[&str]| {
            json!({ "matchExpressions": [
                { "key": "zone", "operator": "Exists" },
                { "key": "kubernetes.io/os", "operator": "In", "values": values },
            ]})
        };
        let affinity = |terms: &[serde_json::Value]| {
            json!({ "affinity": { "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": { "nodeSelectorTerms": terms },
            }}})
        };
        for (spec, is_windows) in [
            (json!({}), false),
            (json!({ "os": { "name": "windows" } }), true),
            (
                json!({ "os": { "name": "linux" }, "nodeSelector": { "kubernetes.io/os": "windows" } }),
                false,
            ),
            (
                json!({ "nodeSelector": { "kubernetes.io/os": "windows" } }),
                true,
            ),
            (
                json!({ "nodeSelector": { "kubernetes.io/os": "linux" } }),
                false,
            ),
            (affinity(&[term(&["windows"]), term(&["windows"])]), true),
            (affinity(&[term(&["windows"]), term(&["linux"])]), false),
            (affinity(&[term(&["windows", "linux"])]), false),
            (affinity(&[term(&[])]), false),
            (affinity(&[]), false),
            (json!({ "affinity": { "nodeAffinity": null } }), false),
        ] {
            assert_eq!(
                pod(json!({ "spec": spec })).is_windows(),
                is_windows,
                "{spec}"
            );
        }
    }

    #[test]
    fn what_is_of_another_type_is_refused() {
        for json in [
            json!([]),
            json!({ "metadata": "x" }),
            json!({ "metadata": { "annotations": [] } }),
            json!({ "metadata": { "annotations": { "cwii.dev/aws-inject": true } } }),
            json!({ "spec": { "containers": {} } }),
            json!({ "spec": { "containers": [{ "env": "x" }] } }),
            json!({ "spec": { "securityContext": { "runAsUser": "root" } } }),
        ] {
            assert!(
                serde_json::from_value::<Pod>(json.clone()).is_err(),
                "{json}"
            );
        }
    }
}
