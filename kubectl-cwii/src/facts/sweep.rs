//! Many workloads: which of them are meant, and which are the same.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    str::FromStr,
};

use cwii_checks::{
    doctor::{Object, Target},
    facts::Fact,
};
use serde_json::{Map, Value, json};

use super::{
    store::{Store, kind_of},
    workload::Workload,
};
use crate::problem::Problem;

/// A label selector as kubectl reads it.
/// Source: Kubernetes, "Labels and Selectors"
/// (<https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/>).
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Lacks(String),
}

impl Selector {
    pub(crate) fn matches(&self, object: &Object) -> bool {
        self.0.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => object
                .label(key)
                .is_some_and(|value| values.iter().any(|v| v == value)),
            Requirement::NotIn(key, values) => object
                .label(key)
                .is_none_or(|value| values.iter().all(|v| v != value)),
            Requirement::Exists(key) => object.label(key).is_some(),
            Requirement::Lacks(key) => object.label(key).is_none(),
        })
    }
}

impl FromStr for Selector {
    type Err = Problem;

    fn from_str(text: &str) -> Result<Self, Problem> {
        let refused = |part: &str| {
            Problem::new(format!(
                "`{part}` is no requirement of a label selector, expected `key=value`, `key!=value`, `key in (a,b)`, \
                 `key notin (a,b)`, `key` or `!key`"
            ))
        };
        let mut requirements = Vec::new();
        for part in parts(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            let requirement = if let Some((key, list)) = part.split_once('(') {
                let list = list.strip_suffix(')').ok_or_else(|| refused(part))?;
                let values = list
                    .split(',')
                    .map(|value| value.trim().to_owned())
                    .collect();
                match key.split_whitespace().collect::<Vec<_>>().as_slice() {
                    [key, "in"] => Requirement::In((*key).to_owned(), values),
                    [key, "notin"] => Requirement::NotIn((*key).to_owned(), values),
                    _ => return Err(refused(part)),
                }
            } else if let Some((key, value)) = part.split_once("!=") {
                Requirement::NotIn(key.trim().to_owned(), vec![value.trim().to_owned()])
            } else if let Some((key, value)) =
                part.split_once("==").or_else(|| part.split_once('='))
            {
                Requirement::In(key.trim().to_owned(), vec![value.trim().to_owned()])
            } else if let Some(key) = part.strip_prefix('!') {
                Requirement::Lacks(key.trim().to_owned())
            } else {
                Requirement::Exists(part.to_owned())
            };
            let key = match &requirement {
                Requirement::In(key, _)
                | Requirement::NotIn(key, _)
                | Requirement::Exists(key)
                | Requirement::Lacks(key) => key,
            };
            let is_key = !key.is_empty()
                && key
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
            if !is_key {
                return Err(refused(part));
            }
            requirements.push(requirement);
        }
        Ok(Self(requirements))
    }
}

