//! The kinds of objects that commands read, and how the API and kubectl spell them.

/// A kind of object.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(crate) struct Resource {
    /// API group; empty for the core.
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) short: &'static [&'static str],
    pub(crate) namespaced: bool,
}

impl Resource {
    /// `v1`, `apps/v1`.
    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// As RBAC and `kubectl auth can-i` spell it: `pods`, `deployments.apps`.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() {
            self.plural.to_owned()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    /// Path of all objects of this kind, of a namespace or of all.
    pub(crate) fn path(&self, namespace: Option<&str>) -> String {
        let root = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        match namespace.filter(|_| self.namespaced) {
            Some(namespace) => format!("{root}/namespaces/{}/{}", segment(namespace), self.plural),
            None => format!("{root}/{}", self.plural),
        }
    }

    /// Path of one object.
    pub(crate) fn object_path(&self, namespace: Option<&str>, name: &str) -> String {
        format!("{}/{}", self.path(namespace), segment(name))
    }

    /// The kind by any of its names: `po`, `pod`, `pods`, `Pod`, `deployments.apps`, `deployments.v1.apps`.
    pub(crate) fn find(name: &str) -> Option<&'static Self> {
        let name = name.to_ascii_lowercase();
        let (bare, group) = match name.split_once('.') {
            Some((bare, group)) => (bare, Some(group)),
            None => (name.as_str(), None),
        };
        ALL.iter().copied().find(|resource| {
            let is_named = resource.plural == bare
                || resource.singular == bare
                || resource.short.contains(&bare);
            let versioned = format!("{}.{}", resource.version, resource.group);
            is_named && group.is_none_or(|g| g == resource.group || g == versioned)
        })
    }

    /// The kind of a manifest.
    pub(crate) fn of(api_version: &str, kind: &str) -> Option<&'static Self> {
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        ALL.iter()
            .copied()
            .find(|resource| resource.kind == kind && resource.group == group)
    }
}

/// A part of a path, escaped.
pub(crate) fn segment(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

macro_rules! resources {
    ($($name:ident = $group:literal $version:literal $kind:literal $plural:literal $singular:literal
       $short:expr, $namespaced:literal;)*) => {
        $(
            #[doc = concat!("`", $plural, "`.")]
            pub(crate) const $name: &Resource = &Resource {
                group: $group,
                version: $version,
                kind: $kind,
                plural: $plural,
                singular: $singular,
                short: $short,
                namespaced: $namespaced,
            };
        )*

        /// All of them.
        pub(crate) const ALL: &[&Resource] = &[$($name),*];
    };
}

resources! {
    POD = "" "v1" "Pod" "pods" "pod" &["po"], true;
    SERVICE_ACCOUNT = "" "v1" "ServiceAccount" "serviceaccounts" "serviceaccount" &["sa"], true;
    NAMESPACE = "" "v1" "Namespace" "namespaces" "namespace" &["ns"], false;
    DEPLOYMENT = "apps" "v1" "Deployment" "deployments" "deployment" &["deploy"], true;
    REPLICA_SET = "apps" "v1" "ReplicaSet" "replicasets" "replicaset" &["rs"], true;
    STATEFUL_SET = "apps" "v1" "StatefulSet" "statefulsets" "statefulset" &["sts"], true;
    DAEMON_SET = "apps" "v1" "DaemonSet" "daemonsets" "daemonset" &["ds"], true;
    REPLICATION_CONTROLLER = "" "v1" "ReplicationController" "replicationcontrollers" "replicationcontroller" &["rc"], true;
    JOB = "batch" "v1" "Job" "jobs" "job" &[], true;
    CRON_JOB = "batch" "v1" "CronJob" "cronjobs" "cronjob" &["cj"], true;
    SERVICE = "" "v1" "Service" "services" "service" &["svc"], true;
    ENDPOINT_SLICE = "discovery.k8s.io" "v1" "EndpointSlice" "endpointslices" "endpointslice" &[], true;
    EVENT = "" "v1" "Event" "events" "event" &["ev"], true;
    NODE = "" "v1" "Node" "nodes" "node" &["no"], false;
    CONFIG_MAP = "" "v1" "ConfigMap" "configmaps" "configmap" &["cm"], true;
    SECRET = "" "v1" "Secret" "secrets" "secret" &[], true;
    RESOURCE_QUOTA = "" "v1" "ResourceQuota" "resourcequotas" "resourcequota" &["quota"], true;
    LIMIT_RANGE = "" "v1" "LimitRange" "limitranges" "limitrange" &["limits"], true;
    NETWORK_POLICY = "networking.k8s.io" "v1" "NetworkPolicy" "networkpolicies" "networkpolicy" &["netpol"], true;
    POD_DISRUPTION_BUDGET = "policy" "v1" "PodDisruptionBudget" "poddisruptionbudgets" "poddisruptionbudget" &["pdb"], true;
    MUTATING_WEBHOOK_CONFIGURATION = "admissionregistration.k8s.io" "v1" "MutatingWebhookConfiguration"
        "mutatingwebhookconfigurations" "mutatingwebhookconfiguration" &[], false;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_found_by_every_name_that_kubectl_knows() {
        for (name, kind) in [
            ("po", "Pod"),
            ("Pods", "Pod"),
            ("deploy", "Deployment"),
            ("deployments.apps", "Deployment"),
            ("deployment.v1.apps", "Deployment"),
            ("cj", "CronJob"),
            ("sa", "ServiceAccount"),
        ] {
            assert_eq!(Resource::find(name).unwrap().kind, kind, "{name}");
        }
        for name in ["", "pdo", "deployments.batch", "ingress"] {
            assert!(Resource::find(name).is_none(), "{name}");
        }
    }

    #[test]
    fn paths_are_those_of_the_api() {
        assert_eq!(POD.path(Some("a/b")), "/api/v1/namespaces/a%2Fb/pods");
        assert_eq!(
            NAMESPACE.object_path(Some("x"), "shop"),
            "/api/v1/namespaces/shop"
        );
        assert_eq!(DEPLOYMENT.path(None), "/apis/apps/v1/deployments");
        assert_eq!(DEPLOYMENT.qualified(), "deployments.apps");
    }
}
