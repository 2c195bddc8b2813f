//! POD: pod, ServiceAccount and namespace.

use super::{Entry, error};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "POD02",
        "service-account-missing-in-namespace",
        "the pod's ServiceAccount does not exist",
    ),
    error(
        "POD10",
        "injection-incomplete",
        "variables, token or document are not in the container",
    ),
    error(
        "POD13",
        "token-not-readable",
        "this user may not read the token file",
    ),
];
