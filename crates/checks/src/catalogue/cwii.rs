//! CWII: what cwii promises in a cluster.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "CWII01",
        "injection-differs-from-plan",
        "the pod is not as the webhook would make it",
    ),
    error(
        "CWII02",
        "versions-differ",
        "webhook and tool are of different versions",
    ),
    warning(
        "CWII03",
        "value-shadowed",
        "another object's value wins over one that was set",
    ),
    error(
        "CWII04",
        "verification-failed",
        "the verify init container failed",
    ),
    warning(
        "CWII05",
        "annotation-without-effect",
        "an annotation changes nothing as things stand",
    ),
    error(
        "CWII06",
        "annotation-value-invalid",
        "the value of an annotation is not one that is allowed",
    ),
    error(
        "CWII07",
        "required-value-missing",
        "a provider is asked for and cannot be injected",
    ),
];
