//! The smallest RBAC with which nothing stays unknown, from what the rules say that they need.

use std::collections::{BTreeMap, BTreeSet};

use cwii_checks::doctor::{Need, Permission, Place, rules};

/// What the permissions are for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted<'a> {
    /// The namespace of the workloads.
    pub(crate) namespace: &'a str,
    /// Whether they are in all namespaces, and swept.
    pub(crate) all_namespaces: bool,
    /// Whether `--probe` is to be allowed.
    pub(crate) probe: bool,
}

impl Wanted<'_> {
    /// Roles and bindings as YAML. The subject is the reader's to fill in: a group that no cluster has by accident.
    pub(crate) fn manifest(&self) -> String {
        let mut by_place: BTreeMap<Place, BTreeSet<Permission>> = BTreeMap::new();
        for permission in needs(self.probe).into_iter().flat_map(Need::permissions) {
            let mut permission = *permission;
            if (permission.place, permission.resource) == (Place::Webhook, "secrets") {
                permission.name = Some(CERTIFICATE);
            }
            if permission.place == Place::Workload && self.all_namespaces {
                permission.place = Place::Cluster;
                // A sweep lists what one workload's diagnosis gets by name.
                if permission.verb == "get" {
                    let list = Permission {
                        verb: "list",
                        ..permission
                    };
                    by_place.entry(list.place).or_default().insert(list);
                }
            }
            by_place
                .entry(permission.place)
                .or_default()
                .insert(permission);
        }
        let mut text = String::from(HEAD);
        for (place, permissions) in &by_place {
            let (kind, name, namespace) = match place {
                Place::Cluster => ("ClusterRole", "cwii-doctor", None),
                Place::Workload => ("Role", "cwii-doctor-workload", Some(self.namespace)),
                Place::Webhook => ("Role", "cwii-doctor-webhook", Some(SYSTEM)),
                Place::System => ("Role", "cwii-doctor-trust", Some(SYSTEM)),
            };
            let mut metadata = format!("metadata:\n  name: {name}\n");
            if let Some(namespace) = namespace {
                metadata.push_str(&format!("  namespace: {namespace}\n"));
            }
            text.push_str(&format!(
                "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\n{metadata}rules:\n{}\
                 ---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}Binding\n{metadata}\
                 roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: {name}\n\
                 subjects:\n- apiGroup: rbac.authorization.k8s.io\n  kind: Group\n  name: {GROUP}\n",
                rules_of(permissions)
            ));
        }
        text
    }
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
    type Shared<'p> = (&'p str, Option<&'p str>, Vec<&'p str>, bool);
    let mut rules: BTreeMap<Shared<'_>, Vec<&str>> = BTreeMap::new();
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

const HEAD: &str = "# What `kubectl cwii doctor` reads. The group is a placeholder: bind the roles to whom you like.\n\
     # The role of namespace cwii-system looks behind cwii's webhook; other webhooks need the same where they run.\n";
/// Where cwii is installed.
const SYSTEM: &str = "cwii-system";
/// The Secret with the webhook's certificate, as the contract names it.
const CERTIFICATE: &str = "cwii-webhook-tls";
const GROUP: &str = "cwii-doctors";
