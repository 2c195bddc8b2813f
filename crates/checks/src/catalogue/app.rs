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
        "APP03",
        "sdk-too-old",
        "the application's SDK is older than the mechanism",
    ),
    error(
        "APP04",
        "application-caches-credentials",
        "the application keeps a token or credentials past their end",
    ),
    warning(
        "APP05",
        "token-path-hard-coded",
        "a token path is written down where no token is mounted",
    ),
    warning(
        "APP06",
        "surprising-override",
        "a variable changes what the SDKs do",
    ),
];