/// The parts between commas that do not stand in parentheses.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut depth) = (0, 0_u32);
    for (index, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Workload {
    /// Whether its pod, or what would be its pod, has these labels.
    pub(crate) fn matches(&self, selector: &Selector) -> bool {
        match &self.pod {
            Fact::Known(pod) => selector.matches(pod),
            _ => false,
        }
    }

    /// What it is listed as: the topmost controller, or itself.
    pub(crate) fn row(&self, store: &Store) -> Target {
        match self.owners(store).last() {
            Some(owner) => Target {
                kind: owner.kind.clone(),
                namespace: self.target.namespace.clone(),
                name: owner.name.clone(),
            },
            None => self.target.clone(),
        }
    }

    /// Whether it is of a kind, or made by something of that kind.
    pub(crate) fn is_of(&self, store: &Store, kind: &str) -> bool {
        self.target.kind == kind
            || self
                .owners(store)
                .iter()
                .any(|owner| kind_of(&owner.api_version, &owner.kind) == kind)
    }

    /// Whether it is this object, or made by it, or has its identity.
    pub(crate) fn belongs_to(&self, store: &Store, kind: &str, name: &str) -> bool {
        if kind == "ServiceAccount" {
            let Fact::Known(pod) = &self.pod else {
                return false;
            };
            let account = pod.text("/spec/serviceAccountName").unwrap_or_default();
            return name
                == if account.is_empty() {
                    "default"
                } else {
                    account
                };
        }
        self.target.kind == kind && self.target.name == name
            || self
                .owners(store)
                .iter()
                .any(|owner| kind_of(&owner.api_version, &owner.kind) == kind && owner.name == name)
    }
}

/// One workload of those that are the same: pods of one controller that differ in nothing that a rule looks at. The oldest
/// stands for them, since what it missed the younger may not have.
pub(crate) fn distinct(store: &Store, workloads: Vec<Workload>) -> Vec<Workload> {
    let mut order = Vec::new();
    let mut groups: BTreeMap<(String, String, u64), Workload> = BTreeMap::new();
    for workload in workloads {
        let owner = workload.owners(store).last().map_or_else(
            || format!("{}/{}", workload.target.kind, workload.target.name),
            |owner| format!("{}/{}", owner.kind, owner.name),
        );
        let likeness = match &workload.pod {
            Fact::Known(pod) => likeness(pod),
            _ => 0,
        };
        let key = (workload.target.namespace.clone(), owner, likeness);
        match groups.get_mut(&key) {
            Some(known) => {
                known.pods += workload.pods;
                if created(&workload) < created(known) {
                    let pods = known.pods;
                    *known = workload;
                    known.pods = pods;
                }
            }
            None => {
                order.push(key.clone());
                groups.insert(key, workload);
            }
        }
    }
    order
        .into_iter()
        .filter_map(|key| groups.remove(&key))
        .collect()
}

fn created(workload: &Workload) -> Option<jiff::Timestamp> {
    match &workload.pod {
        Fact::Known(pod) => pod.created(),
        _ => None,
    }
}

/// A number that pods share which differ only in what the API server, the scheduler and their controller number them by.
pub(crate) fn likeness(pod: &Object) -> u64 {
    let mut spec = pod.get("/spec").cloned().unwrap_or_default();
    if let Some(spec) = spec.as_object_mut() {
        for member in [
            "nodeName",
            "hostname",
            "subdomain",
            "tolerations",
            "priority",
        ] {
            spec.remove(member);
        }
        let is_own_token = |value: &Value| {
            value
                .get("name")
                .and_then(Value::as_str)
                .is_some_and(|name| name.starts_with("kube-api-access-"))
        };
        let without_token = |list: Option<&mut Value>| {
            if let Some(Value::Array(list)) = list {
                list.retain(|value| !is_own_token(value));
            }
        };
        without_token(spec.get_mut("volumes"));
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            if let Some(Value::Array(containers)) = spec.get_mut(list) {
                for container in containers {
                    without_token(container.get_mut("volumeMounts"));
                }
            }
        }
    }
    let keep = |pointer: &str, numbering: &[&str]| -> Map<String, Value> {
        pod.get(pointer)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter(|(key, _)| !numbering.contains(&key.as_str()))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let statuses: Vec<_> = ["/status/initContainerStatuses", "/status/containerStatuses"]
        .into_iter()
        .flat_map(|list| pod.list(list))
        .map(|status| {
            json!([
                status.get("name"),
                status.pointer("/state/waiting/reason"),
                status.pointer("/state/terminated/exitCode"),
                status.pointer("/state/terminated/message"),
                status.pointer("/lastState/terminated/exitCode"),
                status.pointer("/lastState/terminated/message"),
            ])
        })
        .collect();
    let whole = json!([
        spec,
        keep("/metadata/labels", NUMBERING_LABELS),
        keep("/metadata/annotations", &[]),
        statuses,
    ]);
    let mut hasher = DefaultHasher::new();
    whole.to_string().hash(&mut hasher);
    hasher.finish()
}

/// Labels that controllers tell their pods apart by.
const NUMBERING_LABELS: &[&str] = &[
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-name",
    "controller-uid",
    "job-name",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_of_kubectl() {
        let object = Object::new(json!({"metadata": {"labels": {"a": "1", "b": "2"}}}));
        for (selector, expected) in [
            ("a=1", true),
            ("a==1,b=2", true),
            ("a!=1", false),
            ("c!=1", true),
            ("a in (0, 1),b", true),
            ("a notin (0,1)", false),
            ("!c", true),
            ("!a", false),
            ("", true),
        ] {
            let parsed: Selector = selector.parse().unwrap();
            assert_eq!(parsed.matches(&object), expected, "{selector}");
        }
        for selector in ["a in (b", "=x", "a b", "a of (b)"] {
            assert!(selector.parse::<Selector>().is_err(), "{selector}");
        }
    }

    #[test]
    fn pods_that_differ_in_numbers_alone_are_the_same() {
        let pod = |token: &str, node: &str, role: &str| {
            Object::new(json!({
                "metadata": {"labels": {"statefulset.kubernetes.io/pod-name": node}},
                "spec": {"nodeName": node, "volumes": [{"name": token}],
                    "containers": [{"env": [{"name": "AWS_ROLE_ARN", "value": role}], "volumeMounts": [{"name": token}]}]},
            }))
        };
        let one = likeness(&pod("kube-api-access-a", "n1", "r"));
        assert_eq!(one, likeness(&pod("kube-api-access-b", "n2", "r")));
        assert_ne!(one, likeness(&pod("kube-api-access-a", "n1", "other")));
    }
}
