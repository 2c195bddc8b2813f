//! APP: the application.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "APP01",
        "static-credentials-shadow-federation",
        "static credentials win over federation in the SDKs",
    ),
    warning(
        "APP02",
        "two-mechanisms-of-one-cloud",
        "two mechanisms of one cloud are configured",
    ),
    warning(
        "APP06",
        "surprising-override",
        "a variable changes what the SDKs do",
    ),
];
