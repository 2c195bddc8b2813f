//! AKS: AKS workload identity.

use super::{Entry, warning};

pub(super) const ENTRIES: &[Entry] = &[warning(
    "AKS07",
    "identity-binding-half-configured",
    "the token proxy of an AKS identity binding is half configured",
)];
