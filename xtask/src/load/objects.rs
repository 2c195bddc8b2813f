//! The cluster that the webhook watches: metadata of objects as `kubectl apply`, Helm and controllers leave it, made from
//! a number each time it is asked for, so that the fake API server needs no memory for it.

use serde_json::{Map, Value, json};

use super::review::{DEPLOYMENT, NAMESPACE};

/// What is watched.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Kind {
    Namespace,
    ServiceAccount,
    Deployment,
    StatefulSet,
    DaemonSet,
    ReplicationController,
    Job,
    CronJob,
}

impl Kind {
    pub(crate) const ALL: [Self; 8] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicationController,
        Self::Job,
        Self::CronJob,
    ];

    /// Group and version, as `apiVersion` has them.
    fn api_version(self) -> &'static str {
        match self {
            Self::Namespace | Self::ServiceAccount | Self::ReplicationController => "v1",
            Self::Deployment | Self::StatefulSet | Self::DaemonSet => "apps/v1",
            Self::Job | Self::CronJob => "batch/v1",
        }
    }

    /// Where a list of all of them is.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Namespace => "/api/v1/namespaces",
            Self::ServiceAccount => "/api/v1/serviceaccounts",
            Self::Deployment => "/apis/apps/v1/deployments",
            Self::StatefulSet => "/apis/apps/v1/statefulsets",
            Self::DaemonSet => "/apis/apps/v1/daemonsets",
            Self::ReplicationController => "/api/v1/replicationcontrollers",
            Self::Job => "/apis/batch/v1/jobs",
            Self::CronJob => "/apis/batch/v1/cronjobs",
        }
    }

    /// How many there are in a cluster with so many ServiceAccounts.
    pub(crate) fn count(self, service_accounts: usize, workloads: bool) -> usize {
        let share = |divisor: usize| (service_accounts / divisor).max(1);
        match self {
            Self::Namespace => share(20),
            Self::ServiceAccount => service_accounts,
            _ if !workloads => usize::from(self == Self::Deployment),
            Self::Deployment => share(2),
            Self::StatefulSet | Self::CronJob => share(20),
            Self::DaemonSet => share(100),
            Self::ReplicationController => share(1000),
            Self::Job => share(10),
        }
    }

    fn has_template(self) -> bool {
        !matches!(self, Self::Namespace | Self::ServiceAccount)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Deployment => "Deployment",
            Self::StatefulSet => "StatefulSet",
            Self::DaemonSet => "DaemonSet",
            Self::ReplicationController => "ReplicationController",
            Self::Job => "Job",
            Self::CronJob => "CronJob",
        }
    }
}

/// The ServiceAccounts of the measured pods, all in one namespace, and what they ask for.
pub(crate) const MEASURED: [(&str, &[(&str, &str)]); 4] = [
    ("nothing", &[]),
    ("role", &[("cwii.dev/aws-role-arn", ROLE)]),
    (
        "region",
        &[
            ("cwii.dev/aws-role-arn", ROLE),
            ("cwii.dev/aws-region", "eu-central-1"),
        ],
    ),
    (
        "verify",
        &[
            ("cwii.dev/aws-role-arn", ROLE),
            ("cwii.dev/aws-verify", "true"),
            ("cwii.dev/aws-verify-enforce", "true"),
        ],
    ),
];

/// The `PartialObjectMetadata` of one object. The first ones are those of the measured pods.
pub(crate) fn object(kind: Kind, index: usize, namespaces: usize) -> Value {
    let measured = MEASURED.get(index).filter(|_| kind == Kind::ServiceAccount);
    let namespace = match measured {
        Some(_) => 0,
        None => index % namespaces,
    };
    let namespace = match namespace {
        0 => NAMESPACE.to_owned(),
        n => format!("team-{n:04}"),
    };
    let (name, own_namespace) = match (kind, measured) {
        (Kind::Namespace, _) => (namespace, None),
        (_, Some((name, _))) => ((*name).to_owned(), Some(namespace)),
        (Kind::Deployment, _) if index == 0 => (DEPLOYMENT.to_owned(), Some(namespace)),
        _ => (
            format!(
                "payments-{}-{index:06}",
                &kind.name().to_ascii_lowercase()[..3]
            ),
            Some(namespace),
        ),
    };

    let mut labels = Map::new();
    for (key, value) in [
        ("name", name.as_str()),
        ("instance", "payments"),
        ("managed-by", "Helm"),
        ("part-of", "payments"),
        ("version", "1.42.0"),
    ] {
        labels.insert(format!("app.kubernetes.io/{key}"), value.into());
    }
    let mut annotations = Map::new();
    match measured {
        Some((_, keys)) => {
            let keys = keys.iter();
            annotations.extend(keys.map(|(key, value)| ((*key).to_owned(), (*value).into())));
        }
        None if kind == Kind::ServiceAccount && index.is_multiple_of(20) => {
            let role = format!("arn:aws:iam::123456789012:role/{name}");
            annotations.insert("cwii.dev/aws-role-arn".into(), role.into());
        }
        None => {}
    }
    let applied = json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": {"annotations": annotations, "labels": labels, "name": name, "namespace": own_namespace},
        "spec": kind.has_template().then(template),
    });
    annotations.insert(
        "kubectl.kubernetes.io/last-applied-configuration".into(),
        format!("{applied}\n").into(),
    );

    let mut metadata = json!({
        "name": name,
        "uid": format!("{:08x}-0000-4000-8000-{index:012x}", kind as u32),
        "resourceVersion": (100_000 + index).to_string(),
        "creationTimestamp": "2026-03-14T15:09:26Z",
        "labels": labels,
        "annotations": annotations,
        "managedFields": managed_fields(kind, &labels),
    });
    if let Some(namespace) = own_namespace {
        metadata["namespace"] = namespace.into();
    }
    if kind == Kind::Job {
        // Every other Job is a CronJob's.
        let owner = index.is_multiple_of(2).then(|| {
            json!([{
                "apiVersion": "batch/v1", "kind": "CronJob", "name": format!("payments-cro-{index:06}"),
                "uid": format!("{:08x}-0000-4000-8000-{index:012x}", Kind::CronJob as u32),
                "controller": true, "blockOwnerDeletion": true
            }])
        });
        metadata["ownerReferences"] = owner.unwrap_or_else(|| json!([]));
    }
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata})
}

