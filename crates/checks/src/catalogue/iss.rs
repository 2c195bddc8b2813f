//! ISS: the issuer and its keys.

use super::{Entry, error};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "ISS01",
        "issuer-not-federatable",
        "the issuer is a name that no cloud can reach",
    ),
    error(
        "ISS03",
        "issuer-spelled-differently",
        "the issuer is not spelled the same everywhere",
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
        "ISS08",
        "issuer-certificate-untrusted",
        "the issuer's TLS certificate is not trusted",
    ),
    error(
        "ISS10",
        "signing-key-not-published",
        "the key that signed the token is not in the published JWKS",
    ),
    error(
        "ISS14",
        "jwks-invalid",
        "the published JWKS is not what the clouds accept",
    ),
];
