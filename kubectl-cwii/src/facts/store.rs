//! Everything that was read, from manifests and from the cluster, each object once.
//!
//! Whoever asks gets a [`Fact`]: an object, its absence, or why nobody could look. Absence is only claimed where somebody
//! looked: in the cluster by an answer, in manifests where at least one object of the kind was given.

use std::collections::{BTreeMap, BTreeSet};

use cwii_checks::{
    doctor::{Object, Origin},
    facts::Fact,
};
use serde_json::{Map, Value};

/// What was read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store {
    objects: BTreeMap<Key, Fact<Object>>,
    /// Those that manifests give; what the cluster says of them is laid under.
    given: BTreeMap<Key, Object>,
    given_kinds: BTreeSet<String>,
    lists: BTreeMap<Query, Fact<()>>,
    /// How many others an object stands for, itself among them.
    numbers: BTreeMap<Key, usize>,
}

/// One object. The namespace of a cluster-wide one is empty.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Key {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// A list that was asked for. An empty namespace is all of them.
#[derive(Clone, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Query {
    pub(crate) kind: String,
    pub(crate) namespace: String,
    /// Label selector, `a=b,c=d`; empty for all objects.
    pub(crate) labels: String,
}

impl Key {
    pub(crate) fn new(kind: &str, namespace: &str, name: &str) -> Self {
        let namespace = if is_cluster_wide(kind) { "" } else { namespace };
        Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(crate) fn of(object: &Object) -> Self {
        Self::new(
            &kind_of(object.api_version(), object.kind()),
            object.namespace().unwrap_or_default(),
            object.name(),
        )
    }
}

impl Query {
    pub(crate) fn new(kind: &str, namespace: &str, labels: &str) -> Self {
        Self {
            kind: kind.to_owned(),
            namespace: namespace.to_owned(),
            labels: labels.to_owned(),
        }
    }
}

impl Store {
    /// Takes the objects of manifests. Those that live in a namespace and name none are put into this one. Of two of the same
    /// name the later one counts, as it does for `kubectl apply`.
    pub(crate) fn give(&mut self, objects: Vec<Object>, namespace: &str) {
        for object in objects {
            let kind = kind_of(object.api_version(), object.kind());
            let object = if object.namespace().is_none() && !is_cluster_wide(&kind) {
                let mut value = object.value().clone();
                if let Some(Value::Object(metadata)) = value.get_mut("metadata") {
                    metadata.insert("namespace".into(), namespace.into());
                }
                object.with_value(value)
            } else {
                object
            };
            self.given_kinds.insert(kind);
            self.given.insert(Key::of(&object), object);
        }
    }

    /// What manifests give.
    pub(crate) fn given(&self) -> impl Iterator<Item = &Object> {
        self.given.values()
    }

    /// Whether the cluster answered about an object, by itself or in a list of all of its kind.
    pub(crate) fn is_answered(&self, kind: &str, namespace: &str, name: &str) -> bool {
        let key = Key::new(kind, namespace, name);
        self.objects.contains_key(&key)
            || [key.namespace.as_str(), ""]
                .iter()
                .any(|namespace| self.is_listed(&Query::new(kind, namespace, "")))
    }

    /// Whether a list came whole.
    pub(crate) fn is_listed(&self, query: &Query) -> bool {
        matches!(self.lists.get(query), Some(Fact::Known(())))
    }

    /// Says that an object stands for so many.
    pub(crate) fn stands_for(&mut self, key: Key, number: usize) {
        self.numbers.insert(key, number);
    }

    /// How many an object stands for.
    pub(crate) fn number(&self, object: &Object) -> usize {
        self.numbers.get(&Key::of(object)).copied().unwrap_or(1)
    }

    /// Takes the cluster's answer about one object.
    pub(crate) fn answer(&mut self, key: Key, fact: Fact<Object>) {
        self.objects.insert(key, fact);
    }

    /// Takes the cluster's answer about many.
    pub(crate) fn answer_list(&mut self, query: Query, fact: Fact<Vec<Object>>) {
        let outcome = match fact {
            Fact::Known(objects) => {
                self.answer_page(&query.kind, objects);
                Fact::Known(())
            }
            Fact::Absent => Fact::Absent,
            Fact::Denied(permission) => Fact::Denied(permission),
            Fact::Unreachable(why) => Fact::Unreachable(why),
            Fact::TimedOut => Fact::TimedOut,
            Fact::Invalid(why) => Fact::Invalid(why),
            Fact::NotCollected => Fact::NotCollected,
        };
        self.lists.insert(query, outcome);
    }

    /// Takes a part of a list's objects.
    pub(crate) fn answer_page(&mut self, kind: &str, objects: Vec<Object>) {
        for object in objects {
            let key = Key::new(kind, object.namespace().unwrap_or_default(), object.name());
            self.objects.insert(key, Fact::Known(object));
        }
    }

