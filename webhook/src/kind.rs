//! The kinds of object that carry annotations for pods, and where the Kubernetes API serves them.
//!
//! Only metadata is ever asked for: the API server strips the rest (`PartialObjectMetadata`), so neither Secrets' names
//! in a ServiceAccount nor a Deployment's pod template reach this process.

use cwii_contract::{WorkloadKind, scope::ObjectRef};

/// A kind that is looked up for a pod.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// `v1` `Namespace`.
    Namespace,
    /// `v1` `ServiceAccount`.
    ServiceAccount,
    /// What owns pods.
    Workload(WorkloadKind),
}

impl Kind {
    /// The kinds that are watched. ReplicaSets are not: their number is a multiple of everything else's, and the
    /// Deployment's name follows from the ReplicaSet's.
    pub const WATCHED: [Self; 8] = [
        Self::Namespace,
        Self::ServiceAccount,
        Self::Workload(WorkloadKind::Deployment),
        Self::Workload(WorkloadKind::StatefulSet),
        Self::Workload(WorkloadKind::DaemonSet),
        Self::Workload(WorkloadKind::ReplicationController),
        Self::Workload(WorkloadKind::Job),
        Self::Workload(WorkloadKind::CronJob),
    ];

    /// Name of the kind, as the Kubernetes API spells it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Namespace => "Namespace",
            Self::ServiceAccount => "ServiceAccount",
            Self::Workload(workload) => workload.kind(),
        }
    }

    /// Path of all objects of the kind, in all namespaces.
    #[must_use]
    pub fn list_path(self) -> String {
        format!("{}/{}", self.api(), self.plural())
    }

    /// Path of one object.
    #[must_use]
    pub fn object_path(self, namespace: &str, name: &str) -> String {
        match self {
            Self::Namespace => format!("{}/{}/{}", self.api(), self.plural(), segment(name)),
            _ => format!(
                "{}/namespaces/{}/{}/{}",
                self.api(),
                segment(namespace),
                self.plural(),
                segment(name)
            ),
        }
    }

    /// How the contract refers to one object of the kind.
    #[must_use]
    pub fn object(self, namespace: &str, name: &str) -> ObjectRef {
        match self {
            Self::Namespace => ObjectRef::namespace(name),
            Self::ServiceAccount => ObjectRef::service_account(namespace, name),
            Self::Workload(workload) => ObjectRef::workload(workload.kind(), namespace, name),
        }
    }

    /// Whether an object's identity matters beside its name: an owner is named with its `uid`.
    pub(crate) fn is_owner(self) -> bool {
        matches!(self, Self::Workload(_))
    }

    /// Whether somebody follows the controller that owns an object of the kind.
    pub(crate) fn has_owner(self) -> bool {
        matches!(
            self,
            Self::Workload(WorkloadKind::Job | WorkloadKind::ReplicaSet)
        )
    }

    fn plural(self) -> &'static str {
        match self {
            Self::Namespace => "namespaces",
            Self::ServiceAccount => "serviceaccounts",
            Self::Workload(workload) => workload.plural(),
        }
    }

    fn api(self) -> String {
        match self {
            Self::Workload(workload) if !workload.group().is_empty() => {
                format!("/apis/{}/{}", workload.group(), workload.version())
            }
            _ => "/api/v1".into(),
        }
    }
}

/// One segment of a path. Names come from admission reviews, where nobody has checked them yet.
pub(crate) fn segment(text: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(b).to_string(),
            // A segment of dots alone would be a step in the path.
            b'.' if text.bytes().any(|b| b != b'.') => ".".into(),
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_those_of_the_api_and_names_cannot_leave_their_segment() {
        assert_eq!(
            Kind::ServiceAccount.object_path("apps", "a.b-c"),
            "/api/v1/namespaces/apps/serviceaccounts/a.b-c"
        );
        assert_eq!(
            Kind::Namespace.object_path("", "apps"),
            "/api/v1/namespaces/apps"
        );
        let job = Kind::Workload(WorkloadKind::Job);
        assert_eq!(job.list_path(), "/apis/batch/v1/jobs");
        assert_eq!(
            job.object_path("..", "a/../b?x=y"),
            "/apis/batch/v1/namespaces/%2E%2E/jobs/a%2F..%2Fb%3Fx%3Dy"
        );
        let controllers = Kind::Workload(WorkloadKind::ReplicationController);
        assert_eq!(controllers.list_path(), "/api/v1/replicationcontrollers");
    }
}
