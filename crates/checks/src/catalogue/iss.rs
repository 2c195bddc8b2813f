//! ISS: the issuer and its keys.

use super::{Entry, error, warning};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "ISS01",
        "issuer-not-federatable",
        "the issuer is a name that no cloud can reach",
    ),
    error(
        "ISS02",
        "issuer-of-new-tokens-differs",
        "new tokens come from another issuer than the cluster advertises",
    ),
    error(
        "ISS03",
        "issuer-spelled-differently",
        "the issuer is not spelled the same everywhere",
    ),
    error(
        "ISS04",
        "issuer-url-invalid",
        "the issuer is not a URL that clouds take",
    ),
    error(
        "ISS05",
        "issuer-unreachable",
        "the issuer cannot be reached",
    ),
    error(
        "ISS06",
        "discovery-document-invalid",
        "the issuer's discovery document is not what the clouds expect",
    ),
    error(
        "ISS07",
        "issuer-wants-credentials",
        "the API server does not show its keys to anonymous readers",
    ),
    error(
        "ISS08",
        "issuer-certificate-untrusted",
        "the issuer's TLS certificate is not trusted",
    ),
    warning(
        "ISS09",
        "issuer-headers-unsuitable",
        "the issuer's documents are served with unsuitable headers",
    ),
    error(
        "ISS10",
        "signing-key-not-published",
        "the key that signed the token is not in the published JWKS",
    ),
    error(
        "ISS11",
        "control-planes-sign-differently",
        "the control planes sign with different keys",
    ),
    warning(
        "ISS12",
        "published-keys-differ",
        "the published JWKS and the cluster's are not the same",
    ),
    warning(
        "ISS13",
        "issuer-change-unprepared",
        "a change of the issuer would cut off what uses the old one",
    ),
    error(
        "ISS14",
        "jwks-invalid",
        "the published JWKS is not what the clouds accept",
    ),
    error(
        "ISS15",
        "issuer-filters-readers",
        "the issuer answers some readers and not others",
    ),
    warning(
        "ISS16",
        "issuer-shared-by-clusters",
        "several clusters have one issuer",
    ),
];