    /// One object.
    pub(crate) fn get(&self, kind: &str, namespace: &str, name: &str) -> Fact<Object> {
        let key = Key::new(kind, namespace, name);
        if let Some(given) = self.given.get(&key) {
            return Fact::Known(match self.objects.get(&key) {
                Some(Fact::Known(live)) => laid_over(live, given),
                _ => given.clone(),
            });
        }
        if let Some(fact) = self.objects.get(&key) {
            return fact.clone();
        }
        match self.looked(kind, &key.namespace, "") {
            Fact::Known(()) => Fact::Absent,
            other => without_value(other),
        }
    }

    /// All objects of a kind in a namespace, or in all with an empty one, that have these labels (`a=b,c=d`).
    pub(crate) fn list(&self, kind: &str, namespace: &str, labels: &str) -> Fact<Vec<Object>> {
        let namespace = if is_cluster_wide(kind) { "" } else { namespace };
        match self.looked(kind, namespace, labels) {
            Fact::Known(()) => {}
            other => return without_value(other),
        }
        let wanted = pairs(labels);
        let keys: BTreeSet<_> = within(&self.objects, kind, namespace)
            .chain(within(&self.given, kind, namespace))
            .collect();
        Fact::Known(
            keys.into_iter()
                .filter_map(|key| match self.get(kind, &key.namespace, &key.name) {
                    Fact::Known(object) => Some(object),
                    _ => None,
                })
                .filter(|object| {
                    wanted
                        .iter()
                        .all(|(key, value)| object.label(key) == Some(*value))
                })
                .collect(),
        )
    }

    /// Whether all objects of a kind were looked at.
    fn looked(&self, kind: &str, namespace: &str, labels: &str) -> Fact<()> {
        let mut worst = None;
        for query in [
            Query::new(kind, namespace, labels),
            Query::new(kind, namespace, ""),
            Query::new(kind, "", ""),
        ] {
            match self.lists.get(&query) {
                Some(Fact::Known(())) => return Fact::Known(()),
                Some(other) if worst.is_none() => worst = Some(other.clone()),
                _ => {}
            }
        }
        if self.given_kinds.contains(kind) && worst.is_none() {
            return Fact::Known(());
        }
        worst.unwrap_or(Fact::NotCollected)
    }
}

/// The keys of a kind, in a namespace or in all.
fn within<'m, T>(
    map: &'m BTreeMap<Key, T>,
    kind: &'m str,
    namespace: &'m str,
) -> impl Iterator<Item = &'m Key> {
    let first = Key {
        kind: kind.to_owned(),
        namespace: namespace.to_owned(),
        name: String::new(),
    };
    map.range(first..)
        .map(|(key, _)| key)
        .take_while(move |key| {
            key.kind == kind && (namespace.is_empty() || key.namespace == namespace)
        })
}

/// A fact that holds no value, as one of another type.
fn without_value<T>(fact: Fact<()>) -> Fact<T> {
    match fact {
        Fact::Known(()) | Fact::Absent => Fact::Absent,
        Fact::Denied(permission) => Fact::Denied(permission),
        Fact::Unreachable(why) => Fact::Unreachable(why),
        Fact::TimedOut => Fact::TimedOut,
        Fact::Invalid(why) => Fact::Invalid(why),
        Fact::NotCollected => Fact::NotCollected,
    }
}

/// A live object as it would be after `kubectl apply` of a manifest: what the manifest says, what the API server and other
/// field managers added, and not what an earlier manifest said.
fn laid_over(live: &Object, given: &Object) -> Object {
    let mut value = given.value().clone();
    let Some(live_metadata) = live.get("/metadata").and_then(Value::as_object) else {
        return given.clone();
    };
    let earlier: Value = live
        .annotation(LAST_APPLIED)
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_default();
    let mut metadata = live_metadata.clone();
    // Times of fields that the manifest changes are over.
    metadata.remove("managedFields");
    for (member, said) in given
        .get("/metadata")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if !matches!(member.as_str(), "annotations" | "labels") {
            metadata.insert(member.clone(), said.clone());
        }
    }
    for member in ["annotations", "labels"] {
        let empty = Map::new();
        let of = |metadata: Option<&Value>| {
            metadata
                .and_then(|metadata| metadata.get(member))
                .and_then(Value::as_object)
                .cloned()
        };
        let said = of(given.get("/metadata")).unwrap_or_default();
        let before = of(earlier.get("metadata")).unwrap_or_default();
        let mut merged = of(Some(&Value::Object(live_metadata.clone()))).unwrap_or(empty);
        merged.retain(|key, _| !before.contains_key(key) && key != LAST_APPLIED);
        merged.extend(said);
        if merged.is_empty() {
            metadata.remove(member);
        } else {
            metadata.insert(member.to_owned(), Value::Object(merged));
        }
    }
    if let Some(members) = value.as_object_mut() {
        members.insert("metadata".into(), Value::Object(metadata));
        if let (Some(status), false) = (live.get("/status"), members.contains_key("status")) {
            members.insert("status".into(), status.clone());
        }
    }
    let origin = given.origin().cloned().unwrap_or_else(Origin::default);
    Object::from_file(value, origin)
}

