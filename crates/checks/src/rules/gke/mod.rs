//! GKE workload identity.

group! {}
