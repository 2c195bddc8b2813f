//! GKE: GKE workload identity.

use super::{Entry, error};

pub(super) const ENTRIES: &[Entry] = &[
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
        "GKE08",
        "metadata-server-not-ready",
        "the metadata server does not answer",
    ),
];
