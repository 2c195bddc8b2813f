//! The smallest RBAC with which nothing stays unknown, from what the rules say that they need.

use std::collections::{BTreeMap, BTreeSet};

use cwii_checks::doctor::{Need, Permission, Place, rules};

/// Roles and bindings as YAML. The subject and the namespaces are the reader's to fill in, so they come as names that no
/// cluster has by accident.
pub(crate) fn manifest(namespace: &str, webhook_namespace: &str, probe: bool) -> String {
    let mut by_place: BTreeMap<Place, BTreeSet<Permission>> = BTreeMap::new();
    for permission in needs(probe).into_iter().flat_map(Need::permissions) {
        by_place
            .entry(permission.place)
            .or_default()
            .insert(*permission);
    }
    let mut text = String::from(HEAD);
    for (place, permissions) in &by_place {
        let (kind, name, namespace) = match place {
            Place::Cluster => ("ClusterRole", "cwii-doctor", None),
            Place::Workload => ("Role", "cwii-doctor-workload", Some(namespace)),
            Place::Webhook => ("Role", "cwii-doctor-webhook", Some(webhook_namespace)),
            Place::System => ("Role", "cwii-doctor-trust", Some(SYSTEM)),
        };
        let metadata = |text: &mut String| {
            text.push_str(&format!("metadata:\n  name: {name}\n"));
            if let Some(namespace) = namespace {
                text.push_str(&format!("  namespace: {namespace}\n"));
            }
        };
        text.push_str(&format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n"
        ));
        metadata(&mut text);
        text.push_str("rules:\n");
        text.push_str(&rules_of(permissions));
        text.push_str(&format!(
            "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\n"
        ));
        metadata(&mut text);
        text.push_str(&format!(
            "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {name}\n\
             subjects:\n- apiGroup: rbac.authorization.k8s.io\n  kind: Group\n  name: {GROUP}\n"
        ));
    }
    text
}

/// What all rules need.
pub(crate) fn needs(probe: bool) -> BTreeSet<Need> {
    rules()
        .flat_map(|rule| rule.needs)
        .copied()
        .filter(|need| probe || need.flag() != Some("--probe"))
        .collect()
}

/// Rules of a Role: resources that share group, name and verbs stand together.
fn rules_of(permissions: &BTreeSet<Permission>) -> String {
    let mut verbs: BTreeMap<(&str, &str, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
    for permission in permissions {
        verbs
            .entry((permission.group, permission.resource, permission.name))
            .or_default()
            .insert(permission.verb);
    }
    let mut rules: BTreeMap<(&str, Option<&str>, Vec<&str>, bool), Vec<&str>> = BTreeMap::new();
    for ((group, resource, name), verbs) in verbs {
        let is_path = resource.starts_with('/');
        rules
            .entry((group, name, verbs.into_iter().collect(), is_path))
            .or_default()
            .push(resource);
    }
    let list = |words: &[&str]| {
        let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    let mut text = String::new();
    for ((group, name, verbs, is_path), resources) in rules {
        if is_path {
            text.push_str(&format!("- nonResourceURLs: {}\n", list(&resources)));
        } else {
            text.push_str(&format!(
                "- apiGroups: [\"{group}\"]\n  resources: {}\n",
                list(&resources)
            ));
        }
        if let Some(name) = name {
            text.push_str(&format!("  resourceNames: [\"{name}\"]\n"));
        }
        text.push_str(&format!("  verbs: {}\n", list(&verbs)));
    }
    text
}

const HEAD: &str =
    "# What `kubectl cwii doctor` reads. Bind it to whom you like: the group is a placeholder.\n";
/// Where cwii is installed.
const SYSTEM: &str = "cwii-system";
const GROUP: &str = "cwii-doctors";
