//! AKS workload identity.

group! {}