/// The pairs of `a=b,c=d`.
pub(crate) fn pairs(labels: &str) -> Vec<(&str, &str)> {
    labels
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .collect()
}

/// The kind, with its group where another group has a kind of the same name that is meant by the kind alone.
pub(crate) fn kind_of(api_version: &str, kind: &str) -> String {
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let expected = match kind {
        "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet" => &["apps", "extensions"][..],
        "Job" | "CronJob" => &["batch"],
        "MutatingWebhookConfiguration" => &["admissionregistration.k8s.io"],
        "EndpointSlice" => &["discovery.k8s.io"],
        "NetworkPolicy" => &["networking.k8s.io", "extensions"],
        "Event" => &["", "events.k8s.io"],
        "Pod"
        | "ServiceAccount"
        | "Namespace"
        | "Service"
        | "Secret"
        | "ConfigMap"
        | "Node"
        | "ResourceQuota"
        | "LimitRange"
        | "ReplicationController" => &[""],
        _ => {
            return if group.is_empty() {
                kind.to_owned()
            } else {
                format!("{kind}.{group}")
            };
        }
    };
    if expected.contains(&group) {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    }
}

/// Whether objects of a kind live outside of namespaces.
pub(crate) fn is_cluster_wide(kind: &str) -> bool {
    let plain = kind.split('.').next().unwrap_or(kind);
    matches!(
        plain,
        "Namespace"
            | "Node"
            | "PersistentVolume"
            | "StorageClass"
            | "PriorityClass"
            | "RuntimeClass"
            | "IngressClass"
            | "CustomResourceDefinition"
            | "APIService"
            | "ClusterRole"
            | "ClusterRoleBinding"
            | "MutatingWebhookConfiguration"
            | "ValidatingWebhookConfiguration"
            | "ValidatingAdmissionPolicy"
            | "ValidatingAdmissionPolicyBinding"
            | "MutatingAdmissionPolicy"
            | "MutatingAdmissionPolicyBinding"
    )
}

/// Where `kubectl apply` writes down what it was given.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(kind: &str, name: &str) -> Object {
        Object::from_file(
            json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}),
            Origin::default(),
        )
    }

    #[test]
    fn absence_is_claimed_only_where_somebody_looked() {
        let mut store = Store::default();
        store.give(vec![object("ServiceAccount", "a")], "shop");
        assert!(matches!(
            store.get("ServiceAccount", "shop", "a"),
            Fact::Known(_)
        ));
        assert_eq!(store.get("ServiceAccount", "shop", "b"), Fact::Absent);
        assert_eq!(store.get("Namespace", "", "shop"), Fact::NotCollected);
        assert_eq!(store.list("Event", "shop", ""), Fact::NotCollected);
        let Fact::Known(none) = store.list("ServiceAccount", "other", "") else {
            panic!("looked at");
        };
        assert_eq!(none, []);
        store.answer_list(
            Query::new("Event", "shop", ""),
            Fact::Denied("list events in namespace shop".into()),
        );
        assert!(matches!(store.list("Event", "shop", ""), Fact::Denied(_)));
        assert!(matches!(store.get("Event", "shop", "e"), Fact::Denied(_)));
    }

    #[test]
    fn a_manifest_lies_over_the_live_object_as_apply_would_lay_it() {
        let mut store = Store::default();
        store.give(
            vec![Object::from_file(
                json!({"apiVersion": "v1", "kind": "ServiceAccount",
                    "metadata": {"name": "a", "annotations": {"new": "1", "both": "file"}}}),
                Origin::default(),
            )],
            "shop",
        );
        store.answer(
            Key::new("ServiceAccount", "shop", "a"),
            Fact::Known(Object::new(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {
                "name": "a", "namespace": "shop", "uid": "u", "managedFields": [{}],
                "annotations": {"both": "live", "gone": "1", "foreign": "1",
                    LAST_APPLIED: "{\"metadata\":{\"annotations\":{\"gone\":\"1\",\"both\":\"live\"}}}"},
            }}))),
        );
        let Fact::Known(object) = store.get("ServiceAccount", "shop", "a") else {
            panic!("known");
        };
        assert_eq!(
            *object.get("/metadata/annotations").unwrap(),
            json!({"foreign": "1", "new": "1", "both": "file"})
        );
        assert_eq!(object.uid(), Some("u"));
        assert_eq!(object.get("/metadata/managedFields"), None);
    }

    #[test]
    fn kinds_of_other_groups_are_others() {
        assert_eq!(kind_of("v1", "Service"), "Service");
        assert_eq!(
            kind_of("serving.knative.dev/v1", "Service"),
            "Service.serving.knative.dev"
        );
        assert_eq!(kind_of("events.k8s.io/v1", "Event"), "Event");
    }
}
