//! GKE: GKE workload identity.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "GKE01",
        "workload-identity-off",
        "the cluster has no workload pool",
    ),
    error(
        "GKE02",
        "node-without-metadata-server",
        "the pod's node does not run the metadata server of GKE",
    ),
    error(
        "GKE03",
        "metadata-server-unhealthy",
        "the metadata server of GKE is not running on every node",
    ),
    error(
        "GKE04",
        "gke-annotation-wrong",
        "the annotation does not name a Google service account",
    ),
    error(
        "GKE05",
        "gke-binding-missing",
        "the Kubernetes ServiceAccount may not impersonate the Google service account",
    ),
    error(
        "GKE06",
        "host-network-pod",
        "a pod on the host's network gets the node's identity",
    ),
    error(
        "GKE07",
        "metadata-egress-blocked",
        "a NetworkPolicy keeps the pod from the metadata server",
    ),
    error(
        "GKE08",
        "metadata-server-not-ready",
        "the metadata server does not answer",
    ),
    error(
        "GKE09",
        "credentials-variable-overrides-metadata",
        "a variable turns the SDKs away from the metadata server",
    ),
    warning(
        "GKE10",
        "identity-shared-between-clusters",
        "clusters that share a workload pool share this identity",
    ),
];