/// As large as it is in a real list: every field that somebody has set is named.
fn managed_fields(kind: Kind, labels: &Map<String, Value>) -> Value {
    let names: Map<String, Value> = labels
        .keys()
        .map(|key| (format!("f:{key}"), json!({})))
        .collect();
    let mut fields = json!({
        "f:metadata": {
            "f:annotations": {".": {}, "f:kubectl.kubernetes.io/last-applied-configuration": {}},
            "f:labels": names
        }
    });
    if kind.has_template() {
        fields["f:spec"] = json!({
            "f:progressDeadlineSeconds": {}, "f:replicas": {}, "f:revisionHistoryLimit": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}, "f:maxUnavailable": {}}, "f:type": {}},
            "f:template": {
                "f:metadata": {"f:labels": {".": {}, "f:app.kubernetes.io/name": {}}},
                "f:spec": {
                    "f:containers": {"k:{\"name\":\"payments\"}": {
                        ".": {}, "f:env": {".": {}, "k:{\"name\":\"LOG_LEVEL\"}": {".": {}, "f:name": {}, "f:value": {}}},
                        "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}, "f:resources": {}
                    }},
                    "f:dnsPolicy": {}, "f:restartPolicy": {}, "f:serviceAccountName": {}
                }
            }
        });
    }
    json!([{
        "manager": "kubectl-client-side-apply",
        "operation": "Update",
        "apiVersion": kind.api_version(),
        "time": "2026-03-14T15:09:26Z",
        "fieldsType": "FieldsV1",
        "fieldsV1": fields
    }])
}

fn template() -> Value {
    json!({
        "replicas": 3,
        "selector": {"matchLabels": {"app.kubernetes.io/name": "payments"}},
        "template": {
            "metadata": {"labels": {"app.kubernetes.io/name": "payments"}},
            "spec": {
                "serviceAccountName": "payments",
                "containers": [{
                    "name": "payments", "image": "registry.example.com/shop/payments:1.42.0",
                    "env": [{"name": "LOG_LEVEL", "value": "info"}],
                    "resources": {"limits": {"memory": "512Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}}
                }]
            }
        }
    })
}

const ROLE: &str = "arn:aws:iam::123456789012:role/checkout";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_has_the_size_that_it_has_in_real_clusters() {
        let bytes = |kind| object(kind, 500, 100).to_string().len();
        assert!((1000..1600).contains(&bytes(Kind::ServiceAccount)));
        assert!((2000..3500).contains(&bytes(Kind::Deployment)));
    }

    #[test]
    fn the_measured_pods_find_their_owners() {
        let name = |kind, index| {
            let object = object(kind, index, 50);
            let text = |field: &str| object["metadata"][field].as_str().map(str::to_owned);
            (text("namespace"), text("name"))
        };
        let shop = || Some(NAMESPACE.to_owned());
        assert_eq!(name(Kind::Namespace, 0), (None, shop()));
        assert_eq!(
            name(Kind::Deployment, 0),
            (shop(), Some(DEPLOYMENT.to_owned()))
        );
        for (index, (account, _)) in MEASURED.iter().enumerate() {
            assert_eq!(
                name(Kind::ServiceAccount, index),
                (shop(), Some((*account).to_owned()))
            );
        }
        assert_eq!(
            name(Kind::ServiceAccount, 50),
            (shop(), Some("payments-ser-000050".to_owned()))
        );
    }
}
