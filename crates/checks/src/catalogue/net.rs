//! NET: the network.

use super::{Entry, error};

pub(super) const ENTRIES: &[Entry] = &[
    error(
        "NET01",
        "name-does-not-resolve",
        "the cloud's name does not resolve in this pod",
    ),
    error(
        "NET02",
        "endpoint-unreachable",
        "the cloud's endpoint cannot be reached from this pod",
    ),
    error(
        "NET04",
        "tls-not-trusted",
        "the TLS connection is not trusted",
    ),
    error("NET05", "proxy-fails", "the proxy refuses or fails"),
];
